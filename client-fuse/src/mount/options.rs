//! `-o` options of a mount.

use fuser::MountOption;

use crate::fuse::{Acl, Locks, Profile};

/// Event loops that read the kernel's requests.
const THREADS: usize = 4;
const THREADS_MAX: usize = 64;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    pub profile: Profile,
    pub threads: usize,
    /// Address of the data store.
    pub data: Option<String>,
    /// For the kernel alone.
    pub kernel: Vec<MountOption>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            profile: Profile { locks: Locks::Cluster, acl: Acl::On },
            threads: THREADS,
            data: None,
            kernel: vec![MountOption::Dev, MountOption::Suid],
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    #[error(
        "`{0}` is no mount option; there are locks=cluster|local, acl|noacl, threads=N, \
         data=file:///DIR, ro, rw, dev, nodev, suid, nosuid, exec, noexec, atime, noatime"
    )]
    Unknown(String),
    #[error("`{0}` is not possible; write locks=cluster or locks=local")]
    Locks(String),
    #[error("`{0}` is not possible; write threads=N with N from 1 to {THREADS_MAX}")]
    Threads(String),
}

impl Options {
    /// Takes the words of all `-o` flags, each a list with commas. The later one counts.
    ///
    /// # Errors
    /// Names the word that is not an option.
    pub fn parse<'a>(flags: impl IntoIterator<Item = &'a str>) -> Result<Self, OptionError> {
        let mut options = Self::default();
        let words = flags.into_iter().flat_map(|flag| flag.split(','));
        for word in words.filter(|word| !word.is_empty()) {
            options.set(word)?;
        }
        Ok(options)
    }

    fn set(&mut self, word: &str) -> Result<(), OptionError> {
        let unknown = || OptionError::Unknown(word.to_owned());
        match word.split_once('=') {
            Some(("locks", "cluster")) => self.profile.locks = Locks::Cluster,
            Some(("locks", "local")) => self.profile.locks = Locks::Local,
            Some(("locks", _)) => return Err(OptionError::Locks(word.to_owned())),
            Some(("threads", number)) => {
                let threads = number.parse().ok().filter(|n| (1..=THREADS_MAX).contains(n));
                self.threads = threads.ok_or_else(|| OptionError::Threads(word.to_owned()))?;
            }
            Some(("data", address)) => self.data = Some(address.to_owned()),
            Some(_) => return Err(unknown()),
            None => match word {
                "acl" => self.profile.acl = Acl::On,
                "noacl" => self.profile.acl = Acl::Off,
                word => {
                    let option = kernel_option(word).ok_or_else(unknown)?;
                    let opposite = |known: &MountOption| overrides(&option, known);
                    self.kernel.retain(|known| !opposite(known));
                    self.kernel.push(option);
                }
            },
        }
        Ok(())
    }
}

fn kernel_option(word: &str) -> Option<MountOption> {
    Some(match word {
        "ro" => MountOption::RO,
        "rw" => MountOption::RW,
        "dev" => MountOption::Dev,
        "nodev" => MountOption::NoDev,
        "suid" => MountOption::Suid,
        "nosuid" => MountOption::NoSuid,
        "exec" => MountOption::Exec,
        "noexec" => MountOption::NoExec,
        "atime" => MountOption::Atime,
        "noatime" => MountOption::NoAtime,
        _ => return None,
    })
}

/// Of two options on one matter the later one counts.
fn overrides(new: &MountOption, old: &MountOption) -> bool {
    let matter = |option: &MountOption| match option {
        MountOption::RO | MountOption::RW => 1,
        MountOption::Dev | MountOption::NoDev => 2,
        MountOption::Suid | MountOption::NoSuid => 3,
        MountOption::Exec | MountOption::NoExec => 4,
        MountOption::Atime | MountOption::NoAtime => 5,
        MountOption::FSName(_)
        | MountOption::Subtype(_)
        | MountOption::CUSTOM(_)
        | MountOption::AutoUnmount
        | MountOption::DefaultPermissions
        | MountOption::DirSync
        | MountOption::Sync
        | MountOption::Async => 0,
    };
    matter(new) == matter(old)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_later_word_counts() {
        let options = Options::parse(["locks=local,ro", "rw,threads=2,data=file:///d"]).unwrap();
        assert_eq!(options.profile.locks, Locks::Local);
        assert_eq!(options.kernel, [MountOption::Dev, MountOption::Suid, MountOption::RW]);
        assert_eq!((options.threads, options.data.as_deref()), (2, Some("file:///d")));
        assert_eq!(Options::parse([""]).unwrap(), Options::default());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let wrong = |text: &str| Options::parse([text]).unwrap_err();
        assert_eq!(wrong("lock=local"), OptionError::Unknown("lock=local".to_owned()));
        assert_eq!(wrong("fast"), OptionError::Unknown("fast".to_owned()));
        assert_eq!(wrong("locks=none"), OptionError::Locks("locks=none".to_owned()));
        assert_eq!(wrong("threads=0"), OptionError::Threads("threads=0".to_owned()));
    }
}
