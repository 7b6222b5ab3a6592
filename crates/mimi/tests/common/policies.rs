//! What a room's policy components hold.

use mimi::policy::{
    Allowed, AssetPolicy, AssetUploadLocation, Bot, BotPolicy, DownloadPrivacy, DownloadPrivacyType, ExpirationRules,
    HistoryPolicy, HistoryRules, JoinLink, JoinLinkPolicy, JoinLinks, JoinLinksUpdate, LinkPreviewPolicy,
    LoggingPolicy, LoggingRules, MessageExpiration, Optionality, ProviderUploadDomains, StatusNotificationPolicy,
};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

use super::octets;
use super::values::{Sample, identifier, media_types, numbers};

fn optionality() -> impl Strategy<Value = Optionality> {
    prop_oneof![
        Just(Optionality::Optional),
        Just(Optionality::Required),
        Just(Optionality::Forbidden),
    ]
}

fn allowed<T: Clone + std::fmt::Debug + 'static>(
    rules: impl Strategy<Value = T> + Clone + 'static,
) -> impl Strategy<Value = Allowed<T>> {
    prop_oneof![
        rules.clone().prop_map(Allowed::Optional),
        rules.prop_map(Allowed::Required),
        Just(Allowed::Forbidden),
    ]
}

pub(crate) fn status_notification_policy() -> Sample<StatusNotificationPolicy> {
    (optionality(), optionality())
        .prop_map(|(delivery_notifications, read_receipts)| StatusNotificationPolicy {
            delivery_notifications,
            read_receipts,
        })
        .boxed()
}

pub(crate) fn join_link_policy() -> Sample<JoinLinkPolicy> {
    (any::<(bool, bool, u32)>(), identifier())
        .prop_map(|((on_request, multiuser, expiration), join_link)| JoinLinkPolicy {
            on_request,
            join_link,
            multiuser,
            expiration,
        })
        .boxed()
}

fn links() -> impl Strategy<Value = Vec<JoinLink>> {
    vec(octets().prop_map(|join_link| JoinLink { join_link }), 0..3)
}

pub(crate) fn join_links() -> Sample<JoinLinks> {
    links().prop_map(|links| JoinLinks { links }).boxed()
}

pub(crate) fn join_links_update() -> Sample<JoinLinksUpdate> {
    (numbers(), links())
        .prop_map(|(removed, added)| JoinLinksUpdate { removed, added })
        .boxed()
}

pub(crate) fn link_preview_policy() -> Sample<LinkPreviewPolicy> {
    let optionalities = [optionality(), optionality(), optionality()];
    (optionalities, allowed(vec(identifier(), 0..3)))
        .prop_map(|([autodetect, send, automatic], proxy)| LinkPreviewPolicy {
            autodetect_hyperlinks_in_text: autodetect,
            send_link_previews: send,
            automatic_link_previews: automatic,
            link_preview_proxy_use: proxy,
        })
        .boxed()
}

pub(crate) fn asset_policy() -> Sample<AssetPolicy> {
    let location = prop_oneof![
        Just(AssetUploadLocation::Unspecified),
        Just(AssetUploadLocation::LocalProvider),
        Just(AssetUploadLocation::Hub),
    ];
    let way = || {
        prop_oneof![
            Just(DownloadPrivacyType::Direct),
            Just(DownloadPrivacyType::HubProxy),
            Just(DownloadPrivacyType::Ohttp),
        ]
    };
    let domains = (octets(), vec(octets(), 0..3)).prop_map(|(provider, domains)| ProviderUploadDomains {
        provider,
        asset_upload_destinations: domains,
    });
    let privacy =
        (vec(way(), 0..3), vec(way(), 0..3), way()).prop_map(|(allowed, forbidden, default)| DownloadPrivacy {
            allowed_download_types: allowed,
            forbidden_download_types: forbidden,
            default_download_type: default,
        });
    (
        location,
        vec(domains, 0..3),
        privacy,
        any::<[u64; 4]>(),
        media_types(),
        of(media_types()),
    )
        .prop_map(|(location, domains, privacy, sizes, forbidden, permitted)| {
            let [max_image, max_audio, max_video, max_attachment] = sizes;
            AssetPolicy {
                asset_upload_location: location,
                upload_domains: domains,
                download_privacy: privacy,
                max_image,
                max_audio,
                max_video,
                max_attachment,
                forbidden_media_types: forbidden,
                permitted_media_types: permitted,
            }
        })
        .boxed()
}

pub(crate) fn logging_policy() -> Sample<LoggingPolicy> {
    let rules =
        (vec(identifier(), 0..3), identifier(), identifier()).prop_map(|(clients, machine, human)| LoggingRules {
            logging_clients: clients,
            machine_readable_policy: machine,
            human_readable_policy: human,
        });
    allowed(rules.boxed())
        .prop_map(|logging| LoggingPolicy { logging })
        .boxed()
}

pub(crate) fn history_policy() -> Sample<HistoryPolicy> {
    let rules =
        (numbers(), any::<(bool, u32)>()).prop_map(|(roles, (automatically_share, max_time_period))| HistoryRules {
            roles_that_can_share: roles,
            automatically_share,
            max_time_period,
        });
    allowed(rules.boxed())
        .prop_map(|history_sharing| HistoryPolicy { history_sharing })
        .boxed()
}

pub(crate) fn bot_policy() -> Sample<BotPolicy> {
    let bot = (octets(), octets(), identifier(), any::<(bool, u32, bool, bool)>()).prop_map(
        |(name, description, homepage, (local, role, target, per_user))| Bot {
            name,
            description,
            homepage,
            local_client_bot: local,
            bot_role_index: role,
            can_target_message_in_group: target,
            per_user_content: per_user,
        },
    );
    vec(bot, 0..3)
        .prop_map(|allowed_bots| BotPolicy { allowed_bots })
        .boxed()
}

pub(crate) fn message_expiration() -> Sample<MessageExpiration> {
    let rules = any::<(u32, u32, Option<u32>)>().prop_map(|(min, max, default)| ExpirationRules {
        min_expiration_duration: min,
        max_expiration_duration: max,
        default_expiration_duration: default,
    });
    allowed(rules.boxed())
        .prop_map(|expiring_messages| MessageExpiration { expiring_messages })
        .boxed()
}
