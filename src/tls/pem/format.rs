//! Other formats of certificates and keys, and the commands that convert them. A test runs each
//! command.

use base64::Engine;
use rustls::pki_types::PrivateKeyDer;
use zeroize::Zeroizing;

use super::Wanted;
use super::scan::{Section, contains};
use crate::error::{CredentialLocation, CredentialProblem, Format, PemProblem};
use crate::secrets::{BASE64, BEGIN};
use crate::tls::x509::ToBeSigned;

/// The object identifiers of PKCS#7's signed data, of PKCS#5 encryption (in encrypted PKCS#8), and the
/// arc of PKCS#12's encryption, in DER.
const SIGNED_DATA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02";
const PKCS5: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x05";
const PKCS12_ENCRYPTION: &[u8] = b"\x06\x0a\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01";

/// The format of a file without PEM.
pub(super) fn other_format(
    content: &[u8],
    wanted: Wanted,
    place: &CredentialLocation,
) -> Option<CredentialProblem> {
    let (format, command) =
        binary(content, wanted, place).or_else(|| base64(content, wanted, place))?;
    Some(CredentialProblem::OtherFormat { format, command })
}

fn binary(content: &[u8], wanted: Wanted, place: &CredentialLocation) -> Option<(Format, String)> {
    let (file, out) = (place.argument(""), place.argument(".pem"));
    // A PKCS#12 archive has both.
    let part = match wanted {
        Wanted::TrustAnchors | Wanted::Chain => place.argument(".pem"),
        Wanted::PrivateKey => place.argument(".key"),
    };
    if content.starts_with(b"\xfe\xed\xfe\xed") {
        let archive = place.argument(".p12");
        let convert = pkcs12(b"", wanted, &archive, &part);
        let command = format!(
            "keytool -importkeystore -srckeystore {file} -destkeystore {archive} -deststoretype PKCS12 \
             && {convert}"
        );
        return Some((Format::JavaKeyStore, command));
    }
    let body = body(content)?;
    // A PFX begins with version 3 and a SEQUENCE (RFC 7292, section 4).
    if body.starts_with(b"\x02\x01\x03\x30") {
        return Some((Format::Pkcs12, pkcs12(content, wanted, &file, &part)));
    }
    if body.starts_with(SIGNED_DATA) {
        let command = format!("openssl pkcs7 -inform DER -in {file} -print_certs -out {out}");
        return Some((Format::Pkcs7, command));
    }
    let command = der_command(content)?;
    Some((Format::Der, format!("openssl {command} -inform DER -in {file} -out {out}")))
}

fn base64(content: &[u8], wanted: Wanted, place: &CredentialLocation) -> Option<(Format, String)> {
    let mut packed = Zeroizing::new(Vec::with_capacity(content.len()));
    packed.extend(content.iter().filter(|byte| !byte.is_ascii_whitespace()));
    let decoded = Zeroizing::new(BASE64.decode(packed.as_slice()).ok()?);
    let (file, out) = (place.argument(""), place.argument(".pem"));
    if contains(&decoded, BEGIN.as_bytes()) {
        return Some((Format::Base64, private(wanted, format!("base64 -d < {file} > {out}"))));
    }
    let command = der_command(&decoded)?;
    let command = format!("base64 -d < {file} | openssl {command} -inform DER -out {out}");
    Some((Format::Base64Der, command))
}

/// The contents of the outermost SEQUENCE.
fn body(der: &[u8]) -> Option<&[u8]> {
    match der {
        [0x30, 0x80, body @ ..]
        | [0x30, 0x81, _, body @ ..]
        | [0x30, 0x82, _, _, body @ ..]
        | [0x30, 0x83, _, _, _, body @ ..]
        // Ed25519 keys in PKCS#8 are this short.
        | [0x30, 0x00..=0x7f, body @ ..] => Some(body),
        _ => None,
    }
}

/// OpenSSL's command for a certificate or a key in DER.
fn der_command(der: &[u8]) -> Option<&'static str> {
    if ToBeSigned::parse(der).is_ok() {
        return Some("x509");
    }
    let is_encrypted = || {
        body(der)
            .and_then(body)
            .is_some_and(|algorithm| algorithm.get(2..).is_some_and(|id| id.starts_with(PKCS5)))
    };
    (PrivateKeyDer::try_from(der).is_ok() || is_encrypted()).then_some("pkey")
}

/// The command for an archive. A chain must begin with the key's certificate, regardless of the order in
/// the archive; a trust store has no such certificate.
fn pkcs12(content: &[u8], wanted: Wanted, file: &str, out: &str) -> String {
    // RC4 and RC2 (RFC 7292, appendix C) are in OpenSSL 3's legacy provider.
    let is_legacy = [1, 2, 5, 6]
        .iter()
        .any(|cipher| contains(content, &[PKCS12_ENCRYPTION, &[*cipher]].concat()));
    let openssl = if is_legacy { "openssl pkcs12 -legacy" } else { "openssl pkcs12" };
    match wanted {
        Wanted::TrustAnchors => format!("{openssl} -in {file} -nokeys -out {out}"),
        Wanted::Chain => format!(
            "({openssl} -in {file} -clcerts -nokeys; {openssl} -in {file} -cacerts -nokeys) > {out}"
        ),
        Wanted::PrivateKey => format!("{openssl} -in {file} -nocerts -nodes -out {out}"),
    }
}

/// A section that needs conversion by a command.
pub(super) fn convertible(
    section: &Section,
    place: &CredentialLocation,
) -> Option<CredentialProblem> {
    let label = section.label.clone();
    let (file, out) = (place.argument(""), place.argument(".pem"));
    let problem = match &*section.label {
        "TRUSTED CERTIFICATE" => PemProblem::Trusted {
            label,
            command: format!(
                "openssl crl2pkcs7 -nocrl -certfile {file} | openssl pkcs7 -print_certs -out {out}"
            ),
        },
        "PKCS7" | "PKCS #7 SIGNED DATA" | "CMS" => PemProblem::OtherFormat {
            label,
            command: format!("openssl pkcs7 -in {file} -print_certs -out {out}"),
        },
        _ => return None,
    };
    Some(CredentialProblem::InvalidPem { line: section.line, problem })
}

pub(super) fn openssh(section: &Section, place: &CredentialLocation) -> CredentialProblem {
    let (file, out) = (place.argument(""), place.argument(".pem"));
    let command = format!("cp {file} {out} && ssh-keygen -p -N '' -m PKCS8 -f {out}");
    let problem = PemProblem::OpenSsh { label: section.label.clone(), command };
    CredentialProblem::InvalidPem { line: section.line, problem }
}

pub(super) fn escaped(wanted: Wanted, place: &CredentialLocation) -> String {
    let (file, out) = (place.argument(""), place.argument(".pem"));
    private(wanted, format!("printf '%b' \"$(cat {file})\" > {out}"))
}

pub(super) fn one_line(wanted: Wanted, place: &CredentialLocation) -> String {
    let (file, out) = (place.argument(""), place.argument(".pem"));
    let command = format!(
        "awk '{{gsub(/-----BEGIN [A-Z0-9 ]*-----/, \"\\n&\\n\"); gsub(/-----END [A-Z0-9 ]*-----/, \
         \"\\n&\\n\")}} 1' {file} > {out}"
    );
    private(wanted, command)
}

pub(super) fn utf16(wanted: Wanted, place: &CredentialLocation) -> String {
    let (file, out) = (place.argument(""), place.argument(".pem"));
    private(wanted, format!("iconv -f UTF-16 -t UTF-8 {file} > {out}"))
}

/// If the output is a key, makes it readable only by its owner.
fn private(wanted: Wanted, command: String) -> String {
    match wanted {
        Wanted::PrivateKey => format!("(umask 077; {command})"),
        Wanted::TrustAnchors | Wanted::Chain => command,
    }
}
