//! The encoder, which is private to the crate.
#![allow(dead_code, unexpected_cfgs, unreachable_pub)]

#[path = "../../src/otlp/common.rs"]
pub(crate) mod common;
#[path = "../../src/otlp/schema.rs"]
mod schema;
#[path = "../../src/otlp/traces.rs"]
pub(crate) mod traces;
#[path = "../../src/otlp/wire.rs"]
mod wire;
