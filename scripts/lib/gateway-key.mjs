// @ts-check
// The format of a gateway key: minting from random bytes, parsing, and the digest.
//
// It does no I/O and gets its random bytes as a value. It does not know rings, labels or files. A key that parses is
// only well-formed: the ring decides whether it is accepted.
//
// The Worker implements the same format in Rust; core/testdata/gateway-keys.json holds both to it.

import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";

/** @typedef {"prefix" | "length" | "alphabet" | "checksum" | "overflow"} KeyFault */

export const KEY_PREFIX = "gw_";

const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const BASE = BigInt(ALPHABET.length);

// Digits are the fewest that hold every value of that many bytes, so some digit strings are too large.
const ID = { bytes: 7, digits: 10 };
const SECRET = { bytes: 24, digits: 33 };
const CHECKSUM = { bytes: 4, digits: 6 };

const ID_END = KEY_PREFIX.length + ID.digits;
const SECRET_END = ID_END + SECRET.digits;

export const KEY_LENGTH = SECRET_END + CHECKSUM.digits;
export const RANDOM_BYTES = ID.bytes + SECRET.bytes;

/**
 * The key with these random bytes.
 *
 * @param {Uint8Array} random31 - The first 7 bytes become the public id, the other 24 the secret.
 * @returns {{ key: string, publicId: string }}
 */
export function mint(random31) {
  if (random31.length !== RANDOM_BYTES) {
    throw new RangeError(
      `A key is minted from ${RANDOM_BYTES} random bytes, not ${random31.length}`,
    );
  }
  const publicId = KEY_PREFIX + encode(integer(random31.subarray(0, ID.bytes)), ID.digits);
  const body = publicId + encode(integer(random31.subarray(ID.bytes)), SECRET.digits);
  return { key: body + checksum(body), publicId };
}

/**
 * Parses a key. The order of the checks is part of the format: the Worker returns the same reason for the same text.
 *
 * @param {string} text
 * @returns {{ publicId: string, reason?: undefined } | { publicId?: undefined, reason: KeyFault }}
 */
export function parseKey(text) {
  if (!text.startsWith(KEY_PREFIX)) return { reason: "prefix" };
  if (Buffer.byteLength(text, "utf8") !== KEY_LENGTH) return { reason: "length" };
  if (!/^[0-9A-Za-z]*$/.test(text.slice(KEY_PREFIX.length))) return { reason: "alphabet" };
  // Compared as text: digits that exceed 32 bits are a wrong checksum, not an overflow.
  if (text.slice(SECRET_END) !== checksum(text.slice(0, SECRET_END))) return { reason: "checksum" };
  // A value that no random bytes can give was not minted, so each key has exactly one spelling.
  if (!fits(text.slice(KEY_PREFIX.length, ID_END), ID.bytes)) return { reason: "overflow" };
  if (!fits(text.slice(ID_END, SECRET_END), SECRET.bytes)) return { reason: "overflow" };
  return { publicId: text.slice(0, ID_END) };
}

/**
 * The only form in which a key is ever stored.
 *
 * @param {string} key
 * @returns {string} Lower-case hex SHA-256.
 */
export function digest(key) {
  return createHash("sha256").update(key, "utf8").digest("hex");
}

/** @param {string} body */
function checksum(body) {
  return encode(BigInt(crc32(body)), CHECKSUM.digits);
}

/** @param {Uint8Array} bytes */
function integer(bytes) {
  return bytes.reduce((value, byte) => (value << 8n) | BigInt(byte), 0n);
}

/**
 * @param {bigint} value
 * @param {number} digits
 */
function encode(value, digits) {
  let text = "";
  for (let rest = value; text.length < digits; rest /= BASE) {
    text = ALPHABET.charAt(Number(rest % BASE)) + text;
  }
  return text;
}

/**
 * @param {string} text
 * @param {number} bytes
 */
function fits(text, bytes) {
  let value = 0n;
  for (const digit of text) value = value * BASE + BigInt(ALPHABET.indexOf(digit));
  return value < 1n << BigInt(8 * bytes);
}
