//! Refusals as the drafts' answers.

use mimi::group_info::{GroupInfoRefusal, GroupInfoResponse};
use mimi::key_material::{KeyMaterialRequest, KeyMaterialResponse, KeyMaterialUserCode};
use mimi::submit::{SubmitMessageResponse, SubmitOutcome};
use mimi::update::{UpdateOutcome, UpdateRoomResponse};
use mimi::{Decode as _, Encode, Protocol, RoomUri};

use crate::{Command, Refusal, Reply};

impl Refusal {
    /// What whoever asked `to` of `room` is told. A request that is malformed or not the asker's to make is refused by
    /// its HTTP status.
    pub fn reply(&self, room: &RoomUri, to: &Command) -> Reply {
        match self {
            Self::Malformed(why) => return Reply::Status(400, why),
            Self::Forbidden(why) => return Reply::Status(403, why),
            Self::WrongEpoch { .. } | Self::EpochTooOld { .. } | Self::NotAllowed(_) | Self::InvalidProposal { .. } => {
            }
        }
        match to {
            Command::Update { .. } => body(&self.update()),
            Command::Submit { .. } => body(&self.submit()),
            // Whoever may not report is not told why, nor whether there is such a room.
            Command::ReportAbuse { .. } => Reply::Status(403, "the report is not taken"),
            Command::GroupInfo { .. } => body(&GroupInfoResponse {
                version: Protocol::Mls10,
                room_id: room.into(),
                outcome: Err(GroupInfoRefusal::NotAuthorized),
            }),
            Command::AuthorizeKeyMaterial { body: request, .. } | Command::RecordKeyMaterial { request, .. } => {
                match KeyMaterialRequest::decode_exact(request) {
                    Ok(request) => body(&KeyMaterialResponse::refusal(
                        KeyMaterialUserCode::NoConsent,
                        request.target_user,
                    )),
                    Err(error) => Reply::Status(400, error.reason()),
                }
            }
        }
    }

    fn update(&self) -> UpdateRoomResponse {
        let outcome = match self {
            Self::WrongEpoch { current } => UpdateOutcome::WrongEpoch {
                current_epoch: current.0,
            },
            Self::InvalidProposal { proposals, .. } => UpdateOutcome::InvalidProposal {
                invalid_proposals: proposals.clone(),
            },
            _ => UpdateOutcome::NotAllowed,
        };
        let error_description = match self {
            Self::NotAllowed(why) | Self::InvalidProposal { why, .. } => (*why).to_owned(),
            _ => String::new(),
        };
        UpdateRoomResponse {
            outcome,
            error_description,
        }
    }

    fn submit(&self) -> SubmitMessageResponse {
        let outcome = match self {
            Self::EpochTooOld { current } => SubmitOutcome::EpochTooOld {
                current_epoch: current.0,
            },
            _ => SubmitOutcome::NotAllowed,
        };
        outcome.into()
    }
}

fn body(response: &impl Encode) -> Reply {
    Reply::Body(response.encode().into())
}
