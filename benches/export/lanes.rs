//! The exporters that run against each other.

use opentelemetry_otlp::{WithExportConfig, WithHttpConfig, WithTonicConfig};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use otlp_mtls::{Exporters, Pem, Protocol};
use tokio::runtime::Handle;
use tonic::transport::ClientTlsConfig;

use crate::sink::Sink;

pub(crate) struct Lane {
    pub(crate) case: &'static str,
    pub(crate) side: Side,
    export: Box<dyn Fn(Vec<SpanData>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Ours,
    HandWired,
    /// Without reqwest's HTTP/2, which opentelemetry-otlp's own features leave out.
    HandWiredHttp1,
    /// With a rustls configuration, so that there are no credentials to look at.
    NoLook,
    /// With files, at the default reload interval.
    Look,
    /// With files that are looked at with each export.
    LookAlways,
}

impl Side {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::HandWired => "hand-wired",
            Self::HandWiredHttp1 => "hand-wired-http1",
            Self::NoLook => "no-look",
            Self::Look => "look-10s",
            Self::LookAlways => "look-always",
        }
    }
}

impl Lane {
    pub(crate) fn new<E: SpanExporter + 'static>(
        (case, side): (&'static str, Side),
        runtime: &Handle,
        exporter: E,
    ) -> Self {
        let runtime = runtime.clone();
        let export = Box::new(move |batch| {
            runtime.block_on(exporter.export(batch)).expect("the sink accepts all");
        });
        Self { case, side, export }
    }

    pub(crate) fn export(&self, batch: Vec<SpanData>) {
        (self.export)(batch);
    }
}

/// Every lane, those of one case side by side.
pub(crate) fn all(sink: &Sink, runtime: &Handle) -> Vec<Lane> {
    // tonic's channel and reqwest's client look for the runtime when they are made.
    let _context = runtime.enter();
    let plaintext = ("http", sink.plaintext_port, false);
    let mtls = ("https", sink.mtls_port, true);
    let mut lanes = Vec::new();
    for (grpc, http, server) in
        [("grpc/plaintext", "http/plaintext", plaintext), ("grpc/mtls", "http/mtls", mtls)]
    {
        let (scheme, port, is_mtls) = server;
        let endpoint = format!("{scheme}://localhost:{port}");
        let ours = |protocol| ours(sink, endpoint.clone(), protocol, is_mtls);
        lanes.extend([
            Lane::new((grpc, Side::Ours), runtime, ours(Protocol::Grpc)),
            Lane::new((grpc, Side::HandWired), runtime, tonic(sink, &endpoint, is_mtls)),
            Lane::new((http, Side::Ours), runtime, ours(Protocol::HttpProtobuf)),
            Lane::new((http, Side::HandWired), runtime, reqwest(sink, &endpoint, is_mtls, false)),
        ]);
        if is_mtls {
            let exporter = reqwest(sink, &endpoint, is_mtls, true);
            lanes.push(Lane::new((http, Side::HandWiredHttp1), runtime, exporter));
        }
    }
    lanes
}

fn ours(sink: &Sink, endpoint: String, protocol: Protocol, mtls: bool) -> otlp_mtls::SpanExporter {
    let mut builder =
        Exporters::builder().with_env(|_| None).with_endpoint(endpoint).with_protocol(protocol);
    if mtls {
        builder =
            builder.with_ca_certificate(Pem::bytes(sink.ca_pem.as_str())).with_client_identity(
                Pem::bytes(sink.client.certificate_pem()),
                Pem::bytes(sink.client.key_pem()),
            );
    }
    builder.build().and_then(|exporters| exporters.span_exporter()).expect("an exporter")
}

fn tonic(sink: &Sink, endpoint: &str, mtls: bool) -> impl SpanExporter + use<> {
    let mut builder =
        opentelemetry_otlp::SpanExporter::builder().with_tonic().with_endpoint(endpoint);
    if mtls {
        let identity = tonic::transport::Identity::from_pem(
            sink.client.certificate_pem(),
            sink.client.key_pem(),
        );
        builder = builder.with_tls_config(
            ClientTlsConfig::new()
                .ca_certificate(tonic::transport::Certificate::from_pem(&sink.ca_pem))
                .identity(identity),
        );
    }
    builder.build().expect("an exporter")
}

fn reqwest(sink: &Sink, endpoint: &str, mtls: bool, http1: bool) -> impl SpanExporter + use<> {
    let mut client = reqwest::Client::builder();
    if mtls {
        let ca = reqwest::Certificate::from_pem(sink.ca_pem.as_bytes()).expect("a certificate");
        let identity = format!("{}{}", sink.client.key_pem(), sink.client.certificate_pem());
        let identity = reqwest::Identity::from_pem(identity.as_bytes()).expect("an identity");
        client = client.tls_certs_only([ca]).identity(identity);
    }
    if http1 {
        client = client.http1_only();
    }
    opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_protocol(opentelemetry_otlp::Protocol::HttpBinary)
        // Taken as it stands, unlike the variable of the same meaning.
        .with_endpoint(format!("{endpoint}/v1/traces"))
        .with_http_client(client.build().expect("a client"))
        .build()
        .expect("an exporter")
}
