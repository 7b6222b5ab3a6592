//! gRPC without a network: a server and a channel to it, joined by pipes in memory.

use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Router;
use tonic::transport::{Channel, Endpoint};

/// Octets that wait in a pipe.
const PIPE_BYTES: usize = 1 << 20;
/// Connections that wait to be taken.
const BACKLOG: usize = 16;
/// HTTP/2 windows: as large as a pipe, so that flow control waits for nothing else.
const WINDOW_BYTES: u32 = 1 << 20;

/// Serves until `stop`; the channel connects when it is first used.
pub(crate) fn serve(router: Router, stop: CancellationToken) -> Channel {
    let (connect, connections) = mpsc::channel::<DuplexStream>(BACKLOG);
    let incoming = ReceiverStream::new(connections).map(Ok::<_, std::io::Error>);
    tokio::spawn(async move {
        if let Err(error) = router
            .serve_with_incoming_shutdown(incoming, stop.cancelled_owned())
            .await
        {
            tracing::error!(%error, "a server in memory ended");
        }
    });
    let endpoint = Endpoint::from_static("http://memory.invalid")
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(4 * WINDOW_BYTES);
    endpoint.connect_with_connector_lazy(tower::service_fn(move |_| {
        let connect = connect.clone();
        async move {
            let (near, far) = tokio::io::duplex(PIPE_BYTES);
            connect
                .send(far)
                .await
                .map_err(|_| std::io::Error::from(std::io::ErrorKind::ConnectionRefused))?;
            Ok::<_, std::io::Error>(TokioIo::new(near))
        }
    }))
}
