// @ts-check
//! Reads requests, and bodies up to a limit, so that no caller and no upstream can fill the isolate's memory.

import { beat } from "./heartbeat.js";
import { grow, release } from "./memory.js";

/** The least number of bytes of a rejected body that are read and discarded. */
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
 * Reads the body of a request whose declared size is small, in one go.
 *
 * @param {Request} request
 * @param {number} ms the longest time that it may take
 * @returns {Promise<Uint8Array | "late">}
 */
export function readSmall(request, ms) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => resolve("late"), ms);
    request.arrayBuffer().then(
      (buffer) => {
        clearTimeout(timer);
        resolve(new Uint8Array(buffer));
      },
      (error) => {
        clearTimeout(timer);
        reject(error);
      },
    );
  });
}

/** The number of bytes that are read at once. Smaller pieces would cost an entry into the isolate each. */
const PIECE = 65_536;

/**
 * Reads the body of a request piece by piece. Each piece has room in the budget before it is read.
 *
 * @param {Request} request
 * @param {number} limit in bytes; 0 if the body is only to be discarded, because it is declared to be too large
 * @param {number} ms the longest time that it may take
 * @param {number} ticket of the budget
 * @param {number} share the part of each byte that counts in the budget
 * @param {number | undefined} heartbeat of the call
 * @param {number} heartbeatMs its interval
 * @returns {Promise<Uint8Array[] | "too_large" | "overloaded" | "late">}
 */
export async function readPieces(request, limit, ms, ticket, share, heartbeat, heartbeatMs) {
  if (request.body === null) return [];
  const reader = request.body.getReader({ mode: "byob" });
  const until = Date.now() + ms;
  /** @type {"" | "too_large" | "overloaded" | "late"} */
  let failure = limit === 0 ? "too_large" : "";
  const check = () => {
    if (heartbeat !== undefined) beat(heartbeat);
    const left = until - Date.now();
    if (left > 0) {
      timer = setTimeout(check, Math.min(left, heartbeatMs));
    } else {
      failure ||= "late";
      reader.cancel().catch(() => {});
    }
  };
  let timer = setTimeout(check, Math.min(ms, heartbeatMs));
  /** @type {Uint8Array[]} */
  const pieces = [];
  let size = 0;
  let spare = new ArrayBuffer(PIECE);
  // The rest of a body that is rejected is read and discarded, within bounds: a client that gets its response in the
  // middle of its upload would see a broken connection instead.
  let patience = Math.max(2 * limit, PATIENCE);
  try {
    while (patience > 0) {
      if (failure === "" && !grow(ticket, PIECE * share)) failure = "overloaded";
      if (failure !== "") {
        // Others need the room at once, and not when the rest has been discarded.
        pieces.length = 0;
        release(ticket);
      }
      const { done, value } = await reader.readAtLeast(PIECE, new Uint8Array(spare));
      if (done || value === undefined || value.byteLength === 0) break;
      if (failure !== "") {
        patience -= value.byteLength;
        spare = value.buffer;
        continue;
      }
      size += value.byteLength;
      if (size > limit) failure = "too_large";
      pieces.push(value);
      spare = new ArrayBuffer(PIECE);
    }
  } catch (error) {
    // A read ends so after `cancel` too.
    if (failure === "") throw error;
  } finally {
    clearTimeout(timer);
  }
  if (patience <= 0) reader.cancel().catch(() => {});
  return failure || pieces;
}

/**
 * Reads a whole stream.
 *
 * @param {ReadableStream<Uint8Array>} stream
 * @param {number} limit in bytes
 * @param {() => void} onProgress called before each read
 * @param {number} ticket of the budget
 * @returns {Promise<Uint8Array | "too_large" | "overloaded">}
 */
export async function collect(stream, limit, onProgress, ticket) {
  const reader = stream.getReader();
  /** @type {Uint8Array[]} */
  const chunks = [];
  let size = 0;
  let granted = 0;
  for (;;) {
    onProgress();
    const { done, value } = await reader.read();
    if (done) return join(chunks, size);
    size += value.byteLength;
    const more = Math.max(PIECE, size - granted);
    const failure =
      size > limit ? "too_large" : size > granted && !grow(ticket, more) ? "overloaded" : "";
    if (failure !== "") {
      reader.cancel().catch(() => {});
      return failure;
    }
    if (size > granted) granted += more;
    chunks.push(value);
  }
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
