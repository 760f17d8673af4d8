//! What Linux tells of a process: its CPU time, its memory, its worker threads.
//!
//! The figures are the kernel's own; what they are divided by is for the scenarios to say.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use std::{fs, io};

use rustix::time::{ClockId, clock_gettime};

use crate::bench::report::{Section, as_f64};

/// A running process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Process(u32);

impl Process {
    /// The process with this id.
    pub(crate) fn new(pid: u32) -> Self {
        Self(pid)
    }

    /// CPU time that the threads of now have taken so far, in user and kernel mode.
    pub(crate) fn cpu(self) -> io::Result<Duration> {
        let mut nanos = 0;
        for file in self.thread_files("schedstat")? {
            // "<ns on a core> <ns waiting for one> <time slices>"
            let on_core = file.split_ascii_whitespace().next();
            nanos += on_core
                .and_then(|field| field.parse::<u64>().ok())
                .ok_or(ErrorKind::InvalidData)?;
        }
        Ok(Duration::from_nanos(nanos))
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
        Ok(names.iter().filter(|name| name.starts_with("worker-")).count())
    }

    fn thread_files(self, name: &str) -> io::Result<Vec<String>> {
        let mut texts = Vec::new();
        for thread in fs::read_dir(self.path("task"))? {
            match fs::read_to_string(thread?.path().join(name)) {
                Ok(text) => texts.push(text),
                // It has ended since the directory was read.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(texts)
    }

    fn path(self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.0))
    }
}

/// CPU time of a server, if its process is known, and of this program.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cpu {
    at: Instant,
    server: Option<Duration>,
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
        let servers = self.server.zip(before.server);
        Spent {
            seconds: (self.at - before.at).as_secs_f64(),
            server: servers.map(|(after, before)| after.saturating_sub(before).as_secs_f64()),
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
