//! Looks into a sample of mailboxes after the load: each has to hold what was acknowledged for it, and nothing else.

use std::time::Duration;

use crate::Bench;
use crate::faults::Faults;
use crate::fleet::Logins;
use crate::identity::Away;
use crate::judge::Expected;
use crate::mail::Label;
use crate::prefill::{Letter, Stored, post_all};
use crate::report::Section;
use crate::visits::{Visit, visit_all};

/// Recipients whose mailboxes are looked into.
pub(crate) const SAMPLE: usize = 100;
/// Sender of the message that is posted to each of the sample when the load is over, to show where its mail ends.
const END_MARKER: u32 = u32::MAX;
const MARKER_TTL_SECONDS: u64 = 60;
const VISITS_AT_ONCE: usize = 16;

/// A message to one of the sample that was acknowledged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sampled {
    pub(crate) recipient: u32,
    pub(crate) sender: u32,
    pub(crate) sequence: u32,
    pub(crate) stored: Stored,
}

/// Logs in for each of the sample, and judges what comes. All messages have `size` bytes.
///
/// # Errors
/// It couldn't be carried out.
pub(crate) fn check(
    bench: &Bench,
    away: &Away,
    size: usize,
    sampled: impl IntoIterator<Item = Sampled>,
    section: &mut Section,
    faults: &mut Faults,
) -> Result<(), String> {
    let count = away.ids.len().min(away.sample.len());
    let mut expected: Vec<_> = (0..count).map(|_| Expected::default()).collect();
    for message in sampled {
        if let Some(expected) = expected.get_mut(message.recipient as usize) {
            expected.add(message.sender, message.sequence, message.stored);
        }
    }
    bench.progress.begin("looking into mailboxes");
    let mut next = (0..).zip(&away.sample[..count]);
    let letters = |_| {
        next.next().map(|(recipient, identity)| Letter {
            id: &identity.id,
            label: marker(recipient),
            ttl_seconds: MARKER_TTL_SECONDS,
        })
    };
    let mark = |letter: &Letter<'_>, stored| {
        expected[letter.label.recipient as usize].add(END_MARKER, 0, stored);
    };
    post_all(bench, size, letters, mark, faults)?;
    let visits = (0..).zip(&away.sample[..count]).map(|(recipient, identity)| Visit {
        identity,
        last: Some(marker(recipient)),
        size,
    });
    let mut logins = Logins::default();
    let visited = visit_all(bench, &visits.collect::<Vec<_>>(), VISITS_AT_ONCE, &mut logins);
    let mut came = 0;
    for ((recipient, expected), visited) in (0..).zip(&expected).zip(visited.map_err(|error| error.to_string())?) {
        if let Some(visited) = visited {
            came += expected.judge(recipient, &visited, faults).messages as u64;
        }
    }
    section.count("looked_into_mailboxes", count as u64);
    section.count("looked_into_messages", came);
    section.count("looked_into_login_retries", logins.retries);
    faults.merge(logins.faults);
    Ok(())
}

fn marker(recipient: u32) -> Label {
    Label {
        sender: END_MARKER,
        recipient,
        sequence: 0,
        since_epoch: Duration::ZERO,
    }
}
