//! Trusted certificates, and what they may issue.
//!
//! webpki uses the subject, key and name constraints of a trust anchor, and checks nothing else.
//! This module checks the rest, strictly: a certificate with an extension that cannot be decoded or
//! is repeated cannot be an issuer.

use std::collections::BTreeSet;
use std::fmt;
use std::time::SystemTime;

use der::asn1::{AnyRef, BitStringRef, ObjectIdentifier};
use der::{Decode, Sequence, Tag, Tagged};
use rustls::pki_types::{CertificateDer, TrustAnchor};

use super::x509::{
    BASIC_CONSTRAINTS, EXTENDED_KEY_USAGE, EXTENSIONS, Extension, KEY_USAGE, NAME_CONSTRAINTS,
    ToBeSigned, in_short,
};

const SERVER_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");
const ANY_EXTENDED_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37.0");

/// The bit of `keyCertSign` in `keyUsage`, counted from the first.
const KEY_CERT_SIGN: usize = 5;

/// Why a certificate cannot issue the certificate that a server presents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum IssuerProblem {
    /// It has expired.
    Expired,
    /// It is not valid yet, by this machine's clock.
    NotYetValid,
    /// Its `basicConstraints` say `CA:FALSE`.
    NotCa,
    /// It has neither `basicConstraints` nor `keyUsage`, and is not a version 1 root.
    NoCaExtension,
    /// Its `keyUsage` lacks `keyCertSign`.
    NoCertSign,
    /// Its extended key usage lacks `serverAuth`.
    WrongUsage,
    /// It has more intermediates below it than its `pathLenConstraint` allows.
    PathTooLong {
        /// The number that it allows.
        limit: u32,
    },
    /// It has an unknown critical extension.
    UnknownExtension {
        /// The extension's object identifier.
        extension: String,
    },
    /// It has an extension more than once.
    RepeatedExtension {
        /// The extension's name or object identifier.
        extension: String,
    },
    /// A part of it cannot be decoded.
    Undecodable {
        /// The part's name.
        part: String,
    },
}

/// Worded to follow "the issuer".
impl fmt::Display for IssuerProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired => f.write_str("has expired"),
            Self::NotYetValid => f.write_str("is not valid yet"),
            Self::NotCa => f.write_str("is not a CA: its basicConstraints say CA:FALSE"),
            Self::NoCaExtension => {
                f.write_str("is not a CA: it has neither basicConstraints nor keyUsage")
            }
            Self::NoCertSign => {
                f.write_str("must not sign certificates: its keyUsage lacks keyCertSign")
            }
            Self::WrongUsage => f.write_str(
                "must not issue certificates for servers: its extendedKeyUsage lacks serverAuth",
            ),
            Self::PathTooLong { limit } => {
                write!(f, "allows at most {limit} intermediates, by its pathLenConstraint")
            }
            Self::UnknownExtension { extension } => {
                write!(f, "has an unknown critical extension: {extension}")
            }
            Self::RepeatedExtension { extension } => {
                write!(f, "has an extension more than once: {extension}")
            }
            Self::Undecodable { part } => write!(f, "has a part that cannot be decoded: {part}"),
        }
    }
}

impl IssuerProblem {
    fn undecodable(part: impl Into<String>) -> Self {
        Self::Undecodable { part: part.into() }
    }
}

/// A certificate that is configured as trusted.
#[derive(Debug)]
pub(super) struct Anchor {
    pub(super) der: CertificateDer<'static>,
    /// The part that webpki uses.
    pub(super) trust_anchor: TrustAnchor<'static>,
    pub(super) key_identifier: Option<Vec<u8>>,
    reading: Result<Reading, IssuerProblem>,
}

/// The permitted uses of a certificate.
#[derive(Debug)]
struct Reading {
    not_before: SystemTime,
    not_after: SystemTime,
    /// Whether it may sign certificates.
    may_sign: Result<(), IssuerProblem>,
    is_for_servers: bool,
    /// How many intermediates may be below it.
    path_length: Option<u32>,
}

impl Anchor {
    /// Fails if it is not a certificate.
    pub(super) fn read(der: &CertificateDer<'static>) -> der::Result<Self> {
        let certificate = ToBeSigned::parse(der)?;
        // If the extensions cannot be decoded there are no constraints, but the certificate cannot
        // be an issuer either.
        let name_constraints = certificate.all_extensions().ok().and_then(|extensions| {
            let constraints = find(&extensions, NAME_CONSTRAINTS)?;
            Some(AnyRef::from_der(constraints.value).ok()?.value().to_vec().into())
        });
        let trust_anchor = TrustAnchor {
            subject: certificate.subject_der().to_vec().into(),
            subject_public_key_info: certificate.public_key_der().to_vec().into(),
            name_constraints,
        };
        let key_identifier = certificate.subject_key_identifier().map(<[u8]>::to_vec);
        let reading = Reading::of(&certificate);
        Ok(Self { der: der.clone(), trust_anchor, key_identifier, reading })
    }

    /// Whether it may issue certificates for servers now, with this number of intermediates below
    /// it.
    pub(super) fn may_issue(
        &self,
        now: SystemTime,
        intermediates: usize,
    ) -> Result<(), IssuerProblem> {
        let reading = self.reading.as_ref().map_err(Clone::clone)?;
        reading.may_sign.clone()?;
        if let Some(limit) = reading.path_length
            && u32::try_from(intermediates).map_or(true, |intermediates| intermediates > limit)
        {
            return Err(IssuerProblem::PathTooLong { limit });
        }
        reading.may_serve(now)
    }

    /// Whether it may be a server's own certificate now.
    pub(super) fn may_serve(&self, now: SystemTime) -> Result<(), IssuerProblem> {
        self.reading.as_ref().map_err(Clone::clone)?.may_serve(now)
    }
}

impl Reading {
    fn of(certificate: &ToBeSigned<'_>) -> Result<Self, IssuerProblem> {
        let extensions = extensions(certificate)?;
        let unknown = |extension: &&Extension<'_>| {
            let id = in_short(extension.id, &[]);
            extension.is_critical && !EXTENSIONS.iter().any(|(known, _)| *known == id)
        };
        if let Some(unknown) = extensions.iter().find(unknown) {
            return Err(IssuerProblem::UnknownExtension { extension: name(unknown) });
        }
        if let Some(constraints) = find(&extensions, NAME_CONSTRAINTS) {
            // Only its two lists: webpki decodes their names when it compares them.
            decode::<Vec<AnyRef<'_>>>(constraints)?;
        }
        let undecodable = || IssuerProblem::undecodable("validity");
        Ok(Self {
            not_before: certificate.not_before().ok_or_else(undecodable)?,
            not_after: certificate.not_after().ok_or_else(undecodable)?,
            may_sign: match signs(certificate, &extensions) {
                Err(undecodable @ IssuerProblem::Undecodable { .. }) => return Err(undecodable),
                may_sign => may_sign,
            },
            is_for_servers: is_for_servers(&extensions)?,
            path_length: basic_constraints(&extensions)?.and_then(|basic| basic.path_length),
        })
    }

    fn may_serve(&self, now: SystemTime) -> Result<(), IssuerProblem> {
        match () {
            () if !self.is_for_servers => Err(IssuerProblem::WrongUsage),
            () if self.not_after < now => Err(IssuerProblem::Expired),
            () if self.not_before > now => Err(IssuerProblem::NotYetValid),
            () => Ok(()),
        }
    }
}

/// Whether an intermediate may sign certificates: webpki does not check its `keyUsage`.
pub(super) fn may_sign(intermediate: &[u8]) -> Result<(), IssuerProblem> {
    let certificate = ToBeSigned::parse(intermediate).ok();
    let certificate = certificate.ok_or_else(|| IssuerProblem::undecodable("certificate"))?;
    signs(&certificate, &extensions(&certificate)?)
}

/// Whether a certificate is a CA's, or may sign certificates or CRLs by its `keyUsage`. True if
/// that cannot be decoded.
pub(super) fn may_sign_anything(certificate: &ToBeSigned<'_>) -> bool {
    let signs = || {
        let extensions = extensions(certificate)?;
        let is_ca = basic_constraints(&extensions)?.is_some_and(|basic| basic.is_ca);
        let usage: Option<BitStringRef<'_>> =
            find(&extensions, KEY_USAGE).map(decode).transpose()?;
        let signing = usage.map(|usage| usage.bits().skip(KEY_CERT_SIGN).take(2).any(|bit| bit));
        Ok::<_, IssuerProblem>(is_ca || signing.unwrap_or(false))
    };
    signs().unwrap_or(true)
}

fn extensions<'a>(certificate: &ToBeSigned<'a>) -> Result<Vec<Extension<'a>>, IssuerProblem> {
    let extensions = certificate.all_extensions().ok();
    let extensions = extensions.ok_or_else(|| IssuerProblem::undecodable("extensions"))?;
    let mut seen = BTreeSet::new();
    match extensions.iter().find(|extension| !seen.insert(extension.id.value())) {
        Some(again) => Err(IssuerProblem::RepeatedExtension { extension: name(again) }),
        None => Ok(extensions),
    }
}

/// By [RFC 5280, section 6.1.4](https://www.rfc-editor.org/rfc/rfc5280#section-6.1.4), (k) and (n).
/// Version 1 roots have no extensions, and some version 3 roots have only `keyUsage`. A version 1
/// certificate that is not a root is not accepted: `openssl x509 -req` issues such certificates for
/// clients.
fn signs(certificate: &ToBeSigned<'_>, extensions: &[Extension<'_>]) -> Result<(), IssuerProblem> {
    let is_old_root =
        certificate.version() < 3 && certificate.subject_der() == certificate.issuer_der();
    let basic = basic_constraints(extensions)?;
    let signs = match find(extensions, KEY_USAGE) {
        Some(usage) => {
            let bits: BitStringRef<'_> = decode(usage)?;
            Some(bits.bits().nth(KEY_CERT_SIGN).unwrap_or(false))
        }
        None => None,
    };
    match (basic, signs) {
        (Some(BasicConstraints { is_ca: false, .. }), _) => Err(IssuerProblem::NotCa),
        (_, Some(false)) => Err(IssuerProblem::NoCertSign),
        (None, None) if !is_old_root => Err(IssuerProblem::NoCaExtension),
        _ => Ok(()),
    }
}

#[derive(Sequence)]
struct BasicConstraints {
    #[asn1(default = "Default::default")]
    is_ca: bool,
    #[asn1(optional = "true")]
    path_length: Option<u32>,
}

fn basic_constraints(
    extensions: &[Extension<'_>],
) -> Result<Option<BasicConstraints>, IssuerProblem> {
    find(extensions, BASIC_CONSTRAINTS).map(decode).transpose()
}

fn is_for_servers(extensions: &[Extension<'_>]) -> Result<bool, IssuerProblem> {
    let Some(extension) = find(extensions, EXTENDED_KEY_USAGE) else {
        return Ok(true);
    };
    let usages: Vec<AnyRef<'_>> = decode(extension)?;
    let is_usage = |usage: &AnyRef<'_>| usage.tag() == Tag::ObjectIdentifier;
    if usages.is_empty() || !usages.iter().all(is_usage) {
        return Err(IssuerProblem::undecodable(name(extension)));
    }
    let permits = [SERVER_AUTH, ANY_EXTENDED_KEY_USAGE];
    Ok(usages.iter().any(|usage| permits.iter().any(|id| id.as_bytes() == usage.value())))
}

fn find<'e, 'a>(
    extensions: &'e [Extension<'a>],
    id: ObjectIdentifier,
) -> Option<&'e Extension<'a>> {
    extensions.iter().find(|extension| extension.id.value() == id.as_bytes())
}

/// Its name in OpenSSL's configuration, or else its object identifier.
fn name(extension: &Extension<'_>) -> String {
    in_short(extension.id, EXTENSIONS)
}

/// Decodes an extension completely: trailing bytes are an error.
fn decode<'a, T: Decode<'a>>(extension: &Extension<'a>) -> Result<T, IssuerProblem> {
    let decoded = T::from_der(extension.value).ok();
    decoded.ok_or_else(|| IssuerProblem::undecodable(name(extension)))
}
