//! JSON as the client writes it: strings and members, as `JSON.stringify` writes them too.

use serde_json::Value;

/// Appends `,"name":"…"`. The name is one of our own words, which needs no escape.
pub(super) fn push_member(out: &mut String, name: &str, text: &str) {
    out.push_str(",\"");
    out.push_str(name);
    out.push_str("\":");
    push_string(out, text);
}

/// Appends a string with its quotes. What passes here isn't erased from memory: no secrets.
pub(super) fn push_string(out: &mut String, text: &str) {
    out.push_str(&Value::from(text).to_string());
}
