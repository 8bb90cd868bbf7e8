//! Certificates, keys and CAs that change while exporters run: with real files and handshakes, observed by
//! the collector.

mod clients;
mod deaths;
mod files;
mod refusals;
mod sessions;
mod sources;
mod status;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use futures_executor::block_on;
use otlp_mtls::credentials::CredentialStatus;
use otlp_mtls::testing::{Collector, Fixture, Identity, Pki};
use otlp_mtls::{Exporters, ExportersBuilder, Protocol, Signal};
use rustls::SupportedProtocolVersion;
use tempfile::TempDir;

use crate::support::{Exporter, SOON, with_vars};

const CA: &str = "OTEL_EXPORTER_OTLP_CERTIFICATE";
const CERTIFICATE: &str = "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE";
const KEY: &str = "OTEL_EXPORTER_OTLP_CLIENT_KEY";

/// Long enough that the files are checked only after a failure or by `reload`.
const HOUR: Duration = Duration::from_secs(3600);

const VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

/// The protocols and HTTP versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Grpc,
    Http2,
    Http1,
}

/// Includes HTTP/1.1, whose connections differ.
const WAYS: [Way; 3] = [Way::Grpc, Way::Http2, Way::Http1];

impl Way {
    fn protocol(self) -> Protocol {
        if self == Self::Grpc { Protocol::Grpc } else { Protocol::HttpProtobuf }
    }

    fn collector(self, pki: &Pki, versions: &[&'static SupportedProtocolVersion]) -> Collector {
        let alpn: &[u8] = if self == Self::Http1 { b"http/1.1" } else { b"h2" };
        Collector::builder()
            .with_tls(pki.server(Fixture::Good))
            .with_client_ca(pki.ca_pem())
            .with_tls_versions(versions)
            .with_alpn(vec![alpn.to_vec()])
            .start()
            .unwrap()
    }
}

/// The exporters of one service, one of each signal.
struct Running {
    exporters: Exporters,
    each: Vec<(Signal, Exporter)>,
}

impl Running {
    fn new(builder: ExportersBuilder) -> Self {
        let exporters = builder.build().unwrap();
        let each = Signal::ALL.map(|signal| (signal, Exporter::new(&exporters, signal))).into();
        Self { exporters, each }
    }

    fn export(&self, signal: Signal) -> Result<(), String> {
        let (_, exporter) = self.each.iter().find(|(known, _)| *known == signal).unwrap();
        block_on(exporter.export()).map_err(|error| error.to_string())
    }

    /// Exports, and returns the connection and the name of the client certificate.
    fn seen(&self, collector: &Collector, signal: Signal) -> (usize, String) {
        self.export(signal).unwrap();
        let requests = collector.requests();
        let request = requests.iter().rfind(|request| request.signal == signal).unwrap();
        let client = request.client_certificate.as_ref().unwrap();
        (request.connection, client.common_name().unwrap().to_owned())
    }

    fn status(&self) -> CredentialStatus {
        let mut status = self.exporters.status();
        assert_eq!(status.credentials.len(), 1, "the signals share their credentials");
        status.credentials.remove(0)
    }

    fn refusal(&self) -> Option<String> {
        self.status().refusal.map(|refusal| refusal.reason)
    }
}

/// A service whose variables name files with its CA and its identity, `first`.
struct Service {
    // Dropped first, because a meter provider exports again when it is dropped.
    running: Running,
    pki: Pki,
    collector: Collector,
    files: Files,
}

impl Service {
    /// Its files are checked at every export.
    fn new(way: Way) -> Self {
        Self::with(way, rustls::DEFAULT_VERSIONS, |builder| {
            builder.with_reload_interval(Duration::ZERO)
        })
    }

    fn with(
        way: Way,
        versions: &[&'static SupportedProtocolVersion],
        configure: impl FnOnce(ExportersBuilder) -> ExportersBuilder,
    ) -> Self {
        let pki = Pki::new();
        let files = Files::new(&pki);
        let collector = way.collector(&pki, versions);
        let builder = files.builder(&collector).with_protocol(way.protocol());
        let running = Running::new(configure(builder));
        Self { running, pki, collector, files }
    }

    fn export(&self) -> Result<(), String> {
        self.running.export(Signal::Traces)
    }

    fn seen(&self, signal: Signal) -> (usize, String) {
        self.running.seen(&self.collector, signal)
    }

    /// An export of each signal succeeds on this connection, with this certificate and generation; no
    /// other connection remains.
    fn is(&self, connection: usize, name: &str, generation: u64) {
        for signal in Signal::ALL {
            assert_eq!(self.seen(signal), (connection, name.to_owned()), "{signal}");
        }
        assert_eq!(self.running.status().generation, generation);
        assert!(self.collector.wait_until(SOON, |seen| seen.open_connections() == 1));
        assert_eq!((self.collector.connections(), self.collector.resets()), (connection + 1, 0));
    }

    /// Like `is`, with newer files that are refused. Returns the reason.
    fn still_is(&self, connection: usize, name: &str, generation: u64) -> String {
        self.is(connection, name, generation);
        self.running.refusal().expect("what is there is refused")
    }
}

/// `ca.crt`, `client.crt` and `client.key` in a directory.
struct Files {
    directory: TempDir,
}

impl Files {
    fn new(pki: &Pki) -> Self {
        let files = Self { directory: tempfile::tempdir().unwrap() };
        files.replace("ca.crt", pki.ca_pem());
        files.replace_identity(&pki.client_named("first"));
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A builder whose variables name the files.
    fn builder(&self, collector: &Collector) -> ExportersBuilder {
        with_vars(vec![
            (CA, self.path("ca.crt")),
            (CERTIFICATE, self.path("client.crt")),
            (KEY, self.path("client.key")),
        ])
        .with_endpoint(collector.endpoint())
    }

    /// Renames another file to this name.
    fn replace(&self, name: &str, content: impl AsRef<[u8]>) {
        let new = self.path(&format!("{name}.new"));
        fs::write(&new, content).unwrap();
        fs::rename(new, self.path(name)).unwrap();
    }

    fn replace_identity(&self, identity: &Identity) {
        self.replace("client.crt", identity.certificate_pem());
        self.replace("client.key", identity.key_pem());
    }

    /// Writes into the existing file.
    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap();
    }

    fn write_identity(&self, identity: &Identity) {
        self.write("client.crt", identity.certificate_pem());
        self.write("client.key", identity.key_pem());
    }

    fn set_modified(&self, name: &str, time: SystemTime) {
        set_modified(&self.path(name), time);
    }
}

fn set_modified(path: &Path, time: SystemTime) {
    File::options().append(true).open(path).unwrap().set_modified(time).unwrap();
}

fn long_ago() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}
