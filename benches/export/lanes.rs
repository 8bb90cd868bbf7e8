//! The exporters that are compared.

use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use otlp_mtls::Protocol;
use tokio::runtime::Handle;

use crate::exporters;
use crate::sink_process::Sink;

/// Spans per export: the SDK's default for `OTEL_BSP_MAX_EXPORT_BATCH_SIZE`.
pub(crate) const SPANS: u64 = 512;

pub(crate) struct Lane {
    pub(crate) case: &'static str,
    pub(crate) side: Side,
    export: Box<dyn Fn(Vec<SpanData>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Ours,
    HandWired,
    /// Without reqwest's HTTP/2, which opentelemetry-otlp's own features do not enable.
    HandWiredHttp1,
    /// With a rustls configuration instead of files.
    NoFiles,
    /// With files, at the default reload interval.
    Files,
    /// With files that are read before each export.
    FilesEachExport,
}

impl Side {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::HandWired => "hand-wired",
            Self::HandWiredHttp1 => "hand-wired-http1",
            Self::NoFiles => "no-files",
            Self::Files => "files-10s",
            Self::FilesEachExport => "files-each-export",
        }
    }
}

impl Lane {
    pub(crate) fn new<E: SpanExporter + 'static>(
        (case, side): (&'static str, Side),
        runtime: &Handle,
        exporter: E,
    ) -> Self {
        let runtime = runtime.clone();
        let export = Box::new(move |batch| {
            runtime.block_on(exporter.export(batch)).expect("the sink accepts all");
        });
        Self { case, side, export }
    }

    pub(crate) fn export(&self, batch: Vec<SpanData>) {
        (self.export)(batch);
    }
}

/// Every lane; those of the same case are adjacent.
pub(crate) fn all(sink: &Sink, runtime: &Handle) -> Vec<Lane> {
    // tonic's channel and reqwest's client require a runtime context when created.
    let _context = runtime.enter();
    let mut lanes = Vec::new();
    for (grpc, http, mtls) in
        [("grpc/plaintext", "http/plaintext", false), ("grpc/mtls", "http/mtls", true)]
    {
        let ours =
            |protocol| exporters::ours(sink, protocol, mtls).span_exporter().expect("an exporter");
        let reqwest = |http1| exporters::reqwest(sink, mtls, http1);
        lanes.extend([
            Lane::new((grpc, Side::Ours), runtime, ours(Protocol::Grpc)),
            Lane::new((grpc, Side::HandWired), runtime, exporters::tonic(sink, mtls)),
            Lane::new((http, Side::Ours), runtime, ours(Protocol::HttpProtobuf)),
            Lane::new((http, Side::HandWired), runtime, reqwest(false)),
        ]);
        if mtls {
            lanes.push(Lane::new((http, Side::HandWiredHttp1), runtime, reqwest(true)));
        }
    }
    lanes
}
