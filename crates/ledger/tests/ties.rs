//! Rows between rooms: one room has a membership to itself whatever fails, and marks go when they were worked off.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use ledger::{Batch, Change, Due, Membership, ShardLog, Tie};
use mimi::UserUri;
use room::Seq;
use shard::Tenure;
use support::{World, room, written};

fn users(names: &[&str]) -> Vec<UserUri> {
    let user = |name: &&str| format!("mimi://a.example/u/{name}").parse().unwrap();
    names.iter().map(user).collect()
}

fn membership(names: &[&str]) -> Membership {
    Membership::of(&users(names))
}

async fn append(log: &mut ShardLog, tenure: &Tenure, name: &str, ties: Vec<Tie>) -> bool {
    let change = Change {
        room: room(name),
        entries: Vec::new(),
        rows: Vec::new(),
        ties,
    };
    let mut batch = Batch::default();
    batch.push(written(&log.rooms(), tenure, change).await);
    let due = batch.is_due();
    log.append(tenure, batch).await.unwrap();
    due
}

async fn marked(world: &World) -> Vec<String> {
    let due = world.ledger.due(None).await.unwrap();
    due.into_iter().map(|(room, _)| room.as_str().to_owned()).collect()
}

#[test]
fn p_18_memberships_are_told_apart_by_their_users() {
    assert_eq!(membership(&["al", "bo"]), membership(&["al", "bo"]));
    assert_ne!(membership(&["al", "bo"]), membership(&["al"]));
    assert_ne!(membership(&["a", "lbo"]), membership(&["al", "bo"]));
    assert_ne!(membership(&[]), membership(&["al"]));
}

#[tokio::test(start_paused = true)]
async fn p_18_a_membership_is_of_the_first_room_that_claims_it_until_that_frees_it() {
    let world = World::new().await;
    let (tenure, mut log) = world.log().await;
    let (one, two) = (room("one"), room("two"));
    let set = membership(&["al", "bo"]);
    let rooms = log.rooms();
    assert!(rooms.claim(&tenure, &one, &set).await.unwrap());
    assert!(rooms.claim(&tenure, &one, &set).await.unwrap(), "again");
    assert!(!rooms.claim(&tenure, &two, &set).await.unwrap());
    assert!(
        rooms.claim(&tenure, &two, &membership(&["al"])).await.unwrap(),
        "another set"
    );
    append(&mut log, &tenure, "one", vec![Tie::Holds(set)]).await;
    let (tenure, mut log) = world.log().await;
    let rooms = log.rooms();
    assert!(
        !rooms.claim(&tenure, &two, &set).await.unwrap(),
        "whoever owns the shard"
    );
    assert!(rooms.claim(&tenure, &one, &set).await.unwrap());
    append(&mut log, &tenure, "one", vec![Tie::Frees(set)]).await;
    assert!(rooms.claim(&tenure, &two, &set).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn p_18_a_claim_that_came_to_nothing_ends_with_the_opening_of_the_log() {
    let world = World::new().await;
    let (tenure, log) = world.log().await;
    let set = membership(&["al", "bo"]);
    assert!(log.rooms().claim(&tenure, &room("one"), &set).await.unwrap());
    let log = ShardLog::open(&world.ledger, &tenure).await.unwrap();
    assert!(log.rooms().claim(&tenure, &room("two"), &set).await.unwrap());
    assert!(!log.rooms().claim(&tenure, &room("one"), &set).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn p_19_a_mark_is_passed_on_to_dependents_and_stays_until_it_was_worked_off() {
    let world = World::new().await;
    let (tenure, mut log) = world.log().await;
    for child in ["x", "y", "z"] {
        append(&mut log, &tenure, child, vec![Tie::Depends(room("parent"))]).await;
    }
    append(&mut log, &tenure, "z", vec![Tie::Parts(room("parent"))]).await;
    append(&mut log, &tenure, "other", vec![Tie::Depends(room("parent-2"))]).await;
    let mark = |seq| Tie::Due {
        seq: Seq(seq),
        parent: None,
    };
    assert!(append(&mut log, &tenure, "parent", vec![mark(7)]).await);
    let (room, due) = world.ledger.due(None).await.unwrap().remove(0);
    assert_eq!(marked(&world).await, ["mimi://hub.example/r/parent"]);
    assert!(world.ledger.pass_on(&room, &due).await.unwrap());
    assert_eq!(marked(&world).await.len(), 3, "two children and their parent");
    let after = world.ledger.due(Some(&room)).await.unwrap();
    let of_child = Due {
        parent: Some(room.clone()),
        ..due.clone()
    };
    assert!(after.iter().all(|(_, due)| *due == of_child), "{after:?}");
    assert_eq!(after.len(), 2);
    append(&mut log, &tenure, "parent", vec![mark(8)]).await;
    world.ledger.done(&room, &due).await.unwrap();
    assert_eq!(marked(&world).await.len(), 3, "it was marked again meanwhile");
    for (room, due) in world.ledger.due(None).await.unwrap() {
        world.ledger.done(&room, &due).await.unwrap();
        world.ledger.done(&room, &due).await.unwrap();
    }
    assert_eq!(marked(&world).await.len(), 0);
    assert!(
        !world.ledger.pass_on(&support::room("x"), &due).await.unwrap(),
        "nobody depends on it"
    );
}
