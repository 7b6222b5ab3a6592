//! What rooms demand of clients and of those who act from outside, and what a whole list of changes comes to.
#![allow(clippy::unwrap_used, unreachable_pub, dead_code, reason = "tests")]

#[path = "presets/room.rs"]
mod room;
#[path = "presets/world.rs"]
mod world;

use mimi::mls::Credential;
use mimi::operational::{ExtendedCapabilities, OperationalParameters};
use mimi::{AppDataOperation, AppDataUpdate, ClientUri, ComponentId, Encode, ParticipantList, RoleData};
use policy::{Actor, Change, Leaf, Preset, RoomView, Stage, Violation, judge};
use room::{room, room_with};
use world::{World, phone, user};

fn leaf(client: &ClientUri) -> Leaf {
    Leaf {
        client: client.clone(),
        credential_type: Credential::BASIC,
        capabilities: ExtendedCapabilities::default(),
    }
}

#[test]
fn p_21_pseudonyms_and_persistence_are_as_the_base_policy_says() {
    let pseudonym = Leaf {
        credential_type: policy::pseudonyms::PSEUDONYMOUS,
        ..leaf(&phone("x2"))
    };
    assert!(room(&[]).check_leaf(Some(&pseudonym)).is_err());
    assert!(room(&[]).check_leaf(Some(&leaf(&phone("x2")))).is_ok());
    room_with(&[], |base| base.pseudonyms_allowed = true)
        .check_leaf(Some(&pseudonym))
        .unwrap();
    let empty = |persistent: bool| {
        let room = room_with(&[], |base| base.persistent_room = persistent);
        RoomView::new(room.dictionary().clone(), []).unwrap().is_accessible()
    };
    assert!(empty(true) && !empty(false));
}

fn operational(edit: impl FnOnce(&mut OperationalParameters)) -> RoomView {
    let mut operational = OperationalParameters {
        external_commit_allowed: true,
        external_proposal_allowed: true,
        ..OperationalParameters::default()
    };
    edit(&mut operational);
    room(&[(ComponentId::OPERATIONAL_POLICY, operational.encode())])
}

#[test]
fn p_28_nobody_acts_from_outside_where_the_room_forbids_it() {
    let tablet: ClientUri = "mimi://a.example/d/x2/tablet".parse().unwrap();
    let world = World::new(Preset::Cooperative);
    let by = |actor: fn(ClientUri) -> Actor| Change {
        actor: actor(tablet.clone()),
        adds: vec![tablet.clone()],
        ..world.by(2)
    };
    let judged = |room: &RoomView, change: Change| judge(room, &[change], Stage::Committed).is_ok();
    let open = operational(|_| {});
    assert!(judged(&open, by(Actor::Joiner)) && judged(&open, by(Actor::Applicant)));
    let no_commit = operational(|operational| operational.external_commit_allowed = false);
    assert!(!judged(&no_commit, by(Actor::Joiner)) && judged(&no_commit, by(Actor::Applicant)));
    let no_proposal = operational(|operational| operational.external_proposal_allowed = false);
    assert!(judged(&no_proposal, by(Actor::Joiner)) && !judged(&no_proposal, by(Actor::Applicant)));
    assert!(!judged(&no_proposal, world.remove(5, 2)), "nor does the enforcer");
    assert!(judged(&no_proposal, by(Actor::Member)));
}

#[test]
fn p_28_handshakes_have_the_formats_that_the_room_lists() {
    use mimi::mls::wire_format::{PRIVATE_MESSAGE, PUBLIC_MESSAGE, SEMI_PRIVATE_MESSAGE};
    let allowed = |formats: &[u16], format| {
        operational(|operational| operational.handshake_formats = formats.to_vec()).allows_handshake(format)
    };
    assert!(allowed(&[], PUBLIC_MESSAGE) && !allowed(&[], SEMI_PRIVATE_MESSAGE));
    assert!(
        allowed(&[SEMI_PRIVATE_MESSAGE], SEMI_PRIVATE_MESSAGE) && !allowed(&[SEMI_PRIVATE_MESSAGE], PUBLIC_MESSAGE)
    );
    assert!(!allowed(&[PRIVATE_MESSAGE], PRIVATE_MESSAGE), "whatever the room says");
}

#[test]
fn p_28_added_clients_have_what_is_mandatory_and_not_what_is_forbidden() {
    let laptop: ClientUri = "mimi://a.example/d/x2/laptop".parse().unwrap();
    let room = operational(|operational| {
        operational.mandatory_capabilities.extensions = vec![3, 6];
        operational.mandatory_capabilities.component_ids = vec![ComponentId::PARTICIPANT_LIST];
        operational.forbidden_capabilities.proposals = vec![0xf00d];
    });
    let add = |leaves: Vec<Leaf>| {
        let mut change = Change {
            adds: vec![laptop.clone()],
            ..World::new(Preset::Cooperative).by(2)
        };
        change.evidence.leaves = leaves;
        judge(&room, &[change], Stage::Committed)
    };
    let mut able = leaf(&laptop);
    able.capabilities.extensions = vec![6];
    able.capabilities.component_ids = vec![ComponentId::PARTICIPANT_LIST];
    assert!(add(vec![able.clone()]).is_ok(), "extension 3 is in RFC 9420");
    assert!(add(Vec::new()).is_err(), "nothing is known of the client");
    assert!(add(vec![leaf(&laptop)]).is_err());
    able.capabilities.proposals = vec![0xf00d];
    assert!(add(vec![able]).is_err());
}

#[test]
fn s_13_a_departure_that_the_enforcer_begins_is_completed_by_whoever_commits() {
    let world = World::new(Preset::Strict);
    let begin = world.kick(5, 2);
    let complete = |role| Change {
        removes: Vec::new(),
        ..world.remove(role, 2)
    };
    assert!(judge(&world.view, std::slice::from_ref(&begin), Stage::Proposed).is_ok());
    assert!(judge(&world.view, std::slice::from_ref(&begin), Stage::Committed).is_err());
    assert!(world.judge(&complete(2)).is_err(), "an ordinary user removes nobody");
    let after = judge(&world.view, &[begin.clone(), complete(2)], Stage::Committed).unwrap();
    assert_eq!(after.role_index(&user("y2")), None);
    let mut other = complete(2);
    other.components = world.remove(2, 3).components;
    assert!(
        judge(&world.view, &[begin, other], Stage::Committed).is_err(),
        "of nobody else"
    );
}

#[test]
fn l_8_preauthorization_changes_together_with_removals_only() {
    let world = World::new(Preset::Strict);
    let list = world
        .view
        .dictionary()
        .component(ComponentId::PREAUTH_LIST)
        .unwrap()
        .clone();
    let with = |mut change: Change| {
        change.components.push(AppDataUpdate {
            component: ComponentId::PREAUTH_LIST,
            operation: AppDataOperation::Update(list.clone()),
        });
        world.judge(&change)
    };
    with(world.remove(4, 2)).unwrap();
    assert!(matches!(with(world.add(4, 2)), Err(Violation::Invalid(_))));
    assert!(matches!(with(world.change(4, 2, 3, false)), Err(Violation::Invalid(_))));
}

#[test]
fn p_29_a_list_of_changes_is_judged_by_what_comes_of_it() {
    let mut roles = Preset::Cooperative.roles();
    roles.roles[3].maximum_participants = Some(2);
    let room = room(&[(ComponentId::ROLES_LIST, roles.encode())]);
    let world = World::new(Preset::Cooperative);
    let promote = world.change(4, 2, 3, false);
    let demote = world.change(4, 3, 2, false);
    assert!(matches!(
        judge(&room, std::slice::from_ref(&promote), Stage::Committed),
        Err(Violation::Limit(_))
    ));
    assert!(judge(&room, &[promote, demote], Stage::Committed).is_ok());
}

#[test]
fn p_29_l_6_a_role_may_begin_with_too_few_holders_but_nobody_is_taken_from_it() {
    let view = World::new(Preset::MultiOrganization).view;
    let dictionary = view.dictionary();
    let list = |names: &[(&str, u32)]| {
        let participants = names.iter().map(|(name, role)| mimi::Participant {
            user: (&user(name)).into(),
            role: *role,
        });
        let list = ParticipantList {
            participants: participants.collect(),
        };
        let mut dictionary = dictionary.clone();
        dictionary.0.insert(ComponentId::PARTICIPANT_LIST, list.encode().into());
        RoomView::new(dictionary, names.iter().map(|(name, _)| phone(name))).unwrap()
    };
    list(&[("x8", 8)]).check().unwrap();
    let one = list(&[("x8", 8), ("y6", 6)]);
    let role_data: RoleData = Preset::MultiOrganization.roles();
    assert_eq!(role_data.role(6).unwrap().minimum_participants, 1);
    let kick = Change {
        removes: vec![phone("y6")],
        ..World::new(Preset::MultiOrganization).by(8)
    };
    assert!(matches!(
        judge(&one, &[kick], Stage::Committed),
        Err(Violation::Limit(_))
    ));
}
