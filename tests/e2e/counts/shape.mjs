// @ts-check
//! The constants that the provider in the Worker (entry.mjs) and its callers share.

/** The provider's host. */
export const HOST = "upstream.test";
/** The number of events with content in a stream. */
export const EVENTS = 300;
