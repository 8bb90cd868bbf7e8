//! Other clients of the service, with the configuration that follows rotation: handshakes between rustls client and
//! server, without a socket. Nothing is exported.

use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use otlp_mtls::rustls::crypto::aws_lc_rs;
use otlp_mtls::rustls::pki_types::CertificateDer;
use otlp_mtls::rustls::pki_types::pem::PemObject;
use otlp_mtls::rustls::server::WebPkiClientVerifier;
use otlp_mtls::rustls::{
    self, CertificateError, ClientConfig, ClientConnection, HandshakeKind, RootCertStore,
    ServerConfig, ServerConnection, SupportedProtocolVersion,
};
use otlp_mtls::testing::{Fixture, Identity, Pki};
use otlp_mtls::{Credentials, Exporters, Signal};

use super::sources::{Source, credentials};
use super::{Files, HOUR, VERSIONS};
use crate::support::{builder, mtls_builder, mtls_collector, with_vars};

/// A port without a listener, because nothing is exported.
const ENDPOINT: &str = "https://localhost:1";

/// A server that requires a client certificate of this PKI.
fn server(
    pki: &Pki,
    identity: &Identity,
    version: &'static SupportedProtocolVersion,
) -> Arc<ServerConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pki.ca_pem().as_bytes()).unwrap()).unwrap();
    let clients =
        WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(&provider)).build();
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_client_cert_verifier(clients.unwrap())
        .with_single_cert(identity.certificate_ders().to_vec(), identity.key_der());
    Arc::new(config.unwrap())
}

/// Runs a complete handshake. Returns the certificate that the client presented, and the kind of handshake.
fn shake(
    config: &Arc<ClientConfig>,
    server: &Arc<ServerConfig>,
) -> Result<(CertificateDer<'static>, HandshakeKind), rustls::Error> {
    let name = "localhost".try_into().unwrap();
    let mut client = ClientConnection::new(Arc::clone(config), name).unwrap();
    let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
    while client.wants_write() || server.wants_write() {
        let mut flight = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut flight).unwrap();
        }
        server.read_tls(&mut flight.as_slice()).unwrap();
        server.process_new_packets()?;
        let mut flight = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut flight).unwrap();
        }
        client.read_tls(&mut flight.as_slice()).unwrap();
        client.process_new_packets()?;
    }
    let presented = server.peer_certificates().unwrap()[0].clone();
    Ok((presented, client.handshake_kind().unwrap()))
}

fn presented(config: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> CertificateDer<'static> {
    shake(config, server).unwrap().0
}

fn leaf(identity: &Identity) -> &CertificateDer<'static> {
    &identity.certificate_ders()[0]
}

/// A configuration that follows a source, at every handshake if the interval is zero.
fn following(source: &Source, interval: Duration) -> (Exporters, Arc<ClientConfig>) {
    let exporters = builder()
        .with_endpoint(ENDPOINT)
        .with_credential_source(source.clone())
        .with_reload_interval(interval)
        .build()
        .unwrap();
    let config = exporters.client_config(Signal::Traces).unwrap();
    (exporters, config)
}

#[test]
fn a_handshake_uses_the_current_identity_and_roots() {
    for version in VERSIONS {
        let pki = Pki::new();
        let files = Files::new(&pki);
        let [ca, certificate, key] =
            ["ca.crt", "client.crt", "client.key"].map(|name| files.path(name));
        let exporters =
            with_vars(vec![(super::CA, ca), (super::CERTIFICATE, certificate), (super::KEY, key)])
                .with_endpoint(ENDPOINT)
                .with_reload_interval(Duration::ZERO)
                .build()
                .unwrap();
        let config = exporters.client_config(Signal::Traces).unwrap();
        for signal in Signal::ALL {
            assert!(Arc::ptr_eq(&config, &exporters.client_config(signal).unwrap()));
        }
        // It does not depend on the exporters.
        drop(exporters);

        let good = server(&pki, &pki.server(Fixture::Good), version);
        let other = server(&pki, &pki.server(Fixture::OtherCa), version);
        let unknown = || Err(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer));
        for name in ["second", "third"] {
            let identity = pki.client_named(name);
            files.replace_identity(&identity);
            assert_eq!(&presented(&config, &good), leaf(&identity), "{name}");
            assert_eq!(shake(&config, &other), unknown());
        }
        files.replace("ca.crt", pki.other_ca_pem());
        shake(&config, &other).unwrap();
        assert_eq!(shake(&config, &good), unknown());
        // A certificate without its key is not used yet, and no handshake fails.
        let kept = presented(&config, &other);
        files.replace("client.crt", pki.client_named("fourth").certificate_pem());
        assert_eq!(presented(&config, &other), kept);
    }
}

#[test]
fn no_session_is_resumed_and_alpn_is_the_clients() {
    for version in VERSIONS {
        let (pki, collector) = mtls_collector();
        for protocol in crate::support::TRANSPORTS {
            let exporters = mtls_builder(&pki, &collector, protocol).build().unwrap();
            let config = exporters.client_config(Signal::Traces).unwrap();
            assert!(config.alpn_protocols.is_empty());
            let server = server(&pki, &pki.server(Fixture::Good), version);
            for _ in 0..3 {
                assert_eq!(shake(&config, &server).unwrap().1, HandshakeKind::Full);
            }
        }
    }
}

#[test]
fn within_the_interval_the_source_is_not_checked() {
    let pki = Pki::new();
    let clients = ["first", "second"].map(|name| pki.client_named(name));
    let source = {
        let given = clients.each_ref().map(|client| credentials(&pki, client));
        Source::new(move |load| Ok(given[load.min(1)].clone()))
    };
    let (exporters, config) = following(&source, HOUR);
    let server = server(&pki, &pki.server(Fixture::Good), VERSIONS[1]);
    for _ in 0..3 {
        assert_eq!(&presented(&config, &server), leaf(&clients[0]));
    }
    assert_eq!(source.loads(), 1);
    exporters.reload().unwrap();
    assert_eq!(&presented(&config, &server), leaf(&clients[1]));
    assert_eq!(source.loads(), 2);
}

/// Each load after the first one blocks until it is released.
#[test]
fn a_source_that_hangs_does_not_block_handshakes() {
    let pki = Pki::new();
    let clients = ["first", "second"].map(|name| pki.client_named(name));
    let (end, ends) = mpsc::channel::<()>();
    let source = {
        let given = clients.each_ref().map(|client| credentials(&pki, client));
        let ends = Mutex::new(ends);
        Source::new(move |load| {
            if load == 1 {
                let _ = ends.lock().unwrap().recv();
            }
            Ok(given[load.min(1)].clone())
        })
    };
    let (exporters, config) = following(&source, Duration::ZERO);
    let server = server(&pki, &pki.server(Fixture::Good), VERSIONS[1]);
    // On several threads, as in a service.
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..3 {
                    assert_eq!(&presented(&config, &server), leaf(&clients[0]));
                }
            });
        }
    });
    assert_eq!(source.loads(), 2, "one look hangs, and no other one is begun");
    end.send(()).unwrap();
    // Waits for that check.
    exporters.reload().unwrap();
    assert_eq!(&presented(&config, &server), leaf(&clients[1]));
}

#[test]
fn a_source_that_panics_does_not_fail_handshakes() {
    let pki = Pki::new();
    let clients = ["first", "second"].map(|name| pki.client_named(name));
    let source = {
        let given = clients.each_ref().map(|client| credentials(&pki, client));
        Source::new(move |load| match load {
            0 => Ok(given[0].clone()),
            1 => panic!("sealed"),
            _ => Ok(given[1].clone()),
        })
    };
    let (exporters, config) = following(&source, Duration::ZERO);
    let server = server(&pki, &pki.server(Fixture::Good), VERSIONS[1]);
    // Each handshake checks twice: for the identity, and for the roots.
    shake(&config, &server).unwrap();
    assert_eq!(&presented(&config, &server), leaf(&clients[1]));
    assert_eq!(exporters.status().credentials[0].refusals, 1);
}

/// A source may itself be a client that uses the configuration, for example one of Vault.
#[test]
fn a_source_may_use_the_configuration_that_it_serves() {
    let pki = Pki::new();
    let clients = ["first", "second"].map(|name| pki.client_named(name));
    let own = Arc::new(Mutex::new(None::<Arc<ClientConfig>>));
    let server = server(&pki, &pki.server(Fixture::Good), VERSIONS[1]);
    let source = {
        let given = clients.each_ref().map(|client| credentials(&pki, client));
        let (own, server) = (Arc::clone(&own), Arc::clone(&server));
        Source::new(move |load| {
            let config = own.lock().unwrap().clone();
            if let Some(config) = config {
                shake(&config, &server).map_err(|error| error.to_string())?;
            }
            Ok::<Credentials, _>(given[load.min(1)].clone())
        })
    };
    let (exporters, config) = following(&source, Duration::ZERO);
    *own.lock().unwrap() = Some(Arc::clone(&config));
    shake(&config, &server).unwrap();
    // This waits for a new check.
    exporters.reload().unwrap();
    assert_eq!(&presented(&config, &server), leaf(&clients[1]));
}

/// Other exporters are such a client, too: their handshakes run on the I/O thread.
#[test]
fn other_exporters_may_have_it() {
    let (pki, collector) = mtls_collector();
    for protocol in crate::support::TRANSPORTS {
        let given = credentials(&pki, &pki.client_named("first"));
        let source = Source::new(move |_| Ok(given.clone()));
        let (_exporters, config) = following(&source, Duration::ZERO);
        let others = builder()
            .with_endpoint(collector.endpoint())
            .with_protocol(protocol)
            .with_rustls_config(config)
            .build()
            .unwrap();
        crate::support::export(&others, Signal::Traces).unwrap();
        let shared = others.client_config(Signal::Traces).unwrap();
        assert!(shared.alpn_protocols.is_empty());
    }
}
