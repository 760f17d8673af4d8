//! Cases from files, which other implementations can be held to as well.

mod login_vectors;
mod wycheproof;
