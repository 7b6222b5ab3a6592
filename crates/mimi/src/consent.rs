//! Consent (mimi-protocol §5.7): one entry for requests and answers. Which direction may carry which is the edge's.

use crate::app_data::AppDataDictionary;
use crate::codec::{Decode, DecodeError, Encode, Reader, Writer};
use crate::identifier::IdentifierUri;
use crate::mls::KeyPackage;

/// ConsentOperation and its fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConsentOperation {
    /// Takes a request back.
    Cancel,
    /// Asks for consent.
    Request,
    /// Gives consent, with KeyPackages that are given to nobody else.
    Grant(Vec<KeyPackage>),
    /// Takes consent back, or denies it.
    Revoke,
}

/// ConsentEntry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsentEntry {
    /// What is done.
    pub operation: ConsentOperation,
    /// Who wants to add.
    pub requester: IdentifierUri,
    /// Who would be added.
    pub target: IdentifierUri,
    /// To which room; any when absent.
    pub room: Option<IdentifierUri>,
    /// Extension point; unknown components are ignored.
    pub extensions: AppDataDictionary,
}

impl Encode for ConsentEntry {
    fn write(&self, writer: &mut Writer) {
        let code: u8 = match self.operation {
            ConsentOperation::Cancel => 0,
            ConsentOperation::Request => 1,
            ConsentOperation::Grant(_) => 2,
            ConsentOperation::Revoke => 3,
        };
        code.write(writer);
        self.requester.write(writer);
        self.target.write(writer);
        self.room.write(writer);
        if let ConsentOperation::Grant(key_packages) = &self.operation {
            key_packages.write(writer);
        }
        self.extensions.write(writer);
    }
}

impl Decode for ConsentEntry {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let code = u8::decode(reader)?;
        let requester = IdentifierUri::decode(reader)?;
        let target = IdentifierUri::decode(reader)?;
        let room = Option::decode(reader)?;
        let operation = match code {
            0 => ConsentOperation::Cancel,
            1 => ConsentOperation::Request,
            2 => ConsentOperation::Grant(Vec::decode(reader)?),
            3 => ConsentOperation::Revoke,
            value => {
                return Err(DecodeError::Unknown {
                    what: "consent operation",
                    value: value.into(),
                });
            }
        };
        Ok(Self {
            operation,
            requester,
            target,
            room,
            extensions: AppDataDictionary::decode(reader)?,
        })
    }
}
