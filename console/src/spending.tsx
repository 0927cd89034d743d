//! The usage of all keys: sums by key, model, provider, project or operation, and by day or hour.

import { call, type Schemas } from "./api";
import { useData } from "./data";
import { day, plural, short, usd } from "./format";
import { queryOf, setQuery, to } from "./router";
import { StackedBars, type Series } from "./ui/chart";

export type Spending = Schemas["Spending"];
export type Entry = Schemas["SpendingEntry"];
export type Group = "key" | "project" | "model" | "provider" | "operation";
export type Measure = "cost" | "calls" | "tokens";

/** The number of groups of a chart that have a colour. */
const SHOWN = 6;
const SORTS = { cost: "cost", calls: "requests", tokens: "tokens" } as const;

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

export const RANGES: [string, string][] = [
  ["1", "24 hours"],
  ["7", "7 days"],
  ["30", "30 days"],
  ["90", "90 days"],
];

/** The range of the URL, in days. */
export const rangeOf = (): number => Math.min(365, Math.max(1, Number(queryOf("days", "7")) || 7));

/** A choice of the range of time, kept in the URL. */
export function Range() {
  const days = String(rangeOf());
  return (
    <div class="segmented" role="group" aria-label="Range of time">
      {RANGES.map(([value, label]) => (
        <button
          key={value}
          type="button"
          aria-pressed={days === value}
          onClick={() => setQuery({ days: value === "7" ? null : value })}
        >
          {label}
        </button>
      ))}
    </div>
  );
}

/** The beginning of a range: a full hour if it is a day, otherwise a full day (UTC). */
export function startOf(days: number): Date {
  const now = Date.now();
  if (days <= 1) return new Date(Math.floor(now / HOUR_MS) * HOUR_MS - 23 * HOUR_MS);
  return new Date(Math.floor(now / DAY_MS) * DAY_MS - (days - 1) * DAY_MS);
}

/** The beginnings of all spans of a range, so that those without calls are shown. */
export function spansOf(days: number): string[] {
  const from = startOf(days).getTime();
  const [size, number] = days <= 1 ? [HOUR_MS, 24] : [DAY_MS, days];
  return Array.from({ length: number }, (_, i) =>
    new Date(from + i * size).toISOString().replace(".000Z", "Z"),
  );
}

export const spanName = (start: string): string =>
  start.endsWith("T00:00:00Z") ? day(start) : start.slice(11, 16);

export type Filters = Partial<Record<Group, string>>;

/** Sums since the beginning of a range: of each span and group, or of the largest groups. */
export const useSpending = (
  days: number,
  group: Group | null,
  shown: { buckets: true } | { buckets: false; limit: number },
  filters: Filters = {},
) => {
  const query = {
    from: startOf(days).toISOString(),
    ...filters,
    sort: SORTS[measureChosen()],
    ...(group ? { group_by: group } : {}),
    ...(shown.buckets
      ? { bucket: days <= 1 ? ("hour" as const) : ("day" as const), top: SHOWN, limit: 10_000 }
      : { limit: shown.limit }),
  };
  // The beginning moves with the time, and does not make other data of it.
  const name = `spending:${days}:${JSON.stringify({ ...query, from: null })}`;
  return useData(name, () => call("get", "/v0/usage", { query }), 15);
};

/** What a group has used, without its averages. */
export type Used = Pick<Entry, "requests" | "cost_usd" | "prompt_tokens" | "completion_tokens">;
export type GroupUsed = Used & Pick<Entry, "group" | "name">;

/** What each group of a chart has used in the whole range, the largest first; without the others, which are not named. */
export function groupsOf({ data }: Spending, measure: Measure): GroupUsed[] {
  const sums = new Map<string | null, GroupUsed>();
  for (const entry of data.filter(({ others }) => others === undefined)) {
    const { group, name, requests, cost_usd, prompt_tokens, completion_tokens } = entry;
    const sum = sums.get(group);
    sums.set(group, {
      group,
      ...(name === undefined ? {} : { name }),
      requests: requests + (sum?.requests ?? 0),
      cost_usd: cost_usd + (sum?.cost_usd ?? 0),
      prompt_tokens: prompt_tokens + (sum?.prompt_tokens ?? 0),
      completion_tokens: completion_tokens + (sum?.completion_tokens ?? 0),
    });
  }
  return [...sums.values()].toSorted((a, b) => measureOf(b, measure) - measureOf(a, measure));
}

export const measureOf = (entry: Used, measure: Measure): number =>
  measure === "cost"
    ? entry.cost_usd
    : measure === "calls"
      ? entry.requests
      : entry.prompt_tokens + entry.completion_tokens;

export const formatOf = (measure: Measure) => (measure === "cost" ? usd : short);

/** The name of a group as people know it. */
export function groupName(
  entry: { group: string | null; name?: string },
  group: Group | null,
): string {
  if (entry.name !== undefined) return entry.name;
  if (entry.group !== null) return entry.group;
  return group === "key"
    ? "(before keys were counted)"
    : group === "project"
      ? "(no project)"
      : "(none)";
}

/** The value of a filter that selects a group: keys by name, as far as they have one that is unique. */
export const filterOf = (
  entry: { group: string | null; name?: string },
  group: Group,
): string | null =>
  group === "key" && !entry.group?.startsWith("ring:") ? (entry.name ?? entry.group) : entry.group;

/** The page of a key of a sum; keys of the ring have none. */
export const keyLink = (entry: { group: string | null; name?: string }): string | undefined =>
  entry.name !== undefined && !entry.group?.startsWith("ring:")
    ? to(["keys", entry.name])
    : undefined;

/** Sums by span, stacked by group: the largest groups, and the others together. */
export function SpendingChart(props: {
  of: Spending;
  days: number;
  measure: Measure;
  group: Group | null;
  label: string;
}) {
  const spans = spansOf(props.days);
  const at = new Map(spans.map((start, i) => [start.slice(0, 19), i]));
  const byName = new Map<string, { values: number[]; isOthers: boolean }>();
  for (const entry of props.of.data) {
    const isOthers = entry.others !== undefined;
    const name = isOthers ? "Others" : props.group ? groupName(entry, props.group) : "All";
    const found = byName.get(name) ?? { values: spans.map(() => 0), isOthers };
    byName.set(name, found);
    const i = at.get(entry.start.slice(0, 19));
    if (i !== undefined) found.values[i] = (found.values[i] ?? 0) + measureOf(entry, props.measure);
  }
  const sum = (values: number[]) => values.reduce((total, value) => total + value, 0);
  const series: Series[] = [...byName]
    .filter(([, { values }]) => sum(values) > 0)
    .toSorted(
      ([, a], [, b]) => Number(a.isOthers) - Number(b.isOthers) || sum(b.values) - sum(a.values),
    )
    .map(([name, { values, isOthers }]) => ({ name, values, ...(isOthers ? { tone: "c6" } : {}) }));
  if (series.length === 0) series.push({ name: "No calls", values: spans.map(() => 0) });
  return (
    <StackedBars
      label={props.label}
      starts={spans}
      series={series}
      name={spanName}
      whole={props.measure !== "cost"}
      format={formatOf(props.measure)}
    />
  );
}

export const MEASURES: [Measure, string][] = [
  ["cost", "Cost"],
  ["calls", "Calls"],
  ["tokens", "Tokens"],
];

export function MeasureChoice() {
  const measure = queryOf("measure", "cost");
  return (
    <div class="segmented" role="group" aria-label="Measure">
      {MEASURES.map(([value, label]) => (
        <button
          key={value}
          type="button"
          aria-pressed={measure === value}
          onClick={() => setQuery({ measure: value === "cost" ? null : value })}
        >
          {label}
        </button>
      ))}
    </div>
  );
}

export const measureChosen = (): Measure =>
  MEASURES.find(([value]) => value === queryOf("measure"))?.[0] ?? "cost";

export const unpricedNote = ({ unpriced }: { unpriced: number }): string =>
  unpriced > 0 ? `${plural(unpriced, "call")} of unknown price` : "";
