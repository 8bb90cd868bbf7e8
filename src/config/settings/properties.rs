//! Property tests of precedence and of the variables against a model, for any values in any layers.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::config::env::Env;
use crate::config::layer::Rank;
use crate::config::signal_builder::SignalBuilder;
use crate::config::values::Value;

const SPACE: [&str; 5] = ["", " ", "\t", "\r\n", " \u{a0}"];

/// A setting's layers, from the strongest to the weakest.
#[derive(Clone, Debug)]
struct Places {
    /// The builder's values for one signal and for all.
    built: [Option<String>; 2],
    /// The signal's variable and the generic one, including white space and invalid values.
    variables: [Option<String>; 2],
}

impl Places {
    /// The value that wins, and its index among all four.
    fn winner(&self, is_understood: impl Fn(&str) -> bool) -> Option<(usize, &str)> {
        let built = self.built.iter().map(Option::as_deref);
        let variables = self.variables.iter().map(|text| {
            text.as_deref().map(str::trim).filter(|text| !text.is_empty() && is_understood(text))
        });
        built.chain(variables).enumerate().find_map(|(place, text)| Some((place, text?)))
    }

    fn value(&self, is_understood: impl Fn(&str) -> bool) -> Option<&str> {
        self.winner(is_understood).map(|(_, text)| text)
    }
}

/// Valid values in any of the layers, and also invalid ones in those of the environment.
fn layers(
    value: impl Strategy<Value = String> + Clone + 'static,
    nonsense: Option<&'static str>,
) -> impl Strategy<Value = Places> {
    let padded = (select(&SPACE[..]), value.clone(), select(&SPACE[..]));
    let padded = padded.prop_map(|(before, value, after)| format!("{before}{value}{after}"));
    let blank = select(&SPACE[..]).prop_map(str::to_owned);
    let variable = prop_oneof![
        2 => padded.prop_map(Some),
        1 => Just(None),
        1 => blank.prop_map(Some),
        1 => Just(nonsense.map(str::to_owned)),
    ];
    let built = option::weighted(0.3, value);
    ([built.clone(), built], [variable.clone(), variable])
        .prop_map(|(built, variables)| Places { built, variables })
}

/// Every setting that has a variable, except for `INSECURE`, which needs an endpoint without a
/// scheme.
#[derive(Clone, Debug)]
struct Case {
    endpoint: Places,
    protocol: Places,
    ca: Places,
    /// The builder sets certificate and key together; these are its certificates.
    certificate: Places,
    key: Places,
    headers: Places,
    compression: Places,
    timeout: Places,
    server_name: [Option<String>; 2],
}

fn cases() -> impl Strategy<Value = Case> {
    let numbered = |before: &'static str, after: &'static str| {
        (1..100_u32).prop_map(move |number| format!("{before}{number}{after}"))
    };
    let one_of = |values: &'static [&'static str]| select(values).prop_map(str::to_owned);
    (
        layers(numbered("https://host-", ""), None),
        layers(one_of(&["grpc", "http/protobuf", "HTTP/json"]), Some("thrift")),
        layers(numbered("ca-", ".pem"), None),
        layers(numbered("certificate-", ""), None),
        layers(numbered("key-", ""), None),
        layers(numbered("name=", ""), None),
        layers(one_of(&["none", "gzip", "ZSTD"]), Some("brotli")),
        layers((0..5_u32).prop_map(|ms| ms.to_string()), Some("10s")),
        [option::of(numbered("name-", "")), option::of(numbered("name-", ""))],
    )
        .prop_map(
            |(
                endpoint,
                protocol,
                ca,
                certificate,
                mut key,
                headers,
                compression,
                timeout,
                name,
            )| {
                key.built = certificate.built.clone().map(|name| name.map(|name| name + ".key"));
                Case {
                    endpoint,
                    protocol,
                    ca,
                    certificate,
                    key,
                    headers,
                    compression,
                    timeout,
                    server_name: name,
                }
            },
        )
}

impl Case {
    fn variables(&self) -> [(Variable, &Places); 8] {
        [
            (Variable::Endpoint, &self.endpoint),
            (Variable::Protocol, &self.protocol),
            (Variable::Certificate, &self.ca),
            (Variable::ClientCertificate, &self.certificate),
            (Variable::ClientKey, &self.key),
            (Variable::Headers, &self.headers),
            (Variable::Compression, &self.compression),
            (Variable::Timeout, &self.timeout),
        ]
    }

    fn env(&self, signal: Signal) -> Vec<(String, String)> {
        let scopes = [Some(signal), None];
        let set = self.variables().into_iter().flat_map(|(variable, layers)| {
            let names = scopes.map(|scope| variable.name(scope));
            names.into_iter().zip(layers.variables.clone())
        });
        set.filter_map(|(name, value)| Some((name, value?))).collect()
    }

    /// The builder's layer for one signal (0) or for all (1).
    fn builder(&self, rank: usize) -> SignalBuilder {
        let text = |places: &Places| places.built[rank].clone();
        let mut builder = SignalBuilder::default();
        if let Some(endpoint) = text(&self.endpoint) {
            builder = builder.with_endpoint(endpoint);
        }
        if let Some(protocol) = text(&self.protocol).and_then(|text| Protocol::parse(&text)) {
            builder = builder.with_protocol(protocol);
        }
        if let Some(ca) = text(&self.ca) {
            builder = builder.with_ca_certificate(Pem::file(ca));
        }
        if let Some((certificate, key)) = text(&self.certificate).zip(text(&self.key)) {
            builder = builder.with_client_identity(Pem::file(certificate), Pem::file(key));
        }
        if let Some(header) = text(&self.headers) {
            builder = builder.with_headers(header.split_once('='));
        }
        if let Some(text) = text(&self.compression) {
            builder = builder.with_compression(compression(&text));
        }
        if let Some(timeout) = text(&self.timeout).and_then(|text| Duration::parse(&text)) {
            builder = builder.with_timeout(timeout);
        }
        if let Some(name) = self.server_name[rank].clone() {
            builder = builder.with_server_name(name);
        }
        builder
    }

    fn resolve(&self, signal: Signal) -> (Result<Settings, Error>, Vec<Warning>) {
        resolve(signal, self.builder(0), self.builder(1), self.env(signal))
    }
}

fn resolve(
    signal: Signal,
    own: SignalBuilder,
    all: SignalBuilder,
    vars: Vec<(String, String)>,
) -> (Result<Settings, Error>, Vec<Warning>) {
    let env = Env::new(move |asked| {
        vars.iter().find(|(name, _)| name == asked).map(|(_, value)| value.into())
    });
    let mut code = Rank { all: all.0, own: [(signal, own.0)].into() };
    if let Some(endpoint) = &mut code.all.endpoint {
        endpoint.value.is_whole = false;
    }
    let layers = Layers { code, env, defaults: Rank::default(), file: None };
    let mut warnings = Vec::new();
    (Settings::resolve(signal, &layers, false, &mut warnings), warnings)
}

fn compression(text: &str) -> Option<Compression> {
    <Option<Compression>>::parse(text).flatten()
}

/// The settings without their origins, or the text of the error.
fn shown(settings: Result<Settings, Error>) -> Result<String, String> {
    let settings = settings.map_err(|error| format!("{error:?}"))?;
    let Settings { endpoint, protocol, headers, compression, timeout, .. } = &settings;
    let (protocol, compression, timeout) = (**protocol, **compression, **timeout);
    let tls = settings.tls.as_ref().map(|tls| {
        let identity = tls.identity.as_ref();
        let identity = identity.map(|identity| (&identity.certificate.value, &identity.key.value));
        (tls.ca.as_ref().map(|ca| &ca.value), identity, &tls.server_name)
    });
    let path = &endpoint.path;
    let headers: Vec<_> =
        headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    Ok(format!("{endpoint}{path} {protocol} {tls:?} {headers:?} {compression:?} {timeout:?}"))
}

fn signals() -> impl Strategy<Value = Signal> {
    select(&Signal::ALL[..])
}

/// Valid, invalid and arbitrary values for any variable.
fn texts() -> impl Strategy<Value = String> {
    let telling = select(
        &[
            "",
            " ",
            "https://c:1",
            "http://c:1/p?q",
            "c:1",
            "[::1]",
            "unix:/s",
            "grpc",
            "GRPC ",
            "http/json",
            "true",
            "FALSE",
            "gzip",
            "none",
            "0",
            "250",
            "-1",
            "a=1,b=%20",
            "a",
        ][..],
    );
    prop_oneof![3 => telling.prop_map(str::to_owned), 1 => "\\PC{0,12}"]
}

const VARIABLES: [Variable; 9] = [
    Variable::Certificate,
    Variable::ClientCertificate,
    Variable::ClientKey,
    Variable::Compression,
    Variable::Endpoint,
    Variable::Headers,
    Variable::Insecure,
    Variable::Protocol,
    Variable::Timeout,
];

/// Any text for any variable, per signal or generic.
fn environments() -> impl Strategy<Value = Vec<(Option<Signal>, Variable, String)>> {
    vec((option::of(signals()), select(&VARIABLES[..]), texts()), 0..12)
}

fn named(vars: &[(Option<Signal>, Variable, String)]) -> Vec<(String, String)> {
    vars.iter().map(|(scope, variable, text)| (variable.name(*scope), text.clone())).collect()
}

proptest! {
    // Some errors show only in one of several hundred cases.
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn the_strongest_layer_wins_for_every_setting_on_its_own(
        case in cases(),
        signal in signals(),
    ) {
        let any = |_: &str| true;
        let (settings, warnings) = case.resolve(signal);
        let (certificate, key) = (case.certificate.value(any), case.key.value(any));
        let secure = case.endpoint.winner(any).is_some();
        if secure && certificate.is_some() != key.is_some() {
            let refusal = settings.unwrap_err();
            prop_assert!(matches!(refusal, Error::IncompleteIdentity { .. }), "{}", refusal);
            return Ok(());
        }
        let settings = settings.unwrap();

        let protocol = case.protocol.value(|text| Protocol::parse(text).is_some());
        let protocol = protocol.and_then(Protocol::parse).unwrap_or(Protocol::HttpProtobuf);
        prop_assert_eq!(*settings.protocol, protocol);

        let default = if protocol.is_grpc() { 4317 } else { 4318 };
        let default = (1, format!("http://localhost:{default}"));
        let (place, endpoint) =
            case.endpoint.winner(any).map_or(default, |(place, text)| (place, format!("{text}:443")));
        prop_assert_eq!(settings.endpoint.to_string(), endpoint);
        // The endpoint of one signal is used as is.
        let path = match place {
            _ if protocol.is_grpc() => signal.grpc_path().to_owned(),
            0 | 2 => "/".to_owned(),
            _ => format!("/{}", signal.http_path()),
        };
        prop_assert_eq!(settings.endpoint.path, path);

        let compression = case.compression.value(|text| text != "brotli");
        prop_assert_eq!(*settings.compression, compression.and_then(self::compression));
        let timeout = case.timeout.value(|text| text != "10s");
        let timeout = timeout.map_or(10_000, |text| text.parse().unwrap());
        let timeout = Duration::from_millis(timeout);
        prop_assert_eq!(*settings.timeout, Some(timeout).filter(|timeout| !timeout.is_zero()));
        let headers = settings.headers.get("name").map(|value| value.to_str().unwrap());
        prop_assert_eq!(headers, case.headers.value(any).map(|text| &text["name=".len()..]));

        prop_assert_eq!(settings.tls.is_some(), secure);
        if let Some(tls) = &settings.tls {
            let path = |pem: &Sourced<Pem>| pem.value.path().unwrap().to_owned();
            let identity = tls.identity.as_ref();
            let found = [
                tls.ca.as_ref().map(path),
                identity.map(|identity| path(&identity.certificate)),
                identity.map(|identity| path(&identity.key)),
            ];
            let expected = [case.ca.value(any), certificate, key];
            prop_assert_eq!(found, expected.map(|path| path.map(Into::into)));
            let name = case.server_name.iter().flatten().next();
            let name = name.map_or(settings.endpoint.address.host(), String::as_str);
            prop_assert_eq!(tls.server_name.to_str(), name);
        }

        // An invalid value causes a warning if it is read.
        let ignored = [
            (&case.protocol, "thrift"),
            (&case.compression, "brotli"),
            (&case.timeout, "10s"),
        ];
        let ignored = ignored.into_iter().flat_map(|(layers, nonsense)| {
            let winner = layers.winner(|text| text != nonsense).map_or(4, |(place, _)| place);
            layers.variables.iter().enumerate().filter(move |(index, text)| {
                index + 2 < winner && text.as_deref() == Some(nonsense)
            })
        });
        let unused = [&case.ca, &case.certificate, &case.key];
        let unused = !secure && unused.iter().any(|layers| layers.winner(any).is_some());
        prop_assert_eq!(warnings.len(), ignored.count() + usize::from(unused), "{:?}", warnings);
    }

    #[test]
    fn insecure_counts_for_grpc_without_a_scheme(
        insecure in layers(select(&["true", "FALSE"][..]).prop_map(str::to_owned), Some("yes")),
        endpoint in select(&["c:1", "http://c:1", "https://c:1"][..]),
        signal in signals(),
    ) {
        let builder = |rank: usize| match insecure.built[rank].as_deref() {
            Some(text) => SignalBuilder::default().with_insecure(text == "true"),
            None => SignalBuilder::default(),
        };
        let scopes = [Some(signal), None].map(|scope| Variable::Insecure.name(scope));
        let vars = scopes.into_iter().zip(insecure.variables.clone());
        let mut vars: Vec<_> = vars.filter_map(|(name, text)| Some((name, text?))).collect();
        vars.push((Variable::Endpoint.name(None), endpoint.to_owned()));
        vars.push((Variable::Protocol.name(None), "grpc".to_owned()));
        let (settings, _) = resolve(signal, builder(0), builder(1), vars);
        // An invalid value does not fall back: it is `false`.
        let insecure = insecure.value(|_| true) == Some("true");
        let secure = match endpoint {
            "c:1" => !insecure,
            endpoint => endpoint.starts_with("https"),
        };
        prop_assert_eq!(settings.unwrap().endpoint.secure, secure);
    }

    #[test]
    fn empty_is_unset_and_white_space_around_a_value_is_nothing(
        vars in environments(),
        space in select(&SPACE[..]),
        signal in signals(),
    ) {
        let none = SignalBuilder::default;
        let padded = named(&vars).into_iter().map(|(name, text)| {
            (name, format!("{space}{}{space}", text.trim()))
        });
        // The first value of a name wins, as it does below.
        let mut set: Vec<(String, String)> = Vec::new();
        for (name, text) in named(&vars) {
            if !set.iter().any(|(known, _)| *known == name) {
                set.push((name, text.trim().to_owned()));
            }
        }
        set.retain(|(_, text)| !text.is_empty());
        let (padded, padded_warnings) = resolve(signal, none(), none(), padded.collect());
        let (set, warnings) = resolve(signal, none(), none(), set);
        prop_assert_eq!(shown(padded), shown(set));
        prop_assert_eq!(padded_warnings, warnings);
    }

    #[test]
    fn variables_of_other_signals_are_not_read(vars in environments(), signal in signals()) {
        let none = SignalBuilder::default;
        let own: Vec<_> = vars
            .iter()
            .filter(|(scope, ..)| scope.is_none_or(|scope| scope == signal))
            .cloned()
            .collect();
        let (all, all_warnings) = resolve(signal, none(), none(), named(&vars));
        let (own, warnings) = resolve(signal, none(), none(), named(&own));
        prop_assert_eq!(shown(all), shown(own));
        prop_assert_eq!(all_warnings, warnings);
    }

    #[test]
    fn what_the_builder_has_is_not_looked_for_in_the_environment(
        vars in environments(),
        signal in signals(),
        is_specific in any::<bool>(),
    ) {
        let full = || {
            SignalBuilder::default()
                .with_endpoint("c:1")
                .with_protocol(Protocol::Grpc)
                .with_ca_certificate(Pem::file("ca"))
                .with_client_identity(Pem::file("certificate"), Pem::file("key"))
                .with_headers([("a", "1")])
                .with_compression(None)
                .with_timeout(Duration::ZERO)
                .with_insecure(false)
        };
        let none = SignalBuilder::default;
        let resolve = |vars| {
            let full = full();
            let (own, all) = if is_specific { (full, none()) } else { (none(), full) };
            resolve(signal, own, all, vars)
        };
        let (settings, warnings) = resolve(named(&vars));
        prop_assert!(warnings.is_empty(), "{:?}", warnings);
        prop_assert_eq!(shown(settings), shown(resolve(Vec::new()).0));
    }

    #[test]
    fn a_refusal_names_a_variable_that_is_set(vars in environments(), signal in signals()) {
        let none = SignalBuilder::default;
        let vars = named(&vars);
        if let (Err(error), _) = resolve(signal, none(), none(), vars.clone()) {
            let words = error.to_string();
            let name = words.split([':', ' ']).next().unwrap();
            let set = vars.iter().any(|(known, text)| known == name && !text.trim().is_empty());
            prop_assert!(set, "{}", words);
        }
    }

    /// Sharing is reflexive, symmetric and transitive, and ignores what does not affect a
    /// connection.
    #[test]
    fn sharing_a_connection_is_an_equivalence(
        three in [addresses(), addresses(), addresses()],
        other in cases(),
        signals in [signals(), signals()],
    ) {
        let settings = three.clone().map(|address| address.settings(signals[0], None));
        let [a, b, c] = &settings;
        prop_assert!(a.connection_key() == a.connection_key());
        prop_assert_eq!(a.connection_key() == b.connection_key(), b.connection_key() == a.connection_key());
        if a.connection_key() == b.connection_key() && b.connection_key() == c.connection_key() {
            prop_assert!(a.connection_key() == c.connection_key());
        }
        prop_assert_eq!(a.connection_key() == b.connection_key(), three[0] == three[1]);
        // Another signal with other headers, compression and timeout.
        let elsewhere = three[1].settings(signals[1], Some(&other));
        prop_assert_eq!(a.connection_key() == elsewhere.connection_key(), a.connection_key() == b.connection_key());
    }
}

/// Everything that a connection depends on.
#[derive(Clone, Debug, PartialEq)]
struct Address {
    scheme: &'static str,
    host: &'static str,
    port: u16,
    is_grpc: bool,
    tls: Option<(Option<&'static str>, Option<&'static str>, Option<&'static str>)>,
}

/// Few enough that equal ones occur often.
fn addresses() -> impl Strategy<Value = Address> {
    let host = select(&["c", "d"][..]);
    let one_or_none = |value: &'static str| option::weighted(0.2, Just(value));
    let tls = (one_or_none("ca"), one_or_none("me"), one_or_none("name"));
    (any::<bool>(), host, 1..3_u16, any::<bool>(), tls).prop_map(
        |(secure, host, port, is_grpc, tls)| Address {
            scheme: if secure { "https" } else { "http" },
            host,
            port,
            is_grpc,
            tls: secure.then_some(tls),
        },
    )
}

impl Address {
    fn settings(&self, signal: Signal, other: Option<&Case>) -> Settings {
        let Self { scheme, host, port, is_grpc, tls } = self;
        let (ca, identity, name) = tls.unwrap_or_default();
        // The case of a host does not matter, nor does the encoding over HTTP.
        let (host, http) = match other {
            Some(_) => (host.to_ascii_uppercase(), Protocol::HttpJson),
            None => ((*host).to_owned(), Protocol::HttpProtobuf),
        };
        let mut own = other.map(|other| other.builder(0)).unwrap_or_default().0;
        own.ca = None;
        (own.client_certificate, own.client_key, own.server_name) = Default::default();
        let mut own = SignalBuilder(own)
            .with_endpoint(format!("{scheme}://{host}:{port}"))
            .with_protocol(if *is_grpc { Protocol::Grpc } else { http });
        if let Some(ca) = ca {
            own = own.with_ca_certificate(Pem::file(ca));
        }
        if let Some(name) = identity {
            own = own.with_client_identity(Pem::file(name), Pem::file(name));
        }
        if let Some(name) = name {
            own = own.with_server_name(name);
        }
        resolve(signal, own, SignalBuilder::default(), Vec::new()).0.unwrap()
    }
}
