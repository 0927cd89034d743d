// @ts-check
// The commands about alerts: those that hold, their last changes, and a test of their channels. The settings of alerts are
// run-time settings: settings.mjs changes them, by the options that are read here.

import { call, expectFields } from "../lib/gateway-client.mjs";
import { table } from "../lib/table.mjs";
import { Failure } from "../lib/terminal.mjs";
import { gatewayOf } from "./connection.mjs";
import { moment, report } from "./report.mjs";

/** @import { Column } from "../lib/table.mjs" */
/** @import { Options } from "../gateway-operator.mjs" */

/** @type {Column<any>[]} */
const ALERTS = [
  { title: "ALERT", cell: ({ alert }) => alert },
  { title: "SUBJECT", most: 48, cell: ({ subject }) => subject || "-" },
  { title: "SINCE", cell: ({ since }) => moment(since) },
  { title: "MESSAGE", most: 100, cell: ({ message }) => message },
];

/**
 * @typedef {object} Change
 * @property {string} at
 * @property {string} alert
 * @property {string} subject
 * @property {string} state
 * @property {string} message
 * @property {{ channel: string, state: string }[]} deliveries
 */

/** @type {Column<Change>[]} */
const CHANGES = [
  { title: "TIME", cell: ({ at }) => moment(at) },
  { title: "ALERT", cell: ({ alert }) => alert },
  { title: "SUBJECT", most: 48, cell: ({ subject }) => subject || "-" },
  { title: "STATE", cell: ({ state }) => state },
  {
    title: "SENT",
    cell: ({ deliveries }) =>
      deliveries.map(({ channel, state }) => `${channel}: ${state}`).join(", ") || "-",
  },
  { title: "MESSAGE", most: 100, cell: ({ message }) => message },
];

/** The value of an option that turns its alert off. */
export const NONE = "none";

/**
 * The settings with the options over them.
 *
 * @param {Record<string, unknown>} settings
 * @param {Options} options
 */
export function changedAlerts(settings, options) {
  const { budgetPercent, keyExpiresDays, providerFailing, errorRatePercent } = options;
  const given = {
    budget_percent: budgetPercent?.filter((share) => share !== NONE),
    key_expires_days: keyExpiresDays,
    provider_failing: providerFailing && providerFailing === "on",
    error_rate_percent: errorRatePercent,
    requests_waiting_hours: options.requestsWaitingHours,
    email: options.email,
  };
  const named = Object.entries(given).filter(([, value]) => value !== undefined);
  const { email, ...all } = { ...settings, ...Object.fromEntries(named) };
  return email === undefined || email === NONE ? all : { ...all, email };
}

/** @param {Options} options */
export async function listAlertChanges(options) {
  const data = await call(await gatewayOf(options), "GET", "/v0/alerts");
  expectFields(data, { changes: "array" });
  await report(options, data.changes, () =>
    data.changes.length > 0 ? table(CHANGES, data.changes) : ["No alert has changed."],
  );
}

/** @param {Options} options */
export async function listAlerts(options) {
  const data = await call(await gatewayOf(options), "GET", "/v0/alerts");
  await report(options, data, () => {
    expectFields(data, { data: "array", channels: "array" });
    const channels = data.channels.filter((/** @type {any} */ one) => one.configured);
    const names = channels.map((/** @type {any} */ one) => one.channel).join(", ");
    return [
      ...(data.data.length > 0 ? table(ALERTS, data.data) : ["No alerts."]),
      "",
      names ? `Alerts are sent by: ${names}.` : "No channel is configured.",
    ];
  });
}

/** @param {Options} options */
export async function testAlerts(options) {
  const data = await call(await gatewayOf(options), "POST", "/v0/alerts/test");
  expectFields(data, { data: "array" });
  /** @type {{ channel: string, delivered: boolean, error: string | null }[]} */
  const results = data.data;
  await report(options, data, () =>
    results.map(({ channel, delivered, error }) =>
      delivered ? `${channel}: delivered` : `${channel}: not delivered: ${error}`,
    ),
  );
  const failed = results.filter(({ delivered }) => !delivered);
  if (failed.length > 0) {
    throw new Failure(
      `${failed.length} of ${results.length} channels did not take the test: check their settings`,
    );
  }
}
