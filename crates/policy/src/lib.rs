//! Room policy and participant-list rules, pure: hub, client and follower call the same code and come to the same result,
//! octet for octet.
//!
//! [`RoomView`] is what a room is at one moment; a [`Change`] is what somebody wants of it; [`judge`] gives the view after
//! it or the [`Violation`]. What a list of updates makes of a component, whoever may make it, is [`apply_components`].

pub mod capability;
pub mod components;
pub mod judge;
pub mod leaf;
mod membership;
mod numbers;
pub mod participants;
pub mod preauth;
pub mod preset;
pub mod pseudonyms;
mod values;
pub mod view;

pub use capability::Capability;
pub use components::apply_components;
pub use judge::{Actor, Change, Evidence, Stage, judge};
pub use leaf::Leaf;
pub use participants::apply_participants;
pub use preset::Preset;
pub use view::RoomView;

/// A rule that a change breaks. Always the fault of whoever asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// The octets of a component or of its update are not what the draft defines.
    #[error("malformed: {0}")]
    Malformed(&'static str),
    /// Nobody may do this.
    #[error("invalid: {0}")]
    Invalid(&'static str),
    /// The actor may not do this.
    #[error("not allowed: {0}")]
    NotAllowed(&'static str),
    /// The room would not keep a number that its policy sets.
    #[error("against a limit of the room: {0}")]
    Limit(&'static str),
}

impl Violation {
    /// Which rule.
    pub fn why(&self) -> &'static str {
        match self {
            Self::Malformed(why) | Self::Invalid(why) | Self::NotAllowed(why) | Self::Limit(why) => why,
        }
    }

    /// Whether the change is wrong in itself, whoever asks for it.
    pub fn is_invalid(&self) -> bool {
        matches!(self, Self::Malformed(_) | Self::Invalid(_))
    }
}
