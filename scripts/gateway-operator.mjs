#!/usr/bin/env node
// @ts-check
// The operator's command line: key requests, issued keys and the audit log of a running gateway, over its
// HTTP API. Run it without arguments for its usage.
//
// It keeps nothing: no key, no list, no settings. It decides nothing either: what a request or a key may
// become is the gateway's to judge, in words that are shown as they come. Static keys, which live in a
// Worker secret and not in the gateway's database, are those of gateway-key-ring.mjs.

import { helpLines, parseArguments } from "./lib/arguments.mjs";
import { refuseKeys } from "./lib/key-input.mjs";
import { safeText } from "./lib/safe-text.mjs";
import { Failure, note, print } from "./lib/terminal.mjs";
import { listAudit, verifyAudit } from "./operator/audit.mjs";
import {
  createKey,
  disableKey,
  enableKey,
  listKeys,
  revokeKey,
  rotateKey,
  showKey,
} from "./operator/keys.mjs";
import {
  approveRequest,
  declineRequest,
  deleteRequest,
  listRequests,
  showRequest,
} from "./operator/requests.mjs";

/** @import { Command, OptionSpec, Tables } from "./lib/arguments.mjs" */

const THIS_SCRIPT = "node scripts/gateway-operator.mjs";
const DEFAULT_URL = "http://localhost:8787";

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
