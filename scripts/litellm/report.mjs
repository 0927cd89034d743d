// @ts-check
// What a conversion found besides the settings: secrets and variables to set, and what it did not convert.
//
// It holds places, names and reasons, never a value of the file.

/** The most places that are listed for one reason. */
const LISTED = 3;

/** Collects the remarks of a conversion; equal ones are one line. */
export class Report {
  /** The places of each remark. @type {Map<string, string[]>} */
  #remarks = new Map();
  /** The sources of each secret. @type {Map<string, Set<string>>} */
  #secrets = new Map();
  /** The value of each variable, or where it comes from. @type {Map<string, string>} */
  #variables = new Map();
  /** Names that callers use and that are converted. */
  names = 0;

  /**
   * @param {string} where - The place in the file.
   * @param {string} what - What was not converted as it is, and why or what to do.
   */
  remark(where, what) {
    this.#remarks.set(what, [...(this.#remarks.get(what) ?? []), where]);
  }

  /**
   * @param {string} name
   * @param {string} source - Where its value is.
   */
  secret(name, source) {
    this.#secrets.set(name, (this.#secrets.get(name) ?? new Set()).add(source));
  }

  /**
   * @param {string} name
   * @param {string} value - The value, or where it is.
   */
  variable(name, value) {
    this.#variables.set(name, value);
  }

  /** @returns {string[]} */
  lines() {
    const lines = [`Converted ${this.names} model names.`];
    if (this.#secrets.size > 0)
      lines.push("", "Secrets to set, with npx wrangler secret put NAME:");
    for (const [name, sources] of this.#secrets) {
      const joined = sources.size > 1 ? ", separated by commas" : "";
      lines.push(`  ${name}: ${[...sources].join(" and ")}${joined}`);
      if (sources.size > 16) lines.push("    A provider has at most 16 keys; leave some out");
    }
    if (this.#variables.size > 0)
      lines.push("", "Variables to set, in wrangler.toml under [vars]:");
    for (const [name, value] of this.#variables) lines.push(`  ${name}: ${value}`);
    if (this.#remarks.size > 0) lines.push("", "Not converted, or not as it was:");
    for (const [what, places] of this.#remarks) {
      const more = places.length > LISTED ? ` and ${places.length - LISTED} more` : "";
      lines.push(`  ${places.slice(0, LISTED).join(", ")}${more}: ${what}`);
    }
    return lines;
  }
}
