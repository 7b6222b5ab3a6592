//! What clients do together, each act checked by what its parties are shown. The demo plays them in a row; the scenario
//! tests play them one by one.

mod burst;
mod manners;
mod members;
mod veiled;

pub use manners::{ASSET, abuse_report, ask_and_grant, consent, policy_refusal, share_asset, verdict_on};
pub use members::{agree, invite, leave, race, settle};
pub use veiled::{invite_masked, knows, minimal_metadata, says_masked, without_pseudonyms};

pub(super) use burst::{LATE, send_all};
