//! Places for connections: how many may be open, and which of them a crowd can't take from others.
//!
//! Counted for all workers together, without a lock.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::server::limits::{PLACES_PER_LISTENER, TURNED_AWAY_MAX};

/// What a connection is open for, and where it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// To be served, at one of the places that the listener with this index keeps for its own.
    Kept(usize),
    /// To be served, at a place that is anybody's.
    Common,
    /// To be answered that there is no room.
    TurnedAway,
}

/// All places, and how many of them are taken.
#[derive(Debug)]
pub(crate) struct Places {
    /// Of each listener.
    kept: Vec<Count>,
    common: Count,
    turned_away: Count,
}

#[derive(Debug)]
struct Count {
    taken: AtomicUsize,
    most: usize,
}

impl Places {
    /// `room` places, of which each of so many listeners keeps some; half of them are common at least.
    pub(super) fn new(room: usize, listeners: usize) -> Self {
        let kept = PLACES_PER_LISTENER.min(room / 2 / listeners.max(1));
        Self {
            kept: (0..listeners).map(|_| Count::new(kept)).collect(),
            common: Count::new(room - kept * listeners),
            turned_away: Count::new(TURNED_AWAY_MAX),
        }
    }

    /// How many connections can be served at once.
    pub(super) fn count(&self) -> usize {
        self.kept.iter().chain([&self.common]).map(|count| count.most).sum()
    }

    /// A place for a connection that was accepted at this listener: first one that no other listener's could have.
    pub(super) fn enter(&self, listener: usize) -> Option<Place> {
        if self.kept.get(listener).is_some_and(Count::take) {
            Some(Place::Kept(listener))
        } else if self.common.take() {
            Some(Place::Common)
        } else {
            self.turned_away.take().then_some(Place::TurnedAway)
        }
    }

    /// Gives back what [`Places::enter`] gave.
    pub(super) fn leave(&self, place: Place) {
        match place {
            Place::Kept(listener) => {
                if let Some(count) = self.kept.get(listener) {
                    count.give_back();
                }
            }
            Place::Common => self.common.give_back(),
            Place::TurnedAway => self.turned_away.give_back(),
        }
    }
}

impl Count {
    fn new(most: usize) -> Self {
        Self {
            taken: AtomicUsize::new(0),
            most,
        }
    }

    /// Takes one if one is left. It guards no other memory, so no ordering is needed beyond its own.
    fn take(&self) -> bool {
        let more = |taken| (taken < self.most).then_some(taken + 1);
        self.taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .is_ok()
    }

    fn give_back(&self) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_at_one_listener_leaves_the_others_their_places() {
        let places = Places::new(100, 2);
        assert_eq!(places.count(), 100);
        let crowd: Vec<_> = (0..100 - PLACES_PER_LISTENER).map(|_| places.enter(0)).collect();
        assert_eq!(crowd[0], Some(Place::Kept(0)));
        assert_eq!(crowd.last(), Some(&Some(Place::Common)));
        assert_eq!(places.enter(0), Some(Place::TurnedAway));
        for _ in 0..PLACES_PER_LISTENER {
            assert_eq!(places.enter(1), Some(Place::Kept(1)));
        }
        assert_eq!(places.enter(1), Some(Place::TurnedAway));
        places.leave(Place::Common);
        assert_eq!(places.enter(1), Some(Place::Common));
    }

    #[test]
    fn only_so_many_are_turned_away_at_once() {
        let places = Places::new(1, 1);
        assert_eq!(places.enter(0), Some(Place::Common));
        for _ in 0..TURNED_AWAY_MAX {
            assert_eq!(places.enter(0), Some(Place::TurnedAway));
        }
        assert_eq!(places.enter(0), None);
        places.leave(Place::TurnedAway);
        assert_eq!(places.enter(0), Some(Place::TurnedAway));
    }

    #[test]
    fn little_room_is_halved_between_listeners_and_all() {
        for (room, listeners, kept) in [
            (1, 1, 0),
            (20, 1, 10),
            (20, 4, 2),
            (3, 2, 0),
            (1000, 0, 0),
            (1000, 3, 16),
        ] {
            let places = Places::new(room, listeners);
            assert_eq!(places.count(), room);
            assert!(places.kept.iter().all(|count| count.most == kept), "{room} {listeners}");
        }
    }
}
