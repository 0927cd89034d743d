// @ts-check
//! The page at /docs/costs in a real browser, as the gateway serves it. docs.test.mjs documents the variables.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { Gateway, KEY, root } from "../e2e/harness.mjs";
import { launch, skip, violations } from "./chromium.mjs";

const START_MS = 120_000; // the first start may build the Worker

/** @typedef {import("playwright-core").Page} Page */

/** @type {{ operators: { name: string, calls_per_second: number, keys: number, isolates: number, limits: boolean, total_micro_usd: number }[] }} */
const { operators } = JSON.parse(readFileSync(`${root}site/data/costs.json`, "utf8"));

describe("/docs/costs", { skip }, () => {
  /** @type {import("playwright-core").Browser} */
  let browser;
  /** @type {{ url: string, stop: () => Promise<void> }} */
  let gatehouse;

  before(
    async () => {
      const given = process.env.GATEHOUSE_URL;
      const own = given ? null : await Gateway.start({ GATEWAY_API_KEY: KEY });
      gatehouse = {
        url: own?.url ?? new URL(given ?? "").origin,
        stop: async () => own?.stop(),
      };
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
   * @param {(page: Page) => Promise<void>} use
   * @param {(page: Page) => Promise<void>} [prepare]
   */
  async function open(options, use, prepare) {
    const context = await browser.newContext(options);
    try {
      const page = await context.newPage();
      await prepare?.(page);
      const response = await page.goto(`${gatehouse.url}/docs/costs`);
      assert.equal(response?.status(), 200);
      if (options.javaScriptEnabled !== false) await page.waitForSelector("#calculator-place > *");
      await use(page);
    } finally {
      await context.close();
    }
  }

  /** @param {Page} page */
  const sum = (page) => page.getByRole("status").innerText();

  test("/docs/costs: loads without errors or requests to other hosts", async () => {
    /** @type {string[]} */
    const complaints = [];
    /** @type {string[]} */
    const requests = [];
    await open(
      {},
      async (page) => {
        await page.getByLabel("Active keys").press("Enter");
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
    assert.deepEqual(
      requests.filter((url) => new URL(url).origin !== gatehouse.url),
      [],
    );
  });

  test("/docs/costs: the calculator agrees with the table", async () => {
    await open({}, async (page) => {
      for (const operator of operators) {
        await page.getByLabel("Calls", { exact: true }).fill(String(operator.calls_per_second));
        await page.getByLabel("Active keys").fill(String(operator.keys));
        await page.getByLabel(/^Isolates/).fill(String(operator.isolates));
        await page.getByLabel("Keys have limits").setChecked(operator.limits);
        const shown = Number((await sum(page)).match(/^\$([\d.]+) for a million/)?.[1]);
        const expected = operator.total_micro_usd / 1e6;
        assert.ok(
          Math.abs(shown - expected) < 0.011,
          `${operator.name}: ${shown}, not ${expected}`,
        );
        const cell = page.locator(".costs").first().locator("tr.sum td");
        const cells = await cell.allInnerTexts();
        assert.ok(cells.includes(`$${expected.toFixed(2)}`), `${expected} is not in ${cells}`);
      }
    });
  });

  test("/docs/costs: every field of the calculator changes the result", async () => {
    await open({}, async (page) => {
      const seen = [await sum(page)];
      /** @param {Promise<unknown>} change */
      const changes = async (change) => {
        await change;
        const now = await sum(page);
        assert.notEqual(now, seen.at(-1));
        seen.push(now);
      };
      await changes(page.getByLabel("Calls", { exact: true }).fill("1000"));
      await changes(page.getByLabel("Active keys").fill("10"));
      await changes(page.getByLabel(/^Isolates/).fill("300"));
      await changes(page.getByLabel("Log lines kept").fill("1"));
      await changes(page.getByLabel("Keys have limits").uncheck());
      await changes(page.getByLabel("Analytics Engine is bound").check());
      await changes(
        page
          .getByRole("main")
          .getByRole("combobox")
          .selectOption({ label: "a month" })
          .then(() => page.getByLabel("Calls", { exact: true }).fill("50000000")),
      );
    });
  });

  test("/docs/costs: reports impossible values and accepts any input as a number", async () => {
    await open({}, async (page) => {
      const place = page.locator("#calculator-place");
      assert.doesNotMatch(await place.innerText(), /Above the limit/);
      await page.getByLabel("Calls", { exact: true }).fill("200000");
      await page.getByLabel("Active keys").fill("1");
      assert.match(await place.innerText(), /Above the limit/);
      assert.match(await place.innerText(), /Outside the simulated range/);
      for (const value of ["", "0", "-5", "1e300"]) {
        await page.getByLabel("Calls", { exact: true }).fill(value);
        await page.getByLabel("Active keys").fill(value);
        assert.doesNotMatch(await place.innerText(), /NaN|undefined|Infinity/, value);
      }
    });
  });

  test("/docs/costs: reports when the counts cannot be loaded", async () => {
    await open(
      {},
      async (page) => {
        assert.match(await page.locator("#calculator-place").innerText(), /could not be loaded/);
      },
      async (page) => {
        await page.route("**/costs.json", (route) => route.abort());
      },
    );
  });

  test("/docs/costs: every link works", async () => {
    await open({}, async (page) => {
      const links = /** @type {string[]} */ (
        await page.evaluate(
          `[...document.querySelectorAll("a, img")].map((it) => it.href ?? it.src)`,
        )
      );
      for (const link of new Set(links)) {
        const { pathname, hash } = new URL(link);
        if (pathname === "/docs/costs" && hash !== "") {
          assert.equal(await page.locator(`[id="${hash.slice(1)}"]`).count(), 1, link);
        } else {
          assert.equal((await page.request.get(link)).status(), 200, link);
        }
      }
    });
  });

  test("/docs/costs: fits a phone", async () => {
    for (const width of [320, 360, 768]) {
      await open({ viewport: { width, height: 740 } }, async (page) => {
        assert.equal(await page.evaluate("document.documentElement.scrollWidth"), width);
      });
    }
  });

  test("/docs/costs: works without JavaScript", async () => {
    await open({ javaScriptEnabled: false }, async (page) => {
      const text = await page.locator("main").innerText();
      for (const { name } of operators) assert.ok(text.includes(name), name);
      assert.match(text, /needs JavaScript/);
      assert.equal(await page.getByRole("spinbutton").count(), 0);
    });
  });

  for (const colorScheme of /** @type {const} */ (["light", "dark"])) {
    for (const width of [1280, 360]) {
      test(`/docs/costs: axe finds no violation (${colorScheme}, ${width} pixels wide)`, async () => {
        await open({ colorScheme, viewport: { width, height: 800 } }, async (page) => {
          assert.deepEqual(await violations(page), []);
        });
      });
    }
  }
});
