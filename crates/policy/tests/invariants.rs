//! Whatever is asked of a room of an example policy: what is accepted keeps the rules on its state, and what is refused
//! changes nothing.
#![allow(clippy::unwrap_used, unreachable_pub, dead_code, reason = "tests")]

#[path = "presets/world.rs"]
mod world;

use std::collections::BTreeSet;

use mimi::{ComponentId, Decode, ParticipantList};
use policy::{Change, Preset, RoomView, Stage, judge};
use proptest::prelude::*;
use world::{World, phone};

#[derive(Debug, Clone)]
enum Wish {
    Add(u32, u32),
    Remove(u32, u32),
    Change(u32, u32, u32, bool),
    Kick(u32, u32),
    Leave(u32),
    Join(u32, Option<u32>),
    Metadata(u32, usize),
    Policy(u32, usize),
    /// Something else, without its clients.
    Half(Box<Self>),
    /// Something else, and a client of somebody more.
    More(Box<Self>, u32),
}

fn wishes() -> impl Strategy<Value = Wish> {
    let role = || 1u32..10;
    let one = prop_oneof![
        (role(), role()).prop_map(|(actor, to)| Wish::Add(actor, to)),
        (role(), role()).prop_map(|(actor, from)| Wish::Remove(actor, from)),
        (role(), role(), role(), any::<bool>()).prop_map(|(actor, from, to, own)| Wish::Change(actor, from, to, own)),
        (role(), role()).prop_map(|(actor, of)| Wish::Kick(actor, of)),
        role().prop_map(Wish::Leave),
        (role(), proptest::option::of(role())).prop_map(|(to, code)| Wish::Join(to, code)),
        (role(), 0usize..5).prop_map(|(actor, field)| Wish::Metadata(actor, field)),
        (role(), 0usize..7).prop_map(|(actor, component)| Wish::Policy(actor, component)),
    ];
    one.prop_recursive(1, 2, 1, |inner| {
        prop_oneof![
            inner.clone().prop_map(|wish| Wish::Half(Box::new(wish))),
            (inner, 1u32..10).prop_map(|(wish, of)| Wish::More(Box::new(wish), of)),
        ]
    })
}

impl Wish {
    fn change(&self, world: &World) -> Change {
        let enforcer = world.preset.enforcer();
        let actor = |role: &u32| (*role).min(enforcer);
        let holder = |role: &u32| (*role).min(world.preset.founder());
        match self {
            Self::Add(by, to) => world.add(actor(by), actor(to)),
            Self::Remove(by, from) => world.remove(actor(by), holder(from)),
            Self::Change(by, from, to, own) => world.change(actor(by), holder(from), actor(to), *own),
            Self::Kick(by, of) => world.kick(actor(by), holder(of)),
            Self::Leave(role) => world.leave(holder(role)),
            Self::Join(to, code) => world.join(actor(to), *code),
            Self::Metadata(by, field) => world.put(actor(by), world.metadata_changes().swap_remove(*field).1),
            Self::Policy(by, component) => world.put(actor(by), world.policy_changes().swap_remove(*component).1),
            Self::Half(wish) => Change {
                removes: Vec::new(),
                ..wish.change(world)
            },
            Self::More(wish, of) => {
                let mut change = wish.change(world);
                change.removes.push(phone(&format!("y{of}")));
                change
            }
        }
    }
}

/// L-6 and what belongs to it, without the code under test where that can be.
fn keeps_the_rules(view: &RoomView) {
    view.check().unwrap();
    let octets = view.dictionary().component(ComponentId::PARTICIPANT_LIST).unwrap();
    let list = ParticipantList::decode_exact(octets).unwrap();
    let users: BTreeSet<_> = list.participants.iter().map(|each| each.user.user().unwrap()).collect();
    assert_eq!(users.len(), list.participants.len(), "each user once");
    for user in view.active_users() {
        assert!(users.contains(user), "a client of nobody in the list");
        let role = view.role(user).unwrap();
        assert_ne!(role.maximum_active_participants, Some(0), "a client of {:?}", role.name);
    }
    for participant in &list.participants {
        assert_ne!(participant.role, 0);
        assert!(view.role(&participant.user.user().unwrap()).is_some());
    }
}

fn presets() -> impl Strategy<Value = Preset> {
    proptest::sample::select(Preset::ALL.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn l_6_p_30_what_is_accepted_keeps_the_rules_and_what_is_refused_changes_nothing(
        preset in presets(),
        wishes in proptest::collection::vec(wishes(), 1..4),
    ) {
        let world = World::new(preset);
        let changes: Vec<Change> = wishes.iter().map(|wish| wish.change(&world)).collect();
        let before = world.view.clone();
        let octets = before.canonical();
        let committed = judge(&world.view, &changes, Stage::Committed);
        prop_assert_eq!(&world.view, &before);
        prop_assert_eq!(world.view.canonical(), octets);
        // Equal views judge alike, so hub and member come to one result.
        prop_assert_eq!(&judge(&before, &changes, Stage::Committed), &committed);
        if let Ok(after) = committed {
            keeps_the_rules(&after);
            let proposed = judge(&world.view, &changes, Stage::Proposed);
            prop_assert_eq!(proposed.as_ref(), Ok(&after), "what can be committed can be proposed");
        }
    }
}
