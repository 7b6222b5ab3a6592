//! `cargo xtask …`: the project's chores.

use std::process::ExitCode;

use clap::Parser;

#[derive(Parser)]
#[command(about = "Project chores")]
enum Chore {
    /// Check the walls between crates (ARCHITECTURE.md, crate map)
    Walls,
    /// Check the shape of the files
    Tidy,
}

fn main() -> anyhow::Result<ExitCode> {
    let root = xtask::root();
    let breaches = match Chore::parse() {
        Chore::Walls => xtask::walls::breaches(&root)?,
        Chore::Tidy => xtask::tidy::breaches(&root)?,
    };
    for breach in &breaches {
        eprintln!("{breach}");
    }
    Ok(if breaches.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
