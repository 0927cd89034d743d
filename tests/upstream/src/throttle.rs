//! Paths that respond with 429 for a while, as requested by `POST /_throttle`. Does not respond: `control` and `route`
//! do.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::header::HeaderValue;
use serde::Deserialize;
use tokio::time::Instant;

use crate::simulate::HeaderText;

/// The body of `POST /_throttle`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    path: String,
    for_ms: u64,
    retry_after: Option<HeaderText>,
}

/// A path that is throttled.
struct Throttle {
    /// The beginning of the paths.
    path: String,
    until: Instant,
    /// The header `retry-after`.
    retry_after: Option<HeaderValue>,
}

/// The rejection of a throttled chat request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Throttled {
    /// The header `retry-after`.
    pub(crate) retry_after: Option<HeaderValue>,
}

/// All paths that are throttled.
#[derive(Default)]
pub(crate) struct Throttles(Mutex<Vec<Throttle>>);

impl Throttles {
    /// Throttles a path from now on, replacing an earlier throttle of the same path. The error names the mistake.
    pub(crate) fn add(&self, body: &[u8], now: Instant) -> Result<(), String> {
        let request: Request = serde_json::from_slice(body).map_err(|error| format!("throttle: {error}"))?;
        if !request.path.starts_with('/') {
            return Err("throttle: path must begin with a slash".to_owned());
        }
        let until = now
            .checked_add(Duration::from_millis(request.for_ms))
            .ok_or_else(|| "throttle: for_ms is too long".to_owned())?;
        let retry_after = request
            .retry_after
            .map(|after| HeaderValue::try_from(after.to_string()))
            .transpose()
            .map_err(|_| "throttle: retry_after cannot be a header value".to_owned())?;
        let mut throttles = self.lock();
        throttles.retain(|throttle| throttle.path != request.path && now < throttle.until);
        throttles.push(Throttle { path: request.path, until, retry_after });
        Ok(())
    }

    /// The throttle of a path, if any; the last one added takes precedence.
    pub(crate) fn find(&self, path: &str, now: Instant) -> Option<Throttled> {
        let throttles = self.lock();
        let throttle =
            throttles.iter().rfind(|throttle| path.starts_with(&throttle.path) && now < throttle.until)?;
        Some(Throttled { retry_after: throttle.retry_after.clone() })
    }

    /// Ends all throttles.
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
    fn an_invalid_request_is_rejected() {
        let (throttles, now) = (Throttles::default(), Instant::now());
        for (request, part) in [
            ("", "throttle: EOF"),
            ("{\"path\":\"/a\"}", "for_ms"),
            ("{\"path\":\"/a\",\"for_ms\":1,\"for\":1}", "`for`"),
            ("{\"path\":\"a\",\"for_ms\":1}", "slash"),
            ("{\"path\":\"/a\",\"for_ms\":1,\"retry_after\":\"\\n\"}", "header value"),
        ] {
            let message = throttles.add(request.as_bytes(), now).unwrap_err();
            assert!(message.contains(part), "{request}: {message}");
        }
        assert_eq!(throttles.find("/a", now), None);
    }
}
