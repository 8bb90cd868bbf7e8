//! Collectors that stop and restart during continuous exports.

use std::thread;
use std::time::Duration;

use otlp_mtls::Protocol;

use super::load::{BATCH, Count, THREADS, under_load};
use super::{Deployment, End};

/// Exports that succeed between two stops: enough for each thread to export again.
const BETWEEN: usize = 20;

/// Spans in flight: each thread has one export.
const ON_THE_WAY: usize = THREADS * BATCH;

/// The protocols and HTTP versions.
#[derive(Clone, Copy)]
enum Route {
    Grpc,
    Http2,
    /// In plaintext, because over TLS a Collector always selects HTTP/2.
    Http1,
}

impl Route {
    fn deployment(self) -> Option<Deployment> {
        match self {
            Self::Grpc | Self::Http2 => Deployment::start(&[]),
            Self::Http1 => Deployment::start_plaintext(),
        }
    }

    fn protocol(self) -> Protocol {
        match self {
            Self::Grpc => Protocol::Grpc,
            Self::Http2 | Self::Http1 => Protocol::HttpProtobuf,
        }
    }
}

fn restarts(route: Route, end: End, times: usize) -> Option<Count> {
    let mut deployment = route.deployment()?;
    let exporters = deployment.builder(route.protocol()).build().unwrap();
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

/// Everything arrives. Spans in flight may arrive twice, because they are sent again: it is unknown whether the
/// Collector had received them.
fn kills(route: Route) {
    let times = 10;
    let Some(count) = restarts(route, End::Killed, times) else { return };
    let Count { exported, received, duplicated, lost, reported } = count;
    assert_eq!((received, lost, reported), (exported, 0, 0));
    assert!(duplicated <= times * ON_THE_WAY, "{count:?}");
}

/// Everything arrives exactly once.
fn stops(route: Route) {
    let Some(count) = restarts(route, End::Stopped, 20) else { return };
    count.assert_exact();
}

/// Losses in an outage longer than the exports' timeout are reported. Only spans in flight at its start or end may
/// still have arrived, or arrived twice.
fn outage(route: Route) {
    let Some(mut deployment) = route.deployment() else { return };
    let builder = deployment.builder(route.protocol()).with_timeout(Duration::from_secs(1));
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

/// On all routes concurrently, because most of the time is spent waiting for the next attempt.
fn on_each_route(test: fn(Route)) {
    thread::scope(|scope| {
        for route in [Route::Grpc, Route::Http2, Route::Http1] {
            scope.spawn(move || test(route));
        }
    });
}

#[test]
fn nothing_is_lost_when_a_collector_is_killed() {
    on_each_route(kills);
}

#[test]
fn everything_arrives_once_when_a_collector_is_stopped() {
    on_each_route(stops);
}

#[test]
fn losses_in_an_outage_are_reported() {
    on_each_route(outage);
}
