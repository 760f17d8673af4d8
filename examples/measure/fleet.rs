//! Sessions that are held: logs many in, a few at a time, and closes them all in order.
//!
//! In between they are the scenario's, on the scenario's poller.

use std::time::{Duration, Instant};

use crate::Peer;
use crate::faults::{Fault, Faults};
use crate::identity::Identity;
use crate::session::{Said, Session};
use crate::wire::Poller;

const LOGINS_AT_ONCE: usize = 64;
/// Longest that nothing at all may happen.
const PATIENCE: Duration = Duration::from_secs(10);

/// Logs in once for each identity. Session `i` gets the token `first_token + i`.
///
/// # Errors
/// The first thing that went wrong.
pub(crate) fn log_in<'i>(
    poller: &mut Poller,
    peer: Peer,
    identities: &'i [Identity],
    first_token: usize,
) -> Result<Vec<Session<'i>>, String> {
    let mut sessions: Vec<Session<'_>> = Vec::with_capacity(identities.len());
    let mut logged_in = 0;
    let mut ready = Vec::new();
    while logged_in < identities.len() {
        while sessions.len() < identities.len().min(logged_in + LOGINS_AT_ONCE) {
            let (identity, token) = (&identities[sessions.len()], first_token + sessions.len());
            let session = Session::connect(peer.address, identity, peer.login, poller.registry(), token);
            sessions.push(session.map_err(|error| error.to_string())?);
        }
        poller.wait(PATIENCE, &mut ready).map_err(|error| error.to_string())?;
        if ready.is_empty() {
            return Err(format!("no login in {PATIENCE:?}, after {logged_in}"));
        }
        for &one in &ready {
            if let Some(session) = one
                .token
                .checked_sub(first_token)
                .and_then(|index| sessions.get_mut(index))
            {
                session.pump(one, poller.scratch(), |said| {
                    logged_in += usize::from(said == Said::LoggedIn);
                })?;
            }
        }
    }
    Ok(sessions)
}

/// Closes all sessions and waits for the end of each. Mail that still comes is told to `hear` with its session's index.
pub(crate) fn close_all(
    poller: &mut Poller,
    sessions: &mut [Option<Session<'_>>],
    first_token: usize,
    faults: &mut Faults,
    mut hear: impl FnMut(usize, &[u8], &mut Faults),
) {
    for slot in sessions.iter_mut() {
        if let Some(Err(error)) = slot.as_mut().map(Session::close) {
            faults.note(Fault::Broken, || format!("at the close: {error}"));
            *slot = None;
        }
    }
    let mut ready = Vec::new();
    let mut since = Instant::now();
    while sessions.iter().any(Option::is_some) && since.elapsed() < PATIENCE {
        if let Err(error) = poller.wait(Duration::from_secs(1), &mut ready) {
            faults.note(Fault::Broken, || error.to_string());
            return;
        }
        for &one in &ready {
            let Some(index) = one.token.checked_sub(first_token) else {
                continue;
            };
            let Some(slot) = sessions.get_mut(index) else { continue };
            let Some(session) = slot else { continue };
            since = Instant::now();
            let mut is_closed = false;
            let result = session.pump(one, poller.scratch(), |said| match said {
                Said::Mail(body) => hear(index, body, faults),
                Said::Closed => is_closed = true,
                Said::LoggedIn => {}
            });
            if let Err(why) = &result {
                faults.note(Fault::Broken, || format!("at the close: {why}"));
            }
            if is_closed || result.is_err() {
                *slot = None;
            }
        }
    }
    for _ in sessions.iter().flatten() {
        faults.note(Fault::Broken, || format!("a Close got no answer in {PATIENCE:?}"));
    }
}
