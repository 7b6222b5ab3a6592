//! The room's rules held against what the hub lets through (arch §4.4): every proposal and commit of others is judged as
//! the hub must have judged it, by the same code. What breaks a rule still takes effect in MLS, for a client that stopped
//! there would be alone; but the room is not trusted any more, and whoever uses it is told.

use std::collections::BTreeMap;

use mimi::codec::Decode as _;
use mimi::mls::{Credential, LeafNode};
use mimi::{ClientUri, ComponentId, Provider, RoleData, RoomUri};
use openmls::ciphersuite::hash_ref::ProposalRef;
use openmls::group::{GroupContext, QueuedProposal};
use openmls::prelude::tls_codec::Serialize as _;
use openmls::prelude::{
    Extension, ExtensionType, Extensions, ExternalSender, Proposal, ProposalOrRefType, Sender, StagedCommit,
};
use policy::{Actor, Capability, Change, Evidence, Leaf, RoomView, Stage, Violation, judge, preauth};

use super::identity::client_of;
use super::{Room, dictionary};

const NAMELESS: Violation = Violation::Invalid("a credential that names no client");

impl Room {
    /// The room as its rules see it.
    pub(super) fn view(&self) -> Result<RoomView, Violation> {
        let clients: Result<Vec<ClientUri>, _> = self
            .group
            .members()
            .map(|member| client_of(&member.credential).map_err(|_| NAMELESS))
            .collect();
        RoomView::new(dictionary::dictionary(self.group.extensions()), clients?)
    }

    /// The external senders that are providers.
    pub(super) fn senders(&self) -> Vec<Provider> {
        let senders = self.group.extensions().external_senders().into_iter().flatten();
        senders.filter_map(|sender| credential_of(sender)?.provider()).collect()
    }

    /// Whether each client's credential is of the kind that the room has.
    pub(super) fn check_credentials(&self, view: &RoomView) -> Result<(), Violation> {
        let mut members = self.group.members();
        members.try_for_each(|member| view.check_credential(member.credential.credential_type().into()))
    }

    /// Whether the proposals that wait keep the rules, in the order in which the hub accepted them.
    pub(super) fn judge_proposals(&self, room: &RoomUri) -> Result<(), Violation> {
        let queued: BTreeMap<&[u8], &QueuedProposal> = self
            .group
            .pending_proposals()
            .map(|queued| (queued.proposal_reference_ref().as_slice(), queued))
            .collect();
        let view = self.view()?;
        let changes = self.bundled(room, &view, &queued)?;
        judge(&view, &changes, Stage::Proposed).map(drop)
    }

    /// Whether a commit keeps the rules, and makes of the components what its proposals say.
    pub(super) fn judge_commit(&self, room: &RoomUri, sender: &Sender, staged: &StagedCommit) -> Result<(), Violation> {
        let external = matches!(sender, Sender::NewMemberCommit);
        if let Some(leaf) = staged.update_path_leaf_node() {
            self.view()?
                .check_credential(leaf.credential().credential_type().into())?;
        }
        if !external && staged.queued_proposals().next().is_none() {
            return Ok(());
        }
        let view = self.view()?;
        let (values, references): (Vec<&QueuedProposal>, Vec<&QueuedProposal>) = staged
            .queued_proposals()
            .partition(|queued| queued.proposal_or_ref_type() == ProposalOrRefType::Proposal);
        if values
            .iter()
            .any(|queued| matches!(queued.proposal(), Proposal::SelfRemove))
        {
            return Err(Violation::Invalid("a SelfRemove by value"));
        }
        let mut changes = if external {
            self.departures(&references)?
        } else {
            let queued = references
                .iter()
                .map(|queued| (queued.proposal_reference_ref().as_slice(), *queued))
                .collect();
            self.bundled(room, &view, &queued)?
        };
        let actor = match staged.update_path_leaf_node().filter(|_| external) {
            Some(leaf) => Actor::Joiner(client_of(leaf.credential()).map_err(|_| NAMELESS)?),
            None => self.actor(sender, None)?.0,
        };
        let mut own = self.change(room, &view, actor, Vec::new(), &values)?;
        if let (Actor::Joiner(joiner), Some(leaf)) = (own.actor.clone(), staged.update_path_leaf_node()) {
            own.evidence.claims = preauth::claims(&Credential::basic(joiner.as_str().to_owned()));
            own.evidence.join_code = entered(&own, &joiner);
            own.evidence.leaves.push(leaf_of(&joiner, leaf)?);
            own.adds.push(joiner);
        }
        changes.push(own);
        let after = judge(&view, &changes, Stage::Committed)?;
        after
            .with_dictionary(dictionary::dictionary(staged.group_context().extensions()))
            .map(drop)
    }

    /// What each bundle of accepted proposals wants.
    fn bundled(
        &self,
        room: &RoomUri,
        view: &RoomView,
        queued: &BTreeMap<&[u8], &QueuedProposal>,
    ) -> Result<Vec<Change>, Violation> {
        let find = |reference: &ProposalRef| queued.get(reference.as_slice()).copied();
        let bundles = self.bundles.iter();
        bundles
            .map(|bundle| bundle.iter().filter_map(find).collect::<Vec<_>>())
            .filter(|bundle| !bundle.is_empty())
            .map(|bundle| {
                let sender = bundle[0].sender();
                if bundle.iter().any(|queued| queued.sender() != sender) {
                    return Err(Violation::Invalid("proposals of several senders in one bundle"));
                }
                let (actor, claims) = self.actor(sender, Some(bundle[0].proposal()))?;
                self.change(room, view, actor, claims, &bundle)
            })
            .collect()
    }

    /// SelfRemoves that an external commit takes along: they were accepted, and stay when what came with them is void.
    fn departures(&self, references: &[&QueuedProposal]) -> Result<Vec<Change>, Violation> {
        references
            .iter()
            .map(|queued| {
                let (actor, _) = self.actor(queued.sender(), None)?;
                let mut change = nothing(actor, Vec::new());
                change.removes.extend(change.actor.client().cloned());
                change.authorized = true;
                Ok(change)
            })
            .collect()
    }

    /// Who stands behind a sender, and what its credential claims. A client that proposes itself is known by what it
    /// proposes.
    fn actor(
        &self,
        sender: &Sender,
        proposal: Option<&Proposal>,
    ) -> Result<(Actor, Vec<mimi::role::Claim>), Violation> {
        let claims = |client: &ClientUri| preauth::claims(&Credential::basic(client.as_str().to_owned()));
        match sender {
            Sender::Member(leaf) => {
                let member = self.group.public_group().leaf(*leaf);
                let credential = member.ok_or(Violation::Invalid("no client at the sender's leaf"))?;
                let client = client_of(credential.credential()).map_err(|_| NAMELESS)?;
                let claims = claims(&client);
                Ok((Actor::Member(client), claims))
            }
            Sender::External(index) => {
                let senders = self.group.extensions().external_senders();
                let octets = index.tls_serialize_detached().unwrap_or_default();
                let index = octets.try_into().ok().map(u32::from_be_bytes);
                let index = index.and_then(|index| usize::try_from(index).ok());
                let sender = senders.and_then(|senders| senders.get(index?));
                let credential = sender.and_then(credential_of).ok_or(NAMELESS)?;
                let provider = credential.provider().ok_or(NAMELESS)?;
                Ok((Actor::Sender(provider), preauth::claims(&credential)))
            }
            Sender::NewMemberProposal | Sender::NewMemberCommit => match proposal {
                Some(Proposal::Add(add)) => {
                    let client = client_of(add.key_package().leaf_node().credential()).map_err(|_| NAMELESS)?;
                    let claims = claims(&client);
                    Ok((Actor::Applicant(client), claims))
                }
                _ => Err(Violation::Invalid("a proposal from outside that adds nobody")),
            },
        }
    }

    /// Whether a sender outside the group may remove clients and leave the list as it is.
    pub(super) fn kicks(&self, sender: &Sender) -> bool {
        let role = || {
            let (actor, claims) = self.actor(sender, None).ok()?;
            let view = self.view().ok()?;
            if matches!(&actor, Actor::Sender(provider) if view.follows_parent_by(provider)) {
                return None;
            }
            let index = view.preauthorized(&claims)?;
            let roles = dictionary::component(self.group.extensions(), ComponentId::ROLES_LIST)?;
            RoleData::decode_exact(roles).ok()?.role(index).cloned()
        };
        role().is_some_and(|role| role.capabilities.contains(&Capability::Kick.number()))
    }

    /// What proposals want, whoever sent them in the name of `actor`.
    fn change(
        &self,
        room: &RoomUri,
        view: &RoomView,
        actor: Actor,
        claims: Vec<mimi::role::Claim>,
        queued: &[&QueuedProposal],
    ) -> Result<Change, Violation> {
        let mut change = nothing(actor, claims);
        for queued in queued {
            match queued.proposal() {
                Proposal::Add(add) => {
                    let leaf = add.key_package().leaf_node();
                    let client = client_of(leaf.credential()).map_err(|_| NAMELESS)?;
                    change.evidence.leaves.push(leaf_of(&client, leaf)?);
                    change.adds.push(client);
                }
                Proposal::Remove(remove) => {
                    let leaf = self.group.public_group().leaf(remove.removed());
                    let leaf = leaf.ok_or(Violation::Invalid("no client at the leaf to be removed"))?;
                    change.removes.push(client_of(leaf.credential()).map_err(|_| NAMELESS)?);
                }
                Proposal::SelfRemove => change.removes.extend(change.actor.client().cloned()),
                Proposal::AppDataUpdate(update) => change.components.push(dictionary::update(update)),
                Proposal::ExternalInit(_) if matches!(change.actor, Actor::Joiner(_)) => {}
                Proposal::GroupContextExtensions(proposed) => {
                    self.check_context(room, &change.actor, proposed.extensions())?;
                }
                Proposal::ReInit(_) => {
                    let user = change.actor.user();
                    if !user.is_some_and(|user| view.can(&user, Capability::SendMlsReinitProposal)) {
                        return Err(Violation::NotAllowed("a ReInit"));
                    }
                }
                _ => return Err(Violation::Invalid("a kind of proposal that rooms do not carry")),
            }
        }
        Ok(change)
    }

    /// The hub, and nobody else, may say anew which followers are external senders; itself it must leave as it is.
    fn check_context(&self, room: &RoomUri, actor: &Actor, after: &Extensions<GroupContext>) -> Result<(), Violation> {
        if *actor != Actor::Sender(room.provider().clone()) {
            return Err(Violation::NotAllowed("a change of the group's extensions"));
        }
        let before = self.group.extensions();
        let others = |extensions: &Extensions<GroupContext>| -> Vec<Extension> {
            let all = extensions.iter();
            all.filter(|extension| extension.extension_type() != ExtensionType::ExternalSenders)
                .cloned()
                .collect()
        };
        let hub = |extensions: &Extensions<GroupContext>| -> Option<ExternalSender> {
            let mut senders = extensions.external_senders()?.iter();
            senders
                .find(|sender| credential_of(sender).and_then(|it| it.provider()).as_ref() == Some(room.provider()))
                .cloned()
        };
        if others(before) != others(after) || hub(before) != hub(after) {
            return Err(Violation::Invalid("more of the group's extensions than its followers"));
        }
        Ok(())
    }
}

fn nothing(actor: Actor, claims: Vec<mimi::role::Claim>) -> Change {
    Change {
        actor,
        components: Vec::new(),
        removes: Vec::new(),
        adds: Vec::new(),
        authorized: false,
        evidence: Evidence {
            claims,
            ..Evidence::default()
        },
    }
}

/// The role in which a joiner enters the list. No join code is in a commit: that there was a valid one where the rules ask
/// for it is the hub's word; whether a code may lead to this role is judged.
fn entered(change: &Change, joiner: &ClientUri) -> Option<u32> {
    let updates = change.components.iter().filter_map(|update| match &update.operation {
        mimi::AppDataOperation::Update(octets) if update.component == ComponentId::PARTICIPANT_LIST => {
            mimi::ParticipantListUpdate::decode_exact(octets).ok()
        }
        _ => None,
    });
    let user = joiner.user();
    let mut added = updates.flat_map(|update| update.added);
    added
        .find(|added| added.user.octets() == user.as_str().as_bytes())
        .map(|added| added.role)
}

fn leaf_of(client: &ClientUri, leaf: &openmls::prelude::LeafNode) -> Result<Leaf, Violation> {
    let unreadable = Violation::Malformed("a leaf");
    let octets = leaf.tls_serialize_detached().map_err(|_| unreadable)?;
    let leaf = LeafNode::decode_exact(&octets).map_err(|_| unreadable)?;
    Leaf::of(client.clone(), &leaf.view())
}

fn credential_of(sender: &ExternalSender) -> Option<Credential> {
    let octets = sender.tls_serialize_detached().ok()?;
    let sender = mimi::mls::ExternalSender::decode_exact(&octets).ok()?;
    Some(sender.credential)
}
