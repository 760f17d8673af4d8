//! The file of `--config`: its place between variables and defaults, and what is wrong with a file.

use std::fs;
use std::path::Path;

use super::{CERT, KEY, USAGE, checked, refused};

/// A file of this name, which no other test may use, with this text.
fn written(name: &str, text: impl AsRef<[u8]>) -> String {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, text).unwrap();
    path.into_os_string().into_string().unwrap()
}

/// What a file of this text gets after its name.
#[track_caller]
fn fault(name: &str, text: impl AsRef<[u8]>) -> String {
    let file = written(name, text);
    let line = refused(USAGE, &["--check", "--config", &file], &[]);
    line.strip_prefix(&file).unwrap_or_else(|| panic!("{line}")).to_owned()
}

#[test]
fn the_file_stands_between_the_variables_and_the_defaults() {
    let file = written("between.toml", "msgttl = \"5m\"\nworkers = 3\n");
    let arguments = ["--config", &file];
    assert_eq!(checked("msgttl", &arguments, &[]), "5m");
    assert_eq!(checked("workers", &arguments, &[]), "3");
    assert_eq!(checked("freshkey", &arguments, &[]), "5");
    let variable = [("NPCHAT_MSG_TTL", "2m")];
    assert_eq!(checked("msgttl", &arguments, &variable), "2m");
    assert_eq!(
        checked("msgttl", &["--config", &file, "--msgttl", "90"], &variable),
        "90s"
    );
    assert_eq!(checked("msgttl", &arguments, &[("NPCHAT_MSG_TTL", "")]), "5m");
}

#[test]
fn the_file_may_be_named_by_a_variable_and_its_flag_beats_that() {
    let [one, two] = [1, 2].map(|ping| written(&format!("named-{ping}.toml"), format!("ping = {ping}")));
    assert_eq!(checked("ping", &[], &[("NPCHAT_CONFIG", &one)]), "1s");
    assert_eq!(checked("ping", &["-config", &two], &[("NPCHAT_CONFIG", &one)]), "2s");
    assert_eq!(checked("ping", &[], &[("NPCHAT_CONFIG", "")]), "30s");
}

#[test]
fn every_option_may_stand_in_the_file() {
    let text = format!(
        "cert = '{CERT}'\nprivkey = '{KEY}'\nmsgttl = 0x3c\ncleanperiod = '5s'\nfreshkey = 1_000\n\
         listen = ['https://[::1]:8443', ':8000, localhost:1']\nhost = 'a, b:81'\nworkers = 2\nmax-ttl = '1h'\n\
         max-message = 1024\nmailbox-messages = 10\nmailbox-bytes = '1MiB'\nmemory = '64MiB'\n\
         connection-memory = '5MiB'\nconnections = 7\nkeep-alive = 20\nping = 21\npong-timeout = 22\ndrain = 0\n\
         log = 'off' # quiet\n"
    );
    let file = written("every.toml", text);
    for (name, value) in [
        ("cert", CERT),
        ("privkey", KEY),
        ("msgttl", "1m"),
        ("cleanperiod", "5s"),
        ("freshkey", "1000"),
        ("listen", "https://[::1]:8443,:8000,localhost:1"),
        ("host", "a,b:81"),
        ("workers", "2"),
        ("max-ttl", "1h"),
        ("max-message", "1KiB"),
        ("mailbox-messages", "10"),
        ("mailbox-bytes", "1MiB"),
        ("memory", "64MiB"),
        ("connection-memory", "5MiB"),
        ("connections", "7"),
        ("keep-alive", "20s"),
        ("ping", "21s"),
        ("pong-timeout", "22s"),
        ("drain", "0s"),
        ("log", "off"),
    ] {
        assert_eq!(checked(name, &["--config", &file], &[]), value, "{name}");
    }
    let port = written("port.toml", "port = 9000");
    assert_eq!(checked("port", &["--config", &port], &[]), "9000");
    assert_eq!(checked("port", &["--config", &written("empty.toml", "")], &[]), "8000");
}

#[test]
fn an_unknown_key_is_refused_with_its_line_and_the_nearest_option() {
    for (text, rest) in [
        (
            "# npchat\n\nprot = 9000\n",
            ":3: prot: there is no such option; did you mean port?",
        ),
        (
            "max_ttl = 5",
            ":1: max_ttl: there is no such option; did you mean max-ttl?",
        ),
        ("port = 1\ndatabase = 2", ":2: database: there is no such option"),
        ("config = 'other.toml'", ":1: config: there is no such option"),
        ("check = true", ":1: check: there is no such option"),
        ("[server]\nport = 1", ":1: server: there is no such option"),
        ("server.port = 1", ":1: server: there is no such option"),
        ("\"a\\nb\" = 1", ":1: a\\nb: there is no such option"),
        ("b = 1\na = 1", ":1: b: there is no such option"),
    ] {
        assert_eq!(fault("unknown.toml", text), rest, "{text}");
    }
    let file = written("unknown-and-given.toml", "prot = 1");
    refused(USAGE, &["--config", &file, "--port", "1"], &[("NPCHAT_PORT", "2")]);
}

#[test]
fn a_wrong_value_is_refused_with_its_file_line_and_key() {
    for (text, rest) in [
        ("\nport = 70000", ":2: port: 70000 is not a port (0 to 65535)"),
        ("port = -1", ":1: port: \"-1\" is not a port (0 to 65535)"),
        ("port = ''", ":1: port: \"\" is not a port (0 to 65535)"),
        (
            "msgttl = 'soon'",
            ":1: msgttl: \"soon\" is not a duration such as 90, 90s, 5m, 12h, 7d",
        ),
        ("workers = 0", ":1: workers: 0 is not a number from 1 to 1024"),
        (
            "memory = 99999999999999999999",
            ":1: memory: 99999999999999999999 is not a size from 1MiB to 1024TiB",
        ),
        (
            "drain = 1.5",
            ":1: drain: not a string or a whole number, but of the type float",
        ),
        (
            "log = false",
            ":1: log: not a string or a whole number, but of the type boolean",
        ),
        (
            "ping = 2026-01-01",
            ":1: ping: not a string or a whole number, but of the type datetime",
        ),
        (
            "[ping]\n",
            ":1: ping: not a string or a whole number, but of the type table",
        ),
        (
            "host = [['a']]",
            ":1: host: not a string or a whole number, but of the type array",
        ),
        (
            "host = ['a', 'b/']",
            ":1: host: \"b/\" is not a host such as chat.example.org or [::1]:8000",
        ),
        ("host = []", ":1: host: an empty list sets nothing: leave the key out"),
        ("ping = [1, 2]", ":1: ping: takes one value, no list"),
        ("cert = ''", ":1: cert: needs --privkey (NPCHAT_PRIVKEY) too"),
        ("cert = 'a.pem'", ":1: cert: needs --privkey (NPCHAT_PRIVKEY) too"),
        (
            "listen = ':1'\n\nport = 2",
            ":1: listen: excludes FILE:3: port, give one of them",
        ),
        (
            "listen = 'https://[::1]:1'",
            ":1: listen: https://[::1]:1 needs --cert and --privkey",
        ),
        ("msgttl = '8d'", ":1: msgttl: 8d is too much for --max-ttl of 7d"),
        ("max-ttl = '30s'", ":1: max-ttl: 30s is too little for --msgttl of 1m"),
    ] {
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("wrong.toml");
        let rest = rest.replace("FILE", file.to_str().unwrap());
        assert_eq!(fault("wrong.toml", text), rest, "{text}");
    }
}

#[test]
fn a_file_that_is_no_toml_is_refused_with_its_line() {
    for (text, line) in [
        ("port = 1\nport = 2", ":2: duplicate key"),
        ("port = 1\nmsgttl = 5m", ":2: "),
        ("port", ":1: "),
        ("port = 1\n\nlisten = [\":1\"\n", ":3: "),
        ("port = \u{1b}[31m", ":1: "),
    ] {
        let rest = fault("syntax.toml", text);
        assert!(rest.starts_with(line), "{text}: {rest}");
    }
}

#[test]
fn a_stronger_source_saves_the_day_from_a_wrong_value_in_the_file() {
    let file = written("saved.toml", "port = 70000\nworkers = 'many'");
    let arguments = ["--config", &file, "--listen", ":1"];
    assert_eq!(checked("listen", &arguments, &[("NPCHAT_WORKERS", "2")]), ":1");
    let line = refused(USAGE, &["--config", &file], &[("NPCHAT_WORKERS", "x")]);
    assert_eq!(line, format!("{file}:1: port: 70000 is not a port (0 to 65535)"));
}

#[test]
fn a_file_that_cannot_be_read_is_refused_with_the_flag_or_the_variable() {
    let directory = env!("CARGO_MANIFEST_DIR");
    let foreign = written("foreign.toml", b"host = '\xff'");
    let long = written("long.toml", "#".repeat(1024 * 1024 + 1));
    for (file, problem) in [
        ("missing.toml", "missing.toml: No such file or directory (os error 2)"),
        (directory, &format!("{directory}: not a regular file")),
        ("/dev/zero", "/dev/zero: not a regular file"),
        ("", "the file's name is empty"),
        (&foreign, &format!("{foreign}: stream did not contain valid UTF-8")),
        (&long, &format!("{long}: longer than 1 MiB")),
    ] {
        assert_eq!(refused(USAGE, &["--config", file], &[]), format!("--config: {problem}"));
        if !file.is_empty() {
            let variable = [("NPCHAT_CONFIG", file)];
            assert_eq!(
                refused(USAGE, &["--check"], &variable),
                format!("NPCHAT_CONFIG: {problem}")
            );
        }
    }
    refused(USAGE, &["--config"], &[]);
    refused(USAGE, &["--config", "a.toml", "--config", "b.toml"], &[]);
}
