//! What connections hold is bounded: the largest holders are closed, over TLS as over plain TCP, and no others.

use std::thread;

use npchat::server::refusal::CloseReason;
use testkit::{PATIENCE, RawClient, Wire, address, certificate_files, start, wait_until};

/// Together they hold more than the budget of 4 MiB.
const CLIENTS: usize = 100;
/// Connections that hold the start of a head, a tenth of what the others do.
const SMALL_HOLDERS: usize = 20;
const START_BYTES: usize = 6000;

fn the_largest_holders_are_closed(wire: Wire) {
    let server = start(|config| {
        config.connection_memory = Some(4 << 20);
        config.certificate = (wire == Wire::Tls).then(|| certificate_files("localhost"));
    });
    let mut small: Vec<_> = (0..SMALL_HOLDERS)
        .map(|_| {
            let mut client = RawClient::connect_by(wire, address(&server));
            let filler = "x".repeat(START_BYTES);
            client.send(format!("GET /healthz HTTP/1.1\r\nHost: x\r\nA: {filler}"));
            client
        })
        .collect();
    for _ in 0..CLIENTS {
        let mut client = RawClient::connect_by(wire, address(&server));
        let requests = b"GET /info HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000);
        // Until it is closed, or the server takes no more.
        thread::spawn(move || while client.try_send(&requests).is_ok() {});
    }
    wait_until(PATIENCE, "one is closed", || {
        server.totals().closed(CloseReason::ConnectionMemory) > 0
    });
    for client in &mut small {
        client.send("\r\n\r\n");
        assert_eq!(client.read_response().status, 200, "it held little");
    }
}

#[test]
fn the_largest_holders_are_closed_over_plain_tcp() {
    the_largest_holders_are_closed(Wire::Plain);
}

#[test]
fn the_largest_holders_are_closed_over_tls() {
    the_largest_holders_are_closed(Wire::Tls);
}
