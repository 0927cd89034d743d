// @ts-check
//! The commands of site/pages/guides/key-lifecycle.md, run unchanged, print what the page shows.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { Gateway, OPERATOR_KEY, Upstream, chat, operate, root, variables } from "./harness.mjs";

/** @type {Upstream} */ let upstream;
/** @type {Gateway} */ let gateway;

before(async () => {
  upstream = await Upstream.start();
  gateway = await Gateway.start(variables(upstream));
});
after(() => Promise.all([gateway?.stop(), upstream?.stop()]));

const page = readFileSync(`${root}site/pages/guides/key-lifecycle.md`, "utf8");

/**
 * The fenced blocks of the page in one language.
 *
 * @param {string} language
 */
const blocks = (language) =>
  [...page.matchAll(new RegExp(`^\`\`\`${language}\\b.*\n([^]*?)^\`\`\`$`, "gm"))].map(
    (match) => match[1] ?? "",
  );

/**
 * The output of a shell that runs these lines and ends at a command that fails.
 *
 * @param {string} lines
 */
async function paste(lines) {
  // Without --norc, bash may take the socket of its standard input for a remote shell and read its start-up files.
  const options = ["--norc", "-euo", "pipefail", "-c", lines];
  const { stdout, stderr } = await promisify(execFile)("bash", options, {
    cwd: root,
    env: { ...process.env, GATEWAY: gateway.url, OPERATOR_KEY },
    timeout: 60_000,
  });
  assert.equal(stderr, "");
  return stdout;
}

/**
 * Fails unless everything that the page shows was written. A shortened id or key ends with `…`; of JSON, the string
 * fields are compared in any order, since times and counts differ.
 *
 * @param {string} shown
 * @param {string} written
 */
function isShown(shown, written) {
  const own = shown.replaceAll("http://localhost:8787", gateway.url);
  for (const line of own.split("\n").filter((one) => one !== "")) {
    const parts = line.startsWith("{") ? (line.match(/"\w+":"[^"]*"/g) ?? []) : [line];
    assert.ok(parts.length > 0, line);
    for (const part of parts) {
      const pattern = part
        .replace(/[.*+?^${}()|[\]\\]/g, "\\$&")
        .replace(/\d{4}-\d\d-\d\d([T ])\d\d:\d\d(:\d\d\\\.\d+)?/g, "[-0-9]{10}$1[0-9:.]+")
        .replace(/^entries +\d+$/, "entries +\\d+")
        .replace(/"chatcmpl-sim-\d+"/, '"chatcmpl-sim-\\d+"')
        .replace(/((?:kreq|clm|gw)_)?\w*…/g, "$1\\w+")
        .replace(/(\\w\+) +/g, "$1 +");
      assert.match(written, new RegExp(line === part ? `^${pattern}$` : pattern, "m"), part);
    }
  }
}

test("life cycle of a key: the curl examples and the operator commands of the page run", async () => {
  const [curl = "", commands = "", ...others] = blocks("sh");
  const [ofCurl = "", ofCommands = ""] = blocks("console");
  assert.ok(curl && commands && ofCurl && ofCommands && others.length === 0, "two of each");
  const mark = "---- the second ----";
  const began = Date.now();
  const written = await paste(`${curl}\necho '${mark}'\n${commands}`);
  const [first = "", second = ""] = written.split(`${mark}\n`);
  isShown(ofCurl, first);
  isShown(ofCommands, second);

  // The page shows these steps in this order.
  const lines = first.trim().split("\n");
  const json = lines.filter((line) => line.startsWith("{")).map((line) => JSON.parse(line));
  const [asked, approved, claimed, chatted, refused] = json;
  assert.deepEqual(
    lines.filter((line) => /^\d{3}$/.test(line)),
    ["202", "200", "200", "401"],
  );
  assert.match(asked.request_id, /^kreq_[0-9a-z]{26}$/);
  assert.ok(lines.includes(asked.request_id), "it is listed");
  assert.match(approved.ClaimURL, /\/access\/claim#clm_[0-9a-f]{64}$/);
  assert.match(claimed.api_key, /^gw_[0-9A-Za-z]{49}$/);
  assert.equal(chatted.choices[0].message.content, "You said: Say hello");
  assert.equal(refused.error.code, "invalid_api_key");
  assert.ok(Date.now() - began > 10_000, "the ten seconds were waited for");
  // The key that the command line created and revoked no longer works either.
  const key = /^gw_\w{49}$/m.exec(second)?.[0];
  assert.ok(key);
  const response = await chat(gateway, {}, { authorization: `Bearer ${key}` });
  assert.equal(response.status, 401);
  assert.deepEqual(await (await operate(gateway, "GET", "/v0/api_keys")).json(), []);
});
