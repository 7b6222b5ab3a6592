//! Every decoder of octets from outside, each as one function over octets. It panics when the decoder breaks its promise:
//! octets are refused, or they are the one spelling of a value, whose every part can be looked at. The tests of the
//! workspace play each with thousands of cases, `fuzz/` with as many as there is time for.

mod mls;

use std::fmt::Debug;

use bytes::Bytes;
use mimi::abuse::AbuseReport;
use mimi::app_data::{ComponentsList, SafeAad};
use mimi::catch_up::{EntriesExpired, RoomEventsRequest, RoomHead, RoomHeadsRequest, RoomHeadsResponse};
use mimi::consent::ConsentEntry;
use mimi::content::{ApplicationFraming, MessageDerivedValues, MessageStatusReport, MimiContent, content_id};
use mimi::franking::{FrankAad, FrankingAgentData};
use mimi::group_info::{GroupInfoRatchetTreeTbe, GroupInfoRequest, GroupInfoResponse};
use mimi::identifier::{IdentifierRequest, IdentifierResponse};
use mimi::key_material::{KeyMaterialRequest, KeyMaterialResponse};
use mimi::metadata::RoomMetaData;
use mimi::mls::{IdentityLinkTbe, LeafNode};
use mimi::notify::FanoutMessage;
use mimi::operational::OperationalParameters;
use mimi::policy::{
    AssetPolicy, BotPolicy, HistoryPolicy, JoinCode, JoinLinkPolicy, JoinLinks, JoinLinksUpdate, LinkPreviewPolicy,
    LoggingPolicy, MessageExpiration, StatusNotificationPolicy,
};
use mimi::role::{PreAuthData, RoleData};
use mimi::submit::{SubmitMessageRequest, SubmitMessageResponse};
use mimi::update::{UpdateRequest, UpdateRoomResponse};
use mimi::{
    AppDataDictionary, AppDataUpdate, BaseRoomPolicy, ClientUri, Decode, Encode, IdentifierUri, ParticipantList,
    ParticipantListUpdate, Provider, RoomUri, UserUri,
};
use peer::{Directory, Template};
use policy::RoomView;

/// A decoder: its name, which is also that of its fuzz target, and what is done with octets.
pub type Decoder = (&'static str, fn(&[u8]));

macro_rules! decoders {
    ($($name:ident: $decode:expr;)+) => {
        /// All there are.
        pub const DECODERS: &[Decoder] = &[$((stringify!($name), $decode)),+];
    };
}

decoders! {
    identifier_uri: structure::<IdentifierUri>;
    credential: |octets| judge(octets, mls::look_at_credential);
    pseudonymous_credential: |octets| judge(octets, mls::look_at_pseudonyms);
    identity_link: structure::<IdentityLinkTbe>;
    leaf_node: structure::<LeafNode>;
    key_package: |octets| judge(octets, mls::look_at_key_package);
    proposal: |octets| judge(octets, mls::look_at_proposal);
    welcome: |octets| judge(octets, mls::look_at_welcome);
    group_info: |octets| judge(octets, mls::look_at_group_info);
    ratchet_tree: |octets| judge(octets, mls::look_at_tree);
    message: |octets| judge(octets, mls::look_at_message);
    dictionary: |octets| judge(octets, look_at_dictionary);
    safe_aad: structure::<SafeAad>;
    frank_aad: structure::<FrankAad>;
    franking_agent: structure::<FrankingAgentData>;
    components: structure::<ComponentsList>;
    app_data_update: structure::<AppDataUpdate>;
    participant_list: structure::<ParticipantList>;
    participant_list_update: structure::<ParticipantListUpdate>;
    metadata: structure::<RoomMetaData>;
    role_data: structure::<RoleData>;
    preauth_data: structure::<PreAuthData>;
    base_room_policy: structure::<BaseRoomPolicy>;
    operational_parameters: structure::<OperationalParameters>;
    status_notification_policy: structure::<StatusNotificationPolicy>;
    join_link_policy: structure::<JoinLinkPolicy>;
    join_links: structure::<JoinLinks>;
    join_links_update: structure::<JoinLinksUpdate>;
    link_preview_policy: structure::<LinkPreviewPolicy>;
    asset_policy: structure::<AssetPolicy>;
    logging_policy: structure::<LoggingPolicy>;
    history_policy: structure::<HistoryPolicy>;
    bot_policy: structure::<BotPolicy>;
    message_expiration: structure::<MessageExpiration>;
    key_material_request: structure::<KeyMaterialRequest>;
    key_material_response: structure::<KeyMaterialResponse>;
    update_request: |octets| judge(octets, look_at_update);
    update_response: structure::<UpdateRoomResponse>;
    submit_request: structure::<SubmitMessageRequest>;
    submit_response: structure::<SubmitMessageResponse>;
    fanout_message: |octets| judge(octets, look_at_fanout);
    notification: notification;
    group_info_request: structure::<GroupInfoRequest>;
    group_info_response: structure::<GroupInfoResponse>;
    group_info_tbe: structure::<GroupInfoRatchetTreeTbe>;
    consent_entry: structure::<ConsentEntry>;
    identifier_request: structure::<IdentifierRequest>;
    identifier_response: structure::<IdentifierResponse>;
    abuse_report: structure::<AbuseReport>;
    room_head: structure::<RoomHead>;
    room_heads_request: structure::<RoomHeadsRequest>;
    room_heads_response: structure::<RoomHeadsResponse>;
    room_events_request: structure::<RoomEventsRequest>;
    entries_expired: structure::<EntriesExpired>;
    mimi_content: |octets| judge(octets, look_at_content);
    derived_values: |octets| judge(octets, look_at_derived_values);
    status_report: structure::<MessageStatusReport>;
    application_framing: structure::<ApplicationFraming>;
    join_code: join_code;
    uri: uri;
    template: template;
    directory: directory;
    link_frames: link_frames;
}

/// The function of the decoder of that name.
///
/// # Panics
/// There is none.
pub fn decoder(name: &str) -> fn(&[u8]) {
    let found = DECODERS.iter().find(|(known, _)| *known == name);
    found.unwrap_or_else(|| panic!("no decoder is called {name}")).1
}

/// Refused, or a value whose one spelling these octets are.
fn judge<T: Encode + Decode + Debug + PartialEq>(octets: &[u8], look: fn(&T)) {
    let copied = T::decode_exact(octets);
    assert_eq!(copied, T::decode_shared(&Bytes::copy_from_slice(octets)));
    if let Ok(value) = copied {
        assert_eq!(value.encode(), octets);
        look(&value);
    }
}

fn structure<T: Encode + Decode + Debug + PartialEq>(octets: &[u8]) {
    judge::<T>(octets, |_| {});
}

fn look_at_dictionary(dictionary: &AppDataDictionary) {
    // What a room makes of the components, which are octets of their own.
    if let Ok(view) = RoomView::new(dictionary.clone(), []) {
        let _ = view.check();
        let _ = view.operational();
        view.canonical();
    }
}

fn look_at_update(update: &UpdateRequest) {
    update.bundle.messages().iter().for_each(mls::look_at_message);
}

fn look_at_fanout(message: &FanoutMessage) {
    mls::look_at_message(message.message());
}

fn notification(octets: &[u8]) {
    const MESSAGES_MAX: usize = 3;
    if let Ok(messages) = FanoutMessage::decode_all(&Bytes::copy_from_slice(octets), MESSAGES_MAX) {
        assert!((1..=MESSAGES_MAX).contains(&messages.len()));
        assert_eq!(messages.iter().flat_map(Encode::encode).collect::<Vec<u8>>(), octets);
        messages.iter().for_each(look_at_fanout);
    }
}

fn look_at_content(content: &MimiContent) {
    assert!(content.seal().is_ok());
    content.extensions.sender_uri();
    for (index, part) in content.body.parts().enumerate() {
        part.disposition.effective();
        content.referenced(&content_id(index));
    }
}

fn look_at_derived_values(values: &MessageDerivedValues) {
    values.order();
}

fn join_code(octets: &[u8]) {
    if let Some(code) = JoinCode::read(octets) {
        assert_eq!(code.to_string().as_bytes(), octets);
    }
}

fn uri(octets: &[u8]) {
    let Ok(text) = std::str::from_utf8(octets) else {
        return;
    };
    if let Ok(provider) = text.parse::<Provider>() {
        assert_eq!(provider.as_str(), text);
    }
    if let Ok(room) = text.parse::<RoomUri>() {
        assert_eq!(room.as_str(), text);
    }
    if let Ok(user) = text.parse::<UserUri>() {
        assert_eq!(user.as_str(), text);
    }
    if let Ok(client) = text.parse::<ClientUri>() {
        assert_eq!(client.as_str(), text);
        client.user();
    }
}

/// A template, and after an octet 0 the path of a request that may be one of its.
fn template(octets: &[u8]) {
    let mut parts = octets.splitn(2, |octet| *octet == 0);
    let mut text = || parts.next().and_then(|part| std::str::from_utf8(part).ok());
    let Some(Ok(template)) = text().map(str::parse::<Template>) else {
        return;
    };
    assert!(template.authority().starts_with(template.host()));
    let about = "mimi://a.example/r/x";
    let expanded = template.expand(about);
    let path = &expanded["https://".len() + template.authority().len()..];
    assert_eq!(template.target(path).as_deref(), Some(about));
    if let Some(path) = text() {
        template.target(path);
    }
}

fn directory(octets: &[u8]) {
    if let Ok(directory) = serde_json::from_slice::<Directory>(octets) {
        let again = serde_json::to_vec(&directory).expect("templates are text");
        assert_eq!(serde_json::from_slice::<Directory>(&again).ok(), Some(directory));
    }
}

fn link_frames(octets: &[u8]) {
    link::read_frames(octets);
}
