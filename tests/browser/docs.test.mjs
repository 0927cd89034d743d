// @ts-check
//! The documentation in a real browser, as the gateway serves it, with its headers and its content security policy.
//!
//! The gateway is that of GATEHOUSE_URL, otherwise one is started. Chromium is CHROMIUM or /usr/bin/chromium; without
//! one the tests are skipped.

import assert from "node:assert/strict";
import { globSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { Gateway, KEY, Upstream, root } from "../e2e/harness.mjs";
import { launch, skip, violations } from "./chromium.mjs";

const START_MS = 120_000; // the first start may build the Worker
const VISITS_MS = 600_000; // the first test that needs the visits waits for them

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

/** The height of a page of the API reference in a window of 1280 pixels. */
const MAX_REFERENCE_PX = 10_000;

/** What readers type into the search, and the page that must come first (any of them, where several answer it). */
const SEARCHES = /** @type {const} */ ({
  docker: ["/docs/faq"],
  "claude code": ["/docs/clients/claude-code"],
  codex: ["/docs/clients/codex"],
  cursor: ["/docs/clients/cursor"],
  "rate limit": ["/docs/limits"],
  "load balancing": ["/docs/guides/load-balancing"],
  429: ["/docs/errors"],
  litellm: ["/docs/migrate/litellm", "/docs/decide/comparison"],
  dashboard: ["/docs/operate/console"],
  grafana: ["/docs/operate/monitoring"],
  "custom domain": ["/docs/guides/custom-domain"],
  budget: ["/docs/guides/budgets", "/docs/limits"],
  streaming: ["/docs/guides/streaming"],
  embeddings: ["/docs/embeddings"],
  failover: ["/docs/guides/failover", "/docs/routing"],
  "api key": ["/docs/authentication"],
  logs: ["/docs/operate/log"],
  images: ["/docs/other-endpoints"],
  revoke: ["/docs/operate/keys"],
  cost: ["/docs/costs"],
});

/** A narrow phone. */
const PHONE = { viewport: { width: 320, height: 740 }, hasTouch: true, isMobile: true };

/** Runs in a page: its heading and height, the links of its text, and what is wrong with its code. */
const SURVEY = `(() => {
  const faults = [];
  for (const frame of document.querySelectorAll("main .expressive-code figure")) {
    const button = frame.querySelector(".copy button")?.getBoundingClientRect();
    const box = frame.getBoundingClientRect();
    if (!button || box.height === 0) continue;
    if (button.bottom > box.bottom + 0.5 || button.top < box.top - 0.5) faults.push("button outside: " + frame.textContent.slice(0, 40));
    const line = frame.querySelector(".ec-line .code")?.getBoundingClientRect();
    if (matchMedia("(hover: none)").matches && line && button.bottom > line.top + 6) faults.push("button over code: " + frame.textContent.slice(0, 40));
  }
  for (const image of document.querySelectorAll("main img:not([width][height])"))
    faults.push("no size, so the page moves when it is loaded: " + image.src);
  for (const code of document.querySelectorAll("main table:not(.models) :is(td, th) code"))
    if (code.getClientRects().length > 1) faults.push("broken: " + code.textContent);
  return {
    heading: document.querySelector("h1")?.innerText,
    width: document.documentElement.scrollWidth,
    height: document.documentElement.scrollHeight,
    links: [...document.querySelectorAll("main a")].map((one) => one.href),
    faults,
  };
})()`;

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

  /**
   * What a visit to each of some pages finds. The tests that look at every page share the visits.
   *
   * @param {readonly string[]} paths
   * @param {import("playwright-core").BrowserContextOptions} options
   */
  async function survey(paths, options) {
    /** @type {string[]} */
    const complaints = [];
    /** @type {Map<string, { heading: string, height: number, faults: string[], links: string[], width: number, violations: string[] }>} */
    const found = new Map();
    /** @param {readonly string[]} part */
    const visit = (part) =>
      open(options, async (page, to) => {
        page.on("console", (message) => complaints.push(`${page.url()}: ${message.text()}`));
        page.on("pageerror", (error) => complaints.push(`${page.url()}: ${error}`));
        page.on("response", (response) => {
          if (response.status() >= 400) complaints.push(`${response.status()} ${response.url()}`);
        });
        page.on("request", (request) => {
          const { origin, protocol } = new URL(request.url());
          if (protocol !== "data:" && origin !== gatehouse.url) complaints.push(request.url());
        });
        for (const path of part) {
          await to(path);
          const seen = /** @type {any} */ (await page.evaluate(SURVEY));
          const faulty = LOOKED_AT.includes(path) ? await judged(page) : [];
          found.set(path, { ...seen, violations: faulty });
        }
      });
    // Two windows, for two cores.
    const half = Math.ceil(paths.length / 2);
    await Promise.all([visit(paths.slice(0, half)), visit(paths.slice(half))]);
    return { complaints, found };
  }
  /** @type {ReturnType<typeof survey> | undefined} */ let ofWide;
  /** @type {ReturnType<typeof survey> | undefined} */ let ofPhone;
  const wide = () =>
    (ofWide ??= survey(PATHS, { viewport: { width: 1280, height: 800 }, colorScheme: "light" }));
  const phone = () => (ofPhone ??= survey(LOOKED_AT, { ...PHONE, colorScheme: "light" }));

  test(
    "/docs: every page loads without errors or requests to other hosts",
    { timeout: VISITS_MS },
    async () => {
      assert.ok(PATHS.length > 60);
      assert.deepEqual((await wide()).complaints, []);
      assert.deepEqual((await phone()).complaints, []);
      const policy = (await fetch(`${gatehouse.url}/docs`)).headers.get("content-security-policy");
      assert.match(String(policy), /^default-src 'none';/);
      assert.doesNotMatch(String(policy), /unsafe-inline|unsafe-eval' |'unsafe-eval'/);
    },
  );

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
      await page.getByRole("link", { name: /Next\s+Deploying/ }).click();
      await page.waitForURL(`${gatehouse.url}/docs/deploy`);
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

  test("/docs: search finds the right page first", async (t) => {
    await open({}, async (page, to) => {
      await to("/docs/start");
      await page.keyboard.press("Control+k");
      const dialog = page.getByRole("dialog", { name: "Search" });
      const results = dialog.locator(".pagefind-ui__results-area");
      for (const [query, wanted] of Object.entries(SEARCHES)) {
        await t.test(query, async () => {
          // Of the first result, which may not be the first that is loaded.
          const first = results.locator(".pagefind-ui__result").first();
          const link = first.locator(".pagefind-ui__result-link");
          await dialog.locator("input").fill("");
          await first.waitFor({ state: "detached" });
          await dialog.locator("input").fill(query);
          const none = results.getByText(`No results for ${query}`);
          await link.first().or(none).first().waitFor();
          const href =
            (await none.count()) > 0 ? "nothing" : await link.first().getAttribute("href");
          const found = String(href).replace(/\/?(#.*)?$/, "");
          assert.ok(
            wanted.some((path) => path === found),
            `${found} instead of ${wanted}`,
          );
        });
      }
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
      await to("/docs/api/operations/createchatcompletion");
      await page.getByText('"acme/other"').first().waitFor();
      assert.equal(await page.locator(".tabs").getByText("demo/sim-small").count(), 0);
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

  test("/docs: the API reference has every operation", { timeout: VISITS_MS }, async () => {
    const document = /** @type {any} */ (
      await (await fetch(`${gatehouse.url}/openapi.json`)).json()
    );
    const operations = Object.values(document.paths).flatMap((item) => Object.values(item));
    const { found } = await wide();
    assert.ok(PATHS.includes("/docs/api"));
    for (const { operationId, summary } of operations) {
      const path = `/docs/api/operations/${operationId.toLowerCase()}`;
      const { heading, height } = found.get(path) ?? { heading: "no page", height: NaN };
      assert.equal(heading, summary, path);
      assert.ok(height < MAX_REFERENCE_PX, `${path} is ${height} pixels high`);
    }
  });

  test("/docs: a page of the API reference names each header, error and field once, folded", async () => {
    await open({}, async (page, to) => {
      await to("/docs/api/operations/createchatcompletion");
      const names = page.locator(".field > code");
      assert.equal(await names.getByText("x-gateway-receipt", { exact: true }).count(), 1);
      const field = names.getByText("include_usage", { exact: true });
      assert.ok(!(await field.isVisible()));
      await page.getByText("Fields of stream_options").first().click();
      assert.ok(await field.isVisible());
      await page.getByText("14 statuses").click();
      assert.equal(await page.getByRole("row", { name: /^429/ }).count(), 1);
    });
  });

  test("/docs: samples stand beside the fields in a wide window", async () => {
    for (const [width, isBeside] of /** @type {const} */ ([
      [1400, true],
      [1280, false],
    ])) {
      await open({ viewport: { width, height: 800 } }, async (page, to) => {
        await to("/docs/api/operations/createchatcompletion");
        const fields = await page.locator(".api-parts").boundingBox();
        const samples = await page.locator(".api-samples").boundingBox();
        assert.ok(fields && samples);
        assert.equal(samples.x > fields.x + fields.width - 1, isBeside, `${width} pixels`);
      });
    }
  });

  test("/docs: a chosen language is remembered on every page", async () => {
    await open({}, async (page, to) => {
      await to("/docs/api/operations/createchatcompletion");
      const first = page.getByRole("tablist").first();
      assert.equal(await page.getByText("from openai import OpenAI").first().isVisible(), false);
      await first.getByRole("tab", { name: "curl" }).focus();
      await page.keyboard.press("ArrowRight");
      // All groups of the page change.
      for (const group of await page.getByRole("tabpanel").filter({ visible: true }).all())
        assert.match(await group.innerText(), /import OpenAI|import requests/);
      await to("/docs/api/operations/listapikeys");
      assert.ok(await page.getByText("requests.get(").isVisible());
      const chosen = page.getByRole("tab", { selected: true });
      assert.equal(await chosen.innerText(), "Python");
    });
  });

  test("/docs: the form of an operation shows a stream, its headers and its cost", async (t) => {
    if (!gatehouse.ours) return t.skip("the key of this gateway is unknown");
    await open({}, async (page, to) => {
      /** @type {string[]} */
      const urls = [];
      page.on("request", (request) => urls.push(request.url()));
      await to("/docs/api/operations/createchatcompletion");
      const island = page.locator(".try");
      await island.getByLabel("Request body").fill(chatBody());
      await island.getByLabel("Key, kept in this tab").fill(KEY);
      await island.getByRole("button", { name: "Send" }).click();
      await island.getByText(/^200 OK, [\d,]+ ms/).waitFor();
      await island.locator(".try-text").getByText("Say hello").waitFor();
      await island.getByText("Response headers").click();
      assert.match(await island.locator("dl").innerText(), /x-gateway-receipt\s+rcpt_/);
      await island.getByText("Response body").click();
      assert.match(await island.getByRole("region").innerText(), /data: \[DONE\]/);
      await island.getByText(/ms · \$0(\.\d+)?$/).waitFor();
      assert.ok(urls.length > 10 && !urls.some((url) => url.includes(KEY)));
      const stored = await page.evaluate(
        "[JSON.stringify({ ...sessionStorage }), JSON.stringify({ ...localStorage })]",
      );
      const [session = "", local = ""] = /** @type {string[]} */ (stored);
      assert.ok(session.includes(KEY) && !local.includes(KEY));
      // The key is there on the next page of the same tab.
      await to("/docs/api/operations/createembeddings");
      assert.equal(await island.getByLabel("Key, kept in this tab").inputValue(), KEY);
    });
  });

  test("/docs: the form of an operation cancels, and explains what went wrong", async (t) => {
    if (!gatehouse.ours) return t.skip("the key of this gateway is unknown");
    await open({}, async (page, to) => {
      await to("/docs/api/operations/createchatcompletion");
      const island = page.locator(".try");
      const send = island.getByRole("button", { name: "Send" });
      const status = island.getByRole("status");
      await send.click();
      await status.getByText("Enter a key of this gateway first.").waitFor();
      await island.getByLabel("Key, kept in this tab").fill(KEY);
      await island.getByLabel("Request body").fill("{");
      await send.click();
      await status.getByText("The request body is not JSON").waitFor();
      await island.getByLabel("Request body").fill(chatBody({ model: "demo/none" }));
      await send.click();
      await status.getByText(/^404 Not Found, .*demo\/none/).waitFor();
      await island.getByLabel("Key, kept in this tab").fill("gw_wrong");
      await send.click();
      await status.getByText(/^401 Unauthorized/).waitFor();
      await island.getByLabel("Key, kept in this tab").fill(KEY);
      await page.route("**/v1/chat/completions", async (route) => {
        await new Promise((resolve) => setTimeout(resolve, 3000));
        await route.abort().catch(() => {});
      });
      await send.click();
      await island.getByRole("button", { name: "Cancel" }).click();
      await status.getByText(/^No response, cancelled after/).waitFor();
      await page.unroute("**/v1/chat/completions");
      await page.route("**/v1/chat/completions", (route) => route.abort());
      await send.click();
      await status.getByText("The gateway could not be reached.").waitFor();
    });
  });

  test("/docs: the catalogue filters its models and shows them in parts", async () => {
    await open({}, async (page, to) => {
      await to("/docs/catalogue");
      const rows = page.locator("table.models tbody tr").filter({ visible: true });
      assert.equal(await rows.count(), 50);
      await page.getByRole("button", { name: "Show more" }).click();
      assert.equal(await rows.count(), 100);
      await page.getByLabel("Provider").selectOption("groq");
      await page.getByLabel("Capability").selectOption("tools");
      await page.getByLabel("Input price").fill("0.2");
      const texts = await rows.allInnerTexts();
      assert.ok(texts.length > 0 && texts.length < 50);
      for (const text of texts) assert.match(text, /groq.*tools/s);
      await page.getByLabel("Model", { exact: true }).fill("gpt-oss 120b");
      assert.equal(await rows.count(), 1);
      // Links to a provider select it.
      await to("/docs/models");
      await to("/docs/catalogue#mistral");
      assert.match(await rows.first().innerText(), /mistral/);
      assert.equal(await page.getByLabel("Provider").inputValue(), "mistral");
    });
  });

  test("/docs: a missing page is a page for browsers and an error for programs", async () => {
    const url = `${gatehouse.url}/docs/no-such-page`;
    const page = await fetch(url, { headers: { accept: "text/html,*/*" } });
    assert.equal(page.status, 404);
    assert.match(page.headers.get("content-type") ?? "", /^text\/html/);
    assert.match(await page.text(), /<a href="\/docs">/);
    for (const [path, accept] of /** @type {const} */ ([
      ["/docs/no-such-page", "*/*"],
      ["/no-such-page", "text/html"],
    ])) {
      const response = await fetch(`${gatehouse.url}${path}`, { headers: { accept } });
      assert.equal(response.status, 404);
      assert.match(response.headers.get("content-type") ?? "", /^application\/json/, path);
    }
    await open({}, async (browserPage) => {
      await browserPage.goto(url);
      assert.deepEqual(await violations(browserPage), []);
      await browserPage.getByRole("link", { name: "Quickstart" }).click();
      await browserPage.waitForURL(`${gatehouse.url}/docs/start`);
    });
  });

  test("/docs: files whose name has a hash are kept by browsers, pages are not", async () => {
    const html = await (await fetch(`${gatehouse.url}/docs/start`)).text();
    const files = [...html.matchAll(/(?:href|src)="(\/docs\/_astro\/[^"]+)"/g)].map(
      ([, url]) => url,
    );
    assert.ok(files.length > 3);
    for (const file of files) {
      const { headers } = await fetch(`${gatehouse.url}${file}`);
      assert.equal(headers.get("cache-control"), "public, max-age=31536000, immutable", file);
      assert.match(headers.get("content-security-policy") ?? "", /^default-src 'none'/);
    }
    const { headers } = await fetch(`${gatehouse.url}/docs/start`);
    assert.match(headers.get("cache-control") ?? "", /max-age=0/);
  });

  test("/docs: robots, icons and previews of links have what they ask for", async () => {
    const html = await (await fetch(`${gatehouse.url}/docs/costs`)).text();
    assert.match(html, /<link rel="canonical" href="\/docs\/costs">/);
    assert.match(html, /<meta property="og:url" content="\/docs\/costs">/);
    const [, picture = ""] = /<meta property="og:image" content="([^"]+)">/.exec(html) ?? [];
    for (const [path, type] of /** @type {const} */ ([
      [picture, /^image\/png/],
      ["/favicon.ico", /icon/],
      ["/robots.txt", /^text\/plain/],
    ])) {
      const response = await fetch(`${gatehouse.url}${path}`);
      assert.equal(response.status, 200, path);
      assert.match(response.headers.get("content-type") ?? "", type);
    }
    for (const path of ["/health", "/access/claim"]) {
      const page = await fetch(`${gatehouse.url}${path}`, { headers: { accept: "text/html" } });
      assert.match(await page.text(), /<link rel="icon" href="\/favicon\.ico">/, path);
      assert.match(page.headers.get("content-security-policy") ?? "", /img-src 'self'/);
    }
  });

  test(
    "/docs: copy buttons are inside their frames, and code in tables is whole",
    { timeout: VISITS_MS },
    async () => {
      for (const { found } of [await wide(), await phone()]) {
        const faults = LOOKED_AT.flatMap((path) =>
          (found.get(path)?.faults ?? ["not visited"]).map((one) => `${path}: ${one}`),
        );
        assert.deepEqual(faults, []);
      }
    },
  );

  test("/docs: nothing moves while a page loads", async () => {
    for (const path of [
      "/docs",
      "/docs/catalogue",
      "/docs/costs",
      "/docs/operate/console",
      "/docs/api/operations/createchatcompletion",
      "/docs/api/operations/createembeddings",
    ]) {
      await open({ viewport: { width: 1400, height: 900 } }, async (page, to) => {
        // A slow device on a slow network paints a page in more parts.
        const device = await page.context().newCDPSession(page);
        await device.send("Emulation.setCPUThrottlingRate", { rate: 4 });
        await device.send("Network.emulateNetworkConditions", {
          offline: false,
          latency: 50,
          downloadThroughput: 500_000,
          uploadThroughput: 500_000,
        });
        await page.addInitScript(`{
          window.moved = 0;
          new PerformanceObserver((list) => {
            for (const entry of list.getEntries()) window.moved += entry.value;
          }).observe({ type: "layout-shift", buffered: true });
        }`);
        await page.addInitScript(`localStorage.setItem("gatehouse-docs-tab-language", "Node")`);
        await to(path);
        await page.waitForTimeout(300);
        const moved = Number(await page.evaluate("window.moved"));
        assert.ok(moved < 0.05, `${path}: ${moved}`);
      });
    }
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

  test("/docs: links to other parts of the gateway work", { timeout: VISITS_MS }, async () => {
    const { found } = await wide();
    const links = new Set(
      LOOKED_AT.flatMap((path) => found.get(path)?.links ?? [])
        .map((link) => new URL(link))
        .filter(({ origin }) => origin === gatehouse.url)
        .map(({ pathname }) => pathname),
    );
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

  test("/docs: fits a phone and has its menu there", { timeout: VISITS_MS }, async () => {
    const { found } = await phone();
    for (const path of LOOKED_AT) assert.equal(found.get(path)?.width, PHONE.viewport.width, path);
    await open(PHONE, async (page, to) => {
      await to("/docs");
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
          if (width < 800) await page.getByRole("button", { name: "Menu" }).click();
          await page.getByRole("link", { name: "Errors", exact: true }).first().click();
          await page.waitForURL(`${gatehouse.url}/docs/errors`);
          assert.ok(await page.locator("#model_not_found").isVisible());
          await to("/docs#receipts");
          assert.ok(await page.locator("#receipts").isVisible());
          await to("/docs/api/operations/createchatcompletion");
          const reference = await page.locator("main").innerText();
          // All languages of the samples are shown, each under its name.
          for (const part of ["messages", "Python", "import OpenAI from"])
            assert.ok(reference.includes(part), part);
          await to("/docs/catalogue#mistral");
          assert.ok(await page.locator("#mistral").isVisible());
        },
      );
    }
  });

  test(
    "/docs: axe finds no violation, in both colour schemes and on a phone",
    { timeout: VISITS_MS },
    async () => {
      for (const { found } of [await wide(), await phone()]) {
        const all = LOOKED_AT.flatMap((path) =>
          (found.get(path)?.violations ?? ["not visited"]).map((one) => `${path}: ${one}`),
        );
        assert.deepEqual(all, []);
      }
    },
  );
});

/**
 * The violations on a page: all in the light, the contrast in the dark too.
 *
 * @param {Page} page
 */
async function judged(page) {
  const light = await violations(page);
  await page.emulateMedia({ colorScheme: "dark" });
  await page.evaluate(`document.documentElement.dataset.theme = "dark"`);
  const dark = await violations(page, { rules: "colours" });
  await page.emulateMedia({ colorScheme: "light" });
  return [...light, ...dark.map((one) => `dark: ${one}`)];
}

/** A small streamed call. @param {object} [fields] */
const chatBody = (fields) =>
  JSON.stringify({
    model: "openai/gpt-5-mini",
    messages: [{ role: "user", content: "Say hello" }],
    stream: true,
    ...fields,
  });

/** The gateway of GATEHOUSE_URL or a new one: its URL, whether it is new, and a function that stops it. */
async function gateway() {
  const given = process.env.GATEHOUSE_URL;
  if (given) return { url: new URL(given).origin, ours: false, stop: async () => {} };

  const upstream = await Upstream.start();
  const own = await Gateway.start({
    GATEWAY_API_KEY: KEY,
    OPENAI_API_KEY: "sk-simulated",
    OPENAI_BASE_URL: `${upstream.url}/v1`,
  });
  return {
    url: own.url,
    ours: true,
    stop: async () => {
      await own.stop();
      await upstream.stop();
    },
  };
}
