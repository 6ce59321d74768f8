//! `-o` options of a mount: ours, those of every file system, and what fstab says to others.

use std::path::PathBuf;

use fuser::MountOption;

use crate::config::ConnectionArgs;
use crate::fuse::{Acl, Durability, Locks, Profile};

/// Event loops that read the kernel's requests.
const THREADS: usize = 4;
const THREADS_MAX: usize = 64;

/// Words for `mount(8)`, systemd and the like, which pass them on to us.
const FOR_OTHERS: &[&str] = &[
    "_netdev", "auto", "noauto", "nofail", "user", "nouser", "users", "nousers", "owner",
    "noowner", "group", "nogroup", "silent", "loud",
];
const FOR_OTHERS_BEGINNING: &[&str] = &["x-", "X-", "comment=", "helper=", "uhelper="];
/// Reading keeps no access time up to date, so there is none to be kept less so.
const OF_ACCESS_TIMES: &[&str] = &[
    "relatime",
    "norelatime",
    "strictatime",
    "nostrictatime",
    "diratime",
    "nodiratime",
    "lazytime",
    "nolazytime",
];
/// What every mount of ours has.
const ALWAYS_SO: &[&str] = &["allow_other", "default_permissions"];
/// `mount(8)` reads these from the mount table and hands them to a remount.
const OF_THE_TABLE: &[&str] =
    &["user_id=", "group_id=", "rootmode=", "fd=", "max_read=", "blksize="];

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    pub profile: Profile,
    pub durability: Durability,
    /// Changes that nobody else can see are answered before a rank has made them.
    pub nowsync: bool,
    pub threads: usize,
    /// Address of the data store.
    pub data: Option<String>,
    /// How to reach the cluster, as far as it is said here.
    pub connection: ConnectionArgs,
    pub log: Option<PathBuf>,
    /// Other flags for what is mounted, instead of a mount.
    pub remount: bool,
    /// For the kernel alone.
    pub kernel: Vec<MountOption>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            profile: Profile { locks: Locks::Cluster, acl: Acl::On },
            durability: Durability::Later,
            threads: THREADS,
            data: None,
            connection: ConnectionArgs::default(),
            log: None,
            remount: false,
            nowsync: true,
            kernel: vec![MountOption::Dev, MountOption::Suid],
        }
    }
}

/// What becomes of a word that nobody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    Refused,
    /// `mount -s`
    Ignored,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    #[error(
        "`{0}` is no mount option; there are config=FILE, certs=DIR, name=NAME, ca=FILE, cert=FILE, \
         key=FILE, cluster=ID, data=file:///DIR, log=FILE, locks=cluster|local, acl, noacl, nowsync, \
         wsync, threads=N; remount, defaults, ro, rw, dev, nodev, suid, nosuid, exec, noexec, sync, async, \
         dirsync, and those about access times; auto, noauto, user, nouser, owner, group, _netdev, \
         nofail, comment=TEXT, x-ANYTHING"
    )]
    Unknown(String),
    #[error("`{0}` is not possible; write locks=cluster or locks=local")]
    Locks(String),
    #[error("`{0}` is not possible; write threads=N with N from 1 to {THREADS_MAX}")]
    Threads(String),
    #[error("`{0}` has no value; write {0}SOMETHING, or leave it out")]
    NoValue(String),
}

impl Options {
    /// Takes the words of all `-o` flags, each a list with commas. The later one counts.
    ///
    /// # Errors
    /// Names the word that is not an option.
    pub fn parse<'a>(flags: impl IntoIterator<Item = &'a str>) -> Result<Self, OptionError> {
        Self::parse_with(flags, Unknown::Refused)
    }

    /// # Errors
    /// See [`Self::parse`].
    pub fn parse_with<'a>(
        flags: impl IntoIterator<Item = &'a str>,
        unknown: Unknown,
    ) -> Result<Self, OptionError> {
        let words = flags.into_iter().flat_map(|flag| flag.split(','));
        let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
        let mut options = Self { remount: words.contains(&"remount"), ..Self::default() };
        for word in words {
            match options.set(word) {
                Err(OptionError::Unknown(_)) if unknown == Unknown::Ignored => {}
                set => set?,
            }
        }
        Ok(options)
    }

    fn set(&mut self, word: &str) -> Result<(), OptionError> {
        if is_for_others(word) || (self.remount && is_of_the_table(word)) {
            return Ok(());
        }
        match word.split_once('=') {
            Some((key, "")) => Err(OptionError::NoValue(format!("{key}="))),
            Some((key, value)) => self.set_value(key, value, word),
            None => self.set_flag(word),
        }
    }

    fn set_value(&mut self, key: &str, value: &str, word: &str) -> Result<(), OptionError> {
        let path = || Some(PathBuf::from(value));
        match (key, value) {
            ("locks", "cluster") => self.profile.locks = Locks::Cluster,
            ("locks", "local") => self.profile.locks = Locks::Local,
            ("locks", _) => return Err(OptionError::Locks(word.to_owned())),
            ("threads", number) => {
                let threads = number.parse().ok().filter(|n| (1..=THREADS_MAX).contains(n));
                self.threads = threads.ok_or_else(|| OptionError::Threads(word.to_owned()))?;
            }
            ("data", address) => self.data = Some(address.to_owned()),
            ("log", _) => self.log = path(),
            ("config", _) => self.connection.config = path(),
            ("certs", _) => self.connection.certs = path(),
            ("ca", _) => self.connection.ca = path(),
            ("cert", _) => self.connection.cert = path(),
            ("key", _) => self.connection.key = path(),
            ("name", name) => self.connection.name = Some(name.to_owned()),
            ("cluster", id) => self.connection.cluster = Some(id.to_owned()),
            _ => return Err(OptionError::Unknown(word.to_owned())),
        }
        Ok(())
    }

    fn set_flag(&mut self, word: &str) -> Result<(), OptionError> {
        match word {
            "acl" => self.profile.acl = Acl::On,
            "noacl" => self.profile.acl = Acl::Off,
            "nowsync" => self.nowsync = true,
            "wsync" => self.nowsync = false,
            "remount" => self.remount = true,
            "defaults" => {
                for word in ["rw", "suid", "dev", "exec", "async"] {
                    self.set_flag(word)?;
                }
            }
            word => {
                let option = kernel_option(word);
                let option = option.ok_or_else(|| OptionError::Unknown(word.to_owned()))?;
                match word {
                    "sync" => self.durability = Durability::Everything,
                    "dirsync" => self.durability = self.durability.max(Durability::Names),
                    "async" => self.durability = Durability::Later,
                    _ => {}
                }
                self.kernel.retain(|known| !overrides(&option, known));
                self.kernel.push(option);
            }
        }
        Ok(())
    }
}

/// The words of a list that are flags of the kernel's, as far as there is something to be done for them.
pub(super) fn kernel_words(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').filter(|word| kernel_option(word).is_some())
}

fn is_for_others(word: &str) -> bool {
    let known = [FOR_OTHERS, OF_ACCESS_TIMES, ALWAYS_SO];
    known.iter().any(|words| words.contains(&word))
        || FOR_OTHERS_BEGINNING.iter().any(|beginning| word.starts_with(beginning))
}

fn is_of_the_table(word: &str) -> bool {
    OF_THE_TABLE.iter().any(|beginning| word.starts_with(beginning))
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
        "sync" => MountOption::Sync,
        "async" => MountOption::Async,
        "dirsync" => MountOption::DirSync,
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
        MountOption::Sync | MountOption::Async => 6,
        MountOption::DirSync => 7,
        MountOption::FSName(_)
        | MountOption::Subtype(_)
        | MountOption::CUSTOM(_)
        | MountOption::AutoUnmount
        | MountOption::DefaultPermissions => 0,
    };
    let both_kinds_of_sync = (new, old) == (&MountOption::Async, &MountOption::DirSync);
    matter(new) == matter(old) || both_kinds_of_sync
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
    fn what_fstab_says_to_others_means_nothing_here() {
        let words = "_netdev,noauto,nofail,user,x-systemd.automount,X-mount.mkdir,comment=a=b,\
                     relatime,nodiratime,strictatime,lazytime,allow_other,x-gvfs-hide";
        assert_eq!(Options::parse([words]).unwrap(), Options::default());
    }

    #[test]
    fn fstab_says_how_to_reach_the_cluster() {
        let words = "config=/c.toml,certs=/certs,name=n,cluster=07,ca=/ca,cert=/p,key=/k,log=/l";
        let options = Options::parse([words]).unwrap();
        let path = |text: &str| Some(PathBuf::from(text));
        let connection = ConnectionArgs {
            config: path("/c.toml"),
            certs: path("/certs"),
            name: Some("n".to_owned()),
            cluster: Some("07".to_owned()),
            ca: path("/ca"),
            cert: path("/p"),
            key: path("/k"),
            monitor: None,
        };
        assert_eq!((options.connection, options.log), (connection, path("/l")));
    }

    #[test]
    fn defaults_undo_what_came_before() {
        let options = Options::parse(["ro,noexec,nosuid,sync,dirsync,defaults,nodev"]).unwrap();
        let kernel = [
            MountOption::RW,
            MountOption::Suid,
            MountOption::Exec,
            MountOption::Async,
            MountOption::NoDev,
        ];
        assert_eq!(options.kernel, kernel);
        assert_eq!(options.durability, Durability::Later);
    }

    #[test]
    fn the_stronger_kind_of_sync_counts() {
        let durability = |words| Options::parse([words]).unwrap().durability;
        assert_eq!(durability("dirsync"), Durability::Names);
        assert_eq!(durability("sync,dirsync"), Durability::Everything);
        assert_eq!(durability("dirsync,sync"), Durability::Everything);
    }

    #[test]
    fn a_remount_is_handed_what_the_table_says() {
        let words = "rw,user_id=0,group_id=0,default_permissions,allow_other,ro,remount";
        let options = Options::parse([words]).unwrap();
        assert!(options.remount);
        assert_eq!(options.kernel, [MountOption::Dev, MountOption::Suid, MountOption::RO]);
        let alone = Options::parse(["user_id=0"]);
        assert_eq!(alone, Err(OptionError::Unknown("user_id=0".to_owned())));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let wrong = |text: &str| Options::parse([text]).unwrap_err();
        assert_eq!(wrong("lock=local"), OptionError::Unknown("lock=local".to_owned()));
        assert_eq!(wrong("fast"), OptionError::Unknown("fast".to_owned()));
        assert_eq!(wrong("locks=none"), OptionError::Locks("locks=none".to_owned()));
        assert_eq!(wrong("threads=0"), OptionError::Threads("threads=0".to_owned()));
        assert_eq!(wrong("config="), OptionError::NoValue("config=".to_owned()));
    }

    #[test]
    fn who_is_sloppy_is_refused_less() {
        let sloppy = |text| Options::parse_with([text], Unknown::Ignored);
        assert_eq!(sloppy("fast,ro,speed=9"), Options::parse(["ro"]));
        assert_eq!(sloppy("locks=none"), Err(OptionError::Locks("locks=none".to_owned())));
    }
}
