// @ts-check
// What a command tells its operator: results on standard output, remarks on standard error, and the
// failures that are shown as a bare sentence.
//
// It does not end the process or set its exit status: the script that catches a Failure does.

/** A mistake that the operator can put right: shown as a bare sentence, without a stack. */
export class Failure extends Error {}

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

/** @param {unknown} error */
export function explain(error) {
  return error instanceof Error ? error.message : String(error);
}
