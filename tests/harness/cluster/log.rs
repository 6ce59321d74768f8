//! What daemons and mounts have logged: a WARN or ERROR nobody announced fails a test.

use std::path::Path;

use anyhow::Context;

/// The lines of the folder's logs that complain of something that is not expected.
///
/// # Errors
/// If a log cannot be read.
pub fn complaints(folder: &Path, expected: &[String]) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            let bytes = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
            let text = String::from_utf8_lossy(&bytes);
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            let lines = text.lines().filter(|line| complains(line, expected));
            found.extend(lines.map(|line| format!("{name}: {line}")));
        }
    }
    Ok(found)
}

fn complains(line: &str, expected: &[String]) -> bool {
    let level = [" WARN ", " ERROR ", "panicked"].iter().any(|level| line.contains(level));
    level && !expected.iter().any(|text| line.contains(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_announced_is_a_complaint() {
        let folder = tempfile::tempdir().unwrap();
        let log = "T0  INFO mds: rank active\nT1  WARN mds: peer lost rank=1\nT2 ERROR mds: no\n";
        std::fs::write(folder.path().join("mds-0.log"), log).unwrap();
        std::fs::write(folder.path().join("mds-0.toml"), " ERROR ").unwrap();
        let expected = ["peer lost".to_owned()];
        assert_eq!(complaints(folder.path(), &expected).unwrap(), ["mds-0: T2 ERROR mds: no"]);
        assert_eq!(complaints(folder.path(), &[]).unwrap().len(), 2);
    }
}
