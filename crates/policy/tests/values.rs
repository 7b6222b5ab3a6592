//! What components may say, by themselves and together.
#![allow(clippy::unwrap_used, unreachable_pub, dead_code, reason = "tests")]

#[path = "presets/room.rs"]
mod room;
#[path = "presets/world.rs"]
mod world;

use mimi::operational::{MediaType, MediaTypeParameter, OperationalParameters};
use mimi::policy::{
    Allowed, AssetPolicy, AssetUploadLocation, Bot, BotPolicy, DownloadPrivacy, DownloadPrivacyType, ExpirationRules,
    HistoryPolicy, HistoryRules, JoinLink, JoinLinkPolicy, JoinLinks, JoinLinksUpdate, LinkPreviewPolicy,
    LoggingPolicy, LoggingRules, MessageExpiration, Optionality, ProviderUploadDomains,
};
use mimi::role::{Claim, PreAuthData, PreAuthRoleEntry};
use mimi::{AppDataDictionary, BaseRoomPolicy, ComponentId, Decode, Encode, IdentifierUri, Role};
use policy::capability::Enforcer;
use policy::{Actor, Capability, Change, Evidence, Preset, RoomView, Stage, Violation, apply_components, judge};
use room::{room, room_with};
use world::{World, phone, set, user};

fn uri(text: &'static str) -> IdentifierUri {
    IdentifierUri(text.into())
}

fn is_invalid(room: &RoomView) -> bool {
    matches!(room.check(), Err(Violation::Invalid(_)))
}

fn holds(component: ComponentId, value: &impl Encode) -> bool {
    let room = room(&[(component, value.encode())]);
    let update = apply_components(&AppDataDictionary::default(), &[set(component, value)]);
    let checked = room.check();
    assert!(
        update.is_ok() || checked.is_err(),
        "refused alone, so refused in a room"
    );
    assert!(checked.is_ok() || is_invalid(&room), "{checked:?}");
    checked.is_ok()
}

#[test]
fn the_registry_has_each_number_once_and_its_name() {
    assert_eq!(Capability::ALL.len(), 77);
    assert!(Capability::ALL.is_sorted());
    for capability in Capability::ALL {
        assert_eq!(Capability::from_number(capability.number()), Some(*capability));
        assert!(capability.name().starts_with("can"));
    }
    assert_eq!(Capability::from_number(0x0012), None);
    assert_eq!(Capability::from_number(0xf000), None);
    assert_eq!(Capability::from_number(0x0380).unwrap().name(), "canChangeOwnName");
    assert_eq!(Capability::CreateJoinCode.enforcer(), Enforcer::Reserved);
    assert_eq!(Capability::CopyMessage.enforcer(), Enforcer::Clients);
}

#[test]
fn unknown_capabilities_are_kept_and_ignored() {
    let mut roles = Preset::Cooperative.roles();
    roles.roles[2].capabilities.extend([0xf123, 0x0999]);
    let room = room(&[(ComponentId::ROLES_LIST, roles.encode())]);
    room.check().unwrap();
    assert_eq!(
        room.role(&user("x2")).unwrap().capabilities,
        roles.roles[2].capabilities
    );
}

fn with_roles(edit: impl FnOnce(&mut Vec<Role>)) -> RoomView {
    let mut roles = Preset::Cooperative.roles();
    edit(&mut roles.roles);
    room(&[(ComponentId::ROLES_LIST, roles.encode())])
}

#[test]
fn p_1_role_indices_are_unique_and_role_1_is_banned_by_its_name() {
    assert!(is_invalid(&with_roles(|roles| roles.push(roles[2].clone()))));
    let far = |roles: &mut Vec<Role>| {
        roles.push(Role {
            index: 4_000_000_000,
            ..Role::default()
        });
    };
    with_roles(far).check().unwrap();
    let renamed = with_roles(|roles| roles[1].name = "barred".into());
    assert!(!renamed.is_ban(1));
}

#[test]
fn p_2_open_join_is_of_role_0_alone() {
    let open = Capability::OpenJoin.number();
    with_roles(|roles| roles[0].capabilities.push(open)).check().unwrap();
    assert!(is_invalid(&with_roles(|roles| roles[2].capabilities.push(open))));
}

#[test]
fn p_4_the_first_entry_whose_claims_all_match_wins() {
    let claim = |id: &'static str, value: &'static str| Claim {
        credential_type: 1,
        id: id.into(),
        value: value.into(),
    };
    let entry = |claims: Vec<Claim>, index: usize| PreAuthRoleEntry {
        claims,
        target_role: Preset::Cooperative.roles().roles[index].clone(),
    };
    let list = PreAuthData {
        entries: vec![
            entry(vec![claim("team", "sales"), claim("grade", "9")], 4),
            entry(vec![claim("team", "press")], 0),
            entry(vec![claim("team", "sales")], 3),
            entry(vec![claim("grade", "9")], 2),
        ],
    };
    let room = room(&[(ComponentId::PREAUTH_LIST, list.encode())]);
    room.check().unwrap();
    let role = |claims: &[Claim]| room.preauthorized(claims);
    assert_eq!(role(&[claim("grade", "9"), claim("team", "sales")]), Some(4));
    assert_eq!(role(&[claim("team", "sales"), claim("grade", "8")]), Some(3));
    assert_eq!(role(&[claim("team", "sales2")]), None);
    assert_eq!(role(&[claim("team", "press"), claim("grade", "9")]), Some(0));
    let own = room.preauthorized_participant(&[claim("team", "press"), claim("grade", "9")]);
    assert_eq!(own, Some(2), "role 0 is nobody's own");
    let other_type = Claim {
        credential_type: 2,
        ..claim("team", "sales")
    };
    assert_eq!(role(&[other_type]), None);
}

#[test]
fn p_4_a_preauthorized_role_is_as_in_the_roles_list() {
    let mut role = Preset::Cooperative.roles().roles[2].clone();
    role.capabilities.clear();
    let list = PreAuthData {
        entries: vec![PreAuthRoleEntry {
            claims: Vec::new(),
            target_role: role,
        }],
    };
    assert!(!holds(ComponentId::PREAUTH_LIST, &list));
}

#[test]
fn p_18_a_fixed_membership_neither_grows_nor_shrinks() {
    let adds = room_with(&[], |base| base.fixed_membership = true);
    assert!(is_invalid(&adds), "a role adds participants");
    let mut roles = Preset::Cooperative.roles();
    for role in &mut roles.roles {
        role.capabilities.retain(|number| *number != 0);
    }
    let roles = [(ComponentId::ROLES_LIST, roles.encode())];
    let fixed = room_with(&roles, |base| base.fixed_membership = true);
    fixed.check().unwrap();
    assert_eq!(fixed.fixed_participants().unwrap().len(), 8);
    let world = World::new(Preset::Cooperative);
    let judged = |change: Change| judge(&fixed, &[change], Stage::Committed);
    assert!(judged(world.leave(2)).is_err());
    assert!(judged(world.remove(4, 2)).is_err());
    let away = Change {
        removes: vec![phone("x2")],
        ..world.by(2)
    };
    assert!(judged(away).is_ok(), "clients may go");
}

#[test]
fn p_19_a_dependent_room_names_its_parent_and_is_a_strict_part_of_it() {
    let parent = |uri: IdentifierUri| {
        move |base: &mut BaseRoomPolicy| {
            base.parent_dependant = true;
            base.parent_room = vec![uri];
        }
    };
    let child = room_with(&[], parent(uri("mimi://a.example/r/parent")));
    child.check().unwrap();
    assert_eq!(child.parent().unwrap().as_str(), "mimi://a.example/r/parent");
    assert!(is_invalid(&room_with(&[], |base| base.parent_dependant = true)));
    assert!(is_invalid(&room_with(&[], |base| {
        base.parent_room = vec![uri("mimi://a.example/r/parent")];
    })));
    assert!(
        is_invalid(&room_with(&[], parent(uri("mimi://b.example/r/parent")))),
        "another hub"
    );
    assert!(is_invalid(&room_with(&[], parent(uri("nonsense")))));

    let whole = World::new(Preset::Cooperative);
    assert!(
        child.check_parent(&whole.view).is_err(),
        "the same users are not a strict subset"
    );
    let grown = whole.judge(&whole.add(4, 2)).unwrap();
    child.check_parent(&grown).unwrap();
    let shrunk = whole.judge(&whole.remove(4, 2)).unwrap();
    assert!(child.check_parent(&shrunk).is_err());
    assert_eq!(child.strangers_to(&shrunk).collect::<Vec<_>>(), [&user("y2")]);
    let banned = whole.judge(&whole.change(4, 2, 1, false)).unwrap();
    assert_eq!(
        child.strangers_to(&banned).collect::<Vec<_>>(),
        [&user("y2")],
        "banned users take no part"
    );
}

fn depends(base: &mut BaseRoomPolicy) {
    base.parent_dependant = true;
    base.parent_room = vec![uri("mimi://a.example/r/parent")];
}

#[test]
fn p_19_p_18_the_hub_takes_out_whoever_left_the_parent_even_of_a_fixed_membership() {
    let world = World::new(Preset::Cooperative);
    let mut roles = Preset::Cooperative.roles();
    for role in &mut roles.roles {
        role.capabilities.retain(|number| *number != 0);
    }
    let roles = [(ComponentId::ROLES_LIST, roles.encode())];
    let fixed = room_with(&roles, |base| base.fixed_membership = true);
    let child = room_with(&roles, |base| {
        base.fixed_membership = true;
        depends(base);
    });
    child.check().unwrap();
    // The hub's credential claims nothing: its role is nobody's.
    let removal = Change {
        evidence: Evidence::default(),
        ..world.kick(Preset::Cooperative.enforcer(), 2)
    };
    let follows = Change {
        removes: Vec::new(),
        ..world.remove(2, 2)
    };
    judge(&child, std::slice::from_ref(&removal), Stage::Proposed).unwrap();
    let both = [removal.clone(), follows];
    let after = judge(&child, &both, Stage::Committed).unwrap();
    assert!(!after.participates(&user("y2")));
    assert!(
        judge(&child, &both[..1], Stage::Committed).is_err(),
        "the list follows the client"
    );
    assert!(judge(&child, &both[1..], Stage::Committed).is_err(), "and nothing else");
    assert!(judge(&fixed, &both[..1], Stage::Proposed).is_err(), "of no other room");
    let other = Change {
        actor: Actor::Sender("b.example".parse().unwrap()),
        ..removal
    };
    assert!(judge(&child, &[other], Stage::Proposed).is_err(), "and nobody else");
}

#[test]
fn p_19_a_dependent_room_takes_the_proposals_of_its_hub() {
    let operational = OperationalParameters::default();
    assert!(!operational.external_proposal_allowed);
    let closed = [(ComponentId::OPERATIONAL_POLICY, operational.encode())];
    room(&closed).check().unwrap();
    assert!(is_invalid(&room_with(&closed, depends)));
}

#[test]
fn p_20_devices_clients_and_users_are_counted() {
    let limit = |edit: fn(&mut BaseRoomPolicy)| room_with(&[], edit).check();
    // Six clients; six users who are not banned.
    assert!(limit(|base| base.max_clients = Some(6)).is_ok());
    assert!(matches!(
        limit(|base| base.max_clients = Some(5)),
        Err(Violation::Limit(_))
    ));
    assert!(limit(|base| base.max_users = Some(6)).is_ok());
    assert!(matches!(
        limit(|base| base.max_users = Some(5)),
        Err(Violation::Limit(_))
    ));
    let single = room_with(&[], |base| base.multi_device = false);
    single.check().unwrap();
    let second = Change {
        adds: vec!["mimi://a.example/d/x2/laptop".parse().unwrap()],
        ..World::new(Preset::Cooperative).by(2)
    };
    assert!(matches!(
        judge(&single, &[second], Stage::Committed),
        Err(Violation::Limit(_))
    ));
}

#[test]
fn p_22_the_base_policy_names_the_components_that_there_are() {
    room(&[]).check().unwrap();
    assert!(is_invalid(&room_with(&[], |base| base.policy_component_ids.clear())));
    assert!(is_invalid(&room_with(&[], |base| {
        base.policy_component_ids.push(ComponentId::BOT_POLICY);
    })));
    assert!(is_invalid(&room_with(&[], |base| {
        base.policy_component_ids.push(ComponentId::ROLES_LIST);
    })));
    room_with(&[], |base| base.policy_component_ids.push(ComponentId(0x9000)))
        .check()
        .unwrap();
}

#[test]
fn p_23_links_are_not_detected_by_force_and_proxies_have_a_uri() {
    let policy = |autodetect, proxy| LinkPreviewPolicy {
        autodetect_hyperlinks_in_text: autodetect,
        send_link_previews: Optionality::Required,
        automatic_link_previews: Optionality::Required,
        link_preview_proxy_use: proxy,
    };
    let component = ComponentId::LINK_PREVIEW_POLICY;
    let proxy = || vec![uri("https://p.example")];
    assert!(holds(component, &policy(Optionality::Optional, Allowed::Forbidden)));
    assert!(holds(
        component,
        &policy(Optionality::Forbidden, Allowed::Required(proxy()))
    ));
    assert!(!holds(component, &policy(Optionality::Required, Allowed::Forbidden)));
    assert!(!holds(
        component,
        &policy(Optionality::Optional, Allowed::Optional(Vec::new()))
    ));
    assert!(!holds(
        component,
        &policy(Optionality::Optional, Allowed::Required(vec![uri("")]))
    ));
}

#[test]
fn p_24_logging_history_and_bots_name_who_can_do_it() {
    let logging = |clients| LoggingRules {
        logging_clients: clients,
        ..LoggingRules::default()
    };
    let policy = |logging| LoggingPolicy { logging };
    assert!(holds(
        ComponentId::LOGGING_POLICY,
        &policy(Allowed::Required(logging(vec![uri("x:y")])))
    ));
    assert!(holds(
        ComponentId::LOGGING_POLICY,
        &policy(Allowed::Optional(logging(Vec::new())))
    ));
    assert!(!holds(
        ComponentId::LOGGING_POLICY,
        &policy(Allowed::Required(logging(Vec::new())))
    ));

    let history = |roles: &[u32]| HistoryPolicy {
        history_sharing: Allowed::Optional(HistoryRules {
            roles_that_can_share: roles.to_vec(),
            ..HistoryRules::default()
        }),
    };
    assert!(holds(ComponentId::CHAT_HISTORY_POLICY, &history(&[2, 3])));
    for role in [0, 1, 5, 77] {
        assert!(!holds(ComponentId::CHAT_HISTORY_POLICY, &history(&[2, role])), "{role}");
    }

    let bot = |local_client_bot, bot_role_index| BotPolicy {
        allowed_bots: vec![Bot {
            local_client_bot,
            bot_role_index,
            ..Bot::default()
        }],
    };
    assert!(holds(ComponentId::BOT_POLICY, &bot(true, 0)));
    assert!(holds(ComponentId::BOT_POLICY, &bot(false, 0)));
    assert!(holds(ComponentId::BOT_POLICY, &bot(false, 2)));
    assert!(!holds(ComponentId::BOT_POLICY, &bot(true, 2)));
    assert!(!holds(ComponentId::BOT_POLICY, &bot(false, 77)));
}

#[test]
fn p_25_assets_are_where_the_policy_says_and_come_as_it_allows() {
    let domains = |provider: &'static str| ProviderUploadDomains {
        provider: provider.into(),
        asset_upload_destinations: vec!["assets.example".into()],
    };
    let policy = |upload_domains, allowed, forbidden| AssetPolicy {
        asset_upload_location: AssetUploadLocation::Hub,
        upload_domains,
        download_privacy: DownloadPrivacy {
            allowed_download_types: allowed,
            forbidden_download_types: forbidden,
            default_download_type: DownloadPrivacyType::Ohttp,
        },
        max_image: 1,
        max_audio: 1,
        max_video: 1,
        max_attachment: 1,
        forbidden_media_types: Vec::new(),
        permitted_media_types: None,
    };
    let component = ComponentId::ASSET_POLICY;
    let ohttp = || vec![DownloadPrivacyType::Ohttp];
    assert!(holds(
        component,
        &policy(vec![domains("a.example")], ohttp(), Vec::new())
    ));
    assert!(!holds(
        component,
        &policy(vec![domains("b.example")], ohttp(), Vec::new())
    ));
    assert!(!holds(component, &policy(Vec::new(), ohttp(), Vec::new())));
    assert!(!holds(
        component,
        &policy(vec![domains("a.example"), domains("b.example")], ohttp(), Vec::new())
    ));
    assert!(!holds(component, &policy(vec![domains("a.example")], ohttp(), ohttp())));
    assert!(!holds(
        component,
        &policy(vec![domains("a.example")], Vec::new(), Vec::new())
    ));

    let media = |parameters: &[(&'static str, &'static str)]| MediaType {
        media_type: "text/markdown".into(),
        parameters: parameters
            .iter()
            .map(|(name, value)| MediaTypeParameter {
                name: (*name).into(),
                value: (*value).into(),
            })
            .collect(),
    };
    let gfm = media(&[("variant", "GFM")]);
    assert!(policy::leaf::covers(&media(&[]), &gfm));
    assert!(policy::leaf::covers(&gfm, &gfm));
    assert!(!policy::leaf::covers(&gfm, &media(&[])));
}

#[test]
fn p_26_expiration_times_are_in_order() {
    let policy = |min, max, default| MessageExpiration {
        expiring_messages: Allowed::Required(ExpirationRules {
            min_expiration_duration: min,
            max_expiration_duration: max,
            default_expiration_duration: default,
        }),
    };
    let component = ComponentId::MESSAGE_EXPIRATION_POLICY;
    assert!(holds(component, &policy(1, 3, Some(3))));
    assert!(holds(component, &policy(1, 1, None)));
    assert!(!holds(component, &policy(3, 1, None)));
    assert!(!holds(component, &policy(1, 3, Some(4))));
    assert!(!holds(component, &policy(2, 3, Some(1))));
}

#[test]
fn p_9_join_links_change_by_index_of_the_start() {
    let link = |text: &'static str| JoinLink { join_link: text.into() };
    let links = JoinLinks {
        links: vec![link("a"), link("b"), link("c")],
    };
    let mut dictionary = AppDataDictionary::default();
    dictionary.0.insert(ComponentId::JOIN_LINKS, links.encode().into());
    let update = |removed: &[u32], added: &[&'static str]| {
        let update = JoinLinksUpdate {
            removed: removed.to_vec(),
            added: added.iter().map(|text| link(text)).collect(),
        };
        set(ComponentId::JOIN_LINKS, &update)
    };
    let after = apply_components(&dictionary, &[update(&[0], &["d"]), update(&[2], &["a"])]).unwrap();
    let after = JoinLinks::decode_exact(after[&ComponentId::JOIN_LINKS].as_ref().unwrap()).unwrap();
    assert_eq!(after.links, [link("b"), link("d"), link("a")]);
    for refused in [
        update(&[3], &[]),
        update(&[0, 0], &[]),
        update(&[], &["b"]),
        update(&[], &["x", "x"]),
    ] {
        assert!(apply_components(&dictionary, &[refused]).is_err());
    }
    let policy = JoinLinkPolicy {
        on_request: true,
        ..JoinLinkPolicy::default()
    };
    let kept = |links: &JoinLinks| {
        let policy = (ComponentId::JOIN_LINK_POLICY, policy.encode());
        room(&[policy, (ComponentId::JOIN_LINKS, links.encode())]).check()
    };
    assert!(kept(&JoinLinks { links: vec![link("a")] }).is_ok());
    assert!(kept(&links).is_err());
}
