//! The client's command line: picks the subcommand, and nothing else.
//!
//! What a subcommand takes and does is its own module's.

#![forbid(unsafe_code)]

mod bench;

use std::process::ExitCode;

use clap::Command;

fn main() -> ExitCode {
    let command = Command::new("npchat")
        .version(env!("CARGO_PKG_VERSION"))
        .about("The client of an npchat relay.")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(bench::command());
    match command.get_matches().subcommand() {
        Some((bench::NAME, options)) => bench::main(options),
        // The parser lets nothing else through.
        _ => ExitCode::FAILURE,
    }
}
