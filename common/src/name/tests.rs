use expect_test::expect;

use super::*;

fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).unwrap()
}

#[test]
fn refuses_what_is_no_name() {
    assert_eq!(Name::new(b""), Err(NameError::Empty));
    assert_eq!(Name::new(b"."), Err(NameError::Dots));
    assert_eq!(Name::new(b".."), Err(NameError::Dots));
    assert_eq!(Name::new(b"a/b"), Err(NameError::Forbidden(b'/')));
    assert_eq!(Name::new(b"a\0"), Err(NameError::Forbidden(0)));
    assert_eq!(Name::new(&[b'x'; 256]), Err(NameError::TooLong(256)));
    assert!(Name::new(&[0xff; 255]).is_ok(), "any other byte is allowed");
}

/// Rows on disk are ordered by this: it can never change.
#[test]
fn the_hash_is_fixed_for_ever() {
    let key = NameHashKey(0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908);
    let hashes: Vec<String> = ["a", "b", "Makefile", "main.rs"]
        .map(|text| format!("{:016x}", key.hash(&name(text)).0))
        .into();
    expect!["1c2697ab786a6237 fdb5ebd47994346f facbe08293b37aa9 8b0e7944a43e7fd5"]
        .assert_eq(&hashes.join(" "));
}

#[test]
fn a_cookie_covers_its_own_hash_and_none_above_its_bucket() {
    for hash in [0, 1, 3, 4, 7, 8, u64::MAX - 4, u64::MAX / 2] {
        let next = NameHash::after_cookie(NameHash(hash).cookie()).unwrap();
        assert!(next.0 > hash && next.0 - hash <= 4, "{hash:#x}");
    }
    assert_eq!(NameHash::after_cookie(NameHash(u64::MAX).cookie()), None);
    for beginning in 0..3 {
        assert_eq!(NameHash::after_cookie(beginning), Some(NameHash(0)));
    }
}
