//! The example policies, each against a table of who may do what: actor's role × action × target's role.
#![allow(clippy::unwrap_used, unreachable_pub, reason = "tests")]

#[path = "presets/tables.rs"]
mod tables;
#[path = "presets/world.rs"]
mod world;

use mimi::{BaseRoomPolicy, ClientUri, ComponentId, Decode, Encode, RoleData};
use policy::{Actor, Capability, Change, Preset, Stage};
use tables::{Row, Table};
use world::{World, phone, user};

/// Compares a kind of action, for every actor's and every target's role, with its rows.
fn compare(world: &World, rows: &[Row], what: &str, change: impl Fn(u32, u32) -> Option<Change>) {
    for actor in 1..=world.preset.enforcer() {
        let row = rows
            .iter()
            .find(|(role, _)| *role == actor)
            .map(|(_, row)| row.as_bytes());
        for target in 1..=world.preset.enforcer() {
            let Some(change) = change(actor, target) else { continue };
            let expected = row.is_some_and(|row| row[target as usize - 1] == b'Y');
            let judged = world.judge(&change);
            assert_eq!(
                judged.is_ok(),
                expected,
                "{what} by {actor} of or to {target}: {judged:?}"
            );
        }
    }
}

fn participants(world: &World, role: u32) -> bool {
    role <= world.preset.founder()
}

fn adding(world: &World, table: &Table) {
    compare(world, table.add, "adding", |actor, role| Some(world.add(actor, role)));
}

fn removing(world: &World, table: &Table) {
    compare(world, table.remove, "removing", |actor, role| {
        participants(world, role).then(|| world.remove(actor, role))
    });
}

fn banning(world: &World, table: &Table) {
    compare(world, table.ban, "banning", |actor, role| {
        (participants(world, role) && role != 1).then(|| world.change(actor, role, 1, false))
    });
}

fn unbanning(world: &World, table: &Table) {
    compare(world, table.unban, "unbanning", |actor, role| {
        (role != 1).then(|| world.change(actor, 1, role, false))
    });
}

fn kicking(world: &World, table: &Table) {
    compare(world, table.kick, "kicking", |actor, role| {
        // What an enforcer begins by removing clients is complete only with the list: refused on its own, too.
        (participants(world, role) && role != 1).then(|| world.kick(actor, role))
    });
}

fn changing(world: &World, table: &Table) {
    for from in 2..=world.preset.founder() {
        let rows = table.change.iter().filter(|(_, role, _)| *role == from);
        let rows: Vec<Row> = rows.map(|(actor, _, row)| (*actor, *row)).collect();
        compare(world, &rows, "changing", |actor, to| {
            (to != 1 && to != from).then(|| world.change(actor, from, to, false))
        });
    }
}

fn own_clients(world: &World, table: &Table) {
    for role in 1..=world.preset.founder() {
        let may = table.own_clients.contains(&role);
        let name = format!("x{role}");
        let laptop: ClientUri = format!("mimi://a.example/d/{name}/laptop").parse().unwrap();
        let add = Change {
            adds: vec![laptop.clone()],
            ..world.by(role)
        };
        assert_eq!(world.judge(&add).is_ok(), may, "an own client added by {role}");
        let join = Change {
            actor: Actor::Joiner(laptop),
            ..add
        };
        assert_eq!(
            world.judge(&join).is_ok(),
            may,
            "an own client joining by itself as {role}"
        );
        if role != 1 {
            let remove = Change {
                removes: vec![phone(&name)],
                ..world.by(role)
            };
            assert_eq!(world.judge(&remove).is_ok(), may, "an own client removed by {role}");
        }
        // Nobody's own clients are added by an enforcer.
        let enforcer = world.preset.enforcer();
        let other = Change {
            adds: vec![format!("mimi://a.example/d/{name}/laptop").parse().unwrap()],
            ..world.by(enforcer)
        };
        assert!(world.judge(&other).is_err());
    }
}

fn leaving(world: &World, table: &Table) {
    for role in 1..=world.preset.founder() {
        let may = table.leave.contains(&role);
        assert_eq!(world.judge(&world.leave(role)).is_ok(), may, "{role} leaves");
        if role != 1 {
            let stays = Change {
                removes: Vec::new(),
                ..world.leave(role)
            };
            assert!(world.judge(&stays).is_err(), "a client of {role} stays behind");
        }
    }
}

fn joining_openly(world: &World) {
    for role in 1..=world.preset.enforcer() {
        assert!(world.judge(&world.join(role, None)).is_err(), "anybody joins as {role}");
    }
}

fn joining_preauthorized(preset: Preset, table: &Table) {
    for role in 1..=preset.enforcer() {
        let world = World::preauthorizing(preset, Some((world::NEW, role)));
        for wanted in 1..=preset.enforcer() {
            let may = wanted == role && table.preauthorized.contains(&role);
            let judged = world.judge(&world.join(wanted, None));
            assert_eq!(
                judged.is_ok(),
                may,
                "joining as {wanted}, preauthorized as {role}: {judged:?}"
            );
        }
    }
    // Whoever is in the list is not looked up: a banned user stays out.
    let world = World::preauthorizing(preset, Some(("x1", 2)));
    let back = Change {
        actor: Actor::Joiner(phone("x1")),
        adds: vec![phone("x1")],
        ..world.by(1)
    };
    assert!(world.judge(&back).is_err());
}

fn joining_by_code(world: &World, table: &Table) {
    for code in 1..=world.preset.enforcer() {
        for wanted in 1..=world.preset.enforcer() {
            let may = wanted == code && table.by_code.contains(&code);
            let judged = world.judge(&world.join(wanted, Some(code)));
            assert_eq!(
                judged.is_ok(),
                may,
                "joining as {wanted} with a code for {code}: {judged:?}"
            );
        }
    }
}

fn own_role(preset: Preset, table: &Table) {
    for role in 1..=preset.founder() {
        for given in (2..=preset.founder()).filter(|given| *given != role) {
            let world = World::preauthorizing(preset, Some((&format!("x{role}"), given)));
            for wanted in (2..=preset.founder()).filter(|wanted| *wanted != role) {
                let may = wanted == given && table.preauthorized.contains(&role);
                let judged = world.judge(&world.change(role, role, wanted, true));
                assert_eq!(
                    judged.is_ok(),
                    may,
                    "{role} becomes {wanted}, preauthorized as {given}: {judged:?}"
                );
            }
        }
    }
}

fn fields(world: &World, table: &Table) {
    for (field, update) in world.metadata_changes() {
        let roles = table.metadata.iter().find(|(name, _)| *name == field).unwrap().1;
        for actor in 1..=world.preset.enforcer() {
            let judged = world.judge(&world.put(actor, update.clone()));
            assert_eq!(judged.is_ok(), roles.contains(&actor), "{field} by {actor}: {judged:?}");
        }
    }
}

fn components(preset: Preset, table: &Table) {
    let world = World::linked(preset);
    for (component, update) in world.policy_changes() {
        let roles = table.policy.iter().find(|(name, _)| *name == component).unwrap().1;
        for actor in 1..=preset.enforcer() {
            let judged = world.judge_at(&world.put(actor, update.clone()), Stage::Proposed);
            assert_eq!(
                judged.is_ok(),
                roles.contains(&actor),
                "{component} by {actor}: {judged:?}"
            );
        }
    }
}

fn sending(world: &World, table: &Table) {
    for role in 1..=world.preset.founder() {
        let may = world.view.can(&user(&format!("x{role}")), Capability::SendMessage);
        assert_eq!(may, table.send.contains(&role), "sending by {role}");
    }
}

fn wire(preset: Preset) {
    let roles = preset.roles();
    assert_eq!(RoleData::decode_exact(&roles.encode()).unwrap(), roles);
    assert_eq!(preset.name().parse(), Ok(preset));
    let world = World::new(preset);
    let base = world
        .view
        .dictionary()
        .component(ComponentId::BASE_ROOM_POLICY)
        .unwrap();
    assert!(!BaseRoomPolicy::decode_exact(base).unwrap().fixed_membership);
    for role in &roles.roles {
        let mut numbers = role.capabilities.clone();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(
            numbers.len(),
            role.capabilities.len(),
            "a capability twice in {:?}",
            role.name
        );
    }
    let enforcer = roles.role(preset.enforcer()).unwrap();
    assert_eq!(
        (&*enforcer.name, enforcer.minimum_participants),
        (&b"policy_enforcer"[..], 0)
    );
    assert_eq!(roles.role(preset.founder()).unwrap().name, "super_admin");
}

macro_rules! matrix {
    ($($name:ident: $preset:ident, $table:ident;)+) => {$(
        mod $name {
            use super::*;

            fn world() -> World {
                World::new(Preset::$preset)
            }

            #[test]
            fn p_5_adding_participants_is_as_in_the_table() {
                adding(&world(), &tables::$table);
            }

            #[test]
            fn p_6_p_11_own_clients_come_and_go_as_in_the_table() {
                own_clients(&world(), &tables::$table);
            }

            #[test]
            fn p_7_nobody_joins_openly() {
                joining_openly(&world());
            }

            #[test]
            fn p_3_p_8_preauthorized_users_join_as_in_the_table() {
                joining_preauthorized(Preset::$preset, &tables::$table);
            }

            #[test]
            fn p_9_join_codes_lead_where_the_table_says() {
                joining_by_code(&world(), &tables::$table);
            }

            #[test]
            fn p_10_removing_participants_is_as_in_the_table() {
                removing(&world(), &tables::$table);
            }

            #[test]
            fn p_12_leaving_is_as_in_the_table() {
                leaving(&world(), &tables::$table);
            }

            #[test]
            fn p_13_kicking_is_as_in_the_table() {
                kicking(&world(), &tables::$table);
            }

            #[test]
            fn p_14_changing_roles_is_as_in_the_table() {
                changing(&world(), &tables::$table);
            }

            #[test]
            fn p_15_changing_ones_own_role_is_as_in_the_table() {
                own_role(Preset::$preset, &tables::$table);
            }

            #[test]
            fn p_16_banning_is_as_in_the_table() {
                banning(&world(), &tables::$table);
            }

            #[test]
            fn p_17_unbanning_is_as_in_the_table() {
                unbanning(&world(), &tables::$table);
            }

            #[test]
            fn l_9_metadata_is_changed_as_in_the_table() {
                fields(&world(), &tables::$table);
            }

            #[test]
            fn p_27_policy_is_changed_as_in_the_table() {
                components(Preset::$preset, &tables::$table);
            }

            #[test]
            fn h_31_messages_are_sent_as_in_the_table() {
                sending(&world(), &tables::$table);
            }

            #[test]
            fn p_31_the_preset_survives_the_wire() {
                wire(Preset::$preset);
            }
        }
    )+};
}

matrix! {
    cooperative: Cooperative, COOPERATIVE;
    strict: Strict, STRICT;
    moderated: Moderated, MODERATED;
    multi_organization: MultiOrganization, MULTI_ORGANIZATION;
}
