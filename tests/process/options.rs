//! The command line of the real `npchatd`: each wrong option gets one line on stderr and its exit code
//! (ACCEPTANCE.md rows 45 and 49).
//!
//! What each value may be is tested beside `npchat::server::config`; no server runs here.
#![expect(clippy::unwrap_used, clippy::panic, reason = "that is how a test's helper fails")]

mod file;
mod table;

use std::ffi::OsStr;
use std::fmt::Debug;
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Output, Stdio};

const START_FAILED: i32 = 1;
const USAGE: i32 = 2;

const CERT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/one.cert.pem");
const KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/one.key.pem");
const OTHER_KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/two.key.pem");
const EXPIRED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/expired.cert.pem");
const EXPIRED_KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/localhost.key.pem");
const MISSING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/missing.pem");
const GARBAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/garbage.pem");
const BROKEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/broken.pem");
const NOT_PEM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/README.md");

/// Runs the server's binary in an environment of nothing but `variables`.
fn npchatd(arguments: &[impl AsRef<OsStr>], variables: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_npchatd"))
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Runs the binary, which must fail with this exit code, nothing on stdout and one line on stderr; returns the line.
#[track_caller]
fn refused(code: i32, arguments: &[impl AsRef<OsStr> + Debug], variables: &[(&str, &str)]) -> String {
    let output = npchatd(arguments, variables);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?} {variables:?}: {told}");
    assert_eq!(output.stdout, b"", "{arguments:?} {variables:?}");
    let line = told.strip_suffix('\n').unwrap();
    assert!(!line.contains(char::is_control), "{arguments:?} {variables:?}: {told}");
    line.strip_prefix("npchatd: ").unwrap().to_owned()
}

/// Runs the binary, which must succeed with nothing on stderr; returns what it says on stdout.
#[track_caller]
fn told(arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let output = npchatd(arguments, variables);
    assert_eq!(output.status.code(), Some(0), "{arguments:?} {variables:?}: {output:?}");
    assert_eq!(output.stderr, b"", "{arguments:?} {variables:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The value of a setting in what `--check` says.
#[track_caller]
fn checked(name: &str, arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let told = told(&[arguments, &["--check"]].concat(), variables);
    let value = told
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
    value.unwrap_or_else(|| panic!("no {name} in {told}")).to_owned()
}

#[test]
fn row_49_unknown_arguments_are_refused() {
    assert_eq!(
        refused(USAGE, &["--prot", "8000"], &[]),
        "unexpected argument '--prot' found; tip: a similar argument exists: '--port'"
    );
    assert_eq!(
        refused(USAGE, &["--frobnicate"], &[]),
        "unexpected argument '--frobnicate' found"
    );
    assert_eq!(
        refused(USAGE, &["-frobnicate"], &[]),
        "unexpected argument '--frobnicate' found"
    );
    assert_eq!(refused(USAGE, &["8000"], &[]), "unexpected argument '8000' found");
    refused(USAGE, &["--line\nbreak\n\ntip: \u{1b}[31m"], &[]);
    refused(USAGE, &[OsStr::from_bytes(b"--\xff")], &[]);
}

#[test]
fn a_flag_takes_its_value_and_comes_once() {
    let missing = "a value is required for '--port <PORT>' but none was supplied";
    assert_eq!(refused(USAGE, &["--port"], &[]), missing);
    assert_eq!(refused(USAGE, &["--port", "--log", "info"], &[]), missing);
    refused(USAGE, &["--check=yes"], &[]);
    refused(USAGE, &["--port", "1", "--port", "2"], &[]);
}

#[test]
fn row_49_wrong_values_are_refused_with_their_flag() {
    for (arguments, line) in [
        (["--port", "70000"], "--port: 70000 is not a port (0 to 65535)"),
        (["--port", "-1"], "--port: \"-1\" is not a port (0 to 65535)"),
        (["--port", ""], "--port: \"\" is not a port (0 to 65535)"),
        (["-p", "http"], "--port: \"http\" is not a port (0 to 65535)"),
        (
            ["--msgttl", "soon"],
            "--msgttl: \"soon\" is not a duration such as 90, 90s, 5m, 12h, 7d",
        ),
        (
            ["--msgttl", "-5"],
            "--msgttl: \"-5\" is not a duration such as 90, 90s, 5m, 12h, 7d",
        ),
        (
            ["--max-ttl", "-1"],
            "--max-ttl: \"-1\" is not a duration such as 90, 90s, 5m, 12h, 7d",
        ),
        (
            ["--max-ttl", "18446744073709551615"],
            "--max-ttl: 18446744073709551615 is not a duration from 1s to 3650d",
        ),
        (
            ["--max-ttl", "18446744073709551616"],
            "--max-ttl: 18446744073709551616 is not a duration from 1s to 3650d",
        ),
        (["--workers", "0"], "--workers: 0 is not a number from 1 to 1024"),
        (
            ["--listen", "localhost"],
            "--listen: \"localhost\" is not an address with a port such as 127.0.0.1:8000, localhost:8000, :8000 or \
             https://[::1]:8443",
        ),
        (
            ["--host", "wss://relay.example"],
            "--host: \"wss://relay.example\" is not a host such as chat.example.org or [::1]:8000",
        ),
    ] {
        assert_eq!(refused(USAGE, &arguments, &[]), line);
    }
    let foreign = [OsStr::new("--log"), OsStr::from_bytes(b"\xff")];
    assert_eq!(refused(USAGE, &foreign, &[]), "--log: \"\u{fffd}\" is not UTF-8");
}

#[test]
fn row_49_wrong_values_are_refused_with_their_variable() {
    const NONE: [&str; 0] = [];
    for (variable, line) in [
        (
            ("NPCHAT_PORT", "70000"),
            "NPCHAT_PORT: 70000 is not a port (0 to 65535)",
        ),
        (
            ("NPCHAT_MSG_TTL", "soon"),
            "NPCHAT_MSG_TTL: \"soon\" is not a duration such as 90, 90s, 5m, 12h, 7d",
        ),
        (
            ("NPCHAT_MAX_TTL", "-1"),
            "NPCHAT_MAX_TTL: \"-1\" is not a duration such as 90, 90s, 5m, 12h, 7d",
        ),
        (
            ("NPCHAT_CERT", CERT),
            "NPCHAT_CERT: needs --privkey (NPCHAT_PRIVKEY) too",
        ),
        (
            ("NPCHAT_PRIVKEY", KEY),
            "NPCHAT_PRIVKEY: needs --cert (NPCHAT_CERT) too",
        ),
    ] {
        assert_eq!(refused(USAGE, &NONE, &[variable]), line);
    }
}

#[test]
fn row_49_a_certificate_without_its_key_is_refused() {
    assert_eq!(
        refused(USAGE, &["--cert", CERT], &[]),
        "--cert: needs --privkey (NPCHAT_PRIVKEY) too"
    );
    assert_eq!(
        refused(USAGE, &["--privkey", KEY], &[]),
        "--privkey: needs --cert (NPCHAT_CERT) too"
    );
}

#[test]
fn row_49_certificate_files_that_cannot_be_used_are_told() {
    let directory = env!("CARGO_MANIFEST_DIR");
    for (certificate, key, line) in [
        (
            MISSING,
            KEY,
            format!("{MISSING}: No such file or directory (os error 2)"),
        ),
        (
            CERT,
            MISSING,
            format!("{MISSING}: No such file or directory (os error 2)"),
        ),
        (directory, KEY, format!("{directory}: not a regular file")),
        ("/dev/zero", KEY, "/dev/zero: not a regular file".to_owned()),
        (NOT_PEM, KEY, format!("{NOT_PEM}: no certificate in PEM form found")),
        (CERT, NOT_PEM, format!("{NOT_PEM}: no private key in PEM form found")),
        (KEY, CERT, format!("{KEY}: no certificate in PEM form found")),
        (BROKEN, KEY, format!("{BROKEN}: malformed PEM")),
        (CERT, BROKEN, format!("{BROKEN}: malformed PEM")),
        (
            GARBAGE,
            KEY,
            format!("{GARBAGE}: the certificate is malformed or of a version that is not supported"),
        ),
        (
            CERT,
            GARBAGE,
            format!("{GARBAGE}: the private key is malformed or of a kind that is not supported"),
        ),
        (
            CERT,
            OTHER_KEY,
            format!("{OTHER_KEY}: the private key does not belong to the certificate"),
        ),
        (
            EXPIRED,
            EXPIRED_KEY,
            format!("{EXPIRED}: the certificate expired at 2024-01-01T00:00:00Z"),
        ),
    ] {
        assert_eq!(
            refused(START_FAILED, &["--cert", certificate, "--privkey", key], &[]),
            line
        );
        let variables = [("NPCHAT_CERT", certificate), ("NPCHAT_PRIVKEY", key)];
        assert_eq!(refused(START_FAILED, &["--check"], &variables), line);
    }
}

#[test]
fn a_good_certificate_makes_the_addresses_that_name_no_scheme_tls() {
    let files = ["--cert", CERT, "--privkey", KEY];
    assert_eq!(checked("cert", &files, &[]), CERT);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    // It fails after it has taken the certificate.
    let line = refused(
        START_FAILED,
        &[&files[..], &["--listen", &address, "--log", "off"]].concat(),
        &[],
    );
    assert!(line.contains(&address), "{line}");
}

#[test]
fn an_address_for_tls_needs_a_certificate() {
    let arguments = ["--listen", "http://127.0.0.1:0,https://127.0.0.1:8443"];
    assert_eq!(
        refused(USAGE, &arguments, &[]),
        "--listen: https://127.0.0.1:8443 needs --cert and --privkey"
    );
    assert_eq!(
        refused(USAGE, &["--check"], &[("NPCHAT_LISTEN", "https://[::1]:8443")]),
        "NPCHAT_LISTEN: https://[::1]:8443 needs --cert and --privkey"
    );
}

#[test]
fn row_49_an_address_in_use_is_told() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let line = refused(START_FAILED, &["--listen", &address, "--log", "off"], &[]);
    assert!(line.contains(&address), "{line}");
}

#[test]
fn help_names_every_option_with_its_variable_and_default() {
    let help = told(&["--help"], &[]);
    for piece in [
        "-p, --port <PORT>",
        "[NPCHAT_PORT, default 8000]",
        "[NPCHAT_MAX_TTL, default 7d]",
        "--check",
    ] {
        assert!(help.contains(piece), "{help}");
    }
    assert!(help.lines().all(|line| line.chars().count() <= 80), "{help}");
    assert_eq!(told(&["-h"], &[]), help);
}

#[test]
fn version_is_one_line() {
    assert_eq!(told(&["--version"], &[]), "npchatd 0.1.0\n");
}

#[test]
fn check_tells_the_defaults_with_their_units() {
    let told = told(&["--check"], &[]);
    let lines: Vec<&str> = told.lines().collect();
    for line in [
        "port = 8000",
        "cert = none",
        "privkey = none",
        "msgttl = 1m",
        "cleanperiod = 30s",
        "freshkey = 5",
        "listen = all addresses",
        "host = as requested",
        "max-ttl = 7d",
        "max-message = 64KiB",
        "mailbox-messages = 4096",
        "mailbox-bytes = 8MiB",
        "keep-alive = 75s",
        "ping = 30s",
        "pong-timeout = 75s",
        "drain = 10s",
        "log = info",
    ] {
        assert!(lines.contains(&line), "no {line} in {told}");
    }
    let resolved = |name: &str| lines.iter().any(|line| line.starts_with(&format!("{name} = ")));
    assert!(resolved("workers") && resolved("memory"), "{told}");
    assert_eq!(lines.len(), 21, "{told}");
}

#[test]
fn a_flag_beats_the_environment_which_beats_the_default() {
    let variables = [("NPCHAT_MSG_TTL", "2m")];
    assert_eq!(checked("msgttl", &["--msgttl", "90"], &variables), "90s");
    assert_eq!(checked("msgttl", &[], &variables), "2m");
    assert_eq!(checked("msgttl", &[], &[("NPCHAT_MSG_TTL", "")]), "1m");
}

#[test]
fn flags_are_taken_as_gos_flag_package_takes_them() {
    for arguments in [
        ["-port", "9000"].as_slice(),
        &["-port=9000"],
        &["--port=9000"],
        &["-p", "9000"],
        &["-p9000"],
    ] {
        assert_eq!(checked("port", arguments, &[]), "9000", "{arguments:?}");
    }
    assert_eq!(checked("msgttl", &["-msgttl=60", "-cleanperiod", "5"], &[]), "1m");
}

#[test]
fn listen_may_be_repeated() {
    let both = ["--listen", "127.0.0.1:8000", "--listen", "[::1]:8000"];
    assert_eq!(checked("listen", &both, &[]), "127.0.0.1:8000,[::1]:8000");
    assert_eq!(checked("port", &both, &[]), "none");
    let schemes = "http://127.0.0.1:8000,https://[::1]:8443";
    let arguments = ["--cert", CERT, "--privkey", KEY, "--listen", schemes];
    assert_eq!(checked("listen", &arguments, &[]), schemes);
}

#[test]
fn addresses_may_be_names_or_ports_alone() {
    let both = ["--listen", "localhost:8000,:8001"];
    assert_eq!(checked("listen", &both, &[]), "localhost:8000,:8001");
    let line = refused(
        START_FAILED,
        &["--listen", "no.such.name.invalid:8000", "--log", "off"],
        &[],
    );
    assert!(
        line.starts_with("cannot listen on no.such.name.invalid:8000: "),
        "{line}"
    );
}

#[test]
fn variables_that_are_no_settings_are_told_and_passed_over() {
    let variables = [
        ("NPCHAT_PROT", "9000"),
        ("NPCHAT_PORT", "tcp://10.0.0.1:8000"),
        ("NPCHAT_PORT_8000_TCP", "tcp://10.0.0.1:8000"),
        ("NPCHAT_SERVICE_HOST", "10.0.0.1"),
    ];
    let output = npchatd(&["--check"], &variables);
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8(output.stdout).unwrap().starts_with("port = 8000\n"));
    let told = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<_> = told.lines().collect();
    assert_eq!(lines.len(), 2, "{told}");
    assert_eq!(
        lines[0],
        "npchatd: warning: \"NPCHAT_PROT\": there is no such setting; did you mean NPCHAT_PORT?"
    );
    assert!(
        lines[1].starts_with("npchatd: warning: NPCHAT_PORT: ignored, for "),
        "{told}"
    );
    // The same in the log of a server.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = npchatd(&["--listen", &address], &variables);
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(
        log.contains("WARN NPCHAT_PORT: ignored") && log.contains("WARN \"NPCHAT_PROT\""),
        "{log}"
    );
}

#[test]
fn a_clean_period_of_less_than_two_seconds_is_refused() {
    assert_eq!(
        refused(USAGE, &["--cleanperiod", "1"], &[]),
        "--cleanperiod: 1 is not a duration from 2s to 1h"
    );
    assert_eq!(checked("cleanperiod", &["--cleanperiod", "2"], &[]), "2s");
}

#[test]
fn host_may_be_repeated_or_given_with_commas() {
    let all = ["--host", "Relay.Example:443,b:81", "--host", "[::1]:8000"];
    assert_eq!(checked("host", &all, &[]), "relay.example,b:81,[::1]:8000");
    assert_eq!(checked("host", &[], &[("NPCHAT_HOST", "a, b")]), "a,b");
}
