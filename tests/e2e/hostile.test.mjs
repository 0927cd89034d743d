// @ts-check
//! Hostile requests and bursts.

import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { after, before, suite, test } from "node:test";
import { Gateway, KEY, Upstream, call, chat, events, eventually, variables } from "./harness.mjs";

/** @type {Upstream} */ let upstream;
/** @type {Gateway} */ let gateway;

before(async () => {
  upstream = await Upstream.start();
  gateway = await Gateway.startBare(variables(upstream));
});
after(() => Promise.all([gateway?.stop(), upstream?.stop()]));

/**
 * Sends bytes unchanged and returns the beginning of the response.
 *
 * @param {string | Buffer} bytes
 * @returns {Promise<string>}
 */
async function raw(bytes) {
  const { hostname, port } = new URL(gateway.url);
  const socket = connect(Number(port), hostname);
  await once(socket, "connect");
  socket.write(bytes);
  const [answer] = await once(socket, "data");
  socket.destroy();
  return answer.toString("latin1");
}

const HEAD = `POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\n`;
const BODY = '{"model":"auto","messages":[]}';

suite("hostile headers", () => {
  for (const [name, header, status] of [
    ["a key that is not ASCII", "authorization: Bearer schlüssel-😀", 401],
    ["an id that is not ASCII", `authorization: Bearer ${KEY}\r\nx-request-id: é😀`, 200],
    ["a project that is not ASCII", `authorization: Bearer ${KEY}\r\nx-gateway-project-id: é`, 400],
    ["a key of 60 KB", `authorization: Bearer ${"x".repeat(60_000)}`, 401],
    ["one key twice in one header", `authorization: Bearer ${KEY}, Bearer ${KEY}`, 200],
    ["two keys in one header", `authorization: Bearer ${KEY}, Bearer ${KEY}x`, 400],
    [
      "200 headers",
      `authorization: Bearer ${KEY}\r\n${Array.from({ length: 200 }, (_, n) => `x-h${n}: v`).join("\r\n")}`,
      200,
    ],
  ]) {
    test(`hostile headers: ${name} returns ${status}`, async () => {
      const answer = await raw(`${HEAD}${header}\r\ncontent-length: ${BODY.length}\r\n\r\n${BODY}`);
      assert.match(answer, new RegExp(`^HTTP/1.1 ${status} `));
    });
  }
});

suite("hostile bodies", () => {
  test("hostile bodies: 200,000 levels of nesting are forwarded", async () => {
    const deep = `{"model":"auto","messages":[],"x":${"[".repeat(200_000)}${"]".repeat(200_000)}}`;
    // The simulated provider has its own limit; the gateway must have none.
    const { status } = await chat(gateway, deep);
    assert.ok([200, 400].includes(status), `${status}`);
    assert.equal(
      (await upstream.lastRequest()).body_base64.length,
      Buffer.from(deep.replace("auto", "sim-small")).toString("base64").length,
    );
  });

  test("hostile bodies: invalid UTF-8, a null byte or a byte order mark returns 400 with the position", async () => {
    for (const bytes of [
      Buffer.concat([
        Buffer.from('{"model":"auto","messages":["'),
        Buffer.from([0xff, 0xfe]),
        Buffer.from('"]}'),
      ]),
      Buffer.from('{"model":"auto\0","messages":[]}'),
      Buffer.from(`\ufeff${BODY}`),
    ]) {
      const response = await call(`${gateway.url}/v1/chat/completions`, {
        method: "POST",
        headers: { authorization: `Bearer ${KEY}`, "content-type": "application/json" },
        body: bytes,
      });
      assert.equal(response.status, 400);
      assert.match((await response.json()).error.message, /line 1 column \d+/);
    }
  });

  test("hostile bodies: half a surrogate pair in a name does no harm", async () => {
    for (const body of [
      '{"model":"auto","messages":[],"\\ud83d":1}',
      '{"model":"\\ud83d","messages":[]}',
      '{"model":"demo/é\\u0000\\n","messages":[]}',
    ]) {
      const response = await chat(gateway, body);
      await response.text();
      assert.ok(response.status < 500, `${body}: ${response.status}`);
    }
  });

  test("hostile bodies: a model name that fits no header or receipt is rejected before any upstream is called", async () => {
    for (const [model, words] of [
      [`demo/${"x".repeat(508)}`, /'model' is 513 bytes long; the limit is 512/],
      [`demo/${"x".repeat(3_000_000)}`, /'model' is 3000005 bytes long/],
      ["demo/a\u0000b", /'model' has a control character/],
    ]) {
      const response = await chat(gateway, { model });
      const { error } = await response.json();
      assert.deepEqual(
        [response.status, error.code, error.param],
        [400, "invalid_value", "model"],
        error.message,
      );
      assert.match(error.message, /** @type {RegExp} */ (words));
      assert.equal(response.headers.get("x-gateway-receipt"), null);
    }
    const longest = `demo/${"x".repeat(507)}`;
    const answer = await chat(gateway, { model: longest });
    assert.deepEqual(
      [answer.status, answer.headers.get("x-gateway-model")],
      [200, longest.slice("demo/".length)],
    );
  });

  test("hostile bodies: 21 MB return 413, 19 MB are forwarded", async () => {
    const pad = (/** @type {number} */ megabytes) => ({ pad: "x".repeat(megabytes * 1024 * 1024) });
    for (let round = 0; round < 5; round += 1)
      assert.equal((await chat(gateway, pad(21))).status, 413);
    assert.equal((await chat(gateway, pad(19))).status, 200);
  });

  test("hostile bodies: a disconnect in the middle of a body does no harm", async () => {
    const { hostname, port } = new URL(gateway.url);
    for (let round = 0; round < 20; round += 1) {
      const socket = connect(Number(port), hostname);
      socket.on("error", () => {});
      await once(socket, "connect");
      socket.write(
        `${HEAD}authorization: Bearer ${KEY}\r\ncontent-length: 1000000\r\n\r\n{"model":`,
      );
      await new Promise((resolve) => setTimeout(resolve, 5));
      socket.resetAndDestroy();
    }
    assert.equal((await chat(gateway, {})).status, 200);
  });
});

suite("hostile paths", () => {
  for (const [path, status] of /** @type {[string, number][]} */ ([
    ["/v1/models/..%2f..%2fhealth", 404],
    [`/v1/models/${"x".repeat(8000)}`, 404],
    ["/v1/models/%00", 404],
    ["//health", 404],
    ["/health/", 200],
    ["/HEALTH", 404],
    ["/health?x=%ff", 200],
  ])) {
    test(`hostile paths: ${path.slice(0, 40)} returns ${status}`, async () => {
      assert.equal((await call(`${gateway.url}${path}`)).status, status);
    });
  }
});

suite("hostile load", () => {
  test("hostile load: 50 concurrent first requests to a cold gateway all succeed", async () => {
    const cold = await Gateway.startBare(variables(upstream), { wait: false });
    try {
      const answers = await Promise.all(Array.from({ length: 50 }, () => chat(cold, {})));
      assert.deepEqual([...new Set(answers.map(({ status }) => status))], [200]);
      await eventually(() => cold.events().length > 50);
      assert.equal(cold.events().filter((event) => event.event === "start").length, 1);
    } finally {
      await cold.stop();
    }
  });

  test("hostile load: 200 concurrent streams are complete and do not mix", async () => {
    const streams = await Promise.all(
      Array.from({ length: 200 }, async (_, n) => {
        const simulate = { content: `stream-${n} `.repeat(20), frame_delay_ms: 5 };
        return events(await (await chat(gateway, { stream: true, simulate })).text());
      }),
    );
    streams.forEach((seen, n) => {
      assert.equal(seen.at(-1), "[DONE]");
      const content = seen
        .slice(0, -1)
        .map((event) => JSON.parse(event).choices[0].delta.content ?? "")
        .join("");
      assert.equal(content, `stream-${n} `.repeat(20));
    });
  });
});

test("hostile requests: the gateway answers and has logged no panic after these tests", async () => {
  assert.equal((await chat(gateway, {})).status, 200);
  assert.ok(!gateway.log.join("\n").match(/panicked|Critical|RuntimeError|hung|Uncaught/i));
});
