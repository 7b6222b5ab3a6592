//! What takes long keeps no other room waiting.

#![allow(clippy::unwrap_used, reason = "tests")]

mod world;

use std::sync::{Arc, Mutex};

use client::mls::Answered;
use hub::{Hub, Job, LocalTasks, Offload, Options, Outcome, Parts, Spawner, Work};
use mimi::RoomUri;
use shard::{Incarnation, Node, NodeOptions};
use world::{World, accepted, body, member, room, run, submit, update, waits};

/// Does nothing apart for as long as it is told to hold it.
#[derive(Clone, Default)]
struct Held(Arc<Mutex<Option<Vec<Job>>>>);

impl Held {
    fn hold(&self) {
        *self.0.lock().unwrap() = Some(Vec::new());
    }

    /// Does what was held, and says how much that was.
    fn release(&self) -> usize {
        let held = self.0.lock().unwrap().take().unwrap();
        let count = held.len();
        held.into_iter().for_each(|job| job());
        count
    }

    /// Loses what was held.
    fn lose(&self) {
        self.0.lock().unwrap().take().unwrap();
    }
}

impl Spawner for Held {
    fn groups(&self) -> usize {
        1
    }

    fn spawn(&self, group: usize, work: Work) {
        LocalTasks.spawn(group, work);
    }

    fn offload(&self) -> Offload {
        let held = self.0.clone();
        Offload::new(move |job| match &mut *held.lock().unwrap() {
            Some(jobs) => jobs.push(job),
            None => job(),
        })
    }
}

/// A hub whose rooms of two clients are large.
async fn world() -> (World, Held) {
    let options = Options {
        apart_from_clients: 2,
        ..Options::default()
    };
    let (mut world, held) = (World::new(options).await, Held::default());
    let node = NodeOptions::sole(Incarnation([2; 16]));
    let hub = Hub::start(Parts {
        ledger: world.ledger.clone(),
        node: Node::start(world.database.clone(), node).await.unwrap(),
        transport: world.papers.clone(),
        clock: world.clock.clone(),
        keys: world.keys.clone(),
        spawner: Arc::new(held.clone()),
        couriers: tokio::runtime::Handle::current().into(),
        runtime: tokio::runtime::Handle::current(),
        seed: 2,
        options: world.options.clone(),
    });
    world.hub = hub.await.unwrap();
    (world, held)
}

async fn says(world: &World, id: &RoomUri, who: &mut client::mls::Member, from: &str) -> bool {
    let message = who.send(id, b"still here").unwrap();
    accepted(&body(world.hub.call(id.clone(), submit(from, &message)).await))
}

#[test]
fn while_a_commit_of_a_large_room_is_worked_out_the_other_rooms_of_its_shard_go_on() {
    run(async {
        let (world, held) = world().await;
        let (large, other) = (room("large"), room("other"));
        let (mut alice, mut bob) = world.invited(&large).await;
        let mut carol = member("a.example/d/carol/phone");
        world.found(&mut carol, &other).await;

        held.hold();
        let commit = alice.self_update(&large).unwrap();
        let mut committing = Box::pin(world.hub.call(large.clone(), update("a", &commit)));
        assert!(waits(&mut committing).await);
        // Its own room comes after it, in order.
        let behind = bob.self_update(&large).unwrap();
        let mut waiting = Box::pin(world.hub.call(large.clone(), update("b", &behind)));
        assert!(waits(&mut waiting).await);
        for _ in 0..3 {
            assert!(says(&world, &other, &mut carol, "a").await);
        }
        assert!(waits(&mut committing).await);

        assert_eq!(held.release(), 1, "only the first of a room is worked out");
        let answer = body(committing.await);
        assert!(matches!(
            alice.on_answer(&large, &answer).unwrap(),
            Answered::Accepted(_)
        ));
        assert!(matches!(waiting.await, Outcome::Refused(_)), "its epoch is over");
        assert!(says(&world, &large, &mut alice, "a").await);
    });
}

#[test]
fn a_room_that_is_lost_where_it_is_worked_on_is_loaded_again() {
    run(async {
        let (world, held) = world().await;
        let id = room("large");
        let (mut alice, _bob) = world.invited(&id).await;
        held.hold();
        let commit = alice.self_update(&id).unwrap();
        let mut committing = Box::pin(world.hub.call(id.clone(), update("a", &commit)));
        assert!(waits(&mut committing).await);
        held.lose();
        assert!(matches!(committing.await, Outcome::Unavailable { .. }));
        let answer = body(world.hub.call(id.clone(), update("a", &commit)).await);
        assert!(matches!(alice.on_answer(&id, &answer).unwrap(), Answered::Accepted(_)));
    });
}
