//! What Linux tells of a process: its CPU time, its memory, its worker threads.
//!
//! The figures are the kernel's own; what they are divided by is for the scenarios to say.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use std::{fs, io};

use rustix::io::Errno;
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
    fn this_process_has_memory_and_threads_that_took_time() {
        let process = Process::new(std::process::id());
        assert!(process.resident_kib().expect("it is there") > 0);
        assert!(!process.cpu().expect("it is there").0.is_empty());
        assert!(Process::new(0).cpu().is_err());
    }
}
