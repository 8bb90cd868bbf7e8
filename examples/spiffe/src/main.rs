//! Exports spans to a collector with a SPIFFE ID, with a rotating SVID from the Workload API.
//!
//! `spiffe-example ID SECONDS` exports continuously for that time, to the endpoint in `OTEL_EXPORTER_OTLP_ENDPOINT`. The
//! Workload API is that of `SPIFFE_ENDPOINT_SOCKET`.

use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use otlp_mtls::opentelemetry::trace::{Span, Tracer, TracerProvider};
use otlp_mtls::opentelemetry_sdk::trace::SdkTracerProvider;
use otlp_mtls::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use otlp_mtls::{CredentialSource, Credentials, Exporters, Protocol};
use spiffe::{BundleSource, X509Source};

type BoxError = Box<dyn Error + Send + Sync>;

/// The SVID of this workload, and the bundle of its trust domain. The crate `spiffe` keeps both up to date, so
/// loading only reads them.
#[derive(Debug)]
struct Workload(X509Source);

impl CredentialSource for Workload {
    fn load(&self) -> Result<Credentials, BoxError> {
        let svid = self.0.svid()?;
        let domain = svid.spiffe_id().trust_domain();
        let bundle = self.0.bundle_for_trust_domain(domain)?.ok_or("there is no trust bundle")?;
        let certificate = |der: &spiffe::Certificate| CertificateDer::from(der.as_bytes().to_vec());
        let key = PrivatePkcs8KeyDer::from(svid.private_key().as_bytes().to_vec());
        Ok(Credentials::new()
            .with_trust_anchors(bundle.authorities().iter().map(certificate))
            .with_identity(svid.cert_chain().iter().map(certificate), key.into()))
    }
}

#[tokio::main]
async fn main() -> Result<ExitCode, BoxError> {
    let mut arguments = std::env::args().skip(1);
    let id = arguments.next().ok_or("the collector's SPIFFE ID")?;
    let seconds = arguments.next().ok_or("for how many seconds")?.parse()?;

    let exporters = Exporters::builder()
        .with_defaults(|defaults| defaults.with_protocol(Protocol::Grpc))
        .with_credential_source(Workload(X509Source::new().await?))
        .with_server_spiffe_id(id)
        .with_reload_interval(Duration::from_secs(1))
        .build()?;
    let exporter = exporters.span_exporter()?;
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).build();
    let tracer = provider.tracer("spiffe");

    let (began, mut spans, mut generation) = (Instant::now(), 0, None);
    while began.elapsed() < Duration::from_secs(seconds) {
        for credentials in exporters.status().credentials {
            if generation.replace(credentials.generation) != Some(credentials.generation) {
                let leaf = credentials.chain.first().map(ToString::to_string);
                let anchors = credentials.trust_anchors.len();
                println!(
                    "{:3} s: generation {}: {}, {anchors} in the bundle",
                    began.elapsed().as_secs(),
                    credentials.generation,
                    leaf.unwrap_or_default(),
                );
            }
        }
        tracer.start("a span").end();
        spans += 1;
        let exported = tokio::task::spawn_blocking({
            let provider = provider.clone();
            move || provider.force_flush()
        });
        // The first failure of each kind is written to standard error, and all are counted below.
        let _ = exported.await?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let status = exporters.status();
    let delivered: u64 = status.exports.iter().map(|export| export.delivered).sum();
    println!(
        "{delivered} of {spans} spans delivered, by {} generations",
        generation.unwrap_or(0) + 1
    );
    Ok(if delivered == spans { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
