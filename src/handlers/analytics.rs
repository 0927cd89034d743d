//! `GET /v1/analytics`: counts of calls, public unless the operator's configuration restricts them.

use std::borrow::Cow;
use std::rc::Rc;

use gatehouse_core::config::ProjectIdRule;
use gatehouse_core::error::{Code, Error};
use gatehouse_core::format::project_id;
use gatehouse_core::json;
use gatehouse_core::report::cache::{FRESH_MS, UsageQuery};
use gatehouse_core::report::usage::Detail;

use crate::authentication;
use crate::isolate::Isolate;
use crate::platform::clock;
use crate::platform::response::Response;
use crate::request_context::{RequestContext, last_days, seconds};
use crate::store::usage;
use gatehouse_core::routes::Audience;

/// `GET /v1/analytics?project_id=&days=`
pub async fn get(context: &RequestContext<'_>, isolate: &Rc<Isolate>) -> Result<Response, Error> {
    let config = &isolate.settings.config.analytics;
    // If the caller makes no difference, the key is ignored: a wrong key is no error on a public route.
    let mut operator = false;
    if !config.public || !config.projects {
        match authentication::authenticate(context, isolate, Audience::Operator).await {
            Ok(_) => operator = true,
            Err(error) if !config.public => return Err(error),
            Err(_) => {}
        }
    }
    let query = UsageQuery {
        days: context.query_days()?,
        project: project(context)?,
        projects: config.projects || operator,
    };
    if query.project.is_some() && !query.projects {
        let words = "Only operators may filter by project here: leave 'project_id' out";
        return Err(Error::new(Code::PermissionDenied, words).with_param("project_id"));
    }
    let response = Response::json_text(200, answer(context, isolate, query, operator).await?);
    if operator {
        return Ok(response);
    }
    let response = response.with("cache-control", format!("public, max-age={}", FRESH_MS / 1_000));
    // Callers with different permissions get different reports, so caches must not share them.
    Ok(if config.projects { response } else { response.with("vary", "authorization, x-api-key") })
}

/// The report: the cached one, or a new one from the database.
async fn answer(
    context: &RequestContext<'_>,
    isolate: &Rc<Isolate>,
    query: UsageQuery,
    operator: bool,
) -> Result<String, Error> {
    let now_ms = clock::now_ms();
    if let Some(text) = isolate.analytics.borrow_mut().recall(&query, now_ms) {
        return Ok(text.to_owned());
    }
    let asked = if operator { Ok(()) } else { isolate.analytics.borrow_mut().ask(now_ms) };
    // Operators are not throttled by the queries of the public.
    if let Err(wait_ms) = asked
        && authentication::authenticate(context, isolate, Audience::Operator).await.is_err()
    {
        let words = "Too many different queries of usage; try again later";
        return Err(Error::new(Code::RateLimitExceeded, words).with_retry_after(seconds(wait_ms)));
    }
    let listed = usage::listed(&isolate.settings.registry, &isolate.settings.config);
    let days = last_days(query.days);
    let found = usage::between(&context.env, days, query.project.as_deref(), &listed).await?;
    let detail = if query.projects { Detail::Public } else { Detail::PublicWithoutProjects };
    let text = json::to_text(&found.summary(detail));
    isolate.analytics.borrow_mut().remember(query, now_ms, text.clone());
    Ok(text)
}

fn project(context: &RequestContext<'_>) -> Result<Option<String>, Error> {
    let given = context.query_once("project_id").map_err(|_| project_id::invalid())?;
    project_id::choose(None, given.map(Cow::into_owned), ProjectIdRule::Optional)
}
