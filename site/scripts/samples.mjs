// @ts-check
//! Request samples: an operation and one of its examples as a program for curl, Python and Node.
//!
//! One generator for the pages of the API reference and for `x-codeSamples` of the served openapi.json. It uses OpenAI's SDK
//! where that has a method for the operation, and plain HTTP elsewhere. `tests/docs/examples.test.mjs` runs the samples.

import {
  bodyOf,
  document,
  exampleOf,
  examplesOf,
  operations,
  parametersOf,
  resolve,
  securityOf,
} from "./openapi.mjs";

const BASE = "https://gatehouse.example";
const KEY = "GATEHOUSE_API_KEY";
const OPERATOR_KEY = "GATEWAY_ADMIN_KEY";

/**
 * The methods of OpenAI's SDK, the same in both languages; then the expression that shows a result, and the one that shows
 * a part of a stream.
 *
 * @type {Record<string, { method: string, shows: string, streams?: { python: string, node: string } }>}
 */
const SDK = {
  createChatCompletion: {
    method: "chat.completions.create",
    shows: "choices[0].message.content",
    streams: {
      python: `if part.choices:\n        print(part.choices[0].delta.content or "", end="", flush=True)`,
      node: `process.stdout.write(part.choices[0]?.delta.content ?? "");`,
    },
  },
  createResponse: {
    method: "responses.create",
    shows: "output_text",
    streams: {
      python: `if part.type == "response.output_text.delta":\n        print(part.delta, end="", flush=True)`,
      node: `if (part.type === "response.output_text.delta") process.stdout.write(part.delta);`,
    },
  },
  createEmbeddings: { method: "embeddings.create", shows: "data[0].embedding" },
  createCompletion: { method: "completions.create", shows: "choices[0].text" },
  createModeration: { method: "moderations.create", shows: "results[0].flagged" },
};

/**
 * @typedef {object} Sample as in `x-codeSamples`
 * @property {string} lang
 * @property {string} label
 * @property {string} source
 */

/**
 * The samples of an operation: for its first example, and for the first one with a stream.
 *
 * @param {import("./openapi.mjs").Operation} one
 * @returns {{ summary: string, body: any, samples: Sample[] }[]}
 */
export function samplesOf(one) {
  const found = bodyOf(one.operation);
  if (found === undefined) return [{ summary: "", body: undefined, samples: programs(one) }];
  const examples = examplesOf(found.media);
  const streamed = examples.slice(1).find(({ value }) => value?.stream === true);
  return [examples[0], streamed]
    .filter((example) => example !== undefined)
    .map(({ summary, value }) => ({ summary, body: value, samples: programs(one, value) }));
}

/** openapi.json with `x-codeSamples`, as the documentation serves it. */
export function documentWithSamples() {
  const copy = structuredClone(document);
  for (const one of operations()) {
    if (one.kind === "operations")
      copy.paths[one.path][one.method]["x-codeSamples"] = samplesOf(one).flatMap(
        ({ samples }) => samples,
      );
  }
  return copy;
}

/**
 * @param {import("./openapi.mjs").Operation} one
 * @param {any} [body]
 * @returns {Sample[]}
 */
function programs(one, body) {
  const request = requestOf(one, body);
  const sdk = SDK[one.operation.operationId];
  const usesSdk = sdk !== undefined && (body?.stream !== true || sdk.streams !== undefined);
  return [
    { lang: "Shell", label: "curl", source: curl(request) },
    { lang: "Python", label: "Python", source: usesSdk ? pythonSdk(sdk, body) : python(request) },
    { lang: "JavaScript", label: "Node", source: usesSdk ? nodeSdk(sdk, body) : node(request) },
  ];
}

/**
 * @typedef {object} Request
 * @property {string} method
 * @property {string} url
 * @property {string} variable of the environment with the key, or "" if none is needed
 * @property {[string, string][]} headers besides those of the key and the body
 * @property {any} body undefined where there is none, or a form
 * @property {{ name: string, value: string, isFile: boolean }[]} form the parts of a form
 * @property {boolean} streams
 * @property {string} file to which a response that is no text is written, or ""
 */

/**
 * @param {import("./openapi.mjs").Operation} one
 * @param {any} body
 * @returns {Request}
 */
function requestOf(one, body) {
  const { method, operation } = one;
  const needed = parametersOf(one).filter(({ required }) => required);
  let path = one.path;
  const query = new URLSearchParams();
  /** @type {[string, string][]} */
  const headers = [];
  for (const parameter of needed) {
    const value = String(exampleOf(parameter));
    if (parameter.in === "path") path = path.replace(`{${parameter.name}}`, value);
    if (parameter.in === "query") query.set(parameter.name, value);
    if (parameter.in === "header") headers.push([parameter.name, value]);
  }
  const schemes = securityOf(operation);
  const isPublic =
    schemes.length === 0 ||
    operation.security?.some((/** @type {object} */ it) => Object.keys(it).length === 0);
  const types = Object.keys(resolve(operation.responses["200"])?.content ?? {});
  const { isForm = false, files = [] } = bodyOf(operation) ?? {};
  const parts = isForm ? Object.entries(body) : [];
  return {
    method: method.toUpperCase(),
    url: `${BASE}${path}${query.size > 0 ? `?${query}` : ""}`,
    variable: isPublic ? "" : schemes.includes("bearer") ? KEY : OPERATOR_KEY,
    headers,
    body: isForm ? undefined : body,
    form: parts.map(([name, value]) => ({ name, value: `${value}`, isFile: files.includes(name) })),
    streams: body?.stream === true || typeof body?.stream_format === "string",
    file: types.some((type) => type.startsWith("audio/")) ? "speech.mp3" : "",
  };
}

/** @param {Request} request */
function curl({ method, url, variable, headers, body, form, streams, file }) {
  const usual = body === undefined && form.length === 0 ? "GET" : "POST";
  const lines = [
    `curl ${streams ? "-N " : ""}${method === usual ? "" : `-X ${method} `}${quotedUrl(url)}`,
  ];
  if (variable) lines.push(`-H "Authorization: Bearer $${variable}"`);
  for (const [name, value] of headers) lines.push(`-H "${name}: ${value}"`);
  if (body !== undefined) {
    lines.push(`-H "Content-Type: application/json"`);
    const text = JSON.stringify(body, null, 2).replaceAll("'", String.raw`'\''`);
    lines.push(`-d '${text.replaceAll("\n", "\n  ")}'`);
  }
  for (const { name, value, isFile } of form)
    lines.push(`-F ${JSON.stringify(`${name}=${isFile ? "@" : ""}${value}`)}`);
  if (file && !streams) lines.push(`-o ${file}`);
  return lines.join(" \\\n  ");
}

/** A URL as a word of a shell. @param {string} url */
const quotedUrl = (url) => (/[?&{}*]/.test(url) ? `"${url}"` : url);

/** @param {Request} request */
function python({ method, url, variable, headers, body, form, streams, file }) {
  const sent = [
    ...(variable ? [`"Authorization": f"Bearer {os.environ['${variable}']}"`] : []),
    ...headers.map(([name, value]) => `${JSON.stringify(name)}: ${JSON.stringify(value)}`),
  ];
  const parts = [JSON.stringify(url)];
  if (sent.length > 0) parts.push(`headers={${sent.join(", ")}}`);
  if (body !== undefined) parts.push(`json=${indented(pythonOf(body))}`);
  if (form.length > 0) {
    const part = (/** @type {string} */ name, /** @type {string} */ value) =>
      `        ${JSON.stringify(name)}: ${value},\n`;
    const [fields, files] = [form.filter(({ isFile }) => !isFile), form.filter((it) => it.isFile)];
    parts.push(
      `data={\n${fields.map(({ name, value }) => part(name, JSON.stringify(value))).join("")}    }`,
      `files={\n${files.map(({ name, value }) => part(name, `open(${JSON.stringify(value)}, "rb")`)).join("")}    }`,
    );
  }
  if (streams) parts.push("stream=True");
  const shows = streams
    ? `for line in response.iter_lines(decode_unicode=True):\n    print(line)`
    : file
      ? `with open("${file}", "wb") as file:\n    file.write(response.content)`
      : "print(response.text)";
  return `${variable ? "import os\n\n" : ""}import requests

response = requests.${method.toLowerCase()}(
${parts.map((part) => `    ${part},\n`).join("")})
response.raise_for_status()
${shows}`;
}

/** @param {Request} request */
function node({ method, url, variable, headers, body, form, streams, file }) {
  const sent = [
    ...(variable ? [`Authorization: \`Bearer \${process.env.${variable}}\``] : []),
    ...headers.map(([name, value]) => `${JSON.stringify(name)}: ${JSON.stringify(value)}`),
    ...(body === undefined ? [] : [`"Content-Type": "application/json"`]),
  ];
  const parts = [
    ...(method === "GET" ? [] : [`method: "${method}"`]),
    ...(sent.length > 0 ? [`headers: {\n${sent.map((it) => `    ${it},\n`).join("")}  }`] : []),
    ...(body === undefined ? [] : [`body: JSON.stringify(${nodeOf(body, "  ")})`]),
    ...(form.length === 0 ? [] : ["body: form"]),
  ];
  const uses = [
    ...(form.length === 0 ? [] : ["readFile"]),
    ...(file && !streams ? ["writeFile"] : []),
  ];
  const appended = form.map(({ name, value, isFile }) => {
    const text = JSON.stringify(value);
    return `form.append(${JSON.stringify(name)}, ${isFile ? `new File([await readFile(${text})], ${text})` : text});\n`;
  });
  const makesForm = form.length === 0 ? "" : `const form = new FormData();\n${appended.join("")}\n`;
  const options = parts.length > 0 ? `, {\n${parts.map((it) => `  ${it},\n`).join("")}}` : "";
  const shows = streams
    ? `for await (const part of response.body.pipeThrough(new TextDecoderStream())) process.stdout.write(part);`
    : file
      ? `await writeFile("${file}", new Uint8Array(await response.arrayBuffer()));`
      : "console.log(await response.text());";
  return `${uses.length > 0 ? `import { ${uses.join(", ")} } from "node:fs/promises";\n\n` : ""}${makesForm}const response = await fetch(${JSON.stringify(url)}${options});
if (!response.ok) throw new Error(await response.text());
${shows}`;
}

/**
 * @param {(typeof SDK)[string]} sdk
 * @param {any} body
 */
function pythonSdk(sdk, body) {
  const fields = Object.entries(body).map(
    ([name, value]) => `    ${name}=${indented(pythonOf(value))},\n`,
  );
  const call = `client.${sdk.method}(\n${fields.join("")})`;
  return `import os

from openai import OpenAI

client = OpenAI(base_url="${BASE}/v1", api_key=os.environ["${KEY}"])

${
  body.stream
    ? `stream = ${call}\nfor part in stream:\n    ${sdk.streams?.python}`
    : `result = ${call}\nprint(result.${sdk.shows})`
}`;
}

/**
 * @param {(typeof SDK)[string]} sdk
 * @param {any} body
 */
function nodeSdk(sdk, body) {
  const call = `await client.${sdk.method}(${nodeOf(body)});`;
  return `import OpenAI from "openai";

const client = new OpenAI({
  baseURL: "${BASE}/v1",
  apiKey: process.env.${KEY},
});

${
  body.stream
    ? `const stream = ${call}\nfor await (const part of stream) {\n  ${sdk.streams?.node}\n}`
    : `const result = ${call}\nconsole.log(result.${sdk.shows});`
}`;
}

/** A value as JavaScript, with names that need no quotes bare. @param {any} value */
const nodeOf = (value, indent = "") =>
  JSON.stringify(value, null, 2)
    .replace(/^(\s*)"([A-Za-z_]\w*)":/gm, "$1$2:")
    .replaceAll("\n", `\n${indent}`);

/** A value as Python. @param {any} value @param {string} [indent] @returns {string} */
function pythonOf(value, indent = "") {
  if (value === null) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (typeof value !== "object") return JSON.stringify(value);
  const inner = `${indent}    `;
  const isList = Array.isArray(value);
  const parts = isList
    ? value.map((one) => pythonOf(one, inner))
    : Object.entries(value).map(
        ([name, one]) => `${JSON.stringify(name)}: ${pythonOf(one, inner)}`,
      );
  const [open, close] = isList ? ["[", "]"] : ["{", "}"];
  const line = `${open}${parts.join(", ")}${close}`;
  if (line.length <= 72 && !line.includes("\n")) return line;
  return `${open}\n${parts.map((part) => `${inner}${part},\n`).join("")}${indent}${close}`;
}

/** @param {string} text */
const indented = (text) => text.replaceAll("\n", "\n    ");
