//! What is detected of the process, for the resource.

use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::{SdkProvidedResourceDetector, TelemetryResourceDetector};

use crate::config::distribution;

/// The version of the semantic conventions that the attributes below are of, which a detector [must
/// say](https://opentelemetry.io/docs/specs/otel/resource/sdk/#resource-detectors).
const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.44.0";

/// What the SDK detects, and what the other languages tell of a process and the standard library
/// knows, by the names of the [semantic conventions](https://opentelemetry.io/docs/specs/semconv/resource/).
pub(super) fn detect() -> Resource {
    Resource::builder_empty()
        .with_detectors(&[
            Box::new(SdkProvidedResourceDetector),
            Box::new(TelemetryResourceDetector),
        ])
        .with_schema_url(process(), SCHEMA_URL)
        .build()
}

fn process() -> impl Iterator<Item = KeyValue> {
    let executable = std::env::current_exe().ok().and_then(|path| {
        let name = path.file_name()?.to_string_lossy().into_owned();
        Some(KeyValue::new("process.executable.name", name))
    });
    let host = host_name().map(|name| KeyValue::new("host.name", name));
    [
        KeyValue::new("process.pid", i64::from(std::process::id())),
        KeyValue::new("os.type", os_type(std::env::consts::OS)),
    ]
    .into_iter()
    .chain(distribution())
    .chain(executable)
    .chain(host)
}

/// Rust's name for a system, or the conventions' where they have another.
fn os_type(os: &'static str) -> &'static str {
    match os {
        "macos" | "ios" => "darwin",
        "android" => "linux",
        "dragonfly" => "dragonflybsd",
        os => os,
    }
}

/// The standard library does not know it; Linux tells it in a file.
fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let name = name.trim();
    (!name.is_empty()).then(|| name.to_owned())
}
