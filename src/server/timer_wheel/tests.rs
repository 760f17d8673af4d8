//! The wheel's arithmetic, tick by tick. Random sequences of operations are in `tests/mailboxes/wheel.rs`.

use super::*;

impl Nodes for Vec<Node> {
    fn node(&self, index: u32) -> &Node {
        &self[index as usize]
    }

    fn node_mut(&mut self, index: u32) -> &mut Node {
        &mut self[index as usize]
    }
}

fn nodes(count: usize) -> Vec<Node> {
    (0..count).map(|_| Node::new()).collect()
}

/// Steps until nothing is due; what expired, and how many steps that took.
fn run(wheel: &mut Wheel, nodes: &mut Vec<Node>, now: u32) -> (Vec<u32>, usize) {
    let mut expired = Vec::new();
    let mut steps = 0;
    loop {
        match wheel.pop_expired(nodes, now) {
            WheelStep::Expired(index) => expired.push(index),
            WheelStep::Cascaded => {}
            WheelStep::Idle => return (expired, steps),
        }
        steps += 1;
    }
}

#[test]
fn a_node_takes_twelve_bytes() {
    assert_eq!(size_of::<Node>(), 12);
}

#[test]
fn an_entry_expires_at_its_tick_over_two_turns_of_the_lower_levels() {
    let mut nodes = nodes(1);
    for start in 0..2 * 64 * 64 {
        for delay in [0, 1, 2, 62, 63, 64, 65, 127, 128, 129, 4095, 4096, 4097, 8192] {
            let due = start + delay;
            let mut wheel = Wheel::new(start);
            wheel.insert(&mut nodes, 0, due);
            if delay > 0 {
                assert!(run(&mut wheel, &mut nodes, due - 1).0.is_empty(), "{start} + {delay}");
            }
            assert!(nodes[0].is_linked());
            assert_eq!(run(&mut wheel, &mut nodes, due).0, [0], "{start} + {delay}");
            assert!(wheel.is_empty() && !nodes[0].is_linked());
        }
    }
}

#[test]
fn following_next_tick_meets_every_entry_at_its_tick() {
    let ticks: Vec<u32> = (0..2 * 64 * 64 + 3).step_by(7).collect();
    for start in [0, 1, 63, 64, 4095, 262_143, u32::MAX - 9000] {
        let mut nodes = nodes(ticks.len());
        let mut wheel = Wheel::new(start);
        for (index, tick) in (0..).zip(&ticks) {
            wheel.insert(&mut nodes, index, start + tick);
        }
        let mut seen = 0;
        while let Some(now) = wheel.next_tick() {
            for index in run(&mut wheel, &mut nodes, now).0 {
                assert_eq!(nodes[index as usize].tick(), now);
                seen += 1;
            }
        }
        assert_eq!(seen, ticks.len());
    }
}

#[test]
fn a_long_idle_gap_takes_a_step_a_level() {
    let mut nodes = nodes(1);
    let mut wheel = Wheel::new(5);
    wheel.insert(&mut nodes, 0, u32::MAX);
    assert_eq!(run(&mut wheel, &mut nodes, u32::MAX - 1), (vec![], 5));
    assert_eq!(wheel.next_tick(), Some(u32::MAX));
    assert_eq!(run(&mut wheel, &mut nodes, u32::MAX), (vec![0], 1));
}

#[test]
fn a_tick_that_has_passed_expires_at_the_next_step() {
    let mut nodes = nodes(2);
    let mut wheel = Wheel::new(1000);
    wheel.insert(&mut nodes, 0, 3);
    wheel.insert(&mut nodes, 1, 1000);
    assert_eq!(nodes[0].tick(), 3);
    assert_eq!(wheel.next_tick(), Some(1000));
    assert_eq!(run(&mut wheel, &mut nodes, 1000).0.len(), 2);
}

#[test]
fn a_slot_that_is_half_emptied_is_gone_on_with_before_anything_later() {
    let mut nodes = nodes(4);
    let mut wheel = Wheel::new(0);
    for (index, tick) in [(0, 130), (1, 129), (2, 128), (3, 200)] {
        wheel.insert(&mut nodes, index, tick);
    }
    assert_eq!(wheel.pop_expired(&mut nodes, 1000), WheelStep::Cascaded);
    // 128 came down first and is due; 129 and 130 still stand in the slot above, 200 in the one after it.
    let (expired, _) = run(&mut wheel, &mut nodes, 1000);
    assert_eq!(expired, [2, 1, 0, 3]);
}

#[test]
fn what_is_known_to_be_due_is_what_expires_next() {
    let mut nodes = nodes(5);
    let mut wheel = Wheel::new(0);
    for (index, tick) in [(0, 7), (1, 9), (2, 7), (3, 7), (4, 70)] {
        wheel.insert(&mut nodes, index, tick);
    }
    assert_eq!(wheel.due(&nodes, 6).next(), None);
    let due: Vec<u32> = wheel.due(&nodes, 100).collect();
    assert_eq!(due.len(), 3, "those of tick 7");
    assert_eq!(run(&mut wheel, &mut nodes, 7).0, due);
    assert_eq!(wheel.due(&nodes, 9).collect::<Vec<_>>(), [1]);
    assert_eq!(run(&mut wheel, &mut nodes, 10).0, [1]);
    assert_eq!(wheel.due(&nodes, 100).next(), None, "the next is still above");
}

#[test]
fn cancelling_the_last_entry_of_a_slot_clears_it() {
    let mut nodes = nodes(3);
    let mut wheel = Wheel::new(0);
    for index in 0..3 {
        wheel.insert(&mut nodes, index, 70);
    }
    for index in [1, 2, 0] {
        assert_eq!(wheel.next_tick(), Some(64));
        wheel.cancel(&mut nodes, index);
        wheel.cancel(&mut nodes, index);
    }
    assert_eq!((wheel.next_tick(), wheel.len()), (None, 0));
    assert_eq!(wheel.pop_expired(&mut nodes, 100), WheelStep::Idle);
}

#[test]
fn inserting_an_entry_again_moves_it() {
    let mut nodes = nodes(1);
    let mut wheel = Wheel::new(0);
    wheel.insert(&mut nodes, 0, 10);
    wheel.insert(&mut nodes, 0, 5000);
    assert_eq!(wheel.len(), 1);
    assert!(run(&mut wheel, &mut nodes, 4999).0.is_empty());
    assert_eq!(run(&mut wheel, &mut nodes, 5000).0, [0]);
}
