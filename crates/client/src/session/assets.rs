//! Assets of a room: sealed and uploaded, or fetched and opened, within the room's asset policy.

use bytes::Bytes;
use mimi::codec::Decode as _;
use mimi::content::ExternalPart;
use mimi::policy::AssetPolicy;
use mimi::{ComponentId, RoomUri, UserUri};

use super::retry::persist;
use super::{Session, SessionError};
use crate::api::ApiError;
use crate::asset::{self, AssetError, oblivious};
use crate::mls::MemberError;

/// Octets of an asset that are fetched where neither the message nor the room sets a limit.
const FETCHED_BYTES_MAX: u64 = 64 << 20;

impl Session {
    /// Encrypts an asset and uploads it; gives what a message refers to it by.
    pub async fn upload(&self, room: &RoomUri, plain: &[u8], content_type: &str) -> Result<ExternalPart, SessionError> {
        if let Some(policy) = self.asset_policy(room)? {
            asset::check_kind(content_type, plain.len() as u64, &policy)?;
        }
        let sealed = asset::seal(plain, content_type)?;
        let shared = &self.shared;
        let url = persist(shared.deadline(), || shared.api.upload_asset(&sealed.ciphertext)).await?;
        Ok(ExternalPart { url, ..sealed.part })
    }

    /// Fetches what a message of `sender` refers to, through the room's hub, so that its store does not learn who asks.
    pub async fn download(&self, room: &RoomUri, sender: &UserUri, part: &ExternalPart) -> Result<Bytes, SessionError> {
        let max = self.admit(room, sender, part)?;
        let shared = &self.shared;
        let fetched = persist(shared.deadline(), || shared.api.download_asset(room, &part.url, max)).await?;
        Ok(asset::open(part, &fetched)?)
    }

    /// The same by Oblivious HTTP: this provider does not learn what is fetched, nor the hub for whom.
    pub async fn download_obliviously(
        &self,
        room: &RoomUri,
        sender: &UserUri,
        part: &ExternalPart,
    ) -> Result<Bytes, SessionError> {
        let max = self.admit(room, sender, part)?;
        let shared = &self.shared;
        let (deadline, gateway) = (shared.deadline(), room.provider());
        let keys = persist(deadline, || shared.api.oblivious_keys(gateway)).await?;
        let (request, awaited) = oblivious::request(&keys, &part.url)?;
        let response = persist(deadline, || shared.api.oblivious(gateway, request.clone())).await?;
        let fetched = awaited.open(&response)?;
        if fetched.status != 200 {
            return Err(SessionError::Api(ApiError::Refused {
                status: fetched.status.into(),
                reason: "the gateway gives no asset".to_owned(),
            }));
        }
        if fetched.content.len() as u64 > max {
            return Err(AssetError::TooLarge.into());
        }
        Ok(asset::open(part, &fetched.content)?)
    }

    /// Whether this may be fetched; octets to take at most.
    fn admit(&self, room: &RoomUri, sender: &UserUri, part: &ExternalPart) -> Result<u64, SessionError> {
        let policy = self.asset_policy(room)?;
        let max = asset::check(part, sender.provider(), policy.as_ref())?;
        Ok(max.min(FETCHED_BYTES_MAX))
    }

    fn asset_policy(&self, room: &RoomUri) -> Result<Option<AssetPolicy>, SessionError> {
        self.member(|member| {
            let octets = member.component(room, ComponentId::ASSET_POLICY);
            let policy = octets.map(AssetPolicy::decode_exact).transpose();
            policy.map_err(|_| MemberError::Malformed("the room's asset policy").into())
        })
    }
}
