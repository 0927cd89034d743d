//! Load: each connection asks, reads the whole answer, and asks again, until the time is up or all has been asked.
//! Does not keep to a rate: it shows how fast the asked one is, not how it fares at less.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use tokio::task::LocalSet;
use tokio::time::{Instant, timeout};

use crate::args::{Load, Until};
use crate::connection::{Connection, PATIENCE};
use crate::figures::{Report, Sample};

/// After so many errors there is nothing left to measure.
const MAX_ERRORS: usize = 20;

/// What the connections share.
struct Shared {
    load: Load,
    end: Option<Instant>,
    left: Cell<u64>,
    samples: RefCell<Vec<Sample>>,
    errors: RefCell<Vec<String>>,
}

impl Shared {
    /// Whether there is one more to ask; counts it.
    fn next(&self) -> bool {
        let left = self.left.get();
        self.left.set(left.saturating_sub(1));
        left > 0 && self.end.is_none_or(|end| Instant::now() < end) && self.errors.borrow().len() < MAX_ERRORS
    }
}

/// Runs a load to its end.
pub async fn run(load: Load) -> Report {
    let begun = Instant::now();
    let (end, left) = match load.until {
        Until::Seconds(seconds) => (Some(begun + Duration::from_secs_f64(seconds)), u64::MAX),
        Until::Requests(requests) => (None, requests),
    };
    let connections = load.connections;
    let shared = Rc::new(Shared {
        load,
        end,
        left: Cell::new(left),
        samples: RefCell::default(),
        errors: RefCell::default(),
    });
    let local = LocalSet::new();
    for _ in 0..connections {
        local.spawn_local(work(Rc::clone(&shared)));
    }
    // Done once all of the connections are.
    local.await;
    Report::of(&shared.samples.borrow(), &shared.errors.borrow(), begun.elapsed())
}

async fn work(shared: Rc<Shared>) {
    let mut kept = None;
    while shared.next() {
        let outcome = timeout(PATIENCE, exchange(&shared.load, kept.take())).await;
        match outcome.unwrap_or_else(|_| Err("no whole answer in time".to_owned())) {
            Ok((connection, sample)) => {
                kept = connection;
                shared.samples.borrow_mut().push(sample);
            }
            Err(error) => shared.errors.borrow_mut().push(error),
        }
    }
}

/// One request and its answer, on a connection that was kept or else on a new one; and that connection, if it can be kept.
async fn exchange(load: &Load, kept: Option<Connection>) -> Result<(Option<Connection>, Sample), String> {
    let mut connection = match kept {
        Some(connection) => connection,
        None => Connection::open(&load.request.address).await?,
    };
    let mut exchange = connection.begin(&load.request.bytes, load.request.expected).await?;
    connection.finish(&mut exchange).await?;
    let sample = exchange.sample()?;
    Ok((exchange.keeps().then_some(connection), sample))
}
