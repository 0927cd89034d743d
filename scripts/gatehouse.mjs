#!/usr/bin/env node
// @ts-check
// The command of the npm package: a gateway on this machine, its deployment, and the operators' scripts.
//
// Only the version of Node is checked here, before any module is loaded that an old one cannot read.

const [major, minor] = process.versions.node.split(".").map(Number);
if (major > 22 || (major === 22 && minor >= 12)) {
  const { run } = await import("./gatehouse/main.mjs");
  await run();
} else {
  console.error(
    `Gatehouse needs Node.js 22.12 or newer, and this is ${process.versions.node}. Install a newer one (https://nodejs.org), then run this again.`,
  );
  process.exitCode = 1;
}
