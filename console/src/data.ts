//! Data of screens: loaded once, shown again at once when a screen is opened again, and loaded again every few seconds
//! while the page is visible.

import { signal, type Signal } from "@preact/signals";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { ApiError } from "./api";

/** The time, which relative times follow. */
export const now = signal(Date.now());
setInterval(() => {
  if (!document.hidden) now.value = Date.now();
}, 5000);

/** True: screens load their data again by themselves. */
export const live = signal(true);
/** True while the last request got no response. */
export const offline = signal(false);

export interface Loaded<T> {
  data: T | null;
  error: ApiError | null;
  /** True while the first load is under way. */
  loading: boolean;
}

interface Entry<T> {
  state: Signal<Loaded<T>>;
  load: () => Promise<T>;
  running: Promise<void> | null;
  /** The number of components that show it. */
  shown: number;
}

const entries = new Map<string, Entry<unknown>>();

function refresh<T>(entry: Entry<T>): Promise<void> {
  entry.running ??= entry
    .load()
    .then(
      (data) => {
        offline.value = false;
        entry.state.value = { data, error: null, loading: false };
      },
      (error: unknown) => {
        const told =
          error instanceof ApiError ? error : new ApiError(String(error), -1, null, null);
        offline.value = told.offline;
        entry.state.value = { data: entry.state.value.data, error: told, loading: false };
      },
    )
    .finally(() => (entry.running = null));
  return entry.running;
}

/** Loads everything again that is shown and whose name begins so. The rest is loaded again when it is shown. */
export async function reload(...prefixes: string[]): Promise<void> {
  const due = [...entries].filter(
    ([name, { shown }]) => shown > 0 && prefixes.some((prefix) => name.startsWith(prefix)),
  );
  await Promise.all(due.map(([, entry]) => refresh(entry)));
}

addEventListener("online", () => void reload(""));
addEventListener("offline", () => (offline.value = true));

/** Forgets everything, when another key signs in. */
export const forget = (): void => entries.clear();

/**
 * The data with a name. `seconds`: how often they are loaded again while the page is visible; 0: never.
 */
export function useData<T>(
  name: string,
  load: () => Promise<T>,
  seconds = 0,
): Loaded<T> & { retry: () => void } {
  let entry = entries.get(name) as Entry<T> | undefined;
  if (entry === undefined) {
    entry = {
      state: signal<Loaded<T>>({ data: null, error: null, loading: true }),
      load,
      running: null,
      shown: 0,
    };
    entries.set(name, entry as Entry<unknown>);
  }
  const current = entry;
  current.load = load;
  // A layout effect, which does not wait until the component without data has been painted.
  useLayoutEffect(() => {
    current.shown += 1;
    void refresh(current);
    const again = () => {
      if (!document.hidden && live.value) void refresh(current);
    };
    const timer = seconds > 0 ? setInterval(again, seconds * 1000) : undefined;
    return () => {
      current.shown -= 1;
      clearInterval(timer);
    };
  }, [name]);
  return { ...current.state.value, retry: () => void refresh(current) };
}

/** The value once it has stayed the same for a moment: for requests that follow what is typed. */
export function useSettled<T>(value: T, ms = 200): T {
  const [settled, setSettled] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), ms);
    return () => clearTimeout(timer);
  }, [value]);
  return settled;
}

export interface ListPage<T, C> {
  data: T[];
  /** The place of the next page; `null` on the last. */
  next: C | null;
  /** The number of entries on all pages, if the gateway counts them. */
  total?: number;
}

/**
 * A list that the gateway has in pages: the first is loaded like all data, further ones when `more` is called. While the
 * first page of another name is loaded, the list stays.
 */
export function usePages<T, C>(
  name: string,
  load: (cursor: C | null) => Promise<ListPage<T, C>>,
  idOf: (entry: T) => string | number,
  seconds = 0,
) {
  const first = useData(name, () => load(null), seconds);
  const [older, setOlder] = useState<ListPage<T, C> | null>(null);
  const [busy, setBusy] = useState(false);
  const shown = useRef<ListPage<T, C> | null>(null);
  useEffect(() => setOlder(null), [name]);
  shown.current = first.data ?? (first.error ? null : shown.current);
  const page = shown.current;
  const seen = new Set<string | number>();
  const list = [...(page?.data ?? []), ...(older?.data ?? [])].filter((entry) => {
    const id = idOf(entry);
    return !seen.has(id) && seen.add(id);
  });
  const next = older ? older.next : (page?.next ?? null);
  return {
    ...first,
    data: page === null ? null : list,
    total: page?.total,
    busy,
    hasMore: next !== null,
    more: async () => {
      setBusy(true);
      try {
        const found = await load(next);
        setOlder({ ...found, data: [...(older?.data ?? []), ...found.data] });
      } finally {
        setBusy(false);
      }
    },
  };
}
