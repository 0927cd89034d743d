// @ts-check
//! The memory of an isolate: what its calls hold together is bounded, what exceeds the bound is rejected before it is
//! held, and bodies must arrive in time. benchmark/memory.mjs has the same loads at their full size.

import assert from "node:assert/strict";
import { once } from "node:events";
import { request } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { after, before, suite, test } from "node:test";
import {
  Gateway,
  KEY,
  Upstream,
  atOnce,
  call,
  chat,
  eventually,
  minuteWith,
  operate,
  variables,
} from "./harness.mjs";
import { Isolates } from "./isolates.mjs";
import { issue } from "./ledgers.mjs";
import { Flood, UPLOAD, body, longLine, send, upload, whole } from "./memory/loads.mjs";

/** The bound of the Wasm memory, in bytes: the budget of 40 MiB, the copy of one body that is being sent, and a base. */
const BOUND = 70_000_000;
/** The same while only uploads have been received, whose files stay in JavaScript. */
const UPLOADS_BOUND = 12_000_000;

/**
 * The value of a metric without labels.
 *
 * @param {Gateway} gateway
 * @param {string} name
 */
async function metric(gateway, name) {
  const text = await (await operate(gateway, "GET", "/metrics")).text();
  return Number(text.match(new RegExp(`^${name} (\\d+)$`, "m"))?.[1]);
}

/**
 * Asserts that nothing is held any more and that the gateway serves calls.
 *
 * @param {Gateway} gateway
 */
async function assertFree(gateway) {
  await eventually(async () => (await metric(gateway, "gatehouse_held_bytes")) === 0);
  const used = await metric(gateway, "gatehouse_wasm_memory_bytes");
  assert.equal(used, await gateway.memory());
  assert.ok(used <= BOUND, `${used} bytes of Wasm memory`);
}

suite("request bodies", () => {
  /** @type {Upstream} */ let upstream;
  /** @type {Gateway} */ let gateway;

  before(async () => {
    upstream = await Upstream.start(["--record", "0"]);
    gateway = await Gateway.startBare(
      variables(upstream, { timeouts: { body_ms: 1_500 }, requests: { project_id: "optional" } }),
    );
  });
  after(() => Promise.all([gateway?.stop(), upstream?.stop()]));

  for (const declared of [true, false]) {
    test(`memory: ten ${declared ? "declared" : "chunked"} bodies of 15 MB at once stay within the budget, and those without room get 503`, async () => {
      const text = body(15_000_000);
      const answers = await atOnce(10, () => send(gateway, text, { declared }));
      const served = answers.filter(({ status }) => status === 200);
      const refused = answers.filter(({ code }) => code === "overloaded");
      assert.equal(served.length + refused.length, answers.length, JSON.stringify(answers));
      assert.ok(served.length > 0 && refused.length > 0, JSON.stringify(answers));
      for (const { status, retryAfter } of refused)
        assert.deepEqual([status, retryAfter], [503, "2"]);
      await assertFree(gateway);
      assert.equal((await send(gateway, text, { declared })).status, 200);
    });
  }

  test("memory: a body of millions of fields is rejected and takes no more memory than others", async () => {
    const text = Buffer.from(`{${'"a":1,'.repeat(3_000_000)}"model":"demo/sim-small"}`);
    const { status, code } = await send(gateway, text);
    assert.deepEqual([status, code], [400, "invalid_json"]);
    await assertFree(gateway);
  });

  for (const [what, headers] of /** @type {[string, Record<string, string>][]} */ ([
    ["small", { "content-length": "1000" }],
    ["large", { "content-length": "1000000" }],
    ["chunked", {}],
    ["too large", { "content-length": "30000000" }],
  ])) {
    test(`memory: a ${what} body that does not arrive in time returns 408`, async () => {
      const sent = request(`${gateway.url}/v1/chat/completions`, {
        method: "POST",
        headers: { authorization: `Bearer ${KEY}`, "content-type": "application/json", ...headers },
      });
      sent.on("error", () => {});
      const began = performance.now();
      sent.write('{"model":');
      const [response] = await once(sent, "response");
      let text = "";
      for await (const chunk of response.setEncoding("utf8")) text += chunk;
      const expected = what === "too large" ? [413, "body_too_large"] : [408, "request_timeout"];
      assert.deepEqual([response.statusCode, JSON.parse(text).error.code], expected);
      const took = performance.now() - began;
      assert.ok(took > 1_400 && took < 4_000, `${took} ms`);
      sent.destroy();
      await assertFree(gateway);
    });
  }
});

suite("uploads and responses", () => {
  /** @type {Flood} */ let flood;
  /** @type {Gateway} */ let gateway;
  /** @type {Parameters<typeof Flood.start>[0]} */ let answer;

  before(async () => {
    flood = await Flood.start((response) => answer(response));
    gateway = await Gateway.startBare(
      variables(/** @type {Upstream} */ (/** @type {unknown} */ (flood)), {
        providers: {
          demo: { base_url: `${flood.url}/v1`, models: ["sim-small"] },
          listener: { base_url: `${flood.url}/v1`, formats: ["transcriptions"], auth: "none" },
        },
      }),
    );
  });
  after(async () => {
    await gateway?.stop();
    flood?.stop();
  });

  // The first of the suite, since Wasm memory never shrinks.
  test("memory: of 32 uploads of 25 MB at once those without room get 503, and no file enters Wasm", async () => {
    answer = async (response) => {
      response.writeHead(200, { "content-type": "application/json" });
      response.end('{"text":"One two three."}');
    };
    const form = upload(25 << 20);
    const answers = await atOnce(32, () => send(gateway, form, UPLOAD));
    const served = answers.filter(({ status }) => status === 200);
    const refused = answers.filter(({ code }) => code === "overloaded");
    assert.equal(served.length + refused.length, answers.length, JSON.stringify(answers));
    assert.ok(served.length > 0 && refused.length > 0, JSON.stringify(answers));
    for (const { status, retryAfter } of refused)
      assert.deepEqual([status, retryAfter], [503, "2"]);
    await assertFree(gateway);
    const used = await gateway.memory();
    assert.ok(used <= UPLOADS_BOUND, `${used} bytes of Wasm memory`);
    assert.equal((await send(gateway, form, UPLOAD)).status, 200);
  });

  test("memory: eight streams with a line of 20 MB stay within the budget and end with an error event", async () => {
    answer = longLine(20_000_000);
    const texts = await atOnce(8, async () => (await chat(gateway, { stream: true })).text());
    for (const text of texts) {
      assert.match(text, /begin/);
      assert.match(text, /"code":"(overloaded|upstream_response_too_large)"/);
      assert.ok(!text.includes("[DONE]"));
    }
    assert.ok(texts.some((text) => text.includes("overloaded")));
    await assertFree(gateway);
  });

  test("memory: whole responses beyond the budget return 503 and do not count against the provider", async () => {
    answer = whole(12_000_000);
    const answers = await atOnce(10, () => send(gateway, body(500)));
    const served = answers.filter(({ status }) => status === 200);
    const refused = answers.filter(({ code }) => code === "overloaded");
    assert.equal(served.length + refused.length, answers.length, JSON.stringify(answers));
    assert.ok(served.length > 0 && refused.length > 0, JSON.stringify(answers));
    await assertFree(gateway);
    const health = await (await call(`${gateway.url}/health`)).json();
    for (const { cooldown_until: until } of health.models) assert.equal(until, 0);
  });

  test("memory: a client that does not read its whole response gives its memory back when it leaves", async () => {
    answer = whole(12_000_000);
    const sent = request(`${gateway.url}/v1/chat/completions`, {
      method: "POST",
      agent: false,
      headers: { authorization: `Bearer ${KEY}`, "content-type": "application/json" },
    });
    sent.on("error", () => {});
    sent.end(body(500));
    const [response] = await once(sent, "response");
    assert.ok(Number(response.headers["content-length"]) > 12_000_000);
    await sleep(300);
    assert.ok((await metric(gateway, "gatehouse_held_bytes")) >= 12_000_000);
    response.on("error", () => {});
    sent.destroy();
    await assertFree(gateway);
  });
});

suite("limits before bodies", () => {
  /** @type {Upstream} */ let upstream;
  /** @type {Isolates} */ let isolates;

  before(async () => {
    upstream = await Upstream.start();
    isolates = await Isolates.start(
      1,
      variables(upstream, {
        policies: {
          once: { limits: { requests_per_minute: 1 } },
          single: { limits: { concurrent: 1 } },
        },
      }),
    );
  });
  after(() => Promise.all([isolates?.stop(), upstream?.stop()]));

  /**
   * Begins a call with a large body and sends only a part of it.
   *
   * @param {string} key
   */
  function begin(key) {
    const sent = request(`${isolates.at(0).url}/v1/chat/completions`, {
      method: "POST",
      agent: false,
      headers: {
        authorization: `Bearer ${key}`,
        "content-type": "application/json",
        "content-length": "1000000",
      },
    });
    sent.on("error", () => {});
    sent.write(body(1_000_000).subarray(0, 100_000));
    return sent;
  }

  /** @param {string} key */
  const small = async (key) =>
    (await chat(isolates.at(0), {}, { authorization: `Bearer ${key}` })).status;

  for (const policy of ["once", "single"]) {
    test(`memory: with the policy '${policy}' used up a large body is rejected before it arrives`, async () => {
      await minuteWith(20);
      const { key } = await issue(isolates.at(0), `early-${policy}`, { policies: [policy] });
      const first = begin(key);
      // The first call holds the place or the request while its body arrives.
      await sleep(1_000);
      const second = begin(key);
      const [refused] = await once(second, "response");
      assert.equal(refused.statusCode, 429);
      second.destroy();
      first.end(body(1_000_000).subarray(100_000));
      const [response] = await once(first, "response");
      assert.equal(response.statusCode, 200);
      response.resume();
      await once(response, "end");
    });
  }

  test("explain: a key may have 300 decisions explained in a minute", async () => {
    const { key } = await issue(isolates.at(0), "explained");
    const explain = async () => {
      const response = await call(`${isolates.at(0).url}/v1/routing/explain`, {
        method: "POST",
        headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
        body: body(200),
      });
      await response.arrayBuffer();
      return response.status;
    };
    /** @type {number[]} */
    const statuses = [];
    for (let round = 0; round < 16; round += 1) statuses.push(...(await atOnce(20, explain)));
    assert.equal(statuses.filter((status) => status === 200).length, 300);
    assert.equal(statuses.filter((status) => status === 429).length, 20);
  });

  test("memory: a call whose body never arrives gives back what it held of the key's limits", async () => {
    const { key } = await issue(isolates.at(0), "abandoned", { policies: ["single"] });
    const abandoned = begin(key);
    await sleep(500);
    assert.equal(await small(key), 429);
    abandoned.destroy();
    await eventually(async () => (await small(key)) === 200);
  });
});
