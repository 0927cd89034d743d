// @ts-check
//! The released package: made from the existing build, installed by npx in an empty folder, started, and deployed with a
//! stand-in for wrangler. `scripts/release --verify` compares two builds; that takes too long for here.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { existsSync, globSync, readFileSync, readdirSync, statSync } from "node:fs";
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { promisify } from "node:util";
import { eventually, freePort, root } from "../e2e/harness.mjs";

const { version } = JSON.parse(readFileSync(`${root}package.json`, "utf8"));
const TARBALL = `gatehouse-${version}.tgz`;
const PROVIDER_KEY = "sk-secret-of-the-test";

/** @type {string} */ let folder;
/** The folder in which the package is used. @type {string} */ let place;
/** @type {NodeJS.ProcessEnv} */ let environment;

const run = promisify(execFile);

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "gatehouse-release-"));
  place = join(folder, "empty");
  await mkdir(place);
  const path = `${root}node_modules/.bin:${process.env["PATH"]}`;
  // npx installs into this folder, from the usual cache of packages.
  const { stdout } = await run("npm", ["config", "get", "cache"]);
  await mkdir(join(folder, "npm"));
  await symlink(join(stdout.trim(), "_cacache"), join(folder, "npm/_cacache"));
  const kept = Object.entries(process.env).filter(([name]) => !/_API_KEY$|^GATEWAY_/.test(name));
  environment = {
    ...Object.fromEntries(kept),
    PATH: path,
    npm_config_cache: join(folder, "npm"),
    npm_config_update_notifier: "false",
  };
  await run(`${root}scripts/release`, [], { cwd: root, env: { ...process.env, PATH: path } });
  await cp(`${root}dist-release/${TARBALL}`, join(place, TARBALL));
});
after(() => rm(folder, { recursive: true, force: true }));

/**
 * Runs a command of the installed package to its end.
 *
 * @param {string[]} words
 * @param {NodeJS.ProcessEnv} [env]
 * @returns {Promise<{ status: number, output: string }>}
 */
async function gatehouse(words, env = {}) {
  const pattern = join(folder, "npm/_npx/*/node_modules/gatehouse/scripts/gatehouse.mjs");
  const [script = ""] = globSync(pattern);
  const options = { cwd: place, env: { ...environment, ...env } };
  try {
    const { stdout, stderr } = await run("node", [script, ...words], options);
    return { status: 0, output: stdout + stderr };
  } catch (error) {
    const { code, stdout, stderr } = /** @type {any} */ (error);
    return { status: code, output: stdout + stderr };
  }
}

/**
 * Starts the package with npx, and stops it as Ctrl-C does.
 *
 * @param {NodeJS.ProcessEnv} env
 * @param {(url: string, said: () => string) => Promise<void>} use
 * @returns {Promise<string>} the output
 */
async function served(env, use) {
  const port = await freePort();
  const child = spawn("npx", ["--yes", `./${TARBALL}`, "--port", String(port)], {
    cwd: place,
    env: { ...environment, ...env },
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  let said = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => (said += text));
  const ended = once(child, "exit");
  try {
    await eventually(() => {
      if (child.exitCode !== null) throw new Error(said);
      return /Ctrl-C stops everything/.test(said);
    }, 120_000);
    await use(`http://localhost:${port}`, () => said);
  } catch (error) {
    throw new Error(said, { cause: error });
  } finally {
    if (child.exitCode === null && child.pid !== undefined) process.kill(-child.pid, "SIGINT");
    await ended;
  }
  await eventually(() =>
    fetch(`http://localhost:${port}/health`).then(
      () => false,
      () => true,
    ),
  );
  return said;
}

/** @param {string} said */
const pasted = (said) => String(/^ {2}curl [^]*?}'$/m.exec(said)?.[0]);

/** @param {string} said */
const keysIn = (said) => [...new Set(said.match(/gw_\w{49}/g))];

/**
 * The bytes of all files under a folder, as Latin-1.
 *
 * @param {string} path
 */
const bytesOf = (path) =>
  readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => readFileSync(join(entry.parentPath, entry.name), "latin1"));

suite("release", () => {
  test("release: Cargo.toml, package.json, openapi.json and the documentation have one version", () => {
    const read = (/** @type {string} */ path) => readFileSync(root + path, "utf8");
    assert.equal(/^version = "(.*)"$/m.exec(read("Cargo.toml"))?.[1], version);
    assert.equal(JSON.parse(read("openapi.json")).info.version, version);
    assert.ok(read("CHANGELOG.md").includes(`\n## ${version} `));
    for (const path of [...globSync(`${root}site/pages/**/*.md`), `${root}README.md`]) {
      for (const [name] of readFileSync(path, "utf8").matchAll(/gatehouse-\d+\.\d+\.\d+\.tgz/g))
        assert.equal(name, TARBALL, path);
    }
  });

  test("release: the Worker holds no path of the machine that built it", () => {
    for (const name of ["build/index_bg.wasm", "build/index.js"]) {
      const bytes = readFileSync(root + name, "latin1");
      for (const path of [root, homedir(), process.env["CARGO_HOME"] ?? ""])
        assert.ok(path.length < 2 || !bytes.includes(path), `${name}: ${path}`);
      assert.doesNotMatch(bytes, /\/(?:home|Users|root|tmp)\/[\w.]/, name);
    }
  });

  test("release: the checksums are those of the package and of the bills of materials", () => {
    const lines = readFileSync(`${root}dist-release/SHA256SUMS`, "utf8").trim().split("\n");
    const names = lines.map((line) => line.split("  ")[1]);
    assert.deepEqual(names, [
      TARBALL,
      ...["crates", "npm", "package", "worker"].map((one) => `sbom/${one}.cdx.json`),
    ]);
    for (const [at, name] of names.entries()) {
      const digest = createHash("sha256").update(readFileSync(`${root}dist-release/${name}`));
      assert.ok(lines[at]?.startsWith(digest.digest("hex")), name);
    }
  });

  test("release: npx starts a gateway in an empty folder, and the printed command works", async () => {
    await served({}, async (url, said) => {
      const whole = await run("bash", ["-c", pasted(said())]);
      assert.match(whole.stdout, /"content":"You said: Say hello"/);
      const streamed = pasted(said()).replace('{"model"', '{"stream": true, "model"');
      assert.match((await run("bash", ["-c", streamed])).stdout, /data: \[DONE\]/);
      const [key] = keysIn(said());
      const headers = { "x-api-key": String(key), "content-type": "application/json" };
      const messages = [{ role: "user", content: "Say hello" }];
      for (const [path, body] of /** @type {const} */ ([
        ["messages", { model: "demo/sim-small", max_tokens: 20, messages }],
        ["responses", { model: "demo/sim-small", input: "Say hello" }],
      ])) {
        const response = await fetch(`${url}/v1/${path}`, {
          method: "POST",
          headers,
          body: JSON.stringify(body),
        });
        assert.match(await response.text(), /You said: Say hello/, path);
      }
      for (const path of ["/console", "/key", "/docs", "/docs/start", "/openapi.json"])
        assert.equal((await fetch(url + path)).status, 200, path);
      const health = /** @type {any} */ (await (await fetch(`${url}/health`)).json());
      assert.deepEqual([health.version, health.database], [version, "ready"]);
      const taken = new URL(url).port;
      const { status, output } = await gatehouse(["--port", taken]);
      assert.equal(status, 1);
      assert.match(
        output,
        /^Port \d+ is in use\. Stop .* choose another port: npx \.\/\S+\.tgz --port \d+\n$/,
      );
    });
    assert.equal(statSync(join(place, ".gatehouse")).mode & 0o777, 0o700);
    for (const name of ["caller-key", "operator-key", "master-key"])
      assert.equal(statSync(join(place, ".gatehouse", name)).mode & 0o777, 0o600, name);
  });

  test("release: a second start has the same keys, and keeps a provider's key to itself", async () => {
    const said = await served({ OPENAI_API_KEY: PROVIDER_KEY }, async (_, soFar) => {
      assert.match(soFar(), /^Providers: those of OPENAI_API_KEY\.$/m);
      if (existsSync("/proc/self/cmdline")) {
        for (const path of globSync("/proc/[0-9]*/cmdline")) {
          const words = existsSync(path) ? readFileSync(path, "latin1") : "";
          assert.ok(!words.includes(PROVIDER_KEY), words);
        }
      }
    });
    assert.ok(!said.includes(PROVIDER_KEY));
    const stored = ["caller-key", "operator-key"].map((name) =>
      readFileSync(join(place, ".gatehouse", name), "utf8").trim(),
    );
    assert.deepEqual(keysIn(said), stored);
    for (const bytes of bytesOf(place)) assert.ok(!bytes.includes(PROVIDER_KEY));
  });

  test("release: the commands of operators have the names of the package", async () => {
    assert.equal((await gatehouse(["--version"])).output, `${version}\n`);
    assert.match((await gatehouse(["keys", "--help"])).output, /^Usage: npx .*\.tgz keys /);
    assert.match((await gatehouse(["operator", "--help"])).output, /^Usage: npx .*\.tgz operator /);
    const wrong = await gatehouse(["sevre"]);
    assert.equal(wrong.status, 2);
    assert.match(wrong.output, /^unknown command 'sevre'; see npx/);
    assert.match(
      (await gatehouse(["selftest", "--url", "http://127.0.0.1:9"])).output,
      /ADMIN_KEY/,
    );
  });

  test("release: an old Node.js is named, with the version that is needed", async () => {
    const program = `Object.defineProperty(process.versions, "node", { value: "20.19.0" });
      await import(${JSON.stringify(`${root}scripts/gatehouse.mjs`)});`;
    const old = run("node", ["--input-type=module", "--eval", program]);
    await assert.rejects(old, /needs Node\.js 22\.12 or newer, and this is 20\.19\.0/);
  });
});

suite("gatehouse deploy", () => {
  /** @type {string} */ let account;
  /** @type {NodeJS.ProcessEnv} */ let env;

  before(async () => {
    account = join(folder, "account");
    await mkdir(account);
    env = {
      STAND_IN: account,
      GATEWAY_WRANGLER: `${root}tests/release/stand-in-wrangler.mjs`,
      OPENAI_API_KEY: PROVIDER_KEY,
    };
  });

  /** What the stand-in was called with, since the last time. */
  async function calls() {
    const lines = readFileSync(join(account, "log"), "utf8").trim().split("\n");
    await rm(join(account, "log"));
    return lines;
  }
  /** @returns {Record<string, string>} */
  const secrets = () => JSON.parse(readFileSync(join(account, "secrets"), "utf8"));

  test("gatehouse deploy: --dry-run prints each step, needs no network and writes nothing", async () => {
    const before = bytesOf(place).length;
    // The real wrangler, whose every request would fail.
    const nowhere = { HTTPS_PROXY: "http://127.0.0.1:9", CLOUDFLARE_API_TOKEN: "none" };
    const { status, output } = await gatehouse(["deploy", "--dry-run"], {
      OPENAI_API_KEY: PROVIDER_KEY,
      ...nowhere,
    });
    assert.equal(status, 0, output);
    for (const step of ["1/5 Login", "2/5 Database", "3/5 Worker", "4/5 Secrets", "5/5 First keys"])
      assert.ok(output.includes(step), step);
    assert.match(output, /OPENAI_API_KEY/);
    assert.match(output, /wrangler accepts the Worker\. Nothing was changed\.\n$/);
    assert.ok(!output.includes(PROVIDER_KEY));
    assert.equal(bytesOf(place).length, before);
  });

  test("gatehouse deploy: a step that fails is named, and the next run continues", async () => {
    await writeFile(join(account, "offline"), "");
    const first = await gatehouse(["deploy"], env);
    assert.equal(first.status, 1);
    assert.match(first.output, /the network is down/);
    assert.match(
      first.output,
      /d1 migrations apply GATEWAY_DB --remote failed with status 1\. .*deploy" again/,
    );
    assert.deepEqual(await calls(), [
      "whoami --json",
      "d1 list --json",
      "deploy --keep-vars",
      "d1 migrations apply GATEWAY_DB --remote",
    ]);
    assert.doesNotMatch(readFileSync(join(account, "deployed"), "utf8"), /^\[build\]/m);

    await rm(join(account, "offline"));
    const { status, output } = await gatehouse(["deploy"], env);
    assert.equal(status, 0, output);
    assert.deepEqual(await calls(), [
      "whoami --json",
      "d1 list --json",
      "d1 migrations apply GATEWAY_DB --remote",
      "deploy --keep-vars",
      "secret list --format json",
      "secret bulk",
    ]);
    assert.match(output, /Gatehouse is deployed at https:\/\/gatehouse\.ada\.workers\.dev\./);
    assert.match(output, /^Uploading OPENAI_API_KEY, GATEWAY_MASTER_KEY$/m);
    // There is no terminal, so that no key is printed.
    assert.match(output, /No key of callers was created/);
    assert.deepEqual(keysIn(output), []);
    assert.ok(!output.includes(PROVIDER_KEY));
    assert.equal(secrets()["OPENAI_API_KEY"], PROVIDER_KEY);
    assert.equal(Buffer.from(String(secrets()["GATEWAY_MASTER_KEY"]), "base64").length, 32);
  });

  test("gatehouse deploy: rings are uploaded once, and the master key is never replaced", async () => {
    const { GATEWAY_MASTER_KEY: master } = secrets();
    for (const ring of [[], ["--operators"]]) {
      const made = await gatehouse(["keys", "generate", ...ring, "--label", "first"], env);
      assert.match(made.output, /\.gatehouse\/\S+\.json/);
    }
    const second = await gatehouse(["deploy"], env);
    assert.equal(second.status, 0, second.output);
    assert.deepEqual((await calls()).slice(-2), [
      "secret put GATEWAY_API_KEY_HASHES",
      "secret put GATEWAY_ADMIN_KEY_HASHES",
    ]);
    assert.match(String(secrets()["GATEWAY_API_KEY_HASHES"]), /^first:[0-9a-f]{64}$/);

    const third = await gatehouse(["deploy"], env);
    assert.match(third.output, /The Worker has the ring of operators/);
    assert.equal((await calls()).at(-1), "secret bulk");
    assert.equal(secrets()["GATEWAY_MASTER_KEY"], master);
  });

  test("gatehouse deploy: wrangler has the commands and options", async () => {
    const script = readFileSync(`${root}scripts/gatehouse/deploy.mjs`, "utf8");
    const table = /^const COMMANDS = \{([^]*?)^\};/m.exec(script)?.[1] ?? "";
    const commands = [...table.matchAll(/: (\[.*\]),$/gm)].map(([, words = ""]) =>
      JSON.parse(words.replace("BINDING", '"GATEWAY_DB"')),
    );
    assert.equal(commands.length, 7);
    for (const words of commands) {
      const options = words.filter((/** @type {string} */ word) => word.startsWith("--"));
      const names = words.filter(
        (/** @type {string} */ word) => /^[a-z0-9]+$/.test(word) && word !== "json",
      );
      const { stdout } = await run("wrangler", [...names, "--help"], { env: environment });
      assert.ok(stdout.includes(`wrangler ${names.join(" ")}`), names.join(" "));
      for (const option of options) assert.ok(stdout.includes(option), `${names}: ${option}`);
    }
  });
});
