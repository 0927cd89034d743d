//! `/usage`: usage, limits and receipts of a key. An inference key reads its own, an operator key those of every key.

use std::rc::Rc;

use gatehouse_core::error::{Code, Error};
use gatehouse_core::json;
use gatehouse_core::key::{Caller, IssuedKey};
use gatehouse_core::ledger::Limit;
use gatehouse_core::report::permissions::Permissions;
use gatehouse_core::request_id;
use gatehouse_core::url;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::isolate::{Isolate, accounts};
use crate::objects::{ObjectError, key_ledger};
use crate::platform::response::Response;
use crate::request_context::{RequestContext, last_days};
use crate::store::keys;

/// The prefix of the label of a ring key.
const RING: &str = "ring:";
const DEFAULT_RECEIPTS: u32 = 20;
const MAX_RECEIPTS: u32 = 100;

/// The key whose usage is returned.
struct Subject {
    /// The name of the key.
    name: String,
    ledger: String,
    limits: Vec<Limit>,
    /// The permissions of the key, as JSON.
    permissions: String,
}

impl Subject {
    fn of_key(isolate: &Isolate, key: &IssuedKey) -> Subject {
        // A key whose policies were removed has no permissions, but its usage is readable.
        let config = &isolate.settings.config;
        let limits = Limit::of_key(key, config).unwrap_or_default();
        let permissions = json::to_text(&Permissions::of(Some(key), config));
        Subject { name: key.name.clone(), ledger: accounts::of_key(&key.id), limits, permissions }
    }

    fn of_ring(isolate: &Isolate, label: &str) -> Subject {
        let permissions = json::to_text(&Permissions::of(None, &isolate.settings.config));
        Subject { name: label.to_owned(), ledger: accounts::of_ring(label), limits: Vec::new(), permissions }
    }

    async fn of(context: &RequestContext<'_>, isolate: &Isolate, caller: &Caller) -> Result<Subject, Error> {
        let asked = context.query("key");
        if !caller.is_operator {
            if asked.is_some() {
                let message = "Only operators may read the usage of other keys: leave 'key' out";
                return Err(Error::new(Code::PermissionDenied, message).with_param("key"));
            }
            return Ok(match &caller.key {
                Some(key) => Subject::of_key(isolate, key),
                None => Subject::of_ring(isolate, &caller.label),
            });
        }
        let asked = asked.filter(|key| !key.is_empty()).ok_or_else(|| {
            let message = "This is an operator key: name the key whose usage to return, as ?key=<name or id>, or \
                           ?key=ring:<label>";
            Error::new(Code::MissingMember, message).with_param("key")
        })?;
        match asked.strip_prefix(RING) {
            Some(label) => Ok(Subject::of_ring(isolate, label)),
            None => Ok(Subject::of_key(isolate, &keys::find_by_name_or_id(&context.env, &asked).await?)),
        }
    }
}

/// The response of `GET /usage/requests`.
#[derive(Serialize)]
struct ReceiptList<'a> {
    object: &'static str,
    /// Stored receipts, newest first.
    data: Vec<&'a RawValue>,
    has_more: bool,
    /// The number of the last receipt, from which the next page starts; `None` on the last page.
    next_before: Option<u64>,
}

/// The number of a receipt.
#[derive(Deserialize)]
struct Numbered {
    seq: u64,
}

fn unavailable(_: ObjectError) -> Error {
    Error::new(Code::StorageUnavailable, "The key's account does not respond; try again")
}

/// `GET /usage`
pub async fn get(
    context: &RequestContext<'_>,
    isolate: &Rc<Isolate>,
    caller: &Caller,
) -> Result<Response, Error> {
    let days = context.query_days()?;
    let subject = Subject::of(context, isolate, caller).await?;
    let Subject { name, ledger, limits, permissions } = &subject;
    let usage = key_ledger::usage(&context.env, ledger, name, last_days(days), limits).await;
    let usage = usage.map_err(unavailable)?;
    // The account writes an object. It knows nothing of permissions, so they are added here.
    let members = usage.strip_suffix('}').unwrap_or(&usage);
    Ok(Response::json_text(200, [members, ",\"permissions\":", permissions, "}"].concat()))
}

/// `GET /usage/requests`
pub async fn list_receipts(
    context: &RequestContext<'_>,
    isolate: &Rc<Isolate>,
    caller: &Caller,
) -> Result<Response, Error> {
    let limit = context.query_number("limit", MAX_RECEIPTS)?.unwrap_or(DEFAULT_RECEIPTS);
    let before = context.query_number("before", u32::MAX)?;
    let subject = Subject::of(context, isolate, caller).await?;
    let before = before.map_or(1 << 53, u64::from);
    let mut texts =
        key_ledger::receipts(&context.env, &subject.ledger, before, limit + 1).await.map_err(unavailable)?;
    let has_more = texts.len() > limit as usize;
    texts.truncate(limit as usize);
    let last = texts.last().filter(|_| has_more);
    let receipts = ReceiptList {
        object: "list",
        data: texts.iter().filter_map(|text| serde_json::from_str(text).ok()).collect(),
        has_more,
        next_before: last.and_then(|text| json::read::<Numbered>(text).ok()).map(|receipt| receipt.seq),
    };
    Ok(Response::json(200, &receipts))
}

/// `GET /usage/requests/{id}`
pub async fn get_receipt(
    context: &RequestContext<'_>,
    isolate: &Rc<Isolate>,
    caller: &Caller,
    id: &str,
) -> Result<Response, Error> {
    let id = url::percent_decode(id);
    let subject = Subject::of(context, isolate, caller).await?;
    let found = if request_id::is_valid(&id) {
        key_ledger::receipt(&context.env, &subject.ledger, &id).await.map_err(unavailable)?
    } else {
        None
    };
    let shown: String = id.chars().take(100).collect();
    let message = format!(
        "This key has no receipt '{shown}': receipts appear about a second after their calls, and are deleted after 30 days or 10,000 newer ones"
    );
    found
        .map(|text| Response::json_text(200, text))
        .ok_or_else(|| Error::new(Code::ReceiptNotFound, message).with_param("id"))
}
