//! A connection with all that its worker would lend it, and a peer whose kernel takes as much as a test says.
//!
//! Each visit is one as a worker makes it. The peer answers pings between two
//! inputs of the test, never within one, as soon as they are wholly sent.

use std::time::{Duration, Instant};
use std::{mem, slice};

use npchat::protocol::id::RecipientId;
use npchat::server::config::Config;
use npchat::server::connection::Connection;
use npchat::server::connection::visit::{Cause, Edges, IoContext, Scratch, Wired};
use npchat::server::limits::{PING_SPACING_MILLIS, READ_SCRATCH_BYTES};
use npchat::server::mailboxes::Stats;
use npchat::server::metrics::Totals;
use npchat::server::refusal::CloseReason;
use testkit::{Challenge, Frame, Identity, Lent, Opcode, Pipe, Piped, upgrade_request};

/// More visits than any test needs: a connection that wants more is spinning.
const VISITS_MAX: usize = 100_000;

/// One connection, its relay, and what came out so far.
pub(crate) struct Endpoint {
    wired: Piped,
    pub(crate) lent: Lent,
    /// What the peer has been sent.
    pub(crate) sent: Vec<u8>,
    /// The connection is over.
    pub(crate) freed: Option<CloseReason>,
    /// Visits the connection after all input, whether it wants that or not.
    pub(crate) visits_needlessly: bool,
    /// Whether the peer answers pings, as it should.
    pub(crate) answers_pings: bool,
    peer: Peer,
}

/// What the peer makes of what it is sent.
#[derive(Default)]
struct Peer {
    is_upgraded: bool,
    /// The start of a head or frame.
    unread: Vec<u8>,
    pings: Vec<Frame>,
    /// A Close has come.
    is_closed: bool,
}

impl Endpoint {
    /// A connection accepted now, with the defaults of everything.
    pub(crate) fn new() -> Self {
        Self::with_config(&Config::default())
    }

    /// The same, with so many bytes for messages.
    pub(crate) fn with_memory(memory: u64) -> Self {
        Self::with_config(&Config {
            memory,
            ..Config::default()
        })
    }

    pub(crate) fn with_config(config: &Config) -> Self {
        let now = Instant::now();
        Self {
            wired: Wired::new(Pipe::default(), Connection::new(now, &config.timeouts)),
            lent: Lent::new(config, now),
            sent: Vec::new(),
            freed: None,
            visits_needlessly: false,
            answers_pings: true,
            peer: Peer::default(),
        }
    }

    /// The same, with a kernel that takes so much in each send, over and over; 0 is a full socket.
    pub(crate) fn with_send_sizes(send_sizes: &[usize]) -> Self {
        let mut endpoint = Self::new();
        endpoint.wired.io.send_sizes = send_sizes.to_vec();
        endpoint
    }

    /// From now on each send takes at most so much.
    pub(crate) fn set_send_size(&mut self, size: usize) {
        self.wired.io.send_sizes = vec![size];
    }

    /// Gives input as soon as it is wanted, and serves the connection until it waits.
    pub(crate) fn receive(&mut self, input: &[u8]) {
        self.until_idle(|endpoint| endpoint.connection().wants_input());
        self.read(input);
        if self.visits_needlessly {
            self.visit(Cause::Ordinary);
        }
    }

    /// Visits the connection for input that has come, all in one read.
    pub(crate) fn read(&mut self, input: &[u8]) {
        self.wired.io.input.extend_from_slice(input);
        if self.wired.io.input.len() >= READ_SCRATCH_BYTES {
            self.set_read_size(self.wired.io.input.len() + 1);
        }
        self.visit(Cause::Ordinary);
    }

    /// Input that has come, and for which no visit is made.
    pub(crate) fn hold_input(&mut self, input: &[u8]) {
        self.wired.io.input.extend_from_slice(input);
    }

    /// From now on one read takes at most so much.
    pub(crate) fn set_read_size(&mut self, size: usize) {
        self.lent.io = Some(IoContext::new(Scratch::new(size)));
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.wired.connection
    }

    /// There was no place for it when it was accepted.
    pub(crate) fn turn_away(&mut self) {
        self.wired.connection.turn_away();
    }

    /// Whether our side of the stream has ended.
    pub(crate) fn half_closed(&self) -> bool {
        self.wired.io.half_closed
    }

    /// Gives input that comes in these pieces.
    pub(crate) fn receive_all<'i>(&mut self, pieces: impl IntoIterator<Item = &'i [u8]>) {
        for piece in pieces.into_iter().filter(|piece| !piece.is_empty()) {
            self.receive(piece);
        }
        self.settle();
    }

    /// The peer ends its side.
    pub(crate) fn end_input(&mut self) {
        self.until_idle(|endpoint| endpoint.connection().wants_input());
        self.wired.io.input_ended = true;
        self.visit(Cause::Ordinary);
    }

    /// Serves the connection until nothing is left that can be done without input.
    pub(crate) fn settle(&mut self) {
        self.until_idle(|endpoint| {
            endpoint.answer_pings();
            let connection = endpoint.connection();
            let may_read = connection.wants_input() && !endpoint.wired.io.input.is_empty();
            !may_read && !connection.wants_turn() && !connection.awaits_login_step() && endpoint.unsent() == 0
        });
    }

    /// Lets the time pass, with a visit at each deadline on the way.
    pub(crate) fn pass(&mut self, duration: Duration) {
        let end = self.lent.now + duration;
        self.answer_pings();
        while let Some(deadline) = self.deadline().filter(|deadline| *deadline <= end) {
            self.lent.now = self.lent.now.max(deadline);
            self.visit(Cause::Deadline);
            self.answer_pings();
            assert_ne!(self.deadline(), Some(deadline), "it was reached and nothing changed");
        }
        self.lent.now = end;
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.freed {
            Some(_) => None,
            None => self.wired.deadline(&self.lent.timeouts),
        }
    }

    /// How long until the deadline.
    pub(crate) fn time_left(&self) -> Option<Duration> {
        self.deadline().map(|deadline| deadline - self.lent.now)
    }

    /// Somebody else posts to this id; a session of this connection is told, as its worker would.
    pub(crate) fn post(&mut self, id: &str, body: &[u8]) {
        let id = RecipientId::parse(id.as_bytes()).unwrap();
        let mail_now = self.lent.now + self.lent.asleep;
        let Lent { store, wake, .. } = &mut self.lent;
        store.post(&id, body, None, mail_now, wake).unwrap();
        if !mem::take(wake).is_empty() {
            self.note_mail();
        }
    }

    /// Answers the pings that have come, if the peer does such a thing and is listened to.
    pub(crate) fn answer_pings(&mut self) {
        if self.answers_pings && self.connection().wants_input() {
            let pongs: Vec<_> = self
                .peer
                .pings
                .drain(..)
                .flat_map(|ping| ping.pong().masked())
                .collect();
            if !pongs.is_empty() {
                self.read(&pongs);
            }
        }
    }

    /// Lets the time pass until all mail is confirmed.
    pub(crate) fn confirm_all(&mut self) {
        for _ in 0..100 {
            self.settle();
            if self.stats().messages == 0 {
                return;
            }
            self.pass(Duration::from_millis(PING_SPACING_MILLIS));
        }
        panic!("mail is never confirmed: {:?}", self.stats());
    }

    /// The pings that have come and were not answered.
    pub(crate) fn take_pings(&mut self) -> Vec<Frame> {
        mem::take(&mut self.peer.pings)
    }

    /// Upgrades at the path of this identity.
    pub(crate) fn upgrade(&mut self, identity: &Identity) {
        self.receive(upgrade_request(([127, 0, 0, 1], 80).into(), &identity.id).as_bytes());
        self.sent.clear();
    }

    /// Upgrades and logs in.
    pub(crate) fn log_in(&mut self, identity: &Identity) {
        self.upgrade(identity);
        self.log_in_after_upgrade(identity);
    }

    /// Logs in, before any mail.
    pub(crate) fn log_in_after_upgrade(&mut self, identity: &Identity) {
        self.receive(&Frame::text(r#"{"get":"challenge"}"#).masked());
        self.settle();
        let challenge = self.last_challenge();
        self.receive(&Frame::text(&identity.solution(&challenge)).masked());
        self.settle();
        assert!(
            self.sent
                .ends_with(&Frame::text(r#"{"message":"handshake done"}"#).unmasked())
        );
        self.sent.clear();
    }

    /// The challenge that ends what was sent.
    pub(crate) fn last_challenge(&self) -> Challenge {
        let start = self.sent.windows(12).rposition(|window| window == br#"{"challenge""#);
        Challenge::read(str::from_utf8(&self.sent[start.expect("a challenge")..]).unwrap())
    }

    pub(crate) fn stats(&self) -> Stats {
        self.lent.store.stats()
    }

    pub(crate) fn totals(&self) -> Totals {
        Totals::of(slice::from_ref(&self.lent.counters), self.lent.store.expired())
    }

    /// One visit, before which an event reports that there is input, if there is, and room.
    pub(crate) fn visit(&mut self, cause: Cause) {
        if self.freed.is_some() {
            return;
        }
        self.wired.note_edges(Edges {
            readable: self.has_input(),
            read_closed: self.wired.io.input_ended,
            writable: true,
        });
        let mut io_context = self.lent.io.take().unwrap();
        self.freed = self.wired.visit(cause, &mut self.lent.turn(), &mut io_context);
        self.lent.io = Some(io_context);
        assert!(self.lent.out.is_empty(), "output is left in the worker's hands");
        self.peer.read(&self.wired.io.sent);
        self.sent.append(&mut self.wired.io.sent);
        if !mem::take(&mut self.lent.wake).is_empty() {
            self.note_mail();
        }
    }

    fn note_mail(&mut self) {
        self.wired.note_mail();
        self.visit(Cause::Ordinary);
    }

    fn has_input(&self) -> bool {
        self.wired.io.input_ended || !self.wired.io.input.is_empty()
    }

    /// Whether our side has ended, or the peer has been sent a Close.
    pub(crate) fn is_closing(&self) -> bool {
        self.half_closed() || self.peer.is_closed
    }

    /// Bytes that the kernel has not taken.
    pub(crate) fn unsent(&mut self) -> usize {
        self.wired.connection.unsent(&mut Vec::new()).len()
    }

    fn until_idle(&mut self, done: impl Fn(&mut Self) -> bool) {
        for _ in 0..VISITS_MAX {
            if self.freed.is_some() || done(self) {
                return;
            }
            self.visit(Cause::Ordinary);
        }
        panic!("the connection never comes to rest");
    }
}

impl Peer {
    fn read(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
        if !self.is_upgraded && !self.read_upgrade() {
            return;
        }
        let mut taken = 0;
        while let Some((frame, length)) = Frame::parse(&self.unread[taken..]) {
            taken += length;
            self.is_closed |= frame.opcode == Opcode::CLOSE;
            if frame.opcode == Opcode::PING {
                self.pings.push(frame);
            }
        }
        self.unread.drain(..taken);
    }

    /// Skips everything up to the end of the answer to an upgrade; whether that has come.
    fn read_upgrade(&mut self) -> bool {
        const START: &[u8] = b"HTTP/1.1 101 ";
        const END: &[u8] = b"\r\n\r\n";
        let find = |text: &[u8], what: &[u8]| text.windows(what.len()).position(|window| window == what);
        let start = find(&self.unread, START).unwrap_or((self.unread.len() + 1).saturating_sub(START.len()));
        self.unread.drain(..start);
        let end = find(&self.unread, END).filter(|_| self.unread.starts_with(START));
        if let Some(end) = end {
            self.unread.drain(..end + END.len());
        }
        self.is_upgraded = end.is_some();
        self.is_upgraded
    }
}
