//! Identifiers on the wire (mimi-protocol §5.2) and identifierQuery (§5.8): octets as received, which parse to a
//! canonical URI only when asked to. Nothing is searched here.

use bytes::Bytes;

use crate::app_data::AppDataDictionary;
use crate::codec::{Decode, DecodeError, Encode, Reader, Writer, codes, wire};
use crate::limits;
use crate::uri::{ClientUri, RoomUri, URI_BYTES_MAX, UriError, UserUri};

/// IdentifierUri: octets as received, at most [`URI_BYTES_MAX`]. Empty means absent where the draft lets it be.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdentifierUri(pub Bytes);

impl IdentifierUri {
    /// The octets.
    pub fn octets(&self) -> &[u8] {
        &self.0
    }

    /// Whether there are no octets.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The user that the octets name.
    pub fn user(&self) -> Result<UserUri, UriError> {
        UserUri::from_octets(&self.0)
    }

    /// The client that the octets name.
    pub fn client(&self) -> Result<ClientUri, UriError> {
        ClientUri::from_octets(&self.0)
    }

    /// The room that the octets name.
    pub fn room(&self) -> Result<RoomUri, UriError> {
        RoomUri::from_octets(&self.0)
    }
}

impl Encode for IdentifierUri {
    fn write(&self, writer: &mut Writer) {
        self.0.write(writer);
    }
}

impl Decode for IdentifierUri {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let octets = reader.opaque_at_most(URI_BYTES_MAX, "octets of a URI")?;
        Ok(Self(reader.keep(octets)))
    }
}

macro_rules! from_uri {
    ($($uri:ident),+) => {$(
        impl From<&$uri> for IdentifierUri {
            fn from(uri: &$uri) -> Self {
                Self(Bytes::copy_from_slice(uri.as_str().as_bytes()))
            }
        }
    )+};
}
from_uri!(UserUri, ClientUri, RoomUri);

/// What an element of a query is compared with (SearchIdentifierType).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Search {
    /// The whole handle, exactly.
    Handle,
    /// The user part of the handle, exactly.
    Nick,
    /// An e-mail address, exactly.
    Email,
    /// A telephone number in international format, exactly.
    Phone,
    /// A part of any name.
    PartialName,
    /// A part of any searchable field.
    WholeProfile,
    /// An OpenID Connect standard claim, exactly.
    OidcStdClaim(Bytes),
    /// A vCard property, exactly.
    VcardField(Bytes),
}

impl Encode for Search {
    fn write(&self, writer: &mut Writer) {
        let code: u8 = match self {
            Self::Handle => 1,
            Self::Nick => 2,
            Self::Email => 3,
            Self::Phone => 4,
            Self::PartialName => 5,
            Self::WholeProfile => 6,
            Self::OidcStdClaim(_) => 7,
            Self::VcardField(_) => 8,
        };
        code.write(writer);
        if let Self::OidcStdClaim(name) | Self::VcardField(name) = self {
            name.write(writer);
        }
    }
}

impl Decode for Search {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match u8::decode(reader)? {
            1 => Self::Handle,
            2 => Self::Nick,
            3 => Self::Email,
            4 => Self::Phone,
            5 => Self::PartialName,
            6 => Self::WholeProfile,
            7 => Self::OidcStdClaim(Bytes::decode(reader)?),
            8 => Self::VcardField(Bytes::decode(reader)?),
            value => {
                return Err(DecodeError::Unknown {
                    what: "search type",
                    value: value.into(),
                });
            }
        })
    }
}

/// One element of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryElement {
    /// What is compared.
    pub search: Search,
    /// The value looked for, UTF-8.
    pub value: Bytes,
}
wire!(QueryElement { search, value }, at_most: limits::QUERY_ELEMENTS_MAX);

/// IdentifierRequest: a user matches who matches every element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentifierRequest {
    /// The elements.
    pub elements: Vec<QueryElement>,
    /// Extension point; unknown components are ignored.
    pub extensions: AppDataDictionary,
}
wire!(IdentifierRequest { elements, extensions });

codes!(
    /// IdentifierQueryCode.
    IdentifierQueryCode, "identifier query code" {
        /// At least one user was found.
        Success = 0,
        /// Nobody was found.
        NotFound = 1,
        /// Several match, and only an exact match is answered.
        Ambiguous = 2,
        /// Not answered to this requester.
        Forbidden = 3,
        /// A field that cannot be searched.
        UnsupportedField = 4,
    }
);

codes!(
    /// Where a field of a profile comes from.
    FieldSource, "field source" {
        /// An OpenID Connect standard claim.
        OidcStdClaim = 7,
        /// A vCard property.
        VcardField = 8,
    }
);

/// One field of a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileField {
    /// Where it comes from.
    pub source: FieldSource,
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Bytes,
}
wire!(ProfileField { source, name, value });

/// A user who was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserProfile {
    /// The user.
    pub stable_uri: IdentifierUri,
    /// What the user shows.
    pub fields: Vec<ProfileField>,
}
wire!(UserProfile { stable_uri, fields });

/// IdentifierResponse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentifierResponse {
    /// How the query ended.
    pub code: IdentifierQueryCode,
    /// The users found, in the order of `profiles`.
    pub uris: Vec<IdentifierUri>,
    /// Their profiles.
    pub profiles: Vec<UserProfile>,
    /// Extension point; unknown components are ignored.
    pub extensions: AppDataDictionary,
}
wire!(IdentifierResponse {
    code,
    uris,
    profiles,
    extensions
});
