//! Which certificates may issue a server's certificate.

use otlp_mtls::failure::ServerCertificateProblem;
use otlp_mtls::rustls::version::{TLS12, TLS13};
use otlp_mtls::testing::{Fixture, Pki};
use otlp_mtls::{Failure, FailureKind, Pem};
use rcgen::{
    BasicConstraints, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, date_time_ymd,
};

use super::authority::{Authority, as_version_1, extension, replaced};
use super::{accepted, pem, refused, try_export};
use crate::support::builder;
use crate::warnings::warnings_of;

/// The message about an issuer, and the remedy.
type Words = (&'static str, &'static str);

const NOT_A_CA: Words = ("which is not a CA: ", "put the certificate of the server's CA into ");
const NO_CERT_SIGN: Words = (
    "which must not sign certificates: its keyUsage lacks keyCertSign",
    "again with keyUsage=keyCertSign",
);
const NOT_FOR_SERVERS: Words = (
    "which must not issue certificates for servers: ",
    "again with extendedKeyUsage=serverAuth, or without extendedKeyUsage",
);

#[track_caller]
fn says(failure: &Failure, (cause, remedy): (&str, &str)) {
    assert!(failure.summary().contains(cause), "no {cause}: {failure}");
    assert!(failure.remedy().contains(remedy), "no {remedy}: {failure}");
    assert!(failure.to_string().lines().count() <= 6, "{failure}");
}

/// Whether a CA's certificate permits it to issue a server's. The error is a part of the message.
#[track_caller]
fn issuer(case: &str, root: &Authority, expected: Result<(), Words>) {
    let server = root.server(&[]);
    let anchors = [root.der.clone()];
    let Err((cause, remedy)) = expected else {
        return accepted(case, &anchors, &server);
    };
    let failure = refused(case, &anchors, &server);
    says(&failure, (&format!("its chain leads to CN=root, {cause}"), remedy));
}

fn undecodable(part: &str, authority: &Authority) {
    let failure = refused(part, authority.as_slice(), &authority.server(&[]));
    let words = format!("which has a part that cannot be decoded: {part}");
    assert!(failure.summary().ends_with(&words), "{failure}");
    says(&failure, (&words, &format!("issue that certificate again with {part} in valid DER, ")));
}

fn constrained(limit: u8) -> Authority {
    Authority::new(|root| root.is_ca = IsCa::Ca(BasicConstraints::Constrained(limit)))
}

#[test]
fn an_issuer_is_a_ca() {
    issuer("good", &Authority::good(), Ok(()));
    let no_ca = Authority::new(|root| root.is_ca = IsCa::ExplicitNoCa);
    issuer("CA:FALSE", &no_ca, Err(NOT_A_CA));
    let no_ca = Authority::new(|root| {
        root.is_ca = IsCa::ExplicitNoCa;
        root.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    });
    issuer("CA:FALSE with keyCertSign", &no_ca, Err(NOT_A_CA));
    let neither = Authority::new(|root| root.is_ca = IsCa::NoCa);
    issuer("version 3 with neither", &neither, Err(NOT_A_CA));
    issuer("a root of version 1", &neither.rewritten(as_version_1), Ok(()));
    // Like a client certificate from `openssl x509 -req`.
    let client = Authority::good().intermediate(|_| {}).rewritten(as_version_1);
    let failure = refused("version 1", client.as_slice(), &client.server(&[]));
    says(&failure, NOT_A_CA);

    let usage = |is_ca: IsCa, usage| {
        Authority::new(|root| {
            root.is_ca = is_ca;
            root.key_usages = vec![usage];
        })
    };
    let ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = usage(ca, KeyUsagePurpose::KeyCertSign);
    issuer("keyCertSign", &root, Ok(()));
    let root = usage(IsCa::NoCa, KeyUsagePurpose::KeyCertSign);
    issuer("keyCertSign without basicConstraints", &root, Ok(()));
    for is_ca in [ca, IsCa::NoCa] {
        let root = usage(is_ca, KeyUsagePurpose::CrlSign);
        issuer("no keyCertSign", &root, Err(NO_CERT_SIGN));
    }
}

#[test]
fn an_issuer_of_servers() {
    use ExtendedKeyUsagePurpose::{Any, ClientAuth, CodeSigning, ServerAuth};
    for (usages, expected) in [
        (vec![ServerAuth], Ok(())),
        (vec![Any], Ok(())),
        (vec![ClientAuth, ServerAuth], Ok(())),
        (vec![ClientAuth], Err(NOT_FOR_SERVERS)),
        (vec![CodeSigning], Err(NOT_FOR_SERVERS)),
    ] {
        let case = format!("{usages:?}");
        let root = Authority::new(|root| root.extended_key_usages = usages);
        issuer(&case, &root, expected);
    }
}

#[test]
fn a_path_as_long_as_the_anchor_allows() {
    let path = |root: &Authority| {
        let one = root.intermediate(|_| {});
        let two = one.intermediate(|two| two.distinguished_name.push(DnType::CommonName, "two"));
        (one.server(one.as_slice()), two.server(&[two.der.clone(), one.der.clone()]))
    };
    let root = constrained(0);
    let anchors = [root.der.clone()];
    accepted("none of 0", &anchors, &root.server(&[]));
    let (one, _) = path(&root);
    let failure = refused("one of 0", &anchors, &one);
    let words = "leads to CN=root, which allows at most 0 intermediates, by its pathLenConstraint";
    assert!(failure.summary().contains(words), "{failure}");

    let root = constrained(1);
    let anchors = [root.der.clone()];
    let (one, two) = path(&root);
    accepted("one of 1", &anchors, &one);
    refused("two of 1", &anchors, &two);

    // A self-issued certificate, for a new key, does not count.
    let root = constrained(0);
    let new =
        root.intermediate(|new| new.distinguished_name = root.params.distinguished_name.clone());
    accepted("self-issued", root.as_slice(), &new.server(new.as_slice()));
}

#[test]
fn critical_extensions_are_known() {
    let with = |id: &[u64], critical| {
        Authority::new(|root| {
            root.custom_extensions = vec![extension(id, critical, b"\x30\x00")];
        })
    };
    let unknown = [1, 2, 3, 4];
    issuer("unknown", &with(&unknown, false), Ok(()));
    let root = with(&unknown, true);
    let failure = refused("unknown and critical", root.as_slice(), &root.server(&[]));
    let words = "CN=root, which has an unknown critical extension: 1.2.3.4";
    says(&failure, (words, "again without that extension, or with one that is not critical, "));
    // RFC 5280, 4.2.2: not among those that may be critical.
    let root = with(&[1, 3, 6, 1, 5, 5, 7, 1, 1], true);
    refused("authorityInfoAccess", root.as_slice(), &root.server(&[]));
    for known in [9, 18, 30, 31, 32, 33, 36, 46, 54] {
        issuer(&format!("2.5.29.{known}"), &with(&[2, 5, 29, known], true), Ok(()));
    }
}

#[test]
fn invalid_or_repeated_extensions_issue_nothing() {
    let with = |name: &str, id: u64, values: &[&[u8]]| {
        let root = Authority::new(|root| {
            root.is_ca = IsCa::NoCa;
            // So that it would be valid without the extension.
            if name != "basicConstraints" {
                root.custom_extensions.push(extension(
                    &[2, 5, 29, 19],
                    true,
                    b"\x30\x03\x01\x01\xff",
                ));
            }
            let values = values.iter().map(|value| extension(&[2, 5, 29, id], false, value));
            root.custom_extensions.extend(values);
        });
        (name.to_owned(), root)
    };
    let server_auth = b"\x30\x0a\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x01";
    for (name, root) in [
        with("basicConstraints", 19, &[b"\x30\x03\x01\x01\xff"]),
        with("basicConstraints", 19, &[b"\x30\x06\x01\x01\xff\x02\x01\x05"]),
        with("keyUsage", 15, &[b"\x03\x02\x02\x04"]),
        with("extendedKeyUsage", 37, &[server_auth]),
    ] {
        issuer(&name, &root, Ok(()));
    }
    for (name, root) in [
        with("basicConstraints", 19, &[b"\x30\x03\x01\x01\x01"]),
        with("basicConstraints", 19, &[b"\x30\x03\x01\x01\xff\x00"]),
        with("basicConstraints", 19, &[b"\x30\x06\x01\x01\xff\x02\x01\xff"]),
        with("basicConstraints", 19, &[b""]),
        with("keyUsage", 15, &[b"\x30\x00"]),
        with("keyUsage", 15, &[b"\x03\x02\x02\x04\x00"]),
        with("extendedKeyUsage", 37, &[b"\x30\x00"]),
        with("extendedKeyUsage", 37, &[b"\x30\x02\x05\x00"]),
        with("nameConstraints", 30, &[b"\x05\x00"]),
    ] {
        undecodable(&name, &root);
    }
    for (name, root) in [
        with("basicConstraints", 19, &[b"\x30\x03\x01\x01\xff", b"\x30\x03\x01\x01\xff"]),
        with("keyUsage", 15, &[b"\x03\x02\x02\x04", b"\x03\x02\x02\x04"]),
        with("extendedKeyUsage", 37, &[server_auth, server_auth]),
        with("certificatePolicies", 32, &[b"\x30\x00", b"\x30\x00"]),
    ] {
        let failure = refused(&name, root.as_slice(), &root.server(&[]));
        let words = format!("CN=root, which has an extension more than once: {name}");
        says(&failure, (&words, "issue that certificate again with that extension once, "));
    }
    // An extension whose value is not an octet string.
    let odd = Authority::good()
        .rewritten(|der| replaced(der, b"\x06\x03\x55\x1d\x0e\x04", b"\x06\x03\x55\x1d\x0e\x05"));
    undecodable("extensions", &odd);
}

#[test]
fn dates_are_judged_in_the_handshake() {
    let (past, future) = (date_time_ymd(2020, 1, 1), date_time_ymd(2200, 1, 1));
    let expired = Authority::new(|root| root.not_after = past);
    let early = Authority::new(|root| root.not_before = future);
    for (root, problem, name, warning, words) in [
        (
            &expired,
            ServerCertificateProblem::ExpiredCa,
            "server_certificate_ca_expired",
            "the CA certificate (CN=root) has expired, at 2020-01-01T00:00:00Z: renew it in ",
            "its chain leads to CN=root, which expired at 2020-01-01T00:00:00Z",
        ),
        (
            &early,
            ServerCertificateProblem::NotYetValidCa,
            "server_certificate_ca_not_yet_valid",
            "the CA certificate (CN=root) is not valid before 2200-01-01T00:00:00Z: correct this \
             machine's clock, or replace the certificate in ",
            "its chain leads to CN=root, which is not valid before 2200-01-01T00:00:00Z",
        ),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ca.crt");
        std::fs::write(&file, pem(root.as_slice())).unwrap();
        let by_file = || builder().with_ca_certificate(Pem::file(&file));
        let warnings = warnings_of(|| drop(by_file().with_endpoint("https://localhost").build()));
        let [said] = warnings.as_slice() else { panic!("{warnings:#?}") };
        assert!(said.starts_with(warning), "{said}");

        for version in [&TLS12, &TLS13] {
            let failure = try_export(by_file(), &root.server(&[]), version).unwrap_err();
            let FailureKind::ServerCertificate(refused) = failure.kind() else {
                panic!("{failure}");
            };
            assert_eq!((refused.problem, failure.kind().name()), (problem, name), "{failure}");
            assert!(failure.summary().ends_with(words), "{failure}");
            let file = file.to_str().unwrap();
            assert!(failure.facts().iter().any(|fact| fact.contains(file)), "{failure}");
            assert!(failure.remedy().contains(file), "{failure}");
        }
    }
}

/// Such a date does not make the bundle invalid.
#[test]
fn a_date_that_cannot_be_read() {
    let odd = Authority::new(|root| root.not_after = date_time_ymd(2040, 2, 3))
        .rewritten(|der| replaced(der, b"400203000000Z", b"400203000000X"));
    undecodable("validity", &odd);
    let good = Authority::good();
    accepted("beside another", &[odd.der.clone(), good.der.clone()], &good.server(&[]));

    let ca = Pem::bytes(pem(odd.as_slice()));
    let exporters =
        builder().with_endpoint("https://localhost").with_ca_certificate(ca).build().unwrap();
    let status = exporters.status();
    let facts = &status.credentials[0].trust_anchors[0];
    assert!(facts.not_before.is_some());
    assert_eq!(facts.not_after, None);
    assert!(facts.to_string().ends_with(" to (unreadable date)"), "{facts}");
}

/// A client certificate in the CA file.
#[test]
fn a_client_certificate_is_not_a_ca() {
    let pki = Pki::new();
    let client = Authority::new(|client| {
        client.is_ca = IsCa::ExplicitNoCa;
        client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    let anchors = pki.ca_pem().to_owned() + &pem(client.as_slice());
    for version in [&TLS12, &TLS13] {
        let trusting = || builder().with_ca_certificate(Pem::bytes(anchors.clone()));
        try_export(trusting(), &pki.server(Fixture::Good), version).unwrap();
        let failure = try_export(trusting(), &client.server(&[]), version).unwrap_err();
        assert_eq!(failure.kind().name(), "server_certificate_issuer_is_no_ca", "{failure}");
    }
}

/// webpki does not check their key usage; OpenSSL and Go do.
#[test]
fn an_intermediate_signs_only_if_it_may() {
    let root = Authority::good();
    let anchors = [root.der.clone()];
    let with = |usage| root.intermediate(|intermediate| intermediate.key_usages = vec![usage]);
    let good = with(KeyUsagePurpose::KeyCertSign);
    accepted("keyCertSign", &anchors, &good.server(good.as_slice()));
    let bad = with(KeyUsagePurpose::DigitalSignature);
    let server = bad.server(bad.as_slice());
    let failure = refused("no keyCertSign", &anchors, &server);
    let (cause, remedy) = NO_CERT_SIGN;
    let cause = format!("its chain leads to CN=intermediate, {cause}");
    says(&failure, (&cause, &format!("issue that intermediate {remedy}")));
    let place = ", in the server's chain";
    assert!(failure.facts().iter().any(|fact| fact.ends_with(place)), "{failure}");

    let extended = |id, values: &[&[u8]]| {
        root.intermediate(|intermediate| {
            let extensions = values.iter().map(|value| extension(&[2, 5, 29, id], false, value));
            intermediate.custom_extensions.extend(extensions);
        })
    };
    for (bad, words) in [
        (
            extended(15, &[b"\x30\x00"]),
            (
                "which has a part that cannot be decoded: keyUsage",
                "issue that intermediate again with keyUsage in valid DER",
            ),
        ),
        (
            extended(32, &[b"\x30\x00", b"\x30\x00"]),
            (
                "which has an extension more than once: certificatePolicies",
                "issue that intermediate again with that extension once",
            ),
        ),
    ] {
        says(&refused(words.0, &anchors, &bad.server(bad.as_slice())), words);
    }
}

/// RFC 5280, 4.2.1.12, leaves it open: Go accepts such a server, OpenSSL and webpki do not. If the certificate itself is
/// in the CA file, it is accepted.
#[test]
fn a_server_is_not_for_any_usage() {
    let root = Authority::good();
    let with = |usages| root.server_with(&[], |server| server.extended_key_usages = usages);
    let (any, server) = (ExtendedKeyUsagePurpose::Any, ExtendedKeyUsagePurpose::ServerAuth);
    let failure = refused("any", root.as_slice(), &with(vec![any.clone()]));
    let words = (
        "CN=server is not for servers, but for anyExtendedKeyUsage",
        "a certificate with extendedKeyUsage=serverAuth",
    );
    says(&failure, words);
    accepted("any and serverAuth", root.as_slice(), &with(vec![any.clone(), server]));
    let own = Authority::new(|own| {
        own.is_ca = IsCa::ExplicitNoCa;
        own.extended_key_usages = vec![any];
    });
    accepted("named itself", own.as_slice(), &own.as_server());
}
