//! Proposals on their own: accepted together or not at all, in effect at once, and cached until they are committed.

use std::collections::BTreeSet;

use bytes::Bytes;
use mimi::mls::{Credential, LeafNode, LeafNodeView, Message, Sender};
use mimi::{ClientUri, Decode as _, Provider};
use openmls::prelude::tls_codec::Serialize as _;
use openmls::prelude::{Proposal, QueuedProposal, Sender as MlsSender};
use policy::{Actor, Change, Evidence, Leaf, Stage, judge, preauth};

use crate::decision::ProposalsAppend;
use crate::group::codec::encode_queued;
use crate::group::{client_of, read_update, reference};
use crate::room::{Bundle, PENDING_MAX};
use crate::{Digest, Millis, Refusal, Room};

impl Room {
    pub(super) fn decide_proposals(
        &self,
        from: &Provider,
        request: Digest,
        messages: Vec<Message>,
    ) -> Result<ProposalsAppend, Refusal> {
        let pending: usize = self.pending.iter().map(|bundle| bundle.messages.len()).sum();
        if pending + messages.len() > PENDING_MAX {
            return Err(Refusal::NotAllowed("too many pending proposals"));
        }
        self.check_senders(from, &messages)?;
        let queued = messages
            .iter()
            .map(|message| self.group.verify_proposal(message))
            .collect::<Result<Vec<_>, _>>()?;
        let change = self.change_of_members(&queued)?;
        let user = change.actor.user();
        let only_goes = change.components.is_empty()
            && change.adds.is_empty()
            && change.removes.iter().all(|client| Some(client.user()) == user);
        if user.is_some_and(|user| self.blocked.contains(&user)) && !only_goes {
            return Err(Refusal::NotAllowed("a participant whose removal or ban was accepted"));
        }
        let changes: Vec<Change> = self
            .pending
            .iter()
            .map(|bundle| &bundle.change)
            .chain([&change])
            .cloned()
            .collect();
        let effective = judge(&self.committed, &changes, Stage::Proposed).map_err(|violation| {
            if violation.is_invalid() {
                Refusal::InvalidProposal {
                    proposals: queued.iter().map(reference).collect(),
                    why: violation.why(),
                }
            } else {
                Refusal::NotAllowed(violation.why())
            }
        })?;
        Ok(ProposalsAppend {
            request,
            from: from.clone(),
            kept: encode_queued(&queued).map_err(|_| Refusal::NotAllowed("proposals that cannot be kept"))?,
            messages,
            queued,
            change,
            effective,
        })
    }

    /// A provider speaks for its own clients only.
    fn check_senders(&self, from: &Provider, messages: &[Message]) -> Result<(), Refusal> {
        for message in messages {
            match message.sender() {
                Some(Sender::Member(leaf)) => {
                    let client = self
                        .group
                        .client(leaf)
                        .ok_or(Refusal::NotAllowed("no client at the sender's leaf"))?;
                    if client.provider() != from {
                        return Err(Refusal::Forbidden("the sender is a client of another provider"));
                    }
                }
                _ => return Err(Refusal::NotAllowed("a proposal from outside the group")),
            }
        }
        Ok(())
    }

    /// What the proposals of one member want.
    pub(crate) fn change_of_members(&self, queued: &[QueuedProposal]) -> Result<Change, Refusal> {
        let mut actors = queued.iter().map(|queued| match queued.sender() {
            MlsSender::Member(leaf) => self.group.client(leaf.u32()),
            _ => None,
        });
        let nobody = Refusal::NotAllowed("a proposal of nobody in the group");
        let actor = actors.next().flatten().ok_or(nobody)?;
        if actors.any(|other| other.as_ref() != Some(&actor)) {
            return Err(Refusal::NotAllowed("proposals of several clients in one bundle"));
        }
        self.change_of(Actor::Member(actor), queued)
    }

    /// What proposals want, whoever sent them in the name of `actor`.
    ///
    /// # Errors
    /// A kind of proposal that this hub does not carry, or a client that is not there.
    pub(super) fn change_of<'a>(
        &self,
        actor: Actor,
        queued: impl IntoIterator<Item = &'a QueuedProposal>,
    ) -> Result<Change, Refusal> {
        let credential = actor
            .client()
            .map(|client| Credential::basic(client.as_str().to_owned()));
        let mut change = Change {
            evidence: Evidence {
                claims: credential.as_ref().map(preauth::claims).unwrap_or_default(),
                ..Evidence::default()
            },
            actor,
            components: Vec::new(),
            removes: Vec::new(),
            adds: Vec::new(),
            authorized: false,
        };
        for queued in queued {
            match queued.proposal() {
                Proposal::Add(add) => {
                    let client = client_of(add.key_package().leaf_node().credential());
                    let client = client.ok_or(Refusal::NotAllowed("a credential that names no client"))?;
                    let unreadable = Refusal::NotAllowed("a leaf that cannot be read");
                    let octets = add.key_package().leaf_node().tls_serialize_detached();
                    let leaf = octets.ok().and_then(|octets| LeafNode::decode_exact(&octets).ok());
                    let leaf = leaf_of(&client, &leaf.ok_or(unreadable)?.view())?;
                    change.evidence.leaves.push(leaf);
                    change.adds.push(client);
                }
                Proposal::Remove(remove) => {
                    let client = self.group.client(remove.removed().u32());
                    change
                        .removes
                        .push(client.ok_or(Refusal::NotAllowed("no client at the leaf to be removed"))?);
                }
                Proposal::SelfRemove => change.removes.extend(change.actor.client().cloned()),
                Proposal::AppDataUpdate(update) => change.components.push(read_update(update)),
                Proposal::ExternalInit(_) if matches!(change.actor, Actor::Joiner(_)) => {}
                _ => return Err(Refusal::NotAllowed("a kind of proposal that this hub does not carry")),
            }
        }
        Ok(change)
    }
}

/// What a leaf says of its client.
pub(super) fn leaf_of(client: &ClientUri, leaf: &LeafNodeView<'_>) -> Result<Leaf, Refusal> {
    Leaf::of(client.clone(), leaf).map_err(|violation| Refusal::NotAllowed(violation.why()))
}

/// Proposals as they wait.
pub(crate) fn bundle(
    from: Provider,
    accepted: Millis,
    messages: Vec<Message>,
    queued: &[QueuedProposal],
    kept: Bytes,
    change: Change,
) -> Bundle {
    let of = |self_removes: bool| -> BTreeSet<Bytes> {
        let mut proposals = queued.iter();
        let mut references = BTreeSet::new();
        for proposal in proposals.by_ref() {
            if matches!(proposal.proposal(), Proposal::SelfRemove) == self_removes {
                references.insert(reference(proposal));
            }
        }
        references
    };
    Bundle {
        from,
        accepted,
        messages,
        kept,
        references: of(false),
        self_removes: of(true),
        change,
    }
}
