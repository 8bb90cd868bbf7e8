//! `public_api JSON STABILITY`: prints the public API that rustdoc's JSON has, if its external crates are those which
//! the table in docs/stability.md justifies. Exit status 3: rustdoc writes a format that is not read here.

use std::collections::BTreeSet;
use std::error::Error;
use std::process::ExitCode;
use std::{env, fs};

/// Auto traits that are not part of the guarantees.
const UNPROMISED: [&str; 5] = [
    "core::marker::Freeze",
    "core::marker::UnsafeUnpin",
    "core::marker::StructuralPartialEq",
    "core::panic::unwind_safe::RefUnwindSafe",
    "core::panic::unwind_safe::UnwindSafe",
];

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let (Some(json), Some(stability)) = (arguments.next(), arguments.next()) else {
        return Err("public_api JSON STABILITY".into());
    };

    let format = format_version(&fs::read_to_string(&json)?).ok_or("no format_version")?;
    if format != rustdoc_types::FORMAT_VERSION {
        eprintln!(
            "rustdoc writes format {format}, public-api reads {}: \
             take a public-api for it in tests/public_api/Cargo.toml",
            rustdoc_types::FORMAT_VERSION
        );
        return Ok(ExitCode::from(3));
    }

    let api = public_api::Builder::from_rustdoc_json(json).omit_blanket_impls(true).build()?;
    let api: Vec<_> = api.items().map(ToString::to_string).filter(|item| promised(item)).collect();

    let used: BTreeSet<_> = api.iter().flat_map(|item| crates(item)).collect();
    let stability = fs::read_to_string(stability)?;
    let listed: BTreeSet<_> = stability.lines().filter_map(row).collect();
    for new in used.difference(&listed) {
        eprintln!("`{new}` is new in the public API: hide it, or justify it in docs/stability.md");
        api.iter()
            .filter(|item| crates(item).any(|name| name == *new))
            .for_each(|item| eprintln!("  {item}"));
    }
    for idle in listed.difference(&used) {
        eprintln!("`{idle}` is no longer in the public API: take it out of docs/stability.md");
    }
    if used != listed {
        return Ok(ExitCode::FAILURE);
    }

    api.iter().for_each(|item| println!("{item}"));
    Ok(ExitCode::SUCCESS)
}

/// Of JSON which may not parse as anything known here.
fn format_version(json: &str) -> Option<u32> {
    let (_, rest) = json.rsplit_once("\"format_version\":")?;
    rest.split(|c: char| !c.is_ascii_digit()).find(|digits| !digits.is_empty())?.parse().ok()
}

fn promised(item: &str) -> bool {
    let Some(implementation) = item.strip_prefix("impl ") else { return true };
    !UNPROMISED.iter().any(|name| implementation.trim_start_matches('!').starts_with(name))
}

/// The roots of all paths, but for ours and the standard library's.
fn crates(item: &str) -> impl Iterator<Item = &str> {
    item.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'))
        .filter_map(|path| Some(path.split_once("::")?.0))
        .filter(|root| root.starts_with(|c: char| c.is_lowercase() || c == '_'))
        .filter(|root| !["otlp_mtls", "core", "alloc", "std"].contains(root))
}

/// "| `rustls` | …"
fn row(line: &str) -> Option<&str> {
    Some(line.strip_prefix("| `")?.split_once("` |")?.0)
}
