//! **The** table of signs that upstreams give when they fail, read before the status.
//!
//! The order is: the code, the type, the reasons and the status word against [`SIGNS`]; the message against [`PHRASES`];
//! the words that several providers use for several things against [`LATER_SIGNS`]; then the status. A new sign is a row.
//!
//! Only an upstream's own error text is compared, never content. A message may quote the caller's request, and a caller
//! must not be able to put a lane into cooldown with it: quoted text counts only for meanings that concern the caller's
//! request alone.

use super::said::{BASE_RESP, ERROR_CODE, Said};
use crate::error::Meaning::{
    self, CredentialRejected, Failed, Forbidden, ModelUnknown, Moderated, QuotaSpent, ReasoningRejected,
    Refused, Throttled, TooLong, Unsupported,
};

/// A row of codes, types, reasons and status words. Case, `_`, `-`, `.` and blanks in them do not matter.
struct Sign {
    words: &'static [&'static str],
    /// The shapes and providers to which a row is limited, because its codes are numbers; empty for any.
    of: &'static [&'static str],
    meaning: Meaning,
}

const fn sign(meaning: Meaning, words: &'static [&'static str]) -> Sign {
    Sign { words, of: &[], meaning }
}

const fn number(of: &'static [&'static str], meaning: Meaning, words: &'static [&'static str]) -> Sign {
    Sign { words, of, meaning }
}

const ZHIPU: &[&str] = &["zai", "zhipu"];
const WORKERS_AI: &[&str] = &["workers_ai", "internalCode"];

/// Codes, types, reasons and status words with one meaning.
#[rustfmt::skip]
const SIGNS: &[Sign] = &[
    sign(TooLong, &["context_length_exceeded", "string_above_max_length"]),      // OpenAI and most others
    sign(TooLong, &["exceed_context_size_error"]),                               // llama.cpp
    sign(TooLong, &["context_window_exceeded", "model_context_window_exceeded", "ContextWindowExceededError"]), // Anthropic, LiteLLM
    sign(TooLong, &["tokens_limit_reached", "context_length_error", "prompt_too_long", "input_too_long"]),      // GitHub Models, Fireworks, …
    sign(TooLong, &["request_too_large"]),                                       // Anthropic
    sign(ReasoningRejected, &["invalid_encrypted_content"]),                     // OpenAI, xAI
    sign(Moderated, &["content_filter", "content_policy_violation", "content_filtered", "content_moderation", "content_blocked"]), // OpenAI, Azure, Moonshot
    sign(Moderated, &["ResponsibleAIPolicyViolation", "moderation_blocked", "invalid_prompt", "prompt_blocked"]), // Azure, OpenAI
    sign(Moderated, &["data_inspection_failed", "sensitive_words_detected", "PROHIBITED_CONTENT"]),              // DashScope, one-api, Gemini
    sign(ModelUnknown, &["model_not_found", "model_not_exist", "unknown_model", "model_decommissioned", "model_not_available"]), // OpenAI, Groq, …
    sign(ModelUnknown, &["invalid_model", "ModelNotFound", "InvalidEndpointOrModel.NotFound", "ResourceNotFoundException"]),     // Mistral, Volcengine, AWS
    sign(CredentialRejected, &["invalid_api_key", "API_KEY_INVALID", "API_KEY_EXPIRED", "api_key_disabled", "expired_api_key", "invalid_token"]), // OpenAI, Google
    sign(CredentialRejected, &["CREDENTIALS_MISSING", "ACCESS_TOKEN_EXPIRED", "ACCESS_TOKEN_TYPE_UNSUPPORTED", "UNAUTHENTICATED"]), // Google
    sign(CredentialRejected, &["API_KEY_SERVICE_BLOCKED", "CONSUMER_SUSPENDED", "account_deactivated", "organization_deactivated"]), // Google, OpenAI
    sign(CredentialRejected, &["authentication_error", "invalid_authentication_error", "incorrect_api_key_error"]), // Anthropic, Moonshot
    sign(CredentialRejected, &["UnrecognizedClientException", "ExpiredTokenException", "InvalidSignatureException"]), // AWS
    sign(QuotaSpent, &["insufficient_quota", "exceeded_current_quota_error", "insufficient_user_quota", "insufficient_balance"]), // OpenAI, Moonshot, one-api
    sign(QuotaSpent, &["billing_hard_limit_reached", "billing_not_active", "billing_error", "BILLING_DISABLED", "Arrearage"]), // OpenAI, Anthropic, Google, DashScope
    sign(QuotaSpent, &["insufficient_credits", "credits_exhausted", "payment_required", "AllocationQuota.FreeTierOnly"]), // OpenRouter, DashScope
    sign(Forbidden, &["AccessDeniedException", "SERVICE_DISABLED", "unsupported_country_region_territory"]), // AWS, Google, OpenAI
    sign(Throttled, &["ThrottlingException", "TooManyRequestsException", "Throttling.RateQuota"]), // AWS, DashScope
    sign(Failed, &["overloaded_error", "engine_overloaded_error", "engine_overloaded", "server_overloaded", "capacity_exceeded"]), // Anthropic, Moonshot
    sign(Failed, &["ModelNotReadyException", "ModelTimeoutException", "ModelErrorException", "InternalServerException", "ServiceUnavailableException"]), // AWS
    number(WORKERS_AI, QuotaSpent, &["3036", "4006"]),
    number(WORKERS_AI, Throttled, &["3040"]),
    number(&[BASE_RESP], Throttled, &["1002"]),
    number(&[BASE_RESP], CredentialRejected, &["1004", "2049"]),
    number(&[BASE_RESP], QuotaSpent, &["1008", "2056"]),
    number(&[BASE_RESP], Moderated, &["1026", "1027"]),
    number(&[BASE_RESP], Throttled, &["1039"]),
    number(&[BASE_RESP], Refused, &["2013"]),
    number(&[ERROR_CODE], QuotaSpent, &["17", "19"]),
    number(&[ERROR_CODE], Throttled, &["4", "18"]),
    number(&[ERROR_CODE], CredentialRejected, &["100", "110", "111"]),
    number(&[ERROR_CODE], TooLong, &["336103"]),
    number(ZHIPU, CredentialRejected, &["1000", "1001", "1002", "1003", "1004"]),
    number(ZHIPU, QuotaSpent, &["1113", "1304", "1308", "1310"]),
    number(ZHIPU, ModelUnknown, &["1211"]),
    number(ZHIPU, TooLong, &["1261"]),
    number(ZHIPU, Moderated, &["1301"]),
    number(ZHIPU, Throttled, &["1302", "1303", "1305"]),
];

/// Codes, types and status words that say less than the message.
#[rustfmt::skip]
const LATER_SIGNS: &[Sign] = &[
    sign(Throttled, &["rate_limit_exceeded", "rate_limit_error", "rate_limit_reached_error", "rate_limit", "rate_limited", "too_many_requests"]),
    sign(Throttled, &["RESOURCE_EXHAUSTED", "requests", "tokens", "limit_requests", "slow_down"]), // Google; OpenAI's types of limits; DashScope
];

/// The status that a code, a type or a status word stands for, where nothing else says one.
#[rustfmt::skip]
const STATUS_WORDS: &[(u16, &[&str])] = &[
    (400, &["invalid_request_error", "BadRequestError", "bad_request", "INVALID_ARGUMENT", "FAILED_PRECONDITION", "ValidationException", "invalid_value"]),
    (403, &["permission_error", "PERMISSION_DENIED", "forbidden", "PermissionDeniedError"]),
    (404, &["not_found_error", "NOT_FOUND", "NotFoundError"]),
    (413, &["request_entity_too_large"]),
    (500, &["api_error", "InternalServerError", "internal_error", "internal_server_error", "INTERNAL"]),
    (503, &["overloaded_error", "engine_overloaded_error", "engine_overloaded", "server_overloaded", "capacity_exceeded", "UNAVAILABLE", "service_unavailable"]),
    (504, &["timeout_error", "DEADLINE_EXCEEDED"]),
];

/// A row of phrases: a message has the meaning if it contains all of them, in lower case.
struct Phrase {
    all: &'static [&'static str],
    meaning: Meaning,
}

const fn says(meaning: Meaning, all: &'static [&'static str]) -> Phrase {
    Phrase { all, meaning }
}

/// The phrases of messages, in the order in which they are tried: what concerns the caller's request comes first.
#[rustfmt::skip]
const PHRASES: &[Phrase] = &[
    // One request alone is larger than a limit by the minute: OpenAI, Groq, Azure.
    says(Unsupported, &["request too large", "per min"]),
    says(Unsupported, &["request too large", "tpm"]),
    // The reasoning of earlier turns, which its maker alone accepts.
    says(ReasoningRejected, &["invalid `signature` in"]),           // Anthropic
    says(ReasoningRejected, &["invalid `data` in `redacted_thinking`"]), // Anthropic
    says(ReasoningRejected, &["thinking.signature: field required"]), // Anthropic
    says(ReasoningRejected, &["signature: field required"]),        // Anthropic, Bedrock
    says(ReasoningRejected, &["must start with a thinking block"]), // Anthropic
    says(ReasoningRejected, &["blocks in the latest", "cannot be modified"]), // Anthropic
    says(ReasoningRejected, &["encrypted content", "could not be"]), // OpenAI
    says(ReasoningRejected, &["of type 'reasoning' was provided without"]), // OpenAI
    says(ReasoningRejected, &["without its required 'reasoning' item"]), // OpenAI
    says(ReasoningRejected, &["item with id 'rs_", "not found"]),   // OpenAI
    says(ReasoningRejected, &["corrupted thought signature"]),      // Gemini
    // The endpoint lacks what the request needs: OpenRouter, Ollama, vLLM, Workers AI.
    says(Unsupported, &["no endpoints found that support"]),
    says(Unsupported, &["no endpoints found that can handle"]),
    says(Unsupported, &["no endpoints found matching"]),
    says(Unsupported, &["no endpoints available matching"]),
    says(Unsupported, &["no allowed providers are available"]),
    says(Unsupported, &["does not support tool"]),
    says(Unsupported, &["does not support function"]),
    says(Unsupported, &["does not support image"]),
    says(Unsupported, &["does not support vision"]),
    says(Unsupported, &["does not support chat"]),
    says(Unsupported, &["auto\" tool choice requires"]),
    // The input is too long.
    says(TooLong, &["maximum context"]),                            // OpenAI, Azure, DeepSeek, vLLM, Fireworks, Together, Mistral, OpenRouter
    says(TooLong, &["max context"]),                                // Ollama
    says(TooLong, &["context length"]),                             // SGLang, LM Studio, Ollama, Cerebras
    says(TooLong, &["context window"]),                             // Workers AI, MiniMax, llama-cpp-python, OpenAI's newer models
    says(TooLong, &["context size"]),                               // llama.cpp
    says(TooLong, &["context limit"]),                              // Anthropic
    says(TooLong, &["prompt is too long"]),                         // Anthropic, Fireworks
    says(TooLong, &["prompt too long"]),                            // Ollama, AI21
    says(TooLong, &["prompt exceeds max"]),                         // Zhipu, Z.ai
    says(TooLong, &["maximum prompt length"]),                      // xAI
    says(TooLong, &["reduce the length of the"]),                   // OpenAI, Groq, Cerebras
    says(TooLong, &["too many tokens"]),                            // Cohere, Voyage
    says(TooLong, &["too many input tokens"]),                      // Bedrock
    says(TooLong, &["input is too long"]),                          // Bedrock
    says(TooLong, &["input too long"]),
    says(TooLong, &["input is too large to process"]),              // llama.cpp's embeddings
    says(TooLong, &["input token count", "exceed"]),                // Gemini, Vertex
    says(TooLong, &["maximum number of tokens allowed"]),           // Gemini
    says(TooLong, &["maximum number of input tokens"]),             // Bedrock
    says(TooLong, &["model token limit"]),                          // Moonshot
    says(TooLong, &["inputs", "tokens", "must be <="]),             // TGI, Together, Hugging Face
    says(TooLong, &["inputs", "must have less than", "tokens"]),    // TGI
    says(TooLong, &["range of input length should be"]),            // DashScope
    says(TooLong, &["input length", "exceed"]),                     // Bedrock, Ollama, SGLang, vLLM
    says(TooLong, &["prompt length", "exceed"]),                    // vLLM, TensorRT-LLM
    says(TooLong, &["prompt", "longer than the maximum model length"]), // vLLM
    says(TooLong, &["tokens", "exceeds the maximum", "input"]),     // SambaNova, NVIDIA
    says(TooLong, &["exceeds maximum length of", "tokens"]),        // Jina
    says(TooLong, &["max allowed tokens per submitted batch"]),     // Voyage
    says(TooLong, &["maximum request size", "tokens per request"]), // OpenAI's embeddings
    says(TooLong, &["request body too large", "max size", "tokens"]), // GitHub Models
    // Moderation.
    says(Moderated, &["was flagged"]),                              // OpenRouter, OpenAI
    says(Moderated, &["been flagged"]),
    says(Moderated, &["content management policy"]),                // Azure
    says(Moderated, &["content policy"]),
    says(Moderated, &["content filter"]),
    says(Moderated, &["usage guidelines"]),                         // xAI
    says(Moderated, &["violat", "usage polic"]),                    // OpenAI
    says(Moderated, &["safety"]),                                   // OpenAI, Gemini
    says(Moderated, &["content exists risk"]),                      // DeepSeek
    says(Moderated, &["inappropriate content"]),                    // DashScope
    says(Moderated, &["considered high risk"]),                     // Moonshot
    says(Moderated, &["prohibited content"]),                       // Gemini
    says(Moderated, &["敏感内容"]),                                  // Zhipu
    // The gateway's credential.
    says(CredentialRejected, &["api key not valid"]),               // Gemini
    says(CredentialRejected, &["incorrect api key"]),               // OpenAI, xAI
    says(CredentialRejected, &["invalid api key"]),                 // Groq, Together, SambaNova
    says(CredentialRejected, &["invalid api-key"]),                 // DashScope
    says(CredentialRejected, &["invalid x-api-key"]),               // Anthropic
    says(CredentialRejected, &["wrong api key"]),                   // Cerebras
    says(CredentialRejected, &["api key", "expired"]),              // Gemini
    says(CredentialRejected, &["api key", "revoked"]),
    says(CredentialRejected, &["api key", "disabled"]),
    says(CredentialRejected, &["api key", "invalid"]),              // DeepSeek, Fireworks
    says(CredentialRejected, &["api key", "suspended"]),
    says(CredentialRejected, &["api key", "not found"]),
    says(CredentialRejected, &["api key", "does not exist"]),
    says(CredentialRejected, &["api key", "missing"]),
    says(CredentialRejected, &["unknown api key"]),
    says(CredentialRejected, &["didn't provide an api key"]),       // OpenAI
    says(CredentialRejected, &["no api key"]),
    says(CredentialRejected, &["leaked", "api key"]),               // Gemini
    says(CredentialRejected, &["invalid authentication"]),          // Moonshot, OpenAI
    says(CredentialRejected, &["authentication fails"]),            // DeepSeek
    says(CredentialRejected, &["authentication failed"]),
    says(CredentialRejected, &["no auth credentials found"]),       // OpenRouter
    says(CredentialRejected, &["invalid credentials"]),
    says(CredentialRejected, &["security token included in the request"]), // AWS
    says(CredentialRejected, &["organization has been disabled"]),  // Anthropic
    says(CredentialRejected, &["无效的令牌"]),                        // one-api
    says(CredentialRejected, &["令牌已过期"]),                        // one-api
    // The gateway's account.
    says(QuotaSpent, &["exceeded your current quota"]),             // OpenAI, Gemini; Gemini's limits by the minute are read before
    says(QuotaSpent, &["insufficient quota"]),
    says(QuotaSpent, &["insufficient balance"]),                    // DeepSeek, Zhipu, SiliconFlow
    says(QuotaSpent, &["insufficient account balance"]),
    says(QuotaSpent, &["insufficient credit"]),                     // OpenRouter
    says(QuotaSpent, &["insufficient funds"]),
    says(QuotaSpent, &["not enough credit"]),
    says(QuotaSpent, &["not enough balance"]),
    says(QuotaSpent, &["requires more credits"]),                   // OpenRouter
    says(QuotaSpent, &["credit balance is too low"]),               // Anthropic
    says(QuotaSpent, &["out of credits"]),
    says(QuotaSpent, &["used all available credits"]),              // xAI
    says(QuotaSpent, &["credits are depleted"]),                    // Gemini
    says(QuotaSpent, &["monthly included credits"]),                // Hugging Face
    says(QuotaSpent, &["monthly spending limit"]),                  // xAI
    says(QuotaSpent, &["credit limit exceeded"]),                   // Together
    says(QuotaSpent, &["billing hard limit"]),                      // OpenAI
    says(QuotaSpent, &["check your billing details"]),              // OpenAI
    says(QuotaSpent, &["check your plan and billing"]),             // OpenAI, Moonshot
    says(QuotaSpent, &["make sure your account is in good standing"]), // DashScope
    says(QuotaSpent, &["daily request limit reached"]),             // Baidu
    says(QuotaSpent, &["daily free allocation"]),                   // Workers AI
    says(QuotaSpent, &["payment required"]),
    says(QuotaSpent, &["余额不足"]),                                  // Zhipu, SiliconFlow
    says(QuotaSpent, &["额度不足"]),                                  // one-api
    says(QuotaSpent, &["额度已用尽"]),                                // one-api
    says(QuotaSpent, &["欠费"]),
    // The model.
    says(ModelUnknown, &["model does not exist"]),                  // OpenAI, vLLM
    says(ModelUnknown, &["model not exist"]),                       // DeepSeek
    says(ModelUnknown, &["model not found"]),                       // Ollama, Cohere
    says(ModelUnknown, &["models/", "is not found"]),               // Gemini
    says(ModelUnknown, &["not a valid model id"]),                  // OpenRouter
    says(ModelUnknown, &["model identifier is invalid"]),           // Bedrock
    says(ModelUnknown, &["is not supported. supported models"]),    // Voyage
    says(ModelUnknown, &["model has been decommissioned"]),         // Groq
    says(ModelUnknown, &["model has been deprecated"]),
    says(ModelUnknown, &["model has been retired"]),
    says(ModelUnknown, &["invalid model:"]),                        // Mistral
    says(ModelUnknown, &["unknown model"]),
    says(ModelUnknown, &["no endpoints found for"]),                // OpenRouter
];

/// Phrases that say less than a status below 500.
#[rustfmt::skip]
const LATER_PHRASES: &[Phrase] = &[
    says(Throttled, &["rate limit"]),
    says(Throttled, &["rate-limit"]),
    says(Throttled, &["too many requests"]),
    says(Throttled, &["requests per minute"]),
    says(Throttled, &["tokens per minute"]),
    says(Throttled, &["resource has been exhausted"]),              // Gemini
    says(Throttled, &["resource exhausted"]),
    says(Throttled, &["quota exceeded"]),                           // Google
    says(Throttled, &["throttl"]),                                  // AWS
];

impl Meaning {
    /// The most general meanings concern the caller's request alone, so that quoted text can do no harm.
    fn may_be_quoted(self) -> bool {
        matches!(self, TooLong | Moderated | Unsupported | ReasoningRejected)
    }
}

/// The meaning of an error, and the status with which it is returned. `status` is that of the response, if it is an
/// error status.
pub(super) fn decide(provider: &str, said: &Said, status: Option<u16>) -> (Meaning, u16) {
    // Some repeat a status of their own in the body. These of the response are specific enough to count more.
    let specific = status.filter(|status| matches!(status, 401..=404 | 408..=410 | 413 | 429));
    let told = specific.or(said.status).or(status).or_else(|| said.words().find_map(status_of_word));
    let text = Text::of(said);
    let meaning = by_sign(SIGNS, provider, said)
        .filter(|_| !said.by_the_minute)
        .or_else(|| said.by_the_minute.then_some(Throttled))
        .or_else(|| text.find(PHRASES, told))
        .or_else(|| by_sign(LATER_SIGNS, provider, said))
        .or_else(|| text.find(LATER_PHRASES, told).filter(|_| told.is_none_or(|status| status >= 500)));
    let word = || said.words().find_map(status_of_word);
    match meaning {
        None => {
            let status = told.unwrap_or(502);
            match Meaning::of_status(status) {
                CredentialRejected => (CredentialRejected, fitting(CredentialRejected, told, word)),
                meaning => (meaning, status),
            }
        }
        Some(meaning) => (meaning, fitting(meaning, told, word)),
    }
}

/// The status of an error whose meaning is known from more than its status: the given one if it fits.
fn fitting(meaning: Meaning, status: Option<u16>, word: impl FnOnce() -> Option<u16>) -> u16 {
    let if_in = |fits: &dyn Fn(u16) -> bool, otherwise: u16| {
        status.filter(|status| fits(*status)).unwrap_or(otherwise)
    };
    let is_of_request = |status: u16| matches!(status, 400 | 403 | 404 | 405..=407 | 411..=428 | 430..=499);
    match meaning {
        TooLong => 400,
        // Clients retry a 429, which cannot help here.
        Unsupported if status == Some(429) => 413,
        Moderated | Unsupported | ReasoningRejected | Refused => if_in(&is_of_request, 400),
        ModelUnknown => if_in(&|status| matches!(status, 400 | 404 | 410 | 422), 404),
        // Not 401: clients would take it for a fault of their own key.
        CredentialRejected => 502,
        QuotaSpent => if_in(&|status| matches!(status, 402 | 429), 402),
        Forbidden => 403,
        Throttled => if_in(&|status| matches!(status, 429 | 503 | 529), 429),
        Failed => {
            let fits = |status: u16| matches!(status, 408 | 409 | 425 | 429 | 500..=599);
            status.filter(|status| fits(*status)).or_else(|| word().filter(|word| fits(*word))).unwrap_or(503)
        }
    }
}

fn by_sign(table: &[Sign], provider: &str, said: &Said) -> Option<Meaning> {
    let is_of =
        |row: &&Sign| row.of.is_empty() || row.of.iter().any(|of| *of == provider || Some(*of) == said.shape);
    let meaning = |word: &str| {
        let mut rows = table.iter().filter(is_of);
        rows.find(|row| row.words.iter().any(|known| is_same(known, word))).map(|row| row.meaning)
    };
    said.words().find_map(meaning)
}

fn status_of_word(word: &str) -> Option<u16> {
    STATUS_WORDS
        .iter()
        .find(|(_, words)| words.iter().any(|known| is_same(known, word)))
        .map(|(status, _)| *status)
}

/// Compares words regardless of case and separators.
fn is_same(a: &str, b: &str) -> bool {
    let letters = |text: &str| -> Vec<u8> {
        text.bytes().filter(u8::is_ascii_alphanumeric).map(|byte| byte.to_ascii_lowercase()).collect()
    };
    a.len().abs_diff(b.len()) <= 8 && letters(a) == letters(b)
}

/// The text of an error in lower case.
struct Text {
    all: String,
    /// Without quoted parts.
    own: String,
}

impl Text {
    fn of(said: &Said) -> Text {
        let all = without_input(&said.text).to_lowercase();
        let own = without_quotes(&all);
        Text { all, own }
    }

    fn find(&self, table: &[Phrase], status: Option<u16>) -> Option<Meaning> {
        let is_said = |phrase: &&Phrase| {
            // A limit of a model is not told with 429, but limits by the minute have similar words.
            if phrase.meaning == TooLong && status == Some(429) {
                return false;
            }
            let text = if phrase.meaning.may_be_quoted() { &self.all } else { &self.own };
            phrase.all.iter().all(|part| text.contains(part))
        };
        table.iter().find(is_said).map(|phrase| phrase.meaning)
    }
}

/// The beginnings of what validators append to a message: the rejected value, which is the caller's.
const INPUT_MARKS: [&str; 3] = ["'input': ", "\"input\":", "input_value="];

/// A message up to the caller's own input.
fn without_input(message: &str) -> &str {
    let ends = INPUT_MARKS.iter().filter_map(|mark| message.find(mark));
    ends.min().and_then(|end| message.get(..end)).unwrap_or(message)
}

/// A text without what is in double quotes, backticks, or single quotes that are no apostrophes.
fn without_quotes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(['"', '`', '\'']) {
        let (before, from) = rest.split_at(start);
        out.push_str(before);
        let mut chars = from.chars();
        let quote = chars.next().unwrap_or('"');
        let inside = chars.as_str();
        let is_apostrophe = quote == '\'' && before.ends_with(char::is_alphanumeric);
        let end = if is_apostrophe { None } else { inside.find(quote) };
        rest = end.and_then(|end| inside.get(end + quote.len_utf8()..)).unwrap_or(inside);
        out.push(' ');
    }
    out.push_str(rest);
    out.split_whitespace().collect::<Vec<_>>().join(" ")
}
