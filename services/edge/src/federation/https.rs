//! The federation over HTTPS: requirements E-1 to E-9, in the order in which they cost. Nothing of a body is read before
//! the request is known to be the provider's who sends it and within its rate.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use link::Peer;
use mimi::Provider;
use peer::Directory;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{Endpoint, Federation};
use crate::assets::{self, AssetBody, Assets, full};
use crate::rates::AssetWay;
use crate::reply::{Reply, Span};

/// How long others may keep our directory document.
const DIRECTORY_AGE: &str = "max-age=3600";

const ROOM_SEQ: header::HeaderName = header::HeaderName::from_static(peer::ROOM_SEQ);
const ROOM_HEAD: header::HeaderName = header::HeaderName::from_static(peer::ROOM_HEAD);

/// Bodies are counted in units of this.
const KIB: usize = 1024;

/// Answers what comes over HTTPS.
pub(crate) struct Https {
    pub(super) federation: Arc<Federation>,
    pub(super) assets: Arc<Assets>,
    /// Names under which we are asked, in lower case.
    hosts: Vec<String>,
    directory: Directory,
    document: Bytes,
    /// KiB of request bodies that may still be held.
    bodies: Semaphore,
}

impl Https {
    pub(crate) fn new(
        federation: Arc<Federation>,
        assets: Arc<Assets>,
        hosts: &[String],
        directory: Directory,
    ) -> Self {
        let document = serde_json::to_vec(&directory).expect("a directory is a map of strings");
        let bodies = federation.limits.bodies_bytes_max.div_ceil(KIB);
        Self {
            federation,
            assets,
            hosts: hosts.iter().map(|host| host.to_ascii_lowercase()).collect(),
            directory,
            document: document.into(),
            bodies: Semaphore::new(bodies.min(Semaphore::MAX_PERMITS)),
        }
    }

    /// Answers one request of whoever proved to be `peer`.
    pub(crate) async fn answer(
        &self,
        peer: &Peer,
        request: Request<Incoming>,
    ) -> Result<Response<AssetBody>, Infallible> {
        let since = Instant::now();
        let (name, response) = match self.route(&request) {
            Ok(Route::Directory) => return Ok(self.directory(&request)),
            Ok(Route::Asset(way, target)) => (way.name(), self.download(peer, way, &target, &request).await),
            Ok(Route::Gateway) => (AssetWay::Gateway.name(), self.gateway(peer, request).await),
            Ok(Route::Endpoint(endpoint, target)) => {
                let (Ok(reply) | Err(reply)) = self.call(peer, endpoint, target, request).await;
                (endpoint.name(), response(reply))
            }
            Err(refused) => return Ok(response(refused)),
        };
        let status = response.status().as_u16();
        self.federation.metrics.answered(name, "https", status, since);
        Ok(response)
    }

    fn directory(&self, request: &Request<Incoming>) -> Response<AssetBody> {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return method_not_allowed("GET, HEAD");
        }
        if let Err(refused) = self.host(request) {
            return response(refused);
        }
        let mut document = Response::new(full(self.document.clone()));
        let headers = document.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            const { header::HeaderValue::from_static("application/json") },
        );
        headers.insert(
            header::CACHE_CONTROL,
            const { header::HeaderValue::from_static(DIRECTORY_AGE) },
        );
        document
    }

    /// The path as it was sent: `%2F` stays apart from `/`.
    fn route(&self, request: &Request<Incoming>) -> Result<Route, Reply> {
        let path = request.uri().path_and_query().map_or("", |path| path.as_str());
        match path {
            peer::WELL_KNOWN => return Ok(Route::Directory),
            peer::WELL_KNOWN_GATEWAY => return Ok(Route::Gateway),
            _ => {}
        }
        if let Some(name) = path.strip_prefix(assets::PATH) {
            return Ok(Route::Asset(AssetWay::Store, name.to_owned()));
        }
        if let Some((listed, target)) = self.directory.route(path) {
            if listed == peer::Endpoint::ProxyDownload {
                return Ok(Route::Asset(AssetWay::Proxy, target));
            }
            let endpoint = Endpoint::of(listed).ok_or_else(|| Reply::refused(404, "no such endpoint"))?;
            return Ok(Route::Endpoint(endpoint, target));
        }
        let mut templates = self.directory.endpoints.values();
        match templates.any(|template| path.starts_with(template.path().0)) {
            true => Err(Reply::malformed("no identifier in the path")),
            false => Err(Reply::refused(404, "no such endpoint")),
        }
    }

    async fn call(
        &self,
        peer: &Peer,
        endpoint: Endpoint,
        target: String,
        request: Request<Incoming>,
    ) -> Result<Reply, Reply> {
        if request.method() != Method::POST {
            return Err(Reply::refused(405, "only POST"));
        }
        self.host(&request)?;
        let source = source(peer, request.headers())?;
        self.federation.rates.admit(&source, endpoint)?;
        let numbers = numbers(request.headers());
        let (body, _held) = self.body(request, endpoint.body_bytes_max()).await?;
        let federation = &self.federation;
        Ok(federation
            .answer_numbered(&source, endpoint, &target, body, numbers)
            .await)
    }

    /// Host (HTTP/1.1) or `:authority` (HTTP/2) must name us; the port is ignored.
    pub(super) fn host(&self, request: &Request<Incoming>) -> Result<(), Reply> {
        let authority = match request.uri().authority() {
            Some(authority) => Some(authority.host().to_owned()),
            None => request
                .headers()
                .get(header::HOST)
                .and_then(|host| host.to_str().ok())
                .and_then(|host| host.parse::<http::uri::Authority>().ok())
                .map(|authority| authority.host().to_owned()),
        };
        let host = authority.ok_or_else(|| Reply::malformed("no Host"))?;
        match self.hosts.iter().any(|ours| host.eq_ignore_ascii_case(ours)) {
            true => Ok(()),
            false => Err(Reply::refused(421, "not a host of ours")),
        }
    }

    /// Reads a body of at most `max` octets, and holds the memory for it until the permit goes.
    pub(super) async fn body(
        &self,
        request: Request<Incoming>,
        max: usize,
    ) -> Result<(Bytes, SemaphorePermit<'_>), Reply> {
        let too_large = || Reply::refused(413, "body too large");
        let body = request.into_body();
        let hint = body.size_hint();
        if hint.lower() > max as u64 {
            return Err(too_large());
        }
        let bytes = hint.exact().map_or(max, |exact| usize::try_from(exact).unwrap_or(max));
        let units = u32::try_from(bytes.div_ceil(KIB)).unwrap_or(u32::MAX);
        let held = self.bodies.try_acquire_many(units);
        let held = held.map_err(|_| Reply::unavailable("too many bodies at a time"))?;
        let read = tokio::time::timeout(self.federation.limits.body(), Limited::new(body, max).collect());
        match read.await {
            Ok(Ok(body)) => Ok((body.to_bytes(), held)),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
            Ok(Err(_)) => Err(Reply::malformed("the body broke off")),
            Err(_) => Err(Reply::refused(408, "the body took too long")),
        }
    }
}

/// What a path leads to.
enum Route {
    Directory,
    Endpoint(Endpoint, String),
    /// A name in our store, or the URL of somebody else's.
    Asset(AssetWay, String),
    Gateway,
}

/// Who asks: `From`, if the certificate covers it.
pub(super) fn source(peer: &Peer, headers: &HeaderMap) -> Result<Provider, Reply> {
    let source = from(headers)?;
    match peer.may_speak_for(&source) {
        true => Ok(source),
        false => Err(Reply::refused(403, "the certificate does not cover the domain of From")),
    }
}

/// `Mimi-Room-Seq: first-last`. Whatever else stands there says nothing.
fn numbers(headers: &HeaderMap) -> Option<(u64, u64)> {
    let (first, last) = headers.get(ROOM_SEQ)?.to_str().ok()?.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()?))
}

/// `From: mimi@DOMAIN` (E-2).
fn from(headers: &HeaderMap) -> Result<Provider, Reply> {
    let mut values = headers.get_all(header::FROM).iter();
    let (Some(from), None) = (values.next(), values.next()) else {
        return Err(Reply::malformed("not one From"));
    };
    let domain = from.to_str().ok().and_then(|from| from.strip_prefix("mimi@"));
    let domain = domain.ok_or_else(|| Reply::malformed("From is not mimi@DOMAIN"))?;
    domain
        .to_ascii_lowercase()
        .parse()
        .map_err(|_| Reply::malformed("From is not mimi@DOMAIN"))
}

pub(super) fn method_not_allowed(allowed: &'static str) -> Response<AssetBody> {
    let mut response = response(Reply::refused(405, "method not allowed"));
    response
        .headers_mut()
        .insert(header::ALLOW, header::HeaderValue::from_static(allowed));
    response
}

pub(super) fn response(reply: Reply) -> Response<AssetBody> {
    let mut response = Response::new(full(reply.wire_body()));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    let kind = match (reply.reason.is_empty(), reply.body.is_empty()) {
        (true, true) => None,
        (true, false) => Some("application/octet-stream"),
        (false, _) => Some("application/problem+json"),
    };
    if let Some(kind) = kind {
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    }
    if let Some(seconds) = reply.retry_after_seconds() {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    if let Some(Span { seqs, head }) = reply.span {
        headers.insert(ROOM_HEAD, head.into());
        let seqs = seqs.and_then(|(first, last)| format!("{first}-{last}").parse().ok());
        if let Some(seqs) = seqs {
            headers.insert(ROOM_SEQ, seqs);
        }
    }
    if reply.status == 405 {
        headers.insert(header::ALLOW, const { header::HeaderValue::from_static("POST") });
    }
    response
}
