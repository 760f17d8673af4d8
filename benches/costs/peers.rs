//! The peers of connections without sockets: one that posts, and sessions that get what is posted. What is measured of
//! them is the business of those that use them.

use std::hint::black_box;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use npchat::protocol::id::{ID_TEXT_BYTES, RecipientId};
use npchat::server::config::Config;
use testkit::{Identity, Lent, Opcode, Piped, post_request};

use crate::random::ids;

/// Posts, each to another mailbox, between two expiries.
pub(crate) const POSTS: usize = 10_000;
/// Sessions that get a message each in one round.
pub(crate) const SESSIONS: usize = 200;

/// One keep-alive connection that posts to many mailboxes.
pub(crate) struct Poster {
    pub(crate) lent: Lent,
    connection: Piped,
    /// As much input as the kernel would give: one request, made for one mailbox after the other.
    request: Vec<u8>,
    id_at: usize,
    ids: Vec<[u8; ID_TEXT_BYTES]>,
}

impl Poster {
    pub(crate) fn new(body_bytes: usize) -> Self {
        let lent = Lent::new(&Config::default(), Instant::now());
        let connection = lent.accept();
        let id = |id: &RecipientId| id.to_string().into_bytes().try_into().unwrap();
        let ids: Vec<[u8; ID_TEXT_BYTES]> = ids(POSTS, 0).iter().map(id).collect();
        let target = format!("/{}", str::from_utf8(&ids[0]).unwrap());
        let request = post_request(([127, 0, 0, 1], 8000).into(), &target, "", vec![b'x'; body_bytes]);
        Self {
            lent,
            connection,
            request,
            id_at: "POST /".len(),
            ids,
        }
    }

    pub(crate) fn post(&mut self, index: usize) {
        self.request[self.id_at..][..ID_TEXT_BYTES].copy_from_slice(&self.ids[index]);
        let request = black_box(self.request.as_slice());
        let sent = self.lent.visit(&mut self.connection, request, |answer| {
            black_box(answer).starts_with(b"HTTP/1.1 200 ")
        });
        assert!(sent);
        black_box(self.connection.deadline(&self.lent.timeouts));
    }

    pub(crate) fn expire(&mut self) {
        self.lent.now += Config::default().message_ttl + Duration::from_secs(1);
        let store = &self.lent.store;
        for shard in 0..store.shards() {
            while store.expire(shard, self.lent.now, &mut usize::MAX.clone()) {}
        }
    }
}

pub(crate) type Pong = [u8; 10];

/// Sessions of as many ids on one worker, which are the same in every run.
pub(crate) struct Receivers {
    pub(crate) lent: Lent,
    pub(crate) sessions: Vec<Receiver>,
    body: Vec<u8>,
}

pub(crate) struct Receiver {
    id: RecipientId,
    connection: Piped,
    /// The answer to the ping that has come.
    pub(crate) pong: Option<Pong>,
}

impl Receivers {
    pub(crate) fn new(body_bytes: usize) -> Self {
        let mut lent = Lent::new(&Config::default(), Instant::now());
        let mut receiver = |number: usize| {
            let mut secret = [0; 32];
            secret[24..].copy_from_slice(&(number as u64 + 1).to_be_bytes());
            let identity = Identity::from_secret(&URL_SAFE_NO_PAD.encode(secret));
            Receiver {
                id: RecipientId::parse(identity.id.as_bytes()).unwrap(),
                connection: lent.log_in(&identity),
                pong: None,
            }
        };
        let sessions = (0..SESSIONS).map(&mut receiver).collect();
        Self {
            lent,
            sessions,
            body: vec![b'x'; body_bytes],
        }
    }

    pub(crate) fn post(&mut self, count: usize) {
        let Lent { store, now, wake, .. } = &mut self.lent;
        for receiver in &self.sessions[..count] {
            store.post(&receiver.id, &self.body, None, *now, wake).unwrap();
        }
        assert_eq!(wake.len(), count, "each session is told once");
        wake.clear();
    }
}

impl Receiver {
    /// Whose body has so many bytes, 126 at the least.
    pub(crate) fn deliver(&mut self, lent: &mut Lent, body_bytes: usize) {
        let frame_bytes = 4 + body_bytes;
        self.connection.note_mail();
        let (length, ping) = lent.visit(&mut self.connection, b"", |sent| {
            (sent.len(), pong_to(&black_box(sent)[frame_bytes..]))
        });
        assert!(length == frame_bytes || ping.is_some());
        self.pong = ping.or(self.pong.take());
        black_box(self.connection.deadline(&lent.timeouts));
    }

    pub(crate) fn answer_ping(&mut self, lent: &mut Lent) {
        let Some(pong) = self.pong.take() else { return };
        // If more was sent behind the ping, the next one may follow at once.
        self.pong = lent.visit(&mut self.connection, black_box(&pong), |sent| pong_to(black_box(sent)));
        black_box(self.connection.deadline(&lent.timeouts));
    }
}

/// What the peer answers to the ping that these bytes are, if they are one. Its mask is zero, which costs as much as
/// any.
fn pong_to(bytes: &[u8]) -> Option<Pong> {
    const HEADER: [u8; 2] = [0x80 | Opcode::PING, 4];
    let [first, second, third, last] = bytes.strip_prefix(&HEADER)?.try_into().ok()?;
    Some([0x80 | Opcode::PONG, 0x84, 0, 0, 0, 0, first, second, third, last])
}
