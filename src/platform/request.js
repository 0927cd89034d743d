// @ts-check
//! Reading requests; and bodies with a bound, so that no caller and no upstream can fill the isolate's memory.

/** How much of a body that is too large is read and thrown away, at least, in bytes: see `discard`. */
const PATIENCE = 32 * 1024 * 1024;

/**
 * Method, address and some headers of a request, each on a line; NUL for a header that is not there. Names and values have no
 * line feeds. One text is one crossing into Wasm, and one conversion.
 *
 * @param {Request} request
 * @param {string[]} names of the headers
 */
export function readHead(request, names) {
  const { headers } = request;
  let head = `${request.method}\n${request.url}`;
  for (const name of names) head += `\n${headers.get(name) ?? "\0"}`;
  return head;
}

/**
 * The whole body of a request.
 *
 * @param {Request} request
 * @param {number} limit in bytes
 * @returns {Promise<Uint8Array | null>} null when the body is larger than the limit
 */
export async function readRequest(request, limit) {
  const length = request.headers.get("content-length");
  if (length !== null && Number(length) <= limit)
    return new Uint8Array(await request.arrayBuffer());
  if (request.body === null) return new Uint8Array();
  const patience = Math.max(2 * limit, PATIENCE);
  if (length === null) return collect(request.body, limit, () => {}, patience);
  await discard(request.body.getReader(), patience);
  return null;
}

/**
 * The whole of a stream.
 *
 * @param {ReadableStream<Uint8Array>} stream
 * @param {number} limit in bytes
 * @param {() => void} onProgress called before each chunk is waited for
 * @param {number} patience how many bytes beyond the limit are read and thrown away
 * @returns {Promise<Uint8Array | null>} null when there is more than the limit
 */
export async function collect(stream, limit, onProgress, patience) {
  const reader = stream.getReader();
  /** @type {Uint8Array[]} */
  const chunks = [];
  let size = 0;
  for (;;) {
    onProgress();
    const { done, value } = await reader.read();
    if (done) break;
    size += value.byteLength;
    if (size > limit) {
      await discard(reader, patience);
      return null;
    }
    chunks.push(value);
  }
  return join(chunks, size);
}

/**
 * Chunks as one.
 *
 * @param {Uint8Array[]} chunks
 * @param {number} size of all, in bytes
 */
export function join(chunks, size) {
  if (chunks.length === 1 && chunks[0]) return chunks[0];
  const whole = new Uint8Array(size);
  let offset = 0;
  for (const chunk of chunks) {
    whole.set(chunk, offset);
    offset += chunk.byteLength;
  }
  return whole;
}

/**
 * Reads on without keeping anything, and cancels what is longer than `patience` bytes. A client that is answered in the
 * middle of its upload would see a broken connection instead of the answer.
 *
 * @param {ReadableStreamDefaultReader<Uint8Array>} reader
 * @param {number} patience
 */
async function discard(reader, patience) {
  for (let left = patience; left > 0;) {
    const { done, value } = await reader.read();
    if (done) return;
    left -= value.byteLength;
  }
  reader.cancel().catch(() => {});
}
