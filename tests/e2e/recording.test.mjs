// @ts-check
//! Records of calls are exact when clients disconnect, upstreams fail, messages are lost, the database is down or the
//! machine dies. The simulated provider records what it has really generated.
//!
//! RECORDED_CALLS is the number of calls of the first test.

import assert from "node:assert/strict";
import { globSync } from "node:fs";
import { rm } from "node:fs/promises";
import { DatabaseSync } from "node:sqlite";
import { after, before, suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import {
  Gateway,
  KEY,
  Upstream,
  begin,
  call,
  eventually,
  freshState,
  variables,
} from "./harness.mjs";
import { Isolates } from "./isolates.mjs";
import { ROLLED_UP, assertChain, assertSums, issue, receipts, sums, usage } from "./ledgers.mjs";

const CALLS = Number(process.env["RECORDED_CALLS"] ?? 3000);
const AT_ONCE = 32;
const MODEL = "demo/sim-small";

/** @type {Upstream} */ let upstream;
/** Gets only the calls that it never answers. @type {Upstream} */ let silent;

before(async () => {
  upstream = await Upstream.start(["--record", "0"]);
  silent = await Upstream.start(["--record", "500"]);
});
after(() => Promise.all([upstream?.stop(), silent?.stop()]));

const configured = () =>
  variables(upstream, {
    providers: {
      demo: { base_url: `${upstream.url}/demo/v1`, models: ["sim-small"] },
      failing: { base_url: `${upstream.url}/failing/v1`, auth: "none", models: ["m"] },
      first: { base_url: `${upstream.url}/first/v1`, auth: "none", models: ["m"] },
      second: { base_url: `${upstream.url}/second/v1`, auth: "none", models: ["m"] },
      silent: { base_url: `${silent.url}/v1`, auth: "none", models: ["m"] },
    },
    groups: { either: { models: ["first/m", "second/m"] } },
    models: {
      [MODEL]: { input_usd_per_mtok: 1, output_usd_per_mtok: 3.5, max_output: 1000 },
      "second/m": { input_usd_per_mtok: 0.3, output_usd_per_mtok: 0.7, max_output: 1000 },
      "silent/m": { input_usd_per_mtok: 1, output_usd_per_mtok: 1, max_output: 1000 },
    },
    routing: { retries: 0, sticky: false },
    ledger: { unknown_price: "count_tokens" },
    policies: {
      ample: {
        limits: { requests_per_day: 1_000_000, tokens_per_day: 1_000_000_000, usd_per_day: 1000 },
      },
      some: { limits: { concurrent: 1000, usd_total: 1000 } },
    },
  });

/** @param {number} words */
const prompt = (words) => [{ role: "user", content: Array(words).fill("word").join(" ") }];

/**
 * Sends calls concurrently.
 *
 * @param {number} count
 * @param {number} atOnce
 * @param {(index: number) => Promise<unknown>} act
 */
async function inTurn(count, atOnce, act) {
  let next = 0;
  const work = async () => {
    while (next < count) await act(next++);
  };
  await Promise.all(Array.from({ length: atOnce }, work));
}

/**
 * @typedef {object} Called what the client knows of a call
 * @property {string} id its x-request-id
 * @property {string} kind
 * @property {string} key
 * @property {number} [words] of the prompt, where a part of an answer has come
 * @property {number} [generated] tokens of that part
 */

/** A whole chat completion, without the check of the contract, which would take most of the time. */
async function chat(
  /** @type {Gateway} */ gateway,
  /** @type {string} */ key,
  /** @type {string} */ id,
  /** @type {object} */ body,
) {
  const response = await fetch(`${gateway.url}/v1/chat/completions`, {
    method: "POST",
    headers: {
      authorization: `Bearer ${key}`,
      "content-type": "application/json",
      "x-request-id": id,
    },
    body: JSON.stringify({ model: MODEL, ...body }),
  });
  const text = await response.text();
  return { status: response.status, headers: response.headers, text };
}

/** Which of the calls that are never answered have reached the upstream. @type {Set<string>} */
const arrived = new Set();
let looking = false;

/** @param {string} id */
const arrival = (id) =>
  eventually(async () => {
    if (!arrived.has(id) && !looking) {
      looking = true;
      const response = await fetch(`${silent.url}/_requests?last=100`);
      for (const { body_text } of /** @type {any[]} */ (await response.json())) {
        arrived.add(JSON.parse(body_text).user);
      }
      looking = false;
    }
    return arrived.has(id);
  }, 30_000);

/** Kinds of calls with their percentages. @type {[number, string][]} */
const MIX = [
  [44, "whole"],
  [22, "stream"],
  [5, "leaves a stream"],
  [5, "leaves before the answer"],
  [6, "cut"],
  [6, "500"],
  [4, "400"],
  [8, "429 and failover"],
];

/**
 * Sends a call of a kind.
 *
 * @param {Gateway} gateway
 * @param {string} key
 * @param {string} id
 * @param {string} kind
 * @param {number} n
 * @returns {Promise<Called>}
 */
async function make(gateway, key, id, kind, n) {
  const words = 1 + (n % 50);
  const events = 3 + (n % 40);
  const body = {
    messages: prompt(words),
    ...(n % 3 === 0 ? {} : { project_id: `project-${n % 3}` }),
  };
  const called = { id, kind, key };
  switch (kind) {
    case "whole": {
      const answer = await chat(gateway, key, id, { ...body, simulate: { events } });
      assert.equal(answer.status, 200, answer.text);
      return called;
    }
    case "stream": {
      const streamed = { ...body, stream: true, simulate: { events } };
      const answer = await chat(gateway, key, id, streamed);
      assert.ok(answer.text.endsWith("data: [DONE]\n\n"), answer.text);
      return called;
    }
    case "leaves a stream": {
      const at = 2 + (n % (events - 1));
      const simulate = { hang: "stream", after_events: at, events };
      const { socket, ...rest } = await begin(
        gateway,
        key,
        { model: MODEL, ...body, stream: true, simulate },
        { "x-request-id": id },
      );
      let text = rest.text;
      socket.on("data", (data) => (text += data));
      await eventually(() => text.split("data: ").length - 1 >= at, 30_000);
      socket.resetAndDestroy();
      return { ...called, words, generated: at - 1 };
    }
    case "leaves before the answer": {
      const silence = { model: "silent/m", ...body, user: id, simulate: { hang: "headers" } };
      const { socket } = await begin(gateway, key, silence, { "x-request-id": id });
      await arrival(id);
      socket.resetAndDestroy();
      return called;
    }
    case "cut": {
      const at = 2 + (n % (events - 1));
      const simulate = { cut: "stream", after_events: at, events };
      const answer = await chat(gateway, key, id, { ...body, stream: true, simulate });
      assert.match(answer.text, /"upstream_stream_cut"/);
      return { ...called, words, generated: at - 1 };
    }
    case "500":
    case "400": {
      const simulate = { status: Number(kind) };
      const answer = await chat(gateway, key, id, { model: "failing/m", ...body, simulate });
      assert.equal(answer.status, Number(kind), answer.text);
      return called;
    }
    default: {
      const simulate = { status: 429, retry_after: 0, when: { path: "/first" } };
      const stream = n % 2 === 0;
      const answer = await chat(gateway, key, id, { model: "either", ...body, stream, simulate });
      assert.equal(answer.status, 200, answer.text);
      assert.equal(answer.headers.get("x-gateway-provider"), "second");
      return called;
    }
  }
}

/** @param {number} n */
function kindOf(n) {
  // Evenly distributed, in random order.
  let place = (n * 37) % 100;
  for (const [share, kind] of MIX) {
    if (place < share) return kind;
    place -= share;
  }
  throw new Error("the shares are not a hundred");
}

/**
 * Waits until the ledgers have recorded so many calls; returns their receipts and reports in the order of the keys.
 *
 * @param {Gateway} gateway
 * @param {string[]} keys
 * @param {number} count
 */
async function settled(gateway, keys, count) {
  /** @type {any[]} */ let accounts = [];
  const recordedCalls = () => accounts.reduce((sum, account) => sum + account.receipts.count, 0);
  const know = async () => {
    accounts = await Promise.all(keys.map((key) => usage(gateway, "", key)));
    return recordedCalls() >= count;
  };
  await eventually(know, 30_000).catch(() => {
    assert.fail(`${recordedCalls()} of ${count} calls have been recorded`);
  });
  const lists = [];
  for (const [index, key] of keys.entries()) {
    const list = await receipts(gateway, key);
    assertChain(list, accounts[index]);
    assertSums(list, accounts[index]);
    lists.push(list);
  }
  return { accounts, lists };
}

test(
  `recording: ${CALLS} calls, a tenth of whose clients leave, are recorded to the token`,
  { timeout: 900_000 },
  async (t) => {
    const isolates = await Isolates.start(2, configured());
    try {
      const names = ["one", "two", "three"];
      const settings = [{ policies: ["ample"] }, { policies: ["some"] }, {}];
      const issued = [];
      for (const [index, name] of names.entries()) {
        issued.push((await issue(isolates.at(0), name, settings[index])).key);
      }
      const keys = [...issued, KEY];
      /** @type {Called[]} */ const calls = [];
      const began = Date.now();
      await inTurn(CALLS, AT_ONCE, async (n) => {
        const key = keys[Math.floor(n / 100) % 4] ?? KEY;
        const gateway = isolates.at(Math.floor(n / 7) % 2);
        calls.push(await make(gateway, key, `call-${n}`, kindOf(n), n));
      });
      const ms = Date.now() - began;
      t.diagnostic(`${CALLS} calls in ${ms} ms: ${Math.round((CALLS / ms) * 1000)} a second`);
      const ended = Date.now();
      await eventually(async () => {
        const counts = await Promise.all([upstream.stats(), silent.stats()]);
        return counts.every((count) => count["open"] === 0);
        // With a limit of money or tokens, the upstream is read for 25 s after the client has left.
      }, 40_000);

      const { accounts, lists } = await settled(isolates.at(1), keys, CALLS);
      const all = lists.flat();
      assert.equal(all.length, CALLS);
      const byCall = new Map(all.map((receipt) => [receipt.request_id, receipt]));
      assert.equal(byCall.size, CALLS, "a call is recorded twice");
      /** @type {Record<string, string>} */
      const outcomes = {
        whole: "answered",
        stream: "answered",
        "429 and failover": "answered",
        "leaves a stream": "client_left",
        "leaves before the answer": "client_left",
        cut: "failed",
        500: "failed",
        400: "refused",
      };
      for (const { id, kind } of calls) {
        const receipt = byCall.get(id);
        assert.equal(receipt?.outcome, outcomes[kind], `${kind}: ${JSON.stringify(receipt)}`);
      }

      // The tokens that the provider really generated.
      const [stats, none] = [await upstream.stats(), await silent.stats()];
      const sum = sums(all);
      t.diagnostic(`${sum["completion_tokens"]} tokens of output, ${stats["cancelled"]} cancelled`);
      // With a limit of money or tokens, an incomplete call is charged the most that it can have used.
      const metered = keys.slice(0, 2);
      let excess = 0;
      for (const { id, key, kind, generated = 0 } of calls) {
        if (!metered.includes(key) || !/leaves|cut/.test(kind)) continue;
        const { estimated, completion_tokens } = byCall.get(id);
        assert.ok(estimated && completion_tokens >= 256, `${kind}: ${completion_tokens}`);
        excess += completion_tokens - generated;
      }
      assert.equal((sum["completion_tokens"] ?? 0) - excess, stats["completion_tokens"]);
      assert.equal(none["completion_tokens"], 0);
      assert.equal(sum["attempts"], (stats["requests"] ?? 0) + (none["requests"] ?? 0));
      const reported = accounts.reduce((sum, account) => sum + account.completion_tokens, 0);
      assert.equal(reported, sum["completion_tokens"]);
      // The provider's count of the prompt is unknown for incomplete responses.
      const whole = all.filter((receipt) => receipt.outcome === "answered");
      assert.ok(whole.every((receipt) => !receipt.estimated && !receipt.partial));
      const unknown = calls.reduce((sum, call) => sum + (call.words ?? 0), 0);
      assert.equal(sums(whole)["prompt_tokens"], (stats["prompt_tokens"] ?? 0) - unknown);
      // The limits count the amounts of the receipts.
      const limits = Object.fromEntries(
        accounts.flatMap((account, index) =>
          account.limits.map((/** @type {any} */ limit) => [`${index} ${limit.limit}`, limit]),
        ),
      );
      const [one, two] = [sums(lists[0] ?? []), sums(lists[1] ?? [])];
      assert.equal(limits["0 requests_per_day"].used, one["requests"]);
      assert.equal(limits["0 usd_per_day"].used, one["cost_micro_usd"]);
      assert.equal(
        limits["0 tokens_per_day"].used,
        (one["prompt_tokens"] ?? 0) + (one["completion_tokens"] ?? 0),
      );
      assert.equal(limits["1 usd_total"].used, two["cost_micro_usd"]);

      // Soon after, so does the database.
      const rolledUp = async () => (await isolates.database.prepare(ROLLED_UP).all()).results[0];
      await eventually(async () => (await rolledUp())?.["requests"] >= CALLS, 60_000);
      t.diagnostic(`rolled up ${Date.now() - ended} ms after the last call`);
      assert.deepEqual({ ...(await rolledUp()) }, sum);
      await sleep(5_000);
      const analytics = await (await call(`${isolates.at(0).url}/v1/analytics`)).json();
      assert.equal(analytics.total_requests, CALLS);
      assert.equal(analytics.successful_requests, sum["successful"]);
      for (const [name, counts] of Object.entries(analytics.projects)) {
        const of = all.filter((receipt) => receipt.project === name);
        const good = of.filter((receipt) => receipt.outcome === "answered");
        assert.deepEqual([counts.requests, counts.successful], [of.length, good.length], name);
      }

      // Nothing is reserved any more.
      await eventually(async () => {
        const now = await Promise.all(keys.map((key) => usage(isolates.at(0), "", key)));
        return now.every(({ limits }) =>
          limits.every((/** @type {any} */ limit) => limit.held === 0 && limit.unconfirmed === 0),
        );
      }, 40_000);
    } finally {
      await isolates.stop();
    }
  },
);

/**
 * The files of the ledgers of a gateway's state.
 *
 * @param {string} state
 */
const ledgerFiles = (state) =>
  globSync(`${state}/v3/do/*KeyLedger/*.sqlite`).filter(
    (path) => !path.endsWith("metadata.sqlite"),
  );

/** @param {Gateway} gateway */
const rolledUp = (gateway) => ({ ...gateway.query(ROLLED_UP)[0] });

/** @param {any[]} list */
const byId = (list) => new Map(list.map((receipt) => [receipt.id, JSON.stringify(receipt)]));

test(
  "recording: a runtime killed under load loses no acknowledged record",
  { timeout: 400_000 },
  async (t) => {
    const state = await freshState();
    let gateway = await Gateway.start(configured(), [], state);
    try {
      const keys = [(await issue(gateway, "one", { policies: ["ample"] })).key, KEY];
      /** Receipts that could be read, by id. @type {Map<string, string>} */
      const acknowledged = new Map();
      /** The times when completely answered calls ended, by receipt. @type {Map<string, number>} */
      const answered = new Map();
      /** @type {number[]} */ const kills = [];
      let calls = 0;
      for (let round = 0; round < 5; round += 1) {
        const alive = gateway;
        let running = true;
        const caller = async () => {
          while (running) {
            const n = (calls += 1);
            const stream = n % 2 === 0;
            const body = { messages: prompt(3), stream, simulate: { events: 5 } };
            try {
              const answer = await chat(alive, keys[n % 2] ?? KEY, `killed-${n}`, body);
              const whole = stream ? answer.text.endsWith("[DONE]\n\n") : answer.status === 200;
              if (whole) answered.set(answer.headers.get("x-gateway-receipt") ?? "", Date.now());
            } catch {
              // The gateway was killed.
            }
          }
        };
        const reader = async () => {
          while (running) {
            for (const key of keys) {
              try {
                const { data } = await usage(alive, "/requests?limit=100", key);
                for (const [id, text] of byId(data)) acknowledged.set(id, text);
              } catch {
                // The gateway was killed.
              }
            }
            await sleep(100);
          }
        };
        const work = Promise.all([...Array.from({ length: 6 }, caller), reader()]);
        // Also while sums are rolled up.
        await sleep(2_000 + round * 2_500);
        kills.push(Date.now());
        await alive.kill();
        running = false;
        await work;
        gateway = await Gateway.start(configured(), [], state);
        const found = new Map();
        for (const key of keys) {
          const list = await receipts(gateway, key);
          const account = await usage(gateway, "", key);
          assertChain(list, account);
          assertSums(list, account);
          for (const [id, text] of byId(list)) found.set(id, text);
        }
        const gone = [...acknowledged].filter(([id, text]) => found.get(id) !== text);
        assert.deepEqual(gone, [], `of ${acknowledged.size}`);
        for (const [id, text] of found) acknowledged.set(id, text);
      }
      // The calls of the last moments, which had not been reported.
      const lost = [...answered].filter(([id]) => !acknowledged.has(id));
      const ages = lost.map(([, at]) =>
        Math.min(...kills.map((kill) => kill - at).filter((ms) => ms > -500)),
      );
      t.diagnostic(
        `${calls} calls, ${answered.size} answered, ${acknowledged.size} recorded, ${lost.length} lost with the five kills; the oldest had ended ${Math.max(0, ...ages)} ms before`,
      );
      assert.ok(
        ages.every((ms) => ms < 5_000),
        `${ages}`,
      );

      // One more call for each, to wake them.
      for (const key of keys) {
        assert.equal((await chat(gateway, key, "last", { messages: prompt(1) })).status, 200);
      }
      const every = async () =>
        (await Promise.all(keys.map((key) => receipts(gateway, key)))).flat();
      const count = acknowledged.size + keys.length;
      await eventually(async () => (await every()).length === count);
      const all = await every();
      const want = sums(all);
      await eventually(() => rolledUp(gateway)["requests"] === all.length, 60_000).catch(() => {});
      assert.deepEqual(rolledUp(gateway), want);
    } finally {
      await gateway.stop();
      await rm(state, { recursive: true });
    }
  },
);

suite("recording, one key", () => {
  /** @type {Gateway} */ let gateway;
  let made = 0;

  before(async () => {
    gateway = await Gateway.start(configured());
  });
  after(() => gateway?.stop());

  /** @param {number} ms */
  async function callFor(ms) {
    const until = Date.now() + ms;
    while (Date.now() < until) {
      const id = `one-${(made += 1)}`;
      const stream = made % 2 === 0;
      const answer = await chat(gateway, KEY, id, { messages: prompt(2), stream });
      assert.equal(answer.status, 200, answer.text);
      await sleep(20);
    }
  }

  const soon = () => eventually(async () => (await receipts(gateway)).length === made, 30_000);

  test("recording: during a database failure calls are served, and their sums arrive once it is back", async (t) => {
    await callFor(500);
    gateway.execute("ALTER TABLE usage_by_key RENAME COLUMN prompt_tokens TO hidden");
    // The first attempt after ten seconds, and another five seconds later.
    await callFor(17_000);
    await soon();
    const failures = gateway.events().filter(({ event }) => event === "database").length;
    t.diagnostic(`${failures} attempts to roll up failed`);
    assert.ok(failures >= 2);
    gateway.execute("ALTER TABLE usage_by_key RENAME COLUMN hidden TO prompt_tokens");
    const back = Date.now();
    await callFor(500);
    await soon();
    const list = await receipts(gateway);
    assertChain(list, await usage(gateway));
    await eventually(() => rolledUp(gateway)["requests"] === made, 70_000);
    t.diagnostic(`caught up ${Date.now() - back} ms after it was back`);
    assert.deepEqual(rolledUp(gateway), sums(list));
    await sleep(5_000);
    const analytics = await (await call(`${gateway.url}/v1/analytics`)).json();
    assert.equal(analytics.total_requests, made);
  });

  test("recording: calls during a ledger's write failure are reported again and counted once", async (t) => {
    const [file = ""] = ledgerFiles(String(gateway.state));
    const database = new DatabaseSync(file, { timeout: 5000 });
    database.exec("BEGIN IMMEDIATE");
    await callFor(3_000);
    const shown = await usage(gateway).then(({ receipts }) => receipts.count, String);
    database.exec("ROLLBACK");
    database.close();
    const failures = gateway.events().filter(({ event }) => event === "ledger");
    t.diagnostic(
      `${made - shown} calls waited; ${failures.length} messages failed: ${failures[0]?.error}`,
    );
    assert.ok(failures.length > 0);
    await callFor(500);
    await soon();
    const list = await receipts(gateway);
    assertChain(list, await usage(gateway));
    assert.equal(new Set(list.map((receipt) => receipt.request_id)).size, made);
  });

  test("recording: an idle key holds no lease and its ledger no alarm", async (t) => {
    const { key } = await issue(gateway, "limited", { policies: ["ample"] });
    for (let n = 0; n < 5; n += 1) {
      assert.equal((await chat(gateway, key, `idle-${n}`, { messages: prompt(1) })).status, 200);
    }
    await eventually(async () => (await usage(gateway, "", key)).receipts.count === 5);
    const ended = Date.now();
    const idle = async () => {
      const { limits } = await usage(gateway, "", key);
      return limits.every((/** @type {any} */ limit) => limit.held === 0);
    };
    await eventually(idle, 20_000);
    t.diagnostic(`nothing was held ${Date.now() - ended} ms after the last call`);
    const leases = ledgerFiles(String(gateway.state)).flatMap((file) => {
      const database = new DatabaseSync(file, { timeout: 5000, readOnly: true });
      const rows = database.prepare("SELECT * FROM leases").all();
      database.close();
      return rows;
    });
    assert.deepEqual(leases, []);
    await eventually(() => rolledUp(gateway)["requests"] === made + 5, 60_000);
    // The runtime's own table of alarms.
    const [metadata = ""] = globSync(`${gateway.state}/v3/do/*KeyLedger/metadata.sqlite`);
    const alarms = () => {
      const database = new DatabaseSync(metadata, { timeout: 5000, readOnly: true });
      const rows = database.prepare("SELECT 1 FROM _cf_ALARM").all();
      database.close();
      return rows.length;
    };
    await eventually(() => alarms() === 0, 60_000);
    t.diagnostic(`no alarm was set ${Date.now() - ended} ms after it`);
  });
});

test("recording: lost reports, lost responses and lost lease requests are counted once", async (t) => {
  // Of every five messages one is lost, and of another one the response.
  const lossy = `import { KeyLedger as Kept } from "./build/index.js";
    let messages = 0;
    export class KeyLedger extends Kept {
      async fetch(request) {
        const text = await request.text();
        const message = new Request(request.url, { method: "POST", body: text });
        if (!/^\\{"(report|ask)"/.test(text)) return super.fetch(message);
        messages += 1;
        if (messages % 5 === 1) throw new Error("the message was lost");
        const answer = await super.fetch(message);
        if (messages % 5 === 3) throw new Error("the answer was lost");
        return answer;
      }
    }\n`;
  const isolates = await Isolates.start(2, configured(), { KeyLedger: lossy });
  try {
    const { key } = await issue(isolates.at(0), "one", { policies: ["ample"] });
    const keys = [key, KEY];
    let answered = 0;
    let refused = 0;
    await inTurn(400, 8, async (n) => {
      const body = { messages: prompt(1 + (n % 9)), stream: n % 2 === 0 };
      const answer = await chat(
        isolates.at(n % 2),
        keys[n % 3 === 0 ? 1 : 0] ?? KEY,
        `lossy-${n}`,
        body,
      );
      // A lost lease request rejects the call.
      assert.ok([200, 503].includes(answer.status), answer.text);
      if (answer.status === 200) answered += 1;
      else refused += 1;
    });
    t.diagnostic(`${answered} answered, ${refused} refused`);
    assert.ok(answered > 200);
    const { lists } = await settled(isolates.at(0), keys, answered);
    assert.equal(lists.flat().length, answered);
    assert.equal(new Set(lists.flat().map(({ request_id }) => request_id)).size, answered);
    await eventually(async () => {
      const { limits } = await usage(isolates.at(0), "", key);
      return limits.every(
        (/** @type {any} */ limit) => limit.held === 0 && limit.unconfirmed === 0,
      );
    }, 60_000).catch(async () => {
      const { limits } = await usage(isolates.at(0), "", key);
      assert.fail(`something is still held: ${JSON.stringify(limits)}`);
    });
    const { limits } = await usage(isolates.at(0), "", key);
    const used = (/** @type {string} */ name) =>
      limits.find((/** @type {any} */ limit) => limit.limit === name).used;
    const sum = sums(lists[0] ?? []);
    assert.equal(used("requests_per_day"), sum["requests"]);
    assert.equal(used("usd_per_day"), sum["cost_micro_usd"]);
  } finally {
    await isolates.stop();
  }
});

test("recording: with log.calls_percent = 0 only failed calls have a log line, and all have receipts", async () => {
  const { GATEWAY_CONFIG } = configured();
  const config = JSON.stringify({ ...JSON.parse(GATEWAY_CONFIG), log: { calls_percent: 0 } });
  const gateway = await Gateway.start({ ...configured(), GATEWAY_CONFIG: config });
  try {
    const { key } = await issue(gateway, "quiet", { policies: ["ample"] });
    const statuses = [];
    for (const simulate of [{}, { status: 500 }, {}, { status: 400 }]) {
      const { status } = await chat(gateway, key, "", { messages: prompt(1), simulate });
      statuses.push(status);
    }
    assert.deepEqual(statuses, [200, 500, 200, 400]);
    const logged = () => gateway.events().filter(({ event }) => event === "call");
    await eventually(() => logged().length >= 2);
    await eventually(async () => (await receipts(gateway, key)).length === 4);
    assert.deepEqual(
      logged().map(({ status }) => status),
      [500, 400],
    );
  } finally {
    await gateway.stop();
  }
});
