//! What an operator decides about followers holds over restarts, and is said as it is.

#![allow(clippy::unwrap_used, reason = "tests")]

mod world;

use std::time::Duration;

use client::mls::Member;
use hub::Options;
use hub::operator::{Paused, Retried, Which};
use ledger::{Offset, Seq, SetAside};
use mimi::RoomUri;
use route::ShardId;
use world::{World, accepted, body, provider, room, run, submit};

const ALL: Which = Which::Page { after: None, max: 64 };

/// A world in which b refused the last message of a room, which was set aside.
async fn refused() -> (World, RoomUri, Member) {
    let mut world = World::new(Options::default()).await;
    let id = room("one");
    let (mut alice, _bob) = world.invited(&id).await;
    world.papers.refuses.lock().unwrap().insert(provider("b"));
    say(&world, &id, &mut alice, b"no").await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(
        world.ledger.set_aside(ShardId(0), &provider("b")).await.unwrap().len(),
        1
    );
    world.restart().await;
    (world, id, alice)
}

async fn say(world: &World, id: &RoomUri, from: &mut Member, text: &[u8]) {
    let message = from.send(id, text).unwrap();
    assert!(accepted(&body(world.hub.call(id.clone(), submit("a", &message)).await)));
}

async fn set_aside(world: &World) -> Vec<SetAside> {
    let page = world.hub.operator().set_aside(&provider("b"), &ALL).await.unwrap();
    assert!(!page.more);
    page.entries.into_iter().map(|(aside, ())| aside.entry).collect()
}

#[test]
fn an_entry_that_was_set_aside_is_brought_once_more_byte_for_byte_after_the_shard_was_opened_again() {
    run(async {
        let (mut world, id, mut alice) = refused().await;
        let [aside] = &set_aside(&world).await[..] else {
            panic!("one entry")
        };
        assert_eq!((aside.room.clone(), aside.status), (id.clone(), 400));
        let which = Which::One {
            room: id.clone(),
            seq: aside.seq,
        };
        let operator = world.hub.operator();
        let retried = operator.retry(&provider("b"), &which).await.unwrap();
        let refused = Retried::Refused {
            status: 400,
            reason: "no".to_owned(),
        };
        assert_eq!(retried.entries[0].1, Some(refused));

        // Other rooms go on meanwhile, and so does its own.
        world.papers.refuses.lock().unwrap().clear();
        say(&world, &id, &mut alice, b"on").await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let before = world.papers.messages("b").len();

        let retried = operator.retry(&provider("b"), &which).await.unwrap();
        assert_eq!(retried.entries[0].1, Some(Retried::Brought));
        assert_eq!(world.papers.messages("b").len(), before + 1);
        let limit = ledger::ReadLimit { entries: 1, bytes: 1 };
        let logged = world.ledger.read_log(ShardId(0), aside.offset, limit).await.unwrap();
        assert!(
            world.papers.messages("b").contains(&logged[0].message),
            "the same octets"
        );
        assert_eq!(set_aside(&world).await, []);
        world.restart().await;
        assert_eq!(set_aside(&world).await, []);
        let gone = world.hub.operator().retry(&provider("b"), &which).await.unwrap();
        assert_eq!(gone.entries, []);
    });
}

#[test]
fn why_a_follower_is_behind_is_said_and_what_it_refused_stays() {
    run(async {
        let (world, id, mut alice) = refused().await;
        *world.papers.down.lock().unwrap() = true;
        say(&world, &id, &mut alice, b"later").await;
        tokio::time::sleep(Duration::from_secs(600)).await;
        let retried = world.hub.operator().retry(&provider("b"), &ALL).await.unwrap();
        assert_eq!(retried.entries[0].1, Some(Retried::Unreached("down".to_owned())));
        assert_eq!(set_aside(&world).await.len(), 1);
        let found = world.hub.operator().followers(None, 10).await;
        let [_, b] = &found.followers[..] else {
            panic!("{found:?}")
        };
        assert_eq!((b.follower.as_str(), b.failure.as_str()), ("b.example", "down"));
        assert_eq!((b.behind, b.lag, b.resting, b.set_aside), (1, 1, 1, 1));
        assert!(b.failures > 1);
    });
}

#[test]
fn an_entry_that_is_given_up_is_forgotten_for_good() {
    run(async {
        let (mut world, id, _) = refused().await;
        let operator = world.hub.operator();
        let other = Which::One { room: id, seq: Seq(1) };
        assert_eq!(operator.skip(&provider("b"), &other).await.unwrap().entries, []);
        let skipped = operator.skip(&provider("b"), &ALL).await.unwrap();
        assert_eq!((skipped.entries.len(), skipped.entries[0].1), (1, true));
        world.restart().await;
        assert_eq!(set_aside(&world).await, []);
        assert_eq!(world.ledger.set_aside(ShardId(0), &provider("b")).await.unwrap(), []);
    });
}

#[test]
fn a_pause_is_durable_before_it_is_answered_in_every_shard_and_ends_when_it_is_told_to() {
    run(async {
        let mut world = World::with_shards(4, Options::default()).await;
        let id = room("one");
        let (mut alice, _bob) = world.invited(&id).await;
        let paused = world.hub.operator().pause(&provider("b"), true).await;
        let everywhere = Paused {
            served: 4,
            durable: 4,
            full: 0,
        };
        assert_eq!(paused, everywhere);
        world.restart().await;
        let before = world.papers.messages("b").len();
        say(&world, &id, &mut alice, b"later").await;
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        assert_eq!(world.papers.messages("b").len(), before);
        let found = world.hub.operator().followers(Some(&provider("a")), 10).await;
        let [b] = &found.followers[..] else { panic!("{found:?}") };
        assert_eq!((found.served, b.paused, b.behind, b.lag), (4, 4, 1, 1));
        let shards = world.hub.operator().follower(&provider("b"), None, 10).await;
        assert_eq!(
            shards.shards.iter().filter(|(_, standing)| standing.is_paused).count(),
            4
        );

        assert_eq!(world.hub.operator().pause(&provider("b"), false).await, everywhere);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(world.papers.messages("b").len(), before + 1);
        world.restart().await;
        let found = world.hub.operator().followers(Some(&provider("a")), 10).await;
        assert_eq!(found.followers[0].paused, 0);
    });
}

#[test]
fn what_is_set_aside_is_told_by_page_over_all_shards() {
    run(async {
        let mut world = World::with_shards(4, Options::default()).await;
        let mut members = Vec::new();
        for n in 0..6 {
            let id = room(&n.to_string());
            members.push((world.invited(&id).await.0, id));
        }
        world.papers.refuses.lock().unwrap().insert(provider("b"));
        for (alice, id) in &mut members {
            say(&world, id, alice, b"no").await;
        }
        tokio::time::sleep(Duration::from_secs(600)).await;
        world.restart().await;
        let (mut after, mut found) = (None, Vec::new());
        loop {
            let which = Which::Page { after, max: 2 };
            let page = world.hub.operator().set_aside(&provider("b"), &which).await.unwrap();
            assert!(page.entries.len() <= 2);
            let Some((last, ())) = page.entries.last() else { break };
            after = Some((last.shard, last.entry.offset));
            found.extend(page.entries.iter().map(|(aside, ())| (aside.shard, aside.entry.offset)));
            if !page.more {
                break;
            }
        }
        assert!(found.is_sorted() && found.len() == 6, "{found:?}");
        assert_ne!(found[0], (ShardId(0), Offset(u64::MAX)));
    });
}

#[test]
fn followers_are_told_by_page_whatever_shards_they_are_in() {
    run(async {
        let world = World::with_shards(4, Options::default()).await;
        world.invited(&room("one")).await;
        for name in ["x", "c", "m"] {
            world.hub.operator().pause(&provider(name), true).await;
        }
        let mut names = Vec::new();
        let mut after = None;
        loop {
            let page = world.hub.operator().followers(after.as_ref(), 2).await;
            names.extend(page.followers.iter().map(|summary| summary.follower.to_string()));
            after = page.followers.last().map(|last| last.follower.clone());
            if !page.more || after.is_none() {
                break;
            }
        }
        assert_eq!(names, ["a.example", "b.example", "c.example", "m.example", "x.example"]);
    });
}
