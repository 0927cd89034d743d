// @ts-check
//! The page at /health in a real browser, before and after calls, with a throttled provider and models with hostile
//! names. Clients that do not accept HTML get JSON.
//!
//! Chromium is CHROMIUM or /usr/bin/chromium; without one the tests are skipped. If SCREENSHOTS is a folder, a
//! picture of each page is written there.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Gateway, Upstream, chat, eventually, variables } from "../e2e/harness.mjs";
import { launch, skip, violations } from "./chromium.mjs";

const START_MS = 120_000; // the first start may build the Worker
/** Ids of models that would do harm if they were not escaped. */
const HOSTILE = [
  "<script>window.foreign = true</script>",
  `"><img src=x onerror="window.foreign = true">`,
  `it's "quoted" & &lt;escaped&gt; {{nonce}} {{models}}`,
  "モデル-🦀-模型-модель",
  "\u202egnp.exe",
  `${"very-long-".repeat(20)}end`,
];

/** @typedef {import("playwright-core").Page} Page */

describe("/health", { skip }, () => {
  /** @type {import("playwright-core").Browser} */
  let browser;
  /** @type {Upstream} */
  let upstream;
  /** @type {Gateway} */
  let gateway;

  before(
    async () => {
      upstream = await Upstream.start();
      const provider = (/** @type {string} */ name, /** @type {string[]} */ models) => ({
        base_url: `${upstream.url}/${name}/v1`,
        auth: "none",
        models,
      });
      gateway = await Gateway.start(
        variables(upstream, {
          providers: {
            demo: provider("demo", ["sim-small", "flaky", ...HOSTILE]),
            busy: provider("busy", ["sim-small"]),
            spare: provider("spare", ["sim-small", "sim-large"]),
          },
          models: { "demo/sim-small": { requests_per_day: 1500 } },
        }),
      );
      browser = await launch();
    },
    { timeout: START_MS },
  );
  after(async () => {
    await browser?.close();
    await gateway?.stop();
    await upstream?.stop();
  });

  /**
   * Opens the page; fails if the browser reports anything or sends a request to another host.
   *
   * @param {import("playwright-core").BrowserContextOptions} options
   * @param {(page: Page) => Promise<void>} use
   * @param {string} [url]
   */
  async function open(options, use, url = `${gateway.url}/health`) {
    const context = await browser.newContext(options);
    try {
      const page = await context.newPage();
      /** @type {string[]} */
      const complaints = [];
      page.on("console", (message) => {
        // A gateway without its static files has no icon.
        if (url !== `${gateway.url}/health` && message.location().url.endsWith("/favicon.ico"))
          return;
        complaints.push(`${message.type()}: ${message.text()}`);
      });
      page.on("pageerror", (error) => complaints.push(String(error)));
      page.on("request", (request) => {
        if (!request.url().startsWith(new URL(url).origin)) complaints.push(request.url());
      });
      await page.addInitScript(
        `addEventListener("securitypolicyviolation", ({ violatedDirective }) => console.error(violatedDirective))`,
      );
      const response = await page.goto(url);
      assert.equal(response?.status(), 200);
      await use(page);
      assert.deepEqual(complaints, []);
    } finally {
      await context.close();
    }
  }

  /**
   * @param {Page} page
   * @param {string} name
   */
  async function picture(page, name) {
    const folder = process.env.SCREENSHOTS;
    if (folder) await page.screenshot({ path: `${folder}/health-${name}.png`, fullPage: true });
  }

  /**
   * The texts of a row of a table, by column.
   *
   * @param {Page} page
   * @param {string} name its first cell
   * @returns {Promise<Record<string, string>>}
   */
  async function row(page, name) {
    const rows = page.locator("tbody tr");
    const names = await rows.locator("th").allTextContents();
    assert.equal(names.filter((known) => known === name).length, 1, `${name} among ${names}`);
    const cells = await rows.nth(names.indexOf(name)).locator("td").all();
    const texts = cells.map(async (cell) => [
      await cell.getAttribute("data-column"),
      (await cell.innerText()).replace(/\s+/g, " ").trim(),
    ]);
    return Object.fromEntries(await Promise.all(texts));
  }

  test("/health page: before any call it shows the configuration", async () => {
    await open({}, async (page) => {
      assert.equal(await page.title(), "Gatehouse is running");
      await page.getByRole("heading", { level: 1, name: "Gatehouse is running" }).waitFor();
      const text = await page.locator("main").innerText();
      assert.match(text, /Running, version \d+\.\d+\.\d+/);
      assert.match(text, /Database\s+Ready/);
      assert.match(text, /11 available/);
      assert.match(text, /No model has been called yet\./);
      assert.equal(await page.locator(".problems").count(), 0);
      const { State, Calls, p50, ...rest } = await row(page, "busy");
      assert.deepEqual(
        { State, Calls, p50 },
        { State: "Available not called yet", Calls: "0", p50: "–" },
      );
      assert.equal(Object.keys(rest).length, 5);
      assert.deepEqual(await violations(page), []);
      await picture(page, "before");
    });
  });

  test("/health page: programs and fetch get JSON", async () => {
    const url = `${gateway.url}/health`;
    /** @param {Record<string, string>} headers @param {string} method */
    const typeOf = async (headers, method = "GET") => {
      const response = await fetch(url, { headers, method });
      assert.equal(response.headers.get("vary"), "accept, sec-fetch-dest");
      assert.equal(response.headers.get("cache-control"), "no-store");
      await response.text();
      return response.headers.get("content-type");
    };
    const html = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    const [json, page] = ["application/json", "text/html; charset=utf-8"];
    assert.equal(await typeOf({}), json);
    assert.equal(await typeOf({ accept: "*/*" }), json);
    assert.equal(await typeOf({ accept: "application/json" }), json);
    assert.equal(await typeOf({ accept: html }), page);
    assert.equal(await typeOf({ accept: html }, "HEAD"), page);
    assert.equal(await typeOf({ accept: html, "sec-fetch-dest": "document" }), page);
    assert.equal(await typeOf({ accept: html, "sec-fetch-dest": "empty" }), json);
    assert.equal(await typeOf({ accept: html, "sec-fetch-dest": "iframe" }), json);
    assert.equal((await (await fetch(url)).json()).ok, true);
    await open(
      {},
      async (docs) => {
        for (const headers of ["{}", `{ headers: { accept: "text/html" } }`]) {
          const type = `fetch("/health", ${headers}).then(({ headers }) => headers.get("content-type"))`;
          assert.equal(await docs.evaluate(type), json);
        }
      },
      `${gateway.url}/docs`,
    );
  });

  test("/health page: after calls it shows the health of providers and models", async () => {
    const simulate = (/** @type {object} */ fault) => ({ simulate: fault });
    for (let calls = 0; calls < 3; calls += 1) assert.equal((await chat(gateway, {})).status, 200);
    assert.equal((await chat(gateway, simulate({ delay_ms: 1200 }))).status, 200);
    const throttled = { status: 429, retry_after: 30 };
    const busy = await chat(gateway, { model: "busy/sim-small", ...simulate(throttled) });
    assert.equal(busy.status, 429);
    await chat(gateway, { model: "demo/flaky", ...simulate({ status: 503, retry_after: 1 }) });
    for (const model of [...HOSTILE, "of-nobody"]) {
      assert.equal((await chat(gateway, { model: `demo/${model}` })).status, 200);
    }
    await eventually(async () => {
      const { models } = await (await fetch(`${gateway.url}/health`)).json();
      const of = (/** @type {string} */ key) =>
        models.find((/** @type {any} */ row) => row.key === key);
      return of("demo:flaky")?.cooldown_until === 0 && of("busy:sim-small") && of("demo:other");
    });
    await open({}, async (page) => {
      const until = /for \d+ seconds?, until (\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d UTC$/;
      const throttles = await row(page, "busy");
      assert.match(throttles["State"] ?? "", new RegExp(`^Cooldown ${until.source}`));
      assert.equal(throttles["Success"], "0%");
      assert.equal(throttles["Throttled"], "1");
      assert.equal(throttles["Cooldown"], "1 of 1");
      const demo = await row(page, "demo");
      assert.equal(demo["State"], "Degraded 1 degraded, of 8 models");
      assert.match(demo["p50"] ?? "", /^\d+ ms$/);
      assert.match(demo["p99"] ?? "", /^\d+\.\d s$/);
      assert.equal((await row(page, "spare"))["State"], "Available not called yet");

      const throttledModel = await row(page, "busy/sim-small");
      assert.match(
        throttledModel["State"] ?? "",
        new RegExp(`^Cooldown throttled, ${until.source}`),
      );
      const [time] = await page.locator("td time").all();
      assert.match(
        (await time?.getAttribute("datetime")) ?? "",
        /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/,
      );
      const well = await row(page, "demo/sim-small");
      assert.equal(well["State"], "Available");
      assert.equal(well["Calls"], "4");
      assert.equal(well["Success"], "100%");
      assert.equal(well["Headroom"], "99.7%");
      assert.equal(well["Today"], "4 of 1,500");
      assert.match((await row(page, "demo/flaky"))["State"] ?? "", /^Degraded low success rate/);
      const others = await row(page, "demo/unlisted models");
      assert.equal(others["Today"], "1");
      await picture(page, "after");
    });
  });

  test("/health page: model names are escaped", async () => {
    for (const javaScriptEnabled of [true, false]) {
      await open({ javaScriptEnabled }, async (page) => {
        const names = await page.locator("tbody th bdi:last-child").allTextContents();
        for (const name of HOSTILE) assert.ok(names.includes(name), name);
        assert.equal(await page.locator("script, img").count(), 0);
        if (javaScriptEnabled) assert.equal(await page.evaluate("window.foreign"), undefined);
      });
    }
  });

  test("/health page: its policy blocks all resources and its response is not cached", async () => {
    const response = await fetch(`${gateway.url}/health`, { headers: { accept: "text/html" } });
    const policy = response.headers.get("content-security-policy") ?? "";
    assert.match(policy, /^default-src 'none'; style-src 'nonce-\w+'; /);
    assert.match(policy, /frame-ancestors 'none'$/);
    assert.ok(!(await response.text()).includes(" style="));
    assert.equal(response.headers.get("x-frame-options"), "DENY");
    assert.equal(response.headers.get("x-robots-tag"), "noindex, nofollow");
  });

  test("/health page: fits a phone and keeps its tables", async () => {
    for (const width of [320, 375, 768, 961]) {
      await open({ viewport: { width, height: 740 } }, async (page) => {
        assert.equal(await page.evaluate("document.documentElement.scrollWidth"), width);
        await picture(page, `${width}`);
        const tools = await page.context().newCDPSession(page);
        await tools.send("Accessibility.enable");
        const { nodes } = await tools.send("Accessibility.getFullAXTree");
        const roles = nodes.filter(({ ignored }) => !ignored).map(({ role }) => role?.value);
        const count = (/** @type {string} */ role) =>
          roles.filter((known) => known === role).length;
        assert.equal(count("table"), 2);
        assert.equal(count("columnheader"), 18);
        assert.equal(count("rowheader"), 3 + 3 + HOSTILE.length + 1);
      });
    }
  });

  for (const colorScheme of /** @type {const} */ (["light", "dark"])) {
    test(`/health page: axe finds no violation (${colorScheme})`, async () => {
      for (const width of [375, 1280]) {
        await open({ colorScheme, viewport: { width, height: 800 } }, async (page) => {
          const colour = "getComputedStyle(document.body).backgroundColor";
          const expected = colorScheme === "dark" ? "rgb(17, 22, 24)" : "rgb(255, 255, 255)";
          assert.equal(await page.evaluate(colour), expected);
          assert.deepEqual(await violations(page), []);
          await picture(page, `${colorScheme}-${width}`);
        });
      }
    });
  }

  test("/health page: reloads by itself only on request", async () => {
    await open({}, async (page) => {
      assert.equal(await page.locator("meta[http-equiv=refresh]").count(), 0);
      await page.getByRole("link", { name: "Reload every 10 seconds" }).click();
      await page.getByText("Reloads every 10 seconds.").waitFor();
      const refresh = page.locator("meta[http-equiv=refresh]");
      assert.equal(await refresh.getAttribute("content"), "10");
      await page.goto(`${gateway.url}/health?refresh=1`);
      assert.equal(await refresh.getAttribute("content"), "5");
      await page.waitForEvent("framenavigated", { timeout: 10_000 });
      await page.getByRole("link", { name: "Stop reloading" }).click();
      await page.getByRole("link", { name: "Reload every 10 seconds" }).waitFor();
      assert.equal(await refresh.count(), 0);
      await page.goto(`${gateway.url}/health?refresh=${encodeURIComponent('"><script>')}`);
      assert.equal(await refresh.getAttribute("content"), "10");
    });
  });

  test("/health page: lists the problems that keep the gateway from working", async () => {
    const bare = await Gateway.startBare({});
    try {
      await open(
        { viewport: { width: 375, height: 740 } },
        async (page) => {
          const { problems } = await (await fetch(`${bare.url}/health`)).json();
          assert.equal(problems.length, 5);
          assert.deepEqual(await page.locator(".problems li").allTextContents(), problems);
          assert.equal(await page.title(), "Gatehouse is running, with 5 problems");
          const text = await page.locator("main").innerText();
          assert.match(text, /Database\s+Not bound/);
          assert.match(text, /Gateway keys\s+None/);
          assert.match(text, /No provider is configured\./);
          assert.equal(await page.evaluate("document.documentElement.scrollWidth"), 375);
          assert.deepEqual(await violations(page), []);
          await picture(page, "problems");
        },
        `${bare.url}/health`,
      );
    } finally {
      await bare.stop();
    }
  });
});
