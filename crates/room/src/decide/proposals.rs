//! Proposals on their own: accepted together or not at all, in effect at once, and cached until they are committed.

use std::collections::BTreeSet;

use bytes::Bytes;
use mimi::Provider;
use mimi::mls::{Credential, ExternalSender, Message, Proposal, ProposalKind, ProposalView, Sender};
use openmls::prelude::{Proposal as MlsProposal, QueuedProposal};
use policy::{Actor, Capability, Change, Evidence, Stage, judge, preauth};

use crate::decision::ProposalsAppend;
use crate::group::codec::encode_queued;
use crate::group::{leaf_of, read_update, reference};
use crate::own::Proposed;
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
        let proposer = self.proposer(&messages)?;
        self.check_proposer(from, &proposer)?;
        for message in &messages {
            check_kind(&proposer, message)?;
        }
        let queued = messages
            .iter()
            .map(|message| self.group.verify_proposal(message))
            .collect::<Result<Vec<_>, _>>()?;
        let change = self.change_of(&proposer, &queued)?;
        self.check_external(&proposer, &queued)?;
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
            proposed: Proposed {
                from: from.clone(),
                kept: encode_queued(&queued).map_err(|_| Refusal::NotAllowed("proposals that cannot be kept"))?,
                messages,
                queued,
                change,
                effective,
            },
        })
    }

    /// A provider speaks for its own clients and its own entry among the external senders only.
    fn check_proposer(&self, from: &Provider, proposer: &Proposer) -> Result<(), Refusal> {
        let provider = match &proposer.actor {
            Actor::Sender(provider) => provider,
            Actor::Member(client) | Actor::Joiner(client) | Actor::Applicant(client) => client.provider(),
        };
        if provider != from {
            return Err(Refusal::Forbidden("the sender is of another provider"));
        }
        if let Actor::Applicant(client) = &proposer.actor
            && self.leaving.contains(&client.user())
        {
            return Err(Refusal::NotAllowed("a participant who asked to leave"));
        }
        Ok(())
    }

    /// Who sent these messages, by what they say; their signatures are verified elsewhere.
    ///
    /// # Errors
    /// Nobody whom the group knows, or several.
    pub(crate) fn proposer(&self, messages: &[Message]) -> Result<Proposer, Refusal> {
        let mut senders = messages.iter().map(|message| self.sender(message));
        let first = senders.next().ok_or(Refusal::Malformed("no proposals"))??;
        for other in senders {
            if other? != first {
                return Err(Refusal::NotAllowed("proposals of several senders in one bundle"));
            }
        }
        Ok(first)
    }

    fn sender(&self, message: &Message) -> Result<Proposer, Refusal> {
        let unnamed = Refusal::NotAllowed("a credential that names no client");
        match message.sender() {
            Some(Sender::Member(leaf)) => {
                let client = self.group.client(leaf);
                let client = client.ok_or(Refusal::NotAllowed("no client at the sender's leaf"))?;
                Ok(Proposer::client(Actor::Member(client)))
            }
            Some(Sender::External(index)) => {
                let sender = usize::try_from(index)
                    .ok()
                    .and_then(|index| self.group.senders().into_iter().nth(index))
                    .ok_or(Refusal::NotAllowed("an external sender that the group does not name"))?;
                let provider = sender
                    .credential
                    .provider()
                    .ok_or(Refusal::NotAllowed("an external sender that is no provider"))?;
                Ok(Proposer {
                    actor: Actor::Sender(provider),
                    credential: sender.credential,
                })
            }
            Some(Sender::NewMemberProposal) => {
                let Some(ProposalView::Add(package)) = message.proposal().map(Proposal::view) else {
                    return Err(Refusal::NotAllowed("a new member that does not propose its addition"));
                };
                let client = package.leaf.credential().client().map_err(|_| unnamed)?;
                Ok(Proposer::client(Actor::Applicant(client)))
            }
            _ => Err(Refusal::NotAllowed("a proposal of nobody who may send any")),
        }
    }

    /// External senders add, remove, and change the external senders: OpenMLS takes nothing else from them. Their role has
    /// to let them change how MLS is used in the room, and they name the hub and providers of participants only.
    fn check_external(&self, proposer: &Proposer, queued: &[QueuedProposal]) -> Result<(), Refusal> {
        let Actor::Sender(_) = &proposer.actor else {
            return Ok(());
        };
        let mut extensions = queued.iter().filter_map(|queued| match queued.proposal() {
            MlsProposal::GroupContextExtensions(proposal) => Some(proposal.extensions()),
            _ => None,
        });
        let Some(first) = extensions.next() else { return Ok(()) };
        if extensions.next().is_some() || self.pending.iter().any(Bundle::changes_extensions) {
            return Err(Refusal::NotAllowed(
                "two changes of the group's extensions in one epoch",
            ));
        }
        // Extensions come before components in a commit (mls-extensions §4.7), and clients keep the order of acceptance.
        if self.pending.iter().any(|bundle| !bundle.change.components.is_empty()) {
            return Err(Refusal::NotAllowed(
                "a change of the group's extensions after one of a component",
            ));
        }
        if !self.effective.outsider_can(
            &preauth::claims(&proposer.credential),
            Capability::ChangeMlsOperationalPolicies,
        ) {
            return Err(Refusal::NotAllowed("a change of the group's extensions"));
        }
        let senders = self.group.only_senders(first);
        let senders = senders.ok_or(Refusal::NotAllowed(
            "a change of other extensions than external_senders",
        ))?;
        let before = self.group.senders();
        let hub = |sender: &&ExternalSender| {
            sender
                .credential
                .provider()
                .is_some_and(|provider| provider == *self.id.provider())
        };
        if !before.iter().filter(hub).eq(senders.iter().filter(hub)) {
            return Err(Refusal::NotAllowed("external senders without the hub, or with another"));
        }
        let known = |sender: &ExternalSender| {
            before.contains(sender)
                || sender
                    .credential
                    .provider()
                    .is_some_and(|provider| self.effective.has_participants_of(&provider))
        };
        if !senders.iter().all(known) {
            return Err(Refusal::NotAllowed("an external sender without participants"));
        }
        Ok(())
    }

    /// What proposals want, whoever sent them in the name of `proposer`.
    ///
    /// # Errors
    /// A kind of proposal that this hub does not carry, or a client that is not there.
    pub(crate) fn change_of<'a>(
        &self,
        proposer: &Proposer,
        queued: impl IntoIterator<Item = &'a QueuedProposal>,
    ) -> Result<Change, Refusal> {
        let mut change = proposer.nothing();
        for queued in queued {
            match queued.proposal() {
                MlsProposal::Add(add) => {
                    let leaf = leaf_of(add.key_package().leaf_node())?;
                    change.adds.push(leaf.client.clone());
                    change.evidence.leaves.push(leaf);
                }
                MlsProposal::Remove(remove) => {
                    let client = self.group.client(remove.removed().u32());
                    change
                        .removes
                        .push(client.ok_or(Refusal::NotAllowed("no client at the leaf to be removed"))?);
                }
                MlsProposal::SelfRemove => change.removes.extend(change.actor.client().cloned()),
                MlsProposal::AppDataUpdate(update) => change.components.push(read_update(update)),
                MlsProposal::ExternalInit(_) if matches!(change.actor, Actor::Joiner(_)) => {}
                // Of no concern to the room's policy; see where it is accepted.
                MlsProposal::GroupContextExtensions(_) if matches!(change.actor, Actor::Sender(_)) => {}
                _ => return Err(Refusal::NotAllowed("a kind of proposal that this hub does not carry")),
            }
        }
        Ok(change)
    }
}

/// Who wants something, and by which credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proposer {
    pub(crate) actor: Actor,
    pub(crate) credential: Credential,
}

impl Proposer {
    /// A client; of a provider the credential is in external_senders.
    pub(crate) fn client(actor: Actor) -> Self {
        let identity = actor.client().map(|client| client.as_str().to_owned());
        Self {
            actor,
            credential: Credential::basic(identity.unwrap_or_default()),
        }
    }

    /// A change that changes nothing yet.
    pub(crate) fn nothing(&self) -> Change {
        Change {
            actor: self.actor.clone(),
            components: Vec::new(),
            removes: Vec::new(),
            adds: Vec::new(),
            authorized: false,
            evidence: Evidence {
                claims: preauth::claims(&self.credential),
                ..Evidence::default()
            },
        }
    }
}

/// Kinds of proposals that may come from outside the group (RFC 9420 §12.1.8); of these, OpenMLS takes not all.
fn check_kind(proposer: &Proposer, message: &Message) -> Result<(), Refusal> {
    let kind = message.proposal().map(Proposal::kind);
    let fits = match &proposer.actor {
        Actor::Sender(_) => matches!(
            kind,
            Some(ProposalKind::Add | ProposalKind::Remove | ProposalKind::GroupContextExtensions)
        ),
        _ => true,
    };
    if fits {
        Ok(())
    } else {
        Err(Refusal::NotAllowed(
            "a kind of proposal that this hub takes from no external sender",
        ))
    }
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
            if matches!(proposal.proposal(), MlsProposal::SelfRemove) == self_removes {
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
