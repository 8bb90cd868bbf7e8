//! The cases of `tests/peers` whose outcome shows only in the settings: what the tests of other
//! OTLP implementations expect of endpoints.

mod table;

use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};
use tracing::subscriber;

use self::table::{Case, Kind, Observed};
use super::ExportersBuilder;
use crate::config::Protocol;
use crate::signal::Signal;

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Given {
    endpoint: Option<String>,
    signal_endpoint: Option<String>,
    protocol: Option<String>,
    insecure: Option<bool>,
    compression: Option<String>,
}

#[test]
fn endpoints_resolve_as_others_expect() {
    // The published package has no `tests`.
    if !Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests")).exists() {
        return;
    }
    let cases = table::load(&[Kind::Resolve]);
    let failures: Vec<_> =
        cases.iter().filter_map(|case| case.check(&observe(case)).err()).collect();
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

fn observe(case: &Case) -> Observed {
    // A subscriber keeps warnings off standard error.
    let built = subscriber::with_default(tracing_subscriber::registry(), || builder(case).build());
    let observed = match &built {
        Err(error) => json!({ "built": false, "error": error.to_string() }),
        Ok(exporters) => {
            let settings = exporters.settings().next().expect("one signal is on");
            let path = match *settings.protocol {
                Protocol::Grpc => "",
                _ => settings.endpoint.path.as_str(),
            };
            json!({
                "built": true,
                "url": format!("{}{path}", settings.endpoint),
                "protocol": settings.protocol.to_string(),
                "tls": settings.tls.is_some(),
                "warnings": exporters.warnings().len(),
            })
        }
    };
    let Value::Object(observed) = observed else { unreachable!("it is written as an object") };
    observed
}

fn builder(case: &Case) -> ExportersBuilder {
    let input = case.input();
    let variables = table::environment(input);
    let mut builder =
        ExportersBuilder::default().with_env(move |name| variables.get(name).map(Into::into));
    let Some(given) = input.get("builder") else { return builder };
    let given = Given::deserialize(given).unwrap_or_else(|error| panic!("{case}: {error}"));
    if let Some(endpoint) = given.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    if let Some(endpoint) = given.signal_endpoint {
        let signal =
            Signal::ALL.into_iter().find(|signal| signal.to_string() == table::signal(input));
        builder = builder.with_signal(signal.unwrap(), |one| one.with_endpoint(endpoint));
    }
    if let Some(protocol) = given.protocol {
        builder = builder.with_protocol(match protocol.as_str() {
            "grpc" => Protocol::Grpc,
            "http/protobuf" => Protocol::HttpProtobuf,
            "http/json" => Protocol::HttpJson,
            other => panic!("{case}: {other}"),
        });
    }
    if let Some(insecure) = given.insecure {
        builder = builder.with_insecure(insecure);
    }
    if let Some(compression) = given.compression {
        assert_eq!(compression, "none", "{case}");
        builder = builder.with_compression(None);
    }
    builder
}
