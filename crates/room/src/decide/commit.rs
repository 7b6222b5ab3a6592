//! Commits: the first of an epoch that keeps every rule begins the next one.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use mimi::mls::{Commit, Message, ProposalView, Sender, Welcome};
use mimi::update::HandshakeBundle;
use mimi::{ClientUri, Provider};
use openmls::prelude::ProposalOrRefType;
use openmls::prelude::{Proposal, QueuedProposal, StagedCommit};
use policy::{Actor, Capability, Change, Evidence, RoomView, Stage, judge};

use super::proposals::Proposer;
use crate::decision::CommitAppend;
use crate::group::codec::encode_delta;
use crate::group::{added, dictionary_after, leaf_of};
use crate::room::CLIENTS_MAX;
use crate::{Digest, Millis, Refusal, Room};

impl Room {
    pub(super) fn decide_commit(
        &self,
        from: &Provider,
        request: Digest,
        bundle: HandshakeBundle,
        now: Millis,
    ) -> Result<CommitAppend, Refusal> {
        let HandshakeBundle::Commit {
            commit: message,
            welcome,
            group_info,
            ratchet_tree,
        } = bundle
        else {
            return Err(Refusal::Malformed("not a commit"));
        };
        let commit = message.commit().ok_or(Refusal::Malformed("not a commit"))?;
        let actor = self.committer(from, &message, commit)?;
        self.check_references(&actor, commit)?;
        let staged = self.group.stage(&message)?;
        let committer = self.committer_leaf(&actor, &message, &staged)?;
        let successor = self.successor(&actor, commit)?;
        let after = match successor {
            Some(_) => self.committed.clone(),
            None => self.judge_commit(&actor, commit, &staged, now)?,
        };
        let group_info = self.group.check_group_info(&group_info, &staged, &message, committer)?;
        self.group.check_tree(&ratchet_tree, &staged)?;
        let welcomed = self.check_welcome(welcome.as_ref(), &staged)?;
        let (delta, dictionary) =
            encode_delta(&staged).map_err(|_| Refusal::NotAllowed("a commit that cannot be kept"))?;
        Ok(CommitAppend {
            request,
            commit: message,
            group_info,
            welcome,
            welcomed,
            staged,
            delta,
            dictionary,
            after,
            joiner: match &actor {
                Actor::Joiner(client) => Some(client.user()),
                _ => None,
            },
            successor,
        })
    }

    /// Who commits, as the message says; its signature is verified later. A provider speaks for its own clients only.
    fn committer(&self, from: &Provider, message: &Message, commit: &Commit) -> Result<Actor, Refusal> {
        let actor = match message.sender() {
            Some(Sender::Member(leaf)) => {
                let client = self.group.client(leaf);
                Actor::Member(client.ok_or(Refusal::NotAllowed("no client at the sender's leaf"))?)
            }
            Some(Sender::NewMemberCommit) => {
                let leaf = commit
                    .leaf
                    .as_ref()
                    .ok_or(Refusal::NotAllowed("an external commit without path"))?;
                let client = leaf.view().credential().client();
                Actor::Joiner(client.map_err(|_| Refusal::NotAllowed("a credential that names no client"))?)
            }
            _ => return Err(Refusal::NotAllowed("a commit from outside the group")),
        };
        let client = actor
            .client()
            .ok_or(Refusal::NotAllowed("a commit from outside the group"))?;
        if client.provider() != from {
            return Err(Refusal::Forbidden("the committer is a client of another provider"));
        }
        let user = client.user();
        match actor {
            Actor::Member(_) => self.check_acts(&user)?,
            _ => {
                if self.blocked.contains(&user) {
                    return Err(Refusal::NotAllowed("a participant whose removal or ban was accepted"));
                }
                if !self.external_commits_allowed() {
                    return Err(Refusal::NotAllowed("external commits are not allowed in this room"));
                }
            }
        }
        Ok(actor)
    }

    pub(super) fn external_commits_allowed(&self) -> bool {
        let operational = self.committed.operational();
        operational.is_none_or(|operational| operational.external_commit_allowed)
    }

    /// A member's commit holds everything pending; an external one every SelfRemove, and nothing else by reference.
    fn check_references(&self, actor: &Actor, commit: &Commit) -> Result<(), Refusal> {
        let named: BTreeSet<&Bytes> = commit.references().collect();
        let pending: BTreeSet<&Bytes> = match actor {
            Actor::Member(_) => {
                let bundles = self.pending.iter();
                bundles
                    .flat_map(|bundle| bundle.references.iter().chain(&bundle.self_removes))
                    .collect()
            }
            _ => self.pending.iter().flat_map(|bundle| &bundle.self_removes).collect(),
        };
        if !pending.is_subset(&named) {
            return Err(Refusal::NotAllowed("pending-proposals"));
        }
        if !named.is_subset(&pending) {
            return Err(Refusal::NotAllowed("a reference to a proposal that is not pending"));
        }
        Ok(())
    }

    /// The committer's leaf, whose client stays the same.
    fn committer_leaf(&self, actor: &Actor, message: &Message, staged: &StagedCommit) -> Result<u32, Refusal> {
        if let Some(leaf) = staged.update_path_leaf_node() {
            let leaf = leaf_of(leaf)?;
            if Some(&leaf.client) != actor.client() {
                return Err(Refusal::NotAllowed("a commit that gives its sender another name"));
            }
            self.committed
                .check_credential(leaf.credential_type)
                .map_err(|violation| Refusal::NotAllowed(violation.why()))?;
        }
        match message.sender() {
            Some(Sender::Member(leaf)) => Ok(leaf),
            _ => self
                .group
                .joiner_leaf(staged)
                .ok_or(Refusal::NotAllowed("no leaf for the joiner")),
        }
    }

    /// The group that a ReInit names. It stands alone in its commit, and closes the room.
    fn successor(&self, actor: &Actor, commit: &Commit) -> Result<Option<Bytes>, Refusal> {
        let mut named = commit.values().filter_map(|proposal| match proposal.view() {
            ProposalView::ReInit { group_id } => Some(Bytes::copy_from_slice(group_id)),
            _ => None,
        });
        let Some(successor) = named.next() else { return Ok(None) };
        if commit.proposals.len() > 1 {
            return Err(Refusal::NotAllowed("a ReInit beside other proposals"));
        }
        let may = |user| self.effective.can(&user, Capability::SendMlsReinitProposal);
        if !actor.user().is_some_and(may) {
            return Err(Refusal::NotAllowed("a ReInit"));
        }
        Ok(Some(successor))
    }

    /// What the commit makes of the room, if its rules let it.
    fn judge_commit(
        &self,
        actor: &Actor,
        commit: &Commit,
        staged: &StagedCommit,
        now: Millis,
    ) -> Result<RoomView, Refusal> {
        let values: Vec<&QueuedProposal> = staged
            .queued_proposals()
            .filter(|queued| queued.proposal_or_ref_type() == ProposalOrRefType::Proposal)
            .collect();
        if values
            .iter()
            .any(|queued| matches!(queued.proposal(), Proposal::SelfRemove))
        {
            return Err(Refusal::NotAllowed("a SelfRemove by value"));
        }
        let mut own = self.change_of(&Proposer::client(actor.clone()), values)?;
        let mut changes: Vec<Change> = match actor {
            Actor::Member(_) => self.pending.iter().map(|bundle| bundle.change.clone()).collect(),
            Actor::Joiner(joiner) => {
                own.adds.push(joiner.clone());
                let key = commit.leaf.as_ref().map(|leaf| leaf.view().signature_key);
                own.evidence.join_code = key.and_then(|key| self.role_granted(&joiner.user(), key, now));
                let leaf = staged.update_path_leaf_node().map(leaf_of).transpose()?;
                own.evidence.leaves.extend(leaf);
                self.departures().collect()
            }
            _ => return Err(Refusal::NotAllowed("a commit from outside the group")),
        };
        changes.push(own);
        let after = judge(&self.committed, &changes, Stage::Committed)
            .map_err(|violation| Refusal::NotAllowed(violation.why()))?;
        if after.client_count() > CLIENTS_MAX {
            return Err(Refusal::NotAllowed("too many clients"));
        }
        // The commit names its proposals in its own order, and that is the order in which users were appended.
        after
            .with_dictionary(dictionary_after(staged))
            .map_err(|violation| Refusal::NotAllowed(violation.why()))
    }

    /// The SelfRemoves that are pending: they were accepted, and stay when an external commit voids what came with them.
    fn departures(&self) -> impl Iterator<Item = Change> {
        let leavers = self.pending.iter().filter(|bundle| !bundle.self_removes.is_empty());
        leavers.map(|bundle| Change {
            actor: bundle.change.actor.clone(),
            components: Vec::new(),
            removes: bundle.change.actor.client().cloned().into_iter().collect(),
            adds: Vec::new(),
            authorized: true,
            evidence: Evidence::default(),
        })
    }

    /// Each added client is welcomed, and nobody else; gives where each KeyPackage came from.
    fn check_welcome(
        &self,
        welcome: Option<&Welcome>,
        staged: &StagedCommit,
    ) -> Result<Vec<(Bytes, Provider)>, Refusal> {
        let added: BTreeMap<Bytes, Option<ClientUri>> = added(staged).into_iter().collect();
        let welcomed: BTreeSet<&[u8]> = welcome.into_iter().flat_map(Welcome::key_package_refs).collect();
        if !welcomed.iter().copied().eq(added.keys().map(|reference| &**reference)) {
            return Err(Refusal::NotAllowed("a Welcome for each added client and nobody else"));
        }
        if welcome.is_some_and(|welcome| added.is_empty() || welcome.cipher_suite() != self.group.suite()) {
            return Err(Refusal::NotAllowed("a Welcome for each added client and nobody else"));
        }
        added
            .into_iter()
            .map(|(reference, client)| {
                let routed = self.routes.get(&reference).map(|route| route.provider.clone());
                let provider = routed.or_else(|| client.map(|client| client.provider().clone()));
                let provider = provider.ok_or(Refusal::NotAllowed("a credential that names no client"))?;
                Ok((reference, provider))
            })
            .collect()
    }
}
