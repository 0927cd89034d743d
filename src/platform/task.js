// @ts-check
//! Waits for what a task of Rust waits for. See `task.rs`.

/**
 * Waits for a promise, resumes the task with what has become of it, and so on until the task has ended. It resolves to what
 * the task gives.
 *
 * @param {(task: number, value: unknown, failed: boolean) => unknown} resume gives the next promise, or what the task gives
 * @param {number} task
 * @param {Promise<unknown>} first
 * @returns {Promise<unknown>}
 */
export async function drive(resume, task, first) {
  /** @type {unknown} */
  let next = first;
  while (next instanceof Promise) {
    let value;
    let failed = false;
    try {
      value = await next;
    } catch (error) {
      value = error;
      failed = true;
    }
    next = resume(task, value, failed);
  }
  return next;
}
