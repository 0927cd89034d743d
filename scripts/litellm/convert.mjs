// @ts-check
// Converts LiteLLM's configuration into the settings of gateway.toml, with a report of the rest.
//
// It reads and writes no file, and does not decide whether the settings are valid: the gateway's own validation does.

import { Failure } from "../lib/terminal.mjs";
import { Deployments } from "./deployments.mjs";
import { isMapping, mapping, MAX_MODELS, number, sequence, text } from "./document.mjs";
import { FIELDS } from "./fields.mjs";
import { Report } from "./report.mjs";

/** @import { BuiltIn, Deployment } from "./deployments.mjs" */
/** @import { Mapping } from "./document.mjs" */
/** @import { Settings } from "./toml.mjs" */
/** @typedef {{ models: string[], weights?: number[] }} Group */

/** The attempts of a call without a setting, and the most that there may be. */
const ATTEMPTS = { usual: 4, most: 10 };
/** The most retries of one lane. */
const MAX_RETRIES = 5;
/** The largest body of a request that `requests.max_held_bytes` allows. */
const MAX_BODY = 41_943_040;
/** The name of the policy with LiteLLM's defaults for keys. */
const POLICY = "litellm-default";

/**
 * @param {Mapping} document
 * @param {{ builtIn: BuiltIn[], catalogue: Set<string> }} tables
 * @returns {{ settings: Settings, report: Report }}
 */
export function convert(document, { builtIn, catalogue }) {
  const report = new Report();
  const [router, litellm, general] = [
    "router_settings",
    "litellm_settings",
    "general_settings",
  ].map((section) => mapping(document, section));
  if (router === undefined || litellm === undefined || general === undefined) {
    throw new Failure("The file has no settings");
  }
  reportFields(report, "", document);
  reportFields(report, "router_settings", router);
  reportFields(report, "litellm_settings", litellm);
  reportFields(report, "general_settings", general);
  const deployments = new Deployments(builtIn, catalogue, report);
  const byName = readModels(document, deployments, report);
  const { aliases, groups } = nameModels(byName, { router, litellm }, deployments, report);
  report.names = Object.keys(aliases).length + Object.keys(groups).length;
  const policy = readPolicy(
    litellm,
    new Set([...Object.keys(aliases), ...Object.keys(groups)]),
    report,
  );
  /** @type {Settings} */
  const settings = {
    ...readRequests(general, report),
    ...readTimeouts(router, litellm, report),
    ...readRouting(router, litellm, report),
    ...readAlerts(general, report),
    ...(policy === undefined
      ? {}
      : { access: { policies: [POLICY] }, policies: { [POLICY]: policy } }),
    aliases,
    groups,
    models: Object.fromEntries(deployments.models),
    providers: Object.fromEntries(
      [...deployments.custom].map(([name, { formats, ...provider }]) => [
        name,
        { ...provider, formats: formats.length > 0 ? formats : ["chat_completions"] },
      ]),
    ),
  };
  return { settings, report };
}

/**
 * Reports the fields of a section that are not converted.
 *
 * @param {Report} report
 * @param {string} section - A key of FIELDS.
 * @param {Mapping} fields
 * @param {string} [path]
 */
function reportFields(report, section, fields, path = section) {
  for (const name of Object.keys(fields)) {
    const known = FIELDS[section]?.[name];
    if (known === true) continue;
    const place = [path, name.slice(0, 60)].filter((part) => part !== "").join(".");
    report.remark(place, known ?? "this field is not known to the converter");
  }
}

/**
 * The deployments of each name that callers use.
 *
 * @param {Mapping} document
 * @param {Deployments} deployments
 * @param {Report} report
 */
function readModels(document, deployments, report) {
  const list = sequence(document, "model_list");
  if (list.length > MAX_MODELS) {
    throw new Failure(`model_list has ${list.length} entries; the limit is ${MAX_MODELS}`);
  }
  /** @type {Map<string, Deployment[]>} */
  const byName = new Map();
  for (const [at, entry] of list.entries()) {
    const path = `model_list[${at}]`;
    const name = isMapping(entry) ? text(entry["model_name"]) : undefined;
    if (!isMapping(entry) || name === undefined) {
      report.remark(path, "it has no model_name");
      continue;
    }
    reportFields(report, "model_list", entry, path);
    for (const section of ["litellm_params", "model_info"]) {
      const fields = entry[section];
      if (isMapping(fields)) reportFields(report, section, fields, `${path}.${section}`);
    }
    const deployment = deployments.add(entry, path);
    if (deployment === undefined) continue;
    const [provider = ""] = deployment.target.split("/");
    if (name.includes("*") || deployment.target.endsWith("/*")) {
      report.remark(
        path,
        `every model of this provider has the name ${provider}/MODEL, without a setting`,
      );
      continue;
    }
    if (name === "auto" || Buffer.byteLength(name) > 512 || /\p{Cc}/u.test(name)) {
      report.remark(
        path,
        "a name must not be 'auto', longer than 512 bytes, or have control characters",
      );
      continue;
    }
    if (deployment.weight !== undefined && deployment.weight <= 0) {
      report.remark(path, "its weight is 0, so it is left out");
      continue;
    }
    byName.set(name, [...(byName.get(name) ?? []), deployment]);
  }
  return byName;
}

/**
 * Aliases for names of one model, and groups for those of several.
 *
 * @param {Map<string, Deployment[]>} byName
 * @param {{ router: Mapping, litellm: Mapping }} sections
 * @param {Deployments} deployments
 * @param {Report} report
 */
function nameModels(byName, { router, litellm }, deployments, report) {
  const { fallbacks, usual } = readFallbacks(router, litellm, report);
  /** @type {Map<string, Group>} */
  const named = new Map();
  for (const [name, list] of byName) {
    const own = groupOf(list);
    const next = (fallbacks.get(name) ?? usual).flatMap((other) => {
      const models = byName.get(other)?.map(({ target }) => target);
      if (models !== undefined) return models;
      const [provider = "", id] = other.split("/");
      if (id !== undefined && deployments.isProvider(provider)) return [other];
      report.remark("fallbacks", "a fallback is not in model_list");
      return [];
    });
    const models = [...new Set([...own.models, ...next])];
    if (models.length > own.models.length && own.weights !== undefined) {
      report.remark(
        `fallbacks of ${name}`,
        "its models are tried in order: a group with fallbacks spreads no load. Without the fallbacks it would have weights",
      );
    }
    named.set(name, models.length > own.models.length ? { models } : own);
  }
  for (const [alias, target] of Object.entries(
    mapping(router, "model_group_alias", "router_settings.model_group_alias"),
  )) {
    const meant = named.get(text(isMapping(target) ? target["model"] : target) ?? "");
    if (meant !== undefined && alias !== "auto" && alias !== "") named.set(alias, meant);
    else report.remark("router_settings.model_group_alias", "an alias leads to no converted name");
  }
  /** @type {Record<string, string>} */
  const aliases = {};
  /** @type {Record<string, Settings>} */
  const groups = {};
  for (const [name, group] of named) {
    const [first = ""] = group.models;
    if (group.models.length > 1) groups[name] = { ...group };
    else if (first !== name) aliases[name] = first;
  }
  return { aliases, groups };
}

/**
 * The models of a name: in order, or with weights, since LiteLLM spreads calls over deployments of one name.
 *
 * @param {Deployment[]} list
 * @returns {Group}
 */
function groupOf(list) {
  const isOrdered = list.some(({ order }) => order !== undefined);
  const sorted = isOrdered
    ? list.toSorted((one, other) => (one.order ?? Infinity) - (other.order ?? Infinity) || 0)
    : list;
  const models = [...new Set(sorted.map(({ target }) => target))];
  if (isOrdered || models.length < 2) return { models };
  const shares = models.map((model) =>
    list
      .filter(({ target }) => target === model)
      .reduce((sum, { weight, rpm }) => sum + (shareOf(list, weight, rpm) ?? 1), 0),
  );
  const most = Math.max(...shares);
  const isExact = shares.every((share) => Number.isInteger(share) && share <= 1000);
  const weights = shares.map((share) =>
    isExact ? share : Math.max(1, Math.round((share / most) * 1000)),
  );
  return { models, weights };
}

/**
 * The share of a deployment, as LiteLLM's simple-shuffle has it: its weight, or its requests per minute.
 *
 * @param {Deployment[]} list
 * @param {number | undefined} weight
 * @param {number | undefined} rpm
 */
function shareOf(list, weight, rpm) {
  if (list.some((one) => one.weight !== undefined)) return weight;
  return list.every((one) => one.rpm !== undefined && one.rpm > 0) ? rpm : undefined;
}

/**
 * The names to try after each name, and after all others.
 *
 * @param {Mapping} router
 * @param {Mapping} litellm
 * @param {Report} report
 */
function readFallbacks(router, litellm, report) {
  /** @type {Map<string, string[]>} */
  const fallbacks = new Map();
  /** @type {string[]} */
  const usual = [];
  for (const [section, fields] of /** @type {[string, Mapping][]} */ ([
    ["router_settings", router],
    ["litellm_settings", litellm],
  ])) {
    // The gateway itself goes on to a longer model, so both kinds are one list.
    for (const kind of ["fallbacks", "context_window_fallbacks"]) {
      for (const one of sequence(fields, kind, `${section}.${kind}`)) {
        for (const [name, list] of Object.entries(isMapping(one) ? one : {})) {
          const names = (Array.isArray(list) ? list : [list]).flatMap((other) => text(other) ?? []);
          if (name === "*") usual.push(...names);
          else fallbacks.set(name, [...(fallbacks.get(name) ?? []), ...names]);
        }
      }
    }
    const all = sequence(fields, "default_fallbacks", `${section}.default_fallbacks`);
    usual.push(...all.flatMap((other) => text(other) ?? []));
  }
  if (usual.length > 0)
    report.remark("default_fallbacks", "added to each group without fallbacks of its own");
  return { fallbacks, usual };
}

/** @param {Mapping} general @param {Report} report @returns {Settings} */
function readRequests(general, report) {
  const size = number(general["max_request_size_mb"]);
  if (size === undefined || size <= 0) return {};
  const bytes = Math.round(size * 1024 * 1024);
  if (bytes <= MAX_BODY) return { requests: { max_body_bytes: bytes } };
  report.remark(
    "general_settings.max_request_size_mb",
    `a body has at most ${MAX_BODY} bytes, because an isolate has 128 MB`,
  );
  return { requests: { max_body_bytes: MAX_BODY } };
}

/** @param {Mapping} router @param {Mapping} litellm @param {Report} report @returns {Settings} */
function readTimeouts(router, litellm, report) {
  /** @type {Settings} */
  const timeouts = {};
  /** @param {string} setting @param {string} place @param {unknown} value */
  const set = (setting, place, value) => {
    const seconds = number(value);
    if (seconds === undefined) return;
    const ms = Math.round(seconds * 1000);
    if (ms > 0 && ms < 2 ** 32) timeouts[setting] = ms;
    else report.remark(place, "it must be a number of seconds greater than 0");
  };
  set("total_ms", "litellm_settings.request_timeout", litellm["request_timeout"]);
  set("total_ms", "router_settings.timeout", router["timeout"]);
  set("stream_first_byte_ms", "router_settings.stream_timeout", router["stream_timeout"]);
  return Object.keys(timeouts).length > 0 ? { timeouts } : {};
}

/** @param {Mapping} router @param {Mapping} litellm @param {Report} report @returns {Settings} */
function readRouting(router, litellm, report) {
  const strategy = text(router["routing_strategy"]);
  if (strategy !== undefined && strategy !== "simple-shuffle") {
    report.remark(
      "router_settings.routing_strategy",
      "a group is tried in order or by weight; callers choose by provider.sort (price, latency), and `auto` by success, speed, price and remaining limits",
    );
  }
  const given = router["num_retries"] ?? litellm["num_retries"];
  if (given === undefined || given === null) return {};
  const retries = number(given);
  if (retries === undefined || !Number.isInteger(retries) || retries < 0) {
    report.remark("num_retries", "it must be a whole number, not below 0");
    return {};
  }
  return {
    routing: {
      retries: Math.min(retries, MAX_RETRIES),
      max_attempts: Math.min(Math.max(retries + 1, ATTEMPTS.usual), ATTEMPTS.most),
    },
  };
}

/** @param {Mapping} general @param {Report} report @returns {Settings} */
function readAlerts(general, report) {
  const channels = sequence(general, "alerting", "general_settings.alerting");
  if (channels.length === 0) return {};
  for (const channel of channels) {
    if (channel === "slack") report.secret("GATEWAY_SLACK_URL", "the value of SLACK_WEBHOOK_URL");
    else
      report.remark(
        "general_settings.alerting",
        "alerts go to a signed webhook, to Slack, or by e-mail: see [alerts]",
      );
  }
  return { alerts: { budget_percent: [80, 100], provider_failing: true } };
}

/** LiteLLM's limits of new keys, and the limits here. @type {[string, string][]} */
const LIMITS = [
  ["rpm_limit", "requests_per_minute"],
  ["tpm_limit", "tokens_per_minute"],
  ["max_parallel_requests", "concurrent"],
];

/**
 * The policy with LiteLLM's defaults for new keys.
 *
 * @param {Mapping} litellm
 * @param {Set<string>} names - The names of aliases and groups.
 * @param {Report} report
 * @returns {Settings | undefined}
 */
function readPolicy(litellm, names, report) {
  const path = "litellm_settings.default_key_generate_params";
  const params = mapping(litellm, "default_key_generate_params", path);
  /** @type {Settings} */
  const limits = {};
  /** @type {Settings} */
  const policy = {};
  for (const [field, limit] of LIMITS) {
    const amount = number(params[field]);
    if (amount === undefined) continue;
    if (Number.isInteger(amount) && amount > 0 && amount < 2 ** 32) limits[limit] = amount;
    else report.remark(`${path}.${field}`, "it must be a whole number greater than 0");
  }
  const budget = number(params["max_budget"]);
  if (budget !== undefined && budget > 0) {
    const days = daysOf(text(params["budget_duration"]));
    const limit = days === undefined ? "usd_total" : days === 1 ? "usd_per_day" : "usd_per_month";
    limits[limit] = Math.round(budget * 1e6) / 1e6;
    if (days !== undefined && days !== 1) {
      report.remark(`${path}.budget_duration`, "the budget is per calendar month (UTC)");
    }
  }
  const models = sequence(params, "models", `${path}.models`).flatMap((one) => text(one) ?? []);
  const known = models.filter((name) => names.has(name));
  if (known.length < models.length)
    report.remark(`${path}.models`, "a model is not in model_list, so it is left out");
  if (known.length > 0) policy["models"] = known;
  const days = daysOf(text(params["duration"]));
  if (days !== undefined) policy["expires_days"] = days;
  const read = [
    ...LIMITS.map(([field]) => field),
    "max_budget",
    "budget_duration",
    "models",
    "duration",
  ];
  for (const field of Object.keys(params).filter((name) => !read.includes(name))) {
    report.remark(`${path}.${field.slice(0, 60)}`, "policies have no such field");
  }
  if (Object.keys(limits).length > 0) policy["limits"] = limits;
  return Object.keys(policy).length > 0 ? policy : undefined;
}

/**
 * The days of a duration as LiteLLM writes it (`24h`, `30d`, `1mo`); at least 1.
 *
 * @param {string | undefined} duration
 */
function daysOf(duration) {
  const [, count = "", unit = ""] = /^(\d+)(s|m|h|d|w|mo)$/.exec(duration ?? "") ?? [];
  const days = { s: 1 / 86_400, m: 1 / 1_440, h: 1 / 24, d: 1, w: 7, mo: 30 }[unit];
  return days === undefined
    ? undefined
    : Math.min(Math.max(1, Math.round(Number(count) * days)), 36_500);
}
