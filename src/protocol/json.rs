//! As much of a JSON document as the protocol asks for: objects, arrays, strings and counts. Everything else is checked
//! and dropped.
//!
//! Stricter than `serde_json` alone, which lets the last of two equal members win and nests 128 deep. No limit
//! of size here: the caller has one, and what is allocated is in proportion to it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Objects and arrays may stand in each other this deep, the outermost counted.
pub const JSON_MAX_DEPTH: u8 = 32;

/// A JSON value.
#[derive(Debug)]
pub(crate) enum Json {
    Object(BTreeMap<String, Self>),
    Text(String),
    /// A number that isn't negative, has no fraction and fits.
    Count(u64),
    Array(Vec<Self>),
    /// Another number, `true`, `false` or `null`.
    Other,
}

impl Json {
    /// Reads a whole text: one value, white space around it, nothing else.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let mut deserializer = serde_json::Deserializer::from_slice(text);
        let depth_left = JSON_MAX_DEPTH;
        let value = Strict { depth_left }.deserialize(&mut deserializer).ok()?;
        deserializer.end().ok()?;
        Some(value)
    }

    /// The member of this name, if this is an object that has it.
    pub(crate) fn member(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members.get(name),
            _ => None,
        }
    }

    /// The string, unescaped, that is the member of this name, if this is an object that has one there.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.member(name)?.as_text()
    }

    /// The number, if this is one that counts.
    pub(crate) fn as_count(&self) -> Option<u64> {
        match self {
            Self::Count(count) => Some(*count),
            _ => None,
        }
    }

    /// The string, unescaped, if this is one.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The bytes, if this is a string of canonical base64url without padding for exactly `N` of them.
    pub(crate) fn as_bytes<const N: usize>(&self) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        let length = URL_SAFE_NO_PAD.decode_slice(self.as_text()?, &mut bytes).ok()?;
        (length == N).then_some(bytes)
    }

    /// The elements, if this is an array.
    #[cfg_attr(
        not(feature = "client"),
        allow(dead_code, reason = "no text of a login has an array")
    )]
    pub(crate) fn as_array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(elements) => Some(elements),
            _ => None,
        }
    }
}

/// What is read from a key file is gone from memory with it.
#[cfg(feature = "client")]
impl zeroize::Zeroize for Json {
    fn zeroize(&mut self) {
        match self {
            Self::Object(members) => members.values_mut().for_each(Self::zeroize),
            Self::Array(elements) => elements.iter_mut().for_each(Self::zeroize),
            Self::Text(text) => text.zeroize(),
            Self::Count(count) => count.zeroize(),
            Self::Other => {}
        }
    }
}

/// Reads one value at whose place so many objects and arrays may still begin, one in the other.
#[derive(Clone, Copy)]
struct Strict {
    depth_left: u8,
}

impl Strict {
    fn inner<E: Error>(self) -> Result<Self, E> {
        match self.depth_left.checked_sub(1) {
            Some(depth_left) => Ok(Self { depth_left }),
            None => Err(E::custom("nested too deep")),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let inner = self.inner()?;
        let mut members = BTreeMap::new();
        while let Some(name) = access.next_key::<String>()? {
            match members.entry(name) {
                Entry::Vacant(place) => place.insert(access.next_value_seed(inner)?),
                Entry::Occupied(_) => return Err(A::Error::custom("a member twice")),
            };
        }
        Ok(Json::Object(members))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let inner = self.inner()?;
        let mut elements = Vec::new();
        while let Some(element) = access.next_element_seed(inner)? {
            elements.push(element);
        }
        Ok(Json::Array(elements))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_u64<E: Error>(self, count: u64) -> Result<Json, E> {
        Ok(Json::Count(count))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_unit<E: Error>(self) -> Result<Json, E> {
        Ok(Json::Other)
    }
}
