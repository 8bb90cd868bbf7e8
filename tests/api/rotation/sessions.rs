//! TLS sessions, which end with the identity that they were made under.

use std::time::Duration;

use otlp_mtls::Retry;

use super::{Service, VERSIONS, WAYS, Way};

/// Exports after each of several changes, and after each broken connection in between.
fn changed(way: Way, change: impl Fn(&Service, usize)) {
    for version in VERSIONS {
        // An export may begin before the end of its connection is noticed.
        let eager = Retry::default().with_initial_backoff(Duration::from_millis(1));
        let service = Service::with(way, &[version], |builder| {
            builder.with_reload_interval(Duration::ZERO).with_retry(eager)
        });
        let collector = &service.collector;
        service.export().unwrap();
        for round in 1..=3 {
            change(&service, round);
            service.export().unwrap();
            let context = format!("{way:?} {version:?} {round}");
            assert_eq!(service.running.status().generation, round as u64, "{context}");
            assert_eq!(collector.resumptions(), round - 1, "{context}: an old session");
            // They do resume otherwise, or this test could not fail.
            collector.close_connections();
            service.export().unwrap();
            assert_eq!(collector.resumptions(), round, "{context}: no session");
            assert_eq!(collector.handshakes(), 1 + 2 * round, "{context}");
        }
    }
}

#[test]
fn a_new_identity_resumes_nothing() {
    for way in WAYS {
        changed(way, |service, round| {
            service.files.replace_identity(&service.pki.client_named(&format!("number {round}")));
        });
    }
}

#[test]
fn a_new_ca_resumes_nothing() {
    for way in WAYS {
        changed(way, |service, round| {
            let (ca, other) = (service.pki.ca_pem(), service.pki.other_ca_pem());
            let bundle = if round % 2 == 1 { format!("{ca}{other}") } else { ca.to_owned() };
            service.files.replace("ca.crt", bundle);
        });
    }
}

/// The server would take a session of the first time.
#[test]
fn an_identity_that_returns_resumes_nothing() {
    for way in WAYS {
        for version in VERSIONS {
            let service = Service::with(way, &[version], |builder| {
                builder.with_reload_interval(Duration::ZERO)
            });
            let [one, two] = ["one", "two"].map(|name| service.pki.client_named(name));
            for (generation, identity) in [&one, &two, &one, &two].into_iter().enumerate() {
                service.files.replace_identity(identity);
                service.export().unwrap();
                assert_eq!(service.running.status().generation, generation as u64 + 1);
            }
            assert_eq!(service.collector.handshakes(), 4);
            assert_eq!(service.collector.resumptions(), 0);
        }
    }
}
