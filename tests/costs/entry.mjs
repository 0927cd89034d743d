// Not type-checked: the build that it imports has no types.
//! The gateway with every binding wrapped to count its operations, and `GET /__counts`: the counts since the last
//! request for them. The objects are in the same isolate and count in the same place.

import Gateway, * as built from "../../build/index.js";

const zero = () => ({
  asks: 0,
  reports: 0,
  alarms: 0,
  board: 0,
  object_rows_written: 0,
  object_rows_read: 0,
  d1_queries: 0,
  d1_rows_written: 0,
  d1_rows_read: 0,
  fetches: 0,
});
let counts = zero();
/** Cursors whose rows have not been added: a cursor knows its cost once it has been read. */
let cursors = [];

function rows() {
  for (const cursor of cursors) {
    counts.object_rows_written += cursor.rowsWritten;
    counts.object_rows_read += cursor.rowsRead;
  }
  cursors = [];
}

/** An object with some properties replaced; methods stay bound to the object. */
const replaced = (target, members) =>
  new Proxy(target, {
    get(_, name) {
      if (Object.hasOwn(members, name)) return members[name];
      const value = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });

function storage(target) {
  const sql = replaced(target.sql, {
    exec(...words) {
      const cursor = target.sql.exec(...words);
      cursors.push(cursor);
      if (cursors.length > 1_000) queueMicrotask(rows);
      return cursor;
    },
  });
  return replaced(target, {
    sql,
    setAlarm(...words) {
      counts.object_rows_written += 1;
      return target.setAlarm(...words);
    },
  });
}

function namespace(target, count) {
  return replaced(target, {
    get(...words) {
      const stub = target.get(...words);
      return replaced(stub, {
        fetch(url, init) {
          count(String(init?.body));
          return stub.fetch(url, init);
        },
      });
    },
  });
}

function database(target) {
  return replaced(target, {
    async batch(statements) {
      const results = await target.batch(statements);
      counts.d1_queries += 1;
      for (const { meta } of results) {
        counts.d1_rows_written += meta.rows_written;
        counts.d1_rows_read += meta.rows_read;
      }
      return results;
    },
  });
}

function environment(env) {
  return replaced(env, {
    GATEWAY_DB: database(env.GATEWAY_DB),
    KEY_LEDGER: namespace(env.KEY_LEDGER, (message) => {
      counts[message.startsWith('{"ask"') ? "asks" : "reports"] += 1;
    }),
    PROVIDER_HEALTH: namespace(env.PROVIDER_HEALTH, () => (counts.board += 1)),
  });
}

/** A class of objects whose storage operations are counted, except for those that no call needs. */
const counted = (Inner) =>
  class {
    constructor(state, env) {
      const counting = replaced(state, { storage: storage(state.storage) });
      this.inner = new Inner(counting, environment(env));
    }

    fetch(request) {
      return this.inner.fetch(request);
    }

    alarm() {
      counts.alarms += 1;
      return this.inner.alarm();
    }
  };

export const KeyLedger = counted(built.KeyLedger);
export const { ProviderHealth, RateLimiter, Notifier } = built;

export default {
  fetch(request, env, ctx) {
    if (new URL(request.url).pathname === "/__counts") {
      rows();
      const current = counts;
      counts = zero();
      return Response.json(current);
    }
    counts.fetches += 1;
    return Gateway.fetch(request, environment(env), ctx);
  },
};
