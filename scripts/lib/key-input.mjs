// @ts-check
// Reads a key from standard input, and rejects keys among the arguments.
//
// It only checks that the input is one word, and it does not read the environment.

import { Failure, note, UsageError } from "./terminal.mjs";

/**
 * Runs before parsing, so that none of its messages repeats a key.
 *
 * @param {string[]} argv
 * @param {string} instead - A sentence on how to pass a key.
 */
export function refuseKeys(argv, instead) {
  // A public id alone is shorter than this and may be passed.
  if (argv.some((word) => /gw_[0-9A-Za-z]{24}/.test(word))) {
    throw new UsageError(
      "A key must not be passed as an argument: other users of this machine can see arguments, and the " +
        `shell keeps them in its history. Treat that key as exposed and replace it. ${instead}`,
    );
  }
}

/** @returns {Promise<string>} The one key on standard input. */
export async function readKey() {
  const { stdin } = process;
  if (stdin.isTTY) note("Paste the key and press Enter:");
  let text = "";
  stdin.setEncoding("utf8");
  for await (const chunk of stdin) {
    text += chunk;
    // At a terminal one line is the whole input; a wrong file that is piped in need not be read to its end.
    if ((stdin.isTTY && text.includes("\n")) || text.length > 64 * 1024) break;
  }
  const key = text.trim();
  if (!key) throw new Failure("There is no key on standard input");
  if (/\s/.test(key)) throw new Failure("Standard input must hold one key and nothing else");
  return key;
}
