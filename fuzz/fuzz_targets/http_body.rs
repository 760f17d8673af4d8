//! Bodies of requests: the same however they are split, never over the limit, and chunks by a second reading.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;

use npchat::server::http::limits::{CHUNK_EXTENSION_MAX_BYTES, TRAILER_MAX_BYTES};
use npchat::server::http::{BodyDecoder, Framing, HttpError};
use npchat_fuzz::{Cuts, Stream};

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    /// The length, if it has one. In a seed: 0 for chunked, 1 and two bytes for a length.
    length: Option<u16>,
    max_bytes: u16,
    stream: Stream<'a>,
}

/// All that a decoder says of an input.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    body: Vec<u8>,
    /// How much was consumed, and whether that is all of the body.
    end: Result<(usize, bool), HttpError>,
}

fuzz_target!(|input: Input<'_>| {
    let Stream { cuts, bytes } = input.stream;
    let framing = input
        .length
        .map_or(Framing::Chunked, |length| Framing::Length(length.into()));
    let max_bytes = u64::from(input.max_bytes);
    let Ok(mut decoder) = BodyDecoder::new(framing, max_bytes) else {
        assert!(input.length > Some(input.max_bytes), "refused within the limit");
        return;
    };
    assert!(input.length <= Some(input.max_bytes));
    let mut body = Vec::new();
    let end = decoder
        .append(bytes, &mut body)
        .map(|progress| (progress.consumed, progress.is_done));
    let whole = Outcome { body, end };
    assert_eq!(
        in_pieces(framing, max_bytes, cuts, bytes),
        whole,
        "the split changed the result"
    );
    check_bounds(&whole, input.max_bytes.into(), bytes);
    match (input.length, whole.end) {
        (Some(length), _) => check_length(&whole, length.into(), bytes),
        (None, Ok((consumed, true))) => check_chunks(&whole.body, max_bytes, cuts, &bytes[..consumed]),
        (None, _) => assert_eq!(read_chunks(bytes, max_bytes), None, "refused, or waits for ever"),
    }
});

fn in_pieces(framing: Framing, max_bytes: u64, cuts: Cuts, bytes: &[u8]) -> Outcome {
    let mut decoder = BodyDecoder::new(framing, max_bytes).expect("it was taken before");
    let mut body = Vec::new();
    let mut consumed = 0;
    for piece in cuts.pieces(bytes) {
        match decoder.append(piece, &mut body) {
            Ok(progress) => {
                consumed += progress.consumed;
                if progress.is_done {
                    let end = Ok((consumed, true));
                    return Outcome { body, end };
                }
                assert_eq!(progress.consumed, piece.len(), "input is left over");
            }
            Err(refusal) => {
                return Outcome {
                    body,
                    end: Err(refusal),
                };
            }
        }
    }
    let end = Ok((consumed, false));
    Outcome { body, end }
}

fn check_bounds(outcome: &Outcome, max_bytes: usize, bytes: &[u8]) {
    assert!(outcome.body.len() <= max_bytes, "over the limit");
    assert!(outcome.body.len() <= bytes.len());
    match outcome.end {
        Ok((consumed, is_done)) => assert!(is_done && consumed <= bytes.len() || consumed == bytes.len()),
        Err(refusal) => assert!(matches!(refusal, HttpError::BadChunk | HttpError::MessageTooLarge)),
    }
}

fn check_length(outcome: &Outcome, length: usize, bytes: &[u8]) {
    let expected = &bytes[..length.min(bytes.len())];
    assert_eq!(outcome.body, expected);
    assert_eq!(outcome.end, Ok((expected.len(), bytes.len() >= length)));
}

/// A body that was accepted is the same by another reading, and once more when it is encoded anew.
fn check_chunks(body: &[u8], max_bytes: u64, cuts: Cuts, bytes: &[u8]) {
    assert_eq!(read_chunks(bytes, max_bytes), Some((body.to_vec(), bytes.len())));
    let encoded = encode(cuts, body);
    let mut decoder = BodyDecoder::new(Framing::Chunked, max_bytes).expect("chunks tell no length");
    let mut again = Vec::new();
    let end = decoder
        .append(&encoded, &mut again)
        .map(|progress| (progress.consumed, progress.is_done));
    assert_eq!(end, Ok((encoded.len(), true)));
    assert_eq!(again, body);
}

/// The body and the length of its encoding, read line by line by the grammar of RFC 9112 §7.1; `None` if the
/// input doesn't begin with a whole and good one.
fn read_chunks(bytes: &[u8], max_bytes: u64) -> Option<(Vec<u8>, usize)> {
    let (mut body, mut rest) = (Vec::new(), bytes);
    let mut extension_bytes = 0;
    loop {
        let line = take_line(&mut rest)?;
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let (size, extensions) = line.split_at(digits);
        if !(1..=16).contains(&digits) || !are_extensions(extensions) {
            return None;
        }
        extension_bytes += extensions.len();
        let size = usize::from_str_radix(str::from_utf8(size).ok()?, 16).ok()?;
        if size == 0 {
            break;
        }
        let (data, tail) = rest.split_at_checked(size)?;
        body.extend_from_slice(data);
        rest = tail.strip_prefix(b"\r\n")?;
    }
    let mut trailer_bytes = 0;
    loop {
        let line = take_line(&mut rest)?;
        if line.is_empty() {
            break;
        }
        let colon = line.iter().position(|byte| *byte == b':')?;
        if colon == 0 || !line[..colon].iter().all(is_token) || !line[colon + 1..].iter().all(is_text) {
            return None;
        }
        trailer_bytes += line.len() + 2;
    }
    let fits = body.len() as u64 <= max_bytes
        && extension_bytes <= CHUNK_EXTENSION_MAX_BYTES
        && trailer_bytes <= TRAILER_MAX_BYTES;
    fits.then(|| (body, bytes.len() - rest.len()))
}

fn take_line<'b>(rest: &mut &'b [u8]) -> Option<&'b [u8]> {
    let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
    let line = &rest[..end];
    *rest = &rest[end + 2..];
    (!line.contains(&b'\r') && !line.contains(&b'\n')).then_some(line)
}

/// `*( BWS ";" BWS token [ BWS "=" BWS ( token / quoted-string ) ] )`
fn are_extensions(mut text: &[u8]) -> bool {
    while !text.is_empty() {
        let Some(rest) = skip_space(text).strip_prefix(b";") else {
            return false;
        };
        let Some(rest) = skip_token(skip_space(rest)) else {
            return false;
        };
        text = rest;
        if let Some(value) = skip_space(rest).strip_prefix(b"=") {
            let value = skip_space(value);
            let rest = value.strip_prefix(b"\"").map_or_else(|| skip_token(value), skip_quoted);
            let Some(rest) = rest else { return false };
            text = rest;
        }
    }
    true
}

fn skip_space(text: &[u8]) -> &[u8] {
    let space = text.iter().take_while(|byte| b" \t".contains(byte)).count();
    &text[space..]
}

fn skip_token(text: &[u8]) -> Option<&[u8]> {
    let length = text.iter().take_while(|byte| is_token(byte)).count();
    (length > 0).then(|| &text[length..])
}

/// What follows a quoted string whose first quote is gone already (RFC 9110 §5.6.4).
fn skip_quoted(mut text: &[u8]) -> Option<&[u8]> {
    loop {
        text = match text {
            [b'"', rest @ ..] => return Some(rest),
            [b'\\', escaped, rest @ ..] if is_text(escaped) => rest,
            [b'\\', ..] => return None,
            [byte, rest @ ..] if is_text(byte) => rest,
            _ => return None,
        };
    }
}

fn is_token(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte)
}

/// A tab, a space, or anything else that is no control character.
fn is_text(byte: &u8) -> bool {
    *byte == b'\t' || !byte.is_ascii_control()
}

fn encode(cuts: Cuts, body: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::new();
    for piece in cuts.pieces(body).filter(|piece| !piece.is_empty()) {
        encoded.extend_from_slice(format!("{:X}\r\n", piece.len()).as_bytes());
        encoded.extend_from_slice(piece);
        encoded.extend_from_slice(b"\r\n");
    }
    encoded.extend_from_slice(b"0\r\n\r\n");
    encoded
}
