//! What an opened envelope does to the contact that sent it: its message takes its place, its acknowledgements and
//! requests are taken note of.

use crate::client::account::contact::Contact;
use crate::client::account::input::{Inside, Mail};
use crate::client::account::limits::{
    ANSWER_PAUSE_MS, INFER_AFTER_MS, INFER_MAX, REQUEST_MESSAGES_MAX, SHOW_V2_PAUSE_MS,
};
use crate::client::account::output::{Output, Report};
use crate::client::content::{Body, CardUpdate, Content, MessageHash};
use crate::client::records::{Change, Delivery, Kind, MessageRecord, Standing, Status, Stored, Version};

impl Contact {
    /// Takes what this contact has sent.
    pub(super) fn handle(&mut self, mail: Mail, card_since_ms: u64, now_ms: u64, out: &mut Output) {
        match (mail.inside, self.record.standing) {
            // An envelope v1 can't be opened without the sender's card, which can't be in one.
            (_, Standing::Blocked | Standing::Removed) | (Inside::V1 { .. }, Standing::Requested) => {}
            (Inside::V2(content, bytes), Standing::Requested) => self.request(mail.hash, &content, bytes, now_ms, out),
            (Inside::V2(content, bytes), Standing::Accepted) => {
                // Whoever seals to the user has some card of theirs.
                let known_ms = if mail.by_newest_card { card_since_ms } else { 0 };
                self.amend(now_ms, out, |record| {
                    record.knows_card_ms = record.knows_card_ms.max(Some(known_ms));
                });
                self.converse(mail.hash, &content, bytes, now_ms, out);
            }
            (
                Inside::V1 {
                    time_ms,
                    previous,
                    text,
                },
                Standing::Accepted,
            ) => {
                let message = Arrived {
                    hash: mail.hash,
                    version: Version::V1,
                    kind: Kind::Text,
                    time_ms,
                    parents: previous.into_iter().collect(),
                };
                self.converse1(message, text, now_ms, out);
            }
        }
    }

    fn request(&mut self, hash: MessageHash, content: &Content, bytes: Vec<u8>, now_ms: u64, out: &mut Output) {
        self.update_card(content.card.as_ref(), content.time_ms, now_ms, out);
        let is_new = content.body.is_message() && !self.thread.knows(hash);
        if is_new && self.arrived.len() < REQUEST_MESSAGES_MAX {
            self.store(Arrived::new(hash, content), bytes, now_ms, out);
            out.reports.push(Report::Request(self.record.id, hash));
        }
    }

    fn converse(&mut self, hash: MessageHash, content: &Content, bytes: Vec<u8>, now_ms: u64, out: &mut Output) {
        self.heard_ms = now_ms;
        let was = self.record.version;
        self.amend(now_ms, out, |record| {
            // The contact believes no envelope v1 any more, but for what something of v2 names: so the heads are named.
            record.resync |= was == Version::V1;
            record.version = Version::V2;
        });
        if was == Version::V1 {
            out.reports.push(Report::Changed(self.record.id));
        }
        self.update_card(content.card.as_ref(), content.time_ms, now_ms, out);
        match &content.body {
            Body::Text(_) | Body::File(_) | Body::Unknown => {
                self.receive(Arrived::new(hash, content), bytes, now_ms, out);
            }
            Body::Ack(acks) => {
                self.has_acknowledged |= !acks.is_empty();
                for ack in acks.iter() {
                    self.delivered(*ack, now_ms, out);
                }
            }
            Body::Want(want) => {
                for hash in want.have.iter() {
                    self.delivered(*hash, now_ms, out);
                    self.thread.mention(*hash, now_ms);
                }
                self.plan_asking();
                if !self.is_replayed(hash) {
                    self.asked = Some(want.clone());
                }
            }
        }
    }

    fn converse1(&mut self, message: Arrived, text: String, now_ms: u64, out: &mut Output) {
        // A v1 login signs what the relay chooses, which might be the hash of such an envelope. What a v2 message names
        // is vouched for by that one.
        if self.speaks_v2() && !self.thread.is_missing(message.hash) {
            if !self.thread.knows(message.hash) {
                self.show_v2(now_ms);
            }
            return;
        }
        self.heard_ms = now_ms;
        if let Some(hash) = asked_by(&text) {
            return self.send_again1(hash, now_ms);
        }
        let previous = message.parents.first().copied();
        if self.receive(message, text.into_bytes(), now_ms, out)
            && let Some(previous) = previous
        {
            self.doubt_after(previous, now_ms);
        }
    }

    /// Has the contact see an envelope v2, after which it sends nothing else: acknowledgements, none if there are none.
    fn show_v2(&mut self, now_ms: u64) {
        if self
            .shown_v2_ms
            .is_none_or(|shown_ms| shown_ms + SHOW_V2_PAUSE_MS <= now_ms)
        {
            self.shown_v2_ms = Some(now_ms);
            self.acks_due_ms.get_or_insert(now_ms);
        }
    }

    /// Posts an own message of v1 again.
    fn send_again1(&mut self, hash: MessageHash, now_ms: u64) {
        let own = self.own.get(&hash);
        let is_due = |own: &Delivery| own.status != Status::Failed && own.posted_ms + ANSWER_PAUSE_MS <= now_ms;
        if own.is_some_and(|own| own.version == Version::V1 && is_due(&own.delivery)) {
            self.enqueue(hash);
        }
    }

    /// Takes note that the sender of a message of v1 didn't know what follows the message that it names.
    fn doubt_after(&mut self, previous: MessageHash, now_ms: u64) {
        for hash in self.thread.mine_after(previous) {
            let own = self.own.get(&hash);
            let is_open = own.is_some_and(|own| own.version == Version::V1 && own.delivery.repeats == 0);
            if is_open && self.doubts.len() < INFER_MAX && !self.doubts.iter().any(|(_, doubt)| *doubt == hash) {
                self.doubts.push_back((now_ms + INFER_AFTER_MS, hash));
            }
        }
    }

    /// Takes a message to its place, or acknowledges it once more if it is there. Returns whether it wasn't.
    fn receive(&mut self, message: Arrived, content: Vec<u8>, now_ms: u64, out: &mut Output) -> bool {
        let hash = message.hash;
        if self.thread.knows(hash) {
            if !self.thread.is_mine(hash) && message.version == Version::V2 {
                self.acknowledge(hash, now_ms);
            }
            return false;
        }
        let gap = self.thread.gaps().find(|(gap, _)| *gap == hash).map(|(_, gap)| gap);
        if message.time_ms < self.thread.latest_ms() {
            self.progress_ms = now_ms;
        }
        self.last_contact_ms = now_ms;
        for parent in &message.parents {
            self.delivered(*parent, now_ms, out);
        }
        self.store(message, content, now_ms, out);
        out.reports.push(Report::Message(self.record.id, hash));
        if gap.is_some_and(|gap| gap.tries > 0) {
            out.changes.push(Change::GapClosed(self.record.id, hash));
            out.reports.push(Report::Filled(self.record.id, hash));
        }
        self.plan_asking();
        true
    }

    fn store(&mut self, message: Arrived, content: Vec<u8>, now_ms: u64, out: &mut Output) {
        let status = match message.version {
            Version::V1 => Status::Acknowledged,
            Version::V2 => Status::Arrived,
        };
        let record = MessageRecord {
            hash: message.hash,
            contact: self.record.id,
            mine: false,
            version: message.version,
            kind: message.kind,
            time_ms: message.time_ms,
            arrived_ms: now_ms,
            parents: message.parents,
            bytes: u32::try_from(content.len()).unwrap_or(u32::MAX),
            ttl_s: 0,
            card_ms: None,
            delivery: Delivery::new(status),
        };
        let stored = Stored {
            content,
            envelope: Vec::new(),
        };
        self.make(Change::Message(record, stored), now_ms, out);
    }

    fn update_card(&mut self, card: Option<&CardUpdate>, time_ms: u64, now_ms: u64, out: &mut Output) {
        let Some(card) = card.filter(|_| time_ms > self.record.card_ms) else {
            return;
        };
        let was = self.record.clone();
        self.amend(now_ms, out, |record| {
            record.card_ms = time_ms;
            record.name.clone_from(&card.name);
            record.origin.clone_from(&card.origin);
            record.dh = card.dh;
        });
        if (&was.name, &was.origin, was.dh) != (&card.name, &card.origin, card.dh) {
            out.reports.push(Report::Changed(self.record.id));
        }
    }
}

/// A message that has come.
struct Arrived {
    hash: MessageHash,
    version: Version,
    kind: Kind,
    time_ms: u64,
    parents: Vec<MessageHash>,
}

impl Arrived {
    fn new(hash: MessageHash, content: &Content) -> Self {
        Self {
            hash,
            version: Version::V2,
            kind: match content.body {
                Body::Text(_) => Kind::Text,
                Body::File(_) => Kind::File,
                _ => Kind::Unknown,
            },
            time_ms: content.time_ms,
            parents: content.heads.to_vec(),
        }
    }
}

/// The hash in `{"resend":"…"}`, if the text is that and nothing else: a person may write much that is similar.
fn asked_by(text: &str) -> Option<MessageHash> {
    let serde_json::Value::Object(members) = serde_json::from_str(text).ok()? else {
        return None;
    };
    let hash = members.get("resend").filter(|_| members.len() == 1)?.as_str()?;
    MessageHash::parse(hash.as_bytes())
}
