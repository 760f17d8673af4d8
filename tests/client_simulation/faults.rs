//! What goes wrong in a run, how often and how badly.

use testkit::Random;

/// Chances are in thousandths.
#[derive(Debug, Clone)]
pub(crate) struct Faults {
    /// A relay forgets a message without a word.
    pub(crate) lose: usize,
    /// A relay forgets a message that is posted for the first time.
    pub(crate) lose_first: usize,
    /// A relay stores a message twice.
    pub(crate) double: usize,
    /// A relay refuses for now.
    pub(crate) refuse: usize,
    /// A post gets no answer, whether it came there or not.
    pub(crate) unanswered: usize,
    /// A client ends between two writes, at each opportunity.
    pub(crate) crash: usize,
    /// A session ends, for each mail that it delivers.
    pub(crate) cut: usize,
    /// What is sent takes up to so long, each time another time.
    pub(crate) delay_ms: usize,
    /// What is sent takes so long from the relay to its recipient, and no time up to there.
    pub(crate) steady_ms: Option<u64>,
    /// For how long relays keep mail.
    pub(crate) ttl_s: u32,
    /// How long somebody is away at most.
    pub(crate) away_ms: usize,
    /// Pause between two acts of a user at most.
    pub(crate) pause_ms: usize,
    /// Whether users block and remove each other.
    pub(crate) quarrels: bool,
}

impl Faults {
    pub(crate) fn any(random: &mut Random) -> Self {
        Self {
            lose: random.pick(&[0, 0, 50, 150, 400]),
            lose_first: 0,
            double: random.pick(&[0, 50, 300]),
            refuse: random.pick(&[0, 50, 300]),
            unanswered: random.pick(&[0, 50, 300]),
            crash: random.pick(&[0, 5, 30]),
            cut: random.pick(&[0, 20, 100]),
            delay_ms: random.pick(&[1, 300, 3_000, 30_000]),
            steady_ms: None,
            ttl_s: u32::try_from(random.pick(&[5, 60, 600, 3_600])).expect("small"),
            away_ms: random.pick(&[1_000, 60_000, 3_600_000]),
            pause_ms: random.pick(&[500, 5_000, 60_000, 600_000]),
            quarrels: random.once_in(6),
        }
    }

    /// Nothing goes wrong any more.
    pub(crate) fn none(&self) -> Self {
        Self {
            lose: 0,
            double: 0,
            refuse: 0,
            unanswered: 0,
            crash: 0,
            cut: 0,
            delay_ms: 200,
            ttl_s: self.ttl_s.max(60),
            ..self.clone()
        }
    }
}

/// Whether something happens whose chance is so many thousandths.
pub(crate) fn happens(random: &mut Random, thousandths: usize) -> bool {
    random.below(1000) < thousandths
}
