// @ts-check
// LiteLLM's fields and providers, and their counterparts here: the one table for both.
//
// A field that is in no table is reported as unknown.

/** LiteLLM's prefixes of models, where the provider has another name here. */
export const PROVIDERS = new Map(
  Object.entries({
    ai21_chat: "ai21",
    ark: "volcengine",
    cloudflare: "workers_ai",
    cohere_chat: "cohere",
    featherless_ai: "featherless",
    fireworks_ai: "fireworks",
    friendliai: "friendli",
    github: "github_models",
    jina_ai: "jina",
    lambda_ai: "lambda",
    nvidia_nim: "nvidia",
    ollama_chat: "ollama",
    together_ai: "together",
    text_completion_openai: "openai",
    "text-completion-openai": "openai",
    azure_text: "azure",
  }),
);

/** LiteLLM's prefixes for any server with OpenAI's format. */
export const COMPATIBLE = new Set([
  "custom_openai",
  "hosted_vllm",
  "litellm_proxy",
  "llamafile",
  "lm_studio",
  "openai_like",
  "vllm",
  "xinference",
]);

/** Providers without an endpoint that a static key opens in a format that the gateway has. */
export const UNREACHABLE = new Map(
  Object.entries({
    bedrock_converse: "use an OpenAI-compatible model of Bedrock, as bedrock/…",
    replicate: "it runs jobs that a client polls",
    sagemaker: "its requests must be signed",
    sagemaker_chat: "its requests must be signed",
    snowflake: "it has a format of its own",
    vertex_ai: "its tokens expire after an hour; use Gemini's API, as gemini/…",
    vertex_ai_beta: "its tokens expire after an hour; use Gemini's API, as gemini/…",
    watsonx: "its tokens expire after an hour",
  }),
);

/** Modes of `model_info`, and the tasks of models here. */
export const TASKS = new Map(
  Object.entries({
    chat: "chat",
    responses: "chat",
    completion: "complete",
    embedding: "embed",
    image_generation: "image",
    audio_speech: "speech",
    moderation: "moderate",
    rerank: "rerank",
  }),
);

const AUTOMATIC = "not needed: the gateway does this without a setting";
const NO_CACHE = "the gateway caches no responses";
const NO_CONTENT = "the gateway stores and sends no prompts or responses";
const STATE = "not needed: the state is in D1 and Durable Objects";
const PER_REQUEST = "a default for requests: set it in the client";
const COOLDOWN =
  "not needed: a lane's cooldown follows the provider's retry-after, or doubles with each failure";

/**
 * Fields without a counterpart, and the reason, by the section that has them. `true` is a field that is converted.
 *
 * @type {Record<string, Record<string, string | true>>}
 */
export const FIELDS = {
  "": {
    model_list: true,
    router_settings: true,
    litellm_settings: true,
    general_settings: true,
    environment_variables:
      "set secrets with `npx wrangler secret put`, and variables in wrangler.toml",
    include: "other files are not read: convert each, or join them first",
    guardrails: "the gateway has no guardrails",
    mcp_servers: "the gateway is not an MCP gateway",
    mcp_tools: "the gateway is not an MCP gateway",
    vector_store_registry: "the gateway has no vector stores",
    credential_list: "name the keys in model_list, as os.environ/NAME",
    files_settings: "the gateway has no endpoint for files",
    finetune_settings: "the gateway has no endpoint for fine-tuning",
    search_tools: "the gateway has no search tools",
  },
  model_list: { model_name: true, litellm_params: true, model_info: true },
  litellm_params: {
    model: true,
    api_key: true,
    api_base: true,
    base_url: true,
    weight: true,
    order: true,
    input_cost_per_token: true,
    output_cost_per_token: true,
    cache_read_input_token_cost: true,
    cache_creation_input_token_cost: true,
    rpm: true,
    tpm: "not needed: the gateway follows the limit headers of providers",
    api_version: "not needed: Azure's v1 API has no version",
    custom_llm_provider: true,
    drop_params: AUTOMATIC,
    additional_drop_params:
      "list the fields in `drop` of [providers.NAME]; built-in providers have a table",
    merge_reasoning_content_in_choices: "the gateway does not change responses",
    cache_control_injection_points:
      "the gateway does not change prompts; place the markers in the client",
    max_parallel_requests: "concurrent calls are limited for each key, in a policy",
    max_retries: "routing.retries and routing.max_attempts are settings of the deployment",
    num_retries: "routing.retries and routing.max_attempts are settings of the deployment",
    timeout: "timeouts are settings of the deployment; see [timeouts]",
    stream_timeout: "timeouts are settings of the deployment; see [timeouts]",
    max_budget:
      "the gateway has no budgets of providers; limit keys in a policy, with model_limits",
    budget_duration:
      "the gateway has no budgets of providers; limit keys in a policy, with model_limits",
    tags: "the gateway does not route by tags; give each audience a group of its own",
    organization: "the gateway sends no organization; use a key of that organization",
    extra_headers: "the gateway sends no additional headers to providers",
    headers: "the gateway sends no additional headers to providers",
    default_headers: "the gateway sends no additional headers to providers",
    mock_response: "the simulated provider of ./scripts/dev replaces it",
    temperature: PER_REQUEST,
    top_p: PER_REQUEST,
    max_tokens: PER_REQUEST,
    seed: PER_REQUEST,
    stop: PER_REQUEST,
    reasoning_effort: PER_REQUEST,
    thinking: PER_REQUEST,
    extra_body: PER_REQUEST,
    aws_access_key_id: "requests are not signed: use a key of Bedrock's API, as BEDROCK_API_KEY",
    aws_secret_access_key:
      "requests are not signed: use a key of Bedrock's API, as BEDROCK_API_KEY",
    aws_session_token: "requests are not signed: use a key of Bedrock's API, as BEDROCK_API_KEY",
    aws_region_name: "set the variable BEDROCK_REGION",
    vertex_project: "Vertex AI is not supported",
    vertex_location: "Vertex AI is not supported",
    vertex_credentials: "Vertex AI is not supported",
    tenant_id: "Entra ID is not supported: use a key, as AZURE_API_KEY",
    client_id: "Entra ID is not supported: use a key, as AZURE_API_KEY",
    client_secret: "Entra ID is not supported: use a key, as AZURE_API_KEY",
    azure_ad_token: "Entra ID is not supported: use a key, as AZURE_API_KEY",
    litellm_credential_name: "name the key itself, as os.environ/NAME",
  },
  model_info: {
    base_model: true,
    mode: true,
    input_cost_per_token: true,
    output_cost_per_token: true,
    cache_read_input_token_cost: true,
    cache_creation_input_token_cost: true,
    max_input_tokens: true,
    max_output_tokens: true,
    supports_function_calling: true,
    supports_vision: true,
    supports_response_schema: true,
    supports_reasoning: true,
    max_tokens: "ambiguous; set max_input_tokens and max_output_tokens",
    id: "lanes have ids of their own",
    description: "models have no description",
    version: "models have no version",
    access_groups: "list models in policies instead",
    tags: "the gateway does not route by tags",
    health_check_model: AUTOMATIC,
    disable_background_health_check: AUTOMATIC,
  },
  router_settings: {
    routing_strategy: true,
    num_retries: true,
    timeout: true,
    stream_timeout: true,
    fallbacks: true,
    default_fallbacks: true,
    context_window_fallbacks: true,
    model_group_alias: true,
    content_policy_fallbacks:
      "rejected content is the caller's error here, and is not sent to another model",
    allowed_fails: COOLDOWN,
    allowed_fails_policy: COOLDOWN,
    cooldown_time: COOLDOWN,
    disable_cooldowns: COOLDOWN,
    retry_policy: AUTOMATIC,
    retry_after: AUTOMATIC,
    enable_pre_call_checks: AUTOMATIC,
    optional_pre_call_checks: AUTOMATIC,
    routing_strategy_args: "the score of a lane has no settings",
    provider_budget_config:
      "the gateway has no budgets of providers; limit keys in a policy, with model_limits",
    enable_tag_filtering: "the gateway does not route by tags",
    redis_host: STATE,
    redis_port: STATE,
    redis_password: STATE,
    redis_url: STATE,
    cache_responses: NO_CACHE,
    max_fallbacks: "set routing.max_attempts",
  },
  litellm_settings: {
    num_retries: true,
    request_timeout: true,
    fallbacks: true,
    default_fallbacks: true,
    context_window_fallbacks: true,
    default_key_generate_params: true,
    content_policy_fallbacks:
      "rejected content is the caller's error here, and is not sent to another model",
    upperbound_key_generate_params: "operators create keys; give them a policy",
    default_internal_user_params: "the gateway has keys and policies, no users",
    default_team_settings: "the gateway has keys and policies, no teams",
    max_budget: "the gateway has no budget of the deployment; limit keys in a policy",
    budget_duration: "the gateway has no budget of the deployment; limit keys in a policy",
    allowed_fails: COOLDOWN,
    drop_params: AUTOMATIC,
    modify_params: "the gateway does not change messages",
    set_verbose: "log.calls_percent sets the share of successful calls that are logged",
    json_logs: AUTOMATIC,
    cache: NO_CACHE,
    cache_params: NO_CACHE,
    callbacks: "metrics are at GET /metrics, spans go to telemetry.otlp_url; no other callbacks",
    success_callback:
      "metrics are at GET /metrics, spans go to telemetry.otlp_url; no other callbacks",
    failure_callback:
      "metrics are at GET /metrics, spans go to telemetry.otlp_url; no other callbacks",
    service_callbacks:
      "metrics are at GET /metrics, spans go to telemetry.otlp_url; no other callbacks",
    turn_off_message_logging: NO_CONTENT,
    redact_user_api_key_info: AUTOMATIC,
    langfuse_default_tags: NO_CONTENT,
    telemetry: AUTOMATIC,
    default_fallback_models: "use router_settings.default_fallbacks",
  },
  general_settings: {
    max_request_size_mb: true,
    alerting: true,
    master_key:
      "create an operator key: node scripts/gateway-key-ring.mjs generate --operators --label ops",
    database_url: STATE,
    database_connection_pool_limit: STATE,
    store_model_in_db: STATE,
    store_prompts_in_spend_logs: NO_CONTENT,
    proxy_batch_write_at: STATE,
    use_redis_transaction_buffer: STATE,
    salt_key: "set GATEWAY_MASTER_KEY, if keys of providers are to be in the database",
    alert_types: "see [alerts]",
    alerting_threshold: "see [alerts]",
    max_parallel_requests: "concurrent calls are limited for each key, in a policy",
    global_max_parallel_requests: "concurrent calls are limited for each key, in a policy",
    allowed_routes: "list endpoints in policies",
    public_routes: "the public routes are fixed",
    pass_through_endpoints: "the gateway has no pass-through routes",
    enable_jwt_auth: "callers need a key of the gateway",
    litellm_jwtauth: "callers need a key of the gateway",
    custom_auth: "callers need a key of the gateway",
    ui_access_mode: "the console needs an operator key; Cloudflare Access can restrict /console",
    background_health_checks: "not needed: health is observed in real calls",
    health_check_interval: "not needed: health is observed in real calls",
    disable_spend_logs: "receipts have no content, and are always kept",
    infer_model_from_keys: AUTOMATIC,
  },
};
