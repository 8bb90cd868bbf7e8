//! A case's configuration: environment and builder.

use std::collections::BTreeMap;
use std::time::Duration;

use opentelemetry_sdk::metrics::Temporality;
use otlp_mtls::{Compression, Exporters, ExportersBuilder, Pem, Protocol, RetryPolicy, Signal};
use serde::Deserialize;
use serde_json::Value;

use crate::table;

/// Placeholders and their values.
pub(crate) type Places = Vec<(String, String)>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    #[serde(default, rename = "env")]
    _env: Value,
    #[serde(default = "traces")]
    signal: String,
    #[serde(default = "one")]
    pub(crate) items: usize,
    #[serde(default)]
    pub(crate) linger_ms: u64,
    retry: Option<Backoff>,
    #[serde(default)]
    builder: Setters,
    // `tls.rs` reads these.
    #[serde(default, rename = "identity")]
    _identity: Value,
    #[serde(default, rename = "trusts")]
    _trusts: Value,
    #[serde(skip)]
    environment: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Backoff {
    max: Option<u32>,
    initial_ms: Option<u64>,
    max_ms: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Setters {
    endpoint: Option<String>,
    signal_endpoint: Option<String>,
    protocol: Option<String>,
    insecure: Option<bool>,
    headers: Option<BTreeMap<String, String>>,
    compression: Option<String>,
    temporality: Option<String>,
    server_name: Option<String>,
    timeout_ms: Option<u64>,
    connect_timeout_ms: Option<u64>,
    ca: Option<String>,
    ca_pem: Option<String>,
    client_certificate: Option<String>,
    client_certificate_pem: Option<String>,
    client_key: Option<String>,
    client_key_pem: Option<String>,
}

fn traces() -> String {
    "traces".to_owned()
}

fn one() -> usize {
    1
}

impl Input {
    pub(crate) fn new(input: &Value, places: &Places) -> Self {
        let mut input = input.clone();
        fill(&mut input, places);
        let environment = table::environment(&input);
        Self { environment, ..Self::deserialize(input).unwrap() }
    }

    /// Sets a variable that the case does not set.
    pub(crate) fn with_default(mut self, variable: &str, value: &str) -> Self {
        self.environment.entry(variable.to_owned()).or_insert_with(|| value.to_owned());
        self
    }

    pub(crate) fn signal(&self) -> Signal {
        Signal::ALL.into_iter().find(|signal| signal.to_string() == self.signal).unwrap()
    }

    pub(crate) fn builder(&self) -> ExportersBuilder {
        let environment = self.environment.clone();
        let mut builder = Exporters::builder()
            .with_env(move |name| environment.get(name).map(Into::into))
            // Most failures are expected: keep them off standard error.
            .with_failure_handler(|_| {});
        if let Some(Backoff { max, initial_ms, max_ms }) = &self.retry {
            let mut retry = RetryPolicy::default();
            if let Some(max) = max {
                retry = retry.with_max_attempts(*max);
            }
            if let Some(initial) = initial_ms {
                retry = retry.with_initial_backoff(Duration::from_millis(*initial));
            }
            if let Some(longest) = max_ms {
                retry = retry.with_max_backoff(Duration::from_millis(*longest));
            }
            builder = builder.with_retry(retry);
        }
        self.builder.set(builder, self.signal())
    }
}

impl Setters {
    fn set(&self, mut builder: ExportersBuilder, signal: Signal) -> ExportersBuilder {
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        if let Some(endpoint) = &self.signal_endpoint {
            builder = builder.with_signal(signal, |one| one.with_endpoint(endpoint));
        }
        if let Some(name) = &self.protocol {
            builder = builder.with_protocol(protocol(name));
        }
        if let Some(insecure) = self.insecure {
            builder = builder.with_insecure(insecure);
        }
        if let Some(headers) = &self.headers {
            builder = builder.with_headers(headers);
        }
        if let Some(compression) = self.compression.as_deref() {
            builder = builder.with_compression(match compression {
                "none" => None,
                "gzip" => Some(Compression::Gzip),
                other => panic!("compression {other}"),
            });
        }
        if let Some(temporality) = self.temporality.as_deref() {
            builder = builder.with_temporality(match temporality {
                "delta" => Temporality::Delta,
                other => panic!("temporality {other}"),
            });
        }
        if let Some(name) = &self.server_name {
            builder = builder.with_server_name(name);
        }
        if let Some(timeout) = self.timeout_ms {
            builder = builder.with_timeout(Duration::from_millis(timeout));
        }
        if let Some(timeout) = self.connect_timeout_ms {
            builder = builder.with_connect_timeout(Duration::from_millis(timeout));
        }
        if let Some(ca) = pem(&self.ca, &self.ca_pem) {
            builder = builder.with_ca_certificate(ca);
        }
        let certificate = pem(&self.client_certificate, &self.client_certificate_pem);
        match (certificate, pem(&self.client_key, &self.client_key_pem)) {
            (Some(certificate), Some(key)) => builder.with_client_identity(certificate, key),
            (None, None) => builder,
            _ => panic!("with_client_identity() takes both"),
        }
    }
}

pub(crate) fn protocol(name: &str) -> Protocol {
    [Protocol::Grpc, Protocol::HttpProtobuf, Protocol::HttpJson]
        .into_iter()
        .find(|protocol| protocol.to_string() == name)
        .unwrap()
}

fn pem(file: &Option<String>, bytes: &Option<String>) -> Option<Pem> {
    match (file, bytes) {
        (Some(file), None) => Some(Pem::file(file)),
        (None, Some(bytes)) => Some(Pem::bytes(bytes.as_bytes())),
        (None, None) => None,
        (Some(_), Some(_)) => panic!("a file and bytes"),
    }
}

fn fill(value: &mut Value, places: &Places) {
    match value {
        Value::String(text) => {
            for (placeholder, with) in places {
                *text = text.replace(placeholder, with);
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| fill(value, places)),
        Value::Object(values) => values.values_mut().for_each(|value| fill(value, places)),
        _ => {}
    }
}
