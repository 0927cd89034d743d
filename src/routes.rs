//! Every route, in one table: method, path, who may call it, and what handles it.
//!
//! The router, CORS, 405 and the check of `openapi.json` all read it. This file knows nothing of the runtime, so that
//! native tests can include it.

/// Who may call a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody.
    Public,
    /// Callers with an inference key.
    Inference,
}

/// What handles a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handler {
    /// `handlers::chat::create`
    ChatCompletions,
    /// `handlers::models::list`
    ListModels,
    /// `handlers::models::get`
    GetModel,
    /// `handlers::health::get`
    Health,
    /// A static file, which the runtime serves without the Worker.
    Asset,
}

/// One route.
#[derive(Debug)]
pub struct Route {
    /// The method; `GET` answers `HEAD` too.
    pub method: &'static str,
    /// The path. A last segment in braces takes the rest of the path, slashes included.
    pub path: &'static str,
    /// Who may call it.
    pub access: Access,
    /// What handles it.
    pub handler: Handler,
}

const fn route(method: &'static str, path: &'static str, access: Access, handler: Handler) -> Route {
    Route { method, path, access, handler }
}

/// All routes.
#[rustfmt::skip]
pub static ROUTES: &[Route] = &[
    route("POST", "/v1/chat/completions", Access::Inference, Handler::ChatCompletions),
    route("GET",  "/v1/models",           Access::Public,    Handler::ListModels),
    route("GET",  "/v1/models/{id}",      Access::Public,    Handler::GetModel),
    route("GET",  "/health",              Access::Public,    Handler::Health),
    route("GET",  "/openapi.json",        Access::Public,    Handler::Asset),
    route("GET",  "/docs",                Access::Public,    Handler::Asset),
];

/// Paths under these are for callers with a key, whether or not there is anything at them: nobody learns what exists.
const PROTECTED_PREFIXES: &[&str] = &["/v1/"];

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
        _ if PROTECTED_PREFIXES.iter().any(|prefix| path.starts_with(prefix)) => Access::Inference,
        _ => Access::Public,
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
    ROUTES.iter().filter_map(move |route| match route.path.split_once('{') {
        None => (path == route.path).then_some((route, "")),
        Some((prefix, _)) => {
            path.strip_prefix(prefix).filter(|rest| !rest.is_empty()).map(|rest| (route, rest))
        }
    })
}
