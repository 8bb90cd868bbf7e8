//! The crate's behaviour over real sockets, real handshakes and real files.
#![allow(clippy::unwrap_used)]

mod exporter;
#[allow(dead_code, reason = "of its servers, `tests/process` uses the others")]
mod scripted;
mod support;

mod answers;
mod authority;
mod check;
mod credentials;
mod deadlines;
mod delivery;
mod doctor;
mod files;
mod http_proxy;
mod metrics;
mod pacing;
mod proxy;
mod retry;
mod rotation;
mod runtimes;
mod servers;
mod sharing;
#[cfg(unix)]
mod soak;
mod status;
mod testing;
mod tokens;
mod too_large;
mod trust;
#[cfg(unix)]
mod unix_sockets;
mod upstream;
mod warnings;
mod wire;
mod words;
