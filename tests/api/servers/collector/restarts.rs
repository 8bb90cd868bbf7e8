//! Collectors that end and come back while exports are under way.

use otlp_mtls::Protocol;

use super::load::{BATCH, Count, THREADS, under_load};
use super::{Deployment, End};

/// Exports that succeed between two ends: enough for each thread to be at it again.
const BETWEEN: usize = 20;

fn restarts(protocol: Protocol, end: End, times: usize) -> Option<Count> {
    let mut deployment = Deployment::start(&[])?;
    let exporters = deployment.builder(protocol).build().unwrap();
    let collector = &mut deployment.collector;
    let claims = under_load(&exporters, |progress| {
        for _ in 0..times {
            progress.wait_for(BETWEEN);
            collector.restart(end);
        }
        progress.wait_for(BETWEEN);
    });
    let count = claims.count(&exporters, collector);
    eprintln!("{protocol}, {end:?} {times} times: {count:?}");
    Some(count)
}

/// What was acknowledged is there, and nothing is given up. What was on its way may be there twice:
/// nobody knows whether a Collector that is dead has taken it.
fn kills(protocol: Protocol) {
    let times = 10;
    let Some(count) = restarts(protocol, End::Killed, times) else { return };
    let Count { exported, received, lost, reported, duplicated } = count;
    assert_eq!((received, lost, reported), (exported, 0, 0));
    // Each thread has one export on its way.
    assert!(duplicated <= times * THREADS * BATCH, "{duplicated}");
}

/// Everything arrives once.
fn stops(protocol: Protocol) {
    let Some(count) = restarts(protocol, End::Stopped, 20) else { return };
    count.assert_exact();
}

#[test]
fn nothing_is_lost_over_grpc_when_the_collector_is_killed() {
    kills(Protocol::Grpc);
}

#[test]
fn nothing_is_lost_over_http_when_the_collector_is_killed() {
    kills(Protocol::HttpProtobuf);
}

#[test]
fn everything_arrives_once_over_grpc_when_the_collector_is_stopped() {
    stops(Protocol::Grpc);
}

#[test]
fn everything_arrives_once_over_http_when_the_collector_is_stopped() {
    stops(Protocol::HttpProtobuf);
}
