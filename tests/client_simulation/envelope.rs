//! What stands for envelopes: the same inside, in the same two versions, sealed by nothing.

use npchat::client::account::{Header1, Inside, Mail, Seal1};
use npchat::client::content::{Content, MessageHash};
use npchat::client::keys::AgreementKey;
use npchat::client::records::ContactRecord;

use crate::people;

/// One post's body.
#[derive(Clone)]
pub(crate) enum Envelope {
    V2 {
        sender: usize,
        content: Vec<u8>,
        sealed_to: AgreementKey,
    },
    V1(Vec<u8>),
}

impl Envelope {
    /// What is inside, if one of these keys opens it.
    pub(crate) fn open(&self, keys: &[AgreementKey]) -> Option<Mail> {
        match self {
            Self::V2 {
                sender,
                content,
                sealed_to,
            } => {
                let auth = people::auth(*sender);
                let inside = Inside::V2(Content::parse(content).expect("a good content"), content.clone());
                keys.contains(sealed_to).then(|| Mail {
                    sender: auth,
                    hash: MessageHash::of(&auth, content),
                    by_newest_card: keys.last() == Some(sealed_to),
                    inside,
                })
            }
            Self::V1(bytes) => Some(open1(bytes)),
        }
    }
}

/// Makes envelopes v1, each another one.
pub(crate) struct Sealer {
    pub(crate) sender: usize,
    pub(crate) count: u64,
}

impl Sealer {
    pub(crate) fn envelope(&mut self, header: Header1, text: &str) -> Vec<u8> {
        self.count += 1;
        let previous = header.previous.map_or(String::new(), |hash| hash.to_string());
        let Self { sender, count } = self;
        format!("{sender}\n{count}\n{}\n{previous}\n{text}", header.time_ms).into_bytes()
    }
}

impl Seal1 for Sealer {
    fn seal1(&mut self, _: &ContactRecord, header: Header1, text: &str) -> Option<(MessageHash, Vec<u8>)> {
        let envelope = self.envelope(header, text);
        Some((MessageHash::of(&people::auth(self.sender), &envelope), envelope))
    }
}

fn open1(bytes: &[u8]) -> Mail {
    let text = str::from_utf8(bytes).expect("what was sealed");
    let mut lines = text.splitn(5, '\n');
    let mut next = || lines.next().expect("five lines");
    let sender = people::auth(next().parse().expect("a number"));
    next();
    let time_ms = next().parse().expect("a time");
    let previous = MessageHash::parse(next().as_bytes());
    Mail {
        sender,
        hash: MessageHash::of(&sender, bytes),
        by_newest_card: true,
        inside: Inside::V1 {
            time_ms,
            previous,
            text: next().to_owned(),
        },
    }
}
