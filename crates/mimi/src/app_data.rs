//! Application data of a group (draft-ietf-mls-extensions §4.6): a dictionary of components, sorted, each at most once.
//! What a component means is its own module's.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::codec::{Decode, DecodeError, Encode, Reader, Writer, wire};
use crate::limits;

/// ComponentID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ComponentId(pub u16);

impl ComponentId {
    /// app_components: which components a group requires or a client supports.
    pub const APP_COMPONENTS: Self = Self(0x0001);
    /// safe_aad: which components put items into authenticated data.
    pub const SAFE_AAD: Self = Self(0x0002);
    /// content_media_types.
    pub const CONTENT_MEDIA_TYPES: Self = Self(0x0003);
    /// last_resort_key_package.
    pub const LAST_RESORT_KEY_PACKAGE: Self = Self(0x0004);
    /// app_ack.
    pub const APP_ACK: Self = Self(0x0005);
    /// external_receivers of SemiPrivateMessage.
    pub const EXTERNAL_RECEIVERS: Self = Self(0x0008);
    /// frank_aad (mimi-protocol §10).
    pub const FRANK_AAD: Self = Self(0x0020);
    /// franking_agent.
    pub const FRANKING_AGENT: Self = Self(0x0021);
    /// participant_list.
    pub const PARTICIPANT_LIST: Self = Self(0x0022);
    /// room_metadata.
    pub const ROOM_METADATA: Self = Self(0x0023);
    /// mls_operational_policy (mimi-room-policy §10.1).
    pub const OPERATIONAL_POLICY: Self = Self(0x0024);
    /// roles_list.
    pub const ROLES_LIST: Self = Self(0x0025);
    /// preauth_list.
    pub const PREAUTH_LIST: Self = Self(0x0026);
    /// base_room_policy.
    pub const BASE_ROOM_POLICY: Self = Self(0x0027);
    /// status_notification_policy.
    pub const STATUS_NOTIFICATION_POLICY: Self = Self(0x0028);
    /// join_link_policy.
    pub const JOIN_LINK_POLICY: Self = Self(0x0029);
    /// join_links.
    pub const JOIN_LINKS: Self = Self(0x002a);
    /// link_preview_policy.
    pub const LINK_PREVIEW_POLICY: Self = Self(0x002b);
    /// asset_policy.
    pub const ASSET_POLICY: Self = Self(0x002c);
    /// logging_policy.
    pub const LOGGING_POLICY: Self = Self(0x002d);
    /// chat_history_policy.
    pub const CHAT_HISTORY_POLICY: Self = Self(0x002e);
    /// bot_policy.
    pub const BOT_POLICY: Self = Self(0x002f);
    /// message_expiration_policy.
    pub const MESSAGE_EXPIRATION_POLICY: Self = Self(0x0030);
    /// message_id (mimi-msgid-aad).
    pub const MESSAGE_ID: Self = Self(0x0040);
}

impl Encode for ComponentId {
    fn write(&self, writer: &mut Writer) {
        self.0.write(writer);
    }
}

impl Decode for ComponentId {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        u16::decode(reader).map(Self)
    }
}

/// Reads `{ ComponentID; opaque<V> }<V>` with strictly increasing ids.
fn decode_sorted(reader: &mut Reader<'_>) -> Result<BTreeMap<ComponentId, Bytes>, DecodeError> {
    let mut body = reader.vector()?;
    if body.remaining() > limits::DICTIONARY_BYTES_MAX {
        return Err(DecodeError::TooMuch {
            what: "octets of a dictionary",
            max: limits::DICTIONARY_BYTES_MAX,
        });
    }
    let mut entries = BTreeMap::new();
    while !body.is_empty() {
        let id = ComponentId::decode(&mut body)?;
        if entries.last_key_value().is_some_and(|(last, _)| *last >= id) {
            return Err(DecodeError::Invalid("components are not strictly sorted"));
        }
        entries.insert(id, Bytes::decode(&mut body)?);
    }
    Ok(entries)
}

fn write_sorted(entries: &BTreeMap<ComponentId, Bytes>, writer: &mut Writer) {
    writer.vector(|body| {
        for (id, data) in entries {
            id.write(body);
            data.write(body);
        }
    });
}

/// AppDataDictionary: at most [`limits::DICTIONARY_BYTES_MAX`] octets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AppDataDictionary(pub BTreeMap<ComponentId, Bytes>);

impl AppDataDictionary {
    /// A component's data.
    pub fn component(&self, id: ComponentId) -> Option<&Bytes> {
        self.0.get(&id)
    }
}

impl Encode for AppDataDictionary {
    fn write(&self, writer: &mut Writer) {
        write_sorted(&self.0, writer);
    }
}

impl Decode for AppDataDictionary {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        decode_sorted(reader).map(Self)
    }
}

/// SafeAAD (draft-ietf-mls-extensions §4.9): items of authenticated data by component.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SafeAad(pub BTreeMap<ComponentId, Bytes>);

impl Encode for SafeAad {
    fn write(&self, writer: &mut Writer) {
        write_sorted(&self.0, writer);
    }
}

impl Decode for SafeAad {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        decode_sorted(reader).map(Self)
    }
}

/// ComponentsList: the data of app_components and safe_aad.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ComponentsList {
    /// The components.
    pub ids: Vec<ComponentId>,
}
wire!(ComponentsList { ids });

/// What an AppDataUpdate does with the component's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AppDataOperation {
    /// Changes it, as the component defines.
    Update(Bytes),
    /// Takes it away.
    Remove,
}

impl Encode for AppDataOperation {
    fn write(&self, writer: &mut Writer) {
        match self {
            Self::Update(update) => {
                1u8.write(writer);
                update.write(writer);
            }
            Self::Remove => 2u8.write(writer),
        }
    }
}

impl Decode for AppDataOperation {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u8::decode(reader)? {
            1 => Bytes::decode(reader).map(Self::Update),
            2 => Ok(Self::Remove),
            value => Err(DecodeError::Unknown {
                what: "app data operation",
                value: value.into(),
            }),
        }
    }
}

/// AppDataUpdate: the proposal (0x0008) that changes one component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppDataUpdate {
    /// The component.
    pub component: ComponentId,
    /// What is done with its data.
    pub operation: AppDataOperation,
}
wire!(AppDataUpdate { component, operation });
