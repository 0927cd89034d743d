//! Paths that answer 429 for a while: what `POST /_throttle` asks for.
//! Does not answer: `control` and `route` do.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::header::HeaderValue;
use serde::Deserialize;
use tokio::time::Instant;

use crate::simulate::Word;

/// The body of `POST /_throttle`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    path: String,
    for_ms: u64,
    retry_after: Option<Word>,
}

/// A path that is throttled.
struct Throttle {
    /// How the paths begin.
    path: String,
    until: Instant,
    /// The header `retry-after`.
    retry_after: Option<HeaderValue>,
}

/// A chat request is to be refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Throttled {
    /// The header `retry-after`.
    pub(crate) retry_after: Option<HeaderValue>,
}

/// All paths that are throttled.
#[derive(Default)]
pub(crate) struct Throttles(Mutex<Vec<Throttle>>);

impl Throttles {
    /// Throttles a path from now on, instead of what was said of the same path before. The error says what is wrong.
    pub(crate) fn add(&self, body: &[u8], now: Instant) -> Result<(), String> {
        let wish: Wish = serde_json::from_slice(body).map_err(|error| format!("throttle: {error}"))?;
        if !wish.path.starts_with('/') {
            return Err("throttle: path is the beginning of a path, which is a slash".to_owned());
        }
        let until = now
            .checked_add(Duration::from_millis(wish.for_ms))
            .ok_or_else(|| "throttle: for_ms is too long".to_owned())?;
        let retry_after = wish
            .retry_after
            .map(|after| HeaderValue::try_from(after.to_string()))
            .transpose()
            .map_err(|_| "throttle: retry_after cannot be a header value".to_owned())?;
        let mut throttles = self.lock();
        throttles.retain(|throttle| throttle.path != wish.path && now < throttle.until);
        throttles.push(Throttle { path: wish.path, until, retry_after });
        Ok(())
    }

    /// Whether a path is throttled. What was asked for last goes first.
    pub(crate) fn find(&self, path: &str, now: Instant) -> Option<Throttled> {
        let throttles = self.lock();
        let throttle =
            throttles.iter().rfind(|throttle| path.starts_with(&throttle.path) && now < throttle.until)?;
        Some(Throttled { retry_after: throttle.retry_after.clone() })
    }

    /// Ends all.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Throttle>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_throttle_ends_by_itself() {
        let (throttles, now) = (Throttles::default(), Instant::now());
        let at = |path, ms| {
            throttles
                .find(path, now + Duration::from_millis(ms))
                .map(|found| found.retry_after.map(|after| after.to_str().unwrap().to_owned()))
        };
        throttles.add(b"{\"path\":\"/a\",\"for_ms\":100,\"retry_after\":\"3\"}", now).unwrap();
        throttles.add(b"{\"path\":\"/a/b\",\"for_ms\":50}", now).unwrap();
        assert_eq!(at("/a/x", 99), Some(Some("3".to_owned())));
        assert_eq!((at("/a/x", 100), at("/", 0), at("/a/b", 49)), (None, None, Some(None)));
        assert_eq!(at("/a/b", 50), Some(Some("3".to_owned())));
        throttles.add(b"{\"path\":\"/a\",\"for_ms\":10,\"retry_after\":4}", now).unwrap();
        assert_eq!((at("/a", 9), at("/a", 10)), (Some(Some("4".to_owned())), None));
        throttles.clear();
        assert_eq!(at("/a", 0), None);
    }

    #[test]
    fn a_wrong_wish_is_refused() {
        let (throttles, now) = (Throttles::default(), Instant::now());
        for (wish, part) in [
            ("", "throttle: EOF"),
            ("{\"path\":\"/a\"}", "for_ms"),
            ("{\"path\":\"/a\",\"for_ms\":1,\"for\":1}", "`for`"),
            ("{\"path\":\"a\",\"for_ms\":1}", "slash"),
            ("{\"path\":\"/a\",\"for_ms\":1,\"retry_after\":\"\\n\"}", "header value"),
        ] {
            let message = throttles.add(wish.as_bytes(), now).unwrap_err();
            assert!(message.contains(part), "{wish}: {message}");
        }
        assert_eq!(throttles.find("/a", now), None);
    }
}
