//! Sessions one after the other: of clients that end at some messages, and of one that takes all that is stored.

use super::*;

impl World {
    /// One client after the other logs in to a mailbox, and ends its session at mail that it can't take.
    pub(super) fn visit_in_vain(&mut self) {
        let (identity, _) = self.terms.recipients[self.stage.random.below(self.terms.recipients.len())];
        let intolerance = self.intolerance_or_any();
        if !self.stage.random.once_in(4) {
            for peer in self.stage.peers.iter_mut().filter(|peer| peer.is_receiver_of(identity)) {
                peer.reset();
            }
        }
        for _ in 0..self.stage.random.within(3, 10) {
            if self.stage.random.once_in(3) {
                self.flood();
            }
            if self.stage.random.once_in(6) {
                let millis = self.stage.random.within(1, 3_000);
                self.pass(millis);
            }
            let receiver = Receiver::new(identity, Manner::Plain).unable_to_take(Some(intolerance));
            self.visit(receiver);
        }
    }

    fn intolerance_or_any(&mut self) -> Intolerance {
        let longest = self.terms.max_message_bytes;
        self.intolerance
            .unwrap_or_else(|| Intolerance::any(longest, &mut self.stage.random))
    }

    /// Whatever no session has had comes to a new one.
    pub(super) fn check_what_is_stored(&mut self) {
        for place in 0..self.terms.recipients.len() {
            let (identity, _) = self.terms.recipients[place];
            let probe = self.visit(Receiver::new(identity, Manner::Plain));
            let Role::Receiver(probe) = &self.stage.peers[probe].role else {
                continue;
            };
            // While it waits for what it was given to be acknowledged, another session may leave it behind.
            let is_behind = probe
                .ended_session()
                .is_some_and(|session| self.stage.model.may_have_been_behind(session));
            let may_be_evicted = self.config.connection_memory.is_some();
            let may_fail = is_behind || may_be_evicted || self.stage.model.has_few_places;
            assert!(probe.session().is_some() || may_fail, "a good login fails");
        }
    }

    /// The number of the peer.
    fn visit(&mut self, receiver: Receiver) -> usize {
        let role = Role::Receiver(Box::new(receiver));
        self.add(Peer::new(Socket::new(100_000, 1_000_000), role, Habit::Sound));
        let visitor = self.stage.peers.len() - 1;
        self.stage.peers[visitor].begin(&mut self.stage.random);
        self.settle();
        visitor
    }

    /// A client whose session has ended at mail that it can't take logs in again.
    pub(super) fn log_in_again(&mut self) {
        let ended = self.stage.peers.iter().filter_map(Peer::ended_at);
        let ended: Vec<_> = ended.collect();
        if self.again_to_come == 0 || ended.is_empty() {
            return;
        }
        self.again_to_come -= 1;
        saw(Sight::LoggedInAgain);
        let (identity, intolerance) = self.stage.random.pick(&ended);
        let receiver = Receiver::new(identity, Manner::Plain).unable_to_take(Some(intolerance));
        let socket = Socket::new(4_096, 100_000);
        self.add(Peer::new(socket, Role::Receiver(Box::new(receiver)), Habit::Sound));
    }
}
