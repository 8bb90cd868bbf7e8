//! A collector that listens on a Unix domain socket.

use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::{fs, thread};

use opentelemetry_sdk::trace::SpanExporter as _;
use otlp_mtls::check::{Outcome, Topic};
use otlp_mtls::{ExportersBuilder, FailureKind, Pem, Protocol, Signal, upstream};
use tempfile::TempDir;

use crate::support::{
    builder, export, items, last_failure, once, plaintext_collector, span, with_vars,
};

/// A socket, and its listener.
struct Socket {
    directory: TempDir,
}

impl Socket {
    /// Forwards everything to this address.
    fn in_front_of(server: SocketAddr) -> Self {
        let socket = Self::new();
        let listener = UnixListener::bind(socket.path()).unwrap();
        // Ends with the test's process.
        thread::spawn(move || {
            for client in listener.incoming() {
                // Some clients close the connection early.
                thread::spawn(move || drop(relay(client.unwrap(), server)));
            }
        });
        socket
    }

    /// Without a listener.
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("otlp.sock")
    }

    fn endpoint(&self) -> String {
        format!("unix://{}", self.path().display())
    }
}

fn relay(client: UnixStream, server: SocketAddr) -> io::Result<()> {
    let server = TcpStream::connect(server)?;
    let (mut from, mut to) = (server.try_clone()?, client.try_clone()?);
    thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        to.shutdown(Shutdown::Both)
    });
    io::copy(&mut &client, &mut &server)?;
    server.shutdown(Shutdown::Write)
}

fn grpc(endpoint: String) -> ExportersBuilder {
    once(builder())
        .with_protocol(Protocol::Grpc)
        .with_endpoint(endpoint)
        .with_failure_handler(|_| {})
}

#[test]
fn every_signal_goes_through_it() {
    let collector = plaintext_collector();
    let socket = Socket::in_front_of(collector.addr());
    for endpoint in [socket.endpoint(), format!("unix:{}", socket.path().display())] {
        let before = collector.connections();
        let exporters = grpc(endpoint).build().unwrap();
        let exporter = crate::support::Exporter::new(&exporters, Signal::Traces);
        futures_executor::block_on(exporter.export()).unwrap();
        for signal in Signal::ALL {
            export(&exporters, signal).unwrap();
        }
        assert_eq!(collector.connections(), before + 1);
        assert_eq!(exporters.status().exports[0].endpoint, socket.endpoint());
    }
    for signal in Signal::ALL {
        assert!(items(&collector, signal) >= 2, "{signal}");
    }
    let addressed = collector.requests().into_iter().map(|request| request.authority);
    assert!(addressed.into_iter().all(|authority| authority.as_deref() == Some("localhost")));
}

#[test]
fn upstreams_exporter_goes_through_it() {
    let collector = plaintext_collector();
    let socket = Socket::in_front_of(collector.addr());
    let exporters = grpc(socket.endpoint()).build().unwrap();
    let exporter = upstream::span_exporter(&exporters).unwrap();
    futures_executor::block_on(exporter.export(vec![span("a")])).unwrap();
    assert_eq!(collector.spans().len(), 1);
}

#[test]
fn a_check_goes_through_it() {
    let collector = plaintext_collector();
    let socket = Socket::in_front_of(collector.addr());
    let report = grpc(socket.endpoint()).build().unwrap().check_blocking();
    assert!(report.is_delivered(), "{report}");
    let topics: Vec<_> =
        report.signals[0].findings.iter().map(|finding| (finding.topic, finding.outcome)).collect();
    assert!(topics.contains(&(Topic::Socket, Outcome::Good)), "{report}");
    // The report shows its permissions.
    assert!(topics.contains(&(Topic::Tls, Outcome::Good)), "{report}");
    assert!(topics.iter().all(|(topic, _)| ![Topic::Dns, Topic::Tcp].contains(topic)), "{report}");

    let report = grpc(Socket::new().endpoint()).build().unwrap().check_blocking();
    assert!(!report.is_delivered(), "{report}");
    let socket = report.signals[0].findings.iter().find(|finding| finding.topic == Topic::Socket);
    assert_eq!(socket.unwrap().outcome, Outcome::Failed, "{report}");
}

/// A socket is plaintext regardless of TLS settings, and a proxy is not used.
#[test]
fn tls_and_proxies_are_not_for_it() {
    let collector = plaintext_collector();
    let socket = Socket::in_front_of(collector.addr());
    let exporters = with_vars(vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT", socket.endpoint()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc".to_owned()),
        ("OTEL_EXPORTER_OTLP_INSECURE", "false".to_owned()),
        ("ALL_PROXY", "http://proxy.invalid:1".to_owned()),
    ])
    .with_ca_certificate(Pem::file("/nowhere"))
    .build()
    .unwrap();
    export(&exporters, Signal::Traces).unwrap();
    assert_eq!(collector.spans().len(), 1);
    let report = exporters.check_blocking();
    let endpoint = format!("{} (OTEL_EXPORTER_OTLP_ENDPOINT)", socket.endpoint());
    let warnings = [
        format!(
            "OTEL_EXPORTER_OTLP_INSECURE: no effect: the scheme of {endpoint} takes precedence"
        ),
        format!("{endpoint} is plaintext, which does not use with_ca_certificate()"),
    ];
    assert_eq!(report.warnings, warnings);
}

/// The failure of an export: its kind and message.
fn failure(endpoint: String) -> (FailureKind, String) {
    let exporters = grpc(endpoint).build().unwrap();
    export(&exporters, Signal::Traces).unwrap_err();
    let failure = last_failure(&exporters, Signal::Traces);
    assert!(failure.is_connect(), "{failure}");
    (failure.kind().clone(), failure.to_string())
}

#[test]
fn why_it_cannot_be_reached() {
    let missing = Socket::new();
    let (kind, words) = failure(missing.endpoint());
    assert_eq!(kind.name(), "connect");
    let expected = format!(
        "traces export to {} failed: there is no socket at that path\n  to do: start the \
         collector, or correct the path in with_endpoint(); containers need a shared volume for \
         the socket",
        missing.endpoint()
    );
    assert_eq!(words, expected);

    let other = Socket::new();
    fs::File::create(other.path()).unwrap().write_all(b"a file").unwrap();
    let directory = format!("unix://{}", other.directory.path().display());
    for endpoint in [other.endpoint(), directory] {
        let (kind, words) = failure(endpoint.clone());
        assert_eq!(kind.name(), "connect");
        let expected = format!(
            "traces export to {endpoint} failed: no connection: it is not a socket\n  to do: correct \
             the path in with_endpoint()"
        );
        assert_eq!(words, expected);
    }

    let left = Socket::new();
    drop(UnixListener::bind(left.path()).unwrap());
    let (kind, words) = failure(left.endpoint());
    assert_eq!(kind.name(), "connection_refused");
    let expected = format!(
        "traces export to {} failed: nothing listens there: connection refused\n  to do: start the \
         collector, which left its socket file behind, or correct the path in with_endpoint()",
        left.endpoint()
    );
    assert_eq!(words, expected);
}

/// Root may connect to any socket, so the test runs itself as another user.
#[test]
fn one_that_this_user_may_not_use() {
    const SOCKET: &str = "OTLP_MTLS_SOCKET";
    const NAME: &str = "unix_sockets::one_that_this_user_may_not_use";
    if let Ok(path) = std::env::var(SOCKET) {
        let (kind, words) = failure(format!("unix:{path}"));
        assert_eq!(kind.name(), "connect");
        let cause = "failed: this process is not permitted to connect to the socket: Permission denied \
                     (os error 13)\n";
        assert!(words.contains(cause), "{words}");
        let remedy = "  to do: give this process's user write permission on the socket and search \
                      permission on its directories";
        assert!(words.ends_with(remedy), "{words}");
        return;
    }
    let collector = plaintext_collector();
    let socket = Socket::in_front_of(collector.addr());
    let set_mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    set_mode(&socket.path(), 0o400);
    set_mode(socket.directory.path(), 0o755);
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    if fs::read_dir("/root").is_ok() {
        use std::os::unix::process::CommandExt;
        child.uid(65534).gid(65534);
    }
    child.args(["--exact", NAME, "--nocapture"]).env(SOCKET, socket.path());
    let output = child.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
