//! The answers that need nothing but to be written: pages, preflights, refusals, and faults that end the connection.
//!
//! Which request gets which is said in [`crate::server::routes`] and [`super::requests`].

use crate::server::answers::{self, Detail};
use crate::server::context::Context;
use crate::server::http::{Framing, HttpError, Method, Reply, RequestHead};
use crate::server::refusal::Refusal;
use crate::server::routes::{Content, Page, Request};
use crate::server::store::Store;

/// Answers that need nothing but to be written.
#[derive(Debug, Clone, Copy)]
pub(super) enum Answer {
    Page(&'static Page),
    Preflight(&'static str),
    Refused(Refusal, Detail),
}

/// A refusal after which the connection can't go on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fault {
    pub(super) refusal: Refusal,
    pub(super) detail: Detail,
    /// The answer has no body.
    pub(super) head_only: bool,
}

/// How the client wants to be answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct ResponseOptions {
    pub(super) keep_alive: bool,
    pub(super) head_only: bool,
}

const WELCOME: &str = concat!(
    "This is npchat ",
    env!("CARGO_PKG_VERSION"),
    ", a private message relay.\n",
    "POST a message to /{id}; the owner of the id receives it over a WebSocket at the same path.\n"
);

impl ResponseOptions {
    pub(super) fn of(head: &RequestHead<'_>) -> Self {
        Self {
            keep_alive: head.keep_alive,
            head_only: head.method == Method::Head,
        }
    }

    /// These options by what is known when the answer is written: a drain may have begun since the head came, and waits
    /// for every connection to end.
    pub(super) fn in_drain<S>(self, context: &Context<'_, S>) -> Self {
        Self {
            keep_alive: self.keep_alive && !context.store.is_draining(),
            ..self
        }
    }

    pub(super) fn reply<'d, S>(self, context: &Context<'d, S>) -> Reply<'d> {
        Reply {
            date: context.date,
            kept_seconds: self.keep_alive.then_some(context.timeouts.keep_alive.as_secs()),
            head_only: self.head_only,
        }
    }
}

impl Answer {
    pub(super) fn write<S>(self, options: ResponseOptions, context: &mut Context<'_, S>) {
        let reply = options.reply(context);
        let out = &mut *context.out;
        match self {
            Self::Page(page) => {
                let (status, body) = state_of(page.content, context.store);
                answers::page(&reply, out, status, page, body);
            }
            Self::Preflight(methods) => answers::preflight(&reply, out, methods),
            Self::Refused(refusal, detail) => {
                note_refusal(refusal, context);
                answers::refused(&reply, context.out, refusal, detail);
            }
        }
    }
}

/// What a page says now, and its status.
fn state_of(content: Content, store: &Store) -> (u16, &str) {
    match content {
        Content::Welcome => (200, WELCOME),
        Content::Info => (200, store.info()),
        Content::Health => (200, r#"{"status":"healthy"}"#),
        Content::Readiness if store.is_draining() => (503, r#"{"status":"draining"}"#),
        Content::Readiness if store.takes_mail() => (200, r#"{"status":"ready"}"#),
        Content::Readiness => (503, r#"{"status":"full"}"#),
    }
}

/// Whether it asks how the server is, and for nothing else.
pub(super) fn is_probe(request: &Request<'_>) -> bool {
    let head = request.head;
    matches!(head.method, Method::Get | Method::Head)
        && request.resource.route().is_probe
        && matches!(head.framing, Framing::None | Framing::Length(0))
        && head.upgrade.is_none()
}

impl Fault {
    pub(super) fn new(refusal: impl Into<Refusal>, head_only: bool) -> Self {
        Self {
            refusal: refusal.into(),
            detail: Detail::None,
            head_only,
        }
    }

    pub(super) fn of_body(error: HttpError, max_bytes: u64, options: ResponseOptions) -> Self {
        let fault = Self::new(error, options.head_only);
        match error {
            HttpError::MessageTooLarge => Self {
                detail: Detail::MaxBytes(max_bytes),
                ..fault
            },
            _ => fault,
        }
    }

    /// Writes the refusal, which says that the connection ends.
    pub(super) fn write<S>(self, context: &mut Context<'_, S>) {
        note_refusal(self.refusal, context);
        let options = ResponseOptions {
            keep_alive: false,
            head_only: self.head_only,
        };
        answers::refused(&options.reply(context), context.out, self.refusal, self.detail);
    }
}

pub(super) fn note_refusal<S>(refusal: Refusal, context: &Context<'_, S>) {
    context.counters.refused(refusal);
    tracing::debug!(refusal = refusal.code(), "refused");
}
