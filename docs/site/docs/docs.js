// @ts-check
// What the page gains with JavaScript: your own base URL and a model of this gateway in the examples, a button that
// copies each of them, and the list of models.

const SHOWN_MODELS = 8;

if (location.protocol.startsWith("http")) fill("[data-base]", location.origin);
addCopyButtons();
showModels();

/**
 * @param {string} selector
 * @param {string} text
 */
function fill(selector, text) {
  for (const element of document.querySelectorAll(selector)) element.textContent = text;
}

function addCopyButtons() {
  // Outside of secure contexts browsers have no clipboard to offer.
  if (!navigator.clipboard) return;
  const status = create("div", { className: "unseen", role: "status" });
  document.body.append(status);
  for (const block of document.querySelectorAll("main pre:not(.output)")) {
    const frame = create("div", { className: "code" });
    const button = create("button", { className: "copy", type: "button", textContent: "Copy" });
    button.addEventListener("click", async () => {
      let said = "Copied";
      try {
        await navigator.clipboard.writeText(block.textContent ?? "");
      } catch {
        said = "Not allowed";
      }
      button.textContent = status.textContent = said;
      setTimeout(() => {
        button.textContent = "Copy";
        status.textContent = "";
      }, 2000);
    });
    block.replaceWith(frame);
    frame.append(block, button);
  }
}

async function showModels() {
  const place = document.getElementById("live-models");
  if (!place) return;
  try {
    const response = await fetch("/v1/models");
    if (!response.ok) throw new Error(`HTTP ${response.status}`);
    /** @type {{ data: Model[] }} */
    const { data } = await response.json();
    const example = document.querySelector("[data-model]")?.textContent;
    // The first one listed may be no chat model; one that can call tools is.
    const usable = data.find((model) => model.capabilities?.tools) ?? data[0];
    if (usable && !data.some((model) => model.id === example)) fill("[data-model]", usable.id);
    place.replaceChildren(
      ...(usable ? table(data) : [paragraph("No provider is configured here yet.")]),
    );
  } catch {
    place.replaceChildren(
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
  const thead = create("thead");
  thead.append(head);
  const list = create("table");
  list.append(thead, body);
  const wide = create("div", {
    className: "wide",
    tabIndex: 0,
    role: "region",
    ariaLabel: "This gateway’s models",
  });
  wide.append(list);
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

/**
 * @template {keyof HTMLElementTagNameMap} Name
 * @param {Name} name
 * @param {Partial<HTMLElementTagNameMap[Name]>} [properties]
 */
function create(name, properties = {}) {
  return Object.assign(document.createElement(name), properties);
}
