//! Renews the certificate of a running server: when its files have changed, and when it is asked to.
//!
//! What a good certificate is is [`crate::certificate`]'s to say. Connections that there are don't notice.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use crate::certificate::{self, CurrentCertificate};
use crate::config::CertificateFiles;
use crate::limits::CERTIFICATE_LOOK_SECONDS;

/// The thread that looks at the files. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Renewal {
    words: Sender<Word>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread is told.
#[derive(Debug)]
enum Word {
    Renew,
    End,
}

/// What the files are by now, as far as can be told without reading them.
pub(super) type Stamps = [Option<Stamp>; 2];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
    /// Of the mode and the owner too: who may read the file by now.
    changed: (i64, i64),
}

impl Renewal {
    /// Renews `current`, which was loaded from these files after `loaded` was taken of them.
    ///
    /// # Errors
    /// No thread can be started.
    pub(super) fn start(files: CertificateFiles, loaded: Stamps, current: Arc<CurrentCertificate>) -> io::Result<Self> {
        let (words, heard) = mpsc::channel();
        let watch = Watch {
            seen: loaded,
            tried: loaded,
            failure: None,
            files,
            current,
        };
        let thread = thread::Builder::new()
            .name("certificate".to_owned())
            .spawn(move || watch.run(&heard))?;
        Ok(Self {
            words,
            thread: Some(thread),
        })
    }

    /// What makes the thread load the files at once, for whoever gets the order to.
    pub(super) fn order(&self) -> impl Fn() + Send + 'static {
        let words = self.words.clone();
        // The one way for this to fail is a server that has stopped.
        move || drop(words.send(Word::Renew))
    }
}

impl Drop for Renewal {
    fn drop(&mut self) {
        // It is told, or it has panicked and is gone.
        let _ = self.words.send(Word::End);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

struct Watch {
    files: CertificateFiles,
    current: Arc<CurrentCertificate>,
    /// What was there at the last look.
    seen: Stamps,
    /// What was there at the last try to load it.
    tried: Stamps,
    /// Why that try failed, as it has been told.
    failure: Option<String>,
}

impl Watch {
    fn run(mut self, heard: &Receiver<Word>) {
        loop {
            match heard.recv_timeout(Duration::from_secs(CERTIFICATE_LOOK_SECONDS)) {
                Ok(Word::Renew) => {
                    // Whoever asks is answered.
                    self.failure = None;
                    self.renew();
                }
                Err(RecvTimeoutError::Timeout) => self.look(),
                Ok(Word::End) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// A change that was there at the last look too is complete: whoever writes two files writes them one after the other.
    /// What has failed is tried again, for not all that stands in the way shows in the files.
    fn look(&mut self) {
        let now = stamps(&self.files);
        let is_settled = std::mem::replace(&mut self.seen, now) == now;
        if is_settled && (now != self.tried || self.failure.is_some()) {
            self.renew();
        }
    }

    fn renew(&mut self) {
        let now = stamps(&self.files);
        let is_same = std::mem::replace(&mut self.tried, now) == now;
        match certificate::load(&self.files, SystemTime::now()) {
            Ok(certified) => {
                self.current.renew(certified);
                self.failure = None;
                tracing::info!("the certificate has been renewed");
            }
            Err(error) => {
                let failure = Some(error.to_string());
                if !is_same || failure != self.failure {
                    tracing::error!("the certificate stays as it was: {error}");
                }
                self.failure = failure;
            }
        }
    }
}

/// What the files are now.
pub(super) fn stamps(files: &CertificateFiles) -> Stamps {
    let stamp = |path: &Path| fs::metadata(path).ok().as_ref().map(Stamp::of);
    [stamp(&files.certificate), stamp(&files.private_key)]
}

impl Stamp {
    fn of(file: &Metadata) -> Self {
        Self {
            device: file.dev(),
            inode: file.ino(),
            length: file.len(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        }
    }
}
