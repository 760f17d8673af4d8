use super::*;

const ID: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc";

fn named_by(target: &str) -> Result<Target, Refusal> {
    parse(target.as_bytes(), Method::Get).map(|(target, _)| target)
}

#[test]
fn each_path_names_one_thing() {
    let mailbox = |live_only| Target::Mailbox {
        id: RecipientId::from_bytes([7; 32]),
        live_only,
    };
    for (target, named) in [
        ("/", Target::Root),
        ("/?x=1", Target::Root),
        ("/info", Target::Info),
        ("/healthz?", Target::Health),
        ("/readyz", Target::Ready),
        ("/readyz?", Target::Ready),
        ("/ready", Target::BadId),
        ("/infos", Target::BadId),
        ("/Info", Target::BadId),
        ("//info", Target::BadId),
        ("/info/", Target::BadId),
        ("info", Target::BadId),
        ("?", Target::BadId),
        ("*", Target::BadId),
        ("relay.example:443", Target::BadId),
        ("ftp://relay.example/info", Target::BadId),
        (&format!("/{ID}"), mailbox(false)),
        (&format!("/{ID}/"), Target::BadId),
        (&format!("/{ID}?store=false"), mailbox(true)),
        (&format!("/{ID}?a&store=false&b"), mailbox(true)),
        (&format!("/{ID}?store=true"), mailbox(false)),
        (&format!("/{ID}?store=falsehood"), mailbox(false)),
        (&format!("/{ID}?restore=false"), mailbox(false)),
        (&format!("http://relay.example/{ID}?store=false"), mailbox(true)),
        (&format!("https://relay.example:443/{ID}"), mailbox(false)),
        ("http://relay.example", Target::Root),
        ("http://relay.example?x", Target::Root),
    ] {
        assert_eq!(named_by(target), Ok(named), "{target}");
    }
}

#[test]
fn the_asterisk_is_for_options_only() {
    assert_eq!(parse(b"*", Method::Options), Ok((Target::Asterisk, None)));
    assert_eq!(parse(b"*", Method::Post), Ok((Target::BadId, None)));
}

#[test]
fn a_target_is_ascii_and_an_absolute_one_has_a_host() {
    assert_eq!(named_by("/caf\u{e9}"), Err(Refusal::MalformedHead));
    for target in [
        "http://",
        "http:///info",
        "http://user@relay.example/info",
        "http://:80/",
    ] {
        assert_eq!(named_by(target), Err(Refusal::BadHost), "{target}");
    }
}

#[test]
fn an_authority_is_a_host_and_perhaps_a_port() {
    for text in [
        "relay.example",
        "relay.example:8080",
        "relay.example:",
        "192.0.2.7:1",
        "[::1]",
        "[2001:db8::7]:443",
        "a_b~c",
        "caf%C3%A9",
    ] {
        assert!(is_authority(text.as_bytes()), "{text}");
    }
    for text in [
        "",
        ":80",
        "[]",
        "[::1",
        "[::1]x",
        "[fe80::1%25eth0]",
        "[192.0.2.7]",
        "::1",
        "a b",
        "a,b c",
        "a/b",
        "a?b",
        "u@a",
        "a:b",
        "a:80:80",
        "a:123456",
        "a:-1",
        "%zz",
        "%2",
        "caf\u{e9}",
        "http://a",
    ] {
        assert!(!is_authority(text.as_bytes()), "{text}");
    }
}
