//! What is inside a message: text, file, acknowledgements or a request, as JSON, read strictly and written exactly
//! (PROTOCOL.md, Content).
//!
//! Sealing and signing are not here, nor is what follows from a content: [`crate::client::envelope2`] does the one, a
//! conversation the other. The bytes that were hashed are kept by the caller: they may have members that this version
//! doesn't know, and are never written again from what was read.

mod hash;

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::client::keys::AgreementKey;
use crate::client::names::{Name, Origin};
use crate::client::write::{push_member, push_string};
use crate::protocol::id::{PUBLIC_KEY_BYTES, RecipientId};
use crate::protocol::json::Json;

pub use crate::client::content::hash::{HASHES_MAX, HEADS_MAX, HashList, Hashes, Heads, MessageHash};

/// Largest content: what is left of the largest plaintext, 255 blocks of 256 bytes, by a signature and a key.
pub const CONTENT_MAX_BYTES: usize = 255 * 256 - 64 - PUBLIC_KEY_BYTES;
/// Latest time in a content: the largest integer that every JSON reader has exactly (RFC 8259 §6), 2^53 - 1.
pub const TIME_MAX_MS: u64 = (1 << 53) - 1;
/// Largest name of a file in bytes of UTF-8.
pub const FILE_NAME_MAX_BYTES: usize = 255;
/// Largest media type of a file in bytes of UTF-8.
pub const FILE_TYPE_MAX_BYTES: usize = 127;

/// A hash as it stands in an array, with quotes and comma.
const HASH_IN_JSON_BYTES: usize = 46;
// The largest request fits an envelope, with a card beside it.
const _: () = assert!(2 * HASHES_MAX * HASH_IN_JSON_BYTES + 2048 < CONTENT_MAX_BYTES);

/// A content, its members parsed and none of them believed yet: who signed it is known to its envelope alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// Milliseconds since 1970 by the sender's clock, at most [`TIME_MAX_MS`]: `t`.
    pub time_ms: u64,
    /// Whom it is for. It is the sender itself in a copy that it made for its other devices.
    pub to: RecipientId,
    /// The messages of this conversation, of both sides, that the sender knew and that no other one known to it names:
    /// `p`. Messages alone have heads; they are empty, and aren't written, where [`Body::is_message`] is false.
    pub heads: Heads,
    /// What it says.
    pub body: Body,
    /// Where the sender is reached and with which key, if that is new: `card`.
    pub card: Option<CardUpdate>,
}

/// What a content says. The first three are messages, links of the conversation's graph; the others control it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// A message of text, perhaps an empty one.
    Text(String),
    /// A message that is a file.
    File(File),
    /// A message of a kind that this version doesn't know: it has heads and none of the known kinds. It takes its place
    /// in the conversation and is acknowledged like any other, so that nothing seems to be missing.
    Unknown,
    /// These messages of the other side have arrived.
    Ack(HashList),
    /// A request for messages that are missing.
    Want(Want),
}

impl Body {
    /// Whether this is a message: shown to people, and a link of the conversation.
    #[must_use]
    pub fn is_message(&self) -> bool {
        matches!(self, Self::Text(_) | Self::File(_) | Self::Unknown)
    }
}

/// "Send me what leads up to `want`, and isn't one of `have` or before it." An empty `want` means: to your heads.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Want {
    /// What is asked for.
    pub want: HashList,
    /// What is there.
    pub have: HashList,
}

/// A file within a message.
#[derive(Clone, PartialEq, Eq)]
pub struct File {
    /// What the sender calls it, at most [`FILE_NAME_MAX_BYTES`]. It is no path and safe for nothing.
    pub name: String,
    /// What the sender says that it is, at most [`FILE_TYPE_MAX_BYTES`], such as `image/png`.
    pub media_type: String,
    /// Its bytes.
    pub data: Vec<u8>,
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, media_type, data } = self;
        write!(f, "File({name:?}, {media_type:?}, {} bytes)", data.len())
    }
}

/// Where the sender of a content is reached now. One with a later time replaces an earlier one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardUpdate {
    /// What the sender calls itself.
    pub name: Name,
    /// Where its relay is.
    pub origin: Origin,
    /// What is to be sealed to from now on.
    pub dh: AgreementKey,
}

/// What is wrong with a content. All of it is the sender's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentError {
    /// Over [`CONTENT_MAX_BYTES`].
    TooLong,
    /// Not one JSON object from its first byte to its last, or a member twice in one object, or nested deeper than 32.
    Malformed,
    /// `t` is missing or not an integer of 0 to [`TIME_MAX_MS`].
    BadTime,
    /// `to` is missing or not an id.
    BadRecipient,
    /// `p` is missing in a message, is there in another content, or isn't an array of at most [`HEADS_MAX`] hashes.
    BadHeads,
    /// More than one of `text`, `file`, `ack`, and the pair of `want` and `have`.
    SeveralKinds,
    /// No kind that is known, and no `p` that makes it a message.
    UnknownControl,
    /// `text` isn't a string.
    BadText,
    /// `file` isn't an object of `name`, `type` and `data`, or one of them is too long or not base64url.
    BadFile,
    /// `ack`, `want` or `have` isn't an array of at most [`HASHES_MAX`] hashes, or one of the last two is missing.
    BadHashes,
    /// `card` isn't an object of a good name, a good origin, and a point of the curve as `dh`.
    BadCard,
}

impl fmt::Display for ContentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "the content is too long",
            Self::Malformed => "the content isn't a JSON object",
            Self::BadTime => "the content has no time",
            Self::BadRecipient => "the content names no recipient",
            Self::BadHeads => "the heads that the content names are malformed",
            Self::SeveralKinds => "the content is of several kinds",
            Self::UnknownControl => "the content is of no known kind",
            Self::BadText => "the text isn't a string",
            Self::BadFile => "the file is malformed",
            Self::BadHashes => "the hashes that the content names are malformed",
            Self::BadCard => "the sender's card is malformed",
        })
    }
}

impl std::error::Error for ContentError {}

impl Content {
    /// Reads a content without its padding. Members may come in any order; unknown ones are ignored.
    ///
    /// Strings that aren't Unicode (lone surrogates) and numbers that no `f64` holds aren't taken for JSON (RFC 8259 §6
    /// and §8.2 leave both open).
    ///
    /// # Errors
    /// Any [`ContentError`]; of several faults one is reported.
    pub fn parse(bytes: &[u8]) -> Result<Self, ContentError> {
        if bytes.len() > CONTENT_MAX_BYTES {
            return Err(ContentError::TooLong);
        }
        // White space around it would be hashed, and the padding isn't.
        let (Some(b'{'), Some(b'}')) = (bytes.first(), bytes.last()) else {
            return Err(ContentError::Malformed);
        };
        let document = Json::parse(bytes).ok_or(ContentError::Malformed)?;
        let time_ms = document.member("t").and_then(Json::as_count);
        let to = document.text("to");
        let body = read_body(&document)?;
        let heads = match (document.member("p"), body.is_message()) {
            (Some(heads), true) => Hashes::read(heads).ok_or(ContentError::BadHeads)?,
            (None, false) => Heads::default(),
            _ => return Err(ContentError::BadHeads),
        };
        let card = document
            .member("card")
            .map(|card| read_card(card).ok_or(ContentError::BadCard));
        Ok(Self {
            time_ms: time_ms
                .filter(|time| *time <= TIME_MAX_MS)
                .ok_or(ContentError::BadTime)?,
            to: to
                .and_then(|to| RecipientId::parse(to.as_bytes()))
                .ok_or(ContentError::BadRecipient)?,
            heads,
            body,
            card: card.transpose()?,
        })
    }

    /// The content as JSON without white space, its members in the order of the table in PROTOCOL.md: the bytes to
    /// hash, sign, seal and keep. A later time than [`TIME_MAX_MS`] is written as that one.
    ///
    /// They may be more than [`CONTENT_MAX_BYTES`], which fit no envelope.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = format!(r#"{{"t":{},"to":"{}""#, self.time_ms.min(TIME_MAX_MS), self.to);
        if self.body.is_message() {
            self.heads.write(&mut out, "p");
        }
        match &self.body {
            Body::Text(text) => push_member(&mut out, "text", text),
            Body::File(file) => file.write(&mut out),
            Body::Unknown => {}
            Body::Ack(hashes) => hashes.write(&mut out, "ack"),
            Body::Want(Want { want, have }) => {
                want.write(&mut out, "want");
                have.write(&mut out, "have");
            }
        }
        if let Some(card) = &self.card {
            card.write(&mut out);
        }
        out.push('}');
        out.into_bytes()
    }
}

impl File {
    fn write(&self, out: &mut String) {
        out.push_str(r#","file":{"name":"#);
        push_string(out, &self.name);
        push_member(out, "type", &self.media_type);
        out.push_str(r#","data":""#);
        URL_SAFE_NO_PAD.encode_string(&self.data, out);
        out.push_str(r#""}"#);
    }
}

impl CardUpdate {
    fn write(&self, out: &mut String) {
        out.push_str(r#","card":{"name":"#);
        push_string(out, self.name.as_str());
        push_member(out, "origin", self.origin.as_str());
        push_member(out, "dh", &URL_SAFE_NO_PAD.encode(self.dh.as_bytes()));
        out.push('}');
    }
}

fn read_body(document: &Json) -> Result<Body, ContentError> {
    let [text, file, ack, want, have, heads] =
        ["text", "file", "ack", "want", "have", "p"].map(|name| document.member(name));
    let is_want = want.is_some() || have.is_some();
    let kinds = [text.is_some(), file.is_some(), ack.is_some(), is_want];
    if kinds.into_iter().filter(|is_there| *is_there).count() > 1 {
        return Err(ContentError::SeveralKinds);
    }
    if let Some(text) = text {
        let text = text.as_text().ok_or(ContentError::BadText)?;
        return Ok(Body::Text(text.to_owned()));
    }
    if let Some(file) = file {
        return read_file(file).map(Body::File).ok_or(ContentError::BadFile);
    }
    if let Some(ack) = ack {
        return Hashes::read(ack).map(Body::Ack).ok_or(ContentError::BadHashes);
    }
    if is_want {
        let read = |hashes: Option<&Json>| hashes.and_then(Hashes::read).ok_or(ContentError::BadHashes);
        return Ok(Body::Want(Want {
            want: read(want)?,
            have: read(have)?,
        }));
    }
    heads.map(|_| Body::Unknown).ok_or(ContentError::UnknownControl)
}

fn read_file(file: &Json) -> Option<File> {
    let text = |name, limit| {
        let text = file.member(name)?.as_text()?;
        (text.len() <= limit).then(|| text.to_owned())
    };
    Some(File {
        name: text("name", FILE_NAME_MAX_BYTES)?,
        media_type: text("type", FILE_TYPE_MAX_BYTES)?,
        data: URL_SAFE_NO_PAD.decode(file.member("data")?.as_text()?).ok()?,
    })
}

fn read_card(card: &Json) -> Option<CardUpdate> {
    Some(CardUpdate {
        name: Name::parse(card.member("name")?.as_text()?)?,
        origin: Origin::parse(card.member("origin")?.as_text()?)?,
        dh: AgreementKey::from_sec1(&card.member("dh")?.as_bytes::<PUBLIC_KEY_BYTES>()?)?,
    })
}

#[cfg(test)]
mod tests;
