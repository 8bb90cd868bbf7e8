//! The OpenTelemetry Collector, which requires a client certificate and writes what it receives to files.

mod content;
mod delivery;
mod limits;
mod load;
mod refusals;
mod relay;
mod reload;
mod restarts;
#[cfg(unix)]
mod sockets;

use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use otlp_mtls::status::ExportStatus;
use otlp_mtls::testing::{Fixture, Pki};
use otlp_mtls::{Exporters, ExportersBuilder, Pem, Protocol, Signal};
use serde_json::{Deserializer, Value};
use tempfile::TempDir;
use tokio::net::TcpSocket;

use super::haproxy::with_client;
use super::{Server, go_builds, go_server, repository, run};
use crate::support::builder;

/// TLS versions in the Collector's spelling, and an overlay that permits only this one.
const TLS_VERSIONS: [(&str, [&str; 2]); 2] = [
    ("1.2", ["tls::min_version: '1.2'", "tls::max_version: '1.2'"]),
    ("1.3", ["tls::min_version: '1.3'", "tls::max_version: '1.3'"]),
];

/// A Collector.
struct OtelCollector {
    /// `None` after its end.
    server: Option<Server>,
    launch: Launch,
}

/// How a Collector is started, repeatedly if needed.
struct Launch {
    config: PathBuf,
    certificates: PathBuf,
    overlays: Vec<String>,
    grpc: Port,
    http: Port,
    /// One file per start, named by its number.
    files: TempDir,
    starts: usize,
}

/// How a Collector ends.
#[derive(Clone, Copy, Debug)]
enum End {
    /// Immediately, by SIGKILL.
    Killed,
    /// By SIGTERM, after the exports in flight.
    Stopped,
}

impl OtelCollector {
    /// Starts one with `tests/servers/collector/config.yaml` and the certificates of this directory.
    /// Overlays are merged into the configuration: `PATH::TO::KEY: VALUE`.
    fn start(certificates: &Path, overlays: &[String]) -> Self {
        let config = repository("tests/servers/collector/config.yaml");
        Self::with_config(config, certificates, overlays)
    }

    fn with_config(config: PathBuf, certificates: &Path, overlays: &[String]) -> Self {
        let mut launch = Launch {
            config,
            certificates: certificates.to_owned(),
            overlays: overlays.to_owned(),
            grpc: Port::reserve(),
            http: Port::reserve(),
            files: tempfile::tempdir().unwrap(),
            starts: 0,
        };
        Self { server: Some(launch.start()), launch }
    }

    fn port(&self, protocol: Protocol) -> u16 {
        let Launch { grpc, http, .. } = &self.launch;
        if protocol == Protocol::Grpc { grpc.number() } else { http.number() }
    }

    fn end(&mut self, end: End) {
        let mut server = self.server.take().unwrap();
        match end {
            End::Killed => server.child.kill().unwrap(),
            End::Stopped => {
                let id = server.child.id().to_string();
                run(Command::new("kill").args(["-TERM", &id])).unwrap();
                assert!(server.child.wait().unwrap().success());
            }
        }
    }

    /// Starts it again, on the same ports.
    fn start_again(&mut self) {
        self.server = Some(self.launch.start());
    }

    fn restart(&mut self, end: End) {
        self.end(end);
        self.start_again();
    }

    /// What it has received: a document of OTLP JSON for each export.
    fn exports(&self) -> Vec<Value> {
        let written = |nth| fs::read_to_string(self.launch.file(nth)).unwrap_or_default();
        (0..self.launch.starts).flat_map(|nth| documents(&written(nth))).collect()
    }

    /// The names of the spans or metrics that it has received, or the bodies of the log records.
    fn received(&self, signal: Signal) -> Vec<String> {
        self.exports().iter().flat_map(|export| names(export, signal)).collect()
    }

    /// Waits until it logs this text.
    fn wait_until(&self, words: &str) {
        self.server.as_ref().unwrap().wait_until(words);
    }
}

impl Launch {
    fn start(&mut self) -> Server {
        let file = |path: &Path| {
            let mut argument = OsString::from("--config=file:");
            argument.push(path);
            argument
        };
        let endpoint = |port: &Port| format!("endpoint: 127.0.0.1:{}", port.number());
        let endpoints = [on_grpc(&endpoint(&self.grpc)), on_http(&endpoint(&self.http))];
        let overlays = endpoints.iter().chain(&self.overlays);
        let mut command = go_server("collector");
        command
            .arg(file(&self.config))
            .args(overlays.map(|overlay| format!("--config=yaml:{overlay}")))
            .env("CERTIFICATES", &self.certificates)
            .env("OUTPUT", self.file(self.starts))
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
        self.starts += 1;
        let mut child = command.spawn().unwrap();
        let stderr = child.stderr.take().unwrap();
        let server = Server::new(child, stderr);
        server.wait_until("Everything is ready");
        server
    }

    fn file(&self, nth: usize) -> PathBuf {
        self.files.path().join(format!("{nth}.json"))
    }
}

/// An overlay for OTLP/gRPC.
fn on_grpc(setting: &str) -> String {
    format!("receivers::otlp::protocols::grpc::{setting}")
}

/// An overlay for OTLP/HTTP.
fn on_http(setting: &str) -> String {
    format!("receivers::otlp::protocols::http::{setting}")
}

/// Overlays for both.
fn on_both(settings: &[&str]) -> Vec<String> {
    settings.iter().flat_map(|setting| [on_grpc(setting), on_http(setting)]).collect()
}

/// A Collector, and a PKI that has issued its certificate and issues those of its clients.
struct Deployment {
    pki: Pki,
    collector: OtelCollector,
    scheme: &'static str,
    /// Its certificates.
    _directory: TempDir,
}

impl Deployment {
    /// `None` if the test is skipped.
    fn start(overlays: &[String]) -> Option<Self> {
        if !go_builds() {
            return None;
        }
        let pki = Pki::new();
        let directory = tempfile::tempdir().unwrap();
        pki.write_ca_to(directory.path()).unwrap();
        pki.server(Fixture::Good).write_to(directory.path(), "server").unwrap();
        let collector = OtelCollector::start(directory.path(), overlays);
        Some(Self { pki, collector, scheme: "https", _directory: directory })
    }

    /// Without TLS: OTLP/HTTP is then HTTP/1.1.
    fn start_plaintext() -> Option<Self> {
        let deployment = Self::start(&on_both(&["tls: null"]))?;
        Some(Self { scheme: "http", ..deployment })
    }

    fn builder(&self, protocol: Protocol) -> ExportersBuilder {
        self.builder_with(protocol, Some(Fixture::Good))
    }

    /// With this client's certificate, or with none.
    fn builder_with(&self, protocol: Protocol, client: Option<Fixture>) -> ExportersBuilder {
        let Self { pki, collector, scheme, .. } = self;
        let builder = builder()
            .with_endpoint(format!("{scheme}://localhost:{}", collector.port(protocol)))
            .with_protocol(protocol);
        if *scheme == "http" {
            return builder;
        }
        with_client(builder.with_ca_certificate(Pem::bytes(pki.ca_pem())), pki, client)
    }
}

fn status_of(exporters: &Exporters, signal: Signal) -> ExportStatus {
    let status = exporters.status();
    status.exports.into_iter().find(|export| export.signal == signal).unwrap()
}

/// A port that no other process gets while no Collector listens on it. On Linux a socket may listen on a port to
/// which another socket is bound that does not listen.
struct Port(TcpSocket);

impl Port {
    fn reserve() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        Self(socket)
    }

    fn number(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }
}

/// The contents of a file of the Collector.
fn documents(written: &str) -> Vec<Value> {
    Deserializer::from_str(written)
        .into_iter()
        // A Collector killed while writing has not acknowledged the last line.
        .take_while(|export| !export.as_ref().is_err_and(serde_json::Error::is_eof))
        .map(Result::unwrap)
        .collect()
}

/// The names of one signal's items in an export.
fn names(export: &Value, signal: Signal) -> Vec<String> {
    let [resources, scopes, items, name] = match signal {
        Signal::Traces => ["resourceSpans", "scopeSpans", "spans", "/name"],
        Signal::Metrics => ["resourceMetrics", "scopeMetrics", "metrics", "/name"],
        _ => ["resourceLogs", "scopeLogs", "logRecords", "/body/stringValue"],
    };
    fn each<'a>(parent: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
        parent[key].as_array().into_iter().flatten()
    }
    each(export, resources)
        .flat_map(|resource| each(resource, scopes))
        .flat_map(|scope| each(scope, items))
        .map(|item| item.pointer(name).unwrap().as_str().unwrap().to_owned())
        .collect()
}
