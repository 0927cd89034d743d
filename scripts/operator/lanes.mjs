// @ts-check
// The commands about providers and lanes: the last errors, and cooldowns that an operator decides.

import { call, expectFields } from "../lib/gateway-client.mjs";
import { table } from "../lib/table.mjs";
import { gatewayOf } from "./connection.mjs";
import { moment, report } from "./report.mjs";

/** @import { Column } from "../lib/table.mjs" */
/** @import { Options } from "../gateway-operator.mjs" */

/** @typedef {{ lane: string, at: string, class: string, status: number, code: string | null, message: string }} LastError */
/** @typedef {{ until: string, reason: string } | null} Cooldown */

/** @param {LastError | null} error */
const describeError = (error) =>
  error
    ? `${moment(error.at)} ${error.status} ${error.code ?? error.class}: ${error.message}`
    : "-";

/** @param {Cooldown} cooldown */
const describeCooldown = (cooldown) =>
  cooldown ? `${cooldown.reason} until ${moment(cooldown.until)}` : "-";

/** @type {Column<any>[]} */
const PROVIDERS = [
  { title: "PROVIDER", cell: ({ name }) => name },
  { title: "STATE", most: 40, cell: (one) => (one.active ? "active" : one.inactive_reason) },
  { title: "KEYS", cell: ({ keys }) => String(keys.length) },
  { title: "ATTEMPTS 24 H", cell: (one) => lastDay(one).attempts },
  { title: "FAILED 24 H", cell: (one) => lastDay(one).failed },
  { title: "P95", cell: (one) => lastDay(one).p95 },
  { title: "LAST ERROR", most: 90, cell: (one) => describeError(one.last_error) },
];

/**
 * The attempts of the last day; the request asks for them as one step or two.
 *
 * @param {any} one
 */
function lastDay({ history }) {
  /** @type {any[]} */
  const steps = history ?? [];
  const sum = (/** @type {string} */ name) => steps.reduce((all, step) => all + step[name], 0);
  const [attempts, failures] = [sum("attempts"), sum("failures")];
  const p95 = Math.max(...steps.map((step) => step.p95_ms ?? 0), 0);
  return {
    attempts: String(attempts),
    failed: attempts > 0 ? `${failures} (${percent(failures / attempts)})` : "-",
    p95: p95 > 0 ? `${p95} ms` : "-",
  };
}

/** @type {Column<any>[]} */
const LANES = [
  { title: "LANE", cell: ({ id }) => id },
  { title: "COOLDOWN", cell: ({ cooldown }) => describeCooldown(cooldown) },
  { title: "ATTEMPTS", cell: ({ attempts }) => String(attempts) },
  { title: "SUCCESS", cell: (one) => percent(one.success_rate) },
  { title: "LAST ERROR", most: 90, cell: (one) => describeError(one.last_error) },
];

/** @param {number | null} share */
const percent = (share) => (share === null ? "-" : `${(share * 100).toFixed(1)} %`);

/** @param {Options} options */
export async function listProviders(options) {
  const data = await call(await gatewayOf(options), "GET", "/v0/providers?minutes=1440&step=1440");
  await report(options, data, (/** @type {any[]} */ providers) => {
    expectFields({ providers }, { providers: "array" });
    // A deployment uses few of the providers that the gateway knows.
    const shown = options.all ? providers : providers.filter((one) => one.active);
    return shown.length > 0 ? table(PROVIDERS, shown) : ["No active providers."];
  });
}

/** @param {Options} options */
export async function listLanes(options) {
  const data = await call(await gatewayOf(options), "GET", "/v0/lanes");
  await report(options, data, (/** @type {any[]} */ lanes) => {
    expectFields({ lanes }, { lanes: "array" });
    return lanes.length > 0 ? table(LANES, lanes) : ["No lane has been used."];
  });
}

/** @param {Options} options */
export async function coolDownLane(options) {
  const { id, seconds } = options;
  const body = seconds === undefined ? {} : { seconds };
  const data = await call(await gatewayOf(options), "POST", lanePath(id, "cooldown"), body);
  await report(options, data, () => {
    expectFields(data, { id: "string", cooldown_until: "string" });
    return [`No call is sent to ${id} until ${moment(data.cooldown_until)}.`];
  });
}

/** @param {Options} options */
export async function resumeLane(options) {
  const data = await call(await gatewayOf(options), "POST", lanePath(options.id, "resume"));
  await report(options, data, () => [`${options.id} is available again.`]);
}

/**
 * @param {string} id
 * @param {string} action
 */
const lanePath = (id, action) => `/v0/lanes/${encodeURIComponent(id)}/${action}`;
