//! A body that comes in pieces, in blocks of one size, so that a client can't choose the size of an allocation.
//!
//! Charging the memory is the caller's task.

use std::borrow::Cow;

use crate::server::limits::BODY_BLOCK_BYTES;

/// What has come of a body.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// All full but the last.
    blocks: Vec<Box<[u8; BODY_BLOCK_BYTES]>>,
    length: usize,
}

impl Gathered {
    /// Bytes that have come.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    pub(super) fn append(&mut self, mut piece: &[u8]) {
        while !piece.is_empty() {
            let start = self.length % BODY_BLOCK_BYTES;
            if start == 0 {
                self.blocks.push(Box::new([0; BODY_BLOCK_BYTES]));
            }
            let Some(block) = self.blocks.last_mut() else { return };
            let (now, later) = piece.split_at(piece.len().min(BODY_BLOCK_BYTES - start));
            block[start..start + now.len()].copy_from_slice(now);
            self.length += now.len();
            piece = later;
        }
    }

    /// The body as one slice: copied if it is longer than a block.
    pub(super) fn whole(&self) -> Cow<'_, [u8]> {
        match &self.blocks[..] {
            [] => Cow::Borrowed(&[]),
            [only] => Cow::Borrowed(&only[..self.length]),
            blocks => {
                let mut body = Vec::with_capacity(self.length);
                for block in blocks {
                    body.extend_from_slice(&block[..(self.length - body.len()).min(BODY_BLOCK_BYTES)]);
                }
                Cow::Owned(body)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_any_size_come_out_as_the_same_body() {
        let body: Vec<u8> = (0..=250).cycle().take(3 * BODY_BLOCK_BYTES).collect();
        for length in [0, 1, BODY_BLOCK_BYTES, BODY_BLOCK_BYTES + 1, body.len()] {
            for step in [1, 7, BODY_BLOCK_BYTES, 5000, body.len()] {
                let mut gathered = Gathered::default();
                body[..length].chunks(step).for_each(|piece| gathered.append(piece));
                assert_eq!(gathered.len(), length);
                assert!(
                    *gathered.whole() == body[..length],
                    "{length} bytes in pieces of {step}"
                );
            }
        }
    }
}
