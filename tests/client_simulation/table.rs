//! How many lost messages are never mended: by one hash, by one hash and what npchat-web infers, by heads, and by the
//! accounts themselves.
//!
//! Conversations of 100 messages, of which one in twenty is lost when it is first sent, and the last of either side
//! never. As many as `TABLE_CONVERSATIONS` says, 400 in the table of the reference.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};

use npchat::client::content::MessageHash;
use npchat::client::records::Version;
use npchat::client::thread::{Link, Thread};
use npchat::protocol::id::RecipientId;

use crate::faults::Faults;
use crate::people;
use crate::world::World;
use testkit::Random;

const MESSAGES: usize = 100;
const LOST_IN: usize = 20;
const CONVERSATIONS: u64 = 40;

/// How quickly people write, and how long it takes on the way.
#[derive(Clone, Copy)]
struct Pace {
    name: &'static str,
    each_ms: u64,
    way_ms: u64,
}

const PACES: [Pace; 3] = [
    Pace {
        name: "calm",
        each_ms: 30_000,
        way_ms: 200,
    },
    Pace {
        name: "lively",
        each_ms: 2_000,
        way_ms: 500,
    },
    Pace {
        name: "slow",
        each_ms: 5_000,
        way_ms: 20_000,
    },
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// A message names the one before it, sent or received.
    OneHash,
    /// So it does, and who gets one that doesn't name their last one sends again what follows the named one.
    Web,
    /// A message names all heads.
    Heads,
}

#[derive(Debug, Default, Clone, Copy)]
struct Outcome {
    lost: usize,
    unmended: usize,
    requests: usize,
    needless: usize,
}

#[test]
fn a_lost_message_is_found_by_heads_always_and_by_one_hash_half_of_the_times() {
    let conversations = crate::number("TABLE_CONVERSATIONS").unwrap_or(CONVERSATIONS);
    for pace in PACES {
        let [one, web, heads] = [Rule::OneHash, Rule::Web, Rule::Heads].map(|rule| {
            let outcomes = (0..conversations).map(|seed| Conversation::run(seed, pace, rule));
            let sum = outcomes.fold(Outcome::default(), Outcome::plus);
            println!("{:<7} {:<9} {sum:?}", pace.name, rule.name());
            sum
        });
        assert!((one.lost * 2 / 5..one.lost * 2 / 3).contains(&one.unmended), "{one:?}");
        assert!(web.unmended < one.unmended, "{web:?}");
        assert_eq!(heads.unmended, 0, "{heads:?}");
        assert_eq!(heads.needless, 0, "{heads:?}");
    }
}

#[test]
fn accounts_mend_whatever_is_lost_and_send_little_again() {
    let conversations = crate::number("TABLE_CONVERSATIONS").unwrap_or(CONVERSATIONS);
    for pace in PACES {
        let outcomes = (0..conversations).map(|seed| converse(seed, pace));
        let sum = outcomes.fold(Outcome::default(), Outcome::plus);
        println!("{:<7} accounts  {sum:?}", pace.name);
        assert!(sum.lost > 0);
        assert_eq!(sum.unmended, 0, "{sum:?}");
        // A request is made two seconds after a message is missed, and what was wanted may have come then.
        assert!(sum.needless <= sum.lost / 2, "{sum:?}");
    }
}

impl Outcome {
    fn plus(self, other: Self) -> Self {
        Self {
            lost: self.lost + other.lost,
            unmended: self.unmended + other.unmended,
            requests: self.requests + other.requests,
            needless: self.needless + other.needless,
        }
    }
}

impl Rule {
    fn name(self) -> &'static str {
        match self {
            Self::OneHash => "one hash",
            Self::Web => "web",
            Self::Heads => "heads",
        }
    }
}

/// A message on its way to a side, by number.
type Arrival = Reverse<(u64, usize, usize)>;

/// Two threads that send each other messages and nothing else.
struct Conversation {
    pace: Pace,
    rule: Rule,
    sides: [Thread; 2],
    /// Each side's messages in the order in which they were sent or came.
    lists: [Vec<MessageHash>; 2],
    inferred: HashSet<(usize, MessageHash)>,
    sent: Vec<(usize, Vec<MessageHash>)>,
    on_way: BinaryHeap<Arrival>,
    outcome: Outcome,
}

impl Conversation {
    fn run(seed: u64, pace: Pace, rule: Rule) -> Outcome {
        let mut random = Random::new(seed);
        let mut conversation = Self {
            pace,
            rule,
            sides: Default::default(),
            lists: Default::default(),
            inferred: HashSet::new(),
            sent: Vec::new(),
            on_way: BinaryHeap::new(),
            outcome: Outcome::default(),
        };
        for number in 0..MESSAGES + 2 {
            let at_ms = number as u64 * pace.each_ms;
            conversation.arrive_until(at_ms);
            let is_end = number >= MESSAGES;
            let side = if is_end { number % 2 } else { random.below(2) };
            let is_lost = !is_end && random.once_in(LOST_IN);
            conversation.send(at_ms, side, is_lost);
            if is_end {
                conversation.arrive_until(at_ms + 100 * pace.way_ms);
            }
        }
        conversation.arrive_until(u64::MAX);
        let Self {
            sides, sent, outcome, ..
        } = &mut conversation;
        let known = |number: usize, side: usize| sides[side].knows(hash_of(number));
        let missing = sent
            .iter()
            .enumerate()
            .filter(|(number, (side, _))| !known(*number, 1 - side));
        outcome.unmended = missing.count();
        conversation.outcome
    }

    fn send(&mut self, at_ms: u64, side: usize, is_lost: bool) {
        let number = self.sent.len();
        let parents = match self.rule {
            Rule::Heads => self.sides[side].heads().collect(),
            _ => self.lists[side].last().copied().into_iter().collect(),
        };
        self.sent.push((side, parents));
        self.take(side, number, at_ms);
        if is_lost {
            self.outcome.lost += 1;
        } else {
            self.on_way.push(Reverse((at_ms + self.pace.way_ms, 1 - side, number)));
        }
    }

    fn take(&mut self, side: usize, number: usize, at_ms: u64) -> bool {
        let (sender, parents) = &self.sent[number];
        self.lists[side].push(hash_of(number));
        let link = Link {
            hash: hash_of(number),
            parents,
            mine: *sender == side,
            time_ms: at_ms,
            bytes: 1,
        };
        self.sides[side].insert(link, at_ms)
    }

    fn arrive_until(&mut self, end_ms: u64) {
        while let Some(Reverse((at_ms, side, number))) = self.on_way.peek().copied() {
            if at_ms > end_ms {
                break;
            }
            self.on_way.pop();
            self.arrive(at_ms, side, number);
        }
    }

    fn arrive(&mut self, at_ms: u64, side: usize, number: usize) {
        if self.sides[side].knows(hash_of(number)) {
            self.outcome.needless += 1;
            return;
        }
        if self.rule == Rule::Web {
            self.infer(at_ms, side, number);
        }
        let before: HashSet<_> = self.sides[side].gaps().map(|(hash, _)| hash).collect();
        self.take(side, number, at_ms);
        let gaps: Vec<_> = self.sides[side].gaps().map(|(hash, _)| hash).collect();
        for gap in gaps.into_iter().filter(|gap| !before.contains(gap)) {
            // Asked for, and on its way once more.
            self.outcome.requests += 1;
            let back_ms = at_ms + 2 * self.pace.way_ms;
            self.on_way.push(Reverse((back_ms, side, number_of(gap))));
        }
    }

    /// The sender of a message that doesn't name the last one didn't know what follows the one that it names.
    fn infer(&mut self, at_ms: u64, side: usize, number: usize) {
        let Some(named) = self.sent[number].1.first() else {
            return;
        };
        let list = &self.lists[side];
        let next = list
            .iter()
            .position(|hash| hash == named)
            .and_then(|at| list.get(at + 1));
        let Some(next) = next.copied() else {
            return;
        };
        if self.sides[side].is_mine(next) && self.inferred.insert((side, next)) {
            let there_ms = at_ms + self.pace.way_ms;
            self.on_way.push(Reverse((there_ms, 1 - side, number_of(next))));
        }
    }
}

fn hash_of(number: usize) -> MessageHash {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&(number as u64).to_be_bytes());
    MessageHash::from_bytes(bytes)
}

fn number_of(hash: MessageHash) -> usize {
    let bytes = hash.as_bytes().first_chunk::<8>().expect("32 bytes");
    usize::try_from(u64::from_be_bytes(*bytes)).expect("small")
}

/// Two accounts at relays that lose what is first sent, and nothing else.
fn converse(seed: u64, pace: Pace) -> Outcome {
    let mut faults = Faults::any(&mut Random::new(seed)).none();
    faults.quarrels = false;
    faults.ttl_s = 604_800;
    faults.steady_ms = Some(pace.way_ms);
    let mut world = World::new(Random::new(seed), faults);
    world.clients.truncate(2);
    let ids: [RecipientId; 2] = [0, 1].map(|person| people::auth(person).id());
    for person in [0, 1] {
        world.befriend(person, 1 - person, Version::V2);
        world.log_in(person);
    }
    for number in 0..MESSAGES + 2 {
        let is_end = number >= MESSAGES;
        let person = if is_end { number % 2 } else { world.random.below(2) };
        world.faults.lose_first = if is_end { 0 } else { 1000 / LOST_IN };
        world.write(person, ids[1 - person]);
        world.run_until(world.now_ms + if is_end { 100 * pace.way_ms } else { pace.each_ms });
    }
    world.run_until(world.now_ms + 3_600_000);
    let missing = [0, 1].map(|person: usize| {
        let there = world.clients[1 - person]
            .account()
            .thread(ids[person])
            .expect("a contact");
        let here = world.clients[person]
            .account()
            .thread(ids[1 - person])
            .expect("a contact");
        here.order().filter(|hash| !there.knows(*hash)).count()
    });
    Outcome {
        lost: usize::try_from(world.seen.lost).expect("few"),
        unmended: missing.iter().sum(),
        requests: usize::try_from(world.seen.requests).expect("few"),
        needless: usize::try_from(world.seen.needless).expect("few"),
    }
}
