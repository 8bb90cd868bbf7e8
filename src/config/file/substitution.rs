//! [Substitution](https://opentelemetry.io/docs/specs/otel/configuration/data-model/#environment-variable-substitution)
//! of variables in one scalar.

use crate::config::env::Env;
use crate::error::ConfigFileProblem as Problem;

/// The construct that an error names if a file exceeds a limit.
pub(super) const TOO_LARGE: &str = "so large a file is";

/// The maximum length of a scalar, in bytes.
const LONGEST: usize = 4 << 20;

/// Substitutes the variables in a scalar. Their values are used literally.
pub(super) fn substitute(text: &str, env: &Env) -> Result<String, Problem> {
    let mut substituted = String::new();
    // `$$` is split first: a reference does not extend across one.
    for (index, part) in text.split("$$").enumerate() {
        substituted.push_str(if index == 0 { "" } else { "$" });
        references(part, env, &mut substituted)?;
    }
    Ok(substituted)
}

fn references(text: &str, env: &Env, substituted: &mut String) -> Result<(), Problem> {
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((reference, behind)) = after.split_once('}') else {
            // No later reference is closed either. To search for each would take quadratic time.
            break;
        };
        substituted.push_str(before);
        rest = match reference {
            // Not a reference.
            "" => {
                substituted.push_str("${");
                after
            }
            reference => {
                substituted.push_str(&value(reference, env)?);
                behind
            }
        };
        if substituted.len() > LONGEST {
            return Err(Problem::Construct { construct: TOO_LARGE });
        }
    }
    substituted.push_str(rest);
    Ok(())
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
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    /// In quadratic time, this would take an hour.
    #[test]
    fn unclosed_braces_take_linear_time() {
        let (done, is_done) = mpsc::channel();
        std::thread::spawn(move || {
            let text = "${".repeat(8 << 20);
            done.send(substitute(&text, &Env::new(|_| None)).unwrap() == text)
        });
        assert_eq!(is_done.recv_timeout(Duration::from_secs(60)), Ok(true));
    }

    #[test]
    fn the_result_is_limited() {
        let env = Env::new(|_| Some("v".repeat(1 << 20).into()));
        for (text, is_taken) in
            [("${V}", true), (&"${V}".repeat(20), false), (&"$$${V}".repeat(20), false)]
        {
            assert_eq!(substitute(text, &env).is_ok(), is_taken, "{text}");
        }
    }

    #[test]
    fn valid_and_invalid_references() {
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
