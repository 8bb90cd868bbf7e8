//! A root store as the CA file.

use opentelemetry::trace::{Span, Tracer, TracerProvider};
use otlp_mtls::Signal;
use otlp_mtls::check::{Outcome, Topic};
use otlp_mtls::testing::Collector;
use rcgen::{DnType, date_time_ymd};

use super::authority::Authority;
use super::{quiet, trusting};
use crate::support::{SOON, alone, export};
use crate::warnings::warnings_of;

/// A list like those of browsers: some entries have expired.
const ROOTS: usize = 140;
const EXPIRED: usize = 5;

fn roots() -> Vec<Authority> {
    let root = |number: usize| {
        Authority::new(|root| {
            root.distinguished_name.push(DnType::CommonName, format!("root {number}"));
            if number < EXPIRED {
                root.not_after = date_time_ymd(2020, 1, 1);
            }
        })
    };
    (0..ROOTS).map(root).collect()
}

#[test]
fn the_expiry_of_the_anchor_in_use_is_reported() {
    let _alone = alone();
    let roots = roots();
    let anchors: Vec<_> = roots.iter().map(|root| root.der.clone()).collect();
    let collector = Collector::builder().with_tls(roots[99].server(&[])).start().unwrap();
    let builder = || quiet(trusting(&anchors)).with_endpoint(collector.endpoint());

    let warnings = warnings_of(|| {
        let exporters = builder().build().unwrap();
        assert_eq!(exporters.status().credentials[0].anchor, None);
        export(&exporters, Signal::Traces).unwrap();
        let status = exporters.status();
        assert_eq!(status.credentials[0].anchor.as_ref().unwrap().subject, "CN=root 99");
        assert_eq!(status.credentials[0].trust_anchors.len(), ROOTS);
    });
    assert_eq!(warnings, [""; 0]);

    let telemetry = builder().build().unwrap().install().unwrap();
    telemetry.tracer_provider().unwrap().tracer("test").start("a span").end();
    telemetry.tracer_provider().unwrap().force_flush().unwrap();
    telemetry.meter_provider().unwrap().force_flush().unwrap();
    let points = crate::status::points(&collector, "otlp_mtls.certificate.not_after");
    let subjects: Vec<_> = points.iter().map(|(attributes, _)| attributes[1].1.as_str()).collect();
    assert_eq!(subjects, ["CN=root 99", "CN=server"]);
    telemetry.shutdown(SOON).unwrap();
}

/// The warning names the anchor in use, and its issuer.
#[test]
fn an_anchor_in_use_that_is_about_to_expire() {
    let roots = roots();
    let anchors: Vec<_> = roots.iter().map(|root| root.der.clone()).collect();
    let collector = Collector::builder().with_tls(roots[99].server(&[])).start().unwrap();
    let century = std::time::Duration::from_secs(100 * 365 * 24 * 3600);
    let exporters = quiet(trusting(&anchors))
        .with_endpoint(collector.endpoint())
        .with_expiry_warning(century * 50)
        .with_reload_interval(std::time::Duration::ZERO)
        .build()
        .unwrap();
    export(&exporters, Signal::Traces).unwrap();
    let warnings = warnings_of(|| exporters.reload().unwrap());
    let of_cas: Vec<_> = warnings.iter().filter(|words| words.starts_with("the CA")).collect();
    let [anchor] = of_cas.as_slice() else { panic!("{warnings:#?}") };
    assert!(anchor.starts_with("the CA certificate (CN=root 99) expires in "), "{anchor}");
}

#[test]
fn the_doctor_summarises_it() {
    let roots = roots();
    let anchors: Vec<_> = roots.iter().map(|root| root.der.clone()).collect();
    let collector = Collector::builder().with_tls(roots[99].server(&[])).start().unwrap();
    let check = |endpoint: String| {
        let exporters = quiet(trusting(&anchors)).with_endpoint(endpoint).build().unwrap();
        exporters.check_blocking()
    };
    let report = check(collector.endpoint());
    assert!(report.is_delivered(), "{report}");
    let signal = &report.signals[0];
    let [sum, used] = &*signal
        .findings
        .iter()
        .filter(|finding| finding.topic == Topic::TrustAnchors)
        .collect::<Vec<_>>()
    else {
        panic!("{report}");
    };
    assert_eq!(
        sum.words,
        "140 certificates, in with_ca_certificate(); 5 of them cannot issue certificates now: \
         CN=root 0, CN=root 1, CN=root 2, CN=root 3 and 1 more"
    );
    assert!(used.words.starts_with("CN=root 99 for localhost, issued by CN=root 99"), "{report}");
    assert_eq!((sum.outcome, used.outcome), (Outcome::Good, Outcome::Good), "{report}");
    assert_eq!(signal.trust_anchors.len(), ROOTS);
    assert!(report.to_string().lines().count() < 50, "{report}");

    // Nothing more is reported without an anchor in use.
    let report = check(format!("https://localhost:{}", crate::support::NOBODY));
    let findings = report.signals[0].findings.iter();
    let about_trust = findings.filter(|finding| finding.topic == Topic::TrustAnchors);
    assert_eq!(about_trust.count(), 1, "{report}");
}
