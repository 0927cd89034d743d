//! The last day of a provider or lane, hour by hour: the share of attempts that failed.

import type { Schemas } from "../api";
import { count, percent, plural } from "../format";

const HOUR_MS = 3_600_000;
const HOURS = 24;

export function Strip({ label, history }: { label: string; history: Schemas["HistoryStep"][] }) {
  const end = Math.floor(Date.now() / HOUR_MS) * HOUR_MS;
  const cells = Array.from({ length: HOURS }, (_, i) => {
    const start = end - (HOURS - 1 - i) * HOUR_MS;
    const steps = history.filter(
      (step) => Math.floor(Date.parse(step.start) / HOUR_MS) * HOUR_MS === start,
    );
    const attempts = steps.reduce((sum, step) => sum + step.attempts, 0);
    const failures = steps.reduce((sum, step) => sum + step.failures, 0);
    const share = attempts === 0 ? 0 : failures / attempts;
    const hour = `${new Date(start).toISOString().slice(11, 16)} UTC`;
    return {
      start,
      tone: attempts === 0 ? "" : share > 0.2 ? "bad" : share > 0.02 ? "warn" : "good",
      text:
        attempts === 0
          ? `${hour}: no attempts`
          : `${hour}: ${plural(attempts, "attempt")}, ${count(failures)} failed`,
      attempts,
      failures,
    };
  });
  const attempts = cells.reduce((sum, cell) => sum + cell.attempts, 0);
  const failures = cells.reduce((sum, cell) => sum + cell.failures, 0);
  const summary =
    attempts === 0
      ? `${label}: no attempts in 24 hours`
      : `${label}: ${percent(1 - failures / attempts)} of ${plural(attempts, "attempt")} succeeded in 24 hours`;
  return (
    <span class="strip" role="img" aria-label={summary}>
      {cells.map(({ start, tone, text }) => (
        <i key={start} class={tone} title={text} />
      ))}
    </span>
  );
}
