//! Policy components of a room beside its roles (mimi-room-policy §5, components 0x0028 to 0x0030) as they stand on the
//! wire: what a value says when the draft lets it say anything. Which values and changes are allowed is the policy's.

mod assets;
mod code;
mod links;

pub use assets::{AssetPolicy, AssetUploadLocation, DownloadPrivacy, DownloadPrivacyType, ProviderUploadDomains};
pub use code::JoinCode;
pub use links::{JoinLink, JoinLinkPolicy, JoinLinks, JoinLinksUpdate, LinkPreviewPolicy};

use bytes::Bytes;

use crate::codec::{Decode, DecodeError, Encode, Reader, Writer, codes, wire};
use crate::identifier::IdentifierUri;
use crate::limits;

codes! {
    /// Optionality: whether something is up to each client.
    Optionality, "optionality" {
        /// Each client decides.
        Optional = 0,
        /// Every client does it.
        Required = 1,
        /// No client does it.
        Forbidden = 2,
    }
}

/// An Optionality with the rules of what it allows; nothing follows it where it forbids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allowed<T> {
    /// Each client decides, within these rules.
    Optional(T),
    /// Every client does it, within these rules.
    Required(T),
    /// No client does it.
    Forbidden,
}

impl<T> Allowed<T> {
    /// The Optionality alone.
    pub fn optionality(&self) -> Optionality {
        match self {
            Self::Optional(_) => Optionality::Optional,
            Self::Required(_) => Optionality::Required,
            Self::Forbidden => Optionality::Forbidden,
        }
    }

    /// The rules, unless it is forbidden.
    pub fn rules(&self) -> Option<&T> {
        match self {
            Self::Optional(rules) | Self::Required(rules) => Some(rules),
            Self::Forbidden => None,
        }
    }
}

impl<T: Encode> Encode for Allowed<T> {
    fn write(&self, writer: &mut Writer) {
        self.optionality().write(writer);
        if let Some(rules) = self.rules() {
            rules.write(writer);
        }
    }
}

impl<T: Decode> Decode for Allowed<T> {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match Optionality::decode(reader)? {
            Optionality::Optional => Self::Optional(T::decode(reader)?),
            Optionality::Required => Self::Required(T::decode(reader)?),
            Optionality::Forbidden => Self::Forbidden,
        })
    }
}

/// StatusNotificationPolicy (0x0028, §5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusNotificationPolicy {
    /// Clients say that a message arrived.
    pub delivery_notifications: Optionality,
    /// Clients say that a message was read.
    pub read_receipts: Optionality,
}
wire!(StatusNotificationPolicy {
    delivery_notifications,
    read_receipts
});

/// What LoggingPolicy says where logging is not forbidden.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoggingRules {
    /// The clients that log.
    pub logging_clients: Vec<IdentifierUri>,
    /// Where the policy stands for machines, or empty.
    pub machine_readable_policy: IdentifierUri,
    /// Where the policy stands for people, or empty.
    pub human_readable_policy: IdentifierUri,
}
wire!(LoggingRules {
    logging_clients,
    machine_readable_policy,
    human_readable_policy
});

/// LoggingPolicy (0x002d, §5.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggingPolicy {
    /// Whether messages and calls are logged, and by whom.
    pub logging: Allowed<LoggingRules>,
}
wire!(LoggingPolicy { logging });

/// What HistoryPolicy says where sharing is not forbidden.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HistoryRules {
    /// Indices of the roles whose holders may share.
    pub roles_that_can_share: Vec<u32>,
    /// Clients share without being told to.
    pub automatically_share: bool,
    /// How far back, in seconds, at most.
    pub max_time_period: u32,
}
wire!(HistoryRules {
    roles_that_can_share,
    automatically_share,
    max_time_period
});

/// HistoryPolicy (0x002e, §5.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryPolicy {
    /// Whether newcomers get what was said before, and from whom.
    pub history_sharing: Allowed<HistoryRules>,
}
wire!(HistoryPolicy { history_sharing });

/// Bot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bot {
    /// Its name.
    pub name: Bytes,
    /// What it does.
    pub description: Bytes,
    /// Where people read about it.
    pub homepage: IdentifierUri,
    /// It sees the room through somebody's client only.
    pub local_client_bot: bool,
    /// Index of the role in which it takes part, or 0.
    pub bot_role_index: u32,
    /// It may write to single participants.
    pub can_target_message_in_group: bool,
    /// It may tell each participant something else.
    pub per_user_content: bool,
}
wire!(Bot {
    name,
    description,
    homepage,
    local_client_bot,
    bot_role_index,
    can_target_message_in_group,
    per_user_content,
}, at_most: limits::BOTS_MAX);

/// BotPolicy (0x002f, §5.7).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BotPolicy {
    /// The bots that the room allows.
    pub allowed_bots: Vec<Bot>,
}
wire!(BotPolicy { allowed_bots });

/// What MessageExpiration says where expiring messages are not forbidden. Times are in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExpirationRules {
    /// Messages last at least so long.
    pub min_expiration_duration: u32,
    /// Messages last at most so long.
    pub max_expiration_duration: u32,
    /// How long messages last when nothing is said.
    pub default_expiration_duration: Option<u32>,
}
wire!(ExpirationRules {
    min_expiration_duration,
    max_expiration_duration,
    default_expiration_duration
});

/// MessageExpiration (0x0030, §5.8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageExpiration {
    /// Whether messages expire, and when.
    pub expiring_messages: Allowed<ExpirationRules>,
}
wire!(MessageExpiration { expiring_messages });
