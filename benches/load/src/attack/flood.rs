//! A neighbour on one connection that sends as much as the server takes, and comes anew when the server has ended it.

use std::io;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use memchr::memmem;
use sha2::{Digest, Sha256};
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::deeds::{Counts, Kind, Told};
use crate::child::report;
use crate::drive::{Actor, Turn, drive};
use crate::peer::Peer;
use crate::session::{CHALLENGE_REQUEST, upgrade_request, write_frame};
use crate::wire::{Poller, Ready, Wire};

const CHUNK_BYTES: usize = 64 * 1024;
/// Challenges that one connection may get.
const CHALLENGES_PER_CONNECTION: u8 = 16;
const CONTINUATIONS: usize = 1_000_000;
/// So many that the messages of the time to live fit into their mailboxes.
const IDS: usize = 256;
const SIZE: usize = 480;
/// What there is once in each challenge.
const CHALLENGE: &[u8] = br#""txt""#;
/// After a connection that couldn't be made.
const PAUSE: Duration = Duration::from_millis(10);

/// What is sent on each connection.
struct Script {
    /// Once, at first.
    greeting: Vec<u8>,
    /// Again and again.
    chunk: Vec<u8>,
    /// Frames or requests in a chunk.
    units: usize,
    /// So many in all.
    most_units: usize,
    answers: Answers,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answers {
    Read,
    Unread,
    /// Read until all challenges have come; then the connection is given up.
    Challenges,
}

/// Goes on for ever.
///
/// # Errors
/// Those of the system.
pub(super) fn run(kind: Kind, peer: &Peer, counts: &Counts) -> io::Result<()> {
    let mut poller = Poller::new()?;
    let mut flood = Flood {
        script: &Script::of(kind, &peer.host),
        peer,
        counts,
        visit: None,
        token: 0,
        is_under_way: false,
    };
    drive(&mut poller, &mut flood).map_err(io::Error::other)
}

struct Flood<'f> {
    script: &'f Script,
    peer: &'f Peer,
    counts: &'f Counts,
    visit: Option<Visit<'f>>,
    /// A new one for each connection, so that late news of the old one is seen as such.
    token: usize,
    is_under_way: bool,
}

impl Actor for Flood<'_> {
    fn turn(&mut self, poller: &mut Poller, _: Instant) -> Result<Turn, String> {
        if self.visit.is_some() {
            return Ok(Turn::Wait(Duration::from_secs(1)));
        }
        self.token += 1;
        // Whatever it was, most often that all ports are taken: time heals it.
        let Ok(visit) = Visit::begin(self.script, self.peer, poller, self.token) else {
            return Ok(Turn::Wait(PAUSE));
        };
        self.visit = Some(visit);
        self.counts.connect();
        if !std::mem::replace(&mut self.is_under_way, true) {
            report(&Told::UnderWay);
        }
        Ok(Turn::Wait(Duration::from_secs(1)))
    }

    fn serve(&mut self, ready: Ready, poller: &mut Poller) -> Result<(), String> {
        let Some(visit) = self.visit.as_mut().filter(|_| ready.token == self.token) else {
            return Ok(());
        };
        let served = visit.serve(ready, poller.scratch(), self.counts);
        if served.is_err() {
            self.counts.end();
        }
        if served.is_err() || !visit.is_going_on {
            self.visit = None;
        }
        Ok(())
    }
}

/// One connection.
struct Visit<'s> {
    script: &'s Script,
    wire: Wire,
    units: usize,
    challenges: usize,
    is_going_on: bool,
}

impl<'s> Visit<'s> {
    fn begin(script: &'s Script, peer: &Peer, poller: &Poller, token: usize) -> io::Result<Self> {
        let mut wire = Wire::connect(peer, poller.registry(), token)?;
        wire.output().extend_from_slice(&script.greeting);
        Ok(Self {
            script,
            wire,
            units: 0,
            challenges: 0,
            is_going_on: true,
        })
    }

    /// Fails once the server has ended the connection.
    fn serve(&mut self, ready: Ready, scratch: &mut [u8], counts: &Counts) -> io::Result<()> {
        let goes_on = match self.script.answers {
            Answers::Unread => {
                self.wire.flush()?;
                !ready.is_ended()
            }
            Answers::Read | Answers::Challenges => self.wire.pump(ready, scratch)?,
        };
        if !goes_on {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        self.hear(counts);
        while self.wire.output().is_empty() && self.units < self.script.most_units {
            self.wire.output().extend_from_slice(&self.script.chunk);
            self.units += self.script.units;
            counts.add(self.script.units);
            self.wire.flush()?;
        }
        Ok(())
    }

    fn hear(&mut self, counts: &Counts) {
        let input = self.wire.input();
        if self.script.answers != Answers::Challenges {
            self.wire.consume(input.len());
            return;
        }
        if let Some(last) = memmem::rfind(input, CHALLENGE) {
            self.challenges += memmem::find_iter(input, CHALLENGE).count();
            self.wire.consume(last + CHALLENGE.len());
        }
        if self.challenges >= usize::from(CHALLENGES_PER_CONNECTION) {
            counts.add(self.challenges);
            self.is_going_on = false;
        }
    }
}

impl Script {
    fn of(kind: Kind, host: &str) -> Self {
        let upgrade = upgrade_request(host, &id(0)).into_bytes();
        match kind {
            Kind::Continuations => {
                let mut greeting = upgrade;
                write_frame(&mut greeting, OpCode::Data(Data::Text), false, b"");
                let mut frame = Vec::new();
                write_frame(&mut frame, OpCode::Data(Data::Continue), false, b"");
                Self::again(greeting, &frame, CONTINUATIONS, Answers::Read)
            }
            Kind::Pings => {
                let mut frame = Vec::new();
                write_frame(&mut frame, OpCode::Control(Control::Ping), true, b"");
                Self::again(upgrade, &frame, usize::MAX, Answers::Read)
            }
            Kind::Challenges => {
                let mut greeting = upgrade;
                for _ in 0..CHALLENGES_PER_CONNECTION {
                    write_frame(
                        &mut greeting,
                        OpCode::Data(Data::Text),
                        true,
                        CHALLENGE_REQUEST.as_bytes(),
                    );
                }
                Self {
                    greeting,
                    chunk: Vec::new(),
                    units: 0,
                    most_units: 0,
                    answers: Answers::Challenges,
                }
            }
            Kind::Reader => {
                let request = format!("GET /info HTTP/1.1\r\nHost: {host}\r\n\r\n");
                Self::again(Vec::new(), request.as_bytes(), usize::MAX, Answers::Unread)
            }
            _ => Self {
                greeting: Vec::new(),
                chunk: (0..IDS).flat_map(|index| post(host, &id(index))).collect(),
                units: IDS,
                most_units: usize::MAX,
                answers: Answers::Read,
            },
        }
    }

    fn again(greeting: Vec<u8>, unit: &[u8], most_units: usize, answers: Answers) -> Self {
        let units = CHUNK_BYTES / unit.len();
        Self {
            greeting,
            chunk: unit.repeat(units),
            units,
            most_units,
            answers,
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
