//! Cases of several steps: shutdown, restart, reload, header providers.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use std::{fs, iter};

use http::HeaderMap;
use opentelemetry::trace::{Span, Tracer, TracerProvider};
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider, SpanExporter as _,
};
use otlp_mtls::testing::{Collector, Fixture};
use otlp_mtls::{Exporters, ExportersBuilder, Pem, Protocol, RetryPolicy, SpanExporter};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpSocket;

use crate::export::observed;
use crate::exporter::span;
use crate::input::protocol;
use crate::server::{Received, Server, listener, runtime};
use crate::table::{Case, Observed};
use crate::tls::Tls;
use crate::{http1, http2};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    scenario: String,
    protocol: String,
}

pub(crate) fn observe(case: &Case) -> Observed {
    let given = Given::deserialize(case.input()).unwrap();
    let protocol = protocol(&given.protocol);
    observed(match given.scenario.as_str() {
        "after-shutdown" => after_shutdown(protocol),
        "shutdown-interrupts" => shutdown_interrupts(protocol),
        "provider-shutdown-interrupts" => provider_shutdown_interrupts(protocol),
        "down-and-up" => down_and_up(protocol),
        "reuse" => reuse(protocol),
        "header-provider" => header_provider(protocol),
        "header-provider-fails" => header_provider_fails(protocol),
        "reload-after" | "reload-bad" => reload(protocol, &given.scenario, 50),
        "reload-before" => reload(protocol, &given.scenario, 60_000),
        "reload-zero" => reload(protocol, &given.scenario, 0),
        unknown => panic!("scenario {unknown}"),
    })
}

fn start(protocol: Protocol, script: &Value) -> Server {
    start_at(listener(Ipv4Addr::LOCALHOST), protocol, script)
}

fn start_at(listener: TcpListener, protocol: Protocol, script: &Value) -> Server {
    match protocol {
        Protocol::Grpc => http2::start(listener, script, None),
        _ => http1::start(listener, script),
    }
}

/// A server that answers 503, or UNAVAILABLE over gRPC.
fn unavailable(protocol: Protocol) -> Server {
    let step = match protocol {
        Protocol::Grpc => json!({ "code": 14, "repeat": true }),
        _ => json!({ "status": 503, "repeat": true }),
    };
    start(protocol, &json!([step]))
}

fn builder_for(server: &Server, protocol: Protocol) -> ExportersBuilder {
    builder(protocol).with_endpoint(format!("http://127.0.0.1:{}", server.port))
}

fn builder(protocol: Protocol) -> ExportersBuilder {
    Exporters::builder().with_env(|_| None).with_protocol(protocol).with_failure_handler(|_| {})
}

fn exporter(builder: ExportersBuilder) -> SpanExporter {
    builder.build().unwrap().span_exporter().unwrap()
}

/// Three seconds before the second attempt.
fn patient(builder: ExportersBuilder) -> ExportersBuilder {
    let wait = Duration::from_secs(3);
    builder.with_retry(RetryPolicy::default().with_initial_backoff(wait).with_max_backoff(wait))
}

/// Waits for the first request, and then sleeps: nothing reports that its response has arrived and the wait for the
/// second attempt has begun. If it has not, the shutdown interrupts the first attempt.
fn wait_for_a_backoff(server: &Server) {
    server.wait_for_a_request();
    thread::sleep(Duration::from_millis(100));
}

fn export(exporter: &SpanExporter) -> Result<(), String> {
    let result = futures_executor::block_on(exporter.export(vec![span("a span")]));
    result.map_err(|error| error.to_string())
}

fn after_shutdown(protocol: Protocol) -> Value {
    let server = start(protocol, &json!([]));
    let exporter = exporter(builder_for(&server, protocol));
    let [first, second] = [(); 2].map(|()| exporter.shutdown().is_ok());
    let ok = export(&exporter).is_ok();
    json!({ "first": first, "second": second, "ok": ok, "requests": server.requests() })
}

fn shutdown_interrupts(protocol: Protocol) -> Value {
    let server = unavailable(protocol);
    let exporter = exporter(patient(builder_for(&server, protocol)));
    thread::scope(|scope| {
        let exporting = scope.spawn(|| (export(&exporter).is_ok(), Instant::now()));
        wait_for_a_backoff(&server);
        let shutdown = Instant::now();
        let _ = exporter.shutdown();
        let (ok, end) = exporting.join().unwrap();
        json!({ "ok": ok, "after_ms": end.duration_since(shutdown).as_millis() as u64 })
    })
}

fn provider_shutdown_interrupts(protocol: Protocol) -> Value {
    let server = unavailable(protocol);
    let exporter = exporter(patient(builder_for(&server, protocol)));
    let soon =
        BatchConfigBuilder::default().with_scheduled_delay(Duration::from_millis(10)).build();
    let processor = BatchSpanProcessor::builder(exporter).with_batch_config(soon).build();
    let provider = SdkTracerProvider::builder().with_span_processor(processor).build();
    provider.tracer("test").start("a span").end();
    wait_for_a_backoff(&server);
    let shutdown = Instant::now();
    // The batch is lost; the case is about the time.
    let _ = provider.shutdown_with_timeout(Duration::from_secs(1));
    json!({ "shutdown_ms": shutdown.elapsed().as_millis() as u64 })
}

fn down_and_up(protocol: Protocol) -> Value {
    let _entered = runtime().enter();
    // Bound without listening: connections are refused, and no other process gets the port.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let endpoint = format!("http://{}", socket.local_addr().unwrap());
    let exporter = exporter(builder(protocol).with_endpoint(endpoint));
    thread::scope(|scope| {
        let exporting = scope.spawn(|| export(&exporter).is_ok());
        // The outage of the case.
        thread::sleep(Duration::from_millis(1200));
        let listener = socket.listen(16).unwrap().into_std().unwrap();
        let server = start_at(listener, protocol, &json!([]));
        let ok = exporting.join().unwrap();
        json!({ "ok": ok, "requests": server.requests() })
    })
}

fn reuse(protocol: Protocol) -> Value {
    let server = start(protocol, &json!([]));
    let exporter = exporter(builder_for(&server, protocol));
    let ok = iter::repeat_with(|| export(&exporter)).take(5).all(|result| result.is_ok());
    json!({ "ok": ok, "connections": server.connections(), "requests": server.requests() })
}

fn header_provider(protocol: Protocol) -> Value {
    let server = start(protocol, &json!([]));
    let calls = AtomicUsize::new(0);
    let builder = builder_for(&server, protocol).with_headers([("key1", "value1")]);
    let exporter = exporter(builder.with_header_provider(move |_| {
        let call = 1 + calls.fetch_add(1, Ordering::Relaxed);
        let value = format!("value{call}").try_into()?;
        Ok(HeaderMap::from_iter([(http::HeaderName::from_static("key2"), value)]))
    }));
    for _ in 0..2 {
        export(&exporter).unwrap();
    }
    let header = |request: &Received, name| {
        request.headers.get(name).map(|value| value.to_str().unwrap().to_owned())
    };
    let headers: Vec<_> = server.received(|received| {
        received.iter().map(|request| ["key1", "key2"].map(|name| header(request, name))).collect()
    });
    json!({ "headers": headers })
}

fn header_provider_fails(protocol: Protocol) -> Value {
    let server = start(protocol, &json!([]));
    let builder = builder_for(&server, protocol).with_retry(RetryPolicy::disabled());
    let exporter =
        exporter(builder.with_header_provider(|_| Err("metadata provider error".into())));
    let result = export(&exporter);
    json!({ "ok": result.is_ok(), "error": result.err(), "requests": server.requests() })
}

fn reload(protocol: Protocol, scenario: &str, interval_ms: u64) -> Value {
    let pki = &Tls::shared().pki;
    let collector = Collector::builder()
        .with_tls(pki.server(Fixture::Good))
        .with_client_ca(pki.ca_pem())
        .start()
        .unwrap();
    let directory = tempfile::tempdir().unwrap();
    let put = |name: &str| pki.client_named(name).write_to(directory.path(), "client").unwrap();
    let (certificate, key) = put("example1");
    let exporter = exporter(
        builder(protocol)
            .with_endpoint(collector.endpoint())
            .with_ca_certificate(Pem::bytes(pki.ca_pem()))
            .with_client_identity(Pem::file(&certificate), Pem::file(key))
            .with_reload_interval(Duration::from_millis(interval_ms)),
    );
    let one = export(&exporter).is_ok();
    match scenario {
        "reload-bad" => fs::write(&certificate, "no certificate").unwrap(),
        _ => drop(put("example2")),
    }
    // Longer than the reload interval of the cases, if it is to pass.
    thread::sleep(Duration::from_millis(120));
    let two = export(&exporter).is_ok();
    let presented: Vec<_> = collector
        .requests()
        .iter()
        .map(|request| request.client_certificate.as_ref()?.common_name().map(str::to_owned))
        .collect();
    json!({ "one": one, "two": two, "presented": presented })
}
