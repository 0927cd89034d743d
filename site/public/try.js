// @ts-check
// Sends the example of an inference operation to this gateway and shows the response as it arrives.
//
// The key stays in this tab: in sessionStorage, and in a header of requests to this gateway; never in a URL. It does not keep
// requests or responses, and it does not retry.

import { create } from "./elements.js";

const STORED_KEY = "gatehouse-docs-key";
/** Characters of a response that are shown. */
const MAX_SHOWN = 200_000;
/** The operations whose example names a chat model, which a gateway may not have. */
const CHAT = ["/v1/chat/completions", "/v1/messages", "/v1/responses"];
/** Pauses before each look for the receipt of a stream, which is recorded after its end, in milliseconds. */
const RECEIPT_PAUSES_MS = [400, 1000, 2000];

/** @param {HTMLElement} place */
async function island(place) {
  const path = place.dataset["path"] ?? "";
  /** @type {any} */
  const example = JSON.parse(place.dataset["body"] ?? "{}");
  const streams = place.hasAttribute("data-streams");
  if (streams) example.stream = true;

  const key = create("input", { type: "password", autocomplete: "off", spellcheck: false });
  key.value = stored();
  const body = create("textarea", { rows: 10, spellcheck: false, value: pretty(example) });
  const send = create("button", { type: "submit", textContent: "Send" });
  const cancel = create("button", { type: "button", textContent: "Cancel", disabled: true });
  const status = create("p", { className: "try-status", role: "status" });
  const text = create("div", { className: "try-text", hidden: true });
  const raw = create("pre", { tabIndex: 0, role: "region", ariaLabel: "Response body" });
  const rawFold = folded("Response body", raw);
  const headers = create("dl");
  const headerFold = folded("Response headers", headers);
  const file = create("p", { hidden: true });

  const form = create("form", { className: "try-form" });
  const buttons = create("p", { className: "try-buttons" });
  buttons.append(send, cancel);
  form.append(
    labelled("Key, kept in this tab until you close it", key),
    labelled("Request body", body),
    buttons,
    status,
    text,
    file,
    rawFold,
    headerFold,
  );
  const title = create("h2", { textContent: "Try it", id: "try-it" });
  place.replaceChildren(title, form);

  /** @type {AbortController | undefined} */
  let running;
  cancel.addEventListener("click", () => running?.abort());
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (running === undefined) void run();
  });

  /**
   * @param {string} message
   * @param {"" | "good" | "bad"} [state]
   */
  function say(message, state = "") {
    status.textContent = message;
    status.dataset["state"] = state;
  }

  async function run() {
    /** @type {any} */
    let parsed;
    try {
      parsed = JSON.parse(body.value);
    } catch (error) {
      say(`The request body is not JSON: ${messageOf(error)}`, "bad");
      body.focus();
      return;
    }
    const secret = key.value.trim();
    if (secret === "") {
      say("Enter a key of this gateway first.", "bad");
      key.focus();
      return;
    }
    if (!/^[!-~]+$/.test(secret)) {
      say("The key has characters that no key has. Copy it again.", "bad");
      key.focus();
      return;
    }
    store(secret);
    for (const one of [rawFold, headerFold, text, file]) one.hidden = true;
    raw.textContent = text.textContent = "";
    running = new AbortController();
    send.disabled = true;
    cancel.disabled = false;
    say("Sending …");
    const began = performance.now();
    const elapsed = () => `${Math.round(performance.now() - began).toLocaleString("en")} ms`;
    let line = "";
    try {
      const response = await fetch(path, {
        method: "POST",
        headers: { authorization: `Bearer ${secret}`, "content-type": "application/json" },
        body: JSON.stringify(parsed),
        signal: running.signal,
        credentials: "omit",
        referrerPolicy: "no-referrer",
      });
      line = `${response.status} ${response.statusText}`.trim();
      const state = response.ok ? "good" : "bad";
      showHeaders(response.headers);
      say(`${line}, first byte after ${elapsed()} …`, state);
      const end = await read(response, () => say(`${line}, ${elapsed()} …`, state));
      const cost = await costOf(response, secret);
      say(
        [`${line}, ${elapsed()}`, cost, end.problem].filter(Boolean).join(" · "),
        end.problem ? "bad" : state,
      );
    } catch (error) {
      if (running.signal.aborted) say(`${line || "No response"}, cancelled after ${elapsed()}`);
      else if (line !== "") say(`${line}, the connection broke after ${elapsed()}`, "bad");
      else say("The gateway could not be reached. Check your network, then send again.", "bad");
    } finally {
      running = undefined;
      send.disabled = false;
      cancel.disabled = true;
    }
  }

  /** @param {Headers} all */
  function showHeaders(all) {
    headers.replaceChildren(
      ...[...all].flatMap(([name, value]) => [
        create("dt", { textContent: name }),
        create("dd", { textContent: value }),
      ]),
    );
    headerFold.hidden = false;
  }

  /**
   * Shows a body as it arrives.
   *
   * @param {Response} response
   * @param {() => void} progress
   * @returns {Promise<{ problem: string }>}
   */
  async function read(response, progress) {
    const type = response.headers.get("content-type") ?? "";
    if (!/json|^text\//.test(type)) {
      const blob = await response.blob();
      const link = create("a", {
        href: URL.createObjectURL(blob),
        download: `response.${type.split("/")[1]?.split(";")[0] ?? "bin"}`,
        textContent: `Save the response (${blob.size.toLocaleString("en")} bytes, ${type})`,
      });
      file.replaceChildren(link);
      file.hidden = false;
      return { problem: "" };
    }
    rawFold.hidden = false;
    const isStream = type.startsWith("text/event-stream");
    if (!isStream) rawFold.open = true;
    let all = "";
    let rest = "";
    let problem = "";
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { done, value } = (await reader?.read()) ?? { done: true, value: undefined };
      if (done) break;
      all += value;
      if (all.length <= MAX_SHOWN) raw.append(value ?? "");
      if (!isStream) continue;
      const lines = (rest + value).split(/\r?\n/);
      rest = lines.pop() ?? "";
      for (const data of lines.filter((one) => one.startsWith("data:"))) {
        const { piece, error } = eventOf(data.slice(5).trim());
        text.append(piece);
        if (error) problem = error;
      }
      text.hidden = text.textContent === "";
      progress();
    }
    if (all.length > MAX_SHOWN)
      raw.append(`\n… ${all.length - MAX_SHOWN} more characters are not shown`);
    if (!isStream) {
      raw.textContent = prettied(all.slice(0, MAX_SHOWN));
      if (!response.ok) problem = errorOf(all);
    }
    return { problem };
  }

  if (CHAT.includes(path)) await useOwnModel(example, body);
}

/**
 * Names a model of this gateway in the body if it lacks the example's, unless the reader has changed the body.
 *
 * @param {any} example
 * @param {HTMLTextAreaElement} body
 */
async function useOwnModel(example, body) {
  try {
    const { data } = await (await fetch("/v1/models")).json();
    const usable =
      data.find((/** @type {any} */ one) => one.id === example.model) ??
      data.find((/** @type {any} */ one) => one.capabilities?.tools) ??
      data[0];
    if (usable && body.value === pretty(example))
      body.value = pretty({ ...example, model: usable.id });
  } catch {
    // The example keeps its model; the gateway answers with a list if it does not have it.
  }
}

/**
 * The cost of a call: of a header, or for a stream of its receipt.
 *
 * @param {Response} response
 * @param {string} secret
 */
async function costOf(response, secret) {
  const cost = response.headers.get("x-gateway-cost-usd");
  if (cost !== null) return `$${cost}`;
  const receipt = response.headers.get("x-gateway-receipt");
  if (receipt === null || !response.ok) return "";
  for (const pause of RECEIPT_PAUSES_MS) {
    await new Promise((resolve) => setTimeout(resolve, pause));
    const found = await fetch(`/usage/requests/${encodeURIComponent(receipt)}`, {
      headers: { authorization: `Bearer ${secret}` },
      credentials: "omit",
    }).catch(() => undefined);
    if (!found?.ok) continue;
    const { cost_micro_usd: micro } = await found.json();
    return typeof micro === "number" ? `$${micro / 1_000_000}` : "";
  }
  return "";
}

/**
 * The text that an event adds, in any of the formats, and the message of an error.
 *
 * @param {string} data
 * @returns {{ piece: string, error: string }}
 */
function eventOf(data) {
  try {
    const event = JSON.parse(data);
    const choice = event.choices?.[0];
    const piece = choice?.delta?.content ?? choice?.text ?? event.delta?.text ?? event.delta;
    return {
      piece: typeof piece === "string" ? piece : "",
      error: event.error ? errorOf(data) : "",
    };
  } catch {
    return { piece: "", error: "" }; // [DONE]
  }
}

/** The message of an error. @param {string} text */
function errorOf(text) {
  try {
    const { error } = JSON.parse(text);
    return String(error?.message ?? error ?? "");
  } catch {
    return "";
  }
}

/** @param {unknown} value */
const pretty = (value) => JSON.stringify(value, null, 2);

/** JSON with line breaks; other text as it is. @param {string} text */
function prettied(text) {
  try {
    return pretty(JSON.parse(text));
  } catch {
    return text;
  }
}

/** @param {unknown} error */
const messageOf = (error) => (error instanceof Error ? error.message : String(error));

/**
 * @param {string} name
 * @param {HTMLElement} control
 */
function labelled(name, control) {
  const label = create("label");
  label.append(create("span", { textContent: name }), control);
  return label;
}

/**
 * @param {string} name
 * @param {HTMLElement} content
 */
function folded(name, content) {
  const fold = create("details", { hidden: true });
  fold.append(create("summary", { textContent: name }), content);
  return fold;
}

function stored() {
  try {
    return sessionStorage.getItem(STORED_KEY) ?? "";
  } catch {
    return ""; // the browser forbids storage
  }
}

/** @param {string} secret */
function store(secret) {
  try {
    sessionStorage.setItem(STORED_KEY, secret);
  } catch {
    // The key then stays in its field only.
  }
}

for (const place of document.querySelectorAll(".try")) {
  if (place instanceof HTMLElement) void island(place);
}
