//! What a hub has lost for a room its clients are told, in its place; and inboxes are trimmed of what nobody needs.

#![allow(clippy::unwrap_used, reason = "tests")]

mod brought;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use brought::{Courier, LEDGER, SHARD, client, events, inviter, message, messages, provider, room};
use bytes::Bytes;
use ledger::follower::{InboxPosition, Inboxes};
use ledger::{Offset, Seq};
use nave_follower::{Body, Events, Fault, Follower, Item, Keeping, Stored};
use proto::follower::Event;
use route::ShardId;
use store::{Database, KeyRange};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

const KEEPING: Keeping = Keeping {
    acknowledged: DAY,
    regardless: Duration::from_secs(30 * 24 * 60 * 60),
    every: Duration::from_secs(60),
};

/// A follower on a clock that moves when it is told to, and what a hub brings it.
struct World {
    follower: Follower,
    database: Database,
    days: Arc<AtomicU64>,
    courier: Courier,
    alice: client::mls::Member,
}

impl World {
    fn new() -> Self {
        let (database, days) = (Database::memory(), Arc::new(AtomicU64::new(100)));
        let now = days.clone();
        let clock = Arc::new(move || now.load(Ordering::Relaxed) * u64::try_from(DAY.as_millis()).unwrap());
        Self {
            follower: Follower::new(provider("b"), database.clone(), clock),
            database,
            days,
            courier: Courier::new(),
            alice: inviter("alice"),
        }
    }

    fn days_later(&self, days: u64) {
        self.days.fetch_add(days, Ordering::Relaxed);
    }

    fn items(&mut self, count: usize) -> Vec<Item> {
        let item = |_| self.courier.message(&message(&mut self.alice, "hello"));
        (0..count).map(item).collect()
    }

    async fn deliver(&self, items: &[Item]) -> Stored {
        let hub = provider("a");
        self.follower.deliver(&hub, LEDGER, SHARD, items).await.unwrap()
    }

    async fn brought(&mut self, count: usize) -> Vec<Item> {
        let items = self.items(count);
        assert_eq!(self.deliver(&items).await.alarms, Vec::<&str>::new());
        items
    }

    async fn trim(&self) {
        self.follower.trim_all(KEEPING).await.unwrap();
    }

    /// Places of the inbox.
    async fn places(&self) -> Vec<u64> {
        let mut transaction = self.database.begin();
        let (inboxes, room) = (Inboxes(&mut transaction), room());
        let entries = inboxes.entries(&room, InboxPosition::FIRST, 8 << 20).await;
        entries.unwrap().into_iter().map(|(place, _)| place.0).collect()
    }

    async fn rows(&self, table: &[u8]) -> usize {
        let range = KeyRange::prefix(table);
        self.database.begin().range(range, 1_000, false).await.unwrap().len()
    }

    async fn follows(&self, device: &str) -> Events {
        let phone = client("bob", device);
        self.follower.follow(&phone, &room()).await.unwrap();
        self.follower.open(phone).await.unwrap().0
    }

    async fn acknowledges(&self, device: &str, position: u64) {
        let (_, acks) = self.follower.open(client("bob", device)).await.unwrap();
        acks.acknowledge(&room(), InboxPosition(position)).await.unwrap();
    }
}

fn octets(items: &[Item]) -> Vec<Bytes> {
    let octets = items.iter().map(|item| match &item.body {
        Body::Message(octets) => octets.clone(),
        Body::Digest(_) => panic!("for others"),
    });
    octets.collect()
}

fn rejoin(position: u64) -> Event {
    Event {
        room: room().as_str().to_owned(),
        position,
        rejoin: true,
        ..Event::default()
    }
}

#[tokio::test]
async fn b_2_what_the_hub_lost_each_client_is_told_once_in_its_place_and_goes_on() {
    let mut world = World::new();
    let mut phone = world.follows("phone").await;
    let items = world.items(9);
    world.deliver(&items[..3]).await;
    let hub = provider("a");
    for until in [7, 7, 6] {
        world.follower.lose(&hub, &room(), Seq(until)).await.unwrap();
    }
    let (rooms, _) = world.follower.rooms(Some(&hub), None, 9).await.unwrap();
    assert_eq!((rooms[0].seq, rooms[0].lost), (Seq(3), Seq(7)));
    // What the hub still has of it is no contradiction, and nothing is asked for.
    let as_is = nave_follower::AsIs::Rooms([].into());
    let stored = world
        .follower
        .deliver_up_to_a_gap(&hub, LEDGER, SHARD, &items[6..], &as_is);
    let stored = stored.await.unwrap();
    assert_eq!((stored.gap, stored.alarms, stored.next), (None, vec![], Offset(91)));
    let seen = events(&mut phone, 7).await;
    assert_eq!(messages(&seen[..3]), octets(&items[..3]));
    assert_eq!(seen[3], rejoin(4));
    assert_eq!(messages(&seen[4..]), octets(&items[6..]));
    // Whoever comes later reads the same; whoever had read it is not told again.
    world.acknowledges("phone", 4).await;
    let (mut again, _) = world.follower.open(client("bob", "phone")).await.unwrap();
    assert_eq!(messages(&events(&mut again, 3).await), octets(&items[6..]));
    let lost = world.follower.lose(&provider("c"), &room(), Seq(99)).await;
    assert!(matches!(lost, Err(Fault::Forbidden(_))));
}

#[tokio::test]
async fn b_2_a_gap_that_is_taken_as_it_is_makes_the_rooms_clients_join_again() {
    let mut world = World::new();
    let mut phone = world.follows("phone").await;
    let items = world.items(6);
    world.deliver(&items[..2]).await;
    assert_eq!(world.deliver(&items[4..]).await.alarms, ["gap"]);
    let seen = events(&mut phone, 5).await;
    assert_eq!(seen[2], rejoin(3));
    assert_eq!(messages(&seen[3..]), octets(&items[4..]));
    // Nobody can say what is lacking where something came without its number.
    let (hub, room, text) = (provider("a"), room(), message(&mut world.alice, "x"));
    world.follower.notify(&hub, &room, &text).await.unwrap();
    let items = world.items(4);
    world.deliver(&items[2..]).await;
    let seen = events(&mut phone, 3).await;
    assert!(seen.iter().all(|event| !event.rejoin));
}

#[tokio::test]
async fn b_2_what_all_clients_have_acknowledged_goes_after_a_day_and_nothing_else() {
    let mut world = World::new();
    let _streams = [world.follows("phone").await, world.follows("tablet").await];
    let first = world.brought(6).await;
    world.acknowledges("phone", 6).await;
    world.acknowledges("tablet", 4).await;
    world.trim().await;
    assert_eq!(world.places().await.len(), 6, "all of it is young");
    world.days_later(2);
    world.brought(3).await;
    world.trim().await;
    assert_eq!(world.places().await, [5, 6, 7, 8, 9], "the tablet needs it");
    assert_eq!(world.rows(b"Pd").await, 5);
    world.acknowledges("tablet", 9).await;
    world.acknowledges("phone", 9).await;
    world.trim().await;
    assert_eq!(world.places().await, [7, 8, 9], "what is young stays");
    // A repeat of what is gone has no effect, and is no contradiction.
    let (hub, other) = (provider("a"), ShardId(9));
    let again = world.follower.deliver(&hub, LEDGER, other, &first).await.unwrap();
    assert_eq!(again.alarms, Vec::<&str>::new());
    assert_eq!(world.places().await, [7, 8, 9]);
    // Nobody is told anything.
    let (mut stream, _) = world.follower.open(client("bob", "phone")).await.unwrap();
    let next = world.brought(1).await;
    assert_eq!(messages(&events(&mut stream, 1).await), octets(&next));
}

#[tokio::test]
async fn b_2_what_a_client_did_not_acknowledge_for_a_month_goes_and_it_is_told_to_join_again() {
    let mut world = World::new();
    let mut phone = world.follows("phone").await;
    world.follows("tablet").await;
    world.brought(4).await;
    events(&mut phone, 4).await;
    world.acknowledges("phone", 4).await;
    world.days_later(29);
    let later = world.brought(2).await;
    world.trim().await;
    assert_eq!(world.places().await.len(), 6, "the tablet is waited for");
    world.days_later(2);
    world.trim().await;
    assert_eq!(world.places().await, [5, 6]);
    assert_eq!(
        messages(&events(&mut phone, 2).await),
        octets(&later),
        "it had read the others"
    );
    let (mut tablet, acks) = world.follower.open(client("bob", "tablet")).await.unwrap();
    let seen = events(&mut tablet, 3).await;
    assert_eq!(seen[0], rejoin(4));
    assert_eq!(messages(&seen[1..]), octets(&later));
    acks.acknowledge(&room(), InboxPosition(4)).await.unwrap();
    let (mut tablet, _) = world.follower.open(client("bob", "tablet")).await.unwrap();
    assert_eq!(messages(&events(&mut tablet, 2).await), octets(&later));

    // Also where nothing is left.
    world.days_later(40);
    world.trim().await;
    assert_eq!((world.places().await, world.rows(b"Pd").await), (vec![], 0));
    let (mut tablet, _) = world.follower.open(client("bob", "tablet")).await.unwrap();
    assert_eq!(events(&mut tablet, 1).await, [rejoin(6)]);
    let next = world.brought(1).await;
    assert_eq!(messages(&events(&mut tablet, 1).await), octets(&next));
}

#[tokio::test]
async fn b_2_an_inbox_is_trimmed_by_any_number_of_followers_while_it_grows() {
    let mut world = World::new();
    world.follows("phone").await;
    world.brought(600).await;
    world.acknowledges("phone", 500).await;
    world.days_later(2);
    let items = world.items(50);
    let deliver = async {
        for some in items.chunks(5) {
            world.deliver(some).await;
        }
    };
    tokio::join!(world.trim(), world.trim(), deliver, world.trim());
    assert_eq!(world.places().await, (501..=650).collect::<Vec<_>>());
    assert_eq!(world.rows(b"Pd").await, 150);
}

#[tokio::test]
async fn b_2_whoever_followed_before_followers_were_known_by_room_loses_nothing() {
    let mut world = World::new();
    for device in ["phone", "tablet"] {
        world.follows(device).await;
    }
    world.brought(4).await;
    world.acknowledges("phone", 4).await;
    // As an earlier release left it.
    let mut transaction = world.database.begin();
    transaction.clear_range(KeyRange::prefix(b"Pw"));
    transaction.commit().await.unwrap();
    world.days_later(2);
    world.trim().await;
    assert_eq!(world.places().await.len(), 4, "the tablet needs it");
    assert_eq!((world.rows(b"Pw").await, world.rows(b"Pf").await), (2, 2));
    world
        .follower
        .unfollow(&client("bob", "tablet"), &room())
        .await
        .unwrap();
    assert_eq!(world.rows(b"Pw").await, 1);
    world.trim().await;
    assert_eq!(world.places().await, [0_u64; 0]);
}

#[tokio::test]
async fn b_2_what_an_earlier_release_stored_is_read_and_goes_when_what_is_behind_it_does() {
    let world = World::new();
    let at = |table: &[u8], rest: &[u8]| [table, room().as_str().as_bytes(), &[0], rest].concat();
    let place = |place: u8| at(b"Pi", &[0, 0, 0, 0, 0, 0, 0, place, 0, 0, 0, 0]);
    let mut transaction = world.database.begin();
    transaction.set(place(1), [&[1, 0x08, 1, 0x12, 5][..], b"first"].concat());
    transaction.set(place(2), [&[1, 0x08, 2, 0x12, 6][..], b"second"].concat());
    transaction.set(
        at(b"Ph", b""),
        [&[1, 0x08, 3, 0x10, 2, 0x1a, 32][..], &[9; 32]].concat(),
    );
    transaction.commit().await.unwrap();
    world.trim().await;
    assert_eq!(world.places().await, [1, 2], "nobody knows how old it is");
    world.follower.lose(&provider("a"), &room(), Seq(7)).await.unwrap();
    let loss = world.database.begin().get(&place(3)).await.unwrap().unwrap();
    assert_eq!(
        loss[..],
        [1, 0x28, 0x80, 0xe0, 0xef, 0x97, 0x20],
        "when it was stored, and nothing else"
    );
    let head = world.database.begin().get(&at(b"Ph", b"")).await.unwrap().unwrap();
    assert!(head.starts_with(&[1, 0x08, 4, 0x10, 2, 0x1a, 32]) && head.ends_with(&[9, 0x28, 7]));
    world.days_later(2);
    world.trim().await;
    assert_eq!(world.places().await, [0_u64; 0]);
    let head = world.database.begin().get(&at(b"Ph", b"")).await.unwrap().unwrap();
    assert!(head.ends_with(&[9, 0x28, 7, 0x30, 2]), "up to where it is forgotten");
}
