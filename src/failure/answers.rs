//! Failures by which the collector answered.

use http::header::LOCATION;
use http::{HeaderMap, StatusCode, Uri};

use super::context::{Context, compression, correct_the_port, other_port};
use super::describe::{Description, Group, PERMANENT};
use super::kind::{FailureKind, Side};
use crate::config::{Origin, Sourced, Variable, shown_path};
use crate::text::{named, printable, utc};

impl FailureKind {
    /// The failure for a redirect ([RFC 9110, section
    /// 15.4](https://www.rfc-editor.org/rfc/rfc9110#section-15.4)); `None` for any other answer.
    pub(crate) fn redirect(status: StatusCode, headers: &HeaderMap) -> Option<Self> {
        let is_redirect = matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308);
        let location = headers.get(LOCATION).and_then(|location| location.to_str().ok());
        let status = status.as_u16();
        is_redirect.then(|| Self::Redirect { status, location: location.and_then(place) })
    }
}

/// The target of a `Location` header, without what may be secret, because a server may echo there
/// what we sent: user information, the query, and the path except for what OTLP itself appends.
fn place(location: &str) -> Option<String> {
    let uri: Uri = location.parse().ok()?;
    let path = shown_path(uri.path());
    Some(match (uri.scheme(), uri.authority()) {
        (Some(scheme), Some(authority)) => {
            let port = authority.port().map(|port| format!(":{port}")).unwrap_or_default();
            printable(&format!("{scheme}://{}{port}{path}", authority.host()))
        }
        _ => path,
    })
}

pub(super) fn not_grpc<'a>(status: u16) -> Description<'a> {
    Description::new("not_grpc", Group::Other, PERMANENT, move |_| {
        format!(
            "the server refused us: it does not speak gRPC, but answered with HTTP status \
             {status}"
        )
    })
    .refused_by(Side::Server)
    .remedy(|context| correct_the_port(context, "http/protobuf"))
}

pub(super) fn server_speaks_grpc<'a>() -> Description<'a> {
    Description::new("only_grpc", Group::Other, PERMANENT, |_| {
        "we refused the server: it speaks gRPC, not HTTP".to_owned()
    })
    .refused_by(Side::Us)
    .remedy(|context| correct_the_port(context, "grpc"))
}

pub(super) fn too_large<'a>(bytes: usize, uncompressed: Option<usize>) -> Description<'a> {
    Description::new("too_large", Group::Other, PERMANENT, move |context| {
        let item = context.settings.signal.item();
        let plain =
            uncompressed.map(|plain| format!(" ({plain} before compression)")).unwrap_or_default();
        format!(
            "the collector refused a single {item} as too large, in a request of {bytes} \
             bytes{plain}"
        )
    })
    .refused_by(Side::Server)
    .remedy(|context| {
        let item = context.settings.signal.item();
        let setting = match context.is_grpc() {
            true => {
                "`max_recv_msg_size_mib` (4 by default, after decompression) of the collector's \
                 gRPC receiver"
            }
            false => {
                "`max_request_body_size` of the collector's HTTP receiver, or of a proxy before \
                 it"
            }
        };
        format!("record less in one {item}, or raise {setting}")
    })
}

pub(super) fn grpc<'a>(code: &'static str, number: i32, message: &'a str) -> Description<'a> {
    let described = Description::new(code, Group::Other, PERMANENT, move |_| {
        because(format!("the collector answered with gRPC status {number} ({code})"), message)
    })
    .refused_by(Side::Server);
    match code {
        "UNAUTHENTICATED" => described.remedy(unknown),
        "PERMISSION_DENIED" => described.fact(forbidden_identity).remedy(forbidden),
        "UNIMPLEMENTED" => described
            .remedy(|Context { settings, endpoint, .. }| {
                format!(
                    "put the collector's OTLP receiver into a pipeline for {}, or correct \
                     {endpoint}",
                    settings.signal
                )
            })
            .remedy(compression)
            .remedy(other_port),
        "UNAVAILABLE" => described.remedy(overloaded),
        "INTERNAL" => described.remedy(see_the_log(message)).remedy(compression).remedy(other_port),
        "UNKNOWN" => described.remedy(see_the_log(message)).remedy(other_port),
        _ => described.remedy(see_the_log(message)),
    }
}

pub(super) fn redirect(status: u16, location: Option<&str>) -> Description<'_> {
    let place = location.unwrap_or("an unknown target");
    let what = if location.is_some() { "use the target in" } else { "correct" };
    Description::new("redirect", Group::Other, PERMANENT, move |_| {
        format!("the collector answered with HTTP status {status}, a redirect to {place}")
    })
    .refused_by(Side::Server)
    .remedy(move |Context { endpoint, .. }| {
        format!("redirects are not followed: {what} {endpoint}")
    })
    .remedy(other_port)
}

pub(super) fn http(status: u16, message: &str) -> Description<'_> {
    let name = match status {
        401 => "http_401",
        403 => "http_403",
        404 => "http_404",
        429 => "http_429",
        400..500 => "http_4xx",
        500..600 => "http_5xx",
        _ => "http",
    };
    let described = Description::new(name, Group::Other, PERMANENT, move |_| {
        because(format!("the collector answered with HTTP status {status}"), message)
    })
    .refused_by(Side::Server);
    let described = match status {
        401 => described.remedy(unknown),
        403 => described.fact(forbidden_identity).remedy(forbidden),
        404 => described.remedy(correct_the_path),
        415 => described.remedy(|context| {
            format!(
                "set {} to a protocol that the collector accepts, for instance \
                     `http/protobuf`",
                context.protocol
            )
        }),
        429 | 502..=504 => described.remedy(overloaded),
        _ => described.remedy(see_the_log(message)),
    };
    match status {
        400 | 415 => described.remedy(compression).remedy(other_port),
        404..=428 | 500..=599 => described.remedy(other_port),
        _ => described,
    }
}

pub(super) fn rejected(items: u64, message: &str) -> Description<'_> {
    Description::new("rejected", Group::Accepted, PERMANENT, move |context| {
        let of = context.settings.signal.items();
        because(
            format!("the collector accepted the batch, but rejected {items} of its {of}"),
            message,
        )
    })
    .refused_by(Side::Server)
    .remedy(see_the_log(message))
}

pub(super) fn warning(message: &str) -> Description<'_> {
    Description::new("warning", Group::Accepted, PERMANENT, move |_| {
        because("the collector accepted the batch, with a warning".to_owned(), message)
    })
}

pub(super) fn unread_answer(reason: &str) -> Description<'_> {
    Description::new("unread_answer", Group::Accepted, PERMANENT, move |_| {
        format!("the collector accepted the batch, but its answer {reason}")
    })
    .remedy(|Context { endpoint, .. }| format!("check what listens at {endpoint}"))
}

pub(super) fn invalid_response(reason: &str) -> Description<'_> {
    Description::new("answer", Group::Other, PERMANENT, move |_| {
        format!("the collector's answer {reason}")
    })
    .refused_by(Side::Us)
    .remedy(|Context { endpoint, .. }| format!("check what listens at {endpoint}"))
    .remedy(other_port)
}

/// Appends the collector's reason, if it gave one.
fn because(cause: String, message: &str) -> String {
    if message.is_empty() { cause } else { format!("{cause}: {message}") }
}

/// The remedy if the collector gave no reason.
fn see_the_log(message: &str) -> impl Fn(&Context<'_>) -> String {
    let remedy = if message.is_empty() { "see the collector's log for the reason" } else { "" };
    |_| remedy.to_owned()
}

fn overloaded(_: &Context<'_>) -> String {
    "check whether the collector is down or overloaded; the answer may be from a load balancer \
     before it"
        .to_owned()
}

/// The remedy if the collector could not authenticate us.
fn unknown(context: &Context<'_>) -> String {
    match token(context) {
        Some(file) => format!(
            "put a token that the collector accepts into {file}; the next export reads it again"
        ),
        None => credentials(context),
    }
}

/// The remedy if the collector authenticated us but does not authorise us.
fn forbidden(context: &Context<'_>) -> String {
    match (context.only_identity(), token(context)) {
        (Some(leaf), _) => format!(
            "no headers are set, so the collector knows us only by our client certificate: \
             authorise {} there, or put another certificate into {}",
            named(&leaf.subject),
            context.identity()
        ),
        (None, Some(file)) => {
            format!("give the token in {file} the permissions that it needs at the collector")
        }
        (None, None) => credentials(context),
    }
}

/// The bearer token's file.
fn token(context: &Context<'_>) -> Option<String> {
    let Sourced { value, origin } = &context.settings.token.as_ref()?.file;
    let read = context.token_read.map(|read| format!(", last read at {}", utc(read)));
    Some(format!("{} ({origin}{})", value.display(), read.unwrap_or_default()))
}

fn credentials(context: &Context<'_>) -> String {
    let headers = &context.settings.headers.origin;
    let expiring = match headers {
        Origin::Builder("with_header_provider") => "",
        _ => "; for tokens that expire, use with_bearer_token_file() or with_header_provider()",
    };
    format!(
        "correct the credentials in {}, or their permissions at the collector{expiring}",
        context.settings.set_by(headers, Variable::Headers)
    )
}

fn forbidden_identity(context: &Context<'_>) -> String {
    let ours = |leaf| format!("ours: {leaf}, in {}", context.identity());
    context.only_identity().map(ours).unwrap_or_default()
}

fn correct_the_path(context: &Context<'_>) -> String {
    let (signal, shown) = (context.settings.signal, context.settings.endpoint.shown_path());
    let path = format!("correct the path in {}: the request was for `{shown}`", context.endpoint);
    match context.settings.config_file {
        Some(_) => format!("{path}, and the endpoint is used as is"),
        None => format!(
            "{path}; {} is used as is, and `/{}` is appended to the generic variable",
            Variable::Endpoint.name(Some(signal)),
            signal.http_path(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_targets_of_redirects() {
        for (location, expected) in [
            ("https://new.example/v1/traces", Some("https://new.example/v1/traces")),
            (
                "https://u:secret@new.example:4318/v1/logs?k=secret",
                Some("https://new.example:4318/v1/logs"),
            ),
            ("https://new.example/secret/v1/traces", Some("https://new.example/…/v1/traces")),
            ("https://[::1]:4318/secret#secret", Some("https://[::1]:4318/…")),
            ("/login?next=secret", Some("/…")),
            ("https://bad host/", None),
        ] {
            let headers = HeaderMap::from_iter([(LOCATION, location.parse().unwrap())]);
            for (status, is_redirect) in [(308, true), (302, true), (304, false), (200, false)] {
                let status = StatusCode::from_u16(status).unwrap();
                match FailureKind::redirect(status, &headers) {
                    Some(FailureKind::Redirect { location: found, .. }) => {
                        assert_eq!((is_redirect, found.as_deref()), (true, expected), "{location}");
                    }
                    other => assert!(!is_redirect && other.is_none(), "{status}: {other:?}"),
                }
            }
        }
    }
}
