//! KeyPackages for the room: who may ask for them, and who holds those that were given.

use bytes::Bytes;
use mimi::key_material::{ClientStatus, KeyMaterialRequest, KeyMaterialResponse, KeyMaterialUserCode};
use mimi::mls::KeyPackage;
use mimi::{Encode as _, Provider, UserUri};
use policy::Capability;

use super::decode;
use crate::decision::{Append, Appended, KeyMaterialAppend};
use crate::room::ROUTES_MAX;
use crate::{Answer, Decision, Millis, Refusal, Room};

impl Room {
    pub(super) fn authorize_key_material(&self, from: &Provider, body: &Bytes) -> Result<Decision, Refusal> {
        self.check_request(from, &decode(body)?)?;
        Ok(Decision::Answer(Answer::Authorized))
    }

    fn check_request(&self, from: &Provider, request: &KeyMaterialRequest) -> Result<UserUri, Refusal> {
        let requester = request.requesting_user.user();
        let requester = requester.map_err(|_| Refusal::Malformed("the requesting user"))?;
        let target = request
            .target_user
            .user()
            .map_err(|_| Refusal::Malformed("the target user"))?;
        if requester.provider() != from {
            return Err(Refusal::Forbidden("the requester is a user of another provider"));
        }
        if request.room_id.octets() != self.id.as_str().as_bytes() {
            return Err(Refusal::Malformed("the request is for another room"));
        }
        self.check_open()?;
        self.check_acts(&requester)?;
        let capability = if requester == target {
            Capability::AddOwnClient
        } else {
            Capability::AddParticipant
        };
        if !self.effective.can(&requester, capability) {
            return Err(Refusal::NotAllowed("adding clients"));
        }
        Ok(target)
    }

    pub(super) fn record_key_material(
        &self,
        from: &Provider,
        request: &Bytes,
        target: &Provider,
        response: &Bytes,
        now: Millis,
    ) -> Result<Decision, Refusal> {
        let request: KeyMaterialRequest = decode(request)?;
        let user = self.check_request(from, &request)?;
        let mut material: KeyMaterialResponse = decode(response)?;
        if user.provider() != target || material.user != request.target_user {
            return Err(Refusal::Forbidden("an answer for another user"));
        }
        let mut routes = Vec::new();
        let mut unfit = false;
        for client in &mut material.clients {
            let ClientStatus::Success(key_package) = &client.status else {
                continue;
            };
            match self.route(key_package, &user, &request) {
                Some((reference, expires)) => routes.push((reference, target.clone(), expires)),
                None => {
                    client.status = ClientStatus::NothingCompatible(None);
                    unfit = true;
                }
            }
        }
        if self.routes.len() + routes.len() > ROUTES_MAX {
            return Err(Refusal::NotAllowed("too many KeyPackages handed out and not used"));
        }
        let response = if unfit {
            material.user_status = match routes.len() {
                0 => KeyMaterialUserCode::NoCompatibleMaterial,
                _ => KeyMaterialUserCode::PartialSuccess,
            };
            material.encode().into()
        } else {
            response.clone()
        };
        let what = Appended::KeyMaterial(KeyMaterialAppend { routes, response });
        Ok(Decision::Append(Box::new(Append { now, what })))
    }

    /// The name of a KeyPackage that will do, and until when it is good.
    fn route(&self, package: &KeyPackage, user: &UserUri, request: &KeyMaterialRequest) -> Option<(Bytes, Millis)> {
        let owner = package.credential().client().ok()?;
        let acceptable = request.acceptable_ciphersuites.contains(&package.cipher_suite());
        if owner.user() != *user || !acceptable || !self.group.fits(package) {
            return None;
        }
        let expires = Millis(package.not_after()?.saturating_mul(1_000));
        Some((package.reference().ok()?, expires))
    }
}
