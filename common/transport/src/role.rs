//! `Role`: what the holder of a certificate may be in the cluster.

use std::fmt;
use std::str::FromStr;

/// Written as the organizational unit (OU) of the certificate's subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// A metadata server.
    Mds,
    /// The monitor.
    Mon,
    /// A mount.
    Client,
    /// An operator's tool.
    Admin,
}

impl Role {
    pub const ALL: [Self; 4] = [Self::Mds, Self::Mon, Self::Client, Self::Admin];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mds => "mds",
            Self::Mon => "mon",
            Self::Client => "client",
            Self::Admin => "admin",
        }
    }

    /// The DNS name in the certificates of servers with this role, and under which they are dialled.
    #[must_use]
    pub fn server_name(self) -> String {
        format!("{}.grovefs", self.name())
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = ParseRoleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|role| role.name() == text);
        known.ok_or_else(|| ParseRoleError { role: text.to_owned() })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{role}` is not a role; there are `mds`, `mon`, `client` and `admin`")]
pub struct ParseRoleError {
    pub role: String,
}
