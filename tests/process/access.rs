//! A file without read permission: the error names the user and the permissions.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use otlp_mtls::testing::Pki;
use otlp_mtls::{Exporters, Pem};

use crate::CHILD;

/// The user nobody, because root may read any file.
const USER: u32 = 65534;

const NAME: &str = "access::denied";

/// The path of the CA, and the expected message.
const VARIABLES: [&str; 2] = ["TEST_CA", "TEST_WORDS"];

#[test]
fn denied() {
    if std::env::var(CHILD).as_deref() == Ok(NAME) {
        let [ca, expected] = VARIABLES.map(|name| std::env::var(name).unwrap());
        let exporters = Exporters::builder().with_endpoint("https://localhost");
        let error = exporters.with_ca_certificate(Pem::file(ca)).build().unwrap_err();
        let words = format!("{error:?}");
        assert!(words.contains(&expected), "{words}\nis not\n{expected}");
        assert!(words.ends_with("because: Permission denied (os error 13)"), "{words}");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let ca = Pki::new().write_ca_to(directory.path()).unwrap();
    let owner = fs::metadata(&ca).unwrap().uid();
    let refuse = |path: &Path, mode| {
        let open = [(directory.path(), 0o755), (&ca, 0o644)];
        for (path, mode) in open.into_iter().chain([(path, mode)]) {
            fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        }
        let user = if owner == 0 { USER } else { owner };
        let group = fs::metadata(path).unwrap().gid();
        let expected = format!(
            "the file cannot be read by user {user}: {} belongs to user {owner} and group {group}, and has mode {mode:04o}",
            path.display()
        );
        let mut child = Command::new(std::env::current_exe().unwrap());
        if owner == 0 {
            child.uid(USER).gid(USER);
        }
        child.args(["--exact", NAME, "--nocapture"]).env(CHILD, NAME);
        child.env(VARIABLES[0], &ca).env(VARIABLES[1], expected);
        let output = child.output().unwrap();
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words}");
    };
    refuse(&ca, 0o200);
    refuse(directory.path(), 0o600);
    // So that its owner can delete it.
    fs::set_permissions(directory.path(), Permissions::from_mode(0o700)).unwrap();
}
