// @ts-check
// Which gateway an operator's command speaks to, and with which key.

import { gatewayAddress } from "../lib/gateway-client.mjs";
import { readKey } from "../lib/key-input.mjs";
import { Failure } from "../lib/terminal.mjs";

/** @import { Gateway } from "../lib/gateway-client.mjs" */
/** @import { Options } from "../gateway-operator.mjs" */

/**
 * @param {Options} options
 * @returns {Promise<Gateway>}
 */
export async function gatewayOf({ url, insecure, "key-stdin": fromInput, timeout }) {
  const base = gatewayAddress(url, insecure);
  const key = fromInput ? await readKey() : (process.env.GATEWAY_ADMIN_KEY ?? "").trim();
  if (!key)
    throw new Failure("Set GATEWAY_ADMIN_KEY to an operator key, or give it by --key-stdin");
  // Otherwise fetch refuses it, in words that repeat it.
  if (!/^[\x21-\x7e]+$/.test(key)) {
    throw new Failure("The operator key must be one word of visible ASCII characters");
  }
  return { base, key, seconds: timeout };
}
