//! Refusals that hang on what a head says before it is whole: the answer to a HEAD has no body, however its
//! request came.

use crate::endpoint::Endpoint;

#[test]
fn a_head_request_that_is_refused_gets_no_body_however_it_came() {
    for request in [
        "\r\nHEAD /x HTTP/1.1\r\nHost: x\r\n\r\n",
        "HEAD /x HTTP/1.1\r\nHost: x\n",
    ] {
        for cut in 0..request.len() {
            let mut endpoint = Endpoint::new();
            let (first, second) = request.as_bytes().split_at(cut);
            endpoint.receive_all([first, second]);
            assert!(endpoint.sent.ends_with(b"\r\n\r\n"), "cut at {cut}");
        }
    }
    let mut slow = Endpoint::new();
    slow.receive_all([&b"\r\nHEAD /"[..], b"x"]);
    slow.end_input();
    assert!(slow.sent.starts_with(b"HTTP/1.1 408 ") && slow.sent.ends_with(b"\r\n\r\n"));
}

#[test]
fn a_method_is_refused_for_its_length_with_the_33rd_byte_of_its_name_and_for_its_name_once_the_head_is_whole() {
    let status = |sent: &[u8]| String::from_utf8_lossy(sent).get(..12).map(str::to_owned);
    let mut endpoint = Endpoint::new();
    endpoint.receive(&[b'M'; 32]);
    assert_eq!(status(&endpoint.sent), None);
    endpoint.receive(b" / HTTP/1.1\r\nHost: x\r\n");
    assert_eq!(status(&endpoint.sent), None, "its name is short enough");
    endpoint.receive(b"\r\n");
    assert_eq!(status(&endpoint.sent).as_deref(), Some("HTTP/1.1 501"));

    let mut endpoint = Endpoint::new();
    endpoint.receive(&[b'M'; 33]);
    assert_eq!(status(&endpoint.sent).as_deref(), Some("HTTP/1.1 501"));
}
