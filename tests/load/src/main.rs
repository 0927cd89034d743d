//! The `load` program: reads its arguments, loads or holds, and prints what came of it.
//! Does neither itself: `gatehouse_load` does.

use std::io::Write as _;
use std::process::ExitCode;

use gatehouse_load::args::{self, Command};
use gatehouse_load::{hold, load};

fn main() -> ExitCode {
    let command = match args::parse(std::env::args_os().skip(1)) {
        Ok(command) => command,
        Err(message) => {
            eprint!("load: {message}\n{}", args::USAGE);
            return ExitCode::from(2);
        }
    };
    match run(command) {
        Ok(code) => code,
        Err(message) => {
            eprintln!("load: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode, String> {
    // One thread: what is measured needs the other processors.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    match command {
        Command::Help => {
            std::io::stdout().write_all(args::USAGE.as_bytes()).map_err(|error| error.to_string())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Hold(request, streams) => {
            let held = runtime.block_on(hold::run(request, streams));
            // Not to wait for the thread that reads standard input.
            runtime.shutdown_background();
            held.map(|()| ExitCode::SUCCESS)
        }
        Command::Load(wanted) => {
            let report = runtime.block_on(load::run(wanted));
            let text = serde_json::to_string(&report).map_err(|error| error.to_string())?;
            writeln!(std::io::stdout(), "{text}").map_err(|error| error.to_string())?;
            Ok(if report.errors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}
