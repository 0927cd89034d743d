// @ts-check
//! The documentation in a real browser, as the gateway serves it, with its headers and its content security policy.
//!
//! The gateway is that of GATEHOUSE_URL, otherwise one is started. Chromium is CHROMIUM or /usr/bin/chromium; without
//! one the tests are skipped.

import assert from "node:assert/strict";
import { globSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { Gateway, KEY, root } from "../e2e/harness.mjs";
import { launch, skip, violations } from "./chromium.mjs";

const START_MS = 120_000; // the first start may build the Worker

/** @typedef {import("playwright-core").Page} Page */

/** The paths of all pages of the build. */
const PATHS = globSync("**/index.html", { cwd: `${root}dist/docs` })
  .map((name) => `/docs/${name}`.replace(/\/index\.html$/, ""))
  .toSorted();
/** Handwritten pages, and one of each generated kind. */
const LOOKED_AT = PATHS.filter((path) => !path.startsWith("/docs/api/")).concat(
  "/docs/api/operations/createchatcompletion",
  "/docs/api/operations/tags/chat",
  "/docs/api/webhooks/keyrequestevent",
);

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
   * @param {import("playwright-core").BrowserContextOptions} options
   * @param {(page: Page, to: (path: string) => Promise<void>) => Promise<void>} use
   */
  async function open(options, use) {
    const context = await browser.newContext(options);
    try {
      const page = await context.newPage();
      await use(page, async (path) => {
        const response = await page.goto(`${gatehouse.url}${path}`);
        assert.equal(response?.status(), 200, path);
      });
    } finally {
      await context.close();
    }
  }

  test("/docs: every page loads without errors or requests to other hosts", async () => {
    assert.ok(PATHS.length > 60);
    await open({}, async (page, to) => {
      /** @type {string[]} */
      const complaints = [];
      page.on("console", (message) => complaints.push(`${page.url()}: ${message.text()}`));
      page.on("pageerror", (error) => complaints.push(`${page.url()}: ${error}`));
      page.on("response", (response) => {
        if (response.status() >= 400) complaints.push(`${response.status()} ${response.url()}`);
      });
      page.on("request", (request) => {
        const { origin, protocol } = new URL(request.url());
        if (protocol !== "data:" && origin !== gatehouse.url) complaints.push(request.url());
      });
      for (const path of PATHS) await to(path);
      const policy = await page.evaluate(
        `fetch(location.href).then((response) => response.headers.get("content-security-policy"))`,
      );
      assert.match(String(policy), /^default-src 'none';/);
      assert.doesNotMatch(String(policy), /unsafe-inline|unsafe-eval' |'unsafe-eval'/);
      assert.deepEqual(complaints, []);
    });
  });

  test("/docs: no page or file of it invokes the Worker", async () => {
    for (const path of ["/docs", "/docs/start", "/docs/start.md", "/llms.txt", "/docs/live.js"]) {
      const response = await fetch(`${gatehouse.url}${path}`);
      assert.equal(response.status, 200, path);
      // Every response of the Worker has one.
      assert.equal(response.headers.get("x-request-id"), null, path);
    }
  });

  test("/docs: the menu leads from page to page", async () => {
    await open({}, async (page, to) => {
      await to("/docs");
      const menu = page.getByRole("navigation", { name: "Main" });
      await menu.getByRole("link", { name: "Quickstart" }).click();
      await page.waitForURL(`${gatehouse.url}/docs/start`);
      assert.equal(await page.getByRole("heading", { level: 1 }).innerText(), "Quickstart");
      await page.getByRole("link", { name: /Next\s+Clients/ }).click();
      await page.waitForURL(`${gatehouse.url}/docs/clients`);
    });
  });

  test("/docs: search finds a page", async () => {
    await open({}, async (page, to) => {
      await to("/docs");
      await page.keyboard.press("Control+k");
      const dialog = page.getByRole("dialog", { name: "Search" });
      await dialog.locator("input").fill("revoke");
      await dialog
        .getByRole("link", { name: "Creating, rotating and revoking keys" })
        .first()
        .click();
      await page.waitForURL(new RegExp(`^${gatehouse.url}/docs/operate/keys`));
    });
  });

  test("/docs: search works in a browser that is never idle", async () => {
    await open({}, async (page, to) => {
      await page.addInitScript(`{
        const whenIdle = window.requestIdleCallback.bind(window);
        window.requestIdleCallback = (callback, options) =>
          options?.timeout === undefined ? 0 : whenIdle(callback, options);
      }`);
      await to("/docs");
      await page.keyboard.press("Control+k");
      await page.getByRole("dialog", { name: "Search" }).locator("input").fill("revoke");
    });
  });

  test("/docs: examples contain this gateway's address and one of its models", async () => {
    const { data } = /** @type {{ data: { id: string }[] }} */ (
      await (await fetch(`${gatehouse.url}/v1/models`)).json()
    );
    await open({}, async (page, to) => {
      for (const path of ["/docs", "/docs/start", "/docs/clients", "/docs/operate/requests"]) {
        await to(path);
        const text = await page.locator("main").innerText();
        assert.ok(text.includes(gatehouse.url), path);
        assert.ok(!text.includes("gatehouse.example"), path);
      }
      await to("/docs/models");
      await page.waitForSelector("#live-models > *");
      const [first] = data;
      if (first === undefined) return;
      assert.equal(await page.locator("#live-models tbody th").first().textContent(), first.id);
    });
  });

  test("/docs: examples name an available model where the usual one is missing", async () => {
    await open({}, async (page, to) => {
      await page.route("**/v1/models", (route) =>
        route.fulfill({
          json: { data: [{ id: "acme/other", capabilities: null, pricing: null }] },
        }),
      );
      await to("/docs/clients");
      await page.getByText('"acme/other"').first().waitFor();
      assert.doesNotMatch(await page.locator("main pre").allInnerTexts().then(String), /gpt-5/);
    });
  });

  test("/docs: reports when the models cannot be loaded", async () => {
    await open({}, async (page, to) => {
      await page.route("**/v1/models", (route) => route.abort());
      await to("/docs/models");
      await page.getByText("could not be loaded").waitFor();
    });
  });

  test("/docs: a button copies each example with this gateway's address", async () => {
    const permissions = ["clipboard-read", "clipboard-write"];
    await open({ permissions }, async (page, to) => {
      await to("/docs/start");
      const buttons = page.getByRole("button", { name: "Copy to clipboard" });
      assert.equal(await buttons.count(), await page.locator("main pre").count());
      await page.locator("figure", { hasText: "Say hello." }).first().hover();
      await buttons.nth(1).click();
      const copied = await page.evaluate("navigator.clipboard.readText()");
      assert.match(String(copied), new RegExp(`^curl ${gatehouse.url}/v1/chat/completions \\\\\n`));
    });
  });

  test("/docs: links to the former single-page guide lead to its sections", async () => {
    await open({}, async (page) => {
      for (const [old, path] of [
        ["first-call", "/docs/start"],
        ["guide-limits", "/docs/operate/policies#limits-budgets-and-accounts"],
        ["error-claim_used", "/docs/errors#claim_used"],
        ["sdks", "/docs/clients"],
        ["node", "/docs/clients"],
      ]) {
        await page.goto(`${gatehouse.url}/docs#${old}`);
        await page.waitForURL(`${gatehouse.url}${path}`);
        await page.goto("about:blank");
      }
      await page.goto(`${gatehouse.url}/docs/costs#your-calls`);
      await page.waitForURL(`${gatehouse.url}/docs/costs#calculator`);
    });
  });

  test("/docs: the API reference has every operation", async () => {
    const document = /** @type {any} */ (
      await (await fetch(`${gatehouse.url}/openapi.json`)).json()
    );
    const operations = Object.values(document.paths).flatMap((item) => Object.values(item));
    await open({}, async (page, to) => {
      await to("/docs/api");
      for (const { operationId, summary } of operations) {
        const path = `/docs/api/operations/${operationId.toLowerCase()}`;
        assert.ok(PATHS.includes(path), path);
        await to(path);
        assert.equal(await page.getByRole("heading", { level: 1 }).innerText(), summary);
      }
    });
  });

  test("/docs: every page is available as Markdown", async () => {
    for (const path of PATHS) {
      const response = await fetch(`${gatehouse.url}${path === "/docs" ? "/docs/index" : path}.md`);
      assert.equal(response.status, 200, path);
      assert.match(response.headers.get("content-type") ?? "", /^text\/markdown/);
      assert.match(await response.text(), /^# \S/, path);
    }
    const list = await (await fetch(`${gatehouse.url}/llms.txt`)).text();
    for (const [, link] of list.matchAll(/\]\((\/[^)]*)\)/g)) {
      assert.equal((await fetch(`${gatehouse.url}${link}`)).status, 200, link);
    }
  });

  test("/docs: links to other parts of the gateway work", async () => {
    /** @type {Set<string>} */
    const links = new Set();
    await open({}, async (page, to) => {
      for (const path of LOOKED_AT) {
        await to(path);
        const found = await page
          .locator("main a")
          .evaluateAll((all) => all.map((one) => Reflect.get(one, "href")));
        for (const link of found) {
          const { origin, pathname } = new URL(link);
          if (origin === gatehouse.url) links.add(pathname);
        }
      }
    });
    assert.ok(links.size > 60);
    for (const link of links)
      assert.equal((await fetch(`${gatehouse.url}${link}`)).status, 200, link);
  });

  test("/docs: the keyboard reaches a skip link first and the focus is visible", async () => {
    await open({}, async (page, to) => {
      await to("/docs");
      await page.keyboard.press("Tab");
      const focused = page.locator(":focus");
      assert.equal(await focused.getAttribute("href"), "#_top");
      assert.ok(((await focused.boundingBox())?.y ?? -1) >= 0, "the skip link is not to be seen");
    });
  });

  test("/docs: fits a phone and has its menu there", async () => {
    await open({ viewport: { width: 320, height: 740 } }, async (page, to) => {
      for (const path of LOOKED_AT) {
        await to(path);
        assert.equal(await page.evaluate("document.documentElement.scrollWidth"), 320, path);
      }
      await page.getByRole("button", { name: "Menu" }).click();
      await page.getByRole("link", { name: "Costs", exact: true }).click();
      await page.waitForURL(`${gatehouse.url}/docs/costs`);
    });
  });

  test("/docs: the colour scheme follows the system or the reader's choice", async () => {
    for (const [colorScheme, other] of /** @type {const} */ ([
      ["light", "dark"],
      ["dark", "light"],
    ])) {
      await open({ colorScheme }, async (page, to) => {
        await to("/docs/architecture");
        const theme = () => page.evaluate("document.documentElement.dataset.theme");
        /** @param {string} name */
        const shown = (name) => page.locator(`img[src$="architecture${name}.svg"]`).isVisible();
        assert.equal(await theme(), colorScheme);
        assert.equal(await shown("-dark"), colorScheme === "dark");
        await page.getByLabel("Select theme").first().selectOption(other);
        assert.equal(await theme(), other);
        assert.equal(await shown("-dark"), other === "dark");
      });
    }
  });

  test("/docs: works without JavaScript", async () => {
    for (const width of [1280, 360]) {
      await open(
        { javaScriptEnabled: false, viewport: { width, height: 800 } },
        async (page, to) => {
          await to("/docs");
          const text = await page.locator("main").innerText();
          assert.match(text, /curl https:\/\/gatehouse\.example\/v1/);
          await page.getByRole("link", { name: "Errors", exact: true }).first().click();
          await page.waitForURL(`${gatehouse.url}/docs/errors`);
          assert.ok(await page.locator("#model_not_found").isVisible());
          await to("/docs#receipts");
          assert.ok(await page.locator("#receipts").isVisible());
          await to("/docs/api/operations/createchatcompletion");
          assert.match(await page.locator("main").innerText(), /messages/);
        },
      );
    }
  });

  for (const colorScheme of /** @type {const} */ (["light", "dark"])) {
    for (const width of [1280, 360]) {
      test(`/docs: axe finds no violation (${colorScheme}, ${width} pixels wide)`, async () => {
        /** @type {string[]} */
        const found = [];
        await open({ colorScheme, viewport: { width, height: 800 } }, async (page, to) => {
          for (const path of LOOKED_AT) {
            await to(path);
            const onlyColours = colorScheme === "dark";
            found.push(
              ...(await violations(page, { onlyColours })).map((one) => `${path}: ${one}`),
            );
          }
          assert.deepEqual(found, []);
        });
      });
    }
  }
});

/** The gateway of GATEHOUSE_URL or a new one: its URL, and a function that stops it. */
async function gateway() {
  const given = process.env.GATEHOUSE_URL;
  if (given) return { url: new URL(given).origin, stop: async () => {} };

  const own = await Gateway.start({ GATEWAY_API_KEY: KEY, OPENAI_API_KEY: "none" });
  return { url: own.url, stop: () => own.stop() };
}
