//! reportAbuse (mimi-protocol §5.9). Nothing is judged here.

use bytes::Bytes;

use crate::app_data::AppDataDictionary;
use crate::codec::wire;
use crate::identifier::IdentifierUri;
use crate::limits;
use crate::submit::Frank;

/// AbusiveMessage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AbusiveMessage {
    /// The application data, exactly as it was encrypted.
    pub message_content: Bytes,
    /// The hub's frank.
    pub frank: Frank,
    /// When the hub accepted it, in milliseconds since the UNIX epoch.
    pub accepted_timestamp: u64,
}
wire!(AbusiveMessage { message_content, frank, accepted_timestamp }, at_most: limits::ABUSIVE_MESSAGES_MAX);

/// AbuseReport.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AbuseReport {
    /// Who reports; empty when anonymous.
    pub reporting_user: IdentifierUri,
    /// Who is accused.
    pub alleged_abuser: IdentifierUri,
    /// AbuseType; the draft defines none but 0, any is kept.
    pub reason_code: u8,
    /// For people, may be empty.
    pub note: Bytes,
    /// The messages.
    pub messages: Vec<AbusiveMessage>,
    /// Extension point; unknown components are ignored.
    pub extensions: AppDataDictionary,
}
wire!(AbuseReport {
    reporting_user,
    alleged_abuser,
    reason_code,
    note,
    messages,
    extensions
});
