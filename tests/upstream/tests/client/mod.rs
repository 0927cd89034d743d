//! A raw client that hides nothing, and helpers of the wire tests: a server for each test, raw requests, and responses
//! with their chunks and the end of their connection.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use gatehouse_upstream::args::Options;
use gatehouse_upstream::server::Server;
use serde_json::{Value, json};

/// Starts a server for one test, so that request numbers start at 1.
pub(crate) fn start_with(record: usize) -> SocketAddr {
    start_as(Options { port: 0, record, messages_key: None })
}

/// The same with a key that requests for messages must have.
pub(crate) fn start_with_key(key: &str) -> SocketAddr {
    start_as(Options { port: 0, record: 100, messages_key: Some(key.to_owned()) })
}

fn start_as(options: Options) -> SocketAddr {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let server = Server::bind(options).await.unwrap();
            sender.send(server.address()).unwrap();
            server.run_until(std::future::pending()).await;
        });
    });
    receiver.recv().unwrap()
}

pub(crate) fn start() -> SocketAddr {
    start_with(100)
}

/// The end of a connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The connection was closed normally.
    Closed,
    /// The connection was reset.
    Reset,
}

/// The response on one connection.
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// The HTTP chunks of a chunked body.
    pub(crate) chunks: Vec<Vec<u8>>,
    /// True if the body is complete: the declared length, or the terminating chunk.
    pub(crate) complete: bool,
    pub(crate) end: End,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The data of each event without comments, for any kind of line end.
    pub(crate) fn events(&self) -> Vec<String> {
        let text = self.text().replace("\r\n", "\n").replace('\r', "\n");
        text.split("\n\n").filter_map(|event| event.strip_prefix("data: ").map(str::to_owned)).collect()
    }

    pub(crate) fn chunks_of_stream(&self) -> Vec<Value> {
        self.events()
            .iter()
            .filter(|event| *event != "[DONE]")
            .map(|event| serde_json::from_str(event).unwrap())
            .collect()
    }

    /// The concatenated deltas of one choice.
    pub(crate) fn content(&self, index: u64) -> String {
        self.chunks_of_stream()
            .iter()
            .flat_map(|chunk| chunk["choices"].as_array().unwrap().clone())
            .filter(|choice| choice["index"] == index)
            .filter_map(|choice| choice["delta"]["content"].as_str().map(str::to_owned))
            .collect()
    }
}

pub(crate) fn connect(server: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

pub(crate) fn send(server: SocketAddr, method: &str, path: &str, body: &[u8]) -> TcpStream {
    send_with(server, method, path, "X-Trace: a\r\nX-Trace: b\r\n", body)
}

/// The same with other headers, each with its line end.
pub(crate) fn send_with(
    server: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
    body: &[u8],
) -> TcpStream {
    let mut stream = connect(server);
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: upstream\r\n{headers}Connection: close\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
    stream
}

/// Reads an unfinished response for a given time.
pub(crate) fn read_for(mut stream: &TcpStream, time: Duration) -> String {
    let (mut all, mut buffer, start) = (Vec::new(), [0; 16384], Instant::now());
    while let Some(left) = time.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) {
        stream.set_read_timeout(Some(left)).unwrap();
        match stream.read(&mut buffer) {
            Ok(0) => panic!("the connection ended"),
            Ok(read) => all.extend_from_slice(&buffer[..read]),
            Err(error) => assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)),
        }
    }
    String::from_utf8(all).unwrap()
}

/// Reads until the connection ends.
pub(crate) fn drain(mut stream: &TcpStream) -> (Vec<u8>, End) {
    let (mut all, mut buffer) = (Vec::new(), [0; 16384]);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return (all, End::Closed),
            Ok(read) => all.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return (all, End::Reset),
            Err(error) => panic!("{error} after {} bytes", all.len()),
        }
    }
}

pub(crate) fn parse(bytes: &[u8], end: End) -> Response {
    let split = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("no headers") + 4;
    let head = std::str::from_utf8(&bytes[..split]).unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap()[9..12].parse().unwrap();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let mut response =
        Response { status, headers, body: bytes[split..].to_vec(), chunks: Vec::new(), complete: false, end };
    if response.header("transfer-encoding") == Some("chunked") {
        let mut rest = &bytes[split..];
        while let Some(line) = rest.windows(2).position(|two| two == b"\r\n") {
            let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
            rest = &rest[line + 2..];
            if size == 0 {
                response.complete = rest == b"\r\n";
                break;
            }
            response.chunks.push(rest[..size].to_vec());
            assert_eq!(&rest[size..size + 2], b"\r\n");
            rest = &rest[size + 2..];
        }
        response.body = response.chunks.concat();
    } else {
        let promised = response.header("content-length").map_or(0, |length| length.parse::<usize>().unwrap());
        response.complete = response.body.len() == promised;
    }
    response
}

pub(crate) fn call(server: SocketAddr, method: &str, path: &str, body: &[u8]) -> Response {
    let (bytes, end) = drain(&send(server, method, path, body));
    parse(&bytes, end)
}

pub(crate) fn chat(server: SocketAddr, body: &Value) -> Response {
    call(server, "POST", "/v1/chat/completions", body.to_string().as_bytes())
}

pub(crate) fn simulate(server: SocketAddr, stream: bool, simulate: &Value) -> Response {
    chat(
        server,
        &json!({"model": "m", "stream": stream, "messages": [{"role": "user", "content": ASK}],
        "simulate": simulate}),
    )
}

pub(crate) const ASK: &str = "Grüße, 漢字 and 🦀  with   blanks";
pub(crate) const SAID: &str = "You said: Grüße, 漢字 and 🦀  with   blanks";

pub(crate) fn get(server: SocketAddr, path: &str) -> Value {
    call(server, "GET", path, b"").json()
}

pub(crate) fn record(server: SocketAddr, n: u64) -> Value {
    get(server, &format!("/_requests/{n}"))
}

/// The record of a request once it is no longer pending.
pub(crate) fn settled(server: SocketAddr, n: u64) -> Value {
    let start = Instant::now();
    loop {
        let record = record(server, n);
        if record["outcome"] != "pending" {
            return record;
        }
        assert!(start.elapsed() < Duration::from_secs(5), "still pending: {record}");
        thread::sleep(Duration::from_millis(5));
    }
}
