//! The place in the console: the fragment of the URL, such as `#/keys/ci-runner?days=7`. The gateway never receives it.
//! Filters and open details are in its query, so that every view can be linked.

import { computed, signal } from "@preact/signals";

export interface Place {
  /** The parts of the path, decoded. */
  parts: string[];
  query: URLSearchParams;
}

function read(): Place {
  const [path = "", query = ""] = location.hash.replace(/^#\/?/, "").split("?", 2);
  const decode = (part: string) => {
    try {
      return decodeURIComponent(part);
    } catch {
      return part;
    }
  };
  return { parts: path.split("/").filter(Boolean).map(decode), query: new URLSearchParams(query) };
}

export const place = signal<Place>(read());
addEventListener("hashchange", () => (place.value = read()));

/** The link to a place. */
export function to(parts: string[], query: Record<string, string | null> = {}): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query))
    if (value !== null && value !== "") search.set(name, value);
  const text = search.toString();
  return `#/${parts.map(encodeURIComponent).join("/")}${text === "" ? "" : `?${text}`}`;
}

export function go(parts: string[], query: Record<string, string | null> = {}): void {
  location.hash = to(parts, query);
}

/** Changes members of the query without a new entry of the history. */
export function setQuery(changes: Record<string, string | null>): void {
  const { parts, query } = place.value;
  const next = { ...Object.fromEntries(query), ...changes };
  history.replaceState(null, "", to(parts, next));
  place.value = read();
}

/** A member of the query; `fallback` if it is absent. */
export const queryOf = (name: string, fallback = ""): string =>
  place.value.query.get(name) ?? fallback;

export const section = computed(() => place.value.parts[0] ?? "overview");
