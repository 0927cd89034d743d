// @ts-check
//! Formatting of numbers, for the documentation and for the programs that print the same figures.

/**
 * A number with a comma between thousands and at most three significant decimals.
 *
 * @param {number | undefined} value
 */
export function number(value) {
  if (value === undefined || Number.isNaN(value)) return "–";
  const size = Math.abs(value);
  const digits = size >= 100 ? 0 : size >= 10 ? 1 : 2;
  return value.toLocaleString("en", { maximumFractionDigits: digits });
}

/**
 * A number with its unit.
 *
 * @param {{ value: number, unit: string }} quantity
 */
export function quantity({ value, unit }) {
  return `${number(value)}${unit === "×" ? unit : ` ${unit}`}`;
}
