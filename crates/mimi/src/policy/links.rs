//! Links into a room and links out of it (mimi-room-policy §5.2 and §5.3).

use bytes::Bytes;

use super::{Allowed, Optionality};
use crate::codec::wire;
use crate::identifier::IdentifierUri;
use crate::limits;

/// JoinLinkPolicy (0x0029).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JoinLinkPolicy {
    /// The room keeps one link at most: others are made on request.
    pub on_request: bool,
    /// Where a link is requested, or empty.
    pub join_link: IdentifierUri,
    /// A link serves several users.
    pub multiuser: bool,
    /// How long a new link is valid, in seconds.
    pub expiration: u32,
}
wire!(JoinLinkPolicy {
    on_request,
    join_link,
    multiuser,
    expiration
});

/// JoinLink, as draft -04 spells it: one vector.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct JoinLink {
    /// The link.
    pub join_link: Bytes,
}
wire!(JoinLink { join_link }, at_most: limits::JOIN_LINKS_MAX);

/// JoinLinksData (0x002a): the active links.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JoinLinks {
    /// The links, in the order in which they were added.
    pub links: Vec<JoinLink>,
}
wire!(JoinLinks { links });

/// JoinLinksUpdate: what an AppDataUpdate of component 0x002a carries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JoinLinksUpdate {
    /// Links taken away, by index in the list at the start of the epoch.
    pub removed: Vec<u32>,
    /// Links appended.
    pub added: Vec<JoinLink>,
}
wire!(JoinLinksUpdate { removed, added });

/// LinkPreviewPolicy (0x002b).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkPreviewPolicy {
    /// Senders look for links in what is typed.
    pub autodetect_hyperlinks_in_text: Optionality,
    /// Senders send previews along.
    pub send_link_previews: Optionality,
    /// Receivers make previews.
    pub automatic_link_previews: Optionality,
    /// Previews are made through a proxy: which ones.
    pub link_preview_proxy_use: Allowed<Vec<IdentifierUri>>,
}
wire!(LinkPreviewPolicy {
    autodetect_hyperlinks_in_text,
    send_link_previews,
    automatic_link_previews,
    link_preview_proxy_use,
});
