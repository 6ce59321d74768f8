//! How a data store is laid out: where an inode's bytes lie, and the label that names the store.
//!
//! Data never passes an MDS: clients read and write here, the purge queue of an MDS removes.

use serde::{Deserialize, Serialize};

use crate::id::{ClusterId, Ino};

/// The file in a store's root that holds its [`StoreLabel`] as JSON.
pub const LABEL_FILE: &str = "grove-store.json";

/// Which store this is. A mount refuses one whose id the cluster's map does not list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreLabel {
    /// 32 hex digits.
    pub cluster: String,
    /// 32 hex digits, made at random.
    pub store: String,
    /// Seconds since 1970.
    pub created: i64,
}

impl StoreLabel {
    #[must_use]
    pub fn belongs_to(&self, cluster: ClusterId) -> bool {
        self.cluster == cluster.to_string()
    }
}

/// Where an inode's one sparse file lies below the store's root: two levels of 256 folders, by the
/// low bits of the number, so that neighbours spread.
#[must_use]
pub fn object_path(ino: Ino) -> String {
    format!("{:02x}/{:02x}/{:016x}", ino.0 & 0xff, (ino.0 >> 8) & 0xff, ino.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Data is found by this: it can never change.
    #[test]
    fn the_path_of_an_inode_is_fixed_for_ever() {
        assert_eq!(object_path(Ino(0x8000_0000_1234)), "34/12/0000800000001234");
    }
}
