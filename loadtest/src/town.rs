//! Rooms as people have them: a few large ones and very many small ones (Zipf), in which as few speak most. Each room has its
//! clients spread over some of the followers, and one client of the first of these, the speaker, says everything, commits
//! now and then, and is a real MLS client: it waits for what it did before in the same room, as a phone does.

use std::sync::Arc;

use anyhow::{Context, ensure};
use bytes::Bytes;
use client::mls::{ADMIN, Answered, Member, ORDINARY, Received, RoomProfile};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use mimi::{Provider, RoomUri};
use prost::Message as _;
use proto::hub::CreateRoom;
use proto::hub::room_request::Body;
use tokio::sync::Mutex;

use crate::crowd::welcome_in;
use crate::generator::{Hub, Shot};
use crate::measure::now_ns;
use crate::stage::HUB;

/// Rooms that are founded at a time.
const FOUNDING_AT_A_TIME: usize = 16;
/// Clients of the smallest room.
const CLIENTS_MIN: usize = 2;

/// What is done in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// A message is said.
    Say,
    /// The speaker gives itself a new leaf key.
    Commit,
    /// Another device of the speaker asks for the GroupInfo, as if to join.
    Read,
}

/// What became of it, in nanoseconds since the UNIX epoch.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Did {
    Said(Shot),
    Committed { due_ns: u64, answered_ns: u64 },
    Read { due_ns: u64, answered_ns: u64 },
}

/// Which followers are in which room.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Rooms.
    pub(crate) rooms: usize,
    /// Followers.
    pub(crate) followers: usize,
    /// Clients of the largest room; the second has half as many, the third a third, and so on.
    pub(crate) largest: usize,
}

impl Plan {
    /// Clients of the room `number`.
    pub(crate) fn clients(&self, number: usize) -> usize {
        (self.largest / (number + 1)).max(CLIENTS_MIN)
    }

    /// Followers in the room `number`.
    fn span(&self, number: usize) -> usize {
        self.followers.min(self.clients(number))
    }

    /// Whether the follower at `place` is in the room `number`.
    pub(crate) fn there(&self, place: usize, number: usize) -> bool {
        let first = number % self.followers;
        (place + self.followers - first) % self.followers < self.span(number)
    }

    /// Those who are, the speaker's first, each with how many clients it has there.
    fn shares(&self, number: usize) -> Vec<(usize, usize)> {
        let (span, others) = (self.span(number), self.clients(number) - 1);
        let place = |step: usize| (number + step) % self.followers;
        let mut shares = vec![(place(0), 1)];
        let rest = span - 1;
        shares.extend((0..rest).map(|step| (place(step + 1), others / rest + usize::from(step < others % rest))));
        shares
    }
}

/// See the module.
pub(crate) struct Town {
    hub: Hub,
    places: Vec<Mutex<Place>>,
    pub(crate) rooms: Vec<RoomUri>,
    /// Octets of application data in a message.
    size: usize,
}

struct Place {
    speaker: Member,
    /// GroupInfoRequest (mimi-protocol §5.6) of another device of the speaker's.
    question: Bytes,
    source: Provider,
}

impl Town {
    /// Founds the rooms of `plan` with clients of `followers`. `told` hears of each room that stands.
    ///
    /// # Errors
    /// The hub refuses something.
    pub(crate) async fn found(
        hub: &Hub,
        hub_sender: &[u8],
        followers: &[Provider],
        plan: Plan,
        size: usize,
        told: impl Fn(),
    ) -> anyhow::Result<Arc<Self>> {
        ensure!(
            plan.followers > 1 && followers.len() == plan.followers,
            "not enough followers"
        );
        let rooms = (0..plan.rooms).map(|number| Ok(format!("mimi://{HUB}/r/{number}").parse()?));
        let rooms = rooms.collect::<anyhow::Result<Vec<RoomUri>>>()?;
        let founded = rooms.iter().enumerate().map(|(number, room)| {
            let told = &told;
            async move {
                let place = Place::found(hub, hub_sender, followers, plan, number, room).await;
                told();
                place.with_context(|| room.to_string()).map(Mutex::new)
            }
        });
        // `buffered` keeps their order.
        let places = stream::iter(founded).buffered(FOUNDING_AT_A_TIME).try_collect().await?;
        Ok(Arc::new(Self {
            hub: hub.clone(),
            places,
            rooms,
            size,
        }))
    }

    /// Does `act` in the room `number`, after what was to be done there before.
    ///
    /// # Errors
    /// The hub refuses, or cannot be reached.
    pub(crate) async fn act(&self, number: usize, act: Act, due_ns: u64) -> anyhow::Result<Did> {
        let room = &self.rooms[number];
        let mut place = self.places[number].lock().await;
        let source = place.source.clone();
        match act {
            Act::Say => {
                let body = place.speaker.send(room, &vec![0x5a; self.size])?;
                let answer = self.hub.ask(room.as_str(), source.as_str(), Body::Submit(body)).await?;
                let shot = Shot::of(number, due_ns, &answer).with_context(|| room.to_string())?;
                Ok(Did::Said(shot))
            }
            Act::Commit => {
                let body = place.speaker.self_update(room)?;
                commit(&self.hub, &mut place.speaker, room, &source, body).await?;
                let answered_ns = now_ns();
                Ok(Did::Committed { due_ns, answered_ns })
            }
            Act::Read => {
                let question = place.question.clone();
                // Nothing of the room changes: what is due next needs not wait.
                drop(place);
                self.hub
                    .ask(room.as_str(), source.as_str(), Body::GroupInfo(question))
                    .await?;
                let answered_ns = now_ns();
                Ok(Did::Read { due_ns, answered_ns })
            }
        }
    }
}

impl Place {
    async fn found(
        hub: &Hub,
        hub_sender: &[u8],
        followers: &[Provider],
        plan: Plan,
        number: usize,
        room: &RoomUri,
    ) -> anyhow::Result<Self> {
        let mut founder = member(HUB, "founder", "phone")?;
        let founding = founder.create_room(room, hub_sender, &RoomProfile::default())?;
        let create = CreateRoom {
            group_info: founding.group_info,
            ratchet_tree: founding.ratchet_tree,
        };
        hub.ask(room.as_str(), HUB, Body::Create(create.encode_to_vec().into()))
            .await?;
        let us: Provider = HUB.parse()?;
        let shares = plan.shares(number);
        for (place, count) in shares.iter().skip(1) {
            let domain = followers[*place].as_str();
            let packages = (0..*count).map(|device| {
                let client = member(domain, "listener", &device.to_string())?;
                client.key_packages(1)?.pop().context("a client without KeyPackage")
            });
            let packages = packages.collect::<anyhow::Result<Vec<_>>>()?;
            let user = format!("mimi://{domain}/u/listener").parse()?;
            let body = founder.add_user(room, &user, ORDINARY, &packages)?;
            commit(hub, &mut founder, room, &us, body).await?;
        }
        let source = followers[shares[0].0].clone();
        let mut speaker = member(source.as_str(), "speaker", "phone")?;
        let body = founder.add_user(room, &speaker.user(), ADMIN, &speaker.key_packages(1)?)?;
        commit(hub, &mut founder, room, &us, body.clone()).await?;
        let received = speaker.receive(room, &welcome_in(&body)?)?;
        ensure!(
            matches!(received, Received::Joined { .. }),
            "not welcomed: {received:?}"
        );
        let body = speaker.remove_user(room, &founder.user())?;
        commit(hub, &mut speaker, room, &source, body).await?;
        let (question, _) = member(source.as_str(), "speaker", "tablet")?.group_info_request(room)?;
        Ok(Self {
            speaker,
            question,
            source,
        })
    }
}

async fn commit(hub: &Hub, member: &mut Member, room: &RoomUri, source: &Provider, body: Bytes) -> anyhow::Result<()> {
    let answer = hub.ask(room.as_str(), source.as_str(), Body::Update(body)).await?;
    let answered = member.on_answer(room, &answer)?;
    ensure!(matches!(answered, Answered::Accepted(_)), "{room}: {answered:?}");
    Ok(())
}

fn member(provider: &str, user: &str, device: &str) -> anyhow::Result<Member> {
    Ok(Member::new(format!("mimi://{provider}/d/{user}/{device}").parse()?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: Plan = Plan {
        rooms: 100,
        followers: 7,
        largest: 50,
    };

    #[test]
    fn who_is_in_a_room_and_with_how_many_clients_agree() {
        for number in 0..PLAN.rooms {
            let shares = PLAN.shares(number);
            let clients: usize = shares.iter().map(|(_, count)| count).sum();
            assert_eq!(clients, PLAN.clients(number), "room {number}");
            assert!(shares.iter().all(|(_, count)| *count > 0));
            let mut there: Vec<usize> = shares.iter().map(|(place, _)| *place).collect();
            there.sort_unstable();
            let said: Vec<usize> = (0..PLAN.followers).filter(|place| PLAN.there(*place, number)).collect();
            assert_eq!(there, said, "room {number}");
        }
    }

    #[test]
    fn sizes_fall_as_zipf_says_and_no_room_is_empty() {
        let sizes = [0, 1, 2, 9, 99].map(|number| PLAN.clients(number));
        assert_eq!(sizes, [50, 25, 16, 5, 2]);
    }
}
