//! Resident memory of the real program stays under the bound that follows from its options, whatever is done to it.
//!
//! `MEMORY_TEST_BINARY` names another program to be tested, one with another allocator, say.

#![expect(clippy::unwrap_used, reason = "it fails a test")]
#![expect(clippy::print_stdout, reason = "the figures are of use")]

use std::env;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use npchat::server::config::Config;
use npchat::server::limits::PROCESS_BYTES;
use npchat::server::system;
use testkit::{Daemon, Frame, Identity, PATIENCE, RawClient, Receiver, post_request, wait_until};

const MIB: u64 = 1024 * 1024;
const MEMORY_BYTES: u64 = 16 * MIB;
/// So many clients come in those attacks where each takes a little.
const CLIENTS: usize = 1500;

fn start() -> Daemon {
    let _ = system::raise_file_limit();
    let own = env!("CARGO_BIN_EXE_npchatd").into();
    let program = env::var_os("MEMORY_TEST_BINARY").unwrap_or(own);
    let memory = MEMORY_BYTES.to_string();
    let options = [
        "--memory",
        &memory,
        "--mailbox-messages",
        "1000000",
        "--mailbox-bytes",
        "1GiB",
    ];
    Daemon::run(Command::new(program).args(options))
}

fn bound() -> u64 {
    let config = Config {
        memory: MEMORY_BYTES,
        workers: 2,
        ..Config::default()
    };
    config.memory_bound()
}

/// The bound where connections hold nothing: mail, with a quarter for the allocator, and the process.
fn mail_bound() -> u64 {
    MEMORY_BYTES * 5 / 4 + PROCESS_BYTES
}

/// Reports what is resident, and holds it and its peak to the bound.
fn judge(daemon: &Daemon, attack: &str, bound: u64) {
    let [now, peak] = ["VmRSS", "VmHWM"].map(|field| daemon.memory(field));
    let mib = |bytes: u64| bytes / MIB;
    println!(
        "{attack}: {} MiB, {} at most; bound {}",
        mib(now),
        mib(peak),
        mib(bound)
    );
    assert!(peak <= bound, "{attack}: {} MiB, over {}", mib(peak), mib(bound));
}

fn id_of(number: usize) -> String {
    format!("{number:042}A")
}

/// Posts bodies of one size to ids of their own, many at once. Returns how many were taken.
fn post_all(daemon: &Daemon, posts: impl Iterator<Item = (usize, usize, u32)>) -> usize {
    let mut client = TcpStream::connect(daemon.address).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut taken = 0;
    let posts: Vec<_> = posts.collect();
    for batch in posts.chunks(32) {
        let request = |&(number, size, ttl): &(usize, usize, u32)| {
            let path = format!("/{}", id_of(number));
            post_request(daemon.address, &path, &format!("TTL: {ttl}\r\n"), vec![b'x'; size])
        };
        client
            .write_all(&batch.iter().flat_map(request).collect::<Vec<u8>>())
            .unwrap();
        let (mut answers, mut buffer) = (Vec::new(), [0; 16 * 1024]);
        let ends = |answers: &[u8]| answers.windows(2).filter(|pair| pair == b"\"}").count();
        while ends(&answers) < batch.len() {
            let count = client.read(&mut buffer).unwrap();
            assert!(count > 0, "{}", String::from_utf8_lossy(&answers));
            answers.extend_from_slice(&buffer[..count]);
        }
        taken += answers.windows(13).filter(|text| text == b"HTTP/1.1 200 ").count();
    }
    taken
}

fn connect_all(daemon: &Daemon) -> Vec<TcpStream> {
    (0..CLIENTS)
        .map(|_| TcpStream::connect(daemon.address).unwrap())
        .collect()
}

#[test]
fn rounds_of_short_lived_messages_with_some_that_stay_keep_to_the_bound() {
    let daemon = start();
    for size in [40, 200, 600, 1500, 4000, 9000, 20_000] {
        let each = 65_536 / size;
        let count = usize::try_from(MEMORY_BYTES).unwrap() * 5 / 8 / (size + 224);
        let ttl = |number: usize| if number.is_multiple_of(each) { 600 } else { 1 };
        post_all(&daemon, (0..count).map(|number| (number, size, ttl(number))));
        // Until the short-lived ones are over.
        thread::sleep(Duration::from_millis(2200));
    }
    judge(&daemon, "pinned pages", mail_bound());
}

#[test]
fn tiny_messages_that_have_expired_leave_room_for_large_ones() {
    let daemon = start();
    let count = usize::try_from(MEMORY_BYTES).unwrap() / 240;
    post_all(&daemon, (0..count).map(|number| (number, 1, 1)));
    // Most of the budget: there is room for so many only where the tiny ones have left it.
    let mut taken = 0;
    wait_until(PATIENCE, "large messages have the room of tiny ones", || {
        taken += post_all(&daemon, (0..20).map(|number| (number, 65_000, 600)));
        taken >= 180
    });
    judge(&daemon, "tiny messages, then large ones", mail_bound());
}

#[test]
fn sessions_that_claim_long_messages_leave_the_mail_its_memory() {
    let daemon = start();
    let identities: Vec<_> = (0..20).map(|_| Identity::generate()).collect();
    let header = &Frame::text(&"x".repeat(65_000)).masked()[..14];
    let _sessions: Vec<_> = (0..520)
        .map(|number| {
            let mut session = Receiver::connect(daemon.address, &identities[number % identities.len()]);
            session.send_raw(header);
            session
        })
        .collect();
    let taken = post_all(&daemon, (0..150).map(|number| (number, 65_000, 60)));
    assert_eq!(taken, 150, "of 150 posts");
    judge(&daemon, "claims", bound());
}

#[test]
fn bodies_that_are_thrown_away_take_no_memory() {
    let daemon = start();
    let mut clients = connect_all(&daemon);
    for client in &mut clients {
        let head = b"GET /info HTTP/1.1\r\nHost: x\r\nContent-Length: 65536\r\n\r\n";
        client.write_all(head).unwrap();
    }
    for client in &mut clients {
        client.write_all(&vec![b'x'; 65_000]).unwrap();
    }
    for client in &mut clients {
        client.write_all(&[b'x'; 536]).unwrap();
        assert!(client.read(&mut [0; 1024]).unwrap() > 0);
    }
    judge(&daemon, "bodies thrown away", bound());
}

#[test]
fn clients_that_do_not_read_are_closed_and_one_that_does_is_served() {
    let daemon = start();
    let clients = connect_all(&daemon);
    let requests = b"GET /info HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000);
    let until = Instant::now() + Duration::from_secs(6);
    for _ in 0..30 {
        for mut client in clients.iter().filter(|_| Instant::now() < until) {
            client.set_nonblocking(true).unwrap();
            match client.write(&requests) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // Those that were closed are in no way to be helped.
                Ok(_) | Err(_) => {}
            }
        }
    }
    let mut fair = RawClient::connect(daemon.address);
    wait_until(PATIENCE, "a new client is served", || {
        fair.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
        fair.read_response().status == 200
    });
    judge(&daemon, "clients that don't read", bound());
    // What they have sent may still wait for its turn.
    wait_until(PATIENCE, "one of them is closed for what it holds", || {
        daemon.signal(rustix::process::Signal::USR1);
        daemon.wait_for_line("so far: ").contains("closed.connection_memory=")
    });
}
