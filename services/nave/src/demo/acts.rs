//! What clients do together, each act checked by what its parties are shown. The demo plays them in a row; the scenario
//! tests play them one by one.

mod burst;
mod manners;
mod members;

pub use manners::{ASSET, abuse_report, ask_and_grant, consent, policy_refusal, share_asset, verdict_on};
pub use members::{agree, invite, leave, race, settle};

pub(super) use burst::{LATE, send_all};
