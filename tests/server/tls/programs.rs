//! Programs of the field, where they are installed.

use std::io::{ErrorKind, Write};
use std::process::{Command, Output, Stdio};

use testkit::{Identity, address, fixture};

use super::start_tls;

/// Runs a program with this input. `None`, told aloud, where there is no such program.
fn run(program: &str, arguments: &[&str], input: &str) -> Option<Output> {
    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match child {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            eprintln!("SKIPPED: {program} is not installed");
            return None;
        }
        child => child.unwrap(),
    };
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    Some(child.wait_with_output().unwrap())
}

#[test]
fn curl_posts_over_https() {
    let server = start_tls();
    let url = format!("https://{}/{}", address(&server), Identity::generate().id);
    let authority = fixture("ca.cert.pem");
    for version in ["--tlsv1.2", "--tlsv1.3"] {
        let arguments = [
            "--silent",
            "--show-error",
            "--max-time",
            "120",
            "--cacert",
            authority.to_str().unwrap(),
            version,
            "--data-binary",
            "@-",
            &url,
        ];
        let Some(output) = run("curl", &arguments, "hello") else {
            return;
        };
        assert_eq!(output.stdout, br#"{"message":"sent"}"#, "{output:?}");
    }
    assert_eq!(server.stats().messages, 2);
}

#[test]
fn openssl_s_client_gets_through_with_the_versions_that_are_served() {
    let server = start_tls();
    let address = address(&server).to_string();
    let authority = fixture("ca.cert.pem");
    for (version, name) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let arguments = [
            "s_client",
            "-connect",
            &address,
            "-servername",
            "localhost",
            "-verify_return_error",
            "-CAfile",
            authority.to_str().unwrap(),
            "-alpn",
            "http/1.1",
            "-ign_eof",
            version,
        ];
        let request = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        let Some(output) = run("openssl", &arguments, request) else {
            return;
        };
        let told = String::from_utf8_lossy(&output.stdout);
        for piece in [
            name,
            "ALPN protocol: http/1.1",
            "Verify return code: 0 (ok)",
            "HTTP/1.1 200 OK",
        ] {
            assert!(told.contains(piece), "no {piece:?}: {output:?}");
        }
        assert!(output.status.success(), "{output:?}");
    }
}
