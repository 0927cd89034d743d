// @ts-check
//! Real clients of Anthropic's API, unchanged but for their base URL and key: the official SDKs in both API versions,
//! LangChain, the AI SDK and Claude Code. Each scenario runs against the gateway with an Anthropic upstream and with a
//! Chat upstream. With `CLIENTS_AGAINST=provider` it runs against the simulated provider itself, which shows that the
//! client and the scenario are right.

import assert from "node:assert/strict";
import { rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, suite, test } from "node:test";
import { claude, isInstalled } from "../clients/claude-code.mjs";
import { clients as fromNpm } from "../clients/node.mjs";
import { clients as fromPyPI, stop as stopPython } from "../clients/python.mjs";
import { Gateway, KEY, PROVIDER_KEY, Upstream, variables } from "./harness.mjs";

/** @typedef {import("../clients/conversation.mjs").Client} Client */
/** @typedef {import("../clients/conversation.mjs").Ask} Ask */

/**
 * @typedef {object} Target the server that a scenario runs against
 * @property {string} name
 * @property {string} url
 * @property {string} key
 * @property {boolean} isGateway
 * @property {boolean} isTranslated
 * @property {(client: string, lane?: string) => string} model a model that no other client uses, so that a failure of
 *   one does not put the lane of another into cooldown
 */

const clients = [...fromNpm, ...fromPyPI];

/** The lanes of each client: those of faults are apart. */
const LANES = ["", "-limited", "-overloaded", "-cut", "-error"];
/** @param {string} name */
const slug = (name) => name.toLowerCase().replace(/[^a-z0-9]/g, "");

const upstream = await Upstream.start(["--messages-key", PROVIDER_KEY]);

/** The providers of the gateway: two for each client, on the one simulated provider. */
function providers() {
  const names = [...clients.map((client) => slug(client.name)), "claudecode"];
  const usual = { base_url: `${upstream.url}/v1` };
  /** @param {string} model */
  const models = (model) => LANES.map((lane) => model + lane);
  return Object.fromEntries(
    names.flatMap((name) => [
      [`native${name}`, { ...usual, formats: ["messages"], models: models(claudeFor(name)) }],
      [`chat${name}`, { ...usual, models: models("sim-small") }],
    ]),
  );
}

/**
 * A model that takes a thinking budget, for the SDKs, and one that thinks adaptively and takes system messages anywhere,
 * for Claude Code, which uses both. The name decides what the simulated provider accepts.
 */
const CLAUDE = "claude-haiku-4-5";
const NEWER = "claude-opus-4-8";
/** @param {string} client */
const claudeFor = (client) => (slug(client) === "claudecode" ? NEWER : CLAUDE);

const keys = Object.keys(providers()).map((name) => [
  `${name.toUpperCase()}_API_KEY`,
  PROVIDER_KEY,
]);
const gateway =
  process.env["CLIENTS_AGAINST"] === "provider"
    ? undefined
    : await Gateway.startBare({
        ...variables(upstream, { providers: providers(), aliases: {} }),
        ...Object.fromEntries(keys),
      });
after(async () => {
  stopPython();
  await Promise.all([gateway?.stop(), upstream.stop()]);
});

/** @type {Target[]} */
const targets = [];
if (gateway === undefined) {
  targets.push({
    name: "the provider itself",
    url: upstream.url,
    key: PROVIDER_KEY,
    isGateway: false,
    isTranslated: false,
    model: (client, lane = "") => claudeFor(client) + lane,
  });
} else {
  targets.push(
    {
      name: "an Anthropic upstream",
      url: gateway.url,
      key: KEY,
      isGateway: true,
      isTranslated: false,
      model: (client, lane = "") => `native${slug(client)}/${claudeFor(client)}${lane}`,
    },
    {
      name: "a Chat upstream",
      url: gateway.url,
      key: KEY,
      isGateway: true,
      isTranslated: true,
      model: (client, lane = "") => `chat${slug(client)}/sim-small${lane}`,
    },
  );
}

let runs = 0;

/** A word that no other prompt has, not even as a part of another word. */
const unique = () => `run${(runs += 1)}x`;

/** @param {object} simulate */
const simulated = (simulate) => `[[simulate ${JSON.stringify(simulate)}]]`;

/**
 * The requests that the provider received with a word in their body.
 *
 * @param {string} word
 */
const sent = async (word) =>
  (await upstream.requests()).filter((request) => request.body_text.includes(word));

/** The scenarios that every client can run. @type {Record<string, (client: Client, target: Target) => Promise<void>>} */
const SCENARIOS = {
  async "a whole response"(client, target) {
    const word = unique();
    const heard = await client.converse({ ...ask(client, target), prompt: `${word} 😀` });
    assert.equal(heard.error, undefined);
    assert.equal(heard.text, `You said: ${word} 😀`);
    assert.ok(heard.output > 0);
    // The provider sees the version that the client was written for.
    const [request] = await sent(word);
    const version = target.isTranslated ? undefined : client.version;
    assert.equal(request?.headers["anthropic-version"], version);
  },

  async "a streamed response"(client, target) {
    const heard = await client.converse({
      ...ask(client, target),
      prompt: "Grüße 😀",
      stream: true,
    });
    assert.equal(heard.error, undefined);
    assert.equal(heard.text, "You said: Grüße 😀");
    assert.ok(heard.output > 0);
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
      assert.equal(heard.text, "The tool said: noon");
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
      // A Chat upstream gets one message for each result, and its reply quotes the last one.
      assert.match(heard.text, /^The tool said: .*21 °C/);
      const [, second] = await sent(word);
      const { messages } = JSON.parse(second?.body_text ?? "{}");
      const [turn, ...results] = messages.slice(target.isTranslated ? -3 : -2);
      if (target.isTranslated) {
        assert.deepEqual(
          results.map((/** @type {any} */ result) => [
            result.role,
            result.tool_call_id,
            result.content,
          ]),
          [
            ["tool", turn.tool_calls[0].id, "noon"],
            ["tool", turn.tool_calls[1].id, "21 °C"],
          ],
        );
      } else {
        assert.match(JSON.stringify(results), /noon.*21 °C/);
      }
    }
  },

  async "thinking that is handed back"(client, target) {
    for (const stream of [false, true]) {
      const word = unique();
      const heard = await client.converse({
        ...ask(client, target),
        prompt: `${word} [[call clock]] ${simulated({ thinking: "I look at the clock." })}`,
        tools: true,
        thinking: true,
        stream,
      });
      // The provider rejects a signature that it has not issued for this text.
      assert.equal(heard.error, undefined);
      assert.equal(heard.thought, "I look at the clock.");
      assert.equal(heard.text, "The tool said: noon");
      const [, second] = await sent(word);
      const messages = JSON.parse(second?.body_text ?? "{}").messages;
      const turn = messages.find((/** @type {any} */ message) => message.role === "assistant");
      if (target.isTranslated) assert.equal(turn.reasoning_content, "I look at the clock.");
      else assert.equal(turn.content[0].thinking, "I look at the clock.");
    }
  },

  async "a stream that is cut off is an error"(client, target) {
    const fault = { cut: "stream", after_events: 5, when: { stream: true } };
    const heard = await client.converse({
      ...ask(client, target, "-cut"),
      prompt: `one two three ${simulated(fault)}`,
      stream: true,
    });
    assert.ok(heard.error, `a reply instead of an error: ${JSON.stringify(heard)}`);
    if (target.isGateway) assert.match(heard.error.message, /closed the connection|incomplete/i);
  },

  async "an error inside a stream is an error"(client, target) {
    const fault = { error_event: true, after_events: 5, message: "boom", when: { stream: true } };
    const heard = await client.converse({
      ...ask(client, target, "-error"),
      prompt: `one two three ${simulated(fault)}`,
      stream: true,
    });
    assert.ok(heard.error, `a reply instead of an error: ${JSON.stringify(heard)}`);
    assert.match(heard.error.message, /boom/);
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
      prompt: `Hi ${simulated({ status: 529, message: "Overloaded" })}`,
    });
    assert.equal(heard.error?.status, 529);
    assert.match(heard.error?.message ?? "", /overloaded/i);
  },

  async "tokens are counted"(client, target) {
    assert.ok(client.count);
    const count = await client.count({ ...ask(client, target), prompt: "one two three" });
    assert.ok(count >= 3, `${count}`);
  },

  async "models are listed"(client, target) {
    assert.ok(client.models);
    const models = await client.models({ baseUrl: target.url, key: target.key });
    const id = target.isGateway ? target.model(client.name) : CLAUDE;
    const listed = models.find((model) => model.id === id);
    assert.ok(listed, `${id} is not in ${JSON.stringify(models.slice(0, 5))}`);
    assert.ok(listed.name.length > 0);
  },
};

/**
 * A reply that calls no tool: without it, the simulated model calls the first of Claude Code's tools.
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

/** The scenarios of Claude Code. @type {Record<string, (target: Target) => Promise<void>>} */
const CLAUDE_CODE = {
  async "a reply"(target) {
    const word = unique();
    const run = await claude({
      ...code(target),
      prompt: `Say hello, ${word}. ${says("hello from the model")}`,
    });
    assert.equal(run.result?.is_error, false, run.output);
    assert.equal(run.result.result, "hello from the model");
    assert.ok(run.result.usage.output_tokens > 0, run.output);
    // It changes with every request and would spoil the prompt caches of other providers.
    const [request] = await sent(word);
    const isAttributed = request?.body_text.includes("x-anthropic-billing-header");
    assert.equal(isAttributed, !target.isTranslated);
  },

  async "tools over several turns"(target) {
    const word = unique();
    const path = join(tmpdir(), `gatehouse-${process.pid}-${word}.txt`);
    await writeFile(path, "the content of a file\n");
    const bash = JSON.stringify({ command: "echo $((40 + 2)) apples", description: "Count" });
    const read = JSON.stringify({ file_path: path });
    const run = await claude({
      ...code(target),
      prompt: `${word} [[call Bash ${bash}]] [[then]] [[call Read ${read}]]`,
    });
    await rm(path);
    assert.equal(run.result?.is_error, false, run.output);
    assert.match(run.result.result, /^The tool said: .*the content of a file/s);
    const third = (await sent(word)).at(-1)?.body_text ?? "";
    assert.match(third, /42 apples.*the content of a file/s);
  },

  async "parallel tools"(target) {
    const word = unique();
    const bash = (/** @type {string} */ text) =>
      `[[call Bash ${JSON.stringify({ command: `echo ${text}`, description: "Echo" })}]]`;
    const run = await claude({
      ...code(target),
      prompt: `${word} ${bash("first-$((1 + 1))")} ${bash("second-$((2 + 2))")}`,
    });
    assert.equal(run.result?.is_error, false, run.output);
    // The results come in the order in which the commands end.
    assert.match(run.result.result, /^The tool said: .*(first-2|second-4)/s);
    const last = (await sent(word)).at(-1)?.body_text ?? "";
    assert.ok(last.includes("first-2") && last.includes("second-4"), last);
  },

  async "a stream that is cut off is not taken for a reply"(target) {
    const fault = { cut: "stream", after_events: 5, when: { stream: true } };
    const run = await claude({
      ...code(target, "-cut"),
      prompt: `Say hello. ${once(fault, "said at the second try")}`,
    });
    assert.equal(run.result?.is_error, false, run.output);
    assert.equal(run.result.result, "said at the second try");
  },

  async "a wrong key is a clear error"(target) {
    const run = await claude({ ...code(target), key: "wrong", prompt: `Hi ${says("no")}` });
    assert.notEqual(run.status, 0, run.output);
    assert.match(run.output, /401|key/i);
    assert.ok(run.ms < 15_000, `${run.ms} ms: ${run.output}`);
  },

  async "a rate limit is waited for"(target) {
    const run = await claude({
      ...code(target, "-limited"),
      prompt: `Say hello. ${once({ status: 429, retry_after: 1 }, "after the limit")}`,
    });
    assert.equal(run.result?.result, "after the limit", run.output);
  },

  async "an overload is tried again"(target) {
    const run = await claude({
      ...code(target, "-overloaded"),
      prompt: `Say hello. ${once({ status: 529 }, "after the overload")}`,
    });
    assert.equal(run.result?.result, "after the overload", run.output);
  },
};

/**
 * @param {Target} target
 * @param {string} [lane]
 */
const code = (target, lane) => ({
  baseUrl: target.url,
  key: target.key,
  // Each kind of credential against one upstream.
  bearer: target.isTranslated,
  model: target.model("Claude Code", lane),
});

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

for (const target of targets) {
  // Clients mostly start up and wait, so that a few at a time are faster.
  suite(`clients of Messages: ${target.name}`, { concurrency: 3 }, () => {
    for (const client of clients) {
      suite(`${client.name}, ${target.name}`, { concurrency: 1 }, () => {
        for (const [name, run] of Object.entries(SCENARIOS)) {
          if (name === "tokens are counted" && client.count === undefined) continue;
          if (name === "models are listed" && client.models === undefined) continue;
          test(`${client.name}, ${target.name}: ${name}`, () => run(client, target));
        }
      });
    }
    test(`probes with HEAD, ${target.name}: no server error`, async () => {
      for (const path of ["/", "/api/hello", "/v1/messages"]) {
        const response = await fetch(target.url + path, { method: "HEAD", redirect: "manual" });
        assert.ok(response.status < 500, `${path}: ${response.status}`);
      }
    });
  });

  const missing = isInstalled ? false : "Claude Code is not installed";
  suite(`Claude Code: ${target.name}`, { skip: missing, concurrency: 2 }, () => {
    for (const [name, run] of Object.entries(CLAUDE_CODE)) {
      test(`Claude Code, ${target.name}: ${name}`, () => run(target));
    }
  });
}
