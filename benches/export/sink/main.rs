//! A collector that counts what it acknowledges and keeps nothing. It runs in a separate process, so that the
//! exporter's process shows the exporter's CPU time and memory alone. (`otlp_mtls::testing::Collector` records
//! what it receives, and would fill the memory.)
//!
//! It takes its certificates from the given directory, or writes new ones into it, with those of a client, if there
//! are none. It prints two ports, for mutual TLS and for plaintext. Then it answers each line on stdin with the counts
//! since the previous one. It ends when stdin is closed.
//!
//! A second argument is the port for mutual TLS. Several sinks may share it: the kernel distributes the connections, as
//! a balancer does.

use std::convert::Infallible;
use std::io::{self, Read};
use std::net::ToSocketAddrs;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use otlp_mtls::rustls::crypto::aws_lc_rs;
use otlp_mtls::rustls::pki_types::pem::PemObject;
use otlp_mtls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use otlp_mtls::rustls::server::WebPkiClientVerifier;
use otlp_mtls::rustls::{RootCertStore, ServerConfig};
use otlp_mtls::testing::{Fixture, Pki};
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket};
use tokio_rustls::TlsAcceptor;

/// The part that the requests of all three signals have in common.
#[derive(Message)]
struct Export {
    #[prost(message, repeated, tag = 1)]
    resources: Vec<ResourceItems>,
}

#[derive(Message)]
struct ResourceItems {
    #[prost(message, repeated, tag = 2)]
    scopes: Vec<ScopeItems>,
}

#[derive(Message)]
struct ScopeItems {
    /// Spans, metrics or log records as slices of the request, without decoding.
    #[prost(bytes = "bytes", repeated, tag = 2)]
    items: Vec<Bytes>,
}

#[derive(Message)]
struct Metric {
    #[prost(message, tag = 5)]
    gauge: Option<Points>,
    #[prost(message, tag = 7)]
    sum: Option<Points>,
    #[prost(message, tag = 9)]
    histogram: Option<Points>,
}

#[derive(Message)]
struct Points {
    #[prost(bytes = "bytes", repeated, tag = 1)]
    points: Vec<Bytes>,
}

#[derive(Default)]
struct Counts {
    connections: u64,
    handshakes: u64,
    requests: u64,
    /// Spans, log records or data points.
    items: u64,
    /// The size of the requests' bodies as received.
    bytes: u64,
    first: Option<SystemTime>,
    last: Option<SystemTime>,
}

static COUNTS: Mutex<Option<Counts>> = Mutex::new(None);

/// Poisoning is harmless: the counts are always valid.
fn locked() -> MutexGuard<'static, Option<Counts>> {
    COUNTS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn count(change: impl FnOnce(&mut Counts)) {
    change(locked().get_or_insert_default());
}

fn main() {
    let directory = std::env::args().nth(1).expect("a directory for certificates");
    let directory = Path::new(&directory);
    let port = std::env::args().nth(2).map_or(0, |port| port.parse().expect("a port"));
    if !directory.join("server.crt").exists() {
        write_certificates(directory).expect("a directory to write to");
    }

    std::thread::spawn(report);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    runtime.expect("a runtime").block_on(async {
        let mtls = listener(port);
        let plaintext = listener(0);
        let acceptor = TlsAcceptor::from(tls(directory));
        tokio::spawn(async move {
            loop {
                let (tcp, _) = mtls.accept().await.expect("a connection");
                tcp.set_nodelay(true).expect("an open socket");
                count(|counts| counts.connections += 1);
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    if let Ok(tls) = acceptor.accept(tcp).await {
                        count(|counts| counts.handshakes += 1);
                        serve(tls).await;
                    }
                });
            }
        });
        loop {
            let (tcp, _) = plaintext.accept().await.expect("a connection");
            tcp.set_nodelay(true).expect("an open socket");
            count(|counts| counts.connections += 1);
            tokio::spawn(serve(tcp));
        }
    });
}

fn report() {
    let nanos = |time: Option<SystemTime>| {
        time.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default().as_nanos()
    };
    for _line in std::io::stdin().lines() {
        let Counts { connections, handshakes, requests, items, bytes, first, last } =
            locked().take().unwrap_or_default();
        let (first, last) = (nanos(first), nanos(last));
        println!("{connections} {handshakes} {requests} {items} {bytes} {first} {last}");
    }
    std::process::exit(0);
}

fn write_certificates(directory: &Path) -> io::Result<()> {
    let pki = Pki::new();
    pki.write_ca_to(directory)?;
    pki.client(Fixture::Good).write_to(directory, "client")?;
    pki.server(Fixture::Good).write_to(directory, "server")?;
    Ok(())
}

fn listener(port: u16) -> TcpListener {
    let mut addresses = ("localhost", port).to_socket_addrs().expect("the loopback interface");
    let address = addresses.next().expect("an address");
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let socket = socket.expect("a socket");
    socket.set_reuseport(true).expect("a socket that is not bound");
    socket.bind(address).expect("a free port");
    println!("{}", socket.local_addr().expect("a bound socket").port());
    // More than connect at once.
    socket.listen(4096).expect("a bound socket")
}

fn tls(directory: &Path) -> Arc<ServerConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let certificates = |name| {
        let certificates = CertificateDer::pem_file_iter(directory.join(name));
        certificates.expect("a file").map(|one| one.expect("a certificate"))
    };
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates("ca.crt"));
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let key = PrivateKeyDer::from_pem_file(directory.join("server.key")).expect("a key");
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("aws-lc-rs has the default versions")
        .with_client_cert_verifier(verifier.build().expect("a client CA"))
        .with_single_cert(certificates("server.crt").collect(), key)
        .expect("the key of the certificate");
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config)
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
    let connection = auto::Builder::new(TokioExecutor::new());
    // A client that disconnects early is visible in the counts.
    let _ = connection.serve_connection(TokioIo::new(stream), service_fn(answer)).await;
}

async fn answer(
    request: Request<Incoming>,
) -> Result<Response<BoxBody<Bytes, Infallible>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let content_type = head.headers.get(CONTENT_TYPE).cloned();
    let is_grpc = content_type.as_ref().is_some_and(|value| value == "application/grpc");
    let is_metrics = head.uri.path().to_ascii_lowercase().contains("metrics");
    let body = body.collect().await?.to_bytes();
    let received = body.len() as u64;
    let (encoding, message) = if is_grpc {
        // The prefix: a flag that tells whether the message is compressed, and the length.
        let encoding = head.headers.get("grpc-encoding").filter(|_| body[0] == 1);
        (encoding, body.slice(5..))
    } else {
        (head.headers.get(CONTENT_ENCODING), body)
    };
    let items = count_items(decompress(encoding, message), is_metrics);

    let mut response = Response::new(if is_grpc {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        // One empty, uncompressed message.
        let message = Full::new(Bytes::from_static(&[0; 5]));
        message.with_trailers(async { Some(Ok(trailers)) }).boxed()
    } else {
        Empty::new().boxed()
    });
    response.headers_mut().extend(content_type.map(|value| (CONTENT_TYPE, value)));
    let now = SystemTime::now();
    count(|counts| {
        counts.requests += 1;
        counts.items += items;
        counts.bytes += received;
        counts.first.get_or_insert(now);
        counts.last = Some(now);
    });
    Ok(response)
}

fn decompress(encoding: Option<&HeaderValue>, body: Bytes) -> Bytes {
    let mut content = Vec::new();
    let read = match encoding.map(HeaderValue::as_bytes) {
        None => return body,
        Some(b"gzip") => flate2::read::GzDecoder::new(&*body).read_to_end(&mut content),
        Some(b"zstd") => {
            zstd::Decoder::new(&*body).and_then(|mut zstd| zstd.read_to_end(&mut content))
        }
        Some(_) => panic!("no peer is told to send another encoding: {encoding:?}"),
    };
    read.expect("a compressed request");
    content.into()
}

fn count_items(request: Bytes, is_metrics: bool) -> u64 {
    let request = Export::decode(request).expect("a request of OTLP");
    let scopes = request.resources.into_iter().flat_map(|resource| resource.scopes);
    let items = scopes.flat_map(|scope| scope.items);
    if !is_metrics {
        return items.count() as u64;
    }
    let points = |metric: Bytes| {
        let Metric { gauge, sum, histogram } = Metric::decode(metric).expect("a metric");
        gauge.or(sum).or(histogram).map_or(0, |points| points.points.len() as u64)
    };
    items.map(points).sum()
}
