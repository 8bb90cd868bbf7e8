//! What was asked for: values, where they came from, and the settings they add up to.

mod endpoint;
mod env;
mod headers;
#[cfg(feature = "proxy")]
mod no_proxy;
mod origin;
mod overrides;
mod pem;
mod proxy;
mod resource;
mod sdk;
mod settings;
mod switches;
mod values;
mod variables;

#[cfg(feature = "metrics")]
pub(crate) use endpoint::Endpoint;
pub(crate) use env::Env;
pub(crate) use headers::is_reserved;
pub(crate) use origin::Sourced;
pub(crate) use proxy::Proxy;
pub(crate) use resource::{ResourceSettings, is_unnamed};
#[cfg(any(feature = "logs", feature = "trace"))]
pub(crate) use sdk::BatchSettings;
pub(crate) use sdk::{Sdk, SdkGiven};
pub(crate) use settings::{
    Inputs, Settings, TlsSettings, Warning, histogram_aggregation, reload_interval, temporality,
};
#[cfg(feature = "trace")]
pub(crate) use switches::Propagator;
pub(crate) use switches::{Output, Switches};

pub use origin::Origin;
pub use overrides::Overrides;
pub use pem::Pem;
pub use sdk::Batch;
pub use values::{Compression, HistogramAggregation, Protocol, Retry, TlsVersion};
