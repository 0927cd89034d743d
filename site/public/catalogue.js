// @ts-check
// Filters the table of models, and shows it in parts. The table itself is in the page; without JavaScript all of it is shown.
// An address with a provider's name (#groq) selects that provider.

const SHOWN = 50;

const filters = document.getElementById("filters");
const matches = document.getElementById("matches");
const more = document.getElementById("more");
const table = document.querySelector("table.models");
const rows = [...(table?.querySelectorAll("tbody tr") ?? [])].map((row) => {
  const [model = "", provider = "", context = "", , input = "", , capabilities = ""] = [
    ...row.children,
  ].map((cell) => cell.textContent ?? "");
  return {
    row: /** @type {HTMLElement} */ (row),
    model: model.toLowerCase(),
    provider,
    context: Number(context.replaceAll(",", "")),
    price: input === "" ? undefined : Number.parseFloat(input.slice(1)),
    capabilities: capabilities.split(", "),
  };
});
let shown = SHOWN;

/** The value of a filter. @param {string} name */
function value(name) {
  const control = filters?.querySelector(`[name="${name}"]`);
  return control instanceof HTMLInputElement || control instanceof HTMLSelectElement
    ? control.value.trim()
    : "";
}

function show() {
  const words = value("model").toLowerCase().split(/\s+/);
  const [provider, capability] = [value("provider"), value("capability")];
  const [context, price] = [Number(value("context")), value("price")];
  const found = rows.filter(
    (one) =>
      words.every((word) => one.model.includes(word)) &&
      (provider === "" || one.provider === provider) &&
      (capability === "" || one.capabilities.includes(capability)) &&
      one.context >= context &&
      (price === "" || (one.price !== undefined && one.price <= Number(price))),
  );
  const visible = new Set(found.slice(0, shown));
  for (const one of rows) one.row.hidden = !visible.has(one);
  table?.classList.add("filtered");
  if (matches) {
    matches.textContent =
      visible.size < found.length
        ? `${visible.size} of ${found.length.toLocaleString("en")} matching models.`
        : `${found.length.toLocaleString("en")} matching models.`;
  }
  if (more) more.hidden = visible.size === found.length;
}

function selectFromAddress() {
  const name = decodeURIComponent(location.hash.slice(1));
  const control = filters?.querySelector('[name="provider"]');
  if (!(control instanceof HTMLSelectElement)) return;
  if (![...control.options].some((option) => option.value === name)) return;
  control.value = name;
}

filters?.addEventListener("input", () => {
  shown = SHOWN;
  show();
});
more?.addEventListener("click", () => {
  shown += SHOWN;
  show();
});
addEventListener("hashchange", () => {
  selectFromAddress();
  show();
});
selectFromAddress();
show();
