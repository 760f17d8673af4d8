//! A second implementation of HPKE's base mode, by p256 and SHA-256, and RFC 9180's own vector for both.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use p256::elliptic_curve::sec1::ToSec1Point;
use p256::{PublicKey, SecretKey};
use rustls::crypto::aws_lc_rs::hpke::DH_KEM_P256_HKDF_SHA256_AES_128;
use rustls::crypto::hpke::{EncapsulatedSecret, Hpke, HpkePrivateKey};
use sha2::{Digest, Sha256};

const KEM: &[u8] = b"KEM\x00\x10";

fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    let inner = Sha256::new_with_prefix(block.map(|byte| byte ^ 0x36));
    let inner = parts.iter().fold(inner, Sha256::chain_update).finalize();
    let outer = Sha256::new_with_prefix(block.map(|byte| byte ^ 0x5c));
    outer.chain_update(inner).finalize().into()
}

fn extract(suite: &[u8], salt: &[u8], label: &[u8], input: &[u8]) -> [u8; 32] {
    hmac(salt, &[b"HPKE-v1", suite, label, input])
}

fn expand<const N: usize>(suite: &[u8], key: &[u8], label: &[u8], info: &[u8]) -> [u8; N] {
    let length = u16::try_from(N).unwrap().to_be_bytes();
    let block = hmac(key, &[&length, b"HPKE-v1", suite, label, info, &[1]]);
    block[..N].try_into().unwrap()
}

/// RFC 9180 §6.1, `SealBase`, with AES of `KEY` bytes, from a given ephemeral key: `enc` and the ciphertext.
pub(crate) fn seal<const KEY: usize>(
    ephemeral: &[u8; 32],
    recipient: &[u8; 65],
    info: &[u8],
    aad: &[u8],
    plaintext: &[u8],
) -> ([u8; 65], Vec<u8>) {
    let ephemeral = SecretKey::from_slice(ephemeral).unwrap();
    let enc: [u8; 65] = ephemeral
        .public_key()
        .to_sec1_point(false)
        .as_bytes()
        .try_into()
        .unwrap();
    let recipient_key = PublicKey::from_sec1_bytes(recipient).unwrap();
    let agreed = ephemeral.diffie_hellman(&recipient_key);
    let extracted = extract(KEM, b"", b"eae_prk", agreed.raw_secret_bytes());
    let kem_context = [&enc[..], recipient].concat();
    let shared: [u8; 32] = expand(KEM, &extracted, b"shared_secret", &kem_context);

    let cipher = if KEY == 16 { 1 } else { 2 };
    let suite = [&b"HPKE\x00\x10\x00\x01\x00"[..], &[cipher]].concat();
    let psk_hash = extract(&suite, b"", b"psk_id_hash", b"");
    let context = [&[0][..], &psk_hash, &extract(&suite, b"", b"info_hash", info)].concat();
    let secret = extract(&suite, &shared, b"secret", b"");
    let key: [u8; KEY] = expand(&suite, &secret, b"key", &context);
    let nonce = expand(&suite, &secret, b"base_nonce", &context);

    let algorithm = if KEY == 16 { &AES_128_GCM } else { &AES_256_GCM };
    let key = LessSafeKey::new(UnboundKey::new(algorithm, &key).unwrap());
    let mut ciphertext = plaintext.to_vec();
    let nonce = Nonce::assume_unique_for_key(nonce);
    key.seal_in_place_append_tag(nonce, Aad::from(aad), &mut ciphertext)
        .unwrap();
    (enc, ciphertext)
}

fn hex<const N: usize>(digits: &str) -> [u8; N] {
    let bytes = digits.as_bytes().chunks(2);
    let bytes = bytes.map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap());
    bytes.collect::<Vec<_>>().try_into().unwrap()
}

#[test]
fn rfc_9180_appendix_a_3_1_is_sealed_by_the_second_implementation_and_opened_by_rustls() {
    let ephemeral = hex("4995788ef4b9d6132b249ce59a77281493eb39af373d236a1fe415cb0c2d7beb");
    let recipient_secret: [u8; 32] = hex("f3ce7fdae57e1a310d87f1ebbde6f328be0a99cdbcadf4d6589cf29de4b8ffd2");
    let recipient = hex("04fe8c19ce0905191ebc298a9245792531f26f0cece2460639e8bc39cb7f706a82\
                         6a779b4cf969b8a0e539c7f62fb3d30ad6aa8f80e30f1d128aafd68a2ce72ea0");
    let enc: [u8; 65] = hex("04a92719c6195d5085104f469a8b9814d5838ff72b60501e2c4466e5e67b325ac9\
                             8536d7b61a1af4b78e5b7f951c0900be863c403ce65c9bfcb9382657222d18c4");
    let ciphertext: [u8; 45] = hex("5ad590bb8baa577f8619db35a36311226a896e7342a6d836\
                                    d8b7bcd2f20b6c7f9076ac232e3ab2523f39513434");
    let (info, aad, plaintext) = (b"Ode on a Grecian Urn", b"Count-0", b"Beauty is truth, truth beauty");

    let sealed = seal::<16>(&ephemeral, &recipient, info, aad, plaintext);
    assert_eq!(sealed, (enc, ciphertext.to_vec()));

    let secret = HpkePrivateKey::from(recipient_secret.to_vec());
    let enc = EncapsulatedSecret(enc.to_vec());
    let opened = DH_KEM_P256_HKDF_SHA256_AES_128.open(&enc, info, aad, &ciphertext, &secret);
    assert_eq!(opened.unwrap(), plaintext);
}
