//! Assets over HTTPS (mimi-protocol §5.10): from our store, through the proxy, and through the oblivious gateway.

use http::header::{CACHE_CONTROL, CONTENT_TYPE, RANGE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, Request, Response};
use hyper::body::Incoming;
use link::Peer;
use peer::Wanted;

use super::Https;
use super::https::{method_not_allowed, response, source};
use crate::assets::{AssetBody, KEYS_TYPE, RESPONSE_TYPE, full, passed_on};
use crate::limits::OBLIVIOUS_BYTES_MAX;
use crate::rates::AssetWay;
use crate::reply::Reply;

/// How long others may keep our key configurations: they are good for a day more.
const KEYS_AGE: HeaderValue = HeaderValue::from_static("max-age=3600");

impl Https {
    /// An asset of ours by its name, or that of a peer by its URL.
    pub(super) async fn download(
        &self,
        peer: &Peer,
        way: AssetWay,
        target: &str,
        request: &Request<Incoming>,
    ) -> Response<AssetBody> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return method_not_allowed("GET, HEAD");
        }
        let found = self.downloaded(peer, way, target, request).await;
        let mut found = found.unwrap_or_else(response);
        // Whatever an asset says it is, nobody is to guess.
        let nosniff = const { HeaderValue::from_static("nosniff") };
        found.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, nosniff);
        found
    }

    async fn downloaded(
        &self,
        peer: &Peer,
        way: AssetWay,
        target: &str,
        request: &Request<Incoming>,
    ) -> Result<Response<AssetBody>, Reply> {
        self.host(request)?;
        let source = match way {
            // Who fetches from where assets are kept says nothing but what its certificate does.
            AssetWay::Store => peer.name().clone(),
            AssetWay::Proxy | AssetWay::Gateway => source(peer, request.headers())?,
        };
        self.federation.rates.admit_asset(&source, way)?;
        let wanted = Wanted {
            head: *request.method() == Method::HEAD,
            range: passed_on(request.headers().get(RANGE)),
        };
        if way == AssetWay::Store {
            return self.assets.of_ours(target, &wanted).await;
        }
        let url = target.parse();
        let url = url.map_err(|error: peer::BadAssetUrl| Reply::malformed(error.to_string()))?;
        self.assets.fetch(&url, wanted).await
    }

    /// GET gives the keys of the oblivious gateway, POST brings it a request.
    pub(super) async fn gateway(&self, peer: &Peer, request: Request<Incoming>) -> Response<AssetBody> {
        let answered = match *request.method() {
            Method::GET | Method::HEAD => self.keys(peer, &request),
            Method::POST => self.oblivious(peer, request).await,
            _ => return method_not_allowed("GET, HEAD, POST"),
        };
        answered.unwrap_or_else(response)
    }

    fn keys(&self, peer: &Peer, request: &Request<Incoming>) -> Result<Response<AssetBody>, Reply> {
        self.host(request)?;
        self.federation.rates.admit_asset(peer.name(), AssetWay::Gateway)?;
        let mut keys = Response::new(full(self.assets.gateway_keys()?));
        let headers = keys.headers_mut();
        headers.insert(CONTENT_TYPE, const { HeaderValue::from_static(KEYS_TYPE) });
        headers.insert(CACHE_CONTROL, KEYS_AGE);
        Ok(keys)
    }

    async fn oblivious(&self, peer: &Peer, request: Request<Incoming>) -> Result<Response<AssetBody>, Reply> {
        self.host(&request)?;
        let source = source(peer, request.headers())?;
        self.federation.rates.admit_asset(&source, AssetWay::Gateway)?;
        let (body, _held) = self.body(request, OBLIVIOUS_BYTES_MAX).await?;
        let mut sealed = Response::new(full(self.assets.oblivious(&body).await?));
        let headers = sealed.headers_mut();
        headers.insert(CONTENT_TYPE, const { HeaderValue::from_static(RESPONSE_TYPE) });
        headers.insert(CACHE_CONTROL, const { HeaderValue::from_static("no-store") });
        Ok(sealed)
    }
}
