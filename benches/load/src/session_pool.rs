//! Whole lives of sessions, many at a time: each logs in, gets its mail, and closes, as soon as it has that or when it
//! is asked to.
//!
//! Which mail is right is decided by the scenarios.

use std::iter;
use std::time::{Duration, Instant};

use crate::bench::{Bench, LoginPolicy, PATIENCE};
use crate::drive::{Actor, TICK, Turn, drive};
use crate::faults::{Fault, Faults};
use crate::identity::Identity;
use crate::latency_histogram::LatencyHistogram;
use crate::mail::Label;
use crate::session::{Session, SessionEvent};
use crate::wire::{Poller, Ready};

/// Logins at once where it isn't their number that is measured.
pub(crate) const LOGINS_AT_ONCE: usize = 64;
/// Connects in a row, between two looks at what has come.
const CONNECTS_IN_A_ROW: usize = 64;
/// After so many sessions that went wrong none is begun any more, for the server's case is clear.
const WRONG_ENOUGH: usize = 100;
/// Longest from a login, or from a message, to mail that was stored before it; then a fetch goes without.
const MAIL_PATIENCE: Duration = Duration::from_secs(20);
/// What lives for so long after the login, or the last message, should have come.
const MAIL_DUE: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
pub(crate) struct Logins {
    /// From the first connect to the server's word that the login is done.
    pub(crate) latencies: LatencyHistogram,
    /// How often one was begun again.
    pub(crate) retries: u64,
    /// Those given up.
    pub(crate) refused: u64,
    pub(crate) faults: Faults,
}

impl Logins {
    /// Takes in what another thread has counted.
    pub(crate) fn merge(&mut self, other: Self) {
        self.latencies.merge(&other.latencies);
        self.retries += other.retries;
        self.refused += other.refused;
        self.faults.merge(other.faults);
    }

    /// Whether it is of no use to go on.
    pub(crate) fn is_hopeless(&self) -> bool {
        self.refused >= WRONG_ENOUGH as u64
    }

    /// A login failed for the `tries`th time. Returns whether to begin it again.
    fn fail(&mut self, login_policy: LoginPolicy, tries: u32, why: &str) -> bool {
        let goes_on = tries <= login_policy.retries;
        if goes_on {
            self.retries += 1;
        } else {
            self.refused += 1;
            self.faults.note(Fault::Refused, || {
                format!("a login, {tries} times, the last time: {why}")
            });
        }
        goes_on
    }
}

/// How long a session stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stay {
    /// Until [`SessionPool::close`].
    Held,
    /// Until it is logged in. Mail before that is a fault.
    UntilLoggedIn,
    /// Until this message has come; all have so many bytes.
    Until(Label, usize),
}

/// What came of a session that closes by itself.
pub(crate) struct Fetched {
    /// All messages, in the order in which they came; `None` for one that nobody posted like this.
    pub(crate) mail: Vec<Option<Label>>,
    /// No message was handed out before this.
    pub(crate) started: Instant,
    /// By now all had come, or should have.
    pub(crate) finished: Instant,
}

/// Sessions on one poller. Session `i` has the token `i`.
pub(crate) struct SessionPool<'f> {
    pub(crate) bench: &'f Bench,
    plan: Vec<(&'f Identity, Stay)>,
    members: Vec<PooledSession<'f>>,
    at_once: usize,
    /// How many may begin.
    limit: usize,
    /// How many of them are where they are to be, or given up.
    settled: usize,
    /// How many went wrong.
    wrong: usize,
    looked: Instant,
    /// When any of them had something.
    last_event: Instant,
    pub(crate) logins: Logins,
}

struct PooledSession<'f> {
    stay: Stay,
    /// `None`: it is over.
    session: Option<Session<'f>>,
    fetched: Fetched,
    began: Instant,
    tries: u32,
    logged_in: Option<Instant>,
    /// When mail came, or the Close went, or it was begun the last time.
    last_event: Instant,
    is_closing: bool,
    is_settled: bool,
    is_wrong: bool,
}

impl<'f> SessionPool<'f> {
    /// Sessions that begin `at_once` at a time.
    pub(crate) fn new(bench: &'f Bench, plan: impl IntoIterator<Item = (&'f Identity, Stay)>, at_once: usize) -> Self {
        let now = Instant::now();
        Self {
            bench,
            plan: plan.into_iter().collect(),
            members: Vec::new(),
            at_once,
            limit: 0,
            settled: 0,
            wrong: 0,
            looked: now,
            last_event: now,
            logins: Logins::default(),
        }
    }

    /// Sessions that are held.
    pub(crate) fn held(bench: &'f Bench, identities: &'f [Identity], at_once: usize) -> Self {
        Self::new(bench, identities.iter().map(|identity| (identity, Stay::Held)), at_once)
    }

    /// How many there are to be.
    pub(crate) fn len(&self) -> usize {
        self.plan.len()
    }

    /// How many are there now.
    pub(crate) fn open(&self) -> usize {
        self.members.iter().filter(|member| member.session.is_some()).count()
    }

    /// Logs in until the first `count` are logged in or given up, which is noted.
    ///
    /// # Errors
    /// Those of the system, or a server that refuses too many.
    pub(crate) fn log_in(&mut self, poller: &mut Poller, count: usize) -> Result<(), String> {
        self.settle_first(poller, count)?;
        if self.logins.is_hopeless() {
            return Err(format!("too many logins are refused: {}", self.logins.faults));
        }
        Ok(())
    }

    /// Goes on until each of the first `count` is where it is to be, or given up, which is noted.
    pub(crate) fn settle_first(&mut self, poller: &mut Poller, count: usize) -> Result<(), String> {
        self.limit = count;
        self.run(poller, |_, _, _| {})?;
        for _ in self.members.len()..count {
            let what = || "a session not begun after those".to_owned();
            self.logins.faults.note(Fault::Broken, what);
        }
        Ok(())
    }

    /// Closes all and waits for the end of each. Mail that still comes goes to `on_mail` with its session's index.
    pub(crate) fn close(
        &mut self,
        poller: &mut Poller,
        on_mail: impl FnMut(usize, &[u8], &mut Faults),
    ) -> Result<(), String> {
        self.last_event = Instant::now();
        self.limit = self.members.len();
        for index in 0..self.limit {
            self.members[index].is_settled = self.members[index].session.is_none();
            if let Err(why) = self.members[index].close(self.last_event) {
                self.end(index, Err(format!("at the close: {why}")));
            }
        }
        self.settled = self.members.iter().filter(|member| member.is_settled).count();
        self.run(poller, on_mail)
    }

    fn run(&mut self, poller: &mut Poller, on_mail: impl FnMut(usize, &[u8], &mut Faults)) -> Result<(), String> {
        drive(poller, &mut Run { pool: self, on_mail })
    }

    /// Begins some, up to the limit. Returns whether more can begin at once.
    fn begin(&mut self, poller: &Poller) -> Result<bool, String> {
        let room = self.limit.min(self.settled.saturating_add(self.at_once));
        for _ in 0..CONNECTS_IN_A_ROW {
            let index = self.members.len();
            if index >= room || self.wrong >= WRONG_ENOUGH {
                return Ok(false);
            }
            let (started, stay) = (Instant::now(), self.plan[index].1);
            let session = Some(self.connect(index, poller)?);
            self.members.push(PooledSession {
                stay,
                session,
                fetched: Fetched {
                    mail: Vec::new(),
                    started,
                    finished: started,
                },
                began: started,
                tries: 1,
                logged_in: None,
                last_event: started,
                is_closing: false,
                is_settled: false,
                is_wrong: false,
            });
        }
        Ok(true)
    }

    fn connect(&self, index: usize, poller: &Poller) -> Result<Session<'f>, String> {
        Session::connect(&self.bench.peer, self.plan[index].0, poller.registry(), index)
            .map_err(|error| format!("connection {index}: {error}"))
    }

    /// Reads what a session has. Mail of one that is held goes to `on_mail`.
    pub(crate) fn serve(
        &mut self,
        ready: Ready,
        poller: &mut Poller,
        mut on_mail: impl FnMut(usize, &[u8], &mut Faults),
    ) -> Result<(), String> {
        let (index, logins) = (ready.token, &mut self.logins);
        let Some(member) = self.members.get_mut(index) else {
            return Ok(());
        };
        let Some(session) = &mut member.session else {
            return Ok(());
        };
        let (mut is_closed, mut has_all, mut has_mail) = (false, false, false);
        let was_logged_in = member.logged_in.is_some();
        let pumped = session.pump(ready, poller.scratch(), |said| match said {
            SessionEvent::LoggedIn => {
                member.logged_in = Some(Instant::now());
                has_all |= member.stay == Stay::UntilLoggedIn;
            }
            SessionEvent::Mail(body) => {
                has_mail = true;
                match member.stay {
                    Stay::Held => on_mail(index, body, &mut logins.faults),
                    Stay::UntilLoggedIn => logins.faults.note(Fault::Corrupt, || "mail for a new id".to_owned()),
                    Stay::Until(last, size) => {
                        let label = Label::read(body, size).inspect(|label| has_all |= *label == last);
                        member.fetched.mail.push(label);
                    }
                }
            }
            SessionEvent::Closed => is_closed = true,
        });
        let now = Instant::now();
        self.last_event = now;
        if has_mail {
            member.last_event = now;
        }
        if let Some(at) = member.logged_in.filter(|_| !was_logged_in) {
            logins.latencies.add(at - member.began);
            self.bench.progress.add(1);
            if member.stay == Stay::Held {
                self.settle(index);
            }
        }
        let over = match pumped {
            Ok(()) if has_all => self.members[index].close(now).map(|()| is_closed),
            result => result.map(|()| is_closed),
        };
        self.conclude(index, over, poller)
    }

    /// Ends what takes too long.
    fn look_at_time(&mut self, poller: &Poller) -> Result<(), String> {
        let (timeout, stands_still) = (self.bench.login_policy.timeout, self.last_event.elapsed() > PATIENCE);
        for index in 0..self.members.len() {
            let member = &mut self.members[index];
            if member.session.is_none() {
                continue;
            }
            let waited = member.last_event.elapsed();
            let over = match member.logged_in {
                _ if member.is_closing && stands_still => Err(format!("no end of the stream in {PATIENCE:?}")),
                None if !member.is_closing && waited > timeout => Err(format!("no answer in {timeout:?}")),
                Some(at)
                    if member.stay != Stay::Held && !member.is_closing && waited.min(at.elapsed()) > MAIL_PATIENCE =>
                {
                    let due = member.last_event.max(at) + MAIL_DUE;
                    let closed = member.close(Instant::now());
                    member.fetched.finished = due;
                    self.wrong += usize::from(closed.is_ok());
                    closed.map(|()| false)
                }
                _ => continue,
            };
            self.conclude(index, over, poller)?;
        }
        Ok(())
    }

    /// Ends a session that is over, or has the login begin again if that was dropped.
    fn conclude(&mut self, index: usize, over: Result<bool, String>, poller: &Poller) -> Result<(), String> {
        match over {
            Ok(false) => {}
            Ok(true) => self.end(index, Ok(())),
            Err(why) if self.members[index].logged_in.is_some() || self.members[index].is_closing => {
                self.end(index, Err(why));
            }
            Err(why)
                if self
                    .logins
                    .fail(self.bench.login_policy, self.members[index].tries, &why) =>
            {
                let session = self.connect(index, poller)?;
                let (member, now) = (&mut self.members[index], Instant::now());
                member.session = Some(session);
                member.tries += 1;
                member.fetched.started = now;
                member.last_event = now;
            }
            Err(_) => {
                self.wrong += 1;
                self.members[index].is_wrong = true;
                self.members[index].session = None;
                self.settle(index);
            }
        }
        Ok(())
    }

    fn end(&mut self, index: usize, result: Result<(), String>) {
        if let Err(why) = result {
            self.logins
                .faults
                .note(Fault::Broken, || format!("session {index}: {why}"));
            self.wrong += 1;
            self.members[index].is_wrong = true;
        }
        self.members[index].session = None;
        self.settle(index);
    }

    fn settle(&mut self, index: usize) {
        self.settled += usize::from(!std::mem::replace(&mut self.members[index].is_settled, true));
    }
}

impl PooledSession<'_> {
    fn close(&mut self, now: Instant) -> Result<(), String> {
        if let Some(session) = self.session.as_mut().filter(|_| !self.is_closing) {
            self.is_closing = true;
            self.fetched.finished = now;
            self.last_event = now;
            session.close().map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

/// A pool on its own, until all that may begin are settled.
struct Run<'r, 'f, H> {
    pool: &'r mut SessionPool<'f>,
    on_mail: H,
}

impl<H: FnMut(usize, &[u8], &mut Faults)> Actor for Run<'_, '_, H> {
    fn turn(&mut self, poller: &mut Poller, now: Instant) -> Result<Turn, String> {
        let pool = &mut *self.pool;
        let has_room = pool.begin(poller)?;
        if now.saturating_duration_since(pool.looked) >= TICK {
            pool.looked = now;
            pool.look_at_time(poller)?;
        }
        if pool.settled == pool.members.len() && (pool.settled == pool.limit || pool.wrong >= WRONG_ENOUGH) {
            return Ok(Turn::Over);
        }
        Ok(Turn::Wait(if has_room { Duration::ZERO } else { TICK }))
    }

    fn serve(&mut self, ready: Ready, poller: &mut Poller) -> Result<(), String> {
        self.pool.serve(ready, poller, &mut self.on_mail)
    }
}

/// Runs all sessions, `at_once` at a time, and returns what came of each, in their order, `None` of one that went
/// wrong: that is noted with the logins.
pub(crate) fn fetch_all<'f>(
    bench: &'f Bench,
    plan: impl IntoIterator<Item = (&'f Identity, Stay)>,
    at_once: usize,
    logins: &mut Logins,
) -> Result<Vec<Option<Fetched>>, String> {
    let mut pool = SessionPool::new(bench, plan, at_once);
    let mut poller = Poller::new().map_err(|error| error.to_string())?;
    let result = pool.settle_first(&mut poller, pool.plan.len());
    logins.merge(pool.logins);
    let fetched = pool
        .members
        .into_iter()
        .map(|member| (!member.is_wrong).then_some(member.fetched));
    let not_begun = pool.plan.len() - fetched.len();
    let all = fetched.chain(iter::repeat_with(|| None).take(not_begun)).collect();
    result.map(|()| all)
}

/// Each logs in and closes.
pub(crate) fn pass(bench: &Bench, identities: &[Identity], at_once: usize, logins: &mut Logins) -> Result<(), String> {
    let plan = identities.iter().map(|identity| (identity, Stay::UntilLoggedIn));
    fetch_all(bench, plan, at_once, logins).map(drop)
}
