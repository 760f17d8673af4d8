//! Recipients with real keys, the same in every process, so that a seed means the same run everywhere.

use std::sync::OnceLock;

use testkit::Identity;

/// All identities that runs choose from, made once.
pub(crate) fn all() -> &'static [Identity; 8] {
    static ALL: OnceLock<[Identity; 8]> = OnceLock::new();
    ALL.get_or_init(|| [1, 2, 3, 4, 5, 6, 7, 8].map(Identity::numbered))
}
