// @ts-check
// Tables and lists of details: lines of aligned columns.
//
// Every cell is made safe here, so a caller can pass text from the network. A cell that is not a string is
// converted to one.
//
// It does not print, knows no requests and no keys, and does not fit a table to the window.

import { safeText } from "./safe-text.mjs";
import { requirePackages } from "./terminal.mjs";

const { default: stringWidth } = await import("string-width").catch(requirePackages);

const GAP = "  ";

/**
 * @template Row
 * @typedef {object} Column
 * @property {string} title
 * @property {number} [most] - Columns of the terminal; a longer text is cut.
 * @property {(row: Row) => string} cell
 */

/**
 * @template Row
 * @param {Column<Row>[]} layout
 * @param {Row[]} rows
 * @returns {string[]}
 */
export function table(layout, rows) {
  const texts = rows.map((row) =>
    layout.map(({ cell, most = Infinity }) => shorten(safeText(squeeze(String(cell(row)))), most)),
  );
  return aligned([layout.map((column) => column.title), ...texts]);
}

/**
 * Lines of a name and a value each. The further lines of a value are indented, so that none of them looks like a
 * name.
 *
 * @param {[name: string, value: string][]} entries
 * @returns {string[]}
 */
export function details(entries) {
  return aligned(
    entries.flatMap(([name, value]) =>
      String(value)
        .split(/\r?\n/)
        .map((line, at) => [at === 0 ? safeText(name) : "", safeText(line)]),
    ),
  );
}

/** @param {string} text */
function squeeze(text) {
  return text.replace(/[ \t\r\n]+/g, " ").trim();
}

/** @param {string[][]} rows */
function aligned(rows) {
  const widths =
    rows[0]?.map((_, at) => Math.max(...rows.map((row) => stringWidth(row[at])))) ?? [];
  return rows.map((row) =>
    row
      .map((text, at) => text + " ".repeat(widths[at] - stringWidth(text)))
      .join(GAP)
      .trimEnd(),
  );
}

/**
 * The text, or as much of its beginning as fits, with an ellipsis.
 *
 * @param {string} text - Safe text.
 * @param {number} most - Columns.
 */
function shorten(text, most) {
  if (stringWidth(text) <= most) return text;
  let kept = "";
  let filled = 1;
  for (const { segment } of new Intl.Segmenter().segment(text)) {
    filled += stringWidth(segment);
    if (filled > most) break;
    kept += segment;
  }
  return `${kept}…`;
}
