//! What the resource says unless the builder has one.

use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::{SdkProvidedResourceDetector, TelemetryResourceDetector};
use percent_encoding::percent_decode_str;

use crate::config::{Origin, Warning};

const ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";

/// What the SDK detects, and what the other languages tell of a process and the standard library
/// knows, by the names of the [semantic conventions](https://opentelemetry.io/docs/specs/semconv/resource/).
/// The environment has the last word, and in it `OTEL_SERVICE_NAME`.
pub(super) fn detect() -> Resource {
    let variable = |name| std::env::var(name).unwrap_or_default().trim().to_owned();
    let name = Some(variable("OTEL_SERVICE_NAME")).filter(|name| !name.is_empty());
    let list = variable(ATTRIBUTES);
    let attributes = attributes(&list).unwrap_or_else(|| {
        let origin = Origin::Variable(ATTRIBUTES.to_owned());
        let expected = "key=value,key=value, percent-encoded";
        Warning::NotUnderstood { origin, value: list, expected }.tell();
        Vec::new()
    });
    Resource::builder_empty()
        .with_attributes(process())
        .with_detectors(&[
            Box::new(SdkProvidedResourceDetector),
            Box::new(TelemetryResourceDetector),
        ])
        .with_attributes(attributes)
        .with_attributes(name.map(|name| KeyValue::new("service.name", name)))
        .build()
}

/// All of a list, or [nothing of it][spec]. The SDK's own detector does not decode.
///
/// [spec]: https://opentelemetry.io/docs/specs/otel/resource/sdk/#specifying-resource-information-via-an-environment-variable
fn attributes(list: &str) -> Option<Vec<KeyValue>> {
    let decode =
        |text: &str| Some(percent_decode_str(text.trim()).decode_utf8().ok()?.into_owned());
    let pairs = list.split(',').filter(|pair| !pair.trim().is_empty());
    let attributes = pairs.map(|pair| {
        let (key, value) = pair.split_once('=')?;
        let key = decode(key).filter(|key| !key.is_empty())?;
        Some(KeyValue::new(key, decode(value)?))
    });
    attributes.collect()
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
