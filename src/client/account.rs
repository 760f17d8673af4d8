//! The core of a client: contacts and their conversations, requests of people whom the user doesn't know, and what is
//! to be posted. No socket, no clock, no cryptography but hashes.

mod acts;
mod contact;
mod due;
mod inbound;
mod input;
pub mod limits;
mod output;
mod results;

use std::collections::{BTreeMap, BTreeSet};

use crate::client::account::contact::Contact;
use crate::client::account::limits::{
    ANNOUNCE_PAUSE_MS, CONTACTS_MAX, RECENT_MAX, RECENT_MS, RELAYS_MAX, REQUEST_MESSAGES_MAX, REQUESTS_MAX,
};
use crate::client::content::{CardUpdate, MessageHash};
use crate::client::names::Origin;
use crate::client::records::{Change, ContactRecord, Delivery, Records, Standing, Version};
use crate::client::thread::Thread;
use crate::protocol::id::RecipientId;

pub use crate::client::account::input::{ActError, Inside, Mail, NewContact, Own, Seal1, Written};
pub use crate::client::account::output::{Header1, Output, Post, PostId, Posted, Report, What};

/// The core of a client.
///
/// # Contract
/// - The owner of the sockets calls `handle_*` with what has come, [`Self::advance`] when [`Self::next_wakeup_ms`] is
///   reached, and the user's acts as they are done. `now_ms` is milliseconds since 1970, and never goes back.
/// - Each call returns an [`Output`]. Its changes are stored in one transaction, durably, before anything of it is
///   posted or shown, and before anything more is read from the relay, which takes that for an acknowledgement. If they
///   can't be stored, the account is dropped and made anew by [`Self::restore`].
/// - Each [`Post`] gets its result by [`Self::handle_posted`], whatever it is. Posts to different contacts may go on at
///   once; for one contact there is one at a time.
///
/// # What it promises
/// A message that was stored stays to be posted until the relay has taken it or refused it for good. What arrives is
/// stored once, whatever relays deliver twice. What is missing is asked for as long as its sender, or anybody, may
/// still send it, and what may be missing at the other side is found out by both. When nothing is written, asking and
/// answering come to an end.
pub struct Account {
    own: Own,
    contacts: BTreeMap<[u8; 32], Contact>,
    relays: BTreeSet<String>,
    /// When which contact has something to do.
    due: BTreeSet<(u64, [u8; 32])>,
    posts: u64,
    flights: BTreeMap<PostId, RecipientId>,
}

impl Account {
    /// The account of what was stored; of [`Records::default`], a new one.
    #[must_use]
    pub fn restore(own: Own, records: &Records, now_ms: u64) -> Self {
        let mut account = Self {
            own,
            contacts: BTreeMap::new(),
            relays: records.relays.iter().map(|origin| origin.as_str().to_owned()).collect(),
            due: BTreeSet::new(),
            posts: 0,
            flights: BTreeMap::new(),
        };
        for record in &records.contacts {
            account.known_or_new(record.id, || Contact::new(record.clone()));
        }
        for message in &records.messages {
            if let Ok(contact) = account.known(message.contact) {
                contact.add(message, now_ms);
            }
        }
        for gap in &records.gaps {
            if let Ok(contact) = account.known(gap.contact) {
                contact.apply(&Change::Gap(*gap), now_ms);
            }
        }
        let keys: Vec<_> = account.contacts.keys().copied().collect();
        for key in keys {
            if let Some(contact) = account.contacts.get_mut(&key) {
                contact.retract_failed();
                contact.plan_asking();
            }
            account.list(RecipientId::from_bytes(key));
        }
        account
    }

    /// Takes over what another process has stored meanwhile, in the order in which it did.
    pub fn follow(&mut self, changes: &[Change], now_ms: u64) -> Output {
        let mut out = Output::default();
        for change in changes {
            let id = match change {
                Change::Contact(record) => record.id,
                Change::Message(message, _) => message.contact,
                Change::Gap(gap) => gap.contact,
                Change::GapClosed(contact, _) | Change::Emptied(contact) => *contact,
                Change::Delivery(hash, _) => match self.contact_of(*hash) {
                    Some(contact) => contact,
                    None => continue,
                },
                Change::Relay(origin) => {
                    self.relays.insert(origin.as_str().to_owned());
                    continue;
                }
            };
            if let Change::Contact(record) = change {
                self.known_or_new(id, || Contact::new(record.clone()));
            }
            if let Ok(contact) = self.known(id) {
                contact.apply(change, now_ms);
                contact.plan_asking();
                self.go_on(id, now_ms, &mut out);
            }
        }
        out
    }

    /// When [`Self::advance`] is to be called, if nothing else is before.
    #[must_use]
    pub fn next_wakeup_ms(&self) -> Option<u64> {
        self.due.first().map(|(due_ms, _)| *due_ms)
    }

    /// Does what is due.
    pub fn advance(&mut self, now_ms: u64) -> Output {
        let mut out = Output::default();
        let due = self.due.iter().take_while(|(due_ms, _)| *due_ms <= now_ms);
        let due: Vec<_> = due.map(|(_, key)| RecipientId::from_bytes(*key)).collect();
        for id in due {
            self.go_on(id, now_ms, &mut out);
        }
        out
    }

    /// An envelope has come, was opened, and its signature is good.
    pub fn handle_mail(&mut self, mail: Mail, now_ms: u64) -> Output {
        let mut out = Output::default();
        let id = mail.sender.id();
        let is_ours = match &mail.inside {
            // A copy that another device of the user has sent to itself isn't understood yet.
            Inside::V2(content, _) => content.to == self.own.id() && id != self.own.id(),
            Inside::V1 { .. } => id != self.own.id(),
        };
        if !is_ours {
            return out;
        }
        let card_since_ms = self.own.card_since_ms;
        self.admit(id, &mail, now_ms, &mut out);
        if let Ok(contact) = self.known(id) {
            contact.handle(mail, card_since_ms, now_ms, &mut out);
            self.go_on(id, now_ms, &mut out);
        }
        out
    }

    /// A session has begun.
    pub fn handle_login(&mut self, now_ms: u64) -> Output {
        let mut out = Output::default();
        out.reports.push(Report::LoggedIn);
        let ids: Vec<_> = self.contacts.values().map(|contact| contact.record.id).collect();
        let card_since_ms = self.own.card_since_ms;
        for id in ids {
            if let Ok(contact) = self.known(id) {
                (contact.failures, contact.not_before_ms) = (0, 0);
                contact.last_contact_ms = now_ms;
                contact.plan_asking();
                if contact.record.announced_ms + ANNOUNCE_PAUSE_MS <= now_ms {
                    contact.announce(card_since_ms, now_ms, &mut out);
                }
            }
            self.go_on(id, now_ms, &mut out);
        }
        out
    }

    /// The session has ended, for this reason.
    pub fn handle_logout(&mut self, reason: &str) -> Output {
        let mut out = Output::default();
        out.reports.push(Report::LoggedOut(reason.to_owned()));
        out
    }

    /// The relay has reported that so many messages expired before the user came.
    pub fn handle_expired(&mut self, count: u64, now_ms: u64) -> Output {
        let mut out = Output::default();
        out.reports.push(Report::Expired(count));
        let is_recent = |contact: &&Contact| {
            let is_recent = contact.thread.is_empty() || contact.last_ms.saturating_add(RECENT_MS) > now_ms;
            is_recent && contact.is_accepted() && contact.speaks_v2()
        };
        let mut recent: Vec<_> = self.contacts.values().filter(is_recent).collect();
        recent.sort_by_key(|contact| std::cmp::Reverse(contact.last_ms));
        let recent: Vec<_> = recent
            .into_iter()
            .map(|contact| contact.record.id)
            .take(RECENT_MAX)
            .collect();
        for id in recent {
            if let Ok(contact) = self.known(id) {
                contact.amend(now_ms, &mut out, |record| record.resync = true);
            }
            self.go_on(id, now_ms, &mut out);
        }
        out
    }

    /// An own relay has offered npchat.2.
    pub fn handle_npchat2(&mut self, relay: &Origin) -> Output {
        let mut out = Output::default();
        if self.relays.len() < RELAYS_MAX && self.relays.insert(relay.as_str().to_owned()) {
            out.changes.push(Change::Relay(relay.clone()));
        }
        out
    }

    /// Whether a login without npchat.2 may be made there: it was never offered.
    #[must_use]
    pub fn may_log_in_without_npchat2(&self, relay: &Origin) -> bool {
        !self.relays.contains(relay.as_str())
    }

    /// The user's card has changed: name, relay or key. Every contact of v2 gets it soon, and until it surely has it.
    ///
    /// A session at the former relay is to be kept for as long as relays keep mail, or longer: two contacts that move
    /// at the same time would lose each other otherwise.
    pub fn handle_own_card(&mut self, card: CardUpdate, now_ms: u64) -> Output {
        let mut out = Output::default();
        (self.own.card, self.own.card_since_ms) = (card, now_ms);
        let ids: Vec<_> = self.contacts.values().map(|contact| contact.record.id).collect();
        for id in ids {
            if let Ok(contact) = self.known(id) {
                contact.announce(now_ms, now_ms, &mut out);
            }
            self.go_on(id, now_ms, &mut out);
        }
        out
    }

    /// Who the user is.
    #[must_use]
    pub fn own(&self) -> &Own {
        &self.own
    }

    /// Everybody, in the order of their ids; those blocked and removed too.
    pub fn contacts(&self) -> impl Iterator<Item = &ContactRecord> {
        self.contacts.values().map(|contact| &contact.record)
    }

    /// Somebody.
    #[must_use]
    pub fn contact(&self, id: RecipientId) -> Option<&ContactRecord> {
        self.contacts.get(id.as_bytes()).map(|contact| &contact.record)
    }

    /// The conversation with somebody.
    #[must_use]
    pub fn thread(&self, id: RecipientId) -> Option<&Thread> {
        self.contacts.get(id.as_bytes()).map(|contact| &contact.thread)
    }

    /// How far an own message to somebody has come.
    #[must_use]
    pub fn delivery(&self, to: RecipientId, hash: MessageHash) -> Option<Delivery> {
        let contact = self.contacts.get(to.as_bytes())?;
        contact.own.get(&hash).map(|own| own.delivery)
    }

    fn contact_count(&self) -> usize {
        self.contacts.len()
    }

    fn contact_of(&self, hash: MessageHash) -> Option<RecipientId> {
        let mut holders = self.contacts.values().filter(|contact| contact.thread.knows(hash));
        holders.next().map(|contact| contact.record.id)
    }

    fn known(&mut self, id: RecipientId) -> Result<&mut Contact, ActError> {
        self.contacts.get_mut(id.as_bytes()).ok_or(ActError::Nobody)
    }

    fn known_or_new(&mut self, id: RecipientId, new: impl FnOnce() -> Contact) -> &mut Contact {
        self.contacts.entry(*id.as_bytes()).or_insert_with(new)
    }

    /// Makes somebody unknown, or removed, one who requests, if they have written a message and say where they are.
    fn admit(&mut self, id: RecipientId, mail: &Mail, now_ms: u64, out: &mut Output) {
        let Inside::V2(content, _) = &mail.inside else {
            return;
        };
        let mut requests = self.contacts.values();
        let is_full = requests
            .by_ref()
            .filter(|contact| contact.record.standing == Standing::Requested)
            .count();
        if is_full >= REQUESTS_MAX || !content.body.is_message() {
            return;
        }
        if let Ok(contact) = self.known(id) {
            let returns = contact.record.standing == Standing::Removed && !contact.thread.knows(mail.hash);
            if returns && contact.arrived.len() < REQUEST_MESSAGES_MAX {
                contact.amend(now_ms, out, |record| record.standing = Standing::Requested);
            }
            return;
        }
        let Some(card) = content.card.as_ref().filter(|_| self.contacts.len() < CONTACTS_MAX) else {
            return;
        };
        let record = ContactRecord {
            id,
            auth: mail.sender,
            dh: card.dh,
            name: card.name.clone(),
            alias: None,
            origin: card.origin.clone(),
            version: Version::V2,
            standing: Standing::Requested,
            card_ms: content.time_ms,
            knows_card_ms: Some(0),
            announced_ms: 0,
            resync: false,
        };
        self.known_or_new(id, || Contact::new(record.clone()))
            .make(Change::Contact(record), now_ms, out);
    }

    /// Posts what is due to a contact, and takes note of when that is so again.
    fn go_on(&mut self, id: RecipientId, now_ms: u64, out: &mut Output) {
        let Some(contact) = self.contacts.get_mut(id.as_bytes()) else {
            return;
        };
        if let Some(flight) = contact.next_flight(&self.own, now_ms, out) {
            let post = Post {
                id: PostId(self.posts),
                to: id,
                what: flight.what.clone(),
                ttl_s: contact.ttl_s(&flight.what),
            };
            self.posts += 1;
            self.flights.insert(post.id, id);
            contact.flight = Some((post.id, flight));
            out.posts.push(post);
        }
        self.list(id);
    }

    fn list(&mut self, id: RecipientId) {
        let Some(contact) = self.contacts.get_mut(id.as_bytes()) else {
            return;
        };
        let due_ms = contact.next_due_ms();
        if due_ms == contact.listed_ms {
            return;
        }
        if let Some(was_ms) = std::mem::replace(&mut contact.listed_ms, due_ms) {
            self.due.remove(&(was_ms, *id.as_bytes()));
        }
        if let Some(due_ms) = due_ms {
            self.due.insert((due_ms, *id.as_bytes()));
        }
    }
}
