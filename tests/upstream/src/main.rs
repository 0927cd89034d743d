//! The `upstream` program: starts the simulated provider and says where it listens.
//! Does not answer requests itself: `gatehouse_upstream` does.

use std::io::Write as _;
use std::process::ExitCode;

use gatehouse_upstream::args::{self, Command, Options};
use gatehouse_upstream::server::Server;
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    match args::parse(std::env::args_os().skip(1)) {
        Ok(Command::Help) => match std::io::stdout().write_all(args::USAGE.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Ok(Command::Serve(options)) => match serve(options) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("upstream: {error}");
                ExitCode::FAILURE
            }
        },
        Err(message) => {
            eprint!("upstream: {message}\n{}", args::USAGE);
            ExitCode::from(2)
        }
    }
}

fn serve(options: Options) -> std::io::Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        // Before the ready line: whoever reads it may send the signal at once.
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let server = Server::bind(options).await?;
        let mut out = std::io::stdout();
        writeln!(out, "listening on http://{}", server.address())?;
        out.flush()?;
        let stop = std::future::poll_fn(move |cx| {
            if terminate.poll_recv(cx).is_ready() || interrupt.poll_recv(cx).is_ready() {
                std::task::Poll::Ready(())
            } else {
                std::task::Poll::Pending
            }
        });
        server.run_until(stop).await;
        Ok(())
    })
}
