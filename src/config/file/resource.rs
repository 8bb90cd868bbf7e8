//! The resource of the configuration file.

use opentelemetry::{Array, KeyValue, StringValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::TelemetryResourceDetector;

use super::table::Context;
use super::yaml::Node;
use crate::config::resource::{self, distribution};
use crate::error::ConfigFileProblem as Problem;

/// The [default resource][spec], which a file has instead of detected attributes, with the schema
/// URL; and the file's attributes.
///
/// [spec]: https://opentelemetry.io/docs/specs/otel/resource/sdk/#sdk-provided-resource-attributes
pub(super) fn resource(node: Option<Node>, context: &mut Context<'_>) -> (Resource, Vec<KeyValue>) {
    let (mut attributes, mut schema_url) = (Vec::new(), None);
    if let Some(mut table) = node.and_then(|node| node.table(context)) {
        schema_url = table.text("schema_url", context).map(|url| url.value);
        if let Some(node) = table.optional("attributes_list") {
            let list = node.text(context).map(|list| list.value).unwrap_or_default();
            match resource::attributes(&list) {
                Some(listed) => attributes = listed,
                None => {
                    let expected = "key=value,key=value, percent-encoded".into();
                    context.refuse(&node, Problem::Value { expected });
                }
            }
        }
        let given = table.take("attributes").map(|node| node.list(context)).unwrap_or_default();
        attributes.extend(given.into_iter().filter_map(|node| attribute(node, context)));
        table.finish(context);
    }
    let sdk = Resource::builder_empty().with_detector(Box::new(TelemetryResourceDetector));
    let resource = match schema_url {
        Some(url) => sdk.with_schema_url(distribution(), url).build(),
        None => sdk.with_attributes(distribution()).build(),
    };
    (resource, attributes)
}

/// The type of an attribute.
#[derive(Clone, Copy)]
enum Type {
    String,
    Boolean,
    Integer,
    Double,
}

/// An attribute, unless it is null.
fn attribute(node: Node, context: &mut Context<'_>) -> Option<KeyValue> {
    const TYPES: [(&str, (Type, bool)); 8] = [
        ("string", (Type::String, false)),
        ("bool", (Type::Boolean, false)),
        ("int", (Type::Integer, false)),
        ("double", (Type::Double, false)),
        ("string_array", (Type::String, true)),
        ("bool_array", (Type::Boolean, true)),
        ("int_array", (Type::Integer, true)),
        ("double_array", (Type::Double, true)),
    ];
    let mut table = node.table(context)?;
    let name = table.required("name", context).and_then(|name| name.text(context));
    let of = table.choice("type", &TYPES, context);
    let (of, is_array) = of.map_or((Type::String, false), |of| of.value);
    let value = table.required("value", context).filter(|value| !value.is_null());
    let value = value.and_then(|node| match is_array {
        false => single(&node, of, context),
        true => array(node, of, context),
    });
    table.finish(context);
    Some(KeyValue::new(name?.value, value?))
}

fn single(node: &Node, of: Type, context: &mut Context<'_>) -> Option<Value> {
    match of {
        Type::String => node.text(context).map(|text| text.value.into()),
        Type::Boolean => node.boolean(context).map(Value::Bool),
        Type::Integer => node.number(i64::MIN..=i64::MAX, context).map(Value::I64),
        Type::Double => node.double(context).map(Value::F64),
    }
}

fn array(node: Node, of: Type, context: &mut Context<'_>) -> Option<Value> {
    let nodes = node.list(context);
    Some(Value::Array(match of {
        Type::String => {
            let text = |node: &Node| node.text(context).map(|text| StringValue::from(text.value));
            Array::String(nodes.iter().filter_map(text).collect())
        }
        Type::Boolean => {
            Array::Bool(nodes.iter().filter_map(|node| node.boolean(context)).collect())
        }
        Type::Integer => {
            let range = i64::MIN..=i64::MAX;
            let number = |node: &Node| node.number(range.clone(), context);
            Array::I64(nodes.iter().filter_map(number).collect())
        }
        Type::Double => Array::F64(nodes.iter().filter_map(|node| node.double(context)).collect()),
    }))
}
