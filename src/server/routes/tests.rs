use super::*;

const ID: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc";

/// What a POST to this target names, or a GET where it has none.
fn named_by(target: &str) -> Resource {
    let head = format!("POST {target} HTTP/1.1\r\nHost: relay.example\r\n\r\n");
    Resource::of(RequestHead::parse(head.as_bytes()).unwrap().target)
}

fn page(path: &str) -> Resource {
    let route = ROUTES[..PAGES].iter().find(|route| route.path == path);
    Resource::Page(route.expect("a page"))
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
        ("/", page("/")),
        ("/?x=1", page("/")),
        ("/info", page("/info")),
        ("/healthz?", page("/healthz")),
        ("/readyz", page("/readyz")),
        ("/readyz?", page("/readyz")),
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
        ("http://relay.example", page("/")),
        ("http://relay.example?x", page("/")),
    ] {
        assert_eq!(named_by(target), named, "{target}");
    }
    assert_eq!(Resource::of(Target::Asterisk), Resource::Asterisk);
}

#[test]
fn each_method_of_each_path_is_answered_by_one() {
    use Answerer::{Methods, Refusal as Refused, Service};
    use Refusal::{BadId, MethodNotAllowed, UnknownMethod, UpgradeRequired};
    let mailbox = named_by(&format!("/{ID}"));
    for resource in [
        page("/"),
        page("/info"),
        page("/healthz"),
        page("/readyz"),
        mailbox,
        Resource::BadId,
    ] {
        let route = resource.route();
        let [get, post] = match resource {
            Resource::Page(_) => {
                assert!(matches!(route.get, Answerer::Page(_)));
                [route.get, Refused(MethodNotAllowed)]
            }
            Resource::Mailbox { .. } => [Refused(UpgradeRequired), Service],
            Resource::Asterisk | Resource::BadId => [Refused(BadId), Service],
        };
        for (method, answerer) in [
            (Method::Get, get),
            (Method::Head, get),
            (Method::Post, post),
            (Method::Options, Methods),
            (Method::Other, Refused(MethodNotAllowed)),
            (Method::Unknown, Refused(UnknownMethod)),
        ] {
            assert_eq!(route.answerer(method), answerer, "{method:?} {}", route.path);
        }
        assert_eq!(route.is_probe, matches!(route.path, "/healthz" | "/readyz"));
    }
    assert_eq!(Resource::Asterisk.route(), Resource::BadId.route());
}

#[test]
fn allow_lists_the_methods_that_a_path_has() {
    for route in &ROUTES {
        let has_post = route.post != Answerer::Refusal(Refusal::MethodNotAllowed);
        assert_eq!(
            route.allow.split(", ").any(|method| method == "POST"),
            has_post,
            "{route:?}"
        );
        for method in ["GET", "HEAD", "OPTIONS"] {
            assert!(route.allow.split(", ").any(|listed| listed == method), "{route:?}");
        }
    }
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
