//! Each rule, once kept and once broken: a rule that cannot fail is not one.

use std::collections::BTreeSet;

use crate::rule::{self, LINES_MAX, Layer, TOP_LEVEL};
use crate::source::Source;

fn file(text: &str) -> Source {
    Source::new("mds/core/src/x.rs", text)
}

#[test]
fn first_sentence() {
    assert_eq!(rule::without_a_first_sentence(&file("//! X.\n")), None);
    assert!(rule::without_a_first_sentence(&file("// X.\n")).is_some());
    assert!(rule::without_a_first_sentence(&file("")).is_some());
    assert_eq!(rule::without_a_first_sentence(&Source::new("common/src/id/tests.rs", "")), None);
}

#[test]
fn length() {
    let lines = |count: usize| "\n".repeat(count);
    assert_eq!(rule::too_long(&file(&lines(LINES_MAX)), &[]), None);
    let long = file(&lines(LINES_MAX + 1));
    assert!(rule::too_long(&long, &[]).is_some());
    let tested = format!("{}#[cfg(test)]\nmod tests {{{}", lines(LINES_MAX), lines(LINES_MAX));
    assert_eq!(rule::too_long(&file(&tested), &[]), None);

    let exceptions = [("mds/core/src/x.rs", "one table")];
    assert_eq!(rule::too_long(&long, &exceptions), None);
    assert!(rule::idle_exceptions(&[long], &exceptions).is_empty());
    assert_eq!(rule::idle_exceptions(&[file("")], &exceptions).len(), 1);
}

#[test]
fn mod_files() {
    assert_eq!(rule::named_mod(&Source::new("a/model.rs", "")), None);
    assert!(rule::named_mod(&Source::new("a/mod.rs", "")).is_some());
}

#[test]
fn words() {
    assert!(rule::forbidden_words(&file("//! Fine.\n")).is_empty());
    assert_eq!(rule::forbidden_words(&file("// TODO more\n")).len(), 1);
    assert_eq!(rule::forbidden_words(&file("x.unwrap();\n")).len(), 1);
    let inline = file("#[cfg(test)]\nmod tests {\n x.unwrap();\n}");
    assert!(rule::forbidden_words(&inline).is_empty());
    let tests = Source::new("common/src/id/tests.rs", "x.unwrap();");
    assert!(rule::forbidden_words(&tests).is_empty());
    let ignored = Source::new("common/src/id/tests.rs", "#[ignore]\nthread::sleep(x);");
    assert_eq!(rule::forbidden_words(&ignored).len(), 2);
    assert!(rule::forbidden_words(&file("thread::sleep(x);")).is_empty());
}

#[test]
fn layers() {
    let layers = &[
        Layer::Apart(&["low"]),
        Layer::Apart(&["left", "right"]),
        Layer::Together(&["here", "there"]),
    ];
    let broken = |path: &str, text: &str| rule::layers_broken(&[Source::new(path, text)], layers);
    assert!(broken("left.rs", "use crate::low::A;\nuse crate::left::B;").is_empty());
    assert!(broken("left/part.rs", "use crate::left::B;").is_empty());
    assert_eq!(broken("low.rs", "use crate::left::A;"), ["low.rs: `low` may not use `left`"]);
    assert_eq!(broken("left.rs", "fn f(x: crate::right::A) {}").len(), 1);
    assert_eq!(broken("left/part.rs", "use crate::gone::B;").len(), 1);
    assert!(broken("here.rs", "use crate::there::B;\nuse crate::left::C;").is_empty());
    assert_eq!(broken("right.rs", "use crate::here::B;").len(), 1);
    assert_eq!(broken("unknown.rs", "").len(), 1);
    assert!(broken("low.rs", "/// See [`crate::left`].").is_empty());
    assert!(broken("low/tests.rs", "use crate::left::A;").is_empty());
}

#[test]
fn marks() {
    let code = Source::new("src/x.rs", "cov_mark::hit!(importer_dies);");
    let test = Source::new("src/x/tests.rs", "cov_mark::check!(importer_dies);");
    assert_eq!(rule::marks_unpaired(std::slice::from_ref(&code)).len(), 1);
    assert_eq!(rule::marks_unpaired(std::slice::from_ref(&test)).len(), 1);
    assert!(rule::marks_unpaired(&[code, test]).is_empty());
}

#[test]
fn top_level() {
    let mut entries: BTreeSet<String> = TOP_LEVEL.iter().map(|&name| name.to_owned()).collect();
    assert!(rule::top_level_differs(&entries).is_empty());
    entries.insert("notes.txt".to_owned());
    entries.remove("mds");
    assert_eq!(rule::top_level_differs(&entries).len(), 2);
}

#[test]
fn purity() {
    let manifest = |text: &str| Source::new("x/Cargo.toml", text);
    let clean = manifest("[dependencies]\nserde = \"1\"\n[dev-dependencies]\nproptest = \"1\"");
    assert!(rule::impure(&clean, &["serde"]).is_empty());
    assert!(rule::tied(&clean, &["mds"]).is_empty());
    let dirty = manifest("[dependencies]\nserde.workspace = true\ntokio.workspace = true");
    assert_eq!(rule::impure(&dirty, &["serde"]), ["x/Cargo.toml: may not depend on `tokio`"]);
    assert_eq!(rule::tied(&dirty, &["tokio"]).len(), 1);
    let asked_for = manifest("[dependencies]\ntokio = { version = \"1\", optional = true }");
    assert!(rule::tied(&asked_for, &["tokio"]).is_empty());
}
