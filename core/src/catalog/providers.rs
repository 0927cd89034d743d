//! The built-in providers. One row each; everything that differs between them is a column.

use crate::config::Auth;

/// What Gatehouse knows of a provider.
#[derive(Debug)]
pub struct Provider {
    /// The name in `provider/model`, and, in upper case, in the names of its variables.
    pub name: &'static str,
    /// What `/chat/completions` is appended to.
    pub base_url: &'static str,
    /// How it wants to be authenticated to.
    pub auth: Auth,
    /// When its streams tell usage.
    pub stream_usage: StreamUsage,
}

/// When a provider's streams tell the usage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamUsage {
    /// When `stream_options.include_usage` asks for it.
    OnRequest,
    /// Always; some of these refuse `stream_options` as an unknown parameter.
    Always,
}

const fn provider(name: &'static str, base_url: &'static str) -> Provider {
    Provider { name, base_url, auth: Auth::Bearer, stream_usage: StreamUsage::OnRequest }
}

/// All built-in providers, by name. Addresses as of mid-2026.
#[rustfmt::skip]
pub static PROVIDERS: &[Provider] = &[
    provider("cerebras",   "https://api.cerebras.ai/v1"),
    provider("deepseek",   "https://api.deepseek.com/v1"),
    provider("gemini",     "https://generativelanguage.googleapis.com/v1beta/openai"),
    provider("groq",       "https://api.groq.com/openai/v1"),
    Provider { stream_usage: StreamUsage::Always,
        ..provider("mistral", "https://api.mistral.ai/v1") },
    Provider { auth: Auth::None,
        ..provider("ollama", "http://localhost:11434/v1") },
    provider("openai",     "https://api.openai.com/v1"),
    provider("openrouter", "https://openrouter.ai/api/v1"),
    provider("together",   "https://api.together.xyz/v1"),
    provider("xai",        "https://api.x.ai/v1"),
];

/// The Worker secret that holds a provider's key: `my-llm` → `MY_LLM_API_KEY`.
pub fn api_key_variable(provider: &str) -> String {
    variable(provider, "API_KEY")
}

/// The variable that overrides where a provider lives: `my-llm` → `MY_LLM_BASE_URL`.
pub fn base_url_variable(provider: &str) -> String {
    variable(provider, "BASE_URL")
}

fn variable(provider: &str, suffix: &str) -> String {
    format!("{}_{suffix}", provider.to_ascii_uppercase().replace('-', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::BaseUrl;

    #[test]
    fn the_table_is_sorted_and_every_address_is_valid() {
        assert!(PROVIDERS.is_sorted_by(|a, b| a.name < b.name));
        for provider in PROVIDERS {
            assert_eq!(BaseUrl::parse(provider.base_url).unwrap().as_str(), provider.base_url);
        }
    }

    #[test]
    fn variables_are_upper_case_names() {
        assert_eq!(api_key_variable("openai"), "OPENAI_API_KEY");
        assert_eq!(base_url_variable("my-llm"), "MY_LLM_BASE_URL");
    }
}
