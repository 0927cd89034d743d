// @ts-check
//! Authentication of callers: both headers, both secrets, every form of ring entry, and the errors.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after, before, suite, test } from "node:test";
import {
  Gateway,
  KEY,
  KEY_HASH,
  LABEL,
  Upstream,
  chat,
  variables,
  call,
  eventually,
} from "./harness.mjs";

/** @param {string} key */
const sha256 = (key) => createHash("sha256").update(key).digest("hex");

suite("authentication", () => {
  /** @type {Upstream} */ let upstream;
  /** @type {Gateway} */ let gateway;
  const entries = [
    `${LABEL}:${KEY_HASH}`,
    sha256("unlabelled"),
    `upper:${sha256("upper").toUpperCase()}`,
    `team:with:colons:${sha256("colons")}`,
    `short:${KEY_HASH.slice(1)}`,
    "misplaced-plaintext-secret",
    `label:`,
  ];

  before(async () => {
    upstream = await Upstream.start();
    gateway = await Gateway.start({
      ...variables(upstream),
      GATEWAY_API_KEY: "legacy primary",
      GATEWAY_API_KEY_HASHES: entries.join(","),
    });
  });
  after(() => Promise.all([gateway?.stop(), upstream?.stop()]));

  test("authentication: every valid key is accepted and its label identifies the caller", async () => {
    for (const [key, label] of [
      [KEY, LABEL],
      ["legacy primary", "primary"],
      ["unlabelled", `sha256:${sha256("unlabelled").slice(0, 8)}`],
      ["upper", "upper"],
      ["colons", "team:with:colons"],
    ]) {
      const id = `caller-of-${label?.replaceAll(":", "-")}`;
      const response = await chat(
        gateway,
        {},
        { authorization: `Bearer ${key}`, "x-request-id": id },
      );
      assert.equal(response.status, 200, label);
      assert.equal((await gateway.callOf(id)).caller, label);
    }
  });

  test("authentication: x-api-key is equivalent to Authorization: Bearer", async () => {
    const headers = { "content-type": "application/json", "x-api-key": KEY };
    const body = JSON.stringify({ model: "auto", messages: [] });
    const url = `${gateway.url}/v1/chat/completions`;
    assert.equal((await call(url, { method: "POST", headers, body })).status, 200);
    const same = { ...headers, authorization: `Bearer ${KEY}` };
    assert.equal((await call(url, { method: "POST", headers: same, body })).status, 200);
    const basic = { ...headers, authorization: "Basic dXNlcjpwYXNz" };
    assert.equal((await call(url, { method: "POST", headers: basic, body })).status, 200);
    const other = await call(url, {
      method: "POST",
      headers: { ...headers, authorization: "Bearer legacy primary" },
      body,
    });
    assert.equal(other.status, 400);
    assert.equal((await other.json()).error.code, "conflicting_credentials");
  });

  test("authentication: a missing or wrong key returns 401 before anything else is validated", async () => {
    await upstream.forget();
    for (const authorization of [
      "",
      "Bearer ",
      "Bearer wrong",
      `Basic ${KEY}`,
      KEY,
      `Bearer ${KEY_HASH}`,
      "Bearer misplaced-plaintext-secret",
      `Bearer ${"x".repeat(10_000)}`,
    ]) {
      const response = await chat(gateway, "not json", { authorization });
      const { error } = await response.json();
      assert.equal(response.status, 401, authorization);
      const sent = /^Bearer \S/.test(authorization);
      assert.equal(
        response.headers.get("www-authenticate"),
        `Bearer realm="gatehouse"${sent ? ', error="invalid_token"' : ""}`,
      );
      assert.deepEqual(Object.keys(error).sort(), ["code", "message", "param", "type"]);
      assert.equal(error.code, "invalid_api_key");
      assert.equal(error.type, "authentication_error");
      assert.match(error.message, /^Unauthorized/);
    }
    assert.deepEqual(await upstream.requests(), []);
  });

  test("authentication: without a key every path under /v1 returns 401, whether it exists or not", async () => {
    for (const [method, path] of [
      ["POST", "/v1/models"],
      ["GET", "/v1/chat/completions"],
      ["GET", "/v1/nothing"],
    ]) {
      assert.equal((await call(`${gateway.url}${path}`, { method })).status, 401, path);
    }
  });

  test("authentication: public routes ignore a wrong key", async () => {
    const headers = { authorization: "Bearer wrong" };
    for (const path of ["/health", "/v1/models", "/docs", "/openapi.json"]) {
      assert.equal((await call(`${gateway.url}${path}`, { headers })).status, 200, path);
    }
  });

  test("authentication: the log counts malformed key entries and contains none of them", async () => {
    const start = await eventually(() => gateway.events().find((event) => event.event === "start"));
    assert.deepEqual([start.keys, start.malformed_key_entries_skipped], [5, 3]);
    const log = gateway.log.join("\n");
    for (const secret of ["misplaced-plaintext", KEY_HASH.slice(1, 20), "legacy primary"]) {
      assert.ok(!log.includes(secret), secret);
    }
  });
});

suite("authentication without a valid key", () => {
  for (const [name, ring] of [
    ["nothing configured", {}],
    ["only malformed entries", { GATEWAY_API_KEY: " ", GATEWAY_API_KEY_HASHES: "bad,label:bad" }],
  ]) {
    test(`authentication with ${name}: protected routes return 503, public ones work`, async () => {
      const gateway = await Gateway.start(/** @type {Record<string, string>} */ (ring));
      try {
        const response = await chat(gateway, {});
        const { error } = await response.json();
        assert.deepEqual(
          [response.status, error.code, error.type],
          [503, "auth_not_configured", "configuration_error"],
        );
        assert.equal(response.headers.get("x-should-retry"), "false");
        assert.ok(Number(response.headers.get("retry-after")) > 0);
        for (const path of ["/health", "/v1/models", "/docs"]) {
          assert.equal((await call(`${gateway.url}${path}`)).status, 200, path);
        }
        const health = await (await call(`${gateway.url}/health`)).json();
        assert.equal(health.auth.configured, false);
        assert.match(health.problems.join(), /no gateway key/);
      } finally {
        await gateway.stop();
      }
    });
  }
});
