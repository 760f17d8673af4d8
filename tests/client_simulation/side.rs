//! A client whose relay takes everything at once, for tests that say themselves what comes and when.

use npchat::client::account::limits::TTL_S;
use npchat::client::account::{Account, ActError, Output, Posted, Report, What, Written};
use npchat::client::content::{Body, Content, HashList, Heads, MessageHash, Want};
use npchat::client::records::{Status, Version};
use npchat::protocol::id::RecipientId;

use crate::client::Client;
use crate::envelope::{Envelope, Sealer};
use crate::people;

pub(crate) const START_MS: u64 = 1_800_000_000_000;
const TAKEN: Posted = Posted::Taken { ttl_s: TTL_S };

/// A client whose posts are all taken at once, and kept here.
pub(crate) struct Side {
    pub(crate) client: Client,
    posted: Vec<(What, Envelope)>,
    pub(crate) reports: Vec<Report>,
    pub(crate) now_ms: u64,
}

impl Side {
    pub(crate) fn new(person: usize) -> Self {
        let mut client = Client::new(person, 0, 0);
        client.start(START_MS);
        Self {
            client,
            posted: Vec::new(),
            reports: Vec::new(),
            now_ms: START_MS,
        }
    }

    pub(crate) fn id(&self) -> RecipientId {
        self.client.own.id()
    }

    pub(crate) fn account(&self) -> &Account {
        self.client.account()
    }

    pub(crate) fn call(&mut self, call: impl FnOnce(&mut Account, u64) -> Output) {
        self.call_with(TAKEN, call);
    }

    pub(crate) fn call_with(&mut self, posted: Posted, call: impl FnOnce(&mut Account, u64) -> Output) {
        let account = self.client.account.as_mut().expect("it runs");
        let mut output = call(account, self.now_ms);
        loop {
            self.client.commit(&output);
            self.client.show(&output.reports);
            self.reports.append(&mut output.reports);
            let Some(post) = output.posts.pop() else { break };
            let envelope = self.client.seal(&post);
            self.posted.push((post.what, envelope));
            let account = self.client.account.as_mut().expect("it runs");
            let mut more = account.handle_posted(post.id, posted, self.now_ms, u32::MAX);
            output.posts.append(&mut more.posts);
            output.changes = more.changes;
            output.reports = more.reports;
        }
    }

    /// Lets time pass, and the account do what is due.
    pub(crate) fn run_until(&mut self, end_ms: u64) {
        while let Some(due_ms) = self.account().next_wakeup_ms().filter(|due_ms| *due_ms <= end_ms) {
            self.now_ms = self.now_ms.max(due_ms);
            self.call(Account::advance);
        }
        self.now_ms = end_ms;
    }

    pub(crate) fn add(&mut self, other: &Self, version: Version) {
        let link = people::link(&other.client.own, version);
        self.call(|account, now_ms| account.add(&link, now_ms).expect("room"));
    }

    pub(crate) fn try_send(&mut self, to: RecipientId, body: Body) -> Result<MessageHash, ActError> {
        let mut sealer = std::mem::replace(&mut self.client.sealer, Sealer { sender: 0, count: 0 });
        let mut sent = Err(ActError::Nobody);
        self.call(|account, now_ms| {
            let written = Written { body, ttl_s: TTL_S };
            let (hash, output) = match account.send(to, written, now_ms, &mut sealer) {
                Ok((hash, output)) => (Ok(hash), output),
                Err(error) => (Err(error), Output::default()),
            };
            sent = hash;
            output
        });
        self.client.sealer = sealer;
        sent
    }

    pub(crate) fn send(&mut self, to: RecipientId, text: &str) -> MessageHash {
        self.try_send(to, Body::Text(text.to_owned())).expect("sent")
    }

    pub(crate) fn hear(&mut self, envelope: &Envelope) {
        let mail = envelope.open(&self.client.keys).expect("for this one");
        self.call(|account, now_ms| account.handle_mail(mail, now_ms));
    }

    /// What was posted since the last call.
    pub(crate) fn take(&mut self) -> Vec<Envelope> {
        std::mem::take(&mut self.posted)
            .into_iter()
            .map(|(_, envelope)| envelope)
            .collect()
    }

    pub(crate) fn controls(&mut self) -> Vec<Body> {
        let posted = std::mem::take(&mut self.posted).into_iter();
        let contents = posted.filter_map(|(what, _)| match what {
            What::Content(content) => Some(Content::parse(&content).expect("good").body),
            _ => None,
        });
        contents.collect()
    }

    pub(crate) fn status(&self, hash: MessageHash) -> Status {
        self.client.store.message(hash).expect("a message").delivery.status
    }

    pub(crate) fn restart(&mut self) {
        self.client.crash();
        self.client.start(self.now_ms);
    }
}

/// Two who have accepted each other.
pub(crate) fn friends(versions: [Version; 2]) -> (Side, Side) {
    let (mut alice, mut bob) = (Side::new(0), Side::new(1));
    alice.add(&bob, versions[0]);
    bob.add(&alice, versions[1]);
    (alice, bob)
}

pub(crate) fn control(sender: &Side, to: &Side, body: Body) -> Envelope {
    let content = Content {
        time_ms: sender.now_ms,
        to: to.id(),
        heads: Heads::default(),
        body,
        card: None,
    };
    Envelope::V2 {
        sender: sender.client.person,
        content: content.to_bytes(),
        sealed_to: to.client.own.card.dh,
    }
}

pub(crate) fn want(wanted: &[MessageHash]) -> Body {
    Body::Want(Want {
        want: HashList::new(wanted.to_vec()).expect("few"),
        have: HashList::default(),
    })
}

pub(crate) fn wants(bodies: &[Body]) -> usize {
    bodies.iter().filter(|body| matches!(body, Body::Want(_))).count()
}
