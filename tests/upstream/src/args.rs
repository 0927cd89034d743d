//! The command line: two options, nothing else.
//! Does not start anything and does not print: `main` does.

use std::ffi::OsString;

/// How requests are remembered when the command line does not say.
pub const DEFAULT_RECORD: usize = 1000;

/// What `--help` prints.
pub const USAGE: &str = "usage: upstream [--port N] [--record N]

  --port N     port on 127.0.0.1 to listen on (default 0: any free port)
  --record N   how many requests to remember for GET /_requests (default 1000, 0: none)
";

/// What the server is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Port on 127.0.0.1; 0 lets the system choose.
    pub port: u16,
    /// How many requests are remembered; 0 remembers none.
    pub record: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { port: 0, record: DEFAULT_RECORD }
    }
}

/// What the command line asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Serve with these options.
    Serve(Options),
    /// Print the usage and leave.
    Help,
}

/// Reads the arguments (without the program's name).
///
/// # Errors
///
/// An unknown argument, or a missing or wrong number, in one line for people.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, String> {
    let mut options = Options::default();
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        match arg.to_str() {
            Some("--port") => options.port = number("--port", args.next())?,
            Some("--record") => options.record = number("--record", args.next())?,
            Some("--help" | "-h") => return Ok(Command::Help),
            _ => return Err(format!("unknown argument {}", arg.display())),
        }
    }
    Ok(Command::Serve(options))
}

fn number<N: std::str::FromStr>(name: &str, value: Option<OsString>) -> Result<N, String> {
    let value = value.ok_or_else(|| format!("{name} needs a number"))?;
    value
        .to_str()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| format!("{name}: {} is not a number in its range", value.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &[&str]) -> Result<Command, String> {
        parse(args.iter().map(OsString::from))
    }

    #[test]
    fn options_are_read_and_the_rest_refused() {
        assert_eq!(read(&[]), Ok(Command::Serve(Options { port: 0, record: 1000 })));
        assert_eq!(
            read(&["--record", "0", "--port", "8080"]),
            Ok(Command::Serve(Options { port: 8080, record: 0 }))
        );
        assert!(read(&["--verbose"]).unwrap_err().contains("--verbose"));
        assert!(read(&["--port"]).unwrap_err().contains("needs a number"));
        assert!(read(&["--port", "70000"]).unwrap_err().contains("70000"));
        assert!(read(&["--record", "-1"]).unwrap_err().contains("-1"));
    }
}
