//! A connection to what is asked, and one exchange on it. Does not measure more than that exchange and tries nothing again.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::answer::{Answer, Expected};
use crate::figures::Sample;
use crate::http::Reader;

/// The longest that an answer, or a connection, is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// A connection, and what has been read of the answer that is under way.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// An exchange whose answer is under way.
pub(crate) struct Exchange {
    reader: Reader,
    answer: Answer,
    begun: Instant,
    first_event: Option<Duration>,
    bytes: u64,
}

impl Exchange {
    /// Whether the connection can be used again, once the answer is whole.
    pub(crate) fn keeps(&self) -> bool {
        self.reader.keeps
    }

    /// What it took, once it is whole; or what is wrong with it.
    pub(crate) fn sample(&self) -> Result<Sample, String> {
        let latency = self.begun.elapsed();
        self.answer.check(self.reader.status)?;
        Ok(Sample { latency, first_event: self.first_event, events: self.answer.events(), bytes: self.bytes })
    }
}

impl Connection {
    pub(crate) async fn open(address: &str) -> Result<Self, String> {
        let stream =
            timeout(PATIENCE, TcpStream::connect(address)).await.map_err(|_| "no connection in time")?;
        let stream = stream.map_err(|error| format!("no connection to {address}: {error}"))?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        Ok(Self { stream, buffer: vec![0; 64 * 1024] })
    }

    /// Sends a request, whose answer is then to be read.
    pub(crate) async fn begin(&mut self, request: &[u8], expected: Expected) -> Result<Exchange, String> {
        let begun = Instant::now();
        self.stream.write_all(request).await.map_err(|error| format!("while sending: {error}"))?;
        let answer = Answer::new(expected);
        Ok(Exchange { reader: Reader::new(), answer, begun, first_event: None, bytes: 0 })
    }

    /// Reads until the answer is whole.
    pub(crate) async fn finish(&mut self, exchange: &mut Exchange) -> Result<(), String> {
        while !exchange.reader.is_whole() {
            self.read(exchange).await?;
        }
        Ok(())
    }

    /// Reads until the first event has come.
    pub(crate) async fn first_event(&mut self, exchange: &mut Exchange) -> Result<(), String> {
        while exchange.first_event.is_none() {
            if exchange.reader.is_whole() {
                exchange.answer.check(exchange.reader.status)?;
                return Err("an answer without an event".to_owned());
            }
            self.read(exchange).await?;
        }
        Ok(())
    }

    async fn read(&mut self, exchange: &mut Exchange) -> Result<(), String> {
        let read =
            self.stream.read(&mut self.buffer).await.map_err(|error| format!("while reading: {error}"))?;
        if read == 0 {
            return Err("the connection was closed before the answer was whole".to_owned());
        }
        let Exchange { reader, answer, bytes, .. } = exchange;
        reader.push(self.buffer.get(..read).unwrap_or_default(), |part| {
            *bytes += part.len() as u64;
            answer.push(part);
        })?;
        if exchange.first_event.is_none() && exchange.answer.events() > 0 {
            exchange.first_event = Some(exchange.begun.elapsed());
        }
        Ok(())
    }
}
