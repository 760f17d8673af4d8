//! The real program, for what a server in the test's own process can't show: signals, exit codes, file limits.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{self, Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver as Lines};
use std::{env, fs, iter, thread};

use rustix::process::{Pid, Signal, kill_process};

use super::{Wire, certificate_files};
use crate::{PATIENCE, wait_until};

/// A loopback address at which nothing listens, for a program that can't report which one it has taken. Not
/// 127.0.0.1, where the system might give its port to another test.
pub fn free_address() -> SocketAddr {
    let [.., high, low] = process::id().to_be_bytes();
    let listener = TcpListener::bind((Ipv4Addr::new(127, 1, high, low), 0)).unwrap();
    listener.local_addr().unwrap()
}

/// Where cargo puts it: beside the folder of this test's program.
fn program() -> PathBuf {
    let test = env::current_exe().unwrap();
    test.ancestors().nth(2).unwrap().join("npchatd")
}

/// The real program, ended with the test.
pub struct Daemon {
    child: Child,
    pub address: SocketAddr,
    /// What it told when it had started.
    pub first_line: String,
    log: Lines<String>,
}

impl Daemon {
    /// Starts it on a free port of loopback with these options, and two workers if they say nothing of that.
    pub fn start(options: &[&str]) -> Self {
        Self::run(Command::new(program()).args(options))
    }

    /// Like [`Daemon::start`], by a command that ends in running the program.
    pub fn run(command: &mut Command) -> Self {
        command.stderr(Stdio::piped());
        let mut child = Self::spawn(command, ([127, 0, 0, 1], 0).into());
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let (lines, log) = mpsc::channel();
        thread::spawn(move || {
            let next_line = || {
                let mut line = String::new();
                (stderr.read_line(&mut line).ok()? > 0).then_some(line)
            };
            // The test may have ended and its receiver with it.
            let _ = iter::from_fn(next_line).try_for_each(|line| lines.send(line));
        });
        let mut daemon = Self {
            child,
            address: ([127, 0, 0, 1], 0).into(),
            first_line: String::new(),
            log,
        };
        let line = daemon.wait_for_line("listening on http");
        let (_, rest) = line.split_once("://").unwrap();
        let (address, _) = rest
            .split_once([',', ' '])
            .expect("the workers or another address follow");
        daemon.address = address.parse().unwrap();
        daemon.first_line = line;
        daemon
    }

    /// Like [`Daemon::run`], at this address, with the stderr that the command gives it: the log isn't read.
    pub fn run_unheard(command: &mut Command, address: SocketAddr) -> Self {
        let mut daemon = Self {
            child: Self::spawn(command, address),
            address,
            first_line: String::new(),
            log: mpsc::channel().1,
        };
        wait_until(PATIENCE, "the program listens", || {
            assert_eq!(daemon.child.try_wait().unwrap(), None, "it goes on running");
            TcpStream::connect(address).is_ok()
        });
        daemon
    }

    fn spawn(command: &mut Command, address: SocketAddr) -> Child {
        command.args(["--listen", &address.to_string()]);
        if !command.get_args().any(|argument| argument == "--workers") {
            command.args(["--workers", "2"]);
        }
        if Wire::here() == Wire::Tls {
            let files = certificate_files("localhost");
            command.arg("--cert").arg(files.certificate);
            command.arg("--privkey").arg(files.private_key);
        }
        for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("NPCHAT_")) {
            command.env_remove(name);
        }
        command.env("NPCHAT_LOG", "info").spawn().expect("the program starts")
    }

    /// Waits for a line of the log that has this in it.
    pub fn wait_for_line(&self, text: &str) -> String {
        loop {
            let line = self.log.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|error| panic!("no line with {text:?}: {error}"));
            if line.contains(text) {
                return line;
            }
        }
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Its resident memory in bytes: `VmRSS` now, `VmHWM` at its highest.
    pub fn memory(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid().as_raw_nonzero())).unwrap();
        let mut lines = status.lines();
        let value = lines.find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        let kib = value.and_then(|value| value.trim().strip_suffix(" kB"));
        kib.and_then(|kib| kib.parse::<u64>().ok()).expect("a field in kB") * 1024
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("the program runs");
    }

    /// Ends it in order, and tells its exit code.
    pub fn finish(self) -> Option<i32> {
        self.signal(Signal::TERM);
        self.exit_code()
    }

    /// All that it logs until it ends, which it must have been told to.
    pub fn rest_of_log(&self) -> String {
        iter::from_fn(|| self.log.recv_timeout(PATIENCE).ok()).collect()
    }

    /// Waits for the end. `None` if a signal was the end.
    pub fn exit_code(mut self) -> Option<i32> {
        let mut status = None;
        wait_until(PATIENCE, "the program has ended", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.and_then(|status| status.code())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It has ended already, unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
