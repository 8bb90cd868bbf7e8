//! reqwest and tonic with the certificates of the exporters, during a rotation.
//!
//! `cargo run --manifest-path examples/other_clients/Cargo.toml` starts a service that requires mutual TLS and calls it repeatedly: by
//! reqwest, each time on a new connection, and by tonic, with a new channel for every fifth call. Meanwhile the clients'
//! certificate and key are replaced. Nothing is exported: the handshakes themselves check the files.

use std::collections::BTreeMap;
use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::Uri;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use otlp_mtls::rustls::ClientConfig;
use otlp_mtls::rustls::pki_types::ServerName;
use otlp_mtls::testing::{Collector, Fixture, Pki};
use otlp_mtls::{Exporters, Pem, Signal};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};
use tower_service::Service;

/// A generous limit.
const SOON: Duration = Duration::from_secs(60);

/// The number of calls of each client with each certificate.
const CALLS: usize = 20;

type BoxError = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<ExitCode, BoxError> {
    let pki = Pki::new();
    let service = Collector::builder()
        .with_tls(pki.server(Fixture::Good))
        .with_client_ca(pki.ca_pem())
        .start()?;
    let directory = tempfile::tempdir()?;
    let (certificate, key) = pki.client_named("old").write_to(directory.path(), "client")?;
    let exporters = Exporters::builder()
        .with_env(|_| None)
        .with_endpoint(service.endpoint())
        .with_ca_certificate(Pem::bytes(pki.ca_pem()))
        .with_client_identity(Pem::file(certificate), Pem::file(key))
        .with_reload_interval(Duration::from_millis(50))
        .build()?;
    let config = exporters.client_config(Signal::Traces).ok_or("the endpoint is https://")?;

    let reqwest = reqwest_client(&config)?;
    let url = format!("{}/v1/traces", service.endpoint());
    let mut tonic = None;
    let (began, mut calls, mut failed) = (Instant::now(), 0, Vec::new());
    let served = loop {
        if calls == CALLS {
            pki.client_named("new").write_to(directory.path(), "client")?;
        }
        if calls % 5 == 0 {
            tonic = Some(TraceServiceClient::new(tonic_channel(&config, &service.endpoint())?));
        }
        let request = reqwest.post(&url).header("content-type", "application/x-protobuf");
        let answer = request.send().await.and_then(reqwest::Response::error_for_status);
        failed.extend(answer.err().map(|error| format!("reqwest: {error:?}")));
        if let Some(tonic) = &mut tonic {
            let answer = tonic.export(ExportTraceServiceRequest::default()).await;
            failed.extend(answer.err().map(|error| format!("tonic: {error:?}")));
        }
        calls += 1;
        let served = served(&service);
        let is_done = |grpc| served.get(&("new".to_owned(), grpc)).is_some_and(|it| *it >= CALLS);
        if (is_done(false) && is_done(true)) || began.elapsed() > SOON {
            break served;
        }
    };

    for ((client, grpc), calls) in &served {
        let by = if *grpc { "tonic" } else { "reqwest" };
        println!("{calls} calls by {by} as `{client}`");
    }
    println!("{} of {} calls failed", failed.len(), 2 * calls);
    failed.iter().for_each(|error| println!("  {error}"));
    let holds = failed.is_empty() && served.len() == 4 && began.elapsed() <= SOON;
    println!("verdict: {}", if holds { "no call failed" } else { "FAILED" });
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The number of calls served, by the client's name and whether they used gRPC.
fn served(service: &Collector) -> BTreeMap<(String, bool), usize> {
    let mut served = BTreeMap::new();
    for request in service.requests() {
        let client = request.client_certificate.as_ref().and_then(|client| client.common_name());
        *served.entry((client.unwrap_or_default().to_owned(), request.grpc)).or_default() += 1;
    }
    served
}

/// It sets ALPN itself.
fn reqwest_client(config: &Arc<ClientConfig>) -> Result<reqwest::Client, BoxError> {
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(ClientConfig::clone(config))
        .no_proxy()
        .pool_max_idle_per_host(0);
    Ok(client.build()?)
}

/// tonic takes a connector instead of a configuration. With one of its TLS features in the build it does not connect to
/// `https://` by any, so that one is only the origin.
fn tonic_channel(config: &Arc<ClientConfig>, endpoint: &str) -> Result<Channel, BoxError> {
    let mut config = ClientConfig::clone(config);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let dialled = Endpoint::from_shared(endpoint.replace("https://", "http://"))?;
    let tls = TlsConnector::from(Arc::new(config));
    Ok(dialled.origin(endpoint.parse()?).connect_with_connector_lazy(Dial(tls)))
}

#[derive(Clone)]
struct Dial(TlsConnector);

impl Service<Uri> for Dial {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let tls = self.0.clone();
        Box::pin(async move {
            let host = uri.host().unwrap_or_default().to_owned();
            let tcp = TcpStream::connect((host.as_str(), uri.port_u16().unwrap_or(443))).await?;
            Ok(TokioIo::new(tls.connect(ServerName::try_from(host)?, tcp).await?))
        })
    }
}
