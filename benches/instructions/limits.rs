//! The file of limits: what it means, and how it is written anew.

use std::collections::HashMap;
use std::fmt;
use std::fmt::Write;
use std::fs;
use std::process::Command;

/// Read when the program runs, so that a new limit takes no build.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions/limits.txt");
const COMMENT: &str = "# Most instructions of each step: 2 % more than were counted. docs/measuring.md has how to \
    write this anew.\n";
/// The counts of two runs differ by less than a tenth of this.
const ALLOWANCE_PERCENT: u64 = 2;

/// Most instructions of each step.
pub(crate) struct Limits {
    /// What the counts were taken with. Another one has other counts.
    pub(crate) compiler: Compiler,
    limits: HashMap<String, u64>,
}

/// What makes instructions of the code: the compiler and its target.
#[derive(PartialEq, Eq)]
pub(crate) struct Compiler(String);

impl Limits {
    pub(crate) fn read() -> Self {
        let text = fs::read_to_string(FILE).expect("the limits can be read");
        let mut lines = text.lines().filter(|line| !line.starts_with('#'));
        let compiler = Compiler(lines.next().expect("a compiler").to_owned());
        let limit = |line: &str| {
            let (limit, name) = line.trim().split_once(' ').expect("a limit and a name");
            (name.to_owned(), limit.parse().expect("a limit is a number"))
        };
        Self {
            compiler,
            limits: lines.map(limit).collect(),
        }
    }

    /// The limit of the step of this name. There is one for each.
    pub(crate) fn of(&self, name: &str) -> u64 {
        *self
            .limits
            .get(name)
            .unwrap_or_else(|| panic!("no limit of {name} in {FILE}"))
    }
}

impl Compiler {
    /// The one that cargo has built this with.
    pub(crate) fn current() -> Self {
        let output = Command::new("rustc").arg("--version").output();
        let output = output.expect("rustc can be asked for its version").stdout;
        let version = String::from_utf8_lossy(&output);
        // Its name and number, without the distributor.
        let version: Vec<_> = version.split_whitespace().take(2).collect();
        Self(format!("{} on {}", version.join(" "), std::env::consts::ARCH))
    }
}

impl fmt::Display for Compiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The file of limits by which these counts are within them.
pub(crate) fn table(compiler: &Compiler, counted: &[(&str, u64)]) -> String {
    let mut table = format!("{COMMENT}{compiler}\n");
    for (name, count) in counted {
        writeln!(table, "{:>6} {name}", count * (100 + ALLOWANCE_PERCENT) / 100).unwrap();
    }
    table
}
