//! Credential files as found in practice: which are accepted, which are refused, and whether the commands
//! in the errors work.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use otlp_mtls::testing::{Fixture, Identity, KeyType, Pki};
use otlp_mtls::{Credentials, Error, Exporters, Pem, Protocol, Signal};

use crate::support::{builder, export, mtls_collector, with_vars};
use crate::words::normalised;

const CA: &str = "OTEL_EXPORTER_OTLP_CERTIFICATE";
const CERTIFICATE: &str = "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE";
const KEY: &str = "OTEL_EXPORTER_OTLP_CLIENT_KEY";

const BOM: &str = "\u{feff}";
const CRL: &str = "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n";
const DH: &str = "-----BEGIN DH PARAMETERS-----\nAAAA\n-----END DH PARAMETERS-----\n";
const ENCRYPTED: &str =
    "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";

fn utf16(text: &str, to_bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
    format!("{BOM}{text}").encode_utf16().flat_map(to_bytes).collect()
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

/// Every certificate of a chain is used: the collector refuses a leaf without its intermediate, and a
/// client without the server's CA refuses the collector.
#[test]
fn what_is_read() {
    let (pki, collector) = mtls_collector();
    let client = pki.client(Fixture::Intermediate);
    let (ca, other_ca) = (pki.ca_pem(), pki.other_ca_pem());
    let (chain, key) = (client.certificate_pem(), client.key_pem());
    let joined = |text: &str| text.replace("-----\n-----", "----------").trim_end().to_owned();
    let second = chain.rfind("-----BEGIN").unwrap();
    let (leaf, intermediate) = chain.split_at(second);
    assert!(leaf.contains("BEGIN"), "two certificates");
    let commented: String = other_ca.lines().map(|line| format!("# {line}\n")).collect();

    type Row<'a> = (&'a str, Vec<u8>, Vec<u8>, Vec<u8>);
    let rows: Vec<Row<'_>> = vec![
        (
            "joined without a line end",
            joined(&format!("{other_ca}{ca}")).into(),
            joined(chain).into(),
            joined(&format!("{DH}{key}")).into(),
        ),
        (
            "a mark before the second",
            format!("{BOM}{other_ca}{BOM}{ca}").into(),
            format!("{}{BOM}{intermediate}", leaf.trim_end()).into(),
            format!("{DH}{BOM}{key}").into(),
        ),
        (
            "indented",
            indented(&format!("{other_ca}{ca}")).into(),
            indented(chain).into(),
            indented(key).into(),
        ),
        (
            "an older label",
            ca.replace("CERTIFICATE", "X509 CERTIFICATE").into(),
            format!("{leaf}{}", intermediate.replace("CERTIFICATE", "X509 CERTIFICATE")).into(),
            key.into(),
        ),
        (
            "UTF-16",
            utf16(ca, u16::to_le_bytes),
            utf16(chain, u16::to_be_bytes),
            utf16(key, u16::to_le_bytes),
        ),
        (
            "carriage returns alone",
            ca.replace('\n', "\r").into(),
            chain.replace('\n', "\r").into(),
            key.into(),
        ),
        (
            "a comment",
            format!("{commented}{ca}").into(),
            format!("# -----BEGIN\n{chain}").into(),
            format!("#-----END x\n{key}").into(),
        ),
        (
            "what may stand beside",
            format!("{DH}{CRL}{key}{ca}{ENCRYPTED}").into(),
            format!("{key}{chain}{CRL}{DH}{ENCRYPTED}").into(),
            format!("{CRL}{chain}{key}{ENCRYPTED}{other_ca}{DH}").into(),
        ),
        (
            "text around",
            format!("Subject: CN=ca\n{ca}\nthe end").into(),
            format!("{leaf}--\n- end of the leaf -\n{intermediate}").into(),
            key.into(),
        ),
    ];
    for (name, ca, certificate, key) in rows {
        let exporters = builder()
            .with_endpoint(collector.endpoint())
            .with_protocol(Protocol::Grpc)
            .with_ca_certificate(Pem::bytes(ca))
            .with_client_identity(Pem::bytes(certificate), Pem::bytes(key))
            .build()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        export(&exporters, Signal::Traces).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[test]
fn keys_by_their_content() {
    let (pki, collector) = mtls_collector();
    let files = Files::new();
    for (key_type, traditional) in
        [(KeyType::EcdsaP256, "EC PRIVATE KEY"), (KeyType::Rsa2048, "RSA PRIVATE KEY")]
    {
        let client = pki.client_with_key(key_type);
        let path = files.write("key.pem", client.key_pem());
        sh(&format!("openssl pkey -traditional -in {0} -out {0}.old", path.display()));
        let old = fs::read_to_string(files.path("key.pem.old")).unwrap();
        assert!(old.contains(traditional), "{old}");
        for key in [
            client.key_pem().replace("PRIVATE KEY", traditional),
            client.key_pem().replace("PRIVATE KEY", "EC PRIVATE KEY"),
            old.replace(traditional, "PRIVATE KEY"),
        ] {
            let exporters = builder()
                .with_endpoint(collector.endpoint())
                .with_ca_certificate(Pem::bytes(pki.ca_pem()))
                .with_client_identity(Pem::bytes(client.certificate_pem()), Pem::bytes(&*key))
                .build()
                .unwrap_or_else(|error| panic!("{key}: {error}"));
            export(&exporters, Signal::Traces).unwrap();
        }
    }
}

/// A directory, and its files by name.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        fs::write(self.path(name), content).unwrap();
        self.path(name)
    }
}

/// A service with one invalid file.
struct Case {
    files: Files,
    pki: Pki,
    client: Identity,
}

impl Case {
    fn new() -> Self {
        let pki = Pki::new();
        let client = pki.client(Fixture::Intermediate);
        Self { files: Files::new(), pki, client }
    }

    fn build(&self, variable: &str, path: &Path) -> Result<Exporters, Error> {
        let good = |name: &str, content: &str| {
            if name == variable { path.to_owned() } else { self.files.write(name, content) }
        };
        with_vars(vec![
            ("OTEL_EXPORTER_OTLP_ENDPOINT", PathBuf::from("https://localhost")),
            (CA, good(CA, self.pki.ca_pem())),
            (CERTIFICATE, good(CERTIFICATE, self.client.certificate_pem())),
            (KEY, good(KEY, self.client.key_pem())),
        ])
        .build()
    }

    fn refusal(&self, variable: &str, path: &Path) -> String {
        format!("{:?}", self.build(variable, path).expect_err(variable))
    }
}

/// What is between BEGIN and END.
fn bare(pem: &str) -> String {
    pem.lines().filter(|line| !line.starts_with("-----")).map(|line| format!("{line}\n")).collect()
}

#[test]
fn what_is_refused() {
    let case = Case::new();
    let chain = case.client.certificate_pem();
    let key = case.client.key_pem();
    let second = chain.rfind("-----BEGIN").unwrap();
    let (leaf, intermediate) = chain.split_at(second);
    let line = leaf.lines().count() + 1;
    let der = &case.client.certificate_ders()[0];
    let trailing = pem::encode(&pem::Pem::new("CERTIFICATE", [&**der, b"\0\0"].concat()));
    let appended = |part: Vec<u8>| [leaf.as_bytes(), &part].concat();
    let utf16_le = utf16(intermediate, u16::to_le_bytes);
    let broken = intermediate.replacen("\nM", "\n!", 1);
    let request = intermediate.replace("CERTIFICATE", "CERTIFICATE REQUEST");

    type Row<'a> = (&'a str, &'a str, Vec<u8>, String);
    let in_line = |words: &str| format!("line {line}: {words}");
    let rows: Vec<Row<'_>> = vec![
        ("a part in UTF-16", CERTIFICATE, appended(utf16_le), in_line("there are NUL bytes")),
        (
            "UTF-8 behind UTF-16",
            CERTIFICATE,
            [utf16(leaf, u16::to_le_bytes), intermediate.into()].concat(),
            "line 1: there are NUL bytes".to_owned(),
        ),
        (
            "both byte orders",
            CERTIFICATE,
            [utf16(leaf, u16::to_le_bytes), utf16(intermediate, u16::to_be_bytes)].concat(),
            "line 1: there are NUL bytes".to_owned(),
        ),
        (
            "a space that is none",
            CERTIFICATE,
            appended(intermediate.replace("BEGIN ", "BEGIN\u{a0}").into()),
            in_line("BEGIN and END need a line of their own"),
        ),
        (
            "OpenSSL's own",
            CERTIFICATE,
            appended(intermediate.replace("CERTIFICATE", "TRUSTED CERTIFICATE").into()),
            in_line("the section `TRUSTED CERTIFICATE` has OpenSSL-specific restrictions"),
        ),
        (
            "a request",
            CERTIFICATE,
            appended(request.into()),
            in_line("the section `CERTIFICATE REQUEST` is neither a certificate nor a private key"),
        ),
        (
            "a public key beside ours",
            KEY,
            format!("{}{key}", key.replace("PRIVATE", "PUBLIC")).into(),
            "line 1: the section `PUBLIC KEY` is neither".to_owned(),
        ),
        (
            "no base64",
            CERTIFICATE,
            appended(broken.into()),
            in_line("the content of the section `CERTIFICATE` is not valid base64"),
        ),
        (
            "a BEGIN within a line",
            CERTIFICATE,
            appended(format!("ca: {intermediate}").into()),
            in_line("BEGIN and END need a line of their own"),
        ),
        (
            "four dashes",
            CERTIFICATE,
            appended(intermediate.replace("-----", "----").into()),
            in_line("BEGIN and END need a line of their own"),
        ),
        (
            "a word processor's dashes",
            CERTIFICATE,
            appended(intermediate.replace("-----", "\u{2014}-").into()),
            in_line("BEGIN and END need a line of their own"),
        ),
        (
            "six dashes",
            CERTIFICATE,
            appended(intermediate.replace("-----", "------").into()),
            in_line("BEGIN and END need a line of their own"),
        ),
        (
            "small letters",
            CERTIFICATE,
            appended(intermediate.replace("BEGIN", "begin").into()),
            in_line("BEGIN and END need a line of their own"),
        ),
        (
            "an END alone",
            CERTIFICATE,
            appended("-----END CERTIFICATE-----\n".into()),
            "this END line has no BEGIN line".to_owned(),
        ),
        (
            "an END of another label",
            KEY,
            key.replace("END PRIVATE KEY", "END RSA PRIVATE KEY").into(),
            "this END line has no BEGIN line".to_owned(),
        ),
        (
            "a BEGIN in a section",
            CERTIFICATE,
            format!("-----BEGIN CERTIFICATE-----\n{chain}").into(),
            "it is cut off: the section `CERTIFICATE` in line 1 has no END line".to_owned(),
        ),
        (
            "base64 of a part",
            CERTIFICATE,
            appended(base64(intermediate).into()),
            in_line("this is base64 of PEM"),
        ),
        (
            "a certificate without BEGIN and END",
            CERTIFICATE,
            appended(bare(intermediate).into()),
            in_line("this is base64 without BEGIN and END lines"),
        ),
        (
            "a CA without them, after another",
            CA,
            format!("{}{}", case.pki.ca_pem(), bare(case.pki.other_ca_pem())).into(),
            "this is base64 without BEGIN and END lines".to_owned(),
        ),
        (
            "and before",
            CA,
            format!("{}{}", bare(case.pki.other_ca_pem()), case.pki.ca_pem()).into(),
            "line 1: this is base64 without BEGIN and END lines".to_owned(),
        ),
        (
            "a key without them, in one line",
            KEY,
            format!("{}\n{key}", bare(key).replace(['\r', '\n'], "")).into(),
            "line 1: this is base64 without BEGIN and END lines".to_owned(),
        ),
        (
            "line ends in quotes",
            CERTIFICATE,
            format!("CERT=\"{}\"", chain.replace('\r', "").replace('\n', "\\n")).into(),
            "line 1: line ends are written as the two characters `\\n`".to_owned(),
        ),
        (
            "bytes after a certificate",
            CERTIFICATE,
            trailing.clone().into(),
            "certificate 1 in it cannot be parsed".to_owned(),
        ),
        (
            "bytes after a CA",
            CA,
            trailing.into(),
            "certificate 1 in it cannot be parsed".to_owned(),
        ),
        ("a garbled binary", CA, b"\x1f\x8b\0\0\0".into(), "it holds no PEM".to_owned()),
        (
            "an encrypted key first",
            KEY,
            format!("{ENCRYPTED}{key}").into(),
            "is encrypted".to_owned(),
        ),
        (
            "too large",
            CA,
            [case.pki.ca_pem().as_bytes(), &vec![b'\n'; 4 << 20]].concat(),
            "it is larger than 4194304 bytes".to_owned(),
        ),
    ];
    for (name, variable, content, expected) in rows {
        let path = case.files.write("refused", content);
        let words = case.refusal(variable, &path);
        assert!(words.starts_with(&format!("{variable}: {}: ", path.display())), "{name}: {words}");
        assert!(words.contains(&expected), "{name}: {words}");
    }
}

fn base64(text: &str) -> String {
    use ::base64::Engine;
    ::base64::engine::general_purpose::STANDARD.encode(text)
}

/// Runs a shell command, which must succeed.
fn sh(command: &str) {
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
    assert!(output.status.success(), "{command}\n{}", String::from_utf8_lossy(&output.stderr));
}

/// The command in an error, up to the first backquote after it.
fn command(words: &str) -> &str {
    let start = ["with `", "to `"].iter().find_map(|start| Some(words.find(start)? + start.len()));
    let start = start.unwrap_or_else(|| panic!("no command: {words}"));
    &words[start..start + words[start..].find('`').unwrap()]
}

const PASSWORD: &str = "secret";

/// Enters the password.
fn with_password(command: &str) -> String {
    command
        .replace("openssl pkcs12", &format!("openssl pkcs12 -passin pass:{PASSWORD}"))
        .replace("openssl pkey", &format!("openssl pkey -passin pass:{PASSWORD}"))
        .replace(
            "keytool -importkeystore",
            &format!("keytool -importkeystore -noprompt -srcstorepass {PASSWORD} -deststorepass {PASSWORD}"),
        )
}

#[test]
fn the_readme_shows_an_encrypted_key() {
    let case = Case::new();
    let words = case.refusal(KEY, &case.files.write("client.key", ENCRYPTED));
    let words = normalised(&words, case.files.path("client.key").parent().unwrap(), 0);
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    assert!(readme.contains(&format!("Error: {words}\n")), "the README does not show:\n{words}");
}

/// Every command in an error is run, on a file created by the tool in question. Its output is a valid file, with the
/// whole chain and every CA.
#[test]
fn commands_convert() {
    let case = Case::new();
    // A name that needs quoting.
    let directory = case.files.path("it's here");
    fs::create_dir(&directory).unwrap();
    let write = |name: &str, content: &str| {
        fs::write(directory.join(name), content.replace('\r', "")).unwrap();
    };
    write("chain.pem", case.client.certificate_pem());
    write("ca.pem", &format!("{}{}", case.pki.other_ca_pem(), case.pki.ca_pem()));
    write("key.pem", case.client.key_pem());
    let rsa = case.pki.client_with_key(KeyType::Rsa2048);
    write("rsa.pem", rsa.key_pem());
    write("rsa.crt", rsa.certificate_pem());
    let chain = case.client.certificate_pem();
    write("leaf.pem", &chain[..chain.rfind("-----BEGIN").unwrap()]);
    write("intermediate.pem", &chain[chain.rfind("-----BEGIN").unwrap()..]);

    let p12 = "openssl pkcs12 -export -passout pass:secret";
    let jks = "keytool -deststoretype JKS -noprompt -srcstorepass secret -deststorepass secret";
    // The command that creates the file, and the variables that name it.
    let rows: &[(&str, &[&str])] = &[
        ("openssl x509 -in leaf.pem -outform DER -out FILE", &[CA]),
        ("openssl pkey -in key.pem -outform DER -out FILE", &[KEY]),
        ("openssl pkcs8 -topk8 -in key.pem -outform DER -passout pass:secret -out FILE", &[KEY]),
        ("openssl pkcs8 -topk8 -in key.pem -passout pass:secret -out FILE", &[KEY]),
        ("openssl pkey -traditional -aes128 -in key.pem -passout pass:secret -out FILE", &[KEY]),
        (&format!("{p12} -in chain.pem -inkey key.pem -out FILE"), &[CERTIFICATE, KEY]),
        (&format!("{p12} -legacy -in chain.pem -inkey key.pem -out FILE"), &[CERTIFICATE, KEY]),
        // In reverse order, which the command must correct.
        (&format!("{p12} -in intermediate.pem -certfile leaf.pem -nokeys -out FILE"), &[CA]),
        (&format!("{p12} -nokeys -in ca.pem -out FILE"), &[CA]),
        ("openssl crl2pkcs7 -nocrl -certfile chain.pem -out FILE", &[CERTIFICATE]),
        ("openssl crl2pkcs7 -nocrl -certfile chain.pem -outform DER -out FILE", &[CERTIFICATE]),
        ("openssl crl2pkcs7 -nocrl -certfile ca.pem -out FILE", &[CA]),
        (
            "(openssl x509 -in leaf.pem; openssl x509 -in intermediate.pem -addtrust clientAuth \
             -trustout) > FILE",
            &[CERTIFICATE],
        ),
        ("base64 < chain.pem > FILE", &[CERTIFICATE]),
        ("base64 < key.pem > FILE", &[KEY]),
        ("openssl pkey -in key.pem -outform DER | base64 > FILE", &[KEY]),
        ("openssl x509 -in leaf.pem -outform DER | base64 -w 0 > FILE", &[CA]),
        ("awk '{printf \"%s\\\\n\", $0}' key.pem > FILE", &[KEY]),
        ("awk '{printf \"%s\\\\n\", $0}' chain.pem > FILE", &[CERTIFICATE]),
        ("tr -d '\\n' < chain.pem > FILE", &[CERTIFICATE]),
        ("tr '\\n' ' ' < chain.pem > FILE", &[CERTIFICATE]),
        ("tr '\\n' ' ' < key.pem > FILE", &[KEY]),
        ("iconv -f UTF-8 -t UTF-16LE key.pem > FILE", &[KEY]),
        ("cp rsa.pem FILE && chmod 600 FILE && ssh-keygen -p -N '' -f FILE", &[KEY]),
        (
            &format!(
                "{p12} -in chain.pem -inkey key.pem -out s.p12 && {jks} -importkeystore \
                 -srckeystore s.p12 -destkeystore FILE"
            ),
            &[CERTIFICATE, KEY],
        ),
        (
            "for a in ca other; do sed -n '/BEGIN/,/END/p' ca.pem | awk -v a=$a '/BEGIN/{n++} \
             (a==\"ca\")==(n==2)' > $a.one; keytool -importcert -noprompt -alias $a -file $a.one \
             -keystore FILE -storetype JKS -storepass secret; done",
            &[CA],
        ),
    ];
    for (index, (make, variables)) in rows.iter().enumerate() {
        let path = directory.join(format!("file-{index}"));
        let tool = ["keytool", "ssh-keygen"].into_iter().find(|tool| make.contains(tool));
        if let Some(tool) = tool
            && Command::new(tool).arg("-?").output().is_err()
        {
            assert!(std::env::var_os("OTLP_MTLS_REQUIRE_SERVERS").is_none(), "{tool} is missing");
            eprintln!("skipped: {tool} is missing");
            continue;
        }
        let make = make.replace("FILE", &format!("file-{index}"));
        sh(&format!("cd '{}' && {make}", shell(&directory)));
        for variable in *variables {
            let words = case.refusal(variable, &path);
            let command = command(&words);
            sh(&with_password(command));
            let suffix = if command.contains("-nocerts") { "key" } else { "pem" };
            let converted = directory.join(format!("file-{index}.{suffix}"));
            if make.contains("rsa.pem") {
                // It belongs to another certificate.
                let error = case.build(variable, &converted).unwrap_err();
                assert!(matches!(error, Error::KeyMismatch(_)), "{make}: {error}");
                continue;
            }
            let exporters = case.build(variable, &converted);
            let exporters = exporters.unwrap_or_else(|error| panic!("{make}\n{command}\n{error}"));
            let status = exporters.status();
            assert_eq!(status.credentials[0].chain.len(), 2, "{make}: the chain is whole");
            let expected = fs::read_to_string(directory.join("ca.pem")).unwrap();
            if make.contains("ca.pem") {
                let count = expected.matches("BEGIN").count();
                assert_eq!(status.credentials[0].trust_anchors.len(), count, "{make}: all CAs");
            }
        }
    }
}

/// A path for use in single quotes.
fn shell(path: &Path) -> String {
    path.to_str().unwrap().replace('\'', r"'\''")
}

#[test]
fn a_value_that_is_not_a_path() {
    let case = Case::new();
    let key = case.client.key_pem();
    for value in [key.to_owned(), key.replace('\n', "\\n"), base64(key), format!("'{key}'")] {
        for variable in [CA, CERTIFICATE, KEY] {
            let words = case.refusal(variable, Path::new(&value));
            let expected = format!(
                "{variable}: the value (not shown): it is not a path: write the text of a \
                 certificate"
            );
            assert!(words.starts_with(&expected), "{words}");
        }
    }
    for (value, expected) in [
        ("\"/etc/ca.crt\"", "the value is in quotes"),
        ("'/etc/ca.crt'", "the value is in quotes"),
        ("~/ca.crt", "`~` is not expanded"),
        ("file:///etc/ca.crt", "a path is needed, not a URL"),
        ("${HOME}/ca.crt", "variables in it are not expanded"),
        ("$HOME/ca.crt", "variables in it are not expanded"),
        ("$(CERTS)/ca.crt", "variables in it are not expanded"),
        ("%CERTS%\\ca.crt", "variables in it are not expanded"),
    ] {
        for variable in [CA, CERTIFICATE, KEY] {
            let words = case.refusal(variable, Path::new(value));
            let expected = format!("{variable}: {value}: there is no such file: {expected}");
            assert!(words.starts_with(&expected), "{words}");
        }
    }
}

#[test]
fn one_file_with_certificate_and_key_in_one_variable() {
    let case = Case::new();
    let both = format!("{}{}", case.client.certificate_pem(), case.client.key_pem());
    let both = case.files.write("both.pem", both);
    let alone = case.files.write("alone.pem", case.client.certificate_pem());
    for (given, path, missing, expected) in [
        (CERTIFICATE, &both, KEY, "so set OTEL_EXPORTER_OTLP_CLIENT_KEY to the same file"),
        (KEY, &both, CERTIFICATE, "so set OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE to the same file"),
        (CERTIFICATE, &alone, KEY, "a client certificate needs its private key"),
    ] {
        let vars = vec![
            ("OTEL_EXPORTER_OTLP_ENDPOINT", PathBuf::from("https://localhost")),
            (given, path.clone()),
        ];
        let words = with_vars(vars).build().unwrap_err().to_string();
        assert!(words.starts_with(&format!("{given} is set and {missing} is not")), "{words}");
        assert!(words.contains(expected), "{words}");
    }
}

#[test]
fn the_doctor_names_ignored_sections() {
    let (pki, collector) = mtls_collector();
    let client = pki.client(Fixture::Good);
    let both = format!("{}{}{ENCRYPTED}", client.certificate_pem(), client.key_pem());
    let exporters = builder()
        .with_endpoint(collector.endpoint())
        .with_ca_certificate(Pem::bytes(format!("{CRL}{}{DH}", pki.ca_pem())))
        .with_client_identity(Pem::bytes(&*both), Pem::bytes(&*both))
        .build()
        .unwrap();
    let report = exporters.check_blocking();
    assert!(report.is_delivered(), "{report}");
    let report = report.to_string();
    for expected in [
        "trusted CAs         not used, in with_ca_certificate(): X509 CRL, DH PARAMETERS\n",
        "client certificate  not used, in with_client_identity(): PRIVATE KEY, ENCRYPTED PRIVATE KEY\n",
        "client key          not used, in with_client_identity(): CERTIFICATE, ENCRYPTED PRIVATE KEY\n",
    ] {
        assert!(report.contains(expected), "{report}");
    }
}

#[test]
fn credentials_without_a_certificate() {
    use rustls::pki_types::{PrivateKeyDer, pem::PemObject};

    #[derive(Debug)]
    struct Source(Credentials);

    impl otlp_mtls::CredentialSource for Source {
        fn load(&self) -> Result<Credentials, Box<dyn std::error::Error + Send + Sync>> {
            Ok(self.0.clone())
        }
    }

    let key = Pki::new().client(Fixture::Good).key_pem().to_owned();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    for (credentials, expected) in [
        (Credentials::new().with_identity([], key), "the certificate chain is empty"),
        (Credentials::new().with_trust_anchors([]), "the list of certificate authorities is empty"),
    ] {
        let builder = builder().with_endpoint("https://localhost");
        let error = builder.with_credential_source(Source(credentials)).build().unwrap_err();
        let words = error.to_string();
        let expected = format!("with_credential_source(): the source: {expected}");
        assert!(words.starts_with(&expected), "{words}");
    }
}
