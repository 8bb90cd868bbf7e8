//! Metrics about the exporters themselves (`docs/metrics.md`). Most read the counters when a provider collects;
//! durations are observed as each export ends. No task or thread runs for them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use opentelemetry::metrics::{AsyncInstrument, Meter, MeterProvider};
use opentelemetry::{InstrumentationScope, KeyValue};

use crate::config::{Endpoint, Protocol, Settings};
use crate::export::{ExportEnd, Observer, Queue};
use crate::exporters::{Exporters, StoreCounts};
use crate::lock::lock;
use crate::otlp::StatusName;
use crate::signal::Signal;
use crate::tls::CertificateFacts;

/// Values by collector and by a distinguishing attribute. Signals with different TLS settings have separate
/// credentials for one collector, and their points must not overwrite one another.
type Points = BTreeMap<(String, Option<(&'static str, String)>), (Vec<KeyValue>, u64)>;

impl Exporters {
    /// Registers metrics about the exporters on a service's own meter provider: certificate expiry, rotations,
    /// handshakes, exports, and, with [`with_sdk_metrics`](crate::ExportersBuilder::with_sdk_metrics), those of
    /// the semantic conventions. `docs/metrics.md` lists them.
    ///
    /// Call it once per provider; [`init`](crate::init) and [`install`](Self::install) call it themselves.
    /// Registered metrics keep neither the I/O thread nor a connection alive.
    ///
    /// ```
    /// use opentelemetry_sdk::metrics::SdkMeterProvider;
    /// use otlp_mtls::Exporters;
    ///
    /// let exporters = Exporters::builder().with_endpoint("http://collector:4318").build()?;
    /// let meters =
    ///     SdkMeterProvider::builder().with_periodic_exporter(exporters.metric_exporter()?).build();
    /// exporters.register_metrics(&meters);
    /// # Ok::<(), otlp_mtls::Error>(())
    /// ```
    pub fn register_metrics(&self, provider: &dyn MeterProvider) {
        let meter = meter(provider);
        certificates(&meter, self);
        credentials(&meter, self);
        for settings in self.settings() {
            let component = exporter(settings);
            exports(&meter, self, settings.signal, &component);
            if self.has_sdk_metrics() {
                items(&meter, self, settings.signal, &component);
            }
        }
    }

    /// The same for the processors that [`install`](Self::install) builds. The SDK has metrics only for a service's own
    /// processors: each takes the global meter provider when it is built, which `install` sets afterwards.
    pub(super) fn register_queues(&self, provider: &dyn MeterProvider, queues: Vec<Arc<Queue>>) {
        if self.has_sdk_metrics() {
            let meter = meter(provider);
            queues.into_iter().for_each(|queue| processor(&meter, queue));
        }
    }
}

fn meter(provider: &dyn MeterProvider) -> Meter {
    let scope = InstrumentationScope::builder(env!("CARGO_PKG_NAME"))
        .with_version(env!("CARGO_PKG_VERSION"))
        .build();
    provider.meter_with_scope(scope)
}

/// Certificate expiry. The semantic conventions have no such metric.
fn certificates(meter: &Meter, exporters: &Exporters) {
    let exporters = exporters.clone();
    meter
        .u64_observable_gauge("otlp_mtls.certificate.not_after")
        .with_unit("s")
        .with_description("When a certificate expires, in seconds since 1970")
        .with_callback(move |gauge| {
            // Of several certificates with the same subject, the earliest expiry is shown.
            let mut soonest = Points::new();
            for StoreCounts { endpoint, status, .. } in exporters.store_counts() {
                let mut note = |role, facts: &CertificateFacts| {
                    let Some(expires) = facts.not_after.map(seconds) else {
                        return;
                    };
                    let certificate = Some((role, facts.subject.clone()));
                    let point = soonest.entry((endpoint.to_string(), certificate));
                    let point = point.or_insert_with(|| (server(&endpoint), expires));
                    point.1 = point.1.min(expires);
                };
                status.chain.first().iter().for_each(|leaf| note("client", leaf));
                // Only the anchor in use: the others may be a whole root store.
                status.anchor.iter().for_each(|anchor| note("ca", anchor));
                status.server.iter().for_each(|leaf| note("server", leaf));
            }
            for ((_, certificate), (server, expires)) in soonest {
                let mut attributes = server.to_vec();
                if let Some((role, subject)) = certificate {
                    attributes.push(KeyValue::new("otlp_mtls.certificate.role", role));
                    attributes.push(KeyValue::new("otlp_mtls.certificate.subject", subject));
                }
                gauge.observe(expires, &attributes);
            }
        })
        .build();
}

/// Rotations, rejected replacements and handshakes. The semantic conventions have no such metrics.
fn credentials(meter: &Meter, exporters: &Exporters) {
    let count = |name, unit, description, value: fn(&StoreCounts) -> u64| {
        let exporters = exporters.clone();
        meter
            .u64_observable_counter(name)
            .with_unit(unit)
            .with_description(description)
            .with_callback(move |counter| {
                let mut sums = Points::new();
                for counts in exporters.store_counts() {
                    let point = sums.entry((counts.endpoint.to_string(), None));
                    point.or_insert_with(|| (server(&counts.endpoint), 0)).1 += value(&counts);
                }
                for (server, sum) in sums.into_values() {
                    counter.observe(sum, &server);
                }
            })
            .build();
    };
    count(
        "otlp_mtls.credentials.rotations",
        "{rotation}",
        "New credentials put into use",
        |counts| counts.status.generation,
    );
    count(
        "otlp_mtls.credentials.refusals",
        "{refusal}",
        "New credentials that cannot be used",
        |counts| counts.status.refusals,
    );
    let exporters = exporters.clone();
    meter
        .u64_observable_counter("otlp_mtls.tls.handshakes")
        .with_unit("{handshake}")
        .with_description("TLS handshakes, with `error.type` those that failed")
        .with_callback(move |counter| {
            let mut sums = Points::new();
            for StoreCounts { endpoint, handshakes, .. } in exporters.store_counts() {
                for (error, handshakes) in handshakes {
                    let error = error.map(|error| (error, String::new()));
                    let point = sums.entry((endpoint.to_string(), error));
                    point.or_insert_with(|| (server(&endpoint), 0)).1 += handshakes;
                }
            }
            for ((_, error), (server, sum)) in sums {
                let mut attributes = server.to_vec();
                attributes.extend(error.map(|(error, _)| KeyValue::new("error.type", error)));
                counter.observe(sum, &attributes);
            }
        })
        .build();
}

/// Exports by outcome. The semantic conventions have no counter of them.
fn exports(meter: &Meter, exporters: &Exporters, signal: Signal, component: &[KeyValue]) {
    let (exporters, component) = (exporters.clone(), component.to_vec());
    meter
        .u64_observable_counter(format!("otlp_mtls.{signal}.exports"))
        .with_unit("{export}")
        .with_description("Exports that have ended, with `error.type` those that failed")
        .with_callback(move |counter| {
            let counts = exporters.counts(signal);
            observe(counter, counts.succeeded, &component, None);
            for (error, lost) in counts.dropped {
                observe(counter, lost.exports, &component, Some(error));
            }
        })
        .build();
}

/// Items by outcome, by the [semantic conventions][semconv] for SDKs.
///
/// [semconv]: https://opentelemetry.io/docs/specs/semconv/otel/sdk-metrics/
fn items(meter: &Meter, exporters: &Exporters, signal: Signal, component: &[KeyValue]) {
    let (item, unit) = match signal {
        Signal::Traces => ("span", "{span}"),
        Signal::Metrics => ("metric_data_point", "{data_point}"),
        Signal::Logs => ("log", "{log_record}"),
    };
    let (counted, attributes) = (exporters.clone(), component.to_vec());
    meter
        .u64_observable_counter(format!("otel.sdk.exporter.{item}.exported"))
        .with_unit(unit)
        .with_description("Items whose export has ended, with `error.type` those that were lost")
        .with_callback(move |counter| {
            let counts = counted.counts(signal);
            observe(counter, counts.delivered, &attributes, None);
            observe(counter, counts.rejected, &attributes, Some("rejected"));
            for (error, lost) in counts.dropped {
                observe(counter, lost.items, &attributes, Some(error));
            }
        })
        .build();
    let durations = durations(meter, component);
    if let Ok(stats) = exporters.stats(signal) {
        stats.observe(&durations);
    }
    let (counted, attributes) = (exporters.clone(), component.to_vec());
    meter
        .i64_observable_up_down_counter(format!("otel.sdk.exporter.{item}.inflight"))
        .with_unit(unit)
        .with_description("Items whose export has not ended")
        .with_callback(move |counter| {
            // Keeps the observer alive for as long as the provider.
            let _ = &durations;
            let in_flight = i64::try_from(counted.counts(signal).in_flight).unwrap_or(i64::MAX);
            counter.observe(in_flight, &attributes);
        })
        .build();
}

/// Items between a processor and its exporter by outcome, by the same conventions.
fn processor(meter: &Meter, queue: Arc<Queue>) {
    let (item, unit) = match queue.signal() {
        Signal::Logs => ("log", "{log_record}"),
        _ => ("span", "{span}"),
    };
    let kind = if queue.capacity().is_some() { "batching" } else { "simple" };
    let component = component(format!("{kind}_{item}_processor"));
    let (counted, attributes) = (Arc::clone(&queue), component.clone());
    meter
        .u64_observable_counter(format!("otel.sdk.processor.{item}.processed"))
        .with_unit(unit)
        .with_description(
            "Items that were handed to the exporter, with `error.type` those that were lost",
        )
        .with_callback(move |counter| {
            observe(counter, counted.taken(), &attributes, None);
            observe(counter, counted.full(), &attributes, Some("queue_full"));
        })
        .build();
    let Some(capacity) = queue.capacity() else {
        return;
    };
    let gauge = |name, description, value: Box<dyn Fn() -> usize + Send + Sync>| {
        let component = component.clone();
        meter
            .i64_observable_up_down_counter(format!("otel.sdk.processor.{item}.queue.{name}"))
            .with_unit(unit)
            .with_description(description)
            .with_callback(move |counter| {
                counter.observe(i64::try_from(value()).unwrap_or(i64::MAX), &component);
            })
            .build();
    };
    gauge("size", "Items that wait", Box::new(move || queue.waiting()));
    gauge("capacity", "How many items may wait", Box::new(move || capacity));
}

/// The duration of exports: [one observation each][semconv], including all attempts.
///
/// [semconv]: https://opentelemetry.io/docs/specs/semconv/otel/sdk-metrics/#metric-otelsdkexporteroperationduration
fn durations(meter: &Meter, component: &[KeyValue]) -> Arc<Observer> {
    let histogram = meter
        .f64_histogram("otel.sdk.exporter.operation.duration")
        .with_unit("s")
        .with_description("How long exports took, with `error.type` those that failed")
        .with_boundaries(Vec::new())
        .build();
    let component = component.to_vec();
    Arc::new(move |end: &ExportEnd| {
        let mut attributes = component.clone();
        attributes.extend(end.error.map(|error| KeyValue::new("error.type", error)));
        attributes.extend(end.status.map(|status| match status {
            StatusName::Http(status) => {
                KeyValue::new("http.response.status_code", i64::from(status))
            }
            StatusName::Grpc(code) => KeyValue::new("rpc.response.status_code", code),
        }));
        histogram.record(end.duration.as_secs_f64(), &attributes);
    })
}

fn observe(
    counter: &dyn AsyncInstrument<u64>,
    items: u64,
    component: &[KeyValue],
    error: Option<&'static str>,
) {
    if items > 0 {
        let mut attributes = component.to_vec();
        attributes.extend(error.map(|error| KeyValue::new("error.type", error)));
        counter.observe(items, &attributes);
    }
}

/// The attributes that identify the exporters of one signal. They share one name because they share one set of
/// counters.
fn exporter(settings: &Settings) -> Vec<KeyValue> {
    let signal = match settings.signal {
        Signal::Traces => "span",
        Signal::Metrics => "metric",
        Signal::Logs => "log",
    };
    let transport = match *settings.protocol {
        Protocol::Grpc => "grpc",
        Protocol::HttpProtobuf => "http",
        Protocol::HttpJson => "http_json",
    };
    let mut attributes = component(format!("otlp_{transport}_{signal}_exporter")).to_vec();
    attributes.extend(server(&settings.endpoint));
    attributes
}

/// A component with a name that is unique in this process: `type/0`, `type/1`, …
fn component(kind: String) -> [KeyValue; 2] {
    static COUNTS: Mutex<BTreeMap<String, u64>> = Mutex::new(BTreeMap::new());
    let mut counts = lock(&COUNTS);
    let count = counts.entry(kind.clone()).or_default();
    let name = format!("{kind}/{count}");
    *count += 1;
    [KeyValue::new("otel.component.name", name), KeyValue::new("otel.component.type", kind)]
}

/// Attributes by the [general attributes]: a Unix domain socket has its path as address, and no port.
///
/// [general attributes]: https://opentelemetry.io/docs/specs/semconv/general/attributes/#server-attributes
fn server(endpoint: &Endpoint) -> Vec<KeyValue> {
    let address = &endpoint.address;
    let name = address.socket().map_or(address.host().into(), |path| path.to_string_lossy());
    let port = address.port().map(|port| KeyValue::new("server.port", i64::from(port)));
    [KeyValue::new("server.address", name.into_owned())].into_iter().chain(port).collect()
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use opentelemetry_sdk::metrics::SdkMeterProvider;

    use super::*;
    use crate::config::RetryPolicy;

    #[test]
    #[cfg(unix)]
    fn a_socket_has_a_path_and_no_port() {
        let exporters = Exporters::builder()
            .with_env(|_| None)
            .with_protocol(Protocol::Grpc)
            .with_endpoint("unix:///run/c.sock")
            .build()
            .unwrap();
        let endpoint = &exporters.settings().next().unwrap().endpoint;
        assert_eq!(server(endpoint), [KeyValue::new("server.address", "/run/c.sock")]);
    }

    /// A handle may be installed repeatedly.
    #[test]
    fn observers_end_with_their_provider() {
        let exporters = Exporters::builder()
            .with_env(|_| None)
            .with_endpoint("http://127.0.0.1:1")
            .with_retry(RetryPolicy::disabled())
            .with_sdk_metrics(true)
            .build()
            .unwrap();
        let stats = exporters.stats(Signal::Metrics).unwrap();
        for _ in 0..2 {
            let exporter = exporters.metric_exporter().unwrap();
            let provider = SdkMeterProvider::builder().with_periodic_exporter(exporter).build();
            exporters.register_metrics(&provider);
            assert_eq!(stats.observers(), 1);
            drop(provider);
            assert_eq!(stats.observers(), 0);
        }
    }
}
