use std::fs;

use super::*;
use crate::test_authority::TestAuthority;

#[test]
fn a_good_set_says_whom_it_names() {
    let authority = TestAuthority::new();
    let loaded = authority.issue("mds-a", Role::Mds).load().unwrap();
    assert_eq!(loaded.identity(), &Identity { name: "mds-a".to_owned(), role: Role::Mds });
    assert!(loaded.require_role(Role::Mds).is_ok());
    assert!(matches!(
        loaded.require_role(Role::Mon),
        Err(CredentialsError::Role { found: Role::Mds, needed: Role::Mon, .. })
    ));
}

#[test]
fn a_missing_file_is_named() {
    let authority = TestAuthority::new();
    let files = authority.issue("mds-a", Role::Mds);
    for (part, path) in [
        (Part::Authority, &files.authority),
        (Part::Certificate, &files.certificate),
        (Part::PrivateKey, &files.key),
    ] {
        let aside = path.with_extension("aside");
        fs::rename(path, &aside).unwrap();
        match files.load() {
            Err(CredentialsError::Unreadable { what, path: named, .. }) => {
                assert_eq!((what, &named), (part, path));
            }
            other => panic!("{other:?}"),
        }
        fs::rename(&aside, path).unwrap();
    }
}

#[test]
fn a_file_that_is_not_pem_is_named() {
    let authority = TestAuthority::new();
    for (part, garbage) in [
        (Part::Authority, "no certificate at all"),
        (Part::Certificate, "-----BEGIN CERTIFICATE-----\nnot base64\n-----END CERTIFICATE-----\n"),
        (Part::PrivateKey, ""),
    ] {
        let files = authority.issue("mds-a", Role::Mds);
        let path = match part {
            Part::Authority => files.authority.with_extension("broken"),
            Part::Certificate => files.certificate.clone(),
            Part::PrivateKey => files.key.clone(),
        };
        fs::write(&path, garbage).unwrap();
        let authority = if part == Part::Authority { &path } else { &files.authority };
        match Credentials::load(authority, &files.certificate, &files.key) {
            Err(CredentialsError::Malformed { what, path: named }) => {
                assert_eq!((what, named), (part, path));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_certificate_of_another_authority_is_refused() {
    let (ours, theirs) = (TestAuthority::new(), TestAuthority::new());
    let (files, other) = (ours.issue("mds-a", Role::Mds), theirs.issue("mds-a", Role::Mds));
    assert!(matches!(
        Credentials::load(&other.authority, &files.certificate, &files.key),
        Err(CredentialsError::NotIssued { .. })
    ));
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let authority = TestAuthority::new();
    let (files, other) = (authority.issue("a", Role::Mds), authority.issue("b", Role::Mds));
    assert!(matches!(
        Credentials::load(&files.authority, &files.certificate, &other.key),
        Err(CredentialsError::KeyMismatch { .. })
    ));
}

#[test]
fn a_subject_without_a_role_is_refused() {
    let authority = TestAuthority::new();
    let files = authority.issue_with_unit("mds-a", None);
    assert!(matches!(
        files.load(),
        Err(CredentialsError::Identity { source: IdentityError::NoRole, .. })
    ));
    let files = authority.issue_with_unit("mds-a", Some("king"));
    assert!(matches!(
        files.load(),
        Err(CredentialsError::Identity { source: IdentityError::UnknownRole(_), .. })
    ));
}
