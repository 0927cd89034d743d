//! The colour scheme: the system's, unless the reader has chosen one.

import { signal } from "@preact/signals";

const ORDER = ["system", "light", "dark"] as const;
type Theme = (typeof ORDER)[number];

const stored = localStorage.getItem("gatehouse.theme");
export const theme = signal<Theme>(ORDER.find((name) => name === stored) ?? "system");

export function applyTheme(): void {
  document.documentElement.dataset["theme"] = theme.value;
}

export function nextTheme(): void {
  theme.value = ORDER[(ORDER.indexOf(theme.value) + 1) % ORDER.length] ?? "system";
  localStorage.setItem("gatehouse.theme", theme.value);
  applyTheme();
}
