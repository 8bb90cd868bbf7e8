//! Rejections of a server's chain because of one certificate in it.

use super::server::name_type;
use crate::failure::context::Context;
use crate::failure::kind::ServerCertificateProblem as Problem;
use crate::text::{list, named, utc};
use crate::tls::{
    CertificateFacts, GeneralName, IssuerPlace, IssuerProblem, OtherSpiffeId, SpiffeProblem,
};

/// What is wrong with a server's chain, and with which certificate of it.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// An RSA key is too short, or too long.
    KeySize { of: Holder, bits: usize },
    /// A certificate is signed by an algorithm that is not accepted.
    Signature { of: Option<Holder>, algorithm: String },
    /// The issuer of a certificate has a key that is not accepted.
    Key { of: Option<Holder>, algorithm: String },
    /// The server does not have the private key of its certificate.
    NotItsKey,
    /// The trusted CA's name is encoded differently from the issuer name in the server's
    /// certificate.
    NameEncoding { issuer: String },
    /// The certificate has the dialled IP address as a DNS name.
    AddressAsDnsName,
    /// The certificate has names, but no host name.
    NoHostName { names: Vec<GeneralName> },
    /// A CA must not issue for this name.
    NameConstraint { ca: Holder, name: String, rule: Rule },
    /// A CA has more CAs below it than its pathLenConstraint permits.
    PathLength { ca: Holder, permitted: u8, following: usize },
    /// An intermediate is not an X.509 version 3 certificate.
    Version { of: Holder, version: u32 },
    /// A certificate has a critical extension that webpki does not support.
    CriticalExtension { of: Holder, extension: String },
    /// There are more intermediates than webpki follows.
    TooLong { intermediates: usize, last: Holder },
    /// The issuer of a certificate is not a CA.
    NotACa { issuer: Holder },
    /// A certificate that the chain leads to cannot be an issuer.
    Issuer { certificate: Box<CertificateFacts>, problem: IssuerProblem, place: IssuerPlace },
    /// The server's certificate does not have the expected SPIFFE ID.
    SpiffeId(OtherSpiffeId),
}

/// The certificate that a fault is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) subject: String,
    /// Whether it is the server's own certificate.
    pub(crate) is_leaf: bool,
}

/// The name constraint that a name violates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Only these are permitted, and the name is none of them.
    Permits(Vec<String>),
    /// This is excluded, and the name falls under it.
    Excludes(String),
    /// A constraint on names of this form, which webpki cannot evaluate: it rejects all of them.
    Unread(&'static str),
}

impl Fault {
    pub(in crate::failure) fn problem(&self) -> Problem {
        match self {
            Self::KeySize { .. } => Problem::KeySize,
            Self::Signature { .. } | Self::Key { .. } => Problem::Algorithm,
            Self::NotItsKey => Problem::KeyMismatch,
            Self::NameEncoding { .. } => Problem::UnknownIssuer,
            Self::AddressAsDnsName => Problem::NoIpAddress,
            Self::NoHostName { .. } => Problem::NoName,
            Self::NameConstraint { .. } => Problem::NameConstraint,
            Self::PathLength { .. } => Problem::PathLength,
            Self::Version { .. } => Problem::Version1,
            Self::CriticalExtension { .. } => Problem::CriticalExtension,
            Self::TooLong { .. } => Problem::TooLong,
            Self::NotACa { .. } => Problem::IssuerIsNoCa,
            Self::SpiffeId(_) => Problem::WrongSpiffeId,
            Self::Issuer { problem, .. } => match problem {
                IssuerProblem::Expired => Problem::ExpiredCa,
                IssuerProblem::NotYetValid => Problem::NotYetValidCa,
                IssuerProblem::NotCa | IssuerProblem::NoCaExtension => Problem::IssuerIsNoCa,
                IssuerProblem::PathTooLong { .. } => Problem::PathLength,
                IssuerProblem::UnknownExtension { .. } => Problem::CriticalExtension,
                IssuerProblem::NoCertSign
                | IssuerProblem::WrongUsage
                | IssuerProblem::RepeatedExtension { .. }
                | IssuerProblem::Undecodable { .. } => Problem::UnfitCa,
            },
        }
    }

    /// The cause and the remedy.
    pub(super) fn words(&self, context: &Context<'_>) -> (String, String) {
        let (host, ca) = (context.server_name(), context.ca());
        let server = format!("the server that {} names", context.endpoint);
        match self {
            Self::KeySize { of, bits } => (
                format!(
                    "the RSA key of {} has {bits} bits, but 2048 to 8192 are required",
                    named(&of.subject)
                ),
                format!(
                    "{} with an RSA key of 2048 bits or more, or a P-256 key",
                    match of.is_leaf {
                        true => format!("issue {server} a certificate"),
                        false => format!("replace the CA {} by one", named(&of.subject)),
                    }
                ),
            ),
            Self::Signature { of, algorithm } => (
                format!(
                    "{} is signed by {algorithm}, which is not accepted",
                    subject(of.as_ref(), "a certificate of its chain")
                ),
                match algorithm.contains(" with ") {
                    true => {
                        "issue that certificate again with SHA-256 (`openssl x509 -req -sha256 …`)"
                    }
                    false => BY_ANOTHER_KEY,
                }
                .to_owned(),
            ),
            Self::Key { of, algorithm } => (
                format!(
                    "the key of {} is of the type {algorithm}, which is not accepted",
                    subject(of.as_ref(), "its issuer")
                ),
                BY_ANOTHER_KEY.to_owned(),
            ),
            Self::NotItsKey => (
                "the server does not have the private key that belongs to it".to_owned(),
                format!("configure {server} with the key of its certificate"),
            ),
            Self::NameEncoding { issuer } => (
                format!(
                    "it was issued by {issuer}, but the trusted CA has that name in another \
                     encoding, and names are compared byte by byte"
                ),
                format!(
                    "issue the server's certificate again with the CA certificate that is in {ca}: \
                     `openssl x509 -req -CA …` copies its name as it is encoded"
                ),
            ),
            Self::AddressAsDnsName => (
                format!("it has {host} as a DNS name, not as an IP address"),
                format!("issue it with subjectAltName=IP:{host}"),
            ),
            Self::NoHostName { names } => {
                let shown: Vec<String> =
                    names.iter().map(|name| format!("the {} {name}", name.form())).collect();
                let (spiffe, or_it) = match names.iter().any(is_spiffe_id) {
                    true => (
                        " (a SPIFFE ID is not a host name)",
                        ", or set that ID by with_server_spiffe_id()",
                    ),
                    false => ("", ""),
                };
                (
                    format!("it has no host name, only {}{spiffe}", list(&shown)),
                    format!("issue it with subjectAltName={}:{host}{or_it}", name_type(&host)),
                )
            }
            Self::SpiffeId(OtherSpiffeId { expected, problem }) => {
                let (of, one) = match expected.is_trust_domain() {
                    true => ("of the trust domain ", "an ID of"),
                    false => ("", "the ID"),
                };
                let cause = match problem {
                    SpiffeProblem::IsSigner => format!(
                        "it may sign certificates or CRLs, which the certificate of {expected} \
                         must not"
                    ),
                    SpiffeProblem::Uris(uris) => match uris.as_slice() {
                        [] => format!("it has no SPIFFE ID, so it is not {of}{expected}"),
                        [uri] => format!("it is {uri}, not {of}{expected}"),
                        uris => format!(
                            "it has {} URIs ({}), so it is not {of}{expected}: a SPIFFE ID must be \
                             the only URI",
                            uris.len(),
                            list(uris)
                        ),
                    },
                };
                let remedy = format!(
                    "give {server} an X.509-SVID with {one} {expected}, or pass that server's ID to \
                     with_server_spiffe_id(), if it is the right server"
                );
                (cause, remedy)
            }
            Self::NameConstraint { ca, name, rule } => {
                let ca = named(&ca.subject);
                let others = format!("issue it only for names that {ca} permits, or by another CA");
                match rule {
                    Rule::Permits(names) => (
                        format!(
                            "{ca} may only issue for {} (nameConstraints), not for {name}",
                            list(names)
                        ),
                        others,
                    ),
                    Rule::Excludes(names) => {
                        let so = match names == name {
                            true => String::new(),
                            false => format!(", so not for {name}"),
                        };
                        (format!("{ca} must not issue for {names} (nameConstraints){so}"), others)
                    }
                    Rule::Unread(form) => (
                        format!(
                            "{ca} has name constraints of the form {form}, which rustls does not \
                             evaluate: it rejects every {form}, here {}",
                            named(name)
                        ),
                        format!(
                            "issue it without a {form}, or by a CA without name constraints of that \
                             form"
                        ),
                    ),
                }
            }
            Self::PathLength { ca, permitted, following } => {
                let ca = named(&ca.subject);
                (
                    format!(
                        "{ca} permits {permitted} CAs below it (pathLenConstraint), but the chain \
                         has {following}"
                    ),
                    format!(
                        "issue {ca} with a larger pathlen or without one, or the server's \
                         certificate by that CA itself"
                    ),
                )
            }
            Self::Version { of, version } => (
                format!(
                    "{} is an X.509 certificate of version {version}, which is not accepted for an \
                     intermediate",
                    named(&of.subject)
                ),
                AS_A_CA.to_owned(),
            ),
            Self::CriticalExtension { of, extension } => (
                format!(
                    "{} has the critical extension {extension}, which rustls does not support",
                    named(&of.subject)
                ),
                "issue that certificate again without the extension, or with one that is not \
                 critical"
                    .to_owned(),
            ),
            Self::TooLong { intermediates, last } => (
                format!(
                    "its chain has {intermediates} intermediates, but rustls follows at most 6"
                ),
                format!(
                    "put the certificate of {}, or of an intermediate below it, into {ca}",
                    named(&last.subject)
                ),
            ),
            Self::NotACa { issuer } => (
                format!(
                    "{} issued a certificate of the chain, but is not a CA (basicConstraints \
                     without CA:TRUE)",
                    named(&issuer.subject)
                ),
                AS_A_CA.to_owned(),
            ),
            Self::Issuer { certificate, problem, place } => {
                let dates = (certificate.not_before, certificate.not_after);
                let why = match (problem, dates) {
                    (IssuerProblem::Expired, (_, Some(not_after))) => {
                        format!("expired at {}", utc(not_after))
                    }
                    (IssuerProblem::NotYetValid, (Some(not_before), _)) => {
                        format!("is not valid before {}", utc(not_before))
                    }
                    (problem, _) => problem.to_string(),
                };
                let again = |how: &str| match place {
                    IssuerPlace::Presented => format!("issue that intermediate again {how}"),
                    IssuerPlace::Named => {
                        format!("issue that certificate again {how}, and put it into {ca}")
                    }
                    IssuerPlace::Platform => format!(
                        "issue that certificate again {how}, and put it into the platform's roots"
                    ),
                };
                let remedy = match (problem, place) {
                    (IssuerProblem::NoCertSign, _) => again("with keyUsage=keyCertSign"),
                    (IssuerProblem::WrongUsage, _) => {
                        again("with extendedKeyUsage=serverAuth, or without extendedKeyUsage")
                    }
                    (IssuerProblem::UnknownExtension { .. }, _) => {
                        again("without that extension, or with one that is not critical")
                    }
                    (IssuerProblem::RepeatedExtension { .. }, _) => {
                        again("with that extension once")
                    }
                    (IssuerProblem::Undecodable { part }, _) => {
                        again(&format!("with {part} in valid DER"))
                    }
                    (IssuerProblem::NotCa | IssuerProblem::NoCaExtension, _) => format!(
                        "put the certificate of the server's CA into {ca}, or the server's own \
                         certificate if it has no CA"
                    ),
                    (IssuerProblem::Expired, IssuerPlace::Platform) => {
                        format!("update the platform's roots, or put the server's CA into {ca}")
                    }
                    (IssuerProblem::Expired, _) => {
                        format!("renew that CA, and put its new certificate into {ca}")
                    }
                    (IssuerProblem::NotYetValid, _) => format!(
                        "correct this machine's clock, or put a CA that is valid now into {ca}"
                    ),
                    (IssuerProblem::PathTooLong { .. }, _) => {
                        "issue the server's certificate with fewer intermediates, or reissue that \
                         CA with a larger pathLenConstraint"
                            .to_owned()
                    }
                };
                let subject = named(&certificate.subject);
                (format!("its chain leads to {subject}, which {why}"), remedy)
            }
        }
    }
}

const BY_ANOTHER_KEY: &str = "issue it by a CA that has an RSA, P-256, P-384 or Ed25519 key";

const AS_A_CA: &str = "issue that intermediate again with `-extfile <(printf \
 \"basicConstraints=critical,CA:TRUE\")`";

fn subject<'a>(of: Option<&'a Holder>, unknown: &'a str) -> &'a str {
    of.map_or(unknown, |of| named(&of.subject))
}

fn is_spiffe_id(name: &GeneralName) -> bool {
    matches!(name, GeneralName::Uri(uri) if uri.starts_with("spiffe://"))
}
