//! The command line: parsing, and the request that follows from it.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use clap::Parser;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use hyper::{Method, Uri};

use crate::connection::Request;
use crate::response::Expected;

/// Send chat completion requests over HTTP/1.1 and print one JSON object of measurements.
///
/// Exit status 1: a response was wrong or incomplete; 2: wrong arguments.
#[derive(Debug, Parser)]
#[command(name = "load")]
pub(crate) struct Args {
    /// Target: http://ADDRESS:PORT/PATH
    #[arg(value_parser = url)]
    url: Uri,
    /// File with the JSON to post
    #[arg(long, value_name = "FILE", value_parser = body)]
    body: Bytes,
    /// Further header; may be repeated
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Expect streams of N events, [DONE] included, instead of whole completions
    #[arg(long, value_name = "N")]
    events: Option<usize>,
    /// Measure the delay of each event from the time in its `sent_us=`, in microseconds since 1970
    #[arg(long, requires = "events")]
    stamped: bool,
    /// Number of connections, each with one request at a time
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) connections: usize,
    /// Send requests for S seconds; those in flight at the end are read to their end
    #[arg(long, value_name = "S", default_value = "1", value_parser = seconds)]
    pub(crate) seconds: Duration,
    /// Send N requests instead
    #[arg(long, value_name = "N", conflicts_with = "seconds")]
    pub(crate) requests: Option<u64>,
    /// Open N streams instead, print {"open":N}, and read them until standard input is closed
    #[arg(long, value_name = "N", conflicts_with_all = ["connections", "seconds", "requests"])]
    pub(crate) hold: Option<usize>,
}

impl Args {
    /// The request that is sent each time.
    pub(crate) fn request(&self) -> Request {
        let mut message = hyper::Request::new(Full::new(self.body.clone()));
        *message.method_mut() = Method::POST;
        *message.uri_mut() = self.url.path_and_query().map_or_else(Uri::default, |path| path.clone().into());
        let address = self.url.authority().map_or_else(String::new, ToString::to_string);
        let headers = message.headers_mut();
        headers.extend(HeaderValue::from_str(&address).map(|host| (HOST, host)));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.extend(self.headers.iter().cloned());
        let expected = self.events.map_or(Expected::Completion, Expected::Events);
        Request { address, message, expected, stamped: self.stamped }
    }
}

fn url(text: &str) -> Result<Uri> {
    let url: Uri = text.parse()?;
    ensure!(url.scheme_str() == Some("http") && url.port().is_some(), "not http://ADDRESS:PORT/PATH");
    Ok(url)
}

fn body(path: &str) -> Result<Bytes> {
    Ok(std::fs::read(path)?.into())
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue)> {
    let (name, value) = text.split_once(':').context("no colon")?;
    Ok((name.trim().parse()?, value.trim().parse()?))
}

fn seconds(text: &str) -> Result<Duration> {
    Ok(Duration::try_from_secs_f64(text.parse()?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "http://127.0.0.1:80/v1/x?y";

    fn parse(args: &[&str]) -> Result<Args, clap::Error> {
        let body: &[&str] = if args.contains(&"--body") { &[] } else { &["--body", "/dev/null"] };
        Args::try_parse_from([&["load", URL], body, args].concat())
    }

    #[test]
    fn arguments_become_a_request() {
        let Request { address, message, expected, stamped: _ } =
            parse(&["--header", "a: b:c", "--events", "3"]).unwrap().request();
        assert_eq!((address.as_str(), expected), ("127.0.0.1:80", Expected::Events(3)));
        assert_eq!((message.method(), message.uri().to_string().as_str()), (&Method::POST, "/v1/x?y"));
        assert_eq!(
            (&message.headers()["host"], &message.headers()["a"]),
            (&"127.0.0.1:80".parse().unwrap(), &"b:c".parse().unwrap())
        );
    }

    #[test]
    fn seconds_may_have_a_fraction_and_default_to_one() {
        assert_eq!(parse(&[]).unwrap().seconds, Duration::from_secs(1));
        assert_eq!(parse(&["--seconds", "0.5"]).unwrap().seconds, Duration::from_millis(500));
    }

    #[test]
    fn wrong_arguments_are_named() {
        for (args, named) in [
            (&["--verbose"][..], "--verbose"),
            (&["--body", "/nowhere/at/all"], "/nowhere/at/all"),
            (&["--connections", "x"], "--connections"),
            (&["--seconds", "nan"], "--seconds"),
            (&["--header", "a: b\r\nc: d"], "--header"),
            (&["--requests", "1", "--seconds", "1"], "--seconds"),
        ] {
            let error = parse(args).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
        for url in ["127.0.0.1:80/v1/x", "https://127.0.0.1:80/v1/x", "http://127.0.0.1/v1/x"] {
            assert!(Args::try_parse_from(["load", url, "--body", "/dev/null"]).is_err(), "{url}");
        }
    }
}
