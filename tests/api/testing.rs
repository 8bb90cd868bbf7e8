//! `otlp_mtls::testing` over real sockets, and its certificates as exporters and OpenSSL read them.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{Ipv6Addr, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::{BufMut, Bytes, BytesMut};
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use otlp_mtls::credentials::CertificateFacts;
use otlp_mtls::testing::{Accept, Collector, Fixture, Identity, KeyType, Pki, Reply};
use otlp_mtls::{Exporters, Pem, Signal};
use prost::Message;
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsConnector;

use crate::support::{mtls_collector, tls_client};

const SOON: Duration = Duration::from_secs(20);
const TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

// Certificates

fn is_verified_by_openssl(pki: &Pki, identity: &Identity) -> Option<bool> {
    let directory = tempfile::tempdir().unwrap();
    let ca = pki.write_ca_to(directory.path()).unwrap();
    let (certificate, _) = identity.write_to(directory.path(), "leaf").unwrap();
    let mut openssl = Command::new("openssl");
    openssl
        .arg("verify")
        .arg("-CAfile")
        .arg(ca)
        .arg("-untrusted")
        .arg(&certificate)
        .arg(&certificate);
    Some(openssl.output().ok()?.status.success())
}

/// The leaf as exporters read it.
fn facts(pki: &Pki, identity: &Identity) -> CertificateFacts {
    let exporters = Exporters::builder()
        .with_env(|_| None)
        .with_endpoint("https://localhost")
        .with_ca_certificate(Pem::bytes(pki.ca_pem()))
        .with_client_identity(
            Pem::bytes(identity.certificate_pem()),
            Pem::bytes(identity.key_pem()),
        )
        .build()
        .unwrap();
    exporters.status().credentials.remove(0).chain.remove(0)
}

#[test]
fn every_certificate_is_what_its_fixture_says() {
    let pki = Pki::new();
    for &fixture in Fixture::ALL {
        for (identity, server) in [(pki.server(fixture), true), (pki.client(fixture), false)] {
            let leaf = facts(&pki, &identity);
            let (subject, issuer) = (leaf.subject, leaf.issuer);
            let usages: Vec<_> = leaf.usages.iter().map(String::as_str).collect();

            let now = SystemTime::now();
            assert_eq!(leaf.not_after.unwrap() < now, fixture == Fixture::Expired, "{fixture:?}");
            assert_eq!(leaf.not_before.unwrap() > now, fixture == Fixture::NotYetValid);
            assert_eq!(leaf.version == 1, fixture == Fixture::V1);
            assert_eq!(leaf.is_ca, fixture == Fixture::CaUsedAsEndEntity);
            assert_eq!(
                identity.certificate_ders().len(),
                if fixture == Fixture::Intermediate { 2 } else { 1 }
            );
            assert_eq!(
                subject,
                match (fixture, server) {
                    (Fixture::WrongName, _) => "CN=other.example",
                    (_, true) => "CN=localhost",
                    (_, false) => "CN=test-client",
                }
            );
            assert_eq!(
                issuer,
                match fixture {
                    Fixture::OtherCa => "CN=otlp-mtls other test ca",
                    Fixture::SelfSigned => &subject,
                    Fixture::Intermediate | Fixture::MissingIntermediate =>
                        "CN=otlp-mtls test intermediate",
                    _ => "CN=otlp-mtls test ca",
                }
            );
            assert_eq!(
                leaf.names.len(),
                match (fixture, server) {
                    (Fixture::NoSan | Fixture::V1, _) | (_, false) => 0,
                    (Fixture::WrongName, _) => 1,
                    _ => 3,
                },
                "{fixture:?}"
            );
            assert_eq!(
                usages,
                match fixture {
                    Fixture::V1 => vec![],
                    _ if server != (fixture == Fixture::WrongUsage) => vec!["serverAuth"],
                    _ => vec!["clientAuth"],
                }
            );

            let pem: Vec<_> = CertificateDer::pem_slice_iter(identity.certificate_pem().as_bytes())
                .collect::<Result<_, _>>()
                .unwrap();
            assert_eq!(pem, identity.certificate_ders());
            let key = PrivateKeyDer::from_pem_slice(identity.key_pem().as_bytes()).unwrap();
            assert_eq!(key, identity.key_der());
            assert!(identity.key_pem().starts_with("-----BEGIN PRIVATE KEY-----"));

            if let Some(verified) = is_verified_by_openssl(&pki, &identity) {
                let wrong = [
                    Fixture::OtherCa,
                    Fixture::SelfSigned,
                    Fixture::Expired,
                    Fixture::NotYetValid,
                    Fixture::MissingIntermediate,
                ];
                assert_eq!(verified, !wrong.contains(&fixture), "{fixture:?}");
            }
        }
    }
}

#[test]
fn keys_of_every_type_match_their_certificate() {
    let pki = Pki::new();
    let provider = aws_lc_rs::default_provider();
    for key_type in [KeyType::EcdsaP256, KeyType::EcdsaP384, KeyType::Ed25519, KeyType::Rsa2048] {
        let identity = pki.client_with_key(key_type);
        let chain = identity.certificate_ders().to_vec();
        let certified = CertifiedKey::from_der(chain, identity.key_der(), &provider).unwrap();
        certified.keys_match().unwrap();
        let name = format!("{:?}", certified.key.algorithm());
        assert!(format!("{key_type:?}").to_lowercase().starts_with(&name.to_lowercase()), "{name}");
    }
}

#[test]
fn debug_shows_no_secrets() {
    let identity = Pki::new().client(Fixture::Good);
    assert_eq!(format!("{identity:?}"), "Identity { certificates: 1, .. }");

    let collector = Collector::builder().start().unwrap();
    post(
        &collector,
        "/v1/traces",
        "authorization: hunter2\r\ncontent-type: application/json\r\n",
        b"{}",
    );
    let shown = format!("{:?}", collector.requests());
    assert!(shown.contains("authorization") && !shown.contains("hunter2"), "{shown}");
}

// Requests

fn export(names: &[&str]) -> ExportTraceServiceRequest {
    let service = KeyValue {
        key: "service.name".to_owned(),
        value: Some(AnyValue { value: Some(Value::StringValue("shop".to_owned())) }),
        ..Default::default()
    };
    let spans =
        names.iter().map(|name| Span { name: (*name).to_owned(), ..Default::default() }).collect();
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource { attributes: vec![service], ..Default::default() }),
            scope_spans: vec![ScopeSpans { spans, ..Default::default() }],
            ..Default::default()
        }],
    }
}

/// Sends a plaintext HTTP/1.1 request over TCP, and returns the whole response.
fn post(collector: &Collector, path: &str, headers: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(collector.addr()).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let length = body.len();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n"
    )
    .unwrap();
    stream.write_all(body).unwrap();
    let mut response = Vec::new();
    // A reset counts as an empty response.
    let _ = stream.read_to_end(&mut response);
    String::from_utf8_lossy(&response).into_owned()
}

fn framed(flag: u8, message: &[u8]) -> Bytes {
    let mut body = BytesMut::new();
    body.put_u8(flag);
    body.put_u32(message.len() as u32);
    body.put_slice(message);
    body.freeze()
}

fn grpc(names: &[&str]) -> Request<Full<Bytes>> {
    let body = framed(0, &export(names).encode_to_vec());
    let request = Request::post(format!("http://localhost{TRACES}"))
        .header("content-type", "application/grpc");
    request.body(Full::new(body)).unwrap()
}

type Sender = SendRequest<Full<Bytes>>;

async fn over<I>(io: I) -> Sender
where
    I: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(io));
    let (sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn plaintext(collector: &Collector) -> Sender {
    over(tokio::net::TcpStream::connect(collector.addr()).await.unwrap()).await
}

async fn tls(collector: &Collector, config: &Arc<ClientConfig>) -> std::io::Result<Sender> {
    let stream = tokio::net::TcpStream::connect(collector.addr()).await?;
    let name = ServerName::try_from("localhost").unwrap();
    Ok(over(TlsConnector::from(config.clone()).connect(name, stream).await?).await)
}

// The collector

#[test]
fn plaintext_http1_in_every_encoding() {
    let collector = Collector::builder().start().unwrap();
    let message = export(&["a", "b"]).encode_to_vec();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&message).unwrap();
    let gzip = gzip.finish().unwrap();
    let zstd = zstd::encode_all(message.as_slice(), 0).unwrap();
    let json = serde_json::to_vec(&export(&["a", "b"])).unwrap();

    let protobuf = "content-type: application/x-protobuf\r\n";
    for (headers, body) in [
        (protobuf.to_owned(), &message),
        (format!("{protobuf}content-encoding: gzip\r\n"), &gzip),
        (format!("{protobuf}content-encoding: zstd\r\n"), &zstd),
        ("content-type: application/json\r\n".to_owned(), &json),
    ] {
        let response = post(&collector, "/prefix/v1/traces?x=1", &headers, body);
        assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
        assert_eq!(response.ends_with("\r\n\r\n{}"), headers.contains("json"));
    }

    assert!(collector.wait_for(Signal::Traces, 8, SOON));
    let requests = collector.requests();
    let encodings: Vec<_> = requests.iter().map(|request| request.encoding.as_deref()).collect();
    assert_eq!(encodings, [None, Some("gzip"), Some("zstd"), None]);
    assert_eq!(requests[1].body, message);
    assert_eq!(requests[1].path, "/prefix/v1/traces?x=1");
    assert_eq!(requests[1].authority.as_deref(), Some("localhost"));
    assert_eq!(requests[3].connection, 3);
    assert!(!requests[0].grpc && requests[0].client_certificate.is_none());
    assert_eq!(collector.resource_attribute("service.name").as_deref(), Some("shop"));
    assert_eq!(collector.resource_attribute("absent"), None);
    assert_eq!((collector.connections(), collector.handshakes(), collector.resets()), (4, 0, 0));
    assert!(collector.wait_until(SOON, |collector| collector.open_connections() == 0));
    assert!(!collector.wait_for(Signal::Traces, 9, Duration::from_millis(1)));
    assert!(!collector.wait_for(Signal::Metrics, 1, Duration::ZERO));
}

#[test]
fn requests_that_are_not_exports_are_refused() {
    let collector = Collector::builder().start().unwrap();
    let refused = |path, content_type: &str, body: &[u8]| {
        let response = post(&collector, path, &format!("content-type: {content_type}\r\n"), body);
        response["HTTP/1.1 ".len()..][..3].to_owned()
    };
    assert_eq!(refused("/v1/profiles", "application/json", b"{}"), "404");
    assert_eq!(refused("/v1/traces", "text/plain", b"{}"), "415");
    assert_eq!(refused("/v1/traces", "application/json", b"{"), "400");
    assert_eq!(refused("/v1/traces", "application/x-protobuf", b"\xff"), "400");
    assert!(collector.received().is_empty());
}

#[test]
fn only_acknowledged_requests_count() {
    let collector = Collector::builder().start().unwrap();
    let json = "content-type: application/json\r\n";
    let body = serde_json::to_vec(&export(&["a"])).unwrap();

    let headers = vec![("retry-after".to_owned(), "7".to_owned())];
    collector.set_reply(move |_| Reply::Http { status: 503, headers: headers.clone() });
    let response = post(&collector, "/v1/traces", json, &body);
    assert!(
        response.starts_with("HTTP/1.1 503") && response.contains("retry-after: 7"),
        "{response}"
    );
    collector.set_reply(|_| Reply::Grpc {
        code: 8,
        message: String::new(),
        retry_delay: Some(Duration::from_secs(3)),
    });
    let response = post(&collector, "/v1/traces", json, &body);
    assert!(
        response.starts_with("HTTP/1.1 429") && response.contains("retry-after: 3"),
        "{response}"
    );
    for reply in [Reply::Reset, Reply::Close] {
        collector.set_reply(move |_| reply.clone());
        assert_eq!(post(&collector, "/v1/traces", json, &body), "");
    }
    assert_eq!(
        (collector.received().len(), collector.requests().len(), collector.spans().len()),
        (4, 0, 0)
    );
    assert_eq!((collector.resets(), collector.resource_attribute("service.name")), (0, None));

    collector.set_reply(|_| {
        let partial = Reply::PartialSuccess { rejected: 1, message: "full".to_owned() };
        Reply::After(Duration::from_millis(1), Box::new(partial))
    });
    let response = post(&collector, "/v1/traces", json, &body);
    assert!(
        response.ends_with(r#"{"partialSuccess":{"errorMessage":"full","rejectedSpans":"1"}}"#),
        "{response}"
    );
    assert_eq!(
        (collector.received().len(), collector.requests().len(), collector.spans().len()),
        (5, 1, 1)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn mutual_tls_counts_and_identifies() {
    let (pki, collector) = mtls_collector();
    assert_eq!(collector.endpoint(), format!("https://localhost:{}", collector.addr().port()));

    let config =
        tls_client(pki.ca_pem(), Some(&pki.client_named("billing")), rustls::DEFAULT_VERSIONS);
    for _ in 0..2 {
        let mut sender = tls(&collector, &config).await.unwrap();
        for _ in 0..2 {
            let response = sender.send_request(grpc(&["a"])).await.unwrap();
            response.into_body().collect().await.unwrap();
        }
    }
    assert_eq!(
        (collector.connections(), collector.handshakes(), collector.resumptions()),
        (2, 2, 1)
    );
    let certificates = collector.client_certificates();
    assert_eq!(certificates.len(), 1);
    assert_eq!(certificates[0].common_name(), Some("billing"));
    assert_eq!(certificates[0].subject(), "CN=billing");
    assert_eq!(certificates[0].fingerprint().len(), 64);
    let requests = collector.requests();
    let connections: Vec<_> = requests.iter().map(|request| request.connection).collect();
    assert_eq!(connections, [0, 0, 1, 1]);
    assert!(requests.iter().all(
        |request| request.grpc && request.client_certificate.as_ref() == Some(&certificates[0])
    ));
    assert!(collector.wait_until(SOON, |collector| collector.open_connections() == 0));

    // New certificates for new connections.
    let renewed = Pki::new();
    collector.set_tls(renewed.server(Fixture::Good), Some(pki.ca_pem())).unwrap();
    assert!(tls(&collector, &config).await.is_err());
    assert!(collector.wait_until(SOON, |collector| collector.failed_handshakes() == 1));
    let config =
        tls_client(renewed.ca_pem(), Some(&pki.client(Fixture::Good)), rustls::DEFAULT_VERSIONS);
    tls(&collector, &config).await.unwrap().send_request(grpc(&["a"])).await.unwrap();
    assert_eq!((collector.handshakes(), collector.resumptions()), (3, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn client_certificates_are_verified() {
    let pki = Pki::new();
    for versions in [&[&rustls::version::TLS12], &[&rustls::version::TLS13]] {
        let collector = Collector::builder()
            .with_tls(pki.server(Fixture::Good))
            .with_client_ca(pki.ca_pem())
            .with_tls_versions(versions)
            .start()
            .unwrap();
        let accepted =
            [Fixture::Good, Fixture::NoSan, Fixture::WrongName, Fixture::V1, Fixture::Intermediate];
        let foreign = Pki::new().client(Fixture::V1);
        let mut clients = vec![(None, false), (Some(foreign), false)];
        clients.extend(
            Fixture::ALL
                .iter()
                .map(|fixture| (Some(pki.client(*fixture)), accepted.contains(fixture))),
        );
        for key_type in [KeyType::EcdsaP384, KeyType::Ed25519, KeyType::Rsa2048] {
            clients.push((Some(pki.client_with_key(key_type)), true));
        }
        for (at, (client, accepted)) in clients.iter().enumerate() {
            let config = tls_client(pki.ca_pem(), client.as_ref(), versions);
            let served = match tls(&collector, &config).await {
                Ok(mut sender) => sender.send_request(grpc(&["a"])).await.is_ok(),
                Err(_) => false,
            };
            assert_eq!(served, *accepted, "client {at} with {versions:?}");
        }
        assert!(collector.wait_until(SOON, |collector| collector.failed_handshakes() == 9));
        assert_eq!(collector.client_certificates().len(), 8);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_may_be_optional() {
    let pki = Pki::new();
    let collector = Collector::builder()
        .with_tls(pki.server(Fixture::Good))
        .with_client_ca(pki.ca_pem())
        .with_optional_client_certificate(true)
        // Without ALPN the first bytes decide.
        .with_alpn(Vec::new())
        .with_bind_address(Ipv6Addr::LOCALHOST.into())
        .start()
        .unwrap();
    assert_eq!(collector.endpoint(), format!("https://[::1]:{}", collector.addr().port()));
    let config = tls_client(pki.ca_pem(), None, rustls::DEFAULT_VERSIONS);
    tls(&collector, &config).await.unwrap().send_request(grpc(&["a"])).await.unwrap();
    assert!(collector.requests()[0].client_certificate.is_none());
    assert!(collector.client_certificates().is_empty());
}

#[test]
fn impossible_configurations_do_not_start() {
    let pki = Pki::new();
    let invalid = |builder: otlp_mtls::testing::CollectorBuilder| {
        assert_eq!(builder.start().unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
    };
    invalid(Collector::builder().with_client_ca(pki.ca_pem()));
    invalid(Collector::builder().with_tls(pki.server(Fixture::Good)).with_client_ca("no pem"));
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_success_and_failure() {
    let collector = Collector::builder().start().unwrap();
    let mut sender = plaintext(&collector).await;

    // The closure runs on the collector's thread.
    collector.set_reply(|request| {
        assert_eq!(request.signal, Signal::Traces);
        match opentelemetry::Context::is_current_telemetry_suppressed() {
            true => Reply::PartialSuccess { rejected: 2, message: "full".to_owned() },
            false => Reply::Reset,
        }
    });
    let compressed = zstd::encode_all(export(&["a"]).encode_to_vec().as_slice(), 0).unwrap();
    let mut request = grpc(&[]);
    request.headers_mut().insert("grpc-encoding", "zstd".parse().unwrap());
    *request.body_mut() = Full::new(framed(1, &compressed));
    let response = sender.send_request(request).await.unwrap();
    assert!(!response.headers().contains_key("grpc-status"));
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.trailers().unwrap()["grpc-status"], "0");
    let message = ExportTraceServiceResponse::decode(&body.to_bytes()[5..]).unwrap();
    let partial = message.partial_success.unwrap();
    assert_eq!((partial.rejected_spans, partial.error_message.as_str()), (2, "full"));
    assert_eq!(collector.requests()[0].encoding.as_deref(), Some("zstd"));

    collector.set_reply(|_| Reply::Grpc {
        code: 14,
        message: "try später".to_owned(),
        retry_delay: Some(Duration::from_millis(1500)),
    });
    let response = sender.send_request(grpc(&["a"])).await.unwrap();
    assert_eq!(response.status(), 200);
    let headers = response.headers().clone();
    assert_eq!(headers["grpc-status"], "14");
    assert_eq!(headers["grpc-message"], "try sp%C3%A4ter");
    // google.rpc.Status { 14, "try später", [Any { RetryInfo { Duration { 1, 500_000_000 } } }] }, by Google's protobuf for Python.
    assert_eq!(
        headers["grpc-status-details-bin"],
        "CA4SC3RyeSBzcMOkdGVyGjYKKHR5cGUuZ29vZ2xlYXBpcy5jb20vZ29vZ2xlLnJwYy5SZXRyeUluZm8SCgoICAEQgMq17gE"
    );
    assert!(hyper::body::Body::is_end_stream(response.body()));

    collector.set_reply(|_| Reply::Http { status: 502, headers: Vec::new() });
    let response = sender.send_request(grpc(&["a"])).await.unwrap();
    assert!(response.status() == 502 && !response.headers().contains_key("grpc-status"));

    collector.set_reply(|_| Reply::Reset);
    sender.send_request(grpc(&["a"])).await.unwrap_err();
    assert_eq!((collector.connections(), collector.resets(), collector.spans().len()), (1, 0, 1));

    let mut unknown = grpc(&["a"]);
    *unknown.uri_mut() = "http://localhost/shop.Shop/Buy".parse().unwrap();
    assert_eq!(sender.send_request(unknown).await.unwrap().headers()["grpc-status"], "12");
}

#[tokio::test(flavor = "multi_thread")]
async fn hold_release_and_resets() {
    let collector = Collector::builder().start().unwrap();
    collector.set_reply(|_| Reply::Hold);
    let mut sender = plaintext(&collector).await;
    let (mut kept, mut cancelled) = (sender.clone(), sender.clone());
    let kept = tokio::spawn(async move { kept.send_request(grpc(&["kept"])).await });
    assert!(collector.wait_until(SOON, |collector| collector.received().len() == 1));
    let cancelled = tokio::spawn(async move { cancelled.send_request(grpc(&["cancelled"])).await });
    assert!(collector.wait_until(SOON, |collector| collector.received().len() == 2));
    assert_eq!((collector.requests().len(), collector.resets()), (0, 0));

    cancelled.abort();
    assert!(collector.wait_until(SOON, |collector| collector.resets() == 1));
    collector.release();
    assert!(tokio::time::timeout(SOON, kept).await.unwrap().unwrap().is_ok());
    assert_eq!(collector.spans()[0].name, "kept");
    assert_eq!((collector.requests().len(), collector.connections()), (1, 1));

    // An HTTP/1.1 client that closes its connection. A held request waits for the next release.
    let mut stream = TcpStream::connect(collector.addr()).unwrap();
    let head = "POST /v1/logs HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
    stream.write_all(head.as_bytes()).unwrap();
    assert!(collector.wait_until(SOON, |collector| collector.received().len() == 3));
    drop(stream);
    assert!(collector.wait_until(SOON, |collector| collector.resets() == 2));

    // Connections that the collector closes do not count as resets.
    let held = tokio::spawn(async move { sender.send_request(grpc(&["held"])).await });
    assert!(collector.wait_until(SOON, |collector| collector.received().len() == 4));
    collector.close_connections();
    assert_eq!(collector.open_connections(), 0);
    assert!(tokio::time::timeout(SOON, held).await.unwrap().unwrap().is_err());
    assert_eq!((collector.requests().len(), collector.resets()), (1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn goaway_after_some_requests() {
    let collector = Collector::builder().start().unwrap();
    collector.goaway_after(Some(2));
    let mut sender = plaintext(&collector).await;
    for _ in 0..2 {
        sender.send_request(grpc(&["a"])).await.unwrap().into_body().collect().await.unwrap();
    }
    assert!(collector.wait_until(SOON, |collector| collector.open_connections() == 0));
    sender.send_request(grpc(&["a"])).await.unwrap_err();
    collector.goaway_after(None);
    plaintext(&collector).await.send_request(grpc(&["a"])).await.unwrap();
    assert_eq!((collector.spans().len(), collector.connections()), (3, 2));
}

#[test]
fn silence_and_refusal() {
    let collector = Collector::builder().start().unwrap();
    collector.set_accept(Accept::Refuse);
    let mut refused = TcpStream::connect(collector.addr()).unwrap();
    refused.set_read_timeout(Some(SOON)).unwrap();
    assert_eq!(refused.read(&mut [0]).unwrap(), 0);

    collector.set_accept(Accept::Silence);
    let mut silent = TcpStream::connect(collector.addr()).unwrap();
    silent.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert!(
        collector
            .wait_until(SOON, |collector| (collector.connections(), collector.open_connections())
                == (2, 1))
    );
    silent.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    assert_eq!(silent.read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    collector.close_connections();
    silent.set_read_timeout(Some(SOON)).unwrap();
    // It is closed with unread bytes, which some systems report as a reset.
    assert_eq!(silent.read(&mut [0]).unwrap_or(0), 0);
}

#[test]
fn dropping_closes_the_port_and_everything_open() {
    fn shared<T: Send + Sync>(value: T) -> T {
        value
    }
    let collector = shared(Collector::builder().start().unwrap());
    let addr = collector.addr();
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    assert!(collector.wait_until(SOON, |collector| collector.open_connections() == 1));
    drop(collector);
    assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0);
    assert!(TcpStream::connect(addr).is_err());
}

/// The names of the threads on which h2 has logged.
#[derive(Clone, Default)]
struct Talkers(Arc<Mutex<Vec<String>>>);

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Talkers {
    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        if event.metadata().target().starts_with("h2") {
            let thread = std::thread::current();
            self.0.lock().unwrap().push(thread.name().unwrap_or_default().to_owned());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_collector_is_silent() {
    use tracing_subscriber::layer::SubscriberExt;

    let talkers = Talkers::default();
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(talkers.clone()))
        .unwrap();
    let collector = Collector::builder().start().unwrap();
    let mut sender = plaintext(&collector).await;
    sender.send_request(grpc(&["a"])).await.unwrap();
    drop(collector);
    let talkers = talkers.0.lock().unwrap();
    assert!(!talkers.is_empty(), "the client talks");
    assert!(!talkers.iter().any(|name| name == "otlp-test-collector"));
}
