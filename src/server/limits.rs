//! Limits that no operator needs to set: compile-time constants, unit last in each name, relations asserted at compile
//! time.
//!
//! What an operator may want to change is in [`crate::server::config`]; HTTP and WebSocket have limits of their own, in
//! [`crate::server::http::limits`] and [`crate::server::websocket::limits`].

use crate::protocol::login::HANDSHAKE_MAX_BYTES;
use crate::server::http::limits::HEAD_MAX_BYTES;

/// Scratch that a worker reads into: one `recv` fills at most this much.
pub const READ_SCRATCH_BYTES: usize = 64 * 1024;

/// Body of a request that isn't a message (a GET with content, say): read and discarded up to here.
pub const DISCARDED_BODY_MAX_BYTES: u64 = 64 * 1024;

/// Events that a worker takes from the kernel at once. When it has so many of established connections, it serves them.
pub const EVENTS_PER_POLL: usize = 128;
/// How often a worker asks the kernel for events in one turn, to find established connections among new ones.
pub const POLLS_PER_TURN: usize = 32;
/// Requests that one connection may have answered in one visit.
pub const REQUESTS_PER_VISIT: usize = 64;
/// Requests that all ready connections may have answered in one turn, when they are many, but for
/// [`REQUESTS_PER_VISIT_MIN`] of each.
pub const REQUESTS_FOR_ALL_READY: usize = 1024;
/// Requests that each ready connection may have answered in one visit, however many are ready.
pub const REQUESTS_PER_VISIT_MIN: usize = 4;
/// WebSocket frames count as this part of a request.
pub const FRAMES_PER_REQUEST: usize = 4;
/// Resumed connections that a worker serves in one turn: they wait for nothing but their turn, so those that are ready
/// go between.
pub const RESUMED_VISITS_PER_TURN: usize = 16;
/// Input of resumed connections that a worker reads in one turn, give or take one read.
pub const RESUMED_BYTES_PER_TURN: usize = 128 * 1024;
/// Input of connections that linger, which is read in one turn only to be thrown away, give or take one read.
pub const LINGERING_BYTES_PER_TURN: usize = 128 * 1024;
/// Sessions with new mail, and POSTs whose answer was pending, that a worker serves in one turn.
pub const MAILED_VISITS_PER_TURN: usize = 256;
/// Least time that new connections have in a turn if they want it, and their TLS handshakes once more. It is as much as
/// the turn has taken so far, within this and [`NEW_CONNECTIONS_MAX_MICROS`].
pub const NEW_CONNECTIONS_MIN_MICROS: u64 = 500;
/// Longest time that new connections have in a turn, and their TLS handshakes once more. What begins in time may end
/// later: one step of a handshake takes 0.1 ms with an ECDSA key, over 1 ms with an RSA key.
pub const NEW_CONNECTIONS_MAX_MICROS: u64 = 4000;
/// New connections that wait for a visit or a step of a login, past which no more are accepted but one a turn: they
/// wait in the kernel, and not for their deadlines.
pub const NEW_CONNECTIONS_WAITING_MAX: usize = 1024;
/// Steps of a login, each a signature made or verified, that established connections may take in one turn while no
/// other waits for one.
pub const LOGIN_STEPS_PER_TURN: usize = 4;
/// Connections that wait for a step of a TLS handshake, past which no more are accepted where TLS is spoken.
pub const HANDSHAKES_WAITING_MAX: usize = 512;
/// Connections that may wait in the kernel for a listener's accept.
pub const LISTEN_BACKLOG: usize = 4096;
/// Steps of the wheel of deadlines that a worker may take in one turn.
pub const DEADLINES_PER_TURN: usize = 128;
/// Messages that one lock of a shard may expire.
pub const EXPIRIES_PER_LOCK: usize = 256;
/// Messages, and as many blocks of bodies, that one lock of a shard may move so that memory becomes free.
pub const MOVES_PER_LOCK: usize = 1024;
/// Messages that a session is given, or that are passed over for it, under one lock: a queue of empty ones is long.
pub const MESSAGES_PER_TAKE: usize = 256;
/// Messages that one lock of a shard may drop, and pass over, because they were acknowledged.
pub const REMOVALS_PER_LOCK: usize = 256;
/// Counts of expired messages that one lock of a shard may forget because no login has asked for them in time.
pub const LOST_RECORDS_PER_LOCK: usize = 64;
/// Messages that one worker may expire in one turn.
pub const EXPIRIES_PER_TURN: usize = 1024;

/// Output of one connection, past which it produces no more until the kernel has taken some.
pub const OUTBOUND_HIGH_WATER_BYTES: usize = 64 * 1024;

/// Connections that a worker looks at in one turn to find the largest holders, when connections hold too much.
pub const EVICTIONS_PER_TURN: usize = 256;
/// While connections hold more than they may, a worker with nothing else to do looks this often whether new ones can go
/// on.
pub const OVER_BUDGET_PAUSE_MILLIS: u64 = 10;
/// What a connection takes beside its buffers: its place in a worker, and what a session has. With room for tables that
/// double.
pub const CONNECTION_BYTES: u64 = 1024;
/// What a TLS connection takes beside its buffers.
pub const TLS_CONNECTION_BYTES: u64 = 8 * 1024;
/// What a worker takes: read scratch, plaintext, records and output of one connection, and its events. Output with a
/// message of the largest size comes on top, twice.
pub const WORKER_BYTES: u64 = 1024 * 1024;
/// What the process takes with nothing to do, counts of expired messages included.
pub const PROCESS_BYTES: u64 = 16 * 1024 * 1024;

/// Plaintext of one TLS record (RFC 8446 §5.1).
pub const TLS_RECORD_BYTES: usize = 16 * 1024;
/// Buffers of a connection that grow do so by this much: no more than that is held for nothing.
pub const BUFFER_STEP_BYTES: usize = 1024;
/// More than a record takes beside its plaintext: header, nonce, content type, tag.
pub const TLS_RECORD_OVERHEAD_BYTES: usize = 64;
/// Ciphertext of one connection, past which no more is made until the kernel has taken what there is.
pub const TLS_SEALED_MAX_BYTES: usize = 32 * 1024;
/// Input of one TLS connection that is kept because its rest hasn't come: a record, or what a handshake message is cut
/// into. A `ClientHello` that doesn't fit is refused.
pub const TLS_PARTIAL_MAX_BYTES: usize = 20 * 1024;
/// How often the files of the certificate are looked at. A change is taken up once it is as old as that.
pub const CERTIFICATE_LOOK_SECONDS: u64 = 2;
/// How long the end of a server waits for the thread that looks at the certificate's files, which a dead file server
/// may hold for ever.
pub const CERTIFICATE_THREAD_END_MILLIS: u64 = 500;

/// Messages that a session may be sent before its client has acknowledged them.
pub const WINDOW_MAX_MESSAGES: usize = 1024;
/// Bytes of messages that a session may be sent before its client has acknowledged them; one message may go beyond.
pub const WINDOW_MAX_BYTES: usize = 256 * 1024;
/// Bytes that a session may have unacknowledged at first. The window doubles with each pong that comes quickly and
/// halves with one that takes long, so that a client on a thin line isn't given more at once than it can acknowledge in
/// time.
pub const WINDOW_MIN_BYTES: usize = 16 * 1024;
/// Messages that are kept for a session only because it is behind another one of its mailbox; with more it is closed.
pub const LAG_MAX_MESSAGES: usize = WINDOW_MAX_MESSAGES;
/// Bytes of messages that are kept for a session only because it is behind another one; one message may go beyond.
pub const LAG_MAX_BYTES: usize = WINDOW_MAX_BYTES;
/// Sessions in a row that end with the same first unacknowledged message, after which it is tried last.
pub const SUSPECT_FAILURES: u8 = 3;
/// Messages at which sessions have ended that are put behind the others when a session attaches.
pub const SUSPECTS_PER_ATTACH: usize = 16;
/// A pong that comes within this has come quickly.
pub const PONG_QUICK_MILLIS: u64 = 2000;
/// A pong that comes after this has taken long.
pub const PONG_SLOW_MILLIS: u64 = 6000;
/// Pings of a session that has room keep this distance: a message that comes later than that after the last ping is
/// followed by one in the same write, others wait for the rest of it and a [`DEADLINE_TICK_MILLIS`] at most.
///
/// It bounds what comes twice to a client that ends its session in order, and what a session with mail coming in costs:
/// ten pings and ten pongs a second.
pub const PING_SPACING_MILLIS: u64 = 100;

/// Challenges that one connection may get, asked for or not.
pub const CHALLENGES_PER_CONNECTION: u8 = 16;
/// Sessions that may be logged in for one id.
pub const SESSIONS_PER_MAILBOX: usize = 64;
/// Segments that the budget of mail has room for in each shard, as far as [`SEGMENT_MIN_BYTES`] and
/// [`SEGMENT_MAX_BYTES`] allow: so many that those that are only begun waste little.
pub const SEGMENTS_PER_SHARD: usize = 128;
/// Smallest segment of the memory for mail.
pub const SEGMENT_MIN_BYTES: usize = 512;
/// Largest segment of the memory for mail.
pub const SEGMENT_MAX_BYTES: usize = 256 * 1024;
/// A shard is there for each so many bytes of the budget of mail, however many workers there are.
pub const SHARD_MIN_BYTES: u64 = 1024 * 1024;
/// What a message of the largest size takes beside its bytes and an eighth of them: its place, its mailbox, their
/// segments.
pub const MESSAGE_ROOM_BYTES: u64 = 16 * 1024;
/// Block of a body that comes in pieces: charged when the body reaches it.
pub const BODY_BLOCK_BYTES: usize = 4 * 1024;
/// Mailboxes, of all shards together, whose number of expired messages is known: 6 MiB, on top of the budget.
pub const LOST_RECORDS_MAX: usize = 64 * 1024;
/// What the count of one mailbox's expired messages takes at most, its place in the table included.
pub const LOST_RECORD_BYTES: usize = 96;
/// Expired messages are reported no more when so much time has passed since the last of them: 30 days.
pub const LOST_HOLD_SECONDS: u32 = 30 * 24 * 60 * 60;
/// How long a message that must not be stored (`TTL: 0`) may wait for the live session that it was handed to.
pub const LIVE_ONLY_HOLD_SECONDS: u32 = 30;

/// First request's head must be complete so long after the accept, a later one's so long after its first byte; with TLS
/// after the first record with some of it that is whole.
pub const HEAD_DEADLINE_SECONDS: u64 = 10;
/// A body may take this long before its rate counts.
pub const BODY_GRACE_SECONDS: u64 = 10;
/// A POST that the service answers later must be answered after this: longer than the service itself waits for what
/// keeps its messages, and shorter than the default of `--drain`, so that a server that stops answers it too.
pub const PENDING_POST_SECONDS: u64 = 8;
/// A WebSocket message may take this long before its rate counts. Longer than a body: a session that is cut off in the
/// middle of a frame may come back, and is worth waiting for.
pub const MESSAGE_GRACE_SECONDS: u64 = 30;
/// Slowest rate of a body, of a WebSocket message and of a client that takes its answers, once the grace is over. With
/// TLS, input counts when its record, up to [`TLS_RECORD_BYTES`], has come whole: a client that sends large ones must
/// be a little faster.
pub const MIN_RATE_BYTES_PER_SECOND: u64 = 1024;
/// A connection between two requests is closed after this long, unless an option says otherwise.
pub const KEEP_ALIVE_SECONDS: u64 = 75;
/// From the upgrade to the login.
pub const LOGIN_DEADLINE_SECONDS: u64 = 10;
/// Output that the kernel doesn't take may wait this long before its rate counts. As long as a pong, and for the same
/// reason: the kernel takes none while nothing of what it has sent is acknowledged.
pub const WRITE_STALL_SECONDS: u64 = PONG_TIMEOUT_SECONDS;
/// A connection that is silent for so long is asked by the kernel whether its peer is still there (RFC 9293 §3.8.4).
pub const TCP_KEEPALIVE_IDLE_SECONDS: u64 = 60;
/// Time between two TCP keep-alive probes that get no answer.
pub const TCP_KEEPALIVE_INTERVAL_SECONDS: u64 = 15;
/// TCP keep-alive probes without an answer, after which the connection is over.
pub const TCP_KEEPALIVE_PROBES: u32 = 4;
/// A session that has nothing to acknowledge is pinged this often, or a little more often.
pub const PING_INTERVAL_SECONDS: u64 = 30;
/// A network that is silent for so long, and then goes on, ends no session.
pub const SILENCE_SURVIVED_SECONDS: u64 = 30;
/// The longest time after which a segment that isn't acknowledged is sent again for the first time: a second where
/// nothing is known of the path, three where its first segments were lost (RFC 6298 §2.1, §5.7).
pub const FIRST_RETRANSMISSION_MAX_SECONDS: u64 = 3;
/// The pong of a ping that has left must have come after this.
///
/// TCP doubles its pauses between retransmissions (RFC 6298 §5.5): after a first one of `r` seconds it sends at `r`, `3
/// r`, `7 r` and so on. So of a silence of `s` seconds that begins as a ping or its pong leaves, the kernel of either
/// end sees the end by `2 s + r` at the latest. What is left of the 75 seconds is for the way itself, and for an answer
/// that comes slowly.
pub const PONG_TIMEOUT_SECONDS: u64 = 75;
/// What the kernel has sent and no peer has acknowledged for so long ends the connection (RFC 5482).
/// As long as the questions of a silent connection take, whose number it would overrule otherwise.
pub const TCP_USER_TIMEOUT_SECONDS: u64 =
    TCP_KEEPALIVE_IDLE_SECONDS + TCP_KEEPALIVE_INTERVAL_SECONDS * TCP_KEEPALIVE_PROBES as u64;
/// Output of one connection that the kernel takes ahead of what it can send: the rest waits here, where its deadline
/// sees it.
pub const TCP_NOTSENT_LOWAT_BYTES: u32 = 32 * 1024;
/// From the last byte sent to the end of a closing connection.
pub const LINGER_SECONDS: u64 = 5;
/// From the last byte sent to the end of a closing connection while the server stops: clients that are asleep must not
/// hold up its end.
pub const DRAIN_LINGER_SECONDS: u64 = 1;
/// Input that a closing connection reads and discards, so that its last answer isn't destroyed by a reset.
pub const LINGER_MAX_BYTES: usize = 4 * 1024 * 1024;
/// Input that a connection closed for a flood of frames reads and discards. Its sender is owed no care: what it still
/// sends would cost more than all else.
pub const LINGER_AFTER_FLOOD_MAX_BYTES: usize = 256 * 1024;

/// Tick of a worker's deadlines.
pub const DEADLINE_TICK_MILLIS: u64 = 50;
/// A worker that runs later than it should by more than this was kept from running, by a signal or a machine that stood
/// still: of such a time only so much counts against connections. No turn takes so long.
pub const STALL_MIN_MILLIS: u64 = 1000;
/// Each worker logs such a time once in so long at most.
pub const STALL_LOG_SECONDS: u64 = 60;
/// A busy worker looks for expired messages this often.
pub const EXPIRY_TICK_MILLIS: u64 = 1000;
/// Resident memory is looked at this often at most.
pub const NET_LOOK_MILLIS: u64 = 1000;
/// That too much memory is resident is logged this often at most.
pub const NET_LOG_SECONDS: u64 = 60;
/// How long accepting pauses when the process is out of files or memory.
pub const ACCEPT_PAUSE_MILLIS: u64 = 100;

/// Lines of the log that wait to be written to stderr, past which they are dropped and counted.
pub const LOG_QUEUE_BYTES: usize = 256 * 1024;
/// Longest line of the log, with its end. Not more than what a pipe takes at once (`PIPE_BUF`), so that it isn't
/// mixed with what other processes write there.
pub const LOG_LINE_MAX_BYTES: usize = 4096;
/// A line that clients can cause is logged once in this time, with how many were suppressed.
pub const LOG_REPEAT_SECONDS: u64 = 60;
/// Longest that the end of the process waits until its last lines have been written.
pub const LOG_FLUSH_MILLIS: u64 = 1000;
/// Longest wait for the last lines of the log when the process is to end at once.
pub const LOG_LAST_FLUSH_MILLIS: u64 = 100;
/// A stderr that doesn't wait and takes nothing now is tried again after this.
pub const LOG_RETRY_MILLIS: u64 = 20;

/// Shards of the mailbox map for each worker: enough that two workers seldom meet at one lock.
pub const SHARDS_PER_WORKER: usize = 32;
/// Most shards altogether.
pub const SHARDS_MAX: usize = 1024;
/// How long a signal waits for the end of a start, before which there is no server to stop in order.
pub const START_SIGNAL_MILLIS: u64 = 500;
/// Places for connections that each listener keeps for its own, so that a crowd at another one doesn't shut out its
/// probes; fewer where there is little room.
pub const PLACES_PER_LISTENER: usize = 16;
/// A server that has room for fewer connections warns of it at its start.
pub const FEW_CONNECTIONS: usize = 512;
/// Connections over the limit that may be open at once to be refused with an answer; more than these are closed
/// without one.
pub const TURNED_AWAY_MAX: usize = 64;
/// Files kept for what isn't a connection (listeners, pollers, standard streams, certificate reloads) or is turned
/// away, unless workers and addresses are so many that they take more.
pub const RESERVED_FILES: u64 = 128;
/// Files that a worker takes beside its listeners: its poller, the poller's waker, and a connection that it closes
/// because there is no room to turn it away.
pub const FILES_PER_WORKER: u64 = 3;
/// Files of the process that belong to no worker: standard streams, signals, the certificate and its key, /proc.
pub const FILES_PER_PROCESS: u64 = 16;

const _: () = {
    assert!(HEAD_MAX_BYTES < READ_SCRATCH_BYTES);
    // A record and its part that has come fit into the scratch together, or a connection would stand still.
    assert!(TLS_PARTIAL_MAX_BYTES + TLS_RECORD_BYTES < READ_SCRATCH_BYTES);
    // The largest record that is legal, with what a cipher may add (RFC 8446 §5.2, RFC 5246 §6.2.3).
    assert!(5 + TLS_RECORD_BYTES + 2048 <= TLS_PARTIAL_MAX_BYTES);
    assert!(EXPIRIES_PER_LOCK <= EXPIRIES_PER_TURN);
    // The last poll of a turn may bring as many again.
    assert!(REQUESTS_PER_VISIT_MIN * 2 * EVENTS_PER_POLL <= REQUESTS_FOR_ALL_READY);
    assert!(NEW_CONNECTIONS_MIN_MICROS <= NEW_CONNECTIONS_MAX_MICROS);
    assert!(READ_SCRATCH_BYTES <= RESUMED_BYTES_PER_TURN);
    assert!((TURNED_AWAY_MAX as u64) + FILES_PER_PROCESS + FILES_PER_WORKER < RESERVED_FILES);
    assert!(HANDSHAKE_MAX_BYTES < OUTBOUND_HIGH_WATER_BYTES);
    assert!(SHARDS_MAX.is_power_of_two());
    assert!(SHARDS_MAX <= LOST_RECORDS_MAX && LOST_RECORDS_MAX < u32::MAX as usize);
    assert!(LOST_RECORDS_MAX * LOST_RECORD_BYTES <= 6 * 1024 * 1024);
    assert!(SESSIONS_PER_MAILBOX <= u8::MAX as usize);
    assert!(2 * LOG_LINE_MAX_BYTES <= LOG_QUEUE_BYTES);
    assert!(LINGER_SECONDS <= WRITE_STALL_SECONDS);
    assert!(DRAIN_LINGER_SECONDS <= LINGER_SECONDS);
    assert!(PING_SPACING_MILLIS + DEADLINE_TICK_MILLIS <= 150);
    assert!(WINDOW_MIN_BYTES < WINDOW_MAX_BYTES);
    assert!(2 * SILENCE_SURVIVED_SECONDS + FIRST_RETRANSMISSION_MAX_SECONDS + 10 <= PONG_TIMEOUT_SECONDS);
    // Or the kernel would end the session first, without a reason that the client sees.
    assert!(PONG_TIMEOUT_SECONDS < TCP_USER_TIMEOUT_SECONDS);
    // A line that just keeps up with the quick ones isn't slow with twice as much.
    assert!(2 * PONG_QUICK_MILLIS < PONG_SLOW_MILLIS && PONG_SLOW_MILLIS < PONG_TIMEOUT_SECONDS * 1000);
    assert!(DEADLINE_TICK_MILLIS <= EXPIRY_TICK_MILLIS);
    assert!(1000 % DEADLINE_TICK_MILLIS == 0);
    assert!(SEGMENT_MIN_BYTES.is_power_of_two() && SEGMENT_MAX_BYTES.is_power_of_two());
    assert!(LAG_MAX_MESSAGES >= WINDOW_MAX_MESSAGES && LAG_MAX_BYTES >= WINDOW_MAX_BYTES);
    // Tokens and sizes pack into 64 bits.
    assert!(usize::BITS == 64);
};
