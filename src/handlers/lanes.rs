//! `/v0/providers` and `/v0/lanes`: the diagnosis of providers, with their last day, and cooldowns that operators decide.

use std::rc::Rc;

use gatehouse_core::error::{Code, Error};
use gatehouse_core::health::LaneId;
use gatehouse_core::health::minutes::{KEEP, Minute};
use gatehouse_core::json::Object;
use gatehouse_core::key::Caller;
use gatehouse_core::report::lanes;
use gatehouse_core::time;
use gatehouse_core::url;
use serde::Serialize;

use crate::isolate::Isolate;
use crate::objects::provider_health;
use crate::platform::clock;
use crate::platform::response::Response;
use crate::request_context::RequestContext;
use crate::store;

/// The default and the longest cooldown, in seconds.
const USUAL_S: u64 = 3600;
const MOST_S: u64 = 30 * 24 * 3600;

/// `GET /v0/providers?minutes=&step=`
pub async fn list_providers(context: &RequestContext<'_>, isolate: &Rc<Isolate>) -> Result<Response, Error> {
    let steps = history(context, false).await?;
    isolate.health.refresh(context).await;
    let view = isolate.health.view.borrow();
    let settings = &isolate.settings;
    let mut providers = lanes::providers(&view, &settings.registry, &settings.run_time.keys, clock::now_ms());
    if let Some(steps) = steps {
        lanes::with_history(&mut providers, &steps);
    }
    Ok(Response::json(200, &providers))
}

/// `GET /v0/lanes?minutes=&step=`
pub async fn list(context: &RequestContext<'_>, isolate: &Rc<Isolate>) -> Result<Response, Error> {
    let steps = history(context, true).await?;
    isolate.health.refresh(context).await;
    let view = isolate.health.view.borrow();
    let mut lanes = lanes::lanes(&view, &isolate.settings.registry, None, clock::now_ms());
    if let Some(steps) = steps {
        lanes::with_lane_history(&mut lanes, &steps);
    }
    Ok(Response::json(200, &lanes))
}

/// The attempts of the last minutes, if the request has `minutes` or `step`.
async fn history(context: &RequestContext<'_>, by_lane: bool) -> Result<Option<Vec<Minute>>, Error> {
    let minutes = context.query_number("minutes", KEEP)?;
    let step = context.query_number("step", KEEP)?;
    let Some(minutes) = minutes.or(step.map(|_| KEEP)) else { return Ok(None) };
    let query = lanes::history_query(minutes, step, by_lane)?;
    let unavailable =
        |_| Error::new(Code::StorageUnavailable, "The history of the providers does not respond; try again");
    provider_health::history(&context.env, query).await.map(Some).map_err(unavailable)
}

/// `POST /v0/lanes/{id}/cooldown`
pub async fn cool_down(
    context: &RequestContext<'_>,
    isolate: &Rc<Isolate>,
    operator: &Caller,
    rest: &str,
) -> Result<Response, Error> {
    let object = Object::read_optional(&context.small_body().await?)?;
    object.only(&["seconds"])?;
    let seconds = object.integer("seconds")?.unwrap_or(USUAL_S);
    if !(1..=MOST_S).contains(&seconds) {
        let message = format!("'seconds' must be between 1 and {MOST_S}");
        return Err(Error::new(Code::InvalidValue, message).with_param("seconds"));
    }
    decide(context, isolate, operator, rest, Some(clock::now_ms() + seconds * 1000)).await
}

/// `POST /v0/lanes/{id}/resume`
pub async fn resume(
    context: &RequestContext<'_>,
    isolate: &Rc<Isolate>,
    operator: &Caller,
    rest: &str,
) -> Result<Response, Error> {
    decide(context, isolate, operator, rest, None).await
}

/// The response to a decision about a lane.
#[derive(Serialize)]
struct Decided {
    id: String,
    /// The end of the cooldown; `None` if it was ended.
    cooldown_until: Option<String>,
}

/// Records a decision about a lane, and publishes it to the other isolates.
async fn decide(
    context: &RequestContext<'_>,
    isolate: &Rc<Isolate>,
    operator: &Caller,
    rest: &str,
    until_ms: Option<u64>,
) -> Result<Response, Error> {
    let id = url::percent_decode(rest);
    let lane: LaneId<'_> = lanes::find(&isolate.settings.registry, &id).ok_or_else(|| {
        let shown: String = id.chars().take(200).collect();
        Error::new(Code::NotFound, format!("There is no lane '{shown}'; GET /v0/lanes lists those in use"))
    })?;
    store::lanes::note(&context.env, &id, until_ms, &operator.label).await?;
    isolate.health.view.borrow_mut().set_cooldown(lane, until_ms, clock::now_ms());
    isolate.health.publish(&context.env).await;
    let decided = Decided { id: id.into_owned(), cooldown_until: until_ms.map(time::to_rfc3339) };
    Ok(Response::json(200, &decided))
}
