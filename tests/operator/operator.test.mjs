// @ts-check
// The operator's command line as a process, with its arguments, streams and exit status, against a fake gateway
// in this process.
//
// tests/e2e/operator.test.mjs runs the same commands against the real gateway.
// Run with: node --test "tests/operator/*.test.mjs"

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { createServer } from "node:net";
import { join, resolve } from "node:path";
import { suite, test } from "node:test";
import stringWidth from "string-width";
import { mint, parseKey } from "../../scripts/lib/gateway-key.mjs";
import { safeText } from "../../scripts/lib/safe-text.mjs";
import { EXAMPLES } from "../../scripts/operator/examples.mjs";
import { FakeGateway, json, portalError } from "./fake-gateway.mjs";

/** @import { TestContext } from "node:test" */
/** @import { Answer } from "./fake-gateway.mjs" */

const SCRIPT = join(resolve(import.meta.dirname, "../.."), "scripts/gateway-operator.mjs");
const PARALLEL = { concurrency: 4, timeout: 120_000 };
const RUN_MS = 30_000;

// Every kind of character that a terminal interprets or does not show.
const NASTY = "a\u001b[2J\u009b1m\u007f\u202e\u2066\u200e\u200b\u00ad\u{e0041}z";
const NASTY_SHOWN =
  "a\\u{1b}[2J\\u{9b}1m\\u{7f}\\u{202e}\\u{2066}\\u{200e}\\u{200b}\\u{ad}\\u{e0041}z";
const OBEYED = /[^\P{C}\n]|\p{Default_Ignorable_Code_Point}/u;

/**
 * @typedef {{ status: number | null, stdout: string, stderr: string }} Result
 * @typedef {{ input?: string, env?: NodeJS.ProcessEnv, closed?: boolean }} How
 */

/**
 * Run the script. `closed` closes its standard output.
 *
 * @param {string[]} args
 * @param {How} [how]
 * @returns {Promise<Result>}
 */
function run(args, { input = "", env = {}, closed = false } = {}) {
  const { GATEWAY_URL, GATEWAY_ADMIN_KEY, ...rest } = process.env;
  const child = spawn(process.execPath, [SCRIPT, ...args], {
    env: { ...rest, ...env },
    timeout: RUN_MS,
  });
  const result = { status: /** @type {number | null} */ (null), stdout: "", stderr: "" };
  child.stdout.setEncoding("utf8").on("data", (text) => (result.stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text) => (result.stderr += text));
  if (closed) child.stdout.destroy();
  child.stdin.on("error", () => {});
  // It may end without reading its input.
  child.stdin.on("error", () => {});
  child.stdin.end(input);
  return new Promise((done, fail) => {
    child.on("error", fail);
    child.on("close", (status) => done({ ...result, status }));
  });
}

/**
 * A gateway for one test, and the script set up to talk to it. A line of arguments is split at spaces.
 *
 * @param {TestContext} context
 */
async function setUp(context) {
  const gateway = await FakeGateway.start();
  context.after(() => gateway.stop());
  const env = { GATEWAY_URL: gateway.url, GATEWAY_ADMIN_KEY: gateway.operator };
  /** @type {(line: string | string[], how?: How) => Promise<Result>} */
  const operate = async (line, how = {}) => {
    const args = typeof line === "string" ? line.split(" ") : line;
    const result = await run(args, { ...how, env: { ...env, ...how.env } });
    const everything = result.stdout + result.stderr;
    assert.doesNotMatch(everything, OBEYED, "nothing that a terminal interprets is printed");
    assert.ok(!everything.includes(gateway.operator), "the operator key is never printed");
    return result;
  };
  return {
    gateway,
    operate,
    /** @type {(line: string | string[], how?: How) => Promise<string>} */
    async succeed(line, how) {
      const result = await operate(line, how);
      assert.equal(result.stderr, "");
      assert.equal(result.status, 0);
      return result.stdout;
    },
    /** @type {(line: string | string[], message: string | RegExp, how?: How) => Promise<string>} */
    async refuse(line, message, how) {
      const result = await operate(line, how);
      checkFailure(result, message, 1);
      return result.stdout;
    },
    /** @type {(line: string | string[], message: string | RegExp) => Promise<void>} */
    async misuse(line, message) {
      const result = await operate(line);
      checkFailure(result, message, 2);
      assert.equal(result.stdout, "");
      assert.deepEqual(gateway.calls, []);
    },
    /** The calls since the last time, as lines. */
    called() {
      const lines = gateway.calls.map(({ method, path }) => `${method} ${path}`);
      gateway.calls.length = 0;
      return lines;
    },
  };
}

/**
 * A failure is one sentence on stderr and exit status 1, or 2 for a mistake in the arguments.
 *
 * @param {Result} result
 * @param {string | RegExp} message
 * @param {number} expected
 */
function checkFailure({ status, stderr }, message, expected) {
  assert.equal(status, expected, stderr);
  assert.match(stderr, /^[^\n]+\n$/);
  assert.doesNotMatch(stderr, /^\w*Error|at file:/);
  if (typeof message === "string") assert.equal(stderr, `${message}\n`);
  else assert.match(stderr, message);
}

/** @param {string} text */
function lines(text) {
  assert.ok(text.endsWith("\n"));
  return text.slice(0, -1).split("\n");
}

suite("operator CLI, requests", PARALLEL, () => {
  test("operator CLI: requests list prints an aligned table, newest first", async (context) => {
    const { gateway, succeed, called } = await setUp(context);
    gateway.addRequest("kreq_b", {
      apply_policies: ["free", "eu"],
      email: "grace.hopper@example.com",
    });
    gateway.addRequest("kreq_a", { state: "approved", fields: { use_case: "x".repeat(61) } });
    const out = await succeed("requests list");
    assert.deepEqual(lines(out), [
      "ID      STATE     EMAIL                     RECEIVED              POLICIES  USE CASE",
      "kreq_b  pending   grace.hopper@example.com  2026-11-22 07:11 UTC  free, eu  Evaluation",
      `kreq_a  approved  ada@example.com           2026-11-22 07:11 UTC  -         ${"x".repeat(59)}…`,
    ]);
    assert.deepEqual(called(), ["GET /api/portal/requests?p=1"]);
  });

  test("operator CLI: requests list reports an empty list", async (context) => {
    const { succeed } = await setUp(context);
    assert.equal(await succeed("requests list"), "No requests.\n");
    assert.equal(await succeed("requests list --json"), "[]\n");
  });

  test("operator CLI: requests list reads every page and prints one JSON array", async (context) => {
    const { gateway, succeed, called } = await setUp(context);
    const ids = Array.from({ length: 23 }, (_, at) => `kreq_${at}`);
    for (const id of ids) gateway.addRequest(id);
    const out = lines(await succeed("requests list"));
    assert.deepEqual(
      out.slice(1).map((line) => line.split(" ")[0]),
      ids,
    );
    const pages = [1, 2, 3].map((page) => `GET /api/portal/requests?p=${page}`);
    assert.deepEqual(called(), pages);
    const text = await succeed("requests list --json");
    assert.deepEqual(JSON.parse(text), gateway.requests);
    assert.equal(text, `${JSON.stringify(gateway.requests, null, 2)}\n`);
  });

  test("operator CLI: requests list shows no request twice when one arrives between two pages", async (context) => {
    const { gateway, succeed } = await setUp(context);
    const ids = Array.from({ length: 12 }, (_, at) => ({ id: `kreq_${at}` }));
    gateway.instead = ({ path }, response) => {
      const Data = path.includes("p=1") ? ids.slice(0, 10) : ids.slice(9);
      json(response, 200, { Data, Pages: 2 });
    };
    assert.deepEqual(JSON.parse(await succeed("requests list --json")), ids);
  });

  test("operator CLI: requests list filters by state", async (context) => {
    const { gateway, succeed, called } = await setUp(context);
    for (const state of ["pending", "approved", "declined"]) {
      gateway.addRequest(`kreq_${state}`, { state });
    }
    for (const state of ["pending", "approved", "declined"]) {
      const out = lines(await succeed(`requests list --${state}`));
      assert.equal(out.length, 2);
      assert.match(out[1], new RegExp(`^kreq_${state} `));
    }
    assert.deepEqual(called(), [
      "GET /api/portal/requests?p=1&approved=false",
      "GET /api/portal/requests?p=1&approved=true",
      "GET /api/portal/requests?p=1&declined=true",
    ]);
  });

  test("operator CLI: requests list escapes what a terminal would interpret", async (context) => {
    const { gateway, succeed } = await setUp(context);
    gateway.addRequest("kreq_a", { email: NASTY, fields: { use_case: `one\n two\r\n${NASTY}` } });
    const out = lines(await succeed("requests list"));
    assert.equal(out.length, 2, "and no line break makes another row");
    assert.ok(out[1].includes("a\\u{1b}[2J\\u{9b}1m\\u{7f}\\u{202e}\\u{2066}\\u{20"));
    assert.ok(out[1].includes("one two a\\u{1b}[2J"));

    const text = await succeed("requests list --json");
    assert.deepEqual(JSON.parse(text), gateway.requests, "but JSON has every character");
    gateway.addRequest("kreq_b", { email: "\ud800x" });
    assert.deepEqual(JSON.parse(await succeed("requests list --json")), gateway.requests);
  });

  test("operator CLI: requests list aligns columns with wide characters, emoji and combining marks", async (context) => {
    const { gateway, succeed } = await setUp(context);
    for (const email of [
      "漢字@例え.jp",
      "한글@x",
      "e\u0301@x",
      "🦀@x",
      "👩‍🚀@x",
      "plain@example.com",
    ]) {
      gateway.addRequest("kreq_a", { id: `kreq_${email.length}`, email });
    }
    const [title, ...rows] = lines(await succeed("requests list"));
    const column = title.indexOf("RECEIVED");
    for (const row of rows) assert.equal(stringWidth(row.slice(0, row.indexOf("2026-"))), column);
  });

  test("operator CLI: requests show prints every field", async (context) => {
    const { gateway, succeed, called } = await setUp(context);
    gateway.addRequest("kreq_a", {
      state: "declined",
      decided_at: "2026-11-23T08:00:00Z",
      decided_by: "ops",
      decline_reason: "Not now",
      fields: { use_case: "First line\nstate    approved", [NASTY]: NASTY },
    });
    assert.deepEqual(lines(await succeed("requests show kreq_a")), [
      "id          kreq_a",
      "state       declined",
      "email       ada@example.com",
      "received    2026-11-22 07:11 UTC",
      "policies    -",
      "decided     2026-11-23 08:00 UTC",
      "decided by  ops",
      "reason      Not now",
      "",
      "Fields:",
      `  ${"use_case".padEnd(stringWidth(NASTY_SHOWN))}  First line`,
      `  ${"".padEnd(stringWidth(NASTY_SHOWN))}  state    approved`,
      `  ${NASTY_SHOWN}  ${NASTY_SHOWN}`,
    ]);
    const found = JSON.parse(await succeed("requests show kreq_a --json"));
    assert.deepEqual(found, gateway.requests[0]);
    assert.deepEqual(called(), Array(2).fill("GET /api/portal/requests/kreq_a"));
  });

  test("operator CLI: requests approve prints the key once", async (context) => {
    const { gateway, succeed, refuse } = await setUp(context);
    gateway.addRequest("kreq_a");
    const out = lines(await succeed("requests approve kreq_a"));
    assert.ok(parseKey(out[2]).publicId);
    assert.deepEqual(out, [
      "Approved kreq_a.",
      "",
      out[2],
      "",
      "This key is shown once: the gateway keeps only its digest.",
    ]);
    const [{ method, path, body, headers }] = gateway.calls;
    assert.equal(`${method} ${path}`, "PUT /api/portal/requests/approve/kreq_a");
    assert.deepEqual(body, { delivery: "key" });
    assert.equal(headers["content-type"], "application/json");
    await refuse(
      "requests approve kreq_a",
      "Key request has already been processed. (HTTP 400, request id req-of-test)",
    );
    gateway.addRequest("kreq_b");
    const { RawKey } = JSON.parse(await succeed("requests approve kreq_b --json"));
    assert.ok(parseKey(RawKey).publicId);
  });

  test("operator CLI: requests approve sends policies, expiry and --claim, and prints the link", async (context) => {
    const { gateway, succeed } = await setUp(context);
    gateway.addRequest("kreq_a");
    const time = "2027-01-31T00:00:00+01:00";
    const line = `requests approve --policy free kreq_a --policy eu --expires-at ${time} --claim`;
    assert.deepEqual(lines(await succeed(line)), [
      "Approved kreq_a.",
      "",
      `${gateway.url}/access/claim#clm_${"a".repeat(64)}`,
      "",
      "The first person to open this link gets the key, until 2026-11-25 07:11 UTC.",
    ]);
    const delivery = { delivery: "claim", apply_policies: ["free", "eu"], expires_at: time };
    assert.deepEqual(gateway.calls[0].body, delivery);
  });

  test("operator CLI: requests approve --email prints the address, or the link if sending fails", async (context) => {
    const { gateway, succeed, refuse } = await setUp(context);
    gateway.addRequest("kreq_a");
    assert.equal(
      await succeed("requests approve kreq_a --email"),
      "Approved kreq_a.\n" +
        "A link that shows the key once was sent to ada@example.com, for use until 2026-11-25 07:11 UTC.\n",
    );
    assert.deepEqual(gateway.calls[0].body, { delivery: "email" });

    const ClaimURL = "https://keys.example/access/claim#clm_1";
    const answer = { ClaimURL, ExpiresAt: "2026-11-25T07:11:26Z", EmailError: `no\n${NASTY}` };
    gateway.instead = (_, response) => json(response, 200, answer);
    const message =
      `The request is approved, but the mail was not sent: no\\u{a}${NASTY_SHOWN}. ` +
      "Hand over the link yourself";
    const out = await refuse("requests approve kreq_a --email", message);
    assert.ok(out.includes(`\n${ClaimURL}\n`), "the link is not lost");
    const text = await refuse("requests approve kreq_a --email --json", message);
    assert.deepEqual(JSON.parse(text), answer);
  });

  test("operator CLI: sentences escape text from the gateway", async (context) => {
    const { gateway, succeed } = await setUp(context);
    const answer = { RawKey: NASTY, ClaimURL: NASTY, SentTo: NASTY, ExpiresAt: NASTY };
    gateway.instead = (_, response) => json(response, 200, answer);
    for (const delivery of ["", " --claim", " --email"]) {
      assert.ok((await succeed(`requests approve a${delivery}`)).includes(NASTY_SHOWN));
    }
  });

  test("operator CLI: requests decline sends the reason", async (context) => {
    const { gateway, succeed } = await setUp(context);
    gateway.addRequest("kreq_a");
    gateway.addRequest("kreq_b");
    const args = ["requests", "decline", "kreq_a", "--reason", "No, sorry"];
    assert.equal(await succeed(args), "Declined kreq_a.\n");
    assert.equal(gateway.requests[0].decline_reason, "No, sorry");
    const text = await succeed("requests decline kreq_b --json");
    assert.deepEqual(JSON.parse(text), { Status: "OK", Message: "kreq_b", Meta: "" });
    assert.deepEqual(
      gateway.calls.map(({ path, body }) => [path, body]),
      [
        ["/api/portal/requests/decline/kreq_a", { reason: "No, sorry" }],
        ["/api/portal/requests/decline/kreq_b", {}],
      ],
    );
  });

  test("operator CLI: requests delete", async (context) => {
    const { gateway, succeed, refuse, called } = await setUp(context);
    gateway.addRequest("kreq_a");
    assert.match(
      await succeed("requests delete kreq_a"),
      /^Deleted the request kreq_a\. A key that was issued for it keeps working: "keys revoke"/,
    );
    assert.deepEqual(gateway.requests, []);
    assert.deepEqual(called(), ["DELETE /api/portal/requests/kreq_a"]);
    const gone = /^Could not retrieve object for deletion \(HTTP 404, /;
    await refuse("requests delete kreq_a", gone);
  });
});

suite("operator CLI, keys", PARALLEL, () => {
  test("operator CLI: keys create prints the key once", async (context) => {
    const { gateway, succeed, refuse } = await setUp(context);
    const out = lines(await succeed("keys create --name web"));
    assert.ok(parseKey(out[2]).publicId);
    assert.deepEqual(out, [
      "Created the key web.",
      "",
      out[2],
      "",
      "This key is shown once: the gateway keeps only its digest.",
    ]);
    assert.deepEqual(gateway.calls[0].body, { name: "web" });
    await refuse(
      "keys create --name web",
      "An entity with this name already exists (HTTP 409, request id req-of-test)",
    );
  });

  test("operator CLI: keys create sends every option and prints the link of --claim", async (context) => {
    const { gateway, succeed } = await setUp(context);
    const line =
      "keys create --name web --policy free --model groq/* --model openai/gpt-5 --endpoint " +
      "/v1/chat/completions --metadata team=core --metadata __proto__=a=b --metadata empty= " +
      "--expires-at 2027-01-31T00:00:00Z --claim --json";
    const answer = JSON.parse(await succeed(line));
    assert.deepEqual(Object.keys(answer), ["id", "name", "claim_url", "claim_expires_at"]);
    assert.deepEqual(
      JSON.stringify(gateway.calls[0].body),
      JSON.stringify({
        name: "web",
        policies: ["free"],
        models: ["groq/*", "openai/gpt-5"],
        endpoints: ["/v1/chat/completions"],
        metadata: Object.fromEntries([
          ["team", "core"],
          ["__proto__", "a=b"],
          ["empty", ""],
        ]),
        expires_at: "2027-01-31T00:00:00Z",
        delivery: "claim",
      }),
    );
    const out = await succeed("keys create --name other --claim");
    assert.match(
      out,
      /\/access\/claim#clm_b{64}\n\nThe first person to open this link gets the key, /,
    );
  });

  test("operator CLI: keys list prints an aligned table", async (context) => {
    const { gateway, succeed } = await setUp(context);
    assert.equal(await succeed("keys list"), "No keys.\n");
    gateway.addKey("web", {
      policies: ["free"],
      expires_at: "2027-01-31T00:00:00Z",
      email: "ada@example.com",
    });
    gateway.addKey("claimed-later", { state: "disabled", secrets: [] });
    assert.deepEqual(lines(await succeed("keys list")), [
      "NAME           STATE     POLICIES  CREATED               EXPIRES               EMAIL            PUBLIC ID",
      "web            active    free      2026-11-22 07:11 UTC  2027-01-31 00:00 UTC  ada@example.com  gw_0123456789",
      "claimed-later  disabled  -         2026-11-22 07:11 UTC  never                 -                -",
    ]);
    const text = await succeed("keys list --json");
    assert.deepEqual(JSON.parse(text), [...gateway.keys.values()]);
  });

  test("operator CLI: keys show prints every field", async (context) => {
    const { gateway, succeed, refuse } = await setUp(context);
    const secret = { created_at: "2026-11-22T07:11:26Z", expires_at: null };
    gateway.addKey("web", {
      models: ["groq/*", "auto"],
      metadata: { team: NASTY },
      request_id: "kreq_a",
      secrets: [
        { ...secret, public_id: "gw_new", expires_at: null },
        { ...secret, public_id: "gw_old", expires_at: "2026-11-22T08:11:26Z" },
      ],
    });
    gateway.addKey("unclaimed", { secrets: [] });
    assert.deepEqual(lines(await succeed("keys show web")), [
      "name       web",
      "id         id-of-web",
      "state      active",
      "policies   -",
      "models     groq/*, auto",
      "endpoints  no limit of its own",
      "limits     -",
      "created    2026-11-22 07:11 UTC by ops",
      "expires    never",
      "request    kreq_a",
      "secrets    gw_new since 2026-11-22 07:11 UTC",
      "           gw_old since 2026-11-22 07:11 UTC, until 2026-11-22 08:11 UTC",
      "",
      "Metadata:",
      `  team  ${NASTY_SHOWN}`,
    ]);
    assert.match(
      await succeed("keys show unclaimed"),
      /\nsecrets +none yet: the claim link has not/,
    );
    const text = await succeed("keys show web --json");
    assert.deepEqual(JSON.parse(text), [gateway.keys.get("web")]);
    await refuse("keys show absent", "Unknown API key 'absent' (HTTP 404, request id req-of-test)");
  });

  test("operator CLI: keys set changes what it names and keeps the rest", async (context) => {
    const { gateway, succeed, misuse, called } = await setUp(context);
    gateway.addKey("web", { limits: { usd_per_month: 5, concurrent: 2 }, metadata: { team: "a" } });
    const text = await succeed("keys set web --usd-per-month 50 --concurrent none --metadata b=c");
    assert.match(text, /^Changed the key web: it takes effect everywhere within 10 seconds\.\n/);
    assert.match(text, /\nlimits +50 usd_per_month\n/);
    assert.deepEqual(gateway.calls.at(-1)?.body, {
      limits: { usd_per_month: 50 },
      metadata: { team: "a", b: "c" },
    });
    assert.deepEqual(called(), ["GET /v0/api_keys/web", "PATCH /v0/api_keys/web"]);
    await succeed("keys create --name new --requests-per-day 3 --role write");
    assert.deepEqual(gateway.calls.at(-1)?.body.limits, { requests_per_day: 3 });
    called();
    await misuse("keys set web --usd-per-day five", '--usd-per-day must be a number, or "none"');
  });

  test("operator CLI: settings are set over the fields that they have", async (context) => {
    const { gateway, succeed, called } = await setUp(context);
    gateway.settings.set("policies/trial", { description: "d", limits: { concurrent: 2 } });
    const dry = await succeed("policies set trial --usd-per-day 5 --dry-run");
    assert.match(dry, /A dry run: nothing was changed\. The change would concern 3 keys\.\n$/);
    const value = { description: "d", limits: { concurrent: 2, usd_per_day: 5 } };
    assert.deepEqual(gateway.calls.at(-1)?.body, value);
    assert.equal(gateway.settings.get("policies/trial").limits.usd_per_day, undefined);
    await succeed(["policies", "set", "trial", "--model", "groq/*", "--set", "expires_days=3"]);
    assert.deepEqual(gateway.settings.get("policies/trial").models, ["groq/*"]);
    assert.equal(gateway.settings.get("policies/trial").expires_days, 3);
    called();
    await succeed("aliases set team/fast groq/a");
    assert.deepEqual(called(), ["GET /v0/aliases", "PUT /v0/aliases/team%2Ffast"]);
    assert.deepEqual(gateway.settings.get("aliases/team/fast"), { model: "groq/a" });
    await succeed("groups set g --model groq/a --weight 3 --model groq/b --weight 1");
    const group = { models: ["groq/a", "groq/b"], weights: [3, 1] };
    assert.deepEqual(gateway.settings.get("groups/g"), group);
    await succeed("models set groq/a --set hidden=true --set like=groq/b");
    assert.deepEqual(gateway.settings.get("models/groq/a"), { hidden: true, like: "groq/b" });
    assert.match(await succeed("groups list"), /^NAME +VALUE .*\ng +\{"models":\["groq\/a"/);
    assert.match(await succeed("groups show g"), /^name +g\nsource +database\n/);
    const env = { EDITOR: "sed -i s,groq.a,groq/z," };
    await succeed("aliases edit team/fast", { env });
    assert.deepEqual(gateway.settings.get("aliases/team/fast"), { model: "groq/z" });
    await succeed("aliases remove team/fast --yes");
    assert.equal(gateway.settings.has("aliases/team/fast"), false);
  });

  test("operator CLI: a setting is not changed if the editor changes nothing or fails", async (context) => {
    const { gateway, refuse } = await setUp(context);
    gateway.settings.set("aliases/a", { model: "groq/a" });
    await refuse("aliases edit a", "Set VISUAL or EDITOR to your editor", {
      env: { EDITOR: "", VISUAL: "" },
    });
    const unchanged = "The entry was not edited; nothing was changed";
    await refuse("aliases edit a", unchanged, { env: { EDITOR: "true", VISUAL: "" } });
    const failed = "The editor failed; nothing was changed";
    await refuse("aliases edit a", failed, { env: { EDITOR: "false", VISUAL: "" } });
    assert.ok(gateway.calls.every(({ method }) => method === "GET"));
  });

  test("operator CLI: keys disable and keys enable", async (context) => {
    const { gateway, succeed, called } = await setUp(context);
    gateway.addKey("web");
    assert.equal(
      await succeed("keys disable web"),
      'Disabled the key web: it is rejected everywhere within 10 seconds, until "keys enable".\n',
    );
    assert.equal(gateway.keys.get("web").state, "disabled");
    assert.equal(
      await succeed("keys enable web"),
      "Enabled the key web: it is accepted everywhere within 10 seconds.\n",
    );
    assert.equal(gateway.keys.get("web").state, "active");
    assert.deepEqual(called(), Array(2).fill("PATCH /v0/api_keys/web"));
    assert.equal(JSON.parse(await succeed("keys disable web --json")).state, "disabled");
  });

  test("operator CLI: keys rotate reports until when the old secret works", async (context) => {
    const { gateway, succeed } = await setUp(context);
    gateway.addKey("web");
    const out = lines(await succeed("keys rotate web"));
    assert.equal(out[0], "Rotated the key web.");
    assert.ok(parseKey(out[2]).publicId);
    assert.equal(out.at(-1), "The old secret keeps working until 2026-11-25 07:11 UTC.");
    const atOnce = await succeed("keys rotate web --overlap 0");
    assert.match(atOnce, /\nThe old secret is rejected everywhere within 10 seconds\.\n$/);
    const link = await succeed("keys rotate web --claim --overlap 60");
    assert.match(link, /\nAn old secret keeps working; its overlap begins when the link is op/);
    assert.match(link, /\/access\/claim#clm_b{64}\n/);
    assert.deepEqual(
      gateway.calls.map(({ body }) => body),
      [{}, { overlap_seconds: 0 }, { overlap_seconds: 60, delivery: "claim" }],
    );
    gateway.addKey("unclaimed", { secrets: [] });
    for (const overlap of ["", " --overlap 0"]) {
      const first = await succeed(`keys rotate unclaimed${overlap}`);
      assert.equal(lines(first).at(-1), "The key had no secret before.");
    }
  });

  test("operator CLI: keys revoke", async (context) => {
    const { gateway, succeed, refuse, called } = await setUp(context);
    gateway.addKey("web");
    gateway.addKey("other");
    assert.equal(
      await succeed("keys revoke web"),
      "Revoked the key web: it is rejected everywhere within 10 seconds, and its name is free again.\n",
    );
    assert.equal(await succeed("keys revoke other --json"), "null\n");
    assert.deepEqual(called(), ["DELETE /v0/api_keys/web", "DELETE /v0/api_keys/other"]);
    await refuse("keys revoke web", "Unknown API key 'web' (HTTP 404, request id req-of-test)");
  });

  test("operator CLI: a name that begins with a dash is written after --", async (context) => {
    const { gateway, succeed, misuse } = await setUp(context);
    await misuse("keys revoke -x", "error: unknown option '-x'");
    await misuse("keys revoke -- a b", /^error: too many arguments for 'revoke'/);
    await succeed("keys create --name -x");
    for (const name of ["--claim", "-"]) gateway.addKey(name);
    for (const name of ["-x", "--claim", "-"]) await succeed(["keys", "revoke", "--", name]);
    assert.equal(gateway.keys.size, 0);
  });

  test("operator CLI: an id or a name is encoded as one path segment", async (context) => {
    const { gateway, refuse, called } = await setUp(context);
    const odd = "../a?b#c%2e é";
    gateway.addKey(odd);
    await refuse(["requests", "show", odd], /^Could not retrieve portal object\. /);
    await refuse(["keys", "rotate", `${odd}!`], /^Unknown API key /);
    const encoded = "..%2Fa%3Fb%23c%252e%20%C3%A9";
    assert.deepEqual(called(), [
      `GET /api/portal/requests/${encoded}`,
      `POST /v0/api_keys/${encoded}!/rotate`,
    ]);
    for (const none of ["", ".", ".."]) {
      await refuse(["requests", "delete", none], `"${none}" is not an id or a name`);
      await refuse(["keys", "revoke", none], `"${none}" is not an id or a name`);
    }
    assert.deepEqual(called(), []);
  });
});

suite("operator CLI, audit", PARALLEL, () => {
  /** @param {TestContext} context */
  async function withEntries(context, count = 3) {
    const place = await setUp(context);
    for (let at = 1; at <= count; at += 1) {
      place.gateway.addEntry({ action: "key.created", subject: `key-${at}`, detail: { at } });
    }
    return place;
  }
  const head = (/** @type {FakeGateway} */ gateway) => gateway.audit.at(-1)?.hash ?? "";

  test("operator CLI: audit list prints an aligned table", async (context) => {
    const { gateway, succeed, called } = await withEntries(context, 2);
    gateway.addEntry({ action: "request.created", subject: NASTY, detail: {} });
    assert.deepEqual(lines(await succeed("audit list --after 1")), [
      `SEQ  AT                    ACTOR  ACTION           ${"SUBJECT".padEnd(48)}  DETAIL`,
      `2    2026-11-22 07:11 UTC  ops    key.created      ${"key-2".padEnd(48)}  {"at":2}`,
      `3    2026-11-22 07:11 UTC  ops    request.created  ${NASTY_SHOWN.slice(0, 47)}…  {}`,
    ]);
    assert.deepEqual(called(), ["GET /v0/audit?after=1&limit=1000"]);
    assert.deepEqual(JSON.parse(await succeed("audit list --json")), gateway.audit);
    assert.equal(await succeed("audit list --after 3"), "No entries.\n");
  });

  test("operator CLI: audit list shows malformed entries", async (context) => {
    const { gateway, succeed } = await withEntries(context, 1);
    for (const [seq, entry] of ["not JSON", "null", '{"at":{"a":1},"actor":7}'].entries()) {
      gateway.audit.push({ seq: seq + 2, entry, hash: "x" });
    }
    assert.deepEqual(
      lines(await succeed("audit list --after 1")).map((line) => line.split(/ {2,}/)),
      [
        ["SEQ", "AT", "ACTOR", "ACTION", "SUBJECT", "DETAIL"],
        ["2", "?", "?", "?", "?", "not JSON"],
        ["3", "?", "?", "?", "?", "?"],
        ["4", '{"a":1}', "7", "?", "?", "?"],
      ],
    );
  });

  test("operator CLI: audit verify accepts an intact chain of several pages", async (context) => {
    const { gateway, succeed, called } = await withEntries(context, 2500);
    const out = await succeed("audit verify");
    const advice = "Intact. Note the head elsewhere, for a later audit verify --head.";
    assert.equal(out, `entries  2500\nhead     ${head(gateway)}\n${advice}\n`);
    assert.deepEqual(called(), [
      ...[0, 1000, 2000].map((after) => `GET /v0/audit?after=${after}&limit=1000`),
      "GET /v0/audit/verify",
    ]);
    assert.equal(JSON.parse(await succeed("audit list --json")).length, 2500);
  });

  test("operator CLI: audit verify reports tables that differ from the log", async (context) => {
    const { gateway, refuse } = await withEntries(context);
    const reason = "the key 'a' was revoked, but works in the table";
    gateway.differs = { intact: false, entries: 3, head: head(gateway), reason, differences: [] };
    const said = `The audit log is a chain, but ${reason}`;
    await refuse("audit verify", said);
    const finding = JSON.parse(await refuse("audit verify --json", said));
    assert.deepEqual(finding, { intact: false, entries: 3, head: head(gateway), reason });
  });

  test("operator CLI: audit verify accepts an empty log", async (context) => {
    const { succeed } = await setUp(context);
    const nothing = "0".repeat(64);
    assert.match(await succeed("audit verify"), /^entries  0\nhead     0{64}\n/);
    const text = await succeed(`audit verify --json --head ${nothing}`);
    assert.deepEqual(JSON.parse(text), { intact: true, entries: 0, head: nothing });
  });

  test("operator CLI: audit verify hashes text that is not ASCII", async (context) => {
    const { gateway, succeed } = await withEntries(context, 1);
    gateway.addEntry({ action: "request.declined", detail: { reason: "né 漢 🦀\u2028" } });
    assert.match(await succeed("audit verify"), /^entries  2\n/);
  });

  /** @type {(audit: FakeGateway["audit"], at: number, seq: number, from: string, to: string) => void} */
  function forge(audit, at, seq, from, to) {
    const entry = audit[at - 1].entry.replace(from, to);
    const hash = createHash("sha256")
      .update(`${audit[at - 2].hash}\n${entry}`)
      .digest("hex");
    audit[at - 1] = { seq, entry, hash };
  }

  /** @type {[string, number, (audit: FakeGateway["audit"]) => unknown][]} */
  const tampering = [
    ["a changed text", 2, (audit) => (audit[1].entry = audit[1].entry.replace("ops", "eve"))],
    ["a changed hash", 2, (audit) => (audit[1].hash = audit[0].hash)],
    ["an entry taken out", 3, (audit) => audit.splice(1, 1)],
    ["the first entry taken out", 2, (audit) => audit.splice(0, 1)],
    ["an entry put in twice", 2, (audit) => audit.splice(1, 0, { ...audit[0], seq: 2 })],
    [
      "two entries exchanged",
      2,
      ([, two, three]) => ([two.entry, three.entry] = [three.entry, two.entry]),
    ],
    ["a number changed", 4, (audit) => (audit[2].seq = 4)],
    ["a text and its own hash rewritten", 3, (audit) => forge(audit, 2, 2, "ops", "eve")],
    ["a gap, in hashes that fit", 7, (audit) => forge(audit, 3, 7, '"seq":3', '"seq":7')],
    [
      "another number in a text, in hashes that fit",
      3,
      (audit) => forge(audit, 3, 3, ":3,", ":4,"),
    ],
  ];
  for (const [name, seq, tamper] of tampering) {
    test(`operator CLI: audit verify detects ${name}`, async (context) => {
      const { gateway, refuse } = await withEntries(context);
      tamper(gateway.audit);
      const broken = new RegExp(`^The audit log is broken at entry ${seq}: (the|an) .+`);
      const out = await refuse("audit verify", broken);
      assert.match(out, /^entries before the break  \d\nhead +[0-9a-f]{64}\n$/);
      const finding = JSON.parse(await refuse("audit verify --json", broken));
      const members = ["intact", "entries", "broken_at", "reason"];
      assert.deepEqual(Object.keys(finding), members);
      assert.equal(finding.intact, false);
      assert.equal(finding.broken_at, seq);
    });
  }

  test("operator CLI: audit verify --head detects a log that was cut or rewritten", async (context) => {
    const { gateway, succeed, refuse } = await withEntries(context);
    const noted = head(gateway);
    assert.match(await succeed(`audit verify --head ${noted}`), /\nIntact\./);
    gateway.addEntry({ action: "key.revoked" });
    const upper = noted.toUpperCase();
    assert.match(await succeed(`audit verify --head ${upper}`), /^entries  4\n/);

    // The owner of the database can cut the log, or write another valid chain.
    gateway.audit.splice(2);
    const gone = new RegExp(`^The audit log is a chain, but the head ${noted} is not in it: `);
    await refuse(`audit verify --head ${noted}`, gone);
    gateway.addEntry({ action: "key.created", subject: "forged" });
    gateway.addEntry({ action: "key.revoked" });
    await succeed("audit verify");
    const finding = JSON.parse(await refuse(`audit verify --json --head ${noted}`, gone));
    assert.equal(finding.intact, false);
    assert.equal(finding.entries, 4);
    assert.equal(finding.head, head(gateway));
  });

  test("operator CLI: audit commands reject an endless or malformed log", async (context) => {
    const { gateway, refuse } = await withEntries(context);
    const entries = gateway.audit;
    for (const next of [0, -1, "x"]) {
      gateway.instead = (_, response) => json(response, 200, { entries, next });
      await refuse("audit verify", "The gateway's audit log has no end");
    }
    for (const answer of [
      {},
      [],
      { entries: {} },
      { entries: [null] },
      { entries: [{ seq: 1 }] },
    ]) {
      gateway.instead = (_, response) => json(response, 200, answer);
      await refuse("audit list", /^The gateway's response is not valid: it has no /);
    }
  });
});

suite("operator CLI, usage errors", PARALLEL, () => {
  const { key } = mint(randomBytes(31));
  const badUrl = "The gateway's address (--url or GATEWAY_URL) must be an http or https URL";
  const badPlace = "The gateway's address (--url or GATEWAY_URL) must be a host and a path only";

  /** @type {[string, string | RegExp][]} - The arguments are split at spaces. */
  const mistakes = [
    ["frobnicate", "error: unknown command 'frobnicate'"],
    ["constructor", "error: unknown command 'constructor'"],
    ["list", "error: unknown command 'list'"],
    ["request list", "error: unknown command 'request' (Did you mean requests?)"],
    ["audit frob", "error: unknown command 'frob'"],
    ["requests list extra", /^error: too many arguments for 'list'/],
    ["requests show", "error: missing required argument 'ID'"],
    ["requests show --", "error: missing required argument 'ID'"],
    ["requests show a b", /^error: too many arguments for 'show'/],
    ["keys revoke --json", "error: missing required argument 'NAME'"],
    ["keys revoke --name x", "error: unknown option '--name'"],
    ["requests show --id x", "error: unknown option '--id'"],
    ["keys create", "error: required option '--name <NAME>' not specified"],
    ["keys create web --name web", /^error: too many arguments for 'create'/],
    ["keys create --name", "error: option '--name <NAME>' argument missing"],
    ["keys create --name --claim", "--name needs a value, and --claim is an option"],
    ["keys create --name --json", "error: option '--name <NAME>' argument missing"],
    ["keys create --name a --email", "error: unknown option '--email'"],
    ["keys rotate a --overlp 1", "error: unknown option '--overlp' (Did you mean --overlap?)"],
    ["keys create --name a --metadata x", "--metadata must be NAME=TEXT"],
    ["keys create --name a --metadata =x", "--metadata must be NAME=TEXT"],
    [
      "keys create --name a --metadata x=1 --metadata x=2",
      "--metadata x=... is given more than once",
    ],
    [
      "requests list --pending --declined",
      /^error: option '--pending' cannot be used with option '--d/,
    ],
    [
      "requests approve a --claim --email",
      /^error: option '--email' cannot be used with option '--cl/,
    ],
    ["requests approve a --expires-at tomorrow", /^--expires-at must be a time such as /],
    ["requests approve a --expires-at 2027-13-01T00:00:00Z", /^--expires-at must be a time/],
    ["requests approve a --expires-at 2027-01-01", /^--expires-at must be a time/],
    ["keys rotate a --overlap 1.5", "--overlap must be an integer from 0 to 2592000"],
    ["keys rotate a --overlap 2592001", "--overlap must be an integer from 0 to 2592000"],
    ["audit list --after -1", /^--after must be an integer from 0 to /],
    ["audit verify --head abc", /^--head must be a hash of 64 hex digits/],
    [
      "providers keys add groq --key-stdin",
      /^The key of the provider is on standard input: give the operator key by GATEWAY_ADMIN_KEY/,
    ],
    ["providers keys add", "error: missing required argument 'PROVIDER'"],
    ["providers keys set groq pkey_1", "Give --label or --weight"],
    ["providers keys set groq pkey_1 --weight 0", "--weight must be an integer from 1 to 1000"],
    ["keys list --timeout 0", "--timeout must be an integer from 1 to 300"],
  ];
  for (const [line, message] of mistakes) {
    test(`operator CLI: rejects "${line}" with exit status 2`, async (context) => {
      const { misuse } = await setUp(context);
      await misuse(line, message);
    });
  }

  const addresses = [
    ["keys list --url localhost", badUrl],
    ["keys list --url ftp://localhost", badUrl],
    ["keys list --url http://user:secret@localhost", badPlace],
    ["keys list --url https://example.com/?key=secret", badPlace],
    ["keys list --url https://example.com/#secret", badPlace],
  ];
  for (const [line, message] of addresses) {
    test(`operator CLI: rejects the address in "${line}"`, async (context) => {
      const { refuse, called } = await setUp(context);
      assert.equal(await refuse(line, message), "");
      assert.deepEqual(called(), []);
    });
  }

  const places = [
    ["keys", "list", "--key", key],
    ["keys", "revoke", key],
    ["keys", "create", "--name", key],
    ["requests", "decline", "a", "--reason", `because ${key.slice(0, 40)}`],
    ["keys", "list", "--url", `https://example.com/${key}`],
    [key],
  ];
  for (const args of places) {
    test(`operator CLI: rejects a key as an argument: ${args.join(" ").replace(/gw_\w+/, "KEY")}`, async (context) => {
      const { misuse } = await setUp(context);
      await misuse(args, /^A key must not be passed as an argument: .* GATEWAY_ADMIN_KEY/);
      const { stderr } = await run(args);
      assert.ok(!stderr.includes(key.slice(3, 20)), "and it is not repeated");
    });
  }

  test("operator CLI: --help describes the program, a group and a command", async () => {
    const help = await run(["--help"]);
    for (const word of ["help", "-h"]) assert.deepEqual(await run([word]), help);
    for (const word of [
      ..."requests keys audit".split(" ").map((name) => `\n  ${name} `),
      ..."url key-stdin insecure timeout json".split(" ").map((name) => `\n  --${name} `),
      ...["GATEWAY_ADMIN_KEY", "GATEWAY_URL"],
    ]) {
      assert.ok(help.stdout.includes(word), word);
    }
    for (const line of ["", "keys", "audit"]) {
      const { status, stderr } = await run(line.split(" ").filter(Boolean));
      assert.equal(status, 2, "no command");
      assert.match(stderr, /^Usage: node scripts\/gateway-operator\.mjs /);
    }

    const ofKeys = await run(["keys", "-h"]);
    for (const name of "create list show disable enable rotate revoke".split(" ")) {
      assert.ok(ofKeys.stdout.includes(`\n  ${name} `), name);
    }
    const ofApprove = await run(["requests", "approve", "--help"]);
    assert.deepEqual(await run(["requests", "approve", "x", "-h"]), ofApprove);
    for (const word of [
      "requests approve [options] <ID>\n",
      "(repeatable)\n",
      ..."policy expires-at claim email url".split(" ").map((name) => `\n  --${name} `),
    ]) {
      assert.ok(ofApprove.stdout.includes(word), word);
    }
    assert.ok(!ofApprove.stdout.includes("--overlap"), "only the options of this command");
    for (const { status, stderr } of [help, ofKeys, ofApprove]) {
      assert.equal(status, 0);
      assert.equal(stderr, "");
    }
  });
});

suite("operator CLI, completion and examples", PARALLEL, () => {
  /** The words that bash completes after some others. */
  const complete = async (/** @type {string[]} */ ...words) => {
    const { stdout } = await run(["completion", "bash"]);
    const list = words.map((word) => `'${word}'`).join(" ");
    const script = `${stdout}\nCOMP_WORDS=(gateway-operator ${list})\nCOMP_CWORD=${words.length}\n_gateway_operator\necho "\${COMPREPLY[@]}"`;
    const child = spawn("bash", ["--norc", "-eu", "-c", script]);
    let completed = "";
    child.stdout.setEncoding("utf8").on("data", (text) => (completed += text));
    await new Promise((done) => child.on("close", done));
    return completed.trim().split(" ");
  };

  test("operator CLI: bash completes commands, subcommands and options", async () => {
    assert.ok((await complete("pro")).includes("providers"));
    assert.deepEqual(await complete("providers", "--json", "keys", "e"), ["enable", "encrypt"]);
    assert.deepEqual(await complete("keys", "set", "ci-runner", "--usd-per-m"), [
      "--usd-per-month",
    ]);
    assert.deepEqual(await complete("audit", "verify", "--he"), ["--head", "--help"]);
  });

  test("operator CLI: completion knows zsh and fish, and no other shell", async () => {
    assert.match((await run(["completion", "zsh"])).stdout, /^#compdef gateway-operator/);
    const fish = (await run(["completion", "fish"])).stdout;
    assert.match(
      fish,
      /^complete -c gateway-operator -f -n "__gateway_operator_at 'keys'" -a "cr/m,
    );
    checkFailure(await run(["completion", "csh"]), "SHELL must be one of: bash, zsh, fish", 2);
  });

  test("operator CLI: every command has an example in its help", async () => {
    const { stdout } = await run(["completion", "bash"]);
    const paths = [...stdout.matchAll(/^ {4}'([^']+)'\) words=/gm)].map(([, path]) => String(path));
    // A list of calls is a command, and has one below it.
    const runs = paths.filter(
      (path) => path === "calls" || !paths.some((other) => other.startsWith(`${path} `)),
    );
    assert.deepEqual(Object.keys(EXAMPLES).toSorted(), runs.toSorted());
    for (const [path, lines] of Object.entries(EXAMPLES)) {
      for (const line of lines) assert.ok(line.startsWith(path), line);
    }
    const help = await run(["keys", "set", "--help"]);
    assert.match(help.stdout, /Examples:\n {2}keys set ci-runner --usd-per-month 50/);
  });
});

suite("operator CLI, operator key", PARALLEL, () => {
  test("operator CLI: the operator key is read from the environment or standard input", async (context) => {
    const { gateway, succeed, refuse } = await setUp(context);
    const wrong = { GATEWAY_ADMIN_KEY: "wrong" };
    for (const input of [gateway.operator, `  ${gateway.operator}\r\n`]) {
      await succeed("keys list --key-stdin", { input, env: wrong });
    }
    await succeed("keys list", { env: { GATEWAY_ADMIN_KEY: ` ${gateway.operator}\n` } });
    for (const { headers } of gateway.calls) {
      assert.equal(headers.authorization, `Bearer ${gateway.operator}`);
    }
    const missing = "Set GATEWAY_ADMIN_KEY to an operator key, or give it by --key-stdin";
    for (const none of ["", " "]) {
      await refuse("keys list", missing, { env: { GATEWAY_ADMIN_KEY: none } });
    }
    await refuse("keys list --key-stdin", "There is no key on standard input");
    const two = { input: "one\ntwo" };
    await refuse("keys list --key-stdin", /^Standard input must hold one key/, two);
    for (const odd of ["se cret", "se\ncret", "sécret"]) {
      const how = { env: { GATEWAY_ADMIN_KEY: odd } };
      await refuse(
        "keys list",
        "The operator key must be one word of visible ASCII characters",
        how,
      );
    }
  });

  test("operator CLI: a rejected key is reported with advice", async (context) => {
    const { gateway, refuse } = await setUp(context);
    const how = { env: { GATEWAY_ADMIN_KEY: "wrong" } };
    const advice =
      "\\(HTTP 401, request id req-of-test\\)\\. GATEWAY_ADMIN_KEY, or the key given by ";
    await refuse("keys list", new RegExp(`^Unauthorized API key ${advice}`), how);
    await refuse("requests list", new RegExp(`^Not authorised ${advice}`), how);
    gateway.instead = (_, response) => portalError(response, 403, "access denied: no");
    await refuse("requests list", /^access denied: no \(HTTP 403, .*must be an operator key/);
  });

  test("operator CLI: the operator key is not sent unencrypted to another machine without --insecure", async (context) => {
    const { refuse } = await setUp(context);
    const hosts = ["example.com", "192.0.2.1:8787", "127.0.0.1.example.com", "localhost.example"];
    for (const host of hosts) {
      const message = new RegExp(`^The operator key would be sent to ${host} unencrypted: `);
      await refuse(`keys list --url http://${host}`, message);
      await refuse("keys list", message, { env: { GATEWAY_URL: `http://${host}` } });
    }
    // Asked for, it is tried: port 1 of this machine answers nobody.
    await refuse(
      "keys list --insecure --url http://0.0.0.0:1",
      /^No response from the gateway at /,
    );
  });

  test("operator CLI: loopback addresses and URLs with a path work, and --url overrides GATEWAY_URL", async (context) => {
    const { gateway, succeed, called } = await setUp(context);
    const { port } = new URL(gateway.url);
    const elsewhere = { env: { GATEWAY_URL: "http://127.0.0.1:1" } };
    for (const url of [`http://localhost:${port}`, `http://127.1:${port}/`, `${gateway.url}//`]) {
      await succeed(`keys list --url ${url}`, elsewhere);
    }
    assert.deepEqual(called(), Array(3).fill("GET /v0/api_keys"));
    gateway.instead = (_, response) => json(response, 200, []);
    await succeed(`keys list --url ${gateway.url}/below/here/`);
    assert.deepEqual(called(), ["GET /below/here/v0/api_keys"]);
  });

  test("operator CLI: redirects are not followed", async (context) => {
    const { gateway, refuse, called } = await setUp(context);
    for (const status of [301, 302, 303, 307, 308]) {
      gateway.instead = (_, response) =>
        response.writeHead(status, { location: `${gateway.url}/elsewhere` }).end();
      await refuse(
        "keys list",
        new RegExp(` redirects to ${gateway.url}/elsewhere \\(HTTP ${status}`),
      );
      await refuse("keys revoke web", / redirects to .*the key is not sent there/);
    }
    assert.ok(called().every((line) => line.endsWith("/v0/api_keys") || line.endsWith("/web")));
  });
});

suite("operator CLI, failing gateways", PARALLEL, () => {
  test("operator CLI: an unreachable gateway is reported", async (context) => {
    const { gateway, refuse } = await setUp(context);
    await gateway.stop();
    const message = `No response from the gateway at ${gateway.url}/: connect ECONNREFUSED 127.0.0.1`;
    for (const line of ["keys list", "keys revoke web"]) {
      await refuse(line, new RegExp(`^${message}:\\d+\n$`));
    }
    const name = "keys list --timeout 5 --url https://gateway.invalid";
    await refuse(name, /^No response from the gateway at https:\/\/gateway\.invalid\/: .+/);
  });

  const doubt = "It is unknown whether the change was made: check before you repeat it";

  /** @type {[string, Answer][]} */
  const silences = [
    ["before the response", () => {}],
    ["within the response", (_, response) => void response.writeHead(200).write('{"Raw')],
  ];
  for (const [name, answer] of silences) {
    test(`operator CLI: a timeout ${name} is reported, with doubt about a change`, async (context) => {
      const { gateway, refuse } = await setUp(context);
      gateway.instead = answer;
      const silent = `No response from the gateway at ${gateway.url}/: waited 1 s`;
      await refuse("keys list --timeout 1", silent);
      await refuse("requests approve a --timeout 1", `${silent}. ${doubt}`);
    });
  }

  test("operator CLI: a broken connection is reported, with doubt about a change", async (context) => {
    const { gateway, refuse } = await setUp(context);
    gateway.instead = (_, response) => void response.socket?.destroy();
    await refuse("keys list", /^No response from the gateway at [^ ]+: [^.]+\n$/);
    await refuse(
      "keys revoke web",
      new RegExp(`^No response from the gateway at .*\\. ${doubt}\n$`),
    );
    gateway.instead = (_, response) => {
      response.writeHead(200, { "content-length": "100" }).write("{");
      setTimeout(() => response.destroy(), 50);
    };
    await refuse("keys rotate web", new RegExp(`^No response from .*\\. ${doubt}\n$`));
  });

  test("operator CLI: a server that does not speak HTTP is reported", async (context) => {
    const { refuse } = await setUp(context);
    const server = createServer((socket) => socket.on("error", () => {}).end("SSH-2.0-x\r\n"));
    await new Promise((done) => server.listen(0, "127.0.0.1", () => done(null)));
    context.after(() => server.close());
    const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
    await refuse(`keys list --url http://127.0.0.1:${port}`, /^No response from the gateway at /);
  });

  test("operator CLI: a response that is not JSON is reported", async (context) => {
    const { gateway, refuse } = await setUp(context);
    for (const status of [200, 404, 502]) {
      gateway.instead = (_, response) => void response.writeHead(status).end(`<h1>${NASTY}</h1>`);
      await refuse(
        "requests list",
        `The response from ${gateway.url}/ is not JSON (HTTP ${status}, request id req-of-test): ` +
          "is that the address of a gateway?",
      );
    }
  });

  test("operator CLI: JSON with missing fields is reported", async (context) => {
    const { gateway, refuse } = await setUp(context);
    const commands = [
      ..."list,show a,approve a,approve a --claim,approve a --email"
        .split(",")
        .map((words) => `requests ${words}`),
      ..."list,show a,create --name a,create --name a --claim,rotate a"
        .split(",")
        .map((words) => `keys ${words}`),
      "audit list",
      "audit verify",
    ];
    for (const answer of [{}, [], null, "text", 7, [null]]) {
      gateway.instead = (_, response) => json(response, 200, answer);
      for (const line of commands) {
        if (line === "keys list" && Array.isArray(answer)) continue;
        await refuse(line, /^The gateway's response is not valid: it has no /);
      }
    }
    gateway.instead = (_, response) => json(response, 200, {});
    await refuse("requests approve a", /no string RawKey\. The request is approved: find its key/);
    await refuse("keys rotate a", /no string api_key\. The key a has a new secret that nobody has/);
  });

  test("operator CLI: values of unexpected types are shown", async (context) => {
    const { gateway, succeed } = await setUp(context);
    const odd = { id: "a", name: "a", state: "x", secrets: [], fields: { a: 1, b: null } };
    gateway.instead = (_, response) => json(response, 200, odd);
    assert.match(await succeed("requests show a"), /\n {2}a {2}1\n {2}b {2}null\n$/);
    gateway.instead = (_, response) => json(response, 200, [odd]);
    await succeed("keys show a");
    await succeed("keys list");
  });

  /** @type {[string, unknown, string][]} */
  const refusals = [
    ["the OpenAI envelope", { error: { message: "too large", code: "x" } }, "too large"],
    ["the portal's envelope", { Status: "Error", Message: "malformed", Meta: null }, "malformed"],
    ["the key API's envelope", { message: "bad", error_code: "X", details: null }, "bad"],
    ["no message", {}, "The gateway rejected the request without a reason"],
    ["no object", null, "The gateway rejected the request without a reason"],
    ["hostile text", { message: `one\n${NASTY}` }, `one\\u{a}${NASTY_SHOWN}`],
  ];
  for (const [name, answer, said] of refusals) {
    test(`operator CLI: the message of an error response is shown (${name})`, async (context) => {
      const { gateway, refuse } = await setUp(context);
      gateway.instead = (_, response) => json(response, 400, answer);
      await refuse("keys list", `${said} (HTTP 400, request id req-of-test)`);
    });
  }

  test("operator CLI: Retry-After is shown", async (context) => {
    const { gateway, refuse } = await setUp(context);
    gateway.instead = (_, response) => {
      response.removeHeader("x-request-id");
      response.setHeader("retry-after", "5");
      json(response, 503, { message: "Storage is unavailable" });
    };
    await refuse("keys list", "Storage is unavailable (HTTP 503). Try again in 5 seconds");
  });

  test("operator CLI: a key that could not be printed is reported with advice", async (context) => {
    const { gateway, operate } = await setUp(context);
    gateway.addRequest("kreq_a");
    /** @type {[string, RegExp][]} */
    const cases = [
      ["requests approve kreq_a", /EPIPE\. The request is approved: find its key with "keys list"/],
      ["keys create --name web", /EPIPE\. The key web has a new secret that nobody has seen/],
      ["keys rotate web", /EPIPE\. The key web has a new secret that nobody has seen/],
    ];
    for (const [line, message] of cases) {
      checkFailure(await operate(line, { closed: true }), message, 1);
    }
  });
});

test("safeText: safe text is unchanged, unsafe characters are escaped", () => {
  assert.equal(safeText(NASTY), NASTY_SHOWN);
  assert.equal(safeText(NASTY_SHOWN), NASTY_SHOWN);
  for (const plain of ["", "ada@example.com", "Größe 漢字 🦀 עברית", "a\\b"]) {
    assert.equal(safeText(plain), plain);
  }
  const everyControl = Array.from({ length: 0xa0 }, (_, code) => String.fromCharCode(code));
  const bidi = [
    "\u061c",
    "\u200e",
    "\u200f",
    "\u202a",
    "\u202e",
    "\u2066",
    "\u2069",
    "\ufeff",
    "\ufff9",
  ];
  for (const text of [...everyControl, ...bidi, "\ud800", "\u2028", "\u3164"]) {
    assert.doesNotMatch(safeText(text), OBEYED);
    assert.doesNotMatch(safeText(text), /\n/);
  }
});
