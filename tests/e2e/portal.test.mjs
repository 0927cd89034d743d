// @ts-check
//! `/api/portal/requests`: the queue of key requests in the portal API (docs/compatibility.md), concurrent decisions of
//! operators, and failures of the database.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, request as httpRequest } from "node:http";
import { connect } from "node:net";
import { after, before, suite, test } from "node:test";
import {
  Gateway,
  KEY,
  OPERATOR_KEY,
  OPERATOR_LABEL,
  Upstream,
  atOnce,
  call,
  chat,
  minuteWith,
  newClient,
  operate,
  requestKey,
  variables,
} from "./harness.mjs";

const REQUESTS = "/api/portal/requests";
const REQUEST_ID = /^kreq_[0-9a-hjkmnp-tv-z]{26}$/;
const RAW_KEY = /^gw_[0-9A-Za-z]{49}$/;
const UNKNOWN = "kreq_00000000000000000000000000";
const TRIMMED_DATE = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d*[1-9])?(Z|[+-]\d\d:\d\d)$/;
const NOT_AUTHORISED = { Status: "Error", Message: "Not authorised", Meta: null };
const PROCESSED = {
  Status: "Error",
  Message: "Key request has already been processed.",
  Meta: null,
};
const NOT_FOUND = { Status: "Error", Message: "Could not retrieve portal object.", Meta: null };
const NOTHING_TO_DELETE = {
  Status: "Error",
  Message: "Could not retrieve object for deletion",
  Meta: null,
};
/** Every operation on a request that does not exist. */
const OPERATIONS = /** @type {[string, string][]} */ ([
  ["GET", REQUESTS],
  ["GET", `${REQUESTS}/`],
  ["POST", REQUESTS],
  ["GET", `${REQUESTS}/${UNKNOWN}`],
  ["PUT", `${REQUESTS}/${UNKNOWN}`],
  ["DELETE", `${REQUESTS}/${UNKNOWN}`],
  ["PUT", `${REQUESTS}/approve/${UNKNOWN}`],
  ["PUT", `${REQUESTS}/decline/${UNKNOWN}`],
]);

/** @type {Upstream} */ let upstream;
/** @type {Gateway} */ let gateway;
// Accepts every notification: with a webhook, an approval has one more statement that can fail.
const receiver = createServer((request, response) => {
  request.resume();
  response.end();
});

before(async () => {
  receiver.listen(0, "127.0.0.1");
  await once(receiver, "listening");
  const address = receiver.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  upstream = await Upstream.start();
  gateway = await Gateway.start({
    ...variables(upstream, {
      policies: {
        small: {
          description: "For trying out",
          models: ["demo/sim-small"],
          limits: { requests_per_minute: 3 },
        },
        other: {},
        short: { expires_days: 1 },
      },
      access: { policies: ["small"] },
      webhook: { url: `http://127.0.0.1:${address.port}/hook` },
    }),
    GATEWAY_WEBHOOK_SECRET: `whsec_${Buffer.alloc(32, 3).toString("base64")}`,
  });
});
after(async () => {
  receiver.close();
  receiver.closeAllConnections();
  await Promise.all([gateway?.stop(), upstream?.stop()]);
});

/**
 * @param {string} method
 * @param {string} path behind /api/portal/requests
 * @param {object | string} [body]
 * @param {Record<string, string>} [headers]
 */
async function portal(method, path, body, headers) {
  const response = await operate(gateway, method, `${REQUESTS}${path}`, body, headers);
  return { status: response.status, body: await response.json(), headers: response.headers };
}

/** @param {object} [body] */
async function create(body = {}) {
  const created = await portal("POST", "", {
    by_user: "554c733a30c55e4b16000002",
    apply_policies: ["small"],
    version: "v2",
    ...body,
  });
  assert.equal(created.status, 200);
  assert.match(created.body.Message, REQUEST_ID);
  assert.deepEqual(created.body, { Status: "OK", Message: created.body.Message, Meta: "" });
  return /** @type {string} */ (created.body.Message);
}

/** @param {string} id */
async function read(id) {
  const { status, body } = await portal("GET", `/${id}`);
  assert.equal(status, 200);
  return body;
}

/** @param {string} query */
async function list(query) {
  const { status, body } = await portal("GET", query);
  assert.equal(status, 200, query);
  assert.deepEqual(Object.keys(body).sort(), ["Data", "Pages"]);
  return { pages: body.Pages, ids: body.Data.map((/** @type {any} */ item) => item.id), ...body };
}

/** @param {string} key */
const works = async (key) => (await chat(gateway, {}, { authorization: `Bearer ${key}` })).status;

/**
 * The number of keys, secrets and audit entries of an approval.
 *
 * @param {string} id of the request
 */
const traces = (id) => ({
  keys: gateway.count("issued_keys WHERE request_id = ?", id),
  secrets: gateway.count(
    "key_secrets WHERE key_id IN (SELECT id FROM issued_keys WHERE request_id = ?)",
    id,
  ),
  noted: gateway.count(
    "audit_log WHERE json_extract(entry, '$.action') = 'request.approved' AND json_extract(entry, '$.subject') = ?",
    id,
  ),
});
const NONE = { keys: 0, secrets: 0, noted: 0 };
const ONE = { keys: 1, secrets: 1, noted: 1 };

async function auditIsIntact() {
  const verdict = await (await operate(gateway, "GET", "/v0/audit/verify")).json();
  assert.equal(verdict.intact, true, JSON.stringify(verdict));
  assert.equal(verdict.entries, gateway.count("audit_log"));
}

suite("portal API, lists", () => {
  /** @type {string[]} oldest first */
  const made = [];

  test("portal API: an empty list is { Data: [], Pages: 0 }", async () => {
    assert.deepEqual((await portal("GET", "")).body, { Data: [], Pages: 0 });
    assert.deepEqual((await portal("GET", "?p=-1")).body, { Data: [], Pages: 0 });
    assert.deepEqual((await portal("GET", "/?p=2&approved=true")).body, { Data: [], Pages: 0 });
  });

  test("portal API: pages have ten requests, newest first", async () => {
    /** @param {number} until */
    const grow = async (until) => {
      while (made.length < until) made.push(await create({ fields: { n: `${made.length}` } }));
    };
    const newestFirst = () => made.toReversed();
    await grow(10);
    assert.equal((await list("")).pages, 1);
    assert.deepEqual((await list("?p=1")).ids, newestFirst());
    assert.deepEqual((await list("?p=2")).ids, []);
    await grow(11);
    assert.deepEqual(await list("").then(({ pages, ids }) => [pages, ids.length]), [2, 10]);
    assert.deepEqual((await list("?p=2")).ids, newestFirst().slice(10));
    await grow(25);
    for (const [query, from, to] of /** @type {[string, number, number][]} */ ([
      ["", 0, 10],
      ["?p=1", 0, 10],
      ["?p=2", 10, 20],
      ["?p=3", 20, 25],
      ["?p=4", 25, 25],
    ])) {
      const page = await list(query);
      assert.deepEqual([page.pages, page.ids], [3, newestFirst().slice(from, to)], query);
    }
  });

  test("portal API: p=0 and p=-1 return all requests without pages", async () => {
    for (const query of ["?p=0", "?p=-1", "?p=-2", "/?p=0", "?approved=false&p=-1"]) {
      const all = await list(query);
      assert.deepEqual([all.pages, all.ids], [0, made.toReversed()], query);
    }
  });

  test("portal API: a page beyond the last is empty, an invalid number is the first page", async () => {
    for (const query of ["?p=1000", "?p=9007199254740993", "?p=9223372036854775807"]) {
      const page = await list(query);
      assert.deepEqual([page.pages, page.ids], [3, []], query);
    }
    for (const query of ["?p=", "?x=2", "?p=1&p=2", "?p=%201", "?approved=", "?p=01"]) {
      assert.deepEqual((await list(query)).ids, made.toReversed().slice(0, 10), query);
    }
    for (const query of ["?p=x", "?p=1.5", "?p=2e0", "?approved=maybe", "?declined=2"]) {
      assert.equal((await portal("GET", query)).status, 400, query);
    }
  });

  test("portal API: a list is searched, with the number of pages of what matches", async () => {
    const [id = ""] = made;
    const found = await list(`?q=${id.toUpperCase()}`);
    assert.deepEqual([found.ids, found.pages], [[id], 1]);
    assert.deepEqual((await list(`?q=${id}&approved=false`)).ids, [id]);
    assert.deepEqual((await list("?q=no-such-text")).ids, []);
    assert.equal((await portal("GET", `?q=${"a".repeat(301)}`)).status, 400);
  });

  test("portal API: lists are filtered by approved and declined", async () => {
    const approved = made.slice(0, 12);
    const declined = made.slice(12, 14);
    const pending = made.slice(14);
    for (const id of approved) assert.equal((await portal("PUT", `/approve/${id}`)).status, 200);
    for (const id of declined) assert.equal((await portal("PUT", `/decline/${id}`)).status, 200);
    for (const [query, expected] of /** @type {[string, string[]][]} */ ([
      ["approved=true", approved],
      ["approved=True", approved],
      ["approved=1", approved],
      ["approved=TRUE&declined=False", approved],
      ["approved=false", pending],
      ["declined=true", declined],
    ])) {
      const newestFirst = expected.toReversed();
      const all = await list(`?p=-1&${query}`);
      assert.deepEqual([all.pages, all.ids], [0, newestFirst], query);
      const first = await list(`?${query}`);
      assert.deepEqual(first.ids, newestFirst.slice(0, 10), query);
      assert.equal(first.pages, Math.ceil(expected.length / 10), query);
      assert.deepEqual((await list(`?p=2&${query}`)).ids, newestFirst.slice(10, 20), query);
    }
    assert.deepEqual((await list("?p=-1")).ids, made.toReversed());
    const shown = (await list("?p=-1")).Data;
    assert.deepEqual(
      shown.map((/** @type {any} */ item) => item.approved),
      made.toReversed().map((id) => approved.includes(id)),
    );
  });

  test("portal API: a request has the same fields in a list and alone", async () => {
    const id = await create({ fields: { email: "dev@example.com", custom1: "sdf" } });
    const shown = (await list("")).Data[0];
    assert.deepEqual(shown, await read(id));
    assert.deepEqual(Object.keys(shown).sort(), [
      "apply_policies",
      "approved",
      "by_user",
      "catalogue_entry",
      "date_created",
      "decided_at",
      "decided_by",
      "decline_reason",
      "fields",
      "for_api",
      "for_plan",
      "id",
      "jwt_secret",
      "key_id",
      "org_id",
      "portal_developer",
      "state",
      "version",
    ]);
    assert.deepEqual([shown.org_id, shown.jwt_secret, shown.state], ["gatehouse", "", "pending"]);
    assert.deepEqual(
      [shown.decided_at, shown.decided_by, shown.key_id, shown.decline_reason],
      [null, null, null, null],
    );
    const developer = shown.portal_developer;
    assert.deepEqual(Object.keys(developer).sort(), [
      "date_created",
      "email",
      "fields",
      "id",
      "inactive",
      "keys",
      "nonce",
      "org_id",
      "sso_key",
      "subscriptions",
    ]);
    assert.deepEqual(
      [developer.id, developer.email, developer.org_id, developer.inactive],
      ["554c733a30c55e4b16000002", "dev@example.com", "gatehouse", false],
    );
    const entry = shown.catalogue_entry;
    assert.deepEqual(Object.keys(entry).sort(), [
      "api_id",
      "config",
      "documentation",
      "long_description",
      "name",
      "policy_id",
      "short_description",
      "show",
      "version",
    ]);
    assert.deepEqual(
      [entry.name, entry.policy_id, entry.short_description, entry.config.override],
      ["small", "small", "For trying out", false],
    );
    const { email_copy: copy } = entry.config.mail_options;
    assert.deepEqual(Object.keys(copy).sort(), ["key_email", "welcome_email"]);
  });

  test("portal API: a policy without a catalogue entry is shown without one", async () => {
    const id = await create({ apply_policies: ["nobody-knows-it"] });
    const without = await create({ apply_policies: [] });
    const page = await list("");
    assert.deepEqual(page.ids.slice(0, 2), [without, id]);
    for (const one of [id, without]) assert.equal((await read(one)).catalogue_entry, null);
    assert.equal((await read(without)).for_plan, "");
  });
});

suite("portal API, authorization", () => {
  test('portal API: a missing or wrong key returns 401 "Not authorised"', async () => {
    for (const [method, path] of OPERATIONS) {
      for (const authorization of [
        undefined,
        "",
        "Bearer ",
        "wrong",
        "Bearer wrong",
        `Basic ${OPERATOR_KEY}`,
        `Bearer ${OPERATOR_KEY}x`,
        OPERATOR_KEY.slice(0, -1),
      ]) {
        const headers = {
          "cf-connecting-ip": newClient(),
          ...(authorization === undefined ? {} : { authorization }),
        };
        const response = await call(`${gateway.url}${path}`, { method, headers });
        assert.equal(response.status, 401, `${method} ${path} ${authorization}`);
        assert.deepEqual(await response.json(), NOT_AUTHORISED);
        assert.match(response.headers.get("content-type") ?? "", /^application\/json/);
      }
    }
  });

  test('portal API: inference keys, from the ring or issued, return 403 "access denied"', async () => {
    const id = await create();
    const { RawKey } = (await portal("PUT", `/approve/${id}`)).body;
    for (const [method, path] of OPERATIONS) {
      for (const authorization of [KEY, `Bearer ${KEY}`, RawKey, `Bearer ${RawKey}`]) {
        const response = await call(`${gateway.url}${path}`, {
          method,
          headers: { authorization },
        });
        assert.equal(response.status, 403, `${method} ${path}`);
        assert.deepEqual(await response.json(), {
          Status: "Error",
          Message: `access denied: You do not have permission to access  ${path}`,
          Meta: null,
        });
      }
    }
  });

  test("portal API: an operator key, bare or with Bearer, is accepted by every operation", async () => {
    const answers = [200, 200, 200, 404, 404, 404, 404, 404];
    for (const authorization of [OPERATOR_KEY, `Bearer ${OPERATOR_KEY}`]) {
      for (const [index, [method, path]] of OPERATIONS.entries()) {
        const body = method === "POST" || path.endsWith(`requests/${UNKNOWN}`) ? "{}" : undefined;
        const response = await operate(
          gateway,
          method,
          path,
          method === "GET" || method === "DELETE" ? undefined : body,
          { authorization },
        );
        assert.equal(response.status, answers[index], `${method} ${path}`);
      }
    }
  });

  test("portal API: the name of the authorization header is case-insensitive", async () => {
    for (const name of ["authorization", "Authorization", "AUTHORIZATION"]) {
      const request = httpRequest(`${gateway.url}${REQUESTS}`, {
        headers: { [name]: OPERATOR_KEY },
      });
      request.end();
      const [response] = await once(request, "response");
      response.resume();
      assert.equal(response.statusCode, 200, name);
    }
  });

  test("portal API: unknown paths and methods use the portal's envelope and require a key", async () => {
    const url = `${gateway.url}/api/portal/developers`;
    const stranger = await call(url, { headers: { "cf-connecting-ip": newClient() } });
    assert.deepEqual([stranger.status, await stranger.json()], [401, NOT_AUTHORISED]);
    const nothing = await operate(gateway, "GET", "/api/portal/developers");
    assert.equal(nothing.status, 404);
    assert.equal((await nothing.json()).Status, "Error");
    const patch = await operate(gateway, "PATCH", REQUESTS, "{}");
    assert.equal(patch.status, 405);
    assert.equal((await patch.json()).Status, "Error");
    assert.match(patch.headers.get("allow") ?? "", /GET, POST/);
  });
});

suite("portal API, creating and changing", () => {
  test("portal API: the sample request is stored and returned with its date unchanged", async () => {
    const sample = {
      by_user: "554c733a30c55e4b16000002",
      date_created: "2015-05-08T04:49:20.992-04:00",
      fields: { custom1: "sdf", custom2: "sdf" },
      for_plan: "554c789030c55e4ca0101002",
      apply_policies: ["554c789030c55e4ca0101002"],
      version: "v2",
    };
    const created = await portal("POST", "", sample);
    assert.equal(created.status, 200);
    const shown = await read(created.body.Message);
    assert.deepEqual({ ...shown, ...sample }, shown);
    assert.equal(shown.approved, false);
  });

  test("portal API: dates keep their instant and lose trailing zeros", async () => {
    for (const [given, kept] of /** @type {[string, string][]} */ ([
      ["2020-02-24T16:19:12.175113-05:00", "2020-02-24T16:19:12.175113-05:00"],
      ["2019-06-04T07:21:35.970Z", "2019-06-04T07:21:35.97Z"],
      ["2019-06-04T07:21:35.000+02:00", "2019-06-04T07:21:35+02:00"],
      ["2019-06-04T07:21:35Z", "2019-06-04T07:21:35Z"],
    ])) {
      assert.equal((await read(await create({ date_created: given }))).date_created, kept);
    }
    for (const given of [undefined, null, "", "0001-01-01T00:00:00Z"]) {
      const before = Date.now();
      const shown = (await read(await create({ date_created: given }))).date_created;
      assert.match(shown, TRIMMED_DATE);
      assert.ok(Math.abs(Date.parse(shown) - before) < 5000, shown);
    }
    for (const given of ["yesterday", "2019-06-04", "2019-06-04T07:21:35", 5]) {
      assert.equal((await portal("POST", "", { date_created: given })).status, 400);
    }
  });

  test("portal API: one policy, several policies and legacy requests are accepted", async () => {
    const plan = await read(await create({ apply_policies: undefined, for_plan: "p1" }));
    assert.deepEqual([plan.for_plan, plan.apply_policies], ["p1", ["p1"]]);
    const several = await read(await create({ apply_policies: ["p2", "p3"] }));
    assert.deepEqual([several.for_plan, several.apply_policies], ["p2", ["p2", "p3"]]);
    const both = await read(await create({ apply_policies: ["p2"], for_plan: "p9" }));
    assert.deepEqual([both.for_plan, both.apply_policies], ["p2", ["p2"]]);
    const created = await portal("POST", "", { by_user: "u", for_plan: "p1" });
    assert.equal(created.status, 200);
    const legacy = await read(created.body.Message);
    assert.deepEqual([legacy.version, legacy.by_user], ["", "u"]);
    assert.equal((await portal("POST", "", {})).status, 200);
  });

  test("portal API: the server assigns id and organisation", async () => {
    const id = await create({
      id: "5ad097c87af3f40001b27f40",
      org_id: "57ecd735f467ac0001000003",
      key: "",
      remove_policies: [],
      oauth_info: { redirect_uri: "" },
      portal_developer: { id: "x" },
      catalogue_entry: null,
    });
    assert.match(id, REQUEST_ID);
    assert.equal((await read(id)).org_id, "gatehouse");
    assert.equal((await portal("GET", "/5ad097c87af3f40001b27f40")).status, 404);
  });

  test("portal API: any content type is accepted", async () => {
    const body = JSON.stringify({ by_user: "u", for_plan: "small" });
    for (const type of ["application/x-www-form-urlencoded", "text/plain;charset=UTF-8", "x/y"]) {
      const headers = { "content-type": type };
      const made = await portal("POST", "/", body, headers);
      assert.equal(made.status, 200, type);
      const id = made.body.Message;
      assert.equal((await portal("PUT", `/${id}`, body, headers)).status, 200, type);
      assert.equal((await portal("PUT", `/approve/${id}`, "{}", headers)).status, 200, type);
    }
    const headers = { authorization: OPERATOR_KEY };
    const bytes = new TextEncoder().encode(body);
    const bare = await call(`${gateway.url}${REQUESTS}`, { method: "POST", headers, body: bytes });
    assert.equal(bare.status, 200);
  });

  test('portal API: a body that is not a JSON object returns "Request body malformed" with the position', async () => {
    const id = await create();
    for (const body of [
      "",
      "{",
      "[]",
      "null",
      '"text"',
      '{"by_user":"u",}',
      '{"by_user":"u" // deprecated\n}',
      '{"fields":{},"fields":{}}',
      "by_user=u",
      "\u0000",
    ]) {
      for (const [method, path] of /** @type {[string, string][]} */ ([
        ["POST", ""],
        ["PUT", `/${id}`],
      ])) {
        const answer = await portal(method, path, body);
        assert.equal(answer.status, 400, body);
        assert.match(answer.body.Message, /^Request body malformed/, body);
        assert.deepEqual([answer.body.Status, answer.body.Meta], ["Error", null]);
      }
    }
  });

  test("portal API: fields that are invalid or unsupported return 400", async () => {
    for (const [body, part] of /** @type {[object, string][]} */ ([
      [{ by_user: 1 }, "by_user"],
      [{ by_user: "u".repeat(129) }, "by_user"],
      [{ fields: { n: 1 } }, "fields"],
      [{ fields: [] }, "fields"],
      [{ fields: { email: "not an address" } }, "email"],
      [{ apply_policies: "small" }, "apply_policies"],
      [{ apply_policies: [1] }, "apply_policies"],
      [{ approved: "yes" }, "approved"],
      [{ version: 2 }, "version"],
      [{ key: "existing" }, "key"],
      [{ remove_policies: ["a"] }, "remove_policies"],
      [{ jwt_secret: "s" }, "jwt_secret"],
      [{ certificate: "c" }, "certificate"],
      [{ oauth_info: { redirect_uri: "https://a.example" } }, "oauth_info"],
    ])) {
      const answer = await portal("POST", "", body);
      assert.equal(answer.status, 400, JSON.stringify(body));
      assert.ok(answer.body.Message.includes(`'${part}`) || answer.body.Message.includes(part));
      assert.deepEqual([answer.body.Status, answer.body.Meta], ["Error", null]);
    }
  });

  test("portal API: a ten-megabyte body returns 413 from every operation", async () => {
    const id = await create();
    const body = JSON.stringify({ fields: { n: "x".repeat(10_000_000) } });
    for (const [method, path] of /** @type {[string, string][]} */ ([
      ["POST", ""],
      ["PUT", `/${id}`],
      ["PUT", `/approve/${id}`],
      ["PUT", `/decline/${id}`],
    ])) {
      const answer = await portal(method, path, body);
      assert.equal(answer.status, 413, `${method} ${path}`);
      assert.deepEqual([answer.body.Status, answer.body.Meta], ["Error", null]);
    }
    assert.equal((await read(id)).state, "pending");
  });

  test("portal API: an unknown request returns 404 from every operation", async () => {
    for (const id of [
      UNKNOWN,
      "5ad097c87af3f40001b27f40",
      "x",
      "kreq_",
      "%27%20OR%201=1--",
      "%00",
      "approve",
      "%F0%9F%94%91",
    ]) {
      for (const [method, path, body, expected] of /** @type {[string, string, any, object][]} */ ([
        ["GET", `/${id}`, undefined, NOT_FOUND],
        ["PUT", `/${id}`, "{}", NOT_FOUND],
        ["PUT", `/approve/${id}`, undefined, NOT_FOUND],
        ["PUT", `/decline/${id}`, undefined, NOT_FOUND],
        ["DELETE", `/${id}`, undefined, NOTHING_TO_DELETE],
      ])) {
        const answer = await portal(method, path, body);
        assert.deepEqual([answer.status, answer.body], [404, expected], `${method} ${path}`);
      }
    }
  });

  test("portal API: a deleted request is gone", async () => {
    const id = await create();
    const deleted = await portal("DELETE", `/${id}`);
    const done = { Status: "OK", Message: "Data deleted", Meta: "" };
    assert.deepEqual([deleted.status, deleted.body], [200, done]);
    assert.equal((await portal("GET", `/${id}`)).status, 404);
    const again = await portal("DELETE", `/${id}`);
    assert.deepEqual([again.status, again.body], [404, NOTHING_TO_DELETE]);
    const approved = await portal("PUT", `/approve/${id}`);
    assert.deepEqual([approved.status, approved.body], [404, NOT_FOUND]);
    assert.equal((await portal("PUT", `/${id}`, {})).status, 404);
    assert.deepEqual(traces(id), NONE);
  });

  test("portal API: PUT replaces the whole request", async () => {
    const id = await create({ fields: { a: "1", b: "2" }, date_created: "2015-05-08T04:49:20Z" });
    const change = { by_user: "someone", fields: { c: "3" }, apply_policies: ["other", "small"] };
    const answer = await portal("PUT", `/${id}/`, change);
    assert.deepEqual([answer.status, answer.body], [200, { Status: "OK", Message: id, Meta: "" }]);
    const shown = await read(id);
    assert.deepEqual(
      [shown.by_user, shown.fields, shown.apply_policies, shown.for_plan, shown.version],
      ["someone", { c: "3" }, ["other", "small"], "other", ""],
    );
    assert.notEqual(shown.date_created, "2015-05-08T04:49:20Z");
    assert.equal((await portal("PUT", `/${id}`, shown)).status, 200, "what was read goes back");
    assert.deepEqual(await read(id), shown);
  });

  test("portal API: a request from /access/request-key is listed and can be written back unchanged", async () => {
    const body = { email: "ada@example.com", use_case: "Engines", company: "A & Co" };
    const response = await requestKey(gateway, body);
    assert.equal(response.status, 202);
    const { request_id: id } = await response.json();
    const shown = await read(id);
    assert.deepEqual(
      [shown.state, shown.apply_policies, shown.fields],
      ["pending", ["small"], { use_case: "Engines", company: "A & Co" }],
    );
    assert.match(shown.by_user, /^[0-9a-f]{24}$/);
    assert.equal(shown.portal_developer.email, "ada@example.com");
    assert.deepEqual((await list("?approved=false")).ids[0], id);
    assert.equal((await portal("PUT", `/${id}`, shown)).status, 200);
    assert.deepEqual(await read(id), shown);
    assert.equal((await portal("PUT", `/approve/${id}`)).status, 200);
  });
});

suite("portal API, decisions", () => {
  test("portal API: an approval returns the key once and adds it to the developer", async () => {
    const by_user = "f00dfeed30c55e4b16000002";
    const id = await create({ by_user, apply_policies: ["small", "other"] });
    const answer = await portal("PUT", `/approve/${id}`);
    assert.equal(answer.status, 200);
    assert.deepEqual(Object.keys(answer.body), ["RawKey"]);
    const { RawKey } = answer.body;
    assert.match(RawKey, RAW_KEY);
    const shown = await read(id);
    assert.deepEqual(
      [shown.approved, shown.state, shown.decided_by],
      [true, "approved", OPERATOR_LABEL],
    );
    assert.match(shown.decided_at, TRIMMED_DATE);
    assert.match(shown.key_id, /^[0-9a-f]{8}-[0-9a-f]{4}-7/);
    const { keys, subscriptions } = shown.portal_developer;
    assert.deepEqual(keys, { [shown.key_id]: ["small", "other"] });
    assert.deepEqual(subscriptions, { small: shown.key_id, other: shown.key_id });
    assert.ok((await list("?approved=true&p=-1")).ids.includes(id));
    assert.ok(!(await list("?approved=false&p=-1")).ids.includes(id));

    const second = await create({ by_user, apply_policies: ["other"] });
    assert.deepEqual((await read(second)).portal_developer.keys, keys, "one developer");
    assert.equal((await portal("PUT", `/approve/${second}`)).status, 200);
    const both = await read(second);
    const expected = { ...keys, [both.key_id]: ["other"] };
    assert.deepEqual(both.portal_developer.keys, expected);
    assert.deepEqual((await read(id)).portal_developer.keys, expected);

    // No response contains the text of the key.
    const everything = [
      (await list("?p=-1")).Data,
      await (await operate(gateway, "GET", "/v0/api_keys")).json(),
      await (await operate(gateway, "GET", "/v0/audit?limit=1000")).json(),
    ];
    assert.ok(!JSON.stringify(everything).includes(RawKey));
    assert.ok(!gateway.log.join("\n").includes(RawKey));
  });

  test("portal API: an approved key has the limits of its policy", async () => {
    const { RawKey } = (await portal("PUT", `/approve/${await create()}`)).body;
    const authorization = `Bearer ${RawKey}`;
    await minuteWith(20);
    assert.equal(await works(RawKey), 200);
    const other = await chat(gateway, { model: "demo/other" }, { authorization });
    assert.deepEqual([other.status, (await other.json()).error.code], [403, "model_not_allowed"]);
    // A call that is not sent upstream does not count.
    assert.equal(await works(RawKey), 200);
    assert.equal(await works(RawKey), 200);
    const fourth = await chat(gateway, {}, { authorization });
    assert.deepEqual(
      [fourth.status, (await fourth.json()).error.code],
      [429, "rate_limit_exceeded"],
    );
    assert.ok(Number(fourth.headers.get("retry-after")) > 0);
  });

  test("portal API: the name of an approved key is the id of its request", async () => {
    const id = await create({ apply_policies: ["other"] });
    assert.equal((await portal("PUT", `/approve/${id}`)).status, 200);
    const [key] = await (await operate(gateway, "GET", `/v0/api_keys/${id}`)).json();
    assert.deepEqual([key.name, key.request_id, key.policies], [id, id, ["other"]]);
    assert.deepEqual([key.id, key.created_by], [(await read(id)).key_id, OPERATOR_LABEL]);
  });

  test("portal API: an approval returns 409 if the name is taken, and the request stays pending", async () => {
    const id = await create();
    assert.equal((await operate(gateway, "POST", "/v0/api_keys", { name: id })).status, 201);
    const answer = await portal("PUT", `/approve/${id}`);
    assert.equal(answer.status, 409);
    assert.deepEqual([answer.body.Status, answer.body.Meta], ["Error", null]);
    assert.equal((await read(id)).state, "pending");
    assert.deepEqual(traces(id), NONE);
    assert.equal((await operate(gateway, "DELETE", `/v0/api_keys/${id}`)).status, 200);
    assert.equal((await portal("PUT", `/approve/${id}`)).status, 200);
    assert.deepEqual(traces(id), ONE);
  });

  test("portal API: an approval accepts no body, an empty one, white space or an empty object", async () => {
    for (const body of [undefined, "", " \r\n\t", "{}", '{"delivery":"key"}']) {
      const answer = await portal("PUT", `/approve/${await create()}`, body);
      assert.equal(answer.status, 200, `${body}`);
      assert.match(answer.body.RawKey, RAW_KEY);
    }
    const slash = await portal("PUT", `/approve/${await create()}/`);
    assert.match(slash.body.RawKey, RAW_KEY);
  });

  test("portal API: an approval accepts an undeclared, a chunked and a zero-length empty body", async () => {
    for (const rest of ["", "transfer-encoding: chunked\r\n", "content-length: 0\r\n"]) {
      const { hostname, port, host } = new URL(gateway.url);
      const socket = connect(Number(port), hostname);
      const id = await create();
      socket.write(
        `PUT ${REQUESTS}/approve/${id} HTTP/1.1\r\nhost: ${host}\r\n` +
          `authorization: ${OPERATOR_KEY}\r\nconnection: close\r\n${rest}\r\n` +
          (rest.startsWith("transfer") ? "0\r\n\r\n" : ""),
      );
      const text = (await socket.toArray()).join("");
      assert.match(text, /^HTTP\/1\.1 200 /, rest);
      assert.match(text, /"RawKey":"gw_/, rest);
    }
  });

  test("portal API: an invalid approval returns 400 and the request stays pending", async () => {
    const id = await create();
    for (const body of [
      "{",
      "[]",
      { delivery: "pigeon" },
      { delivery: 1 },
      { delivery: "email" },
      { expires_at: "2015-05-08T04:49:20Z" },
      { expires_at: "soon" },
      { apply_policies: "small" },
      { apply_policy: ["small"] },
    ]) {
      const answer = await portal("PUT", `/approve/${id}`, body);
      assert.equal(answer.status, 400, JSON.stringify(body));
      assert.deepEqual([answer.body.Status, answer.body.Meta], ["Error", null]);
    }
    assert.equal((await read(id)).state, "pending");
    assert.deepEqual(traces(id), NONE);
  });

  test("portal API: an unknown policy is accepted, rejected at approval and can be corrected there", async () => {
    const id = await create({ apply_policies: ["ghost"] });
    const refused = await portal("PUT", `/approve/${id}`);
    assert.equal(refused.status, 400);
    assert.match(refused.body.Message, /^Unknown policy 'ghost'; /);
    assert.deepEqual([refused.body.Status, refused.body.Meta], ["Error", null]);
    const shown = await read(id);
    assert.deepEqual([shown.state, shown.approved, shown.key_id], ["pending", false, null]);
    const worse = await portal("PUT", `/approve/${id}`, { apply_policies: ["small", "phantom"] });
    assert.match(worse.body.Message, /^Unknown policy 'phantom'; /);
    assert.deepEqual(traces(id), NONE);
    const fixed = await portal("PUT", `/approve/${id}`, { apply_policies: ["small"] });
    assert.match(fixed.body.RawKey, RAW_KEY);
    assert.deepEqual((await read(id)).apply_policies, ["small"]);
    assert.equal(await works(fixed.body.RawKey), 200);
  });

  test("portal API: an approval can set an expiry within the policy's lifetime", async () => {
    const day = 24 * 3600 * 1000;
    for (const [policies, asked, expected] of /** @type {[string[], number, number][]} */ ([
      [["other"], 60_000, 60_000],
      [["short"], 60_000, 60_000],
      [["short"], 5 * day, day],
    ])) {
      const id = await create({ apply_policies: policies });
      const expires_at = new Date(Date.now() + asked).toISOString();
      assert.equal((await portal("PUT", `/approve/${id}`, { expires_at })).status, 200);
      const [key] = await (await operate(gateway, "GET", `/v0/api_keys/${id}`)).json();
      const left = Date.parse(key.expires_at) - Date.now();
      assert.ok(Math.abs(left - expected) < 10_000, key.expires_at);
    }
  });

  test("portal API: a decided request cannot be decided or changed again", async () => {
    const approved = await create();
    assert.equal((await portal("PUT", `/approve/${approved}`)).status, 200);
    const declined = await create();
    const words = { reason: "  Not for us  " };
    const decline = await portal("PUT", `/decline/${declined}`, words);
    const done = { Status: "OK", Message: declined, Meta: "" };
    assert.deepEqual([decline.status, decline.body], [200, done]);
    const shown = await read(declined);
    assert.deepEqual(
      [shown.state, shown.approved, shown.decline_reason, shown.decided_by],
      ["declined", false, "Not for us", OPERATOR_LABEL],
    );
    const born = await create({ approved: true });
    const asApproved = await read(born);
    assert.deepEqual([asApproved.approved, asApproved.key_id], [true, null]);
    const put = await create();
    assert.equal((await portal("PUT", `/${put}`, { approved: true })).status, 200);
    for (const id of [approved, declined, born, put]) {
      const before = await read(id);
      const left = traces(id);
      for (const [path, body] of /** @type {[string, any][]} */ ([
        [`/approve/${id}`, undefined],
        [`/decline/${id}`, undefined],
        [`/${id}`, { by_user: "thief", apply_policies: ["other"] }],
      ])) {
        const answer = await portal("PUT", path, body);
        assert.deepEqual([answer.status, answer.body], [400, PROCESSED], path);
      }
      assert.deepEqual(await read(id), before);
      assert.deepEqual(traces(id), left);
    }
  });

  test("portal API: a decline reason that is invalid or too long returns 400", async () => {
    const id = await create();
    for (const body of [{ reason: "x".repeat(501) }, { reason: 1 }, { why: "x" }, "no"]) {
      assert.equal((await portal("PUT", `/decline/${id}`, body)).status, 400);
    }
    assert.equal((await portal("PUT", `/decline/${id}`, { reason: "é".repeat(500) })).status, 200);
  });

  test("portal API: deleting a request does not revoke its key", async () => {
    const id = await create({ apply_policies: ["other"] });
    const { RawKey } = (await portal("PUT", `/approve/${id}`)).body;
    assert.equal((await portal("DELETE", `/${id}`)).status, 200);
    assert.equal(await works(RawKey), 200);
    assert.equal((await operate(gateway, "GET", `/v0/api_keys/${id}`)).status, 200);
  });
});

suite("portal API, concurrency", () => {
  test("portal API: fifty concurrent approvals of one request issue one key", async () => {
    const id = await create({ apply_policies: ["other"] });
    const answers = await atOnce(50, () => portal("PUT", `/approve/${id}`));
    const won = answers.filter(({ status }) => status === 200);
    const lost = answers.filter(({ status }) => status !== 200);
    assert.equal(won.length, 1);
    for (const { status, body } of lost) assert.deepEqual([status, body], [400, PROCESSED]);
    assert.deepEqual(traces(id), ONE);
    assert.equal(await works(won[0]?.body.RawKey), 200);
    const [key] = await (await operate(gateway, "GET", `/v0/api_keys/${id}`)).json();
    assert.equal(won[0]?.body.RawKey.startsWith(key.secrets[0].public_id), true);
    await auditIsIntact();
  });

  test("portal API: thirty concurrent approvals of thirty requests all succeed", async () => {
    const ids = await atOnce(30, () => create({ apply_policies: ["other"] }));
    assert.equal(new Set(ids).size, 30);
    const answers = await Promise.all(ids.map((id) => portal("PUT", `/approve/${id}`)));
    assert.deepEqual(
      answers.map(({ status }) => status),
      ids.map(() => 200),
    );
    assert.equal(new Set(answers.map(({ body }) => body.RawKey)).size, 30);
    for (const id of ids) assert.deepEqual(traces(id), ONE, id);
    await auditIsIntact();
  });

  test("portal API: of a concurrent approval and decline one wins, and a deletion leaves no partial state", async () => {
    const outcomes = new Set();
    for (let round = 0; round < 24; round += 1) {
      const id = await create({ apply_policies: ["other"] });
      // In another order each time, so that each of them is first in some rounds.
      const paths = /** @type {[string, string][]} */ ([
        ["PUT", `/approve/${id}`],
        ["PUT", `/decline/${id}`],
        ...(round % 2 === 0 ? [["DELETE", `/${id}`]] : []),
      ]);
      const turned = paths.map((_, index) => paths[(index + round) % paths.length] ?? ["", ""]);
      const answers = await Promise.all(turned.map(([method, path]) => portal(method, path)));
      /** @param {string} part */
      const of = (part) =>
        answers[turned.findIndex(([method, path]) => `${method}${path}`.includes(part))];
      const [approve, decline, remove] = [of("approve"), of("decline"), of("DELETE")];
      const decided = [approve, decline].filter((answer) => answer?.status === 200);
      assert.ok(decided.length <= 1, "both an approval and a refusal");
      for (const answer of [approve, decline]) {
        assert.ok([200, 400, 404].includes(answer?.status ?? 0), `${answer?.status}`);
      }
      assert.deepEqual(traces(id), approve?.status === 200 ? ONE : NONE);
      if (approve?.status === 200) assert.equal(await works(approve.body.RawKey), 200);
      if (remove === undefined) {
        assert.equal(decided.length, 1);
        const state = approve?.status === 200 ? "approved" : "declined";
        assert.equal((await read(id)).state, state);
      } else {
        assert.equal(remove.status, 200);
        assert.equal((await portal("GET", `/${id}`)).status, 404);
      }
      outcomes.add(`${approve?.status} ${decline?.status} ${remove?.status}`);
    }
    assert.ok(outcomes.size >= 2, [...outcomes].join("; "));
    await auditIsIntact();
  });

  test("portal API: of twenty concurrent deletions one succeeds", async () => {
    const id = await create();
    const answers = await atOnce(20, () => portal("DELETE", `/${id}`));
    assert.equal(answers.filter(({ status }) => status === 200).length, 1);
    assert.equal(answers.filter(({ status }) => status === 404).length, 19);
    await auditIsIntact();
  });

  test("portal API: a concurrent change and approval agree on the key's policies", async () => {
    for (let round = 0; round < 10; round += 1) {
      const id = await create({ apply_policies: ["small"] });
      const [approval, change] = await Promise.all([
        portal("PUT", `/approve/${id}`),
        portal("PUT", `/${id}`, { by_user: "u", apply_policies: ["other"] }),
      ]);
      assert.equal(approval.status, 200);
      assert.ok([200, 400].includes(change.status));
      const expected = change.status === 200 ? "other" : "small";
      const shown = await read(id);
      assert.deepEqual([shown.state, shown.apply_policies], ["approved", [expected]]);
      const [key] = await (await operate(gateway, "GET", `/v0/api_keys/${id}`)).json();
      assert.deepEqual(key.policies, [expected]);
      assert.deepEqual(shown.portal_developer.keys[key.id], [expected]);
    }
  });
});

suite("portal API during a database failure", () => {
  for (const table of ["issued_keys", "audit_log", "key_secrets", "notifications"]) {
    test(`portal API: an approval that fails at ${table} changes nothing and can be repeated`, async () => {
      const id = await create({ apply_policies: ["other"] });
      const before = await read(id);
      const entries = gateway.count("audit_log");
      gateway.execute(
        `CREATE TRIGGER broken BEFORE INSERT ON ${table} BEGIN SELECT RAISE(ABORT, 'broken'); END`,
      );
      try {
        for (const body of [undefined, { delivery: "key" }]) {
          const answer = await portal("PUT", `/approve/${id}`, body);
          assert.equal(answer.status, 503);
          assert.deepEqual([answer.body.Status, answer.body.Meta], ["Error", null]);
          assert.equal(answer.headers.get("retry-after"), "5");
          assert.ok(!/broken|sqlite|D1/i.test(answer.body.Message), answer.body.Message);
        }
        assert.deepEqual(await read(id), before);
        assert.deepEqual(traces(id), NONE);
        assert.equal(gateway.count("audit_log"), entries);
      } finally {
        gateway.execute("DROP TRIGGER broken");
      }
      const { status, body } = await portal("PUT", `/approve/${id}`);
      assert.equal(status, 200);
      assert.equal(await works(body.RawKey), 200);
      assert.deepEqual(traces(id), ONE);
      await auditIsIntact();
    });
  }

  test("portal API: a failed creation, change, decline or deletion changes nothing", async () => {
    const id = await create();
    const before = await read(id);
    const all = (await list("?p=-1")).ids;
    gateway.execute(
      "CREATE TRIGGER broken BEFORE INSERT ON audit_log BEGIN SELECT RAISE(ABORT, 'broken'); END",
    );
    try {
      for (const [method, path, body] of /** @type {[string, string, any][]} */ ([
        ["POST", "", {}],
        ["PUT", `/${id}`, {}],
        ["PUT", `/decline/${id}`, undefined],
        ["DELETE", `/${id}`, undefined],
      ])) {
        const answer = await portal(method, path, body);
        assert.equal(answer.status, 503, `${method} ${path}`);
        assert.equal(answer.headers.get("retry-after"), "5");
      }
      assert.deepEqual(await read(id), before);
      assert.deepEqual((await list("?p=-1")).ids, all);
    } finally {
      gateway.execute("DROP TRIGGER broken");
    }
    assert.equal((await portal("DELETE", `/${id}`)).status, 200);
    await auditIsIntact();
  });

  test("portal API: a database without tables returns 503 in the portal's envelope until they are back", async () => {
    gateway.execute("ALTER TABLE key_requests RENAME TO hidden");
    try {
      const answer = await portal("GET", "");
      assert.equal(answer.status, 503);
      assert.equal(answer.headers.get("retry-after"), "5");
      assert.deepEqual([answer.body.Status, answer.body.Meta], ["Error", null]);
      assert.equal((await portal("PUT", `/approve/${UNKNOWN}`)).status, 503);
    } finally {
      gateway.execute("ALTER TABLE hidden RENAME TO key_requests");
    }
    assert.equal((await portal("GET", "")).status, 200);
  });
});

suite("names and owners of keys", () => {
  test("portal API: an approval can name the key, and keys have the e-mail address of their request", async () => {
    const email = "owner@example.com";
    const response = await requestKey(gateway, { email, use_case: "A name" });
    const { request_id: id } = await response.json();
    for (const [name, pattern] of /** @type {[string, RegExp][]} */ ([
      ["", /cannot be empty/],
      ["a b", /should be non-empty and only contain/],
    ])) {
      const { status, body } = await portal("PUT", `/approve/${id}`, { name });
      assert.equal(status, 400);
      assert.match(body.Message, pattern);
    }
    await operate(gateway, "POST", "/v0/api_keys", { name: "taken" });
    const taken = await portal("PUT", `/approve/${id}`, { name: "taken" });
    assert.equal(taken.status, 409);
    assert.match(taken.body.Message, /name 'taken' already; approve with another 'name'/);
    assert.equal((await read(id)).state, "pending");

    const { status, body } = await portal("PUT", `/approve/${id}`, { name: "owners-laptop" });
    assert.equal(status, 200);
    assert.equal(await works(body.RawKey), 200);
    const [key] = await (await operate(gateway, "GET", "/v0/api_keys/owners-laptop")).json();
    assert.deepEqual([key.request_id, key.email], [id, email]);
    const keys = await (await operate(gateway, "GET", "/v0/api_keys")).json();
    const emails = Object.fromEntries(keys.map((/** @type {any} */ one) => [one.name, one.email]));
    assert.deepEqual([emails["owners-laptop"], emails["taken"]], [email, null]);
    const [noted] = gateway.query(
      "SELECT json_extract(entry, '$.detail.name') AS name FROM audit_log WHERE json_extract(entry, '$.subject') = ?",
      id,
    );
    assert.equal(noted?.["name"], "owners-laptop");
    await auditIsIntact();

    assert.equal((await portal("DELETE", `/${id}`)).status, 200);
    const [kept] = await (await operate(gateway, "GET", "/v0/api_keys/owners-laptop")).json();
    assert.equal(kept.email, null, "a deleted request leaves no address behind");
    assert.equal(await works(body.RawKey), 200);
  });
});

suite("key holders", () => {
  /**
   * @param {string} path
   * @param {string} key
   * @param {object} [body]
   */
  async function hold(path, key, body) {
    const response = await call(`${gateway.url}/usage${path}`, {
      method: body === undefined ? "GET" : "POST",
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return { status: response.status, body: await response.json(), headers: response.headers };
  }

  /** @param {object} settings */
  async function issue(settings) {
    const made = await operate(gateway, "POST", "/v0/api_keys", settings);
    assert.equal(made.status, 201);
    return /** @type {string} */ ((await made.json()).api_key);
  }

  test("key holders: GET /usage shows policies, models, endpoints and expiry", async () => {
    const expires_at = "2100-01-01T00:00:00Z";
    const endpoints = ["/v1/embeddings"];
    const key = await issue({ name: "shown", policies: ["small"], endpoints, expires_at });
    const { status, body } = await hold("", key);
    assert.equal(status, 200);
    const small = { name: "small", description: "For trying out", models: ["demo/sim-small"] };
    assert.deepEqual(body.permissions, {
      policies: [{ ...small, exists: true }],
      models: null,
      endpoints,
      expires_at,
    });
    const ring = await hold("", KEY);
    assert.deepEqual(ring.body.permissions.policies, []);
    assert.ok(ring.body.permissions.endpoints.includes("/v1/chat/completions"));
  });

  test("key holders: a key rotates itself, with an overlap, and the trail names the holder", async () => {
    const key = await issue({ name: "rotated", limits: { requests_per_day: 100 } });
    const { status, body } = await hold("/rotate", key, { overlap_seconds: 600 });
    assert.equal(status, 200, JSON.stringify(body));
    assert.deepEqual(Object.keys(body), ["id", "name", "api_key", "previous_expires_at"]);
    const overlap = Date.parse(body.previous_expires_at) - Date.now();
    assert.ok(overlap > 590_000 && overlap <= 600_000, body.previous_expires_at);
    assert.deepEqual([await works(key), await works(body.api_key)], [200, 200]);
    const [noted] = gateway.query(
      "SELECT entry FROM audit_log WHERE json_extract(entry, '$.subject') = 'rotated' AND json_extract(entry, '$.action') = 'key.rotated'",
    );
    const { actor, detail } = JSON.parse(String(noted?.["entry"]));
    assert.deepEqual(
      [actor, detail.public_id, detail.overlap_seconds],
      ["key holder", body.api_key.slice(0, 13), 600],
    );
    assert.ok(!String(noted?.["entry"]).includes(body.api_key));

    // The finder of the old secret cannot shut out the holder of the new one.
    const old = await hold("/rotate", key, {});
    assert.equal(old.status, 403);
    assert.match(old.body.error.message, /replaced by a newer one/);
    assert.equal(await works(body.api_key), 200);
    const next = await hold("/rotate", body.api_key, { overlap_seconds: 0 });
    assert.equal(next.status, 200);
    assert.deepEqual([await works(body.api_key), await works(next.body.api_key)], [401, 200]);
    await auditIsIntact();
  });

  test("key holders: only issued keys rotate, with a valid overlap, ten times a day", async () => {
    for (const key of [KEY, OPERATOR_KEY]) {
      const { status, body } = await hold("/rotate", key, {});
      assert.deepEqual([status, body.error.code], [403, "permission_denied"]);
    }
    let key = await issue({ name: "restless" });
    for (const bad of [{ overlap_seconds: 604_801 }, { overlap: 1 }, { delivery: "claim" }]) {
      assert.equal((await hold("/rotate", key, bad)).status, 400);
    }
    for (let n = 0; n < 10; n += 1) {
      const { status, body } = await hold("/rotate", key, { overlap_seconds: 0 });
      assert.equal(status, 200);
      key = body.api_key;
    }
    const { status, body, headers } = await hold("/rotate", key, {});
    assert.deepEqual([status, body.error.code], [429, "rate_limit_exceeded"]);
    assert.ok(Number(headers.get("retry-after")) > 3600);
    assert.equal(await works(key), 200);
  });

  test("key holders: of concurrent rotations of one secret one succeeds", async () => {
    const key = await issue({ name: "contested" });
    const all = await atOnce(4, () => hold("/rotate", key, { overlap_seconds: 60 }));
    assert.deepEqual(all.map(({ status }) => status).sort(), [200, 403, 403, 403]);
    await auditIsIntact();
  });

  test("key holders: a request for higher limits is listed, approved and applied", async () => {
    const limits = { requests_per_day: 1 };
    const key = await issue({ name: "growing", limits });
    assert.equal(await works(key), 200);
    assert.equal(await works(key), 402);
    const wanted = { limits: { requests_per_day: 3 }, reason: "More\nusers" };
    const asked = await hold("/request-increase", key, wanted);
    assert.equal(asked.status, 202, JSON.stringify(asked.body));
    const { request_id: id } = asked.body;
    assert.match(id, REQUEST_ID);

    const twice = await hold("/request-increase", key, wanted);
    assert.deepEqual([twice.status, twice.body.error.code], [409, "increase_pending"]);
    assert.ok((await list("?approved=false")).ids.includes(id));
    const request = await read(id);
    assert.deepEqual(
      [
        request.fields,
        request.increase.key_name,
        request.increase.limits,
        request.increase.current,
      ],
      [{ reason: "More\nusers" }, "growing", wanted.limits, limits],
    );
    assert.equal((await portal("PUT", `/${id}`, { fields: {} })).status, 400);
    for (const body of [
      { name: "x" },
      { delivery: "claim" },
      { expires_at: "2100-01-01T00:00:00Z" },
    ]) {
      assert.equal((await portal("PUT", `/approve/${id}`, body)).status, 400);
    }
    const approved = await portal("PUT", `/approve/${id}`);
    assert.deepEqual(
      [approved.status, approved.body],
      [200, { Status: "OK", Message: id, Meta: "" }],
    );
    const after = await read(id);
    assert.deepEqual(
      [after.state, after.decided_by, after.key_id],
      ["approved", OPERATOR_LABEL, null],
    );
    assert.equal((await portal("PUT", `/approve/${id}`)).status, 400);
    assert.equal(await works(key), 200);
    const usage = await hold("", key);
    assert.equal(usage.body.limits[0].amount, 3);
    const [shown] = await (await operate(gateway, "GET", "/v0/api_keys/growing")).json();
    assert.deepEqual(shown.limits, wanted.limits);
    await auditIsIntact();
  });

  test("key holders: a policy that holds a higher limit back is named, and can be replaced", async () => {
    const key = await issue({ name: "held-back", policies: ["small"] });
    const wanted = { limits: { requests_per_minute: 30 }, reason: "More" };
    const { request_id: id } = (await hold("/request-increase", key, wanted)).body;
    const refused = await portal("PUT", `/approve/${id}`);
    assert.equal(refused.status, 400);
    assert.match(
      refused.body.Message,
      /policy 'small' of the key limits it to 3 requests per minute/,
    );
    assert.equal((await read(id)).state, "pending");
    const body = { apply_policies: ["other"], limits: { requests_per_minute: 20 } };
    assert.equal((await portal("PUT", `/approve/${id}`, body)).status, 200);
    const [shown] = await (await operate(gateway, "GET", "/v0/api_keys/held-back")).json();
    assert.deepEqual([shown.policies, shown.limits], [["other"], { requests_per_minute: 20 }]);
    await auditIsIntact();
  });

  test("key holders: a request for a limit that the key lacks, or without a reason, is rejected", async () => {
    const key = await issue({ name: "modest", limits: { requests_per_day: 5 } });
    for (const [body, param, pattern] of /** @type {[object, string, RegExp][]} */ ([
      [{ reason: "x" }, "limits", /name at least one limit/],
      [{ limits: { usd_total: 5 }, reason: "x" }, "limits", /this key has no such limit/],
      [{ limits: { requests_per_day: 5 }, reason: "x" }, "limits", /5 requests per day/],
      [{ limits: { requests_per_day: 6 } }, "reason", /'reason' is missing/],
    ])) {
      const { status, body: answer } = await hold("/request-increase", key, body);
      assert.deepEqual([status, answer.error.param], [400, param], JSON.stringify(answer));
      assert.match(answer.error.message, pattern);
    }
    for (const other of [KEY, OPERATOR_KEY]) {
      const wanted = { limits: { requests_per_day: 6 }, reason: "x" };
      assert.equal((await hold("/request-increase", other, wanted)).status, 403);
    }
    // A declined request leaves room for another.
    const wanted = { limits: { requests_per_day: 6 }, reason: "x" };
    const { request_id: id } = (await hold("/request-increase", key, wanted)).body;
    assert.equal((await portal("PUT", `/decline/${id}`, { reason: "no" })).status, 200);
    assert.equal((await hold("/request-increase", key, wanted)).status, 202);
  });
});
