//! What bytes alone decide of requests: no socket, and nothing of what they are for.

use npchat::server::http::{BodyDecoder, HeadScanner, HttpError, Method, RequestHead};

/// The default limit of a message.
pub(crate) const MAX_MESSAGE_BYTES: u64 = 64 * 1024;

/// One request taken from the start of the input: its method and body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) body: Vec<u8>,
}

/// What bytes turn into: good requests in order, then perhaps the refusal that ends them.
pub(crate) type Requests = (Vec<Request>, Option<HttpError>);

/// Reads requests from input that comes in pieces, as a connection does that keeps what it couldn't use. After an
/// upgrade it reads no further.
#[derive(Default)]
pub(crate) struct Reader {
    head: HeadScanner,
    unread: Vec<u8>,
    body: Option<(Method, BodyDecoder, Vec<u8>)>,
    done: Vec<Request>,
    is_upgraded: bool,
}

impl Reader {
    pub(crate) fn read_all<'i>(pieces: impl IntoIterator<Item = &'i [u8]>) -> Requests {
        let mut reader = Self::default();
        for piece in pieces {
            reader.unread.extend_from_slice(piece);
            if let Err(refusal) = reader.advance() {
                return (reader.done, Some(refusal));
            }
        }
        (reader.done, None)
    }

    fn advance(&mut self) -> Result<(), HttpError> {
        while !self.is_upgraded {
            if let Some((method, decoder, body)) = &mut self.body {
                let progress = decoder.append(&self.unread, body)?;
                self.unread.drain(..progress.consumed);
                if !progress.is_done {
                    return Ok(());
                }
                self.done.push(Request {
                    method: *method,
                    body: std::mem::take(body),
                });
                self.body = None;
            }
            let Some(length) = self.head.scan(&self.unread)? else {
                return Ok(());
            };
            let head = RequestHead::parse(self.unread.get(..length).unwrap_or_default())?;
            if let Some(upgrade) = &head.upgrade {
                upgrade.accept_key()?;
                self.is_upgraded = true;
            }
            let decoder = BodyDecoder::new(head.framing, MAX_MESSAGE_BYTES)?;
            self.body = Some((head.method, decoder, Vec::new()));
            self.head = HeadScanner::default();
            self.unread.drain(..length);
        }
        Ok(())
    }
}
