//! What a request is for, and its answer once it has come whole.

use super::answers::{Answer, ResponseOptions};
use crate::server::answers::Detail;
use crate::server::context::Context;
use crate::server::limits::BODY_BLOCK_BYTES;
use crate::server::mailboxes::Charge;
use crate::server::refusal::Refusal;
use crate::server::routes::{Answerer, Request};
use crate::server::service::{Posted, Service};
use crate::server::token::Ticket;

/// What a request wants.
#[derive(Debug)]
pub(super) enum Purpose<S: Service> {
    Post(S::Post),
    /// Its body, if any, is read and thrown away.
    Answer(Answer),
}

/// How far a request that has come whole is answered.
#[derive(Debug, Clone, Copy)]
pub(super) enum Finished {
    Answered {
        /// Whether the connection goes on.
        is_kept: bool,
    },
    Pending(Ticket),
}

/// What the request is for. Refusals that keep the connection are answers; the others are errors.
pub(super) fn purpose_of<S: Service>(request: &Request<'_>, service: &S) -> Result<Purpose<S>, Refusal> {
    let route = request.resource.route();
    let refusal = match route.answerer(request.head.method) {
        Answerer::Page(page) => return Ok(Purpose::Answer(Answer::Page(page))),
        Answerer::Methods => return Ok(Purpose::Answer(Answer::Preflight(route.allow))),
        Answerer::Service => match service.admit(request) {
            Ok(post) => return Ok(Purpose::Post(post)),
            Err(refusal) => refusal,
        },
        Answerer::Refusal(refusal) => refusal,
    };
    let detail = match refusal {
        refusal if refusal.closes() => return Err(refusal),
        Refusal::MethodNotAllowed => Detail::Allow(route.allow),
        _ => Detail::None,
    };
    Ok(Purpose::Answer(Answer::Refused(refusal, detail)))
}

/// Memory for a message that comes in pieces, charged before it is used; without it, the body is read for nothing.
pub(super) fn set_memory_aside<S: Service>(
    purpose: Purpose<S>,
    piece_bytes: usize,
    max_bytes: u64,
    context: &Context<'_, S>,
) -> (Purpose<S>, Option<Charge>) {
    let Purpose::Post(_) = purpose else {
        return (purpose, None);
    };
    // What the client only says it will send is charged when it comes: a claim costs nothing.
    let bytes = (piece_bytes as u64).clamp(1, max_bytes.max(1));
    match context.store.reserve(whole_blocks(bytes)) {
        Ok(charge) => (purpose, Some(charge)),
        Err(refusal) => (Purpose::Answer(Answer::Refused(refusal, Detail::None)), None),
    }
}

/// What blocks take that hold so many bytes.
pub(super) fn whole_blocks(bytes: u64) -> u64 {
    bytes.next_multiple_of(BODY_BLOCK_BYTES as u64)
}

/// Answers a request that has come whole, unless the service does that later.
pub(super) fn finish<S: Service>(
    purpose: &Purpose<S>,
    options: ResponseOptions,
    body: &[u8],
    context: &mut Context<'_, S>,
) -> Finished {
    let is_kept = match purpose {
        Purpose::Answer(answer) => {
            answer.write(options, context);
            options.keep_alive
        }
        Purpose::Post(post) => match context.service.post(post, body, &options.reply(context), context) {
            Posted::Stored => options.keep_alive,
            Posted::Refused(refusal) => refuse_post(refusal, options, context),
            Posted::Pending(ticket) => return Finished::Pending(ticket),
        },
    };
    Finished::Answered { is_kept }
}

/// Answers a POST by what the service has reported of it. Returns whether the connection is kept.
pub(super) fn write_result<S: Service>(
    result: Result<u32, Refusal>,
    options: ResponseOptions,
    context: &mut Context<'_, S>,
) -> bool {
    match result {
        Ok(ttl_seconds) => {
            let reply = options.reply(context);
            context.service.write_stored(ttl_seconds, &reply, context);
            options.keep_alive
        }
        Err(refusal) => refuse_post(refusal, options, context),
    }
}

/// Returns whether the connection is kept.
fn refuse_post<S>(refusal: Refusal, options: ResponseOptions, context: &mut Context<'_, S>) -> bool {
    Answer::Refused(refusal, Detail::None).write(options, context);
    options.keep_alive && !refusal.closes()
}
