//! Clients that a Collector refuses.

use std::time::Duration;

use otlp_mtls::failure::{ClientCertificateProblem, RejectedVia};
use otlp_mtls::testing::Fixture;
use otlp_mtls::{FailureKind, Pem, Signal};
use rustls::AlertDescription;

use super::{Deployment, TLS_VERSIONS, on_both};
use crate::servers::haproxy::expected;
use crate::support::{TRANSPORTS, export, last_failure, once};

/// Go's alerts over TLS 1.2 and 1.3 to a client with this certificate, or with none.
const VERDICTS: [(Option<Fixture>, [AlertDescription; 2]); 7] = {
    use AlertDescription as Alert;
    [
        (None, [Alert::HandshakeFailure, Alert::CertificateRequired]),
        (Some(Fixture::MissingIntermediate), [Alert::UnknownCA; 2]),
        (Some(Fixture::OtherCa), [Alert::UnknownCA; 2]),
        (Some(Fixture::SelfSigned), [Alert::UnknownCA; 2]),
        (Some(Fixture::Expired), [Alert::CertificateExpired; 2]),
        (Some(Fixture::NotYetValid), [Alert::CertificateExpired; 2]),
        (Some(Fixture::WrongUsage), [Alert::BadCertificate; 2]),
    ]
};

#[test]
fn a_collector_refuses_a_client_with_an_alert() {
    for (nth, (version, overlays)) in TLS_VERSIONS.into_iter().enumerate() {
        let Some(deployment) = Deployment::start(&on_both(&overlays)) else { return };
        for protocol in TRANSPORTS {
            for (fixture, alerts) in VERDICTS {
                let case = format!("{protocol} over TLS {version}: {fixture:?}");
                let builder = once(deployment.builder_with(protocol, fixture));
                let exporters = builder.build().unwrap();
                let error = export(&exporters, Signal::Traces).expect_err(&case).to_string();
                assert!(error.contains("the server refused us: "), "{case}: {error}");
                let failure = last_failure(&exporters, Signal::Traces);
                let FailureKind::ClientCertificate { problem, said, acceptable_issuers, .. } =
                    failure.kind()
                else {
                    panic!("{case}: {failure}");
                };
                let alert = alerts[nth];
                assert_eq!(
                    (*problem, *said),
                    (expected(fixture), RejectedVia::Alert(alert)),
                    "{case}"
                );
                let words = format!("(TLS alert {}, {alert:?})", u8::from(alert));
                assert!(error.contains(&words), "{case}: {error}");
                assert_eq!(*acceptable_issuers, ["CN=otlp-mtls test ca"], "{case}");
                if *problem == ClientCertificateProblem::UnknownIssuer {
                    assert!(error.contains("CN=otlp-mtls test ca"), "{case}: {error}");
                }
            }
        }
        assert_eq!(deployment.collector.received(Signal::Traces), [] as [&str; 0]);
    }
}

/// The Collector's alert makes the exporters check their files, regardless of the reload interval.
#[test]
fn changed_files_are_used_at_once() {
    for (version, overlays) in TLS_VERSIONS {
        let Some(deployment) = Deployment::start(&on_both(&overlays)) else { return };
        for protocol in TRANSPORTS {
            let case = format!("{protocol} over TLS {version}");
            let files = tempfile::tempdir().unwrap();
            let write =
                |fixture| deployment.pki.client(fixture).write_to(files.path(), "client").unwrap();
            let (certificate, key) = write(Fixture::OtherCa);
            let exporters = once(deployment.builder_with(protocol, None))
                .with_client_identity(Pem::file(certificate), Pem::file(key))
                .with_reload_interval(Duration::from_secs(3600))
                .build()
                .unwrap();
            export(&exporters, Signal::Traces).expect_err(&case);
            write(Fixture::Good);
            export(&exporters, Signal::Traces).unwrap_or_else(|error| panic!("{case}: {error}"));
        }
        assert_eq!(deployment.collector.received(Signal::Traces), ["a span"; 2]);
    }
}
