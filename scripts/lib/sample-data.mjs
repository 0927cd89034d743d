// @ts-check
// Sample data for a gateway on this machine, made with its API: policies, a priced model, an alias, keys, calls, and requests that
// wait for an operator. `scripts/dev` and the tests of the console use it; it is never used with real providers, because it makes
// calls.

/**
 * @typedef {object} Target
 * @property {string} url - Of the gateway.
 * @property {string} operatorKey
 * @property {string} model - A model of the simulated provider.
 */

/**
 * Sends a request as an operator, or with another key.
 *
 * @param {Target} target
 * @param {string} method
 * @param {string} path
 * @param {object} [body]
 * @param {Record<string, string>} [headers]
 * @returns {Promise<any>} the body of the response
 */
async function send({ url, operatorKey }, method, path, body, headers = {}) {
  const response = await fetch(`${url}${path}`, {
    method,
    headers: {
      authorization: `Bearer ${operatorKey}`,
      ...(body === undefined ? {} : { "content-type": "application/json" }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
  return text === "" ? null : JSON.parse(text);
}

const DAY_MS = 86_400_000;

export const POLICIES = {
  trial: {
    description: "For trying things out",
    limits: { usd_per_month: 5, requests_per_minute: 60 },
    expires_days: 30,
  },
  team: {
    description: "Internal tools",
    limits: { usd_per_month: 250, usd_per_day: 25, requests_per_minute: 600 },
  },
  production: {
    description: "Customer-facing services",
    limits: { usd_per_month: 2000, requests_per_minute: 3000, concurrent: 200 },
  },
};

const KEYS = [
  { name: "checkout-service", policies: ["production"], metadata: { team: "payments" }, share: 12 },
  {
    name: "support-bot",
    policies: ["team"],
    metadata: { team: "support" },
    limits: { requests_per_day: 20 },
    share: 17,
  },
  { name: "ci-runner", policies: ["trial"], metadata: { team: "platform" }, share: 4 },
  { name: "analytics-nightly", policies: ["team"], metadata: { team: "data" }, share: 2 },
];

const REQUESTS = [
  {
    email: "mira.okafor@example.com",
    company: "Northwind Logistics",
    use_case:
      "Classifying incoming freight e-mails and drafting replies for our dispatchers. About 40 people will use it.",
    intended_use: "production",
    expected_daily_requests: 4000,
  },
  {
    email: "jonas.lind@example.org",
    company: "Lind & Partner",
    use_case: "Internal prototype of a coding assistant for our six developers.",
    intended_use: "internal",
    expected_daily_requests: 300,
  },
  {
    email: "aiko@example.net",
    use_case: "Learning to build with language models in the evenings.",
    intended_use: "personal",
    expected_daily_requests: 20,
  },
];

const PROMPTS = [
  "Summarise this ticket in one sentence: the parcel arrived two days late and the box was open.",
  "Write a friendly reply to a customer who asks for an invoice.",
  "Which of these categories fits best: billing, delivery, returns?",
  "Explain the difference between a lease and a lock to a new colleague.",
];

/**
 * Adds the sample data, unless the gateway has issued keys already.
 *
 * @param {Target} target
 * @returns {Promise<Record<string, string> | null>} the new keys by name; null: there were keys
 */
export async function addSampleData(target) {
  const present = await send(target, "GET", "/v0/api_keys");
  if (present.length > 0) return null;
  await send(target, "PUT", `/v0/models/${target.model}`, {
    input_usd_per_mtok: 3,
    output_usd_per_mtok: 15,
    context: 128000,
    max_output: 1000,
    tools: true,
  });
  for (const [name, policy] of Object.entries(POLICIES))
    await send(target, "PUT", `/v0/policies/${name}`, policy);
  await send(target, "PUT", "/v0/aliases/fast", { model: target.model });
  for (const request of REQUESTS)
    await send(target, "POST", "/access/request-key", request, {
      "cf-connecting-ip": "192.0.2.1",
    });
  /** @type {Record<string, string>} */
  const made = {};
  for (const { share, ...key } of KEYS) {
    const expires = new Date(Date.now() + 90 * DAY_MS).toISOString();
    const { api_key } = await send(target, "POST", "/v0/api_keys", { ...key, expires_at: expires });
    made[key.name] = api_key;
    for (let n = 0; n < share; n += 1)
      await send(
        target,
        "POST",
        "/v1/chat/completions",
        {
          model: n % 3 === 0 ? "fast" : target.model,
          messages: [{ role: "user", content: PROMPTS[n % PROMPTS.length] }],
        },
        {
          authorization: `Bearer ${api_key}`,
          "x-gateway-project-id": ["checkout", "support", "search"][n % 3] ?? "checkout",
        },
      );
  }
  return made;
}

// From a shell: node scripts/lib/sample-data.mjs URL MODEL, with OPERATOR_KEY in the environment.
if (process.argv[1] === new URL(import.meta.url).pathname) {
  const [, , url = "", model = ""] = process.argv;
  await addSampleData({ url, model, operatorKey: process.env["OPERATOR_KEY"] ?? "" });
}
