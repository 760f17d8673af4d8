//! A client that posts: keep-alive and pipelining, lengths and chunks, and requests that are none.
//!
//! Each request asks for a time to live of its own where it can, so that answers in the wrong order are seen.

use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Instant;

use crate::model::{Model, Refused};
use crate::sightings::{Sight, saw};
use testkit::Random;
use testkit::Response;

/// Who has more requests unanswered at once has them all at once, and short ones.
const FEW: usize = 5;

/// What all posters of a run know of the relay.
#[derive(Debug)]
pub(crate) struct Terms {
    /// The ids of the recipients, and which identities they are.
    pub(crate) recipients: Vec<(usize, String)>,
    pub(crate) default_ttl_seconds: u64,
    pub(crate) max_ttl_seconds: u64,
    pub(crate) max_message_bytes: usize,
}

/// One poster.
pub(crate) struct Poster {
    terms: Arc<Terms>,
    /// How many requests it writes at once.
    depth: usize,
    /// How long its messages are at most, one of these.
    lengths: [usize; 4],
    /// Seconds that the next message asks for.
    next_ttl_seconds: u64,
    unanswered: VecDeque<Request>,
    heard: Vec<u8>,
    /// Where the last request ended that has been answered, in all that it wrote.
    answered_up_to: usize,
    longest_request: usize,
    /// It has written a request after which nothing may follow.
    is_last_written: bool,
    is_closed: bool,
}

struct Request {
    wants: Wants,
    /// Where it ends in all that the poster wrote.
    end: usize,
    closes: bool,
    expects_continue: bool,
}

#[derive(Debug, Clone, Copy)]
enum Wants {
    /// The answer to a message: its number and the time to live that it must get.
    Taken {
        message: usize,
        ttl_seconds: u64,
    },
    Status(u16),
}

impl Poster {
    pub(crate) fn new(terms: Arc<Terms>, random: &mut Random) -> Self {
        let depth = random.pick(&[1, 1, 2, 2, 3, 3, 5, 5, 90, 300]);
        let lengths = if depth > FEW {
            [16; 4]
        } else {
            [16, 90, 300, usize::MAX]
        };
        Self {
            terms,
            depth,
            lengths,
            next_ttl_seconds: random.next() % 4,
            unanswered: VecDeque::new(),
            heard: Vec::new(),
            answered_up_to: 0,
            longest_request: 0,
            is_last_written: false,
            is_closed: false,
        }
    }

    /// Writes a few requests, if it may write any; `start` is where they begin in all that it writes.
    pub(crate) fn write(&mut self, start: usize, out: &mut Vec<u8>, model: &mut Model, random: &mut Random) {
        let count = if self.depth > FEW && !random.once_in(6) {
            1
        } else {
            random.within(1, self.depth)
        };
        for _ in 0..count {
            if self.is_last_written || self.is_closed || self.unanswered.len() >= self.depth {
                return;
            }
            let before = out.len();
            let mut request = match random.below(24) {
                0 => plain(out, "GET /healthz HTTP/1.1\r\nHost: r\r\n\r\n", 200, false),
                1 => plain(out, "OPTIONS /info HTTP/1.1\r\nHost: r\r\n\r\n", 204, false),
                2 => plain(
                    out,
                    "PUT / HTTP/1.1\r\nHost: r\r\nContent-Length: 3\r\n\r\nabc",
                    405,
                    false,
                ),
                3 if self.depth <= FEW && random.once_in(4) => {
                    plain(out, "POST /x HTTP/1.1\r\nHost: r\r\n\r\n", 400, true)
                }
                4 if self.depth <= FEW && random.once_in(4) => plain(out, "no request at all\r\n\r\n", 400, true),
                _ => self.post(out, model, random),
            };
            request.end = start + out.len();
            self.longest_request = self.longest_request.max(out.len() - before);
            self.is_last_written |= request.closes;
            self.unanswered.push_back(request);
        }
    }

    /// The server says something, having read the first `given` bytes.
    pub(crate) fn hear(&mut self, fresh: &[u8], given: usize, is_draining: bool, now: Instant, model: &mut Model) {
        self.heard.extend_from_slice(fresh);
        let mut heard = std::mem::take(&mut self.heard);
        let mut done = 0;
        while let Some((answer, length)) = Response::parse(&heard[done..]) {
            done += length;
            self.take_answer(&answer, given, is_draining, now, model);
        }
        heard.drain(..done);
        self.heard = heard;
    }

    pub(crate) fn answered_up_to(&self) -> usize {
        if self.is_closed {
            usize::MAX
        } else {
            self.answered_up_to
        }
    }

    pub(crate) fn longest_request(&self) -> usize {
        self.longest_request
    }

    pub(crate) fn is_between_answers(&self) -> bool {
        self.heard.is_empty()
    }

    /// The connection ends: each request in the first `given` bytes has its answer, unless one answer was the last.
    pub(crate) fn check_answered(&self, given: usize) {
        let whole = self.unanswered.iter().filter(|request| request.end <= given).count();
        assert!(self.is_closed || whole == 0, "{whole} requests never get an answer");
    }

    /// The message whose answer is pending, before which nothing else is answered.
    pub(crate) fn awaited(&self, model: &Model) -> Option<usize> {
        match self.unanswered.front()?.wants {
            Wants::Taken { message, .. } if model.is_awaited(message) => Some(message),
            Wants::Taken { .. } | Wants::Status(_) => None,
        }
    }

    pub(crate) fn check_settled(&self) {
        let unanswered = self.unanswered.len();
        assert!(
            self.is_closed || unanswered == 0,
            "{unanswered} requests without an answer"
        );
        assert!(self.is_between_answers(), "half an answer");
    }

    fn take_answer(&mut self, answer: &Response, given: usize, is_draining: bool, now: Instant, model: &mut Model) {
        assert!(!self.is_closed, "an answer after the last: {answer:?}");
        if answer.status == 100 {
            let front = self.unanswered.front_mut();
            let is_expected = front.is_some_and(|request| std::mem::take(&mut request.expects_continue));
            assert!(is_expected, "told to go on without having asked");
            return;
        }
        let Some(request) = self.unanswered.pop_front() else {
            // A connection that begins nothing is told, if anything, that it is too late.
            assert_eq!((answer.status, answer.closes()), (408, true), "an answer to nothing");
            self.is_closed = true;
            return;
        };
        if model.has_few_places && answer.closes() && self.answered_up_to == 0 && is_for_no_place(&request, answer) {
            saw(Sight::TurnedAway);
            self.is_closed = true;
            self.answered_up_to = request.end;
            if let Wants::Taken { message, .. } = request.wants {
                model.refuse(message, Refused::NoPlace, now);
            }
            return;
        }
        let is_whole = given >= request.end;
        if let Wants::Taken { message, .. } = request.wants
            && model.is_awaited(message)
        {
            if is_draining {
                saw(Sight::PendingInDrain);
            }
            if self.unanswered.front().is_some_and(|next| next.end <= given) {
                saw(Sight::PipelinedBehindPending);
            }
        }
        let is_refused_early = answer.closes() && (answer.status == 408 || answer.status == 503);
        assert!(is_whole || answer.closes(), "answered before it was whole: {answer:?}");
        self.is_closed = answer.closes();
        self.answered_up_to = request.end;
        let may_close = request.closes || is_draining || !is_whole || answer.status == 504;
        assert!(!answer.closes() || may_close, "closes for no reason: {answer:?}");
        match (request.wants, answer.status) {
            (Wants::Taken { message, ttl_seconds }, 200) => {
                assert!(is_whole, "taken before it was whole");
                assert_eq!(
                    answer.header("TTL"),
                    Some(&*ttl_seconds.to_string()),
                    "the answer to another message"
                );
                assert_eq!(answer.body, br#"{"message":"sent"}"#);
                if is_draining {
                    saw(Sight::TakenInDrain);
                }
                model.accept(message, ttl_seconds, now);
            }
            (Wants::Taken { message, .. }, 507 | 503) => {
                let (code, why): (&[u8], _) = if answer.status == 507 {
                    (b"mailbox_full", Refused::MailboxFull)
                } else {
                    (b"relay_full", Refused::RelayFull)
                };
                assert!(
                    answer.body.windows(code.len()).any(|window| window == code),
                    "{answer:?}"
                );
                model.refuse(message, why, now);
            }
            (Wants::Taken { message, .. }, 504) => {
                let code = b"storage_timeout";
                assert!(answer.body.windows(code.len()).any(|window| window == code));
                model.time_out(message, now);
            }
            (Wants::Taken { message, .. }, 408) if !is_whole => model.refuse(message, Refused::TooLate, now),
            (Wants::Status(_), 408) if !is_whole => {}
            (Wants::Status(503), 200) | (Wants::Status(200), 503) if is_draining => {}
            (Wants::Status(expected), status) => assert_eq!(status, expected, "{answer:?}"),
            (Wants::Taken { .. }, _) => panic!("not an answer to a message: {answer:?}"),
        }
        assert!(is_whole || is_refused_early || answer.status == 400, "{answer:?}");
    }

    fn post(&mut self, out: &mut Vec<u8>, model: &mut Model, random: &mut Random) -> Request {
        let (query, ttl_field, ttl_seconds) = self.next_ttl_seconds_of(random);
        let (identity, id) = &self.terms.recipients[random.below(self.terms.recipients.len())];
        let longest = self.terms.max_message_bytes.min(random.pick(&self.lengths));
        let length = if random.once_in(20) {
            0
        } else {
            random.within(16, longest.max(16))
        };
        let message = model.write(*identity, length, random);
        let body = model.body(message);
        let is_chunked = random.once_in(3);
        let expects_continue = random.once_in(12);
        let closes = self.depth <= FEW && random.once_in(40);
        let framing = if is_chunked {
            "Transfer-Encoding: chunked".to_owned()
        } else {
            format!("Content-Length: {}", body.len())
        };
        let mut head = format!("POST /{id}{query} HTTP/1.1\r\nHost: relay\r\n{framing}\r\n{ttl_field}");
        head.push_str(if expects_continue {
            "Expect: 100-continue\r\n"
        } else {
            ""
        });
        head.push_str(if closes { "Connection: close\r\n\r\n" } else { "\r\n" });
        out.extend_from_slice(head.as_bytes());
        if is_chunked {
            write_chunks(out, body, random);
        } else {
            out.extend_from_slice(body);
        }
        Request {
            wants: Wants::Taken { message, ttl_seconds },
            end: 0,
            closes,
            expects_continue,
        }
    }

    /// A query, a header field, and the time to live that they come to: never the one of the message before.
    fn next_ttl_seconds_of(&mut self, random: &mut Random) -> (&'static str, String, u64) {
        self.next_ttl_seconds = (self.next_ttl_seconds + 1) % (self.terms.max_ttl_seconds + 4);
        match (random.below(16), self.next_ttl_seconds) {
            (0, _) => ("?store=false", String::new(), 0),
            (1, _) => ("", String::new(), self.terms.default_ttl_seconds),
            (_, seconds) => {
                let mut field = String::new();
                let _ = write!(field, "TTL: {seconds}\r\n");
                ("", field, seconds.min(self.terms.max_ttl_seconds))
            }
        }
    }
}

/// Whether a connection that there was no place for is answered so: a probe as ever, but for its end, and all else is
/// refused.
fn is_for_no_place(request: &Request, answer: &Response) -> bool {
    let is_refused = answer.status == 503 && answer.body.windows(11).any(|window| window == b"unavailable");
    is_refused || matches!(request.wants, Wants::Status(200) if answer.status == 200)
}

fn plain(out: &mut Vec<u8>, request: &str, status: u16, closes: bool) -> Request {
    out.extend_from_slice(request.as_bytes());
    Request {
        wants: Wants::Status(status),
        end: 0,
        closes,
        expects_continue: false,
    }
}

fn write_chunks(out: &mut Vec<u8>, body: &[u8], random: &mut Random) {
    let mut rest = body;
    while !rest.is_empty() {
        let longest = rest.len().min(random.pick(&[10, 100, usize::MAX]));
        let (chunk, after) = rest.split_at(random.within(1, longest));
        out.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
        rest = after;
    }
    out.extend_from_slice(b"0\r\n\r\n");
}
