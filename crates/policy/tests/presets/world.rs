//! A room of an example policy: two users of each role, whose names are `x` and `y` and the role's index. Each has a
//! client, except those who are banned. `new` is nobody yet; the hub is the policy enforcer.

use mimi::metadata::{RichDescription, RoomMetaData, Text};
use mimi::mls::Credential;
use mimi::operational::OperationalParameters;
use mimi::policy::{JoinLink, JoinLinks, JoinLinksUpdate, Optionality, StatusNotificationPolicy};
use mimi::role::{PreAuthData, PreAuthRoleEntry};
use mimi::{
    AppDataDictionary, AppDataOperation, AppDataUpdate, BaseRoomPolicy, ClientUri, ComponentId, Decode, Encode,
    IdentifierUri, Participant, ParticipantList, ParticipantListUpdate, RoleChange, UserUri,
};
use policy::{Actor, Change, Evidence, Preset, RoomView, Stage, Violation, judge, preauth};

pub const NEW: &str = "new";

pub struct World {
    pub preset: Preset,
    pub view: RoomView,
}

pub fn user(name: &str) -> UserUri {
    format!("mimi://a.example/u/{name}").parse().unwrap()
}

pub fn phone(name: &str) -> ClientUri {
    format!("mimi://a.example/d/{name}/phone").parse().unwrap()
}

pub fn hub() -> Credential {
    Credential::basic("a.example")
}

fn claims(client: &ClientUri) -> Vec<mimi::role::Claim> {
    preauth::claims(&Credential::basic(client.as_str().to_owned()))
}

pub fn metadata() -> RoomMetaData {
    RoomMetaData {
        room_uri: IdentifierUri("mimi://a.example/r/room".into()),
        ..RoomMetaData::default()
    }
}

pub fn set(component: ComponentId, value: &impl Encode) -> AppDataUpdate {
    AppDataUpdate {
        component,
        operation: AppDataOperation::Update(value.encode().into()),
    }
}

impl World {
    pub fn new(preset: Preset) -> Self {
        Self::preauthorizing(preset, None)
    }

    /// With a user who is preauthorized for a role.
    pub fn preauthorizing(preset: Preset, given: Option<(&str, u32)>) -> Self {
        let operational = OperationalParameters {
            external_commit_allowed: true,
            external_proposal_allowed: true,
            ..OperationalParameters::default()
        };
        let mut components = preset.components(&hub(), &operational);
        if let Some((name, role)) = given {
            let octets = &components[&ComponentId::PREAUTH_LIST];
            let mut list = PreAuthData::decode_exact(octets).unwrap();
            let entry = PreAuthRoleEntry {
                claims: claims(&phone(name)),
                target_role: preset.roles().role(role).unwrap().clone(),
            };
            list.entries.push(entry);
            components.insert(ComponentId::PREAUTH_LIST, list.encode().into());
        }
        let roles = 1..=preset.founder();
        let names: Vec<(String, u32)> = roles
            .flat_map(|role| [(format!("x{role}"), role), (format!("y{role}"), role)])
            .collect();
        let participants = names.iter().map(|(name, role)| Participant {
            user: (&user(name)).into(),
            role: *role,
        });
        let list = ParticipantList {
            participants: participants.collect(),
        };
        components.insert(ComponentId::PARTICIPANT_LIST, list.encode().into());
        components.insert(ComponentId::ROOM_METADATA, metadata().encode().into());
        let active = names.iter().filter(|(_, role)| *role != 1);
        let view = RoomView::new(AppDataDictionary(components), active.map(|(name, _)| phone(name))).unwrap();
        view.check().unwrap();
        Self { preset, view }
    }

    /// With a join link.
    pub fn linked(preset: Preset) -> Self {
        let world = Self::new(preset);
        let mut dictionary = world.view.dictionary().clone();
        let links = JoinLinks {
            links: vec![JoinLink {
                join_link: "one".into(),
            }],
        };
        dictionary.0.insert(ComponentId::JOIN_LINKS, links.encode().into());
        let users: Vec<UserUri> = world.view.active_users().cloned().collect();
        let clients = users.iter().flat_map(|user| world.view.clients(user).cloned());
        Self {
            preset,
            view: RoomView::new(dictionary, clients).unwrap(),
        }
    }

    /// Nothing yet, by `x` of the role, or by the policy enforcer.
    pub fn by(&self, role: u32) -> Change {
        if role == self.preset.enforcer() {
            return Change {
                evidence: Evidence {
                    claims: preauth::claims(&hub()),
                    ..Evidence::default()
                },
                ..self.of(Actor::Sender("a.example".parse().unwrap()))
            };
        }
        let client = phone(&format!("x{role}"));
        Change {
            evidence: Evidence {
                claims: claims(&client),
                ..Evidence::default()
            },
            ..self.of(Actor::Member(client))
        }
    }

    fn of(&self, actor: Actor) -> Change {
        Change {
            actor,
            components: Vec::new(),
            removes: Vec::new(),
            adds: Vec::new(),
            authorized: false,
            evidence: Evidence::default(),
        }
    }

    fn index(&self, name: &str) -> u32 {
        let octets = IdentifierUri::from(&user(name));
        self.view.participants().position(octets.octets()).unwrap() as u32
    }

    pub fn add(&self, actor: u32, role: u32) -> Change {
        let update = ParticipantListUpdate {
            added: vec![Participant {
                user: (&user(NEW)).into(),
                role,
            }],
            ..ParticipantListUpdate::default()
        };
        self.listing(actor, &update)
    }

    fn listing(&self, actor: u32, update: &ParticipantListUpdate) -> Change {
        Change {
            components: vec![set(ComponentId::PARTICIPANT_LIST, update)],
            ..self.by(actor)
        }
    }

    fn phones(role: u32, name: &str) -> Vec<ClientUri> {
        if role == 1 { Vec::new() } else { vec![phone(name)] }
    }

    /// Takes `y` of a role off the list, with its client.
    pub fn remove(&self, actor: u32, role: u32) -> Change {
        let name = format!("y{role}");
        let update = ParticipantListUpdate {
            removed: vec![self.index(&name)],
            ..ParticipantListUpdate::default()
        };
        Change {
            removes: Self::phones(role, &name),
            ..self.listing(actor, &update)
        }
    }

    pub fn leave(&self, role: u32) -> Change {
        let name = format!("x{role}");
        let update = ParticipantListUpdate {
            removed: vec![self.index(&name)],
            ..ParticipantListUpdate::default()
        };
        Change {
            removes: Self::phones(role, &name),
            ..self.listing(role, &update)
        }
    }

    /// Gives `y` of a role, or `x` if it is the actor, another role.
    pub fn change(&self, actor: u32, from: u32, to: u32, own: bool) -> Change {
        let name = format!("{}{from}", if own { 'x' } else { 'y' });
        let update = ParticipantListUpdate {
            changed: vec![RoleChange {
                user_index: self.index(&name),
                role: to,
            }],
            ..ParticipantListUpdate::default()
        };
        let removes = if to == 1 { Self::phones(from, &name) } else { Vec::new() };
        Change {
            removes,
            ..self.listing(actor, &update)
        }
    }

    pub fn kick(&self, actor: u32, role: u32) -> Change {
        Change {
            removes: vec![phone(&format!("y{role}"))],
            ..self.by(actor)
        }
    }

    pub fn join(&self, role: u32, code: Option<u32>) -> Change {
        let client = phone(NEW);
        Change {
            adds: vec![client.clone()],
            evidence: Evidence {
                claims: claims(&client),
                join_code: code,
                ..Evidence::default()
            },
            actor: Actor::Joiner(client),
            ..self.add(1, role)
        }
    }

    pub fn put(&self, actor: u32, update: AppDataUpdate) -> Change {
        Change {
            components: vec![update],
            ..self.by(actor)
        }
    }

    pub fn policy_changes(&self) -> Vec<(&'static str, AppDataUpdate)> {
        let value = |component| AppDataUpdate {
            component,
            operation: AppDataOperation::Update(self.view.dictionary().component(component).unwrap().clone()),
        };
        let status = StatusNotificationPolicy {
            delivery_notifications: Optionality::Optional,
            read_receipts: Optionality::Forbidden,
        };
        let link = JoinLink {
            join_link: "another".into(),
        };
        let base =
            BaseRoomPolicy::decode_exact(self.view.dictionary().component(ComponentId::BASE_ROOM_POLICY).unwrap());
        let base = BaseRoomPolicy {
            max_users: Some(1_000),
            ..base.unwrap()
        };
        vec![
            ("roles", value(ComponentId::ROLES_LIST)),
            ("preauth", value(ComponentId::PREAUTH_LIST)),
            ("base", set(ComponentId::BASE_ROOM_POLICY, &base)),
            ("operational", value(ComponentId::OPERATIONAL_POLICY)),
            ("other", set(ComponentId::STATUS_NOTIFICATION_POLICY, &status)),
            (
                "add link",
                set(
                    ComponentId::JOIN_LINKS,
                    &JoinLinksUpdate {
                        added: vec![link],
                        ..JoinLinksUpdate::default()
                    },
                ),
            ),
            (
                "remove link",
                set(
                    ComponentId::JOIN_LINKS,
                    &JoinLinksUpdate {
                        removed: vec![0],
                        ..JoinLinksUpdate::default()
                    },
                ),
            ),
        ]
    }

    pub fn metadata_changes(&self) -> Vec<(&'static str, AppDataUpdate)> {
        let text = || Text("x".into());
        let description = RichDescription {
            content: "x".into(),
            ..RichDescription::default()
        };
        let set = |metadata: RoomMetaData| set(ComponentId::ROOM_METADATA, &metadata);
        vec![
            (
                "name",
                set(RoomMetaData {
                    room_name: text(),
                    ..metadata()
                }),
            ),
            (
                "description",
                set(RoomMetaData {
                    room_descriptions: vec![description],
                    ..metadata()
                }),
            ),
            (
                "avatar",
                set(RoomMetaData {
                    room_avatar: IdentifierUri("https://a.example/x".into()),
                    ..metadata()
                }),
            ),
            (
                "subject",
                set(RoomMetaData {
                    room_subject: text(),
                    ..metadata()
                }),
            ),
            (
                "mood",
                set(RoomMetaData {
                    room_mood: text(),
                    ..metadata()
                }),
            ),
        ]
    }

    pub fn judge(&self, change: &Change) -> Result<RoomView, Violation> {
        self.judge_at(change, Stage::Committed)
    }

    pub fn judge_at(&self, change: &Change, stage: Stage) -> Result<RoomView, Violation> {
        judge(&self.view, std::slice::from_ref(change), stage)
    }
}
