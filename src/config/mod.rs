//! Configuration: values, their origins, and the resulting settings.

mod endpoint;
mod env;
#[cfg(feature = "config-file")]
mod file;
mod headers;
mod layer;
mod load;
#[cfg(feature = "proxy")]
mod no_proxy;
mod pem;
mod proxy;
mod resource;
mod sdk;
mod sdk_layer;
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
pub(crate) use layer::Rank;
pub(crate) use load::load;
pub(crate) use pem::read_file;
pub(crate) use proxy::Proxy;
pub(crate) use resource::{distribution, is_unnamed, without_environment};
pub(crate) use sdk::Sdk;
#[cfg(any(feature = "logs", feature = "trace"))]
pub(crate) use sdk_layer::BatchSettings;
pub(crate) use settings::{Settings, TlsSettings, TokenSettings};
pub(crate) use spiffe::SpiffeId;
#[cfg(feature = "trace")]
pub(crate) use switches::Propagator;
pub(crate) use switches::{Output, Switches};
#[cfg(any(feature = "logs", feature = "metrics", feature = "trace"))]
pub(crate) use switches::{OutputTarget, Processor};
pub(crate) use variables::Variable;
pub(crate) use warning::Warning;

pub(crate) use crate::origin::Origin;
pub use crate::protocol::{Compression, Protocol};
pub use pem::Pem;
pub use sdk_layer::Batch;
pub use signal_builder::SignalBuilder;
pub use values::{HistogramAggregation, RetryPolicy, TlsVersion};
