//! What Linux reports of a process: its CPU time, its memory, its worker threads.
//!
//! The figures are the kernel's own; what they are divided by is decided by the scenarios.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::{Duration, Instant};

use procfs::process::{FDTarget, Process as Entry, Task};
use procfs::{ProcError, ProcResult, net::TcpState};
use rustix::time::{ClockId, clock_gettime};

use crate::latency_histogram::as_f64;
use crate::report::Section;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Process(u32);

impl Process {
    pub(crate) fn new(pid: u32) -> Self {
        Self(pid)
    }

    /// The TCP ports that it listens on, as a server must. `None`: it is another user's, and can't be asked.
    ///
    /// # Errors
    /// It can't be a server: it isn't there, or it listens on none.
    pub(crate) fn listening_ports(self) -> Result<Option<BTreeSet<u16>>, String> {
        let Self(pid) = self;
        let named = self.entry().and_then(|entry| Ok((entry.stat()?.comm, entry)));
        let (name, entry) = named.map_err(|_| format!("there is no process {pid}"))?;
        let Ok(files) = entry.fd() else {
            return Ok(None);
        };
        let sockets: HashSet<_> = files
            .filter_map(|file| match file.ok()?.target {
                FDTarget::Socket(socket) => Some(socket),
                _ => None,
            })
            .collect();
        let rows = [entry.tcp(), entry.tcp6()]
            .into_iter()
            .flat_map(Result::unwrap_or_default);
        let ports: BTreeSet<_> = rows
            .filter(|row| row.state == TcpState::Listen && sockets.contains(&row.inode))
            .map(|row| row.local_address.port())
            .collect();
        if ports.is_empty() {
            return Err(format!(
                "process {pid} ({name:?}) listens on no TCP port, so it is no server"
            ));
        }
        Ok(Some(ports))
    }

    /// CPU time that each thread of now has taken so far, in user and kernel mode.
    pub(crate) fn cpu(self) -> Result<ThreadTimes, String> {
        let times =
            self.of_threads(|thread| Ok((thread.tid, Duration::from_nanos(thread.schedstat()?.sum_exec_runtime))));
        Ok(ThreadTimes(times?.into_iter().collect()))
    }

    /// How many threads are named as a server's workers are.
    pub(crate) fn workers(self) -> Result<usize, String> {
        let names = self.of_threads(|thread| Ok(thread.stat()?.comm))?;
        Ok(names.iter().filter(|name| name.starts_with("worker-")).count())
    }

    fn of_threads<T>(self, look: impl Fn(&Task) -> ProcResult<T>) -> Result<Vec<T>, String> {
        let threads = self
            .entry()
            .and_then(|entry| entry.tasks())
            .map_err(|error| error.to_string())?;
        let looks = threads.filter_map(|thread| match thread.and_then(|thread| look(&thread)) {
            // It has ended since the list was read.
            Err(ProcError::NotFound(_)) => None,
            found => Some(found.map_err(|error| error.to_string())),
        });
        looks.collect()
    }

    fn entry(self) -> ProcResult<Entry> {
        Entry::new(i32::try_from(self.0).map_err(|_| ProcError::NotFound(None))?)
    }
}

/// CPU time by thread: the kernel's sum over a process has steps of 10 ms.
#[derive(Debug, Clone)]
pub(crate) struct ThreadTimes(BTreeMap<i32, Duration>);

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
    pub(crate) fn now(server: Option<Process>) -> Result<Self, String> {
        let server = server.map(Process::cpu).transpose();
        Ok(Self {
            at: Instant::now(),
            server: server.map_err(|error| format!("the server's process: {error}"))?,
            // Of the threads that have ended, too.
            client: clock_gettime(ClockId::ProcessCPUTime).try_into().unwrap_or_default(),
        })
    }

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
    server: Option<f64>,
    client: f64,
}

impl Spent {
    /// CPU time of the server for each of `count` things, in microseconds.
    pub(crate) fn micros_each(&self, count: u64) -> Option<f64> {
        self.server
            .filter(|_| count > 0)
            .map(|server| server * 1e6 / as_f64(count))
    }

    /// Reports how many cores the two took.
    pub(crate) fn report_cores(&self, section: &mut Section) {
        if let Some(server) = self.server {
            section.measure("server_cores", server / self.seconds);
        }
        section.measure("client_cores", self.client / self.seconds);
    }
}

/// Reports what each of `count` things takes of the server's resident memory, which had grown by them from `before` to
/// now.
pub(crate) fn report_memory(
    section: &mut Section,
    thing: &str,
    count: usize,
    process: Option<Process>,
    before: Option<u64>,
) -> Result<(), String> {
    if let Some((before, after)) = before.zip(resident_kib(process)?) {
        let each = as_f64(after.saturating_sub(before)) * 1024.0 / as_f64(count.max(1) as u64);
        section.measure(&format!("resident_bytes_per_{thing}"), each);
        section.count("resident_before_kib", before);
        section.count("resident_with_them_kib", after);
    }
    Ok(())
}

/// Resident memory of the process in KiB, if it is known.
pub(crate) fn resident_kib(process: Option<Process>) -> Result<Option<u64>, String> {
    let Some(process) = process else { return Ok(None) };
    let status = process.entry().and_then(|entry| entry.status());
    let resident = status.map(|status| status.vmrss).map_err(|error| error.to_string());
    let resident = resident.and_then(|kib| kib.ok_or_else(|| "it has no memory".to_owned()));
    resident
        .map(Some)
        .map_err(|error| format!("the server's process: {error}"))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::process::{self, Command};

    use super::*;

    #[test]
    fn a_thread_that_ended_takes_nothing_back_from_the_others() {
        let times = |all: &[(i32, u64)]| {
            let all = all
                .iter()
                .map(|(thread, seconds)| (*thread, Duration::from_secs(*seconds)));
            ThreadTimes(all.collect())
        };
        let before = times(&[(1, 10), (2, 20)]);
        let after = times(&[(2, 25), (3, 1)]);
        assert!((after.seconds_since(&before) - 6.0).abs() < f64::EPSILON);
    }

    #[test]
    fn a_process_that_listens_may_be_a_server_and_another_is_none() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let ports = Process::new(process::id()).listening_ports();
        assert!(ports.expect("it listens").expect("it is ours").contains(&port));
        let why = Process::new(u32::MAX).listening_ports();
        assert!(why.is_err_and(|why| why.contains("no process")));
        let mut other = Command::new("sleep").arg("1000").spawn().expect("every system has it");
        let why = Process::new(other.id()).listening_ports();
        other.kill().expect("it is ours");
        other.wait().expect("it is ours");
        assert!(why.is_err_and(|why| why.contains("listens on no TCP port")));
    }

    #[test]
    fn this_process_has_memory_and_threads_that_took_time() {
        let process = Process::new(process::id());
        assert!(resident_kib(Some(process)).expect("it is there") > Some(0));
        assert!(!process.cpu().expect("it is there").0.is_empty());
        assert!(Process::new(0).cpu().is_err());
    }
}
