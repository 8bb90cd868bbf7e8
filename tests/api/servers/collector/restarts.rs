//! Collectors that end and come back while exports are under way.

use std::time::Duration;

use otlp_mtls::Protocol;

use super::load::{BATCH, Count, THREADS, under_load};
use super::{Deployment, End};
use crate::support::TRANSPORTS;

/// Exports that succeed between two ends: enough for each thread to be at it again.
const BETWEEN: usize = 20;

/// Spans on their way at one time: each thread has one export.
const ON_THE_WAY: usize = THREADS * BATCH;

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
    Some(claims.count(&exporters, collector))
}

/// What was acknowledged is there, and nothing is given up. What was on its way may be there twice:
/// nobody knows whether a Collector that is dead has taken it.
fn kills(protocol: Protocol) {
    let times = 10;
    let Some(count) = restarts(protocol, End::Killed, times) else { return };
    let Count { exported, received, duplicated, lost, reported } = count;
    assert_eq!((received, lost, reported), (exported, 0, 0));
    assert!(duplicated <= times * ON_THE_WAY, "{count:?}");
}

/// Everything arrives once.
fn stops(protocol: Protocol) {
    let Some(count) = restarts(protocol, End::Stopped, 20) else { return };
    count.assert_exact();
}

/// What an outage that outlasts the exports costs is reported. Only what was on its way when it began
/// or ended may have arrived all the same, or twice.
fn outage(protocol: Protocol) {
    let Some(mut deployment) = Deployment::start(&[]) else { return };
    let builder = deployment.builder(protocol).with_timeout(Duration::from_secs(1));
    let exporters = builder.build().unwrap();
    let collector = &mut deployment.collector;
    let claims = under_load(&exporters, |progress| {
        progress.wait_for(BETWEEN);
        collector.end(End::Killed);
        progress.wait_for_failures(2 * THREADS);
        collector.start_again();
        progress.wait_for(BETWEEN);
    });
    let count = claims.count(&exporters, collector);
    let Count { exported, received, duplicated, lost, reported } = count;
    assert_eq!(lost, 0, "{count:?}");
    assert!(reported >= 2 * ON_THE_WAY, "{count:?}");
    assert!(received + reported <= exported + 2 * ON_THE_WAY, "{count:?}");
    assert!(duplicated <= 2 * ON_THE_WAY, "{count:?}");
}

#[test]
fn what_an_outage_costs_is_reported() {
    TRANSPORTS.into_iter().for_each(outage);
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
