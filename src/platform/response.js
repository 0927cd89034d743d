// @ts-check
//! Creates the runtime's responses. See `response.rs`.

/** The headers of every response. Created once; copying them costs a third of setting each. */
const COMMON = {
  "cache-control": "no-store",
  "x-content-type-options": "nosniff",
};

/** A response with an upstream's body is never a page, and there are far more of them than of all others. */
const FORWARDED = new Headers(COMMON);

/** Responses of the gateway itself may be shown by a browser. */
const OWN = new Headers({
  ...COMMON,
  "x-frame-options": "DENY",
  "referrer-policy": "no-referrer",
});

/**
 * Creates a response with the headers of every response and additional ones. These are one string, so that Wasm
 * passes one value.
 *
 * @param {number} status
 * @param {string} headers names and values, each followed by a line feed
 * @param {Uint8Array<ArrayBuffer> | ReadableStream | string | null} body the first two are an upstream's
 */
export function respond(status, headers, body) {
  const isForwarded = body !== null && typeof body === "object";
  const response = new Response(body, { status, headers: isForwarded ? FORWARDED : OWN });
  // Each reading of `response.headers` costs as much as a quarter of a header.
  const own = response.headers;
  const lines = headers.split("\n");
  for (let line = 0; line + 2 < lines.length; line += 2) {
    own.set(lines[line] ?? "", lines[line + 1] ?? "");
  }
  return response;
}
