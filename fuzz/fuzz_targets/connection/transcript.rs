//! What a client was sent: read by httparse and our own reader of frames, checked, and compared.

use npchat::protocol::login::DONE;
use npchat::server::refusal::{CloseReason, Refusal};
use serde_json::Value;
use testkit::{Challenge, Frame, Opcode};

/// What a connection said, sorted by what may change its order.
#[derive(Debug)]
pub(crate) struct Transcript {
    /// All answers but the interim ones, as they were sent.
    answers: Vec<u8>,
    /// Control frames and what the relay itself says, its challenges without their random parts.
    words: Vec<Frame>,
    /// Messages.
    pub(crate) mail: Vec<Frame>,
    over: Option<CloseReason>,
}

/// Which answers are to a HEAD and so have no body, refusals too (RFC 9110 §9.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heads {
    None,
    Perhaps,
    /// The first one is, of the others perhaps some.
    First,
}

impl Transcript {
    /// # Panics
    /// Something in it isn't valid.
    pub(crate) fn read(sent: &[u8], over: Option<CloseReason>, mut heads: Heads) -> Self {
        let mut transcript = Self {
            answers: Vec::new(),
            words: Vec::new(),
            mail: Vec::new(),
            over,
        };
        let mut rest = sent;
        while let Some(answer) = Answer::read(rest, heads) {
            let (bytes, tail) = rest.split_at(answer.length);
            rest = tail;
            if answer.status != 100 {
                heads = if heads == Heads::None { heads } else { Heads::Perhaps };
                transcript.answers.extend_from_slice(bytes);
            }
            if answer.status == 101 {
                transcript.read_frames(rest, took_npchat_2(bytes));
                break;
            }
        }
        transcript
    }

    /// # Panics
    /// The client could tell the two apart by more than their timing.
    pub(crate) fn check_same(&self, other: &Self) {
        assert_eq!(self.answers, other.answers, "other answers");
        assert_eq!(self.words, other.words, "other words");
        // After the server's Close it is the client's that ends the connection, and what comes before that may be read
        // as one: pongs, of pings that only one of the two was sent.
        let has_closed = self.words.last().is_some_and(|word| word.opcode == Opcode::CLOSE);
        if !has_closed || (self.over.is_some() && other.over.is_some()) {
            assert_eq!(self.over, other.over);
        }
        // Mail that waits when the client is cut off may have been sent just before or not.
        let common = self.mail.len().min(other.mail.len());
        assert_eq!(self.mail[..common], other.mail[..common], "other mail");
        assert!(self.is_closing() || self.mail.len() == other.mail.len(), "mail is lost");
    }

    fn is_closing(&self) -> bool {
        self.over.is_some() || self.words.last().is_some_and(|word| word.opcode == Opcode::CLOSE)
    }

    fn read_frames(&mut self, bytes: &[u8], is_npchat_2: bool) {
        let (frames, _) = Frame::parse_whole(bytes);
        for frame in frames {
            if frame.opcode == Opcode::PING {
                // When it comes depends on when the messages before it went.
                assert_eq!(frame.payload.len(), 4);
            } else if frame.is_control() {
                self.words.push(frame);
            } else if is_npchat_2 && frame.opcode == Opcode::BINARY {
                self.mail.push(frame);
            } else if let Some(word) = own_word(&frame) {
                self.words.push(word);
            } else {
                assert!(!is_npchat_2, "{frame:?} is a text that the relay never says");
                self.mail.push(frame);
            }
        }
    }
}

/// Whether an upgrade among these answers was to npchat.2. No answer of ours repeats what a client sent.
pub(crate) fn took_npchat_2(sent: &[u8]) -> bool {
    let field = b"\r\nSec-WebSocket-Protocol: npchat.2\r\n";
    sent.windows(field.len()).any(|text| text == field)
}

/// A text that the relay itself says, its random parts left out. Without npchat.2 a message that
/// says the same to the letter can't be distinguished from it, but no short input posts one.
fn own_word(frame: &Frame) -> Option<Frame> {
    let text = str::from_utf8(&frame.payload).ok()?;
    if Challenge::parse(&frame.payload).is_some() {
        return Some(Frame::new(frame.opcode, "challenge"));
    }
    if let Some(number) = text.strip_prefix(r#"{"lost":{"expired":"#) {
        let number: u64 = number.strip_suffix("}}")?.parse().ok()?;
        return (number > 0).then(|| frame.clone());
    }
    let is_error = CloseReason::ALL
        .into_iter()
        .filter(|reason| reason.is_login_failure())
        .any(|reason| text == format!(r#"{{"error":"{}"}}"#, reason.code()));
    (is_error || frame.payload == DONE).then(|| frame.clone())
}

/// An answer that came whole.
struct Answer {
    status: u16,
    length: usize,
}

impl Answer {
    /// `None`: nothing more was sent, or not all of it.
    fn read(bytes: &[u8], heads: Heads) -> Option<Self> {
        let mut fields = [httparse::EMPTY_HEADER; 16];
        let mut response = httparse::Response::new(&mut fields);
        let parsed = response.parse(bytes).expect("an answer is HTTP");
        let httparse::Status::Complete(head_length) = parsed else {
            return None;
        };
        let status = response.code.expect("an answer has a status");
        let rest = &bytes[head_length..];
        let answer = |body: usize| Self {
            status,
            length: head_length + body,
        };
        if status == 100 {
            assert!(response.headers.is_empty());
            return Some(answer(0));
        }
        let fields = Fields(response.headers);
        assert_eq!(fields.only("Access-Control-Allow-Origin"), Some("*"));
        assert_eq!(fields.only("Date").map(str::len), Some(29));
        let Some(length) = fields.only("Content-Length") else {
            assert!(matches!(status, 101 | 204), "{status} without a body");
            return Some(answer(0));
        };
        let length: usize = length.parse().expect("a length is a number");
        // No body of ours begins like an answer.
        let has_no_body = rest.is_empty() || rest.starts_with(b"HTTP/1.1 ");
        if heads != Heads::None && has_no_body {
            return Some(answer(0));
        }
        assert_ne!(heads, Heads::First, "a HEAD is answered with a body");
        let body = rest.get(..length)?;
        check_body(status, &fields, body);
        Some(answer(length))
    }
}

struct Fields<'a>(&'a [httparse::Header<'a>]);

impl<'a> Fields<'a> {
    fn only(&self, name: &str) -> Option<&'a str> {
        let mut named = self.0.iter().filter(|field| field.name == name);
        let field = named.next()?;
        assert!(named.next().is_none(), "{name} twice");
        Some(str::from_utf8(field.value).expect("ASCII"))
    }
}

fn check_body(status: u16, fields: &Fields<'_>, body: &[u8]) {
    match fields.only("Content-Type") {
        Some("application/json") => {
            let value: Value = serde_json::from_slice(body).expect("the body is JSON");
            if let Some(code) = value.get("error") {
                let refusal = Refusal::ALL.into_iter().find(|refusal| code == refusal.code());
                let refusal = refusal.expect("a code that there is");
                assert_eq!(refusal.status(), status);
                assert!(
                    !refusal.closes()
                        || fields
                            .only("Connection")
                            .is_some_and(|options| options.contains("close"))
                );
            } else {
                assert!(matches!(status, 200 | 503), "{status} without a code");
            }
        }
        Some("text/plain; charset=utf-8") => assert_eq!(status, 200),
        other => panic!("{status} with a body of type {other:?}"),
    }
}
