// @ts-check
//! The clients from npm: Anthropic's SDK for both versions of the API, and the AI SDK.

import { createAnthropic } from "@ai-sdk/anthropic";
import Newer from "@anthropic-ai/sdk";
import { generateText, isStepCount, jsonSchema, streamText, tool } from "ai";
import Older from "anthropic-sdk-0";
import { MAX_TURNS, TOOLS, VERSIONS } from "./conversation.mjs";

/** @typedef {import("./conversation.mjs").Ask} Ask */
/** @typedef {import("./conversation.mjs").Heard} Heard */
/** @typedef {import("./conversation.mjs").Client} Client */

/** In milliseconds. */
const TIMEOUT = 15_000;

/**
 * @param {string} name
 * @param {string} version
 * @param {any} Anthropic the SDK's class; the two versions differ only in the types of what is not used here
 * @returns {Client}
 */
function official(name, version, Anthropic) {
  /** @param {{ baseUrl: string, key: string, retries?: number }} ask */
  const open = ({ baseUrl, key, retries = 0 }) =>
    new Anthropic({ baseURL: baseUrl, apiKey: key, maxRetries: retries, timeout: TIMEOUT });
  return {
    name,
    version,
    async converse(ask) {
      const client = open(ask);
      /** @type {any[]} */
      const messages = [{ role: "user", content: ask.prompt }];
      /** @type {Heard} */
      const heard = { text: "", calls: [], thought: "", output: 0 };
      try {
        for (let turn = 0; turn < MAX_TURNS; turn += 1) {
          heard.text = "";
          const body = {
            model: ask.model,
            max_tokens: 2000,
            messages,
            ...(ask.tools && { tools: TOOLS.map(({ result, ...described }) => described) }),
            ...(ask.thinking && { thinking: { type: "enabled", budget_tokens: 1024 } }),
          };
          const message = ask.stream
            ? await client.messages
                .stream(body)
                .on("text", (/** @type {string} */ delta) => (heard.text += delta))
                .finalMessage()
            : await client.messages.create(body);
          messages.push({ role: "assistant", content: message.content });
          heard.output = message.usage.output_tokens;
          /** @param {string} type */
          const blocks = (type) =>
            message.content.filter((/** @type {any} */ block) => block.type === type);
          heard.text = blocks("text")
            .map((/** @type {any} */ block) => block.text)
            .join("");
          heard.thought ||= blocks("thinking")
            .map((/** @type {any} */ block) => block.thinking)
            .join("");
          const calls = blocks("tool_use");
          if (calls.length === 0) break;
          messages.push({
            role: "user",
            content: calls.map((/** @type {any} */ call) => {
              heard.calls.push({ name: call.name, input: call.input });
              const content = TOOLS.find((known) => known.name === call.name)?.result;
              return { type: "tool_result", tool_use_id: call.id, content };
            }),
          });
        }
      } catch (/** @type {any} */ error) {
        heard.error = {
          status: error.status,
          message: error.message,
          kind: error.constructor.name,
        };
      }
      return heard;
    },
    async count(ask) {
      const counted = await open(ask).messages.countTokens({
        model: ask.model,
        messages: [{ role: "user", content: ask.prompt }],
      });
      return counted.input_tokens;
    },
    async models(ask) {
      const models = [];
      for await (const model of open(ask).models.list()) {
        models.push({ id: model.id, name: model.display_name });
      }
      return models;
    },
  };
}

/** @type {Client} */
const aiSdk = {
  name: "AI SDK",
  version: VERSIONS[0],
  async converse(ask) {
    const provider = createAnthropic({ baseURL: `${ask.baseUrl}/v1`, apiKey: ask.key });
    /** @type {Heard} */
    const heard = { text: "", calls: [], thought: "", output: 0 };
    /** @type {any} */
    let failure;
    const options = {
      model: provider(ask.model),
      prompt: ask.prompt,
      maxRetries: ask.retries ?? 0,
      maxOutputTokens: 2000,
      stopWhen: isStepCount(MAX_TURNS),
      abortSignal: AbortSignal.timeout(TIMEOUT),
      ...(ask.tools && {
        tools: Object.fromEntries(
          TOOLS.map(({ name, description, input_schema, result }) => [
            name,
            tool({
              description,
              inputSchema: jsonSchema(/** @type {any} */ (input_schema)),
              execute: async () => result,
            }),
          ]),
        ),
      }),
      ...(ask.thinking && {
        providerOptions: { anthropic: { thinking: { type: "enabled", budgetTokens: 1024 } } },
      }),
    };
    try {
      /** @type {any} */
      let result;
      if (ask.stream) {
        result = streamText({ ...options, onError: ({ error }) => (failure = error) });
        for await (const delta of result.textStream) heard.text += delta;
        if (failure !== undefined) throw failure;
      } else {
        result = await generateText(options);
      }
      const steps = await result.steps;
      heard.text = steps.at(-1).text;
      heard.output = steps.at(-1).usage.outputTokens;
      heard.thought = steps[0].reasoningText ?? "";
      heard.calls = steps.flatMap((/** @type {any} */ step) =>
        step.toolCalls.map((/** @type {any} */ call) => ({
          name: call.toolName,
          input: call.input,
        })),
      );
    } catch (/** @type {any} */ error) {
      // After several tries, the last one says why.
      const cause = error.lastError ?? error;
      heard.error = { status: cause.statusCode, message: cause.message, kind: cause.name };
    }
    return heard;
  },
};

/** @type {Client[]} */
export const clients = [
  official("npm SDK 0", VERSIONS[0], Older),
  official("npm SDK 1", VERSIONS[1], Newer),
  aiSdk,
];
