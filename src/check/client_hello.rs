//! Tests whether a server that does not answer plaintext speaks TLS.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::failure::{Greeting, PeerProtocol};
use crate::tls::crypto_provider;

/// The timeout of the server's answer.
const ANSWERING: Duration = Duration::from_secs(5);

/// Whether the server answers a ClientHello with TLS: a ServerHello or an alert. The handshake stops there, so
/// no certificate has to be trusted.
pub(super) async fn is_answered(server: SocketAddr) -> bool {
    let ask = async {
        let hello = client_hello(server)?;
        let mut stream = TcpStream::connect(server).await?;
        stream.write_all(&hello).await?;
        let greeting = Greeting::default();
        let mut first = [0; 16];
        let length = stream.read(&mut first).await?;
        greeting.hear(&first[..length]);
        io::Result::Ok(greeting.spoken() == Some(PeerProtocol::Tls))
    };
    // Any error counts as no.
    timeout(ANSWERING, ask).await.is_ok_and(|answer| answer.unwrap_or(false))
}

fn client_hello(server: SocketAddr) -> io::Result<Vec<u8>> {
    let provider = crypto_provider(None).map_err(io::Error::other)?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let name = ServerName::IpAddress(server.ip().into());
    let mut session = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    let mut hello = Vec::new();
    session.write_tls(&mut hello)?;
    Ok(hello)
}
