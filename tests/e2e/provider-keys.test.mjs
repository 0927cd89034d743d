// @ts-check
//! Keys of providers in the database: adding, changing, testing and deleting them, the master key and its rotation, and the
//! self-test. Four isolates share a database; they have different master keys.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import { after, before, suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { OPERATOR_KEY, call, chat, eventually, operate, root } from "./harness.mjs";
import { KEY_HASH, LABEL, OPERATOR_LABEL } from "./harness.mjs";
import { digest } from "../../scripts/lib/gateway-key.mjs";
import { Isolates } from "./isolates.mjs";

/** @typedef {import("./harness.mjs").Gateway} Gateway */

/** The guaranteed delay of a change, and the tolerance for clocks. */
const BOUND_MS = 10_000;
const GRANULARITY_MS = 300;

const MASTER = Buffer.alloc(32, 1).toString("base64");
const NEXT = Buffer.alloc(32, 2).toString("base64");
/** The isolates that have `MASTER`, those that have no master key, and those that rotate. */
const [FIRST, SECOND, WITHOUT, ROTATED] = [0, 1, 2, 3];
const OF_SECRET = "sk-of-the-worker-secret";
const STORED = "sk-stored-in-the-database-1";
const OTHER = "sk-stored-in-the-database-2";
const REJECTED = "sk-rejected-by-the-provider";

/**
 * A provider that accepts all keys but one, notes which it gets, and streams slowly.
 */
async function startProvider() {
  /** @type {string[]} */
  const keys = [];
  const server = createServer(async (request, response) => {
    let text = "";
    for await (const chunk of request.setEncoding("utf8")) text += chunk;
    const key = (request.headers.authorization ?? "").replace("Bearer ", "");
    keys.push(key);
    const json = (/** @type {number} */ status, /** @type {object} */ body) =>
      response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
    if (key === REJECTED) {
      const message = `Incorrect API key provided: ${key}.`;
      json(401, { error: { message, type: "invalid_request_error", code: "invalid_api_key" } });
      return;
    }
    const { model, stream } = JSON.parse(text);
    const usage = { prompt_tokens: 12, completion_tokens: 2, total_tokens: 14 };
    const base = { id: "c", created: 1, model };
    if (!stream) {
      const message = { role: "assistant", content: "OK" };
      const choices = [{ index: 0, message, finish_reason: "stop" }];
      json(200, { ...base, object: "chat.completion", choices, usage });
      return;
    }
    response.writeHead(200, { "content-type": "text/event-stream" });
    const send = (/** @type {object} */ fields) =>
      response.write(
        `data: ${JSON.stringify({ ...base, object: "chat.completion.chunk", ...fields })}\n\n`,
      );
    // A long stream is one that a client cancels.
    const words = text.includes("300") ? 100 : 5;
    for (let word = 1; word <= words && !response.destroyed; word += 1) {
      const delta = { role: "assistant", content: `${word} ` };
      send({ choices: [{ index: 0, delta, finish_reason: null }] });
      await sleep(20);
    }
    send({ choices: [{ index: 0, delta: {}, finish_reason: "stop" }] });
    send({ choices: [], usage });
    response.end("data: [DONE]\n\n");
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return { server, keys, url: `http://127.0.0.1:${address.port}` };
}

/** @param {Response} response */
const json = async (response) => /** @type {any} */ (await response.json());

/**
 * A request of an operator, and its status and body.
 *
 * @param {Gateway} gateway
 * @param {string} method
 * @param {string} path
 * @param {object} [body]
 */
async function administer(gateway, method, path, body) {
  const response = await operate(gateway, method, path, body);
  const text = await response.text();
  said.push(text);
  return { status: response.status, body: text === "" ? null : JSON.parse(text) };
}

/** Everything that operators got. @type {string[]} */
const said = [];

/**
 * Runs the command line.
 *
 * @param {Gateway} gateway
 * @param {string[]} args
 * @param {string} [input]
 * @returns {Promise<{ status: number | null, stdout: string, stderr: string }>}
 */
function run(gateway, args, input = "") {
  const child = spawn(process.execPath, [`${root}scripts/gateway-operator.mjs`, ...args], {
    env: { ...process.env, GATEWAY_URL: gateway.url, GATEWAY_ADMIN_KEY: OPERATOR_KEY },
    timeout: 60_000,
  });
  let [stdout, stderr] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text) => (stderr += text));
  // It may end without reading its input.
  child.stdin.on("error", () => {});
  child.stdin.end(input);
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (status) => {
      said.push(stdout, stderr);
      resolve({ status, stdout, stderr });
    });
  });
}

suite("provider keys", () => {
  /** @type {Awaited<ReturnType<typeof startProvider>>} */ let provider;
  /** @type {Isolates} */ let isolates;
  /** @type {Gateway} */ let gateway;

  before(async () => {
    provider = await startProvider();
    const base_url = `${provider.url}/v1`;
    isolates = await Isolates.start(4, (index) => ({
      GATEWAY_API_KEY_HASHES: `${LABEL}:${KEY_HASH}`,
      GATEWAY_ADMIN_KEY_HASHES: `${OPERATOR_LABEL}:${digest(OPERATOR_KEY)}`,
      MIXED_API_KEY: OF_SECRET,
      ...(index === WITHOUT ? {} : { GATEWAY_MASTER_KEY: index === ROTATED ? NEXT : MASTER }),
      ...(index === ROTATED ? { GATEWAY_MASTER_KEY_PREVIOUS: MASTER } : {}),
      GATEWAY_CONFIG: JSON.stringify({
        providers: {
          mixed: { base_url, models: ["m"] },
          alone: { base_url, models: ["m", "n"] },
          lazy: { base_url },
        },
        models: {
          "alone/m": { input_usd_per_mtok: 1, output_usd_per_mtok: 4 },
          "alone/n": { input_usd_per_mtok: 2, output_usd_per_mtok: 4 },
        },
      }),
    }));
    gateway = isolates.at(FIRST);
  });
  after(async () => {
    provider?.server.closeAllConnections();
    provider?.server.close();
    await isolates?.stop();
  });

  /**
   * Calls a model; returns the status and the code of an error.
   *
   * @param {Gateway} of
   * @param {string} model
   */
  async function outcome(of, model) {
    const response = await chat(of, { model });
    const { error } = await json(response);
    return `${response.status} ${error?.code ?? ""}`.trim();
  }

  /** @param {string} name */
  async function listed(name, of = gateway) {
    const { body } = await administer(of, "GET", "/v0/providers");
    return body.find((/** @type {any} */ one) => one.name === name);
  }

  /**
   * The keys that the provider gets from some calls.
   *
   * @param {number} calls
   * @param {Gateway} of
   * @param {string} model
   */
  async function keysOf(calls, of, model) {
    provider.keys.length = 0;
    for (let made = 0; made < calls; made += 1) assert.equal(await outcome(of, model), "200");
    return [...provider.keys];
  }

  /** @type {string} */ let first;

  test("provider keys: a provider whose only key is stored becomes active, in every isolate within the bound", async () => {
    assert.equal(await outcome(gateway, "alone/m"), "503 provider_not_configured");
    assert.equal(await outcome(isolates.at(SECOND), "alone/m"), "503 provider_not_configured");
    const added = await administer(gateway, "POST", "/v0/providers/alone/keys", {
      key: STORED,
      label: "main",
    });
    assert.equal(added.status, 201, JSON.stringify(added.body));
    first = added.body.key_id;
    assert.equal(added.body.mask, "…se-1");
    assert.equal(await outcome(gateway, "alone/m"), "200", "at once where it was added");
    assert.equal(provider.keys.at(-1), STORED);
    const elsewhere = isolates.at(SECOND);
    await eventually(
      async () => (await outcome(elsewhere, "alone/m")) === "200",
      BOUND_MS + GRANULARITY_MS,
    );
    const alone = await listed("alone");
    assert.equal(alone.active, true);
    assert.deepEqual(
      alone.keys.map((/** @type {any} */ key) => [key.key_id, key.source, key.label, key.enabled]),
      [[first, "database", "main", true]],
    );
  });

  test("provider keys: stored keys work beside those of Worker secrets, by their weights", async () => {
    const added = await administer(gateway, "POST", "/v0/providers/mixed/keys", {
      key: OTHER,
      weight: 4,
    });
    assert.equal(added.body.label, "key 16");
    const path = `/v0/providers/mixed/keys/${added.body.key_id}`;
    const used = await keysOf(60, gateway, "mixed/m");
    const stored = used.filter((key) => key === OTHER).length;
    assert.ok(stored > 30 && stored < 60, `${stored} of 60 for a weight of 4 to 1`);
    assert.ok(used.includes(OF_SECRET));
    const changed = await administer(gateway, "PATCH", path, { enabled: false, label: "spare" });
    assert.deepEqual([changed.body.enabled, changed.body.label], [false, "spare"]);
    assert.deepEqual([...new Set(await keysOf(10, gateway, "mixed/m"))], [OF_SECRET]);
    const tested = await administer(gateway, "POST", `${path}/test`, { model: "mixed/m" });
    assert.equal(tested.body.ok, true, "a disabled key can be tested");
    assert.equal(provider.keys.at(-1), OTHER);
    assert.equal((await administer(gateway, "DELETE", path)).status, 200);
    assert.equal((await administer(gateway, "DELETE", path)).body.error_code, "UnknownProviderKey");
    const again = await administer(gateway, "POST", "/v0/providers/mixed/keys", { key: OTHER });
    assert.equal(again.body.id, "mixed:17", "a new key has no lane of a deleted one");
    await administer(gateway, "DELETE", `/v0/providers/mixed/keys/${again.body.key_id}`);
    const [row] = (
      await isolates.database.prepare("SELECT sealed FROM provider_keys WHERE place = 17").all()
    ).results;
    assert.equal(row?.["sealed"], "", "the ciphertext of a deleted key is removed");
  });

  test("provider keys: a test states the class of a failure and the cost, and counts against no lane", async () => {
    const tested = await administer(gateway, "POST", `/v0/providers/alone/keys/${first}/test`);
    assert.equal(tested.body.ok, true, JSON.stringify(tested.body));
    assert.equal(tested.body.model, "alone/m", "the cheapest one");
    assert.equal(tested.body.cost_usd, "0.00002", "12 tokens of input, 2 of output");
    const bad = await administer(gateway, "POST", "/v0/providers/alone/keys", { key: REJECTED });
    const path = `/v0/providers/alone/keys/${bad.body.key_id}`;
    const failed = await administer(gateway, "POST", `${path}/test`, { model: "n" });
    const { ok, model, status, class: named, message, cost_usd: cost } = failed.body;
    assert.deepEqual(
      [ok, model, status, named, cost],
      [false, "alone/n", 401, "credential_rejected", "0"],
    );
    assert.match(message, /^Incorrect API key provided/);
    assert.equal((await listed("alone")).keys[1].cooldown, null);
    await administer(gateway, "DELETE", path);
    const ofSecret = await administer(gateway, "POST", "/v0/providers/mixed/keys/0/test");
    assert.equal(ofSecret.body.ok, true);
    const unknown = await administer(gateway, "POST", "/v0/providers/mixed/keys/7/test");
    assert.equal(unknown.body.error_code, "UnknownProviderKey");
  });

  test("provider keys: mistakes are rejected with what to do", async () => {
    for (const [method, path, body, status, code, message] of /** @type {const} */ ([
      ["POST", "nobody/keys", { key: "k" }, 404, "NotFound", /no provider 'nobody'/],
      ["POST", "alone/keys", { key: STORED }, 409, "DuplicateProviderKey", /\('main'\)$/],
      [
        "POST",
        "mixed/keys",
        { key: OF_SECRET },
        409,
        "DuplicateProviderKey",
        /key 0 of its Worker/,
      ],
      ["POST", "alone/keys", { key: "a b" }, 400, "InvalidValue", /without white space/],
      ["POST", "alone/keys", { key: "k", weight: 0 }, 400, "InvalidValue", /from 1 to 1000/],
      ["POST", "alone/keys", {}, 400, "MissingMember", /'key' is missing/],
      ["PATCH", "mixed/keys/0", { weight: 2 }, 409, "ProviderKeyInSecret", /wrangler secret put/],
      ["DELETE", "mixed/keys/0", undefined, 409, "ProviderKeyInSecret", /Worker secret/],
      ["PATCH", "alone/keys/pkey_x", { weight: 2 }, 404, "UnknownProviderKey", /has no key/],
      ["POST", "lazy/keys/0/test", {}, 404, "UnknownProviderKey", /has no key '0'/],
    ])) {
      const made = await administer(gateway, method, `/v0/providers/${path}`, body);
      assert.equal(made.status, status, JSON.stringify(made.body));
      assert.equal(made.body.error_code, code);
      assert.match(made.body.message, message);
    }
    const denied = await call(`${gateway.url}/v0/providers/alone/keys`, {
      method: "POST",
      headers: { authorization: "Bearer test", "content-type": "application/json" },
      body: JSON.stringify({ key: "k" }),
    });
    assert.equal(denied.status, 403, "inference keys do not administer");
  });

  test("provider keys: without the master key the other keys go on, and the gateway says what is missing", async () => {
    const { body: stored } = await administer(gateway, "POST", "/v0/providers/mixed/keys", {
      key: OTHER,
      weight: 1000,
    });
    const without = isolates.at(WITHOUT);
    const refused = await administer(without, "POST", "/v0/providers/mixed/keys", { key: "k" });
    assert.equal(refused.status, 503);
    assert.equal(refused.body.error_code, "MasterKeyUnavailable");
    assert.match(refused.body.message, /GATEWAY_MASTER_KEY is not set.*openssl rand -base64 32/);
    assert.deepEqual([...new Set(await keysOf(5, without, "mixed/m"))], [OF_SECRET]);
    assert.equal(await outcome(without, "alone/m"), "503 provider_not_configured");
    const mixed = await listed("mixed", without);
    assert.match(mixed.keys[1].problem, /GATEWAY_MASTER_KEY is not set/);
    assert.match((await listed("alone", without)).inactive_reason, /stored key cannot be read/);
    const path = `/v0/providers/mixed/keys/${stored.key_id}`;
    const tested = await administer(without, "POST", `${path}/test`);
    assert.equal(tested.body.error_code, "MasterKeyUnavailable");
    const renamed = await administer(without, "PATCH", path, { label: "renamed" });
    assert.equal(renamed.body.label, "renamed", "what needs no master key works");
    const health = await json(await call(`${without.url}/health`));
    assert.match(health.problems.join(), /keys of providers in the database cannot be read/);
    assert.ok(
      isolates.log.some((line) => line.includes("a key of a provider cannot be read")),
      "the log says so",
    );
    await administer(gateway, "DELETE", path);
  });

  test("provider keys: a ciphertext that is moved to another provider does not open", async () => {
    await isolates.execute(
      "INSERT INTO provider_keys SELECT 'pkey_moved', 'mixed', label, mask, weight, enabled, 99, sealed, sealed_with, \
       created_ms, changed_ms, changed_by, NULL FROM provider_keys WHERE provider = 'alone' AND deleted_ms IS NULL",
    );
    await isolates.execute("UPDATE settings_version SET version = version + 1");
    const moved = (await listed("mixed")).keys.at(-1);
    assert.equal(moved.key_id, "pkey_moved");
    assert.match(moved.problem, /its ciphertext does not belong to it/);
    assert.deepEqual([...new Set(await keysOf(5, gateway, "mixed/m"))], [OF_SECRET]);
    await administer(gateway, "DELETE", "/v0/providers/mixed/keys/pkey_moved");
  });

  test("provider keys: the command line adds, lists, sets, tests, disables and deletes a key", async () => {
    const keys = (/** @type {string} */ line, input = "") =>
      run(gateway, ["providers", ...line.split(" ")], input);
    const added = await keys("keys add alone --label second --weight 3 --json", `${OTHER}\n`);
    assert.equal(added.stderr, "");
    const id = JSON.parse(added.stdout).key_id;
    const table = (await keys("keys list alone")).stdout;
    assert.match(table, new RegExp(`alone +${id} +second +…se-2 +3 +active`));
    assert.match((await keys(`keys set alone ${id} --weight 2`)).stdout, /weight 2\): everywhere/);
    assert.match((await keys(`keys disable alone ${id}`)).stdout, /^Disabled the key /);
    assert.match((await keys("keys list alone")).stdout, /disabled/);
    assert.match((await keys(`keys enable alone ${id}`)).stdout, /^Enabled the key /);
    assert.match((await keys(`keys test alone ${id}`)).stdout, /ok +alone\/m +0\.00002/);
    const all = await keys("test alone --json");
    assert.deepEqual(
      JSON.parse(all.stdout).map((/** @type {any} */ one) => one.ok),
      [true, true],
    );
    assert.match((await keys(`keys delete alone ${id} --yes`)).stdout, /^Deleted the key /);
    const missing = await keys(`keys delete alone ${id}`);
    assert.equal(missing.status, 1);
    assert.match(missing.stderr, /alone has no key .* \(HTTP 404/);
    const bad = await keys("keys add alone", `${REJECTED}\n`);
    const rejected = /pkey_\w+/.exec(bad.stdout)?.[0];
    const failed = await keys(`keys test alone ${rejected}`);
    assert.equal(failed.status, 1, "a script sees the failure");
    assert.match(failed.stdout, /credential_rejected \(401\)/);
    await keys(`keys delete alone ${rejected}`);
  });

  test("self-test: checks the deployment, and calls providers only if it may spend", async () => {
    provider.keys.length = 0;
    const free = await run(gateway, ["selftest"]);
    assert.deepEqual(provider.keys, [], "a script does not spend without --spend");
    assert.match(free.stdout, /ok +database +responds, and all migrations/);
    for (const name of ["KEY_LEDGER", "PROVIDER_HEALTH", "NOTIFIER", "RATE_LIMITER"]) {
      assert.match(free.stdout, new RegExp(`ok +object ${name} +responds`));
    }
    assert.match(free.stdout, /ok +limits .*\nok +providers +2 active/);
    assert.match(free.stdout, /ok +unknown key/);
    assert.match(free.stdout, /ok +CORS/);
    const { body } = await administer(gateway, "POST", "/v0/selftest");
    assert.equal(body.spent_usd, "0");

    const { stdout, stderr } = await run(gateway, ["selftest", "--spend", "--json"]);
    assert.equal(stderr, "");
    const report = JSON.parse(stdout);
    const of = (/** @type {string} */ name) =>
      report.checks.find((/** @type {any} */ check) => check.name === name);
    for (const name of ["provider alone", "provider mixed", "streaming", "cancel"]) {
      assert.equal(of(name)?.ok, true, JSON.stringify(report.checks));
    }
    assert.match(of("streaming").detail, /^7 events in order/);
    assert.match(of("cancel").detail, /is cancelled and recorded/);
    assert.match(of("limit of a key").detail, /gets 402/);
    const kept = (await administer(gateway, "GET", "/v0/api_keys")).body;
    assert.deepEqual(kept, [], "the key of the self-test is revoked");
  });

  test("self-test: a failing check names what to fix", async () => {
    const added = await administer(gateway, "POST", "/v0/providers/lazy/keys", { key: REJECTED });
    const without = isolates.at(WITHOUT);
    const { status, stdout } = await run(without, ["selftest"]);
    assert.equal(status, 1);
    assert.match(stdout, /FAIL +configuration .*cannot be read/);
    const { body } = await administer(gateway, "POST", "/v0/selftest", { spend: true });
    assert.equal(body.ok, false);
    const lazy = body.checks.find((/** @type {any} */ one) => one.name === "provider lazy");
    assert.match(lazy.detail, /knows no model of lazy/);
    await administer(gateway, "DELETE", `/v0/providers/lazy/keys/${added.body.key_id}`);
  });

  test("provider keys: the master key is rotated without an interruption", async () => {
    const rotated = isolates.at(ROTATED);
    assert.equal(await outcome(rotated, "alone/m"), "200", "the previous key decrypts");
    const done = await run(rotated, ["providers", "keys", "encrypt"]);
    assert.match(done.stdout, /^Encrypted 1 keys again; 1 are encrypted with the current/);
    assert.equal(await outcome(rotated, "alone/m"), "200");
    const again = await administer(rotated, "POST", "/v0/provider_keys/encrypt");
    assert.deepEqual(again.body, { encrypted: 0, current: 1, unreadable: [] });
    // An isolate of the older deployment keeps the keys that it has decrypted.
    const old = await listed("alone", isolates.at(SECOND));
    assert.equal(old.keys[0].problem, null);
    assert.equal(await outcome(isolates.at(SECOND), "alone/m"), "200");
  });

  test("provider keys: a change under load takes effect in every isolate within the bound, and no call fails", async () => {
    const rotated = isolates.at(ROTATED);
    /** @type {Set<string>} */
    const others = new Set();
    let running = true;
    const load = [gateway, rotated].map(async (one) => {
      while (running) {
        const found = await outcome(one, "mixed/m");
        if (found !== "200") others.add(found);
      }
    });
    try {
      const { body } = await administer(rotated, "POST", "/v0/providers/mixed/keys", {
        key: OTHER,
        weight: 1000,
      });
      provider.keys.length = 0;
      await eventually(() => provider.keys.includes(OTHER), BOUND_MS + GRANULARITY_MS);
      await administer(gateway, "DELETE", `/v0/providers/mixed/keys/${body.key_id}`);
      await sleep(BOUND_MS + GRANULARITY_MS);
      provider.keys.length = 0;
      await sleep(200);
      assert.deepEqual([...new Set(provider.keys)], [OF_SECRET]);
    } finally {
      running = false;
      await Promise.all(load);
    }
    assert.deepEqual([...others], []);
  });

  test("provider keys: without the database calls go on with the known keys, and /health says so", async () => {
    const rotated = isolates.at(ROTATED);
    assert.equal(await outcome(rotated, "alone/m"), "200");
    await isolates.execute("ALTER TABLE settings_version RENAME COLUMN version TO lost");
    try {
      await sleep(BOUND_MS + GRANULARITY_MS);
      assert.equal(await outcome(rotated, "alone/m"), "200");
      assert.equal(provider.keys.at(-1), STORED);
      const health = await json(await call(`${rotated.url}/health`));
      assert.match(health.problems.join(), /the run-time settings cannot be read/);
    } finally {
      await isolates.execute("ALTER TABLE settings_version RENAME COLUMN lost TO version");
    }
  });

  test("provider keys: every change is in the audit trail, and no key is anywhere", async () => {
    const rotated = isolates.at(ROTATED);
    const verified = (await administer(rotated, "GET", "/v0/audit/verify")).body;
    assert.equal(verified.intact, true, JSON.stringify(verified));
    for (const [what, other, stated] of [
      ["weight", "999", "1"],
      ["label", "'other'", "'main'"],
      ["enabled", "0", "1"],
    ]) {
      const set = (/** @type {string} */ value = "") =>
        isolates.execute(`UPDATE provider_keys SET ${what} = ${value} WHERE id = '${first}'`);
      await set(other);
      const found = (await administer(rotated, "GET", "/v0/audit/verify")).body;
      await set(stated);
      assert.deepEqual(found.differences, [
        {
          table: "provider_keys",
          key_id: null,
          name: `alone/${first}`,
          what: `has another '${what}' in the table than its last entry`,
        },
      ]);
      assert.match(found.reason, /^the table of providers' keys was changed without it/);
    }
    assert.equal((await administer(rotated, "GET", "/v0/audit/verify")).body.intact, true);
    const { entries } = (await administer(rotated, "GET", "/v0/audit?limit=1000")).body;
    const all = entries.map((/** @type {any} */ { entry }) => JSON.parse(entry));
    const of = all.filter((/** @type {any} */ entry) => entry.subject === `alone/${first}`);
    assert.deepEqual(of[0].detail.now, { label: "main", mask: "…se-1", weight: 1, enabled: true });
    const actions = new Set(all.map((/** @type {any} */ entry) => entry.action));
    for (const name of ["added", "changed", "deleted"]) {
      assert.ok(actions.has(`provider_key.${name}`), name);
    }
    assert.ok(actions.has("provider_keys.encrypted"));
    const tables = ["provider_keys", "audit_log", "settings"].map((name) =>
      isolates.database.prepare(`SELECT * FROM ${name}`).all(),
    );
    const rows = JSON.stringify(await Promise.all(tables));
    const places = { rows, log: isolates.log.join("\n"), said: said.join("\n") };
    for (const [place, text] of Object.entries(places)) {
      for (const secret of [STORED, OTHER, REJECTED, OF_SECRET, MASTER, NEXT]) {
        assert.ok(!text.includes(secret), `${secret} in ${place}`);
      }
    }
  });
});
