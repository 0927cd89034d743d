//! Validates `gateway.toml` and converts it to the JSON that the Worker contains, so that an invalid setting fails the
//! build.

use std::{env, error::Error, fs, path::Path};

use gatehouse_core::config::Config;

fn main() {
    if let Err(error) = check() {
        eprintln!("{error}");
        std::process::exit(1);
    }
}

fn check() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=gateway.toml");
    let text = fs::read_to_string("gateway.toml").map_err(|error| format!("gateway.toml: {error}"))?;
    let config: Config = toml::from_str(&text).map_err(|error| format!("gateway.toml: {error}"))?;
    config.check().map_err(|error| format!("gateway.toml: {error}"))?;
    fs::write(Path::new(&env::var("OUT_DIR")?).join("gateway.json"), serde_json::to_string(&config)?)?;
    Ok(())
}
