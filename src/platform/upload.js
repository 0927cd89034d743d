// @ts-check
//! Uploads on their way to an upstream: the pieces that have arrived, with some bytes replaced. See `upload.rs`.

/**
 * A body in pieces.
 *
 * @typedef {object} Pieces
 * @property {string} type the content type
 * @property {number} size in bytes
 * @property {Uint8Array[]} list
 */

/**
 * A body with other bytes in some places. Nothing is copied.
 *
 * @param {Uint8Array[]} pieces
 * @param {string} type
 * @param {(number | Uint8Array)[]} changes start, end and new bytes of each, in the order of their places
 * @returns {Pieces}
 */
export function spliced(pieces, type, changes) {
  /** @type {Pieces} */
  const body = { type, size: 0, list: [] };
  /** @param {Uint8Array} bytes */
  const add = (bytes) => {
    if (bytes.byteLength > 0) body.list.push(bytes);
    body.size += bytes.byteLength;
  };
  let index = 0;
  /** The position of the piece. */
  let at = 0;
  /** @param {number} start @param {number} end */
  const pass = (start, end) => {
    for (let piece = pieces[index]; piece !== undefined; piece = pieces[(index += 1)]) {
      const last = at + piece.byteLength;
      const stop = Math.min(end, last);
      if (start < stop) {
        add(piece.subarray(start - at, stop - at));
        start = stop;
      }
      if (end < last) return;
      at = last;
    }
  };
  let passed = 0;
  for (let change = 0; change < changes.length; change += 3) {
    pass(passed, /** @type {number} */ (changes[change]));
    passed = /** @type {number} */ (changes[change + 1]);
    add(/** @type {Uint8Array} */ (changes[change + 2]));
  }
  pass(passed, Infinity);
  return body;
}

/**
 * A body as a stream of a known length, which the runtime reads as fast as the upstream takes it.
 *
 * @param {Pieces} body
 * @param {AbortSignal} signal aborted when the request is cancelled
 * @returns {ReadableStream}
 */
export function streamed({ size, list }, signal) {
  const { readable, writable } = new FixedLengthStream(size);
  const writer = writable.getWriter();
  signal.addEventListener("abort", () => writer.abort(signal.reason).catch(() => {}));
  const write = async () => {
    for (const piece of list) await writer.write(piece);
    await writer.close();
  };
  // An upstream that does not take all of it ends the stream, and its response is what counts.
  write().catch(() => {});
  return readable;
}
