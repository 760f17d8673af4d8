//! What Linux tells of a process: its CPU time, its memory, its worker threads.
//!
//! The figures are the kernel's own; what they are divided by is for the scenarios to say.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;
use std::{fs, io, process};

/// A running process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Process(u32);

impl Process {
    /// The process with this id.
    pub(crate) fn new(pid: u32) -> Self {
        Self(pid)
    }

    /// This program itself.
    pub(crate) fn current() -> Self {
        Self(process::id())
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
