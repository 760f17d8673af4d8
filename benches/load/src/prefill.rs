//! Many messages posted as fast as they are taken, beside no measure: what is stored before one.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use crate::faults::{Fault, Faults};
use crate::mail::Label;
use crate::poster::{Posted, Poster};
use crate::wire::Poller;
use crate::{Bench, PATIENCE};

/// Connections that post.
pub(crate) const CONNECTIONS: usize = 16;
/// Messages in flight on each.
const DEPTH: usize = 8;

/// A message.
pub(crate) struct Letter<'l> {
    /// Recipient.
    pub(crate) id: &'l str,
    pub(crate) label: Label,
    pub(crate) ttl_seconds: u64,
}

/// When a message was stored, at no moment before the first, nor after the second, and for how long, if the server has told that.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stored {
    pub(crate) posted: Instant,
    pub(crate) acknowledged: Instant,
    pub(crate) ttl: Option<Duration>,
}

/// Posts what `next` gives for each connection, by its number, until it gives `None` to all, in messages of `size` bytes.
/// What one connection posts is stored in its order. Tells `hear` of each that was acknowledged; what was refused is noted.
///
/// # Errors
/// The connections can't be made or end, or nothing is answered.
pub(crate) fn post_all<'l>(
    bench: &Bench,
    size: usize,
    mut next: impl FnMut(usize) -> Option<Letter<'l>>,
    mut hear: impl FnMut(&Letter<'l>, Stored),
    faults: &mut Faults,
) -> Result<(), String> {
    let mut poller = Poller::new().map_err(|error| error.to_string())?;
    let mut posters = (0..CONNECTIONS)
        .map(|token| Poster::connect(&bench.peer, size, poller.registry(), token))
        .collect::<io::Result<Vec<_>>>()
        .map_err(|error| error.to_string())?;
    let mut in_flight: Vec<VecDeque<Letter<'l>>> = posters.iter().map(|_| VecDeque::new()).collect();
    let mut is_done = [false; CONNECTIONS];
    let mut ready = Vec::new();
    while is_done.iter().any(|is_done| !is_done) {
        poller.wait(PATIENCE, &mut ready).map_err(|error| error.to_string())?;
        if ready.is_empty() {
            return Err(format!("no answer in {PATIENCE:?} to a message that was to be stored"));
        }
        for &one in &ready {
            let Some(poster) = posters.get_mut(one.token) else {
                continue;
            };
            let letters = &mut in_flight[one.token];
            poster.pump(one, poller.scratch(), |posted, answer| {
                let Some(letter) = letters.pop_front() else { return };
                match answer {
                    Ok(ttl) => hear(
                        &letter,
                        Stored {
                            posted: posted.at,
                            acknowledged: Instant::now(),
                            ttl,
                        },
                    ),
                    Err(why) => faults.note(Fault::Refused, || why),
                }
                bench.progress.add(1);
            })?;
            while poster.in_flight() < DEPTH
                && let Some(letter) = next(one.token)
            {
                let message = Posted {
                    recipient: letter.label.recipient,
                    sequence: letter.label.sequence,
                    at: Instant::now(),
                };
                poster.post(letter.id, letter.ttl_seconds, message, |output| {
                    letter.label.write(output, size);
                });
                letters.push_back(letter);
            }
            poster.flush()?;
            is_done[one.token] = poster.in_flight() == 0;
        }
    }
    Ok(())
}
