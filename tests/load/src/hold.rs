//! Streams that are open at once, and stay open: for reading, meanwhile, how much memory they take.
//! Does not measure that memory, and no times.

use std::cell::{Cell, RefCell};
use std::io::{self, Read as _, Write as _};
use std::rc::Rc;

use tokio::task::{LocalSet, spawn_blocking, spawn_local};
use tokio::time::timeout;

use crate::args::Request;
use crate::connection::{Connection, PATIENCE};

/// How many are opened at once: enough that it does not take long where the first event is late, and not so many that what
/// is asked meets all of them in one burst.
const OPENERS: usize = 256;

/// Opens so many streams, prints `{"open":N}` once each has had an event, and reads on until standard input ends.
///
/// # Errors
///
/// A stream that could not be opened, or one that ended before.
pub async fn run(request: Request, streams: usize) -> Result<(), String> {
    let request = Rc::new(request);
    let lost: Rc<RefCell<Option<String>>> = Rc::default();
    let left = Rc::new(Cell::new(streams));
    LocalSet::new()
        .run_until(async {
            let openers: Vec<_> = (0..OPENERS)
                .map(|_| spawn_local(open(Rc::clone(&request), Rc::clone(&left), Rc::clone(&lost))))
                .collect();
            for opener in openers {
                opener.await.map_err(|error| error.to_string())??;
            }
            say(streams).map_err(|error| error.to_string())?;
            // Whoever started this closes it, or ends, and then it is closed too.
            let stop = spawn_blocking(|| io::stdin().read_to_end(&mut Vec::new()));
            stop.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
            lost.take().map_or(Ok(()), Err)
        })
        .await
}

fn say(streams: usize) -> io::Result<()> {
    let mut out = io::stdout();
    writeln!(out, "{{\"open\":{streams}}}")?;
    out.flush()
}

/// Opens one stream after the other while any are left to open; each is read on by a task of its own.
async fn open(
    request: Rc<Request>,
    left: Rc<Cell<usize>>,
    lost: Rc<RefCell<Option<String>>>,
) -> Result<(), String> {
    while let Some(rest) = left.get().checked_sub(1) {
        left.set(rest);
        let mut connection = Connection::open(&request.address).await?;
        let mut exchange = connection.begin(&request.bytes, request.expected).await?;
        let first = timeout(PATIENCE, connection.first_event(&mut exchange)).await;
        first.map_err(|_| "no first event in time")??;
        let lost = Rc::clone(&lost);
        spawn_local(async move {
            let ended = connection.finish(&mut exchange).await;
            let why = ended.err().unwrap_or_else(|| "it came to its end".to_owned());
            lost.replace(Some(format!("a stream was not held: {why}")));
        });
    }
    Ok(())
}
