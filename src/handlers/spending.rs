//! `GET /v0/usage`: the usage of all keys, for operators, as JSON or CSV.

use std::borrow::Cow;

use gatehouse_core::error::{Code, Error};
use gatehouse_core::report::spending::{Bucket, Filters, Group, Range, Rank, Report, Selection};

use crate::platform::clock;
use crate::platform::response::{Body, Response};
use crate::request_context::RequestContext;
use crate::store::{keys, usage};

/// The default and the maximum number of entries.
const USUAL: u32 = 1_000;
const MOST: u32 = 10_000;
/// The maximum number of groups that are chosen as the largest.
const MOST_TOP: u32 = 100;
/// The longest value of a filter, in bytes.
const MAX_FILTER: usize = 300;

/// `GET /v0/usage?from=&to=&bucket=&group_by=&sort=&top=&limit=` and the filters
pub async fn get(context: &RequestContext<'_>) -> Result<Response, Error> {
    let bucket = context.query_choice("bucket", &Bucket::CHOICES)?;
    let selection = Selection {
        group: context.query_choice("group_by", &Group::CHOICES)?,
        rank: context.query_choice("sort", &Rank::CHOICES)?.unwrap_or_default(),
        top: context.query_number("top", MOST_TOP)?,
        limit: context.query_number("limit", MOST)?.unwrap_or(USUAL),
    };
    let [from, to] = [parameter(context, "from")?, parameter(context, "to")?];
    let range = Range::new(from.as_deref(), to.as_deref(), bucket, clock::now_ms())?;
    let filters = filters(context).await?;
    let (totals, entries) = usage::spending(&context.env, &range, selection, &filters).await?;
    let report = Report::new(&range, selection, &totals, entries);
    let wants_csv = context.header("accept").is_some_and(|accept| accept.contains("text/csv"));
    let response = if wants_csv {
        Response::new(200, "text/csv; charset=utf-8", Body::Text(report.to_csv().into()))
            .with("content-disposition", "attachment; filename=\"usage.csv\"")
    } else {
        Response::json(200, &report)
    };
    Ok(response.with("vary", "accept"))
}

/// The filters of a query. A key is given by its name or id, a key of the ring as `ring:` and its label.
pub async fn filters(context: &RequestContext<'_>) -> Result<Filters, Error> {
    let key = match parameter(context, "key")? {
        Some(key) if !key.starts_with("ring:") => {
            Some(keys::find_by_name_or_id(&context.env, &key).await?.id.clone())
        }
        key => key.map(Cow::into_owned),
    };
    let owned = |name| parameter(context, name).map(|value| value.map(Cow::into_owned));
    Ok(Filters {
        key,
        project: owned("project")?,
        model: owned("model")?,
        provider: owned("provider")?,
        operation: owned("operation")?,
    })
}

/// A query parameter that may occur once.
pub fn parameter<'c>(
    context: &'c RequestContext<'_>,
    name: &'static str,
) -> Result<Option<Cow<'c, str>>, Error> {
    let value = context
        .query_once(name)
        .ok()
        .filter(|value| value.as_ref().is_none_or(|text| text.len() <= MAX_FILTER));
    value.ok_or_else(|| {
        let message = format!("'{name}' must occur once, with at most {MAX_FILTER} bytes");
        Error::new(Code::InvalidValue, message).with_param(name)
    })
}
