//! Receives messages from a relay: makes an identity, logs in, and prints what is sent to it until the relay closes.
//!
//! `cargo run --release --example receive -- [ws://127.0.0.1:8000]`. The identity isn't kept, and nothing is decrypted.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for a terminal")]

use std::env;
use std::error::Error;
use std::net::TcpStream;
use std::process::ExitCode;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature, SigningKey};
use p256::elliptic_curve::Generate;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tungstenite::stream::MaybeTlsStream;
use tungstenite::{Message, WebSocket};

type Socket = WebSocket<MaybeTlsStream<TcpStream>>;

fn main() -> ExitCode {
    let relay = env::args().nth(1).unwrap_or_else(|| "ws://127.0.0.1:8000".to_owned());
    match receive(relay.trim_end_matches('/')) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("receive: {error}");
            ExitCode::FAILURE
        }
    }
}

fn receive(relay: &str) -> Result<(), Box<dyn Error>> {
    let Some(authority) = relay.strip_prefix("ws://") else {
        return Err(format!("{relay}: a relay's address looks like ws://127.0.0.1:8000").into());
    };
    let key = SigningKey::generate();
    let public_key = key.verifying_key().to_sec1_point(false);
    let id = URL_SAFE_NO_PAD.encode(Sha256::digest(public_key.as_bytes()));
    println!("id: {id}");
    println!("curl --data-binary 'Hello!' http://{authority}/{id}");

    let (mut socket, _) = tungstenite::connect(format!("{relay}/{id}")).map_err(|error| format!("{relay}: {error}"))?;
    log_in(&mut socket, &key, public_key.as_bytes())?;
    println!("ready");

    loop {
        match socket.read() {
            Ok(Message::Text(text)) => println!("{}", on_one_line(&text)),
            Ok(Message::Binary(bytes)) => println!("{}", URL_SAFE_NO_PAD.encode(bytes)),
            // Pings are answered, and a Close too, by the next read.
            Ok(_) => {}
            Err(tungstenite::Error::ConnectionClosed) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Proves to the relay that the id is ours: signs the random bytes that it sends.
fn log_in(socket: &mut Socket, key: &SigningKey, public_key: &[u8]) -> Result<(), Box<dyn Error>> {
    socket.send(Message::text(r#"{"get":"challenge"}"#))?;
    let reply = read_json(socket)?;
    let challenge = &reply["challenge"];
    let text = challenge["txt"]
        .as_str()
        .ok_or_else(|| format!("no challenge but {reply}"))?;
    let solution: Signature = key.sign(&URL_SAFE_NO_PAD.decode(text)?);
    let answer = json!({
        "publicKey": URL_SAFE_NO_PAD.encode(public_key),
        "challenge": challenge,
        "solution": URL_SAFE_NO_PAD.encode(solution.to_bytes()),
    });
    socket.send(Message::text(answer.to_string()))?;
    let reply = read_json(socket)?;
    if reply["message"] == "handshake done" {
        Ok(())
    } else {
        Err(format!("the login failed: {reply}").into())
    }
}

fn read_json(socket: &mut Socket) -> Result<Value, Box<dyn Error>> {
    loop {
        match socket.read()? {
            Message::Text(text) => return Ok(serde_json::from_str(&text)?),
            Message::Close(_) => return Err("the relay closed the connection during the login".into()),
            _ => {}
        }
    }
}

/// A stranger wrote this: no line break or terminal escape of it may come through.
fn on_one_line(text: &str) -> String {
    let escaped = |c: char| c.is_control().then(|| c.escape_default().to_string());
    text.chars().map(|c| escaped(c).unwrap_or_else(|| c.into())).collect()
}
