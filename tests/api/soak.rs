//! The soak of `examples/rotation.rs`, at smaller size.

use super::support::TRANSPORTS;

#[path = "../../examples/rotation.rs"]
#[allow(dead_code, reason = "its main")]
mod rotation;

#[test]
fn rotations_under_continuous_export_lose_nothing() {
    for protocol in TRANSPORTS {
        let verdict = rotation::soak(protocol, 5).unwrap();
        assert!(verdict.problems.is_empty(), "{protocol:?}: {:#?}", verdict.problems);
    }
}
