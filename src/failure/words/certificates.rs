//! Certificates that one side does not accept of the other.

use rustls::pki_types::ServerName;
use rustls::{CertificateError, OtherError};

use super::faults::name_type;
use super::{CONFIGURATION, Context, Words, alert_words, short};
use crate::config::{Origin, Settings, Variable};
use crate::error::{CredentialLocation, located};
use crate::failure::classify::is_acceptable;
use crate::failure::fault::Fault;
use crate::failure::{
    ClientCertificateProblem, RejectedVia, ServerCertificate, ServerCertificateProblem,
};
use crate::text::{list, named, printable, utc};
use crate::tls::{CertificateFacts, Generation, OtherSpiffeId, Validated};

impl Context<'_> {
    pub(super) fn server_certificate(&self, refused: &ServerCertificate) -> Words {
        use ServerCertificateProblem as Problem;
        let mut facts = Vec::new();
        if let Some(leaf) = refused.chain.first() {
            facts.push(format!("server: {leaf}"));
        }
        if let Some(Fault::Issuer { certificate, place, .. }) = &refused.fault {
            facts.push(format!("issuer: {certificate}, in {}", self.issuer_place(*place)));
        }
        if let Some(Fault::SpiffeId(OtherSpiffeId { expected, .. })) = &refused.fault {
            facts.push(format!("expected: {expected}, by with_server_spiffe_id()"));
        }
        match refused.problem {
            Problem::UnknownIssuer | Problem::SelfSigned | Problem::BadSignature => {
                facts.push(self.trusted());
            }
            Problem::WrongName | Problem::NoName | Problem::NoIpAddress => {
                facts.push(format!("expected: {}, by {}", self.server_name(), self.name_origin()));
            }
            Problem::Version1 if refused.fault.is_none() => {
                facts.push(format!("expected: {}, by {}", self.server_name(), self.name_origin()));
            }
            Problem::Expired
            | Problem::NotYetValid
            | Problem::ExpiredCa
            | Problem::NotYetValidCa => {
                facts.push(format!("now: {}, by this machine's clock", utc(self.now)));
            }
            _ => {}
        }
        let (fault, remedy) = match &refused.fault {
            Some(fault) => (self.fault(fault), self.fault_remedy(fault)),
            None => (self.server_fault(refused), self.server_remedy(refused)),
        };
        Words { cause: format!("we refused the server's certificate: {fault}"), facts, remedy }
    }

    fn server_remedy(&self, refused: &ServerCertificate) -> String {
        use ServerCertificateProblem as Problem;
        let (ca, host) = (self.ca(), self.server_name());
        match refused.problem {
            Problem::UnknownIssuer | Problem::SelfSigned | Problem::BadSignature => {
                let what = match (refused.problem, refused.chain.as_slice()) {
                    (Problem::SelfSigned, _) => {
                        format!("put that certificate, or better a CA's, into {ca}")
                    }
                    (Problem::UnknownIssuer, [_]) => format!(
                        "put the certificate of {} into {ca}; if that is an intermediate, let the \
                         server send it after its own",
                        issuer(refused)
                    ),
                    _ => format!("put the certificate of {} into {ca}", issuer(refused)),
                };
                self.verified(refused, &what)
            }
            Problem::CaUsedAsEndEntity => format!(
                "issue the server a certificate of its own by that CA, and keep the CA's in {ca}"
            ),
            Problem::WrongName => format!(
                "use one of its names in {}, or with_server_name(), or issue it for {host}",
                self.endpoint()
            ),
            Problem::NoName | Problem::Version1 => format!(
                "issue it anew with `openssl x509 -req … -extfile <(printf \
                 \"subjectAltName={}:{host}\")`",
                name_type(&host)
            ),
            Problem::NoIpAddress => format!(
                "use one of its names in {}, or with_server_name(), or issue it with \
                 subjectAltName=IP:{host}",
                self.endpoint()
            ),
            Problem::Expired => format!(
                "renew it at the server that {} names, and let that server read it again",
                self.endpoint()
            ),
            Problem::NotYetValid => format!(
                "set the clock right, here or where the certificate for {} was issued",
                self.endpoint()
            ),
            Problem::WrongUsage => match refused.chain.iter().position(is_unfit) {
                Some(1..) => {
                    "issue that intermediate with extendedKeyUsage=serverAuth, or without \
                     any, or the server's certificate by another CA"
                        .to_owned()
                }
                _ => format!(
                    "issue the server that {} names a certificate with \
                     extendedKeyUsage=serverAuth",
                    self.endpoint()
                ),
            },
            Problem::KeySize
            | Problem::Algorithm
            | Problem::KeyMismatch
            | Problem::NameConstraint
            | Problem::PathLength
            | Problem::CriticalExtension
            | Problem::TooLong
            | Problem::IssuerIsNoCa
            | Problem::ExpiredCa
            | Problem::NotYetValidCa
            | Problem::UnfitCa
            | Problem::WrongSpiffeId
            | Problem::Revoked
            | Problem::Other => {
                format!("issue the server that {} names another certificate", self.endpoint())
            }
        }
    }

    /// Whoever takes a certificate from a connection that was not verified trusts whoever answered.
    fn verified(&self, refused: &ServerCertificate, what: &str) -> String {
        match refused.chain.first() {
            Some(leaf) if !leaf.fingerprint.is_empty() => format!(
                "verify at the server that its certificate has the SHA-256 {} (`openssl x509 -in \
                 FILE -outform DER | sha256sum`), then {what}",
                leaf.fingerprint
            ),
            _ => what.to_owned(),
        }
    }

    /// What is wrong with the server's certificate.
    fn server_fault(&self, refused: &ServerCertificate) -> String {
        use ServerCertificateProblem as Problem;
        let leaf = refused.chain.first();
        let names = match (leaf, &refused.source) {
            (Some(leaf), _) => list(&leaf.names),
            (
                None,
                rustls::Error::InvalidCertificate(CertificateError::NotValidForNameContext {
                    presented,
                    ..
                }),
            ) => list(presented),
            (None, _) => "another name".to_owned(),
        };
        let issuer = issuer(refused);
        let host = self.server_name();
        // Whose time it is that is over, or whose usage, may be an intermediate's.
        let now = self.now;
        let late =
            refused.chain.iter().find_map(|facts| Some((&facts.subject, facts.expired(now)?)));
        let early = refused
            .chain
            .iter()
            .find_map(|facts| Some((&facts.subject, facts.not_yet_valid(now)?)));
        let unfit = refused.chain.iter().find(|facts| is_unfit(facts));
        match refused.problem {
            Problem::UnknownIssuer if leaf.is_none() => {
                "it was not issued by a trusted CA".to_owned()
            }
            Problem::UnknownIssuer => {
                format!("it was issued by {issuer}, which is not a trusted CA")
            }
            Problem::SelfSigned => "it is self-signed, and not a trusted certificate".to_owned(),
            Problem::CaUsedAsEndEntity => {
                "it is a CA's own certificate, which a server must not use as its own".to_owned()
            }
            Problem::WrongName => format!("it is for {names}, and not for {host}"),
            Problem::WrongSpiffeId => "it has another SPIFFE ID than the expected one".to_owned(),
            Problem::NoName => {
                format!("it has no subject alternative name, and so is not for {host}")
            }
            Problem::NoIpAddress => {
                format!("it is for {names}, and not for the IP address {host}")
            }
            Problem::Expired => match late {
                Some((subject, not_after)) => {
                    format!("{} expired at {}", named(subject), utc(not_after))
                }
                None => "it has expired".to_owned(),
            },
            Problem::NotYetValid => match early {
                Some((subject, not_before)) => {
                    format!("{} is valid from {} on", named(subject), utc(not_before))
                }
                None => "it is not yet valid".to_owned(),
            },
            Problem::Version1 => "it is an X.509 certificate of version 1, which cannot hold a \
                 subject alternative name"
                .to_owned(),
            Problem::WrongUsage => match unfit {
                Some(unfit) => format!(
                    "{} is not for servers, but for {}",
                    named(&unfit.subject),
                    list(&unfit.usages)
                ),
                None => "it is not for servers".to_owned(),
            },
            Problem::BadSignature => format!(
                "it was issued by another CA of the name {issuer} than the trusted one: its \
                 signature does not match"
            ),
            Problem::KeySize => "a key of its chain is too short or too long".to_owned(),
            Problem::Algorithm => "its chain has an algorithm that is not accepted".to_owned(),
            Problem::KeyMismatch => "the server does not have its private key".to_owned(),
            Problem::NameConstraint => {
                "it violates the name constraints of a CA of its chain".to_owned()
            }
            Problem::PathLength => {
                "its chain is longer than a CA of it permits (pathLenConstraint)".to_owned()
            }
            Problem::CriticalExtension => {
                "its chain has a critical extension that rustls does not support".to_owned()
            }
            Problem::TooLong => {
                "its chain has more intermediates than the 6 that rustls follows".to_owned()
            }
            Problem::IssuerIsNoCa => {
                "a certificate of its chain was issued by one that is not a CA's".to_owned()
            }
            Problem::ExpiredCa => "a CA of its chain has expired".to_owned(),
            Problem::NotYetValidCa => "a CA of its chain is not valid yet".to_owned(),
            Problem::UnfitCa => "a CA of its chain must not issue it".to_owned(),
            Problem::Revoked => "it is revoked".to_owned(),
            Problem::Other => match &refused.source {
                rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(error))) => {
                    printable(&error.to_string())
                }
                source => printable(&short(source)),
            },
        }
    }

    pub(super) fn client_certificate(
        &self,
        problem: ClientCertificateProblem,
        said: RejectedVia,
        acceptable_issuers: &[String],
    ) -> Words {
        use ClientCertificateProblem as Problem;
        let chain = self.validated().map_or(&[][..], |validated| &validated.chain);
        let leaf = chain.first();
        let issuer = leaf.map_or("its CA", |leaf| named(&leaf.issuer));
        let is_acceptable = is_acceptable(chain, acceptable_issuers);
        let accepted = list(acceptable_issuers);
        let cause = match problem {
            Problem::Required if said == RejectedVia::Nothing => {
                "it closed the connection after it asked for a client certificate, and we have none"
                    .to_owned()
            }
            Problem::Required => "it demands a client certificate, and we have none".to_owned(),
            Problem::UnknownIssuer if !is_acceptable => format!(
                "it accepts client certificates issued by {accepted}, and ours was issued by {issuer}"
            ),
            Problem::UnknownIssuer => {
                format!("it does not know the CA of our client certificate, {issuer}")
            }
            Problem::NotYetValid => match leaf.and_then(|leaf| leaf.not_before) {
                Some(not_before) => {
                    format!("our client certificate is valid from {} on", utc(not_before))
                }
                None => "our client certificate is not yet valid".to_owned(),
            },
            Problem::Expired => match leaf.and_then(|leaf| leaf.expired(self.now)) {
                Some(not_after) => format!("our client certificate expired at {}", utc(not_after)),
                None => "our client certificate has expired, by its clock".to_owned(),
            },
            Problem::Revoked => "our client certificate is revoked".to_owned(),
            Problem::WrongUsage => format!(
                "our client certificate is not for clients, but for {}",
                leaf.map(|leaf| list(&leaf.usages)).unwrap_or_default()
            ),
            Problem::Unsupported => "it does not take our kind of client certificate".to_owned(),
            Problem::Unexplained if said == RejectedVia::Nothing => {
                "the server asked for a client certificate and then closed the connection without an \
                 alert; it may have rejected ours"
                    .to_owned()
            }
            Problem::Unexplained => "it does not accept our client certificate".to_owned(),
        };
        let cause = match problem {
            Problem::UnknownIssuer => cause,
            _ if is_acceptable => cause,
            _ => format!("{cause}, and it accepts only those issued by {accepted}"),
        };
        let mut facts = Vec::new();
        if let Some(leaf) = leaf {
            facts.push(format!("ours: {leaf}, in {}", self.identity()));
        }
        // Otherwise the first line has them.
        if is_acceptable && !acceptable_issuers.is_empty() {
            facts.push(format!("the server takes: those issued by {accepted}"));
        }
        if matches!(problem, Problem::Expired | Problem::NotYetValid) {
            facts.push(format!("now: {}, by this machine's clock", utc(self.now)));
        }
        let ours = self.identity();
        let remedy = match problem {
            Problem::Required => match self.brought_along() {
                Some(it) => format!("put a client certificate and its key into {it}"),
                None => format!(
                    "set {} and {}, or with_client_identity()",
                    self.settings.named(Variable::ClientCertificate),
                    self.settings.named(Variable::ClientKey),
                ),
            },
            Problem::UnknownIssuer => format!(
                "put the certificate of {issuer} among the server's client CAs (`client_ca_file` of \
                 the Collector), or put one that such a CA issued into {ours}, with its \
                 intermediates after it"
            ),
            Problem::Expired => format!("renew it in {ours}{}", self.taken_up()),
            Problem::NotYetValid => {
                format!(
                    "set the clock right, here or at the server, or use one that is valid now, in {ours}"
                )
            }
            Problem::Revoked => format!("issue another one, and put it into {ours}"),
            Problem::WrongUsage => {
                format!("issue it with extendedKeyUsage=clientAuth, and put it into {ours}")
            }
            Problem::Unexplained if said == RejectedVia::Nothing => {
                "see the server's log for the reason, and whether one of its client CAs \
                 (`client_ca_file` of the Collector) has issued ours"
                    .to_owned()
            }
            Problem::Unsupported | Problem::Unexplained => format!(
                "see the server's log for the reason; then issue another one, and put it into {ours}"
            ),
        };
        let remedy = match problem {
            Problem::UnknownIssuer => remedy,
            _ if is_acceptable => remedy,
            _ => format!("{remedy}; it has to be issued by one of those CAs"),
        };
        let how = match said {
            RejectedVia::Alert(alert) => alert_words(Some(alert)),
            RejectedVia::Page => " (by an HTTP page)".to_owned(),
            RejectedVia::Nothing => " (without a TLS alert)".to_owned(),
        };
        let cause = match (problem, said) {
            (Problem::Unexplained, RejectedVia::Nothing) => cause,
            (Problem::UnknownIssuer, RejectedVia::Nothing) => {
                format!("the server closed the connection without an alert: {cause}")
            }
            _ => format!("the server refused us: {cause}{how}"),
        };
        Words { cause, facts, remedy }
    }

    /// The name that the server's certificate must have.
    pub(super) fn server_name(&self) -> String {
        match self.settings.tls.as_ref().map(|tls| &tls.server_name) {
            Some(ServerName::IpAddress(address)) => std::net::IpAddr::from(*address).to_string(),
            Some(ServerName::DnsName(name)) => name.as_ref().to_owned(),
            _ => self.settings.endpoint.address.host().to_owned(),
        }
    }

    fn name_origin(&self) -> String {
        match self.server_name().eq_ignore_ascii_case(self.settings.endpoint.address.host()) {
            true => self.endpoint(),
            false => "with_server_name()".to_owned(),
        }
    }

    /// Our certificate, where a collector has asked for it and no headers say who we are.
    pub(super) fn only_identity(&self) -> Option<&CertificateFacts> {
        let Settings { headers, token, .. } = self.settings;
        let has_headers = headers.origin != Origin::Default || token.is_some();
        let is_sent = self.credentials.is_some_and(Generation::is_requested);
        self.validated()?.chain.first().filter(|_| is_sent && !has_headers)
    }

    fn validated(&self) -> Option<&Validated> {
        self.credentials?.validated.as_ref()
    }

    /// What gives all credentials, where no variable or setter is asked for them.
    fn brought_along(&self) -> Option<&'static str> {
        match self.credentials? {
            Generation { validated: None, .. } => Some(CONFIGURATION),
            Generation { is_from_source: true, .. } => {
                Some("the source given to with_credential_source()")
            }
            _ => None,
        }
    }

    /// What names a part of the credentials, or could, and the file.
    fn place(&self, variable: Variable, named: Option<&(Origin, CredentialLocation)>) -> String {
        match (self.brought_along(), named) {
            (Some(brought_along), _) => brought_along.to_owned(),
            (None, Some(named)) => located(named),
            (None, None) => format!("a file that {} names", self.generic(variable)),
        }
    }

    pub(super) fn ca(&self) -> String {
        let named = self.validated().filter(|validated| validated.names_a_ca());
        self.place(Variable::Certificate, named.map(|validated| &validated.origins().ca))
    }

    /// Where our certificate is from.
    pub(super) fn identity(&self) -> String {
        let named = self.validated().filter(|validated| !validated.chain.is_empty());
        let named = named.map(|validated| &validated.origins().certificate);
        self.place(Variable::ClientCertificate, named)
    }

    /// Whom we trust.
    fn trusted(&self) -> String {
        match (self.validated(), self.brought_along()) {
            (Some(validated), _) if validated.names_a_ca() => {
                let subjects: Vec<String> =
                    validated.trust_anchors.iter().map(|facts| facts.subject.clone()).collect();
                let too = match self.credentials {
                    Some(Generation { trusts_platform: true, .. }) => ", and the platform's roots",
                    _ => "",
                };
                format!("we trust: {}, by {}{too}", list(&subjects), self.ca())
            }
            (Some(_), Some(source)) => {
                format!("we trust: the platform's roots, for {source} names no CA")
            }
            (Some(_), None) => format!(
                "we trust: the platform's roots, for {} is not set",
                self.settings.named(Variable::Certificate)
            ),
            (None, _) => "we trust: what with_rustls_config() was given".to_owned(),
        }
    }

    /// Files are looked at again.
    fn taken_up(&self) -> &'static str {
        match self.validated().map(|validated| &validated.origins().certificate.1) {
            Some(CredentialLocation::File(_) | CredentialLocation::Source) => {
                "; the next export takes it up"
            }
            _ => "",
        }
    }
}

/// Who issued the last certificate that the server presents, for the others are issued by one another.
/// Without any, the verifier is not ours.
fn issuer(refused: &ServerCertificate) -> &str {
    refused.chain.last().map_or("its CA", |last| named(&last.issuer))
}

/// Whether a server's certificate, or its issuer's, says that it is for something else.
fn is_unfit(facts: &CertificateFacts) -> bool {
    !facts.usages.is_empty() && !facts.usages.iter().any(|usage| usage == "serverAuth")
}
