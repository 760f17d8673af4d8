//! Locks and atomics of what workers share: those of `std`, or loom's, which run every interleaving of a model's
//! threads.
//!
//! Only what the models drive takes them from here. With `--cfg loom` nothing but the models can run.

#[cfg(loom)]
pub(crate) use loom::sync::{Mutex, MutexGuard, atomic};
#[cfg(not(loom))]
pub(crate) use std::sync::{Mutex, MutexGuard, atomic};

#[cfg(test)]
#[cfg(loom)]
pub(crate) mod model;
