//! Rows: what of a room is durable. A room is opened from its rows alone, and [`crate::Room`] opened from the rows that
//! [`crate::Applied::rows`] wrote so far equals the live one. How a row becomes a key and octets is the ledger's matter.

use bytes::Bytes;
use mimi::{Provider, UserUri};

use crate::{Chain, Digest, Epoch, Millis, Seq};

/// Names one row of a room.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum RowId {
    /// The one row that says where the room stands.
    Head,
    /// The MLS group at one epoch.
    Snapshot(Epoch),
    /// The change from the epoch before to this one.
    Delta(Epoch),
    /// Octets of an app_data_dictionary that snapshots and deltas refer to by their digest.
    Dictionary(Digest),
    /// The n-th proposal bundle accepted in this epoch and not yet committed.
    Pending(u32),
    /// A user whom an accepted ban or removal blocks.
    Blocked(UserUri),
    /// A user who asked to leave and is still in the group.
    Leaving(UserUri),
    /// The room accepts nothing more: a ReInit was committed.
    Frozen,
    /// The last accepted GroupInfo.
    GroupInfo,
    /// Who holds a KeyPackage that was handed out for this room.
    Route(Bytes),
    /// The first answer to a request, for whoever asks again.
    Answer(Digest),
    /// A provider to which entries are due.
    Follower(Provider),
    /// A user who was given the group's information by a join code.
    Grant(UserUri),
    /// A participant who is not in the room's parent any more.
    Orphan(UserUri),
    /// The room has ended for good.
    Over,
}

/// The value of a row. `Bytes` in it are encodings of the room's own, versioned by their first octet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    /// See [`RowId::Head`].
    Head {
        /// Of the last entry.
        seq: Seq,
        /// Of the group.
        epoch: Epoch,
        /// Of the last entry.
        accepted: Millis,
        /// After the last entry.
        chain: Chain,
        /// The snapshot from which to open; deltas above it follow.
        snapshot: Epoch,
    },
    /// See [`RowId::Snapshot`].
    Snapshot {
        /// The group, without the octets of its dictionary.
        state: Bytes,
    },
    /// See [`RowId::Delta`].
    Delta {
        /// The commit as it was accepted: MLSMessage.
        commit: Bytes,
        /// The staged change, without the octets of its dictionary.
        staged: Bytes,
    },
    /// See [`RowId::Dictionary`].
    Dictionary {
        /// The octets.
        octets: Bytes,
    },
    /// See [`RowId::Pending`].
    Pending {
        /// Who submitted it.
        from: Provider,
        /// When it was accepted.
        accepted: Millis,
        /// MLSMessages, in order.
        proposals: Vec<Bytes>,
        /// The same as the group keeps them: what was verified once is not verified again.
        queued: Bytes,
    },
    /// See [`RowId::Blocked`].
    Blocked,
    /// See [`RowId::Leaving`].
    Leaving,
    /// See [`RowId::Frozen`].
    Frozen {
        /// Group id of the successor.
        successor: Bytes,
    },
    /// See [`RowId::GroupInfo`].
    GroupInfo {
        /// GroupInfo, without ratchet_tree, and without its GroupContext: that is the group's, and may be large.
        group_info: Bytes,
    },
    /// See [`RowId::Route`].
    Route {
        /// The provider that handed it out.
        provider: Provider,
        /// Milliseconds since the UNIX epoch after which the KeyPackage is worthless.
        expires: Millis,
    },
    /// See [`RowId::Answer`].
    Answer {
        /// To what it answers.
        kind: AnswerKind,
        /// When it was given.
        accepted: Millis,
        /// The draft's response body.
        answer: Bytes,
    },
    /// See [`RowId::Follower`].
    Follower {
        /// The first entry that was shown to it since it last joined.
        since: Seq,
    },
    /// See [`RowId::Grant`].
    Grant {
        /// Of the code.
        code: Digest,
        /// SignaturePublicKey of the client that asked.
        key: Bytes,
    },
    /// See [`RowId::Orphan`].
    Orphan,
    /// See [`RowId::Over`].
    Over,
}

/// To what a kept answer answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AnswerKind {
    /// UpdateRequest; named by [`crate::command::request_digest`].
    Update,
    /// SubmitMessageRequest; named by the digest of its appMessage.
    Submit,
}

/// One row written (`Some`) or deleted (`None`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowChange {
    /// Which.
    pub id: RowId,
    /// Its value from now on.
    pub row: Option<Row>,
}
