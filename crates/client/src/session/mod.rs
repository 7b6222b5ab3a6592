//! Drives one [`Member`] against one [`Api`]: events are taken in order and acknowledged once they have had their effect,
//! and a request is repeated until it is answered, with the same octets, so that it has one effect.
//!
//! Whoever starts a [`Session`] must read its happenings: an unread buffer stops the event stream, and with it every
//! handshake that waits for the room to move on.

mod assets;
mod contacts;
mod messages;
mod pseudonyms;
mod reader;
mod rejoin;
mod retry;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use mimi::{ClientUri, RoomUri, UserUri};
use tokio::sync::{Mutex as AsyncMutex, OnceCell, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::api::{Api, ApiError};
use crate::asset::AssetError;
use crate::mls::{Answered, CIPHERSUITE, Founding, JoinKeys, Member, MemberError, Received, RoomProfile};
use openmls::prelude::Ciphersuite;
use proto::provider::WhoAmIResponse;
use retry::persist;

pub use messages::Sent;

/// What a hub says of a commit without the proposals that it holds.
const PENDING_PROPOSALS: &str = "pending-proposals";

/// KeyPackages in one upload.
const UPLOAD_MAX: usize = 256;

/// Why a session does not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The provider or the hub did not answer, or refused with a status.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// This client cannot.
    #[error(transparent)]
    Member(#[from] MemberError),
    /// An asset cannot be had, or not be trusted.
    #[error(transparent)]
    Asset(#[from] AssetError),
    /// The hub refuses: against the room's rules.
    #[error("the hub refuses: {0}")]
    NotAllowed(String),
    /// The room kept moving on, or what it moved on to did not arrive, for as long as the session's patience lasts.
    #[error("the room did not come to rest in time")]
    TimedOut,
}

/// How a session behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// Happenings that may wait to be read.
    pub buffer: usize,
    /// For how long a request is repeated.
    pub patience: Duration,
    /// Whether to commit pending proposals as soon as it is for this client to do so.
    pub commits_proposals: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            buffer: 1_024,
            patience: Duration::from_secs(30),
            commits_proposals: true,
        }
    }
}

/// One event and what it was to this client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happening {
    /// The room.
    pub room: RoomUri,
    /// Its position in the provider's inbox of the room.
    pub position: u64,
    /// Its position in the room, when the hub's link told; else 0.
    pub seq: u64,
    /// When the hub accepted it, in milliseconds since the UNIX epoch.
    pub accepted: u64,
    /// What it was.
    pub received: Received,
}

struct Shared {
    api: Api,
    client: ClientUri,
    options: Options,
    member: Mutex<Member>,
    /// One handshake at a time in a room.
    turns: Mutex<BTreeMap<RoomUri, Arc<AsyncMutex<()>>>>,
    /// Counts the events that had their effect.
    progress: watch::Sender<u64>,
    gaps: AtomicU64,
    provider: OnceCell<WhoAmIResponse>,
}

/// One client at work. Ends when dropped.
pub struct Session {
    shared: Arc<Shared>,
    reader: JoinHandle<()>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("client", &self.shared.client)
            .finish_non_exhaustive()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Session {
    /// Opens the event stream of `member` (and opens it again whenever it breaks) on the current tokio runtime.
    pub fn start(api: Api, member: Member, options: Options) -> (Self, mpsc::Receiver<Happening>) {
        let (happenings, receiver) = mpsc::channel(options.buffer.max(1));
        let shared = Arc::new(Shared {
            api,
            client: member.client().clone(),
            options,
            member: Mutex::new(member),
            turns: Mutex::new(BTreeMap::new()),
            progress: watch::Sender::new(0),
            gaps: AtomicU64::new(0),
            provider: OnceCell::new(),
        });
        let reader = tokio::spawn(reader::run(shared.clone(), happenings));
        (Self { shared, reader }, receiver)
    }

    /// Looks at the client, or does with it what needs no network. Must not block.
    pub fn member<T>(&self, look: impl FnOnce(&mut Member) -> T) -> T {
        look(&mut self.shared.member())
    }

    /// How many positions of some inbox never came. Anything but 0 is a fault of the provider.
    pub fn gaps(&self) -> u64 {
        self.shared.gaps.load(Ordering::Relaxed)
    }

    /// Uploads new KeyPackages, by which others can add this client. Returns how many are unclaimed now.
    pub async fn upload_key_packages(&self, count: usize) -> Result<u32, SessionError> {
        self.upload_key_packages_in(CIPHERSUITE, count).await
    }

    /// The same for rooms of a cipher suite, one of [`CIPHERSUITES`](crate::mls::CIPHERSUITES).
    pub async fn upload_key_packages_in(&self, suite: Ciphersuite, count: usize) -> Result<u32, SessionError> {
        let shared = &self.shared;
        let key_packages = shared.member().key_packages_in(suite, count)?;
        let mut available = 0;
        for some in key_packages.chunks(UPLOAD_MAX) {
            let uploaded = persist(shared.deadline(), || {
                shared.api.upload_key_packages(&shared.client, some.to_vec())
            })
            .await?;
            available = uploaded.available;
        }
        Ok(available)
    }

    /// Uploads a KeyPackage of last resort, given when no other is left. Returns how many are unclaimed now.
    pub async fn upload_last_resort(&self) -> Result<u32, SessionError> {
        let shared = &self.shared;
        let last = vec![shared.member().last_resort_key_package()?];
        let uploaded = persist(shared.deadline(), || {
            shared.api.upload_key_packages(&shared.client, last.clone())
        });
        Ok(uploaded.await?.available)
    }

    /// Founds a room at this user's provider.
    pub async fn create_room(&self, room: &RoomUri, profile: &RoomProfile) -> Result<(), SessionError> {
        let shared = &self.shared;
        let deadline = shared.deadline();
        let provider = shared
            .provider
            .get_or_try_init(|| persist(deadline, || shared.api.who_am_i()))
            .await?;
        let hub_sender = hub_sender(provider, profile.suite)?;
        let _turn = shared.turn(room).await;
        persist(deadline, || shared.api.follow(&shared.client, room)).await?;
        let founding = shared.member().create_room(room, hub_sender, profile)?;
        let founded = self.hand_in(room, &founding, deadline).await;
        if founded.is_err() {
            shared.member().forget(room);
            let _ = shared.api.unfollow(&shared.client, room).await;
        }
        Ok(founded?)
    }

    /// Gives the hub a new room, and the provider the pseudonym under which this client is in it, if it has one there.
    async fn hand_in(&self, room: &RoomUri, founding: &Founding, deadline: Instant) -> Result<(), ApiError> {
        let shared = &self.shared;
        let name = shared.member().user_in(room);
        if name != shared.client.user() {
            persist(deadline, || shared.api.register_pseudonym(&shared.client, &name)).await?;
        }
        let founded = persist(deadline, || {
            let (group_info, tree) = (founding.group_info.clone(), founding.ratchet_tree.clone());
            shared.api.create_room(&shared.client, room, group_info, tree)
        });
        founded.await.map(drop)
    }

    /// Adds a user in a role, with a KeyPackage of each of its clients. Returns when the hub accepted the commit.
    pub async fn add_user(&self, room: &RoomUri, user: &UserUri, role: u32) -> Result<u64, SessionError> {
        let shared = &self.shared;
        let request = shared.member().key_material_request(room, user)?;
        let response = persist(shared.deadline(), || {
            shared.api.key_material(&shared.client, room, request.clone())
        })
        .await?;
        let key_packages = shared.member().open_key_material(user, &response)?;
        self.shared
            .handshake(room, |member| member.add_user(room, user, role, &key_packages))
            .await
    }

    /// Removes a user and all its clients.
    pub async fn remove_user(&self, room: &RoomUri, user: &UserUri) -> Result<u64, SessionError> {
        self.shared
            .handshake(room, |member| member.remove_user(room, user))
            .await
    }

    /// Proposes that this user leaves; it is out once somebody commits that. An epoch that ends without it makes this
    /// session, and that of each other client of the user, propose it again.
    pub async fn leave(&self, room: &RoomUri) -> Result<u64, SessionError> {
        self.shared.handshake(room, |member| member.leave(room)).await
    }

    /// Proposes that this client alone leaves.
    pub async fn retire(&self, room: &RoomUri) -> Result<u64, SessionError> {
        self.shared.handshake(room, |member| member.retire(room)).await
    }

    /// Commits what is pending.
    pub async fn commit_pending(&self, room: &RoomUri) -> Result<u64, SessionError> {
        self.shared.handshake(room, |member| member.commit_pending(room)).await
    }

    /// Gives this client a new leaf key in the room.
    pub async fn self_update(&self, room: &RoomUri) -> Result<u64, SessionError> {
        self.shared.handshake(room, |member| member.self_update(room)).await
    }

    /// Joins from outside: as another client of a participant, or as a new participant in `role` where the room lets
    /// anybody in.
    pub async fn join(&self, room: &RoomUri, role: Option<u32>) -> Result<u64, SessionError> {
        self.join_with(room, role, None).await
    }

    /// Joins from outside with a code, as a new participant in the role to which the code leads.
    pub async fn join_by_code(&self, room: &RoomUri, code: &Bytes, role: u32) -> Result<u64, SessionError> {
        self.join_with(room, Some(role), Some(code)).await
    }

    async fn join_with(&self, room: &RoomUri, role: Option<u32>, code: Option<&Bytes>) -> Result<u64, SessionError> {
        let ask = |member: &Member, suite| member.group_info_request_with(room, suite, code.cloned());
        self.join_as(room, role, ask).await
    }

    /// Joins by what `ask` asks for, in a cipher suite.
    async fn join_as(
        &self,
        room: &RoomUri,
        role: Option<u32>,
        ask: impl Fn(&Member, Ciphersuite) -> Result<(Bytes, JoinKeys), MemberError>,
    ) -> Result<u64, SessionError> {
        let shared = &self.shared;
        let deadline = shared.deadline();
        let _turn = shared.turn(room).await;
        persist(deadline, || shared.api.follow(&shared.client, room)).await?;
        let joined = shared.join_once_followed(room, role, ask, deadline).await;
        if joined.is_err() && shared.member().epoch(room).is_none() {
            let _ = shared.api.unfollow(&shared.client, room).await;
        }
        joined
    }

    /// Undoes a handshake that was never answered: after [`ApiError::Unreachable`], when it is certain that the hub does
    /// not have it.
    pub fn abandon(&self, room: &RoomUri) -> Result<(), SessionError> {
        Ok(self.shared.member().on_refused(room)?)
    }

    /// No more events of this room: after [`Received::Removed`].
    pub async fn unfollow(&self, room: &RoomUri) -> Result<(), SessionError> {
        let shared = &self.shared;
        Ok(persist(shared.deadline(), || shared.api.unfollow(&shared.client, room)).await?)
    }
}

/// The hub's ExternalSender for rooms of a cipher suite.
fn hub_sender(provider: &WhoAmIResponse, suite: Ciphersuite) -> Result<&Bytes, MemberError> {
    let senders = &provider.hub_senders;
    let named = senders
        .iter()
        .find(|sender| sender.cipher_suite == u32::from(u16::from(suite)))
        .map(|sender| &sender.sender);
    let only = (senders.is_empty() && suite == CIPHERSUITE).then_some(&provider.hub_sender);
    named
        .or(only)
        .ok_or(MemberError::Refused("the provider hosts no rooms of this cipher suite"))
}

impl Shared {
    fn member(&self) -> MutexGuard<'_, Member> {
        self.member.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.options.patience
    }

    async fn turn(&self, room: &RoomUri) -> tokio::sync::OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            turns.entry(room.clone()).or_default().clone()
        };
        turn.lock_owned().await
    }

    /// Makes a handshake and sends it, anew for each epoch that somebody else won.
    async fn handshake(
        &self,
        room: &RoomUri,
        mut make: impl FnMut(&mut Member) -> Result<Bytes, MemberError>,
    ) -> Result<u64, SessionError> {
        let deadline = self.deadline();
        let _turn = self.turn(room).await;
        loop {
            let seen = *self.progress.borrow();
            let body = make(&mut self.member())?;
            match self.settle(room, body, deadline).await? {
                Answered::Accepted(time) => return Ok(time),
                Answered::WrongEpoch(current) => self.catch_up(room, current, deadline).await?,
                // The hub holds proposals that are still on their way here (mimi-protocol §3.5).
                Answered::NotAllowed(why) if why == PENDING_PROPOSALS => self.moved_on(seen, deadline).await?,
                Answered::NotAllowed(why) | Answered::InvalidProposal(why) => {
                    return Err(SessionError::NotAllowed(why));
                }
            }
        }
    }

    /// Sends an UpdateRequest and gives the answer to the member. Without any answer the handshake stays pending: its
    /// fan-out, or that of another commit, decides.
    async fn settle(&self, room: &RoomUri, body: Bytes, deadline: Instant) -> Result<Answered, SessionError> {
        match persist(deadline, || self.api.update(&self.client, room, body.clone())).await {
            Ok(response) => Ok(self.member().on_answer(room, &response)?),
            Err(error) => {
                if !matches!(error, ApiError::Unreachable(_)) {
                    self.member().on_refused(room)?;
                }
                Err(error.into())
            }
        }
    }

    async fn catch_up(&self, room: &RoomUri, epoch: u64, deadline: Instant) -> Result<(), SessionError> {
        let mut progress = self.progress.subscribe();
        let reached = progress.wait_for(|_| self.member().epoch(room).is_none_or(|now| now >= epoch));
        match tokio::time::timeout_at(deadline, reached).await {
            Ok(_) => Ok(()),
            Err(_) => Err(SessionError::TimedOut),
        }
    }

    async fn moved_on(&self, seen: u64, deadline: Instant) -> Result<(), SessionError> {
        let mut progress = self.progress.subscribe();
        match tokio::time::timeout_at(deadline, progress.wait_for(|now| *now != seen)).await {
            Ok(_) => Ok(()),
            Err(_) => Err(SessionError::TimedOut),
        }
    }
}
