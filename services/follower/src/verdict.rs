//! What a user's grants and revocations come to for one inviter and one room. Pure.

use ledger::follower::{Act, Noted, WhoMayAdd};
use mimi::RoomUri;
use mimi::key_material::KeyMaterialUserCode;

/// What a user has said about another user's adding it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) said: Said,
    /// A grant to the same user holds for something else: that the target exists is no secret from it.
    pub(crate) elsewhere: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said {
    Nothing,
    Granted,
    Revoked,
}

impl Verdict {
    /// From what was said to one inviter, the newest of each scope. What was said of the very room counts; else what was
    /// said of any. A revocation of any room ends every older grant; a room's grant that is newer holds.
    pub(crate) fn of(given: &[Noted], room: Option<&RoomUri>) -> Self {
        let any = given.iter().find(|noted| noted.room.is_none());
        let ended = any.filter(|any| any.act == Act::Revoke).map(|any| any.order);
        let holds = |noted: &&Noted| noted.act == Act::Grant && ended.is_none_or(|ended| ended < noted.order);
        let exact = given.iter().find(|noted| noted.room.as_ref() == room);
        let exact = exact.filter(|exact| exact.act == Act::Revoke || holds(exact));
        let said = match exact.or(any).map(|noted| noted.act) {
            Some(Act::Grant) => Said::Granted,
            Some(Act::Revoke) => Said::Revoked,
            Some(Act::Cancel | Act::Request) | None => Said::Nothing,
        };
        let elsewhere = given.iter().filter(holds).any(|noted| noted.room.as_ref() != room);
        Self { said, elsewhere }
    }

    /// The code that refuses KeyPackages for this room, if they are refused. Only who has a grant is told that there is
    /// somebody who does not grant this (mimi-protocol §5.2).
    pub(crate) fn refusal(self, who: WhoMayAdd, room: Option<&RoomUri>) -> Option<KeyMaterialUserCode> {
        match (self.said, who) {
            (Said::Granted, _) | (Said::Nothing, WhoMayAdd::Everybody) => None,
            _ if self.elsewhere && room.is_some() => Some(KeyMaterialUserCode::NoConsentForThisRoom),
            _ => Some(KeyMaterialUserCode::NoConsent),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use ledger::{Digest, Millis};

    use super::*;

    const CLUB: &str = "mimi://a.example/r/club";
    const OTHER: &str = "mimi://a.example/r/other";

    fn room(text: &str) -> Option<RoomUri> {
        (!text.is_empty()).then(|| text.parse().unwrap())
    }

    /// The books after these acts, in their order: the newest of each scope stays.
    fn given(acts: &[(Act, &str)]) -> Vec<Noted> {
        let mut given: Vec<Noted> = Vec::new();
        for (order, (act, scope)) in (1..).zip(acts) {
            given.retain(|noted| noted.room != room(scope));
            given.push(Noted {
                other: "mimi://a.example/u/alice".parse().unwrap(),
                room: room(scope),
                act: *act,
                order,
                at: Millis(0),
                digest: Digest::of(b""),
                key_packages: 0,
            });
        }
        given
    }

    fn said(acts: &[(Act, &str)], scope: &str) -> Said {
        Verdict::of(&given(acts), room(scope).as_ref()).said
    }

    use Act::{Grant, Revoke};
    use Said::{Granted, Nothing, Revoked};

    #[test]
    fn c_5_a_newer_revoke_of_any_room_ends_every_older_grant() {
        for acts in [
            &[(Grant, CLUB), (Revoke, "")][..],
            &[(Grant, ""), (Grant, CLUB), (Grant, OTHER), (Revoke, "")],
        ] {
            for scope in ["", CLUB, OTHER] {
                let verdict = Verdict::of(&given(acts), room(scope).as_ref());
                assert_eq!((verdict.said, verdict.elsewhere), (Revoked, false), "{acts:?} {scope}");
            }
        }
    }

    #[test]
    fn c_5_the_newest_of_an_exact_scope_wins() {
        assert_eq!(said(&[(Grant, CLUB), (Revoke, CLUB)], CLUB), Revoked);
        assert_eq!(said(&[(Revoke, CLUB), (Grant, CLUB)], CLUB), Granted);
        assert_eq!(said(&[(Revoke, ""), (Grant, "")], ""), Granted);
        // A room stays revoked when any room is granted: it was named.
        assert_eq!(said(&[(Revoke, CLUB), (Grant, "")], CLUB), Revoked);
        assert_eq!(said(&[(Revoke, CLUB), (Grant, "")], OTHER), Granted);
    }

    #[test]
    fn c_5_a_rooms_grant_beats_an_older_revoke_of_any_room() {
        let acts = [(Revoke, ""), (Grant, CLUB)];
        assert_eq!(
            (said(&acts, CLUB), said(&acts, OTHER), said(&acts, "")),
            (Granted, Revoked, Revoked)
        );
    }

    #[test]
    fn f_5_only_who_has_a_grant_learns_that_this_room_has_none() {
        use KeyMaterialUserCode::{NoConsent, NoConsentForThisRoom};
        let refused = |acts: &[(Act, &str)], scope: &str, who| {
            Verdict::of(&given(acts), room(scope).as_ref()).refusal(who, room(scope).as_ref())
        };
        let required = WhoMayAdd::WithConsent;
        for (acts, scope, code) in [
            (&[][..], CLUB, Some(NoConsent)),
            (&[(Revoke, CLUB)], CLUB, Some(NoConsent)),
            (&[(Revoke, "")], CLUB, Some(NoConsent)),
            (&[(Grant, OTHER)], CLUB, Some(NoConsentForThisRoom)),
            (&[(Grant, ""), (Revoke, CLUB)], CLUB, Some(NoConsentForThisRoom)),
            (&[(Grant, OTHER)], "", Some(NoConsent)),
            (&[(Grant, "")], CLUB, None),
            (&[(Grant, CLUB)], CLUB, None),
        ] {
            assert_eq!(refused(acts, scope, required), code, "{acts:?} {scope}");
        }
        let everybody = WhoMayAdd::Everybody;
        assert_eq!(refused(&[], CLUB, everybody), None);
        assert_eq!(refused(&[(Grant, OTHER)], CLUB, everybody), None);
        assert_eq!(refused(&[(Revoke, "")], CLUB, everybody), Some(NoConsent));
    }

    #[test]
    fn nothing_said_is_nothing() {
        assert_eq!(said(&[], CLUB), Nothing);
        assert_eq!(said(&[(Grant, OTHER)], CLUB), Nothing);
    }
}
