//! Certificates that one side does not accept of the other.

mod chain;
mod client;
mod fault;
mod server;

pub(super) use chain::Chain;
pub(super) use client::{client, is_acceptable};
pub(super) use fault::Fault;
pub(super) use server::server;
