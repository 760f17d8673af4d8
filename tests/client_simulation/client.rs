//! One client of a run: an account over a store in memory, the screen of its user, and crashes between any two writes.

use std::collections::HashSet;

use npchat::client::account::{Account, Output, Own, Post, Report, What};
use npchat::client::content::MessageHash;
use npchat::client::keys::AgreementKey;
use npchat::client::records::{MemoryStore, Version};

use crate::envelope::{Envelope, Sealer};
use crate::people;

pub(crate) struct Client {
    pub(crate) person: usize,
    pub(crate) own: Own,
    /// Where it logs in.
    pub(crate) relay: usize,
    pub(crate) keys: Vec<AgreementKey>,
    pub(crate) store: MemoryStore,
    /// None while it isn't running.
    pub(crate) account: Option<Account>,
    pub(crate) sealer: Sealer,
    /// How far its clock is ahead.
    pub(crate) skew_ms: u64,
    /// Its runs so far: what belongs to an earlier one comes too late.
    pub(crate) run: u64,
    /// Its sessions so far.
    pub(crate) session: u64,
    pub(crate) is_online: bool,
    /// When its account is to be called.
    pub(crate) wakes_ms: Option<u64>,
    screen: HashSet<MessageHash>,
    stored: HashSet<MessageHash>,
}

impl Client {
    pub(crate) fn new(person: usize, relay: usize, skew_ms: u64) -> Self {
        Self {
            person,
            own: people::own(person, relay),
            relay,
            keys: vec![people::dh(person, 0)],
            store: MemoryStore::default(),
            account: None,
            sealer: Sealer {
                sender: person,
                count: 0,
            },
            skew_ms,
            run: 0,
            session: 0,
            is_online: false,
            wakes_ms: None,
            screen: HashSet::new(),
            stored: HashSet::new(),
        }
    }

    pub(crate) fn start(&mut self, now_ms: u64) {
        self.run += 1;
        self.account = Some(Account::restore(
            self.own.clone(),
            self.store.records(),
            now_ms + self.skew_ms,
        ));
        let theirs = self.store.records().messages.iter().filter(|message| !message.mine);
        self.screen = theirs.map(|message| message.hash).collect();
    }

    pub(crate) fn crash(&mut self) {
        self.account = None;
        self.is_online = false;
        self.wakes_ms = None;
        self.run += 1;
    }

    pub(crate) fn account(&self) -> &Account {
        self.account.as_ref().expect("a client that runs")
    }

    /// How many messages are missing.
    pub(crate) fn gap_count(&self) -> u64 {
        let account = self.account();
        let threads = account.contacts().filter_map(|contact| account.thread(contact.id));
        threads.map(|thread| thread.gaps().count() as u64).sum()
    }

    pub(crate) fn commit(&mut self, output: &Output) {
        use npchat::client::records::Change;
        for change in &output.changes {
            if let Change::Message(message, _) = change {
                assert!(self.stored.insert(message.hash), "a message is stored twice");
            }
        }
        self.store.commit(&output.changes);
    }

    /// Shows what is to be shown.
    pub(crate) fn show(&mut self, reports: &[Report]) {
        for report in reports {
            if let Report::Message(_, hash) | Report::Request(_, hash) = report {
                assert!(self.screen.insert(*hash), "a message is shown twice");
                assert!(self.store.message(*hash).is_some(), "what is shown isn't stored");
            }
        }
    }

    /// The envelope of a post.
    pub(crate) fn seal(&mut self, post: &Post) -> Envelope {
        let content = match &post.what {
            What::Text1(header, text) => return Envelope::V1(self.sealer.envelope(*header, text)),
            What::Content(content) => content.clone(),
            What::Message(hash) => {
                let record = self.store.message(*hash).expect("posted, but not stored");
                let stored = self.store.stored(*hash).expect("posted, but not stored");
                if record.version == Version::V1 {
                    return Envelope::V1(stored.envelope.clone());
                }
                stored.content.clone()
            }
        };
        Envelope::V2 {
            sender: self.person,
            content,
            sealed_to: self.account().contact(post.to).expect("somebody known").dh,
        }
    }

    /// A restart would find what this run has.
    pub(crate) fn check_restart(&self, now_ms: u64) {
        let restored = Account::restore(self.own.clone(), self.store.records(), now_ms + self.skew_ms);
        for contact in self.account().contacts() {
            let [live, stored] = [self.account(), &restored].map(|account| account.thread(contact.id).expect("there"));
            assert!(live.order().eq(stored.order()), "another order after a restart");
            let sorted = |heads: Vec<MessageHash>| {
                let mut heads = heads;
                heads.sort_unstable();
                heads
            };
            assert_eq!(
                sorted(live.heads().collect()),
                sorted(stored.heads().collect()),
                "other heads after a restart"
            );
        }
    }
}
