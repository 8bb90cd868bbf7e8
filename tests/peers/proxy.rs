//! Cases with a proxy that records and refuses requests. Some name other hosts, so this binary runs itself in a
//! network namespace that has only loopback.

use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::Command;
use std::sync::mpsc::{self, Receiver};
use std::thread;

use serde_json::json;

use crate::export::export;
use crate::input::Input;
use crate::run::{run as run_cases, skipped};
use crate::table::{Case, Kind, Observed};

/// Set in the network namespace that has only loopback.
const LOOPBACK_ONLY: &str = "OTLP_MTLS_LOOPBACK_ONLY";

pub(crate) fn run() {
    if env::var_os(LOOPBACK_ONLY).is_some() {
        return run_cases(&[Kind::Proxy], 16, observe);
    }
    if let Err(why) = isolated("true", &[]) {
        return skipped(&why);
    }
    let this = env::current_exe().unwrap();
    let result = isolated(this.to_str().unwrap(), &["proxy", "--exact", "--nocapture"]);
    result.unwrap_or_else(|output| panic!("{output}"));
}

/// Runs a program in a network namespace that has only loopback. The error is the program's output.
fn isolated(program: &str, arguments: &[&str]) -> Result<(), String> {
    let mut unshare = Command::new("unshare");
    unshare
        .args(["--map-root-user", "--net", "sh", "-c", "ip link set lo up && exec \"$@\"", "sh"])
        .arg(program)
        .args(arguments)
        .env(LOOPBACK_ONLY, "1");
    let output = unshare.output().map_err(|error| format!("unshare does not run: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    Err(format!("unshare: {}: {out}{err}", output.status))
}

fn observe(case: &Case) -> Observed {
    let (address, asked) = recorder();
    let mut observed = export(&Input::new(case.input(), &vec![("$PROXY".to_owned(), address)]));
    // The proxy records before it answers.
    let first = asked.try_recv().ok();
    observed.insert("proxied".to_owned(), json!(first.is_some()));
    observed.insert("connect".to_owned(), json!(first));
    observed
}

/// A proxy's address, and the first line of each request that it receives.
fn recorder() -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (sender, asked) = mpsc::channel();
    // Ends with the process.
    thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = BufReader::new(client.unwrap());
            let mut lines = client.by_ref().lines().map_while(Result::ok);
            let Some(first) = lines.next() else { continue };
            lines.find(|line| line.is_empty());
            // The client and the test may be gone.
            let _ = sender.send(first);
            let _ =
                client.get_mut().write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
        }
    });
    (address, asked)
}
