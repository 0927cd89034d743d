//! From a request to the models that could answer it, in order, and the reason for each that was left out.
//!
//! What a name leads to: an alias, a group, `auto`, `provider/model`, or a bare id. What is asked of each model where there
//! is a choice: that the key may use it, the caller's preferences, and what the call needs ([`Needs`]). How the lanes are
//! doing only orders what `auto` finds here; whether they can be asked now is the business of [`super::plan`].

use std::borrow::Cow;

use crate::catalog::{Entry, Facts, ListedModel, OTHER, Reachability, Registry};
use crate::config::{AUTO, Config, Group};
use crate::error::{Code, Error};
use crate::format::request::{Inference, Needs};
use crate::format::upstream::Upstream;
use crate::key::{IssuedKey, covers};
use crate::money::MicroUsd;
use crate::operation::{OPERATIONS, Operation};
use crate::order::by_rank;

use super::affinity::Affinity;
use super::preferences::{self, Preferences, Sort};
use super::reason::{Dropped, Reason};
use super::score;
use crate::health::{Availability, HealthView, LaneId, LaneStats};

/// The most candidates of a plan.
const MAX_CANDIDATES: usize = 32;
/// The longest name of a model, in bytes. The longest that providers have, which are resource names of clouds, have some 200.
const MAX_NAME: usize = 512;

/// A model that could answer.
#[derive(Clone, Debug)]
pub struct Candidate<'a> {
    /// Its provider.
    pub provider: &'a Entry,
    /// The provider's id of it.
    pub model: Cow<'a, str>,
    /// What is known of it.
    pub facts: Facts,
    /// Whether `GET /v1/models` lists it.
    pub listed: bool,
    /// Its score, where `auto` chose it.
    pub score: Option<f64>,
    /// Whether the call's `models` and `provider` are for the provider: it routes by itself, and the call names it.
    pub own_routing: bool,
}

impl<'a> Candidate<'a> {
    /// A model of a provider.
    pub fn of(provider: &'a Entry, model: &str) -> Candidate<'a> {
        let facts = provider.facts(model).unwrap_or_default();
        let listed = provider.lists(model);
        Candidate {
            provider,
            model: Cow::Owned(model.to_owned()),
            facts,
            listed,
            score: None,
            own_routing: false,
        }
    }

    /// The upstream that a request is written for.
    pub fn upstream(&self) -> Upstream<'_> {
        Upstream { provider: self.provider, model: &self.model, own_routing: self.own_routing }
    }

    /// Why it cannot answer requests of an operation, as far as is known.
    fn mismatch(&self, operation: &Operation) -> Option<Reason> {
        match self.facts.task {
            Some(task) if task != operation.task => Some(Reason::OtherTask(task)),
            _ => (!self.provider.serves(operation.format)).then_some(Reason::NoEndpoint),
        }
    }

    /// The id of the model without a maker in front: what it is called at every provider.
    fn bare_id(&self) -> &str {
        last_segment(&self.model)
    }

    /// `provider/model`.
    pub fn address(&self) -> String {
        format!("{}/{}", self.provider.name, self.model)
    }

    /// Whether any of its lanes is available.
    pub fn is_available(&self, view: &HealthView, now_ms: u64) -> bool {
        let per_day = self.facts.requests_per_day;
        self.provider
            .key_places()
            .any(|key| view.availability(self.lane(key), per_day, now_ms) == Availability::Available)
    }

    /// Its lane, asked with a key.
    pub fn lane(&self, key: u8) -> LaneId<'_> {
        LaneId { provider: &self.provider.name, model: if self.listed { &self.model } else { OTHER }, key }
    }
}

fn last_segment(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or_default()
}

/// What was found.
#[derive(Debug)]
pub struct Selection<'a> {
    /// The candidates, in order; never empty.
    pub candidates: Vec<Candidate<'a>>,
    /// What was left out. `auto` tells only of models that the call might have meant: those that lack something.
    pub dropped: Vec<Dropped>,
    /// What the call needs; `None` where nobody asked, since one model was named.
    pub needs: Option<Needs>,
}

/// What selecting goes by.
#[derive(Clone, Copy, Debug)]
pub struct RouteQuery<'a, 'b> {
    /// The request.
    pub request: &'b Inference<'b>,
    /// The model that a header puts in the place of the body's.
    pub force_model: Option<&'b str>,
    /// The one provider that a header asks for.
    pub force_provider: Option<&'b str>,
    /// The caller's key, if it was issued.
    pub key: Option<&'b IssuedKey>,
    /// The operator's configuration.
    pub config: &'a Config,
    /// The providers.
    pub registry: &'a Registry,
    /// How they are doing.
    pub view: &'b HealthView,
    /// The draw among equals.
    pub affinity: Affinity,
    /// Milliseconds since 1970.
    pub now_ms: u64,
    /// Whether what `auto` leaves out is wanted too. It is found out in any case where nothing is left.
    pub explain: bool,
}

/// What a name leads to.
enum Named<'a> {
    One(Candidate<'a>),
    /// Several, in order: a group, or a bare id that several providers have.
    Several(Vec<Candidate<'a>>),
    Auto,
    Nothing(Error, Reason),
}

/// Finds the candidates for a request.
pub fn select<'a>(query: &RouteQuery<'a, '_>) -> Result<Selection<'a>, Error> {
    let (name, param) = match query.force_model {
        Some(name) => (name, "x-gateway-force-model"),
        None => (&*query.request.model, "model"),
    };
    check_name(name, param)?;
    let mut first = named(query, name);
    // A provider that routes by itself gets these members as they are.
    let mut own_routing = false;
    if let Named::One(candidate) = &mut first {
        own_routing = candidate.provider.own_routing;
        candidate.own_routing = own_routing;
    }
    let (mut preferences, fallbacks) = if own_routing {
        (Preferences::default(), Vec::new())
    } else {
        (Preferences::read(query.request.routing)?, preferences::fallbacks(query.request.routing)?)
    };
    if let Some(provider) = query.force_provider {
        check_provider(query.registry, provider, "x-gateway-force-provider")?;
        preferences.only = vec![provider.to_owned()];
    }
    let Preferences { order, only, ignore, .. } = &preferences;
    for provider in order.iter().chain(only).chain(ignore) {
        check_provider(query.registry, provider, "provider")?;
    }

    let plain = fallbacks.is_empty() && preferences == Preferences::default();
    if plain && let Named::One(candidate) = first {
        check_allowed(query, name, &candidate)?;
        check_active(&candidate)?;
        check_endpoint(query.request.operation, &candidate)?;
        return Ok(Selection { candidates: vec![candidate], dropped: Vec::new(), needs: None });
    }

    let mut choice = Choice {
        query,
        preferences: &preferences,
        needs: query.request.needs,
        only_id: None,
        candidates: Vec::new(),
        dropped: Vec::new(),
    };
    match first {
        Named::Nothing(error, _) if fallbacks.is_empty() => return Err(error),
        Named::Several(found) if is_ambiguous(query, name) && preferences.leaves_open(&found) => {
            return Err(ambiguous(name, query.registry));
        }
        first => choice.take(name, first),
    }
    for name in &fallbacks {
        check_name(name, "models")?;
        choice.take(name, named(query, name));
    }
    if choice.candidates.is_empty() && !query.explain {
        return select(&RouteQuery { explain: true, ..*query });
    }
    choice.finish(name)
}

/// Callers can name models that nobody has listed: what they name then stands in a header, in logs and in receipts.
fn check_name(name: &str, param: &'static str) -> Result<(), Error> {
    let wrong = |what: String| Err(Error::new(Code::InvalidValue, what).with_param(param));
    if name.len() > MAX_NAME {
        return wrong(format!(
            "the name of a model in '{param}' is {} bytes long; at most {MAX_NAME} are possible",
            name.len()
        ));
    }
    if name.chars().any(char::is_control) {
        return wrong(format!("the name of a model in '{param}' has a control character"));
    }
    Ok(())
}

fn check_allowed(query: &RouteQuery<'_, '_>, name: &str, candidate: &Candidate<'_>) -> Result<(), Error> {
    query.key.map_or(Ok(()), |key| key.check_model(query.config, name, &candidate.address()))
}

fn check_active(candidate: &Candidate<'_>) -> Result<(), Error> {
    match &candidate.provider.reachability {
        Reachability::Active { .. } | Reachability::Binding => Ok(()),
        Reachability::Inactive(why) => Err(not_configured(&candidate.provider.name, why)),
    }
}

/// A model that is named alone must be for the endpoint, as far as is known.
fn check_endpoint(operation: &Operation, candidate: &Candidate<'_>) -> Result<(), Error> {
    let message = match candidate.mismatch(operation) {
        None => return Ok(()),
        Some(Reason::OtherTask(task)) => {
            format!("'{}' is {}: send it to {}", candidate.address(), task.model(), task.endpoints())
        }
        Some(_) => {
            let served = OPERATIONS.iter().filter(|other| candidate.provider.serves(other.format));
            let served: Vec<_> = served.map(|other| format!("POST {}", other.path)).collect();
            let provider = &candidate.provider.name;
            format!(
                "provider '{provider}' does not serve POST {}; it serves {}",
                operation.path,
                served.join(", ")
            )
        }
    };
    Err(Error::new(Code::UnsupportedEndpoint, message).with_param("model"))
}

fn not_configured(provider: &str, why: &str) -> Error {
    Error::new(Code::ProviderNotConfigured, format!("provider '{provider}' is not configured: {why}"))
        .with_param("model")
}

/// Providers that a caller names must exist: a misspelt one would change nothing, silently.
fn check_provider(registry: &Registry, name: &str, param: &'static str) -> Result<(), Error> {
    if registry.provider(name).is_some() {
        return Ok(());
    }
    let shown: String = name.chars().take(100).collect();
    let words = format!("there is no provider '{shown}' here; GET /health lists those that can be called");
    Err(Error::new(Code::InvalidValue, words).with_param(param))
}

fn named<'a>(query: &RouteQuery<'a, '_>, name: &str) -> Named<'a> {
    let config = query.config;
    let name = config.aliases.get(name).map_or(name, String::as_str);
    if let Some(group) = config.groups.get(name) {
        return Named::Several(of_group(query, group));
    }
    if name == AUTO {
        return Named::Auto;
    }
    if let Some((provider, model)) = name.split_once('/')
        && let Some(entry) = query.registry.provider(provider)
        && !model.is_empty()
    {
        return Named::One(Candidate::of(entry, model));
    }
    let mut found: Vec<Candidate<'a>> = query
        .registry
        .entries()
        .iter()
        .filter(|entry| entry.is_active() && entry.lists(name))
        .map(|entry| Candidate::of(entry, name))
        .collect();
    match (found.len(), found.pop()) {
        (1, Some(one)) => Named::One(one),
        (_, Some(last)) => {
            found.push(last);
            Named::Several(found)
        }
        (_, None) => Named::Nothing(not_found(name), Reason::Unknown),
    }
}

/// A group's models: as they are listed, or drawn by weight.
fn of_group<'a>(query: &RouteQuery<'a, '_>, group: &'a Group) -> Vec<Candidate<'a>> {
    let even = vec![1; group.models.len()];
    let weights = group.weights.as_ref().unwrap_or(&even);
    let mut models: Vec<(&String, &u32)> = group.models.iter().zip(weights).collect();
    if group.weights.is_some() {
        models = by_rank(models, |(name, weight)| [query.affinity.rank(name, f64::from(**weight))]);
    }
    models
        .into_iter()
        .filter_map(|(name, _)| {
            let (provider, model) = name.split_once('/')?;
            Some(Candidate::of(query.registry.provider(provider)?, model))
        })
        .collect()
}

/// Whether several providers have a model of this bare name, and nothing of the configuration says which is meant.
fn is_ambiguous(query: &RouteQuery<'_, '_>, name: &str) -> bool {
    !query.config.aliases.contains_key(name) && !query.config.groups.contains_key(name)
}

fn ambiguous(name: &str, registry: &Registry) -> Error {
    let having = registry.entries().iter().filter(|entry| entry.is_active() && entry.lists(name));
    let names: Vec<_> = having.map(|entry| format!("'{}/{name}'", entry.name)).collect();
    let (first, others) =
        names.split_first().map_or(("", &[][..]), |(first, others)| (first.as_str(), others));
    Error::new(
        Code::AmbiguousModel,
        format!(
            "several providers have '{name}'; choose {first} or {}, or say which with 'provider': {{\"order\": […]}}",
            others.join(" or ")
        ),
    )
    .with_param("model")
}

fn not_found(name: &str) -> Error {
    let shown: String = name.chars().take(100).collect();
    Error::new(
        Code::ModelNotFound,
        format!("Model '{shown}' is not known here; GET /v1/models lists those that are, and provider/model reaches any other"),
    )
    .with_param("model")
}

/// A candidate for `auto`.
struct Scored<'a> {
    /// The place of its tier in the order that the effort asks for.
    tier: f64,
    score: f64,
    /// Its place among equals.
    drawn: f64,
    candidate: Candidate<'a>,
}

/// Whether the operator leaves a model to `auto`.
pub fn is_automatic(config: &Config, model: &ListedModel<'_>) -> bool {
    match &config.routing.auto {
        Some(patterns) => {
            let address = format!("{}/{}", model.provider, model.id);
            patterns.iter().any(|pattern| covers(pattern, "", &address))
        }
        None => !model.facts.not_automatic,
    }
}

/// Candidates as they are gathered.
struct Choice<'c, 'a> {
    query: &'c RouteQuery<'a, 'c>,
    preferences: &'c Preferences,
    needs: Needs,
    /// The id of the model that is named first, for a task whose models cannot stand in for each other: only it is called,
    /// even if it cannot be called where it was named.
    only_id: Option<String>,
    candidates: Vec<Candidate<'a>>,
    dropped: Vec<Dropped>,
}

impl<'a> Choice<'_, 'a> {
    fn take(&mut self, name: &str, named: Named<'a>) {
        match named {
            Named::One(candidate) => self.consider(name, candidate),
            Named::Several(candidates) => {
                for candidate in candidates {
                    self.consider(name, candidate);
                }
            }
            Named::Auto => self.automatic(name),
            Named::Nothing(_, reason) => {
                self.keep_to(last_segment(name));
                self.dropped.push(Dropped { model: name.chars().take(100).collect(), reason });
            }
        }
    }

    fn consider(&mut self, name: &str, candidate: Candidate<'a>) {
        if self.has(&candidate) {
            return;
        }
        self.keep_to(candidate.bare_id());
        match self.reason(name, &candidate) {
            Some(reason) => self.dropped.push(Dropped { model: candidate.address(), reason }),
            None => self.candidates.push(candidate),
        }
    }

    /// Sets the only id that is called, if none is set and the task needs one.
    fn keep_to(&mut self, id: &str) {
        if self.only_id.is_none() && !self.query.request.operation.task.mixes_models() {
            self.only_id = Some(id.to_owned());
        }
    }

    fn is_other_model(&self, candidate: &Candidate<'_>) -> bool {
        self.only_id.as_deref().is_some_and(|id| id != candidate.bare_id())
    }

    /// Why a model is left out, if it is. The first reason counts, and it is the same for every caller: what a key may not
    /// use comes first, so that nobody learns more of it.
    fn reason(&self, name: &str, candidate: &Candidate<'_>) -> Option<Reason> {
        if check_allowed(self.query, name, candidate).is_err() {
            return Some(Reason::NotAllowed);
        }
        if let Reachability::Inactive(why) = &candidate.provider.reachability {
            return Some(Reason::Inactive(why.clone()));
        }
        let operation = self.query.request.operation;
        if let Some(reason) = candidate.mismatch(operation) {
            return Some(reason);
        }
        if self.is_other_model(candidate) {
            return Some(Reason::OtherModel);
        }
        let Preferences { only, ignore, max_price, require_parameters, .. } = self.preferences;
        let provider = &candidate.provider.name;
        if (!only.is_empty() && !only.contains(provider)) || ignore.contains(provider) {
            return Some(Reason::NotPreferred);
        }
        let price = &candidate.facts.price;
        let above = |max: Option<MicroUsd>, price: Option<u64>| {
            max.is_some_and(|MicroUsd(max)| price.is_none_or(|price| price > max))
        };
        if above(max_price.prompt, price.input) || above(max_price.completion, price.output) {
            return Some(Reason::TooExpensive);
        }
        if *require_parameters && let Some(name) = self.query.request.dropped_by(&candidate.provider.quirks) {
            return Some(Reason::WouldDrop(name));
        }
        let lacks = self.needs.lacks(&candidate.facts);
        (!lacks.is_empty()).then_some(Reason::Lacks(lacks))
    }

    /// All models that the operator leaves to `auto`, the best first.
    fn automatic(&mut self, name: &str) {
        let RouteQuery { config, registry, view, affinity, now_ms, .. } = *self.query;
        let mut found = Vec::new();
        let mut not_allowed = false;
        for (entry, model) in registry.models() {
            let address = || format!("{}/{}", entry.name, model.id);
            if !is_automatic(config, &model) {
                continue;
            }
            let mut candidate = Candidate {
                provider: entry,
                model: Cow::Borrowed(model.id),
                facts: model.facts,
                listed: true,
                score: None,
                own_routing: false,
            };
            if let Some(reason) = self.reason(name, &candidate) {
                not_allowed |= reason == Reason::NotAllowed;
                // Of hundreds of models, those that the caller ruled out are no news.
                let is_news =
                    matches!(reason, Reason::Lacks(_) | Reason::TooExpensive | Reason::WouldDrop(_));
                if self.query.explain && is_news {
                    self.dropped.push(Dropped { model: address(), reason });
                }
                continue;
            }
            let score = score::score(&candidate.facts, view.lane(candidate.lane(0)), now_ms);
            candidate.score = Some(score);
            let tier = score::tier_place(self.needs.effort, candidate.facts.effective_tier());
            found.push(Scored { tier, score, drawn: affinity.rank(&address(), 1.0), candidate });
        }
        if not_allowed && found.is_empty() && self.dropped.is_empty() {
            self.dropped.push(Dropped { model: name.to_owned(), reason: Reason::NotAllowed });
        }
        let mut found = by_rank(found, |one| [one.tier, -one.score, one.drawn]);
        // The best that can be asked now is the measure for its equals, among which the draw decides.
        let open = |one: &Scored<'_>| one.candidate.is_available(view, now_ms);
        if let Some((tier, best)) = found.iter().find(|one| open(one)).map(|one| (one.tier, one.score)) {
            let is_equal = |one: &Scored<'_>| {
                // Tiers are small whole numbers.
                (one.tier - tier).abs() < 0.5 && best - one.score <= score::MARGIN && open(one)
            };
            found = by_rank(found, |one| if is_equal(one) { [0.0, one.drawn] } else { [1.0, 0.0] });
        }
        let first = self.candidates.is_empty();
        for Scored { candidate, .. } in found {
            self.keep_to(candidate.bare_id());
            if !self.is_other_model(&candidate) && (first || !self.has(&candidate)) {
                self.candidates.push(candidate);
            }
        }
    }

    fn has(&self, candidate: &Candidate<'_>) -> bool {
        let is_same = |known: &Candidate<'_>| {
            std::ptr::eq(known.provider, candidate.provider) && known.model == candidate.model
        };
        self.candidates.iter().any(is_same)
    }

    fn finish(mut self, name: &str) -> Result<Selection<'a>, Error> {
        if self.candidates.is_empty() {
            return Err(self.nothing(name));
        }
        let Preferences { order, sort, allow_fallbacks, .. } = self.preferences;
        if let Some(sort) = sort {
            let view = self.query.view;
            self.candidates = by_rank(self.candidates, |candidate| [sort_value(view, *sort, candidate)]);
        }
        if !order.is_empty() {
            self.candidates.sort_by_key(|candidate| {
                let place = order.iter().position(|name| *name == candidate.provider.name);
                place.unwrap_or(usize::MAX)
            });
        }
        let most = if *allow_fallbacks == Some(false) { 1 } else { MAX_CANDIDATES };
        for candidate in self.candidates.split_off(self.candidates.len().min(most)) {
            if most == 1 {
                self.dropped.push(Dropped { model: candidate.address(), reason: Reason::NoFallbacks });
            }
        }
        Ok(Selection { candidates: self.candidates, dropped: self.dropped, needs: Some(self.needs) })
    }

    /// The error when nothing is left: what was asked for, and what came nearest.
    fn nothing(&self, name: &str) -> Error {
        let shown: String = name.chars().take(100).collect();
        if let Some(first) = self.dropped.first() {
            if self.dropped.iter().all(|dropped| dropped.reason == Reason::NotAllowed) {
                let words = format!("This key may not use the model '{shown}'");
                return Error::new(Code::ModelNotAllowed, words).with_param("model");
            }
            if let Reason::Inactive(why) = &first.reason
                && self.dropped.iter().all(|dropped| matches!(dropped.reason, Reason::Inactive(_)))
            {
                let provider = first.model.split('/').next().unwrap_or_default();
                return not_configured(provider, why);
            }
        }
        let is_mismatch = |reason: &Reason| matches!(reason, Reason::OtherTask(_) | Reason::NoEndpoint);
        if let Some(Dropped { model, reason }) = self.dropped.first()
            && self.dropped.iter().all(|dropped| is_mismatch(&dropped.reason))
        {
            let path = self.query.request.operation.path;
            let message = format!(
                "No model that '{shown}' stands for serves POST {path}: '{model}' does not, since {reason}"
            );
            return Error::new(Code::UnsupportedEndpoint, message).with_param("model");
        }
        if let [provider] = self.preferences.only.as_slice()
            && let Some(Reachability::Inactive(why)) =
                self.query.registry.provider(provider).map(|entry| &entry.reachability)
        {
            return not_configured(provider, why);
        }
        let lacks = |dropped: &&Dropped| match &dropped.reason {
            Reason::Lacks(lacks) => lacks.len(),
            Reason::WouldDrop(_) | Reason::TooExpensive => 10,
            _ => 20,
        };
        let nearest =
            self.dropped.iter().filter(|dropped| dropped.reason != Reason::NotAllowed).min_by_key(lacks);
        let nearest = match nearest {
            Some(Dropped { model, reason }) => {
                format!("; the nearest is '{model}', which is left out: {reason}")
            }
            None => "; no configured provider has a model for it".to_owned(),
        };
        Error::new(
            Code::NoCandidate,
            format!(
                "No model that '{shown}' stands for can answer this call, which needs {}{nearest}",
                self.needs.describe()
            ),
        )
        .with_param("model")
    }
}

/// What candidates are sorted by; what is not known comes last.
fn sort_value(view: &HealthView, sort: Sort, candidate: &Candidate<'_>) -> f64 {
    let known = match sort {
        Sort::Price => score::usd_per_mtok(&candidate.facts.price),
        Sort::Latency => view.lane(candidate.lane(0)).and_then(LaneStats::latency_ms),
    };
    known.unwrap_or(f64::MAX)
}

impl Preferences {
    /// Whether they do not say which of several providers is meant.
    fn leaves_open(&self, found: &[Candidate<'_>]) -> bool {
        let left = found.iter().filter(|candidate| !self.ignore.contains(&candidate.provider.name));
        self.order.is_empty() && self.only.is_empty() && self.sort.is_none() && left.count() > 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::failure::{Class, Failure};
    use crate::operation::{CHAT_COMPLETIONS, EMBEDDINGS};
    use crate::route::affinity::AffinitySource;

    const CONFIG: &str = r#"{
        "aliases": {"quick": "acme/small", "gone": "nokey/x"},
        "groups": {
            "pair": {"models": ["beta/big", "acme/small"]},
            "weighted": {"models": ["acme/small", "beta/big"], "weights": [3, 1]}
        },
        "providers": {
            "acme": {"base_url": "http://a.example", "auth": "none", "models": ["small", "twin"], "drop": ["seed"]},
            "beta": {"base_url": "http://b.example", "auth": "none", "models": ["big", "twin"]},
            "nokey": {"base_url": "http://n.example", "models": ["x"]}
        },
        "models": {
            "acme/small": {"context": 1000, "max_output": 100, "tools": false, "tier": "low",
                "input_usd_per_mtok": 0.1, "output_usd_per_mtok": 0.4},
            "beta/big": {"context": 100000, "max_output": 5000, "tools": true, "vision": true, "tier": "high",
                "input_usd_per_mtok": 2, "output_usd_per_mtok": 8},
            "beta/secret": {"hidden": true}
        }
    }"#;

    struct World {
        config: Config,
        registry: Registry,
        view: HealthView,
        key: Option<IssuedKey>,
        operation: &'static Operation,
        seed: u64,
    }

    impl World {
        fn new() -> World {
            World::of(CONFIG, &CHAT_COMPLETIONS)
        }

        fn of(config: &str, operation: &'static Operation) -> World {
            let config = Config::read("{}", Some(config)).unwrap();
            let registry = Registry::new(&config, false, |_| None);
            World { config, registry, view: HealthView::default(), key: None, operation, seed: 0 }
        }

        /// The candidates and what was left out, or the error, in one line.
        fn select(&self, model: &str, rest: &str) -> String {
            self.forced(model, rest, None, None)
        }

        fn forced(
            &self,
            model: &str,
            rest: &str,
            force_model: Option<&str>,
            force_provider: Option<&str>,
        ) -> String {
            let body = format!(r#"{{"model":"{model}","messages":[],"input":"a"{rest}}}"#);
            let request = crate::format::read(self.operation, body.as_bytes()).unwrap();
            let query = RouteQuery {
                request: &request,
                force_model,
                force_provider,
                key: self.key.as_ref(),
                config: &self.config,
                registry: &self.registry,
                view: &self.view,
                affinity: Affinity { seed: self.seed, source: AffinitySource::None },
                now_ms: 1000,
                explain: true,
            };
            match select(&query) {
                Ok(selection) => {
                    let kept: Vec<_> = selection.candidates.iter().map(Candidate::address).collect();
                    let dropped =
                        selection.dropped.iter().map(|one| format!(" -{}:{}", one.model, one.reason.code()));
                    format!("{}{}", kept.join(" "), dropped.collect::<String>())
                }
                Err(error) => {
                    format!("{} {} {}", error.status, error.code().unwrap_or_default(), error.message)
                }
            }
        }
    }

    #[test]
    fn names_lead_to_models() {
        let world = World::new();
        for (name, found) in [
            ("acme/small", "acme/small"),
            ("acme/of/any/depth", "acme/of/any/depth"),
            ("quick", "acme/small"),
            ("small", "acme/small"),
            ("beta/secret", "beta/secret"),
            ("pair", "beta/big acme/small"),
        ] {
            assert_eq!(world.select(name, ""), found, "{name}");
        }
        for (name, error) in [
            ("secret", "404 model_not_found Model 'secret' is not known here"),
            ("gpt-99", "404 model_not_found Model 'gpt-99' is not known here"),
            ("acme/", "404 model_not_found"),
            ("/x", "404 model_not_found"),
            ("twin", "400 ambiguous_model several providers have 'twin'; choose 'acme/twin' or 'beta/twin'"),
            (
                "gone",
                "503 provider_not_configured provider 'nokey' is not configured: the secret NOKEY_API_KEY",
            ),
            (
                "groq/x",
                "503 provider_not_configured provider 'groq' is not configured: the secret GROQ_API_KEY",
            ),
        ] {
            assert!(world.select(name, "").starts_with(error), "{name}: {}", world.select(name, ""));
        }
    }

    #[test]
    fn names_are_bounded() {
        let world = World::new();
        let longest = format!("acme/{}", "é".repeat((MAX_NAME - 5) / 2));
        assert_eq!(world.select(&longest, ""), longest);
        let too_long = format!("{longest}xx");
        let words = "400 invalid_value the name of a model in";
        assert_eq!(
            world.select(&too_long, ""),
            format!("{words} 'model' is 513 bytes long; at most 512 are possible")
        );
        assert_eq!(world.select("acme/\\u0000", ""), format!("{words} 'model' has a control character"));
        let fallback = world.select("quick", &format!(r#","models":["{too_long}"]"#));
        assert!(fallback.starts_with(&format!("{words} 'models' is 513 bytes")), "{fallback}");
        let forced = world.forced("quick", "", Some(&too_long), None);
        assert!(forced.starts_with(&format!("{words} 'x-gateway-force-model' is 513 bytes")), "{forced}");
    }

    #[test]
    fn an_embedding_model_is_never_replaced_by_another() {
        let config = r#"{
            "groups": {"mixed": {"models": ["nokey/m", "acme/n", "beta/org/m"]}},
            "providers": {
                "acme": {"base_url": "http://a.example", "auth": "none", "formats": ["embeddings"], "models": ["m", "n"]},
                "beta": {"base_url": "http://b.example", "auth": "none", "formats": ["embeddings"], "models": ["org/m"]},
                "nokey": {"base_url": "http://n.example", "formats": ["embeddings"]}
            }
        }"#;
        let mut world = World::of(config, &EMBEDDINGS);
        for (name, rest, found) in [
            ("acme/m", r#","models":["acme/n","beta/org/m"]"#, "acme/m beta/org/m -acme/n:other_model"),
            // Nor where the first cannot be called.
            (
                "nokey/m",
                r#","models":["acme/n","acme/m"]"#,
                "acme/m -nokey/m:provider_not_configured -acme/n:other_model",
            ),
            ("nope", r#","models":["acme/m"]"#, "503 no_candidate"),
            ("mixed", "", "beta/org/m -nokey/m:provider_not_configured -acme/n:other_model"),
            ("acme/m", r#","models":["auto"]"#, "acme/m beta/org/m"),
        ] {
            let selected = world.select(name, rest);
            assert!(selected.starts_with(found), "{name}{rest}: {selected}");
        }
        for seed in 0..20 {
            world.seed = seed;
            let selected = world.select("auto", "");
            let one_model = ["acme/n", "acme/m beta/org/m", "beta/org/m acme/m"];
            assert!(one_model.contains(&&*selected), "{selected}");
        }
    }

    #[test]
    fn auto_finds_what_can_do_it() {
        let world = World::new();
        // Nothing at all is known of the twins, and a medium tier is tried first.
        assert!(
            world.select("auto", "").starts_with("acme/twin beta/twin")
                || world.select("auto", "").starts_with("beta/twin")
        );
        assert!(world.select("auto", r#","reasoning_effort":"low""#).starts_with("acme/small "));
        assert!(world.select("auto", r#","reasoning_effort":"high""#).starts_with("beta/big "));
        let tools = world.select("auto", r#","tools":[{}],"min_reasoning_level":"high""#);
        assert_eq!(tools, "beta/big -acme/small:not_capable -acme/twin:not_capable -beta/twin:not_capable");
        let nothing = world.select("auto", r#","tools":[{}],"min_reasoning_level":"high","max_tokens":6000"#);
        assert_eq!(
            nothing,
            "503 no_candidate No model that 'auto' stands for can answer this call, which needs tools, about 1 tokens of \
             context, 6000 tokens of output, reasoning level high or above; the nearest is 'acme/twin', which is left out: \
             is of reasoning level medium, below high"
        );
    }

    #[test]
    fn equals_are_drawn_and_the_ill_come_last() {
        let mut world = World::new();
        let firsts: std::collections::BTreeSet<_> = (0..50)
            .map(|seed| {
                world.seed = seed;
                world.select("auto", "").split(' ').next().unwrap().to_owned()
            })
            .collect();
        assert_eq!(firsts.len(), 2, "the twins are equals");
        let twin = LaneId { provider: "acme", model: "twin", key: 0 };
        let failure = Failure { class: Class::ServerError, retry_after_ms: None };
        for _ in 0..5 {
            world.view.failed(twin, &failure, false, 900, 0);
        }
        for seed in 0..50 {
            world.seed = seed;
            assert!(world.select("auto", "").starts_with("beta/twin "), "{}", world.select("auto", ""));
        }
    }

    #[test]
    fn weights_order_a_group() {
        let mut world = World::new();
        let firsts = (0..1000).filter(|seed| {
            world.seed = *seed;
            world.select("weighted", "").starts_with("acme/small beta/big")
        });
        assert!((680..820).contains(&firsts.count()));
    }

    #[test]
    fn callers_name_what_to_fall_back_on() {
        let world = World::new();
        assert_eq!(
            world.select("beta/big", r#","models":["quick","nope","beta/big","groq/x"]"#),
            "beta/big acme/small -nope:unknown_model -groq/x:provider_not_configured"
        );
        assert_eq!(world.select("nope", r#","models":["quick"]"#), "acme/small -nope:unknown_model");
        assert_eq!(
            world.select("quick", r#","tools":[{}],"models":["beta/big"]"#),
            "beta/big -acme/small:not_capable"
        );
        assert!(world.select("nope", "").starts_with("404"));
    }

    #[test]
    fn preferences_hold() {
        let world = World::new();
        let prefer = |model: &str, what: &str| world.select(model, &format!(r#","provider":{{{what}}}"#));
        assert_eq!(prefer("twin", r#""order":["beta"]"#), "beta/twin acme/twin");
        assert_eq!(prefer("pair", r#""order":["acme"]"#), "acme/small beta/big");
        assert_eq!(prefer("pair", r#""only":["acme"]"#), "acme/small -beta/big:not_preferred");
        assert_eq!(prefer("pair", r#""ignore":["acme"]"#), "beta/big -acme/small:not_preferred");
        assert_eq!(prefer("pair", r#""max_price":{"completion":1}"#), "acme/small -beta/big:too_expensive");
        assert_eq!(prefer("pair", r#""sort":"price""#), "acme/small beta/big");
        assert_eq!(prefer("pair", r#""allow_fallbacks":false"#), "beta/big -acme/small:no_fallbacks");
        assert_eq!(
            world.select("pair", r#","seed":1,"provider":{"require_parameters":true}"#),
            "beta/big -acme/small:would_drop_parameter"
        );
        assert!(
            prefer("pair", r#""only":["acmee"]"#)
                .starts_with("400 invalid_value there is no provider 'acmee'")
        );
        assert!(prefer("acme/small", r#""only":["beta"]"#).starts_with("503 no_candidate"));
        assert!(prefer("twin", r#""ignore":["nokey"]"#).starts_with("400 ambiguous_model"));
        assert_eq!(prefer("twin", r#""ignore":["acme"]"#), "beta/twin -acme/twin:not_preferred");
    }

    #[test]
    fn headers_force() {
        let world = World::new();
        assert_eq!(world.forced("auto", "", Some("quick"), None), "acme/small");
        assert_eq!(world.forced("twin", "", None, Some("beta")), "beta/twin -acme/twin:not_preferred");
        assert!(
            world
                .forced("auto", "", None, Some("groq"))
                .starts_with("503 provider_not_configured provider 'groq'")
        );
        assert!(world.forced("auto", "", None, Some("nope")).starts_with("400 invalid_value"));
    }

    #[test]
    fn a_key_sees_only_what_it_may_use() {
        let mut world = World::new();
        world.key = Some(IssuedKey { models: Some(vec!["acme/*".to_owned()]), ..IssuedKey::default() });
        assert_eq!(world.select("pair", ""), "acme/small -beta/big:not_allowed");
        assert!(!world.select("auto", "").contains("beta"));
        assert!(world.select("beta/big", "").starts_with("403 model_not_allowed"));
        assert_eq!(world.select("beta/big", r#","models":["quick"]"#), "acme/small -beta/big:not_allowed");
        world.key = Some(IssuedKey { models: Some(vec!["pair".to_owned()]), ..IssuedKey::default() });
        assert_eq!(world.select("pair", ""), "beta/big acme/small");
        assert!(
            world
                .select("auto", "")
                .starts_with("403 model_not_allowed This key may not use the model 'auto'")
        );
        world.key = Some(IssuedKey { models: Some(vec!["auto".to_owned()]), ..IssuedKey::default() });
        assert!(world.select("auto", "").contains("beta/big"));
    }

    #[test]
    fn openrouter_gets_its_own_members() {
        let config = Config::default();
        let world = World {
            registry: Registry::new(&config, false, |name| {
                (name == "OPENROUTER_API_KEY").then(|| "k".to_owned())
            }),
            config,
            ..World::new()
        };
        let own = r#","models":["x/y"],"provider":{"data_collection":"deny"}"#;
        assert_eq!(world.select("openrouter/a/b", own), "openrouter/a/b");
    }
}
