//! Echoes WebSocket messages and the bodies of POSTs, on the very connections that the relay has: only the service
//! differs.
//!
//! For outside conformance suites: `cargo run --release --example echo -- --port 9001`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for a terminal")]

use std::env;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use npchat::server::config::{Config, Listen};
use npchat::server::context::Context;
use npchat::server::http::Reply;
use npchat::server::refusal::{CloseReason, Refusal};
use npchat::server::routes::Request;
use npchat::server::service::{Handled, Handler, Posted, Service};
use npchat::server::store::Store;
use npchat::server::websocket::{Event, Opcode, Wants, write_frame};
use npchat::server::{Server, StartError};

const MESSAGE_MAX_BYTES: u32 = 16 << 20;

#[derive(Debug)]
struct Echo;

impl Service for Echo {
    type Post = ();
    type Handler = Self;

    fn admit(&self, _: &Request<'_>) -> Result<(), Refusal> {
        Ok(())
    }

    fn post(&self, (): &(), body: &[u8], reply: &Reply<'_>, context: &mut Context<'_, Self>) -> Posted {
        reply.bytes(context.out, 200, "application/octet-stream", body);
        Posted::Stored
    }

    fn open(&self, _: &Request<'_>, _: &Store) -> Option<Self> {
        Some(Self)
    }
}

impl Handler for Echo {
    fn handle<S: Service>(&mut self, event: &Event, context: &mut Context<'_, S>) -> Result<Handled, CloseReason> {
        match event {
            Event::Text(text) => write_frame(context.out, Opcode::Text, text.as_bytes()),
            Event::Binary(bytes) => write_frame(context.out, Opcode::Binary, bytes),
            Event::Open | Event::Ping | Event::Pong(_) | Event::Close => {}
        }
        Ok(Handled::Done)
    }

    fn wants(&self) -> Wants {
        Wants::Everything
    }

    fn is_logged_in(&self) -> bool {
        true
    }
}

fn main() -> ExitCode {
    let Some(port) = port() else {
        eprintln!("echo: usage: echo [--port PORT]");
        return ExitCode::from(2);
    };
    match serve(port) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("echo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn port() -> Option<u16> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    match &arguments[..] {
        [] => Some(9001),
        [flag, port] if flag == "--port" => port.parse().ok(),
        _ => None,
    }
}

fn serve(port: u16) -> Result<(), StartError> {
    let config = Config {
        listen: Listen::Addresses(vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into()]),
        max_message: MESSAGE_MAX_BYTES,
        mailbox_bytes: MESSAGE_MAX_BYTES,
        ..Config::default()
    };
    let server = Server::start_service(&config, Echo)?;
    for address in server.addresses() {
        println!("echo on {address}");
    }
    server.wait()
}
