//! Consent and profiles between gRPC's words and the follower's.

use ledger::follower::{Act, Book, Field, FieldKind, Noted, Profile, WhoMayAdd};
use mimi::{RoomUri, UserUri};
use proto::follower as wire;
use tonic::Status;

use super::parse;
use crate::{Fault, Saying, Scope};

fn room(text: &str) -> Result<Option<RoomUri>, Status> {
    match text {
        "" => Ok(None),
        text => parse(text, "room").map(Some),
    }
}

/// A user of ours, and what it is about.
pub(super) fn scope(scope: &wire::ConsentScope) -> Result<(UserUri, Scope), Status> {
    let user = parse(&scope.user, "user")?;
    let other = parse(&scope.other, "other user")?;
    let room = room(&scope.room)?;
    Ok((user, Scope { other, room }))
}

pub(super) fn saying(request: wire::SayConsentRequest) -> Result<Saying, Status> {
    let operation = wire::ConsentOperation::try_from(request.operation);
    match operation.map_err(|_| Fault::Malformed("operation"))? {
        wire::ConsentOperation::Grant => Ok(Saying::Grant(request.key_packages)),
        _ if !request.key_packages.is_empty() => Err(Fault::Malformed("KeyPackages without a grant").into()),
        wire::ConsentOperation::Cancel => Ok(Saying::Cancel),
        wire::ConsentOperation::Request => Ok(Saying::Request),
        wire::ConsentOperation::Revoke => Ok(Saying::Revoke),
    }
}

pub(super) fn book(request: &wire::ListConsentsRequest) -> Result<Book, Status> {
    let book = wire::ConsentBook::try_from(request.book).map_err(|_| Fault::Malformed("book"))?;
    Ok(match book {
        wire::ConsentBook::Asked => Book::Asked,
        wire::ConsentBook::Given => Book::Given,
        wire::ConsentBook::Sent => Book::Sent,
        wire::ConsentBook::Received => Book::Received,
    })
}

/// Whose book, and behind what.
pub(super) fn after(request: &wire::ListConsentsRequest) -> Result<(UserUri, Option<Scope>), Status> {
    let user = parse(&request.user, "user")?;
    if request.after_other.is_empty() {
        return Ok((user, None));
    }
    let other = parse(&request.after_other, "other user")?;
    let room = room(&request.after_room)?;
    Ok((user, Some(Scope { other, room })))
}

pub(super) fn page((page, last): (Vec<Noted>, Option<Scope>)) -> wire::ListConsentsResponse {
    let text = |room: Option<&RoomUri>| room.map_or("", RoomUri::as_str).to_owned();
    let consent = |noted: Noted| wire::Consent {
        other: noted.other.as_str().to_owned(),
        room: text(noted.room.as_ref()),
        operation: operation(noted.act).into(),
        at_ms: noted.at.0,
        key_packages: noted.key_packages,
    };
    wire::ListConsentsResponse {
        more: last.is_some(),
        last_other: last
            .as_ref()
            .map_or_else(String::new, |last| last.other.as_str().to_owned()),
        last_room: text(last.as_ref().and_then(|last| last.room.as_ref())),
        consents: page.into_iter().map(consent).collect(),
    }
}

fn operation(act: Act) -> wire::ConsentOperation {
    match act {
        Act::Cancel => wire::ConsentOperation::Cancel,
        Act::Request => wire::ConsentOperation::Request,
        Act::Grant => wire::ConsentOperation::Grant,
        Act::Revoke => wire::ConsentOperation::Revoke,
    }
}

pub(super) fn profile(profile: &wire::Profile) -> Result<Profile, Status> {
    let who = wire::WhoMayAdd::try_from(profile.who_may_add);
    let who_may_add = match who.map_err(|_| Fault::Malformed("who may add"))? {
        wire::WhoMayAdd::Everybody => WhoMayAdd::Everybody,
        wire::WhoMayAdd::WithConsent => WhoMayAdd::WithConsent,
    };
    let fields: Result<Vec<_>, Status> = profile.fields.iter().map(field).collect();
    Ok(Profile {
        who_may_add,
        fields: fields?,
    })
}

fn field(field: &wire::ProfileField) -> Result<Field, Status> {
    let kind = wire::ProfileFieldKind::try_from(field.kind);
    let kind = match kind.map_err(|_| Fault::Malformed("kind of field"))? {
        wire::ProfileFieldKind::Handle => FieldKind::Handle,
        wire::ProfileFieldKind::Email => FieldKind::Email,
        wire::ProfileFieldKind::Phone => FieldKind::Phone,
        wire::ProfileFieldKind::Oidc => FieldKind::Oidc,
        wire::ProfileFieldKind::Vcard => FieldKind::Vcard,
    };
    Ok(Field {
        kind,
        name: field.name.clone(),
        value: field.value.clone(),
        searchable: field.searchable,
        shown: field.shown,
    })
}

fn field_message(field: &Field) -> wire::ProfileField {
    let kind = match field.kind {
        FieldKind::Handle => wire::ProfileFieldKind::Handle,
        FieldKind::Email => wire::ProfileFieldKind::Email,
        FieldKind::Phone => wire::ProfileFieldKind::Phone,
        FieldKind::Oidc => wire::ProfileFieldKind::Oidc,
        FieldKind::Vcard => wire::ProfileFieldKind::Vcard,
    };
    wire::ProfileField {
        kind: kind.into(),
        name: field.name.clone(),
        value: field.value.clone(),
        searchable: field.searchable,
        shown: field.shown,
    }
}

pub(super) fn profile_message(profile: &Profile) -> wire::Profile {
    let who = match profile.who_may_add {
        WhoMayAdd::Everybody => wire::WhoMayAdd::Everybody,
        WhoMayAdd::WithConsent => wire::WhoMayAdd::WithConsent,
    };
    wire::Profile {
        who_may_add: who.into(),
        fields: profile.fields.iter().map(field_message).collect(),
    }
}
