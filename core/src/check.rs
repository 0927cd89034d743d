//! Validation of the configuration beyond its types: each setting against the catalogue, the operations and the other
//! settings.
//!
//! The build validates `gateway.toml`; each isolate validates the result of applying `GATEWAY_CONFIG`.

use crate::catalog::{PROVIDERS, base_url_variable, facts};
use crate::config::{AUTO, Calls, Config, ConfigError, Limits, MAX_PER_CLIENT};
use crate::ledger::limit::table;
use crate::name::{is_name, model_name_fault};
use crate::routes::inference_endpoints;
use crate::text::email;

/// Reads a configuration as [`Config::read`] does, and validates it.
pub fn read(built: &str, patch: Option<&str>) -> Result<Config, ConfigError> {
    let config = Config::read(built, patch)?;
    config.check()?;
    Ok(config)
}

impl Config {
    /// Checks the rules that the types alone cannot state.
    pub fn check(&self) -> Result<(), ConfigError> {
        let fail = |message: String| Err(ConfigError(message));
        for (setting, value) in [
            ("requests.max_body_bytes", self.requests.max_body_bytes),
            ("requests.max_upload_bytes", self.requests.max_upload_bytes),
            ("responses.max_bytes", self.responses.max_bytes),
            ("timeouts.total_ms", self.timeouts.total_ms),
            ("timeouts.body_ms", self.timeouts.body_ms),
            ("timeouts.first_byte_ms", self.timeouts.first_byte_ms),
            ("timeouts.stream_first_byte_ms", self.timeouts.stream_first_byte_ms),
            ("timeouts.stall_ms", self.timeouts.stall_ms),
            ("timeouts.idle_ms", self.timeouts.idle_ms),
            ("timeouts.ping_ms", self.timeouts.ping_ms),
            ("routing.hold_ms", self.routing.hold_ms),
            ("routing.hold_bytes", self.routing.hold_bytes),
            ("routing.backoff_ms", self.routing.backoff_ms),
        ] {
            if value == 0 {
                return fail(format!("{setting} must be greater than 0"));
            }
        }
        for (setting, bytes) in [
            ("requests.max_body_bytes", self.requests.max_body_bytes),
            ("requests.max_upload_bytes", self.requests.max_upload_bytes),
            ("responses.max_bytes", self.responses.max_bytes),
        ] {
            let most = self.requests.max_held_bytes;
            if bytes > most {
                return fail(format!("{setting} must be at most requests.max_held_bytes, which is {most}"));
            }
        }
        self.check_access()?;
        self.cloudflare_access.check()?;
        for name in self.providers.keys() {
            if !is_provider_name(name) {
                return fail(format!(
                    "providers.{name}: a provider's name must start with a lower-case letter and have only lower-case letters, digits and '-'"
                ));
            }
            if PROVIDERS.iter().any(|provider| provider.name == name) {
                return fail(format!(
                    "providers.{name} is built in; set {} to change its address",
                    base_url_variable(name)
                ));
            }
        }
        for (provider, settings) in &self.providers {
            if let Some(id) = settings.models.iter().find(|id| id.trim().is_empty()) {
                return fail(format!("providers.{provider}.models has the empty id '{id}'; remove it"));
            }
        }
        self.check_models()
    }

    /// Checks the rules about models, aliases and groups.
    fn check_models(&self) -> Result<(), ConfigError> {
        let fail = |message: String| Err(ConfigError(message));
        let routing = &self.routing;
        if !(1..=10).contains(&routing.max_attempts) || routing.retries > 5 {
            return fail(
                "routing.max_attempts must be between 1 and 10, and routing.retries between 0 and 5"
                    .to_owned(),
            );
        }
        // It would be listed in vain: callers could not name it.
        let listed = self.providers.iter().flat_map(|(provider, settings)| {
            settings.models.iter().map(move |id| ("providers", format!("{provider}/{id}")))
        });
        let aliases = self.aliases.keys().map(|name| ("aliases", name.clone()));
        let groups = self.groups.keys().map(|name| ("groups", name.clone()));
        for (table, name) in aliases.chain(groups).chain(listed) {
            if let Some(fault) = model_name_fault(&name) {
                let shown: String = name.chars().take(60).collect();
                return fail(format!("{table}: the name {shown:?} {fault}"));
            }
        }
        for pattern in routing.auto.iter().flatten() {
            self.check_address("routing.auto", pattern)?;
        }
        for (alias, target) in &self.aliases {
            if alias.trim().is_empty() {
                return fail("aliases has an empty name; name the alias".to_owned());
            }
            self.check_address(&format!("aliases.{alias}"), target)?;
            self.check_alias_ends(alias, target)?;
        }
        for (name, group) in &self.groups {
            if name.trim().is_empty() || name == AUTO || self.aliases.contains_key(name) {
                return fail(format!(
                    "groups.{name}: the name of a group must not be empty, '{AUTO}' or the name of an alias"
                ));
            }
            if group.models.is_empty() {
                return fail(format!("groups.{name}.models is empty; list at least one model"));
            }
            for (index, model) in group.models.iter().enumerate() {
                self.check_address(&format!("groups.{name}.models"), model)?;
                if group.models.iter().take(index).any(|earlier| earlier == model) {
                    return fail(format!("groups.{name}.models has '{model}' twice"));
                }
            }
            if let Some(weights) = &group.weights
                && (weights.len() != group.models.len()
                    || weights.iter().any(|weight| !(1..=1000).contains(weight)))
            {
                return fail(format!(
                    "groups.{name}.weights must have one number from 1 to 1000 for each model"
                ));
            }
        }
        for (address, settings) in &self.models {
            self.check_address("models", address)?;
            if settings.priority.is_some_and(|priority| priority > 100) {
                return fail(format!("models.\"{address}\".priority must be between 0 and 100"));
            }
            if let Some(like) = &settings.like
                && like.split_once('/').is_none_or(|(provider, id)| facts(provider, id).is_none())
            {
                return fail(format!("models.\"{address}\".like is '{like}', which is not in the catalogue"));
            }
        }
        Ok(())
    }

    /// Rejects an alias that leads back to itself by way of others: names of aliases may look like those of models.
    fn check_alias_ends(&self, alias: &str, target: &str) -> Result<(), ConfigError> {
        let mut chain = vec![alias];
        let mut next = Some(target);
        while let Some(name) = next {
            chain.push(name);
            if name == alias {
                let chain = chain.join("' -> '");
                return Err(ConfigError(format!("aliases.{alias} leads back to itself: '{chain}'")));
            }
            // A loop of others has an error of its own.
            next = self
                .aliases
                .get(name)
                .map(String::as_str)
                .filter(|name| *name == alias || !chain.contains(name));
        }
        Ok(())
    }

    fn check_address(&self, place: &str, target: &str) -> Result<(), ConfigError> {
        let Some((provider, model)) = target.split_once('/') else {
            return Err(ConfigError(format!("{place} is '{target}'; it must be provider/model")));
        };
        if let Some(fault) = model_name_fault(target) {
            return Err(ConfigError(format!("{place} is a name that {fault}")));
        }
        if !self.is_provider(provider) || model.is_empty() {
            return Err(ConfigError(format!("{place} is '{target}'; there is no provider '{provider}'")));
        }
        Ok(())
    }

    fn is_provider(&self, name: &str) -> bool {
        self.providers.contains_key(name) || PROVIDERS.iter().any(|known| known.name == name)
    }

    /// Checks the rules about keys and policies.
    fn check_access(&self) -> Result<(), ConfigError> {
        let fail = |message: String| Err(ConfigError(message));
        for (setting, value, max) in [
            ("access.requests_per_day", self.access.requests_per_day, MAX_PER_CLIENT),
            ("access.failed_auth_per_minute", self.access.failed_auth_per_minute, MAX_PER_CLIENT),
            ("access.claim_hours", self.access.claim_hours, 24 * 365),
        ] {
            if !(1..=max).contains(&value) {
                return fail(format!("{setting} must be between 1 and {max}"));
            }
        }
        if self.calls.keep > Calls::MAX_KEEP {
            return fail(format!("calls.keep must be between 0 and {}", Calls::MAX_KEEP));
        }
        if !(1..=Calls::MAX_DAYS).contains(&self.calls.days) {
            return fail(format!("calls.days must be between 1 and {}", Calls::MAX_DAYS));
        }
        if self.log.calls_percent > 100 {
            return fail("log.calls_percent must be between 0 and 100".to_owned());
        }
        if let Err(name) = self.check_policies(&self.access.policies) {
            return fail(format!("access.policies names '{name}', which is not in [policies]"));
        }
        for (name, policy) in &self.policies {
            if !is_name(name, 64) {
                return fail(format!(
                    "policies.{name}: a policy's name is 1 to 64 characters of [A-Za-z0-9._:-]"
                ));
            }
            if policy.expires_days.is_some_and(|days| !(1..=36_500).contains(&days)) {
                return fail(format!("policies.{name}.expires_days must be between 1 and 36500"));
            }
            check_limits(&format!("policies.{name}.limits"), &policy.limits)?;
            for (models, limits) in &policy.model_limits {
                let place = format!("policies.{name}.model_limits");
                self.check_model_pattern(models)
                    .map_err(|what| ConfigError(format!("{place}: '{models}' {what}")))?;
                check_limits(&format!("{place}.\"{models}\""), limits)?;
            }
            for model in policy.models.iter().flatten() {
                self.check_model_pattern(model)
                    .map_err(|what| ConfigError(format!("policies.{name}.models: '{model}' {what}")))?;
            }
            let endpoints = inference_endpoints();
            if let Some(path) =
                policy.endpoints.iter().flatten().find(|path| !endpoints.contains(&path.as_str()))
            {
                let known = endpoints.join(", ");
                return fail(format!(
                    "policies.{name}.endpoints: '{path}' is not an inference endpoint; it must be one of {known}"
                ));
            }
        }
        if let Some(Err(error)) = self.email.from.as_deref().map(email) {
            return fail(format!("email.from: {}", error.message));
        }
        self.telemetry.check()?;
        self.alerts.check(self.email.from.is_some())
    }

    /// Checks that a text may appear in a list of models. The error states what the text must be.
    pub fn check_model_pattern(&self, pattern: &str) -> Result<(), String> {
        if pattern == AUTO || self.aliases.contains_key(pattern) || self.groups.contains_key(pattern) {
            return Ok(());
        }
        match pattern.split_once('/') {
            Some((provider, model)) if !model.is_empty() && pattern.len() <= 200 => {
                if self.is_provider(provider) {
                    Ok(())
                } else {
                    Err("does not start with the name of a configured provider".to_owned())
                }
            }
            _ => Err("must be provider/model, provider/*, an alias, a group or 'auto'".to_owned()),
        }
    }
}

/// Rejects limits of 0: the key could do nothing, so 0 is most likely a mistake.
pub(crate) fn check_limits(place: &str, limits: &Limits) -> Result<(), ConfigError> {
    match table(limits).into_iter().find(|(.., amount)| *amount == Some(0)) {
        Some((name, ..)) => Err(ConfigError(format!("{place}.{name} must be greater than 0"))),
        None => Ok(()),
    }
}

fn is_provider_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(patch: &str) -> Result<Config, String> {
        let built = serde_json::to_string(&Config::default()).unwrap();
        super::read(&built, Some(patch)).map_err(|error| error.to_string())
    }

    #[test]
    fn names_that_callers_cannot_send_are_rejected() {
        let long = "x".repeat(513);
        for (patch, part) in [
            (format!(r#"{{"aliases":{{"{long}":"groq/x"}}}}"#), "aliases: the name \"xxx"),
            (r#"{"aliases":{"a\u0001":"groq/x"}}"#.to_owned(), "has a control character"),
            (format!(r#"{{"aliases":{{"a":"groq/{long}"}}}}"#), "518 bytes long; the limit is 512"),
            (format!(r#"{{"groups":{{"{long}":{{"models":["groq/x"]}}}}}}"#), "groups: the name"),
            (format!(r#"{{"groups":{{"g":{{"models":["groq/{long}"]}}}}}}"#), "518 bytes long"),
            (
                format!(
                    r#"{{"providers":{{"acme":{{"base_url":"http://a.example","models":["{long}"]}}}}}}"#
                ),
                "providers: the name",
            ),
        ] {
            let error = read(&patch).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
        assert!(read(&format!(r#"{{"aliases":{{"{}":"groq/x"}}}}"#, "é".repeat(256))).is_ok());
    }

    #[test]
    fn rejects_settings_that_would_have_no_effect_and_names_them() {
        for (patch, part) in [
            (r#"{"limits":{}}"#, "unknown field `limits`"),
            (r#"{"timeouts":{"idle":5}}"#, "unknown field `idle`"),
            (r#"{"analytics":{"public":"no"}}"#, "invalid type: string \"no\""),
            (r#"{"analytics":{"private":true}}"#, "unknown field `private`"),
            (r#"{"timeouts":{"idle_ms":"5"}}"#, "invalid type: string \"5\""),
            (r#"{"timeouts":{"idle_ms":0}}"#, "timeouts.idle_ms must be greater than 0"),
            (
                r#"{"requests":{"max_held_bytes":1000}}"#,
                "requests.max_body_bytes must be at most requests.max_held_bytes, which is 1000",
            ),
            (r#"{"timeouts":{"body_ms":0}}"#, "timeouts.body_ms must be greater than 0"),
            (r#"{"timeouts":{"idle_ms":-1}}"#, "invalid value: integer `-1`"),
            (r#"{"requests":{"project_id":"maybe"}}"#, "unknown variant `maybe`"),
            (r#"{"aliases":{"a":"gpt-4"}}"#, "aliases.a is 'gpt-4'; it must be provider/model"),
            (r#"{"aliases":{"a":"nowhere/x"}}"#, "no provider 'nowhere'"),
            (r#"{"aliases":{"":"groq/x"}}"#, "empty name"),
            (
                r#"{"aliases":{"groq/a":"groq/b","groq/b":"groq/c","groq/c":"groq/a"}}"#,
                "aliases.groq/a leads back to itself: 'groq/a' -> 'groq/b' -> 'groq/c' -> 'groq/a'",
            ),
            (r#"{"providers":{"Acme":{"base_url":"https://a.example"}}}"#, "lower-case letters"),
            (r#"{"providers":{"openai":{"base_url":"https://a.example"}}}"#, "OPENAI_BASE_URL"),
            (r#"{"providers":{"acme":{"base_url":"https://user@a.example"}}}"#, "user name"),
            (r#"{"providers":{"acme":{"base_url":"https://a.example","key":"sk"}}}"#, "unknown field `key`"),
            (r#"{"providers":{"acme":{}}}"#, "missing field `base_url`"),
            (r#"{"access":{"requests_per_day":0}}"#, "access.requests_per_day must be between 1 and 1000"),
            (r#"{"calls":{"keep":100001}}"#, "calls.keep must be between 0 and 100000"),
            (r#"{"calls":{"days":0}}"#, "calls.days must be between 1 and 30"),
            (r#"{"log":{"calls_percent":101}}"#, "log.calls_percent must be between 0 and 100"),
            (r#"{"access":{"policies":["gold"]}}"#, "'gold', which is not in [policies]"),
            (r#"{"policies":{"a b":{}}}"#, "policies.a b: a policy's name"),
            (r#"{"policies":{"a":{"rpm":5}}}"#, "unknown field `rpm`"),
            (
                r#"{"policies":{"a":{"limits":{"requests_per_minute":0}}}}"#,
                "policies.a.limits.requests_per_minute must be greater than 0",
            ),
            (
                r#"{"policies":{"a":{"model_limits":{"groq/*":{"usd_total":0}}}}}"#,
                "policies.a.model_limits.\"groq/*\".usd_total must be greater than 0",
            ),
            (r#"{"policies":{"a":{"model_limits":{"gpt-4o":{}}}}}"#, "'gpt-4o' must be provider/model"),
            (r#"{"policies":{"a":{"limits":{"usd_per_day":0.0000001}}}}"#, "at most six decimals"),
            (r#"{"policies":{"a":{"limits":{"usd_per_hour":1}}}}"#, "unknown field `usd_per_hour`"),
            (r#"{"ledger":{"unknown_price":"guess"}}"#, "unknown variant `guess`"),
            (r#"{"policies":{"a":{"models":["gpt-4o"]}}}"#, "'gpt-4o' must be provider/model"),
            (
                r#"{"policies":{"a":{"models":["nowhere/*"]}}}"#,
                "does not start with the name of a configured provider",
            ),
            (
                r#"{"policies":{"a":{"endpoints":["/v1/other"]}}}"#,
                "'/v1/other' is not an inference endpoint; it must be one of /v1/chat/completions",
            ),
            (
                r#"{"webhook":{"url":"http://example.com/hook"}}"#,
                "webhook.url must begin with https://, except on this machine",
            ),
            (r#"{"email":{"from":"nobody"}}"#, "email.from: 'email' must be an e-mail address"),
            ("[]", "not a JSON object"),
            ("{", "GATEWAY_CONFIG is not JSON"),
        ] {
            let error = read(patch).unwrap_err();
            assert!(error.contains(part), "{patch}: {error}");
        }
    }
}
