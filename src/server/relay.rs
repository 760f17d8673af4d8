//! The relay of PROTOCOL.md: what a POST and a WebSocket mean here.
//!
//! Where mail lies is [`crate::server::store`]'s, what is said over a WebSocket [`crate::server::session`]'s.

use crate::protocol::id::RecipientId;
use crate::protocol::login::SUBPROTOCOL;
use crate::server::context::Context;
use crate::server::http::{Framing, Reply};
use crate::server::mailboxes::Retention;
use crate::server::refusal::Refusal;
use crate::server::routes::{Request, Resource};
use crate::server::service::{Posted, Service};
use crate::server::session::Session;
use crate::server::store::Store;

/// The relay of PROTOCOL.md.
#[derive(Debug, Clone, Copy)]
pub struct Relay;

/// A message for a mailbox, as its head announces it.
#[derive(Debug, Clone, Copy)]
pub struct MailboxPost {
    /// Whose mailbox.
    pub id: RecipientId,
    /// What is asked for; `None`: the relay's default.
    pub retention: Option<Retention>,
}

impl MailboxPost {
    /// Stores the message and answers, for any service that has mailboxes.
    pub fn store<S: Service>(&self, body: &[u8], reply: &Reply<'_>, context: &mut Context<'_, S>) -> Posted {
        let stored = context
            .store
            .post(&self.id, body, self.retention, context.mail_now, context.wake);
        match stored {
            Ok(ttl_seconds) => {
                context.service.write_stored(ttl_seconds, reply, context);
                Posted::Stored
            }
            Err(refusal) => Posted::Refused(refusal),
        }
    }
}

impl Service for Relay {
    type Post = MailboxPost;
    type Handler = Session;

    fn admit(&self, request: &Request<'_>) -> Result<MailboxPost, Refusal> {
        let (id, live_only) = match request.resource {
            Resource::Mailbox { id, live_only } => (id, live_only),
            Resource::Page(_) | Resource::Asterisk | Resource::BadId => return Err(Refusal::BadId),
        };
        if request.head.framing == Framing::None {
            return Err(Refusal::LengthRequired);
        }
        let retention = match request.ttl_seconds {
            _ if live_only => Some(Retention::LiveOnly),
            Some(seconds) => Some(Retention::Seconds(u32::try_from(seconds).unwrap_or(u32::MAX))),
            None => None,
        };
        Ok(MailboxPost { id, retention })
    }

    fn post(&self, post: &MailboxPost, body: &[u8], reply: &Reply<'_>, context: &mut Context<'_, Self>) -> Posted {
        post.store(body, reply, context)
    }

    fn open(&self, request: &Request<'_>, store: &Store) -> Option<Session> {
        let Resource::Mailbox { id, .. } = request.resource else {
            return None;
        };
        let offers_npchat_2 = request
            .head
            .upgrade
            .as_ref()
            .is_some_and(|upgrade| upgrade.offers(SUBPROTOCOL));
        Some(if offers_npchat_2 {
            Session::bound_to_host(id, request.head.host.and_then(|authority| store.login_host(authority)))
        } else {
            Session::new(id)
        })
    }
}
