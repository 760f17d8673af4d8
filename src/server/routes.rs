//! Which method of which path is answered by whom: one table, and the name of a target in it.
//!
//! HTTP has been read before. What an answer looks like is said in [`crate::server::answers`], what becomes of a
//! message by the service.

use crate::protocol::id::{ID_TEXT_BYTES, RecipientId};
use crate::server::http::message::{NotDecimal, decimal};
use crate::server::http::{Method, Once, RequestHead, Target};
use crate::server::refusal::Refusal;

/// A path, or a kind of paths, and what answers each of its methods.
#[derive(Debug, PartialEq, Eq)]
pub struct Route {
    /// The path as clients write it; for a kind of paths what stands for it here.
    pub path: &'static str,
    /// Its methods, as `Allow` lists them. OPTIONS is answered with them, and all others are refused.
    pub allow: &'static str,
    /// What answers GET, and HEAD without the body.
    pub get: Answerer,
    /// What answers POST.
    pub post: Answerer,
    /// It asks how the server is: answered even on a connection that there is no room for.
    pub is_probe: bool,
}

/// What answers a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answerer {
    /// A page.
    Page(&'static Page),
    /// [`Service::admit`](crate::server::service::Service::admit) and what follows.
    Service,
    /// The list of methods, as a preflight has it.
    Methods,
    /// A refusal, after which the connection is closed only if [`Refusal::closes`].
    Refusal(Refusal),
}

/// A page, and the fields of its answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Page {
    /// What it says.
    pub content: Content,
    /// `Content-Type`
    pub content_type: &'static str,
    /// Names and values of the fields that caches and browsers go by, as `Cache-Control` and
    /// `Content-Security-Policy`.
    pub fields: &'static [(&'static str, &'static str)],
}

/// What a page says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// What this server is, for people.
    Welcome,
    /// What the relay permits.
    Info,
    /// That the process is alive.
    Health,
    /// Whether mail is taken now.
    Readiness,
}

const READ: &str = "GET, HEAD, OPTIONS";
const READ_AND_POST: &str = "GET, HEAD, POST, OPTIONS";
const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

/// All routes: the pages, then mailboxes, then what is neither.
pub static ROUTES: [Route; PAGES + 2] = [
    page("/", &page_of(Content::Welcome, TEXT)),
    page("/info", &page_of(Content::Info, JSON)),
    probe("/healthz", &page_of(Content::Health, JSON)),
    probe("/readyz", &page_of(Content::Readiness, JSON)),
    Route {
        path: "/{id}",
        allow: READ_AND_POST,
        // Unless the request asks for a WebSocket, which the service is asked for first.
        get: Answerer::Refusal(Refusal::UpgradeRequired),
        post: Answerer::Service,
        is_probe: false,
    },
    Route {
        path: "*",
        allow: READ_AND_POST,
        get: Answerer::Refusal(Refusal::BadId),
        // Which may know what to do with it. The relay doesn't.
        post: Answerer::Service,
        is_probe: false,
    },
];

const PAGES: usize = 4;
static MAILBOX: &Route = &ROUTES[PAGES];
static ELSEWHERE: &Route = &ROUTES[PAGES + 1];

const fn page_of(content: Content, content_type: &'static str) -> Page {
    Page {
        content,
        content_type,
        fields: &[],
    }
}

const fn page(path: &'static str, page: &'static Page) -> Route {
    // What is as long as an id is looked up as one only.
    assert!(path.len() != 1 + ID_TEXT_BYTES);
    Route {
        path,
        allow: READ,
        get: Answerer::Page(page),
        post: Answerer::Refusal(Refusal::MethodNotAllowed),
        is_probe: false,
    }
}

const fn probe(path: &'static str, content: &'static Page) -> Route {
    Route {
        is_probe: true,
        ..page(path, content)
    }
}

impl Route {
    /// What answers this method.
    #[must_use]
    pub const fn answerer(&self, method: Method) -> Answerer {
        match method {
            Method::Get | Method::Head => self.get,
            Method::Post => self.post,
            Method::Options => Answerer::Methods,
            Method::Other => Answerer::Refusal(Refusal::MethodNotAllowed),
            Method::Unknown => Answerer::Refusal(Refusal::UnknownMethod),
        }
    }
}

/// A request whose head has been read.
#[derive(Debug)]
pub struct Request<'b> {
    /// Its head.
    pub head: &'b RequestHead<'b>,
    /// What its target names.
    pub resource: Resource,
    /// Time to live of the message in seconds, as asked for; a number too large for 64 bits is [`u64::MAX`].
    pub ttl_seconds: Option<u64>,
}

/// What a request target names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// A page.
    Page(&'static Route),
    /// `/{id}`
    Mailbox {
        /// Whose mailbox.
        id: RecipientId,
        /// Whether the query says `store=false`: deliver only to a live session (PROTOCOL.md part 1).
        live_only: bool,
    },
    /// `*` of an OPTIONS request: the server itself.
    Asterisk,
    /// Anything else.
    BadId,
}

impl Resource {
    /// What this target names.
    #[must_use]
    pub fn of(target: Target<'_>) -> Self {
        let Target::Path { path, query } = target else {
            return Self::Asterisk;
        };
        if let [b'/', id @ ..] = path
            && id.len() == ID_TEXT_BYTES
        {
            return RecipientId::parse(id).map_or(Self::BadId, |id| Self::Mailbox {
                id,
                live_only: says_live_only(query),
            });
        }
        let page = ROUTES[..PAGES].iter().find(|route| route.path.as_bytes() == path);
        page.map_or(Self::BadId, Self::Page)
    }

    /// Its row of the table.
    #[must_use]
    pub fn route(self) -> &'static Route {
        match self {
            Self::Page(route) => route,
            Self::Mailbox { .. } => MAILBOX,
            Self::Asterisk | Self::BadId => ELSEWHERE,
        }
    }
}

/// What a `TTL` field asks for (RFC 8030 §5.2), see [`Request::ttl_seconds`].
///
/// # Errors
/// [`Refusal::BadTtl`].
pub fn ttl_seconds(field: Once<'_>) -> Result<Option<u64>, Refusal> {
    match field {
        Once::Absent => Ok(None),
        Once::Value(text) => match decimal(text) {
            Ok(seconds) => Ok(Some(seconds)),
            Err(NotDecimal::TooLarge) => Ok(Some(u64::MAX)),
            Err(NotDecimal::NoNumber) => Err(Refusal::BadTtl),
        },
        Once::Repeated => Err(Refusal::BadTtl),
    }
}

fn says_live_only(query: &[u8]) -> bool {
    // Most requests have none.
    !query.is_empty() && query.split(|byte| *byte == b'&').any(|pair| pair == b"store=false")
}

#[cfg(test)]
mod tests;
