//! Senders: keep-alive connections with a number of POSTs in flight (PROTOCOL.md part 1, Sending).
//!
//! An answer counts as good if a client of the field would take it for that; what is posted to which recipient
//! is decided elsewhere.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use mio::Registry;
use serde_json::Value;

use crate::mail::{Label, Outgoing};
use crate::peer::Peer;
use crate::wire::{Ready, Wire};

const SENT: &[u8] = br#"{"message":"sent"}"#;
const MAX_FIELDS: usize = 32;

#[derive(Debug)]
pub(crate) struct Poster {
    wire: Wire,
    in_flight: VecDeque<Posted>,
    /// Request head between the id and the time to live.
    head: String,
    /// Bytes of each message.
    size: usize,
    is_up: bool,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Posted {
    pub(crate) label: Label,
    /// When it was to be written.
    pub(crate) at: Instant,
}

/// What came of a message: the time to live that the server took for it, if it reports one, or why it was refused.
pub(crate) type Answer = Result<Option<Duration>, String>;

impl Poster {
    /// Begins to connect. All messages have `size` bytes.
    pub(crate) fn connect(peer: &Peer, size: usize, registry: &Registry, token: usize) -> io::Result<Self> {
        let host = &peer.host;
        Ok(Self {
            wire: Wire::connect(peer, registry, token)?,
            in_flight: VecDeque::new(),
            head: format!(" HTTP/1.1\r\nHost: {host}\r\nContent-Length: {size}\r\nTTL: "),
            size,
            is_up: false,
        })
    }

    /// Whether the connection stands.
    pub(crate) fn is_up(&self) -> bool {
        self.is_up
    }

    /// How many messages are unanswered.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// The unanswered messages, whose fate stays unknown if the connection is over.
    pub(crate) fn unanswered(&self) -> impl Iterator<Item = Posted> + '_ {
        self.in_flight.iter().copied()
    }

    /// Writes a message that was to be posted `at` this moment; [`Poster::flush`] sends it.
    pub(crate) fn post(&mut self, outgoing: &Outgoing<'_>, at: Instant) {
        let Outgoing { id, label, ttl_seconds } = *outgoing;
        let output = self.wire.output();
        output.extend_from_slice(b"POST /");
        output.extend_from_slice(id.as_bytes());
        output.extend_from_slice(self.head.as_bytes());
        output.extend_from_slice(itoa::Buffer::new().format(ttl_seconds).as_bytes());
        output.extend_from_slice(b"\r\n\r\n");
        label.write(output, self.size);
        self.in_flight.push_back(Posted { label, at });
    }

    pub(crate) fn flush(&mut self) -> Result<(), String> {
        self.wire.flush().map_err(|error| error.to_string())
    }

    /// Reads answers and passes each to `on_answer`.
    pub(crate) fn pump(
        &mut self,
        ready: Ready,
        scratch: &mut [u8],
        mut on_answer: impl FnMut(Posted, Answer),
    ) -> Result<(), String> {
        let open = self.wire.pump(ready, scratch).map_err(|error| error.to_string())?;
        self.is_up = self.wire.is_up();
        let mut consumed = 0;
        while let Some((answer, length)) = next_answer(&self.wire.input()[consumed..])? {
            let posted = self.in_flight.pop_front().ok_or("an answer to nothing")?;
            consumed += length;
            on_answer(posted, answer);
        }
        self.wire.consume(consumed);
        if open {
            Ok(())
        } else {
            Err("the server closed the connection".to_owned())
        }
    }
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
    let answer = if response.code == Some(200) && is_sent(body) {
        let ttl = field("TTL").and_then(|value| str::from_utf8(value).ok()?.parse().ok());
        Ok(ttl.map(Duration::from_secs))
    } else {
        let status = response.code.unwrap_or_default();
        Err(format!("{status} {}", body.escape_ascii()))
    };
    Ok(Some((answer, head + length)))
}

/// Whether the browser client would think so.
fn is_sent(body: &[u8]) -> bool {
    let is_message = |body: Value| body.get("message").is_some() && body.get("error").is_none();
    body == SENT || serde_json::from_slice(body).is_ok_and(is_message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn answer(head: &str, body: &str) -> Answer {
        let text = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let whole = next_answer(text.as_bytes()).expect("an answer").expect("a whole one");
        assert_eq!(whole.1, text.len());
        assert_eq!(next_answer(&text.as_bytes()[..text.len() - 1]), Ok(None));
        whole.0
    }

    #[test]
    fn an_answer_is_good_as_it_is_from_this_server_and_from_go_npchat() {
        assert_eq!(
            answer("200 OK\r\nTTL: 5", r#"{"message":"sent"}"#),
            Ok(Some(5 * SECOND))
        );
        assert_eq!(answer("200 OK", r#"{"message":"sent"}"#), Ok(None));
        assert_eq!(answer("200 OK", "{\"message\": \"sent\"}\n"), Ok(None));
    }

    #[test]
    fn a_refusal_is_reported_with_its_status_and_body() {
        let refused = |text: &str| Err(text.to_owned());
        assert_eq!(
            answer("503 Busy", r#"{"error":"busy"}"#),
            refused(r#"503 {\"error\":\"busy\"}"#)
        );
        assert_eq!(answer("200 OK", "sent"), refused("200 sent"));
        let both = r#"{"error":"full","message":"sent"}"#;
        assert!(answer("200 OK", both).is_err());
    }

    #[test]
    fn what_is_no_answer_is_reported_at_once() {
        assert!(next_answer(b"SSH-2.0-OpenSSH\r\n").is_err());
        assert!(next_answer(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
