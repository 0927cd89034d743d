// @ts-check
//! The conversation that every client of Anthropic's Messages and of OpenAI's Responses has with a server: a prompt, the
//! calls of two tools, and the reply. Each client has it in its own way, with its own history; what it saw comes back in
//! one shape.

/** The tools, with what they return. */
export const TOOLS = /** @type {const} */ ([
  {
    name: "weather",
    description: "The weather at a place.",
    input_schema: {
      type: "object",
      properties: { location: { type: "string" } },
      required: ["location"],
    },
    result: "21 °C",
  },
  {
    name: "clock",
    description: "The time.",
    input_schema: { type: "object", properties: {} },
    result: "noon",
  },
]);

/** The schema of a reply that is parsed. */
export const SHAPE = /** @type {const} */ ({
  type: "object",
  properties: { verdict: { type: "string" } },
  required: ["verdict"],
  additionalProperties: false,
});

/** The largest number of turns; a script that needs more is wrong. */
export const MAX_TURNS = 6;

/**
 * @typedef {object} Ask the parameters of one conversation
 * @property {string} baseUrl address of the server, without `/v1`
 * @property {string} key
 * @property {string} model
 * @property {string} prompt
 * @property {boolean} [stream]
 * @property {boolean} [tools]
 * @property {boolean} [thinking]
 * @property {boolean} [shaped] of Responses: the reply is parsed as `SHAPE` describes it
 * @property {number} [limit] of Responses: the largest number of output tokens
 * @property {number} [retries] how often the client may try again; 0 if absent
 */

/**
 * @typedef {object} Heard what a client saw of a conversation
 * @property {string} text of the last message, as far as it came
 * @property {{ name: string, input: any }[]} calls of all turns
 * @property {string} thought of the first turn
 * @property {number} output output tokens of the last message
 * @property {any} [shape] the parsed reply
 * @property {{ status?: number, message: string, kind: string }} [error]
 */

/**
 * @typedef {object} Client
 * @property {string} name
 * @property {string} [version] the `anthropic-version` that it sends
 * @property {(ask: Ask) => Promise<Heard>} converse
 * @property {(ask: Ask) => Promise<number>} [count] input tokens of the prompt
 * @property {(ask: Omit<Ask, "prompt" | "model">) => Promise<{ id: string, name: string }[]>} [models]
 */

/** The published versions of the API. */
export const VERSIONS = /** @type {const} */ (["2023-06-01", "2026-10-21"]);
