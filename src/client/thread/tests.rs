use super::*;

const LIMITS: AnswerLimits = AnswerLimits {
    messages: 3,
    bytes: 1_000,
};

fn hash(number: u8) -> MessageHash {
    MessageHash::from_bytes([number; 32])
}

/// Adds a message at this time, of the owner if its number is even.
fn add(thread: &mut Thread, number: u8, parents: &[u8], time_ms: u64) -> bool {
    let parents: Vec<_> = parents.iter().copied().map(hash).collect();
    let link = Link {
        hash: hash(number),
        parents: &parents,
        mine: number.is_multiple_of(2),
        time_ms,
        bytes: 100,
    };
    thread.insert(link, time_ms)
}

fn numbers(hashes: impl IntoIterator<Item = MessageHash>) -> Vec<u8> {
    hashes.into_iter().map(|hash| hash.as_bytes()[0]).collect()
}

#[test]
fn heads_are_what_no_known_message_names() {
    let mut thread = Thread::default();
    add(&mut thread, 2, &[], 1);
    add(&mut thread, 1, &[], 1);
    assert_eq!(numbers(thread.heads()), [2, 1]);
    add(&mut thread, 4, &[2, 1], 2);
    assert_eq!(numbers(thread.heads()), [4]);
    add(&mut thread, 3, &[5], 3);
    assert_eq!(numbers(thread.heads()), [4, 3]);
    // What fills a gap is no head: it is named.
    add(&mut thread, 5, &[4], 2);
    assert_eq!(numbers(thread.heads()), [3]);
}

#[test]
fn what_is_named_and_not_known_is_missing_until_it_comes() {
    let mut thread = Thread::default();
    add(&mut thread, 3, &[1, 2], 7);
    assert_eq!(numbers(thread.gaps().map(|(hash, _)| hash)), [1, 2]);
    assert!(thread.gaps().all(|(_, gap)| (gap.since_ms, gap.tries) == (7, 0)));
    assert!(add(&mut thread, 1, &[], 5));
    assert!(!add(&mut thread, 1, &[], 5));
    assert!(!thread.is_missing(hash(1)) && thread.is_missing(hash(2)));
    thread.mention(hash(9), 8);
    assert!(thread.is_missing(hash(9)));
}

#[test]
fn gaps_are_bounded() {
    let mut thread = Thread::default();
    for number in 0..2 * GAPS_MAX {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        thread.mention(MessageHash::from_bytes(bytes), 0);
    }
    assert_eq!(thread.gaps().count(), GAPS_MAX);
}

#[test]
fn the_order_is_by_time_but_none_comes_before_one_that_it_names_whatever_came_first() {
    let messages: [(u8, &[u8], u64); 5] = [(1, &[], 50), (2, &[1], 10), (3, &[2], 60), (4, &[2], 20), (5, &[], 55)];
    let mut orders = Vec::new();
    for first in 0..messages.len() {
        let mut thread = Thread::default();
        for step in 0..messages.len() {
            let (number, parents, time_ms) = messages[(first + step * 2) % messages.len()];
            add(&mut thread, number, parents, time_ms);
        }
        orders.push(numbers(thread.order()));
    }
    assert!(orders.iter().all(|order| *order == [1, 2, 4, 5, 3]), "{orders:?}");
}

#[test]
fn an_answer_has_what_is_wanted_and_then_the_oldest_of_what_leads_there() {
    let mut thread = Thread::default();
    for number in 1..=12 {
        add(&mut thread, number, &[number - 1], u64::from(number));
    }
    let answer = |want: &[u8], have: &[u8]| {
        let hashes = |numbers: &[u8]| numbers.iter().copied().map(hash).collect::<Vec<_>>();
        numbers(thread.answer(&hashes(want), &hashes(have), LIMITS))
    };
    assert_eq!(answer(&[], &[]), [2, 4, 6]);
    assert_eq!(answer(&[], &[7]), [8, 10, 12]);
    assert_eq!(answer(&[10], &[5]), [6, 8, 10]);
    assert_eq!(answer(&[10], &[]), [2, 4, 10]);
    // Whoever says to have what is behind it, gets it all the same.
    assert_eq!(answer(&[6], &[12]), [6]);
    assert_eq!(answer(&[3, 99], &[]), [2]);
}

#[test]
fn an_answer_is_bounded_in_bytes_but_never_empty() {
    let mut thread = Thread::default();
    for number in [2, 4, 6] {
        add(&mut thread, number, &[], 1);
    }
    for (bytes, count) in [(0, 1), (199, 1), (200, 2), (1_000, 3)] {
        let limits = AnswerLimits { messages: 200, bytes };
        assert_eq!(thread.answer(&[], &[], limits).len(), count, "{bytes}");
    }
}

#[test]
fn only_what_has_all_before_it_is_said_to_be_there() {
    let mut thread = Thread::default();
    add(&mut thread, 1, &[], 1);
    add(&mut thread, 2, &[1], 2);
    assert_eq!(numbers(thread.complete(8)), [1, 2]);
    // 3 is missing, so that neither 5 nor what names it is there with all before it.
    add(&mut thread, 5, &[2, 3], 5);
    add(&mut thread, 6, &[5], 6);
    assert_eq!(numbers(thread.complete(8)), [1, 2]);
    add(&mut thread, 3, &[2], 3);
    assert_eq!(numbers(thread.complete(8)), [5, 6]);
    assert_eq!(numbers(thread.complete(1)), [5]);
}

#[test]
fn a_message_that_is_not_sent_is_no_head_unless_it_was_sent_after_all() {
    let mut thread = Thread::default();
    add(&mut thread, 1, &[], 1);
    add(&mut thread, 2, &[1], 2);
    add(&mut thread, 4, &[2], 3);
    thread.retract(hash(2));
    assert_eq!(numbers(thread.heads()), [4]);
    thread.retract(hash(4));
    assert_eq!(numbers(thread.heads()), [2]);
    thread.retract(hash(2));
    assert_eq!(numbers(thread.heads()), [1]);
    add(&mut thread, 3, &[4], 4);
    assert_eq!(numbers(thread.heads()), [3]);
}
