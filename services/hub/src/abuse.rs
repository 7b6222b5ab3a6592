//! Reports of abuse (mimi-protocol §5.9): what each message proves is found out, then the case is filed, sealed, for
//! whoever moderates. Whoever reports is told nothing but that the report came.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hub::Clock;
use hub::frank::FrankingOptions;
use hub::keys::HubKeys;
use hub::report::Verdict;
use ledger::abuse::{AbuseInbox, CaseId, Filed};
use ledger::{Ledger, ReadError};
use mimi::abuse::AbuseReport;
use mimi::{Encode as _, Provider, RoomUri};
use prost::Message as _;
use proto::hub::{AbuseCase, AbuseMessage, AbuseVerdict, ListAbuseRequest, ListAbuseResponse};
use room::command::ReportGrant;
use room::{Digest, Millis};

use crate::limits::{CASES_LISTED_MAX, LISTED_BYTES_MAX};
use crate::metrics::Metrics;

/// How long what moderators need is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moderation {
    /// The hub's franking keys.
    pub franking: FrankingOptions,
    /// How long a case is kept that nobody closes, and how long a report is known as one that came before.
    pub retention: Duration,
}

impl Default for Moderation {
    fn default() -> Self {
        Self {
            franking: FrankingOptions::default(),
            retention: Duration::from_secs(180 * 24 * 60 * 60),
        }
    }
}

/// The abuse inbox of this hub.
#[derive(Clone)]
pub(crate) struct Inbox {
    pub(crate) ledger: Ledger,
    pub(crate) keys: Arc<HubKeys>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) retention: Duration,
    pub(crate) metrics: Metrics,
}

impl std::fmt::Debug for Inbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inbox").finish_non_exhaustive()
    }
}

impl Inbox {
    /// Files what `from` brought, unless it brought all of it before.
    pub(crate) async fn file(&self, room: &RoomUri, from: &Provider, grant: &ReportGrant) -> Result<Filed, ReadError> {
        let ReportGrant { report, framed } = grant;
        let now = self.clock.now();
        let octets = [
            room.as_str().as_bytes(),
            &[0],
            from.as_str().as_bytes(),
            &[0],
            &report.encode(),
        ]
        .concat();
        let id = CaseId::new(now, &Digest::of(&octets));
        let case = self.case(id, now, room, from, report, *framed);
        let sealed = self.keys.seal_at_rest(&place(id), &case.encode_to_vec());
        let marks = marks(from, report, &octets);
        let retention = u64::try_from(self.retention.as_millis()).unwrap_or(u64::MAX);
        let oldest = Millis(now.0.saturating_sub(retention));
        let database = self.ledger.database();
        let filed = database
            .run(|mut transaction| {
                let (sealed, marks) = (&sealed, &marks);
                async move {
                    let filed = AbuseInbox(&mut transaction).file(id, marks, sealed, oldest).await?;
                    Ok::<_, ReadError>((transaction, filed))
                }
            })
            .await?;
        self.metrics.reported(match filed {
            Filed::Added => "added",
            Filed::Known => "known",
            Filed::Full => "full",
        });
        if filed == Filed::Added {
            for message in &case.messages {
                self.metrics.judged(match message.verdict() {
                    AbuseVerdict::Valid => "valid",
                    AbuseVerdict::Invalid => "invalid",
                    AbuseVerdict::Unverifiable => "unverifiable",
                });
            }
        }
        Ok(filed)
    }

    fn case(
        &self,
        id: CaseId,
        now: Millis,
        room: &RoomUri,
        from: &Provider,
        report: &AbuseReport,
        framed: bool,
    ) -> AbuseCase {
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        let messages = report.messages.iter().map(|message| {
            let verdict = self.keys.judge_report(room, &report.alleged_abuser, framed, message);
            AbuseMessage {
                content: message.message_content.clone(),
                accepted_ms: message.accepted_timestamp,
                verdict: match verdict {
                    Verdict::Valid => AbuseVerdict::Valid,
                    Verdict::Invalid(_) => AbuseVerdict::Invalid,
                    Verdict::Unverifiable(_) => AbuseVerdict::Unverifiable,
                }
                .into(),
                why: verdict.why().to_owned(),
            }
        });
        AbuseCase {
            id: id.to_string(),
            room: room.as_str().to_owned(),
            source: from.as_str().to_owned(),
            reporter: text(report.reporting_user.octets()),
            accused: text(report.alleged_abuser.octets()),
            reason: report.reason_code.into(),
            note: text(&report.note),
            at_ms: now.0,
            messages: messages.collect(),
        }
    }

    /// Open cases, a page of them. `None`: `after` is no case's id.
    pub(crate) async fn list(&self, request: &ListAbuseRequest) -> Result<Option<ListAbuseResponse>, ReadError> {
        let after = match &request.after[..] {
            "" => None,
            after => match after.parse() {
                Ok(after) => Some(after),
                Err(_) => return Ok(None),
            },
        };
        let max = match usize::try_from(request.max) {
            Ok(max @ 1..=CASES_LISTED_MAX) => max,
            _ => CASES_LISTED_MAX,
        };
        let database = self.ledger.database();
        let page = database
            .run(|mut transaction| async move {
                let page = AbuseInbox(&mut transaction).page(after, max, LISTED_BYTES_MAX).await?;
                Ok::<_, ReadError>((transaction, page))
            })
            .await?;
        let cases = page.cases.iter().map(|(id, sealed)| self.open(*id, sealed));
        Ok(Some(ListAbuseResponse {
            cases: cases.collect(),
            more: page.more,
        }))
    }

    /// A case that does not open is listed by its id alone, so that it can be closed.
    fn open(&self, id: CaseId, sealed: &Bytes) -> AbuseCase {
        let opened = self.keys.open_at_rest(&place(id), sealed);
        let case = opened.and_then(|octets| AbuseCase::decode(&octets[..]).ok());
        case.unwrap_or_else(|| {
            tracing::error!(case = %id, "a case that does not open with this hub's key");
            AbuseCase {
                id: id.to_string(),
                ..AbuseCase::default()
            }
        })
    }

    /// Settles a case; whether it was open.
    pub(crate) async fn close(&self, id: CaseId) -> Result<bool, ReadError> {
        let database = self.ledger.database();
        database
            .run(|mut transaction| async move {
                let was_open = AbuseInbox(&mut transaction).close(id).await?;
                Ok::<_, ReadError>((transaction, was_open))
            })
            .await
    }
}

/// What was reported, by whom: each frank, or the report itself when it brings no message.
fn marks(from: &Provider, report: &AbuseReport, octets: &[u8]) -> Vec<Digest> {
    if report.messages.is_empty() {
        return vec![Digest::of(octets)];
    }
    let reporter = report.reporting_user.octets();
    let mark = |frank: &[u8; 32]| Digest::of(&[&frank[..], from.as_str().as_bytes(), &[0], reporter].concat());
    report
        .messages
        .iter()
        .map(|message| mark(&message.frank.server_frank))
        .collect()
}

/// Names a case to the vault.
fn place(id: CaseId) -> Vec<u8> {
    [&b"abuse "[..], id.octets()].concat()
}
