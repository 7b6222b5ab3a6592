//! What a client must and must not support (mimi-room-policy §6): the mandatory and forbidden capabilities of a room
//! against a leaf.

use mimi::app_data::{AppDataDictionary, ComponentId, ComponentsList};
use mimi::mls::LeafNodeView;
use mimi::operational::{ExtendedCapabilities, MediaType, OperationalParameters};
use mimi::{ClientUri, Decode};

use crate::pseudonyms::check_key;
use crate::{RoomView, Violation};

const APP_DATA_DICTIONARY: u16 = 0x0006;
const SUPPORTED_WIRE_FORMATS: u16 = 0x0007;

/// A client about to get a leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// The client.
    pub client: ClientUri,
    /// CredentialType of its credential.
    pub credential_type: u16,
    /// What it says that it supports; what every client supports by RFC 9420 is implied.
    pub capabilities: ExtendedCapabilities,
}

impl Leaf {
    /// What a LeafNode says of the client.
    ///
    /// # Errors
    /// [`Violation::Malformed`]: one of the extensions that are read does not decode. [`Violation::Invalid`]: its credential
    /// is a pseudonymous one of another leaf.
    pub fn of(client: ClientUri, leaf: &LeafNodeView<'_>) -> Result<Self, Violation> {
        let malformed = |_| Violation::Malformed("leaf extensions");
        check_key(&client, leaf)?;
        let plain = leaf.capabilities.capabilities();
        let mut capabilities = ExtendedCapabilities {
            versions: plain.versions,
            cipher_suites: plain.cipher_suites,
            extensions: plain.extensions,
            proposals: plain.proposals,
            credentials: plain.credentials,
            ..ExtendedCapabilities::default()
        };
        if let Some(formats) = leaf.extensions.find(SUPPORTED_WIRE_FORMATS) {
            capabilities.wire_formats = Vec::decode_exact(formats).map_err(malformed)?;
        }
        if let Some(dictionary) = leaf.extensions.find(APP_DATA_DICTIONARY) {
            let dictionary = AppDataDictionary::decode_exact(dictionary).map_err(malformed)?;
            let ids = |component| match dictionary.component(component) {
                Some(octets) => ComponentsList::decode_exact(octets)
                    .map(|list| list.ids)
                    .map_err(malformed),
                None => Ok(Vec::new()),
            };
            capabilities.component_ids = ids(ComponentId::APP_COMPONENTS)?;
            capabilities.safe_aad_types = ids(ComponentId::SAFE_AAD)?;
            if let Some(octets) = dictionary.component(ComponentId::CONTENT_MEDIA_TYPES) {
                capabilities.media_types = Vec::decode_exact(octets).map_err(malformed)?;
            }
        }
        Ok(Self {
            client,
            credential_type: leaf.credential_type,
            capabilities,
        })
    }
}

/// Whether a media type falls under an entry of a list: an entry without parameters covers all of its type and subtype.
pub fn covers(entry: &MediaType, media_type: &MediaType) -> bool {
    entry.media_type.eq_ignore_ascii_case(&media_type.media_type)
        && (entry.parameters.is_empty() || entry.parameters == media_type.parameters)
}

fn demands_nothing(operational: &OperationalParameters) -> bool {
    let none = ExtendedCapabilities::default();
    operational.mandatory_capabilities == none && operational.forbidden_capabilities == none
}

/// Whether each of `wanted` is implied or among `have`.
fn all_of<T: PartialEq>(wanted: &[T], have: &[T], implied: impl Fn(&T) -> bool) -> bool {
    wanted.iter().all(|each| implied(each) || have.contains(each))
}

fn none_of<T: PartialEq>(unwanted: &[T], have: &[T]) -> bool {
    !unwanted.iter().any(|each| have.contains(each))
}

fn supports(have: &ExtendedCapabilities, wanted: &ExtendedCapabilities) -> bool {
    let number = |max: u16| move |each: &u16| (1..=max).contains(each);
    let media = |wanted: &MediaType| have.media_types.iter().any(|each| covers(each, wanted));
    all_of(&wanted.versions, &have.versions, |_| false)
        && all_of(&wanted.cipher_suites, &have.cipher_suites, |_| false)
        && all_of(&wanted.extensions, &have.extensions, number(5))
        && all_of(&wanted.proposals, &have.proposals, number(7))
        && all_of(&wanted.credentials, &have.credentials, |_| false)
        && all_of(&wanted.wire_formats, &have.wire_formats, number(5))
        && all_of(&wanted.component_ids, &have.component_ids, |_| false)
        && all_of(&wanted.safe_aad_types, &have.safe_aad_types, |_| false)
        && wanted.media_types.iter().all(media)
        && all_of(&wanted.content_types, &have.content_types, |each| {
            (1..=3).contains(each)
        })
}

fn avoids(have: &ExtendedCapabilities, unwanted: &ExtendedCapabilities) -> bool {
    let media = |unwanted: &MediaType| have.media_types.iter().any(|each| covers(unwanted, each));
    none_of(&unwanted.versions, &have.versions)
        && none_of(&unwanted.cipher_suites, &have.cipher_suites)
        && none_of(&unwanted.extensions, &have.extensions)
        && none_of(&unwanted.proposals, &have.proposals)
        && none_of(&unwanted.credentials, &have.credentials)
        && none_of(&unwanted.wire_formats, &have.wire_formats)
        && none_of(&unwanted.component_ids, &have.component_ids)
        && none_of(&unwanted.safe_aad_types, &have.safe_aad_types)
        && !unwanted.media_types.iter().any(media)
        && none_of(&unwanted.content_types, &have.content_types)
}

impl RoomView {
    /// Refuses a client that may not have a leaf in this room. Where the room demands nothing of its clients, a client of
    /// which nothing is known (`None`) passes.
    pub fn check_leaf(&self, leaf: Option<&Leaf>) -> Result<(), Violation> {
        let demands = self.operational().filter(|operational| !demands_nothing(operational));
        let Some(leaf) = leaf else {
            return match demands {
                Some(_) => Err(Violation::Invalid("a client whose capabilities are not known")),
                None => Ok(()),
            };
        };
        self.check_credential(leaf.credential_type)?;
        if let Some(demands) = demands {
            if !supports(&leaf.capabilities, &demands.mandatory_capabilities) {
                return Err(Violation::Invalid("a client without a mandatory capability"));
            }
            if !avoids(&leaf.capabilities, &demands.forbidden_capabilities) {
                return Err(Violation::Invalid("a client with a forbidden capability"));
            }
        }
        Ok(())
    }

    /// Whether handshake messages may have this WireFormat: PublicMessage, or SemiPrivateMessage where the room lists it;
    /// only what the room lists, if it lists any.
    pub fn allows_handshake(&self, wire_format: u16) -> bool {
        let listed = self.operational().map(|operational| &operational.handshake_formats);
        let private = wire_format == mimi::mls::wire_format::PRIVATE_MESSAGE;
        match listed.filter(|formats| !formats.is_empty()) {
            Some(formats) => !private && formats.contains(&wire_format),
            None => wire_format == mimi::mls::wire_format::PUBLIC_MESSAGE,
        }
    }
}
