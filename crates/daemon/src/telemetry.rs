//! Logs, traces and metrics of the whole process, set up once. Logs go to standard error, so that standard output stays
//! for data; metrics are always there to be scraped, and pushed with the traces when a collector is configured.

use std::io::IsTerminal;
use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{KeyValue, global};
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{Aggregation, Instrument, SdkMeterProvider, Stream};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use prometheus::Registry;
use serde::{Deserialize, Serialize};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, reload};

/// How long the last export may take when the process ends.
const FLUSH: Duration = Duration::from_secs(3);

/// Upper bounds of the buckets of histograms in seconds: from a local call to a request that gave up.
const SECONDS: [f64; 15] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];

/// Section `telemetry` of a configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Which logs are written, as `tracing_subscriber::EnvFilter` reads it: `info`, `info,hub=debug`.
    pub log_filter: String,
    /// Their form.
    pub log_format: LogFormat,
    /// Collector that takes OTLP over gRPC, `http://host:4317`. None: nothing is pushed.
    pub otlp_endpoint: Option<String>,
    /// Which part of the traces that begin here is recorded, from 0 to 1.
    pub trace_ratio: f64,
}

/// The form of logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people when standard error is a terminal, else JSON.
    Auto,
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            log_filter: "info".to_owned(),
            log_format: LogFormat::Auto,
            otlp_endpoint: None,
            trace_ratio: 0.01,
        }
    }
}

/// Who tells.
#[derive(Debug, Clone)]
pub struct Service {
    /// `service.name`.
    pub name: &'static str,
    /// `service.version`.
    pub version: &'static str,
    /// `service.instance.id`: differs in each life of a process.
    pub instance: String,
}

/// Why there is no telemetry.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `log_filter` is not a filter.
    #[error("log_filter is not a filter such as `info,hub=debug`")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// `otlp_endpoint` is not one.
    #[error("otlp_endpoint is not usable")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    /// The registry does not take the exporter.
    #[error("metrics cannot be exported")]
    Metrics(#[from] opentelemetry_sdk::error::OTelSdkError),
    /// Somebody set up logs before.
    #[error("telemetry is already set up in this process")]
    Again(#[from] tracing_subscriber::util::TryInitError),
}

/// The telemetry of this process. Call [`Telemetry::stop`] at the end, or the last traces are lost.
#[derive(Debug)]
pub struct Telemetry {
    registry: Registry,
    metrics: SdkMeterProvider,
    traces: Option<SdkTracerProvider>,
    filter: reload::Handle<EnvFilter, tracing_subscriber::Registry>,
}

impl Telemetry {
    /// Sets up logs, traces and metrics for the whole process. Call it inside a tokio runtime.
    ///
    /// # Errors
    /// The options are not usable, or it is done already.
    pub fn start(service: Service, options: &Options) -> Result<Self, TelemetryError> {
        let resource = Resource::builder()
            .with_service_name(service.name)
            .with_attribute(KeyValue::new("service.version", service.version))
            .with_attribute(KeyValue::new("service.instance.id", service.instance))
            .build();
        let (filter, handle) = reload::Layer::new(EnvFilter::try_new(&options.log_filter)?);
        let traces = tracer_provider(options, &resource)?;
        let (registry, metrics) = meter_provider(options, resource)?;

        let spans = traces
            .as_ref()
            .map(|provider| tracing_opentelemetry::layer().with_tracer(provider.tracer(service.name)));
        tracing_subscriber::registry()
            .with(filter)
            .with(log_layer(options.log_format))
            .with(spans)
            .try_init()?;
        global::set_text_map_propagator(TraceContextPropagator::new());
        global::set_meter_provider(metrics.clone());
        if let Some(provider) = &traces {
            global::set_tracer_provider(provider.clone());
        }
        Ok(Self {
            registry,
            metrics,
            traces,
            filter: handle,
        })
    }

    /// All metrics of the process, for the admin server.
    pub fn registry(&self) -> Registry {
        self.registry.clone()
    }

    /// Writes other logs from now on.
    ///
    /// # Errors
    /// It is not a filter.
    pub fn filter(&self, filter: &str) -> Result<(), TelemetryError> {
        let filter = EnvFilter::try_new(filter)?;
        if let Err(error) = self.filter.reload(filter) {
            tracing::warn!(%error, "log filter not changed");
        }
        Ok(())
    }

    /// Exports what is left, within a few seconds. Blocks for so long: on a runtime of one thread nothing would go out.
    pub fn stop(self) {
        // A collector that is gone is no reason to fail at the very end.
        if let Some(traces) = self.traces {
            let _ = traces.shutdown_with_timeout(FLUSH);
        }
        let _ = self.metrics.shutdown_with_timeout(FLUSH);
    }
}

fn log_layer<S>(format: LogFormat) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    let terminal = std::io::stderr().is_terminal();
    let human = match format {
        LogFormat::Auto => terminal,
        LogFormat::Human => true,
        LogFormat::Json => false,
    };
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    if human {
        layer.with_ansi(terminal).boxed()
    } else {
        layer.json().flatten_event(true).boxed()
    }
}

fn tracer_provider(options: &Options, resource: &Resource) -> Result<Option<SdkTracerProvider>, TelemetryError> {
    let Some(endpoint) = &options.otlp_endpoint else {
        return Ok(None);
    };
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .build()?;
    let ratio = Sampler::TraceIdRatioBased(options.trace_ratio);
    let provider = SdkTracerProvider::builder()
        .with_resource(resource.clone())
        .with_sampler(Sampler::ParentBased(Box::new(ratio)))
        .with_batch_exporter(exporter)
        .build();
    Ok(Some(provider))
}

fn meter_provider(options: &Options, resource: Resource) -> Result<(Registry, SdkMeterProvider), TelemetryError> {
    let registry = Registry::new();
    let scraped = opentelemetry_prometheus::exporter()
        .with_registry(registry.clone())
        .build()?;
    let mut builder = SdkMeterProvider::builder()
        .with_resource(resource)
        .with_reader(scraped)
        .with_view(durations_in_seconds);
    if let Some(endpoint) = &options.otlp_endpoint {
        let exporter = opentelemetry_otlp::MetricExporter::builder()
            .with_tonic()
            .with_endpoint(endpoint)
            .build()?;
        builder = builder.with_periodic_exporter(exporter);
    }
    Ok((registry, builder.build()))
}

/// The default buckets are made for milliseconds.
fn durations_in_seconds(instrument: &Instrument) -> Option<Stream> {
    if instrument.unit() != "s" {
        return None;
    }
    Stream::builder()
        .with_aggregation(Aggregation::ExplicitBucketHistogram {
            boundaries: SECONDS.to_vec(),
            record_min_max: false,
        })
        .build()
        .ok()
}
