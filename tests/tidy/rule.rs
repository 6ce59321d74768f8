//! The rules, each a function from sources to what is wrong with them.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::Source;

/// Lines of a file, tests aside.
pub(crate) const LINES_MAX: usize = 500;

/// Files that may be longer, each with its reason.
pub(crate) const LONG_FILES: &[(&str, &str)] = &[];

/// Modules of `mds-core`, lowest first. A module uses those on lines above its own, and itself.
pub(crate) const LAYERS: &[Layer] = &[
    // Tests alone have any.
    Layer::Apart(&["mutant"]),
    Layer::Apart(&["file_lock", "kill_point", "params", "row", "timer"]),
    // What is durable and what is spoken: each may carry the other.
    Layer::Together(&["effect", "input", "journal", "message"]),
    // Nouns.
    Layer::Apart(&["ino_table", "lock", "monitor", "namespace", "pin", "session", "sweep"]),
    Layer::Apart(&["subtree"]),
    // All nouns at once, and what a verb is handed of them.
    Layer::Together(&["capability", "cx", "holdings", "spine"]),
    Layer::Apart(&["replica"]),
    // Verbs: they meet in nouns, never in each other.
    Layer::Apart(&["balancer", "lost", "migration", "recovery", "request", "two_phase"]),
    Layer::Apart(&["check"]),
    Layer::Apart(&["mds"]),
];

/// One line of the table, and whether its modules may use each other.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Layer {
    Apart(&'static [&'static str]),
    Together(&'static [&'static str]),
}

/// Uses that the table forbids, each with its reason.
const LAYERS_EXCEPTED: &[(&str, &str, &str)] = &[
    ("message", "subtree", "`DirAuth` is a plain value that notices carry"),
    ("lost", "request", "a directory that gets another name is renamed"),
    ("two_phase", "request", "an operation of several ranks does the steps of one of one rank"),
];

/// Modules that only tests see.
const TEST_MODULES: &[&str] = &["cluster_fixture", "fixture"];

/// What the crates may depend on, besides each other: the purity of the cores is kept by Cargo.
pub(crate) const PURE: &[(&str, &[&str])] = &[
    ("common", &["postcard", "serde", "siphasher", "smallvec", "thiserror"]),
    ("mds/core", &["common", "cov-mark", "rustc-hash", "serde", "strum", "thiserror", "tracing"]),
    (
        "client-fuse/core",
        &["common", "cov-mark", "rustc-hash", "serde", "strum", "thiserror", "tracing"],
    ),
];

/// Crates that must not be reached from here: the harness starts the daemons' binaries.
pub(crate) const HARNESS_NEVER: &[&str] = &["mds", "client-fuse", "rocksdb", "fuser", "quinn"];

/// The visible entries of the repository.
pub(crate) const TOP_LEVEL: &[&str] = &[
    "Cargo.lock",
    "Cargo.toml",
    "README.md",
    "benches",
    "client-fuse",
    "common",
    "mds",
    "scripts",
    "tests",
];

/// What code must not say, and where it may all the same.
const FORBIDDEN: &[(&str, Where)] = &[
    ("TODO", Where::Nowhere),
    ("FIXME", Where::Nowhere),
    ("todo!(", Where::Nowhere),
    ("unimplemented!(", Where::Nowhere),
    ("#[ignore", Where::Nowhere),
    ("#[should_panic", Where::Nowhere),
    (".unwrap()", Where::Tests),
    (".unwrap_err()", Where::Tests),
    ("thread::sleep", Where::Product),
];

/// Where tests wait for real daemons: by asking again, not by guessing how long it takes.
const POLLS: &[&str] = &["tests/harness/cluster.rs"];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Where {
    Nowhere,
    Tests,
    Product,
}

/// `x/tests.rs` is told by its name: the tests of `x.rs`.
pub(crate) fn without_a_first_sentence(source: &Source) -> Option<String> {
    let documented = source.text.starts_with("//! ") || source.path.ends_with("/tests.rs");
    (!documented).then(|| format!("{}: does not begin with `//! ` and what it holds", source.path))
}

pub(crate) fn too_long(source: &Source, exceptions: &[(&str, &str)]) -> Option<String> {
    let lines = source.code().lines().count();
    let excepted = exceptions.iter().any(|(path, _)| *path == source.path);
    (lines > LINES_MAX && !excepted)
        .then(|| format!("{}: {lines} lines; at most {LINES_MAX}", source.path))
}

/// An exception that is not needed any more hides the next offender.
pub(crate) fn idle_exceptions(sources: &[Source], exceptions: &[(&str, &str)]) -> Vec<String> {
    let idle = |path: &str| {
        let source = sources.iter().find(|source| source.path == path);
        source.is_none_or(|source| source.code().lines().count() <= LINES_MAX)
    };
    let idle = exceptions.iter().filter(|(path, reason)| reason.is_empty() || idle(path));
    idle.map(|(path, _)| format!("{path}: the exception has no use or no reason")).collect()
}

pub(crate) fn named_mod(source: &Source) -> Option<String> {
    source.path.ends_with("/mod.rs").then(|| format!("{}: use `x.rs` beside `x/`", source.path))
}

pub(crate) fn forbidden_words(source: &Source) -> Vec<String> {
    let mut wrong = Vec::new();
    for (word, allowed) in FORBIDDEN {
        let text = match allowed {
            Where::Nowhere => source.text.as_str(),
            Where::Tests => source.code(),
            Where::Product if POLLS.contains(&source.path.as_str()) => "",
            Where::Product => source.tests(),
        };
        if text.contains(word) {
            wrong.push(format!("{}: contains `{word}`", source.path));
        }
    }
    wrong
}

/// `sources` are those of `mds-core`, with paths from its `src`.
pub(crate) fn layers_broken(sources: &[Source], layers: &[Layer]) -> Vec<String> {
    let mut depths: BTreeMap<&str, (usize, bool)> = BTreeMap::new();
    for (depth, layer) in layers.iter().enumerate() {
        let (modules, together) = match layer {
            Layer::Apart(modules) => (modules, false),
            Layer::Together(modules) => (modules, true),
        };
        depths.extend(modules.iter().map(|module| (*module, (depth, together))));
    }
    let mut wrong = BTreeSet::new();
    for source in sources.iter().filter(|source| source.path != "lib.rs" && !source.is_test()) {
        let module = identifier(&source.path);
        if TEST_MODULES.contains(&module) {
            continue;
        }
        let Some((own, together)) = depths.get(module) else {
            wrong.insert(format!("{}: `{module}` has no layer; give it one", source.path));
            continue;
        };
        for used in used_modules(source.code()) {
            let reached = |(depth, _): &(usize, bool)| depth < own || (*together && depth == own);
            let excepted = LAYERS_EXCEPTED.iter().any(|(by, of, _)| (*by, *of) == (module, used));
            if used != module && !depths.get(used).is_some_and(reached) && !excepted {
                wrong.insert(format!("{}: `{module}` may not use `{used}`", source.path));
            }
        }
    }
    wrong.into_iter().collect()
}

/// The modules named after `crate::` in code, comments aside.
fn used_modules(code: &str) -> impl Iterator<Item = &str> {
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines
        .flat_map(|line| line.split("crate::").skip(1).map(identifier))
        // Re-exports at the crate's root and macros are not modules.
        .filter(|used| used.starts_with(|first: char| first.is_ascii_lowercase()))
}

fn identifier(text: &str) -> &str {
    let end = text.find(|c: char| c != '_' && !c.is_ascii_alphanumeric()).unwrap_or(text.len());
    &text[..end]
}

/// A mark nobody checks proves nothing; a check without a mark cannot pass. `sources` are of one crate.
pub(crate) fn marks_unpaired(sources: &[Source]) -> Vec<String> {
    let names = |text: &str, calls: &[&str]| -> BTreeSet<String> {
        let after = |call: &str| -> Vec<String> {
            text.split(call).skip(1).map(|rest| identifier(rest.trim_start()).to_owned()).collect()
        };
        calls.iter().flat_map(|call| after(call)).collect()
    };
    let (mut hit, mut checked) = (BTreeSet::new(), BTreeSet::new());
    for source in sources {
        hit.extend(names(source.code(), &["cov_mark::hit!("]));
        checked.extend(names(source.tests(), &["cov_mark::check!(", "cov_mark::check_count!("]));
    }
    let unchecked =
        hit.difference(&checked).map(|mark| format!("mark `{mark}`: no test checks it"));
    let unhit = checked.difference(&hit).map(|mark| format!("mark `{mark}`: no code hits it"));
    unchecked.chain(unhit).collect()
}

pub(crate) fn top_level_differs(entries: &BTreeSet<String>) -> Vec<String> {
    let wanted: BTreeSet<String> = TOP_LEVEL.iter().map(|&name| name.to_owned()).collect();
    let strange = entries.difference(&wanted).map(|name| format!("{name}: does not belong here"));
    let missing = wanted.difference(entries).map(|name| format!("{name}: is missing"));
    strange.chain(missing).collect()
}

/// Ordinary dependencies of a manifest that are not among those allowed.
pub(crate) fn impure(manifest: &Source, allowed: &[&str]) -> Vec<String> {
    let strange =
        dependencies(manifest).into_iter().filter(|name| !allowed.contains(&name.as_str()));
    strange.map(|name| format!("{}: may not depend on `{name}`", manifest.path)).collect()
}

/// Dependencies of a manifest that are among those never allowed.
pub(crate) fn tied(manifest: &Source, never: &[&str]) -> Vec<String> {
    let strange = dependencies(manifest).into_iter().filter(|name| never.contains(&name.as_str()));
    strange.map(|name| format!("{}: may not depend on `{name}`", manifest.path)).collect()
}

/// What is compiled in any case: an optional dependency has a feature that asks for it.
fn dependencies(manifest: &Source) -> Vec<String> {
    let table: toml::Table = manifest.text.parse().expect("Cargo has read this manifest");
    let section = table.get("dependencies").and_then(toml::Value::as_table);
    let optional = |value: &toml::Value| value.get("optional") == Some(&true.into());
    let names = section.into_iter().flatten().filter(|(_, value)| !optional(value));
    names.map(|(name, _)| name.clone()).collect()
}
