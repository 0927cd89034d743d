// @ts-check
//! The bytes that calls hold in JavaScript count against the budget of the isolate. See `memory.rs`.

/**
 * Asks the budget for more bytes under a ticket; false if there is no room.
 *
 * @type {(ticket: number, bytes: number) => boolean}
 */
export let grow = () => true;

/**
 * Gives back all bytes of a ticket, which is invalid from then on.
 *
 * @type {(ticket: number) => void}
 */
export let release = () => {};

/**
 * @param {typeof grow} onGrow
 * @param {typeof release} onRelease
 */
export function connectBudget(onGrow, onRelease) {
  grow = onGrow;
  release = onRelease;
}

/** The number of bytes that are passed on at once. */
const PIECE = 65_536;

/**
 * A stream of bytes that the client may take slowly. The ticket is released when the client has them all, has left, or
 * takes nothing for too long.
 *
 * @param {AbortSignal} client
 * @param {Uint8Array} bytes
 * @param {number} idleMs the longest time for which the client may take nothing
 * @param {number} ticket
 * @returns {{ readable: ReadableStream, finished: Promise<void> }}
 */
export function handOver(client, bytes, idleMs, ticket) {
  const { readable, writable } = new FixedLengthStream(bytes.byteLength);
  const writer = writable.getWriter();
  const leave = () => writer.abort("the client takes nothing").catch(() => {});
  client.addEventListener("abort", leave);
  const finished = (async () => {
    for (let start = 0; start < bytes.byteLength; start += PIECE) {
      const timer = setTimeout(leave, idleMs);
      await writer.write(bytes.subarray(start, start + PIECE)).finally(() => clearTimeout(timer));
    }
    await writer.close();
  })()
    .catch(() => {})
    .finally(() => release(ticket));
  return { readable, finished };
}
