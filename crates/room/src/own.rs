//! What the hub itself proposes, as one of the room's external senders (mimi-protocol §7.4). It proposes at the beginning
//! of an epoch, when a commit made something due:
//!
//! * external_senders follow the providers in the room: one whose first client came in is added, when its key is known;
//!   one whose last participant left is taken out. The room's membership decides this, so it needs no role.
//! * Clients of users who left the room's parent are removed (mimi-room-policy §5), when the hub hears of it and as long as
//!   they are there.
//! * Clients of users who asked to leave are removed where an external commit voided what they proposed and the hub's
//!   preauthorized role lets it (its policy enforcer, mimi-room-policy §4). It is no privilege of the hub.
//!
//! A hub without keys, or that the room does not name, proposes nothing; nor does any hub in a room that takes no external
//! proposals, where an entry that stays is without power.

use std::collections::BTreeSet;

use bytes::Bytes;
use mimi::mls::{ExternalSender, Message};
use mimi::{Provider, UserUri};
use openmls::group::QueuedProposal;
use policy::{Actor, Change, RoomView};

use crate::decide::proposals::Proposer;
use crate::group::codec::encode_queued;
use crate::group::senders::remove;
use crate::room::PENDING_MAX;
use crate::{Keys, Room};

/// Proposals that were verified and judged, and wait for a commit from now on.
#[derive(Debug)]
pub(crate) struct Proposed {
    pub(crate) from: Provider,
    pub(crate) messages: Vec<Message>,
    pub(crate) queued: Vec<QueuedProposal>,
    /// `queued` as it is kept.
    pub(crate) kept: Bytes,
    pub(crate) change: Change,
    pub(crate) effective: RoomView,
}

impl Room {
    /// What the hub proposes at the beginning of an epoch, all in one bundle; nothing else is pending yet.
    pub(crate) fn own_proposals(&self, keys: &dyn Keys) -> Option<Proposed> {
        let senders = self.group.senders();
        let mut proposals = Vec::new();
        let due = self.senders_due(&senders, keys);
        if due != senders {
            proposals.extend(self.group.propose_senders(&due));
        }
        self.propose(proposals, self.leaving.union(&self.orphans), keys)
    }

    /// What the hub proposes when these users left the room's parent, behind whatever is pending.
    pub(crate) fn orphans_removed<'a>(
        &self,
        orphans: impl IntoIterator<Item = &'a UserUri>,
        keys: &dyn Keys,
    ) -> Option<Proposed> {
        self.propose(Vec::new(), orphans, keys)
    }

    /// The hub's proposals and the removal of these users, in one bundle; `None` if there is nothing, or nothing that the
    /// room takes from its hub.
    fn propose<'a>(
        &self,
        mut proposals: Vec<Vec<u8>>,
        gone: impl IntoIterator<Item = &'a UserUri>,
        keys: &dyn Keys,
    ) -> Option<Proposed> {
        let operational = self.committed.operational();
        let closed = self.frozen.is_some() || self.over;
        if operational.is_some_and(|operational| !operational.external_proposal_allowed) || closed {
            return None;
        }
        let hub = keys.hub(self.group.suite())?;
        let index = self.group.senders().iter().position(|sender| *sender == hub)?;
        let index = u32::try_from(index).ok()?;
        let proposer = Proposer {
            actor: Actor::Sender(self.id.provider().clone()),
            credential: hub.credential,
        };
        let mut change = proposer.nothing();
        for user in gone {
            self.removals_due(user, &mut change, &mut proposals);
        }
        let messages = proposals
            .iter()
            .map(|proposal| self.group.frame(index, proposal, keys))
            .collect::<Option<Vec<_>>>()?;
        let queued = messages
            .iter()
            .map(|message| self.group.verify_proposal(message).ok())
            .collect::<Option<Vec<_>>>()?;
        if queued.is_empty() {
            return None;
        }
        Some(Proposed {
            from: self.id.provider().clone(),
            kept: encode_queued(&queued).ok()?,
            effective: self.effective_with(Some(&change)).ok()?,
            messages,
            queued,
            change,
        })
    }

    /// The external senders as they should be: the hub, each provider in the room whose key is known, and whoever is no
    /// provider.
    fn senders_due(&self, senders: &[ExternalSender], keys: &dyn Keys) -> Vec<ExternalSender> {
        let suite = self.group.suite();
        let active = self.committed.providers();
        let named: BTreeSet<Provider> = senders.iter().filter_map(|each| each.credential.provider()).collect();
        let stays = |sender: &&ExternalSender| {
            sender.credential.provider().is_none_or(|provider| {
                provider == *self.id.provider()
                    || active.contains(&provider)
                    || self.committed.has_participants_of(&provider)
            })
        };
        let newcomers = active
            .iter()
            .filter(|each| **each != self.id.provider() && !named.contains(**each));
        senders
            .iter()
            .filter(stays)
            .cloned()
            .chain(newcomers.filter_map(|provider| keys.follower(provider, suite)))
            .collect()
    }

    /// Adds the removal of all clients of a user, if the hub may remove them.
    fn removals_due(&self, user: &UserUri, change: &mut Change, proposals: &mut Vec<Vec<u8>>) {
        let clients: Vec<_> = self.effective.clients(user).cloned().collect();
        let leaves: Option<Vec<u32>> = clients.iter().map(|client| self.group.leaf_of_client(client)).collect();
        let pending: usize = self.pending.iter().map(|bundle| bundle.messages.len()).sum();
        let fits = |leaves: &Vec<u32>| {
            let own = proposals.len() + leaves.len();
            own <= PENDING_MAX / 2 && pending + own <= PENDING_MAX
        };
        let Some(leaves) = leaves.filter(fits) else {
            return;
        };
        let mut wider = change.clone();
        wider.removes.extend(clients);
        if self.effective_with(Some(&wider)).is_ok() {
            *change = wider;
            proposals.extend(leaves.into_iter().map(remove));
        }
    }
}
