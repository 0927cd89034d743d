// @ts-check
//! Key requests at /access/request-key: validation, the daily limit, idempotency, storage, and failures of the database
//! (docs/compatibility.md).

import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import {
  KEY,
  KEY_HASH,
  LABEL,
  OPERATOR_LABEL,
  Gateway,
  Upstream,
  call,
  chat,
  contents,
  freshState,
  newClient,
  operate,
  requestKey,
  variables,
} from "./harness.mjs";

/** @type {Upstream} */ let upstream;
/** @type {Gateway} */ let gateway;

before(async () => {
  upstream = await Upstream.start();
  gateway = await Gateway.start(variables(upstream));
});
after(() => Promise.all([gateway?.stop(), upstream?.stop()]));

const ID = /^kreq_[0-9a-hjkmnp-tv-z]{26}$/;
const KEY_TEXT = /^gw_[0-9A-Za-z]{49}$/;
const HASH = /^[0-9a-f]{32}$/;
/** The example in the documentation of the API that this endpoint follows. */
const asked = {
  email: "you@example.com",
  use_case: "Internal prototype for coding assistant (50 req/day)",
};
/** @param {string} email */
const received = (email) =>
  `Your request has been received. An operator will review it and reach out to you at ${email}.`;

/**
 * @param {Gateway} at
 * @param {unknown} [body]
 * @param {Record<string, string>} [headers]
 */
const ask = (at, body = asked, headers = {}) => requestKey(at, body, headers);

/** @param {Response} response */
async function idOf(response) {
  assert.equal(response.status, 202, await response.clone().text());
  return /** @type {string} */ ((await response.json()).request_id);
}

/**
 * @param {Response} response
 * @param {number} status
 * @param {string} code
 * @param {string | null} [param]
 * @returns {Promise<string>} the message
 */
async function refused(response, status, code, param = undefined) {
  const text = await response.text();
  assert.equal(response.status, status, text);
  const { error } = JSON.parse(text);
  assert.equal(error.code, code, text);
  if (param !== undefined) assert.equal(error.param, param, text);
  assert.equal(typeof error.message, "string");
  assert.ok(error.message.length > 0);
  return error.message;
}

/**
 * The number of key requests that a gateway has stored.
 *
 * @param {Gateway} at
 * @param {string} [condition]
 */
const stored = (at, condition = "1") => at.count(`key_requests WHERE ${condition}`);

/**
 * The entries of the audit trail.
 *
 * @param {Gateway} at
 * @returns {Promise<{ action: string, actor: string, subject: string, detail: any }[]>}
 */
async function audit(at) {
  const { entries } = await (await operate(at, "GET", "/v0/audit?limit=1000")).json();
  return entries.map((/** @type {any} */ { entry }) => JSON.parse(entry));
}

/**
 * Posts the form of the page, as a browser does.
 *
 * @param {Gateway} at
 * @param {Record<string, string>} fields
 * @param {Record<string, string>} [headers]
 */
const submit = (at, fields, headers = {}) =>
  call(`${at.url}/access/request-key`, {
    method: "POST",
    headers: {
      "content-type": "application/x-www-form-urlencoded",
      accept: "text/html,application/xhtml+xml",
      // As the page's referrer policy makes it.
      origin: "null",
      "sec-fetch-site": "same-origin",
      "cf-connecting-ip": newClient(),
      ...headers,
    },
    body: new URLSearchParams(fields).toString(),
  });

suite("form of key requests", () => {
  test("key requests: GET returns a page with a form that needs no script", async () => {
    for (const accept of ["text/html", "*/*"]) {
      const response = await call(`${gateway.url}/access/request-key`, { headers: { accept } });
      assert.equal(response.status, 200);
      assert.match(response.headers.get("content-type") ?? "", /^text\/html/);
      assert.equal(response.headers.get("cache-control"), "no-store");
      const policy = response.headers.get("content-security-policy") ?? "";
      assert.match(policy, /default-src 'none'/);
      assert.match(policy, /form-action 'self'/);
      const page = await response.text();
      assert.match(page, /<form method="post" action="\/access\/request-key">/);
      assert.match(page, /name="once" value="[0-9A-Z]{26}"/);
      assert.doesNotMatch(page, /<script/);
    }
  });

  test("key requests: a form is stored as JSON is, and the response is a page", async () => {
    const before = stored(gateway);
    const fields = {
      once: "the-first",
      email: " form@example.com",
      use_case: "Two\r\nlines",
      name: "",
      company: "Acme <& Co>",
      intended_use: "internal",
      expected_daily_requests: "20",
    };
    const client = { "cf-connecting-ip": newClient() };
    const response = await submit(gateway, fields, client);
    const page = await response.text();
    assert.equal(response.status, 202, page);
    assert.match(page, /<h1>Request received<\/h1>/);
    assert.match(page, /reach out to you at form@example\.com/);
    const [id] = page.match(/kreq_[0-9a-hjkmnp-tv-z]{26}/) ?? [];
    const path = `/api/portal/requests/${id}`;
    const request = await (await operate(gateway, "GET", path)).json();
    assert.deepEqual(request.fields, {
      company: "Acme <& Co>",
      expected_daily_requests: "20",
      intended_use: "internal",
      use_case: "Two\nlines",
    });
    // A reload of the response posts the same form again.
    const again = await submit(gateway, fields, client);
    assert.equal(again.status, 202);
    assert.ok((await again.text()).includes(String(id)));
    assert.equal(stored(gateway), before + 1);
    const asJson = await submit(gateway, { ...fields, once: "" }, { accept: "application/json" });
    assert.match(await idOf(asJson), ID);
  });

  test("key requests: a form with a fault comes back with its values and the error, escaped", async () => {
    const before = stored(gateway);
    const fields = { email: "nobody", use_case: `</textarea><script>alert("x")</script>` };
    const response = await submit(gateway, fields);
    const page = await response.text();
    assert.equal(response.status, 400);
    assert.equal(response.headers.get("x-gateway-error-source"), "gateway");
    assert.match(page, /<p id="fault" role="alert">.*'email' must be an e-mail address/);
    assert.match(
      page,
      /name="email"[^>]* value="nobody" aria-invalid="true" aria-describedby="fault"/,
    );
    assert.match(page, /&lt;\/textarea&gt;&lt;script&gt;/);
    assert.doesNotMatch(page, /<script/);
    assert.equal(stored(gateway), before);
    await refused(await submit(gateway, fields, { accept: "*/*" }), 400, "invalid_value", "email");
  });

  test("key requests: forms of other sites are rejected, and forms count towards the daily limit", async () => {
    const before = stored(gateway);
    for (const headers of /** @type {Record<string, string>[]} */ ([
      { "sec-fetch-site": "cross-site" },
      { "sec-fetch-site": "same-site", origin: new URL(gateway.url).origin },
    ])) {
      const response = await submit(gateway, asked, { ...headers, accept: "*/*" });
      await refused(response, 403, "permission_denied", "origin");
      assert.equal((await submit(gateway, asked, headers)).status, 403);
    }
    assert.equal(stored(gateway), before);
    const client = { "cf-connecting-ip": newClient() };
    for (let n = 0; n < 5; n += 1) assert.equal((await submit(gateway, asked, client)).status, 202);
    const last = await submit(gateway, asked, client);
    assert.equal(last.status, 429);
    assert.ok(Number(last.headers.get("retry-after")) > 0);
    assert.match(await last.text(), /Too many access requests/);
  });
});

suite("key requests", () => {
  test("key requests: a submission without any key returns 202", async () => {
    const response = await ask(gateway);
    assert.equal(response.status, 202);
    assert.match(response.headers.get("content-type") ?? "", /^application\/json/);
    const body = await response.json();
    assert.deepEqual(Object.keys(body).sort(), ["message", "request_id", "status"]);
    assert.match(body.request_id, ID);
    assert.equal(body.status, "pending");
    assert.equal(body.message, received(asked.email));
    assert.ok(!JSON.stringify(body).includes("gw_"));
    assert.equal(gateway.count("issued_keys"), 0);
  });

  test("key requests: two identical submissions create two requests", async () => {
    const client = { "cf-connecting-ip": newClient() };
    const first = await idOf(await ask(gateway, asked, client));
    const second = await idOf(await ask(gateway, asked, client));
    assert.notEqual(first, second);
  });

  test("key requests: the Authorization header is ignored", async () => {
    for (const authorization of ["Bearer wrong", `Bearer ${KEY}`, "Basic x", "", "\u00fc"]) {
      assert.equal((await ask(gateway, asked, { authorization })).status, 202, authorization);
    }
    const both = { authorization: "Bearer a", "x-api-key": "b" };
    assert.equal((await ask(gateway, asked, both)).status, 202);
  });

  test("key requests: 'email' and 'use_case' are required non-empty strings", async () => {
    for (const [body, code, param] of /** @type {[object, string, string][]} */ ([
      [{ ...asked, email: undefined }, "missing_member", "email"],
      [{ ...asked, email: null }, "missing_member", "email"],
      [{ ...asked, email: 7 }, "invalid_type", "email"],
      [{ ...asked, email: ["you@example.com"] }, "invalid_type", "email"],
      [{ ...asked, email: { a: 1 } }, "invalid_type", "email"],
      [{ ...asked, email: true }, "invalid_type", "email"],
      [{ ...asked, email: "" }, "invalid_value", "email"],
      [{ ...asked, email: "  " }, "invalid_value", "email"],
      [{ ...asked, email: "nobody" }, "invalid_value", "email"],
      [{ ...asked, email: "a@b" }, "invalid_value", "email"],
      [{ ...asked, email: `${"a".repeat(65)}@example.com` }, "invalid_value", "email"],
      [{ ...asked, email: `a@${"b.".repeat(130)}com` }, "invalid_value", "email"],
      [{ ...asked, use_case: undefined }, "missing_member", "use_case"],
      [{ ...asked, use_case: null }, "missing_member", "use_case"],
      [{ ...asked, use_case: 1 }, "invalid_type", "use_case"],
      [{ ...asked, use_case: [] }, "invalid_type", "use_case"],
      [{ ...asked, use_case: "" }, "invalid_value", "use_case"],
      [{ ...asked, use_case: " \n\t " }, "invalid_value", "use_case"],
      [{ ...asked, use_case: "x".repeat(2001) }, "invalid_value", "use_case"],
    ])) {
      await refused(await ask(gateway, body), 400, code, param);
    }
  });

  test("key requests: a use case has 1 to 2000 characters, counted as characters and not as bytes", async () => {
    for (const use_case of ["x", "x".repeat(2000), "🦀".repeat(2000), `  ${"x".repeat(2000)}  `]) {
      assert.equal((await ask(gateway, { ...asked, use_case })).status, 202);
    }
    const message = await refused(
      await ask(gateway, { ...asked, use_case: "🦀".repeat(2001) }),
      400,
      "invalid_value",
      "use_case",
    );
    assert.match(message, /2000 characters; it has 2001/);
  });

  test("key requests: a body that is not a JSON object returns 400 in the error envelope", async () => {
    for (const body of [
      "",
      " ",
      "not json",
      "[]",
      '"text"',
      "7",
      "null",
      '{"email":"you@example.com","use_case":"x"',
      '{"email":"you@example.com","use_case":"x"} {}',
      '{"email":"you@example.com","use_case":"\\ud800"}',
      '{"email":"you@example.com","use_case":"\n"}',
      new Uint8Array([...Buffer.from('{"email":"'), 0xff, 0xfe, ...Buffer.from('"}')]),
      "[".repeat(60_000),
    ]) {
      const response = await ask(gateway, body);
      const { error } = await response.clone().json();
      assert.equal(error.type, "invalid_request_error");
      await refused(response, 400, "invalid_json");
    }
    const twice = '{"email":"a@example.com","email":"b@example.com","use_case":"x"}';
    await refused(await ask(gateway, twice), 400, "duplicate_member");
    const typed = (/** @type {string} */ type) => ask(gateway, asked, { "content-type": type });
    await refused(await typed("text/plain"), 400, "unsupported_content_type");
    await refused(
      await typed("application/x-www-form-urlencoded"),
      400,
      "unsupported_content_type",
    );
    assert.equal((await typed("application/json; charset=utf-8")).status, 202);
  });

  test("key requests: the message lists every invalid field and 'param' names the first", async () => {
    const body = { email: 7, use_case: "", name: "x", intended_use: "other" };
    const message = await refused(await ask(gateway, body), 400, "invalid_type", "email");
    for (const member of ["email", "use_case", "name", "intended_use"]) {
      assert.ok(message.includes(`'${member}'`), message);
    }
  });

  test("key requests: legacy fields are validated and stored, unknown fields are ignored", async () => {
    const more = {
      name: " Ada ",
      company: "",
      intended_use: "internal",
      expected_daily_requests: 200_000,
    };
    const unknown = { project_id: 7, admin: true, state: "approved", request_id: "kreq_x" };
    const id = await idOf(await ask(gateway, { ...asked, ...more, ...unknown }));
    const found = await (await operate(gateway, "GET", `/api/portal/requests/${id}`)).json();
    assert.deepEqual(found.fields, {
      use_case: asked.use_case,
      name: "Ada",
      company: "",
      intended_use: "internal",
      expected_daily_requests: "200000",
    });
    assert.equal(found.state, "pending");
    for (const [member, value, code] of /** @type {[string, unknown, string][]} */ ([
      ["name", "x", "invalid_value"],
      ["name", "x".repeat(81), "invalid_value"],
      ["name", 1, "invalid_type"],
      ["name", "a\r\nb", "invalid_value"],
      ["company", "x".repeat(121), "invalid_value"],
      ["company", {}, "invalid_type"],
      ["intended_use", "other", "invalid_value"],
      ["intended_use", 1, "invalid_type"],
      ["expected_daily_requests", 0, "invalid_value"],
      ["expected_daily_requests", 200_001, "invalid_value"],
      ["expected_daily_requests", -1, "invalid_type"],
      ["expected_daily_requests", 1.5, "invalid_type"],
      ["expected_daily_requests", "50", "invalid_type"],
      ["expected_daily_requests", 1e300, "invalid_type"],
    ])) {
      await refused(await ask(gateway, { ...asked, [member]: value }), 400, code, member);
    }
  });

  test("key requests: text in any script is stored unchanged, control characters are rejected", async () => {
    for (const use_case of [
      "日本語の要約 — für Größe, שלום, नमस्ते",
      "👩‍👩‍👧‍👦 e\u0301 \u{10ffff}",
      "one\r\ntwo\tthree",
      "'; DROP TABLE key_requests; --",
      "<script>alert(1)</script>",
      "${x} {{x}} %s \\n",
    ]) {
      const id = await idOf(await ask(gateway, { ...asked, use_case }));
      const found = await (await operate(gateway, "GET", `/api/portal/requests/${id}`)).json();
      assert.equal(found.fields.use_case, use_case);
    }
    for (const email of [
      "you@example.com\r\nBcc: all@example.com",
      "you@example.com\n",
      "you\u0000@example.com",
      "you@example.com\u0085",
      "\tyou@example.com",
      "yöu@example.com",
      "you@exämple.com",
      "you@example.com,all@example.com",
      "You <you@example.com>",
      '"a b"@example.com',
      "a..b@example.com",
      "you@[127.0.0.1]",
    ]) {
      const body = { ...asked, email };
      await refused(await ask(gateway, body), 400, "invalid_value", "email");
    }
    for (const use_case of ["a\u0000b", "a\u001b[31mb", "a\u007fb", "a\u009bb"]) {
      const body = { ...asked, use_case };
      await refused(await ask(gateway, body), 400, "invalid_value", "use_case");
    }
    for (const email of [
      " you@example.com ",
      "o'neil+a/b=c@sub.example.co",
      "a@xn--exmple-cua.com",
    ]) {
      const body = await (await ask(gateway, { ...asked, email })).json();
      assert.equal(body.message, received(email.trim()));
    }
  });

  test("key requests: a new request is pending and visible to operators only", async () => {
    const email = "seen@example.com";
    const id = await idOf(await ask(gateway, { ...asked, email }));
    const page = await (await operate(gateway, "GET", "/api/portal/requests?p=1")).json();
    const found = page.Data.find((/** @type {any} */ request) => request.id === id);
    assert.deepEqual(
      [found.state, found.approved, found.key_id, found.decided_at],
      ["pending", false, null, null],
    );
    assert.equal(found.portal_developer.email, email);
    assert.deepEqual(found.fields, { use_case: asked.use_case });
    assert.match(found.by_user, /^[0-9a-f]{24}$/);
    const headers = { authorization: `Bearer ${KEY}` };
    const path = `${gateway.url}/api/portal/requests/${id}`;
    assert.equal((await call(path, { headers })).status, 403);
    assert.equal((await call(path)).status, 401);
  });

  test("key requests: approval by an operator issues a working key", async () => {
    const id = await idOf(await ask(gateway));
    const approved = await operate(gateway, "PUT", `/api/portal/requests/approve/${id}`);
    const { RawKey } = await approved.json();
    assert.match(RawKey, KEY_TEXT);
    const answer = await chat(gateway, {}, { authorization: `Bearer ${RawKey}` });
    assert.equal(answer.status, 200);
    const again = await operate(gateway, "PUT", `/api/portal/requests/approve/${id}`);
    assert.equal(again.status, 400);
  });

  test("key requests: there is no endpoint to poll the status of a request", async () => {
    const id = await idOf(await ask(gateway));
    for (const method of ["PUT", "PATCH", "DELETE"]) {
      const response = await call(`${gateway.url}/access/request-key`, { method });
      assert.equal(response.status, 405, method);
      assert.equal(response.headers.get("allow"), "GET, POST, HEAD, OPTIONS");
      await refused(response, 405, "method_not_allowed");
    }
    for (const method of ["GET", "POST"]) {
      const known = await call(`${gateway.url}/access/request-key/${id}`, { method });
      const text = await known.text();
      const unknown = await call(`${gateway.url}/access/request-key/kreq_x`, { method });
      // The message names the path.
      assert.deepEqual([known.status, text.replace(id, "kreq_x")], [404, await unknown.text()]);
    }
  });

  test("key requests: every response has the security headers", async () => {
    for (const response of [await ask(gateway), await ask(gateway, "x")]) {
      assert.equal(response.headers.get("x-content-type-options"), "nosniff");
      assert.equal(response.headers.get("x-frame-options"), "DENY");
      assert.equal(response.headers.get("referrer-policy"), "no-referrer");
      assert.equal(response.headers.get("cache-control"), "no-store");
      assert.equal(response.headers.get("access-control-allow-origin"), null);
    }
  });

  test("key requests: a body of more than 64 KiB returns 413", async () => {
    const edge = JSON.stringify(asked).padEnd(64 * 1024);
    assert.equal((await ask(gateway, edge)).status, 202);
    await refused(await ask(gateway, `${edge} `), 413, "body_too_large");
  });

  test("key requests: a 10 MB body, declared or chunked, returns 413 and the gateway keeps working", async () => {
    const large = JSON.stringify({ ...asked, use_case: "x".repeat(10_000_000) });
    for (let round = 0; round < 5; round += 1) {
      await refused(await ask(gateway, large), 413, "body_too_large");
      const chunked = await call(`${gateway.url}/access/request-key`, {
        method: "POST",
        headers: { "content-type": "application/json", "cf-connecting-ip": newClient() },
        body: new Blob([large]).stream(),
        // @ts-expect-error the types do not know it yet
        duplex: "half",
      });
      await refused(chunked, 413, "body_too_large");
    }
    assert.equal((await ask(gateway)).status, 202);
  });
});

suite("daily limit of key requests", () => {
  /** @param {Response} response */
  async function limited(response) {
    assert.equal((await response.clone().json()).error.type, "rate_limit_error");
    const message = await refused(response, 429, "rate_limit_exceeded");
    assert.equal(message, "Too many access requests from this IP. Try again later.");
    const seconds = response.headers.get("retry-after") ?? "";
    assert.match(seconds, /^\d+$/);
    assert.ok(Number(seconds) > 86_000 && Number(seconds) <= 86_400, seconds);
  }

  test("daily limit of key requests: the sixth request from an address returns 429, another address is unaffected", async () => {
    const client = { "cf-connecting-ip": "192.0.2.1" };
    for (let n = 0; n < 5; n += 1) assert.equal((await ask(gateway, asked, client)).status, 202);
    await limited(await ask(gateway, asked, client));
    assert.equal((await ask(gateway, asked, { "cf-connecting-ip": "192.0.2.2" })).status, 202);
    await limited(await ask(gateway, asked, { "cf-connecting-ip": "::ffff:192.0.2.1" }));
    // This limit is separate: the same client can run inference.
    assert.equal((await chat(gateway, {}, client)).status, 200);
  });

  test("daily limit of key requests: an IPv6 /64 network counts as one client", async () => {
    const client = (/** @type {string} */ address) => ({ "cf-connecting-ip": address });
    for (const end of ["::1", ":1:2:3:4", "::ffff", ":0:0:0:9", ":FFFF:ffff:ffff:ffff"]) {
      const headers = client(`2001:db8:ffff:1${end}`);
      assert.equal((await ask(gateway, asked, headers)).status, 202, end);
    }
    await limited(await ask(gateway, asked, client("2001:db8:ffff:1:abcd::")));
    await limited(await ask(gateway, asked, client("2001:0DB8:FFFF:0001:0:0:0:5")));
    assert.equal((await ask(gateway, asked, client("2001:db8:ffff:2::1"))).status, 202);
  });

  test("daily limit of key requests: invalid submissions do not count", async () => {
    const client = { "cf-connecting-ip": newClient() };
    for (let n = 0; n < 10; n += 1) assert.equal((await ask(gateway, {}, client)).status, 400);
    for (let n = 0; n < 5; n += 1) assert.equal((await ask(gateway, asked, client)).status, 202);
    await limited(await ask(gateway, asked, client));
  });

  test("daily limit of key requests: of twenty concurrent submissions five are accepted and stored", async () => {
    const client = { "cf-connecting-ip": newClient() };
    const body = { ...asked, email: "twenty@example.com" };
    const answers = await Promise.all(Array.from({ length: 20 }, () => ask(gateway, body, client)));
    const statuses = answers.map(({ status }) => status).sort();
    assert.deepEqual(statuses, [...Array(5).fill(202), ...Array(15).fill(429)]);
    assert.equal(stored(gateway, "email = 'twenty@example.com'"), 5);
  });

  test("daily limit of key requests: repeating an x-request-id does not bypass the limit", async () => {
    const client = { "cf-connecting-ip": newClient(), "x-request-id": "the-same-every-time" };
    const statuses = [];
    for (let n = 0; n < 7; n += 1) statuses.push((await ask(gateway, asked, client)).status);
    assert.deepEqual(statuses, [202, 202, 202, 202, 202, 429, 429]);
  });
});

suite("Idempotency-Key", () => {
  test("Idempotency-Key: a repeated submission gets the first response and is counted and stored once", async () => {
    const email = "again@example.com";
    const client = { "cf-connecting-ip": newClient() };
    const headers = { ...client, "idempotency-key": "order-66" };
    const first = await ask(gateway, { ...asked, email }, headers);
    assert.equal(first.status, 202);
    const text = await first.text();
    for (let n = 0; n < 8; n += 1) {
      const again = await ask(gateway, { ...asked, email }, headers);
      assert.deepEqual([again.status, await again.text()], [202, text]);
    }
    assert.equal(stored(gateway, `email = '${email}'`), 1);
    for (let n = 0; n < 4; n += 1) assert.equal((await ask(gateway, asked, client)).status, 202);
    assert.equal((await ask(gateway, asked, client)).status, 429);
    // The first response is still repeated.
    const again = await ask(gateway, { ...asked, email }, headers);
    assert.deepEqual([again.status, await again.text()], [202, text]);
  });

  test("Idempotency-Key: ten concurrent submissions with one key create one request", async () => {
    const email = "at-once@example.com";
    const headers = { "cf-connecting-ip": newClient(), "idempotency-key": "k" };
    const answers = await Promise.all(
      Array.from({ length: 10 }, () => ask(gateway, { ...asked, email }, headers)),
    );
    const ids = await Promise.all(answers.map(idOf));
    assert.equal(new Set(ids).size, 1);
    assert.equal(stored(gateway, `email = '${email}'`), 1);
  });

  test("Idempotency-Key: reuse with another body returns 422 and stores nothing", async () => {
    const client = { "cf-connecting-ip": newClient() };
    const headers = { ...client, "idempotency-key": "k" };
    const id = await idOf(await ask(gateway, asked, headers));
    const other = { ...asked, email: "other-body@example.com" };
    await refused(await ask(gateway, other, headers), 422, "idempotency_key_reused");
    assert.equal(stored(gateway, "email = 'other-body@example.com'"), 0);
    assert.equal(await idOf(await ask(gateway, asked, headers)), id);
    assert.equal(await idOf(await ask(gateway, asked, headers)), id);
    const fresh = await idOf(await ask(gateway, other, { ...client, "idempotency-key": "l" }));
    assert.notEqual(fresh, id);
  });

  test("Idempotency-Key: each client address has its own keys", async () => {
    const key = { "idempotency-key": "shared" };
    const one = await idOf(await ask(gateway, asked, key));
    const two = await idOf(await ask(gateway, { ...asked, use_case: "another" }, key));
    assert.notEqual(one, two);
  });

  test("Idempotency-Key: a key has 1 to 255 visible ASCII characters", async () => {
    for (const key of ["x".repeat(255), "!", "~", "a,b;c"]) {
      assert.equal((await ask(gateway, asked, { "idempotency-key": key })).status, 202);
    }
    for (const key of ["", "a b", "x".repeat(256), "\u00fc"]) {
      const response = await ask(gateway, asked, { "idempotency-key": key });
      await refused(response, 400, "invalid_value", "idempotency-key");
    }
  });
});

suite("AUTO_ISSUE_KEYS", () => {
  /** @type {Gateway} */ let issuing;
  before(async () => {
    issuing = await Gateway.start({ ...variables(upstream), AUTO_ISSUE_KEYS: "true" });
  });
  after(() => issuing?.stop());

  test("AUTO_ISSUE_KEYS: a submission returns a working key, which is listed and audited", async () => {
    const response = await ask(issuing);
    assert.equal(response.status, 201);
    const body = await response.json();
    assert.deepEqual(Object.keys(body).sort(), ["api_key", "message", "request_id", "status"]);
    assert.match(body.request_id, ID);
    assert.match(body.api_key, KEY_TEXT);
    assert.equal(body.status, "approved");
    assert.equal(body.message, "Your key has been issued. Store it safely: it is shown only once.");
    const headers = { authorization: `Bearer ${body.api_key}` };
    assert.equal((await chat(issuing, {}, headers)).status, 200);
    const path = `/api/portal/requests/${body.request_id}`;
    const found = await (await operate(issuing, "GET", path)).json();
    assert.deepEqual(
      [found.state, found.approved, found.decided_by],
      ["approved", true, "auto issue"],
    );
    assert.ok(found.key_id in found.portal_developer.keys);
    const [key] = await (await operate(issuing, "GET", `/v0/api_keys/${body.request_id}`)).json();
    assert.deepEqual(
      [key.id, key.state, key.request_id, key.secrets.length, key.secrets[0].public_id],
      [found.key_id, "active", body.request_id, 1, body.api_key.slice(0, 13)],
    );
    const noted = (await audit(issuing)).filter(({ subject }) => subject === body.request_id);
    assert.deepEqual(
      noted.map(({ action, actor, detail }) => [action, actor, detail.key_id]),
      [["request.approved", "auto issue", found.key_id]],
    );
    assert.ok(!JSON.stringify(noted).includes(body.api_key));
  });

  test("AUTO_ISSUE_KEYS: pages of other origins get no key", async () => {
    const before = stored(issuing);
    const own = new URL(issuing.url).origin;
    for (const headers of /** @type {Record<string, string>[]} */ ([
      { origin: "https://evil.example" },
      { origin: "null" },
      { origin: `${own}.evil.example` },
      { origin: own.replace(/:\d+$/, ":1") },
      { "sec-fetch-site": "cross-site" },
      { "sec-fetch-site": "same-site" },
      // A request that a browser sends without a preflight.
      { origin: "https://evil.example", "content-type": "" },
    ])) {
      const client = { "cf-connecting-ip": newClient() };
      const response = await ask(issuing, asked, { ...client, ...headers });
      await refused(response, 403, "permission_denied", "origin");
    }
    assert.deepEqual(stored(issuing), before);
    const email = "own-page@example.com";
    const client = { "cf-connecting-ip": newClient() };
    for (const headers of /** @type {Record<string, string>[]} */ ([
      { origin: own },
      { origin: own.replace("http:", "https:") },
      { "sec-fetch-site": "same-origin" },
    ])) {
      const response = await ask(issuing, { ...asked, email }, { ...client, ...headers });
      assert.equal(response.status, 201);
    }
  });

  test("AUTO_ISSUE_KEYS: the form shows the key once", async () => {
    const client = { "cf-connecting-ip": newClient() };
    const fields = { ...asked, once: "auto-form" };
    const first = await submit(issuing, fields, client);
    assert.equal(first.status, 201);
    assert.match(await first.text(), /<code id="key">gw_[0-9A-Za-z]{49}<\/code>/);
    const again = await submit(issuing, fields, client);
    const page = await again.text();
    assert.equal(again.status, 200);
    assert.match(page, /was shown only then/);
    assert.doesNotMatch(page, /gw_/);
  });

  test("AUTO_ISSUE_KEYS: a repeated Idempotency-Key creates one key, whose secret is shown once", async () => {
    const email = "auto-again@example.com";
    const TABLES = ["key_requests", "issued_keys", "key_secrets", "audit_log"];
    const before = TABLES.map((table) => issuing.count(table));
    const headers = { "cf-connecting-ip": newClient(), "idempotency-key": "k" };
    const first = await ask(issuing, { ...asked, email }, headers);
    const { request_id } = await first.json();
    assert.equal(first.status, 201);
    for (let n = 0; n < 6; n += 1) {
      const again = await ask(issuing, { ...asked, email }, headers);
      const body = await again.json();
      assert.deepEqual([again.status, body.request_id, body.status], [200, request_id, "approved"]);
      assert.ok(!("api_key" in body) && !JSON.stringify(body).includes("gw_"));
    }
    await refused(await ask(issuing, asked, headers), 422, "idempotency_key_reused");

    const client = { "cf-connecting-ip": newClient(), "idempotency-key": "at-once" };
    const answers = await Promise.all(Array.from({ length: 6 }, () => ask(issuing, asked, client)));
    const statuses = answers.map(({ status }) => status).sort();
    assert.deepEqual(statuses, [200, 200, 200, 200, 200, 201]);
    const ids = await Promise.all(answers.map(async (answer) => (await answer.json()).request_id));
    assert.equal(new Set(ids).size, 1);

    assert.deepEqual(
      TABLES.map((table) => issuing.count(table)),
      before.map((rows) => rows + 2),
    );
    const whole = await (await operate(issuing, "GET", "/v0/audit/verify")).json();
    assert.equal(whole.intact, true);
  });

  test("AUTO_ISSUE_KEYS: the daily limit applies", async () => {
    const client = { "cf-connecting-ip": newClient() };
    for (let n = 0; n < 5; n += 1) assert.equal((await ask(issuing, asked, client)).status, 201);
    await refused(await ask(issuing, asked, client), 429, "rate_limit_exceeded");
  });

  test("AUTO_ISSUE_KEYS: a request made before it was enabled stays pending when repeated", async () => {
    const state = await freshState();
    const headers = { "cf-connecting-ip": "192.0.2.77", "idempotency-key": "k" };
    try {
      const reviewing = await Gateway.start(variables(upstream), [], state);
      const id = await idOf(await ask(reviewing, asked, headers)).finally(() => reviewing.stop());
      const later = { ...variables(upstream), AUTO_ISSUE_KEYS: " True " };
      const turned = await Gateway.start(later, [], state);
      try {
        assert.equal((await ask(turned)).status, 201);
        const again = await ask(turned, asked, headers);
        const body = await again.json();
        assert.deepEqual([again.status, body.request_id, body.status], [202, id, "pending"]);
      } finally {
        await turned.stop();
      }
    } finally {
      await rm(state, { recursive: true });
    }
  });

  test("AUTO_ISSUE_KEYS: a key that cannot be stored is not returned", async () => {
    issuing.execute(
      `CREATE TRIGGER broken BEFORE INSERT ON key_secrets BEGIN SELECT RAISE(ABORT, 'disk full'); END`,
    );
    const before = stored(issuing);
    const client = { "cf-connecting-ip": newClient() };
    for (let n = 0; n < 7; n += 1) {
      const response = await ask(issuing, asked, client);
      assert.ok(!(await response.clone().text()).includes("gw_"));
      await refused(response, 503, "storage_unavailable");
    }
    assert.equal(stored(issuing), before);
    issuing.execute("DROP TRIGGER broken");
    for (let n = 0; n < 5; n += 1) assert.equal((await ask(issuing, asked, client)).status, 201);
  });
});

test("key requests: one e-mail address can submit a thousand requests from a thousand clients", async () => {
  const busy = await Gateway.start(variables(upstream));
  try {
    /** @type {string[]} */
    const ids = [];
    let left = 1000;
    const one = async () => {
      while (left > 0) {
        left -= 1;
        ids.push(await idOf(await ask(busy)));
      }
    };
    await Promise.all(Array.from({ length: 20 }, one));
    assert.equal(new Set(ids).size, 1000);

    /** @type {string[]} */
    const listed = [];
    for (let page = 1; page <= 100; page += 1) {
      const answer = await operate(busy, "GET", `/api/portal/requests?p=${page}`);
      const { Data, Pages } = await answer.json();
      assert.deepEqual([Data.length, Pages], [10, 100], `page ${page}`);
      listed.push(...Data.map((/** @type {any} */ request) => request.id));
    }
    assert.deepEqual(listed.toSorted(), ids.toSorted());
    assert.deepEqual(listed, listed.toSorted().reverse(), "newest first");
    const beyond = await (await operate(busy, "GET", "/api/portal/requests?p=101")).json();
    assert.deepEqual(beyond, { Data: [], Pages: 100 });
    const all = await (await operate(busy, "GET", "/api/portal/requests?p=0")).json();
    assert.deepEqual([all.Data.length, all.Pages], [1000, 0]);
  } finally {
    await busy.stop();
  }
});

suite("key requests without storage", () => {
  test("key requests without storage: a failed write returns 503, never 202, and does not count towards the limit", async () => {
    const client = { "cf-connecting-ip": newClient() };
    const headers = { ...client, "idempotency-key": "k" };
    gateway.execute(
      `CREATE TRIGGER broken BEFORE INSERT ON key_requests BEGIN SELECT RAISE(ABORT, 'disk full'); END`,
    );
    const before = stored(gateway);
    for (let n = 0; n < 12; n += 1) {
      const response = await ask(gateway, asked, n % 2 ? client : headers);
      assert.equal(response.headers.get("retry-after"), "5");
      const message = await refused(response, 503, "storage_unavailable");
      assert.ok(!message.includes("disk full"), message);
    }
    const parallel = await Promise.all(
      Array.from({ length: 5 }, () => ask(gateway, asked, client)),
    );
    for (const response of parallel) await refused(response, 503, "storage_unavailable");
    assert.equal(stored(gateway), before);
    gateway.execute("DROP TRIGGER broken");
    const first = await idOf(await ask(gateway, asked, headers));
    assert.equal(await idOf(await ask(gateway, asked, headers)), first);
    for (let n = 0; n < 4; n += 1) assert.equal((await ask(gateway, asked, client)).status, 202);
    assert.equal((await ask(gateway, asked, client)).status, 429);
    assert.equal(stored(gateway), before + 5);
  });

  test("key requests without storage: a database without tables returns 503 with the command that creates them", async () => {
    const state = await mkdtemp(join(tmpdir(), "gatehouse-state-"));
    const empty = await Gateway.start(variables(upstream), [], state);
    try {
      const client = { "cf-connecting-ip": newClient() };
      for (let n = 0; n < 6; n += 1) {
        const response = await ask(empty, asked, client);
        assert.equal(response.headers.get("retry-after"), "5");
        const message = await refused(response, 503, "storage_unavailable");
        assert.match(message, /d1 migrations apply/);
      }
      await refused(await ask(empty, "x"), 400, "invalid_json");
      // Ring keys need no database.
      assert.equal((await chat(empty, {})).status, 200);
    } finally {
      await empty.stop();
      await rm(state, { recursive: true });
    }
  });

  test("key requests: a gateway without any configured key returns 503, one with caller or operator keys accepts them", async () => {
    for (const [ring, status] of /** @type {[Record<string, string>, number][]} */ ([
      [{}, 503],
      [{ GATEWAY_API_KEY_HASHES: `${LABEL}:${KEY_HASH}` }, 202],
      [{ GATEWAY_ADMIN_KEY_HASHES: `${OPERATOR_LABEL}:${KEY_HASH}` }, 202],
    ])) {
      const lonely = await Gateway.start(ring);
      try {
        const response = await ask(lonely);
        assert.equal(response.status, status);
        if (status !== 503) continue;
        assert.ok(Number(response.headers.get("retry-after")) > 0);
        await refused(response, 503, "auth_not_configured");
        assert.equal(stored(lonely), 0);
      } finally {
        await lonely.stop();
      }
    }
  });
});

test("key requests: client address and user agent are stored only as keyed hashes, and no e-mail address is logged", async () => {
  const watched = await Gateway.start({ ...variables(upstream), GATEWAY_API_KEY: "x" });
  const addresses = ["198.51.100.237", "2001:db8:cafe:f00d:1:2:3:4"];
  const agent = "Mozilla/5.0 (PrivacyProbe 77.1; unmistakable)";
  const email = "unmistakable.person@example.com";
  const idempotency = "unmistakable-idempotency-key";
  try {
    for (const address of addresses) {
      const headers = {
        "cf-connecting-ip": address,
        "user-agent": agent,
        "idempotency-key": idempotency,
      };
      await idOf(await ask(watched, { ...asked, email }, headers));
      await idOf(await ask(watched, { ...asked, email }, headers));
      await refused(await ask(watched, { email, use_case: 7 }, headers), 400, "invalid_type");
      await refused(await ask(watched, { email: `${email}\n` }, headers), 400, "invalid_value");
    }
    watched.execute(
      `CREATE TRIGGER broken BEFORE INSERT ON key_requests BEGIN SELECT RAISE(ABORT, 'disk full'); END`,
    );
    const headers = { "cf-connecting-ip": String(addresses[0]), "user-agent": agent };
    await refused(await ask(watched, { ...asked, email }, headers), 503, "storage_unavailable");
    watched.execute("DROP TRIGGER broken");
    const id = await idOf(await ask(watched, { ...asked, email }, headers));
    assert.equal((await operate(watched, "PUT", `/api/portal/requests/approve/${id}`)).status, 200);

    const rows = watched.query(
      "SELECT ip_hash, user_agent_hash, idempotency_hash FROM key_requests",
    );
    assert.equal(rows.length, 3);
    for (const row of rows) {
      assert.match(String(row["ip_hash"]), HASH);
      assert.match(String(row["user_agent_hash"]), HASH);
    }
    assert.deepEqual(rows.map((row) => row["idempotency_hash"] !== null).sort(), [
      false,
      true,
      true,
    ]);
    assert.equal(new Set(rows.map((row) => row["ip_hash"])).size, 2);
    assert.equal(new Set(rows.map((row) => row["user_agent_hash"])).size, 1);

    const disk = (await contents(String(watched.state))).join("\n");
    const log = watched.log.join("\n");
    assert.ok(disk.includes(email), "the search finds what is there");
    const network = "2001:db8:cafe:f00d";
    for (const secret of [...addresses, network, agent, "PrivacyProbe", idempotency]) {
      assert.ok(!disk.includes(secret), `${secret} on disk`);
      assert.ok(!log.includes(secret), `${secret} in the log`);
    }
    assert.ok(!log.includes("unmistakable"), "the e-mail address is in the log");
    assert.ok(!log.includes(asked.use_case), "the use case is in the log");
  } finally {
    await watched.stop();
  }
});
