// @ts-check
//! Aggregated usage: GET /v1/analytics, public by default, and GET /metrics for operators.

import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import {
  Gateway,
  KEY,
  OPERATOR_KEY,
  Upstream,
  call,
  chat,
  eventually,
  operate,
  requestKey,
  variables,
} from "./harness.mjs";

const DAY_MS = 86_400_000;
const MEMBERS = [
  "total_requests",
  "successful_requests",
  "failed_requests",
  "success_rate",
  "providers",
  "models",
  "projects",
  "daily",
];
const EMPTY = {
  total_requests: 0,
  successful_requests: 0,
  failed_requests: 0,
  success_rate: 0,
  providers: {},
  models: {},
  projects: {},
  daily: [],
};
const LONG = "x".repeat(64);
const UNUSUAL = 'ünïcode/модель 🦀 "\\';

/** Days since 1970 at the start of the tests. */
let today = 0;
/** @type {Upstream} */ let upstream;

before(async () => {
  // No test runs over midnight.
  const left = DAY_MS - (Date.now() % DAY_MS);
  if (left < 120_000) await new Promise((resolve) => setTimeout(resolve, left + 1000));
  today = Math.floor(Date.now() / DAY_MS);
  upstream = await Upstream.start();
});
after(() => upstream?.stop());

/** @param {number} day */
const date = (day) => new Date(day * DAY_MS).toISOString().slice(0, 10);

/**
 * @param {number} requests
 * @param {number} successful
 */
const counts = (requests, successful) => ({
  requests,
  successful,
  failed: requests - successful,
});

/**
 * Adds rows as the ledgers do, directly in the database.
 *
 * @param {Gateway} gateway
 * @param {[daysAgo: number, project: string, provider: string, model: string, sums: Record<string, number>][]} rows
 */
function seed(gateway, rows) {
  const columns = gateway
    .query("SELECT name FROM pragma_table_info('usage_daily') ORDER BY cid")
    .map(({ name }) => String(name));
  gateway.withDatabase((database) => {
    const insert = database.prepare(
      `INSERT INTO usage_daily VALUES (${columns.map(() => "?").join(", ")})`,
    );
    for (const [daysAgo, project, provider, model, sums] of rows) {
      const unknown = Object.keys(sums).filter((name) => !columns.includes(name));
      assert.deepEqual(unknown, []);
      const rest = columns.slice(4).map((name) => sums[name] ?? 0);
      insert.run(today - daysAgo, project, provider, model, ...rest);
    }
  });
}

/**
 * @param {Gateway} gateway
 * @param {string} [query]
 * @param {RequestInit} [init]
 */
const ask = (gateway, query = "", init = {}) => call(`${gateway.url}/v1/analytics${query}`, init);

/**
 * @param {Gateway} gateway
 * @param {string} [query]
 * @param {RequestInit} [init]
 * @returns {Promise<any>}
 */
async function report(gateway, query, init) {
  const response = await ask(gateway, query, init);
  assert.equal(response.status, 200, await response.clone().text());
  return response.json();
}

/**
 * @param {Response} response
 * @param {number} status
 * @param {string} code
 * @param {string | null} [param]
 */
async function refused(response, status, code, param = null) {
  const { error } = await response.json();
  assert.deepEqual([response.status, error.code, error.param], [status, code, param]);
  assert.equal(response.headers.get("cache-control"), "no-store");
  return response;
}

/** @param {string} key */
const bearer = (key) => ({ headers: { authorization: `Bearer ${key}` } });

/** Rows for most of the tests. */
const ROWS = /** @type {Parameters<typeof seed>[1]} */ ([
  [0, "checkout", "groq", "openai/gpt-oss-20b", { requests: 3, successful: 2 }],
  [0, "", "openai", "gpt-5-mini", { requests: 2, successful: 2 }],
  [6, LONG, "groq", "openai/gpt-oss-20b", { requests: 1, successful: 1 }],
  [7, "checkout", "custom", UNUSUAL, { requests: 4, successful: 0 }],
  [29, "a.b_c:d-E", "openai", "gpt-5-mini", { requests: 5, successful: 5 }],
  [30, "old", "openai", "gpt-4", { requests: 7, successful: 7 }],
  [364, "older", "openai", "gpt-4", { requests: 2 ** 40, successful: 2 ** 40 }],
  [365, "oldest", "openai", "gpt-3", { requests: 100, successful: 100 }],
  [-1, "tomorrow", "openai", "gpt-9", { requests: 100, successful: 100 }],
]);

/** Providers whose models the configuration names: others are not named. */
const PROVIDERS = {
  custom: { base_url: "http://127.0.0.1:9/v1", auth: "none", models: [UNUSUAL] },
  many: {
    base_url: "http://127.0.0.1:9/v1",
    auth: "none",
    models: Array.from({ length: 1100 }, (_, n) => `m${n}`),
  },
};

/** The variables of a gateway with these providers. */
function configured() {
  const demo = { base_url: `${upstream.url}/v1`, models: ["sim-small"] };
  return variables(upstream, { analytics: { projects: true }, providers: { ...PROVIDERS, demo } });
}

/** Calls of models whose names callers have invented. */
const INVENTED = Array.from({ length: 1500 }, (_, n) => [
  0,
  "",
  "custom",
  `<b>${n}</b>`,
  { requests: 1, successful: 1 },
]);

suite("public analytics", () => {
  /** @type {Gateway} */ let gateway;

  before(async () => {
    gateway = await Gateway.start(configured());
  });
  after(() => gateway?.stop());

  test("public analytics: an empty gateway returns zeros without a key", async () => {
    const response = await ask(gateway, "?days=2");
    assert.equal(response.status, 200);
    assert.equal(response.headers.get("content-type"), "application/json");
    assert.deepEqual(await response.json(), EMPTY);
  });

  test("public analytics: thirty days are summed by provider, model, project and day", async () => {
    seed(gateway, ROWS);
    const body = await report(gateway);
    assert.deepEqual(Object.keys(body), MEMBERS);
    assert.deepEqual(body, {
      total_requests: 15,
      successful_requests: 10,
      failed_requests: 5,
      success_rate: 10 / 15,
      providers: { openai: counts(7, 7), custom: counts(4, 0), groq: counts(4, 3) },
      models: {
        "openai/gpt-5-mini": counts(7, 7),
        [`custom/${UNUSUAL}`]: counts(4, 0),
        "groq/openai/gpt-oss-20b": counts(4, 3),
      },
      projects: { checkout: counts(7, 2), "a.b_c:d-E": counts(5, 5), [LONG]: counts(1, 1) },
      daily: [
        { date: date(today - 29), ...counts(5, 5) },
        { date: date(today - 7), ...counts(4, 0) },
        { date: date(today - 6), ...counts(1, 1) },
        { date: date(today), ...counts(5, 4) },
      ],
    });
    const names = [body.providers, body.models, body.projects].map((object) => Object.keys(object));
    assert.deepEqual(names, [
      ["openai", "custom", "groq"],
      ["openai/gpt-5-mini", `custom/${UNUSUAL}`, "groq/openai/gpt-oss-20b"],
      ["checkout", "a.b_c:d-E", LONG],
    ]);
  });

  test("public analytics: 'days' counts back from today, inclusive", async () => {
    for (const [days, total] of [
      ["1", 5],
      ["7", 6],
      ["8", 10],
      ["31", 22],
      ["364", 22],
      ["365", 2 ** 40 + 22],
      ["07", 6],
    ]) {
      assert.equal((await report(gateway, `?days=${days}`)).total_requests, total, `days=${days}`);
    }
  });

  test("public analytics: an invalid 'days' returns 400", async () => {
    for (const days of [
      "0",
      "366",
      "abc",
      "1.5",
      "",
      "-1",
      "+7",
      "%2B7",
      "7d",
      "1e2",
      "0x7",
      " 7",
      "٧",
    ]) {
      await refused(await ask(gateway, `?days=${days}`), 400, "invalid_value", "days");
    }
    const large = "9".repeat(5000);
    for (const query of [
      `?days=${large}`,
      "?days",
      "?days=7&days=7",
      "?days=7&x=1&days=8",
      "?days=%",
    ]) {
      await refused(await ask(gateway, query), 400, "invalid_value", "days");
    }
    assert.equal((await report(gateway, "?days=7&day=0&Days=0&x")).total_requests, 6);
    assert.equal((await report(gateway, "/?days=7")).total_requests, 6);
  });

  test("public analytics: 'project_id' restricts the report to one project", async () => {
    const body = await report(gateway, "?project_id=checkout&days=31");
    assert.deepEqual(body.projects, { checkout: counts(7, 2) });
    assert.deepEqual(body.providers, { custom: counts(4, 0), groq: counts(3, 2) });
    assert.deepEqual(
      body.daily.map((/** @type {any} */ day) => [day.date, day.requests]),
      [
        [date(today - 7), 4],
        [date(today), 3],
      ],
    );
    assert.equal((await report(gateway, `?project_id=${LONG}`)).total_requests, 1);
    assert.equal((await report(gateway, "?project_id=a.b_c%3Ad-E")).total_requests, 5);
    assert.deepEqual(await report(gateway, "?project_id=nobody"), EMPTY);
    assert.deepEqual(await report(gateway, "?project_id=CHECKOUT"), EMPTY);
  });

  test("public analytics: an invalid 'project_id' returns 400", async () => {
    for (const name of ["", `${LONG}x`, "a%20b", "a%2Fb", "%C3%BC", "(other)", "'--", "%00", "*"]) {
      const response = await ask(gateway, `?project_id=${name}`);
      await refused(response, 400, "invalid_project_id", "project_id");
    }
    const response = await ask(gateway, "?project_id=a&project_id=a");
    await refused(response, 400, "invalid_project_id", "project_id");
    // The header names the project of a call; this is not a call.
    const headers = { "x-gateway-project-id": "not/a/name" };
    assert.equal((await report(gateway, "?days=7", { headers })).total_requests, 6);
  });

  test("public analytics: the response does not depend on the credentials sent", async () => {
    const expected = await report(gateway, "?days=8");
    for (const headers of /** @type {Record<string, string>[]} */ ([
      { authorization: "Bearer wrong" },
      { authorization: "Bearer gw_AAAAAAAAAA_wrong" },
      { authorization: "nonsense" },
      { "x-api-key": "wrong" },
      { authorization: "Bearer one", "x-api-key": "other" },
      { authorization: `Bearer ${KEY}` },
      { authorization: `Bearer ${OPERATOR_KEY}` },
    ])) {
      const response = await ask(gateway, "?days=8", { headers });
      assert.equal(response.status, 200);
      assert.equal(response.headers.get("cache-control"), "public, max-age=5");
      assert.equal(response.headers.get("vary"), null);
      assert.deepEqual(await response.json(), expected);
    }
  });

  test("public analytics: HEAD returns headers only, other methods return 405", async () => {
    const head = await ask(gateway, "?days=8", { method: "HEAD" });
    assert.deepEqual([head.status, await head.text()], [200, ""]);
    assert.equal((await ask(gateway, "?days=0", { method: "HEAD" })).status, 400);
    for (const method of ["POST", "PUT", "DELETE"]) {
      const response = await ask(gateway, "", { method, ...bearer(KEY) });
      assert.equal(response.headers.get("allow"), "GET, HEAD, OPTIONS");
      await refused(response, 405, "method_not_allowed");
      // Under /v1/, a client without a key does not learn which routes exist.
      await refused(await ask(gateway, "", { method }), 401, "invalid_api_key");
    }
  });

  test("public analytics: a response is cached for at most five seconds", async () => {
    const began = Date.now();
    const first = await report(gateway, "?days=40");
    gateway.execute(`UPDATE usage_daily SET requests = requests + 1 WHERE day = ${today}`);
    const second = await report(gateway, "?days=40");
    if (Date.now() - began < 3500) assert.deepEqual(second, first);
    const { total_requests: total } = first;
    await eventually(async () => (await report(gateway, "?days=40")).total_requests === total + 2);
    assert.ok(Date.now() - began >= 3500);
  });

  test("public analytics: a thousand projects and models are named, the rest are summed as (other)", async () => {
    const rows = Array.from({ length: 1100 }, (_, n) => [
      100,
      `p${n}`,
      "many",
      `m${n}`,
      { requests: n < 100 ? 1 : 2, successful: 1 },
    ]);
    seed(gateway, /** @type {any} */ (rows));
    const { models, projects, providers } = await report(gateway, "?days=101");
    assert.deepEqual(providers.many, counts(2100, 1100));
    for (const object of [models, projects]) {
      const names = Object.keys(object);
      assert.equal(names.length, 1001);
      assert.equal(names.at(-1), "(other)");
    }
    const sum = Object.values(projects).reduce((sum, { requests }) => sum + requests, 0);
    // All but today's two calls without a project.
    assert.equal(sum, (await report(gateway, "?days=101")).total_requests - 3);
    gateway.execute("DELETE FROM usage_daily WHERE provider = 'many'");
  });

  test("public analytics: names that callers have invented are one, and none is shown", async () => {
    seed(gateway, /** @type {any} */ (INVENTED));
    const text = await (await ask(gateway, "?days=1")).text();
    const { models, providers } = JSON.parse(text);
    assert.deepEqual(models["custom/other"], counts(1500, 1500));
    assert.deepEqual(providers.custom, counts(1500, 1500));
    assert.ok(!text.includes("<"), text.slice(0, 500));
    gateway.execute("DELETE FROM usage_daily WHERE model LIKE '<%'");
  });

  test("public analytics: an unavailable database returns 503, one without tables returns zeros", async () => {
    gateway.execute("ALTER TABLE usage_daily RENAME COLUMN project TO hidden");
    try {
      const response = await refused(await ask(gateway, "?days=50"), 503, "storage_unavailable");
      assert.equal(response.headers.get("retry-after"), "5");
      await refused(await operate(gateway, "GET", "/metrics"), 503, "storage_unavailable");
    } finally {
      gateway.execute("ALTER TABLE usage_daily RENAME COLUMN hidden TO project");
    }
    gateway.execute("ALTER TABLE usage_daily RENAME TO away");
    try {
      assert.deepEqual(await report(gateway, "?days=51"), EMPTY);
      const metrics = await operate(gateway, "GET", "/metrics");
      assert.equal(metrics.status, 200);
      assert.match(await metrics.text(), /^gatehouse_issued_keys 0$/m);
    } finally {
      gateway.execute("ALTER TABLE away RENAME TO usage_daily");
    }
    assert.notDeepEqual(await report(gateway, "?days=50"), EMPTY);
  });

  test("public analytics: database queries are rate-limited", async () => {
    const asked = Array.from({ length: 365 }, (_, day) => ask(gateway, `?days=${day + 1}`));
    const limited = (await Promise.all(asked)).filter(({ status }) => status !== 200);
    assert.ok(limited.length > 0);
    for (const response of limited) {
      const wait = Number(response.headers.get("retry-after"));
      assert.ok(wait >= 1 && wait <= 5, `${wait}`);
      await refused(response, 429, "rate_limit_exceeded");
    }
    await eventually(async () => (await ask(gateway, "?days=222")).status === 200);
  });
});

suite("analytics without project names", () => {
  /** @type {Gateway} */ let gateway;

  before(async () => {
    gateway = await Gateway.start(variables(upstream));
    seed(gateway, ROWS);
  });
  after(() => gateway?.stop());

  test("analytics without project names: callers and anonymous clients see no project", async () => {
    for (const init of [{}, bearer(KEY), bearer("wrong"), { headers: { "x-api-key": "wrong" } }]) {
      const response = await ask(gateway, "", init);
      assert.equal(response.headers.get("cache-control"), "public, max-age=5");
      assert.equal(response.headers.get("vary"), "authorization, x-api-key");
      const body = await response.json();
      assert.deepEqual([body.total_requests, body.projects], [15, {}]);
      assert.deepEqual(Object.keys(body), MEMBERS);
      const one = await ask(gateway, "?project_id=checkout", init);
      await refused(one, 403, "permission_denied", "project_id");
    }
    await refused(await ask(gateway, "?project_id="), 400, "invalid_project_id", "project_id");
  });

  test("analytics without project names: operators see projects", async () => {
    for (const init of [bearer(OPERATOR_KEY), { headers: { "x-api-key": OPERATOR_KEY } }]) {
      const response = await ask(gateway, "", init);
      assert.equal(response.headers.get("cache-control"), "no-store");
      assert.equal(Object.keys((await response.json()).projects).length, 3);
      assert.equal((await report(gateway, "?project_id=checkout", init)).total_requests, 7);
    }
    assert.deepEqual((await report(gateway)).projects, {});
  });

  test("analytics without project names: wrong operator keys count as failed attempts and get the anonymous response", async () => {
    const guess = (/** @type {number} */ times) =>
      ask(gateway, "", {
        headers: { authorization: `Bearer x${times}`, "cf-connecting-ip": "192.0.2.9" },
      });
    for (let times = 0; times < 110; times += 1) {
      const response = await guess(times);
      assert.equal(response.status, 200);
      assert.deepEqual((await response.json()).projects, {});
    }
    const limited = await operate(gateway, "GET", "/metrics", undefined, {
      authorization: "Bearer x",
      "cf-connecting-ip": "192.0.2.9",
    });
    await refused(limited, 429, "rate_limit_exceeded");
  });
});

suite("operator-only analytics", () => {
  /** @type {Gateway} */ let gateway;

  before(async () => {
    gateway = await Gateway.start(variables(upstream, { analytics: { public: false } }));
    seed(gateway, ROWS);
  });
  after(() => gateway?.stop());

  test("operator-only analytics: other clients get 401 or 403 before parameters are validated", async () => {
    for (const query of ["", "?days=0", "?project_id=checkout"]) {
      const none = await refused(await ask(gateway, query), 401, "invalid_api_key");
      assert.equal(none.headers.get("www-authenticate"), 'Bearer realm="gatehouse"');
      await refused(await ask(gateway, query, bearer("wrong")), 401, "invalid_api_key");
      await refused(await ask(gateway, query, bearer(KEY)), 403, "permission_denied");
    }
  });

  test("operator-only analytics: operators see all projects", async () => {
    const response = await operate(gateway, "GET", "/v1/analytics");
    assert.equal(response.headers.get("cache-control"), "no-store");
    const body = await response.json();
    assert.deepEqual(Object.keys(body), MEMBERS);
    assert.deepEqual(body.projects.checkout, counts(7, 2));
    const one = await operate(gateway, "GET", "/v1/analytics?project_id=checkout");
    assert.equal((await one.json()).total_requests, 7);
    await refused(
      await operate(gateway, "GET", "/v1/analytics?days=0"),
      400,
      "invalid_value",
      "days",
    );
  });
});

suite("analytics without a database", () => {
  /** @type {Gateway} */ let gateway;

  before(async () => {
    gateway = await Gateway.startBare(variables(upstream, { analytics: { projects: true } }));
  });
  after(() => gateway?.stop());

  test("analytics without a database: reports and metrics are empty", async () => {
    assert.deepEqual(await report(gateway), EMPTY);
    assert.deepEqual(await report(gateway, "?project_id=checkout"), EMPTY);
    await refused(await ask(gateway, "?days=0"), 400, "invalid_value", "days");
    const metrics = await operate(gateway, "GET", "/metrics");
    assert.equal(metrics.status, 200);
    const families = parse(await metrics.text());
    assert.deepEqual(families.get("gatehouse_requests_total")?.samples, []);
    assert.deepEqual(families.get("gatehouse_issued_keys")?.samples, []);
  });
});

/**
 * Reads Prometheus' text format (0.0.4), strictly: every line, each family once and its samples together, no sample twice.
 *
 * @param {string} text
 */
function parse(text) {
  /** @type {Map<string, { help: string, type: string, samples: { name: string, labels: Record<string, string>, value: string }[] }>} */
  const families = new Map();
  const seen = new Set();
  assert.ok(text.endsWith("\n"));
  let help;
  let family = "";
  for (const line of text.slice(0, -1).split("\n")) {
    const [, keyword, name = "", rest = ""] = line.match(/^# (HELP|TYPE) ([a-z_]+) (.+)$/) ?? [];
    if (keyword === "HELP") {
      assert.equal(help, undefined, `${line}: the HELP before it has no TYPE`);
      help = { name, rest };
      continue;
    }
    if (keyword === "TYPE") {
      assert.equal(help?.name, name, line);
      assert.ok(["counter", "gauge", "summary"].includes(rest), line);
      assert.ok(!families.has(name), `${name} comes twice`);
      assert.equal(rest === "counter", name.endsWith("_total"), line);
      families.set(name, { help: help?.rest ?? "", type: rest, samples: [] });
      [family, help] = [name, undefined];
      continue;
    }
    const sample = line.match(
      /^([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\["\\n])*",?)*)\})? (\d+(?:\.\d+)?)$/,
    );
    assert.ok(sample, `not a sample: ${line}`);
    const [, full = "", inner = "", value = ""] = sample;
    const labels = Object.fromEntries(
      [...inner.matchAll(/([a-z_]+)="((?:[^"\\]|\\.)*)"(?:,|$)/g)].map(([, label, escaped]) => [
        label,
        escaped?.replace(/\\(.)/g, (_, after) => (after === "n" ? "\n" : after)),
      ]),
    );
    const known = families.get(family);
    assert.ok(known, line);
    const names = known.type === "summary" ? [`${family}_sum`, `${family}_count`] : [family];
    assert.ok(names.includes(full), `${full} stands under ${family}`);
    assert.ok(!seen.has(`${full}{${inner}}`), `${line} comes twice`);
    seen.add(`${full}{${inner}}`);
    known.samples.push({ name: full, labels, value });
  }
  assert.equal(help, undefined);
  return families;
}

suite("metrics", () => {
  /** @type {Gateway} */ let gateway;

  before(async () => {
    gateway = await Gateway.start(configured());
  });
  after(() => gateway?.stop());

  async function metrics() {
    const response = await operate(gateway, "GET", "/metrics");
    assert.equal(response.status, 200);
    assert.equal(response.headers.get("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    assert.equal(response.headers.get("cache-control"), "no-store");
    return parse(await response.text());
  }

  test("metrics: require an operator key", async () => {
    const url = `${gateway.url}/metrics`;
    await refused(await call(url), 401, "invalid_api_key");
    await refused(await call(url, bearer("wrong")), 401, "invalid_api_key");
    await refused(await call(url, bearer(KEY)), 403, "permission_denied");
    const conflict = { authorization: `Bearer ${OPERATOR_KEY}`, "x-api-key": "other" };
    const response = await call(url, { headers: conflict });
    await refused(response, 400, "conflicting_credentials", "x-api-key");
    const head = await call(url, { method: "HEAD", ...bearer(OPERATOR_KEY) });
    assert.deepEqual([head.status, await head.text()], [200, ""]);
    const post = await call(url, { method: "POST" });
    assert.equal(post.headers.get("allow"), "GET, HEAD, OPTIONS");
    await refused(post, 405, "method_not_allowed");
  });

  test("metrics: an empty gateway exposes counts of zero and its version", async () => {
    const families = await metrics();
    const sampled = [...families].filter(([, { samples }]) => samples.length > 0);
    const valueOf = (/** @type {string} */ name) => families.get(name)?.samples[0]?.value;
    // What depends on the isolate and on the requests before.
    const varying = [
      "gatehouse_operator_logins_failed_total",
      "gatehouse_operator_denials_total",
      "gatehouse_wasm_memory_bytes",
    ];
    for (const name of varying) assert.ok(Number(valueOf(name)) > 0, name);
    assert.deepEqual(
      sampled.filter(([name]) => !varying.includes(name)).map(([name]) => [name, valueOf(name)]),
      [
        ["gatehouse_key_requests_pending", "0"],
        ["gatehouse_issued_keys", "0"],
        ["gatehouse_held_bytes", "0"],
        ["gatehouse_capped_requests_total", "0"],
        ["gatehouse_lost_records_total", "0"],
        ["gatehouse_telemetry_dropped_total", "0"],
        ["gatehouse_build_info", "1"],
      ],
    );
    const { version = "" } = families.get("gatehouse_build_info")?.samples[0]?.labels ?? {};
    assert.match(version, /^\d+\.\d+\.\d+/);
  });

  test("metrics: names that callers have invented are one series", async () => {
    seed(gateway, /** @type {any} */ (INVENTED));
    const text = await (await operate(gateway, "GET", "/metrics")).text();
    assert.match(text, /^gatehouse_attempts_total\{provider="custom",model="other"\} \d+$/m);
    assert.ok(!text.includes("<") && text.length < 20_000, text.slice(0, 500));
    gateway.execute("DELETE FROM usage_daily");
  });

  test("metrics: counters add up all days and projects exactly", async () => {
    const sums = {
      requests: 3,
      successful: 2,
      attempts: 5,
      prompt_tokens: 1000,
      cached_tokens: 400,
      cache_write_tokens: 300,
      completion_tokens: 70,
      reasoning_tokens: 20,
      cost_micro_usd: 1_234_567,
      unpriced: 1,
      estimated: 2,
      duration_ms: 4321,
      streams: 2,
      first_token_ms: 900,
    };
    seed(gateway, [
      [0, "a", "custom", UNUSUAL, sums],
      [400, "b", "custom", UNUSUAL, sums],
      [1, "", "groq", "x", { requests: 2 ** 40, cost_micro_usd: 2 ** 50 + 1 }],
    ]);
    const families = await metrics();
    const labels = { provider: "custom", model: UNUSUAL };
    /** @param {string} family */
    const of = (family) =>
      families
        .get(family)
        ?.samples.filter(({ labels }) => labels["provider"] === "custom")
        .map(({ name, labels: { provider, model, ...rest }, value }) => {
          assert.deepEqual({ provider, model }, labels);
          return [name.replace(family, ""), ...Object.values(rest), value].join(" ").trim();
        });
    for (const [family, expected] of Object.entries({
      gatehouse_requests_total: ["successful 4", "failed 2"],
      gatehouse_attempts_total: ["10"],
      gatehouse_tokens_total: [
        "prompt 2000",
        "cached 800",
        "cache_write 600",
        "completion 140",
        "reasoning 40",
      ],
      gatehouse_cost_usd_total: ["2.469134"],
      gatehouse_unpriced_requests_total: ["2"],
      gatehouse_estimated_requests_total: ["4"],
      gatehouse_request_duration_seconds: ["_sum 8.642", "_count 6"],
      gatehouse_time_to_first_token_seconds: ["_sum 1.8", "_count 4"],
    })) {
      assert.deepEqual(of(family), expected, family);
    }
    const cost = families.get("gatehouse_cost_usd_total")?.samples.at(-1);
    assert.deepEqual(cost?.labels, { provider: "groq", model: "other" });
    assert.equal(cost?.value, "1125899906.842625");
  });

  test("metrics: gauges report provider health, pending requests and active keys", async () => {
    assert.equal((await chat(gateway, {})).status, 200);
    const asked = await requestKey(gateway, {
      name: "Ada",
      email: "ada@example.com",
      use_case: "Reading the metrics",
    });
    assert.equal(asked.status, 202);
    for (const name of ["one", "two", "three"]) {
      assert.equal((await operate(gateway, "POST", "/v0/api_keys", { name })).status, 201);
    }
    assert.ok((await operate(gateway, "DELETE", "/v0/api_keys/two")).ok);
    assert.ok((await operate(gateway, "PATCH", "/v0/api_keys/three", { disabled: true })).ok);
    const families = await metrics();
    const samples = (/** @type {string} */ name) => families.get(name)?.samples;
    const demo = { provider: "demo" };
    assert.deepEqual(
      samples("gatehouse_provider_success_rate")?.map(({ labels, value }) => [labels, value]),
      [[demo, "1"]],
    );
    assert.deepEqual(
      samples("gatehouse_provider_models_in_cooldown")?.map(({ labels, value }) => [labels, value]),
      [[demo, "0"]],
    );
    assert.equal(samples("gatehouse_key_requests_pending")?.[0]?.value, "1");
    assert.equal(samples("gatehouse_issued_keys")?.[0]?.value, "1");
  });
});
