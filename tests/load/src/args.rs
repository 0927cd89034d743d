//! The command line. Does not start anything and does not print: `main` does.

use std::ffi::OsString;
use std::fs;

pub use crate::answer::Expected;

/// What `--help` prints.
pub const USAGE: &str = "usage: load URL --body FILE [options]

  --body FILE          what to post, with content-type application/json
  --header 'NAME: V'   a further header; may be given again
  --events N           the answer is a stream of N events, [DONE] included (default: a whole completion)
  --connections N      how many connections ask at once (default 1)
  --seconds S          for so long; what has begun by then is read to its end (default 1)
  --requests N         instead: so many requests
  --hold N             instead: opens N streams, says so, and reads them until standard input is closed

URL is http:// and an address, a port and a path; /dev/stdin is a file too. Prints one JSON object. Exit status 1: some
answer was wrong, or not whole; 2: wrong arguments.
";

/// A request, as it is sent each time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Address and port to connect to.
    pub address: String,
    /// The whole of it.
    pub bytes: Vec<u8>,
    /// What its answer has to be.
    pub expected: Expected,
}

/// When a load is over.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Until {
    /// After so long.
    Seconds(f64),
    /// After so many requests.
    Requests(u64),
}

/// A load.
#[derive(Debug, Clone, PartialEq)]
pub struct Load {
    /// What is asked again and again.
    pub request: Request,
    /// On how many connections at once.
    pub connections: usize,
    /// And until when.
    pub until: Until,
}

/// What the command line asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Load, and its figures.
    Load(Load),
    /// So many streams, held open.
    Hold(Request, usize),
    /// Print the usage and leave.
    Help,
}

/// Reads the arguments (without the program's name), and the file with the body.
///
/// # Errors
///
/// What is wrong with them, in one line for people.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, String> {
    let mut url = None;
    let mut body = None;
    let mut headers = String::new();
    let mut expected = Expected::Whole;
    let mut connections = 1;
    let mut until = Until::Seconds(1.0);
    let mut hold = None;
    let mut args =
        args.into_iter().map(|arg| arg.into_string().map_err(|arg| format!("{} is no text", arg.display())));
    while let Some(arg) = args.next() {
        let arg = arg?;
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"))?;
        match arg.as_str() {
            "--help" | "-h" => return Ok(Command::Help),
            "--body" => {
                let path = value()?;
                body = Some(fs::read(&path).map_err(|error| format!("{path}: {error}"))?);
            }
            "--header" => headers.push_str(&header(&value()?)?),
            "--events" => expected = Expected::Events(number(&arg, &value()?)?),
            "--connections" => connections = number(&arg, &value()?)?,
            "--seconds" => until = Until::Seconds(seconds(&value()?)?),
            "--requests" => until = Until::Requests(number(&arg, &value()?)?),
            "--hold" => hold = Some(number(&arg, &value()?)?),
            _ if url.is_none() && arg.starts_with("http://") => url = Some(arg),
            _ => return Err(format!("unknown argument {arg}")),
        }
    }
    let url = url.ok_or("a URL is needed")?;
    let body = body.ok_or("--body is needed")?;
    let request = request(&url, &headers, &body, expected)?;
    Ok(match hold {
        Some(streams) => Command::Hold(request, streams),
        None => Command::Load(Load { request, connections, until }),
    })
}

fn request(url: &str, headers: &str, body: &[u8], expected: Expected) -> Result<Request, String> {
    let rest = url.strip_prefix("http://").unwrap_or(url);
    let (address, path) = rest.split_once('/').ok_or_else(|| format!("{url} has no path"))?;
    let mut bytes = format!(
        "POST /{path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n{headers}content-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    Ok(Request { address: address.to_owned(), bytes, expected })
}

fn header(text: &str) -> Result<String, String> {
    let is_header = text.contains(':') && !text.contains(['\r', '\n']);
    if is_header { Ok(format!("{text}\r\n")) } else { Err(format!("{text} is no header")) }
}

fn number<N: std::str::FromStr>(name: &str, value: &str) -> Result<N, String> {
    value.parse().map_err(|_| format!("{name}: {value} is not a number in its range"))
}

fn seconds(value: &str) -> Result<f64, String> {
    let seconds: f64 = number("--seconds", value)?;
    let is_time = seconds.is_finite() && (0.0..=3600.0).contains(&seconds);
    if is_time { Ok(seconds) } else { Err(format!("--seconds: {value} is not between 0 and 3600")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &[&str]) -> Result<Command, String> {
        parse(args.iter().map(OsString::from))
    }

    const URL: &str = "http://127.0.0.1:80/v1/x";

    #[test]
    fn a_request_is_written_as_it_is_sent() {
        let all = read(&[URL, "--body", "/dev/null", "--header", "a: b", "--events", "3", "--requests", "7"]);
        let request = Request {
            address: "127.0.0.1:80".to_owned(),
            bytes: b"POST /v1/x HTTP/1.1\r\nhost: 127.0.0.1:80\r\ncontent-type: application/json\r\na: b\r\ncontent-length: 0\r\n\r\n".to_vec(),
            expected: Expected::Events(3),
        };
        assert_eq!(all, Ok(Command::Load(Load { request, connections: 1, until: Until::Requests(7) })));
        assert!(matches!(read(&[URL, "--body", "/dev/null", "--hold", "5"]), Ok(Command::Hold(_, 5))));
        assert_eq!(read(&["--help"]), Ok(Command::Help));
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (args, error) in [
            (&[][..], "a URL is needed"),
            (&[URL], "--body is needed"),
            (&["http://127.0.0.1:80", "--body", "/dev/null"], "no path"),
            (&[URL, "--body", "/nowhere/at/all"], "/nowhere/at/all"),
            (&[URL, "--body"], "needs a value"),
            (&[URL, "--verbose"], "--verbose"),
            (&[URL, "--connections", "-1"], "-1"),
            (&[URL, "--seconds", "nan"], "nan"),
            (&[URL, "--header", "a: b\r\nc: d"], "no header"),
        ] {
            let said = read(args).unwrap_err();
            assert!(said.contains(error), "{said}");
        }
    }
}
