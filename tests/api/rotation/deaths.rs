//! Identities and CAs that become invalid: the files are checked at once, and the same export succeeds.

use std::sync::{Barrier, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use otlp_mtls::testing::{Accept, Fixture};
use otlp_mtls::{ExportersBuilder, RetryPolicy, Signal};

use super::{HOUR, Service, VERSIONS, WAYS, Way};
use crate::support::{SOON, once};

/// Which side refuses the other from now on.
#[derive(Clone, Copy, Debug)]
enum Death {
    /// The server no longer trusts our CA.
    Ours,
    /// We do not trust the server's new CA.
    Theirs,
}

const DEATHS: [Death; 2] = [Death::Ours, Death::Theirs];

impl Death {
    fn strikes(self, service: &Service) {
        let Service { pki, collector, .. } = service;
        let (server, ca) = match self {
            Self::Ours => (Fixture::Good, pki.other_ca_pem()),
            Self::Theirs => (Fixture::OtherCa, pki.ca_pem()),
        };
        collector.set_tls(pki.server(server), Some(ca)).unwrap();
        collector.close_connections();
    }

    /// Writes files that match the server.
    fn is_remedied(self, service: &Service) {
        let Service { pki, files, .. } = service;
        match self {
            Self::Ours => files.replace_identity(&pki.client(Fixture::OtherCa)),
            Self::Theirs => files.replace("ca.crt", pki.other_ca_pem()),
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Ours => "the server refused us",
            Self::Theirs => "we refused the server",
        }
    }

    fn name_afterwards(self) -> &'static str {
        match self {
            Self::Ours => "test-client",
            Self::Theirs => "first",
        }
    }
}

/// One attempt per export. The files are checked only after a failure.
fn patient(builder: ExportersBuilder) -> ExportersBuilder {
    once(builder).with_reload_interval(HOUR)
}

fn each(test: impl Fn(Service, Death, &str)) {
    each_with(patient, test);
}

fn each_with(
    configure: fn(ExportersBuilder) -> ExportersBuilder,
    test: impl Fn(Service, Death, &str),
) {
    for way in WAYS {
        for version in VERSIONS {
            for death in DEATHS {
                let service = Service::with(way, &[version], configure);
                test(service, death, &format!("{way:?} {version:?} {death:?}"));
            }
        }
    }
}

#[test]
fn the_first_export_succeeds_on_the_second_connection() {
    each(|service, death, context| {
        death.strikes(&service);
        death.is_remedied(&service);
        let expected = (1, death.name_afterwards().to_owned());
        assert_eq!(service.seen(Signal::Traces), expected, "{context}");
        service.is(1, death.name_afterwards(), 1);
        assert_eq!(service.collector.received().len(), 4, "{context}: each was sent once");
    });
}

#[test]
fn an_export_of_a_running_service_succeeds() {
    // An export may begin before the end of its connection is noticed, and be interrupted by it. That
    // alone is retried; a refusal is not.
    let eager = |builder| {
        patient(builder)
            .with_retry(RetryPolicy::default().with_initial_backoff(Duration::from_millis(1)))
    };
    each_with(eager, |service, death, context| {
        service.export().unwrap();
        death.strikes(&service);
        death.is_remedied(&service);
        let (_, name) = service.seen(Signal::Traces);
        assert_eq!(name, death.name_afterwards(), "{context}");
        assert_eq!(service.running.status().generation, 1, "{context}");
        assert_eq!(service.collector.requests().len(), 2, "{context}");
    });
}

#[test]
fn exports_of_all_signals_at_once_succeed() {
    each(|service, death, context| {
        death.strikes(&service);
        death.is_remedied(&service);
        let barrier = Barrier::new(Signal::ALL.len());
        thread::scope(|scope| {
            for signal in Signal::ALL {
                let (service, barrier) = (&service, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    let exported = service.running.export(signal);
                    assert!(exported.is_ok(), "{context} {signal}: {exported:?}");
                });
            }
        });
        assert_eq!(service.running.status().generation, 1, "{context}");
        let requests = service.collector.received();
        assert_eq!(requests.len(), Signal::ALL.len(), "{context}: each was sent once");
    });
}

/// The server has answered before, so the export waits for another attempt: for longer than the test does.
#[test]
fn an_export_that_waits_finds_new_files() {
    for (way, death) in WAYS.into_iter().flat_map(|way| DEATHS.map(|death| (way, death))) {
        let service = Service::with(way, rustls::DEFAULT_VERSIONS, |builder| {
            let retry = RetryPolicy::default().with_initial_backoff(2 * SOON);
            let retry = retry.with_max_backoff(2 * SOON);
            builder.with_reload_interval(HOUR).with_timeout(4 * SOON).with_retry(retry)
        });
        service.export().unwrap();
        death.strikes(&service);
        thread::scope(|scope| {
            let (tell, exported) = mpsc::channel();
            let service = &service;
            scope.spawn(move || tell.send(service.export().map(drop)));
            let begun = Instant::now();
            while service.running.exporters.status().exports[0].next_attempt.is_none() {
                assert!(begun.elapsed() < SOON, "{way:?} {death:?}: the export does not fail");
                thread::yield_now();
            }
            death.is_remedied(service);
            let exported = exported.recv_timeout(SOON);
            assert_eq!(exported, Ok(Ok(())), "{way:?} {death:?}");
        });
    }
}

/// A permanent failure is remembered: further exports fail without a dial.
#[test]
fn without_valid_files_there_is_no_new_dial() {
    each(|service, death, context| {
        death.strikes(&service);
        for _ in 0..3 {
            let error = service.export().unwrap_err();
            assert!(error.contains(death.words()), "{context}: {error}");
            assert_eq!(service.collector.connections(), 1, "{context}");
        }
        assert_eq!(service.running.status().generation, 0);
        assert!(service.collector.wait_until(SOON, |seen| seen.open_connections() == 0));
        assert_eq!(service.running.refusal(), None, "the files are as they were");

        death.is_remedied(&service);
        assert_eq!(recovers(&service), death.name_afterwards(), "{context}");
        assert_eq!(service.running.status().generation, 1, "{context}");
    });
}

/// Exports until an export succeeds, and returns the name of the client certificate: after a failure the files are
/// checked at most once a second.
fn recovers(service: &Service) -> String {
    let begun = Instant::now();
    while service.export().is_err() {
        assert!(begun.elapsed() < SOON, "the files are not checked");
        thread::yield_now();
    }
    service.seen(Signal::Traces).1
}

#[test]
fn bad_files_do_not_replace_a_dead_identity() {
    each(|service, death, context| {
        death.strikes(&service);
        service.files.write("client.key", "garbage");
        let error = service.export().unwrap_err();
        assert!(error.contains(death.words()), "{context}: {error}");
        assert_eq!(service.collector.connections(), 1, "{context}");
        assert!(service.running.refusal().unwrap().contains("holds no PEM"), "{context}");

        service.files.replace_identity(&service.pki.client_named("first"));
        death.is_remedied(&service);
        assert_eq!(recovers(&service), death.name_afterwards(), "{context}");
        assert_eq!(service.running.refusal(), None, "{context}");
    });
}

/// Exports that wait for a dial share its failure, but not if they use newer credentials.
#[test]
fn a_dial_under_the_old_identity_fails_no_export_under_the_new_one() {
    let service = Service::with(Way::Grpc, rustls::DEFAULT_VERSIONS, |builder| {
        patient(builder).with_connect_timeout(Duration::from_secs(1))
    });
    let Service { running, collector, files, pki } = &service;
    collector.set_accept(Accept::Silence);
    thread::scope(|scope| {
        let dialling = scope.spawn(|| running.export(Signal::Traces));
        assert!(collector.wait_until(SOON, |seen| seen.connections() == 1));
        collector.set_accept(Accept::Serve);
        files.replace_identity(&pki.client_named("second"));
        running.exporters.reload().unwrap();
        assert_eq!(running.seen(collector, Signal::Logs), (1, "second".to_owned()));
        let error = dialling.join().unwrap().unwrap_err();
        assert!(error.contains("no TLS handshake"), "{error}");
    });
}

/// If nothing listens, credentials are not the reason, and the files are not checked.
#[test]
fn a_connection_refused_does_not_check_the_files() {
    let service = Service::with(Way::Grpc, rustls::DEFAULT_VERSIONS, patient);
    service.export().unwrap();
    service.files.replace_identity(&service.pki.client_named("second"));
    let Service { collector, running, .. } = service;
    drop(collector);
    // The first one may already be in progress.
    let _ = running.export(Signal::Traces);
    let before = running.status().generation;
    let error = running.export(Signal::Traces).unwrap_err();
    assert!(error.contains("nothing listens there"), "{error}");
    assert_eq!(running.status().generation, before);
}
