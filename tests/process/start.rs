//! How the program starts in surroundings that lack something, and what it is once it has started.

#![expect(clippy::print_stderr, reason = "a skipped test is reported")]

use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{env, fs, process};

use rustix::process::{Pid, Signal, getuid, kill_process};
use testkit::{Daemon, Identity, PATIENCE, RawClient, Receiver, free_address, post, wait_until};

const PROGRAM: &str = env!("CARGO_BIN_EXE_npchatd");
/// Without any privilege, by custom.
const NOBODY: u32 = 65534;

/// Mail goes through it, and it ends in order.
fn serves_and_stops(daemon: Daemon) {
    let alice = Identity::generate();
    let mut receiver = Receiver::connect(daemon.address, &alice);
    assert_eq!(post(daemon.address, &alice.id, "hello").status, 200);
    assert_eq!(receiver.recv_bytes(), b"hello");
    receiver.close();
    assert_eq!(daemon.finish(), Some(0));
}

/// Whether the command can be run and succeeds; that it can't is reported.
fn works(command: &mut Command) -> bool {
    let output = command.stdin(Stdio::null()).output();
    let works = output.as_ref().is_ok_and(|output| output.status.success());
    if !works {
        eprintln!("SKIPPED: {command:?}: {output:?}");
    }
    works
}

#[test]
fn it_starts_through_the_dynamic_loader() {
    let loaders = ["/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"];
    let Some(loader) = loaders.into_iter().find(|loader| Path::new(loader).exists()) else {
        eprintln!("SKIPPED: there is none of {loaders:?}");
        return;
    };
    if works(Command::new(loader).args([PROGRAM, "--version"])) {
        serves_and_stops(Daemon::run(Command::new(loader).arg(PROGRAM)));
    }
}

#[test]
fn it_starts_where_proc_is_empty() {
    let hidden = ["--mount", "--map-root-user", "sh", "-c"];
    let hide = "mount -t tmpfs none /proc && test ! -e /proc/self && exec \"$0\" \"$@\"";
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(hidden).arg(hide);
        command
    };
    if works(unshare().arg("true")) {
        let check = unshare().args([PROGRAM, "--check"]).output().unwrap();
        let settings = String::from_utf8(check.stdout).unwrap();
        assert!(settings.contains("memory = 256MiB\n"), "{settings} {:?}", check.stderr);
        serves_and_stops(Daemon::run(unshare().arg(PROGRAM)));
    }
}

#[test]
fn with_its_standard_streams_closed_it_logs_into_no_connection() {
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$0\" \"$@\" <&- >&- 2>&-", PROGRAM, "--log", "trace"]);
    let daemon = Daemon::run_unheard(&mut command, free_address());
    let mut clients: Vec<_> = (0..4).map(|_| RawClient::connect(daemon.address)).collect();
    for client in &mut clients {
        // Each refusal is logged.
        assert_eq!(client.request("POST /healthz").status, 405);
    }
    daemon.signal(Signal::TERM);
    for client in &mut clients {
        assert!(client.read_to_end().is_empty());
    }
    drop(clients);
    assert_eq!(daemon.exit_code(), Some(0));
}

/// The file at `$0` takes the place of the resolver's configuration.
const RESOLVE_BY: &str = "mount --bind \"$0\" /etc/resolv.conf && exec \"$@\"";

#[test]
fn a_signal_ends_a_start_that_waits_for_the_network() {
    // A name server that answers nobody.
    let [.., high, low] = process::id().to_be_bytes();
    let address = Ipv4Addr::new(127, 2, high, low);
    let Ok(silent) = UdpSocket::bind((address, 53)) else {
        eprintln!("SKIPPED: port 53 can't be taken");
        return;
    };
    silent.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    let resolver = env::temp_dir().join(format!("npchat-resolver-{}", process::id()));
    // Longer than the test is patient.
    fs::write(
        &resolver,
        format!("nameserver {address}\noptions timeout:30 attempts:5\n"),
    )
    .unwrap();
    let unshare = || {
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--map-root-user", "sh", "-c", RESOLVE_BY])
            .arg(&resolver);
        command
    };
    if works(unshare().arg("true")) {
        let mut child = unshare()
            .args([PROGRAM, "--listen", "slow.example:8000"])
            .spawn()
            .unwrap();
        let (mut is_asked, mut status) = (false, None);
        wait_until(PATIENCE, "the name is asked for", || {
            is_asked = silent.recv(&mut [0; 512]).is_ok();
            status = child.try_wait().unwrap();
            is_asked || status.is_some()
        });
        if is_asked {
            kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
            let mut ends = || child.try_wait().unwrap().inspect(|end| status = Some(*end)).is_some();
            wait_until(PATIENCE, "it has ended", &mut ends);
            assert_eq!(status.and_then(|status| status.code()), Some(128 + 15));
        } else {
            eprintln!("SKIPPED: names aren't asked for there: {status:?}");
        }
    }
    fs::remove_file(resolver).unwrap();
}

#[test]
fn it_leaves_no_core_dump_and_shows_its_memory_to_no_other_process_of_its_user() {
    let mut command = Command::new(PROGRAM);
    if getuid().is_root() {
        // Root's own processes look the same either way.
        command.uid(NOBODY).gid(NOBODY).current_dir("/");
        let mut can_run = Command::new(PROGRAM);
        if !works(can_run.uid(NOBODY).gid(NOBODY).current_dir("/").arg("--version")) {
            return;
        }
    }
    let daemon = Daemon::run(&mut command);
    let process = format!("/proc/{}", daemon.pid().as_raw_nonzero());
    let owner = |file: &str| fs::metadata(format!("{process}/{file}")).map(|metadata| metadata.uid());
    let user = owner("").unwrap();
    assert_ne!(user, 0);
    // The kernel has it so for a process that isn't dumpable (proc(5)).
    assert_ne!(owner("mem").unwrap(), user);
    // What the load generator and operators look at can still be read.
    for file in ["stat", "status", "limits"] {
        assert!(!fs::read_to_string(format!("{process}/{file}")).unwrap().is_empty());
    }
    assert!(daemon.memory("VmRSS") > 0);
    serves_and_stops(daemon);
}

#[test]
fn connections_that_are_as_few_as_asked_for_are_nothing_to_warn_of() {
    let daemon = Daemon::start(&["--connections", "200", "--memory", "4MiB"]);
    daemon.signal(Signal::TERM);
    let log = daemon.rest_of_log();
    assert!(!log.contains("WARN"), "{log}");
}
