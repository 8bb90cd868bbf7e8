//! Cases with a collector that has TLS, and the certificates of a run.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use otlp_mtls::testing::{Collector, Fixture, Pki};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::version::{TLS12, TLS13};
use serde::Deserialize;
use serde_json::json;
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;

use crate::export::export;
use crate::input::Input;
use crate::table::{Case, Observed};

pub(crate) struct Tls {
    pub(crate) pki: Pki,
    directory: TempDir,
}

impl Tls {
    pub(crate) fn shared() -> &'static Self {
        static TLS: OnceLock<Tls> = OnceLock::new();
        TLS.get_or_init(|| {
            let (pki, directory) = (Pki::new(), tempfile::tempdir().unwrap());
            pki.write_ca_to(directory.path()).unwrap();
            Self { pki, directory }
        })
    }

    /// The path of the CA that issues servers' certificates.
    pub(crate) fn ca(&self) -> String {
        text(&self.directory.path().join("ca.crt"))
    }

    pub(crate) fn h2_acceptor(&self) -> TlsAcceptor {
        let identity = self.pki.server(Fixture::Good);
        let mut config = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(identity.certificate_ders().to_vec(), identity.key_der())
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Arc::new(config).into()
    }
}

pub(crate) fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Server {
    certificate: Option<String>,
    client_ca: Option<String>,
    versions: Option<String>,
}

fn fixture(name: &str) -> Fixture {
    *Fixture::ALL.iter().find(|fixture| format!("{fixture:?}") == name).unwrap()
}

pub(crate) fn observe(case: &Case) -> Observed {
    let pki = &Tls::shared().pki;
    let server: Option<Server> = serde_json::from_value(case.server().clone()).unwrap();
    let server = server.unwrap_or_default();
    let mut collector = Collector::builder();
    if let Some(name) = &server.certificate {
        collector = collector.with_tls(pki.server(fixture(name)));
    }
    if let Some(ca) = &server.client_ca {
        collector = collector.with_client_ca(match ca.as_str() {
            "ca" => pki.ca_pem(),
            "other" => pki.other_ca_pem(),
            unknown => panic!("client_ca {unknown}"),
        });
    }
    if let Some(versions) = &server.versions {
        let version = match versions.as_str() {
            "1.2" => &TLS12,
            "1.3" => &TLS13,
            unknown => panic!("versions {unknown}"),
        };
        collector = collector.with_tls_versions(&[version]);
    }
    let collector = collector.start().unwrap();

    let directory = tempfile::tempdir().unwrap();
    let named = |field: &str| case.input().get(field).map(|value| value.as_str().unwrap());
    let ca = match named("trusts") {
        None => pki.ca_pem().to_owned(),
        Some("other") => pki.other_ca_pem().to_owned(),
        Some("both") => [pki.other_ca_pem(), pki.ca_pem()].concat(),
        Some(unknown) => panic!("trusts {unknown}"),
    };
    let ca_path = directory.path().join("ca.crt");
    std::fs::write(&ca_path, ca).unwrap();
    let mut places = vec![
        ("$PORT".to_owned(), collector.addr().port().to_string()),
        ("$CA".to_owned(), text(&ca_path)),
    ];
    if let Some(identity) = named("identity") {
        let identity = pki.client(fixture(identity));
        let (certificate, key) = identity.write_to(directory.path(), "client").unwrap();
        places.push(("$CERT".to_owned(), text(&certificate)));
        places.push(("$KEY".to_owned(), text(&key)));
    }

    let mut observed = export(&Input::new(case.input(), &places));
    let subjects: Vec<_> = collector
        .client_certificates()
        .into_iter()
        .map(|certificate| certificate.subject().to_owned())
        .collect();
    observed.insert("subjects".to_owned(), json!(subjects.join(", ")));
    observed
}
