//! HTTP answers (RFC 9112), read strictly: what isn't the HTTP that our server should write fails the test.

use serde_json::Value;

const END_OF_HEAD: &[u8] = b"\r\n\r\n";

/// An answer, its body complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    /// In the order in which they came, names as they came.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    /// The answer, to any method but HEAD, that these bytes begin with, and its length in bytes, if all of it is there.
    pub fn parse(bytes: &[u8]) -> Option<(Self, usize)> {
        let (mut response, head_length) = Self::parse_head(bytes)?;
        let has_no_body = response.status < 200 || response.status == 204;
        let body_length = if has_no_body { 0 } else { response.content_length() };
        let length = head_length + body_length;
        response.body = bytes.get(head_length..length)?.to_vec();
        Some((response, length))
    }

    /// The same of the head alone, which is all of an answer to a HEAD.
    pub fn parse_head(bytes: &[u8]) -> Option<(Self, usize)> {
        let end = bytes
            .windows(END_OF_HEAD.len())
            .position(|window| window == END_OF_HEAD)?;
        let head = str::from_utf8(&bytes[..end]).expect("a head is ASCII");
        let mut lines = head.split("\r\n");
        let status_line = lines.next().unwrap_or_default();
        let status = status_line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
        let field = |line: &str| {
            let (name, value) = line.split_once(": ").expect("name: value");
            (name.to_owned(), value.to_owned())
        };
        let response = Self {
            status: status
                .and_then(|digits| digits.parse().ok())
                .expect("HTTP/1.1 and a status"),
            headers: lines.map(field).collect(),
            body: Vec::new(),
        };
        response.check();
        Some((response, end + END_OF_HEAD.len()))
    }

    /// The value of the only field of this name, in any case of letters.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name));
        let value = values.next();
        assert!(values.next().is_none(), "{name} twice: {:?}", self.headers);
        value.map(|(_, value)| value.as_str())
    }

    /// Whether the connection ends after it.
    pub fn closes(&self) -> bool {
        let options = self.header("Connection").unwrap_or_default();
        options.split(", ").any(|option| option == "close")
    }

    pub fn text(&self) -> &str {
        str::from_utf8(&self.body).expect("the body is UTF-8")
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }

    /// What every answer has, for pages of any origin, but the one that asks for the body.
    fn check(&self) {
        if self.status != 100 {
            assert_eq!(self.header("Access-Control-Allow-Origin"), Some("*"), "{self:?}");
            assert_eq!(self.header("Date").map(str::len), Some(29), "{self:?}");
        }
    }

    fn content_length(&self) -> usize {
        let length = self
            .header("Content-Length")
            .expect("an answer with a body tells its length");
        length.parse().expect("Content-Length is a number")
    }
}
