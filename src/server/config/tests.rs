//! Tests of the options, the parsing and the layering, without a process or its environment.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::Duration;

use tracing::level_filters::LevelFilter;

use super::values::Unit;
use super::*;
use crate::protocol::host::Host;

type Pairs<'a> = &'a [(&'a str, &'a str)];

/// Resolves flags and variables by their names.
fn resolve(flags: Pairs, variables: Pairs) -> Result<Config, ConfigError> {
    let flags: Vec<_> = flags.iter().map(|(flag, text)| (*flag, OsString::from(text))).collect();
    resolve_texts(&flags, variables)
}

fn resolve_texts(flags: &[(&str, OsString)], variables: Pairs) -> Result<Config, ConfigError> {
    let flags = flags
        .iter()
        .flat_map(|(flag, text)| [OsString::from(flag), text.clone()]);
    let arguments = [OsString::from("npchatd")].into_iter().chain(flags);
    let variable = |name: &OsStr| {
        let found = variables.iter().find(|(known, _)| *known == name)?;
        Some(OsString::from(found.1))
    };
    match parse(arguments, variable)? {
        Invocation::Run(config) => Ok(config),
        other => unreachable!("{other:?}"),
    }
}

/// Every option with a value: its flag and its variable, in the order of `--check`.
fn settings() -> Vec<(String, String)> {
    let command = command::command();
    let setting = |name: &str| {
        let mut all = command::settings(&command);
        let argument = all.find(|argument| argument.get_long() == Some(name)).unwrap();
        (
            format!("--{name}"),
            argument.get_env().unwrap().to_str().unwrap().to_owned(),
        )
    };
    let shown = Config::default().shown();
    shown
        .iter()
        .map(|(name, _)| *name)
        .chain(["config"])
        .map(setting)
        .collect()
}

/// The value of an option as `--check` shows it.
fn shown(config: &Config, name: &str) -> String {
    let shown = config.shown().into_iter().find(|(other, _)| *other == name);
    shown.unwrap().1
}

/// The least and the most that an option may be, as its error has them, if it is a number.
fn range(flag: &str) -> Option<[String; 2]> {
    let line = resolve(&[(flag, "99999999999999999999")], &[]).err()?.to_string();
    let (_, range) = line.split_once(" from ")?;
    let (least, most) = range.split_once(" to ")?;
    Some([least, most].map(str::to_owned))
}

/// The one line that these flags and variables get.
fn error(flags: Pairs, variables: Pairs) -> String {
    resolve(flags, variables).unwrap_err().to_string()
}

fn endpoint(scheme: Option<Scheme>, address: &str) -> Endpoint {
    let address = Address::Socket(address.parse().unwrap());
    Endpoint { scheme, address }
}

fn named(scheme: Option<Scheme>, name: &str, port: u16) -> Endpoint {
    let name = name.to_owned();
    Endpoint {
        scheme,
        address: Address::Named { name, port },
    }
}

#[test]
fn every_option_has_a_flag_and_a_variable_of_its_own_and_is_shown() {
    let all = settings();
    for (flag, variable) in &all {
        assert!(variable.starts_with("NPCHAT_"));
        assert_eq!(
            all.iter()
                .filter(|other| other.0 == *flag || other.1 == *variable)
                .count(),
            1
        );
    }
    assert_eq!(command::settings(&command::command()).count(), all.len());
}

#[test]
fn nothing_given_is_the_default_and_the_default_is_valid() {
    let config = resolve(&[], &[]).unwrap();
    assert_eq!(config, Config::default());
    assert_eq!(config.validate(), Ok(()));
    assert_eq!(config.listen, Listen::Default { port: 8000 });
    assert!(config.workers >= 1);
}

#[test]
fn what_is_shown_is_read_back_as_the_same() {
    let config = Config {
        message_ttl: Duration::from_secs(90),
        drain: Duration::ZERO,
        max_message: 65_537,
        log: LevelFilter::OFF,
        connection_memory: Some(5 << 20),
        connections: Some(77),
        listen: Listen::Addresses(vec![
            endpoint(None, "127.0.0.1:0"),
            endpoint(Some(Scheme::Http), "[::1]:8000"),
            named(None, "relay.example", 8000),
            Endpoint {
                scheme: Some(Scheme::Http),
                address: Address::Any { port: 80 },
            },
        ]),
        hosts: [&b"relay.example"[..], b"[::1]:8000"]
            .map(|text| Host::parse(text).unwrap())
            .into(),
        ..Config::default()
    };
    let options = config.shown();
    let skipped = ["port", "cert", "privkey"];
    let flags: Vec<_> = options
        .iter()
        .filter(|(name, _)| !skipped.contains(name))
        .map(|(name, text)| (format!("--{name}"), text.as_str()))
        .collect();
    let flags: Vec<_> = flags.iter().map(|(flag, text)| (flag.as_str(), *text)).collect();
    let again = resolve(&flags, &[]);
    assert_eq!(again, Ok(config));
}

#[test]
fn a_flag_beats_the_environment_which_beats_the_default() {
    let variables: Pairs = &[("NPCHAT_MSG_TTL", "5m"), ("NPCHAT_WORKERS", "3")];
    let config = resolve(&[("--msgttl", "90")], variables).unwrap();
    assert_eq!(config.message_ttl, Duration::from_secs(90));
    assert_eq!(config.workers, 3);
    assert_eq!(config.fresh_key, 5);
}

#[test]
fn an_empty_variable_is_unset_and_an_empty_flag_is_wrong() {
    let all = settings();
    let variables: Vec<_> = all.iter().map(|(_, variable)| (variable.as_str(), "")).collect();
    assert_eq!(resolve(&[], &variables), Ok(Config::default()));
    for (flag, _) in &all {
        assert!(error(&[(flag, "")], &[]).starts_with(flag));
    }
}

#[test]
fn durations_are_seconds_or_have_a_unit() {
    for (text, seconds) in [
        ("90", 90),
        ("90s", 90),
        ("5m", 300),
        ("12h", 43_200),
        ("7d", 604_800),
        ("1h 30m", 5400),
    ] {
        assert_eq!(Unit::Seconds.parse(text), Some(seconds), "{text}");
    }
    for text in [
        "",
        " ",
        "soon",
        "-1",
        "+5",
        "1500ms",
        "5 parsecs",
        " 5m",
        "0x10",
        "s",
        "1e3",
        "\u{665}",
    ] {
        assert_eq!(Unit::Seconds.parse(text), None, "{text}");
    }
}

#[test]
fn sizes_are_bytes_or_have_a_unit() {
    for (text, bytes) in [
        ("65536", 65_536),
        ("64KiB", 65_536),
        ("1GB", 1_000_000_000),
        ("1.5 MiB", 1_572_864),
    ] {
        assert_eq!(Unit::Bytes.parse(text), Some(bytes), "{text}");
    }
    for text in ["", "much", "-1", "+5", "5 bananas", ".", "1..5KiB", "KiB", "NaN"] {
        assert_eq!(Unit::Bytes.parse(text), None, "{text}");
    }
}

#[test]
fn no_number_wraps_around() {
    assert_eq!(Unit::Count.parse("18446744073709551616"), Some(u64::MAX));
    assert_eq!(Unit::Seconds.parse("99999999999999999999999"), Some(u64::MAX));
    assert_eq!(Unit::Bytes.parse("99999999999999EiB"), Some(u64::MAX));
    assert_eq!(Unit::Seconds.parse("99999999999999999999d"), None);
}

#[test]
fn the_ends_of_each_range_are_in_it_and_their_neighbours_are_not() {
    let mut ranges = 0;
    for (flag, _) in settings() {
        let Some([least, most]) = range(&flag) else { continue };
        let read = |text: &str| {
            [Unit::Seconds, Unit::Bytes]
                .into_iter()
                .find_map(|unit| unit.parse(text))
                .unwrap()
        };
        let outside = [read(&least).checked_sub(1), read(&most).checked_add(1), Some(u64::MAX)];
        for value in outside.into_iter().flatten() {
            let line = error(&[(&flag, &value.to_string())], &[]);
            assert!(line.starts_with(&format!("{flag}: {value} is not a")), "{line}");
        }
        for text in [least, most] {
            // What it contradicts is another matter.
            match resolve(&[(&flag, &text)], &[]) {
                Ok(config) => assert_eq!(read(&shown(&config, &flag[2..])), read(&text), "{flag}"),
                Err(error) => assert!(error.to_string().contains(" is too "), "{error}"),
            }
        }
        ranges += 1;
    }
    assert_eq!(ranges, 15);
}

#[test]
fn a_wrong_value_is_told_in_one_line_with_its_source() {
    for (flag, text, line) in [
        ("--port", "70000", "--port: 70000 is not a port (0 to 65535)"),
        ("--port", "-1", "--port: \"-1\" is not a port (0 to 65535)"),
        ("--workers", "0", "--workers: 0 is not a number from 1 to 1024"),
        ("--workers", "two", "--workers: \"two\" is not a whole number"),
        (
            "--max-message",
            "17MiB",
            "--max-message: \"17MiB\" is not a size from 1B to 16MiB",
        ),
        ("--drain", "2h", "--drain: \"2h\" is not a duration from 0s to 1h"),
        (
            "--log",
            "loud",
            "--log: \"loud\" is not one of off, error, warn, info, debug, trace",
        ),
        (
            "--log",
            "a\nb",
            "--log: \"a\\nb\" is not one of off, error, warn, info, debug, trace",
        ),
    ] {
        assert_eq!(error(&[(flag, text)], &[]), line);
    }
    assert_eq!(
        error(&[], &[("NPCHAT_MSG_TTL", "soon")]),
        "NPCHAT_MSG_TTL: \"soon\" is not a duration such as 90, 90s, 5m, 12h, 7d"
    );
}

#[test]
fn a_contradiction_blames_what_was_given() {
    assert_eq!(
        error(&[("--msgttl", "8d")], &[]),
        "--msgttl: 8d is too much for --max-ttl of 7d"
    );
    assert_eq!(
        error(&[], &[("NPCHAT_MAX_TTL", "30s")]),
        "NPCHAT_MAX_TTL: 30s is too little for --msgttl of 1m"
    );
    assert_eq!(
        error(&[("--max-message", "16MiB")], &[]),
        "--max-message: 16MiB is too much for --mailbox-bytes of 8MiB"
    );
    let one_message: Pairs = &[("--max-message", "1MiB"), ("--memory", "1MiB")];
    assert_eq!(
        error(one_message, &[]),
        "--max-message: 1MiB is too much for --memory of 1MiB"
    );
}

#[test]
fn a_config_made_by_hand_is_validated_too() {
    let wrong = |change: fn(&mut Config)| {
        let mut config = Config::default();
        change(&mut config);
        config.validate().unwrap_err().to_string()
    };
    assert_eq!(
        wrong(|config| config.workers = 0),
        "--workers: 0 is not a number from 1 to 1024"
    );
    assert_eq!(
        wrong(|config| config.message_ttl = Duration::from_millis(999)),
        "--msgttl: \"0s\" is not a duration from 1s to 3650d"
    );
    assert_eq!(
        wrong(|config| config.listen = Listen::Addresses(Vec::new())),
        "--listen: at least one address is needed"
    );
}

#[test]
fn hosts_are_taken_in_the_spelling_in_which_they_are_signed() {
    let config = resolve(&[("--host", "Relay.Example:443, relay.example:8443,[::1]:80")], &[]).unwrap();
    assert_eq!(shown(&config, "host"), "relay.example,relay.example:8443,[::1]");
    assert_eq!(shown(&Config::default(), "host"), "as requested");
    for text in [
        "wss://relay.example",
        "relay.example/",
        "a,,b",
        "a,",
        "caf\u{e9}",
        "::1",
        "as requested",
    ] {
        let told = error(&[("--host", text)], &[]);
        assert!(
            told.contains("is not a host such as chat.example.org or [::1]:8000"),
            "{told}"
        );
    }
}

#[test]
fn listening_is_said_with_a_port_or_with_addresses() {
    let listen = |flags: Pairs, variables: Pairs| resolve(flags, variables).map(|config| config.listen);
    let addresses = |texts: &[&str]| {
        Ok(Listen::Addresses(
            texts.iter().map(|text| endpoint(None, text)).collect(),
        ))
    };
    assert_eq!(listen(&[("--port", "0")], &[]), Ok(Listen::Default { port: 0 }));
    let both = "127.0.0.1:8000, [::1]:8000";
    assert_eq!(
        listen(&[("--listen", both)], &[]),
        addresses(&["127.0.0.1:8000", "[::1]:8000"])
    );
    assert_eq!(
        listen(&[("--port", "9000")], &[("NPCHAT_LISTEN", both)]),
        Ok(Listen::Default { port: 9000 })
    );
    assert_eq!(
        listen(&[("--listen", "[::1]:1")], &[("NPCHAT_PORT", "9000")]),
        addresses(&["[::1]:1"])
    );
    for text in [
        "localhost",
        "8000",
        ":",
        "localhost:",
        "localhost:http",
        "a b:8000",
        "caf\u{e9}:8000",
        "127.0.0.256:8000",
        "127.1:8000",
        ".:8000",
        "127.0.0.1",
        "::1:8000",
        "127.0.0.1:8000,",
        "127.0.0.1:65536",
        "ftp://127.0.0.1:8000",
        "https://",
        "https://localhost",
        "https://127.0.0.1:8443/",
        "HTTPS://127.0.0.1:8443",
    ] {
        assert!(
            error(&[("--listen", text)], &[]).contains("is not an address with a port such as"),
            "{text}"
        );
    }
}

#[test]
fn addresses_are_taken_as_gos_programs_take_them() {
    let text = ":8000,localhost:8001,https://relay.example.:443,http://:0";
    let certificate: Pairs = &[("NPCHAT_CERT", "a.pem"), ("NPCHAT_PRIVKEY", "b.pem")];
    let config = resolve(&[("--listen", text)], certificate).unwrap();
    let any = |scheme, port| Endpoint {
        scheme,
        address: Address::Any { port },
    };
    let expected = [
        any(None, 8000),
        named(None, "localhost", 8001),
        named(Some(Scheme::Https), "relay.example.", 443),
        any(Some(Scheme::Http), 0),
    ];
    assert_eq!(config.listen, Listen::Addresses(expected.into()));
    assert_eq!(shown(&config, "listen"), text);
}

#[test]
fn a_port_that_is_the_address_of_a_service_is_unset() {
    let variable = ("NPCHAT_PORT", "tcp://10.0.0.1:8000");
    assert_eq!(resolve(&[], &[variable]), Ok(Config::default()));
    let listen = ("NPCHAT_LISTEN", "127.0.0.1:1");
    assert!(resolve(&[], &[variable, listen]).is_ok());
    assert_eq!(
        error(&[("--port", variable.1)], &[]),
        "--port: \"tcp://10.0.0.1:8000\" is not a port (0 to 65535)"
    );
    for text in ["http://10.0.0.1:8000", "tcp:8000", "10.0.0.1:8000"] {
        assert!(error(&[], &[("NPCHAT_PORT", text)]).contains("is not a port"), "{text}");
    }
}

/// docs/operating.md has every option with its variable, default and range, in the order of `--check`.
#[test]
fn the_page_for_operators_has_every_setting_with_its_default_and_range() {
    let page = include_str!("../../../docs/operating.md");
    let mut rows = page.lines().filter(|line| line.starts_with("| `--"));
    for (name, variable) in settings() {
        let row = rows.next().unwrap_or_default();
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let [_, flags, in_environment, default, in_range, _, _] = cells[..] else {
            unreachable!("{name}: {row}");
        };
        assert!(flags.split(", ").any(|flag| flag == format!("`{name}`")), "{row}");
        assert_eq!(in_environment, format!("`{variable}`"), "{row}");
        assert_eq!(default.trim_matches('`'), command::default_text(&name[2..]), "{row}");
        if let Some([least, most]) = range(&name) {
            assert_eq!(in_range, format!("`{least}` to `{most}`"), "{row}");
        }
    }
    assert_eq!(rows.next(), None);
}

#[test]
fn an_address_may_say_what_is_spoken_there() {
    let text = "127.0.0.1:8000, http://127.0.0.1:80,https://[::1]:443";
    let certificate: Pairs = &[("NPCHAT_CERT", "a.pem"), ("NPCHAT_PRIVKEY", "b.pem")];
    let config = resolve(&[("--listen", text)], certificate).unwrap();
    let expected = [
        endpoint(None, "127.0.0.1:8000"),
        endpoint(Some(Scheme::Http), "127.0.0.1:80"),
        endpoint(Some(Scheme::Https), "[::1]:443"),
    ];
    assert_eq!(config.listen, Listen::Addresses(expected.into()));
    assert_eq!(
        error(&[("--listen", text)], &[]),
        "--listen: https://[::1]:443 needs --cert and --privkey"
    );
}

#[test]
fn a_certificate_and_its_key_come_together() {
    let files = CertificateFiles {
        certificate: "a.pem".into(),
        private_key: "b.pem".into(),
    };
    let config = resolve(&[("--cert", "a.pem")], &[("NPCHAT_PRIVKEY", "b.pem")]).unwrap();
    assert_eq!(config.certificate, Some(files));
    assert_eq!(
        error(&[("--cert", "a.pem")], &[]),
        "--cert: needs --privkey (NPCHAT_PRIVKEY) too"
    );
    assert_eq!(
        error(&[], &[("NPCHAT_PRIVKEY", "b.pem")]),
        "NPCHAT_PRIVKEY: needs --cert (NPCHAT_CERT) too"
    );
}

#[test]
fn what_is_not_utf_8_is_wrong_but_for_a_file() {
    let bytes = || OsString::from_vec(vec![b'x', 0xff]);
    let files = [("--cert", bytes()), ("--privkey", bytes())];
    let both = resolve_texts(&files, &[]).unwrap();
    assert_eq!(both.certificate.unwrap().certificate, PathBuf::from(bytes()));
    for (flag, _) in settings() {
        if !["--cert", "--privkey", "--config"].contains(&flag.as_str()) {
            let wrong = resolve_texts(&[(&flag, bytes())], &[]).unwrap_err();
            assert_eq!(wrong.to_string(), format!("{flag}: {:?} is not UTF-8", "x\u{fffd}"));
        }
    }
}
