//! What became of a post: taken, to be repeated, or refused for good.

use crate::client::account::Account;
use crate::client::account::contact::{Contact, Flight};
use crate::client::account::limits::{RETRY_AFTER_MAX_MS, RETRY_FIRST_MS, RETRY_MAX_MS, TTL_S};
use crate::client::account::output::{Output, PostId, Posted, Report, What};
use crate::client::content::MessageHash;
use crate::client::records::{Change, Delivery, Status};

impl Account {
    /// A post has been answered, or not. `random` is any number, evenly spread: it spreads what is repeated.
    pub fn handle_posted(&mut self, id: PostId, posted: Posted, now_ms: u64, random: u32) -> Output {
        let mut out = Output::default();
        let Some(to) = self.flights.remove(&id) else {
            return out;
        };
        if let Ok(contact) = self.known(to)
            && let Some((_, flight)) = contact.flight.take_if(|(flight, _)| *flight == id)
        {
            match posted {
                Posted::Taken { ttl_s } => contact.taken(flight, ttl_s, now_ms, &mut out),
                Posted::Refused { status, .. } if is_final(status) => {
                    contact.refused(&flight, status, now_ms, &mut out);
                }
                Posted::Refused { retry_after_s, .. } => contact.postpone(flight, retry_after_s, now_ms, random),
                Posted::Unknown => contact.postpone(flight, None, now_ms, random),
            }
        }
        self.go_on(to, now_ms, &mut out);
        out
    }
}

impl Contact {
    /// How long a relay is asked to keep a post, in seconds.
    pub(super) fn ttl_s(&self, what: &What) -> u32 {
        match what {
            What::Message(hash) => self.own.get(hash).map_or(TTL_S, |own| own.ttl_s),
            What::Content(_) | What::Text1(..) => TTL_S,
        }
    }

    fn taken(&mut self, flight: Flight, ttl_s: u32, now_ms: u64, out: &mut Output) {
        self.failures = 0;
        if let What::Message(hash) = flight.what {
            self.taken_message(hash, ttl_s, now_ms, out);
        }
        for hash in flight.acks {
            if self.arrived.contains(&hash) {
                let delivery = Delivery::new(Status::Acknowledged);
                self.make(Change::Delivery(hash, delivery), now_ms, out);
            }
        }
        if flight.is_resync {
            self.amend(now_ms, out, |record| record.resync = false);
        }
    }

    fn taken_message(&mut self, hash: MessageHash, ttl_s: u32, now_ms: u64, out: &mut Output) {
        let Some(own) = self.own.get(&hash).copied() else {
            return;
        };
        let was = own.delivery.status;
        if was == Status::Failed {
            return;
        }
        let delivery = Delivery {
            status: if was == Status::Delivered { was } else { Status::Taken },
            posted_ms: now_ms,
            until_ms: now_ms.saturating_add(u64::from(ttl_s) * 1000),
            repeats: own.delivery.repeats,
        };
        self.make(Change::Delivery(hash, delivery), now_ms, out);
        if was == Status::Pending {
            out.reports.push(Report::Taken(self.record.id, hash));
        }
    }

    fn refused(&mut self, flight: &Flight, status: u16, now_ms: u64, out: &mut Output) {
        self.failures = 0;
        if let What::Message(hash) = flight.what
            && let Some(own) = self.own.get(&hash).copied()
            && own.delivery.status == Status::Pending
        {
            let delivery = Delivery::new(Status::Failed);
            self.make(Change::Delivery(hash, delivery), now_ms, out);
            out.reports.push(Report::Failed(self.record.id, hash, status));
        }
        if flight.is_resync {
            self.amend(now_ms, out, |record| record.resync = false);
        }
    }

    fn postpone(&mut self, flight: Flight, retry_after_s: Option<u32>, now_ms: u64, random: u32) {
        self.again = Some(flight);
        let most = RETRY_MAX_MS.min(RETRY_FIRST_MS << self.failures.min(10));
        self.failures = self.failures.saturating_add(1);
        // All of the time is random, so that clients that failed together don't come back together.
        let pause_ms = 1 + ((most * u64::from(random)) >> 32);
        let least_ms = retry_after_s
            .map_or(0, |seconds| u64::from(seconds) * 1000)
            .min(RETRY_AFTER_MAX_MS);
        self.not_before_ms = now_ms + least_ms + pause_ms;
    }
}

/// Whether a post that was refused with this status would be refused again.
fn is_final(status: u16) -> bool {
    match status {
        // Too slow, too early, too many.
        408 | 425 | 429 => false,
        status => status < 500,
    }
}
