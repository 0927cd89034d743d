// @ts-check
//! The smallest useful gateway, handwritten in JavaScript: authenticates, finds the provider of the model, sends the
//! request with its own headers under a time limit, counts the usage, and logs a line. The benchmark compares
//! Gatehouse with it. It has no failover, no health, no ledger, no limits and no schema, and does not count the usage
//! of streams.

const MAX_BODY_BYTES = 20 * 1024 * 1024;
const TIMEOUT_MS = 300_000;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** @typedef {{ KEY_HASHES: string, PROVIDERS: string }} Env */
/** @typedef {{ url: string, authorization: string, model: string }} Upstream */

/** @type {{ label: string, digest: Uint8Array<ArrayBuffer> }[]} */
let ring = [];
/** @type {Map<string, Upstream>} */
let models = new Map();
/** @type {Map<string, { requests: number, prompt_tokens: number, completion_tokens: number }>} */
const used = new Map();

export default {
  /**
   * @param {Request} request
   * @param {Env} env
   * @param {{ waitUntil(promise: Promise<unknown>): void }} context
   */
  fetch(request, env, context) {
    if (ring.length === 0) configure(env);
    const response = complete(request).catch((error) => {
      console.log(JSON.stringify({ event: "failure", error: String(error) }));
      return failure(500, "internal_error", "the gateway failed");
    });
    // So that the call is completed, and its memory freed, when the client has disconnected.
    context.waitUntil(response);
    return response;
  },
};

/** @param {Env} env */
function configure(env) {
  ring = env.KEY_HASHES.split(",").map((entry) => {
    const [label = "", hex = ""] = entry.split(":");
    return { label, digest: Uint8Array.from(hex.match(/../g) ?? [], (byte) => parseInt(byte, 16)) };
  });
  /** @type {Record<string, { base_url: string, key: string, models: string[] }>} */
  const providers = JSON.parse(env.PROVIDERS);
  models = new Map(
    Object.entries(providers).flatMap(([name, provider]) =>
      provider.models.map((model) => [
        `${name}/${model}`,
        {
          url: `${provider.base_url}/chat/completions`,
          authorization: `Bearer ${provider.key}`,
          model,
        },
      ]),
    ),
  );
}

/** @param {Request} request */
async function complete(request) {
  const begun = Date.now();
  const id = crypto.randomUUID();
  const { pathname } = new URL(request.url);
  if (pathname !== "/v1/chat/completions") return failure(404, "not_found", "no such route");
  if (request.method !== "POST") return failure(405, "method_not_allowed", "use POST");

  const caller = await callerOf(request.headers.get("authorization"));
  if (caller === undefined) return failure(401, "invalid_api_key", "this key is not valid here");

  if (Number(request.headers.get("content-length") ?? 0) > MAX_BODY_BYTES) return tooLarge();
  const bytes = await request.arrayBuffer();
  if (bytes.byteLength > MAX_BODY_BYTES) return tooLarge();
  let body;
  try {
    body = JSON.parse(decoder.decode(bytes));
  } catch {
    return failure(400, "invalid_json", "the body is not JSON");
  }
  if (typeof body?.model !== "string" || !Array.isArray(body.messages)) {
    return failure(400, "invalid_request", "model and messages are needed");
  }
  const upstream = models.get(body.model);
  if (upstream === undefined) return failure(404, "model_not_found", "no such model");

  const controller = new AbortController();
  const abort = () => controller.abort();
  request.signal.addEventListener("abort", abort);
  const timer = setTimeout(abort, TIMEOUT_MS);
  try {
    const upstreamResponse = await fetch(upstream.url, {
      method: "POST",
      headers: { authorization: upstream.authorization, "content-type": "application/json" },
      body: JSON.stringify({ ...body, model: upstream.model }),
      redirect: "manual",
      signal: controller.signal,
    });
    const headers = {
      "content-type": upstreamResponse.headers.get("content-type") ?? "application/json",
      "x-request-id": id,
      "x-gateway-model": upstream.model,
      "cache-control": "no-store",
    };
    const { status } = upstreamResponse;
    const isStream = headers["content-type"].startsWith("text/event-stream");
    const whole = isStream ? undefined : await upstreamResponse.arrayBuffer();
    const usage = whole === undefined ? undefined : usageOf(whole);
    count(caller, usage);
    console.log(
      JSON.stringify({
        event: "call",
        request_id: id,
        caller,
        model: body.model,
        status,
        stream: isStream,
        prompt_tokens: usage?.prompt_tokens,
        completion_tokens: usage?.completion_tokens,
        duration_ms: Date.now() - begun,
      }),
    );
    return new Response(whole ?? upstreamResponse.body, { status, headers });
  } catch (error) {
    console.log(JSON.stringify({ event: "call", request_id: id, caller, error: String(error) }));
    return failure(502, "upstream_unreachable", "the provider could not be reached");
  } finally {
    clearTimeout(timer);
    request.signal.removeEventListener("abort", abort);
  }
}

/** @param {string | null} authorization */
async function callerOf(authorization) {
  if (!authorization?.startsWith("Bearer ")) return undefined;
  const digest = await crypto.subtle.digest("SHA-256", encoder.encode(authorization.slice(7)));
  // An extension of the runtime that the types of browsers lack.
  const subtle = /** @type {any} */ (crypto.subtle);
  let caller;
  // Compares with all of them, so that the duration reveals nothing.
  for (const entry of ring) if (subtle.timingSafeEqual(entry.digest, digest)) caller = entry.label;
  return caller;
}

/** @param {ArrayBuffer} bytes */
function usageOf(bytes) {
  try {
    return JSON.parse(decoder.decode(bytes)).usage;
  } catch {
    return undefined;
  }
}

/**
 * @param {string} caller
 * @param {{ prompt_tokens?: number, completion_tokens?: number } | undefined} usage
 */
function count(caller, usage) {
  let sum = used.get(caller);
  if (sum === undefined) {
    sum = { requests: 0, prompt_tokens: 0, completion_tokens: 0 };
    used.set(caller, sum);
  }
  sum.requests += 1;
  sum.prompt_tokens += usage?.prompt_tokens ?? 0;
  sum.completion_tokens += usage?.completion_tokens ?? 0;
}

const tooLarge = () => failure(413, "request_too_large", "the body is too large");

/**
 * @param {number} status
 * @param {string} code
 * @param {string} message
 */
function failure(status, code, message) {
  return Response.json({ error: { message, type: "gateway_error", code } }, { status });
}
