//! Which addresses may be dialled for a host. Requests go where the peer was configured to be, or where DNS says. Assets
//! are fetched at the wish of somebody else, so DNS must not lead them into networks that only we can reach.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use mimi::Provider;
use tokio::net::lookup_host;

/// The port of https.
const HTTPS_PORT: u16 = 443;

/// Where the hosts of one peer are.
#[derive(Debug, Clone)]
pub(crate) struct Addresses {
    /// `host:port` that stands in for its hosts.
    configured: Option<Arc<str>>,
    /// For assets: the only host for which that stands in. The others must be public, or where that is.
    assets_of: Option<Provider>,
}

impl Addresses {
    pub(crate) fn of_peer(configured: Option<&str>) -> Self {
        Self {
            configured: configured.map(Arc::from),
            assets_of: None,
        }
    }

    pub(crate) fn of_assets(peer: &Provider, configured: Option<&str>) -> Self {
        Self {
            assets_of: Some(peer.clone()),
            ..Self::of_peer(configured)
        }
    }

    /// The addresses to try, in this order.
    pub(crate) async fn of(&self, host: &str, port: Option<u16>) -> io::Result<Vec<SocketAddr>> {
        let configured = match &self.configured {
            Some(configured) => lookup_host(&**configured).await?.collect(),
            None => Vec::new(),
        };
        let stands_in = self.assets_of.as_ref().is_none_or(|peer| peer.as_str() == host);
        if !configured.is_empty() && stands_in {
            let at = |mut address: SocketAddr| {
                address.set_port(port.unwrap_or_else(|| address.port()));
                address
            };
            return Ok(configured.into_iter().map(at).collect());
        }
        let found = lookup_host(format!("{host}:{}", port.unwrap_or(HTTPS_PORT))).await?;
        let may_dial = |address: &SocketAddr| {
            let is_peers = configured.iter().any(|known: &SocketAddr| known.ip() == address.ip());
            self.assets_of.is_none() || is_peers || is_public(address.ip())
        };
        Ok(found.filter(may_dial).collect())
    }
}

/// Whether an address is everybody's (RFC 6890), also when it is another one in disguise.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || address.is_multicast()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (b == 18 || b == 19));
    !is_special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match segments {
        // Mapped and translated (RFC 4291 §2.5.5, RFC 6052), 6to4 (RFC 3056).
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
        [0x2002, high, low, ..] => embedded(high, low),
        // Teredo and documentation.
        [0x2001, 0 | 0xdb8, ..] => false,
        // Global unicast is all that has been given out.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn as_4_addresses_that_only_we_can_reach_are_not_public() {
        for address in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "192.0.0.8",
            "198.18.0.1",
            "192.0.2.1",
            "::",
            "::1",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2001:db8::1",
            "2001::1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
        for address in [
            "1.1.1.1",
            "93.184.216.34",
            "100.128.0.1",
            "172.32.0.1",
            "2606:4700::1111",
            "::ffff:1.1.1.1",
            "64:ff9b::1.1.1.1",
            "2002:101:101::",
        ] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[tokio::test]
    async fn as_4_a_host_of_assets_leads_to_no_private_address_but_the_peers_own() {
        let b: Provider = "b.example".parse().unwrap();
        let dialled = |addresses: Addresses, host: &'static str, port| async move {
            let found = addresses.of(host, port).await.unwrap();
            found.into_iter().map(|address| address.to_string()).collect::<Vec<_>>()
        };
        let assets = |configured| Addresses::of_assets(&b, configured);
        assert!(dialled(assets(None), "127.0.0.1", Some(9)).await.is_empty());
        assert!(
            dialled(assets(Some("10.0.0.1:7443")), "127.0.0.1", None)
                .await
                .is_empty()
        );
        assert_eq!(
            dialled(assets(Some("127.0.0.1:7443")), "127.0.0.1", None).await,
            ["127.0.0.1:443"]
        );
        assert_eq!(
            dialled(assets(Some("127.0.0.1:7443")), "b.example", None).await,
            ["127.0.0.1:7443"]
        );
        assert_eq!(
            dialled(assets(Some("127.0.0.1:7443")), "b.example", Some(9)).await,
            ["127.0.0.1:9"]
        );
        assert_eq!(dialled(assets(None), "1.1.1.1", None).await, ["1.1.1.1:443"]);
        // Requests are the provider's own, and go where it was configured to be.
        let peer = Addresses::of_peer(Some("127.0.0.1:7443"));
        assert_eq!(dialled(peer, "mimi.b.example", None).await, ["127.0.0.1:7443"]);
    }
}
