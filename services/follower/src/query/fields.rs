//! Fields of profiles: the one canonical form of each, and how each is told. Pure. That a value is true is not checked.

use ledger::follower::{Field, FieldKind};
use mimi::Provider;
use mimi::identifier::{FieldSource, ProfileField};

use crate::Fault;
use crate::limits::{FIELD_BYTES_MAX, PROFILE_FIELDS_MAX, SEARCHABLE_BYTES_MAX};

/// Standard claims (OpenID Connect Core §5.1) that a profile can hold. E-mail address and telephone number are fields of
/// their own kinds and are told under these names.
const CLAIMS: &[&str] = &[
    "name",
    "given_name",
    "family_name",
    "middle_name",
    "nickname",
    "preferred_username",
    "profile",
    "picture",
    "website",
    "gender",
    "birthdate",
    "zoneinfo",
    "locale",
    EMAIL_CLAIM,
    PHONE_CLAIM,
];

/// Properties (vCard, RFC 6350 §6) that a profile can hold. A handle is told as IMPP.
const PROPERTIES: &[&str] = &[
    "FN",
    "N",
    "NICKNAME",
    "PHOTO",
    "BDAY",
    "ANNIVERSARY",
    "GENDER",
    "ADR",
    "LANG",
    "TZ",
    "GEO",
    "TITLE",
    "ROLE",
    "LOGO",
    "ORG",
    "CATEGORIES",
    "NOTE",
    "URL",
    "KEY",
    HANDLE_PROPERTY,
    EMAIL_PROPERTY,
    PHONE_PROPERTY,
];

/// The claim that is an e-mail address.
pub(crate) const EMAIL_CLAIM: &str = "email";
/// The claim that is a telephone number.
pub(crate) const PHONE_CLAIM: &str = "phone_number";
/// The property that is an e-mail address.
pub(crate) const EMAIL_PROPERTY: &str = "EMAIL";
/// The property that is a telephone number.
pub(crate) const PHONE_PROPERTY: &str = "TEL";
/// The property that is a handle.
pub(crate) const HANDLE_PROPERTY: &str = "IMPP";

/// The canonical name of a claim that is known.
pub(crate) fn claim(name: &str) -> Option<&'static str> {
    CLAIMS.iter().copied().find(|known| *known == name)
}

/// The canonical name of a property that is known; vCard does not tell cases apart.
pub(crate) fn property(name: &str) -> Option<&'static str> {
    PROPERTIES
        .iter()
        .copied()
        .find(|known| known.eq_ignore_ascii_case(name))
}

/// The fields of a profile in canonical form.
pub(crate) fn canonical(fields: &[Field]) -> Result<Vec<Field>, Fault> {
    if fields.len() > PROFILE_FIELDS_MAX {
        return Err(Fault::TooMuch("fields of a profile"));
    }
    let fields: Result<Vec<_>, _> = fields.iter().map(canonical_field).collect();
    let fields = fields?;
    let searchable = fields.iter().filter(|field| field.searchable);
    if searchable.map(|field| field.value.len()).sum::<usize>() > SEARCHABLE_BYTES_MAX {
        return Err(Fault::TooMuch("octets of searchable fields"));
    }
    Ok(fields)
}

fn canonical_field(field: &Field) -> Result<Field, Fault> {
    if field.value.is_empty() || field.value.chars().any(char::is_control) {
        return Err(Fault::Malformed("a field's value"));
    }
    if field.value.len() > FIELD_BYTES_MAX {
        return Err(Fault::TooMuch("octets of a field"));
    }
    let own = [
        EMAIL_CLAIM,
        PHONE_CLAIM,
        EMAIL_PROPERTY,
        PHONE_PROPERTY,
        HANDLE_PROPERTY,
    ];
    let name = match field.kind {
        FieldKind::Oidc => claim(&field.name),
        FieldKind::Vcard => property(&field.name),
        FieldKind::Handle | FieldKind::Email | FieldKind::Phone => field.name.is_empty().then_some(""),
    };
    let name = name.filter(|name| !own.contains(name));
    let value = match field.kind {
        FieldKind::Handle => handle(&field.value),
        FieldKind::Email => email(&field.value),
        FieldKind::Phone => phone(&field.value),
        FieldKind::Oidc | FieldKind::Vcard => Some(field.value.clone()),
    };
    Ok(Field {
        name: name.ok_or(Fault::Malformed("a field's name"))?.to_owned(),
        value: value.ok_or(Fault::Malformed("a field's value"))?,
        ..field.clone()
    })
}

/// A handle URI (`im:alice@a.example`, `mimi://a.example/u/alice`) with its scheme and domain in lower case.
pub(crate) fn handle(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once(':')?;
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    if !is_scheme || !rest.bytes().all(|b| b.is_ascii_graphic()) {
        return None;
    }
    let scheme = scheme.to_ascii_lowercase();
    if let Some(rest) = rest.strip_prefix("//") {
        let (domain, path) = rest.split_once('/')?;
        let named = path.rsplit('/').next().is_some_and(|name| !name.is_empty());
        return named.then_some(format!("{scheme}://{}/{path}", self::domain(domain)?));
    }
    let (user, domain) = rest.rsplit_once('@').filter(|(user, _)| !user.is_empty())?;
    Some(format!("{scheme}:{user}@{}", self::domain(domain)?))
}

/// The user part of a canonical handle.
pub(crate) fn nick(handle: &str) -> &str {
    let rest = handle.split_once(':').map_or(handle, |(_, rest)| rest);
    match rest.strip_prefix("//") {
        Some(rest) => rest.rsplit('/').next().unwrap_or(rest),
        None => rest.rsplit_once('@').map_or(rest, |(user, _)| user),
    }
}

/// An addr-spec (RFC 5322 §3.4.1) without quotes, with its domain in lower case.
pub(crate) fn email(text: &str) -> Option<String> {
    let (local, domain) = text.rsplit_once('@')?;
    let is_atext = |c: char| c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c);
    let is_local = local.len() <= 64 && local.chars().all(is_atext) && local.split('.').all(|atom| !atom.is_empty());
    is_local.then_some(format!("{local}@{}", self::domain(domain)?))
}

/// A telephone number of E.164: a plus sign, and 2 to 15 digits of which the first is not 0.
pub(crate) fn phone(text: &str) -> Option<String> {
    let digits = text.strip_prefix('+')?;
    let fits =
        (2..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
    fits.then(|| text.to_owned())
}

fn domain(text: &str) -> Option<String> {
    let domain = text.to_ascii_lowercase();
    domain.parse::<Provider>().ok()?;
    Some(domain)
}

/// How a field stands in an answer, which names claims and properties only.
pub(crate) fn told(field: &Field) -> ProfileField {
    let (source, name) = match field.kind {
        FieldKind::Handle => (FieldSource::VcardField, HANDLE_PROPERTY),
        FieldKind::Email => (FieldSource::OidcStdClaim, EMAIL_CLAIM),
        FieldKind::Phone => (FieldSource::OidcStdClaim, PHONE_CLAIM),
        FieldKind::Oidc => (FieldSource::OidcStdClaim, &*field.name),
        FieldKind::Vcard => (FieldSource::VcardField, &*field.name),
    };
    ProfileField {
        source,
        name: name.to_owned(),
        value: field.value.clone().into(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn q_2_handles_have_one_spelling() {
        for (text, canonical, user) in [
            ("IM:Alice.Smith@A.example", "im:Alice.Smith@a.example", "Alice.Smith"),
            ("mimi://A.EXAMPLE/u/alice", "mimi://a.example/u/alice", "alice"),
            ("sip:al@b@a.example", "sip:al@b@a.example", "al@b"),
        ] {
            assert_eq!(handle(text).as_deref(), Some(canonical));
            assert_eq!(nick(canonical), user);
        }
        let none = [
            "alice",
            "im:@a.example",
            "im:alice@",
            "im:al ice@a.example",
            "1m:a@b",
            "mimi://a.example/u/",
            "im:a@-b",
        ];
        for text in none {
            assert_eq!(handle(text), None, "{text}");
        }
    }

    #[test]
    fn q_2_addresses_have_a_domain_in_lower_case() {
        assert_eq!(email("A.Smith@A.Example").as_deref(), Some("A.Smith@a.example"));
        for text in [
            "asmith",
            "@a.example",
            "a@b@a.example",
            "a smith@a.example",
            ".a@a.example",
            "a@a_b",
        ] {
            assert_eq!(email(text), None, "{text}");
        }
    }

    #[test]
    fn q_2_telephone_numbers_are_international() {
        assert_eq!(phone("+12125551212").as_deref(), Some("+12125551212"));
        for text in [
            "12125551212",
            "+02125551212",
            "+1 212",
            "+1",
            "+1234567890123456",
            "+1212555121x",
        ] {
            assert_eq!(phone(text), None, "{text}");
        }
    }
}
