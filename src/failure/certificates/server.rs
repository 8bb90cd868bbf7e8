//! We rejected the server's certificate.

use std::net::IpAddr;

use rustls::{CertificateError, OtherError};

use super::fault::Fault;
use crate::failure::context::{Context, clock, expected, trusted};
use crate::failure::describe::{Description, Group, PERMANENT};
use crate::failure::handshake::short;
use crate::failure::kind::{Cure, ServerCertificate, ServerCertificateProblem as Problem, Side};
use crate::text::{list, named, printable, utc};
use crate::tls::{CertificateFacts, IssuerPlace, OtherSpiffeId};

pub(in crate::failure) fn server(refused: &ServerCertificate) -> Description<'_> {
    let mut described =
        described(refused).refused_by(Side::Us).cure(Cure::TrustAnchors).source(&refused.source);
    // A fault is more specific than a problem.
    if let Some(fault) = &refused.fault {
        described.remedies = vec![Box::new(|context| fault.words(context).1)];
    }
    described
}

fn described(refused: &ServerCertificate) -> Description<'_> {
    let ServerCertificate { problem, chain, source, fault } = refused;
    // The issuer that the server did not present, because each certificate is issued by the next.
    // The chain is empty if a verifier other than ours was used.
    let issuer = chain.last().map_or("its CA", |last| named(&last.issuer));
    let trust_the_issuer = move |context: &Context<'_>| {
        verified(chain, &format!("put the certificate of {issuer} into {}", context.ca()))
    };
    let other =
        |name, what: &'static str| of(name, refused, |_| what.to_owned()).remedy(issue_another);
    match problem {
        Problem::UnknownIssuer => {
            of("server_certificate_unknown_issuer", refused, move |_| match chain.is_empty() {
                true => "it was not issued by a trusted CA".to_owned(),
                false => format!("it was issued by {issuer}, which is not a trusted CA"),
            })
            .fact(trusted)
            .remedy(move |context| match chain.as_slice() {
                [_] => format!(
                    "{}; if that is an intermediate, configure the server to send it after its own \
                     certificate",
                    trust_the_issuer(context)
                ),
                _ => trust_the_issuer(context),
            })
        }
        Problem::SelfSigned => of("server_certificate_self_signed", refused, |_| {
            "it is self-signed, and not a trusted certificate".to_owned()
        })
        .fact(trusted)
        .remedy(move |context| {
            let ca = context.ca();
            verified(chain, &format!("put that certificate, or preferably a CA's, into {ca}"))
        }),
        Problem::CaUsedAsEndEntity => of("server_certificate_is_a_ca", refused, |_| {
            "it is a CA certificate, which a server must not use as its own".to_owned()
        })
        .remedy(|context| {
            let ca = context.ca();
            format!("issue a certificate for the server from that CA, and keep the CA's in {ca}")
        }),
        Problem::WrongName => of("server_certificate_wrong_name", refused, move |context| {
            format!("it is for {}, not for {}", names(refused), context.server_name())
        })
        .fact(expected)
        .remedy(|context| {
            let (setting, name) = (context.name_setting(), context.server_name());
            format!("use one of its names in {setting}, or issue it for {name}")
        }),
        Problem::WrongSpiffeId => {
            other("server_certificate_wrong_spiffe_id", "it does not have the expected SPIFFE ID")
                .fact(move |_| match fault {
                    Some(Fault::SpiffeId(OtherSpiffeId { expected, .. })) => {
                        format!("expected: {expected}, by with_server_spiffe_id()")
                    }
                    _ => String::new(),
                })
        }
        Problem::NoName => of("server_certificate_without_name", refused, |context| {
            let name = context.server_name();
            format!("it has no subject alternative name, so it is not for {name}")
        })
        .fact(expected)
        .remedy(issue_with_name),
        Problem::NoIpAddress => {
            of("server_certificate_without_ip_address", refused, move |context| {
                let (names, address) = (names(refused), context.server_name());
                format!("it is for {names}, not for the IP address {address}")
            })
            .fact(expected)
            .remedy(|context| {
                format!(
                    "use one of its names in {}, or issue it with subjectAltName=IP:{}",
                    context.name_setting(),
                    context.server_name()
                )
            })
        }
        Problem::Expired => of("server_certificate_expired", refused, move |context| {
            match first(chain, |it| it.expired(context.now)) {
                Some((subject, not_after)) => format!("{subject} expired at {}", utc(not_after)),
                None => "it has expired".to_owned(),
            }
        })
        .fact(clock)
        .remedy(|Context { endpoint, .. }| {
            format!("renew it at the server in {endpoint}, and reload that server")
        }),
        Problem::NotYetValid => of("server_certificate_not_yet_valid", refused, move |context| {
            match first(chain, |it| it.not_yet_valid(context.now)) {
                Some((subject, not_before)) => {
                    format!("{subject} is not valid before {}", utc(not_before))
                }
                None => "it is not yet valid".to_owned(),
            }
        })
        .fact(clock)
        .remedy(|Context { endpoint, .. }| {
            format!("correct the clock, here or where the certificate for {endpoint} was issued")
        }),
        Problem::Version1 => of("server_certificate_version_1", refused, |_| {
            "it is an X.509 certificate of version 1, which cannot hold a subject alternative name"
                .to_owned()
        })
        .fact(|context| if fault.is_none() { expected(context) } else { String::new() })
        .remedy(issue_with_name),
        Problem::WrongUsage => {
            let unfit = first(chain, |it| is_unfit(it).then_some(&it.usages));
            of("server_certificate_wrong_usage", refused, move |_| match unfit {
                Some((subject, usages)) => {
                    format!("{subject} is not for servers, but for {}", list(usages))
                }
                None => "it is not for servers".to_owned(),
            })
            .remedy(move |Context { endpoint, .. }| {
                match chain.iter().position(is_unfit) {
                    Some(1..) => {
                        "reissue that intermediate with extendedKeyUsage=serverAuth or without \
                         extendedKeyUsage, or issue the server's certificate from another CA"
                            .to_owned()
                    }
                    _ => format!(
                        "issue the server that {endpoint} names a certificate with \
                     extendedKeyUsage=serverAuth"
                    ),
                }
            })
        }
        Problem::BadSignature => of("server_certificate_bad_signature", refused, move |_| {
            format!(
                "its signature does not match the trusted CA {issuer}: it was issued by another CA \
                 of that name"
            )
        })
        .fact(trusted)
        .remedy(trust_the_issuer),
        Problem::KeySize => {
            other("server_certificate_key_size", "a key of its chain is too short or too long")
        }
        Problem::Algorithm => {
            other("server_certificate_algorithm", "its chain has an algorithm that is not accepted")
        }
        Problem::KeyMismatch => {
            other("server_certificate_key_mismatch", "the server does not have its private key")
        }
        Problem::NameConstraint => other(
            "server_certificate_name_constraint",
            "it violates the name constraints of a CA of its chain",
        ),
        Problem::PathLength => other(
            "server_certificate_path_length",
            "its chain is longer than a CA of it permits (pathLenConstraint)",
        ),
        Problem::CriticalExtension => other(
            "server_certificate_critical_extension",
            "its chain has a critical extension that rustls does not support",
        ),
        Problem::TooLong => other(
            "server_certificate_chain_too_long",
            "its chain has more intermediates than the 6 that rustls follows",
        ),
        Problem::IssuerIsNoCa => other(
            "server_certificate_issuer_is_no_ca",
            "a certificate of its chain was issued by one that is not a CA's",
        ),
        Problem::ExpiredCa => {
            other("server_certificate_ca_expired", "a CA of its chain has expired").fact(clock)
        }
        Problem::NotYetValidCa => {
            other("server_certificate_ca_not_yet_valid", "a CA of its chain is not valid yet")
                .fact(clock)
        }
        Problem::UnfitCa => {
            other("server_certificate_ca_unfit", "a CA of its chain must not issue it")
        }
        Problem::Revoked => other("server_certificate_revoked", "it is revoked"),
        Problem::Other => of("server_certificate", refused, move |_| match source {
            rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(error))) => {
                printable(&error.to_string())
            }
            source => printable(&short(source)),
        })
        .remedy(issue_another),
    }
}

/// A description with the facts that all these failures have.
fn of<'a>(
    name: &'static str,
    refused: &'a ServerCertificate,
    what: impl Fn(&Context<'_>) -> String + 'a,
) -> Description<'a> {
    let (leaf, fault) = (refused.chain.first(), refused.fault.as_ref());
    let described = Description::new(name, Group::Tls, PERMANENT, move |context| {
        let what = fault.map_or_else(|| what(context), |fault| fault.words(context).0);
        format!("we refused the server's certificate: {what}")
    })
    .fact(move |_| leaf.map(|leaf| format!("server: {leaf}")).unwrap_or_default());
    let Some(Fault::Issuer { certificate, place, .. }) = fault else {
        return described;
    };
    described.fact(move |context| {
        let place = match place {
            IssuerPlace::Named => context.ca(),
            IssuerPlace::Platform => "the platform's roots".to_owned(),
            IssuerPlace::Presented => "the server's chain".to_owned(),
        };
        format!("issuer: {certificate}, in {place}")
    })
}

/// The names of a certificate that lacks the expected one.
fn names(refused: &ServerCertificate) -> String {
    use CertificateError::NotValidForNameContext;
    match (refused.chain.first(), &refused.source) {
        (Some(leaf), _) => list(&leaf.names),
        (None, rustls::Error::InvalidCertificate(NotValidForNameContext { presented, .. })) => {
            list(presented)
        }
        (None, _) => "another name".to_owned(),
    }
}

/// The subject of the first certificate for which `has` returns a value, and the value. It may be an
/// intermediate.
fn first<'a, T>(
    chain: &'a [CertificateFacts],
    has: impl Fn(&'a CertificateFacts) -> Option<T>,
) -> Option<(&'a str, T)> {
    chain.iter().find_map(|facts| Some((named(&facts.subject), has(facts)?)))
}

/// Asks to compare the fingerprint first: a certificate copied from an unverified connection may be
/// an attacker's.
fn verified(chain: &[CertificateFacts], what: &str) -> String {
    match chain.first() {
        Some(leaf) if !leaf.fingerprint.is_empty() => format!(
            "verify at the server that its certificate has the SHA-256 {} (`openssl x509 -in \
             FILE -outform DER | sha256sum`), then {what}",
            leaf.fingerprint
        ),
        _ => what.to_owned(),
    }
}

fn issue_with_name(context: &Context<'_>) -> String {
    let name = context.server_name();
    format!(
        "reissue it with `openssl x509 -req … -extfile <(printf \"subjectAltName={}:{name}\")`",
        name_type(&name)
    )
}

fn issue_another(Context { endpoint, .. }: &Context<'_>) -> String {
    format!("issue the server that {endpoint} names another certificate")
}

/// The type of a name, as OpenSSL's configuration writes it.
pub(super) fn name_type(host: &str) -> &'static str {
    match host.parse::<IpAddr>() {
        Ok(_) => "IP",
        Err(_name) => "DNS",
    }
}

/// Whether a server's certificate, or its issuer's, lacks serverAuth in its extendedKeyUsage.
fn is_unfit(facts: &CertificateFacts) -> bool {
    !facts.usages.is_empty() && !facts.usages.iter().any(|usage| usage == "serverAuth")
}
