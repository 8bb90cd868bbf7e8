//! What is read only if somebody asks for it.

use std::sync::{Mutex, OnceLock};

use super::{Exporters, ExportersBuilder};
use crate::error::Error;
use crate::lock::lock;
use crate::signal::Signal;

/// The signals that the environment does not send by OTLP.
///
/// Its switches are for `init` and `install`: who makes providers of his own, and asks for such a
/// signal's exporter, gets it, as in the other languages. For all others it costs nothing.
#[derive(Default)]
pub(super) struct Late {
    signals: Vec<Signal>,
    builder: Option<Box<ExportersBuilder>>,
    exporters: OnceLock<Exporters>,
    /// Held while they are read.
    turn: Mutex<()>,
}

impl Late {
    pub(super) fn new(signals: Vec<Signal>, builder: ExportersBuilder) -> Self {
        let builder = (!signals.is_empty()).then(|| Box::new(builder));
        Self { signals, builder, exporters: OnceLock::new(), turn: Mutex::default() }
    }

    /// The exporters that somebody has asked for.
    pub(super) fn read(&self) -> Option<Exporters> {
        self.exporters.get().cloned()
    }

    /// The exporters of a signal that is one of these, read by now.
    pub(super) fn exporters(&self, signal: Signal) -> Option<Result<Exporters, Error>> {
        let builder = self.builder.as_ref().filter(|_| self.signals.contains(&signal))?;
        let _turn = lock(&self.turn);
        let read = self.read().map(Ok);
        Some(read.unwrap_or_else(|| {
            let exporters = (**builder).clone().build_late(self.signals.clone())?;
            Ok(self.exporters.get_or_init(|| exporters).clone())
        }))
    }
}
