// @ts-check
//! Claim links: opening one changes nothing, using it returns a key exactly once, and a failed use does not spend it.

import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import {
  Gateway,
  Upstream,
  call,
  chat,
  contents,
  eventually,
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

const KEY_TEXT = /gw_[0-9A-Za-z]{49}/;
const BROWSER = {
  accept: "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8",
};

/** Creates and approves a request for a key; returns its id and the claim link. */
async function approved() {
  const asked = await requestKey(gateway, { email: "holder@example.com", use_case: "claiming" });
  assert.equal(asked.status, 202);
  const { request_id: id } = await asked.json();
  const answer = await operate(gateway, "PUT", `/api/portal/requests/approve/${id}`, {
    delivery: "claim",
  });
  assert.equal(answer.status, 200);
  const { ClaimURL: url, ExpiresAt: expires, ...rest } = await answer.json();
  assert.deepEqual(rest, {});
  return { id: String(id), url: String(url), expires: String(expires) };
}

/** @param {string} url */
const tokenOf = (url) => url.slice(url.lastIndexOf("/") + 1);

/**
 * @param {string} url
 * @param {Record<string, string>} [headers]
 */
const redeem = (url, headers = {}) => call(url, { method: "POST", headers });

/**
 * @param {Response} response
 * @param {number} status
 * @param {string} code
 */
async function refused(response, status, code) {
  const text = await response.text();
  assert.equal(response.status, status, text);
  assert.equal(JSON.parse(text).error.code, code);
  assert.ok(!KEY_TEXT.test(text));
}

/**
 * @param {string} sql
 * @param {...string} values
 */
const rows = (sql, ...values) => gateway.query(sql, ...values);

/** @param {string} name of a key */
const secretsOf = (name) =>
  rows(
    "SELECT s.* FROM key_secrets s JOIN issued_keys k ON k.id = s.key_id WHERE k.name = ?",
    name,
  );

/**
 * The entries of the audit trail about a request or key.
 *
 * @param {string} subject
 * @returns {{ action: string, actor: string, subject: string, detail: any }[]}
 */
const auditOf = (subject) =>
  rows("SELECT entry FROM audit_log ORDER BY seq")
    .map(({ entry }) => JSON.parse(String(entry)))
    .filter((entry) => entry.subject === subject);

/** @param {string} key */
const works = async (key) =>
  (await chat(gateway, {}, { authorization: `Bearer ${key}` })).status === 200;

/**
 * Asserts the headers of every response about a link.
 *
 * @param {Response} response
 */
function sealed({ headers }) {
  assert.equal(headers.get("cache-control"), "no-store");
  assert.equal(headers.get("referrer-policy"), "no-referrer");
  assert.equal(headers.get("x-content-type-options"), "nosniff");
  assert.equal(headers.get("x-frame-options"), "DENY");
  assert.equal(headers.get("set-cookie"), null);
}

/**
 * Asserts the headers of a page.
 *
 * @param {Response} response
 */
function page(response) {
  const { headers } = response;
  sealed(response);
  assert.equal(headers.get("content-type"), "text/html; charset=utf-8");
  assert.match(headers.get("x-robots-tag") ?? "", /noindex/);
  const policy = headers.get("content-security-policy") ?? "";
  assert.match(policy, /^default-src 'none'; /);
  assert.match(policy, /script-src 'nonce-[0-9A-Za-z]{20,}'/);
  assert.match(policy, /form-action 'self'/);
  assert.match(policy, /base-uri 'none'/);
  assert.match(policy, /frame-ancestors 'none'/);
  assert.ok(!policy.includes("unsafe"), policy);
  assert.ok(!/https?:|\*/.test(policy), policy);
  return policy;
}

suite("claim link", () => {
  test("claim link: its page can be opened any number of times and changes nothing", async () => {
    const { id, url, expires } = await approved();
    assert.match(url, /^http:\/\/127\.0\.0\.1:\d+\/access\/claim\/clm_[0-9a-f]{64}$/);
    assert.equal(new URL(url).origin, gateway.url);
    const hours = (Date.parse(expires) - Date.now()) / 3_600_000;
    assert.ok(hours > 71.9 && hours <= 72, expires);
    const nonces = new Set();
    for (const headers of [BROWSER, {}, { accept: "*/*" }, { accept: "application/json" }]) {
      for (let n = 0; n < 3; n += 1) {
        const response = await call(url, { headers });
        assert.equal(response.status, 200);
        nonces.add(page(response).match(/nonce-(\w+)/)?.[1]);
        const text = await response.text();
        assert.match(text, /<form method="post"><button>Show my key<\/button><\/form>/);
        assert.ok(!KEY_TEXT.test(text) && !text.includes(tokenOf(url)));
        assert.ok(!text.includes("{{"), "a place was left open");
      }
      const head = await call(url, { method: "HEAD", headers });
      assert.deepEqual([head.status, await head.text()], [200, ""]);
    }
    assert.equal(nonces.size, 12, "each page has a nonce of its own");
    assert.equal((await call(url, { method: "OPTIONS" })).status, 204);
    for (const method of ["PUT", "DELETE", "PATCH"]) {
      const response = await call(url, { method });
      assert.equal(response.status, 405);
      assert.equal(response.headers.get("allow"), "GET, POST, HEAD, OPTIONS");
    }
    assert.deepEqual(secretsOf(id), []);
    assert.deepEqual(
      auditOf(id).map(({ action }) => action),
      ["request.approved"],
    );
    const [key] = await (await operate(gateway, "GET", `/v0/api_keys/${id}`)).json();
    assert.deepEqual([key.state, key.secrets], ["active", []]);

    const answer = await redeem(url);
    assert.equal(answer.status, 200);
    assert.ok(await works((await answer.json()).api_key));
  });

  test("claim link: a program gets the key once, the key works, and the link is spent", async () => {
    const { id, url } = await approved();
    const answer = await redeem(url, { accept: "application/json" });
    assert.equal(answer.status, 200);
    sealed(answer);
    assert.match(answer.headers.get("x-robots-tag") ?? "", /noindex/);
    const body = await answer.json();
    assert.deepEqual(Object.keys(body).sort(), ["api_key", "message", "name"]);
    assert.match(body.api_key, KEY_TEXT);
    assert.equal(body.name, id);
    assert.equal(body.message, "Store it safely: it is shown only once.");
    assert.ok(await works(body.api_key));

    for (let n = 0; n < 2; n += 1) {
      const again = await redeem(url);
      sealed(again);
      await refused(again, 410, "claim_used");
      await refused(await call(url), 410, "claim_used");
    }
    assert.ok(await works(body.api_key));
    const noted = auditOf(id);
    assert.deepEqual(
      noted.map(({ action, actor }) => [action, actor]),
      [
        ["request.approved", "ops"],
        ["key.claimed", "claim link"],
      ],
    );
    assert.equal(noted[1]?.detail.public_id, body.api_key.slice(0, 13));
    const [key] = await (await operate(gateway, "GET", `/v0/api_keys/${id}`)).json();
    assert.deepEqual(
      key.secrets.map((/** @type {any} */ secret) => [secret.public_id, secret.expires_at]),
      [[body.api_key.slice(0, 13), null]],
    );
  });

  test("claim link: a browser gets a page with the key once, then pages that explain the error", async () => {
    const { url } = await approved();
    const form = { ...BROWSER, "content-type": "application/x-www-form-urlencoded" };
    const answer = await call(url, { method: "POST", headers: form, body: "" });
    assert.equal(answer.status, 200);
    page(answer);
    const text = await answer.text();
    const [key] = text.match(KEY_TEXT) ?? [];
    assert.ok(key && (await works(key)));
    assert.equal(text.split(key).length, 2, "it stands there once");
    assert.ok(!text.includes("{{") && !text.includes(tokenOf(url)));

    for (const response of [await redeem(url, BROWSER), await call(url, { headers: BROWSER })]) {
      assert.equal(response.status, 410);
      page(response);
      assert.equal(response.headers.get("x-gateway-error-source"), "gateway");
      assert.match(await response.text(), /<h1>Link already used<\/h1>/);
    }
    const lost = await call(`${url}0`, { headers: BROWSER });
    assert.equal(lost.status, 404);
    page(lost);
    assert.match(await lost.text(), /<h1>Unknown link<\/h1>/);
  });

  test("claim link: twenty concurrent claims return one key", async () => {
    const { id, url } = await approved();
    const answers = await Promise.all(Array.from({ length: 20 }, () => redeem(url)));
    const statuses = answers.map(({ status }) => status).sort();
    assert.deepEqual(statuses, [200, ...Array(19).fill(410)]);
    for (const answer of answers) {
      if (answer.status === 410) await refused(answer, 410, "claim_used");
      else assert.ok(await works((await answer.json()).api_key));
    }
    assert.equal(secretsOf(id).length, 1);
    assert.equal(auditOf(id).filter(({ action }) => action === "key.claimed").length, 1);
    const verified = await (await operate(gateway, "GET", "/v0/audit/verify")).json();
    assert.equal(verified.intact, true);
  });

  test("claim link: an expired link returns no key", async () => {
    const { id, url } = await approved();
    const ended = Date.now() - 1000;
    rows(
      `UPDATE claims SET expires_ms = ${ended} WHERE key_id = (SELECT id FROM issued_keys WHERE name = ?)`,
      id,
    );
    await refused(await call(url), 410, "claim_expired");
    await refused(await redeem(url), 410, "claim_expired");
    const shown = await redeem(url, BROWSER);
    assert.equal(shown.status, 410);
    page(shown);
    const text = await shown.text();
    assert.match(text, /<h1>Link expired<\/h1>/);
    assert.ok(text.includes(new Date(ended).toISOString().slice(0, 19)), text);
    assert.deepEqual(secretsOf(id), []);
  });

  test("claim link: an unknown or mistyped link returns 404", async () => {
    const { url } = await approved();
    const token = tokenOf(url);
    for (const wrong of [
      `clm_${"0".repeat(64)}`,
      token.slice(0, -1),
      `${token}0`,
      token.toUpperCase(),
      token.replace("clm_", ""),
      token.replace("clm_", "gw_"),
      `${token.slice(0, -1)}${token.endsWith("0") ? "1" : "0"}`,
      `${token}%00`,
      `%20${token}`,
      "clm_",
      "used",
      "'%20OR%201=1--",
      "x".repeat(5000),
    ]) {
      const at = `${gateway.url}/access/claim/${wrong}`;
      await refused(await call(at), 404, "claim_not_found");
      await refused(await redeem(at), 404, "claim_not_found");
    }
    assert.equal((await call(`${gateway.url}/access/claim/`)).status, 404);
    assert.equal((await redeem(url)).status, 200);
  });

  test("claim link: the link of a revoked key returns no key", async () => {
    const { id, url } = await approved();
    assert.equal((await operate(gateway, "DELETE", `/v0/api_keys/${id}`)).status, 200);
    await refused(await call(url), 404, "claim_not_found");
    await refused(await redeem(url), 404, "claim_not_found");
    assert.deepEqual(secretsOf(id), []);
  });

  test("claim link: a claim during a revocation leaves no working secret", async () => {
    for (let round = 0; round < 5; round += 1) {
      const { id, url } = await approved();
      const [claimed, revoked] = await Promise.all([
        redeem(url),
        operate(gateway, "DELETE", `/v0/api_keys/${id}`),
      ]);
      assert.equal(revoked.status, 200);
      assert.deepEqual(secretsOf(id), []);
      if (claimed.status !== 200) continue;
      const { api_key } = await claimed.json();
      await eventually(async () => !(await works(api_key)), 12_000);
    }
  });
});

suite("claim link during a database failure", () => {
  for (const table of ["key_secrets", "audit_log", "claims"]) {
    test(`claim link: a failed write to ${table} returns 503 and the link can be used again`, async () => {
      const { id, url } = await approved();
      const when = table === "claims" ? "UPDATE" : "INSERT";
      rows(
        `CREATE TRIGGER broken BEFORE ${when} ON ${table} BEGIN SELECT RAISE(ABORT, 'disk full'); END`,
      );
      const before = auditOf(id).length;
      try {
        const response = await redeem(url);
        assert.equal(response.headers.get("retry-after"), "5");
        sealed(response);
        await refused(response, 503, "storage_unavailable");
        const shown = await redeem(url, BROWSER);
        assert.equal(shown.status, 503);
        assert.equal(shown.headers.get("retry-after"), "5");
        page(shown);
        const text = await shown.text();
        assert.ok(!text.includes("disk full") && !KEY_TEXT.test(text));
      } finally {
        rows("DROP TRIGGER broken");
      }
      assert.deepEqual(secretsOf(id), []);
      assert.equal(auditOf(id).length, before);
      assert.equal((await call(url)).status, 200);
      const answer = await redeem(url);
      assert.equal(answer.status, 200);
      assert.ok(await works((await answer.json()).api_key));
    });
  }

  test("claim link: a failed lookup returns 503", async () => {
    const { url } = await approved();
    rows("ALTER TABLE claims RENAME TO claims_away");
    try {
      await refused(await call(url), 503, "storage_unavailable");
      await refused(await redeem(url), 503, "storage_unavailable");
    } finally {
      rows("ALTER TABLE claims_away RENAME TO claims");
    }
    assert.equal((await redeem(url)).status, 200);
  });
});

suite("rotation by claim link", () => {
  let names = 0;
  /** Creates a key; returns its name and secret. */
  async function made() {
    names += 1;
    const name = `rotated-${names}`;
    const answer = await operate(gateway, "POST", "/v0/api_keys", { name });
    assert.equal(answer.status, 201);
    return { name, key: String((await answer.json()).api_key) };
  }
  /**
   * @param {string} name
   * @param {object} body
   */
  async function rotated(name, body) {
    const answer = await operate(gateway, "POST", `/v0/api_keys/${name}/rotate`, body);
    assert.equal(answer.status, 200);
    return answer.json();
  }

  test("rotation by claim link: the old secret works until the link is opened and then for the overlap", async () => {
    const { name, key } = await made();
    const offered = await rotated(name, { delivery: "claim", overlap_seconds: 3 });
    assert.deepEqual(Object.keys(offered).sort(), ["claim_expires_at", "claim_url", "id", "name"]);
    const [before] = await (await operate(gateway, "GET", `/v0/api_keys/${name}`)).json();
    assert.deepEqual(
      before.secrets.map((/** @type {any} */ secret) => secret.expires_at),
      [null],
    );
    assert.equal((await call(offered.claim_url)).status, 200);
    assert.ok(await works(key));

    const answer = await redeem(offered.claim_url);
    assert.equal(answer.status, 200);
    const { api_key: newer, name: shown } = await answer.json();
    const opened = Date.now();
    assert.equal(shown, name);
    assert.notEqual(newer, key);
    assert.ok((await works(key)) && (await works(newer)));
    const [during] = await (await operate(gateway, "GET", `/v0/api_keys/${name}`)).json();
    assert.equal(during.secrets.length, 2);
    const end = Date.parse(
      during.secrets.find((/** @type {any} */ secret) => secret.public_id === key.slice(0, 13))
        .expires_at,
    );
    assert.ok(end > opened - 2000 && end <= opened + 3000, `${end - opened}`);

    await eventually(async () => !(await works(key)), 8000);
    assert.ok(Date.now() >= end - 100, "it ended early");
    assert.ok(await works(newer));
    const after = await chat(gateway, {}, { authorization: `Bearer ${key}` });
    assert.equal(after.status, 401);
    await refused(await redeem(offered.claim_url), 410, "claim_used");
    assert.deepEqual(
      auditOf(name).map(({ action }) => action),
      ["key.created", "key.rotated", "key.claimed"],
    );
  });

  test("rotation by claim link: without an overlap the old secret ends when the link is opened", async () => {
    const { name, key } = await made();
    const offered = await rotated(name, { delivery: "claim", overlap_seconds: 0 });
    assert.ok(await works(key));
    const { api_key: newer } = await (await redeem(offered.claim_url)).json();
    await eventually(async () => !(await works(key)), 11_000);
    assert.ok(await works(newer));
  });

  test("rotation by claim link: a key that has no secret yet gets it from the link", async () => {
    const answer = await operate(gateway, "POST", "/v0/api_keys", {
      name: "for-a-claim",
      delivery: "claim",
    });
    assert.equal(answer.status, 201);
    const { claim_url: url, ...rest } = await answer.json();
    assert.deepEqual(Object.keys(rest).sort(), ["claim_expires_at", "id", "name"]);
    const shown = await (await redeem(url)).json();
    assert.equal(shown.name, "for-a-claim");
    assert.ok(await works(shown.api_key));
  });
});

test("claim link: neither token nor key is stored or logged", async () => {
  const { id, url, expires } = await approved();
  const token = tokenOf(url);
  await call(url, { headers: BROWSER });
  const { api_key: key } = await (await redeem(url)).json();
  await redeem(url);
  const second = await approved();
  const { api_key: other } = await (await redeem(second.url)).json();
  const made = await operate(gateway, "POST", "/v0/api_keys", { name: "kept-nowhere" });
  const { api_key: third } = await made.json();
  const answer = await chat(gateway, {}, { authorization: `Bearer ${key}` });
  await gateway.callOf(answer.headers.get("x-request-id") ?? "");

  // Everything except the notes of `wrangler dev` itself on requests, which contain their URLs, as `invocation_logs`
  // would in production.
  const isOurs = (/** @type {string} */ path) => !path.includes("/observability/");
  const disk = (await contents(String(gateway.state), isOurs)).join("\n");
  const log = JSON.stringify(gateway.events());
  assert.ok(disk.includes(id) && disk.includes(key.slice(0, 13)), "the search finds what is there");
  assert.ok(expires);
  for (const secret of [token, tokenOf(second.url), key, other, third]) {
    for (const part of [secret, secret.slice(13)]) {
      assert.ok(!disk.includes(part), "a secret on disk");
      assert.ok(!log.includes(part), "a secret in the log");
    }
  }
});
