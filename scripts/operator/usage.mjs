// @ts-check
// The commands about what all keys use: sums, and recent calls.

import { call, expectFields, segment, text } from "../lib/gateway-client.mjs";
import { safeText } from "../lib/safe-text.mjs";
import { details, table } from "../lib/table.mjs";
import { print } from "../lib/terminal.mjs";
import { gatewayOf } from "./connection.mjs";
import { moment, optional, report } from "./report.mjs";

/** @import { Column } from "../lib/table.mjs" */
/** @import { Options } from "../gateway-operator.mjs" */

/** The most calls of one page. */
const PAGE = 200;
/** The number of calls that are listed by default. */
const USUAL = 50;

/** @param {number} usd */
const money = (usd) => `$${usd >= 1 ? usd.toFixed(2) : usd.toPrecision(4).replace(/\.?0+$/, "")}`;

/** @param {number | null} ms */
const duration = (ms) =>
  ms === null ? "-" : ms < 1000 ? `${ms} ms` : `${(ms / 1000).toFixed(1)} s`;

/** @type {Column<any>[]} */
const SUMS = [
  { title: "CALLS", cell: ({ requests }) => String(requests) },
  { title: "FAILED", cell: ({ failed }) => String(failed) },
  { title: "INPUT", cell: (one) => String(one.prompt_tokens) },
  { title: "CACHED", cell: (one) => String(one.cached_tokens) },
  { title: "OUTPUT", cell: (one) => String(one.completion_tokens) },
  { title: "COST", cell: (one) => money(one.cost_usd) + (one.unpriced > 0 ? " +" : "") },
];

/** @type {Column<any>[]} */
const CALLS = [
  { title: "TIME", cell: ({ time }) => moment(time) },
  { title: "ID", cell: ({ id }) => id },
  { title: "KEY", most: 24, cell: (one) => one.key_name ?? one.key_id },
  { title: "MODEL", most: 40, cell: (one) => modelOf(one) },
  { title: "STATUS", cell: ({ status }) => String(status) },
  { title: "OUTCOME", most: 60, cell: (one) => outcomeOf(one) },
  { title: "COST", cell: (one) => (isRejected(one) ? "-" : cost(one.cost_micro_usd)) },
  { title: "DURATION", cell: (one) => (isRejected(one) ? "-" : duration(one.duration_ms)) },
];

/** Entries of rejected calls are counts, and no provider was called. @param {any} one */
const isRejected = (one) => one.outcome === "rejected";

/** @param {any} one */
const modelOf = ({ provider, model }) => (provider === null ? "-" : `${provider}/${model}`);

/** @param {any} one */
function outcomeOf({ outcome, code, param, count }) {
  const what = [code, ...(param ? [`(${param})`] : [])].join(" ");
  return (code ? `${outcome}: ${what}` : outcome) + (count > 1 ? `, ${count} calls` : "");
}

/** @type {Column<any>[]} */
const ATTEMPTS = [
  { title: "LANE", cell: ({ lane, provider, model }) => lane ?? `${provider}/${model}` },
  { title: "OUTCOME", cell: ({ outcome }) => outcome },
  { title: "STATUS", cell: ({ status }) => String(status ?? "-") },
  { title: "CODE", cell: ({ code }) => code ?? "-" },
  { title: "DURATION", cell: (one) => duration(one.duration_ms) },
  { title: "COST", cell: (one) => cost(one.cost_micro_usd) },
];

/** @param {number | null} micro */
const cost = (micro) => (micro === null ? "unknown" : money(micro / 1e6));

/** @param {Options} options */
export async function showUsage(options) {
  const by = options.by ?? "key";
  const path = `/v0/usage?${query(options, { group_by: by, bucket: options.bucket })}`;
  const gateway = await gatewayOf(options);
  if (options.csv) {
    const csv = await text(gateway, path, "text/csv");
    await print(csv.trimEnd().split("\r\n").map(safeText));
    return;
  }
  const data = await call(gateway, "GET", path);
  await report(options, data, () => {
    expectFields(data, { from: "string", to: "string", data: "array", has_more: "boolean" });
    const start = { title: "FROM", cell: (/** @type {any} */ one) => moment(one.start) };
    const group = {
      title: by.toUpperCase(),
      most: 48,
      cell: (/** @type {any} */ one) => one.name ?? one.group ?? "-",
    };
    const total = { ...data.totals, start: "total", group: "total" };
    const lines = table(
      [...(options.bucket ? [start] : []), group, ...SUMS],
      [...data.data, ...(data.data.length > 0 ? [total] : [])],
    );
    const unpriced = data.totals?.unpriced > 0;
    return [
      `From ${moment(data.from)} to ${moment(data.to)}`,
      ...(data.data.length > 0 ? lines : ["No calls."]),
      ...(unpriced ? ["+: the cost of some calls is unknown."] : []),
      ...(data.has_more ? ["There are more entries: narrow the range, or use --csv."] : []),
    ];
  });
}

/** @param {Options} options */
export async function listCalls(options) {
  const gateway = await gatewayOf(options);
  const most = options.limit ?? USUAL;
  /** @type {any[]} */
  const calls = [];
  /** @type {string | null} */
  let cursor = "";
  while (cursor !== null && calls.length < most) {
    const more = {
      status: options.status,
      code: options.code,
      failed: options.failed,
      limit: Math.min(PAGE, most - calls.length),
      cursor: cursor || undefined,
    };
    /** @type {any} */
    const page = await call(gateway, "GET", `/v0/calls?${query(options, more)}`);
    expectFields(page, { data: "array", has_more: "boolean" });
    calls.push(...page.data);
    // A page without calls and with a cursor would never end.
    cursor = page.has_more && page.data.length > 0 ? page.next_cursor : null;
  }
  await report(options, calls, () => (calls.length > 0 ? table(CALLS, calls) : ["No calls."]));
}

/** The tokens, cost and durations of a call. @param {any} call @returns {[string, string][]} */
const amounts = (call) => [
  ["tokens", `${call.prompt_tokens ?? "?"} input, ${call.completion_tokens ?? "?"} output`],
  ["cost", cost(call.cost_micro_usd)],
  ["first content", duration(call.first_token_ms)],
  ["duration", duration(call.duration_ms)],
];

/** @param {Options} options */
export async function showCall(options) {
  const data = await call(await gatewayOf(options), "GET", `/v0/calls/${segment(options.id)}`);
  await report(options, data, () => {
    expectFields(data, { id: "string", time: "string", attempts: "array" });
    return [
      ...details([
        ["id", data.id],
        ["request id", data.request_id],
        ["time", moment(data.time)],
        ["key", data.key_name ? `${data.key_name} (${data.key_id})` : data.key_id],
        ...optional("operation", data.operation),
        ...optional("project", data.project),
        ["model", modelOf(data)],
        ["status", String(data.status)],
        ["outcome", outcomeOf(data)],
        ...(isRejected(data) ? optional("last", moment(data.last_time)) : amounts(data)),
      ]),
      ...(isRejected(data) ? [] : ["", ...table(ATTEMPTS, data.attempts)]),
    ];
  });
}

/**
 * The query of the options that choose calls, and of other parameters.
 *
 * @param {Options} options
 * @param {Record<string, unknown>} more
 */
function query({ from, to, key, project, model, provider, operation }, more) {
  /** @type {Record<string, unknown>} */
  const all = { from, to, key, project, model, provider, operation, ...more };
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(all)) {
    if (value !== undefined) query.set(name, String(value));
  }
  return query;
}
