//! Servers that are identified by a SPIFFE ID instead of a host name.

use std::error::Error as StdError;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use otlp_mtls::error::SpiffeIdProblem;
use otlp_mtls::rustls::pki_types::CertificateDer;
use otlp_mtls::rustls::pki_types::pem::PemObject;
use otlp_mtls::rustls::version::{TLS12, TLS13};
use otlp_mtls::testing::{Collector, Fixture, Identity, Pki};
use otlp_mtls::{
    CredentialSource, Credentials, Error, ExportersBuilder, Failure, Pem, Protocol, Signal,
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyUsagePurpose, SanType, date_time_ymd};

use super::authority::Authority;
use super::{pem, quiet, try_export};
use crate::support::{TRANSPORTS, builder, export, items, mtls_builder};

const ID: &str = "spiffe://trust.domain/collector";
const TRUST_DOMAIN: &str = "spiffe://trust.domain";

/// The ID is verified with each protocol and each version of TLS.
fn outcomes(ca: &str, id: &str, server: &Identity) -> Vec<Result<(), Failure>> {
    let mut outcomes = Vec::new();
    for protocol in TRANSPORTS {
        for version in [&TLS12, &TLS13] {
            let builder = builder()
                .with_protocol(protocol)
                .with_ca_certificate(Pem::bytes(ca))
                .with_server_spiffe_id(id);
            outcomes.push(try_export(builder, server, version));
        }
    }
    outcomes
}

#[track_caller]
fn is_it(ca: &str, id: &str, server: &Identity) {
    for outcome in outcomes(ca, id, server) {
        if let Err(failure) = outcome {
            panic!("{id}: {failure}");
        }
    }
}

/// The server is refused with this kind of failure and this message.
#[track_caller]
fn is_not(ca: &str, id: &str, server: &Identity, kind: &str, words: &[&str]) {
    for outcome in outcomes(ca, id, server) {
        let failure = outcome.expect_err(id);
        assert_eq!(failure.kind().name(), kind, "{failure}");
        let all = failure.to_string();
        for word in words {
            assert!(all.contains(word), "`{word}` is not in {failure}");
        }
    }
}

const OTHER: &str = "server_certificate_wrong_spiffe_id";

#[test]
fn the_id_is_the_servers_or_its_trust_domains() {
    let pki = Pki::new();
    let server = pki.svid(&[ID]);
    is_it(pki.ca_pem(), ID, &server);
    is_it(pki.ca_pem(), TRUST_DOMAIN, &server);
    for id in [
        "spiffe://trust.domain/collector/a",
        "spiffe://trust.domain/c",
        "spiffe://domain/collector",
    ] {
        let words = format!("it is {ID}, not {id}");
        let expected = format!("expected: {id}, by with_server_spiffe_id()");
        is_not(pki.ca_pem(), id, &server, OTHER, &[&words, &expected, "X.509-SVID"]);
    }
    let other = "spiffe://other.domain";
    let words = format!("it is {ID}, not of the trust domain {other}");
    is_not(pki.ca_pem(), other, &server, OTHER, &[&words]);
}

#[test]
fn a_server_has_one_uri_which_is_an_id() {
    let pki = Pki::new();
    for (uris, words) in [
        (&[][..], "it has no SPIFFE ID"),
        (&[ID, "spiffe://trust.domain/other"], "it has 2 URIs (spiffe://trust.domain/collector, "),
        (&[ID, ID], "it has 2 URIs"),
        (&["https://trust.domain/collector"], "it is https://trust.domain/collector, not "),
        (&["spiffe://trust.domain:1/collector"], "it is spiffe://trust.domain:1/collector, "),
        // The ID of a trust domain is not that of a workload.
        (&[TRUST_DOMAIN], "it is spiffe://trust.domain, not "),
    ] {
        for id in [ID, TRUST_DOMAIN] {
            is_not(pki.ca_pem(), id, &pki.svid(uris), OTHER, &[words, id]);
        }
    }
    // A host name is not an ID, even if it is the server's.
    is_not(pki.ca_pem(), ID, &pki.server(Fixture::Good), OTHER, &["it has no SPIFFE ID"]);
}

fn uri(params: &mut CertificateParams) {
    params.subject_alt_names = vec![SanType::URI(ID.try_into().unwrap())];
}

#[test]
fn other_names_are_permitted_beside_it() {
    let root = Authority::good();
    let server = root.server_with(&[], |params| {
        params.subject_alt_names.push(SanType::URI(ID.try_into().unwrap()));
    });
    is_it(&pem(root.as_slice()), ID, &server);
}

/// [X509-SVID, section 5.2](https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md#52-leaf-validation)
#[test]
fn a_server_signs_no_certificates() {
    let root = Authority::good();
    let ca = pem(root.as_slice());
    for usage in [KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign] {
        let server = root.server_with(&[], |params| {
            uri(params);
            params.key_usages.push(usage);
        });
        is_not(&ca, ID, &server, OTHER, &["it may sign certificates", ID]);
    }
    let server = root.server_with(&[], |params| {
        uri(params);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    });
    is_not(&ca, ID, &server, "server_certificate_is_a_ca", &[]);
    // Even if it is in the trust bundle itself.
    let own = Authority::new(uri);
    is_not(&pem(own.as_slice()), ID, &own.as_server(), OTHER, &["it may sign certificates", ID]);
}

#[test]
fn the_chain_is_verified_as_without_it() {
    let svid = |root: &Authority| root.server_with(&[], uri);
    let refused = |root: &Authority, kind: &str| {
        is_not(&pem(root.as_slice()), ID, &svid(root), kind, &[]);
    };
    refused(
        &Authority::new(|root| root.not_after = date_time_ymd(2020, 1, 1)),
        "server_certificate_ca_expired",
    );
    refused(&Authority::new(|root| root.is_ca = IsCa::NoCa), "server_certificate_issuer_is_no_ca");
    let other = pem(Authority::good().as_slice());
    let unknown = svid(&Authority::good());
    let failures = outcomes(&other, ID, &unknown);
    assert!(failures.iter().all(|outcome| {
        // The names are equal, so the signature differs.
        outcome.as_ref().is_err_and(|failure| {
            ["server_certificate_unknown_issuer", "server_certificate_bad_signature"]
                .contains(&failure.kind().name())
        })
    }));
    let root = Authority::good();
    let expired = root.server_with(&[], |params| {
        uri(params);
        params.not_after = date_time_ymd(2020, 1, 1);
    });
    is_not(&pem(root.as_slice()), ID, &expired, "server_certificate_expired", &[]);
}

/// Without the setting, the host name is verified.
#[test]
fn an_id_is_not_a_host_name() {
    let pki = Pki::new();
    let trusting = builder().with_ca_certificate(Pem::bytes(pki.ca_pem()));
    let failure = try_export(trusting, &pki.svid(&[ID]), &TLS13).unwrap_err();
    assert!(failure.to_string().contains("a SPIFFE ID is not a host name"), "{failure}");
    assert!(failure.to_string().contains("with_server_spiffe_id()"), "{failure}");
}

fn problem(builder: ExportersBuilder) -> (String, SpiffeIdProblem) {
    let error = builder.with_endpoint("https://localhost:1").build().unwrap_err();
    let words = error.to_string();
    let Error::SpiffeId { problem, .. } = error else { panic!("{words}") };
    (words, problem)
}

#[test]
fn an_invalid_id_is_an_error() {
    let pki = Pki::new();
    let trusting = || builder().with_ca_certificate(Pem::bytes(pki.ca_pem()));
    for id in ["", "trust.domain", "spiffe://Trust.Domain/a", "spiffe://trust.domain/"] {
        let (words, found) = problem(trusting().with_server_spiffe_id(id));
        assert_eq!(found, SpiffeIdProblem::Syntax);
        let named = format!("with_server_spiffe_id(): `{id}` is not a SPIFFE ID");
        assert!(words.starts_with(&named), "{words}");
    }
    // Even if it is the setting of one signal.
    let (_, found) = problem(
        trusting().with_signal(Signal::Logs, |logs| logs.with_server_spiffe_id("spiffe://")),
    );
    assert_eq!(found, SpiffeIdProblem::Syntax);
    let (words, found) = problem(builder().with_server_spiffe_id(ID));
    assert_eq!(found, SpiffeIdProblem::NoTrustBundle);
    assert!(words.contains("OTEL_EXPORTER_OTLP_CERTIFICATE"), "{words}");
    let config = trusting().with_endpoint("https://localhost:1").build().unwrap();
    let config = config.client_config(Signal::Traces).unwrap();
    let (_, found) = problem(builder().with_rustls_config(config).with_server_spiffe_id(ID));
    assert_eq!(found, SpiffeIdProblem::RustlsConfig);
}

#[test]
fn each_signal_may_have_its_own() {
    let pki = Pki::new();
    let collector = Collector::builder().with_tls(pki.svid(&[ID])).start().unwrap();
    let exporters = quiet(builder())
        .with_endpoint(collector.endpoint())
        .with_ca_certificate(Pem::bytes(pki.ca_pem()))
        .with_server_spiffe_id(TRUST_DOMAIN)
        .with_signal(Signal::Logs, |logs| {
            logs.with_server_spiffe_id("spiffe://trust.domain/log-store")
        })
        .build()
        .unwrap();
    export(&exporters, Signal::Traces).unwrap();
    export(&exporters, Signal::Metrics).unwrap();
    export(&exporters, Signal::Logs).unwrap_err();
    let report = exporters.check_blocking().to_string();
    assert!(
        report.contains("any of spiffe://trust.domain, by with_server_spiffe_id()"),
        "{report}"
    );
    let own = "the server must be spiffe://trust.domain/log-store, by with_server_spiffe_id()";
    assert!(report.contains(own), "{report}");
    assert!(report.contains("it is spiffe://trust.domain/collector, not "), "{report}");
}

#[test]
fn over_plaintext_there_is_a_warning() {
    let collector = crate::support::plaintext_collector();
    let exporters = crate::support::plaintext_builder(&collector, Protocol::Grpc)
        .with_server_spiffe_id(ID)
        .build()
        .unwrap();
    export(&exporters, Signal::Traces).unwrap();
    let report = exporters.check_blocking().to_string();
    assert!(report.contains("with_server_spiffe_id()"), "{report}");
}

/// Credentials as the Workload API pushes them.
#[derive(Debug)]
struct Workload(Mutex<Credentials>);

impl CredentialSource for Workload {
    fn load(&self) -> Result<Credentials, Box<dyn StdError + Send + Sync>> {
        Ok(self.0.lock().unwrap().clone())
    }
}

#[test]
fn svids_and_bundle_rotate_without_loss() {
    let certificate = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    for protocol in TRANSPORTS {
        let [old, new] = [Pki::new(), Pki::new()];
        let bundle =
            |pkis: &[&Pki]| pkis.iter().map(|pki| certificate(pki.ca_pem())).collect::<Vec<_>>();
        let both = format!("{}{}", old.ca_pem(), new.ca_pem());
        let given = |pki: &Pki, client: &str, trusted: &[&Pki]| {
            let svid = pki.svid(&[client]);
            Credentials::new()
                .with_trust_anchors(bundle(trusted))
                .with_identity(svid.certificate_ders().to_vec(), svid.key_der())
        };
        let client = "spiffe://trust.domain/checkout";
        let collector = Collector::builder()
            .with_tls(old.svid(&[ID]))
            .with_client_ca(old.ca_pem())
            .start()
            .unwrap();
        let workload = Arc::new(Workload(Mutex::new(given(&old, client, &[&old]))));
        let exporters = quiet(builder())
            .with_endpoint(collector.endpoint())
            .with_protocol(protocol)
            .with_server_spiffe_id(ID)
            .with_credential_source(Arc::clone(&workload))
            .with_reload_interval(Duration::ZERO)
            .build()
            .unwrap();
        let exporter = crate::support::Exporter::new(&exporters, Signal::Traces);
        let mut exported = 0;
        let mut export = |generation: u64| {
            for _ in 0..3 {
                futures_executor::block_on(exporter.export()).unwrap();
                exported += 1;
            }
            assert_eq!(exporters.status().credentials[0].generation, generation);
            assert_eq!(items(&collector, Signal::Traces), exported, "{protocol}");
        };
        export(0);
        // The SVID.
        *workload.0.lock().unwrap() = given(&old, client, &[&old]);
        export(1);
        // The bundle on both sides, then the collector's SVID, then ours.
        *workload.0.lock().unwrap() = given(&old, client, &[&old, &new]);
        collector.set_tls(new.svid(&[ID]), Some(&both)).unwrap();
        export(2);
        *workload.0.lock().unwrap() = given(&new, client, &[&old, &new]);
        export(3);
        *workload.0.lock().unwrap() = given(&new, client, &[&new]);
        collector.set_tls(new.svid(&[ID]), Some(new.ca_pem())).unwrap();
        export(4);
        let presented = collector.client_certificates();
        assert_eq!(presented.len(), 5, "each generation has a connection");

        // The SVID of another workload is detected at the next connection.
        collector.set_tls(new.svid(&["spiffe://trust.domain/other"]), Some(new.ca_pem())).unwrap();
        *workload.0.lock().unwrap() = given(&new, client, &[&new]);
        futures_executor::block_on(exporter.export()).unwrap_err();
        let failure = crate::support::last_failure(&exporters, Signal::Traces);
        assert_eq!(failure.kind().name(), OTHER, "{failure}");
    }
}

/// The service's other clients verify it, too.
#[test]
fn client_config_verifies_it() {
    let pki = Pki::new();
    let collector = Collector::builder().with_tls(pki.svid(&[ID])).start().unwrap();
    for (id, expected) in [(TRUST_DOMAIN, true), ("spiffe://trust.domain/other", false)] {
        let ours = mtls_builder(&pki, &collector, Protocol::Grpc).with_server_spiffe_id(id);
        let config = ours.build().unwrap().client_config(Signal::Traces).unwrap();
        let others = quiet(builder())
            .with_endpoint(collector.endpoint())
            .with_protocol(Protocol::Grpc)
            .with_rustls_config(config)
            .build()
            .unwrap();
        assert_eq!(export(&others, Signal::Traces).is_ok(), expected, "{id}");
    }
}
