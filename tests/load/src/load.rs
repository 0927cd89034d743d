//! A closed-loop load: each connection sends a request, reads the whole response, and sends the next one.
//! Measures the highest rate of the target; there is no fixed rate.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use anyhow::{Context as _, Result};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, timeout};

use crate::args::Args;
use crate::connection::{Connection, PATIENCE, Request};
use crate::figures::{Report, Sample};

/// The number of errors that ends a load early.
const MAX_ERRORS: usize = 20;

/// The state shared by all connections.
struct Shared {
    request: Request,
    end: Option<Instant>,
    left: Cell<u64>,
    samples: RefCell<Vec<Sample>>,
    errors: RefCell<Vec<String>>,
}

impl Shared {
    /// Takes one of the requests that are left, if any.
    fn take(&self) -> bool {
        let left = self.left.get();
        self.left.set(left.saturating_sub(1));
        left > 0 && self.end.is_none_or(|end| Instant::now() < end) && self.errors.borrow().len() < MAX_ERRORS
    }
}

/// Runs a load to its end.
pub(crate) async fn run(args: &Args) -> Report {
    let started = Instant::now();
    let shared = Rc::new(Shared {
        request: args.request(),
        end: if args.requests.is_none() { started.checked_add(args.seconds) } else { None },
        left: Cell::new(args.requests.unwrap_or(u64::MAX)),
        samples: RefCell::default(),
        errors: RefCell::default(),
    });
    LocalSet::new()
        .run_until(async {
            let mut workers = JoinSet::new();
            for _ in 0..args.connections {
                workers.spawn_local(work(Rc::clone(&shared)));
            }
            workers.join_all().await;
        })
        .await;
    Report::new(&shared.samples.borrow(), &shared.errors.borrow(), started.elapsed())
}

async fn work(shared: Rc<Shared>) {
    let mut kept = None;
    while shared.take() {
        let result = timeout(PATIENCE, exchange(&shared.request, kept.take())).await;
        match result.context("no whole response in time").flatten() {
            Ok((connection, sample)) => {
                kept = Some(connection);
                shared.samples.borrow_mut().push(sample);
            }
            Err(error) => shared.errors.borrow_mut().push(format!("{error:#}")),
        }
    }
}

async fn exchange(request: &Request, kept: Option<Connection>) -> Result<(Connection, Sample)> {
    let mut connection = Connection::reuse_or_open(kept, &request.address).await?;
    let sample = connection.send(request).await?.finish().await?;
    Ok((connection, sample))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use clap::Parser as _;

    use super::*;

    const COMPLETION: &str = "HTTP/1.1 200 OK\r\ncontent-length: 16\r\n\r\n{\"choices\":[{}]}";
    const STREAM: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
        8\r\ndata: {}\r\n10\r\n\n\ndata: [DONE]\n\n\r\n0\r\n\r\n";

    fn serve(mut stream: TcpStream, response: &str, closes: bool) {
        let (mut head, mut byte) = (Vec::new(), [0]);
        while let Ok(1) = stream.read(&mut byte) {
            head.push(byte[0]);
            if head.ends_with(b"\r\n\r\n") {
                head.clear();
                if stream.write_all(response.as_bytes()).is_err() || closes {
                    return;
                }
            }
        }
    }

    /// Sends three requests, one after the other, to a server that sends `response` to each, and then closes the
    /// connection if `closes`. Returns the report and the number of connections.
    fn load(response: &'static str, closes: bool, args: &[&str]) -> (Report, usize) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let connections = Arc::new(AtomicUsize::new(0));
        let opened = Arc::clone(&connections);
        thread::spawn(move || {
            for stream in listener.incoming() {
                opened.fetch_add(1, Ordering::SeqCst);
                thread::spawn(move || serve(stream.unwrap(), response, closes));
            }
        });
        let args = [&["load", &url, "--body", "/dev/null", "--requests", "3"], args].concat();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let report = runtime.block_on(run(&Args::parse_from(args)));
        (report, connections.load(Ordering::SeqCst))
    }

    #[test]
    fn requests_share_one_connection() {
        let (report, connections) = load(COMPLETION, false, &[]);
        assert_eq!((report.requests, report.errors, report.bytes, connections), (3, 0, 48, 1));
        let (report, connections) = load(STREAM, false, &["--events", "2"]);
        assert_eq!((report.requests, report.errors, report.events, connections), (3, 0, 6, 1));
        assert!(report.first_event_us.is_some());
    }

    #[test]
    fn a_closed_connection_is_replaced() {
        let close = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 16\r\n\r\n{\"choices\":[{}]}";
        let (report, connections) = load(close, true, &[]);
        assert_eq!((report.requests, report.errors, connections), (3, 0, 3));
    }

    #[test]
    fn an_incomplete_response_is_an_error() {
        for (response, expected, args) in [
            (COMPLETION, "reading a body", &[][..]),
            (STREAM, "reading a body", &["--events", "2"]),
            ("HTTP/1.1 200 OK\r\n", "waiting for a response", &[]),
        ] {
            let cut = response.strip_suffix("0\r\n\r\n").or(response.strip_suffix("]}")).unwrap_or(response);
            let (report, _) = load(cut, true, args);
            let error = report.first_error.unwrap();
            assert!(report.requests == 0 && report.errors == 3 && error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_wrong_response_is_an_error() {
        let (report, _) = load(COMPLETION, false, &["--events", "2"]);
        assert_eq!(report.first_error.unwrap(), "0 events instead of 2");
        let (report, _) = load("HTTP/1.1 429 Slow Down\r\ncontent-length: 4\r\n\r\nwait", false, &[]);
        assert_eq!((report.errors, report.first_error.unwrap().as_str()), (3, "status 429: wait"));
    }
}
