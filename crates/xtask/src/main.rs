//! `cargo xtask …`: the project's chores.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::{env, fs};

use anyhow::Context;
use clap::{Args, Parser};
use xtask::conformance::{Conformance, Outcomes, Promises, REPORT};

#[derive(Parser)]
#[command(about = "Project chores")]
enum Chore {
    /// Check the walls between crates (ARCHITECTURE.md, crate map)
    Walls,
    /// Check the shape of the files
    Tidy,
    /// Check that each requirement has a test that passes, and write docs/conformance.md
    Conformance(Sources),
}

#[derive(Args)]
struct Sources {
    /// What `cargo test --workspace` printed; without it, the tests are run
    #[arg(long)]
    results: Option<PathBuf>,
    /// Write nothing, and fail where docs/conformance.md says something else
    #[arg(long)]
    check: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    let root = xtask::root();
    let breaches = match Chore::parse() {
        Chore::Walls => xtask::walls::breaches(&root)?,
        Chore::Tidy => xtask::tidy::breaches(&root)?,
        Chore::Conformance(sources) => conformance(&root, &sources)?,
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

fn conformance(root: &Path, sources: &Sources) -> anyhow::Result<Vec<String>> {
    let promises = Promises::read(root)?;
    let output = match &sources.results {
        Some(path) => fs::read(path).with_context(|| format!("read {}", path.display()))?,
        None => run_tests(root)?,
    };
    let outcomes = Outcomes::parse(&String::from_utf8_lossy(&output));
    let conformance = Conformance::of(&promises, &outcomes);
    print!("{}", conformance.lines());
    let mut breaches = conformance.breaches();
    let (path, document) = (root.join(REPORT), conformance.document());
    if !sources.check {
        fs::write(&path, document).with_context(|| format!("write {REPORT}"))?;
    } else if fs::read_to_string(&path).ok().as_ref() != Some(&document) {
        breaches.push(format!("{REPORT} is out of date: `cargo xtask conformance` writes it"));
    }
    Ok(breaches)
}

/// Runs every test, shows what they print while they do, and gives it back.
fn run_tests(root: &Path) -> anyhow::Result<Vec<u8>> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut tests = Command::new(cargo)
        .args(["test", "--workspace", "--no-fail-fast"])
        .current_dir(root)
        .stdout(Stdio::piped())
        .spawn()
        .context("run the tests")?;
    let mut stdout = BufReader::new(tests.stdout.take().context("the tests print nowhere")?);
    let mut output = Vec::new();
    loop {
        let shown = output.len();
        let read = stdout.read_until(b'\n', &mut output);
        if read.context("read what the tests print")? == 0 {
            break;
        }
        io::stdout().write_all(&output[shown..])?;
    }
    if !tests.wait().context("wait for the tests")?.success() {
        output.extend_from_slice(b"error: `cargo test` did not succeed\n");
    }
    Ok(output)
}
