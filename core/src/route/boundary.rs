//! The boundary of a key's policies at providers that choose models, services and prices by themselves.
//!
//! The gateway forwards fields that it does not know. At an aggregator or a proxy, some of them lead to another model or
//! to a higher price than the model that the gateway has checked. [`Choices`](crate::catalog::Choices) lists them; a key
//! whose policies limit models, endpoints or money may use one only if it stays within the policies.

use std::borrow::Cow;

use serde::Deserialize;

use crate::catalog::Choice;
use crate::config::Config;
use crate::format::billing::runs_at_caller;
use crate::format::request::Inference;
use crate::format::upstream::Upstream;
use crate::key::{Boundaries, IssuedKey};
use crate::operation::Format;

/// The boundary of one key.
#[derive(Clone, Copy, Debug)]
pub struct Boundary<'a> {
    key: &'a IssuedKey,
    config: &'a Config,
    rules: Boundaries,
}

impl<'a> Boundary<'a> {
    /// The boundary of a key; `None` if its policies have no rule that a provider's choice could break.
    pub fn of(key: Option<&'a IssuedKey>, config: &'a Config) -> Option<Boundary<'a>> {
        let key = key?;
        let rules = key.boundaries(config);
        rules.any().then_some(Boundary { key, config, rules })
    }

    /// The first field of a request that could cross the boundary at an upstream. `requested` is the name of the model
    /// in the call.
    pub fn crossed_by(
        &self,
        request: &Inference<'_>,
        requested: &str,
        upstream: Upstream<'_>,
    ) -> Option<Cow<'static, str>> {
        // An alias or a group is the operator's choice, and so is a model that the configuration lists.
        let is_callers = requested.ends_with(upstream.model);
        let is_listed = || upstream.provider.lists(upstream.model);
        if is_callers && self.is_crossed_by_model(upstream.model, upstream) && !is_listed() {
            return Some(Cow::Borrowed("model"));
        }
        let crosses = |(name, value): &(&str, &str)| {
            // Upstreams that do not distinguish upper and lower case would read it in place of the gateway's field.
            if request.is_look_alike(name) {
                return true;
            }
            let choice = upstream.provider.choices.of_field(name);
            let crosses = |choice| match choice {
                Choice::Tools => self.rules.any() && !are_callers(value, request.operation.format),
                choice => self.is_crossed(choice, value, upstream),
            };
            choice.is_some_and(|choice| !is_empty(value) && crosses(choice))
        };
        let field = request.forwarded(upstream).find(crosses)?;
        Some(Cow::Owned(field.0.to_owned()))
    }

    /// Returns `true` if the id of a model chooses more than the model.
    fn is_crossed_by_model(&self, id: &str, upstream: Upstream<'_>) -> bool {
        // A policy that names the id with its parts allows what they choose, but no price.
        let is_named = || self.key.names_model(self.config, &format!("{}/{id}", upstream.provider.name));
        let mut choices = upstream.provider.choices.of_model(id);
        choices.any(|choice| self.is_crossed(choice, "", upstream) && (self.rules.money || !is_named()))
    }

    fn is_crossed(&self, choice: Choice, value: &str, upstream: Upstream<'_>) -> bool {
        let Boundaries { models, endpoints, model_limits, money } = self.rules;
        match choice {
            Choice::Price => money,
            Choice::Services => models || endpoints || model_limits || money,
            Choice::Tools => self.rules.any(),
            Choice::AnyModel => money || model_limits || !self.allows("*", upstream),
            Choice::Models => {
                let Some(Ids(ids)) = serde_json::from_str(value).ok() else { return true };
                ids.iter().any(|id| {
                    let is_other = *id != upstream.model;
                    let is_allowed = !money && !model_limits && self.allows(id, upstream);
                    (is_other && !is_allowed) || self.is_crossed_by_model(id, upstream)
                })
            }
        }
    }

    /// Returns `true` if the key may use a model of the upstream's provider; `*` for all of them.
    fn allows(&self, id: &str, upstream: Upstream<'_>) -> bool {
        let address = format!("{}/{id}", upstream.provider.name);
        self.key.check_model(self.config, &address, &address).is_ok()
    }
}

/// Returns `true` if a value, as written, chooses nothing.
fn is_empty(value: &str) -> bool {
    let is = |text: &str| value.bytes().filter(|byte| !byte.is_ascii_whitespace()).eq(text.bytes());
    ["null", "false", "[]", "{}", "\"\""].into_iter().any(is)
}

/// Returns `true` if all tools run at the caller.
fn are_callers(value: &str, format: Format) -> bool {
    #[derive(Deserialize)]
    struct Tool<'a> {
        #[serde(borrow, rename = "type")]
        kind: Option<Cow<'a, str>>,
    }
    let tools: Result<Vec<Tool<'_>>, _> = serde_json::from_str(value);
    tools.is_ok_and(|tools| tools.iter().all(|tool| runs_at_caller(tool.kind.as_deref(), format)))
}

/// One id or several.
#[derive(Deserialize)]
#[serde(from = "OneOrMore")]
struct Ids(Vec<String>);

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl From<OneOrMore> for Ids {
    fn from(ids: OneOrMore) -> Ids {
        match ids {
            OneOrMore::One(id) => Ids(vec![id]),
            OneOrMore::More(ids) => Ids(ids),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Registry;
    use crate::operation::{CHAT_COMPLETIONS, EMBEDDINGS, MESSAGES, Operation};
    use serde_json::json;

    fn config() -> Config {
        serde_json::from_value(json!({
            "aliases": {"search": "openrouter/a/b:online"},
            "providers": {"acme": {"base_url": "http://a.example", "auth": "none", "models": ["m"]}},
            "models": {"openrouter/a/listed:nitro": {"input_usd_per_mtok": 1, "output_usd_per_mtok": 1}},
            "policies": {
                "all": {"models": ["openrouter/*", "acme/*", "huggingface/*", "search"]},
                "one": {"models": ["openrouter/a/b", "openrouter/a/c", "openrouter/a/b:online"]},
                "chat": {"endpoints": ["/v1/chat/completions", "/v1/embeddings"]},
                "money": {"limits": {"usd_per_day": 1}},
                "some": {"model_limits": {"openrouter/a/x": {"requests_per_day": 1}}},
                "calls": {"limits": {"requests_per_minute": 60, "tokens_per_day": 1000}},
            },
        }))
        .unwrap()
    }

    fn crossed_at(policy: &str, name: &str, rest: &str, operation: &'static Operation) -> Option<String> {
        let config = config();
        let registry = Registry::new(&config, false, |name| name.ends_with("_KEY").then(|| "k".to_owned()));
        let key = IssuedKey { policies: vec![policy.to_owned()], ..IssuedKey::default() };
        let body = format!(r#"{{"model":"{name}","messages":[],"input":"a"{rest}}}"#);
        let request = crate::format::read(operation, body.as_bytes()).unwrap();
        let address = config.aliases.get(name).map_or(name, String::as_str);
        let (provider, model) = address.split_once('/').unwrap();
        let entry = registry.provider(provider).unwrap();
        let upstream = Upstream { provider: entry, model, own_routing: entry.own_routing };
        let boundary = Boundary::of(Some(&key), &config)?;
        boundary.crossed_by(&request, name, upstream).map(Cow::into_owned)
    }

    fn crossed(policy: &str, name: &str, rest: &str) -> Option<String> {
        let chat = crossed_at(policy, name, rest, &CHAT_COMPLETIONS);
        assert_eq!(chat, crossed_at(policy, name, rest, &EMBEDDINGS), "the same for every operation");
        chat
    }

    #[test]
    fn a_field_that_chooses_more_than_the_policy_allows_is_named() {
        let fields = [
            // The field; whether it crosses a list with all models, with some, a list of endpoints, a budget, a limit of
            // a single model.
            (r#""models":["a/c"]"#, [false, false, false, true, true]),
            (r#""models":["a/d"]"#, [false, true, false, true, true]),
            (r#""models":"a/d""#, [false, true, false, true, true]),
            (r#""models":["a/b"]"#, [false, false, false, false, false]),
            (r#""models":["a/c:online"]"#, [true, true, true, true, true]),
            (r#""models":[{"id":"a/b"}]"#, [true, true, true, true, true]),
            (r#""models":[]"#, [false; 5]),
            (r#""models":null"#, [false; 5]),
            (r#""route":"fallback""#, [false, true, false, true, true]),
            (r#""provider":{"order":["x"]}"#, [false, false, false, true, false]),
            (r#""service_tier":"priority""#, [false, false, false, true, false]),
            (r#""plugins":[{"id":"web"}]"#, [true; 5]),
            (r#""plugins": [ ] "#, [false; 5]),
            (r#""pl\u0075gins":[{"id":"web"}]"#, [true; 5]),
            (r#""plugins":[],"plugins":[{"id":"web"}]"#, [true; 5]),
            (r#""preset":"p""#, [true; 5]),
            (r#""transforms":["middle-out"]"#, [true; 5]),
            (r#""tools":[{"type":"openrouter:web_search"}]"#, [true; 5]),
            (r#""tools":[{"type":"function","type":"openrouter:web_search"}]"#, [true; 5]),
            (r#""tools":[{"type":"function","function":{"name":"f"}}]"#, [false; 5]),
            (r#""temperature":1,"user":"u","x":{"models":["a/d"]}"#, [false; 5]),
            (r#""Model":"a/d""#, [true; 5]),
            (r#""MAX_TOKENS":1000000"#, [true; 5]),
        ];
        for (field, expected) in fields {
            for (policy, expected) in ["all", "one", "chat", "money", "some"].into_iter().zip(expected) {
                if field.contains("MAX_TOKENS") {
                    // Embeddings have no such field.
                    let found = crossed_at(policy, "openrouter/a/b", &format!(",{field}"), &CHAT_COMPLETIONS);
                    assert_eq!(found.is_some(), expected, "{policy}: {field}");
                    continue;
                }
                let found = crossed(policy, "openrouter/a/b", &format!(",{field}"));
                assert_eq!(found.is_some(), expected, "{policy}: {field}: {found:?}");
                let name = found.map(|name| field.replace("\\u0075", "u").contains(&format!("\"{name}\"")));
                assert_ne!(name, Some(false), "{field}");
            }
            assert_eq!(crossed("calls", "openrouter/a/b", &format!(",{field}")), None, "{field}");
        }
    }

    #[test]
    fn tools_of_messages_are_the_callers_unless_their_type_is_one_of_the_provider() {
        for (rest, field) in [
            (r#""tools":[{"name":"f","input_schema":{}},{"type":"bash_20250124","name":"bash"}]"#, None),
            (r#""tools":[{"type":"web_search_20250305","name":"web_search"}]"#, Some("tools")),
            (r#""fallbacks":[{"model":"claude-x"}]"#, Some("fallbacks")),
        ] {
            let rest = format!(r#","max_tokens":9,{rest}"#);
            let found = crossed_at("all", "openrouter/a/b", &rest, &MESSAGES);
            assert_eq!(found.as_deref(), field, "{rest}");
        }
        let fallbacks = r#","max_tokens":9,"fallbacks":[{"model":"claude-x"}]"#;
        let at_anthropic = crossed_at("one", "anthropic/claude-y", fallbacks, &MESSAGES);
        assert_eq!(at_anthropic.as_deref(), Some("fallbacks"));
    }

    #[test]
    fn an_id_that_chooses_more_than_the_model_is_rejected() {
        for (name, policy, expected) in [
            ("openrouter/a/b", "all", false),
            ("openrouter/a/b:online", "all", true),
            ("openrouter/a/b:ONLINE", "all", true),
            ("openrouter/a/b:online", "one", false),
            ("openrouter/a/b:online", "money", true),
            ("openrouter/a/b:nitro", "all", false),
            ("openrouter/a/b:nitro", "money", true),
            ("openrouter/a/listed:nitro", "money", false),
            ("openrouter/a/b@preset/p", "all", true),
            ("openrouter/@preset/p", "chat", true),
            ("openrouter/openrouter/auto", "all", false),
            ("openrouter/openrouter/auto", "some", true),
            ("openrouter/openrouter/auto", "money", true),
            ("search", "all", false),
            ("huggingface/a/b:groq", "all", false),
            ("huggingface/a/b:groq", "money", true),
            ("acme/m:70b", "money", false),
            ("acme/m:online", "all", true),
        ] {
            let field = expected.then(|| "model".to_owned());
            assert_eq!(crossed(policy, name, ""), field, "{name} {policy}");
        }
    }

    #[test]
    fn fields_that_the_gateway_removes_do_not_count() {
        assert_eq!(crossed("money", "acme/m", r#","models":["acme/x"],"provider":{"order":["acme"]}"#), None);
        assert_eq!(crossed("money", "acme/m", r#","Models":["x"]"#).as_deref(), Some("Models"));
        assert_eq!(crossed("money", "acme/m", r#","fallbacks":["x"]"#).as_deref(), Some("fallbacks"));
        assert_eq!(crossed("money", "openai/gpt-4o", r#","plugins":["x"]"#), None, "not a field of OpenAI");
    }
}
