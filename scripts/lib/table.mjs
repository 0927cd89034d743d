// @ts-check
// Tables and lists of details for people: lines of aligned columns, of texts that strangers may have written.
//
// It makes every cell safe by itself, so a caller can pass what it got: of the texts it is told that they
// are strings, but they came over the network, and it does not rely on that.
//
// It does not print, it knows no request and no key, and it does not fit a table to the window.

import { columns, safeText, shorten } from "./safe-text.mjs";

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
 * A name and a value a line. Lines of a text that has several are indented, so that none of them looks like
 * a name.
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
  const widths = rows[0]?.map((_, at) => Math.max(...rows.map((row) => columns(row[at])))) ?? [];
  return rows.map((row) =>
    row
      .map((text, at) => text + " ".repeat(widths[at] - columns(text)))
      .join(GAP)
      .trimEnd(),
  );
}
