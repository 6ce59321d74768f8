//! `Credentials`: the certificate, its key and the cluster's authority, read and checked at start.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;

use crate::identity::{Identity, IdentityError};
use crate::role::Role;
use crate::tls;

/// What it takes to speak to the cluster. Everything wrong with it is found when it is loaded.
pub struct Credentials {
    pub(crate) roots: Arc<RootCertStore>,
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
    identity: Identity,
    certificate_path: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    #[error(
        "cannot read the {what} {}: {reason}; check the path, or make one with `grove ca`",
        path.display()
    )]
    Unreadable { what: Part, path: PathBuf, reason: io::Error },
    #[error("{} holds no {what} in PEM form; make one with `grove ca`", path.display())]
    Malformed { what: Part, path: PathBuf },
    #[error(
        "the certificate {} is not one that the authority {} vouches for ({reason}); \
         issue it anew with `grove ca issue`",
        certificate.display(), authority.display()
    )]
    NotIssued { certificate: PathBuf, authority: PathBuf, reason: String },
    #[error(
        "the private key {} does not belong to the certificate {}; use the pair that \
         `grove ca issue` made together",
        key.display(), certificate.display()
    )]
    KeyMismatch { key: PathBuf, certificate: PathBuf },
    #[error("the certificate {}: {source}", certificate.display())]
    Identity { certificate: PathBuf, source: IdentityError },
    #[error(
        "the certificate {} has role `{found}`, but role `{needed}` is needed here; make one with \
         `grove ca issue --role {needed}`",
        certificate.display()
    )]
    Role { certificate: PathBuf, found: Role, needed: Role },
}

/// Which of the three files is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Authority,
    Certificate,
    PrivateKey,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Authority => "authority's certificate",
            Self::Certificate => "certificate",
            Self::PrivateKey => "private key",
        })
    }
}

impl Credentials {
    /// Reads the three PEM files: the authority's certificate, our certificate, our key.
    ///
    /// # Errors
    /// Names the file that is wrong, and what to do about it.
    pub fn load(
        authority: &Path,
        certificate: &Path,
        key: &Path,
    ) -> Result<Self, CredentialsError> {
        let roots = Arc::new(load_roots(authority)?);
        let chain = load_certificates(Part::Certificate, certificate)?;
        let private = PrivateKeyDer::from_pem_file(key)
            .map_err(|error| pem_error(Part::PrivateKey, key, error))?;

        let own = chain.first().expect("load_certificates returns at least one");
        let identity = Identity::of_certificate(own).map_err(|source| {
            CredentialsError::Identity { certificate: certificate.to_owned(), source }
        })?;
        check_issued(&roots, &chain).map_err(|reason| CredentialsError::NotIssued {
            certificate: certificate.to_owned(),
            authority: authority.to_owned(),
            reason,
        })?;
        let loaded =
            Self { roots, chain, key: private, identity, certificate_path: certificate.to_owned() };
        tls::client_config(&loaded).map_err(|_| CredentialsError::KeyMismatch {
            key: key.to_owned(),
            certificate: certificate.to_owned(),
        })?;
        Ok(loaded)
    }

    /// Whom our own certificate names.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// # Errors
    /// Our certificate is for something else.
    pub fn require_role(&self, needed: Role) -> Result<(), CredentialsError> {
        let found = self.identity.role;
        if found == needed {
            return Ok(());
        }
        Err(CredentialsError::Role { certificate: self.certificate_path.clone(), found, needed })
    }
}

#[cfg(test)]
impl Credentials {
    /// Our certificate, but the authority of `other`.
    pub(crate) fn trusting(self, other: &Self) -> Self {
        Self { roots: Arc::clone(&other.roots), ..self }
    }
}

/// Never shows the key.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("identity", &self.identity).finish_non_exhaustive()
    }
}

fn load_roots(path: &Path) -> Result<RootCertStore, CredentialsError> {
    let mut roots = RootCertStore::empty();
    for certificate in load_certificates(Part::Authority, path)? {
        roots.add(certificate).map_err(|_| CredentialsError::Malformed {
            what: Part::Authority,
            path: path.to_owned(),
        })?;
    }
    Ok(roots)
}

fn load_certificates(
    what: Part,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, CredentialsError> {
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| pem_error(what, path, error))?;
    if certificates.is_empty() {
        return Err(CredentialsError::Malformed { what, path: path.to_owned() });
    }
    Ok(certificates)
}

fn pem_error(what: Part, path: &Path, error: pem::Error) -> CredentialsError {
    let path = path.to_owned();
    if let pem::Error::Io(reason) = error {
        CredentialsError::Unreadable { what, path, reason }
    } else {
        CredentialsError::Malformed { what, path }
    }
}

/// Judges our own certificate as the other end will, so that a mistake shows at start and here.
fn check_issued(
    roots: &Arc<RootCertStore>,
    chain: &[CertificateDer<'static>],
) -> Result<(), String> {
    let (own, intermediates) = chain.split_first().expect("checked not to be empty");
    let provider = tls::provider();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), provider)
        .build()
        .map_err(|error| error.to_string())?;
    verifier
        .verify_client_cert(own, intermediates, UnixTime::now())
        .map(|_| ())
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
