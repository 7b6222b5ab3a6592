//! What a client needs to join by itself.

use bytes::Bytes;
use mimi::group_info::{GroupInfoRatchetTreeTbe, GroupInfoRequest, PendingProposal};
use mimi::{Encode as _, Provider};
use policy::{Capability, preauth};

use super::decode;
use crate::command::GroupInfoGrant;
use crate::decision::{Append, Appended, GrantAppend};
use crate::group::{Unverified, verify};
use crate::{Answer, Decision, Millis, Refusal, Room};

impl Room {
    /// Grants the GroupInfo to whom an external commit would be granted: a client of a participant who may add its own
    /// clients, of anybody in an open room, of who is preauthorized, or has a join code; and has room in its role. Who has
    /// a code is remembered: the commit will not name it.
    pub(super) fn decide_group_info(&self, from: &Provider, body: &Bytes, now: Millis) -> Result<Decision, Refusal> {
        let request: GroupInfoRequest = decode(body)?;
        let client = request.requesting_credential.client();
        let client = client.map_err(|_| Refusal::NotAllowed("a credential that names no client"))?;
        if client.provider() != from {
            return Err(Refusal::Forbidden("the joiner is a client of another provider"));
        }
        self.check_open()?;
        verify(
            request.cipher_suite,
            GroupInfoRequest::LABEL,
            &request.tbs(),
            &request.requesting_signature_key,
            &request.signature,
        )
        .map_err(|Unverified| Refusal::NotAllowed("the request is not signed by its key"))?;
        let user = client.user();
        let listed = self.effective.role_index(&user);
        let grant = match listed {
            Some(_) => None,
            None => self.grant(&client, &request, now),
        };
        let view = &self.effective;
        let may_join = match listed {
            Some(role) => {
                view.participates(&user)
                    && view.can(&user, Capability::AddOwnClient)
                    && view.has_room_for(&client, role)
            }
            None => {
                let role = grant.as_ref().and_then(|grant| self.role_by_code(&grant.code, now));
                role.is_some_and(|role| view.has_room_for(&client, role))
                    || view.lets_join(&client, &preauth::claims(&request.requesting_credential))
            }
        };
        if self.blocked.contains(&user) || !may_join || !self.external_commits_allowed() {
            return Err(Refusal::NotAllowed("joining by oneself"));
        }
        let pending = self.pending.iter().flat_map(|bundle| {
            bundle.messages.iter().map(|message| PendingProposal {
                proposal: message.clone(),
                hub_accepted_time: bundle.accepted.0,
            })
        });
        let content = GroupInfoRatchetTreeTbe {
            group_info: self.group_info.clone(),
            ratchet_tree: self.group.ratchet_tree(),
            pending_proposals: pending.collect(),
        };
        let answer = GroupInfoGrant {
            cipher_suite: request.cipher_suite,
            public_key: request.group_info_public_key,
            sealed: content.encode().into(),
        };
        match grant {
            Some(grant) if self.grants.get(&user) != Some(&grant) => {
                let what = Appended::Grant(GrantAppend { user, grant, answer });
                Ok(Decision::Append(Box::new(Append { now, what })))
            }
            _ => Ok(Decision::Answer(Answer::GroupInfo(answer))),
        }
    }
}
