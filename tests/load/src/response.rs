//! The check that a response is complete: status 200, and either a completion or a stream with all its events.
//! The text of the model is not checked.

use anyhow::{Context as _, Result, ensure};
use hyper::StatusCode;
use serde::Deserialize;
use serde::de::IgnoredAny;

/// The response that a request must get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    /// A whole completion.
    Completion,
    /// A stream of this many events, `[DONE]` included.
    Events(usize),
}

#[derive(Deserialize)]
struct Completion {
    choices: Vec<IgnoredAny>,
}

/// Checks a response that has ended; returns the number of its events.
pub(crate) fn check(status: StatusCode, body: &[u8], expected: Expected) -> Result<usize> {
    if status != StatusCode::OK {
        let message: String = String::from_utf8_lossy(body).chars().take(300).collect();
        anyhow::bail!("status {}: {message}", status.as_u16());
    }
    match expected {
        Expected::Completion => {
            let completion: Completion = serde_json::from_slice(body).context("not a completion")?;
            ensure!(!completion.choices.is_empty(), "a completion without choices");
            Ok(0)
        }
        Expected::Events(expected) => {
            let (mut count, mut last) = (0, None);
            for data in events(body) {
                (count, last) = (count + 1, Some(data));
            }
            ensure!(count == expected, "{count} events instead of {expected}");
            ensure!(last == Some(b"[DONE]"), "a stream without [DONE]");
            Ok(count)
        }
    }
}

/// The last line of data of each server-sent event that has ended.
pub(crate) fn events(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut data = None;
    memchr::memchr_iter(b'\n', body)
        .scan(0, |from, to| body.get(std::mem::replace(from, to + 1)..to))
        .filter_map(move |line| {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.is_empty() {
                return data.take();
            }
            data = line.strip_prefix(b"data:").map(<[u8]>::trim_ascii_start).or(data);
            None
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(expected: Expected, status: u16, body: &str) -> String {
        let checked = check(StatusCode::from_u16(status).unwrap(), body.as_bytes(), expected);
        checked.map_or_else(|error| error.to_string(), |_| "complete".to_owned())
    }

    #[test]
    fn a_completion_is_json_with_choices() {
        for (status, body, expected) in [
            (200, r#"{"id":"x","choices":[{}]}"#, "complete"),
            (200, r#"{"id":"x","choices":[{}"#, "not a completion"),
            (200, "{}", "not a completion"),
            (200, r#"{"choices":[]}"#, "a completion without choices"),
            (429, "slow down", "status 429: slow down"),
        ] {
            assert_eq!(result(Expected::Completion, status, body), expected);
        }
    }

    #[test]
    fn a_stream_has_all_its_events_and_an_end() {
        let stream = "data: {}\n\ndata: [DONE]\n\n";
        for (events, status, body, expected) in [
            (2, 200, stream, "complete"),
            (3, 200, stream, "2 events instead of 3"),
            (1, 200, "data: {}\n\n", "a stream without [DONE]"),
            (1, 200, "data: [DONE] and so on\n\n", "a stream without [DONE]"),
            (2, 200, "data: [DONE]\n\ndata: more\n\n", "a stream without [DONE]"),
            (2, 503, "overloaded", "status 503: overloaded"),
        ] {
            assert_eq!(result(Expected::Events(events), status, body), expected);
        }
    }

    #[test]
    fn comments_are_not_events_and_lines_may_end_with_crlf() {
        for stream in [
            ": hello\n\ndata: {\"a\":1}\n\nevent: x\ndata: {}\n\ndata: [DONE]\n\n",
            "data:{\"a\":1}\r\n\r\n: hello\r\n\r\ndata: a\r\ndata: b\r\n\r\ndata: [DONE]\r\n\r\n",
        ] {
            assert_eq!(result(Expected::Events(3), 200, stream), "complete");
        }
    }

    #[test]
    fn an_event_counts_once_it_has_ended() {
        for (body, count) in [("", 0), ("data: a\n", 0), ("data: a\n\n", 1), ("data: a\n\ndata: b\n", 1)] {
            assert_eq!(events(body.as_bytes()).count(), count, "{body:?}");
        }
    }
}
