//! For tests: a throw-away PKI and an in-process OTLP collector.
//!
//! [`Pki`] makes certificates, good ones and one for each way to be wrong. [`Collector`] serves OTLP/gRPC
//! and OTLP/HTTP on a loopback port, keeps what it receives, and misbehaves on demand. It has a thread of
//! its own and so works under any asynchronous runtime or none.
//!
//! ```
//! use std::io::{Read, Write};
//! use std::net::TcpStream;
//! use std::time::Duration;
//!
//! use otlp_mtls::Signal;
//! use otlp_mtls::testing::Collector;
//!
//! # fn main() -> std::io::Result<()> {
//! let collector = Collector::builder().start()?;
//!
//! // What an exporter would do.
//! let body = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"work"}]}]}]}"#;
//! let mut stream = TcpStream::connect(collector.addr())?;
//! write!(
//!     stream,
//!     "POST /v1/traces HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
//!      content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
//!     body.len()
//! )?;
//! let mut response = String::new();
//! stream.read_to_string(&mut response)?;
//!
//! assert!(response.starts_with("HTTP/1.1 200 OK"));
//! assert!(collector.wait_for(Signal::Traces, 1, Duration::from_secs(10)));
//! assert_eq!(collector.spans()[0].name, "work");
//! # Ok(())
//! # }
//! ```
//!
//! With TLS and a client certificate, [`Collector::builder`] takes what [`Pki`] makes:
//!
//! ```
//! use otlp_mtls::testing::{Collector, Fixture, Pki};
//!
//! # fn main() -> std::io::Result<()> {
//! let pki = Pki::new();
//! let collector = Collector::builder()
//!     .with_tls(pki.server(Fixture::Good))
//!     .with_client_ca(pki.ca_pem())
//!     .start()?;
//! assert!(collector.endpoint().starts_with("https://localhost:"));
//! # Ok(())
//! # }
//! ```

mod builder;
mod collector;
mod connection;
mod decode;
mod identity;
mod pki;
mod reply;
mod request;
mod service;
mod state;
mod tls;
mod v1;

pub use builder::CollectorBuilder;
pub use collector::{Accept, Collector};
pub use identity::Identity;
pub use pki::{Fixture, KeyType, Pki};
pub use reply::Reply;
pub use request::{ClientCertificate, Request};
