//! Which requests a fault is for: the `when` member of `simulate`, and how often each has been met.
//! Does not know the faults: `simulate` does.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde::Deserialize;

/// Headers that hold a bare credential.
const KEY_HEADERS: [&str; 2] = ["api-key", "x-api-key"];

/// Conditions; all that are given have to hold.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct When {
    /// How the path begins.
    path: Option<String>,
    /// The model, exactly.
    model: Option<String>,
    /// The credential, exactly.
    key: Option<String>,
    /// Only so many of the requests for which the others hold.
    times: Option<u64>,
    /// Under which name those are counted.
    id: Option<String>,
}

impl When {
    /// What is wrong, if this could never hold or would not mean what it seems to.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        let rules = [
            (
                self.path.as_ref().is_some_and(|path| !path.starts_with('/')),
                "when.path is the beginning of a path, which is a slash",
            ),
            (self.times == Some(0), "when.times is at least 1"),
            (
                self.times.is_some() && self.id.is_none(),
                "when.times needs when.id, under which it is counted",
            ),
            (self.id.is_some() && self.times.is_none(), "when.id needs when.times"),
        ];
        rules.into_iter().find(|(broken, _)| *broken).map(|(_, rule)| rule)
    }

    /// Whether a request meets the conditions. With `times`, a request that does is counted.
    pub(crate) fn is_met_by(&self, caller: &Caller<'_>, model: Option<&str>) -> bool {
        let given = |condition: &Option<String>, holds: &dyn Fn(&str) -> bool| {
            condition.as_ref().is_none_or(|text| holds(text))
        };
        given(&self.path, &|path| caller.path.starts_with(path))
            && given(&self.model, &|wanted| model == Some(wanted))
            && given(&self.key, &|key| caller.keys.contains(&key))
            // Last: only requests that meet everything else are counted.
            && match (self.times, &self.id) {
                (Some(times), Some(id)) => caller.times.take(id, times),
                _ => true,
            }
    }
}

/// What conditions look at besides the body.
pub(crate) struct Caller<'a> {
    path: &'a str,
    /// Bare credentials, as a request may carry several.
    keys: Vec<&'a str>,
    times: &'a Times,
}

impl<'a> Caller<'a> {
    /// Who asks, by the request's path and headers.
    pub(crate) fn new(path: &'a str, headers: &'a HeaderMap, times: &'a Times) -> Self {
        let text = |value: &'a HeaderValue| value.to_str().ok().map(str::trim);
        let bearer = headers.get_all(AUTHORIZATION).iter().filter_map(text).filter_map(|value| {
            let (scheme, key) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| key.trim_start())
        });
        let bare = KEY_HEADERS.into_iter().flat_map(|name| headers.get_all(name)).filter_map(text);
        Self { path, keys: bearer.chain(bare).collect(), times }
    }
}

/// How often each `when.id` has been met.
#[derive(Default)]
pub(crate) struct Times(Mutex<HashMap<String, u64>>);

impl Times {
    /// Counts one more, if these are not that many yet.
    fn take(&self, id: &str, most: u64) -> bool {
        let mut counts = self.lock();
        let count = counts.entry(id.to_owned()).or_default();
        let is_free = *count < most;
        *count += u64::from(is_free);
        is_free
    }

    /// Counts from 0.
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
    fn all_that_is_given_has_to_hold() {
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
            assert_eq!(when(conditions.clone()).is_met_by(&caller, Some("m")), met, "{conditions}");
        }
        assert!(!when(json!({"model": ""})).is_met_by(&caller, None));
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Basic sk-1"));
        assert!(!when(json!({"key": "sk-1"})).is_met_by(&Caller::new("/", &headers, &times), None));
    }

    #[test]
    fn only_what_meets_everything_else_is_counted() {
        let times = Times::default();
        let headers = HeaderMap::new();
        let ask = |path, id: &str| {
            when(json!({"path": "/a", "times": 2, "id": id}))
                .is_met_by(&Caller::new(path, &headers, &times), None)
        };
        assert_eq!(["/a", "/b", "/a", "/a"].map(|path| ask(path, "x")), [true, false, true, false]);
        assert!(ask("/a", "y"));
        times.clear();
        assert!(ask("/a", "x"));
    }

    #[test]
    fn what_could_not_hold_is_refused() {
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
