//! What people give to each other so that they can write: cards, the shareables of npchat-web, and the digits by which
//! two people make sure of each other's keys (PROTOCOL.md, Cards).

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::rand::fill;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use zeroize::Zeroize;

use crate::client::keys::{AgreementKey, is_on_curve};
use crate::client::names::{NAME_MAX_BYTES, Name, ORIGIN_MAX_BYTES, Origin};
use crate::client::write::{push_member, push_string};
use crate::protocol::id::{PUBLIC_KEY_BYTES, PublicKey, RecipientId};
use crate::protocol::json::Json;

/// Length of a pass (PROTOCOL.md, Passes).
pub const PASS_BYTES: usize = 16;
/// Largest card: version, two keys, an origin with its length, a name, a pass with the zero before it.
pub const CARD_MAX_BYTES: usize = 1 + 2 * PUBLIC_KEY_BYTES + 1 + ORIGIN_MAX_BYTES + NAME_MAX_BYTES + 1 + PASS_BYTES;
/// Largest link, page included, and largest shareable in it: more than any browser's address bar is of use for.
pub const LINK_MAX_BYTES: usize = 4 * 1024;

/// The first byte of a card. 03 is for keys that hold against a quantum computer.
const VERSION: u8 = 2;
/// What no other text that npchat hashes begins with.
const COMPARE_LABEL: &[u8] = b"npchat/2 compare\0";

/// The secret by which a relay knows a friend's post from a stranger's (PROTOCOL.md, Passes). Erased when dropped.
#[derive(Clone)]
pub struct Pass([u8; PASS_BYTES]);

impl Pass {
    /// A new pass; `None` if the system has no random numbers.
    #[must_use]
    pub fn generate() -> Option<Self> {
        let mut bytes = [0; PASS_BYTES];
        fill(&mut bytes).ok()?;
        Some(Self(bytes))
    }

    /// The pass with these bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; PASS_BYTES]) -> Self {
        Self(bytes)
    }

    /// The secret bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; PASS_BYTES] {
        &self.0
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// In a time that doesn't depend on the bytes.
impl PartialEq for Pass {
    fn eq(&self, other: &Self) -> bool {
        verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl Eq for Pass {}

impl fmt::Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pass(…)")
    }
}

/// What somebody who speaks envelope v2 gives to others: keys, relay and name. Nobody has signed it: who hands it on
/// may have changed it, which [`ComparingDigits`] reveal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// The key whose hash is the id; a point of the curve.
    pub auth: PublicKey,
    /// What messages are sealed to.
    pub dh: AgreementKey,
    /// The relay that messages are posted to.
    pub origin: Origin,
    /// What the owner calls itself.
    pub name: Name,
    /// What the owner's relay wants to see with a post.
    pub pass: Option<Pass>,
}

/// What a link of another person says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Introduction {
    /// Of somebody who speaks envelope v2.
    Card(Card),
    /// Of somebody who is known to speak envelope v1 alone.
    Shareable(Shareable),
}

/// What npchat-web gives to others, decoded: a [`Card`] of somebody who speaks envelope v1 alone. Its name is never
/// empty there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shareable(pub Card);

/// What is wrong with a card, a shareable or a link. All of it is the fault of whoever wrote or copied it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CardError {
    /// Over [`LINK_MAX_BYTES`] as a text, or over [`CARD_MAX_BYTES`].
    TooLong,
    /// It ends too early: a part of a link was copied.
    TooShort,
    /// Neither a card nor a shareable: not base64url, or it begins with something else.
    Unknown,
    /// A card of a version that this one doesn't know.
    UnknownVersion,
    /// A shareable isn't JSON with `contact`, or a member is missing.
    Malformed,
    /// A key isn't an uncompressed point of the curve.
    BadKey,
    /// The origin breaks its grammar.
    BadOrigin,
    /// The name isn't UTF-8, too long, or, in a shareable, empty.
    BadName,
    /// What follows the name isn't a pass.
    BadPass,
}

impl fmt::Display for CardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "the link is too long",
            Self::TooShort => "the link is incomplete: its end is missing",
            Self::Unknown => "this is no link of npchat",
            Self::UnknownVersion => "the link needs a newer version of npchat",
            Self::Malformed => "the shareable in the link is malformed",
            Self::BadKey => "a key in the link is malformed",
            Self::BadOrigin => "the relay's address in the link is malformed",
            Self::BadName => "the name in the link is malformed",
            Self::BadPass => "the pass in the link is malformed",
        })
    }
}

impl std::error::Error for CardError {}

impl Introduction {
    /// Reads a link `<page>#<…>`, or what follows its `#`. White space around it is cut off.
    ///
    /// # Errors
    /// Any [`CardError`].
    pub fn parse(link: &str) -> Result<Self, CardError> {
        if link.len() > LINK_MAX_BYTES {
            return Err(CardError::TooLong);
        }
        let link = link.trim();
        let text = link.rsplit_once('#').map_or(link, |(_, fragment)| fragment);
        // The beginning of `{"` in base64url; a card begins with `Ag`.
        if text.starts_with("eyJ") {
            return Shareable::parse(text).map(Self::Shareable);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| CardError::Unknown)?;
        Card::parse(&bytes).map(Self::Card)
    }

    /// What both kinds have.
    #[must_use]
    pub fn card(&self) -> &Card {
        match self {
            Self::Card(card) | Self::Shareable(Shareable(card)) => card,
        }
    }
}

impl Card {
    /// Reads the bytes of a card.
    ///
    /// # Errors
    /// Any [`CardError`] but [`CardError::Malformed`].
    pub fn parse(bytes: &[u8]) -> Result<Self, CardError> {
        match bytes {
            [VERSION, ..] if bytes.len() > CARD_MAX_BYTES => return Err(CardError::TooLong),
            [VERSION, ..] => {}
            [3..=0x1f, ..] => return Err(CardError::UnknownVersion),
            _ => return Err(CardError::Unknown),
        }
        let rest = bytes.get(1..).unwrap_or_default();
        let (auth, rest) = split(rest, PUBLIC_KEY_BYTES)?;
        let (dh, rest) = split(rest, PUBLIC_KEY_BYTES)?;
        let (length, rest) = split(rest, 1)?;
        let (origin, rest) = split(rest, length.first().copied().unwrap_or_default().into())?;
        let (name, pass) = match rest.iter().position(|byte| *byte == 0) {
            Some(end) => (rest.get(..end).unwrap_or_default(), rest.get(end + 1..)),
            None => (rest, None),
        };
        let pass = pass.map(|pass| pass.try_into().map(Pass).map_err(|_| CardError::BadPass));
        Ok(Self {
            auth: read_auth(auth).ok_or(CardError::BadKey)?,
            dh: AgreementKey::from_sec1(dh).ok_or(CardError::BadKey)?,
            origin: str::from_utf8(origin)
                .ok()
                .and_then(Origin::parse)
                .ok_or(CardError::BadOrigin)?,
            name: str::from_utf8(name)
                .ok()
                .and_then(Name::parse)
                .ok_or(CardError::BadName)?,
            pass: pass.transpose()?,
        })
    }

    /// `02 || A || D || n || origin || name`, and `00 || pass` if it has one.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(CARD_MAX_BYTES);
        out.push(VERSION);
        out.extend_from_slice(self.auth.as_bytes());
        out.extend_from_slice(self.dh.as_bytes());
        // An origin's length fits: its parser says so.
        out.push(u8::try_from(self.origin.as_str().len()).unwrap_or(u8::MAX));
        out.extend_from_slice(self.origin.as_str().as_bytes());
        out.extend_from_slice(self.name.as_str().as_bytes());
        if let Some(pass) = &self.pass {
            out.push(0);
            out.extend_from_slice(pass.as_bytes());
        }
        out
    }

    /// The card as what follows `#` in a link.
    #[must_use]
    pub fn to_fragment(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.to_bytes())
    }

    /// The link to hand over: `page`, the address of a page that can open it, and the card behind `#`.
    #[must_use]
    pub fn to_link(&self, page: &str) -> String {
        format!("{page}#{}", self.to_fragment())
    }

    /// The same as npchat-web's clients take it: no text in it says that the owner speaks anything but envelope v1.
    #[must_use]
    pub fn to_shareable(&self) -> String {
        let mut json = String::from(r#"{"contact":{"name":"#);
        push_string(&mut json, self.name.as_str());
        push_member(&mut json, "origin", self.origin.as_str());
        let [auth, dh] = [self.auth.as_bytes(), self.dh.as_bytes()].map(|key| URL_SAFE_NO_PAD.encode(key));
        json.push_str(r#","keys":{"auth":{"base64":""#);
        json.push_str(&auth);
        json.push_str(r#""},"dh":{"base64":""#);
        json.push_str(&dh);
        json.push_str(r#""}}"#);
        if let Some(pass) = &self.pass {
            push_member(&mut json, "pass", &URL_SAFE_NO_PAD.encode(pass.as_bytes()));
        }
        json.push_str("}}");
        URL_SAFE_NO_PAD.encode(json)
    }

    /// The id of the owner.
    #[must_use]
    pub fn id(&self) -> RecipientId {
        self.auth.id()
    }
}

impl Shareable {
    /// Reads the base64url of `{"contact":{"name":…,"origin":…,"keys":{"auth":{"base64":…},"dh":{"base64":…}}}}`, its
    /// members in any order, unknown ones ignored (PROTOCOL.md, Cards).
    ///
    /// npchat-web takes no shareable without a name or an origin, so neither does this.
    ///
    /// # Errors
    /// Any [`CardError`].
    pub fn parse(text: &str) -> Result<Self, CardError> {
        if text.len() > LINK_MAX_BYTES {
            return Err(CardError::TooLong);
        }
        let json = URL_SAFE_NO_PAD.decode(text).map_err(|_| CardError::Malformed)?;
        let document = Json::parse(&json).ok_or(CardError::Malformed)?;
        Self::read(document.member("contact").ok_or(CardError::Malformed)?)
    }

    /// Reads the value of `contact`.
    pub(super) fn read(contact: &Json) -> Result<Self, CardError> {
        let text = |name| contact.text(name).ok_or(CardError::Malformed);
        let keys = contact.member("keys").ok_or(CardError::Malformed)?;
        let key = |name| {
            let key = keys.member(name)?.member("base64")?;
            key.as_bytes::<PUBLIC_KEY_BYTES>()
        };
        let auth = key("auth").and_then(|key| read_auth(&key)).ok_or(CardError::BadKey)?;
        let dh = key("dh").and_then(|key| AgreementKey::from_sec1(&key));
        let name = Name::parse(text("name")?).filter(|name| !name.as_str().is_empty());
        let pass = contact
            .member("pass")
            .map(|pass| pass.as_bytes().map(Pass).ok_or(CardError::BadPass));
        Ok(Self(Card {
            auth,
            dh: dh.ok_or(CardError::BadKey)?,
            origin: Origin::parse(text("origin")?).ok_or(CardError::BadOrigin)?,
            name: name.ok_or(CardError::BadName)?,
            pass: pass.transpose()?,
        }))
    }
}

/// The keys of somebody, as far as they are compared.
pub type Keys<'a> = (&'a PublicKey, &'a AgreementKey);

/// 30 digits that two people read to each other, in six groups: if they are the same on both sides, nobody has changed
/// a key of either card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ComparingDigits([u64; 6]);

impl ComparingDigits {
    /// The digits for these two, in whichever order.
    #[must_use]
    pub fn of(ours: Keys<'_>, theirs: Keys<'_>) -> Self {
        let mut sides = [ours, theirs].map(|(auth, dh)| [*auth.as_bytes(), *dh.as_bytes()]);
        sides.sort_unstable();
        let hash = Sha256::new_with_prefix(COMPARE_LABEL);
        let hash = hash.chain_update(sides.as_flattened().as_flattened()).finalize();
        let mut groups = [0; 6];
        for (group, bytes) in groups.iter_mut().zip(hash.as_chunks::<5>().0) {
            *group = bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)) % 100_000;
        }
        Self(groups)
    }
}

/// Six groups of five digits with a space between them.
impl fmt::Display for ComparingDigits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, group) in self.0.iter().enumerate() {
            f.write_str(if place == 0 { "" } else { " " })?;
            write!(f, "{group:05}")?;
        }
        Ok(())
    }
}

fn split(bytes: &[u8], length: usize) -> Result<(&[u8], &[u8]), CardError> {
    bytes.split_at_checked(length).ok_or(CardError::TooShort)
}

fn read_auth(bytes: &[u8]) -> Option<PublicKey> {
    PublicKey::from_sec1(bytes).filter(is_on_curve)
}

#[cfg(test)]
mod tests;
