//! What a dial saw of the other side, and with which credentials it was made: plain data, by which
//! failures are judged and worded, whatever is current later.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use crate::lock::lock;
use crate::text::contains;
use crate::tls::{Generation, Handshake};

/// How much of what a peer says first is kept.
const GREETING: usize = 512;

/// How far a dial has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stage {
    #[default]
    Resolving,
    Connecting,
    /// A proxy is asked to connect us.
    Tunnelling,
    Handshaking,
    /// The server has yet to begin HTTP/2, or to refuse our certificate.
    AwaitingSettings,
    Ready,
}

/// What a connection saw while it was made.
#[derive(Clone, Debug, Default)]
pub(crate) struct Evidence {
    /// What it was made with; `None` over plaintext.
    pub(crate) credentials: Option<Arc<Generation>>,
    pub(crate) stage: Stage,
    /// Whether the server has answered a request on an earlier connection.
    pub(crate) has_answered: bool,
    /// Whom we are connected to: the collector, or the proxy before it.
    pub(crate) peer: Option<Peer>,
    /// What the collector said first, below TLS.
    pub(crate) greeting: Greeting,
    /// `None` over plaintext, and until there is a handshake to speak of.
    pub(crate) handshake: Option<Handshake>,
    /// What was agreed on; `None` over plaintext, and while the handshake was not done.
    pub(crate) session: Option<Session>,
    /// When the bearer token that was sent was read; `None` without one.
    pub(crate) token_read: Option<SystemTime>,
}

/// Whom a dial came to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Peer {
    Tcp(SocketAddr),
    Unix,
}

/// What a completed handshake agreed on.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) version: Option<rustls::ProtocolVersion>,
    pub(crate) cipher_suite: Option<rustls::CipherSuite>,
    pub(crate) key_exchange: Option<rustls::NamedGroup>,
    pub(crate) alpn: Option<Vec<u8>>,
}

/// The first bytes of a peer. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Greeting(Arc<Mutex<Vec<u8>>>);

/// What a peer speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerProtocol {
    /// HTTP/1.1 or older, in plaintext.
    Http1,
    /// HTTP/2 in plaintext, as gRPC does.
    Http2,
    /// TLS.
    Tls,
    /// Something else: no protocol that OTLP travels by.
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

    /// What the bytes are, if there are any and they are not TLS; HTTP also where it says that TLS was
    /// expected.
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

    /// What the bytes are, if they are something known.
    pub(crate) fn spoken(&self) -> Option<PeerProtocol> {
        match lock(&self.0).as_slice() {
            bytes @ [b'H', b'T', b'T', b'P', b'/', ..] => match is_page_of_tls(bytes) {
                true => Some(PeerProtocol::Tls),
                false => Some(PeerProtocol::Http1),
            },
            // Python's answers what it cannot parse so, as HTTP/0.9 did.
            [b'<', ..] => Some(PeerProtocol::Http1),
            // RFC 8446, section 5.1: an alert or a handshake record, of which one byte may come first.
            [0x15 | 0x16] | [0x15 | 0x16, 0x03, ..] => Some(PeerProtocol::Tls),
            // RFC 9113, section 4.1: a SETTINGS or GOAWAY frame on stream 0.
            [0x00, _, _, 0x04 | 0x07, _, 0x00, 0x00, 0x00, 0x00, ..] => Some(PeerProtocol::Http2),
            _ => None,
        }
    }
}

/// Whether a page says that HTTP came to a port for TLS, as Go's and nginx's do.
pub(crate) fn is_page_of_tls(page: &[u8]) -> bool {
    contains(page, b"sent an HTTP request to an HTTPS server")
        || contains(page, b"plain HTTP request was sent to HTTPS port")
}
