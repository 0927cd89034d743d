// @ts-check
//! Workers AI through the binding `AI`: the runtime's own client, with a service that responds like Workers AI.

import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { Gateway, Upstream, eventually } from "./harness.mjs";
import { ask, assertAnswered, assertRefused, configured, lane, sent } from "./lanes.mjs";

const MODEL = "@cf/meta/llama-3.3-70b-instruct-fp8-fast";

/** @type {Upstream} */ let upstream;
/** @type {Gateway} */ let gateway;

/** @param {Record<string, string>} [more] */
const started = (more = { WORKERS_AI_ENABLED: "true" }) =>
  Gateway.startBare(
    {
      ...configured(upstream, {
        routing: { backoff_ms: 50 },
        timeouts: { first_byte_ms: 1000, stream_first_byte_ms: 1000, stall_ms: 1000 },
        providers: { second: lane(upstream, "second", { models: ["m"] }) },
        // Different models, since the observations of one call affect the next one.
        groups: Object.fromEntries(
          ["a", "b", "c", "d", "e", "f", "g", "h"].map((id) => [
            id,
            { models: [`workers_ai/@cf/${id}`, "second/m"] },
          ]),
        ),
        models: Object.fromEntries(
          ["a", "b", "c", "d", "e", "f", "g", "h"].map((id) => [`workers_ai/@cf/${id}`, {}]),
        ),
      }),
      ...more,
    },
    { ai: `${upstream.url}/ai` },
  );

before(async () => {
  upstream = await Upstream.start();
  gateway = await started();
});
after(() => Promise.all([gateway?.stop(), upstream?.stop()]));

for (const stream of [false, true]) {
  suite(`Workers AI, ${stream ? "streamed" : "whole"}`, () => {
    test(`Workers AI: a call is answered (${stream ? "stream" : "whole"})`, async () => {
      const answered = await ask(gateway, { model: `workers_ai/${MODEL}`, stream });
      assertAnswered(answered);
      assert.deepEqual([answered.provider, answered.attempts], ["workers_ai", 1]);
      assert.equal(answered.headers.get("x-gateway-model"), MODEL);
      const [request] = await sent(upstream, answered);
      assert.equal(request?.body.model, MODEL);
      assert.equal(request?.body.options.returnRawResponse, true);
      assert.ok(!("project_id" in request.body));
    });

    const id = stream ? ["a", "b", "c", "d"] : ["e", "f", "g", "h"];
    for (const [index, [name, simulate, how]] of /** @type {[string, object, string][]} */ ([
      [
        "no capacity",
        { status: 429, message: "3040: Capacity temporarily exceeded, please try again." },
        "throttled",
      ],
      [
        "no capacity, thrown",
        { status: 500, message: "3040: Capacity temporarily exceeded", code: "throw" },
        "throttled",
      ],
      [
        "a failure, thrown",
        { status: 500, message: "1031: Internal", code: "throw" },
        "server_error",
      ],
      ["silence", { hang: "headers" }, "timed_out"],
    ]).entries()) {
      test(`Workers AI: ${name} fails over to another provider (${stream ? "stream" : "whole"})`, async () => {
        const when = { path: "/ai" };
        const answered = await ask(gateway, {
          model: id[index],
          stream,
          simulate: { ...simulate, when },
        });
        assertAnswered(answered);
        assert.deepEqual([answered.provider, answered.attempts], ["second", 2]);
        assert.match(
          answered.headers.get("x-gateway-route") ?? "",
          new RegExp(`^workers_ai/@cf/${id[index]};${how};`),
        );
      });
    }

    test(`Workers AI: errors are converted to the gateway's envelope (${stream ? "stream" : "whole"})`, async () => {
      const model = `workers_ai/@cf/alone-${stream}`;
      const full = await ask(gateway, {
        model,
        stream,
        simulate: { status: 429, message: "3036: You have used up your daily free allocation" },
      });
      assertRefused(full, 429);
      assert.match(
        full.error.message,
        /the gateway's account, not your key: You have used up your daily free allocation$/,
      );
      const unknown = await ask(gateway, {
        model,
        stream,
        simulate: { status: 400, message: "5007: No such model" },
      });
      assertRefused(unknown, 400);
      assert.equal(unknown.error.message, "No such model");
    });
  });
}

test("Workers AI: a call that times out is cancelled", async () => {
  const model = "workers_ai/@cf/slow";
  const answered = await ask(gateway, { model, simulate: { hang: "headers" } });
  assertRefused(answered, 504, "upstream_timeout");
  await eventually(async () =>
    (await sent(upstream, answered)).every(({ record }) => record.outcome === "cancelled"),
  );
});

test("Workers AI: the binding is not used without WORKERS_AI_ENABLED", async () => {
  const other = await started({});
  try {
    const answered = await ask(other, { model: `workers_ai/${MODEL}` });
    assertRefused(answered, 503, "provider_not_configured");
  } finally {
    await other.stop();
  }
});
