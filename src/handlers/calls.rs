//! `/v0/calls`: the recent calls of all keys, for operators.

use std::rc::Rc;

use gatehouse_core::error::{Code, Error};
use gatehouse_core::report::calls::{Cursor, Page, Query, detail, entry};
use gatehouse_core::request_id;
use gatehouse_core::url;

use super::spending::{filters, parameter};
use crate::isolate::Isolate;
use crate::platform::clock;
use crate::platform::response::Response;
use crate::request_context::RequestContext;
use crate::store::calls;

/// The default and the maximum number of calls of a page.
const USUAL: u32 = 50;
const MOST: u32 = 200;
/// The highest status.
const MAX_STATUS: u32 = 599;

/// `GET /v0/calls?from=&to=&status=&code=&failed=&limit=&cursor=` and the filters of usage
pub async fn list(context: &RequestContext<'_>, isolate: &Rc<Isolate>) -> Result<Response, Error> {
    let limit = context.query_number("limit", MOST)?.unwrap_or(USUAL);
    let mut query = Query::new(isolate.settings.config.calls, clock::now_ms());
    let [from, to] = [parameter(context, "from")?, parameter(context, "to")?];
    query.between(from.as_deref(), to.as_deref())?;
    query.with_code(parameter(context, "code")?.as_deref())?;
    query.status = context.query_number("status", MAX_STATUS)?;
    query.failed = context.query_choice("failed", &[("true", true), ("false", false)])?;
    query.after = parameter(context, "cursor")?.map(|text| Cursor::read(&text)).transpose()?;
    query.filters = filters(context).await?;
    let mut found = calls::list(&context.env, &query, limit + 1).await?;
    let has_more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let next_cursor = found.last().filter(|_| has_more).map(|call| call.cursor.to_text());
    let data = found.iter().filter_map(|call| entry(&call.receipt, call.key_name.as_deref())).collect();
    Ok(Response::json(200, &Page { data, has_more, next_cursor }))
}

/// `GET /v0/calls/{id}`
pub async fn get(context: &RequestContext<'_>, isolate: &Rc<Isolate>, id: &str) -> Result<Response, Error> {
    let id = url::percent_decode(id);
    let found = if request_id::is_valid(&id) { calls::find(&context.env, &id).await? } else { None };
    let shown: String = id.chars().take(100).collect();
    let unknown = || {
        let message = format!(
            "There is no recent call '{shown}': calls appear about ten seconds after their end and leave the list later; GET /usage/requests/{{id}}?key= reads the receipts of a key"
        );
        Error::new(Code::ReceiptNotFound, message).with_param("id")
    };
    let detail = found
        .and_then(|call| detail(&call.receipt, call.key_name.as_deref(), &isolate.settings.registry))
        .ok_or_else(unknown)?;
    Ok(Response::json(200, &detail))
}
