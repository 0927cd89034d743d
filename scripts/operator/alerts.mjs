// @ts-check
// The commands about alerts: those that hold, and a test of their channels.

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
