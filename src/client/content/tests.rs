//! The rules of a content, member by member.

use super::*;

const TO: &str = "wnvU52OwiHMOsjJ6N1yRBAsPiBerRm9uHpDF-aBtDPs";
const DH: &str = "BAS7Vzc1BOLhEemN8RahGrjvsxhzlwouMxvL1_BRbCvIJ2RIjBa04Su5kO2vj9gezER3ZVFAroVOAYvi2hOBWUE";

fn hash(number: usize) -> MessageHash {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    MessageHash::from_bytes(bytes)
}

fn hashes<const MAX: usize>(count: usize) -> Hashes<MAX> {
    Hashes::new((0..count).map(hash).collect()).unwrap()
}

fn array(count: usize) -> String {
    let hashes: Vec<_> = (0..count).map(|number| format!("\"{}\"", hash(number))).collect();
    format!("[{}]", hashes.join(","))
}

fn card() -> CardUpdate {
    CardUpdate {
        name: Name::parse("Zoë \"Z\"").unwrap(),
        origin: Origin::parse("https://relay.example/npchat").unwrap(),
        dh: AgreementKey::from_sec1(&URL_SAFE_NO_PAD.decode(DH).unwrap()).unwrap(),
    }
}

/// The members after `t` and `to`.
fn parse(members: &str) -> Result<Content, ContentError> {
    Content::parse(format!(r#"{{"t":7,"to":"{TO}",{members}}}"#).as_bytes())
}

fn assert_refused(error: ContentError, members: &[&str]) {
    for members in members {
        assert_eq!(parse(members), Err(error), "{members}");
    }
}

#[test]
fn every_kind_is_read_back_as_it_was_written() {
    let file = File {
        name: "ä\\\".txt".into(),
        media_type: "text/plain".into(),
        data: (0..=255).collect(),
    };
    let want = Want {
        want: HashList::default(),
        have: hashes(HASHES_MAX),
    };
    for body in [
        Body::Text(String::new()),
        Body::Text("\0\u{1f}\u{7f}\u{2028}\"\\/ 🚀 ".into()),
        Body::File(file),
        Body::Unknown,
        Body::Ack(hashes(HASHES_MAX)),
        Body::Want(want),
    ] {
        for card in [None, Some(card())] {
            let content = Content {
                time_ms: TIME_MAX_MS,
                to: RecipientId::parse(TO.as_bytes()).unwrap(),
                heads: hashes(if body.is_message() { HEADS_MAX } else { 0 }),
                body: body.clone(),
                card,
            };
            assert_eq!(Content::parse(&content.to_bytes()), Ok(content));
        }
    }
}

#[test]
fn members_are_written_in_the_order_of_the_table_without_white_space() {
    let mut content = parse(r#""p":[],"text":"é\n/""#).unwrap();
    content.card = Some(card());
    let expected = format!(
        r#"{{"t":7,"to":"{TO}","p":[],"text":"é\n/","card":{{"name":"Zoë \"Z\"","origin":"{}","dh":"{DH}"}}}}"#,
        "https://relay.example/npchat"
    );
    assert_eq!(String::from_utf8(content.to_bytes()).unwrap(), expected);
}

#[test]
fn members_come_in_any_order_and_unknown_ones_are_ignored() {
    let text = format!(r#"{{"x":[{{"text":1}}],"text":"a","p":[ ],"later":null,"to":"{TO}","t":7}}"#);
    assert_eq!(Content::parse(text.as_bytes()), parse(r#""p":[],"text":"a""#));
}

#[test]
fn a_message_of_a_later_kind_keeps_its_place_and_other_later_kinds_are_refused() {
    let content = parse(&format!(r#""p":{},"poll":{{}}"#, array(2))).unwrap();
    assert_eq!((content.body, content.heads), (Body::Unknown, hashes(2)));
    assert_refused(ContentError::UnknownControl, &[r#""poll":{}"#, r#""card":{}"#]);
}

#[test]
fn only_messages_have_heads_and_all_of_them_do() {
    assert_refused(
        ContentError::BadHeads,
        &[
            r#""text":"a""#,
            r#""file":{"name":"","type":"","data":""}"#,
            r#""ack":[],"p":[]"#,
            r#""want":[],"have":[],"p":[]"#,
            r#""text":"a","p":null"#,
            r#""text":"a","p":{}"#,
            r#""text":"a","p":[1]"#,
            r#""text":"a","p":[""]"#,
            &format!(r#""text":"a","p":{}"#, array(HEADS_MAX + 1)),
            &format!(r#""text":"a","p":["{0}","{0}"]"#, hash(1)),
            &format!(r#""text":"a","p":["{}="]"#, hash(1)),
            // A second spelling of the last two bits.
            &format!(r#""text":"a","p":["{}"]"#, hash(0).to_string().replace('A', "B")),
        ],
    );
    assert!(parse(&format!(r#""text":"a","p":{}"#, array(HEADS_MAX))).is_ok());
}

#[test]
fn a_content_is_of_one_kind() {
    assert_refused(
        ContentError::SeveralKinds,
        &[
            r#""p":[],"text":"a","file":{"name":"","type":"","data":""}"#,
            r#""p":[],"text":"a","ack":[]"#,
            r#""ack":[],"want":[],"have":[]"#,
            r#""p":[],"text":"a","have":[]"#,
        ],
    );
    assert_refused(ContentError::BadText, &[r#""p":[],"text":1"#, r#""p":[],"text":null"#]);
}

#[test]
fn lists_of_hashes_are_bounded_and_a_request_has_both() {
    let too_many = array(HASHES_MAX + 1);
    assert_refused(
        ContentError::BadHashes,
        &[
            &format!(r#""ack":{too_many}"#),
            &format!(r#""want":[],"have":{too_many}"#),
            &format!(r#""want":{too_many},"have":[]"#),
            &format!(r#""ack":["{0}","{0}"]"#, hash(1)),
            r#""ack":"a""#,
            r#""want":[]"#,
            r#""have":[]"#,
        ],
    );
}

#[test]
fn a_file_has_a_name_a_type_and_data_in_base64url() {
    let name = "x".repeat(FILE_NAME_MAX_BYTES + 1);
    let media_type = "x".repeat(FILE_TYPE_MAX_BYTES + 1);
    assert_refused(
        ContentError::BadFile,
        &[
            r#""p":[],"file":"a""#,
            r#""p":[],"file":{"name":"a","type":"b"}"#,
            r#""p":[],"file":{"name":"a","data":""}"#,
            r#""p":[],"file":{"type":"a","data":""}"#,
            r#""p":[],"file":{"name":"","type":"","data":"AA=="}"#,
            r#""p":[],"file":{"name":"","type":"","data":"AB"}"#,
            r#""p":[],"file":{"name":"","type":"","data":"+/8"}"#,
            &format!(r#""p":[],"file":{{"name":"{name}","type":"","data":""}}"#),
            &format!(r#""p":[],"file":{{"name":"","type":"{media_type}","data":""}}"#),
        ],
    );
}

#[test]
fn a_card_has_a_name_an_origin_and_a_point_of_the_curve() {
    let off_curve = DH.replace("WUE", "WUI");
    let long = "x".repeat(65);
    let card = |name: &str, origin: &str, dh: &str| {
        format!(r#""p":[],"text":"a","card":{{"name":"{name}","origin":"{origin}","dh":"{dh}"}}"#)
    };
    assert!(parse(&card("", "http://a", DH)).is_ok());
    assert_refused(
        ContentError::BadCard,
        &[
            &card(&long, "http://a", DH),
            &card("\\u0000", "http://a", DH),
            &card("", "http://a/", DH),
            &card("", "http://a", &off_curve),
            &card("", "http://a", ""),
            r#""p":[],"text":"a","card":null"#,
            r#""p":[],"text":"a","card":{}"#,
        ],
    );
}

#[test]
fn a_time_is_an_integer_and_a_recipient_an_id() {
    let content = |time: &str, to: &str| {
        let text = format!(r#"{{"t":{time},"to":{to},"ack":[]}}"#);
        Content::parse(text.as_bytes()).map(|content| content.time_ms)
    };
    let to = format!("\"{TO}\"");
    assert_eq!(content("0", &to), Ok(0));
    assert_eq!(content("9007199254740991", &to), Ok(TIME_MAX_MS));
    for time in [
        "9007199254740992",
        "-1",
        "1.0",
        "1e3",
        "\"1\"",
        "null",
        "99999999999999999999",
    ] {
        assert_eq!(content(time, &to), Err(ContentError::BadTime), "{time}");
    }
    for to in ["1", "\"\"", &format!("\"{TO}=\""), &format!("\"{}\"", &TO[1..])] {
        assert_eq!(content("1", to), Err(ContentError::BadRecipient), "{to}");
    }
}

#[test]
fn what_is_no_single_object_is_no_content() {
    let good = format!(r#"{{"t":7,"to":"{TO}","p":[],"text":"a"}}"#);
    assert!(Content::parse(good.as_bytes()).is_ok());
    for text in [
        String::new(),
        "{}x".into(),
        "[]".into(),
        format!("{good} "),
        format!(" {good}"),
        format!("\u{feff}{good}"),
        format!("{good}{good}"),
        good.replace("\"p\"", "\"t\":7,\"p\""),
        good.replace("\"a\"", "\"\\ud800\""),
        good.replace("[]", &"[".repeat(40)),
        good.replace('}', ",\"x\":{\"y\":1,\"y\":2}}"),
    ] {
        assert_eq!(Content::parse(text.as_bytes()), Err(ContentError::Malformed), "{text}");
    }
    let mut latin = good.into_bytes();
    latin.splice(latin.len() - 3..latin.len() - 2, [0xe9]);
    assert_eq!(Content::parse(&latin), Err(ContentError::Malformed));
}

#[test]
fn a_content_that_fits_no_envelope_is_refused() {
    let fits = |length: usize| {
        let head = format!(r#"{{"t":7,"to":"{TO}","p":[],"text":""#);
        let text = "x".repeat(length - head.len() - 2);
        Content::parse(format!(r#"{head}{text}"}}"#).as_bytes()).map(|_| ())
    };
    assert_eq!(fits(CONTENT_MAX_BYTES), Ok(()));
    assert_eq!(fits(CONTENT_MAX_BYTES + 1), Err(ContentError::TooLong));
}

#[test]
fn the_first_hashes_that_differ_are_taken_and_the_others_left() {
    let mut numbers = [1, 1, 2, 1].into_iter().chain(3..20).map(hash);
    let heads = Heads::first_of(&mut numbers);
    assert_eq!(heads.to_vec(), (1..=HEADS_MAX).map(hash).collect::<Vec<_>>());
    assert_eq!(numbers.next(), Some(hash(HEADS_MAX + 1)));
    assert_eq!(Heads::new((0..=HEADS_MAX).map(hash).collect()), None);
    assert_eq!(Heads::new(vec![hash(1), hash(2), hash(1)]), None);
}
