//! The ways to fail.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use otlp_mtls::Protocol::{self, Grpc, HttpProtobuf};
use otlp_mtls::failure::Side;
use otlp_mtls::rustls::client::danger::HandshakeSignatureValid;
use otlp_mtls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use otlp_mtls::rustls::pki_types::pem::PemObject;
use otlp_mtls::rustls::pki_types::{CertificateDer, UnixTime};
use otlp_mtls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use otlp_mtls::rustls::version::{TLS12, TLS13};
use otlp_mtls::rustls::{
    self, CertificateError, DigitallySignedStruct, DistinguishedName, ServerConfig,
    SignatureScheme, SupportedProtocolVersion,
};
use otlp_mtls::testing::{Accept, Collector, Fixture, Identity, Pki, Reply};
use otlp_mtls::{Compression, CredentialSource, Credentials, Pem, TlsVersion};

use http::HeaderMap;

use super::peer::{Deaf, Peer};
use super::{Case, Ground, Server, Setup};
use crate::support::{NOBODY, tls_client};

const BOTH: &[Protocol] = &[Grpc, HttpProtobuf];

pub(super) const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
pub(super) const CA: &str = "OTEL_EXPORTER_OTLP_CERTIFICATE";
pub(super) const CA_FILE: &str = "/etc/otel/certs/ca.crt";
pub(super) const CLIENT: &str = "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE";
pub(super) const CLIENT_FILE: &str = "/etc/otel/certs/client.crt";
const COMPRESSION: &str = "OTEL_EXPORTER_OTLP_COMPRESSION or with_compression()";
const CONFIG: &str = "with_rustls_config()";
const SOURCE: &str = "with_credential_source()";

pub(super) const CASES: &[Case] = &[
    // The way there.
    Case {
        name: "The host's name cannot be resolved",
        kind: "resolve",
        refused_by: None,
        names: &[ENDPOINT, "collector.invalid"],
        protocols: BOTH,
        connections: None,
        setup: |ground| nobody(ground, "https://collector.invalid:4317".to_owned(), 4317),
    },
    Case {
        name: "Nothing listens",
        kind: "connection_refused",
        refused_by: Some(Side::Server),
        names: &[ENDPOINT],
        protocols: BOTH,
        connections: None,
        setup: |ground| nobody(ground, format!("https://localhost:{NOBODY}"), NOBODY),
    },
    Case {
        name: "TCP takes too long",
        kind: "connect_timeout",
        refused_by: None,
        names: &[ENDPOINT],
        protocols: BOTH,
        connections: None,
        setup: |ground| {
            let deaf = Deaf::start();
            let setup = nobody(ground, format!("https://{}", deaf.addr), deaf.addr.port());
            let builder = setup
                .builder
                .with_connect_timeout(Duration::from_millis(300))
                .with_retry(otlp_mtls::RetryPolicy::disabled());
            Setup { server: Server::Deaf(deaf), builder, ..setup }
        },
    },
    Case {
        name: "A proxy wants to know who we are",
        kind: "proxy_refused",
        refused_by: Some(Side::Server),
        names: &["HTTPS_PROXY", "407"],
        protocols: BOTH,
        connections: Some(1),
        setup: |ground| {
            proxied(
                ground,
                b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n",
            )
        },
    },
    Case {
        name: "A proxy does not let us through",
        kind: "proxy_refused",
        refused_by: Some(Side::Server),
        names: &["NO_PROXY", "403"],
        protocols: BOTH,
        connections: Some(1),
        setup: |ground| proxied(ground, b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n"),
    },
    Case {
        name: "A proxy is not there",
        kind: "proxy_unreachable",
        refused_by: None,
        names: &["HTTPS_PROXY", "NO_PROXY"],
        protocols: BOTH,
        connections: None,
        setup: |ground| Setup { server: Server::Nobody, ..through_proxy(ground, NOBODY) },
    },
    // The collector's CA does not count for it.
    Case {
        name: "A proxy's certificate is from another CA",
        kind: "proxy_tls",
        refused_by: Some(Side::Us),
        names: &["the proxy localhost:4317", "with_proxy_ca_certificate()"],
        protocols: BOTH,
        connections: Some(1),
        setup: |ground| {
            let (server, port) = proxy(ground, Fixture::Good);
            let Setup { builder, .. } = through_secure_proxy(ground, port);
            let ca = ground.pki.other_ca_pem();
            let builder = builder.with_proxy_ca_certificate(Pem::bytes(ca));
            Setup { server, builder, port }
        },
    },
    Case {
        name: "A proxy's certificate is for another name",
        kind: "proxy_tls",
        refused_by: Some(Side::Us),
        names: &["expected: localhost, by HTTPS_PROXY"],
        protocols: BOTH,
        connections: Some(1),
        setup: |ground| {
            let (server, port) = proxy(ground, Fixture::WrongName);
            Setup { server, ..through_secure_proxy(ground, port) }
        },
    },
    Case {
        name: "A proxy does not speak TLS",
        kind: "proxy_tls",
        refused_by: Some(Side::Us),
        names: &["begin HTTPS_PROXY with http://"],
        protocols: BOTH,
        connections: Some(1),
        setup: |ground| {
            let answer = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
            let (peer, port) = listening(Peer::saying(answer));
            Setup { server: Server::Peer(peer), ..through_secure_proxy(ground, port) }
        },
    },
    // The two ends do not speak the same.
    Case {
        name: "The server says nothing in the handshake",
        kind: "handshake_timeout",
        refused_by: None,
        names: &[ENDPOINT, "with_connect_timeout()"],
        protocols: BOTH,
        connections: None,
        setup: |ground| {
            let setup = silent(ground);
            let builder = setup.builder.with_connect_timeout(Duration::from_millis(300));
            Setup { builder: builder.with_retry(otlp_mtls::RetryPolicy::disabled()), ..setup }
        },
    },
    Case {
        name: "The server says nothing in the handshake, and the timeout is shorter than it was meant",
        kind: "handshake_timeout",
        refused_by: None,
        names: &["OTEL_EXPORTER_OTLP_TIMEOUT (in milliseconds)", "300ms"],
        protocols: BOTH,
        connections: None,
        setup: |ground| {
            let setup = silent(ground);
            let timeout = [("OTEL_EXPORTER_OTLP_TIMEOUT", "300".to_owned())];
            let endpoint = format!("https://localhost:{}", setup.port);
            let builder = ground.exporters_with(endpoint, ground.pki.ca_pem(), None, &timeout);
            Setup { builder, ..setup }
        },
    },
    Case {
        name: "The server says nothing in the handshake until the export's timeout",
        kind: "handshake_timeout",
        refused_by: None,
        names: &[ENDPOINT, "1.2s", "with_timeout()"],
        protocols: BOTH,
        connections: None,
        setup: |ground| {
            let setup = silent(ground);
            let builder = setup.builder.with_timeout(Duration::from_millis(1200));
            Setup { builder, ..setup }
        },
    },
    Case {
        name: "TCP takes longer than the export's timeout",
        kind: "connect_timeout",
        refused_by: None,
        names: &["with_timeout()", "300ms"],
        protocols: BOTH,
        connections: None,
        setup: |ground| {
            let deaf = Deaf::start();
            let setup = nobody(ground, format!("https://{}", deaf.addr), deaf.addr.port());
            let builder = setup.builder.with_timeout(Duration::from_millis(300));
            Setup { server: Server::Deaf(deaf), builder, ..setup }
        },
    },
    Case {
        name: "TLS to a port that closes at once",
        kind: "not_tls",
        refused_by: None,
        names: &[ENDPOINT],
        protocols: BOTH,
        connections: None,
        setup: |ground| peer(ground, "https", Peer::resetting()),
    },
    Case {
        name: "TLS to a port of plaintext HTTP",
        kind: "not_tls",
        refused_by: Some(Side::Us),
        names: &[ENDPOINT, "http://"],
        protocols: BOTH,
        connections: Some(1),
        setup: |ground| {
            let answer = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n";
            peer(ground, "https", Peer::saying(answer))
        },
    },
    Case {
        name: "TLS to a port of plaintext gRPC",
        kind: "not_tls",
        refused_by: Some(Side::Us),
        names: &[ENDPOINT, "http://"],
        protocols: BOTH,
        connections: Some(1),
        setup: |ground| {
            // SETTINGS, with MAX_FRAME_SIZE.
            let settings = b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x05\x00\x00\x40\x00";
            peer(ground, "https", Peer::greeting(settings))
        },
    },
    Case {
        name: "TLS to a port of another protocol, SSH for one",
        kind: "not_tls",
        refused_by: Some(Side::Us),
        names: &[ENDPOINT, "4317", "4318"],
        protocols: BOTH,
        connections: Some(1),
        setup: |ground| peer(ground, "https", Peer::greeting(b"SSH-2.0-OpenSSH_9.6\r\n")),
    },
    Case {
        name: "Plaintext to a port of TLS, which answers with an alert",
        kind: "needs_tls",
        refused_by: Some(Side::Server),
        names: &[ENDPOINT, "https://"],
        protocols: BOTH,
        connections: Some(1),
        setup: |ground| {
            let setup = good(ground);
            let endpoint = format!("http://localhost:{}", setup.port);
            let builder = ground.exporters(endpoint, ground.pki.ca_pem(), None);
            Setup { builder, ..setup }
        },
    },
    Case {
        name: "Plaintext to a port of TLS, which answers with a page",
        kind: "needs_tls",
        refused_by: Some(Side::Server),
        names: &[ENDPOINT, "https://"],
        protocols: BOTH,
        connections: Some(1),
        setup: |ground| {
            // As Go does, and nginx with more words.
            let page = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
            peer(ground, "http", Peer::saying(page))
        },
    },
    Case {
        name: "Plaintext to a port of TLS, by an endpoint without a scheme",
        kind: "needs_tls",
        refused_by: Some(Side::Server),
        names: &[ENDPOINT, "https://"],
        protocols: &[Grpc],
        connections: Some(1),
        setup: |ground| {
            let setup = good(ground);
            let insecure = [("OTEL_EXPORTER_OTLP_INSECURE", "true".to_owned())];
            let endpoint = format!("localhost:{}", setup.port);
            let builder = ground.exporters_with(endpoint, ground.pki.ca_pem(), None, &insecure);
            Setup { builder, ..setup }
        },
    },
    Case {
        name: "gRPC to a server whose ALPN has no h2",
        kind: "no_http2",
        refused_by: Some(Side::Server),
        names: &[ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL", "with_assume_http2()"],
        protocols: &[Grpc],
        connections: Some(1),
        setup: |ground| with_alpn(ground, vec![b"http/1.1".to_vec()]),
    },
    Case {
        name: "gRPC to a server that knows no ALPN",
        kind: "no_http2",
        refused_by: Some(Side::Us),
        names: &[ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL", "with_assume_http2()"],
        protocols: &[Grpc],
        connections: Some(1),
        setup: |ground| with_alpn(ground, Vec::new()),
    },
    Case {
        name: "gRPC to a port of plaintext HTTP/1.1",
        kind: "no_http2",
        refused_by: Some(Side::Us),
        names: &[ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL", "4317", "4318"],
        protocols: &[Grpc],
        connections: Some(1),
        setup: |ground| {
            let answer = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n";
            peer(ground, "http", Peer::saying(answer))
        },
    },
    Case {
        name: "gRPC to a server of OTLP/HTTP",
        kind: "not_grpc",
        refused_by: Some(Side::Server),
        names: &[ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL", "404"],
        protocols: &[Grpc],
        connections: Some(1),
        setup: |ground| replying(ground, || Reply::Http { status: 404, headers: Vec::new() }),
    },
    Case {
        name: "OTLP/HTTP to a server of gRPC",
        kind: "only_grpc",
        refused_by: Some(Side::Us),
        names: &[ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL"],
        protocols: &[HttpProtobuf],
        connections: Some(1),
        setup: |ground| {
            replying(ground, || Reply::Http {
                status: 200,
                headers: vec![
                    ("content-type".to_owned(), "application/grpc".to_owned()),
                    ("grpc-status".to_owned(), "12".to_owned()),
                ],
            })
        },
    },
    Case {
        name: "OTLP/HTTP to a port of plaintext gRPC",
        kind: "only_grpc",
        refused_by: Some(Side::Us),
        names: &[ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL"],
        protocols: &[HttpProtobuf],
        connections: Some(1),
        setup: |ground| {
            let settings = b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x05\x00\x00\x40\x00";
            peer(ground, "http", Peer::greeting(settings))
        },
    },
    Case {
        name: "The server has no version of TLS that we may speak",
        kind: "tls_version",
        refused_by: Some(Side::Server),
        names: &["with_min_tls_version()"],
        protocols: BOTH,
        connections: Some(1),
        setup: |ground| {
            let setup = demanding(ground, &TLS12, Fixture::Good, |pki| pki.ca_pem().to_owned());
            Setup { builder: setup.builder.with_min_tls_version(TlsVersion::Tls13), ..setup }
        },
    },
    Case {
        name: "The server has no version of TLS that a configuration of one's own speaks",
        kind: "tls_version",
        refused_by: Some(Side::Server),
        names: &[CONFIG],
        protocols: BOTH,
        connections: Some(1),
        setup: |ground| {
            let setup = demanding(ground, &TLS12, Fixture::Good, own_ca);
            let config = tls_client(ground.pki.ca_pem(), None, &[&TLS13]);
            Setup { builder: setup.builder.with_rustls_config(config), ..setup }
        },
    },
    Case {
        name: "The server has no key exchange that we have",
        kind: "tls_cipher",
        refused_by: Some(Side::Server),
        names: &["with_crypto_provider()", "TLS13_AES_256_GCM_SHA384"],
        protocols: BOTH,
        connections: Some(1),
        setup: |ground| {
            let mut provider = aws_lc_rs::default_provider();
            provider.kx_groups = vec![aws_lc_rs::kx_group::X25519];
            let mut other = aws_lc_rs::default_provider();
            other.kx_groups = vec![aws_lc_rs::kx_group::SECP384R1];
            let server = tls(
                ground,
                other,
                &[&TLS13],
                rustls::server::WebPkiClientVerifier::no_client_auth(),
            );
            let (peer, port) = listening(Peer::tls(server));
            let builder = ground
                .exporters(format!("https://localhost:{port}"), ground.pki.ca_pem(), None)
                .with_crypto_provider(Arc::new(provider));
            Setup { server: Server::Peer(peer), builder, port }
        },
    },
    Case {
        name: "gRPC in plaintext to a port that resets the connection, as grpc-go's for TLS does",
        kind: "closed",
        refused_by: None,
        names: &[ENDPOINT, "https://", "check()"],
        protocols: &[Grpc],
        connections: Some(1),
        setup: |ground| peer(ground, "http", Peer::resetting()),
    },
    Case {
        name: "gRPC in plaintext to a port that closes at once, as many a port of TLS does",
        kind: "closed",
        refused_by: None,
        names: &[ENDPOINT, "https://"],
        protocols: &[Grpc],
        connections: Some(1),
        setup: |ground| peer(ground, "http", Peer::saying(b"")),
    },
    Case {
        name: "HTTP in plaintext to a port that closes at once, as many a port of TLS does",
        kind: "connection",
        refused_by: None,
        names: &[ENDPOINT, "https://"],
        protocols: &[HttpProtobuf],
        connections: None,
        setup: |ground| peer(ground, "http", Peer::saying(b"")),
    },
    // We refuse the server.
    server(
        "No CA that we trust has issued the server's certificate",
        "server_certificate_unknown_issuer",
        &[CA, CA_FILE, "CN=otlp-mtls other test ca", "CN=otlp-mtls test ca"],
        |ground| serving(ground, Fixture::OtherCa),
    ),
    server(
        "The server leaves its intermediate out",
        "server_certificate_unknown_issuer",
        &[CA, CA_FILE, "CN=otlp-mtls test intermediate", "configure the server to send it"],
        |ground| serving(ground, Fixture::MissingIntermediate),
    ),
    server(
        "No CA that we trust has issued the server's certificate, and the platform's roots are trusted too",
        "server_certificate_unknown_issuer",
        &[CA, CA_FILE, "CN=otlp-mtls test ca", "and the platform's roots"],
        |ground| {
            let setup = serving(ground, Fixture::OtherCa);
            Setup { builder: setup.builder.with_system_roots(true), ..setup }
        },
    ),
    server(
        "No CA of a credential source has issued the server's certificate",
        "server_certificate_unknown_issuer",
        &[SOURCE, "CN=otlp-mtls test ca"],
        |ground| {
            let setup = serving(ground, Fixture::OtherCa);
            let source = Source(Credentials::new().with_trust_anchors([ca(ground)]));
            Setup { builder: setup.builder.with_credential_source(source), ..setup }
        },
    ),
    server(
        "No CA of a configuration of one's own has issued the server's certificate",
        "server_certificate_unknown_issuer",
        &[CONFIG],
        |ground| {
            let setup = serving(ground, Fixture::OtherCa);
            let config = tls_client(ground.pki.ca_pem(), None, rustls::DEFAULT_VERSIONS);
            Setup { builder: setup.builder.with_rustls_config(config), ..setup }
        },
    ),
    server(
        "The server's certificate is self-signed",
        "server_certificate_self_signed",
        &[CA, CA_FILE],
        |ground| serving(ground, Fixture::SelfSigned),
    ),
    server(
        "The server uses a CA's certificate as its own",
        "server_certificate_is_a_ca",
        &[CA, CA_FILE],
        |ground| serving(ground, Fixture::CaUsedAsEndEntity),
    ),
    server(
        "The server's certificate is for another name",
        "server_certificate_wrong_name",
        &[ENDPOINT, "other.example", "localhost", "with_server_name()"],
        |ground| serving(ground, Fixture::WrongName),
    ),
    server(
        "The server has another SPIFFE ID than the expected one",
        "server_certificate_wrong_spiffe_id",
        &[ENDPOINT, "spiffe://corp.example/collector", "spiffe://corp.example/other"],
        |ground| with_spiffe_id(ground, "spiffe://corp.example/other"),
    ),
    server(
        "The server's SPIFFE ID is of another trust domain",
        "server_certificate_wrong_spiffe_id",
        &[ENDPOINT, "spiffe://corp.example/collector", "with_server_spiffe_id()"],
        |ground| with_spiffe_id(ground, "spiffe://other.example"),
    ),
    server(
        "The server's certificate has no name but a CN",
        "server_certificate_without_name",
        &[ENDPOINT, "-extfile", "subjectAltName=DNS:localhost"],
        |ground| serving(ground, Fixture::NoSan),
    ),
    server(
        "The server's certificate has no IP address",
        "server_certificate_without_ip_address",
        &[ENDPOINT, "127.0.0.1", "other.example", "subjectAltName=IP:127.0.0.1"],
        |ground| {
            let setup = serving(ground, Fixture::WrongName);
            let endpoint = format!("https://127.0.0.1:{}", setup.port);
            let builder = ground.exporters(endpoint, ground.pki.ca_pem(), None);
            Setup { builder, ..setup }
        },
    ),
    server(
        "The server's certificate has expired",
        "server_certificate_expired",
        &[ENDPOINT, "CN=localhost", "now: "],
        |ground| serving(ground, Fixture::Expired),
    ),
    server(
        "The server's certificate is not yet valid",
        "server_certificate_not_yet_valid",
        &[ENDPOINT, "clock"],
        |ground| serving(ground, Fixture::NotYetValid),
    ),
    server(
        "The server's certificate is X.509 version 1",
        "server_certificate_version_1",
        &[ENDPOINT, "-extfile"],
        |ground| serving(ground, Fixture::V1),
    ),
    server(
        "The server's certificate is for clients",
        "server_certificate_wrong_usage",
        &[ENDPOINT, "clientAuth", "extendedKeyUsage=serverAuth"],
        |ground| serving(ground, Fixture::WrongUsage),
    ),
    server(
        "Another CA of the same name has issued the server's certificate",
        "server_certificate_bad_signature",
        &[CA, CA_FILE],
        |ground| {
            let setup = serving(ground, Fixture::Good);
            let builder = ground.exporters(
                format!("https://localhost:{}", setup.port),
                Pki::new().ca_pem(),
                None,
            );
            Setup { builder, ..setup }
        },
    ),
    // The server refuses us.
    client(
        "TLS 1.3: a client certificate is demanded, and there is none",
        "client_certificate_required",
        &[CLIENT, "OTEL_EXPORTER_OTLP_CLIENT_KEY", "116", "CN=otlp-mtls test ca"],
        |ground| without(ground, &TLS13),
    ),
    client(
        "TLS 1.2: a client certificate is demanded, and there is none",
        "client_certificate_required",
        &[CLIENT, "OTEL_EXPORTER_OTLP_CLIENT_KEY", "CN=otlp-mtls test ca"],
        |ground| without(ground, &TLS12),
    ),
    client(
        "A client certificate is demanded, and a configuration of one's own has none",
        "client_certificate_required",
        &[CONFIG, "116"],
        |ground| {
            let setup = without(ground, &TLS13);
            let config = tls_client(ground.pki.ca_pem(), None, rustls::DEFAULT_VERSIONS);
            Setup { builder: setup.builder.with_rustls_config(config), ..setup }
        },
    ),
    client(
        "A client certificate is demanded, and a credential source has none",
        "client_certificate_required",
        &[SOURCE, "116"],
        |ground| {
            let setup = without(ground, &TLS13);
            let source = Source(Credentials::new().with_trust_anchors([ca(ground)]));
            Setup { builder: setup.builder.with_credential_source(source), ..setup }
        },
    ),
    closing(
        "A client certificate is asked for, there is none, and the server closes the connection",
        "client_certificate_required",
        &[CLIENT, "OTEL_EXPORTER_OTLP_CLIENT_KEY", "without a TLS alert"],
        |ground| closing_after_tls(ground, None),
    ),
    closing(
        "A client certificate is asked for and sent, and the server closes the connection",
        "client_certificate_refused",
        &[CLIENT, CLIENT_FILE, "client_ca_file", "log", "may have rejected ours"],
        |ground| closing_after_tls(ground, Some(&ground.good_client())),
    ),
    closing(
        "One that has expired is asked for and sent, and the server closes the connection",
        "client_certificate_expired",
        &[CLIENT, CLIENT_FILE, "now: "],
        |ground| closing_after_tls(ground, Some(&ground.pki.client(Fixture::Expired))),
    ),
    client(
        "TLS 1.3: the server does not know the CA of the client certificate",
        "client_certificate_unknown_issuer",
        &[CLIENT, CLIENT_FILE, "client_ca_file", "CN=otlp-mtls other test ca"],
        |ground| demanding(ground, &TLS13, Fixture::Good, other_ca),
    ),
    client(
        "TLS 1.2: the server does not know the CA of the client certificate",
        "client_certificate_unknown_issuer",
        &[CLIENT, CLIENT_FILE, "client_ca_file", "CN=otlp-mtls other test ca"],
        |ground| demanding(ground, &TLS12, Fixture::Good, other_ca),
    ),
    client(
        "TLS 1.3: the client certificate has expired",
        "client_certificate_expired",
        &[CLIENT, CLIENT_FILE, "now: "],
        |ground| demanding(ground, &TLS13, Fixture::Expired, own_ca),
    ),
    client(
        "TLS 1.2: the client certificate has expired",
        "client_certificate_expired",
        &[CLIENT, CLIENT_FILE, "now: "],
        |ground| demanding(ground, &TLS12, Fixture::Expired, own_ca),
    ),
    client(
        "The client certificate is not yet valid",
        "client_certificate_not_yet_valid",
        &[CLIENT, CLIENT_FILE, "valid from", "now: "],
        |ground| demanding(ground, &TLS13, Fixture::NotYetValid, own_ca),
    ),
    client(
        "The client certificate is for servers",
        "client_certificate_wrong_usage",
        &[CLIENT, CLIENT_FILE, "serverAuth", "extendedKeyUsage=clientAuth"],
        |ground| demanding(ground, &TLS13, Fixture::WrongUsage, own_ca),
    ),
    client(
        "The client certificate is revoked",
        "client_certificate_revoked",
        &[CLIENT, CLIENT_FILE, "44"],
        |ground| saying(ground, CertificateError::Revoked),
    ),
    client(
        "The server does not take that kind of client certificate",
        "client_certificate_unsupported",
        &[CLIENT, CLIENT_FILE, "43"],
        |ground| saying(ground, CertificateError::InvalidPurpose),
    ),
    client(
        "The server does not say what is wrong with the client certificate",
        "client_certificate_refused",
        &[CLIENT, CLIENT_FILE, "42"],
        |ground| saying(ground, CertificateError::BadEncoding),
    ),
    client(
        "The server names the CAs that it accepts, and does not say what is wrong",
        "client_certificate_unknown_issuer",
        &[CLIENT, CLIENT_FILE, "CN=otlp-mtls other test ca", "42"],
        |ground| {
            let verifier =
                Says { hints: other_subjects(ground), error: Some(CertificateError::BadEncoding) };
            refusing(ground, verifier, &ground.good_client())
        },
    ),
    client(
        "The server names the CAs that it accepts, and the client certificate has expired besides",
        "client_certificate_expired",
        &[CLIENT, CLIENT_FILE, "CN=otlp-mtls other test ca", "expired at"],
        |ground| {
            let verifier =
                Says { hints: other_subjects(ground), error: Some(CertificateError::BadEncoding) };
            refusing(ground, verifier, &ground.pki.client(Fixture::Expired))
        },
    ),
    closing(
        "The server names the CAs that it accepts, and closes the connection",
        "client_certificate_unknown_issuer",
        &[CLIENT, CLIENT_FILE, "CN=otlp-mtls other test ca", "without an alert"],
        |ground| {
            let verifier = Says { hints: other_subjects(ground), error: None };
            let config = tls(ground, aws_lc_rs::default_provider(), &[&TLS13], Arc::new(verifier));
            to_peer(ground, Peer::closing_after_tls(config), &ground.good_client())
        },
    ),
    answer(
        "The server names the CAs that it accepts, and answers with a page",
        "client_certificate_unknown_issuer",
        &[CLIENT, CLIENT_FILE, "CN=otlp-mtls other test ca", "HTTP page"],
        &[HttpProtobuf],
        |ground| {
            let verifier = Says { hints: other_subjects(ground), error: None };
            let mut config =
                tls(ground, aws_lc_rs::default_provider(), &[&TLS13], Arc::new(verifier));
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            // As nginx does.
            let page = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 36\r\n\r\n\
                <title>400 The SSL certificate error";
            to_peer(ground, Peer::saying_over_tls(config, page), &ground.good_client())
        },
    ),
    // The answer.
    Case {
        name: "The server closes the connection in place of an answer",
        kind: "connection",
        refused_by: None,
        names: &["log"],
        protocols: BOTH,
        connections: None,
        setup: |ground| {
            let setup = replying(ground, || Reply::Close);
            Setup { builder: setup.builder.with_retry(otlp_mtls::RetryPolicy::disabled()), ..setup }
        },
    },
    Case {
        name: "The collector does not answer in time",
        kind: "deadline",
        refused_by: None,
        names: &["with_timeout()", "300ms"],
        protocols: BOTH,
        connections: None,
        setup: |ground| {
            let setup = replying(ground, || Reply::Hold);
            Setup { builder: setup.builder.with_timeout(Duration::from_millis(300)), ..setup }
        },
    },
    answer(
        "HTTP status 401",
        "http_401",
        &["OTEL_EXPORTER_OTLP_HEADERS", "with_bearer_token_file()", "with_header_provider()"],
        BOTH,
        |ground| replying(ground, || Reply::Http { status: 401, headers: Vec::new() }),
    ),
    answer(
        "HTTP status 401 to a bearer token",
        "http_401",
        &["/etc/otel/certs/token (with_bearer_token_file(), last read at <date>)"],
        &[HttpProtobuf],
        |ground| with_token(ground, || Reply::Http { status: 401, headers: Vec::new() }),
    ),
    answer(
        "gRPC status 16 to a bearer token",
        "UNAUTHENTICATED",
        &["/etc/otel/certs/token (with_bearer_token_file(), last read at <date>)"],
        &[Grpc],
        |ground| with_token(ground, || grpc(16, "")),
    ),
    answer(
        "gRPC status 7 to a bearer token",
        "PERMISSION_DENIED",
        &["/etc/otel/certs/token (with_bearer_token_file(), last read at <date>)"],
        &[Grpc],
        |ground| with_token(ground, || grpc(7, "")),
    ),
    answer("HTTP status 403", "http_403", &["OTEL_EXPORTER_OTLP_HEADERS"], BOTH, |ground| {
        replying(ground, || Reply::Http { status: 403, headers: Vec::new() })
    }),
    answer(
        "HTTP status 403, where the client certificate alone says who we are",
        "http_403",
        &[CLIENT, CLIENT_FILE, "CN=test-client"],
        BOTH,
        |ground| identified(ground, || Reply::Http { status: 403, headers: Vec::new() }),
    ),
    answer(
        "HTTP status 404",
        "http_404",
        &[ENDPOINT, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "/v1/traces"],
        &[HttpProtobuf],
        |ground| replying(ground, || Reply::Http { status: 404, headers: Vec::new() }),
    ),
    answer(
        "HTTP status 308, which a redirect to https is",
        "redirect",
        &[ENDPOINT, "https://new.example:4318/v1/traces"],
        BOTH,
        |ground| {
            replying(ground, || {
                let location = "https://user:password@new.example:4318/v1/traces?token=secret";
                let headers = vec![("location".to_owned(), location.to_owned())];
                Reply::Http { status: 308, headers }
            })
        },
    ),
    answer("HTTP status 302 to nowhere", "redirect", &[ENDPOINT, "302"], BOTH, |ground| {
        replying(ground, || Reply::Http { status: 302, headers: Vec::new() })
    }),
    answer(
        "HTTP status 415 to OTLP/HTTP",
        "http_4xx",
        &["OTEL_EXPORTER_OTLP_PROTOCOL"],
        &[HttpProtobuf],
        |ground| replying(ground, || Reply::Http { status: 415, headers: Vec::new() }),
    ),
    answer(
        "HTTP status 415 to what is compressed",
        "http_4xx",
        &["OTEL_EXPORTER_OTLP_PROTOCOL", COMPRESSION],
        &[HttpProtobuf],
        |ground| compressed(ground, || Reply::Http { status: 415, headers: Vec::new() }),
    ),
    answer(
        "HTTP status 400 to what is compressed",
        "http_4xx",
        &["log", COMPRESSION],
        &[HttpProtobuf],
        |ground| compressed(ground, || Reply::Http { status: 400, headers: Vec::new() }),
    ),
    answer("HTTP status 503, again and again", "http_5xx", &["load balancer"], BOTH, |ground| {
        replying(ground, || Reply::Http { status: 503, headers: Vec::new() })
    }),
    answer(
        "HTTP status 413",
        "too_large",
        &["a single span", "max_request_body_size"],
        &[HttpProtobuf],
        |ground| replying(ground, || Reply::Http { status: 413, headers: Vec::new() }),
    ),
    answer(
        "HTTP status 413 to what is compressed",
        "too_large",
        &["a single span", "62 before compression"],
        &[HttpProtobuf],
        |ground| compressed(ground, || Reply::Http { status: 413, headers: Vec::new() }),
    ),
    answer(
        "The message is too large for the gRPC server",
        "too_large",
        &["a single span", "max_recv_msg_size_mib"],
        &[Grpc],
        |ground| {
            replying(ground, || {
                grpc(8, "grpc: received message after decompression larger than max 4194304")
            })
        },
    ),
    answer(
        "The compressed message is too large for the gRPC server",
        "too_large",
        &["a single span", "62 before compression", "after decompression"],
        &[Grpc],
        |ground| {
            compressed(ground, || {
                grpc(8, "grpc: received message after decompression larger than max 4194304")
            })
        },
    ),
    answer(
        "gRPC status 16",
        "UNAUTHENTICATED",
        &["OTEL_EXPORTER_OTLP_HEADERS"],
        &[Grpc],
        |ground| replying(ground, || grpc(16, "")),
    ),
    answer(
        "gRPC status 7",
        "PERMISSION_DENIED",
        &["OTEL_EXPORTER_OTLP_HEADERS"],
        &[Grpc],
        |ground| replying(ground, || grpc(7, "")),
    ),
    answer(
        "gRPC status 7, where the client certificate alone says who we are",
        "PERMISSION_DENIED",
        &[CLIENT, CLIENT_FILE, "CN=test-client"],
        &[Grpc],
        |ground| identified(ground, || grpc(7, "")),
    ),
    answer(
        "gRPC status 7, where a header provider says who we are",
        "PERMISSION_DENIED",
        &["with_header_provider()"],
        &[Grpc],
        |ground| {
            let setup = identified(ground, || grpc(7, ""));
            let builder = setup.builder.with_header_provider(|_| Ok(HeaderMap::new()));
            Setup { builder, ..setup }
        },
    ),
    answer(
        "gRPC status 12",
        "UNIMPLEMENTED",
        &[ENDPOINT, "pipeline for traces"],
        &[Grpc],
        |ground| replying(ground, || grpc(12, "")),
    ),
    answer(
        "gRPC status 12 to what is compressed",
        "UNIMPLEMENTED",
        &[ENDPOINT, COMPRESSION],
        &[Grpc],
        |ground| compressed(ground, || grpc(12, "")),
    ),
    answer(
        "gRPC status 13 to what is compressed",
        "INTERNAL",
        &["log", COMPRESSION],
        &[Grpc],
        |ground| compressed(ground, || grpc(13, "")),
    ),
    answer(
        "gRPC status 14, again and again",
        "UNAVAILABLE",
        &["load balancer"],
        &[Grpc],
        |ground| replying(ground, || grpc(14, "")),
    ),
    answer("gRPC status 3", "INVALID_ARGUMENT", &["log"], &[Grpc], |ground| {
        replying(ground, || grpc(3, ""))
    }),
    answer(
        "gRPC status 3, with a reason",
        "INVALID_ARGUMENT",
        &["span 3 has no trace id"],
        &[Grpc],
        |ground| replying(ground, || grpc(3, "span 3 has no trace id")),
    ),
];

pub(super) const fn server(
    name: &'static str,
    kind: &'static str,
    names: &'static [&'static str],
    setup: fn(&Ground) -> Setup,
) -> Case {
    let refused_by = Some(Side::Us);
    Case { name, kind, refused_by, names, protocols: BOTH, connections: Some(1), setup }
}

const fn client(
    name: &'static str,
    kind: &'static str,
    names: &'static [&'static str],
    setup: fn(&Ground) -> Setup,
) -> Case {
    Case { refused_by: Some(Side::Server), ..server(name, kind, names, setup) }
}

const fn closing(
    name: &'static str,
    kind: &'static str,
    names: &'static [&'static str],
    setup: fn(&Ground) -> Setup,
) -> Case {
    // It may have another reason, and so it is tried again.
    Case { connections: Some(2), ..client(name, kind, names, setup) }
}

const fn answer(
    name: &'static str,
    kind: &'static str,
    names: &'static [&'static str],
    protocols: &'static [Protocol],
    setup: fn(&Ground) -> Setup,
) -> Case {
    Case { protocols, ..client(name, kind, names, setup) }
}

fn grpc(code: i32, message: &str) -> Reply {
    Reply::Grpc { code, message: message.to_owned(), retry_delay: None }
}

fn own_ca(pki: &Pki) -> String {
    pki.ca_pem().to_owned()
}

fn other_ca(pki: &Pki) -> String {
    pki.other_ca_pem().to_owned()
}

fn ca(ground: &Ground) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(ground.pki.ca_pem().as_bytes()).unwrap()
}

/// Gives always the same.
#[derive(Debug)]
pub(super) struct Source(pub(super) Credentials);

impl CredentialSource for Source {
    fn load(&self) -> Result<Credentials, Box<dyn Error + Send + Sync>> {
        Ok(self.0.clone())
    }
}

fn nobody(ground: &Ground, endpoint: String, port: u16) -> Setup {
    let builder = ground.exporters(endpoint, ground.pki.ca_pem(), None);
    Setup { server: Server::Nobody, builder, port }
}

/// All is well.
fn good(ground: &Ground) -> Setup {
    serving(ground, Fixture::Good)
}

/// A server that accepts connections, and then neither reads nor writes.
fn silent(ground: &Ground) -> Setup {
    let setup = good(ground);
    if let Server::Collector(collector) = &setup.server {
        collector.set_accept(Accept::Silence);
    }
    setup
}

fn with_spiffe_id(ground: &Ground, id: &str) -> Setup {
    let server = ground.pki.svid(&["spiffe://corp.example/collector"]);
    let collector = Collector::builder().with_tls(server).start().unwrap();
    let setup = collecting(ground, collector);
    Setup { builder: setup.builder.with_server_spiffe_id(id), ..setup }
}

/// A server with this certificate.
fn serving(ground: &Ground, fixture: Fixture) -> Setup {
    let collector = Collector::builder().with_tls(ground.pki.server(fixture)).start().unwrap();
    collecting(ground, collector)
}

pub(super) fn collecting(ground: &Ground, collector: Collector) -> Setup {
    let builder = ground.exporters(collector.endpoint(), ground.pki.ca_pem(), None);
    let port = collector.addr().port();
    Setup { server: Server::Collector(collector), builder, port }
}

fn with_alpn(ground: &Ground, alpn: Vec<Vec<u8>>) -> Setup {
    let server = ground.pki.server(Fixture::Good);
    collecting(ground, Collector::builder().with_tls(server).with_alpn(alpn).start().unwrap())
}

fn replying(ground: &Ground, reply: fn() -> Reply) -> Setup {
    let setup = good(ground);
    if let Server::Collector(collector) = &setup.server {
        collector.set_reply(move |_| reply());
    }
    setup
}

/// A server that asks for a client certificate, accepts it, and answers so.
fn identified(ground: &Ground, reply: fn() -> Reply) -> Setup {
    let setup = demanding(ground, &TLS13, Fixture::Good, own_ca);
    if let Server::Collector(collector) = &setup.server {
        collector.set_reply(move |_| reply());
    }
    setup
}

/// The same to a client that has a bearer token, too.
fn with_token(ground: &Ground, reply: fn() -> Reply) -> Setup {
    let setup = identified(ground, reply);
    let path = ground.path("token");
    std::fs::write(&path, "a-token").unwrap();
    Setup { builder: setup.builder.with_bearer_token_file(path), ..setup }
}

/// The same to a batch that is compressed.
fn compressed(ground: &Ground, reply: fn() -> Reply) -> Setup {
    let setup = replying(ground, reply);
    Setup { builder: setup.builder.with_compression(Compression::Zstd), ..setup }
}

/// A server that demands a client certificate of one CA, and a client that has one of the other.
fn demanding(
    ground: &Ground,
    version: &'static SupportedProtocolVersion,
    client: Fixture,
    client_ca: fn(&Pki) -> String,
) -> Setup {
    let collector = Collector::builder()
        .with_tls(ground.pki.server(Fixture::Good))
        .with_client_ca(&client_ca(&ground.pki))
        .with_tls_versions(&[version])
        .start()
        .unwrap();
    let client = ground.pki.client(client);
    let builder = ground.exporters(collector.endpoint(), ground.pki.ca_pem(), Some(&client));
    let port = collector.addr().port();
    Setup { server: Server::Collector(collector), builder, port }
}

/// The same without a client certificate.
fn without(ground: &Ground, version: &'static SupportedProtocolVersion) -> Setup {
    let setup = demanding(ground, version, Fixture::Good, own_ca);
    let endpoint = format!("https://localhost:{}", setup.port);
    Setup { builder: ground.exporters(endpoint, ground.pki.ca_pem(), None), ..setup }
}

/// A server that asks for a client certificate, takes any or none, and closes the connection.
fn closing_after_tls(ground: &Ground, client: Option<&Identity>) -> Setup {
    let provider = aws_lc_rs::default_provider();
    let config = tls(ground, provider, &[&TLS13], Arc::new(Says::nothing()));
    let (peer, port) = listening(Peer::closing_after_tls(config));
    let endpoint = format!("https://localhost:{port}");
    let builder = ground.exporters(endpoint, ground.pki.ca_pem(), client);
    Setup { server: Server::Peer(peer), builder, port }
}

/// A server that says this of every client certificate.
fn saying(ground: &Ground, error: CertificateError) -> Setup {
    refusing(ground, Says { hints: Vec::new(), error: Some(error) }, &ground.good_client())
}

fn refusing(ground: &Ground, verifier: Says, client: &Identity) -> Setup {
    let config = tls(ground, aws_lc_rs::default_provider(), &[&TLS13], Arc::new(verifier));
    to_peer(ground, Peer::tls(config), client)
}

fn to_peer(ground: &Ground, peer: Peer, client: &Identity) -> Setup {
    let (peer, port) = listening(peer);
    let endpoint = format!("https://localhost:{port}");
    let builder = ground.exporters(endpoint, ground.pki.ca_pem(), Some(client));
    Setup { server: Server::Peer(peer), builder, port }
}

/// The names that a server sends whose client CA is not ours.
fn other_subjects(ground: &Ground) -> Vec<DistinguishedName> {
    let mut roots = rustls::RootCertStore::empty();
    let other = ground.pki.other_ca_pem().as_bytes();
    roots.add(CertificateDer::from_pem_slice(other).unwrap()).unwrap();
    roots.subjects()
}

fn peer(ground: &Ground, scheme: &str, peer: Peer) -> Setup {
    let (peer, port) = listening(peer);
    let endpoint = format!("{scheme}://localhost:{port}");
    let builder = ground.exporters(endpoint, ground.pki.ca_pem(), None);
    Setup { server: Server::Peer(peer), builder, port }
}

fn proxied(ground: &Ground, answer: &'static [u8]) -> Setup {
    let (peer, port) = listening(Peer::saying(answer));
    Setup { server: Server::Peer(peer), ..through_proxy(ground, port) }
}

fn through_proxy(ground: &Ground, port: u16) -> Setup {
    through(ground, format!("http://localhost:{port}"), port)
}

/// One that is verified as the collector is.
fn through_secure_proxy(ground: &Ground, port: u16) -> Setup {
    let Setup { server, builder, port } =
        through(ground, format!("https://localhost:{port}"), port);
    let ca = Pem::bytes(ground.pki.ca_pem());
    Setup { server, builder: builder.with_proxy_ca_certificate(ca), port }
}

fn through(ground: &Ground, proxy: String, port: u16) -> Setup {
    let builder = ground.exporters_with(
        "https://collector.example:4317".to_owned(),
        ground.pki.ca_pem(),
        None,
        &[("HTTPS_PROXY", proxy)],
    );
    Setup { server: Server::Nobody, builder, port }
}

/// A server that has a certificate of a proxy: no handshake with it gets further.
fn proxy(ground: &Ground, fixture: Fixture) -> (Server, u16) {
    let collector = Collector::builder()
        .with_tls(ground.pki.server(fixture))
        .with_alpn(vec![b"http/1.1".to_vec()])
        .start()
        .unwrap();
    let port = collector.addr().port();
    (Server::Collector(collector), port)
}

fn listening(peer: Peer) -> (Peer, u16) {
    let port = peer.addr.port();
    (peer, port)
}

fn tls(
    ground: &Ground,
    provider: CryptoProvider,
    versions: &[&'static SupportedProtocolVersion],
    verifier: Arc<dyn ClientCertVerifier>,
) -> ServerConfig {
    let server = ground.pki.server(Fixture::Good);
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(versions)
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(server.certificate_ders().to_vec(), server.key_der())
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}

/// Demands a client certificate, and has something against each, or takes them without a look.
#[derive(Debug)]
struct Says {
    /// The CAs that it names.
    hints: Vec<DistinguishedName>,
    error: Option<CertificateError>,
}

impl Says {
    fn nothing() -> Self {
        Self { hints: Vec::new(), error: None }
    }
}

impl ClientCertVerifier for Says {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn client_auth_mandatory(&self) -> bool {
        self.error.is_some()
    }

    fn verify_client_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        match &self.error {
            Some(error) => Err(error.clone().into()),
            None => Ok(ClientCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _leaf: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _leaf: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
