// @ts-check
//! The page at /docs, in a real browser, as the gateway serves it: with its headers and its content security policy.
//!
//! It is taken from GATEHOUSE_URL if that is set; otherwise a gateway is started. Chromium is CHROMIUM or
//! /usr/bin/chromium; without one the tests are skipped.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import axe from "axe-core";
import { Gateway, KEY } from "../e2e/harness.mjs";
import { launch, skip } from "./chromium.mjs";

const START_MS = 120_000; // the first start may build the Worker

/** @typedef {import("playwright-core").Page} Page */

describe("/docs", { skip }, () => {
  /** @type {import("playwright-core").Browser} */
  let browser;
  /** @type {Awaited<ReturnType<typeof gateway>>} */
  let gatehouse;

  before(
    async () => {
      gatehouse = await gateway();
      browser = await launch();
    },
    { timeout: START_MS },
  );
  after(async () => {
    await browser?.close();
    await gatehouse?.stop();
  });

  /**
   * Opens the page and waits for what its script adds.
   *
   * @param {import("playwright-core").BrowserContextOptions} options
   * @param {(page: Page) => Promise<void>} use
   * @param {(page: Page) => Promise<void>} [prepare]
   */
  async function open(options, use, prepare) {
    const context = await browser.newContext(options);
    try {
      const page = await context.newPage();
      await prepare?.(page);
      const response = await page.goto(`${gatehouse.url}/docs`);
      assert.equal(response?.status(), 200);
      if (options.javaScriptEnabled !== false) await page.waitForSelector("#live-models > *");
      await use(page);
    } finally {
      await context.close();
    }
  }

  test("loads without an error and asks no other host for anything", async () => {
    /** @type {string[]} */
    const complaints = [];
    /** @type {string[]} */
    const requests = [];
    await open(
      {},
      async (page) => {
        const policy = await page.evaluate(
          `fetch(location.href).then((response) => response.headers.get("content-security-policy"))`,
        );
        assert.match(String(policy), /^default-src 'none';/);
      },
      async (page) => {
        page.on("console", (message) => complaints.push(`${message.type()}: ${message.text()}`));
        page.on("pageerror", (error) => complaints.push(String(error)));
        page.on("response", (response) => {
          if (response.status() >= 400) complaints.push(`${response.status()} ${response.url()}`);
        });
        page.on("request", (request) => requests.push(request.url()));
      },
    );
    assert.deepEqual(complaints, []);
    assert.ok(requests.length >= 4, "the page, its style, its script and the models");
    const elsewhere = requests.filter((url) => new URL(url).origin !== gatehouse.url);
    assert.deepEqual(elsewhere, []);
  });

  test("its examples have this gateway's address and one of its models", async () => {
    const { data } = /** @type {{ data: { id: string }[] }} */ (
      await (await fetch(`${gatehouse.url}/v1/models`)).json()
    );
    await open({}, async (page) => {
      const addresses = await page.locator("[data-base]").allTextContents();
      assert.ok(addresses.length > 4);
      assert.deepEqual(new Set(addresses), new Set([gatehouse.url]));
      const [first] = data;
      if (first === undefined) return;
      for (const model of await page.locator("[data-model]").allTextContents()) {
        assert.ok(
          data.some(({ id }) => id === model),
          `${model} is not in the list of models`,
        );
      }
      assert.equal(await page.locator("#live-models tbody th").first().textContent(), first.id);
    });
  });

  test("says so when the models cannot be loaded", async () => {
    await open(
      {},
      async (page) => {
        assert.match(await page.locator("#live-models").innerText(), /could not be loaded/);
        assert.equal(await page.locator("[data-base]").first().textContent(), gatehouse.url);
      },
      async (page) => {
        await page.route("**/v1/models", (route) => route.abort());
      },
    );
  });

  test("a button copies each example", async () => {
    const permissions = ["clipboard-read", "clipboard-write"];
    await open({ permissions }, async (page) => {
      const examples = page.locator("main pre:not(.output)");
      const buttons = page.getByRole("button", { name: "Copy" });
      assert.equal(await buttons.count(), await examples.count());
      const index = (await examples.allTextContents()).findIndex((text) => text.startsWith("curl"));
      await buttons.nth(index).click();
      const status = page.getByRole("status");
      await status.filter({ hasText: "Copied" }).waitFor({ state: "attached" });
      const copied = await page.evaluate("navigator.clipboard.readText()");
      assert.equal(copied, await examples.nth(index).textContent());
      assert.match(String(copied), new RegExp(`^curl ${gatehouse.url}/v1/chat/completions `));
    });
  });

  test("all links lead somewhere", async () => {
    await open({}, async (page) => {
      const links = /** @type {string[]} */ (
        await page.evaluate(`[...document.querySelectorAll("a")].map((link) => link.href)`)
      );
      assert.ok(links.length > 15);
      for (const link of new Set(links)) {
        const { origin, pathname, hash } = new URL(link);
        assert.equal(origin, gatehouse.url, link);
        if (pathname === "/docs" && hash !== "") {
          assert.equal(await page.locator(`[id="${hash.slice(1)}"]`).count(), 1, link);
        } else {
          assert.equal((await page.request.get(link)).status(), 200, link);
        }
      }
    });
  });

  test("headings are in order, and so are the landmarks", async () => {
    await open({}, async (page) => {
      const levels = /** @type {number[]} */ (
        await page.evaluate(
          `[...document.querySelectorAll("h1, h2, h3, h4, h5, h6")].map(({ tagName }) => Number(tagName[1]))`,
        )
      );
      assert.equal(levels.filter((level) => level === 1).length, 1);
      let previous = 0;
      for (const level of levels) {
        assert.ok(level <= previous + 1, `h${level} follows h${previous}`);
        previous = level;
      }
      for (const role of /** @type {const} */ (["banner", "main", "contentinfo"])) {
        assert.equal(await page.getByRole(role).count(), 1, role);
      }
    });
  });

  test("the keyboard finds its way: a skip link first, and a focus that is seen", async () => {
    await open({}, async (page) => {
      await page.keyboard.press("Tab");
      const focused = page.locator(":focus");
      assert.equal(await focused.getAttribute("href"), "#main");
      assert.ok(((await focused.boundingBox())?.y ?? -1) >= 0, "the skip link is not to be seen");
      assert.equal(
        await page.evaluate("getComputedStyle(document.activeElement).outlineStyle"),
        "solid",
      );
      await page.keyboard.press("Enter");
      assert.equal(await page.locator(":focus").getAttribute("id"), "main");
    });
  });

  test("fits a phone", async () => {
    for (const width of [320, 360, 768]) {
      await open({ viewport: { width, height: 740 } }, async (page) => {
        assert.equal(await page.evaluate("document.documentElement.scrollWidth"), width);
      });
    }
  });

  test("is light or dark as the reader prefers", async () => {
    /** @type {Record<string, unknown>} */
    const backgrounds = {};
    for (const colorScheme of /** @type {const} */ (["light", "dark"])) {
      await open({ colorScheme }, async (page) => {
        backgrounds[colorScheme] = await page.evaluate(
          "getComputedStyle(document.body).backgroundColor",
        );
      });
    }
    assert.notEqual(backgrounds.light, backgrounds.dark);
  });

  test("works without JavaScript", async () => {
    await open({ javaScriptEnabled: false }, async (page) => {
      assert.match(await page.locator("main").innerText(), /curl https:\/\/gatehouse\.example\/v1/);
      assert.equal(await page.getByRole("button").count(), 0);
      await page.locator("nav a[href='#errors']").click();
      assert.equal(new URL(page.url()).hash, "#errors");
      assert.ok(await page.locator("#error-model_not_found").isVisible());
    });
  });

  for (const colorScheme of /** @type {const} */ (["light", "dark"])) {
    for (const width of [1280, 360]) {
      test(`axe finds nothing: ${colorScheme}, ${width} pixels wide`, async () => {
        await open({ colorScheme, viewport: { width, height: 800 } }, async (page) => {
          await page.evaluate(axe.source);
          const results = /** @type {import("axe-core").AxeResults} */ (
            await page.evaluate("axe.run()")
          );
          const found = results.violations.flatMap(({ id, help, nodes }) =>
            nodes.map((node) => `${id}: ${help}: ${node.target.join(" ")}`),
          );
          assert.deepEqual(found, []);
          assert.ok(results.passes.length > 20);
        });
      });
    }
  }
});

/** The gateway of GATEHOUSE_URL, or one of our own: its URL, and how to end it. */
async function gateway() {
  const given = process.env.GATEHOUSE_URL;
  if (given) return { url: new URL(given).origin, stop: async () => {} };

  const own = await Gateway.start({ GATEWAY_API_KEY: KEY, OPENAI_API_KEY: "none" });
  return { url: own.url, stop: () => own.stop() };
}
