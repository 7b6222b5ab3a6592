//! Reports of abuse (mimi-protocol §5.9). The room says who may report; what the messages prove, whoever has the hub's keys
//! finds out.

use bytes::Bytes;
use mimi::abuse::AbuseReport;
use mimi::{ComponentId, Provider};
use policy::Capability;

use super::decode;
use crate::command::ReportGrant;
use crate::{Answer, Decision, Refusal, Room};

impl Room {
    pub(super) fn decide_report(&self, from: &Provider, body: &Bytes) -> Result<Decision, Refusal> {
        let report: AbuseReport = decode(body)?;
        report
            .alleged_abuser
            .user()
            .map_err(|_| Refusal::Malformed("the accused user's URI"))?;
        if std::str::from_utf8(&report.note).is_err() {
            return Err(Refusal::Malformed("a note that is not UTF-8"));
        }
        self.check_known(from)?;
        if !report.reporting_user.is_empty() {
            let reporter = report
                .reporting_user
                .user()
                .map_err(|_| Refusal::Malformed("the reporting user's URI"))?;
            if reporter.provider() != from {
                return Err(Refusal::Forbidden("the reporter is a user of another provider"));
            }
            // By what was committed: whose removal is accepted only since then may still report what led to it.
            if !self.committed.can(&reporter, Capability::ReportAbuse) {
                return Err(Refusal::NotAllowed("reporting abuse"));
            }
        }
        let framed = self
            .committed
            .dictionary()
            .component(ComponentId::CONTENT_MEDIA_TYPES)
            .is_some();
        let grant = ReportGrant { report, framed };
        Ok(Decision::Answer(Answer::Report(Box::new(grant))))
    }
}
