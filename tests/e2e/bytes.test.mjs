// @ts-check
//! Golden bytes: the upstream request equals the caller's except for the named fields, and the response equals the
//! upstream's except for what the gateway itself asked for.

import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { Gateway, KEY, PROVIDER_KEY, Upstream, chat, events, variables } from "./harness.mjs";

/** @type {Upstream} */ let upstream;
/** @type {Gateway} */ let gateway;

before(async () => {
  upstream = await Upstream.start();
  gateway = await Gateway.start(variables(upstream));
});
after(() => Promise.all([gateway?.stop(), upstream?.stop()]));

/** @param {string} body */
async function received(body, headers = {}) {
  const response = await chat(gateway, body, headers);
  const text = await response.text();
  assert.equal(response.status, 200, text);
  return upstream.lastRequest();
}

suite("request bytes", () => {
  for (const [name, sent, expected] of [
    [
      "only the model changes",
      '{"model":"demo/sim-small","messages":[{"role":"user","content":"Hi"}]}',
      '{"model":"sim-small","messages":[{"role":"user","content":"Hi"}]}',
    ],
    [
      "white space, number spelling, escapes, order and unknown fields are kept",
      '\n{ "zzz" : [ 1e3, 2.50, -0, "\\u00e9\\ud83d\\ude00", "é😀" ] ,\t"messages":[ ],"x":{"x":null},\n "model" : "demo/sim-small" }\n',
      '\n{ "zzz" : [ 1e3, 2.50, -0, "\\u00e9\\ud83d\\ude00", "é😀" ] ,\t"messages":[ ],"x":{"x":null},\n "model" : "sim-small" }\n',
    ],
    [
      "project_id is removed with its comma",
      '{"project_id":"p1","messages":[],"model":"sim-small"}',
      '{"messages":[],"model":"sim-small"}',
    ],
    [
      "escaped field names are recognised",
      '{"m\\u006fdel":"demo/sim-small","messages":[], "project\\u005fid":"p1"}',
      '{"m\\u006fdel":"sim-small","messages":[]}',
    ],
    [
      "tools, images, response_format, n, logprobs and tool results are kept",
      '{"model":"demo/sim-small","n":2,"logprobs":true,"top_logprobs":3,"response_format":{"type":"json_schema","json_schema":{"name":"a","schema":{}}},"tools":[{"type":"function","function":{"name":"f","parameters":{}}}],"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]},{"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c","content":"42"}]}',
      '{"model":"sim-small","n":2,"logprobs":true,"top_logprobs":3,"response_format":{"type":"json_schema","json_schema":{"name":"a","schema":{}}},"tools":[{"type":"function","function":{"name":"f","parameters":{}}}],"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]},{"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c","content":"42"}]}',
    ],
    [
      "include_usage is added to a stream",
      '{"model":"sim-small","stream":true,"messages":[]}',
      '{"model":"sim-small","stream":true,"messages":[],"stream_options":{"include_usage":true}}',
    ],
    [
      "stream options of the caller are kept",
      '{"model":"sim-small","stream_options":{"include_obfuscation":false},"stream":true,"messages":[]}',
      '{"model":"sim-small","stream_options":{"include_obfuscation":false,"include_usage":true},"stream":true,"messages":[]}',
    ],
  ]) {
    test(`request bytes: ${name}`, async () => {
      const { body_base64 } = await received(/** @type {string} */ (sent));
      assert.equal(Buffer.from(body_base64, "base64").toString(), expected);
    });
  }

  test("request bytes: a five-megabyte body arrives complete", async () => {
    const body = JSON.stringify({
      model: "sim-small",
      messages: [],
      pad: 'é😀\\"'.repeat(500_000),
    });
    const { body_base64 } = await received(body);
    assert.ok(Buffer.from(body_base64, "base64").equals(Buffer.from(body)));
  });

  test("request bytes: the provider's key is sent, the caller's headers are not", async () => {
    const { headers, body_text } = await received(
      '{"model":"auto","messages":[],"project_id":"secret-project"}',
      {
        "x-gateway-project-id": "p",
        "x-request-id": "caller-id",
        cookie: "a=b",
        "x-forwarded-for": "203.0.113.7",
        "openai-organization": "org",
        "user-agent": "caller/1",
      },
    );
    // `cf-worker` names the zone that the Worker runs in: the runtime adds it to every request.
    const runtime = ["host", "content-length", "accept-encoding", "cf-worker"];
    assert.deepEqual(
      Object.keys(headers)
        .filter((name) => !runtime.includes(name))
        .sort(),
      ["accept", "authorization", "content-type", "user-agent"],
    );
    assert.equal(headers["authorization"], `Bearer ${PROVIDER_KEY}`);
    assert.equal(headers["user-agent"], "gatehouse");
    const all = JSON.stringify(headers) + body_text;
    for (const absent of ["secret-project", "caller", "203.0.113.7", `Bearer ${KEY}"`]) {
      assert.ok(!all.includes(absent), absent);
    }
  });

  test("request bytes: the project is read from the header or the body and validated", async () => {
    const project = async (
      /** @type {object} */ body,
      /** @type {Record<string, string>} */ headers,
    ) => {
      const id = `project-${Math.random()}`;
      const response = await chat(gateway, body, { ...headers, "x-request-id": id });
      await response.text();
      if (response.status !== 200) return response.status;
      return (await gateway.callOf(id)).project;
    };
    assert.equal(await project({}, {}), null);
    assert.equal(await project({ project_id: "body" }, {}), "body");
    assert.equal(
      await project({ project_id: "body" }, { "x-gateway-project-id": "header" }),
      "header",
    );
    assert.equal(await project({ project_id: "x".repeat(64) }, {}), "x".repeat(64));
    for (const bad of ["x".repeat(65), "a b", "a/b", "", "é"]) {
      assert.equal(await project({ project_id: bad }, {}), 400, bad);
    }
    assert.equal(await project({ project_id: 7 }, {}), 400);
    assert.equal(await project({}, { "x-gateway-project-id": "a/b" }), 400);
  });
});

suite("response bytes", () => {
  test("response bytes: a whole response equals the upstream's, byte for byte", async () => {
    const simulate = { extra_members: true, content: 'quote " é 😀 \\ \n' };
    const body = { model: "demo/sim-small", messages: [], simulate };
    const direct = await fetch(`${upstream.url}/v1/chat/completions`, {
      method: "POST",
      body: JSON.stringify({ ...body, model: "sim-small" }),
    });
    const through = await chat(gateway, body);
    const neutral = (/** @type {string} */ text) =>
      text.replace(/chatcmpl-sim-\d+/, "ID").replace(/"created":\d+/, "");
    assert.equal(neutral(await through.text()), neutral(await direct.text()));
    assert.equal(through.headers.get("content-type"), "application/json");
  });

  test("response bytes: upstream headers are not forwarded", async () => {
    const response = await chat(gateway, {
      simulate: {
        headers: { "set-cookie": "a=b", "x-secret": "s", "openai-organization": "o", server: "s" },
      },
    });
    for (const name of ["set-cookie", "x-secret", "openai-organization", "server"]) {
      assert.equal(response.headers.get(name), null, name);
    }
  });

  const spec = {
    model: "sim-small",
    stream: true,
    messages: [{ role: "user", content: "é 😀 words" }],
  };
  for (const chunking of ["event", "bytes:1", "bytes:7", "all"]) {
    for (const newline of ["lf", "crlf", "cr"]) {
      test(`response bytes: a stream (${chunking}, ${newline}) equals the upstream's, with usage only if the caller asked for it`, async () => {
        const simulate = { chunking, newline, comments: true, extra_members: true };
        const stream = async (/** @type {object} */ more, /** @type {boolean} */ direct) => {
          const body = JSON.stringify({ ...spec, simulate, ...more });
          const response = direct
            ? await fetch(`${upstream.url}/v1/chat/completions`, { method: "POST", body })
            : await chat(gateway, body);
          const text = await response.text();
          return text.replace(/chatcmpl-sim-\d+/g, "ID").replace(/"created":\d+/g, "");
        };
        const asked = { stream_options: { include_usage: true } };
        const shown = await stream(asked, false);
        // Nothing follows [DONE], not even the second half of its line end.
        assert.equal(shown.trimEnd(), (await stream(asked, true)).trimEnd());
        assert.match(shown, /"prompt_tokens"/);
        const hidden = await stream({}, false);
        assert.deepEqual(events(hidden), events(await stream({}, true)));
        assert.doesNotMatch(hidden, /"usage"/);
        assert.equal(events(hidden).at(-1), "[DONE]");
      });
    }
  }

  test("response bytes: stream headers disable proxy buffering", async () => {
    const response = await chat(gateway, { stream: true });
    assert.equal(response.headers.get("content-type"), "text/event-stream; charset=utf-8");
    assert.equal(response.headers.get("cache-control"), "no-cache, no-transform");
    assert.equal(response.headers.get("x-accel-buffering"), "no");
    assert.equal(response.headers.get("x-gateway-provider"), "demo");
    await response.text();
  });

  test("response bytes: events are forwarded as they arrive", async () => {
    const response = await chat(gateway, {
      stream: true,
      simulate: { events: 5, frame_delay_ms: 150 },
    });
    const times = [];
    for await (const _ of /** @type {ReadableStream<Uint8Array>} */ (response.body))
      times.push(Date.now());
    const spread = /** @type {number} */ (times.at(-1)) - /** @type {number} */ (times[0]);
    assert.ok(times.length >= 5 && spread >= 450, `${times.length} reads in ${spread} ms`);
  });

  test("response bytes: usage is metered in every place where providers report it", async () => {
    for (const [simulate, stream] of /** @type {[object, boolean][]} */ ([
      [{}, false],
      [{}, true],
      [{ usage: "with_choices" }, true],
      [{ usage: "x_groq" }, true],
      [{ usage: "preview" }, true],
    ])) {
      const id = `usage-${Math.random()}`;
      const response = await chat(gateway, { stream, simulate }, { "x-request-id": id });
      await response.text();
      const { prompt_tokens, completion_tokens } = /** @type {any} */ (
        await upstream.lastRequest()
      );
      const call = await gateway.callOf(id);
      assert.ok(completion_tokens > 0);
      assert.deepEqual(
        [call.prompt_tokens, call.completion_tokens],
        [prompt_tokens, completion_tokens],
        JSON.stringify(simulate),
      );
    }
  });
});
