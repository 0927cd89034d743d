// @ts-check
//! Text and tables, as HTML for the site and as Markdown for programs.

/** @typedef {{ html: string, markdown: string }} Include */

/** @param {string} text */
export const escaped = (text) =>
  text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/"/g, "&quot;");

/**
 * Text with `code`, **strong** parts and [links](/docs), as HTML.
 *
 * @param {string} text
 */
export const inline = (text) =>
  text
    .split(/(`[^`]+`)/)
    .map((part, at) =>
      at % 2 === 1
        ? `<code>${escaped(part.slice(1, -1))}</code>`
        : escaped(part)
            .replace(/\*\*([^*]+)\*\*/g, "<strong>$1</strong>")
            .replace(/\[([^\]]+)\]\(([^)\s]+)\)/g, '<a href="$2">$1</a>'),
    )
    .join("");

/**
 * A container in which a table scrolls if it is too wide.
 *
 * @param {string} label
 * @param {string} table
 */
export const wide = (label, table) =>
  `<div class="wide" tabindex="0" role="region" aria-label="${escaped(label)}">\n${table}\n</div>`;

/**
 * A table. Its texts are as in `inline`.
 *
 * @typedef {object} Table
 * @property {string} label for screen readers
 * @property {string} [caption]
 * @property {string[]} columns
 * @property {number[]} [texts] the columns other than the first that contain no numbers
 * @property {{ cells: string[], className?: string }[]} rows
 */

/**
 * @param {Table} table
 * @returns {Include}
 */
export function table({ label, caption, columns, texts = [], rows }) {
  const attribute = (/** @type {number} */ at) =>
    at === 0 || texts.includes(at) ? "" : ' class="number"';
  const head = columns.map((text, at) => `<th scope="col"${attribute(at)}>${inline(text)}</th>`);
  const body = rows.map(({ cells, className }) => {
    const [name = "", ...others] = cells;
    const data = others.map((text, at) => `<td${attribute(at + 1)}>${inline(text)}</td>`);
    const kind = className === undefined ? "" : ` class="${className}"`;
    return `<tr${kind}><th scope="row">${inline(name)}</th>${data.join("")}</tr>`;
  });
  const title = caption === undefined ? "" : `<caption>${inline(caption)}</caption>`;
  const line = (/** @type {string[]} */ cells) =>
    `| ${cells.map((text) => text.replace(/\|/g, "\\|")).join(" | ")} |`;
  const marks = columns.map((_, at) => (attribute(at) === "" ? " --- |" : " ---: |"));
  return {
    html: wide(
      label,
      `<table class="costs">${title}<thead><tr>${head.join("")}</tr></thead><tbody>${body.join("")}</tbody></table>`,
    ),
    markdown: [
      ...(caption === undefined ? [] : [caption, ""]),
      line(columns),
      `|${marks.join("")}`,
      ...rows.map(({ cells }) => line(cells)),
    ].join("\n"),
  };
}
