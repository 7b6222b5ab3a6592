//! Which rooms are of minimal metadata, and what may be in them.
#![allow(clippy::unwrap_used, unreachable_pub, dead_code, reason = "tests")]

#[path = "presets/room.rs"]
mod room;
#[path = "presets/world.rs"]
mod world;

use mimi::mls::Credential;
use mimi::operational::{ExtendedCapabilities, OperationalParameters};
use mimi::{
    AppDataDictionary, BaseRoomPolicy, ClientUri, ComponentId, Decode, Encode, Participant, ParticipantList, UserUri,
};
use mimi::{ParticipantListUpdate, RoleChange};
use policy::pseudonyms::PSEUDONYMOUS;
use policy::{Actor, Change, Evidence, Leaf, RoomView, Stage, Violation, judge};
use room::room_with;
use world::set;

const ALICE: &str = "6f1c1ad2-3f6b-4c1d-9d56-0e7f6d1b2a3c";
const BOB: &str = "00000000-0000-4000-8000-00000000000b";
const PHONE: &str = "00000000-0000-4000-8000-000000000001";
const LAPTOP: &str = "00000000-0000-4000-8000-000000000002";

fn user(name: &str) -> UserUri {
    format!("mimi://a.example/u/{name}").parse().unwrap()
}

fn client(name: &str, device: &str) -> ClientUri {
    format!("mimi://a.example/d/{name}/{device}").parse().unwrap()
}

fn demanding() -> OperationalParameters {
    OperationalParameters {
        external_commit_allowed: true,
        mandatory_capabilities: ExtendedCapabilities {
            credentials: vec![PSEUDONYMOUS],
            ..ExtendedCapabilities::default()
        },
        ..OperationalParameters::default()
    }
}

fn list(names: &[(&str, u32)]) -> ParticipantList {
    let participant = |(name, role): &(&str, u32)| Participant {
        user: (&user(name)).into(),
        role: *role,
    };
    ParticipantList {
        participants: names.iter().map(participant).collect(),
    }
}

/// A room with these users in it, the first with a client; everybody but role 2 may add others.
fn veiled_with(names: &[(&str, u32)], edit: impl FnOnce(&mut BaseRoomPolicy)) -> RoomView {
    let mut dictionary: AppDataDictionary =
        room_with(&[(ComponentId::OPERATIONAL_POLICY, demanding().encode())], |base| {
            base.pseudonyms_allowed = true;
            edit(base);
        })
        .dictionary()
        .clone();
    dictionary
        .0
        .insert(ComponentId::PARTICIPANT_LIST, list(names).encode().into());
    RoomView::new(dictionary, [client(names[0].0, PHONE)]).unwrap()
}

fn veiled(names: &[(&str, u32)]) -> RoomView {
    veiled_with(names, |_| {})
}

fn leaf(client: &ClientUri, credential_type: u16) -> Leaf {
    Leaf {
        client: client.clone(),
        credential_type,
        capabilities: ExtendedCapabilities {
            credentials: vec![PSEUDONYMOUS, Credential::BASIC],
            ..ExtendedCapabilities::default()
        },
    }
}

/// Alice adds users and clients.
fn adds(users: &[(&str, u32)], clients: &[Leaf]) -> Change {
    let update = ParticipantListUpdate {
        added: list(users).participants,
        ..ParticipantListUpdate::default()
    };
    Change {
        actor: Actor::Member(client(ALICE, PHONE)),
        components: vec![set(ComponentId::PARTICIPANT_LIST, &update)],
        removes: Vec::new(),
        adds: clients.iter().map(|leaf| leaf.client.clone()).collect(),
        authorized: false,
        evidence: Evidence {
            leaves: clients.to_vec(),
            ..Evidence::default()
        },
    }
}

fn judged(room: &RoomView, change: Change) -> Result<RoomView, Violation> {
    judge(room, &[change], Stage::Committed)
}

#[test]
fn mm_1_a_room_is_of_pseudonyms_where_they_are_allowed_and_demanded() {
    assert!(veiled(&[(ALICE, 4)]).is_minimal_metadata());
    assert!(!room_with(&[], |base| base.pseudonyms_allowed = true).is_minimal_metadata());
    let contradiction = veiled_with(&[(ALICE, 4)], |base| base.pseudonyms_allowed = false);
    assert!(!contradiction.is_minimal_metadata());
    assert_eq!(
        contradiction.check(),
        Err(Violation::Invalid("pseudonyms are demanded and not allowed"))
    );
}

#[test]
fn mm_1_a_client_with_a_real_name_gets_no_leaf() {
    let room = veiled(&[(ALICE, 4)]);
    let phone = client(BOB, PHONE);
    assert!(judged(&room, adds(&[(BOB, 2)], &[leaf(&phone, PSEUDONYMOUS)])).is_ok());
    let named = judged(&room, adds(&[(BOB, 2)], &[leaf(&phone, Credential::BASIC)]));
    assert_eq!(named, Err(Violation::Invalid("a real name in a room of pseudonyms")));
    let unknown = Change {
        evidence: Evidence::default(),
        ..adds(&[(BOB, 2)], &[leaf(&phone, PSEUDONYMOUS)])
    };
    assert!(judged(&room, unknown).is_err(), "a leaf of which nothing is known");
    assert!(room.check_credential(Credential::BASIC).is_err());
    assert!(room.check_credential(PSEUDONYMOUS).is_ok());
}

#[test]
fn mm_2_participants_have_no_real_names_and_clients_the_pseudonym_of_one() {
    assert!(veiled(&[(ALICE, 4), (BOB, 2)]).check().is_ok());
    let named = Err(Violation::Invalid(
        "a participant with a real name in a room of pseudonyms",
    ));
    assert_eq!(veiled(&[(ALICE, 4), ("bob", 2)]).check(), named);

    let room = veiled(&[(ALICE, 4)]);
    assert_eq!(judged(&room, adds(&[("bob", 2)], &[])).map(drop), named);
    let both = [
        leaf(&client(BOB, PHONE), PSEUDONYMOUS),
        leaf(&client(BOB, LAPTOP), PSEUDONYMOUS),
    ];
    assert!(judged(&room, adds(&[(BOB, 2)], &both)).is_ok());
    let apart = [
        leaf(&client(BOB, PHONE), PSEUDONYMOUS),
        leaf(&client(LAPTOP, LAPTOP), PSEUDONYMOUS),
    ];
    assert_eq!(
        judged(&room, adds(&[(BOB, 2)], &apart)).map(drop),
        Err(Violation::Invalid("a client whose user is not in the list"))
    );
}

#[test]
fn mm_1_a_room_does_not_become_one_of_pseudonyms_nor_cease_to_be() {
    let room = veiled(&[(ALICE, 4)]);
    let by_alice = |component, value: &OperationalParameters| Change {
        components: vec![set(component, value)],
        ..adds(&[], &[])
    };
    let tolerant = OperationalParameters::default();
    let change = by_alice(ComponentId::OPERATIONAL_POLICY, &tolerant);
    let unveiled = judge(
        &room,
        &[Change {
            authorized: true,
            ..change
        }],
        Stage::Proposed,
    );
    assert_eq!(
        unveiled,
        Err(Violation::Invalid("a room becomes one of pseudonyms, or ceases to be"))
    );
    let base =
        BaseRoomPolicy::decode_exact(room.dictionary().component(ComponentId::BASE_ROOM_POLICY).unwrap()).unwrap();
    let named = BaseRoomPolicy {
        pseudonyms_allowed: false,
        ..base
    };
    let change = Change {
        components: vec![set(ComponentId::BASE_ROOM_POLICY, &named)],
        authorized: true,
        ..adds(&[], &[])
    };
    assert!(judge(&room, &[change], Stage::Proposed).is_err());
    // A role changes as anywhere.
    let room = veiled(&[(ALICE, 4), (BOB, 2)]);
    let rise = ParticipantListUpdate {
        changed: vec![RoleChange { user_index: 1, role: 3 }],
        ..ParticipantListUpdate::default()
    };
    let change = Change {
        components: vec![set(ComponentId::PARTICIPANT_LIST, &rise)],
        ..adds(&[], &[])
    };
    assert!(judged(&room, change).is_ok());
}
