//! The route table: method, path, audience and handler of every route. The inference endpoints are the rows of
//! [`crate::operation`].
//!
//! The router, CORS, 405 responses, the endpoint lists of keys and policies, and the check of `openapi.json` read the
//! table.

use crate::operation::{MESSAGES, OPERATIONS, Operation, RESPONSES, Surface};

/// The callers of a route that is not public.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Callers with an inference key.
    Inference,
    /// Callers with an inference key, and operators: both may read the usage of keys.
    Holder,
    /// Operators, with an operator key.
    Operator,
}

/// The handler of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A handler that needs no caller.
    Public(Public),
    /// A handler for a caller with a key.
    Keyed(Audience, Keyed),
    /// A static file, which the runtime serves without the Worker.
    Asset,
}

/// The handlers that need no caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Public {
    /// `handlers::routing::status`
    RoutingStatus,
    /// `handlers::routing::provider_stats`
    ProviderStats,
    /// `handlers::analytics::get`
    Analytics,
    /// `handlers::models::list`
    ListModels,
    /// `handlers::models::get`
    GetModel,
    /// `handlers::health::get`
    Health,
    /// `handlers::access::form`
    RequestForm,
    /// `handlers::access::request_key`
    RequestKey,
    /// `handlers::claims::show`
    ShowClaim,
    /// `handlers::claims::redeem`
    RedeemClaim,
    /// `handlers::hello`
    Hello,
}

/// The handlers for a caller with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keyed {
    /// `inference::create`
    Inference(&'static Operation),
    /// `inference::count_tokens::create`, for prompts of this operation.
    CountTokens(&'static Operation),
    /// A handler of a response that its provider keeps.
    KeptResponse(OnResponse),
    /// `inference::explain`
    ExplainRouting,
    /// `handlers::usage::get`
    GetUsage,
    /// `handlers::own_key::rotate`
    RotateOwnKey,
    /// `handlers::own_key::request_increase`
    RequestIncrease,
    /// `handlers::usage::list_receipts`
    ListReceipts,
    /// `handlers::usage::get_receipt`
    GetReceipt,
    /// `handlers::metrics::get`
    Metrics,
    /// `handlers::portal::list`
    ListRequests,
    /// `handlers::portal::create`
    CreateRequest,
    /// `handlers::portal::get`
    GetRequest,
    /// `handlers::portal::update`
    UpdateRequest,
    /// `handlers::portal::delete`
    DeleteRequest,
    /// `handlers::portal::approve`
    ApproveRequest,
    /// `handlers::portal::decline`
    DeclineRequest,
    /// `handlers::api_keys::list`
    ListApiKeys,
    /// `handlers::api_keys::create`
    CreateApiKey,
    /// A handler of the issued key that the path names.
    ApiKey(OnApiKey),
    /// `handlers::lanes::list_providers`
    ListProviders,
    /// A handler of the keys of a provider, which the path names.
    ProviderKeys(OnProviderKeys),
    /// `handlers::self_test::run`
    SelfTest,
    /// `handlers::lanes::list`
    ListLanes,
    /// `handlers::lanes::cool_down`
    CoolDownLane,
    /// `handlers::lanes::resume`
    ResumeLane,
    /// `handlers::settings::config`
    GetConfig,
    /// A handler of a table of run-time settings.
    Settings(Table, OnSettings),
    /// `handlers::spending::get`
    GetSpending,
    /// `handlers::calls::list`
    ListCalls,
    /// `handlers::calls::get`
    GetCall,
    /// `handlers::alerts::list`
    ListAlerts,
    /// `handlers::alerts::test`
    TestAlerts,
    /// `handlers::audit::list`
    ListAudit,
    /// `handlers::audit::verify`
    VerifyAudit,
}

/// An operation on a response that its provider keeps: `inference::kept_responses::create`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnResponse {
    /// The response.
    Get,
    /// Its deletion.
    Delete,
    /// Its cancellation, while it is made in the background.
    Cancel,
    /// The items of its input.
    ListInput,
}

/// An operation on one issued key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnApiKey {
    /// `handlers::api_keys::get`
    Get,
    /// `handlers::api_keys::update`
    Update,
    /// `handlers::api_keys::revoke`
    Revoke,
    /// `handlers::api_keys::rotate`
    Rotate,
}

/// An operation on keys of providers in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnProviderKeys {
    /// `handlers::provider_keys::add`
    Add,
    /// `handlers::provider_keys::update`
    Update,
    /// `handlers::provider_keys::delete`
    Delete,
    /// `handlers::provider_keys::test`
    Test,
    /// `handlers::provider_keys::encrypt`
    Encrypt,
}

/// A table of `gateway.toml` that operators can change while the gateway runs, entry by entry or as a whole: those that
/// others refer to come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// `[alerts]`, which is one entry.
    Alerts,
    /// `[aliases]`
    Aliases,
    /// `[groups]`
    Groups,
    /// `[models]`
    Models,
    /// `[policies]`
    Policies,
}

impl Table {
    /// All tables.
    pub const ALL: [Table; 5] =
        [Table::Alerts, Table::Aliases, Table::Groups, Table::Models, Table::Policies];

    /// The name in `gateway.toml`, in paths and in the database.
    pub fn name(self) -> &'static str {
        match self {
            Table::Alerts => "alerts",
            Table::Aliases => "aliases",
            Table::Groups => "groups",
            Table::Models => "models",
            Table::Policies => "policies",
        }
    }

    /// The name of the only entry of a table that is changed as a whole; `None` if the entries have names of their own.
    pub fn only_entry(self) -> Option<&'static str> {
        (self == Table::Alerts).then(|| self.name())
    }
}

/// An operation on a table of run-time settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnSettings {
    /// `handlers::settings::list`
    List,
    /// `handlers::settings::get`
    Get,
    /// `handlers::settings::change`, with a new entry.
    Put,
    /// `handlers::settings::change`, without one.
    Delete,
}

/// One route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The method; `GET` includes `HEAD`.
    pub method: &'static str,
    /// The path. Braces match one segment that is not empty; `{id…}` at the end matches everything that is left,
    /// including slashes. `OpenAPI` has no notation for the difference: see [`Route::openapi_path`]. A path can have two
    /// pairs of braces, of one segment each.
    pub path: &'static str,
    /// The handler.
    pub endpoint: Endpoint,
}

impl Route {
    /// The path in the notation of `openapi.json`.
    pub fn openapi_path(&self) -> String {
        self.path.replace('…', "")
    }

    /// The callers that the route is for; `None` means everybody.
    pub fn audience(&self) -> Option<Audience> {
        match self.endpoint {
            Endpoint::Keyed(audience, _) => Some(audience),
            Endpoint::Public(_) | Endpoint::Asset => None,
        }
    }
}

const fn public(method: &'static str, path: &'static str, handler: Public) -> Route {
    Route { method, path, endpoint: Endpoint::Public(handler) }
}

const fn inference(method: &'static str, path: &'static str, handler: Keyed) -> Route {
    Route { method, path, endpoint: Endpoint::Keyed(Audience::Inference, handler) }
}

const fn holder(method: &'static str, path: &'static str, handler: Keyed) -> Route {
    Route { method, path, endpoint: Endpoint::Keyed(Audience::Holder, handler) }
}

const fn operator(method: &'static str, path: &'static str, handler: Keyed) -> Route {
    Route { method, path, endpoint: Endpoint::Keyed(Audience::Operator, handler) }
}

const fn asset(path: &'static str) -> Route {
    Route { method: "GET", path, endpoint: Endpoint::Asset }
}

/// The routes other than the inference endpoints.
#[rustfmt::skip]
static OTHERS: &[Route] = &[
    inference("POST",   "/v1/messages/count_tokens",         Keyed::CountTokens(&MESSAGES)),
    inference("POST",   "/v1/responses/input_tokens",        Keyed::CountTokens(&RESPONSES)),
    inference("GET",    "/v1/responses/{response_id}",       Keyed::KeptResponse(OnResponse::Get)),
    inference("DELETE", "/v1/responses/{response_id}",       Keyed::KeptResponse(OnResponse::Delete)),
    inference("POST",   "/v1/responses/{response_id}/cancel", Keyed::KeptResponse(OnResponse::Cancel)),
    inference("GET",    "/v1/responses/{response_id}/input_items", Keyed::KeptResponse(OnResponse::ListInput)),
    inference("POST",   "/v1/routing/explain",               Keyed::ExplainRouting),
    public   ("GET",    "/v1/routing/status",                Public::RoutingStatus),
    public   ("GET",    "/v1/stats/providers",               Public::ProviderStats),
    public   ("GET",    "/v1/analytics",                     Public::Analytics),
    public   ("GET",    "/v1/models",                        Public::ListModels),
    public   ("GET",    "/v1/models/{id…}",                  Public::GetModel),
    holder   ("GET",    "/usage",                            Keyed::GetUsage),
    holder   ("POST",   "/usage/rotate",                     Keyed::RotateOwnKey),
    holder   ("POST",   "/usage/request-increase",           Keyed::RequestIncrease),
    holder   ("GET",    "/usage/requests",                   Keyed::ListReceipts),
    holder   ("GET",    "/usage/requests/{id}",              Keyed::GetReceipt),
    public   ("GET",    "/health",                           Public::Health),
    public   ("GET",    "/api/hello",                        Public::Hello),
    operator ("GET",    "/metrics",                          Keyed::Metrics),
    public   ("GET",    "/access/request-key",               Public::RequestForm),
    public   ("POST",   "/access/request-key",               Public::RequestKey),
    public   ("GET",    "/access/claim",                     Public::ShowClaim),
    public   ("POST",   "/access/claim",                     Public::RedeemClaim),
    operator ("GET",    "/api/portal/requests",              Keyed::ListRequests),
    operator ("POST",   "/api/portal/requests",              Keyed::CreateRequest),
    operator ("GET",    "/api/portal/requests/{id}",         Keyed::GetRequest),
    operator ("PUT",    "/api/portal/requests/{id}",         Keyed::UpdateRequest),
    operator ("DELETE", "/api/portal/requests/{id}",         Keyed::DeleteRequest),
    operator ("PUT",    "/api/portal/requests/approve/{id}", Keyed::ApproveRequest),
    operator ("PUT",    "/api/portal/requests/decline/{id}", Keyed::DeclineRequest),
    operator ("GET",    "/v0/api_keys",                      Keyed::ListApiKeys),
    operator ("POST",   "/v0/api_keys",                      Keyed::CreateApiKey),
    operator ("GET",    "/v0/api_keys/{name}",               Keyed::ApiKey(OnApiKey::Get)),
    operator ("PATCH",  "/v0/api_keys/{name}",               Keyed::ApiKey(OnApiKey::Update)),
    operator ("DELETE", "/v0/api_keys/{name}",               Keyed::ApiKey(OnApiKey::Revoke)),
    operator ("POST",   "/v0/api_keys/{name}/rotate",        Keyed::ApiKey(OnApiKey::Rotate)),
    operator ("GET",    "/v0/config",                        Keyed::GetConfig),
    operator ("GET",    "/v0/policies",                      Keyed::Settings(Table::Policies, OnSettings::List)),
    operator ("GET",    "/v0/policies/{name}",               Keyed::Settings(Table::Policies, OnSettings::Get)),
    operator ("PUT",    "/v0/policies/{name}",               Keyed::Settings(Table::Policies, OnSettings::Put)),
    operator ("DELETE", "/v0/policies/{name}",               Keyed::Settings(Table::Policies, OnSettings::Delete)),
    operator ("GET",    "/v0/aliases",                       Keyed::Settings(Table::Aliases, OnSettings::List)),
    operator ("GET",    "/v0/aliases/{name…}",               Keyed::Settings(Table::Aliases, OnSettings::Get)),
    operator ("PUT",    "/v0/aliases/{name…}",               Keyed::Settings(Table::Aliases, OnSettings::Put)),
    operator ("DELETE", "/v0/aliases/{name…}",               Keyed::Settings(Table::Aliases, OnSettings::Delete)),
    operator ("GET",    "/v0/groups",                        Keyed::Settings(Table::Groups, OnSettings::List)),
    operator ("GET",    "/v0/groups/{name…}",                Keyed::Settings(Table::Groups, OnSettings::Get)),
    operator ("PUT",    "/v0/groups/{name…}",                Keyed::Settings(Table::Groups, OnSettings::Put)),
    operator ("DELETE", "/v0/groups/{name…}",                Keyed::Settings(Table::Groups, OnSettings::Delete)),
    operator ("GET",    "/v0/models",                        Keyed::Settings(Table::Models, OnSettings::List)),
    operator ("GET",    "/v0/models/{id…}",                  Keyed::Settings(Table::Models, OnSettings::Get)),
    operator ("PUT",    "/v0/models/{id…}",                  Keyed::Settings(Table::Models, OnSettings::Put)),
    operator ("DELETE", "/v0/models/{id…}",                  Keyed::Settings(Table::Models, OnSettings::Delete)),
    operator ("GET",    "/v0/providers",                     Keyed::ListProviders),
    operator ("POST",   "/v0/providers/{name}/keys",         Keyed::ProviderKeys(OnProviderKeys::Add)),
    operator ("PATCH",  "/v0/providers/{name}/keys/{id}",    Keyed::ProviderKeys(OnProviderKeys::Update)),
    operator ("DELETE", "/v0/providers/{name}/keys/{id}",    Keyed::ProviderKeys(OnProviderKeys::Delete)),
    operator ("POST",   "/v0/providers/{name}/keys/{id}/test", Keyed::ProviderKeys(OnProviderKeys::Test)),
    operator ("POST",   "/v0/provider_keys/encrypt",         Keyed::ProviderKeys(OnProviderKeys::Encrypt)),
    operator ("POST",   "/v0/selftest",                      Keyed::SelfTest),
    operator ("GET",    "/v0/lanes",                         Keyed::ListLanes),
    operator ("POST",   "/v0/lanes/{id…}/cooldown",          Keyed::CoolDownLane),
    operator ("POST",   "/v0/lanes/{id…}/resume",            Keyed::ResumeLane),
    operator ("GET",    "/v0/usage",                         Keyed::GetSpending),
    operator ("GET",    "/v0/calls",                         Keyed::ListCalls),
    operator ("GET",    "/v0/calls/{id}",                    Keyed::GetCall),
    operator ("GET",    "/v0/alerts",                        Keyed::ListAlerts),
    operator ("GET",    "/v0/alerts/settings",               Keyed::Settings(Table::Alerts, OnSettings::Get)),
    operator ("PUT",    "/v0/alerts/settings",               Keyed::Settings(Table::Alerts, OnSettings::Put)),
    operator ("DELETE", "/v0/alerts/settings",               Keyed::Settings(Table::Alerts, OnSettings::Delete)),
    operator ("POST",   "/v0/alerts/test",                   Keyed::TestAlerts),
    operator ("GET",    "/v0/audit",                         Keyed::ListAudit),
    operator ("GET",    "/v0/audit/verify",                  Keyed::VerifyAudit),
    asset("/openapi.json"),
    asset("/docs"),
    asset("/console"),
    asset("/key"),
];

/// All routes.
pub fn routes() -> impl Iterator<Item = Route> {
    let operations = OPERATIONS
        .iter()
        .map(|operation: &&'static Operation| inference("POST", operation.path, Keyed::Inference(operation)));
    operations.chain(OTHERS.iter().copied())
}

/// The endpoints to which a key or a policy can be restricted: those for callers with an inference key.
pub fn inference_endpoints() -> Vec<&'static str> {
    let of_inference = routes().filter(|route| route.audience() == Some(Audience::Inference));
    let mut paths: Vec<_> = of_inference.map(|route| route.path).collect();
    // Several methods of one path follow each other.
    paths.dedup();
    paths
}

/// Prefixes under which every path needs a key, including paths that do not exist, so that nobody without a key learns
/// which paths exist.
const PROTECTED_PREFIXES: &[(&str, Audience)] = &[
    ("/v1/", Audience::Inference),
    ("/usage/", Audience::Holder),
    ("/api/portal/", Audience::Operator),
    ("/v0/", Audience::Operator),
];

/// The result of looking up a request in the table.
#[derive(Debug, PartialEq, Eq)]
pub enum Match<'a> {
    /// A route, and the part of the path that its braces match.
    Found(Route, &'a str),
    /// The path exists, but not for this method.
    WrongMethod,
    /// No route has this path.
    Nothing,
}

/// Finds the route of a request.
pub fn find<'a>(method: &str, path: &'a str) -> Match<'a> {
    let method = if method == "HEAD" { "GET" } else { method };
    let mut at_path = at(path).peekable();
    if at_path.peek().is_none() {
        return Match::Nothing;
    }
    match at_path.find(|(route, _)| route.method == method) {
        Some((route, rest)) => Match::Found(route, rest),
        None => Match::WrongMethod,
    }
}

/// The callers that a path is for, including a path that does not exist; `None` means everybody.
pub fn audience(found: &Match<'_>, path: &str) -> Option<Audience> {
    match found {
        Match::Found(route, _) => route.audience(),
        _ => PROTECTED_PREFIXES
            .iter()
            .find(|(prefix, _)| path.starts_with(prefix))
            .map(|(_, audience)| *audience),
    }
}

/// The methods of a path, for the `allow` header. Empty if no route has the path.
pub fn allowed_methods(path: &str) -> String {
    let mut methods: Vec<_> = at(path).map(|(route, _)| route.method).collect();
    if methods.contains(&"GET") {
        methods.push("HEAD");
    }
    if !methods.is_empty() {
        methods.push("OPTIONS");
    }
    methods.join(", ")
}

/// The endings of paths of APIs that the gateway does not serve, with their names: what clients try.
const FOREIGN: &[(&str, &str)] = &[
    ("/conversations", "OpenAI's Conversations API"),
    ("/messages/batches", "Anthropic's Message Batches API"),
    (":generateContent", "Gemini's API"),
    (":streamGenerateContent", "Gemini's API"),
    ("/api/chat", "Ollama's API"),
    ("/api/generate", "Ollama's API"),
];
/// The number of endpoints that an error message names.
const NAMED: usize = 4;
/// The longest path that an error message repeats, in characters.
const MAX_SHOWN: usize = 120;

/// The message for a path that does not exist: the path, what is wrong with it, the path that was meant, and the
/// first inference endpoints.
pub fn nothing_at(method: &str, path: &str) -> String {
    let shown: String = path.chars().take(MAX_SHOWN).collect();
    let named = OPERATIONS.iter().take(NAMED);
    let endpoints: Vec<_> = named.map(|operation| format!("POST {}", operation.path)).collect();
    let advice = advice(path).map_or_else(String::new, |advice| format!(": {advice}"));
    format!(
        "Not found: there is nothing at {method} {shown}{advice}. The endpoints are {}, GET /v1/models; /openapi.json lists all",
        endpoints.join(", ")
    )
}

/// The fault of a path that does not exist, and the path that was meant, if one can be recognised.
fn advice(path: &str) -> Option<String> {
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let path_of_segments = format!("/{}", segments.join("/"));
    let known = |path: &str| at(path).next().is_some();
    if path_of_segments != path && known(&path_of_segments) {
        return Some(format!("a slash is doubled; use {path_of_segments}"));
    }
    // The longest known path below `/v1` with which this path ends.
    let below_v1 = routes().map(|route| route.path).filter(|path| !path.contains('{'));
    let tails = below_v1.filter_map(|path| Some((path, path.strip_prefix("/v1")?)));
    let meant = tails.filter(|(_, tail)| path_of_segments.ends_with(tail)).max_by_key(|(_, tail)| tail.len());
    let Some((meant, tail)) = meant else {
        let (_, api) = FOREIGN.iter().find(|(tail, _)| path_of_segments.ends_with(tail))?;
        return Some(format!("{api} is not served here; set your client to OpenAI's Chat Completions API"));
    };
    let before = path_of_segments.strip_suffix(tail).unwrap_or_default();
    // Anthropic's clients append `/v1` to the base URL themselves.
    let is_anthropic = Surface::of_path(meant) == Surface::Anthropic;
    let base = if is_anthropic { "without a path" } else { "that ends in /v1" };
    Some(if before.is_empty() {
        format!("'/v1' is missing; use {meant}, with a base URL {base}")
    } else if before.ends_with("/v1/v1") {
        let base = if is_anthropic { base } else { "that ends in one /v1" };
        format!("'/v1' is doubled; use {meant}, with a base URL {base}")
    } else if before.ends_with(tail) {
        format!("'{tail}' is doubled; use {meant}, with a base URL {base}")
    } else {
        let nothing = if is_anthropic { "" } else { " and nothing before it" };
        format!("use {meant}, with a base URL {base}{nothing}")
    })
}

fn at(path: &str) -> impl Iterator<Item = (Route, &str)> {
    let path = path.strip_suffix('/').unwrap_or(path);
    routes().filter_map(move |route| matches(route.path, path).map(|in_braces| (route, in_braces)))
}

/// Returns `true` if a path is one of a route with this pattern.
pub fn is_path_of(pattern: &str, path: &str) -> bool {
    matches(pattern, path).is_some()
}

/// The part of the path that the braces of a pattern match, or the empty text if the pattern has none; of a pattern with
/// two pairs of braces, also the text between them. `None` if the path does not match.
fn matches<'a>(pattern: &str, path: &'a str) -> Option<&'a str> {
    let Some((prefix, rest)) = pattern.split_once('{') else { return (pattern == path).then_some("") };
    let (name, suffix) = rest.split_once('}')?;
    let is_segment = |text: &str| !text.is_empty() && !text.contains('/');
    let below = path.strip_prefix(prefix)?;
    if let Some((between, rest)) = suffix.split_once('{') {
        let in_braces = below.strip_suffix(rest.split_once('}')?.1)?;
        let (first, second) = in_braces.split_once(between)?;
        return (is_segment(first) && is_segment(second)).then_some(in_braces);
    }
    let in_braces = below.strip_suffix(suffix)?;
    // A client whose base URL is that of an endpoint.
    let is_doubled = name == "response_id" && in_braces == "responses";
    let fits = !is_doubled && (is_segment(in_braces) || (!in_braces.is_empty() && name.ends_with('…')));
    fits.then_some(in_braces)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::{CHAT_COMPLETIONS, COMPACTIONS};

    #[test]
    #[expect(clippy::too_many_lines, reason = "a line for each route")]
    fn find_returns_every_route_of_the_table() {
        let keyed = Endpoint::Keyed;
        let kept = |on| keyed(Audience::Inference, Keyed::KeptResponse(on));
        let settings = |table, on| keyed(Audience::Operator, Keyed::Settings(table, on));
        for (method, path, endpoint, rest) in [
            (
                "POST",
                "/v1/chat/completions",
                keyed(Audience::Inference, Keyed::Inference(&CHAT_COMPLETIONS)),
                "",
            ),
            (
                "POST",
                "/v1/chat/completions/",
                keyed(Audience::Inference, Keyed::Inference(&CHAT_COMPLETIONS)),
                "",
            ),
            ("POST", "/v1/responses/compact", keyed(Audience::Inference, Keyed::Inference(&COMPACTIONS)), ""),
            (
                "POST",
                "/v1/responses/input_tokens/",
                keyed(Audience::Inference, Keyed::CountTokens(&RESPONSES)),
                "",
            ),
            ("GET", "/v1/responses/resp_1", kept(OnResponse::Get), "resp_1"),
            ("DELETE", "/v1/responses/resp_1/", kept(OnResponse::Delete), "resp_1"),
            ("POST", "/v1/responses/resp_1/cancel", kept(OnResponse::Cancel), "resp_1"),
            ("GET", "/v1/responses/resp_1/input_items", kept(OnResponse::ListInput), "resp_1"),
            ("POST", "/v1/routing/explain", keyed(Audience::Inference, Keyed::ExplainRouting), ""),
            ("GET", "/v1/routing/status", Endpoint::Public(Public::RoutingStatus), ""),
            ("HEAD", "/v1/stats/providers/", Endpoint::Public(Public::ProviderStats), ""),
            ("GET", "/v1/analytics", Endpoint::Public(Public::Analytics), ""),
            ("HEAD", "/v1/analytics/", Endpoint::Public(Public::Analytics), ""),
            ("GET", "/metrics", keyed(Audience::Operator, Keyed::Metrics), ""),
            ("GET", "/v1/models", Endpoint::Public(Public::ListModels), ""),
            ("HEAD", "/v1/models", Endpoint::Public(Public::ListModels), ""),
            ("GET", "/v1/models/", Endpoint::Public(Public::ListModels), ""),
            ("GET", "/v1/models/gpt-4o", Endpoint::Public(Public::GetModel), "gpt-4o"),
            ("GET", "/v1/models/gpt-4o/", Endpoint::Public(Public::GetModel), "gpt-4o"),
            ("HEAD", "/v1/models/gpt-4o", Endpoint::Public(Public::GetModel), "gpt-4o"),
            (
                "GET",
                "/v1/models/groq/openai/gpt-oss-20b",
                Endpoint::Public(Public::GetModel),
                "groq/openai/gpt-oss-20b",
            ),
            (
                "GET",
                "/v1/models/groq%2Fopenai%2Fgpt-oss-20b",
                Endpoint::Public(Public::GetModel),
                "groq%2Fopenai%2Fgpt-oss-20b",
            ),
            ("GET", "/health", Endpoint::Public(Public::Health), ""),
            ("HEAD", "/health/", Endpoint::Public(Public::Health), ""),
            ("POST", "/access/request-key", Endpoint::Public(Public::RequestKey), ""),
            ("POST", "/access/request-key/", Endpoint::Public(Public::RequestKey), ""),
            ("GET", "/access/claim", Endpoint::Public(Public::ShowClaim), ""),
            ("HEAD", "/access/claim", Endpoint::Public(Public::ShowClaim), ""),
            ("POST", "/access/claim/", Endpoint::Public(Public::RedeemClaim), ""),
            ("GET", "/usage", keyed(Audience::Holder, Keyed::GetUsage), ""),
            ("HEAD", "/usage/", keyed(Audience::Holder, Keyed::GetUsage), ""),
            ("GET", "/usage/requests", keyed(Audience::Holder, Keyed::ListReceipts), ""),
            ("GET", "/usage/requests/", keyed(Audience::Holder, Keyed::ListReceipts), ""),
            ("GET", "/usage/requests/rcpt_0", keyed(Audience::Holder, Keyed::GetReceipt), "rcpt_0"),
            (
                "HEAD",
                "/usage/requests/order-4711.retry-1/",
                keyed(Audience::Holder, Keyed::GetReceipt),
                "order-4711.retry-1",
            ),
            ("GET", "/api/portal/requests", keyed(Audience::Operator, Keyed::ListRequests), ""),
            ("GET", "/api/portal/requests/", keyed(Audience::Operator, Keyed::ListRequests), ""),
            ("HEAD", "/api/portal/requests", keyed(Audience::Operator, Keyed::ListRequests), ""),
            ("POST", "/api/portal/requests/", keyed(Audience::Operator, Keyed::CreateRequest), ""),
            ("GET", "/api/portal/requests/kreq_1", keyed(Audience::Operator, Keyed::GetRequest), "kreq_1"),
            ("GET", "/api/portal/requests/kreq_1/", keyed(Audience::Operator, Keyed::GetRequest), "kreq_1"),
            ("PUT", "/api/portal/requests/kreq_1", keyed(Audience::Operator, Keyed::UpdateRequest), "kreq_1"),
            (
                "DELETE",
                "/api/portal/requests/kreq_1",
                keyed(Audience::Operator, Keyed::DeleteRequest),
                "kreq_1",
            ),
            // A key request could have the id "approve"; the paths under it belong to another route.
            (
                "PUT",
                "/api/portal/requests/approve",
                keyed(Audience::Operator, Keyed::UpdateRequest),
                "approve",
            ),
            (
                "PUT",
                "/api/portal/requests/approve/",
                keyed(Audience::Operator, Keyed::UpdateRequest),
                "approve",
            ),
            (
                "PUT",
                "/api/portal/requests/approve/kreq_1",
                keyed(Audience::Operator, Keyed::ApproveRequest),
                "kreq_1",
            ),
            (
                "PUT",
                "/api/portal/requests/approve/kreq_1/",
                keyed(Audience::Operator, Keyed::ApproveRequest),
                "kreq_1",
            ),
            (
                "PUT",
                "/api/portal/requests/approve/approve",
                keyed(Audience::Operator, Keyed::ApproveRequest),
                "approve",
            ),
            (
                "PUT",
                "/api/portal/requests/decline/kreq_1",
                keyed(Audience::Operator, Keyed::DeclineRequest),
                "kreq_1",
            ),
            ("GET", "/v0/api_keys", keyed(Audience::Operator, Keyed::ListApiKeys), ""),
            ("GET", "/v0/api_keys/", keyed(Audience::Operator, Keyed::ListApiKeys), ""),
            ("POST", "/v0/api_keys", keyed(Audience::Operator, Keyed::CreateApiKey), ""),
            ("GET", "/v0/api_keys/a", keyed(Audience::Operator, Keyed::ApiKey(OnApiKey::Get)), "a"),
            ("GET", "/v0/api_keys/a%2Fb", keyed(Audience::Operator, Keyed::ApiKey(OnApiKey::Get)), "a%2Fb"),
            ("PATCH", "/v0/api_keys/a", keyed(Audience::Operator, Keyed::ApiKey(OnApiKey::Update)), "a"),
            ("DELETE", "/v0/api_keys/a/", keyed(Audience::Operator, Keyed::ApiKey(OnApiKey::Revoke)), "a"),
            (
                "DELETE",
                "/v0/api_keys/rotate",
                keyed(Audience::Operator, Keyed::ApiKey(OnApiKey::Revoke)),
                "rotate",
            ),
            (
                "POST",
                "/v0/api_keys/a/rotate",
                keyed(Audience::Operator, Keyed::ApiKey(OnApiKey::Rotate)),
                "a",
            ),
            (
                "POST",
                "/v0/api_keys/a/rotate/",
                keyed(Audience::Operator, Keyed::ApiKey(OnApiKey::Rotate)),
                "a",
            ),
            (
                "POST",
                "/v0/api_keys/rotate/rotate",
                keyed(Audience::Operator, Keyed::ApiKey(OnApiKey::Rotate)),
                "rotate",
            ),
            ("GET", "/v0/lanes", keyed(Audience::Operator, Keyed::ListLanes), ""),
            (
                "POST",
                "/v0/lanes/groq:0/openai/x/cooldown",
                keyed(Audience::Operator, Keyed::CoolDownLane),
                "groq:0/openai/x",
            ),
            (
                "POST",
                "/v0/providers/groq/keys",
                keyed(Audience::Operator, Keyed::ProviderKeys(OnProviderKeys::Add)),
                "groq",
            ),
            (
                "DELETE",
                "/v0/providers/groq/keys/pkey_1/",
                keyed(Audience::Operator, Keyed::ProviderKeys(OnProviderKeys::Delete)),
                "groq/keys/pkey_1",
            ),
            (
                "POST",
                "/v0/providers/groq/keys/pkey_1/test",
                keyed(Audience::Operator, Keyed::ProviderKeys(OnProviderKeys::Test)),
                "groq/keys/pkey_1",
            ),
            ("GET", "/v0/config", keyed(Audience::Operator, Keyed::GetConfig), ""),
            ("GET", "/v0/policies", settings(Table::Policies, OnSettings::List), ""),
            ("PUT", "/v0/policies/a", settings(Table::Policies, OnSettings::Put), "a"),
            ("GET", "/v0/aliases/a/b", settings(Table::Aliases, OnSettings::Get), "a/b"),
            ("DELETE", "/v0/groups/a%2Fb", settings(Table::Groups, OnSettings::Delete), "a%2Fb"),
            ("PUT", "/v0/models/groq/openai/x/", settings(Table::Models, OnSettings::Put), "groq/openai/x"),
            ("GET", "/v0/audit", keyed(Audience::Operator, Keyed::ListAudit), ""),
            ("HEAD", "/v0/audit/", keyed(Audience::Operator, Keyed::ListAudit), ""),
            ("GET", "/v0/audit/verify", keyed(Audience::Operator, Keyed::VerifyAudit), ""),
            ("GET", "/docs", Endpoint::Asset, ""),
            ("GET", "/console", Endpoint::Asset, ""),
            ("GET", "/key", Endpoint::Asset, ""),
            ("GET", "/openapi.json", Endpoint::Asset, ""),
        ] {
            let Match::Found(route, found_rest) = find(method, path) else {
                panic!("{method} {path} is not found")
            };
            assert_eq!((route.endpoint, found_rest), (endpoint, rest), "{method} {path}");
        }
    }

    #[test]
    fn find_distinguishes_a_wrong_method_from_an_unknown_path() {
        for (method, path, expected) in [
            ("GET", "/v1/chat/completions", Match::WrongMethod),
            ("HEAD", "/v1/chat/completions", Match::WrongMethod),
            ("POST", "/v1/responses/resp_1", Match::WrongMethod),
            ("POST", "/v1/responses/responses", Match::Nothing),
            ("POST", "/v1/responses/resp_1/x", Match::Nothing),
            ("GET", "/v1/routing/explain", Match::WrongMethod),
            ("POST", "/v1/routing/status", Match::WrongMethod),
            ("GET", "/v1/routing", Match::Nothing),
            ("POST", "/v1/analytics", Match::WrongMethod),
            ("GET", "/v1/analytics/x", Match::Nothing),
            ("POST", "/metrics", Match::WrongMethod),
            ("GET", "/v1/metrics", Match::Nothing),
            ("POST", "/v1/models", Match::WrongMethod),
            ("DELETE", "/v1/models/a/b", Match::WrongMethod),
            ("POST", "/health", Match::WrongMethod),
            ("get", "/health", Match::WrongMethod),
            ("GET", "/", Match::Nothing),
            ("GET", "", Match::Nothing),
            ("GET", "/v1", Match::Nothing),
            ("GET", "/v1/", Match::Nothing),
            ("GET", "/v1/nothing", Match::Nothing),
            ("GET", "/v1/models//", Match::Nothing),
            ("GET", "/v1/modelsx", Match::Nothing),
            ("POST", "/v1/chat/completions//", Match::Nothing),
            ("POST", "/v1/chat/completions/x", Match::Nothing),
            ("POST", "//v1/chat/completions", Match::Nothing),
            ("POST", "/V1/chat/completions", Match::Nothing),
            ("GET", "/healthz", Match::Nothing),
            ("PUT", "/access/request-key", Match::WrongMethod),
            ("PATCH", "/access/request-key", Match::WrongMethod),
            ("PUT", "/access/claim", Match::WrongMethod),
            ("POST", "/usage", Match::WrongMethod),
            ("DELETE", "/usage/requests/rcpt_0", Match::WrongMethod),
            ("GET", "/usage/x", Match::Nothing),
            ("GET", "/usage/requests/rcpt_0/x", Match::Nothing),
            ("GET", "/usages", Match::Nothing),
            ("DELETE", "/api/portal/requests", Match::WrongMethod),
            ("PATCH", "/api/portal/requests/kreq_1", Match::WrongMethod),
            ("POST", "/api/portal/requests/kreq_1", Match::WrongMethod),
            ("POST", "/api/portal/requests/approve/kreq_1", Match::WrongMethod),
            ("GET", "/api/portal/requests/decline/kreq_1", Match::WrongMethod),
            ("PUT", "/v0/api_keys", Match::WrongMethod),
            ("POST", "/v0/api_keys/a", Match::WrongMethod),
            ("POST", "/v0/api_keys/rotate", Match::WrongMethod),
            ("GET", "/v0/api_keys/a/rotate", Match::WrongMethod),
            ("POST", "/v0/audit", Match::WrongMethod),
            ("DELETE", "/v0/audit/verify", Match::WrongMethod),
            ("GET", "/access", Match::Nothing),
            ("GET", "/access/claim//", Match::Nothing),
            ("GET", "/access/claim/clm_0", Match::Nothing),
            ("GET", "/api/portal", Match::Nothing),
            ("GET", "/api/portal/", Match::Nothing),
            ("GET", "/api/portal/requestsx", Match::Nothing),
            ("GET", "/api/portal/requests//", Match::Nothing),
            ("PUT", "/api/portal/requests//kreq_1", Match::Nothing),
            ("PUT", "/api/portal/requests/approve/kreq_1/x", Match::Nothing),
            ("PUT", "/api/portal/requests/refuse/kreq_1", Match::Nothing),
            ("GET", "/v0", Match::Nothing),
            ("GET", "/v0/api_keys//", Match::Nothing),
            ("POST", "/v0/api_keys//rotate", Match::Nothing),
            ("POST", "/v0/api_keys/a/b/rotate", Match::Nothing),
            ("POST", "/v0/api_keys/a/rotate/x", Match::Nothing),
            ("GET", "/v0/api_keys/a/b", Match::Nothing),
            ("GET", "/v0/policies/a/b", Match::Nothing),
            ("POST", "/v0/policies/a", Match::WrongMethod),
            ("GET", "/v0/audit/x", Match::Nothing),
            ("GET", "/v0/providers/a/keys", Match::WrongMethod),
            ("PUT", "/v0/providers/a/keys/b", Match::WrongMethod),
            ("DELETE", "/v0/providers/a/keys/", Match::WrongMethod),
            ("DELETE", "/v0/providers/a/keys//", Match::Nothing),
            ("DELETE", "/v0/providers//keys/b", Match::Nothing),
            ("DELETE", "/v0/providers/a/keys/b/c", Match::Nothing),
            ("POST", "/v0/providers/a/b/keys/c/test", Match::Nothing),
            ("GET", "/v0/audit/verify/x", Match::Nothing),
        ] {
            assert_eq!(find(method, path), expected, "{method} {path}");
        }
    }

    #[test]
    fn the_message_for_an_unknown_path_names_what_was_meant() {
        for (path, advice) in [
            (
                "/chat/completions",
                Some("'/v1' is missing; use /v1/chat/completions, with a base URL that ends in /v1"),
            ),
            ("/models", Some("'/v1' is missing; use /v1/models, with a base URL that ends in /v1")),
            (
                "/v1/v1/chat/completions",
                Some("'/v1' is doubled; use /v1/chat/completions, with a base URL that ends in one /v1"),
            ),
            ("/v1//chat/completions", Some("a slash is doubled; use /v1/chat/completions")),
            ("//v1/embeddings", Some("a slash is doubled; use /v1/embeddings")),
            (
                "/v1/chat/completions/chat/completions",
                Some(
                    "'/chat/completions' is doubled; use /v1/chat/completions, with a base URL that ends in /v1",
                ),
            ),
            (
                "/openai/v1/chat/completions",
                Some("use /v1/chat/completions, with a base URL that ends in /v1 and nothing before it"),
            ),
            (
                "/openai/deployments/gpt-5/chat/completions",
                Some("use /v1/chat/completions, with a base URL that ends in /v1 and nothing before it"),
            ),
            ("/v1/v1/messages", Some("'/v1' is doubled; use /v1/messages, with a base URL without a path")),
            (
                "/anthropic/v1/messages/count_tokens",
                Some("use /v1/messages/count_tokens, with a base URL without a path"),
            ),
            ("/messages", Some("'/v1' is missing; use /v1/messages, with a base URL without a path")),
            (
                "/v1beta/models/gemini-3:generateContent",
                Some("Gemini's API is not served here; set your client to OpenAI's Chat Completions API"),
            ),
            (
                "/v1/responses/responses",
                Some("'/responses' is doubled; use /v1/responses, with a base URL that ends in /v1"),
            ),
            ("/v1/nothing", None),
            ("/", None),
            ("", None),
        ] {
            assert_eq!(super::advice(path).as_deref(), advice, "{path}");
        }
        let message = nothing_at("POST", &format!("/{}", "x".repeat(500)));
        assert!(message.starts_with("Not found: there is nothing at POST /xxx") && message.len() < 400);
        assert!(
            message.contains(
                "POST /v1/chat/completions, POST /v1/messages, POST /v1/responses, POST /v1/embeddings"
            ),
            "{message}"
        );
    }

    #[test]
    fn nobody_without_a_key_learns_what_exists_under_protected_prefixes() {
        for (method, path, audience) in [
            ("POST", "/v1/chat/completions", Some(Audience::Inference)),
            ("GET", "/v1/chat/completions", Some(Audience::Inference)),
            ("POST", "/v1/routing/explain", Some(Audience::Inference)),
            ("GET", "/v1/routing/explain", Some(Audience::Inference)),
            ("GET", "/v1/routing/status", None),
            ("POST", "/v1/routing/status", Some(Audience::Inference)),
            ("GET", "/v1/stats/providers", None),
            ("GET", "/v1/stats", Some(Audience::Inference)),
            ("GET", "/v1/analytics", None),
            ("POST", "/v1/analytics", Some(Audience::Inference)),
            ("GET", "/metrics", Some(Audience::Operator)),
            ("POST", "/metrics", None),
            ("GET", "/v1/models", None),
            ("HEAD", "/v1/models/a/b", None),
            ("POST", "/v1/models", Some(Audience::Inference)),
            ("GET", "/v1/nothing", Some(Audience::Inference)),
            ("GET", "/v1/", Some(Audience::Inference)),
            ("GET", "/v1", None),
            ("GET", "/v1x", None),
            ("GET", "/health", None),
            ("POST", "/health", None),
            ("GET", "/docs", None),
            ("GET", "/console", None),
            ("GET", "/nothing", None),
            ("POST", "/access/request-key", None),
            ("GET", "/access/request-key", None),
            ("GET", "/access/claim", None),
            ("POST", "/access/claim", None),
            ("PUT", "/access/claim", None),
            ("GET", "/access/nothing", None),
            ("GET", "/usage", Some(Audience::Holder)),
            ("GET", "/usage/requests/rcpt_0", Some(Audience::Holder)),
            ("POST", "/usage/requests", Some(Audience::Holder)),
            ("GET", "/usage/nothing", Some(Audience::Holder)),
            ("POST", "/usage", None),
            ("GET", "/usages", None),
            ("GET", "/api/portal/requests", Some(Audience::Operator)),
            ("PUT", "/api/portal/requests/approve/kreq_1", Some(Audience::Operator)),
            ("DELETE", "/api/portal/requests", Some(Audience::Operator)),
            ("GET", "/api/portal/requests/a/b/c", Some(Audience::Operator)),
            ("GET", "/api/portal/nothing", Some(Audience::Operator)),
            ("GET", "/api/portal/", Some(Audience::Operator)),
            ("GET", "/api/portal", None),
            ("GET", "/api/portals/requests", None),
            ("GET", "/v0/api_keys", Some(Audience::Operator)),
            ("POST", "/v0/api_keys/a/rotate", Some(Audience::Operator)),
            ("PUT", "/v0/api_keys", Some(Audience::Operator)),
            ("GET", "/v0/audit", Some(Audience::Operator)),
            ("GET", "/v0/audit/verify", Some(Audience::Operator)),
            ("GET", "/v0/nothing", Some(Audience::Operator)),
            ("GET", "/v0/", Some(Audience::Operator)),
            ("GET", "/v0", None),
            ("GET", "/v0x/api_keys", None),
        ] {
            assert_eq!(super::audience(&find(method, path), path), audience, "{method} {path}");
        }
    }

    #[test]
    fn the_allow_header_lists_the_methods_of_a_path() {
        for (path, methods) in [
            ("/v1/chat/completions", "POST, OPTIONS"),
            ("/v1/chat/completions/", "POST, OPTIONS"),
            ("/v1/models", "GET, HEAD, OPTIONS"),
            ("/v1/models/a/b", "GET, HEAD, OPTIONS"),
            ("/health", "GET, HEAD, OPTIONS"),
            ("/access/request-key", "GET, POST, HEAD, OPTIONS"),
            ("/access/claim", "GET, POST, HEAD, OPTIONS"),
            ("/usage", "GET, HEAD, OPTIONS"),
            ("/usage/requests/rcpt_0", "GET, HEAD, OPTIONS"),
            ("/api/portal/requests", "GET, POST, HEAD, OPTIONS"),
            ("/api/portal/requests/kreq_1/", "GET, PUT, DELETE, HEAD, OPTIONS"),
            ("/api/portal/requests/approve/kreq_1", "PUT, OPTIONS"),
            ("/api/portal/requests/decline/kreq_1", "PUT, OPTIONS"),
            ("/v0/api_keys", "GET, POST, HEAD, OPTIONS"),
            ("/v0/api_keys/a", "GET, PATCH, DELETE, HEAD, OPTIONS"),
            ("/v0/api_keys/a/rotate", "POST, OPTIONS"),
            ("/v0/policies/a", "GET, PUT, DELETE, HEAD, OPTIONS"),
            ("/v0/audit", "GET, HEAD, OPTIONS"),
            ("/v0/audit/verify", "GET, HEAD, OPTIONS"),
            ("/v0/nothing", ""),
            ("/nothing", ""),
            ("/v1/", ""),
            ("/", ""),
        ] {
            assert_eq!(allowed_methods(path), methods, "{path}");
        }
    }
}
