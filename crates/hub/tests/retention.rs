//! What all have acknowledged leaves the log after a while, and what nobody is waited for; the rooms go on.

#![allow(clippy::unwrap_used, reason = "tests")]

mod world;

use std::sync::atomic::Ordering;
use std::time::Duration;

use hub::Options;
use ledger::{Offset, ReadLimit};
use route::ShardId;
use world::{World, accepted, body, provider, room, run, submit};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn keeps_a_day() -> Options {
    let mut options = Options {
        retention: Some(DAY),
        ..Options::default()
    };
    // So that whoever is behind is behind in the log, too.
    options.fanout.tail_entries_max = 8;
    options
}

fn keeps_a_month_for_nobody() -> Options {
    Options {
        regardless: Some(30 * DAY),
        ..keeps_a_day()
    }
}

/// The offsets in the log, and where it begins.
async fn log(world: &World) -> (usize, u64) {
    let all = ReadLimit {
        entries: 1_000,
        bytes: usize::MAX,
    };
    let entries = world.ledger.read_log(ShardId(0), Offset(0), all).await.unwrap();
    let position = world.ledger.position(ShardId(0)).await.unwrap();
    assert!(entries.first().is_none_or(|first| first.offset == position.trimmed));
    assert_eq!(position.trimmed.0 + entries.len() as u64, position.head.0);
    (entries.len(), position.trimmed.0)
}

async fn after(world: &World, time: Duration) {
    let millis = u64::try_from(time.as_millis()).unwrap();
    world.clock.0.fetch_add(millis, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(300)).await;
}

#[test]
fn what_was_acknowledged_goes_when_it_is_old_enough_and_the_room_goes_on() {
    run(async {
        let mut world = World::new(keeps_a_day()).await;
        let id = room("one");
        let (mut alice, mut bob) = world.invited(&id).await;
        after(&world, DAY / 2).await;
        let (kept, first) = log(&world).await;
        assert!(kept > 0 && first == 0, "everything is young");
        after(&world, DAY).await;
        let (_, first) = log(&world).await;
        assert!(first > 0, "what is old went");

        // A restart in the middle.
        world.restart().await;
        let message = alice.send(&id, b"still here").unwrap();
        assert!(accepted(&body(world.hub.call(id.clone(), submit("a", &message)).await)));
        world.bring("b", &id, &mut bob).await;
        assert_eq!(bob.epoch(&id), alice.epoch(&id));
        assert_eq!(log(&world).await.1, first, "what is young stays");
        after(&world, 2 * DAY).await;
        assert!(log(&world).await.1 > first);
    });
}

#[test]
fn what_somebody_has_not_acknowledged_stays_however_old_it_is() {
    run(async {
        let mut world = World::new(keeps_a_day()).await;
        let id = room("one");
        let (mut alice, _bob) = world.invited(&id).await;
        *world.papers.down.lock().unwrap() = true;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let first_due = world.head().await;
        for n in 0..30_u8 {
            let message = alice.send(&id, &[n]).unwrap();
            assert!(accepted(&body(world.hub.call(id.clone(), submit("a", &message)).await)));
        }
        let before = world.papers.messages("b").len();
        after(&world, 100 * DAY).await;
        assert_eq!(log(&world).await, (30, first_due));
        world.restart().await;
        after(&world, 100 * DAY).await;
        assert_eq!(log(&world).await, (30, first_due));
        *world.papers.down.lock().unwrap() = false;
        tokio::time::sleep(Duration::from_secs(900)).await;
        assert_eq!(world.papers.messages("b").len(), before + 30);
        // The start of the tail is written with the next report.
        let message = alice.send(&id, b"on").unwrap();
        assert!(accepted(&body(world.hub.call(id.clone(), submit("a", &message)).await)));
        after(&world, DAY / 2).await;
        assert!(log(&world).await.1 >= first_due + 22);
    });
}

#[test]
fn b_2_what_somebody_has_not_acknowledged_goes_after_a_month_and_the_follower_is_told() {
    run(async {
        let mut world = World::new(keeps_a_month_for_nobody()).await;
        let id = room("one");
        let (mut alice, _bob) = world.invited(&id).await;
        *world.papers.down.lock().unwrap() = true;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let first_due = world.head().await;
        for n in 0..30_u8 {
            let message = alice.send(&id, &[n]).unwrap();
            assert!(accepted(&body(world.hub.call(id.clone(), submit("a", &message)).await)));
        }
        let before = world.papers.messages("b").len();
        after(&world, 29 * DAY).await;
        assert_eq!(log(&world).await, (30, first_due), "it is not time yet");
        let message = alice.send(&id, b"younger").unwrap();
        assert!(accepted(&body(world.hub.call(id.clone(), submit("a", &message)).await)));
        after(&world, 2 * DAY).await;
        assert_eq!(log(&world).await, (1, first_due + 30));
        let cursors = world.ledger.cursors(ShardId(0)).await.unwrap();
        let b = &cursors[&provider("b")];
        assert_eq!((b.next.0, b.expired), (first_due + 30, true));

        // A restart in the middle; then the follower comes back.
        world.restart().await;
        *world.papers.down.lock().unwrap() = false;
        tokio::time::sleep(Duration::from_secs(900)).await;
        assert!(world.papers.told.lock().unwrap().contains(&provider("b")));
        assert_eq!(world.papers.messages("b").len(), before + 1, "what is left");
        let cursors = world.ledger.cursors(ShardId(0)).await.unwrap();
        assert!(!cursors[&provider("b")].expired, "it was told");
    });
}
