//! Who gets in, and calls.

use anyhow::{bail, ensure};
use proto::link::Call;

use super::Bench;
use crate::Outcome;
use crate::hub::Showing;

/// QUIC's error codes for TLS alerts begin here (RFC 9001 §4.8).
const ALERTS: u64 = 0x100;
/// no_application_protocol
const NO_PROTOCOL: u64 = ALERTS + 120;
/// The code for a certificate that names no provider known here.
const UNKNOWN: u64 = 8;

pub(super) async fn another_protocol_is_refused(bench: &mut Bench<'_>) -> anyhow::Result<Outcome> {
    match refused(bench, &Showing::Hub, b"nave-link/0").await? {
        quinn::ConnectionError::ConnectionClosed(close) => {
            let code = u64::from(close.error_code);
            ensure!(code == NO_PROTOCOL, "closed with {code:#x}");
        }
        other => bail!("{other}"),
    }
    Ok(Outcome::Passed)
}

pub(super) async fn a_stranger_is_refused(bench: &mut Bench<'_>) -> anyhow::Result<Outcome> {
    is_not_let_in(refused(bench, &Showing::Stranger, b"nave-link/1").await?)
}

pub(super) async fn nobody_gets_in_without_a_certificate(bench: &mut Bench<'_>) -> anyhow::Result<Outcome> {
    is_not_let_in(refused(bench, &Showing::Nothing, b"nave-link/1").await?)
}

pub(super) async fn a_call_of_no_endpoint_is_answered(bench: &mut Bench<'_>) -> anyhow::Result<Outcome> {
    let link = bench.dial().await?;
    let call = Call {
        endpoint: "no such endpoint".to_owned(),
        target: bench.room.uri.clone(),
        body: vec![1; 100].into(),
    };
    let answer = link.call(&call).await?;
    ensure!(answer.status == 404, "answered with {}", answer.status);
    bench.still_works(&link).await?;
    Ok(Outcome::Passed)
}

/// Why the follower refuses the connection: at once, or when it has seen the certificate.
async fn refused(bench: &Bench<'_>, showing: &Showing, alpn: &[u8]) -> anyhow::Result<quinn::ConnectionError> {
    match bench.hub.dial_as(bench.subject.address(), showing, alpn).await? {
        Err(refused) => Ok(refused),
        Ok(link) => match link.is_ended().await {
            Some(ended) => Ok(ended),
            None => bail!("it was let in"),
        },
    }
}

fn is_not_let_in(ended: quinn::ConnectionError) -> anyhow::Result<Outcome> {
    match ended {
        quinn::ConnectionError::ConnectionClosed(close) if u64::from(close.error_code) >= ALERTS => {}
        quinn::ConnectionError::ApplicationClosed(close) if close.error_code.into_inner() == UNKNOWN => {}
        other => bail!("refused otherwise than by an alert of TLS or the code {UNKNOWN}: {other}"),
    }
    Ok(Outcome::Passed)
}
