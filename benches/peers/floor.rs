//! The floor: the same work, but each request is encoded in advance, and sent by the plainest client: one thread for
//! I/O as ours has it, hyper on one HTTP/2 connection, nothing that fails, retries, counts or rotates.
//!
//! "In advance" is once, from the first batch of each size: the batches are alike.

mod work;

use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, TE};
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::logs::tonic::group_logs_by_resource_and_scope;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::logs::{LogBatch, LogExporter};
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use prost::Message;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle};
use tokio_rustls::TlsConnector;
use work::{Signal, Work};

type Failure = Box<dyn Error + Send + Sync>;

pub(crate) fn main() -> Result<(), Failure> {
    // As a service has it.
    let _runtime = tokio::runtime::Runtime::new()?;
    let work = Work::from_arguments();
    let signal = work.signal;
    let exporter = Floor::connect(signal)?;
    match signal {
        Signal::Traces => work.traces(exporter),
        Signal::Logs => work.logs(exporter),
        Signal::Metrics => work.metrics(exporter),
    }
    Ok(())
}

struct Floor {
    io: Handle,
    client: SendRequest<Full<Bytes>>,
    uri: String,
    is_grpc: bool,
    resource: ResourceAttributesWithSchema,
    /// By the number of items
    encoded: Mutex<Option<(usize, Bytes)>>,
}

impl Floor {
    fn connect(signal: Signal) -> Result<Self, Failure> {
        let endpoint = variable("ENDPOINT")?;
        let is_grpc = variable("PROTOCOL")? == "grpc";
        let path = match (signal, is_grpc) {
            (Signal::Traces, true) => "opentelemetry.proto.collector.trace.v1.TraceService/Export",
            (Signal::Logs, true) => "opentelemetry.proto.collector.logs.v1.LogsService/Export",
            (Signal::Metrics, true) => {
                "opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
            }
            (Signal::Traces, false) => "v1/traces",
            (Signal::Logs, false) => "v1/logs",
            (Signal::Metrics, false) => "v1/metrics",
        };
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let io = runtime.handle().clone();
        std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
        let address = endpoint.trim_start_matches("https://").to_owned();
        let dial = io.spawn(dial(address));
        let client = Builder::new_current_thread().build()?.block_on(dial)??;
        Ok(Self {
            io,
            client,
            uri: format!("{endpoint}/{path}"),
            is_grpc,
            resource: ResourceAttributesWithSchema::default(),
            encoded: Mutex::default(),
        })
    }

    /// Sends what `encode` once made of a batch of this size.
    async fn send<M: Message>(&self, items: usize, encode: impl FnOnce() -> M) -> OTelSdkResult {
        let body = self.encoded(items, encode);
        let mut client = self.client.clone();
        let request = self.request(body);
        let exchange = self.io.spawn(async move {
            let response = client.send_request(request).await?;
            response.into_body().collect().await.map(|_| ())
        });
        let failed = |error: &dyn fmt::Display| OTelSdkError::InternalFailure(error.to_string());
        exchange.await.map_err(|error| failed(&error))?.map_err(|error| failed(&error))
    }

    fn encoded<M: Message>(&self, items: usize, encode: impl FnOnce() -> M) -> Bytes {
        let mut encoded = self.encoded.lock().expect("no panic");
        match &*encoded {
            Some((count, body)) if *count == items => body.clone(),
            _ => {
                let message = encode().encode_to_vec();
                let mut body = Vec::new();
                if self.is_grpc {
                    body.push(0);
                    body.extend_from_slice(&(message.len() as u32).to_be_bytes());
                }
                body.extend_from_slice(&message);
                encoded.insert((items, body.into())).1.clone()
            }
        }
    }

    fn request(&self, body: Bytes) -> Request<Full<Bytes>> {
        let content_type = if self.is_grpc { "application/grpc" } else { "application/x-protobuf" };
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.parse().expect("an endpoint and a path");
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if self.is_grpc {
            headers.insert(TE, HeaderValue::from_static("trailers"));
        }
        request
    }
}

async fn dial(address: String) -> Result<SendRequest<Full<Bytes>>, Failure> {
    let tcp = TcpStream::connect(&address).await?;
    tcp.set_nodelay(true)?;
    let tls = TlsConnector::from(Arc::new(tls()?));
    let stream = tls.connect(ServerName::try_from("localhost")?, tcp).await?;
    let io = TokioIo::new(stream);
    let (client, connection) = http2::handshake(TokioExecutor::new(), io).await?;
    tokio::spawn(connection);
    Ok(client)
}

fn tls() -> Result<ClientConfig, Failure> {
    let mut roots = RootCertStore::empty();
    for ca in CertificateDer::pem_file_iter(variable("CERTIFICATE")?)? {
        roots.add(ca?)?;
    }
    let chain = CertificateDer::pem_file_iter(variable("CLIENT_CERTIFICATE")?)?;
    let key = PrivateKeyDer::from_pem_file(variable("CLIENT_KEY")?)?;
    let mut config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain.collect::<Result<_, _>>()?, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

fn variable(name: &str) -> Result<String, std::env::VarError> {
    std::env::var(format!("OTEL_EXPORTER_OTLP_{name}"))
}

impl SpanExporter for Floor {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let encode = || ExportTraceServiceRequest {
            resource_spans: group_spans_by_resource_and_scope(batch.clone(), &self.resource),
        };
        self.send(batch.len(), encode).await
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.resource = resource.into();
    }
}

impl LogExporter for Floor {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        let encode = || ExportLogsServiceRequest {
            resource_logs: group_logs_by_resource_and_scope(&batch, &self.resource),
        };
        self.send(batch.iter().count(), encode).await
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.resource = resource.into();
    }
}

impl PushMetricExporter for Floor {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        // Each has all the series.
        self.send(0, || ExportMetricsServiceRequest::from(metrics)).await
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        Temporality::Cumulative
    }
}

impl fmt::Debug for Floor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Floor").field("uri", &self.uri).finish_non_exhaustive()
    }
}
