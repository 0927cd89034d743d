// @ts-check
// A command line described by tables: parsing its arguments, and the help that lists what they may be.
//
// A command is called by one word or by two, such as "keys list". It may take one operand, a word that is
// no option, such as the name of a key. After "--" everything is an operand, even if it begins with a dash.
//
// It names no command and no option of its own, except that --help and no arguments at all mean the
// command help. It runs no command, and it judges a value only by the `read` of its option.

import { Failure } from "./terminal.mjs";

/**
 * @typedef {object} OptionSpec
 * @property {string} [value] - What the help calls its value; an option without one is a flag.
 * @property {string} help
 * @property {boolean} [repeatable] - It may be given again: an array of its values.
 * @property {(text: string) => unknown} [read] - Checks and normalises the value.
 */

/**
 * @template Options
 * @typedef {object} Command
 * @property {string} summary
 * @property {keyof Options & string} [operand] - It must be given, as an argument without a dash.
 * @property {(keyof Options & string)[]} [needs]
 * @property {(keyof Options & string | (keyof Options & string)[])[]} [takes] - Of a list, only one.
 * @property {string} [noArguments] - Why it takes no positional argument, where that needs saying.
 * @property {(options: Options) => void | Promise<void>} run
 */

/**
 * @template Options
 * @typedef {object} Tables
 * @property {Record<string, Command<Options>>} commands - One of them is help.
 * @property {Record<string, OptionSpec>} options
 * @property {Record<string, string>} [operands] - What the help calls each operand.
 * @property {(keyof Options & string)[]} shared - The options that every command takes.
 * @property {Options} defaults - An empty array for each repeatable option.
 */

const HELP_FLAGS = ["--help", "-h"];
const HELP_WIDTH = 100;

/**
 * @template {object} Options
 * @param {string[]} argv
 * @param {Tables<Options>} tables
 * @returns {{ command: Command<Options>, options: Options }}
 */
export function parseArguments(argv, tables) {
  const { name, command, words } = findCommand(argv, tables.commands);
  const { operand, needs = [], takes = [] } = command;
  /** @type {string[]} */
  const allowed = [...needs, ...takes.flat(), ...tables.shared];
  const options = { ...tables.defaults };
  /** @type {Set<string>} */
  const given = new Set();
  let dashes = true;
  for (let at = 0; at < words.length; at += 1) {
    const word = words[at];
    if (dashes && HELP_FLAGS.includes(word)) return { command: tables.commands.help, options };
    if (dashes && operand && word === "--") {
      dashes = false;
      continue;
    }
    if (!dashes || !word.startsWith("-") || word === "-") {
      if (!operand || given.has(operand)) {
        throw new Failure(command.noArguments ?? `Unexpected argument: ${word}`);
      }
      given.add(operand);
      Object.assign(options, { [operand]: word });
      continue;
    }
    const option = word.slice(2);
    const spec = word.startsWith("--") ? field(tables.options, option) : undefined;
    if (!spec) throw new Failure(unknownOption(word, tables.options));
    if (!allowed.includes(option)) throw new Failure(`${name} does not take ${word}`);
    if (given.has(option) && !spec.repeatable) throw new Failure(`${word} is given more than once`);
    const rival = rivals(option, takes).find((other) => given.has(other));
    if (rival) throw new Failure(`--${rival} and ${word} exclude each other`);
    given.add(option);

    /** @type {unknown} */
    let value = true;
    if (spec.value) {
      at += 1;
      const text = words[at];
      if (!text || text.startsWith("--")) throw new Failure(`Missing value for ${word}`);
      value = spec.read ? spec.read(text) : text;
    }
    if (spec.repeatable) value = [.../** @type {any} */ (options)[option], value];
    Object.assign(options, { [option]: value });
  }

  if (operand && !given.has(operand)) {
    throw new Failure(`${name} needs ${tables.operands?.[operand]}`);
  }
  for (const option of needs) {
    if (!given.has(option)) throw new Failure(`${name} needs ${synopsis(option, tables.options)}`);
  }
  return { command, options };
}

/**
 * @template Options
 * @param {string[]} argv
 * @param {Record<string, Command<Options>>} commands
 */
function findCommand(argv, commands) {
  const [called = "help", ...rest] = argv;
  const first = HELP_FLAGS.includes(called) ? "help" : called;
  const [second = "", ...others] = rest;
  const pair = `${first} ${second}`;
  const command = field(commands, pair);
  if (command) return { name: pair, command, words: others };
  const single = field(commands, first);
  if (single) return { name: first, command: single, words: rest };

  const group = Object.keys(commands).filter((name) => name.startsWith(`${first} `));
  if (group.length === 0) throw new Failure(`Unknown command: ${first}`);
  if (HELP_FLAGS.includes(second)) return { name: "help", command: commands.help, words: [] };
  const seconds = group.map((name) => name.slice(first.length + 1)).join(", ");
  throw new Failure(`The word after ${first} must be one of: ${seconds}`);
}

/**
 * The options that cannot be given beside this one.
 *
 * @param {string} option
 * @param {(string | string[])[]} takes
 */
function rivals(option, takes) {
  const lists = takes.filter((entry) => Array.isArray(entry) && entry.includes(option));
  return lists.flat().filter((other) => other !== option);
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
export function helpLines({ commands, options, operands = {} }) {
  const calls = Object.entries(commands).map(([name, command]) => ({
    call: command.operand ? `${name} ${operands[command.operand]}` : name,
    command,
  }));
  const width = columnWidth(calls.map(({ call }) => call));
  const commandLines = calls.flatMap(({ call, command }) => [
    `  ${call.padEnd(width)}${command.summary}`,
    ...wrapped(syntaxOf(command, options), HELP_WIDTH - width).map(
      (line) => `  ${"".padEnd(width)}${line}`,
    ),
  ]);
  const synopses = columnWidth(Object.keys(options).map((name) => synopsis(name, options)));
  const optionLines = Object.entries(options).map(
    ([name, { help }]) => `  ${synopsis(name, options).padEnd(synopses)}${help}`,
  );
  return ["Commands:", ...commandLines, "", "Options:", ...optionLines];
}

/**
 * @template Options
 * @param {Command<Options>} command
 * @param {Record<string, OptionSpec>} options
 */
function syntaxOf({ needs = [], takes = [] }, options) {
  return [
    ...needs.map((option) => synopsis(option, options)),
    ...takes.map((entry) => {
      const choice = [entry].flat();
      const syntax = `[${choice.map((option) => synopsis(option, options)).join(" | ")}]`;
      return choice.some((option) => options[option].repeatable) ? `${syntax}...` : syntax;
    }),
  ];
}

/**
 * @param {string[]} parts
 * @param {number} width
 */
function wrapped(parts, width) {
  /** @type {string[]} */
  const lines = [];
  for (const part of parts) {
    const longer = `${lines.at(-1)} ${part}`;
    if (lines.length > 0 && longer.length <= width) lines[lines.length - 1] = longer;
    else lines.push(part);
  }
  return lines;
}

/** @param {string[]} words */
function columnWidth(words) {
  return Math.max(...words.map((word) => word.length)) + 2;
}

/**
 * @param {string} option
 * @param {Record<string, OptionSpec>} options
 */
function synopsis(option, options) {
  const { value } = options[option];
  return value ? `--${option} ${value}` : `--${option}`;
}
