//! What a hostile connection of each kind sends.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::interface::Kind;
use crate::session::{CHALLENGE_REQUEST, MASK, upgrade_request, write_frame};

/// Challenges that one connection may get.
pub(super) const CHALLENGES_PER_CONNECTION: usize = 16;

const CHUNK_BYTES: usize = 64 * 1024;
const CONTINUATIONS: usize = 1_000_000;
/// So many that the messages of the time to live fit into their mailboxes.
const IDS: usize = 256;
const SIZE: usize = 480;
/// Of a connection that never reads.
const UNREAD_REQUESTS: usize = 200;

/// What is sent on each connection, and whether the answers are read.
pub(super) struct Script {
    /// Sent once, at first.
    pub(super) greeting: Vec<u8>,
    /// What the greeting counts as.
    pub(super) greeting_units: usize,
    pub(super) then: Then,
    pub(super) is_read: bool,
}

pub(super) enum Then {
    Nothing,
    /// The chunk of so many units, as often as the server takes it.
    Flood {
        chunk: Vec<u8>,
        units: usize,
        most_units: usize,
    },
    /// A byte a second.
    Trickle,
    /// Nothing; with the last challenge the connection is given up.
    AwaitChallenges,
}

impl Script {
    /// That of a kind with connections of its own.
    pub(super) fn of(kind: Kind, host: &str) -> Self {
        let upgrade = || upgrade_request(host, &id(0)).into_bytes();
        let frame = |opcode, is_final, payload: &str| {
            let mut frame = Vec::new();
            write_frame(&mut frame, opcode, is_final, MASK, payload.as_bytes());
            frame
        };
        let trickle = |head: String| Self::new(head, Then::Trickle);
        match kind {
            Kind::Continuations => {
                let start = frame(OpCode::Data(Data::Text), false, "");
                let next = frame(OpCode::Data(Data::Continue), false, "");
                Self::new([upgrade(), start].concat(), Then::flood(&next, CONTINUATIONS))
            }
            Kind::Pings => {
                let ping = frame(OpCode::Control(Control::Ping), true, "");
                Self::new(upgrade(), Then::flood(&ping, usize::MAX))
            }
            Kind::Challenges => {
                let requests =
                    frame(OpCode::Data(Data::Text), true, CHALLENGE_REQUEST).repeat(CHALLENGES_PER_CONNECTION);
                Self::new([upgrade(), requests].concat(), Then::AwaitChallenges)
            }
            Kind::Reader => {
                let request = format!("GET /info HTTP/1.1\r\nHost: {host}\r\n\r\n");
                Self::new("", Then::flood(request.as_bytes(), usize::MAX)).unread()
            }
            Kind::SlowHeads => trickle("GET / HTTP/1.1\r\nX-Slow: ".to_owned()),
            Kind::SlowBodies => trickle(format!(
                "POST /{} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1000\r\n\r\n",
                id(0)
            )),
            Kind::SlowReaders => Self {
                greeting_units: UNREAD_REQUESTS,
                ..Self::new(
                    format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").repeat(UNREAD_REQUESTS),
                    Then::Nothing,
                )
                .unread()
            },
            Kind::Pipelined | Kind::Spin | Kind::Logins => {
                let posts = Then::Flood {
                    chunk: (0..IDS).flat_map(|index| post(host, &id(index))).collect(),
                    units: IDS,
                    most_units: usize::MAX,
                };
                Self::new("", posts)
            }
        }
    }

    fn new(greeting: impl Into<Vec<u8>>, then: Then) -> Self {
        Self {
            greeting: greeting.into(),
            greeting_units: 0,
            then,
            is_read: true,
        }
    }

    fn unread(self) -> Self {
        Self { is_read: false, ..self }
    }
}

impl Then {
    fn flood(unit: &[u8], most_units: usize) -> Self {
        let units = CHUNK_BYTES / unit.len();
        Self::Flood {
            chunk: unit.repeat(units),
            units,
            most_units,
        }
    }
}

fn id(index: usize) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(index.to_be_bytes()))
}

fn post(host: &str, id: &str) -> Vec<u8> {
    let head = format!("POST /{id} HTTP/1.1\r\nHost: {host}\r\nTTL: 1\r\nContent-Length: {SIZE}\r\n\r\n");
    let mut request = head.into_bytes();
    request.resize(request.len() + SIZE, b'p');
    request
}
