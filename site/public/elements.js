// @ts-check
// Functions that create elements for the scripts of the pages.

/**
 * @template {keyof HTMLElementTagNameMap} Name
 * @param {Name} name
 * @param {Partial<HTMLElementTagNameMap[Name]>} [properties]
 * @returns {HTMLElementTagNameMap[Name]}
 */
export function create(name, properties = {}) {
  return Object.assign(document.createElement(name), properties);
}

/**
 * A table that scrolls in its container if it is too wide.
 *
 * @param {string} label
 * @param {string} className of the table
 * @param {HTMLTableRowElement} headings
 * @param {HTMLTableSectionElement} body
 */
export function wideTable(label, className, headings, body) {
  const head = create("thead");
  head.append(headings);
  const list = create("table", { className });
  list.append(head, body);
  const wide = create("div", { className: "wide", tabIndex: 0, role: "region", ariaLabel: label });
  wide.append(list);
  return wide;
}
