//! Connections and requests to servers. This module does not know what the requests mean.

mod client;
mod connection;
mod credentials;
mod dial;
mod error;
#[cfg(feature = "opentelemetry-otlp")]
mod executor;
mod http1;
mod http2;
mod link;
mod message;
mod progress;
mod runtime;
#[cfg(feature = "opentelemetry-http")]
mod send;
mod service;
mod stream;
mod tunnel;

pub(crate) use client::{Client, Turn};
pub(crate) use credentials::{Watcher, rotating_config};
pub(crate) use dial::{Family, Target};
pub(crate) use error::{NetError, Sent};
#[cfg(feature = "opentelemetry-otlp")]
pub(crate) use executor::IoExecutor;
pub(crate) use message::{Deadline, Drained, End, Over, Request, Response, Stop};
pub(crate) use runtime::{Runtime, blocking};
pub use service::ConnectorStream;
pub(crate) use tunnel::Via;
