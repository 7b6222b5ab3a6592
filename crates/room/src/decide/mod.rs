//! What becomes of a command. Nothing here changes the room.

mod commit;
mod group_info;
mod key_material;
pub(crate) mod proposals;
mod report;
mod submit;

use bytes::Bytes;
use mimi::mls::{Body, Message, wire_format};
use mimi::update::{HandshakeBundle, UpdateRequest};
use mimi::{ClientUri, Decode, Provider, UserUri};
use policy::preauth;

use crate::command::request_digest;
use crate::decision::{Append, Appended};
use crate::{Answer, Command, Decision, Digest, Keys, Millis, Refusal, Room};

/// Decodes a body, or says what is wrong with it.
fn decode<T: Decode>(body: &Bytes) -> Result<T, Refusal> {
    T::decode_shared(body).map_err(|error| Refusal::Malformed(error.reason()))
}

impl Room {
    /// What becomes of `command` at `now`. Changes nothing.
    ///
    /// # Errors
    /// The refusal to answer.
    pub fn decide(&self, command: &Command, now: Millis, keys: &dyn Keys) -> Result<Decision, Refusal> {
        match command {
            Command::Update { from, body } => self.decide_update(from, body, now, keys),
            Command::Submit { from, body } => self.decide_submit(from, body, now),
            Command::GroupInfo { from, body } => self.decide_group_info(from, body, now),
            Command::ReportAbuse { from, body } => self.decide_report(from, body),
            Command::AuthorizeKeyMaterial { from, body } => self.authorize_key_material(from, body),
            Command::RecordKeyMaterial {
                from,
                request,
                target,
                response,
            } => self.record_key_material(from, request, target, response, now),
        }
    }

    fn decide_update(&self, from: &Provider, body: &Bytes, now: Millis, keys: &dyn Keys) -> Result<Decision, Refusal> {
        let request = request_digest(from, body);
        // Before the epoch: the answer to a commit that was accepted and not heard of is not wrongEpoch.
        if let Some(first) = self.answers.first(&request) {
            return Ok(Decision::Answer(Answer::Update(first.body.clone())));
        }
        let UpdateRequest { bundle } = decode(body)?;
        if !self.is_expected(&bundle) {
            self.check_known(from)?;
        }
        self.check_open()?;
        for message in bundle.messages() {
            self.check_frame(message)?;
        }
        let what = match bundle {
            HandshakeBundle::Commit { .. } => {
                Appended::Commit(Box::new(self.decide_commit(from, request, bundle, now)?))
            }
            HandshakeBundle::Proposals { proposals } => {
                Appended::Proposals(self.decide_proposals(from, request, proposals)?)
            }
        };
        if let Some(after) = what.view() {
            self.check_new_agent(after.dictionary(), keys)?;
            self.check_new_links(after, now)?;
        }
        Ok(Decision::Append(Box::new(Append { now, what })))
    }

    /// A provider without participants learns nothing of the room, not even its epoch, unless anybody may join.
    fn check_known(&self, from: &Provider) -> Result<(), Refusal> {
        if self.followers.contains_key(from) || self.effective.lists_users_of(from) || self.effective.is_open() {
            return Ok(());
        }
        Err(Refusal::NotAllowed("a provider without participants"))
    }

    /// Whether a bundle is an external commit of somebody who may come in: by its credential, or by the code with which it
    /// asked.
    fn is_expected(&self, bundle: &HandshakeBundle) -> bool {
        let HandshakeBundle::Commit { commit, .. } = bundle else {
            return false;
        };
        let leaf = commit.commit().and_then(|commit| commit.leaf.as_ref());
        leaf.is_some_and(|leaf| {
            let credential = leaf.view().credential();
            let granted = |client: ClientUri| self.grants.contains_key(&client.user());
            self.effective.lets_in(&preauth::claims(&credential)) || credential.client().is_ok_and(granted)
        })
    }

    /// Handshakes are in the clear, in a format that the room lists, of this group and of this epoch. A room may list
    /// SemiPrivateMessage, but no message in it can be checked: OpenMLS does not read the format.
    fn check_frame(&self, message: &Message) -> Result<(), Refusal> {
        let public = message.public().ok_or(match message.body() {
            Body::SemiPrivate(_) => Refusal::NotAllowed("a SemiPrivateMessage, which this hub cannot read"),
            _ => Refusal::NotAllowed("a handshake that is not a PublicMessage"),
        })?;
        if !self.committed.allows_handshake(wire_format::PUBLIC_MESSAGE) {
            return Err(Refusal::NotAllowed(
                "a handshake in a format that the room does not list",
            ));
        }
        if public.group_id != self.group.id() {
            return Err(Refusal::NotAllowed("a message of another group"));
        }
        if public.epoch != self.head.epoch.0 {
            return Err(Refusal::WrongEpoch {
                current: self.head.epoch,
            });
        }
        Ok(())
    }

    /// Nothing is accepted once a ReInit was committed, or the room is over.
    fn check_open(&self) -> Result<(), Refusal> {
        self.check_lasts()?;
        match self.frozen {
            Some(_) => Err(Refusal::NotAllowed("the room goes on in another group")),
            None => Ok(()),
        }
    }

    pub(crate) fn check_lasts(&self) -> Result<(), Refusal> {
        if self.over {
            return Err(Refusal::NotAllowed("the room is over"));
        }
        Ok(())
    }

    /// Whether a user may act in the room: in the list by what was accepted so far, and not on the way out.
    fn check_acts(&self, user: &UserUri) -> Result<(), Refusal> {
        if !self.effective.participates(user) {
            return Err(Refusal::NotAllowed("not a participant"));
        }
        if self.blocked.contains(user) {
            return Err(Refusal::NotAllowed("a participant whose removal or ban was accepted"));
        }
        if self.leaving.contains(user) {
            return Err(Refusal::NotAllowed("a participant who asked to leave"));
        }
        Ok(())
    }

    fn first_answer(&self, request: &Digest) -> Option<Bytes> {
        self.answers.first(request).map(|kept| kept.body.clone())
    }
}
