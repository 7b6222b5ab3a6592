//! Three providers and their users, at the beginning of a scenario.

use std::time::{Duration, Instant};

use client::mls::RoomProfile;
use mimi::RoomUri;
use nave::demo::acts::{invite, settle};
use nave::demo::cast::Cast;
use nave::demo::party::{PATIENCE, Party};
use nave::demo::stage::Stage;
use tempfile::TempDir;

/// The providers' places.
pub(crate) const A: usize = 0;
pub(crate) const B: usize = 1;
pub(crate) const C: usize = 2;

pub(crate) struct World {
    pub(crate) stage: Stage,
    pub(crate) room: RoomUri,
    cast: Cast,
    _directory: TempDir,
}

impl World {
    pub(crate) async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let stage = Box::pin(Stage::set(directory.path())).await.unwrap();
        let (cast, _) = Cast::of(stage.configs()).await.unwrap();
        Self {
            stage,
            room: cast.room().unwrap(),
            cast,
            _directory: directory,
        }
    }

    /// A client of a provider's user, with KeyPackages and an open event stream.
    pub(crate) async fn party(&self, place: usize, device: &str) -> Party {
        let user = &self.cast.users[place];
        let name = ["alice", "bob", "cathy"][place];
        let client = user.client(device).unwrap();
        Party::join_in(name, user.api.clone(), client, self.room.clone())
            .await
            .unwrap()
    }

    /// Another client of the same user, in the room by an external commit.
    pub(crate) async fn second(&self, place: usize) -> Party {
        let party = self.party(place, "second").await;
        party.session.join(&self.room, None).await.unwrap();
        party
    }

    /// Alice, in a room of hers.
    pub(crate) async fn founder(&self) -> Party {
        let alice = self.party(A, "phone").await;
        alice
            .session
            .create_room(&self.room, &RoomProfile::default())
            .await
            .unwrap();
        alice
    }

    /// Alice, Bob and Cathy in one room, with nothing pending.
    pub(crate) async fn trio(&self) -> [Party; 3] {
        let alice = self.founder().await;
        let (bob, cathy) = (self.party(B, "phone").await, self.party(C, "phone").await);
        invite(&alice, &bob, [&alice, &bob]).await.unwrap();
        invite(&bob, &cathy, [&alice, &bob, &cathy]).await.unwrap();
        settle(&[&alice, &bob, &cathy]).await.unwrap();
        [alice, bob, cathy]
    }

    /// Starts a provider that was stopped, once its ports are free: when the last of its connections has ended.
    pub(crate) async fn start_again(&mut self, place: usize) {
        let began = Instant::now();
        while let Err(error) = self.stage.start(place).await {
            assert!(began.elapsed() < PATIENCE, "{error:#}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Starts a provider anew with another configuration.
    pub(crate) async fn configure(&mut self, place: usize, line: &str, other: &str) {
        self.stage.stop(place).await;
        let path = &self.stage.configs()[place];
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.contains(line), "{text}");
        std::fs::write(path, text.replace(line, other)).unwrap();
        self.start_again(place).await;
    }

    pub(crate) async fn end(self) {
        self.stage.strike().await;
    }
}

/// The providers that the room takes proposals of, as a client sees it.
pub(crate) fn senders(party: &Party) -> Vec<String> {
    let senders = party.session.member(|member| member.external_senders(&party.room));
    senders.unwrap().iter().map(ToString::to_string).collect()
}

/// Commits until the room takes proposals of just these providers. The hub asks for the directory of a provider that is
/// new to the room, and proposes at the first commit after the answer.
pub(crate) async fn names(parties: &[&Party], expected: &[&str]) {
    for _ in 0..50 {
        settle(parties).await.unwrap();
        if parties.iter().all(|party| senders(party) == expected) {
            return;
        }
        let (first, room) = (parties[0], &parties[0].room);
        first.session.self_update(room).await.unwrap();
    }
    panic!("{:?} and not {expected:?}", senders(parties[0]));
}

/// Who has clients in the room.
pub(crate) fn clients(party: &Party) -> Vec<String> {
    let clients = party.session.member(|member| member.members(&party.room));
    clients.unwrap().iter().map(ToString::to_string).collect()
}
