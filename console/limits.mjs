// @ts-check
//! The limits of the console, in bytes after gzip: all its files, and those that the first view needs.

export const LIMITS = { all: 90_000, first: 60_000 };
