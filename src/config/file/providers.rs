//! The providers: processors, readers and their exporters.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::otlp;
use super::table::{Context, Table};
use super::yaml::Node;
use crate::config::layer::Rank;
use crate::config::sdk_layer::{Batch, MAX_QUEUE_SIZE};
use crate::config::switches::{Output, OutputTarget, Processor};
use crate::error::ConfigFileProblem as Problem;
use crate::origin::{Origin, Sourced};
use crate::signal::Signal;

/// The schema's default for the export interval of metrics, also to the console.
const INTERVAL: Duration = Duration::from_secs(60);

/// The schema's default for `max_queue_size`.
const QUEUE_SIZE: usize = 2_048;

/// The range of a span's count limits.
const COUNTS: RangeInclusive<u32> = 0..=i32::MAX as u32;

/// The providers read from the file so far.
#[derive(Default)]
pub(super) struct FileProviders {
    pub(super) rank: Rank,
    pub(super) outputs: BTreeMap<Signal, Sourced<Vec<Output>>>,
    /// The general attribute limit, which applies unless there is one for spans.
    attribute_count_limit: Option<(Node, u32)>,
}

impl FileProviders {
    pub(super) fn attribute_limits(&mut self, node: Node, context: &mut Context<'_>) {
        if let Some(mut table) = node.table(context) {
            self.attribute_count_limit = table.optional("attribute_count_limit").and_then(|node| {
                let limit = node.number(COUNTS, context)?;
                Some((node, limit))
            });
            table.finish(context);
        }
    }

    /// A signal that is not in the file has [no provider][schema].
    ///
    /// [schema]: https://opentelemetry.io/docs/specs/otel-config/types/#type-opentelemetryconfiguration
    pub(super) fn off(&mut self, signal: Signal, origin: Origin) {
        self.outputs.insert(signal, Sourced { value: Vec::new(), origin });
    }

    pub(super) fn provider(&mut self, signal: Signal, node: Node, context: &mut Context<'_>) {
        if !signal.is_compiled() {
            let feature = match signal {
                Signal::Traces => "trace",
                Signal::Metrics => "metrics",
                Signal::Logs => "logs",
            };
            return context.refuse(&node, Problem::NotCompiled { feature });
        }
        let origin = context.origin(&node);
        let Some(mut table) = node.table(context) else {
            return;
        };
        let list = match signal {
            Signal::Metrics => table.required("readers", context),
            Signal::Logs | Signal::Traces => table.required("processors", context),
        };
        let nodes = list.map(|node| node.list(context)).unwrap_or_default();
        let outputs = nodes.into_iter().filter_map(|node| match signal {
            Signal::Metrics => self.reader(node, context),
            Signal::Logs | Signal::Traces => self.processor(signal, node, context),
        });
        let outputs = outputs.collect();
        self.outputs.insert(signal, Sourced { value: outputs, origin });
        match signal {
            Signal::Traces => self.spans(&mut table, context),
            // The SDK has no exemplars.
            Signal::Metrics => {
                table.choice("exemplar_filter", &[("always_off", ())], context);
            }
            Signal::Logs => self.log_limits(&mut table, context),
        }
        table.finish(context);
    }

    fn processor(
        &mut self,
        signal: Signal,
        node: Node,
        context: &mut Context<'_>,
    ) -> Option<Output> {
        let (name, node) = node.kind(context)?;
        if name != "batch" && name != "simple" {
            context.unknown(&name, &node, &["batch", "simple"]);
            return None;
        }
        let mut table = node.table(context)?;
        let (processor, timeout) = match name.as_str() {
            "batch" => {
                let (batch, timeout) = batch(&mut table, context);
                (Processor::Batch(batch), timeout)
            }
            _ => (Processor::Simple, None),
        };
        let target = self.exporter(signal, &mut table, timeout, context);
        table.finish(context);
        Some(Output { target: target?, processor })
    }

    fn reader(&mut self, node: Node, context: &mut Context<'_>) -> Option<Output> {
        let (name, node) = node.kind(context)?;
        if name != "periodic" {
            context.unknown(&name, &node, &["periodic"]);
            return None;
        }
        let mut table = node.table(context)?;
        // 0 would export without a pause.
        let interval = table.milliseconds("interval", 1, context);
        let interval = interval.map_or(INTERVAL, |interval| interval.value);
        let timeout = table.optional("timeout");
        let target = self.exporter(Signal::Metrics, &mut table, timeout, context);
        table.finish(context);
        Some(Output { target: target?, processor: Processor::Periodic(Some(interval)) })
    }

    /// The exporter of a processor or reader, with the latter's timeout.
    fn exporter(
        &mut self,
        signal: Signal,
        table: &mut Table,
        timeout: Option<Node>,
        context: &mut Context<'_>,
    ) -> Option<OutputTarget> {
        let (name, node) = table.required("exporter", context)?.kind(context)?;
        match name.as_str() {
            "otlp_http" | "otlp_grpc" if self.rank.own.contains_key(&signal) => {
                context.refuse(&node, Problem::SecondExporter);
                None
            }
            "otlp_http" | "otlp_grpc" => {
                let is_grpc = name == "otlp_grpc";
                let layer = otlp::layer(signal, is_grpc, node, timeout, context);
                self.rank.own.insert(signal, layer);
                Some(OutputTarget::Otlp)
            }
            "console" => {
                if !cfg!(feature = "console") {
                    context.refuse(&node, Problem::NotCompiled { feature: "console" });
                }
                if let Some(timeout) = timeout {
                    context.refuse(&timeout, Problem::NotSupported);
                }
                let mut table = node.table_or_null(context)?;
                if signal == Signal::Metrics {
                    let (temporality, aggregation) =
                        ("temporality_preference", "default_histogram_aggregation");
                    table.choice(temporality, &[("cumulative", ())], context);
                    table.choice(aggregation, &[("explicit_bucket_histogram", ())], context);
                }
                table.finish(context);
                Some(OutputTarget::Console)
            }
            name => {
                context.unknown(name, &node, &["otlp_http", "otlp_grpc", "console"]);
                None
            }
        }
    }

    #[cfg(feature = "trace")]
    fn spans(&mut self, table: &mut Table, context: &mut Context<'_>) {
        let sampler = table.take("sampler").and_then(|node| super::sampler::sampler(node, context));
        self.rank.all.sdk.sampler = sampler;

        let limits = table.take("limits");
        if limits.is_none() && self.attribute_count_limit.is_none() {
            return;
        }
        let mut found = opentelemetry_sdk::trace::SpanLimits::default();
        if let Some((_, general)) = self.attribute_count_limit {
            found.max_attributes_per_span = general;
        }
        if let Some(mut table) = limits.and_then(|node| node.table(context)) {
            for (key, limit) in [
                ("attribute_count_limit", &mut found.max_attributes_per_span),
                ("event_count_limit", &mut found.max_events_per_span),
                ("link_count_limit", &mut found.max_links_per_span),
                ("event_attribute_count_limit", &mut found.max_attributes_per_event),
                ("link_attribute_count_limit", &mut found.max_attributes_per_link),
            ] {
                if let Some(given) = table.number(key, COUNTS, context) {
                    *limit = given.value;
                }
            }
            table.finish(context);
        }
        self.rank.all.sdk.span_limits = Some(found);
    }

    /// Not reached: it is rejected earlier.
    #[cfg(not(feature = "trace"))]
    fn spans(&mut self, _table: &mut Table, _context: &mut Context<'_>) {}

    /// The SDK has no limits for log records.
    fn log_limits(&mut self, table: &mut Table, context: &mut Context<'_>) {
        if let Some((limit, _)) = &self.attribute_count_limit {
            context.refuse(limit, Problem::NotSupportedForLogs);
        }
        if let Some(limits) = table.take("limits").and_then(|node| node.table(context)) {
            limits.finish(context);
        }
    }
}

/// A batch processor's options, and its export timeout.
fn batch(table: &mut Table, context: &mut Context<'_>) -> (Batch, Option<Node>) {
    let mut batch = Batch::default();
    // 0 would export without a pause.
    if let Some(delay) = table.milliseconds("schedule_delay", 1, context) {
        batch = batch.with_schedule_delay(delay.value);
    }
    let queue = table.number("max_queue_size", 1..=MAX_QUEUE_SIZE, context);
    let longest = queue.as_ref().map_or(QUEUE_SIZE, |queue| queue.value);
    if let Some(queue) = queue {
        batch = batch.with_max_queue_size(queue.value);
    }
    if let Some(size) = table.number("max_export_batch_size", 1..=longest, context) {
        batch = batch.with_max_export_batch_size(size.value);
    }
    (batch, table.optional("export_timeout"))
}
