//! Failures during the HTTP exchange, before there is an answer.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use super::context::{PORTS, correct_the_port, other_port, speak_tls};
use super::describe::{Description, Group, PERMANENT, TRANSIENT};
use super::kind::{Cure, FailureKind, Side};
use crate::config::{Origin, Variable};
use crate::text::printable;

impl FailureKind {
    /// The failure for a task of ours that did not finish.
    pub(crate) fn lost(task: &tokio::task::JoinError) -> Self {
        if task.is_panic() { Self::Panicked } else { Self::Runtime }
    }
}

pub(super) fn closed(source: &Arc<dyn StdError + Send + Sync>) -> Description<'_> {
    Description::new("closed", Group::Other, PERMANENT, |_| {
        "the server closed the connection before it sent anything".to_owned()
    })
    .source(source)
    .remedy(|context| {
        // `check()` cannot detect TLS on a Unix domain socket.
        let check = match context.is_socket() {
            true => "",
            false => " which Exporters::check() can detect,",
        };
        format!("if the server expects TLS,{check} {}", speak_tls(context))
    })
    .remedy(other_port)
}

pub(super) fn connection(
    was_silent: bool,
    source: &Arc<dyn StdError + Send + Sync>,
) -> Description<'_> {
    let before = if was_silent { "the server sent anything" } else { "there was an answer" };
    Description::new("connection", Group::Other, TRANSIENT, move |_| {
        format!("the connection broke before {before}")
    })
    // Some servers reject a certificate without an alert: they just close the connection.
    .cure(Cure::Identity)
    .source(source)
    .fact(move |_| format!("cause: {source}"))
    .remedy(move |context| match was_silent && !context.settings.endpoint.secure {
        true => format!("if the server expects TLS, {}", speak_tls(context)),
        false => format!(
            "if it repeats, see the logs of the server and of any proxy before it, and check the \
             port ({PORTS})"
        ),
    })
    .remedy(other_port)
}

pub(super) fn silent<'a>(after: Duration) -> Description<'a> {
    Description::new("silent", Group::Other, TRANSIENT, move |_| {
        format!("the network path to the server is dead: nothing arrived for {after:?}")
    })
    .timeout()
    .remedy(|_| {
        "check for a firewall, NAT or load balancer on the path that drops idle connections"
            .to_owned()
    })
}

pub(super) fn http2(error: &str, code: u32, is_connection: bool) -> Description<'_> {
    use h2::Reason;
    let (reason, what) = (Reason::from(code), if is_connection { "connection" } else { "request" });
    let is_permanent = [Reason::HTTP_1_1_REQUIRED, Reason::INADEQUATE_SECURITY].contains(&reason);
    Description::new("http2_error", Group::Other, is_permanent, move |_| {
        format!("the server ended the {what} with HTTP/2 error {code} ({error})")
    })
    .refused_by(Side::Server)
    .remedy(move |context| match reason {
        Reason::HTTP_1_1_REQUIRED => correct_the_port(context, "http/protobuf"),
        _ => "see the logs of the server and of any proxy before it".to_owned(),
    })
}

pub(super) fn deadline<'a>(after: Duration) -> Description<'a> {
    Description::new("deadline", Group::Other, PERMANENT, move |_| {
        format!("no answer within {after:?}")
    })
    .timeout()
    .remedy(|context| {
        let timeout = &context.settings.timeout.origin;
        let unit = match timeout {
            Origin::Builder(_) => "",
            _ => " (in milliseconds)",
        };
        let setting = context.settings.set_by(timeout, Variable::Timeout);
        format!("check whether the collector is overloaded, or raise {setting}{unit}")
    })
    .remedy(other_port)
}

pub(super) fn shutdown<'a>() -> Description<'a> {
    Description::new("shutdown", Group::Other, PERMANENT, |_| {
        "the shutdown left no time for it".to_owned()
    })
    .remedy(|_| "give shutdown() more time, or check why the collector is slow".to_owned())
}

pub(super) fn over_request_limit<'a>(bytes: usize, limit: usize) -> Description<'a> {
    Description::new("over_request_limit", Group::Other, PERMANENT, move |context| {
        let item = context.settings.signal.item();
        format!("a request with a single {item} has {bytes} bytes, but only {limit} are allowed")
    })
    .remedy(|context| {
        let item = context.settings.signal.item();
        let key = match context.settings.config_file {
            Some(_) => "max_request_size or ",
            None => "",
        };
        format!("record less in one {item}, or raise the limit by {key}with_max_request_size()")
    })
}

pub(super) fn header_provider(source: &Arc<dyn StdError + Send + Sync>) -> Description<'_> {
    Description::new("header_provider", Group::Other, TRANSIENT, move |_| {
        format!("the header provider failed: {}", printable(&source.to_string()))
    })
    .source(source)
}

pub(super) fn runtime<'a>() -> Description<'a> {
    Description::new("runtime", Group::Other, PERMANENT, |_| "the I/O runtime has ended".to_owned())
}

pub(super) fn panicked<'a>() -> Description<'a> {
    Description::new("panicked", Group::Other, PERMANENT, |_| "this crate panicked".to_owned())
        .remedy(|_| "report it, with what the process wrote to standard error".to_owned())
}

pub(super) fn forked<'a>() -> Description<'a> {
    Description::new("forked", Group::Other, PERMANENT, |_| {
        "the exporter was created before this process was forked, and its I/O thread did not \
         survive the fork"
            .to_owned()
    })
    .remedy(|_| "call init() or create the exporters in the child".to_owned())
}
