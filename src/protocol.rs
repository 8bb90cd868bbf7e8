//! OTLP's transport protocols and compressions.

use std::fmt;

/// The transport protocol of OTLP: `OTEL_EXPORTER_OTLP_PROTOCOL`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// OTLP/gRPC (`grpc`); needs the feature `grpc`.
    Grpc,
    /// OTLP/HTTP with binary protobuf (`http/protobuf`), the default; needs the feature `http`.
    HttpProtobuf,
    /// OTLP/HTTP with JSON (`http/json`); needs the feature `http-json`.
    HttpJson,
}

impl Protocol {
    pub(crate) const ALL: [Self; 3] = [Self::Grpc, Self::HttpProtobuf, Self::HttpJson];

    pub(crate) fn is_grpc(self) -> bool {
        self == Self::Grpc
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::HttpProtobuf => "http/protobuf",
            Self::HttpJson => "http/json",
        }
    }

    /// The feature of this crate that the protocol needs, and whether it is compiled in.
    pub(crate) fn feature(self) -> (&'static str, bool) {
        match self {
            Self::Grpc => ("grpc", cfg!(feature = "grpc")),
            Self::HttpProtobuf => ("http", cfg!(feature = "http")),
            Self::HttpJson => ("http-json", cfg!(feature = "http-json")),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The compression of request bodies: `OTEL_EXPORTER_OTLP_COMPRESSION`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Compression {
    /// `gzip`; needs the feature `gzip`.
    Gzip,
    /// `zstd`; needs the feature `zstd`.
    Zstd,
}

impl Compression {
    /// The content coding, which is also gRPC's message encoding.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// Whether the feature of the same name is compiled in.
    pub(crate) fn is_compiled(self) -> bool {
        match self {
            Self::Gzip => cfg!(feature = "gzip"),
            Self::Zstd => cfg!(feature = "zstd"),
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// As in its variable.
#[cfg(feature = "serde")]
impl serde::Serialize for Protocol {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
