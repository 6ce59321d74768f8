//! How to reach a cluster: from flags, the environment and `client.toml`, in this order.

use std::env;
use std::fs;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

use common::id::ClusterId;
use serde::Deserialize;
use transport::{Credentials, CredentialsError, Role};

/// What every sub-command that talks to a cluster takes.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct ConnectionArgs {
    /// A TOML file with the keys `monitor`, `cluster`, `certs`, `name`, `ca`, `cert`, `key`,
    /// `data` [env: GROVE_CONFIG]
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Where monitors listen: HOST:PORT, with commas between several; the first that answers is
    /// used [env: GROVE_MONITOR]
    #[arg(long, value_name = "HOST:PORT", global = true)]
    pub monitor: Option<String>,
    /// The cluster's id, 32 hex digits; found out if it is not given [env: GROVE_CLUSTER]
    #[arg(long, value_name = "ID", global = true)]
    pub cluster: Option<String>,
    /// A folder that `grove ca` made, with ca.pem, NAME.pem and NAME.key [env: GROVE_CERTS]
    #[arg(long, value_name = "DIR", global = true)]
    pub certs: Option<PathBuf>,
    /// Whose certificate of that folder: `client` for mounts, else `admin`, if it is not given
    #[arg(long, value_name = "NAME", global = true)]
    pub name: Option<String>,
    /// The authority's certificate
    #[arg(long, value_name = "FILE", global = true)]
    pub ca: Option<PathBuf>,
    /// Our certificate
    #[arg(long, value_name = "FILE", global = true)]
    pub cert: Option<PathBuf>,
    /// Its private key
    #[arg(long, value_name = "FILE", global = true)]
    pub key: Option<PathBuf>,
}

/// The file, whole.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClientFile {
    monitor: Option<String>,
    cluster: Option<String>,
    certs: Option<PathBuf>,
    name: Option<String>,
    ca: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    /// Address of the data store, for mounts.
    data: Option<String>,
}

/// What was found, checked as far as possible without the network.
#[derive(Clone, Debug)]
pub struct Settings {
    /// One or more. Any that answers will do.
    pub monitors: Vec<SocketAddr>,
    pub cluster: Option<ClusterId>,
    pub data: Option<String>,
    role: Role,
    ca: PathBuf,
    cert: PathBuf,
    key: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read the configuration {}: {reason}", path.display())]
    Unreadable { path: PathBuf, reason: std::io::Error },
    #[error("the configuration {} is wrong: {reason}", path.display())]
    Malformed { path: PathBuf, reason: String },
    #[error(
        "no monitor is named; use --monitor HOST:PORT, GROVE_MONITOR or `monitor` in client.toml"
    )]
    NoMonitor,
    #[error("`{text}` is no address of a monitor ({reason}); write HOST:PORT")]
    Monitor { text: String, reason: String },
    #[error("`{0}` is no cluster id; it has 32 hex digits, as `grove-mon --format` printed it")]
    Cluster(String),
    #[error(
        "no certificates are named; use --certs DIR (of a mount, -o certs=DIR), GROVE_CERTS or \
         `certs` in client.toml, or --ca, --cert and --key together"
    )]
    NoCertificates,
}

impl ConnectionArgs {
    /// What is not said here is as said there.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            config: self.config.or(other.config),
            monitor: self.monitor.or(other.monitor),
            cluster: self.cluster.or(other.cluster),
            certs: self.certs.or(other.certs),
            name: self.name.or(other.name),
            ca: self.ca.or(other.ca),
            cert: self.cert.or(other.cert),
            key: self.key.or(other.key),
        }
    }

    /// Puts together what flags, environment and file say. `role`: what is to be played.
    ///
    /// # Errors
    /// Names what is missing or wrong, and where it can be given.
    pub fn resolve(&self, role: Role) -> Result<Settings, ConfigError> {
        let path = self.config.clone().or_else(|| env::var_os("GROVE_CONFIG").map(Into::into));
        let file = path.map_or_else(|| Ok(ClientFile::default()), |path| read(&path))?;
        let from_env = |key: &str| env::var(key).ok().filter(|text| !text.is_empty());

        let monitor = self.monitor.clone().or_else(|| from_env("GROVE_MONITOR")).or(file.monitor);
        let monitors = addresses(&monitor.ok_or(ConfigError::NoMonitor)?)?;
        let cluster = self.cluster.clone().or_else(|| from_env("GROVE_CLUSTER")).or(file.cluster);
        let cluster =
            cluster.map(|text| text.parse().map_err(|_| ConfigError::Cluster(text))).transpose()?;

        let certs =
            self.certs.clone().or_else(|| from_env("GROVE_CERTS").map(Into::into)).or(file.certs);
        let default_name = if role == Role::Client { "client" } else { "admin" };
        let name = self.name.clone().or(file.name).unwrap_or_else(|| default_name.to_owned());
        let in_folder = |file: String| certs.as_ref().map(|folder| folder.join(file));
        let part = |flag: &Option<PathBuf>, in_file: Option<PathBuf>, name: String| {
            flag.clone().or(in_file).or_else(|| in_folder(name)).ok_or(ConfigError::NoCertificates)
        };
        Ok(Settings {
            monitors,
            cluster,
            data: from_env("GROVE_DATA").or(file.data),
            role,
            ca: part(&self.ca, file.ca, "ca.pem".to_owned())?,
            cert: part(&self.cert, file.cert, format!("{name}.pem"))?,
            key: part(&self.key, file.key, format!("{name}.key"))?,
        })
    }
}

impl Settings {
    /// # Errors
    /// Says which file is wrong.
    pub fn credentials(&self) -> Result<Credentials, CredentialsError> {
        let credentials = Credentials::load(&self.ca, &self.cert, &self.key)?;
        credentials.require_role(self.role)?;
        Ok(credentials)
    }
}

fn read(path: &Path) -> Result<ClientFile, ConfigError> {
    let text = fs::read_to_string(path)
        .map_err(|reason| ConfigError::Unreadable { path: path.to_owned(), reason })?;
    toml::from_str(&text).map_err(|error| ConfigError::Malformed {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

/// The addresses of all monitors of a list. One whose name is not known is like one that is down: the
/// others will do.
fn addresses(text: &str) -> Result<Vec<SocketAddr>, ConfigError> {
    let (mut found, mut first_wrong) = (Vec::new(), None);
    for monitor in text.split(',') {
        match monitor.to_socket_addrs() {
            Ok(addresses) => found.extend(addresses),
            Err(error) => {
                first_wrong.get_or_insert_with(|| (monitor.to_owned(), error.to_string()));
            }
        }
    }
    if found.is_empty() {
        let nothing = || (text.to_owned(), "the name has no address".to_owned());
        let (text, reason) = first_wrong.unwrap_or_else(nothing);
        return Err(ConfigError::Monitor { text, reason });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args() -> ConnectionArgs {
        ConnectionArgs {
            monitor: Some("127.0.0.1:7000".to_owned()),
            certs: Some("/certs".into()),
            ..ConnectionArgs::default()
        }
    }

    #[test]
    fn a_folder_names_all_three_files() {
        let settings = args().resolve(Role::Client).unwrap();
        assert_eq!(settings.ca, Path::new("/certs/ca.pem"));
        assert_eq!(settings.cert, Path::new("/certs/client.pem"));
        assert_eq!(args().resolve(Role::Admin).unwrap().key, Path::new("/certs/admin.key"));
    }

    #[test]
    fn of_several_monitors_those_with_an_address_are_used() {
        let several = "nowhere,127.0.0.1:1,[::1]:2".to_owned();
        let settings = ConnectionArgs { monitor: Some(several), ..args() }.resolve(Role::Client);
        let addresses = ["127.0.0.1:1", "[::1]:2"].map(|text| text.parse().unwrap());
        assert_eq!(settings.unwrap().monitors, addresses);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let wrong = ConnectionArgs { monitor: Some("nowhere".to_owned()), ..args() };
        assert!(matches!(wrong.resolve(Role::Client), Err(ConfigError::Monitor { .. })));
        let wrong = ConnectionArgs { cluster: Some("xyz".to_owned()), ..args() };
        assert!(matches!(wrong.resolve(Role::Client), Err(ConfigError::Cluster(_))));
        let wrong = ConnectionArgs { certs: None, ..args() };
        assert!(matches!(wrong.resolve(Role::Client), Err(ConfigError::NoCertificates)));
        let wrong = ConnectionArgs { config: Some("/nonexistent".into()), ..args() };
        assert!(matches!(wrong.resolve(Role::Client), Err(ConfigError::Unreadable { .. })));
    }

    #[test]
    fn unknown_keys_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("client.toml");
        fs::write(&path, "monitr = \"127.0.0.1:1\"\n").unwrap();
        let args = ConnectionArgs { config: Some(path), ..ConnectionArgs::default() };
        assert!(matches!(args.resolve(Role::Client), Err(ConfigError::Malformed { .. })));
    }
}
