// @ts-check
//! Guards against gradual slowdowns: compares the costs of a call, in counts that do not depend on the machine, with
//! those of tests/counts.json. Counts more than 5 % higher fail; lower ones are reported, so that the file is
//! updated.
//!
//! The crossings between the Wasm and JavaScript are counted for each kind of call. core/tests/allocations.rs counts
//! the file's other numbers, those of the core.
//!
//! `scripts/build && UPDATE_COUNTS=1 node --test tests/e2e/counts.test.mjs` accepts the current counts. The existing
//! build is measured.

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { after, before, suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { EVENTS, HOST } from "./counts/shape.mjs";
import { KEY, OPERATOR_KEY, PROVIDER_KEY, chat, events, root } from "./harness.mjs";
import { Isolates } from "./isolates.mjs";
import { issue } from "./ledgers.mjs";
import { digest } from "../../scripts/lib/gateway-key.mjs";

/** The tolerated excess over the expected count. */
const TOLERANCE = 1.05;
const FILE = `${root}tests/counts.json`;
const UPDATE = process.env["UPDATE_COUNTS"] === "1";
const COMMAND = "scripts/build && UPDATE_COUNTS=1 node --test tests/e2e/counts.test.mjs";

const WARM_UP = 10;
const CALLS = 40;
const STREAMS = 15;
/** The time after which all work of a call is done: the last is the report on its provider, after a second. */
const DONE_MS = 1_700;
/**
 * The time after which the health view is so old that a call refreshes it first: two seconds after the last update.
 */
const STALE_MS = 1_600;
const ROUNDS = 2;

/** @typedef {Record<string, number>} Calls */
/**
 * @typedef {object} Crossings
 * @property {number} out calls out of the Wasm
 * @property {number} in calls into it
 * @property {number} glue_allocations those of the latter by which the glue allocates and grows memory, for texts and bytes
 * @property {{ out: Calls, in: Calls }} by_name is not compared: it shows what has changed
 */
/** @type {{ calls?: Record<string, Crossings> }} */
const kept = JSON.parse(readFileSync(FILE, "utf8"));

/** @type {Isolates} */ let isolates;

/**
 * The isolates that are called: one for each kind of call, so that none has the after-effects of another. All objects
 * are in the isolate before the first of them.
 */
const KINDS = [
  "whole, ring key",
  "whole, issued key",
  "whole, key with limits",
  "stream, usage hidden",
  "stream, usage asked for",
  "whole, ring key, with all that is done behind it",
];

/** The ring keys: one each, so that no kind of call shares its ledger with another. */
const ringKey = (/** @type {number} */ kind) => `${KEY}-${kind}`;

before(async () => {
  const limits = {
    requests_per_minute: 1_000_000,
    tokens_per_day: 1_000_000_000,
    usd_per_day: 1_000_000,
  };
  const bindings = {
    GATEWAY_API_KEY_HASHES: KINDS.map((_, kind) => `ring-${kind}:${digest(ringKey(kind))}`).join(
      ",",
    ),
    GATEWAY_ADMIN_KEY_HASHES: `ops:${digest(OPERATOR_KEY)}`,
    DEMO_API_KEY: PROVIDER_KEY,
    GATEWAY_CONFIG: JSON.stringify({
      providers: { demo: { base_url: `http://${HOST}/v1`, models: ["sim-small"] } },
      models: { "demo/sim-small": { input_usd_per_mtok: 1, output_usd_per_mtok: 2 } },
      policies: { limited: { limits } },
    }),
  };
  const inside = ["entry.mjs", "capture.mjs", "shape.mjs"].map((name) => `counts/${name}`);
  isolates = await Isolates.start(1 + KINDS.length, bindings, {}, inside);
});
after(() => isolates?.stop());

/**
 * @param {number} kind
 * @param {string} [key]
 * @param {object} [body]
 */
async function one(kind, key = ringKey(kind), body = {}) {
  const headers = { authorization: `Bearer ${key}` };
  const response = await chat(isolates.at(1 + kind), { max_tokens: 64, ...body }, headers);
  const text = await response.text();
  assert.equal(response.status, 200, text);
  return text;
}

/** @param {number} kind */
async function taken(kind) {
  const response = await fetch(`${isolates.at(1 + kind).url}/__counts`);
  /** @type {{ out: Calls, in: Calls }} */
  const found = await response.json();
  const sorted = (/** @type {Calls} */ calls) =>
    Object.fromEntries(Object.entries(calls).toSorted(([a], [b]) => (a < b ? -1 : 1)));
  return { out: sorted(found.out), in: sorted(found.in) };
}

/**
 * The crossings of a usual call: the smallest count of many successive calls that occurs more than once.
 *
 * Some calls also do occasional work for many: report to the ledger, report on the provider, read the limits in a
 * response, fetch random bytes. Their share depends on timing, so neither an average nor a median would be stable.
 *
 * @param {number} number
 * @param {number} kind
 * @param {() => Promise<unknown>} call
 */
async function ofUsual(number, kind, call) {
  for (let calls = 0; calls < WARM_UP; calls += 1) await call();
  await taken(kind);
  /** @type {Map<string, number>} */
  const found = new Map();
  for (let calls = 0; calls < number; calls += 1) {
    await call();
    const counts = JSON.stringify(await taken(kind));
    found.set(counts, (found.get(counts) ?? 0) + 1);
  }
  const alike = [...found].filter(([, times]) => times > 1);
  assert.ok(alike.length > 0, `of ${number} calls no two cross alike: the machine is too busy`);
  return least(alike.map(([counts]) => summed(JSON.parse(counts))));
}

/** @param {Crossings[]} several */
function least(several) {
  const [first] = several.toSorted((a, b) => a.out + a.in - b.out - b.in);
  return /** @type {Crossings} */ (first);
}

/**
 * The crossings of a call after a pause, with all its later work: it refreshes the health view, is reported to the
 * ledger by itself, and reports on the provider. The smallest count of some rounds, since random bytes are fetched in
 * some.
 *
 * @param {number} kind
 */
async function ofLonely(kind) {
  await one(kind);
  await sleep(DONE_MS);
  /** @type {Crossings[]} */
  const rounds = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    await sleep(STALE_MS);
    await taken(kind);
    await one(kind);
    await sleep(DONE_MS);
    rounds.push(summed(await taken(kind)));
  }
  return least(rounds);
}

/**
 * @param {{ out: Calls, in: Calls }} calls
 * @returns {Crossings}
 */
function summed(calls) {
  const sum = (/** @type {Calls} */ of) => Object.values(of).reduce((a, b) => a + b, 0);
  const { __wbindgen_malloc: made = 0, __wbindgen_realloc: grown = 0 } = calls.in;
  return {
    out: sum(calls.out),
    in: sum(calls.in),
    glue_allocations: made + grown,
    by_name: calls,
  };
}

/** @returns {Promise<Record<string, Crossings>>} */
async function measured() {
  const { key: free } = await issue(isolates.at(0), "free");
  const { key: limited } = await issue(isolates.at(0), "limited", { policies: ["limited"] });
  const lonely = ofLonely(5);
  const stream = async (/** @type {number} */ kind, /** @type {object} */ options) => {
    const received = events(await one(kind, undefined, { stream: true, ...options }));
    // The first event, the content, the last one, and [DONE]; and the usage.
    assert.equal(received.length, EVENTS + ("stream_options" in options ? 4 : 3));
  };
  const found = [
    await ofUsual(CALLS, 0, () => one(0)),
    await ofUsual(CALLS, 1, () => one(1, free)),
    await ofUsual(CALLS, 2, () => one(2, limited)),
    await ofUsual(STREAMS, 3, () => stream(3, {})),
    await ofUsual(STREAMS, 4, () => stream(4, { stream_options: { include_usage: true } })),
    await lonely,
  ];
  return Object.fromEntries(
    KINDS.map((kind, index) => [kind, /** @type {Crossings} */ (found[index])]),
  );
}

/**
 * The changes of the counts by name, to find the reason.
 *
 * @param {Crossings | undefined} expected
 * @param {Crossings} found
 */
function changes(expected, found) {
  return /** @type {const} */ (["out", "in"]).flatMap((way) => {
    const before = expected?.by_name[way] ?? {};
    const now = found.by_name[way];
    return [...new Set([...Object.keys(before), ...Object.keys(now)])]
      .filter((name) => before[name] !== now[name])
      .map((name) => `  ${way}: ${name}, ${before[name] ?? 0} before, ${now[name] ?? 0} now`);
  });
}

/**
 * The violations of the expected counts, one in each line.
 *
 * @param {import("node:test").TestContext} context
 * @param {[what: string, expected: number | undefined, found: number][]} counts
 */
function faults(context, counts) {
  if (UPDATE) return [];
  return counts.flatMap(([what, expected = 0, found]) => {
    const difference = `${what}: ${expected} expected (tests/counts.json), ${found} found`;
    if (found * TOLERANCE < expected) {
      context.diagnostic(`${difference}. So that it stays so: ${COMMAND}`);
    }
    return found > expected * TOLERANCE ? [difference] : [];
  });
}

/** @param {string[]} found */
function none(found) {
  const words = `more than 5 % above:\n${found.join("\n")}\nIf that is on purpose: ${COMMAND}`;
  assert.ok(found.length === 0, words);
}

suite("against tests/counts.json", () => {
  test("no more crosses between JavaScript and Wasm", async (context) => {
    const calls = await measured();
    none(
      Object.entries(calls).flatMap(([kind, found]) => {
        const expected = kept.calls?.[kind];
        const wrong = faults(context, [
          [`${kind}: calls out of the Wasm`, expected?.out, found.out],
          [`${kind}: calls into the Wasm`, expected?.in, found.in],
          [`${kind}: allocations of the glue`, expected?.glue_allocations, found.glue_allocations],
        ]);
        return wrong.length === 0 ? [] : [...wrong, ...changes(expected, found)];
      }),
    );
    update({ calls });
  });
});

/** @param {{ calls: Record<string, Crossings> }} found */
function update(found) {
  if (!UPDATE) return;
  const counts = { ...JSON.parse(readFileSync(FILE, "utf8")), ...found };
  writeFileSync(FILE, `${JSON.stringify(counts, null, 2)}\n`);
}
