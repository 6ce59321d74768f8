use std::fs;

use super::mds::MdsConfig;
use super::monitor::MonitorConfig;
use super::*;

const MDS: &str = r#"
name = "a"
cluster = "000102030405060708090a0b0c0d0e0f"
listen = "127.0.0.1:7000"
monitor = "127.0.0.1:6999"
ca = "ca.pem"
cert = "a.pem"
key = "a.key"
data_dir = "data"
"#;

const MONITOR: &str = r#"
name = "m"
listen = "127.0.0.1:6999"
ca = "ca.pem"
cert = "m.pem"
key = "m.key"
data_dir = "data"
"#;

fn refusal<T: std::fmt::Debug>(
    text: &str,
    load: impl Fn(&Path) -> Result<T, ConfigError>,
) -> String {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("grove.toml");
    fs::write(&path, text).unwrap();
    load(&path).unwrap_err().to_string()
}

#[test]
fn a_missing_file_is_named() {
    let error = MdsConfig::load(Path::new("/nowhere/grove.toml")).unwrap_err();
    assert!(matches!(error, ConfigError::Unreadable { .. }));
}

#[test]
fn an_unknown_key_is_named_with_its_line() {
    for (text, line) in [
        (MDS.replace("listen =", "lisen ="), 4),
        (format!("{MDS}[migration]\nfreezing_s = 2\n"), 11),
    ] {
        let error = refusal(&text, MdsConfig::load);
        assert!(
            error.contains("unknown field") && error.contains(&format!("line {line}:")),
            "{error}"
        );
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn a_missing_certificate_is_named_relative_to_the_file() {
    let error = refusal(MDS, MdsConfig::load);
    assert!(error.contains("grove") && error.contains("ca.pem"), "{error}");
}

#[test]
fn a_cache_of_a_few_rows_is_refused() {
    let error = refusal(&format!("{MDS}cache_rows_max = 99999\n"), MdsConfig::load);
    assert!(error.contains("cache_rows_max") && error.contains("100000"), "{error}");
}

#[test]
fn grace_and_ranks_have_bounds() {
    for wrong in ["grace_ms = 100", "grace_ms = 60000", "ranks_wanted = 0"] {
        let error = refusal(&format!("{MONITOR}{wrong}\n"), MonitorConfig::load);
        assert!(error.contains(wrong.split_once(' ').unwrap().0), "{error}");
    }
}
