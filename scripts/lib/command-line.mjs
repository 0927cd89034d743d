// @ts-check
// Command lines of the operators' scripts, built with commander.
//
// A mistake in the arguments ends the process with exit status 2, any other Failure with 1.

import { safeText } from "./safe-text.mjs";
import { Failure, note, requirePackages, UsageError } from "./terminal.mjs";

/** @import { Command } from "commander" */

const {
  Command: Program,
  CommanderError,
  Option,
} = await import("commander").catch(requirePackages);

/**
 * @typedef {object} Settings
 * @property {(text: string) => unknown} [read] - Checks and converts the value.
 * @property {boolean} [multiple] - The option can be repeated; its value is an array.
 * @property {boolean} [required]
 * @property {string[]} [conflicts] - The options that exclude this one.
 */

/**
 * A program without commands, whose commands take the options of the program as well.
 *
 * @param {string} name
 */
export function createProgram(name) {
  return new Program(name)
    .usage("COMMAND [options]")
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({ outputError: (text) => note(safeText(text.trim().replaceAll("\n", " "))) })
    .exitOverride();
}

/**
 * An option of a command or a program.
 *
 * @param {string} flags - Such as "--name NAME"; without a value it is a flag.
 * @param {string} help
 * @param {Settings} [settings]
 */
export function option(flags, help, settings = {}) {
  const { read = (text) => text, multiple = false, required = false, conflicts = [] } = settings;
  const [flag, value] = flags.split(" ");
  const made = new Option(
    value ? `${flag} <${value}>` : flag,
    multiple ? `${help} (repeatable)` : help,
  )
    .makeOptionMandatory(required)
    .conflicts(conflicts);
  if (!value) return made;
  return made.argParser((text, previous) => {
    // Commander would take the next option as the value.
    if (text.startsWith("--"))
      throw new UsageError(`${flag} needs a value, and ${text} is an option`);
    return multiple ? [.../** @type {unknown[]} */ (previous ?? []), read(text)] : read(text);
  });
}

/**
 * The action of a command: runs it with the values of all options and of its operand.
 *
 * @template Options
 * @param {(options: Options) => Promise<void>} run
 */
export function action(run) {
  /** @param {any[]} args - The operands, the options and the command. */
  return (...args) => {
    /** @type {Command} */
    const command = args.at(-1);
    const operands = command.registeredArguments.map((operand, at) => [
      operand.name().toLowerCase(),
      args[at],
    ]);
    return run(
      /** @type {Options} */ ({ ...command.optsWithGlobals(), ...Object.fromEntries(operands) }),
    );
  };
}

/**
 * @param {Command} program
 * @param {(argv: string[]) => void} check - Runs before the arguments are parsed.
 */
export async function runProgram(program, check) {
  const argv = process.argv.slice(2);
  try {
    check(argv);
    await program.parseAsync(argv, { from: "user" });
  } catch (error) {
    if (error instanceof CommanderError) {
      process.exitCode = error.exitCode === 0 ? 0 : 2;
    } else if (error instanceof Failure) {
      // The message may contain text from another machine.
      note(safeText(error.message));
      process.exitCode = error instanceof UsageError ? 2 : 1;
    } else {
      throw error;
    }
  }
}
