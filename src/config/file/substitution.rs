//! [Substitution](https://opentelemetry.io/docs/specs/otel/configuration/data-model/#environment-variable-substitution)
//! of variables in one scalar.

use crate::config::env::Env;
use crate::error::ConfigFileProblem as Problem;

/// Substitutes the variables in a scalar. Their values are used literally.
pub(super) fn substitute(text: &str, env: &Env) -> Result<String, Problem> {
    // `$$` is split first: a reference does not extend across one.
    let parts = text.split("$$").map(|part| references(part, env));
    Ok(parts.collect::<Result<Vec<_>, _>>()?.join("$"))
}

fn references(text: &str, env: &Env) -> Result<String, Problem> {
    let mut substituted = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        substituted.push_str(before);
        match after.split_once('}') {
            Some((reference, after)) if !reference.is_empty() => {
                substituted.push_str(&value(reference, env)?);
                rest = after;
            }
            // Not a reference.
            _ => {
                substituted.push_str("${");
                rest = after;
            }
        }
    }
    substituted.push_str(rest);
    Ok(substituted)
}

/// The value of a reference, given the text between the braces.
fn value(reference: &str, env: &Env) -> Result<String, Problem> {
    // In `${env:-default}`, `env` is the variable.
    let reference = match reference.strip_prefix("env:") {
        Some(name) if !name.starts_with('-') => name,
        _ => reference,
    };
    let (name, default) = reference.split_once(":-").unwrap_or((reference, ""));
    if !is_name(name) || default.contains('\n') {
        return Err(Problem::Substitution);
    }
    let value = env.raw(name).filter(|value| !value.is_empty());
    let value = value.map_or_else(|| Ok(default.to_owned()), |value| value.into_string());
    value.map_err(|_not_unicode| Problem::NotUnicode { variable: name.to_owned() })
}

fn is_name(name: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.bytes().all(is_part) && name.starts_with(|c: char| !c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_reference_and_what_is_none() {
        let env = Env::new(|name| match name {
            "SET" => Some(" it ".into()),
            "EMPTY" => Some("".into()),
            "env" => Some("of that name".into()),
            _ => None,
        });
        for (rule, text, expected) in [
            ("white space is kept", "${SET}", Some(" it ")),
            ("empty is as good as undefined", "${EMPTY:-default}", Some("default")),
            ("a default may be empty", "a${UNSET:-}b", Some("ab")),
            ("a default may have any character", "${UNSET:-a: -}", Some("a: -")),
            (
                "a variable may be called env",
                "${env:-x} ${env:env}",
                Some("of that name of that name"),
            ),
            ("a lone brace", "${} ${", Some("${} ${")),
            ("a brace that is not closed hides none", "${ ${SET", Some("${ ${SET")),
            ("a name begins with no digit", "${1API_KEY}", None),
            ("a name has no other characters", "${API_$KEY}", None),
            ("another prefix", "${sys:user.name}", None),
            ("another operator", "${SET:?error}", None),
            ("no name", "${:-default}", None),
            ("no name behind the prefix", "${env:}", None),
        ] {
            assert_eq!(substitute(text, &env).ok().as_deref(), expected, "{rule}: {text}");
        }
    }
}
