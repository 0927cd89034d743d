#!/usr/bin/env node
// @ts-check
// The operator's command line: key requests, issued keys and the audit log of a running gateway, over its
// HTTP API. Run it without arguments for its usage.
//
// It keeps nothing: no key, no list, no settings. It decides nothing either: what a request or a key may
// become is the gateway's to judge, in words that are shown as they come. Static keys, which live in a
// Worker secret and not in the gateway's database, are those of gateway-key-ring.mjs.

import { helpLines, parseArguments } from "./lib/arguments.mjs";
import { EMPTY_CHAIN, follow, START } from "./lib/audit-chain.mjs";
import { call, expectMembers, gatewayAddress, segment } from "./lib/gateway-client.mjs";
import { readKey, refuseKeys } from "./lib/key-input.mjs";
import { safeJson, safeText } from "./lib/safe-text.mjs";
import { details, table } from "./lib/table.mjs";
import { explain, Failure, note, print } from "./lib/terminal.mjs";

/** @import { Command, OptionSpec, Tables } from "./lib/arguments.mjs" */
/** @import { Entry } from "./lib/audit-chain.mjs" */
/** @import { Gateway } from "./lib/gateway-client.mjs" */
/** @import { Column } from "./lib/table.mjs" */

const THIS_SCRIPT = "node scripts/gateway-operator.mjs";
const DEFAULT_URL = "http://localhost:8787";
const EVERYWHERE = "everywhere within 10 seconds";
const AUDIT_PAGE = 1000;

/**
 * What is shown of a key request.
 *
 * @typedef {object} KeyRequest
 * @property {string} id
 * @property {string} state
 * @property {Record<string, string>} fields
 * @property {{ email?: string } | null} portal_developer
 * @property {string[]} apply_policies
 * @property {string} date_created
 * @property {string | null} decided_at
 * @property {string | null} decided_by
 * @property {string | null} decline_reason
 * @property {string | null} key_id
 */

/**
 * What is shown of an issued key.
 *
 * @typedef {object} ApiKey
 * @property {string} id
 * @property {string} name
 * @property {string} state
 * @property {string[]} policies
 * @property {string[] | null} models
 * @property {string[] | null} endpoints
 * @property {Record<string, string> | null} metadata
 * @property {string} created_at
 * @property {string} created_by
 * @property {string | null} expires_at
 * @property {string | null} request_id
 * @property {{ public_id: string, created_at: string, expires_at: string | null }[]} secrets
 */

// ---- The command line: these tables drive parsing and help --------------------------------------------

/**
 * @typedef {object} Options
 * @property {string} url
 * @property {boolean} insecure
 * @property {boolean} key-stdin
 * @property {number} timeout
 * @property {boolean} json
 * @property {string} id
 * @property {boolean} pending
 * @property {boolean} approved
 * @property {boolean} declined
 * @property {string} reason
 * @property {string} name
 * @property {string[]} policy
 * @property {string[]} model
 * @property {string[]} endpoint
 * @property {[string, string][]} metadata
 * @property {string} expires-at
 * @property {boolean} claim
 * @property {boolean} email
 * @property {number | null} overlap
 * @property {number} after
 * @property {string} head
 */

/** @type {Record<Exclude<keyof Options, "id">, OptionSpec>} */
const OPTIONS = {
  pending: { help: "only requests that nobody has decided yet" },
  approved: { help: "only approved requests" },
  declined: { help: "only declined requests" },
  reason: { value: "TEXT", help: "why, for the request's record" },
  name: { value: "NAME", help: "name of the new key: letters, digits, _ and -" },
  policy: { value: "NAME", repeatable: true, help: "policy of the key, from gateway.toml" },
  model: {
    value: "PATTERN",
    repeatable: true,
    help: "what it may call: provider/model, provider/* or an alias",
  },
  endpoint: { value: "PATH", repeatable: true, help: "where, such as /v1/chat/completions" },
  metadata: { value: "NAME=TEXT", repeatable: true, help: "a note on the key", read: readPair },
  "expires-at": {
    value: "TIME",
    help: "when the key ends, such as 2027-01-31T00:00:00Z",
    read: readTime,
  },
  claim: { help: "make a link that shows the key to whoever opens it first" },
  email: { help: "have the gateway mail that link to the applicant" },
  overlap: {
    value: "SECONDS",
    help: "how long the old secret goes on working (default: the gateway's, 3600)",
    read: (text) => readInteger("overlap", text, 0, 2_592_000),
  },
  after: {
    value: "SEQ",
    help: "only entries after this one",
    read: (text) => readInteger("after", text, 0, Number.MAX_SAFE_INTEGER),
  },
  head: { value: "HASH", help: "a head noted earlier, which must still be there", read: readHash },
  url: { value: "URL", help: `the gateway (default: GATEWAY_URL, else ${DEFAULT_URL})` },
  "key-stdin": { help: "read the operator key from standard input, not from GATEWAY_ADMIN_KEY" },
  insecure: { help: "allow http to another machine: the operator key goes out in the clear" },
  timeout: {
    value: "SECONDS",
    help: "how long to wait for one answer (default 30)",
    read: (text) => readInteger("timeout", text, 1, 300),
  },
  json: { help: "print the gateway's JSON, for scripts" },
};

/** @type {Record<string, Command<Options>>} */
const COMMANDS = {
  "requests list": {
    summary: "list the requests for keys, newest first",
    takes: [["pending", "approved", "declined"]],
    run: listRequests,
  },
  "requests show": { summary: "show all of a request", operand: "id", run: showRequest },
  "requests approve": {
    summary: "issue a key for a request, and print it once",
    operand: "id",
    takes: ["policy", "expires-at", ["claim", "email"]],
    run: approveRequest,
  },
  "requests decline": {
    summary: "decline a request",
    operand: "id",
    takes: ["reason"],
    run: declineRequest,
  },
  "requests delete": {
    summary: "delete a request; a key that was issued for it stays",
    operand: "id",
    run: deleteRequest,
  },
  "keys create": {
    summary: "issue a key without a request, and print it once",
    needs: ["name"],
    takes: ["policy", "model", "endpoint", "metadata", "expires-at", "claim"],
    run: createKey,
  },
  "keys list": { summary: "list the issued keys", run: listKeys },
  "keys show": { summary: "show all of a key but its secrets", operand: "name", run: showKey },
  "keys disable": { summary: "shut a key out for now", operand: "name", run: disableKey },
  "keys enable": { summary: "let a disabled key in again", operand: "name", run: enableKey },
  "keys rotate": {
    summary: "give a key a new secret, and print it once",
    operand: "name",
    takes: ["overlap", "claim"],
    run: rotateKey,
  },
  "keys revoke": { summary: "end a key for good", operand: "name", run: revokeKey },
  "audit list": { summary: "list what was done, oldest first", takes: ["after"], run: listAudit },
  "audit verify": {
    summary: "download the audit log and recompute its hash chain here",
    takes: ["head"],
    run: verifyAudit,
  },
  help: { summary: "print this text", run: () => print([usage()]) },
};

/** @type {Tables<Options>} */
const TABLES = {
  commands: COMMANDS,
  options: OPTIONS,
  operands: { id: "ID", name: "NAME" },
  shared: ["url", "key-stdin", "insecure", "timeout", "json"],
  defaults: {
    url: process.env.GATEWAY_URL || DEFAULT_URL,
    insecure: false,
    "key-stdin": false,
    timeout: 30,
    json: false,
    id: "",
    pending: false,
    approved: false,
    declined: false,
    reason: "",
    name: "",
    policy: [],
    model: [],
    endpoint: [],
    metadata: [],
    "expires-at": "",
    claim: false,
    email: false,
    overlap: null,
    after: 0,
    head: "",
  },
};

function usage() {
  return [
    `Usage: ${THIS_SCRIPT} COMMAND [options]`,
    "",
    ...helpLines(TABLES),
    "",
    `Every command takes ${TABLES.shared.map((option) => `--${option}`).join(", ")}.`,
    "A name that begins with a dash is written after --, as in: keys revoke -- -name",
    "",
    "Environment:",
    "  GATEWAY_ADMIN_KEY  an operator key; it is never an argument",
    "  GATEWAY_URL        the gateway, unless --url names another",
  ].join("\n");
}

// ---- Values -------------------------------------------------------------------------------------------

/**
 * @param {string} option
 * @param {string} text
 * @param {number} least
 * @param {number} most
 */
function readInteger(option, text, least, most) {
  const number = Number(text);
  if (/^\d+$/.test(text) && number >= least && number <= most) return number;
  throw new Failure(`--${option} must be an integer from ${least} to ${most}`);
}

/** @param {string} text */
function readTime(text) {
  const form = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/;
  if (form.test(text) && !Number.isNaN(Date.parse(text))) return text;
  throw new Failure("--expires-at must be a time such as 2027-01-31T00:00:00Z");
}

/** @param {string} text */
function readPair(text) {
  const [, name, value] = /^([^=]+)=([^]*)$/.exec(text) ?? [];
  if (name !== undefined) return [name, value];
  throw new Failure("--metadata must be NAME=TEXT");
}

/** @param {string} text */
function readHash(text) {
  const hash = text.toLowerCase();
  if (/^[0-9a-f]{64}$/.test(hash)) return hash;
  throw new Failure("--head must be a hash of 64 hex digits, as audit verify prints it");
}

/**
 * @param {Options} options
 * @returns {Promise<Gateway>}
 */
async function gatewayOf({ url, insecure, "key-stdin": fromInput, timeout }) {
  const base = gatewayAddress(url, insecure);
  const key = fromInput ? await readKey() : (process.env.GATEWAY_ADMIN_KEY ?? "").trim();
  if (!key)
    throw new Failure("Set GATEWAY_ADMIN_KEY to an operator key, or give it by --key-stdin");
  // Otherwise fetch refuses it, in words that repeat it.
  if (!/^[\x21-\x7e]+$/.test(key)) {
    throw new Failure("The operator key must be one word of visible ASCII characters");
  }
  return { base, key, seconds: timeout };
}

// ---- Requests for keys --------------------------------------------------------------------------------

/** @type {Column<KeyRequest>[]} */
const REQUEST_COLUMNS = [
  { title: "ID", cell: ({ id }) => id },
  { title: "STATE", cell: ({ state }) => state },
  { title: "EMAIL", most: 48, cell: emailOf },
  { title: "RECEIVED", cell: (request) => moment(request.date_created) },
  { title: "POLICIES", most: 32, cell: (request) => enumerate(request.apply_policies) },
  { title: "USE CASE", most: 60, cell: ({ fields }) => fields?.use_case ?? "" },
];

/** @param {Options} options */
async function listRequests(options) {
  const { pending, approved, declined } = options;
  const filter = pending
    ? "&approved=false"
    : approved
      ? "&approved=true"
      : declined
        ? "&declined=true"
        : "";
  const gateway = await gatewayOf(options);
  // By id, because a request that comes in meanwhile moves the last one of a page to the next page.
  /** @type {Map<string, KeyRequest>} */
  const requests = new Map();
  for (let page = 1, pages = 1; page <= pages; page += 1) {
    const answer = await call(gateway, "GET", `/api/portal/requests?p=${page}${filter}`);
    expectMembers(answer, { Data: "array", Pages: "number" });
    if (answer.Data.length === 0) break;
    for (const request of answer.Data) {
      expectMembers(request, { id: "string" });
      requests.set(request.id, request);
    }
    pages = answer.Pages;
  }
  await report(options, [...requests.values()], (rows) =>
    rows.length > 0 ? table(REQUEST_COLUMNS, rows) : ["No requests."],
  );
}

/** @param {Options} options */
async function showRequest(options) {
  const answer = await call(await gatewayOf(options), "GET", requestPath(options.id));
  await report(options, answer, (/** @type {KeyRequest} */ request) => {
    expectMembers(request, { id: "string", state: "string" });
    const fields = Object.entries(request.fields ?? {});
    return [
      ...details([
        ["id", request.id],
        ["state", request.state],
        ["email", emailOf(request)],
        ["received", moment(request.date_created)],
        ["policies", enumerate(request.apply_policies)],
        ...optional("decided", request.decided_at, moment),
        ...optional("decided by", request.decided_by),
        ...optional("reason", request.decline_reason),
        ...optional("key id", request.key_id),
      ]),
      // Indented and under a heading: the names of these fields are the applicant's words too.
      ...(fields.length > 0 ? ["", "What the applicant wrote:"] : []),
      ...details(fields).map((line) => `  ${line}`),
    ];
  });
}

/** @param {Options} options */
async function approveRequest(options) {
  const { id, policy, claim, email } = options;
  const body = {
    delivery: claim ? "claim" : email ? "email" : "key",
    ...(policy.length > 0 ? { apply_policies: policy } : {}),
    ...(options["expires-at"] ? { expires_at: options["expires-at"] } : {}),
  };
  const path = `/api/portal/requests/approve/${segment(id)}`;
  const answer = await call(await gatewayOf(options), "PUT", path, body);
  const lost = `The request is approved: find its key with "keys list" and give it a new secret with "keys rotate"`;
  await reportSecret(options, answer, lost, () => {
    const done = `Approved ${id}.`;
    if (claim || answer?.EmailError !== undefined) {
      expectMembers(answer, { ClaimURL: "string", ExpiresAt: "string" });
      return [done, ...claimLines(answer.ClaimURL, answer.ExpiresAt)];
    }
    if (email) {
      expectMembers(answer, { SentTo: "string", ExpiresAt: "string" });
      const until = moment(answer.ExpiresAt);
      return [
        done,
        `A link that shows the key once was sent to ${answer.SentTo}, for use until ${until}.`,
      ];
    }
    expectMembers(answer, { RawKey: "string" });
    return [done, ...keyLines(answer.RawKey)];
  });
  if (answer?.EmailError !== undefined) {
    throw new Failure(
      `The request is approved, but the mail was not sent: ${answer.EmailError}. Hand over the link yourself`,
    );
  }
}

/** @param {Options} options */
async function declineRequest(options) {
  const { id, reason } = options;
  const path = `/api/portal/requests/decline/${segment(id)}`;
  const answer = await call(await gatewayOf(options), "PUT", path, reason ? { reason } : {});
  await report(options, answer, () => [`Declined ${id}.`]);
}

/** @param {Options} options */
async function deleteRequest(options) {
  const { id } = options;
  const answer = await call(await gatewayOf(options), "DELETE", requestPath(id));
  await report(options, answer, () => [
    `Deleted the request ${id}. A key that was issued for it goes on working: "keys revoke" ends it ` +
      `${EVERYWHERE}.`,
  ]);
}

/** @param {string} id */
function requestPath(id) {
  return `/api/portal/requests/${segment(id)}`;
}

/** @param {KeyRequest} request */
function emailOf({ portal_developer: developer, fields }) {
  return developer?.email || fields?.email || "-";
}

// ---- Issued keys --------------------------------------------------------------------------------------

/** @type {Column<ApiKey>[]} */
const KEY_COLUMNS = [
  { title: "NAME", cell: ({ name }) => name },
  { title: "STATE", cell: ({ state }) => state },
  { title: "POLICIES", most: 32, cell: ({ policies }) => enumerate(policies) },
  { title: "CREATED", cell: (key) => moment(key.created_at) },
  { title: "EXPIRES", cell: (key) => (key.expires_at ? moment(key.expires_at) : "never") },
  {
    title: "PUBLIC ID",
    cell: ({ secrets }) => enumerate(secrets?.map((secret) => secret.public_id)),
  },
];

/** @param {Options} options */
async function createKey(options) {
  const { name, policy, model, endpoint, metadata, claim } = options;
  const names = metadata.map(([member]) => member);
  const twice = names.find((member, at) => names.indexOf(member) !== at);
  if (twice !== undefined) throw new Failure(`--metadata ${twice}=... is given more than once`);
  const body = {
    name,
    ...(policy.length > 0 ? { policies: policy } : {}),
    ...(model.length > 0 ? { models: model } : {}),
    ...(endpoint.length > 0 ? { endpoints: endpoint } : {}),
    ...(metadata.length > 0 ? { metadata: Object.fromEntries(metadata) } : {}),
    ...(options["expires-at"] ? { expires_at: options["expires-at"] } : {}),
    ...(claim ? { delivery: "claim" } : {}),
  };
  const answer = await call(await gatewayOf(options), "POST", "/v0/api_keys", body);
  await reportSecret(options, answer, rotateAdvice(name), () => [
    `Created the key ${name}.`,
    ...deliveryLines(answer, claim),
  ]);
}

/** @param {Options} options */
async function listKeys(options) {
  const answer = await call(await gatewayOf(options), "GET", "/v0/api_keys");
  await report(options, answer, (/** @type {ApiKey[]} */ keys) => {
    expectMembers({ keys }, { keys: "array" });
    return keys.length > 0 ? table(KEY_COLUMNS, keys) : ["No keys."];
  });
}

/** @param {Options} options */
async function showKey(options) {
  const answer = await call(await gatewayOf(options), "GET", keyPath(options.name));
  await report(options, answer, () => {
    const key = answer?.[0];
    expectMembers(key, { id: "string", name: "string", state: "string", secrets: "array" });
    return describeKey(key);
  });
}

/** @param {ApiKey} key */
function describeKey(key) {
  const secrets = key.secrets.map(
    (secret) =>
      `${secret.public_id} since ${moment(secret.created_at)}` +
      (secret.expires_at ? `, until ${moment(secret.expires_at)}` : ""),
  );
  const metadata = Object.entries(key.metadata ?? {});
  return [
    ...details([
      ["name", key.name],
      ["id", key.id],
      ["state", key.state],
      ["policies", enumerate(key.policies)],
      ["models", key.models ? enumerate(key.models) : "no limit of its own"],
      ["endpoints", key.endpoints ? enumerate(key.endpoints) : "no limit of its own"],
      ["created", `${moment(key.created_at)} by ${key.created_by}`],
      ["expires", key.expires_at ? moment(key.expires_at) : "never"],
      ...optional("request", key.request_id),
      ["secrets", secrets.join("\n") || "none yet: nobody has opened the claim link"],
    ]),
    ...(metadata.length > 0 ? ["", "Metadata:"] : []),
    ...details(metadata).map((line) => `  ${line}`),
  ];
}

/** @param {Options} options */
async function disableKey(options) {
  const path = keyPath(options.name);
  const answer = await call(await gatewayOf(options), "PATCH", path, { disabled: true });
  await report(options, answer, () => [
    `Disabled the key ${options.name}: it is refused ${EVERYWHERE}, until "keys enable".`,
  ]);
}

/** @param {Options} options */
async function enableKey(options) {
  const path = keyPath(options.name);
  const answer = await call(await gatewayOf(options), "PATCH", path, { disabled: false });
  await report(options, answer, () => [
    `Enabled the key ${options.name}: it is let in ${EVERYWHERE}.`,
  ]);
}

/** @param {Options} options */
async function rotateKey(options) {
  const { name, overlap, claim } = options;
  const body = {
    ...(overlap !== null ? { overlap_seconds: overlap } : {}),
    ...(claim ? { delivery: "claim" } : {}),
  };
  const answer = await call(await gatewayOf(options), "POST", `${keyPath(name)}/rotate`, body);
  await reportSecret(options, answer, rotateAdvice(name), () => {
    const until = answer?.previous_expires_at ?? null;
    const old = claim
      ? "An old secret goes on working; its overlap begins when the link is opened."
      : until === null
        ? "The key had no secret before."
        : overlap === 0
          ? `The old secret is dead ${EVERYWHERE}.`
          : `The old secret goes on working until ${moment(until)}.`;
    return [`Rotated the key ${name}.`, ...deliveryLines(answer, claim), old];
  });
}

/** @param {Options} options */
async function revokeKey(options) {
  const { name } = options;
  const answer = await call(await gatewayOf(options), "DELETE", keyPath(name));
  await report(options, answer, () => [
    `Revoked the key ${name}: it is dead ${EVERYWHERE}, and its name is free again.`,
  ]);
}

/** @param {string} name */
function keyPath(name) {
  return `/v0/api_keys/${segment(name)}`;
}

// ---- The audit log ------------------------------------------------------------------------------------

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
async function listAudit(options) {
  /** @type {Entry[]} */
  const entries = [];
  for await (const page of auditPages(await gatewayOf(options), options.after)) {
    entries.push(...page);
  }
  await report(options, entries, () =>
    entries.length > 0 ? table(AUDIT_COLUMNS, entries) : ["No entries."],
  );
}

/** @param {Options} options */
async function verifyAudit(options) {
  const noted = options.head;
  let chain = EMPTY_CHAIN;
  let found = noted === "" || noted === START;
  for await (const page of auditPages(await gatewayOf(options), 0)) {
    for (const entry of page) {
      chain = follow(chain, entry);
      found ||= !chain.broken && chain.head === noted;
    }
    // The rest proves nothing.
    if (chain.broken) break;
  }

  const { entries, head, broken } = chain;
  const missing = `the head ${noted} is not in it: what was there when it was noted is changed or gone`;
  /** @type {{ intact: boolean, entries: number, head?: string, broken_at?: number, reason?: string }} */
  const finding = broken
    ? { intact: false, entries, broken_at: broken.seq, reason: broken.reason }
    : found
      ? { intact: true, entries, head }
      : { intact: false, entries, head, reason: missing };
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
    const answer = await call(gateway, "GET", `/v0/audit?after=${at}&limit=${AUDIT_PAGE}`);
    expectMembers(answer, { entries: "array" });
    for (const entry of answer.entries) {
      expectMembers(entry, { seq: "number", entry: "string", hash: "string" });
    }
    yield answer.entries;
    /** @type {number | null} */
    const next = answer.next ?? null;
    if (next !== null && !(next > at)) throw new Failure("The gateway's audit log has no end");
    at = next;
  }
}

/**
 * A member of an entry's text, which is not taken on trust: whoever can break the chain can write anything.
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

// ---- What is printed ----------------------------------------------------------------------------------

/**
 * The gateway's answer, for a script or for a person.
 *
 * @template Answer
 * @param {Options} options
 * @param {Answer} answer
 * @param {(answer: Answer) => string[]} describe
 */
async function report({ json }, answer, describe) {
  await print(json ? [safeJson(answer)] : describe(answer).map(safeText));
}

/**
 * The same for an answer that holds what cannot be had again.
 *
 * @param {Options} options
 * @param {any} answer
 * @param {string} lost - What to do if it could not be shown.
 * @param {() => string[]} describe
 */
async function reportSecret(options, answer, lost, describe) {
  try {
    await report(options, answer, describe);
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    throw new Failure(`${explain(error)}. ${lost}`);
  }
}

/** @param {string} name */
function rotateAdvice(name) {
  return `The key ${name} has a new secret that nobody has seen: give it another with "keys rotate"`;
}

/**
 * @param {any} answer
 * @param {boolean} claim
 */
function deliveryLines(answer, claim) {
  if (claim) {
    expectMembers(answer, { claim_url: "string", claim_expires_at: "string" });
    return claimLines(answer.claim_url, answer.claim_expires_at);
  }
  expectMembers(answer, { api_key: "string" });
  return keyLines(answer.api_key);
}

/** @param {string} key */
function keyLines(key) {
  return ["", key, "", "This key is shown once: the gateway keeps only its digest."];
}

/**
 * @param {string} url
 * @param {string} expires
 */
function claimLines(url, expires) {
  return ["", url, "", `Whoever opens this link first gets the key, until ${moment(expires)}.`];
}

/**
 * @param {string} name
 * @param {string | null} value
 * @param {(text: string) => string} [format]
 * @returns {[string, string][]} Nothing for what is not there.
 */
function optional(name, value, format = String) {
  return value ? [[name, format(value)]] : [];
}

/** @param {string[] | null | undefined} words */
function enumerate(words) {
  return words?.join(", ") || "-";
}

/** @param {string} text - RFC 3339; anything else stays as it is. */
function moment(text) {
  const date = new Date(text);
  if (Number.isNaN(date.getTime())) return String(text);
  return `${date.toISOString().slice(0, 16).replace("T", " ")} UTC`;
}

// ---- The run ------------------------------------------------------------------------------------------

try {
  const argv = process.argv.slice(2);
  refuseKeys(argv, "Set GATEWAY_ADMIN_KEY, or give the operator key by --key-stdin");
  const { command, options } = parseArguments(argv, TABLES);
  await command.run(options);
} catch (error) {
  if (!(error instanceof Failure)) throw error;
  // The message may repeat what another machine has sent.
  note(safeText(error.message));
  process.exitCode = 1;
}
