//! Findings that need no connection.

use std::time::SystemTime;

use super::report::{Finding, Topic};
use crate::config::{Address, Origin, Settings};
use crate::error::located;
use crate::text::{FEW, list, utc};
use crate::tls::{
    CertificateFacts, IssuerProblem, RejectedCredentials, Store, TokenFile, Validated,
};

/// Describes the bearer token, without its value.
pub(super) fn token(settings: &Settings, file: &TokenFile) -> Vec<Finding> {
    let status = file.status();
    let place = format!("{} ({})", status.file.display(), file.settings().file.origin);
    let words = format!("read at {}, in {place}", utc(status.read));
    let mut findings =
        vec![match settings.endpoint.secure || settings.endpoint.address.is_this_machine() {
            true => Finding::good(Topic::Token, words),
            false => Finding::doubtful(Topic::Token, format!("{words}; sent in plaintext")),
        }];
    findings.extend(status.refusal.map(|refusal| not_used(&refusal)));
    findings
}

/// `used` is the trust anchor of the server's chain.
pub(super) fn findings(
    settings: &Settings,
    store: Option<&Store>,
    used: Option<&CertificateFacts>,
) -> Vec<Finding> {
    let Settings { endpoint, protocol, .. } = settings;
    let path = match protocol.is_grpc() {
        true => String::new(),
        false => endpoint.shown_path(),
    };
    let mut findings = vec![
        Finding::good(Topic::Endpoint, format!("{endpoint}{path}, by {}", by(&endpoint.origin))),
        Finding::good(Topic::Protocol, format!("{}, by {}", protocol.value, by(&protocol.origin))),
    ];
    let Some(store) = store else {
        findings.push(match endpoint.address {
            Address::Tcp { .. } => Finding::doubtful(
                Topic::Tls,
                "none: the endpoint is http://, so nothing is encrypted or authenticated"
                    .to_owned(),
            ),
            Address::Unix(_) => Finding::good(
                Topic::Tls,
                "none: the socket's permissions decide who may connect".to_owned(),
            ),
        });
        return findings;
    };
    if let Some(id) = settings.tls.as_ref().and_then(|tls| tls.server_spiffe_id.as_ref()) {
        let whose = if id.is_trust_domain() { "any of" } else { "the server must be" };
        let words = format!("{whose} {}, by {}", id.value, by(&id.origin));
        findings.push(Finding::good(Topic::ServerSpiffeId, words));
    }
    match &store.current().validated {
        Some(validated) => {
            trust(Topic::TrustAnchors, validated, used, store, &mut findings);
            identity(validated, store, &mut findings);
        }
        None => {
            let words = "what with_rustls_config() was given".to_owned();
            findings.push(Finding::good(Topic::TrustAnchors, words));
        }
    }
    findings.extend(store.status().refusal.map(|refusal| not_used(&refusal)));
    findings
}

/// Describes how an `https://` proxy is verified.
pub(super) fn proxy(store: &Store) -> Vec<Finding> {
    let (mut findings, status) = (Vec::new(), store.status());
    if let Some(validated) = &store.current().validated {
        let topic = Topic::ProxyTrustAnchors;
        trust(topic, validated, status.anchor.as_ref(), store, &mut findings);
    }
    findings.extend(status.refusal.map(|refusal| not_used(&refusal)));
    findings
}

fn not_used(refusal: &RejectedCredentials) -> Finding {
    let reason = refusal.reason.replace("\n  because: ", ", because: ");
    let words = format!("these stay in use, because newer ones cannot be used: {reason}");
    Finding::doubtful(Topic::Rotation, words)
}

fn by(origin: &Origin) -> String {
    match origin {
        Origin::Default => "default".to_owned(),
        origin => origin.to_string(),
    }
}

/// Describes the trust anchors. `used` is the anchor of the server's chain: once it is known, problems of the
/// others do not matter. Many anchors are summarised.
fn trust(
    topic: Topic,
    validated: &Validated,
    used: Option<&CertificateFacts>,
    store: &Store,
    to: &mut Vec<Finding>,
) {
    if !validated.names_a_ca() {
        let words = "the platform's: no CA is configured".to_owned();
        to.push(Finding::good(topic, words));
    }
    let place = located(&validated.origins().ca);
    let anchors = validated.trust_anchors.len();
    if anchors > FEW {
        let unusable: Vec<String> = validated
            .judged_anchors()
            .filter_map(|(facts, judged)| judged.err().map(|_problem| facts.subject.clone()))
            .collect();
        let words = match unusable.as_slice() {
            [] => format!("{anchors} certificates, in {place}"),
            unusable => format!(
                "{anchors} certificates, in {place}; {} of them cannot issue certificates now: {}",
                unusable.len(),
                list(unusable)
            ),
        };
        to.push(match unusable.len() == anchors {
            true => Finding::doubtful(topic, words),
            false => Finding::good(topic, words),
        });
    }
    for (facts, judged) in validated.judged_anchors() {
        let is_used = used == Some(facts);
        if anchors > FEW && !is_used {
            continue;
        }
        let Finding { topic, outcome, words } = certificate(topic, facts, &place, store);
        to.push(match judged {
            // Judged like the server's own certificate.
            _ if is_used => Finding { topic, outcome, words },
            _ if used.is_some() => Finding::good(topic, words),
            Err(IssuerProblem::Expired | IssuerProblem::NotYetValid) | Ok(()) => {
                Finding { topic, outcome, words }
            }
            Err(problem) => Finding::doubtful(topic, format!("{words}: it {problem}")),
        });
    }
    to.extend(beside(topic, &place, &validated.beside().ca));
}

fn identity(validated: &Validated, store: &Store, to: &mut Vec<Finding>) {
    let Some(leaf) = validated.chain.first() else {
        let words = "none: a server that requires one will reject us".to_owned();
        to.push(Finding::good(Topic::ClientCertificate, words));
        return;
    };
    let origins = validated.origins();
    to.push(certificate(Topic::ClientCertificate, leaf, &located(&origins.certificate), store));
    let place = located(&origins.certificate);
    to.extend(beside(Topic::ClientCertificate, &place, &validated.beside().certificate));
    let place = located(&origins.key);
    to.push(Finding::good(Topic::ClientKey, format!("matches that certificate, in {place}")));
    to.extend(beside(Topic::ClientKey, &place, &validated.beside().key));

    let usage = match leaf.usages.as_slice() {
        [] => "for any use".to_owned(),
        usages => format!("for {}", usages.join(", ")),
    };
    let provider = store.current().config.crypto_provider().clone();
    to.push(match validated.verify_client(&provider) {
        _ if leaf.version < 3 => Finding::doubtful(
            Topic::ClientChain,
            format!("X.509 version {}, which rustls servers reject", leaf.version),
        ),
        Ok(true) => Finding::good(Topic::ClientChain, format!("{usage}; chains to a trusted CA")),
        Ok(false) => {
            Finding::good(Topic::ClientChain, format!("{usage}; issued by {}", leaf.issuer))
        }
        Err(error) => {
            let words = format!("{usage}; not verified by the trusted CAs: {error}");
            Finding::doubtful(Topic::ClientChain, words)
        }
    });
}

/// The unused sections of a file.
fn beside(topic: Topic, place: &str, labels: &[String]) -> Option<Finding> {
    let not_used = || format!("not used, in {place}: {}", labels.join(", "));
    (!labels.is_empty()).then(|| Finding::good(topic, not_used()))
}

/// Describes a certificate of ours and its validity.
fn certificate(topic: Topic, facts: &CertificateFacts, place: &str, store: &Store) -> Finding {
    let words = format!("{facts}, SHA-256 {}, in {place}", facts.fingerprint);
    let now = SystemTime::now();
    match () {
        () if facts.expired(now).is_some() => Finding::doubtful(topic, format!("EXPIRED: {words}")),
        () if facts.not_yet_valid(now).is_some() => {
            Finding::doubtful(topic, format!("NOT YET VALID: {words}"))
        }
        () if store.is_expiring(facts) => {
            Finding::doubtful(topic, format!("expires soon: {words}"))
        }
        () => Finding::good(topic, words),
    }
}
