//! Requests to rooms, many over one stream to a hub's node: what a call of its own costs beside its octets is paid once for
//! all of them. Each is answered as soon as its answer is there, under its number.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::{Stream, StreamExt as _};
use prost::Message as _;
use proto::hub::hub_client::HubClient;
use proto::hub::{NumberedRequest, NumberedResponse, RoomRequest, RoomResponse};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

/// Requests that wait for the connection to take them. Who comes when there are as many waits for a place.
const WAITING_MAX: usize = 1_024;

/// Requests of one stream that are worked on at a time. Further ones are not read, so that the sender's connection stands.
const UNDER_WAY_MAX: usize = 4_096;

/// Octets of a request above which it gets a call of its own, so that it holds up no other.
const SHARED_BYTES_MAX: usize = 64 << 10;

/// The way to one node. Clones share its stream, which is opened when it is first needed, and again after it has ended.
#[derive(Debug, Clone)]
pub struct Calls {
    client: HubClient<Channel>,
    way: Arc<tokio::sync::Mutex<Way>>,
}

#[derive(Debug, Default)]
enum Way {
    #[default]
    NotTried,
    Open(Open),
    /// The node is of a release that knows no such stream: each request gets a call of its own.
    Alone,
}

type Answer = Result<RoomResponse, Status>;

/// A stream as its callers share it.
#[derive(Debug, Clone)]
struct Open {
    requests: mpsc::Sender<NumberedRequest>,
    numbers: Arc<AtomicU64>,
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Debug, Default)]
struct Waiting {
    answers: HashMap<u64, oneshot::Sender<Answer>>,
    /// Why there will be no more.
    ended: Option<Status>,
}

impl From<HubClient<Channel>> for Calls {
    fn from(client: HubClient<Channel>) -> Self {
        Self {
            client,
            way: Arc::default(),
        }
    }
}

impl Calls {
    /// The client, for what is not about one room.
    pub fn client(&self) -> HubClient<Channel> {
        self.client.clone()
    }

    /// What the node answers. `traceparent`: the trace that the request belongs to, if there is one.
    ///
    /// # Errors
    /// The node's; [`Code::Unavailable`] when it was lost before it answered.
    pub async fn call(&self, request: RoomRequest, traceparent: Option<String>) -> Answer {
        let open = match request.encoded_len() {
            0..=SHARED_BYTES_MAX => self.open().await?,
            _ => None,
        };
        let Some(open) = open else {
            return self.call_alone(request, traceparent).await;
        };
        let place = open.requests.reserve().await.map_err(|_| open.why())?;
        let (answer, answered) = oneshot::channel();
        let number = open.numbers.fetch_add(1, Ordering::Relaxed);
        let _pending = open.register(number, answer)?;
        place.send(NumberedRequest {
            number,
            request: Some(request),
            traceparent: traceparent.unwrap_or_default(),
        });
        answered.await.unwrap_or_else(|_| Err(open.why()))
    }

    async fn call_alone(&self, request: RoomRequest, traceparent: Option<String>) -> Answer {
        let mut request = tonic::Request::new(request);
        if let Some(traceparent) = traceparent.and_then(|text| text.parse().ok()) {
            request.metadata_mut().insert(daemon::traces::HEADER, traceparent);
        }
        Ok(self.client.clone().call(request).await?.into_inner())
    }

    /// The stream that there is, or a new one; `None` if the node has none.
    async fn open(&self) -> Result<Option<Open>, Status> {
        let mut way = self.way.lock().await;
        match &*way {
            Way::Alone => return Ok(None),
            Way::Open(open) if open.waiting().ended.is_none() => return Ok(Some(open.clone())),
            Way::Open(_) | Way::NotTried => {}
        }
        let (requests, queue) = mpsc::channel(WAITING_MAX);
        match self.client.clone().calls(ReceiverStream::new(queue)).await {
            Ok(answers) => {
                let open = Open {
                    requests,
                    numbers: Arc::default(),
                    waiting: Arc::default(),
                };
                tokio::spawn(read(answers.into_inner(), open.waiting.clone()));
                *way = Way::Open(open.clone());
                Ok(Some(open))
            }
            Err(status) if status.code() == Code::Unimplemented => {
                *way = Way::Alone;
                Ok(None)
            }
            Err(status) => Err(status),
        }
    }
}

impl Open {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn register(&self, number: u64, answer: oneshot::Sender<Answer>) -> Result<Pending<'_>, Status> {
        let mut waiting = self.waiting();
        if let Some(ended) = &waiting.ended {
            return Err(ended.clone());
        }
        waiting.answers.insert(number, answer);
        Ok(Pending { open: self, number })
    }

    fn why(&self) -> Status {
        self.waiting().ended.clone().unwrap_or_else(lost)
    }
}

/// A request under way. Whoever gives it up is not answered any more.
struct Pending<'a> {
    open: &'a Open,
    number: u64,
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.open.waiting().answers.remove(&self.number);
    }
}

/// Hands the answers out, until the stream ends.
async fn read(mut answers: Streaming<NumberedResponse>, waiting: Arc<Mutex<Waiting>>) {
    let waiting = || waiting.lock().unwrap_or_else(PoisonError::into_inner);
    let why = loop {
        match answers.message().await {
            Ok(Some(NumberedResponse { number, response })) => {
                let waits = waiting().answers.remove(&number);
                // Who gave up needs no answer.
                let _ = waits.map(|waits| waits.send(Ok(response.unwrap_or_default())));
            }
            Ok(None) => break lost(),
            Err(status) => break status,
        }
    };
    let left = {
        let mut waiting = waiting();
        waiting.ended = Some(why.clone());
        std::mem::take(&mut waiting.answers)
    };
    for answer in left.into_values() {
        let _ = answer.send(Err(why.clone()));
    }
}

fn lost() -> Status {
    Status::new(Code::Unavailable, "the stream of calls has ended")
}

/// The answers of a node to a stream of requests: `answer` is asked about each, with its trace, in the order in which they
/// come; what is there first is sent first.
pub fn answered<F>(
    requests: impl Stream<Item = Result<NumberedRequest, Status>> + Send,
    answer: impl Fn(RoomRequest, String) -> F + Send + 'static,
) -> impl Stream<Item = Result<NumberedResponse, Status>> + Send
where
    F: Future<Output = RoomResponse> + Send + 'static,
{
    let under_way = requests.map(move |numbered| {
        let begun = numbered.map(|numbered| {
            let request = numbered.request.unwrap_or_default();
            (numbered.number, answer(request, numbered.traceparent))
        });
        async move {
            let (number, response) = begun?;
            let response = Some(response.await);
            Ok(NumberedResponse { number, response })
        }
    });
    under_way.buffer_unordered(UNDER_WAY_MAX)
}
