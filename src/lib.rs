//! npchat: a federated, private message relay, wire-compatible with go-npchat.
//!
//! Anybody posts an opaque message to `/{id}`, where the id is the hash of the recipient's public key. The owner of the
//! key logs in over a WebSocket at the same path by signing a challenge, and gets what was stored and what comes. There
//! are no accounts and no plaintext, and no promise to keep mail past its time to live.
//!
//! The crate is a library, and the server `npchatd`, which is its command line. A crate beside it, `npchat-bench` in
//! `benches/load`, loads and measures servers. A server is started in three lines:
//!
//! ```no_run
//! # fn main() -> Result<(), npchat::server::StartError> {
//! let server = npchat::server::Server::start(&npchat::server::Config::default())?;
//! println!("{:?}", server.addresses());
//! server.wait()
//! # }
//! ```
//!
//! # The way of a message
//!
//! ```text
//! socket → worker (one read into the worker's scratch) → transport → connection (which stage am I in?)
//!   → http (head, body) → routes (what is asked for?) → relay → store
//!   → mailboxes (stored; the workers of live sessions are notified)
//!   → session (takes it from the mailbox, frames it) → outbound → one write → socket
//! ```
//!
//! In at one end, out at the other, nothing passed back up. A message lives in one place, its mailbox, from the post
//! until a session has acknowledged it or its TTL ends. Live sessions hold cursors into the mailbox, so a session that
//! ends, however it ends, gives nothing back: what it has not acknowledged is still there, in order, with its old
//! deadline.
//!
//! # When a message is acknowledged
//!
//! What the kernel has taken may never reach the client. So a ping with a number follows the messages in a session's
//! stream; every WebSocket stack answers it by itself once it has read up to it, and that pong acknowledges all that
//! went before. Until then the messages stay where they are, and what a session may have unacknowledged is bounded: a
//! client that is not there costs its window, is found out when its pong doesn't come, and the next login gets all of
//! it, in order. So delivery is at least once until the time to live, to clients that know nothing of it; twice only
//! what was sent and not acknowledged.
//!
//! # Rooms
//!
//! What both sides say is [`protocol`], what runs is [`server`], which is built with the feature `server`. Of the
//! latter [`server::Server`] with what it reports, [`server::config`], [`server::log`], [`server::system`], the two
//! functions that `npchatd` calls, and the errors are public; the rest is so only with the feature `internals`, which
//! tests, benches, fuzz targets and examples have. What people seal for each other is [`client`],
//! with the feature of that name; its map is there.
//!
//! | module | what lives there |
//! |---|---|
//! | [`protocol::id`] | ids of recipients and public keys |
//! | [`protocol::login`] | the texts of the login, read and written in both directions |
//! | `protocol/json` | as much of JSON as the protocol asks for, read strictly |
//! | [`protocol::signature`] | what a signature proves, by itself or bound to a host |
//! | [`protocol::host`] | the host that a login is bound to, in its one spelling |
//! | [`protocol::authority`] | the grammar of an authority: a host and perhaps a port |
//! | [`protocol::error`] | refusals and close reasons: status, code and sentence of each, in one table |
//! | [`server`], `server::error` | binds, starts workers, turns signals into a drain; why a server doesn't start |
//! | [`server::config`] | what an operator can set, with units, ranges and defaults; how flags, variables and a file give it |
//! | [`server::limits`] | what no operator needs to set: compile-time constants and the relations between them |
//! | [`server::system`] | what the machine offers |
//! | [`server::certificate`], `renewal` | a certificate and its key, and the one that is shown now; a look at their files |
//! | `listeners`, `places` | listening sockets; whether a connection may come in |
//! | [`server::worker`] | one mio loop on one core: poll, accept, sleep. The only caller of `poll` |
//! | [`server::worker::scheduler`] | which connections are visited in a turn, in which order, and how many of them or for how long; without socket and clock of its own |
//! | `worker/shared`, `worker/inbox` | what workers share; what they notify each other of |
//! | `worker/clock`, `worker/acceptor` | the time of a turn; where connections come in |
//! | `worker/slots`, `worker/slot` | a slab with generations; one connection with its socket, and its visit |
//! | `worker/queues`, `worker/scheduler/order` | connections that wait for a turn, one queue for each class; which are served, and in which order |
//! | `worker/scheduler/deadlines`, `worker/expiry` | deadlines of connections; a worker's share in freeing what has expired |
//! | `worker/holders`, `worker/scheduler/evictions` | which connections hold the most memory; their end when that is spent |
//! | [`server::transport`] | the socket's bytes, plain or by way of TLS; the only file that touches a connected socket |
//! | [`server::connection::visit`] | one visit to a connection: read, advance, deliver, write, close; over a socket, or what stands for one |
//! | [`server::transport::tls`] | one TLS connection without its socket: ciphertext in and out, plaintext out and in |
//! | [`server::context`] | what a connection borrows for a turn |
//! | [`server::connection`] | the stages (HTTP, WebSocket, closing), and how one becomes the next with its leftovers |
//! | [`server::outbound`], [`server::pace`] | what waits for the kernel; how slow a transfer may be |
//! | [`server::http`] | request head, body, the parts of an answer. Bytes in, values out, and nothing of npchat |
//! | [`server::websocket`] | adapter over tungstenite's `WebSocketContext`, judgement of frame headers. Nothing of npchat |
//! | [`server::routes`] | one table: which method of which path is answered by whom |
//! | [`server::answers`] | what npchat answers, in its own words |
//! | [`server::service`] | the seam between connections and what they are for: posts, at once or later; WebSockets |
//! | [`server::relay`] | the service of this crate: what a POST and a WebSocket mean |
//! | [`server::session`] | npchat over a WebSocket: challenge, login, delivery, acknowledgement |
//! | [`server::signer`] | what makes and signs challenges |
//! | [`server::store`] | the one way to the mailboxes: post, attach, expire, count. It hands out attachments and charges, and no mailbox |
//! | [`server::mailboxes`] | sharded map of mailboxes and messages; the segments that they lie in, the memory budget |
//! | [`server::timer_wheel`] | hierarchical timer wheel, for messages and for the deadlines of connections |
//! | [`server::refusal`] | what HTTP and a WebSocket refuse, in npchat's words |
//! | [`server::log`] | the lines that wait for stderr, a thread that writes them, the limit of repeated ones |
//! | [`server::metrics`], [`server::token`] | counters each worker owns; names of connections and of pending POSTs |
//! | `sync` | the locks and atomics that a model checker takes the place of |
//!
//! # What is bounded, and by what
//!
//! Mailboxes, messages and bodies lie in equal segments, charged to the budget of mail
//! ([`server::config::Config::memory`]) while a shard holds them. What a connection holds between turns is charged to a
//! budget of its own ([`server::config::Config::connection_memory`]) after each visit; past it the largest holders are
//! closed, and new connections wait in the kernel. Beside both, the process looks at its resident memory once a second,
//! and takes no mail while that is over [`server::config::Config::memory_bound`], which is a function of the options.
//!
//! # Walls
//!
//! 1. Only `worker`, `server`, `listeners`, `renewal` and `transport` touch a socket or a clock, and of `worker` and
//!    `transport` neither [`server::worker::scheduler`] nor [`server::transport::tls`]; [`server::log`] reads the time
//!    of its lines. All else takes bytes and `now`, so that all of [`server::connection`], its visits included, can be
//!    driven without a socket, at any speed.
//! 2. The hot path returns values: no event queues, no callbacks, no `dyn` between reading a POST and storing it, no
//!    allocation but the message itself.
//! 3. A connection never leaves its worker. Mailboxes are shared, in shards picked by a secretly keyed hash, each
//!    behind its own mutex, held for a map operation only. So the sender's answer is the truth without a round trip
//!    between workers.
//! 4. A stage owns what it needs and nothing else. The upgrade consumes the HTTP stage, in place, in the same slot. An
//!    idle connection owns no buffers: scratch belongs to the worker.
//! 5. Every queue has a cap, but for what a service reports of POSTs, whose number the service bounds. The message that
//!    doesn't fit gets an honest refusal, nothing stored is evicted. A line of the log that doesn't fit is dropped and
//!    counted: nothing waits for stderr.
//! 6. Everything that may take long has a budget for one turn; what is left goes into a queue for the next turn,
//!    because edge-triggered readiness comes once. The turn in which a drain begins is the exception: it visits every
//!    connection once. Established connections are served before new ones, which have not been answered or logged in
//!    yet: a storm waits for itself.
//! 7. A token is an index and a generation, so that an event for a connection that is closed is seen as such. A ticket
//!    has a number beside it, so that what is reported for a POST that is over is, too.
//! 8. Errors name whose fault it is: one closed enum of [`protocol::error::Refusal`]s, one of
//!    [`protocol::error::CloseReason`]s, a counter each.
//! 9. [`protocol`] names nothing of [`server`] or [`client`], and these nothing of each other. [`server::http`] and
//!    [`server::websocket`] name nothing of npchat, but for the grammar of an authority and the pace of a transfer. No
//!    two files name each other, nor is there a longer circle.
//!
//! `.ci/run` reads the sources for the first and the last of them.
//!
//! # Locks, and why a wake-up can't be lost
//!
//! No code holds two locks. A post appends to the mailbox and, under the same lock, marks each session that has not
//! been notified yet and hands out its address; the session's worker is notified before the turn ends, and woken if it
//! sleeps.
//! The mark is cleared under the lock when the session has taken everything. So between a post and the session's look
//! there is always either a mark with a wake-up on its way, or a session that knows that mail is left. An inbox entry
//! for a session that has ended finds nothing, and nothing is lost by it.
//!
//! # When a POST is answered later
//!
//! A service may have a POST pending. Its connection then reads nothing, so that answers keep their order, and what the
//! client sends waits in the kernel, an end of its side too. It waits for one of two things: a report of what became of
//! the POST, by way of the inbox, or the end of [`server::limits::PENDING_POST_SECONDS`]. A drain waits for it, too.
//!
//! # What TLS changes
//!
//! Nothing above `transport`. Each visit opens all records that have come whole, so plaintext never waits where no
//! event reports it, and an idle connection owns keys but no buffers. What the transport reports as sent is plaintext
//! whose records the kernel has taken: a connection holds on to the rest, so its caps, its deadlines and its way to
//! close are the same as without TLS, though up to [`server::limits::TLS_SEALED_MAX_BYTES`] of it are held in records
//! too. A peer's `close_notify` is the end of its stream; an end without one is an ordinary end, since every request
//! and every message states its own length. Handshakes go on in steps, within the time that a turn has for new
//! connections: first come, first served, but one that has begun goes on first.
//!
//! # What a bug does
//!
//! A panic while a connection is being served ends that connection, is logged with its place and nothing else, and is
//! counted as [`protocol::error::CloseReason::Internal`]; its session's mail is still in the mailbox. A panic while a
//! shard is locked leaves queues in an unknown state, so the next one to lock that shard ends the process. A worker
//! that fails otherwise stops the server, with an error.
#![forbid(unsafe_code)]
// What is public for tests alone is private then, some of it is used by nothing else, and no link leads to it.
#![cfg_attr(
    not(all(feature = "internals", feature = "server")),
    allow(
        dead_code,
        unreachable_pub,
        unused_imports,
        rustdoc::broken_intra_doc_links,
        rustdoc::private_intra_doc_links
    )
)]

#[cfg(feature = "client")]
pub mod client;
pub mod protocol;
#[cfg(feature = "server")]
pub mod server;
