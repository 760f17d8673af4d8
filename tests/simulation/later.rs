//! The relay's service with a storage behind it that takes some of the posts, and reports what became of them when the
//! world says so.

use std::sync::{Mutex, MutexGuard, PoisonError};

use npchat::protocol::id::RecipientId;
use npchat::server::context::Context;
use npchat::server::http::Reply;
use npchat::server::mailboxes::Retention;
use npchat::server::refusal::Refusal;
use npchat::server::relay::{MailboxPost, Relay};
use npchat::server::routes::Request;
use npchat::server::service::{Posted, Service};
use npchat::server::session::Session;
use npchat::server::store::Store;
use npchat::server::token::Ticket;
use testkit::Random;

/// The service of all workers of a run.
#[derive(Debug)]
pub(crate) struct Later(Mutex<Taken>);

/// What the storage has taken and the world has not seen.
#[derive(Debug)]
struct Taken {
    posts: Vec<Deferred>,
    random: Random,
    /// Of so many posts, it takes one; of none if this is 0.
    one_in: usize,
}

/// A post that the storage has taken.
#[derive(Debug)]
pub(crate) struct Deferred {
    pub(crate) ticket: Ticket,
    pub(crate) id: RecipientId,
    pub(crate) retention: Option<Retention>,
    pub(crate) body: Vec<u8>,
}

impl Later {
    pub(crate) fn new(one_in: usize, random: Random) -> Self {
        Self(Mutex::new(Taken {
            posts: Vec::new(),
            random,
            one_in,
        }))
    }

    /// What the storage has taken since this was last called.
    pub(crate) fn take(&self) -> Vec<Deferred> {
        std::mem::take(&mut self.lock().posts)
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Service for Later {
    type Post = MailboxPost;
    type Handler = Session;

    fn admit(&self, request: &Request<'_>) -> Result<MailboxPost, Refusal> {
        Relay.admit(request)
    }

    fn post(&self, post: &MailboxPost, body: &[u8], reply: &Reply<'_>, context: &mut Context<'_, Self>) -> Posted {
        let mut taken = self.lock();
        let one_in = taken.one_in;
        if one_in > 0 && taken.random.once_in(one_in) {
            let ticket = context.take_ticket();
            taken.posts.push(Deferred {
                ticket,
                id: post.id,
                retention: post.retention,
                body: body.to_vec(),
            });
            return Posted::Pending(ticket);
        }
        drop(taken);
        post.store(body, reply, context)
    }

    fn open(&self, request: &Request<'_>, store: &Store) -> Option<Session> {
        Relay.open(request, store)
    }
}
