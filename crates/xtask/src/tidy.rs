//! The shape of the files: short enough to be read, no bare TODO, `select!` biased so that a run can be repeated.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// Lines of the longest source file. One that grows past it hides a concept.
pub const LINES_MAX: usize = 600;

/// Each breach as a sentence with its place.
pub fn breaches(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut files = Vec::new();
    for top in ["crates", "services", "loadtest", "examples"] {
        collect(&root.join(top), &mut files)?;
    }
    files.sort();
    let mut breaches = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        let name = file.strip_prefix(root).unwrap_or(&file).display().to_string();
        breaches.extend(inspect(&name, &text));
    }
    Ok(breaches)
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

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Ok(());
    };
    for entry in entries {
        let path = entry.with_context(|| format!("list {}", directory.display()))?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}
