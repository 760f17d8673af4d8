//! Connections that hold too much together: the largest is closed, whichever worker has it and whoever was the last to
//! hold more.

use std::time::Duration;

use npchat::server::refusal::CloseReason;
use testkit::{Identity, PATIENCE, RawClient, RawWebSocket, address, post, start, wait_until};

const BUDGET_BYTES: u64 = 4 << 20;
/// One client that takes nothing of it holds most of the budget.
const MESSAGE_BYTES: u32 = 7 << 19;
const START_OF_A_HEAD_BYTES: usize = 7000;
/// Together with the message they hold more than the budget.
const SMALL_HOLDERS_MAX: usize = 600;

/// Whether the worker of the large one is the one that finds too much is chance, so this is tried several times.
#[test]
fn the_largest_holder_is_closed_though_its_worker_sleeps() {
    for _ in 0..12 {
        let server = start(|config| {
            config.connection_memory = Some(BUDGET_BYTES);
            config.max_message = MESSAGE_BYTES;
            // No worker wakes by itself meanwhile.
            config.clean_period = Duration::from_secs(3600);
            config.timeouts.ping = Duration::from_secs(3600);
        });
        let alice = Identity::generate();
        let _large = RawWebSocket::log_in(address(&server), &alice);
        assert_eq!(
            post(address(&server), &alice.id, vec![b'x'; MESSAGE_BYTES as usize]).status,
            200
        );
        let closed = || server.totals().closed(CloseReason::ConnectionMemory);
        let start_of_a_head = || {
            let mut client = RawClient::connect(address(&server));
            client.send(format!(
                "GET /healthz HTTP/1.1\r\nHost: x\r\nA: {}",
                "x".repeat(START_OF_A_HEAD_BYTES)
            ));
            client
        };
        let mut small: Vec<_> = (0..SMALL_HOLDERS_MAX)
            .map_while(|_| (closed() == 0).then(start_of_a_head))
            .collect();
        wait_until(PATIENCE, "one is closed", || closed() > 0);
        for client in &mut small {
            client.send("\r\n\r\n");
            assert_eq!(client.read_response().status, 200, "it held little");
        }
        assert_eq!(closed(), 1);
    }
}
