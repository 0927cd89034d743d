// @ts-check
// The commands about the audit log: list it, and verify its hash chain locally and the gateway's tables against it.

import { EMPTY_CHAIN, follow, START } from "../lib/audit-chain.mjs";
import { call, expectFields } from "../lib/gateway-client.mjs";
import { details, table } from "../lib/table.mjs";
import { Failure } from "../lib/terminal.mjs";
import { gatewayOf } from "./connection.mjs";
import { moment, report } from "./report.mjs";

/** @import { Entry } from "../lib/audit-chain.mjs" */
/** @import { Gateway } from "../lib/gateway-client.mjs" */
/** @import { Column } from "../lib/table.mjs" */
/** @import { Options } from "../gateway-operator.mjs" */

const AUDIT_PAGE = 1000;

/** @type {Column<Entry>[]} */
const AUDIT_COLUMNS = [
  { title: "SEQ", cell: ({ seq }) => String(seq) },
  { title: "AT", cell: ({ entry }) => moment(member(entry, "at")) },
  { title: "ACTOR", cell: ({ entry }) => member(entry, "actor") },
  { title: "ACTION", cell: ({ entry }) => member(entry, "action") },
  { title: "SUBJECT", most: 48, cell: ({ entry }) => member(entry, "subject") },
  { title: "DETAIL", most: 60, cell: ({ entry }) => member(entry, "detail") },
];

/** @param {Options} options */
export async function listAudit(options) {
  /** @type {Entry[]} */
  const entries = [];
  for await (const page of auditPages(await gatewayOf(options), options.after ?? 0)) {
    entries.push(...page);
  }
  await report(options, entries, () =>
    entries.length > 0 ? table(AUDIT_COLUMNS, entries) : ["No entries."],
  );
}

/** @param {Options} options */
export async function verifyAudit(options) {
  const noted = options.head;
  let chain = EMPTY_CHAIN;
  let found = noted === undefined || noted === START;
  const gateway = await gatewayOf(options);
  for await (const page of auditPages(gateway, 0)) {
    for (const entry of page) {
      chain = follow(chain, entry);
      found ||= !chain.broken && chain.head === noted;
    }
    // The rest proves nothing.
    if (chain.broken) break;
  }

  const { entries, head, broken } = chain;
  // The tables can only be read by the gateway.
  const state = broken ? undefined : await call(gateway, "GET", "/v0/audit/verify");
  if (state !== undefined) expectFields(state, { intact: "boolean" });
  const differs = state?.intact === false ? String(state.reason ?? "no reason given") : undefined;
  const missing = `the head ${noted} is not in it: entries up to it have been changed or removed`;
  /** @type {{ intact: boolean, entries: number, head?: string, broken_at?: number, reason?: string }} */
  const finding = broken
    ? { intact: false, entries, broken_at: broken.seq, reason: broken.reason }
    : !found
      ? { intact: false, entries, head, reason: missing }
      : differs !== undefined
        ? { intact: false, entries, head, reason: differs }
        : { intact: true, entries, head };
  await report(options, finding, () => [
    ...details([
      [broken ? "entries before the break" : "entries", String(entries)],
      ["head", head],
    ]),
    ...(finding.intact
      ? ["Intact. Note the head elsewhere, for a later audit verify --head."]
      : []),
  ]);
  if (broken) {
    throw new Failure(`The audit log is broken at entry ${broken.seq}: ${broken.reason}`);
  }
  if (!found) throw new Failure(`The audit log is a chain, but ${missing}`);
  if (differs !== undefined) throw new Failure(`The audit log is a chain, but ${differs}`);
}

/**
 * @param {Gateway} gateway
 * @param {number} after
 * @returns {AsyncGenerator<Entry[]>}
 */
async function* auditPages(gateway, after) {
  /** @type {number | null} */
  let at = after;
  while (at !== null) {
    /** @type {any} */
    const data = await call(gateway, "GET", `/v0/audit?after=${at}&limit=${AUDIT_PAGE}`);
    expectFields(data, { entries: "array" });
    for (const entry of data.entries) {
      expectFields(entry, { seq: "number", entry: "string", hash: "string" });
    }
    yield data.entries;
    /** @type {number | null} */
    const next = data.next ?? null;
    if (next !== null && !(next > at)) throw new Failure("The gateway's audit log has no end");
    at = next;
  }
}

/**
 * A field of an entry. The entry is untrusted: anyone who can break the chain can write anything.
 *
 * @param {string} entry
 * @param {string} name
 */
function member(entry, name) {
  let value;
  try {
    value = JSON.parse(entry)?.[name];
  } catch {
    return name === "detail" ? entry : "?";
  }
  return typeof value === "string" ? value : (JSON.stringify(value) ?? "?");
}
