// @ts-check
//! The operator's command line against the real gateway: every command, in the order in which an operator needs them.
//! tests/operator tests its arguments and messages against a fake gateway.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { after, before, suite, test } from "node:test";
import {
  Gateway,
  OPERATOR_KEY,
  OPERATOR_LABEL,
  Upstream,
  call,
  chat,
  eventually,
  redeem,
  requestKey,
  root,
  variables,
} from "./harness.mjs";

/** @type {Upstream} */ let upstream;
/** @type {Gateway} */ let gateway;

before(async () => {
  upstream = await Upstream.start();
  gateway = await Gateway.start(
    variables(upstream, { policies: { demo: { models: ["demo/*"] } } }),
  );
});
after(() => Promise.all([gateway?.stop(), upstream?.stop()]));

// Characters that a terminal would interpret or not show.
const OBEYED = /[^\P{C}\n]|\p{Default_Ignorable_Code_Point}/u;
const KEY_LINE = /^gw_[0-9A-Za-z]{49}$/m;
const CLAIM_LINE = /^http.*\/access\/claim#clm_[0-9a-f]{64}$/m;

/**
 * Runs the script.
 *
 * @param {string[]} args
 * @returns {Promise<{ status: number | null, stdout: string, stderr: string }>}
 */
function run(...args) {
  const child = spawn(process.execPath, [`${root}scripts/gateway-operator.mjs`, ...args], {
    env: { ...process.env, GATEWAY_URL: gateway.url, GATEWAY_ADMIN_KEY: OPERATOR_KEY },
    stdio: ["ignore", "pipe", "pipe"],
    timeout: 60_000,
  });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text) => (stderr += text));
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (status) => {
      assert.doesNotMatch(stdout + stderr, OBEYED);
      assert.ok(!(stdout + stderr).includes(OPERATOR_KEY));
      resolve({ status, stdout, stderr });
    });
  });
}

/** @param {string} line arguments, split at spaces */
async function succeed(line) {
  const { status, stdout, stderr } = await run(...line.split(" "));
  assert.equal(stderr, "", line);
  assert.equal(status, 0, line);
  return stdout;
}

/**
 * @param {string} line arguments, split at spaces
 * @param {RegExp} message
 */
async function fail(line, message) {
  const { status, stdout, stderr } = await run(...line.split(" "));
  assert.match(stderr, message, line);
  assert.equal(status, 1, line);
  return stdout;
}

/** @param {string} line arguments, split at spaces */
async function json(line) {
  return JSON.parse(await succeed(`${line} --json`));
}

/** @param {string} email */
async function ask(email) {
  const response = await requestKey(gateway, { email, use_case: "Summaries of\nmeeting notes." });
  assert.equal(response.status, 202);
  return /** @type {string} */ ((await response.json()).request_id);
}

/**
 * The status, and the error's code, of a chat with a key.
 *
 * @param {string} key
 */
async function use(key) {
  const response = await chat(gateway, {}, { authorization: `Bearer ${key}` });
  const answer = await response.json();
  return `${response.status} ${answer.error?.code ?? answer.choices[0].message.role}`;
}

/**
 * The only part of a text that matches.
 *
 * @param {string} text
 * @param {RegExp} pattern
 */
function find(text, pattern) {
  const [found] = pattern.exec(text) ?? [];
  assert.ok(found, `${pattern} in ${text}`);
  return found;
}

/** @param {string} id */
async function keyNameOf(id) {
  const keys = await json("keys list");
  return keys.find((/** @type {any} */ key) => key.request_id === id).name;
}

suite("operator CLI, requests", () => {
  test("operator CLI: a request is listed, shown and approved, and each key command takes effect", async () => {
    const id = await ask("ada@example.com");
    const pending = await succeed("requests list --pending");
    assert.match(pending, /^ID +STATE +EMAIL +RECEIVED +POLICIES +USE CASE\n/);
    assert.match(pending, new RegExp(`\n${id} +pending +ada@example.com .* Summaries of meeting`));
    const shown = await succeed(`requests show ${id}`);
    assert.match(shown, /\nstate +pending\nemail +ada@example\.com\n/);
    assert.match(shown, /\nFields:\n +use_case +Summaries of\n +meeting notes\.\n/);

    const approved = await succeed(`requests approve ${id} --policy demo`);
    assert.match(approved, new RegExp(`^Approved ${id}\\.\n`));
    const key = find(approved, KEY_LINE);
    assert.equal(await use(key), "200 assistant");
    assert.match(
      await succeed(`requests show ${id}`),
      /\ndecided by +ops\nkey id +[0-9a-f-]{36}\n/,
    );
    assert.ok((await succeed("requests list --approved")).includes(id));
    assert.ok(!(await succeed("requests list --pending")).includes(id));
    await fail(`requests approve ${id}`, /^Key request has already been processed\. \(HTTP 400/);

    const name = await keyNameOf(id);
    assert.match(await succeed("keys list"), new RegExp(`\n${name} +active +demo .* gw_`));
    assert.match(
      await succeed(`keys show ${name}`),
      new RegExp(
        `\ncreated .* by ${OPERATOR_LABEL}\nexpires .*\nrequest +${id}\nsecrets +${key.slice(0, 13)} since `,
      ),
    );

    assert.match(await succeed(`keys disable ${name}`), /^Disabled the key /);
    await eventually(async () => (await use(key)) === "401 api_key_disabled");
    assert.match(await succeed(`keys enable ${name}`), /^Enabled the key /);
    await eventually(async () => (await use(key)) === "200 assistant");

    const rotated = await succeed(`keys rotate ${name} --overlap 3600`);
    assert.match(rotated, /\nThe old secret keeps working until .* UTC\.\n$/);
    const second = find(rotated, KEY_LINE);
    assert.deepEqual([await use(key), await use(second)], ["200 assistant", "200 assistant"]);
    const atOnce = await succeed(`keys rotate ${name} --overlap 0`);
    assert.match(atOnce, /\nThe old secret is rejected everywhere within 10 seconds\.\n$/);
    const third = find(atOnce, KEY_LINE);
    await eventually(async () => (await use(second)) === "401 invalid_api_key");
    await eventually(async () => (await use(third)) === "200 assistant");

    assert.match(
      await succeed(`keys revoke ${name}`),
      /^Revoked the key .* its name is free again/,
    );
    await eventually(async () => (await use(third)) === "401 invalid_api_key");
    assert.equal(await use(key), "401 invalid_api_key");
    await fail(`keys show ${name}`, /^Unknown API key '.*' \(HTTP 404, request id /);
  });

  test("operator CLI: an approval names the key, and a request for higher limits is approved", async () => {
    const id = await ask("named@example.com");
    const approved = await succeed(`requests approve ${id} --name named --requests-per-day 5`);
    const key = find(approved, KEY_LINE);
    assert.match(await succeed("keys list"), /\nnamed +active .* named@example\.com +gw_/);
    assert.match(await succeed("keys show named"), /\nemail +named@example\.com\n/);
    const response = await call(`${gateway.url}/usage/request-increase`, {
      method: "POST",
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
      body: JSON.stringify({ limits: { requests_per_day: 50 }, reason: "Growth" }),
    });
    const { request_id: more } = await response.json();
    assert.match(
      await succeed("requests list --pending"),
      new RegExp(`\n${more} .* named wants 50 requests_per_day: Growth\n`),
    );
    assert.match(
      await succeed(`requests show ${more}`),
      /\nfor the key +named\nwanted +50 requests_per_day\nnow +5 requests_per_day\n/,
    );
    assert.match(
      await succeed(`requests approve ${more}`),
      /^Approved kreq_.* The higher limits apply everywhere within 10 seconds\.\n$/,
    );
    assert.deepEqual((await json("keys show named"))[0].limits, { requests_per_day: 50 });
  });

  test("operator CLI: alerts are listed, and a test without a channel says what is missing", async () => {
    assert.equal(await succeed("alerts list"), "No alerts.\n\nNo channel is configured.\n");
    await fail("alerts test", /^No channel for alerts is configured; .*GATEWAY_SLACK_URL/);
    assert.equal(await succeed("alerts history"), "No alert has changed.\n");
  });

  test("operator CLI: settings of alerts are shown, tried, changed and reset", async () => {
    assert.match(await succeed("alerts settings"), /^name +alerts\nsource +gateway\.toml\n/);
    const change =
      "alerts set --budget-percent 80 --budget-percent 100 --key-expires-days 7 --provider-failing on";
    const dry = await succeed(`${change} --dry-run`);
    assert.match(dry, /A dry run: nothing was changed\. The change would concern 0 keys\.\n$/);
    assert.equal((await json("alerts settings")).source, "gateway.toml");
    assert.match(await succeed(change), /Changed: it takes effect everywhere within 10 seconds/);
    await succeed("alerts set --key-expires-days 3 --provider-failing off");
    const { source, value } = await json("alerts settings");
    assert.equal(source, "database");
    assert.deepEqual(
      [value.budget_percent, value.key_expires_days, value.provider_failing],
      [[80, 100], 3, false],
    );
    await succeed("alerts set --budget-percent none");
    assert.deepEqual((await json("alerts settings")).value.budget_percent, []);
    await fail(
      "alerts set --email ops@example.com",
      /^alerts\.email needs a sender: set email\.from \(HTTP 400/,
    );
    const unclear = await run(..."alerts set --provider-failing maybe".split(" "));
    assert.equal(unclear.status, 2);
    assert.match(unclear.stderr, /^--provider-failing must be one of: on, off/);
    await succeed("alerts reset --yes");
    assert.equal((await json("alerts settings")).source, "gateway.toml");
    await fail("alerts reset --yes", /^alerts is set in the deployment's configuration/);
  });

  test("operator CLI: an approval by claim link shows the key once", async () => {
    const id = await ask("grace@example.com");
    const approved = await succeed(`requests approve ${id} --claim`);
    assert.match(approved, /\nThe first person to open this link gets the key, until .* UTC\.\n$/);
    const link = find(approved, CLAIM_LINE);
    const name = await keyNameOf(id);
    assert.match(await succeed(`keys show ${name}`), /\nsecrets +none yet: the claim link has not/);

    const claimed = await redeem(link);
    assert.equal(claimed.status, 200);
    const key = (await claimed.json()).api_key;
    await eventually(async () => (await use(key)) === "200 assistant");
    const again = await redeem(link);
    assert.deepEqual([again.status, (await again.json()).error.code], [410, "claim_used"]);

    const rotated = await succeed(`keys rotate ${name} --claim --overlap 0`);
    assert.equal(await use(key), "200 assistant");
    const second = await (await redeem(find(rotated, CLAIM_LINE))).json();
    await eventually(async () => (await use(key)) === "401 invalid_api_key");
    await eventually(async () => (await use(second.api_key)) === "200 assistant");
  });

  test("operator CLI: a request is declined and deleted", async () => {
    const id = await ask("eve@example.com");
    assert.equal(await succeed(`requests decline ${id} --reason Unclear`), `Declined ${id}.\n`);
    assert.match(
      await succeed(`requests show ${id}`),
      /\nstate +declined\n[^]*\nreason +Unclear\n/,
    );
    assert.ok((await succeed("requests list --declined")).includes(id));
    assert.match(await succeed(`requests delete ${id}`), /^Deleted the request /);
    await fail(`requests show ${id}`, /^Could not retrieve portal object\. \(HTTP 404, /);
  });

  test("operator CLI: an approval by e-mail fails on a gateway that sends none", async () => {
    const id = await ask("mail@example.com");
    await fail(`requests approve ${id} --email`, /^This gateway sends no e-mail: .* \(HTTP 400, /);
    assert.equal((await json(`requests show ${id}`)).state, "pending");
  });

  test("operator CLI: terminal control characters in a request are escaped", async () => {
    const nasty = "\u001b[2J\u001b]0;approve me\u0007 a\u202eb";
    const id = `kreq_${"0".repeat(26)}`;
    // The gateway rejects control characters, so the row is written directly.
    gateway.query(
      `INSERT INTO key_requests (id, state, by_user, email, policies, fields, version, date_created, created_ms)
       VALUES (?, 'pending', ?, ?, '[]', ?, 'v2', '2026-11-22T07:11:26Z', ?)`,
      id,
      "0".repeat(24),
      `x\u001b[1m@example.com`,
      JSON.stringify({ use_case: nasty }),
      Date.now(),
    );
    const shown = "\\u{1b}[2J\\u{1b}]0;approve me\\u{7} a\\u{202e}b";
    for (const line of ["requests list", `requests show ${id}`]) {
      const out = await succeed(line);
      assert.ok(out.includes(shown), out);
      assert.ok(out.includes("x\\u{1b}[1m@example.com"), out);
    }
    const request = await json(`requests show ${id}`);
    assert.equal(request.fields.use_case, nasty, "as JSON it is the same text");
    await succeed(`requests delete ${id}`);
  });

  test("operator CLI: all pages of requests are listed", async () => {
    const ids = [];
    for (let n = 0; n < 12; n += 1) ids.push(await ask(`page-${n}@example.com`));
    const listed = (await json("requests list --pending")).map((/** @type {any} */ { id }) => id);
    assert.deepEqual(listed.slice(0, 12), ids.toReversed());
  });
});

test("operator CLI: a key is created without a request", async () => {
  const out = await succeed(
    "keys create --name ci-runner --policy demo --model demo/* --endpoint /v1/chat/completions --metadata team=search --expires-at 2100-01-01T00:00:00Z",
  );
  assert.equal(await use(find(out, KEY_LINE)), "200 assistant");
  assert.match(
    await succeed("keys show ci-runner"),
    /\nmodels +demo\/\*\nendpoints +\/v1\/chat\/completions\n[^]*\nexpires +2100-01-01 00:00 UTC\n[^]*\nMetadata:\n +team +search\n$/,
  );
  await fail("keys create --name ci-runner", /^An entity with this name already exists \(HTTP 409/);
  await fail("keys create --name x --policy none", /^.*none.* \(HTTP 400, /);
  find(await succeed("keys create --name by-link --claim"), CLAIM_LINE);
  const first = await succeed("keys rotate by-link");
  assert.match(first, /\nThe key had no secret before\.\n$/);
  assert.equal(await use(find(first, KEY_LINE)), "200 assistant");
});

test("operator CLI: --json prints the gateway's JSON for every command", async () => {
  const id = await ask("json@example.com");
  assert.equal((await json("requests list"))[0].id, id);
  assert.equal((await json(`requests show ${id}`)).state, "pending");
  assert.match((await json(`requests approve ${id}`)).RawKey, KEY_LINE);
  const name = await keyNameOf(id);
  assert.equal((await json(`keys show ${name}`))[0].request_id, id);
  assert.equal((await json(`keys disable ${name}`)).state, "disabled");
  assert.equal((await json(`keys enable ${name}`)).state, "active");
  const rotated = await json(`keys rotate ${name} --overlap 0`);
  assert.match(rotated.api_key, KEY_LINE);
  assert.ok(Math.abs(Date.parse(rotated.previous_expires_at) - Date.now()) < 60_000);
  assert.equal(await json(`keys revoke ${name}`), null);
  assert.match((await json("keys create --name json")).api_key, KEY_LINE);
  const other = await ask("json@example.com");
  assert.equal((await json(`requests decline ${other}`)).Status, "OK");
  assert.equal((await json(`requests delete ${other}`)).Message, "Data deleted");
});

test("operator CLI: a key that is not an operator's is rejected with advice", async () => {
  const { api_key } = await json("keys create --name caller");
  for (const [key, status] of [
    [api_key, 403],
    ["nobody", 401],
  ]) {
    const child = spawn(
      process.execPath,
      [`${root}scripts/gateway-operator.mjs`, "keys", "list", "--url", gateway.url],
      { env: { ...process.env, GATEWAY_ADMIN_KEY: key }, stdio: ["ignore", "ignore", "pipe"] },
    );
    let stderr = "";
    child.stderr.setEncoding("utf8").on("data", (text) => (stderr += text));
    assert.equal(await new Promise((resolve) => child.on("close", resolve)), 1);
    assert.match(stderr, new RegExp(`\\(HTTP ${status}, .*must be an operator key`));
  }
});

test("operator CLI: usage and calls of all keys are listed, filtered and shown", async () => {
  const key = find(await succeed("keys create --name spender"), KEY_LINE);
  const id = "spent-by-spender";
  const headers = { authorization: `Bearer ${key}`, "x-request-id": id };
  assert.equal((await chat(gateway, { simulate: { status: 503 } }, headers)).status, 503);
  const unknown = { ...headers, "x-request-id": "rejected-of-spender" };
  assert.equal((await chat(gateway, { model: "gpt-99" }, unknown)).status, 404);
  await eventually(async () => (await json("calls --failed --key spender")).length === 2, 30_000);
  assert.match(
    await succeed("usage --by key --key spender"),
    /^From .* UTC\nKEY +CALLS +FAILED +INPUT +CACHED +OUTPUT +COST\nspender +1 +1 .*\ntotal +1 +1 /,
  );
  const [, line = ""] = (await succeed("usage --csv --key spender --bucket day")).split("\n");
  assert.match(line, /^\d{4}-\d\d-\d\dT00:00:00Z,[^,]+,spender,1,0,1,/);
  assert.equal((await json("usage --by model")).group_by, "model");
  assert.match(
    await succeed("calls --failed --limit 5"),
    /^TIME +ID +KEY +MODEL +STATUS +OUTCOME +COST +DURATION\n[\s\S]*rcpt_\w+ +spender +demo\/sim-small +503 +failed: /,
  );
  assert.match(
    await succeed("calls --code model_not_found --key spender"),
    /\n[^\n]*rej_\w+ +spender +- +404 +rejected: model_not_found \(model\) +- +-$/m,
  );
  const rejected = await succeed("calls show rejected-of-spender");
  assert.match(rejected, /^id +rej_\w+\nrequest id +rejected-of-spender\n/);
  assert.match(rejected, /\noutcome +rejected: model_not_found \(model\)\nlast +\d{4}-/);
  const shown = await succeed(`calls show ${id}`);
  assert.match(shown, /^id +rcpt_\w+\nrequest id +spent-by-spender\n/);
  assert.match(shown, /\nLANE +OUTCOME +STATUS +CODE +.*\ndemo:0\/sim-small +server_error +503 /);
  await fail("calls show nothing", /^There is no recent call 'nothing'/);
  assert.match(
    await succeed("providers list"),
    /^PROVIDER .*FAILED 24 H.*\ndemo +active +1 +\d+ +\d+ \(/,
  );
  const { status, stderr } = await run("usage", "--by", "nothing");
  assert.equal(status, 2);
  assert.match(stderr, /^--by must be one of: key, project/);
});

// Last, because it breaks the log.
test("operator CLI: the audit log lists every action and detects changes", async () => {
  const log = await succeed("audit list");
  assert.match(log, /^SEQ +AT +ACTOR +ACTION +SUBJECT +DETAIL\n1 /);
  const entries = await json("audit list");
  const acts = entries.map((/** @type {any} */ { entry }) => JSON.parse(entry));
  assert.deepEqual([...new Set(acts.map((/** @type {any} */ { action }) => action))].toSorted(), [
    ..."claimed created revoked rotated updated".split(" ").map((act) => `key.${act}`),
    ..."approved declined deleted increase_approved".split(" ").map((act) => `request.${act}`),
    ..."changed removed".split(" ").map((act) => `setting.${act}`),
  ]);
  const actors = new Set(acts.map((/** @type {any} */ { actor }) => actor));
  assert.ok(actors.has(OPERATOR_LABEL) && actors.has("claim link"), [...actors].join());
  assert.equal((await json("audit list --after 3"))[0].seq, 4);

  const verified = await succeed("audit verify");
  assert.match(verified, new RegExp(`^entries +${entries.length}\nhead +[0-9a-f]{64}\nIntact\\.`));
  const head = find(verified, /[0-9a-f]{64}/);
  assert.equal(head, entries.at(-1).hash);
  await succeed("keys create --name one-more");
  assert.match(await succeed(`audit verify --head ${head}`), /\nIntact\./, "it has only grown");
  assert.equal((await json("audit verify")).intact, true);
  await fail(`audit verify --head ${"0".repeat(63)}1`, /^The audit log is a chain, but the head /);

  gateway.execute("DROP TRIGGER audit_log_is_not_changed; DROP TRIGGER audit_log_is_not_shortened");
  gateway.execute(`UPDATE audit_log SET entry = replace(entry, 'ops', 'eve') WHERE seq = 3`);
  const broken = await fail(
    "audit verify",
    /^The audit log is broken at entry 3: the hash is not /,
  );
  assert.match(broken, /^entries before the break +2\n/);
  const { status, stdout } = await run("audit", "verify", "--json");
  const { intact, broken_at } = JSON.parse(stdout);
  assert.deepEqual([status, intact, broken_at], [1, false, 3]);

  // A log that is cut at its end is still a valid chain: a head noted earlier detects it.
  gateway.execute(`UPDATE audit_log SET entry = replace(entry, 'eve', 'ops') WHERE seq = 3`);
  gateway.execute("DELETE FROM audit_log WHERE seq > 3");
  // The tables have more keys than what is left of it states.
  await fail("audit verify", /^The audit log is a chain, but the tables of keys were changed/);
  await fail(`audit verify --head ${head}`, /^The audit log is a chain, but the head /);
});
