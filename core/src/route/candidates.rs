//! Candidate selection: the models that can serve a request, in order, and the reason for each model that is skipped.
//!
//! A model name is an alias, a group, `auto`, `provider/model`, or a bare id. If there is a choice, each model is
//! checked against the permissions of the key, the caller's preferences, and the needs of the call ([`Needs`]). Health
//! affects only the order of `auto`; [`super::plan`] decides which lanes are available.
//!
//! A provider that does not serve the caller's format is a candidate if the request can be translated. Among models that
//! are equal otherwise, those that get the request as it is come first. A conversation with reasoning that the gateway has
//! carried prefers the model that made it, unless the request orders the models itself.

use std::borrow::Cow;

use crate::catalog::{Entry, Facts, ListedModel, OTHER, Reachability, Registry, ToolUse};
use crate::config::{AUTO, Config, Group};
use crate::conversation::carrier::Maker;
use crate::error::{Code, Error};
use crate::format::request::{Inference, Needs, Outgoing};
use crate::format::upstream::Upstream;
use crate::key::{IssuedKey, covers};
use crate::money::MicroUsd;
use crate::name::model_name_fault;
use crate::operation::{Format, OPERATIONS, Operation, Task};
use crate::order::by_rank;
use crate::text::Nearest;

use super::affinity::Affinity;
use super::boundary::Boundary;
use super::needs::Lack;
use super::preferences::{self, Preferences, Sort};
use super::reason::{Dropped, Reason, shown};
use super::score;
use crate::health::{Availability, HealthView, LaneId, LaneStats};

/// The maximum number of candidates of a plan.
const MAX_CANDIDATES: usize = 32;
/// The number of candidates for which a translation is tried when they are selected: it costs as much as the translation
/// itself. Whether the others can be reached shows if they are needed.
const TRIED_TRANSLATIONS: usize = 4;

/// A model that can serve the call.
#[derive(Clone, Debug)]
pub struct Candidate<'a> {
    /// The provider.
    pub provider: &'a Entry,
    /// The provider's id of the model.
    pub model: Cow<'a, str>,
    /// The facts in the catalogue.
    pub facts: Facts,
    /// `true` if `GET /v1/models` lists the model.
    pub listed: bool,
    /// The score, if `auto` chose the model.
    pub score: Option<f64>,
    /// `true` if the fields `models` and `provider` are forwarded, because the provider does its own routing and the
    /// call names it.
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

    /// A model of a provider, with its price for what the call asks for.
    fn of_call(query: &RouteQuery<'_, '_>, provider: &'a Entry, model: &str) -> Candidate<'a> {
        let candidate = Candidate::of(provider, model);
        let kinds = query.request.kinds_of_image();
        let facts = kinds.and_then(|kinds| provider.facts_of_image(model, &kinds));
        Candidate { facts: facts.unwrap_or(candidate.facts), ..candidate }
    }

    /// The upstream that a request is written for.
    pub fn upstream(&self) -> Upstream<'_> {
        Upstream { provider: self.provider, model: &self.model, own_routing: self.own_routing }
    }

    /// The reason why the model cannot serve an operation, as far as is known.
    fn mismatch(&self, operation: &Operation) -> Option<Reason> {
        match self.facts.task {
            Some(task) if !task.also_serves(operation.task) && !self.converses(operation) => {
                Some(Reason::OtherTask(task))
            }
            _ => self.format(operation.format, ToolUse::default()).is_none().then_some(Reason::NoEndpoint),
        }
    }

    /// Returns `true` if the operation is chat and the model takes part in conversations, whatever its task is: only of
    /// such models it is known if they call tools.
    fn converses(&self, operation: &Operation) -> bool {
        operation.task == Task::Chat && self.facts.tools.is_some()
    }

    /// The format in which a call in this format is sent.
    fn format(&self, format: Format, tools: ToolUse) -> Option<Format> {
        self.provider.format_with(format, &self.facts, tools)
    }

    /// Returns `true` if a request passes as it is, without translation.
    pub fn passes(&self, request: &Inference<'_>) -> bool {
        let format = request.operation.format;
        self.format(format, request.tool_use()) == Some(format)
    }

    /// The candidate as the maker of reasoning.
    fn maker(&self) -> Maker {
        Maker::of(&self.provider.name, &self.model)
    }

    /// The id of the model without a maker prefix, which is the same at every provider.
    fn bare_id(&self) -> &str {
        last_segment(&self.model)
    }

    /// `provider/model`.
    pub fn address(&self) -> String {
        format!("{}/{}", self.provider.name, self.model)
    }

    /// Returns `true` if any lane of the model is available.
    pub fn is_available(&self, view: &HealthView, now_ms: u64) -> bool {
        let per_day = self.facts.requests_per_day;
        self.provider
            .key_places()
            .any(|key| view.availability(self.lane(key), per_day, now_ms) == Availability::Available)
    }

    /// The lane for one of the provider's keys.
    pub fn lane(&self, key: u8) -> LaneId<'_> {
        LaneId { provider: &self.provider.name, model: if self.listed { &self.model } else { OTHER }, key }
    }
}

fn last_segment(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or_default()
}

/// The result of a selection.
#[derive(Debug, Default)]
pub struct Selection<'a> {
    /// The candidates, in order; never empty.
    pub candidates: Vec<Candidate<'a>>,
    /// The models that were skipped. Of `auto`, only those that the call may have meant: models that lack a capability.
    pub dropped: Vec<Dropped>,
    /// The needs of the call; `None` if they were not checked, because the call names a single model.
    pub needs: Option<Needs>,
    /// The request as it was translated for the first candidate, without an output limit; `None` if it passes there.
    pub translated: Option<Outgoing>,
    /// `true` if the first candidate is the one that made the reasoning of earlier turns.
    pub follows_reasoning: bool,
}

/// The inputs of a selection.
#[derive(Clone, Copy, Debug)]
pub struct RouteQuery<'a, 'b> {
    /// The request.
    pub request: &'b Inference<'b>,
    /// The model in the header, which replaces the one in the body.
    pub force_model: Option<&'b str>,
    /// The provider in the header, the only one that may be used.
    pub force_provider: Option<&'b str>,
    /// The caller's key, if it was issued.
    pub key: Option<&'b IssuedKey>,
    /// The operator's configuration.
    pub config: &'a Config,
    /// The providers and models of the deployment.
    pub registry: &'a Registry,
    /// The health of the lanes.
    pub view: &'b HealthView,
    /// The order among equals.
    pub affinity: Affinity,
    /// The time, in milliseconds since 1970.
    pub now_ms: u64,
    /// Collect the models that `auto` skips. They are collected anyway if no candidate is left.
    pub explain: bool,
}

/// The resolution of a name.
#[expect(
    clippy::large_enum_variant,
    reason = "it lives for a moment; a box would be an allocation in each call"
)]
enum Named<'a> {
    One(Candidate<'a>),
    /// Several models, in order: a group, or a bare id that several providers have.
    Several(Vec<Candidate<'a>>),
    Auto,
    Nothing,
}

/// Finds the candidates for a request.
pub fn select<'a>(query: &RouteQuery<'a, '_>) -> Result<Selection<'a>, Error> {
    let (name, param) = match query.force_model {
        Some(name) => (name, "x-gateway-force-model"),
        None => (&*query.request.model, "model"),
    };
    check_name(name, param)?;
    let mut first = named(query, name);
    // A provider that does its own routing gets these fields unchanged.
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

    let boundary = Boundary::of(query.key, query.config);
    let plain = fallbacks.is_empty() && preferences == Preferences::default();
    if plain && let Named::One(candidate) = first {
        check_allowed(query, name, &candidate)?;
        if let Some(field) = crossed_by(query, boundary.as_ref(), name, &candidate) {
            return Err(field_not_allowed(&candidate.provider.name, field, param));
        }
        check_active(&candidate)?;
        check_endpoint(query.request.operation, &candidate)?;
        let translated = query.request.check_translation(&candidate.upstream())?;
        return Ok(Selection { candidates: vec![candidate], translated, ..Selection::default() });
    }

    let mut choice = Choice {
        query,
        preferences: &preferences,
        boundary,
        param,
        needs: query.request.needs,
        only_id: None,
        has_free_order: fallbacks.is_empty() && preferences.order.is_empty() && preferences.sort.is_none(),
        candidates: Vec::new(),
        dropped: Vec::new(),
        translated: None,
    };
    match first {
        Named::Nothing if fallbacks.is_empty() => {
            return Err(unknown_model(query.config, query.registry, query.key, name));
        }
        Named::Several(found) if is_ambiguous(query, name) && preferences.are_ambiguous(&found) => {
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

/// Checks a model name: callers can name models that are not listed.
fn check_name(name: &str, param: &'static str) -> Result<(), Error> {
    match model_name_fault(name) {
        None => Ok(()),
        Some(fault) => {
            let message = format!("the name of a model in '{param}' {fault}");
            Err(Error::new(Code::InvalidValue, message).with_param(param))
        }
    }
}

fn check_allowed(query: &RouteQuery<'_, '_>, name: &str, candidate: &Candidate<'_>) -> Result<(), Error> {
    query.key.map_or(Ok(()), |key| key.check_model(query.config, name, &candidate.address()))
}

/// The field by which a provider would choose more than the key's policies allow.
fn crossed_by(
    query: &RouteQuery<'_, '_>,
    boundary: Option<&Boundary<'_>>,
    name: &str,
    candidate: &Candidate<'_>,
) -> Option<Cow<'static, str>> {
    boundary?.crossed_by(query.request, name, candidate.upstream())
}

/// The error for a field by which a provider would choose more than the key's policies allow. `model` is the field or
/// header with the name of the model.
fn field_not_allowed(provider: &str, field: Cow<'static, str>, model: &'static str) -> Error {
    let (field, fix) = match &*field {
        "model" => (Cow::Borrowed(model), "use the id without its suffix, or another model"),
        _ => (field, "remove the field"),
    };
    let message = format!(
        "'{}' lets the provider '{provider}' choose a model, a service or a price that the policy of this key does not \
         allow; {fix}",
        shown(&field)
    );
    Error::new(Code::FieldNotAllowed, message).with_param(field)
}

fn check_active(candidate: &Candidate<'_>) -> Result<(), Error> {
    match &candidate.provider.reachability {
        Reachability::Active { .. } | Reachability::Binding => Ok(()),
        Reachability::Inactive(reason) => Err(not_configured(&candidate.provider.name, reason)),
    }
}

/// Checks that a single named model supports the endpoint, as far as is known.
fn check_endpoint(operation: &Operation, candidate: &Candidate<'_>) -> Result<(), Error> {
    let message = match candidate.mismatch(operation) {
        None => return Ok(()),
        Some(Reason::OtherTask(task)) => {
            format!("'{}' is {}: send it to {}", candidate.address(), task.model(), task.endpoints())
        }
        Some(_) => {
            let served = OPERATIONS
                .iter()
                .filter(|other| candidate.format(other.format, ToolUse::default()).is_some());
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

/// The error for a provider that cannot be called. Which variable the operator has to set is not the caller's business.
fn not_configured(provider: &str, reason: &str) -> Error {
    Error::new(Code::ProviderNotConfigured, format!("provider '{provider}' is not configured here"))
        .with_param("model")
        .with_operator_detail(reason)
}

/// Checks that a provider named by the caller exists: a misspelt name would silently have no effect.
fn check_provider(registry: &Registry, name: &str, param: &'static str) -> Result<(), Error> {
    if registry.provider(name).is_some() {
        return Ok(());
    }
    let mut nearest = Nearest::of(name);
    for entry in registry.entries().iter().filter(|entry| entry.is_active()) {
        nearest.consider(&entry.name, || entry.name.clone());
    }
    let shown: String = name.chars().take(100).collect();
    let message = format!(
        "provider '{shown}' does not exist.{} GET /health lists the providers that can be called",
        nearest.question()
    );
    Err(Error::new(Code::InvalidValue, message).with_param(param))
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
        return Named::One(Candidate::of_call(query, entry, model));
    }
    let mut found: Vec<Candidate<'a>> = query
        .registry
        .entries()
        .iter()
        .filter(|entry| entry.is_active() && entry.lists(name))
        .map(|entry| Candidate::of_call(query, entry, name))
        .collect();
    found.sort_by_key(|candidate| !candidate.passes(query.request));
    match (found.len(), found.pop()) {
        (1, Some(one)) => Named::One(one),
        (_, Some(last)) => {
            found.push(last);
            Named::Several(found)
        }
        (_, None) => Named::Nothing,
    }
}

/// The models of a group, as listed or ordered by weight.
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
            Some(Candidate::of_call(query, query.registry.provider(provider)?, model))
        })
        .collect()
}

/// Returns `true` if a bare name could mean the models of several providers, and no alias or group resolves it.
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
            "several providers have '{name}'; use {first} or {}, or set 'provider': {{\"order\": […]}}",
            others.join(" or ")
        ),
    )
    .with_param("model")
}

/// The error for a name that resolves to nothing, with what the caller may have meant: a name that its key may use.
pub fn unknown_model(config: &Config, registry: &Registry, key: Option<&IssuedKey>, name: &str) -> Error {
    let shown: String = name.chars().take(100).collect();
    let without_key: Vec<_> = registry
        .entries()
        .iter()
        .filter(|entry| !entry.is_active() && entry.lists(name))
        .map(|entry| format!("'{}'", entry.name))
        .collect();
    let message = if without_key.is_empty() {
        let question = did_you_mean(config, registry, key, name);
        format!(
            "Model '{shown}' is unknown.{question} GET /v1/models lists the known models, and provider/model reaches any other"
        )
    } else {
        let (providers, are) = (without_key.join(", "), if without_key.len() == 1 { "is" } else { "are" });
        format!(
            "Model '{shown}' is a model of {providers}, which {are} not configured here; GET /v1/models lists the models that can be called"
        )
    };
    Error::new(Code::ModelNotFound, message).with_param("model")
}

/// A question that names what a misspelt name may have meant; empty if nothing is near.
fn did_you_mean(config: &Config, registry: &Registry, key: Option<&IssuedKey>, name: &str) -> String {
    let is_allowed =
        |name: &str, address: &str| key.is_none_or(|key| key.check_model(config, name, address).is_ok());
    let mut nearest = Nearest::of(name);
    for (alias, address) in &config.aliases {
        if is_allowed(alias, address) {
            nearest.consider(alias, || alias.clone());
        }
    }
    for (group, listed) in &config.groups {
        if listed.models.iter().any(|address| is_allowed(group, address)) {
            nearest.consider(group, || group.clone());
        }
    }
    // A misspelt provider in front of a model.
    if let Some((provider, model)) = name.split_once('/') {
        let mut providers = Nearest::of(provider);
        for entry in registry.entries().iter().filter(|entry| entry.is_active()) {
            let address = format!("{}/{model}", entry.name);
            if is_allowed(&address, &address) {
                providers.consider(&entry.name, || address.chars().take(100).collect());
            }
        }
        let question = providers.question();
        if !question.is_empty() {
            return question;
        }
    }
    for (_, model) in registry.models() {
        let address = format!("{}/{}", model.provider, model.id);
        if is_allowed(&address, &address) {
            nearest.consider(model.id, || address.clone());
            nearest.consider(&address, || address.clone());
        }
    }
    nearest.question()
}

/// A candidate for `auto`.
struct Scored<'a> {
    /// The index of its tier in the order that the effort asks for.
    tier: f64,
    score: f64,
    /// The rank among equals.
    rank: f64,
    candidate: Candidate<'a>,
}

/// Returns `true` if `auto` may choose a model.
pub fn is_automatic(config: &Config, model: &ListedModel<'_>) -> bool {
    match &config.routing.auto {
        Some(patterns) => {
            let address = format!("{}/{}", model.provider, model.id);
            patterns.iter().any(|pattern| covers(pattern, "", &address))
        }
        None => !model.facts.not_automatic,
    }
}

/// The candidates and skipped models so far.
struct Choice<'c, 'a> {
    query: &'c RouteQuery<'a, 'c>,
    preferences: &'c Preferences,
    /// The boundary of the key's policies, if they have one.
    boundary: Option<Boundary<'c>>,
    /// The field or header with the name of the model.
    param: &'static str,
    needs: Needs,
    /// The id of the model that is named first, for a task whose models cannot replace each other: only this model is
    /// called, even if it is not available at the provider that was named.
    only_id: Option<String>,
    /// `true` if the request does not order the models or the providers itself.
    has_free_order: bool,
    candidates: Vec<Candidate<'a>>,
    dropped: Vec<Dropped>,
    /// The first translation that succeeded, and the address of its candidate.
    translated: Option<(String, Outgoing)>,
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
            Named::Nothing => {
                let reason = Reason::Unknown;
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

    /// Sets the only id that may be called, if none is set and the task needs one.
    fn keep_to(&mut self, id: &str) {
        if self.only_id.is_none() && !self.query.request.operation.task.mixes_models() {
            self.only_id = Some(id.to_owned());
        }
    }

    fn is_other_model(&self, candidate: &Candidate<'_>) -> bool {
        self.only_id.as_deref().is_some_and(|id| id != candidate.bare_id())
    }

    /// The reason why a model is skipped, or `None`. The first reason counts. The permissions of the key come first, so
    /// that a caller learns nothing else about a model that its key may not use.
    fn reason(&self, name: &str, candidate: &Candidate<'_>) -> Option<Reason> {
        if check_allowed(self.query, name, candidate).is_err() {
            return Some(Reason::NotAllowed);
        }
        if let Some(field) = crossed_by(self.query, self.boundary.as_ref(), name, candidate) {
            return Some(Reason::FieldNotAllowed(field));
        }
        if let Reachability::Inactive(detail) = &candidate.provider.reachability {
            return Some(Reason::Inactive(detail.clone()));
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

    /// Adds all models that `auto` may choose, the best first.
    fn automatic(&mut self, name: &str) {
        let RouteQuery { config, registry, view, affinity, now_ms, .. } = *self.query;
        let kinds = self.query.request.kinds_of_image();
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
                facts: kinds
                    .as_ref()
                    .and_then(|kinds| entry.facts_of_image(model.id, kinds))
                    .unwrap_or(model.facts),
                listed: true,
                score: None,
                own_routing: false,
            };
            if let Some(reason) = self.reason(name, &candidate) {
                not_allowed |= reason == Reason::NotAllowed;
                // Of hundreds of models, those that the caller excluded are not worth listing.
                let is_worth_listing = matches!(
                    reason,
                    Reason::Lacks(_)
                        | Reason::TooExpensive
                        | Reason::WouldDrop(_)
                        | Reason::FieldNotAllowed(_)
                );
                if self.query.explain && is_worth_listing {
                    self.dropped.push(Dropped { model: address(), reason });
                }
                continue;
            }
            let score = score::score(&candidate.facts, view.lane(candidate.lane(0)), now_ms);
            candidate.score = Some(score);
            let tier = score::tier_place(self.needs.effort, candidate.facts.effective_tier());
            found.push(Scored { tier, score, rank: affinity.rank(&address(), 1.0), candidate });
        }
        if not_allowed && found.is_empty() && self.dropped.is_empty() {
            self.dropped.push(Dropped { model: name.to_owned(), reason: Reason::NotAllowed });
        }
        let mut found = by_rank(found, |one| [one.tier, -one.score, one.rank]);
        // The best available model sets the score of its equals, whose order is a matter of affinity.
        let is_available = |one: &Scored<'_>| one.candidate.is_available(view, now_ms);
        if let Some((tier, best)) =
            found.iter().find(|one| is_available(one)).map(|one| (one.tier, one.score))
        {
            let is_equal = |one: &Scored<'_>| {
                // Tiers are small whole numbers.
                (one.tier - tier).abs() < 0.5 && best - one.score <= score::MARGIN && is_available(one)
            };
            let request = self.query.request;
            let is_translated = |one: &Scored<'_>| f64::from(u8::from(!one.candidate.passes(request)));
            found = by_rank(found, |one| {
                if is_equal(one) { [0.0, is_translated(one), one.rank] } else { [1.0, 0.0, 0.0] }
            });
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

    /// Skips candidates for which the request cannot be translated. Of many, some are left to be tried.
    fn skip_untranslatable(&mut self) {
        let RouteQuery { request, explain, .. } = *self.query;
        let [mut found, mut failed] = [0; 2];
        for candidate in std::mem::take(&mut self.candidates) {
            let is_tried = explain || (found < TRIED_TRANSLATIONS && failed < MAX_CANDIDATES);
            let is_tried = is_tried && !candidate.passes(request);
            let upstream = candidate.upstream();
            let result = if is_tried { request.check_translation(&upstream) } else { Ok(None) };
            match result {
                Ok(Some(Outgoing { adjusted, .. }))
                    if self.preferences.require_parameters && !adjusted.is_empty() =>
                {
                    let reason = Reason::WouldDrop(adjusted.join("', '"));
                    self.dropped.push(Dropped { model: candidate.address(), reason });
                }
                Ok(translated) => {
                    found += usize::from(is_tried);
                    if self.translated.is_none() {
                        self.translated = translated.map(|outgoing| (candidate.address(), outgoing));
                    }
                    self.candidates.push(candidate);
                }
                Err(error) => {
                    failed += 1;
                    let reason = Reason::NotTranslatable(Box::new(error));
                    self.dropped.push(Dropped { model: candidate.address(), reason });
                }
            }
        }
    }

    fn finish(mut self, name: &str) -> Result<Selection<'a>, Error> {
        if self.candidates.iter().any(|candidate| !candidate.passes(self.query.request)) {
            self.skip_untranslatable();
        }
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
        let mut follows_reasoning = false;
        if self.has_free_order
            && self.candidates.len() > 1
            && let Some(maker) = self.query.request.reasoning_maker()
        {
            // Only the lane that made the reasoning of earlier turns can read it.
            let is_other = |candidate: &Candidate<'_>| candidate.maker() != maker;
            self.candidates.sort_by_key(is_other);
            follows_reasoning = self.candidates.first().is_some_and(|first| !is_other(first));
        }
        let most = if *allow_fallbacks == Some(false) { 1 } else { MAX_CANDIDATES };
        for candidate in self.candidates.split_off(self.candidates.len().min(most)) {
            if most == 1 {
                self.dropped.push(Dropped { model: candidate.address(), reason: Reason::NoFallbacks });
            }
        }
        let first = self.candidates.first();
        let is_first = |address: &String| first.is_some_and(|first| first.address() == *address);
        let translated =
            self.translated.filter(|(address, _)| is_first(address)).map(|(_, outgoing)| outgoing);
        let Choice { candidates, dropped, needs, .. } = self;
        Ok(Selection { candidates, dropped, needs: Some(needs), translated, follows_reasoning })
    }

    /// The error if the input is too long for every model: the caller can only shorten it.
    fn too_long(&self, name: &str) -> Option<Error> {
        let lacking = || {
            self.dropped.iter().filter_map(|dropped| match &dropped.reason {
                Reason::Lacks(lacks) => Some(lacks.as_slice()),
                _ => None,
            })
        };
        let context = |lacks: &[Lack]| {
            lacks.iter().find_map(|lack| if let Lack::Context { has, .. } = lack { Some(*has) } else { None })
        };
        let is_reason = lacking().any(|lacks| matches!(lacks, [Lack::Context { .. }]))
            || lacking().all(|lacks| context(lacks).is_some());
        let most = lacking().filter_map(context).max().filter(|_| is_reason)?;
        let message = format!(
            "The maximum context length of the models that '{name}' resolves to is {most} tokens, but this request needs about {}; shorten it",
            self.needs.input_tokens
        );
        let param = self.query.request.input_field();
        let tokens = [self.needs.input_tokens, most.into()];
        Some(Error::new(Code::ContextLengthExceeded, message).with_param(param).with_tokens(tokens))
    }

    /// The error if no candidate is left: the name, the needs, and the nearest model.
    fn nothing(&self, name: &str) -> Error {
        let name: String = name.chars().take(100).collect();
        if let Some(first) = self.dropped.first() {
            if self.dropped.iter().all(|dropped| dropped.reason == Reason::NotAllowed) {
                let message = format!("This key may not use the model '{name}'");
                return Error::new(Code::ModelNotAllowed, message).with_param("model");
            }
            let is_policy =
                |reason: &Reason| matches!(reason, Reason::NotAllowed | Reason::FieldNotAllowed(_));
            let crossing = self.dropped.iter().find_map(|dropped| match &dropped.reason {
                Reason::FieldNotAllowed(field) => Some((dropped.model.as_str(), field)),
                _ => None,
            });
            if let Some((model, field)) = crossing
                && self.dropped.iter().all(|dropped| is_policy(&dropped.reason))
            {
                let provider = model.split('/').next().unwrap_or_default();
                return field_not_allowed(provider, field.clone(), self.param);
            }
            let untranslatable = self.dropped.iter().find_map(|dropped| match &dropped.reason {
                Reason::NotTranslatable(error) => Some(&**error),
                _ => None,
            });
            // The other reasons are none that the caller could change.
            let is_given = |reason: &Reason| {
                let is_of_provider = matches!(reason, Reason::Inactive(_) | Reason::NoEndpoint);
                is_of_provider || matches!(reason, Reason::NotTranslatable(_) | Reason::OtherTask(_))
            };
            if let Some(error) = untranslatable
                && self.dropped.iter().all(|dropped| is_given(&dropped.reason))
            {
                return error.clone();
            }
            if let Reason::Inactive(detail) = &first.reason
                && self.dropped.iter().all(|dropped| matches!(dropped.reason, Reason::Inactive(_)))
            {
                let provider = first.model.split('/').next().unwrap_or_default();
                return not_configured(provider, detail);
            }
        }
        let is_mismatch = |reason: &Reason| matches!(reason, Reason::OtherTask(_) | Reason::NoEndpoint);
        if let Some(Dropped { model, reason }) = self.dropped.first()
            && self.dropped.iter().all(|dropped| is_mismatch(&dropped.reason))
        {
            let path = self.query.request.operation.path;
            let message = format!(
                "None of the models that '{name}' resolves to serves POST {path}; for example '{model}': {reason}"
            );
            return Error::new(Code::UnsupportedEndpoint, message).with_param("model");
        }
        if let [provider] = self.preferences.only.as_slice()
            && let Some(Reachability::Inactive(detail)) =
                self.query.registry.provider(provider).map(|entry| &entry.reachability)
        {
            return not_configured(provider, detail);
        }
        if let Some(error) = self.too_long(&name) {
            return error;
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
                format!("; the nearest is '{model}', which is skipped: {reason}")
            }
            None => "; no configured provider has a suitable model".to_owned(),
        };
        Error::new(
            Code::NoCandidate,
            format!(
                "None of the models that '{name}' resolves to can serve this call, which needs {}{nearest}; GET /v1/models \
                 lists what each model can do",
                self.needs.describe()
            ),
        )
        .with_param("model")
    }
}

/// The value by which candidates are sorted; unknown values come last.
fn sort_value(view: &HealthView, sort: Sort, candidate: &Candidate<'_>) -> f64 {
    let known = match sort {
        Sort::Price => score::usd_per_mtok(&candidate.facts.price),
        Sort::Latency => view.lane(candidate.lane(0)).and_then(LaneStats::latency_ms),
    };
    known.unwrap_or(f64::MAX)
}

impl Preferences {
    /// Returns `true` if the preferences do not determine which of several providers is meant.
    fn are_ambiguous(&self, found: &[Candidate<'_>]) -> bool {
        let left = found.iter().filter(|candidate| !self.ignore.contains(&candidate.provider.name));
        self.order.is_empty() && self.only.is_empty() && self.sort.is_none() && left.count() > 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::failure::{Class, Failure};
    use crate::name::MAX_MODEL_NAME;
    use crate::operation::{CHAT_COMPLETIONS, EMBEDDINGS, IMAGES, MESSAGES};
    use crate::route::affinity::AffinitySource;
    use crate::unit::Unit;

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

        fn query<'a>(&'a self, request: &'a Inference<'a>) -> RouteQuery<'a, 'a> {
            RouteQuery {
                request,
                force_model: None,
                force_provider: None,
                key: self.key.as_ref(),
                config: &self.config,
                registry: &self.registry,
                view: &self.view,
                affinity: Affinity { seed: self.seed, source: AffinitySource::None },
                now_ms: 1000,
                explain: true,
            }
        }

        /// The candidates and the skipped models, or the error, in one line.
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
            match select(&RouteQuery { force_model, force_provider, ..self.query(&request) }) {
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
    fn images_have_the_price_of_their_quality_and_size() {
        let config = r#"{
            "providers": {"studio": {"base_url": "http://s.example", "auth": "none", "formats": ["images"]}},
            "groups": {"all": {"models": ["studio/m", "studio/mine"]}},
            "models": {
                "studio/m": {"task": "image", "usd_per_unit": {"image": 0.04}},
                "studio/mine": {"like": "azure/dall-e-3"},
                "studio/hd/1024-x-1792/m": {"hidden": true, "usd_per_unit": {"image": 0.12}},
                "studio/512-x-512/m": {"hidden": true, "usd_per_unit": {"image": 0.01}}
            }
        }"#;
        let world = World::of(config, &IMAGES);
        for (fields, m, mine) in [
            ("", 40_000, 44_000),
            (r#","quality":"hd","size":"1024x1792""#, 120_000, 132_000),
            (r#","quality":"standard","size":"1024x1792""#, 40_000, 88_000),
            (r#","quality":"hd","size":"512x512""#, 10_000, 132_000),
            (r#","quality":"auto","size":"auto""#, 40_000, 132_000),
            (r#","quality":"hd","size":7"#, 40_000, 132_000),
        ] {
            let body = format!(r#"{{"model":"all","prompt":"a"{fields}}}"#);
            let request = crate::format::read(&IMAGES, body.as_bytes()).unwrap();
            let found = select(&world.query(&request)).unwrap();
            let prices = found.candidates.iter().map(|one| one.facts.price.units.get(Unit::Image).unwrap());
            assert_eq!(
                prices.map(|price| price.div_ceil(1_000_000)).collect::<Vec<_>>(),
                [m, mine],
                "{fields}"
            );
        }
    }

    /// `words` serves chat completions alone, `claude` messages.
    const FORMATS: &str = r#"{
        "groups": {"mixed": {"models": ["claude/m", "words/m"]}, "claudes": {"models": ["claude/m", "claude/n"]}},
        "routing": {"auto": ["words/*", "claude/*"]},
        "providers": {
            "claude": {"base_url": "http://c.example", "auth": "none", "models": ["m", "n"], "formats": ["messages"]},
            "words": {"base_url": "http://w.example", "auth": "none", "models": ["m"]},
            "vectors": {"base_url": "http://v.example", "auth": "none", "models": ["v"], "formats": ["embeddings"]}
        }
    }"#;

    #[test]
    fn a_model_for_which_a_request_cannot_be_translated_is_skipped() {
        let world = World::of(FORMATS, &CHAT_COMPLETIONS);
        for (model, found) in [
            ("words/m", "words/m"),
            ("mixed", "words/m -claude/m:not_translatable"),
            ("claude/m", "400 unsupported_parameter "),
            ("claudes", "400 unsupported_parameter "),
            (
                "vectors/v",
                "400 unsupported_endpoint provider 'vectors' does not serve POST /v1/chat/completions; it serves POST /v1/embeddings",
            ),
        ] {
            // Messages have one choice.
            let selected = world.select(model, r#","n":2"#);
            assert!(selected.starts_with(found), "{model}: {selected}");
        }
    }

    #[test]
    fn among_equals_those_that_get_the_request_as_it_is_come_first() {
        for (operation, first) in [(&CHAT_COMPLETIONS, "words/"), (&MESSAGES, "claude/")] {
            for seed in 0..20 {
                let selected =
                    World { seed, ..World::of(FORMATS, operation) }.select("auto", r#","max_tokens":9"#);
                assert!(selected.starts_with(first), "{seed}: {selected}");
            }
        }
    }

    #[test]
    fn the_request_is_translated_once_for_the_first_candidate() {
        let world = World::of(FORMATS, &CHAT_COMPLETIONS);
        for (model, rest, is_translated) in [
            ("claude/m", "", true),
            ("words/m", "", false),
            ("claudes", "", true),
            ("mixed", "", true),
            // The order has changed since.
            ("claudes", r#","provider":{"order":["words"]},"models":["words/m"]"#, false),
        ] {
            let body = format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"a"}}]{rest}}}"#);
            let request = crate::format::read(world.operation, body.as_bytes()).unwrap();
            let query = RouteQuery {
                request: &request,
                force_model: None,
                force_provider: None,
                key: None,
                config: &world.config,
                registry: &world.registry,
                view: &world.view,
                affinity: Affinity { seed: 0, source: AffinitySource::None },
                now_ms: 1000,
                explain: false,
            };
            let selection = select(&query).unwrap();
            let kept = selection.translated.and_then(|outgoing| outgoing.body);
            assert_eq!(kept.is_some(), is_translated, "{model}");
            if let Some(kept) = kept {
                let again = request.outgoing(&selection.candidates[0].upstream(), None).unwrap();
                assert_eq!(again.body, Some(kept));
            }
        }
    }

    #[test]
    fn a_conversation_prefers_the_maker_of_its_reasoning_unless_it_orders_the_models() {
        use crate::conversation::carrier::{Blob, Kind};
        let world = World::of(FORMATS, &MESSAGES);
        let of = |model: &str| {
            let maker = Maker::of("claude", model);
            Blob { kind: Kind::Signature, maker, data: "x".to_owned() }.to_text()
        };
        for (made_by, rest, found) in [
            ("n", "", "claude/n claude/m"),
            ("m", "", "claude/m claude/n"),
            ("other", "", "claude/m claude/n"),
            ("n", r#","provider":{"sort":"price"}"#, "claude/m claude/n"),
        ] {
            let rest = format!(r#","max_tokens":9,"metadata":{{"made":"{}"}}{rest}"#, of(made_by));
            assert_eq!(world.select("claudes", &rest), found, "{made_by}");
        }
        let rest = format!(r#","max_tokens":9,"models":["claude/n"],"metadata":{{"made":"{}"}}"#, of("n"));
        assert_eq!(world.select("claude/m", &rest), "claude/m claude/n");
    }

    #[test]
    fn a_name_is_an_alias_a_group_an_address_or_a_bare_id() {
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
            ("secret", "404 model_not_found Model 'secret' is unknown"),
            ("gpt-99", "404 model_not_found Model 'gpt-99' is unknown"),
            ("smal", "404 model_not_found Model 'smal' is unknown. Did you mean 'acme/small'? GET"),
            ("qiuck", "404 model_not_found Model 'qiuck' is unknown. GET"),
            ("quikc", "404 model_not_found Model 'quikc' is unknown. GET"),
            ("quic", "404 model_not_found Model 'quic' is unknown. Did you mean 'quick'? GET"),
            (
                "acmee/small",
                "404 model_not_found Model 'acmee/small' is unknown. Did you mean 'acme/small'? GET",
            ),
            ("gpt-4o-mini", "404 model_not_found Model 'gpt-4o-mini' is a model of "),
            ("acme/", "404 model_not_found"),
            ("/x", "404 model_not_found"),
            ("twin", "400 ambiguous_model several providers have 'twin'; use 'acme/twin' or 'beta/twin'"),
            ("gone", "503 provider_not_configured provider 'nokey' is not configured here"),
            ("groq/x", "503 provider_not_configured provider 'groq' is not configured here"),
        ] {
            assert!(world.select(name, "").starts_with(error), "{name}: {}", world.select(name, ""));
        }
    }

    #[test]
    fn the_length_and_characters_of_names_are_checked() {
        let world = World::new();
        let longest = format!("acme/{}", "é".repeat((MAX_MODEL_NAME - 5) / 2));
        assert_eq!(world.select(&longest, ""), longest);
        let too_long = format!("{longest}xx");
        let start = "400 invalid_value the name of a model in";
        assert_eq!(
            world.select(&too_long, ""),
            format!("{start} 'model' is 513 bytes long; the limit is 512")
        );
        assert_eq!(world.select("acme/\\u0000", ""), format!("{start} 'model' has a control character"));
        let fallback = world.select("quick", &format!(r#","models":["{too_long}"]"#));
        assert!(fallback.starts_with(&format!("{start} 'models' is 513 bytes")), "{fallback}");
        let forced = world.forced("quick", "", Some(&too_long), None);
        assert!(forced.starts_with(&format!("{start} 'x-gateway-force-model' is 513 bytes")), "{forced}");
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
            // Not even if the first provider cannot be called.
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
    fn auto_chooses_models_that_meet_the_needs() {
        let world = World::new();
        // The twins have no facts, so they count as medium tier, which is tried first.
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
            "503 no_candidate None of the models that 'auto' resolves to can serve this call, which needs tools, about 1 tokens of \
             context, 6000 tokens of output, reasoning level high or above; the nearest is 'acme/twin', which is skipped: \
             has reasoning level medium, below high; GET /v1/models lists what each model can do"
        );
    }

    #[test]
    fn equal_models_share_the_load_and_failing_models_come_last() {
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
    fn callers_can_name_fallback_models() {
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
    fn preferences_are_followed() {
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
                .starts_with("400 invalid_value provider 'acmee' does not exist")
        );
        assert!(prefer("acme/small", r#""only":["beta"]"#).starts_with("503 no_candidate"));
        assert!(prefer("twin", r#""ignore":["nokey"]"#).starts_with("400 ambiguous_model"));
        assert_eq!(prefer("twin", r#""ignore":["acme"]"#), "beta/twin -acme/twin:not_preferred");
    }

    #[test]
    fn headers_override_the_model_and_the_provider() {
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
    fn a_key_uses_only_the_models_that_it_may_use() {
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
    fn openrouter_gets_its_own_routing_fields() {
        let config: Config = serde_json::from_value(serde_json::json!({
            "groups": {"g": {"models": ["openrouter/a/b", "groq/x"]}},
            "policies": {"one": {"models": ["openrouter/a/b", "g"]}},
        }))
        .unwrap();
        let mut world = World {
            registry: Registry::new(&config, false, |name| {
                matches!(name, "OPENROUTER_API_KEY" | "GROQ_API_KEY").then(|| "k".to_owned())
            }),
            config,
            ..World::new()
        };
        let own = r#","models":["x/y"],"provider":{"data_collection":"deny"}"#;
        assert_eq!(world.select("openrouter/a/b", own), "openrouter/a/b");
        let key = IssuedKey { policies: vec!["one".to_owned()], ..IssuedKey::default() };
        world.key = Some(key);
        let refused = "403 field_not_allowed '";
        assert!(world.select("openrouter/a/b", own).starts_with(&format!("{refused}models' lets")));
        let plugins = r#","plugins":[{"id":"web"}]"#;
        assert!(world.select("openrouter/a/b", plugins).starts_with(&format!("{refused}plugins' lets")));
        let group = world.select("g", plugins);
        assert_eq!(group, "groq/x -openrouter/a/b:field_not_allowed");
        assert_eq!(world.select("openrouter/a/b", r#","plugins":null"#), "openrouter/a/b");
    }
}
