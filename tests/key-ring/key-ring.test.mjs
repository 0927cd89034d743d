// @ts-check
// The key format against the shared vectors, and the key-ring script as a process: its arguments, streams, exit
// status and the files that it writes.
//
// All files are in temporary folders, and wrangler is always replaced by a fake: nothing is uploaded.
// Run with: node --test "tests/key-ring/*.test.mjs"

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import * as fs from "node:fs";
import { hostname, tmpdir } from "node:os";
import { delimiter, join, resolve } from "node:path";
import { after, suite, test } from "node:test";
import {
  digest,
  KEY_LENGTH,
  mint,
  parseKey,
  RANDOM_BYTES,
} from "../../scripts/lib/gateway-key.mjs";

const ROOT = resolve(import.meta.dirname, "../..");
const SCRIPT = join(ROOT, "scripts/gateway-key-ring.mjs");
const HASH_A = "a".repeat(64);
const HASH_B = "b".repeat(64);
const PARALLEL = { concurrency: 4 };

const temporary = fs.mkdtempSync(join(tmpdir(), "key-ring-"));
after(() => fs.rmSync(temporary, { recursive: true, force: true }));

/** A fresh folder, and the path of a manifest in it that does not exist yet. */
function workspace() {
  const folder = fs.mkdtempSync(join(temporary, "t-"));
  return { folder, manifest: join(folder, "ring.json") };
}

/** The folder of copied repositories. They find the npm packages that they need here. */
const repositories = join(temporary, "repositories");
fs.mkdirSync(repositories);
fs.symlinkSync(join(ROOT, "node_modules"), join(repositories, "node_modules"));

/** Copies the scripts into another repository. */
function copyScripts() {
  const folder = fs.mkdtempSync(join(repositories, "t-"));
  fs.cpSync(join(ROOT, "scripts"), join(folder, "scripts"), { recursive: true });
  return folder;
}

/**
 * @param {string} manifest
 * @param {Record<string, string>} hashes - label to sha256
 */
function writeManifest(manifest, hashes) {
  const entries = Object.entries(hashes).map(([label, sha256]) => ({
    label,
    sha256,
    created_at: "2026-01-02T03:04:05.678Z",
  }));
  fs.writeFileSync(manifest, JSON.stringify({ version: 1, updated_at: null, entries }));
}

/** @param {string} manifest */
function readManifest(manifest) {
  return JSON.parse(fs.readFileSync(manifest, "utf8"));
}

/** @param {string} path */
function mode(path) {
  return (fs.statSync(path).mode & 0o777).toString(8);
}

/**
 * @typedef {{ status: number | null, stdout: string, stderr: string }} Result
 * @typedef {{ input?: string, env?: NodeJS.ProcessEnv, cwd?: string, script?: string, before?: string }} How
 */

/**
 * Run the script. `before` is a line of shell that prepares its process, such as a umask.
 *
 * @param {string[]} args
 * @param {How} [how]
 * @returns {Promise<Result>}
 */
function run(args, { input = "", env = {}, cwd = temporary, script = SCRIPT, before } = {}) {
  const own = [process.execPath, script, ...args];
  const [program, ...words] = before
    ? ["/bin/sh", "-c", `${before}; exec "$@"`, "sh", ...own]
    : own;
  const child = spawn(program, words, { cwd, env: { ...process.env, ...env } });
  const result = { status: /** @type {number | null} */ (null), stdout: "", stderr: "" };
  child.stdout.setEncoding("utf8").on("data", (text) => (result.stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text) => (result.stderr += text));
  child.stdin.on("error", () => {});
  // It may end without reading its input.
  child.stdin.on("error", () => {});
  child.stdin.end(input);
  return new Promise((done, fail) => {
    child.on("error", fail);
    child.on("close", (status) => done({ ...result, status }));
  });
}

/**
 * @param {string[]} args
 * @param {How} [how]
 */
async function succeed(args, how) {
  const result = await run(args, how);
  assert.equal(result.stderr, "");
  assert.equal(result.status, 0);
  return result.stdout;
}

/**
 * A failure is one sentence on stderr and exit status 1, or 2 for a mistake in the arguments, and changes no byte
 * in the folder.
 *
 * @param {string} folder
 * @param {string[]} args
 * @param {string | RegExp} message
 * @param {How} [how]
 * @param {number} [status]
 */
async function refuse(folder, args, message, how, status = 1) {
  const before = snapshot(folder);
  const result = await run(args, how);
  const what = `${args.join(" ")}: ${result.stderr}`;
  assert.equal(result.status, status, what);
  assert.equal(result.stdout, "", what);
  assert.match(result.stderr, /^[^\n]+\n$/, what);
  assert.doesNotMatch(result.stderr, /^\w*Error|at file:/, what);
  if (typeof message === "string") assert.equal(result.stderr, `${message}\n`);
  else assert.match(result.stderr, message);
  assert.deepEqual(snapshot(folder), before, what);
  return result.stderr;
}

/** @param {string} folder */
function snapshot(folder) {
  const names = /** @type {string[]} */ (fs.readdirSync(folder, { recursive: true })).sort();
  return names.map((name) => {
    const path = join(folder, name);
    return [name, fs.statSync(path).isFile() ? fs.readFileSync(path, "utf8") : "", mode(path)];
  });
}

/** @param {string} text */
function sha256(text) {
  return createHash("sha256").update(text).digest("hex");
}

/**
 * @param {string} manifest
 * @param {string} label
 */
async function generate(manifest, label) {
  const out = await succeed(["generate", "--label", label, "--manifest", manifest]);
  return /** @type {string} */ (/^key=(.*)$/m.exec(out)?.[1]);
}

/** @param {string} key */
function mistype(key) {
  return key.slice(0, 20) + (key[20] === "x" ? "y" : "x") + key.slice(21);
}

suite("gateway keys", () => {
  const vectors = JSON.parse(
    fs.readFileSync(join(ROOT, "core/testdata/gateway-keys.json"), "utf8"),
  );

  test("gateway keys: the valid test vectors are accepted", () => {
    assert.ok(vectors.valid.length >= 5);
    for (const vector of vectors.valid) {
      const minted = mint(Buffer.from(vector.random_hex, "hex"));
      assert.deepEqual(minted, { key: vector.key, publicId: vector.public_id });
      assert.deepEqual(parseKey(vector.key), { publicId: vector.public_id });
      assert.equal(digest(vector.key), vector.sha256);
      assert.equal(sha256(vector.key), vector.sha256);
    }
  });

  test("gateway keys: the invalid test vectors are rejected with their reasons", () => {
    const reasons = new Set();
    for (const { key, reason } of vectors.invalid) {
      assert.deepEqual(parseKey(key), { reason }, JSON.stringify(key));
      reasons.add(reason);
    }
    const all = ["alphabet", "checksum", "length", "overflow", "prefix"];
    assert.deepEqual([...reasons].sort(), all);
  });

  test("gateway keys: the parts of a new key match an independent computation", () => {
    assert.equal(crc32("123456789"), 0xcbf43926, "the check value of CRC-32");
    for (let round = 0; round < 200; round += 1) {
      const random = randomBytes(31);
      const { key, publicId } = mint(random);
      assert.match(key, /^gw_[0-9A-Za-z]{49}$/);
      assert.equal(key.length, KEY_LENGTH);
      assert.equal(publicId, key.slice(0, 13));
      assert.equal(base62(key.slice(3, 13)), BigInt(`0x${random.toString("hex", 0, 7)}`));
      assert.equal(base62(key.slice(13, 46)), BigInt(`0x${random.toString("hex", 7)}`));
      assert.equal(base62(key.slice(46)), BigInt(crc32(key.slice(0, 46))));
    }
  });

  test("gateway keys: every mistake in one character is detected", () => {
    const { key } = mint(randomBytes(31));
    for (let at = 3; at < key.length; at += 1) {
      for (const other of "09AZaz") {
        if (key[at] === other) continue;
        const wrong = key.slice(0, at) + other + key.slice(at + 1);
        assert.deepEqual(parseKey(wrong), { reason: "checksum" });
      }
    }
  });

  test("gateway keys: a new key needs exactly 31 random bytes", () => {
    assert.equal(RANDOM_BYTES, 31);
    for (const length of [0, 30, 32]) assert.throws(() => mint(new Uint8Array(length)), RangeError);
  });

  /** @param {string} text */
  function crc32(text) {
    let crc = 0xffffffff;
    for (const byte of Buffer.from(text)) {
      crc ^= byte;
      for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
    }
    return (crc ^ 0xffffffff) >>> 0;
  }

  /** @param {string} text */
  function base62(text) {
    const values = Array.from(text, (digit) => {
      const code = digit.charCodeAt(0);
      return code < 65 ? code - 48 : code < 97 ? code - 65 + 10 : code - 97 + 36;
    });
    return values.reduce((sum, value) => sum * 62n + BigInt(value), 0n);
  }
});

suite("key ring, commands", PARALLEL, () => {
  test("key ring: generate prints a key once and stores only its hash", async () => {
    const { folder, manifest } = workspace();
    const out = await succeed(["generate", "--label", " ci.prod:1 ", "--manifest", manifest]);
    const lines = out.split("\n");
    const key = lines[0].replace("key=", "");
    assert.ok(parseKey(key).publicId);
    assert.deepEqual(lines.slice(1), [
      `sha256=${sha256(key)}`,
      `manifest=${manifest}`,
      `Upload with: node scripts/gateway-key-ring.mjs upload --manifest ${manifest}`,
      "",
    ]);

    const text = fs.readFileSync(manifest, "utf8");
    const ring = JSON.parse(text);
    assert.equal(text, `${JSON.stringify(ring, null, 2)}\n`);
    assert.deepEqual(Object.keys(ring), ["version", "updated_at", "entries"]);
    assert.equal(ring.version, 1);
    assert.equal(new Date(ring.updated_at).toISOString(), ring.updated_at);
    const [entry] = ring.entries;
    assert.deepEqual(Object.keys(entry), ["label", "sha256", "created_at"]);
    assert.equal(entry.label, "ci.prod:1");
    assert.equal(entry.sha256, sha256(key));
    assert.equal(new Date(entry.created_at).toISOString(), entry.created_at);
    assert.equal(mode(manifest), "600");
    assert.deepEqual(fs.readdirSync(folder), ["ring.json"]);
    assert.ok(!text.includes("gw_"));
  });

  test("key ring: add-hash converts the hash to lower case", async () => {
    const { manifest } = workspace();
    const args = ["add-hash", "--label", "old", "--sha256", HASH_A.toUpperCase()];
    const out = await succeed([...args, "--manifest", manifest]);
    assert.equal(out, `added=old\nmanifest=${manifest}\n`);
    assert.equal(readManifest(manifest).entries[0].sha256, HASH_A);
  });

  test("key ring: list and print-secret print every entry in byte order of the labels", async () => {
    const { manifest } = workspace();
    const digits = "0123456789abcdef".split("");
    const labels = ["b", "a", "B", "_", "a:b", "10", "9", "a-b", "a.b", "Z"];
    writeManifest(
      manifest,
      Object.fromEntries(labels.map((label, at) => [label, digits[at].repeat(64)])),
    );
    const bytes = fs.readFileSync(manifest, "utf8");
    const secret = await succeed(["print-secret", "--manifest", manifest]);
    const order = ["10", "9", "B", "Z", "_", "a", "a-b", "a.b", "a:b", "b"];
    assert.deepEqual(
      secret.split("\n").map((line) => line.slice(0, -65)),
      [...order, ""],
    );
    assert.equal(await succeed(["list", "--manifest", manifest]), secret);
    const json = JSON.parse(await succeed(["list", "--json", "--manifest", manifest]));
    assert.deepEqual(
      json.map((/** @type {{ label: string }} */ entry) => entry.label),
      order,
    );
    assert.equal(json[0].created_at, "2026-01-02T03:04:05.678Z");
    assert.equal(fs.readFileSync(manifest, "utf8"), bytes, "reading changes nothing");

    await generate(manifest, "C");
    const kept = readManifest(manifest).entries;
    assert.deepEqual(
      kept.map((/** @type {{ label: string }} */ entry) => entry.label),
      [...order.slice(0, 3), "C", ...order.slice(3)],
    );
  });

  test("key ring: the gateway's parser accepts every key of the printed ring", async () => {
    const { manifest } = workspace();
    const keys = [];
    for (const label of ["web", "a:colon:label", "ci"]) keys.push(await generate(manifest, label));
    const legacy = "some-key-of-another-format";
    const importing = ["add-hash", "--label", "legacy", "--sha256", sha256(legacy)];
    await succeed([...importing, "--manifest", manifest]);
    const ring = await succeed(["print-secret", "--manifest", manifest]);
    const accepted = ring
      .split(/[,\n]/)
      .map((entry) => entry.trim())
      .map((entry) => entry.slice(entry.lastIndexOf(":") + 1).toLowerCase())
      .filter((hash) => /^[0-9a-f]{64}$/.test(hash));
    assert.deepEqual(accepted.sort(), [...keys, legacy].map(sha256).sort());
  });

  test("key ring: a missing manifest is an empty ring", async () => {
    const { folder, manifest } = workspace();
    for (const command of ["list", "print-secret"]) {
      assert.equal(await succeed([command, "--manifest", manifest]), "");
    }
    assert.equal(await succeed(["list", "--json", "--manifest", manifest]), "[]\n");
    assert.deepEqual(fs.readdirSync(folder), []);
  });

  test("key ring: remove", async () => {
    const { folder, manifest } = workspace();
    writeManifest(manifest, { one: HASH_A, two: HASH_B });
    const out = await succeed(["remove", "--label", "one", "--manifest", manifest]);
    assert.match(out, /^removed=one\nmanifest=.*\nThe key keeps working until you run: .* upload/);
    assert.equal(await succeed(["list", "--manifest", manifest]), `two:${HASH_B}\n`);
    await refuse(
      folder,
      ["remove", "--label", "one", "--manifest", manifest],
      'The label "one" is not in the ring',
    );
    const last = await succeed(["remove", "--label", "two", "--manifest", manifest]);
    assert.match(last, /keeps working: .*wrangler secret delete GATEWAY_API_KEY_HASHES/);
    assert.deepEqual(readManifest(manifest).entries, []);
  });

  test("key ring: verify finds the key on standard input or names the mistake in it", async () => {
    const { folder, manifest } = workspace();
    const key = await generate(manifest, "mine");
    const args = ["verify", "--manifest", manifest];
    const known = `label=mine\nsha256=${sha256(key)}\nmanifest=${manifest}\n`;
    for (const input of [key, `${key}\n`, `  ${key}\r\n`]) {
      assert.equal(await succeed(args, { input }), known);
    }
    const stranger = mint(randomBytes(31));
    /** @type {[string, string | RegExp][]} */
    const mistakes = [
      [mistype(key), "The key is mistyped or cut: its checksum does not match"],
      [key.slice(0, -1), "The key is mistyped or cut: a gw_ key has 52 characters"],
      [key.slice(0, -1) + "-", /^The key is mistyped or cut: .* only letters and digits/],
      [
        stranger.key,
        `${stranger.publicId} is a well-formed key, but it is not in the ring ${manifest}`,
      ],
      ["fai_key", `The key is not in the ring ${manifest}, and it is not a gw_ key`],
      ["", "There is no key on standard input"],
      [" \n", "There is no key on standard input"],
      [`${key}\n${key}\n`, "Standard input must hold one key and nothing else"],
    ];
    for (const [input, message] of mistakes) {
      const said = await refuse(folder, args, message, { input });
      if (input.length > 20)
        assert.ok(!said.includes(input.slice(13, 40)), "no secret is repeated");
    }

    const imported = ["add-hash", "--label", "other", "--sha256", sha256("fai_key")];
    await succeed([...imported, "--manifest", manifest]);
    assert.match(await succeed(args, { input: "fai_key" }), /^label=other\n/);
  });

  test("key ring: --help describes the program and each command", async () => {
    const help = await succeed(["--help"]);
    for (const word of ["help", "-h"]) assert.equal(await succeed([word]), help);
    for (const word of [
      ..."generate add-hash list print-secret remove verify upload".split(" "),
      ...["--operators", "--manifest"],
      "ops/operator-key-hashes.local.json",
      "GATEWAY_API_KEY_HASHES",
      "GATEWAY_ADMIN_KEY_HASHES",
      "GATEWAY_WRANGLER",
    ]) {
      assert.ok(help.includes(word), word);
    }
    const { status, stderr } = await run([]);
    assert.equal(status, 2, "no command");
    assert.equal(stderr, help);

    const ofGenerate = await succeed(["generate", "--help"]);
    for (const args of ["help generate", "generate -h", "generate --label x --help"]) {
      assert.equal(await succeed(args.split(" ")), ofGenerate);
    }
    assert.match(ofGenerate, /^Usage: node scripts\/gateway-key-ring\.mjs generate /);
    for (const option of ["label", "operators", "manifest"]) {
      assert.ok(ofGenerate.includes(`\n  --${option} `), option);
    }
    assert.ok(!ofGenerate.includes("--json"), "only the options of this command");
    assert.ok(!(help + ofGenerate).includes(ROOT), "no path of this machine");
  });

  test("key ring: the default manifest is in the repository, in any working directory", async () => {
    const folder = copyScripts();
    const script = join(folder, "scripts/gateway-key-ring.mjs");
    const out = await succeed(["generate", "--label", "a"], { script });
    const manifest = fs.realpathSync(join(folder, "ops/gateway-key-hashes.local.json"));
    assert.ok(out.includes(`manifest=${manifest}\n`));
    assert.match(out, /\nUpload with: node scripts\/gateway-key-ring\.mjs upload\n$/);
    assert.equal(mode(manifest), "600");
    assert.equal(mode(join(folder, "ops")), "700");
  });
});

suite("key ring, --operators", PARALLEL, () => {
  /** A repository of its own, because this is about the manifests that belong to one. */
  function repository() {
    const folder = copyScripts();
    const ops = join(fs.realpathSync(folder), "ops");
    const wrangler = join(folder, "fake-wrangler");
    const lines = ["#!/bin/sh", `echo "$@" >> "$0.argv"`, `cat > "$0.stdin"`];
    fs.writeFileSync(wrangler, `${lines.join("\n")}\n`, { mode: 0o755 });
    return {
      folder,
      callers: join(ops, "gateway-key-hashes.local.json"),
      operators: join(ops, "operator-key-hashes.local.json"),
      how: {
        script: join(folder, "scripts/gateway-key-ring.mjs"),
        env: { GATEWAY_WRANGLER: wrangler },
      },
      /** @param {string} what */
      noted: (what) => fs.readFileSync(`${wrangler}.${what}`, "utf8"),
    };
  }

  test("key ring: --operators uses its own manifest and secret", async () => {
    const { callers, operators, how, noted } = repository();
    await succeed(["generate", "--label", "app"], how);
    const before = fs.readFileSync(callers, "utf8");
    const out = await succeed(["generate", "--operators", "--label", "ops"], how);
    const key = /^key=(.*)$/m.exec(out)?.[1] ?? "";
    assert.ok(out.includes(`manifest=${operators}\n`));
    assert.match(out, /\nUpload with: node scripts\/gateway-key-ring\.mjs upload --operators\n$/);
    assert.equal(fs.readFileSync(callers, "utf8"), before, "callers' ring is as it was");
    assert.equal(mode(operators), "600");

    const secret = `ops:${sha256(key)}`;
    for (const command of ["list", "print-secret"]) {
      assert.equal(await succeed([command, "--operators"], how), `${secret}\n`);
    }
    const known = await succeed(["verify", "--operators"], { ...how, input: key });
    assert.match(known, /^label=ops\n/);
    assert.match((await run(["verify"], { ...how, input: key })).stderr, /not in the ring/);

    const uploaded = await succeed(["upload", "--operators", "--env", "staging"], how);
    assert.match(uploaded, /^Uploading 1 entry \(\d+ bytes\) to GATEWAY_ADMIN_KEY_HASHES of the /);
    assert.equal(noted("argv"), "secret put GATEWAY_ADMIN_KEY_HASHES --env staging\n");
    assert.equal(noted("stdin"), secret);

    const removed = await succeed(["remove", "--operators", "--label", "ops"], how);
    assert.match(removed, /wrangler secret delete GATEWAY_ADMIN_KEY_HASHES\n$/);
    const empty = (await run(["upload", "--operators"], how)).stderr;
    assert.match(empty, /is empty.*wrangler secret delete GATEWAY_ADMIN_KEY_HASHES\n$/);
    assert.equal(noted("argv").split("\n").length, 2, "wrangler was not run again");
  });

  test("key ring: --operators with --manifest is repeated in the printed upload command", async () => {
    const { manifest } = workspace();
    const args = ["generate", "--label", "ops", "--operators", "--manifest", manifest];
    const upload = `upload --operators --manifest ${manifest}\n`;
    assert.ok((await succeed(args)).endsWith(`gateway-key-ring.mjs ${upload}`));
  });

  test("key ring: the manifest of one ring is rejected for the other", async () => {
    const { folder, callers, operators, how } = repository();
    await succeed(["generate", "--label", "app"], how);
    await succeed(["generate", "--label", "ops", "--operators"], how);
    for (const command of [["upload"], ["print-secret"], ["generate", "--label", "x"]]) {
      const admitted = [...command, "--operators", "--manifest", callers];
      await refuse(folder, admitted, /is the ring of callers, and --operators/, how, 2);
      const forgotten = [...command, "--manifest", operators];
      await refuse(folder, forgotten, /is the ring of operators: give --operators/, how, 2);
    }
  });
});

suite("key ring, usage errors", PARALLEL, () => {
  function takenWorkspace() {
    const place = workspace();
    writeManifest(place.manifest, { taken: HASH_A });
    return place;
  }
  const { key } = mint(randomBytes(31));
  const badLabel = /^--label must be 1 to 64 characters/;
  const badDigest = "--sha256 must be a 64-character SHA-256 hex digest";

  /** @type {[string, string | RegExp][]} - The arguments are split at spaces; ~ is replaced by a space. */
  const mistakes = [
    ["frobnicate", "error: unknown command 'frobnicate'"],
    ["constructor", "error: unknown command 'constructor'"],
    ["genrate", "error: unknown command 'genrate' (Did you mean generate?)"],
    ["list extra", /^error: too many arguments for 'list'\. Expected 0 arguments but got 1/],
    ["list -", /^error: too many arguments for 'list'/],
    ["list -- -x", /^error: too many arguments for 'list'/],
    ["verify some-key", /^error: too many arguments for 'verify'\. Expected 0 arguments but got 1/],
    ["list --frob x", "error: unknown option '--frob'"],
    ["list --toString x", "error: unknown option '--toString'"],
    ["list -x", "error: unknown option '-x'"],
    ["list --jsn", "error: unknown option '--jsn' (Did you mean --json?)"],
    ["list --label x", "error: unknown option '--label'"],
    ["generate --label x --json", "error: unknown option '--json'"],
    ["generate --label x --env y", "error: unknown option '--env'"],
    ["remove --label x --sha256 y", "error: unknown option '--sha256'"],
    ["generate", "error: required option '--label <LABEL>' not specified"],
    ["remove", "error: required option '--label <LABEL>' not specified"],
    ["add-hash --label x", "error: required option '--sha256 <HASH>' not specified"],
    [`add-hash --sha256 ${HASH_B}`, "error: required option '--label <LABEL>' not specified"],
    ["generate --label", "error: option '--label <LABEL>' argument missing"],
    ["generate --label --operators", "error: option '--label <LABEL>' argument missing"],
    ["generate --label --json", "--label needs a value, and --json is an option"],
    ["add-hash --label x --sha256", "error: option '--sha256 <HASH>' argument missing"],
    ["list --manifest", "error: option '--manifest <PATH>' argument missing"],
    ["upload --env", "error: option '--env <NAME>' argument missing"],
    ["upload --env -x", /^--env must be the name of a wrangler environment/],
    [`generate --label ${"l".repeat(65)}`, badLabel],
    ["generate --label two~words", badLabel],
    ["generate --label ~", badLabel],
    ["generate --label=", badLabel],
    ["generate --label a/b", badLabel],
    ["generate --label é", badLabel],
    ["remove --label a,b", badLabel],
    [`add-hash --label x --sha256 ${"a".repeat(63)}`, badDigest],
    [`add-hash --label x --sha256 ${"a".repeat(65)}`, badDigest],
    [`add-hash --label x --sha256 ${"g".repeat(64)}`, badDigest],
  ];
  for (const [line, message] of mistakes) {
    test(`key ring: rejects "${line}" with exit status 2`, async () => {
      const { folder, manifest } = takenWorkspace();
      const args = line.split(" ").map((word) => word.replaceAll("~", " "));
      // First, so that a missing value stays last; left out where it would be the mistake.
      const unread = /--manifest <PATH>|unknown command/.test(String(message));
      const where = unread ? args : [args[0], "--manifest", manifest, ...args.slice(1)];
      await refuse(folder, where, message, {}, 2);
    });
  }

  /** @type {[string, string][]} */
  const conflicts = [
    ["generate --label taken", 'The label "taken" is already in the ring'],
    [`add-hash --label taken --sha256 ${HASH_B}`, 'The label "taken" is already in the ring'],
    [
      `add-hash --label x --sha256 ${HASH_A.toUpperCase()}`,
      `The digest ${HASH_A} is already in the ring, under the label "taken"`,
    ],
    ["remove --label absent", 'The label "absent" is not in the ring'],
  ];
  for (const [line, message] of conflicts) {
    test(`key ring: rejects "${line}"`, async () => {
      const { folder, manifest } = takenWorkspace();
      await refuse(folder, [...line.split(" "), "--manifest", manifest], message);
    });
  }

  test("key ring: a missing npm package is reported with the command that installs it", async () => {
    const { folder } = workspace();
    fs.cpSync(join(ROOT, "scripts"), join(folder, "scripts"), { recursive: true });
    for (const name of ["gateway-key-ring.mjs", "gateway-operator.mjs"]) {
      const message = 'npm packages are missing: run "npm install" in the repository';
      await refuse(folder, ["--help"], message, { script: join(folder, "scripts", name) });
    }
  });

  test("key ring: a value can be attached to its option", async () => {
    const { manifest } = takenWorkspace();
    await succeed(["generate", "--label=x", `--manifest=${manifest}`]);
    assert.equal(readManifest(manifest).entries.length, 2);
  });

  test("key ring: a label can have 64 characters", async () => {
    const own = workspace().manifest;
    await generate(own, "l".repeat(64));
  });

  const places = [
    ["verify", key],
    ["verify", "--key", key],
    ["verify", `--key=${mistype(key)}`],
    [key],
    ["list", key],
    ["generate", "--label", key],
    ["generate", "--label", `my-${key.slice(0, 40)}`],
    ["add-hash", "--label", "x", "--sha256", key],
    ["remove", "--label", key],
  ];
  for (const args of places) {
    test(`key ring: rejects a key as an argument: ${args.join(" ").replace(/gw_\w+/, "KEY")}`, async () => {
      const { folder, manifest } = takenWorkspace();
      const where = [...args, "--manifest", manifest];
      const message = /^A key must not be passed as an argument/;
      const said = await refuse(folder, where, message, { input: key }, 2);
      assert.ok(!said.includes(key.slice(3, 20)), "and it is not repeated");
    });
  }

  test("key ring: a public id can be a label", async () => {
    const own = workspace().manifest;
    await generate(own, key.slice(0, 13));
  });
});

suite("key ring, manifest", PARALLEL, () => {
  const good = { label: "a", sha256: HASH_A, created_at: "2026-01-02T03:04:05Z" };
  const other = { ...good, label: "b", sha256: HASH_B };
  /** @param {unknown[]} entries */
  const ring = (...entries) => ({ version: 1, updated_at: null, entries });

  /** @type {[string, unknown, string][]} */
  const unreadable = [
    ["empty file", "", "it is not JSON"],
    ["text", "API_KEY=secret-text", "it is not JSON"],
    ["array", [], "it is not a JSON object"],
    ["null", null, "it is not a JSON object"],
    ["no entries", { version: 1, updated_at: null }, "it has no entries array"],
    ["entries object", { version: 1, entries: {} }, "it has no entries array"],
    ["no version", { entries: [] }, "its version is not 1"],
    ["later version", { ...ring(), version: 2 }, "its version is not 1"],
    ["text version", { ...ring(), version: "1" }, "its version is not 1"],
    ["bad date", { ...ring(), updated_at: "now" }, "updated_at is not an ISO date or null"],
    ["extra member", { ...ring(), note: 1 }, 'it has an unknown field "note"'],
    ["text entry", ring("a"), "entry 1 is not an object"],
    ["no label", ring(good, { ...other, label: undefined }), "entry 2 has no valid label"],
    ["bad label", ring({ ...good, label: "a b" }), "entry 1 has no valid label"],
    [
      "bad digest",
      ring({ ...good, sha256: "abc" }),
      'entry 1 ("a") has no sha256 of 64 lower-case hex digits',
    ],
    [
      "upper-case digest",
      ring({ ...good, sha256: HASH_A.toUpperCase() }),
      'entry 1 ("a") has no sha256 of 64 lower-case hex digits',
    ],
    [
      "no date",
      ring({ ...good, created_at: undefined }),
      'entry 1 ("a") has no ISO date created_at',
    ],
    [
      "impossible date",
      ring({ ...good, created_at: "2026-13-02T03:04:05Z" }),
      'entry 1 ("a") has no ISO date created_at',
    ],
    [
      "plaintext",
      ring({ ...good, key: "secret-text" }),
      'entry 1 ("a") has an unknown field "key"',
    ],
    ["same label", ring(good, { ...other, label: "a" }), 'the label "a" occurs twice'],
    ["same digest", ring(good, { ...other, sha256: HASH_A }), 'the digest of "b" occurs twice'],
  ];
  for (const [name, content, why] of unreadable) {
    test(`key ring: rejects an invalid manifest (${name})`, async () => {
      const { folder, manifest } = workspace();
      fs.writeFileSync(manifest, typeof content === "string" ? content : JSON.stringify(content));
      const message = `${manifest} is not a gateway key-ring manifest: ${why}`;
      const commands = [
        ["generate", "--label", "new"],
        ["add-hash", "--label", "new", "--sha256", "c".repeat(64)],
        ["remove", "--label", "a"],
        ["list"],
        ["print-secret"],
        ["verify"],
        ["upload"],
      ];
      for (const command of commands) {
        const how = { input: "some-key", env: { GATEWAY_WRANGLER: join(folder, "absent") } };
        const said = await refuse(folder, [...command, "--manifest", manifest], message, how);
        assert.ok(!said.includes("secret-text"), "the file is not quoted");
      }
    });
  }

  test("key ring: rejects a directory, or a path below a file, as the manifest", async () => {
    const { folder, manifest } = workspace();
    fs.writeFileSync(manifest, "");
    for (const command of [["list"], ["generate", "--label", "a"]]) {
      await refuse(folder, [...command, "--manifest", folder], /^Cannot read .*EISDIR/);
      const below = join(manifest, "ring.json");
      await refuse(folder, [...command, "--manifest", below], /^Cannot read .*ENOTDIR/);
    }
  });

  test("key ring: accepts dates with an offset and keeps entries unchanged", async () => {
    const { manifest } = workspace();
    const early = { ...good, created_at: "2026-01-02T03:04:05+02:00" };
    const text = JSON.stringify({ ...ring(early), updated_at: "2026-01-02T03:04:05.1Z" });
    fs.writeFileSync(manifest, text);
    await generate(manifest, "new");
    assert.deepEqual(readManifest(manifest).entries[0], early);
  });

  test("key ring: the manifest has mode 0600 with any umask and previous mode", async () => {
    const { folder, manifest } = workspace();
    writeManifest(manifest, {});
    fs.chmodSync(manifest, 0o666);
    const deep = join(folder, "new/deeper/ring.json");
    for (const path of [manifest, deep]) {
      const args = ["generate", "--label", "a", "--manifest", path];
      await succeed(args, { before: "umask 000" });
      assert.equal(mode(path), "600");
    }
    assert.equal(mode(join(folder, "new")), "700");
    assert.equal(mode(join(folder, "new/deeper")), "700");
  });

  test("key ring: a symbolic link is kept and its target replaced", async () => {
    const { folder, manifest } = workspace();
    fs.mkdirSync(join(folder, "vault"));
    const target = join(folder, "vault/real.json");
    writeManifest(target, { a: HASH_A });
    fs.symlinkSync("vault/real.json", manifest);
    const out = await succeed(["generate", "--label", "b", "--manifest", manifest]);
    assert.ok(out.includes(`manifest=${manifest}\n`));
    assert.equal(fs.readlinkSync(manifest), "vault/real.json");
    assert.equal(readManifest(target).entries.length, 2);
    assert.equal(mode(target), "600");
    assert.deepEqual(fs.readdirSync(join(folder, "vault")), ["real.json"]);
    assert.deepEqual(fs.readdirSync(folder), ["ring.json", "vault"]);
  });

  test("key ring: a dangling symbolic link is rejected", async () => {
    const { manifest } = workspace();
    fs.symlinkSync("unmounted/real.json", manifest);
    for (const command of [["generate", "--label", "a"], ["list"], ["upload"]]) {
      const result = await run([...command, "--manifest", manifest]);
      assert.equal(result.status, 1);
      const why = "is a symbolic link to a file that does not exist";
      assert.equal(result.stderr, `${manifest} ${why}\n`);
    }
    assert.equal(fs.readlinkSync(manifest), "unmounted/real.json");
  });
});

suite("key ring, write failures", PARALLEL, () => {
  test("key ring: a full disk during the write prints no key, keeps the manifest and leaves no temporary file", async () => {
    const { folder, manifest } = workspace();
    const digits = "0123456789abcdef".split("");
    writeManifest(manifest, Object.fromEntries(digits.map((d) => [`l${d}`, d.repeat(64)])));
    // Room for the lock and for the first part of the new manifest.
    await refuse(
      folder,
      ["generate", "--label", "a", "--manifest", manifest],
      /^Cannot write .*ring\.json: EFBIG/,
      { before: "ulimit -f 1" },
    );
  });

  test("key ring: a full disk at the start leaves no lock", async () => {
    const { folder, manifest } = workspace();
    await refuse(
      folder,
      ["generate", "--label", "a", "--manifest", manifest],
      /^Cannot create .*ring\.json\.lock: EFBIG/,
      { before: "ulimit -f 0" },
    );
  });

  test("key ring: a temporary file that cannot be created is reported", async () => {
    const { folder } = workspace();
    // The name of the lock still fits, that of the temporary file does not.
    const manifest = join(folder, "m".repeat(250));
    writeManifest(manifest, { a: HASH_A });
    const args = ["generate", "--label", "b", "--manifest", manifest];
    await refuse(folder, args, /^Cannot write .*ENAMETOOLONG/);
  });

  const root = process.getuid?.() === 0 && "root may write everywhere";
  test("key ring: a read-only directory is reported", { skip: root }, async () => {
    const { folder, manifest } = workspace();
    writeManifest(manifest, { a: HASH_A });
    fs.chmodSync(folder, 0o500);
    try {
      const args = ["generate", "--label", "b", "--manifest", manifest];
      await refuse(folder, args, /^Cannot create .*\.lock: EACCES/);
      const deep = join(folder, "new/ring.json");
      const creating = ["generate", "--label", "b", "--manifest", deep];
      await refuse(folder, creating, /^Cannot create .*new: EACCES/);
    } finally {
      fs.chmodSync(folder, 0o700);
    }
  });

  test("key ring: closed standard output keeps the entry and is reported", async () => {
    const { manifest } = workspace();
    const child = spawn(process.execPath, [
      ...[SCRIPT, "generate", "--label", "a", "--manifest", manifest],
    ]);
    child.stdout.destroy();
    let stderr = "";
    child.stderr.setEncoding("utf8").on("data", (text) => (stderr += text));
    const status = await new Promise((done) => child.on("close", done));
    assert.equal(status, 1);
    assert.match(stderr, /EPIPE.*remove the label "a" and generate again\n$/);
    assert.equal(readManifest(manifest).entries.length, 1);
  });
});

suite("key ring, concurrency", PARALLEL, () => {
  test("key ring: 20 concurrent generate commands keep every key, and readers see complete files", async () => {
    const { folder, manifest } = workspace();
    const labels = Array.from({ length: 20 }, (_, at) => `key-${String(at).padStart(2, "0")}`);
    let writing = true;
    const reading = (async () => {
      let reads = 0;
      while (writing) {
        if (fs.existsSync(manifest)) {
          assert.ok(readManifest(manifest).entries.length > 0);
          reads += 1;
        }
        await new Promise((done) => setTimeout(done, 1));
      }
      return reads;
    })();
    const keys = await Promise.all(labels.map((label) => generate(manifest, label)));
    writing = false;
    assert.ok((await reading) > 0);
    assert.equal(
      await succeed(["print-secret", "--manifest", manifest]),
      labels.map((label, at) => `${label}:${sha256(keys[at])}\n`).join(""),
    );
    assert.deepEqual(fs.readdirSync(folder), ["ring.json"]);
  });

  test("key ring: of several concurrent commands with one label one succeeds", async () => {
    const { manifest } = workspace();
    const args = ["generate", "--label", "same", "--manifest", manifest];
    const results = await Promise.all(Array.from({ length: 5 }, () => run(args)));
    const winners = results.filter((result) => result.status === 0);
    assert.equal(winners.length, 1);
    const key = /^key=(.*)$/m.exec(winners[0].stdout)?.[1] ?? "";
    assert.deepEqual(
      readManifest(manifest).entries.map((/** @type {{ sha256: string }} */ e) => e.sha256),
      [sha256(key)],
    );
    for (const result of results.filter((each) => each.status !== 0)) {
      assert.equal(result.stdout, "");
      assert.equal(result.stderr, 'The label "same" is already in the ring\n');
    }
  });

  test("key ring: the lock of a dead process is removed once and no entry is lost", async () => {
    const { folder, manifest } = workspace();
    const dead = spawnSync(process.execPath, ["-e", ""]).pid;
    fs.writeFileSync(`${manifest}.lock`, `${dead} ${hostname()}\n`);
    const labels = Array.from({ length: 8 }, (_, at) => `key-${at}`);
    const results = await Promise.all(
      labels.map((label) => run(["generate", "--label", label, "--manifest", manifest])),
    );
    const notes = results.map((result) => result.stderr).join("");
    assert.equal(
      notes,
      `Removed ${manifest}.lock: process ${dead} on ${hostname()} is gone without releasing it.\n`,
    );
    assert.equal(readManifest(manifest).entries.length, 8);
    assert.deepEqual(fs.readdirSync(folder), ["ring.json"]);
  });

  /** @type {[string, string, string][]} */
  const holders = [
    ["a live process", `${process.pid} ${hostname()}\n`, `process ${process.pid} on ${hostname()}`],
    ["another machine", "1 another.machine\n", "process 1 on another.machine"],
    ["an unknown process", "", "an unknown process"],
  ];
  for (const [name, content, holder] of holders) {
    test(`key ring: a lock held by ${name} is waited for up to a limit`, async () => {
      const { folder, manifest } = workspace();
      writeManifest(manifest, { a: HASH_A });
      const lock = `${manifest}.lock`;
      fs.writeFileSync(lock, content);
      await refuse(
        folder,
        ["generate", "--label", "b", "--manifest", manifest],
        `${lock} is held by ${holder}: if no key-ring command is running, remove ${lock}`,
      );
      // Reading needs no lock.
      assert.equal(await succeed(["list", "--manifest", manifest]), `a:${HASH_A}\n`);
    });
  }

  test("key ring: a lock that is released in time causes no error", async () => {
    const { manifest } = workspace();
    fs.writeFileSync(`${manifest}.lock`, `${process.pid} ${hostname()}\n`);
    setTimeout(() => fs.rmSync(`${manifest}.lock`), 1000);
    await generate(manifest, "a");
    assert.equal(readManifest(manifest).entries.length, 1);
  });
});

suite("key ring, upload", PARALLEL, () => {
  /**
   * A fake wrangler that records its arguments and input.
   *
   * @param {string} folder
   * @param {string} [name]
   */
  function fakeWrangler(folder, name = "fake-wrangler") {
    const bin = join(folder, "bin");
    fs.mkdirSync(bin);
    const program = join(bin, name);
    const lines = [
      "#!/bin/sh",
      'here=$(dirname "$0")',
      'printf "%s\\n" "$@" > "$here/argv"',
      'pwd > "$here/cwd"',
      '[ -n "$FAKE_DEAF" ] || cat > "$here/stdin"',
      '[ -z "$FAKE_SIGNAL" ] || kill -s "$FAKE_SIGNAL" $$',
      'exit "${FAKE_STATUS:-0}"',
    ];
    fs.writeFileSync(program, `${lines.join("\n")}\n`, { mode: 0o755 });
    /** @param {string} file */
    const noted = (file) => fs.readFileSync(join(bin, file), "utf8");
    return { bin, program, noted };
  }

  test("key ring: upload pipes the whole ring into wrangler, without a key", async () => {
    const { folder, manifest } = workspace();
    const { program, noted } = fakeWrangler(folder);
    const env = { GATEWAY_WRANGLER: program };
    const keys = [await generate(manifest, "b"), await generate(manifest, "a")];
    const out = await succeed(["upload", "--manifest", manifest], { env });
    const first = `a:${sha256(keys[1])}\nb:${sha256(keys[0])}`;
    assert.equal(noted("stdin"), first);
    assert.equal(`${first}\n`, await succeed(["print-secret", "--manifest", manifest]));
    assert.equal(noted("argv"), "secret\nput\nGATEWAY_API_KEY_HASHES\n");
    assert.equal(noted("cwd"), `${fs.realpathSync(ROOT)}\n`);
    assert.match(out, /^Uploading 2 entries \(133 bytes\) to GATEWAY_API_KEY_HASHES\.\n/);
    assert.match(out, /REPLACES the whole ring/);

    // An upload replaces the whole secret, so a removed entry is gone.
    await succeed(["remove", "--label", "a", "--manifest", manifest]);
    keys.push(await generate(manifest, "c"));
    const args = ["upload", "--env", "staging", "--manifest", manifest];
    const again = await succeed(args, { env });
    assert.equal(noted("stdin"), `b:${sha256(keys[0])}\nc:${sha256(keys[2])}`);
    assert.equal(noted("argv"), "secret\nput\nGATEWAY_API_KEY_HASHES\n--env\nstaging\n");
    assert.match(again, /GATEWAY_API_KEY_HASHES of the environment staging\./);

    const everything = [out, again, ...snapshot(folder).flat()].join("\n");
    for (const key of keys) assert.ok(!everything.includes(key.slice(3)), "no key, nor its tail");
    assert.ok(!everything.includes("gw_"));
  });

  test("key ring: upload runs npx wrangler in the repository by default", async () => {
    const folder = copyScripts();
    const { bin, noted } = fakeWrangler(folder, "npx");
    const how = {
      script: join(folder, "scripts/gateway-key-ring.mjs"),
      env: { PATH: bin + delimiter + process.env.PATH, GATEWAY_WRANGLER: "" },
    };
    await succeed(["add-hash", "--label", "only", "--sha256", HASH_A], how);
    assert.match(await succeed(["upload"], how), /^Uploading 1 entry \(/);
    assert.equal(noted("argv"), "wrangler\nsecret\nput\nGATEWAY_API_KEY_HASHES\n");
    assert.equal(noted("stdin"), `only:${HASH_A}`);
    assert.equal(noted("cwd"), `${fs.realpathSync(folder)}\n`);
  });

  test("key ring: upload rejects an empty ring without running wrangler", async () => {
    const { folder, manifest } = workspace();
    const { program } = fakeWrangler(folder);
    const env = { GATEWAY_WRANGLER: program };
    const args = ["upload", "--manifest", manifest];
    await refuse(folder, args, /is empty, and upload rejects an empty ring/, { env });
    writeManifest(manifest, {});
    await refuse(folder, args, /is empty, and upload rejects an empty ring/, { env });
  });

  /** @type {[string, NodeJS.ProcessEnv, RegExp][]} */
  const failures = [
    [
      "a status",
      { FAKE_STATUS: "7" },
      /^wrangler failed with status 7: assume that the ring was not/,
    ],
    ["a signal", { FAKE_SIGNAL: "TERM" }, /^wrangler was ended by SIGTERM: /],
    ["a program that is not there", { GATEWAY_WRANGLER: "absent" }, /^Cannot run .*ENOENT/],
    ["a file that is no program", { GATEWAY_WRANGLER: SCRIPT + "/../lib" }, /^Cannot run .*EACCES/],
  ];
  for (const [name, env, message] of failures) {
    test(`key ring: upload reports a failing wrangler (${name})`, async () => {
      const { folder, manifest } = workspace();
      const { program } = fakeWrangler(folder);
      writeManifest(manifest, { a: HASH_A });
      const bytes = fs.readFileSync(manifest, "utf8");
      const args = ["upload", "--manifest", manifest];
      const result = await run(args, { env: { GATEWAY_WRANGLER: program, ...env } });
      assert.equal(result.status, 1);
      assert.match(result.stderr, message);
      assert.match(result.stdout, /^Uploading 1 entry /);
      assert.equal(fs.readFileSync(manifest, "utf8"), bytes);
    });
  }

  test("key ring: upload warns of a ring too large for a secret, and fails if wrangler does not read it", async () => {
    const { folder, manifest } = workspace();
    const { program, noted } = fakeWrangler(folder);
    // More than a pipe takes without a reader.
    const hashes = Array.from({ length: 20_000 }, (_, at) => [`key-${at}`, sha256(String(at))]);
    writeManifest(manifest, Object.fromEntries(hashes));
    const args = ["upload", "--manifest", manifest];
    const large = await run(args, { env: { GATEWAY_WRANGLER: program } });
    assert.equal(large.status, 0);
    assert.match(large.stderr, /^The ring is larger than the 5120 bytes/);
    assert.equal(noted("stdin").split("\n").length, 20_000);
    const deaf = await run(args, { env: { GATEWAY_WRANGLER: program, FAKE_DEAF: "yes" } });
    assert.equal(deaf.status, 1);
    assert.match(deaf.stderr, /wrangler did not read its input/);
  });
});
