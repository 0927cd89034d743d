// @ts-check
// Reading of LiteLLM's config.yaml: the bounds on the file, its syntax, and typed access to its fields.
//
// No message has a value of the file, because any value may be a key.

import { Failure, requirePackages } from "../lib/terminal.mjs";

const { LineCounter, parseDocument } = await import("yaml").catch(requirePackages);

/** The largest file that is read, in bytes: far above any real configuration. */
export const MAX_BYTES = 2 * 1024 * 1024;
/** The most entries of `model_list`. */
export const MAX_MODELS = 2000;
/** How often anchors may be expanded: a small file can otherwise describe a huge one. */
const MAX_ALIASES = 200;

/** @typedef {Record<string, unknown>} Mapping */

/**
 * Parses the file, of at most MAX_BYTES. Its top level must be a mapping.
 *
 * @param {string} text
 * @returns {Mapping}
 */
export function readDocument(text) {
  if (Buffer.byteLength(text) > MAX_BYTES) {
    throw new Failure(
      `The file is larger than ${MAX_BYTES} bytes; remove what is not configuration`,
    );
  }
  const lineCounter = new LineCounter();
  // YAML 1.1, which LiteLLM's parser reads, has merge keys and `yes`. prettyErrors would quote the line of the error.
  const document = parseDocument(text, { version: "1.1", lineCounter, prettyErrors: false });
  const [error] = document.errors;
  if (error !== undefined) {
    const { line, col } = lineCounter.linePos(error.pos[0]);
    const what = error.code.toLowerCase().replaceAll("_", " ");
    throw new Failure(`Line ${line}, column ${col}: the file is not valid YAML (${what})`);
  }
  let value;
  try {
    value = document.toJS({ maxAliasCount: MAX_ALIASES });
  } catch {
    throw new Failure(
      `The file expands its anchors more than ${MAX_ALIASES} times, or uses one that is not defined`,
    );
  }
  if (!isMapping(value))
    throw new Failure("The file must be a mapping with model_list, as LiteLLM's is");
  return value;
}

/**
 * @param {unknown} value
 * @returns {value is Mapping}
 */
export const isMapping = (value) =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/**
 * The mapping at a field; empty if it is absent.
 *
 * @param {Mapping} parent
 * @param {string} name
 * @param {string} path - The place of the field, for the error.
 * @returns {Mapping}
 */
export function mapping(parent, name, path = name) {
  const value = parent[name] ?? {};
  if (!isMapping(value)) throw new Failure(`${path} must be a mapping`);
  return value;
}

/**
 * The sequence at a field; empty if it is absent.
 *
 * @param {Mapping} parent
 * @param {string} name
 * @param {string} path - The place of the field, for the error.
 * @returns {unknown[]}
 */
export function sequence(parent, name, path = name) {
  const value = parent[name] ?? [];
  if (!Array.isArray(value)) throw new Failure(`${path} must be a list`);
  return value;
}

/**
 * The text of a field, or undefined if it is absent, empty or not a text.
 *
 * @param {unknown} value
 * @returns {string | undefined}
 */
export const text = (value) =>
  typeof value === "string" && value.trim() !== "" ? value.trim() : undefined;

/**
 * The number of a field, also where it is written as a text; undefined if it is none.
 *
 * @param {unknown} value
 * @returns {number | undefined}
 */
export function number(value) {
  const read = typeof value === "string" && value.trim() !== "" ? Number(value) : value;
  return typeof read === "number" && Number.isFinite(read) ? read : undefined;
}

/**
 * The variable that a text names as `os.environ/NAME`.
 *
 * @param {string | undefined} value
 * @returns {string | undefined}
 */
export const environment = (value) => /^os\.environ\/(\w+)$/.exec(value ?? "")?.[1];
