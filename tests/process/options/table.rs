//! A table of command lines with variables, and what each of them gets: the lines in which `--check` differs from the
//! defaults, the lines on stderr, and the exit code. It has one JSON object a line, so that a diff shows what changes.

use serde_json::Value;

use super::npchatd;

/// Its numbers of workers are ones that no machine has cores: that is the default.
const TABLE: &str = include_str!("table.jsonl");

#[test]
fn every_row_of_the_table_gets_its_lines_and_its_exit_code() {
    let defaults = String::from_utf8(npchatd(&["--check"], &[]).stdout).unwrap();
    let mut wrong = Vec::new();
    for row in TABLE.lines() {
        let row: Value = serde_json::from_str(row).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let arguments: Vec<_> = row["arguments"].as_array().unwrap().iter().map(text).collect();
        let variables: Vec<_> = row["variables"].as_object().unwrap().iter().collect();
        let variables: Vec<_> = variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str().unwrap()))
            .collect();
        let output = npchatd(&arguments, &variables);
        let [told, complaints] = [&output.stdout, &output.stderr].map(|bytes| str::from_utf8(bytes).unwrap());
        let changed = told
            .lines()
            .filter(|line| !defaults.lines().any(|default| default == *line));
        let lines: Vec<_> = changed.chain(complaints.lines()).collect();
        let expected: Vec<_> = row["lines"].as_array().unwrap().iter().map(text).collect();
        if output.status.code().map(i64::from) != row["code"].as_i64() || lines != expected {
            wrong.push(format!("{row}\n    {:?} {lines:?}", output.status.code()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
