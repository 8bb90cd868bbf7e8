//! The entries of a CA file: several of them, the server's own certificate, and entries from other sources.

use std::error::Error;

use otlp_mtls::check::{Outcome, Topic};
use otlp_mtls::rustls::pki_types::CertificateDer;
use otlp_mtls::rustls::version::{TLS12, TLS13};
use otlp_mtls::testing::{Collector, Identity};
use otlp_mtls::{CredentialSource, Credentials};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    NameConstraints, date_time_ymd,
};

use super::authority::Authority;
use super::{accepted, quiet, refused, trusting, try_export};
use crate::support::builder;

#[test]
fn one_valid_entry_is_enough() {
    let bad = Authority::new(|root| root.not_after = date_time_ymd(2020, 1, 1));
    // With the same name and key: a renewed CA.
    let good = bad.renewed(|_| {});
    let server = good.server(&[]);
    refused("the old one", bad.as_slice(), &server);
    accepted("old, new", &[bad.der.clone(), good.der.clone()], &server);
    accepted("new, old", &[good.der.clone(), bad.der.clone()], &server);
    // With the same name and another key.
    let other = Authority::good();
    accepted("other, new", &[other.der.clone(), good.der.clone()], &server);
    refused("other, old", &[other.der.clone(), bad.der.clone()], &server);

    // An intermediate that both roots have signed.
    let intermediate = bad.intermediate(|_| {});
    let cross = other.cross_sign(&intermediate);
    for chain in
        [[intermediate.der.clone(), cross.clone()], [cross.clone(), intermediate.der.clone()]]
    {
        let server = intermediate.server(&chain);
        accepted("cross-signed", &[bad.der.clone(), other.der.clone()], &server);
        refused("cross-signed", bad.as_slice(), &server);
    }
    // A trusted intermediate of an untrusted root.
    accepted("intermediate", intermediate.as_slice(), &intermediate.server(&[]));
}

/// The valid entry's name constraints differ from those of the other one.
#[test]
fn entries_are_not_mixed() {
    let permitting = |name: &str, root: &mut CertificateParams| {
        root.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DnsName(name.to_owned())],
            excluded_subtrees: Vec::new(),
        });
    };
    let expired = Authority::new(|root| root.not_after = date_time_ymd(2020, 1, 1));
    let elsewhere = expired.renewed(|root| permitting("example.com", root));
    let here = expired.renewed(|root| permitting("localhost", root));
    let server = expired.server(&[]);
    for anchors in [[&expired, &elsewhere], [&elsewhere, &expired]] {
        refused("elsewhere", &anchors.map(|anchor| anchor.der.clone()), &server);
    }
    accepted("here", &[expired.der.clone(), here.der.clone()], &server);
}

/// A certificate like that of `openssl req -x509 -addext subjectAltName=DNS:localhost`, and others.
#[test]
fn a_servers_own_certificate() {
    for is_ca in [IsCa::Ca(BasicConstraints::Unconstrained), IsCa::ExplicitNoCa, IsCa::NoCa] {
        let with = |change: fn(&mut CertificateParams)| {
            Authority::new(|own| {
                own.is_ca = is_ca;
                change(own);
            })
        };
        let case = format!("{is_ca:?}");
        let own = with(|_| {});
        accepted(&case, own.as_slice(), &own.as_server());
        accepted(&case, &[Authority::good().der, own.der.clone()], &own.as_server());
        let usage = with(|own| own.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]);
        accepted(&case, usage.as_slice(), &usage.as_server());

        let kind = |own: &Authority| {
            let failure = refused(&case, own.as_slice(), &own.as_server());
            failure.kind().name().to_owned()
        };
        let expired = with(|own| own.not_after = date_time_ymd(2020, 1, 1));
        assert_eq!(kind(&expired), "server_certificate_expired", "{case}");
        let early = with(|own| own.not_before = date_time_ymd(2200, 1, 1));
        assert_eq!(kind(&early), "server_certificate_not_yet_valid", "{case}");
        let usage = with(|own| own.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]);
        assert_eq!(kind(&usage), "server_certificate_wrong_usage", "{case}");
        let name = with(|own| own.subject_alt_names.clear());
        assert_eq!(kind(&name), "server_certificate_without_name", "{case}");
        // Its name and key alone are not enough.
        let again = own.renewed(|again| {
            again.is_ca = is_ca;
            again.serial_number = Some(7.into());
        });
        refused(&case, own.as_slice(), &again.as_server());
        // The certificate is public; its key is needed, too.
        let thief = Identity::new(
            vec![own.der.clone()],
            own.server(&[]).key_der().secret_der().to_vec().into(),
        );
        assert_eq!(
            refused(&case, own.as_slice(), &thief).kind().name(),
            "server_certificate_key_mismatch"
        );
    }
}

/// webpki stops after 100 signature checks.
#[test]
fn a_hundred_cas_of_one_name() {
    let mut roots: Vec<_> = (0..101).map(|_| Authority::good()).collect();
    let anchors: Vec<_> = roots.iter().map(|root| root.der.clone()).collect();
    let last = roots.pop().unwrap();
    accepted("the last", &anchors, &last.server(&[]));
    accepted("the first", &anchors, &roots[0].server(&[]));
    let intermediate = last.intermediate(|_| {});
    accepted("the last's", &anchors, &intermediate.server(intermediate.as_slice()));
}

#[derive(Debug)]
struct Source(Vec<CertificateDer<'static>>);

impl CredentialSource for Source {
    fn load(&self) -> Result<Credentials, Box<dyn Error + Send + Sync>> {
        Ok(Credentials::new().with_trust_anchors(self.0.clone()))
    }
}

/// From every source; those of the platform are tested in tests/process.
#[test]
fn of_a_credential_source_too() {
    let bad = Authority::new(|root| root.is_ca = IsCa::ExplicitNoCa);
    let good = Authority::good();
    for version in [&TLS12, &TLS13] {
        let by_source =
            |root: &Authority| builder().with_credential_source(Source(vec![root.der.clone()]));
        try_export(by_source(&good), &good.server(&[]), version).unwrap();
        let failure = try_export(by_source(&bad), &bad.server(&[]), version).unwrap_err();
        assert_eq!(failure.kind().name(), "server_certificate_issuer_is_no_ca", "{failure}");
        assert!(failure.remedy().contains("with_credential_source()"), "{failure}");
        // As the server's own certificate.
        try_export(by_source(&bad), &bad.as_server(), version).unwrap();
    }
}

#[test]
fn the_doctor_names_entries_that_issue_nothing() {
    let root = Authority::new(|root| root.is_ca = IsCa::ExplicitNoCa);
    let collector = Collector::builder().with_tls(root.server(&[])).start().unwrap();
    let builder = quiet(trusting(root.as_slice())).with_endpoint(collector.endpoint());
    let report = builder.build().unwrap().check_blocking();
    let findings = &report.signals[0].findings;
    let finding = findings.iter().find(|finding| finding.topic == Topic::TrustAnchors).unwrap();
    assert_eq!(finding.outcome, Outcome::Doubtful, "{report}");
    assert!(
        finding.words.ends_with("it is not a CA: its basicConstraints say CA:FALSE"),
        "{report}"
    );
    assert!(report.to_string().contains("leads to CN=root, which is not a CA"), "{report}");

    // It is the server's own.
    collector.set_tls(root.as_server(), None).unwrap();
    let builder = quiet(trusting(root.as_slice())).with_endpoint(collector.endpoint());
    let report = builder.build().unwrap().check_blocking();
    assert!(report.is_delivered(), "{report}");
    let findings = &report.signals[0].findings;
    assert!(findings.iter().all(|finding| finding.outcome == Outcome::Good), "{report}");
}
