//! The rules of cards, links and shareables.

use super::*;

const AUTH: &str = "BHPV5A3LIHJnT2tRCdQYeKVkXSZlqWkjyVPbG30h3JjibWwhXsLawCG25phGxVN7R92zF-L4nA20ZK9CVukOPVc";
const DH: &str = "BGlP2DdYkQG3oSzr_ZNoDeEbcmmzKXiE59X38T5qrRCI7rbOM8dRkS1SnMLu3RlbRRGKIpGlU3G0oPCh4Oofejw";

fn key(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

fn card(name: &str, pass: Option<Pass>) -> Card {
    Card {
        auth: PublicKey::from_sec1(&key(AUTH)).unwrap(),
        dh: AgreementKey::from_sec1(&key(DH)).unwrap(),
        origin: Origin::parse("https://relay.example/npchat").unwrap(),
        name: Name::parse(name).unwrap(),
        pass,
    }
}

/// A card of these parts, however bad they are.
fn bytes(auth: &[u8], dh: &[u8], origin: &[u8], rest: &[u8]) -> Vec<u8> {
    let length = [u8::try_from(origin.len()).unwrap()];
    [&[2], auth, dh, &length, origin, rest].concat()
}

#[test]
fn a_card_is_read_back_as_it_was_written() {
    let pass = || Some(Pass::from_bytes([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0]));
    for name in ["", "alice", "ünïcödé 🚀", &"x".repeat(64)] {
        for pass in [None, pass()] {
            let card = card(name, pass);
            assert_eq!(Card::parse(&card.to_bytes()), Ok(card.clone()));
            let link = card.to_link("https://page.example/a#b");
            for text in [link, card.to_fragment(), format!(" \n#{}\r\n", card.to_fragment())] {
                assert_eq!(Introduction::parse(&text), Ok(Introduction::Card(card.clone())));
                assert!(card.to_fragment().starts_with("Ag"));
            }
        }
    }
    let mut longest = card(&"x".repeat(64), pass());
    longest.origin = Origin::parse(&format!("https://a/{}", "b".repeat(245))).unwrap();
    assert_eq!(longest.to_bytes().len(), CARD_MAX_BYTES);
    assert_eq!(Card::parse(&longest.to_bytes()), Ok(longest));
}

#[test]
fn a_shareable_is_read_back_as_it_was_written() {
    for pass in [None, Some(Pass::from_bytes([7; 16]))] {
        let card = card("\"Zoë\" \\ 🚀", pass);
        let text = card.to_shareable();
        assert!(text.starts_with("eyJ"));
        assert_eq!(Shareable::parse(&text), Ok(Shareable(card.clone())));
        let link = Introduction::parse(&format!("http://localhost:3000#{text}")).unwrap();
        assert_eq!(link, Introduction::Shareable(Shareable(card.clone())));
        assert_eq!(*link.card(), card);
    }
}

#[test]
fn a_card_that_is_cut_off_or_has_more_is_refused() {
    let full = card("", None).to_bytes();
    for length in 1..full.len() {
        assert_eq!(Card::parse(&full[..length]), Err(CardError::TooShort), "{length}");
    }
    assert_eq!(Card::parse(&[]), Err(CardError::Unknown));
    let with_pass = card("alice", Some(Pass::from_bytes([7; 16]))).to_bytes();
    for cut in 1..=16 {
        assert_eq!(
            Card::parse(&with_pass[..with_pass.len() - cut]),
            Err(CardError::BadPass)
        );
    }
    assert_eq!(Card::parse(&[&with_pass[..], b"x"].concat()), Err(CardError::BadPass));
    assert_eq!(Card::parse(&[&full[..], &[b'x'; 65]].concat()), Err(CardError::BadName));
    assert_eq!(
        Card::parse(&[&full[..], &[b'x'; 400]].concat()),
        Err(CardError::TooLong)
    );
}

#[test]
fn each_part_of_a_card_is_checked() {
    let (auth, dh) = (key(AUTH), key(DH));
    let origin = b"https://relay.example";
    assert!(Card::parse(&bytes(&auth, &dh, origin, b"alice")).is_ok());
    let off_curve = |key: &[u8]| [&key[..64], &[key[64] ^ 1]].concat();
    let hybrid = |key: &[u8]| [&[6], &key[1..]].concat();
    for (bad_auth, bad_dh) in [
        (off_curve(&auth), dh.clone()),
        (auth.clone(), off_curve(&dh)),
        (hybrid(&auth), dh.clone()),
        (auth.clone(), hybrid(&dh)),
        (vec![0; 65], dh.clone()),
    ] {
        assert_eq!(
            Card::parse(&bytes(&bad_auth, &bad_dh, origin, b"")),
            Err(CardError::BadKey)
        );
    }
    for origin in [
        &b""[..],
        b"relay.example",
        b"https://relay.example/",
        b"https://a b",
        b"http://\xff",
    ] {
        assert_eq!(Card::parse(&bytes(&auth, &dh, origin, b"")), Err(CardError::BadOrigin));
    }
    assert_eq!(
        Card::parse(&bytes(&auth, &dh, origin, b"\xff")),
        Err(CardError::BadName)
    );
    assert_eq!(
        Card::parse(&bytes(&auth, &dh, origin, b"alice\0")),
        Err(CardError::BadPass)
    );
    let mut later = bytes(&auth, &dh, origin, b"");
    later[0] = 3;
    assert_eq!(Card::parse(&later), Err(CardError::UnknownVersion));
    later[0] = 1;
    assert_eq!(Card::parse(&later), Err(CardError::Unknown));
}

#[test]
fn what_is_no_link_is_refused() {
    let fragment = card("alice", None).to_fragment();
    for text in [
        "",
        "#",
        "hello",
        "https://page.example/",
        &format!("{fragment}="),
        &format!("{fragment}+"),
    ] {
        assert_eq!(Introduction::parse(text), Err(CardError::Unknown), "{text}");
    }
    assert_eq!(
        Introduction::parse(&"x".repeat(LINK_MAX_BYTES + 1)),
        Err(CardError::TooLong)
    );
    // A link whose end got lost.
    let cut = &fragment[..fragment.len() / 8 * 4];
    assert_eq!(Introduction::parse(cut), Err(CardError::TooShort));
}

#[test]
fn each_member_of_a_shareable_is_checked() {
    let shareable = |name: &str, origin: &str, auth: &str, dh: &str| {
        let keys = format!(r#"{{"auth":{{"base64":"{auth}"}},"dh":{{"base64":"{dh}"}}}}"#);
        let json = format!(r#"{{"contact":{{"name":{name},"origin":"{origin}","keys":{keys}}}}}"#);
        Shareable::parse(&URL_SAFE_NO_PAD.encode(json)).err()
    };
    assert_eq!(shareable("\"a\"", "http://a", AUTH, DH), None);
    assert_eq!(shareable("\"\"", "http://a", AUTH, DH), Some(CardError::BadName));
    assert_eq!(shareable("1", "http://a", AUTH, DH), Some(CardError::Malformed));
    assert_eq!(shareable("\"a\"", "", AUTH, DH), Some(CardError::BadOrigin));
    assert_eq!(shareable("\"a\"", "http://a/", AUTH, DH), Some(CardError::BadOrigin));
    assert_eq!(shareable("\"a\"", "http://a", "", DH), Some(CardError::BadKey));
    assert_eq!(
        shareable("\"a\"", "http://a", AUTH, &AUTH[..86]),
        Some(CardError::BadKey)
    );
    for json in ["", "{}", "[]", r#"{"contact":1}"#, r#"{"contact":{},"contact":{}}"#] {
        let text = URL_SAFE_NO_PAD.encode(json);
        assert_eq!(Shareable::parse(&text), Err(CardError::Malformed), "{json}");
    }
}

#[test]
fn a_pass_is_compared_whole_and_shown_by_nothing() {
    let pass = Pass::generate().unwrap();
    assert_eq!(pass, Pass::from_bytes(*pass.as_bytes()));
    for byte in 0..PASS_BYTES {
        let mut other = *pass.as_bytes();
        other[byte] ^= 1;
        assert_ne!(pass, Pass::from_bytes(other));
    }
    let shown = format!("{:?}", card("alice", Some(pass)));
    assert!(shown.contains("Pass(…)"), "{shown}");
}

#[test]
fn comparing_digits_are_six_groups_of_five() {
    let card = card("", None);
    let digits = ComparingDigits::of((&card.auth, &card.dh), (&card.auth, &card.dh)).to_string();
    assert_eq!(digits.len(), 35);
    assert!(
        digits
            .split(' ')
            .all(|group| group.len() == 5 && group.bytes().all(|digit| digit.is_ascii_digit()))
    );
    assert_eq!(
        ComparingDigits([0, 1, 99_999, 12, 345, 6789]).to_string(),
        "00000 00001 99999 00012 00345 06789"
    );
}
