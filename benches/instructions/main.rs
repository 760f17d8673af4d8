//! How many instructions each step of the hot path takes, in a count that no other process disturbs, and whether that
//! is within its limit: `cargo bench --bench instructions`.
//!
//! The program runs itself under callgrind, once for each step. Without valgrind it reports that and counts nothing.
//! The limits are in `limits.txt`, which is what it prints with `--table`.
//!
//! What the steps do is in `steps.rs`; how long they take is for `benches/costs` to find.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program of the command line, which an error ends"
)]

mod limits;
#[allow(dead_code, reason = "the benches of costs use the rest")]
#[path = "../costs/peers.rs"]
mod peers;
#[allow(dead_code, reason = "the benches of costs use the rest")]
#[path = "../costs/random.rs"]
mod random;
mod steps;

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::{env, fs};

use crate::limits::{Compiler, Limits};
use crate::steps::{STEPS, Step};

/// The allocator of npchatd.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Before the number of the step that is to be done, in the process that callgrind watches.
const STEP: &str = "--step";
/// Prints the file of limits that fits what is counted.
const TABLE: &str = "--table";

/// The C library copies bytes in the manner that suits the processor; without these features, in one that all of x86-64
/// have. It passes over names that it doesn't know: they changed in glibc 2.33.
const GLIBC_TUNABLES: &str = "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX2,-AVX2_Usable,-ERMS,-FSRM,\
    -AVX_Fast_Unaligned_Load,-Prefer_No_VZEROUPPER,-SSSE3,-Fast_Unaligned_Copy";

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args().skip(1).collect();
    if let Some(at) = arguments.iter().position(|argument| argument == STEP) {
        let number: usize = arguments[at + 1].parse().unwrap();
        (STEPS[number].run)();
        return ExitCode::SUCCESS;
    }
    let prints_table = arguments.iter().any(|argument| argument == TABLE);
    if arguments
        .iter()
        .any(|argument| argument != TABLE && argument != "--bench")
    {
        eprintln!("instructions not counted: the arguments are for other benches");
        return ExitCode::SUCCESS;
    }
    if let Some(reason) = reason_to_skip() {
        eprintln!("instructions not counted: {reason}");
        return ExitCode::SUCCESS;
    }
    let compiler = Compiler::current();
    let counted: Vec<_> = (0..STEPS.len())
        .map(|number| (STEPS[number].name, count(number)))
        .collect();
    if prints_table {
        print!("{}", limits::table(&compiler, &counted));
        return ExitCode::SUCCESS;
    }
    judge(&compiler, &counted)
}

/// Why nothing can be counted here.
fn reason_to_skip() -> Option<&'static str> {
    let found = Command::new("valgrind").arg("--version").stdout(Stdio::null()).status();
    if !found.is_ok_and(|status| status.success()) {
        return Some("there is no valgrind");
    }
    if cfg!(debug_assertions) {
        return Some("this is no release build");
    }
    (!cfg!(feature = "mimalloc")).then_some("the limits are those with mimalloc")
}

/// Instructions that one time of the step takes.
fn count(number: usize) -> u64 {
    let Step { name, times, .. } = &STEPS[number];
    let program = env::current_exe().unwrap();
    let out = program.with_extension(format!("{number}.callgrind"));
    let status = Command::new("valgrind")
        .args(["--quiet", "--tool=callgrind", "--toggle-collect=*counted_by_callgrind*"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(&program)
        .args([STEP, &number.to_string()])
        .env_clear()
        .env("PATH", env::var_os("PATH").unwrap_or_default())
        .env("GLIBC_TUNABLES", GLIBC_TUNABLES)
        // Memory is given back after a while, which is a matter of the clock.
        .env("MIMALLOC_PURGE_DELAY", "-1")
        .status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "{name} failed under callgrind"
    );
    let total = total(&out).expect("callgrind reports a total");
    assert!(total > 0, "{name}: callgrind has not found the function to count in");
    fs::remove_file(&out).unwrap();
    total / times
}

fn total(report: &Path) -> Option<u64> {
    let report = fs::read_to_string(report).ok()?;
    let total = report.lines().find_map(|line| line.strip_prefix("totals:"))?;
    total.trim().parse().ok()
}

/// Prints each count beside its limit, and fails when one is over it.
fn judge(compiler: &Compiler, counted: &[(&str, u64)]) -> ExitCode {
    let limits = Limits::read();
    let mut exceeded = 0;
    println!("{:>12} {:>12}", "instructions", "limit");
    for &(name, count) in counted {
        let limit = limits.of(name);
        let is_over = count > limit;
        exceeded += usize::from(is_over);
        let mark = if is_over { ": over its limit" } else { "" };
        println!("{count:>12} {limit:>12}  {name}{mark}");
    }
    if &limits.compiler != compiler {
        eprintln!(
            "instructions not judged: the limits are for {}, this is {compiler}",
            limits.compiler
        );
        return ExitCode::SUCCESS;
    }
    if exceeded > 0 {
        eprintln!("{exceeded} over their limits: docs/measuring.md has what to do");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
