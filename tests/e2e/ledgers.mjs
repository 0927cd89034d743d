// @ts-check
//! Helpers for tests of recording: keys, usage and receipts of a key, and the verification of a chain of receipts.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { KEY, call, operate, root } from "./harness.mjs";

/** @typedef {import("./harness.mjs").Gateway} Gateway */

/** The hash before the first receipt. */
export const GENESIS = "0".repeat(64);
/** The sums of a tally, as the database names them: the list in tally.rs. */
export const FIELDS = fieldsOf(readFileSync(`${root}core/src/ledger/tally.rs`, "utf8"));

/** @param {string} source */
function fieldsOf(source) {
  const [, list = ""] = source.match(/^sums! \{$([\s\S]*?)^\}$/m) ?? [];
  return [...list.matchAll(/^ {4}(\w+),$/gm)].map(([, name = ""]) => name);
}

/**
 * A statement of src/store/usage, filled as `of_sums` in src/store/usage.rs does.
 *
 * @param {string} name
 * @param {string} [source] the table or query that it reads
 * @returns {string}
 */
export function usageStatement(name, source = "usage_daily") {
  const list = (/** @type {(name: string, index: number) => string} */ item) =>
    FIELDS.map(item).join(", ");
  return readFileSync(`${root}src/store/usage/${name}.sql`, "utf8")
    .replaceAll("{usage}", source)
    .replaceAll(
      "{columns}",
      list((name) => name),
    )
    .replaceAll(
      "{values}",
      list((_, index) => `value ->> ${4 + index}`),
    )
    .replaceAll(
      "{additions}",
      list((name) => `${name} = ${name} + excluded.${name}`),
    )
    .replaceAll(
      "{hour_additions}",
      list((name, index) => {
        const path = `'$.h' || (excluded.hour % 24) || '[${index}]'`;
        return `coalesce(hours ->> (${path}), 0) + excluded.${name}`;
      }),
    )
    .replaceAll(
      "{plain_sums}",
      list((name) => `SUM(${name})`),
    )
    .replaceAll(
      "{sums}",
      list((name) => `SUM(${name}) AS ${name}`),
    );
}

/**
 * Sums days that are over without keys, as the gateway does in the first roll-up of an hour.
 *
 * @param {import("node:sqlite").DatabaseSync} database
 */
export function closeDays(database) {
  const hour = Math.floor(Date.now() / 3_600_000);
  database.exec("DELETE FROM usage_closed");
  database.exec("UPDATE counters SET value = 0 WHERE name = 'usage_tidied_hour'");
  database.prepare(usageStatement("close_days")).run(hour, 0);
  database.prepare(usageStatement("set_tidied")).run(hour, 0);
}

/**
 * Issues a key.
 *
 * @param {Gateway} gateway
 * @param {string} name
 * @param {object} [settings]
 * @returns {Promise<{ id: string, name: string, key: string }>}
 */
export async function issue(gateway, name, settings = {}) {
  const response = await operate(gateway, "POST", "/v0/api_keys", { name, ...settings });
  const body = await response.json();
  assert.equal(response.status, 201, JSON.stringify(body));
  return { id: body.id, name, key: body.api_key };
}

/**
 * Sends a request to a route of /usage with a key, and checks that it succeeds.
 *
 * @param {Gateway} gateway
 * @param {string} [path] from behind /usage
 * @param {string} [key]
 * @returns {Promise<any>}
 */
export async function usage(gateway, path = "", key = KEY) {
  const response = await ask(gateway, path, key);
  const text = await response.text();
  assert.equal(response.status, 200, `/usage${path}: ${text}`);
  return JSON.parse(text);
}

/**
 * @param {Gateway} gateway
 * @param {string} path from behind /usage
 * @param {string} [key]
 * @param {RequestInit} [init]
 */
export const ask = (gateway, path, key = KEY, init = {}) =>
  call(`${gateway.url}/usage${path}`, { headers: { authorization: `Bearer ${key}` }, ...init });

/**
 * All receipts of a key, oldest first.
 *
 * @param {Gateway} gateway
 * @param {string} [key]
 * @returns {Promise<any[]>}
 */
export async function receipts(gateway, key = KEY) {
  const found = [];
  for (let before = ""; ;) {
    const page = await usage(gateway, `/requests?limit=100${before}`, key);
    found.push(...page.data);
    if (!page.has_more) return found.reverse();
    before = `&before=${page.next_before}`;
  }
}

/**
 * Asserts that all receipts of a key, oldest first, are consistent with each other and with the ledger.
 *
 * @param {any[]} list
 * @param {any} account the answer of GET /usage
 */
export function assertChain(list, account) {
  const totals = { requests: 0, prompt_tokens: 0, completion_tokens: 0, cost_micro_usd: 0 };
  let previous = GENESIS;
  for (const [index, receipt] of list.entries()) {
    const { hash, ...rest } = receipt;
    assert.equal(rest.seq, index + 1);
    assert.equal(rest.previous, previous, `receipt ${rest.seq}`);
    assert.equal(hash, createHash("sha256").update(JSON.stringify(rest)).digest("hex"));
    totals.requests += 1;
    totals.prompt_tokens += rest.prompt_tokens ?? 0;
    totals.completion_tokens += rest.completion_tokens ?? 0;
    for (const attempt of rest.attempts) totals.cost_micro_usd += attempt.cost_micro_usd ?? 0;
    assert.deepEqual(rest.totals, totals);
    previous = hash;
  }
  assert.deepEqual(account.receipts, { count: list.length, head: previous, totals });
  const ids = new Set(list.map(({ id }) => id));
  assert.equal(ids.size, list.length, "a receipt is there twice");
}

/**
 * The usage of a key, summed over its receipts.
 *
 * @param {any[]} list
 */
export function sums(list) {
  const sum = Object.fromEntries(FIELDS.map((name) => [name, 0]));
  /** @type {(name: string, amount: number | null) => void} */
  const add = (name, amount) => (sum[name] = (sum[name] ?? 0) + (amount ?? 0));
  for (const receipt of list) {
    add("requests", 1);
    add("successful", receipt.outcome === "answered" ? 1 : 0);
    add("attempts", receipt.attempts.length);
    for (const name of FIELDS.slice(3, 8)) add(name, receipt[name]);
    for (const attempt of receipt.attempts) add("cost_micro_usd", attempt.cost_micro_usd);
    add("unpriced", receipt.cost_micro_usd === null ? 1 : 0);
    add("estimated", receipt.estimated ? 1 : 0);
    add("duration_ms", receipt.duration_ms);
    add("streams", receipt.first_token_ms === null ? 0 : 1);
    add("first_token_ms", receipt.first_token_ms);
  }
  return sum;
}

/**
 * Asserts that the sums of GET /usage equal those of receipts.
 *
 * @param {any[]} list
 * @param {any} account
 */
export function assertSums(list, account) {
  const sum = sums(list);
  const { requests = 0, successful = 0, cost_micro_usd = 0 } = sum;
  const names = ["prompt_tokens", "cached_tokens", "cache_write_tokens", "completion_tokens"];
  for (const name of [...names, "reasoning_tokens", "unpriced", "estimated"]) {
    assert.equal(account[name], sum[name], name);
  }
  assert.equal(account.total_requests, requests);
  assert.equal(account.successful_requests, successful);
  assert.equal(account.failed_requests, requests - successful);
  assert.equal(Math.round(account.cost_usd * 1e6), cost_micro_usd);
  for (const part of [
    account.daily,
    Object.values(account.providers),
    Object.values(account.models),
  ]) {
    for (const name of ["requests", "successful", ...names]) {
      const all = part.reduce(
        (/** @type {number} */ all, /** @type {any} */ one) => all + one[name],
        0,
      );
      assert.equal(all, sum[name], name);
    }
  }
}

/** The rows of all keys, without keys. */
export const ALL_KEYS = usageStatement("all_keys");

/** The statement that adds up all that has been rolled up. */
export const ROLLED_UP = `SELECT ${FIELDS.map((name) => `coalesce(sum(${name}), 0) AS ${name}`).join(", ")} FROM usage_by_key`;
