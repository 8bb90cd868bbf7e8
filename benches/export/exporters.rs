//! Our exporters, and those of hand-wired opentelemetry-otlp.

use std::fs;
use std::path::PathBuf;

use opentelemetry_otlp::{WithExportConfig, WithHttpConfig, WithTonicConfig};
use opentelemetry_sdk::trace::SpanExporter;
use otlp_mtls::{Exporters, Pem, Protocol};
use tonic::transport::ClientTlsConfig;

use crate::sink_process::Sink;

pub(crate) fn ours(sink: &Sink, protocol: Protocol, mtls: bool) -> Exporters {
    let mut builder = Exporters::builder()
        .with_env(|_| None)
        .with_endpoint(sink.endpoint(mtls))
        .with_protocol(protocol);
    if mtls {
        let (certificate, key) = sink.client();
        builder = builder
            .with_ca_certificate(Pem::bytes(read(sink.ca())))
            .with_client_identity(Pem::bytes(read(certificate)), Pem::bytes(read(key)));
    }
    builder.build().expect("exporters")
}

pub(crate) fn tonic(sink: &Sink, mtls: bool) -> impl SpanExporter + use<> {
    let mut builder =
        opentelemetry_otlp::SpanExporter::builder().with_tonic().with_endpoint(sink.endpoint(mtls));
    if mtls {
        builder = builder.with_tls_config(tonic_tls(sink));
    }
    builder.build().expect("an exporter")
}

fn tonic_tls(sink: &Sink) -> ClientTlsConfig {
    let (certificate, key) = sink.client();
    ClientTlsConfig::new()
        .ca_certificate(tonic::transport::Certificate::from_pem(read(sink.ca())))
        .identity(tonic::transport::Identity::from_pem(read(certificate), read(key)))
}

pub(crate) fn reqwest(sink: &Sink, mtls: bool, http1: bool) -> impl SpanExporter + use<> {
    let mut client = reqwest::Client::builder();
    if mtls {
        let ca = reqwest::Certificate::from_pem(&read(sink.ca())).expect("a certificate");
        let (certificate, key) = sink.client();
        let identity = [read(key), read(certificate)].concat();
        let identity = reqwest::Identity::from_pem(&identity).expect("an identity");
        client = client.tls_certs_only([ca]).identity(identity);
    }
    if http1 {
        client = client.http1_only();
    }
    opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_protocol(opentelemetry_otlp::Protocol::HttpBinary)
        // Used as it is, unlike the endpoint variable.
        .with_endpoint(format!("{}/v1/traces", sink.endpoint(mtls)))
        .with_http_client(client.build().expect("a client"))
        .build()
        .expect("an exporter")
}

fn read(path: PathBuf) -> Vec<u8> {
    fs::read(path).expect("a file of the sink's")
}
