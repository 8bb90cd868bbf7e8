//! What the environment and the builder say of the resource: of the service that telemetry is of.

use opentelemetry::{Key, KeyValue};
use opentelemetry_sdk::Resource;
use percent_encoding::percent_decode_str;

use super::env::Env;
use super::origin::Sourced;
use super::settings::Warning;
use super::variables::{RESOURCE_ATTRIBUTES, SERVICE_NAME};

const NAME: Key = Key::from_static_str("service.name");

/// What the [specification] requires as a name where nobody gives one begins with this.
///
/// [specification]: https://opentelemetry.io/docs/specs/semconv/resource/#service
const UNKNOWN: &str = "unknown_service";

/// Attributes, the stronger ones later. What the builder has beats the environment, which the
/// [specification] merges as secondary with any resource that code gives.
///
/// [specification]: https://opentelemetry.io/docs/specs/otel/resource/sdk/#specifying-resource-information-via-an-environment-variable
#[derive(Clone, Debug, Default)]
pub(crate) struct ResourceSettings {
    pub(crate) environment: Vec<KeyValue>,
    /// In place of what is detected.
    pub(crate) resource: Option<Resource>,
    pub(crate) attributes: Vec<KeyValue>,
}

impl ResourceSettings {
    pub(crate) fn read(&mut self, env: &Env, warnings: &mut Vec<Warning>) {
        if let Some(found) = env.lenient(RESOURCE_ATTRIBUTES, warnings) {
            match attributes(&found.value) {
                Some(attributes) => self.environment = attributes,
                None => {
                    let expected = "key=value,key=value, percent-encoded";
                    let Sourced { value, origin } = found;
                    warnings.push(Warning::replaced(origin, value, expected, "none of it"));
                }
            }
        }
        let name = env.lenient(SERVICE_NAME, warnings);
        self.environment.extend(name.map(|name| KeyValue::new(NAME, name.value)));
    }

    /// The resource: these, over what is detected.
    pub(crate) fn over(&self, detected: impl FnOnce() -> Resource) -> Resource {
        let base = match &self.resource {
            Some(_) => Resource::builder_empty().build(),
            None => detected(),
        };
        let has_name = self.environment.iter().any(|attribute| attribute.key == NAME);
        // `Resource::builder()` gives a name of its own where it finds none.
        let is_weaker = |key: &Key, value: &opentelemetry::Value| {
            has_name && *key == NAME && value.as_str().starts_with(UNKNOWN)
        };
        let given = self.resource.iter().flat_map(|resource| resource.iter());
        let given = given.filter(|(key, value)| !is_weaker(key, value));
        let given = given.map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
        let schema = self.resource.as_ref().unwrap_or(&base).schema_url();
        let base = base.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
        let attributes = base
            .chain(self.environment.iter().cloned())
            .chain(given)
            .chain(self.attributes.iter().cloned());
        let builder = Resource::builder_empty();
        match schema {
            Some(schema) => builder.with_schema_url(attributes, schema.to_owned()).build(),
            None => builder.with_attributes(attributes).build(),
        }
    }
}

/// Whether a resource has no name of a service but the one that stands for none.
pub(crate) fn is_unnamed(resource: &Resource) -> bool {
    resource.get(&NAME).is_none_or(|name| name.as_str().starts_with(UNKNOWN))
}

/// All of a list, or [nothing of it][spec]. The SDK's own detector does not decode.
///
/// [spec]: https://opentelemetry.io/docs/specs/otel/resource/sdk/#specifying-resource-information-via-an-environment-variable
fn attributes(list: &str) -> Option<Vec<KeyValue>> {
    let pairs = list.split(',').filter(|pair| !pair.trim().is_empty());
    let attributes = pairs.map(|pair| {
        let (key, value) = pair.split_once('=')?;
        let key = decode(key).filter(|key| !key.is_empty())?;
        Some(KeyValue::new(key, decode(value)?))
    });
    attributes.collect()
}

/// Percent-decoded text; `None` where a `%` is not followed by two hexadecimal digits, or where what
/// is decoded is no UTF-8.
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
        let (mut settings, mut warnings) = (ResourceSettings::default(), Vec::new());
        settings.read(&env, &mut warnings);
        (settings, warnings.len())
    }

    fn detected() -> Resource {
        let attributes = [("service.name", "unknown_service:test"), ("host.name", "here")];
        let attributes = attributes.map(|(key, value)| KeyValue::new(key, value));
        Resource::builder_empty().with_schema_url(attributes, "detected").build()
    }

    #[test]
    fn a_list_is_taken_whole_or_not_at_all() {
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
    fn code_beats_the_environment_and_that_beats_what_is_detected() {
        let vars = &[
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=weaker,team=env,host.name=env"),
            ("OTEL_SERVICE_NAME", "env"),
        ];
        let (mut settings, _) = read(vars);
        let resource = settings.over(detected);
        assert_eq!(text(&resource, "service.name").as_deref(), Some("env"));
        assert_eq!(text(&resource, "host.name").as_deref(), Some("env"));
        assert_eq!(resource.schema_url(), Some("detected"));

        settings.attributes = vec![KeyValue::new("team", "code")];
        let resource = settings.over(detected);
        assert_eq!(text(&resource, "team").as_deref(), Some("code"));
        assert_eq!(text(&resource, "service.name").as_deref(), Some("env"));

        let given = [("team", "given"), ("mine", "1"), ("service.name", "given")];
        let given = given.map(|(key, value)| KeyValue::new(key, value));
        settings.resource = Some(Resource::builder_empty().with_attributes(given).build());
        let resource = settings.over(detected);
        assert_eq!(text(&resource, "team").as_deref(), Some("code"));
        assert_eq!(text(&resource, "mine").as_deref(), Some("1"));
        assert_eq!(text(&resource, "service.name").as_deref(), Some("given"));
        // A given resource is in place of what is detected, and not of the environment.
        assert_eq!(text(&resource, "host.name").as_deref(), Some("env"));
        assert_eq!(resource.schema_url(), None);
    }

    #[test]
    fn a_name_that_stands_for_none_beats_no_other() {
        let (mut settings, _) = read(&[("OTEL_SERVICE_NAME", "env")]);
        settings.resource = Some(detected());
        let resource = settings.over(|| unreachable!("a resource was given"));
        assert_eq!(text(&resource, "service.name").as_deref(), Some("env"));
        assert!(!is_unnamed(&resource));
        assert!(is_unnamed(&detected()));
        assert!(is_unnamed(&Resource::builder_empty().build()));
    }
}
