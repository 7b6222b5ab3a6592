//! Join codes (mimi-protocol §5.6, mimi-room-policy §5.2 and §8.1): what lets its bearer join by itself, and what the hub
//! remembers of whom it let see the group by one.
//!
//! A code is one of the room's links (component join_links), octet for octet, that reads as a [`JoinCode`].
//!
//! An external commit does not name the code. So the hub remembers who was given the group's information by which, and
//! takes the external commit of that user and signature key. A code for one user is the first one's who is given the
//! information by it, as long as it is listed. By a code for several, each has to ask in the epoch in which it joins.

use bytes::Bytes;
use mimi::group_info::GroupInfoRequest;
use mimi::policy::{JoinCode, JoinLinkPolicy, JoinLinks};
use mimi::{
    AppDataDictionary, AppDataOperation, AppDataUpdate, ClientUri, ComponentId, Decode as _, Encode as _, Participant,
    ParticipantListUpdate, UserUri,
};
use policy::{Actor, Change, Evidence, RoomView, Stage, judge, preauth};

use crate::{Digest, Millis, Refusal, Room};

/// How many users may be remembered at once.
pub const GRANTS_MAX: usize = 1_024;

/// By what a user was given the group's information.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Grant {
    /// Of the code.
    pub(crate) code: Digest,
    /// SignaturePublicKey of the client that asked.
    pub(crate) key: Bytes,
}

impl Room {
    /// What is to be remembered of a user outside the room whose client asks with a code; `None` where the code does not
    /// let it in.
    pub(crate) fn grant(&self, client: &ClientUri, request: &GroupInfoRequest, now: Millis) -> Option<Grant> {
        let user = client.user();
        let grant = Grant {
            code: Digest::of(request.joining_code.as_ref()?),
            key: request.requesting_signature_key.clone(),
        };
        let role = self.role_by_code(&grant.code, now)?;
        let mut others = self.grants.iter().filter(|(other, _)| **other != user);
        let full = self.grants.len() >= GRANTS_MAX && !self.grants.contains_key(&user);
        if full || !self.codes_serve_several() && others.any(|(_, other)| other.code == grant.code) {
            return None;
        }
        let joins = Change {
            actor: Actor::Joiner(client.clone()),
            components: vec![addition(&user, role)],
            removes: Vec::new(),
            adds: Vec::new(),
            authorized: false,
            evidence: Evidence {
                claims: preauth::claims(&request.requesting_credential),
                join_code: Some(role),
                leaves: Vec::new(),
            },
        };
        judge(&self.committed, &[joins], Stage::Proposed).ok()?;
        Some(grant)
    }

    /// The role into which a user may join who signs with `key`, by the code with which it asked before.
    pub(crate) fn role_granted(&self, user: &UserUri, key: &[u8], now: Millis) -> Option<u32> {
        let grant = self.grants.get(user).filter(|grant| *grant.key == *key)?;
        self.role_by_code(&grant.code, now)
    }

    /// Users whose grants end with the epoch.
    pub(crate) fn grants_over(&self) -> Vec<UserUri> {
        let several = self.codes_serve_several();
        let listed = |code: &Digest| links(self.committed.dictionary()).any(|link| Digest::of(&link) == *code);
        let over = self.grants.iter().filter(|(_, grant)| several || !listed(&grant.code));
        over.map(|(user, _)| user.clone()).collect()
    }

    /// New codes last no longer than the room's policy lets them.
    pub(crate) fn check_new_links(&self, after: &RoomView, now: Millis) -> Result<(), Refusal> {
        let Some(policy) = policy(after) else { return Ok(()) };
        let latest = now.0.saturating_add(u64::from(policy.expiration) * 1_000);
        let known = |link: &Bytes| links(self.effective.dictionary()).any(|each| each == *link);
        let mut new = links(after.dictionary()).filter(|link| !known(link));
        if new.any(|link| JoinCode::read(&link).is_some_and(|code| end(&code).0 > latest)) {
            return Err(Refusal::NotAllowed(
                "a join code that lasts longer than the room lets it",
            ));
        }
        Ok(())
    }

    /// The role to which a code leads: its addition is committed, and its removal not even proposed.
    pub(crate) fn role_by_code(&self, code: &Digest, now: Millis) -> Option<u32> {
        let link = |view: &RoomView| links(view.dictionary()).find(|link| Digest::of(link) == *code);
        link(&self.effective)?;
        let code = JoinCode::read(&link(&self.committed)?)?;
        (end(&code) > now).then_some(code.role)
    }

    fn codes_serve_several(&self) -> bool {
        policy(&self.committed).is_some_and(|policy| policy.multiuser)
    }
}

fn end(code: &JoinCode) -> Millis {
    Millis(code.until.saturating_mul(1_000))
}

fn policy(view: &RoomView) -> Option<JoinLinkPolicy> {
    JoinLinkPolicy::decode_exact(view.dictionary().component(ComponentId::JOIN_LINK_POLICY)?).ok()
}

fn links(dictionary: &AppDataDictionary) -> impl Iterator<Item = Bytes> + use<> {
    let links = dictionary.component(ComponentId::JOIN_LINKS);
    let links = links.and_then(|octets| JoinLinks::decode_exact(octets).ok());
    links
        .into_iter()
        .flat_map(|links| links.links)
        .map(|link| link.join_link)
}

/// AppDataUpdate that puts a user into the list.
fn addition(user: &UserUri, role: u32) -> AppDataUpdate {
    let update = ParticipantListUpdate {
        added: vec![Participant {
            user: user.into(),
            role,
        }],
        ..ParticipantListUpdate::default()
    };
    AppDataUpdate {
        component: ComponentId::PARTICIPANT_LIST,
        operation: AppDataOperation::Update(update.encode().into()),
    }
}
