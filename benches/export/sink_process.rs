//! Starts the sink's process.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

pub(crate) struct Sink {
    plaintext_port: u16,
    mtls_port: u16,
    directory: TempDir,
    /// It ends when its stdin is closed, and therefore with this process, even if that crashes.
    process: Child,
}

impl Sink {
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut process = Command::new(env!("CARGO_BIN_EXE_sink"))
            .arg(directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process for the sink");
        let stdout = process.stdout.take().expect("stdout is piped");
        let mut ports = BufReader::new(stdout).lines().map(|line| {
            line.expect("the sink's output").parse().expect("the sink prints its ports")
        });
        let mut port = || ports.next().expect("the sink prints two ports");
        Self { mtls_port: port(), plaintext_port: port(), directory, process }
    }

    pub(crate) fn endpoint(&self, mtls: bool) -> String {
        if mtls {
            format!("https://localhost:{}", self.mtls_port)
        } else {
            format!("http://localhost:{}", self.plaintext_port)
        }
    }

    /// The CA of the sink's certificate.
    pub(crate) fn ca(&self) -> PathBuf {
        self.file("ca.crt")
    }

    /// The certificate and key of a client.
    pub(crate) fn client(&self) -> (PathBuf, PathBuf) {
        (self.file("client.crt"), self.file("client.key"))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        // An error does not matter: it keeps no data and may have ended already.
        let _ = self.process.wait();
    }
}
