// @ts-check
// Calls of a gateway's operator routes: sends one request, returns its JSON, and describes every failure in one
// sentence.
//
// It knows no routes and no commands, retries nothing, and follows no redirect: the key is sent only to the address
// that the operator gave.

import { explain, Failure } from "./terminal.mjs";

/** @typedef {{ base: URL, key: string, seconds: number }} Gateway - Seconds until a call is given up. */

// Nothing was sent, so no change was made.
const NOT_SENT = ["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "ENETUNREACH", "EHOSTUNREACH"];

const OPERATORS_ONLY =
  "GATEWAY_ADMIN_KEY, or the key given by --key-stdin, must be an operator key: " +
  "one whose hash is in the gateway's GATEWAY_ADMIN_KEY_HASHES";

/** @type {Record<number, string>} */
const ADVICE = { 401: OPERATORS_ONLY, 403: OPERATORS_ONLY };

/**
 * The address of a gateway. Without `insecure` only a loopback address can use http.
 *
 * @param {string} text
 * @param {boolean} insecure
 * @returns {URL}
 */
export function gatewayAddress(text, insecure) {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (!url || !["http:", "https:"].includes(url.protocol)) {
    throw new Failure("The gateway's address (--url or GATEWAY_URL) must be an http or https URL");
  }
  // The message does not repeat the address: a part that does not belong there may be a secret.
  if (url.username || url.password || url.search || url.hash) {
    throw new Failure(
      "The gateway's address (--url or GATEWAY_URL) must be a host and a path only",
    );
  }
  const here = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(url.hostname);
  if (url.protocol === "http:" && !here && !insecure) {
    throw new Failure(
      `The operator key would be sent to ${url.host} unencrypted: use https, or --insecure if you trust ` +
        "the network on the way",
    );
  }
  return url;
}

/**
 * Encodes an operator's argument as one path segment.
 *
 * @param {string} text
 */
export function segment(text) {
  // Segments that a URL does not keep: deleting the request ".." would call another route.
  if (/^\.{0,2}$/.test(text)) throw new Failure(`"${text}" is not an id or a name`);
  return encodeURIComponent(text);
}

/**
 * @param {Gateway} gateway
 * @param {string} method
 * @param {string} path - With its query, every part of it encoded.
 * @param {unknown} [body]
 * @returns {Promise<any>} The JSON of the response, null if it is empty. A rejection is a Failure.
 */
export async function call(gateway, method, path, body) {
  const { response, text } = await send(gateway, method, path, body, "application/json");
  if (response.ok && text === "") return null;
  const data = parse(text);
  if (data === undefined) {
    throw new Failure(
      `The response from ${gateway.base.href} is not JSON (${facts(response)}): is that the address of a gateway?`,
    );
  }
  if (!response.ok) throw new Failure(rejection(response, data));
  return data;
}

/**
 * The text of a response in another format than JSON.
 *
 * @param {Gateway} gateway
 * @param {string} path - With its query, every part of it encoded.
 * @param {string} type - The content type.
 * @returns {Promise<string>} A rejection is a Failure.
 */
export async function text(gateway, path, type) {
  const { response, text } = await send(gateway, "GET", path, undefined, type);
  if (!response.ok) throw new Failure(rejection(response, parse(text)));
  if (!(response.headers.get("content-type") ?? "").startsWith(type)) {
    throw new Failure(
      `The response from ${gateway.base.href} is not ${type} (${facts(response)}): is that the address of a gateway?`,
    );
  }
  return text;
}

/**
 * Sends a request, and returns the response with its text. A redirect is a Failure.
 *
 * @param {Gateway} gateway
 * @param {string} method
 * @param {string} path
 * @param {unknown} body
 * @param {string} accept
 */
async function send({ base, key, seconds }, method, path, body, accept) {
  const target = new URL(base.pathname.replace(/\/+$/, "") + path, base);
  let response, text;
  try {
    response = await fetch(target, {
      method,
      headers: {
        authorization: `Bearer ${key}`,
        accept,
        ...(body === undefined ? {} : { "content-type": "application/json" }),
      },
      body: body === undefined ? undefined : JSON.stringify(body),
      redirect: "manual",
      // The time limit also ends a response that starts in time and then stalls.
      signal: AbortSignal.timeout(seconds * 1000),
    });
    text = await response.text();
  } catch (error) {
    const { why, sent } = trouble(error, seconds);
    const doubt = "It is unknown whether the change was made: check before you repeat it";
    const sentence = `No response from the gateway at ${base.href}: ${why}`;
    throw new Failure(sent && method !== "GET" ? `${sentence}. ${doubt}` : sentence);
  }

  const location = response.headers.get("location");
  if (response.status >= 300 && response.status < 400 && location !== null) {
    throw new Failure(
      `The gateway at ${base.href} redirects to ${location} (${facts(response)}), and the key is not sent ` +
        "there: if that is the right gateway, give its address as --url",
    );
  }
  return { response, text };
}

/**
 * Checks that a response has the fields that a command uses, with their types. Otherwise the address is not a
 * gateway's, or the version of the gateway is another.
 *
 * @param {any} data
 * @param {Record<string, "array" | "boolean" | "number" | "string">} fields
 */
export function expectFields(data, fields) {
  for (const [name, type] of Object.entries(fields)) {
    const value = data?.[name];
    if (type !== (Array.isArray(value) ? "array" : typeof value)) {
      throw new Failure(`The gateway's response is not valid: it has no ${type} ${name}`);
    }
  }
}

/**
 * @param {unknown} error - The error of fetch.
 * @param {number} seconds
 */
function trouble(error, seconds) {
  if (error instanceof Error && error.name === "TimeoutError") {
    return { why: `waited ${seconds} s`, sent: true };
  }
  // fetch only reports "fetch failed". Its cause has the reason, for a name with several addresses only as a code.
  const cause = /** @type {NodeJS.ErrnoException} */ (
    error instanceof Error ? (error.cause ?? error) : error
  );
  const why = (cause instanceof Error && cause.message) || cause?.code || explain(cause);
  return { why, sent: !NOT_SENT.includes(cause?.code ?? "") };
}

/** @param {string} text */
function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/**
 * The gateway's own message, which is at another place in each of its error formats.
 *
 * @param {Response} response
 * @param {any} data
 */
function rejection(response, data) {
  const message = [data?.error?.message, data?.Message, data?.message].find(
    (text) => typeof text === "string" && text !== "",
  );
  const [seconds] = /^\d+$/.exec(response.headers.get("retry-after") ?? "") ?? [];
  const advice = ADVICE[response.status] ?? (seconds ? `Try again in ${seconds} seconds` : null);
  const text = `${message ?? "The gateway rejected the request without a reason"} (${facts(response)})`;
  return advice === null ? text : `${text}. ${advice}`;
}

/** @param {Response} response */
function facts(response) {
  const id = response.headers.get("x-request-id");
  return id === null ? `HTTP ${response.status}` : `HTTP ${response.status}, request id ${id}`;
}
