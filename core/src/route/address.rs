//! From a model name to the provider that is asked.
//!
//! In this order: an alias of the configuration; `provider/model`, whatever the model, since providers add models every
//! week; a bare id that exactly one active provider is known to have.

use crate::catalog::{Access, Entry, Registry};
use crate::config::Config;
use crate::error::{Code, Error};

/// Where a call goes.
#[derive(Debug)]
pub struct Target<'a> {
    /// The provider.
    pub provider: &'a Entry,
    /// The model id to send it.
    pub model: &'a str,
}

/// Finds the provider for a caller's model name.
pub fn resolve<'a>(registry: &'a Registry, config: &'a Config, name: &'a str) -> Result<Target<'a>, Error> {
    let name = config.aliases.get(name).map_or(name, String::as_str);
    if let Some((provider, model)) = name.split_once('/')
        && let Some(entry) = registry.provider(provider)
        && !model.is_empty()
    {
        return match &entry.access {
            Access::Active { .. } => Ok(Target { provider: entry, model }),
            Access::Inactive(why) => Err(Error::new(
                Code::ProviderNotConfigured,
                format!("provider '{provider}' is not configured: {why}"),
            )
            .with_param("model")),
        };
    }
    let mut found = registry.models().filter(|(_, model)| model.id == name);
    let Some((entry, model)) = found.next() else { return Err(not_found(name)) };
    let others: Vec<_> = found.map(|(other, _)| format!("'{}/{name}'", other.name)).collect();
    if !others.is_empty() {
        return Err(Error::new(
            Code::AmbiguousModel,
            format!(
                "several providers have '{name}'; choose '{}/{name}' or {}",
                entry.name,
                others.join(" or ")
            ),
        )
        .with_param("model"));
    }
    Ok(Target { provider: entry, model: model.id })
}

fn not_found(name: &str) -> Error {
    let shown: String = name.chars().take(100).collect();
    Error::new(
        Code::ModelNotFound,
        format!("Model '{shown}' is not known here; GET /v1/models lists those that are, and provider/model reaches any other"),
    )
    .with_param("model")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str) -> Result<String, String> {
        let config = Config::read(
            "{}",
            Some(
                r#"{"aliases":{"fast":"acme/a","gpt-4o":"acme/b"},
                "providers":{"acme":{"base_url":"http://a.example","auth":"none","models":["a","twin","x/y"]},
                             "other":{"base_url":"http://o.example","auth":"none","models":["twin"]}}}"#,
            ),
        )
        .unwrap();
        let registry =
            Registry::new(&config, |variable| (variable == "OPENAI_API_KEY").then(|| "sk".to_owned()));
        resolve(&registry, &config, name)
            .map(|target| format!("{} {}", target.provider.name, target.model))
            .map_err(|error| format!("{} {}", error.status, error.message))
    }

    #[test]
    fn finds_the_provider() {
        for (name, target) in [
            ("acme/a", "acme a"),
            ("acme/of/any/depth", "acme of/any/depth"),
            ("openai/gpt-of-tomorrow", "openai gpt-of-tomorrow"),
            ("a", "acme a"),
            ("x/y", "acme x/y"),
            ("gpt-4o-mini", "openai gpt-4o-mini"),
            ("fast", "acme a"),
            ("gpt-4o", "acme b"),
        ] {
            assert_eq!(check(name).as_deref(), Ok(target), "{name}");
        }
    }

    #[test]
    fn says_what_is_wrong() {
        for (name, error) in [
            ("gpt-99", "404 Model 'gpt-99' is not known here"),
            ("acme/", "404 Model 'acme/' is not known here"),
            ("/x", "404 Model '/x' is not known here"),
            ("twin", "400 several providers have 'twin'; choose 'acme/twin' or 'other/twin'"),
            ("groq/x", "503 provider 'groq' is not configured: the secret GROQ_API_KEY is not set"),
        ] {
            assert!(check(name).unwrap_err().starts_with(error), "{name}: {:?}", check(name));
        }
    }
}
