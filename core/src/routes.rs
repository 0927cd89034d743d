//! Every route, in one table: method, path, who may call it, and what handles it.
//!
//! The router, CORS, 405 and the check of `openapi.json` all read it.

/// Who may call a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody.
    Public,
    /// Callers with an inference key.
    Inference,
    /// Callers with an inference key, and operators: whose usage it is.
    Holder,
    /// Operators, with a key of their own.
    Operator,
}

/// What handles a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handler {
    /// `handlers::chat::create`
    ChatCompletions,
    /// `handlers::chat::explain`
    ExplainRouting,
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
    /// `handlers::usage::get`
    GetUsage,
    /// `handlers::usage::list_receipts`
    ListReceipts,
    /// `handlers::usage::get_receipt`
    GetReceipt,
    /// `handlers::health::get`
    Health,
    /// `handlers::metrics::get`
    Metrics,
    /// `handlers::access::request_key`
    RequestKey,
    /// `handlers::claims::show`
    ShowClaim,
    /// `handlers::claims::redeem`
    RedeemClaim,
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
    /// `handlers::api_keys::get`
    GetApiKey,
    /// `handlers::api_keys::update`
    UpdateApiKey,
    /// `handlers::api_keys::revoke`
    RevokeApiKey,
    /// `handlers::api_keys::rotate`
    RotateApiKey,
    /// `handlers::audit::list`
    ListAudit,
    /// `handlers::audit::verify`
    VerifyAudit,
    /// A static file, which the runtime serves without the Worker.
    Asset,
}

/// One route.
#[derive(Debug)]
pub struct Route {
    /// The method; `GET` answers `HEAD` too.
    pub method: &'static str,
    /// The path. Braces stand for one segment that is not empty; `{id…}` at the end for all that is left, slashes
    /// included, which `OpenAPI` cannot tell apart: see [`Route::openapi_path`].
    pub path: &'static str,
    /// Who may call it.
    pub access: Access,
    /// What handles it.
    pub handler: Handler,
}

const fn route(method: &'static str, path: &'static str, access: Access, handler: Handler) -> Route {
    Route { method, path, access, handler }
}

impl Route {
    /// The path as `openapi.json` writes it.
    pub fn openapi_path(&self) -> String {
        self.path.replace('…', "")
    }
}

/// All routes.
#[rustfmt::skip]
pub static ROUTES: &[Route] = &[
    route("POST",   "/v1/chat/completions",              Access::Inference, Handler::ChatCompletions),
    route("POST",   "/v1/routing/explain",               Access::Inference, Handler::ExplainRouting),
    route("GET",    "/v1/routing/status",                Access::Public,    Handler::RoutingStatus),
    route("GET",    "/v1/stats/providers",               Access::Public,    Handler::ProviderStats),
    route("GET",    "/v1/analytics",                     Access::Public,    Handler::Analytics),
    route("GET",    "/v1/models",                        Access::Public,    Handler::ListModels),
    route("GET",    "/v1/models/{id…}",                  Access::Public,    Handler::GetModel),
    route("GET",    "/usage",                            Access::Holder,    Handler::GetUsage),
    route("GET",    "/usage/requests",                   Access::Holder,    Handler::ListReceipts),
    route("GET",    "/usage/requests/{id}",              Access::Holder,    Handler::GetReceipt),
    route("GET",    "/health",                           Access::Public,    Handler::Health),
    route("GET",    "/metrics",                          Access::Operator,  Handler::Metrics),
    route("POST",   "/access/request-key",               Access::Public,    Handler::RequestKey),
    route("GET",    "/access/claim/{token}",             Access::Public,    Handler::ShowClaim),
    route("POST",   "/access/claim/{token}",             Access::Public,    Handler::RedeemClaim),
    route("GET",    "/api/portal/requests",              Access::Operator,  Handler::ListRequests),
    route("POST",   "/api/portal/requests",              Access::Operator,  Handler::CreateRequest),
    route("GET",    "/api/portal/requests/{id}",         Access::Operator,  Handler::GetRequest),
    route("PUT",    "/api/portal/requests/{id}",         Access::Operator,  Handler::UpdateRequest),
    route("DELETE", "/api/portal/requests/{id}",         Access::Operator,  Handler::DeleteRequest),
    route("PUT",    "/api/portal/requests/approve/{id}", Access::Operator,  Handler::ApproveRequest),
    route("PUT",    "/api/portal/requests/decline/{id}", Access::Operator,  Handler::DeclineRequest),
    route("GET",    "/v0/api_keys",                      Access::Operator,  Handler::ListApiKeys),
    route("POST",   "/v0/api_keys",                      Access::Operator,  Handler::CreateApiKey),
    route("GET",    "/v0/api_keys/{name}",               Access::Operator,  Handler::GetApiKey),
    route("PATCH",  "/v0/api_keys/{name}",               Access::Operator,  Handler::UpdateApiKey),
    route("DELETE", "/v0/api_keys/{name}",               Access::Operator,  Handler::RevokeApiKey),
    route("POST",   "/v0/api_keys/{name}/rotate",        Access::Operator,  Handler::RotateApiKey),
    route("GET",    "/v0/audit",                         Access::Operator,  Handler::ListAudit),
    route("GET",    "/v0/audit/verify",                  Access::Operator,  Handler::VerifyAudit),
    route("GET",    "/openapi.json",                     Access::Public,    Handler::Asset),
    route("GET",    "/docs",                             Access::Public,    Handler::Asset),
];

/// Paths under these are for callers with a key, whether or not there is anything at them: nobody learns what exists.
const PROTECTED_PREFIXES: &[(&str, Access)] = &[
    ("/v1/", Access::Inference),
    ("/usage/", Access::Holder),
    ("/api/portal/", Access::Operator),
    ("/v0/", Access::Operator),
];

/// What a request leads to.
#[derive(Debug, PartialEq, Eq)]
pub enum Match<'a> {
    /// A route, and what stands in the place of its braces.
    Found(&'static Route, &'a str),
    /// The path exists for other methods.
    WrongMethod,
    /// Nothing.
    Nothing,
}

impl PartialEq for Route {
    fn eq(&self, other: &Self) -> bool {
        (self.method, self.path) == (other.method, other.path)
    }
}

impl Eq for Route {}

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

/// Who may call what is, or is not, at a path.
pub fn access(found: &Match<'_>, path: &str) -> Access {
    match found {
        Match::Found(route, _) => route.access,
        _ => PROTECTED_PREFIXES
            .iter()
            .find(|(prefix, _)| path.starts_with(prefix))
            .map_or(Access::Public, |(_, access)| *access),
    }
}

/// The methods of a path, as the `allow` header lists them. Empty where there is nothing.
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

fn at(path: &str) -> impl Iterator<Item = (&'static Route, &str)> {
    let path = path.strip_suffix('/').unwrap_or(path);
    ROUTES.iter().filter_map(move |route| matches(route.path, path).map(|in_braces| (route, in_braces)))
}

/// What stands in the place of the braces of a pattern, or the empty text where it has none. `None` if the path is
/// another one.
fn matches<'a>(pattern: &str, path: &'a str) -> Option<&'a str> {
    let Some((prefix, rest)) = pattern.split_once('{') else { return (pattern == path).then_some("") };
    let (name, suffix) = rest.split_once('}')?;
    let in_braces = path.strip_prefix(prefix)?.strip_suffix(suffix)?;
    let fits = !in_braces.is_empty() && (name.ends_with('…') || !in_braces.contains('/'));
    fits.then_some(in_braces)
}
