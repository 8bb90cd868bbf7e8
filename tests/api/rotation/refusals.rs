//! Invalid files, which never replace valid ones.

use std::fs;
use std::path::Path;

use otlp_mtls::testing::Fixture;

use super::{CA, CERTIFICATE, Files, KEY, Service, WAYS, Way};

/// Over one protocol, a replacement is refused with a message that begins with the variable and
/// the file and continues with `finding`; then valid files are used.
fn refused(way: Way, variable: &str, finding: &str, replace: impl Fn(&Service)) {
    let service = Service::new(way);
    service.is(0, "first", 0);
    replace(&service);
    let name = file_of(variable);
    let path = service.files.path(name);
    let reason = service.still_is(0, "first", 0);
    let expected = format!("{variable}: {}: {finding}", path.display());
    assert!(reason.starts_with(&expected), "{reason}\nis not\n{expected}");
    let since = service.running.status().refusal.unwrap().at;
    service.still_is(0, "first", 0);
    assert_eq!(service.running.status().refusal.unwrap().at, since);

    clear(&path);
    service.files.replace("ca.crt", service.pki.ca_pem());
    service.files.replace_identity(&service.pki.client_named("second"));
    service.is(1, "second", 1);
    assert_eq!(service.running.refusal(), None);
}

fn file_of(variable: &str) -> &'static str {
    match variable {
        CA => "ca.crt",
        CERTIFICATE => "client.crt",
        _ => "client.key",
    }
}

/// Removes the file.
fn clear(path: &Path) {
    if path.is_dir() {
        fs::remove_dir(path).unwrap();
    } else {
        fs::remove_file(path).unwrap();
    }
}

/// Each of the three files, over each protocol.
fn each_file(finding: &str, replace: impl Fn(&Files, &str)) {
    for way in WAYS {
        for variable in [CA, CERTIFICATE, KEY] {
            refused(way, variable, finding, |service| replace(&service.files, file_of(variable)));
        }
    }
}

#[test]
fn garbage() {
    each_file("it holds no PEM", |files, name| files.write(name, "garbage"));
    each_file("line 1: the content of the section", |files, name| {
        let whole = fs::read_to_string(files.path(name)).unwrap();
        files.replace(name, whole.replace("\nM", "\n!"));
    });
}

#[test]
fn a_file_that_is_too_large() {
    each_file("it is larger than 4194304 bytes", |files, name| {
        let whole = fs::read_to_string(files.path(name)).unwrap();
        files.replace(name, whole + &"\n".repeat(4 << 20));
    });
}

#[test]
fn a_file_with_a_part_that_cannot_be_read() {
    each_file("line 2: BEGIN and END need a line of their own", |files, name| {
        let whole = fs::read_to_string(files.path(name)).unwrap();
        files.replace(name, format!("\nmore: {whole}{whole}"));
    });
}

#[test]
fn an_empty_file() {
    each_file("it is empty", |files, name| files.write(name, ""));
}

#[test]
fn a_directory() {
    each_file("this is a directory", |files, name| {
        clear(&files.path(name));
        fs::create_dir(files.path(name)).unwrap();
    });
}

/// Opening a pipe blocks until there is a writer.
#[cfg(unix)]
#[test]
fn a_pipe() {
    each_file("this is not a file, but a pipe", |files, name| {
        let path = files.path(name);
        clear(&path);
        let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
    });
}

#[cfg(unix)]
#[test]
fn files_without_permission() {
    use std::os::unix::fs::{PermissionsExt, symlink};

    // Root may read any file, but not a path through a file.
    each_file("the file cannot be read\n  because: ", |files, name| {
        let path = files.path(name);
        clear(&path);
        files.write("file", "");
        symlink(files.path("file").join("within"), path).unwrap();
    });

    let probe = tempfile::NamedTempFile::new().unwrap();
    fs::set_permissions(probe.path(), fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read(probe.path()).is_ok() {
        eprintln!("skipped: permissions do not hold for this user, who is root");
        return;
    }
    each_file("the file cannot be read by user ", |files, name| {
        files.write(name, "-");
        fs::set_permissions(files.path(name), fs::Permissions::from_mode(0o000)).unwrap();
    });
}

#[test]
fn an_encrypted_key() {
    for way in WAYS {
        refused(way, KEY, "the private key is encrypted", |service| {
            let second = service.pki.client_named("second");
            service.files.replace("client.crt", second.certificate_pem());
            let key = second.key_pem().replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
            service.files.replace("client.key", key);
        });
    }
}

#[test]
fn certificates_outside_their_validity() {
    for way in WAYS {
        for (fixture, finding) in [
            (Fixture::Expired, "the certificate (CN=test-client) expired at "),
            (Fixture::NotYetValid, "the certificate (CN=test-client) is not valid before "),
        ] {
            refused(way, CERTIFICATE, finding, |service| {
                service.files.replace_identity(&service.pki.client(fixture));
            });
        }
        // One valid CA is enough.
        refused(way, CA, "the certificate (CN=localhost) expired at ", |service| {
            let expired = service.pki.server(Fixture::Expired);
            service.files.replace("ca.crt", expired.certificate_pem());
        });
        let service = Service::new(way);
        service.is(0, "first", 0);
        let expired = service.pki.server(Fixture::Expired);
        let bundle = service.pki.ca_pem().to_owned() + expired.certificate_pem();
        service.files.replace("ca.crt", bundle);
        service.is(1, "first", 1);
    }
}

#[test]
fn a_key_of_another_certificate() {
    for way in WAYS {
        let service = Service::new(way);
        service.is(0, "first", 0);
        service.files.replace("client.key", service.pki.client_named("other").key_pem());
        let reason = service.still_is(0, "first", 0);
        for expected in [CERTIFICATE, KEY, "client.crt (CN=first)", "client.key"] {
            assert!(reason.contains(expected), "{reason}");
        }
    }
}

/// The status has the reason of the newest problem.
#[test]
fn one_problem_after_another() {
    let service = Service::new(Way::Grpc);
    service.is(0, "first", 0);
    service.files.write("client.key", "garbage");
    assert!(service.still_is(0, "first", 0).contains("holds no PEM"));
    service.files.write("client.key", "");
    assert!(service.still_is(0, "first", 0).contains("it is empty"));
    service.files.write("ca.crt", "");
    assert!(service.still_is(0, "first", 0).starts_with(CA));
}
