// @ts-check
//! The least that a gateway on this runtime can do: the caller's request goes to the provider with the provider's key, and
//! the provider's answer goes back, both as they are. The floor of the benchmark. It lets everybody in and counts nothing.

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
