//! What `cargo test` said, read from what it prints.

use std::collections::BTreeMap;

/// How a test ended. Where one name stands for several tests, the last of these counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Was not run.
    Ignored,
    /// Showed what it is to show.
    Passed,
    /// Did not.
    Failed,
}

/// How cargo says that something did not compile, or that a suite died before it could say anything. What begins with
/// `error:` otherwise may be a program that a test started.
const CARGO_FAILS: [&str; 4] = [
    "error: could not compile",
    "error: doctest failed",
    "error: test failed",
    "error: `cargo test`",
];

/// What the tests of a run said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcomes {
    functions: BTreeMap<String, Outcome>,
    breaches: Vec<String>,
}

/// `path::to::function ... ok`, with what stands between for tests that shall panic.
fn result(line: &str) -> Option<(&str, Outcome)> {
    let (name, said) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
    let outcome = match said.split([',', ' ']).next()? {
        "ok" => Outcome::Passed,
        "FAILED" | "failed" => Outcome::Failed,
        "ignored" => Outcome::Ignored,
        _ => return None,
    };
    Some((name.strip_suffix(" - should panic").unwrap_or(name), outcome))
}

impl Outcomes {
    /// Reads the output of `cargo test`, errors of cargo's included where they were kept.
    pub fn parse(output: &str) -> Self {
        let mut outcomes = Self::default();
        let mut suites = 0;
        for line in output.lines() {
            if let Some((name, outcome)) = result(line) {
                outcomes.take(name, outcome);
            } else if let Some(summary) = line.strip_prefix("test result: ") {
                suites += 1;
                if !summary.starts_with("ok.") {
                    outcomes.breaches.push(format!("a suite ended with: {summary}"));
                }
            } else if CARGO_FAILS.iter().any(|start| line.starts_with(start)) {
                outcomes.breaches.push(line.to_owned());
            }
        }
        if suites == 0 {
            outcomes
                .breaches
                .push("no results of tests: this is not what `cargo test` prints".to_owned());
        }
        outcomes
    }

    fn take(&mut self, name: &str, outcome: Outcome) {
        if outcome == Outcome::Failed {
            self.breaches.push(format!("{name} fails"));
        }
        // A doc-test is named by its place, `src/lib.rs - item (line 7)`, and is of no requirement.
        if name.contains(' ') {
            return;
        }
        let function = name.rsplit("::").next().unwrap_or(name);
        let known = self.functions.entry(function.to_owned()).or_insert(outcome);
        *known = outcome.max(*known);
    }

    /// Each function that is a test, by name.
    pub fn functions(&self) -> impl Iterator<Item = (&str, Outcome)> {
        self.functions.iter().map(|(name, outcome)| (name.as_str(), *outcome))
    }

    /// What went wrong, each as a sentence.
    pub fn breaches(&self) -> &[String] {
        &self.breaches
    }
}
