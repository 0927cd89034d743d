// @ts-check
//! Errors as users of command-line clients see them: each client of tools.mjs, set up as its page of the documentation says,
//! shows the gateway's message within ten seconds of its first call, and ends. scripts/client-manners installs the clients and
//! runs this file; `TOOLS=llm,codex` runs some of them.
//!
//! The table of what each client did goes to `.tools/client-manners.md`.

import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { after, before, suite, test } from "node:test";
import { mint } from "../../scripts/lib/gateway-key.mjs";
import { snippets } from "../docs/snippets.mjs";
import { Gateway, KEY, Upstream, operate, root, variables } from "../e2e/harness.mjs";
import { TOOLS, isInstalled, run } from "./tools.mjs";

/** @typedef {import("./tools.mjs").Tool} Tool */
/** @typedef {import("./tools.mjs").Run} Run */

/** The longest time from a client's first call to the message on its screen, and to its end, in milliseconds. */
const USUAL = { shown: 10_000, ended: 30_000 };
/** The same where a client may wait for the next minute instead, and then has its response. */
const WAITING = { shown: 75_000, ended: 95_000 };
/** A client needs long to start on a busy machine. */
const TIMEOUT = 120_000;

/** @type {Upstream} */ let upstream;
/** @type {Gateway} */ let gateway;
/** The keys of the policies. @type {Record<string, string>} */
const keys = {};

/** More calls than a client makes for one prompt: Qwen Code makes three. */
const PER_MINUTE = 5;

const POLICIES = {
  spent: { limits: { usd_per_day: 0.000_001 } },
  minute: { limits: { requests_per_minute: PER_MINUTE } },
  day: { limits: { requests_per_day: 1 } },
};

before(async () => {
  upstream = await Upstream.start();
  gateway = await Gateway.start({
    ...variables(upstream, { providers: {}, aliases: {}, policies: POLICIES }),
    OPENAI_API_KEY: "sk-simulated",
    OPENAI_BASE_URL: `${upstream.url}/v1`,
    ANTHROPIC_API_KEY: "sk-simulated",
    ANTHROPIC_BASE_URL: `${upstream.url}/v1`,
  });
  for (const name of Object.keys(POLICIES)) {
    const made = await operate(gateway, "POST", "/v0/api_keys", { name, policies: [name] });
    keys[name] = /** @type {any} */ (await made.json()).api_key;
  }
});
after(async () => {
  await Promise.all([gateway?.stop(), upstream?.stop()]);
  await writeFile(`${root}.tools/client-manners.md`, table());
});

/**
 * A prompt with a script for the simulated provider. It has no blank, since opencode quotes a prompt that has one.
 *
 * @param {object} simulate
 */
const scripted = (simulate) =>
  `Hello[[simulate\n${JSON.stringify(simulate).replaceAll(" ", String.raw`\u0020`)}]]`;

/** Uses up the requests of a key. @param {string} key */
async function spend(key) {
  const response = await fetch(`${gateway.url}/v1/chat/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    body: JSON.stringify({
      model: "openai/gpt-5-mini",
      messages: [{ role: "user", content: "Hi" }],
    }),
  });
  await response.arrayBuffer();
}

/**
 * @typedef {object} Scenario
 * @property {(tool: Tool) => Pick<import("./tools.mjs").Ask, "key" | "prompt" | "rename" | "shows"> } ask
 * @property {() => Promise<void>} [prepare]
 * @property {typeof USUAL} [within]
 * @property {Record<string, RegExp>} [words] of clients that name the cause in words of their own
 * @property {Record<string, string>} [except] clients that do not show the message, with the reason
 */

/** @type {Record<string, Scenario>} */
const SCENARIOS = {
  success: {
    ask: () => ({
      key: KEY,
      prompt: scripted({ content: "Hello from the model" }),
      shows: /Hello from the model/,
    }),
  },
  "a wrong key": {
    ask: () => ({
      key: mint(Buffer.alloc(31, 9)).key,
      prompt: "Say hello.",
      shows: /this key is not valid here/,
    }),
  },
  "a spent budget": {
    ask: () => ({ key: String(keys["spent"]), prompt: "Say hello.", shows: /this key may spend/ }),
  },
  "a spent daily limit": {
    prepare: () => spend(String(keys["day"])),
    ask: () => ({
      key: String(keys["day"]),
      prompt: "Say hello.",
      shows: /may use 1 requests per day/,
    }),
  },
  // The response is 429 with the seconds until the next minute. Clients that wait without a word have their response then.
  "a limit of a minute": {
    async prepare() {
      for (let call = 0; call < PER_MINUTE; call += 1) await spend(String(keys["minute"]));
    },
    within: WAITING,
    ask: () => ({
      key: String(keys["minute"]),
      prompt: scripted({ content: "Hello from the model" }),
      shows: /requests per minute, of which 0 are left|Hello from the model/,
    }),
  },
  "a context that is too long": {
    ask: () => ({
      key: KEY,
      prompt: scripted({
        status: 400,
        code: "context_length_exceeded",
        message: "This model's maximum context length is 8192 tokens",
      }),
      shows: /maximum context length is 8192/,
    }),
    words: {
      "claude-code": /Prompt is too long/,
      codex: /ran out of room in the model's context window/,
      aider: /has hit a token limit!/,
    },
    except: { pi: "it compacts the conversation, and prints nothing where there is none" },
  },
  "an unknown model": {
    ask: () => ({
      key: KEY,
      prompt: "Say hello.",
      rename: (model) => model.replace(/^(..)./, "$1"),
      shows: /Did you mean/,
    }),
    words: {
      "claude-code": /issue with the selected model \([\w/-]+\)\. It may not exist/,
    },
  },
  "a stream that is cut": {
    ask: ({ name }) => ({
      key: KEY,
      prompt: scripted({ cut: "stream", after_events: 6, events: 20 }),
      // A lane of its own: the cuts put it into cooldown.
      rename: (model) => `${model}-for-${name}`,
      shows: /(closed|broke) the connection in the middle of the stream/,
    }),
    words: {
      "claude-code": /Server error mid-response\. The response above may be incomplete/,
      // It continues from the text that has come.
      "qwen-code": /Retrying provider attempt/,
    },
  },
};

/** What was seen, by client and scenario. @type {Map<string, Map<string, Run>>} */
const seen = new Map();

const wanted = process.env["TOOLS"]?.split(",");
for (const tool of TOOLS.filter(({ name }) => wanted?.includes(name) ?? true)) {
  suite(`manners of ${tool.name}`, { skip: isInstalled(tool) ? false : "not installed" }, () => {
    for (const [name, scenario] of Object.entries(SCENARIOS)) {
      const { ask, prepare, within = USUAL, words = {}, except } = scenario;
      test(`${tool.name}: ${name}`, { timeout: TIMEOUT + 30_000 }, async (t) => {
        await prepare?.();
        const own = words[tool.name] === undefined ? {} : { shows: words[tool.name] };
        const ran = await run(tool, { url: gateway.url, timeout: TIMEOUT, ...ask(tool), ...own });
        const row = seen.get(tool.name) ?? new Map();
        seen.set(tool.name, row.set(name, ran));
        if (except?.[tool.name] !== undefined) return t.skip(except[tool.name]);
        assert.ok(ran.shown !== undefined, `it did not show the message:\n${ran.output}`);
        assert.ok(ran.shown <= within.shown, `it showed the message after ${ran.shown} ms`);
        const end = within.ended + (tool.repeats ?? 0);
        assert.ok(ran.status !== null && Number(ran.ended) <= end, "it did not end");
        if (name === "success") assert.equal(ran.status, 0, ran.output);
      });
    }
  });
}

test("manners: every page of a client is run here", () => {
  const names = new Set(snippets().flatMap(({ client }) => (client === "" ? [] : [client])));
  assert.deepEqual([...names].toSorted(), TOOLS.map(({ name }) => name).toSorted());
});

/** The table: milliseconds until the message, the number of calls, and the exit status. */
function table() {
  const names = Object.keys(SCENARIOS);
  const lines = [...seen].map(([name, row]) => {
    const cells = names.map((scenario) => {
      const ran = row.get(scenario);
      return ran === undefined ? "" : `${ran.shown ?? "–"} ms, ${ran.calls}×, ${ran.status}`;
    });
    return `| ${name} | ${cells.join(" | ")} |`;
  });
  return [
    `| client | ${names.join(" | ")} |`,
    `| --- |${" --- |".repeat(names.length)}`,
    ...lines,
    "",
  ].join("\n");
}
