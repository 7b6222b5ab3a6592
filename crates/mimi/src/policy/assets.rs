//! Assets (mimi-room-policy §5.4): where they are put, how they are fetched, how large and of which kinds they are.

use bytes::Bytes;

use crate::codec::{codes, wire};
use crate::limits;
use crate::operational::MediaType;

codes! {
    /// AssetUploadLocation.
    AssetUploadLocation, "asset upload location" {
        /// Anywhere.
        Unspecified = 0,
        /// At the sender's provider.
        LocalProvider = 1,
        /// At the hub.
        Hub = 2,
    }
}

codes! {
    /// DownloadPrivacyType (mimi-protocol §5.10).
    DownloadPrivacyType, "download privacy type" {
        /// From where the asset is.
        Direct = 0,
        /// Through a proxy at the hub.
        HubProxy = 1,
        /// By Oblivious HTTP through the hub.
        Ohttp = 2,
    }
}

/// ProviderAssetUploadDomains.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProviderUploadDomains {
    /// Domain of the provider.
    pub provider: Bytes,
    /// Domains at which its users' assets are.
    pub asset_upload_destinations: Vec<Bytes>,
}
wire!(ProviderUploadDomains {
    provider,
    asset_upload_destinations
}, at_most: limits::UPLOAD_DOMAINS_MAX);

/// DownloadPrivacy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DownloadPrivacy {
    /// Ways that are allowed.
    pub allowed_download_types: Vec<DownloadPrivacyType>,
    /// Ways that are not.
    pub forbidden_download_types: Vec<DownloadPrivacyType>,
    /// The way to take when nothing speaks against it.
    pub default_download_type: DownloadPrivacyType,
}
wire!(DownloadPrivacy {
    allowed_download_types,
    forbidden_download_types,
    default_download_type
});

/// AssetPolicy (0x002c). Sizes are in octets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssetPolicy {
    /// Where assets are put.
    pub asset_upload_location: AssetUploadLocation,
    /// The domains at which each provider's assets are.
    pub upload_domains: Vec<ProviderUploadDomains>,
    /// How assets are fetched.
    pub download_privacy: DownloadPrivacy,
    /// Size of an image, at most.
    pub max_image: u64,
    /// Size of a sound, at most.
    pub max_audio: u64,
    /// Size of a video, at most.
    pub max_video: u64,
    /// Size of an attachment, at most.
    pub max_attachment: u64,
    /// Media types that are refused.
    pub forbidden_media_types: Vec<MediaType>,
    /// Media types that alone are accepted, where there is such a list.
    pub permitted_media_types: Option<Vec<MediaType>>,
}
wire!(AssetPolicy {
    asset_upload_location,
    upload_domains,
    download_privacy,
    max_image,
    max_audio,
    max_video,
    max_attachment,
    forbidden_media_types,
    permitted_media_types,
});
