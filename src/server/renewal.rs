//! Renews the certificate of a running server: when its files have changed, and when it is asked to.
//!
//! What a good certificate is is [`crate::server::certificate`]'s to say. Connections that there are don't notice.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use crate::server::certificate::{self, CertificateError, CurrentCertificate, Loaded, Remaining, Validity};
use crate::server::config::CertificateFiles;
use crate::server::limits::{CERTIFICATE_LOOK_SECONDS, CERTIFICATE_THREAD_END_MILLIS};

/// The thread that looks at the files. It ends when this is dropped, unless a file server that doesn't answer holds it.
#[derive(Debug)]
pub(super) struct Renewal {
    orders: Sender<Order>,
    /// Disconnected at the end of the thread.
    ended: Mutex<Receiver<()>>,
}

/// What the thread is told.
#[derive(Debug)]
enum Order {
    Renew,
    End,
}

/// What the files are by now, as far as can be known without reading them.
pub(super) type Stamps = [Option<Stamp>; 2];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
    /// Of the mode and the owner too: which users may read the file by now.
    changed: (i64, i64),
}

impl Renewal {
    /// Renews `current`, which has this validity and was loaded from these files after `loaded` was taken of them.
    ///
    /// # Errors
    /// No thread can be started.
    pub(super) fn start(
        files: CertificateFiles,
        loaded: Stamps,
        current: Arc<CurrentCertificate>,
        validity: Validity,
    ) -> io::Result<Self> {
        let watch = Watch {
            seen: loaded,
            tried: loaded,
            failure: None,
            files,
            current,
            validity,
            announced: Remaining::Enough,
        };
        Self::spawn(|received| watch.run(&received))
    }

    fn spawn(work: impl FnOnce(Receiver<Order>) + Send + 'static) -> io::Result<Self> {
        let (orders, received) = mpsc::channel();
        let (alive, ended) = mpsc::channel();
        thread::Builder::new().name("certificate".to_owned()).spawn(move || {
            work(received);
            drop(alive);
        })?;
        let ended = Mutex::new(ended);
        Ok(Self { orders, ended })
    }

    /// What makes the thread load the files at once.
    pub(super) fn order(&self) -> impl Fn() + Send + 'static + use<> {
        let orders = self.orders.clone();
        // The one way for this to fail is a server that has stopped.
        move || drop(orders.send(Order::Renew))
    }
}

impl Drop for Renewal {
    fn drop(&mut self) {
        // It takes the order, or it has panicked.
        let _ = self.orders.send(Order::End);
        let patience = Duration::from_millis(CERTIFICATE_THREAD_END_MILLIS);
        let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
        if ended.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("the certificate's files don't answer: they are not waited for");
        }
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
    /// Of the current certificate.
    validity: Validity,
    /// What has been logged of its end.
    announced: Remaining,
}

impl Watch {
    fn run(mut self, received: &Receiver<Order>) {
        self.announce_start(SystemTime::now());
        loop {
            self.announce_end(SystemTime::now());
            match received.recv_timeout(Duration::from_secs(CERTIFICATE_LOOK_SECONDS)) {
                Ok(Order::Renew) => {
                    // A renewal that was asked for is logged, whatever comes of it.
                    self.failure = None;
                    self.renew(SystemTime::now());
                }
                Err(RecvTimeoutError::Timeout) => self.look(SystemTime::now()),
                Ok(Order::End) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// A change that was there at the last look too is complete: two files are written one after the
    /// other. What has failed is tried again, for not all that stands in the way shows in the files.
    fn look(&mut self, now: SystemTime) {
        let found = stamps(&self.files);
        let is_settled = std::mem::replace(&mut self.seen, found) == found;
        if is_settled && (found != self.tried || self.failure.is_some()) {
            self.renew(now);
        }
    }

    fn renew(&mut self, now: SystemTime) {
        let found = stamps(&self.files);
        let is_same = std::mem::replace(&mut self.tried, found) == found;
        match self.load(now) {
            Ok(loaded) => {
                self.current.renew(loaded.certified);
                self.validity = loaded.validity;
                self.announced = Remaining::Enough;
                self.failure = None;
                tracing::info!("the certificate has been renewed");
                self.announce_start(now);
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

    /// One that isn't valid yet doesn't take the place of one that is: it is tried again until it may.
    fn load(&self, now: SystemTime) -> Result<Loaded, CertificateError> {
        let loaded = certificate::load(&self.files, now)?;
        if self.validity.holds(now) && !loaded.validity.has_begun(now) {
            return Err(CertificateError::not_yet_valid(
                &self.files.certificate,
                &loaded.validity,
            ));
        }
        Ok(loaded)
    }

    /// Where there is no better one, one that isn't valid yet is shown: it may be this machine's clock that is wrong.
    fn announce_start(&self, now: SystemTime) {
        if !self.validity.has_begun(now) {
            tracing::warn!(
                "the certificate is not valid before {}: until then clients refuse it, unless the clock of this \
                 machine is slow",
                humantime::format_rfc3339_seconds(self.validity.not_before)
            );
        }
    }

    /// Logs that the certificate's end is near, or has come, each once. Returns whether it has logged anything.
    fn announce_end(&mut self, now: SystemTime) -> bool {
        let remaining = self.validity.remaining(now);
        if remaining <= self.announced {
            return false;
        }
        self.announced = remaining;
        let end = humantime::format_rfc3339_seconds(self.validity.not_after);
        match remaining {
            Remaining::Enough => {}
            Remaining::LessThanAWeek => tracing::warn!("the certificate expires within a week, at {end}: renew it"),
            Remaining::LessThanADay => tracing::warn!("the certificate expires within a day, at {end}: renew it"),
            Remaining::Nothing => tracing::error!("the certificate expired at {end}: clients refuse it, renew it"),
        }
        true
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

#[cfg(test)]
mod tests {
    use std::time::Instant;
    use std::{env, process};

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn fixture(name: &str) -> CertificateFiles {
        let file = |end| format!("tests/fixtures/{name}.{end}.pem").into();
        CertificateFiles {
            certificate: file("cert"),
            private_key: file("key"),
        }
    }

    /// A watch over files of this name, which shows `localhost` with this validity.
    fn watch(files: CertificateFiles, validity: Validity) -> Watch {
        let shown = certificate::load(&fixture("localhost"), SystemTime::UNIX_EPOCH).unwrap();
        Watch {
            seen: stamps(&files),
            tried: stamps(&files),
            failure: None,
            files,
            current: Arc::new(CurrentCertificate::new(shown.certified)),
            validity,
            announced: Remaining::Enough,
        }
    }

    #[test]
    fn one_that_is_not_valid_yet_replaces_none_that_is_until_it_is_valid_or_the_other_is_not() {
        let renewed = certificate::load(&fixture("renewed"), SystemTime::UNIX_EPOCH).unwrap();
        let start = renewed.validity.not_before;
        let current = |days: u32| Validity {
            not_before: start - 10 * DAY,
            not_after: start - 10 * DAY + days * DAY,
        };
        let is_renewed =
            |watch: &Watch| watch.current.shown().cert == renewed.certified.cert && watch.validity == renewed.validity;

        let mut while_valid = watch(fixture("renewed"), current(100));
        while_valid.renew(start - DAY);
        assert!(!is_renewed(&while_valid));
        let told = while_valid.failure.clone().unwrap();
        assert!(
            told.ends_with("the certificate is not valid before 2025-01-01T00:00:00Z"),
            "{told}"
        );
        while_valid.look(start - Duration::from_secs(1));
        assert!(!is_renewed(&while_valid));
        while_valid.look(start);
        assert!(is_renewed(&while_valid) && while_valid.failure.is_none());

        let mut while_expired = watch(fixture("renewed"), current(5));
        while_expired.renew(start - DAY);
        assert!(is_renewed(&while_expired));
    }

    #[test]
    fn the_end_is_announced_a_week_and_a_day_before_and_when_it_has_come_each_once() {
        let end = SystemTime::UNIX_EPOCH + 20_000 * DAY;
        let mut watch = watch(
            fixture("renewed"),
            Validity {
                not_before: end - 90 * DAY,
                not_after: end,
            },
        );
        let hours_with_news: Vec<_> = (0..24 * 12)
            .filter(|hour| watch.announce_end(end - 10 * DAY + *hour * DAY / 24 + Duration::from_secs(1)))
            .collect();
        assert_eq!(hours_with_news, [3 * 24, 9 * 24, 10 * 24]);
        let later = end + 100 * DAY;
        watch.renew(later);
        assert!(!watch.announce_end(later) && watch.announce_end(watch.validity.not_after - 2 * DAY));
    }

    #[test]
    fn a_named_pipe_in_the_place_of_a_file_is_an_error_and_not_waited_for() {
        let pipe = env::temp_dir().join(format!("npchat-pipe-{}", process::id()));
        let made = process::Command::new("mkfifo").arg(&pipe).status();
        if !made.is_ok_and(|status| status.success()) {
            eprintln!("SKIPPED: mkfifo is not installed");
            return;
        }
        for is_key in [false, true] {
            let mut files = fixture("renewed");
            *if is_key {
                &mut files.private_key
            } else {
                &mut files.certificate
            } = pipe.clone();
            let mut watch = watch(files, ages());
            watch.renew(SystemTime::UNIX_EPOCH + 21_000 * DAY);
            assert_eq!(watch.failure, Some(format!("{}: not a regular file", pipe.display())));
        }
        fs::remove_file(pipe).unwrap();
    }

    fn ages() -> Validity {
        Validity {
            not_before: SystemTime::UNIX_EPOCH,
            not_after: SystemTime::UNIX_EPOCH + 100_000 * DAY,
        }
    }

    #[test]
    fn a_thread_that_hangs_is_not_waited_for() {
        let (release, held) = mpsc::channel::<()>();
        let hanging = Renewal::spawn(move |_heard| {
            // Until the end of the test.
            let _ = held.recv();
        });
        let begun = Instant::now();
        drop(hanging.unwrap());
        assert!(begun.elapsed() >= Duration::from_millis(CERTIFICATE_THREAD_END_MILLIS));
        drop(release);
    }
}
