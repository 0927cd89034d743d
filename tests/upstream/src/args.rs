//! The command line.

use clap::Parser;

/// Simulate an LLM provider on 127.0.0.1.
#[derive(Debug, Clone, Parser)]
#[command(name = "upstream")]
pub struct Options {
    /// Port to listen on; 0: any free port
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub port: u16,
    /// Number of requests to remember for GET /_requests
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub record: usize,
    /// The key that requests to …/messages must have; none: any or none
    #[arg(long, value_name = "KEY")]
    pub messages_key: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_have_defaults_and_ranges() {
        let parse = |args: &[&str]| Options::try_parse_from([&["upstream"], args].concat());
        let options = parse(&[]).unwrap();
        assert_eq!((options.port, options.record, options.messages_key), (0, 1000, None));
        let options = parse(&["--record", "0", "--port", "8080"]).unwrap();
        assert_eq!((options.port, options.record), (8080, 0));
        assert!(parse(&["--port", "70000"]).unwrap_err().to_string().contains("70000"));
        assert!(parse(&["--record", "-1"]).unwrap_err().to_string().contains("-1"));
    }
}
