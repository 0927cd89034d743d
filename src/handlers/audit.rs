//! `/v0/audit`: what operators did, and whether the record of it is whole.

use gatehouse_core::error::{Code, Error};
use gatehouse_core::json;
use gatehouse_core::onboarding::audit::Head;

use crate::platform::response::Response;
use crate::request_context::RequestContext;
use crate::store::audit;

/// How many entries a page has unless something else is said, and at most.
const USUAL: u64 = 100;
const MOST: u64 = 1000;

/// `GET /v0/audit?after=&limit=`
pub async fn list(context: &RequestContext<'_>) -> Result<Response, Error> {
    let after = number(context, "after", 0, 0..=u64::MAX >> 11)?;
    let limit = number(context, "limit", USUAL, 1..=MOST)?;
    let entries = audit::after(&context.env, after, limit).await?;
    let next = entries.last().filter(|_| entries.len() as u64 == limit).map(|entry| entry.seq);
    let shown: Vec<_> = entries
        .iter()
        .map(|entry| json!({"seq": entry.seq, "entry": entry.text, "hash": entry.hash}))
        .collect();
    Ok(Response::json(200, &json!({"entries": shown, "next": next})))
}

/// `GET /v0/audit/verify`
pub async fn verify(context: &RequestContext<'_>) -> Result<Response, Error> {
    let mut head = Head::default();
    loop {
        let entries = audit::after(&context.env, head.seq, MOST).await?;
        for entry in &entries {
            if let Err(reason) = head.follow(entry) {
                let broken =
                    json!({"intact": false, "entries": head.seq, "broken_at": entry.seq, "reason": reason});
                return Ok(Response::json(200, &broken));
            }
        }
        if entries.is_empty() {
            return Ok(Response::json(200, &json!({"intact": true, "entries": head.seq, "head": head.hash})));
        }
    }
}

fn number(
    context: &RequestContext<'_>,
    name: &'static str,
    usual: u64,
    range: std::ops::RangeInclusive<u64>,
) -> Result<u64, Error> {
    let Some(text) = context.query(name) else { return Ok(usual) };
    text.parse().ok().filter(|number| range.contains(number)).ok_or_else(|| {
        let words = format!("'{name}' must be a whole number from {} to {}", range.start(), range.end());
        Error::new(Code::InvalidValue, words).with_param(name)
    })
}
