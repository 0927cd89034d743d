// @ts-check
//! Waits for what a task of Rust waits for. See `task.rs`.

import { failed, instance, trapped } from "./instance.js";

/**
 * Waits for a promise, resumes the task with what has become of it, and so on until the task has ended. It resolves to what
 * the task gives, and rejects if the Wasm instance of the task fails, in this task or another.
 *
 * @param {(task: number, value: unknown, failed: boolean) => unknown} resume gives the next promise, or what the task gives
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
