//! What a server does wrong is found: a proxy in front of a good one does it for the first connection that posts.

#![expect(clippy::expect_used, reason = "these fail a test")]

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

mod common;

use common::{bench, boundless_server, pass_on};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 18\r\nTTL: 3600\r\n\r\n{\"message\":\"sent\"}";

/// What the proxy does to each POST of that connection, which waits for the answer to one before the next.
#[derive(Clone, Copy)]
enum Wrong {
    /// Answers it, and passes nothing on.
    Swallow,
    /// Passes it on twice, and one of the answers back.
    Double,
    /// Passes it on with another last byte.
    Alter,
    /// Passes two on in the other order, the first of which it answers.
    Swap,
}

fn proxy(server: SocketAddr, wrong: Wrong) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        let none_yet = Arc::new(AtomicBool::new(true));
        for client in listener.incoming().map_while(Result::ok) {
            let server = TcpStream::connect(server).expect("the server listens");
            let none_yet = Arc::clone(&none_yet);
            thread::spawn(move || {
                let mut first = [0; 4];
                let is_post = client.peek(&mut first).is_ok() && first == *b"POST";
                let is_wrong = is_post && none_yet.swap(false, Ordering::Relaxed);
                // Either may end first, in any way.
                let _ = if is_wrong {
                    serve(client, server, wrong)
                } else {
                    pass_on(client, server)
                };
            });
        }
    });
    address
}

fn serve(mut client: TcpStream, mut server: TcpStream, wrong: Wrong) -> io::Result<()> {
    let mut held = Vec::new();
    loop {
        // A message of 100 bytes comes in one piece.
        let mut request = vec![0; 4096];
        let count = client.read(&mut request)?;
        request.truncate(count);
        let Some(last) = request.last_mut() else { return Ok(()) };
        match wrong {
            Wrong::Swallow => client.write_all(ANSWER)?,
            Wrong::Double => {
                server.write_all(&request.repeat(2))?;
                read_answer(&mut server)?;
                read_answer(&mut server)?;
                client.write_all(ANSWER)?;
            }
            Wrong::Alter => {
                *last = b'!';
                server.write_all(&request)?;
                read_answer(&mut server)?;
                client.write_all(ANSWER)?;
            }
            Wrong::Swap if held.is_empty() => {
                held = request;
                client.write_all(ANSWER)?;
            }
            Wrong::Swap => {
                for request in [request, std::mem::take(&mut held)] {
                    server.write_all(&request)?;
                    read_answer(&mut server)?;
                }
                client.write_all(ANSWER)?;
            }
        }
    }
}

/// Its body is the last of it, and ends with the one brace that there is.
fn read_answer(server: &mut TcpStream) -> io::Result<()> {
    let mut byte = [0];
    while byte != *b"}" {
        server.read_exact(&mut byte)?;
    }
    Ok(())
}

/// How many faults of a kind are found in the mailboxes of two recipients.
#[track_caller]
fn faults_found(wrong: Wrong, kind: &str) -> u64 {
    let (_server, address) = boundless_server();
    let options = "store --seconds 1 --connections 2 --ids 2 --ttl 3600 --size 100 --rate 200 --threads 1";
    let run = bench(proxy(address, wrong), options);
    assert_eq!(run.code, Some(1), "{}", run.report);
    run.report["faults"][kind].as_u64().expect("a count")
}

#[test]
fn a_message_that_was_acknowledged_and_is_not_there_is_lost() {
    assert!(faults_found(Wrong::Swallow, "lost") > 50);
}

#[test]
fn a_message_that_is_there_twice_is_duplicated() {
    assert!(faults_found(Wrong::Double, "duplicated") > 50);
}

#[test]
fn a_message_that_nobody_posted_like_this_is_corrupt() {
    assert!(faults_found(Wrong::Alter, "corrupt") > 50);
}

#[test]
fn messages_of_one_sender_that_come_in_another_order_are_out_of_order() {
    assert!(faults_found(Wrong::Swap, "out_of_order") > 10);
}

#[test]
fn a_session_finds_what_comes_twice_as_well() {
    let (_server, address) = boundless_server();
    let options = "relay --seconds 1 --connections 2 --sessions 2 --ttl 3600 --size 100 --rate 200 --threads 1";
    let run = bench(proxy(address, Wrong::Double), options);
    assert_eq!(run.code, Some(1), "{}", run.report);
    assert!(run.report["faults"]["duplicated"].as_u64() > Some(50), "{}", run.report);
}
