//! How a run ends.

use std::process::ExitCode;

use tonic::{Code, Status};

/// How a run ended that did something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// What was asked for is done.
    Done,
    /// Some of it is not, as was printed.
    NotAll,
    /// Some hub node could not be asked, or some shard is served by none.
    Incomplete,
}

impl From<Verdict> for ExitCode {
    fn from(verdict: Verdict) -> Self {
        Self::from(match verdict {
            Verdict::Done => 0,
            Verdict::NotAll => 1,
            Verdict::Incomplete => 3,
        })
    }
}

/// Why a run did nothing.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The configuration, or a certificate that it names.
    #[error("{0:#}")]
    Config(anyhow::Error),
    /// No hub node could be asked.
    #[error("no hub node answers\n{0}")]
    Unreachable(String),
    /// A hub says that the question is wrong.
    #[error("{0}")]
    Refused(String),
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// What was found cannot be printed.
    #[error("print")]
    Print(#[from] std::io::Error),
}

impl From<Failure> for ExitCode {
    fn from(failure: Failure) -> Self {
        Self::from(match failure {
            Failure::NotFound(_) | Failure::Print(_) => 1,
            Failure::Config(_) | Failure::Refused(_) => 2,
            Failure::Unreachable(_) => 3,
        })
    }
}

/// Why a node gave no answer, for people: whose fault that is, and what to do.
pub(crate) fn why(address: &str, status: &Status) -> String {
    let said = status.message();
    match status.code() {
        Code::Unimplemented => format!("{address}: its release knows no operators: update that node"),
        Code::ResourceExhausted => format!("{address}: {said}"),
        Code::Unavailable if said.contains("lease") => format!("{address}: {said}; look at its store"),
        Code::DeadlineExceeded => format!("{address}: no answer in time: look at its log and at its store"),
        Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal => format!(
            "{address}: cannot be reached ({said}): is the node up, and is this the address for operators? It turns away \
             certificates that are not of its cluster's CA or do not name `ctl.nave.internal`, which its log says"
        ),
        code => format!("{address}: {code}: {said}"),
    }
}
