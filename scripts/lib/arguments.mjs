// @ts-check
// A command line described by tables: parsing its arguments, and the help that lists what they may be.
//
// It names no command and no option of its own, except that --help and no arguments at all mean the
// command help. It runs no command, and it judges a value only by the `read` of its option.

import { Failure } from "./terminal.mjs";

/**
 * @typedef {object} OptionSpec
 * @property {string} [value] - What the help calls its value; an option without one is a flag.
 * @property {string} help
 * @property {(text: string) => string} [read] - Checks and normalises the value.
 */

/**
 * @template Options
 * @typedef {object} Command
 * @property {string} summary
 * @property {(keyof Options & string)[]} [needs]
 * @property {(keyof Options & string)[]} [takes]
 * @property {string} [noArguments] - Why it takes no positional argument, where that needs saying.
 * @property {(options: Options) => void | Promise<void>} run
 */

/**
 * @template Options
 * @typedef {object} Tables
 * @property {Record<string, Command<Options>>} commands - One of them is help.
 * @property {Record<string, OptionSpec>} options
 * @property {(keyof Options & string)[]} shared - The options that every command takes.
 * @property {Options} defaults
 */

const HELP_FLAGS = ["--help", "-h"];

/**
 * @template {object} Options
 * @param {string[]} argv
 * @param {Tables<Options>} tables
 * @returns {{ command: Command<Options>, options: Options }}
 */
export function parseArguments(argv, tables) {
  const [first = "help", ...words] = argv;
  const name = HELP_FLAGS.includes(first) ? "help" : first;
  const command = field(tables.commands, name);
  if (!command) throw new Failure(`Unknown command: ${name}`);

  const needed = command.needs ?? [];
  /** @type {string[]} */
  const allowed = [...needed, ...(command.takes ?? []), ...tables.shared];
  const options = { ...tables.defaults };
  /** @type {Set<string>} */
  const given = new Set();
  for (let at = 0; at < words.length; at += 1) {
    const word = words[at];
    if (HELP_FLAGS.includes(word)) return { command: tables.commands.help, options };
    if (!word.startsWith("-") || word === "-") {
      throw new Failure(command.noArguments ?? `Unexpected argument: ${word}`);
    }
    const option = word.slice(2);
    const spec = word.startsWith("--") ? field(tables.options, option) : undefined;
    if (!spec) throw new Failure(unknownOption(word, tables.options));
    if (!allowed.includes(option)) throw new Failure(`${name} does not take ${word}`);
    if (given.has(option)) throw new Failure(`${word} is given more than once`);
    given.add(option);

    if (!spec.value) {
      Object.assign(options, { [option]: true });
      continue;
    }
    at += 1;
    const value = words[at];
    if (!value || value.startsWith("--")) throw new Failure(`Missing value for ${word}`);
    Object.assign(options, { [option]: spec.read ? spec.read(value) : value });
  }

  for (const option of needed) {
    if (!given.has(option)) throw new Failure(`${name} needs ${synopsis(option, tables.options)}`);
  }
  return { command, options };
}

/**
 * A member of a table, never one that every object inherits.
 *
 * @template T
 * @param {Record<string, T>} table
 * @param {string} name
 * @returns {T | undefined}
 */
function field(table, name) {
  return Object.hasOwn(table, name) ? table[name] : undefined;
}

/**
 * @param {string} word
 * @param {Record<string, OptionSpec>} options
 */
function unknownOption(word, options) {
  const [option] = word.split("=", 1);
  return option !== word && field(options, option.slice(2))
    ? `Unknown option: ${option}= (write the value as an argument of its own: ${option} VALUE)`
    : `Unknown option: ${option}`;
}

/**
 * The lines of the help that follow from the tables.
 *
 * @template Options
 * @param {Tables<Options>} tables
 */
export function helpLines({ commands, options }) {
  const width = Math.max(...Object.keys(commands).map((name) => name.length)) + 2;
  const commandLines = Object.entries(commands).flatMap(([name, command]) => {
    const needs = (command.needs ?? []).map((option) => synopsis(option, options));
    const takes = (command.takes ?? []).map((option) => `[${synopsis(option, options)}]`);
    const line = `  ${name.padEnd(width)}${command.summary}`;
    const syntax = [...needs, ...takes].join(" ");
    return syntax ? [line, `  ${"".padEnd(width)}${syntax}`] : [line];
  });
  const optionLines = Object.entries(options).map(
    ([name, { help }]) => `  ${synopsis(name, options).padEnd(18)}${help}`,
  );
  return ["Commands:", ...commandLines, "", "Options:", ...optionLines];
}

/**
 * @param {string} option
 * @param {Record<string, OptionSpec>} options
 */
function synopsis(option, options) {
  const { value } = options[option];
  return value ? `--${option} ${value}` : `--${option}`;
}
