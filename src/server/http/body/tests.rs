use super::*;

const MAX: u64 = 64;

/// What a body decodes to, and how much of the input it took; `None` while it isn't done.
fn read(framing: Framing, input: &[u8]) -> Result<(Vec<u8>, Option<usize>), HttpError> {
    let mut body = Vec::new();
    let progress = BodyDecoder::new(framing, MAX)?.append(input, &mut body)?;
    Ok((body, progress.is_done.then_some(progress.consumed)))
}

fn chunked(input: &[u8]) -> Result<(Vec<u8>, Option<usize>), HttpError> {
    read(Framing::Chunked, input)
}

#[test]
fn a_body_with_a_length_that_came_whole_is_a_slice_of_the_input() {
    let input = b"hello, next request";
    let piece = BodyDecoder::new(Framing::Length(5), MAX)
        .unwrap()
        .decode(input)
        .unwrap();
    assert_eq!((piece.consumed, piece.data, piece.is_done), (5, &input[..5], true));
    assert_eq!(piece.data.as_ptr(), input.as_ptr());
}

#[test]
fn a_body_of_no_bytes_is_done_without_input() {
    for framing in [Framing::None, Framing::Length(0)] {
        assert_eq!(read(framing, b""), Ok((Vec::new(), Some(0))));
        assert_eq!(read(framing, b"next"), Ok((Vec::new(), Some(0))));
    }
}

#[test]
fn a_body_may_be_as_long_as_its_limit() {
    assert!(BodyDecoder::new(Framing::Length(MAX), MAX).is_ok());
    assert_eq!(read(Framing::Length(MAX + 1), b""), Err(HttpError::MessageTooLarge));
    assert_eq!(read(Framing::Length(u64::MAX), b""), Err(HttpError::MessageTooLarge));

    assert!(chunked(b"40\r\n").is_ok());
    assert_eq!(chunked(b"41\r"), Err(HttpError::MessageTooLarge));
    assert_eq!(chunked(b"41;"), Err(HttpError::MessageTooLarge));
    assert_eq!(chunked(b"FFFFFFFFFFFFFFFF\r"), Err(HttpError::MessageTooLarge));
    let second_is_over = [&b"20\r\n"[..], &[b'x'; 32], b"\r\n21\r"].concat();
    assert_eq!(chunked(&second_is_over), Err(HttpError::MessageTooLarge));
}

#[test]
fn good_chunks_make_the_body() {
    for (input, body) in [
        (&b"0\r\n\r\n"[..], &b""[..]),
        (b"000\r\n\r\n", b""),
        (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
        (b"5\r\nhello\r\n7\r\n, world\r\n0\r\n\r\n", b"hello, world"),
        (b"0000000000000005\r\nhello\r\n0\r\n\r\n", b"hello"),
        (b"a\r\n\r\n\r\n\r\n\r\n\r\n\r\n0\r\n\r\n", b"\r\n\r\n\r\n\r\n\r\n"),
        (
            b"A ; name =\"a \t \\\" value\"\t;b= c\r\n0123456789\r\n0;last\r\n\r\n",
            b"0123456789",
        ),
        (b"1\r\nx\r\n0\r\nExpires: never\r\nX:\r\n\r\n", b"x"),
    ] {
        let with_next = [input, b"POST"].concat();
        assert_eq!(
            chunked(&with_next),
            Ok((body.to_vec(), Some(input.len()))),
            "{}",
            input.escape_ascii()
        );
        for end in 0..input.len() {
            assert_eq!(
                chunked(&input[..end]).map(|(_, end)| end),
                Ok(None),
                "{}",
                input[..end].escape_ascii()
            );
        }
    }
}

#[test]
fn a_chunk_that_readers_might_differ_about_is_refused() {
    for input in [
        &b"\r\n"[..],
        b"\n",
        b";x\r\n",
        b" 5\r\n",
        b"5 \r\n",
        b"5 ; \r\n",
        b"1;\r\n",
        b"1;[]=()\r\n",
        b"1;a=\r\n",
        b"1;a=\"b\r\n",
        b"1;a=\"b\"c\r\n",
        b"1;a b\r\n",
        b"1;a \r\n",
        b"0\r\nGET /x HTTP/1.1\r\n",
        b"0\r\n foo: bar\r\n",
        b"0\r\n: x\r\n",
        b"0\r\nfoo : x\r\n",
        b"0\r\nfoo\r\n",
        b"0x5\r\n",
        b"+5\r\n",
        b"-0\r\n",
        b"g\r\n",
        b"5\n",
        b"5\rh",
        b"5;x\n",
        b"5;\0\r\n",
        b"5;\x7f\r\n",
        b"5;x\rx",
        b"00000000000000005\r\n",
        b"10000000000000000\r\n",
        b"5\r\nhello\n",
        b"5\r\nhello!",
        b"5\r\nhello\rx",
        b"0\r\n\n",
        b"0\r\n\rx",
        b"0\r\nX: y\n",
        b"0\r\nX: y\rz",
        b"0\r\nX: \0\r\n",
    ] {
        assert_eq!(chunked(input), Err(HttpError::BadChunk), "{}", input.escape_ascii());
    }
}

#[test]
fn extensions_are_limited_over_the_whole_body() {
    let extension = |bytes: usize| format!(";{}", "x".repeat(bytes - 1));
    let one = |bytes| format!("1{}\r\n", extension(bytes));
    assert!(chunked(one(CHUNK_EXTENSION_MAX_BYTES).as_bytes()).is_ok());
    assert_eq!(
        chunked(one(CHUNK_EXTENSION_MAX_BYTES + 1).as_bytes()),
        Err(HttpError::BadChunk)
    );
    let two = format!("1{}\r\nx\r\n1;x\r\n", extension(CHUNK_EXTENSION_MAX_BYTES));
    assert_eq!(chunked(two.as_bytes()), Err(HttpError::BadChunk));
}

#[test]
fn trailers_are_limited_with_their_line_ends() {
    let line = format!("x:{}\r\n", "x".repeat(60));
    let exact = format!("0\r\n{}\r\n", line.repeat(TRAILER_MAX_BYTES / line.len()));
    assert_eq!(chunked(exact.as_bytes()), Ok((Vec::new(), Some(exact.len()))));
    let over = format!("0\r\n{}x", line.repeat(TRAILER_MAX_BYTES / line.len()));
    assert_eq!(chunked(over.as_bytes()), Err(HttpError::BadChunk));
}

#[test]
fn every_call_makes_progress_or_is_done() {
    let input = b"5;x\r\nhello\r\n7\r\n, world\r\n0\r\nX: y\r\n\r\n";
    let mut decoder = BodyDecoder::new(Framing::Chunked, MAX).unwrap();
    let mut rest = &input[..];
    let mut body = Vec::new();
    loop {
        let piece = decoder.decode(rest).unwrap();
        body.extend_from_slice(piece.data);
        rest = &rest[piece.consumed..];
        if piece.is_done {
            break;
        }
        assert!(piece.consumed > 0);
    }
    assert_eq!((&body[..], rest), (&b"hello, world"[..], &b""[..]));
}
