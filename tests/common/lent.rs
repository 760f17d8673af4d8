//! What a worker owns and lends to a connection for a turn, and a visit as it makes one, without a socket.

use std::time::{Duration, Instant, UNIX_EPOCH};

use npchat::server::config::{Config, Timeouts};
use npchat::server::connection::{Connection, Step};
use npchat::server::context::Context;
use npchat::server::http::HttpDate;
use npchat::server::limits::{LOGIN_STEPS_PER_TURN, REQUESTS_PER_VISIT};
use npchat::server::mailboxes::Deliveries;
use npchat::server::metrics::Counters;
use npchat::server::signer::ChallengeSigner;
use npchat::server::store::Store;
use npchat::server::token::{SessionAddress, Token};

use super::identity::{Challenge, Identity};
use super::websocket::{Frame, upgrade_request};

/// One worker's belongings.
pub(crate) struct Lent {
    pub(crate) now: Instant,
    /// How much older mail has become: the machine slept for so long, or the worker was kept from running.
    pub(crate) asleep: Duration,
    pub(crate) store: Store,
    pub(crate) timeouts: Timeouts,
    /// What other logins leave to this connection in a turn.
    pub(crate) login_steps_per_turn: usize,
    pub(crate) counters: Counters,
    pub(crate) out: Vec<u8>,
    pub(crate) wake: Vec<SessionAddress>,
    date: HttpDate,
    signer: ChallengeSigner,
    deliveries: Deliveries,
}

impl Lent {
    pub(crate) fn new(config: &Config, now: Instant) -> Self {
        Self {
            now,
            asleep: Duration::ZERO,
            store: Store::new(config, [1, 2], now, "1970-01-01T00:00:00Z"),
            timeouts: config.timeouts,
            login_steps_per_turn: LOGIN_STEPS_PER_TURN,
            counters: Counters::default(),
            out: Vec::new(),
            wake: Vec::new(),
            date: HttpDate::at(UNIX_EPOCH),
            signer: ChallengeSigner::new(5).unwrap(),
            deliveries: Deliveries::new(),
        }
    }

    pub(crate) fn turn(&mut self) -> Context<'_> {
        Context {
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
            out: &mut self.out,
            wake: &mut self.wake,
            deliveries: &mut self.deliveries,
        }
    }

    /// One visit to a connection that goes on, by the calling contract of [`Connection`]: work, and one send, of which the
    /// kernel takes all. `send` sees what it is.
    pub(crate) fn visit<T>(
        &mut self,
        connection: &mut Connection,
        work: impl FnOnce(&mut Connection, &mut Context<'_>),
        send: impl FnOnce(&[u8]) -> T,
    ) -> T {
        let mut context = self.turn();
        work(connection, &mut context);
        let unsent = connection.unsent(context.out);
        let (count, result) = (unsent.len(), send(unsent));
        connection.sent(count, &mut context);
        assert_eq!(connection.next_step(&context), Step::Wait);
        assert!(!connection.wants_turn() && !connection.awaits_login_step());
        result
    }

    /// A connection that is logged in, and has no mail.
    pub(crate) fn log_in(&mut self, identity: &Identity) -> Connection {
        let mut connection = Connection::new(self.now, &self.timeouts);
        let mut say = |bytes: &[u8]| {
            self.visit(
                &mut connection,
                |connection, context| connection.receive(bytes, context),
                <[u8]>::to_vec,
            )
        };
        say(upgrade_request(([127, 0, 0, 1], 80).into(), &identity.id).as_bytes());
        let challenge = say(&Frame::text(r#"{"get":"challenge"}"#).masked());
        let challenge = Frame::parse_all(&challenge).remove(0).payload;
        let challenge = Challenge::read(str::from_utf8(&challenge).unwrap());
        let done = say(&Frame::text(&identity.solution(&challenge)).masked());
        assert_eq!(done, Frame::text(r#"{"message":"handshake done"}"#).unmasked());
        connection
    }
}
