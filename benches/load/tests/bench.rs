//! `npchat-bench` against a real server: each scenario in small, its judgement, its exit code.
//!
//! Nothing here is timed: how fast a server is, is for the program itself to say. Load lasts for a time, so it has a
//! rate, or a server without caps that matter: a quick machine must not fill a mailbox.

#![expect(clippy::expect_used, reason = "these fail a test")]

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{self, Command};
use std::thread;

use npchat::server::Server;
use socket2::{Domain, Socket, Type};
use testkit::{address, certificate_files, start};

mod common;

use common::{Run, bench, boundless_server, pass_on, run, server};

/// Runs it with the first number of seconds in place of `SECONDS` that are enough by its own account.
#[track_caller]
fn bench_with_time(server: SocketAddr, options: &str, seconds: [u32; 3]) -> Run {
    let mut runs = seconds
        .map(|seconds| options.replace("SECONDS", &seconds.to_string()))
        .into_iter();
    loop {
        let options = runs.next().expect("a time that is enough");
        let run = bench(server, &options);
        if !run.stderr.contains("give a longer") {
            return run;
        }
    }
}

#[test]
fn store_finds_in_the_mailboxes_what_was_acknowledged() {
    let (server, address) = boundless_server();
    let run = bench(
        address,
        "store --seconds 1 --connections 4 --depth 3 --ids 50 --ttl 3600 --stored 203 --stored-ttl 3600 --size 100",
    );
    run.assert_faultless();
    assert_eq!(run.report["scenario"], "store");
    assert_eq!(run.count("stored_before"), 203);
    assert_eq!(run.count("looked_into_mailboxes"), 50);
    // All are looked into: what was stored before, what the load stored, and a last one for each.
    let stored = run.count("acknowledged_messages") + 203 + 50;
    assert_eq!(run.count("looked_into_messages"), stored);
    assert!(run.measure("messages_per_second") > 0.0);
    assert!(run.count("answer_p99_micros") > 0);
    drop(server);
}

#[test]
fn relay_delivers_each_message_once_and_in_order() {
    let (_server, address) = boundless_server();
    let run = bench(
        address,
        "relay --seconds 1 --connections 4 --depth 3 --sessions 5 --threads 2 --ttl 3600",
    );
    run.assert_faultless();
    assert!(run.count("delivery_p99_micros") > 0);
    assert!(run.count("acknowledged_messages") > 0);
    assert_eq!(run.count("login_retries"), 0);
}

#[test]
fn an_open_loop_posts_what_its_rate_asks_for_and_no_more() {
    let (_server, address) = server();
    let run = bench(
        address,
        "relay --seconds 1 --connections 4 --sessions 5 --ttl 3600 --rate 100",
    );
    run.assert_faultless();
    // Two seconds of it, with the one for warming up.
    let all = run.count("acknowledged_messages") + run.count("messages_behind");
    assert_eq!(all, 200, "{}", run.report);
    assert!(run.count("wake_up_max_micros") >= run.count("wake_up_p50_micros"));
}

#[test]
fn mixed_stores_relays_and_logs_in_at_once() {
    let (_server, address) = server();
    let run = bench(
        address,
        "mixed --seconds 1 --connections 4 --ids 20 --sessions 5 --visitors 2 --ttl 3600 --rate 1000",
    );
    run.assert_faultless();
    assert!(run.count("delivery_p99_micros") > 0);
    assert!(run.count("login_p99_micros") > 0);
    assert_eq!(run.count("looked_into_mailboxes"), 20);
}

#[test]
fn login_counts_logins_that_close_and_logins_that_stay() {
    let (_server, address) = server();
    let run = bench(address, "login --count 30 --at-once 10 --threads 2");
    run.assert_faultless();
    assert_eq!(run.count("logins"), 30);
    let pid = process::id();
    let run = bench(
        address,
        &format!("login --count 30 --at-once 30 --hold --posters 2 --rate 200 --pid {pid}"),
    );
    run.assert_faultless();
    assert_eq!(run.count("logins"), 30);
    assert!(run.count("posters_alone_p99_micros") > 0);
    assert!(run.count("posters_messages") > 0);
    assert!(run.measure("server_cpu_micros_per_login_and_posts") > 0.0);
}

#[test]
fn idle_sessions_get_their_mail() {
    let (_server, address) = server();
    let run = bench(address, &format!("idle --sessions 30 --pid {}", process::id()));
    run.assert_faultless();
    assert_eq!(run.count("sessions"), 30);
    assert_eq!(run.count("messages_came"), 100);
    assert!(run.count("resident_with_them_kib") > 0);
}

#[test]
fn expiry_finds_all_in_time_and_nothing_after_it() {
    let (_server, address) = server();
    let run = bench_with_time(address, "expiry --ids 20 --ttl SECONDS", [3, 30, 300]);
    run.assert_faultless();
    assert_eq!(run.count("in_time_came"), 20);
    // The fresh ones.
    assert_eq!(run.count("too_late_came"), 20);
}

#[test]
fn burst_posts_while_the_time_of_many_ends() {
    let (_server, address) = server();
    let options = "burst --count 300 --ids 20 --lead SECONDS --posters 2 --rate 50";
    let run = bench_with_time(address, options, [8, 30, 300]);
    run.assert_faultless();
    assert_eq!(run.count("stored_messages"), 300);
    assert!(run.count("posters_p99_micros") > 0);
    // What was posted meanwhile and a last one for each; nothing of what expired.
    let messages = run.count("posters_messages") + 20;
    assert_eq!(run.count("looked_into_messages"), messages);
}

#[test]
fn attack_measures_a_pair_beside_its_neighbours() {
    let (_server, address) = server();
    let run = bench(address, "attack --kinds pings,slow-heads --connections 20 --seconds 1");
    run.assert_faultless();
    for section in ["alone", "pings", "slow-heads", "alone again"] {
        let waited = &run.report["measured"][section]["delivery_p99_micros"];
        assert!(waited.as_u64().is_some(), "{section}: {}", run.report);
    }
    let run = bench(address, "attack --kinds spin --seconds 1 --limit-ms 0");
    assert_eq!(run.code, Some(1));
    assert_eq!(run.report["faults"]["slow"], 1);
}

#[test]
fn the_floor_is_measured_before_and_after() {
    let (_server, address) = server();
    for scenario in ["store --ids 20", "relay --sessions 5"] {
        let run = bench(
            address,
            &format!(
                "{scenario} --seconds 1 --connections 4 --ttl 3600 --rate 1000 --floor --pid {}",
                process::id()
            ),
        );
        run.assert_faultless();
        for section in ["floor before", "server", "floor after"] {
            let cost = &run.report["measured"][section]["server_cpu_micros_per_message"];
            assert!(cost.as_f64() > Some(0.0), "{section}: {}", run.report);
        }
        assert!(run.report["ratios"]["times_the_floor"].as_f64() > Some(0.0));
    }
}

#[test]
fn rounds_measure_the_server_each_time_between_two_measures_of_the_floor() {
    let (_server, address) = server();
    let options = "store --ids 20 --seconds 1 --connections 4 --ttl 3600 --rate 1000 --stored 40 --floor --rounds 2";
    let run = bench(address, &format!("{options} --pid {}", process::id()));
    run.assert_faultless();
    let measured = &run.report["measured"];
    for section in ["floor 0", "server 1", "floor 1", "server 2", "floor 2"] {
        let cost = &measured[section]["server_cpu_micros_per_message"];
        assert!(cost.as_f64() > Some(0.0), "{section}: {}", run.report);
    }
    assert_eq!(measured["server 1"]["stored_before"], 40);
    assert!(measured["server 2"]["stored_before"].is_null());
    let ratio = |name: &str| run.report["ratios"][name].as_f64().unwrap();
    assert!(ratio("times_the_floor_lowest") <= ratio("times_the_floor_highest"));
    assert!(ratio("times_the_floor") > 0.0);
}

/// Passes connections on to the server, but for the first, which it drops, and the second, which gets no answer.
fn moody_proxy(server: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        let mut connections = listener.incoming().map_while(Result::ok);
        drop(connections.next());
        let _silent = connections.next();
        for client in connections {
            let server = TcpStream::connect(server).expect("the server listens");
            // Either may end first, in any way.
            thread::spawn(move || drop(pass_on(client, server)));
        }
    });
    address
}

#[test]
fn a_login_that_the_server_drops_or_does_not_answer_is_begun_again_and_counted() {
    let (_server, address) = server();
    let run = bench(
        moody_proxy(address),
        "login --count 3 --login-timeout 2 --login-retries 50",
    );
    run.assert_faultless();
    assert_eq!(run.count("logins"), 3);
    assert!(run.count("login_retries") >= 2, "{}", run.report);
    let run = bench(
        moody_proxy(address),
        "login --count 3 --login-timeout 1 --login-retries 0",
    );
    assert_eq!(run.code, Some(1));
    assert!(run.count("login_refused") >= 2, "{}", run.report);
}

const CA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/ca.cert.pem");

fn tls_server() -> (Server, SocketAddr) {
    let server = start(|config| config.certificate = Some(certificate_files("localhost")));
    let address = address(&server);
    (server, address)
}

#[test]
fn every_scenario_goes_over_tls_and_its_handshakes_are_counted() {
    let (_server, address) = tls_server();
    for (options, connections) in [
        ("store --seconds 1 --connections 2 --ids 5 --ttl 3600 --rate 1000", 2),
        (
            "relay --seconds 1 --connections 2 --sessions 3 --ttl 3600 --rate 1000",
            5,
        ),
        ("idle --sessions 3", 103),
        ("login --count 5", 105),
        ("attack --kinds pings --seconds 1", 2),
    ] {
        let run = run(&format!(
            "{options} --url https://{address} --cafile {CA} --json --quiet"
        ));
        run.assert_faultless();
        let tls = &run.report["measured"]["tls"];
        assert!(
            tls["handshakes_full"].as_u64() >= Some(connections),
            "{options}: {}",
            run.report
        );
        assert_eq!(tls["handshakes_resumed"], 0);
    }
}

#[test]
fn handshake_makes_a_connection_for_each_message_and_resumes_if_it_is_told_to() {
    let (_server, address) = server();
    let plain = bench(address, "handshake --count 20 --at-once 4");
    plain.assert_faultless();
    assert_eq!(plain.count("connections"), 20);

    let (_server, secure) = tls_server();
    let visit = |options: &str| {
        let options = format!("handshake --count 20 --at-once 4 {options} --url https://{secure} --json --quiet");
        let run = run(&options);
        run.assert_faultless();
        let [full, resumed] = ["full", "resumed"].map(|kind| run.count(&format!("handshakes_measured_{kind}")));
        assert_eq!(full + resumed, 20);
        resumed
    };
    assert_eq!(visit("--insecure"), 0);
    assert!(visit("--insecure --resume") > 0);
}

#[test]
fn a_server_that_nobody_vouches_for_is_not_talked_to() {
    let (_server, secure) = tls_server();
    let stranger = CA.replace("ca.cert", "one.cert");
    let run = run(&format!(
        "handshake --count 3 --url https://{secure} --cafile {stranger} --json --quiet"
    ));
    assert_eq!(run.code, Some(1));
    assert!(run.report["faults"]["broken"].as_u64() > Some(0), "{}", run.report);
    let first = run.report["first_fault"].as_str().expect("what it was");
    assert!(first.contains("certificate"), "{first}");
}

/// The fixture is an authority's certificate, as `openssl req -x509` makes them, and for another name than the address.
#[test]
fn a_self_signed_certificate_is_taken_if_the_file_has_the_very_same() {
    let server = start(|config| config.certificate = Some(certificate_files("one")));
    let visit = |name: &str| {
        let file = CA.replace("ca.cert", &format!("{name}.cert"));
        let url = format!("https://{}", address(&server));
        run(&format!(
            "handshake --count 3 --url {url} --cafile {file} --json --quiet"
        ))
    };
    visit("one").assert_faultless();
    assert_eq!(visit("two").code, Some(1));
}

#[test]
fn a_process_that_is_no_server_is_refused() {
    let (_server, address) = server();
    let run = bench(address, "store --seconds 1 --pid 4294967295");
    assert_eq!(run.code, Some(2));
    assert_eq!(run.stderr, "npchat-bench: --pid: there is no process 4294967295\n");
}

#[test]
fn a_refusal_is_a_fault() {
    let server = start(|config| config.mailbox_messages = 1);
    let run = bench(address(&server), "store --seconds 1 --connections 2 --ids 1 --ttl 3600");
    assert_eq!(run.code, Some(1));
    assert!(run.report["faults"]["refused"].as_u64() > Some(0));
    let first = run.report["first_fault"].as_str().expect("what it was");
    assert!(first.contains("mailbox_full"), "{first}");
}

#[test]
fn without_json_there_is_a_table_and_without_quiet_there_is_progress() {
    let (_server, address) = server();
    let options = ["store", "--seconds", "1", "--connections", "2", "--url"];
    let output = Command::new(env!("CARGO_BIN_EXE_npchat-bench"))
        .args(options)
        .arg(format!("http://{address}"))
        .output()
        .expect("the program runs");
    assert!(output.status.success());
    let table = String::from_utf8(output.stdout).expect("text");
    assert!(
        table.contains("messages per second") && table.contains("0 lost"),
        "{table}"
    );
    let progress = String::from_utf8(output.stderr).expect("text");
    assert!(progress.contains("store: server: messages: "), "{progress}");
}

#[test]
fn wrong_options_end_with_2_and_a_server_that_is_not_there_with_1() {
    for wrong in [
        "",
        "nothing",
        "store --connections 0",
        "store --floor",
        "store --rounds 2",
        "idle --url ftp://127.0.0.1:1",
    ] {
        let run = run(wrong);
        assert_eq!(run.code, Some(2), "{wrong}");
        assert!(!run.stderr.is_empty(), "{wrong}");
    }
    // A port that nobody else gets meanwhile, and where nobody listens.
    let bound = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    bound.bind(&any_port.into()).expect("a port");
    let nobody = bound.local_addr().ok().and_then(|address| address.as_socket());
    let run = bench(nobody.expect("an address"), "idle --sessions 1");
    assert_eq!(run.code, Some(1));
}
