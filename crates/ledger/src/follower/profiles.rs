//! Profiles: what a user of ours has said about itself. Who has said nothing has the defaults.

use mimi::UserUri;
use prost::Message;
use store::Transaction;

use super::{FollowerError, keys};
use crate::value;

/// Who is given a user's KeyPackages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WhoMayAdd {
    /// Every user of a provider known here, but those whom the user has revoked.
    #[default]
    Everybody,
    /// Users to whom the user has granted consent.
    WithConsent,
}

/// What kind of thing a field of a profile tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum FieldKind {
    /// A handle: a URI.
    Handle = 0,
    /// An e-mail address.
    Email = 1,
    /// A telephone number.
    Phone = 2,
    /// An OpenID Connect standard claim.
    Oidc = 3,
    /// A vCard property.
    Vcard = 4,
}

impl FieldKind {
    fn of(number: u32) -> Option<Self> {
        [Self::Handle, Self::Email, Self::Phone, Self::Oidc, Self::Vcard]
            .into_iter()
            .find(|kind| *kind as u32 == number)
    }
}

/// One field of a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// What it tells.
    pub kind: FieldKind,
    /// Of a claim or a property; else empty.
    pub name: String,
    /// In its canonical form.
    pub value: String,
    /// The user may be found by it.
    pub searchable: bool,
    /// It is told to whoever finds the user.
    pub shown: bool,
}

/// What a user has said about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profile {
    /// Who is given the user's KeyPackages.
    pub who_may_add: WhoMayAdd,
    /// What others may find the user by, or are told of it.
    pub fields: Vec<Field>,
}

#[derive(Clone, PartialEq, Message)]
struct ProfileRow {
    #[prost(bool, tag = "1")]
    consent_required: bool,
    #[prost(message, repeated, tag = "2")]
    fields: Vec<FieldRow>,
}

#[derive(Clone, PartialEq, Message)]
struct FieldRow {
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(string, tag = "3")]
    value: String,
    #[prost(bool, tag = "4")]
    searchable: bool,
    #[prost(bool, tag = "5")]
    shown: bool,
}

/// The profile rows, in one transaction.
#[derive(Debug)]
pub struct Profiles<'a>(pub &'a mut Transaction);

impl Profiles<'_> {
    /// A user's profile, if there is one.
    pub async fn profile(&self, user: &UserUri) -> Result<Option<Profile>, FollowerError> {
        let Some(octets) = self.0.get(&keys::profile(user)).await? else {
            return Ok(None);
        };
        let row: ProfileRow = value::decode(&octets)?;
        let who_may_add = match row.consent_required {
            true => WhoMayAdd::WithConsent,
            false => WhoMayAdd::Everybody,
        };
        let field = |row: FieldRow| {
            Ok(Field {
                kind: FieldKind::of(row.kind).ok_or(FollowerError::Damaged("not a kind of field"))?,
                name: row.name,
                value: row.value,
                searchable: row.searchable,
                shown: row.shown,
            })
        };
        let fields: Result<Vec<_>, FollowerError> = row.fields.into_iter().map(field).collect();
        Ok(Some(Profile {
            who_may_add,
            fields: fields?,
        }))
    }

    /// Writes it in place of the former one. What it is found by is [listed](super::Directory) apart.
    pub fn put(&mut self, user: &UserUri, profile: &Profile) {
        let field = |field: &Field| FieldRow {
            kind: field.kind as u32,
            name: field.name.clone(),
            value: field.value.clone(),
            searchable: field.searchable,
            shown: field.shown,
        };
        let row = ProfileRow {
            consent_required: profile.who_may_add == WhoMayAdd::WithConsent,
            fields: profile.fields.iter().map(field).collect(),
        };
        self.0.set(keys::profile(user), value::encode(&row));
    }
}
