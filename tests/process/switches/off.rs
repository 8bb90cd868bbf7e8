//! Signals that are off, and those that are only printed, cost nothing. Threads are counted in Linux's `/proc`.

use opentelemetry::global;
use opentelemetry::trace::{Span, Tracer};
use otlp_mtls::testing::Collector;
use otlp_mtls::{Exporters, Pem, Signal};

use super::{DISABLED, all, delivered, on, work_and_log};
use crate::leaks::{comes_true, io_threads};
use crate::{SOON, in_a_process, print_in_a_process};

/// Variables with invalid values, which are errors if they are read.
const BROKEN: [(&str, &str); 4] = [
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://localhost:4317"),
    ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere/ca.crt"),
    ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/nowhere/client.key"),
    ("OTEL_EXPORTER_OTLP_HEADERS", "nonsense"),
];

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

/// Runs a service with everything off, and invalid variables for it.
fn costs_nothing(name: &str, vars: &[(&str, &str)], has_exporters: bool) {
    in_a_process(name, &[vars, &BROKEN].concat(), || {
        let before = threads();
        let telemetry = otlp_mtls::init().unwrap();
        assert_eq!(on(&telemetry), [false; 3]);
        assert_eq!(telemetry.exporters().is_some(), has_exporters);
        work_and_log(&telemetry);
        assert!(!global::tracer("test").start("a span").is_recording());
        assert_eq!(threads(), before);
        telemetry.shutdown(SOON).unwrap();
    });
}

#[test]
fn a_disabled_sdk_costs_nothing() {
    costs_nothing("switches::off::a_disabled_sdk_costs_nothing", &[DISABLED], false);
}

#[test]
fn signals_that_are_off_cost_nothing() {
    costs_nothing("switches::off::signals_that_are_off_cost_nothing", &all("none"), true);
}

/// The same in code: no provider, exporter, connection or thread, and no output.
#[test]
fn code_switches_a_signal_off() {
    in_a_process("switches::off::code_switches_a_signal_off", &[], || {
        let collector = Collector::builder().start().unwrap();
        let before = threads();
        // Variables of logs are not read.
        let exporters = Exporters::builder().with_endpoint(collector.endpoint());
        let exporters = exporters.with_signal(Signal::Logs, |logs| {
            let broken = Pem::file("/nowhere/ca.crt");
            logs.with_enabled(false).with_endpoint("https://localhost").with_ca_certificate(broken)
        });
        let exporters = exporters.build().unwrap();
        let report = exporters.check_blocking();
        assert!(report.is_delivered(), "{report}");
        assert!(!report.to_string().contains("logs"), "{report}");
        let status = exporters.status();
        assert!(status.exports.iter().all(|exports| exports.signal != Signal::Logs));
        assert!(status.credentials.is_empty());
        let error = exporters.log_exporter().unwrap_err();
        assert_eq!(error.to_string(), "with_enabled(): logs are not exported by OTLP");
        let telemetry = exporters.install().unwrap();
        assert_eq!(on(&telemetry), [true, true, false]);
        assert_eq!(delivered(&telemetry, &collector), [1, 1, 0]);
        // The I/O thread, and the SDK's for spans and metrics.
        assert!(comes_true(|| threads() == before + 3), "{before} before, {} now", threads());
        telemetry.shutdown(SOON).unwrap();
    });
}

#[test]
fn code_switches_all_off() {
    in_a_process("switches::off::code_switches_all_off", &[], || {
        let before = threads();
        let exporters = Exporters::builder().with_enabled(false);
        let exporters = exporters.with_ca_certificate(Pem::file("/nowhere/ca.crt"));
        let telemetry = exporters.with_endpoint("https://localhost").build().unwrap().install();
        let telemetry = telemetry.unwrap();
        assert_eq!((on(&telemetry), threads()), ([false; 3], before));
        assert!(telemetry.exporters().is_none());
        telemetry.shutdown(SOON).unwrap();
    });
}

#[test]
fn signals_that_are_printed_need_no_collector() {
    let name = "switches::off::signals_that_are_printed_need_no_collector";
    let vars = [&all("console")[..], &BROKEN].concat();
    let printed = print_in_a_process(name, &vars, || {
        let telemetry = otlp_mtls::init().unwrap();
        assert_eq!(on(&telemetry), [true; 3]);
        work_and_log(&telemetry);
        assert_eq!(io_threads(), 0);
        println!("before the shutdown");
        telemetry.shutdown(SOON).unwrap();
    });
    if let Some(printed) = printed {
        let (before, after) = printed.split_once("before the shutdown").unwrap();
        // Printed at once, not in batches.
        for expected in ["Spans\n", "Body: String(Static(\"said\"))"] {
            assert!(before.contains(expected), "{expected}: {printed}");
        }
        assert!(after.contains("\t\tType         : Sum"), "{printed}");
    }
}
