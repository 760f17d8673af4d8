//! Public keys that are known to be points of the curve (SP 800-56A §5.6.2.3.3, full validation).
//!
//! [`crate::protocol::id::PublicKey`] checks the form alone, since a signature can't verify with a bad point. A bad
//! point in a key agreement may reveal the private key, so nothing agrees with anything but an [`AgreementKey`].

use std::fmt;

use crate::protocol::id::{PUBLIC_KEY_BYTES, PublicKey};

/// The ECDH P-256 public key of somebody, `dh` in PROTOCOL.md: a point of the curve, and not the one at infinity.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AgreementKey([u8; PUBLIC_KEY_BYTES]);

impl AgreementKey {
    /// Takes an uncompressed SEC1 point. `None` if it has another form or length, or isn't on the curve.
    #[must_use]
    pub fn from_sec1(bytes: &[u8]) -> Option<Self> {
        let key = PublicKey::from_sec1(bytes)?;
        is_on_curve(&key).then_some(Self(*key.as_bytes()))
    }

    /// The uncompressed point, `04 || X || Y`.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; PUBLIC_KEY_BYTES] {
        &self.0
    }
}

/// It is public, and means nobody by itself: not so secret that a log must not have it, but of no use there.
impl fmt::Debug for AgreementKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AgreementKey(…)")
    }
}

/// Whether the key's coordinates are those of a point of P-256.
#[must_use]
pub fn is_on_curve(key: &PublicKey) -> bool {
    p256::PublicKey::from_sec1_bytes(key.as_bytes()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The generator of the group (SEC 2 §2.4.2).
    const GENERATOR: &str = "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296\
                             4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5";

    fn generator() -> Vec<u8> {
        let digits = GENERATOR.as_bytes().chunks(2);
        digits
            .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    #[test]
    fn a_key_is_an_uncompressed_point_of_the_curve() {
        let point = generator();
        assert_eq!(AgreementKey::from_sec1(&point).unwrap().as_bytes().as_slice(), point);
        for bit in 0..8 * PUBLIC_KEY_BYTES {
            let mut altered = point.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(AgreementKey::from_sec1(&altered), None, "bit {bit}");
        }
    }

    #[test]
    fn no_other_form_of_a_point_is_taken() {
        let point = generator();
        let compressed = [&[0x03], &point[1..33]].concat();
        let hybrid = [&[0x07], &point[1..]].concat();
        let zero = [&[0x04], &[0; 64][..]].concat();
        let largest = [&[0x04], &[0xff; 64][..]].concat();
        for bytes in [&[][..], &[0], &point[..64], &compressed, &hybrid, &zero, &largest] {
            assert_eq!(AgreementKey::from_sec1(bytes), None);
        }
        assert_eq!(AgreementKey::from_sec1(&[&point[..], &[0]].concat()), None);
    }
}
