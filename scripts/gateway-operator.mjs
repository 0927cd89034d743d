#!/usr/bin/env node
// @ts-check
// The operator's command line: key requests, issued keys, run-time settings and the audit log of a running gateway, over
// its HTTP API. Run it with --help for its usage.
//
// It stores nothing: no key, no list, no settings. It does not validate requests or keys either: the gateway
// does, and its messages are shown unchanged. Static keys, which are in a Worker secret and not in the gateway's
// database, are managed by gateway-key-ring.mjs.

import { action, createProgram, option, runProgram } from "./lib/command-line.mjs";
import { refuseKeys } from "./lib/key-input.mjs";
import { OPERATOR_COMMAND } from "./lib/installation.mjs";
import { DEFAULT_URL } from "./operator/connection.mjs";
import { UsageError } from "./lib/terminal.mjs";
import { listAlertChanges, listAlerts, NONE, testAlerts } from "./operator/alerts.mjs";
import { listAudit, verifyAudit } from "./operator/audit.mjs";
import { listCalls, showCall, showUsage } from "./operator/usage.mjs";
import {
  createKey,
  disableKey,
  enableKey,
  listKeys,
  revokeKey,
  rotateKey,
  setKey,
  showKey,
} from "./operator/keys.mjs";
import { coolDownLane, listLanes, listProviders, resumeLane } from "./operator/lanes.mjs";
import { completion } from "./operator/completion.mjs";
import { addExamples } from "./operator/examples.mjs";
import { limitOptions } from "./operator/limits.mjs";
import {
  addProviderKey,
  deleteProviderKey,
  disableProviderKey,
  enableProviderKey,
  encryptProviderKeys,
  listProviderKeys,
  setProviderKey,
  testProviderKey,
  testProviders,
} from "./operator/provider-keys.mjs";
import {
  approveRequest,
  declineRequest,
  deleteRequest,
  listRequests,
  showRequest,
} from "./operator/requests.mjs";
import { selfTest } from "./operator/self-test.mjs";
import {
  editSetting,
  listSettings,
  readMember,
  removeSetting,
  setSetting,
  showConfig,
  showSetting,
} from "./operator/settings.mjs";

/**
 * @typedef {object} Options
 * @property {string} [url]
 * @property {boolean} [insecure]
 * @property {boolean} [keyStdin]
 * @property {number} [timeout]
 * @property {boolean} [json]
 * @property {string} id
 * @property {boolean} [pending]
 * @property {boolean} [approved]
 * @property {boolean} [declined]
 * @property {string} [reason]
 * @property {string} name
 * @property {string[]} [policy]
 * @property {string[]} [model]
 * @property {string[]} [endpoint]
 * @property {[string, string][]} [metadata]
 * @property {string} [expiresAt]
 * @property {boolean} [claim]
 * @property {boolean | string} [email] - Of alerts, the recipient.
 * @property {number} [overlap]
 * @property {number} [after]
 * @property {string} [head]
 * @property {boolean} [yes]
 * @property {boolean} [dryRun]
 * @property {boolean} [all]
 * @property {number} [seconds]
 * @property {string} [role]
 * @property {string} [target]
 * @property {string} [description]
 * @property {any} [weight] - A number; of a group, one for each model.
 * @property {any} [provider]
 * @property {string} [label]
 * @property {boolean} [spend]
 * @property {string} shell
 * @property {number} [expiresDays]
 * @property {[string, unknown][]} [set]
 * @property {string} [by]
 * @property {string} [bucket]
 * @property {string} [from]
 * @property {string} [to]
 * @property {string} [key]
 * @property {string} [project]
 * @property {string} [operation]
 * @property {string} [code]
 * @property {number} [status]
 * @property {number} [limit]
 * @property {boolean} [failed]
 * @property {boolean} [csv]
 * @property {(number | string)[]} [budgetPercent]
 * @property {number} [keyExpiresDays]
 * @property {"on" | "off"} [providerFailing]
 * @property {number} [errorRatePercent]
 * @property {number} [requestsWaitingHours]
 */

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
  throw new UsageError(`--${option} must be an integer from ${least} to ${most}`);
}

/** @param {string} text */
function readTime(text) {
  const form = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/;
  if (form.test(text) && !Number.isNaN(Date.parse(text))) return text;
  throw new UsageError("--expires-at must be a time such as 2027-01-31T00:00:00Z");
}

/** @param {string} text */
function readPair(text) {
  const [, name, value] = /^([^=]+)=([^]*)$/.exec(text) ?? [];
  if (name !== undefined) return [name, value];
  throw new UsageError("--metadata must be NAME=TEXT");
}

/** @param {string} text */
function readHash(text) {
  const hash = text.toLowerCase();
  if (/^[0-9a-f]{64}$/.test(hash)) return hash;
  throw new UsageError("--head must be a hash of 64 hex digits, as audit verify prints it");
}

// ---- The command line ---------------------------------------------------------------------------------

const program = createProgram(OPERATOR_COMMAND)
  .description("Manages the key requests, keys, settings and audit log of a running gateway.")
  .addOption(
    option("--url URL", `address of the gateway (default: GATEWAY_URL, else ${DEFAULT_URL})`),
  )
  .addOption(
    option("--key-stdin", "read the operator key from standard input instead of GATEWAY_ADMIN_KEY"),
  )
  .addOption(
    option("--insecure", "allow http to another machine: the operator key is sent unencrypted"),
  )
  .addOption(
    option("--timeout SECONDS", "time limit for each response (default: 30)", {
      read: (text) => readInteger("timeout", text, 1, 300),
    }),
  )
  .addOption(option("--json", "print the gateway's JSON, for scripts"))
  .addOption(option("--yes", "do not ask before a change that loses something"))
  .addHelpText(
    "after",
    `
Write -- before a name that begins with a dash, as in: keys revoke -- -name

Environment:
  GATEWAY_ADMIN_KEY  an operator key; it is never an argument
  GATEWAY_URL        the gateway, unless --url names another`,
  );

const policy = option("--policy NAME", "policy of the key", { multiple: true });
const expiresAt = option("--expires-at TIME", "expiry of the key, such as 2027-01-31T00:00:00Z", {
  read: readTime,
});
const claim = option("--claim", "create a one-time link that shows the key");
const model = option("--model PATTERN", "allowed models: provider/model, provider/* or an alias", {
  multiple: true,
});
const endpoint = option("--endpoint PATH", "allowed endpoint, such as /v1/chat/completions", {
  multiple: true,
});
const metadata = option("--metadata NAME=TEXT", "note on the key", {
  multiple: true,
  read: readPair,
});

const requests = program.command("requests").description("key requests");
requests
  .command("list")
  .description("list the requests, newest first")
  .addOption(
    option("--pending", "only undecided requests", { conflicts: ["approved", "declined"] }),
  )
  .addOption(option("--approved", "only approved requests", { conflicts: ["declined"] }))
  .addOption(option("--declined", "only declined requests"))
  .action(action(listRequests));
requests.command("show <ID>").description("show one request").action(action(showRequest));
requests
  .command("approve <ID>")
  .description("issue a key for a request and print it once, or raise the limits that it asks for")
  .addOption(option("--name NAME", "name of the key (default: the id of the request)"))
  .addOption(policy)
  .addOption(expiresAt)
  .addOption(claim)
  .addOption(
    option("--email", "send such a link to the applicant by e-mail", { conflicts: ["claim"] }),
  )
  .action(action(approveRequest));
requests
  .command("decline <ID>")
  .description("decline a request")
  .addOption(option("--reason TEXT", "reason, stored with the request"))
  .action(action(declineRequest));
requests
  .command("delete <ID>")
  .description("delete a request; a key that was issued for it stays")
  .action(action(deleteRequest));

const keys = program.command("keys").description("issued keys");
keys
  .command("create")
  .description("issue a key without a request and print it once")
  .addOption(option("--name NAME", "name of the key: letters, digits, _ and -", { required: true }))
  .addOption(policy)
  .addOption(model)
  .addOption(endpoint)
  .addOption(metadata)
  .addOption(option("--role ROLE", "read (default) or write; it has no effect"))
  .addOption(expiresAt)
  .addOption(claim)
  .action(action(createKey));
keys.command("list").description("list the issued keys").action(action(listKeys));
keys
  .command("show <NAME>")
  .description("show one key, without its secrets")
  .action(action(showKey));
keys
  .command("set <NAME>")
  .description("change the limits, policies and lists of a key")
  .addOption(policy)
  .addOption(model)
  .addOption(endpoint)
  .addOption(metadata)
  .addOption(expiresAt)
  .action(action(setKey));
keys.command("disable <NAME>").description("disable a key").action(action(disableKey));
keys.command("enable <NAME>").description("enable a disabled key").action(action(enableKey));
keys
  .command("rotate <NAME>")
  .description("issue a new secret for a key and print it once")
  .addOption(
    option(
      "--overlap SECONDS",
      "time for which the old secret keeps working (default: the gateway's, 3600)",
      { read: (text) => readInteger("overlap", text, 0, 2_592_000) },
    ),
  )
  .addOption(claim)
  .action(action(rotateKey));
keys.command("revoke <NAME>").description("revoke a key permanently").action(action(revokeKey));

const dryRun = option("--dry-run", "change nothing, and show what would change");
const set = option("--set FIELD=VALUE", "a field of the entry, as JSON or as text", {
  multiple: true,
  read: readMember,
});

/**
 * The commands of a table of settings.
 *
 * @param {import("./operator/settings.mjs").Table} name
 * @param {string} operands of `set`
 * @param {string} description
 * @param {ReturnType<typeof option>[]} options of `set`
 */
function settings(name, operands, description, options) {
  const group = program.command(name).description(description);
  group
    .command("list")
    .description("list the entries")
    .action(action(listSettings(name)));
  group
    .command("show <NAME>")
    .description("show one entry")
    .action(action(showSetting(name)));
  const setter = group.command(`set ${operands}`).description("change fields of an entry");
  for (const one of [...options, set, dryRun]) setter.addOption(one);
  setter.action(action(setSetting(name)));
  group
    .command("edit <NAME>")
    .description("change an entry in the editor of VISUAL or EDITOR")
    .addOption(dryRun)
    .action(action(editSetting(name)));
  group
    .command("remove <NAME>")
    .description("remove a run-time setting; the entry of gateway.toml applies again, if any")
    .addOption(dryRun)
    .action(action(removeSetting(name)));
}

settings("policies", "<NAME>", "policies of keys", [
  option("--description TEXT", "description for people"),
  model,
  endpoint,
  option("--expires-days DAYS", "lifetime of a key", {
    read: (text) => readInteger("expires-days", text, 1, 36_500),
  }),
  ...limitOptions(),
]);
settings("aliases", "<NAME> <TARGET>", "names for models", []);
settings("groups", "<NAME>", "names for several models", [
  option("--model MODEL", "provider/model, in the order in which they are tried", {
    multiple: true,
  }),
  option("--weight NUMBER", "weight of the model in the same place", {
    multiple: true,
    read: (text) => readInteger("weight", text, 1, 1000),
  }),
]);
settings("models", "<NAME>", "facts about models that override the catalogue", []);
program
  .command("config")
  .description("effective configuration, with sources")
  .action(action(showConfig));

const providers = program.command("providers").description("providers");
providers
  .command("list")
  .description("list the active providers with the failures of the last day and their last errors")
  .addOption(option("--all", "also providers that are not configured"))
  .action(action(listProviders));
const trialModel = option("--model MODEL", "model to call (default: the cheapest)");
providers
  .command("test [PROVIDER]")
  .description("send one small request with each key of a provider, or of all")
  .addOption(trialModel)
  .action(action(testProviders));
const providerKeys = providers
  .command("keys")
  .description("keys of providers, in the gateway's database and in Worker secrets");
const label = option("--label TEXT", "name of the key, for people");
const weight = option("--weight NUMBER", "share of the calls, relative to the other keys", {
  read: (text) => readInteger("weight", text, 1, 1000),
});
providerKeys
  .command("list [PROVIDER]")
  .description("list the keys, masked")
  .action(action(listProviderKeys));
providerKeys
  .command("add <PROVIDER>")
  .description("add the key on standard input")
  .addOption(label)
  .addOption(weight)
  .action(action(addProviderKey));
providerKeys
  .command("set <PROVIDER> <ID>")
  .description("change the label or the weight of a key")
  .addOption(label)
  .addOption(weight)
  .action(action(setProviderKey));
for (const [name, description, run] of /** @type {const} */ ([
  ["test", "send one small request with a key", testProviderKey],
  ["disable", "send no call with a key", disableProviderKey],
  ["enable", "enable a disabled key", enableProviderKey],
  ["delete", "delete a key permanently", deleteProviderKey],
])) {
  const command = providerKeys.command(`${name} <PROVIDER> <ID>`).description(description);
  if (name === "test") command.addOption(trialModel);
  command.action(action(run));
}
providerKeys
  .command("encrypt")
  .description("encrypt all keys again, after a change of the master key")
  .action(action(encryptProviderKeys));
const lanes = program
  .command("lanes")
  .description("lanes: each model of a provider, with each of its keys");
lanes
  .command("list")
  .description("list the lanes in use with their last errors")
  .action(action(listLanes));
lanes
  .command("cooldown <ID>")
  .description("send no call to a lane for some time")
  .addOption(
    option("--seconds SECONDS", "length of the cooldown (default: the gateway's, 3600)", {
      read: (text) => readInteger("seconds", text, 1, 2_592_000),
    }),
  )
  .action(action(coolDownLane));
lanes.command("resume <ID>").description("end the cooldown of a lane").action(action(resumeLane));

/**
 * Adds the options that choose calls: a range of time and properties.
 *
 * @param {ReturnType<typeof program.command>} command
 */
function choosing(command) {
  return command
    .addOption(option("--from TIME", "beginning: a date, or 2026-11-30T14:00:00Z (UTC)"))
    .addOption(option("--to TIME", "end, which is not included (default: now)"))
    .addOption(option("--key NAME", "only a key: name, id or ring:LABEL"))
    .addOption(option("--project PROJECT", "only a project"))
    .addOption(option("--model MODEL", "only a model: provider/model"))
    .addOption(option("--provider PROVIDER", "only a provider"))
    .addOption(option("--operation OPERATION", "only an operation, such as chat/completions"));
}

/**
 * @param {string} flag
 * @param {string[]} choices
 */
function readChoice(flag, choices) {
  return (/** @type {string} */ text) => {
    if (choices.includes(text)) return text;
    throw new UsageError(`--${flag} must be one of: ${choices.join(", ")}`);
  };
}

choosing(program.command("usage").description("usage and cost of all keys"))
  .addOption(
    option("--by PROPERTY", "key, project, model, provider or operation (default: key)", {
      read: readChoice("by", ["key", "project", "model", "provider", "operation"]),
    }),
  )
  .addOption(
    option("--bucket SPAN", "hour or day (default: the whole range)", {
      read: readChoice("bucket", ["hour", "day"]),
    }),
  )
  .addOption(option("--csv", "print CSV"))
  .action(action(showUsage));

const calls = choosing(program.command("calls").description("recent calls of all keys"))
  .addOption(option("--failed", "only calls without a complete response"))
  .addOption(
    option("--status STATUS", "only calls with this HTTP status", {
      read: (text) => readInteger("status", text, 100, 599),
    }),
  )
  .addOption(option("--code CODE", "only calls with this error code"))
  .addOption(
    option("--limit NUMBER", "number of calls (default: 50)", {
      read: (text) => readInteger("limit", text, 1, 10_000),
    }),
  )
  .action(action(listCalls));
calls
  .command("show <ID>")
  .description("show one call with its attempts, by its receipt or request id")
  .action(action(showCall));

const alerts = program.command("alerts").description("alerts");
alerts.command("list").description("list the alerts that hold").action(action(listAlerts));
alerts
  .command("history")
  .description("list the last changes of alerts, and where they were sent")
  .action(action(listAlertChanges));
alerts
  .command("settings")
  .description("show the settings of alerts")
  .action(action(showSetting("alerts")));
const alertSetter = alerts.command("set").description("change settings of alerts");
for (const one of [
  option("--budget-percent PERCENT", `used share of limits; "${NONE}": no alert`, {
    multiple: true,
    read: (text) => (text === NONE ? NONE : readInteger("budget-percent", text, 1, 100)),
  }),
  option("--key-expires-days DAYS", "days before a key expires; 0: no alert", {
    read: (text) => readInteger("key-expires-days", text, 0, 365),
  }),
  option("--provider-failing STATE", "when almost every call to a provider fails: on or off", {
    read: readChoice("provider-failing", ["on", "off"]),
  }),
  option("--error-rate-percent PERCENT", "share of failed calls to a provider; 0: no alert", {
    read: (text) => readInteger("error-rate-percent", text, 0, 100),
  }),
  option("--requests-waiting-hours HOURS", "age of a pending key request; 0: no alert", {
    read: (text) => readInteger("requests-waiting-hours", text, 0, 8760),
  }),
  option("--email ADDRESS", `recipient of alerts by e-mail; "${NONE}" removes it`),
  set,
  dryRun,
]) {
  alertSetter.addOption(one);
}
alertSetter.action(action(setSetting("alerts")));
alerts
  .command("edit")
  .description("change the settings in the editor of VISUAL or EDITOR")
  .addOption(dryRun)
  .action(action(editSetting("alerts")));
alerts
  .command("reset")
  .description("remove the run-time settings of alerts; those of gateway.toml apply again")
  .addOption(dryRun)
  .action(action(removeSetting("alerts")));
alerts
  .command("test")
  .description("send a test on each channel of alerts")
  .action(action(testAlerts));

const audit = program.command("audit").description("audit log");
audit
  .command("list")
  .description("list the entries, oldest first")
  .addOption(
    option("--after SEQ", "only entries after this one", {
      read: (text) => readInteger("after", text, 0, Number.MAX_SAFE_INTEGER),
    }),
  )
  .action(action(listAudit));
audit
  .command("verify")
  .description("download the log and verify its hash chain locally")
  .addOption(
    option("--head HASH", "head printed by an earlier run, which the log must still contain", {
      read: readHash,
    }),
  )
  .action(action(verifyAudit));

program
  .command("selftest")
  .description("check the deployment, and say what to fix")
  .addOption(option("--spend", "also call each active provider, which costs a few cents at most"))
  .action(action(selfTest));
program
  .command("completion <SHELL>")
  .description("print a script that completes commands in bash, zsh or fish")
  .action(action(completion(program)));

for (const [group, name] of /** @type {const} */ ([
  [keys, "create"],
  [keys, "set"],
  [requests, "approve"],
])) {
  const command = group.commands.find((one) => one.name() === name);
  for (const one of limitOptions()) command?.addOption(one);
}

addExamples(program);

await runProgram(program, (argv) =>
  refuseKeys(argv, "Set GATEWAY_ADMIN_KEY, or pass the operator key by --key-stdin"),
);
