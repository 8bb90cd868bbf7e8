//! Configuration: values, their origins, and the resulting settings.

mod endpoint;
mod env;
#[cfg(feature = "config-file")]
mod file;
mod headers;
mod layer;
#[cfg(feature = "proxy")]
mod no_proxy;
mod pem;
mod proxy;
mod resource;
mod sdk;
mod settings;
mod signal_builder;
mod spiffe;
mod switches;
mod values;
mod variables;
mod warning;

pub(crate) use crate::origin::Sourced;
#[cfg(feature = "metrics")]
pub(crate) use endpoint::Endpoint;
pub(crate) use endpoint::{Address, path_prefix, shown_path};
pub(crate) use env::Env;
pub(crate) use headers::is_reserved;
pub(crate) use layer::{Layers, Rank};
pub(crate) use pem::read_file;
pub(crate) use proxy::Proxy;
pub(crate) use resource::{distribution, is_unnamed, without_environment};
#[cfg(any(feature = "logs", feature = "trace"))]
pub(crate) use sdk::BatchSettings;
pub(crate) use sdk::Sdk;
pub(crate) use settings::{Settings, TlsSettings, TokenSettings};
pub(crate) use spiffe::SpiffeId;
#[cfg(feature = "trace")]
pub(crate) use switches::Propagator;
pub(crate) use switches::{Output, Switches};
#[cfg(any(feature = "logs", feature = "metrics", feature = "trace"))]
pub(crate) use switches::{Processor, Target};
pub(crate) use variables::Variable;
pub(crate) use warning::Warning;

pub(crate) use crate::origin::Origin;
pub use crate::protocol::{Compression, Protocol};
pub use pem::Pem;
pub use sdk::Batch;
pub use signal_builder::SignalBuilder;
pub use values::{HistogramAggregation, RetryPolicy, TlsVersion};
