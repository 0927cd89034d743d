//! `/v0/audit`: the audit trail, and its verification.

use gatehouse_core::error::{Code, Error};
use gatehouse_core::onboarding::audit::Head;
use gatehouse_core::onboarding::audit_state::{Difference, Stated};
use serde::Serialize;

use super::spending::parameter;
use crate::platform::response::Response;
use crate::request_context::RequestContext;
use crate::store::audit::{self, Tables};

/// The default and the maximum number of entries of a page.
const USUAL: u64 = 100;
const MOST: u64 = 1000;

/// The response of `GET /v0/audit`.
#[derive(Serialize)]
struct EntryList<'a> {
    entries: Vec<ShownEntry<'a>>,
    /// The number of the last entry, after which the next page starts; `None` on the last page.
    next: Option<u64>,
}

#[derive(Serialize)]
struct ShownEntry<'a> {
    seq: u64,
    /// The text that was hashed.
    entry: &'a str,
    hash: &'a str,
}

/// The response of `GET /v0/audit/verify`. `entries` is the number of intact entries from the first.
#[derive(Serialize)]
#[serde(untagged)]
enum Verified<'a> {
    Intact {
        intact: bool,
        entries: u64,
        head: &'a str,
    },
    Broken {
        intact: bool,
        entries: u64,
        broken_at: u64,
        reason: &'static str,
    },
    /// The chain is intact, but the tables are not as it states: `differences` has the first of them.
    Differs {
        intact: bool,
        entries: u64,
        head: &'a str,
        reason: String,
        differences: &'a [Difference],
    },
}

/// How many times the tables are read again because a change was made meanwhile.
const MOST_REREADS: u32 = 20;
/// The number of differences in a response.
const SHOWN: usize = 100;

/// The orders of the list by their names in queries: `true` is newest first.
const ORDERS: [(&str, bool); 2] = [("asc", false), ("desc", true)];

/// `GET /v0/audit?q=&order=&after=&limit=`
pub async fn list(context: &RequestContext<'_>) -> Result<Response, Error> {
    let is_newest_first = context.query_choice("order", &ORDERS)?.unwrap_or(false);
    let after = number(context, "after", 0..=u64::MAX >> 11)?;
    let limit = number(context, "limit", 1..=MOST)?.unwrap_or(USUAL);
    let search = parameter(context, "q")?.filter(|text| !text.is_empty());
    let entries = if is_newest_first {
        audit::before(&context.env, after, search.as_deref(), limit).await?
    } else {
        audit::after(&context.env, after.unwrap_or_default(), search.as_deref(), limit).await?
    };
    let next = entries.last().filter(|_| entries.len() as u64 == limit).map(|entry| entry.seq);
    let entries =
        entries.iter().map(|entry| ShownEntry { seq: entry.seq, entry: &entry.text, hash: &entry.hash });
    Ok(Response::json(200, &EntryList { entries: entries.collect(), next }))
}

/// `GET /v0/audit/verify`
pub async fn verify(context: &RequestContext<'_>) -> Result<Response, Error> {
    let mut head = Head::default();
    let mut stated = Stated::default();
    let mut rereads = 0;
    loop {
        let entries = audit::after(&context.env, head.seq, None, MOST).await?;
        for entry in &entries {
            if let Err(reason) = head.follow(entry) {
                let broken =
                    Verified::Broken { intact: false, entries: head.seq, broken_at: entry.seq, reason };
                return Ok(Response::json(200, &broken));
            }
            stated.follow(&entry.text);
        }
        if !entries.is_empty() {
            continue;
        }
        let Tables { last, keys, secrets, settings, provider_keys } = audit::tables(&context.env).await?;
        // Another change was made meanwhile: its entry is to be read too, if it can be read.
        if last > head.seq {
            rereads += 1;
            if rereads <= MOST_REREADS {
                continue;
            }
            let reason = "an entry cannot be read, or changes are made faster than they are verified";
            let broken =
                Verified::Broken { intact: false, entries: head.seq, broken_at: head.seq + 1, reason };
            return Ok(Response::json(200, &broken));
        }
        let mut differences = stated.compare(&keys, &secrets);
        differences.extend(stated.compare_settings(&settings));
        differences.extend(stated.compare_provider_keys(&provider_keys));
        let (entries, head) = (head.seq, head.hash.as_str());
        let Some(first) = differences.first() else {
            return Ok(Response::json(200, &Verified::Intact { intact: true, entries, head }));
        };
        let reason = format!("{} '{}' {}", first.table.changed(), first.name, first.what);
        let differences = differences.get(..SHOWN).unwrap_or(&differences);
        return Ok(Response::json(
            200,
            &Verified::Differs { intact: false, entries, head, reason, differences },
        ));
    }
}

fn number(
    context: &RequestContext<'_>,
    name: &'static str,
    range: std::ops::RangeInclusive<u64>,
) -> Result<Option<u64>, Error> {
    let Some(text) = context.query(name) else { return Ok(None) };
    text.parse().ok().filter(|number| range.contains(number)).map(Some).ok_or_else(|| {
        let message = format!("'{name}' must be a whole number from {} to {}", range.start(), range.end());
        Error::new(Code::InvalidValue, message).with_param(name)
    })
}
