//! KeyPackages of our users' clients on their way to the follower: under their names, or in sets under pseudonyms.

use bytes::Bytes;
use mimi::mls::KeyPackage;
use mimi::{ClientUri, Decode as _, UserUri};
use proto::follower::{Done, Pseudonym, PseudonymousKeyPackage, UploadRequest, UploadResponse};
use proto::provider::{RegisterPseudonymRequest, UploadKeyPackagesRequest};
use tonic::{Request, Response, Status};

use super::{Actor, Api, actor, status};

impl Api {
    pub(super) async fn upload(
        &self,
        request: Request<UploadKeyPackagesRequest>,
    ) -> Result<Response<UploadResponse>, Status> {
        let actor = actor(&request, &request.get_ref().client)?;
        self.federation.rates.admit_user(&actor.user).map_err(status)?;
        let UploadKeyPackagesRequest {
            key_packages,
            pseudonymous,
            ..
        } = request.into_inner();
        if key_packages.len() + pseudonymous.len() > self.federation.limits.upload_key_packages_max {
            return Err(Status::invalid_argument("too many KeyPackages in one upload"));
        }
        if !pseudonymous.is_empty() {
            self.has_pseudonyms()?;
        }
        for octets in &key_packages {
            if decode(octets)?.credential().client().as_ref() != Ok(&actor.client) {
                return Err(Status::permission_denied(
                    "a KeyPackage's credential is not the client's",
                ));
            }
        }
        for each in &pseudonymous {
            self.check_pseudonymous(&actor, each)?;
        }
        let upload = UploadRequest {
            user: actor.user.as_str().to_owned(),
            client: actor.client.as_str().to_owned(),
            key_packages,
            pseudonymous,
        };
        let mut follower = self.federation.follower.clone();
        let stored = self.federation.in_time(follower.upload_key_packages(upload)).await;
        stored.map(Response::new).map_err(status)
    }

    pub(super) async fn name(&self, request: Request<RegisterPseudonymRequest>) -> Result<Response<Done>, Status> {
        let actor = actor(&request, &request.get_ref().client)?;
        self.federation.rates.admit_user(&actor.user).map_err(status)?;
        self.has_pseudonyms()?;
        let pseudonym = request.into_inner().pseudonym;
        self.check_free(pseudonym.parse().as_ref().ok())?;
        let pseudonym = Pseudonym {
            user: actor.user.as_str().to_owned(),
            pseudonym,
        };
        let mut follower = self.federation.follower.clone();
        let done = self.federation.in_time(follower.register_pseudonym(pseudonym)).await;
        done.map(Response::new).map_err(status)
    }

    fn has_pseudonyms(&self) -> Result<(), Status> {
        match self.federation.minimal_metadata {
            true => Ok(()),
            false => Err(Status::permission_denied(
                "minimal-metadata rooms are switched off here",
            )),
        }
    }

    /// Refuses a name that cannot be a pseudonym. Whether it is another user's already, the follower says.
    fn check_free(&self, name: Option<&UserUri>) -> Result<(), Status> {
        match name {
            Some(name) if self.is_free(name) => Ok(()),
            _ => Err(Status::permission_denied("not a name that can be a pseudonym here")),
        }
    }

    /// One of the user's clients under a pseudonym.
    fn check_pseudonymous(&self, actor: &Actor, of: &PseudonymousKeyPackage) -> Result<(), Status> {
        let client: Result<ClientUri, _> = of.client.parse();
        if !client.is_ok_and(|client| client.user() == actor.user) {
            return Err(Status::permission_denied("not a client of the token's user"));
        }
        match decode(&of.key_package)?.credential().pseudonymous() {
            Some(Ok(fields)) => self.check_free(fields.user().as_ref().ok()),
            _ => Err(Status::permission_denied(
                "a KeyPackage's credential is not pseudonymous",
            )),
        }
    }
}

fn decode(octets: &Bytes) -> Result<KeyPackage, Status> {
    KeyPackage::decode_exact(octets).map_err(|error| Status::invalid_argument(format!("malformed KeyPackage: {error}")))
}
