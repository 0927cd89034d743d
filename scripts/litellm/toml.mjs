// @ts-check
// Writes settings as TOML: tables, strings, numbers, booleans and lists of them, which is all that gateway.toml has.

/** @typedef {string | number | boolean | string[] | number[]} Value */
/** @typedef {{ [name: string]: Value | Settings }} Settings */

/** @param {string} name */
const key = (name) => (/^[\w-]+$/.test(name) ? name : string(name));

/**
 * A basic string of TOML. It escapes as JSON does, and the control character that JSON leaves.
 *
 * @param {string} text
 */
const string = (text) => JSON.stringify(text).replaceAll("\x7f", "\\u007f");

/** @param {Value} value @returns {string} */
function inline(value) {
  if (typeof value === "string") return string(value);
  if (Array.isArray(value)) return `[${value.map(inline).join(", ")}]`;
  return String(value);
}

/**
 * The text of a table and of the tables in it. A table without entries is left out.
 *
 * @param {Settings} settings
 * @param {string[]} [path]
 * @returns {string}
 */
export function toToml(settings, path = []) {
  /** @type {string[]} */
  const values = [];
  /** @type {string[]} */
  const tables = [];
  for (const [name, value] of Object.entries(settings)) {
    if (typeof value === "object" && !Array.isArray(value)) {
      tables.push(toToml(value, [...path, key(name)]));
    } else {
      values.push(`${key(name)} = ${inline(value)}`);
    }
  }
  const head = path.length > 0 && values.length > 0 ? [`[${path.join(".")}]`] : [];
  const own = [...head, ...values].join("\n");
  return [own, ...tables].filter((part) => part !== "").join("\n\n");
}
