//! `Source`: a file of the repository, and what of it counts as a test.

use std::path::{Path, PathBuf};

/// Where an inline module of tests begins; what follows is no code of the product.
const INLINE_TESTS: &str = "#[cfg(test)]\nmod tests {";

#[derive(Debug)]
pub(crate) struct Source {
    /// From the root of the repository, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    /// Whether the whole file is only there to test.
    pub(crate) fn is_test(&self) -> bool {
        self.path.starts_with("tests/")
            || self.path.split('/').any(|part| part == "tests")
            || self.path.ends_with("tests.rs")
            || self.path.ends_with("fixture.rs")
    }

    /// What is shipped: nothing of a test file, and the part of another before its inline tests.
    pub(crate) fn code(&self) -> &str {
        if self.is_test() {
            return "";
        }
        self.text.split_once(INLINE_TESTS).map_or(self.text.as_str(), |(code, _)| code)
    }

    /// The rest.
    pub(crate) fn tests(&self) -> &str {
        &self.text[self.code().len()..]
    }
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the crate `tests` lies in the repository's root").to_owned()
}

/// Every file of ours with one of these extensions (`""`: none), in order of path.
pub(crate) fn sources(extensions: &[&str]) -> Vec<Source> {
    let root = root();
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("folders of the repository can be read") {
            let path = entry.expect("entries of the repository can be read").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or(".");
            if name.starts_with('.') || name == "target" {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let extension = path.extension().and_then(|it| it.to_str()).unwrap_or("");
            if extensions.contains(&extension) {
                let text = std::fs::read_to_string(&path).expect("sources are UTF-8");
                let path = path.strip_prefix(&root).expect("found below the root");
                found.push(Source { path: path.display().to_string(), text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}
