// @ts-check
// Fills the pages on a gateway: its address and one of its models in the examples, and the list of its models. Also bounds
// the wait for an idle browser, on which Starlight's own scripts depend.

import { create, wideTable } from "./elements.js";

const PLACEHOLDER = "https://gatehouse.example";
/** The chat models that examples name: those of the guides, and of openapi.json. */
const MODELS = ["openai/gpt-5-mini", "demo/sim-small"];
const SHOWN_MODELS = 8;
const IDLE_MS = 500;

/**
 * Former names of sections.
 *
 * @type {Record<string, Record<string, string>>}
 */
const RENAMED = {
  "/docs/costs": {
    million: "cost-of-a-million-calls",
    "your-calls": "calculator",
    growth: "scaling-of-costs",
    bounds: "scaling-limits",
    measured: "measurements",
  },
};

boundIdleWaits();
if (location.protocol.startsWith("http")) fill(PLACEHOLDER, location.origin);
moved();
nameRegions();
void showModels();

/**
 * Starlight loads the search when the browser is idle, without a timeout; Chromium, which grants idle time between frames,
 * may grant none to a static page. The dialog then opens without a field. This runs before Starlight requests idle time.
 */
function boundIdleWaits() {
  const whenIdle = window.requestIdleCallback?.bind(window); // Safari has none; Starlight waits for a timer there
  if (whenIdle === undefined) return;
  window.requestIdleCallback = (callback, options) =>
    whenIdle(callback, { timeout: IDLE_MS, ...options });
}

/**
 * Replaces `from` by `to` in all examples, and in the texts that their buttons copy. Highlighting may have cut a text into
 * pieces: if no single piece has all of it, the first piece gets the whole text and the others become empty.
 *
 * @param {string} from
 * @param {string} to
 */
function fill(from, to) {
  for (const code of document.querySelectorAll("main code, main .ec-line")) {
    if (code.querySelector(".ec-line") || !code.textContent?.includes(from)) continue;
    const walker = document.createTreeWalker(code, NodeFilter.SHOW_TEXT);
    /** @type {Text[]} */
    const pieces = [];
    while (walker.nextNode()) pieces.push(/** @type {Text} */ (walker.currentNode));
    for (let guard = 0; guard < 20; guard += 1) {
      const at = pieces
        .map((piece) => piece.data)
        .join("")
        .indexOf(from);
      if (at < 0 || from === to) break;
      replaceAt(pieces, at, from.length, to);
    }
  }
  for (const button of document.querySelectorAll("[data-code]")) {
    const code = button.getAttribute("data-code") ?? "";
    if (code.includes(from)) button.setAttribute("data-code", code.replaceAll(from, to));
  }
}

/**
 * @param {Text[]} pieces
 * @param {number} at
 * @param {number} length
 * @param {string} to
 */
function replaceAt(pieces, at, length, to) {
  let begin = 0;
  let text = to;
  for (const piece of pieces) {
    const size = piece.data.length;
    const [first, last] = [Math.max(at - begin, 0), Math.min(at + length - begin, size)];
    if (first < last) {
      piece.data = piece.data.slice(0, first) + text + piece.data.slice(last);
      text = "";
    }
    begin += size;
  }
}

/** Makes examples that scroll focusable regions, each with its own name. */
function nameRegions() {
  const examples = [...document.querySelectorAll("main pre")];
  for (const [index, example] of examples.entries()) {
    const name = () => {
      if (example.getAttribute("role") === "region") {
        example.setAttribute("aria-label", `Example ${index + 1}`);
      } else {
        example.removeAttribute("aria-label");
      }
    };
    // The replacement can be wider; Expressive Code's own script handles later changes.
    if (example.scrollWidth > example.clientWidth) {
      example.setAttribute("tabindex", "0");
      example.setAttribute("role", "region");
    }
    new MutationObserver(name).observe(example, { attributeFilter: ["role"] });
    name();
  }
}

/** Redirects links to the former single-page guide to the current page of the section. */
function moved() {
  const name = location.hash.slice(1);
  const renamed = RENAMED[location.pathname.replace(/\/$/, "")]?.[name];
  if (renamed) location.replace(`#${renamed}`);
  if (!/^\/docs\/?$/.test(location.pathname)) return;
  const link = document.querySelector(`[data-moved~="${CSS.escape(name)}"] a`);
  const to = name.startsWith("error-")
    ? `/docs/errors#${name.slice(6)}`
    : link?.getAttribute("href");
  if (name !== "" && to) location.replace(to);
}

async function showModels() {
  const place = document.getElementById("live-models");
  const text = document.querySelector("main")?.textContent ?? "";
  const isNamed = MODELS.some((name) => text.includes(name));
  if (!place && !isNamed) return;
  try {
    const response = await fetch("/v1/models");
    if (!response.ok) throw new Error(`HTTP ${response.status}`);
    /** @type {{ data: Model[] }} */
    const { data } = await response.json();
    // The first listed model may not be a chat model; a model with tools is one.
    const usable = data.find((model) => model.capabilities?.tools) ?? data[0];
    for (const name of MODELS) {
      if (usable && !data.some((model) => model.id === name)) fill(`"${name}"`, `"${usable.id}"`);
    }
    place?.replaceChildren(
      ...(usable ? table(data) : [paragraph("No provider is configured here yet.")]),
    );
  } catch {
    place?.replaceChildren(
      paragraph("The list of this gateway’s models could not be loaded just now."),
    );
  }
}

/**
 * @typedef {object} Model
 * @property {string} id
 * @property {number | null} context_length
 * @property {{ tools: boolean | null } | null} capabilities
 * @property {{ input: string | null, output: string | null } | null} pricing
 */

/** @param {Model[]} models */
function table(models) {
  const shown = models.slice(0, SHOWN_MODELS);
  const head = create("tr");
  for (const [text, className] of [
    ["Model"],
    ["Context", "number"],
    ["Input", "number"],
    ["Output", "number"],
  ]) {
    head.append(create("th", { textContent: text, scope: "col", className: className ?? "" }));
  }
  const body = create("tbody");
  for (const { id, context_length: context, pricing } of shown) {
    const row = create("tr");
    const name = create("th", { scope: "row" });
    name.append(create("code", { textContent: id }));
    row.append(name);
    for (const text of [context?.toLocaleString("en"), usd(pricing?.input), usd(pricing?.output)]) {
      row.append(create("td", { className: "number", textContent: text ?? "unknown" }));
    }
    body.append(row);
  }
  const wide = wideTable("This gateway’s models", "models", head, body);
  const count =
    shown.length < models.length
      ? `The first ${shown.length} of this gateway’s ${models.length} models.`
      : `This gateway’s models: ${models.length}.`;
  return [paragraph(`${count} Context in tokens, prices in US dollars per million tokens.`), wide];
}

/** @param {string | null | undefined} price */
function usd(price) {
  return price == null ? undefined : `$${price}`;
}

/** @param {string} text */
function paragraph(text) {
  return create("p", { textContent: text });
}
