// @ts-check
//! Tables, charts and sentences from the data files that the simulation, the cost model and the benchmark write. The functions are pure:
//! they read no file, and depend on neither time nor machine.

import {
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
/** @typedef {import("../../benchmark/results.mjs").Profile} Profile */
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
    "performance-chart": { html: performanceFigure(performance), markdown: "" },
    "performance-figures": figureTable(performance),
    "performance-bars": barTable(performance),
    ...profileParts(performance),
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

/** @param {Performance} performance */
function ratio({ bars }) {
  const [whole, alone] = ["whole-ring", "alone-p50"].map((name) => {
    const bar = bars.find((one) => one.name === name);
    if (bar === undefined) throw new Error(`performance.json has no bar ${name}`);
    return quantity(bar);
  });
  return `In the last run of the benchmark, a small call with a ring key took ${whole} the processor time of a Worker that only passes it through, and ${alone} longer.`;
}

/** The rows of the table of figures: the figure of a load, its name and its unit. */
const FIGURES = [
  ["whole", "cpu_us", "CPU of a small whole response", "µs"],
  ["prompt", "cpu_us", "CPU of a prompt of 100 KB", "µs"],
  ["stream", "cpu_us", "CPU of a stream of 300 events", "µs"],
  ["paced-stream", "cpu_us", "the same, its events some 2 ms apart", "µs"],
  ["long-stream", "cpu_us_per_1000_events", "CPU of 1,000 events of a stream of 3,000", "µs"],
  ["alone", "p50_ms", "latency of a single small call, median", "ms"],
  ["alone", "p99_ms", "the same, 99th percentile", "ms"],
  ["stream-alone", "first_event_p50_ms", "first event of a single stream, median", "ms"],
  ["whole", "rps", "small calls per second, 32 at once", ""],
  ["memory", "kb_per_stream", "memory of an open stream", "KB"],
  ["idle", "resident_mb", "memory of an idle process", "MB"],
  ["cold", "ms", "start of a process, to its first response", "ms"],
];

/** @param {Performance} performance */
function figureTable({ targets, date, machine, versions, figures }) {
  return table({
    label: "Figures of each Worker under each load",
    caption: `${date}; ${machine.processor}, ${machine.cores} cores; workerd ${versions.workerd}. CPU of the Worker’s whole process; medians over rounds. The last three are Gatehouse.`,
    columns: ["For a call", ...Object.values(targets)],
    rows: FIGURES.map(([load = "", figure = "", about = "", unit = ""]) => ({
      cells: [
        about,
        ...Object.keys(targets).map((target) => {
          const value = figures[load]?.[target]?.[figure];
          return `${number(value)}${value === undefined || unit === "" ? "" : ` ${unit}`}`;
        }),
      ],
    })),
  });
}

/** @param {Performance} performance */
function barTable({ targets, bars }) {
  const others = ["bare", "by-hand"];
  return table({
    label: "Bars and measurements",
    columns: [
      ...["Gatehouse", "measured", "bar", "result"],
      ...others.map((target) => targets[target] ?? target),
    ],
    texts: [3],
    rows: bars.map((bar) => ({
      cells: [
        bar.about,
        quantity(bar),
        `${bar.side} ${number(bar.limit)}`,
        bar.holds ? "holds" : "**does not hold**",
        ...others.map((target) => {
          const value = bar.others[target];
          return value === undefined ? number(value) : quantity({ ...bar, value });
        }),
      ],
    })),
  });
}

/**
 * The tables and sentences of the profile.
 *
 * @param {Performance} performance
 * @returns {Record<string, Include>}
 */
function profileParts({ targets, kinds, causes, profile }) {
  /**
   * @param {string} label
   * @param {string} caption
   * @param {string} head
   * @param {Record<string, string>} rows names of the figures
   * @param {(profile: Profile) => Record<string, Record<string, number>>} choose by target
   */
  const part = (label, caption, head, rows, choose) => {
    if (profile === undefined) return text("The profile has not been measured yet.");
    const all = choose(profile);
    return table({
      label,
      caption,
      columns: [head, ...Object.keys(all).map((target) => targets[target] ?? target)],
      rows: Object.entries(rows).map(([name, about]) => ({
        cells: [about, ...Object.values(all).map((figures) => number(figures[name]))],
      })),
    });
  };
  const rows = { ...kinds, total: "**total**" };
  const made =
    profile === undefined
      ? ""
      : `${profile.date}; ${profile.machine.processor}, ${profile.machine.cores} cores; workerd ${profile.workerd}. `;
  return {
    "performance-profile": part(
      "CPU of a small whole response by kind, for each Worker",
      `${made}Small calls, 32 at once; µs of CPU for a call. The profiler itself adds a few percent, so the sums differ from those above.`,
      "For",
      rows,
      (of) => of.us_per_call,
    ),
    "performance-profile-in-words": text(profile === undefined ? "" : callInWords(kinds, profile)),
    "performance-alone": part(
      "CPU of small calls one at a time, by kind, for each Worker",
      "Small calls, one at a time; µs of CPU for a call, the profiler included.",
      "For",
      rows,
      (of) => of.us_per_call_alone,
    ),
    "performance-slowest": part(
      "The slowest 1 % of these calls, by cause",
      "The slowest 1 % of these calls: the share of each cause in percent, by the first cause that applies.",
      "Cause",
      causes,
      (of) => of.slowest,
    ),
    "performance-stream": part(
      "CPU of a stream of 300 events by kind, for each Worker",
      "Streams of 300 events, as fast as they are read, 8 at once; µs of CPU for a stream.",
      "For",
      rows,
      (of) => of.us_per_stream,
    ),
    "performance-start": part(
      "Processor time of a start, by kind",
      "A start of a fresh process, to its first response; ms of CPU of all its threads, the profiler included.",
      "For",
      rows,
      (of) => of.start_cpu_ms,
    ),
    "performance-start-in-words": text(profile === undefined ? "" : startInWords(profile)),
  };
}

/**
 * The largest part of a call, and the parts that Gatehouse adds to the gateway by hand.
 *
 * @param {Record<string, string>} kinds
 * @param {Profile} profile
 */
function callInWords(kinds, { us_per_call: all }) {
  const [ring = {}, hand = {}] = [all["ring"], all["by-hand"]];
  const of = (/** @type {string} */ kind) => ring[kind] ?? 0;
  const beyond = (/** @type {string} */ kind) => of(kind) - (hand[kind] ?? 0);
  const [most = ""] = Object.keys(kinds).toSorted((a, b) => of(b) - of(a));
  const share = Math.round((of(most) / of("total")) * 100);
  const more = Object.keys(kinds)
    .filter((kind) => beyond(kind) >= beyond("total") / 10)
    .toSorted((a, b) => beyond(b) - beyond(a))
    .map((kind) => `${kinds[kind]} (${number(beyond(kind))}\u{a0}µs)`);
  const largest = `The largest part of a call through Gatehouse is ${kinds[most]}: ${share}\u{a0}%.`;
  const rest =
    beyond("total") <= 0
      ? ""
      : ` The difference to the gateway by hand, ${number(beyond("total"))}\u{a0}µs, is mainly: ${more.join("; ")}.`;
  return `${largest}${rest}`;
}

/** @param {Profile} profile */
function startInWords({ start_ms, start_cpu_ms }) {
  const [bare = NaN, wasm = NaN, ring = NaN] = ["bare", "bare with the Wasm", "ring"].map(
    (name) => start_ms[name],
  );
  const ms = (/** @type {number} */ value) => `${number(value)}\u{a0}ms`;
  const compiling =
    (start_cpu_ms["ring"]?.["compiling"] ?? NaN) - (start_cpu_ms["bare"]?.["compiling"] ?? NaN);
  return `A fresh process with the bare Worker returns its first response after ${ms(bare)}. If it also reads and compiles Gatehouse’s Wasm without running it, the first response takes ${ms(wasm)}, ${number(wasm / bare)} times that; Gatehouse itself takes ${ms(ring)}. Of the CPU time beyond the bare Worker, V8 spends ${ms(compiling)} compiling: the Wasm, and then each function of the first call when it first runs.`;
}
