// @ts-check
//! Usage of a key: GET /usage, and a receipt of every call with its real usage and its cost at the time.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { rm } from "node:fs/promises";
import { createServer } from "node:http";
import { after, before, suite, test } from "node:test";
import {
  KEY,
  LABEL,
  OPERATOR_KEY,
  Gateway,
  Upstream,
  begin,
  call,
  chat,
  contents,
  eventually,
  freshState,
  operate,
  root,
  variables,
} from "./harness.mjs";
import { Isolates } from "./isolates.mjs";
import {
  FIELDS,
  ask,
  assertChain,
  assertSums,
  closeDays,
  issue,
  receipts,
  usage,
} from "./ledgers.mjs";

const DAY_MS = 86_400_000;
const PROMPT = "prompt-that-no-receipt-keeps";
const ANSWER = "answer-that-no-receipt-keeps";
/** Micro-USD per million tokens. */
const PRICE = {
  input: 1_000_000,
  cached_input: 100_000,
  cache_write: 1_250_000,
  output: 3_500_000,
};
const RECEIPT = [
  ...["id", "request_id", "time", "operation", "project", "provider", "model", "stream"],
  ...["status", "code", "outcome"],
  ...["prompt_tokens", "cached_tokens", "cache_write_tokens", "completion_tokens"],
  ...["reasoning_tokens", "image_tokens", "cost_micro_usd", "first_token_ms", "duration_ms"],
  ...["partial", "estimated", "capped", "attempts", "seq", "totals", "previous", "hash"],
];

/** @type {Upstream} */ let upstream;
/** A provider that reports what `simulate` of the request has. @type {import("node:http").Server} */ let counting;

before(async () => {
  // No test runs over midnight.
  const left = DAY_MS - (Date.now() % DAY_MS);
  if (left < 180_000) await new Promise((resolve) => setTimeout(resolve, left + 1000));
  upstream = await Upstream.start();
  counting = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const { simulate: usage } = JSON.parse(Buffer.concat(chunks).toString());
    const message = { role: "assistant", content: "Hi" };
    response.setHeader("content-type", "application/json");
    response.end(
      JSON.stringify({ choices: [{ index: 0, message, finish_reason: "stop" }], usage }),
    );
  }).listen(0, "127.0.0.1");
  await once(counting, "listening");
});
after(() => {
  counting?.close();
  return upstream?.stop();
});

/**
 * @param {number} [output_usd_per_mtok]
 * @param {object} [more] settings
 */
function configured(output_usd_per_mtok = 3.5, more = {}) {
  const price = {
    input_usd_per_mtok: 1,
    cached_input_usd_per_mtok: 0.1,
    cache_write_usd_per_mtok: 1.25,
    output_usd_per_mtok,
    max_output: 1000,
  };
  const { port } = /** @type {import("node:net").AddressInfo} */ (counting.address());
  const none = { auth: "none", models: ["m"] };
  return variables(upstream, {
    providers: {
      demo: { base_url: `${upstream.url}/v1`, models: ["sim-small"] },
      first: { base_url: `${upstream.url}/first/v1`, ...none },
      second: { base_url: `${upstream.url}/second/v1`, ...none },
      counted: { base_url: `http://127.0.0.1:${port}`, ...none },
    },
    aliases: {},
    groups: { either: { models: ["first/m", "second/m"] } },
    models: { "demo/sim-small": price, "counted/m": price, "second/m": price },
    routing: { retries: 0, sticky: false },
    policies: {
      limited: {
        limits: { requests_per_day: 100, usd_per_day: 0.01, usd_total: 1, concurrent: 5 },
      },
    },
    ...more,
  });
}

/** @param {string} key */
const bearer = (key) => ({ authorization: `Bearer ${key}` });

/**
 * @param {Response} response
 * @param {number} status
 * @param {string} code
 * @param {string | null} [param]
 */
async function refused(response, status, code, param = null) {
  const { error } = await response.json();
  assert.deepEqual([response.status, error.code, error.param], [status, code, param]);
}

/**
 * The receipt of a call, once it exists.
 *
 * @param {Gateway} gateway
 * @param {string} id
 * @param {string} [key]
 * @returns {Promise<any>}
 */
async function receiptOf(gateway, id, key = KEY) {
  /** @type {any} */ let receipt;
  await eventually(async () => {
    const response = await ask(gateway, `/requests/${id}`, key);
    receipt = await response.json();
    return response.status === 200;
  });
  return receipt;
}

let made = 0;

/**
 * Sends a call, reads its response, and waits for its receipt.
 *
 * @param {Gateway} gateway
 * @param {object} body
 * @param {string} [key]
 * @param {Record<string, string>} [more] headers
 */
async function recorded(gateway, body, key = KEY, more = {}) {
  const id = `recorded-${(made += 1)}`;
  const messages = [{ role: "user", content: "one two three" }];
  const response = await chat(
    gateway,
    { messages, ...body },
    { ...bearer(key), "x-request-id": id, ...more },
  );
  const text = await response.text();
  const receipt = await receiptOf(gateway, response.headers.get("x-gateway-receipt") ?? id, key);
  return { response, text, receipt, id };
}

suite("usage", () => {
  /** @type {Gateway} */ let gateway;

  before(async () => {
    gateway = await Gateway.start(configured());
  });
  after(() => gateway?.stop());

  const PATHS = ["", "/requests", "/requests/rcpt_01ARZ3NDEKTSV4RRFFQ69G5FAV"];

  test("usage: requires a key", async () => {
    for (const path of PATHS) {
      await refused(await ask(gateway, path, "", { headers: {} }), 401, "invalid_api_key");
      await refused(await ask(gateway, path, "not-a-key"), 401, "invalid_api_key");
    }
    const { key } = await issue(gateway, "bearer");
    for (const one of [KEY, key]) {
      const account = await usage(gateway, "", one);
      assert.equal(account.key, one === KEY ? LABEL : "bearer");
      assert.equal(account.total_requests, 0);
      assert.deepEqual(account.receipts, {
        count: 0,
        head: "0".repeat(64),
        totals: { requests: 0, prompt_tokens: 0, completion_tokens: 0, cost_micro_usd: 0 },
      });
      assert.ok(Math.abs(Date.parse(account.as_of) - Date.now()) < 60_000);
      const list = await usage(gateway, "/requests", one);
      assert.deepEqual(list, { object: "list", data: [], has_more: false, next_before: null });
    }
    const response = await ask(gateway, "", KEY);
    assert.equal(response.headers.get("cache-control"), "no-store");
  });

  test("usage: allows GET and HEAD only", async () => {
    for (const path of PATHS.slice(0, 2)) {
      const head = await ask(gateway, path, KEY, { method: "HEAD", headers: bearer(KEY) });
      assert.deepEqual([head.status, await head.text()], [200, ""]);
      for (const method of ["POST", "PUT", "DELETE", "PATCH"]) {
        const response = await ask(gateway, path, KEY, { method, headers: bearer(KEY) });
        assert.equal(response.headers.get("allow"), "GET, HEAD, OPTIONS");
        await refused(response, 405, "method_not_allowed");
      }
    }
  });

  test("usage: another key's usage is returned to operators only, who name the key", async () => {
    const one = await issue(gateway, "named");
    await recorded(gateway, {}, one.key);
    await recorded(gateway, {}, KEY);
    for (const path of PATHS) {
      for (const asked of [one.name, one.id, "nobody", `ring:${LABEL}`, ""]) {
        const query = `${path}?key=${encodeURIComponent(asked)}`;
        await refused(await ask(gateway, query, KEY), 403, "permission_denied", "key");
        await refused(await ask(gateway, query, one.key), 403, "permission_denied", "key");
      }
      await refused(await ask(gateway, path, OPERATOR_KEY), 400, "missing_member", "key");
      await refused(await ask(gateway, `${path}?key=`, OPERATOR_KEY), 400, "missing_member", "key");
      const nobody = await ask(gateway, `${path}?key=nobody`, OPERATOR_KEY);
      assert.equal(nobody.status, 404);
    }
    for (const [asked, name] of [
      [one.name, "named"],
      [one.id, "named"],
      [`ring:${LABEL}`, LABEL],
    ]) {
      const account = await usage(gateway, `?key=${asked}`, OPERATOR_KEY);
      assert.equal(account.key, name);
      assert.equal(account.total_requests, name === "named" ? 1 : account.receipts.count);
      const list = await usage(gateway, `/requests?key=${asked}`, OPERATOR_KEY);
      assert.equal(list.data.length, account.receipts.count);
      const { id } = list.data[0];
      assert.equal((await usage(gateway, `/requests/${id}?key=${asked}`, OPERATOR_KEY)).id, id);
    }
    // A deleted key is still known by its id, and another key may have its name.
    assert.equal((await operate(gateway, "DELETE", `/v0/api_keys/named`)).status, 200);
    assert.equal((await usage(gateway, `?key=${one.id}`, OPERATOR_KEY)).total_requests, 1);
    assert.equal((await ask(gateway, "?key=named", OPERATOR_KEY)).status, 404);
    await issue(gateway, "named");
    assert.equal((await usage(gateway, "?key=named", OPERATOR_KEY)).total_requests, 0);
  });

  test("usage: invalid parameters return 400", async () => {
    for (const days of ["0", "366", "-1", "1.5", "x", "", "1&days=2"]) {
      await refused(await ask(gateway, `?days=${days}`), 400, "invalid_value", "days");
    }
    for (const days of [1, 365]) assert.ok((await usage(gateway, `?days=${days}`)).daily);
    for (const [name, values] of Object.entries({
      limit: ["0", "101", "x"],
      before: ["0", "-1", "x"],
    })) {
      for (const value of values) {
        const response = await ask(gateway, `/requests?${name}=${value}`);
        await refused(response, 400, "invalid_value", name);
      }
    }
  });

  test("usage: sums by day, provider, model and project are up to date immediately", async () => {
    const { key, id } = await issue(gateway, "sums");
    // For the tests of all keys below, which need the same roll-up.
    const watched = await issue(gateway, "watched");
    const failing = { model: "demo/sim-small", simulate: { status: 503 } };
    assert.equal((await recorded(gateway, failing, watched.key)).receipt.outcome, "failed");
    for (const [project, model, events] of /** @type {const} */ ([
      ["alpha", "demo/sim-small", 5],
      ["alpha", "counted/m", 0],
      ["beta", "demo/sim-small", 7],
      [undefined, "demo/sim-small", 1],
    ])) {
      const counted = { prompt_tokens: 10, completion_tokens: 20 };
      const body = events === 0 ? { simulate: counted } : { simulate: { events } };
      await recorded(gateway, { model, project_id: project, ...body }, key);
    }
    const account = await usage(gateway, "", key);
    const list = await receipts(gateway, key);
    assertChain(list, account);
    assertSums(list, account);
    const of = (/** @type {any} */ { requests, prompt_tokens, completion_tokens, cost_usd }) => [
      ...[requests, prompt_tokens, completion_tokens, cost_usd],
    ];
    // Each call's cost is rounded up to a whole micro-USD.
    assert.deepEqual(of(account.models["demo/sim-small"]), [3, 9, 13, 0.000056]);
    assert.deepEqual(of(account.models["counted/m"]), [1, 10, 20, 0.00008]);
    assert.deepEqual(of(account.providers["demo"]), [3, 9, 13, 0.000056]);
    assert.deepEqual(of(account.projects["alpha"]), [2, 13, 25, 0.000101]);
    assert.deepEqual(of(account.projects["beta"]), [1, 3, 7, 0.000028]);
    assert.deepEqual(Object.keys(account.projects), ["alpha", "beta"]);
    assert.equal(account.daily.length, 1);
    assert.equal(account.daily[0].date, new Date().toISOString().slice(0, 10));
    assert.deepEqual(of(account.daily[0]), [4, 19, 33, 0.000136]);
    assert.equal(account.cost_usd, 0.000136);
    assert.deepEqual(account.limits, []);
    assert.equal(account.success_rate, 1);
    // The same after the sums have been folded.
    await eventually(async () => {
      const now = await usage(gateway, "", key);
      assertSums(list, now);
      return gateway.count("usage_by_key WHERE project = 'beta' AND key = ?", id) > 0;
    }, 30_000);
    assertSums(list, await usage(gateway, "", key));
    await eventually(() => gateway.count("usage_by_key WHERE key = ?", watched.id) > 0, 30_000);
  });

  /** @param {string} path @returns {Promise<any>} */
  const read = async (path) => {
    const response = await operate(gateway, "GET", path);
    const text = await response.text();
    assert.equal(response.status, 200, `${path}: ${text}`);
    return JSON.parse(text);
  };

  test("usage of all keys: operators read it by key, model, project, provider and operation", async () => {
    const { data, totals, has_more, group_by, bucket } = await read("/v0/usage?group_by=key");
    assert.deepEqual([has_more, group_by, bucket], [false, "key", null]);
    const of = (/** @type {any[]} */ list, /** @type {string | null} */ group) =>
      list.find((one) => one.group === group);
    const sums = data.find((/** @type {any} */ one) => one.name === "sums");
    const { start, group, name, ...counted } = sums;
    assert.match(start, /T00:00:00Z$/);
    assert.deepEqual(
      [counted.requests, counted.failed, counted.prompt_tokens, counted.completion_tokens],
      [4, 0, 19, 33],
    );
    assert.equal(counted.cost_usd, 0.000136);
    assert.equal(group, (await read("/v0/api_keys/sums"))[0].id);
    const failed = data.find((/** @type {any} */ one) => one.name === "watched");
    assert.deepEqual([failed.requests, failed.failed], [1, 1]);
    assert.equal(of(data, `ring:${LABEL}`).name, LABEL);
    const all = data.reduce(
      (/** @type {number} */ sum, /** @type {any} */ one) => sum + one.requests,
      0,
    );
    assert.equal(totals.requests, all);
    for (const [property, expected] of /** @type {[string, [string | null, number][]][]} */ ([
      [
        "model",
        [
          ["demo/sim-small", 3],
          ["counted/m", 1],
        ],
      ],
      [
        "project",
        [
          ["alpha", 2],
          ["beta", 1],
          [null, 1],
        ],
      ],
      [
        "provider",
        [
          ["demo", 3],
          ["counted", 1],
        ],
      ],
      ["operation", [["chat/completions", 4]]],
    ])) {
      const grouped = await read(`/v0/usage?group_by=${property}&key=sums`);
      const found = grouped.data.map((/** @type {any} */ one) => [one.group, one.requests]);
      assert.deepEqual(found.toSorted(), expected.toSorted(), property);
      const { requests } = grouped.totals;
      assert.equal(requests, 4);
    }
    const filters = "model=demo/sim-small&provider=demo&operation=chat/completions&project=alpha";
    assert.equal((await read(`/v0/usage?key=${group}&${filters}`)).totals.requests, 1);
    assert.equal((await read("/v0/usage?key=sums&project=")).totals.requests, 1);
    assert.equal((await read("/v0/usage?key=sums&to=2026-01-01")).totals.requests, 0);
  });

  test("usage of all keys: sums by hour and by day are those of the whole range, and the limit is kept", async () => {
    const whole = (await read("/v0/usage?key=sums")).totals;
    const hour = new Date(Date.now() - 3_600_000).toISOString().replace(/:\d\d:.*/, ":00:00Z");
    for (const query of ["bucket=hour", "bucket=day", `from=${hour}`, `from=${hour}&bucket=hour`]) {
      const { data, totals, from } = await read(`/v0/usage?key=sums&${query}`);
      assert.deepEqual(totals, whole, query);
      if (query.startsWith("from")) assert.equal(from, hour);
      const requests = data.map((/** @type {any} */ one) => one.requests);
      assert.equal(
        requests.reduce((/** @type {number} */ a, /** @type {number} */ b) => a + b, 0),
        4,
      );
      for (const { start } of data) assert.ok(Date.parse(start) >= Date.parse(from), start);
    }
    const { data, has_more, totals } = await read("/v0/usage?group_by=model&key=sums&limit=1");
    assert.deepEqual([data.length, has_more, totals.requests], [1, true, 4]);
  });

  test("usage of all keys: the largest groups by calls, cost or tokens have entries, and the others are one", async () => {
    const query = "/v0/usage?group_by=project&key=sums";
    const whole = await read(query);
    for (const [sort, field] of [
      ["requests", "requests"],
      ["cost", "cost_usd"],
      ["tokens", "prompt_tokens"],
    ]) {
      const { data, totals, has_more } = await read(`${query}&sort=${sort}&top=1`);
      assert.deepEqual([data.length, has_more, totals], [2, false, whole.totals], sort);
      const largest = Math.max(...whole.data.map((/** @type {any} */ one) => one[String(field)]));
      const named = data.find((/** @type {any} */ one) => one.others === undefined);
      const others = data.find((/** @type {any} */ one) => one.others !== undefined);
      assert.equal(named[String(field)], largest, sort);
      assert.deepEqual([others.group, others.others], [null, 2], sort);
      assert.equal(named.requests + others.requests, 4, sort);
    }
    const all = await read(`${query}&top=3&bucket=day`);
    assert.ok(all.data.every((/** @type {any} */ one) => one.others === undefined));
  });

  test("usage of all keys: CSV has the same entries, and no formula", async () => {
    const path = `${gateway.url}/v0/usage?group_by=key&key=sums`;
    const headers = { ...bearer(OPERATOR_KEY), accept: "text/csv" };
    const response = await call(path, { headers });
    assert.match(response.headers.get("content-type") ?? "", /^text\/csv/);
    const [head, line, rest] = (await response.text()).split("\r\n");
    assert.ok(head?.startsWith("start,group,name,requests,successful,failed,"));
    assert.match(line ?? "", /^\d{4}-\d\d-\d\dT00:00:00Z,[^,]+,sums,4,4,0,19,/);
    assert.equal(rest, "");
  });

  test("usage of all keys: invalid parameters, unknown keys and callers are rejected, and the public sees no key", async () => {
    for (const [query, status] of /** @type {[string, number][]} */ ([
      ["group_by=caller", 400],
      ["bucket=week", 400],
      ["from=soon", 400],
      ["from=2026-01-02&to=2026-01-01", 400],
      ["bucket=hour&from=2026-01-01", 400],
      ["limit=10001", 400],
      ["top=101", 400],
      ["sort=name", 400],
      ["provider=a&provider=b", 400],
      ["key=nobody", 404],
    ])) {
      assert.equal((await operate(gateway, "GET", `/v0/usage?${query}`)).status, status, query);
    }
    for (const path of ["/v0/usage", "/v0/calls", "/v0/calls/x"]) {
      const response = await call(`${gateway.url}${path}`, { headers: bearer(KEY) });
      assert.equal(response.status, 403, path);
    }
    const text = await (await call(`${gateway.url}/v1/analytics`)).text();
    assert.ok(!/sums|watched|ring|alpha/.test(text), text);
    const metrics = await (await operate(gateway, "GET", "/metrics")).text();
    assert.match(
      metrics,
      /^gatehouse_attempts_total\{provider="counted",model="m",operation="chat\/completions"\} \d+$/m,
    );
    assert.ok(!/sums|watched/.test(metrics));
  });

  test("calls of all keys: a failed call is found with its key, and shows why it failed", async () => {
    const { data, has_more, next_cursor } = await read("/v0/calls?failed=true&key=watched");
    assert.deepEqual([data.length, has_more, next_cursor], [1, false, null]);
    const [found] = data;
    const { key_id, key_name, ...receipt } = found;
    const [own] = (await usage(gateway, "/requests?key=watched", OPERATOR_KEY)).data;
    assert.deepEqual([receipt, key_name], [own, "watched"]);
    assert.equal(key_id, (await read("/v0/api_keys/watched"))[0].id);
    assert.deepEqual([receipt.status, receipt.outcome], [503, "failed"]);
    assert.match(receipt.code, /^\w+$/);
    for (const id of [receipt.id, receipt.request_id]) {
      const { attempts, ...shown } = await read(`/v0/calls/${id}`);
      assert.equal(shown.id, receipt.id);
      const [{ lane, status, outcome, key }] = attempts;
      assert.deepEqual([lane, status, outcome, key], ["demo:0/sim-small", 503, "server_error", 0]);
    }
    for (const [query, count] of /** @type {[string, number][]} */ ([
      [`code=${receipt.code}`, 1],
      ["code=nothing", 0],
      ["status=503", 1],
      ["status=200", 0],
      ["failed=false", 0],
      ["provider=demo&model=demo/sim-small&operation=chat/completions&project=", 1],
      ["provider=counted", 0],
      [`from=${receipt.time}`, 1],
      [`to=${receipt.time}`, 0],
    ])) {
      assert.equal((await read(`/v0/calls?key=watched&${query}`)).data.length, count, query);
    }
    assert.equal((await operate(gateway, "GET", "/v0/calls/rcpt_unknown")).status, 404);
  });

  test("calls of all keys: a flood of rejected calls is counts, which push no call out", async () => {
    const listed = (await read("/v0/calls?limit=200&key=watched")).data;
    const limits = { requests_per_day: 1 };
    const { id, key } = await issue(gateway, "flooding", { limits, models: ["demo/sim-small"] });
    const send = (/** @type {object} */ body) => chat(gateway, body, bearer(key));
    assert.equal((await send({})).status, 200);
    const flood = await Promise.all(Array.from({ length: 40 }, () => send({})));
    assert.deepEqual([...new Set(flood.map(({ status }) => status))], [402]);
    assert.equal((await send({ model: "nothing/like-it" })).status, 404);
    assert.equal((await send({ model: "counted/m" })).status, 403);
    assert.equal((await send({ messages: "none" })).status, 400);
    const all = async () => (await read("/v0/calls?key=flooding&limit=200")).data;
    const counted = (/** @type {any[]} */ list) =>
      list
        .filter(({ code }) => code === "insufficient_quota")
        .reduce((n, { count }) => n + count, 0);
    const rejected = await eventually(async () => {
      const list = await all();
      return (
        counted(list) > 0 &&
        list.some((/** @type {any} */ one) => one.outcome === "answered") &&
        list
      );
    }, 40_000);
    const spent = rejected.find((/** @type {any} */ one) => one.code === "insufficient_quota");
    assert.deepEqual(
      [spent.status, spent.param, spent.outcome, spent.key_id, spent.key_name, spent.operation],
      [402, "requests_per_day", "rejected", id, "flooding", "chat/completions"],
    );
    assert.ok(Date.parse(spent.last_time) >= Date.parse(spent.time));
    // One row, whatever the number of calls; a second one only after a minute.
    assert.equal(gateway.count("rejected_calls WHERE key = ?", id), 1);
    assert.ok(rejected.length <= 5, JSON.stringify(rejected));
    for (const [query, found] of /** @type {[string, boolean][]} */ ([
      ["code=insufficient_quota", true],
      ["code=insufficient_quota&status=402&failed=true", true],
      ["status=200", false],
      ["failed=false", false],
      ["provider=demo", false],
      [`from=${spent.time}&operation=chat/completions`, true],
      [`to=${spent.time}`, false],
    ])) {
      const { data } = await read(`/v0/calls?key=flooding&limit=200&${query}`);
      assert.equal(
        data.some((/** @type {any} */ one) => one.id === spent.id),
        found,
        query,
      );
    }
    for (const name of [spent.id, spent.request_id]) {
      assert.deepEqual(await read(`/v0/calls/${name}`), spent);
    }
    assert.deepEqual((await read("/v0/calls?limit=200&key=watched")).data, listed);
    const receipts = (await usage(gateway, "/requests?key=flooding", OPERATOR_KEY)).data;
    assert.equal(receipts.length, 1);
  });

  test("calls of all keys: pages follow each other, newest first, without gaps", async () => {
    const listed = [];
    for (let cursor = ""; ;) {
      const page = await read(`/v0/calls?key=sums&limit=3${cursor}`);
      listed.push(...page.data.map((/** @type {any} */ { id }) => id));
      if (!page.has_more) break;
      assert.equal(page.data.length, 3);
      cursor = `&cursor=${page.next_cursor}`;
    }
    const own = (await usage(gateway, "/requests?key=sums", OPERATOR_KEY)).data;
    assert.deepEqual(
      listed,
      own.map((/** @type {any} */ { id }) => id),
    );
    const all = (await read("/v0/calls?limit=200")).data;
    assert.ok(all.length >= 5 && all.some((/** @type {any} */ one) => one.key_name === LABEL));
    for (const query of ["cursor=x", "limit=201", "failed=yes", "status=0", "from=x", "code="]) {
      assert.equal((await operate(gateway, "GET", `/v0/calls?${query}`)).status, 400, query);
    }
  });

  test("usage: reports used and remaining limits", async () => {
    const { key } = await issue(gateway, "limits", { policies: ["limited"] });
    await recorded(gateway, { simulate: { events: 5 } }, key);
    /** @type {any} */ let account;
    // Leases are returned after some seconds without calls.
    await eventually(async () => {
      account = await usage(gateway, "", key);
      return account.limits.every((/** @type {any} */ limit) => limit.held === 0);
    }, 20_000);
    const midnight = new Date((Math.floor(Date.now() / DAY_MS) + 1) * DAY_MS);
    const resets_at = midnight.toISOString().replace(".000", "");
    const limit = (
      /** @type {string} */ name,
      /** @type {number} */ amount,
      /** @type {number} */ used,
    ) => ({
      ...{ limit: name, models: null, amount, used, held: 0, unconfirmed: 0 },
      ...{ remaining: amount - used, resets_at: name.endsWith("day") ? resets_at : null },
    });
    const sorted = account.limits.toSorted((/** @type {any} */ a, /** @type {any} */ b) =>
      a.limit < b.limit ? -1 : 1,
    );
    assert.deepEqual(sorted, [
      limit("concurrent", 5, 0),
      limit("requests_per_day", 100, 1),
      limit("usd_per_day", 10_000, 21),
      limit("usd_total", 1_000_000, 21),
    ]);
  });

  test("receipts: pages are newest first", async () => {
    const { key } = await issue(gateway, "pages");
    for (let n = 0; n < 25; n += 1) await (await chat(gateway, {}, bearer(key))).text();
    await eventually(async () => (await usage(gateway, "", key)).receipts.count === 25);
    const seqs = (/** @type {any} */ page) =>
      page.data.map((/** @type {any} */ receipt) => receipt.seq);
    const down = (/** @type {number} */ from, /** @type {number} */ to) =>
      Array.from({ length: from - to + 1 }, (_, index) => from - index);
    const first = await usage(gateway, "/requests", key);
    assert.deepEqual([seqs(first), first.has_more, first.next_before], [down(25, 6), true, 6]);
    const next = await usage(gateway, "/requests?before=6", key);
    assert.deepEqual([seqs(next), next.has_more, next.next_before], [down(5, 1), false, null]);
    for (const [query, from, to] of /** @type {const} */ ([
      ["limit=1", 25, 25],
      ["limit=100", 25, 1],
      ["limit=24", 25, 2],
      ["limit=25", 25, 1],
      ["limit=7&before=20", 19, 13],
      ["before=1000", 25, 6],
    ])) {
      const page = await usage(gateway, `/requests?${query}`, key);
      assert.deepEqual(seqs(page), down(from, to), query);
      assert.equal(page.has_more, to > 1, query);
    }
    assert.deepEqual(seqs(await usage(gateway, "/requests?before=1", key)), []);
    assertChain(await receipts(gateway, key), await usage(gateway, "", key));
  });

  test("receipts: one is found by its id or the request's, never one of another key", async () => {
    const [mine, other] = [await issue(gateway, "mine"), await issue(gateway, "other")];
    const { receipt, id } = await recorded(gateway, {}, mine.key);
    assert.deepEqual(await usage(gateway, `/requests/${id}`, mine.key), receipt);
    for (const asked of [id, receipt.id]) {
      await refused(
        await ask(gateway, `/requests/${asked}`, other.key),
        404,
        "receipt_not_found",
        "id",
      );
      await refused(await ask(gateway, `/requests/${asked}`), 404, "receipt_not_found", "id");
    }
    // One id twice: both calls count, the newest is shown.
    const again = await recorded(gateway, {}, mine.key, { "x-request-id": id });
    assert.notEqual(again.receipt.id, receipt.id);
    assert.deepEqual(await usage(gateway, `/requests/${id}`, mine.key), again.receipt);
    assert.deepEqual(await usage(gateway, `/requests/${receipt.id}`, mine.key), receipt);
    assert.equal((await usage(gateway, "", mine.key)).total_requests, 2);
    for (const odd of [
      ...["a%20b", "%22", "'", "%25", "_", "%5F", "rcpt_%", "*", "%00", "%C3%A9", "%FF", "a%2Fb"],
      ...[id.slice(0, -1), id.toUpperCase(), `${id}x`, "x".repeat(1000), "%22%2C%22seq%22:1"],
    ]) {
      const response = await ask(gateway, `/requests/${odd}`, mine.key);
      await refused(response, 404, "receipt_not_found", "id");
    }
  });

  /**
   * A kind of call and its receipt.
   *
   * @type {{ name: string, body: object, status?: number, want: Record<string, unknown>, attempts?: object[], headers?: (string | null)[] }[]}
   */
  const KINDS = [
    {
      name: "a whole response",
      body: { simulate: { events: 5 } },
      want: { prompt_tokens: 3, completion_tokens: 5, cost_micro_usd: 21, outcome: "answered" },
      headers: ["0.000021", "prompt=3, cached=0, completion=5"],
    },
    {
      name: "a stream",
      body: { stream: true, simulate: { events: 5 } },
      want: { prompt_tokens: 3, completion_tokens: 5, cost_micro_usd: 21, outcome: "answered" },
    },
    {
      name: "a stream with include_usage",
      body: { stream: true, stream_options: { include_usage: true }, simulate: { events: 5 } },
      want: { prompt_tokens: 3, completion_tokens: 5, cost_micro_usd: 21, outcome: "answered" },
    },
    {
      name: "several choices",
      body: { n: 3, simulate: { events: 5 } },
      want: { prompt_tokens: 3, completion_tokens: 15, cost_micro_usd: 56 },
      headers: ["0.000056", "prompt=3, cached=0, completion=15"],
    },
    {
      name: "cached tokens, cache writes and reasoning",
      body: {
        model: "counted/m",
        simulate: {
          prompt_tokens: 1000,
          completion_tokens: 100,
          total_tokens: 1100,
          prompt_tokens_details: { cached_tokens: 600, cache_write_tokens: 200 },
          completion_tokens_details: { reasoning_tokens: 80 },
        },
      },
      want: {
        prompt_tokens: 1000,
        cached_tokens: 600,
        cache_write_tokens: 200,
        completion_tokens: 100,
        reasoning_tokens: 80,
        // 200 · 1 + 600 · 0.1 + 200 · 1.25 + 100 · 3.5
        cost_micro_usd: 860,
      },
      headers: ["0.00086", "prompt=1000, cached=600, completion=100"],
    },
    {
      name: "a call of unknown price",
      body: { model: "first/m", simulate: { events: 5 } },
      want: { prompt_tokens: 3, completion_tokens: 5, cost_micro_usd: null, provider: "first" },
      headers: [null, "prompt=3, cached=0, completion=5"],
    },
    {
      name: "a whole response without usage",
      body: { simulate: { usage: "none", content: "x".repeat(400) } },
      want: { estimated: true, partial: false, outcome: "answered" },
    },
    {
      name: "a stream without usage",
      body: { stream: true, simulate: { usage: "none", events: 20 } },
      want: { estimated: true, partial: false, outcome: "answered", completion_tokens: 20 },
    },
    {
      name: "a stream that is cut",
      body: { stream: true, simulate: { cut: "stream", after_events: 8, events: 20 } },
      want: { estimated: true, partial: true, outcome: "failed", completion_tokens: 7 },
    },
    {
      name: "an error inside a stream",
      body: { stream: true, simulate: { error_event: true, after_events: 8, events: 20 } },
      want: { estimated: true, partial: true, outcome: "failed", completion_tokens: 7 },
    },
    {
      name: "a request that the provider rejects",
      body: { simulate: { status: 400 } },
      status: 400,
      want: {
        ...{ prompt_tokens: 0, completion_tokens: 0, cost_micro_usd: 0 },
        ...{ outcome: "refused", estimated: false },
      },
    },
    {
      name: "a provider that fails",
      body: { simulate: { status: 500 } },
      status: 500,
      want: {
        ...{ prompt_tokens: 0, completion_tokens: 0, cost_micro_usd: 0 },
        ...{ outcome: "failed", estimated: false },
      },
    },
    {
      name: "failover",
      body: { model: "either", simulate: [{ status: 503, when: { path: "/first" } }] },
      want: { provider: "second", prompt_tokens: 3, completion_tokens: 5, cost_micro_usd: 21 },
      attempts: [
        {
          ...{ provider: "first", model: "m", key: 0, outcome: "server_error", price: null },
          ...{ status: 503, code: "overloaded" },
          ...{ prompt_tokens: 0, completion_tokens: 0, cost_micro_usd: 0 },
        },
        {
          ...{ provider: "second", model: "m", key: 0, outcome: "ok", price: PRICE },
          ...{ prompt_tokens: 3, completion_tokens: 5, cost_micro_usd: 21 },
        },
      ],
    },
  ];

  for (const { name, body, status = 200, want, attempts, headers } of KINDS) {
    test(`receipts: the receipt of ${name} is complete`, async () => {
      const began = Date.now();
      const { response, text, receipt, id } = await recorded(gateway, { project_id: "p", ...body });
      assert.equal(response.status, status, text);
      assert.deepEqual(Object.keys(receipt).toSorted(), RECEIPT.toSorted());
      const stream = "stream" in body;
      const shown = Object.fromEntries(
        Object.keys(want).map((member) => [member, receipt[member]]),
      );
      assert.deepEqual(shown, want);
      assert.equal(receipt.id, response.headers.get("x-gateway-receipt"));
      assert.deepEqual([receipt.request_id, receipt.project], [id, "p"]);
      assert.deepEqual([receipt.stream, receipt.status], [stream, status]);
      assert.ok(Date.parse(receipt.time) >= began - 1000 && Date.parse(receipt.time) <= Date.now());
      assert.equal(receipt.first_token_ms === null, !stream);
      assert.ok(receipt.duration_ms >= (receipt.first_token_ms ?? 0));
      for (const attempt of receipt.attempts) assert.ok(attempt.duration_ms <= receipt.duration_ms);
      if (attempts) {
        const apart = receipt.attempts.map((/** @type {any} */ { duration_ms, ...rest }) => rest);
        assert.deepEqual(apart, attempts);
      } else {
        assert.equal(receipt.attempts.length, 1);
      }
      const reported = ["x-gateway-cost-usd", "x-gateway-tokens"].map((name) =>
        response.headers.get(name),
      );
      if (headers) assert.deepEqual(reported, headers);
      if (stream) assert.deepEqual(reported, [null, null]);
      if (name === "a whole response without usage") {
        // Some hundred bytes around the content are counted too.
        assert.ok(receipt.completion_tokens >= 100 && receipt.completion_tokens < 300, text);
        assert.ok(receipt.prompt_tokens > 0);
      }
    });
  }

  test("receipts: a call that reached no upstream has none", async () => {
    const { count } = (await usage(gateway)).receipts;
    for (const body of ["{", { model: "openai/x" }, { model: "demo/sim-small", messages: "no" }]) {
      const response = await chat(gateway, body, { "x-request-id": "reached-nobody" });
      await response.text();
      assert.ok(response.status >= 400);
      assert.equal(response.headers.get("x-gateway-receipt"), null);
    }
    await recorded(gateway, {});
    assert.equal((await usage(gateway)).receipts.count, count + 1);
    assert.equal((await ask(gateway, "/requests/reached-nobody")).status, 404);
  });

  test("receipts: the published programs verify a chain and detect changes", async () => {
    const { key } = await issue(gateway, "checked");
    for (let n = 0; n < 6; n += 1) {
      await recorded(gateway, { project_id: `p-${n}`, simulate: { events: 1 + n } }, key);
    }
    const page = await usage(gateway, "/requests", key);
    const change = (/** @type {(data: any[]) => unknown} */ how) => {
      const copy = structuredClone(page);
      how(copy.data);
      return copy;
    };
    const changed = [
      change((data) => (data[2].completion_tokens += 1)),
      change((data) => (data[2].attempts[0].cost_micro_usd -= 1)),
      change((data) => (data[5].project = "other")),
      change((data) => data.splice(3, 1)),
      change((data) => (data[1].totals.cost_micro_usd += 1)),
      change((data) => ([data[1], data[2]] = [data[2], data[1]])),
    ];
    for (const [program, script] of [
      ["node", "check-receipts.mjs"],
      ["python3", "check-receipts.py"],
    ]) {
      const check = (/** @type {object} */ page) =>
        new Promise((resolve) => {
          const child = execFile(program, [`${root}tests/e2e/snippets/${script}`], (error, out) =>
            resolve(error === null && out.includes(`6 receipts fit together`)),
          );
          // It may end without reading its input.
          child.stdin?.on("error", () => {});
          child.stdin?.end(JSON.stringify(page));
        });
      assert.equal(await check(page), true, `${program}: as it is`);
      for (const [index, one] of changed.entries()) {
        assert.equal(await check(one), false, `${program}: change ${index}`);
      }
    }
  });

  test("receipts: contain no content", async () => {
    const messages = [{ role: "user", content: PROMPT }];
    for (const body of [
      { messages },
      { messages, stream: true },
      { messages, simulate: { content: ANSWER } },
      { messages, stream: true, simulate: { content: ANSWER } },
      { messages, simulate: { status: 400, message: `${PROMPT} ${ANSWER}` } },
      // The message of a provider that fails is kept for operators, apart from receipts.
      { messages, model: "first/m", simulate: { status: 500, message: "that-no-receipt-keeps" } },
      { messages, stream: true, simulate: { cut: "stream", after_events: 2, content: ANSWER } },
    ]) {
      const { receipt } = await recorded(gateway, body);
      assert.ok(!JSON.stringify(receipt).includes("that-no-receipt-keeps"));
    }
    const disk = (await contents(String(gateway.state))).join("\n");
    assert.ok(disk.includes("rcpt_"), "the receipts are somewhere else");
    for (const [where, text] of Object.entries({ disk, log: gateway.log.join("\n") })) {
      for (const content of [PROMPT, ANSWER])
        assert.ok(!text.includes(content), `${content}: ${where}`);
    }
  });

  test("usage of all keys: every report of many keys has the sums of their rows, however they are grouped, ranked and cut", async () => {
    const today = Math.floor(Date.now() / DAY_MS);
    // The same numbers each time, without a pattern.
    let seed = 1;
    const random = (/** @type {number} */ below) => {
      seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
      return Math.floor((seed / 2 ** 32) * below);
    };
    const rows = Array.from({ length: 400 }, () => {
      const day = today - 1 - random(12);
      const values = {
        key: `ring:many-${random(40)}`,
        operation: ["chat/completions", "messages"][random(2)] ?? "",
        project: ["", "a", "b"][random(3)] ?? "",
        provider: ["p", "q"][random(2)] ?? "",
        model: ["m", "n", "o"][random(3)] ?? "",
      };
      const hour = day * 24 + random(24);
      return { day, hour, values, requests: 1 + random(5), cost: random(900) };
    });
    gateway.withDatabase((database) => {
      const names = ["day", "key", "operation", "project", "provider", "model", ...FIELDS];
      const add = database.prepare(
        `INSERT INTO usage_by_key (${names.join(", ")}, hour, hours) VALUES (${names.map(() => "?").join(", ")}, ?, ?)
         ON CONFLICT DO NOTHING`,
      );
      for (const row of [...rows]) {
        const { key, operation, project, provider, model } = row.values;
        const sums = FIELDS.map((field) =>
          field === "requests" ? row.requests : field === "cost_micro_usd" ? row.cost : 0,
        );
        const hours = JSON.stringify({ [`h${row.hour % 24}`]: sums });
        const place = [row.day, key, operation, project, provider, model];
        const { changes } = add.run(...place, ...sums, row.hour, hours);
        if (changes === 0) rows.splice(rows.indexOf(row), 1);
      }
      closeDays(database);
    });
    assert.ok(rows.length > 350, `${rows.length}`);
    const time = (/** @type {number} */ hour) =>
      new Date(hour * 3_600_000).toISOString().replace(".000", "");
    /** @type {Record<string, (values: any) => string>} */
    const properties = {
      key: ({ key }) => key,
      project: ({ project }) => project,
      model: ({ provider, model }) => `${provider}/${model}`,
      provider: ({ provider }) => provider,
      operation: ({ operation }) => operation,
    };
    for (let n = 0; n < 150; n += 1) {
      const pick = (/** @type {any[]} */ choices) => choices[random(choices.length)];
      const group = pick([undefined, "key", "project", "model", "provider", "operation"]);
      const bucket = pick([undefined, "day", "hour"]);
      const top = pick([undefined, 1, 3, 100]);
      const limit = pick([undefined, 2, 7, 10_000]);
      const sort = pick(["requests", "cost"]);
      const filter = pick([{}, {}, { key: "ring:many-4" }, { model: "p/m" }, { project: "" }]);
      const [from, to] = [(today - (bucket === "hour" ? 6 : 10)) * 24, (today - 2) * 24];
      const query = { group_by: group, bucket, top, limit, sort, ...filter };
      const given = Object.entries({ ...query, from: time(from), to: time(to) }).flatMap(
        ([name, value]) => (value === undefined ? [] : [`${name}=${encodeURIComponent(value)}`]),
      );
      const found = await read(`/v0/usage?${given.join("&")}`);

      const groupOf = (/** @type {any} */ row) =>
        group === undefined ? "" : (properties[group]?.(row.values) ?? "");
      const measure = (/** @type {any} */ sum) => (sort === "cost" ? sum.cost : sum.requests);
      const matching = rows.filter(
        (row) =>
          row.hour >= from &&
          row.hour < to &&
          Object.entries(filter).every(([name, value]) => properties[name]?.(row.values) === value),
      );
      const sumsOf = (/** @type {(row: any) => string} */ by) => {
        /** @type {Map<string, { requests: number, cost: number }>} */ const sums = new Map();
        for (const row of matching) {
          const sum = sums.get(by(row)) ?? { requests: 0, cost: 0 };
          sums.set(by(row), { requests: sum.requests + row.requests, cost: sum.cost + row.cost });
        }
        return sums;
      };
      const ranked = [...sumsOf(groupOf)]
        .toSorted(([a, x], [b, y]) => measure(y) - measure(x) || (a < b ? -1 : 1))
        .map(([name]) => name);
      const named = new Set(top === undefined ? ranked : ranked.slice(0, top));
      // The others come before a group of the same size.
      const nameOf = (/** @type {any} */ entry) => (entry.group === null ? "" : `=${entry.group}`);
      const startOf = (/** @type {any} */ row) =>
        bucket === undefined ? from : bucket === "day" ? row.day * 24 : row.hour;
      const entries = [
        ...sumsOf((row) =>
          JSON.stringify([startOf(row), named.has(groupOf(row)) ? groupOf(row) : null]),
        ),
      ]
        .map(([at, sum]) => ({ start: JSON.parse(at)[0], group: JSON.parse(at)[1], ...sum }))
        .toSorted(
          (a, b) =>
            a.start - b.start || measure(b) - measure(a) || (nameOf(a) < nameOf(b) ? -1 : 1),
        );
      const shown = entries.slice(0, limit ?? 1_000);
      assert.deepEqual(
        found.data.map((/** @type {any} */ one) => ({
          ...{ start: one.start, group: one.group, others: one.others },
          ...{ requests: one.requests, cost: Math.round(one.cost_usd * 1e6) },
        })),
        shown.map(({ start, group: name, requests, cost }) => ({
          ...{ start: time(start), group: name || null },
          others: name === null ? ranked.length - named.size : undefined,
          ...{ requests, cost },
        })),
        given.join("&"),
      );
      assert.equal(found.has_more, entries.length > shown.length, given.join("&"));
      const all = matching.reduce((sum, { requests }) => sum + requests, 0);
      assert.equal(found.totals.requests, all, given.join("&"));
    }
  });
});

test("receipts: keep the price of their time", async () => {
  const state = await freshState();
  try {
    /** @type {any[]} */ const kept = [];
    for (const [price, cost] of /** @type {const} */ ([
      [3.5, 21],
      [7, 38],
    ])) {
      const gateway = await Gateway.start(configured(price), [], state);
      try {
        const { receipt } = await recorded(gateway, { simulate: { events: 5 } });
        assert.equal(receipt.cost_micro_usd, cost);
        assert.equal(receipt.attempts[0].price.output, price * 1e6);
        kept.push(receipt);
        const list = await receipts(gateway);
        assert.deepEqual(list, kept);
        assertChain(list, await usage(gateway));
      } finally {
        await gateway.stop();
      }
    }
  } finally {
    await rm(state, { recursive: true });
  }
});

suite("usage of clients that leave", () => {
  /** @type {Isolates} */ let isolates;
  before(async () => {
    isolates = await Isolates.start(1, configured());
  });
  after(() => isolates?.stop());

  for (const [after_events, tokens] of /** @type {const} */ ([
    [2, 1],
    [21, 20],
    [201, 200],
  ])) {
    test(`receipts: a client that leaves after ${tokens} tokens of a stream pays for ${tokens}`, async () => {
      await upstream.forget();
      const id = `left-${tokens}`;
      const simulate = { hang: "stream", after_events, events: 1000 };
      const body = { model: "demo/sim-small", messages: [{ role: "user", content: "Hi" }] };
      const called = await begin(
        isolates.at(0),
        KEY,
        { ...body, stream: true, simulate },
        { "x-request-id": id },
      );
      await eventually(() => called.text.split("data: ").length - 1 >= after_events);
      called.socket.resetAndDestroy();
      const receipt = await receiptOf(isolates.at(0), id);
      const { outcome, partial, estimated, completion_tokens, status, attempts } = receipt;
      assert.deepEqual(
        { outcome, partial, estimated, completion_tokens, status },
        {
          ...{ outcome: "client_left", partial: true, estimated: true },
          ...{ completion_tokens: tokens, status: 200 },
        },
      );
      assert.equal(attempts.length, 1);
      const { prompt_tokens } = receipt;
      assert.equal(receipt.cost_micro_usd, Math.ceil(prompt_tokens + tokens * 3.5));
      await eventually(async () => (await upstream.stats())["cancelled"] === 1);
      assert.equal((await upstream.stats())["completion_tokens"], tokens);
    });
  }

  test("receipts: a client that leaves before a whole response has come pays for its prompt", async () => {
    await upstream.forget();
    const body = { model: "demo/sim-small", messages: [], simulate: { hang: "headers" } };
    const called = await begin(isolates.at(0), KEY, body, { "x-request-id": "left-early" });
    await eventually(async () => (await upstream.stats())["open"] === 1);
    called.socket.resetAndDestroy();
    const receipt = await receiptOf(isolates.at(0), "left-early");
    const { outcome, estimated, completion_tokens, status } = receipt;
    assert.deepEqual(
      { outcome, estimated, completion_tokens, status },
      { outcome: "client_left", estimated: true, completion_tokens: 0, status: 499 },
    );
    assert.equal(receipt.attempts[0].outcome, "client_left");
  });
});

test("Analytics Engine: a call writes a data point without content", async () => {
  await upstream.forget();
  // The simulator's data sets store nothing: this one forwards its data.
  const dataset = `export { KeyLedger } from "./build/index.js";
    import { env } from "cloudflare:workers";
    env.GATEWAY_ANALYTICS = {
      writeDataPoint: (point) => fetch("${upstream.url}/v1/chat/completions", {
        method: "POST",
        body: JSON.stringify({ messages: [], point }),
      }),
    };`;
  const isolates = await Isolates.start(1, configured(), { KeyLedger: dataset });
  try {
    const content = { messages: [{ role: "user", content: PROMPT }] };
    const answered = await chat(isolates.at(0), { ...content, project_id: "p" });
    const id = answered.headers.get("x-gateway-receipt");
    const written = await eventually(async () =>
      (await upstream.requests()).find((request) => request.body_text.includes('"point"')),
    );
    const { point } = JSON.parse(written.body_text);
    assert.deepEqual(point.indexes, [`ring ${LABEL}`]);
    assert.deepEqual(point.blobs, ["demo", "sim-small", "p", "answered", id]);
    assert.equal(point.doubles.length, 7);
    assert.deepEqual(point.doubles.slice(0, 4), [200, 1, 1, 3]);
    assert.ok(!written.body_text.includes(PROMPT));
  } finally {
    await isolates.stop();
  }
});
