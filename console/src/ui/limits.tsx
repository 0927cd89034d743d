//! Limits: their names and units, their state as bars, and the fields that set them.

import type { Schemas } from "../api";
import { now } from "../data";
import { both, count, microUsd, span, usd } from "../format";
import { Field } from "./basic";

export type Limits = Schemas["Limits"];
type Name = keyof Limits;

export const LIMITS: { name: Name; label: string; unit: string }[] = [
  { name: "usd_per_month", label: "Budget per month", unit: "USD" },
  { name: "usd_per_day", label: "Budget per day", unit: "USD" },
  { name: "usd_total", label: "Budget in total", unit: "USD" },
  { name: "requests_per_minute", label: "Calls per minute", unit: "calls" },
  { name: "requests_per_day", label: "Calls per day", unit: "calls" },
  { name: "tokens_per_minute", label: "Tokens per minute", unit: "tokens" },
  { name: "tokens_per_day", label: "Tokens per day", unit: "tokens" },
  { name: "concurrent", label: "Calls at the same time", unit: "calls" },
];
const labelOf = (name: string) => LIMITS.find((limit) => limit.name === name)?.label ?? name;
const amountOf = (name: string, value: number) =>
  name.startsWith("usd") ? microUsd(value) : count(value);

/** Limits in one line: "$50.00 a month, 60 calls a minute". */
export function limitsText(limits: object | null | undefined): string {
  const given = (limits ?? {}) as Record<string, number>;
  const phrases: Record<string, (value: number) => string> = {
    usd_per_month: (v) => `${usd(v)} a month`,
    usd_per_day: (v) => `${usd(v)} a day`,
    usd_total: (v) => `${usd(v)} in total`,
    requests_per_minute: (v) => `${count(v)} calls/min`,
    requests_per_day: (v) => `${count(v)} calls a day`,
    tokens_per_minute: (v) => `${count(v)} tokens/min`,
    tokens_per_day: (v) => `${count(v)} tokens a day`,
    concurrent: (v) => `${count(v)} at once`,
  };
  return LIMITS.flatMap(({ name }) => {
    const value = given[name];
    return value === undefined ? [] : [phrases[name]?.(value) ?? ""];
  }).join(", ");
}

/** The state of one limit: used, held and left, and when it resets. */
export function LimitBar({ limit }: { limit: Schemas["LimitState"] }) {
  const { amount, used, held, unconfirmed, remaining } = limit;
  const most = Math.max(amount, used + held + unconfirmed);
  const share = (value: number) => ({ width: `${(100 * value) / most}%` });
  const full = 1 - remaining / amount;
  const show = (value: number) => amountOf(limit.limit, value);
  const left = limit.resets_at ? Date.parse(limit.resets_at) - now.value : null;
  return (
    <div class="limit">
      <div class="head">
        <span class="name">
          {labelOf(limit.limit)}
          {limit.models && (
            <span class="muted">
              {" "}
              for <bdi>{limit.models}</bdi>
            </span>
          )}
        </span>
        <span>
          <b>{show(remaining)}</b> left of {show(amount)}
        </span>
      </div>
      <div
        class={`meter ${full >= 1 ? "full" : full >= 0.8 ? "high" : ""}`}
        role="meter"
        aria-label={labelOf(limit.limit)}
        aria-valuemin={0}
        aria-valuemax={amount}
        aria-valuenow={Math.min(amount, used + held + unconfirmed)}
        aria-valuetext={`${show(used)} used, ${show(held)} held, ${show(remaining)} left of ${show(amount)}`}
      >
        <span class="used" style={share(used)} />
        <span class="held" style={share(held)} />
        <span class="lost" style={share(unconfirmed)} />
      </div>
      <div class="foot">
        <span>
          <i class="used" /> {show(used)} used
        </span>
        <span title="Set aside for calls that are under way, and for the next ones.">
          <i class="held" /> {show(held)} held
        </span>
        {unconfirmed > 0 && (
          <span title="Calls whose result was lost. It stays charged until the window ends, since it may have been spent.">
            <i class="lost" /> {show(unconfirmed)} unconfirmed
          </span>
        )}
        <span class="end" title={limit.resets_at ? both(limit.resets_at) : ""}>
          {left === null
            ? limit.limit === "concurrent"
              ? ""
              : "never resets"
            : left <= 0
              ? "resets now"
              : `resets in ${span(left)}`}
        </span>
      </div>
    </div>
  );
}

export type LimitTexts = Partial<Record<Name, string>>;

export const textsOf = (limits: object | null | undefined): LimitTexts =>
  Object.fromEntries(
    Object.entries((limits ?? {}) as object).map(([name, value]) => [name, String(value)]),
  );

/** The limits that fields contain; empty fields are no limit. */
export function limitsOf(texts: LimitTexts): Limits {
  const limits: Record<string, number> = {};
  for (const [name, text] of Object.entries(texts)) {
    const trimmed = (text ?? "").trim();
    if (trimmed !== "") limits[name] = Number(trimmed);
  }
  return limits as Limits;
}

export const LimitFields = (props: {
  value: LimitTexts;
  names?: Name[];
  onValue: (value: LimitTexts) => void;
  focus?: Name;
  /** The meaning of an empty field. */
  empty?: string;
}) => (
  <div class="grid-fields">
    {LIMITS.filter(({ name }) => props.names?.includes(name) ?? true).map(
      ({ name, label, unit }) => (
        <Field key={name} label={label}>
          {(id) => (
            <div class="unit">
              <input
                id={id}
                type="number"
                inputMode="decimal"
                min={unit === "USD" ? "0.000001" : "1"}
                step={unit === "USD" ? "any" : "1"}
                placeholder={props.empty ?? "no limit"}
                autofocus={props.focus === name}
                value={props.value[name] ?? ""}
                onInput={(event) =>
                  props.onValue({ ...props.value, [name]: event.currentTarget.value })
                }
              />
              <span>{unit}</span>
            </div>
          )}
        </Field>
      ),
    )}
  </div>
);
