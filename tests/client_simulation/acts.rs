//! What the users of a run do: add each other, write, accept, quarrel, move and take other keys.

use npchat::client::account::limits::TTL_S;
use npchat::client::account::{Account, Output, Written};
use npchat::client::content::Body;
use npchat::client::names::Name;
use npchat::client::records::{Standing, Version};
use npchat::protocol::id::RecipientId;

use crate::faults::happens;
use crate::people;
use crate::world::{Event, World};

impl World {
    /// Some add others, by card or by shareable.
    pub(crate) fn introduce(&mut self) {
        for one in 0..self.clients.len() {
            for other in one + 1..self.clients.len() {
                let (ways, versions) = match self.random.below(8) {
                    0..=3 => (
                        self.random.pick(&[[true, false], [false, true], [true, true]]),
                        [Version::V2; 2],
                    ),
                    4 => ([true, true], [Version::V1, Version::V2]),
                    5 => ([true, true], [Version::V2, Version::V1]),
                    6 => ([true, true], [Version::V1, Version::V1]),
                    // These two are strangers.
                    _ => ([false, false], [Version::V2; 2]),
                };
                for (way, (adder, added)) in [(one, other), (other, one)].into_iter().enumerate() {
                    if ways[way] {
                        self.befriend(adder, added, versions[way]);
                    }
                }
            }
        }
    }

    /// Somebody adds somebody else by a link.
    pub(crate) fn befriend(&mut self, person: usize, friend: usize, version: Version) {
        let link = people::link(&self.clients[friend].own, version);
        self.certain(person, |account, now_ms| account.add(&link, now_ms).expect("room"));
    }

    /// Does something that no crash undoes.
    fn certain(&mut self, person: usize, act: impl FnOnce(&mut Account, u64) -> Output) {
        let crash = std::mem::take(&mut self.faults.crash);
        self.call(person, act);
        self.faults.crash = crash;
    }

    /// A user does one thing, and another one later.
    pub(crate) fn act(&mut self, person: usize) {
        if self.is_calm {
            return;
        }
        let pause_ms = self.random.within(1, self.faults.pause_ms) as u64;
        self.later(pause_ms, Event::Acts(person));
        if self.clients[person].account.is_none() {
            return;
        }
        let contacts: Vec<_> = self.clients[person].account().contacts().cloned().collect();
        if contacts.is_empty() {
            return;
        }
        let contact = contacts[self.random.below(contacts.len())].clone();
        match self.random.below(40) {
            0 => self.stop(person),
            1 => self.go_offline(person),
            2 => self.renew_card(person),
            3 => {
                let alias = Name::parse("somebody");
                self.call(person, |account, now_ms| {
                    account.rename(contact.id, alias, now_ms).expect("known")
                });
            }
            4 if self.faults.quarrels => {
                self.call(person, |account, now_ms| {
                    account.block(contact.id, now_ms).expect("known")
                });
            }
            5 if self.faults.quarrels => {
                self.call(person, |account, now_ms| {
                    account.remove(contact.id, now_ms).expect("known")
                });
            }
            _ if contact.standing == Standing::Accepted => {
                let burst = if self.random.once_in(10) { 12 } else { 1 };
                for _ in 0..burst {
                    self.write(person, contact.id);
                }
            }
            6..20 if contact.standing != Standing::Removed => {
                self.call(person, |account, now_ms| {
                    account.accept(contact.id, now_ms).expect("known")
                });
            }
            _ => {}
        }
    }

    /// A user writes to somebody.
    pub(crate) fn write(&mut self, person: usize, to: RecipientId) {
        if self.clients[person].account.is_none() {
            return;
        }
        let mut sealer = std::mem::replace(
            &mut self.clients[person].sealer,
            crate::envelope::Sealer {
                sender: person,
                count: 0,
            },
        );
        let text = self
            .random
            .pick(&["hello", "42", "a longer text, of which there may be several", ""]);
        let written = Written {
            body: Body::Text(text.to_owned()),
            ttl_s: TTL_S,
        };
        self.call(person, |account, now_ms| {
            match account.send(to, written, now_ms, &mut sealer) {
                Ok((_, output)) => output,
                Err(_) => Output::default(),
            }
        });
        self.clients[person].sealer = sealer;
    }

    fn go_offline(&mut self, person: usize) {
        self.clients[person].is_online = false;
        let run = self.clients[person].run;
        let away_ms = self.random.within(1, self.faults.away_ms) as u64;
        self.later(away_ms, Event::LogsIn(person, run));
    }

    /// A user takes another key, and perhaps another relay.
    fn renew_card(&mut self, person: usize) {
        // Whom one hasn't accepted doesn't hear of it, and writes to the old place.
        let own_id = self.clients[person].own.id();
        let account = self.clients[person].account();
        let accepts = |other: usize| {
            let contact = account.contact(people::auth(other).id());
            contact.is_some_and(|contact| contact.standing == Standing::Accepted && contact.version == Version::V2)
        };
        let mut others = self.clients.iter().filter(|client| {
            let accounts = client.store.records().contacts.iter();
            client.person != person && accounts.into_iter().any(|contact| contact.id == own_id)
        });
        let may_move = others.all(|client| accepts(client.person));
        // Nor may two move: each would write to where the other one was.
        let moves = happens(&mut self.random, 300) && may_move && self.mover.is_none_or(|mover| mover == person);
        let relay = self.random.below(people::RELAYS);
        let now_ms = self.now_ms;
        let client = &mut self.clients[person];
        if client.keys.len() >= people::KEYS_EACH {
            return;
        }
        if moves {
            self.mover = Some(person);
            client.relay = relay;
            client.is_online = false;
        }
        let card = people::card(person, client.relay, client.keys.len());
        client.keys.push(card.dh);
        client.own.card = card.clone();
        client.own.card_since_ms = now_ms + client.skew_ms;
        self.call(person, |account, now_ms| account.handle_own_card(card, now_ms));
        if moves && self.clients[person].account.is_some() {
            self.log_in(person);
        }
    }
}
