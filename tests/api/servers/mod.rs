//! Real servers, with the certificates of `examples/collector/certificates.sh`.

mod collector;
mod grpc_go;
mod grpcio;
mod haproxy;
mod nginx;
mod proxies;

use std::env;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::{iter, thread};

use otlp_mtls::{ExportersBuilder, Protocol};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{SOON, with_vars};

/// Set by `.ci/run`: tests with missing tools then fail instead of being skipped.
const REQUIRE_SERVERS: &str = "OTLP_MTLS_REQUIRE_SERVERS";

// Certificates

/// The files of `certificates.sh`.
struct Certificates(TempDir);

impl Certificates {
    /// Creates them. If this command or openssl fails, the test is skipped.
    fn if_here(server: &mut Command) -> Option<Self> {
        if is_skipped(run(server)) { None } else { Self::make() }
    }

    /// Creates them. If the Go servers cannot be built or openssl fails, the test is skipped.
    fn if_go_builds() -> Option<Self> {
        if go_builds() { Self::make() } else { None }
    }

    fn make() -> Option<Self> {
        for tool in [Command::new("bash").arg("--version"), &mut openssl_version()] {
            if is_skipped(run(tool)) {
                return None;
            }
        }
        let directory = tempfile::tempdir().unwrap();
        let script = repository("examples/collector/certificates.sh");
        run(Command::new("bash").arg(script).arg(directory.path()).env("KEY_BITS", "2048"))
            .unwrap();
        Some(Self(directory))
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    /// The variables that users set, except the client's identity.
    fn anonymous(&self, port: u16, protocol: Protocol) -> Vec<(&'static str, OsString)> {
        vec![
            ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("https://localhost:{port}").into()),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol.to_string().into()),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", self.path("ca.crt").into()),
        ]
    }

    fn builder(&self, port: u16, protocol: Protocol) -> ExportersBuilder {
        let mut vars = self.anonymous(port, protocol);
        vars.push(("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", self.path("client.crt").into()));
        vars.push(("OTEL_EXPORTER_OTLP_CLIENT_KEY", self.path("client.key").into()));
        with_vars(vars)
    }
}

fn openssl_version() -> Command {
    let mut command = Command::new("openssl");
    command.arg("version");
    command
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The folder of the servers of `tests/servers/collector`, which the first test that needs one builds; or why
/// they cannot be built.
fn go_servers() -> Result<&'static Path, String> {
    static BUILT: LazyLock<Result<PathBuf, String>> = LazyLock::new(|| {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("servers");
        let mut build = Command::new("go");
        build
            .args(["build", "-buildvcs=false", "-o"])
            // With a trailing slash, because it may not exist.
            .arg(directory.join(""))
            .arg("./...")
            .current_dir(repository("tests/servers/collector"))
            // An older Go would download the version in go.mod.
            .env("GOTOOLCHAIN", "local");
        run(&mut build)?;
        Ok(directory)
    });
    BUILT.as_deref().map_err(Clone::clone)
}

/// Whether the Go servers can be built. If not, the test is skipped.
fn go_builds() -> bool {
    !is_skipped(go_servers())
}

/// One of them.
fn go_server(name: &str) -> Command {
    Command::new(go_servers().unwrap().join(name))
}

/// A command's standard output, or why it fails.
fn run(command: &mut Command) -> Result<String, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{program} does not run: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        // Python's reason is in its last line.
        let said = String::from_utf8_lossy(&output.stderr);
        Err(format!("{program}: {}: {}", output.status, said.lines().last().unwrap_or_default()))
    }
}

/// Whether a test is skipped because something is missing.
fn is_skipped<T>(needed: Result<T, String>) -> bool {
    let Err(why) = needed else { return false };
    assert!(env::var_os(REQUIRE_SERVERS).is_none(), "{REQUIRE_SERVERS} is set: {why}");
    skipped(&why);
    true
}

fn skipped(why: &str) {
    // libtest captures `eprintln!` and discards it if the test passes.
    let _ = io::stderr().write_all(format!("skipped: {why}\n").as_bytes());
}

#[test]
fn the_script_makes_client_certificates_of_version_1() {
    let Some(certificates) = Certificates::if_here(&mut openssl_version()) else { return };
    let version = run(&mut openssl_version()).unwrap();
    let number = version.strip_prefix("OpenSSL ").and_then(|version| {
        let mut numbers = version.split('.').map_while(|number| number.parse::<u32>().ok());
        Some((numbers.next()?, numbers.next()?))
    });
    if number.is_none_or(|number| number >= (3, 2)) {
        return skipped(&format!("only OpenSSL before 3.2 makes them, not {}", version.trim()));
    }
    let mut openssl = Command::new("openssl");
    openssl.args(["x509", "-noout", "-text", "-in"]).arg(certificates.path("client.crt"));
    let text = run(&mut openssl).unwrap();
    assert!(text.contains("Version: 1 (0x0)"), "{text}");
}

// Servers

/// A process that is killed when this is dropped.
struct Server {
    child: Child,
    lines: Receiver<String>,
}

impl Server {
    /// `output` is the stream that is read.
    fn new(child: Child, output: impl Read + Send + 'static) -> Self {
        let (sender, lines) = mpsc::channel();
        // Reads on without a receiver, because a full pipe would block the server.
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Self { child, lines }
    }

    /// Starts a server that logs to standard error, and waits until it is `ready`; `None` if its port is `taken`.
    fn listening(command: &mut Command, ready: &str, taken: &str) -> Option<Self> {
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = child.stderr.take().unwrap();
        let server = Self::new(child, stderr);
        loop {
            let line = server.line().expect("it ended");
            eprintln!("{line}");
            match () {
                () if line.contains(ready) => return Some(server),
                () if line.contains(taken) => return None,
                () => {}
            }
        }
    }

    /// Waits for a line with this text.
    fn wait_until(&self, words: &str) {
        loop {
            let line = self.line().expect("it ended");
            eprintln!("{line}");
            if line.contains(words) {
                return;
            }
        }
    }

    /// Its next line, or `None` if it has ended.
    fn line(&self) -> Option<String> {
        match self.lines.recv_timeout(SOON) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("the server has nothing to say"),
        }
    }
}

/// A server that prints `listening PORT`, then a line of JSON for each export that it accepts, and ends
/// when its standard input does.
struct Reporter {
    server: Server,
    port: u16,
}

impl Reporter {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        let server = Server::new(child, stdout);
        let line = server.line().unwrap();
        let port = line.strip_prefix("listening ").unwrap().parse().unwrap();
        Self { server, port }
    }

    /// Ends it, and returns what it received.
    fn received(mut self) -> Vec<Value> {
        drop(self.server.child.stdin.take());
        let lines = iter::from_fn(|| self.server.line());
        lines.map(|line| serde_json::from_str(&line).unwrap()).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // Shown if the test fails.
        self.lines.iter().for_each(|line| eprintln!("{line}"));
    }
}
