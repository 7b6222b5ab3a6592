//! What `nave init` writes can be read, and what is wrong in a configuration is named.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use nave::config::Config;
use nave::init::{Plan, add_peer};

fn plan(root: &Path, name: &str) -> Plan {
    let domain = format!("{name}.example").parse().unwrap();
    Plan::new(root.join(name), domain, "127.0.0.1:7443".parse().unwrap(), None, None).unwrap()
}

fn error_after(from: &str, to: &str) -> String {
    let root = tempfile::tempdir().unwrap();
    let config = plan(root.path(), "a").carry_out().unwrap();
    let text = std::fs::read_to_string(&config).unwrap();
    assert!(text.contains(from), "{from}");
    std::fs::write(&config, text.replace(from, to)).unwrap();
    let error = format!("{:#}", Config::load(&config).unwrap_err());
    error.replace(root.path().to_str().unwrap(), "")
}

#[test]
fn what_init_writes_is_a_configuration() {
    let root = tempfile::tempdir().unwrap();
    let path = plan(root.path(), "a").carry_out().unwrap();
    let other = plan(root.path(), "b").carry_out().unwrap();
    add_peer(
        &path,
        &"b.example".parse().unwrap(),
        "127.0.0.1:8443".parse().unwrap(),
        &root.path().join("b/ca.pem"),
    )
    .unwrap();
    let config = Config::load(&path).unwrap();
    assert_eq!(config.domain.as_str(), "a.example");
    assert_eq!((config.api.port(), config.admin.port()), (7_444, 7_445));
    assert_eq!(config.data, root.path().join("a/data"));
    assert_eq!(config.peers[0].domain.as_str(), "b.example");
    let token = std::fs::read_to_string(&config.client.as_ref().unwrap().token).unwrap();
    assert_eq!(config.users[0].token_sha256, daemon::tokens::TokenDigest::of(&token));
    assert!(Config::load(&other).unwrap().peers.is_empty());
}

#[test]
fn operators_are_admitted_where_the_plan_says_so_with_certificates_of_a_ca_of_their_own() {
    let root = tempfile::tempdir().unwrap();
    let closed = Config::load(&plan(root.path(), "a").carry_out().unwrap()).unwrap();
    assert!(closed.operator.is_none() && !root.path().join("a/ctl.toml").exists());
    let open = Plan {
        operator: Some("127.0.0.1:7446".parse().unwrap()),
        ..plan(root.path(), "b")
    };
    let operator = Config::load(&open.carry_out().unwrap()).unwrap().operator.unwrap();
    assert_eq!(operator.listen.port(), 7_446);
    assert_eq!(operator.cluster.roots, root.path().join("b/cluster/ca.pem"));
    let read = |file: &str| std::fs::read_to_string(root.path().join("b").join(file)).unwrap();
    assert_ne!(
        read("cluster/ca.pem"),
        read("ca.pem"),
        "no other provider's certificate is an operator's"
    );
    assert!(read("ctl.toml").contains("hubs = [\"127.0.0.1:7446\"]"));
}

#[test]
fn init_overwrites_nothing() {
    let root = tempfile::tempdir().unwrap();
    let config = plan(root.path(), "a").carry_out().unwrap();
    let before = std::fs::read(&config).unwrap();
    let error = plan(root.path(), "a").carry_out().unwrap_err().to_string();
    assert!(error.contains("nave.toml exists"), "{error}");
    assert_eq!(std::fs::read(&config).unwrap(), before);
}

#[test]
fn a_secret_can_be_read_by_its_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let root = tempfile::tempdir().unwrap();
    plan(root.path(), "a").carry_out().unwrap();
    for secret in [
        "ca.key",
        "provider.key",
        "api.key",
        "hub.key",
        "client.token",
        "gateway.secret",
    ] {
        let mode = std::fs::metadata(root.path().join("a").join(secret))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{secret}");
    }
}

#[test]
fn limits_rates_assets_and_moderators_are_configured() {
    let root = tempfile::tempdir().unwrap();
    let path = plan(root.path(), "a").carry_out().unwrap();
    let config = Config::load(&path).unwrap();
    assert_eq!(config.edge.limits, nave_edge::Limits::default());
    assert_eq!(config.edge.rates, nave_edge::RateLimits::default());
    assert_eq!(config.assets.directory, root.path().join("a/assets"));
    assert_eq!(config.assets.gateway_secret, Some(root.path().join("a/gateway.secret")));
    assert!(config.users[0].moderator);

    // What the file shows behind a `#` are the defaults, and good as they stand.
    let text = std::fs::read_to_string(&path).unwrap();
    let shown = |line: &str| {
        let example = line
            .strip_prefix("# ")
            .filter(|line| line.starts_with('[') || line.contains(" = "));
        example.map_or_else(|| line.to_owned(), str::to_owned)
    };
    let lines: Vec<String> = text.lines().map(shown).collect();
    std::fs::write(&path, lines.join("\n")).unwrap();
    let config = Config::load(&path).unwrap();
    assert_eq!(config.edge.limits, nave_edge::Limits::default());
    assert_eq!(config.edge.rates, nave_edge::RateLimits::default());
    assert_eq!(config.assets.limits, nave_edge::AssetLimits::default());
    assert_eq!(config.assets.s3.unwrap().secret_key, root.path().join("a/s3.secret"));
    assert_eq!(config.peers[0].asset_hosts, ["assets.b.example"]);
    assert!(config.users[0].moderator);
}

#[test]
fn what_is_wrong_is_named_with_file_key_and_what_is_allowed() {
    let cases = [
        (
            "domain = \"a.example\"",
            "domain = \"A.Example\"",
            "domain: found `A.Example`, allowed is a domain name",
        ),
        (
            "data = \"data\"",
            "dir = \"data\"",
            "dir: there is no such key, allowed are `domain`",
        ),
        ("listen = \"127.0.0.1:7443\"", "listen = \"here\"", "listen: "),
        (
            "log_format = \"auto\"",
            "log_format = \"xml\"",
            "allowed are `auto`, `human`, `json`",
        ),
        (
            "[assets]",
            "[edge.limits]\nbodies = 1\n[assets]",
            "edge.limits.bodies: there is no such key",
        ),
        (
            "[assets]",
            "[edge.rates]\nupdate = { per_second = 0, burst = 1 }\n[assets]",
            "edge.rates.update.per_second: ",
        ),
        (
            "[assets]",
            "[[peers]]\ndomain = \"b.example\"\naddress = \"127.0.0.1:1\"\nroots = \"x\"\nasset_hosts = [\"b.example/x\"]\n[assets]",
            "allowed are `host` and `host:port`",
        ),
        (
            "name = \"alice\"",
            "name = \"al ice\"",
            "users.0.name: `al ice` cannot stand in a user's URI",
        ),
    ];
    for (from, to, expected) in cases {
        let error = error_after(from, to);
        assert!(error.contains("/a/nave.toml") && error.contains(expected), "{error}");
    }
}

#[test]
fn mm_3_pseudonyms_are_off_unless_the_configuration_says_so() {
    let root = tempfile::tempdir().unwrap();
    let path = plan(root.path(), "a").carry_out().unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let written = "minimal_metadata = false\n";
    assert!(text.contains(written));
    for (line, on) in [(written, false), ("", false), ("minimal_metadata = true\n", true)] {
        std::fs::write(&path, text.replace(written, line)).unwrap();
        assert_eq!(Config::load(&path).unwrap().minimal_metadata, on, "{line}");
    }
    let error = error_after(written, "minimal_metadata = \"a little\"\n");
    assert!(error.contains("minimal_metadata"), "{error}");
}

#[test]
fn the_log_is_kept_for_a_day_unless_the_configuration_says_otherwise() {
    let root = tempfile::tempdir().unwrap();
    let path = plan(root.path(), "a").carry_out().unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let day = "[retention]\nacknowledged_s = 86_400\nregardless_s = 2_592_000\n";
    assert!(text.contains(day), "{text}");
    let month = 30 * 86_400;
    for (table, seconds, regardless) in [
        (day, 86_400, month),
        ("", 86_400, month),
        ("[retention]\nacknowledged_s = 60\n", 60, month),
        ("[retention]\nacknowledged_s = 0\nregardless_s = 1\n", 0, 1),
    ] {
        std::fs::write(&path, text.replace(day, table)).unwrap();
        let retention = Config::load(&path).unwrap().retention;
        let kept = (retention.acknowledged().as_secs(), retention.regardless().as_secs());
        assert_eq!(kept, (seconds, regardless), "{table}");
    }
    std::fs::write(&path, text.replace(day, "[retention]\nregardless_s = 86_400\n")).unwrap();
    let error = format!("{:#}", Config::load(&path).unwrap_err());
    assert!(error.contains("retention.regardless_s must be above"), "{error}");
}
