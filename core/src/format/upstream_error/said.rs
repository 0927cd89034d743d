//! Reads what an error document says, whatever its shape: **the** reader of errors, for whole responses and for streams.

use serde_json::Value;

/// The shape `{"base_resp": {"status_code": …}}` of `MiniMax`, whose codes have meanings of their own.
pub(super) const BASE_RESP: &str = "base_resp";
/// The shape `{"error_code": …, "error_msg": …}` of Baidu, likewise.
pub(super) const ERROR_CODE: &str = "error_code";
const MAX_MESSAGE: usize = 2000;
const MAX_TOKEN: usize = 100;
/// How deep objects and lists are searched for a text.
const DEPTH: u8 = 4;

/// The members that hold a text for people, in the order in which they are tried.
const MESSAGES: &[&str] = &[
    "message",
    "Message",
    "msg",
    "error_msg",
    "error_message",
    "errorMessage",
    "status_msg",
    "faultstring",
    "description",
    "error_description",
    "detail",
    "details",
    "title",
];
/// The members that hold a code.
const CODES: &[&str] =
    &["code", "error_code", "errorCode", "internalCode", "status_code", "statusCode", "err_code"];
/// The members that hold the type of an error.
const KINDS: &[&str] = &["type", "__type", "error_type"];
/// The members that hold the status that a response would have had.
const STATUSES: &[&str] = &["code", "status", "status_code", "statusCode", "http_status", "http_code"];
/// The members in which an error is wrapped.
const WRAPPERS: &[&str] = &["error", "fault", "Error", "errors", "base_resp"];

/// The content that all shapes have in common.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// The text for people, if there is one.
    pub(super) message: Option<String>,
    /// All texts: also that of an upstream behind the upstream.
    pub(super) text: String,
    pub(super) kind: Option<String>,
    pub(super) code: Option<String>,
    pub(super) param: Option<String>,
    /// Google's `status`, and the reasons in its details.
    words: Vec<String>,
    /// The status that the document states itself.
    pub(super) status: Option<u16>,
    /// The shape, if it decides what codes mean.
    pub(super) shape: Option<&'static str>,
    /// `true` if the details name a limit by the minute.
    pub(super) by_the_minute: bool,
    /// The seconds after which a retry can succeed, which Google states in the details and in no header.
    pub(super) retry_after_s: Option<u32>,
}

impl Said {
    /// The content of a plain text: it is read for its meaning, but it is not a message for the caller.
    pub(super) fn plain(text: &str) -> Said {
        Said { text: text.chars().take(MAX_MESSAGE).collect(), ..Said::default() }
    }

    /// Reads an error document. `None` if it says nothing.
    pub(super) fn of(value: &Value) -> Option<Said> {
        let outer = first(value);
        let place = WRAPPERS.iter().find(|name| outer.get(**name).is_some_and(|inner| !is_nothing(inner)));
        let wrapped = place.and_then(|name| outer.get(*name)).map(first);
        // A choice of a completion.
        let wrapped = wrapped.or_else(|| choice_error(outer));
        // `{"response": {"error": …}}`, the event of a failed response.
        let wrapped =
            wrapped.or_else(|| outer.get("response")?.get("error").filter(|error| !is_nothing(error)));
        // `{"error": true, "message": …}`
        let inner = wrapped.filter(|inner| !inner.is_boolean()).unwrap_or(outer);
        // `[{"loc": …, "msg": …}]` and `["text"]` are messages themselves.
        let listed = place.and_then(|name| outer.get(*name)).filter(|list| list.is_array());
        let in_both = |names: &[&str], max| token(inner, names, max).or_else(|| token(outer, names, max));
        let behind = inner.get("metadata").and_then(|metadata| metadata.get("raw")).and_then(behind);
        let message = listed
            .filter(|_| inner.is_string())
            .and_then(|list| words(list, DEPTH))
            .or_else(|| title(inner, outer))
            .or_else(|| words(inner, DEPTH));
        let message = match (message, &behind) {
            (Some(message), Some(behind)) if !message.contains(behind.as_str()) => {
                Some(format!("{message}: {behind}"))
            }
            (message, behind) => message.or_else(|| behind.clone()),
        };
        let nested = message.as_deref().and_then(nested);
        let kind = in_both(KINDS, MAX_TOKEN).filter(|kind| kind != "error");
        // AWS: `com.amazon.coral.service#ThrottlingException`.
        let kind = kind.map(|kind| kind.rsplit('#').next().unwrap_or_default().to_owned());
        let mut said = Said {
            text: message.clone().unwrap_or_default(),
            message: message.map(|text| text.chars().take(MAX_MESSAGE).collect()),
            kind,
            code: in_both(CODES, MAX_TOKEN),
            param: token(inner, &["param"], MAX_TOKEN),
            words: reasons(inner),
            status: status(inner).or_else(|| status(outer)),
            shape: shape(place.copied(), inner),
            by_the_minute: is_by_the_minute(inner),
            retry_after_s: retry_delay_s(inner),
        };
        if let Some(nested) = nested {
            said.add(nested);
        }
        let says_something = said.message.is_some() || said.code.is_some() || said.kind.is_some();
        (says_something || said.status.is_some()).then_some(said)
    }

    /// Adds what an error inside of this one's message says: it comes from an upstream behind the upstream.
    fn add(&mut self, nested: Said) {
        self.words.extend(nested.code);
        self.words.extend(nested.kind);
        self.words.extend(nested.words);
        self.text = nested.text;
        self.by_the_minute |= nested.by_the_minute;
        self.retry_after_s = self.retry_after_s.or(nested.retry_after_s);
    }

    /// Everything that may be a sign, in the order in which it counts.
    pub(super) fn words(&self) -> impl Iterator<Item = &str> {
        let first = [&self.code, &self.kind].into_iter().flatten();
        first.chain(&self.words).map(String::as_str)
    }
}

/// Returns `true` if a document that came instead of an answer, or beside one, is an error.
///
/// With `has_answer`, what stands beside the answer must be an error beyond doubt: a member `error` that says something,
/// an error inside of a choice, or a bad `base_resp`.
pub(super) fn is_error(value: &Value, has_answer: bool) -> bool {
    let value = first(value);
    let some = |name: &str| value.get(name).filter(|inner| !is_nothing(inner));
    let is = |name: &str, word: &str| value.get(name).and_then(Value::as_str) == Some(word);
    let base =
        some("base_resp").and_then(|base| base.get("status_code")).is_some_and(|code| !is_good_code(code));
    if base || some("error").is_some() || choice_error(value).is_some() {
        return true;
    }
    if has_answer {
        return false;
    }
    let response = some("response").and_then(|response| response.get("error"));
    let code = CODES.iter().find_map(|name| some(name)).filter(|code| !is_good_code(code));
    ["fault", "Error", "errors", "detail"].iter().any(|name| some(name).is_some())
        || response.is_some_and(|error| !is_nothing(error))
        || is("object", "error")
        || is("type", "error")
        || value.get("success") == Some(&Value::Bool(false))
        || (code.is_some() && MESSAGES.iter().any(|name| some(name).is_some()))
        || status(value).is_some()
}

/// Returns `true` if a document has a message for people, and nothing that could be an answer.
pub(super) fn is_message(value: &Value) -> bool {
    let members = first(value).as_object().filter(|members| {
        MESSAGES
            .iter()
            .any(|name| members.get(*name).is_some_and(|text| text.is_string() && !is_nothing(text)))
    });
    members.is_some_and(|members| {
        members.iter().all(|(name, value)| {
            let is_frame = matches!(name.as_str(), "id" | "request_id" | "requestId" | "type");
            is_frame || MESSAGES.contains(&name.as_str()) || value.is_null()
        })
    })
}

/// Returns `true` if a value says nothing: `null`, `false`, zero, an empty text, or only such values.
pub(super) fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.trim().is_empty(),
        Value::Array(items) => items.iter().all(is_nothing),
        Value::Object(members) => members.values().all(is_nothing),
    }
}

/// Returns `true` for codes of success.
fn is_good_code(code: &Value) -> bool {
    let text = match code {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.to_ascii_lowercase(),
        _ => return true,
    };
    matches!(text.as_str(), "" | "0" | "200" | "ok" | "success")
}

/// The first item of a list that holds one error: `[{"error": {…}}]` (Gemini's compatible endpoint).
fn first(value: &Value) -> &Value {
    value.as_array().and_then(|items| items.first()).unwrap_or(value)
}

/// The error inside of a choice: `{"choices": [{"error": {…}, "finish_reason": "error"}]}`.
fn choice_error(value: &Value) -> Option<&Value> {
    let choices = value.get("choices")?.as_array()?;
    choices.iter().find_map(|choice| choice.get("error").filter(|error| !is_nothing(error)))
}

/// `{"error": "Bad Request", "message": "text"}`: a title with its text.
fn title(inner: &Value, outer: &Value) -> Option<String> {
    let title = inner.as_str().filter(|title| !title.trim().is_empty())?;
    match MESSAGES.iter().find_map(|name| words(outer.get(*name)?, DEPTH)) {
        Some(message) if message != title => Some(format!("{title}: {message}")),
        _ => Some(title.to_owned()),
    }
}

/// The texts of a value: a text or a number, those of a list, or that of the first member with one.
fn words(value: &Value, depth: u8) -> Option<String> {
    let depth = depth.checked_sub(1)?;
    match value {
        Value::String(text) => Some(text.clone()).filter(|text| !text.trim().is_empty()),
        Value::Number(number) => Some(number.to_string()),
        Value::Array(items) => {
            let parts: Vec<String> = items.iter().filter_map(|item| words(item, depth)).collect();
            Some(parts.join("; ")).filter(|text| !text.is_empty())
        }
        Value::Object(members) => {
            let text = MESSAGES.iter().find_map(|name| {
                let text = members.get(*name)?;
                // A number is no text for people.
                if text.is_number() { None } else { words(text, depth) }
            });
            let text =
                text.or_else(|| words(members.get("error").or_else(|| members.get("text"))?, depth))?;
            // FastAPI: `{"loc": ["body", "x"], "msg": "text"}`.
            let place = members
                .get("loc")
                .and_then(Value::as_array)
                .map(|parts| parts.iter().filter_map(|part| words(part, 1)).collect::<Vec<_>>().join("."));
            Some(match place.filter(|place| !place.is_empty()) {
                Some(place) => format!("{place}: {text}"),
                None => text,
            })
        }
        Value::Null | Value::Bool(_) => None,
    }
}

/// A text, or a number as text, of the first of these members that has one.
fn token(value: &Value, names: &[&str], max: usize) -> Option<String> {
    names.iter().find_map(|name| match value.get(*name)? {
        Value::String(text) if !text.trim().is_empty() => Some(text.chars().take(max).collect()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    })
}

/// The status that an error states.
fn status(value: &Value) -> Option<u16> {
    let number = |value: &Value| match value {
        Value::Number(number) => number.as_u64().and_then(|number| u16::try_from(number).ok()),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    STATUSES.iter().find_map(|name| number(value.get(*name)?).filter(|status| (400..600).contains(status)))
}

/// The status word and the reasons: `{"status": "…", "details": [{"reason": "…"}]}` (Google), `{"errors": [{"reason":
/// "…"}]}` (its older interfaces), `{"innererror": {"code": "…"}}` (Azure).
fn reasons(value: &Value) -> Vec<String> {
    let lists = ["details", "errors"].iter().filter_map(|name| value.get(*name)?.as_array()).flatten();
    let reasons = lists.filter_map(|item| token(item, &["reason"], MAX_TOKEN));
    let inner = value.get("innererror").and_then(|inner| token(inner, &["code"], MAX_TOKEN));
    let own = token(value, &["reason"], MAX_TOKEN).into_iter().chain(token(value, &["status"], MAX_TOKEN));
    reasons.chain(inner).chain(own).collect()
}

fn shape(wrapper: Option<&str>, inner: &Value) -> Option<&'static str> {
    if wrapper == Some(BASE_RESP) {
        return Some(BASE_RESP);
    }
    [ERROR_CODE, "internalCode"].into_iter().find(|name| inner.get(*name).is_some())
}

/// Returns `true` if the violated quota is one by the minute: Gemini uses the same words for those and for its bill.
fn is_by_the_minute(value: &Value) -> bool {
    let details = value.get("details").and_then(Value::as_array).into_iter().flatten();
    let violations = details.filter_map(|detail| detail.get("violations")?.as_array()).flatten();
    let ids = violations.filter_map(|violation| violation.get("quotaId")?.as_str());
    ids.map(|id| id.contains("PerMinute")).reduce(|all, is| all && is).unwrap_or(false)
}

/// The delay in Google's `RetryInfo`, rounded up: `"retryDelay": "34.4s"`.
/// <https://github.com/googleapis/googleapis/blob/master/google/rpc/error_details.proto>
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast of a float saturates")]
fn retry_delay_s(value: &Value) -> Option<u32> {
    let details = value.get("details")?.as_array()?;
    let delay = details.iter().find_map(|detail| detail.get("retryDelay")?.as_str())?;
    let seconds: f64 = delay.strip_suffix('s')?.parse().ok()?;
    (seconds.is_finite() && seconds > 0.0).then(|| seconds.ceil() as u32)
}

/// The text of the upstream behind the upstream: OpenRouter puts its response, as it came, into `metadata.raw`.
fn behind(raw: &Value) -> Option<String> {
    let text = raw.as_str()?;
    match serde_json::from_str::<Value>(text) {
        Ok(value) => Said::of(&value)?.message,
        Err(_) => {
            Some(text.chars().take(MAX_MESSAGE).collect::<String>()).filter(|text| !text.trim().is_empty())
        }
    }
}

/// The error document inside of a message: `OpenAIException - {"error": {…}}` (`LiteLLM`, one-api).
fn nested(message: &str) -> Option<Said> {
    let start = message.find('{')?;
    let mut values = serde_json::Deserializer::from_str(message.get(start..)?).into_iter::<Value>();
    let value = values.next()?.ok()?;
    (is_error(&value, false)).then(|| Said::of(&value)).flatten()
}
