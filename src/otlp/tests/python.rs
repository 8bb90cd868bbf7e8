//! Python's protobuf decodes both formats to the same message.

use std::env;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::data::Source;
use super::{collect, to_json, whole};
use crate::signal::Signal;

/// Set by `.ci/run`. A missing tool then fails the test instead of skipping it.
const REQUIRE_SERVERS: &str = "OTLP_MTLS_REQUIRE_SERVERS";

fn reader() -> Command {
    let mut command = Command::new("python3");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers/read_otlp.py"));
    command
}

/// Whether Python has the required packages.
fn is_here() -> bool {
    let output = reader().arg("--help").output();
    let is_here = output.as_ref().is_ok_and(|output| output.status.success());
    assert!(
        is_here || env::var_os(REQUIRE_SERVERS).is_none(),
        "{REQUIRE_SERVERS} is set: {output:?}"
    );
    if !is_here {
        // Written to stderr directly: libtest captures `eprintln!` and drops it if the test passes.
        let _ = writeln!(std::io::stderr(), "skipped: no opentelemetry-proto for python3");
    }
    is_here
}

/// Sends Python a request and its JSON to compare.
fn show(python: &mut Child, signal: Signal, request: &[u8]) {
    let json = to_json(signal, request);
    let hex: String = request.iter().map(|byte| format!("{byte:02x}")).collect();
    let stdin = python.stdin.as_mut().unwrap();
    writeln!(stdin, "{signal} {hex} {json}").unwrap();
}

#[test]
fn python_reads_the_same_from_both_formats() {
    if !is_here() {
        return;
    }
    let mut python = reader().stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Pseudo-random decisions, identical in each run.
    let mut state = 1_u64;
    for _ in 0..200 {
        let bytes = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        });
        let bytes: Vec<_> = bytes.take(1024).collect();
        let mut source = Source::new(&bytes);
        let resource = source.resource();
        let spans = source.spans();
        show(&mut python, Signal::Traces, &whole::traces(&resource, &spans));
        let records = source.records();
        show(&mut python, Signal::Logs, &whole::logs(&resource, &records));
        let request = collect(&mut source, &resource, |metrics| Some(whole::metrics(metrics)));
        if let Some(request) = request {
            show(&mut python, Signal::Metrics, &request);
        }
    }
    drop(python.stdin.take());
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
