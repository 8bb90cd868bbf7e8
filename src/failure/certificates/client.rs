//! The server rejected our client certificate, or required one that we do not have.

use crate::config::Variable;
use crate::failure::context::{Context, clock};
use crate::failure::describe::{Description, Group};
use crate::failure::handshake::alert_words;
use crate::failure::kind::{ClientCertificateProblem as Problem, Cure, RejectedVia, Side};
use crate::text::{list, named, utc};
use crate::tls::CertificateFacts;

/// How the server refused it.
#[derive(Clone, Copy)]
struct Refused<'a> {
    problem: Problem,
    said: RejectedVia,
    acceptable: &'a [String],
}

pub(in crate::failure) fn client(
    problem: Problem,
    said: RejectedVia,
    acceptable: &[String],
) -> Description<'_> {
    let refused = Refused { problem, said, acceptable };
    let is_unsaid = said == RejectedVia::Nothing;
    let see_the_log = |context: &Context<'_>| {
        let ours = context.identity();
        format!(
            "see the server's log for the reason; then issue another one, and put it into {ours}"
        )
    };
    let described = match problem {
        Problem::Required => refused
            .described("client_certificate_required", move |_| match is_unsaid {
                true => "it closed the connection after it asked for a client certificate, and we \
                     have none"
                    .to_owned(),
                false => "it requires a client certificate, and we have none".to_owned(),
            })
            .remedy(|context| match context.brought_along() {
                Some(place) => format!("put a client certificate and its key into {place}"),
                None => format!(
                    "set {} and {}, or with_client_identity()",
                    context.settings.named(Variable::ClientCertificate),
                    context.settings.named(Variable::ClientKey),
                ),
            }),
        Problem::UnknownIssuer => refused
            .described("client_certificate_unknown_issuer", move |context| {
                let issuer = issuer(context);
                match is_acceptable(context.chain(), acceptable) {
                    true => format!("it does not know the CA of our client certificate, {issuer}"),
                    false => format!(
                        "it accepts client certificates issued by {}, and ours was issued by \
                         {issuer}",
                        list(acceptable)
                    ),
                }
            })
            .remedy(|context| {
                format!(
                    "add the certificate of {} to the server's client CAs (`client_ca_file` of the \
                     Collector), or put a certificate that such a CA issued into {}, followed by \
                     its intermediates",
                    issuer(context),
                    context.identity()
                )
            }),
        Problem::Expired => refused
            .described("client_certificate_expired", |context| {
                match context.chain().first().and_then(|leaf| leaf.expired(context.now)) {
                    Some(not_after) => {
                        format!("our client certificate expired at {}", utc(not_after))
                    }
                    None => "our client certificate has expired, by its clock".to_owned(),
                }
            })
            .fact(clock)
            .remedy(|context| format!("renew it in {}{}", context.identity(), context.taken_up())),
        Problem::NotYetValid => refused
            .described("client_certificate_not_yet_valid", |context| {
                match context.chain().first().and_then(|leaf| leaf.not_before) {
                    Some(not_before) => {
                        format!("our client certificate is not valid before {}", utc(not_before))
                    }
                    None => "our client certificate is not yet valid".to_owned(),
                }
            })
            .fact(clock)
            .remedy(|context| {
                format!(
                    "correct the clock, here or at the server, or put one that is valid now into \
                     {}",
                    context.identity()
                )
            }),
        Problem::Revoked => refused
            .described("client_certificate_revoked", |_| {
                "our client certificate is revoked".to_owned()
            })
            .remedy(|context| format!("issue another one, and put it into {}", context.identity())),
        Problem::WrongUsage => refused
            .described("client_certificate_wrong_usage", |context| {
                let usages = context.chain().first().map(|leaf| list(&leaf.usages));
                format!(
                    "our client certificate is for {}, not for clients",
                    usages.unwrap_or_default()
                )
            })
            .remedy(|context| {
                let ours = context.identity();
                format!("issue it with extendedKeyUsage=clientAuth, and put it into {ours}")
            }),
        Problem::Unsupported => refused
            .described("client_certificate_unsupported", |_| {
                "it does not accept our kind of client certificate".to_owned()
            })
            .remedy(see_the_log),
        Problem::Unexplained => refused
            .described("client_certificate_refused", move |_| match is_unsaid {
                true => "the server asked for a client certificate and then closed the connection \
                     without an alert; it may have rejected ours"
                    .to_owned(),
                false => "it does not accept our client certificate".to_owned(),
            })
            .remedy(move |context| match is_unsaid {
                true => {
                    "see the server's log for the reason, and check whether ours was issued by \
                         one of its client CAs (`client_ca_file` of the Collector)"
                        .to_owned()
                }
                false => see_the_log(context),
            }),
    };
    described.remedy(move |context| match refused.only(context) {
        Some(_) => "it must be issued by one of those CAs".to_owned(),
        None => String::new(),
    })
}

impl<'a> Refused<'a> {
    /// A description with what all these failures have in common.
    fn described(
        self,
        name: &'static str,
        what: impl Fn(&Context<'_>) -> String + 'a,
    ) -> Description<'a> {
        let Self { problem, said, acceptable } = self;
        // Not permanent without an alert: a server that is shutting down also closes connections.
        Description::new(name, Group::Tls, said != RejectedVia::Nothing, move |context| {
            let only = self.only(context);
            let only =
                only.map(|issuers| format!(", and it accepts only those issued by {issuers}"));
            let what = format!("{}{}", what(context), only.unwrap_or_default());
            match (problem, said) {
                (Problem::Unexplained, RejectedVia::Nothing) => what,
                (Problem::UnknownIssuer, RejectedVia::Nothing) => {
                    format!("the server closed the connection without an alert: {what}")
                }
                (_, RejectedVia::Nothing) => {
                    format!("the server refused us: {what} (without a TLS alert)")
                }
                (_, RejectedVia::Page) => {
                    format!("the server refused us: {what} (by an HTTP page)")
                }
                (_, RejectedVia::Alert(alert)) => {
                    format!("the server refused us: {what} ({})", alert_words(alert))
                }
            }
        })
        .refused_by(Side::Server)
        .cure(Cure::Identity)
        .fact(|context| {
            let ours = |leaf| format!("ours: {leaf}, in {}", context.identity());
            context.chain().first().map(ours).unwrap_or_default()
        })
        // If ours is not acceptable, the first line already lists these issuers.
        .fact(move |context| {
            match is_acceptable(context.chain(), acceptable) && !acceptable.is_empty() {
                true => format!("the server accepts: certificates issued by {}", list(acceptable)),
                false => String::new(),
            }
        })
    }

    /// The issuers that the server accepts, if ours is not one of them and another problem comes
    /// first.
    fn only(&self, context: &Context<'_>) -> Option<String> {
        let is_one = is_acceptable(context.chain(), self.acceptable);
        (self.problem != Problem::UnknownIssuer && !is_one).then(|| list(self.acceptable))
    }
}

fn issuer<'a>(context: &'a Context<'_>) -> &'a str {
    context.chain().first().map_or("its CA", |leaf| named(&leaf.issuer))
}

/// Whether a server that accepts these issuers may accept this chain. True if the server names no
/// issuers, as many do, or if the chain is unknown.
pub(in crate::failure) fn is_acceptable(chain: &[CertificateFacts], issuers: &[String]) -> bool {
    let is_one = |certificate: &CertificateFacts| issuers.contains(&certificate.issuer);
    chain.is_empty() || issuers.is_empty() || chain.iter().any(is_one)
}
