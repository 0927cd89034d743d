// @ts-check
//! A relay before a server that notes when a client has sent its calls: clients need seconds to start, and only the time from
//! the first call on is the server's. The bytes pass unchanged.

import { once } from "node:events";
import { connect, createServer } from "node:net";

/** Calls of models; not lists of models, telemetry or counts of tokens. */
const CALL = /^POST \/v1\/(chat\/completions|completions|messages|responses)[? ]/gm;

/** The relay. */
export class Watch {
  /** @param {string} url the server */
  constructor(url) {
    const { hostname, port } = new URL(url);
    /** The times of the calls, in milliseconds since 1970. @type {number[]} */
    this.calls = [];
    /** @type {Set<import("node:net").Socket>} */
    this.sockets = new Set();
    this.server = createServer((client) => {
      const server = connect(Number(port), hostname);
      for (const [from, to] of /** @type {const} */ ([
        [client, server],
        [server, client],
      ])) {
        this.sockets.add(from);
        from.on("error", () => to.destroy());
        from.on("close", () => this.sockets.delete(from));
        from.pipe(to);
      }
      client.on("data", (bytes) => {
        for (const _ of bytes.toString("latin1").matchAll(CALL)) this.calls.push(Date.now());
      });
    });
    this.url = "";
  }

  /** @param {string} url */
  static async before(url) {
    const watch = new Watch(url);
    watch.server.listen(0, "127.0.0.1");
    await once(watch.server, "listening");
    const address = /** @type {import("node:net").AddressInfo} */ (watch.server.address());
    watch.url = `http://127.0.0.1:${address.port}`;
    return watch;
  }

  stop() {
    for (const socket of this.sockets) socket.destroy();
    this.server.close();
  }
}
