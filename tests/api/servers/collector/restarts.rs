//! Collectors that end and come back while exports are under way.

use otlp_mtls::Protocol;
use otlp_mtls::testing::{Fixture, Pki};

use super::load::{BATCH, Count, THREADS, under_load};
use super::{End, OtelCollector, client, directory};
use crate::servers::go_builds;

/// Exports that succeed between two ends: enough for each thread to be at it again.
const BETWEEN: usize = 20;

fn restarts(protocol: Protocol, end: End, times: usize) -> Option<Count> {
    if !go_builds() {
        return None;
    }
    let pki = Pki::new();
    let directory = directory(&pki);
    let mut collector = OtelCollector::start(directory.path(), &[]);
    let exporters = client(&collector, protocol, &pki, Some(Fixture::Good)).build().unwrap();
    let claims = under_load(&exporters, |progress| {
        for _ in 0..times {
            progress.wait_for(BETWEEN);
            collector.restart(end);
        }
        progress.wait_for(BETWEEN);
    });
    let count = claims.count(&exporters, &collector);
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
    let exported = count.exported;
    let expected = Count { exported, received: exported, duplicated: 0, lost: 0, reported: 0 };
    assert_eq!(count, expected);
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
