//! Errors in the value of a variable.

/// What is wrong with an endpoint.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointProblem {
    /// It has no scheme, which OTLP/HTTP needs.
    #[error("has no scheme: begin it with https:// or http://")]
    NoScheme,
    /// It has a scheme that is not supported.
    #[error(
        "cannot be used: its scheme `{scheme}` is not supported, only https and http are, and over gRPC \
         unix: and dns:///"
    )]
    #[non_exhaustive]
    UnsupportedScheme {
        /// The scheme.
        scheme: String,
    },
    /// It names a DNS server, as gRPC's `dns://server/host:port` does.
    #[error("names a DNS server, but only the system's are used: write dns:///host:port")]
    DnsServer,
    /// It is the relative path of a Unix domain socket.
    #[error("names a socket by a relative path: write unix:///absolute/path")]
    RelativeSocket,
    /// No Unix domain socket can have this path, or the platform does not support them.
    #[error("cannot be used as a Unix domain socket")]
    #[non_exhaustive]
    Socket {
        /// Why.
        source: std::io::Error,
    },
    /// It contains variables.
    #[error("contains variables, which are not expanded")]
    NotExpanded,
    /// It has a fragment, which is never sent.
    #[error("has a fragment, which is never sent: remove `#` and what follows")]
    Fragment,
    /// Its host has non-ASCII characters.
    #[error("has a host that is not ASCII: write it as `xn--…` (IDNA)")]
    HostNotAscii,
    /// Its host is neither an IP address nor a DNS name.
    #[error(
        "has an invalid host: a name has letters, digits, `-`, `_` and `.`, at most 253 of them, and \
         63 between dots"
    )]
    InvalidHost,
    /// It has no host.
    #[error("has no host")]
    NoHost,
    /// Its port is not valid.
    #[error("has no valid port: give a number from 1 to 65535, or remove the colon")]
    InvalidPort,
    /// It has user information, which OTLP does not use.
    #[error("contains user information: send credentials as a header instead")]
    UserInfo,
    /// It has a path, which OTLP/gRPC cannot send.
    #[error(
        "cannot be used over gRPC because of the path `{path}`: remove the path, \
         or use the protocol http/protobuf"
    )]
    #[non_exhaustive]
    PathOverGrpc {
        /// The path.
        path: String,
    },
    /// It has a query, which OTLP/gRPC cannot send.
    #[error(
        "cannot be used over gRPC because of its query: remove `?` and what follows, or use the \
         protocol http/protobuf"
    )]
    QueryOverGrpc,
    /// It is not a valid URL.
    #[error("is not a valid URL")]
    #[non_exhaustive]
    Invalid {
        /// Why.
        source: http::uri::InvalidUri,
    },
}

/// What is wrong with a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderProblem {
    /// It has no `=`.
    #[error("is not of the form name=value")]
    NotAPair,
    /// Its name has invalid characters.
    #[error("has a name that is not a valid header name")]
    Name,
    /// Its value has invalid characters.
    #[error("has a value that is not a valid header value (ASCII without control characters)")]
    Value,
    /// Its name is one that the protocol sets itself.
    #[error("has a name that only the protocol itself may set")]
    Reserved,
}

/// Why a SPIFFE ID cannot be required of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpiffeIdProblem {
    /// It is not valid by the
    /// [specification](https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md).
    #[error(
        "is not a SPIFFE ID: it must be spiffe://TRUST-DOMAIN/PATH, or spiffe://TRUST-DOMAIN for \
         any ID of a trust domain, in lower case before the path, and without a port, a query or a \
         slash at the end"
    )]
    Syntax,
    /// No CA is configured, so there is no trust bundle.
    #[error(
        "needs a trust bundle, which the platform's roots are not: set its CAs with \
         OTEL_EXPORTER_OTLP_CERTIFICATE or with_ca_certificate(), or in the credential source"
    )]
    NoTrustBundle,
    /// A rustls configuration was given, which verifies servers itself.
    #[error(
        "would be ignored, because the configuration given to with_rustls_config() verifies \
         servers itself: set only one of the two"
    )]
    RustlsConfig,
}
