//! `Frag`: which part of a directory, as a prefix of the hash of the name.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::name::NameHash;

/// All names whose hash begins with `bits` bits of `value`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Frag {
    /// The prefix, in the upper `bits` bits; the others are 0.
    value: u64,
    bits: u8,
}

impl Frag {
    /// The whole directory.
    pub const WHOLE: Self = Self { value: 0, bits: 0 };
    /// A directory is never split deeper than this: 2^16 fragments.
    pub const BITS_MAX: u8 = 16;

    /// The fragment of depth `bits` that contains `hash`. None if that is too deep.
    #[must_use]
    pub fn containing(hash: NameHash, bits: u8) -> Option<Self> {
        (bits <= Self::BITS_MAX).then(|| Self { value: hash.0 & mask(bits), bits })
    }

    #[must_use]
    pub fn bits(self) -> u8 {
        self.bits
    }

    #[must_use]
    pub fn contains(self, hash: NameHash) -> bool {
        hash.0 & mask(self.bits) == self.value
    }

    /// The lowest and the highest hash in the fragment.
    #[must_use]
    pub fn range(self) -> (NameHash, NameHash) {
        (NameHash(self.value), NameHash(self.value | !mask(self.bits)))
    }

    /// Whether the fragment holds the directory's own mode, owner, policy and parent pointer.
    #[must_use]
    pub fn is_first(self) -> bool {
        self.value == 0
    }
}

fn mask(bits: u8) -> u64 {
    match bits {
        0 => 0,
        bits => u64::MAX << (64 - u32::from(bits)),
    }
}

impl fmt::Display for Frag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:x}/{}",
            self.value.checked_shr(64 - u32::from(self.bits)).unwrap_or(0),
            self.bits
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fragments_of_one_depth_share_out_all_hashes() {
        for bits in 0..=3 {
            for hash in [0, 1, u64::MAX, 0x5555_5555_5555_5555, 1 << 63] {
                let frag = Frag::containing(NameHash(hash), bits).unwrap();
                let (first, last) = frag.range();
                assert!(frag.contains(NameHash(hash)) && first.0 <= hash && hash <= last.0);
                let next = last.0.wrapping_add(1);
                assert!(next == 0 || !frag.contains(NameHash(next)));
            }
        }
        assert_eq!(Frag::containing(NameHash(7), 0), Some(Frag::WHOLE));
        assert_eq!(Frag::containing(NameHash(7), Frag::BITS_MAX + 1), None);
    }

    #[test]
    fn prints_prefix_and_depth() {
        assert_eq!(Frag::WHOLE.to_string(), "0/0");
        assert_eq!(Frag::containing(NameHash(u64::MAX), 3).unwrap().to_string(), "7/3");
    }
}
