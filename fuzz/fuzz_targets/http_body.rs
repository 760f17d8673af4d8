//! Bodies of requests: the same however they are split, never over the limit, and chunks by a second reading.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;

use npchat::http::{BodyDecoder, Framing};
use npchat::refusal::Refusal;
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
    end: Result<(usize, bool), Refusal>,
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
        (None, _) => {}
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
        Err(refusal) => assert!(matches!(refusal, Refusal::BadChunk | Refusal::MessageTooLarge)),
    }
}

fn check_length(outcome: &Outcome, length: usize, bytes: &[u8]) {
    let expected = &bytes[..length.min(bytes.len())];
    assert_eq!(outcome.body, expected);
    assert_eq!(outcome.end, Ok((expected.len(), bytes.len() >= length)));
}

/// A body that was accepted is the same by another reading, and once more when it is encoded anew.
fn check_chunks(body: &[u8], max_bytes: u64, cuts: Cuts, bytes: &[u8]) {
    assert_eq!(read_chunks(bytes), (body.to_vec(), bytes.len()));
    let encoded = encode(cuts, body);
    let mut decoder = BodyDecoder::new(Framing::Chunked, max_bytes).expect("chunks tell no length");
    let mut again = Vec::new();
    let end = decoder
        .append(&encoded, &mut again)
        .map(|progress| (progress.consumed, progress.is_done));
    assert_eq!(end, Ok((encoded.len(), true)));
    assert_eq!(again, body);
}

/// The body and the length of its encoding, by httparse's reading of sizes and ours of lines.
fn read_chunks(bytes: &[u8]) -> (Vec<u8>, usize) {
    let mut body = Vec::new();
    let mut rest = bytes;
    loop {
        let Ok(httparse::Status::Complete((start, size))) = httparse::parse_chunk_size(rest) else {
            panic!("httparse sees no chunk");
        };
        assert!(rest[..start].ends_with(b"\r\n"));
        rest = &rest[start..];
        if size == 0 {
            break;
        }
        let (data, tail) = rest.split_at(size as usize);
        body.extend_from_slice(data);
        rest = tail.strip_prefix(b"\r\n").expect("a chunk ends with CRLF");
    }
    loop {
        let end = rest
            .windows(2)
            .position(|pair| pair == b"\r\n")
            .expect("a trailer line ends");
        let line = &rest[..end];
        assert!(!line.contains(&b'\r') && !line.contains(&b'\n'), "a bare CR or LF");
        rest = &rest[end + 2..];
        if end == 0 {
            return (body, bytes.len() - rest.len());
        }
    }
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
