//! What goes to a contact next, and when: requests for what is missing, acknowledgements, answers, messages. One post
//! at a time for each contact.

use crate::client::account::contact::{Contact, Flight};
use crate::client::account::input::Own;
use crate::client::account::limits::{
    ANSWER_MAX, ANSWER_PAUSE_MS, ASK_AFTER_MS, ASK_AFTER_PROGRESS_MS, ASK_AGAIN_MS, ASK_AT_CONTACT_MS, HAVE_MAX,
    REPEAT_AFTER_MS, REPEAT_UNHEARD_MAX_MS, REPEATS_MAX, REPEATS_UNHEARD_MAX, WANT_MAX,
};
use crate::client::account::output::{Header1, Output, Report, What};
use crate::client::content::{Body, CardUpdate, Content, HASHES_MAX, HashList, Heads, MessageHash, Want};
use crate::client::records::{Change, Delivery, GapRecord, Status, Version};
use crate::client::thread::Gap;

impl Contact {
    /// When something is to be posted next, if no call comes before; `None` if nothing is.
    pub(super) fn next_due_ms(&self) -> Option<u64> {
        if self.flight.is_some() || !self.is_accepted() {
            return None;
        }
        let is_pending = self.again.is_some() || !self.queue.is_empty() || self.has_resync();
        let pending = is_pending.then_some(0);
        let times = [
            pending,
            self.ask_due_ms,
            self.acks_due_ms,
            self.answer_due_ms(),
            self.next_repeat().map(|(_, due_ms)| due_ms),
            self.doubts.front().map(|(due_ms, _)| *due_ms),
        ];
        let due_ms = times.into_iter().flatten().min()?;
        Some(due_ms.max(self.not_before_ms))
    }

    /// What is to be posted now.
    pub(super) fn next_flight(&mut self, own: &Own, now_ms: u64, out: &mut Output) -> Option<Flight> {
        if self.flight.is_some() || !self.is_accepted() || now_ms < self.not_before_ms {
            return None;
        }
        self.queue.retain(|hash| self.thread.can_send(*hash));
        let is_there = |what: &What| !matches!(what, What::Message(hash) if !self.thread.can_send(*hash));
        if let Some(flight) = self.again.take().filter(|flight| is_there(&flight.what)) {
            return Some(flight);
        }
        self.answer(now_ms);
        self.repeat(own, now_ms, out);
        self.resolve_doubts(now_ms, out);
        let control = self
            .resync(own, now_ms)
            .or_else(|| self.ask(own, now_ms, out))
            .or_else(|| self.send_acks(own, now_ms));
        control.or_else(|| self.queue.pop_front().map(|hash| Flight::new(What::Message(hash))))
    }

    /// A content for this contact, with the user's card if the contact may not have it.
    pub(super) fn content(&self, own: &Own, time_ms: u64, heads: Heads, body: Body) -> Content {
        let is_known = self.record.knows_card_ms >= Some(own.card_since_ms);
        Content {
            time_ms,
            to: self.record.id,
            heads,
            body,
            card: (!is_known).then(|| CardUpdate::clone(&own.card)),
        }
    }

    fn control(&self, own: &Own, now_ms: u64, body: Body) -> Flight {
        let content = self.content(own, now_ms, Heads::default(), body);
        Flight::new(What::Content(content.to_bytes()))
    }

    fn has_resync(&self) -> bool {
        self.record.resync && self.speaks_v2()
    }

    fn resync(&mut self, own: &Own, now_ms: u64) -> Option<Flight> {
        if !self.has_resync() {
            return None;
        }
        let mut flight = self.control(
            own,
            now_ms,
            Body::Want(Want {
                want: HashList::default(),
                have: HashList::first_of(&mut self.thread.heads().take(HAVE_MAX)),
            }),
        );
        flight.is_resync = true;
        Some(flight)
    }

    /// When the gap is to be asked for.
    fn gap_due_ms(&self, gap: Gap) -> Option<u64> {
        let at_contact = || (self.last_contact_ms > gap.asked_ms).then(|| gap.asked_ms + ASK_AT_CONTACT_MS);
        let scheduled = match usize::from(gap.tries) {
            0 => Some(gap.since_ms + ASK_AFTER_MS),
            tries => ASK_AGAIN_MS
                .get(tries - 1)
                .map_or_else(at_contact, |pause| Some(gap.asked_ms + pause)),
        };
        let goes_on = gap.tries > 0 && self.progress_ms > gap.asked_ms;
        let progress = goes_on.then(|| (gap.asked_ms + ANSWER_PAUSE_MS).max(self.progress_ms + ASK_AFTER_PROGRESS_MS));
        [scheduled, progress].into_iter().flatten().min()
    }

    /// Finds out anew when to ask. To be called when gaps have come, or what they depend on has changed.
    pub(super) fn plan_asking(&mut self) {
        self.ask_due_ms = self.thread.gaps().filter_map(|(_, gap)| self.gap_due_ms(gap)).min();
    }

    /// The request for all gaps that are due, in v1 for one of them.
    fn ask(&mut self, own: &Own, now_ms: u64, out: &mut Output) -> Option<Flight> {
        if self.ask_due_ms.is_none_or(|due_ms| due_ms > now_ms) {
            return None;
        }
        let is_due = |gap: Gap| self.gap_due_ms(gap).is_some_and(|due_ms| due_ms <= now_ms);
        let mut due: Vec<_> = self.thread.gaps().filter(|(_, gap)| is_due(*gap)).collect();
        due.sort_unstable_by_key(|(hash, gap)| (gap.tries, gap.since_ms, *hash));
        due.truncate(if self.speaks_v2() { WANT_MAX } else { 1 });
        let have = self.thread.complete(HAVE_MAX);
        for (hash, gap) in &due {
            let asked = GapRecord {
                contact: self.record.id,
                hash: *hash,
                asked_ms: now_ms,
                tries: gap.tries.saturating_add(1),
            };
            self.make(Change::Gap(asked), now_ms, out);
        }
        self.report_asking(&due, out);
        self.plan_asking();
        let (first, _) = due.first()?;
        if !self.speaks_v2() {
            return Some(self.ask1(*first, now_ms));
        }
        let want = HashList::first_of(&mut due.iter().map(|(hash, _)| *hash));
        let have = HashList::first_of(&mut have.into_iter());
        Some(self.control(own, now_ms, Body::Want(Want { want, have })))
    }

    fn ask1(&self, hash: MessageHash, now_ms: u64) -> Flight {
        let header = Header1 {
            time_ms: now_ms,
            previous: self.thread.order().next_back(),
        };
        Flight::new(What::Text1(header, format!(r#"{{"resend":"{hash}"}}"#)))
    }

    fn report_asking(&self, asked: &[(MessageHash, Gap)], out: &mut Output) {
        let with_tries = |tries: usize| -> Vec<MessageHash> {
            let them = asked.iter().filter(|(_, gap)| usize::from(gap.tries) == tries);
            them.map(|(hash, _)| *hash).collect()
        };
        let (new, often) = (with_tries(0), with_tries(ASK_AGAIN_MS.len()));
        if !new.is_empty() {
            out.reports.push(Report::Missing(self.record.id, new));
        }
        if !often.is_empty() {
            out.reports.push(Report::MaybeLost(self.record.id, often));
        }
    }

    fn send_acks(&mut self, own: &Own, now_ms: u64) -> Option<Flight> {
        if self.acks_due_ms.is_none_or(|due_ms| due_ms > now_ms) {
            return None;
        }
        let acks: Vec<MessageHash> = self.acks.iter().copied().take(HASHES_MAX).collect();
        for ack in &acks {
            self.acks.remove(ack);
        }
        self.acks_due_ms = (!self.acks.is_empty()).then_some(now_ms);
        let list = HashList::first_of(&mut acks.iter().copied());
        let mut flight = self.control(own, now_ms, Body::Ack(list));
        flight.acks = acks;
        Some(flight)
    }

    fn answer_due_ms(&self) -> Option<u64> {
        self.asked.as_ref()?;
        Some(self.answered_ms.map_or(0, |answered_ms| answered_ms + ANSWER_PAUSE_MS))
    }

    /// Has what the contact asked for posted.
    fn answer(&mut self, now_ms: u64) {
        if self.answer_due_ms().is_none_or(|due_ms| due_ms > now_ms) {
            return;
        }
        let Some(Want { want, have }) = self.asked.take() else {
            return;
        };
        self.answered_ms = Some(now_ms);
        let is_v1 = |hash: &MessageHash| self.own.get(hash).is_some_and(|own| own.version == Version::V1);
        let answer = self.thread.answer(&want, &have, ANSWER_MAX);
        let (mut old, new): (Vec<_>, Vec<_>) = answer.into_iter().partition(is_v1);
        // Whoever speaks v2 believes an envelope v1 only if a message that is there names it.
        old.reverse();
        for hash in new.into_iter().chain(old) {
            self.enqueue(hash);
        }
    }

    /// The own message to post again next, and when, because nothing shows that it is there. The newest comes first:
    /// where it is there, what is before it is there or asked for, and only the acknowledgement may be missing.
    fn next_repeat(&self) -> Option<(MessageHash, u64)> {
        if !self.speaks_v2() {
            return None;
        }
        let newest = self.newest.filter(|hash| self.is_unsure(*hash));
        let oldest = || {
            self.unsure
                .first()
                .map(|(_, hash)| *hash)
                .filter(|_| self.has_acknowledged)
        };
        let hash = newest.or_else(oldest).filter(|hash| !self.is_waiting(*hash))?;
        let Delivery {
            posted_ms,
            until_ms,
            repeats,
            ..
        } = self.own.get(&hash)?.delivery;
        let [first, .., last] = REPEAT_AFTER_MS;
        let pause = REPEAT_AFTER_MS.get(usize::from(repeats)).copied().unwrap_or(last);
        let heard = (self.heard_ms > posted_ms).then_some(posted_ms + pause);
        // Without a sign of life: when the relay has it no longer, and each time later.
        let kept = until_ms.saturating_sub(posted_ms).max(first);
        let later = kept.saturating_mul(1 << repeats.min(REPEATS_MAX));
        let expired = posted_ms.saturating_add(later.min(kept.max(REPEAT_UNHEARD_MAX_MS)));
        let is_open = newest == Some(hash) && repeats < REPEATS_UNHEARD_MAX;
        let expired = is_open.then_some(expired);
        Some((hash, [heard, expired].into_iter().flatten().min()?))
    }

    fn repeat(&mut self, own: &Own, now_ms: u64, out: &mut Output) {
        if let Some((hash, _)) = self.next_repeat().filter(|(_, due_ms)| *due_ms <= now_ms) {
            self.post_again(hash, now_ms, out);
            // Perhaps the contact answers to where the user was. The message names no newer place than it ever did.
            self.announce(own.card_since_ms, now_ms, out);
        }
    }

    /// Has own messages of v1 posted again that the contact still seems not to have.
    fn resolve_doubts(&mut self, now_ms: u64, out: &mut Output) {
        while let Some((_, hash)) = self.doubts.front().copied().filter(|(due_ms, _)| *due_ms <= now_ms) {
            self.doubts.pop_front();
            let delivery = self.own.get(&hash).map(|own| own.delivery);
            if delivery.is_some_and(|delivery| delivery.status == Status::Taken && delivery.repeats == 0) {
                self.post_again(hash, now_ms, out);
            }
        }
    }

    fn post_again(&mut self, hash: MessageHash, now_ms: u64, out: &mut Output) {
        if let Some(own) = self.own.get(&hash) {
            let delivery = Delivery {
                repeats: own.delivery.repeats.saturating_add(1),
                ..own.delivery
            };
            self.make(Change::Delivery(hash, delivery), now_ms, out);
            self.enqueue(hash);
        }
    }
}

impl Flight {
    fn new(what: What) -> Self {
        Self {
            what,
            acks: Vec::new(),
            is_resync: false,
        }
    }
}
