//! The journal: the protocol's facts, in the same batch as the rows they speak of.

pub mod entry;
