//! What the components of a room may say (mimi-room-policy §3 to §6): each by itself, and all of them together.

use std::collections::BTreeSet;

use mimi::metadata::RoomMetaData;
use mimi::operational::OperationalParameters;
use mimi::policy::{
    Allowed, AssetPolicy, AssetUploadLocation, BotPolicy, HistoryPolicy, JoinLinkPolicy, JoinLinks, LinkPreviewPolicy,
    LoggingPolicy, MessageExpiration, Optionality, StatusNotificationPolicy,
};
use mimi::role::PreAuthData;
use mimi::{BaseRoomPolicy, ComponentId, Decode, Provider, RoleData};

use crate::components::decode;
use crate::view::{BANNED, has};
use crate::{Capability, RoomView, Violation, preauth};

/// Refuses a value that does not decode or contradicts itself, of the components that this crate reads.
pub(crate) fn check_value(component: ComponentId, value: &[u8]) -> Result<(), Violation> {
    match component {
        ComponentId::ROOM_METADATA => decode::<RoomMetaData>(value, "room metadata").map(drop),
        ComponentId::OPERATIONAL_POLICY => decode::<OperationalParameters>(value, "operational policy").map(drop),
        ComponentId::ROLES_LIST => check_roles(&decode(value, "roles list")?),
        ComponentId::PREAUTH_LIST => decode::<PreAuthData>(value, "preauth list").map(drop),
        ComponentId::BASE_ROOM_POLICY => check_base(&decode(value, "base room policy")?),
        ComponentId::STATUS_NOTIFICATION_POLICY => {
            decode::<StatusNotificationPolicy>(value, "status notification policy").map(drop)
        }
        ComponentId::JOIN_LINK_POLICY => decode::<JoinLinkPolicy>(value, "join link policy").map(drop),
        ComponentId::JOIN_LINKS => decode::<JoinLinks>(value, "join links").map(drop),
        ComponentId::LINK_PREVIEW_POLICY => check_link_previews(&decode(value, "link preview policy")?),
        ComponentId::ASSET_POLICY => check_assets(&decode(value, "asset policy")?),
        ComponentId::LOGGING_POLICY => check_logging(&decode(value, "logging policy")?),
        ComponentId::CHAT_HISTORY_POLICY => check_history(&decode(value, "chat history policy")?),
        ComponentId::BOT_POLICY => check_bots(&decode(value, "bot policy")?),
        ComponentId::MESSAGE_EXPIRATION_POLICY => check_expiration(&decode(value, "message expiration policy")?),
        _ => Ok(()),
    }
}

fn demand(holds: bool, why: &'static str) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(Violation::Invalid(why)) }
}

pub(crate) fn check_roles(roles: &RoleData) -> Result<(), Violation> {
    let mut indices = BTreeSet::new();
    for role in &roles.roles {
        demand(indices.insert(role.index), "two roles with one index")?;
        demand(
            role.index == 0 || !has(role, Capability::OpenJoin),
            "canOpenJoin on a role other than 0",
        )?;
    }
    Ok(())
}

fn check_base(base: &BaseRoomPolicy) -> Result<(), Violation> {
    match &base.parent_room[..] {
        [] => demand(!base.parent_dependant, "a dependent room without its parent"),
        [parent] => demand(
            base.parent_dependant && parent.room().is_ok(),
            "a parent that is none, or of a room that depends on none",
        ),
        _ => Err(Violation::Invalid("two parents")),
    }
}

fn check_link_previews(policy: &LinkPreviewPolicy) -> Result<(), Violation> {
    demand(
        policy.autodetect_hyperlinks_in_text != Optionality::Required,
        "required detection of links",
    )?;
    let proxies = policy.link_preview_proxy_use.rules();
    demand(
        proxies.is_none_or(|proxies| !proxies.is_empty() && proxies.iter().all(|proxy| !proxy.is_empty())),
        "link previews by proxy without a proxy",
    )
}

fn check_assets(policy: &AssetPolicy) -> Result<(), Violation> {
    demand(
        policy.asset_upload_location != AssetUploadLocation::Hub || policy.upload_domains.len() == 1,
        "assets at the hub with domains of others",
    )?;
    let ways = &policy.download_privacy;
    let forbidden = |way| ways.forbidden_download_types.contains(way);
    demand(
        !ways.allowed_download_types.iter().any(forbidden),
        "a way of download that is allowed and forbidden",
    )?;
    demand(
        ways.allowed_download_types.contains(&ways.default_download_type),
        "a default way of download that is not allowed",
    )
}

fn check_logging(policy: &LoggingPolicy) -> Result<(), Violation> {
    match &policy.logging {
        Allowed::Required(rules) => demand(!rules.logging_clients.is_empty(), "required logging by nobody"),
        Allowed::Optional(_) | Allowed::Forbidden => Ok(()),
    }
}

fn check_history(policy: &HistoryPolicy) -> Result<(), Violation> {
    let mut roles = policy
        .history_sharing
        .rules()
        .into_iter()
        .flat_map(|rules| &rules.roles_that_can_share);
    demand(
        roles.all(|role| *role != 0 && *role != BANNED),
        "history shared by who is not in the room",
    )
}

fn check_bots(policy: &BotPolicy) -> Result<(), Violation> {
    let local = |bot: &mimi::policy::Bot| !bot.local_client_bot || bot.bot_role_index == 0;
    demand(policy.allowed_bots.iter().all(local), "a local bot with a role")
}

fn check_expiration(policy: &MessageExpiration) -> Result<(), Violation> {
    let Some(rules) = policy.expiring_messages.rules() else {
        return Ok(());
    };
    let (min, max) = (rules.min_expiration_duration, rules.max_expiration_duration);
    demand(
        min <= max
            && rules
                .default_expiration_duration
                .is_none_or(|default| (min..=max).contains(&default)),
        "expiration times out of order",
    )
}

/// Policy components: base_room_policy lists which of them a room uses.
fn listed(component: ComponentId) -> bool {
    (ComponentId::OPERATIONAL_POLICY..=ComponentId::MESSAGE_EXPIRATION_POLICY).contains(&component)
        && component != ComponentId::BASE_ROOM_POLICY
}

impl RoomView {
    fn value<T: Decode>(&self, component: ComponentId, what: &'static str) -> Result<Option<T>, Violation> {
        let octets = self.dictionary.component(component);
        octets.map(|octets| decode(octets, what)).transpose()
    }

    /// The provider whose room it is, as its metadata says.
    pub(crate) fn hub(&self) -> Option<Provider> {
        let metadata: RoomMetaData = self.value(ComponentId::ROOM_METADATA, "room metadata").ok()??;
        Some(metadata.room_uri.room().ok()?.provider().clone())
    }

    /// The components as a whole: each by itself, and what they say of each other.
    pub(crate) fn check_components(&self) -> Result<(), Violation> {
        for (component, value) in &self.dictionary.0 {
            check_value(*component, value)?;
        }
        self.check_list_of_components()?;
        let grants =
            |role: &mimi::Role| role.index != 0 && !self.is_ban(role.index) && has(role, Capability::AddParticipant);
        demand(
            !self.base.fixed_membership || !self.roles.roles.iter().any(grants),
            "a fixed membership with a role that adds participants",
        )?;
        if let Some(list) = self.value(ComponentId::PREAUTH_LIST, "preauth list")? {
            preauth::check_targets(&list, &self.roles)?;
        }
        let history: Option<HistoryPolicy> = self.value(ComponentId::CHAT_HISTORY_POLICY, "chat history policy")?;
        let sharing = history.as_ref().and_then(|history| history.history_sharing.rules());
        for index in sharing.into_iter().flat_map(|rules| &rules.roles_that_can_share) {
            let role = self.roles.role(*index);
            demand(
                role.is_some_and(|role| role.maximum_active_participants != Some(0)),
                "history shared by a role that has no clients",
            )?;
        }
        let bots: Option<BotPolicy> = self.value(ComponentId::BOT_POLICY, "bot policy")?;
        for bot in bots.iter().flat_map(|bots| &bots.allowed_bots) {
            demand(
                bot.bot_role_index == 0 || self.roles.role(bot.bot_role_index).is_some(),
                "a bot with a role that is not in the roles list",
            )?;
        }
        self.check_assets_at_hub()?;
        let links: Option<JoinLinks> = self.value(ComponentId::JOIN_LINKS, "join links")?;
        let policy: Option<JoinLinkPolicy> = self.value(ComponentId::JOIN_LINK_POLICY, "join link policy")?;
        demand(
            !policy.is_some_and(|policy| policy.on_request) || links.is_none_or(|links| links.links.len() <= 1),
            "several join links in a room that makes them on request",
        )?;
        let Some(parent) = self.parent() else { return Ok(()) };
        demand(
            self.hub().is_none_or(|hub| hub == *parent.provider()),
            "a parent at another hub",
        )?;
        demand(
            self.operational()
                .is_none_or(|operational| operational.external_proposal_allowed),
            "a dependent room from which its hub can take nobody out",
        )
    }

    /// The base policy names the policy components that are there: all of them, each once.
    fn check_list_of_components(&self) -> Result<(), Violation> {
        let mut named = BTreeSet::new();
        let ids = self.base.policy_component_ids.iter();
        let once = ids.filter(|id| listed(**id)).all(|id| named.insert(*id));
        let present = self.dictionary.0.keys().copied().filter(|id| listed(*id));
        demand(
            once && present.eq(named),
            "the base policy does not name the policy components that there are",
        )
    }

    fn check_assets_at_hub(&self) -> Result<(), Violation> {
        let policy: Option<AssetPolicy> = self.value(ComponentId::ASSET_POLICY, "asset policy")?;
        let Some(policy) = policy.filter(|policy| policy.asset_upload_location == AssetUploadLocation::Hub) else {
            return Ok(());
        };
        let hub = self.hub();
        let ours = |domain: &[u8]| hub.as_ref().is_none_or(|hub| hub.as_str().as_bytes() == domain);
        demand(
            policy.upload_domains.iter().all(|domains| ours(&domains.provider)),
            "assets at a hub that is not the room's",
        )
    }
}
