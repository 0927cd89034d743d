// @ts-check
//! The browser of the tests: CHROMIUM, or /usr/bin/chromium.

import { existsSync } from "node:fs";
import { chromium } from "playwright-core";

const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";

/** Why tests in a browser are skipped, or false. */
export const skip = existsSync(executablePath)
  ? false
  : `there is no Chromium at ${executablePath}: install it (apt-get install chromium), or name another in CHROMIUM`;

/** Starts it. It asks nobody on the network for anything by itself. */
export function launch() {
  return chromium.launch({
    executablePath,
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}
