//! Application data that says what it is (draft-ietf-mls-extensions §6.3): used in every group whose GroupContext has the
//! component content_media_types, and in no other.

use bytes::Bytes;

use super::media_type;
use crate::codec::wire;
use crate::operational::MediaType;

/// ApplicationFraming.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplicationFraming {
    /// What the content is; an empty type stands for the first entry of the group's content_media_types.
    pub media_type: MediaType,
    /// The content.
    pub content: Bytes,
}
wire!(ApplicationFraming { media_type, content });

impl ApplicationFraming {
    /// Framed message content.
    pub fn of_content(content: impl Into<Bytes>) -> Self {
        Self {
            media_type: MediaType {
                media_type: Bytes::from_static(media_type::MIMI_CONTENT.as_bytes()),
                parameters: Vec::new(),
            },
            content: content.into(),
        }
    }

    /// Whether this is a message content, in a group whose content_media_types begin with `first`.
    pub fn is_content(&self, first: Option<&MediaType>) -> bool {
        let named = match (self.media_type.media_type.is_empty(), first) {
            (true, Some(first)) => first,
            _ => &self.media_type,
        };
        named
            .media_type
            .eq_ignore_ascii_case(media_type::MIMI_CONTENT.as_bytes())
            && named.parameters.is_empty()
    }
}
