//! A collector that reads everything and keeps nothing, in a process of its own.
//!
//! `otlp_mtls::testing::Collector` keeps and decodes what it receives, and would fill the memory.

use std::convert::Infallible;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use otlp_mtls::rustls::crypto::aws_lc_rs;
use otlp_mtls::rustls::pki_types::pem::PemObject;
use otlp_mtls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use otlp_mtls::rustls::server::WebPkiClientVerifier;
use otlp_mtls::rustls::{RootCertStore, ServerConfig};
use otlp_mtls::testing::{Fixture, Identity, Pki};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What the bench binary is called with to be the sink.
pub(crate) const ARGUMENT: &str = "--sink";

/// How the sink's certificate, key and client CA reach its process.
const CERTIFICATE: &str = "SINK_CERTIFICATE";
const KEY: &str = "SINK_KEY";
const CLIENT_CA: &str = "SINK_CLIENT_CA";

pub(crate) struct Sink {
    pub(crate) plaintext_port: u16,
    pub(crate) mtls_port: u16,
    pub(crate) ca_pem: String,
    pub(crate) client: Identity,
    process: Child,
    /// Closed with this process, however that ends, which ends the sink.
    _lifeline: ChildStdin,
}

impl Sink {
    pub(crate) fn start() -> Self {
        let pki = Pki::new();
        let server = pki.server(Fixture::Good);
        let mut process = Command::new(std::env::current_exe().expect("the path of this program"))
            .arg(ARGUMENT)
            .env(CERTIFICATE, server.certificate_pem())
            .env(KEY, server.key_pem())
            .env(CLIENT_CA, pki.ca_pem())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process for the sink");
        let lifeline = process.stdin.take().expect("stdin is piped");
        let stdout = process.stdout.take().expect("stdout is piped");
        let mut ports = BufReader::new(stdout).lines().map(|line| {
            line.expect("the sink's output").parse().expect("the sink prints its ports")
        });
        let mut port = || ports.next().expect("the sink prints two ports");
        Self {
            plaintext_port: port(),
            mtls_port: port(),
            ca_pem: pki.ca_pem().to_owned(),
            client: pki.client(Fixture::Good),
            process,
            _lifeline: lifeline,
        }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        // It has nothing to lose, and may be gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Serves until the process that started this one closes our stdin.
pub(crate) fn run() {
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    runtime.expect("a runtime").block_on(async {
        let plaintext = listener().await;
        let mtls = listener().await;
        let acceptor = TlsAcceptor::from(tls());
        tokio::spawn(async move {
            loop {
                let (tcp, _) = mtls.accept().await.expect("a connection");
                tcp.set_nodelay(true).expect("an open socket");
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    serve(acceptor.accept(tcp).await.expect("a client with a certificate")).await;
                });
            }
        });
        loop {
            let (tcp, _) = plaintext.accept().await.expect("a connection");
            tcp.set_nodelay(true).expect("an open socket");
            tokio::spawn(serve(tcp));
        }
    });
}

async fn listener() -> TcpListener {
    let listener = TcpListener::bind(("localhost", 0)).await.expect("a free port");
    println!("{}", listener.local_addr().expect("a bound socket").port());
    listener
}

fn tls() -> Arc<ServerConfig> {
    let pem = |name| std::env::var(name).expect("the process that started this one sets it");
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates(&pem(CLIENT_CA)));
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let key = PrivateKeyDer::from_pem_slice(pem(KEY).as_bytes()).expect("a key");
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("aws-lc-rs has the default versions")
        .with_client_cert_verifier(verifier.build().expect("a client CA"))
        .with_single_cert(certificates(&pem(CERTIFICATE)), key)
        .expect("the key of the certificate");
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config)
}

fn certificates(pem: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().expect("certificates")
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
    let connection = auto::Builder::new(TokioExecutor::new());
    // A client that goes away in the middle is the other process's to report.
    let _ = connection.serve_connection(TokioIo::new(stream), service_fn(answer)).await;
}

/// Success, once the request has been read to its end.
async fn answer(
    request: Request<Incoming>,
) -> Result<Response<BoxBody<Bytes, Infallible>>, hyper::Error> {
    let content_type = request.headers().get(CONTENT_TYPE).cloned();
    let mut body = request.into_body();
    while let Some(frame) = body.frame().await {
        frame?;
    }
    let is_grpc = content_type.as_ref().is_some_and(|value| value == "application/grpc");
    let mut response = Response::new(if is_grpc {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        // One message, not compressed, of no bytes.
        let message = Full::new(Bytes::from_static(&[0; 5]));
        message.with_trailers(async { Some(Ok(trailers)) }).boxed()
    } else {
        Empty::new().boxed()
    });
    response.headers_mut().extend(content_type.map(|value| (CONTENT_TYPE, value)));
    Ok(response)
}
