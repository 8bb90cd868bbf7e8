//! Other clients with our TLS: a connector, an HTTP client, and upstream's own exporters.

use std::error::Error;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use opentelemetry_http::HttpClient as _;
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter as _;
use otlp_mtls::testing::{Collector, Reply};
use otlp_mtls::{Compression, Failure, FailureKind, Pem, Protocol, Signal, upstream};
use tower_service::Service;

use crate::support::{
    PROTOCOLS, TRANSPORTS, mtls_builder, mtls_collector, plaintext_builder, plaintext_collector,
};

/// The example, which is tested here. The soak test uses it, too.
#[allow(dead_code, reason = "its `main` is the example's alone")]
#[path = "../../examples/upstream.rs"]
pub(crate) mod example;

#[test]
fn upstreams_exporters_lose_nothing_in_a_rotation() {
    for protocol in TRANSPORTS {
        let problems = example::rotate(protocol).unwrap();
        assert!(problems.is_empty(), "{protocol}: {problems:#?}");
    }
}

fn request(uri: &str) -> Request<Bytes> {
    Request::post(uri)
        .header("content-type", "application/x-protobuf")
        .header("x-given", "yes")
        .body(Bytes::new())
        .unwrap()
}

/// URLs of another server: another port, another host, and similar host names.
fn others(collector: &Collector) -> [String; 4] {
    let port = collector.addr().port();
    let other = port.checked_add(1).unwrap_or(1);
    [
        format!("https://localhost:{other}/v1/traces"),
        format!("https://localhost.example:{port}/v1/traces"),
        format!("https://example.localhost:{port}/v1/traces"),
        "https://localhost/v1/traces".to_owned(),
    ]
}

#[tokio::test]
async fn another_server_is_refused() {
    let (pki, collector) = mtls_collector();
    for protocol in TRANSPORTS {
        let exporters = mtls_builder(&pki, &collector, protocol).build().unwrap();
        let mut connector = exporters.connector(Signal::Traces).unwrap();
        let client = exporters.http_client(Signal::Traces).unwrap();
        for other in others(&collector) {
            let dialled = connector.call(other.parse::<Uri>().unwrap()).await;
            assert_is_refused(dialled.err().as_deref(), &other);
            let sent = client.send_bytes(request(&other)).await;
            assert_is_refused(sent.err().as_deref(), &other);
        }
    }
    assert_eq!(collector.connections(), 0);
}

fn assert_is_refused(error: Option<&(dyn Error + Send + Sync + 'static)>, uri: &str) {
    let words = error.unwrap_or_else(|| panic!("{uri} is not refused")).to_string();
    assert!(words.contains("is not the endpoint of traces"), "{words}");
    assert!(!words.contains("/v1/"), "{words}");
}

/// A request for `https` is not sent in plaintext.
#[tokio::test]
async fn https_is_refused_over_plaintext() {
    let collector = plaintext_collector();
    let exporters = plaintext_builder(&collector, Protocol::HttpProtobuf).build().unwrap();
    let https = collector.endpoint().replace("http://", "https://");
    let dialled = exporters.connector(Signal::Traces).unwrap().call(https.parse().unwrap()).await;
    assert_is_refused(dialled.err().as_deref(), &https);
    let client = exporters.http_client(Signal::Traces).unwrap();
    let sent = client.send_bytes(request(&https)).await;
    assert_is_refused(sent.err().as_deref(), &https);
    assert_eq!(collector.connections(), 0);
}

#[test]
fn a_request_is_sent_as_it_is_given_without_a_runtime() {
    let (pki, collector) = mtls_collector();
    let exporters = mtls_builder(&pki, &collector, Protocol::HttpProtobuf)
        .with_headers([("x-ours", "secret")])
        .build()
        .unwrap();
    let client = exporters.http_client(Signal::Logs).unwrap();
    let uri = format!("{}/v1/traces?of=another", collector.endpoint());
    let response = futures_executor::block_on(client.send_bytes(request(&uri))).unwrap();
    assert_eq!(response.status(), 200);
    let received = &collector.requests()[0];
    assert_eq!(received.path, "/v1/traces?of=another");
    assert_eq!(received.headers["x-given"], "yes");
    for name in ["x-ours", "user-agent"] {
        assert!(!received.headers.contains_key(name), "{name}");
    }
    assert!(received.client_certificate.is_some());
}

/// The stream belongs to the I/O thread's reactor, and is polled by this runtime.
#[tokio::test]
async fn hypers_client_uses_a_connector() {
    let (pki, collector) = mtls_collector();
    let exporters = mtls_builder(&pki, &collector, Protocol::HttpProtobuf).build().unwrap();
    let connector = exporters.connector(Signal::Traces).unwrap();
    drop(exporters);
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let uri = format!("{}/v1/traces", collector.endpoint());
    let response = client.request(request(&uri).map(Full::new)).await.unwrap();
    assert_eq!(response.status(), 200);
    response.into_body().collect().await.unwrap();
    assert!(collector.requests()[0].client_certificate.is_some());
}

#[tokio::test]
async fn a_failure_has_a_full_message() {
    let (pki, collector) = mtls_collector();
    for protocol in TRANSPORTS {
        let builder = mtls_builder(&pki, &collector, protocol);
        let exporters =
            builder.with_ca_certificate(Pem::bytes(pki.other_ca_pem())).build().unwrap();
        let endpoint = collector.endpoint();
        let mut connector = exporters.connector(Signal::Traces).unwrap();
        let client = exporters.http_client(Signal::Traces).unwrap();
        let errors = [
            connector.call(endpoint.parse().unwrap()).await.err(),
            client.send_bytes(request(&endpoint)).await.err(),
        ];
        for error in errors {
            let error = error.unwrap();
            let failure = error.downcast_ref::<Failure>().unwrap();
            let kind = failure.kind();
            assert!(matches!(kind, FailureKind::ServerCertificate(_)), "{kind:?}");
        }
    }
}

#[test]
fn upstream_has_the_settings() {
    let (pki, collector) = mtls_collector();
    for (protocol, compression) in PROTOCOLS
        .into_iter()
        .flat_map(|protocol| [(protocol, Compression::Gzip), (protocol, Compression::Zstd)])
    {
        for signal in Signal::ALL {
            let before = collector.requests().len();
            let exporters = mtls_builder(&pki, &collector, protocol)
                .with_headers([("x-tenant", "another signal's")])
                .with_signal(signal, |settings| {
                    settings
                        .with_headers([("x-tenant", signal.to_string())])
                        .with_compression(compression)
                })
                .build()
                .unwrap();
            let export = example::exporter(&exporters, signal).unwrap();
            export("an_item".to_owned()).unwrap();
            // The metric reader exports again when it is dropped.
            drop(export);
            let received = &collector.requests()[before];
            assert_eq!(received.signal, signal);
            assert_eq!(received.grpc, protocol == Protocol::Grpc);
            assert_eq!(received.headers["x-tenant"], signal.to_string());
            assert!(received.headers.contains_key("user-agent"));
            let name = compression.to_string();
            assert_eq!(received.encoding.as_deref(), Some(&*name), "{protocol} {signal}");
        }
    }
}

/// Upstream's own timeout is ten seconds.
#[test]
fn upstream_ends_at_the_timeout() {
    let (pki, collector) = mtls_collector();
    let answered = Reply::After(Duration::from_secs(3), Box::new(Reply::Accept));
    collector.set_reply(move |_| answered.clone());
    thread::scope(|scope| {
        for (protocol, signal) in
            TRANSPORTS.into_iter().flat_map(|protocol| Signal::ALL.map(|signal| (protocol, signal)))
        {
            let builder = mtls_builder(&pki, &collector, protocol);
            scope.spawn(move || {
                let brief = Duration::from_millis(300);
                let builder = builder.with_signal(signal, |settings| settings.with_timeout(brief));
                let export = example::exporter(&builder.build().unwrap(), signal).unwrap();
                let result = export("an_item".to_owned());
                assert!(result.is_err(), "{protocol} {signal}");
            });
        }
    });
}

#[test]
fn upstream_has_the_temporality() {
    let collector = plaintext_collector();
    for protocol in TRANSPORTS {
        for temporality in [Temporality::Cumulative, Temporality::Delta, Temporality::LowMemory] {
            let builder = plaintext_builder(&collector, protocol).with_temporality(temporality);
            let exporter = upstream::metric_exporter(&builder.build().unwrap()).unwrap();
            assert_eq!(exporter.temporality(), temporality, "{protocol}");
        }
    }
}
