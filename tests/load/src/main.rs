//! A load generator for `scripts/bench`: chat completions over HTTP/1.1 on loopback, with persistent connections, every
//! response checked for being whole. Prints its own measurements; the benchmark reads the CPU time and the memory of the
//! target. No TLS, HTTP/2 or redirects.

mod args;
mod connection;
mod figures;
mod hold;
mod load;
mod response;

use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser as _;

use crate::args::Args;

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    // One thread: the target needs the other processors.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if let Some(streams) = args.hold {
        let held = runtime.block_on(hold::run(args.request(), streams));
        // Do not wait for the thread that reads standard input.
        runtime.shutdown_background();
        return held.map(|()| ExitCode::SUCCESS);
    }
    let report = runtime.block_on(load::run(&args));
    writeln!(io::stdout(), "{}", serde_json::to_string(&report)?)?;
    Ok(if report.errors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
