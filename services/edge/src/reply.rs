//! What a request comes to, before it is written as an HTTP response, a link frame or a gRPC message.

use std::borrow::Cow;
use std::error::Error as _;
use std::time::Duration;

use bytes::Bytes;
use tonic::Code;

use crate::limits::RETRY_AFTER;

/// Whether the status was made here because the connection failed, rather than said by the other side.
pub(crate) fn is_broken(status: &tonic::Status) -> bool {
    status.source().is_some() || status.code() == Code::Cancelled
}

/// An answer as in requirement E-7: 200 with the draft's body, 201 empty, or a status that says why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// The draft's body; empty unless 200.
    pub(crate) body: Bytes,
    /// Why not; empty on success.
    pub(crate) reason: Cow<'static, str>,
    /// With 429 and 503.
    pub(crate) retry_after: Option<Duration>,
    /// Which of a room's entries the body is of.
    pub(crate) span: Option<Span>,
}

/// A stretch of a room's entries, and how far the room is: `Mimi-Room-Seq` and `Mimi-Room-Head` over HTTPS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    /// The first and the last entry; none: the room has no more.
    pub(crate) seqs: Option<(u64, u64)>,
    /// The room's last entry.
    pub(crate) head: u64,
}

impl Reply {
    pub(crate) fn ok(body: Bytes) -> Self {
        Self {
            status: 200,
            body,
            reason: Cow::Borrowed(""),
            retry_after: None,
            span: None,
        }
    }

    pub(crate) fn created() -> Self {
        Self {
            status: 201,
            ..Self::ok(Bytes::new())
        }
    }

    pub(crate) fn refused(status: u16, reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            reason: reason.into(),
            ..Self::ok(Bytes::new())
        }
    }

    pub(crate) fn malformed(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::refused(400, reason)
    }

    pub(crate) fn later(status: u16, reason: &'static str, after: Duration) -> Self {
        Self {
            retry_after: Some(after),
            ..Self::refused(status, reason)
        }
    }

    pub(crate) fn unavailable(reason: &'static str) -> Self {
        Self::later(503, reason, RETRY_AFTER)
    }

    /// What a hub or follower that failed to answer comes to. Only what it says about the request is passed on.
    pub(crate) fn of_status(status: &tonic::Status) -> Self {
        let reason = || status.message().to_owned();
        match status.code() {
            _ if is_broken(status) => {
                tracing::debug!(%status, "a service behind the edge was lost");
                Self::unavailable("overloaded")
            }
            Code::InvalidArgument => Self::refused(400, reason()),
            Code::PermissionDenied => Self::refused(403, reason()),
            Code::NotFound => Self::refused(404, reason()),
            Code::OutOfRange => Self::refused(413, reason()),
            Code::Unavailable | Code::ResourceExhausted | Code::DeadlineExceeded | Code::Cancelled | Code::Aborted => {
                tracing::debug!(%status, "a service behind the edge is unavailable");
                Self::unavailable("overloaded")
            }
            _ => {
                tracing::warn!(%status, "a service behind the edge failed");
                Self::refused(500, "internal failure")
            }
        }
    }

    /// Retry-After in whole seconds (RFC 9110 §10.2.3), never too early.
    pub(crate) fn retry_after_seconds(&self) -> Option<u64> {
        let after = self.retry_after?;
        Some(after.as_secs() + u64::from(after.subsec_nanos() > 0))
    }

    pub(crate) fn retry_after_ms(&self) -> u64 {
        self.retry_after
            .map_or(0, |after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX))
    }

    /// The body on the wire: the draft's, or problem details (RFC 9457) where the draft has none.
    pub(crate) fn wire_body(&self) -> Bytes {
        if self.reason.is_empty() {
            return self.body.clone();
        }
        let problem = serde_json::json!({ "status": self.status, "title": self.reason });
        Bytes::from(problem.to_string())
    }

    /// A reply from another provider, as one of ours.
    pub(crate) fn of_answer(answer: proto::link::Answer) -> Self {
        let status = u16::try_from(answer.status).unwrap_or(502);
        let retry_after = (answer.retry_after_ms > 0).then(|| Duration::from_millis(answer.retry_after_ms));
        let (body, reason) = match status {
            200..=299 => (answer.body, Cow::Borrowed("")),
            _ => (Bytes::new(), Cow::Borrowed("refused by the other provider")),
        };
        Self {
            status,
            body,
            reason,
            retry_after,
            span: None,
        }
    }
}

impl From<&Reply> for proto::link::Answer {
    fn from(reply: &Reply) -> Self {
        Self {
            status: reply.status.into(),
            retry_after_ms: reply.retry_after_ms(),
            body: reply.wire_body(),
        }
    }
}

impl From<Reply> for proto::provider::Answer {
    fn from(reply: Reply) -> Self {
        Self {
            status: reply.status.into(),
            retry_after_ms: reply.retry_after_ms(),
            reason: reply.reason.into_owned(),
            body: reply.body,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_rounded_up() {
        let after = |ms| Reply::later(503, "overloaded", Duration::from_millis(ms)).retry_after_seconds();
        assert_eq!((after(1), after(1_000), after(1_001)), (Some(1), Some(1), Some(2)));
    }

    #[test]
    fn what_failed_inside_is_not_told_outside() {
        let reply = Reply::of_status(&tonic::Status::internal("store at 10.0.0.7 is gone"));
        assert_eq!(reply, Reply::refused(500, "internal failure"));
    }
}
