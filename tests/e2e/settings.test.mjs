// @ts-check
//! Run-time settings: policies, aliases, groups, facts about models and limits of keys that operators change while the
//! gateway runs.

import assert from "node:assert/strict";
import { rm } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { after, before, suite, test } from "node:test";
import {
  Gateway,
  KEY,
  OPERATOR_KEY,
  OPERATOR_LABEL,
  Upstream,
  call,
  chat,
  eventually,
  freshState,
  operate,
  variables,
} from "./harness.mjs";
import { Isolates } from "./isolates.mjs";
import { issue } from "./ledgers.mjs";

/** The guaranteed delay of a change, and the tolerance for clocks. */
const BOUND_MS = 10_000;
const GRANULARITY_MS = 300;

const CONFIG = {
  policies: { basic: { limits: { requests_per_minute: 100 } } },
  aliases: { filed: "demo/sim-small" },
};

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
  return { status: response.status, body: await json(response) };
}

/**
 * Calls a model with a key; returns the status and the code of an error.
 *
 * @param {Gateway} gateway
 * @param {string} key
 * @param {string} model
 */
async function outcome(gateway, key, model) {
  const response = await chat(gateway, { model }, { authorization: `Bearer ${key}` });
  const { error } = await json(response);
  return `${response.status} ${error?.code ?? ""}`.trim();
}

suite("run-time settings", () => {
  /** @type {Upstream} */ let upstream;
  /** @type {Gateway} */ let gateway;
  /** @type {string} */ let state;

  before(async () => {
    [upstream, state] = await Promise.all([Upstream.start(), freshState()]);
    gateway = await Gateway.start(variables(upstream, CONFIG), [], state);
  });
  after(async () => {
    await Promise.all([gateway?.stop(), upstream?.stop()]);
    await rm(state, { recursive: true, force: true });
  });

  test("settings: an alias, a group and a model's price work at once where they were set", async () => {
    const alias = await administer(gateway, "PUT", "/v0/aliases/team/quick", {
      model: "demo/sim-small",
    });
    assert.equal(alias.status, 200, JSON.stringify(alias.body));
    assert.deepEqual(alias.body.value, { model: "demo/sim-small" });
    assert.equal(alias.body.was, null);
    assert.equal(await outcome(gateway, KEY, "team/quick"), "200");
    const group = { models: ["demo/sim-small", "demo/other"], weights: [3, 1] };
    assert.equal((await administer(gateway, "PUT", "/v0/groups/pair", group)).status, 200);
    assert.equal(await outcome(gateway, KEY, "pair"), "200");
    const listed = await json(await call(`${gateway.url}/v1/models`));
    const ids = listed.data.map((/** @type {any} */ model) => model.id);
    assert.ok(ids.includes("team/quick") && ids.includes("pair"), ids.join());

    const price = { input_usd_per_mtok: 1_000_000, output_usd_per_mtok: 0 };
    await administer(gateway, "PUT", "/v0/models/demo/sim-small", price);
    const priced = await chat(gateway, {});
    const { usage } = await json(priced);
    const cost = Number(priced.headers.get("x-gateway-cost-usd"));
    assert.equal(cost, usage.prompt_tokens, "a dollar for each token");
    const read = await administer(gateway, "GET", "/v0/models/demo%2Fsim-small");
    assert.deepEqual(read.body.value, { hidden: false, ...price });
    for (const path of [
      "/v0/groups/pair",
      "/v0/aliases/team%2Fquick",
      "/v0/models/demo/sim-small",
    ]) {
      const removed = await administer(gateway, "DELETE", path);
      assert.equal(removed.status, 200, JSON.stringify(removed.body));
      assert.equal(removed.body.value, null);
    }
    assert.equal(await outcome(gateway, KEY, "pair"), "404 model_not_found");
  });

  test("settings: an invalid entry is rejected in the words of gateway.toml", async () => {
    for (const [path, body, code, message] of /** @type {const} */ ([
      [
        "policies/p",
        { rpm: 5 },
        "UnknownMember",
        /^policies\.p: unknown field `rpm`, expected one of/,
      ],
      [
        "policies/p",
        { limits: { usd_per_day: 0 } },
        "InvalidValue",
        /^policies\.p\.limits\.usd_per_day must be greater than 0$/,
      ],
      [
        "aliases/a",
        { model: "gpt" },
        "InvalidValue",
        /^aliases\.a is 'gpt'; it must be provider\/model$/,
      ],
      [
        "aliases/demo/a",
        { model: "demo/a" },
        "InvalidValue",
        /^aliases\.demo\/a leads back to itself/,
      ],
      ["groups/g", { models: [] }, "InvalidValue", /^groups\.g\.models is empty/],
      ["models/nowhere/x", {}, "InvalidValue", /there is no provider 'nowhere'/],
      [
        "alerts/settings",
        { budget_percent: [120] },
        "InvalidValue",
        /^alerts\.budget_percent must have at most 10 numbers from 1 to 100$/,
      ],
      [
        "alerts/settings",
        { email: "ops@example.com" },
        "InvalidValue",
        /^alerts\.email needs a sender: set email\.from$/,
      ],
      [
        "alerts/settings",
        { slack_url: "https://hooks.example/x" },
        "UnknownMember",
        /^alerts: unknown field `slack_url`/,
      ],
    ])) {
      const { status, body: error } = await administer(gateway, "PUT", `/v0/${path}`, body);
      assert.equal(status, 400, JSON.stringify(error));
      assert.equal(error.error_code, code);
      assert.match(error.message, message);
    }
    const unclear = await administer(gateway, "PUT", "/v0/policies/p?dry_run=maybe", {});
    assert.equal(unclear.status, 400);
  });

  test("settings: a dry run states the effect and changes nothing", async () => {
    await issue(gateway, "dry", { policies: ["basic"] });
    const policy = { limits: { requests_per_minute: 7 } };
    const before = (await administer(gateway, "GET", "/v0/config")).body.settings_version;
    const dry = await administer(gateway, "PUT", "/v0/policies/basic?dry_run=true", policy);
    assert.equal(dry.body.dry_run, true);
    assert.equal(dry.body.affected_keys, 1);
    assert.equal(dry.body.was.limits.requests_per_minute, 100);
    assert.equal(dry.body.value.limits.requests_per_minute, 7);
    const config = (await administer(gateway, "GET", "/v0/config")).body;
    assert.equal(config.settings_version, before);
    assert.equal(config.sources["policies.basic"], "GATEWAY_CONFIG");
  });

  test("settings: what keys or other settings use cannot be removed", async () => {
    await administer(gateway, "PUT", "/v0/policies/gold", { models: ["filed"] });
    await issue(gateway, "golden", { policies: ["gold"] });
    const used = await administer(gateway, "DELETE", "/v0/policies/gold");
    assert.equal(used.status, 409);
    assert.deepEqual(used.body.details, { keys: ["golden"], count: 1 });
    const dry = await administer(gateway, "DELETE", "/v0/policies/gold?dry_run=true");
    assert.equal(dry.status, 409, "a dry run fails as the change would");
    await operate(gateway, "DELETE", "/v0/api_keys/golden");
    assert.equal((await administer(gateway, "DELETE", "/v0/policies/gold")).status, 200);
    const filed = await administer(gateway, "DELETE", "/v0/aliases/filed");
    assert.equal(filed.body.error_code, "SettingInFile");
    const unknown = await administer(gateway, "DELETE", "/v0/policies/gold");
    assert.equal(unknown.body.error_code, "UnknownSetting");
  });

  test("settings: a removed setting uncovers the deployment's", async () => {
    await administer(gateway, "PUT", "/v0/policies/basic", { description: "mine" });
    const over = (await administer(gateway, "GET", "/v0/policies/basic")).body;
    assert.equal(over.source, "database");
    assert.equal(over.changed_by, OPERATOR_LABEL);
    assert.equal(over.overrides.limits.requests_per_minute, 100);
    const removed = await administer(gateway, "DELETE", "/v0/policies/basic");
    assert.equal(removed.body.value.limits.requests_per_minute, 100);
    assert.equal(
      (await administer(gateway, "GET", "/v0/policies/basic")).body.source,
      "GATEWAY_CONFIG",
    );
  });

  test("settings: a limit of a key itself binds, and can be changed and removed", async () => {
    const { key } = await issue(gateway, "limited", { limits: { requests_per_day: 1 } });
    assert.equal(await outcome(gateway, key, "demo/sim-small"), "200");
    assert.equal(await outcome(gateway, key, "demo/sim-small"), "402 insufficient_quota");
    const raised = await administer(gateway, "PATCH", "/v0/api_keys/limited", {
      limits: { requests_per_day: 2 },
    });
    assert.deepEqual(raised.body.limits, { requests_per_day: 2 });
    assert.equal(await outcome(gateway, key, "demo/sim-small"), "200");
    assert.equal(await outcome(gateway, key, "demo/sim-small"), "402 insufficient_quota");
    await administer(gateway, "PATCH", "/v0/api_keys/limited", { limits: null });
    assert.equal(await outcome(gateway, key, "demo/sim-small"), "200");
    const bad = await administer(gateway, "PATCH", "/v0/api_keys/limited", { limits: { rpm: 1 } });
    assert.match(bad.body.message, /^'limits' is not valid: unknown field `rpm`/);
  });

  test("settings: an approval can set limits of the key", async () => {
    const made = await administer(gateway, "POST", "/api/portal/requests", {
      by_user: "u1",
      fields: {},
      for_plan: "",
    });
    const id = made.body.Message ?? made.body.id;
    const approved = await administer(gateway, "PUT", `/api/portal/requests/approve/${id}`, {
      limits: { usd_per_month: 50 },
    });
    assert.equal(approved.status, 200, JSON.stringify(approved.body));
    const [key] = (await administer(gateway, "GET", `/v0/api_keys/${id}`)).body;
    assert.deepEqual(key.limits, { usd_per_month: 50 });
  });

  test("settings: a key has the role that it was created with", async () => {
    await issue(gateway, "reader");
    await issue(gateway, "writer", { role: "write" });
    const roles = (await administer(gateway, "GET", "/v0/api_keys")).body.map(
      (/** @type {any} */ key) => [key.name, key.role],
    );
    assert.equal(Object.fromEntries(roles).reader, "read");
    assert.equal(Object.fromEntries(roles).writer, "write");
    for (const role of ["admin", "owner"]) {
      const refused = await administer(gateway, "POST", "/v0/api_keys", { name: "a b", role });
      assert.equal(refused.status, 403, "the role is checked before the name");
      assert.equal(refused.body.error_code, "OwnerAdminNotMintableAsApiKey");
    }
  });

  test("settings: the configuration has the members that Feldera's clients read", async () => {
    const { body } = await administer(gateway, "GET", "/v0/config");
    for (const name of ["version", "edition", "revision", "changelog_url", "telemetry"]) {
      assert.equal(typeof body[name], "string", name);
    }
    assert.equal(body.edition, "Open source");
    assert.equal(body.settings.timeouts.ping_ms, 15_000);
    assert.equal(body.sources["timeouts.ping_ms"], "default");
    assert.equal(body.sources["aliases.filed"], "GATEWAY_CONFIG");
    assert.ok(!JSON.stringify(body).includes(OPERATOR_KEY));
  });

  test("settings: each change is in the audit trail with the old and the new value", async () => {
    const { body } = await administer(gateway, "GET", "/v0/audit?limit=1000");
    const entries = body.entries.map((/** @type {any} */ { entry }) => JSON.parse(entry));
    const of = entries.filter((/** @type {any} */ entry) => entry.subject === "policies.basic");
    assert.deepEqual(
      of.map((/** @type {any} */ entry) => entry.action),
      ["setting.changed", "setting.removed"],
    );
    assert.equal(of[0].detail.was.limits.requests_per_minute, 100);
    assert.equal(of[0].detail.value.description, "mine");
    assert.deepEqual([of[1].detail.value, of[1].detail.was.description], [null, "mine"]);
    const verified = (await administer(gateway, "GET", "/v0/audit/verify")).body;
    assert.equal(verified.intact, true, JSON.stringify(verified));
  });

  test("settings: inference keys cannot read or change them", async () => {
    for (const [method, path] of [
      ["GET", "/v0/config"],
      ["GET", "/v0/policies"],
      ["PUT", "/v0/aliases/a"],
      ["DELETE", "/v0/models/demo/x"],
      ["PUT", "/v0/alerts/settings"],
    ]) {
      const response = await call(`${gateway.url}${path}`, {
        method,
        headers: { authorization: `Bearer ${KEY}` },
      });
      assert.equal(response.status, 403, path);
    }
  });
});

suite("run-time settings in several isolates", () => {
  /** @type {Upstream} */ let upstream;
  /** @type {Isolates} */ let isolates;

  before(async () => {
    upstream = await Upstream.start();
    isolates = await Isolates.start(4, variables(upstream, CONFIG));
  });
  after(() => Promise.all([isolates?.stop(), upstream?.stop()]));

  test("settings: a change under load takes effect in every isolate within the bound, and no call fails", async () => {
    const { key } = await issue(isolates.at(0), "busy");
    /** @type {Set<string>} */
    const others = new Set();
    let running = true;
    // Each isolate serves calls without a pause, so that it never waits for the settings.
    const load = isolates.gateways.map(async (gateway) => {
      while (running) {
        const found = await outcome(gateway, key, "demo/sim-small");
        if (found !== "200") others.add(found);
      }
    });
    /** @type {Promise<number>[]} */
    let delays = [];
    try {
      await sleep(500);
      const changed = await administer(isolates.at(0), "PUT", "/v0/aliases/swift", {
        model: "demo/sim-small",
      });
      assert.equal(changed.status, 200);
      const since = Date.now();
      delays = isolates.gateways.map(async (gateway) => {
        await eventually(
          async () => (await outcome(gateway, key, "swift")) === "200",
          BOUND_MS + GRANULARITY_MS,
        );
        return Date.now() - since;
      });
      await Promise.all(delays);
    } finally {
      running = false;
      await Promise.all(load);
    }
    assert.deepEqual([...others], [], "only calls of the alias itself failed before");
  });

  test("alerts: settings apply in every isolate, and each change of a condition is written once whoever finds it", async () => {
    const expires_at = new Date(Date.now() + 86_400_000).toISOString();
    const limits = { requests_per_day: 4 };
    const { key } = await issue(isolates.at(0), "watched", { expires_at, limits });
    const everywhere = (/** @type {(gateway: Gateway) => Promise<unknown>} */ act) =>
      Promise.all(isolates.gateways.map(act));
    /** @param {number} days */
    const set = async (days) => {
      const body = { key_expires_days: days, budget_percent: [50, 100] };
      assert.equal(
        (await administer(isolates.at(1), "PUT", "/v0/alerts/settings", body)).status,
        200,
      );
      await everywhere((gateway) =>
        eventually(async () => {
          const read = await administer(gateway, "GET", "/v0/alerts");
          return read.body.settings.key_expires_days === days;
        }, BOUND_MS + GRANULARITY_MS),
      );
    };
    const written = async () => {
      const sql = "SELECT kind, subject, state, level FROM alert_changes ORDER BY id";
      const { results } = await isolates.database.prepare(sql).all();
      return results.map((row) => Object.values(row).join(" "));
    };
    // No channel is configured; the conditions are checked all the same. In this test each isolate has a Notifier.
    const check = () => everywhere((gateway) => operate(gateway, "POST", "/v0/alerts/test"));
    const firing = "key_expiring watched firing 1";
    const resolved = "key_expiring watched resolved 1";
    await set(7);
    await Promise.all([check(), check()]);
    await eventually(async () => (await written()).length > 0);
    await check();
    await sleep(1000);
    assert.deepEqual(await written(), [firing]);

    const used = await Promise.all(
      [0, 2].map((index) => outcome(isolates.at(index), key, "demo/sim-small")),
    );
    assert.deepEqual(used, ["200", "200"]);
    const budget = "budget watched requests_per_day firing 50";
    // The ledger writes it with its roll-up, and again after 30 s if the database fails.
    await eventually(async () => (await written()).length > 1, 60_000);
    assert.deepEqual(await written(), [firing, budget]);

    await set(0);
    // The Notifiers of the other isolates have the settings within the bound.
    await sleep(BOUND_MS);
    await Promise.all([check(), check()]);
    await sleep(1000);
    assert.deepEqual(await written(), [firing, budget, resolved]);
  });

  test("settings: an isolate that was idle for the bound has the change with its first request", async () => {
    await outcome(isolates.at(3), KEY, "demo/sim-small");
    await administer(isolates.at(0), "PUT", "/v0/aliases/later", { model: "demo/sim-small" });
    await sleep(BOUND_MS + GRANULARITY_MS);
    assert.equal(await outcome(isolates.at(3), KEY, "later"), "200");
  });

  test("settings: a policy that is narrowed rejects within the bound", async () => {
    await administer(isolates.at(0), "PUT", "/v0/policies/narrow", {});
    const { key } = await issue(isolates.at(0), "narrowed", { policies: ["narrow"] });
    await eventually(
      async () => (await outcome(isolates.at(1), key, "demo/sim-small")) === "200",
      BOUND_MS + GRANULARITY_MS,
    );
    await administer(isolates.at(0), "PUT", "/v0/policies/narrow", { models: ["demo/other"] });
    await eventually(
      async () =>
        (await outcome(isolates.at(1), key, "demo/sim-small")) === "403 model_not_allowed",
      BOUND_MS + GRANULARITY_MS,
    );
  });

  test("settings: changes at the same time lose none, and leave a trail that verifies", async () => {
    const before = (await administer(isolates.at(0), "GET", "/v0/config")).body.settings_version;
    const made = await Promise.all(
      isolates.gateways.flatMap((gateway, index) =>
        [0, 1].map((number) =>
          administer(gateway, "PUT", `/v0/aliases/many-${index}-${number}`, {
            model: "demo/sim-small",
          }),
        ),
      ),
    );
    assert.deepEqual([...new Set(made.map(({ status }) => status))], [200]);
    const versions = made.map(({ body }) => body.version).toSorted((a, b) => a - b);
    assert.deepEqual(
      versions,
      made.map((_, index) => before + 1 + index),
    );
    const verified = (await administer(isolates.at(1), "GET", "/v0/audit/verify")).body;
    assert.equal(verified.intact, true, JSON.stringify(verified));
  });

  test("settings: a thousand changes leave a trail that verifies, and a change of the table alone shows", async () => {
    for (let number = 0; number < 1_000; number += 1) {
      const path = `/v0/aliases/turn-${number % 10}`;
      const { status, body } = await administer(isolates.at(0), "PUT", path, {
        model: `demo/m${number}`,
      });
      assert.equal(status, 200, JSON.stringify(body));
    }
    const verified = (await administer(isolates.at(0), "GET", "/v0/audit/verify")).body;
    assert.equal(verified.intact, true, JSON.stringify(verified));
    assert.ok(verified.entries > 1_000);
    const sql = "UPDATE settings SET value = '{\"model\":\"demo/x\"}' WHERE name = 'turn-1'";
    await isolates.execute(sql);
    const differs = (await administer(isolates.at(0), "GET", "/v0/audit/verify")).body;
    assert.equal(differs.intact, false);
    assert.match(differs.reason, /the setting 'aliases\.turn-1' has another value/);
  });

  test("settings: without the database calls go on with the last known settings, and /health says so", async () => {
    assert.equal(await outcome(isolates.at(2), KEY, "swift"), "200");
    await isolates.execute("ALTER TABLE settings_version RENAME COLUMN version TO lost");
    try {
      await sleep(BOUND_MS + GRANULARITY_MS);
      assert.equal(await outcome(isolates.at(2), KEY, "swift"), "200");
      assert.equal(await outcome(isolates.at(2), KEY, "swift"), "200");
      const health = await json(await call(`${isolates.at(2).url}/health`));
      assert.match(health.problems.join(), /the run-time settings cannot be read/);
    } finally {
      await isolates.execute("ALTER TABLE settings_version RENAME COLUMN lost TO version");
    }
    await eventually(async () => {
      await outcome(isolates.at(2), KEY, "swift");
      const health = await json(await call(`${isolates.at(2).url}/health`));
      return !health.problems.join().includes("cannot be read");
    });
  });
});
