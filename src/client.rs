//! What a client of npchat needs besides a connection: who somebody is, and what is sealed into a message.
//!
//! Everything here takes bytes and `now` and returns values: no socket, no clock; identity files alone
//! touch a disk. It is built on [`crate::protocol`] without the server, which never looks into a message.
//!
//! A message is made of a [`content::Content`] by [`envelope2::seal`], with the [`identity::Identity`] of its sender
//! and the [`card::Card`] of its recipient, and read by [`envelope2::open`]. With somebody who gave a
//! [`card::Shareable`], and hasn't been seen with envelope v2, it is [`envelope1`].
//!
//! ```
//! use npchat::client::content::{Body, Content, Heads};
//! use npchat::client::envelope2;
//! use npchat::client::identity::Identity;
//! use npchat::client::names::{Name, Origin};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let now_ms = 1_793_000_000_000;
//! let relay = Origin::parse("https://relay.example").ok_or("no origin")?;
//! let alice = Identity::generate(Name::default(), relay.clone(), now_ms)?;
//! let bob = Identity::generate(Name::default(), relay, now_ms)?;
//! let card = bob.card(None);
//! let content = Content {
//!     time_ms: now_ms,
//!     to: card.id(),
//!     heads: Heads::default(),
//!     body: Body::Text("hello".into()),
//!     card: Some(alice.card_update()),
//! };
//! let envelope = envelope2::seal(&alice, &card.dh, &content.to_bytes())?;
//! let opened = envelope2::open(&bob, &envelope)?;
//! assert_eq!((opened.sender.id(), opened.content), (alice.id(), content));
//! # Ok(())
//! # }
//! ```
//!
//! | module | what lives there |
//! |---|---|
//! | [`identity`] | the keys, name and relay of a person; made, signed with, erased |
//! | [`identity::file`], [`identity::disk`] | the identity file, plain or with a passphrase; its rights, and how it is written |
//! | [`identity::web`] | what npchat-web exports |
//! | [`card`] | what people give to each other: cards, links, shareables; the digits that they compare |
//! | [`account`] | the core: contacts, conversations, requests of strangers, what is to be posted; sans-IO |
//! | [`thread`] | one conversation as a graph of messages: heads, gaps, order, what to send again |
//! | [`records`] | what is kept on disk, and the changes that are made to it |
//! | [`names`] | names and origins of people, as cards and messages carry them |
//! | [`keys`] | public keys that are known to be points of the curve |
//! | [`content`] | what is inside a message: text, file, acknowledgements, requests |
//! | [`envelope2`] | how it is signed and sealed: HPKE around a signed content |
//! | [`envelope1`] | the same as npchat-web writes and reads it |
//! | [`seal_error`] | what keeps a message from being sealed |
//! | `write` | JSON as the client writes it |

pub mod account;
pub mod card;
pub mod content;
pub mod envelope1;
pub mod envelope2;
pub mod identity;
pub mod keys;
pub mod names;
pub mod records;
pub mod seal_error;
pub mod thread;
mod write;
