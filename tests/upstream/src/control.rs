//! The control routes: `/_requests`, `/_stats` and `/_health` to inspect, `/_throttle` to throttle. Requests to them
//! are neither recorded nor counted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::faults::Wire;
use crate::provider::Provider;
use crate::record::{Entry, Received, Recorder, Totals};
use crate::response::Response;

/// A client may ask about a response as soon as it has read it, before the task that wrote it has recorded the end.
/// While there are such responses, wait for a millisecond up to this many times.
const MAX_WAITS: usize = 100;

/// Responds to a control request.
pub(crate) async fn respond(provider: &Provider, request: &Parts, body: &[u8]) -> Response {
    let recorder = &provider.recorder;
    match (&request.method, request.uri.path()) {
        (&Method::GET, "/_health") => Response::json(StatusCode::OK, "{\"status\":\"ok\"}"),
        (&Method::GET, "/_stats") => {
            settle(recorder).await;
            Response::json(StatusCode::OK, stats(&recorder.totals()).to_string())
        }
        (&Method::GET, "/_requests") => {
            settle(recorder).await;
            match last(request.uri.query().unwrap_or("")) {
                Ok(last) => {
                    let entries = recorder.entries();
                    let skip = last.map_or(0, |last| entries.len().saturating_sub(last));
                    let described = entries.iter().skip(skip).map(|entry| describe(entry)).collect();
                    Response::json(StatusCode::OK, Value::Array(described).to_string())
                }
                Err(message) => error(StatusCode::BAD_REQUEST, &message, Some("last")),
            }
        }
        (&Method::DELETE, "/_requests") => {
            provider.clear();
            Response::json(StatusCode::OK, "{\"deleted\":true}")
        }
        (&Method::POST, "/_throttle") => match provider.throttles.add(body, Instant::now()) {
            Ok(()) => Response::json(StatusCode::OK, "{\"throttled\":true}"),
            Err(message) => error(StatusCode::BAD_REQUEST, &message, None),
        },
        (&Method::DELETE, "/_throttle") => {
            provider.throttles.clear();
            Response::json(StatusCode::OK, "{\"deleted\":true}")
        }
        (&Method::GET, path) => {
            settle(recorder).await;
            let n: Option<u64> = path.strip_prefix("/_requests/").and_then(|n| n.parse().ok());
            match recorder.entries().iter().find(|entry| Some(entry.n) == n) {
                Some(entry) => Response::json(StatusCode::OK, describe(entry).to_string()),
                None => error(StatusCode::NOT_FOUND, "No such request is recorded.", None),
            }
        }
        _ => error(StatusCode::METHOD_NOT_ALLOWED, "Control routes do not accept this method.", None),
    }
}

/// An error of a control route, none of which belongs to a request of the API.
fn error(status: StatusCode, message: &str, param: Option<&str>) -> Response {
    Response::error(Wire::Openai, 0, status, message, param)
}

async fn settle(recorder: &Recorder) {
    for _ in 0..MAX_WAITS {
        if recorder.totals().leaving.load(Ordering::Acquire) == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn last(query: &str) -> Result<Option<usize>, String> {
    if query.is_empty() {
        return Ok(None);
    }
    query
        .strip_prefix("last=")
        .and_then(|last| last.parse().ok())
        .map(Some)
        .ok_or_else(|| format!("The query must be last=N, not {query:?}."))
}

fn stats(totals: &Totals) -> Value {
    let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
    // Read the ended ones first, so that a response that ends in between cannot make the difference negative.
    let (completed, cancelled, cut) = (get(&totals.completed), get(&totals.cancelled), get(&totals.cut));
    let requests = get(&totals.requests);
    json!({
        "requests": requests,
        "completed": completed,
        "cancelled": cancelled,
        "cut": cut,
        "prompt_tokens": get(&totals.prompt_tokens),
        "completion_tokens": get(&totals.completion_tokens),
        "billed_prompt": get(&totals.billed_prompt),
        "billed_cached": get(&totals.billed_cached),
        "billed_written": get(&totals.billed_written),
        "billed_written_1h": get(&totals.billed_written_1h),
        "billed_completion": get(&totals.billed_completion),
        "open": requests.saturating_sub(completed + cancelled + cut),
    })
}

fn describe(entry: &Entry) -> Value {
    let state = entry.state();
    let nothing = ("", "", Map::new(), &[][..]);
    let (method, path, headers, body) = entry.received.as_ref().map_or(nothing, |received| {
        (received.method.as_str(), received.path.as_str(), headers(received), received.body())
    });
    json!({
        "n": entry.n,
        "method": method,
        "path": path,
        "headers": headers,
        "body_text": std::str::from_utf8(body).ok(),
        "body_base64": STANDARD.encode(body),
        "bytes": body.len(),
        "outcome": state.outcome.name(),
        "events_sent": state.events_sent,
        "prompt_tokens": state.prompt_tokens,
        "completion_tokens": state.completion_tokens,
    })
}

/// The headers as an object; the values of a repeated header are joined with a comma.
fn headers(received: &Received) -> Map<String, Value> {
    let mut map = Map::new();
    for (name, value) in received.headers.lines().filter_map(|line| line.split_once(": ")) {
        let joined = match map.get(name).and_then(Value::as_str) {
            Some(earlier) => format!("{earlier}, {value}"),
            None => value.to_owned(),
        };
        map.insert(name.to_owned(), joined.into());
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_known_query_is_read() {
        assert_eq!(last(""), Ok(None));
        assert_eq!(last("last=3"), Ok(Some(3)));
        assert!(last("lst=3").is_err());
    }
}
