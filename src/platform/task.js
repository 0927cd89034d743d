// @ts-check
//! Waits for the promises of a task in Rust. See `task.rs`.

import { failed, instance, trapped } from "./instance.js";

/**
 * Waits for a promise and resumes the task with its result, until the task has ended. Resolves to the value of the
 * task; rejects if the Wasm instance of the task fails, in this task or another.
 *
 * @param {(task: number, value: unknown, failed: boolean) => unknown} resume returns the next promise, or the value
 * of the task
 * @param {number} task
 * @param {Promise<unknown>} first
 * @returns {Promise<unknown>}
 */
export async function drive(resume, task, first) {
  const own = instance;
  /** @type {unknown} */
  let next = first;
  while (next instanceof Promise) {
    let value;
    let rejected = false;
    try {
      value = await next;
    } catch (error) {
      value = error;
      rejected = true;
    }
    if (failed || instance !== own) throw new Error("the Wasm instance of this task has failed");
    try {
      next = resume(task, value, rejected);
    } catch (error) {
      trapped(error);
      throw error;
    }
  }
  return next;
}
