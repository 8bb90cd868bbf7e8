//! Servers whose chain leads to a certificate that must not issue it.

use otlp_mtls::testing::{Collector, Identity};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyUsagePurpose, date_time_ymd};

use super::cases::{CA, CA_FILE, collecting, server};
use super::{Case, Context, Setup};
use crate::trust::authority::Authority;
use crate::trust::pem;

pub(super) const CASES: &[Case] = &[
    server(
        "The trusted CA has expired",
        "server_certificate_ca_expired",
        &[CA, CA_FILE, "CN=root", "now: "],
        |context| under(context, |root| root.not_after = date_time_ymd(2020, 1, 1)),
    ),
    server(
        "The trusted CA is not valid yet",
        "server_certificate_ca_not_yet_valid",
        &[CA, CA_FILE, "CN=root", "clock"],
        |context| under(context, |root| root.not_before = date_time_ymd(2099, 1, 1)),
    ),
    server(
        "The trusted certificate is not a CA certificate",
        "server_certificate_issuer_is_no_ca",
        &[CA, CA_FILE, "CN=root", "CA:FALSE"],
        |context| under(context, |root| root.is_ca = IsCa::ExplicitNoCa),
    ),
    server(
        "The trusted CA must not sign certificates",
        "server_certificate_ca_unfit",
        &[CA, CA_FILE, "CN=root", "keyUsage=keyCertSign"],
        |context| under(context, |root| root.key_usages = vec![KeyUsagePurpose::CrlSign]),
    ),
    server(
        "The trusted CA permits no intermediates",
        "server_certificate_path_length",
        &["CN=root", "CN=intermediate", "pathLenConstraint"],
        |context| {
            let limit = IsCa::Ca(BasicConstraints::Constrained(0));
            let root = Authority::new(|root| root.is_ca = limit);
            let intermediate = root.intermediate(|_| {});
            trusting(context, &root, intermediate.server(intermediate.as_slice()))
        },
    ),
    server(
        "An intermediate must not sign certificates",
        "server_certificate_ca_unfit",
        &["CN=intermediate", "keyUsage=keyCertSign"],
        |context| {
            let root = Authority::good();
            let usages = vec![KeyUsagePurpose::CrlSign];
            let intermediate = root.intermediate(|intermediate| intermediate.key_usages = usages);
            trusting(context, &root, intermediate.server(intermediate.as_slice()))
        },
    ),
];

/// A server whose certificate is by this CA, which is trusted, and good but for what `change` does.
fn under(context: &Context, change: impl FnOnce(&mut CertificateParams)) -> Setup {
    let root = Authority::new(change);
    trusting(context, &root, root.server(&[]))
}

/// A server with this certificate, where this CA is trusted.
fn trusting(context: &Context, root: &Authority, server: Identity) -> Setup {
    let collector = Collector::builder().with_tls(server).start().unwrap();
    let setup = collecting(context, collector);
    let endpoint = format!("https://localhost:{}", setup.port);
    Setup { builder: context.exporters(endpoint, &pem(root.as_slice()), None), ..setup }
}
