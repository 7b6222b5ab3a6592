//! Wire types and identifiers of the MIMI drafts: whatever is decoded here is bounded and canonical, and encodes back
//! to the same octets. Nothing here does I/O, holds a key or runs MLS; an embedded MLS structure is its octets.

pub mod abuse;
pub mod app_data;
pub mod catch_up;
pub mod codec;
pub mod consent;
pub mod content;
pub mod franking;
pub mod group_info;
pub mod identifier;
pub mod key_material;
pub mod limits;
pub mod metadata;
pub mod mls;
pub mod notify;
pub mod operational;
pub mod participants;
pub mod policy;
pub mod role;
pub mod submit;
pub mod update;
pub mod uri;

pub use app_data::{AppDataDictionary, AppDataOperation, AppDataUpdate, ComponentId};
pub use codec::{Decode, DecodeError, Encode};
pub use content::{MessageId, MimiContent};
pub use identifier::IdentifierUri;
pub use key_material::Protocol;
pub use participants::{Participant, ParticipantList, ParticipantListUpdate, RoleChange};
pub use role::{BaseRoomPolicy, Role, RoleData};
pub use uri::{ClientUri, Provider, RoomUri, UriError, UserUri};
