// @ts-check
// The commands about requests for keys: list, show, approve, decline, delete.

import { call, expectFields, segment } from "../lib/gateway-client.mjs";
import { details, table } from "../lib/table.mjs";
import { Failure } from "../lib/terminal.mjs";
import { gatewayOf } from "./connection.mjs";
import { changedLimits, describeLimits } from "./limits.mjs";
import {
  claimLines,
  enumerate,
  EVERYWHERE,
  keyLines,
  moment,
  optional,
  report,
  reportSecret,
} from "./report.mjs";

/** @import { Column } from "../lib/table.mjs" */
/** @import { Options } from "../gateway-operator.mjs" */

/**
 * A key request.
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
 * @property {{ key_name: string, limits: Record<string, number>, current: Record<string, number> }} [increase]
 */

/** @type {Column<KeyRequest>[]} */
const REQUEST_COLUMNS = [
  { title: "ID", cell: ({ id }) => id },
  { title: "STATE", cell: ({ state }) => state },
  { title: "EMAIL", most: 48, cell: emailOf },
  { title: "RECEIVED", cell: (request) => moment(request.date_created) },
  { title: "POLICIES", most: 32, cell: (request) => enumerate(request.apply_policies) },
  { title: "USE CASE", most: 60, cell: purposeOf },
];

/** @param {Options} options */
export async function listRequests(options) {
  const { pending, approved, declined } = options;
  const filter = pending
    ? "&approved=false"
    : approved
      ? "&approved=true"
      : declined
        ? "&declined=true"
        : "";
  const gateway = await gatewayOf(options);
  // By id, because a request that arrives meanwhile moves the last one of a page to the next page.
  /** @type {Map<string, KeyRequest>} */
  const requests = new Map();
  for (let page = 1, pages = 1; page <= pages; page += 1) {
    const data = await call(gateway, "GET", `/api/portal/requests?p=${page}${filter}`);
    expectFields(data, { Data: "array", Pages: "number" });
    if (data.Data.length === 0) break;
    for (const request of data.Data) {
      expectFields(request, { id: "string" });
      requests.set(request.id, request);
    }
    pages = data.Pages;
  }
  await report(options, [...requests.values()], (rows) =>
    rows.length > 0 ? table(REQUEST_COLUMNS, rows) : ["No requests."],
  );
}

/** @param {Options} options */
export async function showRequest(options) {
  const data = await call(await gatewayOf(options), "GET", requestPath(options.id));
  await report(options, data, (/** @type {KeyRequest} */ request) => {
    expectFields(request, { id: "string", state: "string" });
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
        ...optional("for the key", request.increase?.key_name),
        ...optional("wanted", request.increase?.limits, describeLimits),
        ...optional("now", request.increase?.current, describeLimits),
      ]),
      // Indented and under a heading, since the applicant chose the names of these fields too.
      ...(fields.length > 0 ? ["", "Fields:"] : []),
      ...details(fields).map((line) => `  ${line}`),
    ];
  });
}

/** @param {Options} options */
export async function approveRequest(options) {
  const { id, policy, claim, email } = options;
  const limits = changedLimits({}, options);
  const body = {
    delivery: claim ? "claim" : email ? "email" : "key",
    ...(options.name ? { name: options.name } : {}),
    ...(limits ? { limits } : {}),
    ...(policy ? { apply_policies: policy } : {}),
    ...(options.expiresAt ? { expires_at: options.expiresAt } : {}),
  };
  const path = `/api/portal/requests/approve/${segment(id)}`;
  const data = await call(await gatewayOf(options), "PUT", path, body);
  const lost = `The request is approved: find its key with "keys list" and give it a new secret with "keys rotate"`;
  await reportSecret(options, data, lost, () => {
    const done = `Approved ${id}.`;
    // A request for higher limits.
    if (data?.Status === "OK") return [`${done} The higher limits apply ${EVERYWHERE}.`];
    if (claim || data?.EmailError !== undefined) {
      expectFields(data, { ClaimURL: "string", ExpiresAt: "string" });
      return [done, ...claimLines(data.ClaimURL, data.ExpiresAt)];
    }
    if (email) {
      expectFields(data, { SentTo: "string", ExpiresAt: "string" });
      const until = moment(data.ExpiresAt);
      return [
        done,
        `A link that shows the key once was sent to ${data.SentTo}, for use until ${until}.`,
      ];
    }
    expectFields(data, { RawKey: "string" });
    return [done, ...keyLines(data.RawKey)];
  });
  if (data?.EmailError !== undefined) {
    throw new Failure(
      `The request is approved, but the mail was not sent: ${data.EmailError}. Hand over the link yourself`,
    );
  }
}

/** @param {Options} options */
export async function declineRequest(options) {
  const { id, reason } = options;
  const path = `/api/portal/requests/decline/${segment(id)}`;
  const data = await call(await gatewayOf(options), "PUT", path, reason ? { reason } : {});
  await report(options, data, () => [`Declined ${id}.`]);
}

/** @param {Options} options */
export async function deleteRequest(options) {
  const { id } = options;
  const data = await call(await gatewayOf(options), "DELETE", requestPath(id));
  await report(options, data, () => [
    `Deleted the request ${id}. A key that was issued for it keeps working: "keys revoke" ends it ` +
      `${EVERYWHERE}.`,
  ]);
}

/** @param {string} id */
function requestPath(id) {
  return `/api/portal/requests/${segment(id)}`;
}

/** @param {KeyRequest} request */
function purposeOf({ increase, fields }) {
  if (!increase) return fields?.use_case ?? "";
  return `${increase.key_name} wants ${describeLimits(increase.limits)}: ${fields?.reason ?? ""}`;
}

/** @param {KeyRequest} request */
function emailOf({ portal_developer: developer, fields }) {
  return developer?.email || fields?.email || "-";
}
