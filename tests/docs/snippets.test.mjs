// @ts-check
//! Runs every command and program of the documentation (README.md, site/pages) unchanged against a gateway in the real
//! runtime. Only the gateway's address, keys in the environment, and ids where the text has `…` are filled in. Providers are
//! simulated: `openai/…` and `groq/…` are tests/upstream.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { pathToFileURL } from "node:url";
import { Webhook } from "standardwebhooks";
import { digest } from "../../scripts/lib/gateway-key.mjs";
import {
  Gateway,
  KEY,
  KEY_HASH,
  OPERATOR_KEY,
  Upstream,
  chat,
  eventually,
  freePort,
  operate,
  root,
} from "../e2e/harness.mjs";
import { snippets } from "./snippets.mjs";

const BASE = "https://gatehouse.example";
const PYTHON = `${root}.tools/docs-python/bin/python`;
/** The address and the model of `./scripts/dev`, in the README. */
const LOCAL = { base: "http://localhost:8787", model: "demo/sim-small" };
/** The model in the examples, of a simulated provider. */
const MODEL = "openai/gpt-5-mini";

const all = snippets();
/** @type {Set<import("./snippets.mjs").Snippet>} */
const ran = new Set();

/** @type {Upstream} */ let upstream;
/** @type {Gateway} */ let gateway;
/** @type {string} */ let folder;

/** @param {string} config */
const variables = (config) => ({
  GATEWAY_API_KEY_HASHES: `my-team:${KEY_HASH}`,
  GATEWAY_ADMIN_KEY_HASHES: `ops:${digest(OPERATOR_KEY)}`,
  OPENAI_API_KEY: "sk-simulated",
  OPENAI_BASE_URL: `${upstream.url}/v1`,
  GATEWAY_MASTER_KEY: Buffer.alloc(32, 7).toString("base64"),
  GROQ_API_KEY: "sk-simulated",
  GROQ_BASE_URL: `${upstream.url}/v1`,
  ANTHROPIC_API_KEY: "sk-simulated",
  ANTHROPIC_BASE_URL: `${upstream.url}/v1`,
  GATEWAY_CONFIG: config,
});

before(async () => {
  upstream = await Upstream.start();
  folder = await mkdtemp(join(tmpdir(), "gatehouse-docs-"));
  const config = {
    access: { requests_per_day: 1000 },
    policies: { trial: { models: ["groq/*"], limits: { usd_per_day: 5 } } },
  };
  gateway = await Gateway.start(variables(JSON.stringify(config)));
  // Calls for the receipts and sums.
  await chat(gateway, { model: MODEL, project_id: "checkout" });
});
after(async () => {
  await Promise.all([gateway.stop(), upstream.stop()]);
  await rm(folder, { recursive: true });
});

/**
 * The snippets of a test, optionally of one page.
 *
 * @param {string} name
 * @param {string} [page]
 */
function of(name, page) {
  const found = all.filter((one) => one.test === name && (page ?? one.page) === one.page);
  assert.ok(found.length > 0, `no page has a snippet of ${name}`);
  for (const one of found) ran.add(one);
  return found;
}

/**
 * The text of a snippet with this gateway's address, and with `values` for its placeholders.
 *
 * @param {string} text
 * @param {Record<string, string>} values
 */
function filled(text, values = {}) {
  let own = text
    .replaceAll(BASE, gateway.url)
    .replaceAll(LOCAL.base, gateway.url)
    .replaceAll(LOCAL.model, MODEL)
    .replaceAll('"gw_…"', `"${KEY}"`);
  for (const [from, to] of Object.entries(values)) own = own.replaceAll(from, to);
  assert.doesNotMatch(own, /(kreq|clm|rcpt)_…/, "something is left open");
  return own;
}

/**
 * Runs a program; throws if it fails.
 *
 * @param {string} program
 * @param {string[]} args
 * @param {{ cwd?: string, env?: Record<string, string>, input?: string }} [options]
 * @returns {Promise<string>} what it has written
 */
function run(program, args, { cwd = root, env = {}, input = "" } = {}) {
  return new Promise((resolve, reject) => {
    const child = execFile(
      program,
      args,
      {
        cwd,
        timeout: 120_000,
        env: {
          ...process.env,
          PATH: `${root}node_modules/.bin:${process.env["PATH"]}`,
          GATEHOUSE_API_KEY: KEY,
          GATEWAY_ADMIN_KEY: OPERATOR_KEY,
          GATEWAY_URL: gateway.url,
          OPENAI_API_KEY: "",
          ...env,
        },
      },
      (error, out, problems) =>
        error ? reject(new Error(`${program} ${args.at(-1)}\n${out}${problems}`)) : resolve(out),
    );
    // It may end without reading its input.
    child.stdin?.on("error", () => {});
    child.stdin?.end(input);
  });
}

/**
 * Runs lines of a shell. A curl with an error response fails.
 *
 * @param {string} lines
 * @param {Parameters<typeof run>[2]} [options]
 */
const shell = (lines, options) =>
  run(
    "bash",
    [
      "--norc",
      "-euo",
      "pipefail",
      "-c",
      `curl() { command curl -sS --fail-with-body "$@"; }\n${lines}`,
    ],
    options,
  );

/** @param {import("./snippets.mjs").Snippet} snippet */
const place = ({ page, line }) => `${page}, line ${line}`;

/** A pending request. */
async function pending() {
  const response = await fetch(`${gateway.url}/access/request-key`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ email: "ada@example.com", use_case: "Testing the documentation" }),
  });
  const { request_id: id } = /** @type {any} */ (await response.json());
  return String(id);
}

test("snippets: each runs or has a reason not to", () => {
  for (const snippet of all) {
    const isRun = snippet.test !== "" || snippet.client !== "";
    assert.ok(isRun || snippet.why.length > 15, `${place(snippet)} is not tested`);
  }
});

suite("snippets of callers", () => {
  test("snippets of callers: calls with curl, whole", async () => {
    for (const { text } of of("call")) {
      const answer = JSON.parse(await shell(filled(text)));
      assert.equal(answer.choices[0].message.content, "You said: Say hello.");
    }
  });

  test("snippets of callers: calls with curl, streamed", async () => {
    for (const { text } of of("stream")) {
      assert.match(await shell(filled(text)), /data: \[DONE\]/);
    }
  });

  test("snippets of callers: messages with curl", async () => {
    for (const { text } of of("messages")) {
      assert.equal(JSON.parse(await shell(filled(text))).type, "message");
    }
  });

  test("snippets of callers: responses with curl", async () => {
    for (const { text } of of("responses")) {
      assert.equal(JSON.parse(await shell(filled(text))).object, "response");
    }
  });

  test("snippets of callers: embeddings with curl, Python and Node.js", async (t) => {
    const modules = `${root}tests/docs/node_modules/`;
    await mkdir(`${modules}.run`, { recursive: true });
    for (const snippet of of("embeddings")) {
      const text = filled(snippet.text);
      if (snippet.language === "sh") {
        assert.equal(JSON.parse(await shell(text)).data.length, 2);
        continue;
      }
      const path = `${modules}.run/embeddings.mjs`;
      if (snippet.language === "js") await writeFile(path, text);
      if (snippet.language === "python" && !existsSync(PYTHON)) {
        t.diagnostic(`${place(snippet)} is skipped: there is no Python with venv`);
        continue;
      }
      const said = await (snippet.language === "js"
        ? run("node", [path])
        : run(PYTHON, ["-c", text]));
      assert.equal(said, "0 8\n1 8\n", place(snippet));
    }
  });

  test("snippets of callers: forms with curl", async () => {
    const folder = `${root}tests/docs/node_modules/.run`;
    await mkdir(folder, { recursive: true });
    await writeFile(`${folder}/speech.wav`, Buffer.alloc(64_000));
    await writeFile(`${folder}/fox.png`, "PNG");
    for (const { text } of of("transcription")) {
      const { task } = JSON.parse(await shell(filled(text), { cwd: folder }));
      assert.equal(task, "transcribe");
    }
    for (const { text } of of("edit")) {
      assert.equal(JSON.parse(await shell(filled(text), { cwd: folder })).data.length, 1);
    }
  });

  test("snippets of callers: the key in the environment", async () => {
    for (const { text } of of("enter-key")) {
      const lines = `${text}\necho "$GATEHOUSE_API_KEY"`;
      const env = { GATEHOUSE_API_KEY: "" };
      assert.equal((await shell(lines, { env, input: "gw_typed\n" })).trim(), "gw_typed");
    }
  });

  test("snippets of callers: models and usage", async () => {
    for (const { text } of of("models")) {
      const { data } = JSON.parse(await shell(filled(text)));
      assert.ok(data.some((/** @type {any} */ { id }) => id === MODEL));
    }
    const id = await eventually(async () => {
      const page = await shell(`curl ${gateway.url}/usage/requests -H "x-api-key: ${KEY}"`);
      return JSON.parse(page).data[0]?.id;
    });
    for (const { text } of of("usage")) {
      assert.match(await shell(filled(text, { "rcpt_…": String(id) })), /^\{/);
    }
  });

  test("snippets of callers: rotating one's key and requesting higher limits", async () => {
    const body = { name: "own-key", limits: { requests_per_minute: 60 } };
    const made = await operate(gateway, "POST", "/v0/api_keys", body);
    const env = { GATEHOUSE_API_KEY: /** @type {any} */ (await made.json()).api_key };
    for (const { text } of of("own-key")) {
      const answer = JSON.parse(await shell(filled(text), { env }));
      assert.match(answer.api_key ?? answer.request_id, /^(gw|kreq)_/);
    }
  });

  test("snippets of callers: fallbacks and /v1/routing/explain", async () => {
    for (const { text } of of("routing")) {
      const answer = JSON.parse(await shell(filled(text)));
      assert.ok(answer.choices ?? answer.attempts);
    }
  });

  test("snippets of callers: structured output", async () => {
    for (const { text } of of("schema")) {
      const { choices } = JSON.parse(await shell(filled(text)));
      assert.equal(typeof JSON.parse(choices[0].message.content).answer, "string");
    }
  });

  test("snippets of callers: receipts verified with the guide's programs", async () => {
    const programs = of("check-receipts");
    for (const { language, text } of programs) {
      await writeFile(join(folder, `check-receipts.${language === "js" ? "mjs" : "py"}`), text);
      // The same program that tests/e2e/usage.test.mjs runs on altered receipts.
      const path = `${root}tests/e2e/snippets/check-receipts.${language === "js" ? "mjs" : "py"}`;
      assert.equal(text.trim(), (await readFile(path, "utf8")).trim());
    }
    for (const { text } of of("receipts")) {
      const lines = filled(text);
      assert.match(await shell(lines, { cwd: folder }), /receipts fit together/);
      const python = lines.replace("node check-receipts.mjs", "python3 check-receipts.py");
      assert.match(await shell(python, { cwd: folder }), /receipts fit together/);
    }
  });

  test("snippets of callers: requesting a key and opening a claim link", async () => {
    for (const { text } of of("request-key")) {
      assert.equal(JSON.parse(await shell(filled(text))).status, "pending");
    }
    for (const { text } of of("claim")) {
      const path = `/api/portal/requests/approve/${await pending()}`;
      const approved = await operate(gateway, "PUT", path, { delivery: "claim" });
      const { ClaimURL: url } = /** @type {any} */ (await approved.json());
      const token = String(url).replace(/.*#/, "");
      assert.match(await shell(filled(text, { "clm_…": token })), /"api_key":"gw_/);
    }
  });

  test("snippets of callers: Node.js with fetch and every SDK", async () => {
    const modules = `${root}tests/docs/node_modules/`;
    assert.ok(existsSync(modules), "the clients are not installed: scripts/setup --tests");
    await mkdir(`${modules}.run`, { recursive: true });
    for (const snippet of of("node")) {
      const path = `${modules}.run/${snippet.page.replace(/\W/g, "-")}-${snippet.line}.mjs`;
      await writeFile(path, filled(snippet.text));
      const said = await run("node", [path]);
      assert.match(said, /You said: Say hello\.|has been received/, place(snippet));
    }
    for (const { text } of of("tools")) {
      const path = `${modules}.run/tools.mjs`;
      await writeFile(path, filled(text));
      assert.match(await run("node", [path]), /Snow, -3 °C/, "the result of the tool came back");
    }
  });

  const skip = existsSync(PYTHON)
    ? false
    : "there is no Python with venv; scripts/setup --tests says more";
  test("snippets of callers: Python with every SDK", { skip }, async () => {
    for (const snippet of of("python")) {
      const said = await run(PYTHON, ["-c", filled(snippet.text)]);
      assert.match(said, /You said: Say hello\./, place(snippet));
    }
  });

  test("snippets of callers: the variables that tools read", { skip }, async () => {
    for (const { text } of of("environment")) {
      const program = `from openai import OpenAI
print(OpenAI().chat.completions.create(model="${MODEL}", messages=[{"role": "user", "content": "Say hello."}]).choices[0].message.content)`;
      const said = await shell(`${filled(text)}\n${PYTHON} -c '${program}'`);
      assert.match(said, /You said: Say hello\./);
    }
  });
});

suite("snippets of operators", () => {
  test("snippets of operators: the key ring", async () => {
    for (const page of ["authentication.md", "operate/requests.md"]) {
      const manifest = join(folder, `${page.replace(/\W/g, "-")}.json`);
      for (const { text } of of("ring", page)) {
        await shell(text.replace(/$/m, ` --manifest ${manifest}`));
      }
    }
  });

  test("snippets of operators: decisions on requests", async () => {
    for (const snippet of of("requests")) {
      const id = await pending();
      const said = await shell(filled(snippet.text, { "kreq_…": id }), {
        input: `${OPERATOR_KEY}\n`,
      });
      const { approved, declined } = /** @type {any} */ (
        await (await operate(gateway, "GET", `/api/portal/requests/${id}`)).json()
      );
      if (/approve/.test(snippet.text) && !/approved=/.test(snippet.text)) {
        assert.match(said, /gw_|claim#clm_/, place(snippet));
        assert.notEqual(approved, false);
      }
      if (/delete|DELETE/.test(snippet.text)) assert.equal(declined, undefined, place(snippet));
    }
  });

  test("snippets of operators: run-time settings", async () => {
    await operate(gateway, "POST", "/v0/api_keys", { name: "ci-runner" });
    for (const snippet of of("settings")) {
      await shell(filled(snippet.text)).catch((error) => {
        throw new Error(place(snippet), { cause: error });
      });
    }
    const limited = await operate(gateway, "GET", "/v0/api_keys/ci-runner");
    const [key] = /** @type {any} */ (await limited.json());
    assert.deepEqual(key.limits, { usd_per_month: 50 });
    await operate(gateway, "DELETE", "/v0/policies/trial");
    await operate(gateway, "DELETE", "/v0/groups/cheap");
    await operate(gateway, "DELETE", "/v0/models/groq/openai/gpt-oss-20b");
  });

  test("snippets of operators: failing providers", async () => {
    for (const { text } of of("lanes")) await shell(filled(text));
  });

  test("snippets of operators: keys of providers, and the self-test", async () => {
    const env = { provider_key: "gsk_0123456789abcdefghij" };
    for (const { text } of of("provider-keys")) {
      await shell(filled(text, { "gsk_…": "gsk_abcdefghij0123456789" }), { env });
    }
    for (const { text } of of("self-test")) await shell(filled(text));
  });

  test("snippets of operators: usage and calls of all keys", async () => {
    await operate(gateway, "POST", "/v0/api_keys", { name: "ci-runner" });
    for (const { text } of of("spending")) await shell(filled(text));
    const first = await eventually(async () => {
      const page = await (await operate(gateway, "GET", "/v0/calls?limit=1")).json();
      return /** @type {any} */ (page).data[0];
    }, 30_000);
    for (const { text } of of("calls")) {
      assert.match(await shell(filled(text, { "rcpt_…": first.id })), /demo|groq|openai|rcpt_/);
    }
  });

  test("snippets of operators: creating, changing and revoking keys", async () => {
    const name = "ci-runner";
    for (const snippet of of("keys")) {
      const makes = /keys create|api_keys \\\n.*\n.*\n\s+-d/.test(snippet.text);
      const exists = (await operate(gateway, "GET", `/v0/api_keys/${name}`)).status === 200;
      if (makes && exists) await operate(gateway, "DELETE", `/v0/api_keys/${name}`);
      if (!makes && !exists) await operate(gateway, "POST", "/v0/api_keys", { name });
      await shell(filled(snippet.text)).catch((error) => {
        throw new Error(place(snippet), { cause: error });
      });
      const { status } = await operate(gateway, "GET", `/v0/api_keys/${name}`);
      const revokes = /revoke|DELETE/.test(snippet.text);
      assert.equal(status, revokes ? 404 : 200, place(snippet));
    }
  });

  test("snippets of operators: accounts and metrics", async () => {
    const made = await operate(gateway, "POST", "/v0/api_keys", { name: "ci-runner" });
    assert.ok([200, 201, 409].includes(made.status));
    for (const { text } of of("policies")) await shell(filled(text));
    for (const { text } of of("monitoring")) {
      // Sums of calls are available some seconds after the calls.
      const isCounted = async () => /^gatehouse_requests_total\{/m.test(await shell(filled(text)));
      assert.ok(await eventually(isCounted, 60_000));
    }
  });

  test("snippets of operators: verifying the audit log", async () => {
    const { entries } = /** @type {any} */ (
      await (await operate(gateway, "GET", "/v0/audit?after=0&limit=100")).json()
    );
    const head = (await shell(`node scripts/gateway-operator.mjs audit verify --json`)).match(
      /"head": ?"([0-9a-f]{64})"/,
    )?.[1];
    assert.ok(head);
    for (const { text } of of("audit")) await shell(filled(text, { HASH: head }));
    const [first, second] = entries;
    for (const { text } of of("chain")) {
      const env = { hash_before: String(first.hash), entry: String(second.entry) };
      assert.ok((await shell(text, { env })).startsWith(second.hash));
    }
  });

  test("snippets of operators: settings are accepted by the gateway", async () => {
    for (const snippet of of("config")) {
      const config = await toJson(snippet.text);
      const own = await Gateway.startBare(variables(config));
      try {
        const response = await fetch(`${own.url}/v1/chat/completions`, {
          method: "POST",
          headers: { authorization: `Bearer ${KEY}`, "content-type": "application/json" },
          body: "{}",
        });
        assert.equal(response.status, 400, `${place(snippet)}: ${await response.text()}`);
      } finally {
        await own.stop();
      }
    }
    for (const { text } of of("toml")) await toJson(text);
  });

  test("snippets of operators: checking the configuration, and converting LiteLLM's", async () => {
    const [config, result] = [of("litellm-config")[0]?.text, of("litellm-result")[0]?.text];
    await writeFile(join(folder, "config.yaml"), config ?? "");
    for (const { text } of of("convert")) {
      await shell(text.replace("scripts/", `${root}scripts/`), { cwd: folder });
    }
    const path = join(folder, "gateway.toml");
    assert.deepEqual(await toJson(await readFile(path, "utf8")), await toJson(result ?? ""));
    for (const { text } of of("check-config")) {
      await shell(text);
      await shell(text.replace("gateway.toml", path));
    }
  });

  test("snippets of operators: verifying webhooks", async () => {
    for (const { text } of of("webhook")) {
      const path = join(folder, "webhook.mjs");
      await writeFile(path, text);
      const { isGenuine } = await import(pathToFileURL(path).href);
      const secret = `whsec_${Buffer.alloc(32, 7).toString("base64")}`;
      const [id, body, now] = ["msg_1", '{"event":"test"}', new Date()];
      const headers = {
        "webhook-id": id,
        "webhook-timestamp": String(Math.floor(now.getTime() / 1000)),
        "webhook-signature": new Webhook(secret).sign(id, now, body),
      };
      assert.equal(isGenuine(headers, body, secret), true);
      assert.equal(isGenuine(headers, `${body} `, secret), false);
    }
  });
});

/** The commands of wrangler in the documentation. */
const COMMANDS =
  /^(login|deploy|rollback|versions list|d1 (?:export|migrations apply|time-travel (?:info|restore))|secret (?:put|delete))\b/;

suite("snippets for a Cloudflare account", () => {
  test("snippets for a Cloudflare account: wrangler has the commands and options", async () => {
    // A fake wrangler records its arguments and reads its input; nothing is uploaded.
    const log = join(folder, "wrangler.log");
    const standIn = `#!/bin/sh\n[ "$1" = wrangler ] && shift\necho "$*" >> ${log}\ncase "$*" in *secret*) wc -c >> ${log}.bytes;; esac\n`;
    const programs = join(folder, "programs");
    await mkdir(programs);
    await writeFile(join(programs, "npx"), standIn, { mode: 0o755 });
    const env = {
      GATEWAY_WRANGLER: join(programs, "npx"),
      first_key: "one",
      second_key: "two",
      old_master_key: "three",
      COLLECTOR_TOKEN: "four",
    };
    const manifest = join(folder, "account");
    for (const snippet of of("account")) {
      const lines = snippet.text
        .replace(
          /^(node .*key-ring.*) --operators(.*)$/gm,
          `$1 --operators$2 --manifest ${manifest}-o.json`,
        )
        .replace(/^(node .*key-ring.*(?<!\.json))$/gm, `$1 --manifest ${manifest}.json`);
      if (lines.trim().startsWith("node") && lines.includes("upload")) {
        // An empty ring is not uploaded.
        const operators = lines.includes("--operators") ? ["--operators"] : [];
        const path = `${manifest}${operators.length > 0 ? "-o" : ""}.json`;
        if (!existsSync(path) && !lines.includes("generate")) {
          const words = ["generate", ...operators, "--label", "first", "--manifest", path];
          await run("node", ["scripts/gateway-key-ring.mjs", ...words]);
        }
      }
      await shell(`PATH=${programs}:$PATH\n${lines}`, { env }).catch((error) => {
        throw new Error(place(snippet), { cause: error });
      });
    }
    const calls = new Set((await readFile(log, "utf8")).trim().split("\n"));
    assert.ok(calls.size >= 6);
    /** @type {Map<string, Promise<string>>} */
    const helps = new Map();
    for (const line of calls) {
      const command = COMMANDS.exec(line)?.[1];
      assert.ok(command, `wrangler ${line}`);
      if (!helps.has(command))
        helps.set(command, run("wrangler", [...command.split(" "), "--help"]));
      const help = String(await helps.get(command));
      for (const [option] of line.matchAll(/--[a-z-]+/g)) {
        assert.ok(help.includes(option), `wrangler ${line}: ${option}`);
      }
    }
  });
});

suite("snippets of the set-up", () => {
  test("snippets of the set-up: the packages are installed whose programs run here", async () => {
    const { dependencies } = JSON.parse(await readFile(`${root}tests/docs/package.json`, "utf8"));
    const pinned = await readFile(`${root}tests/docs/requirements.txt`, "utf8");
    for (const snippet of of("install")) {
      const [, program, names = ""] = /^(npm|pip) install (.*)$/.exec(snippet.text.trim()) ?? [];
      for (const name of names.split(" ")) {
        const isThere = program === "npm" ? name in dependencies : pinned.includes(`${name}==`);
        assert.ok(isThere, `${place(snippet)}: ${name}`);
      }
    }
  });

  test("snippets of the set-up: ./scripts/dev starts a gateway and the printed command works", async () => {
    for (const { text } of of("dev")) {
      const port = await freePort();
      await serving(`exec ${text.trim()} --port ${port}`, async (said) => {
        const line = await eventually(() => /^ {2}curl [^]*?}'$/m.exec(said())?.[0], 150_000);
        assert.match(await shell(line), /choices/);
      });
    }
  });

  test("snippets of the set-up: serving on one's own machine", async () => {
    for (const { text } of of("setup")) await shell(text);
    for (const { text } of of("own-machine")) {
      const port = await freePort();
      const lines = text.replaceAll("/var/lib/gatehouse", join(folder, "state"));
      const [migrate = "", serve = ""] = lines.replace("8787", String(port)).trim().split("\n");
      await shell(migrate, { env: { CI: "1" } });
      const more = `--inspector-port ${await freePort()} --var GATEWAY_API_KEY:${KEY}`;
      await serving(`exec ${serve} ${more}`, async () => {
        const health = await eventually(
          () => fetch(`http://127.0.0.1:${port}/health`).catch(() => undefined),
          60_000,
        );
        assert.equal(health.status, 200);
      });
    }
  });
});

test("snippets: all of them were run", () => {
  const left = all.filter((one) => one.test !== "" && !ran.has(one));
  assert.deepEqual(left.map(place), []);
});

/**
 * Runs a command that serves until it is stopped.
 *
 * @param {string} command
 * @param {(said: () => string) => Promise<void>} use
 */
async function serving(command, use) {
  const child = spawn("bash", ["-c", command], {
    cwd: root,
    env: { ...process.env, PATH: `${root}node_modules/.bin:${process.env["PATH"]}`, CI: "1" },
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  let said = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => (said += text));
  try {
    await use(() => said);
  } catch (error) {
    throw new Error(`${command}\n${said}`, { cause: error });
  } finally {
    if (child.exitCode === null && child.pid !== undefined) {
      const ended = new Promise((resolve) => child.on("exit", resolve));
      process.kill(-child.pid, "SIGTERM");
      await ended;
    }
  }
}

/**
 * Converts TOML to JSON with Python's parser.
 *
 * @param {string} toml
 */
const toJson = (toml) =>
  run(
    "python3",
    ["-c", "import json, sys, tomllib; print(json.dumps(tomllib.loads(sys.stdin.read())))"],
    {
      input: toml,
    },
  );
