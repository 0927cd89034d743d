// @ts-check
//! Tables, charts and sentences from the data files that the simulation, the cost model and the benchmark write. The functions are pure:
//! they read no file, and depend on neither time nor machine.

import {
  PERFORMANCE_CHARTS,
  clock,
  costsFigure,
  keysText,
  named,
  percent,
  performanceFigure,
  routingFigure,
} from "./charts.mjs";
import { table } from "./html.mjs";
import { number, quantity } from "./numbers.mjs";

/** @typedef {import("./html.mjs").Include} Include */
/** @typedef {import("./charts.mjs").Routing} Routing */
/** @typedef {import("./charts.mjs").Policy} Policy */
/** @typedef {import("./charts.mjs").Costs} Costs */
/** @typedef {import("../../benchmark/results.mjs").Results} Performance */
/** @typedef {{ items: { id: string, name: string }[] }} Prices */

/** The item that only operators with Analytics Engine pay. */
const OPTIONAL_ITEM = "analytics_points";
/** The duration in seconds over which the calls of a simulated key are counted. */
const SECONDS = 10_000;

/**
 * @param {{ routing: Routing, costs: Costs, prices: Prices, performance: Performance }} data
 * @returns {Record<string, Include>}
 */
export function results({ routing, costs, prices, performance }) {
  return {
    "routing-chart": chart(routingFigure(routing), policyTable(routing), faultTable(routing)),
    "costs-table": operatorTable(costs, prices),
    "costs-chart": chart(
      costsFigure(costs),
      gridTable(costs, "US dollars for a million calls.", (row) => dollars(row[3])),
      gridTable(costs, "Messages per second of one key’s ledger.", (row) =>
        row[4].toLocaleString("en", { maximumSignificantDigits: 3 }),
      ),
    ),
    "costs-measured": measuredTable(costs),
    "performance-ratio": text(ratio(performance)),
    "performance-chart": chart(performanceFigure(performance), figureTable(performance)),
    "performance-lines": text(lines(performance)),
  };
}

/** @param {string} words @returns {Include} */
const text = (words) => ({ html: words, markdown: words });

/**
 * A chart with a collapsed section that has the tables of its numbers.
 *
 * @param {string} html
 * @param {Include[]} tables
 * @returns {Include}
 */
function chart(html, ...tables) {
  const inside = tables.map((one) => one.html.replaceAll("\n", "")).join("");
  return {
    html: `${html}\n\n<details class="numbers"><summary>The numbers of this chart</summary>${inside}</details>`,
    markdown: tables.map((one) => one.markdown).join("\n\n"),
  };
}

/** @param {Routing} routing */
function policyTable({ calls, seed, policies }) {
  const seconds = (/** @type {number} */ ms) => `${(ms / 1_000).toFixed(2)} s`;
  /** @type {[about: string, write: (policy: Policy) => string][]} */
  const rows = [
    ["complete responses", ({ answered }) => percent(answered / calls)],
    ["failed calls", ({ answered }) => number(calls - answered)],
    ["responses cut", ({ cut }) => number(cut)],
    ["no content after 30 s", ({ late }) => number(late)],
    ["requests to providers, per call", ({ attempts }) => (attempts / calls).toFixed(2)],
    ["requests rejected with 429", ({ throttled }) => number(throttled)],
    ["first content, median", (policy) => seconds(policy.first_content_p50_ms)],
    ["first content, 95th percentile", (policy) => seconds(policy.first_content_p95_ms)],
    ["first content, 99th percentile", (policy) => seconds(policy.first_content_p99_ms)],
    ["price ÷ cheapest candidate", ({ price_ratio }) => price_ratio.toFixed(2)],
    ["price of failed attempts", ({ wasted_share }) => percent(wasted_share)],
    ["prompt cache hits", ({ cached, cacheable }) => percent(cached / cacheable)],
  ];
  return table({
    label: "Results of three routing policies",
    caption: `One simulated day of ${number(calls)} calls, seed ${seed}.`,
    columns: ["Calls", ...policies.map(({ name }) => name)],
    rows: rows.map(([about, write]) => ({ cells: [about, ...policies.map(write)] })),
  });
}

/** @param {Routing} routing */
function faultTable({ providers }) {
  return table({
    label: "Faults of the providers",
    caption: "Faults of the providers. A percentage is the share of calls that is affected.",
    columns: ["Provider", "Fault", "From", "Until"],
    texts: [1],
    rows: providers.flatMap(({ name, incidents }) =>
      incidents
        .toSorted((a, b) => a.from_minute - b.from_minute)
        .map((one) => ({
          cells: [name, named(one), clock(one.from_minute), clock(one.until_minute)],
        })),
    ),
  });
}

/** @param {number} micro_usd */
function dollars(micro_usd) {
  if (micro_usd === 0) return "0";
  return micro_usd < 5_000 ? "< $0.01" : `$${(micro_usd / 1e6).toFixed(2)}`;
}

/** @param {Costs} costs @param {Prices} prices */
function operatorTable({ operators, assumed }, { items }) {
  /** @typedef {Costs["operators"][number]} Operator */
  /** @type {(name: string, write: (operator: Operator) => string, className?: string) => { cells: string[], className?: string }} */
  const row = (name, write, className) => ({
    cells: [name, ...operators.map(write)],
    ...(className === undefined ? {} : { className }),
  });
  const price = (
    /** @type {{ id: string, name: string }} */ { id, name },
    suffix = "",
    kind = "",
  ) => row(`${name}${suffix}`, ({ micro_usd }) => dollars(micro_usd[id] ?? NaN), kind || undefined);
  const load = (/** @type {number} */ value, /** @type {number} */ most) =>
    value > most ? `**too many:** ${number(value)}` : number(value);
  const [paid, optional] = [true, false].map((isPaid) =>
    items.filter(({ id }) => (id !== OPTIONAL_ITEM) === isPaid),
  );
  return table({
    label: "Cost of a million calls of four operators",
    columns: ["A million calls", ...operators.map(({ name }) => name)],
    rows: [
      row("calls per second", (it) => number(it.calls_per_second), "quiet"),
      row("keys, with limits", (it) => number(it.keys), "quiet"),
      row("isolates", (it) => number(it.isolates), "quiet"),
      ...(paid ?? []).map((item) => price(item)),
      row("total", (it) => dollars(it.total_micro_usd), "sum"),
      ...(optional ?? []).map((item) => price(item, ", if bound", "quiet")),
      row("calls that wait for the account", (it) => percent(it.waited_ppm / 1e6, 1), "quiet"),
      row(
        "D1 queries per second",
        (it) => load(it.d1_queries_per_second, assumed.d1_queries_per_second_at_most),
        "quiet",
      ),
      row(
        "messages to `ProviderHealth` per second",
        (it) => load(it.board_messages_per_second, assumed.object_messages_per_second_at_most),
        "quiet",
      ),
    ],
  });
}

/**
 * A table of the grid: a row for each rate, with and without limits.
 *
 * @param {Costs} costs
 * @param {string} caption
 * @param {(row: Costs["grid"]["rows"][number]) => string} write
 */
function gridTable({ grid: { rows } }, caption, write) {
  const keys = [...new Set(rows.map(([, count]) => count))];
  const lines = rows.filter(([, count]) => count === keys[0]);
  return table({
    label: caption,
    caption,
    columns: ["Calls per second", "Limits", ...keys.map(keysText)],
    texts: [1],
    rows: lines.map(([rate, , limits]) => ({
      cells: [
        number(rate),
        limits === 1 ? "yes" : "no",
        ...keys.map((count) => {
          const row = rows.find((one) => one[0] === rate && one[1] === count && one[2] === limits);
          return row === undefined ? "–" : write(row);
        }),
      ],
    })),
  });
}

/** The counts that are both measured and simulated, by their names in costs.json. */
const COUNTS = {
  asks: "lease requests to the account",
  reports: "reports to the account",
  alarms: "alarms of the account",
  object_rows_written: "rows written by the account",
  object_rows_read: "rows read by the account",
  d1_queries: "D1 queries",
  d1_rows_written: "rows written in D1",
  d1_rows_read: "rows read in D1",
  board: "messages to `ProviderHealth`",
};

/** @param {Costs} costs */
function measuredTable({ measured, ledger, board }) {
  if (measured === null) return text("The counts have not been measured yet.");
  const calls = measured.calls_per_second * SECONDS;
  const perCall = (/** @type {number | undefined} */ perMillion) =>
    perMillion === undefined ? "–" : (perMillion / 1e6).toFixed(3);
  const simulated = (/** @type {string} */ name, /** @type {0 | 1} */ limits) =>
    name === "board"
      ? board.rows.find(([known]) => known === calls)?.[1]
      : ledger.rows.find((row) => row[0] === calls && row[1] === 1 && row[2] === limits)?.[
          ledger.columns.indexOf(name)
        ];
  return table({
    label: "Measured counts",
    caption: `One key and one isolate, ${measured.calls_per_second} calls per second for ${measured.seconds} s; ${measured.runtime}, ${measured.date}. CPU of a call: ${(measured.cpu_us_per_call / 1e3).toFixed(2)} ms.`,
    columns: [
      "For each call",
      ...["no limits: measured", "simulated", "limits: measured", "simulated"],
    ],
    rows: Object.entries(COUNTS).map(([name, about]) => ({
      cells: [
        about,
        perCall(measured.without_limits[name]),
        perCall(simulated(name, 0)),
        perCall(measured.with_limits[name]),
        perCall(simulated(name, 1)),
      ],
    })),
  });
}

/**
 * The measured value of a bar, with its unit.
 *
 * @param {Performance} performance
 * @param {string} name
 */
function barValue({ bars }, name) {
  const bar = bars.find((one) => one.name === name);
  if (bar === undefined) throw new Error(`performance.json has no bar ${name}`);
  return quantity(bar);
}

/** @param {Performance} performance */
function ratio(performance) {
  const [whole, alone] = ["whole-ring", "alone-p50"].map((name) => barValue(performance, name));
  return `In the last run of the benchmark, a small call took ${whole} the processor time of a Worker that only passes it through, and ${alone} longer.`;
}

/** The results that a reader asks for first. @param {Performance} performance */
function lines(performance) {
  const value = (/** @type {string} */ name) => barValue(performance, name);
  return [
    `- **A small call with a key that has limits** takes ${value("whole-limits")} the processor time.`,
    `- **A stream of 300 events**, as fast as it is read, takes ${value("stream")}, or ${value("stream-with-usage")} if the caller asks for its usage.`,
    `- **The same stream with an event every 2 ms**, as models write it, takes ${value("paced-stream")} and ${value("paced-stream-with-usage")}. Half of its events arrive within ${value("event-delay")}.`,
    `- **An open stream** takes ${value("memory")} the memory.`,
    `- **A new process** returns its first response after ${value("cold")} the time.`,
  ].join("\n");
}

/** @param {Performance} performance */
function figureTable({ targets, figures }) {
  return table({
    label: "Figures of each Worker under each load",
    columns: ["For a call", ...Object.values(targets)],
    rows: PERFORMANCE_CHARTS.map(({ load, figure, title }) => ({
      cells: [
        title,
        ...Object.keys(targets).map((target) => number(figures[load]?.[target]?.[figure])),
      ],
    })),
  });
}
