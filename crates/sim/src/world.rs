//! The simulated world: hosts, time and network. The only file that knows turmoil.

use std::cell::RefCell;
use std::io;
use std::sync::Once;
use std::time::Duration;

use turmoil::{Builder, Sim};

/// A connection between two hosts.
pub(crate) type Stream = turmoil::net::TcpStream;

/// What a host's software ends with.
pub(crate) type Ended = turmoil::Result;

/// How far the world moves in one step. Hosts see each other's effects on the store with at most this error.
pub(crate) const STEP: Duration = Duration::from_millis(5);

/// No run takes longer, in the world's time.
const LONGEST: Duration = Duration::from_secs(600);

/// The world's time, the same on every host; `None` outside of one.
pub(crate) fn now() -> Option<Duration> {
    turmoil::sim_elapsed()
}

/// Connects to a host.
pub(crate) async fn connect(host: &str, port: u16) -> io::Result<Stream> {
    Stream::connect((host, port)).await
}

/// Accepts connections on this host.
pub(crate) struct Listener(turmoil::net::TcpListener);

impl Listener {
    pub(crate) async fn bind(port: u16) -> io::Result<Self> {
        turmoil::net::TcpListener::bind(("0.0.0.0", port)).await.map(Self)
    }

    pub(crate) async fn accept(&self) -> io::Result<Stream> {
        self.0.accept().await.map(|(stream, _)| stream)
    }
}

/// See the module.
pub(crate) struct World(Sim<'static>);

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        watch_for_panics();
        let sim = Builder::new()
            .tick_duration(STEP)
            .simulation_duration(LONGEST)
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(Duration::from_millis(40))
            .tcp_capacity(1_024)
            .enable_random_order()
            .rng_seed(seed)
            .build();
        Self(sim)
    }

    /// A host that can die and be started anew.
    pub(crate) fn host<F>(&mut self, name: &'static str, software: impl Fn() -> F + 'static)
    where
        F: Future<Output = Ended> + 'static,
    {
        self.0.host(name, software);
    }

    /// One step. An error is the world's own, or a panic anywhere in it.
    pub(crate) fn step(&mut self) -> Result<(), String> {
        let stepped = self.0.step().map_err(|error| error.to_string());
        match PANICKED.take() {
            Some(panic) => Err(format!("panicked {panic}")),
            None => stepped.map(|_| ()),
        }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    pub(crate) fn is_running(&mut self, host: &str) -> bool {
        self.0.is_host_running(host)
    }

    /// The host loses everything that is in its memory.
    pub(crate) fn kill(&mut self, host: &str) {
        self.0.crash(host);
    }

    pub(crate) fn start(&mut self, host: &str) {
        self.0.bounce(host);
    }

    /// Nothing gets from `from` to `to`.
    pub(crate) fn cut(&mut self, from: &str, to: &str) {
        self.0.partition_oneway(from, to);
    }

    /// What the two send each other waits.
    pub(crate) fn hold(&mut self, one: &str, other: &str) {
        self.0.hold(one, other);
    }

    /// What waited arrives.
    pub(crate) fn release(&mut self, one: &str, other: &str) {
        self.0.release(one, other);
    }

    pub(crate) fn mend(&mut self, from: &str, to: &str) {
        self.0.repair_oneway(from, to);
    }
}

thread_local! {
    /// Tasks swallow panics; a run must not.
    static PANICKED: RefCell<Option<String>> = const { RefCell::new(None) };
}

fn watch_for_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let at = info.location().map(|at| format!("at {at}: ")).unwrap_or_default();
            let what = info.payload_as_str().unwrap_or("not with words");
            PANICKED.with_borrow_mut(|panicked| {
                panicked.get_or_insert_with(|| format!("{at}{what}"));
            });
            before(info);
        }));
    });
    PANICKED.take();
}
