//! Who is in the rooms: one user of each follower provider, as real MLS clients. The founder, a user of the hub's
//! provider, is taken out of each room when everybody is in it, so that exactly the followers remain. One of them, the
//! speaker, says everything: its messages are encrypted before the clock runs.

use anyhow::{Context, ensure};
use bytes::Bytes;
use client::mls::{ADMIN, Answered, Member, MemberError, ORDINARY, Received, RoomProfile};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use mimi::mls::Message;
use mimi::notify::{FanoutContent, FanoutMessage};
use mimi::update::{HandshakeBundle, UpdateRequest};
use mimi::{Decode as _, Provider, RoomUri};
use prost::Message as _;
use proto::hub::CreateRoom;
use proto::hub::room_request::Body;

use crate::generator::{Hub, Post};
use crate::stage::HUB;

/// Requests that found rooms, under way at a time.
const FOUNDING_AT_A_TIME: usize = 64;

/// See the module.
pub(crate) struct Crowd {
    speaker: Member,
    /// The rooms, in the order of their numbers.
    pub(crate) rooms: Vec<RoomUri>,
    /// The speaker's provider.
    pub(crate) source: Provider,
}

impl Crowd {
    /// Founds `rooms` rooms with a user of each of `followers` in them. `told` hears of each request that was answered.
    ///
    /// # Errors
    /// The hub refuses something.
    pub(crate) async fn gather(
        hub: &Hub,
        hub_sender: &[u8],
        followers: &[Provider],
        rooms: usize,
        told: impl Fn(),
    ) -> anyhow::Result<Self> {
        let (source, others) = followers.split_first().context("nobody to speak")?;
        let mut founder = member(HUB, "founder")?;
        let mut speaker = member(source.as_str(), "speaker")?;
        let rooms = (0..rooms).map(|number| Ok(format!("mimi://{HUB}/r/{number}").parse()?));
        let rooms = rooms.collect::<anyhow::Result<Vec<RoomUri>>>()?;
        let turns = Turns {
            hub,
            rooms: &rooms,
            told,
        };

        let profile = RoomProfile::default();
        turns.found(&mut founder, hub_sender, &profile).await?;
        for follower in others {
            let listener = member(follower.as_str(), "listener")?;
            let invite = |founder: &mut Member, room: &RoomUri| {
                founder.add_user(room, &listener.user(), ORDINARY, &listener.key_packages(1)?)
            };
            turns.commit(&mut founder, HUB, invite).await?;
        }
        let invite = |founder: &mut Member, room: &RoomUri| {
            founder.add_user(room, &speaker.user(), ADMIN, &speaker.key_packages(1)?)
        };
        let invitations = turns.commit(&mut founder, HUB, invite).await?;
        for (room, invitation) in rooms.iter().zip(&invitations) {
            let received = speaker.receive(room, &welcome_in(invitation)?)?;
            ensure!(
                matches!(received, Received::Joined { .. }),
                "not welcomed: {received:?}"
            );
        }
        let leaver = founder.user();
        let remove = |speaker: &mut Member, room: &RoomUri| speaker.remove_user(room, &leaver);
        turns.commit(&mut speaker, source.as_str(), remove).await?;
        Ok(Self {
            speaker,
            rooms,
            source: source.clone(),
        })
    }

    /// So many messages of `octets` octets of application data, spread evenly over the first `rooms`, encrypted.
    ///
    /// # Errors
    /// MLS fails.
    pub(crate) fn write(&mut self, rooms: usize, count: usize, octets: usize) -> anyhow::Result<Vec<Post>> {
        let data = vec![0x5a; octets];
        let posts = (0..count).map(|number| {
            let room = number % rooms;
            let body = self.speaker.send(&self.rooms[room], &data)?;
            Ok(Post { room, body })
        });
        posts.collect()
    }

    /// Octets of such a message, encrypted: about what the hub stores and sends.
    ///
    /// # Errors
    /// MLS fails.
    pub(crate) fn octets(&mut self, octets: usize) -> anyhow::Result<usize> {
        let posts = self.write(1, 1, octets)?;
        Ok(posts.first().map_or(octets, |post| post.body.len()))
    }
}

/// A client, by its provider and the name of its user.
fn member(provider: &str, user: &str) -> anyhow::Result<Member> {
    Ok(Member::new(format!("mimi://{provider}/d/{user}/phone").parse()?)?)
}

/// One request in each room, rooms beside each other.
struct Turns<'a, T> {
    hub: &'a Hub,
    rooms: &'a [RoomUri],
    told: T,
}

impl<T: Fn()> Turns<'_, T> {
    async fn found(&self, founder: &mut Member, hub_sender: &[u8], profile: &RoomProfile) -> anyhow::Result<()> {
        let found = |room| {
            let founding = founder.create_room(room, hub_sender, profile)?;
            let create = CreateRoom {
                group_info: founding.group_info,
                ratchet_tree: founding.ratchet_tree,
            };
            anyhow::Ok(Body::Create(create.encode_to_vec().into()))
        };
        let bodies = self.rooms.iter().map(found).collect::<anyhow::Result<Vec<_>>>()?;
        self.ask(HUB, bodies).await.map(drop)
    }

    /// Has `member` commit in each room; what it asked.
    async fn commit(
        &self,
        member: &mut Member,
        source: &str,
        mut make: impl FnMut(&mut Member, &RoomUri) -> Result<Bytes, MemberError>,
    ) -> anyhow::Result<Vec<Bytes>> {
        let requests = self.rooms.iter().map(|room| make(member, room));
        let requests = requests.collect::<Result<Vec<_>, _>>()?;
        let answers = self
            .ask(source, requests.iter().cloned().map(Body::Update).collect())
            .await?;
        for (room, answer) in self.rooms.iter().zip(&answers) {
            let answered = member.on_answer(room, answer)?;
            ensure!(matches!(answered, Answered::Accepted(_)), "{room}: {answered:?}");
        }
        Ok(requests)
    }

    async fn ask(&self, source: &str, bodies: Vec<Body>) -> anyhow::Result<Vec<Bytes>> {
        let asked = self.rooms.iter().zip(bodies).map(|(room, body)| async {
            let answer = self.hub.ask(room.as_str(), source, body).await;
            (self.told)();
            answer.with_context(|| room.to_string())
        });
        // `buffered` keeps their order.
        stream::iter(asked).buffered(FOUNDING_AT_A_TIME).try_collect().await
    }
}

/// The Welcome that a commit brings, as fan-out would bring it.
pub(crate) fn welcome_in(request: &Bytes) -> anyhow::Result<FanoutMessage> {
    let UpdateRequest { bundle } = UpdateRequest::decode_shared(request)?;
    let HandshakeBundle::Commit {
        welcome: Some(welcome),
        ratchet_tree,
        ..
    } = bundle
    else {
        anyhow::bail!("a commit that welcomes nobody");
    };
    Ok(FanoutMessage {
        timestamp: 0,
        content: FanoutContent::Welcome {
            message: Message::from_welcome(welcome),
            ratchet_tree,
        },
    })
}
