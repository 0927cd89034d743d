// @ts-check
//! Real clients of OpenAI's Responses, unchanged but for their base URL and key: the official SDKs, OpenAI's Agents SDKs,
//! the AI SDK, LangChain and Codex. Each scenario runs against the gateway with an upstream of Responses and with one of
//! Chat Completions. With `CLIENTS_AGAINST=provider` it runs against the simulated provider itself, which shows that the
//! client and the scenario are right.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, suite, test } from "node:test";
import { codex, isInstalled } from "../clients/codex.mjs";
import { responsesClients as fromPyPI, stop as stopPython } from "../clients/python.mjs";
import { clients as fromNpm } from "../clients/responses.mjs";
import { Gateway, KEY, Upstream, variables } from "./harness.mjs";

/** @typedef {import("../clients/conversation.mjs").Client} Client */

/**
 * @typedef {object} Target the server that a scenario runs against
 * @property {string} name
 * @property {string} url
 * @property {string} key
 * @property {boolean} isGateway
 * @property {boolean} isTranslated
 * @property {(client: string, lane?: string, base?: string) => string} model a model that no other client uses, so that a failure of
 *   one does not put the lane of another into cooldown
 */

const clients = [...fromNpm, ...fromPyPI];

/** The lanes of each client: those of faults are apart. */
const LANES = ["", "-limited", "-overloaded", "-cut", "-error"];
/** @param {string} name */
const slug = (name) => name.toLowerCase().replace(/[^a-z0-9]/g, "");

const MODEL = "sim-small";
/** A model for which Codex has a `custom` tool in a namespace, announced by an item, instead of functions. */
const NEWER = "gpt-5.6-sol";
const upstream = await Upstream.start();

/** The providers of the gateway: two for each client, on the one simulated provider. */
function providers() {
  const usual = {
    base_url: `${upstream.url}/v1`,
    auth: "none",
    models: [...LANES.map((lane) => MODEL + lane), NEWER],
  };
  const names = [...clients.map((client) => slug(client.name)), "codex"];
  return Object.fromEntries(
    names.flatMap((name) => [
      [`native${name}`, { ...usual, formats: ["responses"] }],
      [`chat${name}`, usual],
    ]),
  );
}

const gateway =
  process.env["CLIENTS_AGAINST"] === "provider"
    ? undefined
    : await Gateway.startBare(
        variables(upstream, {
          providers: providers(),
          aliases: {},
          // The clients repeat their calls themselves.
          routing: { retries: 0 },
        }),
      );
after(async () => {
  stopPython();
  await Promise.all([gateway?.stop(), upstream.stop()]);
});

/** @type {Target[]} */
const targets =
  gateway === undefined
    ? [
        {
          name: "the provider itself",
          url: upstream.url,
          key: KEY,
          isGateway: false,
          isTranslated: false,
          model: (_client, lane = "", base = MODEL) => base + lane,
        },
      ]
    : ["native", "chat"].map((kind) => ({
        name: kind === "native" ? "a Responses upstream" : "a Chat upstream",
        url: gateway.url,
        key: KEY,
        isGateway: true,
        isTranslated: kind === "chat",
        model: (client, lane = "", base = MODEL) => `${kind}${slug(client)}/${base}${lane}`,
      }));

let runs = 0;

/** A word that no other prompt has, not even as a part of another word. */
const unique = () => `run${(runs += 1)}x`;

/** @param {object} simulate */
const simulated = (simulate) => `[[simulate ${JSON.stringify(simulate)}]]`;

/**
 * The bodies of the requests that the provider received with a word in them.
 *
 * @param {string} word
 * @returns {Promise<any[]>}
 */
const sent = async (word) =>
  (await upstream.requests())
    .filter((request) => request.body_text?.includes(word))
    .map((request) => JSON.parse(request.body_text));

/**
 * @param {Client} client
 * @param {Target} target
 * @param {string} [lane]
 */
const ask = (client, target, lane) => ({
  baseUrl: target.url,
  key: target.key,
  model: target.model(client.name, lane),
});

/** The scenarios that every client can run. @type {Record<string, (client: Client, target: Target) => Promise<void>>} */
const SCENARIOS = {
  async "whole and streamed responses"(client, target) {
    for (const stream of [false, true]) {
      const heard = await client.converse({ ...ask(client, target), prompt: "Grüße 😀", stream });
      assert.equal(heard.error, undefined);
      assert.equal(heard.text, "You said: Grüße 😀");
      assert.ok(heard.output > 0);
    }
  },

  async "a tool in each of two turns"(client, target) {
    for (const stream of [false, true]) {
      const heard = await client.converse({
        ...ask(client, target),
        prompt: `Go. [[call weather {"location":"Köln \\"Süd\\""}]] [[then]] [[call clock]]`,
        tools: true,
        stream,
      });
      assert.equal(heard.error, undefined);
      assert.deepEqual(heard.calls, [
        { name: "weather", input: { location: 'Köln "Süd"' } },
        { name: "clock", input: {} },
      ]);
      assert.match(heard.text, /The tool said: noon$/);
    }
  },

  async "parallel tools, one without arguments"(client, target) {
    for (const stream of [false, true]) {
      const word = unique();
      const heard = await client.converse({
        ...ask(client, target),
        prompt: `${word} [[call clock]] [[call weather {"location":"Köln"}]]`,
        tools: true,
        stream,
      });
      assert.equal(heard.error, undefined);
      assert.deepEqual(heard.calls, [
        { name: "clock", input: {} },
        { name: "weather", input: { location: "Köln" } },
      ]);
      const [, second] = await sent(word);
      const results = target.isTranslated
        ? second.messages
            .slice(-2)
            .map((/** @type {any} */ result) => [result.role, result.tool_call_id, result.content])
        : second.input
            .slice(-2)
            .map((/** @type {any} */ item) => ["tool", item.call_id, text(item.output)]);
      const ids = target.isTranslated
        ? second.messages.at(-3).tool_calls.map((/** @type {any} */ call) => call.id)
        : ["call_sim_1", "call_sim_2"];
      assert.deepEqual(results, [
        ["tool", ids[0], "noon"],
        ["tool", ids[1], "21 °C"],
      ]);
    }
  },

  async "reasoning that is handed back"(client, target) {
    for (const stream of [false, true]) {
      const word = unique();
      const heard = await client.converse({
        ...ask(client, target),
        prompt: `${word} [[call clock]] ${simulated({ thinking: "I look at the clock." })}`,
        tools: true,
        thinking: true,
        stream,
      });
      // The provider rejects encrypted content that it has not issued.
      assert.equal(heard.error, undefined);
      assert.equal(heard.thought, "I look at the clock.");
      assert.match(heard.text, /The tool said: noon$/);
      const [, second] = await sent(word);
      if (target.isTranslated) {
        const turn = second.messages.find((/** @type {any} */ one) => one.role === "assistant");
        assert.equal(turn.reasoning_content, "I look at the clock.");
      } else {
        const item = second.input.find((/** @type {any} */ one) => one.type === "reasoning");
        assert.match(item.encrypted_content, /^gAAAAA/);
      }
    }
  },

  async "a reply of a given shape"(client, target) {
    const content = JSON.stringify({ verdict: "fine" });
    const word = unique();
    const heard = await client.converse({
      ...ask(client, target),
      prompt: `${word} ${simulated({ content })}`,
      shaped: true,
    });
    assert.equal(heard.error, undefined);
    assert.deepEqual(heard.shape, { verdict: "fine" });
    const [request] = await sent(word);
    const format = target.isTranslated ? request.response_format.json_schema : request.text.format;
    assert.deepEqual([format.schema.required, format.strict], [["verdict"], true]);
  },

  async "a stream that is cut off is an error"(client, target) {
    const fault = { cut: "stream", after_events: 6, when: { stream: true } };
    const heard = await client.converse({
      ...ask(client, target, "-cut"),
      prompt: `one two three ${simulated(fault)}`,
      stream: true,
    });
    assert.ok(heard.error, `a reply instead of an error: ${JSON.stringify(heard)}`);
  },

  async "an error inside a stream is an error"(client, target) {
    const fault = { error_event: true, after_events: 6, message: "boom", when: { stream: true } };
    const heard = await client.converse({
      ...ask(client, target, "-error"),
      prompt: `one two three ${simulated(fault)}`,
      stream: true,
    });
    assert.ok(heard.error, `a reply instead of an error: ${JSON.stringify(heard)}`);
  },

  async "a wrong key is a clear error at once"(client, target) {
    for (const stream of [false, true]) {
      const began = Date.now();
      const heard = await client.converse({
        ...ask(client, target),
        key: "wrong",
        prompt: "Hi",
        retries: 2,
        stream,
      });
      assert.equal(heard.error?.status, 401);
      assert.match(heard.error?.message ?? "", /key/);
      assert.ok(Date.now() - began < 3000);
    }
  },

  async "a rate limit is waited for"(client, target) {
    const word = unique();
    const fault = { status: 429, retry_after: 1, when: { times: 1, id: `${target.name} ${word}` } };
    const heard = await client.converse({
      ...ask(client, target, "-limited"),
      prompt: `${word} ${simulated(fault)}`,
      retries: 2,
    });
    assert.equal(heard.error, undefined);
    assert.equal(heard.text, `You said: ${word}`);
    assert.equal((await sent(word)).length, 2);
  },

  async "an overload has its status"(client, target) {
    const heard = await client.converse({
      ...ask(client, target, "-overloaded"),
      prompt: `Hi ${simulated({ status: 503, message: "no room" })}`,
    });
    assert.equal(heard.error?.status, 503);
    assert.match(heard.error?.message ?? "", /no room/i);
  },

  async "models are listed"(client, target) {
    assert.ok(client.models);
    const models = await client.models({ baseUrl: target.url, key: target.key });
    const id = target.model(client.name);
    assert.ok(models.some((model) => model.id === id));
  },
};

/**
 * The text of a tool's output, which clients write in two ways.
 *
 * @param {any} output
 */
const text = (output) => (typeof output === "string" ? output : output[0].text);

/**
 * A reply that calls no tool: without it, the simulated model calls the first of Codex's tools.
 *
 * @param {string} content
 */
const says = (content) => simulated({ content });

/**
 * A fault of the first request, and a reply to the next one.
 *
 * @param {{ when?: object, [field: string]: unknown }} fault
 * @param {string} content
 */
const once = (fault, content) =>
  simulated([{ ...fault, when: { ...fault.when, times: 1, id: unique() } }, { content }]);

/** A patch that adds a file. */
const PATCH = "*** Begin Patch\n*** Add File: note.txt\n+written by a patch\n*** End Patch";

/** @param {string} command */
const shell = (command) => `[[call exec_command ${JSON.stringify({ cmd: command })}]]`;

/**
 * @param {Target} target
 * @param {string} [lane]
 */
const agent = (target, lane) => ({
  baseUrl: target.url,
  key: target.key,
  model: target.model("Codex", lane),
});

/** @typedef {import("../clients/codex.mjs").Run} Run */

/**
 * The scenarios of Codex, each with its runs and their results.
 *
 * @type {Record<string, (target: Target, run: (ask: Parameters<typeof codex>[0]) => Promise<Run>) => Promise<void>>}
 */
const CODEX = {
  async "a reply"(target, run) {
    const word = unique();
    const ran = await run({ ...agent(target), prompt: `Say hello, ${word}. ${says("hello you")}` });
    assert.equal(ran.status, 0, ran.output);
    assert.equal(ran.message, "hello you", ran.output);
    const { usage } = ran.events.find(({ type }) => type === "turn.completed");
    assert.ok(usage.input_tokens > 1000 && usage.output_tokens > 0, ran.output);
    assert.equal((await sent(word)).length, 1);
  },

  async "a command and a patch over several turns"(target, run) {
    const word = unique();
    const ran = await run({
      ...agent(target),
      prompt: `${word} ${shell("echo $((40 + 2)) apples")} [[then]] ${shell(`apply_patch <<'EOF'\n${PATCH}\nEOF`)}`,
    });
    assert.equal(ran.status, 0, ran.output);
    assert.match(ran.message, /^The tool said: .*note\.txt/s, ran.output);
    assert.equal(await readFile(join(ran.folder, "note.txt"), "utf8"), "written by a patch\n");
    const third = JSON.stringify((await sent(word)).at(-1));
    assert.match(third, /42 apples.*note\.txt/s);
  },

  async "a script and a patch with a custom tool in a namespace"(target, run) {
    const word = unique();
    const script = (/** @type {string} */ input) =>
      `[[call functions__exec ${JSON.stringify({ input })}]]`;
    const command = `const ran = await tools.exec_command({ cmd: "echo $((40 + 2)) apples" });\ntext(ran.output);`;
    const patch = `text(await tools.apply_patch(${JSON.stringify(PATCH)}));`;
    const ran = await run({
      ...agent(target),
      model: target.model("Codex", "", NEWER),
      prompt: `${word} ${script(command)} [[then]] ${script(patch)}`,
    });
    assert.equal(ran.status, 0, ran.output);
    assert.match(ran.message, /^The tool said: Script completed/, ran.output);
    assert.equal(await readFile(join(ran.folder, "note.txt"), "utf8"), "written by a patch\n");
    const last = JSON.stringify((await sent(word)).at(-1));
    assert.match(last, /42 apples/);
  },

  async "parallel commands"(target, run) {
    const word = unique();
    const ran = await run({
      ...agent(target),
      prompt: `${word} ${shell("echo first-$((1 + 1))")} ${shell("echo second-$((2 + 2))")}`,
    });
    assert.equal(ran.status, 0, ran.output);
    const last = JSON.stringify((await sent(word)).at(-1));
    assert.match(last, /first-2.*second-4/s);
  },

  async "reasoning that is handed back"(target, run) {
    const word = unique();
    const ran = await run({
      ...agent(target),
      prompt: `${word} ${shell("echo thought")} ${simulated({ thinking: "I look first." })}`,
    });
    assert.equal(ran.status, 0, ran.output);
    const second = JSON.stringify((await sent(word)).at(-1));
    assert.match(second, target.isTranslated ? /reasoning_content":"I look first/ : /gAAAAA/);
  },

  async "a stream that is cut off is tried again"(target, run) {
    const fault = { cut: "stream", after_events: 5, when: { stream: true } };
    const prompt = `Say hello. ${once(fault, "said at the second try")}`;
    const ran = await run({ ...agent(target, "-cut"), prompt });
    assert.equal(ran.status, 0, ran.output);
    assert.equal(ran.message, "said at the second try", ran.output);
  },

  async "a rate limit inside a stream is waited for"(target, run) {
    const message = "Rate limit reached. Please try again in 1s.";
    const fault = {
      error_event: true,
      after_events: 6,
      content: "one two three four",
      code: "rate_limit_exceeded",
      message,
    };
    const ran = await run({
      ...agent(target, "-error"),
      prompt: `Say hello. ${once(fault, "after the limit")}`,
    });
    assert.equal(ran.message, "after the limit", ran.output);
    assert.ok(ran.ms >= 1000, `${ran.ms} ms`);
  },

  async "a rate limit is waited for"(target, run) {
    const prompt = `Hi ${once({ status: 429, retry_after: 1 }, "after the limit")}`;
    const ran = await run({ ...agent(target, "-limited"), prompt });
    assert.equal(ran.message, "after the limit", ran.output);
    // The wait is not silent.
    assert.match(ran.output, /429/);
  },

  async "a prompt that is too long is a clear error"(target, run) {
    const fault = {
      status: 400,
      code: "context_length_exceeded",
      message: "Your input exceeds the context window of this model.",
    };
    const ran = await run({ ...agent(target), prompt: `Hi ${simulated(fault)}` });
    assert.notEqual(ran.status, 0, ran.output);
    assert.match(ran.output, /context window/);
    assert.ok(ran.ms < 15_000, `${ran.ms} ms: ${ran.output}`);
  },

  async "a wrong key is a clear error"(target, run) {
    const ran = await run({ ...agent(target), key: "wrong", prompt: `Hi ${says("no")}` });
    assert.notEqual(ran.status, 0, ran.output);
    assert.match(ran.output, /401|key/i);
    assert.ok(ran.ms < 15_000, `${ran.ms} ms: ${ran.output}`);
  },

  async "the built-in provider falls back from its WebSocket at once"(target, run) {
    const ran = await run({ ...agent(target), builtIn: true, prompt: `Hi ${says("over HTTP")}` });
    assert.equal(ran.message, "over HTTP", ran.output);
    assert.ok(ran.ms < 8000, `${ran.ms} ms: ${ran.output}`);
  },
};

/** Scenarios of what the simulated provider does not have: keys, and a response to a WebSocket. */
const GATEWAY_ALONE = /^(a wrong key|the built-in)/;

for (const target of targets) {
  // Clients mostly start up and wait, so that a few at a time are faster.
  suite(`clients of Responses: ${target.name}`, { concurrency: 3 }, () => {
    for (const client of clients) {
      suite(`${client.name}, ${target.name}`, { concurrency: 1 }, () => {
        for (const [name, run] of Object.entries(SCENARIOS)) {
          if (name === "models are listed" && client.models === undefined) continue;
          if (!target.isGateway && GATEWAY_ALONE.test(name)) continue;
          test(`${client.name}, ${target.name}: ${name}`, () => run(client, target));
        }
      });
    }
  });

  const missing = isInstalled ? false : "Codex is not installed";
  suite(`Codex: ${target.name}`, { skip: missing, concurrency: 3 }, () => {
    for (const [name, scenario] of Object.entries(CODEX)) {
      if (!target.isGateway && GATEWAY_ALONE.test(name)) continue;
      test(`Codex, ${target.name}: ${name}`, async () => {
        /** @type {Run[]} */
        const ran = [];
        try {
          await scenario(target, async (asked) => {
            const one = await codex(asked);
            ran.push(one);
            return one;
          });
        } finally {
          await Promise.all(ran.map((one) => one.clean()));
        }
      });
    }
  });
}
