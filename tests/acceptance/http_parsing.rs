//! Requests of random bytes, read without a socket: the cuts change nothing, and nothing panics.
//!
//! What each bad request gets is in the tables of the rows, whose bytes are read without a socket too.

use proptest::prelude::*;

use npchat::server::http::{BodyDecoder, Framing, RequestHead};

use crate::reader::{MAX_MESSAGE_BYTES, Reader};

/// Pieces that requests are made of, good and bad, so that random sequences get beyond the first line.
fn request_bytes() -> impl Strategy<Value = Vec<u8>> {
    let fragment = prop_oneof![
        6 => prop::sample::select(vec![
            "POST /BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\nT: t\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "\r\n",
        ]),
        3 => prop::sample::select(vec![
            "GET / HTTP/1.1\r\n", "Host: a\r\n", "Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n",
            "TTL: 5\r\n", "X: y\r\n", "3\r\nabc\r\n", "0\r\n\r\n", "10001\r\n", "HTTP/1.2\r\n",
        ]),
        1 => prop::sample::select(vec!["\r", "\n", "\0", " ", ":", "x", "5"]),
    ];
    prop::collection::vec(fragment, 0..12).prop_map(|fragments| fragments.concat().into_bytes())
}

proptest! {
    #[test]
    fn requests_are_the_same_however_their_bytes_are_split(
        input in request_bytes(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let whole = Reader::read_all([&input[..]]);
        prop_assert_eq!(&Reader::read_all(input.chunks(1)), &whole);
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
        cuts.extend([0, input.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|pair| &input[pair[0]..pair[1]]);
        prop_assert_eq!(&Reader::read_all(pieces), &whole);
    }

    #[test]
    fn bytes_of_any_kind_are_read_or_refused_without_a_panic(input in prop::collection::vec(any::<u8>(), 0..512)) {
        let _ = Reader::read_all([&input[..]]);
        let _ = RequestHead::parse(&input);
        for framing in [Framing::Chunked, Framing::Length(200)] {
            let mut body = Vec::new();
            let decoder = BodyDecoder::new(framing, 1024);
            let _ = decoder.and_then(|mut decoder| decoder.append(&input, &mut body));
            prop_assert!(body.len() <= 1024);
        }
    }

    #[test]
    fn a_chunked_body_is_what_its_chunks_hold(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..90), 0..9)
    ) {
        let mut input = Vec::new();
        for chunk in &chunks {
            input.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
            input.extend_from_slice(chunk);
            input.extend_from_slice(b"\r\n");
        }
        input.extend_from_slice(b"0\r\n\r\nnext");
        let mut body = Vec::new();
        let progress = BodyDecoder::new(Framing::Chunked, MAX_MESSAGE_BYTES)
            .and_then(|mut decoder| decoder.append(&input, &mut body));
        prop_assert_eq!(progress.map(|progress| (progress.consumed, progress.is_done)), Ok((input.len() - 4, true)));
        prop_assert_eq!(body, chunks.concat());
    }
}
