// @ts-check
//! What the provider in the Worker (entry.mjs) and those who ask it have to agree on.

/** The provider's host. */
export const HOST = "upstream.test";
/** How many events with content a stream has. */
export const EVENTS = 300;
