// @ts-check
//! Heartbeats: while something of a call is waited for, the gateway is reminded of the call. See `upstream.rs`.

/**
 * Called with the number of a heartbeat while its call is in flight.
 *
 * @type {(heartbeat: number) => void}
 */
export let beat = () => {};

/** @param {(heartbeat: number) => void} callback */
export function onHeartbeat(callback) {
  beat = callback;
}
