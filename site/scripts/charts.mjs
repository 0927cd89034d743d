// @ts-check
//! Charts of the data files in site/data/, drawn with Observable Plot while the documentation is built.
//!
//! A chart is an SVG inside the page, so that its text is the page's and its colours follow the theme. Charts whose text would
//! be too small on a phone are drawn in two widths, of which the page shows the one that fits.

import * as Plot from "@observablehq/plot";
import { parseHTML } from "linkedom";
import { escaped } from "./html.mjs";
import { number } from "./numbers.mjs";

/** @typedef {import("../../benchmark/results.mjs").Results} Performance */
/**
 * The content of routing.json, written by simulation/src/data.rs.
 *
 * @typedef {object} Routing
 * @property {number} seed
 * @property {number} calls
 * @property {number} slot_minutes
 * @property {number[]} calls_per_slot
 * @property {Policy[]} policies
 * @property {{ name: string, incidents: Incident[] }[]} providers
 */
/**
 * @typedef {object} Policy
 * @property {string} name
 * @property {number} answered
 * @property {number[]} answered_per_slot
 * @property {number} cut
 * @property {number} late
 * @property {number} attempts
 * @property {number} throttled
 * @property {number} first_content_p50_ms
 * @property {number} first_content_p95_ms
 * @property {number} first_content_p99_ms
 * @property {number} price_ratio
 * @property {number} wasted_share
 * @property {number} cacheable
 * @property {number} cached
 */
/**
 * @typedef {object} Incident
 * @property {number} from_minute
 * @property {number} until_minute
 * @property {string} fault
 * @property {"fails_at_once" | "fails_late" | "degrades"} effect
 * @property {number} share of calls, 0 to 1
 */
/**
 * The content of costs.json, written by simulation/src/costs/sweep.rs.
 *
 * @typedef {object} Costs
 * @property {number} seed
 * @property {Measured | null} measured
 * @property {{ object_messages_per_second_at_most: number, d1_queries_per_second_at_most: number }} assumed
 * @property {{ columns: string[], rows: number[][] }} ledger
 * @property {{ columns: string[], rows: number[][] }} board
 * @property {Operator[]} operators
 * @property {{ columns: string[], rows: [rate: number, keys: number, limits: 0 | 1, micro_usd: number, messages: number][] }} grid
 */
/**
 * @typedef {object} Measured
 * @property {string} date
 * @property {string} runtime
 * @property {number} calls_per_second
 * @property {number} seconds
 * @property {number} cpu_us_per_call
 * @property {Record<string, number>} without_limits
 * @property {Record<string, number>} with_limits
 */
/**
 * @typedef {object} Operator
 * @property {string} name
 * @property {number} calls_per_second
 * @property {number} keys
 * @property {number} isolates
 * @property {Record<string, number>} micro_usd
 * @property {number} total_micro_usd
 * @property {number} board_messages_per_second
 * @property {number} d1_queries_per_second
 * @property {number} waited_ppm
 */

const { document } = parseHTML("<!doctype html><html><body></body></html>");

/** Colours by name: on a light ground, and on a dark one. */
const COLOURS = {
  teal: ["#0b6e6e", "#57b7b7"],
  orange: ["#c4601a", "#e08a4a"],
  violet: ["#7465b5", "#a296da"],
  rose: ["#a8325e", "#e37fa5"],
  grey: ["#8fa3af", "#7d939f"],
  red: ["#d98a83", "#96504a"],
  yellow: ["#e3b565", "#8a682c"],
  steel: ["#a9bac4", "#56697a"],
  alarm: ["#b3403a", "#e57f78"],
};
/** @param {keyof typeof COLOURS} name */
const colour = (name) => `var(--chart-${name})`;

const variables = (/** @type {0 | 1} */ ground) =>
  Object.entries(COLOURS)
    .map(([name, of]) => `--chart-${name}: ${of[ground]};`)
    .join(" ");

/** The style sheet of the colours on the site. */
export const STYLES = `:root {\n  ${variables(1)}\n}\n\n:root[data-theme="light"] {\n  ${variables(0)}\n}\n`;

/** The widths in which large charts are drawn, in pixels, and that of panels. */
const [BROAD, NARROW] = [680, 340];
const FONT = 12;
const FAMILY = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif";
/** The width of a character in a wide font, in pixels. */
const CHARACTER = 7;
const ROW = 18;

/** Line styles of the routing policies, in their order. */
const POLICIES = [
  { stroke: colour("teal"), strokeWidth: 2.5, strokeDasharray: "" },
  { stroke: colour("orange"), strokeWidth: 1.75, strokeDasharray: "6 3" },
  { stroke: colour("violet"), strokeWidth: 1.75, strokeDasharray: "2 3" },
];
/** @param {number} index */
const styleOf = (index) => POLICIES[index] ?? { stroke: "currentColor", strokeWidth: 1.5 };

const EFFECTS = {
  fails_at_once: { fill: colour("red"), text: "fails immediately" },
  fails_late: { fill: colour("yellow"), text: "fails late, or after content" },
  degrades: { fill: colour("steel"), text: "slow, or one key fails" },
};

/**
 * An SVG with a title and a description.
 *
 * @param {{ id: string, title: string, about: string }} text
 * @param {Plot.PlotOptions} options
 */
function draw({ id, title, about }, options) {
  const plot = Plot.plot({ ...options, document });
  plot.querySelector("style")?.remove();
  const describe = (/** @type {string} */ name, /** @type {string} */ content) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    element.setAttribute("id", `${id}-${name}`);
    element.textContent = content;
    return element;
  };
  plot.prepend(describe("title", title), describe("desc", about));
  // Inside an image, labels of groups are not announced.
  for (const group of plot.querySelectorAll("[aria-label]")) group.removeAttribute("aria-label");
  for (const [name, value] of Object.entries({
    role: "img",
    "aria-labelledby": `${id}-title ${id}-desc`,
    class: "chart",
    "font-family": FAMILY,
    "font-size": String(FONT),
  })) {
    plot.setAttribute(name, value);
  }
  return plot.outerHTML
    .replace(/\s*\n\s*/g, " ")
    .replace(/ (?:d|x|y|width|height|[xy][12]|transform)="[^"]*"/g, (attribute) =>
      attribute.replace(/\d+\.\d+/g, (length) => String(Math.round(Number(length) * 10) / 10)),
    );
}

/**
 * A chart in both widths.
 *
 * @param {string} id
 * @param {(id: string, width: number) => string} drawn
 */
const inBothWidths = (id, drawn) =>
  `<div class="broad">${drawn(`${id}-broad`, BROAD)}</div><div class="narrow">${drawn(`${id}-narrow`, NARROW)}</div>`;

/** @typedef {{ text: string, stroke?: string, strokeWidth?: number, strokeDasharray?: string, fill?: string }} Entry */

/**
 * A legend above the plot: a sample and a text for each entry.
 *
 * @param {Entry[]} entries
 * @param {number} columns
 * @returns {Plot.RenderFunction}
 */
const legend = (entries, columns) => (_index, _scales, _values, dimensions) => {
  const create = (
    /** @type {string} */ name,
    /** @type {Record<string, unknown>} */ attributes,
  ) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, `${value}`);
    return element;
  };
  const group = create("g", { fill: "currentColor", "text-anchor": "start" });
  const left = 4;
  const step = (dimensions.width - left) / columns;
  for (const [index, { text, fill, ...style }] of entries.entries()) {
    const x = left + (index % columns) * step;
    const y = 10 + Math.floor(index / columns) * ROW;
    if (fill === undefined) {
      const line = create("line", { x1: x, x2: x + 26, y1: y, y2: y, stroke: style.stroke });
      line.setAttribute("stroke-width", `${style.strokeWidth}`);
      if (style.strokeDasharray) line.setAttribute("stroke-dasharray", style.strokeDasharray);
      group.append(line);
    } else {
      group.append(create("rect", { x, y: y - 6, width: 26, height: 12, rx: 2, fill }));
    }
    const label = create("text", { x: x + 33, y, dy: "0.32em" });
    label.textContent = text;
    group.append(label);
  }
  return /** @type {SVGElement} */ (/** @type {unknown} */ (group));
};

/**
 * The height of a legend.
 *
 * @param {Entry[]} entries
 * @param {number} columns
 */
const legendHeight = (entries, columns) => Math.ceil(entries.length / columns) * ROW;

const grid = { stroke: "currentColor", strokeOpacity: 0.15 };

/** @param {number} minute */
export const clock = (minute) =>
  `${String(Math.floor(minute / 60)).padStart(2, "0")}:${String(minute % 60).padStart(2, "0")}`;

/** @param {number} share */
export const percent = (share, digits = 2) => `${(share * 100).toFixed(digits)} %`;

/** The axis of a day of a chart. @param {number} width */
const hours = (width) => {
  const step = width === BROAD ? 180 : 360;
  return Plot.axisX(
    Array.from({ length: 1440 / step + 1 }, (_, index) => index * step),
    {
      tickFormat: clock,
      fontSize: FONT,
      label: null,
    },
  );
};
const DAY = { domain: [0, 1440], label: null };
const [DAY_LEFT, DAY_RIGHT] = [70, 22];

/** @param {string} html @param {string} caption */
const figure = (html, caption) =>
  `<figure class="charts" data-pagefind-ignore>${html}<figcaption>${escaped(caption)}</figcaption></figure>`;

/** @param {string} title */
const heading = (title) => `<p class="chart-title">${escaped(title)}</p>`;

/**
 * The share of calls with a complete response under each policy, over the day.
 *
 * @param {Routing} routing
 * @param {string} id
 * @param {number} width
 */
export function answered({ calls, slot_minutes, calls_per_slot, policies }, id, width) {
  const lines = policies.map(({ answered_per_slot }) =>
    answered_per_slot.map((answers, slot) => ({
      minute: (slot + 0.5) * slot_minutes,
      share: answers / Math.max(calls_per_slot[slot] ?? 0, 1),
    })),
  );
  const lowest = Math.min(...lines.flat().map(({ share }) => share));
  const entries = policies.map(({ name, answered }, index) => ({
    text: `${name} ${percent(answered / calls)}`,
    ...styleOf(index),
  }));
  const columns = width === BROAD ? 3 : 1;
  const shares = entries.map(({ text }) => text).join(", ");
  return draw(
    {
      id,
      title: "Calls with a complete response, per quarter hour",
      about: `Over the whole day: ${shares}. Lowest in a quarter hour: ${percent(lowest, 0)}.`,
    },
    {
      width,
      height: 210 + legendHeight(entries, columns),
      marginLeft: DAY_LEFT,
      marginRight: DAY_RIGHT,
      marginTop: 12 + legendHeight(entries, columns),
      x: DAY,
      y: { domain: [Math.floor(lowest * 10) / 10, 1], label: null },
      marks: [
        legend(entries, columns),
        Plot.gridY({ ...grid, ticks: 5 }),
        Plot.axisY({
          ticks: 5,
          tickSize: 0,
          fontSize: FONT,
          tickFormat: (share) => percent(share, 0),
        }),
        hours(width),
        ...lines
          .map((line, index) => Plot.lineY(line, { x: "minute", y: "share", ...styleOf(index) }))
          .reverse(),
      ],
    },
  );
}

/**
 * The calls of the day.
 *
 * @param {Routing} routing
 * @param {string} id
 * @param {number} width
 */
function traffic({ calls, slot_minutes, calls_per_slot }, id, width) {
  const most = Math.max(...calls_per_slot);
  const slots = calls_per_slot.map((count, slot) => ({
    minute: (slot + 0.5) * slot_minutes,
    count,
  }));
  return draw(
    {
      id,
      title: "Calls per quarter hour",
      about: `${number(calls)} calls over the day, at most ${number(most)} in a quarter hour.`,
    },
    {
      width,
      height: 84,
      marginLeft: DAY_LEFT,
      marginRight: DAY_RIGHT,
      marginTop: 8,
      x: DAY,
      y: { label: null },
      marks: [
        Plot.areaY(slots, { x: "minute", y: "count", fill: colour("steel"), curve: "step" }),
        Plot.axisY({ ticks: 3, tickSize: 0, fontSize: FONT }),
        hours(width),
      ],
    },
  );
}

/** @param {Incident} incident */
export const named = ({ fault, share }) =>
  share < 1 ? `${fault}, ${Math.round(share * 100)} %` : fault;

/**
 * The faults of each provider, over the day.
 *
 * @param {Routing} routing
 * @param {string} id
 * @param {number} width
 */
function incidents({ providers }, id, width) {
  const all = providers.flatMap(({ name, incidents }) =>
    incidents.map((incident) => ({ provider: name, text: named(incident), ...incident })),
  );
  const perMinute = (width - DAY_LEFT - DAY_RIGHT) / 1440;
  // A label is inside its bar, after it or before it, wherever there is room.
  const labels = all.flatMap((one) => {
    const needed = (one.text.length * CHARACTER + 10) / perMinute;
    const others = all.filter((other) => other !== one && other.provider === one.provider);
    const next = Math.min(
      1440,
      ...others.map((other) => other.from_minute).filter((from) => from >= one.from_minute),
    );
    const last = Math.max(
      0,
      ...others.map((other) => other.until_minute).filter((until) => until <= one.until_minute),
    );
    if (needed <= Math.min(one.until_minute, next) - one.from_minute)
      return [{ ...one, minute: one.from_minute, anchor: "inside" }];
    if (one.until_minute + needed <= next)
      return [{ ...one, minute: one.until_minute, anchor: "after" }];
    if (one.from_minute - needed >= last)
      return [{ ...one, minute: one.from_minute, anchor: "before" }];
    return [];
  });
  const texts = (/** @type {string} */ anchor) =>
    Plot.text(
      labels.filter((label) => label.anchor === anchor),
      {
        x: "minute",
        y: "provider",
        text: "text",
        fontSize: 11,
        fill: "currentColor",
        textAnchor: anchor === "before" ? "end" : "start",
        dx: anchor === "before" ? -4 : 4,
      },
    );
  const entries = Object.values(EFFECTS);
  const columns = width === BROAD ? 3 : 1;
  const top = legendHeight(entries, columns) + 6;
  return draw(
    {
      id,
      title: "Faults of the providers",
      about: all
        .map(
          (one) =>
            `${one.provider}: ${one.text}, ${clock(one.from_minute)} to ${clock(one.until_minute)}`,
        )
        .join("; "),
    },
    {
      width,
      height: top + providers.length * 20 + 26,
      marginLeft: DAY_LEFT,
      marginRight: DAY_RIGHT,
      marginTop: top,
      marginBottom: 26,
      x: DAY,
      y: { domain: providers.map(({ name }) => name), label: null, padding: 0.15 },
      marks: [
        legend(entries, columns),
        // Between the rows, where no label is.
        Plot.ruleY(providers, { y: "name", dy: 10, ...grid }),
        Plot.barX(all, {
          x1: "from_minute",
          x2: ({ from_minute, until_minute }) => Math.max(until_minute, from_minute + 4),
          y: "provider",
          fill: ({ effect }) => EFFECTS[/** @type {Incident["effect"]} */ (effect)].fill,
          rx: 2,
        }),
        ...["inside", "after", "before"].map(texts),
        Plot.axisY({ tickSize: 0, fontSize: FONT }),
        hours(width),
      ],
    },
  );
}

/**
 * Bars of one figure, with its number at the end of each.
 *
 * @param {string} id
 * @param {string} title
 * @param {{ name: string, value: number, text: string, fill: string }[]} bars
 */
function bars(id, title, bars) {
  const [left, right] = [
    Math.max(...bars.map(({ name }) => name.length)) * CHARACTER + 12,
    Math.max(...bars.map(({ text }) => text.length)) * CHARACTER + 14,
  ];
  const svg = draw(
    { id, title, about: bars.map(({ name, text }) => `${name}: ${text}`).join("; ") },
    {
      width: NARROW,
      height: bars.length * 24 + 4,
      marginLeft: left,
      marginRight: right,
      marginTop: 2,
      marginBottom: 2,
      x: { axis: null, domain: [0, Math.max(...bars.map(({ value }) => value))] },
      y: { domain: bars.map(({ name }) => name), label: null, padding: 0.2 },
      marks: [
        Plot.barX(bars, { x: "value", y: "name", fill: "fill", rx: 2 }),
        Plot.text(bars, {
          x: "value",
          y: "name",
          text: "text",
          textAnchor: "start",
          dx: 6,
          fontSize: FONT,
          fill: "currentColor",
        }),
        Plot.axisY({ tickSize: 0, fontSize: FONT }),
      ],
    },
  );
  return `<div>${heading(title)}${svg}</div>`;
}

/** @param {string[]} parts */
const panels = (...parts) => `<div class="panels">${parts.join("")}</div>`;

/** The figure of routing.json. @param {Routing} routing */
export function routingFigure(routing) {
  const { calls, seed, providers, policies } = routing;
  /**
   * @param {string} name
   * @param {string} title
   * @param {(policy: Policy) => number} value
   * @param {(value: number) => string} text
   */
  const measure = (name, title, value, text) =>
    bars(
      `routing-${name}`,
      title,
      policies.map((policy, index) => ({
        name: policy.name,
        value: value(policy),
        text: text(value(policy)),
        fill: styleOf(index).stroke,
      })),
    );
  return figure(
    [
      heading("Calls with a complete response, per quarter hour"),
      inBothWidths("routing-answered", (id, width) => answered(routing, id, width)),
      heading("Calls per quarter hour"),
      inBothWidths("routing-calls", (id, width) => traffic(routing, id, width)),
      heading("Faults of the providers"),
      inBothWidths("routing-faults", (id, width) => incidents(routing, id, width)),
      panels(
        measure(
          "first",
          "First content, 95th percentile",
          (policy) => policy.first_content_p95_ms,
          (ms) => `${(ms / 1000).toFixed(1)} s`,
        ),
        measure("throttled", "Requests rejected with 429", (policy) => policy.throttled, number),
        measure(
          "price",
          "Price ÷ cheapest candidate",
          (policy) => policy.price_ratio,
          (ratio) => `${ratio.toFixed(1)} ×`,
        ),
        measure(
          "cache",
          "Prompt cache hits",
          (policy) => policy.cached / policy.cacheable,
          (share) => percent(share, 0),
        ),
      ),
    ].join(""),
    `A day of ${number(calls)} calls against ${providers.length} providers that fail. Simulation, seed ${seed}: the same calls and the same faults under three routing policies. The first axis does not start at 0. Score + cooldown: success, headroom, latency and fit; two attempts 0.5 to 5 s apart; a model that fails is skipped for 45 or 120 s. Round robin: the next candidate in turn, and the one after it if that fails.`,
  );
}

/**
 * The first chart of that figure as a file for the README, with its own title, colours and background.
 *
 * @param {Routing} routing
 */
export function routingPicture(routing) {
  const chart = answered(routing, "routing", BROAD);
  const [width, height] = [BROAD + 40, Number(/ height="(\d+)"/.exec(chart)?.[1]) + 70];
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="${FAMILY}">`,
    `<style>svg { color: #22292d; --ground: #fafaf8; ${variables(0)} } @media (prefers-color-scheme: dark) { svg { color: #e2e8ea; --ground: #1a2124; ${variables(1)} } }</style>`,
    `<rect width="${width}" height="${height}" rx="10" fill="var(--ground)"/>`,
    `<text x="24" y="36" font-size="15" font-weight="600" fill="currentColor">Calls with a complete response, per quarter hour</text>`,
    `<svg x="20" y="54" ${chart.slice("<svg ".length)}`,
    "</svg>",
    "",
  ].join("\n");
}

/** @param {number} count */
export const keysText = (count) => (count === 1 ? "1 key" : `${number(count)} keys`);

/** The figure of costs.json. @param {Costs} costs */
export function costsFigure({ seed, assumed, grid: { rows } }) {
  const strokes = [colour("violet"), colour("teal"), colour("orange"), colour("rose")];
  const keys = [...new Set(rows.map(([, count]) => count))];
  const LIMITS = [
    { limits: 1, text: "with limits", strokeWidth: 2.25, strokeDasharray: "" },
    { limits: 0, text: "without", strokeWidth: 1.5, strokeDasharray: "3 3" },
  ];
  const entries = [
    ...keys.map((count, index) => ({
      text: keysText(count),
      stroke: strokes[index] ?? "currentColor",
      strokeWidth: 2.25,
    })),
    ...LIMITS.map(({ text, strokeWidth, strokeDasharray }) => ({
      text,
      strokeWidth,
      strokeDasharray,
      stroke: "currentColor",
    })),
  ];
  const points = rows.map(([rate, count, limits, micro_usd, messages]) => ({
    rate,
    keys: count,
    limits,
    usd: micro_usd / 1e6,
    messages,
  }));
  /**
   * @param {string} id
   * @param {string} title
   * @param {string} about
   * @param {"usd" | "messages"} value
   * @param {{ domain: [number, number], ticks: number[] }} y
   * @param {Plot.Markish[]} marks
   */
  const panel = (id, title, about, value, { domain, ticks }, marks) => {
    const top = legendHeight(entries, 2) + 12;
    const svg = draw(
      { id, title, about },
      {
        width: NARROW,
        height: top + 290,
        marginLeft: 56,
        marginRight: 24,
        marginTop: top,
        marginBottom: 42,
        x: { type: "log", label: null },
        y: { type: "log", domain, label: null },
        marks: [
          legend(entries, 2),
          Plot.gridY(ticks, grid),
          ...marks,
          ...LIMITS.toReversed().flatMap(({ limits, strokeWidth, strokeDasharray }) =>
            keys.map((count, index) =>
              Plot.lineY(
                points.filter((point) => point.keys === count && point.limits === limits),
                {
                  x: "rate",
                  y: value,
                  stroke: strokes[index] ?? "currentColor",
                  strokeWidth,
                  strokeDasharray,
                },
              ),
            ),
          ),
          Plot.axisY(ticks, {
            tickSize: 0,
            fontSize: FONT,
            text: (tick) => (tick < 1 ? String(tick) : number(tick)),
          }),
          Plot.axisX([1, 10, 100, 1_000, 10_000, 100_000], {
            fontSize: FONT,
            text: (tick) => (tick < 1_000 ? String(tick) : `${tick / 1_000}k`),
            label: "calls per second, all keys",
            labelAnchor: "center",
            labelArrow: "none",
          }),
        ],
      },
    );
    return `<div>${heading(title)}${svg}</div>`;
  };
  const most = assumed.object_messages_per_second_at_most;
  return figure(
    panels(
      panel(
        "costs-usd",
        "US dollars for a million calls",
        "The cost of a million calls falls as each key makes more calls, and is lower without limits. The table has the numbers.",
        "usd",
        { domain: [0.5, 40], ticks: [1, 2, 5, 10, 20] },
        [],
      ),
      panel(
        "costs-messages",
        "Messages per second of one account",
        `The messages of an account grow with the rate of its key. One object handles about ${number(most)} per second. The table has the numbers.`,
        "messages",
        { domain: [1e-4, 1e5], ticks: [1e-3, 1e-2, 0.1, 1, 10, 100, 1e3, 1e4] },
        [
          Plot.ruleY([most], { stroke: colour("alarm"), strokeWidth: 1.5 }),
          Plot.text(["about the limit of one object"], {
            frameAnchor: "left",
            y: () => most,
            dx: 4,
            dy: -8,
            fontSize: 11,
            fill: colour("alarm"),
          }),
        ],
      ),
    ),
    `Simulation, seed ${seed}; list prices. Calls are spread evenly over keys, and over isolates with a hundred calls per second each.`,
  );
}

/** The figures of performance.json that the figure shows. */
export const PERFORMANCE_CHARTS = [
  { load: "whole", figure: "cpu_us", title: "CPU of a small whole response, µs" },
  { load: "prompt", figure: "cpu_us", title: "CPU of a prompt of 100 KB, µs" },
  { load: "paced-stream", figure: "cpu_us", title: "CPU of 300 events, one every 2 ms, µs" },
  { load: "alone", figure: "p50_ms", title: "Time of a single call, median, ms" },
];

/** The figure of performance.json. @param {Performance} performance */
export function performanceFigure({ targets, date, machine, figures }) {
  const fills = [colour("grey"), colour("orange")];
  const drawn = PERFORMANCE_CHARTS.map(({ load, figure: name, title }) => {
    const bare = figures[load]?.["bare"]?.[name] ?? NaN;
    const shown = Object.entries(targets).flatMap(([target, text], index) => {
      const value = figures[load]?.[target]?.[name];
      if (value === undefined) return [];
      const ratio = target === "bare" ? "" : ` (${number(value / bare)}×)`;
      const fill = fills[index] ?? colour("teal");
      return [
        {
          name: fills[index] ? text : `Gatehouse, ${text}`,
          value,
          text: `${number(value)}${ratio}`,
          fill,
        },
      ];
    });
    return bars(`performance-${load}`, title, shown);
  });
  return figure(
    panels(...drawn),
    `Measured ${date}; ${machine.processor}, ${machine.cores} cores. × is the figure divided by that of the bare Worker.`,
  );
}
