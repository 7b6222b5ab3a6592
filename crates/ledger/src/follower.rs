//! The rows of a provider as follower: what its users' clients are owed. KeyPackages are taken out once; an inbox holds each
//! entry of a room once however many clients follow it; a hub's position moves with the inbox rows it brought.
//!
//! Everything here is a function of a transaction that the caller begins and commits: what must happen together is written
//! together. Nothing is validated here but that octets are rows of ours.
//!
//! | key | value |
//! |---|---|
//! | `P` `c` user client | the client exists |
//! | `P` `k` client reference | a KeyPackage that nobody was given yet |
//! | `P` `l` client reference | the same, of last resort |
//! | `P` `s` user pseudonym number | a KeyPackage of a set that nobody was given yet |
//! | `P` `y` pseudonym | whose pseudonym it is |
//! | `P` `n` user | how many pseudonyms the user has had |
//! | `P` `o` reference | whose KeyPackage it is, until its Welcome came |
//! | `P` `a` digest | the answer to a claim, for whoever asks again |
//! | `P` `h` room | where the room's inbox stands |
//! | `P` `e` room | the last head of the room that its hub signed |
//! | `P` `i` room position part | one entry of an inbox |
//! | `P` `d` room digest | where an entry stands, by the digest of its octets |
//! | `P` `f` client room | the client follows the room; what it acknowledged |
//! | `P` `w` room client | the same, by room |
//! | `P` `v` | every subscription has its row by room |
//! | `P` `x` hub ledger shard | up to where a hub's shard is stored |
//! | `P` `b` user book other room | the last act of consent in one scope; without a room, for any |
//! | `P` `g` user other room part | the KeyPackages that came with a grant to the user, until they are taken |
//! | `P` `t` user other | how often the other changed something in the user's books |
//! | `P` `u` user | the user's profile |
//! | `P` `q` term user | the user can be found by this, a digest |
//! | `P` `r` versionstamp part | which inboxes a transaction made grow, for minutes; only in a store that followers share |
//! | `P` `m` | the versionstamp of the last of these |

mod consent;
mod directory;
mod inbox;
mod key_packages;
mod keys;
mod profiles;
mod rings;
mod sets;
mod trim;

pub use consent::{Act, Book, Consents, Noted, Turns};
pub use directory::{Directory, Term};
pub use inbox::{InboxEntry, InboxHead, InboxPosition, Inboxes, Subscription, WelcomeFor};
pub use key_packages::{Claimed, KeyPackages, StoredKeyPackage};
pub use profiles::{Field, FieldKind, Profile, Profiles, WhoMayAdd};
pub use rings::{Ring, RingPlace, Rings, Rung};
pub use sets::{KeyPackageSet, SET_KEY_PACKAGES_MAX, SetMember, Sets};
pub use trim::{InboxCut, InboxTrimmed};

use store::Error;

use crate::value::BadValue;

/// Why a follower's rows cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FollowerError {
    /// The store's own answer.
    #[error("store")]
    Store(#[from] Error),
    /// A row is not what this release wrote: the store is damaged, or newer than the program.
    #[error("damaged row: {0}")]
    Damaged(&'static str),
}

impl From<BadValue> for FollowerError {
    fn from(bad: BadValue) -> Self {
        Self::Damaged(bad.0)
    }
}

impl store::Retry for FollowerError {
    fn store_error(&self) -> Option<&Error> {
        match self {
            Self::Store(error) => Some(error),
            Self::Damaged(_) => None,
        }
    }
}
