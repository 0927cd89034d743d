//! The providers, with their state, statistics and lanes in one place.

import { call, type Schemas } from "./api";
import { useData } from "./data";

export type Lane = Schemas["LaneState"];
export interface Provider {
  name: string;
  active: boolean;
  reason: string | null;
  state: string;
  formats: string[];
  models: number;
  keys: Schemas["ProviderState"]["keys"];
  lanes: Lane[];
  attempts: number;
  throttles: number;
  success_rate: number | null;
  p50_ms: number | null;
  p90_ms: number | null;
  p99_ms: number | null;
  last_error: Schemas["LaneError"] | null;
  /** The last day in steps of an hour; those without attempts are absent. */
  history: Schemas["HistoryStep"][];
}

const BELOW = 0.9;
/** An error of the last minutes is news; an older one with good results since is not. */
const RECENT_MS = 15 * 60_000;

export const providerTone = (state: string): string =>
  ({ Available: "good", Failing: "bad", Cooldown: "warn", Paused: "warn", "Not configured": "" })[
    state
  ] ?? "warn";

function stateOf(provider: Omit<Provider, "state">): string {
  if (!provider.active) return "Not configured";
  const cooldowns = [...provider.keys, ...provider.lanes].flatMap(({ cooldown }) =>
    cooldown ? [cooldown] : [],
  );
  if (cooldowns.some(({ reason }) => reason === "operator")) return "Paused";
  if (cooldowns.length > 0) return "Cooldown";
  const error = provider.last_error;
  const isNews = error !== null && Date.now() - Date.parse(error.at) < RECENT_MS;
  if (
    provider.attempts > 0 &&
    provider.success_rate !== null &&
    provider.success_rate < BELOW &&
    isNews
  )
    return "Failing";
  return "Available";
}

export interface Providers {
  list: Provider[];
  /** The time until the first content, of all together. */
  latency: Schemas["ProviderStatsList"]["latency"];
}

async function load(): Promise<Providers> {
  const [providers, lanes, { stats, latency }] = await Promise.all([
    call("get", "/v0/providers", { query: { minutes: 1440, step: 60 } }),
    call("get", "/v0/lanes"),
    call("get", "/v1/stats/providers"),
  ]);
  const list = providers.map((one) => {
    const stat = stats.find(({ provider }) => provider === one.name);
    const provider = {
      name: one.name,
      active: one.active,
      reason: one.inactive_reason,
      formats: one.formats,
      models: one.models,
      keys: one.keys,
      lanes: lanes.filter((lane) => lane.provider === one.name),
      attempts: one.attempts,
      throttles: stat?.throttle_count ?? 0,
      success_rate: one.attempts > 0 ? (stat?.success_rate ?? null) : null,
      p50_ms: stat?.p50_latency_ms ?? null,
      p90_ms: stat?.p90_latency_ms ?? null,
      p99_ms: stat?.p99_latency_ms ?? null,
      last_error: one.last_error,
      history: one.history ?? [],
    };
    return { ...provider, state: stateOf(provider) };
  });
  return { list, latency };
}

export const useProviders = () => useData("providers:all", load, 5);
