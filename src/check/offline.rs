//! What can be said before anything is dialled.

use std::time::SystemTime;

use super::report::{Finding, Topic};
use crate::config::{Origin, Settings};
use crate::error::located;
use crate::tls::{CertificateFacts, Store, Validated};

pub(super) fn findings(settings: &Settings, store: Option<&Store>) -> Vec<Finding> {
    let Settings { endpoint, protocol, origins, .. } = settings;
    let path = match protocol.is_grpc() {
        true => "",
        false => endpoint.path.path(),
    };
    let mut findings = vec![
        Finding::good(Topic::Endpoint, format!("{endpoint}{path}, by {}", by(&endpoint.origin))),
        Finding::good(Topic::Protocol, format!("{protocol}, by {}", by(&origins.protocol))),
    ];
    let Some(store) = store else {
        let words =
            "none: the endpoint is http://, so nothing is encrypted, and nobody authenticated";
        findings.push(Finding::doubtful(Topic::Tls, words.to_owned()));
        return findings;
    };
    match store.current().validated {
        Some(validated) => {
            trust(&validated, store, &mut findings);
            identity(&validated, store, &mut findings);
        }
        None => {
            let words = "what with_rustls_config() was given".to_owned();
            findings.push(Finding::good(Topic::TrustAnchors, words));
        }
    }
    findings
}

fn by(origin: &Origin) -> String {
    match origin {
        Origin::Default => "default".to_owned(),
        origin => origin.to_string(),
    }
}

fn trust(validated: &Validated, store: &Store, to: &mut Vec<Finding>) {
    if !validated.names_a_ca() {
        let words = "the platform's, for no CA is named".to_owned();
        to.push(Finding::good(Topic::TrustAnchors, words));
    }
    for anchor in &validated.trust_anchors {
        let place = located(&validated.origins().ca);
        to.push(certificate(Topic::TrustAnchors, anchor, &place, store));
    }
}

fn identity(validated: &Validated, store: &Store, to: &mut Vec<Finding>) {
    let Some(leaf) = validated.chain.first() else {
        let words = "none: a server that demands one will refuse us".to_owned();
        to.push(Finding::good(Topic::ClientCertificate, words));
        return;
    };
    let origins = validated.origins();
    to.push(certificate(Topic::ClientCertificate, leaf, &located(&origins.certificate), store));
    let words = format!("belongs to that certificate, in {}", located(&origins.key));
    to.push(Finding::good(Topic::ClientKey, words));

    let usage = match leaf.usages.as_slice() {
        [] => "for any use".to_owned(),
        usages => format!("for {}", usages.join(", ")),
    };
    let provider = store.current().config.crypto_provider().clone();
    to.push(match validated.verify_client(&provider) {
        _ if leaf.version < 3 => Finding::doubtful(
            Topic::ClientChain,
            format!("X.509 version {}, which servers by rustls refuse", leaf.version),
        ),
        // A server may well trust other CAs than we do.
        Some(Err(error)) => {
            let words = format!("{usage}; by the CAs that we trust: {error}");
            Finding::doubtful(Topic::ClientChain, words)
        }
        Some(Ok(())) => {
            Finding::good(Topic::ClientChain, format!("{usage}; leads to a CA that we trust"))
        }
        None => Finding::good(Topic::ClientChain, format!("{usage}; issued by {}", leaf.issuer)),
    });
}

/// A certificate of ours, and whether its time is good.
fn certificate(topic: Topic, facts: &CertificateFacts, place: &str, store: &Store) -> Finding {
    let words = format!("{facts}, SHA-256 {}, in {place}", facts.fingerprint);
    let now = SystemTime::now();
    match () {
        () if facts.not_after < now => Finding::doubtful(topic, format!("EXPIRED: {words}")),
        () if facts.not_before > now => Finding::doubtful(topic, format!("NOT YET VALID: {words}")),
        () if store.is_expiring(facts) => {
            Finding::doubtful(topic, format!("expires soon: {words}"))
        }
        () => Finding::good(topic, words),
    }
}
