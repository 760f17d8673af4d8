//! What a login costs in signatures, and what it would cost with the crate that the clients and tests use.

use std::hint::black_box;

use criterion::Criterion;
use npchat::protocol::id::PublicKey;
use npchat::protocol::signature::verify;
use npchat::server::signer::ChallengeSigner;
use p256::ecdsa::signature::{Signer, Verifier};
use p256::ecdsa::{Signature, SigningKey, VerifyingKey};
use p256::elliptic_curve::Generate;

use crate::clock::CpuTime;

pub(crate) fn benches(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("auth");
    let mut signer = ChallengeSigner::new(u32::MAX).unwrap();
    group.bench_function("challenge", |bencher| bencher.iter(|| signer.issue().unwrap()));
    let mut rotating = ChallengeSigner::new(1).unwrap();
    group.bench_function("challenge with a fresh key", |bencher| {
        bencher.iter(|| rotating.issue().unwrap());
    });
    let challenge = signer.issue().unwrap();
    let key = PublicKey::from_sec1(signer.public_key()).unwrap();
    group.bench_function("verify", |bencher| {
        bencher.iter(|| {
            assert!(verify(black_box(&key), &challenge.text, &challenge.signature));
        });
    });
    let key = SigningKey::generate();
    group.bench_function("p256: sign", |bencher| {
        bencher.iter(|| -> Signature { key.sign(black_box(&challenge.text)) });
    });
    let signature: Signature = key.sign(&challenge.text);
    let key = VerifyingKey::from(&key);
    group.bench_function("p256: verify", |bencher| {
        bencher.iter(|| key.verify(black_box(&challenge.text), &signature).unwrap());
    });
    group.finish();
}
