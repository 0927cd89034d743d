//! Listens on loopback and serves each connection.
//! Does not know what the answers are: `route` does.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use tokio::net::{TcpListener, TcpStream};

use crate::args::Options;
use crate::provider::Provider;
use crate::route;
use crate::socket::{Connection, Socket};

/// Rest after a failed accept: out of file descriptors is the usual reason, and it does not pass at once.
const AFTER_FAILED_ACCEPT: Duration = Duration::from_millis(10);

/// A listening server that does not serve yet.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    provider: Arc<Provider>,
}

impl Server {
    /// Listens on 127.0.0.1. Needs a tokio runtime with I/O and time.
    ///
    /// # Errors
    ///
    /// The system refuses the port, which usually means that it is taken.
    pub async fn bind(options: Options) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address, provider: Arc::new(Provider::new(options.record)) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` is ready. Connections that are open then end with the runtime.
    pub async fn run_until(self, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        loop {
            let accepted = std::future::poll_fn(|cx| {
                if stop.as_mut().poll(cx).is_ready() {
                    return std::task::Poll::Ready(None);
                }
                self.listener.poll_accept(cx).map(Some)
            });
            match accepted.await {
                None => return,
                Some(Ok((stream, _))) => {
                    tokio::spawn(serve(stream, Arc::clone(&self.provider)));
                }
                Some(Err(_)) => tokio::time::sleep(AFTER_FAILED_ACCEPT).await,
            }
        }
    }
}

async fn serve(stream: TcpStream, provider: Arc<Provider>) {
    // Every frame is to leave on its own. A socket that refuses the option is dying anyway.
    let _ = stream.set_nodelay(true);
    let connection = Arc::new(Connection::default());
    let socket = Socket::new(stream, Arc::clone(&connection));
    let service =
        service_fn(move |request| route::respond(Arc::clone(&provider), Arc::clone(&connection), request));
    // The error is a client that went away or a cut of our own; both are in the record.
    let _ = http1::Builder::new().serve_connection(socket, service).await;
}
