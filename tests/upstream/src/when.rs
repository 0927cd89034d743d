//! The `when` field of `simulate`: the requests that a fault applies to, and the number of requests that have met each
//! condition. Does not know the faults: `simulate` does.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde::Deserialize;

/// Headers with a bare credential.
const KEY_HEADERS: [&str; 2] = ["api-key", "x-api-key"];

/// Conditions; all that are given must hold.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct When {
    /// The beginning of the path.
    path: Option<String>,
    /// The model, exactly.
    model: Option<String>,
    /// The credential, exactly.
    key: Option<String>,
    /// True for a request for a stream, false for any other.
    stream: Option<bool>,
    /// The number of requests that may meet the other conditions.
    times: Option<u64>,
    /// The name under which those are counted.
    id: Option<String>,
}

impl When {
    /// The mistake in conditions that can never hold or are misleading.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        let rules = [
            (
                self.path.as_ref().is_some_and(|path| !path.starts_with('/')),
                "when.path must begin with a slash",
            ),
            (self.times == Some(0), "when.times must be at least 1"),
            (self.times.is_some() && self.id.is_none(), "when.times needs when.id, the name of its count"),
            (self.id.is_some() && self.times.is_none(), "when.id needs when.times"),
        ];
        rules.into_iter().find(|(broken, _)| *broken).map(|(_, rule)| rule)
    }

    /// The kind of response that the request must want; none: any.
    pub(crate) fn stream(&self) -> Option<bool> {
        self.stream
    }

    /// Tests a request against the conditions. With `times`, a request that meets them is counted.
    pub(crate) fn matches(&self, caller: &Caller<'_>, model: Option<&str>, stream: bool) -> bool {
        let given = |condition: &Option<String>, holds: &dyn Fn(&str) -> bool| {
            condition.as_ref().is_none_or(|text| holds(text))
        };
        given(&self.path, &|path| caller.path.starts_with(path))
            && given(&self.model, &|wanted| model == Some(wanted))
            && given(&self.key, &|key| caller.keys.contains(&key))
            && self.stream.is_none_or(|wanted| wanted == stream)
            // Last, so that only requests that meet all other conditions are counted.
            && match (self.times, &self.id) {
                (Some(times), Some(id)) => caller.times.take(id, times),
                _ => true,
            }
    }
}

/// The properties of a request, other than its body, that conditions test.
pub(crate) struct Caller<'a> {
    path: &'a str,
    /// Bare credentials; a request may have several.
    pub(crate) keys: Vec<&'a str>,
    pub(crate) headers: &'a HeaderMap,
    times: &'a Times,
}

impl<'a> Caller<'a> {
    /// Reads the path and the headers of a request.
    pub(crate) fn new(path: &'a str, headers: &'a HeaderMap, times: &'a Times) -> Self {
        let text = |value: &'a HeaderValue| value.to_str().ok().map(str::trim);
        let bearer = headers.get_all(AUTHORIZATION).iter().filter_map(text).filter_map(|value| {
            let (scheme, key) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| key.trim_start())
        });
        let bare = KEY_HEADERS.into_iter().flat_map(|name| headers.get_all(name)).filter_map(text);
        Self { path, keys: bearer.chain(bare).collect(), headers, times }
    }
}

/// The number of requests that have met each `when.id`.
#[derive(Default)]
pub(crate) struct Times(Mutex<HashMap<String, u64>>);

impl Times {
    /// Counts one more, unless the maximum is reached; true if it was counted.
    fn take(&self, id: &str, most: u64) -> bool {
        let mut counts = self.lock();
        let count = counts.entry(id.to_owned()).or_default();
        let is_free = *count < most;
        *count += u64::from(is_free);
        is_free
    }

    /// Restarts the counts.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn when(value: Value) -> When {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn all_given_conditions_must_hold() {
        let times = Times::default();
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_static("bearer  sk-1"));
        headers.insert("x-api-key", HeaderValue::from_static("sk-2"));
        let caller = Caller::new("/first/v1/chat/completions", &headers, &times);
        for (conditions, met) in [
            (json!({}), true),
            (json!({"path": "/first"}), true),
            (json!({"path": "/second"}), false),
            (json!({"path": "/first/v1/chat/completions/x"}), false),
            (json!({"model": "m"}), true),
            (json!({"model": "M"}), false),
            (json!({"model": ""}), false),
            (json!({"key": "sk-1"}), true),
            (json!({"key": "sk-2"}), true),
            (json!({"key": "sk-"}), false),
            (json!({"key": "bearer  sk-1"}), false),
            (json!({"path": "/first", "model": "m", "key": "sk-1"}), true),
            (json!({"path": "/first", "model": "m", "key": "sk-3"}), false),
        ] {
            assert_eq!(when(conditions.clone()).matches(&caller, Some("m"), true), met, "{conditions}");
        }
        assert!(!when(json!({"model": ""})).matches(&caller, None, false));
        assert!(when(json!({"stream": true})).matches(&caller, None, true));
        assert!(!when(json!({"stream": true})).matches(&caller, None, false));
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Basic sk-1"));
        assert!(!when(json!({"key": "sk-1"})).matches(&Caller::new("/", &headers, &times), None, false));
    }

    #[test]
    fn only_requests_that_meet_all_other_conditions_are_counted() {
        let times = Times::default();
        let headers = HeaderMap::new();
        let ask = |path, id: &str| {
            when(json!({"path": "/a", "times": 2, "id": id})).matches(
                &Caller::new(path, &headers, &times),
                None,
                false,
            )
        };
        assert_eq!(["/a", "/b", "/a", "/a"].map(|path| ask(path, "x")), [true, false, true, false]);
        assert!(ask("/a", "y"));
        times.clear();
        assert!(ask("/a", "x"));
    }

    #[test]
    fn impossible_conditions_are_rejected() {
        for (wrong, part) in [
            (json!({"path": "first"}), "slash"),
            (json!({"times": 1}), "when.id"),
            (json!({"id": "a"}), "when.times"),
            (json!({"id": "a", "times": 0}), "at least 1"),
        ] {
            assert!(when(wrong.clone()).fault().unwrap().contains(part), "{wrong}");
        }
        assert_eq!(when(json!({"path": "/", "times": 1, "id": ""})).fault(), None);
    }
}
