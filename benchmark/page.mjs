// @ts-check
//! Writes what was measured for readers: the picture docs/site/docs/performance.svg, and the tables of performance.html
//! beside it. Only from figures, which it neither makes nor changes.

import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { root } from "../tests/e2e/harness.mjs";
import { number, told } from "./report.mjs";
import { KINDS } from "./samples.mjs";
import { CAUSES } from "./tail.mjs";

/** @typedef {import("./report.mjs").Results} Results */
/** @typedef {import("./report.mjs").Profile} Profile */

const FOLDER = `${root}docs/site/docs`;

/** The targets, as readers know them: over a column, and in the picture. */
const TARGETS = [
  { target: "bare", column: "bare Worker", text: "bare Worker", colour: "#a9bac4" },
  { target: "by-hand", column: "by hand", text: "by hand", colour: "#c4601a" },
  { target: "ring", column: "ring key", text: "Gatehouse, key of the ring", colour: "#0b6e6e" },
  { target: "issued", column: "issued key", text: "Gatehouse, issued key", colour: "#0b6e6e" },
  {
    target: "limits",
    column: "with limits",
    text: "Gatehouse, key with limits",
    colour: "#0b6e6e",
  },
];

/** Those of them that Gatehouse is compared with. */
const OTHERS = TARGETS.slice(0, 2);

/** The rows of the table: which figure of which load, its name and its unit. */
const ROWS = [
  ["whole", "cpu_us", "CPU of a small whole answer", "µs"],
  ["prompt", "cpu_us", "CPU of a prompt of 100 KB", "µs"],
  ["stream", "cpu_us", "CPU of a stream of 300 events", "µs"],
  ["paced-stream", "cpu_us", "the same, its events some 2 ms apart", "µs"],
  ["long-stream", "cpu_us_per_1000_events", "CPU of 1,000 events of a stream of 3,000", "µs"],
  ["alone", "p50_ms", "small whole answer alone, median", "ms"],
  ["alone", "p99_ms", "the same, 99th percentile", "ms"],
  ["stream-alone", "first_event_p50_ms", "first event of a stream alone, median", "ms"],
  ["whole", "rps", "small whole answers a second, 32 at once", ""],
  ["memory", "kb_per_stream", "memory of an open stream", "KB"],
  ["idle", "resident_mb", "memory of an idle process", "MB"],
  ["cold", "ms", "start of a process, to its first answer", "ms"],
];

/** What is drawn: the same, for those in which the targets differ most. */
const CHARTS = [
  ["whole", "cpu_us", "CPU of a small whole answer, µs"],
  ["prompt", "cpu_us", "CPU of a prompt of 100 KB, µs"],
  ["stream", "cpu_us", "CPU of a stream of 300 events, µs"],
  ["alone", "p50_ms", "Small whole answer alone, median, ms"],
];

const TEXT = "#22292d";
const QUIET = "#5b666d";
const LINE = "#dcdfdc";

/** @param {Results} results */
export function writePage(results) {
  writeFileSync(`${FOLDER}/performance.svg`, picture(results));
  const path = `${FOLDER}/performance.html`;
  let page = readFileSync(path, "utf8");
  page = between(page, "figures", figures(results));
  page = between(page, "bars", bars(results));
  const { profile } = results;
  for (const [name, table] of Object.entries(PROFILE_TABLES)) {
    const html = profile === undefined ? "<p>It has not been measured yet.</p>" : table(profile);
    page = between(page, name, html);
  }
  for (const [name, words] of Object.entries(PROFILE_WORDS)) {
    page = between(page, name, profile === undefined ? "" : words(profile));
  }
  writeFileSync(path, page);
  const files = [path, `${FOLDER}/performance.json`];
  execFileSync("prettier", ["--write", "--log-level", "warn", ...files], { stdio: "inherit" });
}

/**
 * The page with something new between two marks.
 *
 * @param {string} page
 * @param {string} name
 * @param {string} html
 */
function between(page, name, html) {
  const [begin, end] = [`<!-- ${name}: begin -->`, `<!-- ${name}: end -->`];
  const [from, to] = [page.indexOf(begin), page.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`performance.html has no place for ${name}`);
  return page.slice(0, from + begin.length) + html + page.slice(to);
}

/** @param {Results} results */
function figures({ machine, versions, date, figures }) {
  /** @param {string[]} row */
  const row = ([load = "", figure = "", about = "", unit = ""]) => {
    const cells = TARGETS.map(({ target }) => {
      const value = figures[load]?.[target]?.[figure];
      return `<td class="number">${number(value)}${value === undefined || unit === "" ? "" : ` ${unit}`}</td>`;
    });
    return `<tr><th scope="row">${about}</th>${cells.join("")}</tr>`;
  };
  const heads = TARGETS.map(({ column }) => `<th scope="col" class="number">${column}</th>`);
  return `<table class="costs">
    <caption>${date}; ${machine.processor}, ${machine.cores} cores; workerd ${versions.workerd}. CPU of the Worker’s whole process; medians over rounds. The last three are Gatehouse.</caption>
    <thead><tr><th scope="col">For a call</th>${heads.join("")}</tr></thead>
    <tbody>${ROWS.map(row).join("")}</tbody></table>`;
}

/** @param {Results} results */
function bars({ bars }) {
  const rows = bars.map((bar) => {
    const others = OTHERS.map(({ target }) => {
      const value = bar.others[target];
      const text = value === undefined ? number(value) : told({ ...bar, value });
      return `<td class="number">${text}</td>`;
    });
    return (
      `<tr><th scope="row">${bar.about}</th><td class="number">${told(bar)}</td>` +
      `<td class="number">${bar.side} ${number(bar.limit)}</td><td>${bar.holds ? "holds" : "<strong>does not hold</strong>"}</td>` +
      `${others.join("")}</tr>`
    );
  });
  const heads = OTHERS.map(({ column }) => `<th scope="col" class="number">${column}</th>`);
  return `<table class="costs"><thead><tr><th scope="col">Gatehouse</th><th scope="col" class="number">measured</th>
    <th scope="col" class="number">has to be</th><th scope="col">verdict</th>${heads.join("")}</tr></thead><tbody>${rows.join("")}</tbody></table>`;
}

/**
 * The tables of the profile, by their places in the page.
 *
 * @type {Record<string, (profile: Profile) => string>}
 */
const PROFILE_TABLES = {
  profile: ({ date, machine, workerd, us_per_call }) =>
    byKind(
      `${date}; ${machine.processor}, ${machine.cores} cores; workerd ${workerd}. Small whole answers, 32 at once; µs of CPU for a call. The profiler itself adds some percent, so the sums are not those above.`,
      us_per_call,
    ),
  alone: ({ us_per_call_alone }) =>
    byKind(
      "Small whole answers, one at a time; µs of CPU for a call. The profiler takes a part of this.",
      us_per_call_alone,
    ),
  slowest: ({ slowest }) =>
    table(
      "The slowest hundredth of these calls: percent of them, by the first cause that applies.",
      { head: "Slow by", rows: CAUSES },
      slowest,
    ),
  stream: ({ us_per_stream }) =>
    byKind(
      "Streams of 300 events, as fast as they are read, 8 at once; µs of CPU for a stream.",
      us_per_stream,
    ),
  start: ({ start_cpu_ms }) =>
    byKind(
      "A start of a fresh process, to its first answer; ms of CPU, of all its threads. The profiler takes a part of this.",
      start_cpu_ms,
    ),
};

/** What is said of it in words, likewise. */
const PROFILE_WORDS = { "profile in words": inWords, "start in words": startInWords };

/**
 * A table of times by kind.
 *
 * @param {string} about
 * @param {Record<string, Record<string, number>>} all by target
 */
function byKind(about, all) {
  const rows = { ...KINDS, total: "<strong>in all</strong>" };
  return table(about, { head: "For", rows }, all);
}

/**
 * A table of figures of targets.
 *
 * @param {string} about
 * @param {{ head: string, rows: Record<string, string> }} names of the figures, and what is over them
 * @param {Record<string, Record<string, number>>} all by target
 */
function table(about, { head, rows }, all) {
  const heads = Object.keys(all).map((name) => {
    const column = TARGETS.find(({ target }) => target === name)?.column ?? name;
    return `<th scope="col" class="number">${column}</th>`;
  });
  const row = (/** @type {[name: string, about: string]} */ [name, about]) => {
    const cells = Object.values(all).map(
      (figures) => `<td class="number">${number(figures[name])}</td>`,
    );
    return `<tr><th scope="row">${about}</th>${cells.join("")}</tr>`;
  };
  return `<table class="costs"><caption>${about}</caption>
    <thead><tr><th scope="col">${head}</th>${heads.join("")}</tr></thead>
    <tbody>${Object.entries(rows).map(row).join("")}</tbody></table>`;
}

/**
 * What most of a call is, and what Gatehouse takes beyond the gateway by hand.
 *
 * @param {Profile} profile
 */
function inWords(profile) {
  const all = profile.us_per_call;
  const [ring = {}, hand = {}] = [all["ring"], all["by-hand"]];
  const of = (/** @type {string} */ kind) => ring[kind] ?? 0;
  const beyond = (/** @type {string} */ kind) => of(kind) - (hand[kind] ?? 0);
  const kinds = /** @type {(keyof typeof KINDS)[]} */ (Object.keys(KINDS));
  const most = kinds.toSorted((a, b) => of(b) - of(a))[0] ?? "runtime";
  const percent = Math.round((of(most) / of("total")) * 100);
  const more = kinds
    .filter((kind) => beyond(kind) >= beyond("total") / 10)
    .toSorted((a, b) => beyond(b) - beyond(a))
    .map((kind) => `${KINDS[kind]} (${number(beyond(kind))}\u{a0}µs)`);
  const largest = `The largest part of a call through Gatehouse is ${KINDS[most]}: ${percent}\u{a0}%.`;
  const rest =
    beyond("total") <= 0
      ? ""
      : ` What it takes beyond the gateway by hand, ${number(beyond("total"))}\u{a0}µs, is above all: ${more.join("; ")}.`;
  return `<p>${largest}${rest}</p>`;
}

/** @param {Profile} profile */
function startInWords(profile) {
  const { start_ms, start_cpu_ms } = profile;
  const [bare = NaN, wasm = NaN, ring = NaN] = ["bare", "bare with the Wasm", "ring"].map(
    (name) => start_ms[name],
  );
  const ms = (/** @type {number} */ value) => `${number(value)}\u{a0}ms`;
  const compiling =
    (start_cpu_ms["ring"]?.["compiling"] ?? NaN) - (start_cpu_ms["bare"]?.["compiling"] ?? NaN);
  return `<p>A fresh process with the bare Worker answers its first call after ${ms(bare)}. With Gatehouse’s Wasm beside it, which is read and compiled but never run, after ${ms(wasm)}, ${number(wasm / bare)} times that; Gatehouse itself after ${ms(ring)}. Of what it takes beyond the bare Worker, ${ms(compiling)} of CPU is V8 compiling: the Wasm, and then each function of the first call as it is first run.</p>`;
}

/**
 * An SVG that needs nothing else, on a background of its own, so that it can be read on light and dark pages.
 *
 * @param {Results} results
 */
function picture({ machine, date, figures }) {
  const [width, height] = [960, 470];
  const title = "What Gatehouse adds to a call";
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img" aria-labelledby="title what" font-family="system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'Noto Sans', sans-serif">`,
    `<title id="title">${title}</title>`,
    `<desc id="what">Bars for a bare Worker, a gateway by hand, and Gatehouse with three kinds of keys: see the table and the file performance.json.</desc>`,
    `<rect x="0.5" y="0.5" width="${width - 1}" height="${height - 1}" rx="10" fill="#fafaf8" stroke="${LINE}"/>`,
    label(28, 38, title, { size: 20, weight: 600 }),
    label(
      28,
      60,
      `Measured ${date}; ${machine.processor}, ${machine.cores} cores. × is the figure over the bare Worker’s.`,
      {
        size: 13,
        fill: QUIET,
      },
    ),
  ];
  for (const [index, [load = "", figure = "", name = ""]] of CHARTS.entries()) {
    const [left, top] = [28 + (index % 2) * 462, 98 + Math.floor(index / 2) * 186];
    parts.push(...chart(left, top, name, (target) => figures[load]?.[target]?.[figure]));
  }
  return `${parts.join("\n")}\n</svg>\n`;
}

/**
 * @param {number} left
 * @param {number} top
 * @param {string} name
 * @param {(target: string) => number | undefined} valueOf
 */
function chart(left, top, name, valueOf) {
  const [labels, room, step] = [178, 160, 27];
  const shown = TARGETS.flatMap(({ target, text, colour }) => {
    const value = valueOf(target);
    return value === undefined ? [] : [{ target, text, colour, value }];
  });
  const largest = Math.max(...shown.map(({ value }) => value));
  const bare = valueOf("bare") ?? NaN;
  const parts = [label(left, top, name, { size: 13, weight: 600 })];
  for (const [index, { target, text, colour, value }] of shown.entries()) {
    const y = top + 14 + index * step;
    const length = (value / largest) * room;
    const ratio = target === "bare" ? "" : `  ${number(value / bare)}×`;
    parts.push(
      label(left + labels - 8, y + 14, text, { size: 12, fill: QUIET, anchor: "end" }),
      `<rect x="${left + labels}" y="${y}" width="${length.toFixed(1)}" height="20" rx="2" fill="${colour}"/>`,
      label(left + labels + length + 7, y + 14, `${number(value)}${ratio}`, { size: 12 }),
    );
  }
  return parts;
}

/**
 * @param {number} x
 * @param {number} y
 * @param {string} text
 * @param {{ size: number, weight?: number, fill?: string, anchor?: string }} style
 */
function label(x, y, text, { size, weight, fill = TEXT, anchor }) {
  const more =
    (weight === undefined ? "" : ` font-weight="${weight}"`) +
    (anchor === undefined ? "" : ` text-anchor="${anchor}"`);
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" font-size="${size}" fill="${fill}"${more} xml:space="preserve">${text}</text>`;
}
