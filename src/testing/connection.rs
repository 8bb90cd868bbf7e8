//! Accepts connections, terminates TLS, and selects the protocol.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{HandshakeKind, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

use super::state::Shared;
use super::{Accept, ClientCertificate, service};

/// The state of a connection that its requests share.
pub(super) struct Connection {
    pub(super) shared: Arc<Shared>,
    pub(super) index: usize,
    client_certificate: OnceLock<ClientCertificate>,
    requests: AtomicUsize,
    /// Closes the connection.
    pub(super) close: Notify,
    /// Closes the connection after its current requests.
    goaway: Notify,
    /// Whether the collector closed it.
    pub(super) closed: AtomicBool,
}

impl Connection {
    pub(super) fn client_certificate(&self) -> Option<ClientCertificate> {
        self.client_certificate.get().cloned()
    }

    /// Counts a request. Shuts down gracefully if it is the last one allowed on this connection.
    pub(super) fn count_request(&self) {
        let requests = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        if self.shared.lock().goaway_after.is_some_and(|limit| requests >= limit) {
            self.goaway.notify_one();
        }
    }
}

/// Removes the connection from the open ones on drop.
struct Open(Arc<Connection>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.shared.update(|state| state.open.remove(&self.0.index));
    }
}

/// Accepts connections until dropped.
pub(super) async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // For instance if file descriptors have run out, which needs time to recover.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        // Subscribes before the connection counts as open, so that no request to close it is missed.
        let close_all = shared.close.subscribe();
        let (index, accept, tls) = shared.update(|state| {
            let index = state.connections;
            state.connections += 1;
            state.open.insert(index);
            (index, state.accept, state.tls.clone())
        });
        let connection = Arc::new(Connection {
            shared: shared.clone(),
            index,
            client_certificate: OnceLock::new(),
            requests: AtomicUsize::new(0),
            close: Notify::new(),
            goaway: Notify::new(),
            closed: AtomicBool::new(false),
        });
        let serving = serve(connection.clone(), stream, accept, tls);
        tokio::spawn(run(connection, close_all, serving));
    }
}

/// Serves a connection until it ends or is closed.
async fn run(
    connection: Arc<Connection>,
    mut close_all: tokio::sync::watch::Receiver<()>,
    serving: impl Future<Output = io::Result<()>>,
) {
    let open = Open(connection.clone());
    {
        let mut serving = pin!(serving);
        tokio::select! {
            biased;
            _ = close_all.changed() => connection.closed.store(true, Ordering::Relaxed),
            () = connection.close.notified() => connection.closed.store(true, Ordering::Relaxed),
            // The error is ignored: tests look at the client's side.
            _ = serving.as_mut() => {}
        }
    }
    // The socket is closed.
    drop(open);
}

async fn serve(
    connection: Arc<Connection>,
    stream: TcpStream,
    accept: Accept,
    tls: Option<Arc<ServerConfig>>,
) -> io::Result<()> {
    match accept {
        Accept::Serve => {}
        Accept::Refuse => return Ok(()),
        Accept::Silence => {
            std::future::pending::<()>().await;
        }
    }
    stream.set_nodelay(true)?;
    let Some(tls) = tls else {
        return detect(connection, stream).await;
    };

    let shared = connection.shared.clone();
    let provider = tls.crypto_provider().clone();
    let stream = match TlsAcceptor::from(tls).accept(stream).await {
        Ok(stream) => stream,
        Err(error) => {
            shared.update(|state| state.failed_handshakes += 1);
            return Err(error);
        }
    };
    let (_, session) = stream.get_ref();
    let resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
    let leaf = session.peer_certificates().and_then(<[_]>::first);
    let certificate = leaf.and_then(|leaf| ClientCertificate::parse(leaf, &provider));
    if let Some(certificate) = certificate.clone() {
        // Cannot fail: it is set only here.
        let _ = connection.client_certificate.set(certificate);
    }
    let h2 = session.alpn_protocol() == Some(b"h2");
    shared.update(|state| {
        state.handshakes += 1;
        state.resumptions += usize::from(resumed);
        // A resumed session did not present its certificate in this handshake.
        state.client_certificates.extend(certificate.filter(|_| !resumed));
    });
    if h2 { serve_http2(connection, stream).await } else { detect(connection, stream).await }
}

/// <https://www.rfc-editor.org/rfc/rfc9113#section-3.4>
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Detects the protocol by the first bytes of `io`, and serves it.
async fn detect<I>(connection: Arc<Connection>, mut io: I) -> io::Result<()>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut seen = Vec::with_capacity(PREFACE.len());
    while seen.len() < PREFACE.len() && PREFACE.starts_with(&seen) {
        let mut buffer = [0; PREFACE.len()];
        let mut read = ReadBuf::new(&mut buffer[seen.len()..]);
        poll_fn(|context| Pin::new(&mut io).poll_read(context, &mut read)).await?;
        if read.filled().is_empty() {
            break;
        }
        seen.extend_from_slice(read.filled());
    }
    let h2 = seen == PREFACE;
    let io = Rewound { seen, inner: io };
    if h2 { serve_http2(connection, io).await } else { serve_http1(connection, io).await }
}

async fn serve_http1<I>(connection: Arc<Connection>, io: I) -> io::Result<()>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let requests = connection.clone();
    let service = service_fn(move |request| service::answer(requests.clone(), request));
    let mut serving = pin!(http1::Builder::new().serve_connection(TokioIo::new(io), service));
    loop {
        tokio::select! {
            served = serving.as_mut() => return served.map_err(io::Error::other),
            () = connection.goaway.notified() => serving.as_mut().graceful_shutdown(),
        }
    }
}

async fn serve_http2<I>(connection: Arc<Connection>, io: I) -> io::Result<()>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let requests = connection.clone();
    let service = service_fn(move |request| service::answer(requests.clone(), request));
    let builder = http2::Builder::new(TokioExecutor::new());
    let mut serving = pin!(builder.serve_connection(TokioIo::new(io), service));
    loop {
        tokio::select! {
            served = serving.as_mut() => return served.map_err(io::Error::other),
            () = connection.goaway.notified() => serving.as_mut().graceful_shutdown(),
        }
    }
}

/// A stream that yields the bytes already read before the rest.
struct Rewound<I> {
    seen: Vec<u8>,
    inner: I,
}

impl<I: AsyncRead + Unpin> AsyncRead for Rewound<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.seen.is_empty() {
            return Pin::new(&mut self.inner).poll_read(context, buffer);
        }
        let length = self.seen.len().min(buffer.remaining());
        buffer.put_slice(&self.seen[..length]);
        self.seen.drain(..length);
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Rewound<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
