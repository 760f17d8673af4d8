//! ES256 by aws-lc-rs and by p256: they agree on every key, message and signature.
//!
//! Nearly all random signatures fail alike, so each input starts from a good one and says how to spoil it.

#![no_main]

use std::sync::LazyLock;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use p256::ecdsa::signature::Verifier;
use p256::ecdsa::{RecoveryId, Signature, VerifyingKey};
use sha2::{Digest, Sha256};

use npchat::protocol::id::PublicKey;
use npchat::protocol::signature::verify;
use testkit::Identity;

/// The same from run to run, so that a finding is.
static SIGNERS: LazyLock<[Identity; 2]> = LazyLock::new(|| [7, 11].map(Identity::numbered));

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    origin: Origin,
    changes: Vec<Change>,
    message: &'a [u8],
}

/// Where the key and the signature come from.
#[derive(Debug, Arbitrary)]
enum Origin {
    /// One of the keys has signed.
    Signed { second_key: bool },
    /// A signature of these numbers, and the key that it is good for: so `r` and `s` can be anything.
    Recovered {
        r: Number,
        s: Number,
        is_y_odd: bool,
        is_x_reduced: bool,
    },
    /// Nothing fits together.
    Random { key: [u8; 32], r: Number, s: Number },
}

/// A way to spoil it, or nearly.
#[derive(Debug, Arbitrary)]
enum Change {
    KeyBit(u16),
    SignatureBit(u16),
    X(Number),
    Y(Number),
    R(Number),
    S(Number),
    /// The signature's twin, which is as good.
    NegateS,
    SwapHalves,
    /// The other point with this x: another key.
    NegateY,
    /// The first byte, which tells the form of the point.
    Form(u8),
    /// The message gets longer by this byte.
    Message(u8),
}

/// 32 bytes, big-endian, with a liking for the edges.
#[derive(Debug, Arbitrary)]
enum Number {
    Any([u8; 32]),
    Small(u16),
    /// The order of the group, a little more or less.
    NearOrder(i8),
    /// The prime of the field, a little more or less.
    NearPrime(i8),
    /// What is left over between the order and the prime, a little more or less.
    NearGap(i8),
    Largest,
}

/// n, the order of the group (SEC 2 §2.4.2).
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa,
    0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];
/// p, the prime of the field.
const PRIME: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
];

fuzz_target!(|input: Input<'_>| {
    let mut message = input.message.to_vec();
    let Some((mut key, mut signature)) = input.origin.make(&message) else {
        return;
    };
    let unspoiled = input.changes.is_empty() && !matches!(input.origin, Origin::Random { .. });
    for change in input.changes.iter().take(8) {
        change.apply(&mut key, &mut signature, &mut message);
    }
    let by_p256 = verify_with_p256(&key, &message, &signature);
    assert!(by_p256 || !unspoiled, "a good signature");
    match PublicKey::from_sec1(&key) {
        Some(key) => assert_eq!(verify(&key, &message, &signature), by_p256),
        None => assert_ne!(key[0], 0x04),
    }
});

fn verify_with_p256(key: &[u8; 65], message: &[u8], signature: &[u8; 64]) -> bool {
    let (Ok(key), Ok(signature)) = (VerifyingKey::from_sec1_bytes(key), Signature::from_slice(signature)) else {
        return false;
    };
    key.verify(message, &signature).is_ok()
}

impl Origin {
    /// `None` if there is no such key.
    fn make(&self, message: &[u8]) -> Option<([u8; 65], [u8; 64])> {
        match self {
            Self::Signed { second_key } => {
                let signer = &SIGNERS[usize::from(*second_key)];
                Some((signer.point(), signer.sign_bytes(message)))
            }
            Self::Recovered {
                r,
                s,
                is_y_odd,
                is_x_reduced,
            } => {
                let signature = join(r.bytes(), s.bytes());
                let key = VerifyingKey::recover_from_prehash(
                    &Sha256::digest(message),
                    &Signature::from_slice(&signature).ok()?,
                    RecoveryId::new(*is_y_odd, *is_x_reduced),
                );
                let point = key.ok()?.to_sec1_point(false);
                Some((point.as_bytes().try_into().ok()?, signature))
            }
            Self::Random { key, r, s } => {
                let mut point = [0x04; 65];
                point[1..33].copy_from_slice(key);
                Some((point, join(r.bytes(), s.bytes())))
            }
        }
    }
}

impl Change {
    fn apply(&self, key: &mut [u8; 65], signature: &mut [u8; 64], message: &mut Vec<u8>) {
        match self {
            Self::KeyBit(bit) => key[usize::from(bit / 8) % 65] ^= 1 << (bit % 8),
            Self::SignatureBit(bit) => signature[usize::from(bit / 8) % 64] ^= 1 << (bit % 8),
            Self::X(number) => key[1..33].copy_from_slice(&number.bytes()),
            Self::Y(number) => key[33..].copy_from_slice(&number.bytes()),
            Self::R(number) => signature[..32].copy_from_slice(&number.bytes()),
            Self::S(number) => signature[32..].copy_from_slice(&number.bytes()),
            Self::NegateS => negate(&mut signature[32..], &ORDER),
            Self::SwapHalves => signature.rotate_left(32),
            Self::NegateY => negate(&mut key[33..], &PRIME),
            Self::Form(byte) => key[0] = *byte,
            Self::Message(byte) => message.push(*byte),
        }
    }
}

impl Number {
    fn bytes(&self) -> [u8; 32] {
        match self {
            Self::Any(bytes) => *bytes,
            Self::Small(number) => {
                let mut bytes = [0; 32];
                bytes[30..].copy_from_slice(&number.to_be_bytes());
                bytes
            }
            Self::NearOrder(off) => near(ORDER, *off),
            Self::NearPrime(off) => near(PRIME, *off),
            Self::NearGap(off) => {
                let mut gap = ORDER;
                negate(&mut gap, &PRIME);
                near(gap, *off)
            }
            Self::Largest => [0xff; 32],
        }
    }
}

fn join(r: [u8; 32], s: [u8; 32]) -> [u8; 64] {
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(&r);
    signature[32..].copy_from_slice(&s);
    signature
}

/// `number + off`, which doesn't leave 256 bits for the numbers used here.
fn near(mut number: [u8; 32], off: i8) -> [u8; 32] {
    let mut carry = i16::from(off);
    for byte in number.iter_mut().rev() {
        let sum = i16::from(*byte) + carry;
        *byte = sum.rem_euclid(256) as u8;
        carry = sum.div_euclid(256);
    }
    number
}

/// `modulus - number`, in 256 bits.
fn negate(number: &mut [u8], modulus: &[u8; 32]) {
    let mut borrow = 0;
    for (byte, modulus) in number.iter_mut().zip(modulus).rev() {
        let difference = i16::from(*modulus) - i16::from(*byte) - borrow;
        *byte = difference.rem_euclid(256) as u8;
        borrow = i16::from(difference < 0);
    }
}
