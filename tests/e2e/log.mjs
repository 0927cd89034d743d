// @ts-check
//! The lines of the log, checked against the documented fields: every test that stops a gateway checks all lines that it has
//! written.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

/** @type {{ event: string, fields: { name: string, type: string, nullable: boolean, optional: boolean }[] }[]} */
const EVENTS = JSON.parse(
  readFileSync(new URL("../../site/data/log.json", import.meta.url), "utf8"),
);

/** @type {Record<string, (value: unknown) => boolean>} */
const IS = {
  text: (value) => typeof value === "string",
  number: (value) => Number.isInteger(value),
  "true or false": (value) => typeof value === "boolean",
  "list of texts": (value) => Array.isArray(value) && value.every((one) => typeof one === "string"),
};

/**
 * Fails if an event or one of its fields is not documented, or a field is missing.
 *
 * @param {Record<string, unknown>} line
 */
export function checkEvent(line) {
  const { event, ...values } = line;
  const known = EVENTS.find((one) => one.event === event);
  assert.ok(known, `the event ${event} is not documented`);
  for (const { name, type, nullable, optional } of known.fields) {
    const value = values[name];
    const isAllowed =
      (value === undefined && optional) || (value === null && nullable) || IS[type]?.(value);
    assert.ok(isAllowed, `${event}.${name} is not ${type}: ${JSON.stringify(line)}`);
    delete values[name];
  }
  assert.deepEqual(Object.keys(values), [], `${event} has fields that are not documented`);
}
