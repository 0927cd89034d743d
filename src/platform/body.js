// @ts-check
//! Reading bodies with a bound, so that no caller and no upstream can fill the isolate's memory.

/**
 * The whole body of a request.
 *
 * @param {Request} request
 * @param {number} limit in bytes
 * @returns {Promise<Uint8Array | null>} null when the body is larger than the limit
 */
export async function readRequest(request, limit) {
  const length = request.headers.get("content-length");
  if (length !== null) {
    return Number(length) <= limit ? new Uint8Array(await request.arrayBuffer()) : null;
  }
  return request.body === null ? new Uint8Array() : collect(request.body, limit, () => {});
}

/**
 * The whole of a stream.
 *
 * @param {ReadableStream<Uint8Array>} stream
 * @param {number} limit in bytes
 * @param {() => void} onProgress called before each chunk is waited for
 * @returns {Promise<Uint8Array | null>} null when there is more than the limit; the stream is cancelled then
 */
export async function collect(stream, limit, onProgress) {
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
      reader.cancel().catch(() => {});
      return null;
    }
    chunks.push(value);
  }
  if (chunks.length === 1 && chunks[0]) return chunks[0];
  const whole = new Uint8Array(size);
  let offset = 0;
  for (const chunk of chunks) {
    whole.set(chunk, offset);
    offset += chunk.byteLength;
  }
  return whole;
}
