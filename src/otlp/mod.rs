//! The OpenTelemetry protocol: the SDK's data as messages, and a collector's answers.

#[allow(dead_code)] // Its first users follow.
mod wire;
