// @ts-check
// The command completion: a script that completes commands and options in bash, zsh or fish, made from the commands
// themselves.
//
// It completes no names of keys or models: that would need the operator key in every shell.

import { print, UsageError } from "../lib/terminal.mjs";

/** @import { Command } from "commander" */
/** @import { Options } from "../gateway-operator.mjs" */

/** The names under which a shell knows the program. */
const NAMES = ["gateway-operator", "gateway-operator.mjs"];

/** @typedef {{ path: string, words: string[], options: string[] }} Place - Words that can follow a path of commands. */

/**
 * The paths of commands, each with the words that can follow it.
 *
 * @param {Command} command
 * @param {string[]} above
 * @param {string[]} inherited - options
 * @returns {Place[]}
 */
export function places(command, above = [], inherited = []) {
  const own = command.options.map((option) => option.long ?? "").filter(Boolean);
  const options = [...own, ...inherited];
  const here = {
    path: above.join(" "),
    words: command.commands.map((one) => one.name()),
    options: [...options, "--help"],
  };
  return [here, ...command.commands.flatMap((one) => places(one, [...above, one.name()], options))];
}

/** @type {Record<string, (places: Place[]) => string[]>} */
const SHELLS = {
  bash: (all) => [
    "_gateway_operator() {",
    ...posix(all, "${COMP_WORDS[COMP_CWORD]}", '"${COMP_WORDS[@]:1:COMP_CWORD-1}"'),
    '  COMPREPLY=($(compgen -W "$words" -- "$current"))',
    "}",
    `complete -o default -F _gateway_operator ${NAMES.join(" ")}`,
  ],
  zsh: (all) => [
    `#compdef ${NAMES.join(" ")}`,
    "_gateway_operator() {",
    ...posix(all, "${words[CURRENT]}", '"${(@)words[2,CURRENT-1]}"').map((line) =>
      line.replaceAll("words=", "reply=").replaceAll("local words", "local reply"),
    ),
    "  compadd -- ${=reply}",
    "}",
    `compdef _gateway_operator ${NAMES.join(" ")}`,
  ],
  fish: (all) => [
    "function __gateway_operator_at",
    "  set -l typed (string match -v -- '-*' (commandline -opc)[2..-1])",
    "  set -l known",
    "  for one in $typed",
    "    contains -- (string join ' ' $known $one) $__gateway_operator_paths; or break",
    "    set known $known $one",
    "  end",
    '  test "$(string join \' \' $known)" = "$argv[1]"',
    "end",
    `set -g __gateway_operator_paths ${all.map(({ path }) => `'${path}'`).join(" ")}`,
    ...NAMES.flatMap((name) =>
      all.flatMap(({ path, words, options }) => [
        `complete -c ${name} -f -n "__gateway_operator_at '${path}'" -a "${words.join(" ")}"`,
        ...options.map(
          (option) =>
            `complete -c ${name} -f -n "__gateway_operator_at '${path}'" -l ${option.slice(2)}`,
        ),
      ]),
    ),
  ],
};

/**
 * The lines that find the words for the cursor: the commands before it form a path.
 *
 * @param {Place[]} all
 * @param {string} current
 * @param {string} before
 */
function posix(all, current, before) {
  const paths = all.filter(({ path }) => path !== "").map(({ path }) => `'${path}'`);
  return [
    `  local current="${current}" at="" one words=""`,
    `  for one in ${before}; do`,
    '    case "${at:+$at }$one" in',
    `      ${paths.join("|")}) at="\${at:+$at }$one" ;;`,
    "    esac",
    "  done",
    '  case "$at" in',
    ...all.map(
      ({ path, words, options }) => `    '${path}') words="${[...words, ...options].join(" ")}" ;;`,
    ),
    "  esac",
  ];
}

/**
 * The action of the command.
 *
 * @param {Command} program
 */
export const completion =
  (program) =>
  async (/** @type {Options} */ { shell }) => {
    const lines = SHELLS[shell];
    if (lines === undefined || !Object.hasOwn(SHELLS, shell)) {
      throw new UsageError(`SHELL must be one of: ${Object.keys(SHELLS).join(", ")}`);
    }
    await print(lines(places(program)));
  };
