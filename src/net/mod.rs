//! One server, any request: a connection that all share, and what is known of the server. Knows
//! nothing of what the requests mean.

#[allow(dead_code, reason = "nothing dials by it yet")]
mod link;
mod runtime;

pub(crate) use runtime::{Alive, Executor, Runtime, blocking, spawn};
