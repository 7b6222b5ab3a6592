//! Commands, and what a room says to them. A [`Refusal`] is an answer, not an error: it mirrors the drafts' codes.

use bytes::Bytes;
use mimi::Provider;
use mimi::abuse::AbuseReport;

use crate::{Digest, Epoch, Millis};

/// What a provider asks of a room. `from` is the provider as its certificate names it. Bodies are the drafts' request
/// bodies; `decide` parses them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// UpdateRequest (mimi-protocol §5.3).
    Update {
        /// Who asks.
        from: Provider,
        /// The body.
        body: Bytes,
    },
    /// SubmitMessageRequest (§5.4).
    Submit {
        /// Who asks.
        from: Provider,
        /// The body.
        body: Bytes,
    },
    /// GroupInfoRequest (§5.6).
    GroupInfo {
        /// Who asks.
        from: Provider,
        /// The body.
        body: Bytes,
    },
    /// AbuseReport (§5.9).
    ReportAbuse {
        /// Who asks.
        from: Provider,
        /// The body.
        body: Bytes,
    },
    /// May this KeyMaterialRequest (§5.2) be relayed?
    AuthorizeKeyMaterial {
        /// Who asks.
        from: Provider,
        /// The body.
        body: Bytes,
    },
    /// The target provider's answer to a relayed KeyMaterialRequest.
    RecordKeyMaterial {
        /// Who asked.
        from: Provider,
        /// The request's body.
        request: Bytes,
        /// Who answered.
        target: Provider,
        /// KeyMaterialResponse.
        response: Bytes,
    },
}

/// What a room answers to a command that it did not refuse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The room was founded.
    Founded,
    /// The room has nobody who is not in its parent, or whoever is will go.
    Followed,
    /// UpdateRoomResponse, encoded.
    Update(Bytes),
    /// SubmitMessageResponse, encoded.
    Submit(Bytes),
    /// KeyMaterialResponse, encoded: as it may be passed on.
    KeyMaterial(Bytes),
    /// The request may be relayed.
    Authorized,
    /// What the shell encrypts to the asking client, signs and returns.
    GroupInfo(GroupInfoGrant),
    /// What the shell verifies and files.
    Report(Box<ReportGrant>),
}

impl Answer {
    /// The draft's response body, for the answers that are one already.
    pub fn body(&self) -> Option<&Bytes> {
        match self {
            Self::Update(body) | Self::Submit(body) | Self::KeyMaterial(body) => Some(body),
            Self::Founded | Self::Followed | Self::Authorized | Self::GroupInfo(_) | Self::Report(_) => None,
        }
    }
}

/// Content of a GroupInfoResponse (mimi-protocol §5.6) before it is encrypted and signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupInfoGrant {
    /// The cipher suite of the request.
    pub cipher_suite: u16,
    /// The client's HPKE public key.
    pub public_key: Bytes,
    /// GroupInfoRatchetTreeTBE, encoded.
    pub sealed: Bytes,
}

/// A report of abuse by somebody who may report it. Whether anything in it is true is not said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportGrant {
    /// The report.
    pub report: AbuseReport,
    /// Whether the room's application data is framed (its GroupContext has content_media_types).
    pub framed: bool,
}

/// Why a room does not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The bytes are not what the draft defines (HTTP 400).
    #[error("malformed: {0}")]
    Malformed(&'static str),
    /// The asking provider may not act for this user or client (HTTP 403).
    #[error("forbidden: {0}")]
    Forbidden(&'static str),
    /// A commit for another epoch (wrongEpoch).
    #[error("wrong epoch, the room is at {}", current.0)]
    WrongEpoch {
        /// The room's epoch.
        current: Epoch,
    },
    /// A message from too old an epoch (epochTooOld).
    #[error("epoch too old, the room is at {}", current.0)]
    EpochTooOld {
        /// The room's epoch.
        current: Epoch,
    },
    /// Against the room's rules (notAllowed; for groupInfo: notAuthorized; for keyMaterial: noConsent).
    #[error("not allowed: {0}")]
    NotAllowed(&'static str),
    /// These proposals are against the room's rules (invalidProposal).
    #[error("invalid proposals: {why}")]
    InvalidProposal {
        /// ProposalRefs (RFC 9420 §5.2).
        proposals: Vec<Bytes>,
        /// Which rule.
        why: &'static str,
    },
}

/// A request's identity: the same body from the same provider is the same request.
pub fn request_digest(from: &Provider, body: &[u8]) -> Digest {
    let mut octets = Vec::with_capacity(from.as_str().len() + 1 + body.len());
    octets.extend_from_slice(from.as_str().as_bytes());
    octets.push(0);
    octets.extend_from_slice(body);
    Digest::of(&octets)
}

/// The latest of `now` and one past `last`: accepted times increase strictly in a room.
pub fn next_accepted(last: Millis, now: Millis) -> Millis {
    Millis(now.0.max(last.0 + 1))
}
