// @ts-check
//! The SQL that adds up usage, on SQLite with the tables of the migrations: each roll-up counts once.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { suite, test } from "node:test";
import { root } from "./harness.mjs";
import { ALL_KEYS, FIELDS, usageStatement } from "./ledgers.mjs";

const [ADD_ROWS, SET_WATERMARK] = [usageStatement("add_rows"), usageStatement("set_watermark")];
const [ADD_BY_KEY, ADD_CLOSED] = [usageStatement("add_by_key"), usageStatement("add_closed")];
const ADD_CALLS = readFileSync(`${root}src/store/calls/add.sql`, "utf8");
const LIST = readFileSync(`${root}src/store/calls/list.sql`, "utf8");
/** The list as `of_sources` of src/store/calls.rs makes it. */
const LIST_CALLS = `${[
  { table: "recent_calls", column: "receipts" },
  { table: "rejected_calls", column: "calls" },
]
  .map(({ table, column }) => LIST.replaceAll("{table}", table).replaceAll("{calls}", column))
  .join(" UNION ALL ")} ORDER BY span DESC, place DESC LIMIT ?14`;

function database() {
  const database = new DatabaseSync(":memory:");
  for (const name of readdirSync(`${root}migrations`).sort()) {
    database.exec(readFileSync(`${root}migrations/${name}`, "utf8"));
  }
  return database;
}

/** @typedef {[hour: number, project: string, provider: string, model: string, ...sums: (number | string)[]]} Row */

/** The hour of the rows: the sixth of day 20,000. */
const HOUR = 480_005;

/**
 * A row of the chat operation whose sums are `n`, `n + 1`, `n + 2`, …
 *
 * @param {number} n
 * @param {[number, string, string, string]} slice
 * @returns {Row}
 */
const row = (n, slice = [HOUR, "p", "groq", "m"]) => [
  ...slice,
  ...FIELDS.map((_, i) => n + i),
  "chat/completions",
];

/**
 * The row as an object keeps it: by day, without the operation.
 *
 * @param {Row} row
 */
const ofDay = ([hour, ...rest]) => [Math.floor(hour / 24), ...rest.slice(0, -1)];

/**
 * Runs statements as one transaction, as D1 runs a batch.
 *
 * @param {DatabaseSync} database
 * @param {[sql: string, ...parameters: any[]][]} statements
 */
function batch(database, statements) {
  database.exec("BEGIN");
  try {
    for (const [sql, ...parameters] of statements) database.prepare(sql).run(...parameters);
    database.exec("COMMIT");
  } catch (error) {
    database.exec("ROLLBACK");
    throw error;
  }
}

/**
 * Adds rows as an object adds them to its own sums: `storage::fold`.
 *
 * @param {DatabaseSync} database
 * @param {string} ledger
 * @param {number} watermark
 * @param {unknown[]} rows
 */
function rollUp(database, ledger, watermark, rows) {
  batch(database, [
    [ADD_ROWS, JSON.stringify(rows), ledger, watermark],
    [SET_WATERMARK, ledger, watermark],
  ]);
}

/**
 * Rolls up as `store::usage::roll_up` does.
 *
 * @param {DatabaseSync} database
 * @param {string} key
 * @param {number} watermark
 * @param {unknown[]} rows
 */
function rollUpKey(database, key, watermark, rows) {
  const ledger = `ledger of ${key}`;
  batch(database, [
    [ADD_BY_KEY, JSON.stringify(rows), ledger, watermark, key],
    [ADD_CLOSED, JSON.stringify(rows), ledger, watermark],
    [SET_WATERMARK, ledger, watermark],
  ]);
}

/**
 * Closes days and removes old rows as `store::usage::tidy` does.
 *
 * @param {DatabaseSync} database
 * @param {number} hour
 * @param {number} tidied the hour in which it was last done
 * @param {number} [keep] the number of calls that are kept, for seven days
 */
function tidy(database, hour, tidied, keep = 10_000) {
  batch(database, [
    [usageStatement("close_days"), hour, tidied],
    [usageStatement("drop_hours"), hour, tidied],
    [usageStatement("drop_calls"), hour, tidied, keep, 7],
    [usageStatement("set_tidied"), hour, tidied],
  ]);
}

/** @param {DatabaseSync} database */
const kept = (database) =>
  database
    .prepare("SELECT * FROM usage_daily")
    .all()
    .map((found) => Object.values(found));

/** @param {DatabaseSync} database */
const watermarks = (database) =>
  Object.fromEntries(
    database
      .prepare("SELECT * FROM usage_watermarks")
      .all()
      .map((found) => [found["ledger"], found["watermark"]]),
  );

/**
 * @param {DatabaseSync} database
 * @param {string} name
 * @param {[number, number, string | null]} parameters
 * @returns {Record<string, any>[]}
 */
const read = (database, name, parameters) =>
  database.prepare(usageStatement(name)).all(...parameters);

suite("usage SQL, roll-up", () => {
  test("usage SQL: each sum is stored in its column", () => {
    const at = database();
    rollUp(at, "key a", 1, [row(1)]);
    const [found] = at.prepare("SELECT * FROM usage_daily").all();
    const sums = Object.fromEntries(FIELDS.map((name, index) => [name, index + 1]));
    assert.deepEqual(
      { ...found },
      { day: 20_000, project: "p", provider: "groq", model: "m", ...sums },
      "an object keeps days",
    );
    assert.equal(FIELDS.length, 14);
  });

  test("usage SQL: a roll-up delivered twice counts once", () => {
    const at = database();
    const other = row(5, [HOUR + 24, "", "groq", "ünïcode/модель 🦀 '\"\\"]);
    for (let times = 0; times < 3; times += 1) rollUp(at, "key a", 7, [row(1), other, row(2)]);
    const added = ofDay(row(1)).map((item, i) => (i < 4 ? item : Number(item) + (i - 2)));
    assert.deepEqual(kept(at), [added, ofDay(other)]);
    assert.deepEqual(watermarks(at), { "key a": 7 });
  });

  test("usage SQL: later roll-ups are added, an empty one is accepted", () => {
    const at = database();
    rollUp(at, "key a", 1, [row(1)]);
    rollUp(at, "key a", 2, []);
    rollUp(at, "key a", 3, [row(1)]);
    assert.deepEqual(kept(at), [ofDay(row(0)).map((item, i) => (i < 4 ? item : 2 * (i - 3)))]);
    assert.deepEqual(watermarks(at), { "key a": 3 });
  });

  test("usage SQL: each ledger has its own watermark", () => {
    const at = database();
    const [a, b] = [row(1), row(100)];
    for (const [ledger, watermark, rows] of /** @type {[string, number, Row[]][]} */ ([
      ["key a", 1, [a]],
      ["ring b", 1, [b]],
      ["key a", 1, [a]],
      ["key a", 2, [a]],
      ["ring b", 1, [b]],
      ["key a", 2, [a]],
    ])) {
      rollUp(at, ledger, watermark, rows);
    }
    assert.equal(kept(at)[0]?.[4], 102);
    assert.deepEqual(watermarks(at), { "key a": 2, "ring b": 1 });
  });

  test("usage SQL: if one row cannot be added, none is and the watermark stays", () => {
    const at = database();
    rollUp(at, "key a", 1, [row(1)]);
    for (const wrong of [
      [HOUR, "p", "groq", "m"],
      row(1).with(5, "x"),
      [null, ...row(1).slice(1)],
      5,
    ]) {
      assert.throws(() => rollUp(at, "key a", 2, [row(1), wrong]), /constraint|cannot store/);
    }
    at.exec("ALTER TABLE usage_watermarks RENAME TO elsewhere");
    assert.throws(() => rollUp(at, "key a", 2, [row(1)]), /no such table/);
    at.exec("ALTER TABLE elsewhere RENAME TO usage_watermarks");
    assert.deepEqual(kept(at), [ofDay(row(1))]);
    rollUp(at, "key a", 2, [row(1)]);
    assert.equal(kept(at)[0]?.[4], 2);
  });

  test("usage SQL: sums of 2^52 are exact", () => {
    const at = database();
    const large = 2 ** 52;
    rollUp(at, "key a", large, [row(large)]);
    rollUp(at, "key a", large, [row(large)]);
    rollUp(at, "key a", large + 1, [row(0)]);
    assert.equal(kept(at)[0]?.[4], large);
  });
});

suite("usage SQL, reports", () => {
  test("usage SQL: sums by day, model and project are restricted to days and project", () => {
    const at = database();
    rollUp(at, "key a", 1, [
      row(1, [240, "", "groq", "m"]),
      row(10, [240, "p", "groq", "m"]),
      row(100, [264, "p", "openai", "m"]),
      row(1000, [288, "q", "openai", "n"]),
    ]);
    /**
     * @param {string} name
     * @param {[number, number, string | null]} parameters
     */
    const requests = (name, parameters) =>
      read(at, name, parameters).map(({ day, project, provider, model, requests, streams }) => {
        assert.ok(streams > requests);
        return [day ?? project ?? `${provider}/${model}`, requests];
      });
    for (const [parameters, days, models, projects] of /** @type {any[]} */ ([
      [
        [10, 12, null],
        { 10: 11, 11: 100, 12: 1000 },
        { "groq/m": 11, "openai/m": 100, "openai/n": 1000 },
        { p: 110, q: 1000 },
      ],
      [[10, 10, null], { 10: 11 }, { "groq/m": 11 }, { p: 10 }],
      [[9, 11, "p"], { 10: 10, 11: 100 }, { "groq/m": 10, "openai/m": 100 }, { p: 110 }],
      [[9, 12, "nobody"], {}, {}, {}],
      [[13, 99, null], {}, {}, {}],
    ])) {
      assert.deepEqual(Object.fromEntries(requests("by_day", parameters)), days);
      assert.deepEqual(Object.fromEntries(requests("by_model", parameters)), models);
      assert.deepEqual(Object.fromEntries(requests("by_project", parameters)), projects);
    }
  });

  test("usage SQL: a thousand names are reported, the rest are summed without a name", () => {
    const at = database();
    const rows = Array.from({ length: 2500 }, (_, n) =>
      row(n + 1, [240, `p${n}`, n % 2 ? "odd" : "even", `m${n}`]),
    );
    rollUp(at, "key a", 1, rows);
    const total = (2500 * 2501) / 2;
    for (const [name, column, other, rest] of /** @type {[string, string, string, number][]} */ ([
      ["by_model", "model", "", 2],
      ["by_project", "project", "(other)", 1],
    ])) {
      const found = read(at, name, [0, 2 ** 32 - 1, null]);
      assert.equal(found.length, 1000 + rest);
      assert.equal(
        found.reduce((sum, { requests }) => sum + requests, 0),
        total,
      );
      const unnamed = found.filter((row) => row[column] === other);
      assert.equal(unnamed.length, rest);
      assert.equal(
        unnamed.reduce((sum, { requests }) => sum + requests, 0),
        (1500 * 1501) / 2,
      );
    }
  });
});

suite("usage SQL, by key", () => {
  /** The row of a key, with the sums of its hours as an object. @param {DatabaseSync} at @param {string} key */
  const ofKey = (at, key) => {
    const found = at.prepare("SELECT * FROM usage_by_key WHERE key = ?").all(key);
    assert.equal(found.length, 1);
    const { hours, ...sums } = /** @type {any} */ (found[0]);
    return { ...sums, hours: JSON.parse(hours) };
  };

  test("usage SQL: a key has one row a day with the sums of each hour, and a roll-up delivered twice counts once", () => {
    const at = database();
    rollUpKey(at, "a", 7, [row(1), row(10)]);
    rollUpKey(at, "a", 7, [row(1), row(10)]);
    rollUpKey(at, "a", 8, [row(100, [HOUR + 3, "p", "groq", "m"])]);
    rollUpKey(at, "b", 7, [row(1)]);
    const { hours, ...found } = ofKey(at, "a");
    const sums = (/** @type {number[]} */ ...ns) =>
      FIELDS.map((_, i) => ns.reduce((sum, n) => sum + n + i, 0));
    assert.deepEqual(hours, { h5: sums(1, 10), h8: sums(100) });
    assert.deepEqual(
      FIELDS.map((name) => found[name]),
      sums(1, 10, 100),
    );
    assert.deepEqual(
      [found.day, found.hour, found.operation, found.project, found.provider, found.model],
      [20_000, HOUR + 3, "chat/completions", "p", "groq", "m"],
    );
    assert.equal(ofKey(at, "b").requests, 1);
    assert.throws(() => rollUpKey(at, "b", 8, [row(1), row(1).with(5, "x")]), /constraint|cannot/);
    assert.equal(ofKey(at, "b").requests, 1, "all rows or none");
  });

  test("usage SQL: sums without keys are the same before and after a day is closed, and count late roll-ups", () => {
    const at = database();
    const all = () =>
      at
        .prepare(usageStatement("by_day", ALL_KEYS))
        .all(0, 2 ** 32 - 1, null)
        .map(({ day, requests }) => [day, requests]);
    at.exec(
      `INSERT INTO usage_daily VALUES (19999, '', 'groq', 'm', 5 ${", 5".repeat(FIELDS.length - 1)})`,
    );
    for (const key of ["a", "b"]) {
      rollUpKey(at, key, 1, [row(1), row(2, [HOUR + 24, "", "groq", "m"])]);
    }
    const before = [
      [19_999, 5],
      [20_000, 2],
      [20_001, 4],
    ];
    assert.deepEqual(all(), before);
    const midnight = 20_001 * 24;
    tidy(at, midnight + 1, 0);
    assert.equal(at.prepare("SELECT count(*) AS n FROM usage_closed").get()?.["n"], 0, "not yet");
    tidy(at, midnight + 2, midnight + 1);
    tidy(at, midnight + 2, midnight + 1);
    assert.deepEqual(all(), before);
    const closed = at.prepare("SELECT day, requests FROM usage_closed").all();
    assert.deepEqual(
      closed.map((row) => ({ ...row })),
      [{ day: 20_000, requests: 2 }],
    );
    rollUpKey(at, "a", 2, [row(1), row(1, [HOUR + 24, "", "groq", "m"])]);
    rollUpKey(at, "a", 2, [row(1)]);
    assert.deepEqual(all(), [
      [19_999, 5],
      [20_000, 3],
      [20_001, 5],
    ]);
    assert.equal(ofKeyOnDay(at, "a", 20_000).requests, 2);
  });

  /** @param {DatabaseSync} at @param {string} key @param {number} day @returns {any} */
  const ofKeyOnDay = (at, key, day) =>
    at.prepare("SELECT * FROM usage_by_key WHERE key = ? AND day = ?").get(key, day);

  test("usage SQL: hours are emptied once, after eight days, where there are many", () => {
    const at = database();
    const hours = Array.from({ length: 20 }, (_, n) => row(1, [480_000 + n, "p", "groq", "m"]));
    rollUpKey(at, "busy", 1, hours);
    rollUpKey(at, "idle", 1, [row(1)]);
    tidy(at, 20_008 * 24 + 5, 0);
    assert.equal(Object.keys(JSON.parse(ofKeyOnDay(at, "busy", 20_000).hours)).length, 20);
    tidy(at, 20_009 * 24 + 5, 20_008 * 24 + 5);
    assert.equal(ofKeyOnDay(at, "busy", 20_000).hours, "{}");
    assert.equal(ofKeyOnDay(at, "busy", 20_000).requests, 20);
    assert.deepEqual(Object.keys(JSON.parse(ofKeyOnDay(at, "idle", 20_000).hours)), ["h5"]);
    rollUpKey(at, "busy", 2, [row(1)]);
    assert.equal(ofKeyOnDay(at, "busy", 20_000).requests, 21, "a late roll-up is added");
  });
});

suite("usage SQL, recent calls", () => {
  const MOST = 400;

  /**
   * Adds a page of calls with these ids; those with an `x` have failed.
   *
   * @param {DatabaseSync} at
   * @param {number} span
   * @param {string[]} ids
   * @param {number} [watermark]
   */
  function add(at, span, ids, watermark = 1) {
    const text = (/** @type {string} */ id) =>
      JSON.stringify({ id, outcome: id.includes("x") ? "failed" : "answered", status: 200 });
    const failed = ids.filter((id) => id.includes("x"));
    const [all, some] = [ids, failed].map((list) => list.map(text).join(","));
    const ledger = "ledger";
    batch(at, [
      [ADD_CALLS, span, ids.length, all, failed.length, some, ledger, watermark, MOST],
      [SET_WATERMARK, ledger, watermark],
    ]);
  }

  /**
   * @param {DatabaseSync} at
   * @param {{ failed?: number | null, limit?: number, after?: [number, string] }} [query]
   */
  const list = (at, { failed = null, limit = 100, after } = {}) =>
    at
      .prepare(LIST_CALLS)
      .all(
        ...[after?.[0] ?? 2 ** 50, 0, after?.[1] ?? null, null, null],
        ...[null, null, null, null, null, null, null, failed, limit],
      )
      .map(({ id }) => id);

  test("usage SQL: calls are listed newest first, in pages, and counted once", () => {
    const at = database();
    add(at, 10, ["a", "bx"], 1);
    add(at, 10, ["a", "bx"], 1);
    add(at, 10, ["c"], 2);
    add(at, 12, ["d"], 3);
    assert.deepEqual(list(at), ["d", "c", "bx", "a"]);
    assert.deepEqual(list(at, { failed: 1 }), ["bx"]);
    assert.deepEqual(list(at, { failed: 0 }), ["d", "c", "a"]);
    assert.deepEqual(list(at, { limit: 2 }), ["d", "c"]);
    assert.deepEqual(list(at, { after: [10, "c"] }), ["bx", "a"]);
    const rows = at.prepare("SELECT span, calls FROM recent_calls").all();
    assert.deepEqual(
      rows.map((row) => ({ ...row })),
      [
        { span: 10, calls: 3 },
        { span: 12, calls: 1 },
      ],
    );
  });

  test("usage SQL: a full row takes only failed calls, and is bounded", () => {
    const at = database();
    for (let n = 0; n < 40; n += 1) add(at, 10, [`${n}`, `${n}x`], n + 1);
    const [{ calls, receipts } = /** @type {any} */ ({})] = at
      .prepare("SELECT * FROM recent_calls")
      .all();
    assert.ok(
      receipts.length >= 2 * MOST && receipts.length < 2 * MOST + 200,
      `${receipts.length}`,
    );
    const ids = list(at).map(String);
    assert.equal(calls, ids.length);
    const [failed, others] = [
      ids.filter((id) => id.includes("x")),
      ids.filter((id) => !id.includes("x")),
    ];
    assert.ok(failed.length > others.length && others.length > 0, ids.join(" "));
  });

  test("usage SQL: calls that are too old or too many are deleted once an hour", () => {
    const at = database();
    const hour = 480_000;
    const span = hour * 360;
    add(at, span - 7 * 8_640 - 1, ["old"], 1);
    add(at, span - 7 * 8_640, ["a"], 2);
    add(at, span - 2, ["b", "c"], 3);
    add(at, span - 1, ["d"], 4);
    tidy(at, hour, 0);
    assert.deepEqual(list(at), ["d", "c", "b", "a"]);
    tidy(at, hour + 1, hour, 2);
    assert.deepEqual(list(at), ["d", "c", "b"], "a row is removed as a whole");
    tidy(at, hour + 1, hour, 1);
    assert.deepEqual(list(at), ["d", "c", "b"], "not twice in an hour");
    tidy(at, hour + 2, hour + 1, 1);
    assert.deepEqual(list(at), ["d"]);
  });
});
