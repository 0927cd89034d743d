//! Whether an answer is what was asked for: 200, and a whole completion or a stream with all its events.
//! Does not check what the model says.

use memchr::memmem;

use crate::events::Events;

/// What an answer has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// A completion in one piece.
    Whole,
    /// A stream of so many events, `[DONE]` included.
    Events(u64),
}

/// What has come of the body.
#[derive(Debug)]
pub(crate) enum Answer {
    Whole(Vec<u8>),
    Stream { events: Events, expected: u64 },
}

impl Answer {
    pub(crate) fn new(expected: Expected) -> Self {
        match expected {
            Expected::Whole => Self::Whole(Vec::new()),
            Expected::Events(expected) => Self::Stream { events: Events::default(), expected },
        }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        match self {
            Self::Whole(body) => body.extend_from_slice(bytes),
            Self::Stream { events, .. } => events.push(bytes),
        }
    }

    /// How many events have come; 0 for a whole answer.
    pub(crate) fn events(&self) -> u64 {
        match self {
            Self::Whole(_) => 0,
            Self::Stream { events, .. } => events.count,
        }
    }

    /// What is wrong with it, now that it has ended.
    pub(crate) fn check(&self, status: u16) -> Result<(), String> {
        if status != 200 {
            let said = match self {
                Self::Whole(body) => String::from_utf8_lossy(body.get(..300).unwrap_or(body)).into_owned(),
                Self::Stream { .. } => String::new(),
            };
            return Err(format!("status {status}: {said}"));
        }
        match self {
            Self::Whole(body) => {
                let is_completion = body.ends_with(b"}") && memmem::find(body, b"\"choices\":[").is_some();
                if is_completion { Ok(()) } else { Err("a body that is no completion".to_owned()) }
            }
            Self::Stream { events, expected } if events.count != *expected => {
                Err(format!("{} events where {expected} were expected", events.count))
            }
            Self::Stream { events, .. } if !events.is_done => Err("a stream without [DONE]".to_owned()),
            Self::Stream { .. } => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(expected: Expected, status: u16, body: &str) -> Result<(), String> {
        let mut answer = Answer::new(expected);
        answer.push(body.as_bytes());
        answer.check(status)
    }

    #[test]
    fn completions_pass_and_the_rest_is_told() {
        assert_eq!(checked(Expected::Whole, 200, r#"{"id":"x","choices":[{}]}"#), Ok(()));
        assert!(
            checked(Expected::Whole, 200, r#"{"id":"x","choices":[{"#).unwrap_err().contains("no completion")
        );
        assert!(checked(Expected::Whole, 200, "{}").is_err());
        assert_eq!(checked(Expected::Whole, 429, "slow down"), Err("status 429: slow down".to_owned()));
    }

    #[test]
    fn streams_have_all_their_events_and_an_end() {
        let stream = "data: {}\n\ndata: [DONE]\n\n";
        assert_eq!(checked(Expected::Events(2), 200, stream), Ok(()));
        assert!(checked(Expected::Events(3), 200, stream).unwrap_err().contains("2 events where 3"));
        assert!(checked(Expected::Events(1), 200, "data: {}\n\n").unwrap_err().contains("[DONE]"));
        assert!(checked(Expected::Events(2), 503, "").unwrap_err().contains("503"));
    }
}
