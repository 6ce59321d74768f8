//! Rules about the source, as tests. The rules are in `tidy/rule.rs`; each is tried both ways in
//! `tidy/both_ways.rs`.

#[path = "tidy/both_ways.rs"]
mod both_ways;
#[path = "tidy/rule.rs"]
mod rule;
#[path = "tidy/source.rs"]
mod source;

use std::collections::BTreeSet;

use source::{Source, root, sources};

#[track_caller]
fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

/// Files that speak of the rules must be allowed to name what is forbidden.
fn speaks_of_rules(source: &Source) -> bool {
    source.path.starts_with("tests/tidy")
}

fn manifest(folder: &str) -> Source {
    let path = format!("{folder}/Cargo.toml");
    let text = std::fs::read_to_string(root().join(&path)).expect("every crate has a manifest");
    Source { path, text }
}

#[test]
fn every_file_says_what_it_holds() {
    let files = sources(&["rs"]);
    assert!(files.len() > 20, "the walk finds the sources");
    let wrong: Vec<_> = files.iter().filter_map(rule::without_a_first_sentence).collect();
    assert_none(&wrong);
}

#[test]
fn files_are_short() {
    let files = sources(&["rs"]);
    let long = files.iter().filter_map(|file| rule::too_long(file, rule::LONG_FILES));
    let wrong: Vec<_> = long.chain(rule::idle_exceptions(&files, rule::LONG_FILES)).collect();
    assert_none(&wrong);
}

#[test]
fn modules_lie_beside_their_folders() {
    let wrong: Vec<_> = sources(&["rs"]).iter().filter_map(rule::named_mod).collect();
    assert_none(&wrong);
}

#[test]
fn nothing_is_left_for_later() {
    let files = sources(&["rs", "toml", "sh", ""]);
    let files = files.iter().filter(|file| !speaks_of_rules(file));
    let wrong: Vec<_> = files.flat_map(rule::forbidden_words).collect();
    assert_none(&wrong);
}

#[test]
fn core_modules_use_only_lower_layers() {
    let core: Vec<_> = sources(&["rs"])
        .into_iter()
        .filter_map(|file| {
            let path = file.path.strip_prefix("mds/core/src/")?;
            Some(Source::new(path, &file.text))
        })
        .collect();
    assert!(!core.is_empty(), "the walk finds the core");
    assert_none(&rule::layers_broken(&core, rule::LAYERS));
}

#[test]
fn every_mark_is_checked() {
    for krate in ["mds/core/", "client-fuse/core/"] {
        let files: Vec<_> =
            sources(&["rs"]).into_iter().filter(|file| file.path.starts_with(krate)).collect();
        assert_none(&rule::marks_unpaired(&files));
    }
}

#[test]
fn the_top_level_is_what_was_agreed() {
    let entries = std::fs::read_dir(root()).expect("the root can be read");
    let names: BTreeSet<String> = entries
        .filter_map(|entry| {
            entry.expect("the root's entries can be read").file_name().into_string().ok()
        })
        .filter(|name| !name.starts_with('.') && name != "target")
        .collect();
    assert_none(&rule::top_level_differs(&names));
}

#[test]
fn the_cores_are_pure() {
    for (folder, allowed) in rule::PURE {
        assert_none(&rule::impure(&manifest(folder), allowed));
    }
    assert_none(&rule::tied(&manifest("tests"), rule::HARNESS_NEVER));
}
