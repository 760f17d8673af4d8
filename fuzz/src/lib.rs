//! What the fuzz targets share, beside the tests' kit: input in pieces, and people with keys.

pub mod people;

use arbitrary::Arbitrary;

/// Bytes, and where to cut them.
///
/// The first eight bytes of an input are the [`Cuts`], the rest is taken as it is: a seed can be written by hand.
#[derive(Debug, Arbitrary)]
pub struct Stream<'a> {
    /// How the bytes are cut.
    pub cuts: Cuts,
    /// The bytes.
    pub bytes: &'a [u8],
}

/// Lengths of pieces, taken in turn, over and over. A byte up to 0x7f is a length, one above counts in 64s.
#[derive(Debug, Clone, Copy, Arbitrary)]
pub struct Cuts([u8; Self::COUNT]);

impl Cuts {
    /// So many lengths, and they begin anew.
    pub const COUNT: usize = 8;

    /// The lengths, without end; 0 only where asked for.
    pub fn lengths(self) -> impl Iterator<Item = usize> {
        self.0.into_iter().cycle().map(|byte| match byte {
            0x00..=0x7f => usize::from(byte),
            _ => usize::from(byte - 0x7f) * 64,
        })
    }

    /// The bytes in pieces, none of them empty; one empty piece if there are no bytes. Of many bytes the pieces are
    /// larger than asked for, as no more can be learnt from a million of them.
    pub fn pieces(self, bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
        const PIECES_MAX: usize = 1024;
        let least = bytes.len() / PIECES_MAX + 1;
        let mut lengths = self.lengths().map(move |length| length.max(least));
        let mut rest = Some(bytes);
        std::iter::from_fn(move || {
            let bytes = rest.take()?;
            let length = lengths.next().unwrap_or(least).min(bytes.len());
            let (piece, tail) = bytes.split_at(length);
            rest = (!tail.is_empty()).then_some(tail);
            Some(piece)
        })
    }
}
