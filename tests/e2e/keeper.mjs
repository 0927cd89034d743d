// @ts-check
//! A provider that keeps responses, as OpenAI does: each of its accounts, known by its key, has its own. All other paths
//! are those of the simulated provider behind it.

import { once } from "node:events";
import { createServer } from "node:http";

/** @typedef {{ method: string, path: string, account: string, body: any }} Sent */

const USAGE = { input_tokens: 20, output_tokens: 7, total_tokens: 27 };

/** @param {string} id @param {object} rest */
const responseOf = (id, rest) => ({
  id,
  object: "response",
  created_at: 1_795_000_000,
  status: "completed",
  error: null,
  model: "kept",
  usage: USAGE,
  ...rest,
});

/** @param {any} response */
function streamOf(response) {
  const begun = { ...response, status: "in_progress", output: [], usage: null };
  const [item] = response.output;
  const event = (/** @type {string} */ type, /** @type {object} */ rest) =>
    `event: ${type}\ndata: ${JSON.stringify({ type, ...rest })}\n\n`;
  return [
    event("response.created", { sequence_number: 0, response: begun }),
    event("response.output_item.added", { sequence_number: 1, output_index: 0, item }),
    event("response.output_item.done", { sequence_number: 2, output_index: 0, item }),
    event("response.completed", { sequence_number: 3, response }),
  ].join("");
}

/**
 * Starts it.
 *
 * @param {string} behind the URL of the simulated provider
 * @returns {Promise<{ url: string, sent: Sent[], close: () => void }>}
 */
export async function keeper(behind) {
  /** @type {Sent[]} */
  const sent = [];
  /** @type {Map<string, Map<string, any>>} */
  const accounts = new Map();
  let number = 0;
  const server = createServer(async (incoming, answer) => {
    /** @type {Buffer[]} */
    const chunks = [];
    for await (const chunk of incoming) chunks.push(chunk);
    const bytes = Buffer.concat(chunks);
    const { method = "", url: path = "", headers } = incoming;
    const account = (headers.authorization ?? "").replace("Bearer ", "");
    const [, below] = /\/responses(?:\/([^?]*))?(?:\?.*)?$/.exec(path) ?? [];
    if (!path.includes("/responses")) {
      const passed = await fetch(behind + path, {
        method,
        headers: {
          "content-type": `${headers["content-type"]}`,
          authorization: `${headers.authorization}`,
        },
        body: bytes,
      });
      const type = passed.headers.get("content-type") ?? "application/json";
      answer.writeHead(passed.status, { "content-type": type });
      answer.end(Buffer.from(await passed.arrayBuffer()));
      return;
    }
    const body = bytes.length > 0 ? JSON.parse(bytes.toString()) : undefined;
    sent.push({ method, path, account, body });
    const kept = accounts.get(account) ?? new Map();
    accounts.set(account, kept);
    const json = (/** @type {number} */ status, /** @type {object} */ document) => {
      answer.writeHead(status, { "content-type": "application/json" });
      answer.end(JSON.stringify(document));
    };
    const [id = "", action = ""] = (below ?? "").split("/");
    const missing = { error: { message: `Response with id '${id}' not found.`, code: null } };
    if (method === "POST" && id === "input_tokens") {
      const tokens = JSON.stringify(body.input ?? "").length;
      json(200, { object: "response.input_tokens", input_tokens: tokens });
    } else if (method === "POST" && id === "compact") {
      const output = [{ id: "cmp_1", type: "compaction", encrypted_content: "secret" }];
      json(200, { ...responseOf("resp_compact", { output }), object: "response.compaction" });
    } else if (method === "POST" && id === "") {
      const previous = body.previous_response_id;
      if (previous !== undefined && !kept.has(previous)) {
        return json(400, { error: { message: "No such response", code: "not_in_this_account" } });
      }
      number += 1;
      const item = body.tools
        ? { id: "fc_1", type: "function_call", call_id: "call_1", name: "f", arguments: "{}" }
        : {
            id: "msg_1",
            type: "message",
            role: "assistant",
            content: [{ type: "output_text", text: `said ${number}`, annotations: [] }],
          };
      const status = body.background ? "queued" : "completed";
      const response = responseOf(`resp_${number}`, { status, output: [item] });
      if (body.store !== false) kept.set(response.id, { response, input: body.input });
      if (body.stream === true) {
        answer.writeHead(200, { "content-type": "text/event-stream" });
        answer.end(streamOf(response));
      } else json(200, response);
    } else if (!kept.has(id)) {
      json(404, missing);
    } else if (method === "DELETE") {
      kept.delete(id);
      json(200, { id, object: "response", deleted: true });
    } else if (action === "input_items") {
      json(200, { object: "list", data: [{ id: "msg_0", type: "message" }], has_more: false });
    } else {
      const { response } = kept.get(id);
      json(200, action === "cancel" ? { ...response, status: "cancelled" } : response);
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  return { url: `http://127.0.0.1:${port}`, sent, close: () => server.close() };
}
