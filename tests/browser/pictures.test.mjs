// @ts-check
//! Pictures of the screens of the console and of the page of key holders, compared with those in `pictures/`: in both schemes, and on a
//! phone. The pages get recorded responses at a fixed time and one font, so that nothing but the console itself changes a picture. They
//! are smaller than the screen: a moved or missing part shows, and the edges of letters do not matter.
//!
//! `UPDATE_PICTURES=1` records the responses of a gateway with sample data, and makes the pictures. A picture that differs is written to
//! `.tools/pictures/`. Without Chromium of the version that made them, or without the font, the tests are skipped.

import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { gunzipSync, gzipSync } from "node:zlib";
import { Gateway, OPERATOR_KEY, Upstream, root } from "../e2e/harness.mjs";
import { launch, skip } from "./chromium.mjs";
import { addHistory, consoleVariables, fill } from "./console-data.mjs";

/** @typedef {import("playwright-core").Page} Page */
/** @typedef {{ status: number, headers: Record<string, string>, body: string }} Recorded */

const START_MS = 120_000;
const folder = new URL("pictures/", import.meta.url).pathname;
const different = `${root}.tools/pictures/`;
const isUpdate = process.env["UPDATE_PICTURES"] === "1";
/** The font of the pictures, which CI installs with Chromium. */
const FONT = "Liberation Sans";
/** No server has this origin: each request of a page is fulfilled here. */
const ORIGIN = "http://localhost";
/** The key of the key holder in the page, which the page shows a part of. */
const HOLDER_KEY = "gw_picture0000";
/** The part of the pixels that may differ. */
const TOLERANCE = 0.005;

const SCREENS = /** @type {const} */ ([
  ["console", "overview", "#/?days=30"],
  ["console", "requests", "#/requests"],
  ["console", "keys", "#/keys"],
  ["console", "one-key", "#/keys/support-bot"],
  ["console", "policies", "#/policies"],
  ["console", "activity", "#/activity?days=30"],
  ["console", "calls", "#/activity/calls"],
  ["console", "providers", "#/providers"],
  ["console", "provider", "#/providers/broken"],
  ["console", "models", "#/models"],
  ["console", "lab", "#/lab"],
  ["console", "routing", "#/lab/routing"],
  ["console", "audit", "#/audit"],
  ["console", "settings", "#/settings"],
  ["console", "alerts", "#/alerts"],
  ["console", "selftest", "#/selftest"],
  ["key", "usage", "#/"],
  ["key", "models", "#/models"],
  ["key", "connect", "#/connect"],
  ["key", "status", "#/status"],
]);
const VIEWS = /** @type {const} */ ([
  ["light", { width: 1280, height: 960 }],
  ["dark", { width: 1280, height: 960 }],
  ["phone", { width: 400, height: 800 }],
]);

/** What the pages get: the responses by request, the time, and the browser that made the pictures. */
class Recording {
  /** @type {{ chromium: string, time: number, responses: Record<string, Recorded> }} */
  data = { chromium: "", time: 0, responses: {} };
  /** The gateway that is recorded. @type {Gateway | undefined} */
  gateway;
  /** The key of the key holder there. */
  holderKey = "";
  /** The number of requests that have no response yet. */
  pending = 0;

  static read() {
    const recording = new Recording();
    const path = `${folder}responses.json.gz`;
    if (existsSync(path))
      recording.data = JSON.parse(gunzipSync(readFileSync(path)).toString("utf8"));
    return recording;
  }

  write() {
    const text = JSON.stringify(this.data);
    writeFileSync(`${folder}responses.json.gz`, gzipSync(text, { level: 9 }));
  }

  /** @param {import("playwright-core").Route} route */
  async fulfill(route) {
    this.pending += 1;
    try {
      await route.fulfill(await this.respond(route));
    } finally {
      this.pending -= 1;
    }
  }

  /**
   * @param {import("playwright-core").Route} route
   * @returns {Promise<{ path: string } | Recorded>}
   */
  async respond(route) {
    const request = route.request();
    const { pathname, search } = new URL(request.url());
    const path = `${root}dist${pathname}${/\.\w+$/.test(pathname) ? "" : "/index.html"}`;
    if (existsSync(path)) return { path };
    const { authorization } = request.headers();
    const isHolders = authorization === `Bearer ${HOLDER_KEY}`;
    const name = `${isHolders ? "key " : ""}${request.method()} ${pathname}${search}`;
    // Of repeated requests the first response stays, which the pictures show.
    if (this.gateway && !this.data.responses[name]) {
      const headers = { authorization: `Bearer ${isHolders ? this.holderKey : OPERATOR_KEY}` };
      const response = await fetch(`${this.gateway.url}${pathname}${search}`, { headers });
      const kept = ["content-type", "link", "x-total-count"];
      this.data.responses[name] = {
        status: response.status,
        headers: Object.fromEntries([...response.headers].filter(([one]) => kept.includes(one))),
        body: await response.text(),
      };
    }
    return this.data.responses[name] ?? { status: 404, headers: {}, body: `not recorded: ${name}` };
  }
}

/**
 * The part of the pixels in which two pictures differ visibly; 1 if they differ in size.
 *
 * @param {Page} page any page, whose canvas is used
 * @param {Buffer[]} pictures two of them
 * @returns {Promise<number>}
 */
const difference = (page, pictures) =>
  page.evaluate(
    async (texts) => {
      const [one, two] = await Promise.all(
        texts.map(async (text) => {
          const blob = await (await fetch(`data:image/png;base64,${text}`)).blob();
          const image = await createImageBitmap(blob);
          const context = new OffscreenCanvas(image.width, image.height).getContext("2d");
          context?.drawImage(image, 0, 0);
          return context?.getImageData(0, 0, image.width, image.height);
        }),
      );
      if (!one || !two || one.width !== two.width || one.height !== two.height) return 1;
      let differing = 0;
      for (let i = 0; i < one.data.length; i += 4) {
        const at = (/** @type {number} */ n) =>
          Math.abs((one.data[i + n] ?? 0) - (two.data[i + n] ?? 0));
        if (Math.max(at(0), at(1), at(2)) > 40) differing += 1;
      }
      return (4 * differing) / one.data.length;
    },
    pictures.map((picture) => picture.toString("base64")),
  );

describe("pictures of the console", { skip, timeout: 400_000 }, () => {
  /** @type {import("playwright-core").Browser} */
  let browser;
  const recording = isUpdate ? new Recording() : Recording.read();
  /** @type {() => Promise<unknown>} */
  let stop = async () => {};
  /** The reason why no picture is compared. */
  let skipped = "";

  before(
    async () => {
      browser = await launch();
      if (isUpdate) {
        const upstream = await Upstream.start();
        const gateway = await Gateway.start(consoleVariables(upstream, { hostile: false }));
        stop = () => Promise.all([gateway.stop(), upstream.stop()]);
        const keys = await fill(gateway, { hostile: false });
        recording.holderKey = keys["support-bot"] ?? "";
        addHistory(gateway);
        rmSync(folder, { recursive: true, force: true });
        mkdirSync(folder);
        recording.gateway = gateway;
        recording.data.time = Date.now();
        recording.data.chromium = browser.version();
      }
      const [made = "", here = ""] = [recording.data.chromium, browser.version()].map(
        (version) => version.split(".")[0],
      );
      if (made !== here) skipped = `the pictures were made with Chromium ${made}, this is ${here}`;
      const page = await browser.newPage();
      const width = (/** @type {string} */ fonts) =>
        page.evaluate((font) => {
          const context = new OffscreenCanvas(1, 1).getContext("2d");
          if (context) context.font = `100px ${font}`;
          return context?.measureText("Gatehouse").width;
        }, fonts);
      if ((await width(`"${FONT}", monospace`)) === (await width("monospace")))
        skipped ||= `the font ${FONT} is not installed (apt-get install fonts-liberation)`;
      await page.close();
    },
    { timeout: START_MS },
  );
  after(async () => {
    if (isUpdate) recording.write();
    await browser?.close();
    await stop();
  });

  /**
   * A page that is signed in.
   *
   * @param {"console" | "key"} name
   * @param {typeof VIEWS[number]} view
   */
  async function open(name, [scheme, viewport]) {
    const context = await browser.newContext({
      viewport,
      deviceScaleFactor: scheme === "phone" ? 0.75 : 0.5,
      colorScheme: scheme === "dark" ? "dark" : "light",
      reducedMotion: "reduce",
      locale: "en-US",
      timezoneId: "UTC",
      bypassCSP: true, // for the font
    });
    const page = await context.newPage();
    await page.clock.setFixedTime(recording.data.time);
    await page.route("**/*", (route) => recording.fulfill(route));
    const [stored, key] = name === "console" ? ["operator-key", OPERATOR_KEY] : ["key", HOLDER_KEY];
    await page.addInitScript(
      `sessionStorage.setItem("gatehouse.${stored}", ${JSON.stringify(key)})`,
    );
    await page.goto(`${ORIGIN}/${name}`);
    await page.addStyleTag({
      content: `* { font-family: "${FONT}" !important; caret-color: transparent }`,
    });
    return page;
  }

  for (const view of VIEWS) {
    test(`pictures: every screen is as before, ${view[0]}`, async (context) => {
      if (skipped !== "") return context.skip(skipped);
      /** @type {string[]} */
      const found = [];
      for (const name of /** @type {const} */ (["console", "key"])) {
        const page = await open(name, view);
        for (const [of, screen, hash] of SCREENS) {
          if (of !== name) continue;
          await page.evaluate(`location.hash = ${JSON.stringify(hash)}`);
          await page.locator("#main h1").waitFor();
          do await page.waitForTimeout(200);
          while (recording.pending > 0);
          await page.locator(".skeleton, .progress").first().waitFor({ state: "detached" });
          const picture = await page.screenshot({ animations: "disabled" });
          const file = `${name}-${screen}-${view[0]}.png`;
          if (isUpdate) {
            writeFileSync(folder + file, picture);
            continue;
          }
          const share = await difference(page, [readFileSync(folder + file), picture]);
          if (share <= TOLERANCE) continue;
          mkdirSync(different, { recursive: true });
          writeFileSync(different + file, picture);
          found.push(`${file}: ${(100 * share).toFixed(1)} % of the pixels differ`);
        }
        await page.context().close();
      }
      assert.deepEqual(found, [], `look at ${different}; UPDATE_PICTURES=1 accepts them`);
    });
  }
});
