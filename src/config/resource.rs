//! The resource from environment and builder: it describes the service.

use opentelemetry::{Key, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::{
    EnvResourceDetector, ResourceDetector, SdkProvidedResourceDetector,
};
use percent_encoding::percent_decode_str;

use super::env::Env;
use super::sdk_layer::SdkLayer;
use super::variables::{RESOURCE_ATTRIBUTES, SERVICE_NAME};
use super::warning::Warning;
use crate::origin::Sourced;

const NAME: Key = Key::from_static_str("service.name");

/// The beginning of the default service name that the [specification] requires.
///
/// [specification]: https://opentelemetry.io/docs/specs/semconv/resource/#service
const UNKNOWN: &str = "unknown_service";

/// The sources of the resource, in increasing precedence. Code takes precedence over the
/// environment, which the [specification] merges as secondary with any resource from code.
///
/// [specification]: https://opentelemetry.io/docs/specs/otel/resource/sdk/#specifying-resource-information-via-an-environment-variable
#[derive(Clone)]
pub(crate) struct ResourceSettings {
    pub(super) defaults: SdkLayer,
    pub(super) environment: Vec<KeyValue>,
    pub(super) code: SdkLayer,
}

impl ResourceSettings {
    /// The resource: these attributes over the detected ones, or over a resource from code.
    pub(crate) fn over(&self, detected: impl FnOnce() -> Resource) -> Resource {
        let Self { defaults, environment, code } = self;
        let below = match (&code.resource, &defaults.resource) {
            (Some(_), _) => None,
            (None, Some(default)) => Some(default.clone()),
            (None, None) => Some(detected()),
        };
        let schema = code.resource.as_ref().or(below.as_ref()).and_then(Resource::schema_url);
        let all = std::iter::once(KeyValue::new(NAME, unknown_service()))
            .chain(attributes_of(below.as_ref()))
            .chain(defaults.attributes.iter().cloned())
            .chain(environment.iter().cloned())
            .chain(attributes_of(code.resource.as_ref()))
            .chain(code.attributes.iter().cloned());
        resource(all, schema)
    }
}

/// A given resource without the attributes that the SDK's detectors have read from the process's environment.
///
/// [`Resource::builder`] has two such detectors. They do not decode values, they skip what they cannot read, and they
/// ignore [`with_env`](crate::ExportersBuilder::with_env).
pub(crate) fn without_environment(given: &Resource) -> Resource {
    let read = [SdkProvidedResourceDetector.detect(), EnvResourceDetector::new().detect()];
    let is_own = |attribute: &KeyValue| {
        read.iter().all(|read| read.get(&attribute.key).as_ref() != Some(&attribute.value))
    };
    resource(attributes_of(Some(given)).filter(is_own), given.schema_url())
}

fn resource(attributes: impl Iterator<Item = KeyValue>, schema_url: Option<&str>) -> Resource {
    let builder = Resource::builder_empty();
    match schema_url {
        Some(url) => builder.with_schema_url(attributes, url.to_owned()).build(),
        None => builder.with_attributes(attributes).build(),
    }
}

fn attributes_of(resource: Option<&Resource>) -> impl Iterator<Item = KeyValue> {
    let attributes = resource.into_iter().flat_map(Resource::iter);
    attributes.map(|(key, value)| KeyValue::new(key.clone(), value.clone()))
}

/// The attributes from the environment, in increasing precedence.
pub(super) fn environment(env: &Env, warnings: &mut Vec<Warning>) -> Vec<KeyValue> {
    let mut found = Vec::new();
    if let Some(list) = env.lenient(RESOURCE_ATTRIBUTES, warnings) {
        match attributes(&list.value) {
            Some(attributes) => found = attributes,
            None => {
                let expected = "key=value,key=value, percent-encoded";
                let Sourced { value, origin } = list;
                warnings.push(Warning::replaced(origin, value, expected, "none of it"));
            }
        }
    }
    let name = env.lenient(SERVICE_NAME, warnings);
    found.extend(name.map(|name| KeyValue::new(NAME, name.value)));
    found
}

/// The service name that the [specification] requires if none is set.
///
/// [specification]: https://opentelemetry.io/docs/specs/semconv/resource/#service
fn unknown_service() -> String {
    let executable = std::env::current_exe().ok();
    let name = executable.as_ref().and_then(|path| path.file_name());
    name.map_or_else(|| UNKNOWN.to_owned(), |name| format!("{UNKNOWN}:{}", name.display()))
}

/// The attributes for this crate as the distribution.
pub(crate) fn distribution() -> [KeyValue; 2] {
    [
        KeyValue::new("telemetry.distro.name", env!("CARGO_PKG_NAME")),
        KeyValue::new("telemetry.distro.version", env!("CARGO_PKG_VERSION")),
    ]
}

/// Whether a resource has no service name except the default one.
pub(crate) fn is_unnamed(resource: &Resource) -> bool {
    resource.get(&NAME).is_none_or(|name| name.as_str().starts_with(UNKNOWN))
}

/// All attributes of a list, or [none][spec] if one is invalid. The SDK's own detector does not
/// decode them.
///
/// [spec]: https://opentelemetry.io/docs/specs/otel/resource/sdk/#specifying-resource-information-via-an-environment-variable
pub(super) fn attributes(list: &str) -> Option<Vec<KeyValue>> {
    let pairs = list.split(',').filter(|pair| !pair.trim().is_empty());
    let attributes = pairs.map(|pair| {
        let (key, value) = pair.split_once('=')?;
        let key = decode(key).filter(|key| !key.is_empty())?;
        Some(KeyValue::new(key, decode(value)?))
    });
    attributes.collect()
}

/// Percent-decoded text; `None` if a `%` is not followed by two hexadecimal digits, or if the
/// result is not UTF-8.
fn decode(text: &str) -> Option<String> {
    let is_escape = |rest: &str| {
        rest.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    let text = text.trim();
    let all_escapes = text.split('%').skip(1).all(is_escape);
    let decoded = all_escapes.then(|| percent_decode_str(text).decode_utf8())?;
    Some(decoded.ok()?.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(resource: &Resource, key: &'static str) -> Option<String> {
        resource.get(&Key::from_static_str(key)).map(|value| value.to_string())
    }

    fn read(vars: &'static [(&str, &str)]) -> (ResourceSettings, usize) {
        let env = Env::new(|name| {
            vars.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into())
        });
        let mut warnings = Vec::new();
        let environment = environment(&env, &mut warnings);
        let (defaults, code) = Default::default();
        (ResourceSettings { defaults, environment, code }, warnings.len())
    }

    fn detected() -> Resource {
        let attributes = [KeyValue::new("host.name", "here")];
        Resource::builder_empty().with_schema_url(attributes, "detected").build()
    }

    #[test]
    fn a_list_is_used_completely_or_not_at_all() {
        for (list, expected) in [
            ("a=1, b = light%20blue%2C ,", Some(vec![("a", "1"), ("b", "light blue,")])),
            ("a=1=2", Some(vec![("a", "1=2")])),
            ("a=", Some(vec![("a", "")])),
            ("novalue", None),
            ("a=1,=2", None),
            ("a=1,b=%C3%28", None),
            ("a=1,b=%zz", None),
            ("a=100%", None),
            ("a=%4", None),
        ] {
            let found = attributes(list);
            let expected = expected.map(|pairs| {
                pairs.into_iter().map(|(key, value)| KeyValue::new(key, value)).collect::<Vec<_>>()
            });
            assert_eq!(found, expected, "{list}");
        }
        assert_eq!(read(&[("OTEL_RESOURCE_ATTRIBUTES", "a=1,b")]).1, 1);
    }

    #[test]
    fn code_then_environment_then_detected_attributes() {
        let vars = &[
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=weaker,team=env,host.name=env"),
            ("OTEL_SERVICE_NAME", "env"),
        ];
        let (mut settings, _) = read(vars);
        let resource = settings.over(detected);
        assert_eq!(text(&resource, "service.name").as_deref(), Some("env"));
        assert_eq!(text(&resource, "host.name").as_deref(), Some("env"));
        assert_eq!(resource.schema_url(), Some("detected"));

        settings.code.attributes = vec![KeyValue::new("team", "code")];
        let resource = settings.over(detected);
        assert_eq!(text(&resource, "team").as_deref(), Some("code"));
        assert_eq!(text(&resource, "service.name").as_deref(), Some("env"));

        let given = [("team", "given"), ("mine", "1"), ("service.name", "given")];
        let given = given.map(|(key, value)| KeyValue::new(key, value));
        settings.code.resource = Some(Resource::builder_empty().with_attributes(given).build());
        let resource = settings.over(detected);
        assert_eq!(text(&resource, "team").as_deref(), Some("code"));
        assert_eq!(text(&resource, "mine").as_deref(), Some("1"));
        assert_eq!(text(&resource, "service.name").as_deref(), Some("given"));
        // A given resource replaces the detected one, but not the environment.
        assert_eq!(text(&resource, "host.name").as_deref(), Some("env"));
        assert_eq!(resource.schema_url(), None);
    }

    #[test]
    fn a_service_without_a_name_is_unknown() {
        let (settings, _) = read(&[]);
        let resource = settings.over(detected);
        let name = text(&resource, "service.name").unwrap();
        assert!(name.starts_with("unknown_service:") && is_unnamed(&resource), "{name}");
        assert!(is_unnamed(&Resource::builder_empty().build()));
    }

    /// The process's environment has no name, so the SDK sets its default one.
    #[test]
    fn attributes_of_the_sdk_s_detectors_do_not_count_as_code() {
        let (mut settings, _) = read(&[("OTEL_SERVICE_NAME", "env")]);
        let given = Resource::builder().with_attribute(KeyValue::new("mine", "1")).build();
        assert!(is_unnamed(&given));
        settings.code.resource = Some(without_environment(&given));
        let resource = settings.over(|| unreachable!("a resource was given"));
        assert_eq!(text(&resource, "service.name").as_deref(), Some("env"));
        assert_eq!(text(&resource, "mine").as_deref(), Some("1"));
        assert_eq!(text(&resource, "telemetry.sdk.language").as_deref(), Some("rust"));
    }
}
