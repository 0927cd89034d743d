// @ts-check
//! Encryption with AES-256-GCM by the runtime's WebCrypto. All texts of one exchange are one string in each direction.
//!
//! A sealed text is a nonce of 12 bytes, the ciphertext and its tag, in hexadecimal digits.

const NONCE_BYTES = 12;

/**
 * Encrypts texts with one key.
 *
 * @param {string} exchange JSON: `{"key": hex, "items": [[nonce in hex, text, associated data], …]}`
 * @returns {Promise<string>} JSON: the sealed texts
 */
export async function seal(exchange) {
  /** @type {{ key: string, items: [string, string, string][] }} */
  const { key, items } = JSON.parse(exchange);
  const imported = await imports(key, "encrypt");
  const sealed = items.map(async ([nonce, text, bound]) => {
    const bytes = await crypto.subtle.encrypt(
      parameters(bytesOf(nonce), bound),
      imported,
      new TextEncoder().encode(text),
    );
    return nonce + hexOf(new Uint8Array(bytes));
  });
  return JSON.stringify(await Promise.all(sealed));
}

/**
 * Decrypts sealed texts.
 *
 * @param {string} exchange JSON: `{"keys": [hex, …], "items": [[index of the key, sealed text, associated data], …]}`
 * @returns {Promise<string>} JSON: the texts; null in the place of one that its key does not decrypt
 */
export async function open(exchange) {
  /** @type {{ keys: string[], items: [number, string, string][] }} */
  const { keys, items } = JSON.parse(exchange);
  const imported = await Promise.all(keys.map((key) => imports(key, "decrypt")));
  const opened = items.map(async ([index, sealed, bound]) => {
    try {
      const bytes = bytesOf(sealed);
      const text = await crypto.subtle.decrypt(
        parameters(bytes.subarray(0, NONCE_BYTES), bound),
        /** @type {CryptoKey} */ (imported[index]),
        bytes.subarray(NONCE_BYTES),
      );
      return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(text);
    } catch {
      return null;
    }
  });
  return JSON.stringify(await Promise.all(opened));
}

/**
 * @param {string} key
 * @param {"encrypt" | "decrypt"} usage
 */
const imports = (key, usage) =>
  crypto.subtle.importKey("raw", bytesOf(key), "AES-GCM", false, [usage]);

/**
 * @param {Uint8Array} nonce
 * @param {string} bound
 */
const parameters = (nonce, bound) => ({
  name: "AES-GCM",
  iv: nonce,
  additionalData: new TextEncoder().encode(bound),
});

/** @param {string} hex */
function bytesOf(hex) {
  const pairs = hex.match(/../g) ?? [];
  return Uint8Array.from(pairs, (pair) => Number.parseInt(pair, 16));
}

/** @param {Uint8Array} bytes */
const hexOf = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
