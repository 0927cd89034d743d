// @ts-check
// The gateway that an operator's command calls, and the operator key.

import { gatewayAddress } from "../lib/gateway-client.mjs";
import { readKey } from "../lib/key-input.mjs";
import { Failure } from "../lib/terminal.mjs";

/** @import { Gateway } from "../lib/gateway-client.mjs" */
/** @import { Options } from "../gateway-operator.mjs" */

export const DEFAULT_URL = "http://localhost:8787";

/**
 * @param {Options} options
 * @returns {Promise<Gateway>}
 */
export async function gatewayOf({ url, insecure = false, keyStdin, timeout = 30 }) {
  const base = gatewayAddress(url ?? (process.env.GATEWAY_URL || DEFAULT_URL), insecure);
  const key = keyStdin ? await readKey() : (process.env.GATEWAY_ADMIN_KEY ?? "").trim();
  if (!key)
    throw new Failure("Set GATEWAY_ADMIN_KEY to an operator key, or give it by --key-stdin");
  // The message of fetch would repeat the key.
  if (!/^[\x21-\x7e]+$/.test(key)) {
    throw new Failure("The operator key must be one word of visible ASCII characters");
  }
  return { base, key, seconds: timeout };
}
