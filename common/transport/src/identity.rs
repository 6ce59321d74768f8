//! `Identity`: whom a certificate names.

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate, X509Name};

use crate::role::Role;

/// From a certificate's subject: CN is the name of the daemon or user, OU the role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub name: String,
    pub role: Role,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    #[error("the peer showed no certificate")]
    NoCertificate,
    #[error("the certificate is not a readable X.509 certificate")]
    Unreadable,
    #[error("the certificate's subject has no common name (CN); make one with `grove ca issue`")]
    NoName,
    #[error("the certificate's subject has no role (OU); make one with `grove ca issue`")]
    NoRole,
    #[error("the certificate's role (OU) is `{0}`, which is none; make one with `grove ca issue`")]
    UnknownRole(String),
}

impl Identity {
    /// Reads the subject of a certificate. Says nothing about whether it can be trusted.
    ///
    /// # Errors
    /// Says what is missing.
    pub fn of_certificate(certificate: &CertificateDer<'_>) -> Result<Self, IdentityError> {
        let (_, parsed) =
            X509Certificate::from_der(certificate).map_err(|_| IdentityError::Unreadable)?;
        let subject = parsed.subject();
        let name = common_name(subject).ok_or(IdentityError::NoName)?;
        let role = organizational_unit(subject).ok_or(IdentityError::NoRole)?;
        let role = role.parse().map_err(|_| IdentityError::UnknownRole(role.to_owned()))?;
        Ok(Self { name: name.to_owned(), role })
    }
}

fn common_name<'a>(subject: &'a X509Name<'_>) -> Option<&'a str> {
    subject.iter_common_name().next()?.as_str().ok()
}

fn organizational_unit<'a>(subject: &'a X509Name<'_>) -> Option<&'a str> {
    subject.iter_organizational_unit().next()?.as_str().ok()
}

/// Who is at the other end of a connection, by the certificate that TLS has verified.
///
/// # Errors
/// The certificate was issued by our authority, but not by `grove ca issue`.
pub fn peer_identity(connection: &quinn::Connection) -> Result<Identity, IdentityError> {
    let shown = connection.peer_identity().ok_or(IdentityError::NoCertificate)?;
    let chain = shown
        .downcast::<Vec<CertificateDer<'static>>>()
        .map_err(|_| IdentityError::NoCertificate)?;
    Identity::of_certificate(chain.first().ok_or(IdentityError::NoCertificate)?)
}
