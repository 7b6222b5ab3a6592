//! The Matrix client API of one server, over plain HTTP on the loopback interface.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Octets of an answer: /sync shows very many messages at once.
const ANSWER_OCTETS_MAX: usize = 256 << 20;

/// For how long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

/// A user of a server.
pub(super) struct User {
    address: SocketAddr,
    /// `@name:server`.
    pub(super) id: String,
    token: String,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

impl User {
    /// Registers `name` at the server that listens at `address`.
    ///
    /// # Errors
    /// The server refuses, or is not there.
    pub(super) async fn register(address: SocketAddr, name: &str) -> anyhow::Result<Self> {
        let mut user = Self {
            address,
            id: String::new(),
            token: String::new(),
            idle: Mutex::default(),
        };
        let body = json!({
            "username": name, "password": "beside", "device_id": "LOAD", "auth": { "type": "m.login.dummy" },
        });
        let registered = user
            .ask(Method::POST, "/_matrix/client/v3/register", Some(&body))
            .await?;
        let field = |name: &str| {
            let field = registered[name].as_str().map(str::to_owned);
            field.with_context(|| format!("Synapse registers a user without {name}"))
        };
        (user.id, user.token) = (field("user_id")?, field("access_token")?);
        Ok(user)
    }

    /// What the server answers.
    ///
    /// # Errors
    /// It refuses, or does not answer.
    pub(super) async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let octets = body.map(serde_json::to_vec).transpose()?.unwrap_or_default();
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.address.to_string())
            .header(CONTENT_TYPE, "application/json");
        if !self.token.is_empty() {
            request = request.header(AUTHORIZATION, format!("Bearer {}", self.token));
        }
        let request = request.body(Full::new(octets.into()))?;
        let answer = timeout(PATIENCE, self.send(request)).await;
        answer.with_context(|| format!("Synapse does not answer {path}"))?
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> anyhow::Result<Value> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = idle().pop();
        // Synapse closes what was idle for long: such a connection is not used.
        let kept = match kept {
            Some(mut kept) => kept.ready().await.is_ok().then_some(kept),
            None => None,
        };
        let mut connection = match kept {
            Some(kept) => kept,
            None => self.connect().await?,
        };
        let path = request.uri().path().to_owned();
        let (head, body) = connection.send_request(request).await?.into_parts();
        let body = Limited::new(body, ANSWER_OCTETS_MAX).collect().await;
        let body = body
            .ok()
            .context("Synapse's answer is too long, or broke off")?
            .to_bytes();
        let said = || String::from_utf8_lossy(&body[..body.len().min(512)]).into_owned();
        ensure!(
            head.status.is_success(),
            "Synapse answers {path} with {}: {}",
            head.status,
            said()
        );
        idle().push(connection);
        serde_json::from_slice(&body).with_context(|| format!("Synapse answers {path} with: {}", said()))
    }

    async fn connect(&self) -> anyhow::Result<SendRequest<Full<Bytes>>> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            // Whoever sends on it is told, too.
            let _ = connection.await;
        });
        sender.ready().await?;
        Ok(sender)
    }
}

/// `text` as a segment of a path or a value of a query.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for octet in text.bytes() {
        match octet {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => escaped.push(char::from(octet)),
            other => escaped.push_str(&format!("%{other:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_stand_in_a_path_is_escaped() {
        assert_eq!(escaped("!r:localhost:1"), "%21r%3Alocalhost%3A1");
        assert_eq!(escaped("a-Z_0.~ä"), "a-Z_0.~%C3%A4");
    }
}
