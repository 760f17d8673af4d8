//! A worker with one connection, visited as the server's does it, without its socket and its clock.

use std::mem;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use npchat::protocol::id::RecipientId;
use npchat::server::config::Config;
use npchat::server::connection::visit::{Cause, Edges};
use npchat::server::http::limits::HEAD_MAX_BYTES;
use npchat::server::limits::{
    LIVE_ONLY_HOLD_SECONDS, OUTBOUND_HIGH_WATER_BYTES, READ_SCRATCH_BYTES, REQUESTS_PER_VISIT, SEGMENT_MAX_BYTES,
};
use npchat::server::mailboxes::Stats;
use npchat::server::refusal::CloseReason;
use npchat_fuzz::Cuts;
use testkit::{Challenge, Frame, Identity, Lent, OFFER, Opcode, Piped, upgrade_request_with, write_masked};

use crate::Setting;
use crate::script::Op;
use crate::transcript::took_npchat_2;

/// Which every request names.
const HOST: &str = "a";
const MESSAGE_MAX_BYTES: u32 = 20_000;
/// Twice the mark at which output pauses: what comes in one turn is added to what waits, and a message may pass the
/// mark.
const UNSENT_MAX_BYTES: usize = 2 * OUTBOUND_HIGH_WATER_BYTES + MESSAGE_MAX_BYTES as usize + HEAD_MAX_BYTES;
/// Turns in which a kernel that may stall is waited for.
const PATIENCE_TURNS: usize = 16;
/// More turns than anything here may need.
const TURNS_MAX: usize = 1_000_000;

/// The same from run to run, so that a finding is.
static IDENTITY: LazyLock<Identity> = LazyLock::new(|| Identity::numbered(7));
static ID: LazyLock<RecipientId> = LazyLock::new(|| RecipientId::parse(IDENTITY.id.as_bytes()).expect("an id"));
static CONFIG: LazyLock<Config> = LazyLock::new(|| Config {
    workers: 1,
    max_message: MESSAGE_MAX_BYTES,
    ..Config::default()
});

/// What becomes of output, and how input comes.
pub(crate) enum Kernel {
    TakesAll,
    /// Something each time.
    TakesPieces(Cuts),
    /// Nothing at times, and perhaps for ever.
    MayStall(Cuts),
}

pub(crate) struct Driver {
    kernel: Kernel,
    lent: Lent,
    turns: usize,
    wired: Option<Piped>,
    /// All that the kernel took.
    pub(crate) sent: Vec<u8>,
    /// Up to where in it the client has looked for pings.
    heard: usize,
    /// Why the connection is over.
    pub(crate) over: Option<CloseReason>,
}

impl Driver {
    pub(crate) fn new(kernel: Kernel, setting: Setting) -> Self {
        let mut config = CONFIG.clone();
        config.memory = if setting.is_tight() { 30_000 } else { 1 << 30 };
        if setting.is_small() {
            config.mailbox_messages = 2;
        }
        let lent = Lent::new(&config, Instant::now());
        let mut wired = lent.accept();
        wired.io.send_sizes = match kernel {
            Kernel::TakesAll => Vec::new(),
            Kernel::TakesPieces(cuts) => cuts.lengths().map(|length| length.max(1)).take(Cuts::COUNT).collect(),
            Kernel::MayStall(cuts) => cuts.lengths().take(Cuts::COUNT).collect(),
        };
        if !matches!(kernel, Kernel::MayStall(_)) {
            wired.io.least_share = 64;
        }
        Self {
            kernel,
            lent,
            turns: 0,
            wired: Some(wired),
            sent: Vec::new(),
            heard: 0,
            over: None,
        }
    }

    pub(crate) fn apply(&mut self, op: &Op<'_>) {
        self.act(op);
        self.answer_pings();
    }

    fn act(&mut self, op: &Op<'_>) {
        match *op {
            Op::Bytes(bytes) => self.send(bytes),
            Op::Frame { first, payload } => self.send_frame(first, payload),
            Op::LongFrame { first, length } => self.send_frame(first, &vec![b'x'; length.into()]),
            Op::Upgrade { offers_npchat_2 } => {
                let offer = if offers_npchat_2 { OFFER } else { "" };
                self.send(upgrade_request_with(HOST, &IDENTITY.id, offer).as_bytes());
            }
            Op::Login { twist } => self.log_in(twist),
            Op::Post { length, is_chunked } => self.send(&post_request(length.into(), is_chunked)),
            Op::Mail { length, is_text } => self.mail(length.into(), is_text),
            Op::Wait { tenths } => self.wait(Duration::from_millis(u64::from(tenths) * 100)),
            Op::EndInput => self.end_input(),
            Op::Drain => {
                self.lent.store.start_draining();
                self.turn(Cause::Drain);
                self.settle();
            }
        }
    }

    /// Messages that count as had.
    pub(crate) fn delivered(&self) -> u64 {
        self.lent.counters.delivered.get()
    }

    /// The connection is freed without a word.
    pub(crate) fn reset(&mut self) {
        self.wired = None;
    }

    /// Ends the connection if it hasn't ended, and checks that nothing of it is left.
    ///
    /// # Panics
    /// A connection goes on although its client is gone, or something leaks.
    pub(crate) fn finish(&mut self) {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        for _ in 0..4 {
            self.end_input();
            self.wait(DAY);
        }
        assert!(self.wired.is_none(), "it never ends");
        assert_eq!(self.lent.store.stats().sessions, 0);
        self.lent.now += CONFIG.max_ttl + Duration::from_secs(u64::from(LIVE_ONLY_HOLD_SECONDS) + 2);
        self.expire();
        assert_eq!(self.lent.store.stats(), Stats::default());
        assert_eq!(self.lent.store.memory_used(), 0);
    }

    /// The client sends these bytes, and they come as the kernel has it.
    fn send(&mut self, bytes: &[u8]) {
        let pieces: Vec<&[u8]> = match self.kernel {
            Kernel::TakesAll => bytes.chunks(READ_SCRATCH_BYTES).collect(),
            Kernel::TakesPieces(cuts) | Kernel::MayStall(cuts) => cuts.pieces(bytes).collect(),
        };
        for piece in pieces.into_iter().filter(|piece| !piece.is_empty()) {
            if !self.wait_until_it_wants_input() {
                return;
            }
            if let Some(wired) = &mut self.wired {
                wired.io.input.extend_from_slice(piece);
            }
            self.turn(Cause::Ordinary);
        }
        self.settle();
    }

    fn send_frame(&mut self, first: u8, payload: &[u8]) {
        const MASK: u32 = 0x37fa_213d;
        let mut frame = Vec::new();
        write_masked(&mut frame, first, payload, MASK);
        self.send(&frame);
    }

    /// A client's WebSocket does that by itself, as soon as it reads them.
    fn answer_pings(&mut self) {
        const UPGRADED: &[u8] = b"HTTP/1.1 101 ";
        if self.heard == 0 {
            let Some(start) = self.sent.windows(UPGRADED.len()).position(|text| text == UPGRADED) else {
                return;
            };
            let end = self.sent[start..].windows(4).position(|text| text == b"\r\n\r\n");
            let Some(end) = end else { return };
            self.heard = start + end + 4;
        }
        loop {
            let (frames, rest) = Frame::parse_whole(&self.sent[self.heard..]);
            self.heard = self.sent.len() - rest.len();
            let mut pings = frames
                .into_iter()
                .filter(|frame| frame.opcode == Opcode::PING)
                .peekable();
            if pings.peek().is_none() {
                return;
            }
            for ping in pings {
                self.send(&ping.pong().masked());
            }
        }
    }

    fn end_input(&mut self) {
        if self.wait_until_it_wants_input()
            && let Some(wired) = &mut self.wired
        {
            wired.io.input_ended = true;
            self.turn(Cause::Ordinary);
        }
        self.settle();
    }

    /// Asks for a challenge, unless one comes without asking, and answers the last one that came.
    fn log_in(&mut self, twist: u8) {
        let is_npchat_2 = took_npchat_2(&self.sent);
        if !is_npchat_2 {
            self.send(&Frame::text(r#"{"get":"challenge"}"#).masked());
        }
        const START: &[u8] = br#"{"challenge":{"txt":""#;
        const LENGTH: usize = START.len() + 43 + r#"","sig":""#.len() + 86 + r#""}}"#.len();
        let start = self.sent.windows(START.len()).rposition(|text| text == START);
        let challenge = start.and_then(|start| Challenge::parse(self.sent.get(start..start + LENGTH)?));
        let Some(challenge) = challenge else { return };
        let mut signature = IDENTITY.signature(&challenge, is_npchat_2.then_some(HOST));
        signature[usize::from(twist / 8)] ^= u8::from(twist != 0) << (twist % 8);
        self.send(&Frame::text(&IDENTITY.answer(&challenge, &signature)).masked());
    }

    /// Somebody else posts.
    fn mail(&mut self, length: usize, is_text: bool) {
        let byte = if is_text { b'm' } else { 0xff };
        let body = vec![byte; length.min(MESSAGE_MAX_BYTES as usize)];
        let Lent { store, now, wake, .. } = &mut self.lent;
        // It may be refused, and that is no business of this connection.
        let _ = store.post(&ID, &body, None, *now, wake);
        if !mem::take(wake).is_empty() {
            if let Some(wired) = &mut self.wired {
                wired.note_mail();
            }
            self.turn(Cause::Ordinary);
        }
        self.settle();
    }

    /// Time goes on, and no deadline is missed.
    fn wait(&mut self, time: Duration) {
        let end = self.lent.now + time;
        while let Some(deadline) = self.deadline().filter(|deadline| *deadline <= end) {
            self.lent.now = self.lent.now.max(deadline);
            self.turn(Cause::Deadline);
            // A kernel that takes what it is given does so at once.
            if !self.may_stall() {
                self.settle();
            }
            assert!(
                self.deadline().is_none_or(|next| next > self.lent.now),
                "a deadline that is always due"
            );
        }
        self.lent.now = end;
        self.expire();
        self.settle();
    }

    /// Serves what is left over until there is nothing, or the kernel has had its chance.
    fn settle(&mut self) {
        let mut patience = PATIENCE_TURNS;
        while self.wants_turn() || self.is_blocked() {
            if self.may_stall() {
                patience -= 1;
                if patience == 0 {
                    return;
                }
            }
            self.go_on();
        }
    }

    /// Whether it does in the end.
    fn wait_until_it_wants_input(&mut self) -> bool {
        let mut patience = PATIENCE_TURNS;
        while let Some(wired) = &self.wired {
            if wired.connection.wants_input() {
                return true;
            }
            if self.may_stall() {
                patience -= 1;
                if patience == 0 {
                    return false;
                }
            }
            if !self.wants_turn() && !self.is_blocked() {
                assert!(wired.io.half_closed, "stuck");
                return false;
            }
            self.go_on();
        }
        false
    }

    /// The kernel has room again, or it is this connection's turn.
    fn go_on(&mut self) {
        self.turn(Cause::Ordinary);
    }

    fn may_stall(&self) -> bool {
        matches!(self.kernel, Kernel::MayStall(_))
    }

    fn wants_turn(&self) -> bool {
        let wired = self.wired.as_ref();
        wired.is_some_and(|wired| wired.wants_turn() || wired.awaits_login_step())
    }

    /// Whether the kernel hasn't taken all output.
    fn is_blocked(&self) -> bool {
        let wired = self.wired.as_ref();
        wired.is_some_and(|wired| wired.connection.has_unsent())
    }

    /// # Panics
    /// A connection may stay for ever.
    fn deadline(&self) -> Option<Instant> {
        let deadline = self.wired.as_ref()?.deadline(&self.lent.timeouts);
        assert!(deadline.is_some(), "no deadline");
        deadline
    }

    fn expire(&self) {
        for shard in 0..self.lent.store.shards() {
            while self.lent.store.expire(shard, self.lent.now, &mut 1000) {}
        }
    }

    /// One visit, before which an event reports that there is input, if there is, and room.
    fn turn(&mut self, cause: Cause) {
        let Some(mut wired) = self.wired.take() else { return };
        self.turns += 1;
        assert!(self.turns < TURNS_MAX, "turns without end");
        wired.note_edges(Edges {
            readable: !wired.io.input.is_empty() || wired.io.input_ended,
            read_closed: wired.io.input_ended,
            writable: true,
        });
        let mut io_context = self.lent.io.take().expect("one visit at a time");
        let mut context = self.lent.turn();
        if !matches!(self.kernel, Kernel::TakesAll) {
            context.requests = 1 + self.turns % REQUESTS_PER_VISIT;
            // Others may have used them up.
            context.login_steps = self.turns % 3;
        }
        self.over = wired.visit(cause, &mut context, &mut io_context);
        assert!(context.out.is_empty(), "output is left in the worker's hands");
        // It can't be sender and session at once.
        assert!(context.wake.is_empty());
        self.lent.io = Some(io_context);
        let largest = wired.io.largest_send;
        assert!(largest <= UNSENT_MAX_BYTES, "{largest} bytes wait");
        self.sent.append(&mut wired.io.sent);
        // The mailbox of a session is made even when the budget is spent.
        let limit = self.lent.store.memory_limit() + SEGMENT_MAX_BYTES as u64;
        assert!(self.lent.store.memory_used() <= limit);
        if self.over.is_none() {
            self.wired = Some(wired);
        }
    }
}

fn post_request(length: usize, is_chunked: bool) -> Vec<u8> {
    let id = *ID;
    let body = "p".repeat(length);
    let request = if is_chunked {
        let end = if length == 0 { "" } else { "\r\n0\r\n" };
        format!("POST /{id} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\n{body}{end}\r\n")
    } else {
        format!("POST /{id} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}")
    };
    request.into_bytes()
}
