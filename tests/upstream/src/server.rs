//! Listens on loopback and serves each connection. Does not know the responses: `route` does.

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

/// The wait after a failed accept. The usual reason is a lack of file descriptors, which does not pass at once.
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
    /// The system rejects the port, usually because it is in use.
    pub async fn bind(options: Options) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address, provider: Arc::new(Provider::new(options)) })
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` is ready. Open connections then end with the runtime.
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
    // Each frame is sent separately. A socket that rejects the option is failing anyway.
    let _ = stream.set_nodelay(true);
    let connection = Arc::new(Connection::default());
    let socket = Socket::new(stream, Arc::clone(&connection));
    let service =
        service_fn(move |request| route::respond(Arc::clone(&provider), Arc::clone(&connection), request));
    // The error is a disconnected client or an intended cut; both are in the record.
    let _ = http1::Builder::new().serve_connection(socket, service).await;
}
