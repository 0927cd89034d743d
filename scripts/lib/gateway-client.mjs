// @ts-check
// Calls of a gateway's operator routes: one request, its JSON, and a sentence for everything that can go
// wrong on the way.
//
// It knows no route and no command, tries nothing twice, and follows no redirect: the key goes to the
// address that the operator named, and nowhere else.

import { explain, Failure } from "./terminal.mjs";

/** @typedef {{ base: URL, key: string, seconds: number }} Gateway - Seconds until a call is given up. */

// Nothing was sent, so a change was certainly not made.
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
  // Not repeated in the message: a part that does not belong there may be a secret.
  if (url.username || url.password || url.search || url.hash) {
    throw new Failure(
      "The gateway's address (--url or GATEWAY_URL) must be a host and a path only",
    );
  }
  const here = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(url.hostname);
  if (url.protocol === "http:" && !here && !insecure) {
    throw new Failure(
      `The operator key would travel to ${url.host} in the clear: use https, or --insecure if you trust ` +
        "the network on the way",
    );
  }
  return url;
}

/**
 * A word of the operator's as one segment of a path.
 *
 * @param {string} text
 */
export function segment(text) {
  // Segments that a URL does not keep: deleting the request ".." would be a call of another route.
  if (/^\.{0,2}$/.test(text)) throw new Failure(`"${text}" is no id and no name`);
  return encodeURIComponent(text);
}

/**
 * @param {Gateway} gateway
 * @param {string} method
 * @param {string} path - With its query, every part of it encoded.
 * @param {unknown} [body]
 * @returns {Promise<any>} The JSON of the answer, null if the answer is empty. A refusal is a Failure.
 */
export async function call({ base, key, seconds }, method, path, body) {
  const target = new URL(base.pathname.replace(/\/+$/, "") + path, base);
  let response, text;
  try {
    response = await fetch(target, {
      method,
      headers: {
        authorization: `Bearer ${key}`,
        accept: "application/json",
        ...(body === undefined ? {} : { "content-type": "application/json" }),
      },
      body: body === undefined ? undefined : JSON.stringify(body),
      redirect: "manual",
      // It also ends an answer that begins in time and then stalls.
      signal: AbortSignal.timeout(seconds * 1000),
    });
    text = await response.text();
  } catch (error) {
    const { why, sent } = trouble(error, seconds);
    const doubt = "Whether the change was made is not known: look before you repeat it";
    const sentence = `No answer from the gateway at ${base.href}: ${why}`;
    throw new Failure(sent && method !== "GET" ? `${sentence}. ${doubt}` : sentence);
  }

  const location = response.headers.get("location");
  if (response.status >= 300 && response.status < 400 && location !== null) {
    throw new Failure(
      `The gateway at ${base.href} redirects to ${location} (${facts(response)}), and the key is not sent ` +
        "there: if that is the right gateway, give its address as --url",
    );
  }
  if (response.ok && text === "") return null;
  const answer = parse(text);
  if (answer === undefined) {
    throw new Failure(
      `The answer from ${base.href} is not JSON (${facts(response)}): is that the address of a gateway?`,
    );
  }
  if (!response.ok) throw new Failure(refusal(response, answer));
  return answer;
}

/**
 * Check that a response has the fields that a command uses, with their types: otherwise the address is not a
 * gateway's, or its version is another.
 *
 * @param {any} answer
 * @param {Record<string, "string" | "number" | "array">} members
 */
export function expectMembers(answer, members) {
  for (const [name, type] of Object.entries(members)) {
    const value = answer?.[name];
    if (type !== (Array.isArray(value) ? "array" : typeof value)) {
      throw new Failure(`The gateway's answer is not understood: it has no ${type} ${name}`);
    }
  }
}

/**
 * @param {unknown} error - What fetch failed with.
 * @param {number} seconds
 */
function trouble(error, seconds) {
  if (error instanceof Error && error.name === "TimeoutError") {
    return { why: `waited ${seconds} s`, sent: true };
  }
  // fetch says "fetch failed"; its cause says why, and for a name with several addresses only by its code.
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
 * The gateway's own words, which each of its dialects keeps somewhere else.
 *
 * @param {Response} response
 * @param {any} answer
 */
function refusal(response, answer) {
  const message = [answer?.error?.message, answer?.Message, answer?.message].find(
    (text) => typeof text === "string" && text !== "",
  );
  const [seconds] = /^\d+$/.exec(response.headers.get("retry-after") ?? "") ?? [];
  const advice = ADVICE[response.status] ?? (seconds ? `Try again in ${seconds} seconds` : null);
  const said = `${message ?? "The gateway refuses without a reason"} (${facts(response)})`;
  return advice === null ? said : `${said}. ${advice}`;
}

/** @param {Response} response */
function facts(response) {
  const id = response.headers.get("x-request-id");
  return id === null ? `HTTP ${response.status}` : `HTTP ${response.status}, request id ${id}`;
}
