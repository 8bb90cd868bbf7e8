//! Maps errors and evidence to kinds of failure.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::{AlertDescription, CertificateError, OtherError, PeerIncompatible, ProtocolVersion};

use super::certificates::{Chain, Fault, is_acceptable};
use super::evidence::{Evidence, PeerProtocol, Stage, is_page_of_tls};
use super::kind::{
    ClientCertificateProblem, FailureKind, Incompatibility, RejectedVia, ServerCertificate,
    ServerCertificateProblem, Side,
};
use crate::text::contains;
use crate::tls::{CertificateDetails, CertificateFacts, Generation, Handshake, RefusedIssuer};

impl Evidence {
    /// Why a connection ended, from the error of TLS, HTTP or the system and from what was seen on
    /// the connection.
    pub(crate) fn classify(
        &self,
        error: &(dyn StdError + 'static),
        was_silent: bool,
        over_http2: bool,
    ) -> FailureKind {
        let is_handshake = self.stage == Stage::Handshaking;
        if let Some(found) = self.greeting.plaintext().filter(|_| is_handshake) {
            return FailureKind::NotTls { found: Some(found) };
        }
        match error.downcast_ref().and_then(tls_error) {
            Some(error) => self.tls(error),
            None if is_handshake && self.greeting.is_empty() => FailureKind::NotTls { found: None },
            None if (is_handshake || was_silent) && self.has_refused_in_silence() => {
                self.unsaid(RejectedVia::Nothing)
            }
            None if was_silent && over_http2 && self.may_expect_tls(error) => {
                FailureKind::Closed { source: ours(error) }
            }
            None => FailureKind::Connection { source: ours(error), was_silent },
        }
    }

    /// Whether a server that sent nothing over HTTP/2 may expect TLS and have read our plaintext as
    /// a broken handshake. An HTTP/2 server sends SETTINGS first ([RFC 9113, section
    /// 3.4](https://www.rfc-editor.org/rfc/rfc9113#section-3.4)). A server that has answered before
    /// may just be shutting down.
    fn may_expect_tls(&self, error: &(dyn StdError + 'static)) -> bool {
        use io::ErrorKind as Kind;
        let is_closed = io_error(error).is_none_or(|error| {
            matches!(
                error.kind(),
                Kind::ConnectionReset
                    | Kind::ConnectionAborted
                    | Kind::BrokenPipe
                    | Kind::UnexpectedEof
            )
        });
        self.credentials.is_none() && !self.has_answered && is_closed
    }

    /// Whether the server asked for a client certificate, received our reply, and closed the
    /// connection without an alert, as gRPC's C core, Java and Node do to reject a client.
    ///
    /// False if the server has accepted these credentials before: over TLS 1.2 by completing the
    /// handshake, over TLS 1.3 by answering a request.
    fn has_refused_in_silence(&self) -> bool {
        let version = self.session.as_ref().and_then(|session| session.version);
        let has_accepted = version == Some(ProtocolVersion::TLSv1_2)
            || self.credentials.as_deref().is_some_and(Generation::is_accepted);
        self.requested() && !has_accepted
    }

    /// The failure if a plaintext connection got something other than the expected version of HTTP.
    pub(crate) fn misunderstood(&self, over_http2: bool) -> Option<FailureKind> {
        if self.credentials.is_some() {
            return None;
        }
        match (self.greeting.spoken()?, over_http2) {
            (PeerProtocol::Tls, _) => Some(FailureKind::NeedsTls),
            (PeerProtocol::Http1, true) => {
                Some(FailureKind::NoHttp2 { refused_by: Side::Us, by_alpn: false })
            }
            (PeerProtocol::Http2, false) => Some(FailureKind::ServerSpeaksGrpc),
            _ => None,
        }
    }

    /// The TLS failure that an HTTP status of 400 with a page reports. nginx reports a missing or
    /// rejected client certificate by a page instead of an alert; nginx and Go report plaintext to
    /// a TLS port so too.
    pub(crate) fn page(&self, page: &[u8]) -> Option<FailureKind> {
        if self.credentials.is_none() {
            return is_page_of_tls(page).then_some(FailureKind::NeedsTls);
        }
        let is_refusal = self.requested() && contains(page, b"SSL certificate");
        is_refusal.then(|| self.unsaid(RejectedVia::Page))
    }

    /// Our certificate was rejected without a reason.
    fn unsaid(&self, said: RejectedVia) -> FailureKind {
        let problem = match self.own() {
            Some(own) => own.fault().unwrap_or(ClientCertificateProblem::Unexplained),
            None => ClientCertificateProblem::Required,
        };
        self.client_certificate(problem, said)
    }

    fn tls(&self, source: rustls::Error) -> FailureKind {
        match source {
            rustls::Error::AlertReceived(alert) => self.alert(alert),
            rustls::Error::NoApplicationProtocol => {
                FailureKind::NoHttp2 { refused_by: Side::Us, by_alpn: true }
            }
            rustls::Error::InvalidCertificate(ref error) => {
                let chain = self.server_chain();
                let fault = self.issuer(error).or_else(|| self.chain().fault(error));
                let problem = match &fault {
                    Some(fault) => fault.problem(),
                    None => server_problem(error, &chain),
                };
                FailureKind::ServerCertificate(Box::new(ServerCertificate {
                    problem,
                    chain,
                    source,
                    fault,
                }))
            }
            rustls::Error::PeerIncompatible(ref lacking) => FailureKind::Incompatible {
                refused_by: Side::Us,
                lacking: match lacking {
                    PeerIncompatible::ServerDoesNotSupportTls12Or13
                    | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
                    | PeerIncompatible::SupportedVersionsExtensionRequired
                    | PeerIncompatible::Tls12NotOffered
                    | PeerIncompatible::Tls12NotOfferedOrEnabled => Incompatibility::Version,
                    _ => Incompatibility::Cipher,
                },
                source,
            },
            source => FailureKind::Tls { source },
        }
    }

    /// Why the server rejected us, from its alert ([RFC 8446, section
    /// 6.2](https://www.rfc-editor.org/rfc/rfc8446#section-6.2)) and from what we know about our
    /// certificate.
    fn alert(&self, alert: AlertDescription) -> FailureKind {
        use AlertDescription as Alert;
        use ClientCertificateProblem as Problem;
        let source = rustls::Error::AlertReceived(alert);
        let incompatible = |lacking| FailureKind::Incompatible {
            refused_by: Side::Server,
            lacking,
            source: source.clone(),
        };
        let said = match alert {
            Alert::NoApplicationProtocol => {
                return FailureKind::NoHttp2 { refused_by: Side::Server, by_alpn: true };
            }
            Alert::ProtocolVersion => return incompatible(Incompatibility::Version),
            Alert::InsufficientSecurity => return incompatible(Incompatibility::Cipher),
            Alert::HandshakeFailure if !self.requested() => {
                return incompatible(Incompatibility::Cipher);
            }
            // The server asked for no certificate, so the alert is not about ours.
            _ if !self.requested() => return FailureKind::Tls { source },
            // We have one, and rustls did not send it: the server accepts no signature scheme of
            // our key.
            Alert::CertificateRequired if self.own().is_some() => Some(Problem::Unsupported),
            Alert::CertificateRequired => Some(Problem::Required),
            Alert::UnknownCA => Some(Problem::UnknownIssuer),
            Alert::CertificateExpired => Some(Problem::Expired),
            Alert::CertificateRevoked => Some(Problem::Revoked),
            Alert::UnsupportedCertificate
            | Alert::BadCertificate
            | Alert::CertificateUnknown
            | Alert::AccessDenied
            | Alert::DecryptError
            | Alert::HandshakeFailure => None,
            _ => return FailureKind::Tls { source },
        };
        let problem = match (said, self.own()) {
            // Servers send this alert for a certificate that is not yet valid, too.
            (Some(Problem::Expired), Some(own)) => own
                .fault()
                .filter(|fault| *fault == Problem::NotYetValid)
                .unwrap_or(Problem::Expired),
            (Some(said), _) => said,
            // TLS 1.2 has no alert for a missing certificate; servers send 40 or 42.
            (None, None) => Problem::Required,
            (None, Some(own)) => match own.fault() {
                Some(fault) => fault,
                None if alert == Alert::UnsupportedCertificate => Problem::Unsupported,
                None => Problem::Unexplained,
            },
        };
        self.client_certificate(problem, RejectedVia::Alert(alert))
    }

    fn client_certificate(
        &self,
        problem: ClientCertificateProblem,
        said: RejectedVia,
    ) -> FailureKind {
        let handshake = self.handshake.clone().unwrap_or_default();
        let acceptable_issuers = handshake.acceptable_issuers;
        let chain =
            self.credentials.as_ref().and_then(|credentials| credentials.validated.as_ref());
        let chain = chain.map_or(&[][..], |validated| &validated.chain);
        let problem = match problem {
            ClientCertificateProblem::Unexplained if !is_acceptable(chain, &acceptable_issuers) => {
                ClientCertificateProblem::UnknownIssuer
            }
            problem => problem,
        };
        FailureKind::ClientCertificate { problem, said, acceptable_issuers }
    }

    fn requested(&self) -> bool {
        self.handshake.as_ref().is_some_and(|handshake| handshake.certificate_requested)
    }

    /// Our own certificate.
    fn own(&self) -> Option<Own> {
        let credentials = self.credentials.as_ref()?;
        match &credentials.validated {
            Some(validated) => validated.chain.first().cloned().map(Box::new).map(Own::Known),
            None => credentials
                .config
                .client_auth_cert_resolver
                .has_certs()
                .then_some(Own::BroughtAlong),
        }
    }

    /// The issuer that our verifier rejected.
    fn issuer(&self, error: &CertificateError) -> Option<Fault> {
        let CertificateError::Other(OtherError(error)) = error else {
            return None;
        };
        let RefusedIssuer { der, problem, place } = error.downcast_ref()?;
        let provider = self.credentials.as_ref()?.config.crypto_provider();
        let certificate = CertificateFacts::parse(der, provider).ok()?;
        let (certificate, problem) = (Box::new(certificate), problem.clone());
        Some(Fault::Issuer { certificate, problem, place: *place })
    }

    /// The server's chain, to find the certificate that caused the rejection.
    fn chain(&self) -> Chain {
        let handshake = self.handshake.as_ref();
        let presented = handshake.map_or(&[][..], |handshake| &handshake.server_chain);
        let validated =
            self.credentials.as_ref().and_then(|credentials| credentials.validated.as_ref());
        Chain::new(
            presented.iter().filter_map(CertificateDetails::parse).collect(),
            validated.map_or_else(Vec::new, |validated| validated.anchor_details()),
            handshake.is_some_and(|handshake| handshake.anchor.is_some()),
        )
    }

    fn server_chain(&self) -> Vec<CertificateFacts> {
        let (Some(credentials), Some(Handshake { server_chain, .. })) =
            (&self.credentials, &self.handshake)
        else {
            return Vec::new();
        };
        let provider = credentials.config.crypto_provider();
        let facts = server_chain.iter().map(|der| CertificateFacts::parse(der, provider));
        // A certificate that cannot be parsed has no facts.
        facts.filter_map(Result::ok).collect()
    }
}

/// What we know about our own certificate.
enum Own {
    Known(Box<CertificateFacts>),
    /// It was given by `with_rustls_config`, so its contents are unknown.
    BroughtAlong,
}

impl Own {
    /// What is wrong with it, as far as we can tell.
    fn fault(&self) -> Option<ClientCertificateProblem> {
        let Self::Known(own) = self else {
            return None;
        };
        let now = SystemTime::now();
        let fits = |usage: &String| usage == "clientAuth" || usage == "anyExtendedKeyUsage";
        match () {
            () if own.expired(now).is_some() => Some(ClientCertificateProblem::Expired),
            () if own.not_yet_valid(now).is_some() => Some(ClientCertificateProblem::NotYetValid),
            () if !own.usages.is_empty() && !own.usages.iter().any(fits) => {
                Some(ClientCertificateProblem::WrongUsage)
            }
            () => None,
        }
    }
}

fn server_problem(
    error: &CertificateError,
    chain: &[CertificateFacts],
) -> ServerCertificateProblem {
    use CertificateError as Error;
    use ServerCertificateProblem as Problem;
    let leaf = chain.first();
    match error {
        Error::UnknownIssuer if leaf.is_some_and(|leaf| leaf.issuer == leaf.subject) => {
            Problem::SelfSigned
        }
        Error::UnknownIssuer => Problem::UnknownIssuer,
        Error::NotValidForName => Problem::WrongName,
        Error::NotValidForNameContext { expected, presented } => {
            let is_ip = |name: &String| name.parse::<std::net::IpAddr>().is_ok();
            let has_ip = leaf.is_some_and(|leaf| leaf.names.iter().any(is_ip));
            match expected {
                _ if presented.is_empty() => Problem::NoName,
                rustls::pki_types::ServerName::IpAddress(_) if !has_ip && leaf.is_some() => {
                    Problem::NoIpAddress
                }
                _ => Problem::WrongName,
            }
        }
        Error::Expired | Error::ExpiredContext { .. } => Problem::Expired,
        Error::NotValidYet | Error::NotValidYetContext { .. } => Problem::NotYetValid,
        Error::InvalidPurpose | Error::InvalidPurposeContext { .. } => Problem::WrongUsage,
        Error::BadSignature => Problem::BadSignature,
        Error::Revoked => Problem::Revoked,
        Error::Other(OtherError(error)) => match error.downcast_ref() {
            Some(webpki::Error::CaUsedAsEndEntity) => Problem::CaUsedAsEndEntity,
            Some(webpki::Error::UnsupportedCertVersion) => Problem::Version1,
            // The verifier of a `with_rustls_config` configuration does not show the chain.
            Some(webpki::Error::NameConstraintViolation) => Problem::NameConstraint,
            Some(webpki::Error::PathLenConstraintViolated) => Problem::PathLength,
            Some(webpki::Error::UnsupportedCriticalExtension) => Problem::CriticalExtension,
            Some(webpki::Error::MaximumPathDepthExceeded) => Problem::TooLong,
            Some(webpki::Error::EndEntityUsedAsCa) => Problem::IssuerIsNoCa,
            _ => Problem::Other,
        },
        _ => Problem::Other,
    }
}

/// The error without text from the server: a GOAWAY may carry arbitrary bytes, which h2 would show.
fn ours(error: &(dyn StdError + 'static)) -> Arc<dyn StdError + Send + Sync> {
    let mut words = String::new();
    let mut cause = Some(error);
    while let Some(error) = cause {
        if !words.is_empty() {
            words.push_str(": ");
        }
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            let reason = error.reason().unwrap_or(h2::Reason::NO_ERROR);
            words.push_str(reason.description());
            break;
        }
        words.push_str(&error.to_string());
        cause = error.source();
    }
    Arc::from(Box::<dyn StdError + Send + Sync>::from(words))
}

/// The first I/O error in an error's chain of causes.
fn io_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a io::Error> {
    match error.downcast_ref() {
        Some(error) => Some(error),
        None => io_error(error.source()?),
    }
}

/// The TLS error within an I/O error.
fn tls_error(error: &io::Error) -> Option<rustls::Error> {
    error.get_ref()?.downcast_ref::<rustls::Error>().cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first byte of TLS may arrive alone, before the handshake fails.
    #[test]
    fn servers_without_tls_and_http() {
        for (heard, found) in [
            (&b"SSH-2.0-OpenSSH_9.6\r\n"[..], Some(PeerProtocol::Other)),
            (b"\x16", None),
            (b"\x15\x03\x03", None),
            (b"", None),
        ] {
            let seen = Evidence::default();
            seen.greeting.hear(heard);
            assert_eq!(seen.greeting.plaintext(), found, "{heard:?}");
        }
    }

    /// A GOAWAY may carry arbitrary bytes.
    #[test]
    fn the_data_of_a_goaway_is_not_kept() {
        #[derive(Debug, thiserror::Error)]
        #[error("http2 error")]
        struct Outer(#[source] h2::Error);
        let error = Outer(h2::Error::from(h2::Reason::ENHANCE_YOUR_CALM));
        let words = format!("{0} {0:?}", ours(&error));
        assert!(words.contains("http2 error: "), "{words}");
        assert!(!words.contains("ENHANCE_YOUR_CALM(") && !words.contains("Library"), "{words}");
    }
}
