//! Delivery and read reports (mimi-message-status, media type `application/mimi-message-status`): what became of
//! messages at the sender of the report. Which change of status makes sense is not judged.

use super::cbor::{self, Item};
use super::id::MessageId;
use crate::codec::{Decode, DecodeError, Encode, Reader, Writer};
use crate::limits;

/// Status of a message. Any number decodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Status(pub u8);

impl Status {
    /// Not read yet.
    pub const UNREAD: Self = Self(0);
    /// Received by a client of the reporter.
    pub const DELIVERED: Self = Self(1);
    /// Read by the reporter.
    pub const READ: Self = Self(2);
    /// Expired.
    pub const EXPIRED: Self = Self(3);
    /// Deleted, by the reporter or by somebody who may.
    pub const DELETED: Self = Self(4);
    /// Hidden by the reporter.
    pub const HIDDEN: Self = Self(5);
    /// Not received properly.
    pub const ERROR: Self = Self(6);
}

/// PerMessageStatus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PerMessageStatus {
    /// The message.
    pub message_id: MessageId,
    /// Its status.
    pub status: Status,
}

/// MessageStatusReport: of messages of one room. A message may stand in it more than once; the later status holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MessageStatusReport(pub Vec<PerMessageStatus>);

impl MessageStatusReport {
    /// Says the same of each of `messages`.
    pub fn of(status: Status, messages: impl IntoIterator<Item = MessageId>) -> Self {
        messages
            .into_iter()
            .map(|message_id| PerMessageStatus { message_id, status })
            .collect()
    }
}

impl FromIterator<PerMessageStatus> for MessageStatusReport {
    fn from_iter<T: IntoIterator<Item = PerMessageStatus>>(statuses: T) -> Self {
        Self(statuses.into_iter().collect())
    }
}

impl Encode for MessageStatusReport {
    fn write(&self, writer: &mut Writer) {
        cbor::write(writer, Item::Array(self.0.len()));
        for PerMessageStatus { message_id, status } in &self.0 {
            cbor::write(writer, Item::Array(2));
            message_id.write(writer);
            cbor::write(writer, Item::Unsigned(status.0.into()));
        }
    }
}

impl Decode for MessageStatusReport {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = match cbor::item(reader)? {
            Item::Array(count @ 0..=limits::STATUSES_MAX) => count,
            Item::Array(_) => {
                return Err(DecodeError::TooMuch {
                    what: "statuses",
                    max: limits::STATUSES_MAX,
                });
            }
            _ => return Err(DecodeError::Invalid("status report is not an array")),
        };
        let mut statuses = Vec::new();
        for _ in 0..count {
            cbor::array(reader, 2, "status is not an array of two")?;
            let message_id = MessageId::read(reader)?;
            let status = cbor::unsigned(reader, "status is not an integer of 8 bits").map(Status)?;
            statuses.push(PerMessageStatus { message_id, status });
        }
        Ok(Self(statuses))
    }
}
