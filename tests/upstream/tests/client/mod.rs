//! A client that hides nothing, and what the tests of the wire share: a server of their own, raw requests, and
//! answers with the division of their bodies and the end of their connection.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use gatehouse_upstream::args::Options;
use gatehouse_upstream::server::Server;
use serde_json::{Value, json};

/// A server of its own for each test, so that request numbers start at 1.
pub(crate) fn start_with(record: usize) -> SocketAddr {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let server = Server::bind(Options { port: 0, record }).await.unwrap();
            tell.send(server.address()).unwrap();
            server.run_until(std::future::pending()).await;
        });
    });
    told.recv().unwrap()
}

pub(crate) fn start() -> SocketAddr {
    start_with(100)
}

/// How the bytes of an answer stopped.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The connection was closed in the ordinary way.
    Closed,
    /// The connection was reset.
    Reset,
}

/// What came back on one connection.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// The HTTP chunks of a chunked body.
    pub(crate) chunks: Vec<Vec<u8>>,
    /// Whether the body is complete: the promised length, or the terminating chunk.
    pub(crate) complete: bool,
    pub(crate) end: End,
}

impl Answer {
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

    /// The data of each event; comments are left out. Any line end is understood.
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

    /// The deltas of one choice put together.
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

/// What arrives in so long a time, of an answer that then has not ended.
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

/// Everything until the connection ends.
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

pub(crate) fn parse(bytes: &[u8], end: End) -> Answer {
    let split = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("no headers") + 4;
    let head = std::str::from_utf8(&bytes[..split]).unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap()[9..12].parse().unwrap();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let mut answer =
        Answer { status, headers, body: bytes[split..].to_vec(), chunks: Vec::new(), complete: false, end };
    if answer.header("transfer-encoding") == Some("chunked") {
        let mut rest = &bytes[split..];
        while let Some(line) = rest.windows(2).position(|two| two == b"\r\n") {
            let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
            rest = &rest[line + 2..];
            if size == 0 {
                answer.complete = rest == b"\r\n";
                break;
            }
            answer.chunks.push(rest[..size].to_vec());
            assert_eq!(&rest[size..size + 2], b"\r\n");
            rest = &rest[size + 2..];
        }
        answer.body = answer.chunks.concat();
    } else {
        let promised = answer.header("content-length").map_or(0, |length| length.parse::<usize>().unwrap());
        answer.complete = answer.body.len() == promised;
    }
    answer
}

pub(crate) fn call(server: SocketAddr, method: &str, path: &str, body: &[u8]) -> Answer {
    let (bytes, end) = drain(&send(server, method, path, body));
    parse(&bytes, end)
}

pub(crate) fn chat(server: SocketAddr, body: &Value) -> Answer {
    call(server, "POST", "/v1/chat/completions", body.to_string().as_bytes())
}

pub(crate) fn simulate(server: SocketAddr, stream: bool, simulate: &Value) -> Answer {
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

/// The record of a request as soon as it is not pending any more.
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
