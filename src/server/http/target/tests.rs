use super::*;

fn parts_of(target: &str) -> Result<Target<'_>, HttpError> {
    parse(target.as_bytes(), Method::Get).map(|(target, _)| target)
}

#[test]
fn a_target_is_cut_at_its_first_question_mark() {
    for (target, path, query) in [
        ("/", "/", ""),
        ("/?", "/", ""),
        ("/?x=1", "/", "x=1"),
        ("/info/?a?b", "/info/", "a?b"),
        ("//info", "//info", ""),
        ("info", "info", ""),
        ("?", "", ""),
        ("*", "*", ""),
        ("relay.example:443", "relay.example:443", ""),
        ("ftp://relay.example/info", "ftp://relay.example/info", ""),
        ("http://relay.example/id?store=false", "/id", "store=false"),
        ("HTTPS://relay.example:443/id", "/id", ""),
        ("http://relay.example", "/", ""),
        ("http://relay.example?x", "/", "x"),
    ] {
        let (path, query) = (path.as_bytes(), query.as_bytes());
        assert_eq!(parts_of(target), Ok(Target::Path { path, query }), "{target}");
    }
}

#[test]
fn the_asterisk_is_for_options_only() {
    assert_eq!(parse(b"*", Method::Options), Ok((Target::Asterisk, None)));
    assert_ne!(parse(b"*", Method::Post), Ok((Target::Asterisk, None)));
}

#[test]
fn a_target_is_ascii_and_an_absolute_one_has_a_host() {
    assert_eq!(parts_of("/caf\u{e9}"), Err(HttpError::MalformedHead));
    for target in [
        "http://",
        "http:///info",
        "http://user@relay.example/info",
        "http://:80/",
    ] {
        assert_eq!(parts_of(target), Err(HttpError::BadHost), "{target}");
    }
}
