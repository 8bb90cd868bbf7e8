//! A server's chain that is refused for one of its certificates.

use std::net::IpAddr;

use super::Context;
use crate::failure::fault::{Fault, Holder, Rule};
use crate::text::{list, named, utc};
use crate::tls::{GeneralName, IssuerPlace, IssuerProblem, OtherSpiffeId, SpiffeProblem};

impl Context<'_> {
    /// What is wrong with the server's certificate.
    pub(super) fn fault(&self, fault: &Fault) -> String {
        let host = self.server_name();
        match fault {
            Fault::KeySize { of, bits } => format!(
                "the RSA key of {} has {bits} bits, and 2048 to 8192 are accepted",
                named(&of.subject)
            ),
            Fault::Signature { of, algorithm } => format!(
                "{} is signed by {algorithm}, which is not accepted",
                subject(of.as_ref(), "a certificate of its chain")
            ),
            Fault::Key { of, algorithm } => format!(
                "the key of {} is of the type {algorithm}, which is not accepted",
                subject(of.as_ref(), "its issuer")
            ),
            Fault::NotItsKey => {
                "the server does not have the private key that belongs to it".to_owned()
            }
            Fault::NameEncoding { issuer } => format!(
                "it was issued by {issuer}, and the trusted CA of that name has it in another \
                 encoding; names are compared byte for byte"
            ),
            Fault::AddressAsDnsName => {
                format!("it has {host} as a DNS name, and not as an IP address")
            }
            Fault::NoHostName { names } => {
                let shown: Vec<String> =
                    names.iter().map(|name| format!("the {} {name}", name.form())).collect();
                let spiffe = match names.iter().any(is_spiffe_id) {
                    true => " (a SPIFFE ID is not a host name)",
                    false => "",
                };
                format!("it has no host name, only {}{spiffe}", list(&shown))
            }
            Fault::SpiffeId(OtherSpiffeId { expected, problem }) => {
                let of = if expected.is_trust_domain() { "of the trust domain " } else { "" };
                match problem {
                    SpiffeProblem::IsSigner => format!(
                        "it may sign certificates or lists of revoked ones, which the certificate of {expected} must not"
                    ),
                    SpiffeProblem::Uris(uris) => match uris.as_slice() {
                        [] => format!("it has no SPIFFE ID, and so is not {of}{expected}"),
                        [uri] => format!("it is {uri}, and not {of}{expected}"),
                        uris => format!(
                            "it has {} URIs ({}), and so is not {of}{expected}: a SPIFFE ID is the only one",
                            uris.len(),
                            list(uris)
                        ),
                    },
                }
            }
            Fault::NameConstraint { ca, name, rule } => {
                let ca = named(&ca.subject);
                match rule {
                    Rule::Permits(names) => format!(
                        "{ca} may only issue for {} (nameConstraints), and not for {name}",
                        list(names)
                    ),
                    Rule::Excludes(names) if names == name => {
                        format!("{ca} must not issue for {names} (nameConstraints)")
                    }
                    Rule::Excludes(names) => format!(
                        "{ca} must not issue for {names} (nameConstraints), so not for {name}"
                    ),
                    Rule::Unread(form) => format!(
                        "{ca} has name constraints of the form {form}, which rustls does not \
                         evaluate: it refuses every {form}, here {}",
                        named(name)
                    ),
                }
            }
            Fault::PathLength { ca, permitted, following } => format!(
                "{} permits {permitted} CAs below it (pathLenConstraint), and the chain has \
                 {following}",
                named(&ca.subject)
            ),
            Fault::Version { of, version } => format!(
                "{} is an X.509 certificate of version {version}, which is not accepted for an \
                 intermediate",
                named(&of.subject)
            ),
            Fault::CriticalExtension { of, extension } => format!(
                "{} has the critical extension {extension}, which rustls does not support",
                named(&of.subject)
            ),
            Fault::TooLong { intermediates, .. } => {
                format!("its chain has {intermediates} intermediates, and rustls follows at most 6")
            }
            Fault::NotACa { issuer } => format!(
                "{} issued a certificate of the chain, and is not a CA (basicConstraints without \
                 CA:TRUE)",
                named(&issuer.subject)
            ),
            Fault::Issuer { certificate, problem, .. } => {
                let dates = (certificate.not_before, certificate.not_after);
                let problem = match (problem, dates) {
                    (IssuerProblem::Expired, (_, Some(not_after))) => {
                        format!("expired at {}", utc(not_after))
                    }
                    (IssuerProblem::NotYetValid, (Some(not_before), _)) => {
                        format!("is valid from {} on", utc(not_before))
                    }
                    (problem, _) => problem.to_string(),
                };
                format!("its chain leads to {}, which {problem}", named(&certificate.subject))
            }
        }
    }

    /// Where the certificate of a refused issuer is.
    pub(super) fn issuer_place(&self, place: IssuerPlace) -> String {
        match place {
            IssuerPlace::Named => self.ca(),
            IssuerPlace::Platform => "the platform's roots".to_owned(),
            IssuerPlace::Presented => "the server's chain".to_owned(),
        }
    }

    pub(super) fn fault_remedy(&self, fault: &Fault) -> String {
        let server = format!("the server that {} names", self.endpoint());
        let host = self.server_name();
        match fault {
            Fault::KeySize { of, .. } => format!(
                "{} with an RSA key of 2048 bits or more, or a P-256 key",
                self.again(of, &server)
            ),
            Fault::Signature { algorithm, .. } if algorithm.contains(" with ") => {
                "issue that certificate again with SHA-256 (`openssl x509 -req -sha256 …`)"
                    .to_owned()
            }
            Fault::Signature { .. } | Fault::Key { .. } => {
                "issue it by a CA that has an RSA, P-256, P-384 or Ed25519 key".to_owned()
            }
            Fault::NotItsKey => format!("configure {server} with the key of its certificate"),
            Fault::NameEncoding { .. } => format!(
                "issue the server's certificate again with the CA certificate that is in {}: \
                 `openssl x509 -req -CA …` copies its name as it is encoded",
                self.ca()
            ),
            Fault::AddressAsDnsName => format!("issue it with subjectAltName=IP:{host}"),
            Fault::NoHostName { names } => {
                let spiffe = match names.iter().any(is_spiffe_id) {
                    true => ", or name that ID by with_server_spiffe_id()",
                    false => "",
                };
                format!("issue it with subjectAltName={}:{host}{spiffe}", name_type(&host))
            }
            Fault::SpiffeId(OtherSpiffeId { expected, .. }) => {
                let one = if expected.is_trust_domain() { "an ID of" } else { "the ID" };
                format!(
                    "give {server} an X.509-SVID with {one} {expected}, or pass that server's ID to \
                     with_server_spiffe_id(), if it is the right server"
                )
            }
            Fault::NameConstraint { ca, rule, .. } => match rule {
                Rule::Unread(form) => format!(
                    "issue it without a {form}, or by a CA without name constraints of that form"
                ),
                _ => format!(
                    "issue it only for names that {} permits, or by another CA",
                    named(&ca.subject)
                ),
            },
            Fault::PathLength { ca, .. } => format!(
                "issue {} with a larger pathlen or without one, or the server's certificate by \
                 that CA itself",
                named(&ca.subject)
            ),
            Fault::Version { .. } | Fault::NotACa { .. } => {
                "issue that intermediate again with `-extfile <(printf \
                 \"basicConstraints=critical,CA:TRUE\")`"
                    .to_owned()
            }
            Fault::CriticalExtension { .. } => {
                "issue that certificate again without the extension, or with one that is not \
                 critical"
                    .to_owned()
            }
            Fault::TooLong { last, .. } => format!(
                "put the certificate of {}, or of an intermediate below it, into {}",
                named(&last.subject),
                self.ca()
            ),
            Fault::Issuer { problem, place, .. } => match (problem, place) {
                (_, IssuerPlace::Presented) => {
                    "issue that intermediate again with keyUsage=keyCertSign".to_owned()
                }
                (IssuerProblem::Expired, IssuerPlace::Platform) => {
                    format!(
                        "update the platform's roots, or put the server's CA into {}",
                        self.ca()
                    )
                }
                (IssuerProblem::Expired, _) => {
                    format!("renew that CA, and put its new certificate into {}", self.ca())
                }
                (IssuerProblem::NotYetValid, _) => format!(
                    "set this machine's clock right, or put a CA that is valid now into {}",
                    self.ca()
                ),
                (IssuerProblem::PathTooLong { .. }, _) => {
                    "issue the server's certificate by fewer \
                     intermediates, or that CA with a larger pathLenConstraint"
                        .to_owned()
                }
                _ => format!(
                    "put the certificate of the server's CA into {}, or of a server without a CA \
                     its own certificate",
                    self.ca()
                ),
            },
        }
    }

    fn again(&self, of: &Holder, server: &str) -> String {
        match of.is_leaf {
            true => format!("issue {server} a certificate"),
            false => format!("replace the CA {} by one", named(&of.subject)),
        }
    }
}

/// How OpenSSL's configuration calls the type of a name.
pub(super) fn name_type(host: &str) -> &'static str {
    match host.parse::<IpAddr>() {
        Ok(_) => "IP",
        Err(_name) => "DNS",
    }
}

fn subject<'a>(of: Option<&'a Holder>, unknown: &'a str) -> &'a str {
    of.map_or(unknown, |of| named(&of.subject))
}

fn is_spiffe_id(name: &GeneralName) -> bool {
    matches!(name, GeneralName::Uri(uri) if uri.starts_with("spiffe://"))
}
