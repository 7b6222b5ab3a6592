//! Clients of both providers, and what each of them was shown.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use client::api::Api;
use client::mls::{Member, ORDINARY, Received, RoomProfile};
use client::session::{Happening, Options, Session};
use mimi::{ClientUri, RoomUri, UserUri};
use tokio::sync::{mpsc, watch};

use crate::site::Site;

/// For how long anything is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// KeyPackages of each client: one for each time that it is invited.
const KEY_PACKAGES: usize = 4;

/// What a client was shown of one room.
#[derive(Debug, Default, Clone)]
pub(crate) struct Shown {
    /// Application data in the order in which it came, the client's own among it.
    pub(crate) messages: Vec<Bytes>,
    /// The hub's numbers of all entries, where they were told.
    pub(crate) seqs: Vec<u64>,
}

#[derive(Debug, Default)]
struct Book {
    rooms: BTreeMap<RoomUri, Shown>,
    faults: Vec<String>,
}

/// One client.
pub(crate) struct Client {
    pub(crate) uri: ClientUri,
    pub(crate) api: Api,
    pub(crate) session: Session,
    book: Arc<Mutex<Book>>,
    progress: watch::Receiver<u64>,
}

impl Client {
    async fn join_in((api, user): (Api, UserUri), device: &str) -> Self {
        let name = user.as_str().rsplit('/').next().unwrap();
        let uri: ClientUri = format!("mimi://{}/d/{name}/{device}", user.provider()).parse().unwrap();
        let options = Options {
            patience: PATIENCE,
            commits_proposals: false,
            ..Options::default()
        };
        let member = Member::new(uri.clone()).unwrap();
        let (session, happenings) = Session::start(api.clone(), member, options);
        session.upload_key_packages(KEY_PACKAGES).await.unwrap();
        let (book, (told, progress)) = (Arc::<Mutex<Book>>::default(), watch::channel(0));
        tokio::spawn(read(happenings, book.clone(), told));
        Self {
            uri,
            api,
            session,
            book,
            progress,
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap()
    }

    /// What it was shown of a room.
    pub(crate) fn shown(&self, room: &RoomUri) -> Shown {
        self.book().rooms.get(room).cloned().unwrap_or_default()
    }

    /// What should not have happened to it.
    pub(crate) fn faults(&self) -> Vec<String> {
        let gaps = self.session.gaps();
        let gaps = (gaps > 0).then(|| format!("{gaps} positions of the inbox never came"));
        let faults = self.book().faults.clone().into_iter().chain(gaps);
        faults.map(|fault| format!("{}: {fault}", self.uri)).collect()
    }

    pub(crate) fn epoch(&self, room: &RoomUri) -> u64 {
        self.session.member(|member| member.epoch(room)).unwrap_or_default()
    }

    /// Waits until the client is in this epoch of a room, or a later one.
    pub(crate) async fn reaches(&self, room: &RoomUri, epoch: u64) {
        self.until("an epoch", || self.epoch(room) >= epoch).await;
    }

    /// Waits until it was shown as many messages of a room as there are in `accepted`.
    pub(crate) async fn reads_all(&self, room: &RoomUri, accepted: &BTreeSet<Bytes>) {
        let all = || self.shown(room).messages.len() >= accepted.len();
        self.until("the messages", all).await;
    }

    /// Waits until it was shown this message of a room.
    pub(crate) async fn reads(&self, room: &RoomUri, message: &Bytes) {
        let there = || self.shown(room).messages.contains(message);
        self.until("a message", there).await;
    }

    async fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let mut progress = self.progress.clone();
        let waited = tokio::time::timeout(PATIENCE, progress.wait_for(|_| holds())).await;
        assert!(
            matches!(waited, Ok(Ok(_))),
            "{} waits for {what}: {:?}",
            self.uri,
            self.faults()
        );
    }
}

async fn read(mut happenings: mpsc::Receiver<Happening>, book: Arc<Mutex<Book>>, told: watch::Sender<u64>) {
    while let Some(Happening {
        room, seq, received, ..
    }) = happenings.recv().await
    {
        let mut book = book.lock().unwrap();
        let shown = book.rooms.entry(room).or_default();
        if seq > 0 {
            shown.seqs.push(seq);
        }
        match received {
            Received::Message(message) => shown.messages.push(message.data),
            Received::Joined { .. }
            | Received::EpochChanged { .. }
            // The hub proposes b's follower as an external sender when it learns its key.
            | Received::Proposals { .. }
            // A commit of its own whose answer came first.
            | Received::Duplicate
            | Received::NotForMe => {}
            odd => book.faults.push(format!("{odd:?}")),
        }
        drop(book);
        told.send_modify(|count| *count += 1);
    }
}

/// Two clients of a's user, each at an edge of its own, and one of b's, all of them in each of the rooms.
pub(crate) struct Crowd {
    pub(crate) clients: [Arc<Client>; 3],
    pub(crate) rooms: Vec<RoomUri>,
}

impl Crowd {
    /// Makes the rooms.
    pub(crate) async fn gather(site: &Site, rooms: &[RoomUri]) -> Self {
        let phone = Client::join_in(site.alice(0), "phone").await;
        let laptop = Client::join_in(site.alice(1), "laptop").await;
        let bob = Client::join_in(site.bob(), "phone").await;
        for room in rooms {
            let profile = RoomProfile {
                name: "clubhouse".to_owned(),
                ..RoomProfile::default()
            };
            phone.session.create_room(room, &profile).await.unwrap();
            phone.session.add_user(room, &bob.uri.user(), ORDINARY).await.unwrap();
            laptop.session.join(room, None).await.unwrap();
            for client in [&phone, &laptop, &bob] {
                client.reaches(room, laptop.epoch(room)).await;
            }
        }
        Self {
            clients: [phone, laptop, bob].map(Arc::new),
            rooms: rooms.to_vec(),
        }
    }
}
