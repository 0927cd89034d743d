#!/usr/bin/env node
// @ts-check
// Converts LiteLLM's config.yaml into a gateway.toml, and reports the secrets to set and what it could not convert.
//
// The settings go to a file or to standard output, the report to standard error. It sends nothing, and writes no value
// of a key: keys appear by the names of their variables.

import { createReadStream, readFileSync, writeFileSync } from "node:fs";
import { action, createProgram, option, runProgram } from "./lib/command-line.mjs";
import { safeText } from "./lib/safe-text.mjs";
import { explain, Failure, note, print } from "./lib/terminal.mjs";
import { convert } from "./litellm/convert.mjs";
import { MAX_BYTES, readDocument } from "./litellm/document.mjs";
import { toToml } from "./litellm/toml.mjs";

const root = new URL("../", import.meta.url);

/** @param {{ file: string, output?: string, force?: boolean }} options */
async function run({ file, output, force = false }) {
  const { settings, report } = convert(readDocument(await readInput(file)), tables());
  const text = `# Converted from LiteLLM's configuration. Settings that are not here have their defaults.\n\n${toToml(settings)}`;
  if (output === undefined) await print([text]);
  else writeOutput(output, `${text}\n`, force);
  for (const line of report.lines()) note(safeText(line));
}

/**
 * Reads no more than the limit.
 *
 * @param {string} file - A path, or `-` for standard input.
 */
async function readInput(file) {
  const chunks = [];
  let size = 0;
  try {
    for await (const chunk of file === "-" ? process.stdin : createReadStream(file)) {
      chunks.push(chunk);
      size += chunk.length;
      if (size > MAX_BYTES) break;
    }
  } catch (error) {
    throw new Failure(`Cannot read ${file}: ${explain(error)}`);
  }
  if (size > MAX_BYTES) {
    throw new Failure(
      `${file} is larger than ${MAX_BYTES} bytes; remove what is not configuration`,
    );
  }
  return Buffer.concat(chunks).toString("utf8");
}

/**
 * @param {string} path
 * @param {string} text
 * @param {boolean} force - An existing file is overwritten.
 */
function writeOutput(path, text, force) {
  try {
    writeFileSync(path, text, { flag: force ? "w" : "wx" });
  } catch (error) {
    const exists = /** @type {NodeJS.ErrnoException} */ (error).code === "EEXIST";
    throw new Failure(
      exists ? `${path} exists; --force overwrites it` : `Cannot write ${path}: ${explain(error)}`,
    );
  }
}

/** The built-in providers and the known models. */
function tables() {
  const builtIn = JSON.parse(readFileSync(new URL("site/data/providers.json", root), "utf8"));
  const models = readFileSync(new URL("core/data/models.jsonl", root), "utf8").trim().split("\n");
  const catalogue = new Set(
    models.map((line) => {
      const { provider, id } = JSON.parse(line);
      return `${provider}/${id}`;
    }),
  );
  return { builtIn, catalogue };
}

const program = createProgram("convert-litellm.mjs")
  .usage("FILE [options]")
  .description(
    "Converts LiteLLM's config.yaml into a gateway.toml, and reports what it could not convert.",
  )
  .argument("<FILE>", "LiteLLM's configuration; - reads standard input")
  .addOption(option("--output FILE", "write the settings to this file instead of standard output"))
  .addOption(option("--force", "overwrite that file"))
  .action(action(run));

await runProgram(program, () => {});
