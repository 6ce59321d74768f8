//! The daemons' configuration files: TOML, read whole, refused if anything in it is not understood.
//!
//! A configuration is parsed once, at start, into values that cannot be wrong. Relative paths are
//! relative to the file they stand in.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use transport::{Credentials, CredentialsError, Role};

pub mod mds;
pub mod monitor;

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read the configuration {}: {source}; check `--config`", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("the configuration {} is not valid: {reason}", path.display())]
    Invalid { path: PathBuf, reason: String },
    #[error("`{key}` in the configuration: {reason}")]
    Value { key: &'static str, reason: String },
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    #[error(
        "`name` in the configuration is `{name}`, but the certificate is for `{certificate}`; \
         use the certificate made for this daemon"
    )]
    Name { name: String, certificate: String },
}

fn load<T: DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
    toml::from_str(&text).map_err(|error| ConfigError::Invalid {
        path: path.to_owned(),
        reason: one_line(&error, &text),
    })
}

/// What is wrong and in which line, without the picture that spans several.
fn one_line(error: &toml::de::Error, text: &str) -> String {
    let message = error.message().replace('\n', " ");
    let Some(span) = error.span() else { return message };
    let before = text.get(..span.start).unwrap_or_default();
    format!("line {}: {message}", before.matches('\n').count() + 1)
}

/// A path as the configuration means it.
fn resolve(config: &Path, path: &Path) -> PathBuf {
    config.parent().unwrap_or_else(|| Path::new("")).join(path)
}

/// Reads the certificate set and checks that it is for this daemon.
fn credentials(
    config: &Path,
    files: [&Path; 3],
    name: &str,
    role: Role,
) -> Result<Credentials, ConfigError> {
    let [ca, cert, key] = files.map(|file| resolve(config, file));
    let credentials = Credentials::load(&ca, &cert, &key)?;
    credentials.require_role(role)?;
    let certificate = &credentials.identity().name;
    if certificate != name {
        let (name, certificate) = (name.to_owned(), certificate.clone());
        return Err(ConfigError::Name { name, certificate });
    }
    Ok(credentials)
}

#[cfg(test)]
mod tests;
