//! Rows: each is needed, and there are never many.
#![allow(clippy::unwrap_used, reason = "tests")]

mod world;

use bytes::Bytes;
use client::mls::{ADMIN, ORDINARY, RoomProfile};
use mimi::{ParticipantListUpdate, Role, RoleData};
use openmls::prelude::{AppDataUpdateProposal, Proposal};
use room::{AnswerKind, Refusal, Room, Row, RowId, SNAPSHOT_EPOCHS, UPDATE_ANSWERS};
use world::raw::{Raw, Wish};
use world::{World, id, member, not_allowed};

fn kind(id: &RowId) -> &'static str {
    match id {
        RowId::Head => "head",
        RowId::Snapshot(_) => "snapshot",
        RowId::Delta(_) => "delta",
        RowId::Dictionary(_) => "dictionary",
        RowId::Pending(_) => "pending",
        RowId::Blocked(_) => "blocked",
        RowId::Leaving(_) => "leaving",
        RowId::Frozen => "frozen",
        RowId::GroupInfo => "group info",
        RowId::Route(_) => "route",
        RowId::Answer(_) => "answer",
        RowId::Follower(_) => "follower",
        RowId::Grant(_) => "grant",
        RowId::Orphan(_) => "orphan",
        RowId::Over => "over",
    }
}

/// Every row of `world` that can go without anybody noticing.
fn needless(world: &World) -> Vec<RowId> {
    let whole = world.room.canonical();
    let without = |missing: &RowId| {
        let rows = world.rows.clone().into_iter().filter(|(id, _)| id != missing);
        Room::open(id(), rows).is_ok_and(|room| room.canonical() == whole)
    };
    world.rows.keys().filter(|id| without(id)).cloned().collect()
}

/// A room with rows of every kind but `frozen`, `grant`, `orphan` and `over`.
fn eventful() -> World {
    let (mut world, mut alice) = World::found(&RoomProfile::default());
    let mut bob = member("b.example/d/bob/phone");
    let mut carol = member("c.example/d/carol/phone");
    world.invite(&mut alice, ORDINARY, &mut [&mut bob]).unwrap();
    world.invite(&mut alice, ORDINARY, &mut [&mut carol]).unwrap();
    let mut raw = world.invite_raw(&mut alice, ADMIN, "a.example/d/mallory/phone");
    let dave = [member("c.example/d/dave/phone")];
    world.key_material(&alice, &dave).unwrap();
    let body = alice.send(&id(), b"hello").unwrap();
    world.submit("a.example", &body).unwrap();
    world.bring(&mut bob);
    world.bring(&mut carol);
    let body = bob.leave(&id()).unwrap();
    world.handshake(&mut bob, &body).unwrap();
    raw.catch_up(&world);
    let body = raw.propose_list(&ParticipantListUpdate {
        removed: vec![2],
        ..ParticipantListUpdate::default()
    });
    world.update("a.example", &body).unwrap();
    world
}

#[test]
fn no_row_of_any_kind_can_go_unnoticed() {
    let world = eventful();
    assert_eq!(needless(&world), []);
    let mut kinds: Vec<_> = world.rows.keys().map(kind).collect();
    kinds.dedup();
    kinds.sort_unstable();
    let all = [
        "answer",
        "blocked",
        "delta",
        "dictionary",
        "follower",
        "group info",
        "head",
        "leaving",
        "pending",
        "route",
        "snapshot",
    ];
    assert_eq!(kinds, all);
    let answers = |wanted| {
        world
            .rows
            .values()
            .any(|row| matches!(row, Row::Answer { kind, .. } if *kind == wanted))
    };
    assert!(answers(AnswerKind::Update) && answers(AnswerKind::Submit));
}

#[test]
fn no_row_that_does_not_belong_goes_unnoticed() {
    let world = eventful();
    let (_, delta) = world.rows.iter().find(|(id, _)| matches!(id, RowId::Delta(_))).unwrap();
    let (_, dictionary) = world
        .rows
        .iter()
        .find(|(id, _)| matches!(id, RowId::Dictionary(_)))
        .unwrap();
    for (extra, row) in [
        (RowId::Delta(room::Epoch(99)), delta.clone()),
        (RowId::Dictionary(room::Digest([7; 32])), dictionary.clone()),
        (RowId::Head, Row::Blocked),
        (
            RowId::Follower(world::provider("d.example")),
            Row::Follower { since: room::Seq(1) },
        ),
    ] {
        let rows = world.rows.clone().into_iter().chain([(extra.clone(), row)]);
        assert!(Room::open(id(), rows).is_err(), "{extra:?}");
    }
}

#[test]
fn octets_of_another_version_or_cut_short_are_corrupt() {
    let world = eventful();
    let spoiled = |octets: &Bytes| {
        let mut other = octets.to_vec();
        other[0] = 2;
        [Bytes::from(other), octets.slice(..octets.len() - 1), Bytes::new()]
    };
    for (row_id, row) in &world.rows {
        let rows: Vec<Row> = match row.clone() {
            Row::Snapshot { state } => spoiled(&state).map(|state| Row::Snapshot { state }).into(),
            Row::Delta { commit, staged } => spoiled(&staged)
                .map(|staged| Row::Delta {
                    commit: commit.clone(),
                    staged,
                })
                .into(),
            Row::Dictionary { octets } => spoiled(&octets).map(|octets| Row::Dictionary { octets }).into(),
            _ => continue,
        };
        for row in rows {
            let mut all = world.rows.clone();
            all.insert(row_id.clone(), row);
            assert!(Room::open(id(), all).is_err(), "{row_id:?}");
        }
    }
}

#[test]
fn snapshots_take_the_place_of_deltas_and_old_answers_go() {
    let (mut world, mut alice) = World::found(&RoomProfile::default());
    let first = alice.self_update(&id()).unwrap();
    world.handshake(&mut alice, &first).unwrap();
    for _ in 0..UPDATE_ANSWERS {
        let body = alice.self_update(&id()).unwrap();
        world.handshake(&mut alice, &body).unwrap();
        let count = |wanted| world.rows.keys().filter(|id| kind(id) == wanted).count();
        assert!(count("delta") < usize::try_from(SNAPSHOT_EPOCHS).unwrap());
        assert_eq!(count("snapshot"), 1);
        assert_eq!(count("dictionary"), 1, "it did not change");
    }
    assert_eq!(
        world.rows.keys().filter(|id| kind(id) == "answer").count(),
        UPDATE_ANSWERS
    );
    let refused = world.update("a.example", &first);
    assert!(
        matches!(refused, Err(Refusal::WrongEpoch { .. })),
        "the first answer is forgotten: {refused:?}"
    );
    world.bring(&mut alice);
    world.assert_agreed(&[&alice]);
}

#[test]
fn h_24_answers_go_after_a_day() {
    let (mut world, mut alice) = World::found(&RoomProfile::default());
    let message = alice.send(&id(), b"hello").unwrap();
    world.submit("a.example", &message).unwrap();
    world.now.0 += room::ANSWERS_MILLIS;
    let other = alice.send(&id(), b"hello again").unwrap();
    world.submit("a.example", &other).unwrap();
    assert_eq!(world.rows.keys().filter(|id| kind(id) == "answer").count(), 1);
    let before = world.room.seq();
    world.submit("a.example", &message).unwrap();
    assert_eq!(world.room.seq().0, before.0 + 1);
}

/// The roles with one more capability of administrators.
fn may_reinit(roles: &[u8]) -> Vec<u8> {
    use mimi::{Decode as _, Encode as _};
    let mut roles = RoleData::decode_exact(roles).unwrap();
    let admin: &mut Role = roles.roles.iter_mut().find(|role| role.index == ADMIN).unwrap();
    admin
        .capabilities
        .push(policy::Capability::SendMlsReinitProposal.number());
    roles.encode()
}

/// A ReInit by value, as it stands in a commit.
fn reinit() -> Vec<u8> {
    // ReInit: group_id, version, cipher_suite, extensions.
    [&[1, 0, 5, 4][..], b"next", &[0, 1, 0, 1, 0]].concat()
}

fn accepted(world: &mut World, raw: &mut Raw, wish: Wish) {
    let body = raw.commit(wish).body();
    world.update("a.example", &body).unwrap();
    raw.merge();
}

#[test]
fn m_6_p_27_a_reinit_by_whom_it_is_allowed_ends_the_group_and_its_successor_opens_the_room() {
    let (mut world, mut alice) = World::found(&RoomProfile::default());
    let mut raw = world.invite_raw(&mut alice, ADMIN, "a.example/d/mallory/phone");
    let body = raw.commit_by_hand(&reinit()).body();
    assert_eq!(world.update("a.example", &body), Err(Refusal::NotAllowed("a ReInit")));
    let component = mimi::ComponentId::ROLES_LIST;
    let roles = may_reinit(world.room.view().dictionary().component(component).unwrap());
    let update = AppDataUpdateProposal::update(component.0, roles);
    let wish = Wish {
        others: vec![Proposal::AppDataUpdate(Box::new(update))],
        ..Wish::default()
    };
    accepted(&mut world, &mut raw, wish);
    let beside = [reinit(), vec![1, 0, 3, 0, 0, 0, 0]].concat();
    let body = raw.commit_by_hand(&beside).body();
    assert!(world.update("a.example", &body).is_err(), "a ReInit stands alone");
    let body = raw.commit_by_hand(&reinit()).body();
    world.update("a.example", &body).unwrap();
    assert_eq!(
        world.rows.get(&RowId::Frozen),
        Some(&Row::Frozen {
            successor: Bytes::from_static(b"next")
        })
    );
    assert_eq!(needless(&world), []);
    world.bring(&mut alice);
    let body = alice.send(&id(), b"hello").unwrap();
    let refused = world.submit("a.example", &body);
    assert_eq!(refused, Err(Refusal::NotAllowed("the room goes on in another group")));

    let extensions = raw.group().extensions().clone();
    let (another, _) = raw.found(b"another", extensions.clone());
    not_allowed(world.succeed(&another), "another group than");
    let stranger = Raw::new("a.example/d/mallory/tablet");
    let (theirs, _) = stranger.found(b"next", extensions.clone());
    not_allowed(world.succeed(&theirs), "was not in the room");
    let before = (world.room.seq(), world.room.view().participants().clone());
    let (next, group) = raw.found(b"next", extensions);
    world.succeed(&next).unwrap();
    assert!(world.room.is_as_founded(&next) && !world.room.is_ended());
    assert_eq!((world.room.seq(), world.room.view().participants().clone()), before);
    assert_eq!(needless(&world), []);
    not_allowed(world.succeed(&next), "did not end");
    world.restart();
    raw.group = Some(group);
    accepted(&mut world, &mut raw, Wish::default());
}
