//! Which servers a service trusts.

pub(crate) mod authority;
mod entries;
mod issuers;
mod spiffe;
mod store;

use otlp_mtls::rustls::SupportedProtocolVersion;
use otlp_mtls::rustls::pki_types::CertificateDer;
use otlp_mtls::rustls::version::{TLS12, TLS13};
use otlp_mtls::testing::{Collector, Identity};
use otlp_mtls::{ExportersBuilder, Failure, Pem, Signal};

use crate::support::{builder, export, last_failure, once};

/// The contents of the CA file.
pub(crate) fn pem(certificates: &[CertificateDer<'static>]) -> String {
    let pem = |der: &CertificateDer<'_>| pem::encode(&pem::Pem::new("CERTIFICATE", der.to_vec()));
    certificates.iter().map(pem).collect()
}

fn quiet(builder: ExportersBuilder) -> ExportersBuilder {
    once(builder).with_failure_handler(|_| {})
}

/// One export to a server with this identity.
fn try_export(
    builder: ExportersBuilder,
    server: &Identity,
    version: &'static SupportedProtocolVersion,
) -> Result<(), Failure> {
    let collector = Collector::builder()
        .with_tls(server.clone())
        .with_tls_versions(&[version])
        .start()
        .unwrap();
    let exporters = quiet(builder).with_endpoint(collector.endpoint()).build().unwrap();
    let exported = export(&exporters, Signal::Traces);
    exported.map_err(|_error| last_failure(&exporters, Signal::Traces))
}

fn trusting(anchors: &[CertificateDer<'static>]) -> ExportersBuilder {
    builder().with_ca_certificate(Pem::bytes(pem(anchors)))
}

#[track_caller]
fn accepted(case: &str, anchors: &[CertificateDer<'static>], server: &Identity) {
    for version in [&TLS12, &TLS13] {
        if let Err(failure) = try_export(trusting(anchors), server, version) {
            panic!("{case}, {version:?}: {failure}");
        }
    }
}

#[track_caller]
fn refused(case: &str, anchors: &[CertificateDer<'static>], server: &Identity) -> Failure {
    let [_, failure] = [&TLS12, &TLS13].map(|version| {
        try_export(trusting(anchors), server, version).expect_err(&format!("{case}, {version:?}"))
    });
    failure
}
