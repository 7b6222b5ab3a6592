//! The project keeps its own rules, and the checks can fail.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};

use xtask::{tidy, walls};

fn imports(pairs: &[(&str, &[&str])]) -> BTreeMap<String, BTreeSet<String>> {
    pairs
        .iter()
        .map(|(name, to)| (name.to_string(), to.iter().map(ToString::to_string).collect()))
        .collect()
}

#[test]
fn no_crate_crosses_a_wall() {
    assert_eq!(walls::breaches(&xtask::root()).unwrap(), Vec::<String>::new());
}

#[test]
fn files_are_tidy() {
    assert_eq!(tidy::breaches(&xtask::root()).unwrap(), Vec::<String>::new());
}

#[test]
fn a_crossed_wall_is_noticed() {
    let walls: &[(&str, &[&str])] = &[("core", &["*", "!words", "tokio"]), ("words", &["*"]), ("shell", &[])];
    let fine = imports(&[("core", &["words"]), ("words", &[]), ("shell", &["core", "tokio"])]);
    assert_eq!(walls::check(walls, &fine), Vec::<String>::new());
    let crossed = imports(&[
        ("core", &["shell", "tokio"]),
        ("words", &["core"]),
        ("shell", &["actix"]),
    ]);
    assert_eq!(walls::check(walls, &crossed).len(), 4);
}

#[test]
fn a_member_without_a_wall_is_noticed() {
    let walls: &[(&str, &[&str])] = &[("core", &[])];
    assert_eq!(walls::check(walls, &imports(&[("core", &[]), ("new", &[])])).len(), 1);
}

#[test]
fn an_unbiased_select_and_a_long_file_are_noticed() {
    assert_eq!(tidy::inspect("a.rs", "tokio::select! {\n    x = y => {}\n}").len(), 1);
    assert_eq!(
        tidy::inspect("a.rs", "tokio::select! {\n    biased;\n    x = y => {}\n}").len(),
        0
    );
    assert_eq!(tidy::inspect("a.rs", &"\n".repeat(tidy::LINES_MAX + 1)).len(), 1);
}

#[test]
fn links_are_found_in_documents() {
    let text = "see [a](a.md), [b](b.md#part), [c](https://c.example/x) and [d](#d)";
    assert_eq!(tidy::links(text).collect::<Vec<_>>(), ["a.md", "b.md"]);
}
