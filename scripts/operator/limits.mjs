// @ts-check
// Limits on the command line: --requests-per-minute, --usd-per-month and the others of `[policies.NAME.limits]`.
//
// It checks only that a value is a number; the gateway checks the rest.

import { option } from "../lib/command-line.mjs";
import { UsageError } from "../lib/terminal.mjs";

/** @typedef {Record<string, number>} Limits */

/** The value of an option that removes its limit. */
const NONE = "none";

/** The limits of `gateway.toml`, and what each counts. */
const LIMITS = /** @type {const} */ ([
  ["requests_per_minute", "calls per minute"],
  ["requests_per_day", "calls per day (UTC)"],
  ["tokens_per_minute", "tokens per minute"],
  ["tokens_per_day", "tokens per day (UTC)"],
  ["concurrent", "concurrent calls"],
  ["usd_per_day", "US dollars per day (UTC)"],
  ["usd_per_month", "US dollars per calendar month (UTC)"],
  ["usd_total", "US dollars in total"],
]);

/** The options, one for each limit. */
export const limitOptions = () =>
  LIMITS.map(([name, counts]) => {
    const flag = name.replaceAll("_", "-");
    return option(`--${flag} NUMBER`, `limit: ${counts}; "none" removes it`, {
      read: (text) => readAmount(flag, text),
    });
  });

/**
 * @param {string} flag
 * @param {string} text
 */
function readAmount(flag, text) {
  if (text === NONE) return NONE;
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text);
  throw new UsageError(`--${flag} must be a number, or "none"`);
}

/**
 * The limits with the options over them; undefined if no option names one.
 *
 * @param {Limits} limits
 * @param {object} options
 * @returns {Limits | undefined}
 */
export function changedLimits(limits, options) {
  const given = /** @type {Record<string, number | typeof NONE | undefined>} */ (options);
  const named = LIMITS.map(([name]) => [name, given[camelCase(name)]]).filter(
    ([, amount]) => amount !== undefined,
  );
  if (named.length === 0) return undefined;
  const all = { ...limits, ...Object.fromEntries(named) };
  return Object.fromEntries(Object.entries(all).filter(([, amount]) => amount !== NONE));
}

/** @param {string} name */
function camelCase(name) {
  return name.replace(/_(.)/g, (_, letter) => letter.toUpperCase());
}

/** @param {Limits | null | undefined} limits */
export function describeLimits(limits) {
  const named = Object.entries(limits ?? {});
  return named.map(([name, amount]) => `${amount} ${name}`).join(", ") || "-";
}
