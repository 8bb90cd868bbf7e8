//! The tests of other OTLP implementations, as tables of facts: README.md has their format and sources.
//!
//! The cases of kind `resolve` are in `src/exporters/peers.rs`: only the settings show their outcome.
#![allow(clippy::unwrap_used)]

mod export;
#[path = "../api/exporter.rs"]
mod exporter;
mod files;
mod http1;
mod http2;
mod input;
mod life;
mod proxy;
mod run;
mod server;
// In `src`, because unit tests in the published package have no access to `tests`.
#[path = "../../src/exporters/peers/table.rs"]
mod table;
mod tls;
mod warnings;

use self::run::run;
use self::table::Kind;

#[test]
fn temporality() {
    run(&[Kind::Temporality], 1, export::temporality);
}

#[test]
fn files() {
    files::run();
}

#[test]
fn http() {
    run(&[Kind::Http], 16, http1::observe);
}

#[test]
fn http2() {
    run(&[Kind::Http2], 16, http2::observe);
}

#[test]
fn tls() {
    run(&[Kind::Tls], 2, tls::observe);
}

#[test]
fn proxy() {
    proxy::run();
}

#[test]
fn life() {
    run(&[Kind::Life], 16, life::observe);
}
