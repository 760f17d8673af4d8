//! Sends bytes to a real server and judges what comes back: the answers of a case, and what holds for every answer.
//!
//! What is sent and what it should get stands in the tables of the rows.

use std::time::Duration;

use npchat::server::Server;
use npchat::server::http::HttpError;
use npchat::server::refusal::Refusal;
use serde_json::{Value, json};
use testkit::{Frame, Opcode, Random, RawClient, RawWebSocket, Response, address, start};

use crate::reader::Reader;

/// An id whose key nobody has.
pub(crate) const ID: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc";
/// Another one, for requests that only ask whether the server is well.
const PROBE: &str = "/CAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg?store=false";

/// How often [`run`] sends a case.
pub(crate) const MANNERS: usize = Cut::ALL.len();

/// A Close's code (RFC 6455 §7.4.1).
const MESSAGE_TOO_BIG: u16 = 1009;

/// What bytes alone decide, whatever a request is for. A method that nobody knows is among it only if it is long.
const BY_BYTES: [HttpError; 12] = [
    HttpError::MalformedHead,
    HttpError::BadHost,
    HttpError::BadFraming,
    HttpError::BadLength,
    HttpError::BadChunk,
    HttpError::BadUpgrade,
    HttpError::MessageTooLarge,
    HttpError::TargetTooLong,
    HttpError::HeadTooLarge,
    HttpError::UnsupportedCoding,
    HttpError::UnsupportedVersion,
    HttpError::UnsupportedWebSocketVersion,
];

/// Bytes for a connection of their own, and the answers that they must get, in order.
pub(crate) struct Case<'a> {
    pub(crate) name: &'a str,
    pub(crate) input: Vec<u8>,
    pub(crate) answers: Vec<Answer>,
}

/// What one answer must be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer {
    status: u16,
    /// The member `error` of a refusal.
    error: Option<&'static str>,
    field: Option<(&'static str, &'static str)>,
}

/// A message was taken.
pub(crate) const SENT: Answer = Answer::of(200);

pub(crate) const fn refused(status: u16, error: &'static str) -> Answer {
    Answer {
        status,
        error: Some(error),
        field: None,
    }
}

impl Answer {
    /// An answer that is no refusal.
    pub(crate) const fn of(status: u16) -> Self {
        Self {
            status,
            error: None,
            field: None,
        }
    }

    /// The answer must have this header field too.
    pub(crate) const fn with(self, name: &'static str, value: &'static str) -> Self {
        Self {
            field: Some((name, value)),
            ..self
        }
    }
}

/// How bytes are cut before they are sent.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cut {
    Whole,
    /// Byte by byte; what is long, into pieces of irregular lengths, the same ones each time.
    Pieces,
}

impl Cut {
    pub(crate) const ALL: [Self; 2] = [Self::Whole, Self::Pieces];

    pub(crate) fn send(self, client: &mut RawClient, bytes: &[u8]) {
        const BYTEWISE_MAX: usize = 300;
        const PIECE_MAX: usize = 701;
        let mut rest = bytes;
        let mut random = Random::new(bytes.len() as u64);
        while !rest.is_empty() {
            let length = match self {
                Self::Whole => rest.len(),
                Self::Pieces if bytes.len() <= BYTEWISE_MAX => 1,
                Self::Pieces => random.within(1, PIECE_MAX),
            };
            let (piece, after) = rest.split_at(length.min(rest.len()));
            client.send(piece);
            rest = after;
        }
    }
}

/// Reads a case by the parser alone, whole and byte by byte. Where bytes alone decide, it has to be refused as it is
/// over a socket, and good where it isn't.
fn expect_read(case: &Case) {
    let read = Reader::read_all([&case.input[..]]);
    let bytewise = Reader::read_all(case.input.chunks(1));
    assert_eq!(read, bytewise, "{}: the cuts make a difference", case.name);
    let (_, refusal) = read;
    let code = refusal.map(|refusal| Refusal::from(refusal).code());
    let mut expected = case.answers.iter().filter_map(|answer| answer.error);
    if code.is_some() {
        assert!(expected.any(|error| Some(error) == code), "{}: {code:?}", case.name);
    } else {
        let by_bytes = BY_BYTES.map(|refusal| Refusal::from(refusal).code());
        let missed = expected.find(|error| by_bytes.contains(error));
        assert_eq!(missed, None, "{}: read as good", case.name);
    }
}

/// Reads a case without a socket, and sends it in each manner. After its last answer the connection has to be as that
/// answer says, and the server well.
pub(crate) fn run(server: &Server, case: &Case) {
    expect_read(case);
    for cut in Cut::ALL {
        println!("{} ({cut:?})", case.name);
        let mut client = RawClient::connect(address(server));
        cut.send(&mut client, &case.input);
        let (last, first) = case.answers.split_last().expect("a case has an answer");
        for answer in first {
            assert!(!expect_answer(&mut client, *answer).closes(), "closed too early");
        }
        let response = expect_answer(&mut client, *last);
        expect_ending(&mut client, &response);
        expect_well(server);
    }
}

/// Runs cases that all get the one answer, a refusal, on a server that must hold no message afterwards.
pub(crate) fn run_refused<'a>(answer: Answer, cases: impl IntoIterator<Item = (&'a str, Vec<u8>)>) {
    let server = start(|_| {});
    run_all(&server, answer, cases);
    assert_eq!(server.stats().messages, 0);
}

/// Runs cases that all get the one answer.
pub(crate) fn run_all<'a>(server: &Server, answer: Answer, cases: impl IntoIterator<Item = (&'a str, Vec<u8>)>) {
    for (name, input) in cases {
        let answers = vec![answer];
        run(server, &Case { name, input, answers });
    }
}

/// Reads an answer, which must be this one and have what every answer has.
pub(crate) fn expect_answer(client: &mut RawClient, answer: Answer) -> Response {
    let response = client.read_response();
    assert_eq!(response.status, answer.status, "{response:?}");
    expect_common(&response);
    if let Some((name, value)) = answer.field {
        assert_eq!(response.header(name), Some(value), "{response:?}");
    }
    match answer.error {
        Some(error) => {
            assert_eq!(response.header("Content-Type"), Some("application/json"));
            let body = response.json();
            let sentence = body["message"].as_str().unwrap_or_default();
            assert!(!sentence.is_empty(), "{body}");
            assert_eq!(body, json!({ "error": error, "message": sentence }));
        }
        None if answer.status == 200 => {
            assert_eq!(response.header("Content-Type"), Some("application/json"));
            assert_eq!(response.text(), r#"{"message":"sent"}"#);
        }
        None => {}
    }
    response
}

/// What every answer has, and every refusal that leaves no way to tell where the next request begins.
fn expect_common(response: &Response) {
    const CLOSING: [u16; 8] = [400, 408, 411, 413, 414, 431, 501, 505];
    let date = response.header("Date").expect("every answer has a Date");
    httpdate::parse_http_date(date).expect("Date is an HTTP date");
    if CLOSING.contains(&response.status) {
        assert!(response.closes(), "{response:?}");
    }
}

/// After a last answer the stream ends in order, with no further byte; after any other the next request is served.
pub(crate) fn expect_ending(client: &mut RawClient, response: &Response) {
    if response.closes() {
        assert_eq!(client.read_to_end(), b"", "nothing follows the last answer");
    } else {
        assert_eq!(client.post_with(PROBE, "", "next").status, 200);
    }
}

/// The server takes a message over a fresh connection.
pub(crate) fn expect_well(server: &Server) {
    let response = RawClient::connect(address(server)).post_with(PROBE, "", "well?");
    assert_eq!(response.status, 200);
}

/// Reads the text that reports a failed login, if there is to be one, and the Close after it; answers that and reads
/// the end of the stream.
pub(crate) fn expect_close(socket: &mut RawWebSocket, code: u16, error: Option<&str>) {
    if let Some(error) = error {
        let text: Value = serde_json::from_str(&socket.read_text()).expect("a failed login is told in JSON");
        assert_eq!(text, json!({ "error": error }));
    }
    expect_close_frame(socket, code);
    if code == MESSAGE_TOO_BIG {
        // A Close would be taken for payload that was announced and never sent.
        socket.client().finish();
    }
    socket.answer_close(code);
}

/// Reads a Close with this code.
pub(crate) fn expect_close_frame(socket: &mut RawWebSocket, code: u16) {
    let frame = socket.read_unless_ping();
    assert_eq!(frame.opcode, Opcode::CLOSE, "{frame:?}");
    let told = frame.payload.first_chunk().copied().map(u16::from_be_bytes);
    assert_eq!(told, Some(code), "{frame:?}");
}

/// Many frames as one run of bytes.
pub(crate) fn masked<'a>(frames: impl IntoIterator<Item = &'a Frame>) -> Vec<u8> {
    frames.into_iter().flat_map(Frame::masked).collect()
}

/// Sends a byte about every 10 ms until the server says something or ends the stream.
pub(crate) fn trickle(client: &mut RawClient, bytes: &[u8]) {
    const PAUSE: Duration = Duration::from_millis(10);
    for byte in bytes {
        client.send([*byte]);
        if client.hears_within(PAUSE) {
            return;
        }
    }
    panic!("the server lets {} bytes trickle", bytes.len());
}
