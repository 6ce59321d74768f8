//! `grove ca init` and `grove ca issue`: a cluster's certificates.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use transport::Role;

use super::output;

const AUTHORITY: &str = "ca";
const KEY_MODE: u32 = 0o600;
const CERTIFICATE_MODE: u32 = 0o644;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Make the authority that will vouch for everybody in the cluster
    Init {
        /// Where ca.pem and ca.key are put
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// A name for people
        #[arg(long, default_value = "grovefs cluster")]
        name: String,
    },
    /// Issue a certificate
    Issue {
        /// Where ca.pem and ca.key are, and NAME.pem and NAME.key are put
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// mds, mon, client or admin
        #[arg(long)]
        role: Role,
        /// Further names or addresses of the host, for people and tools
        #[arg(long, value_name = "HOST")]
        san: Vec<String>,
        /// Of the daemon or user
        name: String,
    },
}

pub(super) fn run(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Init { dir, name } => init(dir, name),
        Command::Issue { dir, role, san, name } => issue(dir, *role, san, name),
    }
}

fn init(dir: &Path, name: &str) -> anyhow::Result<()> {
    let (certificate, key) = files(dir, AUTHORITY);
    refuse_existing(&[&certificate, &key])?;
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let pair = KeyPair::generate().context("cannot make a key")?;
    let secret = pair.serialize_pem();
    let authority =
        CertifiedIssuer::self_signed(params, pair).context("cannot make the authority")?;
    write(&key, secret.as_bytes(), KEY_MODE)?;
    write(&certificate, authority.pem().as_bytes(), CERTIFICATE_MODE)?;
    output::line(format!("authority `{name}`: {}", certificate.display()))
}

fn issue(dir: &Path, role: Role, hosts: &[String], name: &str) -> anyhow::Result<()> {
    if name == AUTHORITY || name.is_empty() || name.contains(['/', '\0']) {
        bail!("`{name}` cannot be a name; choose one without `/` that is not `{AUTHORITY}`");
    }
    let (certificate, key) = files(dir, name);
    refuse_existing(&[&certificate, &key])?;
    let (authority, authority_key) = files(dir, AUTHORITY);
    let read = |path: &Path| {
        let hint = "make the authority with `grove ca init`, or name its folder with --dir";
        fs::read_to_string(path).with_context(|| format!("cannot read {}; {hint}", path.display()))
    };
    let pair = KeyPair::from_pem(&read(&authority_key)?)
        .with_context(|| format!("{} is no private key", authority_key.display()))?;
    let issuer = Issuer::from_ca_cert_pem(&read(&authority)?, pair)
        .with_context(|| format!("{} is no authority's certificate", authority.display()))?;

    let pair = KeyPair::generate().context("cannot make a key")?;
    let signed = params(role, hosts, name)?.signed_by(&pair, &issuer);
    let signed = signed.context("cannot issue the certificate")?;
    write(&key, pair.serialize_pem().as_bytes(), KEY_MODE)?;
    write(&certificate, signed.pem().as_bytes(), CERTIFICATE_MODE)?;
    output::line(format!("{role} `{name}`: {}", certificate.display()))
}

/// CN says who, OU in which role. Servers are dialled by the name of their role.
fn params(role: Role, hosts: &[String], name: &str) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.distinguished_name.push(DnType::OrganizationalUnitName, role.name());
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let is_server = matches!(role, Role::Mds | Role::Mon);
    if is_server {
        params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        params.subject_alt_names.push(dns_name(&role.server_name())?);
    }
    for host in hosts {
        if Role::ALL.iter().any(|role| role.server_name() == *host) {
            bail!("`{host}` stands for a role; it is not for --san");
        }
        params.subject_alt_names.push(match host.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => dns_name(host)?,
        });
    }
    Ok(params)
}

fn dns_name(host: &str) -> anyhow::Result<SanType> {
    let name = Ia5String::try_from(host).with_context(|| format!("`{host}` is no host name"))?;
    Ok(SanType::DnsName(name))
}

fn files(dir: &Path, name: &str) -> (PathBuf, PathBuf) {
    (dir.join(format!("{name}.pem")), dir.join(format!("{name}.key")))
}

fn refuse_existing(paths: &[&Path]) -> anyhow::Result<()> {
    for path in paths {
        if path.exists() {
            bail!("{} exists; it is not overwritten, choose another place or name", path.display());
        }
    }
    Ok(())
}

fn write(path: &Path, content: &[u8], mode: u32) -> anyhow::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    file.and_then(|mut file| file.write_all(content))
        .with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use transport::Credentials;

    use super::*;

    fn load(dir: &Path, name: &str) -> Credentials {
        let (certificate, key) = files(dir, name);
        Credentials::load(&files(dir, AUTHORITY).0, &certificate, &key).unwrap()
    }

    #[test]
    fn what_is_issued_is_accepted_and_says_who_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("certs");
        init(&dir, "test").unwrap();
        for role in Role::ALL {
            let hosts = ["10.0.0.1".to_owned(), "host.example".to_owned()];
            issue(&dir, role, &hosts, role.name()).unwrap();
            let credentials = load(&dir, role.name());
            assert_eq!(credentials.identity().role, role);
            assert_eq!(credentials.identity().name, role.name());
        }
        let mode = fs::metadata(dir.join("mds.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, KEY_MODE);
    }

    #[test]
    fn nothing_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        init(folder.path(), "test").unwrap();
        let before = fs::read(folder.path().join("ca.key")).unwrap();
        assert!(init(folder.path(), "test").is_err());
        issue(folder.path(), Role::Mds, &[], "a").unwrap();
        assert!(issue(folder.path(), Role::Mds, &[], "a").is_err());
        assert!(issue(folder.path(), Role::Mds, &[], "ca").is_err());
        assert_eq!(fs::read(folder.path().join("ca.key")).unwrap(), before);
    }

    #[test]
    fn a_clients_certificate_cannot_carry_a_servers_name() {
        let folder = tempfile::tempdir().unwrap();
        init(folder.path(), "test").unwrap();
        let hosts = [Role::Mds.server_name()];
        assert!(issue(folder.path(), Role::Client, &hosts, "evil").is_err());
    }

    #[test]
    fn without_an_authority_nothing_is_issued() {
        let folder = tempfile::tempdir().unwrap();
        assert!(issue(folder.path(), Role::Mds, &[], "a").is_err());
        assert!(!folder.path().join("a.pem").exists());
    }
}
