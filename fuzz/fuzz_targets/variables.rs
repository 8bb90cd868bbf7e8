//! A block of variables, `NAME=value` with NUL between them as in `/proc/self/environ`, where NAME is what follows
//! `OTEL_EXPORTER_OTLP_`, or a proxy's whole name. Files are those of `pki`, by name.
#![no_main]

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use otlp_mtls::error::Origin;
use otlp_mtls::{Error, Exporters, Signal};

const PREFIX: &str = "OTEL_EXPORTER_OTLP_";
const RELOAD_INTERVAL: &str = "OTEL_RUST_EXPORTER_OTLP_RELOAD_INTERVAL";

/// Stands for what is secret in a header.
const SECRET: &[u8] = b"SECRET";

fuzz_target!(|input: &[u8]| {
    if input.windows(SECRET.len()).any(|window| window == SECRET) {
        return;
    }
    let vars = Arc::new(Vars::new(input));
    let lookup = Arc::clone(&vars);
    let built = Exporters::builder().with_env(move |name| lookup.0.get(name).cloned()).build();
    match built {
        Ok(exporters) => vars.agree_with(&exporters),
        Err(error) => {
            vars.explain(&error);
            assert!(!format!("{error:?}").contains("SECRET"), "{error:?}");
        }
    }
});

struct Vars(BTreeMap<String, OsString>);

impl Vars {
    fn new(input: &[u8]) -> Self {
        let mut vars = BTreeMap::new();
        for pair in input.split(|byte| *byte == 0) {
            let end = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
            let (name, value) = (&pair[..end], pair.get(end + 1..).unwrap_or_default());
            let Ok(name) = std::str::from_utf8(name) else { continue };
            let value = match name {
                name if is_path(name) => file(value),
                name if name.ends_with("HEADERS") => OsString::from_vec([value, SECRET].concat()),
                _ => OsString::from_vec(value.to_vec()),
            };
            let name = match name {
                "RELOAD_INTERVAL" => RELOAD_INTERVAL.to_owned(),
                proxy if proxy.to_ascii_lowercase().ends_with("_proxy") => proxy.to_owned(),
                name => format!("{PREFIX}{name}"),
            };
            vars.insert(name, value);
        }
        // So that the platform's roots are not loaded.
        let ca = vars.entry(format!("{PREFIX}CERTIFICATE")).or_default();
        if is_blank(ca) {
            *ca = file(b"ca.pem");
        }
        Self(vars)
    }

    /// The value of a signal's variable, or else of the generic one.
    fn effective(&self, signal: Signal, name: &str) -> Option<&OsString> {
        let own = format!("{PREFIX}{}_{name}", signal.to_string().to_ascii_uppercase());
        self.is_set(&own).or_else(|| self.is_set(&format!("{PREFIX}{name}")))
    }

    fn is_set(&self, name: &str) -> Option<&OsString> {
        self.0.get(name).filter(|value| !is_blank(value))
    }

    /// TLS if the endpoint's scheme says so, and a client certificate if one is named.
    fn agree_with(&self, exporters: &Exporters) {
        for signal in Signal::ALL {
            let config = exporters.client_config(signal);
            let endpoint = self.effective(signal, "ENDPOINT").map(|endpoint| {
                endpoint.to_str().expect("it was understood").trim().to_ascii_lowercase()
            });
            match endpoint {
                None => assert!(config.is_none(), "the default is plaintext"),
                Some(plain) if plain.starts_with("http://") => assert!(config.is_none()),
                Some(secure) if secure.starts_with("https://") => assert!(config.is_some()),
                Some(_) => {
                    let insecure = self.effective(signal, "INSECURE");
                    let insecure = insecure.and_then(|value| value.to_str());
                    let insecure =
                        insecure.is_some_and(|value| value.trim().eq_ignore_ascii_case("true"));
                    assert_eq!(config.is_none(), insecure);
                }
            }
            if let Some(config) = config {
                let certificate = self.effective(signal, "CLIENT_CERTIFICATE");
                assert_eq!(config.client_auth_cert_resolver.has_certs(), certificate.is_some());
                assert_eq!(certificate.is_some(), self.effective(signal, "CLIENT_KEY").is_some());
            }
        }
    }

    /// Every error is about a variable that is set, and names it.
    fn explain(&self, error: &Error) {
        let named = match error {
            Error::NotUnicode { variable, .. } => {
                assert!(self.0[variable].to_str().is_none());
                variable
            }
            Error::IncompleteIdentity { given, missing, .. } => {
                assert!(self.is_set(missing).is_none(), "{missing} is set");
                assert!(error.to_string().contains(missing));
                variable(given)
            }
            Error::Endpoint { origin, .. }
            | Error::ServerName { origin, .. }
            | Error::ProtocolNotCompiled { origin, .. }
            | Error::CompressionNotCompiled { origin, .. }
            | Error::Header { origin, .. }
            | Error::Quoted { origin, .. }
            | Error::Credential { origin, .. }
            | Error::Proxy { origin, .. } => variable(origin),
            Error::KeyMismatch(mismatch) => {
                assert!(self.is_set(variable(&mismatch.key_origin)).is_some());
                variable(&mismatch.certificate_origin)
            }
            other => panic!("not about a variable: {other:?}"),
        };
        assert!(self.is_set(named).is_some(), "{named} is not set");
        assert!(error.to_string().starts_with(named.as_str()), "{error}");
    }
}

fn variable(origin: &Origin) -> &String {
    match origin {
        Origin::Variable(name) => name,
        other => panic!("{other} is no variable"),
    }
}

fn is_blank(value: &OsStr) -> bool {
    value.to_str().is_some_and(|value| value.trim().is_empty())
}

fn is_path(name: &str) -> bool {
    name.ends_with("CERTIFICATE") || name.ends_with("CLIENT_KEY")
}

/// A file of `pki`, `pki` itself, or a path that leads nowhere: none that the machine happens to have.
fn file(value: &[u8]) -> OsString {
    let pki = Path::new(env!("CARGO_MANIFEST_DIR")).join("pki");
    match value {
        b"" | b" " => OsString::from_vec(value.to_vec()),
        b"." => pki.into(),
        b"ca.pem" | b"client.pem" | b"client.key" | b"other.key" => {
            pki.join(OsStr::from_bytes(value)).into()
        }
        _ => {
            let name: Vec<u8> =
                value.iter().map(|byte| if *byte == b'/' { b'_' } else { *byte }).collect();
            pki.join("missing").join(OsStr::from_bytes(&name)).into()
        }
    }
}
