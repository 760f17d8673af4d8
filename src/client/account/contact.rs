//! One contact in memory: its record, its thread, and what is due to it. What is stored changes by [`Change`]s alone,
//! so that the same contact comes of a store as of the calls before a crash, but for times that are begun anew.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::client::account::limits::{ACK_AFTER_MS, ACKS_MAX, CONTROLS_REMEMBERED, RECENT_MS, REPEATS_MAX};
use crate::client::account::output::{Output, PostId, Report, What};
use crate::client::content::{MessageHash, Want};
use crate::client::records::{Change, ContactRecord, Delivery, MessageRecord, Standing, Status, Version};
use crate::client::thread::{Gap, Link, Thread};

pub(super) struct Contact {
    pub(super) record: ContactRecord,
    pub(super) thread: Thread,
    /// Own messages.
    pub(super) own: BTreeMap<MessageHash, OwnMessage>,
    /// The own message that was written last and hasn't failed.
    pub(super) newest: Option<MessageHash>,
    /// Own messages of v2, in the order in which they were written, that are taken and may be posted again for want of
    /// an acknowledgement.
    pub(super) unsure: BTreeSet<(usize, MessageHash)>,
    /// Whether the contact has acknowledged anything in this run.
    pub(super) has_acknowledged: bool,
    /// When the last message was written or came.
    pub(super) last_ms: u64,

    /// Own messages to post: new ones, and such as are sent again.
    pub(super) queue: VecDeque<MessageHash>,
    /// The post that hasn't been answered yet. There is one at most, so that messages come in order.
    pub(super) flight: Option<(PostId, Flight)>,
    /// The post that failed.
    pub(super) again: Option<Flight>,
    pub(super) failures: u32,
    pub(super) not_before_ms: u64,

    /// What is to be acknowledged, perhaps once more.
    pub(super) acks: BTreeSet<MessageHash>,
    pub(super) acks_due_ms: Option<u64>,
    /// What no relay has taken an acknowledgement of.
    pub(super) arrived: BTreeSet<MessageHash>,

    /// When the next gap is to be asked for.
    pub(super) ask_due_ms: Option<u64>,
    /// When there was contact: a login, or a new message.
    pub(super) last_contact_ms: u64,
    /// When the last message came that is older than others.
    pub(super) progress_ms: u64,

    /// What the contact asks for.
    pub(super) asked: Option<Want>,
    pub(super) answered_ms: Option<u64>,
    /// The last contents of the contact that were no messages.
    pub(super) controls: VecDeque<MessageHash>,
    /// When something last came.
    pub(super) heard_ms: u64,
    /// Own messages of v1 that the contact seems not to have, and when to post them again.
    pub(super) doubts: VecDeque<(u64, MessageHash)>,
    /// When the contact was last shown that v2 is spoken here.
    pub(super) shown_v2_ms: Option<u64>,

    /// The time under which the contact stands in the account's list.
    pub(super) listed_ms: Option<u64>,
}

/// What is known of an own message besides its place in the thread.
#[derive(Clone, Copy)]
pub(super) struct OwnMessage {
    /// How many were written before.
    number: usize,
    pub(super) version: Version,
    pub(super) ttl_s: u32,
    pub(super) card_ms: Option<u64>,
    pub(super) delivery: Delivery,
}

/// A post, and what follows when it is taken.
#[derive(Clone)]
pub(super) struct Flight {
    pub(super) what: What,
    /// These are acknowledged then.
    pub(super) acks: Vec<MessageHash>,
    /// The contact has been asked for all that isn't known then.
    pub(super) is_resync: bool,
}

impl Contact {
    pub(super) fn new(record: ContactRecord) -> Self {
        Self {
            record,
            thread: Thread::default(),
            own: BTreeMap::new(),
            newest: None,
            unsure: BTreeSet::new(),
            has_acknowledged: false,
            last_ms: 0,
            queue: VecDeque::new(),
            flight: None,
            again: None,
            failures: 0,
            not_before_ms: 0,
            acks: BTreeSet::new(),
            acks_due_ms: None,
            arrived: BTreeSet::new(),
            ask_due_ms: None,
            last_contact_ms: 0,
            progress_ms: 0,
            asked: None,
            answered_ms: None,
            controls: VecDeque::new(),
            heard_ms: 0,
            doubts: VecDeque::new(),
            shown_v2_ms: None,
            listed_ms: None,
        }
    }

    /// Makes a change, and has it stored.
    pub(super) fn make(&mut self, change: Change, now_ms: u64, out: &mut Output) {
        self.apply(&change, now_ms);
        out.changes.push(change);
    }

    /// Changes the record, and has it stored.
    pub(super) fn amend(&mut self, now_ms: u64, out: &mut Output, amend: impl FnOnce(&mut ContactRecord)) {
        let mut record = self.record.clone();
        amend(&mut record);
        if record != self.record {
            self.make(Change::Contact(record), now_ms, out);
        }
    }

    /// Takes over a change of this contact that is stored or will be.
    pub(super) fn apply(&mut self, change: &Change, now_ms: u64) {
        match change {
            Change::Contact(record) => self.record.clone_from(record),
            Change::Message(message, _) => self.add(message, now_ms),
            Change::Delivery(hash, delivery) => self.set_delivery(*hash, *delivery),
            Change::Gap(gap) => self.thread.set_gap(
                gap.hash,
                Gap {
                    since_ms: gap.asked_ms,
                    asked_ms: gap.asked_ms,
                    tries: gap.tries,
                },
            ),
            // A message that is inserted closes its gap. Relays are no contact's.
            Change::GapClosed(..) | Change::Relay(_) => {}
            Change::Emptied(_) => {
                self.thread.empty();
                self.unsure.clear();
            }
        }
    }

    pub(super) fn add(&mut self, message: &MessageRecord, now_ms: u64) {
        let link = Link {
            hash: message.hash,
            parents: &message.parents,
            mine: message.mine,
            time_ms: message.time_ms,
            bytes: message.bytes,
        };
        if !self.thread.insert(link, now_ms) {
            return;
        }
        self.last_ms = self.last_ms.max(message.arrived_ms);
        if message.mine {
            let own = OwnMessage {
                number: self.own.len(),
                version: message.version,
                ttl_s: message.ttl_s,
                card_ms: message.card_ms,
                delivery: message.delivery,
            };
            self.own.insert(message.hash, own);
            self.newest = Some(message.hash);
            self.sort(message.hash);
        } else if message.delivery.status == Status::Arrived {
            self.arrived.insert(message.hash);
            self.acknowledge(message.hash, now_ms);
        }
    }

    fn set_delivery(&mut self, hash: MessageHash, delivery: Delivery) {
        let Some(own) = self.own.get_mut(&hash) else {
            if delivery.status == Status::Acknowledged {
                self.arrived.remove(&hash);
            }
            return;
        };
        let had_failed = own.delivery.status == Status::Failed;
        own.delivery = delivery;
        match (had_failed, delivery.status == Status::Failed) {
            (false, true) => self.retract(hash),
            (true, false) => self.thread.reinstate(hash),
            _ => {}
        }
        self.sort(hash);
    }

    /// Takes note of what may have to be done about an own message.
    fn sort(&mut self, hash: MessageHash) {
        let Some(own) = self.own.get(&hash).copied() else {
            return;
        };
        let Delivery { status, repeats, .. } = own.delivery;
        let may_repeat = repeats < REPEATS_MAX && own.ttl_s > 0 && self.thread.can_send(hash);
        if status == Status::Taken && own.version == Version::V2 && may_repeat {
            self.unsure.insert((own.number, hash));
        } else {
            self.unsure.remove(&(own.number, hash));
        }
        if status == Status::Pending {
            self.enqueue(hash);
        }
    }

    /// Whether nothing shows that an own message is there, and posting it again may help.
    pub(super) fn is_unsure(&self, hash: MessageHash) -> bool {
        let own = self.own.get(&hash);
        own.is_some_and(|own| self.unsure.contains(&(own.number, hash)))
    }

    /// Has no later message name one that has failed.
    fn retract(&mut self, hash: MessageHash) {
        let has_failed = |mine: &MessageHash| {
            let own = self.own.get(mine);
            own.is_some_and(|own| own.delivery.status == Status::Failed)
        };
        // What is named by nothing but such a message may be one itself.
        let mut next = Some(hash);
        while let Some(failed) = next {
            self.thread.retract(failed);
            next = self.thread.heads().find(has_failed);
        }
        let mut mine = self.thread.order().rev().filter(|mine| self.own.contains_key(mine));
        self.newest = mine.find(|mine| !has_failed(mine));
    }

    /// To be called once all messages have been added from a store: which of them name which is known then.
    pub(super) fn retract_failed(&mut self) {
        let failed = self.own.iter().filter(|(_, own)| own.delivery.status == Status::Failed);
        let failed: Vec<_> = failed.map(|(hash, _)| *hash).collect();
        for hash in failed {
            self.retract(hash);
        }
    }

    /// Whether messages go both ways.
    pub(super) fn is_accepted(&self) -> bool {
        self.record.standing == Standing::Accepted
    }

    pub(super) fn speaks_v2(&self) -> bool {
        self.record.version == Version::V2
    }

    /// Has an own message posted, if it isn't waiting for that already, and wasn't deleted.
    pub(super) fn enqueue(&mut self, hash: MessageHash) {
        if self.thread.can_send(hash) && !self.is_waiting(hash) {
            self.queue.push_back(hash);
        }
    }

    /// Whether an own message is being posted or waits for it.
    pub(super) fn is_waiting(&self, hash: MessageHash) -> bool {
        let flights = self.flight.iter().map(|(_, flight)| flight).chain(&self.again);
        flights
            .map(|flight| &flight.what)
            .any(|what| *what == What::Message(hash))
            || self.queue.contains(&hash)
    }

    /// Has a message acknowledged soon, with others.
    pub(super) fn acknowledge(&mut self, hash: MessageHash, now_ms: u64) {
        if self.speaks_v2() && self.acks.len() < ACKS_MAX {
            self.acks.insert(hash);
            self.acks_due_ms.get_or_insert(now_ms + ACK_AFTER_MS);
        }
    }

    /// Takes note that an own message is there.
    pub(super) fn delivered(&mut self, hash: MessageHash, now_ms: u64, out: &mut Output) {
        let Some(own) = self.own.get(&hash).copied() else {
            return;
        };
        // One that was given up may have been posted before.
        if !matches!(own.delivery.status, Status::Pending | Status::Taken | Status::Failed) {
            return;
        }
        let delivery = Delivery {
            status: Status::Delivered,
            ..own.delivery
        };
        self.make(Change::Delivery(hash, delivery), now_ms, out);
        self.amend(now_ms, out, |record| {
            record.knows_card_ms = record.knows_card_ms.max(own.card_ms);
        });
        out.reports.push(Report::Delivered(self.record.id, hash));
    }

    /// Has a recent contact get the user's card, which has changed then, unless it surely has it.
    pub(super) fn announce(&mut self, card_since_ms: u64, now_ms: u64, out: &mut Output) {
        let is_recent = self.thread.is_empty() || self.last_ms.saturating_add(RECENT_MS) > now_ms;
        let is_known = card_since_ms == 0 || self.record.knows_card_ms >= Some(card_since_ms);
        if self.is_accepted() && self.speaks_v2() && is_recent && !is_known {
            self.amend(now_ms, out, |record| record.announced_ms = now_ms);
            // Acknowledgements, none if there are none, carry it.
            self.acks_due_ms = Some(now_ms);
        }
    }

    /// Whether this content has come before, as far as is remembered.
    pub(super) fn is_replayed(&mut self, hash: MessageHash) -> bool {
        if self.controls.contains(&hash) {
            return true;
        }
        if self.controls.len() >= CONTROLS_REMEMBERED {
            self.controls.pop_front();
        }
        self.controls.push_back(hash);
        false
    }
}
