//! `npchatd` as a child: its options, its log, its memory, its start, and signals.

mod log;
mod memory;
mod options;
mod pauses;
mod start;
