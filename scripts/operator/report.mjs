// @ts-check
// The output of the operator's commands: for people or as JSON, always safe for a terminal.
//
// It asks the gateway nothing and knows no command.

import { expectMembers } from "../lib/gateway-client.mjs";
import { safeJson, safeText } from "../lib/safe-text.mjs";
import { explain, Failure, print } from "../lib/terminal.mjs";

/** @import { Options } from "../gateway-operator.mjs" */

/** The time until a change takes effect, in words. */
export const EVERYWHERE = "everywhere within 10 seconds";

/**
 * The gateway's answer, for a script or for a person.
 *
 * @template Answer
 * @param {Options} options
 * @param {Answer} answer
 * @param {(answer: Answer) => string[]} describe
 */
export async function report({ json }, answer, describe) {
  await print(json ? [safeJson(answer)] : describe(answer).map(safeText));
}

/**
 * The same for an answer that holds what cannot be had again.
 *
 * @param {Options} options
 * @param {any} answer
 * @param {string} lost - What to do if it could not be shown.
 * @param {() => string[]} describe
 */
export async function reportSecret(options, answer, lost, describe) {
  try {
    await report(options, answer, describe);
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
 * @param {any} answer
 * @param {boolean} claim
 */
export function deliveryLines(answer, claim) {
  if (claim) {
    expectMembers(answer, { claim_url: "string", claim_expires_at: "string" });
    return claimLines(answer.claim_url, answer.claim_expires_at);
  }
  expectMembers(answer, { api_key: "string" });
  return keyLines(answer.api_key);
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
 * @param {string} name
 * @param {string | null} value
 * @param {(text: string) => string} [format]
 * @returns {[string, string][]} Nothing for what is not there.
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
