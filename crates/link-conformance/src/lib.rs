//! The link's conformance test: plays a hub, as docs/link.md describes one, against any follower, and says which promises of
//! the document the follower breaks. It speaks QUIC and protobuf itself, so that it can also send what no hub sends.
//!
//! * [`Hub`]: as whom it speaks, and to whom.
//! * [`Subject`]: the follower; [`Process`] is one that a command starts.
//! * [`run`] plays every case and gives a [`Report`].
//!
//! Each case takes a ledger of its own, so cases do not depend on each other, and a follower may have stored anything
//! before.

mod cases;
mod entries;
mod hub;
mod process;

use std::fmt;
use std::net::SocketAddr;

use async_trait::async_trait;
use bytes::Bytes;

pub use hub::Hub;
pub use process::Process;

/// The follower that is looked at.
#[async_trait]
pub trait Subject: Send + Sync {
    /// Where it accepts links.
    fn address(&self) -> SocketAddr;

    /// Kills it, so that it finishes nothing, and starts it again with what is on its disk. `false`: that cannot be done
    /// from here, and what depends on it is passed over.
    async fn crash(&mut self) -> anyhow::Result<bool>;

    /// The FanoutMessages of a room that it has stored, in its order; the last may be missing for a moment. `None`: it does
    /// not show them.
    async fn stored(&mut self, room: &str) -> Option<Vec<Bytes>>;
}

/// What became of each case.
#[derive(Debug, Default)]
pub struct Report(pub Vec<(&'static str, Outcome)>);

/// What became of one case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The follower is as the document says.
    Passed,
    /// It cannot be told for this follower, and why.
    Skipped(&'static str),
    /// It is not, and how.
    Failed(String),
}

impl Report {
    /// Whether no case failed.
    pub fn is_good(&self) -> bool {
        !self.0.iter().any(|(_, outcome)| matches!(outcome, Outcome::Failed(_)))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (case, outcome) in &self.0 {
            match outcome {
                Outcome::Passed => writeln!(f, "pass  {case}")?,
                Outcome::Skipped(why) => writeln!(f, "skip  {case}: {why}")?,
                Outcome::Failed(how) => writeln!(f, "FAIL  {case}: {how}")?,
            }
        }
        Ok(())
    }
}

/// Plays every case against `subject`, one after the other.
pub async fn run(hub: &Hub, subject: &mut dyn Subject) -> Report {
    let mut report = Report::default();
    for (name, case) in cases::all() {
        let mut bench = cases::Bench::new(hub, subject);
        let outcome = match case(&mut bench).await {
            Ok(outcome) => outcome,
            Err(error) => Outcome::Failed(format!("{error:#}")),
        };
        report.0.push((name, outcome));
    }
    report
}
