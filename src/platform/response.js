// @ts-check
//! Makes the runtime's responses. See `response.rs`.

/** The headers of every reply. They are made once, and copied by the runtime, which costs a third of setting each. */
const COMMON = new Headers({
  "cache-control": "no-store",
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
  "referrer-policy": "no-referrer",
  "access-control-allow-origin": "*",
});

/**
 * A response with the headers of every reply, and others. These come as one text, so that there is one to decode.
 *
 * @param {number} status
 * @param {string} headers names and values, each with a line feed behind it
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
