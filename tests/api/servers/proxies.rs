//! tinyproxy, with stunnel in front of it for TLS.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Command;

use otlp_mtls::{ExportersBuilder, FailureKind, Pem, Protocol, Signal};
use tempfile::TempDir;

use super::{Server, is_skipped, run};
use crate::support::{
    TRANSPORTS, export, items, last_failure, mtls_collector, once, plaintext_collector, with_vars,
};
use otlp_mtls::testing::{Collector, Fixture, Identity, Pki};

/// The proxies, each on a separate port.
struct Proxies {
    pki: Pki,
    plain: u16,
    secure: u16,
    _servers: [Server; 2],
    _directory: TempDir,
}

impl Proxies {
    /// `None` if the test is skipped. Clients must send this user and password.
    fn if_here(credentials: Option<(&str, &str)>) -> Option<Self> {
        let versions = [["tinyproxy", "-v"], ["stunnel4", "-version"]];
        if versions.into_iter().any(|[it, version]| is_skipped(run(Command::new(it).arg(version))))
        {
            return None;
        }
        let (pki, directory) = (Pki::new(), tempfile::tempdir().unwrap());
        let (tinyproxy, plain) = listening(|port| {
            let file = directory.path().join("tinyproxy.conf");
            let login =
                credentials.map(|(user, password)| format!("BasicAuth {user} {password}\n"));
            let config = format!(
                "Port {port}\nListen 127.0.0.1\nTimeout 60\nLogLevel Info\n{}",
                login.unwrap_or_default()
            );
            fs::write(&file, config).unwrap();
            // It logs to standard output, but reports a port in use on standard error.
            let mut tinyproxy = Command::new("sh");
            tinyproxy.args(["-c", "exec tinyproxy -d -c \"$0\" >&2"]).arg(file);
            Server::listening(&mut tinyproxy, "Accepting connections", "Could not create listening")
        });
        let identity = pki.server(Fixture::Good);
        let (stunnel, secure) = listening(|port| {
            let file = stunnel_config(directory.path(), &identity, port, plain);
            let mut stunnel = Command::new("stunnel4");
            stunnel.arg(file);
            Server::listening(&mut stunnel, " bound to ", "Address already in use")
        });
        let servers = [tinyproxy, stunnel];
        Some(Self { pki, plain, secure, _servers: servers, _directory: directory })
    }

    /// An endpoint of a collector on this machine. A proxy is not used for loopback addresses.
    fn builder(
        &self,
        collector: &Collector,
        pki: Option<&Pki>,
        login: &str,
        by: &str,
    ) -> ExportersBuilder {
        let port = if by == "https" { self.secure } else { self.plain };
        let scheme = if pki.is_some() { "https" } else { "http" };
        let builder = with_vars(vec![
            (
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                format!("{scheme}://0.0.0.0:{}", collector.addr().port()),
            ),
            ("ALL_PROXY", format!("{by}://{login}localhost:{port}")),
        ]);
        let builder = once(builder)
            .with_proxy_ca_certificate(Pem::bytes(self.pki.ca_pem()))
            .with_server_name("localhost")
            .with_failure_handler(|_| {});
        match pki {
            None => builder,
            Some(pki) => {
                let client = pki.client(Fixture::Good);
                builder.with_ca_certificate(Pem::bytes(pki.ca_pem())).with_client_identity(
                    Pem::bytes(client.certificate_pem()),
                    Pem::bytes(client.key_pem()),
                )
            }
        }
    }
}

fn stunnel_config(
    directory: &Path,
    identity: &Identity,
    port: u16,
    plain: u16,
) -> std::path::PathBuf {
    let [certificate, key, file] =
        ["proxy.crt", "proxy.key", "stunnel.conf"].map(|name| directory.join(name));
    fs::write(&certificate, identity.certificate_pem()).unwrap();
    fs::write(&key, identity.key_pem()).unwrap();
    let config = format!(
        "foreground = yes\npid =\ndebug = 6\n[proxy]\naccept = 127.0.0.1:{port}\nconnect = 127.0.0.1:{plain}\n\
         cert = {}\nkey = {}\n",
        certificate.display(),
        key.display()
    );
    fs::write(&file, config).unwrap();
    file
}

/// Another process may bind the port before the server does.
fn listening(start: impl Fn(u16) -> Option<Server>) -> (Server, u16) {
    let start = || {
        let port =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        Some((start(port)?, port))
    };
    (0..10).find_map(|_| start()).unwrap()
}

#[test]
fn every_signal_goes_through_tinyproxy_and_stunnel() {
    for (credentials, login) in [(None, ""), (Some(("user", "pass")), "user:pass@")] {
        let Some(proxies) = Proxies::if_here(credentials) else { return };
        for by in ["http", "https"] {
            for protocol in TRANSPORTS {
                let (pki, secure) = mtls_collector();
                let plain = plaintext_collector();
                for (collector, pki) in [(&secure, Some(&pki)), (&plain, None)] {
                    let case = format!("{protocol} by {by}, {login}");
                    let builder = proxies.builder(collector, pki, login, by);
                    let exporters = builder.with_protocol(protocol).build().unwrap();
                    for signal in Signal::ALL {
                        export(&exporters, signal)
                            .unwrap_or_else(|error| panic!("{case}: {error}"));
                        assert!(items(collector, signal) > 0, "{case}: {signal}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_wrong_password_is_refused() {
    let Some(proxies) = Proxies::if_here(Some(("user", "pass"))) else { return };
    let collector = plaintext_collector();
    for by in ["http", "https"] {
        for login in ["", "user:wrong@"] {
            let builder = proxies.builder(&collector, None, login, by);
            let exporters = builder.with_protocol(Protocol::Grpc).build().unwrap();
            export(&exporters, Signal::Traces).unwrap_err();
            let failure = last_failure(&exporters, Signal::Traces);
            let FailureKind::ProxyRefused { status, .. } = failure.kind() else {
                panic!("{by}, {login}: {failure}")
            };
            // tinyproxy returns 401 for a wrong password, and 407 for none.
            assert!(matches!(status, Some(401 | 407)), "{by}, {login}: {failure}");
            assert!(!failure.to_string().contains("wrong"), "{failure}");
        }
    }
    assert_eq!(collector.connections(), 0);
}

#[test]
fn stunnel_is_verified() {
    let Some(proxies) = Proxies::if_here(None) else { return };
    let collector = plaintext_collector();
    let other = Pki::new();
    let builder = proxies.builder(&collector, None, "", "https");
    let builder = builder.with_proxy_ca_certificate(Pem::bytes(other.ca_pem()));
    let exporters = builder.with_protocol(Protocol::Grpc).build().unwrap();
    export(&exporters, Signal::Traces).unwrap_err();
    let failure = last_failure(&exporters, Signal::Traces);
    let FailureKind::ProxyTls { proxy, .. } = failure.kind() else { panic!("{failure}") };
    assert_eq!(*proxy, format!("localhost:{}", proxies.secure));
    assert!(failure.to_string().contains("with_proxy_ca_certificate()"), "{failure}");
}
