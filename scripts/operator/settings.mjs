// @ts-check
// The commands about run-time settings: policies, aliases, groups, facts about models, alerts, and the effective
// configuration.
//
// All tables have the same commands; that of alerts is one entry. The gateway checks the entries, and its messages are shown
// unchanged.

import { spawnSync } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { call, expectFields, segment } from "../lib/gateway-client.mjs";
import { details, table } from "../lib/table.mjs";
import { Failure, UsageError } from "../lib/terminal.mjs";
import { confirm } from "./confirm.mjs";
import { changedAlerts } from "./alerts.mjs";
import { gatewayOf } from "./connection.mjs";
import { changedLimits } from "./limits.mjs";
import { EVERYWHERE, moment, report } from "./report.mjs";

/** @import { Gateway } from "../lib/gateway-client.mjs" */
/** @import { Column } from "../lib/table.mjs" */
/** @import { Options } from "../gateway-operator.mjs" */

/** @typedef {"policies" | "aliases" | "groups" | "models" | "alerts"} Table */

/**
 * @typedef {object} Setting
 * @property {string} name
 * @property {string} source
 * @property {any} value
 * @property {any} overrides
 * @property {number | null} keys
 * @property {string | null} changed_at
 * @property {string | null} changed_by
 */

/** @type {Column<Setting>[]} */
const COLUMNS = [
  { title: "NAME", cell: ({ name }) => name },
  { title: "VALUE", most: 60, cell: ({ value }) => JSON.stringify(value) },
  { title: "SOURCE", cell: ({ source }) => source },
  { title: "KEYS", cell: ({ keys }) => (keys === null ? "-" : String(keys)) },
  { title: "CHANGED", cell: (one) => (one.changed_at ? moment(one.changed_at) : "-") },
  { title: "BY", cell: ({ changed_by: by }) => by ?? "-" },
];

/** @param {Table} name */
export const listSettings = (name) => async (/** @type {Options} */ options) => {
  const data = await call(await gatewayOf(options), "GET", `/v0/${name}`);
  await report(options, data, (/** @type {Setting[]} */ settings) => {
    expectFields({ settings }, { settings: "array" });
    return settings.length > 0 ? table(COLUMNS, settings) : [`No ${name}.`];
  });
};

/** @param {Table} name */
export const showSetting = (name) => async (/** @type {Options} */ options) => {
  const data = await call(await gatewayOf(options), "GET", path(name, options.name));
  await report(options, data, (/** @type {Setting} */ setting) => {
    expectFields(setting, { name: "string", source: "string" });
    return [
      ...details([
        ["name", setting.name],
        ["source", setting.source],
        ...(setting.keys === null
          ? []
          : [/** @type {[string, string]} */ (["keys", `${setting.keys}`])]),
        ...(setting.changed_at
          ? [
              /** @type {[string, string]} */ ([
                "changed",
                `${moment(setting.changed_at)} by ${setting.changed_by}`,
              ]),
            ]
          : []),
      ]),
      ...JSON.stringify(setting.value, null, 2).split("\n"),
    ];
  });
};

/**
 * Changes the members of an entry that the options name; the others stay.
 *
 * @param {Table} name
 */
export const setSetting = (name) => async (/** @type {Options} */ options) => {
  const gateway = await gatewayOf(options);
  const value = {
    ...((await current(gateway, name, options.name)) ?? {}),
    ...members(name, options),
  };
  if (name === "policies") {
    const limits = changedLimits(value.limits ?? {}, options);
    if (limits) value.limits = limits;
  }
  await put(gateway, name, options, name === "alerts" ? changedAlerts(value, options) : value);
};

/**
 * Changes an entry in the operator's editor.
 *
 * @param {Table} name
 */
export const editSetting = (name) => async (/** @type {Options} */ options) => {
  const editor = process.env.VISUAL || process.env.EDITOR;
  if (!editor) throw new Failure("Set VISUAL or EDITOR to your editor");
  const gateway = await gatewayOf(options);
  const before = JSON.stringify((await current(gateway, name, options.name)) ?? {}, null, 2);
  const folder = await mkdtemp(join(tmpdir(), "gatehouse-"));
  try {
    const file = join(folder, "setting.json");
    await writeFile(file, `${before}\n`);
    // EDITOR can have arguments, so a shell splits it; the file is an argument of its own.
    const { status } = spawnSync("/bin/sh", ["-c", `${editor} "$1"`, "sh", file], {
      stdio: "inherit",
    });
    if (status !== 0) throw new Failure("The editor failed; nothing was changed");
    const after = (await readFile(file, "utf8")).trim();
    if (after === before) throw new Failure("The entry was not edited; nothing was changed");
    await put(gateway, name, options, parse(after));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
};

/** @param {Table} name */
export const removeSetting = (name) => async (/** @type {Options} */ options) => {
  const gateway = await gatewayOf(options);
  const question =
    name === "alerts" ? "Reset the settings of alerts?" : `Remove ${name} ${options.name}?`;
  if (!options.dryRun) await confirm(options, question);
  const target = path(name, options.name) + (options.dryRun ? "?dry_run=true" : "");
  await reportChange(options, await call(gateway, "DELETE", target));
};

/** @param {Options} options */
export async function showConfig(options) {
  const data = await call(await gatewayOf(options), "GET", "/v0/config");
  await report(options, data, () => {
    expectFields(data, { settings_version: "number", faults: "array" });
    const entries = Object.entries(data.settings).flatMap(([name, entries]) =>
      Object.entries(/** @type {object} */ (entries)).map(([member, value]) => ({
        place: `${name}.${member}`,
        value,
      })),
    );
    return [
      ...table(
        [
          { title: "SETTING", cell: ({ place }) => place },
          { title: "VALUE", most: 60, cell: ({ value }) => JSON.stringify(value) },
          { title: "SOURCE", cell: ({ place }) => data.sources[place] },
        ],
        entries,
      ),
      ...data.faults.map((/** @type {string} */ fault) => `Does not apply: ${fault}`),
    ];
  });
}

/**
 * @param {Table} name
 * @param {string} entry
 */
const path = (name, entry) =>
  name === "alerts" ? "/v0/alerts/settings" : `/v0/${name}/${segment(entry)}`;

/**
 * The entry that applies now; null if there is none.
 *
 * @param {Gateway} gateway
 * @param {Table} name
 * @param {string} entry
 */
async function current(gateway, name, entry) {
  if (name === "alerts") return (await call(gateway, "GET", path(name, entry))).value;
  const settings = await call(gateway, "GET", `/v0/${name}`);
  expectFields({ settings }, { settings: "array" });
  return settings.find((/** @type {Setting} */ setting) => setting.name === entry)?.value ?? null;
}

/**
 * @param {Gateway} gateway
 * @param {Table} name
 * @param {Options} options
 * @param {object} value
 */
async function put(gateway, name, options, value) {
  const target = path(name, options.name) + (options.dryRun ? "?dry_run=true" : "");
  await reportChange(options, await call(gateway, "PUT", target, value));
}

/**
 * @param {Options} options
 * @param {any} data
 */
async function reportChange(options, data) {
  await report(options, data, () => {
    expectFields(data, { name: "string", affected_keys: "number" });
    const keys = data.affected_keys === 1 ? "1 key" : `${data.affected_keys} keys`;
    return [
      ...details([
        ["was", JSON.stringify(data.was)],
        ["is", JSON.stringify(data.value)],
      ]),
      data.dry_run
        ? `A dry run: nothing was changed. The change would concern ${keys}.`
        : `Changed: it takes effect ${EVERYWHERE}, and concerns ${keys}.`,
    ];
  });
}

/**
 * The members that the options give.
 *
 * @param {Table} name
 * @param {Options} options
 * @returns {Record<string, any>}
 */
function members(name, options) {
  const { model, endpoint, weight, description, expiresDays, set = [] } = options;
  /** @type {Record<string, unknown>} */
  const given =
    name === "aliases"
      ? { model: options.target }
      : {
          models: model,
          endpoints: endpoint,
          weights: weight,
          description,
          expires_days: expiresDays,
        };
  const named = Object.entries(given).filter(([, value]) => value !== undefined);
  return { ...Object.fromEntries(named), ...Object.fromEntries(set) };
}

/**
 * A member as NAME=VALUE: the value is JSON, or else a text.
 *
 * @param {string} text
 * @returns {[string, unknown]}
 */
export function readMember(text) {
  const [, name, value] = /^([^=]+)=([^]*)$/.exec(text) ?? [];
  if (name === undefined || value === undefined) throw new UsageError("--set must be FIELD=VALUE");
  try {
    return [name, JSON.parse(value)];
  } catch {
    return [name, value];
  }
}

/** @param {string} text */
function parse(text) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Failure(`The entry is not JSON: ${/** @type {Error} */ (error).message}`);
  }
}
