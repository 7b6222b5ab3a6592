//! A connection to a nats-server: its text protocol over mutual TLS, and nothing else of a client. NATS' own crate would bring
//! features of common crates into every program of the workspace; what is measured is the server, and this is as quick a client
//! as it can have: what is written while the socket is busy goes out in one piece.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bytes::{Buf as _, Bytes, BytesMut};
use link::{Identity, Roots, tls};
use mimi::Provider;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;

/// The name in the server's certificate.
pub(super) const SERVER: &str = "nats.example";

/// Octets of a line of the protocol: the server's first one names everything that it can.
const LINE_MAX: usize = 64 << 10;

/// Octets of a message, as a server takes them unless it is told otherwise.
const PAYLOAD_MAX: usize = 1 << 20;

/// Octets that are read at a time.
const READ: usize = 64 << 10;

/// Frames that wait to be written.
const QUEUE: usize = 4_096;

/// Frames that are written in one piece.
const FRAMES_AT_A_TIME: usize = 256;

/// For how long an answer of the server's own is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// Who connects, with certificates that the server asks for.
#[derive(Clone)]
pub(super) struct Caller {
    tls: TlsConnector,
    name: ServerName<'static>,
    address: SocketAddr,
}

impl Caller {
    /// Whoever has `chain` and `key`, to the server at `address` under the root in `roots`: PEM files.
    ///
    /// # Errors
    /// A file cannot be used.
    pub(super) fn new(address: SocketAddr, chain: &Path, key: &Path, roots: &Path) -> anyhow::Result<Self> {
        let identity = Identity::from_pem(&std::fs::read(chain)?, &std::fs::read(key)?)?;
        let root = tls::certificates_from_pem(&std::fs::read(roots)?)?;
        let server: Provider = SERVER.parse()?;
        let roots = Roots::new([(server.clone(), root)].into())?;
        Ok(Self {
            tls: tls::client_config(&identity, &roots, &server, &[]).into(),
            name: ServerName::try_from(SERVER)?,
            address,
        })
    }

    /// Connects. The server speaks first, in the clear; what follows is encrypted.
    ///
    /// # Errors
    /// The server is not reached, or refuses.
    pub(super) async fn connect(&self) -> anyhow::Result<Client> {
        static CLIENTS: AtomicU64 = AtomicU64::new(0);
        let mut stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        greeting(&mut stream).await?;
        let stream = self.tls.connect(self.name.clone(), stream).await?;
        let (read, write) = tokio::io::split(stream);
        let (queue, frames) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            // Whoever reads is told that the connection is gone.
            let _ = write_all(write, frames).await;
        });
        let number = CLIENTS.fetch_add(1, Ordering::Relaxed);
        let mut client = Client {
            queue,
            reader: Reader::new(read),
            inbox: format!("_INBOX.{}-{number}", std::process::id()),
        };
        let options = json!({
            "verbose": false, "pedantic": false, "tls_required": true, "name": "loadtest",
            "lang": "rust", "version": env!("CARGO_PKG_VERSION"), "protocol": 1, "headers": true, "no_responders": true,
        });
        client.send(format!("CONNECT {options}\r\n").into()).await?;
        client.send(format!("SUB {}.> 1\r\n", client.inbox).into()).await?;
        client.settle().await?;
        Ok(client)
    }
}

/// The line `INFO {…}`, octet by octet, so that nothing of what follows is taken.
async fn greeting(stream: &mut TcpStream) -> anyhow::Result<()> {
    let mut line = Vec::new();
    let read = async {
        while !line.ends_with(b"\r\n") {
            ensure!(line.len() < LINE_MAX, "nats-server greets without end");
            line.push(stream.read_u8().await?);
        }
        Ok(())
    };
    timeout(PATIENCE, read).await.context("nats-server does not greet")??;
    let info = line.strip_prefix(b"INFO ").context("this is no nats-server")?;
    let info: Value = serde_json::from_slice(info).context("nats-server's greeting")?;
    ensure!(info["jetstream"] == true, "nats-server has no JetStream");
    Ok(())
}

/// A connection.
pub(super) struct Client {
    queue: mpsc::Sender<Bytes>,
    reader: Reader<ReadHalf<TlsStream<TcpStream>>>,
    inbox: String,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    /// Where it was sent to.
    pub(super) subject: String,
    /// Where an answer goes.
    pub(super) reply: Option<String>,
    /// Its headers, as they are on the wire.
    pub(super) headers: Bytes,
    /// What is in it.
    pub(super) payload: Bytes,
}

impl Client {
    /// The beginning of the subjects at which this connection hears.
    pub(super) fn inbox(&self) -> &str {
        &self.inbox
    }

    /// Where frames go that are to be written, for others than whoever reads.
    pub(super) fn queue(&self) -> mpsc::Sender<Bytes> {
        self.queue.clone()
    }

    /// Writes `frame` in its turn.
    ///
    /// # Errors
    /// The connection is gone.
    pub(super) async fn send(&self, frame: Bytes) -> anyhow::Result<()> {
        let sent = self.queue.send(frame).await;
        sent.ok().context("the connection to nats-server is gone")
    }

    /// The next message.
    ///
    /// # Errors
    /// The connection is gone, or the server complains.
    pub(super) async fn next(&mut self) -> anyhow::Result<Message> {
        loop {
            match self.reader.next().await? {
                Said::Message(message) => return Ok(message),
                Said::Ping => self.send(Bytes::from_static(b"PONG\r\n")).await?,
                Said::Error(error) => bail!("nats-server: {error}"),
                Said::Pong | Said::Other => {}
            }
        }
    }

    /// Whether what was read holds another message, so that `next` does not wait.
    pub(super) fn has_more(&self) -> bool {
        self.reader.has_whole_message()
    }

    /// Waits until the server has read everything that was sent. No message may be due meanwhile.
    ///
    /// # Errors
    /// The connection is gone, or the server complains.
    pub(super) async fn settle(&mut self) -> anyhow::Result<()> {
        self.send(Bytes::from_static(b"PING\r\n")).await?;
        let pong = async {
            loop {
                match self.reader.next().await? {
                    Said::Pong => return Ok(()),
                    Said::Error(error) => bail!("nats-server: {error}"),
                    Said::Message(message) => bail!("a message to {} that is not due", message.subject),
                    Said::Ping | Said::Other => {}
                }
            }
        };
        timeout(PATIENCE, pong).await.context("nats-server says nothing")?
    }

    /// What `subject` answers. Nothing else may be due on this connection meanwhile.
    ///
    /// # Errors
    /// Nothing is answered, or an error.
    pub(super) async fn request(&mut self, subject: &str, body: &Value) -> anyhow::Result<Value> {
        let reply = format!("{}.request", self.inbox);
        let body = match body {
            Value::Null => Bytes::new(),
            body => serde_json::to_vec(body)?.into(),
        };
        self.send(published(subject, Some(&reply), &body)).await?;
        let answer = async {
            loop {
                let message = self.next().await?;
                if message.subject == reply {
                    return anyhow::Ok(message);
                }
            }
        };
        let answer = timeout(PATIENCE, answer).await;
        let answer = answer.with_context(|| format!("nats-server does not answer {subject}"))??;
        let status = String::from_utf8_lossy(&answer.headers);
        ensure!(status.is_empty(), "{subject}: {}", status.trim());
        let answer: Value = serde_json::from_slice(&answer.payload).with_context(|| subject.to_owned())?;
        ensure!(answer["error"].is_null(), "{subject}: {}", answer["error"]);
        Ok(answer)
    }
}

/// A message as a frame.
pub(super) fn published(subject: &str, reply: Option<&str>, payload: &[u8]) -> Bytes {
    let mut frame = Vec::with_capacity(payload.len() + subject.len() + 128);
    frame.extend_from_slice(b"PUB ");
    frame.extend_from_slice(subject.as_bytes());
    frame.push(b' ');
    if let Some(reply) = reply {
        frame.extend_from_slice(reply.as_bytes());
        frame.push(b' ');
    }
    frame.extend_from_slice(payload.len().to_string().as_bytes());
    frame.extend_from_slice(b"\r\n");
    frame.extend_from_slice(payload);
    frame.extend_from_slice(b"\r\n");
    frame.into()
}

async fn write_all(mut to: impl AsyncWrite + Unpin, mut queue: mpsc::Receiver<Bytes>) -> std::io::Result<()> {
    let (mut frames, mut piece) = (Vec::with_capacity(FRAMES_AT_A_TIME), BytesMut::new());
    while queue.recv_many(&mut frames, FRAMES_AT_A_TIME).await > 0 {
        frames.drain(..).for_each(|frame| piece.extend_from_slice(&frame));
        to.write_all(&piece).await?;
        to.flush().await?;
        piece.clear();
    }
    to.shutdown().await
}

/// What a server says.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Message(Message),
    Ping,
    Pong,
    Error(String),
    Other,
}

struct Reader<R> {
    from: R,
    read: BytesMut,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    fn new(from: R) -> Self {
        Self {
            from,
            read: BytesMut::with_capacity(READ),
        }
    }

    async fn next(&mut self) -> anyhow::Result<Said> {
        loop {
            if let Some(said) = take(&mut self.read)? {
                return Ok(said);
            }
            self.read.reserve(READ);
            ensure!(self.from.read_buf(&mut self.read).await? > 0, "nats-server hangs up");
        }
    }

    fn has_whole_message(&self) -> bool {
        self.read.starts_with(b"MSG") && matches!(head(&self.read), Ok(Some(head)) if self.read.len() >= head.end())
    }
}

/// What begins a message: where its parts are.
#[derive(Debug)]
struct Head {
    subject: String,
    reply: Option<String>,
    /// Octets of the line.
    line: usize,
    /// Octets of the headers.
    headers: usize,
    /// Octets of headers and payload.
    all: usize,
}

impl Head {
    fn end(&self) -> usize {
        self.line + self.all + 2
    }
}

fn line(read: &[u8]) -> anyhow::Result<Option<&[u8]>> {
    match read.iter().position(|octet| *octet == b'\n') {
        Some(end) => Ok(Some(&read[..=end])),
        None => {
            ensure!(read.len() < LINE_MAX, "nats-server sends a line without end");
            Ok(None)
        }
    }
}

/// `MSG subject sid [reply] octets`, or `HMSG subject sid [reply] octets-of-headers octets`.
fn head(read: &[u8]) -> anyhow::Result<Option<Head>> {
    let Some(line) = line(read)? else { return Ok(None) };
    let text = std::str::from_utf8(line).context("nats-server sends no text")?;
    let mut words = text.split_ascii_whitespace();
    let with_headers = words.next() == Some("HMSG");
    let words: Vec<&str> = words.collect();
    let (names, numbers) = words
        .split_at_checked(words.len().saturating_sub(1 + usize::from(with_headers)))
        .context("a message without a size")?;
    let mut octets = numbers.iter().map(|number| number.parse::<usize>());
    let mut next = || octets.next().context("a message without a size");
    let headers = if with_headers { next()?? } else { 0 };
    let all = next()??;
    ensure!(headers <= all && all <= PAYLOAD_MAX, "a message of {all} octets");
    let (subject, reply) = match names {
        [subject, _] => (subject, None),
        [subject, _, reply] => (subject, Some((*reply).to_owned())),
        _ => bail!("a message without a subject"),
    };
    Ok(Some(Head {
        subject: (*subject).to_owned(),
        reply,
        line: line.len(),
        headers,
        all,
    }))
}

/// Takes what is whole from what was read.
fn take(read: &mut BytesMut) -> anyhow::Result<Option<Said>> {
    // Nothing else that it says begins so.
    if read.starts_with(b"MSG") || read.starts_with(b"HMSG") {
        let Some(head) = head(read)? else { return Ok(None) };
        if read.len() < head.end() {
            return Ok(None);
        }
        read.advance(head.line);
        let headers = read.split_to(head.headers).freeze();
        let payload = read.split_to(head.all - head.headers).freeze();
        ensure!(read.starts_with(b"\r\n"), "a message longer than it says");
        read.advance(2);
        return Ok(Some(Said::Message(Message {
            subject: head.subject,
            reply: head.reply,
            headers,
            payload,
        })));
    }
    let Some(line) = line(read)?.map(<[u8]>::len) else {
        return Ok(None);
    };
    let line = read.split_to(line);
    let text = String::from_utf8_lossy(&line);
    let text = text.trim();
    Ok(Some(match text {
        "PING" => Said::Ping,
        "PONG" => Said::Pong,
        _ => match text.strip_prefix("-ERR") {
            Some(error) => Said::Error(error.trim().to_owned()),
            None => Said::Other,
        },
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const SAID: &[u8] =
        b"INFO {}\r\nMSG a.b 1 5\r\nhel\r\n\r\nPING\r\nHMSG c 2 $JS.ACK.x 8 10\r\nNATS/1.0ok\r\n-ERR 'no'\r\nPONG\r\n";

    fn all_of(octets: &[u8], at_a_time: usize) -> Vec<Said> {
        let (mut read, mut said) = (BytesMut::new(), Vec::new());
        for piece in octets.chunks(at_a_time) {
            read.extend_from_slice(piece);
            while let Some(one) = take(&mut read).unwrap() {
                said.push(one);
            }
        }
        assert!(read.is_empty());
        said
    }

    #[test]
    fn what_a_server_says_is_read_however_it_is_cut() {
        let message = |subject: &str, reply: Option<&str>, headers: &'static str, payload: &'static str| {
            Said::Message(Message {
                subject: subject.to_owned(),
                reply: reply.map(str::to_owned),
                headers: headers.into(),
                payload: payload.into(),
            })
        };
        let expected = [
            Said::Other,
            message("a.b", None, "", "hel\r\n"),
            Said::Ping,
            message("c", Some("$JS.ACK.x"), "NATS/1.0", "ok"),
            Said::Error("'no'".to_owned()),
            Said::Pong,
        ];
        for at_a_time in [1, 2, 7, SAID.len()] {
            assert_eq!(all_of(SAID, at_a_time), expected, "{at_a_time} octets at a time");
        }
    }

    #[test]
    fn what_is_no_message_is_refused_and_never_waited_for_without_bound() {
        for octets in [
            &b"MSG a 1\r\n"[..],
            b"MSG\r\n",
            b"MSG a 1 -5\r\n",
            b"MSG a 1 2000000\r\n",
            b"HMSG a 1 9 5\r\nxxxxx\r\n",
            b"HMSG a 1 5\r\n",
            b"MSG a 1 2\r\nxxxx\r\n",
        ] {
            assert!(
                take(&mut BytesMut::from(octets)).is_err(),
                "{:?}",
                String::from_utf8_lossy(octets)
            );
        }
        let endless = vec![b'x'; LINE_MAX];
        assert!(take(&mut BytesMut::from(&endless[..])).is_err());
    }

    #[test]
    fn a_frame_is_read_as_it_was_written() {
        let frame = published("s.1", Some("r"), b"payload");
        assert_eq!(&frame[..], b"PUB s.1 r 7\r\npayload\r\n");
        assert_eq!(&published("s", None, b"")[..], b"PUB s 0\r\n\r\n");
    }
}
