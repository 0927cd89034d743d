#!/usr/bin/env node
// A wrangler that changes files in the folder STAND_IN instead of an account at Cloudflare. It notes its arguments in `log`.
// While there is a file `offline`, migrations fail.

import { appendFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const folder = String(process.env["STAND_IN"]);
const place = (/** @type {string} */ name) => join(folder, name);
const words = process.argv.slice(2);
const line = words.join(" ");
appendFileSync(place("log"), `${line}\n`);

/** @returns {Record<string, string>} */
const secrets = () =>
  existsSync(place("secrets")) ? JSON.parse(readFileSync(place("secrets"), "utf8")) : {};
const input = () => readFileSync(0, "utf8");
/** @param {Record<string, string>} more */
const add = (more) =>
  writeFileSync(place("secrets"), JSON.stringify({ ...secrets(), ...more }), "utf8");

if (line === "d1 list --json") {
  console.log(JSON.stringify(existsSync(place("deployed")) ? [{ name: "gatehouse" }] : []));
} else if (line.startsWith("d1 migrations apply")) {
  if (existsSync(place("offline"))) {
    console.error("the network is down");
    process.exitCode = 1;
  }
} else if (line.startsWith("deploy")) {
  writeFileSync(place("deployed"), readFileSync("wrangler.toml"));
  const report = { type: "deploy", targets: ["https://gatehouse.ada.workers.dev"] };
  writeFileSync(String(process.env["WRANGLER_OUTPUT_FILE_PATH"]), `${JSON.stringify(report)}\n`);
} else if (line.startsWith("secret list")) {
  console.log(JSON.stringify(Object.keys(secrets()).map((name) => ({ name }))));
} else if (line === "secret bulk") {
  add(JSON.parse(input()));
} else if (line.startsWith("secret put")) {
  add({ [String(words[2])]: input() });
}
