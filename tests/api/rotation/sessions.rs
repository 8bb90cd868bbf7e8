//! TLS sessions are not resumed: every connection presents the current identity.

use std::time::Duration;

use otlp_mtls::RetryPolicy;

use super::{Service, VERSIONS, WAYS};

#[test]
fn every_connection_presents_the_current_identity() {
    for way in WAYS {
        for version in VERSIONS {
            // An export may begin before the end of its connection is noticed.
            let eager = RetryPolicy::default().with_initial_backoff(Duration::from_millis(1));
            let service = Service::with(way, &[version], |builder| {
                builder.with_reload_interval(Duration::ZERO).with_retry(eager)
            });
            let [one, two] = ["one", "two"].map(|name| service.pki.client_named(name));
            let mut expected = Vec::new();
            for identity in [&one, &two, &one, &two] {
                service.files.replace_identity(identity);
                service.export().unwrap();
                service.collector.close_connections();
                service.export().unwrap();
                let leaf = identity.certificate_ders()[0].to_vec();
                expected.extend([leaf.clone(), leaf]);
            }
            let presented = service.collector.client_certificates();
            let presented: Vec<_> = presented.iter().map(|leaf| leaf.der().to_vec()).collect();
            assert_eq!(presented, expected, "{way:?} {version:?}");
            assert_eq!(service.collector.handshakes(), 8, "{way:?} {version:?}");
            assert_eq!(service.collector.resumptions(), 0, "{way:?} {version:?}");
        }
    }
}
