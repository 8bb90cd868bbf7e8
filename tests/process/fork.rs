//! In a forked child, where the parent's threads do not exist, nothing waits for them.

use std::process::exit;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use fork::{Fork, WEXITSTATUS, WIFEXITED, fork, waitpid};
use futures_executor::block_on;
use opentelemetry::global;
use opentelemetry::trace::{Span, Tracer, TracerProvider};
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanExporter};
use otlp_mtls::testing::{Collector, Pki, Reply};
use otlp_mtls::{Error, Exporters, Protocol, Providers};

use crate::exporter::span;
use crate::{SOON, in_a_process, is_child, mtls_collector, mtls_vars};

/// Runs a body in a process with the variables for mutual TLS, and returns the collector.
fn with_a_collector(name: &str, body: impl FnOnce()) -> Option<Collector> {
    if is_child() {
        in_a_process(name, &[], body);
        return None;
    }
    let (pki, directory) = (Pki::new(), tempfile::tempdir().unwrap());
    let collector = mtls_collector(&pki);
    let vars = mtls_vars(&pki, &collector, directory.path(), "grpc");
    let vars = vars.each_ref().map(|(name, value)| (*name, value.as_str()));
    in_a_process(name, &vars, body);
    Some(collector)
}

/// Forks, and waits until the child has done something without a panic.
fn in_a_forked_child(work: impl FnOnce()) {
    match fork().unwrap() {
        Fork::Child => {
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
            exit(done.map_or(1, |()| 0));
        }
        Fork::Parent(child) => {
            let status = waitpid(child).unwrap();
            assert!(WIFEXITED(status) && WEXITSTATUS(status) == 0, "{status}");
        }
    }
}

fn names(collector: &Collector) -> Vec<String> {
    let mut names: Vec<_> = collector.spans().into_iter().map(|span| span.name).collect();
    names.sort();
    names
}

#[test]
fn what_the_parent_set_up_fails_in_the_child_at_once() {
    let name = "fork::what_the_parent_set_up_fails_in_the_child_at_once";
    let collector = with_a_collector(name, || {
        let telemetry = otlp_mtls::init().unwrap();
        let exporters = Exporters::from_env().unwrap();
        let exporter = exporters.span_exporter().unwrap();
        block_on(exporter.export(vec![span("a span")])).unwrap();
        let mut telemetry = Some(telemetry);
        in_a_forked_child(|| {
            let error = block_on(exporter.export(vec![span("a span")])).unwrap_err().to_string();
            assert!(error.contains("did not survive the fork"), "{error}");
            let error = telemetry.as_ref().unwrap().flush(SOON).unwrap_err();
            assert!(matches!(error, Error::Forked), "{error}");
            let error = telemetry.take().unwrap().shutdown(SOON).unwrap_err();
            assert!(matches!(error, Error::Forked), "{error}");
        });
        global::tracer("test").start("of the parent").end();
        telemetry.unwrap().shutdown(SOON).unwrap();
    });
    let Some(collector) = collector else { return };
    assert_eq!(names(&collector), ["a span", "of the parent"]);
}

#[test]
fn providers_of_the_parent_fail_in_the_child_at_once() {
    let name = "fork::providers_of_the_parent_fail_in_the_child_at_once";
    let collector = with_a_collector(name, || {
        let exporters = Exporters::from_env().unwrap();
        let tracers = || {
            let exporter = exporters.span_exporter().unwrap();
            SdkTracerProvider::builder().with_batch_exporter(exporter).build()
        };
        let parents = tracers();
        let providers = || Providers::new().with_tracer_provider(&parents);
        in_a_forked_child(|| {
            let error = exporters.flush(&providers(), SOON).unwrap_err();
            assert!(matches!(error, Error::Forked), "{error}");
            let error = exporters.shutdown(providers(), SOON).unwrap_err();
            assert!(matches!(error, Error::Forked), "{error}");
            let own = tracers();
            own.tracer("test").start("of the child").end();
            let own = Providers::new().with_tracer_provider(&own);
            exporters.flush(&own, SOON).unwrap();
            exporters.shutdown(own, SOON).unwrap();
        });
        parents.tracer("test").start("of the parent").end();
        exporters.flush(&providers(), SOON).unwrap();
        exporters.shutdown(providers(), SOON).unwrap();
    });
    let Some(collector) = collector else { return };
    assert_eq!(names(&collector), ["of the child", "of the parent"]);
}

#[test]
fn the_child_may_set_up_its_own() {
    let collector = with_a_collector("fork::the_child_may_set_up_its_own", || {
        let exporters = Exporters::from_env().unwrap();
        let exporter = exporters.span_exporter().unwrap();
        block_on(exporter.export(vec![span("a span")])).unwrap();
        let telemetry = otlp_mtls::init().unwrap();
        in_a_forked_child(|| {
            // The handle can still be used: new exporters have a new thread.
            block_on(exporters.span_exporter().unwrap().export(vec![span("a span")])).unwrap();
            let own = otlp_mtls::init().unwrap();
            assert!(matches!(otlp_mtls::init(), Err(Error::AlreadyInstalled)));
            global::tracer("test").start("of the child").end();
            own.shutdown(SOON).unwrap();
        });
        assert!(matches!(otlp_mtls::init(), Err(Error::AlreadyInstalled)));
        global::tracer("test").start("of the parent").end();
        telemetry.shutdown(SOON).unwrap();
    });
    let Some(collector) = collector else { return };
    assert_eq!(names(&collector), ["a span", "a span", "of the child", "of the parent"]);
}

/// The child neither waits for it, nor has it lost it.
#[test]
fn an_export_in_flight_is_the_parents() {
    in_a_process("fork::an_export_in_flight_is_the_parents", &[], || {
        let collector = Collector::builder().start().unwrap();
        let is_first = AtomicBool::new(true);
        collector.set_reply(move |_| match is_first.swap(false, Ordering::SeqCst) {
            true => Reply::Hold,
            false => Reply::Accept,
        });
        let exporters = Exporters::builder()
            .with_endpoint(collector.endpoint())
            .with_protocol(Protocol::HttpProtobuf)
            .with_timeout(SOON)
            .build()
            .unwrap();
        let exporter = exporters.span_exporter().unwrap();
        thread::scope(|scope| {
            let in_flight = scope.spawn(|| block_on(exporter.export(vec![span("a span")])));
            assert!(collector.wait_until(SOON, |seen| seen.received().len() == 1));
            in_a_forked_child(|| {
                let exporter = exporters.span_exporter().unwrap();
                let own = SdkTracerProvider::builder().with_batch_exporter(exporter).build();
                own.tracer("test").start("of the child").end();
                exporters.shutdown(Providers::new().with_tracer_provider(&own), SOON).unwrap();
            });
            collector.release();
            in_flight.join().unwrap().unwrap();
        });
        assert_eq!(names(&collector), ["a span", "of the child"]);
    });
}
