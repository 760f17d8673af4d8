//! What a worker owns and lends to a connection for a turn, without a socket.

use std::mem;
use std::time::{Duration, Instant, UNIX_EPOCH};

use npchat::server::config::{Config, Timeouts};
use npchat::server::connection::Connection;
use npchat::server::connection::visit::{Cause, Edges, IoContext, Wired};
use npchat::server::context::Context;
use npchat::server::http::HttpDate;
use npchat::server::limits::{LOGIN_STEPS_PER_TURN, REQUESTS_PER_VISIT};
use npchat::server::mailboxes::Deliveries;
use npchat::server::metrics::Counters;
use npchat::server::relay::Relay;
use npchat::server::signer::ChallengeSigner;
use npchat::server::store::Store;
use npchat::server::token::{SessionAddress, Tickets, Token};

use super::Pipe;
use crate::{Challenge, Frame, Identity, upgrade_request};

/// A connection whose peer is the test.
pub type Piped = Wired<Pipe>;

/// One worker's belongings.
pub struct Lent {
    pub now: Instant,
    /// How much older mail has become: the machine slept for so long, or the worker was kept from running.
    pub asleep: Duration,
    pub store: Store,
    pub timeouts: Timeouts,
    /// What other logins leave to this connection in a turn.
    pub login_steps_per_turn: usize,
    pub counters: Counters,
    pub out: Vec<u8>,
    pub wake: Vec<SessionAddress>,
    /// Lent to one visit at a time.
    pub io: Option<IoContext>,
    /// Buffers for the next visit.
    pipe: Pipe,
    date: HttpDate,
    signer: ChallengeSigner,
    tickets: Tickets,
    deliveries: Deliveries,
}

impl Lent {
    pub fn new(config: &Config, now: Instant) -> Self {
        Self {
            now,
            asleep: Duration::ZERO,
            store: Store::new(config, [1, 2], now, "1970-01-01T00:00:00Z"),
            timeouts: config.timeouts,
            login_steps_per_turn: LOGIN_STEPS_PER_TURN,
            counters: Counters::default(),
            out: Vec::new(),
            wake: Vec::new(),
            io: Some(IoContext::default()),
            pipe: Pipe::default(),
            date: HttpDate::at(UNIX_EPOCH),
            signer: ChallengeSigner::new(5).unwrap(),
            tickets: Tickets::default(),
            deliveries: Deliveries::new(),
        }
    }

    pub fn turn(&mut self) -> Context<'_, Relay> {
        self.turn_for(&Relay)
    }

    /// The same for a service of the test's own.
    pub fn turn_for<'a, S>(&'a mut self, service: &'a S) -> Context<'a, S> {
        Context {
            service,
            now: self.now,
            mail_now: self.now + self.asleep,
            date: &self.date,
            address: SessionAddress {
                worker: 0,
                token: Token {
                    index: 0,
                    generation: 0,
                },
            },
            store: &self.store,
            timeouts: &self.timeouts,
            requests: REQUESTS_PER_VISIT,
            login_steps: self.login_steps_per_turn,
            signer: &mut self.signer,
            counters: &self.counters,
            tickets: &mut self.tickets,
            out: &mut self.out,
            wake: &mut self.wake,
            deliveries: &mut self.deliveries,
        }
    }

    /// A connection accepted now, whose kernel takes all.
    pub fn accept(&self) -> Piped {
        Wired::new(Pipe::default(), Connection::new(self.now, &self.timeouts))
    }

    /// One visit to a connection that goes on. Returns what `read` makes of all that it sends.
    ///
    /// What its peer sends is in `input`. The buffers of both directions are the visitor's: the connection owns none.
    pub fn visit<T>(&mut self, piped: &mut Piped, input: &[u8], read: impl FnOnce(&[u8]) -> T) -> T {
        mem::swap(&mut piped.io, &mut self.pipe);
        piped.io.input.extend_from_slice(input);
        piped.note_edges(Edges {
            readable: !input.is_empty(),
            ..Edges::default()
        });
        let mut io_context = self.io.take().unwrap();
        let over = piped.visit(Cause::Ordinary, &mut self.turn(), &mut io_context);
        self.io = Some(io_context);
        assert_eq!(over, None);
        assert!(!piped.wants_turn() && !piped.awaits_login_step() && !piped.io.half_closed);
        mem::swap(&mut piped.io, &mut self.pipe);
        let result = read(&self.pipe.sent);
        self.pipe.sent.clear();
        result
    }

    /// A connection that is logged in, and has no mail.
    pub fn log_in(&mut self, identity: &Identity) -> Piped {
        let mut piped = self.accept();
        let mut say = |bytes: &[u8]| self.visit(&mut piped, bytes, <[u8]>::to_vec);
        say(upgrade_request(([127, 0, 0, 1], 80).into(), &identity.id).as_bytes());
        let challenge = say(&Frame::text(r#"{"get":"challenge"}"#).masked());
        let challenge = Frame::parse_all(&challenge).remove(0).payload;
        let challenge = Challenge::read(str::from_utf8(&challenge).unwrap());
        let done = say(&Frame::text(&identity.solution(&challenge)).masked());
        assert_eq!(done, Frame::text(r#"{"message":"handshake done"}"#).unmasked());
        piped
    }
}
