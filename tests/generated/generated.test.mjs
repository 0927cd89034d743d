// @ts-check
//! Clients that generators make from openapi.json, against a gateway: each parses a list of models, a completion, an error,
//! keys, key requests and providers. Also Feldera's own clients, whose API `/v0` follows: the one for Python, and `fda`.
//! scripts/generated-clients makes and installs the clients, and runs this file.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { request } from "node:http";
import { createServer } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import {
  Gateway,
  KEY,
  OPERATOR_KEY,
  Upstream,
  requestKey,
  root,
  variables,
} from "../e2e/harness.mjs";

const home = `${root}.tools/generated`;
const python = `${home}/venv/bin/python`;
/** @type {[name: string, command: string, args: string[], path: string][]} */
const CLIENTS = [
  [
    "openapi-python-client",
    python,
    [`${root}tests/generated/client_typed.py`],
    `${home}/python-typed`,
  ],
  ["openapi-generator for Python", python, [`${root}tests/generated/client.py`], `${home}/python`],
  ["openapi-generator for TypeScript", process.execPath, [`${home}/client.mjs`], ""],
  ["openapi-generator for Go", `${home}/client-go`, [], ""],
];

/** @type {Upstream} */ let upstream;
/** @type {Gateway} */ let gateway;

before(async () => {
  upstream = await Upstream.start();
  gateway = await Gateway.start(variables(upstream));
  const submitted = await requestKey(gateway, {
    email: "dev@example.com",
    use_case: "Generated clients",
  });
  assert.equal(submitted.status, 202);
});
after(() => Promise.all([gateway?.stop(), upstream?.stop()]));

for (const [index, [name, command, args, path]] of CLIENTS.entries()) {
  const skip = existsSync(command) ? false : `${command} is missing`;
  test(`${name} parses the gateway's responses`, { skip }, async () => {
    const own = `generated-${index}`;
    const { stdout } = await promisify(execFile)(command, args, {
      env: {
        ...process.env,
        PYTHONPATH: path,
        GATEWAY: gateway.url,
        CALLER_KEY: KEY,
        OPERATOR_KEY,
        NAME: own,
      },
      timeout: 60_000,
    });
    const found = JSON.parse(stdout);
    assert.deepEqual(
      { ...found, names: found.names.includes(own) },
      {
        model: "demo/sim-small",
        content: "You said: Hi",
        tokens: 3,
        error: "model_not_found",
        created: own,
        names: true,
        requests: 1,
        provider: "ai21",
      },
    );
  });
}

test(
  "Feldera's client reads the configuration and creates a key",
  {
    skip: existsSync(python) ? false : `${python} is missing`,
  },
  async () => {
    const { stdout } = await promisify(execFile)(
      python,
      [`${root}tests/generated/feldera_client.py`],
      {
        env: { ...process.env, GATEWAY: gateway.url, OPERATOR_KEY, NAME: "feldera" },
        timeout: 60_000,
      },
    );
    const { edition, created } = JSON.parse(stdout.trim().split("\n").at(-1) ?? "");
    assert.equal(edition, "Open source");
    assert.equal(created.name, "feldera");
    assert.match(created.api_key, /^gw_/);
  },
);

const fda = `${home}/fda/bin/fda`;

test(
  "fda creates, lists and deletes a key",
  { skip: existsSync(fda) ? false : `${fda} is missing` },
  async () => {
    // It sends its key over TLS alone.
    const folder = await mkdtemp(join(tmpdir(), "gatehouse-fda-"));
    const [key, cert] = [join(folder, "key.pem"), join(folder, "cert.pem")];
    await promisify(execFile)("openssl", [
      ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
      ...["-keyout", key, "-out", cert, "-days", "1", "-subj", "/CN=localhost"],
    ]);
    const pair = { key: await readFile(key), cert: await readFile(cert) };
    const front = createServer(pair, (incoming, outgoing) => {
      const { method, headers } = incoming;
      const sent = request(`${gateway.url}${incoming.url}`, { method, headers }, (answer) => {
        outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(outgoing);
      });
      incoming.pipe(sent);
    });
    front.listen(0, "127.0.0.1");
    await once(front, "listening");
    const { port } = /** @type {import("node:net").AddressInfo} */ (front.address());
    /** @param {string} words */
    const run = async (words, secret = OPERATOR_KEY) => {
      const connection = ["--host", `https://localhost:${port}`, "--insecure", "--auth", secret];
      const args = [...connection, "--format", "json", "apikey", ...words.split(" ")];
      return promisify(execFile)(fda, args, { timeout: 30_000 });
    };
    try {
      const created = await run("create by-fda --role write");
      assert.match(created.stdout + created.stderr, /gw_\w{49}/);
      const listed = JSON.parse((await run("list")).stdout);
      const { role } = listed.find((/** @type {any} */ { name }) => name === "by-fda");
      assert.equal(role, "write");
      await assert.rejects(run("create by-fda"), /An entity with this name already exists/);
      await run("delete by-fda");
      await assert.rejects(run("delete by-fda"), /Unknown API key 'by-fda'/);
      await assert.rejects(run("list", "gw_wrong"), /Unauthorized API key/);
    } finally {
      front.closeAllConnections();
      front.close();
      await rm(folder, { recursive: true });
    }
  },
);
