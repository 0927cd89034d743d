// @ts-check
//! The pages of a claim link in a real browser: the offer, the key, and the browser's state afterwards.
//!
//! Chromium is CHROMIUM or /usr/bin/chromium; without one the tests are skipped. If SCREENSHOTS is a folder, a
//! picture of each page is written there.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Gateway, KEY_HASH, OPERATOR_KEY, OPERATOR_LABEL, operate } from "../e2e/harness.mjs";
import { launch, skip, violations } from "./chromium.mjs";
import { digest } from "../../scripts/lib/gateway-key.mjs";

const START_MS = 120_000; // the first start may build the Worker
const KEY_TEXT = /gw_[0-9A-Za-z]{49}/;

/** @typedef {import("playwright-core").Page} Page */

describe("/access/claim", { skip }, () => {
  /** @type {import("playwright-core").Browser} */
  let browser;
  /** @type {Gateway} */
  let gateway;
  let links = 0;

  before(
    async () => {
      gateway = await Gateway.start({
        GATEWAY_API_KEY_HASHES: `testing:${KEY_HASH}`,
        GATEWAY_ADMIN_KEY_HASHES: `${OPERATOR_LABEL}:${digest(OPERATOR_KEY)}`,
      });
      browser = await launch();
    },
    { timeout: START_MS },
  );
  after(async () => {
    await browser?.close();
    await gateway?.stop();
  });

  /** Creates a key behind a claim link. */
  async function link() {
    links += 1;
    const body = { name: `claimed-${links}`, delivery: "claim" };
    const answer = await operate(gateway, "POST", "/v0/api_keys", body);
    assert.equal(answer.status, 201);
    const { claim_url: url } = await answer.json();
    return { name: body.name, url: String(url) };
  }

  /** @param {string} name of a key */
  async function secretsOf(name) {
    const [key] = await (await operate(gateway, "GET", `/v0/api_keys/${name}`)).json();
    return key.secrets.map((/** @type {any} */ secret) => secret.public_id);
  }

  /**
   * Opens a page and collects the browser's messages.
   *
   * @param {import("playwright-core").BrowserContextOptions} options
   * @param {(page: Page, seen: { complaints: string[], requests: string[] }) => Promise<void>} use
   */
  async function open(options, use) {
    const context = await browser.newContext(options);
    try {
      const page = await context.newPage();
      const seen = {
        complaints: /** @type {string[]} */ ([]),
        requests: /** @type {string[]} */ ([]),
      };
      page.on("console", (message) => seen.complaints.push(`${message.type()}: ${message.text()}`));
      page.on("pageerror", (error) => seen.complaints.push(String(error)));
      page.on("request", (request) => seen.requests.push(request.url()));
      await use(page, seen);
    } finally {
      await context.close();
    }
  }

  const button = (/** @type {Page} */ page) => page.getByRole("button", { name: "Show my key" });

  /**
   * @param {Page} page
   * @returns {Promise<string>} the key
   */
  async function reveal(page) {
    await button(page).click();
    await page.getByRole("heading", { name: "Your key", exact: true }).waitFor();
    const key = await page.locator("#key").textContent();
    assert.match(key ?? "", KEY_TEXT);
    return key ?? "";
  }

  /**
   * @param {Page} page
   * @param {string} name
   */
  async function picture(page, name) {
    const folder = process.env.SCREENSHOTS;
    if (folder) await page.screenshot({ path: `${folder}/claim-${name}.png`, fullPage: true });
  }

  test("/access/claim: a button shows the key without console errors or requests to other hosts", async () => {
    const { name, url } = await link();
    await open({}, async (page, { complaints, requests }) => {
      const response = await page.goto(url);
      assert.equal(response?.status(), 200);
      assert.equal(await page.title(), "Your key is ready");
      assert.ok(!KEY_TEXT.test(await page.content()));
      assert.deepEqual(await secretsOf(name), []);
      const key = await reveal(page);
      assert.deepEqual(await secretsOf(name), [key.slice(0, 13)]);
      assert.ok(await page.locator("#key").isVisible());
      assert.deepEqual(complaints, []);
      const elsewhere = requests.filter((request) => new URL(request).origin !== gateway.url);
      assert.deepEqual(elsewhere, []);
    });
  });

  test("/access/claim: works with the keyboard alone", async () => {
    const { url } = await link();
    await open({}, async (page) => {
      await page.goto(url);
      await page.keyboard.press("Tab");
      assert.equal(await page.locator(":focus").textContent(), "Show my key");
      const outline = "getComputedStyle(document.activeElement).outlineStyle";
      assert.equal(await page.evaluate(outline), "solid");
      await page.keyboard.press("Enter");
      await page.getByRole("heading", { name: "Your key", exact: true }).waitFor();
      await page.keyboard.press("Tab");
      assert.equal(await page.locator(":focus").textContent(), "Copy");
    });
  });

  test("/access/claim: a button copies the key", async () => {
    const { url } = await link();
    const permissions = ["clipboard-read", "clipboard-write"];
    await open({ permissions }, async (page) => {
      await page.goto(url);
      const key = await reveal(page);
      await page.getByRole("button", { name: "Copy", exact: true }).click();
      await page.getByRole("button", { name: "Copied" }).waitFor();
      assert.equal(await page.evaluate("navigator.clipboard.readText()"), key);
      await picture(page, "copied");
    });
  });

  test("/access/claim: reports when copying is not allowed", async () => {
    const { url } = await link();
    await open({}, async (page, { complaints }) => {
      await page.addInitScript(
        `navigator.clipboard.writeText = () => Promise.reject(new Error("denied"))`,
      );
      await page.goto(url);
      await reveal(page);
      await page.getByRole("button", { name: "Copy", exact: true }).click();
      await page.getByRole("button", { name: "Select the key and copy it yourself" }).waitFor();
      assert.deepEqual(complaints, []);
    });
  });

  test("/access/claim: history navigation and reload do not show the key again", async () => {
    const { name, url } = await link();
    await open({}, async (page) => {
      await page.goto(`${gateway.url}/docs`);
      await page.goto(url);
      const key = await reveal(page);
      const without = async (/** @type {string} */ what) =>
        assert.ok(!(await page.content()).includes(key), `${what} shows the key`);
      await page.reload();
      await without("loading again");
      await picture(page, "reloaded");
      await page.goBack();
      await without("going back");
      await picture(page, "back");
      await page.goForward();
      await without("going forth");
      await page.goto(url);
      await without("the link");
      await button(page).click();
      await page.getByRole("heading", { name: "Link already used" }).waitFor();
      assert.equal(await button(page).count(), 0);
      assert.deepEqual(await secretsOf(name), [key.slice(0, 13)]);
    });
  });

  test("/access/claim: going back from the key and forward again does not show it", async () => {
    const { name, url } = await link();
    await open({}, async (page) => {
      await page.goto(`${gateway.url}/docs`);
      await page.goto(url);
      const key = await reveal(page);
      await page.goBack();
      assert.ok(!(await page.content()).includes(key));
      await page.goForward();
      assert.ok(!(await page.content()).includes(key));
      assert.deepEqual(await secretsOf(name), [key.slice(0, 13)]);
    });
  });

  test("/access/claim: of two windows with the page only one shows the key", async () => {
    const { url } = await link();
    await open({}, async (page) => {
      await page.goto(url);
      await open({}, async (other) => {
        await other.goto(url);
        await reveal(page);
        await button(other).click();
        await other.getByRole("heading", { name: "Link already used" }).waitFor();
        assert.ok(!KEY_TEXT.test(await other.content()));
      });
    });
  });

  test("/access/claim: the token is in no request's URL", async () => {
    const { url } = await link();
    const token = new URL(url).hash.slice(1);
    await open({}, async (page, { requests }) => {
      await page.goto(url);
      assert.ok(!(await page.getByLabel("The link that you were given").isVisible()));
      await reveal(page);
      const sent = requests.map((request) => request.split("#")[0]);
      assert.ok(sent.length >= 2 && !sent.join("\n").includes(token.slice(4)));
    });
  });

  test("/access/claim: a second link in the same window shows its own key", async () => {
    const [first, second] = [await link(), await link()];
    await open({}, async (page) => {
      await page.goto(first.url);
      await page.evaluate(`location.hash = ${JSON.stringify(new URL(second.url).hash)}`);
      const key = await reveal(page);
      assert.deepEqual(await secretsOf(second.name), [key.slice(0, 13)]);
      assert.deepEqual(await secretsOf(first.name), []);
    });
  });

  test("/access/claim: without JavaScript the pasted link shows the key", async () => {
    const { url } = await link();
    await open({ javaScriptEnabled: false }, async (page, { complaints }) => {
      await page.goto(url);
      await page.getByLabel("The link that you were given").fill(url);
      await picture(page, "without-script-offer");
      await reveal(page);
      assert.equal(await page.getByRole("button").count(), 0);
      assert.deepEqual(complaints, []);
      await picture(page, "without-script");
      await page.reload();
      assert.ok(!KEY_TEXT.test(await page.content()));
    });
  });

  test("/access/claim: its policy blocks foreign scripts and framing", async () => {
    const { url } = await link();
    await open({}, async (page) => {
      await page.goto(url);
      await page.evaluate(`{
        const script = document.createElement("script");
        script.textContent = "window.foreign = true";
        document.body.append(script);
        const button = document.createElement("button");
        button.setAttribute("onclick", "window.foreign = true");
        document.body.append(button);
        button.click();
      }`);
      assert.equal(await page.evaluate("window.foreign"), undefined);
    });
    await open({}, async (page) => {
      await page.goto(`${gateway.url}/v1/models`);
      await page.setContent(`<iframe src="${url}"></iframe>`);
      const [, frame] = page.frames();
      await frame?.waitForLoadState();
      assert.match(frame?.url() ?? "", /^chrome-error:/);
      assert.equal(await frame?.getByRole("button", { name: "Show my key" }).count(), 0);
    });
  });

  test("/access/claim: fits a phone, including the key", async () => {
    for (const width of [320, 360, 768]) {
      const { url } = await link();
      await open({ viewport: { width, height: 740 } }, async (page) => {
        const fits = async () =>
          assert.equal(await page.evaluate("document.documentElement.scrollWidth"), width);
        await page.goto(url);
        await fits();
        await picture(page, `offer-${width}`);
        await reveal(page);
        await fits();
        await picture(page, `key-${width}`);
        await page.goto(url);
        await button(page).click();
        await page.getByRole("heading", { name: "Link already used" }).waitFor();
        await fits();
        await picture(page, `used-${width}`);
      });
    }
  });

  for (const colorScheme of /** @type {const} */ (["light", "dark"])) {
    test(`/access/claim: axe finds no violation (${colorScheme})`, async () => {
      const { url } = await link();
      await open({ colorScheme, viewport: { width: 1280, height: 800 } }, async (page) => {
        await page.goto(url);
        assert.deepEqual(await violations(page), []);
        await picture(page, `offer-${colorScheme}`);
        await reveal(page);
        assert.deepEqual(await violations(page), []);
        await picture(page, `key-${colorScheme}`);
        await page.goto(url);
        await button(page).click();
        await page.getByRole("heading", { name: "Link already used" }).waitFor();
        assert.deepEqual(await violations(page), []);
        await picture(page, `used-${colorScheme}`);
        await page.goto(`${gateway.url}/access/claim`);
        assert.deepEqual(await violations(page), []);
        await picture(page, `nowhere-${colorScheme}`);
      });
    });
  }

  for (const [
    what,
    options,
  ] of /** @type {[string, import("playwright-core").BrowserContextOptions][]} */ ([
    ["light, wide", { colorScheme: "light", viewport: { width: 1280, height: 800 } }],
    [
      "dark, phone, without JavaScript",
      { colorScheme: "dark", viewport: { width: 320, height: 740 }, javaScriptEnabled: false },
    ],
  ])) {
    test(`/access/request-key: the form reports a fault, keeps the values and is sent (${what})`, async () => {
      await open(options, async (page, { complaints, requests }) => {
        const name = what.replace(/\W+/g, "-");
        const check = async () => {
          // Without JavaScript axe cannot run.
          if (options.javaScriptEnabled === false) return;
          assert.deepEqual(await violations(page), []);
          const width = await page.evaluate("document.documentElement.scrollWidth");
          assert.equal(width, options.viewport?.width);
        };
        await page.goto(`${gateway.url}/access/request-key`);
        await check();
        await picture(page, `request-${name}`);
        // Valid for the browser, but not for the gateway.
        await page.getByLabel("E-mail address").fill("ada@localhost");
        await page.getByLabel("Purpose of the key").fill("Trying\nthe form");
        await page.getByLabel("Intended use").selectOption("internal");
        await page.getByRole("button", { name: "Send the request" }).click();
        await page.getByRole("alert").waitFor();
        assert.match((await page.getByRole("alert").textContent()) ?? "", /'email' must be/);
        assert.equal(await page.getByLabel("Purpose of the key").inputValue(), "Trying\nthe form");
        assert.equal(await page.getByLabel("Intended use").inputValue(), "internal");
        await check();
        await picture(page, `request-fault-${name}`);
        await page.getByLabel("E-mail address").fill("ada@example.com");
        await page.getByRole("button", { name: "Send the request" }).click();
        await page.getByRole("heading", { name: "Request received" }).waitFor();
        await check();
        await picture(page, `request-received-${name}`);
        const failed = complaints.filter((one) => !/status of 400/.test(one));
        assert.deepEqual(failed, []);
        assert.deepEqual(
          requests.filter((one) => new URL(one).origin !== gateway.url),
          [],
        );
      });
    });
  }
});
