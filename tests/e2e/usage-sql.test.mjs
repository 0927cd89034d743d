// @ts-check
//! The SQL that adds up usage, on SQLite with the tables of the migrations: each roll-up counts once.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { suite, test } from "node:test";
import { root } from "./harness.mjs";
import { FIELDS, usageStatement } from "./ledgers.mjs";

const [ADD_ROWS, SET_WATERMARK] = [usageStatement("add_rows"), usageStatement("set_watermark")];

function database() {
  const database = new DatabaseSync(":memory:");
  for (const name of readdirSync(`${root}migrations`).sort()) {
    database.exec(readFileSync(`${root}migrations/${name}`, "utf8"));
  }
  return database;
}

/** @typedef {[day: number, project: string, provider: string, model: string, ...sums: number[]]} Row */

/**
 * A row whose sums are `n`, `n + 1`, `n + 2`, …
 *
 * @param {number} n
 * @param {[number, string, string, string]} slice
 * @returns {Row}
 */
const row = (n, slice = [20_000, "p", "groq", "m"]) => [...slice, ...FIELDS.map((_, i) => n + i)];

/**
 * Rolls up as `store::usage::roll_up` does: D1 runs a batch as one transaction.
 *
 * @param {DatabaseSync} database
 * @param {string} ledger
 * @param {number} watermark
 * @param {unknown[]} rows
 */
function rollUp(database, ledger, watermark, rows) {
  database.exec("BEGIN");
  try {
    database.prepare(ADD_ROWS ?? "").run(JSON.stringify(rows), ledger, watermark);
    database.prepare(SET_WATERMARK ?? "").run(ledger, watermark);
    database.exec("COMMIT");
  } catch (error) {
    database.exec("ROLLBACK");
    throw error;
  }
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
    );
    assert.equal(FIELDS.length, 14);
  });

  test("usage SQL: a roll-up delivered twice counts once", () => {
    const at = database();
    const rows = [row(1), row(5, [20_001, "", "groq", "ünïcode/модель 🦀 '\"\\"]), row(2)];
    for (let times = 0; times < 3; times += 1) rollUp(at, "key a", 7, rows);
    const added = /** @type {Row} */ (
      row(1).map((item, i) => (i < 4 ? item : Number(item) + (i - 2)))
    );
    assert.deepEqual(kept(at), [added, rows[1]]);
    assert.deepEqual(watermarks(at), { "key a": 7 });
  });

  test("usage SQL: later roll-ups are added, an empty one is accepted", () => {
    const at = database();
    rollUp(at, "key a", 1, [row(1)]);
    rollUp(at, "key a", 2, []);
    rollUp(at, "key a", 3, [row(1)]);
    assert.deepEqual(kept(at), [row(0).map((item, i) => (i < 4 ? item : 2 * (i - 3)))]);
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
      [20_000, "p", "groq", "m"],
      row(1).with(5, "x"),
      [null, ...row(1).slice(1)],
      5,
    ]) {
      assert.throws(() => rollUp(at, "key a", 2, [row(1), wrong]), /constraint|cannot store/);
    }
    at.exec("ALTER TABLE usage_watermarks RENAME TO elsewhere");
    assert.throws(() => rollUp(at, "key a", 2, [row(1)]), /no such table/);
    at.exec("ALTER TABLE elsewhere RENAME TO usage_watermarks");
    assert.deepEqual(kept(at), [row(1)]);
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
      row(1, [10, "", "groq", "m"]),
      row(10, [10, "p", "groq", "m"]),
      row(100, [11, "p", "openai", "m"]),
      row(1000, [12, "q", "openai", "n"]),
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
      row(n + 1, [10, `p${n}`, n % 2 ? "odd" : "even", `m${n}`]),
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
