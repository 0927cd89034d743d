//! The trial of a provider's key: the smallest request to the cheapest model, which shows whether the provider accepts
//! the key and has credit. Sends nothing.

use serde_json::json;

use crate::catalog::{Entry, Facts};
use crate::ledger::price::has_fees;
use crate::operation::{CHAT_COMPLETIONS, EMBEDDINGS, Operation, Task};

use super::score::usd_per_mtok;

/// The largest output of a trial, in tokens: the least that every provider accepts as a limit.
const MAX_OUTPUT: u32 = 16;

/// A trial request.
#[derive(Clone, Debug)]
pub struct Trial {
    /// The operation, whose format the request has.
    pub operation: &'static Operation,
    /// The provider's id of the model.
    pub model: String,
    /// The facts of the model.
    pub facts: Facts,
    /// The request, as JSON.
    pub body: String,
}

impl Trial {
    /// A trial of a model; of the cheapest one if none is named. `None` if no model is named and the provider lists none.
    /// `today` is in days since 1970.
    pub fn of(provider: &Entry, model: Option<&str>, today: u16) -> Option<Trial> {
        let (model, facts) = match model {
            Some(model) => (model.to_owned(), provider.facts(model).unwrap_or_default()),
            None => cheapest(provider, today)?,
        };
        let (operation, body) = if facts.task == Some(Task::Embed) {
            (&EMBEDDINGS, json!({"model": model, "input": "OK"}))
        } else {
            let messages = json!([{"role": "user", "content": "Reply with the word OK."}]);
            let body = json!({"model": model, "messages": messages, "max_completion_tokens": MAX_OUTPUT});
            (&CHAT_COMPLETIONS, body)
        };
        Some(Trial { operation, model, facts, body: body.to_string() })
    }
}

/// The model of the lowest price that serves its task, without fees beyond its tokens: one for conversations if there is
/// one. Models without a known price come last.
fn cheapest(provider: &Entry, today: u16) -> Option<(String, Facts)> {
    let can_be_called = |facts: &Facts| {
        let format =
            if facts.task == Some(Task::Embed) { EMBEDDINGS.format } else { CHAT_COMPLETIONS.format };
        facts.ends.is_none_or(|ends| ends > today) && provider.format_for(format).is_some()
    };
    let usable =
        provider.models().filter(|(id, facts)| can_be_called(facts) && !has_fees(&provider.name, id));
    let rank = |facts: &Facts| {
        let price = usd_per_mtok(&facts.price);
        (facts.task == Some(Task::Embed), price.is_none(), price.unwrap_or_default())
    };
    let cheaper = |a: &(&str, Facts), b: &(&str, Facts)| {
        let ((a_embeds, a_unknown, a_price), (b_embeds, b_unknown, b_price)) = (rank(&a.1), rank(&b.1));
        (a_embeds, a_unknown).cmp(&(b_embeds, b_unknown)).then(a_price.total_cmp(&b_price))
    };
    usable.min_by(cheaper).map(|(id, facts)| (id.to_owned(), facts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Registry;
    use crate::config::Config;
    use crate::format;

    fn registry() -> Registry {
        let config: Config = serde_json::from_value(json!({
            "providers": {
                "acme": {"base_url": "http://a.example", "auth": "none", "models": ["a", "b", "c"]},
                "empty": {"base_url": "http://a.example", "auth": "none"},
            },
            "models": {
                "acme/a": {"input_usd_per_mtok": 2, "output_usd_per_mtok": 2},
                "acme/c": {"input_usd_per_mtok": 1, "output_usd_per_mtok": 1},
                "acme/hidden": {"input_usd_per_mtok": 0, "output_usd_per_mtok": 0, "hidden": true},
            },
        }))
        .unwrap();
        Registry::new(&config, false, |name| name.ends_with("_API_KEY").then(|| "k".to_owned()))
    }

    #[test]
    fn the_cheapest_listed_model_is_tried_unless_one_is_named() {
        let registry = registry();
        let of = |name: &str, model| Trial::of(registry.provider(name).unwrap(), model, 0);
        assert_eq!(of("acme", None).unwrap().model, "c");
        assert_eq!(of("acme", Some("b")).unwrap().model, "b");
        assert_eq!(of("acme", Some("unlisted")).unwrap().model, "unlisted");
        assert!(of("empty", None).is_none());
        assert_eq!(of("voyage", None).unwrap().operation.path, "/v1/embeddings");
    }

    #[test]
    fn every_trial_is_a_valid_request() {
        for provider in registry().entries() {
            if let Some(trial) = Trial::of(provider, None, 20_787) {
                let request = format::read(trial.operation, trial.body.as_bytes()).unwrap();
                assert_eq!(request.model, trial.model, "{}", provider.name);
                assert!(!request.stream);
            }
        }
    }
}
