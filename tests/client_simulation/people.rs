//! Who takes part in a run: keys that are good in form, names and relays. Nothing is sealed or signed.

use std::sync::OnceLock;

use npchat::client::account::{NewContact, Own};
use npchat::client::content::CardUpdate;
use npchat::client::keys::AgreementKey;
use npchat::client::names::{Name, Origin};
use npchat::client::records::Version;
use npchat::protocol::id::{PublicKey, RecipientId};
use p256::ecdsa::SigningKey;

/// Most people in a run.
pub(crate) const PEOPLE_MAX: usize = 5;
/// So many relays, each person at one of them at a time.
pub(crate) const RELAYS: usize = 3;
/// So many agreement keys are there for each person.
pub(crate) const KEYS_EACH: usize = 48;

/// Somebody, by number.
pub(crate) fn auth(person: usize) -> PublicKey {
    let mut bytes = [u8::try_from(person).expect("few people"); 65];
    bytes[0] = 4;
    PublicKey::from_sec1(&bytes).expect("an uncompressed form")
}

/// The number of somebody.
pub(crate) fn person(id: RecipientId) -> usize {
    static IDS: OnceLock<Vec<RecipientId>> = OnceLock::new();
    let ids = IDS.get_or_init(|| (0..PEOPLE_MAX).map(|person| auth(person).id()).collect());
    ids.iter().position(|each| *each == id).expect("somebody of the run")
}

/// An agreement key of somebody: the first, second and so on.
pub(crate) fn dh(person: usize, number: usize) -> AgreementKey {
    static KEYS: OnceLock<Vec<AgreementKey>> = OnceLock::new();
    let keys = KEYS.get_or_init(|| {
        let scalars = 1..=u8::try_from(PEOPLE_MAX * KEYS_EACH).expect("few keys");
        scalars.map(agreement_key).collect()
    });
    keys[person * KEYS_EACH + number]
}

fn agreement_key(scalar: u8) -> AgreementKey {
    let mut bytes = [0; 32];
    bytes[31] = scalar;
    let secret = SigningKey::from_slice(&bytes).expect("a scalar");
    let point = secret.verifying_key().to_sec1_point(false);
    AgreementKey::from_sec1(point.as_bytes()).expect("a point")
}

pub(crate) fn origin(relay: usize) -> Origin {
    Origin::parse(&format!("https://relay{relay}.example")).expect("an origin")
}

/// The number of a relay.
pub(crate) fn relay(origin: &Origin) -> usize {
    let digits: String = origin.as_str().chars().filter(char::is_ascii_digit).collect();
    digits.parse().expect("a relay of the run")
}

/// The card of somebody at a relay, with their latest key.
pub(crate) fn card(person: usize, relay: usize, key: usize) -> CardUpdate {
    CardUpdate {
        name: Name::parse(&format!("person {person}.{key}")).expect("a name"),
        origin: origin(relay),
        dh: dh(person, key),
    }
}

pub(crate) fn own(person: usize, relay: usize) -> Own {
    Own {
        auth: auth(person),
        card: card(person, relay, 0),
        card_since_ms: 0,
    }
}

/// Somebody as their link names them.
pub(crate) fn link(own: &Own, version: Version) -> NewContact {
    NewContact {
        auth: own.auth,
        dh: own.card.dh,
        name: own.card.name.clone(),
        origin: own.card.origin.clone(),
        version,
    }
}
