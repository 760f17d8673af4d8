//! Mailboxes of all relays, in virtual time: what is stored until it is acknowledged or its time is over.

use std::collections::HashMap;

use crate::envelope::Envelope;

/// A mailbox: somebody's at a relay.
pub(crate) type Address = (usize, usize);

#[derive(Default)]
pub(crate) struct Relays {
    mailboxes: HashMap<Address, Mailbox>,
    count: u64,
}

#[derive(Default)]
struct Mailbox {
    mail: Vec<Stored>,
    expired: u64,
}

/// A message at a relay.
#[derive(Clone)]
pub(crate) struct Stored {
    pub(crate) number: u64,
    pub(crate) envelope: Envelope,
    until_ms: u64,
}

impl Relays {
    /// Stores a message. Returns what names it.
    pub(crate) fn store(&mut self, address: Address, envelope: Envelope, until_ms: u64) -> u64 {
        self.count += 1;
        let stored = Stored {
            number: self.count,
            envelope,
            until_ms,
        };
        self.mailboxes.entry(address).or_default().mail.push(stored);
        self.count
    }

    /// A login: how many messages have expired since the last one, and those that are there.
    pub(crate) fn log_in(&mut self, address: Address, now_ms: u64) -> (u64, Vec<u64>) {
        let mailbox = self.mailboxes.entry(address).or_default();
        let before = mailbox.mail.len();
        mailbox.mail.retain(|stored| stored.until_ms > now_ms);
        mailbox.expired += (before - mailbox.mail.len()) as u64;
        let expired = std::mem::take(&mut mailbox.expired);
        (expired, mailbox.mail.iter().map(|stored| stored.number).collect())
    }

    /// A message that is still there.
    pub(crate) fn get(&self, address: Address, number: u64) -> Option<&Stored> {
        let mail = &self.mailboxes.get(&address)?.mail;
        mail.iter().find(|stored| stored.number == number)
    }

    pub(crate) fn acknowledge(&mut self, address: Address, number: u64) {
        if let Some(mailbox) = self.mailboxes.get_mut(&address) {
            mailbox.mail.retain(|stored| stored.number != number);
        }
    }
}
