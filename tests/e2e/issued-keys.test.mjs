// @ts-check
//! Issued keys on the call path: the delay of a revocation, the cost of guessing, and failures of the database.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { after, before, suite, test } from "node:test";
import { digest, mint } from "../../scripts/lib/gateway-key.mjs";
import {
  Gateway,
  KEY,
  OPERATOR_KEY,
  Upstream,
  atOnce,
  call,
  chat,
  events,
  newClient,
  operate,
  variables,
} from "./harness.mjs";
import { Isolates } from "./isolates.mjs";

const ISOLATES = 10;
/** The guaranteed delay of a revocation, and the tolerance for clocks and polling. */
const BOUND_MS = 10_000;
const GRANULARITY_MS = 500;

/** Makes the look-up of a key fail with `no such column`. */
const BREAK = "ALTER TABLE key_secrets RENAME COLUMN digest TO hidden";
const REPAIR = "ALTER TABLE key_secrets RENAME COLUMN hidden TO digest";

let made = 0;

/**
 * Issues a key.
 *
 * @param {Gateway} gateway
 */
async function issue(gateway) {
  const name = `key-${(made += 1)}`;
  const response = await operate(gateway, "POST", "/v0/api_keys", { name });
  assert.equal(response.status, 201);
  return { name, key: /** @type {string} */ ((await response.json()).api_key) };
}

/**
 * Sends a call with a key, from a unique address unless one is given; returns the status, and the code of an error.
 *
 * @param {Gateway} gateway
 * @param {string} key
 * @param {string} [client]
 */
async function use(gateway, key, client = newClient()) {
  const response = await chat(
    gateway,
    {},
    { authorization: `Bearer ${key}`, "cf-connecting-ip": client },
  );
  const { error } = await response.json();
  return error ? `${response.status} ${error.code}` : `${response.status}`;
}

/** A well-formed key that was never issued. */
const unknownKey = () => mint(randomBytes(31)).key;

/** @type {Upstream} */ let upstream;

before(async () => {
  upstream = await Upstream.start();
});
after(() => upstream?.stop());

suite(`issued keys on ${ISOLATES} warm isolates`, () => {
  /** @type {Isolates} */ let isolates;

  before(async () => {
    isolates = await Isolates.start(ISOLATES, variables(upstream));
  });
  after(() => isolates?.stop());

  /** @param {string[]} keys */
  const warm = async (keys) => {
    for (const key of keys) {
      for (const gateway of isolates.gateways) assert.equal(await use(gateway, key), "200");
    }
  };

  test("issued keys: revoking, disabling and rotating take effect on busy isolates within the bound", async (t) => {
    const doomed = await issue(isolates.at(0));
    const disabled = await issue(isolates.at(1));
    const rotated = await issue(isolates.at(2));
    const spared = await issue(isolates.at(3));
    // Just before, so that their cached entries are as fresh as possible.
    await warm([doomed, disabled, rotated, spared].map(({ key }) => key));
    const path = (/** @type {string} */ name) => `/v0/api_keys/${name}`;
    const changes = /** @type {[string, string, string, string, object | undefined][]} */ ([
      [doomed.key, "401 invalid_api_key", "DELETE", path(doomed.name), undefined],
      [disabled.key, "401 api_key_disabled", "PATCH", path(disabled.name), { disabled: true }],
      [
        rotated.key,
        "401 invalid_api_key",
        "POST",
        `${path(rotated.name)}/rotate`,
        { overlap_seconds: 0 },
      ],
    ]);
    for (const [index, [key, refusal, method, at, body]] of changes.entries()) {
      const changed = await operate(isolates.at(4 + index), method, at, body);
      const began = performance.now();
      assert.equal(changed.status, 200);
      // All keys that were changed until now are polled together with this one: each is awaited separately.
      changes[index] = [key, refusal, method, at, { began }];
    }
    const lived = await Promise.all(
      changes.flatMap(([key, refusal, method, , state]) =>
        isolates.gateways.map(async (gateway, index) => {
          const { began } = /** @type {{ began: number }} */ (state);
          for (;;) {
            // The response was decided after the request was sent, so the time of sending counts.
            const asked = performance.now() - began;
            const status = await use(gateway, key);
            if (status === refusal) return { index, method, ms: asked };
            assert.equal(status, "200");
            assert.ok(asked <= BOUND_MS + GRANULARITY_MS, `isolate ${index} after ${asked} ms`);
            await sleep(200);
          }
        }),
      ),
    );
    for (const method of ["DELETE", "PATCH", "POST"]) {
      const times = lived.filter((one) => one.method === method).map(({ ms }) => Math.round(ms));
      const longest = Math.max(...times);
      t.diagnostic(`${method}: dead after at most ${longest} ms (${times.join(", ")})`);
      assert.ok(longest <= BOUND_MS + GRANULARITY_MS);
    }
    for (const gateway of isolates.gateways) {
      for (const [key, refusal] of changes) assert.equal(await use(gateway, key), refusal);
      assert.equal(await use(gateway, spared.key), "200");
    }
  });

  test("issued keys: after the bound an idle isolate rejects a revoked key at its first call", async (t) => {
    const { name, key } = await issue(isolates.at(0));
    await warm([key]);
    assert.equal((await operate(isolates.at(0), "DELETE", `/v0/api_keys/${name}`)).status, 200);
    const began = performance.now();
    assert.equal(await use(isolates.at(0), key), "401 invalid_api_key", "here at once");
    const early = await use(isolates.at(1), key);
    t.diagnostic(`right after revocation, another isolate answers ${early}`);
    assert.ok(["200", "401 invalid_api_key"].includes(early));
    await sleep(BOUND_MS + 100 - (performance.now() - began));
    const answers = await Promise.all(isolates.gateways.map((gateway) => use(gateway, key)));
    assert.deepEqual(answers, Array(ISOLATES).fill("401 invalid_api_key"));
  });

  test("issued keys: a new key works on every isolate immediately", async () => {
    const { key } = await issue(isolates.at(0));
    const answers = await Promise.all(isolates.gateways.map((gateway) => use(gateway, key)));
    assert.deepEqual(answers, Array(ISOLATES).fill("200"));
  });
});

suite("issued keys on cold isolates", () => {
  /** @type {Isolates} */ let isolates;

  before(async () => {
    isolates = await Isolates.start(3, variables(upstream));
  });
  after(() => isolates?.stop());

  test("issued keys: forty concurrent calls with one key succeed on a cold isolate", async () => {
    const { key } = await issue(isolates.at(0));
    assert.deepEqual(await atOnce(40, () => use(isolates.at(1), key)), Array(40).fill("200"));
  });

  test("issued keys: forty concurrent calls with forty keys succeed on a cold isolate", async () => {
    const keys = [];
    for (let count = 0; count < 40; count += 1) keys.push((await issue(isolates.at(0))).key);
    const answers = await Promise.all(keys.map((key) => use(isolates.at(2), key)));
    assert.deepEqual(answers, Array(40).fill("200"));
  });

  test("issued keys: valid keys do not wait for the lookup of unknown ones", async () => {
    const { key } = await issue(isolates.at(0));
    const answers = await atOnce(40, (index) =>
      use(isolates.at(1), index % 2 === 0 ? key : unknownKey()),
    );
    const expected = answers.map((_, index) => (index % 2 === 0 ? "200" : "401 invalid_api_key"));
    assert.deepEqual(answers, expected);
  });
});

suite("unknown keys", () => {
  /** @type {Isolates} */ let isolates;

  before(async () => {
    const access = { failed_auth_per_minute: 1000 };
    isolates = await Isolates.start(3, variables(upstream, { access }));
  });
  after(() => isolates?.stop());

  test("unknown keys: a key is looked up once in ten seconds", async (t) => {
    const { name, key: other } = await issue(isolates.at(0));
    assert.equal(await use(isolates.at(0), other), "200");
    const key = unknownKey();
    const began = performance.now();
    assert.equal(await use(isolates.at(1), key), "401 invalid_api_key");
    // Directly in the database, so that no isolate is notified.
    await isolates.database
      .prepare(
        "INSERT INTO key_secrets (public_id, digest, key_id, created_ms) SELECT ?1, ?2, id, 0 FROM issued_keys WHERE name = ?3",
      )
      .bind(key.slice(0, 13), digest(key), name)
      .run();
    assert.equal(await use(isolates.at(2), key), "200", "an isolate that did not ask before");
    let known = 0;
    for (;;) {
      const asked = performance.now() - began;
      const status = await use(isolates.at(1), key);
      if (status === "200") {
        known = asked;
        break;
      }
      assert.equal(status, "401 invalid_api_key");
      assert.ok(asked <= BOUND_MS + GRANULARITY_MS, "asking does not prolong it");
      await sleep(100);
    }
    t.diagnostic(`asked for again after ${Math.round(known)} ms`);
    assert.ok(known >= BOUND_MS - GRANULARITY_MS, `asked for again after ${known} ms`);
  });

  test("unknown keys: a wrong secret of a known id is rejected and does not evict the right one", async () => {
    const { key } = await issue(isolates.at(0));
    const gateway = isolates.at(1);
    // The same public id with another secret: well-formed, checksum and all.
    const bytes = randomBytes(31);
    const id = [...key.slice(3, 13)].reduce(
      (value, digit) =>
        value * 62n +
        BigInt("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz".indexOf(digit)),
      0n,
    );
    for (let place = 0; place < 7; place += 1) {
      bytes[place] = Number((id >> BigInt(8 * (6 - place))) & 255n);
    }
    const forged = mint(bytes).key;
    assert.equal(forged.slice(0, 13), key.slice(0, 13));
    assert.equal(await use(gateway, forged), "401 invalid_api_key", "before the key was used");
    assert.equal(await use(gateway, key), "200");
    assert.equal(await use(gateway, forged), "401 invalid_api_key");
    await isolates.execute(BREAK);
    try {
      assert.equal(await use(gateway, forged), "401 invalid_api_key", "asks nothing");
      assert.equal(await use(gateway, key), "200");
    } finally {
      await isolates.execute(REPAIR);
    }
  });

  test("unknown keys: malformed keys cause no database query", async () => {
    const gateway = isolates.at(0);
    const good = unknownKey();
    const last = good.at(-1) === "0" ? "1" : "0";
    await isolates.execute(BREAK);
    try {
      for (const garbage of [
        good.slice(0, -1) + last,
        `gw_${"0".repeat(49)}`,
        `gw_${"z".repeat(49)}`,
        good.slice(0, -1),
        `${good}0`,
        `GW_${good.slice(3)}`,
        "gw_",
        "garbage",
        "x".repeat(8000),
      ]) {
        assert.equal(await use(gateway, garbage), "401 invalid_api_key", garbage.slice(0, 60));
      }
      assert.equal(await use(gateway, good), "503 storage_unavailable", "this one asks");
    } finally {
      await isolates.execute(REPAIR);
    }
    assert.equal(await use(gateway, good), "401 invalid_api_key", "a failure is not remembered");
  });

  test("unknown keys: five thousand of them neither fill memory nor evict a valid key", async (t) => {
    const gateway = isolates.at(0);
    const { key } = await issue(gateway);
    const memory = async () => Number(await (await fetch(`${gateway.url}/__memory`)).text());
    /** @param {number} count */
    const flood = async (count) => {
      const clients = Array.from({ length: 25 }, newClient);
      await Promise.all(
        clients.map(async (client) => {
          for (let sent = 0; sent < count / clients.length; sent += 1) {
            assert.equal(await use(gateway, unknownKey(), client), "401 invalid_api_key");
          }
        }),
      );
    };
    const sizes = [];
    for (let round = 0; round < 5; round += 1) {
      assert.equal(await use(gateway, key), "200");
      await flood(1000);
      sizes.push(await memory());
    }
    t.diagnostic(`memory after each thousand: ${sizes.join(", ")}`);
    const growth = /** @type {number} */ (sizes.at(-1)) - /** @type {number} */ (sizes[1]);
    assert.ok(growth <= 500_000, `memory after each thousand: ${sizes.join(", ")}`);
    assert.equal(await use(gateway, key), "200");
    await sleep(200);
    await flood(200);
    await isolates.execute(BREAK);
    try {
      assert.equal(await use(gateway, key), "200", "remembered, since the database cannot tell");
    } finally {
      await isolates.execute(REPAIR);
    }
  });
});

suite("the cost of unknown keys", () => {
  /** @type {Isolates} */ let isolates;

  before(async () => {
    isolates = await Isolates.start(1, variables(upstream), {}, [
      "queries/entry.mjs",
      "memory/capture.mjs",
    ]);
  });
  after(() => isolates?.stop());

  const queries = async () => Number(await (await fetch(`${isolates.at(0).url}/__queries`)).text());

  for (const [path, method] of [
    ["/v1/models", "GET"],
    ["/v1/chat/completions", "POST"],
    ["/usage", "GET"],
    ["/v0/api_keys", "GET"],
  ]) {
    test(`unknown keys: three hundred of them at ${path} cause a bounded number of queries, and valid keys work`, async (t) => {
      const client = newClient();
      const { key } = await issue(isolates.at(0));
      await sleep(2_100);
      const before = await queries();
      const began = performance.now();
      const send = async (
        /** @type {string} */ sent,
        /** @type {string} */ to,
        /** @type {string} */ verb,
      ) => {
        const headers = { authorization: `Bearer ${sent}`, "cf-connecting-ip": client };
        const response = await call(`${isolates.at(0).url}${to}`, { method: verb, headers });
        await response.arrayBuffer();
        return response.status;
      };
      const statuses = new Set();
      for (let round = 0; round < 15; round += 1) {
        const answers = await atOnce(20, () => send(unknownKey(), path, method));
        for (const status of answers) statuses.add(status);
      }
      assert.ok(statuses.has(429), `${[...statuses]}`);
      assert.equal(await use(isolates.at(0), key, client), "200");
      const made = (await queries()) - before;
      const seconds = (performance.now() - began) / 1000;
      t.diagnostic(`${made} queries in ${seconds.toFixed(1)} s`);
      // 100 look-ups, and one query for the public ids in two seconds; many that start at once may each make the first.
      assert.ok(made <= 100 + 20 + 20 * (1 + seconds / 2), `${made} queries in ${seconds} s`);
    });
  }
});

suite("issued keys on one gateway", () => {
  /** @type {Gateway} */ let gateway;
  const ringKey = mint(Buffer.alloc(31, 8)).key;

  before(async () => {
    const settings = variables(upstream, { access: { failed_auth_per_minute: 5 } });
    const ring = `${settings.GATEWAY_API_KEY_HASHES},minted:${digest(ringKey)}`;
    gateway = await Gateway.start({ ...settings, GATEWAY_API_KEY_HASHES: ring });
  });
  after(() => gateway?.stop());

  test("issued keys: without the database a known key works for ten seconds, then returns 503", async (t) => {
    const { key } = await issue(gateway);
    const { key: cold } = await issue(gateway);
    assert.equal(await use(gateway, key), "200");
    const began = performance.now();
    gateway.execute(BREAK);
    try {
      assert.equal(await use(gateway, cold), "503 storage_unavailable");
      let last = 0;
      for (;;) {
        const asked = performance.now() - began;
        const status = await use(gateway, key);
        if (status !== "200") {
          assert.equal(status, "503 storage_unavailable");
          break;
        }
        last = asked;
        assert.ok(asked <= BOUND_MS + GRANULARITY_MS, `known after ${asked} ms`);
        await sleep(100);
      }
      t.diagnostic(`known until ${Math.round(last)} ms after the database went`);
      assert.ok(last >= BOUND_MS - 2 * GRANULARITY_MS, `known until ${last} ms`);
      for (let tries = 0; tries < 5; tries += 1) {
        const response = await chat(gateway, {}, { authorization: `Bearer ${key}` });
        assert.deepEqual([response.status, response.headers.get("retry-after")], [503, "5"]);
        assert.equal((await response.json()).error.code, "storage_unavailable");
        await sleep(100);
      }
      assert.equal(await use(gateway, KEY), "200", "the ring needs no database");
      assert.equal(await use(gateway, ringKey), "200");
    } finally {
      gateway.execute(REPAIR);
    }
    assert.deepEqual([await use(gateway, key), await use(gateway, cold)], ["200", "200"]);
  });

  test("issued keys: revoking a key does not cut a response that has started", async () => {
    const { key, name } = await issue(gateway);
    const response = await chat(
      gateway,
      { stream: true, simulate: { events: 20, frame_delay_ms: 50 } },
      { authorization: `Bearer ${key}` },
    );
    assert.equal(response.status, 200);
    assert.equal((await operate(gateway, "DELETE", `/v0/api_keys/${name}`)).status, 200);
    assert.equal(await use(gateway, key), "401 invalid_api_key");
    assert.equal(events(await response.text()).at(-1), "[DONE]");
  });

  test("failed authentication: a client over the limit gets 429, other clients are unaffected", async () => {
    const client = newClient();
    const { key } = await issue(gateway);
    const { key: cold } = await issue(gateway);
    // A blocked client may be refused a key that is younger than the list of public ids (PUBLIC_IDS_MS).
    await sleep(2_000);
    assert.equal(await use(gateway, key, client), "200");
    for (let failures = 0; failures < 5; failures += 1) {
      const wrong = failures % 2 === 0 ? `guess ${failures}` : unknownKey();
      assert.equal(await use(gateway, wrong, client), "401 invalid_api_key");
    }
    const sixth = await chat(
      gateway,
      {},
      { authorization: "Bearer guess", "cf-connecting-ip": client },
    );
    assert.equal(sixth.status, 429);
    const wait = Number(sixth.headers.get("retry-after"));
    assert.ok(wait > 0 && wait <= 60, `${wait}`);
    assert.equal((await sixth.json()).error.code, "rate_limit_exceeded");

    const refused = "429 rate_limit_exceeded";
    for (const [sent, expected] of /** @type {[string, string][]} */ ([
      ["guess", refused],
      [unknownKey(), refused],
      // It could be guessed, so it is not compared.
      [KEY, refused],
      // Not cached, so it has to be looked up: it is among those that exist.
      [cold, "200"],
      [key, "200"],
      [ringKey, "200"],
      [OPERATOR_KEY, refused],
    ])) {
      assert.equal(await use(gateway, sent, client), expected, sent.slice(0, 13));
    }
    assert.equal(await use(gateway, KEY, client.replace(/::1$/, "::2")), refused, "the same /64");
    for (const [sent, expected] of /** @type {[string, string][]} */ ([
      ["guess", "401 invalid_api_key"],
      [KEY, "200"],
      [cold, "200"],
    ])) {
      assert.equal(await use(gateway, sent), expected, "another client");
    }
  });

  test("failed authentication: failures on all routes count together, and the 429 uses the envelope of the route", async () => {
    const client = newClient();
    const headers = { authorization: "Bearer wrong", "cf-connecting-ip": client };
    for (const path of ["/v0/api_keys", "/api/portal/requests", "/v0/audit", "/v0/api_keys/x"]) {
      const other = { ...headers, authorization: `Bearer wrong at ${path}` };
      assert.equal((await operate(gateway, "GET", path, undefined, other)).status, 401, path);
    }
    assert.equal(await use(gateway, "wrong too", client), "401 invalid_api_key");
    const keys = await operate(gateway, "GET", "/v0/api_keys", undefined, headers);
    assert.deepEqual([keys.status, (await keys.json()).error_code], [429, "RateLimitExceeded"]);
    assert.ok(Number(keys.headers.get("retry-after")) > 0);
    const portal = await operate(gateway, "GET", "/api/portal/requests", undefined, headers);
    assert.deepEqual([portal.status, (await portal.json()).Status], [429, "Error"]);
    const operator = { "cf-connecting-ip": client };
    const allowed = await operate(gateway, "GET", "/v0/api_keys", undefined, operator);
    assert.equal(allowed.status, 200, "an operator behind the same address");
    const none = { authorization: "", "cf-connecting-ip": client };
    assert.equal((await chat(gateway, {}, none)).status, 401, "no key is no guess");
  });

  test("failed authentication: twenty concurrent guesses do not exceed the limit", async () => {
    const client = newClient();
    const answers = await atOnce(20, (index) => use(gateway, `guess ${index}`, client));
    assert.equal(answers.filter((answer) => answer === "401 invalid_api_key").length, 5);
    assert.equal(answers.filter((answer) => answer === "429 rate_limit_exceeded").length, 15);
  });

  test("failed authentication: a program that keeps using a revoked key counts once and shuts nobody out", async () => {
    const client = newClient();
    const { key } = await issue(gateway);
    const { name, key: revoked } = await issue(gateway);
    assert.equal((await operate(gateway, "DELETE", `/v0/api_keys/${name}`)).status, 200);
    for (let tries = 0; tries < 30; tries += 1) {
      assert.equal(await use(gateway, revoked, client), "401 invalid_api_key");
    }
    for (const sent of [key, KEY, ringKey]) assert.equal(await use(gateway, sent, client), "200");
  });

  test("failed authentication: unknown keys at the list of models count, and a valid key is never refused there", async () => {
    const client = newClient();
    const models = async (/** @type {string} */ key) => {
      const headers = { authorization: `Bearer ${key}`, "cf-connecting-ip": client };
      return (await call(`${gateway.url}/v1/models`, { headers })).status;
    };
    for (let failures = 0; failures < 5; failures += 1)
      assert.equal(await models(unknownKey()), 200);
    assert.equal(await models(unknownKey()), 429);
    const { key } = await issue(gateway);
    // A key that is younger than the list of those that exist may be refused for two seconds.
    await sleep(2_100);
    for (const sent of [key, ringKey, OPERATOR_KEY, "no key at all"])
      assert.equal(await models(sent), 200, sent.slice(0, 13));
  });

  test("failed authentication: disabled keys and missing permissions do not count", async () => {
    const client = newClient();
    const { name, key } = await issue(gateway);
    const change = { disabled: true };
    assert.equal((await operate(gateway, "PATCH", `/v0/api_keys/${name}`, change)).status, 200);
    for (let tries = 0; tries < 8; tries += 1) {
      assert.equal(await use(gateway, key, client), "401 api_key_disabled");
      assert.equal(await use(gateway, OPERATOR_KEY, client), "403 permission_denied");
    }
    assert.equal(await use(gateway, KEY, client), "200");
  });
});
