//! What is on disk: the provider a of several nodes, and b, which runs whole. Certificates, configurations, free ports.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use client::api::{Api, Target};
use daemon::certificates::DevelopmentCa;
use mimi::UserUri;
use nave::config::Config;
use nave::init::{Plan, add_peer};
use nave::ports;

pub(crate) const HUBS: usize = 3;
pub(crate) const EDGES: usize = 2;
pub(crate) const FOLLOWERS: usize = 2;

/// Of the ledger: enough for each hub to have some of them.
const SHARDS: u32 = 64;

/// A node's configuration, and where it can be asked whether it is ready.
pub(crate) struct Node {
    pub(crate) config: PathBuf,
    #[cfg(feature = "fdb")]
    pub(crate) admin: SocketAddr,
}

/// The directories of both providers.
pub(crate) struct Site {
    pub(crate) hubs: Vec<Node>,
    pub(crate) edges: Vec<Node>,
    pub(crate) followers: Vec<Node>,
    /// Where edges reach each hub.
    pub(crate) hub_addresses: [SocketAddr; HUBS],
    /// Where clients reach each edge.
    pub(crate) apis: [SocketAddr; EDGES],
    /// A certificate of an edge, to ask hubs with.
    pub(crate) asker: tier::ClusterFiles,
    a: Config,
    /// The configuration of the other provider.
    pub(crate) b: PathBuf,
    /// What `navectl` reads: it names one of the hubs.
    pub(crate) ctl: PathBuf,
}

fn init(root: &Path, name: &str, user: &str) -> (PathBuf, SocketAddr) {
    let [listen, api, admin] = ports::free().unwrap();
    let domain = format!("{name}.example").parse().unwrap();
    let plan = Plan::new(root.join(name), domain, listen, Some(api), Some(admin)).unwrap();
    let plan = Plan {
        ca: Some(root.join("ca")),
        user: user.to_owned(),
        ..plan
    };
    (plan.carry_out().unwrap(), listen)
}

impl Site {
    /// Makes everything below `root`; hubs and followers of a are on `store`.
    pub(crate) fn make(root: &Path, store: &str) -> Self {
        let ((config, listen), (b, b_listen)) = (init(root, "a", "alice"), init(root, "b", "bob"));
        let roots = root.join("ca/ca.pem");
        add_peer(&config, &"b.example".parse().unwrap(), b_listen, &roots).unwrap();
        add_peer(&b, &"a.example".parse().unwrap(), listen, &roots).unwrap();

        let a = Config::load(&config).unwrap();
        let directory = config.parent().unwrap();
        let text = std::fs::read_to_string(&config).unwrap();
        let peers = &text[text.find("\n[[peers]]").unwrap()..];
        let ca = DevelopmentCa::in_directory(&directory.join("cluster")).unwrap();
        let cluster = |tier: &str| {
            let (chain, key) = (format!("cluster/{tier}.pem"), format!("cluster/{tier}.key"));
            let issued = ca.issue(&[&format!("{tier}.nave.internal")]).unwrap();
            issued.write(&directory.join(&chain), &directory.join(&key)).unwrap();
            format!("[cluster]\nchain = '{chain}'\nkey = '{key}'\nroots = 'cluster/ca.pem'\n")
        };
        let write = |name: String, text: String| {
            let path = directory.join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let list = |addresses: &[SocketAddr]| {
            let texts: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
            format!("{texts:?}")
        };

        let hub_addresses = ports::free::<HUBS>().unwrap();
        let follower_addresses = ports::free::<FOLLOWERS>().unwrap();
        let [second, second_api] = ports::free().unwrap();
        let (federation, apis) = ([listen, second], [a.api, second_api]);
        let admins = ports::free::<{ HUBS + EDGES + FOLLOWERS }>().unwrap();
        let mut admins = admins.into_iter();
        let (hubs, followers) = (list(&hub_addresses), list(&follower_addresses));
        let tls = "[tls]\nchain = 'provider.pem'\nkey = 'provider.key'\n";
        let mut node = |name: String, rest: String| {
            let admin = admins.next().unwrap();
            let text = format!("domain = 'a.example'\nadmin = '{admin}'\n{rest}");
            let config = write(format!("{name}.toml"), text);
            Node {
                config,
                #[cfg(feature = "fdb")]
                admin,
            }
        };

        let certificate = cluster("follower");
        let follower_nodes = follower_addresses.iter().enumerate().map(|(n, address)| {
            let rest = format!("listen = '{address}'\nstore = '{store}'\n{certificate}");
            node(format!("follower-{n}"), rest)
        });
        let follower_nodes = follower_nodes.collect();
        let certificate = cluster("hub");
        let hub_nodes = hub_addresses.iter().enumerate().map(|(n, address)| {
            let rest = format!(
                "listen = '{address}'\nstore = '{store}'\nshards = {SHARDS}\nfollowers = {followers}\n\
                 hub_key = 'hub.key'\n{tls}{certificate}{peers}"
            );
            node(format!("hub-{n}"), rest)
        });
        let hub_nodes: Vec<Node> = hub_nodes.collect();
        let keys = nave_hub::config::hub_keys(&a.domain, &a.hub_key).unwrap();
        write("hub.senders".to_owned(), nave_hub::config::senders(&keys));
        let (certificate, user) = (cluster("edge"), &a.users[0]);
        let edge_nodes = federation.iter().zip(&apis).enumerate().map(|(n, (address, api))| {
            let rest = format!(
                "listen = '{address}'\napi = '{api}'\nauthority = 'a.example:{}'\nhubs = {hubs}\n\
                 followers = {followers}\nhub_senders = 'hub.senders'\n{tls}\
                 [api_tls]\nchain = 'api.pem'\nkey = 'api.key'\n{certificate}\
                 [[users]]\nname = '{}'\ntoken_sha256 = '{}'\n{peers}",
                listen.port(),
                user.name,
                user.token_sha256,
            );
            node(format!("edge-{n}"), rest)
        });
        let edges = edge_nodes.collect();
        let (certificate, one) = (cluster("ctl"), hub_addresses[0]);
        let ctl = write("ctl.toml".to_owned(), format!("hubs = ['{one}']\n{certificate}"));
        let file = |name: &str| directory.join("cluster").join(name);
        Self {
            hubs: hub_nodes,
            edges,
            followers: follower_nodes,
            hub_addresses,
            apis,
            ctl,
            asker: tier::ClusterFiles {
                chain: file("edge.pem"),
                key: file("edge.key"),
                roots: file("ca.pem"),
            },
            a,
            b,
        }
    }

    /// The other provider, as a node.
    #[cfg(feature = "fdb")]
    pub(crate) fn b_node(&self) -> Node {
        Node {
            config: self.b.clone(),
            admin: Config::load(&self.b).unwrap().admin,
        }
    }

    /// a's user, through one of the edges.
    pub(crate) fn alice(&self, edge: usize) -> (Api, UserUri) {
        user(&self.a, self.apis[edge])
    }

    /// b's user.
    pub(crate) fn bob(&self) -> (Api, UserUri) {
        let config = Config::load(&self.b).unwrap();
        user(&config, config.api)
    }
}

fn user(config: &Config, api: SocketAddr) -> (Api, UserUri) {
    let client = config.client.as_ref().unwrap();
    let token = std::fs::read_to_string(&client.token).unwrap();
    let target = Target {
        address: api,
        server_name: config.domain.to_string(),
        roots_pem: std::fs::read(&client.roots).unwrap(),
    };
    let user = config.user_uri(&config.users[0]).unwrap();
    (Api::new(&target, token.trim()).unwrap(), user)
}
