//! Assets: stored for our users, fetched for them and for other providers, from where they are kept and nowhere else.

use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use nave_edge::{AssetLimits, FetchError, Limits, Rate, asset_body};
use proto::provider::assets_client::AssetsClient;
use proto::provider::{AssetChunk, AssetDescription, DownloadAsset, UploadAsset, upload_asset::Part};
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::bodies::ROOM;
use crate::provider::{alices, channel, with_token};
use crate::services::Keeper;
use crate::world::{Answer, Peer, World, get};

const ELSEWHERE: &str = "https://assets.c.example/picture";

async fn client(world: &World) -> AssetsClient<Channel> {
    AssetsClient::new(channel(world).await)
}

fn described(bytes: u64, media_type: &str) -> UploadAsset {
    let media_type = media_type.to_owned();
    UploadAsset {
        part: Some(Part::Description(AssetDescription { bytes, media_type })),
    }
}

fn chunk(octets: impl Into<Bytes>) -> UploadAsset {
    UploadAsset {
        part: Some(Part::Chunk(octets.into())),
    }
}

async fn upload(world: &World, parts: Vec<UploadAsset>) -> Result<String, Status> {
    let stored = client(world).await.upload(alices(tokio_stream::iter(parts))).await?;
    Ok(stored.into_inner().url)
}

/// Octets that differ from one another, as many as take several pieces.
fn picture(len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

async fn stored(world: &World, octets: &[u8], media_type: &str) -> String {
    let mut parts = vec![described(octets.len() as u64, media_type)];
    parts.extend(octets.chunks(1 << 20).map(|octets| chunk(octets.to_vec())));
    upload(world, parts).await.unwrap()
}

/// Path of a URL of ours.
fn path(url: &str) -> &str {
    &url[url.find("/v1/").unwrap()..]
}

async fn fetch(peer: &mut Peer, method: &str, path: &str, range: Option<&str>) -> Answer {
    let mut request = get(method, "b.example", path);
    if let Some(range) = range {
        request = request.header("range", range);
    }
    request = request.header("cookie", "secret").header("authorization", "secret");
    peer.send(request.body(Full::default()).unwrap()).await
}

/// The proxy's path for a URL.
fn proxied(url: &str) -> String {
    let template: peer::Template = "https://a.example/v1/proxyDownload/{x}".parse().unwrap();
    template
        .expand(url)
        .strip_prefix("https://a.example")
        .unwrap()
        .to_owned()
}

/// Everything of a download: status and reason of the first chunk, the whole's length, and the octets.
async fn download(world: &World, call: DownloadAsset) -> (AssetChunk, Result<Vec<u8>, Status>) {
    let mut chunks = client(world).await.download(alices(call)).await.unwrap().into_inner();
    let first = chunks.message().await.unwrap().unwrap();
    let mut octets = Vec::new();
    loop {
        match chunks.message().await {
            Ok(Some(next)) => octets.extend_from_slice(&next.chunk),
            Ok(None) => return (first, Ok(octets)),
            Err(broken) => return (first, Err(broken)),
        }
    }
}

fn of_room(room: &str, url: &str) -> DownloadAsset {
    DownloadAsset {
        room: room.to_owned(),
        url: url.to_owned(),
        ..DownloadAsset::default()
    }
}

fn keeper(status: u16, headers: &'static [(&'static str, &'static str)], body: &'static str) -> Keeper {
    Box::new(move |_, _| {
        let mut response = Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        Ok(response.body(asset_body(body)).unwrap())
    })
}

#[tokio::test]
async fn as_6_an_asset_is_stored_under_a_name_nobody_guesses_and_served_to_peers() {
    let world = World::start().await;
    let octets = picture((17 << 20) + 5);
    let url = stored(&world, &octets, "image/png").await;
    assert!(url.starts_with(&format!("https://a.example:{}/v1/assets/", world.https.port())));
    assert_ne!(url, stored(&world, b"x", "image/png").await);
    let mut peer = world.peer("b.example").await;
    let answer = fetch(&mut peer, "GET", path(&url), None).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body, octets);
    let headers = &answer.headers;
    assert_eq!(headers["content-length"], octets.len().to_string());
    assert_eq!(
        (&headers["content-type"], &headers["accept-ranges"]),
        (&"image/png".parse().unwrap(), &"bytes".parse().unwrap())
    );
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert!(headers.contains_key("etag") && headers["cache-control"].to_str().unwrap().contains("immutable"));

    let head = fetch(&mut peer, "HEAD", path(&url), Some("bytes=1-2")).await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
    assert_eq!(head.headers["content-length"], octets.len().to_string());
}

#[tokio::test]
async fn as_6_parts_of_an_asset_are_served() {
    let world = World::start().await;
    let url = stored(&world, b"0123456789", "").await;
    let mut peer = world.peer("b.example").await;
    for (range, status, content_range, body) in [
        ("bytes=2-4", 206, Some("bytes 2-4/10"), "234"),
        ("bytes=7-", 206, Some("bytes 7-9/10"), "789"),
        ("bytes=-1", 206, Some("bytes 9-9/10"), "9"),
        ("bytes=10-", 416, Some("bytes */10"), ""),
        ("bytes=0-1,3-4", 200, None, "0123456789"),
    ] {
        let answer = fetch(&mut peer, "GET", path(&url), Some(range)).await;
        let found = answer.headers.get("content-range").map(|range| range.to_str().unwrap());
        assert_eq!((answer.status.as_u16(), found), (status, content_range), "{range}");
        assert_eq!(answer.body, body);
        assert_eq!(answer.headers["content-type"], "application/octet-stream");
    }
}

#[tokio::test]
async fn what_is_no_asset_is_answered_404_and_other_methods_405() {
    let world = World::start().await;
    let mut peer = world.peer("b.example").await;
    let unknown = "0".repeat(48);
    for name in [
        "",
        "x",
        "..",
        "%2e%2e",
        "../../etc/passwd",
        &unknown,
        &format!("{unknown}/x"),
        &format!("{unknown}?x"),
    ] {
        let answer = fetch(&mut peer, "GET", &format!("/v1/assets/{name}"), None).await;
        assert_eq!(answer.status, 404, "{name}");
    }
    for path in [format!("/v1/assets/{unknown}"), proxied(ELSEWHERE)] {
        let answer = fetch(&mut peer, "POST", &path, None).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.headers["allow"]),
            (405, &"GET, HEAD".parse().unwrap())
        );
    }
}

#[tokio::test]
async fn an_upload_is_as_large_as_announced_and_leaves_nothing_else_behind() {
    let limits = AssetLimits {
        asset_bytes_max: 10 << 20,
        ..AssetLimits::default()
    };
    let world = World::with_assets(Limits::default(), limits).await;
    let mib = || chunk(vec![0; 1 << 20]);
    let nine = |announced| {
        let mut parts = vec![described(announced, "")];
        parts.extend((0..9).map(|_| mib()));
        parts
    };
    for (parts, code) in [
        (vec![described((10 << 20) + 1, "")], Code::OutOfRange),
        (vec![described(5, ""), chunk("123456")], Code::InvalidArgument),
        (vec![described(5, ""), chunk("1234")], Code::InvalidArgument),
        (nine((9 << 20) + 1), Code::InvalidArgument),
        (nine((9 << 20) - 1), Code::InvalidArgument),
        (vec![described(5, "no type"), chunk("12345")], Code::InvalidArgument),
        (vec![chunk("12345")], Code::InvalidArgument),
        (vec![described(5, ""), described(5, "")], Code::InvalidArgument),
        (vec![UploadAsset { part: None }], Code::InvalidArgument),
        (vec![], Code::InvalidArgument),
    ] {
        assert_eq!(upload(&world, parts).await.unwrap_err().code(), code);
    }
    let files = || {
        let mut files = Vec::new();
        let mut folders = vec![world.directory.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path)
                } else {
                    files.push(path)
                }
            }
        }
        files
    };
    assert!(files().is_empty(), "{:?}", files());
    upload(&world, vec![described(0, "")]).await.unwrap();
    upload(&world, nine(9 << 20)).await.unwrap();
    assert_eq!(files().len(), 2);
    let stranger = client(&world)
        .await
        .upload(with_token("guess", tokio_stream::iter([described(0, "")])))
        .await;
    assert_eq!(stranger.unwrap_err().code(), Code::Unauthenticated);
}

#[tokio::test]
async fn as_2_as_4_the_proxy_fetches_from_where_peers_keep_assets_and_nothing_of_the_asker_goes_along() {
    let world = World::start().await;
    let mut peer = world.peer("b.example").await;
    world.peers.fetched.say(keeper(
        206,
        &[
            ("content-range", "bytes 1-2/9"),
            ("content-type", "image/png"),
            ("set-cookie", "secret"),
            ("server", "x"),
        ],
        "ss",
    ));
    let answer = fetch(
        &mut peer,
        "GET",
        &proxied("https://assets.c.example/a%20b?c=d"),
        Some("bytes=1-2"),
    )
    .await;
    assert_eq!((answer.status.as_u16(), &*answer.body), (206, &b"ss"[..]));
    assert_eq!(
        (&answer.headers["content-range"], &answer.headers["content-type"]),
        (&"bytes 1-2/9".parse().unwrap(), &"image/png".parse().unwrap())
    );
    assert!(!answer.headers.contains_key("set-cookie") && !answer.headers.contains_key("server"));
    // The whole of what is asked elsewhere: there is no place for a cookie, an authorisation or a name.
    let (url, wanted) = world.peers.fetched.asked().pop().unwrap();
    assert_eq!(url, "https://assets.c.example/a%20b?c=d");
    assert_eq!(
        (wanted.head, wanted.range.unwrap().as_bytes()),
        (false, &b"bytes=1-2"[..])
    );

    let head = fetch(&mut peer, "HEAD", &proxied(ELSEWHERE), Some("lines=1")).await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
    let (_, wanted) = world.peers.fetched.asked().pop().unwrap();
    assert_eq!((wanted.head, wanted.range), (true, None));

    let ours = stored(&world, b"ours", "").await;
    let answer = fetch(&mut peer, "GET", &proxied(&ours), None).await;
    assert_eq!((answer.status.as_u16(), &*answer.body), (200, &b"ours"[..]));
}

#[tokio::test]
async fn e_2_as_2_as_4_other_hosts_are_refused_and_nobody_is_asked() {
    let world = World::start().await;
    let mut peer = world.peer("b.example").await;
    for (url, status) in [
        ("https://victim.example/x", 403),
        ("https://assets.c.example:8443/x", 403),
        ("https://assets.c.example.evil/x", 403),
        ("https://127.0.0.1/x", 403),
        ("https://[::1]/x", 403),
        ("https://b.example/x", 403),
        ("http://assets.c.example/x", 400),
        ("https://user@assets.c.example/x", 400),
        ("https://assets.c.example#/x", 400),
        ("assets.c.example/x", 400),
        ("mimi://assets.c.example/r/x", 400),
    ] {
        let answer = fetch(&mut peer, "GET", &proxied(url), None).await;
        assert_eq!(answer.status, status, "{url}");
    }
    let spoof = get("GET", "c.example", &proxied(ELSEWHERE))
        .body(Full::default())
        .unwrap();
    assert_eq!(peer.send(spoof).await.status, 403);
    let mut misdirected = get("GET", "b.example", &proxied(ELSEWHERE))
        .body(Full::default())
        .unwrap();
    misdirected.headers_mut().insert("host", "c.example".parse().unwrap());
    assert_eq!(peer.send(misdirected).await.status, 421);
    assert!(world.peers.fetched.asked().is_empty());
}

#[tokio::test]
async fn as_2_what_goes_wrong_elsewhere_is_told_by_status() {
    let world = World::start().await;
    let mut peer = world.peer("b.example").await;
    for (said, status) in [
        (404, 404),
        (410, 404),
        (416, 416),
        (500, 502),
        (302, 502),
        (401, 502),
        (503, 503),
        (429, 503),
    ] {
        world.peers.fetched.say(keeper(
            said,
            &[("location", "https://victim.example/"), ("retry-after", "7")],
            "secret",
        ));
        let answer = fetch(&mut peer, "GET", &proxied(ELSEWHERE), None).await;
        assert_eq!(answer.status, status, "{said}");
        assert!(!answer.headers.contains_key("location") && !answer.body.windows(6).any(|part| part == b"secret"));
        let retry_after = answer.headers.get("retry-after").map(|value| value.to_str().unwrap());
        assert_eq!(retry_after, (status == 503).then_some("7"));
    }
    for (error, status) in [
        (FetchError::TimedOut, 504),
        (FetchError::Unreachable("refused".to_owned()), 502),
        (FetchError::NotAllowed, 403),
    ] {
        world.peers.fetched.say(Box::new(move |_, _| Err(error.clone())));
        assert_eq!(fetch(&mut peer, "GET", &proxied(ELSEWHERE), None).await.status, status);
    }
}

#[tokio::test]
async fn as_4_what_is_larger_than_allowed_is_cut_off() {
    let limits = AssetLimits {
        proxied_bytes_max: 5,
        stall_ms: 50,
        ..AssetLimits::default()
    };
    let world = World::with_assets(Limits::default(), limits).await;
    let mut peer = world.peer("b.example").await;
    world
        .peers
        .fetched
        .say(keeper(200, &[("content-length", "6")], "123456"));
    assert_eq!(fetch(&mut peer, "GET", &proxied(ELSEWHERE), None).await.status, 502);
    world
        .peers
        .fetched
        .say(keeper(200, &[("content-length", "5")], "12345"));
    assert_eq!(fetch(&mut peer, "GET", &proxied(ELSEWHERE), None).await.body, "12345");

    // Of unknown length, and one that never ends: the client sees that it is not whole.
    let room = |url| of_room(ROOM, url);
    world.peers.fetched.say(keeper(200, &[], "123456"));
    let (first, octets) = download(&world, room(ELSEWHERE)).await;
    assert_eq!((first.status, octets.unwrap_err().code()), (200, Code::Aborted));
    world.peers.fetched.say(Box::new(|_, _| {
        let silent = StreamBody::new(futures::stream::pending::<Result<Frame<Bytes>, _>>());
        Ok(Response::new(silent.boxed_unsync()))
    }));
    let (first, octets) = download(&world, room(ELSEWHERE)).await;
    assert_eq!((first.status, octets.unwrap_err().code()), (200, Code::Aborted));
}

#[tokio::test]
async fn as_2_a_small_asset_is_fetched_once_when_its_keeper_allows() {
    let world = World::start().await;
    let mut peer = world.peer("b.example").await;
    let cacheable = &[
        ("content-length", "10"),
        ("cache-control", "max-age=60"),
        ("content-type", "image/png"),
    ];
    world.peers.fetched.say(keeper(200, cacheable, "0123456789"));
    for (range, status, body) in [
        (None, 200, "0123456789"),
        (None, 200, "0123456789"),
        (Some("bytes=2-4"), 206, "234"),
        (Some("bytes=99-"), 416, ""),
    ] {
        let answer = fetch(&mut peer, "GET", &proxied(ELSEWHERE), range).await;
        assert_eq!((answer.status.as_u16(), answer.body), (status, Bytes::from(body)));
        assert_eq!(answer.headers["content-type"], "image/png");
    }
    let head = fetch(&mut peer, "HEAD", &proxied(ELSEWHERE), None).await;
    assert_eq!(
        (&head.headers["content-length"], head.body.len()),
        (&"10".parse().unwrap(), 0)
    );
    assert_eq!(world.peers.fetched.asked().len(), 1);
    assert_eq!(
        fetch(&mut peer, "GET", &proxied("https://assets.c.example/other"), None)
            .await
            .body,
        "asset"
    );

    // What is shorter than announced is not kept, nor shown as whole.
    let short = "https://assets.c.example/short";
    world.peers.fetched.say(keeper(200, cacheable, "01234"));
    assert_eq!(fetch(&mut peer, "GET", &proxied(short), None).await.status, 502);
    let before = world.peers.fetched.asked().len();
    world.peers.fetched.say(keeper(
        200,
        &[("content-length", "5"), ("cache-control", "no-store")],
        "01234",
    ));
    assert_eq!(fetch(&mut peer, "GET", &proxied(short), None).await.body, "01234");
    assert_eq!(fetch(&mut peer, "GET", &proxied(short), None).await.body, "asset");
    assert_eq!(world.peers.fetched.asked().len(), before + 2);
}

#[tokio::test]
async fn as_2_a_client_downloads_through_the_rooms_hub() {
    let world = World::start().await;
    // Our room: we are the hub.
    world
        .peers
        .fetched
        .say(keeper(200, &[("content-length", "5")], "asset"));
    let (first, octets) = download(&world, of_room(ROOM, ELSEWHERE)).await;
    assert_eq!(
        (first.status, first.bytes, octets.unwrap()),
        (200, 5, b"asset".to_vec())
    );
    assert!(world.peers.proxied.asked().is_empty());

    // Another's: its proxy.
    let room = "mimi://b.example/r/other";
    world.peers.proxied.say(keeper(
        206,
        &[("content-length", "2"), ("content-range", "bytes 1-2/5")],
        "ss",
    ));
    let part = DownloadAsset {
        first: 1,
        count: 2,
        ..of_room(room, ELSEWHERE)
    };
    let (first, octets) = download(&world, part).await;
    assert_eq!((first.status, first.bytes, octets.unwrap()), (206, 5, b"ss".to_vec()));
    let (hub, url, wanted) = world.peers.proxied.asked().pop().unwrap();
    assert_eq!((hub.as_str(), url.as_str()), ("b.example", ELSEWHERE));
    assert_eq!(wanted.range.unwrap(), "bytes=1-2");
    assert_eq!(world.peers.fetched.asked().len(), 1);
    for (said, status) in [(403, 403), (404, 404), (502, 502), (504, 504), (503, 503), (302, 502)] {
        world.peers.proxied.say(keeper(said, &[], "why"));
        let (first, octets) = download(&world, of_room(room, ELSEWHERE)).await;
        assert_eq!((first.status, octets.unwrap().len()), (status, 0), "{said}");
        assert!(!first.reason.is_empty());
    }

    // Ours: nobody is asked.
    let url = stored(&world, &picture(200_000), "").await;
    let asked = world.peers.proxied.asked().len();
    let (first, octets) = download(&world, of_room(room, &url)).await;
    assert_eq!(
        (first.status, first.bytes, octets.unwrap()),
        (200, 200_000, picture(200_000))
    );
    let tail = DownloadAsset {
        first: 199_999,
        ..of_room(room, &url)
    };
    assert_eq!(download(&world, tail).await.1.unwrap(), picture(200_000)[199_999..]);
    assert_eq!(world.peers.proxied.asked().len(), asked);

    for call in [of_room("room", ELSEWHERE), of_room(ROOM, "nowhere")] {
        assert_eq!(download(&world, call).await.0.status, 400);
    }
    assert_eq!(
        download(&world, of_room(ROOM, "https://victim.example/x"))
            .await
            .0
            .status,
        403
    );
}

#[tokio::test]
async fn e_9_assets_have_rates_of_their_own() {
    let mut limits = Limits::default();
    let once = Rate::new(1, 1);
    (limits.rates.asset, limits.rates.proxy_download) = (once, once);
    (limits.rates.upload, limits.rates.download) = (once, once);
    let world = World::with(limits).await;
    let url = stored(&world, b"asset", "").await;
    let early = upload(&world, vec![described(0, "")]).await.unwrap_err();
    assert_eq!(early.code(), Code::ResourceExhausted);
    let mut peer = world.peer("b.example").await;
    for path in [path(&url).to_owned(), proxied(ELSEWHERE)] {
        assert_eq!(fetch(&mut peer, "GET", &path, None).await.status, 200, "{path}");
        let early = fetch(&mut peer, "GET", &path, None).await;
        assert_eq!(early.status, 429, "{path}");
        assert!(early.headers.contains_key("retry-after"));
    }
    assert_eq!(download(&world, of_room(ROOM, &url)).await.0.status, 200);
    let (early, _) = download(&world, of_room(ROOM, &url)).await;
    assert_eq!((early.status, early.retry_after_ms > 0), (429, true));
    assert_eq!(world.peers.fetched.asked().len(), 1);
}

#[tokio::test]
async fn downloads_at_a_time_are_bounded_and_their_places_come_back() {
    let limits = AssetLimits {
        downloads_max: 1,
        stall_ms: 60_000,
        ..AssetLimits::default()
    };
    let world = World::with_assets(Limits::default(), limits).await;
    world.peers.fetched.say(Box::new(|_, _| {
        let silent = StreamBody::new(futures::stream::pending::<Result<Frame<Bytes>, _>>());
        Ok(Response::new(silent.boxed_unsync()))
    }));
    let mut api = client(&world).await;
    let mut waiting = api
        .download(alices(of_room(ROOM, ELSEWHERE)))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(waiting.message().await.unwrap().unwrap().status, 200);
    assert_eq!(download(&world, of_room(ROOM, ELSEWHERE)).await.0.status, 503);
    drop(waiting);
    let again = tokio::time::timeout(Duration::from_secs(20), async {
        while download(&world, of_room(ROOM, ELSEWHERE)).await.0.status != 200 {
            tokio::task::yield_now().await;
        }
    });
    again.await.unwrap();
}
