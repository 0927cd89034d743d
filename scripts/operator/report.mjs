// @ts-check
// The output of the operator's commands: for people or as JSON, always safe for a terminal.
//
// It sends no requests and knows no commands.

import { expectFields } from "../lib/gateway-client.mjs";
import { safeJson, safeText } from "../lib/safe-text.mjs";
import { explain, Failure, print } from "../lib/terminal.mjs";

/** @import { Options } from "../gateway-operator.mjs" */

/** The time until a change takes effect, in words. */
export const EVERYWHERE = "everywhere within 10 seconds";

/**
 * Prints the gateway's response, for a script or for a person.
 *
 * @template Data
 * @param {Options} options
 * @param {Data} data
 * @param {(data: Data) => string[]} describe
 */
export async function report({ json }, data, describe) {
  await print(json ? [safeJson(data)] : describe(data).map(safeText));
}

/**
 * The same for a response with content that cannot be retrieved again.
 *
 * @param {Options} options
 * @param {any} data
 * @param {string} lost - The advice if it could not be shown.
 * @param {() => string[]} describe
 */
export async function reportSecret(options, data, lost, describe) {
  try {
    await report(options, data, describe);
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    throw new Failure(`${explain(error)}. ${lost}`);
  }
}

/** @param {string} name */
export function rotateAdvice(name) {
  return `The key ${name} has a new secret that nobody has seen: give it another with "keys rotate"`;
}

/**
 * @param {any} data
 * @param {boolean} claim
 */
export function deliveryLines(data, claim) {
  if (claim) {
    expectFields(data, { claim_url: "string", claim_expires_at: "string" });
    return claimLines(data.claim_url, data.claim_expires_at);
  }
  expectFields(data, { api_key: "string" });
  return keyLines(data.api_key);
}

/** @param {string} key */
export function keyLines(key) {
  return ["", key, "", "This key is shown once: the gateway keeps only its digest."];
}

/**
 * @param {string} url
 * @param {string} expires
 */
export function claimLines(url, expires) {
  return [
    "",
    url,
    "",
    `The first person to open this link gets the key, until ${moment(expires)}.`,
  ];
}

/**
 * @template {string | Record<string, number>} T
 * @param {string} name
 * @param {T | null | undefined} value
 * @param {(value: T) => string} [format]
 * @returns {[string, string][]} Empty for a missing value.
 */
export function optional(name, value, format = String) {
  return value ? [[name, format(value)]] : [];
}

/** @param {string[] | null | undefined} words */
export function enumerate(words) {
  return words?.join(", ") || "-";
}

/** @param {string} text - RFC 3339; anything else stays as it is. */
export function moment(text) {
  const date = new Date(text);
  if (Number.isNaN(date.getTime())) return String(text);
  return `${date.toISOString().slice(0, 16).replace("T", " ")} UTC`;
}
