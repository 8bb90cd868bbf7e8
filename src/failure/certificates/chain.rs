//! Finds the certificate of a server's chain that caused a rejection, where the verifier's error
//! does not name it.

use rustls::pki_types::ServerName;
use rustls::{CertificateError, OtherError};

use super::fault::{Fault, Holder, Rule};
use crate::tls::{CertificateDetails, GeneralName, OtherSpiffeId, algorithm_name};

/// The RSA key sizes that rustls' crypto providers accept, in bits.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// The chain that a server presented, and the CAs that it may lead to.
pub(in crate::failure) struct Chain {
    presented: Vec<CertificateDetails>,
    trusted: Vec<CertificateDetails>,
    /// Whether the chain was accepted, so that the error is about the server's own signature.
    is_verified: bool,
}

impl Chain {
    /// `presented` begins with the leaf; the others may be in any order.
    pub(in crate::failure) fn new(
        presented: Vec<CertificateDetails>,
        trusted: Vec<CertificateDetails>,
        is_verified: bool,
    ) -> Self {
        Self { presented: in_order(presented), trusted, is_verified }
    }

    /// `None` if the error already says everything.
    pub(in crate::failure) fn fault(&self, error: &CertificateError) -> Option<Fault> {
        match error {
            CertificateError::BadSignature => self.bad_signature(),
            CertificateError::UnknownIssuer => self.unknown_issuer(),
            CertificateError::UnsupportedSignatureAlgorithmContext {
                signature_algorithm_id,
                ..
            } => {
                let signed =
                    |it: &&CertificateDetails| it.signature_algorithm == *signature_algorithm_id;
                Some(Fault::Signature {
                    of: self.presented.iter().find(signed).map(|it| self.holder(it)),
                    algorithm: algorithm_name(signature_algorithm_id),
                })
            }
            CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext {
                public_key_algorithm_id,
                ..
            } => {
                let has_it =
                    |it: &&CertificateDetails| it.key_algorithm == *public_key_algorithm_id;
                Some(Fault::Key {
                    of: self.issuers().find(has_it).map(|it| self.holder(it)),
                    algorithm: algorithm_name(public_key_algorithm_id),
                })
            }
            CertificateError::NotValidForNameContext { expected, .. } => self.wrong_name(expected),
            CertificateError::Other(OtherError(error)) => {
                match error.downcast_ref::<OtherSpiffeId>() {
                    Some(other) => Some(Fault::SpiffeId(other.clone())),
                    None => self.webpki(error.downcast_ref()?),
                }
            }
            _ => None,
        }
    }

    fn bad_signature(&self) -> Option<Fault> {
        let fault = |it: &CertificateDetails| {
            let bits = it.rsa_bits.filter(|bits| !RSA_BITS.contains(bits))?;
            Some(Fault::KeySize { of: self.holder(it), bits })
        };
        match self.is_verified {
            true => self.presented.first().and_then(fault).or(Some(Fault::NotItsKey)),
            false => self.issuers().find_map(fault),
        }
    }

    fn unknown_issuer(&self) -> Option<Fault> {
        let last = self.presented.last()?;
        let is_alike = |it: &CertificateDetails| {
            it.subject_der != last.issuer_der && folded(&it.subject) == folded(&last.issuer)
        };
        let issuer = last.issuer.clone();
        self.trusted.iter().any(is_alike).then_some(Fault::NameEncoding { issuer })
    }

    fn wrong_name(&self, expected: &ServerName<'_>) -> Option<Fault> {
        let names = &self.presented.first()?.names;
        let is_host = |name: &GeneralName| matches!(name, GeneralName::Dns(_) | GeneralName::Ip(_));
        match expected {
            _ if names.is_empty() => None,
            _ if !names.iter().any(is_host) => Some(Fault::NoHostName { names: names.clone() }),
            ServerName::IpAddress(address) => {
                let address = std::net::IpAddr::from(*address);
                let is_it = |name: &GeneralName| match name {
                    GeneralName::Dns(name) => name.parse() == Ok(address),
                    _ => false,
                };
                names.iter().any(is_it).then_some(Fault::AddressAsDnsName)
            }
            _ => None,
        }
    }

    fn webpki(&self, error: &webpki::Error) -> Option<Fault> {
        use webpki::Error;
        let intermediates = self.presented.get(1..).unwrap_or_default();
        match error {
            Error::NameConstraintViolation => self.name_constraint(),
            Error::PathLenConstraintViolated => {
                intermediates.iter().enumerate().find_map(|(following, ca)| {
                    let permitted = ca.path_length.filter(|it| usize::from(*it) < following)?;
                    Some(Fault::PathLength { ca: self.holder(ca), permitted, following })
                })
            }
            Error::UnsupportedCertVersion => {
                let old = intermediates.iter().find(|it| it.version != 3)?;
                Some(Fault::Version { of: self.holder(old), version: old.version })
            }
            Error::UnsupportedCriticalExtension => self.presented.iter().find_map(|it| {
                let extension = it.unread_critical.first()?.clone();
                Some(Fault::CriticalExtension { of: self.holder(it), extension })
            }),
            Error::MaximumPathDepthExceeded => Some(Fault::TooLong {
                intermediates: intermediates.len(),
                last: self.holder(intermediates.last()?),
            }),
            Error::EndEntityUsedAsCa => {
                let issuer = intermediates.iter().find(|it| !it.is_ca)?;
                Some(Fault::NotACa { issuer: self.holder(issuer) })
            }
            _ => None,
        }
    }

    /// A CA's constraints apply to every certificate below it, not only to those it issued
    /// directly.
    fn name_constraint(&self) -> Option<Fault> {
        let depth = |ca: &CertificateDetails| {
            let depth = self.presented.iter().position(|it| std::ptr::eq(it, ca));
            depth.unwrap_or(self.presented.len())
        };
        self.issuers().find_map(|ca| {
            self.presented[..depth(ca)].iter().find_map(|it| {
                let (name, rule) = broken(ca, it)?;
                Some(Fault::NameConstraint { ca: self.holder(ca), name, rule })
            })
        })
    }

    /// The CAs of the chain: the presented ones first, then the trusted ones.
    fn issuers(&self) -> impl Iterator<Item = &CertificateDetails> {
        let last = self.presented.last().map(|last| &last.issuer_der);
        let presented = self.presented.iter().skip(1);
        presented.chain(self.trusted.iter().filter(move |it| Some(&it.subject_der) == last))
    }

    fn holder(&self, of: &CertificateDetails) -> Holder {
        let is_leaf = self.presented.first().is_some_and(|leaf| std::ptr::eq(leaf, of));
        Holder { subject: of.subject.clone(), is_leaf }
    }
}

/// The leaf, its issuer, and so on to the end of the chain.
fn in_order(mut presented: Vec<CertificateDetails>) -> Vec<CertificateDetails> {
    if presented.is_empty() {
        return presented;
    }
    let mut path = vec![presented.remove(0)];
    while let Some(last) = path.last()
        && last.subject_der != last.issuer_der
        && let Some(next) = presented.iter().position(|it| it.subject_der == last.issuer_der)
    {
        path.push(presented.remove(next));
    }
    path
}

/// Normalises a name. [RFC 5280, section 7.1](https://www.rfc-editor.org/rfc/rfc5280#section-7.1)
/// ignores case, white space and string types when names are compared; webpki compares bytes.
fn folded(name: &str) -> String {
    name.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

/// A name in `issued` that the constraints of `ca` exclude, by webpki's rules.
fn broken(ca: &CertificateDetails, issued: &CertificateDetails) -> Option<(String, Rule)> {
    // The subject counts as a directory name, even if it is empty.
    let subject = GeneralName::Directory(issued.subject.clone());
    issued.names.iter().chain([&subject]).find_map(|name| {
        let same_form =
            |base: &&GeneralName| std::mem::discriminant(*base) == std::mem::discriminant(name);
        let mut excluded = ca.excluded.iter().filter(same_form);
        let permitted: Vec<&GeneralName> = ca.permitted.iter().filter(same_form).collect();
        let rule = if !matches!(name, GeneralName::Dns(_) | GeneralName::Ip(_)) {
            let is_constrained = !permitted.is_empty() || excluded.next().is_some();
            is_constrained.then_some(Rule::Unread(name.form()))
        } else if let Some(base) = excluded.find(|base| stands_for(base, name)) {
            Some(Rule::Excludes(base.to_string()))
        } else if !permitted.is_empty() && !permitted.iter().any(|base| stands_for(base, name)) {
            Some(Rule::Permits(permitted.iter().map(ToString::to_string).collect()))
        } else {
            None
        };
        Some((name.to_string(), rule?))
    })
}

/// [RFC 5280, section 4.2.1.10](https://www.rfc-editor.org/rfc/rfc5280#section-4.2.1.10)
fn stands_for(base: &GeneralName, name: &GeneralName) -> bool {
    match (base, name) {
        (GeneralName::Dns(base), GeneralName::Dns(name)) => {
            let (base, name) = (base.to_ascii_lowercase(), name.to_ascii_lowercase());
            match name.strip_suffix(&base) {
                Some("") => true,
                Some(rest) => base.is_empty() || base.starts_with('.') || rest.ends_with('.'),
                None => false,
            }
        }
        (GeneralName::Ip(base), GeneralName::Ip(name)) => {
            let (address, mask) = base.split_at(base.len() / 2);
            address.len() == name.len()
                && name.iter().zip(address).zip(mask).all(|((a, b), mask)| a & mask == b & mask)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constraints_as_text() {
        let dns = |name: &str| GeneralName::Dns(name.to_owned());
        for (base, name, expected) in [
            ("example.com", "example.com", true),
            ("example.com", "a.Example.com", true),
            ("example.com", "badexample.com", false),
            (".example.com", "a.example.com", true),
            (".example.com", "example.com", false),
            ("", "anything", true),
        ] {
            assert_eq!(stands_for(&dns(base), &dns(name)), expected, "{base} {name}");
        }
        let ip = |bytes: &[u8]| GeneralName::Ip(bytes.to_vec());
        let ten = ip(&[10, 0, 0, 0, 255, 0, 0, 0]);
        assert!(stands_for(&ten, &ip(&[10, 1, 2, 3])));
        assert!(!stands_for(&ten, &ip(&[11, 1, 2, 3])));
        assert!(!stands_for(&ten, &ip(&[10; 16])));
        assert!(!stands_for(&ten, &dns("10.1.2.3")));
        assert_eq!(ten.to_string(), "10.0.0.0/8");
    }

    #[test]
    fn similar_names() {
        assert_eq!(folded("CN=Example  CA, O=X"), folded("CN=example ca, O=x"));
        assert_ne!(folded("CN=a"), folded("CN=b"));
    }
}
