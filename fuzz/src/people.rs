//! Two identities that stay the same from run to run, those of the vectors, so that a finding does.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use npchat::client::identity::{AgreementSecret, Identity, SigningSecret};
use npchat::client::names::{Name, Origin};

/// Writes what the targets open.
pub static ALICE: LazyLock<Identity> = LazyLock::new(|| {
    identity(
        "alice",
        "12g2qrmyQftMVle-m0tWAtQW07T7LELPSBLyX8c2-5A",
        "WE0nf5c4ztQ7kBeAhWvEwc2QEV7EOAaUVDQYJU14bSo",
    )
});
/// Opens it.
pub static BOB: LazyLock<Identity> = LazyLock::new(|| {
    identity(
        "bob",
        "QuHSMIfQN5UNbKSQ_Ykv7ySbROcWZhDPI6uTPTf1PPU",
        "ltOsAk6lQkO-DD3z0EMtq6iHixc05YWNRNALiVwykQQ",
    )
});

fn identity(name: &str, auth: &str, dh: &str) -> Identity {
    let scalar = |text| -> [u8; 32] {
        let bytes = URL_SAFE_NO_PAD.decode(text).expect("base64url");
        bytes.try_into().expect("32 bytes")
    };
    let auth = SigningSecret::from_scalar(&scalar(auth)).expect("a scalar");
    let dh = AgreementSecret::from_scalar(&scalar(dh), 0).expect("a scalar");
    let name = Name::parse(name).expect("a name");
    let relay = Origin::parse("https://relay.example").expect("an origin");
    Identity::from_keys(name, relay, auth, vec![dh]).expect("one key")
}

/// Changes bits: which byte, counted round and round, and which of its bits. Whether anything is changed in the end.
pub fn alter(bytes: &mut [u8], changes: &[(u16, u8)]) -> bool {
    let before = bytes.to_vec();
    for (place, mask) in changes.iter().take(8) {
        let place = usize::from(*place) % bytes.len();
        bytes[place] ^= mask;
    }
    before != bytes
}
