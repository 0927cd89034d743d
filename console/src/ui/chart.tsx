//! Charts in SVG, drawn by hand: stacked bars and small bars. Each has its numbers in a table behind it, for screen readers and
//! for copying. Colours are classes, since the pages allow no inline style sheet.

import { useSignal, type Signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { day } from "../format";

export interface Series {
  name: string;
  values: number[];
  /** A class of the style sheet: `c0` to `c6`, `good`, `bad`. */
  tone?: string;
}

/** The width of an element, which follows it; 0 before the element is there. */
function useWidth() {
  const ref = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(0);
  useLayoutEffect(() => {
    if (!ref.current) return undefined;
    const follow = (found: number) => setWidth(Math.max(200, found));
    follow(ref.current.clientWidth);
    const observer = new ResizeObserver(([entry]) => entry && follow(entry.contentRect.width));
    observer.observe(ref.current);
    return () => observer.disconnect();
  }, []);
  return { ref, width };
}

/** The next "round" number: 1, 2, 2.5 or 5 times a power of ten. */
function roundUp(value: number): number {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return (
    [1, 2, 2.5, 5, 10].map((step) => step * power).find((step) => step >= value * 0.999) ?? value
  );
}

const totalOf = (series: Series[], i: number): number =>
  series.reduce((sum, { values }) => sum + (values[i] ?? 0), 0);
const toneOf = (series: Series[], i: number): string => series[i]?.tone ?? `c${i % 7}`;

interface Bars {
  label: string;
  starts: string[];
  series: Series[];
  format: (value: number) => string;
  name?: (start: string) => string;
  onPick?: (start: string) => void;
  whole?: boolean;
}

/** The numbers of the bar under the pointer. Only this is drawn again when the pointer moves, and not every bar. */
function Tip(props: {
  hover: Signal<number | null>;
  of: Bars;
  middleOf: (i: number) => number;
  width: number;
}) {
  const { series, starts, format, name = day } = props.of;
  const i = props.hover.value;
  const start = i === null ? undefined : starts[i];
  if (i === null || start === undefined) return null;
  const middle = Math.min(Math.max(props.middleOf(i), 90), props.width - 90);
  return (
    <div class="tip" style={{ left: `${middle}px` }} aria-hidden="true">
      <b>{name(start)}</b> <span class="muted">UTC</span>
      <dl>
        {series.map(({ name: label, values }, n) =>
          (values[i] ?? 0) > 0 ? (
            <div key={label}>
              <dt>
                <i class={toneOf(series, n)} />
                <bdi>{label}</bdi>
              </dt>
              <dd>{format(values[i] ?? 0)}</dd>
            </div>
          ) : null,
        )}
        <div class="sum">
          <dt>Total</dt>
          <dd>{format(totalOf(series, i))}</dd>
        </div>
      </dl>
    </div>
  );
}

/**
 * Bars of one value for each start of a bucket, stacked by series. A click on a bar calls `onPick` with its bucket.
 */
export function StackedBars(props: Bars) {
  const { ref, width } = useWidth();
  const hover = useSignal<number | null>(null);
  const [isTableOpen, setTableOpen] = useState(false);
  const name = props.name ?? day;
  const height = 180;
  const left = 56;
  const right = 8;
  const bottom = 22;
  const top = 8;
  let peak = roundUp(Math.max(...props.starts.map((_, i) => totalOf(props.series, i)), 0));
  if (props.whole) peak = Math.max(peak, 4);
  const y = (value: number) => top + (height - top - bottom) * (1 - value / peak);
  const step = (width - left - right) / Math.max(1, props.starts.length);
  const bar = Math.max(1, Math.min(40, step * 0.72));
  const every = Math.ceil(64 / step);
  return (
    <figure class="chart">
      <div class="legend" aria-hidden="true">
        {props.series.map(({ name: label }, i) => (
          <span key={label}>
            <i class={toneOf(props.series, i)} />
            <bdi>{label}</bdi>
          </span>
        ))}
      </div>
      <div class="plot" ref={ref} onPointerLeave={() => (hover.value = null)}>
        {width > 0 && (
          <svg
            width={width}
            height={height}
            role="img"
            aria-label={`${props.label}. The table below has the numbers.`}
          >
            {[0, 0.5, 1].map((share) => (
              <g key={share} class="grid">
                <line x1={left} x2={width} y1={y(peak * share)} y2={y(peak * share)} />
                <text x={left - 8} y={y(peak * share) + 4} text-anchor="end">
                  {props.format(peak * share)}
                </text>
              </g>
            ))}
            {props.starts.map((start, i) => {
              let sum = 0;
              const x = left + i * step + (step - bar) / 2;
              return (
                <g
                  key={start}
                  class="bucket"
                  onPointerEnter={() => (hover.value = i)}
                  onClick={() => props.onPick?.(start)}
                >
                  <rect
                    class="hit"
                    x={left + i * step}
                    y={top}
                    width={step}
                    height={height - top - bottom}
                  />
                  {props.series.map(({ values }, n) => {
                    const value = values[i] ?? 0;
                    if (value <= 0) return null;
                    const from = y(sum + value);
                    const size = Math.max(1, y(sum) - from);
                    sum += value;
                    return (
                      <rect
                        key={n}
                        class={toneOf(props.series, n)}
                        x={x}
                        y={from}
                        width={bar}
                        height={size}
                        rx={1}
                      />
                    );
                  })}
                  {i % every === 0 && (
                    <text
                      class="tick"
                      x={left + i * step + step / 2}
                      y={height - 6}
                      text-anchor="middle"
                    >
                      {name(start)}
                    </text>
                  )}
                </g>
              );
            })}
          </svg>
        )}
        <Tip hover={hover} of={props} middleOf={(i) => left + (i + 0.5) * step} width={width} />
      </div>
      <details class="numbers" onToggle={(event) => setTableOpen(event.currentTarget.open)}>
        <summary>Numbers</summary>
        {isTableOpen && (
          <div class="scroll" tabIndex={0} role="group" aria-label={`${props.label}, as a table`}>
            <table>
              <caption class="sr">{props.label}</caption>
              <thead>
                <tr>
                  <th scope="col">UTC</th>
                  {props.series.map(({ name: label }) => (
                    <th key={label} scope="col" class="num">
                      <bdi>{label}</bdi>
                    </th>
                  ))}
                </tr>
              </thead>
              <tbody>
                {props.starts.map((start, i) => (
                  <tr key={start}>
                    <th scope="row">
                      {start.replace("T", " ").replace(/:00Z$/, "").replace(" 00:00", "")}
                    </th>
                    {props.series.map(({ name: label, values }) => (
                      <td key={label} class="num">
                        {props.format(values[i] ?? 0)}
                      </td>
                    ))}
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
      </details>
    </figure>
  );
}

/** A share of a whole as a bar behind a name, for ranked lists. */
export const Ranked = (props: {
  rows: { name: string; href?: string; value: number; text: string; note?: ComponentChildren }[];
}) => {
  const most = Math.max(...props.rows.map(({ value }) => value), Number.MIN_VALUE);
  return (
    <ul class="ranked">
      {props.rows.map(({ name, href, value, text, note }) => (
        <li key={name}>
          <span class="bar" style={{ width: `${(100 * value) / most}%` }} />
          {href ? (
            <a href={href}>
              <bdi>{name}</bdi>
            </a>
          ) : (
            <span class="name">
              <bdi>{name}</bdi>
            </span>
          )}
          <span class="num">{text}</span>
          {note && <span class="note">{note}</span>}
        </li>
      ))}
    </ul>
  );
};

/** All days from the first to the last (UTC), so that days without calls are shown. */
export function daysUntil(last: Date, days: number): string[] {
  return Array.from({ length: days }, (_, i) => {
    const date = new Date(last);
    date.setUTCDate(date.getUTCDate() - (days - 1 - i));
    return date.toISOString().slice(0, 10);
  });
}
