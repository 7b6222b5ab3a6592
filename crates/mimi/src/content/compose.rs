//! Messages made from what their author means: the behaviours of mimi-content §5, each spelled as the draft's examples
//! spell it. A salt comes from outside, for nothing here is random.

use std::fmt::Write as _;

use bytes::Bytes;

use super::extensions::Extensions;
use super::id::{MessageId, Salt};
use super::part::{Disposition, ExternalPart, MultiPart, NestedPart, Part, PartSemantics, SinglePart};
use super::value::Value;
use super::{Expiration, MimiContent, media_type};
use crate::uri::{RoomUri, UserUri};

impl MimiContent {
    /// A message that says who sends it where, for franking and for whoever reads it later.
    pub fn new(salt: Salt, sender: &UserUri, room: &RoomUri, body: NestedPart) -> Self {
        let mut extensions = Extensions::default();
        extensions.0.insert(Extensions::SENDER_URI, sender.as_str().into());
        extensions.0.insert(Extensions::ROOM_URI, room.as_str().into());
        Self {
            salt,
            replaces: None,
            topic_id: Bytes::new(),
            expires: None,
            in_reply_to: None,
            extensions,
            body,
        }
    }

    /// A reply or a reaction to a message: to the very version with that id.
    #[must_use]
    pub fn replying_to(self, message: MessageId) -> Self {
        Self {
            in_reply_to: Some(message),
            ..self
        }
    }

    /// A message of a topic.
    #[must_use]
    pub fn about(self, topic_id: impl Into<Bytes>) -> Self {
        Self {
            topic_id: topic_id.into(),
            ..self
        }
    }

    /// A message that is to be forgotten.
    #[must_use]
    pub fn expiring(self, expires: Expiration) -> Self {
        Self {
            expires: Some(expires),
            ..self
        }
    }

    /// A message with one more extension.
    #[must_use]
    pub fn with(mut self, key: impl Into<super::Key>, value: impl Into<Value>) -> Self {
        self.extensions.0.insert(key.into(), value.into());
        self
    }

    /// The same message with another body. `id` is this one's; when this is an edit itself, the edit names the first
    /// version. Nothing but the body changes, because nothing else may (mimi-content §9.3).
    #[must_use]
    pub fn edit(&self, id: MessageId, salt: Salt, body: NestedPart) -> Self {
        Self {
            salt,
            replaces: Some(self.replaces.unwrap_or(id)),
            body,
            ..self.clone()
        }
    }

    /// Takes the message back, be it a text or a reaction. `id` is this one's, as in [`MimiContent::edit`].
    #[must_use]
    pub fn delete(&self, id: MessageId, salt: Salt) -> Self {
        let nothing = NestedPart {
            disposition: self.body.disposition,
            language: String::new(),
            part: Part::Null,
        };
        self.edit(id, salt, nothing)
    }
}

impl NestedPart {
    /// Something to render, in no language that is told.
    pub fn render(part: Part) -> Self {
        Self {
            disposition: Disposition::RENDER,
            language: String::new(),
            part,
        }
    }

    /// Content of a media type in the message itself.
    pub fn single(content_type: impl Into<String>, content: impl Into<Bytes>) -> Self {
        Self::render(Part::Single(SinglePart {
            content_type: content_type.into(),
            content: content.into(),
        }))
    }

    /// Plain text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::single(media_type::TEXT_PLAIN, text.into())
    }

    /// Markdown, in which every HTML tag is text.
    pub fn markdown(text: impl Into<String>) -> Self {
        Self::single(media_type::MARKDOWN, text.into())
    }

    /// HTML.
    pub fn html(text: impl Into<String>) -> Self {
        Self::single(media_type::HTML, text.into())
    }

    /// A reaction, such as one emoji.
    pub fn reaction(text: impl Into<String>) -> Self {
        Self::text(text).disposed(Disposition::REACTION)
    }

    /// Something to be downloaded.
    pub fn attachment(external: ExternalPart) -> Self {
        Self::external(external).disposed(Disposition::ATTACHMENT)
    }

    /// Something elsewhere, to be rendered.
    pub fn external(external: ExternalPart) -> Self {
        Self::render(Part::External(Box::new(external)))
    }

    /// A conference that is joined at a URL.
    pub fn conference(url: impl Into<String>, description: impl Into<String>) -> Self {
        Self::external(ExternalPart {
            url: url.into(),
            description: description.into(),
            ..ExternalPart::default()
        })
        .disposed(Disposition::SESSION)
    }

    /// Two parts or more.
    pub fn multi(semantics: PartSemantics, parts: impl Into<Vec<Self>>) -> Self {
        Self::render(Part::Multi(MultiPart {
            semantics,
            parts: parts.into(),
        }))
    }

    /// The same part with another disposition.
    #[must_use]
    pub fn disposed(self, disposition: Disposition) -> Self {
        Self { disposition, ..self }
    }

    /// The same part in a language.
    #[must_use]
    pub fn in_language(self, language: impl Into<String>) -> Self {
        Self {
            language: language.into(),
            ..self
        }
    }
}

/// The URI by which one part names another.
pub fn content_id(part_index: usize) -> String {
    format!("cid:{part_index}@local.invalid")
}

/// A mention of a user in Markdown. The name is a hint that the receiver need not follow; it cannot end the link.
pub fn markdown_mention(name: &str, user: &UserUri) -> String {
    let mut mention = "[@".to_owned();
    escape_markdown(&mut mention, name, r"\`*_[]<>&~|!");
    mention.push_str("](");
    escape_markdown(&mut mention, user.as_str(), "()&");
    mention.push(')');
    mention
}

fn escape_markdown(out: &mut String, text: &str, special: &str) {
    for c in text.chars() {
        if special.contains(c) {
            out.push('\\');
        }
        out.push(if c.is_control() { ' ' } else { c });
    }
}

/// A mention of a user in HTML. The name is a hint that the receiver need not follow; it cannot hold markup.
pub fn html_mention(name: &str, user: &UserUri) -> String {
    let mut mention = "<a href=\"".to_owned();
    escape_html(&mut mention, user.as_str());
    mention.push_str("\">@");
    escape_html(&mut mention, name);
    mention.push_str("</a>");
    mention
}

fn escape_html(out: &mut String, text: &str) {
    for c in text.chars() {
        if "&<>\"'".contains(c) {
            write!(out, "&#{};", u32::from(c)).expect("a string takes everything");
        } else {
            out.push(c);
        }
    }
}
