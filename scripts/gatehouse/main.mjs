// @ts-check
// The command line of `gatehouse`. `keys`, `operator` and `selftest` are the operators' scripts, with their own options.

import { COMMAND, version } from "../lib/installation.mjs";
import { action, createProgram, option, runProgram } from "../lib/command-line.mjs";
import { refuseKeys } from "../lib/key-input.mjs";
import { UsageError } from "../lib/terminal.mjs";
import { deploy } from "./deploy.mjs";
import { serve } from "./serve.mjs";

/** The scripts behind a command, and the words that the command stands for. */
const SCRIPTS = new Map([
  ["keys", { script: "../gateway-key-ring.mjs", words: [] }],
  ["operator", { script: "../gateway-operator.mjs", words: [] }],
  ["selftest", { script: "../gateway-operator.mjs", words: ["selftest"] }],
]);

/** @param {string} text */
function readPort(text) {
  const port = Number(text);
  if (/^\d+$/.test(text) && port >= 1 && port <= 65_535) return port;
  throw new UsageError("--port must be a number from 1 to 65535");
}

/** Runs the command that the arguments name. */
export async function run() {
  const [first = "", ...rest] = process.argv.slice(2);
  const other = SCRIPTS.get(first);
  if (other) {
    process.argv.splice(2, process.argv.length, ...other.words, ...rest);
    await import(other.script);
    return;
  }

  const program = createProgram(COMMAND)
    .description("An LLM gateway: on this machine, or as a Cloudflare Worker in your account.")
    .version(version(), "--version", "print the version")
    .addHelpText(
      "after",
      `
These commands have a help of their own, as in: ${COMMAND} keys --help
  keys              key rings: keys whose hashes are Worker secrets
  operator          keys, settings, usage and the audit log of a running gateway
  selftest          check a running gateway, and say what to fix

A gateway on this machine uses the keys of providers in the environment, such as OPENAI_API_KEY, and all
variables in the file .dev.vars of this folder. Without any it has a simulated provider. Its keys and its
database are in .gatehouse, for this user only.`,
    );
  program
    .command("dev", { isDefault: true })
    .description("serve a gateway on this machine (the default)")
    .addOption(
      option("--port N", "port to listen on (default: 8787, or a free one if that is in use)", {
        read: readPort,
      }),
    )
    .action(action(serve));
  program
    .command("deploy")
    .description("deploy the gateway to Cloudflare, or continue a deployment that was interrupted")
    .addOption(option("--dry-run", "print each step and change nothing; needs no network"))
    .action(action(deploy));
  await runProgram(program, (argv) => {
    refuseKeys(argv, `To check a key, pass it to "${COMMAND} keys verify" on standard input`);
    // The default command would take it for an operand.
    const known = ["help", ...program.commands.map((one) => one.name())];
    if (first !== "" && !first.startsWith("-") && !known.includes(first)) {
      throw new UsageError(`unknown command '${first}'; see ${COMMAND} --help`);
    }
  });
}
