//! A certificate authority for tests, in a temporary folder.

use std::fs;
use std::path::PathBuf;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
};
use tempfile::TempDir;

use crate::credentials::{Credentials, CredentialsError};
use crate::role::Role;

#[expect(missing_debug_implementations, reason = "it holds a key, and is for tests")]
pub struct TestAuthority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

/// What `grove ca issue` makes.
#[derive(Debug)]
pub struct Issued {
    pub authority: PathBuf,
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Issued {
    /// # Errors
    /// As [`Credentials::load`].
    pub fn load(&self) -> Result<Credentials, CredentialsError> {
        Credentials::load(&self.authority, &self.certificate, &self.key)
    }
}

impl Default for TestAuthority {
    fn default() -> Self {
        Self::new()
    }
}

impl TestAuthority {
    #[must_use]
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "test cluster");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let issuer =
            CertifiedIssuer::self_signed(params, KeyPair::generate().expect("test set-up"))
                .expect("test set-up");
        let folder = TempDir::new().expect("test set-up");
        fs::write(folder.path().join("ca.pem"), issuer.pem()).expect("test set-up");
        Self { issuer, folder }
    }

    #[must_use]
    pub fn issue(&self, name: &str, role: Role) -> Issued {
        self.issue_with_unit(name, Some(role.name()))
    }

    #[must_use]
    pub fn issue_with_unit(&self, name: &str, unit: Option<&str>) -> Issued {
        let server_name = unit.map(|unit| format!("{unit}.grovefs"));
        let mut params = CertificateParams::new(server_name.into_iter().collect::<Vec<_>>())
            .expect("test set-up");
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        if let Some(unit) = unit {
            params.distinguished_name.push(DnType::OrganizationalUnitName, unit);
        }
        let pair = KeyPair::generate().expect("test set-up");
        let certificate = params.signed_by(&pair, &self.issuer).expect("test set-up");
        let folder = self.folder.path();
        let issued = Issued {
            authority: folder.join("ca.pem"),
            certificate: folder.join(format!("{name}.pem")),
            key: folder.join(format!("{name}.key")),
        };
        fs::write(&issued.certificate, certificate.pem()).expect("test set-up");
        fs::write(&issued.key, pair.serialize_pem()).expect("test set-up");
        issued
    }
}
