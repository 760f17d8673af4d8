//! What the user does: writes, adds, accepts, blocks, removes and renames people.

use crate::client::account::Account;
use crate::client::account::contact::Contact;
use crate::client::account::input::{ActError, NewContact, Own, Seal1, Written};
use crate::client::account::limits::{CONTACTS_MAX, OUTBOX_MAX};
use crate::client::account::output::{Header1, Output};
use crate::client::content::{Body, CONTENT_MAX_BYTES, Hashes, MessageHash};
use crate::client::names::Name;
use crate::client::records::{Change, Delivery, Kind, MessageRecord, Standing, Status, Stored, Version};
use crate::protocol::id::RecipientId;

impl Account {
    /// Writes a message. It is posted, and posted again until the relay has taken or refused it.
    ///
    /// # Errors
    /// Any [`ActError`] but [`ActError::ContactsFull`]; nothing has changed then.
    pub fn send(
        &mut self,
        to: RecipientId,
        message: Written,
        now_ms: u64,
        sealer: &mut dyn Seal1,
    ) -> Result<(MessageHash, Output), ActError> {
        let mut out = Output::default();
        let own = self.own().clone();
        let contact = self.known(to)?;
        if !contact.is_accepted() {
            return Err(ActError::NotAccepted);
        }
        if contact.queue.len() >= OUTBOX_MAX {
            return Err(ActError::OutboxFull);
        }
        let (record, stored) = match contact.record.version {
            Version::V2 => contact.write2(&own, message, now_ms)?,
            Version::V1 => contact.write1(message, now_ms, sealer)?,
        };
        let hash = record.hash;
        contact.make(Change::Message(record, stored), now_ms, &mut out);
        self.go_on(to, now_ms, &mut out);
        Ok((hash, out))
    }

    /// Adds somebody by a link, and accepts them.
    ///
    /// Of somebody who is known it only sees to it that they are accepted, and that they are reached where the link
    /// says if they never sent a newer card.
    ///
    /// # Errors
    /// [`ActError::Oneself`] or [`ActError::ContactsFull`].
    pub fn add(&mut self, new: &NewContact, now_ms: u64) -> Result<Output, ActError> {
        let id = new.auth.id();
        if id == self.own().id() {
            return Err(ActError::Oneself);
        }
        let mut out = Output::default();
        if self.contact(id).is_none() && self.contact_count() >= CONTACTS_MAX {
            return Err(ActError::ContactsFull);
        }
        let contact = self.known_or_new(id, || Contact::new(new.record()));
        contact.amend(now_ms, &mut out, |record| {
            if record.card_ms == 0 {
                (record.dh, record.name, record.origin) = (new.dh, new.name.clone(), new.origin.clone());
            }
            record.version = record.version.max(new.version);
        });
        if out.changes.is_empty() && contact.thread.is_empty() {
            // Somebody new, whose record hasn't changed since.
            let record = contact.record.clone();
            contact.make(Change::Contact(record), now_ms, &mut out);
        }
        contact.accept(now_ms, &mut out);
        self.go_on(id, now_ms, &mut out);
        Ok(out)
    }

    /// Accepts somebody who was unknown, blocked or removed: what has come is acknowledged, what hasn't is asked for.
    ///
    /// # Errors
    /// [`ActError::Nobody`].
    pub fn accept(&mut self, id: RecipientId, now_ms: u64) -> Result<Output, ActError> {
        let mut out = Output::default();
        self.known(id)?.accept(now_ms, &mut out);
        self.go_on(id, now_ms, &mut out);
        Ok(out)
    }

    /// Blocks somebody: whatever comes from them is dropped from now on. What has come stays.
    ///
    /// # Errors
    /// [`ActError::Nobody`].
    pub fn block(&mut self, id: RecipientId, now_ms: u64) -> Result<Output, ActError> {
        let mut out = Output::default();
        let contact = self.known(id)?;
        contact.amend(now_ms, &mut out, |record| record.standing = Standing::Blocked);
        self.go_on(id, now_ms, &mut out);
        Ok(out)
    }

    /// Removes somebody and what their messages say. They may write again, as somebody unknown; no message comes twice.
    ///
    /// # Errors
    /// [`ActError::Nobody`].
    pub fn remove(&mut self, id: RecipientId, now_ms: u64) -> Result<Output, ActError> {
        let mut out = Output::default();
        let contact = self.known(id)?;
        contact.amend(now_ms, &mut out, |record| record.standing = Standing::Removed);
        contact.settle(now_ms, &mut out);
        contact.make(Change::Emptied(id), now_ms, &mut out);
        self.go_on(id, now_ms, &mut out);
        Ok(out)
    }

    /// Gives somebody another name, or takes it away.
    ///
    /// # Errors
    /// [`ActError::Nobody`].
    pub fn rename(&mut self, id: RecipientId, alias: Option<Name>, now_ms: u64) -> Result<Output, ActError> {
        let mut out = Output::default();
        self.known(id)?.amend(now_ms, &mut out, |record| record.alias = alias);
        Ok(out)
    }
}

impl Contact {
    fn accept(&mut self, now_ms: u64, out: &mut Output) {
        let has_gone_on = self.record.standing != Standing::Accepted;
        self.amend(now_ms, out, |record| {
            record.standing = Standing::Accepted;
            record.resync |= has_gone_on;
        });
        self.last_contact_ms = now_ms;
        self.plan_asking();
    }

    /// Nothing is posted nor acknowledged any more.
    fn settle(&mut self, now_ms: u64, out: &mut Output) {
        let own = self
            .own
            .iter()
            .filter(|(_, own)| own.delivery.status == Status::Pending);
        let pending = own.map(|(hash, own)| (*hash, own.delivery, Status::Failed));
        let arrived = self.arrived.iter();
        let arrived = arrived.map(|hash| (*hash, Delivery::new(Status::Arrived), Status::Acknowledged));
        let open: Vec<_> = pending.chain(arrived).collect();
        for (hash, delivery, status) in open {
            self.make(Change::Delivery(hash, Delivery { status, ..delivery }), now_ms, out);
        }
        self.queue.clear();
        self.again = None;
        self.acks.clear();
        self.asked = None;
    }

    fn write2(&self, own: &Own, message: Written, now_ms: u64) -> Result<(MessageRecord, Stored), ActError> {
        let kind = match message.body {
            Body::Text(_) => Kind::Text,
            Body::File(_) => Kind::File,
            _ => return Err(ActError::NoMessage),
        };
        let heads = Hashes::first_of(&mut self.thread.heads());
        let parents = heads.to_vec();
        let mut content = self.content(own, now_ms, heads, message.body);
        let (hash, bytes) = loop {
            let bytes = content.to_bytes();
            let hash = MessageHash::of(&own.auth, &bytes);
            if !self.thread.knows(hash) {
                break (hash, bytes);
            }
            // One that has failed, and said the same in the same millisecond.
            content.time_ms += 1;
        };
        if let Some(excess) = bytes.len().checked_sub(CONTENT_MAX_BYTES).filter(|excess| *excess > 0) {
            return Err(ActError::TooLong(excess));
        }
        let card_ms = content.card.is_some().then_some(own.card_since_ms);
        let record = self.pending(hash, Version::V2, kind, content.time_ms, message.ttl_s);
        let bytes_stored = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let stored = Stored {
            content: bytes,
            envelope: Vec::new(),
        };
        Ok((
            MessageRecord {
                parents,
                bytes: bytes_stored,
                card_ms,
                arrived_ms: now_ms,
                ..record
            },
            stored,
        ))
    }

    fn write1(
        &self,
        message: Written,
        now_ms: u64,
        sealer: &mut dyn Seal1,
    ) -> Result<(MessageRecord, Stored), ActError> {
        let Body::Text(text) = message.body else {
            return Err(ActError::NeedsV2);
        };
        let text = readable1(text);
        let header = Header1 {
            time_ms: now_ms,
            previous: self.thread.order().next_back(),
        };
        let (hash, envelope) = sealer.seal1(&self.record, header, &text).ok_or(ActError::NotSealed)?;
        if self.thread.knows(hash) {
            return Err(ActError::NotSealed);
        }
        let record = MessageRecord {
            parents: header.previous.into_iter().collect(),
            bytes: u32::try_from(envelope.len()).unwrap_or(u32::MAX),
            arrived_ms: now_ms,
            ..self.pending(hash, Version::V1, Kind::Text, now_ms, message.ttl_s)
        };
        let content = text.into_bytes();
        Ok((record, Stored { content, envelope }))
    }

    fn pending(&self, hash: MessageHash, version: Version, kind: Kind, time_ms: u64, ttl_s: u32) -> MessageRecord {
        MessageRecord {
            hash,
            contact: self.record.id,
            mine: true,
            version,
            kind,
            time_ms,
            arrived_ms: time_ms,
            parents: Vec::new(),
            bytes: 0,
            ttl_s,
            card_ms: None,
            delivery: Delivery::new(Status::Pending),
        }
    }
}

/// npchat-web takes a text that is JSON for a command, and drops what it doesn't understand: it gets a zero-width space
/// behind it.
fn readable1(mut text: String) -> String {
    if serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok() {
        text.push('\u{200b}');
    }
    text
}
