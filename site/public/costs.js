// @ts-check
// The cost calculator. It interpolates between the simulated settings (costs.json) and multiplies the counts by prices
// (prices.json). simulation/src/costs defines the counts; this file only sums them.

import { create, wideTable } from "./elements.js";

const SECONDS_OF_MONTH = 30 * 86_400;
/** The first three columns of a row of the sweep are its setting. */
const PLACE = 3;

/**
 * @typedef {object} Costs
 * @property {{ cpu_us_per_call: number } | null} measured
 * @property {{ calls_per_second_of_isolate: number, object_active_ms_per_message: number, object_mb: number, object_messages_per_second_at_most: number, d1_queries_per_second_at_most: number, call_span_seconds: number }} assumed
 * @property {{ columns: string[], rows: number[][] }} ledger
 * @property {{ rows: [number, number, number][] }} board
 */
/**
 * @typedef {object} Item
 * @property {string} id
 * @property {string} name
 * @property {string} unit
 * @property {number} micro_usd_per_million
 * @property {number} included_per_month
 */
/** @typedef {{ usd_per_month: number, items: Item[] }} Prices */
/**
 * @typedef {object} Wish
 * @property {number} rate calls a second
 * @property {number} keys
 * @property {number} isolates
 * @property {boolean} limits
 * @property {number} logged share of the calls whose log line is kept
 * @property {boolean} analytics
 */

start();

async function start() {
  const place = document.getElementById("calculator-place");
  if (!place) return;
  try {
    const [costs, prices] = await Promise.all(
      ["/docs/costs.json", "/docs/prices.json"].map(async (path) => {
        const response = await fetch(path);
        if (!response.ok) throw new Error(`HTTP ${response.status}`);
        return response.json();
      }),
    );
    show(place, costs, prices);
  } catch {
    place.replaceChildren(create("p", { textContent: "The counts could not be loaded just now." }));
  }
}

/**
 * Each count for a million calls, interpolated between the simulated settings.
 *
 * @param {Costs} costs
 * @param {Wish} wish
 */
function counts(costs, { rate, keys, isolates, limits }) {
  const calls = Math.log10(Math.max((rate / keys) * 10_000, 1));
  const over = Math.log10(isolates);
  const rows = costs.ledger.rows.filter((row) => row[2] === Number(limits));
  /** @type {Record<string, number>} */
  const found = {};
  let weights = 0;
  for (const row of rows) {
    // Neighbouring settings differ by a factor of ten.
    const [x = 1, y = 1] = row.map((value) => Math.log10(value));
    const most = { calls: 9, over: 3 };
    const weight =
      Math.max(0, 1 - Math.abs(x - Math.min(calls, most.calls))) *
      Math.max(0, 1 - Math.abs(y - Math.min(over, most.over)));
    weights += weight;
    costs.ledger.columns.slice(PLACE).forEach((name, index) => {
      found[name] = (found[name] ?? 0) + weight * (row[PLACE + index] ?? 0);
    });
  }
  for (const name of Object.keys(found)) found[name] = (found[name] ?? 0) / weights;

  const own = Math.log10(Math.max((rate / isolates) * 10_000, 1));
  let [board, boards] = [0, 0];
  for (const [x, requests] of costs.board.rows) {
    const weight = Math.max(0, 1 - Math.abs(Math.log10(x) - Math.min(own, 6)));
    board += weight * requests;
    boards += weight;
  }
  return { ...found, board: board / boards };
}

/**
 * The units of each item for a million calls.
 *
 * @param {Costs} costs
 * @param {Wish} wish
 * @param {Record<string, number>} count
 * @returns {Record<string, number>}
 */
function units(costs, wish, count) {
  const of = (/** @type {string} */ name) => count[name] ?? 0;
  const { object_mb: megabytes, object_active_ms_per_message: active } = costs.assumed;
  // The list of calls has a row for each span of time in which any key rolled up, and removes it later.
  const spans = Math.min(1e6 / wish.rate / costs.assumed.call_span_seconds, of("alarms"));
  return {
    worker_requests: 1e6,
    cpu_ms: (costs.measured?.cpu_us_per_call ?? 0) * 1_000,
    object_requests: of("asks") + of("reports") + of("alarms") + of("board"),
    object_gb_s: ((of("object_active_ms") + of("board") * active) * megabytes) / 1e6,
    object_rows_written: of("object_rows_written"),
    object_rows_read: of("object_rows_read"),
    d1_rows_written: of("d1_rows_written") + spans,
    d1_rows_read: of("d1_rows_read"),
    kv_reads: 0,
    log_events: 1e6 * wish.logged,
    analytics_points: wish.analytics ? 1e6 : 0,
  };
}

/**
 * @param {HTMLElement} place
 * @param {Costs} costs
 * @param {Prices} prices
 */
function show(place, costs, prices) {
  const fields = {
    rate: number("Calls", "100", "0.001"),
    per: choice("Counted", [
      ["a second", "1"],
      ["a month", String(SECONDS_OF_MONTH)],
    ]),
    keys: number("Active keys", "100", "1"),
    isolates: number("Isolates (empty: as many as necessary)", "", "1"),
    logged: number("Log lines kept, in %", "100", "0", "100"),
    limits: tick("Keys have limits", true),
    analytics: tick("Analytics Engine is bound", false),
  };
  const inputs = create("div", { className: "inputs", role: "group" });
  inputs.setAttribute("aria-label", "Your calls");
  inputs.append(...Object.values(fields).map(({ label }) => label));
  const result = create("div");
  const sum = create("p", { className: "sum", role: "status" });
  place.replaceChildren(inputs, sum, result);

  const update = () => {
    const rate = positive(fields.rate.input.value, 1) / Number(fields.per.input.value);
    const needed = Math.max(1, Math.ceil(rate / costs.assumed.calls_per_second_of_isolate));
    const wish = {
      rate,
      keys: Math.max(1, Math.round(positive(fields.keys.input.value, 1))),
      isolates: Math.max(needed, Math.round(positive(fields.isolates.input.value, needed))),
      limits: fields.limits.input.checked,
      logged: Math.min(100, positive(fields.logged.input.value, 0)) / 100,
      analytics: fields.analytics.input.checked,
    };
    const count = counts(costs, wish);
    const used = units(costs, wish, count);
    const millions = (rate * SECONDS_OF_MONTH) / 1e6;
    let [marginal, bill] = [0, prices.usd_per_month];
    /** @type {string[][]} */
    const rows = [];
    for (const item of prices.items) {
      const perMillion = used[item.id] ?? 0;
      const usd = (perMillion * item.micro_usd_per_million) / 1e12;
      const beyond = Math.max(0, perMillion * millions - item.included_per_month);
      const charged = (beyond * item.micro_usd_per_million) / 1e12;
      marginal += usd;
      bill += charged;
      rows.push([item.name, perCall(perMillion), dollars(usd), dollars(charged)]);
    }
    rows.push(["total, with the plan’s $5", "", dollars(marginal), dollars(bill)]);
    sum.textContent = `${dollars(marginal)} for a million calls; ${dollars(bill)} a month for ${whole(millions * 1e6)} calls.`;
    result.replaceChildren(table(rows), ...notes(costs, wish, count));
  };
  for (const { input } of Object.values(fields)) input.addEventListener("input", update);
  update();
}

/**
 * Notes on a result: the load on each component, and which loads exceed its limit.
 *
 * @param {Costs} costs
 * @param {Wish} wish
 * @param {Record<string, number>} count
 */
function notes(costs, { rate, keys, isolates, limits }, count) {
  const of = (/** @type {string} */ name) => (count[name] ?? 0) / 1e6;
  const { object_messages_per_second_at_most: most, d1_queries_per_second_at_most: mostQueries } =
    costs.assumed;
  const ledger = ((of("asks") + of("reports") + of("alarms")) * rate) / keys;
  const board = of("board") * rate;
  const database = of("d1_queries") * rate;
  const list = create("ul");
  const say = (/** @type {string} */ text, /** @type {boolean} */ over) => {
    const item = create("li");
    if (over) item.append(create("strong", { textContent: "Above the limit: " }));
    item.append(text);
    list.append(item);
  };
  const shown = (/** @type {number} */ value) => (value < 10 ? value.toPrecision(2) : whole(value));
  say(`Isolates: ${whole(isolates)}.`, false);
  say(`Each key’s account receives ${shown(ledger)} messages a second.`, ledger > most);
  say(`The health object receives ${shown(board)} messages a second.`, board > most);
  say(`The database receives ${shown(database)} queries a second.`, database > mostQueries);
  if (limits) {
    say(`${(of("waited") * 100).toFixed(1)} % of the calls wait for their account.`, false);
    const rejected = of("refused") * 100;
    if (rejected >= 0.05) {
      say(`${rejected.toFixed(1)} % are rejected although other isolates hold enough.`, false);
    }
  }
  if (rate / keys > 1e5 || isolates > 1_000) {
    say("Outside the simulated range: the nearest setting is shown.", false);
  }
  return [list];
}

/** @param {string[][]} rows */
function table(rows) {
  const head = create("tr");
  ["", "For a call", "A million calls", "A month"].forEach((text, index) => {
    const cell = create(text === "" ? "td" : "th", { textContent: text });
    if (cell instanceof HTMLTableCellElement && text !== "") cell.scope = "col";
    if (index > 0) cell.className = "number";
    head.append(cell);
  });
  const body = create("tbody");
  rows.forEach(([name, ...cells], index) => {
    const row = create("tr", { className: index === rows.length - 1 ? "sum" : "" });
    row.append(create("th", { scope: "row", textContent: name ?? "" }));
    for (const text of cells) row.append(create("td", { className: "number", textContent: text }));
    body.append(row);
  });
  return wideTable("Cost of your calls", "costs", head, body);
}

/**
 * @param {string} text
 * @param {string} value
 * @param {string} min
 * @param {string} [max]
 */
function number(text, value, min, max = "") {
  const input = document.createElement("input");
  Object.assign(input, { type: "number", inputMode: "decimal", value, min, max, step: "any" });
  return labelled(text, input);
}

/**
 * @param {string} text
 * @param {[string, string][]} options
 */
function choice(text, options) {
  const input = document.createElement("select");
  for (const [name, value] of options) input.append(new Option(name, value));
  return labelled(text, input);
}

/**
 * @param {string} text
 * @param {boolean} checked
 */
function tick(text, checked) {
  const input = document.createElement("input");
  Object.assign(input, { type: "checkbox", checked });
  const label = create("label", { className: "tick" });
  label.append(input, text);
  return { label, input };
}

/**
 * @template {HTMLElement} Input
 * @param {string} text
 * @param {Input} input
 */
function labelled(text, input) {
  const label = create("label");
  label.append(create("span", { textContent: text }), input);
  return { label, input };
}

/**
 * @param {string} text
 * @param {number} otherwise
 */
function positive(text, otherwise) {
  const value = Number(text);
  return text.trim() !== "" && Number.isFinite(value) && value >= 0 ? value : otherwise;
}

/** @param {number} usd */
function dollars(usd) {
  if (usd === 0) return "0";
  if (usd < 0.005) return "< $0.01";
  return usd.toLocaleString("en", { style: "currency", currency: "USD" });
}

/** @param {number} perMillion */
function perCall(perMillion) {
  const value = perMillion / 1e6;
  return value === 0
    ? "0"
    : Number(value.toPrecision(2)).toLocaleString("en", { maximumFractionDigits: 9 });
}

/** @param {number} value */
function whole(value) {
  return Math.round(value).toLocaleString("en");
}
