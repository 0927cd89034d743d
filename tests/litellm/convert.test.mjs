// @ts-check
//! The converter of LiteLLM's configuration as a process: the settings that it writes, which the gateway's own
//! validation accepts, its report, and its errors. No output has a value of a key.
//!
//! Run with: node --test "tests/litellm/*.test.mjs"

import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, suite, test } from "node:test";

const ROOT = resolve(import.meta.dirname, "../..");
const SCRIPT = join(ROOT, "scripts/convert-litellm.mjs");
const CONFIGS = join(import.meta.dirname, "configs");
/** Every value in the files that must not be shown. */
const SECRETS = /sk-|secret-password|a-secret-of-redis/;

const temporary = mkdtempSync(join(tmpdir(), "litellm-"));
after(() => rmSync(temporary, { recursive: true, force: true }));

/**
 * Converts a configuration.
 *
 * @param {string[]} args
 * @param {string} [input]
 */
function run(args, input = "") {
  const { status, stdout, stderr } = spawnSync("node", [SCRIPT, ...args], {
    input,
    encoding: "utf8",
  });
  assert.doesNotMatch(stdout + stderr, SECRETS, "no value of a key is written");
  return { status, toml: stdout, report: stderr };
}

/** @param {string} name @returns {{ settings: any, report: string }} */
function converted(name) {
  const { status, toml, report } = run([join(CONFIGS, name)]);
  assert.equal(status, 0, report);
  return { settings: parsed(toml), report };
}

/**
 * The settings of a TOML text, with Python's parser.
 *
 * @param {string} toml
 */
const parsed = (toml) =>
  JSON.parse(
    execFileSync(
      "python3",
      ["-c", "import json, sys, tomllib; print(json.dumps(tomllib.loads(sys.stdin.read())))"],
      { input: toml, encoding: "utf8" },
    ),
  );

/** @param {string} report @param {string[]} lines */
function reports(report, lines) {
  for (const line of lines) assert.ok(report.includes(line), `${line}\n\n${report}`);
}

suite("LiteLLM: settings", () => {
  test("LiteLLM: deployments of one name become a group, and fallbacks its end", () => {
    const { settings, report } = converted("azure-and-fallbacks.yaml");
    const models = ["azure/gpt4o-eu", "azure-contoso-us/gpt4o-us", "anthropic/claude-sonnet-4-5"];
    assert.deepEqual(settings.groups["gpt-4o"], { models });
    assert.deepEqual(settings.groups["gpt-4"], { models }, "an alias of a group");
    assert.deepEqual(settings.groups.spread, {
      models: ["openai/gpt-4o-mini", "groq/openai/gpt-oss-20b"],
      weights: [3, 1],
    });
    assert.deepEqual(settings.aliases, {
      claude: "anthropic/claude-sonnet-4-5",
      mini: "openai/gpt-4o-mini",
    });
    assert.deepEqual(settings.timeouts, { total_ms: 90_000, stream_first_byte_ms: 20_000 });
    assert.deepEqual(settings.routing, { retries: 5, max_attempts: 7 });
    assert.equal(settings.models["azure/gpt4o-eu"].like, "azure/gpt-4o");
    assert.deepEqual(settings.providers["azure-contoso-us"], {
      base_url: "https://contoso-us.openai.azure.com/openai/v1",
      auth: "api-key",
      models: ["gpt4o-us"],
      formats: ["chat_completions"],
    });
    reports(report, [
      "AZURE_API_KEY: the value of AZURE_KEY_EU",
      "AZURE_CONTOSO_US_API_KEY: the value of AZURE_KEY_US",
      "OPENAI_API_KEY: the value of OPENAI_KEY_1 and the value of OPENAI_KEY_2, separated by commas",
      "AZURE_RESOURCE: contoso-eu",
      "fallbacks of gpt-4o: its models are tried in order",
      "router_settings.routing_strategy: ",
      "general_settings.master_key: create an operator key",
      "general_settings.database_url: not needed",
    ]);
  });

  test("LiteLLM: servers of one's own become providers, and defaults of keys a policy", () => {
    const { settings, report } = converted("own-servers.yaml");
    const id = "meta-llama/Llama-3.3-70B-Instruct";
    assert.deepEqual(settings.groups.llama, {
      models: [`gpu-1/${id}`, `gpu-2/${id}`],
      weights: [1, 1],
    });
    assert.deepEqual(settings.models[`gpu-1/${id}`], {
      context: 131_072,
      max_output: 8192,
      input_usd_per_mtok: 0.2,
      output_usd_per_mtok: 0.2,
      tools: true,
    });
    assert.equal(settings.providers["gpu-1"].auth, "none");
    assert.equal(settings.providers["gpu-2"].auth, "bearer");
    assert.deepEqual(settings.providers.embeddings.formats, ["embeddings"]);
    assert.deepEqual(settings.aliases, { embedder: "embeddings/bge-m3", phi: "ollama/phi4" });
    assert.deepEqual(settings.access, { policies: ["litellm-default"] });
    assert.deepEqual(settings.policies["litellm-default"], {
      models: ["llama", "embedder"],
      expires_days: 90,
      limits: {
        requests_per_minute: 60,
        tokens_per_minute: 100_000,
        concurrent: 8,
        usd_per_month: 25.5,
      },
    });
    assert.deepEqual(settings.requests, { max_body_bytes: 41_943_040 });
    reports(report, [
      "GPU_2_API_KEY: the text at model_list[1].litellm_params.api_key",
      "EMBEDDINGS_BASE_URL: the value of EMBEDDINGS_API_BASE",
      "model_list[3].litellm_params.api_base: a Worker on Cloudflare cannot reach this address",
      "model_list[4]: every model of this provider has the name openai/MODEL",
      "model_list[5]: provider vertex_ai is not supported: its tokens expire after an hour",
      "model_list[6].model_info.mode: the gateway has no endpoint for this task",
      "litellm_settings.cache, litellm_settings.cache_params: the gateway caches no responses",
      "default_key_generate_params.models: a model is not in model_list",
      "default_key_generate_params.team_id: policies have no such field",
      "GATEWAY_SLACK_URL: the value of SLACK_WEBHOOK_URL",
    ]);
  });

  test("LiteLLM: unknown fields and wrong values are reported by their places", () => {
    const { settings, report } = converted("unknown-fields.yaml");
    assert.deepEqual(settings.aliases, {
      a: "groq/openai/gpt-oss-20b",
      'quote"d \\ é 名': 'groq/with "quotes" and \\',
    });
    reports(report, [
      "mystery_section, model_list[0].litellm_params.frobnicate: this field is not known to the converter",
      "model_list[0].input_cost_per_token: it must be a price",
      "model_list[1]: the provider of this model is not known",
      "model_list[2]: a name must not be 'auto'",
      "model_list[3].litellm_params.api_base: it is not a plain http or https URL",
      "model_list[4]: its weight is 0, so it is left out",
      "model_list[5], model_list[6]: it has no model_name",
      "num_retries: it must be a whole number",
      "fallbacks: a fallback is not in model_list",
    ]);
  });

  test("LiteLLM: the gateway's validation accepts every converted file", () => {
    const files = readdirSync(CONFIGS).map((name) => {
      const path = join(temporary, `${name}.toml`);
      const { status, report } = run([join(CONFIGS, name), "--output", path]);
      assert.equal(status, 0, report);
      return path;
    });
    const many = Array.from({ length: 2000 }, (_, at) => ({
      model_name: `m${at % 500}`,
      litellm_params: { model: `groq/model-${at}`, weight: (at % 7) + 0.5, [`odd${at}`]: 1 },
    }));
    const path = join(temporary, "many.toml");
    const { status, report } = run(["-", "--output", path], JSON.stringify({ model_list: many }));
    assert.equal(status, 0, report);
    assert.match(report, /and 1997 more: this field is not known/);
    const args = ["run", "--quiet", "-p", "gatehouse-core", "--example", "check_config"];
    const checked = spawnSync("cargo", [...args, ...files, path], { cwd: ROOT, encoding: "utf8" });
    assert.equal(checked.status, 0, checked.stderr);
  });
});

suite("LiteLLM: errors", () => {
  for (const [name, input, error] of /** @type {[string, string, RegExp][]} */ ([
    [
      "broken YAML",
      'model_list:\n  - a: "sk-broken',
      /^Line 2, column \d+: the file is not valid YAML/,
    ],
    ["a file that is no mapping", "- a\n- b\n", /must be a mapping/],
    ["an empty file", "", /must be a mapping/],
    ["a list that is a mapping", "model_list: {a: 1}", /model_list must be a list/],
    ["a section that is a list", "router_settings: [1]", /router_settings must be a mapping/],
    ["a huge file", `a: "${"x".repeat(3_000_000)}"`, /larger than 2097152 bytes/],
    ["too many models", `model_list: [${"1,".repeat(2001)}]`, /2001 entries; the limit is 2000/],
    [
      "anchors that expand without end",
      `a: &a [x]\nb: &b [${"*a,".repeat(30)}]\nc: &c [${"*b,".repeat(30)}]\nd: [${"*c,".repeat(30)}]`,
      /expands its anchors/,
    ],
  ])) {
    test(`LiteLLM: ${name} is an error that says where`, () => {
      const { status, toml, report } = run(["-"], input);
      assert.equal(status, 1);
      assert.equal(toml, "");
      assert.match(report, error);
      assert.equal(report.trim().split("\n").length, 1);
    });
  }

  test("LiteLLM: an existing file is overwritten only with --force", () => {
    const path = join(temporary, "kept.toml");
    writeFileSync(path, "mine");
    const refused = run(["-", "--output", path], "model_list: []");
    assert.equal(refused.status, 1);
    assert.match(refused.report, /exists; --force overwrites it/);
    assert.equal(readFileSync(path, "utf8"), "mine");
    assert.equal(run(["-", "--output", path, "--force"], "model_list: []").status, 0);
    assert.notEqual(readFileSync(path, "utf8"), "mine");
    assert.equal(run([join(temporary, "none.yaml")]).status, 1);
    assert.equal(run([]).status, 2, "a file is required");
  });
});
