// @ts-check
//! The console and the page of key holders in a real browser, on one gateway with sample data and hostile texts: every screen, every
//! action to its effect in the API, axe in both schemes and on a phone, and the size of what is loaded.
//!
//! Chromium is CHROMIUM or /usr/bin/chromium; without one the tests are skipped. If SCREENSHOTS is a folder, a picture of each
//! screen is written there.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync, readdirSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";
import { LIMITS } from "../../console/limits.mjs";
import {
  Gateway,
  KEY,
  OPERATOR_KEY,
  Upstream,
  chat,
  eventually,
  operate,
  requestKey,
} from "../e2e/harness.mjs";
import { launch, skip, violations } from "./chromium.mjs";
import { HOSTILE, consoleVariables, fill } from "./console-data.mjs";

const START_MS = 120_000; // the first start may build the Worker

const execute = promisify(execFile);
/** The settings of tools on /key, and words that each has beside the address of the gateway. */
const TOOLS = {
  curl: ["/v1/chat/completions", "demo/sim-small"],
  Python: ["base_url", "demo/sim-small"],
  "Node.js": ["baseURL", "demo/sim-small"],
  "Claude Code": ["ANTHROPIC_BASE_URL", "demo/sim-small"],
  Codex: ['wire_api = "responses"', "demo/sim-small"],
  Cursor: ["Override OpenAI Base URL", "demo/sim-small"],
  Continue: ["apiBase", "demo/sim-small"],
  Cline: ["OpenAI Compatible", "demo/sim-small"],
  "Open WebUI": ["OPENAI_API_BASE_URL"],
  LibreChat: ["baseURL", "demo/sim-small"],
};
/**
 * Those of them that are programs. Node.js finds the SDK in the packages of the repository.
 *
 * @type {Record<string, { command: string, options: string[] }>}
 */
const PROGRAMS = {
  curl: { command: "bash", options: ["-c"] },
  "Node.js": { command: "node", options: ["--input-type=module", "-e"] },
};

/** @typedef {import("playwright-core").Page} Page */

// All of it takes about a minute; on a busy machine several.
describe("/console and /key", { skip, timeout: 400_000 }, () => {
  /** @type {import("playwright-core").Browser} */
  let browser;
  /** @type {Upstream} */
  let upstream;
  /** @type {Gateway} */
  let gateway;
  /** @type {Record<string, string>} */
  let keys;
  /** The page of the operator, which all tests use. @type {Page} */
  let page;
  /** Complaints of the browser, and requests to other hosts. @type {string[]} */
  let complaints;
  /** Errors of responses that a test expects, since the browser reports them too. */
  let expected = 0;

  before(
    async () => {
      upstream = await Upstream.start();
      gateway = await Gateway.start(consoleVariables(upstream));
      keys = await fill(gateway);
      browser = await launch();
      complaints = [];
      page = await open();
      await signIn(page, "/console", OPERATOR_KEY);
    },
    { timeout: START_MS },
  );
  after(async () => {
    await browser?.close();
    await gateway?.stop();
    await upstream?.stop();
  });

  /** @param {import("playwright-core").BrowserContextOptions} [options] */
  async function open(options = {}) {
    const context = await browser.newContext({
      viewport: { width: 1360, height: 900 },
      permissions: ["clipboard-read", "clipboard-write"],
      ...options,
    });
    const opened = await context.newPage();
    opened.setDefaultTimeout(10_000);
    opened.on("console", (message) => {
      if (message.type() === "error" && expected > 0) expected -= 1;
      else complaints.push(`${message.type()}: ${message.text()} ${message.location().url}`);
    });
    opened.on("pageerror", (error) => complaints.push(String(error)));
    opened.on("request", (request) => {
      const url = request.url();
      if (!url.startsWith(gateway.url) && !url.startsWith("blob:")) complaints.push(url);
      if (url.includes("gw_")) complaints.push(`a key is in a URL: ${url}`);
    });
    await opened.addInitScript(
      `addEventListener("securitypolicyviolation", ({ violatedDirective }) => console.warn("CSP: " + violatedDirective))`,
    );
    return opened;
  }

  /**
   * @param {Page} at
   * @param {string} path
   * @param {string} key
   */
  async function signIn(at, path, key) {
    const response = await at.goto(`${gateway.url}${path}`);
    assert.equal(response?.status(), 200);
    await at.locator("#sign-in-key").fill(key);
    await at.getByRole("button", { name: "Sign in" }).click();
    await at.locator("#main h1").waitFor();
  }

  /**
   * Opens a screen by its address, without a new load of the page.
   *
   * @param {string} hash
   * @param {string} heading
   */
  async function show(hash, heading) {
    await page.evaluate(`location.hash = ${JSON.stringify(hash)}`);
    await page.getByRole("heading", { level: 1, name: heading, exact: true }).waitFor();
    await settled(page);
  }

  /** Waits until everything that a screen loads is there. @param {Page} at */
  async function settled(at) {
    await at.locator(".skeleton, .progress").first().waitFor({ state: "detached" });
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {object} [body]
   * @returns {Promise<any>}
   */
  async function api(method, path, body) {
    const response = await operate(gateway, method, path, body);
    return response.status === 200 ? response.json() : { status: response.status };
  }

  /** @param {string} name */
  const dialog = (name) => page.getByRole("dialog", { name });
  const closed = () => page.locator("dialog[open]").first().waitFor({ state: "detached" });

  /** The number of clicks of `act`, and nothing that fails to look like a click. @param {(click: (locator: import("playwright-core").Locator) => Promise<void>) => Promise<void>} act */
  async function clicks(act) {
    let number = 0;
    await act(async (locator) => {
      number += 1;
      await locator.click();
    });
    return number;
  }

  test("console: files are within their limits, and responses have the strict policy", async () => {
    const folder = new URL("../../dist/console/files/", import.meta.url);
    const sizes = Object.fromEntries(
      readdirSync(folder).map((name) => [
        name,
        gzipSync(readFileSync(new URL(name, folder)), { level: 9 }).length,
      ]),
    );
    const all = Object.values(sizes).reduce((sum, size) => sum + size, 0);
    assert.ok(all <= LIMITS.all, `${all} bytes: ${JSON.stringify(sizes)}`);
    const fresh = await open();
    const loaded = /** @type {string[]} */ ([]);
    fresh.on("response", (response) => loaded.push(new URL(response.url()).pathname));
    await signIn(fresh, "/console", OPERATOR_KEY);
    await settled(fresh);
    const first = loaded
      .filter((path) => path.startsWith("/console/files/"))
      .reduce((sum, path) => sum + (sizes[path.split("/").at(-1) ?? ""] ?? Infinity), 0);
    assert.ok(first > 10_000 && first <= LIMITS.first, `the first view loads ${first} bytes`);
    await fresh.context().close();
    for (const path of ["/console", "/key"]) {
      const response = await fetch(`${gateway.url}${path}`);
      const policy = response.headers.get("content-security-policy") ?? "";
      assert.match(policy, /default-src 'none'/);
      assert.doesNotMatch(policy, /unsafe|https?:|\*/);
      assert.equal(response.headers.get("x-frame-options"), "DENY");
      assert.equal(response.headers.get("referrer-policy"), "no-referrer");
      assert.doesNotMatch(await response.text(), /<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=/);
    }
    const [file] = Object.keys(sizes);
    const cached = await fetch(`${gateway.url}/console/files/${file}`);
    assert.match(cached.headers.get("cache-control") ?? "", /immutable/);
  });

  test("console: wrong keys are rejected with clear words, and a key stays in its tab", async () => {
    const fresh = await open();
    await fresh.goto(`${gateway.url}/console`);
    for (const [key, words] of [
      ["hunter2", /keys begin with gw_/],
      [KEY, /key of a caller/],
      [
        OPERATOR_KEY.slice(0, -1) + (OPERATOR_KEY.endsWith("0") ? "1" : "0"),
        /does not know this key/,
      ],
    ]) {
      expected += 1;
      await fresh.locator("#sign-in-key").fill(String(key));
      await fresh.getByRole("button", { name: "Sign in" }).click();
      await fresh
        .getByRole("alert")
        .filter({ hasText: /** @type {RegExp} */ (words) })
        .waitFor();
    }
    await signIn(fresh, "/console", OPERATOR_KEY);
    await fresh.reload();
    await fresh.getByRole("heading", { level: 1, name: "Overview" }).waitFor();
    assert.equal(await fresh.evaluate("JSON.stringify(localStorage).includes('gw_')"), false);
    const other = await fresh.context().newPage();
    await other.goto(`${gateway.url}/console`);
    await other.locator("#sign-in-key").waitFor();
    await fresh.getByRole("button", { name: "Sign out" }).click();
    await fresh.locator("#sign-in-key").waitFor();
    assert.equal(await fresh.evaluate("sessionStorage.length"), 0);
    await fresh.context().close();
  });

  test("console: a request is approved with a budget in at most four clicks from the overview", async () => {
    await show("#/", "Overview");
    const asked = await (
      await requestKey(gateway, { email: "four-clicks@example.com", use_case: "Four clicks" })
    ).json();
    const number = await clicks(async (click) => {
      await click(page.getByRole("link", { name: "Requests" }).first());
      const row = page.locator(".request").filter({ hasText: "four-clicks@example.com" });
      await click(row.getByRole("button", { name: "Approve" }));
      await dialog("Approve request").waitFor();
      await page.keyboard.type("25");
      await click(dialog("Approve request").getByRole("button", { name: "Approve" }));
    });
    assert.ok(number <= 4, `${number} clicks`);
    const link = dialog("Approved").getByLabel("Claim link");
    assert.match((await link.textContent()) ?? "", /\/access\/claim#clm_/);
    await dialog("Approved").getByRole("button", { name: "Done" }).click();
    await closed();
    const [key] = await api("GET", `/v0/api_keys/${asked.request_id}`);
    assert.deepEqual(key.limits, { usd_per_month: 25 });
  });

  test("console: requests are approved and declined together, and with the keyboard", async () => {
    await Promise.all(
      ["one", "two", "three"].map((name) =>
        requestKey(gateway, { email: `${name}@bulk.example`, use_case: "Bulk" }),
      ),
    );
    await show("#/overview", "Overview");
    await page.keyboard.press("g");
    await page.keyboard.press("r");
    await page.getByRole("heading", { level: 1, name: "Requests" }).waitFor();
    const rows = page.locator(".request").filter({ hasText: "@bulk.example" });
    await rows.nth(2).waitFor();
    for (const n of [0, 1]) await rows.nth(n).getByRole("checkbox").check();
    await page.keyboard.press("a");
    await dialog("Approve 2 requests")
      .getByRole("checkbox", { name: /^trial/ })
      .check();
    await dialog("Approve 2 requests").getByRole("button", { name: "Approve 2" }).click();
    await page.locator("dialog .issued").nth(1).waitFor();
    await dialog("Approved").getByRole("button", { name: "Done" }).click();
    await eventually(async () => (await rows.count()) === 1);
    await rows.getByRole("button", { name: "Decline" }).click();
    const decline = dialog("Decline request");
    await decline.getByRole("button", { name: /only for members/ }).click();
    await decline.getByRole("button", { name: "Decline" }).click();
    await eventually(async () => (await rows.count()) === 0);
    const { Data } = await api("GET", "/api/portal/requests?declined=true");
    assert.match(Data[0].decline_reason, /only for members/);
    const at = page.locator(".request.at");
    for (const key of ["j", "j", "k"]) await page.keyboard.press(key);
    assert.equal(await at.count(), 1);
    assert.ok(
      await page
        .locator(".request")
        .first()
        .evaluate((row) => row.matches(".at")),
    );
    await page.keyboard.press("x");
    assert.ok(await at.getByRole("checkbox").isChecked());
    await page.keyboard.press("x");
    await page.keyboard.press("d");
    await dialog("Decline request").waitFor();
    await page.keyboard.press("Escape");
    await closed();
    await page.keyboard.press("?");
    await dialog("Keyboard").getByText("Approve", { exact: true }).waitFor();
    await page.keyboard.press("Escape");
  });

  test("console: a request is found and approved with name, policy, budget, end and delivery, by keyboard", async () => {
    const email = "by-keyboard@example.com";
    const asked = await (await requestKey(gateway, { email, use_case: "Every field" })).json();
    await show("#/requests", "Requests");
    await page.keyboard.press("/");
    await page.keyboard.type(email.toUpperCase());
    const row = page.locator(".request");
    await eventually(async () => (await row.count()) === 1);
    await page.keyboard.press("Tab");
    await page.keyboard.press("j");
    await page.keyboard.press("a");
    const approve = dialog("Approve request");
    await approve.getByText("Every field").waitFor();
    await approve.getByLabel("Name of the key").fill("by-keyboard");
    await approve.getByRole("checkbox", { name: /^team/ }).check();
    await approve.getByLabel("Budget per month").fill("12.5");
    await approve.getByLabel("Expires").fill("2031-05-06");
    await approve.getByLabel("Delivery").selectOption("key");
    await page.keyboard.press("Enter");
    const secret = await dialog("Approved").getByLabel("Key", { exact: true }).textContent();
    assert.match(secret ?? "", /^gw_/);
    await dialog("Approved").getByRole("link", { name: "Open the key" }).click();
    await page.getByRole("heading", { level: 1, name: "by-keyboard" }).waitFor();
    await page.locator(".lead").getByText(email).waitFor();
    const [key] = await api("GET", "/v0/api_keys/by-keyboard");
    assert.deepEqual(
      [key.request_id, key.policies, key.limits, key.email],
      [asked.request_id, ["team"], { usd_per_month: 12.5 }, email],
    );
    assert.match(key.expires_at, /^2031-05-0[67]T/);
    await show(`#/requests?state=approved&q=${asked.request_id}`, "Requests");
    await page.getByRole("link", { name: "Find the key" }).click();
    await page.getByRole("link", { name: "by-keyboard" }).click();
    await page.getByRole("heading", { level: 1, name: "by-keyboard" }).waitFor();
  });

  test("console: a key holder asks for more, and the approval raises the limit", async () => {
    const made = await operate(gateway, "POST", "/v0/api_keys", {
      name: "wants-more",
      limits: { requests_per_day: 5, concurrent: 2 },
    });
    const { api_key: key } = await made.json();
    const holder = await open();
    await signIn(holder, "/key", key);
    await holder.getByRole("button", { name: "Ask for more" }).click();
    const ask = holder.getByRole("dialog", { name: "Ask for more" });
    await ask.getByText("Now: 5 calls a day, 2 at once.").waitFor();
    await ask.getByLabel("Calls per day").fill("5");
    await ask.getByLabel("Why do you need more?").fill("More <b>tests</b>");
    expected += 1;
    await ask.getByRole("button", { name: "Send" }).click();
    await ask.getByText("must be above the present limit").waitFor();
    await ask.getByLabel("Calls per day").fill("50");
    await ask.getByRole("button", { name: "Send" }).click();
    await holder.getByText("Your request has been received.").waitFor();
    await show("#/requests", "Requests");
    const row = page.locator(".request").filter({ hasText: "higher limits for wants-more" });
    await row.getByText("More <b>tests</b>").waitFor();
    await row.getByRole("button", { name: "Approve" }).click();
    const approve = dialog("Approve request");
    await approve.getByText("asks for 50 calls a day instead of 5 calls a day").waitFor();
    await approve.getByRole("button", { name: "Approve" }).click();
    await dialog("Approved").getByText("The limits of the key are raised.").waitFor();
    await dialog("Approved").getByRole("link", { name: "Open the key" }).click();
    await page.getByRole("heading", { level: 1, name: "wants-more" }).waitFor();
    const [{ limits }] = await api("GET", "/v0/api_keys/wants-more");
    assert.deepEqual(limits, { requests_per_day: 50, concurrent: 2 });
    await holder.getByText("50 left of 50").waitFor({ timeout: 20_000 });
    await holder.context().close();
  });

  test("console: the budget of a key is raised in at most four clicks, and the change can be taken back", async () => {
    await show("#/", "Overview");
    const number = await clicks(async (click) => {
      await click(page.getByRole("link", { name: "Keys", exact: true }).first());
      await click(page.getByRole("link", { name: "checkout-service" }));
      await click(page.getByRole("button", { name: "Edit limits" }));
      await dialog("Limits of checkout-service").waitFor();
      await page.keyboard.type("1500");
      await click(dialog("Limits of checkout-service").getByRole("button", { name: "Save" }));
    });
    assert.ok(number <= 4, `${number} clicks`);
    await closed();
    const limits = async () => (await api("GET", "/v0/api_keys/checkout-service"))[0].limits;
    assert.deepEqual(await limits(), { usd_per_month: 1500 });
    await page.getByRole("button", { name: "Undo" }).click();
    await eventually(async () => Object.keys(await limits()).length === 0);
  });

  test("console: the page of a key has its limits, usage and verified receipts", async () => {
    await show("#/keys/checkout-service", "checkout-service");
    await page.getByRole("meter", { name: "Budget per month" }).first().waitFor();
    const { cost_usd, receipts } = await api("GET", "/usage?key=checkout-service&days=7");
    assert.ok(cost_usd > 0);
    await page
      .locator(".stat")
      .filter({ hasText: "Calls" })
      .getByText("12", { exact: true })
      .waitFor();
    await page.getByRole("button", { name: "Verify chain" }).click();
    await page.getByText(`${receipts.count} receipts verified in this browser`).waitFor();
    await page.locator("table.rows tbody button").first().click();
    await page.locator(".receipt").getByText(receipts.head).waitFor();
    await page.getByRole("button", { name: "Tokens" }).click();
    assert.match(page.url(), /measure=tokens/);
    const download = page.waitForEvent("download");
    await page.getByRole("button", { name: "CSV" }).click();
    const lines = readFileSync(await (await download).path(), "utf8")
      .trim()
      .split("\r\n");
    assert.equal(lines.length, receipts.count + 1);
  });

  test("console: a key is created, disabled, rotated, restricted, and revoked by typing its name", async () => {
    await show("#/keys", "Keys");
    await page.getByRole("button", { name: "Create a key" }).click();
    const create = dialog("Create a key");
    await create.getByLabel("Name").fill("made-here");
    await create.getByLabel("Delivery").selectOption("key");
    await create.getByRole("checkbox", { name: /^team/ }).check();
    await create.getByLabel("Calls per day").fill("10");
    await create.getByRole("button", { name: "Create" }).click();
    const secret = await dialog("The key is ready")
      .getByLabel("Key", { exact: true })
      .textContent();
    assert.match(secret ?? "", /^gw_/);
    await dialog("The key is ready").getByRole("button", { name: "Copy" }).click();
    assert.equal(await page.evaluate("navigator.clipboard.readText()"), secret);
    await dialog("The key is ready").getByRole("button", { name: "Done" }).click();
    await page.getByRole("link", { name: "made-here" }).click();
    await page.getByRole("heading", { level: 1, name: "made-here" }).waitFor();
    await page.getByRole("button", { name: "Disable" }).click();
    await page.getByRole("button", { name: "Enable" }).waitFor();
    assert.equal((await api("GET", "/v0/api_keys/made-here"))[0].state, "disabled");
    await page.getByRole("button", { name: "Enable" }).click();
    await page.getByRole("button", { name: "Disable" }).waitFor();
    await page.getByRole("button", { name: "Rotate" }).click();
    const rotate = dialog("Rotate made-here");
    await rotate.getByLabel("Delivery").selectOption("key");
    await rotate.getByRole("button", { name: "Create a new secret" }).click();
    await dialog("The new secret").getByRole("button", { name: "Done" }).click();
    await page.getByRole("button", { name: "Edit permissions" }).click();
    const edit = dialog("Permissions of made-here");
    await edit.getByLabel("Models").fill("demo/*");
    await edit.getByLabel("Metadata").fill("team=console\nowner=me");
    await edit.getByRole("button", { name: "Save" }).click();
    await closed();
    const [key] = await api("GET", "/v0/api_keys/made-here");
    assert.deepEqual(key.models, ["demo/*"]);
    assert.deepEqual(key.metadata, { team: "console", owner: "me" });
    assert.equal(key.secrets.length, 2);
    await show("#/", "Overview");
    const number = await clicks(async (click) => {
      await click(page.getByRole("link", { name: "Keys", exact: true }).first());
      await click(page.getByRole("link", { name: "made-here" }));
      await click(page.getByRole("button", { name: "Revoke" }));
      const revoke = dialog("Revoke this key").getByRole("button", { name: "Revoke" });
      assert.ok(await revoke.isDisabled());
      await page.keyboard.type("made-here");
      await click(revoke);
    });
    assert.ok(number <= 4, `${number} clicks`);
    await page.getByRole("heading", { level: 1, name: "Keys" }).waitFor();
    assert.equal((await api("GET", "/v0/api_keys/made-here")).status, 404);
  });

  test("console: why a provider fails is one click away from the overview", async () => {
    await show("#/", "Overview");
    const number = await clicks((click) =>
      click(page.locator("main").getByRole("link", { name: "broken", exact: true })),
    );
    assert.ok(number <= 4);
    await page.getByText("The model is overloaded, try again later").first().waitFor();
    await page.getByText("503").first().waitFor();
  });

  test("console: a lane is paused and resumed", async () => {
    await show("#/providers/demo", "demo");
    await page.getByRole("button", { name: "Pause demo:0/sim-large" }).click();
    await dialog("Pause demo:0/sim-large").getByRole("button", { name: "Pause" }).click();
    await page.getByRole("button", { name: "Resume demo:0/sim-large" }).waitFor();
    const lane = async () =>
      (await api("GET", "/v0/lanes")).find(
        (/** @type {any} */ { id }) => id === "demo:0/sim-large",
      );
    await eventually(async () => (await lane()).cooldown?.reason === "operator");
    await page.getByRole("button", { name: "Resume demo:0/sim-large" }).click();
    await page.getByRole("button", { name: "Pause demo:0/sim-large" }).waitFor();
    await eventually(async () => (await lane()).cooldown === null);
  });

  test("console: a key of a provider is added, tested, changed and deleted, and is never shown", async () => {
    const secret = "sk-console-0123456789abcdefWXYZ";
    await show("#/providers?all=1", "Providers");
    await page.getByRole("link", { name: "keyless", exact: true }).click();
    await page.getByRole("heading", { level: 1, name: "keyless" }).waitFor();
    await page.getByRole("button", { name: "Add a key" }).click();
    const add = dialog("Add a key of keyless");
    await add.getByLabel("Key", { exact: true }).fill(secret);
    await add.getByLabel("Name").fill("team account");
    await add.getByRole("button", { name: "Add" }).click();
    await closed();
    const row = page.locator("tbody tr").filter({ hasText: "team account" });
    await row.getByText("…WXYZ").waitFor();
    await page.getByRole("button", { name: "Edit team account" }).click();
    await dialog("Key team account").getByLabel("Weight").fill("3");
    await dialog("Key team account").getByRole("button", { name: "Save" }).click();
    await closed();
    await page.getByRole("button", { name: "Test team account" }).click();
    await dialog("Test team account").getByRole("button", { name: "Make the call" }).click();
    await page.getByText(/team account works: keyless\/sim-small responded/).waitFor();
    assert.ok(!(await page.content()).includes(secret));
    const stored = async () =>
      (await api("GET", "/v0/providers")).find((/** @type {any} */ { name }) => name === "keyless")
        .keys;
    assert.equal((await stored())[0].weight, 3);
    await page.getByRole("button", { name: "Delete team account" }).click();
    await dialog("Delete this key").waitFor();
    await page.keyboard.type("team account");
    await dialog("Delete this key").getByRole("button", { name: "Delete" }).click();
    await closed();
    assert.deepEqual(await stored(), []);
  });

  test("console: the self-test reports each check", async () => {
    await show("#/selftest", "Self-test");
    await page.getByRole("button", { name: "Run the test" }).first().click();
    await page.locator("tbody tr").filter({ hasText: "database" }).getByText("Good").waitFor();
    await page.getByRole("button", { name: "Test the providers too" }).click();
    await dialog("Test the providers too").getByRole("button", { name: "Make the calls" }).click();
    await page.locator("tbody tr").filter({ hasText: "provider demo" }).getByText("Good").waitFor();
    await closed();
  });

  test("console: alerts are set up after a dry run, shown on the overview, tested and reset", async () => {
    await show("#/alerts", "Alerts");
    await page.getByRole("heading", { name: "No alert holds" }).waitFor();
    await page.getByText("No alert has begun or ended in the last 30 days.").waitFor();
    await page.getByRole("button", { name: "Send a test" }).click();
    const slack = page.getByRole("group", { name: "Channels" }).getByRole("row", { name: /Slack/ });
    await slack.getByText("the receiver responded with status 404").waitFor();

    await page.getByRole("button", { name: "Change the settings" }).click();
    const edit = dialog("Settings of alerts");
    await edit.getByLabel("Used shares of limits, in percent").fill("80, 120");
    await edit.getByLabel("Days before a key expires").fill("7");
    assert.deepEqual(await violations(page), []);
    expected += 1;
    await edit.getByRole("button", { name: "Review" }).click();
    await edit.getByText("alerts.budget_percent must have at most 10 numbers").waitFor();
    await edit.getByLabel("Used shares of limits, in percent").fill("80, 100");
    await edit.getByRole("button", { name: "Review" }).click();
    await edit.getByRole("row", { name: "budget_percent [] [80,100]" }).waitFor();
    assert.equal((await api("GET", "/v0/alerts/settings")).value.key_expires_days, 0);
    await edit.getByRole("button", { name: "Save" }).click();
    await closed();
    await page.getByRole("row", { name: "A key expires 7 days before" }).waitFor();

    const expires_at = new Date(Date.now() + 3_600_000).toISOString();
    await api("POST", "/v0/api_keys", { name: "about-to-expire", expires_at });
    await api("POST", "/v0/alerts/test"); // which also checks the conditions
    await eventually(async () => (await api("GET", "/v0/alerts")).data.length === 1);
    await show("#/", "Overview");
    await show("#/alerts", "Alerts");
    const holding = page.getByRole("group", { name: "Alerts that hold" });
    await holding.getByRole("link", { name: "about-to-expire" }).waitFor();
    const changes = page.getByRole("group", { name: "Last changes" });
    await changes.getByText("Began").waitFor();
    await changes.getByText(/^Slack: pending/).waitFor();
    assert.deepEqual(await violations(page), []);
    await page.setViewportSize({ width: 360, height: 740 });
    assert.ok(
      Number(await page.evaluate("document.documentElement.scrollWidth - innerWidth")) <= 0,
      "it is too wide for a phone",
    );
    await page.setViewportSize({ width: 1360, height: 900 });
    await page.getByRole("link", { name: "Overview 1 alert" }).click();
    await page.getByRole("link", { name: "Alerts 1 to look at" }).click();
    await page.getByRole("button", { name: "Reset" }).click();
    const reset = dialog("Reset the settings of alerts");
    await reset.getByRole("button", { name: "Review" }).click();
    await reset.getByRole("button", { name: "Reset" }).click();
    await closed();
    assert.equal((await api("GET", "/v0/alerts/settings")).source, "gateway.toml");
    await eventually(async () => (await api("GET", "/v0/alerts")).data.length === 0);
    await operate(gateway, "DELETE", "/v0/api_keys/about-to-expire");
  });

  test("console: a policy shows the keys that a change affects before it is made", async () => {
    await show("#/policies", "Policies");
    await page.getByRole("button", { name: "Create a policy" }).click();
    await dialog("Create a policy").getByLabel("Name").fill("contractors");
    await dialog("Create a policy").getByLabel("Budget per month").fill("10");
    await dialog("Create a policy").getByRole("button", { name: "Review" }).click();
    await dialog("Create a policy").getByText("No key is affected.").waitFor();
    await dialog("Create a policy").getByRole("button", { name: "Save" }).click();
    await page.getByRole("button", { name: "contractors", exact: true }).waitFor();
    await page.getByRole("button", { name: "team", exact: true }).click();
    await dialog("Policy team").getByLabel("Budget per month").fill("300");
    await dialog("Policy team").getByRole("button", { name: "Review" }).click();
    await dialog("Policy team").getByText("3 keys are affected").waitFor();
    assert.equal((await api("GET", "/v0/policies/team")).value?.limits?.usd_per_month, 250);
    await dialog("Policy team").getByRole("button", { name: "Save" }).click();
    await closed();
    assert.equal((await api("GET", "/v0/policies/team")).value?.limits?.usd_per_month, 300);
    await page.getByRole("button", { name: "Remove contractors" }).click();
    const remove = dialog("Remove the setting of contractors");
    await remove.getByRole("button", { name: "Review" }).click();
    await remove.getByRole("button", { name: "Remove" }).click();
    await closed();
    assert.equal((await api("GET", "/v0/policies/contractors")).status, 404);
  });

  test("console: aliases, groups and the price of a model are changed", async () => {
    await show("#/models/aliases", "Models");
    await page.getByRole("button", { name: "Create an alias" }).click();
    await dialog("Create an alias").getByLabel("Name that callers use").fill("small");
    await dialog("Create an alias").getByLabel("Model or group").fill("demo/sim-small");
    await dialog("Create an alias").getByRole("button", { name: "Review" }).click();
    await dialog("Create an alias").getByRole("button", { name: "Save" }).click();
    await page.getByRole("button", { name: "small", exact: true }).waitFor();
    await show("#/models/groups", "Models");
    await page.getByRole("button", { name: "Create a group" }).click();
    const group = dialog("Create a group");
    await group.getByLabel("Name that callers use").fill("mixed");
    await group.getByLabel("Models").fill("demo/sim-small\ndemo/sim-large");
    await group.getByRole("checkbox").check();
    await group.getByRole("slider").first().fill("3");
    await group.getByText("75 %").waitFor();
    await group.getByRole("button", { name: "Review" }).click();
    await group.getByRole("button", { name: "Save" }).click();
    await closed();
    assert.deepEqual((await api("GET", "/v0/groups/mixed")).value.weights, [3, 1]);
    await show("#/models?open=demo%2Fsim-large", "Models");
    await dialog("demo/sim-large").getByRole("button", { name: "Change price or facts" }).click();
    const facts = dialog("Settings of demo/sim-large");
    await facts.getByLabel("Input", { exact: true }).fill("2.5");
    await facts.getByLabel("Output", { exact: true }).fill("10");
    await facts.getByRole("button", { name: "Review" }).click();
    await facts.getByRole("button", { name: "Save" }).click();
    await closed();
    assert.equal((await api("GET", "/v0/models/demo/sim-large")).value.input_usd_per_mtok, 2.5);
  });

  test("console: the playground streams two models with time, tokens and cost, and shows the call as code", async () => {
    await show("#/lab", "Lab");
    await page.getByRole("button", { name: "Create a key for an hour" }).click();
    await page.getByLabel("Model", { exact: true }).fill("demo/sim-small");
    await page.getByRole("checkbox", { name: "Compare two models" }).check();
    await page.getByLabel("Compare with").fill("demo/sim-large");
    await page.getByLabel("Prompt").fill("<b>Hello</b> from the console");
    await page.keyboard.press("Control+Enter");
    const results = page.locator(".results .panel");
    for (const n of [0, 1]) {
      await results.nth(n).getByText("You said: <b>Hello</b> from the console").waitFor();
      await results.nth(n).getByText("Done").waitFor();
      await results
        .nth(n)
        .getByText(/\$0\.\d+/)
        .waitFor();
    }
    await page.getByRole("button", { name: "Copy as code" }).click();
    const code = dialog("This request as code");
    assert.match((await code.locator("pre").textContent()) ?? "", /GATEHOUSE_API_KEY/);
    await code.getByRole("button", { name: "Python" }).click();
    assert.match((await code.locator("pre").textContent()) ?? "", /from openai import OpenAI/);
    await page.keyboard.press("Escape");
    await page.getByLabel("Model", { exact: true }).fill("demo/nothing/like/it");
    await page.getByText("More parameters").click();
    await page.getByLabel("Further fields").fill("{oops");
    await page.getByRole("button", { name: "Send" }).click();
    await page.getByText(/This is not a JSON object/).waitFor();
  });

  test("console: the most expensive key of the week is on the overview, and usage is grouped, filtered and exported", async () => {
    await show("#/", "Overview");
    const keys = page
      .locator(".panel")
      .filter({ has: page.getByRole("heading", { name: "Keys" }) });
    const largest = await keys.locator("li").first().innerText();
    const { data } = await api("GET", "/v0/usage?group_by=key");
    const most = data.toSorted(
      (/** @type {any} */ a, /** @type {any} */ b) => b.cost_usd - a.cost_usd,
    )[0];
    assert.ok(largest.startsWith(most.name), `${largest}: ${most.name}`);
    await show("#/activity", "Activity");
    const row = page.locator("tbody tr").filter({ hasText: "checkout-service" });
    await row.getByRole("button", { name: "checkout-service" }).click();
    await page.getByRole("button", { name: /Remove the filter Key: checkout-service/ }).waitFor();
    assert.match(page.url(), /key=checkout-service/);
    await page.locator("tfoot").getByText("12", { exact: true }).waitFor();
    const download = page.waitForEvent("download");
    await page.getByRole("button", { name: "CSV" }).click();
    const lines = readFileSync(await (await download).path(), "utf8")
      .trim()
      .split("\r\n");
    assert.ok(lines.some((line) => line.includes("demo/sim-small")));
    await page.getByText("Numbers").click();
    await page.getByRole("columnheader", { name: "demo/sim-small" }).waitFor();
    await page.getByRole("button", { name: "24 hours" }).click();
    await page.getByRole("heading", { name: "By hour (UTC)" }).waitFor();
  });

  test("console: the calls of all keys are listed, filtered and opened by a link", async () => {
    await show("#/activity/calls?failed=1", "Activity");
    const rows = page.locator("table.rows > tbody > tr:not(.detail)");
    await rows.first().getByText("Failed").waitFor();
    assert.equal(await rows.count(), 3);
    await rows.first().getByRole("button").first().click();
    await page.locator(".attempts").getByText("server error").first().waitFor();
    await show("#/activity/calls?key=support-bot", "Activity");
    await rows.first().getByText("2 attempts").waitFor();
    assert.equal(await rows.count(), 18);
    const { data } = await api("GET", "/v0/calls?key=checkout-service&limit=1");
    await show(`#/activity/calls?key=support-bot&call=${data[0].id}`, "Activity");
    await page.locator(".receipt").getByText(data[0].hash).waitFor();
  });

  test("console: the routing lab shows the order of attempts, and what happens if a provider fails", async () => {
    await show("#/lab/routing", "Lab");
    const body = { model: "chat", messages: [{ role: "user", content: "Hi" }] };
    await page.getByLabel("Request").fill(JSON.stringify(body));
    await page.getByRole("button", { name: "Explain" }).click();
    const steps = page.locator(".ladder li");
    await steps.filter({ hasText: "demo/sim-small" }).getByText("called first").waitFor();
    await steps
      .filter({ hasText: "busy/sim-small" })
      .getByText(/throttled/)
      .waitFor();
    await page.getByRole("button", { name: "What if demo fails?" }).click();
    await page.getByText("If demo fails: the plan without it.").waitFor();
    assert.equal(await steps.count(), 1);
  });

  test("console: the audit trail is verified in the browser and by the gateway, and its head is kept", async () => {
    await show("#/audit", "Audit");
    const { entries, head } = await api("GET", "/v0/audit/verify");
    await page.getByText(/entries verified in this browser/).waitFor();
    await page.getByRole("button", { name: "Verify now" }).click();
    await page.getByText("The gateway agrees:").waitFor();
    await page.getByRole("button", { name: "Save head" }).click();
    await page.getByText(/still has the head that was saved/).waitFor();
    assert.equal(await page.locator(".head-line code").textContent(), head);
    await page.getByLabel("Filter by operator, action, subject, value").fill("made-here");
    await page
      .locator("table.rows tbody tr")
      .filter({ hasText: "made-here" })
      .first()
      .getByText("Revoked a key")
      .waitFor();
    await page.getByText("entries shown").waitFor();
    assert.ok(entries > 20);
  });

  test("console: settings show each entry with its source", async () => {
    await show("#/settings?q=policies.team", "Settings");
    const row = page.locator("tbody tr").filter({ hasText: "policies.team" });
    assert.match(await row.first().innerText(), /Set here/);
  });

  test("console: the palette finds keys, models and screens", async () => {
    await page.keyboard.press("Control+k");
    await page.getByRole("combobox").waitFor();
    await page.keyboard.type("support");
    await page.getByRole("option", { name: /support-bot/ }).waitFor();
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { level: 1, name: "support-bot" }).waitFor();
    await settled(page);
    await page.getByRole("meter", { name: "Calls per day" }).waitFor();
  });

  test("console: a failed response shows its request id and a retry, and offline is shown", async () => {
    await page.route("**/v0/policies", (route) =>
      route.fulfill({
        status: 503,
        headers: { "x-request-id": "req-of-the-test", "content-type": "application/json" },
        body: JSON.stringify({ message: "The database is down", error_code: "StorageUnavailable" }),
      }),
    );
    const fresh = page;
    await fresh.evaluate("location.hash = '#/policies'");
    expected += 1;
    await fresh.getByText("The database is down").first().waitFor();
    await page.unroute("**/v0/policies");
    await fresh.getByRole("button", { name: "Try again" }).click();
    await fresh.getByRole("button", { name: "team", exact: true }).waitFor();
    await eventually(async () => (await fresh.getByText("The database is down").count()) === 0);
    await page.context().setOffline(true);
    expected += 20;
    await page.getByRole("button", { name: "Offline" }).waitFor();
    await page.context().setOffline(false);
    await page.getByRole("button", { name: "Live" }).waitFor();
    expected = 0;
  });

  const SCREENS = [
    ["#/", "Overview"],
    ["#/requests", "Requests"],
    ["#/keys", "Keys"],
    ["#/keys/checkout-service", "checkout-service"],
    ["#/policies", "Policies"],
    ["#/activity", "Activity"],
    ["#/activity/calls", "Activity"],
    ["#/providers", "Providers"],
    ["#/providers/broken", "broken"],
    ["#/models", "Models"],
    ["#/lab/routing", "Lab"],
    ["#/audit", "Audit"],
    ["#/settings", "Settings"],
    ["#/alerts", "Alerts"],
    ["#/selftest", "Self-test"],
  ];

  test("console: every screen is free of axe violations in both schemes and fits a phone, with hostile texts as text", async () => {
    /** @type {string[]} */
    const found = [];
    for (const colorScheme of /** @type {const} */ (["light", "dark", "phone"])) {
      await page.emulateMedia({
        colorScheme: colorScheme === "dark" ? "dark" : "light",
        reducedMotion: "reduce",
      });
      await page.setViewportSize(
        colorScheme === "phone" ? { width: 360, height: 740 } : { width: 1360, height: 900 },
      );
      for (const [hash = "", heading = ""] of SCREENS) {
        await show(hash, heading);
        const wide = await page.evaluate("document.documentElement.scrollWidth - innerWidth");
        if (Number(wide) > 0) found.push(`${hash} ${colorScheme}: ${wide} px too wide`);
        // On a phone the same elements are elsewhere: four screens have all kinds of them.
        const others = colorScheme === "phone" && !/^#\/(requests|keys\/.*|lab\/.*)?$/.test(hash);
        const list =
          colorScheme === "dark"
            ? await violations(page, { rules: "colours" })
            : others
              ? []
              : await violations(page);
        for (const violation of list) found.push(`${hash} ${colorScheme}: ${violation}`);
        if (process.env["SCREENSHOTS"]) {
          const name = hash.replaceAll(/\W+/g, "-").replace(/^-$/, "-overview");
          await page.screenshot({
            path: `${process.env["SCREENSHOTS"]}/console${name}-${colorScheme}.png`,
            fullPage: true,
          });
        }
      }
    }
    await page.setViewportSize({ width: 1360, height: 900 });
    await page.emulateMedia({ colorScheme: "light" });
    assert.deepEqual(found, []);
    await show("#/requests", "Requests");
    await page.locator(".request").filter({ hasText: HOSTILE.markup }).first().waitFor();
    assert.equal(await page.evaluate("window.foreign"), undefined);
  });

  test("/key: a key holder sees limits, receipts, models, settings of tools and the state of providers", async () => {
    const holder = await open();
    await signIn(holder, "/key", keys["support-bot"] ?? "");
    await holder.getByRole("heading", { level: 1, name: "support-bot" }).waitFor();
    await holder.getByRole("meter", { name: "Calls per day" }).waitFor();
    await holder.getByRole("button", { name: "Verify chain" }).click();
    await holder.getByText(/receipts verified in this browser/).waitFor();
    /** @type {string[]} */
    const found = [];
    const check = async (/** @type {string} */ name) => {
      await settled(holder);
      for (const colorScheme of /** @type {const} */ (["light", "dark"])) {
        await holder.emulateMedia({ colorScheme, reducedMotion: "reduce" });
        for (const violation of colorScheme === "dark"
          ? await violations(holder, { rules: "colours" })
          : await violations(holder))
          found.push(`${name} ${colorScheme}: ${violation}`);
        if (process.env["SCREENSHOTS"])
          await holder.screenshot({
            path: `${process.env["SCREENSHOTS"]}/key-${name}-${colorScheme}.png`,
            fullPage: true,
          });
      }
      await holder.setViewportSize({ width: 360, height: 740 });
      const wide = await holder.evaluate("document.documentElement.scrollWidth - innerWidth");
      if (Number(wide) > 0) found.push(`${name}: ${wide} px too wide on a phone`);
      await holder.setViewportSize({ width: 1360, height: 900 });
    };
    await check("usage");
    const tab = (/** @type {string} */ name) =>
      holder.getByRole("link", { name, exact: true }).click();
    await tab("Models");
    await holder.getByRole("link", { name: "demo/sim-small" }).waitFor();
    await check("models");
    await tab("Connect");
    await holder.getByLabel("Model").selectOption("demo/sim-small");
    for (const [tool, words] of Object.entries(TOOLS)) {
      await holder.getByRole("button", { name: tool, exact: true }).click();
      const text = (await holder.getByLabel(tool, { exact: true }).textContent()) ?? "";
      for (const word of [gateway.url, ...words])
        assert.ok(text.includes(word), `${tool}: ${word}`);
      const program = PROGRAMS[tool];
      if (program) {
        const env = { ...process.env, GATEHOUSE_API_KEY: keys["checkout-service"] ?? "" };
        const { stdout } = await execute(program.command, [...program.options, text], { env });
        assert.match(stdout, /You said: Say hello\./, tool);
      }
    }
    await check("connect");
    await tab("Playground");
    await holder.getByRole("heading", { level: 1, name: "Playground" }).waitFor();
    await holder.getByLabel("Model", { exact: true }).fill("demo/sim-small");
    await holder.getByLabel("Prompt").fill("Hello");
    await holder.getByRole("button", { name: "Send" }).click();
    await holder.getByText("You said: Hello").waitFor();
    await check("playground");
    await tab("Status");
    await holder.getByText(/last calls of your key/).waitFor();
    await check("status");
    assert.deepEqual(found, []);
    await holder.context().close();
  });

  test("/key: a holder rotates the key, and the page goes on with the new secret", async () => {
    const made = await operate(gateway, "POST", "/v0/api_keys", { name: "rotates-itself" });
    const { api_key: old } = await made.json();
    const holder = await open();
    await signIn(holder, "/key", old);
    await holder.getByRole("button", { name: "Rotate" }).click();
    const rotate = holder.getByRole("dialog", { name: "Rotate this key" });
    await rotate.getByLabel("The present secret works for another").selectOption("0");
    await rotate.getByRole("button", { name: "Create a new secret" }).click();
    const shown = holder.getByRole("dialog", { name: "The new secret" });
    const key = (await shown.getByLabel("Key", { exact: true }).textContent()) ?? "";
    assert.match(key, /^gw_/);
    assert.notEqual(key, old);
    await shown.getByRole("button", { name: "Copy" }).click();
    assert.equal(await holder.evaluate("navigator.clipboard.readText()"), key);
    await shown.getByRole("button", { name: "Done" }).click();
    await holder.reload();
    await holder.getByRole("heading", { level: 1, name: "rotates-itself" }).waitFor();
    assert.ok((await holder.evaluate("Object.values(sessionStorage)")).includes(key));
    const status = (/** @type {string} */ secret) =>
      fetch(`${gateway.url}/usage`, { headers: { authorization: `Bearer ${secret}` } }).then(
        (response) => response.status,
      );
    assert.deepEqual([await status(old), await status(key)], [401, 200]);
    await holder.context().close();
  });

  test("/key: a person without a key asks for one", async () => {
    const visitor = await open();
    await visitor.goto(`${gateway.url}/key`);
    await visitor.getByRole("button", { name: "Ask for one" }).click();
    const ask = visitor.getByRole("dialog", { name: "Ask for a key" });
    await ask.getByLabel("E-mail").fill("visitor@example.com");
    await ask.getByLabel("What do you want to build?").fill("A page for visitors");
    await ask.getByRole("button", { name: "Send" }).click();
    await visitor
      .getByRole("dialog", { name: "Your request was sent" })
      .getByRole("button", { name: "Done" })
      .click();
    const { Data } = await api("GET", "/api/portal/requests?approved=false&q=visitor@example.com");
    assert.equal(Data[0].fields.use_case, "A page for visitors");
    await visitor.context().close();
  });

  test("/key: an operator key and a wrong key are rejected with clear words", async () => {
    const holder = await open();
    await holder.goto(`${gateway.url}/key`);
    for (const [key, words] of [
      ["hunter2", /keys begin with gw_/],
      [OPERATOR_KEY, /operator key/],
    ]) {
      expected += 1;
      await holder.locator("#sign-in-key").fill(String(key));
      await holder.getByRole("button", { name: "Sign in" }).click();
      await holder
        .getByRole("alert")
        .filter({ hasText: /** @type {RegExp} */ (words) })
        .waitFor();
    }
    await holder.context().close();
  });

  test("console: nothing was reported by the browser, and no request went to another host", async () => {
    await chat(gateway, {});
    assert.deepEqual(complaints, []);
  });
});
