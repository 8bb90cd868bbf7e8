//! Warnings about a configuration are logged once, through `tracing`.

use std::fmt;
use std::sync::{Arc, Mutex};

use otlp_mtls::testing::{Fixture, Pki};
use otlp_mtls::{Error, Exporters, Pem, Signal};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::support::{builder, with_vars};

#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

impl<S: tracing::Subscriber> Layer<S> for Warnings {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        struct Message(String);
        impl Visit for Message {
            fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
                if field.name() == "message" {
                    self.0 = format!("{value:?}");
                }
            }
        }
        if event.metadata().target().starts_with("otlp_mtls") {
            let mut message = Message(String::new());
            event.record(&mut message);
            self.0.lock().unwrap().push(message.0);
        }
    }
}

fn warnings(build: impl FnOnce() -> Result<Exporters, Error>) -> Vec<String> {
    warnings_of(|| drop(build().unwrap()))
}

/// Everything that is logged on the caller's thread.
pub(crate) fn warnings_of(work: impl FnOnce()) -> Vec<String> {
    let warnings = Warnings::default();
    let subscriber = tracing_subscriber::registry().with(warnings.clone());
    tracing::subscriber::with_default(subscriber, work);
    std::mem::take(&mut warnings.0.lock().unwrap())
}

#[test]
fn a_good_configuration_is_silent() {
    assert_eq!(warnings(|| builder().build()), [""; 0]);
}

#[test]
fn tls_variables_beside_a_plaintext_endpoint() {
    let warnings = warnings(|| {
        with_vars(vec![
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere/ca.crt"),
            ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/nowhere/client.key"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
        ])
        .build()
    });
    let [timeout, plaintext] = warnings.as_slice() else { panic!("{warnings:#?}") };
    assert_eq!(
        plaintext,
        "http://collector:4318 (OTEL_EXPORTER_OTLP_ENDPOINT) is plaintext, which does not use \
         OTEL_EXPORTER_OTLP_CERTIFICATE, OTEL_EXPORTER_OTLP_CLIENT_KEY: for TLS, begin the \
         endpoint with https://"
    );
    assert_eq!(
        timeout,
        "OTEL_EXPORTER_OTLP_TIMEOUT: `soon` is ignored, expected a number of milliseconds"
    );
}

#[test]
fn tls_of_code_beside_a_plaintext_endpoint() {
    let pem = || Pem::bytes("");
    let warnings = warnings(|| {
        let builder = builder().with_endpoint("http://collector:4318");
        builder.with_ca_certificate(pem()).with_client_identity(pem(), pem()).build()
    });
    assert_eq!(
        warnings,
        ["http://collector:4318 (with_endpoint()) is plaintext, which does not use \
          with_ca_certificate(), with_client_identity(): for TLS, begin the endpoint with https://"]
    );
}

#[test]
fn a_client_certificate_outside_its_validity() {
    for (fixture, problem, remedy) in [
        (Fixture::NotYetValid, "is not valid before 20", "replace the certificate in"),
        (Fixture::Expired, "has expired, at ", "renew it in"),
    ] {
        let pki = Pki::new();
        let client = pki.client(fixture);
        let warnings = warnings(|| {
            builder()
                .with_endpoint("https://localhost")
                .with_ca_certificate(Pem::bytes(pki.ca_pem()))
                .with_client_identity(
                    Pem::bytes(client.certificate_pem()),
                    Pem::bytes(client.key_pem()),
                )
                .build()
        });
        let [warning] = warnings.as_slice() else { panic!("{warnings:#?}") };
        let begins = format!("the client certificate (CN=test-client) {problem}");
        assert!(warning.starts_with(&begins), "{warning}");
        assert!(warning.ends_with(&format!("{remedy} with_client_identity()")), "{warning}");
    }
}

#[test]
fn a_reload_interval_where_nothing_is_reloaded() {
    const INTERVAL: (&str, &str) = ("OTEL_RUST_EXPORTER_OTLP_RELOAD_INTERVAL", "1000");
    const PLAINTEXT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318");
    let said = warnings(|| with_vars(vec![INTERVAL, PLAINTEXT]).build());
    assert_eq!(
        said,
        ["OTEL_RUST_EXPORTER_OTLP_RELOAD_INTERVAL: no effect: no endpoint uses TLS, and there is \
          no bearer token file"]
    );
    let token = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(token.path(), "secret").unwrap();
    let with_token = || with_vars(vec![INTERVAL, PLAINTEXT]).with_bearer_token_file(token.path());
    assert_eq!(warnings(|| with_token().build()), [""; 0]);
    let pki = Pki::new();
    let with_tls = || {
        let builder = with_vars(vec![INTERVAL, PLAINTEXT]);
        builder.with_signal(Signal::Logs, |logs| {
            logs.with_endpoint("https://localhost:4318/v1/logs")
                .with_ca_certificate(Pem::bytes(pki.ca_pem()))
        })
    };
    assert_eq!(warnings(|| with_tls().build()), [""; 0]);
    // The settings of signals that are off are not read.
    let off = ("OTEL_SDK_DISABLED", "true");
    assert_eq!(warnings(|| with_vars(vec![INTERVAL, PLAINTEXT, off]).build()), [""; 0]);
}

#[test]
fn settings_of_metrics_that_are_off_are_not_read() {
    for value in ["none", "console"] {
        let said = warnings(|| {
            with_vars(vec![
                ("OTEL_METRICS_EXPORTER", value),
                ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "soon"),
                ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "sometimes"),
            ])
            .build()
        });
        assert_eq!(said, [""; 0], "{value}");
    }
}
