// @ts-check
//! The matrix of translations: each format of callers with each format of providers, whole and streamed, for what agents
//! use. What the caller reads must be the same everywhere, and so must what the provider gets with the next turn.
//!
//! `UPDATE_TRANSLATION=1 node --test tests/e2e/translation.test.mjs` writes `site/data/translation.json`, from which the
//! documentation's table is made; the test fails when the committed file is not what ran.

import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { after, suite, test } from "node:test";
import { Gateway, KEY, Upstream, call, root, variables } from "./harness.mjs";

const FILE = `${root}site/data/translation.json`;
const COMMAND = "UPDATE_TRANSLATION=1 node --test tests/e2e/translation.test.mjs";

/** @typedef {"chat_completions" | "messages" | "responses"} Format */
/** @type {Format[]} */
const FORMATS = ["chat_completions", "messages", "responses"];

/**
 * @typedef {object} Heard what a caller reads of a response
 * @property {string} text
 * @property {string} thought
 * @property {{ id: string, name: string, input: any }[]} calls
 * @property {string} end `stop`, `length`, `tools`, `refusal` or `error`
 * @property {string} message of the error
 * @property {boolean} metered whether it has the tokens of the prompt and of the output
 * @property {any[]} turn the model's turn, as the next request repeats it
 */

/**
 * @typedef {object} Case
 * @property {string} prompt
 * @property {string[]} [tools] the names of the tools
 * @property {boolean} [image]
 * @property {boolean} [schema]
 * @property {boolean} [thinks]
 * @property {number} [limit]
 * @property {(upstream: Format, stream: boolean) => object | undefined} [simulate]
 * @property {Partial<Heard>} expected
 * @property {(sent: any, upstream: Format) => unknown} [sent] what the provider's request must have: the value in its place
 * @property {unknown} [has] that value
 */

const PIXEL =
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
const SCHEMA = {
  type: "object",
  properties: { answer: { type: "string" } },
  required: ["answer"],
  additionalProperties: false,
};
const LONG =
  "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen";
const LEAST = 16;
const THOUGHT = "I look at the clock.";
const NO = "I cannot help with that.";

/** @type {Record<string, Case>} */
const CASES = {
  text: { prompt: "Grüße 😀", expected: { text: "You said: Grüße 😀", end: "stop" } },
  tools: {
    prompt: '[[call weather {"location":"Köln \\"Süd\\""}]]',
    tools: ["weather", "clock"],
    expected: {
      calls: [{ id: "", name: "weather", input: { location: 'Köln "Süd"' } }],
      end: "tools",
    },
  },
  "parallel tools": {
    prompt: '[[call clock]] [[call weather {"location":"Köln"}]]',
    tools: ["weather", "clock"],
    expected: {
      calls: [
        { id: "", name: "clock", input: {} },
        { id: "", name: "weather", input: { location: "Köln" } },
      ],
      end: "tools",
    },
  },
  reasoning: {
    prompt: "[[call clock]]",
    tools: ["weather", "clock"],
    thinks: true,
    simulate: () => ({ thinking: THOUGHT }),
    expected: {
      thought: THOUGHT,
      calls: [{ id: "", name: "clock", input: {} }],
      end: "tools",
    },
    sent: (body, upstream) =>
      upstream === "messages"
        ? body.thinking.type !== "disabled"
        : (body.reasoning_effort ?? body.reasoning?.effort) !== undefined,
    has: true,
  },
  images: {
    prompt: "Look.",
    image: true,
    expected: { text: "You said: Look.", end: "stop" },
    sent: (body, upstream) => {
      const [, image] = (body.messages ?? body.input).at(-1).content;
      return upstream === "messages" ? image.source.data : (image.image_url.url ?? image.image_url);
    },
  },
  "JSON schema": {
    prompt: "Judge.",
    schema: true,
    expected: { text: '{"answer":"You said: Judge."}', end: "stop" },
    sent: (body) =>
      (body.response_format?.json_schema ?? body.output_config?.format ?? body.text.format).schema,
    has: SCHEMA,
  },
  refusal: {
    prompt: "Hi",
    simulate: (upstream) =>
      upstream === "messages" ? { stop_reason: "refusal" } : { refusal: NO },
    expected: { end: "refusal" },
  },
  length: {
    prompt: LONG,
    limit: LEAST,
    expected: {
      text: `You said: ${LONG}`.split(" ").slice(0, LEAST).join(" "),
      end: "length",
    },
  },
  error: {
    prompt: "one two three",
    simulate: (_upstream, stream) =>
      stream
        ? { error_event: true, after_events: 6, message: "boom" }
        : { status: 503, message: "boom" },
    expected: { end: "error", message: "boom" },
  },
};

const SAID = { text: "You said: one two three", end: "stop" };
const BOOM = { error_event: true, after_events: 6, message: "boom" };

/**
 * Peculiarities of providers of Responses, and what a caller of any format reads then.
 *
 * @type {Record<string, Omit<Case, "prompt"> & { prompt?: string, simulated: object, streams?: boolean[], unmetered?: boolean }>}
 */
const ODDITIES = {
  "unknown events and items": {
    simulated: { unknown_events: true, unknown_blocks: true },
    expected: SAID,
  },
  "a [DONE] behind the end": { simulated: { done: true }, streams: [true], expected: SAID },
  "no usage": { simulated: { usage: "none" }, unmetered: true, expected: SAID },
  "a hosted web search": { simulated: { stop_reason: "pause_turn" }, expected: SAID },
  "interleaved calls": {
    prompt: '[[call clock {"zone":"Europe/Oslo"}]] [[call weather {"location":"Köln"}]]',
    simulated: { interleave: true },
    tools: ["weather", "clock"],
    expected: {
      calls: [
        { id: "", name: "clock", input: { zone: "Europe/Oslo" } },
        { id: "", name: "weather", input: { location: "Köln" } },
      ],
      end: "tools",
    },
  },
  "open reasoning": {
    simulated: { thinking: THOUGHT, open_thinking: true, signature: "none" },
    thinks: true,
    expected: { ...SAID, thought: THOUGHT },
  },
  "a content filter": {
    simulated: { stop_reason: "content_filter" },
    expected: { ...SAID, end: "refusal" },
  },
  "a stream without its end": {
    simulated: { done: false },
    streams: [true],
    expected: { end: "error", message: "incomplete" },
  },
  "a documented error event": {
    simulated: { ...BOOM, error_event_shape: "error" },
    streams: [true],
    expected: { end: "error", message: "boom" },
  },
  "response.failed alone": {
    simulated: { ...BOOM, error_event_shape: "failed" },
    streams: [true],
    expected: { end: "error", message: "boom" },
  },
  "a response that has failed": {
    simulated: { stop_reason: "failed", message: "boom" },
    expected: { end: "error", message: "boom" },
  },
};

const TOOLS = {
  weather: { type: "object", properties: { location: { type: "string" } } },
  clock: { type: "object", properties: {} },
};
/** @param {Case} one */
const toolsOf = (one) => /** @type {("weather" | "clock")[]} */ (one.tools);

/**
 * The callers: the request of a case, the response that they read, and the turn in which the tools report.
 *
 * @type {Record<Format, {
 *   path: string,
 *   request: (one: Case) => any,
 *   whole: (body: any) => Heard,
 *   streamed: (events: any[]) => Heard,
 *   continued: (body: any, heard: Heard) => any,
 * }>}
 */
const CALLERS = {
  chat_completions: {
    path: "/v1/chat/completions",
    request: (one) => ({
      messages: [
        {
          role: "user",
          content: one.image
            ? [
                { type: "text", text: one.prompt },
                { type: "image_url", image_url: { url: `data:image/png;base64,${PIXEL}` } },
              ]
            : one.prompt,
        },
      ],
      ...(one.tools && {
        tools: toolsOf(one).map((name) => ({
          type: "function",
          function: { name, parameters: TOOLS[name] },
        })),
      }),
      ...(one.thinks && { reasoning_effort: "low" }),
      ...(one.schema && {
        response_format: {
          type: "json_schema",
          json_schema: { name: "shape", schema: SCHEMA, strict: true },
        },
      }),
      ...(one.limit && { max_completion_tokens: one.limit }),
    }),
    whole(body) {
      const [{ message, finish_reason: reason }] = body.choices;
      return ofChat(message, reason, body.usage);
    },
    streamed(events) {
      /** @type {any} */
      const message = { role: "assistant", content: null };
      let [reason, usage, error] = [/** @type {any} */ (null), undefined, undefined];
      for (const event of events) {
        error ??= event.error;
        usage = event.usage ?? usage;
        const [choice] = event.choices ?? [];
        reason = choice?.finish_reason ?? reason;
        for (const [name, value] of Object.entries(choice?.delta ?? {})) {
          if (name === "tool_calls") {
            message.tool_calls ??= [];
            for (const { index, ...piece } of value) {
              const known = (message.tool_calls[index] ??= {
                ...piece,
                function: { arguments: "" },
              });
              known.function.name ??= piece.function.name;
              known.function.arguments += piece.function.arguments ?? "";
            }
          } else if (typeof value === "string" && name !== "role") {
            message[name] = (message[name] ?? "") + value;
          } else if (Array.isArray(value)) {
            message[name] = [...(message[name] ?? []), ...value];
          }
        }
      }
      if (error === undefined) assert.notEqual(reason, null);
      return ofChat(message, reason, usage, error);
    },
    continued: (body, heard) => ({
      ...body,
      messages: [
        ...body.messages,
        ...heard.turn,
        ...heard.calls.map(({ id, name }) => ({ role: "tool", tool_call_id: id, content: name })),
      ],
    }),
  },

  messages: {
    path: "/v1/messages",
    request: (one) => ({
      max_tokens: one.limit ?? 2000,
      messages: [
        {
          role: "user",
          content: one.image
            ? [
                { type: "text", text: one.prompt },
                {
                  type: "image",
                  source: { type: "base64", media_type: "image/png", data: PIXEL },
                },
              ]
            : one.prompt,
        },
      ],
      ...(one.tools && {
        tools: toolsOf(one).map((name) => ({ name, input_schema: TOOLS[name] })),
      }),
      ...(one.thinks && { thinking: { type: "enabled", budget_tokens: 1024 } }),
      ...(one.schema && { output_config: { format: { type: "json_schema", schema: SCHEMA } } }),
    }),
    whole: (body) => ofMessage(body),
    streamed(events) {
      /** @type {any} */
      let message;
      let error;
      for (const event of events) {
        const block = message?.content[event.index];
        if (event.type === "message_start") message = event.message;
        else if (event.type === "error") error = event.error;
        else if (event.type === "content_block_start") {
          assert.equal(event.index, message.content.length);
          message.content.push({ ...event.content_block });
        } else if (event.type === "content_block_delta") {
          const { type, ...fields } = event.delta;
          for (const [name, value] of Object.entries(fields)) {
            const place = name === "partial_json" ? "json" : name;
            block[place] = (block[place] ?? "") + value;
          }
        } else if (event.type === "content_block_stop" && block.type === "tool_use") {
          block.input = JSON.parse(block.json || "{}");
          delete block.json;
        } else if (event.type === "message_delta") {
          Object.assign(message, event.delta);
          Object.assign(message.usage, event.usage);
        }
      }
      if (error === undefined) assert.equal(events.at(-1).type, "message_stop");
      return ofMessage(message, error);
    },
    continued: (body, heard) => ({
      ...body,
      messages: [
        ...body.messages,
        { role: "assistant", content: heard.turn },
        {
          role: "user",
          content: heard.calls.map(({ id, name }) => ({
            type: "tool_result",
            tool_use_id: id,
            content: name,
          })),
        },
      ],
    }),
  },

  responses: {
    path: "/v1/responses",
    request: (one) => ({
      store: false,
      input: [
        {
          role: "user",
          content: one.image
            ? [
                { type: "input_text", text: one.prompt },
                { type: "input_image", image_url: `data:image/png;base64,${PIXEL}` },
              ]
            : one.prompt,
        },
      ],
      ...(one.tools && {
        tools: toolsOf(one).map((name) => ({
          type: "function",
          name,
          parameters: TOOLS[name],
          strict: false,
        })),
      }),
      ...(one.thinks && {
        reasoning: { effort: "low", summary: "auto" },
        include: ["reasoning.encrypted_content"],
      }),
      ...(one.schema && {
        text: { format: { type: "json_schema", name: "shape", schema: SCHEMA, strict: true } },
      }),
      ...(one.limit && { max_output_tokens: one.limit }),
    }),
    whole: (body) => ofResponse(body),
    streamed(events) {
      const items = [];
      let text = "";
      for (const [number, event] of events.entries()) {
        assert.equal(event.sequence_number, number);
        if (event.type === "response.output_item.done") items.push(event.item);
        if (event.type === "response.output_text.delta") text += event.delta;
      }
      const { type, response } = events.at(-1);
      assert.match(type, /^response\.(completed|incomplete|failed)$/);
      const heard = ofResponse(response);
      if (heard.end === "error") return heard;
      assert.deepEqual(items, response.output);
      assert.equal(text, heard.text);
      return heard;
    },
    continued: (body, heard) => ({
      ...body,
      input: [
        ...body.input,
        ...heard.turn,
        ...heard.calls.map(({ id, name }) => ({
          type: "function_call_output",
          call_id: id,
          output: name,
        })),
      ],
    }),
  },
};

/** @returns {Heard} */
const nothing = () => ({
  text: "",
  thought: "",
  calls: [],
  end: "",
  message: "",
  metered: false,
  turn: [],
});

/**
 * @param {any} message
 * @param {string | null} reason
 * @param {any} usage
 * @param {any} [error]
 * @returns {Heard}
 */
function ofChat(message, reason, usage, error) {
  /** @type {Record<string, string>} */
  const ends = { stop: "stop", length: "length", tool_calls: "tools", content_filter: "refusal" };
  const refused = Boolean(message.refusal);
  return {
    ...nothing(),
    text: message.content ?? "",
    thought: message.reasoning_content ?? "",
    calls: (message.tool_calls ?? []).map((/** @type {any} */ one) => ({
      id: one.id,
      name: one.function.name,
      input: JSON.parse(one.function.arguments),
    })),
    end: error ? "error" : refused ? "refusal" : (ends[reason ?? ""] ?? `${reason}`),
    message: error?.message ?? "",
    metered: usage?.prompt_tokens > 0 && usage?.completion_tokens >= 0,
    turn: [message],
  };
}

/**
 * @param {any} message
 * @param {any} [error]
 * @returns {Heard}
 */
function ofMessage(message, error) {
  /** @type {Record<string, string>} */
  const ends = { end_turn: "stop", max_tokens: "length", tool_use: "tools", refusal: "refusal" };
  /** @param {string} type */
  const blocks = (type) =>
    (message?.content ?? []).filter((/** @type {any} */ block) => block.type === type);
  return {
    ...nothing(),
    text: blocks("text")
      .map((/** @type {any} */ block) => block.text)
      .join(""),
    thought: blocks("thinking")
      .map((/** @type {any} */ block) => block.thinking)
      .join(""),
    calls: blocks("tool_use").map((/** @type {any} */ { id, name, input }) => ({
      id,
      name,
      input,
    })),
    end: error ? "error" : (ends[message.stop_reason] ?? `${message.stop_reason}`),
    message: error?.message ?? "",
    metered: message?.usage?.input_tokens > 0 && message?.usage?.output_tokens >= 0,
    turn: message?.content,
  };
}

/** @param {any} response @returns {Heard} */
function ofResponse({ status, output, usage, error, incomplete_details: details }) {
  /** @param {string} type @returns {any[]} */
  const items = (type) => output.filter((/** @type {any} */ item) => item.type === type);
  const parts = items("message").flatMap((item) => item.content);
  const calls = items("function_call");
  /** @param {any[]} list @param {string} type */
  const texts = (list, type) =>
    list
      .filter((part) => part.type === type)
      .map((part) => part.text)
      .join("");
  const refused = parts.some((part) => part.type === "refusal");
  const ends = {
    completed: refused ? "refusal" : calls.length > 0 ? "tools" : "stop",
    incomplete: details?.reason === "content_filter" ? "refusal" : "length",
    failed: "error",
  };
  return {
    ...nothing(),
    text: texts(parts, "output_text"),
    thought: items("reasoning")
      .map(
        ({ summary, content = [] }) =>
          texts(summary, "summary_text") + texts(content, "reasoning_text"),
      )
      .join(""),
    calls: calls.map(({ call_id: id, name, arguments: input }) => ({
      id,
      name,
      input: JSON.parse(input),
    })),
    end: ends[/** @type {keyof typeof ends} */ (status)],
    message: error?.message ?? "",
    metered: usage?.input_tokens > 0 && usage?.output_tokens >= 0,
    turn: output,
  };
}

const upstream = await Upstream.start();
/** A model for each case, so that the errors of one put no other one into cooldown. @param {string} name */
const modelOf = (name) => `sim-${name.toLowerCase().replace(/[^a-z]+/g, "-")}`;
const models = [...Object.keys(CASES), "error whole", ...Object.keys(ODDITIES), "patches"].map(
  modelOf,
);
/** A provider for each pair of formats, for the same reason. @param {Format} caller @param {Format} target */
const providerOf = (caller, target) => `${caller}-${target}`.replaceAll("_", "-");
const pairs = FORMATS.flatMap((caller) =>
  FORMATS.map((target) => /** @type {const} */ ([caller, target])),
);
/** The facts of a model that can do all of it. */
const FACTS = { tools: true, json_schema: true, vision: true, reasoning: true };
const gateway = await Gateway.startBare(
  variables(upstream, {
    aliases: {},
    providers: Object.fromEntries(
      pairs.map(([caller, target]) => [
        providerOf(caller, target),
        {
          base_url: `${upstream.url}/${caller}-${target}/v1`,
          auth: "none",
          formats: [target],
          models,
        },
      ]),
    ),
    models: Object.fromEntries(
      pairs.flatMap(([caller, target]) =>
        models.map((model) => [`${providerOf(caller, target)}/${model}`, FACTS]),
      ),
    ),
    routing: { retries: 0 },
  }),
);
after(() => Promise.all([gateway.stop(), upstream.stop()]));

/**
 * Sends a request and reads its response.
 *
 * @param {Format} caller
 * @param {any} body
 */
async function ask(caller, body) {
  const { path, whole, streamed } = CALLERS[caller];
  const response = await call(gateway.url + path, {
    method: "POST",
    headers: { authorization: `Bearer ${KEY}`, "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  const text = await response.text();
  const dropped = response.headers.get("x-gateway-dropped-params") ?? "";
  if (!response.ok) {
    const { message } = JSON.parse(text).error;
    return { heard: { ...nothing(), end: "error", message, status: response.status }, dropped };
  }
  if (!body.stream) return { heard: whole(JSON.parse(text)), dropped };
  const data = text
    .split("\n")
    .filter((line) => line.startsWith("data: ") && line !== "data: [DONE]")
    .map((line) => JSON.parse(line.slice(6)));
  return { heard: streamed(data), dropped };
}

/** The paths of providers. @type {Record<Format, string>} */
const PATHS = {
  chat_completions: "/chat/completions",
  messages: "/messages",
  responses: "/responses",
};

/** The results: caller, upstream, case. @type {Record<string, Record<string, Record<string, string>>>} */
const results = {};

/**
 * Runs a case for a pair of formats. Returns what was dropped.
 *
 * @param {Format} caller
 * @param {Format} target
 * @param {string} name
 * @param {boolean} stream
 */
async function run(caller, target, name, stream) {
  const one = CASES[name] ?? assert.fail();
  const simulate = one.simulate?.(target, stream);
  const prompt = simulate ? `${one.prompt} [[simulate ${JSON.stringify(simulate)}]]` : one.prompt;
  const model = name === "error" && !stream ? "error whole" : name;
  const body = requestOf(caller, target, model, { ...one, prompt }, stream);
  const { heard, dropped } = await ask(caller, body);
  const prefix = `/${caller}-${target}/`;
  const sent = (await upstream.requests()).filter(({ path }) => path.startsWith(prefix));
  const request = sent.at(-1) ?? assert.fail(heard.message);
  assert.ok(request.path.endsWith(PATHS[target]), request.path);

  const { turn, metered, message, ...seen } = heard;
  const expected = { ...nothing(), ...one.expected };
  if (expected.end === "error") {
    assert.equal(heard.end, "error", JSON.stringify(heard));
    assert.match(message, /boom/);
    // Anthropic's status for a provider without capacity.
    const status = caller === "messages" ? 529 : 503;
    if (!stream) assert.equal(/** @type {any} */ (heard).status, status);
    return dropped;
  }
  // A refusal may have words; not every format has a place for them.
  if (expected.end === "refusal") assert.equal(heard.end, "refusal", JSON.stringify(heard));
  else {
    const calls = seen.calls.map((one) => ({ ...one, id: "" }));
    const { text, thought, end } = expected;
    assert.deepEqual(
      { ...seen, calls },
      { text, thought, calls: expected.calls, end },
      `${JSON.stringify(body)}: ${JSON.stringify(heard)}`,
    );
  }
  assert.ok(metered, JSON.stringify(heard));
  const upstreamBody = JSON.parse(request.body_text);
  if (one.image) assert.ok(String(one.sent?.(upstreamBody, target)).endsWith(PIXEL));
  else if (one.sent) assert.deepEqual(one.sent(upstreamBody, target), one.has);
  if (expected.end !== "tools") return dropped;

  // The next turn: the provider checks what it gets back, and its reply quotes the last result.
  const next = await ask(caller, CALLERS[caller].continued(body, heard));
  assert.equal(next.heard.end, "stop", JSON.stringify(next.heard));
  assert.match(next.heard.text, new RegExp(`^The tool said: .*${heard.calls.at(-1)?.name}$`));
  if (one.thinks) {
    const again = (await upstream.requests()).filter(({ path }) => path.startsWith(prefix)).at(-1);
    const text = again?.body_text ?? "";
    // The prompt has the thought, too. Responses have it encrypted.
    const [carried, times] = target === "responses" ? ["gAAAAA", 1] : [THOUGHT, 2];
    assert.ok(text.split(carried).length > times, text);
  }
  return dropped;
}

for (const caller of FORMATS) {
  for (const target of FORMATS) {
    suite(`translation: ${caller} to ${target}`, () => {
      for (const name of Object.keys(CASES)) {
        test(`translation: ${caller} to ${target}: ${name}, whole and streamed`, async () => {
          const dropped = [];
          for (const stream of [false, true]) {
            dropped.push(await run(caller, target, name, stream));
          }
          assert.equal(dropped[0], dropped[1]);
          const how = caller === target ? "passes" : "translated";
          const pair = ((results[caller] ??= {})[target] ??= {});
          pair[name] = dropped[0] ? `${how} (${dropped[0]})` : how;
        });
      }
    });
  }
}

/**
 * The request of a case.
 *
 * @param {Format} caller
 * @param {Format} target
 * @param {string} name of its model
 * @param {Case} one
 * @param {boolean} stream
 */
const requestOf = (caller, target, name, one, stream) => ({
  model: `${providerOf(caller, target)}/${modelOf(name)}`,
  ...CALLERS[caller].request(one),
  ...(stream && { stream }),
  ...(stream && caller === "chat_completions" && { stream_options: { include_usage: true } }),
});

for (const caller of FORMATS) {
  suite(`translation: providers of Responses, ${caller}`, () => {
    for (const [name, one] of Object.entries(ODDITIES)) {
      test(`translation: providers of Responses, ${caller}: ${name}`, async () => {
        for (const stream of one.streams ?? [false, true]) {
          const prompt = `${one.prompt ?? "one two three"} [[simulate ${JSON.stringify(one.simulated)}]]`;
          const body = requestOf(caller, "responses", name, { ...one, prompt }, stream);
          const { heard } = await ask(caller, body);
          const { end, text, thought, calls, message } = { ...nothing(), ...one.expected };
          assert.equal(heard.end, end, JSON.stringify(heard));
          if (end === "error") {
            assert.ok(heard.message.includes(message), heard.message);
            continue;
          }
          const found = heard.calls.map((one) => ({ ...one, id: "" }));
          assert.deepEqual([heard.text, heard.thought, found], [text, thought, calls]);
          if (!one.unmetered) assert.ok(heard.metered, JSON.stringify(heard));
        }
      });
    }
  });
}

suite("translation: tools that only Responses have", () => {
  const patch = '*** Begin Patch\n"é" \\n\n*** End Patch';
  const script = [
    `[[call apply_patch ${JSON.stringify({ input: patch })}]]`,
    '[[call github__find {"q":"x"}]]',
  ].join(" ");
  const tools = [
    { type: "custom", name: "apply_patch", format: { type: "text" } },
    {
      type: "namespace",
      name: "github",
      description: "Issues.",
      tools: [{ type: "function", name: "find", parameters: { type: "object", properties: {} } }],
    },
  ];
  for (const target of FORMATS) {
    test(`translation: custom tools and groups of tools keep their form at ${target}`, async () => {
      for (const stream of [false, true]) {
        const body = {
          ...requestOf("responses", target, "patches", { prompt: script, expected: {} }, stream),
          tools,
        };
        const { heard } = await ask("responses", body);
        const seen = heard.turn.map(({ type, name, namespace, input, arguments: text }) => ({
          ...{ type, name, namespace },
          input: input ?? JSON.parse(text),
        }));
        assert.deepEqual(seen, [
          { type: "custom_tool_call", name: "apply_patch", namespace: undefined, input: patch },
          { type: "function_call", name: "find", namespace: "github", input: { q: "x" } },
        ]);
        const results = heard.turn.map(({ type, call_id, name }) => ({
          type: `${type}_output`,
          ...{ call_id, output: name },
        }));
        const next = await ask("responses", {
          ...body,
          input: [...body.input, ...heard.turn, ...results],
        });
        assert.match(next.heard.text, /^The tool said: .*find$/, JSON.stringify(next.heard));
      }
    });
  }
});

test("translation: the documentation has the matrix that ran", async () => {
  const rows = FORMATS.flatMap((caller) =>
    FORMATS.map((target) => ({
      caller,
      upstream: target,
      cases: Object.fromEntries(
        Object.keys(CASES).map((name) => [name, results[caller]?.[target]?.[name] ?? "fails"]),
      ),
    })),
  );
  const text = `${JSON.stringify(rows, null, 2)}\n`;
  if (process.env["UPDATE_TRANSLATION"] === "1") await writeFile(FILE, text);
  assert.equal(
    await readFile(FILE, "utf8").catch(() => ""),
    text,
    `${FILE} is not what ran; '${COMMAND}' writes it`,
  );
});
