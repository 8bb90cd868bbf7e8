//! The failures.

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

use super::peer::{FullBacklog, Peer};
use super::{Case, Context, Server, Setup};
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
    // Reaching the server.
    Case {
        name: "The host's name cannot be resolved",
        kind: "resolve",
        refused_by: None,
        names: &[ENDPOINT, "collector.invalid"],
        protocols: BOTH,
        connections: None,
        setup: |context| nobody(context, "https://collector.invalid:4317".to_owned(), 4317),
    },
    Case {
        name: "Nothing listens",
        kind: "connection_refused",
        refused_by: Some(Side::Server),
        names: &[ENDPOINT],
        protocols: BOTH,
        connections: None,
        setup: |context| nobody(context, format!("https://localhost:{NOBODY}"), NOBODY),
    },
    Case {
        name: "TCP takes too long",
        kind: "connect_timeout",
        refused_by: None,
        names: &[ENDPOINT],
        protocols: BOTH,
        connections: None,
        setup: |context| {
            let full = FullBacklog::start();
            let setup = nobody(context, format!("https://{}", full.addr), full.addr.port());
            let builder = setup
                .builder
                .with_connect_timeout(Duration::from_millis(300))
                .with_retry(otlp_mtls::RetryPolicy::disabled());
            Setup { server: Server::FullBacklog(full), builder, ..setup }
        },
    },
    Case {
        name: "The proxy requires authentication",
        kind: "proxy_refused",
        refused_by: Some(Side::Server),
        names: &["HTTPS_PROXY", "407"],
        protocols: BOTH,
        connections: Some(1),
        setup: |context| {
            proxied(
                context,
                b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n",
            )
        },
    },
    Case {
        name: "The proxy forbids the connection",
        kind: "proxy_refused",
        refused_by: Some(Side::Server),
        names: &["NO_PROXY", "403"],
        protocols: BOTH,
        connections: Some(1),
        setup: |context| proxied(context, b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n"),
    },
    Case {
        name: "The proxy cannot be reached",
        kind: "proxy_unreachable",
        refused_by: None,
        names: &["HTTPS_PROXY", "NO_PROXY"],
        protocols: BOTH,
        connections: None,
        setup: |context| Setup { server: Server::Nobody, ..through_proxy(context, NOBODY) },
    },
    // The collector's CA is not used for the proxy.
    Case {
        name: "The proxy's certificate was issued by another CA",
        kind: "proxy_tls",
        refused_by: Some(Side::Us),
        names: &["the proxy localhost:4317", "with_proxy_ca_certificate()"],
        protocols: BOTH,
        connections: Some(1),
        setup: |context| {
            let (server, port) = proxy(context, Fixture::Good);
            let Setup { builder, .. } = through_secure_proxy(context, port);
            let ca = context.pki.other_ca_pem();
            let builder = builder.with_proxy_ca_certificate(Pem::bytes(ca));
            Setup { server, builder, port }
        },
    },
    Case {
        name: "The proxy's certificate is for another name",
        kind: "proxy_tls",
        refused_by: Some(Side::Us),
        names: &["expected: localhost, by HTTPS_PROXY"],
        protocols: BOTH,
        connections: Some(1),
        setup: |context| {
            let (server, port) = proxy(context, Fixture::WrongName);
            Setup { server, ..through_secure_proxy(context, port) }
        },
    },
    Case {
        name: "The proxy does not speak TLS",
        kind: "proxy_tls",
        refused_by: Some(Side::Us),
        names: &["begin HTTPS_PROXY with http://"],
        protocols: BOTH,
        connections: Some(1),
        setup: |context| {
            let answer = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
            let (peer, port) = listening(Peer::replying(answer));
            Setup { server: Server::Peer(peer), ..through_secure_proxy(context, port) }
        },
    },
    // Protocols that do not match.
    Case {
        name: "The server sends nothing during the handshake",
        kind: "handshake_timeout",
        refused_by: None,
        names: &[ENDPOINT, "with_connect_timeout()"],
        protocols: BOTH,
        connections: None,
        setup: |context| {
            let setup = silent(context);
            let builder = setup.builder.with_connect_timeout(Duration::from_millis(300));
            Setup { builder: builder.with_retry(otlp_mtls::RetryPolicy::disabled()), ..setup }
        },
    },
    Case {
        name: "The server sends nothing during the handshake, and the export's timeout is shorter than the connect timeout",
        kind: "handshake_timeout",
        refused_by: None,
        names: &["OTEL_EXPORTER_OTLP_TIMEOUT (in milliseconds)", "300ms"],
        protocols: BOTH,
        connections: None,
        setup: |context| {
            let setup = silent(context);
            let timeout = [("OTEL_EXPORTER_OTLP_TIMEOUT", "300".to_owned())];
            let endpoint = format!("https://localhost:{}", setup.port);
            let builder = context.exporters_with(endpoint, context.pki.ca_pem(), None, &timeout);
            Setup { builder, ..setup }
        },
    },
    Case {
        name: "The server sends nothing during the handshake until the export's timeout",
        kind: "handshake_timeout",
        refused_by: None,
        names: &[ENDPOINT, "1.2s", "with_timeout()"],
        protocols: BOTH,
        connections: None,
        setup: |context| {
            let setup = silent(context);
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
        setup: |context| {
            let full = FullBacklog::start();
            let setup = nobody(context, format!("https://{}", full.addr), full.addr.port());
            let builder = setup.builder.with_timeout(Duration::from_millis(300));
            Setup { server: Server::FullBacklog(full), builder, ..setup }
        },
    },
    Case {
        name: "TLS to a port that closes the connection at once",
        kind: "not_tls",
        refused_by: None,
        names: &[ENDPOINT],
        protocols: BOTH,
        connections: None,
        setup: |context| peer(context, "https", Peer::resetting()),
    },
    Case {
        name: "TLS to a plaintext HTTP port",
        kind: "not_tls",
        refused_by: Some(Side::Us),
        names: &[ENDPOINT, "http://"],
        protocols: BOTH,
        connections: Some(1),
        setup: |context| {
            let answer = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n";
            peer(context, "https", Peer::replying(answer))
        },
    },
    Case {
        name: "TLS to a plaintext gRPC port",
        kind: "not_tls",
        refused_by: Some(Side::Us),
        names: &[ENDPOINT, "http://"],
        protocols: BOTH,
        connections: Some(1),
        setup: |context| {
            // SETTINGS, with MAX_FRAME_SIZE.
            let settings = b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x05\x00\x00\x40\x00";
            peer(context, "https", Peer::sending(settings))
        },
    },
    Case {
        name: "TLS to a port of another protocol, such as SSH",
        kind: "not_tls",
        refused_by: Some(Side::Us),
        names: &[ENDPOINT, "4317", "4318"],
        protocols: BOTH,
        connections: Some(1),
        setup: |context| peer(context, "https", Peer::sending(b"SSH-2.0-OpenSSH_9.6\r\n")),
    },
    Case {
        name: "Plaintext to a TLS port, which answers with an alert",
        kind: "needs_tls",
        refused_by: Some(Side::Server),
        names: &[ENDPOINT, "https://"],
        protocols: BOTH,
        connections: Some(1),
        setup: |context| {
            let setup = good(context);
            let endpoint = format!("http://localhost:{}", setup.port);
            let builder = context.exporters(endpoint, context.pki.ca_pem(), None);
            Setup { builder, ..setup }
        },
    },
    Case {
        name: "Plaintext to a TLS port, which answers with an HTTP page",
        kind: "needs_tls",
        refused_by: Some(Side::Server),
        names: &[ENDPOINT, "https://"],
        protocols: BOTH,
        connections: Some(1),
        setup: |context| {
            // As Go does; nginx sends a longer page.
            let page = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
            peer(context, "http", Peer::replying(page))
        },
    },
    Case {
        name: "Plaintext to a TLS port, with an endpoint without a scheme",
        kind: "needs_tls",
        refused_by: Some(Side::Server),
        names: &[ENDPOINT, "https://"],
        protocols: &[Grpc],
        connections: Some(1),
        setup: |context| {
            let setup = good(context);
            let insecure = [("OTEL_EXPORTER_OTLP_INSECURE", "true".to_owned())];
            let endpoint = format!("localhost:{}", setup.port);
            let builder = context.exporters_with(endpoint, context.pki.ca_pem(), None, &insecure);
            Setup { builder, ..setup }
        },
    },
    Case {
        name: "gRPC to a server without h2 in its ALPN protocols",
        kind: "no_http2",
        refused_by: Some(Side::Server),
        names: &[ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL", "with_assume_http2()"],
        protocols: &[Grpc],
        connections: Some(1),
        setup: |context| with_alpn(context, vec![b"http/1.1".to_vec()]),
    },
    Case {
        name: "gRPC to a server without ALPN",
        kind: "no_http2",
        refused_by: Some(Side::Us),
        names: &[ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL", "with_assume_http2()"],
        protocols: &[Grpc],
        connections: Some(1),
        setup: |context| with_alpn(context, Vec::new()),
    },
    Case {
        name: "gRPC to a plaintext HTTP/1.1 port",
        kind: "no_http2",
        refused_by: Some(Side::Us),
        names: &[ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL", "4317", "4318"],
        protocols: &[Grpc],
        connections: Some(1),
        setup: |context| {
            let answer = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n";
            peer(context, "http", Peer::replying(answer))
        },
    },
    Case {
        name: "gRPC to an OTLP/HTTP server",
        kind: "not_grpc",
        refused_by: Some(Side::Server),
        names: &[ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL", "404"],
        protocols: &[Grpc],
        connections: Some(1),
        setup: |context| replying(context, || Reply::Http { status: 404, headers: Vec::new() }),
    },
    Case {
        name: "OTLP/HTTP to a gRPC server",
        kind: "only_grpc",
        refused_by: Some(Side::Us),
        names: &[ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL"],
        protocols: &[HttpProtobuf],
        connections: Some(1),
        setup: |context| {
            replying(context, || Reply::Http {
                status: 200,
                headers: vec![
                    ("content-type".to_owned(), "application/grpc".to_owned()),
                    ("grpc-status".to_owned(), "12".to_owned()),
                ],
            })
        },
    },
    Case {
        name: "OTLP/HTTP to a plaintext gRPC port",
        kind: "only_grpc",
        refused_by: Some(Side::Us),
        names: &[ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL"],
        protocols: &[HttpProtobuf],
        connections: Some(1),
        setup: |context| {
            let settings = b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x05\x00\x00\x40\x00";
            peer(context, "http", Peer::sending(settings))
        },
    },
    Case {
        name: "No TLS version in common",
        kind: "tls_version",
        refused_by: Some(Side::Server),
        names: &["with_min_tls_version()"],
        protocols: BOTH,
        connections: Some(1),
        setup: |context| {
            let setup = demanding(context, &TLS12, Fixture::Good, |pki| pki.ca_pem().to_owned());
            Setup { builder: setup.builder.with_min_tls_version(TlsVersion::Tls13), ..setup }
        },
    },
    Case {
        name: "No TLS version in common, with a given rustls configuration",
        kind: "tls_version",
        refused_by: Some(Side::Server),
        names: &[CONFIG],
        protocols: BOTH,
        connections: Some(1),
        setup: |context| {
            let setup = demanding(context, &TLS12, Fixture::Good, own_ca);
            let config = tls_client(context.pki.ca_pem(), None, &[&TLS13]);
            Setup { builder: setup.builder.with_rustls_config(config), ..setup }
        },
    },
    Case {
        name: "No key exchange in common",
        kind: "tls_cipher",
        refused_by: Some(Side::Server),
        names: &["with_crypto_provider()", "TLS13_AES_256_GCM_SHA384"],
        protocols: BOTH,
        connections: Some(1),
        setup: |context| {
            let mut provider = aws_lc_rs::default_provider();
            provider.kx_groups = vec![aws_lc_rs::kx_group::X25519];
            let mut other = aws_lc_rs::default_provider();
            other.kx_groups = vec![aws_lc_rs::kx_group::SECP384R1];
            let server = tls(
                context,
                other,
                &[&TLS13],
                rustls::server::WebPkiClientVerifier::no_client_auth(),
            );
            let (peer, port) = listening(Peer::tls(server));
            let builder = context
                .exporters(format!("https://localhost:{port}"), context.pki.ca_pem(), None)
                .with_crypto_provider(Arc::new(provider));
            Setup { server: Server::Peer(peer), builder, port }
        },
    },
    Case {
        name: "Plaintext gRPC to a port that resets the connection, as grpc-go does on a TLS port",
        kind: "closed",
        refused_by: None,
        names: &[ENDPOINT, "https://", "check()"],
        protocols: &[Grpc],
        connections: Some(1),
        setup: |context| peer(context, "http", Peer::resetting()),
    },
    Case {
        name: "Plaintext gRPC to a port that closes the connection at once, as many TLS servers do",
        kind: "closed",
        refused_by: None,
        names: &[ENDPOINT, "https://"],
        protocols: &[Grpc],
        connections: Some(1),
        setup: |context| peer(context, "http", Peer::replying(b"")),
    },
    Case {
        name: "Plaintext HTTP to a port that closes the connection at once, as many TLS servers do",
        kind: "connection",
        refused_by: None,
        names: &[ENDPOINT, "https://"],
        protocols: &[HttpProtobuf],
        connections: None,
        setup: |context| peer(context, "http", Peer::replying(b"")),
    },
    // We refuse the server.
    server(
        "The server's certificate was issued by an unknown CA",
        "server_certificate_unknown_issuer",
        &[CA, CA_FILE, "CN=otlp-mtls other test ca", "CN=otlp-mtls test ca"],
        |context| serving(context, Fixture::OtherCa),
    ),
    server(
        "The server does not send its intermediate",
        "server_certificate_unknown_issuer",
        &[CA, CA_FILE, "CN=otlp-mtls test intermediate", "configure the server to send it"],
        |context| serving(context, Fixture::MissingIntermediate),
    ),
    server(
        "The server's certificate was issued by an unknown CA, with the platform's roots trusted too",
        "server_certificate_unknown_issuer",
        &[CA, CA_FILE, "CN=otlp-mtls test ca", "and the platform's roots"],
        |context| {
            let setup = serving(context, Fixture::OtherCa);
            Setup { builder: setup.builder.with_system_roots(true), ..setup }
        },
    ),
    server(
        "The server's certificate was issued by an unknown CA, with a credential source",
        "server_certificate_unknown_issuer",
        &[SOURCE, "CN=otlp-mtls test ca"],
        |context| {
            let setup = serving(context, Fixture::OtherCa);
            let source = Source(Credentials::new().with_trust_anchors([ca(context)]));
            Setup { builder: setup.builder.with_credential_source(source), ..setup }
        },
    ),
    server(
        "The server's certificate was issued by an unknown CA, with a given rustls configuration",
        "server_certificate_unknown_issuer",
        &[CONFIG],
        |context| {
            let setup = serving(context, Fixture::OtherCa);
            let config = tls_client(context.pki.ca_pem(), None, rustls::DEFAULT_VERSIONS);
            Setup { builder: setup.builder.with_rustls_config(config), ..setup }
        },
    ),
    server(
        "The server's certificate is self-signed",
        "server_certificate_self_signed",
        &[CA, CA_FILE],
        |context| serving(context, Fixture::SelfSigned),
    ),
    server(
        "The server presents a CA certificate as its own",
        "server_certificate_is_a_ca",
        &[CA, CA_FILE],
        |context| serving(context, Fixture::CaUsedAsEndEntity),
    ),
    server(
        "The server's certificate is for another name",
        "server_certificate_wrong_name",
        &[ENDPOINT, "other.example", "localhost", "with_server_name()"],
        |context| serving(context, Fixture::WrongName),
    ),
    server(
        "The server's SPIFFE ID is not the expected one",
        "server_certificate_wrong_spiffe_id",
        &[ENDPOINT, "spiffe://corp.example/collector", "spiffe://corp.example/other"],
        |context| with_spiffe_id(context, "spiffe://corp.example/other"),
    ),
    server(
        "The server's SPIFFE ID is of another trust domain",
        "server_certificate_wrong_spiffe_id",
        &[ENDPOINT, "spiffe://corp.example/collector", "with_server_spiffe_id()"],
        |context| with_spiffe_id(context, "spiffe://other.example"),
    ),
    server(
        "The server's certificate has a common name, but no subject alternative name",
        "server_certificate_without_name",
        &[ENDPOINT, "-extfile", "subjectAltName=DNS:localhost"],
        |context| serving(context, Fixture::NoSan),
    ),
    server(
        "The server's certificate has no IP address",
        "server_certificate_without_ip_address",
        &[ENDPOINT, "127.0.0.1", "other.example", "subjectAltName=IP:127.0.0.1"],
        |context| {
            let setup = serving(context, Fixture::WrongName);
            let endpoint = format!("https://127.0.0.1:{}", setup.port);
            let builder = context.exporters(endpoint, context.pki.ca_pem(), None);
            Setup { builder, ..setup }
        },
    ),
    server(
        "The server's certificate has expired",
        "server_certificate_expired",
        &[ENDPOINT, "CN=localhost", "now: "],
        |context| serving(context, Fixture::Expired),
    ),
    server(
        "The server's certificate is not yet valid",
        "server_certificate_not_yet_valid",
        &[ENDPOINT, "clock"],
        |context| serving(context, Fixture::NotYetValid),
    ),
    server(
        "The server's certificate is X.509 version 1",
        "server_certificate_version_1",
        &[ENDPOINT, "-extfile"],
        |context| serving(context, Fixture::V1),
    ),
    server(
        "The server's certificate is for clients",
        "server_certificate_wrong_usage",
        &[ENDPOINT, "clientAuth", "extendedKeyUsage=serverAuth"],
        |context| serving(context, Fixture::WrongUsage),
    ),
    server(
        "The server's certificate was issued by another CA of the same name",
        "server_certificate_bad_signature",
        &[CA, CA_FILE],
        |context| {
            let setup = serving(context, Fixture::Good);
            let builder = context.exporters(
                format!("https://localhost:{}", setup.port),
                Pki::new().ca_pem(),
                None,
            );
            Setup { builder, ..setup }
        },
    ),
    // The server refuses us.
    client(
        "TLS 1.3: a client certificate is required, and there is none",
        "client_certificate_required",
        &[CLIENT, "OTEL_EXPORTER_OTLP_CLIENT_KEY", "116", "CN=otlp-mtls test ca"],
        |context| without(context, &TLS13),
    ),
    client(
        "TLS 1.2: a client certificate is required, and there is none",
        "client_certificate_required",
        &[CLIENT, "OTEL_EXPORTER_OTLP_CLIENT_KEY", "CN=otlp-mtls test ca"],
        |context| without(context, &TLS12),
    ),
    client(
        "A client certificate is required, and a given rustls configuration has none",
        "client_certificate_required",
        &[CONFIG, "116"],
        |context| {
            let setup = without(context, &TLS13);
            let config = tls_client(context.pki.ca_pem(), None, rustls::DEFAULT_VERSIONS);
            Setup { builder: setup.builder.with_rustls_config(config), ..setup }
        },
    ),
    client(
        "A client certificate is required, and a credential source has none",
        "client_certificate_required",
        &[SOURCE, "116"],
        |context| {
            let setup = without(context, &TLS13);
            let source = Source(Credentials::new().with_trust_anchors([ca(context)]));
            Setup { builder: setup.builder.with_credential_source(source), ..setup }
        },
    ),
    closing(
        "A client certificate is requested, there is none, and the server closes the connection",
        "client_certificate_required",
        &[CLIENT, "OTEL_EXPORTER_OTLP_CLIENT_KEY", "without a TLS alert"],
        |context| closing_after_tls(context, None),
    ),
    closing(
        "A client certificate is requested and sent, and the server closes the connection",
        "client_certificate_refused",
        &[CLIENT, CLIENT_FILE, "client_ca_file", "log", "may have rejected ours"],
        |context| closing_after_tls(context, Some(&context.good_client())),
    ),
    closing(
        "An expired client certificate is requested and sent, and the server closes the connection",
        "client_certificate_expired",
        &[CLIENT, CLIENT_FILE, "now: "],
        |context| closing_after_tls(context, Some(&context.pki.client(Fixture::Expired))),
    ),
    client(
        "TLS 1.3: the client certificate was issued by an unknown CA",
        "client_certificate_unknown_issuer",
        &[CLIENT, CLIENT_FILE, "client_ca_file", "CN=otlp-mtls other test ca"],
        |context| demanding(context, &TLS13, Fixture::Good, other_ca),
    ),
    client(
        "TLS 1.2: the client certificate was issued by an unknown CA",
        "client_certificate_unknown_issuer",
        &[CLIENT, CLIENT_FILE, "client_ca_file", "CN=otlp-mtls other test ca"],
        |context| demanding(context, &TLS12, Fixture::Good, other_ca),
    ),
    client(
        "TLS 1.3: the client certificate has expired",
        "client_certificate_expired",
        &[CLIENT, CLIENT_FILE, "now: "],
        |context| demanding(context, &TLS13, Fixture::Expired, own_ca),
    ),
    client(
        "TLS 1.2: the client certificate has expired",
        "client_certificate_expired",
        &[CLIENT, CLIENT_FILE, "now: "],
        |context| demanding(context, &TLS12, Fixture::Expired, own_ca),
    ),
    client(
        "The client certificate is not yet valid",
        "client_certificate_not_yet_valid",
        &[CLIENT, CLIENT_FILE, "valid from", "now: "],
        |context| demanding(context, &TLS13, Fixture::NotYetValid, own_ca),
    ),
    client(
        "The client certificate is for servers",
        "client_certificate_wrong_usage",
        &[CLIENT, CLIENT_FILE, "serverAuth", "extendedKeyUsage=clientAuth"],
        |context| demanding(context, &TLS13, Fixture::WrongUsage, own_ca),
    ),
    client(
        "The client certificate is revoked",
        "client_certificate_revoked",
        &[CLIENT, CLIENT_FILE, "44"],
        |context| saying(context, CertificateError::Revoked),
    ),
    client(
        "The server does not accept that kind of client certificate",
        "client_certificate_unsupported",
        &[CLIENT, CLIENT_FILE, "43"],
        |context| saying(context, CertificateError::InvalidPurpose),
    ),
    client(
        "The server rejects the client certificate without a reason",
        "client_certificate_refused",
        &[CLIENT, CLIENT_FILE, "42"],
        |context| saying(context, CertificateError::BadEncoding),
    ),
    client(
        "The server names the CAs that it accepts, and rejects the client certificate without a reason",
        "client_certificate_unknown_issuer",
        &[CLIENT, CLIENT_FILE, "CN=otlp-mtls other test ca", "42"],
        |context| {
            let verifier = ScriptedVerifier {
                hints: other_subjects(context),
                error: Some(CertificateError::BadEncoding),
            };
            refusing(context, verifier, &context.good_client())
        },
    ),
    client(
        "The server names the CAs that it accepts, and the client certificate has also expired",
        "client_certificate_expired",
        &[CLIENT, CLIENT_FILE, "CN=otlp-mtls other test ca", "expired at"],
        |context| {
            let verifier = ScriptedVerifier {
                hints: other_subjects(context),
                error: Some(CertificateError::BadEncoding),
            };
            refusing(context, verifier, &context.pki.client(Fixture::Expired))
        },
    ),
    closing(
        "The server names the CAs that it accepts, and closes the connection",
        "client_certificate_unknown_issuer",
        &[CLIENT, CLIENT_FILE, "CN=otlp-mtls other test ca", "without an alert"],
        |context| {
            let verifier = ScriptedVerifier { hints: other_subjects(context), error: None };
            let config = tls(context, aws_lc_rs::default_provider(), &[&TLS13], Arc::new(verifier));
            to_peer(context, Peer::closing_after_tls(config), &context.good_client())
        },
    ),
    answer(
        "The server names the CAs that it accepts, and answers with an HTTP page",
        "client_certificate_unknown_issuer",
        &[CLIENT, CLIENT_FILE, "CN=otlp-mtls other test ca", "HTTP page"],
        &[HttpProtobuf],
        |context| {
            let verifier = ScriptedVerifier { hints: other_subjects(context), error: None };
            let mut config =
                tls(context, aws_lc_rs::default_provider(), &[&TLS13], Arc::new(verifier));
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            // As nginx does.
            let page = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 36\r\n\r\n\
                <title>400 The SSL certificate error";
            to_peer(context, Peer::replying_over_tls(config, page), &context.good_client())
        },
    ),
    // Responses.
    Case {
        name: "The server closes the connection instead of answering",
        kind: "connection",
        refused_by: None,
        names: &["log"],
        protocols: BOTH,
        connections: None,
        setup: |context| {
            let setup = replying(context, || Reply::Close);
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
        setup: |context| {
            let setup = replying(context, || Reply::Hold);
            Setup { builder: setup.builder.with_timeout(Duration::from_millis(300)), ..setup }
        },
    },
    answer(
        "HTTP status 401",
        "http_401",
        &["OTEL_EXPORTER_OTLP_HEADERS", "with_bearer_token_file()", "with_header_provider()"],
        BOTH,
        |context| replying(context, || Reply::Http { status: 401, headers: Vec::new() }),
    ),
    answer(
        "HTTP status 401 to a bearer token",
        "http_401",
        &["/etc/otel/certs/token (with_bearer_token_file(), last read at <date>)"],
        &[HttpProtobuf],
        |context| with_token(context, || Reply::Http { status: 401, headers: Vec::new() }),
    ),
    answer(
        "gRPC status 16 to a bearer token",
        "UNAUTHENTICATED",
        &["/etc/otel/certs/token (with_bearer_token_file(), last read at <date>)"],
        &[Grpc],
        |context| with_token(context, || grpc(16, "")),
    ),
    answer(
        "gRPC status 7 to a bearer token",
        "PERMISSION_DENIED",
        &["/etc/otel/certs/token (with_bearer_token_file(), last read at <date>)"],
        &[Grpc],
        |context| with_token(context, || grpc(7, "")),
    ),
    answer("HTTP status 403", "http_403", &["OTEL_EXPORTER_OTLP_HEADERS"], BOTH, |context| {
        replying(context, || Reply::Http { status: 403, headers: Vec::new() })
    }),
    answer(
        "HTTP status 403, with a client certificate and no headers",
        "http_403",
        &[CLIENT, CLIENT_FILE, "CN=test-client"],
        BOTH,
        |context| identified(context, || Reply::Http { status: 403, headers: Vec::new() }),
    ),
    answer(
        "HTTP status 404",
        "http_404",
        &[ENDPOINT, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "/v1/traces"],
        &[HttpProtobuf],
        |context| replying(context, || Reply::Http { status: 404, headers: Vec::new() }),
    ),
    answer(
        "HTTP status 308, a redirect",
        "redirect",
        &[ENDPOINT, "https://new.example:4318/v1/traces"],
        BOTH,
        |context| {
            replying(context, || {
                let location = "https://user:password@new.example:4318/v1/traces?token=secret";
                let headers = vec![("location".to_owned(), location.to_owned())];
                Reply::Http { status: 308, headers }
            })
        },
    ),
    answer("HTTP status 302 without a target", "redirect", &[ENDPOINT, "302"], BOTH, |context| {
        replying(context, || Reply::Http { status: 302, headers: Vec::new() })
    }),
    answer(
        "HTTP status 415 to OTLP/HTTP",
        "http_4xx",
        &["OTEL_EXPORTER_OTLP_PROTOCOL"],
        &[HttpProtobuf],
        |context| replying(context, || Reply::Http { status: 415, headers: Vec::new() }),
    ),
    answer(
        "HTTP status 415 to a compressed request",
        "http_4xx",
        &["OTEL_EXPORTER_OTLP_PROTOCOL", COMPRESSION],
        &[HttpProtobuf],
        |context| compressed(context, || Reply::Http { status: 415, headers: Vec::new() }),
    ),
    answer(
        "HTTP status 400 to a compressed request",
        "http_4xx",
        &["log", COMPRESSION],
        &[HttpProtobuf],
        |context| compressed(context, || Reply::Http { status: 400, headers: Vec::new() }),
    ),
    answer("HTTP status 503, repeatedly", "http_5xx", &["load balancer"], BOTH, |context| {
        replying(context, || Reply::Http { status: 503, headers: Vec::new() })
    }),
    answer(
        "HTTP status 413",
        "too_large",
        &["a single span", "max_request_body_size"],
        &[HttpProtobuf],
        |context| replying(context, || Reply::Http { status: 413, headers: Vec::new() }),
    ),
    answer(
        "HTTP status 413 to a compressed request",
        "too_large",
        &["a single span", "62 before compression"],
        &[HttpProtobuf],
        |context| compressed(context, || Reply::Http { status: 413, headers: Vec::new() }),
    ),
    answer(
        "The message is too large for the gRPC server",
        "too_large",
        &["a single span", "max_recv_msg_size_mib"],
        &[Grpc],
        |context| {
            replying(context, || {
                grpc(8, "grpc: received message after decompression larger than max 4194304")
            })
        },
    ),
    answer(
        "The compressed message is too large for the gRPC server",
        "too_large",
        &["a single span", "62 before compression", "after decompression"],
        &[Grpc],
        |context| {
            compressed(context, || {
                grpc(8, "grpc: received message after decompression larger than max 4194304")
            })
        },
    ),
    answer(
        "gRPC status 16",
        "UNAUTHENTICATED",
        &["OTEL_EXPORTER_OTLP_HEADERS"],
        &[Grpc],
        |context| replying(context, || grpc(16, "")),
    ),
    answer(
        "gRPC status 7",
        "PERMISSION_DENIED",
        &["OTEL_EXPORTER_OTLP_HEADERS"],
        &[Grpc],
        |context| replying(context, || grpc(7, "")),
    ),
    answer(
        "gRPC status 7, with a client certificate and no headers",
        "PERMISSION_DENIED",
        &[CLIENT, CLIENT_FILE, "CN=test-client"],
        &[Grpc],
        |context| identified(context, || grpc(7, "")),
    ),
    answer(
        "gRPC status 7, with a header provider",
        "PERMISSION_DENIED",
        &["with_header_provider()"],
        &[Grpc],
        |context| {
            let setup = identified(context, || grpc(7, ""));
            let builder = setup.builder.with_header_provider(|_| Ok(HeaderMap::new()));
            Setup { builder, ..setup }
        },
    ),
    answer(
        "gRPC status 12",
        "UNIMPLEMENTED",
        &[ENDPOINT, "pipeline for traces"],
        &[Grpc],
        |context| replying(context, || grpc(12, "")),
    ),
    answer(
        "gRPC status 12 to a compressed request",
        "UNIMPLEMENTED",
        &[ENDPOINT, COMPRESSION],
        &[Grpc],
        |context| compressed(context, || grpc(12, "")),
    ),
    answer(
        "gRPC status 13 to a compressed request",
        "INTERNAL",
        &["log", COMPRESSION],
        &[Grpc],
        |context| compressed(context, || grpc(13, "")),
    ),
    answer("gRPC status 14, repeatedly", "UNAVAILABLE", &["load balancer"], &[Grpc], |context| {
        replying(context, || grpc(14, ""))
    }),
    answer("gRPC status 3", "INVALID_ARGUMENT", &["log"], &[Grpc], |context| {
        replying(context, || grpc(3, ""))
    }),
    answer(
        "gRPC status 3, with a reason",
        "INVALID_ARGUMENT",
        &["span 3 has no trace id"],
        &[Grpc],
        |context| replying(context, || grpc(3, "span 3 has no trace id")),
    ),
];

pub(super) const fn server(
    name: &'static str,
    kind: &'static str,
    names: &'static [&'static str],
    setup: fn(&Context) -> Setup,
) -> Case {
    let refused_by = Some(Side::Us);
    Case { name, kind, refused_by, names, protocols: BOTH, connections: Some(1), setup }
}

const fn client(
    name: &'static str,
    kind: &'static str,
    names: &'static [&'static str],
    setup: fn(&Context) -> Setup,
) -> Case {
    Case { refused_by: Some(Side::Server), ..server(name, kind, names, setup) }
}

const fn closing(
    name: &'static str,
    kind: &'static str,
    names: &'static [&'static str],
    setup: fn(&Context) -> Setup,
) -> Case {
    // It may have another reason, and so it is tried again.
    Case { connections: Some(2), ..client(name, kind, names, setup) }
}

const fn answer(
    name: &'static str,
    kind: &'static str,
    names: &'static [&'static str],
    protocols: &'static [Protocol],
    setup: fn(&Context) -> Setup,
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

fn ca(context: &Context) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(context.pki.ca_pem().as_bytes()).unwrap()
}

/// Always returns the same credentials.
#[derive(Debug)]
pub(super) struct Source(pub(super) Credentials);

impl CredentialSource for Source {
    fn load(&self) -> Result<Credentials, Box<dyn Error + Send + Sync>> {
        Ok(self.0.clone())
    }
}

fn nobody(context: &Context, endpoint: String, port: u16) -> Setup {
    let builder = context.exporters(endpoint, context.pki.ca_pem(), None);
    Setup { server: Server::Nobody, builder, port }
}

/// A server without a defect.
fn good(context: &Context) -> Setup {
    serving(context, Fixture::Good)
}

/// A server that accepts connections, and then neither reads nor writes.
fn silent(context: &Context) -> Setup {
    let setup = good(context);
    if let Server::Collector(collector) = &setup.server {
        collector.set_accept(Accept::Silence);
    }
    setup
}

fn with_spiffe_id(context: &Context, id: &str) -> Setup {
    let server = context.pki.svid(&["spiffe://corp.example/collector"]);
    let collector = Collector::builder().with_tls(server).start().unwrap();
    let setup = collecting(context, collector);
    Setup { builder: setup.builder.with_server_spiffe_id(id), ..setup }
}

/// A server with this certificate.
fn serving(context: &Context, fixture: Fixture) -> Setup {
    let collector = Collector::builder().with_tls(context.pki.server(fixture)).start().unwrap();
    collecting(context, collector)
}

pub(super) fn collecting(context: &Context, collector: Collector) -> Setup {
    let builder = context.exporters(collector.endpoint(), context.pki.ca_pem(), None);
    let port = collector.addr().port();
    Setup { server: Server::Collector(collector), builder, port }
}

fn with_alpn(context: &Context, alpn: Vec<Vec<u8>>) -> Setup {
    let server = context.pki.server(Fixture::Good);
    collecting(context, Collector::builder().with_tls(server).with_alpn(alpn).start().unwrap())
}

fn replying(context: &Context, reply: fn() -> Reply) -> Setup {
    let setup = good(context);
    if let Server::Collector(collector) = &setup.server {
        collector.set_reply(move |_| reply());
    }
    setup
}

/// A server that requests and accepts a client certificate, and sends this reply.
fn identified(context: &Context, reply: fn() -> Reply) -> Setup {
    let setup = demanding(context, &TLS13, Fixture::Good, own_ca);
    if let Server::Collector(collector) = &setup.server {
        collector.set_reply(move |_| reply());
    }
    setup
}

/// The same, for a client that also has a bearer token.
fn with_token(context: &Context, reply: fn() -> Reply) -> Setup {
    let setup = identified(context, reply);
    let path = context.path("token");
    std::fs::write(&path, "a-token").unwrap();
    Setup { builder: setup.builder.with_bearer_token_file(path), ..setup }
}

/// A server that sends this reply to a compressed batch.
fn compressed(context: &Context, reply: fn() -> Reply) -> Setup {
    let setup = replying(context, reply);
    Setup { builder: setup.builder.with_compression(Compression::Zstd), ..setup }
}

/// A server that requires a client certificate of this CA, and a client with this certificate.
fn demanding(
    context: &Context,
    version: &'static SupportedProtocolVersion,
    client: Fixture,
    client_ca: fn(&Pki) -> String,
) -> Setup {
    let collector = Collector::builder()
        .with_tls(context.pki.server(Fixture::Good))
        .with_client_ca(&client_ca(&context.pki))
        .with_tls_versions(&[version])
        .start()
        .unwrap();
    let client = context.pki.client(client);
    let builder = context.exporters(collector.endpoint(), context.pki.ca_pem(), Some(&client));
    let port = collector.addr().port();
    Setup { server: Server::Collector(collector), builder, port }
}

/// The same without a client certificate.
fn without(context: &Context, version: &'static SupportedProtocolVersion) -> Setup {
    let setup = demanding(context, version, Fixture::Good, own_ca);
    let endpoint = format!("https://localhost:{}", setup.port);
    Setup { builder: context.exporters(endpoint, context.pki.ca_pem(), None), ..setup }
}

/// A server that requests a client certificate, accepts any or none, and closes the connection.
fn closing_after_tls(context: &Context, client: Option<&Identity>) -> Setup {
    let provider = aws_lc_rs::default_provider();
    let config = tls(context, provider, &[&TLS13], Arc::new(ScriptedVerifier::accepting()));
    let (peer, port) = listening(Peer::closing_after_tls(config));
    let endpoint = format!("https://localhost:{port}");
    let builder = context.exporters(endpoint, context.pki.ca_pem(), client);
    Setup { server: Server::Peer(peer), builder, port }
}

/// A server that rejects every client certificate with this error.
fn saying(context: &Context, error: CertificateError) -> Setup {
    refusing(
        context,
        ScriptedVerifier { hints: Vec::new(), error: Some(error) },
        &context.good_client(),
    )
}

fn refusing(context: &Context, verifier: ScriptedVerifier, client: &Identity) -> Setup {
    let config = tls(context, aws_lc_rs::default_provider(), &[&TLS13], Arc::new(verifier));
    to_peer(context, Peer::tls(config), client)
}

fn to_peer(context: &Context, peer: Peer, client: &Identity) -> Setup {
    let (peer, port) = listening(peer);
    let endpoint = format!("https://localhost:{port}");
    let builder = context.exporters(endpoint, context.pki.ca_pem(), Some(client));
    Setup { server: Server::Peer(peer), builder, port }
}

/// The issuer names sent by a server with another client CA.
fn other_subjects(context: &Context) -> Vec<DistinguishedName> {
    let mut roots = rustls::RootCertStore::empty();
    let other = context.pki.other_ca_pem().as_bytes();
    roots.add(CertificateDer::from_pem_slice(other).unwrap()).unwrap();
    roots.subjects()
}

fn peer(context: &Context, scheme: &str, peer: Peer) -> Setup {
    let (peer, port) = listening(peer);
    let endpoint = format!("{scheme}://localhost:{port}");
    let builder = context.exporters(endpoint, context.pki.ca_pem(), None);
    Setup { server: Server::Peer(peer), builder, port }
}

fn proxied(context: &Context, answer: &'static [u8]) -> Setup {
    let (peer, port) = listening(Peer::replying(answer));
    Setup { server: Server::Peer(peer), ..through_proxy(context, port) }
}

fn through_proxy(context: &Context, port: u16) -> Setup {
    through(context, format!("http://localhost:{port}"), port)
}

/// Exporters that use an `https://` proxy.
fn through_secure_proxy(context: &Context, port: u16) -> Setup {
    let Setup { server, builder, port } =
        through(context, format!("https://localhost:{port}"), port);
    let ca = Pem::bytes(context.pki.ca_pem());
    Setup { server, builder: builder.with_proxy_ca_certificate(ca), port }
}

fn through(context: &Context, proxy: String, port: u16) -> Setup {
    let builder = context.exporters_with(
        "https://collector.example:4317".to_owned(),
        context.pki.ca_pem(),
        None,
        &[("HTTPS_PROXY", proxy)],
    );
    Setup { server: Server::Nobody, builder, port }
}

/// An `https://` proxy with this certificate. The cases end in its handshake.
fn proxy(context: &Context, fixture: Fixture) -> (Server, u16) {
    let collector = Collector::builder()
        .with_tls(context.pki.server(fixture))
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
    context: &Context,
    provider: CryptoProvider,
    versions: &[&'static SupportedProtocolVersion],
    verifier: Arc<dyn ClientCertVerifier>,
) -> ServerConfig {
    let server = context.pki.server(Fixture::Good);
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(versions)
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(server.certificate_ders().to_vec(), server.key_der())
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}

/// Requires a client certificate and rejects each with `error`, or accepts any or none.
#[derive(Debug)]
struct ScriptedVerifier {
    /// The CAs that it sends.
    hints: Vec<DistinguishedName>,
    error: Option<CertificateError>,
}

impl ScriptedVerifier {
    fn accepting() -> Self {
        Self { hints: Vec::new(), error: None }
    }
}

impl ClientCertVerifier for ScriptedVerifier {
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
