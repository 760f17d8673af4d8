//! An identity: who its owner is to others, by two keys, a name and a relay.
//!
//! Its file is [`mod@file`], how that lies on a disk [`disk`]; [`web`] reads what npchat-web exports. Conversations and
//! contacts aren't part of an identity.

pub mod disk;
pub mod file;
mod secret;
pub mod web;

use std::cmp::Reverse;
use std::fmt;
use std::{iter, mem};

use crate::client::card::{Card, Pass};
use crate::client::content::CardUpdate;
use crate::client::names::{Name, Origin};
use crate::protocol::id::{PublicKey, RecipientId};
use crate::protocol::login::SIGNATURE_BYTES;

pub use crate::client::identity::secret::{AgreementSecret, KeyError, SCALAR_BYTES, SigningSecret};

/// Most agreement keys of an identity, the one in use and those that mail may still come for.
pub const DH_KEYS_MAX: usize = 8;

/// The keys of a person, and what is told of them: a name and a relay.
///
/// Private keys are erased from memory when it is dropped, and no form of it shows them but
/// [`Identity::to_bytes`].
pub struct Identity {
    name: Name,
    relay: Origin,
    auth: SigningSecret,
    dh: AgreementSecret,
    /// Newest first, less than [`DH_KEYS_MAX`].
    older_dh: Vec<AgreementSecret>,
}

impl Identity {
    /// A new identity with new keys, in use since `now_ms`, milliseconds since 1970.
    ///
    /// # Errors
    /// [`KeyError::System`].
    pub fn generate(name: Name, relay: Origin, now_ms: u64) -> Result<Self, KeyError> {
        Ok(Self {
            name,
            relay,
            auth: SigningSecret::generate()?,
            dh: AgreementSecret::generate(now_ms)?,
            older_dh: Vec::new(),
        })
    }

    /// An identity of these keys, the agreement keys in any order. `None` if there are none of them or more than
    /// [`DH_KEYS_MAX`].
    #[must_use]
    pub fn from_keys(name: Name, relay: Origin, auth: SigningSecret, mut dh: Vec<AgreementSecret>) -> Option<Self> {
        if dh.len() > DH_KEYS_MAX {
            return None;
        }
        dh.sort_by_key(|key| Reverse(key.since_ms()));
        let mut dh = dh.into_iter();
        Some(Self {
            name,
            relay,
            auth,
            dh: dh.next()?,
            older_dh: dh.collect(),
        })
    }

    /// The id under which its mail is posted.
    #[must_use]
    pub fn id(&self) -> RecipientId {
        self.auth.public().id()
    }

    /// The key whose hash is the id.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        self.auth.public()
    }

    /// The ES256 signature over `message`, as `r || s`: for logins and envelopes.
    ///
    /// # Errors
    /// [`KeyError::System`].
    pub fn sign(&self, message: &[u8]) -> Result<[u8; SIGNATURE_BYTES], KeyError> {
        self.auth.sign(message)
    }

    /// What the owner calls itself.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The relay at which its mail is kept.
    #[must_use]
    pub fn relay(&self) -> &Origin {
        &self.relay
    }

    /// Takes another name.
    pub fn set_name(&mut self, name: Name) {
        self.name = name;
    }

    /// Moves to another relay. Contacts learn of it from [`Self::card_update`].
    pub fn set_relay(&mut self, relay: Origin) {
        self.relay = relay;
    }

    /// The key that others are to seal to.
    #[must_use]
    pub fn dh(&self) -> &AgreementSecret {
        &self.dh
    }

    /// The keys that mail may come for, the one in use first, at most [`DH_KEYS_MAX`].
    pub fn dh_keys(&self) -> impl Iterator<Item = &AgreementSecret> {
        iter::once(&self.dh).chain(&self.older_dh)
    }

    /// Makes another agreement key, in use since `now_ms`. Older ones stay for mail that is on its way; over
    /// [`DH_KEYS_MAX`] the oldest is erased.
    ///
    /// # Errors
    /// [`KeyError::System`].
    pub fn renew_dh(&mut self, now_ms: u64) -> Result<(), KeyError> {
        let older = mem::replace(&mut self.dh, AgreementSecret::generate(now_ms)?);
        self.older_dh.insert(0, older);
        self.older_dh.truncate(DH_KEYS_MAX - 1);
        Ok(())
    }

    /// Erases agreement keys whose successor was in use before `before_ms`, milliseconds since 1970: what was sealed to
    /// them can't be opened any more. The one in use stays.
    pub fn forget_dh(&mut self, before_ms: u64) {
        let kept = self.dh_keys().take_while(|key| key.since_ms() >= before_ms).count();
        self.older_dh.truncate(kept);
    }

    /// The card to give to others (PROTOCOL.md, Cards), with a pass for the mailbox if there is one.
    #[must_use]
    pub fn card(&self, pass: Option<Pass>) -> Card {
        Card {
            auth: *self.public_key(),
            dh: *self.dh.public(),
            origin: self.relay.clone(),
            name: self.name.clone(),
            pass,
        }
    }

    /// The card as it stands in a content.
    #[must_use]
    pub fn card_update(&self) -> CardUpdate {
        CardUpdate {
            name: self.name.clone(),
            origin: self.relay.clone(),
            dh: *self.dh.public(),
        }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(…)")
    }
}
