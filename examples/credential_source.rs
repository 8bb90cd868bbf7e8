//! Credentials that do not come from files: a service issues certificates, and a hardware module keeps the key.
//!
//! `cargo run --example credential_source` starts a collector that requires mutual TLS, and exports to it while
//! certificates expire and are replaced. The service and the module are simulated in memory. A real
//! implementation calls Vault, a SPIFFE agent or PKCS#11 in the same places.

use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use opentelemetry::trace::{Span, Tracer, TracerProvider};
use opentelemetry_sdk::trace::SdkTracerProvider;
use otlp_mtls::rustls::crypto::aws_lc_rs::sign::any_supported_type;
use otlp_mtls::rustls::pki_types::pem::PemObject;
use otlp_mtls::rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use otlp_mtls::rustls::sign::{Signer, SigningKey};
use otlp_mtls::rustls::{self, SignatureAlgorithm, SignatureScheme};
use otlp_mtls::testing::{Collector, Fixture, Pki};
use otlp_mtls::{CredentialSource, Credentials, Exporters};

/// How long a certificate is used. In production this is about two thirds of its lifetime of hours.
const LEASE: Duration = Duration::from_millis(300);

/// The number of signatures that the module has made.
static SIGNATURES: AtomicUsize = AtomicUsize::new(0);

/// Issues a new client certificate for each request.
#[derive(Debug)]
struct Vault {
    pki: Arc<Pki>,
    /// The time and number of the last certificate.
    issued: Mutex<Option<(Instant, usize)>>,
}

impl CredentialSource for Vault {
    fn load(&self) -> Result<Credentials, Box<dyn Error + Send + Sync>> {
        let mut issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        let number = issued.map_or(1, |(_, number)| number + 1);
        let identity = self.pki.client_named(&format!("checkout, issue {number}"));
        let key = HsmKey(any_supported_type(&identity.key_der())?);
        let ca = CertificateDer::from_pem_slice(self.pki.ca_pem().as_bytes())?;
        // Set only after everything that can fail, so that a failure is retried.
        *issued = Some((Instant::now(), number));
        Ok(Credentials::new()
            .with_trust_anchors([ca])
            .with_signing_key(identity.certificate_ders().to_vec(), Arc::new(key)))
    }

    /// Prevents a new certificate from being issued at every check.
    fn may_have_changed(&self) -> bool {
        let issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        issued.is_none_or(|(at, _)| at.elapsed() >= LEASE)
    }
}

/// A key that can sign but cannot be exported. A real one holds a session with the module.
#[derive(Debug)]
struct HsmKey(Arc<dyn SigningKey>);

impl SigningKey for HsmKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        Some(Box::new(HsmSigner(self.0.choose_scheme(offered)?)))
    }

    /// Lets a mismatch of certificate and key be rejected on loading, before any handshake.
    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        self.0.public_key()
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.0.algorithm()
    }
}

#[derive(Debug)]
struct HsmSigner(Box<dyn Signer>);

impl Signer for HsmSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        SIGNATURES.fetch_add(1, Ordering::Relaxed);
        self.0.sign(message)
    }

    fn scheme(&self) -> SignatureScheme {
        self.0.scheme()
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let pki = Arc::new(Pki::new());
    let collector = Collector::builder()
        .with_tls(pki.server(Fixture::Good))
        .with_client_ca(pki.ca_pem())
        .start()?;
    let exporters = Exporters::builder()
        .with_endpoint(collector.endpoint())
        .with_credential_source(Vault { pki, issued: Mutex::default() })
        // Ask the source before every export.
        .with_reload_interval(Duration::ZERO)
        .build()?;
    let provider =
        SdkTracerProvider::builder().with_batch_exporter(exporters.span_exporter()?).build();

    while exporters.status().credentials[0].generation < 2 {
        provider.tracer("credential_source").start("work").end();
        provider.force_flush()?;
        thread::sleep(LEASE / 10); // an almost idle service
    }

    for (connection, client) in collector.client_certificates().iter().enumerate() {
        let requests = collector.requests();
        let spans = requests.iter().filter(|request| request.connection == connection).count();
        println!("connection {connection}: {spans} spans from {}", client.subject());
    }
    let (handshakes, signatures) = (collector.handshakes(), SIGNATURES.load(Ordering::Relaxed));
    println!("{handshakes} handshakes, {signatures} signatures");
    Ok(())
}
