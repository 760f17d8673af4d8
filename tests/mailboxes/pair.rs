//! Mailboxes beside their model, each operation done to both. Which operations, and in which order, is the caller's.

use std::sync::Arc;
use std::time::{Duration, Instant};

use npchat::protocol::id::RecipientId;
use npchat::server::limits::SEGMENT_MIN_BYTES;
use npchat::server::mailboxes::{Attachment, Budget, Caps, Deliveries, Mailboxes, Retention, Room, Sequence, Stats};
use npchat::server::token::{SessionAddress, Token};

use crate::model::{Model, Outcome};

/// Operations name one of so many mailboxes.
pub(crate) const MAILBOXES: u8 = 3;

/// What a session was given, by the serial in its body.
type Given = (u32, Sequence);

/// The mailboxes, the model, and what the sessions retention.
pub(crate) struct Pair {
    mailboxes: Arc<Mailboxes>,
    model: Model,
    epoch: Instant,
    next_serial: u32,
    /// In the order of the model's sessions: each with what it was given.
    sessions: Vec<(Attachment, Vec<Given>)>,
}

impl Pair {
    pub(crate) fn new(caps: Caps, shards: usize, budget_bytes: u64) -> Self {
        let epoch = Instant::now();
        let budget = Arc::new(Budget::new(budget_bytes));
        Self {
            mailboxes: Arc::new(Mailboxes::new(caps, shards, [3, 4], budget, epoch)),
            model: Model::new(caps, budget_bytes),
            epoch,
            next_serial: 0,
            sessions: Vec::new(),
        }
    }

    /// How many sessions there are; operations name one by a number below.
    pub(crate) fn sessions(&self) -> usize {
        self.sessions.len()
    }

    pub(crate) fn advance(&mut self, millis: u64) {
        self.model.advance(millis);
    }

    pub(crate) fn post(&mut self, mailbox: u8, extra: usize, retention: Retention) {
        let serial = self.serial();
        let mut body = serial.to_be_bytes().to_vec();
        body.resize(4 + extra, 0);
        if matches!(retention, Retention::LiveOnly | Retention::Seconds(0)) {
            // So that whether it is held shows in the count, which nothing else may change.
            self.settle();
            if self.model.has_overdue(mailbox) {
                return;
            }
        }
        let (len, used) = (body.len(), self.mailboxes.budget().used());
        let before = self.mailboxes.stats().messages;
        let mut woken = Vec::new();
        let got = self
            .mailboxes
            .post(&id(mailbox), &body, retention, self.now(), &mut woken);
        let is_held = self.mailboxes.stats().messages > before;
        let wake = self
            .model
            .post(serial, mailbox, len, retention, Outcome { used, is_held, got });
        let woken: Vec<u32> = woken.iter().map(|address| address.token.index).collect();
        assert!(
            wake.must.iter().all(|session| woken.contains(session)),
            "a wake-up is lost"
        );
        assert!(
            woken
                .iter()
                .all(|session| wake.must.contains(session) || wake.may.contains(session))
        );
    }

    pub(crate) fn attach(&mut self, mailbox: u8) {
        self.settle_all_of(mailbox);
        let serial = self.serial();
        let token = Token {
            index: serial,
            generation: 0,
        };
        let attachment = self.mailboxes.attach(&id(mailbox), SessionAddress { worker: 0, token });
        assert_eq!(attachment.is_ok(), self.model.attach(serial, mailbox));
        if let Ok(attachment) = attachment {
            self.model.tell(mailbox, attachment.take_lost(self.now()));
            self.sessions.push((attachment, Vec::new()));
        }
    }

    pub(crate) fn detach(&mut self, at: usize) {
        if self.model.owes(at) {
            self.settle_all_of(self.model.sessions[at].mailbox);
        }
        self.sessions.remove(at);
        self.model.detach(at);
    }

    pub(crate) fn take(&mut self, at: usize, max_bytes: usize, is_all_acknowledged: bool) {
        let now = self.now();
        let (attachment, given) = &mut self.sessions[at];
        let mut deliveries = Deliveries::new();
        let left = attachment.take(now, Room::of_bytes(max_bytes), is_all_acknowledged, &mut deliveries);
        let serials: Vec<u32> = deliveries.iter().map(|delivery| serial_of(delivery.body)).collect();
        given.extend(
            deliveries
                .iter()
                .map(|delivery| (serial_of(delivery.body), delivery.sequence)),
        );
        assert_eq!((serials, left), self.model.take(at, max_bytes, is_all_acknowledged));
    }

    /// Confirms one of the deliveries that the session was given, an old one perhaps.
    pub(crate) fn confirm(&mut self, at: usize, delivery: usize) {
        let (attachment, given) = &self.sessions[at];
        if !given.is_empty() {
            let (serial, sequence) = given[delivery % given.len()];
            attachment.confirm(sequence, &mut Vec::new());
            self.model.confirm(at, serial);
        }
    }

    /// Confirms what nobody was given.
    pub(crate) fn confirm_bogus(&self, at: usize, ahead: u32) {
        let (attachment, given) = &self.sessions[at];
        // Far enough ahead of all that was posted, and not so far that it comes round.
        if let Some((_, last)) = given.last() {
            let ahead = (ahead % (u32::MAX - 20_000)) + 10_000;
            attachment.confirm(Sequence(last.0.wrapping_add(ahead)), &mut Vec::new());
        }
    }

    pub(crate) fn expire(&self, shard: usize, budget: usize) {
        let mut left = budget;
        if self.mailboxes.expire(shard, self.now(), &mut left) {
            assert_eq!(left, 0, "it stopped with budget left");
        }
    }

    pub(crate) fn settle(&mut self) {
        for shard in 0..self.mailboxes.shards() {
            while self.mailboxes.expire(shard, self.now(), &mut 3) {}
        }
        self.model.settle();
        self.check();
    }

    /// Nothing is left whose time is over: which message is the first would hang on how much of that has been freed.
    fn settle_all_of(&mut self, mailbox: u8) {
        self.settle();
        if self.model.has_overdue(mailbox) {
            self.model.advance(1000 - self.model.now_millis % 1000);
            self.settle();
        }
    }

    /// Somebody logs in to each mailbox, and is told the last of what was lost there.
    fn tell_all(&mut self) {
        // To a whole second, so that nothing more expires before the last of them.
        self.model.advance(999 - (self.model.now_millis + 999) % 1000);
        self.settle();
        for mailbox in 0..MAILBOXES {
            self.attach(mailbox);
            self.detach(0);
        }
        self.model.check_told(self.mailboxes.expired());
    }

    /// Every session leaves and every message expires: nothing is held then, nor charged.
    pub(crate) fn end(&mut self, longest_ttl_seconds: u64) {
        while !self.sessions.is_empty() {
            self.detach(0);
            self.check();
        }
        self.tell_all();
        self.model.advance((longest_ttl_seconds + 2) * 1000);
        self.tell_all();
        assert_eq!(self.mailboxes.stats(), Stats::default());
        assert_eq!(self.mailboxes.budget().used(), 0);
    }

    pub(crate) fn check(&self) {
        let stats = self.mailboxes.stats();
        let (used, limit) = (self.mailboxes.budget().used(), self.mailboxes.budget().limit());
        let (least, most) = self.model.held();
        assert!(
            (least.messages..=most.messages).contains(&stats.messages),
            "lost, or kept"
        );
        assert!((least.least_cost()..=most.most_cost()).contains(&used));
        // Mailboxes of sessions alone are made even when the budget is spent.
        assert!(used <= limit + (self.mailboxes.shards() * SEGMENT_MIN_BYTES) as u64);
        assert_eq!(stats.sessions, self.sessions.len() as u64);
        let lost = self.model.lost(None);
        assert!(lost.contains(&self.mailboxes.expired()), "miscounted what was lost");
    }

    fn now(&self) -> Instant {
        self.epoch + Duration::from_millis(self.model.now_millis)
    }

    fn serial(&mut self) -> u32 {
        self.next_serial += 1;
        self.next_serial
    }
}

fn id(mailbox: u8) -> RecipientId {
    RecipientId::from_bytes([mailbox; 32])
}

fn serial_of(body: &[u8]) -> u32 {
    let first = body.first_chunk().copied().unwrap_or_default();
    u32::from_be_bytes(first)
}
