//! Parses YAML into a tree whose nodes know their key and line, with variables substituted.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::AddAssign;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput, Tag};

use super::substitution::{TOO_LARGE, substitute};
use crate::config::env::Env;
use crate::error::{ConfigFileError, ConfigFileProblem as Problem};

/// The deepest nesting that is accepted: the schema has about 12.
const MAX_DEPTH: usize = 64;

/// The largest number of nodes, and of bytes of their keys and texts: aliases can expand a small file exponentially.
const MAX_NODES: usize = 10_000;
const MAX_BYTES: usize = 4 << 20;

/// A value and its position.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// The full path of the key.
    pub(super) key: String,
    /// The line of its key, if it has one.
    pub(super) line: usize,
    pub(super) content: Content,
}

#[derive(Clone, Debug)]
pub(super) enum Content {
    /// A plain scalar is not quoted, and may be something else than text.
    Scalar {
        text: String,
        is_plain: bool,
    },
    List(Vec<Node>),
    Table(Vec<(String, Node)>),
}

impl Node {
    pub(super) fn error(&self, problem: Problem) -> ConfigFileError {
        ConfigFileError { line: self.line, key: self.key.clone(), problem }
    }

    /// The node under another key, for an alias. Lines remain those of the anchor.
    fn under(&self, key: String) -> Self {
        let content = match &self.content {
            Content::List(nodes) => Content::List(
                nodes.iter().enumerate().map(|(i, node)| node.under(indexed(&key, i))).collect(),
            ),
            Content::Table(entries) => Content::Table(
                entries
                    .iter()
                    .map(|(name, node)| (name.clone(), node.under(joined(&key, name))))
                    .collect(),
            ),
            scalar => scalar.clone(),
        };
        Self { key, line: self.line, content }
    }

    fn size(&self) -> Size {
        let mut size = Size { nodes: 1, bytes: self.key.len() };
        match &self.content {
            Content::Scalar { text, .. } => size.bytes += text.len(),
            Content::List(nodes) => nodes.iter().for_each(|node| size += node.size()),
            Content::Table(entries) => entries.iter().for_each(|(_, node)| size += node.size()),
        }
        size
    }
}

#[derive(Clone, Copy, Default)]
struct Size {
    nodes: usize,
    /// Of keys and texts.
    bytes: usize,
}

impl AddAssign for Size {
    fn add_assign(&mut self, other: Self) {
        self.nodes += other.nodes;
        self.bytes += other.bytes;
    }
}

pub(super) fn joined(key: &str, name: &str) -> String {
    if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") }
}

fn indexed(key: &str, index: usize) -> String {
    format!("{key}[{index}]")
}

/// The single document of a file.
pub(super) fn parse(text: &str, env: &Env) -> Result<Node, ConfigFileError> {
    let parser = Parser::new_from_str(text);
    let mut reader = Reader { parser, env, anchors: BTreeMap::new(), size: Size::default() };
    let mut document = None;
    while let Some((event, span)) = reader.next()? {
        match event {
            Event::StreamStart | Event::StreamEnd | Event::DocumentEnd | Event::Nothing => {}
            Event::DocumentStart(_) if document.is_some() => {
                return Err(whole(span, Problem::Construct { construct: "a second document is" }));
            }
            Event::DocumentStart(_) => {}
            event => document = Some(reader.node(event, span, String::new(), 0)?),
        }
    }
    let empty = Content::Scalar { text: String::new(), is_plain: true };
    Ok(document.unwrap_or(Node { key: String::new(), line: 1, content: empty }))
}

fn whole(span: Span, problem: Problem) -> ConfigFileError {
    ConfigFileError { line: span.start.line(), key: String::new(), problem }
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    env: &'a Env,
    anchors: BTreeMap<usize, Node>,
    /// Of all nodes so far, including copies.
    size: Size,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<Option<(Event<'a>, Span)>, ConfigFileError> {
        self.parser.next().transpose().map_err(|error| {
            let marker = *error.marker();
            let problem = Problem::Syntax { reason: error.info().to_owned() };
            whole(Span::empty(marker), problem)
        })
    }

    fn has_room(&self) -> bool {
        self.size.nodes <= MAX_NODES && self.size.bytes <= MAX_BYTES
    }

    /// Parses the node that begins with an event.
    fn node(
        &mut self,
        event: Event<'a>,
        span: Span,
        key: String,
        depth: usize,
    ) -> Result<Node, ConfigFileError> {
        let line = span.start.line();
        let error = |problem| ConfigFileError { line, key: key.clone(), problem };
        let too_large = || error(Problem::Construct { construct: TOO_LARGE });
        self.size += Size { nodes: 1, bytes: key.len() };
        if depth > MAX_DEPTH || !self.has_room() {
            return Err(too_large());
        }
        let (anchor, content) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let is_text = is_text(style, tag).map_err(error)?;
                let text = substitute(&text, self.env).map_err(error)?;
                self.size.bytes += text.len();
                (anchor, Content::Scalar { text, is_plain: !is_text })
            }
            Event::SequenceStart(anchor, None) => (anchor, self.list(&key, depth)?),
            Event::MappingStart(anchor, None) => (anchor, self.table(&key, depth)?),
            Event::Alias(anchor) => {
                // A node that contains the alias is not complete yet.
                let construct = "an alias within what it refers to is";
                let anchored = self.anchors.get(&anchor);
                let node = anchored.ok_or_else(|| error(Problem::Construct { construct }))?;
                let mut copy = node.size();
                copy.bytes += copy.nodes * key.len();
                self.size += copy;
                return if self.has_room() { Ok(node.under(key)) } else { Err(too_large()) };
            }
            _ => return Err(error(Problem::Construct { construct: "a tag is" })),
        };
        let node = Node { key, line, content };
        if anchor > 0 {
            self.size += node.size();
            if !self.has_room() {
                return Err(node.error(Problem::Construct { construct: TOO_LARGE }));
            }
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn list(&mut self, key: &str, depth: usize) -> Result<Content, ConfigFileError> {
        let mut nodes = Vec::new();
        while let Some((event, span)) = self.next()? {
            if event == Event::SequenceEnd {
                break;
            }
            nodes.push(self.node(event, span, indexed(key, nodes.len()), depth + 1)?);
        }
        Ok(Content::List(nodes))
    }

    fn table(&mut self, key: &str, depth: usize) -> Result<Content, ConfigFileError> {
        let mut entries = Vec::<(String, Node)>::new();
        while let Some((event, span)) = self.next()? {
            let name = match event {
                Event::MappingEnd => break,
                // Keys are not substituted.
                Event::Scalar(name, ..) => name.into_owned(),
                _ => {
                    let construct = "a key that is not text is";
                    return Err(whole(span, Problem::Construct { construct }));
                }
            };
            let key = joined(key, &name);
            let line = span.start.line();
            if entries.iter().any(|(known, _)| *known == name) {
                return Err(ConfigFileError { line, key, problem: Problem::Duplicate });
            }
            if let Some((event, span)) = self.next()? {
                let node = self.node(event, span, key, depth + 1)?;
                entries.push((name, Node { line, ..node }));
            }
        }
        Ok(Content::Table(entries))
    }
}

/// Whether a scalar is text regardless of its form.
fn is_text(style: ScalarStyle, tag: Option<Cow<'_, Tag>>) -> Result<bool, Problem> {
    match tag {
        None => Ok(style != ScalarStyle::Plain),
        Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => Ok(true),
        Some(_) => Err(Problem::Construct { construct: "a tag is" }),
    }
}
