// @ts-check
//! The least that a gateway on this runtime can do: forwards the caller's request to the provider with the provider's
//! key, and the provider's response to the caller, both unchanged. The lower bound of the benchmark. It accepts every
//! caller and counts nothing.

export default {
  /**
   * @param {Request} request
   * @param {{ UPSTREAM: string, UPSTREAM_KEY: string }} env
   */
  fetch(request, env) {
    const headers = new Headers(request.headers);
    headers.set("authorization", `Bearer ${env.UPSTREAM_KEY}`);
    const { method, body } = request;
    return fetch(env.UPSTREAM + new URL(request.url).pathname, { method, headers, body });
  },
};
