//! Values on a stream: [`common::wire`] frames, gathered into few writes.

use bytes::Bytes;
use common::wire::{DecodeError, Deframer, encode_frame};
use quinn::{ReadError, RecvStream, SendStream, WriteError};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Why a stream is of no use any more.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error("cannot write to the stream: {0}")]
    Write(#[from] WriteError),
    #[error("cannot read from the stream: {0}")]
    Read(#[from] ReadError),
    #[error("the peer does not keep to the protocol: {0}")]
    Decode(#[from] DecodeError),
    #[error("the stream ends in the middle of a frame")]
    Truncated,
}

/// The sending half. [`Self::queue`] costs no system call; [`Self::flush`] sends what is queued.
#[derive(Debug)]
pub struct FramedSend {
    stream: SendStream,
    queued: Vec<u8>,
}

impl FramedSend {
    #[must_use]
    pub fn new(stream: SendStream) -> Self {
        Self { stream, queued: Vec::new() }
    }

    /// Appends a value to what the next flush sends.
    pub fn queue<T: Serialize + ?Sized>(&mut self, value: &T) {
        encode_frame(value, &mut self.queued);
    }

    /// Appends a frame that is encoded already: for values that may have to be sent again.
    pub fn queue_encoded(&mut self, frame: &[u8]) {
        self.queued.extend_from_slice(frame);
    }

    /// Bytes that wait for a flush.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.queued.len()
    }

    /// Hands what is queued to the connection; waits while the receiver is too far behind. If it is
    /// dropped before it is done, the stream must not be used any more.
    ///
    /// # Errors
    /// The stream or its connection is gone.
    pub async fn flush(&mut self) -> Result<(), FrameError> {
        if self.queued.is_empty() {
            return Ok(());
        }
        let bytes = Bytes::from(std::mem::take(&mut self.queued));
        Ok(self.stream.write_chunk(bytes).await?)
    }

    /// One value, at once.
    ///
    /// # Errors
    /// As [`Self::flush`].
    pub async fn send<T: Serialize + ?Sized + Sync>(
        &mut self,
        value: &T,
    ) -> Result<(), FrameError> {
        self.queue(value);
        self.flush().await
    }

    /// Ends the stream after what was flushed. The connection delivers it as long as it lives.
    pub fn finish(mut self) -> SendStream {
        // Fails only if it was finished or reset: then there is nothing left to end.
        let _ = self.stream.finish();
        self.stream
    }
}

/// The receiving half.
#[derive(Debug)]
pub struct FramedRecv {
    stream: RecvStream,
    deframer: Deframer,
}

/// Bytes taken from the connection at a time.
const READ_BYTES_MAX: usize = 256 * 1024;

impl FramedRecv {
    /// `frame_bytes_max` is [`common::limit::FRAME_BYTES_MAX`] on a control stream.
    #[must_use]
    pub fn new(stream: RecvStream, frame_bytes_max: usize) -> Self {
        Self { stream, deframer: Deframer::new(frame_bytes_max) }
    }

    /// The same stream, from here on with another bound on the bytes of a frame.
    #[must_use]
    pub fn with_limit(self, frame_bytes_max: usize) -> Self {
        Self { stream: self.stream, deframer: self.deframer.with_limit(frame_bytes_max) }
    }

    /// The next value; `None` when the sender has finished the stream. Dropping the future loses
    /// nothing.
    ///
    /// # Errors
    /// The connection is gone, or the peer does not keep to the protocol.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, FrameError> {
        loop {
            if let Some(value) = self.deframer.pop()? {
                return Ok(Some(value));
            }
            match self.stream.read_chunk(READ_BYTES_MAX, true).await? {
                Some(chunk) => self.deframer.push(&chunk.bytes),
                None if self.deframer.is_empty() => return Ok(None),
                None => return Err(FrameError::Truncated),
            }
        }
    }

    /// A value that has arrived already, without waiting.
    ///
    /// # Errors
    /// The peer does not keep to the protocol.
    pub fn pop<T: DeserializeOwned>(&mut self) -> Result<Option<T>, FrameError> {
        Ok(self.deframer.pop()?)
    }
}
