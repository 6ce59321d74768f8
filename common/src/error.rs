//! `FsError`: why an operation is refused. The one place where a reason becomes an errno.

use serde::{Deserialize, Serialize};

/// An answer, not a failure: it travels in replies and reaches the application as an errno.
///
/// Variants are encoded by position: append only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum FsError {
    #[error("no such entry")]
    NotFound,
    #[error("the name exists")]
    Exists,
    #[error("not a directory")]
    NotDirectory,
    #[error("is a directory")]
    IsDirectory,
    #[error("the directory is not empty")]
    NotEmpty,
    #[error("permission denied")]
    AccessDenied,
    #[error("operation not permitted")]
    NotPermitted,
    #[error("invalid argument")]
    Invalid,
    #[error("the name is too long")]
    NameTooLong,
    #[error("too many links")]
    TooManyLinks,
    #[error("no such extended attribute")]
    NoAttribute,
    #[error("the extended attribute is too large for the buffer")]
    Range,
    #[error("the extended attribute or its value is too large")]
    TooBig,
    #[error("not supported")]
    NotSupported,
    #[error("no space left")]
    NoSpace,
    #[error("the file is too large")]
    FileTooLarge,
    #[error("the file system is read-only")]
    ReadOnly,
    #[error("input/output error")]
    Io,
    #[error("the handle is stale: its session was ended")]
    Stale,
    #[error("busy")]
    Busy,
    #[error("interrupted")]
    Interrupted,
    #[error("timed out")]
    TimedOut,
    #[error("bad file descriptor")]
    BadDescriptor,
    #[error("no such device or address")]
    NoSuchDevice,
    #[error("somebody else has locked it")]
    WouldBlock,
    #[error("to wait for the lock would be to wait for ever: its holder waits for the same owner")]
    Deadlock,
    #[error("too many locks on one file")]
    NoLocks,
}

impl FsError {
    /// The Linux errno. Numbers are those of `asm-generic`, which x86-64 and arm64 share.
    #[must_use]
    pub fn errno(self) -> i32 {
        match self {
            Self::NotPermitted => 1,
            Self::NotFound => 2,
            Self::Interrupted => 4,
            Self::Io => 5,
            Self::NoSuchDevice => 6,
            Self::BadDescriptor => 9,
            Self::WouldBlock => 11,
            Self::AccessDenied => 13,
            Self::Busy => 16,
            Self::Exists => 17,
            Self::NotDirectory => 20,
            Self::IsDirectory => 21,
            Self::Invalid => 22,
            Self::FileTooLarge => 27,
            Self::NoSpace => 28,
            Self::ReadOnly => 30,
            Self::TooManyLinks => 31,
            Self::Range => 34,
            Self::Deadlock => 35,
            Self::NameTooLong => 36,
            Self::NoLocks => 37,
            Self::NotEmpty => 39,
            Self::NoAttribute => 61,
            Self::TooBig => 7,
            Self::NotSupported => 95,
            Self::TimedOut => 110,
            Self::Stale => 116,
        }
    }
}

impl From<crate::name::NameError> for FsError {
    fn from(error: crate::name::NameError) -> Self {
        use crate::name::NameError;
        match error {
            NameError::TooLong(_) => Self::NameTooLong,
            NameError::Empty => Self::NotFound,
            NameError::Dots | NameError::Forbidden(_) => Self::Invalid,
        }
    }
}
