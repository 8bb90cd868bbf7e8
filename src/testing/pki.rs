//! A throw-away public key infrastructure, with one fixture for each way to be wrong.

use std::path::{Path, PathBuf};
use std::time::SystemTime;
use std::{fmt, fs, io};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256,
};
use time::{Duration, OffsetDateTime};
use x509_parser::parse_x509_certificate;

use super::Identity;
use super::v1;

/// What is right or wrong with a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fixture {
    /// Issued by the CA and valid.
    Good,
    /// Issued by a CA that is unrelated to the first.
    OtherCa,
    /// Signed with its own key.
    SelfSigned,
    /// Valid until a day ago.
    Expired,
    /// Valid from tomorrow on.
    NotYetValid,
    /// Issued to `other.example` instead of the expected name.
    WrongName,
    /// Names its subject by the common name alone. No client has subject alternative names, so that a
    /// client is as with [`Good`](Self::Good).
    NoSan,
    /// For use by the other side: a server whose extended key usage is `clientAuth`, and the reverse.
    WrongUsage,
    /// An X.509 version 1 certificate, which has no extensions at all.
    V1,
    /// Issued by an intermediate that its chain includes.
    Intermediate,
    /// Issued by an intermediate that its chain lacks.
    MissingIntermediate,
    /// One that is a certificate authority's itself.
    CaUsedAsEndEntity,
}

impl Fixture {
    /// Every fixture.
    pub const ALL: &[Self] = &[
        Self::Good,
        Self::OtherCa,
        Self::SelfSigned,
        Self::Expired,
        Self::NotYetValid,
        Self::WrongName,
        Self::NoSan,
        Self::WrongUsage,
        Self::V1,
        Self::Intermediate,
        Self::MissingIntermediate,
        Self::CaUsedAsEndEntity,
    ];
}

/// The kind of a private key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyType {
    /// ECDSA on P-256, what every other key here is.
    EcdsaP256,
    /// ECDSA on P-384.
    EcdsaP384,
    /// Ed25519.
    Ed25519,
    /// RSA with 2048 bits, which takes the longest to make.
    Rsa2048,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Server,
    Client,
}

impl Side {
    fn usage(self) -> ExtendedKeyUsagePurpose {
        match self {
            Self::Server => ExtendedKeyUsagePurpose::ServerAuth,
            Self::Client => ExtendedKeyUsagePurpose::ClientAuth,
        }
    }

    fn common_name(self) -> &'static str {
        match self {
            Self::Server => "localhost",
            Self::Client => "test-client",
        }
    }

    fn other(self) -> Self {
        match self {
            Self::Server => Self::Client,
            Self::Client => Self::Server,
        }
    }
}

type Authority = CertifiedIssuer<'static, KeyPair>;

/// Two CAs that have nothing to do with each other, and the certificates they issue.
///
/// Every `Pki` has keys of its own, which exist in memory alone.
pub struct Pki {
    ca: Authority,
    ca_pem: String,
    other_ca: Authority,
    other_ca_pem: String,
    intermediate: Authority,
}

impl Pki {
    /// Makes the CAs.
    #[allow(clippy::new_without_default, reason = "a default that generates keys would surprise")]
    pub fn new() -> Self {
        let ca = sound(CertifiedIssuer::self_signed(
            authority("otlp-mtls test ca"),
            key(KeyType::EcdsaP256),
        ));
        let other_ca = sound(CertifiedIssuer::self_signed(
            authority("otlp-mtls other test ca"),
            key(KeyType::EcdsaP256),
        ));
        let mut params = authority("otlp-mtls test intermediate");
        params.use_authority_key_identifier_extension = true;
        let intermediate = sound(CertifiedIssuer::signed_by(params, key(KeyType::EcdsaP256), &ca));
        Self { ca_pem: ca.pem(), ca, other_ca_pem: other_ca.pem(), other_ca, intermediate }
    }

    /// The CA's certificate in PEM: what the peer of a good identity has to trust.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The certificate of the CA that issues [`Fixture::OtherCa`], in PEM.
    pub fn other_ca_pem(&self) -> &str {
        &self.other_ca_pem
    }

    /// A server; a good one is `localhost`, `127.0.0.1` and `::1`.
    pub fn server(&self, fixture: Fixture) -> Identity {
        self.issue(Side::Server, fixture, Side::Server.common_name(), KeyType::EcdsaP256)
    }

    /// A client; a good one has the common name `test-client`.
    pub fn client(&self, fixture: Fixture) -> Identity {
        self.issue(Side::Client, fixture, Side::Client.common_name(), KeyType::EcdsaP256)
    }

    /// A good client with the common name `common_name`.
    pub fn client_named(&self, common_name: &str) -> Identity {
        self.issue(Side::Client, Fixture::Good, common_name, KeyType::EcdsaP256)
    }

    /// A good client with a key of the kind `key_type`.
    pub fn client_with_key(&self, key_type: KeyType) -> Identity {
        self.issue(Side::Client, Fixture::Good, Side::Client.common_name(), key_type)
    }

    /// Writes the CA's certificate to `ca.crt` in `directory`, and returns its path.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be written.
    pub fn write_ca_to(&self, directory: &Path) -> io::Result<PathBuf> {
        let path = directory.join("ca.crt");
        fs::write(&path, &self.ca_pem)?;
        Ok(path)
    }

    fn issue(
        &self,
        side: Side,
        fixture: Fixture,
        common_name: &str,
        key_type: KeyType,
    ) -> Identity {
        let key = key(key_type);
        if fixture == Fixture::V1 {
            return self.issue_v1(common_name, &key);
        }

        let (mut common_name, mut names) = (
            common_name,
            match side {
                Side::Server => {
                    vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()]
                }
                Side::Client => Vec::new(),
            },
        );
        let mut usage = side.usage();
        let (mut not_before, mut not_after) = validity();
        match fixture {
            Fixture::Expired => (not_before, not_after) = (not_before - Duration::DAY, not_before),
            Fixture::NotYetValid => not_before += Duration::days(2),
            Fixture::WrongName => {
                common_name = "other.example";
                names.iter_mut().for_each(|name| *name = common_name.to_owned());
                names.truncate(1);
            }
            Fixture::NoSan => names.clear(),
            Fixture::WrongUsage => usage = side.other().usage(),
            _ => {}
        }

        let mut params = sound(CertificateParams::new(names));
        params.distinguished_name = distinguished_name(common_name);
        (params.not_before, params.not_after) = (not_before, not_after);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = fixture != Fixture::SelfSigned;
        if fixture == Fixture::CaUsedAsEndEntity {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }

        let certificate = sound(match fixture {
            Fixture::OtherCa => params.signed_by(&key, &self.other_ca),
            Fixture::SelfSigned => params.self_signed(&key),
            Fixture::Intermediate | Fixture::MissingIntermediate => {
                params.signed_by(&key, &self.intermediate)
            }
            _ => params.signed_by(&key, &self.ca),
        });
        let mut chain = vec![certificate.der().clone()];
        if fixture == Fixture::Intermediate {
            chain.push(self.intermediate.der().clone());
        }
        Identity::new(chain, key.serialize_der().into())
    }

    fn issue_v1(&self, common_name: &str, key: &KeyPair) -> Identity {
        // invariant: rcgen has just written this certificate
        let (_, ca) = parse_x509_certificate(self.ca.der()).expect("the ca's certificate parses");
        let (not_before, not_after) = validity();
        let certificate = v1::Certificate { common_name, not_before, not_after, key };
        let der = sound(certificate.signed_by(ca.subject().as_raw(), self.ca.key()));
        Identity::new(vec![der], key.serialize_der().into())
    }
}

impl fmt::Debug for Pki {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pki").finish_non_exhaustive()
    }
}

fn key(key_type: KeyType) -> KeyPair {
    sound(KeyPair::generate_for(match key_type {
        KeyType::EcdsaP256 => &PKCS_ECDSA_P256_SHA256,
        KeyType::EcdsaP384 => &PKCS_ECDSA_P384_SHA384,
        KeyType::Ed25519 => &PKCS_ED25519,
        KeyType::Rsa2048 => &PKCS_RSA_SHA256,
    }))
}

fn authority(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished_name(common_name);
    (params.not_before, params.not_after) = validity();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn distinguished_name(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

/// From a day ago, so that clocks may disagree, until in thirty days.
fn validity() -> (OffsetDateTime, OffsetDateTime) {
    let seconds = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs());
    // invariant: a clock that is past year 9999 is not one to test by
    let now =
        OffsetDateTime::from_unix_timestamp(seconds as i64).expect("a date before year 10000");
    (now - Duration::DAY, now + Duration::days(30))
}

/// What rcgen made of parameters that are constants of this file.
///
/// Invariant: rcgen fails on names that are no ASCII, algorithms that are not compiled in and a random
/// number generator that fails; the first two cannot occur here and nobody can go on after the third.
fn sound<T>(made: Result<T, rcgen::Error>) -> T {
    made.expect("rcgen signs what it is given")
}
