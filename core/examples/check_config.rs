//! Validates a file as the build validates `gateway.toml`, in seconds instead of a build:
//!
//! ```text
//! cargo run --quiet -p gatehouse-core --example check_config gateway.toml
//! ```
//!
//! It does not know the secrets and variables of a deployment.

use std::error::Error;
use std::{env, fs, process};

use gatehouse_core::config::Config;

fn main() {
    for path in env::args().skip(1) {
        if let Err(error) = check(&path) {
            eprintln!("{path}: {error}");
            process::exit(1);
        }
    }
}

fn check(path: &str) -> Result<(), Box<dyn Error>> {
    let config: Config = toml::from_str(&fs::read_to_string(path)?)?;
    Ok(config.check()?)
}
