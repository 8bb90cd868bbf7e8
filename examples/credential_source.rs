//! Credentials from elsewhere than files: a service issues them, a hardware module keeps the key.
//!
//! `cargo run --example credential_source` starts a collector that demands mutual TLS, and exports
//! to it while certificates run out and are replaced. The service and the module are in memory
//! here; Vault, a SPIFFE agent or PKCS#11 would be asked at the same places.

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

/// For how long a certificate is used; in earnest some two thirds of its lifetime, which is hours.
const LEASE: Duration = Duration::from_millis(300);

/// How many signatures the module has made.
static SIGNATURES: AtomicUsize = AtomicUsize::new(0);

/// Issues a client certificate whenever it is asked.
#[derive(Debug)]
struct Vault {
    pki: Arc<Pki>,
    /// When the last certificate was issued, and how many there are.
    issued: Mutex<Option<(Instant, usize)>>,
}

impl CredentialSource for Vault {
    fn load(&self) -> Result<Credentials, Box<dyn Error + Send + Sync>> {
        let mut issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        let number = issued.map_or(1, |(_, number)| number + 1);
        let identity = self.pki.client_named(&format!("checkout, issue {number}"));
        let key = HsmKey(any_supported_type(&identity.key_der())?);
        let ca = CertificateDer::from_pem_slice(self.pki.ca_pem().as_bytes())?;
        // After all that can fail: what did is tried again.
        *issued = Some((Instant::now(), number));
        Ok(Credentials::new()
            .with_trust_anchors([ca])
            .with_signing_key(identity.certificate_ders().to_vec(), Arc::new(key)))
    }

    /// Without this, each look would have a certificate issued.
    fn may_have_changed(&self) -> bool {
        let issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        issued.is_none_or(|(at, _)| at.elapsed() >= LEASE)
    }
}

/// A key that signs and does not show itself. In a real one there is a session with the module.
#[derive(Debug)]
struct HsmKey(Arc<dyn SigningKey>);

impl SigningKey for HsmKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        Some(Box::new(HsmSigner(self.0.choose_scheme(offered)?)))
    }

    /// With it, a certificate for another key is refused when it is loaded, not in a handshake.
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
        // The source is asked with every export whether it has something new.
        .with_reload_interval(Duration::ZERO)
        .build()?;
    let provider =
        SdkTracerProvider::builder().with_batch_exporter(exporters.span_exporter()?).build();

    while exporters.status().credentials[0].generation < 2 {
        provider.tracer("credential_source").start("work").end();
        provider.force_flush()?;
        thread::sleep(LEASE / 10); // a quiet service
    }

    for (connection, client) in collector.client_certificates().iter().enumerate() {
        let requests = collector.requests();
        let spans = requests.iter().filter(|request| request.connection == connection).count();
        println!("connection {connection}: {spans} spans from {}", client.subject());
    }
    let (handshakes, signatures) = (collector.handshakes(), SIGNATURES.load(Ordering::Relaxed));
    println!("{handshakes} handshakes, for which the key has signed {signatures} times");
    Ok(())
}
