//! The key that a page is signed in with, or `CLOUDFLARE_ACCESS` in its place. It is kept in the session storage of one tab, sent in a header, and forgotten
//! after half an hour without input. It is in no URL.

import { signal } from "@preact/signals";
import { ApiError, useKeyForRequests } from "./api";

const IDLE_MS = 30 * 60_000;

/** The key, or null before the sign-in. */
export const key = signal<string | null>(null);
/** The reason why the page has signed out by itself. */
export const notice = signal<string | null>(null);

let storageName = "";
let lastInput = Date.now();

/** Reads the key of an earlier view in this tab. */
export function restore(name: string): void {
  storageName = name;
  const stored = sessionStorage.getItem(name);
  if (stored !== null) accept(stored);
  for (const event of ["pointerdown", "keydown", "wheel"] as const)
    addEventListener(event, () => (lastInput = Date.now()), { passive: true, capture: true });
  const lock = () => {
    if (key.value !== null && Date.now() - lastInput > IDLE_MS)
      signOut("Locked after 30 minutes without input. Sign in again.");
  };
  setInterval(lock, 15_000);
  document.addEventListener("visibilitychange", lock);
}

export function accept(value: string): void {
  sessionStorage.setItem(storageName, value);
  lastInput = Date.now();
  notice.value = null;
  useKeyForRequests(value, (error: ApiError) => signOut(`Signed out: ${error.message}`));
  key.value = value;
}

export function signOut(reason: string | null = null): void {
  sessionStorage.clear();
  useKeyForRequests(null, () => {});
  key.value = null;
  notice.value = reason;
}
