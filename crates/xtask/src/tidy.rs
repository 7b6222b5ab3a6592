//! The shape of the files: short enough to be read, no bare TODO, `select!` biased so that a run can be repeated, no link
//! in the documents that leads nowhere.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// Lines of the longest source file. One that grows past it hides a concept.
pub const LINES_MAX: usize = 600;

/// Each breach as a sentence with its place.
pub fn breaches(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut files = Vec::new();
    for top in ["crates", "services", "loadtest", "examples", "fuzz"] {
        collect(&root.join(top), "rs", &mut files)?;
    }
    files.sort();
    let mut breaches = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        let name = file.strip_prefix(root).unwrap_or(&file).display().to_string();
        breaches.extend(inspect(&name, &text));
    }
    let mut documents = vec![root.join("README.md"), root.join("ARCHITECTURE.md")];
    collect(&root.join("docs"), "md", &mut documents)?;
    documents.sort();
    for document in documents {
        let text = fs::read_to_string(&document).with_context(|| format!("read {}", document.display()))?;
        let name = document.strip_prefix(root).unwrap_or(&document).display();
        let beside = document.parent().unwrap_or(root);
        for target in links(&text).filter(|target| !beside.join(target).exists()) {
            breaches.push(format!("{name} links to {target}, which is not there"));
        }
    }
    Ok(breaches)
}

/// The files that a document links to, without what stands after a `#`.
pub fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1).filter_map(|after| after.split(')').next());
    let files = targets
        .filter(|target| !target.contains(':'))
        .filter_map(|target| target.split('#').next());
    files.filter(|file| !file.is_empty())
}

/// The breaches of one file.
pub fn inspect(name: &str, text: &str) -> Vec<String> {
    let mut breaches = Vec::new();
    let lines = text.lines().count();
    if lines > LINES_MAX {
        breaches.push(format!(
            "{name} has {lines} lines, more than {LINES_MAX}: which concept is missing?"
        ));
    }
    let mut after_select = None;
    for (index, line) in text.lines().enumerate() {
        let code = line.trim();
        if let Some(opened) = after_select.take()
            && code != "biased;"
        {
            breaches.push(format!(
                "{name}:{opened}: this select! is not biased, so a run cannot be repeated"
            ));
        }
        if code.ends_with("select! {") && !code.starts_with("//") {
            after_select = Some(index + 1);
        }
        if code.contains(concat!("todo", "!(")) || code.contains(concat!("dbg", "!(")) {
            breaches.push(format!("{name}:{}: unfinished", index + 1));
        }
    }
    breaches
}

fn collect(directory: &Path, kind: &str, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Ok(());
    };
    for entry in entries {
        let path = entry.with_context(|| format!("list {}", directory.display()))?.path();
        if path.is_dir() {
            // What cargo builds is nobody's to keep tidy.
            if !path.ends_with("target") {
                collect(&path, kind, files)?;
            }
        } else if path.extension().is_some_and(|extension| extension == kind) {
            files.push(path);
        }
    }
    Ok(())
}
