use super::*;

const ID: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc";

/// What a POST to this target names, or a GET where it has none.
fn named_by(target: &str) -> Resource {
    let head = format!("POST {target} HTTP/1.1\r\nHost: relay.example\r\n\r\n");
    Resource::of(RequestHead::parse(head.as_bytes()).unwrap().target)
}

fn ttl_of(fields: &str) -> Result<Option<u64>, Refusal> {
    let head = format!("GET / HTTP/1.1\r\nHost: relay.example\r\n{fields}\r\n");
    let head = RequestHead::parse(head.as_bytes()).unwrap();
    ttl_seconds(head.ttl)
}

#[test]
fn each_path_names_one_thing() {
    let mailbox = |live_only| Resource::Mailbox {
        id: RecipientId::from_bytes([7; 32]),
        live_only,
    };
    for (target, named) in [
        ("/", Resource::Root),
        ("/?x=1", Resource::Root),
        ("/info", Resource::Info),
        ("/healthz?", Resource::Health),
        ("/readyz", Resource::Ready),
        ("/readyz?", Resource::Ready),
        ("/ready", Resource::BadId),
        ("/infos", Resource::BadId),
        ("/Info", Resource::BadId),
        ("//info", Resource::BadId),
        ("/info/", Resource::BadId),
        ("info", Resource::BadId),
        ("?", Resource::BadId),
        ("*", Resource::BadId),
        ("relay.example:443", Resource::BadId),
        ("ftp://relay.example/info", Resource::BadId),
        (&format!("/{ID}"), mailbox(false)),
        (&format!("/{ID}/"), Resource::BadId),
        (&format!("/{ID}?store=false"), mailbox(true)),
        (&format!("/{ID}?a&store=false&b"), mailbox(true)),
        (&format!("/{ID}?store=true"), mailbox(false)),
        (&format!("/{ID}?store=falsehood"), mailbox(false)),
        (&format!("/{ID}?restore=false"), mailbox(false)),
        (&format!("http://relay.example/{ID}?store=false"), mailbox(true)),
        (&format!("https://relay.example:443/{ID}"), mailbox(false)),
        ("http://relay.example", Resource::Root),
        ("http://relay.example?x", Resource::Root),
    ] {
        assert_eq!(named_by(target), named, "{target}");
    }
    assert_eq!(Resource::of(Target::Asterisk), Resource::Asterisk);
}

#[test]
fn a_ttl_is_a_number_of_any_size() {
    for (fields, ttl) in [
        ("", Ok(None)),
        ("TTL: 0\r\n", Ok(Some(0))),
        ("TTL: 0060\r\n", Ok(Some(60))),
        ("TTL: 18446744073709551615\r\n", Ok(Some(u64::MAX))),
        ("TTL: 18446744073709551616\r\n", Ok(Some(u64::MAX))),
        ("TTL: 99999999999999999999999999999999\r\n", Ok(Some(u64::MAX))),
        ("TTL: 99999999999999999999999999999999x\r\n", Err(Refusal::BadTtl)),
        ("TTL:\r\n", Err(Refusal::BadTtl)),
        ("TTL: -1\r\n", Err(Refusal::BadTtl)),
        ("TTL: +1\r\n", Err(Refusal::BadTtl)),
        ("TTL: 1.5\r\n", Err(Refusal::BadTtl)),
        ("TTL: 1, 1\r\n", Err(Refusal::BadTtl)),
        ("TTL: day\r\n", Err(Refusal::BadTtl)),
        ("TTL: 1\r\nTTL: 1\r\n", Err(Refusal::BadTtl)),
    ] {
        assert_eq!(ttl_of(fields), ttl, "{fields}");
    }
}
