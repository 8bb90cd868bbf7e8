//! A throw-away public key infrastructure, with a fixture for each kind of defect.

use std::path::{Path, PathBuf};
use std::time::SystemTime;
use std::{fmt, fs, io};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyUsagePurpose, SanType,
};
use time::{Duration, OffsetDateTime};

use super::key::{Key, KeyType};
use super::{Identity, v1};

/// The validity or defect of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fixture {
    /// Issued by the CA and valid.
    Good,
    /// Issued by an unrelated CA.
    OtherCa,
    /// Signed by its own key.
    SelfSigned,
    /// Expired a day ago.
    Expired,
    /// Valid from tomorrow.
    NotYetValid,
    /// Issued to `other.example` instead of the expected name.
    WrongName,
    /// Has its name only in the subject's common name. Clients never have subject alternative names, so for
    /// them this is the same as [`Good`](Self::Good).
    NoSan,
    /// Valid only for the other side: a server's extended key usage is `clientAuth`, a client's is
    /// `serverAuth`.
    WrongUsage,
    /// An X.509 version 1 certificate, which has no extensions.
    V1,
    /// Issued by an intermediate CA that is included in the chain.
    Intermediate,
    /// Issued by an intermediate CA that is missing from the chain.
    MissingIntermediate,
    /// A CA certificate used as an end entity's.
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

type Authority = CertifiedIssuer<'static, Key>;

/// Two unrelated CAs and the certificates they issue.
///
/// Every `Pki` has its own keys, which exist only in memory.
pub struct Pki {
    ca: Authority,
    ca_pem: String,
    other_ca: Authority,
    other_ca_pem: String,
    intermediate: Authority,
}

impl Pki {
    /// Generates the CAs.
    #[allow(clippy::new_without_default, reason = "a default that generates keys would surprise")]
    pub fn new() -> Self {
        let [ca, other_ca] = ["otlp-mtls test ca", "otlp-mtls other test ca"].map(|name| {
            let key = Key::generate(KeyType::EcdsaP256);
            sound(CertifiedIssuer::self_signed(authority(name, &key), key))
        });
        let key = Key::generate(KeyType::EcdsaP256);
        let mut params = authority("otlp-mtls test intermediate", &key);
        params.use_authority_key_identifier_extension = true;
        let intermediate = sound(CertifiedIssuer::signed_by(params, key, &ca));
        Self { ca_pem: ca.pem(), ca, other_ca_pem: other_ca.pem(), other_ca, intermediate }
    }

    /// The CA's certificate in PEM. Peers of a good identity have to trust it.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The certificate of the CA that issues [`Fixture::OtherCa`], in PEM.
    pub fn other_ca_pem(&self) -> &str {
        &self.other_ca_pem
    }

    /// A server identity. A good one is valid for `localhost`, `127.0.0.1` and `::1`.
    pub fn server(&self, fixture: Fixture) -> Identity {
        self.issue(Side::Server, fixture, Side::Server.common_name(), KeyType::EcdsaP256)
    }

    /// A client identity. A good one has the common name `test-client`.
    pub fn client(&self, fixture: Fixture) -> Identity {
        self.issue(Side::Client, fixture, Side::Client.common_name(), KeyType::EcdsaP256)
    }

    /// A good client identity with the given common name.
    pub fn client_named(&self, common_name: &str) -> Identity {
        self.issue(Side::Client, Fixture::Good, common_name, KeyType::EcdsaP256)
    }

    /// An X.509-SVID: a certificate for servers and clients with only URIs as names. A valid SVID has exactly one URI,
    /// its SPIFFE ID.
    pub fn svid(&self, uris: &[&str]) -> Identity {
        let key = Key::generate(KeyType::EcdsaP256);
        let mut params = CertificateParams::default();
        identify(&mut params, &key);
        params.distinguished_name = DistinguishedName::new();
        let uri = |uri: &&str| SanType::URI(sound((*uri).try_into()));
        params.subject_alt_names = uris.iter().map(uri).collect();
        (params.not_before, params.not_after) = validity();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = [Side::Server, Side::Client].map(Side::usage).to_vec();
        params.use_authority_key_identifier_extension = true;
        let certificate = sound(params.signed_by(&key, &self.ca));
        Identity::new(vec![certificate.der().clone()], key.pkcs8())
    }

    /// A good client identity with a key of the given type.
    pub fn client_with_key(&self, key_type: KeyType) -> Identity {
        self.issue(Side::Client, Fixture::Good, Side::Client.common_name(), key_type)
    }

    /// Writes the CA's certificate to `ca.crt` in `directory`. Returns its path.
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
        let key = Key::generate(key_type);
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
        identify(&mut params, &key);
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
        let mut chain = vec![match fixture {
            // invariant: rcgen has just encoded it
            Fixture::V1 => v1::without_extensions(certificate.der(), self.ca.key())
                .expect("a certificate without its extensions"),
            _ => certificate.der().clone(),
        }];
        if fixture == Fixture::Intermediate {
            chain.push(self.intermediate.der().clone());
        }
        Identity::new(chain, key.pkcs8())
    }
}

impl fmt::Debug for Pki {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pki").finish_non_exhaustive()
    }
}

fn authority(common_name: &str, key: &Key) -> CertificateParams {
    let mut params = CertificateParams::default();
    identify(&mut params, key);
    params.distinguished_name = distinguished_name(common_name);
    (params.not_before, params.not_after) = validity();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// Sets the fields that rcgen derives from the key only with its own cryptography.
fn identify(params: &mut CertificateParams, key: &Key) {
    let mut serial = key.identifier();
    // Positive and not zero.
    serial[0] = serial[0] & 0x3f | 0x40;
    params.serial_number = Some(serial.to_vec().into());
    params.key_identifier_method = KeyIdMethod::PreSpecified(key.identifier().to_vec());
}

fn distinguished_name(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

/// From a day ago, to tolerate clock differences, to thirty days from now.
fn validity() -> (OffsetDateTime, OffsetDateTime) {
    let seconds = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs());
    // invariant: the system clock is before the year 10000
    let now =
        OffsetDateTime::from_unix_timestamp(seconds as i64).expect("a date before year 10000");
    (now - Duration::DAY, now + Duration::days(30))
}

/// Unwraps a result of rcgen.
///
/// Invariant: rcgen fails on names that are not ASCII and on keys that cannot sign. All parameters are
/// constants of this file, and have neither.
fn sound<T>(made: Result<T, rcgen::Error>) -> T {
    made.expect("rcgen signs what it is given")
}
