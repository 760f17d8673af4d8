//! The order of the classes within a turn, and the time that new connections have in it.

use std::time::Duration;

use super::{Environment, Scheduler};
use crate::server::connection::visit::{Cause, Io};
use crate::server::limits::{
    HANDSHAKES_WAITING_MAX, NEW_CONNECTIONS_MAX_MICROS, NEW_CONNECTIONS_MIN_MICROS, NEW_CONNECTIONS_WAITING_MAX,
    REQUESTS_FOR_ALL_READY, REQUESTS_PER_VISIT, REQUESTS_PER_VISIT_MIN,
};
use crate::server::service::Service;
use crate::server::worker::clock::Clock;
use crate::server::worker::inbox::Wake;
use crate::server::worker::queues::Class;

impl<I: Io, S: Service, C: Clock, W: Wake> Scheduler<I, S, C, W> {
    /// Serves those for which a turn before had no time. Those that want more come after all that wait already.
    pub(super) fn serve_resumed(&mut self) {
        self.serve_some(Class::Resumed);
    }

    pub(super) fn serve_ready(&mut self) {
        self.requests = fair_share(self.queues.len(Class::Ready));
        self.serve_some(Class::Ready);
        self.requests = REQUESTS_PER_VISIT;
    }

    pub(super) fn serve_mailed(&mut self) {
        self.serve_some(Class::Mailed);
    }

    /// Visits those that wait now, as many as a turn may have of them.
    fn serve_some(&mut self, class: Class) {
        self.queues.allow(class, self.queues.len(class).min(class.visits()));
        self.scratch.io.read_bytes = 0;
        while self.scratch.io.read_bytes < class.bytes()
            && let Some(token) = self.queues.next(class)
        {
            self.queues.take(class, 1);
            self.serve(token, Cause::Ordinary, Some(class));
        }
    }

    /// Lets new connections come further, and those that linger go, for about as long as the turn has taken so far.
    ///
    /// As long again for handshakes: a step of one may take more time than all else that a new connection needs.
    pub(super) fn serve_new<H: Environment<Io = I>>(&mut self, environment: &mut H) {
        self.requests = REQUESTS_PER_VISIT_MIN;
        self.queues.allow(Class::New, usize::MAX);
        self.queues.allow(Class::Lingering, Class::Lingering.bytes());
        let idle = [Class::New, Class::Lingering, Class::Login, Class::Handshake];
        let may_accept =
            environment.is_pending() || environment.paused_until().is_some_and(|until| until <= self.time.now);
        if idle.iter().all(|class| self.queues.len(*class) == 0) && !may_accept {
            return;
        }
        let least = Duration::from_micros(NEW_CONNECTIONS_MIN_MICROS);
        let most = Duration::from_micros(NEW_CONNECTIONS_MAX_MICROS);
        let time = self.time.elapsed_in_turn().clamp(least, most);
        if self.is_over_budget() {
            // New connections wait in the kernel for room, and where they stand here: nothing of theirs is lost.
            self.serve_for(time, environment, |scheduler, _| scheduler.serve_lingering());
            return;
        }
        // One at least, however many wait: a probe of this server may come by a listener of its own.
        self.accept(environment);
        self.serve_for(time, environment, |scheduler, _| scheduler.serve_handshake());
        self.serve_for(time, environment, Self::serve_one_of_each);
    }

    /// Goes on while there is one to serve, and as long as `time` hasn't elapsed.
    fn serve_for<H>(&mut self, time: Duration, environment: &mut H, serve: fn(&mut Self, &mut H) -> bool) {
        let until = self.time.read() + time;
        while serve(self, environment) && self.time.read() < until {}
    }

    fn serve_handshake(&mut self) -> bool {
        self.queues.allow(Class::Handshake, 1);
        self.serve_next(Class::Handshake)
    }

    /// One step of a login, one visit to a new connection, one to a lingering one, one accept: none of the queues can
    /// grow at the cost of the next one. Returns whether there was any.
    fn serve_one_of_each<H: Environment<Io = I>>(&mut self, environment: &mut H) -> bool {
        self.queues.allow(Class::Login, 1);
        let mut is_served = self.serve_next(Class::Login);
        is_served |= self.serve_next(Class::New);
        is_served |= self.serve_lingering();
        let waiting = self.queues.len(Class::New) + self.queues.len(Class::Login);
        is_served | (waiting < NEW_CONNECTIONS_WAITING_MAX && self.accept(environment))
    }

    /// What they send is counted in bytes.
    fn serve_lingering(&mut self) -> bool {
        self.scratch.io.read_bytes = 0;
        let is_served = self.serve_next(Class::Lingering);
        self.queues.take(Class::Lingering, self.scratch.io.read_bytes);
        is_served
    }

    fn serve_next(&mut self, class: Class) -> bool {
        let token = self.queues.next(class);
        token
            .map(|token| self.serve(token, Cause::Ordinary, Some(class)))
            .is_some()
    }

    /// Returns whether a connection has come.
    pub(super) fn accept<H: Environment<Io = I>>(&mut self, environment: &mut H) -> bool {
        let takes_tls = self.queues.len(Class::Handshake) < HANDSHAKES_WAITING_MAX;
        let accepted = environment.accept(takes_tls, self.time.now);
        accepted
            .map(|(io, listener)| self.admit(environment, io, listener))
            .is_some()
    }
}

/// What each connection may have answered when so many are ready.
fn fair_share(connections: usize) -> usize {
    (REQUESTS_FOR_ALL_READY / connections.max(1)).clamp(REQUESTS_PER_VISIT_MIN, REQUESTS_PER_VISIT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::limits::EVENTS_PER_POLL;

    #[test]
    fn however_many_are_ready_a_turn_answers_no_more_than_its_share() {
        // The last poll begins with one less than EVENTS_PER_POLL at most, and brings as many as that.
        for connections in 0..2 * EVENTS_PER_POLL {
            let share = fair_share(connections);
            assert!((REQUESTS_PER_VISIT_MIN..=REQUESTS_PER_VISIT).contains(&share));
            assert!(connections * share <= REQUESTS_FOR_ALL_READY);
        }
        assert_eq!(fair_share(1), REQUESTS_PER_VISIT);
    }
}
