//! Whatever happens to followers, tail and process: each follower gets every entry due to it, each room's in order.

#![allow(clippy::unwrap_used, reason = "tests")]

mod world;

use std::collections::BTreeMap;
use std::time::Duration;

use fanout::Options;
use proptest::prelude::*;
use room::Shown;
use world::World;

const FOLLOWERS: [&str; 3] = ["b", "c", "d"];

#[derive(Debug, Clone)]
enum Step {
    Append { room: u8, to: Vec<bool> },
    Down { follower: usize, down: bool },
    Stuck { follower: usize, offset: u64 },
    Sleep { ms: u64 },
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0..3u8, prop::collection::vec(any::<bool>(), 3)).prop_map(|(room, to)| Step::Append { room, to }),
        2 => (0..3usize, any::<bool>()).prop_map(|(follower, down)| Step::Down { follower, down }),
        1 => (0..3usize, 0..60u64).prop_map(|(follower, offset)| Step::Stuck { follower, offset }),
        3 => (0..3_000u64).prop_map(|ms| Step::Sleep { ms }),
        1 => Just(Step::Restart),
    ]
}

async fn play(steps: Vec<Step>) {
    let options = Options {
        tail_entries_max: 6,
        window_entries_max: 4,
        above_max: 8,
        ..Options::default()
    };
    let mut world = World::new(options).await;
    let mut due: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    let mut head = 0;
    for step in steps {
        match step {
            Step::Append { room, to } => {
                let names = FOLLOWERS.iter().zip(to).filter(|(_, to)| *to).map(|(name, _)| *name);
                let to: Vec<_> = names.map(|name| (name, Shown::Message)).collect();
                for (name, _) in &to {
                    due.entry(name).or_default().push(head);
                }
                world.append(&room.to_string(), &to).await;
                head += 1;
            }
            Step::Down { follower, down } => world.papers.change(FOLLOWERS[follower], |paper| paper.down = down),
            Step::Stuck { follower, offset } => {
                world
                    .papers
                    .change(FOLLOWERS[follower], |paper| paper.stuck = [offset].into());
            }
            Step::Sleep { ms } => tokio::time::sleep(Duration::from_millis(ms)).await,
            Step::Restart => world.restart().await,
        }
    }
    for name in FOLLOWERS {
        world.papers.change(name, |paper| {
            paper.down = false;
            paper.stuck.clear();
        });
    }
    world.settle().await;
    for name in FOLLOWERS {
        let mut arrived = world.papers.offsets(name);
        arrived.sort_unstable();
        arrived.dedup();
        assert_eq!(arrived, due.remove(name).unwrap_or_default(), "{name}");
    }
    let cursors = world.ledger.cursors(world::SHARD).await.unwrap();
    let start = world.ledger.position(world::SHARD).await.unwrap().tail_start;
    assert!(
        cursors.values().all(|cursor| cursor.above().next().is_none()),
        "{cursors:?} {start:?}"
    );
    // Nothing is left to do for a next life.
    world.restart().await;
    let before: Vec<_> = FOLLOWERS.iter().map(|name| world.papers.offsets(name).len()).collect();
    world.settle().await;
    let after: Vec<_> = FOLLOWERS.iter().map(|name| world.papers.offsets(name).len()).collect();
    assert_eq!(before, after, "something was sent that was durably acknowledged");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn everything_due_arrives(steps in prop::collection::vec(step(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(play(steps));
    }
}
