//! Failures in which one side rejected the other's certificate.

mod chain;
mod client;
mod fault;
mod server;

pub(super) use chain::Chain;
pub(super) use client::{client, is_acceptable};
pub(super) use fault::Fault;
pub(super) use server::server;
