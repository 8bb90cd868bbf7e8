//! Samplers, which may be nested.

use opentelemetry_sdk::trace::{Sampler, ShouldSample};

use super::table::Context;
use super::yaml::Node;

pub(super) fn sampler(node: Node, context: &mut Context<'_>) -> Option<Box<dyn ShouldSample>> {
    let (name, node) = node.kind(context)?;
    let names = ["always_on", "always_off", "trace_id_ratio_based", "parent_based"];
    if !names.contains(&name.as_str()) {
        context.unknown(&name, &node, &names);
        return None;
    }
    let mut table = node.table_or_null(context)?;
    let sampler: Box<dyn ShouldSample> = match name.as_str() {
        "always_on" => Box::new(Sampler::AlwaysOn),
        "always_off" => Box::new(Sampler::AlwaysOff),
        "trace_id_ratio_based" => {
            let ratio = table.optional("ratio").and_then(|node| node.ratio(context));
            Box::new(Sampler::TraceIdRatioBased(ratio.unwrap_or(1.0)))
        }
        _ => {
            let mut branch = |key| table.take(key).and_then(|node| sampler(node, context));
            let root = branch("root").unwrap_or_else(|| Box::new(Sampler::AlwaysOn));
            let mut parent_based = Sampler::parent_based(root);
            if let Some(sampler) = branch("remote_parent_sampled") {
                parent_based = parent_based.with_remote_parent_sampled(sampler);
            }
            if let Some(sampler) = branch("remote_parent_not_sampled") {
                parent_based = parent_based.with_remote_parent_not_sampled(sampler);
            }
            if let Some(sampler) = branch("local_parent_sampled") {
                parent_based = parent_based.with_local_parent_sampled(sampler);
            }
            if let Some(sampler) = branch("local_parent_not_sampled") {
                parent_based = parent_based.with_local_parent_not_sampled(sampler);
            }
            Box::new(parent_based)
        }
    };
    table.finish(context);
    Some(sampler)
}
