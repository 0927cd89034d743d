// @ts-check
//! Signatures of others, checked by the runtime's WebCrypto, and the public keys that they are checked with.

const KEYS_MS = 5_000;
const MAX_KEYS_BYTES = 65_536;

/**
 * Reads public keys.
 *
 * @param {string} url
 * @returns {Promise<string>} the response of success; redirects are not followed
 */
export async function readKeys(url) {
  const response = await fetch(url, {
    redirect: "manual",
    signal: AbortSignal.timeout(KEYS_MS),
    headers: { accept: "application/json", "user-agent": "gatehouse" },
  });
  if (response.status !== 200 || response.body === null) {
    await response.body?.cancel();
    throw new Error(`status ${response.status}`);
  }
  const decoder = new TextDecoder();
  let size = 0;
  let text = "";
  for await (const piece of response.body) {
    size += piece.length;
    if (size > MAX_KEYS_BYTES) throw new Error("the response is too large");
    text += decoder.decode(piece, { stream: true });
  }
  return text + decoder.decode();
}

/**
 * Checks a signature with RS256.
 *
 * @param {string} key JSON Web Key
 * @param {string} signed
 * @param {string} signature in hexadecimal digits
 * @returns {Promise<boolean>}
 */
export async function verify(key, signed, signature) {
  const algorithm = { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" };
  const imported = await crypto.subtle.importKey("jwk", JSON.parse(key), algorithm, false, [
    "verify",
  ]);
  const bytes = Uint8Array.from(signature.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
  return crypto.subtle.verify(algorithm, imported, bytes, new TextEncoder().encode(signed));
}
