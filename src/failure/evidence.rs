//! What a dial learned about the peer, and the credentials it used. Failures are classified and
//! worded from this snapshot, so that a later rotation does not falsify them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use crate::lock::lock;
use crate::text::contains;
use crate::tls::{Generation, Handshake};

/// How many of the first bytes from a peer are kept.
const GREETING: usize = 512;

/// The stage that a dial has reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stage {
    #[default]
    Resolving,
    Connecting,
    /// Waiting for a proxy's response to CONNECT.
    Tunnelling,
    Handshaking,
    /// Waiting for the server to begin HTTP/2 or to reject our certificate.
    AwaitingSettings,
    Ready,
}

/// What a connection saw while it was made.
#[derive(Clone, Debug, Default)]
pub(crate) struct Evidence {
    /// The credentials it used; `None` over plaintext.
    pub(crate) credentials: Option<Arc<Generation>>,
    /// The credentials used with the proxy; `None` without TLS to it.
    pub(crate) proxy_credentials: Option<Arc<Generation>>,
    pub(crate) stage: Stage,
    /// Whether the server has answered a request on an earlier connection.
    pub(crate) has_answered: bool,
    /// The peer's address: the collector's, or that of the proxy before it.
    pub(crate) peer: Option<Peer>,
    /// The first bytes from the collector, below TLS.
    pub(crate) greeting: Greeting,
    /// `None` over plaintext, and until a handshake has begun.
    pub(crate) handshake: Option<Handshake>,
    /// What was negotiated; `None` over plaintext, and until the handshake is complete.
    pub(crate) session: Option<Session>,
    /// When the bearer token that was sent was read; `None` without one.
    pub(crate) token_read: Option<SystemTime>,
}

/// The address of a peer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Peer {
    Tcp(SocketAddr),
    Unix,
}

/// What a completed handshake negotiated.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) version: Option<rustls::ProtocolVersion>,
    pub(crate) cipher_suite: Option<rustls::CipherSuite>,
    pub(crate) key_exchange: Option<rustls::NamedGroup>,
    pub(crate) alpn: Option<Vec<u8>>,
}

/// The first bytes from a peer. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Greeting(Arc<Mutex<Vec<u8>>>);

/// The protocol that a peer speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerProtocol {
    /// HTTP/1.1 or older, in plaintext.
    Http1,
    /// HTTP/2 in plaintext, as gRPC does.
    Http2,
    /// TLS.
    Tls,
    /// Another protocol, which cannot carry OTLP.
    Other,
}

impl Greeting {
    pub(crate) fn hear(&self, bytes: &[u8]) {
        let mut heard = lock(&self.0);
        let room = GREETING.saturating_sub(heard.len());
        heard.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.0).is_empty()
    }

    /// The protocol, if there are any bytes and they are not TLS. An HTTP page that reports
    /// plaintext on a TLS port is HTTP here.
    pub(crate) fn plaintext(&self) -> Option<PeerProtocol> {
        match self.spoken() {
            Some(PeerProtocol::Tls) if lock(&self.0).starts_with(b"HTTP/") => {
                Some(PeerProtocol::Http1)
            }
            Some(PeerProtocol::Tls) => None,
            None if !self.is_empty() => Some(PeerProtocol::Other),
            spoken => spoken,
        }
    }

    /// The protocol, if it is known.
    pub(crate) fn spoken(&self) -> Option<PeerProtocol> {
        match lock(&self.0).as_slice() {
            bytes @ [b'H', b'T', b'T', b'P', b'/', ..] => match is_page_of_tls(bytes) {
                true => Some(PeerProtocol::Tls),
                false => Some(PeerProtocol::Http1),
            },
            // Python's server answers unparsable requests without a header, as HTTP/0.9 did.
            [b'<', ..] => Some(PeerProtocol::Http1),
            // RFC 8446, section 5.1: an alert or a handshake record, whose first byte may arrive
            // alone.
            [0x15 | 0x16] | [0x15 | 0x16, 0x03, ..] => Some(PeerProtocol::Tls),
            // RFC 9113, section 4.1: a SETTINGS or GOAWAY frame on stream 0.
            [0x00, _, _, 0x04 | 0x07, _, 0x00, 0x00, 0x00, 0x00, ..] => Some(PeerProtocol::Http2),
            _ => None,
        }
    }
}

/// Whether a page says that plaintext HTTP was sent to a TLS port, as Go's and nginx's do.
pub(crate) fn is_page_of_tls(page: &[u8]) -> bool {
    contains(page, b"sent an HTTP request to an HTTPS server")
        || contains(page, b"plain HTTP request was sent to HTTPS port")
}
