//! How values travel: a frame is a length and a postcard-encoded value.
//!
//! ```text
//!  ┌────────────────────────┬─────────────────────┐
//!  │ length: u32, little-   │ value, postcard 1.x │
//!  │ endian, bytes of value │                     │
//!  └────────────────────────┴─────────────────────┘
//! ```
//!
//! Whatever arrives is untrusted: a length above the stream's limit, an undecodable value or bytes
//! left over end the connection, never the process.

pub mod admin;
pub mod fsck;
pub mod hello;
pub mod monitor;
pub mod reply;
pub mod request;
pub mod session;

use serde::Serialize;
use serde::de::DeserializeOwned;

const LENGTH_BYTES: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("a frame announces {length} bytes; at most {max} are allowed on this stream")]
    TooLong { length: usize, max: usize },
    #[error("a frame does not decode")]
    Malformed,
    #[error("a frame has {0} bytes after its value")]
    TrailingBytes(usize),
}

/// Encodes a value without a frame, as for a row on disk.
#[must_use]
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value)
        .expect("our types encode: no maps of unknown length, no failing impl")
}

/// How many bytes a value takes, encoded: for those who fill a frame with several.
#[must_use]
pub fn encoded_bytes<T: Serialize + ?Sized>(value: &T) -> usize {
    postcard::serialize_with_flavor(value, postcard::ser_flavors::Size::default())
        .expect("our types encode: no maps of unknown length, no failing impl")
}

/// Decodes a value that fills `bytes` whole.
///
/// # Errors
/// [`DecodeError::Malformed`] or [`DecodeError::TrailingBytes`].
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    let (value, rest) = postcard::take_from_bytes(bytes).map_err(|_| DecodeError::Malformed)?;
    if rest.is_empty() { Ok(value) } else { Err(DecodeError::TrailingBytes(rest.len())) }
}

/// Appends a value's frame to `out`.
pub fn encode_frame<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; LENGTH_BYTES]);
    let bytes = postcard::to_extend(value, std::mem::take(out))
        .expect("our types encode: no maps of unknown length, no failing impl");
    *out = bytes;
    let length = u32::try_from(out.len() - start - LENGTH_BYTES).expect("frames are below 4 GiB");
    out[start..start + LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
}

/// Cuts a stream of bytes into frames.
#[derive(Debug)]
pub struct Deframer {
    buffer: Vec<u8>,
    /// Bytes at the front that were handed out already.
    consumed: usize,
    frame_bytes_max: usize,
}

impl Deframer {
    #[must_use]
    pub fn new(frame_bytes_max: usize) -> Self {
        Self { buffer: Vec::new(), consumed: 0, frame_bytes_max }
    }

    /// The same stream, from here on with another bound on the bytes of a frame.
    #[must_use]
    pub fn with_limit(self, frame_bytes_max: usize) -> Self {
        Self { frame_bytes_max, ..self }
    }

    /// Takes what arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.consumed == self.buffer.len() {
            self.buffer.clear();
            self.consumed = 0;
        } else if self.consumed > self.frame_bytes_max {
            self.buffer.drain(..self.consumed);
            self.consumed = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Whether everything that arrived was handed out: the stream may end here.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.consumed == self.buffer.len()
    }

    /// The next value, or `None` until more arrives.
    ///
    /// # Errors
    /// After an error the stream is of no use any more.
    pub fn pop<T: DeserializeOwned>(&mut self) -> Result<Option<T>, DecodeError> {
        let rest = &self.buffer[self.consumed..];
        let Some((length, rest)) = rest.split_first_chunk::<LENGTH_BYTES>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*length) as usize;
        if length > self.frame_bytes_max {
            return Err(DecodeError::TooLong { length, max: self.frame_bytes_max });
        }
        let Some(bytes) = rest.get(..length) else {
            return Ok(None);
        };
        let value = decode(bytes)?;
        self.consumed += LENGTH_BYTES + length;
        Ok(Some(value))
    }
}

#[cfg(test)]
mod tests;
