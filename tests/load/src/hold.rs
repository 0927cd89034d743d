//! Streams that are held open at the same time, so that the benchmark can read the memory of the target meanwhile.

use std::io::{self, Read as _, Write as _};
use std::rc::Rc;

use anyhow::{Context as _, Result, bail};
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, LocalSet, spawn_blocking};
use tokio::time::timeout;

use crate::connection::{Connection, Exchange, PATIENCE, Request};

/// The number of streams that are opened at a time: enough to be quick with a target whose first event is late, without
/// sending it all requests in one burst.
const OPENERS: usize = 256;

/// Opens `streams` streams, prints `{"open":N}` once each has had an event, and reads them until standard input ends.
/// An error: a stream that did not open, or that ended early.
pub(crate) async fn run(request: Request, streams: usize) -> Result<()> {
    LocalSet::new()
        .run_until(async {
            let mut held = open(Rc::new(request), streams).await?;
            writeln!(io::stdout(), "{{\"open\":{streams}}}")?;
            spawn_blocking(|| io::stdin().read_to_end(&mut Vec::new())).await??;
            if let Some(ended) = held.try_join_next() {
                ended??;
            }
            Ok(())
        })
        .await
}

/// Opens streams. The returned tasks read them, and end only with an error.
async fn open(request: Rc<Request>, streams: usize) -> Result<JoinSet<Result<()>>> {
    let openers = Rc::new(Semaphore::new(OPENERS));
    let mut opening = JoinSet::new();
    for _ in 0..streams {
        let (request, openers) = (Rc::clone(&request), Rc::clone(&openers));
        opening.spawn_local(async move {
            let _opener = openers.acquire().await?;
            timeout(PATIENCE, first_event(&request)).await.context("no first event in time")?
        });
    }
    let mut held = JoinSet::new();
    while let Some(stream) = opening.join_next().await {
        let (connection, exchange) = stream??;
        held.spawn_local(async move {
            let _connection = connection;
            exchange.finish().await.context("a stream was not held")?;
            bail!("a stream was not held: it ended")
        });
    }
    Ok(held)
}

async fn first_event(request: &Request) -> Result<(Connection, Exchange)> {
    let mut connection = Connection::reuse_or_open(None, &request.address).await?;
    let mut exchange = connection.send(request).await?;
    exchange.first_event().await?;
    Ok((connection, exchange))
}
