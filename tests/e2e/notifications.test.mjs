// @ts-check
//! Notifications: the operator's webhook for requests and approvals, signed and retried, and e-mail with a claim link to
//! the applicant. Also what a collector of OpenTelemetry gets.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { after, before, suite, test } from "node:test";
import { Ajv2020 } from "ajv/dist/2020.js";
import { Webhook } from "standardwebhooks";
import {
  Gateway,
  Upstream,
  call,
  chat,
  eventually,
  freePort,
  freshState,
  newClient,
  operate,
  redeem,
  requestKey,
  root,
  variables,
} from "./harness.mjs";

const SECRET = `whsec_${Buffer.alloc(32, 5).toString("base64")}`;
const KEY_TEXT = /gw_[0-9A-Za-z]{49}/;
const TOKEN_TEXT = /clm_[0-9a-f]{64}/;

const spec = JSON.parse(readFileSync(`${root}openapi.json`, "utf8"));
const ajv = new Ajv2020({ strict: false, validateFormats: false }).addSchema(spec, "openapi.json");
/** @param {string} name of a schema */
const schema = (name) => ajv.compile({ $ref: `openapi.json#/components/schemas/${name}` });
/** The schemas of the bodies by the first word of the event. */
const SCHEMAS = /** @type {Record<string, import("ajv").ValidateFunction>} */ ({
  key_request_event: schema("KeyRequestEvent"),
  key_event: schema("KeyEvent"),
  alert_event: schema("AlertEvent"),
});

/**
 * @typedef {object} Delivery
 * @property {string} path
 * @property {string} method
 * @property {Record<string, string>} headers
 * @property {string} body
 * @property {any} said the body, read
 * @property {string} id
 * @property {number} at
 * @property {number} nth of its id, from 1
 */

/** The reaction of a receiver to a delivery: a status, a redirect, silence, or a broken connection. */
/** @typedef {(delivery: Delivery) => number | "redirect" | "hang" | "break"} Behaviour */

/** The receiver of a webhook. */
class Receiver {
  /** @type {Delivery[]} */ deliveries = [];
  /** @type {Behaviour} */ behaviour = () => 204;

  /** @param {number} port */
  constructor(port) {
    this.port = port;
    this.url = `http://127.0.0.1:${port}/hook`;
    this.server = createServer(async (request, response) => {
      let body = "";
      for await (const chunk of request.setEncoding("utf8")) body += chunk;
      const headers = /** @type {Record<string, string>} */ (request.headers);
      const id = headers["webhook-id"] ?? "";
      const delivery = {
        path: request.url ?? "",
        method: request.method ?? "",
        headers,
        body,
        said: body === "" ? null : JSON.parse(body),
        id,
        at: Date.now(),
        nth: this.of(id).length + 1,
      };
      this.deliveries.push(delivery);
      const what = this.behaviour(delivery);
      if (what === "hang") return;
      if (what === "break") {
        request.socket.destroy();
        return;
      }
      if (what === "redirect") response.setHeader("location", `http://127.0.0.1:${port}/elsewhere`);
      response.writeHead(what === "redirect" ? 307 : what).end(what === 204 ? undefined : "words");
    });
  }

  /** @param {number} [port] */
  static async start(port) {
    const receiver = new Receiver(port ?? (await freePort()));
    receiver.server.listen(receiver.port, "127.0.0.1");
    await once(receiver.server, "listening");
    return receiver;
  }

  /**
   * The deliveries of an id.
   *
   * @param {string} id
   */
  of(id) {
    return this.deliveries.filter((delivery) => delivery.id === id);
  }

  /**
   * The nth delivery about a request, once it has arrived.
   *
   * @param {string} request
   * @param {"submitted" | "approved"} event
   * @param {number} [nth]
   * @param {number} [ms]
   */
  delivery(request, event, nth = 1, ms = 10_000) {
    return eventually(() => this.of(`msg_${request}_${event}`)[nth - 1], ms);
  }

  async stop() {
    this.server.closeAllConnections();
    this.server.close();
  }
}

/**
 * Submits a request for a key.
 *
 * @param {Gateway} gateway
 * @param {string} [use_case]
 * @param {string} [email]
 */
async function ask(gateway, use_case = "Notifications", email = "asker@example.com") {
  const response = await requestKey(gateway, { email, use_case });
  assert.equal(response.status, 202, await response.clone().text());
  return String((await response.json()).request_id);
}

/**
 * Fails unless a delivery is well-formed and signed.
 *
 * @param {Delivery} delivery
 */
function genuine({ method, path, headers, body, said, at }) {
  assert.deepEqual([method, path], ["POST", "/hook"]);
  assert.equal(headers["content-type"], "application/json");
  assert.equal(headers["user-agent"], "gatehouse");
  assert.ok(Math.abs(Number(headers["webhook-timestamp"]) * 1000 - at) < 3000);
  const webhook = new Webhook(SECRET);
  assert.deepEqual(webhook.verify(body, headers), said);
  assert.throws(() => webhook.verify(`${body} `, headers));
  assert.throws(() => webhook.verify(body, { ...headers, "webhook-id": "msg_other" }));
  assert.throws(() => new Webhook(Buffer.alloc(32, 6).toString("base64")).verify(body, headers));
  const isEvent = SCHEMAS[said.type.split(".")[0]];
  assert.ok(isEvent?.(said), JSON.stringify(isEvent?.errors));
  assert.ok(!KEY_TEXT.test(body) && !TOKEN_TEXT.test(body), "a secret was sent");
}

/**
 * The notifications that have not been delivered.
 *
 * @param {Gateway} gateway
 */
const waiting = (gateway) =>
  gateway.query("SELECT id, attempts, next_ms FROM notifications ORDER BY id");

/** @type {Upstream} */ let upstream;
before(async () => {
  upstream = await Upstream.start();
});
after(() => upstream?.stop());

/** @param {Receiver} receiver */
const notifying = (receiver) => ({
  ...variables(upstream, { webhook: { url: receiver.url } }),
  GATEWAY_WEBHOOK_SECRET: SECRET,
});

suite("webhook", () => {
  /** @type {Receiver} */ let receiver;
  /** @type {Gateway} */ let gateway;
  before(async () => {
    receiver = await Receiver.start();
    const alerts = {
      budget_percent: [50, 100],
      key_expires_days: 7,
      provider_failing: true,
      requests_waiting_hours: 1,
    };
    gateway = await Gateway.start({
      ...variables(upstream, {
        webhook: { url: receiver.url },
        alerts,
        providers: {
          demo: { base_url: `${upstream.url}/v1`, models: ["sim-small"] },
          broken: { base_url: `${upstream.url}/v1`, models: ["one", "two", "three", "four"] },
          shaky: {
            base_url: `${upstream.url}/v1`,
            models: Array.from({ length: 8 }, (_, n) => `m${n}`),
          },
        },
        telemetry: { otlp_url: `http://127.0.0.1:${receiver.port}/otlp` },
      }),
      BROKEN_API_KEY: "sk-broken",
      SHAKY_API_KEY: "sk-shaky",
      GATEWAY_WEBHOOK_SECRET: SECRET,
      GATEWAY_OTLP_HEADERS: "authorization=Bearer%20otlp-token",
      GATEWAY_SLACK_URL: `http://127.0.0.1:${receiver.port}/slack`,
    });
  });
  after(() => Promise.all([gateway?.stop(), receiver?.stop()]));

  test("webhook: submission and approval of a request are delivered, signed and without secrets", async () => {
    for (const delivery of ["key", "claim"]) {
      const email = `hook.${delivery}@example.com`;
      const id = await ask(gateway, "größer — 日本語", email);
      const submitted = await receiver.delivery(id, "submitted");
      genuine(submitted);
      assert.equal(submitted.said.event, "key_request_event.submitted");
      const path = `/api/portal/requests/${id}`;
      const asked = await (await operate(gateway, "GET", path)).json();
      assert.deepEqual(submitted.said.data, asked);
      assert.equal(asked.portal_developer.email, email);

      const approve = `/api/portal/requests/approve/${id}`;
      assert.equal((await operate(gateway, "PUT", approve, { delivery })).status, 200);
      const approved = await receiver.delivery(id, "approved");
      genuine(approved);
      assert.equal(approved.said.event, "key_request_event.approved");
      const { data } = approved.said;
      assert.deepEqual(
        [data.id, data.state, data.approved, data.decided_by],
        [id, "approved", true, "ops"],
      );
      const [key] = await (await operate(gateway, "GET", `/v0/api_keys/${id}`)).json();
      assert.equal(data.key_id, key.id);
    }
    const body = { fields: { email: "by-operator@example.com" }, by_user: "someone" };
    const made = await (await operate(gateway, "POST", "/api/portal/requests", body)).json();
    genuine(await receiver.delivery(made.Message, "submitted"));
    await eventually(() => waiting(gateway).length === 0);
    const ids = receiver.deliveries.map(({ id }) => id);
    assert.equal(ids.length, 5);
    assert.equal(new Set(ids).size, 5);
  });

  test("webhook: the body equals the request as operators see it, with the developer's keys", async () => {
    const email = "with-keys@example.com";
    for (let n = 0; n < 2; n += 1) {
      const id = await ask(gateway, "another", email);
      const path = `/api/portal/requests/${id}`;
      const submitted = await receiver.delivery(id, "submitted");
      const asked = await (await operate(gateway, "GET", path)).json();
      assert.deepEqual(submitted.said.data, asked);
      const approve = `/api/portal/requests/approve/${id}`;
      assert.equal((await operate(gateway, "PUT", approve)).status, 200);
      const approved = await receiver.delivery(id, "approved");
      assert.deepEqual(approved.said.data, await (await operate(gateway, "GET", path)).json());
    }
  });

  test("webhook: rejected, repeated, declined and deleted requests are not delivered", async () => {
    const count = receiver.deliveries.length;
    const client = { "cf-connecting-ip": newClient() };
    assert.equal((await requestKey(gateway, {}, client)).status, 400);
    const body = { email: "once@example.com", use_case: "once" };
    const headers = { ...client, "idempotency-key": "k" };
    for (let n = 0; n < 3; n += 1) {
      assert.equal((await requestKey(gateway, body, headers)).status, 202);
    }
    const id = await ask(gateway);
    await receiver.delivery(id, "submitted");
    const path = `/api/portal/requests/decline/${id}`;
    assert.equal((await operate(gateway, "PUT", path)).status, 200);
    assert.equal((await operate(gateway, "DELETE", `/api/portal/requests/${id}`)).status, 200);
    await eventually(() => waiting(gateway).length === 0);
    await new Promise((resolve) => setTimeout(resolve, 500));
    assert.equal(receiver.deliveries.length, count + 2);
  });

  test("webhook: a failed delivery is retried after 5 s with the same id", async () => {
    receiver.behaviour = ({ nth }) => (nth === 1 ? 500 : 200);
    const id = await ask(gateway);
    const first = await receiver.delivery(id, "submitted");
    const second = await receiver.delivery(id, "submitted", 2);
    const waited = second.at - first.at;
    assert.ok(waited > 4900 && waited < 8000, `${waited}`);
    genuine(first);
    genuine(second);
    assert.equal(first.body, second.body);
    await eventually(() => waiting(gateway).length === 0);
    const noted = gateway.events().filter((event) => event.event === "webhook");
    assert.deepEqual(
      noted.map(({ id, attempts, error, given_up }) => [id, attempts, error, given_up]),
      [[first.id, 1, "the receiver responded with status 500", false]],
    );
    await new Promise((resolve) => setTimeout(resolve, 300));
    assert.equal(receiver.of(first.id).length, 2);
  });

  test("webhook: a redirect, a broken connection or a timeout is retried, and redirects are not followed", async () => {
    receiver.behaviour = ({ nth, said }) => (nth === 1 ? said.data.fields.use_case : 204);
    const ids = [];
    for (const what of ["redirect", "break", "hang"]) ids.push(await ask(gateway, what));
    for (const id of ids) {
      const again = await receiver.delivery(id, "submitted", 2, 40_000);
      genuine(again);
      const waited = again.at - (receiver.of(again.id)[0]?.at ?? 0);
      const noted = gateway.events().filter((event) => event.event === "webhook");
      const came = receiver.deliveries.map(({ id, nth, at }) => [id, nth, at - again.at]);
      assert.ok(waited > 4900, `${again.id}: ${waited} ms: ${JSON.stringify({ came, noted })}`);
    }
    await eventually(() => waiting(gateway).length === 0);
    assert.ok(receiver.deliveries.every(({ path }) => path !== "/elsewhere"));
  });

  test("webhook: after ten failures a delivery is given up and kept in the database", async () => {
    receiver.behaviour = () => 503;
    const id = await ask(gateway);
    await receiver.delivery(id, "submitted");
    await eventually(() => waiting(gateway)[0]?.["attempts"] === 1);
    // The day of the other attempts.
    gateway.execute("UPDATE notifications SET attempts = 9, next_ms = 1");
    await receiver.delivery(id, "submitted", 2);
    await eventually(() => waiting(gateway)[0]?.["next_ms"] === null);
    const [noted] = waiting(gateway);
    assert.deepEqual([noted?.["id"], noted?.["attempts"]], [`msg_${id}_submitted`, 10]);
    const last = gateway.events().findLast((event) => event.event === "webhook");
    assert.deepEqual([last?.attempts, last?.given_up], [10, true]);
    receiver.behaviour = () => 204;
    const other = await ask(gateway);
    await receiver.delivery(other, "submitted");
    await eventually(() => waiting(gateway).length === 1);
    assert.equal(receiver.of(`msg_${id}_submitted`).length, 2);
    gateway.execute("DELETE FROM notifications");
  });

  test("webhook: each of fifty concurrent requests is delivered once", async () => {
    const ids = await Promise.all(Array.from({ length: 50 }, () => ask(gateway)));
    for (const id of ids) await receiver.delivery(id, "submitted", 1, 20_000);
    await eventually(() => waiting(gateway).length === 0);
    for (const id of ids) assert.equal(receiver.of(`msg_${id}_submitted`).length, 1);
  });

  test("webhook: a delivery is sent even if the Worker dies before it has woken the notifier", async () => {
    // A submission that fails after the notifier was woken, and a row as the submission would have written it.
    const broken =
      "CREATE TRIGGER broken BEFORE INSERT ON key_requests BEGIN SELECT RAISE(ABORT, 'x'); END";
    gateway.execute(broken);
    const body = { email: "dead@example.com", use_case: "none" };
    assert.equal((await requestKey(gateway, body)).status, 503);
    gateway.execute(
      `DROP TRIGGER broken; INSERT INTO notifications (id, body, next_ms) VALUES ('msg_by-hand', '{"a":"é"}', ${Date.now()})`,
    );
    const delivery = await eventually(() => receiver.of("msg_by-hand")[0], 30_000);
    new Webhook(SECRET).verify(delivery.body, delivery.headers);
    assert.equal(delivery.body, '{"a":"é"}');
    await eventually(() => waiting(gateway).length === 0);
  });

  test("webhook: a request whose notification cannot be stored is not stored either", async () => {
    const count = receiver.deliveries.length;
    gateway.execute(
      "CREATE TRIGGER broken BEFORE INSERT ON notifications BEGIN SELECT RAISE(ABORT, 'full'); END",
    );
    const body = { email: "lost@example.com", use_case: "none" };
    try {
      assert.equal((await requestKey(gateway, body)).status, 503);
    } finally {
      gateway.execute("DROP TRIGGER broken");
    }
    const all = await (await operate(gateway, "GET", "/api/portal/requests?p=0")).json();
    const emails = all.Data.map((/** @type {any} */ request) => request.portal_developer.email);
    assert.ok(!emails.includes("lost@example.com"));
    assert.equal(receiver.deliveries.length, count);
  });

  /**
   * The delivery of a change of an alert on the webhook, once it has arrived.
   *
   * @param {string} alert
   * @param {string} subject
   * @param {"firing" | "resolved"} state
   */
  const changed = (alert, subject, state) =>
    eventually(() => {
      const of = receiver.deliveries.filter(({ said }) => said?.data?.alert === alert);
      return of.find(({ said }) => said.data.subject === subject && said.data.state === state);
    }, 40_000);

  const testAlerts = async () => (await operate(gateway, "POST", "/v0/alerts/test")).json();
  const alerts = async () => (await (await operate(gateway, "GET", "/v0/alerts")).json()).data;

  test("webhook: a rotation by the holder of a key is delivered, without the secret", async () => {
    const made = await operate(gateway, "POST", "/v0/api_keys", { name: "spun" });
    const { api_key: key, id } = await made.json();
    const response = await call(`${gateway.url}/usage/rotate`, {
      method: "POST",
      headers: { authorization: `Bearer ${key}` },
    });
    const { api_key: next, previous_expires_at } = await response.json();
    const delivery = await eventually(() => receiver.of(`msg_${next.slice(0, 13)}_rotated`)[0]);
    genuine(delivery);
    const { data } = delivery.said;
    assert.deepEqual(
      [data.key_id, data.name, data.public_id, data.previous_expires_at],
      [id, "spun", next.slice(0, 13), previous_expires_at],
    );
  });

  test("alerts: a test goes to each channel, signed to the webhook and as Slack's JSON", async () => {
    receiver.behaviour = () => 204;
    const { data } = await testAlerts();
    assert.deepEqual(data, [
      { channel: "webhook", delivered: true, error: null },
      { channel: "slack", delivered: true, error: null },
    ]);
    const sent = receiver.deliveries.filter(({ said }) => said?.type === "alert_event.test");
    assert.equal(sent.length, 1);
    genuine(/** @type {Delivery} */ (sent[0]));
    const slack = receiver.deliveries.filter(({ path }) => path === "/slack").at(-1);
    assert.deepEqual(slack?.said, {
      text: "This is a test of the alerts of Gatehouse, sent by 'ops'.",
    });
    assert.equal(slack?.headers["webhook-signature"], undefined);
    receiver.behaviour = ({ path }) => (path === "/slack" ? 404 : 204);
    const failed = (await testAlerts()).data.find(
      (/** @type {any} */ one) => one.channel === "slack",
    );
    assert.deepEqual(
      [failed.delivered, failed.error],
      [false, "the receiver responded with status 404"],
    );
    receiver.behaviour = () => 204;
  });

  test("alerts: a key that expires soon is notified once, and again when it no longer does", async () => {
    const expires_at = new Date(Date.now() + 86_400_000).toISOString();
    await operate(gateway, "POST", "/v0/api_keys", { name: "ending", expires_at });
    for (let n = 0; n < 3; n += 1) await testAlerts();
    const firing = await changed("key_expiring", "ending", "firing");
    genuine(firing);
    assert.match(firing.said.data.message, /^The key 'ending' expires at /);
    const slack = await eventually(() =>
      receiver.deliveries.find(({ path, body }) => path === "/slack" && body.includes("'ending'")),
    );
    assert.equal(slack.said.text, `${firing.said.data.message}.`);
    assert.deepEqual(
      (await alerts()).map((/** @type {any} */ one) => [one.alert, one.subject, one.state]),
      [["key_expiring", "ending", "firing"]],
    );
    await operate(gateway, "PATCH", "/v0/api_keys/ending", { expires_at: null });
    await testAlerts();
    genuine(await changed("key_expiring", "ending", "resolved"));
    const all = receiver.deliveries.filter(({ said }) => said?.data?.subject === "ending");
    assert.equal(all.length, 2);
    assert.deepEqual(await alerts(), []);
  });

  test("alerts: a key request that waits is notified until it is decided", async () => {
    const id = await ask(gateway);
    const hours = 2 * 3_600_000;
    gateway.execute(
      `UPDATE key_requests SET created_ms = created_ms - ${hours} WHERE id = '${id}'`,
    );
    await testAlerts();
    const firing = await changed("requests_waiting", "", "firing");
    assert.match(firing.said.data.message, /^A key request waits for an operator since /);
    await operate(gateway, "PUT", `/api/portal/requests/decline/${id}`);
    await testAlerts();
    genuine(await changed("requests_waiting", "", "resolved"));
  });

  test("alerts: a budget is notified when it is spent, and when it has room again", async () => {
    const body = { name: "thrifty", limits: { requests_per_day: 2 } };
    const { api_key: key } = await (await operate(gateway, "POST", "/v0/api_keys", body)).json();
    const use = async () => (await chat(gateway, {}, { authorization: `Bearer ${key}` })).status;
    assert.deepEqual([await use(), await use(), await use()], [200, 200, 402]);
    const firing = await changed("budget", "thrifty requests_per_day", "firing");
    genuine(firing);
    assert.equal(firing.said.data.level, 100);
    assert.match(
      firing.said.data.message,
      /^The key 'thrifty' has used 2 requests of its limit of 2 /,
    );
    assert.equal(Date.parse(firing.said.data.ends_at) % 86_400_000, 0);
    const more = { limits: { requests_per_day: 100 } };
    assert.equal((await operate(gateway, "PATCH", "/v0/api_keys/thrifty", more)).status, 200);
    assert.equal(await use(), 200);
    genuine(await changed("budget", "thrifty requests_per_day", "resolved"));
    const sent = receiver.deliveries.filter(({ said }) => said?.data?.alert === "budget");
    assert.equal(sent.length, 2);
  });

  test("alerts: a provider that fails is notified once", async () => {
    const models = ["one", "two", "three", "four"].map((name) => `broken/${name}`);
    const simulate = { status: 500 };
    await Promise.all(models.map((model) => chat(gateway, { model, simulate })));
    const firing = await changed("provider_failing", "broken", "firing");
    genuine(firing);
    assert.equal(firing.said.data.message, "Almost every call to the provider 'broken' fails");
  });

  /**
   * Changes the settings of alerts.
   *
   * @param {"PUT" | "DELETE"} method
   * @param {object} [body]
   */
  async function setAlerts(method, body) {
    const response = await operate(gateway, method, "/v0/alerts/settings", body);
    assert.equal(response.status, 200, await response.clone().text());
    return response.json();
  }

  test("alerts: an error rate is notified once when it begins, and once when the provider has recovered", async () => {
    await setAlerts("PUT", { error_rate_percent: 25 });
    const { data: before } = await (await operate(gateway, "GET", "/v0/alerts")).json();
    assert.deepEqual(before, [], "the alert of the failing provider has ended with its setting");
    genuine(await changed("provider_failing", "broken", "resolved"));
    const models = Array.from({ length: 8 }, (_, n) => `shaky/m${n}`);
    const good = (/** @type {number} */ times) =>
      Promise.all(
        Array.from({ length: times }, () => models)
          .flat()
          .map((model) => chat(gateway, { model })),
      );
    await good(2);
    await Promise.all(models.map((model) => chat(gateway, { model, simulate: { status: 500 } })));
    const firing = await changed("error_rate", "shaky", "firing");
    genuine(firing);
    assert.equal(
      firing.said.data.message,
      "At least 25 % of the calls to the provider 'shaky' failed in the last minutes",
    );
    // The lanes are in cooldown for some seconds.
    await eventually(async () => {
      await good(4);
      return receiver.deliveries.some(
        ({ said }) => said?.data?.subject === "shaky" && said.data.state === "resolved",
      );
    }, 90_000);
    genuine(await changed("error_rate", "shaky", "resolved"));
    const sent = receiver.deliveries.filter(({ said }) => said?.data?.subject === "shaky");
    assert.equal(sent.length, 2);
    await setAlerts("DELETE");
  });

  test("alerts: settings that are changed at run time apply where alerts are checked, and a reset ends their alerts", async () => {
    const expires_at = new Date(Date.now() + 20 * 86_400_000).toISOString();
    await operate(gateway, "POST", "/v0/api_keys", { name: "far", expires_at });
    const state = async () => (await operate(gateway, "GET", "/v0/alerts/settings")).json();
    const filed = await state();
    assert.deepEqual([filed.source, filed.value.key_expires_days], ["GATEWAY_CONFIG", 7]);

    const body = { key_expires_days: 30 };
    const dry = await setAlerts("PUT", body);
    assert.deepEqual([dry.was.key_expires_days, dry.value.key_expires_days], [7, 30]);
    const since = Date.now();
    const firing = await changed("key_expiring", "far", "firing");
    assert.ok(firing.at - since < 10_000, `${firing.at - since} ms`);
    genuine(firing);
    const set = await state();
    assert.deepEqual([set.source, set.overrides.key_expires_days], ["database", 7]);
    assert.deepEqual([set.value.provider_failing, set.value.budget_percent], [false, []]);

    const reset = await setAlerts("DELETE");
    assert.deepEqual(reset.value, filed.value);
    genuine(await changed("key_expiring", "far", "resolved"));
    await eventually(async () => {
      const { changes } = await (await operate(gateway, "GET", "/v0/alerts")).json();
      const of = changes.filter((/** @type {any} */ one) => one.subject === "far");
      const delivered = ["webhook", "slack"].map((channel) => ({
        channel,
        state: "delivered",
        failed_attempts: null,
      }));
      assert.deepEqual(
        of.map((/** @type {any} */ one) => one.state),
        ["resolved", "firing"],
        "newest first, once each",
      );
      return JSON.stringify(of[0].deliveries) === JSON.stringify(delivered);
    });
  });

  test("alerts: a notification that fails is shown with its channel until it is delivered", async () => {
    let fails = true;
    receiver.behaviour = ({ path }) => (path === "/slack" && fails ? 500 : 204);
    const expires_at = new Date(Date.now() + 3_600_000).toISOString();
    await operate(gateway, "POST", "/v0/api_keys", { name: "soon", expires_at });
    await testAlerts();
    /** @param {any} wanted */
    const shows = (wanted) =>
      eventually(async () => {
        const { changes } = await (await operate(gateway, "GET", "/v0/alerts")).json();
        const found = changes.find((/** @type {any} */ one) => one.subject === "soon");
        const slack = found?.deliveries.find((/** @type {any} */ one) => one.channel === "slack");
        return slack?.state === wanted.state && slack.failed_attempts === wanted.failed_attempts;
      }, 20_000);
    await shows({ state: "pending", failed_attempts: 1 });
    fails = false;
    await shows({ state: "delivered", failed_attempts: null });
    receiver.behaviour = () => 204;
    await operate(gateway, "DELETE", "/v0/api_keys/soon");
  });

  test("telemetry: spans reach the collector after an outage, each call once, without content", async () => {
    const isExport = ({ path = "" }) => path === "/otlp/v1/traces";
    const before = receiver.deliveries.filter(isExport).length;
    let failures = 0;
    receiver.behaviour = (delivery) => {
      if (!isExport(delivery) || failures > 0) return 204;
      failures += 1;
      return 503;
    };
    const body = { name: "traced", limits: { requests_per_day: 100 } };
    const made = await (await operate(gateway, "POST", "/v0/api_keys", body)).json();
    const headers = { authorization: `Bearer ${made.api_key}` };
    const messages = [{ role: "user", content: "a secret question" }];
    const first = await chat(gateway, { messages, project_id: "traces" }, headers);
    const second = await chat(gateway, { messages, stream: true }, headers);
    await second.text();
    const receipts = [first, second].map((one) => one.headers.get("x-gateway-receipt"));
    /** @param {any} span */
    const values = (span) =>
      Object.fromEntries(
        span.attributes.map((/** @type {any} */ one) => [one.key, Object.values(one.value)[0]]),
      );
    /** @param {Delivery} delivery */
    const spansOf = ({ said }) => said.resourceSpans[0].scopeSpans[0].spans;
    const exported = await eventually(() => {
      const sent = receiver.deliveries.filter(isExport).slice(before);
      const roots = sent.flatMap(spansOf).filter((span) => span.parentSpanId === undefined);
      const own = roots.filter((span) => receipts.includes(values(span)["gatehouse.receipt"]));
      // Once in the export that failed, if that was of this key, and once in the one that was taken.
      return sent.length > 1 && own.length >= 2 && { sent, own };
    }, 40_000);
    assert.equal(failures, 1);
    const [delivery] = exported.sent;
    assert.equal(delivery?.headers["authorization"], "Bearer otlp-token");
    assert.equal(delivery?.headers["content-type"], "application/json");
    const span = exported.own.find((one) => values(one)["gatehouse.receipt"] === receipts[0]);
    const attributes = values(span);
    assert.equal(span.name, "chat sim-small");
    assert.match(span.traceId, /^[0-9a-f]{32}$/);
    assert.deepEqual(
      [
        attributes["gen_ai.provider.name"],
        attributes["gatehouse.project"],
        attributes["gatehouse.key_id"],
      ],
      ["demo", "traces", made.id],
    );
    assert.ok(Number(attributes["gen_ai.usage.input_tokens"]) > 0);
    assert.ok(BigInt(span.endTimeUnixNano) >= BigInt(span.startTimeUnixNano));
    assert.ok(!exported.sent.some(({ body }) => body.includes("secret question")));
    const metrics = await (await operate(gateway, "GET", "/metrics")).text();
    assert.match(metrics, /^gatehouse_telemetry_dropped_total 0$/m);
    receiver.behaviour = () => 204;
  });

  test("webhook: the log contains neither its secret nor applicants' addresses", async () => {
    const log = JSON.stringify(gateway.events());
    for (const secret of [SECRET, SECRET.slice(6), "asker@example.com", "/slack", "otlp-token"]) {
      assert.ok(!log.includes(secret), secret);
    }
  });
});

/** The messages of the protocol, if `scripts/setup --tests` has installed them. */
const PROTOCOL = `${root}.tools/otlp-python/bin/python`;

/**
 * Reads exports with the messages of OpenTelemetry's own package. Returns how many there are.
 *
 * @param {Delivery[]} exports
 */
function readWithProtocol(exports) {
  const lines = exports.map(({ path, body }) => JSON.stringify({ path, body }));
  const { stdout, stderr, status } = spawnSync(PROTOCOL, [`${root}tests/e2e/otlp/check.py`], {
    input: lines.join("\n"),
    encoding: "utf8",
  });
  assert.equal(status, 0, stderr);
  return Number(stdout);
}

test("telemetry: metrics are cumulative, and lose nothing while the collector is away or the gateway restarts", async () => {
  const receiver = await Receiver.start();
  const state = await freshState();
  const telemetry = { otlp_url: `http://127.0.0.1:${receiver.port}/otlp`, metrics_seconds: 5 };
  const bindings = { ...variables(upstream, { telemetry }), GATEWAY_OTLP_HEADERS: "x-token=otlp" };
  const isMetrics = ({ path = "" }) => path === "/otlp/v1/metrics";
  let isAway = true;
  let refused = 0;
  receiver.behaviour = (delivery) => {
    if (!isAway || !isMetrics(delivery)) return 204;
    refused += 1;
    return 503;
  };
  /** @param {Delivery} delivery @returns {any[]} */
  const metricsOf = ({ said }) => said.resourceMetrics[0].scopeMetrics[0].metrics;
  /** @param {any} point @returns {Record<string, any>} */
  const labels = ({ attributes }) =>
    Object.fromEntries(
      attributes.map((/** @type {any} */ one) => [one.key, one.value.stringValue]),
    );
  /**
   * The point of answered calls, once an export has it with this number, and the metrics of that export.
   *
   * @param {number} count
   */
  const taken = (count) =>
    eventually(() => {
      for (const delivery of receiver.deliveries.filter(isMetrics)) {
        const metrics = metricsOf(delivery);
        const requests = metrics.find(({ name }) => name === "gatehouse.requests");
        const found = requests?.sum.dataPoints.find(
          (/** @type {any} */ point) => labels(point).outcome === "successful",
        );
        if (found?.asInt === String(count)) return { point: found, metrics, delivery };
      }
      return undefined;
    }, 60_000);
  try {
    const first = await Gateway.start(bindings, [], state);
    try {
      await Promise.all([chat(first, {}), chat(first, { stream: true }).then((one) => one.text())]);
      await eventually(() => refused > 1, 30_000);
      isAway = false;
      const { point, metrics, delivery } = await taken(2);
      assert.deepEqual(
        [delivery.headers["content-type"], delivery.headers["x-token"]],
        ["application/json", "otlp"],
      );
      assert.deepEqual(labels(point), {
        provider: "demo",
        model: "sim-small",
        operation: "chat/completions",
        outcome: "successful",
      });
      const { sum } = metrics.find(({ name }) => name === "gatehouse.requests");
      assert.deepEqual([sum.aggregationTemporality, sum.isMonotonic], [2, true]);
      assert.equal(Number(BigInt(point.startTimeUnixNano) / 1_000_000n) % 86_400_000, 0);
      assert.ok(Math.abs(Number(BigInt(point.timeUnixNano) / 1_000_000n) - delivery.at) < 10_000);
      const usage = metrics.find(({ name }) => name === "gen_ai.client.token.usage");
      const [input] = usage.histogram.dataPoints;
      assert.deepEqual(
        [usage.unit, labels(input)["gen_ai.token.type"], input.count],
        ["{token}", "input", "2"],
      );
      assert.ok(input.sum > 0);
      const duration = metrics.find(({ name }) => name === "gen_ai.client.operation.duration");
      assert.deepEqual(labels(duration.histogram.dataPoints[0]), {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "demo",
        "gen_ai.request.model": "sim-small",
        "gatehouse.operation": "chat/completions",
      });
      // Everything that the whole deployment has at /metrics is exported under the name that a collector turns into it.
      const text = await (await operate(first, "GET", "/metrics")).text();
      const names = new Set(metrics.map(({ name }) => name.replace(".", "_")));
      const ofIsolate = /operator_(denials|logins_failed)|wasm_memory|held_bytes/;
      for (const [, name = "", kind] of text.matchAll(/^# TYPE (\S+) (\S+)$/gm)) {
        const isExported = kind !== "summary" && !ofIsolate.test(name);
        assert.equal(names.has(name.replace(/_total$/, "")), isExported, name);
      }
    } finally {
      await first.stop();
    }
    const second = await Gateway.start(bindings, [], state);
    try {
      const before = receiver.deliveries.length;
      await chat(second, {});
      const { point } = await taken(3);
      const earlier = receiver.deliveries.slice(before).filter(isMetrics);
      assert.ok(earlier.length > 0);
      assert.equal(point.startTimeUnixNano, (await taken(2)).point.startTimeUnixNano);
      const events = second.events().filter(({ event }) => event === "telemetry");
      assert.deepEqual(events, []);
    } finally {
      await second.stop();
    }
    if (existsSync(PROTOCOL)) {
      const exports = receiver.deliveries.filter(({ path }) => path.startsWith("/otlp/"));
      assert.ok(exports.some((one) => !isMetrics(one)));
      assert.equal(readWithProtocol(exports), exports.length);
    }
  } finally {
    await receiver.stop();
    await rm(state, { recursive: true, force: true });
  }
});

test("webhook: without a secret requests are accepted, and delivered once there is one", async () => {
  const receiver = await Receiver.start();
  const state = await freshState();
  try {
    /** @type {string[]} */
    const ids = [];
    for (const secret of [{}, { GATEWAY_WEBHOOK_SECRET: "whsec_short" }]) {
      const mute = await Gateway.start(
        { ...notifying(receiver), GATEWAY_WEBHOOK_SECRET: "", ...secret },
        [],
        state,
      );
      try {
        const id = await ask(mute);
        ids.push(id);
        const approve = `/api/portal/requests/approve/${id}`;
        assert.equal((await operate(mute, "PUT", approve)).status, 200);
        assert.equal(waiting(mute).length, 2 * ids.length);
        const { problems } = await (await call(`${mute.url}/health`)).json();
        assert.match(problems.join(), /no GATEWAY_WEBHOOK_SECRET/);
        await new Promise((resolve) => setTimeout(resolve, 500));
        assert.ok(!mute.log.join("\n").includes("whsec_short"));
      } finally {
        await mute.stop();
      }
    }
    assert.deepEqual(receiver.deliveries, []);
    const speaking = await Gateway.start(notifying(receiver), [], state);
    try {
      ids.push(await ask(speaking));
      for (const id of ids) genuine(await receiver.delivery(id, "submitted"));
      await eventually(() => waiting(speaking).length === 0);
      assert.equal(receiver.deliveries.length, 5);
    } finally {
      await speaking.stop();
    }
  } finally {
    await receiver.stop();
    await rm(state, { recursive: true });
  }
});

test("webhook: the configured URL is called unchanged", async () => {
  const receiver = await Receiver.start();
  try {
    for (const path of ["/hook/", "/hook?code=secret&x=%20"]) {
      receiver.url = `http://127.0.0.1:${receiver.port}${path}`;
      const gateway = await Gateway.start(notifying(receiver));
      try {
        const id = await ask(gateway);
        assert.equal((await receiver.delivery(id, "submitted")).path, path);
      } finally {
        await gateway.stop();
      }
    }
  } finally {
    await receiver.stop();
  }
});

suite("webhook of a killed gateway", () => {
  for (const [what, behaviour] of /** @type {[string, Behaviour | null][]} */ ([
    ["while its receiver is down", null],
    ["during a delivery", () => "hang"],
  ])) {
    test(`webhook: a gateway that is killed ${what} loses no delivery`, async () => {
      const state = await freshState();
      const port = await freePort();
      const address = new Receiver(port);
      /** @type {Receiver | undefined} */
      let receiver;
      if (behaviour) {
        receiver = await Receiver.start(port);
        receiver.behaviour = behaviour;
      }
      const first = await Gateway.start(notifying(address), [], state);
      /** @type {Gateway | undefined} */
      let second;
      try {
        const id = await ask(first);
        await receiver?.delivery(id, "submitted");
        await first.kill();
        await receiver?.stop();
        receiver = await Receiver.start(port);
        second = await Gateway.start(notifying(address), [], state);
        genuine(await receiver.delivery(id, "submitted", 1, 60_000));
        await eventually(() => second && waiting(second).length === 0);
      } finally {
        await first.stop();
        await second?.stop();
        await receiver?.stop();
        await rm(state, { recursive: true });
      }
    });
  }
});

suite("e-mail", () => {
  const config = { email: { from: "keys@gatehouse.example" } };
  /** @type {string[]} */ const folders = [];
  after(() => Promise.all(folders.map((folder) => rm(folder, { recursive: true }))));

  /**
   * A gateway with a binding that sends e-mail; `wrangler dev` writes sent mail to a file.
   *
   * @param {string} binding further settings of it
   */
  async function sending(binding) {
    const folder = await mkdtemp(`${root}.wrangler/email-`);
    folders.push(folder);
    const toml = (await readFile(`${root}wrangler.toml`, "utf8"))
      .replace(/^\[build\]\n(?:.+\n)*/m, "")
      .replace('main = "build/', 'main = "../../build/')
      .replace('directory = "dist"', 'directory = "../../dist"');
    assert.ok(!toml.includes("scripts/build") && toml.includes("../../dist"));
    await mkdir(`${folder}/.wrangler`);
    const path = `${folder}/wrangler.toml`;
    await writeFile(path, `${toml}\n[[send_email]]\nname = "GATEWAY_EMAIL"\n${binding}\n`);
    return Gateway.start(variables(upstream, config), ["-c", path]);
  }

  /**
   * Approves a request by e-mail.
   *
   * @param {Gateway} gateway
   * @param {string} id
   */
  const approve = (gateway, id) =>
    operate(gateway, "PUT", `/api/portal/requests/approve/${id}`, { delivery: "email" });

  test("e-mail: an approval sends a claim link to the applicant, and an alert is sent to its recipient", async () => {
    const gateway = await sending("");
    try {
      const id = await ask(gateway, "mail", "o'neil+keys@example.com");
      const answer = await approve(gateway, id);
      assert.equal(answer.status, 200);
      const { SentTo, ExpiresAt, ...rest } = await answer.json();
      assert.deepEqual([SentTo, rest], ["o'neil+keys@example.com", {}]);
      const hours = (Date.parse(ExpiresAt) - Date.now()) / 3_600_000;
      assert.ok(hours > 71.9 && hours <= 72, ExpiresAt);

      const path = await eventually(() =>
        gateway.log.map((line) => line.match(/Text: (\S+\.txt)/)?.[1]).find((found) => found),
      );
      const text = await readFile(String(path), "utf8");
      const log = gateway.log.join("\n");
      assert.match(log, /From: keys@gatehouse\.example/);
      assert.match(log, /To: o'neil\+keys@example\.com/);
      assert.match(log, /Subject: Your key is ready/);
      assert.ok(text.includes(ExpiresAt), text);
      assert.ok(!KEY_TEXT.test(text), "the key itself was sent");
      const url = text.match(/https?:\/\/\S+/)?.[0] ?? "";
      assert.ok(url.startsWith(`${gateway.url}/access/claim#clm_`), text);
      assert.equal((await call(url)).status, 200);
      const claimed = await redeem(url);
      const { api_key: key, name } = await claimed.json();
      assert.equal(name, id);
      assert.equal((await chat(gateway, {}, { authorization: `Bearer ${key}` })).status, 200);
      assert.equal((await approve(gateway, id)).status, 400);

      const nobody = await operate(gateway, "POST", "/api/portal/requests", { by_user: "x" });
      const refused = await approve(gateway, (await nobody.json()).Message);
      assert.equal(refused.status, 400);
      assert.match((await refused.json()).Message, /no e-mail address; use 'claim'/);

      const lines = gateway.log.length;
      const sent = (/** @type {RegExp} */ subject) =>
        eventually(() => {
          const mail = gateway.log.slice(lines).join("\n");
          return subject.test(mail) && mail;
        }, 20_000);
      const settings = { key_expires_days: 7, email: "ops@example.com" };
      await operate(gateway, "PUT", "/v0/alerts/settings", settings);
      const tested = await (await operate(gateway, "POST", "/v0/alerts/test")).json();
      assert.deepEqual(tested.data, [{ channel: "email", delivered: true, error: null }]);
      const mail = String(await sent(/Subject: This is a test of the alerts of Gatehouse/));
      assert.match(mail, /From: keys@gatehouse\.example/);
      assert.match(mail, /To: ops@example\.com/);
      const expires_at = new Date(Date.now() + 3_600_000).toISOString();
      await operate(gateway, "PATCH", `/v0/api_keys/${id}`, { expires_at });
      await operate(gateway, "POST", "/v0/alerts/test");
      await sent(new RegExp(`Subject: The key '${id}' expires at `));

      const events = JSON.stringify(gateway.events());
      assert.ok(!TOKEN_TEXT.test(events) && !events.includes("@example.com"));
    } finally {
      await gateway.stop();
    }
  });

  test("e-mail: when sending fails the operator gets the claim link", async () => {
    const gateway = await sending('allowed_sender_addresses = ["other@gatehouse.example"]');
    try {
      const id = await ask(gateway);
      const answer = await approve(gateway, id);
      assert.equal(answer.status, 200);
      const { ClaimURL, EmailError, ExpiresAt, ...rest } = await answer.json();
      assert.deepEqual(rest, {});
      assert.match(EmailError, /keys@gatehouse\.example not allowed/);
      assert.ok(Date.parse(ExpiresAt) > Date.now());
      const { api_key: key } = await (await redeem(ClaimURL)).json();
      assert.equal((await chat(gateway, {}, { authorization: `Bearer ${key}` })).status, 200);
    } finally {
      await gateway.stop();
    }
  });

  test("e-mail: without a binding or a sender an approval by e-mail returns 400 and changes nothing", async () => {
    for (const given of [config, {}]) {
      const gateway = await Gateway.start(variables(upstream, given));
      try {
        const id = await ask(gateway);
        const answer = await approve(gateway, id);
        assert.equal(answer.status, 400);
        const { Message } = await answer.json();
        assert.match(Message, /GATEWAY_EMAIL/);
        assert.match(Message, /email\.from/);
        assert.match(Message, /'claim'/);
        const found = await (await operate(gateway, "GET", `/api/portal/requests/${id}`)).json();
        assert.equal(found.state, "pending");
        const { problems } = await (await call(`${gateway.url}/health`)).json();
        assert.equal(/GATEWAY_EMAIL/.test(problems.join()), given === config);
      } finally {
        await gateway.stop();
      }
    }
  });
});
