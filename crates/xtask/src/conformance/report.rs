//! The document that says how it stands. The same tests give the same octets: no times, no places, everything in order.

use std::fmt::Write as _;

use super::{Conformance, DEVIATIONS, Id, Outcome, REQUIREMENTS, Status};

/// The last part of a path below the root: the documents link to each other.
fn neighbour(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

impl Conformance<'_> {
    fn tests_of(&self, id: &Id) -> Vec<String> {
        let tests = self.tests.get(id).into_iter().flatten();
        let name = |(function, outcome): (&&str, &Outcome)| match outcome {
            Outcome::Passed => format!("`{function}`"),
            Outcome::Failed => format!("`{function}` (fails)"),
            Outcome::Ignored => format!("`{function}` (not run)"),
        };
        tests.map(name).collect()
    }

    /// How it stands with each requirement, one to a line.
    pub fn lines(&self) -> String {
        let mut lines = String::new();
        for each in self.promises.requirements() {
            let mut shown = self.tests_of(&each.id);
            shown.extend(self.promises.reasons.get(&each.id).cloned());
            let status = self.status(&each.id).to_string();
            let _ = writeln!(lines, "{:<6} {status:<8} {}", each.id.to_string(), shown.join(", "));
        }
        lines + &self.summary() + "\n"
    }

    fn summary(&self) -> String {
        let all: Vec<Status> = self.promises.requirements().map(|each| self.status(&each.id)).collect();
        let count = |status| all.iter().filter(|each| **each == status).count();
        let mut summary = format!(
            "{} requirements: {} shown by tests, {} by a reason",
            all.len(),
            count(Status::Pass),
            count(Status::Reason)
        );
        for (status, name) in [(Status::Fail, "failing"), (Status::Missing, "missing")] {
            if count(status) > 0 {
                let _ = write!(summary, ", {} {name}", count(status));
            }
        }
        summary + "."
    }

    /// The document.
    pub fn document(&self) -> String {
        let requirements = neighbour(REQUIREMENTS);
        let deviations = neighbour(DEVIATIONS);
        let mut document = format!(
            "# Conformance\n\n\
             What [{requirements}]({requirements}) numbers, and the tests that show it. `cargo xtask conformance` writes \
             this file.\n\
             A *reason* stands in [{deviations}]({deviations}).\n\n\
             {}\n",
            self.summary()
        );
        for area in self.promises.areas.iter().filter(|area| !area.requirements.is_empty()) {
            let _ = write!(
                document,
                "\n## {}\n\n| id | where | status | tests |\n|---|---|---|---|\n",
                area.title
            );
            for each in &area.requirements {
                let mut status = self.status(&each.id).to_string();
                if self.status(&each.id) != Status::Reason && self.promises.reasons.contains_key(&each.id) {
                    status += ", with a reason";
                }
                let tests = self.tests_of(&each.id).join("<br>");
                let _ = writeln!(document, "| {} | {} | {status} | {tests} |", each.id, each.place);
            }
        }
        document
    }
}
