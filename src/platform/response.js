// @ts-check
//! Creates the runtime's responses. See `response.rs`.

/** The headers of every response. Created once; copying them costs a third of setting each. */
const COMMON = new Headers({
  "cache-control": "no-store",
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
  "referrer-policy": "no-referrer",
  "access-control-allow-origin": "*",
});

/**
 * Creates a response with the headers of every response and additional ones. These are one string, so that Wasm
 * passes one value.
 *
 * @param {number} status
 * @param {string} headers names and values, each followed by a line feed
 * @param {BodyInit | null} body
 */
export function respond(status, headers, body) {
  const response = new Response(body, { status, headers: COMMON });
  const lines = headers.split("\n");
  for (let line = 0; line + 2 < lines.length; line += 2) {
    response.headers.set(lines[line] ?? "", lines[line + 1] ?? "");
  }
  return response;
}
