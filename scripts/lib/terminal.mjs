// @ts-check
// The output of a command: results on standard output, remarks on standard error, and the failures that are
// shown as one sentence.
//
// It does not set the exit status: `runProgram` does.

/** A failure that the operator can act on: shown as one sentence, without a stack trace. */
export class Failure extends Error {}

/** A mistake in the arguments. */
export class UsageError extends Failure {}

// print() reports the failure; without a listener the same event would also end the process.
process.stdout.on("error", () => {});

/**
 * @param {string[]} lines
 * @returns {Promise<void>} Fails when the lines could not be handed over, for instance to a closed pipe.
 */
export function print(lines) {
  return new Promise((done, fail) => {
    process.stdout.write(lines.map((line) => `${line}\n`).join(""), (error) => {
      if (error) fail(new Failure(`Cannot write to standard output: ${explain(error)}`));
      else done();
    });
  });
}

/** @param {string} sentence */
export function note(sentence) {
  process.stderr.write(`${sentence}\n`);
}

/**
 * Handles a failed import of an npm package.
 *
 * @param {any} error
 * @returns {never}
 */
export function requirePackages(error) {
  if (error.code !== "ERR_MODULE_NOT_FOUND") throw error;
  note('npm packages are missing: run "npm install" in the repository');
  process.exit(1);
}

/** @param {unknown} error */
export function explain(error) {
  return error instanceof Error ? error.message : String(error);
}
