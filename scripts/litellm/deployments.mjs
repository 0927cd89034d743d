// @ts-check
// The deployments of LiteLLM's model_list: which provider and model here each one is.
//
// A deployment whose address is not that of a built-in provider becomes a provider of its own.

import { environment, isMapping, mapping, number, text } from "./document.mjs";
import { COMPATIBLE, PROVIDERS, TASKS, UNREACHABLE } from "./fields.mjs";

/** @import { Mapping } from "./document.mjs" */
/** @import { Report } from "./report.mjs" */
/** @import { Settings } from "./toml.mjs" */

/**
 * A provider that is built in.
 *
 * @typedef {{ name: string, base_url: string, auth: string, key_variables: string[] }} BuiltIn
 */

/**
 * @typedef {object} Deployment
 * @property {string} target - `provider/model`, or `provider/*`.
 * @property {number | undefined} weight
 * @property {number | undefined} order
 * @property {number | undefined} rpm
 */

/** @typedef {{ base_url: string, auth: string, models: string[], formats: string[] }} Custom */

/** The address of a provider whose address is in a variable; no server can have it. */
const TO_BE_SET = "https://set-the-variable.invalid/v1";

/** The formats of tasks at a provider of one's own. */
const FORMATS = new Map([
  ["chat", "chat_completions"],
  ["embed", "embeddings"],
  ["complete", "completions"],
  ["moderate", "moderations"],
  ["rerank", "rerank"],
  ["image", "images"],
  ["speech", "speech"],
]);

/** Settings of models here, and LiteLLM's fields: sizes in tokens. @type {[string, string][]} */
const SIZES = [
  ["context", "max_input_tokens"],
  ["max_output", "max_output_tokens"],
];

/** Prices in US dollars: here of a million tokens, in LiteLLM of one. @type {[string, string][]} */
const PRICES = [
  ["input_usd_per_mtok", "input_cost_per_token"],
  ["output_usd_per_mtok", "output_cost_per_token"],
  ["cached_input_usd_per_mtok", "cache_read_input_token_cost"],
  ["cache_write_usd_per_mtok", "cache_creation_input_token_cost"],
];

/** @type {[string, string][]} */
const CAPABILITIES = [
  ["tools", "supports_function_calling"],
  ["vision", "supports_vision"],
  ["json_schema", "supports_response_schema"],
  ["reasoning", "supports_reasoning"],
];

/** Finds the provider and the model of each deployment, and collects what the file says of them. */
export class Deployments {
  /** @type {Map<string, Custom>} */
  custom = new Map();
  /** Facts of models, by `provider/model`. @type {Map<string, Settings>} */
  models = new Map();
  /** The address of each built-in provider that has one in the file; "" is its own. @type {Map<string, string>} */
  #addresses = new Map();
  /** The name of the provider for an address. @type {Map<string, string>} */
  #names = new Map();
  /** @type {Map<string, BuiltIn>} */
  #builtIn;
  /** @type {Set<string>} */
  #catalogue;
  #report;

  /**
   * @param {BuiltIn[]} builtIn
   * @param {Set<string>} catalogue - The known models, as `provider/model`.
   * @param {Report} report
   */
  constructor(builtIn, catalogue, report) {
    this.#builtIn = new Map(builtIn.map((one) => [one.name, one]));
    this.#catalogue = catalogue;
    this.#report = report;
  }

  /** @param {string} provider */
  isProvider(provider) {
    return this.custom.has(provider) || this.#builtIn.has(provider);
  }

  /**
   * The deployment of an entry of model_list; undefined if there is none here, which the report then says.
   *
   * @param {Mapping} entry
   * @param {string} path
   * @returns {Deployment | undefined}
   */
  add(entry, path) {
    const params = mapping(entry, "litellm_params", `${path}.litellm_params`);
    const info = isMapping(entry["model_info"]) ? entry["model_info"] : {};
    const named = text(params["model"]);
    if (named === undefined) {
      this.#report.remark(path, "it has no litellm_params.model");
      return undefined;
    }
    const base = text(params["api_base"]) ?? text(params["base_url"]);
    const found = this.#split(named, text(params["custom_llm_provider"]), base !== undefined);
    if (typeof found === "string") {
      this.#report.remark(path, found);
      return undefined;
    }
    const task = TASKS.get(text(info["mode"]) ?? "chat");
    if (task === undefined) {
      this.#report.remark(`${path}.model_info.mode`, "the gateway has no endpoint for this task");
      return undefined;
    }
    const provider = this.#provider(found.provider, base, params, `${path}.litellm_params`);
    if (provider === undefined) return undefined;
    this.#key(provider, text(params["api_key"]), `${path}.litellm_params.api_key`);
    const target = `${provider}/${found.id}`;
    if (found.id !== "*") this.#facts(target, provider, task, params, info, path);
    return {
      target,
      weight: number(params["weight"]),
      order: number(params["order"]),
      rpm: number(params["rpm"]),
    };
  }

  /**
   * The provider and the id of a model as LiteLLM writes them, or why there is none here.
   *
   * @param {string} named
   * @param {string | undefined} given - `custom_llm_provider`.
   * @param {boolean} hasBase
   * @returns {{ provider: string, id: string } | string}
   */
  #split(named, given, hasBase) {
    const slash = named.indexOf("/");
    const prefix = given ?? (slash > 0 ? named.slice(0, slash) : "");
    const id = given === undefined && slash > 0 ? named.slice(slash + 1) : named;
    const reason = UNREACHABLE.get(prefix);
    if (reason !== undefined) return `provider ${prefix} is not supported: ${reason}`;
    const provider = PROVIDERS.get(prefix) ?? prefix;
    if (COMPATIBLE.has(prefix) || (provider === "openai" && hasBase)) return { provider: "", id };
    if (this.#builtIn.has(provider)) {
      // LiteLLM names the route in the id: azure/responses/gpt-5, bedrock/converse/…
      return { provider, id: id.replace(/^(responses|converse|invoke)\//, "") };
    }
    if (hasBase) return { provider: "", id: prefix === "" ? named : id };
    // A bare name, whose provider LiteLLM knows from its list of models.
    const known = ["openai", "anthropic", "gemini", "mistral", "deepseek"].find((name) =>
      this.#catalogue.has(`${name}/${named}`),
    );
    if (known !== undefined) return { provider: known, id: named };
    return "the provider of this model is not known; write it as provider/model, or add its api_base";
  }

  /**
   * The provider of a deployment: a built-in one, or one of its own for its address.
   *
   * @param {string} builtIn - Its name, or "" for any server with OpenAI's format.
   * @param {string | undefined} given - The address in the file.
   * @param {Mapping} params
   * @param {string} path
   * @returns {string | undefined}
   */
  #provider(builtIn, given, params, path) {
    const base = given ?? text(params["base_url"]);
    const variable = environment(base);
    if (builtIn === "" && base === undefined) {
      this.#report.remark(path, "a server with OpenAI's format needs its api_base");
      return undefined;
    }
    const address = base === undefined || variable !== undefined ? (base ?? "") : this.#url(base);
    if (address === undefined) {
      this.#report.remark(
        `${path}.api_base`,
        "it is not a plain http or https URL, without user name and query",
      );
      return undefined;
    }
    if (/^https?:\/\/(localhost|127\.|\[::1\])/.test(address)) {
      this.#report.remark(`${path}.api_base`, "a Worker on Cloudflare cannot reach this address");
    }
    if (builtIn === "") return this.#own(address, variable, "bearer");
    const own = this.#builtIn.get(builtIn);
    const isOwn = address === "" || address === this.#url(own?.base_url ?? "");
    const resource = /^https:\/\/([\w-]+)\.openai\.azure\.com(?:\/|$)/.exec(address)?.[1];
    const normal = isOwn ? "" : (resource ?? this.#withPath(address, own));
    const first = this.#addresses.get(builtIn);
    if (first === undefined || first === normal) {
      this.#addresses.set(builtIn, normal);
      if (normal !== "") this.#address(builtIn, normal, resource, variable);
      return builtIn;
    }
    const url = resource === undefined ? normal : `https://${resource}.openai.azure.com/openai/v1`;
    const second = normal === "" ? (own?.base_url ?? "") : url;
    return this.#own(second, variable, own?.auth ?? "bearer", `${builtIn.replaceAll("_", "-")}-`);
  }

  /**
   * Reports the variable with the address of a built-in provider.
   *
   * @param {string} provider
   * @param {string} address
   * @param {string | undefined} resource
   * @param {string | undefined} variable
   */
  #address(provider, address, resource, variable) {
    if (provider === "azure" && resource !== undefined) {
      this.#report.variable("AZURE_RESOURCE", resource);
      return;
    }
    const path = provider === "azure" ? ", with /openai/v1 at its end" : "";
    this.#report.variable(
      variableOf(provider, "BASE_URL"),
      variable === undefined ? address : `the value of ${variable}${path}`,
    );
  }

  /**
   * An http or https URL without user name, query and final slash; undefined if it is none.
   *
   * @param {string} text
   */
  #url(text) {
    if (!URL.canParse(text)) return undefined;
    const { protocol, username, search, hash, origin, pathname } = new URL(text);
    if (!/^https?:$/.test(protocol) || username !== "" || search !== "" || hash !== "") {
      return undefined;
    }
    return `${origin}${pathname}`.replace(/\/+$/, "");
  }

  /**
   * An address with the path of the provider's own one, if it is a bare origin.
   *
   * @param {string} address
   * @param {BuiltIn | undefined} own
   */
  #withPath(address, own) {
    const isBare = /^https?:\/\/[^/]+$/.test(address);
    const path = (own?.base_url ?? "").replace(/^https?:\/\/[^/]+/, "");
    return isBare ? address + path : address;
  }

  /**
   * The name of the provider at an address that no built-in provider has.
   *
   * @param {string} address
   * @param {string | undefined} variable
   * @param {string} auth
   * @param {string} [prefix] - Of the name, for another address of a built-in provider.
   */
  #own(address, variable, auth, prefix = "") {
    const known = this.#names.get(address);
    if (known !== undefined) return known;
    const name = this.#free(prefix + nameFor(address, variable));
    this.#names.set(address, name);
    const base_url = variable === undefined ? address : TO_BE_SET;
    this.custom.set(name, {
      base_url,
      auth: auth === "bearer" ? "none" : auth,
      models: [],
      formats: [],
    });
    if (variable !== undefined) {
      this.#report.variable(variableOf(name, "BASE_URL"), `the value of ${variable}`);
    }
    return name;
  }

  /** @param {string} wanted */
  #free(wanted) {
    for (let at = 1; ; at += 1) {
      const name = at === 1 ? wanted : `${wanted}-${at}`;
      if (!this.isProvider(name)) return name;
    }
  }

  /**
   * Reports the secret of a provider.
   *
   * @param {string} provider
   * @param {string | undefined} key
   * @param {string} path
   */
  #key(provider, key, path) {
    const own = this.custom.get(provider);
    const name = this.#builtIn.get(provider)?.key_variables[0] ?? variableOf(provider, "API_KEY");
    if (key === undefined) {
      const auth = this.#builtIn.get(provider)?.auth ?? "none";
      if (auth !== "none") this.#report.secret(name, "the provider's key");
      return;
    }
    if (own?.auth === "none") own.auth = "bearer";
    const variable = environment(key);
    this.#report.secret(
      name,
      variable === undefined ? `the text at ${path}` : `the value of ${variable}`,
    );
  }

  /**
   * Collects what the file says of a model.
   *
   * @param {string} target
   * @param {string} provider
   * @param {string} task
   * @param {Mapping} params
   * @param {Mapping} info
   * @param {string} path
   */
  #facts(target, provider, task, params, info, path) {
    const own = this.custom.get(provider);
    const id = target.slice(provider.length + 1);
    if (own !== undefined) {
      if (!own.models.includes(id)) own.models.push(id);
      const format = FORMATS.get(task) ?? "chat_completions";
      if (!own.formats.includes(format)) own.formats.push(format);
    }
    /** @type {Settings} */
    const facts = {};
    const base = text(info["base_model"]);
    const like = [base, `openai/${base}`, `openai/${base?.replace(/^azure\//, "")}`].find(
      (one) => one !== undefined && this.#catalogue.has(one),
    );
    if (like !== undefined) facts["like"] = like;
    else if (base !== undefined) {
      this.#report.remark(
        `${path}.model_info.base_model`,
        "the catalogue does not have this model",
      );
    } else if (provider === "azure" && !this.#catalogue.has(target)) {
      this.#report.remark(
        path,
        'name the model of this deployment in models."azure/…".like, for its prices',
      );
    }
    for (const [setting, field] of SIZES) {
      const amount = number(info[field]);
      if (amount === undefined) continue;
      if (Number.isInteger(amount) && amount > 0 && amount < 2 ** 32) facts[setting] = amount;
      else
        this.#report.remark(`${path}.model_info.${field}`, "it must be a whole number of tokens");
    }
    for (const [setting, field] of PRICES) {
      const price = number(params[field]) ?? number(info[field]);
      if (price === undefined) continue;
      const usd = Math.round(price * 1e12) / 1e6;
      if (usd >= 0 && usd <= 1e9) facts[setting] = usd;
      else this.#report.remark(`${path}.${field}`, "it must be a price in US dollars, not below 0");
    }
    for (const [setting, field] of CAPABILITIES) {
      const value = info[field];
      if (typeof value === "boolean") facts[setting] = value;
    }
    if (task !== "chat" && !this.#catalogue.has(target)) facts["task"] = task;
    const earlier = this.models.get(target) ?? {};
    const all = { ...facts, ...earlier };
    if (Object.keys(all).length > 0) this.models.set(target, all);
  }
}

/**
 * The name of a provider's variable.
 *
 * @param {string} provider
 * @param {"API_KEY" | "BASE_URL"} kind
 */
const variableOf = (provider, kind) => `${provider.toUpperCase().replaceAll("-", "_")}_${kind}`;

/**
 * A name for a provider, from its host or from the variable with its address.
 *
 * @param {string} address
 * @param {string | undefined} variable
 */
function nameFor(address, variable) {
  const source =
    variable?.replace(/_?(API|BASE|URL|ENDPOINT|HOST)\b|_(API_BASE|API_URL|BASE_URL)$/g, "") ??
    new URL(address).hostname.replace(/^(www|api|llm)\./, "").split(".")[0];
  const name = (source ?? "")
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^[^a-z]+|-+$/g, "");
  return name === "" ? "server" : name.slice(0, 40);
}
