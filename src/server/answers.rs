//! What npchat answers: a message that was taken, a refusal with its JSON, a preflight (PROTOCOL.md part 1).
//!
//! Which request gets which is said in [`crate::server::routes`]; the parts of an answer are
//! [`crate::server::http`]'s.

use crate::server::http::Reply;
use crate::server::http::response::{put, put_field, put_number, put_number_field};
use crate::server::refusal::Refusal;
use crate::server::routes::Page;

/// When a client may try again that was refused for want of room, or of a timely answer.
const RETRY_AFTER_SECONDS: u64 = 5;
/// How long a browser may remember a preflight's answer.
const PREFLIGHT_MAX_AGE_SECONDS: u64 = 24 * 60 * 60;

/// What a refusal says beside its code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Nothing.
    None,
    /// The path's methods, for [`Refusal::MethodNotAllowed`].
    Allow(&'static str),
    /// Most bytes that a body may have, for [`Refusal::MessageTooLarge`].
    MaxBytes(u64),
}

/// The answer to a message that was taken, the same whatever became of it (PROTOCOL.md part 1).
pub fn sent(reply: &Reply<'_>, out: &mut Vec<u8>, ttl_seconds: u64) {
    const HEAD: &str = concat!(
        "HTTP/1.1 200 OK\r\n",
        "Access-Control-Allow-Origin: *\r\n",
        "Access-Control-Expose-Headers: Retry-After, TTL\r\n",
        "Content-Type: application/json\r\n",
        "Content-Length: 18\r\n",
        "Date: ",
    );
    const BODY: &str = r#"{"message":"sent"}"#;
    const _: () = assert!(BODY.len() == 18);

    out.reserve(320);
    put(out, HEAD);
    out.extend_from_slice(reply.date.as_bytes());
    put(out, "\r\nTTL: ");
    put_number(out, ttl_seconds);
    put(out, "\r\n");
    reply.connection(out, None);
    put(out, "\r\n");
    put(out, BODY);
}

/// A refusal, with its JSON body and the fields that its status asks for. It says that the connection closes if
/// [`Refusal::closes`], whatever `kept_seconds` is.
pub fn refused(reply: &Reply<'_>, out: &mut Vec<u8>, refusal: Refusal, detail: Detail) {
    let reply = Reply {
        kept_seconds: reply.kept_seconds.filter(|_| !refusal.closes()),
        ..*reply
    };
    reply.start(out, refusal.status());
    let is_upgrade = matches!(refusal, Refusal::UpgradeRequired | Refusal::UnsupportedWebSocketVersion);
    if is_upgrade {
        put_field(out, "Upgrade", "websocket");
    }
    reply.connection(out, is_upgrade.then_some("upgrade"));
    if refusal == Refusal::UnsupportedWebSocketVersion {
        put_field(out, "Sec-WebSocket-Version", "13");
    }
    if matches!(refusal.status(), 503 | 504 | 507) {
        put_number_field(out, "Retry-After", RETRY_AFTER_SECONDS);
        put_field(out, "Access-Control-Expose-Headers", "Retry-After");
    }
    let mut number = itoa::Buffer::new();
    let mut sentence = [refusal.sentence(), "", ""];
    match detail {
        Detail::None => {}
        Detail::Allow(methods) => put_field(out, "Allow", methods),
        Detail::MaxBytes(max_bytes) => {
            sentence = ["A body may have at most ", number.format(max_bytes), " bytes here."];
        }
    }
    let [start, middle, end] = sentence;
    let json = [
        r#"{"error":""#,
        refusal.code(),
        r#"","message":""#,
        start,
        middle,
        end,
        r#""}"#,
    ];
    reply.body(out, "application/json", &json.map(str::as_bytes));
}

/// The answer to OPTIONS: what a browser asks before it lets a page send a message (PROTOCOL.md part 1). `methods` are
/// the path's.
pub fn preflight(reply: &Reply<'_>, out: &mut Vec<u8>, methods: &str) {
    reply.start(out, 204);
    reply.connection(out, None);
    put_field(out, "Allow", methods);
    put_field(out, "Access-Control-Allow-Methods", methods);
    // The asterisk is for the fields that tracing libraries add. It doesn't cover all (Fetch §3.3.3), so the others are
    // named.
    put_field(out, "Access-Control-Allow-Headers", "Content-Type, TTL, *");
    put_number_field(out, "Access-Control-Max-Age", PREFLIGHT_MAX_AGE_SECONDS);
    put(out, "\r\n");
}

/// A page with what it says now. With 503 it says when to ask again: the server is alive, and no mail is taken now.
pub fn page(reply: &Reply<'_>, out: &mut Vec<u8>, status: u16, page: &Page, body: &str) {
    reply.start(out, status);
    reply.connection(out, None);
    if status == 503 {
        put_number_field(out, "Retry-After", RETRY_AFTER_SECONDS);
    }
    for (name, value) in page.fields {
        put_field(out, name, value);
    }
    reply.body(out, page.content_type, &[body.as_bytes()]);
}

#[cfg(test)]
mod tests;
