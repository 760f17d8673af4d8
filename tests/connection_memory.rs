//! What connections hold is bounded: the largest holder of unsent output is closed, over TLS as over plain TCP.

mod common;

use std::thread;

use npchat::refusal::CloseReason;

use common::{PATIENCE, RawClient, Wire, address, certificate_files, start, wait_until};

/// Together they hold more than the budget of 4 MiB.
const CLIENTS: usize = 100;

fn a_client_that_does_not_read_is_closed(wire: Wire) {
    let server = start(|config| {
        config.connection_memory = Some(4 << 20);
        config.certificate = (wire == Wire::Tls).then(|| certificate_files("localhost"));
    });
    for _ in 0..CLIENTS {
        let mut client = RawClient::connect_by(wire, address(&server));
        let requests = b"GET /info HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000);
        // Until it is closed, or the server takes no more.
        thread::spawn(move || while client.try_send(&requests).is_ok() {});
    }
    wait_until(PATIENCE, "one is closed", || {
        server.totals().closed(CloseReason::ConnectionMemory) > 0
    });
    let mut fair = RawClient::connect_by(wire, address(&server));
    assert_eq!(fair.request("GET /healthz").status, 200);
}

#[test]
fn the_largest_holder_of_unsent_output_is_closed_over_plain_tcp() {
    a_client_that_does_not_read_is_closed(Wire::Plain);
}

#[test]
fn the_largest_holder_of_unsent_output_is_closed_over_tls() {
    a_client_that_does_not_read_is_closed(Wire::Tls);
}
