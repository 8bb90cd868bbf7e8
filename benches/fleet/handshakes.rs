//! Handshakes with the exporters' certificates and verification, one after the other, and nothing else.
//!
//!     handshakes NUMBER PORT
//!
//! It prints the CPU time of one handshake in nanoseconds, and the bytes sent and received for it.

use std::env;
use std::fs;
use std::io;
use std::net::TcpStream;
use std::sync::Arc;

use otlp_mtls::rustls::{ClientConfig, ClientConnection};
use otlp_mtls::{Exporters, Signal};

fn main() {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let number: u64 = arguments[0].parse().expect("a number");
    let port: u16 = arguments[1].parse().expect("a port");
    let exporters = Exporters::from_env().expect("an environment of a service");
    let config = exporters.client_config(Signal::Traces).expect("an https endpoint");
    let mut config = ClientConfig::clone(&config);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let config = Arc::new(config);
    // The first one starts the cryptography.
    shake_hands(&config, port).expect("a handshake");
    let began = cpu();
    let mut bytes = (0, 0);
    for _ in 0..number {
        let (received, sent) = shake_hands(&config, port).expect("a handshake");
        bytes = (bytes.0 + sent as u64, bytes.1 + received as u64);
    }
    println!("{} {} {}", (cpu() - began) / number, bytes.0 / number, bytes.1 / number);
}

fn shake_hands(config: &Arc<ClientConfig>, port: u16) -> io::Result<(usize, usize)> {
    let name = "localhost".try_into().expect("a name");
    let mut tls = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
    let mut tcp = TcpStream::connect(("localhost", port))?;
    tcp.set_nodelay(true)?;
    let bytes = tls.complete_io(&mut tcp)?;
    // In TLS 1.3 the server verifies the client's certificate after the client's side is complete.
    tls.read_tls(&mut tcp)?;
    tls.process_new_packets().map_err(io::Error::other)?;
    Ok(bytes)
}

/// The CPU time of this thread, in nanoseconds.
fn cpu() -> u64 {
    let statistics = fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    statistics.split(' ').next().and_then(|cpu| cpu.parse().ok()).expect("a number")
}
