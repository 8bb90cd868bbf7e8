//! Detects the process's resource attributes.

use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::TelemetryResourceDetector;

use crate::config::distribution;

/// The version of the semantic conventions that the attributes below follow. A detector [must state
/// it](https://opentelemetry.io/docs/specs/otel/resource/sdk/#resource-detectors).
const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.44.0";

/// The SDK's attributes, and those that other languages' SDKs detect and the standard library knows, with the
/// names of the [semantic conventions](https://opentelemetry.io/docs/specs/semconv/resource/).
pub(super) fn detect() -> Resource {
    Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_schema_url(process(), SCHEMA_URL)
        .build()
}

fn process() -> impl Iterator<Item = KeyValue> {
    let executable = std::env::current_exe().ok().and_then(|path| {
        let name = path.file_name()?.to_string_lossy().into_owned();
        Some(KeyValue::new("process.executable.name", name))
    });
    let host = host_name("/proc/sys/kernel/hostname").map(|name| KeyValue::new("host.name", name));
    [
        KeyValue::new("process.pid", i64::from(std::process::id())),
        KeyValue::new("os.type", os_type(std::env::consts::OS)),
    ]
    .into_iter()
    .chain(distribution())
    .chain(executable)
    .chain(host)
}

/// Maps Rust's name of an operating system to that of the conventions.
fn os_type(os: &'static str) -> &'static str {
    match os {
        "macos" | "ios" => "darwin",
        "android" => "linux",
        "dragonfly" => "dragonflybsd",
        os => os,
    }
}

/// Read from a file of Linux; the standard library has no function for it.
fn host_name(path: &str) -> Option<String> {
    let name = std::fs::read_to_string(path).ok()?;
    let name = name.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_that_cannot_be_detected_are_omitted() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        assert_eq!(host_name(path), None);
        std::fs::write(path, "here\n").unwrap();
        assert_eq!(host_name(path).as_deref(), Some("here"));
        assert_eq!(host_name("/nowhere"), None);
    }
}
