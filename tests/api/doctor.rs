//! `otlp-doctor`: its output and exit status.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use otlp_mtls::testing::{Collector, Fixture, Pki};
use tempfile::TempDir;

use crate::support::{NOBODY, SOON, mtls_collector};
use crate::words::normalised;

/// The doctor, with the files of a service and a collector that requires a client certificate.
fn doctor(pki: &Pki, collector: &Collector, directory: &Path) -> Command {
    let mut doctor = without_variables();
    let (certificate, key) = pki.client(Fixture::Good).write_to(directory, "client").unwrap();
    doctor
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint())
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        .env("OTEL_EXPORTER_OTLP_CERTIFICATE", pki.write_ca_to(directory).unwrap())
        .env("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", certificate)
        .env("OTEL_EXPORTER_OTLP_CLIENT_KEY", key);
    doctor
}

fn without_variables() -> Command {
    let mut doctor = Command::new(env!("CARGO_BIN_EXE_otlp-doctor"));
    doctor.env_clear().stdin(Stdio::null());
    doctor
}

fn readme() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap()
}

fn run(doctor: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = doctor.output().unwrap();
    let [stdout, stderr] = [stdout, stderr].map(|text| String::from_utf8(text).unwrap());
    (status.code().unwrap(), stdout, stderr)
}

#[test]
fn the_readme_shows_what_it_prints() {
    let (pki, collector) = mtls_collector();
    let directory = tempfile::tempdir().unwrap();
    let mut doctor = doctor(&pki, &collector, directory.path());
    doctor.env_remove("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE");
    doctor.env_remove("OTEL_EXPORTER_OTLP_CLIENT_KEY");
    let (status, stdout, stderr) = run(&mut doctor);
    assert_eq!((status, stderr.as_str()), (1, ""), "{stdout}");

    let signals: Vec<&str> = stdout.trim_end().split("\n\n").collect();
    let [logs, metrics, traces] = signals.as_slice() else { panic!("{stdout}") };
    assert!(logs.starts_with("logs would NOT be delivered"), "{logs}");
    assert!(metrics.starts_with("metrics would NOT be delivered"), "{metrics}");
    let printed = normalised(traces, directory.path(), collector.addr().port());
    // They depend on the machine.
    let printed: Vec<&str> = printed
        .lines()
        .map(|line| match line.starts_with("  ok   DNS ") {
            true => "  ok   DNS                 localhost is 127.0.0.1",
            false => line,
        })
        .collect();
    let readme = readme();
    let shown = readme.split("```text\n").find(|text| text.starts_with("traces would NOT"));
    let shown: Vec<&str> = shown.unwrap().lines().take_while(|line| *line != "```").collect();
    assert_eq!(printed, shown, "{}", printed.join("\n"));
}

#[test]
fn json_and_the_exit_status() {
    let (pki, collector) = mtls_collector();
    let directory = tempfile::tempdir().unwrap();
    let mut doctor = doctor(&pki, &collector, directory.path());
    let (status, stdout, stderr) = run(doctor.arg("--json"));
    assert_eq!((status, stderr.as_str()), (0, ""), "{stdout}");
    let report: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert!(report["at"].as_str().unwrap().ends_with('Z'), "{report}");
    assert_eq!(report["signals"].as_array().unwrap().len(), 3);
    assert_eq!(report["signals"][2]["delivered"], true);

    doctor.env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("https://localhost:{NOBODY}"));
    let (status, stdout, _) = run(&mut doctor);
    let report: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(
        (status, &report["signals"][2]["failure"]["kind"]),
        (1, &"connection_refused".into())
    );

    doctor.env("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere/ca.crt");
    let (status, stdout, stderr) = run(&mut doctor);
    assert_eq!((status, stderr.as_str()), (2, ""), "{stdout}");
    let report: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    let error = report["error"].as_str().unwrap();
    assert!(error.starts_with("OTEL_EXPORTER_OTLP_CERTIFICATE: /nowhere/ca.crt: "), "{error}");
}

#[test]
fn errors_are_on_standard_error() {
    let mut doctor = without_variables();
    doctor.env("OTEL_EXPORTER_OTLP_ENDPOINT", "https://localhost");
    doctor.env("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/nowhere/client.key");
    let (status, stdout, stderr) = run(&mut doctor);
    assert_eq!((status, stdout.as_str()), (2, ""), "{stderr}");
    assert!(stderr.starts_with("otlp-doctor: OTEL_EXPORTER_OTLP_CLIENT_KEY"), "{stderr}");

    for argument in ["--watch=0", "--watch=soon", "--color", "--color=blue", "--json=1", "traces"] {
        let (status, stdout, stderr) = run(without_variables().arg(argument));
        assert_eq!((status, stdout.as_str()), (2, ""), "{argument}");
        assert!(stderr.starts_with("otlp-doctor: ") && stderr.contains("Usage: "), "{stderr}");
    }
    let (status, help, _) = run(without_variables().arg("--help"));
    assert!(status == 0 && help.contains("Usage: otlp-doctor "), "{help}");
    let (status, version, _) = run(without_variables().arg("--version"));
    assert_eq!((status, version), (0, format!("otlp-doctor {}\n", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn colors_are_for_terminals() {
    let mut doctor = without_variables();
    doctor.env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://localhost:{NOBODY}"));
    let (_, plain, _) = run(&mut doctor);
    assert!(plain.contains("\n  FAIL export  ") && !plain.contains('\x1b'), "{plain}");
    let (_, colored, _) = run(doctor.arg("--color=always"));
    assert!(colored.contains("\n  \x1b[31mFAIL \x1b[0mexport  "), "{colored}");
    assert!(colored.contains("\n  \x1b[33mwarn \x1b[0mTLS  "), "{colored}");
    let uncolored = ["1", "31", "32", "33", "0"]
        .iter()
        .fold(colored, |text, code| text.replace(&format!("\x1b[{code}m"), ""));
    assert_eq!(uncolored, plain);
}

/// The doctor with `--watch`, and its output.
struct Watching {
    child: Child,
    lines: Receiver<String>,
    seen: String,
}

impl Watching {
    fn start(doctor: &mut Command) -> Self {
        let mut child = doctor.arg("--watch=1").stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (line, lines) = mpsc::channel();
        // Ends with the child.
        thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|read| line.send(read))
        });
        Self { child, lines, seen: String::new() }
    }

    /// The next line that contains a text.
    fn wait_for(&mut self, text: &str) -> String {
        loop {
            let Ok(line) = self.lines.recv_timeout(SOON) else {
                panic!("no {text} in {}", self.seen)
            };
            self.seen.push_str(&line);
            self.seen.push('\n');
            if line.contains(text) {
                return line;
            }
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client certificate with another key.
fn rotate(pki: &Pki, directory: &TempDir) -> String {
    let next = tempfile::tempdir().unwrap();
    let (certificate, key) = pki.client(Fixture::Good).write_to(next.path(), "client").unwrap();
    fs::rename(&certificate, directory.path().join("client.crt")).unwrap();
    fs::read_to_string(key).unwrap()
}

#[test]
fn it_watches_a_rotation() {
    let (pki, collector) = mtls_collector();
    let directory = tempfile::tempdir().unwrap();
    let mut doctor = doctor(&pki, &collector, directory.path());
    doctor.env("OTEL_METRICS_EXPORTER", "none").env("OTEL_LOGS_EXPORTER", "none");
    let mut doctor = Watching::start(&mut doctor);
    doctor.wait_for("traces would be delivered");
    let first = doctor.wait_for("client certificate");
    doctor.wait_for("an empty export was answered");

    // The certificate is replaced before its key.
    let key = rotate(&pki, &directory);
    doctor.wait_for("traces would be delivered");
    assert_eq!(doctor.wait_for("client certificate"), first);
    let words = doctor.wait_for("rotation");
    assert!(words.starts_with("  warn rotation            these stay in use, "), "{words}");
    let words = normalised(&words, directory.path(), collector.addr().port());
    assert!(readme().contains(&words), "the README does not show:\n{words}");
    doctor.wait_for("an empty export was answered");

    fs::write(directory.path().join("client.key"), key).unwrap();
    doctor.wait_for("traces would be delivered");
    assert_ne!(doctor.wait_for("client certificate"), first);
    doctor.wait_for("an empty export was answered");
    assert_eq!(doctor.seen.matches("rotation").count(), 1, "{}", doctor.seen);

    // Unchanged lines are not printed again.
    let checks = collector.handshakes();
    assert!(collector.wait_until(SOON, |collector| collector.handshakes() >= checks + 2));
    collector.set_reply(|_| otlp_mtls::testing::Reply::Http { status: 403, headers: Vec::new() });
    doctor.wait_for("traces would NOT be delivered");
    assert_eq!(doctor.seen.matches("traces would").count(), 4, "{}", doctor.seen);
}

#[test]
fn watching_prints_one_json_report_per_line() {
    let (pki, collector) = mtls_collector();
    let directory = tempfile::tempdir().unwrap();
    let mut doctor = doctor(&pki, &collector, directory.path());
    let mut doctor = Watching::start(doctor.arg("--json"));
    for _ in 0..2 {
        let report: serde_json::Value = serde_json::from_str(&doctor.wait_for("")).unwrap();
        assert_eq!(report["signals"][0]["delivered"], true);
    }
}
