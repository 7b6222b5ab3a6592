//! What fan-out brings: each FanoutMessage (mimi-protocol §5.5) becomes one [`Received`], whatever is in it.

use bytes::Bytes;
use mimi::mls::Message as Octets;
use mimi::notify::{FanoutContent, FanoutMessage};
use mimi::{ClientUri, RoomUri};
use openmls::prelude::tls_codec::DeserializeBytes as _;
use openmls::prelude::{
    ContentType, MlsMessageBodyIn, MlsMessageIn, OpenMlsProvider as _, ProcessedMessage, ProcessedMessageContent,
    Proposal, ProtocolMessage, Sender, StagedCommit,
};
use policy::RoomView;

use super::identity::{Identity, client_of};
use super::recent::Incoming;
use super::{Member, MemberError, Room, dictionary};

/// An application message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Whose leaf sent it.
    pub sender: ClientUri,
    /// The application data.
    pub data: Bytes,
    /// The epoch it was sent in.
    pub epoch: u64,
    /// Whether this client sent it.
    pub mine: bool,
}

/// What a FanoutMessage was to this client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// A Welcome for this client: it is in the room from this epoch on.
    Joined {
        /// The room's epoch.
        epoch: u64,
    },
    /// A commit: the room is in this epoch now.
    EpochChanged {
        /// The room's epoch.
        epoch: u64,
        /// Whether this client made the commit.
        mine: bool,
    },
    /// An application message.
    Message(Message),
    /// Proposals wait to be committed.
    Proposals {
        /// How many are pending now.
        pending: usize,
    },
    /// A commit that takes this client out of the room.
    Removed,
    /// It had its effect before.
    Duplicate,
    /// For others, or from before this client was in the room.
    NotForMe,
    /// An application message that cannot be decrypted or whose sender is not who it must be.
    Undecryptable(String),
    /// A handshake message that cannot take effect here. Only joining anew helps.
    OutOfStep(String),
}

impl Member {
    /// Takes one FanoutMessage of `room`.
    ///
    /// # Errors
    /// None for what others sent, however wrong: that is a [`Received`]. Only when this client's own state fails.
    pub fn receive(&mut self, room: &RoomUri, fanout: &FanoutMessage) -> Result<Received, MemberError> {
        let octets: &[u8] = fanout.message().octets();
        let Ok(message) = MlsMessageIn::tls_deserialize_exact_bytes(octets) else {
            return Ok(Received::Undecryptable("not an MLSMessage".to_owned()));
        };
        let message: ProtocolMessage = match message.extract() {
            MlsMessageBodyIn::Welcome(welcome) => {
                return match &fanout.content {
                    FanoutContent::Welcome { ratchet_tree, .. } => self.receive_welcome(room, welcome, ratchet_tree),
                    _ => Ok(Received::NotForMe),
                };
            }
            MlsMessageBodyIn::PublicMessage(public) => public.into(),
            MlsMessageBodyIn::PrivateMessage(private) => private.into(),
            _ => return Ok(Received::NotForMe),
        };
        if let Some(joining) = self.joining.get(room)
            && joining.commit == octets
        {
            let epoch = joining.group.epoch().as_u64();
            self.on_accepted(room)?;
            return Ok(Received::EpochChanged { epoch, mine: true });
        }
        let Some(state) = self.rooms.get_mut(room) else {
            return Ok(Received::NotForMe);
        };
        if message.group_id() != state.group.group_id() {
            return Ok(Received::NotForMe);
        }
        let epoch = message.epoch().as_u64();
        let current = state.group.epoch().as_u64();
        match message.content_type() {
            ContentType::Application if epoch < state.entered => Ok(Received::NotForMe),
            ContentType::Application => state.receive_application(&self.identity, message, octets),
            _ if epoch < state.entered => Ok(Received::NotForMe),
            _ if epoch < current => Ok(Received::Duplicate),
            _ if epoch > current => Ok(Received::OutOfStep(format!("epoch {epoch} while in {current}"))),
            ContentType::Proposal => {
                let more = match &fanout.content {
                    FanoutContent::Proposals { proposals } => proposals.get(1..).unwrap_or_default(),
                    _ => &[],
                };
                state.receive_proposals(&self.identity, message, more)
            }
            ContentType::Commit => {
                let received = state.receive_commit(&self.identity, message)?;
                if received == Received::Removed {
                    self.forget(room);
                    return Ok(received);
                }
                // What the hub proposes again because an external commit dropped it.
                if let FanoutContent::Commit { external_proposals, .. } = &fanout.content
                    && let Some((first, more)) = external_proposals.split_first()
                    && let Some(first) = handshake(first)
                {
                    state.receive_proposals(&self.identity, first, more)?;
                }
                Ok(received)
            }
        }
    }
}

fn handshake(message: &Octets) -> Option<ProtocolMessage> {
    MlsMessageIn::tls_deserialize_exact_bytes(message.octets())
        .ok()?
        .try_into_protocol_message()
        .ok()
}

impl Room {
    fn receive_application(
        &mut self,
        identity: &Identity,
        message: ProtocolMessage,
        octets: &[u8],
    ) -> Result<Received, MemberError> {
        let epoch = message.epoch().as_u64();
        match self.recent.incoming(octets) {
            Incoming::Repeat => return Ok(Received::Duplicate),
            Incoming::Own(data) => {
                return Ok(Received::Message(Message {
                    sender: identity.uri.clone(),
                    data,
                    epoch,
                    mine: true,
                }));
            }
            Incoming::New => {}
        }
        let processed = match self.group.process_message(&identity.provider, message) {
            Ok(processed) => processed,
            Err(error) => return Ok(Received::Undecryptable(error.to_string())),
        };
        let sender = client_of(processed.credential());
        let ProcessedMessageContent::ApplicationMessage(data) = processed.into_content() else {
            return Ok(Received::Undecryptable(
                "a message of this client that it does not remember".to_owned(),
            ));
        };
        self.recent.seen(octets);
        Ok(match sender {
            Err(error) => Received::Undecryptable(error.to_string()),
            Ok(sender) => Received::Message(Message {
                sender,
                data: data.into_bytes().into(),
                epoch,
                mine: false,
            }),
        })
    }

    fn receive_proposals(
        &mut self,
        identity: &Identity,
        first: ProtocolMessage,
        more: &[Octets],
    ) -> Result<Received, MemberError> {
        let before = self.proposal_refs();
        let messages = std::iter::once(Some(first)).chain(more.iter().map(handshake));
        let mut fresh = false;
        for message in messages {
            let Some(message) = message else {
                return Ok(Received::OutOfStep("a proposal that is malformed".to_owned()));
            };
            let queued = match self.process(identity, message) {
                Ok(ProcessedMessageContent::ProposalMessage(queued)) => queued,
                Ok(_) => return Ok(Received::OutOfStep("not a member's proposal".to_owned())),
                Err(why) => return Ok(Received::OutOfStep(why)),
            };
            if before.contains(queued.proposal_reference_ref()) {
                continue;
            }
            fresh = true;
            self.group
                .store_pending_proposal(identity.provider.storage(), *queued)
                .map_err(MemberError::mls)?;
        }
        Ok(match fresh {
            false => Received::Duplicate,
            true => Received::Proposals {
                pending: self.group.pending_proposals().count(),
            },
        })
    }

    fn receive_commit(&mut self, identity: &Identity, message: ProtocolMessage) -> Result<Received, MemberError> {
        let staged = match self.process(identity, message) {
            Ok(ProcessedMessageContent::OwnPendingCommit) => {
                self.group
                    .merge_pending_commit(&identity.provider)
                    .map_err(MemberError::mls)?;
                self.pending = None;
                return Ok(Received::EpochChanged {
                    epoch: self.group.epoch().as_u64(),
                    mine: true,
                });
            }
            Ok(ProcessedMessageContent::StagedCommitMessage(staged)) => *staged,
            Ok(ProcessedMessageContent::UnresolvedAppDataCommit(unresolved)) => {
                let changes = dictionary::changes(
                    self.group.app_data_dictionary_updater(),
                    unresolved.app_data_update_proposals(),
                );
                let changes = match changes {
                    Ok(changes) => changes,
                    Err(error) => return Ok(Received::OutOfStep(error.to_string())),
                };
                match self
                    .group
                    .stage_app_data_commit(&identity.provider, *unresolved, changes)
                {
                    Ok(staged) => staged,
                    Err(error) => return Ok(Received::OutOfStep(error.to_string())),
                }
            }
            Ok(_) => return Ok(Received::OutOfStep("not a commit".to_owned())),
            Err(why) => return Ok(Received::OutOfStep(why)),
        };
        self.merge(identity, staged)
    }

    fn merge(&mut self, identity: &Identity, staged: StagedCommit) -> Result<Received, MemberError> {
        let removed = staged.self_removed();
        if !removed && let Err(error) = self.check_after(&staged) {
            return Ok(Received::OutOfStep(error.to_string()));
        }
        // Clears a commit and proposals of this client's own: they lost.
        self.group
            .merge_staged_commit(&identity.provider, staged)
            .map_err(MemberError::mls)?;
        self.pending = None;
        Ok(match removed {
            true => Received::Removed,
            false => Received::EpochChanged {
                epoch: self.group.epoch().as_u64(),
                mine: false,
            },
        })
    }

    /// Whether a room may be as this commit leaves it: the hub must not have accepted it otherwise.
    fn check_after(&self, staged: &StagedCommit) -> Result<(), MemberError> {
        let mut removed = Vec::new();
        let mut added = Vec::new();
        let mut external = false;
        let mut changed = false;
        for queued in staged.queued_proposals() {
            match (queued.proposal(), queued.sender()) {
                (Proposal::Remove(remove), _) => removed.push(remove.removed()),
                (Proposal::SelfRemove, Sender::Member(leaf)) => removed.push(*leaf),
                (Proposal::Add(add), _) => added.push(add.key_package().leaf_node().credential()),
                (Proposal::ExternalInit(_), _) => external = true,
                (Proposal::AppDataUpdate(_), _) => changed = true,
                _ => {}
            }
        }
        if external && let Some(leaf) = staged.update_path_leaf_node() {
            added.push(leaf.credential());
        }
        if !changed && removed.is_empty() && added.is_empty() {
            return Ok(());
        }
        let stay = self.group.members().filter(|member| !removed.contains(&member.index));
        let clients = stay
            .map(|member| client_of(&member.credential))
            .chain(added.into_iter().map(client_of))
            .collect::<Result<Vec<_>, _>>()?;
        let after = dictionary::dictionary(staged.group_context().extensions());
        Ok(RoomView::new(after, clients)?.check()?)
    }

    fn process(&mut self, identity: &Identity, message: ProtocolMessage) -> Result<ProcessedMessageContent, String> {
        self.group
            .process_message(&identity.provider, message)
            .map(ProcessedMessage::into_content)
            .map_err(|error| error.to_string())
    }
}
