//! `Name`: a checked file name, and the hash by which entries are ordered.

use std::fmt;
use std::hash::Hasher;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use siphasher::sip::SipHasher13;

use crate::limit::NAME_BYTES_MAX;

/// A name in a directory: 1 to 255 bytes, no `/`, no NUL, neither `.` nor `..`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<[u8]>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("a file name is empty")]
    Empty,
    #[error("a file name has {0} bytes; at most {NAME_BYTES_MAX} are allowed")]
    TooLong(usize),
    #[error("a file name is `.` or `..`")]
    Dots,
    #[error("a file name contains the byte {0:#04x}")]
    Forbidden(u8),
}

impl Name {
    /// # Errors
    /// Says which rule the bytes break.
    pub fn new(bytes: &[u8]) -> Result<Self, NameError> {
        if bytes.is_empty() {
            return Err(NameError::Empty);
        }
        if bytes.len() > NAME_BYTES_MAX {
            return Err(NameError::TooLong(bytes.len()));
        }
        if matches!(bytes, b"." | b"..") {
            return Err(NameError::Dots);
        }
        if let Some(byte) = bytes.iter().find(|byte| matches!(byte, b'/' | 0)) {
            return Err(NameError::Forbidden(*byte));
        }
        Ok(Self(bytes.into()))
    }

    /// No name is before this one.
    #[must_use]
    pub fn least() -> Self {
        Self([1].into())
    }

    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl serde::de::Visitor<'_> for Bytes {
            type Value = Name;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a file name")
            }

            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Name, E> {
                Name::new(bytes).map_err(E::custom)
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

/// The secret of a cluster under which names are hashed, so that nobody can make collisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NameHashKey(pub u64, pub u64);

/// A place in the order in which a directory's entries are kept: `hash(name)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NameHash(pub u64);

impl NameHashKey {
    /// SipHash-1-3 of the name's bytes. Fixed for ever: rows are stored under it.
    #[must_use]
    pub fn hash(self, name: &Name) -> NameHash {
        let mut hasher = SipHasher13::new_with_keys(self.0, self.1);
        hasher.write(name.as_bytes());
        NameHash(hasher.finish())
    }
}

impl NameHash {
    /// The `readdir` cookie that says "everything up to this hash was listed". The upper 62 bits
    /// plus 2: cookies 0, 1 and 2 mean the beginning, after `.`, after `..`.
    #[must_use]
    pub fn cookie(self) -> u64 {
        (self.0 >> 2) + 3
    }

    /// The first hash that is not covered by a cookie.
    #[must_use]
    pub fn after_cookie(cookie: u64) -> Option<Self> {
        match cookie.checked_sub(3) {
            None => Some(Self(0)),
            Some(upper) if upper >= (1 << 62) - 1 => None,
            Some(upper) => Some(Self((upper + 1) << 2)),
        }
    }
}

#[cfg(test)]
mod tests;
