// @ts-check
// A gateway for the tests of the operator's command line: a real HTTP server on loopback that answers the
// operator routes as the API says, from lists in memory, and notes every call.
//
// It validates little and accepts only its one operator key: validation is tested against the real gateway. A
// test can replace the response of every route.

import { createHash, randomBytes } from "node:crypto";
import { createServer } from "node:http";
import { mint, RANDOM_BYTES } from "../../scripts/lib/gateway-key.mjs";

/** @import { IncomingMessage, ServerResponse } from "node:http" */
/** @typedef {{ method: string, path: string, headers: IncomingMessage["headers"], body: any }} Call */
/** @typedef {(call: Call, response: ServerResponse) => void} Answer */

const PAGE = 10;
const CREATED = "2026-11-22T07:11:26.123Z";
const EXPIRES = "2026-11-25T07:11:26.123Z";
const START = "0".repeat(64);

export class FakeGateway {
  /** @type {any[]} Newest first. */
  requests = [];
  /** @type {Map<string, any>} */
  keys = new Map();
  /** @type {Map<string, any>} Run-time settings, by table and name. */
  settings = new Map();
  /** @type {{ seq: number, entry: string, hash: string }[]} */
  audit = [];
  /** @type {object | null} what it finds in its tables, other than the audit log says */
  differs = null;
  /** @type {Call[]} */
  calls = [];
  /** @type {Answer | null} */
  instead = null;
  operator = mint(randomBytes(RANDOM_BYTES)).key;
  url = "";
  #server = createServer((request, response) => void this.#serve(request, response));

  static async start() {
    const gateway = new FakeGateway();
    const server = gateway.#server;
    await new Promise((done) => server.listen(0, "127.0.0.1", () => done(null)));
    const address = server.address();
    if (address === null || typeof address === "string") throw new Error("no port");
    gateway.url = `http://127.0.0.1:${address.port}`;
    return gateway;
  }

  stop() {
    this.#server.closeAllConnections();
    return new Promise((done) => this.#server.close(done));
  }

  /**
   * @param {string} id
   * @param {{ fields?: object, email?: string, [member: string]: unknown }} [members]
   */
  addRequest(id, members = {}) {
    const { fields = { use_case: "Evaluation" }, email = "ada@example.com", ...others } = members;
    const request = {
      id,
      state: "pending",
      approved: false,
      apply_policies: [],
      fields,
      portal_developer: { email },
      date_created: CREATED,
      decline_reason: null,
      decided_at: null,
      decided_by: null,
      key_id: null,
      ...others,
    };
    this.requests.push(request);
    return request;
  }

  /**
   * @param {string} name
   * @param {object} [members]
   */
  addKey(name, members = {}) {
    const key = {
      id: `id-of-${name}`,
      name,
      scopes: ["Read", "Write"],
      state: "active",
      policies: [],
      models: null,
      endpoints: null,
      metadata: {},
      created_at: CREATED,
      created_by: "ops",
      expires_at: null,
      request_id: null,
      secrets: [{ public_id: "gw_0123456789", created_at: CREATED, expires_at: null }],
      ...members,
    };
    this.keys.set(name, key);
    return key;
  }

  /** @param {object} members */
  addEntry(members) {
    const seq = this.audit.length + 1;
    const entry = JSON.stringify({ seq, at: CREATED, actor: "ops", ...members });
    const before = this.audit.at(-1)?.hash ?? START;
    const hash = createHash("sha256").update(`${before}\n${entry}`).digest("hex");
    this.audit.push({ seq, entry, hash });
  }

  /**
   * @param {IncomingMessage} request
   * @param {ServerResponse} response
   */
  async #serve(request, response) {
    let text = "";
    for await (const chunk of request.setEncoding("utf8")) text += chunk;
    const { method = "", url = "", headers } = request;
    const call = { method, path: url, headers, body: text === "" ? undefined : JSON.parse(text) };
    this.calls.push(call);
    response.setHeader("x-request-id", "req-of-test");
    if (this.instead) this.instead(call, response);
    else if (headers.authorization !== `Bearer ${this.operator}`)
      this.#refuseStranger(call, response);
    else this.#route(call, response);
  }

  /** @type {Answer} */
  #refuseStranger({ path }, response) {
    if (path.startsWith("/v0")) {
      const message = "Unauthorized API key";
      json(response, 401, { message, error_code: "AuthenticationFailed", details: null });
    } else portalError(response, 401, "Not authorised");
  }

  /** @type {Answer} */
  #route(call, response) {
    const { pathname, searchParams } = new URL(call.path, this.url);
    const [, first, ...words] = pathname.split("/").map(decodeURIComponent);
    const route = `${call.method} /${first}/${words[0]}`;
    if (first === "api" && words[1] === "requests") {
      this.#portal(call, words.slice(2), searchParams, response);
    } else if (route === "GET /v0/audit" && words[1] === "verify") {
      const head = this.audit.at(-1)?.hash ?? START;
      json(response, 200, this.differs ?? { intact: true, entries: this.audit.length, head });
    } else if (route === "GET /v0/audit") this.#auditPage(searchParams, response);
    else if (first === "v0" && words[0] === "api_keys")
      this.#apiKeys(call, words.slice(1), response);
    else if (["policies", "aliases", "groups", "models"].includes(words[0] ?? ""))
      this.#setting(call, String(words[0]), words.slice(1).join("/"), searchParams, response);
    else json(response, 404, { error: { message: "There is no such route", code: "not_found" } });
  }

  /**
   * @param {Call} call
   * @param {string} table
   * @param {string} name
   * @param {URLSearchParams} query
   * @param {ServerResponse} response
   */
  #setting({ method, body }, table, name, query, response) {
    const document = (/** @type {string} */ key) => ({
      name: key.slice(table.length + 1),
      source: "database",
      value: this.settings.get(key),
      overrides: null,
      keys: null,
      version: 1,
      changed_at: CREATED,
      changed_by: "ops",
    });
    const key = `${table}/${name}`;
    if (method === "GET") {
      const keys = [...this.settings.keys()].filter((one) => one.startsWith(`${table}/`));
      return json(response, 200, name === "" ? keys.map(document) : document(key));
    }
    const was = this.settings.get(key) ?? null;
    const isDry = query.get("dry_run") === "true";
    if (!isDry && method === "PUT") this.settings.set(key, body);
    if (!isDry && method === "DELETE") this.settings.delete(key);
    const value = method === "PUT" ? body : null;
    const change = { name, dry_run: isDry, was, value, affected_keys: 3, version: 2 };
    return json(response, 200, change);
  }

  /**
   * @param {Call} call
   * @param {string[]} words
   * @param {URLSearchParams} query
   * @param {ServerResponse} response
   */
  #portal({ method, body }, words, query, response) {
    const ok = (/** @type {string} */ id) =>
      json(response, 200, { Status: "OK", Message: id, Meta: "" });
    if (words.length === 0) return this.#requestPage(query, response);
    const request = this.requests.find(({ id }) => id === words.at(-1));
    if (method === "DELETE") {
      if (!request) return portalError(response, 404, "Could not retrieve object for deletion");
      this.requests = this.requests.filter((other) => other !== request);
      return ok("Data deleted");
    }
    if (!request) return portalError(response, 404, "Could not retrieve portal object.");
    if (method === "GET") return json(response, 200, request);
    if (request.state !== "pending") {
      return portalError(response, 400, "Key request has already been processed.");
    }
    if (words[0] === "decline") {
      Object.assign(request, { state: "declined", decline_reason: body?.reason ?? null });
      return ok(request.id);
    }
    Object.assign(request, { state: "approved", approved: true });
    const ClaimURL = `${this.url}/access/claim#clm_${"a".repeat(64)}`;
    if (body?.delivery === "claim") return json(response, 200, { ClaimURL, ExpiresAt: EXPIRES });
    if (body?.delivery === "email") {
      return json(response, 200, { SentTo: request.portal_developer.email, ExpiresAt: EXPIRES });
    }
    json(response, 200, { RawKey: mint(randomBytes(RANDOM_BYTES)).key });
  }

  /**
   * @param {URLSearchParams} query
   * @param {ServerResponse} response
   */
  #requestPage(query, response) {
    const wanted =
      query.get("approved") === "false"
        ? "pending"
        : query.get("approved") === "true"
          ? "approved"
          : query.get("declined") === "true"
            ? "declined"
            : null;
    const chosen = this.requests.filter(({ state }) => wanted === null || state === wanted);
    const page = Number(query.get("p"));
    json(response, 200, {
      Data: chosen.slice((page - 1) * PAGE, page * PAGE),
      Pages: Math.ceil(chosen.length / PAGE),
    });
  }

  /**
   * @param {Call} call
   * @param {string[]} words
   * @param {ServerResponse} response
   */
  #apiKeys({ method, body }, [name, action], response) {
    const secret = () =>
      body?.delivery === "claim"
        ? { claim_url: `${this.url}/access/claim#clm_${"b".repeat(64)}`, claim_expires_at: EXPIRES }
        : { api_key: mint(randomBytes(RANDOM_BYTES)).key };
    if (name === undefined && method === "GET") {
      return json(response, 200, [...this.keys.values()]);
    }
    if (name === undefined) {
      if (this.keys.has(body.name)) {
        const message = "An entity with this name already exists";
        return json(response, 409, { message, error_code: "DuplicateName", details: null });
      }
      const { delivery, ...members } = body;
      const { id } = this.addKey(body.name, members);
      return json(response, 201, { id, name: body.name, ...secret() });
    }
    const key = this.keys.get(name);
    if (!key) {
      const message = `Unknown API key '${name}'`;
      return json(response, 404, { message, error_code: "UnknownApiKey", details: { name } });
    }
    if (action === "rotate") {
      const until = body?.overlap_seconds === 0 ? new Date().toISOString() : EXPIRES;
      const before = key.secrets.length === 0 ? null : until;
      const more = body?.delivery === "claim" ? {} : { previous_expires_at: before };
      return json(response, 200, { id: key.id, name, ...secret(), ...more });
    }
    if (method === "GET") return json(response, 200, [key]);
    if (method === "PATCH") {
      const { disabled = false, ...others } = body;
      Object.assign(key, others, { state: disabled ? "disabled" : "active" });
      return json(response, 200, key);
    }
    this.keys.delete(name);
    response.writeHead(200).end();
  }

  /**
   * @param {URLSearchParams} query
   * @param {ServerResponse} response
   */
  #auditPage(query, response) {
    const after = Number(query.get("after"));
    const rest = this.audit.filter(({ seq }) => seq > after);
    const entries = rest.slice(0, Number(query.get("limit") ?? 100));
    const next = rest.length > entries.length ? (entries.at(-1)?.seq ?? null) : null;
    json(response, 200, { entries, next });
  }
}

/**
 * @param {ServerResponse} response
 * @param {number} status
 * @param {unknown} value
 */
export function json(response, status, value) {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value));
}

/**
 * @param {ServerResponse} response
 * @param {number} status
 * @param {string} Message
 */
export function portalError(response, status, Message) {
  json(response, status, { Status: "Error", Message, Meta: null });
}
