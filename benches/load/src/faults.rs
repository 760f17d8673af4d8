//! What a server can do wrong, counted, with the first case of it in words.
//!
//! Who finds a fault says what it is; nothing is judged here.

use std::fmt;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A message got another answer than the one to a good request, or a login none however often it was begun again.
    Refused,
    /// A connection ended, or stood still, or said what no server may say.
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
    /// Somebody had to wait longer than the options allow.
    Slow,
}

impl Fault {
    const ALL: [(Self, &'static str); 8] = [
        (Self::Refused, "refused"),
        (Self::Broken, "broken"),
        (Self::Lost, "lost"),
        (Self::Duplicated, "duplicated"),
        (Self::OutOfOrder, "out of order"),
        (Self::Late, "late"),
        (Self::Corrupt, "corrupt"),
        (Self::Slow, "slow"),
    ];
}

/// The faults found so far.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    counts: [u64; Fault::ALL.len()],
    first: Option<String>,
}

impl Faults {
    /// Counts one, told by `what` if it is the first.
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

    /// How many of each kind, with its name.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Fault::ALL
            .iter()
            .map(|(fault, name)| (*name, self.counts[*fault as usize]))
    }

    /// The first, in words.
    pub(crate) fn first(&self) -> Option<&str> {
        self.first.as_deref()
    }

    /// Whether nothing was wrong.
    pub(crate) fn is_none(&self) -> bool {
        self.counts.iter().all(|count| *count == 0)
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts: Vec<_> = self.counts().map(|(name, count)| format!("{count} {name}")).collect();
        f.write_str(&counts.join(", "))?;
        match &self.first {
            Some(first) => write!(f, " (the first: {first})"),
            None => Ok(()),
        }
    }
}
