//! What components may say, by themselves and together, and what rooms demand of those who come from outside.
#![allow(clippy::unwrap_used, unreachable_pub, dead_code, reason = "tests")]

#[path = "presets/world.rs"]
mod world;

use mimi::mls::Credential;
use mimi::operational::{ExtendedCapabilities, MediaType, MediaTypeParameter, OperationalParameters};
use mimi::policy::{
    Allowed, AssetPolicy, AssetUploadLocation, Bot, BotPolicy, DownloadPrivacy, DownloadPrivacyType, ExpirationRules,
    HistoryPolicy, HistoryRules, JoinLink, JoinLinkPolicy, JoinLinks, JoinLinksUpdate, LinkPreviewPolicy,
    LoggingPolicy, LoggingRules, MessageExpiration, Optionality, ProviderUploadDomains,
};
use mimi::role::{Claim, PreAuthData, PreAuthRoleEntry};
use mimi::{
    AppDataDictionary, AppDataOperation, AppDataUpdate, BaseRoomPolicy, ClientUri, ComponentId, Decode, Encode,
    IdentifierUri, ParticipantList, Role, RoleData,
};
use policy::capability::Enforcer;
use policy::{Actor, Capability, Change, Leaf, Preset, RoomView, Stage, Violation, apply_components, judge};
use world::{World, phone, set, user};

fn uri(text: &'static str) -> IdentifierUri {
    IdentifierUri(text.into())
}

fn clients(view: &RoomView) -> Vec<ClientUri> {
    let users: Vec<_> = view.active_users().cloned().collect();
    users.iter().flat_map(|user| view.clients(user).cloned()).collect()
}

/// The cooperative room with other components; the base policy names what there is.
fn room(components: &[(ComponentId, Vec<u8>)]) -> RoomView {
    room_with(components, |_| {})
}

fn room_with(components: &[(ComponentId, Vec<u8>)], base: impl FnOnce(&mut BaseRoomPolicy)) -> RoomView {
    let view = World::new(Preset::Cooperative).view;
    let mut dictionary = view.dictionary().clone();
    for (component, value) in components {
        dictionary.0.insert(*component, value.clone().into());
    }
    let mut policy = read_base(&dictionary);
    let ids = dictionary.0.keys().copied();
    policy.policy_component_ids = ids
        .filter(|id| id.0 >= 0x24 && *id != ComponentId::BASE_ROOM_POLICY)
        .collect();
    base(&mut policy);
    dictionary
        .0
        .insert(ComponentId::BASE_ROOM_POLICY, policy.encode().into());
    RoomView::new(dictionary, clients(&view)).unwrap()
}

fn read_base(dictionary: &AppDataDictionary) -> BaseRoomPolicy {
    BaseRoomPolicy::decode_exact(dictionary.component(ComponentId::BASE_ROOM_POLICY).unwrap()).unwrap()
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
fn a_40_a_preauthorized_role_is_as_in_the_roles_list() {
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
        credential_type: policy::leaf::PSEUDONYMOUS,
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
fn join_links_change_by_index_of_the_start() {
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
fn a_role_may_begin_with_too_few_holders_but_nobody_is_taken_from_it() {
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
