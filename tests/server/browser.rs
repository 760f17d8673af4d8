//! An unmodified browser logs in, receives, and confirms by itself: its script knows nothing of pings.
//!
//! Needs Chromium, and is skipped, aloud, where there is none.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "these fail a test")]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;
use std::{env, fs, process, thread};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use testkit::{Identity, Receiver, address, post, start, wait_until};

/// A browser takes its time to start, more so on a machine that does a lot else.
const BROWSER_PATIENCE: Duration = Duration::from_secs(300);

/// What npchat-web does to log in, and then it tells the page's server what has come, in order.
const PAGE: &str = r#"<!doctype html><script>
const { jwk, publicKey, relay, count } = SETTINGS;
const bytes = text => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), c => c.charCodeAt(0));
const base64 = bytes => btoa(String.fromCharCode(...new Uint8Array(bytes)))
    .replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
const ecdsa = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
const key = crypto.subtle.importKey("jwk", jwk, ecdsa, false, ["sign"]);
const socket = new WebSocket(relay);
const received = [];
socket.onopen = () => socket.send(JSON.stringify({ get: "challenge" }));
socket.onmessage = async ({ data }) => {
    const { challenge, message } = JSON.parse(data);
    if (challenge) {
        const solution = base64(await crypto.subtle.sign(ecdsa, await key, bytes(challenge.txt)));
        socket.send(JSON.stringify({ publicKey, challenge, solution }));
    } else if (message !== "handshake done" && received.push(message) === count) {
        fetch("/received/" + received.join());
    }
};
</script>"#;

/// Serves the page to whoever asks, and tells which other paths were asked for.
fn serve(page: String) -> (SocketAddr, mpsc::Receiver<String>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let (paths, asked) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (page, paths) = (page.clone(), paths.clone());
            // A browser opens connections ahead and says nothing on them.
            thread::spawn(move || answer(&mut stream.unwrap(), &page, &paths));
        }
    });
    (address, asked)
}

fn answer(stream: &mut TcpStream, page: &str, paths: &mpsc::Sender<String>) {
    let (mut head, mut bytes) = (Vec::new(), [0; 4096]);
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut bytes) {
            Ok(length @ 1..) => head.extend_from_slice(&bytes[..length]),
            _ => return,
        }
    }
    let head = String::from_utf8_lossy(&head);
    let path = head.split(' ').nth(1).unwrap_or_default();
    let body = if path == "/" { page } else { "" };
    // The test may be over.
    let _ = paths.send(path.to_owned());
    let length = body.len();
    let _ = write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
}

/// A browser with a profile of its own, both gone with the test.
struct Browser {
    process: Child,
    profile: PathBuf,
}

impl Browser {
    fn find() -> Option<&'static str> {
        let is_there = |name: &&str| {
            let mut command = Command::new(name);
            let version = command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
            version.status().is_ok_and(|status| status.success())
        };
        ["chromium", "chromium-browser", "google-chrome"]
            .into_iter()
            .find(is_there)
    }

    fn open(program: &str, page: SocketAddr) -> Self {
        let profile = env::temp_dir().join(format!("npchat-browser-{}", process::id()));
        let process = Command::new(program)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
            ])
            .args([
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
            ])
            .args([
                "--disable-dev-shm-usage",
                "--no-proxy-server",
                "--remote-debugging-port=0",
            ])
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg(format!("http://{page}/"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the browser starts");
        Self { process, profile }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        remove(&self.profile);
    }
}

/// The browser's other processes may still be writing.
fn remove(folder: &Path) {
    for _ in 0..100 {
        if fs::remove_dir_all(folder).is_ok() || !folder.exists() {
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

fn page_for(identity: &Identity, relay: SocketAddr, count: usize) -> String {
    let point = URL_SAFE_NO_PAD.decode(&identity.public_key).unwrap();
    let [x, y] = [&point[1..33], &point[33..]].map(|half| URL_SAFE_NO_PAD.encode(half));
    let settings = json!({
        "jwk": { "kty": "EC", "crv": "P-256", "x": x, "y": y, "d": identity.secret() },
        "publicKey": identity.public_key,
        "relay": format!("ws://{relay}/{}", identity.id),
        "count": count,
    });
    PAGE.replace("SETTINGS", &settings.to_string())
}

#[test]
fn a_browser_confirms_by_itself_and_is_sent_nothing_twice() {
    const COUNT: usize = 300;
    let Some(program) = Browser::find() else {
        eprintln!("skipped: no chromium is installed");
        return;
    };
    let server = start(|_| {});
    let identity = Identity::generate();
    let (page, asked) = serve(page_for(&identity, address(&server), COUNT));
    // Some wait for its login, some come after it.
    let post_numbers = |numbers: std::ops::Range<usize>| {
        for number in numbers {
            let message = json!({ "message": number }).to_string();
            assert_eq!(post(address(&server), &identity.id, message).status, 200);
        }
    };
    post_numbers(0..COUNT / 2);
    let browser = Browser::open(program, page);
    wait_until(BROWSER_PATIENCE, "the browser has logged in", || {
        server.totals().logins == 1
    });
    post_numbers(COUNT / 2..COUNT);
    let received = loop {
        let path = asked
            .recv_timeout(BROWSER_PATIENCE)
            .expect("the page tells what it has received");
        if let Some(numbers) = path.strip_prefix("/received/") {
            break numbers.to_owned();
        }
    };
    let expected: Vec<_> = (0..COUNT).map(|number| number.to_string()).collect();
    assert_eq!(received, expected.join(","));
    wait_until(BROWSER_PATIENCE, "all is confirmed", || {
        server.stats().messages == 0 && server.totals().delivered == COUNT as u64
    });

    drop(browser);
    wait_until(BROWSER_PATIENCE, "its session is over", || server.stats().sessions == 0);
    let mut next = Receiver::connect(address(&server), &identity);
    post(address(&server), &identity.id, "end");
    assert_eq!(next.recv_until("end"), Vec::<Vec<u8>>::new());
}
