//! What a dial saw of the other side: plain data, from which failures and reports are worded.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use rustls::pki_types::CertificateDer;

use crate::lock::lock;

/// How much of what a peer says first is kept.
const GREETING: usize = 512;

/// What a connection saw while it was made.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observation {
    /// Whether the server has answered a request on an earlier connection.
    pub(crate) has_answered: bool,
    /// Whom TCP connected to: the collector, or the proxy before it.
    pub(crate) peer: Option<SocketAddr>,
    /// What the peer said first, on TCP.
    pub(crate) greeting: Greeting,
    /// `None` over plaintext, and until there is a handshake to speak of.
    pub(crate) handshake: Option<Handshake>,
    /// What was agreed on; `None` over plaintext, and while the handshake was not done.
    pub(crate) session: Option<Session>,
}

/// What a handshake showed, whether or not it came to an end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Handshake {
    /// What the server presented, leaf first. Empty if it came to none.
    pub(crate) server_chain: Vec<CertificateDer<'static>>,
    /// The trust anchor to which that leads, once we accepted it.
    pub(crate) anchor: Option<CertificateDer<'static>>,
    /// Whether the server asked for a client certificate.
    pub(crate) certificate_requested: bool,
    /// Whose certificates the server says that it takes, as distinguished names.
    pub(crate) acceptable_issuers: Vec<String>,
}

/// What a completed handshake agreed on.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) version: Option<rustls::ProtocolVersion>,
    pub(crate) cipher_suite: Option<rustls::CipherSuite>,
    pub(crate) key_exchange: Option<rustls::NamedGroup>,
    pub(crate) alpn: Option<Vec<u8>>,
}

/// What one handshake shows our verifier and resolver. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notes(Arc<Mutex<Handshake>>);

impl Notes {
    pub(crate) fn presented<'a>(&self, chain: impl Iterator<Item = &'a CertificateDer<'a>>) {
        lock(&self.0).server_chain = chain.map(|der| der.clone().into_owned()).collect();
    }

    pub(crate) fn verified(&self, anchor: &CertificateDer<'_>) {
        lock(&self.0).anchor = Some(anchor.clone().into_owned());
    }

    pub(crate) fn requested(&self, acceptable_issuers: Vec<String>) {
        let mut handshake = lock(&self.0);
        handshake.certificate_requested = true;
        handshake.acceptable_issuers = acceptable_issuers;
    }

    /// What the handshake has shown so far.
    pub(crate) fn read(&self) -> Handshake {
        lock(&self.0).clone()
    }
}

/// The first bytes of a peer. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Greeting(Arc<Mutex<Vec<u8>>>);

/// What a peer speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Spoken {
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
    pub(crate) fn plaintext(&self) -> Option<Spoken> {
        match self.spoken() {
            Some(Spoken::Tls) if lock(&self.0).starts_with(b"HTTP/") => Some(Spoken::Http1),
            Some(Spoken::Tls) => None,
            None if !self.is_empty() => Some(Spoken::Other),
            spoken => spoken,
        }
    }

    /// What the bytes are, if they are something known.
    pub(crate) fn spoken(&self) -> Option<Spoken> {
        match lock(&self.0).as_slice() {
            bytes @ [b'H', b'T', b'T', b'P', b'/', ..] => match is_page_of_tls(bytes) {
                true => Some(Spoken::Tls),
                false => Some(Spoken::Http1),
            },
            // Python's answers what it cannot parse so, as HTTP/0.9 did.
            [b'<', ..] => Some(Spoken::Http1),
            // RFC 8446, section 5.1: an alert or a handshake record, of which one byte may come first.
            [0x15 | 0x16] | [0x15 | 0x16, 0x03, ..] => Some(Spoken::Tls),
            // RFC 9113, section 4.1: a SETTINGS or GOAWAY frame on stream 0.
            [0x00, _, _, 0x04 | 0x07, _, 0x00, 0x00, 0x00, 0x00, ..] => Some(Spoken::Http2),
            _ => None,
        }
    }
}

/// Whether a page says that HTTP came to a port for TLS, as Go's and nginx's do.
pub(crate) fn is_page_of_tls(page: &[u8]) -> bool {
    contains(page, b"sent an HTTP request to an HTTPS server")
        || contains(page, b"plain HTTP request was sent to HTTPS port")
}

/// Whether a text is in a page, whatever its case.
pub(crate) fn contains(page: &[u8], text: &[u8]) -> bool {
    page.windows(text.len()).any(|window| window.eq_ignore_ascii_case(text))
}
