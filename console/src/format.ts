//! Numbers, money and times as people read them. Times are local, with UTC where there is room; money is US dollars.

/** Made at its first use: the first formatter takes 20 ms, in which requests can already be under way. */
function lazy<T>(make: () => T): () => T {
  let made: T | undefined;
  return () => (made ??= make());
}
const numbers = (options: Intl.NumberFormatOptions) =>
  lazy(() => new Intl.NumberFormat("en-US", options));

const whole = numbers({});
const compact = numbers({ notation: "compact", maximumFractionDigits: 1 });
const dollars = numbers({ minimumFractionDigits: 2, maximumFractionDigits: 2 });
const partsOfADollar = numbers({ maximumSignificantDigits: 4, maximumFractionDigits: 8 });
const oneDecimal = numbers({ maximumFractionDigits: 1 });
const twoDecimals = numbers({ maximumFractionDigits: 2 });
const localTime = lazy(
  () => new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" }),
);
const utcDay = lazy(
  () => new Intl.DateTimeFormat("en-US", { month: "short", day: "numeric", timeZone: "UTC" }),
);

/** A whole number with separators. */
export const count = (value: number): string => whole().format(value);

/** A number in at most five characters, such as 12.3K. */
export const short = (value: number): string =>
  (Math.abs(value) < 10_000 ? whole() : compact()).format(value);

/** US dollars: two decimals from a dollar on, four significant digits below. */
export function usd(value: number | null): string {
  if (value === null) return "unknown";
  if (value === 0) return "$0";
  const sign = value < 0 ? "-" : "";
  const amount = Math.abs(value);
  return `${sign}$${(amount >= 1 ? dollars() : partsOfADollar()).format(amount)}`;
}

export const microUsd = (value: number | null): string => usd(value === null ? null : value / 1e6);

/** A share of 1, such as 99.95 %. It is 100 % only if it is exactly 1. */
export function percent(share: number): string {
  if (share === 1) return "100 %";
  const value = Math.floor(share * 10_000) / 100;
  return `${(value > 99 ? twoDecimals() : oneDecimal()).format(value)} %`;
}

/** Milliseconds, as ms below a second, as seconds or minutes above. */
export function duration(ms: number | null): string {
  if (ms === null) return "–";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)} s`;
  return span(ms);
}

/** A long time in its two largest units, such as 3 h 12 min. */
export function span(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  const units: [string, number][] = [
    ["y", 31_557_600],
    ["d", 86_400],
    ["h", 3600],
    ["min", 60],
    ["s", 1],
  ];
  const at = units.findIndex(([, size]) => seconds >= size);
  if (at === -1) return "0 s";
  const parts: string[] = [];
  let left = seconds;
  for (const [unit, size] of units.slice(at, at + 2)) {
    const amount = Math.floor(left / size);
    left -= amount * size;
    if (amount > 0) parts.push(`${amount} ${unit}`);
  }
  return parts.join(" ");
}

/** A time relative to now: "3 min ago", "in 2 h". */
export function relative(time: string, now: number): string {
  const ms = now - Date.parse(time);
  if (Number.isNaN(ms)) return time;
  if (Math.abs(ms) < 5000) return "now";
  const text = span(Math.abs(ms)).split(" ").slice(0, 2).join(" ");
  return ms > 0 ? `${text} ago` : `in ${text}`;
}

/** A time in the reader's zone and in UTC, for the hover text. */
export function both(time: string): string {
  const date = new Date(time);
  if (Number.isNaN(date.getTime())) return time;
  return `${localTime().format(date)} local time\n${date
    .toISOString()
    .replace("T", " ")
    .replace(/\.\d+Z/, "")} UTC`;
}

/** A day such as "Nov 30" from 2026-11-30: days are UTC. */
export const day = (date: string): string =>
  utcDay().format(new Date(`${date.slice(0, 10)}T00:00:00Z`));

/** "1 key", "2 keys". */
export const plural = (n: number, one: string, many = `${one}s`): string =>
  `${count(n)} ${n === 1 ? one : many}`;

/** A cell of a CSV file (RFC 4180). Texts that a spreadsheet would run as a formula get an apostrophe. */
function cell(value: unknown): string {
  let text = value === null || value === undefined ? "" : String(value);
  if (typeof value === "string" && /^[=+\-@\t\r]/.test(text)) text = `'${text}`;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** A CSV file. */
export const csv = (rows: unknown[][]): string =>
  rows.map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";

/** Saves a text as a file of the reader's. */
export function save(name: string, text: string, type: string): void {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** The lines of a field, which commas separate too. */
export const linesOf = (text: string): string[] =>
  text.split(/[\n,]/).flatMap((line) => (line.trim() === "" ? [] : [line.trim()]));

/** The end of a day of a field, in the time of this browser. */
export const endOfDay = (day: string): string => new Date(`${day}T23:59:59`).toISOString();
