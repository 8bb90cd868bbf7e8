//! One endpoint, over both protocols, for all signals and for one, from the builder and from a variable.
#![no_main]

use libfuzzer_sys::fuzz_target;
use otlp_mtls::error::Origin;
use otlp_mtls::{Error, Exporters, ExportersBuilder, Pem, Protocol, Signal};

/// So that the platform's roots are not loaded.
const CA: &[u8] = include_bytes!("../pki/ca.pem");

/// Stands for a password or a token.
const SECRET: &str = "SECRET";

/// HTTPS, HTTP and no scheme: all that can be dialled.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Secure,
    Plain,
    None,
}

fuzz_target!(|endpoint: &str| {
    // A process's environment has no such value.
    if endpoint.contains('\0') {
        return;
    }
    for protocol in [Protocol::Grpc, Protocol::HttpProtobuf] {
        for insecure in [false, true] {
            let builder = || {
                Exporters::builder()
                    .with_protocol(protocol)
                    .with_insecure(insecure)
                    .with_ca_certificate(Pem::bytes(CA))
            };
            let case = Case { endpoint, protocol, insecure };
            case.hold(&builder);
        }
    }
});

#[derive(Clone, Copy)]
struct Case<'a> {
    endpoint: &'a str,
    protocol: Protocol,
    insecure: bool,
}

impl Case<'_> {
    fn hold(self, builder: &dyn Fn() -> ExportersBuilder) {
        let trimmed = self.endpoint.trim();
        let variable = |name: &'static str| {
            let endpoint = self.endpoint.to_owned();
            builder().with_env(move |asked| (asked == name).then(|| endpoint.clone().into()))
        };
        let method = || builder().with_env(|_| None);

        let generic = "OTEL_EXPORTER_OTLP_ENDPOINT";
        let by_variable = self.check(variable(generic), &Origin::Variable(generic.to_owned()));
        let by_method =
            self.check(method().with_endpoint(trimmed), &Origin::Builder("with_endpoint"));
        assert_eq!(by_variable, by_method);

        let specific = "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT";
        let by_variable = self.check(variable(specific), &Origin::Variable(specific.to_owned()));
        let one = |endpoint: &str| {
            method().with_signal(Signal::Logs, |logs| logs.with_endpoint(endpoint))
        };
        let by_method = self.check(one(trimmed), &Origin::Builder("with_endpoint"));
        assert_eq!(by_variable, by_method);

        // What it was understood as is understood as itself.
        if let Some(shown) = by_method
            && self.protocol != Protocol::Grpc
            && !shown.contains(['\\', '…'])
            && !trimmed.contains('?')
        {
            let logs = shown.split('"').nth(1).expect("logs are first");
            assert_eq!(format!("{:?}", one(logs).build().expect("what was shown")), shown);
        }
    }

    /// What the exporters show of themselves, if there are any.
    fn check(self, builder: ExportersBuilder, origin: &Origin) -> Option<String> {
        let built = builder.build();
        let (words, named) = match &built {
            Ok(exporters) => {
                self.uses_tls_as_asked(exporters);
                (format!("{exporters:?}"), None)
            }
            Err(error) => (format!("{error:?}"), Some(named(error))),
        };
        if let Some(named) = named {
            assert_eq!(named, origin);
            assert!(words.starts_with(&format!("{origin}: ")), "{words}");
        }
        let is_parsed = !matches!(built, Err(Error::Endpoint { .. } | Error::Quoted { .. }));
        let is_open = open_parts(self.endpoint.trim(), is_parsed);
        let is_open = is_open.iter().any(|part| part.contains(SECRET));
        assert!(!words.contains(SECRET) || is_open, "{words}");
        built.is_ok().then_some(words)
    }

    /// The scheme decides, and without one `insecure`.
    fn uses_tls_as_asked(self, exporters: &Exporters) {
        let secure = match self.scheme() {
            Scheme::Secure => true,
            Scheme::Plain => false,
            Scheme::None => !self.insecure,
        };
        let config = exporters.client_config(Signal::Logs);
        assert_eq!(config.is_some(), secure);
        assert!(config.is_none_or(|config| config.alpn_protocols.is_empty()));
    }

    fn scheme(self) -> Scheme {
        let endpoint = without_resolver(self.endpoint.trim()).to_ascii_lowercase();
        if self.protocol == Protocol::Grpc && is_socket(self.endpoint.trim()) {
            Scheme::Plain
        } else if endpoint.starts_with("https://") {
            Scheme::Secure
        } else if endpoint.starts_with("http://") || endpoint.is_empty() {
            // The default is plaintext.
            Scheme::Plain
        } else {
            assert!(self.protocol == Protocol::Grpc, "without a scheme over HTTP");
            Scheme::None
        }
    }
}

/// `dns:` or `dns:///`, before what gRPC dials, says how the name is resolved.
fn without_resolver(endpoint: &str) -> &str {
    match after_scheme(endpoint, "dns:") {
        Some(name) if name.starts_with("///") => &name[3..],
        Some(name) if !name.starts_with("//") => name,
        _ => endpoint,
    }
}

/// `unix:` is before the path of a socket.
fn is_socket(endpoint: &str) -> bool {
    after_scheme(endpoint, "unix:").is_some()
}

/// What follows a scheme of gRPC's; a host may have that name, before a port.
fn after_scheme<'a>(endpoint: &'a str, scheme: &str) -> Option<&'a str> {
    let (found, rest) = endpoint.split_at_checked(scheme.len())?;
    let is_port = rest.bytes().all(|byte| byte.is_ascii_digit());
    (found.eq_ignore_ascii_case(scheme) && !is_port).then_some(rest)
}

fn named(error: &Error) -> &Origin {
    match error {
        Error::Endpoint { origin, .. }
        | Error::Quoted { origin, .. }
        | Error::ServerName { origin, .. } => origin,
        other => panic!("not about the endpoint: {other:?}"),
    }
}

/// The scheme, and what is neither in a path, a query or a fragment, where a token may be, nor before an `@`, where a
/// password may be unless the endpoint was found to have none.
fn open_parts(endpoint: &str, is_parsed: bool) -> [&str; 2] {
    // A path of this machine's is no secret.
    if is_socket(endpoint) && (is_parsed || !endpoint.contains('@')) {
        return [endpoint, ""];
    }
    let endpoint = without_resolver(endpoint);
    let scheme = endpoint.split_once("://").map_or("", |(scheme, _)| scheme);
    let is_scheme = scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    let from = endpoint.rfind('@').filter(|_| !is_parsed).map(|at| at + 1);
    let from = from.or_else(|| Some(endpoint.find("://")? + 3)).unwrap_or(0);
    let rest = endpoint.get(from..).unwrap_or("");
    let until = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    [if is_scheme { scheme } else { "" }, &rest[..until]]
}
