//! The selection of a call's candidates, and the plan of its attempts.

use gatehouse_core::error::Error;
use gatehouse_core::format::request::Inference;
use gatehouse_core::health::HealthView;
use gatehouse_core::key::Caller;
use gatehouse_core::route::affinity::Affinity;
use gatehouse_core::route::candidates::{self, RouteQuery, Selection};
use gatehouse_core::route::plan::{Limits, Plan};

use crate::isolate::Isolate;
use crate::platform::{clock, random};
use crate::request_context::RequestContext;

/// The name of a session. Its calls go to the same upstream as long as that is available.
const SESSION_HEADER: &str = "x-session-id";
/// The only provider that may be called.
const FORCE_PROVIDER_HEADER: &str = "x-gateway-force-provider";
/// The model that replaces the one in the body.
const FORCE_MODEL_HEADER: &str = "x-gateway-force-model";

/// The headers that override the body.
pub struct Forced {
    model: Option<String>,
    provider: Option<String>,
}

impl Forced {
    /// Reads them; an empty one counts as none.
    pub fn of(context: &RequestContext<'_>) -> Forced {
        let header = |name| context.header(name).filter(|value: &String| !value.trim().is_empty());
        Forced { model: header(FORCE_MODEL_HEADER), provider: header(FORCE_PROVIDER_HEADER) }
    }

    /// The name of the requested model.
    pub fn model<'s>(&'s self, request: &'s Inference<'_>) -> &'s str {
        self.model.as_deref().unwrap_or(&request.model)
    }
}

/// Selects the candidates of a call, and plans its attempts.
pub fn plan<'a>(
    context: &RequestContext<'_>,
    isolate: &'a Isolate,
    caller: &Caller,
    request: &Inference<'_>,
    forced: &Forced,
) -> Result<(Selection<'a>, Plan), Error> {
    let view = isolate.health.view.borrow();
    let query = query(context, isolate, caller, request, forced, &view);
    let selection = candidates::select(&query)?;
    let limits = Limits::of(&isolate.settings.config, context.began_ms);
    let plan = Plan::new(&selection.candidates, &view, query.affinity, limits, query.now_ms);
    Ok((selection, plan))
}

/// The inputs of a selection.
pub fn query<'a, 'b>(
    context: &RequestContext<'_>,
    isolate: &'a Isolate,
    caller: &'b Caller,
    request: &'b Inference<'b>,
    forced: &'b Forced,
    view: &'b HealthView,
) -> RouteQuery<'a, 'b> {
    let session = context.header(SESSION_HEADER);
    let session = session.as_deref().or(request.session);
    let chance = random::chance();
    let affinity = if isolate.settings.config.routing.sticky {
        Affinity::of(&caller.label, session, request.prompt, chance)
    } else {
        Affinity::of("", None, "", chance)
    };
    RouteQuery {
        request,
        force_model: forced.model.as_deref(),
        force_provider: forced.provider.as_deref(),
        key: caller.key.as_deref(),
        config: &isolate.settings.config,
        registry: &isolate.settings.registry,
        view,
        affinity,
        now_ms: clock::now_ms(),
        explain: false,
    }
}
