// @ts-check
//! The clients of OpenAI's Responses from npm: the official SDK, the AI SDK and OpenAI's Agents SDK, each as its
//! documentation uses it by default.

import { createOpenAI } from "@ai-sdk/openai";
import { Agent, OpenAIProvider, Runner, tool as agentTool } from "@openai/agents";
import { Output, generateText, isStepCount, jsonSchema, streamText, tool } from "ai";
import OpenAI from "openai";
import { MAX_TURNS, SHAPE, TOOLS } from "./conversation.mjs";

/** @typedef {import("./conversation.mjs").Ask} Ask */
/** @typedef {import("./conversation.mjs").Heard} Heard */
/** @typedef {import("./conversation.mjs").Client} Client */

/** In milliseconds. */
const TIMEOUT = 15_000;
const ENCRYPTED = "reasoning.encrypted_content";

/** @param {Pick<Ask, "baseUrl" | "key" | "retries">} ask */
const open = ({ baseUrl, key, retries = 0 }) =>
  new OpenAI({ baseURL: `${baseUrl}/v1`, apiKey: key, maxRetries: retries, timeout: TIMEOUT });

/** @param {any} error @returns {Heard["error"]} */
const failure = (error) => ({
  status: error.status ?? error.statusCode,
  message: error.message,
  kind: error.constructor.name,
});

/** @param {string} name */
const resultOf = (name) => TOOLS.find((known) => known.name === name)?.result ?? "";

/** @returns {Heard} */
const nothing = () => ({ text: "", calls: [], thought: "", output: 0 });

/** The official SDK. @type {Client} */
const official = {
  name: "npm SDK",
  async converse(ask) {
    const client = open(ask);
    /** @type {any[]} */
    const input = [{ role: "user", content: ask.prompt }];
    const heard = nothing();
    try {
      for (let turn = 0; turn < MAX_TURNS; turn += 1) {
        heard.text = "";
        const body = {
          model: ask.model,
          input,
          store: false,
          ...(ask.tools && {
            tools: TOOLS.map(({ name, description, input_schema: parameters }) => ({
              type: "function",
              ...{ name, description, parameters, strict: false },
            })),
          }),
          ...(ask.thinking && {
            reasoning: { effort: "low", summary: "auto" },
            include: [ENCRYPTED],
          }),
          ...(ask.shaped && {
            text: { format: { type: "json_schema", name: "shape", schema: SHAPE, strict: true } },
          }),
          ...(ask.limit && { max_output_tokens: ask.limit }),
        };
        /** @type {any} */
        const api = client.responses;
        const response = ask.stream
          ? await api
              .stream(body)
              .on("response.output_text.delta", (/** @type {any} */ event) => {
                heard.text += event.delta;
              })
              .finalResponse()
          : await (ask.shaped ? api.parse(body) : api.create(body));
        input.push(...response.output);
        // The text that was streamed is the text of the response.
        if (ask.stream && heard.text !== response.output_text) {
          throw new Error(`${heard.text} is not ${response.output_text}`);
        }
        heard.text = response.output_text;
        heard.output = response.usage.output_tokens;
        if (response.status !== "completed") {
          heard.error = {
            message: response.incomplete_details?.reason ?? response.status,
            kind: response.status,
          };
        }
        if (ask.shaped && !heard.error) {
          heard.shape = response.output_parsed ?? JSON.parse(response.output_text);
        }
        /** @param {string} type @returns {any[]} */
        const items = (type) =>
          response.output.filter((/** @type {any} */ item) => item.type === type);
        heard.thought ||= items("reasoning")
          .flatMap((item) => item.summary.map((/** @type {any} */ part) => part.text))
          .join("");
        const calls = items("function_call");
        if (calls.length === 0) break;
        for (const call of calls) {
          heard.calls.push({ name: call.name, input: JSON.parse(call.arguments) });
          input.push({
            type: "function_call_output",
            call_id: call.call_id,
            output: resultOf(call.name),
          });
        }
      }
    } catch (error) {
      heard.error = failure(error);
    }
    return heard;
  },
  async models(ask) {
    const models = [];
    for await (const model of open(ask).models.list())
      models.push({ id: model.id, name: model.id });
    return models;
  },
};

/** Vercel's AI SDK, whose default OpenAI model is one of Responses. @type {Client} */
const aiSdk = {
  name: "AI SDK",
  async converse(ask) {
    const provider = createOpenAI({ baseURL: `${ask.baseUrl}/v1`, apiKey: ask.key });
    const heard = nothing();
    /** @type {any} */
    let problem;
    const options = {
      model: provider(ask.model),
      prompt: ask.prompt,
      maxRetries: ask.retries ?? 0,
      stopWhen: isStepCount(MAX_TURNS),
      abortSignal: AbortSignal.timeout(TIMEOUT),
      ...(ask.limit && { maxOutputTokens: ask.limit }),
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
      ...(ask.shaped && {
        output: Output.object({ schema: jsonSchema(/** @type {any} */ (SHAPE)) }),
      }),
      providerOptions: {
        openai: {
          store: false,
          ...(ask.thinking && {
            forceReasoning: true,
            reasoningEffort: "low",
            reasoningSummary: "auto",
            include: [ENCRYPTED],
          }),
        },
      },
    };
    try {
      /** @type {any} */
      let result;
      if (ask.stream) {
        result = streamText(
          /** @type {any} */ ({
            ...options,
            onError: (/** @type {any} */ { error }) => (problem = error),
          }),
        );
        for await (const delta of result.textStream) heard.text += delta;
        if (problem !== undefined) throw problem;
      } else {
        result = await generateText(/** @type {any} */ (options));
      }
      const steps = await result.steps;
      const last = steps.at(-1);
      heard.text = last.text;
      heard.output = last.usage.outputTokens;
      heard.thought = steps[0].reasoningText ?? "";
      if (!["stop", "tool-calls"].includes(last.finishReason)) {
        heard.error = { message: last.finishReason, kind: last.finishReason };
      } else if (ask.shaped) {
        heard.shape = await result.output;
      }
      heard.calls = steps.flatMap((/** @type {any} */ step) =>
        step.toolCalls.map((/** @type {any} */ call) => ({
          name: call.toolName,
          input: call.input,
        })),
      );
    } catch (/** @type {any} */ error) {
      // After several tries, the last one says why.
      const cause = error.lastError ?? error;
      heard.error = failure(cause);
    }
    return heard;
  },
};

/** OpenAI's Agents SDK. @type {Client} */
const agents = {
  name: "npm Agents",
  async converse(ask) {
    const heard = nothing();
    const runner = new Runner({
      modelProvider: new OpenAIProvider({ openAIClient: /** @type {any} */ (open(ask)) }),
      tracingDisabled: true,
    });
    const agent = new Agent(
      /** @type {any} */ ({
        name: "Tester",
        model: ask.model,
        tools: ask.tools
          ? TOOLS.map(({ name, description, input_schema: parameters, result }) =>
              agentTool({
                ...{ name, description },
                parameters: /** @type {any} */ ({ ...parameters, additionalProperties: true }),
                strict: false,
                execute: async (/** @type {any} */ input) => {
                  heard.calls.push({ name, input });
                  return result;
                },
              }),
            )
          : [],
        modelSettings: {
          store: false,
          ...(ask.limit && { maxTokens: ask.limit }),
          ...(ask.thinking && {
            reasoning: { effort: "low", summary: "auto" },
            providerData: { include: [ENCRYPTED] },
          }),
        },
        ...(ask.shaped && {
          outputType: { type: "json_schema", name: "shape", strict: true, schema: SHAPE },
        }),
      }),
    );
    try {
      /** @type {any} */
      let result;
      if (ask.stream) {
        result = await runner.run(agent, ask.prompt, { maxTurns: MAX_TURNS, stream: true });
        for await (const piece of result.toTextStream()) heard.text += piece;
        await result.completed;
        if (result.error) throw result.error;
      } else {
        result = await runner.run(agent, ask.prompt, { maxTurns: MAX_TURNS });
      }
      if (ask.shaped) heard.shape = result.finalOutput;
      else heard.text = result.finalOutput ?? "";
      heard.output = result.rawResponses.at(-1).usage.outputTokens;
      heard.thought = result.newItems
        .filter((/** @type {any} */ item) => item.type === "reasoning_item")
        .slice(0, 1)
        .flatMap((/** @type {any} */ item) => item.rawItem.content ?? [])
        .map((/** @type {any} */ part) => part.text)
        .join("");
    } catch (error) {
      heard.error = failure(error);
    }
    return heard;
  },
};

/** @type {Client[]} */
export const clients = [official, aiSdk, agents];
