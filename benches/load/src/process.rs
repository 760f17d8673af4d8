//! What Linux tells of a process: its CPU time, its memory, its worker threads.
//!
//! The figures are the kernel's own; what they are divided by is for the scenarios to say.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use std::{fs, io};

use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};

use crate::report::{Section, as_f64};

/// A running process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Process(u32);

impl Process {
    /// The process with this id.
    pub(crate) fn new(pid: u32) -> Self {
        Self(pid)
    }

    /// The TCP ports that it listens on, as a server must. `None`: it is another user's, and can't be asked.
    ///
    /// # Errors
    /// It can't be a server: it isn't there, or it listens on none.
    pub(crate) fn listening_ports(self) -> Result<Option<BTreeSet<u16>>, String> {
        let Self(pid) = self;
        let name = fs::read_to_string(self.path("comm")).map_err(|_| format!("there is no process {pid}"))?;
        let Ok(files) = fs::read_dir(self.path("fd")) else {
            return Ok(None);
        };
        let sockets: HashSet<_> = files
            .filter_map(|file| fs::read_link(file.ok()?.path()).ok())
            .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
            .collect();
        let tables = ["net/tcp", "net/tcp6"].map(|table| fs::read_to_string(self.path(table)).unwrap_or_default());
        let ports: BTreeSet<_> = tables
            .iter()
            .flat_map(|table| table.lines())
            .filter_map(listener)
            .filter(|(_, socket)| sockets.contains(*socket))
            .map(|(port, _)| port)
            .collect();
        if ports.is_empty() {
            let name = name.trim_end();
            return Err(format!(
                "process {pid} ({name:?}) listens on no TCP port, so it is no server"
            ));
        }
        Ok(Some(ports))
    }

    /// CPU time that each thread of now has taken so far, in user and kernel mode.
    pub(crate) fn cpu(self) -> io::Result<ThreadTimes> {
        let mut times = BTreeMap::new();
        for (thread, file) in self.thread_files("schedstat")? {
            // "<ns on a core> <ns waiting for one> <time slices>"
            let on_core = file.split_ascii_whitespace().next();
            let nanos = on_core.and_then(|field| field.parse().ok());
            times.insert(thread, Duration::from_nanos(nanos.ok_or(ErrorKind::InvalidData)?));
        }
        Ok(ThreadTimes(times))
    }

    /// Resident memory in KiB.
    pub(crate) fn resident_kib(self) -> io::Result<u64> {
        let status = fs::read_to_string(self.path("status"))?;
        status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok())
            .ok_or_else(|| ErrorKind::InvalidData.into())
    }

    /// How many threads are named as a server's workers are.
    pub(crate) fn workers(self) -> io::Result<usize> {
        let names = self.thread_files("comm")?;
        Ok(names.iter().filter(|(_, name)| name.starts_with("worker-")).count())
    }

    /// Of each thread, by its id.
    fn thread_files(self, name: &str) -> io::Result<Vec<(OsString, String)>> {
        let mut texts = Vec::new();
        for thread in fs::read_dir(self.path("task"))? {
            let thread = thread?;
            match fs::read_to_string(thread.path().join(name)) {
                Ok(text) => texts.push((thread.file_name(), text)),
                // It has ended since the directory was read, or the file was opened.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(texts)
    }

    fn path(self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.0))
    }
}

/// Port and socket of a row of `/proc/<pid>/net/tcp` that is of a listener: "<number>: <address>:<port> <remote>
/// <state> <queues> <timer> <retransmits> <user> <timeout> <socket> …", in hexadecimal.
fn listener(row: &str) -> Option<(u16, &str)> {
    const LISTEN: &str = "0A";
    let fields: Vec<_> = row.split_ascii_whitespace().collect();
    let [_, local, _, LISTEN, _, _, _, _, _, socket, ..] = fields[..] else {
        return None;
    };
    let (_, port) = local.rsplit_once(':')?;
    Some((u16::from_str_radix(port, 16).ok()?, socket))
}

/// CPU time by thread: the kernel's sum over a process has steps of 10 ms.
#[derive(Debug, Clone)]
pub(crate) struct ThreadTimes(BTreeMap<OsString, Duration>);

impl ThreadTimes {
    /// What was taken since then, in seconds, but for threads that have ended meanwhile.
    pub(crate) fn seconds_since(&self, before: &Self) -> f64 {
        let taken = self.0.iter().map(|(thread, time)| {
            let before = before.0.get(thread).copied().unwrap_or_default();
            time.saturating_sub(before)
        });
        taken.sum::<Duration>().as_secs_f64()
    }
}

/// CPU time of a server, if its process is known, and of this program.
#[derive(Debug, Clone)]
pub(crate) struct Cpu {
    at: Instant,
    server: Option<ThreadTimes>,
    client: Duration,
}

impl Cpu {
    /// So far.
    ///
    /// # Errors
    /// A process can't be looked at.
    pub(crate) fn now(server: Option<Process>) -> Result<Self, String> {
        let server = server.map(Process::cpu).transpose();
        Ok(Self {
            at: Instant::now(),
            server: server.map_err(|error| format!("the server's process: {error}"))?,
            // Of the threads that have ended, too.
            client: clock_gettime(ClockId::ProcessCPUTime).try_into().unwrap_or_default(),
        })
    }

    /// What was taken since then.
    pub(crate) fn since(&self, before: &Self) -> Spent {
        let servers = self.server.as_ref().zip(before.server.as_ref());
        Spent {
            seconds: (self.at - before.at).as_secs_f64(),
            server: servers.map(|(after, before)| after.seconds_since(before)),
            client: self.client.saturating_sub(before.client).as_secs_f64(),
        }
    }
}

/// What was taken between two moments, all in seconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spent {
    pub(crate) seconds: f64,
    pub(crate) server: Option<f64>,
    pub(crate) client: f64,
}

impl Spent {
    /// CPU time of the server for each of `count` things, in microseconds.
    pub(crate) fn micros_each(&self, count: u64) -> Option<f64> {
        self.server
            .filter(|_| count > 0)
            .map(|server| server * 1e6 / as_f64(count))
    }

    /// Tells how many cores the two took.
    pub(crate) fn tell_cores(&self, section: &mut Section) {
        if let Some(server) = self.server {
            section.measure("server_cores", server / self.seconds);
        }
        section.measure("client_cores", self.client / self.seconds);
    }
}

/// Tells what each of `count` things takes of the server's resident memory, which had grown by them from `before` to `after`.
pub(crate) fn tell_memory(section: &mut Section, thing: &str, count: usize, before: Option<u64>, after: Option<u64>) {
    if let Some((before, after)) = before.zip(after) {
        let each = as_f64(after.saturating_sub(before)) * 1024.0 / as_f64(count.max(1) as u64);
        section.measure(&format!("resident_bytes_per_{thing}"), each);
        section.count("resident_before_kib", before);
        section.count("resident_with_them_kib", after);
    }
}

/// Resident memory of the process in KiB, if it is known.
///
/// # Errors
/// It can't be looked at.
pub(crate) fn resident_kib(process: Option<Process>) -> Result<Option<u64>, String> {
    let resident = process.map(Process::resident_kib).transpose();
    resident.map_err(|error| format!("the server's process: {error}"))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::process::Command;

    use super::*;

    #[test]
    fn a_thread_that_ended_takes_nothing_back_from_the_others() {
        let times = |all: &[(&str, u64)]| {
            let all = all
                .iter()
                .map(|(thread, seconds)| (OsString::from(thread), Duration::from_secs(*seconds)));
            ThreadTimes(all.collect())
        };
        let before = times(&[("1", 10), ("2", 20)]);
        let after = times(&[("2", 25), ("3", 1)]);
        assert!((after.seconds_since(&before) - 6.0).abs() < f64::EPSILON);
    }

    #[test]
    fn a_process_that_listens_may_be_a_server_and_another_is_none() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let ports = Process::new(std::process::id()).listening_ports();
        assert!(ports.expect("it listens").expect("it is ours").contains(&port));
        assert!(
            Process::new(u32::MAX)
                .listening_ports()
                .is_err_and(|why| why.contains("no process"))
        );
        let mut other = Command::new("sleep").arg("1000").spawn().expect("every system has it");
        let why = Process::new(other.id()).listening_ports();
        other.kill().expect("it is ours");
        other.wait().expect("it is ours");
        assert!(why.is_err_and(|why| why.contains("listens on no TCP port")));
    }

    #[test]
    fn this_process_has_memory_and_threads_that_took_time() {
        let process = Process::new(std::process::id());
        assert!(process.resident_kib().expect("it is there") > 0);
        assert!(!process.cpu().expect("it is there").0.is_empty());
        assert!(Process::new(0).cpu().is_err());
    }
}
