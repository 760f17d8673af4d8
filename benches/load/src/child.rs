//! A child of this program: the same program again, with a brief of JSON, which reports lines of JSON and ends with its
//! parent.

use std::io::{self, Write};
use std::process::{self, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::{env, thread};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::process::Process;

const ENDED: &str = "it has ended by itself";

/// A child that reports `R`, until this is dropped.
pub(crate) struct Child<R> {
    process: process::Child,
    stdin: Option<ChildStdin>,
    reports: Receiver<R>,
}

impl<R: DeserializeOwned + Send + 'static> Child<R> {
    /// Starts this program again.
    pub(crate) fn start(scenario: &str, brief: &impl Serialize) -> io::Result<Self> {
        let mut child = Command::new(env::current_exe()?)
            .arg(scenario)
            .arg(serde_json::to_string(brief)?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (sender, reports) = mpsc::channel();
        // The thread that measures has no time to wait for a pipe.
        thread::spawn(move || {
            let Some(stdout) = stdout else { return };
            let mut reports = serde_json::Deserializer::from_reader(stdout)
                .into_iter()
                .map_while(Result::ok);
            // It is over when either end is.
            let _ = reports.try_for_each(|report| sender.send(report));
        });
        Ok(Self {
            process: child,
            stdin,
            reports,
        })
    }

    /// Its next report, if there is one yet.
    pub(crate) fn report(&self) -> Result<Option<R>, String> {
        match self.reports.try_recv() {
            Ok(report) => Ok(Some(report)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(ENDED.to_owned()),
        }
    }

    /// Its next report, once there is one.
    pub(crate) fn wait_for_report(&self) -> Result<R, String> {
        self.reports.recv().map_err(|_| ENDED.to_owned())
    }
}

impl<R> Child<R> {
    pub(crate) fn process(&self) -> Process {
        Process::new(self.process.id())
    }

    /// Asks for a report; [`Child::report`] is the answer, in its own time.
    pub(crate) fn ask(&mut self) -> io::Result<()> {
        let stdin = self.stdin.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        stdin.write_all(b"\n")
    }

    /// Ends it, without waiting for its end.
    pub(crate) fn stop(&mut self) {
        // It has ended by itself then.
        let _ = self.process.kill();
    }
}

impl<R> Drop for Child<R> {
    fn drop(&mut self) {
        self.stop();
        let _ = self.process.wait();
    }
}

/// In the child: reports to the parent.
pub(crate) fn report(report: &impl Serialize) {
    if let Ok(line) = serde_json::to_string(report) {
        println!("{line}");
    }
}
