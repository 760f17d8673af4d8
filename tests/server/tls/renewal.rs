//! Certificates that are renewed while the server runs.

use std::fs::File;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{env, fs, process, thread};

use npchat::server::config::CertificateFiles;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, prlimit};
use rustls::DEFAULT_VERSIONS;
use testkit::{
    Daemon, Identity, Line, PATIENCE, RawClient, Receiver, Wire, address, certificate_files, client_config, start,
    wait_until,
};

/// A folder of its own with a certificate and its key, removed with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = env::temp_dir().join(format!("npchat-{name}-{}", process::id()));
        fs::create_dir_all(&folder).unwrap();
        let folder = Self(folder);
        folder.put("localhost");
        folder
    }

    fn files(&self) -> CertificateFiles {
        CertificateFiles {
            certificate: self.0.join("cert.pem"),
            private_key: self.0.join("key.pem"),
        }
    }

    /// Puts in this one of the fixtures, each file at once, as renewing programs do.
    fn put(&self, name: &str) {
        let (from, to) = (certificate_files(name), self.files());
        for (from, to) in [(from.certificate, to.certificate), (from.private_key, to.private_key)] {
            self.replace(&to, &fs::read(from).unwrap());
        }
    }

    fn replace(&self, path: &Path, bytes: &[u8]) {
        let new = self.0.join("new");
        fs::write(&new, bytes).unwrap();
        fs::rename(new, path).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Writes over a file so that its length, its inode and its time of modification stay as they were.
fn write_over(path: &Path, bytes: &[u8]) {
    let was = fs::metadata(path).unwrap();
    let mut bytes = bytes.to_vec();
    bytes.resize(was.len().try_into().unwrap(), b'\n');
    // Two changes within one tick of the kernel's clock have the same time.
    wait_until(PATIENCE, "the clock of the files ticks", || {
        let mut file = File::options().write(true).open(path).unwrap();
        file.write_all(&bytes).unwrap();
        file.set_modified(was.modified().unwrap()).unwrap();
        let is = file.metadata().unwrap();
        assert_eq!(
            (is.ino(), is.len(), is.modified().unwrap()),
            (was.ino(), was.len(), was.modified().unwrap())
        );
        (is.ctime(), is.ctime_nsec()) != (was.ctime(), was.ctime_nsec())
    });
}

/// The certificate that a full handshake shows.
fn shown(address: SocketAddr) -> Vec<u8> {
    let socket = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
    let without_tickets = Arc::new(client_config(DEFAULT_VERSIONS));
    let mut client = RawClient::over_line(Line::tls(socket, &without_tickets), address);
    assert_eq!(client.request("GET /healthz").status, 200);
    client.session().peer_certificates().unwrap()[0].to_vec()
}

fn daemon(folder: &Folder) -> Daemon {
    let files = folder.files();
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    Daemon::start(&[
        "--cert",
        &path(&files.certificate),
        "--privkey",
        &path(&files.private_key),
    ])
}

/// How often the thread that looks at the files has gone to sleep, which it does after each look.
fn sleeps(daemon: &Daemon) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{}/task", daemon.pid().as_raw_nonzero())).unwrap();
    let mut tasks = tasks.map(|task| task.unwrap().path());
    let watch = tasks.find(|task| fs::read_to_string(task.join("comm")).unwrap() == "certificate\n");
    let status = fs::read_to_string(watch.unwrap().join("status")).unwrap();
    let mut lines = status.lines();
    let count = lines.find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    count.unwrap().trim().parse().unwrap()
}

#[test]
fn sighup_renews_the_certificate_and_a_broken_file_leaves_the_old_one() {
    let folder = Folder::new("sighup");
    let daemon = daemon(&folder);
    assert!(daemon.first_line.contains("listening on https://127.0.0.1:"));
    let old = shown(daemon.address);
    let identity = Identity::generate();
    let mut receiver = Receiver::connect_by(Wire::Tls, daemon.address, &identity);

    folder.replace(&folder.files().certificate, b"not a certificate");
    daemon.signal(Signal::HUP);
    let line = daemon.wait_for_line("the certificate stays as it was");
    assert!(line.contains("cert.pem: no certificate in PEM form found"), "{line}");
    assert_eq!(shown(daemon.address), old);

    folder.put("renewed");
    daemon.signal(Signal::HUP);
    daemon.wait_for_line("the certificate has been renewed");
    assert_ne!(shown(daemon.address), old);

    let mut sender = RawClient::connect_by(Wire::Tls, daemon.address);
    assert_eq!(sender.post(&identity.id, "still there").status, 200);
    assert_eq!(receiver.recv_bytes(), b"still there");
    drop((sender, receiver));
    assert_eq!(daemon.finish(), Some(0));
}

#[test]
fn a_named_pipe_in_the_place_of_a_file_does_not_keep_sigterm_from_ending_the_process() {
    let folder = Folder::new("pipe");
    let daemon = daemon(&folder);
    let file = folder.files().private_key;
    fs::remove_file(&file).unwrap();
    if !process::Command::new("mkfifo")
        .arg(&file)
        .status()
        .is_ok_and(|status| status.success())
    {
        eprintln!("SKIPPED: mkfifo is not installed");
        return;
    }
    daemon.signal(Signal::HUP);
    let line = daemon.wait_for_line("the certificate stays as it was");
    assert!(line.contains("key.pem: not a regular file"), "{line}");
    assert_eq!(daemon.finish(), Some(0));
}

#[test]
fn sighup_without_a_certificate_changes_nothing() {
    let daemon = Daemon::start(&[]);
    daemon.signal(Signal::HUP);
    daemon.wait_for_line("there is no certificate to renew");
    assert_eq!(RawClient::connect(daemon.address).request("GET /healthz").status, 200);
    assert_eq!(daemon.finish(), Some(0));
}

#[test]
fn a_change_that_only_shows_in_the_ctime_is_taken_up() {
    let folder = Folder::new("ctime");
    let server = start(|config| config.certificate = Some(folder.files()));
    let address = address(&server);
    let old = shown(address);
    let (from, to) = (certificate_files("renewed"), folder.files());
    write_over(&to.certificate, &fs::read(from.certificate).unwrap());
    write_over(&to.private_key, &fs::read(from.private_key).unwrap());
    wait_until(PATIENCE, "the new certificate is shown", || shown(address) != old);
}

#[test]
fn what_could_not_be_loaded_is_told_once_and_tried_again_though_no_file_changes() {
    let folder = Folder::new("retry");
    let daemon = daemon(&folder);
    let old = shown(daemon.address);
    let limit = |limit| prlimit(Some(daemon.pid()), Resource::Nofile, limit).unwrap();
    let none = Rlimit {
        current: Some(0),
        ..getrlimit(Resource::Nofile)
    };
    let usual = limit(none);
    folder.put("renewed");
    let line = daemon.wait_for_line("certificate");
    assert!(line.contains("the certificate stays as it was"), "{line}");
    assert!(line.contains("Too many open files"), "{line}");
    let before = sleeps(&daemon);
    wait_until(PATIENCE, "it has been tried again", || sleeps(&daemon) >= before + 2);
    limit(usual);
    let line = daemon.wait_for_line("certificate");
    assert!(line.contains("the certificate has been renewed"), "{line}");
    assert_ne!(shown(daemon.address), old);
    assert_eq!(daemon.finish(), Some(0));
}

#[test]
fn changed_files_are_taken_up_under_load_and_nothing_is_dropped() {
    let folder = Folder::new("load");
    let server = start(|config| {
        config.certificate = Some(folder.files());
        // Senders may be as quick as they like, and the receiver as slow.
        config.mailbox_messages = 1 << 24;
        config.mailbox_bytes = 1 << 24;
    });
    let address = address(&server);
    let old = shown(address);
    let identity = Identity::generate();
    let mut receiver = Receiver::connect_by(Wire::Tls, address, &identity);
    let over = Arc::new(AtomicBool::new(false));
    // One keeps its connection, the other shakes hands for each message.
    let senders = [true, false].map(|keeps| {
        let (over, id) = (Arc::clone(&over), identity.id.clone());
        thread::spawn(move || {
            let mut kept = RawClient::connect_by(Wire::Tls, address);
            let mut sent = 0;
            while !over.load(Ordering::Relaxed) {
                if !keeps {
                    kept = RawClient::connect_by(Wire::Tls, address);
                }
                assert_eq!(kept.post(&id, "m").status, 200);
                sent += 1;
            }
            sent
        })
    });
    folder.put("renewed");
    wait_until(PATIENCE, "the new certificate is shown", || {
        receiver.tend();
        shown(address) != old
    });
    over.store(true, Ordering::Relaxed);
    let sent: usize = senders.into_iter().map(|sender| sender.join().unwrap()).sum();
    assert!(sent > 0);
    for _ in 0..sent {
        assert_eq!(receiver.recv_bytes(), b"m");
    }
}
