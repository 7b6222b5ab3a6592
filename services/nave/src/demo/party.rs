//! One client that takes part: its session, what it has seen of the room, and waiting for what it should see.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use client::api::Api;
use client::mls::{Franked, Member, Message, Received, Submitted};
use client::session::{Happening, Options, Session};
use mimi::content::{MessageId, NestedPart};
use mimi::{ClientUri, RoomUri, UserUri};
use tokio::sync::{mpsc, watch};

use super::tally::{Mark, Party as Place, Tally};

/// For how long anything is waited for.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// KeyPackages that each client uploads: one for each time that it can be invited.
const KEY_PACKAGES: usize = 8;

/// A party's part in the burst, once it has one.
type Part = Arc<Mutex<Option<(Place, Arc<Burst>)>>>;

/// The burst's book and clock, shared by all parties.
#[derive(Debug)]
pub struct Burst {
    tally: Mutex<Tally>,
    began: Instant,
}

impl Burst {
    pub(super) fn new(parties: usize) -> Self {
        Self {
            tally: Mutex::new(Tally::new(parties)),
            began: Instant::now(),
        }
    }

    pub(super) fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
}

/// What one client has seen of the room, outside the burst.
#[derive(Debug, Default)]
struct Seen {
    epoch: u64,
    messages: Vec<Message>,
    /// Messages of other rooms.
    elsewhere: Vec<(RoomUri, Message)>,
    removed: bool,
    /// What the hub's seq stood for, to notice two entries for one.
    seqs: BTreeMap<u64, u64>,
    faults: Vec<String>,
    decrypted: u64,
}

/// One client of the demo.
#[derive(Debug)]
pub struct Party {
    /// What people call it.
    pub name: &'static str,
    /// Its URI.
    pub client: ClientUri,
    /// The room that it watches.
    pub room: RoomUri,
    /// It at work.
    pub session: Session,
    /// Its provider.
    pub api: Api,
    seen: Arc<Mutex<Seen>>,
    progress: watch::Receiver<u64>,
    burst: Part,
}

impl Party {
    /// A client with KeyPackages at its provider and an open event stream.
    pub async fn join_in(name: &'static str, api: Api, client: ClientUri, room: RoomUri) -> anyhow::Result<Self> {
        let member = Member::new(client.clone())?;
        let options = Options {
            patience: PATIENCE,
            commits_proposals: false,
            ..Options::default()
        };
        let (session, happenings) = Session::start(api.clone(), member, options);
        session
            .upload_key_packages(KEY_PACKAGES)
            .await
            .with_context(|| format!("upload KeyPackages of {client}"))?;
        let (seen, burst) = (Arc::<Mutex<Seen>>::default(), Arc::default());
        let (told, progress) = watch::channel(0);
        let reader = Reader {
            room: room.clone(),
            seen: seen.clone(),
            burst: Arc::clone(&burst),
            told,
        };
        tokio::spawn(reader.run(happenings));
        Ok(Self {
            name,
            client,
            room,
            session,
            api,
            seen,
            progress,
            burst,
        })
    }

    /// Whose client it is.
    pub fn user(&self) -> UserUri {
        self.client.user()
    }

    /// The epoch that it is in; 0 outside the room.
    pub fn epoch(&self) -> u64 {
        self.session
            .member(|member| member.epoch(&self.room))
            .unwrap_or_default()
    }

    /// From now on messages of the burst are written into its book, at this place.
    pub(super) fn take_part(&self, place: Place, burst: &Arc<Burst>) {
        *self.burst.lock().unwrap_or_else(PoisonError::into_inner) = Some((place, burst.clone()));
    }

    /// Messages decrypted so far.
    pub fn decrypted(&self) -> u64 {
        self.seen().decrypted
    }

    /// Waits until the client is in this epoch or a later one.
    pub async fn reaches(&self, epoch: u64) -> anyhow::Result<()> {
        self.until(&format!("epoch {epoch}"), |_| self.epoch() >= epoch).await
    }

    /// Waits for a message with this content.
    pub async fn reads(&self, content: &[u8]) -> anyhow::Result<Message> {
        let found = |seen: &Seen| seen.messages.iter().find(|message| message.data == content).cloned();
        self.until("a message", |seen| found(seen).is_some()).await?;
        found(&self.seen()).context("a message that was there is gone")
    }

    /// Waits for what was said with this id.
    pub async fn hears(&self, id: MessageId) -> anyhow::Result<Message> {
        let is_it = |message: &&Message| message.content.said().is_some_and(|said| said.id == id);
        let found = |seen: &Seen| seen.messages.iter().find(is_it).cloned();
        self.until("what was said", |seen| found(seen).is_some()).await?;
        found(&self.seen()).context("a message that was there is gone")
    }

    /// The same in another room than the one that it watches.
    pub async fn hears_in(&self, room: &RoomUri, id: MessageId) -> anyhow::Result<Message> {
        let is_it = |message: &Message| message.content.said().is_some_and(|said| said.id == id);
        let found = |seen: &Seen| {
            let mut all = seen.elsewhere.iter();
            let found = all.find(|(of, message)| of == room && is_it(message));
            found.map(|(_, message)| message.clone())
        };
        self.until("what was said elsewhere", |seen| found(seen).is_some())
            .await?;
        found(&self.seen()).context("a message that was there is gone")
    }

    /// Says a text in the room, as a message content; gives it as `reader` was shown it, franked by the hub.
    pub async fn says(&self, text: &str, reader: &Self) -> anyhow::Result<Message> {
        let sent = self.session.say(&self.room, NestedPart::text(text)).await?;
        let message = reader.hears(sent.id).await?;
        ensure!(message.sender == self.client, "a message of {}", message.sender);
        ensure!(
            message.franked == Franked::Verified,
            "the frank is {:?}",
            message.franked
        );
        Ok(message)
    }

    /// The contents of all messages that it was shown outside a burst, its own included, in their order.
    pub fn messages(&self) -> Vec<Bytes> {
        self.seen()
            .messages
            .iter()
            .map(|message| message.data.clone())
            .collect()
    }

    /// Waits until this many proposals are pending.
    pub async fn has_pending(&self, proposals: usize) -> anyhow::Result<()> {
        self.has_pending_in(&self.room, proposals).await
    }

    /// The same in a room other than the one it watches.
    pub async fn has_pending_in(&self, room: &RoomUri, proposals: usize) -> anyhow::Result<()> {
        let pending = || self.session.member(|member| member.pending_proposals(room));
        self.until("pending proposals", |_| pending() >= proposals).await
    }

    /// Waits until it is in a room, be it another than the one it watches.
    pub async fn is_in(&self, room: &RoomUri) -> anyhow::Result<()> {
        let epoch = || self.session.member(|member| member.epoch(room));
        self.until("its Welcome", |_| epoch().is_some()).await
    }

    /// The URI of another room at the hub of the one that it watches.
    pub fn another_room(&self, name: &str) -> anyhow::Result<RoomUri> {
        Ok(format!("{}-{name}", self.room).parse()?)
    }

    /// Waits until the client knows that it was removed.
    pub async fn is_removed(&self) -> anyhow::Result<()> {
        self.until("its removal", |seen| seen.removed).await?;
        self.seen().removed = false;
        Ok(())
    }

    /// Everything that should not have happened at this client.
    pub fn faults(&self) -> Vec<String> {
        let gaps = match self.session.gaps() {
            0 => None,
            gaps => Some(format!("{gaps} positions of the inbox never came")),
        };
        self.seen()
            .faults
            .iter()
            .cloned()
            .chain(gaps)
            .map(|fault| format!("{}: {fault}", self.name))
            .collect()
    }

    /// Encrypts without sending.
    pub fn encrypt(&self, content: &[u8]) -> anyhow::Result<Bytes> {
        Ok(self.session.member(|member| member.send(&self.room, content))?)
    }

    /// Submits what was encrypted before, again and again until it is answered: the same octets have one effect.
    pub async fn submit(&self, body: Bytes) -> anyhow::Result<Submitted> {
        let began = Instant::now();
        loop {
            match self.api.submit(&self.client, &self.room, body.clone()).await {
                Ok(answer) => return Ok(Member::submitted(&answer)?),
                Err(error) if error.is_retryable() && began.elapsed() < PATIENCE => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn until(&self, what: &str, holds: impl Fn(&Seen) -> bool) -> anyhow::Result<()> {
        let mut progress = self.progress.clone();
        let waited = tokio::time::timeout(PATIENCE, async {
            loop {
                if holds(&self.seen()) {
                    return Ok::<_, watch::error::RecvError>(());
                }
                progress.changed().await?;
            }
        });
        match waited.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_closed)) => bail!("the event stream of {} ended while waiting for {what}", self.client),
            Err(_elapsed) => {
                let (patience, faults) = (PATIENCE.as_secs(), self.faults().join("; "));
                bail!("{} waited {patience} s for {what}; faults: [{faults}]", self.client)
            }
        }
    }
}

/// Takes a client's happenings as they come.
struct Reader {
    room: RoomUri,
    seen: Arc<Mutex<Seen>>,
    burst: Part,
    told: watch::Sender<u64>,
}

impl Reader {
    async fn run(self, mut happenings: mpsc::Receiver<Happening>) {
        while let Some(happening) = happenings.recv().await {
            match happening.room == self.room {
                true => self.take(happening),
                false => self.take_elsewhere(happening),
            }
            self.told.send_modify(|count| *count += 1);
        }
    }

    fn take_elsewhere(&self, Happening { room, received, .. }: Happening) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match received {
            Received::Message(message) => seen.elsewhere.push((room, message)),
            Received::AgainstRules { why, .. } => seen.faults.push(format!("against the rules of {room}: {why}")),
            Received::Undecryptable(why) | Received::OutOfStep(why) => {
                seen.faults.push(format!("out of step in {room}: {why}"));
            }
            _ => {}
        }
    }

    fn take(&self, happening: Happening) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if happening.seq > 0 && seen.seqs.insert(happening.seq, happening.position).is_some() {
            seen.faults.push(format!("seq {} came twice", happening.seq));
        }
        match happening.received {
            Received::Joined { epoch } => {
                seen.epoch = epoch;
            }
            Received::EpochChanged { epoch, .. } => {
                let before = std::mem::replace(&mut seen.epoch, epoch);
                if epoch < before {
                    seen.faults.push(format!("epoch {epoch} after {before}"));
                }
            }
            Received::Message(message) if message.mine => {
                if Mark::of(&message.data).is_none() {
                    seen.messages.push(message);
                }
            }
            Received::Message(message) => {
                seen.decrypted += 1;
                let late = message.epoch < seen.epoch;
                let burst = self.burst.lock().unwrap_or_else(PoisonError::into_inner);
                match (Mark::of(&message.data), &*burst) {
                    (Some(mark), Some((place, burst))) => {
                        let at = burst.elapsed();
                        burst.tally().decrypted(*place, mark, late, at);
                    }
                    _ => seen.messages.push(message),
                }
            }
            Received::Removed => seen.removed = true,
            Received::Undecryptable(why) => seen.faults.push(format!("cannot decrypt: {why}")),
            Received::AgainstRules { why, .. } => seen.faults.push(format!("against the rules: {why}")),
            // The hubs of the demo keep the order.
            Received::Early { epoch } => seen.faults.push(format!("of epoch {epoch}, before it")),
            Received::OutOfStep(why) => seen.faults.push(format!("out of step: {why}")),
            Received::Proposals { .. } | Received::Lost | Received::Duplicate | Received::NotForMe => {}
        }
    }
}
