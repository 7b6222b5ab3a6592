//! What fan-out brings: each FanoutMessage (mimi-protocol §5.5) becomes one [`Received`], whatever is in it.

use bytes::Bytes;
use mimi::mls::Message as Octets;
use mimi::notify::{FanoutContent, FanoutMessage};
use mimi::submit::Frank;
use mimi::{ClientUri, RoomUri};
use openmls::ciphersuite::hash_ref::ProposalRef;
use openmls::prelude::tls_codec::DeserializeBytes as _;
use openmls::prelude::{
    ContentType, MlsMessageBodyIn, MlsMessageIn, OpenMlsProvider as _, ProcessedMessageContent, ProtocolMessage,
    Sender, StagedCommit,
};

use super::early::Bounds;
use super::frank::Witness;
use super::identity::{Identity, client_of};
use super::leave::Departure;
use super::recent::Incoming;
use super::{Content, Franked, Member, MemberError, Room, dictionary};

/// An application message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Whose leaf sent it.
    pub sender: ClientUri,
    /// The application data, exactly as it was encrypted.
    pub data: Bytes,
    /// The epoch it was sent in.
    pub epoch: u64,
    /// Whether this client sent it.
    pub mine: bool,
    /// When the hub accepted it, in milliseconds since the UNIX epoch.
    pub accepted: u64,
    /// What the data is.
    pub content: Content,
    /// The hub's frank, as it came: what a report of abuse needs.
    pub frank: Option<Box<Frank>>,
    /// What the frank is worth.
    pub franked: Franked,
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
    /// It belongs to an epoch that has not begun here, and waits for it ([`Member::due`]).
    Early {
        /// That epoch.
        epoch: u64,
    },
    /// Proposals or a commit that the hub must not have accepted. They had their effect, lest this client be alone; the
    /// room is not to be trusted from now on ([`Member::distrust`]).
    AgainstRules {
        /// The room's epoch.
        epoch: u64,
        /// The rule.
        why: String,
    },
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
        let received = self.receive_message(room, fanout)?;
        // What the hub proposes again because an external commit dropped it: the joiner takes it, too, however it heard
        // that its commit was accepted.
        if let FanoutContent::Commit { external_proposals, .. } = &fanout.content
            && let Some((first, more)) = external_proposals.split_first()
            && let Some(first) = handshake(first)
            && let Some(state) = self.rooms.get_mut(room)
            && first.group_id() == state.group.group_id()
            && first.epoch() == state.group.epoch()
        {
            let identity = state.identity.clone();
            let proposed = state.receive_proposals(&identity, room, first, more)?;
            if matches!(proposed, Received::AgainstRules { .. } | Received::OutOfStep(_)) {
                return Ok(proposed);
            }
        }
        Ok(received)
    }

    /// What came early and is to be received now: to be asked for after each change of epoch, until there is no more.
    pub fn due(&mut self, room: &RoomUri) -> Option<FanoutMessage> {
        let state = self.rooms.get_mut(room)?;
        state.early.due(state.group.epoch().as_u64())
    }

    fn receive_message(&mut self, room: &RoomUri, fanout: &FanoutMessage) -> Result<Received, MemberError> {
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
        let identity = state.identity.clone();
        let epoch = message.epoch().as_u64();
        let current = state.group.epoch().as_u64();
        match message.content_type() {
            _ if epoch < state.entered => Ok(Received::NotForMe),
            _ if epoch > current => Ok(state.receive_early(&message, fanout)),
            ContentType::Application => state.receive_application(&identity, room, message, fanout),
            _ if epoch < current => Ok(Received::Duplicate),
            ContentType::Proposal => {
                let more = match &fanout.content {
                    FanoutContent::Proposals { proposals } => proposals.get(1..).unwrap_or_default(),
                    _ => &[],
                };
                state.receive_proposals(&identity, room, message, more)
            }
            ContentType::Commit => {
                let received = state.receive_commit(&identity, room, message)?;
                if received == Received::Removed {
                    self.forget(room);
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
        room: &RoomUri,
        message: ProtocolMessage,
        fanout: &FanoutMessage,
    ) -> Result<Received, MemberError> {
        let epoch = message.epoch().as_u64();
        let octets = fanout.message().octets();
        let (sender, data, mine) = match self.recent.incoming(octets) {
            Incoming::Repeat => return Ok(Received::Duplicate),
            Incoming::Own(data) => (identity.uri.clone(), data, true),
            Incoming::New => {
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
                match sender {
                    Ok(sender) => (sender, Bytes::from(data.into_bytes()), false),
                    Err(error) => return Ok(Received::Undecryptable(error.to_string())),
                }
            }
        };
        let content = self.open(room, &sender.user(), &data);
        let witness = Witness {
            identity,
            room,
            suite: self.suite(),
            agent: Self::franking_agent(self.group.extensions()),
        };
        let (frank, franked) = witness.judge(fanout, &data, &content);
        Ok(Received::Message(Message {
            sender,
            data,
            epoch,
            mine,
            accepted: fanout.timestamp,
            content,
            frank: frank.map(Box::new),
            franked,
        }))
    }

    fn receive_early(&mut self, message: &ProtocolMessage, fanout: &FanoutMessage) -> Received {
        let (epoch, current) = (message.epoch().as_u64(), self.group.epoch().as_u64());
        let view = self.view().ok();
        let operational = view.as_ref().and_then(|view| view.operational());
        if self.early.keep(message, fanout, Bounds::of(operational)) {
            return Received::Early { epoch };
        }
        Received::OutOfStep(format!("epoch {epoch} while in {current}"))
    }

    fn receive_proposals(
        &mut self,
        identity: &Identity,
        room: &RoomUri,
        first: ProtocolMessage,
        more: &[Octets],
    ) -> Result<Received, MemberError> {
        let before = self.proposal_refs();
        let messages = std::iter::once(Some(first)).chain(more.iter().map(handshake));
        let mut bundle: Vec<ProposalRef> = Vec::new();
        let mut fresh = false;
        for message in messages {
            let Some(message) = message else {
                return Ok(Received::OutOfStep("a proposal that is malformed".to_owned()));
            };
            let queued = match self.process(identity, message) {
                Ok((
                    ProcessedMessageContent::ProposalMessage(queued)
                    | ProcessedMessageContent::ExternalJoinProposalMessage(queued),
                    _,
                )) => queued,
                Ok(_) => return Ok(Received::OutOfStep("not a proposal".to_owned())),
                Err(why) => return Ok(Received::OutOfStep(why)),
            };
            bundle.push(queued.proposal_reference_ref().clone());
            if before.contains(queued.proposal_reference_ref()) {
                continue;
            }
            fresh = true;
            self.group
                .store_pending_proposal(identity.provider.storage(), *queued)
                .map_err(MemberError::mls)?;
        }
        let known = self.bundles.contains(&bundle);
        if !known {
            self.bundles.push(bundle.clone());
        }
        if !fresh {
            return Ok(Received::Duplicate);
        }
        if self.takes_out_own_user(identity, &bundle) {
            self.leaving = Some(Departure::User);
        }
        if let Err(violation) = self.judge_proposals(room) {
            return Ok(self.against_rules(violation));
        }
        Ok(Received::Proposals {
            pending: self.group.pending_proposals().count(),
        })
    }

    /// The room let this happen: it is not trusted any more.
    pub(super) fn against_rules(&mut self, violation: policy::Violation) -> Received {
        let why = violation.to_string();
        self.distrust.get_or_insert_with(|| why.clone());
        Received::AgainstRules {
            epoch: self.group.epoch().as_u64(),
            why,
        }
    }

    fn receive_commit(
        &mut self,
        identity: &Identity,
        room: &RoomUri,
        message: ProtocolMessage,
    ) -> Result<Received, MemberError> {
        let (content, sender) = match self.process(identity, message) {
            Ok(processed) => processed,
            Err(why) => return Ok(Received::OutOfStep(why)),
        };
        let staged = match content {
            ProcessedMessageContent::OwnPendingCommit => {
                self.group
                    .merge_pending_commit(&identity.provider)
                    .map_err(MemberError::mls)?;
                self.begin_epoch();
                return Ok(Received::EpochChanged {
                    epoch: self.group.epoch().as_u64(),
                    mine: true,
                });
            }
            ProcessedMessageContent::StagedCommitMessage(staged) => *staged,
            ProcessedMessageContent::UnresolvedAppDataCommit(unresolved) => {
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
            _ => return Ok(Received::OutOfStep("not a commit".to_owned())),
        };
        self.merge(identity, room, &sender, staged)
    }

    fn merge(
        &mut self,
        identity: &Identity,
        room: &RoomUri,
        sender: &Sender,
        staged: StagedCommit,
    ) -> Result<Received, MemberError> {
        let removed = staged.self_removed();
        let judged = if removed {
            Ok(())
        } else {
            self.judge_commit(room, sender, &staged)
        };
        // Clears a commit and proposals of this client's own: they lost.
        self.group
            .merge_staged_commit(&identity.provider, staged)
            .map_err(MemberError::mls)?;
        self.begin_epoch();
        if removed {
            return Ok(Received::Removed);
        }
        Ok(match judged {
            Err(violation) => self.against_rules(violation),
            Ok(()) => Received::EpochChanged {
                epoch: self.group.epoch().as_u64(),
                mine: false,
            },
        })
    }

    /// What waited in the epoch before is done, or void.
    pub(super) fn begin_epoch(&mut self) {
        self.pending = None;
        self.bundles.clear();
    }

    fn process(
        &mut self,
        identity: &Identity,
        message: ProtocolMessage,
    ) -> Result<(ProcessedMessageContent, Sender), String> {
        self.group
            .process_message(&identity.provider, message)
            .map(|processed| {
                let sender = processed.sender().clone();
                (processed.into_content(), sender)
            })
            .map_err(|error| error.to_string())
    }
}
