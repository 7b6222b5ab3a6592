//! What the demo found, as one JSON object with stable names.

use serde::Serialize;

use super::tally::Outcome;

/// One step and whether everything it promised held.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Step {
    /// Stable.
    pub(super) name: &'static str,
    pub(super) ok: bool,
    pub(super) ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
}

/// The demo's result. `lost` counts decryptions that should have happened and did not.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Report {
    pub(super) ok: bool,
    pub(super) steps: Vec<Step>,
    pub(super) sent: u64,
    pub(super) delivered: u64,
    pub(super) lost: u64,
    pub(super) duplicates: u64,
    pub(super) order_violations: u64,
    /// Decryptions of messages whose epoch had passed when they arrived.
    pub(super) late: u64,
    pub(super) epoch_agreement: bool,
    /// Octets of the burst's messages before encryption.
    pub(super) bytes: u64,
    /// From before the submission to after the decryption.
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) clients: Vec<ClientReport>,
}

/// One client at the end.
#[derive(Debug, Clone, Serialize)]
pub(super) struct ClientReport {
    pub(super) client: String,
    pub(super) room: String,
    pub(super) epoch: u64,
    pub(super) sent: u64,
    pub(super) decrypted: u64,
}

impl Report {
    /// All checks together: every step, the burst without a fault, and one epoch authenticator.
    pub(super) fn of(steps: Vec<Step>, burst: Outcome, epoch_agreement: bool, clients: Vec<ClientReport>) -> Self {
        let faultless = burst.lost == 0 && burst.duplicates == 0 && burst.order_violations == 0;
        let ok = !steps.is_empty() && steps.iter().all(|step| step.ok) && faultless && epoch_agreement;
        Self {
            ok,
            steps,
            sent: burst.sent,
            delivered: burst.delivered,
            lost: burst.lost,
            duplicates: burst.duplicates,
            order_violations: burst.order_violations,
            late: burst.late,
            epoch_agreement,
            bytes: burst.bytes,
            p50_ms: burst.p50_ms,
            p99_ms: burst.p99_ms,
            clients,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(ok: bool) -> Step {
        Step {
            name: "create-room",
            ok,
            ms: 1,
            error: None,
        }
    }

    #[test]
    fn one_fault_of_any_kind_is_not_ok() {
        let fine = Outcome {
            sent: 1,
            delivered: 2,
            ..Outcome::default()
        };
        assert!(Report::of(vec![step(true)], fine.clone(), true, vec![]).ok);
        assert!(!Report::of(vec![step(true)], fine.clone(), false, vec![]).ok);
        assert!(!Report::of(vec![step(true), step(false)], fine.clone(), true, vec![]).ok);
        assert!(!Report::of(vec![], fine.clone(), true, vec![]).ok);
        for fault in [
            Outcome {
                lost: 1,
                ..fine.clone()
            },
            Outcome {
                duplicates: 1,
                ..fine.clone()
            },
            Outcome {
                order_violations: 1,
                ..fine
            },
        ] {
            assert!(!Report::of(vec![step(true)], fault, true, vec![]).ok);
        }
    }
}
