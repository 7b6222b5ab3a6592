//! What a field can be found by, and what an element of a query wants. Pure: both speak of the same terms.

use std::collections::BTreeSet;

use ledger::follower::{Field, FieldKind, Profile, Term};
use mimi::identifier::{QueryElement, Search};

use super::fields;
use crate::Fault;
use crate::limits::QUERY_PART_TERMS_MAX;

/// Characters of a term that stands for a part of a value; a shorter part cannot be looked up.
const GRAM_CHARS: usize = 3;

/// What a value is compared as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Facet<'a> {
    Handle,
    Nick,
    Email,
    Phone,
    Oidc(&'a str),
    Vcard(&'a str),
}

impl Facet<'_> {
    fn term(self, value: &str) -> Term {
        let (kind, name) = match self {
            Self::Handle => ("handle", ""),
            Self::Nick => ("nick", ""),
            Self::Email => ("email", ""),
            Self::Phone => ("phone", ""),
            Self::Oidc(name) => ("oidc", name),
            Self::Vcard(name) => ("vcard", name),
        };
        Term::new(kind, name, value)
    }
}

/// What a field is found by exactly.
fn facets(field: &Field) -> Vec<(Facet<'_>, &str)> {
    let (name, value) = (&*field.name, &*field.value);
    match (field.kind, name) {
        (FieldKind::Handle, _) => vec![
            (Facet::Handle, value),
            (Facet::Nick, fields::nick(value)),
            (Facet::Vcard(fields::HANDLE_PROPERTY), value),
        ],
        (FieldKind::Email, _) => vec![
            (Facet::Email, value),
            (Facet::Oidc(fields::EMAIL_CLAIM), value),
            (Facet::Vcard(fields::EMAIL_PROPERTY), value),
        ],
        (FieldKind::Phone, _) => vec![
            (Facet::Phone, value),
            (Facet::Oidc(fields::PHONE_CLAIM), value),
            (Facet::Vcard(fields::PHONE_PROPERTY), value),
        ],
        (FieldKind::Oidc, "nickname" | "preferred_username") => vec![(Facet::Oidc(name), value), (Facet::Nick, value)],
        (FieldKind::Oidc, _) => vec![(Facet::Oidc(name), value)],
        (FieldKind::Vcard, "NICKNAME") => vec![(Facet::Vcard(name), value), (Facet::Nick, value)],
        (FieldKind::Vcard, _) => vec![(Facet::Vcard(name), value)],
    }
}

/// Whether a field holds a name of the user.
fn is_name(field: &Field) -> bool {
    match field.kind {
        FieldKind::Oidc => matches!(
            &*field.name,
            "name" | "given_name" | "family_name" | "middle_name" | "nickname" | "preferred_username"
        ),
        FieldKind::Vcard => matches!(&*field.name, "FN" | "N" | "NICKNAME"),
        FieldKind::Handle | FieldKind::Email | FieldKind::Phone => false,
    }
}

/// In lower case, character by character: what stands around a character does not matter.
fn folded(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).collect()
}

fn grams(folded: &str) -> BTreeSet<Term> {
    let chars: Vec<char> = folded.chars().collect();
    let gram = |chars: &[char]| Term::new("part", "", &chars.iter().collect::<String>());
    chars.windows(GRAM_CHARS).map(gram).collect()
}

/// Everything that a profile can be found by.
pub(crate) fn terms(profile: &Profile) -> BTreeSet<Term> {
    let mut terms = BTreeSet::new();
    for field in profile.fields.iter().filter(|field| field.searchable) {
        terms.extend(facets(field).into_iter().map(|(facet, value)| facet.term(value)));
        terms.extend(grams(&folded(&field.value)));
    }
    terms
}

/// What an element of a query wants.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// A field with this very value.
    Exact(Facet<'static>, String),
    /// A name with this in it, in lower case.
    PartOfName(String),
    /// Any field with this in it, in lower case.
    PartOfAny(String),
}

impl Wanted {
    /// None: a field that cannot be searched.
    ///
    /// # Errors
    /// A value that is not UTF-8.
    pub(super) fn of(element: &QueryElement) -> Result<Option<Self>, Fault> {
        let value = std::str::from_utf8(&element.value).map_err(|_| Fault::Malformed("a value that is not UTF-8"))?;
        // What has no canonical form is nobody's.
        let exact = |facet, canonical: Option<String>| {
            let value = canonical.unwrap_or_else(|| value.to_owned());
            Some(Self::Exact(facet, value))
        };
        Ok(match &element.search {
            Search::Handle => exact(Facet::Handle, fields::handle(value)),
            Search::Nick => exact(Facet::Nick, None),
            Search::Email => exact(Facet::Email, fields::email(value)),
            Search::Phone => exact(Facet::Phone, None),
            Search::PartialName => Some(Self::PartOfName(folded(value))),
            Search::WholeProfile => Some(Self::PartOfAny(folded(value))),
            Search::OidcStdClaim(name) => match text(name).and_then(fields::claim) {
                Some(name @ fields::EMAIL_CLAIM) => exact(Facet::Oidc(name), fields::email(value)),
                Some(name) => exact(Facet::Oidc(name), None),
                None => None,
            },
            Search::VcardField(name) => match text(name).and_then(fields::property) {
                Some(name @ fields::EMAIL_PROPERTY) => exact(Facet::Vcard(name), fields::email(value)),
                Some(name @ fields::HANDLE_PROPERTY) => exact(Facet::Vcard(name), fields::handle(value)),
                Some(name) => exact(Facet::Vcard(name), None),
                None => None,
            },
        })
    }

    /// Terms that everybody is listed under who has what is wanted; none: it is too short to be looked up.
    pub(super) fn terms(&self) -> Vec<Term> {
        match self {
            Self::Exact(facet, value) => vec![facet.term(value)],
            Self::PartOfName(part) | Self::PartOfAny(part) => {
                grams(part).into_iter().take(QUERY_PART_TERMS_MAX).collect()
            }
        }
    }

    /// Whether one of the searchable fields is what is wanted.
    pub(super) fn matches(&self, fields: &[Field]) -> bool {
        let mut searchable = fields.iter().filter(|field| field.searchable);
        searchable.any(|field| match self {
            Self::Exact(facet, wanted) => facets(field).contains(&(*facet, wanted)),
            Self::PartOfName(part) => is_name(field) && folded(&field.value).contains(part),
            Self::PartOfAny(part) => folded(&field.value).contains(part),
        })
    }
}

fn text(octets: &[u8]) -> Option<&str> {
    std::str::from_utf8(octets).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    fn fields() -> impl Strategy<Value = Field> {
        let named = prop_oneof![
            Just((FieldKind::Oidc, "given_name")),
            Just((FieldKind::Oidc, "nickname")),
            Just((FieldKind::Vcard, "ORG")),
        ];
        let named = (named, "[a-cA-CßΣé ]{1,12}").prop_map(|((kind, name), value)| (kind, name, value));
        let handle = "im:[a-c.]{1,8}@a.example".prop_map(|value| (FieldKind::Handle, "", value));
        prop_oneof![named, handle].prop_map(|(kind, name, value)| Field {
            kind,
            name: name.to_owned(),
            value,
            searchable: true,
            shown: false,
        })
    }

    proptest! {
        /// Else the directory would hide somebody who matches.
        #[test]
        fn q_1_who_matches_an_element_is_listed_under_each_of_its_terms(
            field in fields(), search in 0..8_usize, from in 0..12_usize, chars in 1..12_usize,
        ) {
            let searches = [
                Search::Handle, Search::Nick, Search::Email, Search::Phone, Search::PartialName, Search::WholeProfile,
                Search::OidcStdClaim("given_name".into()), Search::VcardField("org".into()),
            ];
            let part: String = field.value.chars().skip(from).take(chars).collect();
            for value in [part.to_uppercase(), part, field.value.clone(), fields::nick(&field.value).to_owned()] {
                let element = QueryElement { search: searches[search].clone(), value: value.into() };
                let wanted = Wanted::of(&element).unwrap().unwrap();
                if wanted.matches(std::slice::from_ref(&field)) {
                    let listed = terms(&Profile { fields: vec![field.clone()], ..Profile::default() });
                    prop_assert!(wanted.terms().iter().all(|term| listed.contains(term)));
                }
            }
        }
    }

    #[test]
    fn q_2_a_part_matches_in_any_case() {
        let field = Field {
            kind: FieldKind::Oidc,
            name: "given_name".to_owned(),
            value: "Mathéo".to_owned(),
            searchable: true,
            shown: false,
        };
        for part in ["mat", "HÉO", "Mathéo"] {
            assert!(
                Wanted::PartOfName(folded(part)).matches(std::slice::from_ref(&field)),
                "{part}"
            );
        }
        assert!(!Wanted::PartOfName("mate".to_owned()).matches(&[field]));
    }
}
