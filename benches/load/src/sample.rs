//! Looks into a sample of mailboxes after the load: each has to hold what was acknowledged for it, and nothing else.

use std::time::Duration;

use crate::bench::Bench;
use crate::faults::Faults;
use crate::identity::{Identity, OfflineRecipients};
use crate::mail::{Label, Outgoing};
use crate::mailbox_oracle::{MailboxCounts, MailboxOracle, Stored};
use crate::prefill::post_all;
use crate::report::Section;
use crate::session_pool::{Logins, Stay, fetch_all};

/// Sender of the message that is posted to each of the sample when the load is over, to show where its mail ends.
const END_MARKER: u32 = u32::MAX;
const MARKER_TTL_SECONDS: u64 = 60;
const FETCHES_AT_ONCE: usize = 16;

/// The mailboxes of these recipients, and what was acknowledged for each.
pub(crate) struct Mailboxes<'m> {
    bench: &'m Bench,
    identities: &'m [Identity],
    /// Bytes of each message.
    size: usize,
    expected: Vec<MailboxOracle>,
}

impl<'m> Mailboxes<'m> {
    pub(crate) fn new(bench: &'m Bench, identities: &'m [Identity], size: usize) -> Self {
        Self {
            bench,
            identities,
            size,
            expected: identities.iter().map(|_| MailboxOracle::default()).collect(),
        }
    }

    /// A message was acknowledged. It may be for somebody else.
    pub(crate) fn expect(&mut self, label: &Label, stored: Stored) {
        if let Some(expected) = self.expected.get_mut(label.recipient as usize) {
            expected.add(label.sender, label.sequence, stored);
        }
    }

    /// Posts message `sequence` of `sender` to the first `count`, to live `ttl_seconds`.
    pub(crate) fn post(
        &mut self,
        (sender, sequence): (u32, u32),
        count: usize,
        ttl_seconds: u64,
        faults: &mut Faults,
    ) -> Result<(), String> {
        let mut next = (0..).zip(&self.identities[..count]);
        let letters = |_| {
            next.next().map(|(recipient, identity)| Outgoing {
                id: &identity.id,
                label: label(sender, recipient, sequence),
                ttl_seconds,
            })
        };
        let expected = &mut self.expected;
        let on_stored = |label: &Label, stored| {
            expected[label.recipient as usize].add(label.sender, label.sequence, stored);
        };
        post_all(self.bench, self.size, letters, on_stored, faults)
    }

    /// Logs in to the first `count`, `at_once` at a time, and waits for message `sequence` of `sender` in each. Returns
    /// what came of all, and how often a login was begun again.
    pub(crate) fn fetch(
        &self,
        (sender, sequence): (u32, u32),
        count: usize,
        at_once: usize,
        faults: &mut Faults,
    ) -> Result<(MailboxCounts, u64), String> {
        let plan = (0..).zip(&self.identities[..count]);
        let plan = plan.map(|(recipient, identity)| {
            let last = label(sender, recipient, sequence);
            (identity, Stay::Until(last, self.size))
        });
        let mut logins = Logins::default();
        let fetched = fetch_all(self.bench, plan, at_once, &mut logins)?;
        let mut all = MailboxCounts { messages: 0, missed: 0 };
        for ((recipient, expected), fetched) in (0..).zip(&self.expected).zip(fetched) {
            if let Some(fetched) = fetched {
                let came = expected.judge(recipient, &fetched, faults);
                all.messages += came.messages;
                all.missed += came.missed;
            }
        }
        faults.merge(logins.faults);
        Ok((all, logins.retries))
    }
}

/// Logs in for each of the sample, and judges what comes. All messages have `size` bytes.
pub(crate) fn check(
    bench: &Bench,
    offline: &OfflineRecipients,
    size: usize,
    sampled: Vec<(Label, Stored)>,
    section: &mut Section,
    faults: &mut Faults,
) -> Result<(), String> {
    let count = offline.ids.len().min(offline.sample.len());
    let mut mailboxes = Mailboxes::new(bench, &offline.sample[..count], size);
    for (label, stored) in sampled {
        mailboxes.expect(&label, stored);
    }
    bench.progress.begin("looking into mailboxes");
    mailboxes.post((END_MARKER, 0), count, MARKER_TTL_SECONDS, faults)?;
    let (came, retries) = mailboxes.fetch((END_MARKER, 0), count, FETCHES_AT_ONCE, faults)?;
    section.count("looked_into_mailboxes", count as u64);
    section.count("looked_into_messages", came.messages as u64);
    section.count("looked_into_login_retries", retries);
    Ok(())
}

fn label(sender: u32, recipient: u32, sequence: u32) -> Label {
    Label {
        sender,
        recipient,
        sequence,
        since_epoch: Duration::ZERO,
    }
}
