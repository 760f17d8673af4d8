//! A whole connection, from accept to free: any bytes in any pieces, a slow kernel, deadlines, a drain, mail and
//! logins.
//!
//! Each input runs twice: once with all of each piece at hand and a kernel that takes everything, once in small pieces
//! with a kernel that doesn't. What the client sees is the same, but for what may depend on time.

#![no_main]

mod driver;
mod script;
mod transcript;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;

use npchat_fuzz::Cuts;

use crate::driver::{Driver, Kernel};
use crate::script::Script;
use crate::transcript::{Heads, Transcript};

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    cuts: Cuts,
    setting: Setting,
    script: Script<'a>,
}

/// Bits that say how the second run goes, and in which relay both do.
#[derive(Debug, Clone, Copy, Arbitrary)]
pub(crate) struct Setting(u8);

impl Setting {
    /// The kernel may take nothing for any time: the peer has stopped reading.
    fn is_stalled(self) -> bool {
        self.0 & 1 != 0
    }

    /// The connection is reset at the end, wherever it stands.
    fn is_reset(self) -> bool {
        self.0 & 8 != 0
    }

    /// There is memory for a few messages only.
    pub(crate) fn is_tight(self) -> bool {
        self.0 & 2 != 0
    }

    /// A mailbox holds two messages.
    pub(crate) fn is_small(self) -> bool {
        self.0 & 4 != 0
    }
}

fuzz_target!(|input: Input<'_>| {
    let whole = run(&input, Kernel::TakesAll);
    let second = if input.setting.is_stalled() {
        Kernel::MayStall(input.cuts)
    } else {
        Kernel::TakesPieces(input.cuts)
    };
    let pieces = run(&input, second);
    // A 100 is sent only if the body hasn't come with the head, and what memory is left depends on what is on its way.
    let is_split_blind = !input.setting.is_stalled() && !input.setting.is_tight() && !input.script.contains(b"expect");
    if is_split_blind {
        whole.check_same(&pieces);
    }
});

fn run(input: &Input<'_>, kernel: Kernel) -> Transcript {
    let mut driver = Driver::new(kernel, input.setting);
    for op in input.script.ops() {
        driver.apply(&op);
    }
    let transcript = read(&driver, input);
    if input.setting.is_reset() {
        driver.reset();
    }
    driver.finish();
    // What was said at the end is valid too.
    read(&driver, input);
    transcript
}

fn read(driver: &Driver, input: &Input<'_>) -> Transcript {
    let mut heads = Heads::None;
    if input.script.contains(b"head") {
        heads = Heads::Perhaps;
    }
    if input.script.begins_with_head() {
        heads = Heads::First;
    }
    let transcript = Transcript::read(&driver.sent, driver.over, heads);
    assert!(
        driver.delivered() <= transcript.mail.len() as u64,
        "it counts what didn't go"
    );
    transcript
}
