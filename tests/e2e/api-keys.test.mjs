// @ts-check
//! `/v0/api_keys` and `/v0/audit`: operators create, change, rotate and revoke keys, and every action is recorded
//! (docs/compatibility.md).

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { rm } from "node:fs/promises";
import { after, before, suite, test } from "node:test";
import { mint } from "../../scripts/lib/gateway-key.mjs";
import {
  KEY,
  OPERATOR_KEY,
  OPERATOR_LABEL,
  Gateway,
  Upstream,
  atOnce,
  call,
  chat,
  contents,
  eventually,
  freshState,
  minuteWith,
  newClient,
  operate,
  redeem,
  variables,
} from "./harness.mjs";

const KEYS = "/v0/api_keys";
const API_KEY = /^gw_[0-9A-Za-z]{49}$/;
const UUID_V7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const DUPLICATE = {
  message: "An entity with this name already exists",
  error_code: "DuplicateName",
  details: null,
};
const PATTERN = {
  pattern: "^[a-zA-Z0-9_-]+$",
  pattern_description:
    "lowercase (a-z), uppercase (A-Z), number (0-9), underscore (_) or hyphen (-) characters",
};
const UNAUTHORIZED = {
  message: "Unauthorized API key",
  error_code: "AuthenticationFailed",
  details: null,
};
/** Every operation. */
const OPERATIONS = /** @type {[string, string][]} */ ([
  ["GET", KEYS],
  ["POST", KEYS],
  ["GET", `${KEYS}/x`],
  ["PATCH", `${KEYS}/x`],
  ["DELETE", `${KEYS}/x`],
  ["POST", `${KEYS}/x/rotate`],
  ["GET", "/v0/audit"],
  ["GET", "/v0/audit/verify"],
]);
const POLICIES = {
  limited: { limits: { requests_per_minute: 2 } },
  nowhere: { endpoints: [] },
  demo: { models: ["demo/*"] },
  brief: { expires_days: 1 },
  doomed: {},
};

/** @type {Upstream} */ let upstream;
/** @type {Gateway} */ let gateway;
/** @type {string} */ let state;

/** @param {object} policies */
const configured = (policies) =>
  variables(upstream, {
    policies,
    providers: {
      demo: { base_url: `${upstream.url}/v1`, models: ["sim-small"] },
      other: { base_url: `${upstream.url}/v1`, auth: "none", models: ["big"] },
    },
  });

before(async () => {
  [upstream, state] = await Promise.all([Upstream.start(), freshState()]);
  gateway = await Gateway.start(configured(POLICIES), [], state);
});
after(async () => {
  await Promise.all([gateway?.stop(), upstream?.stop()]);
  await rm(state, { recursive: true, force: true });
});

/**
 * @param {string} method
 * @param {string} path behind /v0/api_keys
 * @param {object | string} [body]
 * @param {Record<string, string>} [headers]
 */
const keys = (method, path, body, headers) =>
  operate(gateway, method, `${KEYS}${path}`, body, headers);

let made = 0;

/**
 * Creates a key.
 *
 * @param {object} [settings]
 * @param {string} [name]
 * @returns {Promise<{ id: string, name: string, api_key: string }>}
 */
async function create(settings = {}, name = `key-${(made += 1)}`) {
  const response = await keys("POST", "", { name, ...settings });
  assert.equal(response.status, 201, await response.clone().text());
  return response.json();
}

/** @param {string} name */
async function read(name) {
  const response = await keys("GET", `/${name}`);
  assert.equal(response.status, 200);
  const list = await response.json();
  assert.equal(list.length, 1);
  return list[0];
}

/**
 * Asserts that a response is an error in the envelope of this API.
 *
 * @param {Response} response
 * @param {number} status
 * @param {string} code
 */
async function refused(response, status, code) {
  const body = await response.json();
  assert.deepEqual([response.status, body.error_code], [status, code], JSON.stringify(body));
  assert.deepEqual(Object.keys(body).sort(), ["details", "error_code", "message"]);
  assert.match(response.headers.get("content-type") ?? "", /^application\/json/);
  return body;
}

/**
 * Sends a call with a key; returns the status, and the code of an error.
 *
 * @param {string} key
 * @param {object} [body]
 * @param {Record<string, string>} [headers]
 */
async function use(key, body = {}, headers = {}) {
  const response = await chat(gateway, body, {
    authorization: `Bearer ${key}`,
    "cf-connecting-ip": newClient(),
    ...headers,
  });
  const { error } = await response.json();
  return error ? `${response.status} ${error.code}` : `${response.status}`;
}

const verify = async () => (await operate(gateway, "GET", "/v0/audit/verify")).json();

suite("key API, creating", () => {
  test("key API: a gateway without issued keys lists an empty array", async () => {
    const response = await keys("GET", "");
    assert.deepEqual([response.status, await response.json()], [200, []]);
    assert.equal(response.headers.get("cache-control"), "no-cache");
  });

  test("key API: a created key is returned once, listed and accepted", async () => {
    const response = await keys("POST", "", { name: "my-api-key" });
    assert.equal(response.status, 201);
    assert.equal(response.headers.get("cache-control"), "no-cache");
    const body = await response.json();
    assert.deepEqual(Object.keys(body).sort(), ["api_key", "id", "name"]);
    assert.equal(body.name, "my-api-key");
    assert.match(body.id, UUID_V7);
    assert.match(body.api_key, API_KEY);
    assert.equal(await use(body.api_key), "200");
    const one = await keys("GET", "/my-api-key");
    assert.equal(one.headers.get("cache-control"), "no-cache");
    const shown = await one.json();
    assert.deepEqual(shown, await (await keys("GET", "/")).json());
    const { created_at: createdAt, secrets } = shown[0];
    assert.ok(Math.abs(Date.parse(createdAt) - Date.now()) < 10_000);
    assert.deepEqual(shown, [
      {
        id: body.id,
        name: "my-api-key",
        scopes: ["Read", "Write"],
        role: "read",
        state: "active",
        policies: [],
        models: null,
        endpoints: null,
        limits: {},
        metadata: {},
        created_at: createdAt,
        created_by: OPERATOR_LABEL,
        expires_at: null,
        request_id: null,
        email: null,
        secrets: [
          {
            public_id: body.api_key.slice(0, 13),
            created_at: secrets[0].created_at,
            expires_at: null,
          },
        ],
      },
    ]);
  });

  test("key API: a duplicate name returns 409", async () => {
    await refused(await keys("POST", "", { name: "my-api-key" }), 409, "DuplicateName");
    const response = await keys("POST", "", { name: "my-api-key", metadata: { other: "body" } });
    assert.deepEqual(await response.json(), DUPLICATE);
  });

  test("key API: of fifty concurrent creations with one name one succeeds", async () => {
    const answers = await atOnce(50, () => keys("POST", "", { name: "contested" }));
    const won = answers.filter(({ status }) => status === 201);
    assert.equal(won.length, 1);
    for (const lost of answers.filter(({ status }) => status !== 201)) {
      assert.deepEqual([lost.status, await lost.json()], [409, DUPLICATE]);
    }
    const { id, api_key: key } = await won[0]?.json();
    assert.equal(gateway.count("issued_keys WHERE name = 'contested'"), 1);
    assert.equal(gateway.count("key_secrets WHERE key_id = ?", id), 1);
    assert.equal(
      gateway.count("audit_log WHERE json_extract(entry, '$.subject') = 'contested'"),
      1,
    );
    assert.equal(await use(key), "200");
    assert.equal((await verify()).intact, true);
  });

  test("key API: thirty concurrent creations with different names all succeed", async () => {
    const answers = await atOnce(30, (index) => keys("POST", "", { name: `crowd-${index}` }));
    for (const answer of answers) {
      assert.equal(answer.status, 201);
      assert.equal(await use((await answer.json()).api_key), "200");
    }
    assert.equal((await verify()).intact, true);
  });

  test("key API: a missing name, or one that is not a string, returns 400", async () => {
    for (const [body, code] of /** @type {[any, string][]} */ ([
      [{}, "MissingMember"],
      [{ name: null }, "MissingMember"],
      [{ name: 1 }, "InvalidType"],
      [{ name: ["a"] }, "InvalidType"],
      ["", "InvalidJson"],
      ["name=a", "InvalidJson"],
      ["[]", "InvalidJson"],
      ['{"name":"a"', "InvalidJson"],
      ['{"name":"a","name":"b"}', "DuplicateMember"],
      [{ name: "a", role: "auditor" }, "InvalidValue"],
      [{ name: "a", expires: "2030-01-01T00:00:00Z" }, "UnknownMember"],
    ])) {
      await refused(await keys("POST", "", body), 400, code);
    }
    const headers = { "content-type": "application/x-www-form-urlencoded" };
    const form = await keys("POST", "", '{"name":"a"}', headers);
    await refused(form, 400, "UnsupportedContentType");
    assert.equal((await keys("GET", "/a")).status, 404);
  });

  test("key API: names have 1 to 100 letters, digits, '_' and '-'", async () => {
    assert.equal(
      (await refused(await keys("POST", "", { name: "" }), 400, "EmptyName")).details,
      null,
    );
    for (const name of ["-", "_", "_a-", "0", "x".repeat(100)]) {
      assert.equal((await create({}, name)).name, name);
      assert.equal((await read(name)).name, name);
    }
    for (const [name, length] of /** @type {[string, number][]} */ ([
      ["x".repeat(101), 101],
      ["é".repeat(51), 102],
      ["a b".repeat(40), 120],
    ])) {
      const { details } = await refused(await keys("POST", "", { name }), 400, "TooLongName");
      assert.deepEqual(details, { name, length, maximum: 100 });
    }
    for (const name of ["a b", "a.b", "é", "a/b", " a", "a\n", "\u0000", "ａ"]) {
      const answer = await keys("POST", "", { name });
      const { details } = await refused(answer, 400, "NameDoesNotMatchPattern");
      assert.deepEqual(details, { name, ...PATTERN });
    }
  });

  test("key API: names are case-sensitive", async () => {
    const [upper, lower] = [await create({}, "Case"), await create({}, "case")];
    assert.notEqual(upper.id, lower.id);
    assert.equal((await read("Case")).id, upper.id);
    assert.equal((await keys("DELETE", "/Case")).status, 200);
    assert.equal((await read("case")).id, lower.id);
    assert.deepEqual(
      [await use(upper.api_key), await use(lower.api_key)],
      ["401 invalid_api_key", "200"],
    );
  });

  test("key API: policies, models, endpoints, metadata and expiry of a new key are validated", async () => {
    const expires = new Date(Date.now() + 3_600_000);
    const settings = {
      policies: ["limited", "demo"],
      models: ["demo/sim-small", "auto", "demo/*"],
      endpoints: ["/v1/chat/completions"],
      metadata: { team: "red", "": "" },
      expires_at: expires.toISOString(),
    };
    const refusal = await keys("POST", "", { name: "rich", ...settings });
    await refused(refusal, 400, "InvalidValue");
    const metadata = { team: "red", note: "x".repeat(512) };
    await create({ ...settings, metadata }, "rich");
    const shown = await read("rich");
    assert.equal(Date.parse(shown.expires_at), expires.getTime());
    assert.deepEqual({ ...shown, ...settings, metadata, expires_at: shown.expires_at }, shown);
    for (const [more, code] of /** @type {[object, string][]} */ ([
      [{ policies: ["limited", "ghost"] }, "UnknownPolicy"],
      [{ policies: "limited" }, "InvalidType"],
      [{ models: ["sim-small"] }, "InvalidValue"],
      [{ models: ["nowhere/x"] }, "InvalidValue"],
      [{ models: ["demo/"] }, "InvalidValue"],
      [{ models: ["*"] }, "InvalidValue"],
      [{ models: [""] }, "InvalidValue"],
      [{ models: Array(101).fill("demo/x") }, "InvalidValue"],
      [{ models: "demo/*" }, "InvalidType"],
      [{ endpoints: ["/v1/models"] }, "InvalidValue"],
      [{ endpoints: ["v1/chat/completions"] }, "InvalidValue"],
      [{ metadata: { n: 1 } }, "InvalidType"],
      [{ metadata: { n: "x".repeat(513) } }, "InvalidValue"],
      [{ metadata: { ["n".repeat(65)]: "" } }, "InvalidValue"],
      [
        { metadata: Object.fromEntries(Array.from({ length: 17 }, (_, n) => [`${n}`, ""])) },
        "InvalidValue",
      ],
      [{ expires_at: "2015-05-08T04:49:20Z" }, "InvalidValue"],
      [{ expires_at: "tomorrow" }, "InvalidValue"],
      [{ expires_at: 5 }, "InvalidType"],
      [{ delivery: "email" }, "InvalidValue"],
    ])) {
      await refused(await keys("POST", "", { name: "refused", ...more }), 400, code);
      await refused(
        await keys("PATCH", "/rich", more),
        400,
        "delivery" in more ? "UnknownMember" : code,
      );
    }
    assert.deepEqual(await read("rich"), shown);
    await refused(await keys("GET", "/refused"), 404, "UnknownApiKey");
  });

  test("key API: a policy's lifetime limits the expiry of its keys", async () => {
    const day = 24 * 3600 * 1000;
    for (const [said, expected] of /** @type {[number | undefined, number][]} */ ([
      [undefined, day],
      [5 * day, day],
      [60_000, 60_000],
    ])) {
      const expires_at = said === undefined ? undefined : new Date(Date.now() + said).toISOString();
      const { name } = await create({ policies: ["brief"], expires_at });
      const left = Date.parse((await read(name)).expires_at) - Date.now();
      assert.ok(Math.abs(left - expected) < 10_000, `${left}`);
    }
  });

  test("key API: a key delivered by claim link has no secret until the link is opened", async () => {
    const response = await keys("POST", "", { name: "claimed", delivery: "claim" });
    assert.equal(response.status, 201);
    const body = await response.json();
    assert.deepEqual(Object.keys(body).sort(), ["claim_expires_at", "claim_url", "id", "name"]);
    assert.ok(body.claim_url.startsWith(`${gateway.url}/access/claim#clm_`));
    assert.deepEqual((await read("claimed")).secrets, []);
    const claimed = await redeem(body.claim_url);
    assert.equal(await use((await claimed.json()).api_key), "200");
    assert.equal((await read("claimed")).secrets.length, 1);
  });

  test("key API: a body that is too large returns 413", async () => {
    for (const bytes of [70_000, 1_000_000]) {
      const answer = await keys("POST", "", { name: "x".repeat(bytes) });
      await refused(answer, 413, "BodyTooLarge");
    }
  });
});

suite("key API, finding and revoking", () => {
  test("key API: an unknown name returns 404 with every method", async () => {
    for (const name of ["x", "y".repeat(100), "rotate", "NULL"]) {
      for (const [method, path] of /** @type {[string, string][]} */ ([
        ["GET", `/${name}`],
        ["PATCH", `/${name}`],
        ["DELETE", `/${name}`],
        ["POST", `/${name}/rotate`],
      ])) {
        const answer = await keys(method, path, method === "PATCH" ? {} : undefined);
        assert.deepEqual(await refused(answer, 404, "UnknownApiKey"), {
          message: `Unknown API key '${name}'`,
          error_code: "UnknownApiKey",
          details: { name },
        });
      }
    }
  });

  test("key API: names in the path are percent-decoded", async () => {
    const { id } = await create({}, "a-b_c");
    for (const path of ["/a-b_c", "/a%2Db%5Fc", "/%61%2d%62%5f%63", "/a-b_c/"]) {
      const [found] = await (await keys("GET", path)).json();
      assert.equal(found?.id, id, path);
    }
    for (const [path, name] of /** @type {[string, string][]} */ ([
      ["/a%20b", "a b"],
      ["/a%2Fb", "a/b"],
      ["/%C3%A9", "é"],
      ["/%zz", "%zz"],
      ["/%C3", "%C3"],
      ["/a+b", "a+b"],
      ["/%2561", "%61"],
      ["/'%20OR%201=1--", "' OR 1=1--"],
      [`/${"z".repeat(150)}`, "z".repeat(150)],
    ])) {
      const { details } = await refused(await keys("GET", path), 404, "UnknownApiKey");
      assert.deepEqual(details, { name });
    }
    assert.equal((await keys("PATCH", "/a%2Db_c", { disabled: true })).status, 200);
    assert.equal((await keys("POST", "/a%2Db_c/rotate", {})).status, 200);
    assert.equal((await keys("DELETE", "/a%2Db_c")).status, 200);
  });

  test("key API: a revoked key is rejected immediately and its name is free again", async () => {
    const first = await create({}, "phoenix");
    assert.equal(await use(first.api_key), "200");
    const revoked = await keys("DELETE", "/phoenix");
    assert.deepEqual([revoked.status, await revoked.text()], [200, ""]);
    assert.equal(await use(first.api_key), "401 invalid_api_key");
    await refused(await keys("DELETE", "/phoenix"), 404, "UnknownApiKey");
    await refused(await keys("GET", "/phoenix"), 404, "UnknownApiKey");
    const list = await (await keys("GET", "")).json();
    assert.ok(!list.some((/** @type {any} */ key) => key.name === "phoenix"));
    const second = await create({}, "phoenix");
    assert.notEqual(second.id, first.id);
    assert.deepEqual(
      [await use(first.api_key), await use(second.api_key)],
      ["401 invalid_api_key", "200"],
    );
    assert.equal((await keys("DELETE", "/phoenix")).status, 200);
    assert.equal(await use(second.api_key), "401 invalid_api_key");
  });

  test("key API: of twenty concurrent revocations one succeeds", async () => {
    const { name } = await create();
    const answers = await atOnce(20, () => keys("DELETE", `/${name}`));
    assert.deepEqual(answers.map(({ status }) => status).sort(), [200, ...Array(19).fill(404)]);
    const noted = "audit_log WHERE json_extract(entry, '$.action') = 'key.revoked'";
    assert.equal(gateway.count(`${noted} AND json_extract(entry, '$.subject') = ?`, name), 1);
  });

  test("key API: keys are listed in order of their names", async () => {
    const names = (await (await keys("GET", "")).json()).map((/** @type {any} */ key) => key.name);
    assert.ok(names.length > 40);
    assert.deepEqual(names, [...names].sort());
  });

  test("key API: pages list every key once, with the number of all, and lead to the next page", async () => {
    const whole = await keys("GET", "");
    assert.equal(whole.headers.get("link"), null);
    const all = await whole.json();
    assert.equal(whole.headers.get("x-total-count"), String(all.length));
    const paged = [];
    for (let path = "?limit=17&state=active"; path !== "";) {
      const response = await keys("GET", path);
      const page = await response.json();
      paged.push(...page);
      const next = /^<\/v0\/api_keys(.*)>; rel="next"$/.exec(response.headers.get("link") ?? "");
      assert.equal(page.length, next ? 17 : ((paged.length - 1) % 17) + 1);
      path = next?.[1] ?? "";
    }
    const active = all.filter((/** @type {any} */ { state }) => state === "active");
    assert.ok(active.length > 34);
    assert.deepEqual(paged, active);
    assert.deepEqual(await (await keys("GET", `?after=${all.at(-1).name}`)).json(), []);
    const exact = await keys("GET", `?limit=${all.length}`);
    assert.deepEqual([await exact.json(), exact.headers.get("link")], [all, null]);
  });

  test("key API: a list is searched by name, id, metadata and secret, and filtered by policy and state", async () => {
    const settings = { policies: ["brief"], metadata: { team: "Größe 100% 'blue'" } };
    const { name, id, api_key } = await create(settings, "Searched-for");
    const found = async (/** @type {Record<string, string>} */ query) => {
      const response = await keys("GET", `?${new URLSearchParams(query)}`);
      assert.equal(response.status, 200);
      return (await response.json()).map((/** @type {any} */ key) => key.name);
    };
    for (const q of ["searched-FOR", id, api_key.slice(0, 13), "größe", "100% 'BLUE'"])
      assert.deepEqual(await found({ q }), [name], q);
    assert.deepEqual(await found({ q: "brief" }), [], "policies have a filter of their own");
    assert.ok((await found({ policy: "brief" })).includes(name));
    assert.deepEqual(await found({ policy: "brie" }), []);
    assert.deepEqual(await found({ q: "100_" }), [], "the text is no pattern");
    assert.ok((await found({ q: "" })).length > 40);
    assert.deepEqual(await found({ q: name, state: "disabled" }), []);
    assert.equal((await keys("PATCH", `/${name}`, { disabled: true })).status, 200);
    assert.deepEqual(await found({ q: name, state: "disabled" }), [name]);
    assert.equal((await keys("PATCH", `/${name}`, { disabled: false })).status, 200);
    const soon = new Date(Date.now() + 1000).toISOString();
    assert.equal((await keys("PATCH", `/${name}`, { expires_at: soon })).status, 200);
    await eventually(async () => (await found({ q: name, state: "expired" })).includes(name));
    assert.deepEqual(await found({ q: name, state: "active" }), []);
    for (const query of ["?limit=0", "?limit=1001", "?state=gone", `?q=${"a".repeat(301)}`])
      await refused(await keys("GET", query), 400, "InvalidValue");
    assert.equal((await keys("DELETE", `/${name}`)).status, 200);
  });
});

suite("key API, changing", () => {
  test("key API: PATCH changes the named fields, resets those that are null and keeps the rest", async () => {
    const settings = {
      policies: ["demo"],
      models: ["demo/*"],
      endpoints: ["/v1/chat/completions"],
      metadata: { team: "red" },
      expires_at: "2100-01-01T00:00:00Z",
    };
    const { name } = await create(settings);
    const before = await read(name);
    for (const [change, expected] of /** @type {[object, object][]} */ ([
      [{}, {}],
      [{ metadata: { team: "blue" } }, { metadata: { team: "blue" } }],
      [{ disabled: true }, { disabled: true }],
      [{ disabled: null }, {}],
      [
        { disabled: false, models: ["auto"] },
        { disabled: false, models: ["auto"] },
      ],
      [{ models: null }, { models: null }],
      [
        { endpoints: null, metadata: null },
        { endpoints: null, metadata: {} },
      ],
      [
        { expires_at: null, policies: null },
        { expires_at: null, policies: [] },
      ],
      [
        { models: [], endpoints: [] },
        { models: [], endpoints: [] },
      ],
    ])) {
      Object.assign(before, expected);
      if ("disabled" in before) before.state = before.disabled ? "disabled" : "active";
      const { disabled: _, ...shown } = before;
      const answer = await keys("PATCH", `/${name}`, change);
      assert.deepEqual([answer.status, await answer.json()], [200, shown], JSON.stringify(change));
      assert.deepEqual(await read(name), shown);
    }
  });

  test("key API: PATCH rejects unknown and read-only fields", async () => {
    const { name } = await create();
    const before = await read(name);
    for (const [change, code] of /** @type {[any, string][]} */ ([
      [{ name: "other" }, "UnknownMember"],
      [{ enabled: false }, "UnknownMember"],
      [{ disabled: "yes" }, "InvalidType"],
      [{ disabled: true, policies: ["ghost"] }, "UnknownPolicy"],
      ["", "InvalidJson"],
      ["{", "InvalidJson"],
      ["null", "InvalidJson"],
    ])) {
      await refused(await keys("PATCH", `/${name}`, change), 400, code);
    }
    assert.deepEqual(await read(name), before);
  });

  test("key API: disabling and enabling take effect immediately", async () => {
    const { name, api_key: key } = await create();
    for (let round = 0; round < 3; round += 1) {
      assert.equal(await use(key), "200");
      assert.equal((await keys("PATCH", `/${name}`, { disabled: true })).status, 200);
      assert.equal((await read(name)).state, "disabled");
      assert.equal(await use(key), "401 api_key_disabled");
      assert.equal((await keys("PATCH", `/${name}`, { disabled: false })).status, 200);
    }
    assert.equal(await use(key), "200");
  });

  test("key API: two concurrent changes of different fields both take effect", async () => {
    for (let round = 0; round < 15; round += 1) {
      const { name, api_key: key } = await create();
      const changes = [{ disabled: true }, { metadata: { team: "red" } }, { models: ["auto"] }];
      const answers = await Promise.all(changes.map((change) => keys("PATCH", `/${name}`, change)));
      for (const answer of answers) assert.equal(answer.status, 200);
      const { state: now, metadata, models } = await read(name);
      assert.deepEqual(
        { now, metadata, models },
        { now: "disabled", metadata: { team: "red" }, models: ["auto"] },
        "a change that was answered with 200 is lost",
      );
      assert.equal(await use(key, { model: "auto" }), "401 api_key_disabled");
    }
  });

  test("key API: a key expires at its time and works again when the expiry is removed", async () => {
    const expires_at = new Date(Date.now() + 2000).toISOString();
    const { name, api_key: key } = await create({ expires_at });
    assert.equal(await use(key), "200");
    await eventually(async () => (await use(key)) === "401 api_key_expired", 5000);
    assert.ok(Date.now() >= Date.parse(expires_at));
    assert.equal((await read(name)).state, "expired");
    assert.equal((await keys("PATCH", `/${name}`, { expires_at: null })).status, 200);
    assert.deepEqual([await use(key), (await read(name)).state], ["200", "active"]);
  });
});

suite("key API, rotating", () => {
  test("key rotation: both secrets work during the overlap, then only the new one", async () => {
    const { id, name, api_key: old } = await create();
    const response = await keys("POST", `/${name}/rotate`, { overlap_seconds: 2 });
    assert.equal(response.status, 200);
    assert.equal(response.headers.get("cache-control"), "no-cache");
    const body = await response.json();
    assert.deepEqual(Object.keys(body).sort(), ["api_key", "id", "name", "previous_expires_at"]);
    assert.deepEqual([body.id, body.name], [id, name]);
    assert.match(body.api_key, API_KEY);
    assert.deepEqual([await use(old), await use(body.api_key)], ["200", "200"]);
    const both = (await read(name)).secrets;
    assert.deepEqual(
      both.map((/** @type {any} */ secret) => [secret.public_id, secret.expires_at]),
      [
        [old.slice(0, 13), body.previous_expires_at],
        [body.api_key.slice(0, 13), null],
      ],
    );
    await eventually(async () => (await use(old)).startsWith("401"), 5000);
    assert.ok(Date.now() >= Date.parse(body.previous_expires_at));
    assert.equal(await use(body.api_key), "200");
    assert.equal((await read(name)).secrets.length, 1);
  });

  test("key rotation: without an overlap the old secret is rejected immediately", async () => {
    const { name, api_key: old } = await create();
    assert.equal(await use(old), "200");
    const answer = await keys("POST", `/${name}/rotate`, { overlap_seconds: 0 });
    const { api_key: key } = await answer.json();
    assert.deepEqual([await use(old), await use(key)], ["401 invalid_api_key", "200"]);
    assert.equal((await read(name)).secrets.length, 1);
  });

  test("key rotation: the overlap is one hour by default and 30 days at most", async () => {
    const { name } = await create();
    for (const [body, seconds] of /** @type {[any, number][]} */ ([
      [undefined, 3600],
      ["", 3600],
      [{}, 3600],
      [{ overlap_seconds: 2_592_000 }, 2_592_000],
    ])) {
      const answer = await keys("POST", `/${name}/rotate`, body);
      const left = Date.parse((await answer.json()).previous_expires_at) - Date.now();
      assert.ok(Math.abs(left - seconds * 1000) < 10_000, `${left}`);
    }
    // A running overlap is not extended: all four old secrets expire within the hour, except the last.
    const ends = (await read(name)).secrets
      .map((/** @type {any} */ secret) => secret.expires_at)
      .filter((/** @type {any} */ end) => end !== null)
      .map((/** @type {string} */ end) => Date.parse(end) - Date.now());
    assert.equal(ends.length, 4);
    assert.equal(ends.filter((/** @type {number} */ left) => left < 3_600_000).length, 3);
    for (const [body, code] of /** @type {[any, string][]} */ ([
      [{ overlap_seconds: 2_592_001 }, "InvalidValue"],
      [{ overlap_seconds: -1 }, "InvalidType"],
      [{ overlap_seconds: 1.5 }, "InvalidType"],
      [{ overlap_seconds: "1" }, "InvalidType"],
      [{ overlap: 1 }, "UnknownMember"],
      [{ delivery: "email" }, "InvalidValue"],
      ["{", "InvalidJson"],
    ])) {
      await refused(await keys("POST", `/${name}/rotate`, body), 400, code);
    }
    assert.equal((await read(name)).secrets.length, 5);
  });

  test("key rotation: ten concurrent rotations without overlap leave one secret", async () => {
    const { id, name, api_key: old } = await create();
    const answers = await atOnce(10, () => keys("POST", `/${name}/rotate`, { overlap_seconds: 0 }));
    const texts = [];
    for (const answer of answers) {
      assert.equal(answer.status, 200);
      texts.push((await answer.json()).api_key);
    }
    assert.equal(gateway.count("key_secrets WHERE key_id = ?", id), 1);
    const working = [];
    for (const text of texts) if ((await use(text)) === "200") working.push(text);
    assert.equal(working.length, 1);
    assert.equal(await use(old), "401 invalid_api_key");
    assert.equal((await verify()).intact, true);
  });

  test("key rotation: revoking a key ends all its secrets", async () => {
    const { name, api_key: old } = await create();
    const { api_key: key } = await (await keys("POST", `/${name}/rotate`)).json();
    assert.deepEqual([await use(old), await use(key)], ["200", "200"]);
    assert.equal((await keys("DELETE", `/${name}`)).status, 200);
    assert.deepEqual([await use(old), await use(key)], Array(2).fill("401 invalid_api_key"));
  });
});

suite("issued key permissions", () => {
  test("issued key permissions: models are allowed by provider, by id, by alias or not at all", async () => {
    for (const [models, expected] of /** @type {[string[] | null, Record<string, boolean>][]} */ ([
      [null, { "demo/sim-small": true, auto: true, "other/big": true }],
      [["demo/*"], { "demo/sim-small": true, "demo/any": true, auto: true, "other/big": false }],
      [["demo/sim-small"], { "demo/sim-small": true, auto: true, "demo/any": false, big: false }],
      [["auto"], { auto: true, "demo/sim-small": false, "sim-small": false, "other/big": false }],
      [["other/big", "auto"], { auto: true, big: true, "other/big": true, "demo/any": false }],
      [[], { "demo/sim-small": false, auto: false, "other/big": false }],
    ])) {
      const { api_key: key } = await create({ models });
      for (const [model, allowed] of Object.entries(expected)) {
        const status = allowed ? "200" : "403 model_not_allowed";
        assert.equal(await use(key, { model }), status, `${models}: ${model}`);
      }
    }
  });

  test("issued key permissions: a key's own model list narrows that of its policy", async () => {
    const { name, api_key: key } = await create({ policies: ["demo"] });
    assert.equal(await use(key, { model: "other/big" }), "403 model_not_allowed");
    assert.equal(await use(key), "200");
    await keys("PATCH", `/${name}`, { models: ["other/*"] });
    assert.equal(await use(key, { model: "other/big" }), "403 model_not_allowed");
    assert.equal(await use(key), "403 model_not_allowed");
    await keys("PATCH", `/${name}`, { policies: null });
    assert.equal(await use(key, { model: "other/big" }), "200");
  });

  test("issued key permissions: a rejected call is not sent to any provider", async () => {
    const { api_key: key } = await create({ models: [] });
    await upstream.forget();
    assert.equal(await use(key), "403 model_not_allowed");
    assert.deepEqual(await upstream.requests(), []);
  });

  test("issued key permissions: endpoints are restricted by policy and by key", async () => {
    const refusal = "403 endpoint_not_allowed";
    const { api_key: nowhere } = await create({ policies: ["nowhere"] });
    assert.equal(await use(nowhere), refusal);
    const { name, api_key: key } = await create({ endpoints: [] });
    assert.equal(await use(key), refusal);
    await keys("PATCH", `/${name}`, { endpoints: ["/v1/chat/completions"] });
    assert.equal(await use(key), "200");
    const { api_key: either } = await create({ policies: ["nowhere", "demo"] });
    assert.equal(await use(either), "200", "what one policy allows is allowed");
  });

  test("issued key permissions: the per-minute request limit is shared by all secrets of a key", async () => {
    const { name, api_key: key } = await create({ policies: ["limited"] });
    await minuteWith(20);
    assert.deepEqual([await use(key), await use(key)], ["200", "200"]);
    const third = await chat(gateway, {}, { authorization: `Bearer ${key}` });
    const { error } = await third.json();
    assert.deepEqual(
      [third.status, error.code, error.type],
      [429, "rate_limit_exceeded", "rate_limit_error"],
    );
    const wait = Number(third.headers.get("retry-after"));
    assert.ok(wait > 0 && wait <= 60, `${wait}`);
    assert.equal(third.headers.get("x-gateway-error-source"), "gateway");
    const { api_key: other } = await (await keys("POST", `/${name}/rotate`)).json();
    assert.equal(await use(other), "429 rate_limit_exceeded");
    await keys("PATCH", `/${name}`, { policies: [] });
    assert.equal(await use(key), "200");
  });

  test("issued key permissions: the per-minute request limit holds for forty concurrent calls", async () => {
    const { api_key: key } = await create({ policies: ["limited", "demo"] });
    await minuteWith(20);
    const answers = await atOnce(40, () => use(key));
    assert.equal(answers.filter((answer) => answer === "200").length, 2);
    assert.equal(answers.filter((answer) => answer === "429 rate_limit_exceeded").length, 38);
  });
});

suite("key API, authorization", () => {
  test("key API: a missing, malformed or unknown key returns 401", async () => {
    const unknown = mint(Buffer.alloc(31, 99)).key;
    for (const [method, path] of OPERATIONS) {
      for (const authorization of [
        undefined,
        "",
        "Bearer ",
        OPERATOR_KEY,
        `Basic ${OPERATOR_KEY}`,
        "Bearer wrong",
        `Bearer ${unknown}`,
        `Bearer ${OPERATOR_KEY.slice(0, -1)}x`,
        "Bearer apikey:0123456789",
      ]) {
        const headers = {
          "cf-connecting-ip": newClient(),
          ...(authorization === undefined ? {} : { authorization }),
        };
        const response = await call(`${gateway.url}${path}`, { method, headers });
        assert.deepEqual(
          [response.status, await response.json()],
          [401, UNAUTHORIZED],
          `${method} ${path} ${authorization}`,
        );
      }
      const headers = { "x-api-key": OPERATOR_KEY, "cf-connecting-ip": newClient() };
      assert.equal((await call(`${gateway.url}${path}`, { method, headers })).status, 401);
    }
  });

  test("key API: inference keys, from the ring or issued, return 403", async () => {
    const { api_key: issued } = await create();
    for (const [method, path] of OPERATIONS) {
      for (const key of [KEY, issued]) {
        const headers = { authorization: `Bearer ${key}` };
        const response = await call(`${gateway.url}${path}`, { method, headers });
        await refused(response, 403, "PermissionDenied");
      }
    }
  });

  test("key API: an operator key cannot run inference", async () => {
    for (const headers of /** @type {Record<string, string>[]} */ ([
      { authorization: `Bearer ${OPERATOR_KEY}` },
      { authorization: "", "x-api-key": OPERATOR_KEY },
    ])) {
      const response = await chat(gateway, {}, headers);
      const { error } = await response.json();
      assert.deepEqual(
        [response.status, error.code, error.type],
        [403, "permission_denied", "permission_error"],
      );
    }
  });
});

suite("key API, secrets", () => {
  test("key API: a key's text is in no later response, no log and no database file", async () => {
    const { id, name, api_key: first } = await create();
    const { api_key: second } = await (await keys("POST", `/${name}/rotate`)).json();
    assert.deepEqual([await use(first), await use(second)], ["200", "200"]);
    const answers = [];
    for (const path of [KEYS, `${KEYS}/${name}`, "/v0/audit?limit=1000", "/api/portal/requests"]) {
      answers.push(await (await operate(gateway, "GET", path)).text());
    }
    answers.push(await (await keys("PATCH", `/${name}`, {})).text(), gateway.log.join("\n"));
    const digests = gateway
      .withDatabase((database) =>
        database.prepare("SELECT digest FROM key_secrets WHERE key_id = ?").all(id),
      )
      .map((row) => row["digest"]);
    const sha256 = (/** @type {string} */ text) => createHash("sha256").update(text).digest("hex");
    assert.deepEqual(digests.sort(), [sha256(first), sha256(second)].sort());
    const files = await contents(state);
    // Not even a part of the secret.
    for (const key of [first, second]) {
      for (const part of [key, key.slice(13, 33), key.slice(-20)]) {
        assert.ok(!files.some((file) => file.includes(part)));
      }
    }
    const found = files.some((file) => file.includes(first.slice(0, 13)));
    assert.ok(found, "the public id is where it is looked for");
    for (const text of answers) {
      for (const part of [first.slice(13, 33), second.slice(13, 33), sha256(first)]) {
        assert.ok(!text.includes(part));
      }
    }
  });
});

suite("audit log", () => {
  /** @param {string} query */
  const audit = async (query) => {
    const response = await operate(gateway, "GET", `/v0/audit${query}`);
    assert.equal(response.status, 200);
    return response.json();
  };

  test("audit log: each entry names action, actor and subject, and contains no secret", async () => {
    const before = (await verify()).entries;
    const { id, name, api_key: key } = await create();
    await keys("PATCH", `/${name}`, { disabled: true });
    await keys("POST", `/${name}/rotate`);
    await keys("DELETE", `/${name}`);
    await keys("DELETE", `/${name}`);
    await keys("POST", "", { name: "" });
    const { entries } = await audit(`?after=${before}`);
    const read = entries.map((/** @type {any} */ entry) => JSON.parse(entry.entry));
    assert.deepEqual(
      read.map((/** @type {any} */ entry) => [
        entry.seq,
        entry.actor,
        entry.action,
        entry.subject,
        entry.detail.key_id,
      ]),
      ["key.created", "key.updated", "key.rotated", "key.revoked"].map((action, index) => [
        before + 1 + index,
        OPERATOR_LABEL,
        action,
        name,
        id,
      ]),
    );
    for (const entry of read) {
      assert.deepEqual(Object.keys(entry).sort(), [
        "action",
        "actor",
        "at",
        "detail",
        "seq",
        "subject",
      ]);
      assert.ok(Math.abs(Date.parse(entry.at) - Date.now()) < 10_000);
    }
    assert.ok(!JSON.stringify(entries).includes(key.slice(13)));
  });

  test("audit log: pages list every entry once, oldest first, and the hash chain verifies", async () => {
    const { entries: total, head } = await verify();
    assert.ok(total > 100);
    const usual = await audit("");
    assert.deepEqual([usual.entries.length, usual.next], [100, 100]);
    const all = [];
    for (let after = 0; ;) {
      const page = await audit(`?after=${after}&limit=37`);
      all.push(...page.entries);
      if (page.next === null) break;
      assert.equal(page.entries.length, 37);
      assert.equal(page.next, page.entries.at(-1).seq);
      after = page.next;
    }
    assert.deepEqual(
      all.map((entry) => entry.seq),
      Array.from({ length: total }, (_, index) => index + 1),
    );
    let hash = "0".repeat(64);
    for (const entry of all) {
      hash = createHash("sha256").update(`${hash}\n${entry.entry}`).digest("hex");
      assert.equal(entry.hash, hash);
      assert.equal(JSON.parse(entry.entry).seq, entry.seq);
    }
    assert.equal(hash, head);
    assert.deepEqual(await audit(`?after=${total}`), { entries: [], next: null });
    assert.deepEqual(await audit(`?after=${Number.MAX_SAFE_INTEGER}`), { entries: [], next: null });
    assert.equal((await audit("?limit=1000")).entries.length, Math.min(total, 1000));
    const one = await audit("?limit=1");
    assert.deepEqual([one.entries.length, one.next], [1, 1]);
  });

  test("audit log: pages newest first list every entry once, and a list is searched", async () => {
    const { entries } = await audit("?limit=1000");
    const newest = [];
    for (let after = ""; ;) {
      const page = await audit(`?order=desc&limit=37${after}`);
      newest.push(...page.entries);
      if (page.next === null) break;
      after = `&after=${page.next}`;
    }
    assert.deepEqual(newest, entries.toReversed());
    const revoked = entries.filter((/** @type {any} */ { entry }) =>
      entry.includes('"key.revoked"'),
    );
    assert.ok(revoked.length > 0);
    assert.deepEqual((await audit("?q=KEY.revoked&limit=1000")).entries, revoked);
    const latest = await audit("?q=key.revoked&order=desc&limit=1");
    assert.deepEqual(latest.entries, [revoked.at(-1)]);
    assert.deepEqual(await audit("?q=no-such-text"), { entries: [], next: null });
  });

  test("audit log: invalid page parameters return 400", async () => {
    for (const query of [
      "?limit=0",
      "?limit=1001",
      "?limit=x",
      "?limit=",
      "?limit=1.5",
      "?after=-1",
      "?after=x",
      "?after=99999999999999999999",
      "?order=newest",
      `?q=${"a".repeat(301)}`,
    ]) {
      const answer = await operate(gateway, "GET", `/v0/audit${query}`);
      await refused(answer, 400, "InvalidValue");
    }
  });

  test("audit log: an entry has the values before and after a change, and digests of secrets", async () => {
    const { entries: before } = await verify();
    const made = await (await keys("POST", "", { name: "noted", models: ["demo/*"] })).json();
    const end = "2030-01-02T03:04:05Z";
    const changed = { disabled: true, models: null, expires_at: end, metadata: { team: "red" } };
    assert.equal((await keys("PATCH", "/noted", changed)).status, 200);
    assert.equal((await keys("DELETE", "/noted")).status, 200);
    const { entries } = await audit(`?after=${before}`);
    const [created, updated, revoked] = entries.map(
      (/** @type {any} */ { entry }) => JSON.parse(entry).detail,
    );
    const sha256 = (/** @type {string} */ text) => createHash("sha256").update(text).digest("hex");
    const then = {
      disabled: false,
      policies: [],
      models: ["demo/*"],
      endpoints: null,
      limits: {},
      role: "read",
      expires_ms: null,
      metadata_sha256: sha256("{}"),
    };
    const now = {
      ...then,
      disabled: true,
      models: null,
      expires_ms: Date.parse(end),
      metadata_sha256: sha256('{"team":"red"}'),
    };
    const opening = { public_id: made.api_key.slice(0, 13), sha256: sha256(sha256(made.api_key)) };
    assert.deepEqual(created, { key_id: made.id, ...then, opening });
    assert.deepEqual(updated, { key_id: made.id, ...now, was: then });
    assert.deepEqual(revoked, { key_id: made.id, was: now });
    assert.equal((await verify()).intact, true);
  });

  test("audit log: a change of the tables alone is found", async () => {
    const [gone, kept] = ["restored", "widened"];
    for (const name of [gone, kept]) {
      assert.equal((await keys("POST", "", { name, models: ["demo/*"] })).status, 201);
    }
    assert.equal((await keys("DELETE", `/${gone}`)).status, 200);
    const whole = await verify();
    assert.equal(whole.intact, true, JSON.stringify(whole));
    for (const [change, undo, what] of [
      [
        "UPDATE issued_keys SET revoked_ms = NULL WHERE name = 'restored'",
        "UPDATE issued_keys SET revoked_ms = 1 WHERE name = 'restored'",
        "was revoked, but works in the table",
      ],
      [
        "UPDATE issued_keys SET models = NULL WHERE name = 'widened'",
        `UPDATE issued_keys SET models = '["demo/*"]' WHERE name = 'widened'`,
        "has another 'models' in the table than its last entry",
      ],
      [
        "INSERT INTO key_secrets SELECT 'gw_0123456789', printf('%064d', 7), id, 0, NULL FROM issued_keys WHERE name = 'widened'",
        "DELETE FROM key_secrets WHERE public_id = 'gw_0123456789'",
        "has the secret gw_0123456789 that no entry made",
      ],
    ]) {
      gateway.execute(change);
      const { intact, differences, reason, ...rest } = await verify();
      assert.deepEqual([intact, rest.head], [false, whole.head]);
      assert.deepEqual(
        differences.map((/** @type {any} */ one) => one.what),
        [what],
      );
      assert.ok(reason.includes(what), reason);
      gateway.execute(undo);
      assert.deepEqual(await verify(), whole);
    }
  });

  test("audit log: denied operators are counted and logged", async () => {
    const counters = async () => {
      const text = await (await operate(gateway, "GET", "/metrics")).text();
      return ["logins_failed", "denials"].map((name) =>
        Number(text.match(new RegExp(`^gatehouse_operator_${name}_total (\\d+)$`, "m"))?.[1]),
      );
    };
    const [failed = 0, denied = 0] = await counters();
    const wrong = `${OPERATOR_KEY.slice(0, -1)}x`;
    for (const [authorization, status] of /** @type {[string, number][]} */ ([
      [`Bearer ${wrong}`, 401],
      ["Bearer nothing", 401],
      [`Bearer ${KEY}`, 403],
    ])) {
      const headers = { authorization, "cf-connecting-ip": newClient() };
      const response = await call(`${gateway.url}/v0/api_keys/a%20secret`, { headers });
      assert.equal(response.status, status);
    }
    await eventually(async () => {
      const [nowFailed, nowDenied] = await counters();
      return nowFailed === failed + 2 && nowDenied === denied + 1;
    });
    const lines = gateway.events().filter(({ event }) => event === "operator_denied");
    assert.ok(lines.length >= 3);
    const last = lines.slice(-3).map(({ route, status, code }) => [route, status, code]);
    const route = "/v0/api_keys/{name}";
    assert.deepEqual(last, [
      [route, 401, "invalid_api_key"],
      [route, 401, "invalid_api_key"],
      [route, 403, "permission_denied"],
    ]);
    assert.ok(!JSON.stringify(lines).includes(wrong.slice(3)), "a key in the log");
  });

  test("audit log: triggers prevent changing or deleting an entry", async () => {
    for (const sql of [
      "UPDATE audit_log SET entry = '{}' WHERE seq = 5",
      "UPDATE audit_log SET hash = hash WHERE seq = 5",
      "DELETE FROM audit_log WHERE seq = 5",
      "DELETE FROM audit_log",
    ]) {
      assert.throws(() => gateway.execute(sql), /the audit log is append-only/, sql);
    }
    assert.equal((await verify()).intact, true);
  });

  test("audit log: triggers prevent replacing an entry", () => {
    const [entry] = gateway.withDatabase((database) =>
      database.prepare("SELECT * FROM audit_log WHERE seq = 5").all(),
    );
    try {
      for (const verb of ["REPLACE", "INSERT OR REPLACE"]) {
        const sql = `${verb} INTO audit_log SELECT seq, '{"seq":5}', hash FROM audit_log WHERE seq = 5`;
        assert.throws(() => gateway.execute(sql), verb);
      }
    } finally {
      // In case the change succeeded, restore a whole chain for the following tests.
      gateway.withDatabase((database) => {
        const { seq, entry: text, hash } = entry ?? {};
        const sql = "INSERT OR REPLACE INTO audit_log (seq, entry, hash) VALUES (?, ?, ?)";
        try {
          database.prepare(sql).run(seq ?? null, text ?? null, hash ?? null);
        } catch {
          // It is rejected, as expected.
        }
      });
    }
  });

  test("audit log: without the triggers a changed or removed entry breaks the chain", async () => {
    const whole = await verify();
    assert.equal(whole.intact, true);
    const triggers = gateway.withDatabase((database) =>
      database
        .prepare(
          "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'audit_log'",
        )
        .all(),
    );
    assert.ok(triggers.length >= 2);
    for (const { name } of triggers) gateway.execute(`DROP TRIGGER ${name}`);
    gateway.execute("CREATE TABLE kept AS SELECT * FROM audit_log");
    for (const [sql, brokenAt] of /** @type {[string, number][]} */ ([
      ["UPDATE audit_log SET entry = replace(entry, 'key', 'kez') WHERE seq = 7", 7],
      ["UPDATE audit_log SET entry = entry || ' ' WHERE seq = 1", 1],
      ["UPDATE audit_log SET hash = replace(hash, 'a', 'b') WHERE seq = 9", 9],
      ["DELETE FROM audit_log WHERE seq = 12", 13],
      ["DELETE FROM audit_log WHERE seq = 1", 2],
      [
        `INSERT INTO audit_log SELECT max(seq) + 1, '{"seq":' || (max(seq) + 1) || '}', hash FROM audit_log`,
        whole.entries + 1,
      ],
    ])) {
      gateway.execute(sql);
      const verdict = await verify();
      assert.deepEqual(
        [verdict.intact, verdict.broken_at, verdict.entries],
        [false, brokenAt, sql.startsWith("DELETE") ? brokenAt - 2 : brokenAt - 1],
        sql,
      );
      assert.equal(typeof verdict.reason, "string");
      gateway.execute("DELETE FROM audit_log; INSERT INTO audit_log SELECT * FROM kept");
      assert.deepEqual(await verify(), whole);
    }
    // A log that was cut is a valid chain, but not of the keys that the tables have.
    gateway.execute("DELETE FROM audit_log WHERE seq = (SELECT max(seq) FROM audit_log)");
    const cut = await verify();
    assert.deepEqual([cut.intact, cut.entries], [false, whole.entries - 1]);
    assert.match(cut.reason, /^the tables of keys were changed without it/);
    assert.notEqual(cut.head, whole.head);
    gateway.execute(
      "DELETE FROM audit_log; INSERT INTO audit_log SELECT * FROM kept; DROP TABLE kept",
    );
    for (const { sql } of triggers) gateway.execute(`${sql}`);
    assert.deepEqual(await verify(), whole);
  });
});

suite("key API without a database", () => {
  test("key API without a database: every operation returns 503 and changes nothing", async () => {
    const { name } = await create();
    const breaks = /** @type {[string, string, [string, string, any][]][]} */ ([
      [
        "ALTER TABLE issued_keys RENAME TO hidden",
        "ALTER TABLE hidden RENAME TO issued_keys",
        [
          ["GET", "", undefined],
          ["GET", `/${name}`, undefined],
          ["POST", "", { name: "halfway" }],
          ["PATCH", `/${name}`, { disabled: true }],
          ["POST", `/${name}/rotate`, undefined],
          ["DELETE", `/${name}`, undefined],
        ],
      ],
      ...["key_secrets", "audit_log"].map(
        (table) =>
          /** @type {[string, string, [string, string, any][]]} */ ([
            `CREATE TRIGGER broken BEFORE INSERT ON ${table} BEGIN SELECT RAISE(ABORT, 'broken'); END`,
            "DROP TRIGGER broken",
            [
              ["POST", "", { name: "halfway" }],
              ["POST", `/${name}/rotate`, { overlap_seconds: 0 }],
              ...(table === "audit_log"
                ? [
                    ["PATCH", `/${name}`, { disabled: true }],
                    ["DELETE", `/${name}`, undefined],
                  ]
                : []),
            ],
          ]),
      ),
    ]);
    const before = await read(name);
    const entries = (await verify()).entries;
    for (const [broken, restored, tries] of breaks) {
      gateway.execute(broken);
      try {
        for (const [method, path, body] of tries) {
          const answer = await keys(method, path, body);
          const { message } = await refused(answer, 503, "StorageUnavailable");
          assert.equal(answer.headers.get("retry-after"), "5", `${method} ${path}`);
          assert.ok(!/broken|sqlite|D1_/i.test(message), message);
        }
      } finally {
        gateway.execute(restored);
      }
      assert.deepEqual(await read(name), before);
      assert.equal((await keys("GET", "/halfway")).status, 404);
      assert.equal((await verify()).entries, entries);
    }
    assert.equal((await keys("POST", "", { name: "halfway" })).status, 201);
  });
});

suite("issued keys after another deployment", () => {
  /** @type {Record<string, { name: string, api_key: string }>} */
  const issued = {};

  before(async () => {
    issued["doomed"] = await create({ policies: ["doomed"] });
    issued["both"] = await create({ policies: ["demo", "doomed"] });
    issued["free"] = await create();
    assert.equal(await use(issued["doomed"].api_key), "200");
    await gateway.stop();
    const { doomed: _, ...policies } = POLICIES;
    const { GATEWAY_ADMIN_KEY_HASHES: __, ...others } = configured(policies);
    gateway = await Gateway.start(others, [], state);
  });

  test("issued keys after another deployment: keys of a removed policy return 403", async () => {
    assert.equal(await use(issued["doomed"]?.api_key ?? ""), "403 policy_removed");
    assert.equal(await use(issued["both"]?.api_key ?? ""), "403 policy_removed");
    assert.equal(await use(issued["free"]?.api_key ?? ""), "200");
  });

  test("key API: without operator keys every operation returns 503", async () => {
    for (const [method, path] of OPERATIONS) {
      for (const authorization of [`Bearer ${OPERATOR_KEY}`, `Bearer ${KEY}`, ""]) {
        const headers = { authorization };
        const response = await call(`${gateway.url}${path}`, { method, headers });
        await refused(response, 503, "AuthNotConfigured");
        assert.equal(response.headers.get("retry-after"), "5", `${method} ${path}`);
      }
    }
    assert.equal(await use(KEY), "200", "inference goes on");
  });
});
