// Not type-checked: the build that it imports has no types.
//! The gateway, and `GET /__queries`: the number of its queries of D1 so far.

import Gateway from "../../../build/index.js";

let queries = 0;

/** A database that counts. */
const counted = (database) => ({
  prepare: (sql) => database.prepare(sql),
  batch: (statements) => {
    queries += 1;
    return database.batch(statements);
  },
});

export default {
  fetch(request, env, ctx) {
    if (new URL(request.url).pathname === "/__queries") return new Response(String(queries));
    return Gateway.fetch(request, { ...env, GATEWAY_DB: counted(env.GATEWAY_DB) }, ctx);
  },
};
