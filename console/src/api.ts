//! The client of the gateway's API. Paths, parameters, bodies and responses have the types of `openapi.json`; the types
//! are generated before the check of types and are not part of the script.
//!
//! A failure is an `ApiError`, whatever its envelope. A response is not checked against its type: the gateway is of the
//! same deployment.

import type { paths, components } from "../.generated/api";

export type Schemas = components["schemas"];

type Method = "get" | "post" | "put" | "patch" | "delete";
type Operation<P extends keyof paths, M extends Method> = M extends keyof paths[P]
  ? paths[P][M]
  : never;
type PathsOf<M extends Method> = {
  [P in keyof paths]: M extends keyof paths[P]
    ? paths[P][M] extends undefined
      ? never
      : P
    : never;
}[keyof paths];
type Json<R> = R extends { content: { "application/json": infer B } } ? B : undefined;
/** The body of a response of success. */
export type Success<P extends keyof paths, M extends Method> =
  Operation<P, M> extends { responses: infer R }
    ? { [S in keyof R]: S extends 200 | 201 | 202 | 204 ? Json<R[S]> : never }[keyof R]
    : never;
type Body<P extends keyof paths, M extends Method> =
  Operation<P, M> extends { requestBody?: infer B }
    ? NonNullable<B> extends { content: { "application/json": infer J } }
      ? J
      : never
    : never;
type Query<P extends keyof paths, M extends Method> =
  Operation<P, M> extends { parameters: { query?: infer Q } }
    ? NonNullable<Q>
    : Record<never, never>;

export interface CallOptions<P extends keyof paths, M extends Method> {
  /** The values of the braces of the path. Slashes of names are kept. */
  path?: Record<string, string>;
  query?: Query<P, M>;
  body?: Body<P, M>;
  /** A key in place of the one that the page is signed in with; `null`: none. */
  key?: string | null;
  headers?: Record<string, string>;
  signal?: AbortSignal;
}

/** A request that has failed. */
export class ApiError extends Error {
  constructor(
    message: string,
    /** The status; 0 if there was no response. */
    readonly status: number,
    readonly code: string | null,
    readonly requestId: string | null,
  ) {
    super(message);
  }
  get offline(): boolean {
    return this.status === 0;
  }
}

/** In the place of a key: requests have the cookie of Cloudflare Access. */
export const CLOUDFLARE_ACCESS = "cloudflare-access";

let currentKey: string | null = null;
let onRejected: (error: ApiError) => void = () => {};

/** Sets the key that requests are sent with, and what happens when the gateway rejects it. */
export function useKeyForRequests(key: string | null, rejected: (error: ApiError) => void): void {
  currentKey = key;
  onRejected = rejected;
}

const NAMES_WITH_SLASHES = /\{(id|name)\}/;

function urlOf(path: string, values: Record<string, string>, query: object): string {
  let url: string = path;
  for (const [name, value] of Object.entries(values)) {
    const encoded = encodeURIComponent(value);
    url = url.replace(
      `{${name}}`,
      NAMES_WITH_SLASHES.test(path) ? encoded.replaceAll("%2F", "/") : encoded,
    );
  }
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query))
    if (value !== undefined && value !== null && value !== "") search.set(name, String(value));
  const text = search.toString();
  return text === "" ? url : `${url}?${text}`;
}

/** The error that a response describes, in any of the gateway's envelopes. */
export async function errorOf(response: Response): Promise<ApiError> {
  const requestId = response.headers.get("x-request-id");
  const text = await response.text().catch(() => "");
  let message = `The gateway returned status ${response.status}.`;
  let code: string | null = null;
  try {
    const body = JSON.parse(text);
    message = body.error?.message ?? body.message ?? body.Message ?? message;
    code = body.error?.code ?? body.error_code ?? null;
  } catch {
    // Not JSON: the status has to do.
  }
  return new ApiError(message, response.status, code, requestId);
}

/** Sends a request; returns the response whatever its status. */
export async function send(
  method: string,
  url: string,
  init: {
    key?: string | null;
    body?: unknown;
    headers?: Record<string, string>;
    signal?: AbortSignal;
  } = {},
): Promise<Response> {
  const key = init.key === undefined ? currentKey : init.key;
  const hasCookie = key === CLOUDFLARE_ACCESS;
  let response: Response;
  try {
    response = await fetch(url, {
      method: method.toUpperCase(),
      headers: {
        accept: "application/json",
        ...(key === null || hasCookie ? {} : { authorization: `Bearer ${key}` }),
        ...(init.body === undefined ? {} : { "content-type": "application/json" }),
        ...init.headers,
      },
      body:
        init.body === undefined
          ? null
          : typeof init.body === "string"
            ? init.body
            : JSON.stringify(init.body),
      cache: "no-store",
      credentials: hasCookie ? "same-origin" : "omit",
      redirect: hasCookie ? "manual" : "follow",
      referrerPolicy: "no-referrer",
      signal: init.signal ?? null,
    });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError("The gateway cannot be reached. Check your connection.", 0, null, null);
  }
  // Access redirects to its login when its session is over.
  if (response.type === "opaqueredirect") {
    const message = "Your session of Cloudflare Access is over. Load the page again.";
    const error = new ApiError(message, 401, null, null);
    if (init.key === undefined) onRejected(error);
    throw error;
  }
  return response;
}

/** Sends a request; returns the response of a success, throws an `ApiError` otherwise. */
async function respond<M extends Method, P extends PathsOf<M>>(
  method: M,
  path: P,
  options: CallOptions<P, M>,
): Promise<Response> {
  const url = urlOf(path as string, options.path ?? {}, options.query ?? {});
  const response = await send(method, url, options as { body?: unknown });
  if (response.ok) return response;
  const error = await errorOf(response);
  if (response.status === 401 && options.key === undefined) onRejected(error);
  throw error;
}

/** Sends a request; returns the body of a success, throws an `ApiError` otherwise. */
export async function call<M extends Method, P extends PathsOf<M>>(
  method: M,
  path: P,
  options: CallOptions<P, M> = {},
): Promise<Success<P, M>> {
  const text = await (await respond(method, path, options)).text();
  return (text === "" ? undefined : JSON.parse(text)) as Success<P, M>;
}

/** A page of a list whose response is an array: its entries, the number on all pages, and whether another page follows. */
export async function arrayPage<P extends PathsOf<"get">>(
  path: P,
  options: CallOptions<P, "get">,
): Promise<{ data: Success<P, "get">; total: number; hasMore: boolean }> {
  const response = await respond("get", path, options);
  return {
    data: (await response.json()) as Success<P, "get">,
    total: Number(response.headers.get("x-total-count")),
    hasMore: response.headers.get("link")?.includes('rel="next"') ?? false,
  };
}
