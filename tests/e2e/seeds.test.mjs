// @ts-check
//! The code samples of the three API descriptions that the key endpoints follow (docs/compatibility.md), run unchanged.
//!
//! `seeds/` has them verbatim, with the responses that they document; only line breaks lost in a copy were restored.
//! Before a sample runs, its URL, its token, and an id that only this gateway knows are replaced.

import assert from "node:assert/strict";
import { execFile, execFileSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { promisify } from "node:util";
import { digest } from "../../scripts/lib/gateway-key.mjs";
import {
  Gateway,
  OPERATOR_KEY,
  Upstream,
  chat,
  eventually,
  operate,
  variables,
} from "./harness.mjs";

// The token of the raw requests is an operator key here, so that they can be sent unchanged.
const SAMPLE_KEY = "7a7b140f-2480-4d5a-4e78-24049e3ba7f8";
const SAMPLE_ID = "554c789030c55e4ca0000002";
const SAMPLE_POLICY = "554c789030c55e4ca0101002";

/** @type {Upstream} */ let upstream;
/** @type {Gateway} */ let gateway;
/** @type {string} */ let folder;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "gatehouse-samples-"));
  upstream = await Upstream.start();
  const own = variables(upstream, { policies: { [SAMPLE_POLICY]: {} } });
  gateway = await Gateway.start({
    ...own,
    GATEWAY_ADMIN_KEY_HASHES: `${own.GATEWAY_ADMIN_KEY_HASHES},sample:${digest(SAMPLE_KEY)}`,
  });
});
after(async () => {
  await Promise.all([gateway.stop(), upstream.stop()]);
  await rm(folder, { recursive: true });
});

/** @param {string} name */
const sample = (name) => readFileSync(new URL(`seeds/${name}`, import.meta.url), "utf8");

/**
 * A sample with one of its texts replaced once.
 *
 * @param {string} text
 * @param {string} from
 * @param {string} to
 */
function replaced(text, from, to) {
  assert.equal(text.split(from).length, 2, `${from} once in ${text}`);
  return text.replace(from, () => to);
}

/** For each language the file name of a sample, the program that runs it, and its arguments before the file. */
const LANGUAGES = {
  sh: ["sample.sh", "bash"],
  js: ["sample.mjs", process.execPath],
  // Node strips the types.
  ts: ["sample.mts", process.execPath, "--no-warnings"],
  py: ["sample.py", pythonWithRequests()],
  go: ["sample.go", programOf("go", "version"), "run"],
};

/**
 * A program, if it can run with these arguments.
 *
 * @param {string} program
 * @param {string[]} args
 */
function programOf(program, ...args) {
  try {
    execFileSync(program, args, { stdio: "ignore", timeout: 30_000 });
    return program;
  } catch {
    return "";
  }
}

/** A Python with the package `requests`: Debian's, if the first one of the path lacks it. */
function pythonWithRequests() {
  const pythons = ["python3", "/usr/bin/python3"];
  return pythons.find((python) => programOf(python, "-c", "import requests")) ?? "";
}

/** The reason why samples in a language are not run, if any, for `skip`. */
const MISSING = {
  py:
    !LANGUAGES.py[1] &&
    "there is no Python with the package requests (apt-get install python3-requests)",
  go: !LANGUAGES.go[1] && "there is no Go (apt-get install golang-go)",
};

/**
 * Runs the text of a program and returns its output.
 *
 * @param {keyof typeof LANGUAGES} language
 * @param {string} text
 */
async function run(language, text) {
  const [name = "", program = "", ...args] = LANGUAGES[language];
  const place = await mkdtemp(join(folder, `${language}-`));
  await writeFile(join(place, name), text);
  // curl's own settings: no progress meter, and the status on a separate line after the response.
  await writeFile(join(place, ".curlrc"), 'silent\nwrite-out = "\\n%{http_code}"\n');
  const { stdout, stderr } = await promisify(execFile)(program, [...args, name], {
    cwd: place,
    env: { ...process.env, CURL_HOME: place },
    timeout: 120_000,
  });
  return { stdout, stderr };
}

/**
 * The output of `curl` with the settings of `run`.
 *
 * @param {string} stdout
 */
function curled(stdout) {
  const end = stdout.lastIndexOf("\n");
  return { status: Number(stdout.slice(end + 1)), text: stdout.slice(0, end) };
}

/**
 * Fails unless a value has every field of a sample, with the same type of JSON. A field `<…>` of the sample matches
 * all fields.
 *
 * @param {any} value
 * @param {any} like
 * @param {string} [at]
 */
function resembles(value, like, at = "") {
  const kind = (/** @type {any} */ one) =>
    Array.isArray(one) ? "array" : one === null ? "null" : typeof one;
  // A request with a policy that is unknown here has none.
  if (at.endsWith(".catalogue_entry") && value === null) return;
  assert.equal(kind(value), kind(like), at);
  if (Array.isArray(like)) {
    if (like.length === 0) return;
    for (const [n, one] of value.entries()) resembles(one, like[0], `${at}[${n}]`);
  } else if (kind(like) === "object") {
    for (const [name, one] of Object.entries(like)) {
      const names = name.startsWith("<") ? Object.keys(value) : [name];
      for (const member of names) resembles(value[member], one, `${at}.${member}`);
    }
  }
}

/**
 * The JSON of a sample, which has comments and a trailing comma.
 *
 * @param {string} name
 */
const sampleJson = (name) =>
  JSON.parse(
    sample(name)
      .replaceAll("// deprecated", "")
      .replace(/,(\s*[}\]])/g, "$1"),
  );

suite("seed samples, requesting a key", () => {
  const URL_OF_SAMPLE = "https://your-gateway.workers.dev";
  const promised = sampleJson("request-key.response.json");
  const { message } = promised;

  test("seed samples: requesting a key with curl", async () => {
    const text = replaced(sample("request-key.curl.sh"), URL_OF_SAMPLE, gateway.url);
    const { status, text: body } = curled((await run("sh", text)).stdout);
    assert.equal(status, 202);
    const answer = JSON.parse(body);
    assert.match(answer.request_id, /^kreq_[0-9a-z]{26}$/);
    assert.deepEqual({ ...answer, request_id: promised.request_id }, promised);
  });

  test("seed samples: requesting a key with fetch, and its error over the limit", async () => {
    const text = replaced(sample("request-key.fetch.js"), URL_OF_SAMPLE, gateway.url);
    const { stdout, stderr } = await run("js", text);
    assert.equal(stderr, "");
    const [submitted = "", said] = stdout.split("\n");
    assert.match(submitted, /^Request submitted\. ID: kreq_[0-9a-z]{26}$/);
    assert.equal(said, message);
    // Five a day; curl has used one.
    for (let n = 3; n <= 5; n += 1) assert.match((await run("js", text)).stdout, /^Request subm/);
    const refused = await run("js", text);
    assert.equal(refused.stdout, "");
    const why = "Too many access requests from this IP. Try again later.";
    assert.equal(refused.stderr, `Submission failed: ${why}\n`);
  });
});

suite("seed samples, portal API", () => {
  /**
   * Sends a sample over a socket, with the line ends and the length of the body that every client adds.
   *
   * @param {string} name
   * @param {string} [id] in place of the sample's
   */
  async function send(name, id) {
    const text = sample(name);
    const [head = "", body = ""] = (id ? replaced(text, SAMPLE_ID, id) : text).trim().split("\n\n");
    const sent = body.replaceAll("// deprecated", "");
    const length = sent ? [`Content-Length: ${Buffer.byteLength(sent)}`] : [];
    const lines = [...head.split("\n"), ...length, "Connection: close", "", sent];
    const socket = connect(Number(new URL(gateway.url).port), "127.0.0.1");
    await once(socket, "connect");
    socket.write(lines.join("\r\n"));
    let received = "";
    for await (const chunk of socket.setEncoding("utf8")) received += chunk;
    const [top = "", ...rest] = received.split("\r\n\r\n");
    const chunked = /^transfer-encoding: *chunked/im.test(top);
    const answer = chunked ? unchunked(rest.join("\r\n\r\n")) : rest.join("\r\n\r\n");
    return { status: Number(top.split(" ")[1]), body: JSON.parse(answer) };
  }

  /** @param {string} text */
  function unchunked(text) {
    let [whole, rest] = ["", text];
    for (;;) {
      const [size = ""] = /^[0-9a-f]+\r\n/i.exec(rest) ?? [];
      const length = parseInt(size, 16);
      if (!length) return whole;
      whole += rest.slice(size.length, size.length + length);
      rest = rest.slice(size.length + length + 2);
    }
  }

  test("seed samples: portal requests are created, listed, read, approved and deleted over raw HTTP", async () => {
    const created = await send("key-requests.create.http");
    assert.equal(created.status, 200, JSON.stringify(created.body));
    const id = created.body.Message;
    const promised = sampleJson("key-requests.create.response.json");
    assert.deepEqual(created.body, { ...promised, Message: id });

    const pending = await send("key-requests.list.http");
    assert.equal(pending.status, 200);
    const list = sampleJson("key-requests.list.response.json");
    resembles(pending.body, list);
    assert.equal(pending.body.Pages, list.Pages, "no paging");
    const listed = pending.body.Data.find((/** @type {any} */ one) => one.id === id);
    assert.equal(listed.approved, false);
    assert.equal(listed.catalogue_entry.policy_id, SAMPLE_POLICY);

    // An unknown id of the same length as the sample's.
    assert.equal((await send("key-requests.get.http")).status, 404);
    const approved = await send("key-requests.approve.http", id);
    assert.equal(approved.status, 200, JSON.stringify(approved.body));
    resembles(approved.body, sampleJson("key-requests.approve.response.json"));
    const authorization = `Bearer ${approved.body.RawKey}`;
    assert.equal((await chat(gateway, {}, { authorization })).status, 200, "the key works");

    const got = await send("key-requests.get.http", id);
    assert.equal(got.status, 200);
    const like = sampleJson("key-requests.get.response.json");
    resembles(got.body, like);
    // Id and organisation are the gateway's; the sample's fields are not those that it sent.
    for (const name of Object.keys(like).filter((one) => !/^(id|org_id|fields)$/.test(one))) {
      assert.deepEqual(got.body[name], like[name], name);
    }
    assert.deepEqual(got.body.fields, { custom1: "sdf", custom2: "sdf" });

    // Now the developer has a key, where the sample of the list has one.
    const after = await send("key-requests.list.http");
    resembles(after.body, list);
    const { portal_developer } = after.body.Data.find((/** @type {any} */ one) => one.id === id);
    const { key_id } = await (await operate(gateway, "GET", `/api/portal/requests/${id}`)).json();
    assert.deepEqual(portal_developer.keys, { [key_id]: [SAMPLE_POLICY] });
    assert.deepEqual(portal_developer.subscriptions, { [SAMPLE_POLICY]: key_id });

    const deleted = await send("key-requests.delete.http", id);
    assert.equal(deleted.status, 200);
    assert.deepEqual(deleted.body, sampleJson("key-requests.delete.response.json"));
    assert.equal((await send("key-requests.get.http", id)).status, 404);
  });
});

suite("seed samples, creating a key", () => {
  const DUPLICATE = JSON.stringify(sampleJson("create-api-key.duplicate.response.json"));

  /**
   * Runs a sample.
   *
   * @param {keyof typeof LANGUAGES} language
   * @param {string} file
   * @param {string} [name] of the key: the sample sends an empty object
   */
  async function create(language, file, name) {
    const there = replaced(sample(file), "https://api.example.com", gateway.url);
    const text = replaced(there, "YOUR_TOKEN", OPERATOR_KEY);
    const body = JSON.stringify({ name });
    const { stdout, stderr } = await run(language, name ? replaced(text, "{}", body) : text);
    assert.equal(stderr, "");
    return stdout;
  }

  /**
   * Asserts the three responses: to the empty object, to one with a name, and to the same name again.
   *
   * @param {any[]} answers
   * @param {string} name
   */
  async function checkAnswers([empty, created, duplicate], name) {
    assert.deepEqual(Object.keys(empty).toSorted(), ["details", "error_code", "message"]);
    assert.equal(empty.error_code, "MissingMember");
    assert.deepEqual(Object.keys(created).toSorted(), ["api_key", "id", "name"]);
    assert.match(
      created.id,
      /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
    );
    assert.equal(created.name, name);
    const authorization = `Bearer ${created.api_key}`;
    await eventually(async () => (await chat(gateway, {}, { authorization })).status === 200);
    assert.deepEqual(duplicate, JSON.parse(DUPLICATE));
  }

  test("seed samples: creating a key with curl", async () => {
    const answers = [];
    for (const [name, status] of /** @type {[string?, number?][]} */ ([
      [undefined, 400],
      ["by-curl", 201],
      ["by-curl", 409],
    ])) {
      const answer = curled(await create("sh", "create-api-key.curl.sh", name));
      assert.equal(answer.status, status);
      answers.push(answer.text);
    }
    assert.equal(answers[2], DUPLICATE, "byte for byte");
    await checkAnswers(
      answers.map((text) => JSON.parse(text)),
      "by-curl",
    );
  });

  for (const [language, file] of /** @type {["js" | "ts", string][]} */ ([
    ["js", "create-api-key.fetch.js"],
    ["ts", "create-api-key.fetch.ts"],
  ])) {
    test(`seed samples: creating a key with fetch in ${language === "js" ? "JavaScript" : "TypeScript"}`, async () => {
      const name = `by-${language}`;
      const written = [];
      for (const one of [undefined, name, name]) written.push(await create(language, file, one));
      // console.log writes an object as JavaScript.
      const answers = written.map((text) => new Function(`return ${text}`)());
      await checkAnswers(answers, name);
    });
  }

  test("seed samples: creating a key with Python", { skip: MISSING.py }, async () => {
    const file = "create-api-key.requests.py";
    const written = [];
    for (const name of [undefined, "by-py", "by-py"]) written.push(await create("py", file, name));
    // print writes a dict as Python does: with other quotation marks, and None for null.
    const answers = written.map((text) => new Function("None", `return ${text}`)(null));
    await checkAnswers(answers, "by-py");
  });

  test("seed samples: creating a key with Go", { skip: MISSING.go }, async () => {
    const file = "create-api-key.go";
    const written = [];
    for (const name of [undefined, "by-go", "by-go"]) written.push(await create("go", file, name));
    assert.equal(written[2], `${DUPLICATE}\n`, "byte for byte");
    await checkAnswers(
      written.map((text) => JSON.parse(text)),
      "by-go",
    );
  });
});
