//! The `upstream` program: starts the simulated provider, prints its address, and stops on SIGTERM or SIGINT.

use std::io::Write as _;

use clap::Parser as _;
use gatehouse_upstream::args::Options;
use gatehouse_upstream::server::Server;
use tokio::signal::unix::{SignalKind, signal};

fn main() -> std::io::Result<()> {
    let options = Options::parse();
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        // Before the ready line, because its reader may send a signal at once.
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
