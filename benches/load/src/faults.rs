//! What a server can do wrong, counted, with the first case of it in words.
//!
//! What finds a fault describes it; nothing is judged here.

use std::fmt;

use serde::{Serialize, Serializer};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A message got another answer than the one to a good request, or a login none however often it was begun again.
    Refused,
    /// A connection ended, or stood still, or sent what no server may send.
    Broken,
    /// A message that was acknowledged never came.
    Lost,
    /// A message came twice.
    Duplicated,
    /// A message came after a later one of the same sender.
    OutOfOrder,
    /// A message came after its time to live.
    Late,
    /// A message came that nobody sent like this.
    Corrupt,
    /// Something took longer than the options allow.
    Slow,
}

/// By their place in [`Fault`].
const NAMES: [&str; 8] = [
    "refused",
    "broken",
    "lost",
    "duplicated",
    "out_of_order",
    "late",
    "corrupt",
    "slow",
];

/// The faults found so far.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Faults {
    #[serde(rename = "faults", serialize_with = "by_name")]
    counts: [u64; NAMES.len()],
    #[serde(rename = "first_fault")]
    first: Option<String>,
}

impl Faults {
    /// Counts one, described by `what` if it is the first.
    pub(crate) fn note(&mut self, fault: Fault, what: impl FnOnce() -> String) {
        self.counts[fault as usize] += 1;
        self.first.get_or_insert_with(what);
    }

    /// Takes in what another thread has found.
    pub(crate) fn merge(&mut self, other: Self) {
        for (mine, others) in self.counts.iter_mut().zip(other.counts) {
            *mine += others;
        }
        self.first = self.first.take().or(other.first);
    }

    /// Whether nothing was wrong.
    pub(crate) fn is_none(&self) -> bool {
        self.counts.iter().all(|count| *count == 0)
    }
}

fn by_name<S: Serializer>(counts: &[u64; NAMES.len()], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(NAMES.iter().zip(counts))
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = NAMES.iter().zip(self.counts);
        let counts: Vec<_> = counts
            .map(|(name, count)| format!("{count} {}", name.replace('_', " ")))
            .collect();
        f.write_str(&counts.join(", "))?;
        match &self.first {
            Some(first) => write!(f, " (the first: {first})"),
            None => Ok(()),
        }
    }
}
