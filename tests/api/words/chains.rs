//! Servers whose chain we refuse for one of its certificates.

use std::sync::Arc;

use otlp_mtls::rustls::crypto::aws_lc_rs;
use otlp_mtls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use otlp_mtls::rustls::sign::{CertifiedKey, Signer, SigningKey, SingleCertAndKey};
use otlp_mtls::rustls::{self, ServerConfig, SignatureAlgorithm, SignatureScheme};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CidrSubnet, CustomExtension,
    DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyPair,
    NameConstraints, PKCS_ED25519, PKCS_RSA_SHA256, PublicKeyData, SanType,
};

use super::cases::{CA, CA_FILE, ENDPOINT, server};
use super::peer::Peer;
use super::{Case, Context, Server, Setup};

pub(super) const CASES: &[Case] = &[
    server(
        "An intermediate is for clients",
        "server_certificate_wrong_usage",
        &["CN=intermediate for clients", "clientAuth", "extendedKeyUsage=serverAuth"],
        |context| {
            let root = Ca::root(authority("root"));
            let mut params = authority("intermediate for clients");
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            Site::below(&root.issue(params)).serve(context, &root)
        },
    ),
    server(
        "The server's RSA key has 1024 bits",
        "server_certificate_key_size",
        &[ENDPOINT, "CN=localhost", "1024 bits", "2048"],
        |context| {
            let root = Ca::root(authority("root"));
            let leaf = leaf(vec![localhost()]).signed_by(&Rsa1024, &root.certified).unwrap();
            Site { chain: vec![leaf.into()], key: Arc::new(Rsa1024) }.serve(context, &root)
        },
    ),
    server(
        "The RSA key of the CA has 1024 bits",
        "server_certificate_key_size",
        &["CN=root", "1024 bits", "replace the CA"],
        |context| {
            let root = Ca::root_with(authority("root"), Rsa1024);
            Site::below(&root).serve(context, &root)
        },
    ),
    server(
        "The server does not have the key of its certificate",
        "server_certificate_key_mismatch",
        &[ENDPOINT, "private key"],
        |context| {
            let root = Ca::root(authority("root"));
            let site = Site::below(&root);
            Site::new(site.chain, &KeyPair::generate().unwrap()).serve(context, &root)
        },
    ),
    server(
        "The server's certificate is signed by RSA with SHA-1",
        "server_certificate_algorithm",
        &["CN=localhost", "RSA with SHA-1", "-sha256"],
        |context| signed_by_rsa_with(context, 0x05),
    ),
    server(
        "The server's certificate is signed by RSA with MD5",
        "server_certificate_algorithm",
        &["CN=localhost", "RSA with MD5", "-sha256"],
        |context| signed_by_rsa_with(context, 0x04),
    ),
    server(
        "The server's certificate is signed by Ed448",
        "server_certificate_algorithm",
        &["CN=localhost", "Ed448", "P-256"],
        |context| {
            let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
            let root = Ca::root_with(authority("root"), key);
            // 1.3.101.112 to 1.3.101.113
            Site::below(&root).patched(0, b"\x2b\x65\x70", b"\x2b\x65\x71").serve(context, &root)
        },
    ),
    server(
        "An intermediate must not issue for the server's name",
        "server_certificate_name_constraint",
        &["CN=intermediate", "corp.example, corp.test", "localhost"],
        |context| {
            let mut params = authority("intermediate");
            params.name_constraints = Some(NameConstraints {
                permitted_subtrees: vec![
                    GeneralSubtree::DnsName("corp.example".to_owned()),
                    GeneralSubtree::DnsName("corp.test".to_owned()),
                    GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix([10, 0, 0, 0], 8)),
                ],
                excluded_subtrees: Vec::new(),
            });
            let root = Ca::root(authority("root"));
            Site::below(&root.issue(params)).serve(context, &root)
        },
    ),
    server(
        "The CA must not issue for the server's name",
        "server_certificate_name_constraint",
        &["CN=root", "localhost"],
        |context| {
            let mut params = authority("root");
            params.name_constraints = Some(NameConstraints {
                permitted_subtrees: Vec::new(),
                excluded_subtrees: vec![GeneralSubtree::DnsName("localhost".to_owned())],
            });
            let root = Ca::root(params);
            Site::below(&root).serve(context, &root)
        },
    ),
    server(
        "An intermediate has name constraints for URIs",
        "server_certificate_name_constraint",
        &["CN=intermediate", "URI", "spiffe://corp.example/collector", "rustls does not"],
        |context| {
            // rcgen has no constraint for URIs.
            let uris = b"\x30\x12\xa0\x10\x30\x0e\x86\x0ccorp.example";
            let mut params = authority("intermediate");
            params.custom_extensions = vec![critical(&[2, 5, 29, 30], uris)];
            let root = Ca::root(authority("root"));
            let names = vec![localhost(), spiffe_id()];
            Site::of(leaf(names), &root.issue(params)).serve(context, &root)
        },
    ),
    server(
        "The chain has more CAs than one of them permits",
        "server_certificate_path_length",
        &["CN=intermediate 1", "permits 0", "has 1"],
        |context| {
            let root = Ca::root(authority("root"));
            let mut params = authority("intermediate 1");
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
            let first = root.issue(params);
            Site::below(&first.issue(authority("intermediate 2"))).serve(context, &root)
        },
    ),
    server(
        "An intermediate is of X.509 version 2",
        "server_certificate_version_1",
        &["CN=intermediate", "version 2", "CA:TRUE"],
        |context| {
            let root = Ca::root(authority("root"));
            let site = Site::below(&root.issue(authority("intermediate")));
            site.patched(1, b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x01").serve(context, &root)
        },
    ),
    server(
        "The server's certificate has an unknown critical extension",
        "server_certificate_critical_extension",
        &["CN=localhost", "1.3.6.1.4.1.99999.1"],
        |context| {
            let root = Ca::root(authority("root"));
            let mut params = leaf(vec![localhost()]);
            params.custom_extensions = vec![critical(&[1, 3, 6, 1, 4, 1, 99999, 1], b"\x05\x00")];
            Site::of(params, &root).serve(context, &root)
        },
    ),
    server(
        "An intermediate has critical certificate policies",
        "server_certificate_critical_extension",
        &["CN=intermediate", "certificatePolicies (2.5.29.32)"],
        |context| {
            let root = Ca::root(authority("root"));
            let mut params = authority("intermediate");
            // anyPolicy
            let policies = b"\x30\x08\x30\x06\x06\x04\x55\x1d\x20\x00";
            params.custom_extensions = vec![critical(&[2, 5, 29, 32], policies)];
            Site::below(&root.issue(params)).serve(context, &root)
        },
    ),
    server(
        "The server's chain has seven intermediates",
        "server_certificate_chain_too_long",
        &[CA, CA_FILE, "7 intermediates", "at most 6", "CN=intermediate 1"],
        |context| {
            let root = Ca::root(authority("root"));
            let mut last = root.issue(authority("intermediate 1"));
            for number in 2..=7 {
                last = last.issue(authority(&format!("intermediate {number}")));
            }
            Site::below(&last).serve(context, &root)
        },
    ),
    server(
        "The issuer of the server's certificate is not a CA",
        "server_certificate_issuer_is_no_ca",
        &["CN=intermediate", "CA:TRUE"],
        |context| {
            let root = Ca::root(authority("root"));
            let mut params = authority("intermediate");
            params.is_ca = IsCa::ExplicitNoCa;
            Site::below(&root.issue(params)).serve(context, &root)
        },
    ),
    server(
        "The server's certificate has its IP address as a DNS name",
        "server_certificate_without_ip_address",
        &["127.0.0.1 as a DNS name", "subjectAltName=IP:127.0.0.1"],
        |context| {
            let names = vec![SanType::DnsName("127.0.0.1".try_into().unwrap())];
            let root = Ca::root(authority("root"));
            let setup = Site::of(leaf(names), &root).serve(context, &root);
            let endpoint = format!("https://127.0.0.1:{}", setup.port);
            let builder = context.exporters(endpoint, &root.certified.pem(), None);
            Setup { builder, ..setup }
        },
    ),
    server(
        "The server's certificate has an e-mail address and no subject",
        "server_certificate_without_name",
        &["(no subject)", "e-mail address ops@example.com", "subjectAltName=DNS:localhost"],
        |context| named_only(context, SanType::Rfc822Name("ops@example.com".try_into().unwrap())),
    ),
    server(
        "The server's certificate has a SPIFFE ID and no subject",
        "server_certificate_without_name",
        &["spiffe://corp.example/collector", "not a host name", "subjectAltName=DNS:localhost"],
        |context| named_only(context, spiffe_id()),
    ),
    server(
        "The CA's name is not encoded as in the certificate that it issued",
        "server_certificate_unknown_issuer",
        &[CA, CA_FILE, "CN=root", "encoding", "openssl x509 -req -CA"],
        |context| {
            let root = Ca::root(authority("root"));
            let mut params = authority("root");
            params.distinguished_name = DistinguishedName::new();
            let name = DnValue::PrintableString("root".try_into().unwrap());
            params.distinguished_name.push(DnType::CommonName, name);
            let key = KeyPair::try_from(root.certified.key().serialize_der()).unwrap();
            let issuer = Ca::root_with(params, key);
            Site::below(&issuer).serve(context, &root)
        },
    ),
];

/// A CA, and the chain from it to the root, without that one.
struct Ca<K: rcgen::SigningKey = KeyPair> {
    certified: CertifiedIssuer<'static, K>,
    chain: Vec<CertificateDer<'static>>,
}

impl Ca {
    fn root(params: CertificateParams) -> Self {
        Self::root_with(params, KeyPair::generate().unwrap())
    }

    fn issue(&self, params: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let certified = CertifiedIssuer::signed_by(params, key, &self.certified).unwrap();
        let chain = [&[certified.der().clone()][..], &self.chain].concat();
        Self { certified, chain }
    }
}

impl<K: rcgen::SigningKey> Ca<K> {
    fn root_with(params: CertificateParams, key: K) -> Self {
        let certified = CertifiedIssuer::self_signed(params, key).unwrap();
        Self { certified, chain: Vec::new() }
    }
}

/// A server.
struct Site {
    chain: Vec<CertificateDer<'static>>,
    key: Arc<dyn SigningKey>,
}

impl Site {
    fn new(chain: Vec<CertificateDer<'static>>, key: &KeyPair) -> Self {
        let der = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        Self { chain, key: aws_lc_rs::sign::any_supported_type(&der).unwrap() }
    }

    /// One for `localhost`.
    fn below<K: rcgen::SigningKey>(ca: &Ca<K>) -> Self {
        Self::of(leaf(vec![localhost()]), ca)
    }

    fn of<K: rcgen::SigningKey>(params: CertificateParams, ca: &Ca<K>) -> Self {
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &ca.certified).unwrap();
        Self::new([&[leaf.der().clone()][..], &ca.chain].concat(), &key)
    }

    fn serve<K: rcgen::SigningKey>(self, context: &Context, root: &Ca<K>) -> Setup {
        self.serve_for(context, &root.certified.pem())
    }

    /// To a client that trusts this.
    fn serve_for(self, context: &Context, ca_pem: &str) -> Setup {
        // `with_single_cert` refuses what it cannot parse.
        let certified = CertifiedKey::new(self.chain, self.key);
        let mut config =
            ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let peer = Peer::tls(config);
        let port = peer.addr.port();
        let builder = context.exporters(format!("https://localhost:{port}"), ca_pem, None);
        Setup { server: Server::Peer(peer), builder, port }
    }

    /// With other bytes in a certificate of the chain. Its signature is wrong then, but is verified
    /// after what the bytes are about.
    fn patched(mut self, index: usize, from: &[u8], to: &[u8]) -> Self {
        let der = self.chain[index].to_vec();
        let mut patched = der.clone();
        let places = der.windows(from.len()).enumerate().filter(|(_, window)| *window == from);
        for (place, _) in places {
            patched[place..place + to.len()].copy_from_slice(to);
        }
        assert_ne!(der, patched);
        self.chain[index] = patched.into();
        self
    }
}

fn named(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}

fn authority(common_name: &str) -> CertificateParams {
    let mut params = named(common_name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

/// A certificate for `localhost`, with these alternative names.
fn leaf(names: Vec<SanType>) -> CertificateParams {
    let mut params = named("localhost");
    params.subject_alt_names = names;
    params
}

fn localhost() -> SanType {
    SanType::DnsName("localhost".try_into().unwrap())
}

fn spiffe_id() -> SanType {
    SanType::URI("spiffe://corp.example/collector".try_into().unwrap())
}

fn critical(id: &[u64], content: &[u8]) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(id, content.to_vec());
    extension.set_criticality(true);
    extension
}

/// A server whose certificate has this name alone, and no subject.
fn named_only(context: &Context, name: SanType) -> Setup {
    let mut params = leaf(vec![name]);
    params.distinguished_name = DistinguishedName::new();
    let root = Ca::root(authority("root"));
    Site::of(params, &root).serve(context, &root)
}

/// A server whose certificate is signed by RSA with SHA-256 and says that it was another hash:
/// 1.2.840.113549.1.1.11 to one that ends otherwise.
fn signed_by_rsa_with(context: &Context, hash: u8) -> Setup {
    let root = Ca::root_with(authority("root"), KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap());
    let id = |last| [&b"\x2a\x86\x48\x86\xf7\x0d\x01\x01"[..], &[last]].concat();
    Site::below(&root).patched(0, &id(0x0b), &id(hash)).serve(context, &root)
}

/// An RSA key of 1024 bits, by which no provider signs. Its size is looked at before its signatures.
#[derive(Debug)]
struct Rsa1024;

impl PublicKeyData for Rsa1024 {
    fn der_bytes(&self) -> &[u8] {
        // A `SEQUENCE` of the modulus, which is odd, and the exponent, 65537.
        const KEY: [u8; 140] = {
            let mut key = [0xff; 140];
            let head = [0x30, 0x81, 0x89, 0x02, 0x81, 0x81, 0x00];
            let tail = [0x02, 0x03, 0x01, 0x00, 0x01];
            let mut index = 0;
            while index < head.len() {
                key[index] = head[index];
                index += 1;
            }
            let mut index = 0;
            while index < tail.len() {
                key[key.len() - tail.len() + index] = tail[index];
                index += 1;
            }
            key
        };
        &KEY
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &PKCS_RSA_SHA256
    }
}

impl rcgen::SigningKey for Rsa1024 {
    fn sign(&self, _message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(vec![0x55; 128])
    }
}

impl SigningKey for Rsa1024 {
    fn choose_scheme(&self, _offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        Some(Box::new(Self))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::RSA
    }
}

impl Signer for Rsa1024 {
    fn sign(&self, _message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        Ok(vec![0x55; 128])
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::RSA_PSS_SHA256
    }
}
