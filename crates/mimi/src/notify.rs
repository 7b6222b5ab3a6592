//! notify (mimi-protocol §5.5): what a hub distributes. A body is FanoutMessages one after the other, without a count.

use bytes::Bytes;

use crate::codec::{Decode, DecodeError, Encode, Reader, Writer};
use crate::mls::{Body, ContentType, Message};
use crate::submit::Frank;
use crate::update::{RatchetTreeOption, read_proposals, write_first_and_more};

/// What a FanoutMessage carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FanoutContent {
    /// An application message.
    Application {
        /// A PrivateMessage.
        message: Message,
        /// The hub's frank, if the message asked for one.
        frank: Option<Frank>,
    },
    /// A Welcome.
    Welcome {
        /// The Welcome.
        message: Message,
        /// The ratchet tree that it leaves out.
        ratchet_tree: RatchetTreeOption,
    },
    /// Proposals that were accepted together; at least one.
    Proposals {
        /// The proposals.
        proposals: Vec<Message>,
    },
    /// A commit.
    Commit {
        /// The commit.
        commit: Message,
        /// The hub's own proposals, made again for the new epoch.
        external_proposals: Vec<Message>,
    },
}

/// FanoutMessage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FanoutMessage {
    /// When the hub accepted it, in milliseconds since the UNIX epoch.
    pub timestamp: u64,
    /// What it carries.
    pub content: FanoutContent,
}

impl FanoutMessage {
    /// Decodes a body: one FanoutMessage at least, `max` at most.
    pub fn decode_all(body: &[u8], max: usize) -> Result<Vec<Self>, DecodeError> {
        Self::read_all(Reader::new(body), max)
    }

    /// As [`FanoutMessage::decode_all`], sharing the memory of `body`.
    pub fn decode_all_shared(body: &Bytes, max: usize) -> Result<Vec<Self>, DecodeError> {
        Self::read_all(Reader::shared(body), max)
    }

    fn read_all(mut reader: Reader<'_>, max: usize) -> Result<Vec<Self>, DecodeError> {
        let mut messages = Vec::new();
        loop {
            if messages.len() == max {
                return Err(DecodeError::TooMuch {
                    what: "messages in a notification",
                    max,
                });
            }
            messages.push(Self::decode(&mut reader)?);
            if reader.is_empty() {
                return Ok(messages);
            }
        }
    }

    /// Its first message.
    ///
    /// # Panics
    /// Of proposals without any.
    pub fn message(&self) -> &Message {
        match &self.content {
            FanoutContent::Application { message, .. } | FanoutContent::Welcome { message, .. } => message,
            FanoutContent::Commit { commit, .. } => commit,
            FanoutContent::Proposals { proposals } => {
                proposals.first().expect("a bundle of proposals has one at least")
            }
        }
    }
}

impl Encode for FanoutMessage {
    /// # Panics
    /// Of proposals without any.
    fn write(&self, writer: &mut Writer) {
        self.timestamp.write(writer);
        match &self.content {
            FanoutContent::Application { message, frank } => {
                message.write(writer);
                frank.write(writer);
            }
            FanoutContent::Welcome { message, ratchet_tree } => {
                message.write(writer);
                ratchet_tree.write(writer);
            }
            FanoutContent::Proposals { proposals } => write_first_and_more(proposals, writer),
            FanoutContent::Commit {
                commit,
                external_proposals,
            } => {
                commit.write(writer);
                external_proposals.write(writer);
            }
        }
    }
}

impl Decode for FanoutMessage {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let timestamp = u64::decode(reader)?;
        let message = Message::decode(reader)?;
        let content = match (message.body(), message.content_type()) {
            (Body::Welcome(_), _) => FanoutContent::Welcome {
                message,
                ratchet_tree: Decode::decode(reader)?,
            },
            (Body::Private(_), Some(ContentType::Application)) => FanoutContent::Application {
                message,
                frank: Decode::decode(reader)?,
            },
            (_, Some(ContentType::Proposal)) => FanoutContent::Proposals {
                proposals: read_proposals(vec![message], reader)?,
            },
            (_, Some(ContentType::Commit)) => FanoutContent::Commit {
                commit: message,
                external_proposals: read_proposals(Vec::new(), reader)?,
            },
            _ => return Err(DecodeError::Invalid("not a message that is distributed")),
        };
        Ok(Self { timestamp, content })
    }
}
