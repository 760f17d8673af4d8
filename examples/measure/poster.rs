//! Senders: keep-alive connections with a number of POSTs in flight (PROTOCOL.md part 1, Sending).
//!
//! An answer counts only if it is to the letter what the protocol promises; whom to post what is for others to say.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::Registry;

use crate::faults::{Fault, Faults};
use crate::wire::{Poller, Ready, Wire};

const SENT: &[u8] = br#"{"message":"sent"}"#;
const MAX_FIELDS: usize = 32;
/// Connections of [`post_all`].
const BULK_CONNECTIONS: usize = 16;
/// Longest that [`post_all`] waits for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// One sender's connection.
#[derive(Debug)]
pub(crate) struct Poster {
    wire: Wire,
    in_flight: VecDeque<Posted>,
    /// Request head between the id and the message.
    head: String,
}

/// A message in flight.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Posted {
    /// What the sender calls its recipient.
    pub(crate) recipient: u32,
    /// How many the sender has posted before, to whomever it counts by.
    pub(crate) sequence: u32,
    /// When it was written.
    pub(crate) at: Instant,
}

/// What came of a message.
pub(crate) type Answer = Result<(), String>;

impl Poster {
    /// Begins to connect. All messages have `size` bytes and live `ttl_seconds`.
    ///
    /// # Errors
    /// Those of [`Wire::connect`].
    pub(crate) fn connect(
        address: SocketAddr,
        size: usize,
        ttl_seconds: u64,
        registry: &Registry,
        token: usize,
    ) -> io::Result<Self> {
        Ok(Self {
            wire: Wire::connect(address, registry, token)?,
            in_flight: VecDeque::new(),
            head: format!(" HTTP/1.1\r\nHost: {address}\r\nTTL: {ttl_seconds}\r\nContent-Length: {size}\r\n\r\n"),
        })
    }

    /// How many messages are unanswered.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// The unanswered messages, whose fate nobody will tell any more if the connection is over.
    pub(crate) fn unanswered(&self) -> impl Iterator<Item = Posted> + '_ {
        self.in_flight.iter().copied()
    }

    /// Writes a message, which `write_body` appends; [`Poster::flush`] sends it.
    pub(crate) fn post(&mut self, id: &str, posted: Posted, write_body: impl FnOnce(&mut Vec<u8>)) {
        let output = self.wire.output();
        output.extend_from_slice(b"POST /");
        output.extend_from_slice(id.as_bytes());
        output.extend_from_slice(self.head.as_bytes());
        write_body(output);
        self.in_flight.push_back(posted);
    }

    /// Sends what was written.
    ///
    /// # Errors
    /// The connection is over.
    pub(crate) fn flush(&mut self) -> Result<(), String> {
        self.wire.flush().map_err(|error| error.to_string())
    }

    /// Reads answers and tells each to `hear`.
    ///
    /// # Errors
    /// Why the connection is over.
    pub(crate) fn pump(
        &mut self,
        ready: Ready,
        scratch: &mut [u8],
        mut hear: impl FnMut(Posted, Answer),
    ) -> Result<(), String> {
        let open = self.wire.pump(ready, scratch).map_err(|error| error.to_string())?;
        let mut consumed = 0;
        while let Some((answer, length)) = next_answer(&self.wire.input()[consumed..])? {
            let posted = self.in_flight.pop_front().ok_or("an answer to nothing")?;
            consumed += length;
            hear(posted, answer);
        }
        self.wire.consume(consumed);
        if open {
            Ok(())
        } else {
            Err("the server closed the connection".to_owned())
        }
    }
}

/// A message for [`post_all`].
pub(crate) struct Letter<'l> {
    /// Recipient.
    pub(crate) id: &'l str,
    /// All letters of a call have the same length.
    pub(crate) body: &'l [u8],
}

/// When a message was stored: at no moment before the first, nor after the second.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stored {
    pub(crate) posted: Instant,
    pub(crate) acknowledged: Instant,
}

/// Posts all, a few at a time. Returns for each when it was stored, unless it was refused, which is noted.
///
/// # Errors
/// The connections can't be made or end, or an answer takes too long.
pub(crate) fn post_all(
    address: SocketAddr,
    letters: &[Letter<'_>],
    ttl_seconds: u64,
    faults: &mut Faults,
) -> Result<Vec<Option<Stored>>, String> {
    let size = letters.first().map_or(0, |letter| letter.body.len());
    let mut poller = Poller::new().map_err(|error| error.to_string())?;
    let mut posters = (0..BULK_CONNECTIONS)
        .map(|token| Poster::connect(address, size, ttl_seconds, poller.registry(), token))
        .collect::<io::Result<Vec<_>>>()
        .map_err(|error| error.to_string())?;
    let mut stored = vec![None; letters.len()];
    let mut unanswered = letters.len();
    let mut next = (0..).zip(letters);
    let mut ready = Vec::new();
    while unanswered > 0 {
        poller.wait(PATIENCE, &mut ready).map_err(|error| error.to_string())?;
        if ready.is_empty() {
            return Err(format!("{unanswered} messages got no answer in {PATIENCE:?}"));
        }
        for &one in &ready {
            let Some(poster) = posters.get_mut(one.token) else {
                continue;
            };
            poster.pump(one, poller.scratch(), |posted, answer| {
                unanswered -= 1;
                match answer {
                    Ok(()) => {
                        stored[posted.recipient as usize] = Some(Stored {
                            posted: posted.at,
                            acknowledged: Instant::now(),
                        });
                    }
                    Err(why) => faults.note(Fault::Refused, || why),
                }
            })?;
            if poster.in_flight() == 0
                && let Some((recipient, letter)) = next.next()
            {
                let message = Posted {
                    recipient,
                    sequence: 0,
                    at: Instant::now(),
                };
                poster.post(letter.id, message, |output| {
                    output.extend_from_slice(letter.body);
                });
                poster.flush()?;
            }
        }
    }
    Ok(stored)
}

/// The next whole answer and its length.
fn next_answer(input: &[u8]) -> Result<Option<(Answer, usize)>, String> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    let parsed = response.parse(input).map_err(|error| format!("no answer: {error}"))?;
    let httparse::Status::Complete(head) = parsed else {
        return Ok(None);
    };
    let field = |name: &str| {
        let found = response
            .headers
            .iter()
            .find(|field| field.name.eq_ignore_ascii_case(name));
        found.map(|field| field.value)
    };
    let length: usize = field("Content-Length")
        .and_then(|value| str::from_utf8(value).ok()?.parse().ok())
        .ok_or("an answer without a length")?;
    let Some(body) = input[head..].get(..length) else {
        return Ok(None);
    };
    let is_good = response.code == Some(200)
        && body == SENT
        && field("Content-Type") == Some(b"application/json")
        && field("Access-Control-Allow-Origin") == Some(b"*");
    let answer = if is_good {
        Ok(())
    } else {
        let status = response.code.unwrap_or_default();
        Err(format!("{status} {}", body.escape_ascii()))
    };
    Ok(Some((answer, head + length)))
}
