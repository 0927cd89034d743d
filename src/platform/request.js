// @ts-check
//! Reads requests, and bodies up to a limit, so that no caller and no upstream can fill the isolate's memory.

/** The least number of bytes of a body over the limit that are read and discarded: see `discard`. */
const PATIENCE = 32 * 1024 * 1024;

/**
 * The method, the URL and some headers of a request, one in each line; NUL for a missing header. Names and values
 * contain no line feeds. One string means one crossing into Wasm and one conversion.
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
 * Reads the whole body of a request.
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
 * Reads a whole stream.
 *
 * @param {ReadableStream<Uint8Array>} stream
 * @param {number} limit in bytes
 * @param {() => void} onProgress called before each read
 * @param {number} patience number of bytes beyond the limit that are read and discarded
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
 * Joins chunks.
 *
 * @param {Uint8Array[]} chunks
 * @param {number} size of all chunks, in bytes
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
 * Reads on and discards the data, and cancels the stream after `patience` bytes. A client that gets its response in
 * the middle of its upload would see a broken connection instead.
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
