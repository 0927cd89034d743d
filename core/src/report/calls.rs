//! The list of recent calls of all keys, `GET /v0/calls`: its query, its pages and its entries.
//!
//! The list is in the order in which calls were recorded, in steps of [`SPAN_MS`], and of those recorded together in the
//! order in which they began; newest first. The module does not read a clock.

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::lanes::id_of;
use super::spending::{Filters, time};
use crate::catalog::{OTHER, Registry};
use crate::config::Calls;
use crate::error::{Code, Error};
use crate::health::LaneId;
use crate::ledger::receipt::{Receipt, with_name};
use crate::request_id;
use crate::time::DAY_MS;

/// The time in which recorded calls are stored together, in milliseconds.
pub const SPAN_MS: u64 = 10_000;
/// The longest code of an error.
const MAX_CODE: usize = 64;

/// A place in the list: that of its last entry before a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The span in which the call was recorded: units of [`SPAN_MS`] since 1970.
    pub span: u64,
    /// The id of the call.
    pub id: String,
}

impl Cursor {
    /// The text in `next_cursor`.
    pub fn to_text(&self) -> String {
        format!("{}.{}", self.span, self.id)
    }

    /// Reads the output of [`Cursor::to_text`].
    ///
    /// # Errors
    /// 400 for any other text.
    pub fn read(text: &str) -> Result<Cursor, Error> {
        let cursor = text.split_once('.').and_then(|(span, id)| {
            let span = span.parse().ok().filter(|span| *span < 1 << 50)?;
            request_id::is_valid(id).then(|| Cursor { span, id: id.to_owned() })
        });
        cursor.ok_or_else(|| {
            let message = "'cursor' must be the 'next_cursor' of an earlier response";
            Error::new(Code::InvalidValue, message).with_param("cursor")
        })
    }
}

/// The calls that a page lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// The last call of the page before.
    pub after: Option<Cursor>,
    /// The smallest id, which states the time at which a call began.
    pub from_id: Option<String>,
    /// The first id that is too large.
    pub before_id: Option<String>,
    /// Properties of the calls.
    pub filters: Filters,
    /// The status that the caller got.
    pub status: Option<u32>,
    /// The code of the error that the caller got.
    pub code: Option<String>,
    /// Only calls without a complete response, or only others.
    pub failed: Option<bool>,
    /// The first span of the list.
    pub since_span: u64,
}

impl Query {
    /// The query of all calls that a configuration lists.
    pub fn new(config: Calls, now_ms: u64) -> Query {
        // Calls beyond the number of the configuration are deleted once an hour. Without a list, there are none at once.
        let days = if config.keep == 0 { 0 } else { config.days };
        let oldest_ms = now_ms.saturating_sub(u64::from(days) * DAY_MS);
        Query {
            after: None,
            from_id: None,
            before_id: None,
            filters: Filters::default(),
            status: None,
            code: None,
            failed: None,
            since_span: oldest_ms / SPAN_MS,
        }
    }

    /// Restricts the query to calls that began in a range of time.
    ///
    /// # Errors
    /// 400 for a text that is not a time.
    pub fn between(&mut self, from: Option<&str>, to: Option<&str>) -> Result<(), Error> {
        let id = |name, text| time(name, text).map(|ms| Receipt::new_id(ms, [0; 10]));
        self.from_id = from.map(|text| id("from", text)).transpose()?;
        self.before_id = to.map(|text| id("to", text)).transpose()?;
        Ok(())
    }

    /// Restricts the query to calls that ended with the code of an error.
    ///
    /// # Errors
    /// 400 for a text that is not a code.
    pub fn with_code(&mut self, code: Option<&str>) -> Result<(), Error> {
        if code.is_some_and(|code| code.is_empty() || code.len() > MAX_CODE) {
            let message = format!("'code' must be the code of an error, at most {MAX_CODE} bytes");
            return Err(Error::new(Code::InvalidValue, message).with_param("code"));
        }
        self.code = code.map(str::to_owned);
        Ok(())
    }
}

/// A page of the list.
#[derive(Debug, Serialize)]
pub struct Page {
    /// The calls, newest first.
    pub data: Vec<Box<RawValue>>,
    /// There is another page.
    pub has_more: bool,
    /// The cursor of the next page; `None` on the last.
    pub next_cursor: Option<String>,
}

/// An entry of the list: the receipt with `key_id`, and the name of the key, which is that of an issued key or the label of
/// a key of the ring.
pub fn entry(receipt: &str, key_name: Option<&str>) -> Option<Box<RawValue>> {
    let value: Value = serde_json::from_str(receipt).ok()?;
    let label = value.get("key_id").and_then(Value::as_str).and_then(|id| id.strip_prefix("ring:"));
    RawValue::from_string(with_name(receipt, key_name.or(label))).ok()
}

/// The entry of one call, with the id of the lane of each attempt.
pub fn detail(receipt: &str, key_name: Option<&str>, registry: &Registry) -> Option<Value> {
    let entry = entry(receipt, key_name)?;
    let mut value: Value = serde_json::from_str(entry.get()).ok()?;
    for attempt in value.get_mut("attempts").and_then(Value::as_array_mut)? {
        let text = |name: &str| attempt.get(name).and_then(Value::as_str);
        let (Some(provider), Some(model)) = (text("provider"), text("model")) else { continue };
        // Receipts of earlier versions do not have the key.
        let Some(key) = attempt.get("key").and_then(Value::as_u64).and_then(|key| u8::try_from(key).ok())
        else {
            continue;
        };
        let is_listed = registry.provider(provider).is_some_and(|entry| entry.lists(model));
        let model = if is_listed { model } else { OTHER };
        let lane = id_of(LaneId { provider, model, key });
        if let Some(attempt) = attempt.as_object_mut() {
            attempt.insert("lane".to_owned(), lane.into());
        }
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn cursors_are_read_as_they_are_written() {
        let cursor = Cursor { span: 179_604_870, id: "rcpt_01M80SZ1VX2GWGX2VZ9B3NRVZ0".to_owned() };
        assert_eq!(cursor.to_text(), "179604870.rcpt_01M80SZ1VX2GWGX2VZ9B3NRVZ0");
        assert_eq!(Cursor::read(&cursor.to_text()).unwrap(), cursor);
        for text in ["", "x", "1", "1.", ".a", "-1.a", "1.a\"b", "1125899906842624.a"] {
            assert!(Cursor::read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_query_restricts_the_times_at_which_calls_began() {
        let mut query = Query::new(Calls::default(), 10 * DAY_MS);
        assert_eq!(query.since_span, 3 * 8_640);
        let none = Query::new(Calls { keep: 0, ..Calls::default() }, 10 * DAY_MS);
        assert_eq!(none.since_span, 10 * 8_640);
        query.between(Some("1970-01-02"), Some("1970-01-02T00:00:01Z")).unwrap();
        let id = Receipt::new_id(DAY_MS + 500, [255; 10]);
        assert!(query.from_id.as_deref().unwrap() < id.as_str() && id < query.before_id.clone().unwrap());
        assert!(query.between(Some("soon"), None).is_err());
        assert!(query.with_code(Some("")).is_err());
        query.with_code(Some("model_not_found")).unwrap();
        assert_eq!(query.code.as_deref(), Some("model_not_found"));
    }

    #[test]
    fn entries_have_the_name_of_the_key_and_the_lanes_of_the_attempts() {
        let receipt = r#"{"id":"rcpt_1","attempts":[{"provider":"groq","model":"invented","key":1}],"hash":"0","key_id":"ring:ci"}"#;
        let shown = entry(receipt, None).unwrap();
        assert!(shown.get().starts_with(r#"{"id":"rcpt_1","attempts":"#));
        assert!(shown.get().ends_with(r#""hash":"0","key_id":"ring:ci","key_name":"ci"}"#));
        let registry = Registry::new(&crate::config::Config::default(), false, |_| None);
        let shown = detail(receipt, Some("x"), &registry).unwrap();
        assert_eq!(shown["attempts"][0]["lane"], "groq:1/other");
        assert_eq!(shown["key_name"], "x");
        let unknown = detail(r#"{"attempts":[],"key_id":"01M8"}"#, None, &registry).unwrap();
        assert_eq!(unknown, json!({"attempts": [], "key_id": "01M8", "key_name": null}));
    }
}
