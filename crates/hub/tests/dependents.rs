//! What rooms have to do with each other: fixed memberships, and rooms that depend on another.

#![allow(clippy::unwrap_used, reason = "tests")]

mod world;

use client::mls::{Answered, Member, ORDINARY, RoomProfile};
use hub::{Options, Outcome, Request};
use mimi::codec::{Decode as _, Encode as _};
use mimi::mls::Credential;
use mimi::operational::OperationalParameters;
use mimi::{BaseRoomPolicy, ComponentId, RoomUri};
use policy::Preset;
use room::{Answer, Refusal};
use world::{World, body, member, room, run, submit, update};

/// A room whose base policy is as `edit` makes it.
fn profile(edit: impl FnOnce(&mut BaseRoomPolicy)) -> RoomProfile {
    let components = Preset::Cooperative.components(&Credential::basic("a.example"), &OperationalParameters::default());
    let mut base = BaseRoomPolicy::decode_exact(&components[&ComponentId::BASE_ROOM_POLICY]).unwrap();
    edit(&mut base);
    RoomProfile {
        policies: [(ComponentId::BASE_ROOM_POLICY, base.encode().into())].into(),
        ..RoomProfile::default()
    }
}

/// A room of Alice's and these users', to which nobody can be added.
fn fixed(others: &[&Member]) -> RoomProfile {
    let mut roles = Preset::Cooperative.roles();
    for role in &mut roles.roles {
        role.capabilities
            .retain(|number| *number != policy::Capability::AddParticipant.number());
    }
    let mut profile = profile(|base| base.fixed_membership = true);
    profile.policies.insert(ComponentId::ROLES_LIST, roles.encode().into());
    profile.participants = others.iter().map(|other| other.user()).collect();
    profile
}

fn depending_on(parent: &RoomUri) -> RoomProfile {
    profile(|base| {
        base.parent_dependant = true;
        base.parent_room = vec![parent.into()];
    })
}

fn founded(outcome: &Outcome) -> bool {
    *outcome == Outcome::Answer(Answer::Founded)
}

#[track_caller]
fn not_allowed(outcome: &Outcome, why: &str) {
    match outcome {
        Outcome::Refused(Refusal::NotAllowed(reason)) => assert!(reason.contains(why), "{reason}"),
        other => panic!("{other:?}"),
    }
}

async fn handshake(world: &World, from: &str, by: &mut Member, room: &RoomUri, body: bytes::Bytes) -> Outcome {
    let outcome = world.hub.call(room.clone(), update(from, &body)).await;
    match &outcome {
        Outcome::Answer(answer) => {
            let answered = by.on_answer(room, answer.body().unwrap()).unwrap();
            assert!(matches!(answered, Answered::Accepted(_)), "{answered:?}");
        }
        _ => by.on_refused(room).unwrap(),
    }
    outcome
}

async fn invite(world: &World, by: &mut Member, room: &RoomUri, whom: &mut Member) -> Outcome {
    let packages = whom.key_packages(1).unwrap();
    let body = by.add_user(room, &whom.user(), ORDINARY, &packages).unwrap();
    handshake(world, "a", by, room, body).await
}

/// A parent room with Alice, Bob and Carol, and a room of Alice's and Bob's that depends on it, in shards of their own.
async fn family() -> (World, [RoomUri; 2], [Member; 3]) {
    let world = World::with_shards(2, Options::default()).await;
    let shards = world.ledger.shards();
    let parent = room("parent");
    let mut names = (0..).map(|n| room(&format!("child-{n}")));
    let child = names
        .find(|child| shards.of(child.as_str()) != shards.of(parent.as_str()))
        .unwrap();
    let (mut alice, mut bob) = world.invited(&parent).await;
    let mut carol = member("c.example/d/carol/phone");
    world.bring("a", &parent, &mut alice).await;
    assert!(matches!(
        invite(&world, &mut alice, &parent, &mut carol).await,
        Outcome::Answer(_)
    ));
    world.bring("a", &parent, &mut alice).await;
    world.bring("b", &parent, &mut bob).await;
    let request = world.found_request_with(&mut alice, &child, &depending_on(&parent));
    assert!(founded(&world.hub.call(child.clone(), request).await));
    assert!(matches!(
        invite(&world, &mut alice, &child, &mut bob).await,
        Outcome::Answer(_)
    ));
    world.bring("b", &child, &mut bob).await;
    world.bring("a", &child, &mut alice).await;
    (world, [parent, child], [alice, bob, carol])
}

/// Until nothing is marked any more.
async fn settled(world: &World) {
    while !world.ledger.due(None).await.unwrap().is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[test]
fn p_18_a_hub_has_one_fixed_room_for_each_set_of_participants() {
    run(async {
        let mut world = World::with_shards(4, Options::default()).await;
        let [bob, carol] = ["b.example/d/bob/phone", "c.example/d/carol/phone"].map(member);
        let mut alice = member("a.example/d/alice/phone");
        let (first, second, other) = (room("first"), room("second"), room("other"));
        let request = world.found_request_with(&mut alice, &first, &fixed(&[&bob]));
        assert!(founded(&world.hub.call(first.clone(), request.clone()).await));
        for _ in 0..2 {
            let again = world.found_request_with(&mut member("a.example/d/alice/tablet"), &second, &fixed(&[&bob]));
            not_allowed(&world.hub.call(second.clone(), again).await, "fixed membership");
            assert!(
                founded(&world.hub.call(first.clone(), request.clone()).await),
                "the same room again"
            );
            world.restart().await;
        }
        let request = world.found_request_with(&mut alice, &other, &fixed(&[&bob, &carol]));
        assert!(founded(&world.hub.call(other, request).await), "another set");
        // Of rooms that are not fixed there are as many as anybody likes.
        for n in 0..2 {
            world.found(&mut alice, &room(&n.to_string())).await;
        }
    });
}

#[test]
fn p_18_of_two_that_are_founded_at_once_one_is() {
    run(async {
        let world = World::with_shards(4, Options::default()).await;
        let bob = member("b.example/d/bob/phone");
        let requests: Vec<_> = (0..6)
            .map(|n| {
                let id = room(&n.to_string());
                let request = world.found_request_with(&mut member("a.example/d/alice/phone"), &id, &fixed(&[&bob]));
                (id, request)
            })
            .collect();
        let calls = requests.into_iter().map(|(id, request)| world.hub.call(id, request));
        let outcomes = futures::future::join_all(calls).await;
        assert_eq!(
            outcomes.iter().filter(|outcome| founded(outcome)).count(),
            1,
            "{outcomes:?}"
        );
    });
}

#[test]
fn p_19_a_dependent_room_is_founded_beside_its_parent_by_some_of_its_participants() {
    run(async {
        let (world, [parent, child], [mut alice, ..]) = family().await;
        let orphan = world.found_request_with(&mut alice, &room("orphan"), &depending_on(&room("nowhere")));
        not_allowed(&world.hub.call(room("orphan"), orphan).await, "not there");
        let mut dave = member("a.example/d/dave/phone");
        let strange = world.found_request_with(&mut dave, &room("strange"), &depending_on(&parent));
        not_allowed(&world.hub.call(room("strange"), strange).await, "not in the parent");
        not_allowed(
            &invite(&world, &mut alice, &child, &mut dave).await,
            "not in the parent",
        );
        let mut carol = member("c.example/d/carol/phone");
        not_allowed(&invite(&world, &mut alice, &child, &mut carol).await, "all of them");
        let body = alice.self_update(&child).unwrap();
        let renewed = handshake(&world, "a", &mut alice, &child, body).await;
        assert!(matches!(renewed, Outcome::Answer(_)), "{renewed:?}");
    });
}

/// Bob left the parent: he is silent in the child, and gone with its next commit.
async fn assert_gone(world: &World, child: &RoomUri, alice: &mut Member, bob: &mut Member) {
    settled(world).await;
    let pending = world.stored(child).await;
    assert!(!pending.outlook().is_active(&bob.user()), "his removal is accepted");
    let message = bob.send(child, b"still here?").unwrap();
    not_allowed(&world.hub.call(child.clone(), submit("b", &message)).await, "");
    world.bring("a", child, alice).await;
    let body = alice.commit_pending(child).unwrap();
    let committed = handshake(world, "a", alice, child, body).await;
    assert!(matches!(committed, Outcome::Answer(_)), "{committed:?}");
    world.bring("b", child, bob).await;
    assert_eq!(bob.epoch(child), None, "he is told");
    assert!(!world.stored(child).await.view().participates(&bob.user()));
    assert!(world.stored(child).await.view().participates(&alice.user()));
}

#[test]
fn p_19_s_13_whoever_leaves_the_parent_leaves_its_dependents() {
    run(async {
        let (world, [parent, child], [mut alice, mut bob, _]) = family().await;
        let body = bob.leave(&parent).unwrap();
        let left = handshake(&world, "b", &mut bob, &parent, body).await;
        assert!(matches!(left, Outcome::Answer(_)), "{left:?}");
        assert_gone(&world, &child, &mut alice, &mut bob).await;
    });
}

#[test]
fn p_19_s_13_whoever_is_removed_from_the_parent_leaves_its_dependents_though_the_hub_died_meanwhile() {
    run(async {
        let (mut world, [parent, child], [mut alice, mut bob, _]) = family().await;
        settled(&world).await;
        let body = alice.remove_user(&parent, &bob.user()).unwrap();
        let removed = handshake(&world, "a", &mut alice, &parent, body).await;
        assert!(matches!(removed, Outcome::Answer(_)), "{removed:?}");
        // Nothing more is written before the process dies.
        world.faults.hold_commits();
        let elsewhere = World::new(Options::default()).await;
        drop(std::mem::replace(&mut world.hub, elsewhere.hub.clone()));
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        world.faults.release();
        assert_eq!(world.ledger.due(None).await.unwrap().len(), 1, "what is due is durable");
        assert!(world.stored(&child).await.outlook().is_active(&bob.user()));
        world.restart().await;
        assert_gone(&world, &child, &mut alice, &mut bob).await;
    });
}

#[test]
fn p_19_a_dependent_room_ends_with_its_parent() {
    run(async {
        let (world, [parent, child], [mut alice, mut bob, mut carol]) = family().await;
        world.bring("c", &parent, &mut carol).await;
        world.bring("a", &parent, &mut alice).await;
        let users = [bob.user(), carol.user()];
        for user in users {
            let body = alice.remove_user(&parent, &user).unwrap();
            let removed = handshake(&world, "a", &mut alice, &parent, body).await;
            assert!(matches!(removed, Outcome::Answer(_)), "{removed:?}");
            world.bring("a", &parent, &mut alice).await;
        }
        let body = alice.leave(&parent).unwrap();
        let left = handshake(&world, "a", &mut alice, &parent, body).await;
        assert!(matches!(left, Outcome::Answer(_)), "{left:?}");
        settled(&world).await;
        assert!(world.stored(&parent).await.is_over());
        assert!(world.stored(&child).await.is_over());
        let message = bob.send(&child, b"anybody?").unwrap();
        not_allowed(&world.hub.call(child.clone(), submit("b", &message)).await, "over");
    });
}

#[test]
fn p_21_p_27_who_may_destroy_a_room_ends_it_by_leaving_last_and_its_uri_names_no_other() {
    run(async {
        let mut world = World::new(Options::default()).await;
        let id = room("one");
        let mut alice = member("a.example/d/alice/phone");
        world.found(&mut alice, &id).await;
        let leave = alice.leave(&id).unwrap();
        let left = body(world.hub.call(id.clone(), update("a", &leave)).await);
        for _ in 0..2 {
            let again = body(world.hub.call(id.clone(), update("a", &leave)).await);
            assert_eq!(again, left, "whoever asks again gets the first answer");
            let mut other = member("a.example/d/other/phone");
            let request = world.found_request(&mut other, &id);
            assert_eq!(world.hub.call(id.clone(), request).await, Outcome::RoomExists);
            let (request, _) = other.group_info_request(&id).unwrap();
            let asked = Request::Command(room::Command::GroupInfo {
                from: world::provider("a"),
                body: request,
            });
            not_allowed(&world.hub.call(id.clone(), asked).await, "over");
            world.restart().await;
        }
    });
}

#[test]
fn p_19_a_room_that_has_nobody_who_left_its_parent_stays_as_it_is() {
    run(async {
        let (world, [parent, child], _) = family().await;
        settled(&world).await;
        let head = world.stored(&child).await.head();
        for room in [&parent, &child] {
            let followed = world.hub.call(room.clone(), Request::Follow).await;
            assert_eq!(followed, Outcome::Answer(Answer::Followed));
        }
        assert_eq!(world.stored(&child).await.head(), head);
        let unknown = world.hub.call(room("nobody"), Request::Follow).await;
        assert_eq!(unknown, Outcome::UnknownRoom);
    });
}
