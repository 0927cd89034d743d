// @ts-check
//! The boundary of a key's policies at providers that choose models, services and prices by themselves: what the
//! provider receives, and what is rejected. core/src/route/boundary.rs tests every field.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Gateway, KEY, Upstream, chat, embed, operate } from "./harness.mjs";
import { configured, lane } from "./lanes.mjs";

const PRICE = { input_usd_per_mtok: 1, output_usd_per_mtok: 10 };
const MODEL = "openrouter/a/b";

/** @type {Upstream} */ let upstream;
/** @type {Gateway} */ let gateway;

before(async () => {
  upstream = await Upstream.start();
  gateway = await Gateway.start({
    ...configured(upstream, {
      providers: { proxy: lane(upstream, "proxy"), plain: lane(upstream, "plain") },
      models: { [MODEL]: PRICE, "proxy/m": PRICE, "plain/m": PRICE },
      aliases: { quick: MODEL },
      groups: { both: { models: [MODEL, "plain/m"] } },
      policies: {
        open: { limits: { requests_per_minute: 1000 } },
        models: { models: [MODEL, "openrouter/a/c", "proxy/m", "quick", "both"] },
        endpoints: { endpoints: ["/v1/chat/completions", "/v1/embeddings"] },
        money: { limits: { usd_total: 100 } },
      },
    }),
    OPENROUTER_API_KEY: "sk-openrouter",
    OPENROUTER_BASE_URL: `${upstream.url}/openrouter/v1`,
  });
});
after(() => Promise.all([gateway?.stop(), upstream?.stop()]));

/**
 * A new key with a policy.
 *
 * @param {string} policy
 */
async function issue(policy) {
  const made = await operate(gateway, "POST", "/v0/api_keys", { name: policy, policies: [policy] });
  assert.equal(made.status, 201, await made.clone().text());
  return /** @type {string} */ ((await made.json()).api_key);
}

/** Bodies without their braces, each with the field that it may be rejected for, and the policies that reject it. */
const FIELDS = /** @type {[string, string, string[]][]} */ ([
  ['"models":["a/c"]', "models", ["money"]],
  ['"models":["z/dear"]', "models", ["models", "money"]],
  ['"provider":{"order":["Dear"]}', "provider", ["money"]],
  ['"plugins":[{"id":"web"}]', "plugins", ["models", "endpoints", "money"]],
  ['"preset":"p"', "preset", ["models", "endpoints", "money"]],
  ['"route":"fallback"', "route", ["models", "money"]],
  ['"Model":"z/dear"', "Model", ["models", "endpoints", "money"]],
]);

test("boundary: a field that chooses models, services or prices does not cross a policy", async () => {
  for (const policy of ["open", "models", "endpoints", "money"]) {
    const authorization = `Bearer ${await issue(policy)}`;
    for (const [field, name, rejecting] of FIELDS) {
      const about = `${policy}: ${field}`;
      await upstream.forget();
      const body = `{"model":"${MODEL}","messages":[{"role":"user","content":"Hi"}],"input":"Hi",${field}}`;
      const responses = [
        await chat(gateway, body, { authorization }),
        await embed(gateway, body, { authorization }),
        await chat(gateway, body.replace("{", '{"stream":true,'), { authorization }),
      ];
      for (const response of responses) {
        const text = await response.text();
        if (rejecting.includes(policy)) {
          assert.equal(response.status, 403, `${about}: ${text}`);
          const { error } = JSON.parse(text);
          assert.deepEqual([error.code, error.param], ["field_not_allowed", name], about);
        } else {
          assert.equal(response.status, 200, `${about}: ${text}`);
        }
      }
      const seen = await upstream.requests();
      assert.equal(seen.length, rejecting.includes(policy) ? 0 : 3, about);
      for (const { body_text } of seen) assert.ok(body_text.includes(field), body_text);
    }
  }
  // The keys of the ring have no policy.
  for (const [field] of FIELDS) {
    const body = `{"model":"${MODEL}","messages":[],${field}}`;
    const response = await chat(gateway, body, { authorization: `Bearer ${KEY}` });
    assert.equal(response.status, 200, await response.text());
    const { body_text } = await upstream.lastRequest();
    assert.ok(body_text.includes(field), body_text);
  }
});

test("boundary: suffixes, presets and routers in a model's id, and other names for a model, keep to the policy", async () => {
  for (const [policy, model, expected] of /** @type {[string, string, string][]} */ ([
    ["models", `${MODEL}:online`, "403 model_not_allowed model"],
    ["models", "openrouter/openrouter/auto", "403 model_not_allowed model"],
    ["models", `${MODEL}@preset/p`, "403 model_not_allowed model"],
    ["models", "quick", "200"],
    ["money", `${MODEL}:nitro`, "403 field_not_allowed model"],
    ["money", `${MODEL}:online`, "403 field_not_allowed model"],
    ["money", "openrouter/openrouter/auto", "403 field_not_allowed model"],
    ["endpoints", `${MODEL}:online`, "403 field_not_allowed model"],
    ["endpoints", `${MODEL}:nitro`, "200"],
    ["open", `${MODEL}:online`, "200"],
  ])) {
    const name = `${policy}-${model}`.replace(/[^a-z]/g, "-");
    const made = await operate(gateway, "POST", "/v0/api_keys", { name, policies: [policy] });
    const { api_key: key } = await made.json();
    for (const [body, header] of [
      [{ model }, {}],
      [{ model: "plain/m" }, { "x-gateway-force-model": model }],
    ]) {
      const response = await chat(gateway, body, { authorization: `Bearer ${key}`, ...header });
      const { error } = await response.json();
      const param = header["x-gateway-force-model"] && error?.code === "field_not_allowed";
      assert.equal(
        error ? `${response.status} ${error.code} ${error.param}` : `${response.status}`,
        param ? expected.replace(/model$/, "x-gateway-force-model") : expected,
        `${policy}: ${model}`,
      );
    }
  }
});

test("boundary: a candidate at which a field would cross the policy is skipped", async () => {
  const made = await operate(gateway, "POST", "/v0/api_keys", {
    name: "skipping",
    policies: ["money"],
  });
  const { api_key: key } = await made.json();
  const response = await chat(
    gateway,
    { model: "both", preset: "p" },
    { authorization: `Bearer ${key}` },
  );
  // The other one is a provider of the operator's, which may be a proxy.
  assert.equal(response.status, 403);
  assert.equal((await response.json()).error.param, "preset");
  const plain = await chat(gateway, { model: "both" }, { authorization: `Bearer ${key}` });
  assert.equal(plain.status, 200, await plain.text());
});
