//! A configuration file instead of variables, with a collector that requires mutual TLS.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use otlp_mtls::testing::{Collector, Fixture, Identity, Pki};
use otlp_mtls::{Error, Exporters, ExportersBuilder, Signal, Telemetry};
use tempfile::TempDir;

use crate::switches::work_and_log;
use crate::{SOON, in_a_process, is_child, mtls_collector};

/// The example's file.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/config-file/otel.yaml");

/// Variables that contradict the file.
const OTHERS: [(&str, &str); 6] = [
    ("OTEL_SDK_DISABLED", "true"),
    ("OTEL_TRACES_EXPORTER", "none"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "nonsense"),
    ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
    ("OTEL_SERVICE_NAME", "ignored"),
    ("OTEL_RESOURCE_ATTRIBUTES", "team=ignored"),
];

fn write_identity(directory: &Path, identity: &Identity) {
    fs::write(directory.join("client.crt"), identity.certificate_pem()).unwrap();
    fs::write(directory.join("client.key"), identity.key_pem()).unwrap();
}

/// A directory with the files that the example names.
fn certificates(pki: &Pki) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("ca.crt"), pki.ca_pem()).unwrap();
    write_identity(directory.path(), &pki.client(Fixture::Good));
    directory
}

/// A builder for a file, and the variables that it refers to.
fn builder(file: &Path, certificates: &Path, collector: &str) -> ExportersBuilder {
    let vars = [
        ("OTEL_CONFIG_FILE", file.to_str().unwrap()),
        ("CERTS", certificates.to_str().unwrap()),
        ("COLLECTOR", collector),
    ];
    let vars = vars.into_iter().chain(OTHERS);
    let vars: Vec<_> = vars.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Exporters::builder().with_env(move |name| {
        vars.iter().find(|(known, _)| known == name).map(|(_, value)| value.into())
    })
}

fn flush(telemetry: &Telemetry) {
    telemetry.tracer_provider().unwrap().force_flush().unwrap();
    telemetry.meter_provider().unwrap().force_flush().unwrap();
    telemetry.logger_provider().unwrap().force_flush().unwrap();
}

#[test]
fn init_takes_every_setting_from_the_file() {
    let name = "config_file::init_takes_every_setting_from_the_file";
    let service = || {
        let telemetry = otlp_mtls::init().unwrap();
        work_and_log(&telemetry);
        telemetry.shutdown(SOON).unwrap();
    };
    if is_child() {
        return in_a_process(name, &[], service);
    }
    let pki = Pki::new();
    let (collector, directory) = (mtls_collector(&pki), certificates(&pki));
    let endpoint = collector.endpoint();
    let vars = [
        ("OTEL_CONFIG_FILE", FILE),
        ("CERTS", directory.path().to_str().unwrap()),
        ("COLLECTOR", &endpoint),
    ];
    in_a_process(name, &[&vars[..], &OTHERS].concat(), service);

    assert_eq!((collector.spans().len(), collector.log_records().len()), (1, 1));
    assert!(collector.metric_points() >= 1);
    assert_eq!((collector.connections(), collector.handshakes()), (1, 1));
    assert_eq!(collector.client_certificates()[0].common_name(), Some("test-client"));
    assert_eq!(collector.resource_attribute("service.name").as_deref(), Some("checkout"));
    assert_eq!(
        collector.resource_attribute("telemetry.sdk.name").as_deref(),
        Some("opentelemetry")
    );
    // Neither attributes from the environment, nor those detected without a file.
    assert_eq!(collector.resource_attribute("team"), None);
    assert_eq!(collector.resource_attribute("process.pid"), None);
}

#[test]
fn files_that_it_names_rotate() {
    in_a_process("config_file::files_that_it_names_rotate", &[], || {
        let pki = Pki::new();
        let (collector, directory) = (mtls_collector(&pki), certificates(&pki));
        let builder = builder(Path::new(FILE), directory.path(), &collector.endpoint());
        // Settings in code are used with a file, too.
        let builder = builder.with_reload_interval(Duration::ZERO).with_service_version("7");
        let telemetry = builder.build().unwrap().install().unwrap();
        work_and_log(&telemetry);
        flush(&telemetry);

        write_identity(directory.path(), &pki.client_named("renewed"));
        telemetry.exporters().unwrap().reload().unwrap();
        work_and_log(&telemetry);
        flush(&telemetry);
        telemetry.shutdown(SOON).unwrap();

        let certificates = collector.client_certificates();
        let names: Vec<_> = certificates.iter().map(|one| one.common_name()).collect();
        assert_eq!(names, [Some("test-client"), Some("renewed")]);
        assert_eq!(collector.spans().len(), 2);
        assert_eq!(collector.resource_attribute("service.version").as_deref(), Some("7"));
    });
}

/// Spans one by one, and the console's output.
#[test]
fn simple_processors_and_the_console() {
    let name = "config_file::simple_processors_and_the_console";
    let printed = crate::print_in_a_process(name, &[], || {
        let collector = Collector::builder().start().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("otel.yml");
        let text = "
file_format: '1.0'
resource: {attributes: [{name: service.name, value: test}]}
tracer_provider:
  processors:
    - simple: {exporter: {otlp_http: {endpoint: '${COLLECTOR}/v1/traces'}}}
    - batch: {schedule_delay: 60000, exporter: {console: }}
logger_provider: {processors: [{simple: {exporter: {console: {}}}}]}
";
        fs::write(&file, text).unwrap();
        let builder = builder(&file, directory.path(), &collector.endpoint());
        let exporters = builder.build().unwrap();
        let error = exporters.log_exporter().unwrap_err();
        let expected =
            format!("logger_provider ({}:8): log records are not exported by OTLP", file.display());
        assert!(matches!(error, Error::NotExported { signal: Signal::Logs, .. }));
        assert_eq!(error.to_string().replace("logs are", "log records are"), expected);
        let telemetry = exporters.install().unwrap();
        assert!(telemetry.meter_provider().is_none());
        work_and_log(&telemetry);
        // Without a flush.
        assert_eq!(collector.spans().len(), 1);
        telemetry.shutdown(SOON).unwrap();
    });
    if let Some(printed) = printed {
        for expected in ["Spans\n", "Body: String(Static(\"said\"))"] {
            assert!(printed.contains(expected), "{expected}: {printed}");
        }
    }
}

#[test]
fn an_error_in_a_certificate_names_the_line() {
    let pki = Pki::new();
    let directory = certificates(&pki);
    let build = || builder(Path::new(FILE), directory.path(), "https://localhost:1").build();
    build().unwrap();
    let line_of = |key: &str| {
        let text = fs::read_to_string(FILE).unwrap();
        text.lines().position(|line| line.trim().starts_with(key)).unwrap() + 1
    };

    fs::write(directory.path().join("ca.crt"), "nonsense").unwrap();
    let error = build().unwrap_err().to_string();
    let file: PathBuf = directory.path().join("ca.crt");
    let expected = format!("ca_file ({FILE}:{}): {}: ", line_of("ca_file"), file.display());
    assert!(error.starts_with(&expected), "{error}");

    fs::write(directory.path().join("ca.crt"), pki.ca_pem()).unwrap();
    fs::write(directory.path().join("client.key"), pki.client_named("another").key_pem()).unwrap();
    let error = build().unwrap_err().to_string();
    assert!(error.contains(&format!("cert_file ({FILE}:{})", line_of("cert_file"))), "{error}");
    assert!(error.contains(&format!("key_file ({FILE}:{})", line_of("key_file"))), "{error}");
}
