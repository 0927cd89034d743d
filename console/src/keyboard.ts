//! Keys of the keyboard. They do nothing while a field has the focus or a dialog is open, or with a modifier.

import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";

export interface Shortcut {
  /** The key, or two keys after each other: "g k". */
  keys: string;
  does: string;
  run: () => void;
}

/** All that are active, for the list that `?` opens. */
export const shortcuts = signal<Shortcut[]>([]);

/** Adds shortcuts while a component is shown. */
export function useShortcuts(list: Shortcut[]): void {
  const latest = useRef(list);
  latest.current = list;
  const names = list.map(({ keys }) => keys).join("|");
  useEffect(() => {
    const mine = latest.current.map(({ keys, does }, i) => ({
      keys,
      does,
      run: () => latest.current[i]?.run(),
    }));
    shortcuts.value = [...shortcuts.value, ...mine];
    return () => {
      shortcuts.value = shortcuts.value.filter((shortcut) => !mine.includes(shortcut));
    };
  }, [names]);
}

let first = "";
let firstAt = 0;

function isTyping(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLElement &&
    (target.isContentEditable ||
      target instanceof HTMLTextAreaElement ||
      target instanceof HTMLSelectElement ||
      (target instanceof HTMLInputElement &&
        !["checkbox", "radio", "button"].includes(target.type)))
  );
}

export function listen(): void {
  addEventListener("keydown", (event) => {
    if (event.key === "Escape" && isTyping(event.target) && !document.querySelector("dialog[open]"))
      (event.target as HTMLElement).blur();
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (isTyping(event.target) || document.querySelector("dialog[open]")) return;
    const pair = Date.now() - firstAt < 1200 ? `${first} ${event.key}` : "";
    const found =
      shortcuts.value.findLast(({ keys }) => keys === pair) ??
      shortcuts.value.findLast(({ keys }) => keys === event.key);
    first = event.key;
    firstAt = Date.now();
    if (!found) return;
    event.preventDefault();
    found.run();
  });
}
