//! Application messages.

use bytes::Bytes;
use mimi::app_data::SafeAad;
use mimi::mls::{ContentType, wire_format};
use mimi::submit::SubmitMessageRequest;
use mimi::{ComponentId, Decode as _, Provider};
use policy::Capability;

use super::decode;
use crate::decision::{Append, Appended, MessageAppend};
use crate::room::EPOCH_TOLERANCE;
use crate::{Answer, Decision, Digest, Millis, Refusal, Room};

impl Room {
    pub(super) fn decide_submit(&self, from: &Provider, body: &Bytes, now: Millis) -> Result<Decision, Refusal> {
        let request: SubmitMessageRequest = decode(body)?;
        let user = request
            .sending_uri
            .user()
            .map_err(|_| Refusal::Malformed("the sending URI"))?;
        if user.provider() != from {
            return Err(Refusal::Forbidden("the sender is a user of another provider"));
        }
        let message = request.app_message;
        let digest = Digest::of(message.octets());
        if let Some(first) = self.first_answer(&digest) {
            return Ok(Decision::Answer(Answer::Submit(first)));
        }
        self.check_open()?;
        let application = message.wire_format() == wire_format::PRIVATE_MESSAGE
            && message.content_type() == Some(ContentType::Application);
        let Some((group_id, epoch)) = message.group_id().zip(message.epoch()).filter(|_| application) else {
            return Err(Refusal::NotAllowed("not an application message"));
        };
        if *group_id != self.group.id() {
            return Err(Refusal::NotAllowed("a message of another group"));
        }
        self.check_acts(&user)?;
        if !self.effective.is_active(&user) || !self.effective.can(&user, Capability::SendMessage) {
            return Err(Refusal::NotAllowed("sending messages"));
        }
        self.check_message_epoch(epoch)?;
        let components = self.committed.dictionary();
        let data = message.authenticated_data().map(|data| &**data).unwrap_or_default();
        if components.component(ComponentId::SAFE_AAD).is_some() && SafeAad::decode_exact(data).is_err() {
            return Err(Refusal::NotAllowed("authenticated data that is not SafeAAD"));
        }
        let frank = self.frank_wanted(data, request.sending_uri);
        let what = Appended::Message(MessageAppend {
            request: digest,
            message,
            frank,
        });
        Ok(Decision::Append(Box::new(Append { now, what })))
    }

    fn check_message_epoch(&self, epoch: u64) -> Result<(), Refusal> {
        let current = self.head.epoch;
        if epoch > current.0 {
            return Err(Refusal::NotAllowed("a message of an epoch to come"));
        }
        let operational = self.committed.operational();
        let tolerance = operational.map_or(EPOCH_TOLERANCE, |operational| {
            operational.app_message_policy.epoch_tolerance.into()
        });
        if epoch < current.0.saturating_sub(tolerance) {
            return Err(Refusal::EpochTooOld { current });
        }
        Ok(())
    }
}
