//! Connections that become silent: paths that drop packets, and stopped processes.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{self, Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::Duration;
use std::{env, fs};

use futures_executor::block_on;
use opentelemetry_sdk::trace::SpanExporter as _;
use otlp_mtls::status::ExportStatus;
use otlp_mtls::testing::{Collector, Fixture, Pki, Reply};
use otlp_mtls::{Exporters, Protocol, RetryPolicy, Signal};

use crate::exporter::span;
use crate::leaks::comes_true;
use crate::scripted::{Scripted, grpc_accept};
use crate::{CHILD, SOON, in_a_process, is_child, mtls_builder, mtls_vars, output_of_a_child};

fn traces(exporters: &Exporters) -> ExportStatus {
    let mut exports = exporters.status().exports.into_iter();
    exports.find(|exports| exports.signal == Signal::Traces).unwrap()
}

/// Exports one span after another until `has_ended`, and returns the failures.
fn load(exporters: &Exporters, has_ended: &AtomicBool) -> Vec<String> {
    let exporter = exporters.span_exporter().unwrap();
    let mut lost = Vec::new();
    while !has_ended.load(Ordering::Relaxed) {
        lost.extend(block_on(exporter.export(vec![span("a span")])).err());
    }
    lost.iter().map(ToString::to_string).collect()
}

/// Ends loads, also if a test fails.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Waits until more items are delivered.
fn goes_on(exporters: &Exporters) {
    let before = traces(exporters).delivered;
    assert!(comes_true(|| traces(exporters).delivered > before + 10));
}

/// A TCP connection of this network namespace.
struct Tcp {
    local: u16,
    remote: u16,
    is_established: bool,
    /// The number of unread bytes.
    unread: u32,
}

fn tcp() -> Vec<Tcp> {
    let table = fs::read_to_string("/proc/self/net/tcp").unwrap();
    let parse = |line: &str| {
        let fields: Vec<_> = line.split_ascii_whitespace().collect();
        let port = |address: &str| u16::from_str_radix(&address[9..], 16).unwrap();
        Tcp {
            local: port(fields[1]),
            remote: port(fields[2]),
            is_established: fields[3] == "01",
            unread: u32::from_str_radix(&fields[4][9..], 16).unwrap(),
        }
    };
    table.lines().skip(1).map(parse).collect()
}

/// The clients' connections to this port.
fn connections_to(port: u16) -> Vec<Tcp> {
    tcp().into_iter().filter(|tcp| tcp.is_established && tcp.remote == port).collect()
}

/// Set by `.ci/run`: tests with missing tools then fail instead of being skipped.
const REQUIRE_SERVERS: &str = "OTLP_MTLS_REQUIRE_SERVERS";

/// Runs a test's body in a network namespace with only loopback, where packets can be dropped.
fn in_a_namespace(name: &str, body: impl FnOnce()) {
    const SCRIPT: &str = "ip link set lo up && nft add table inet filter && \
        nft add chain inet filter in '{ type filter hook input priority 0; }' && exec \"$@\"";
    let isolated = || {
        let mut unshare = Command::new("unshare");
        unshare.args(["--map-root-user", "--net", "sh", "-c", SCRIPT, "sh"]);
        unshare
    };
    if !is_child() {
        let tried = isolated().arg("true").output();
        let why = match tried {
            Ok(output) if output.status.success() => None,
            Ok(output) => Some(String::from_utf8_lossy(&output.stderr).into_owned()),
            Err(error) => Some(error.to_string()),
        };
        if let Some(why) = why {
            assert!(env::var_os(REQUIRE_SERVERS).is_none(), "{REQUIRE_SERVERS} is set: {why}");
            // libtest captures `eprintln!` and discards it if the test passes.
            let _ = writeln!(io::stderr(), "skipped: unshare, ip or nft: {why}");
            return;
        }
    }
    let mut child = isolated();
    child.arg(env::current_exe().unwrap());
    output_of_a_child(child, name, &[], body);
}

/// Makes the kernel silently drop what clients send on their existing connections to this port, like a firewall
/// that has lost its state. New connections are not affected. Responses in flight arrive, so that a request is
/// lost: only a PING detects a lost response.
fn drop_packets(port: u16) {
    for Tcp { local, .. } in connections_to(port) {
        let rule = format!("add rule inet filter in tcp sport {local} tcp dport {port} drop");
        assert!(Command::new("nft").arg(rule).status().unwrap().success());
    }
}

fn mtls(alpn: &str) -> (Pki, Collector) {
    let pki = Pki::new();
    let collector = Collector::builder()
        .with_tls(pki.server(Fixture::Good))
        .with_client_ca(pki.ca_pem())
        .with_alpn(vec![alpn.into()])
        .start()
        .unwrap();
    (pki, collector)
}

/// Three times under load. The kernel detects it after half of the timeout by TCP_USER_TIMEOUT, before a PING
/// does, which takes another quarter.
fn drops_three_times(
    protocol: Protocol,
    alpn: &str,
    retry: RetryPolicy,
) -> (Exporters, Vec<String>) {
    let (pki, collector) = mtls(alpn);
    let exporters = mtls_builder(&pki, &collector, protocol)
        .with_timeout(Duration::from_secs(8))
        .with_retry(retry)
        .with_failure_handler(|_| {})
        .build()
        .unwrap();
    let has_ended = AtomicBool::new(false);
    let lost = thread::scope(|scope| {
        let load = scope.spawn(|| load(&exporters, &has_ended));
        let ending = Ending(&has_ended);
        for dropped in 1..=3 {
            goes_on(&exporters);
            drop_packets(collector.addr().port());
            assert!(comes_true(|| collector.connections() > dropped), "{protocol} {alpn}");
            goes_on(&exporters);
        }
        drop(ending);
        load.join().unwrap()
    });
    assert_eq!(collector.connections(), 4, "{protocol} {alpn}");
    assert_eq!(collector.spans().len() as u64, traces(&exporters).delivered, "{protocol} {alpn}");
    (exporters, lost)
}

#[test]
fn a_path_that_drops_packets_loses_nothing() {
    in_a_namespace("silence::a_path_that_drops_packets_loses_nothing", || {
        thread::scope(|scope| {
            for (protocol, alpn) in [
                (Protocol::Grpc, "h2"),
                (Protocol::HttpProtobuf, "h2"),
                (Protocol::HttpProtobuf, "http/1.1"),
            ] {
                scope.spawn(move || {
                    let (exporters, lost) =
                        drops_three_times(protocol, alpn, RetryPolicy::default());
                    assert!(lost.is_empty(), "{protocol} {alpn}: {lost:?}");
                    assert!(traces(&exporters).retried >= 3, "{protocol} {alpn}");
                });
            }
            // Without retries the export in flight is lost, and its message has the reason.
            scope.spawn(|| {
                let retry = RetryPolicy::disabled();
                let (_, lost) = drops_three_times(Protocol::HttpProtobuf, "http/1.1", retry);
                assert_eq!(lost.len(), 3, "{lost:?}");
                for words in lost {
                    assert!(words.contains("the network path to the server is dead"), "{words}");
                    assert!(words.contains("nothing arrived for 4s"), "{words}");
                }
            });
        });
    });
}

fn signal(signal: &str, pid: u32) {
    let kill = format!("kill -{signal} {pid}");
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
}

/// Stops a process, and waits until it is stopped.
fn freeze(pid: u32) {
    signal("STOP", pid);
    assert!(comes_true(|| {
        let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        // The program's name before it may contain any character.
        status.rsplit_once(") ").unwrap().1.starts_with('T')
    }));
}

/// It reads what has arrived before it reports the batch as lost.
#[test]
fn a_service_that_is_stopped_for_longer_than_its_timeout_finds_its_answer() {
    let name = "silence::a_service_that_is_stopped_for_longer_than_its_timeout_finds_its_answer";
    let timeout = Duration::from_secs(5);
    let service = || {
        let exporters = Exporters::builder()
            .with_headers([("pid", process::id().to_string())])
            .with_retry(RetryPolicy::disabled())
            .with_timeout(timeout)
            .build()
            .unwrap();
        block_on(exporters.span_exporter().unwrap().export(vec![span("a span")])).unwrap();
        let status = traces(&exporters);
        assert_eq!((status.delivered, status.dropped), (1, 0));
    };
    if is_child() {
        return in_a_process(name, &[], service);
    }
    let stopped = |protocol, alpn| {
        let (pki, collector) = mtls(alpn);
        collector.set_reply(|_| Reply::Hold);
        let directory = tempfile::tempdir().unwrap();
        let vars = mtls_vars(&pki, &collector, directory.path(), protocol);
        let vars = vars.each_ref().map(|(name, value)| (*name, value.as_str()));
        thread::scope(|scope| {
            scope.spawn(|| in_a_process(name, &vars, service));
            assert!(collector.wait_until(SOON, |seen| seen.received().len() == 1));
            let pid = collector.received()[0].headers["pid"].to_str().unwrap().parse().unwrap();
            freeze(pid);
            collector.release();
            let port = collector.addr().port();
            let has_arrived = comes_true(|| connections_to(port).iter().any(|tcp| tcp.unread > 0));
            // Sleeps until the export's deadline, and that of its PING, have passed in the stopped process.
            thread::sleep(timeout + Duration::from_secs(1));
            signal("CONT", pid);
            assert!(has_arrived, "{protocol} {alpn}");
        });
        assert_eq!((collector.spans().len(), collector.connections()), (1, 1));
    };
    thread::scope(|scope| {
        for (protocol, alpn) in
            [("grpc", "h2"), ("http/protobuf", "h2"), ("http/protobuf", "http/1.1")]
        {
            scope.spawn(move || stopped(protocol, alpn));
        }
    });
}

/// The time during which it was stopped does not count as time without an answer to its PING.
#[test]
fn a_service_that_is_stopped_while_it_waits_for_a_pong_finds_it() {
    const PID: &str = "OTLP_MTLS_TEST_PID";
    let name = "silence::a_service_that_is_stopped_while_it_waits_for_a_pong_finds_it";
    // The PING is sent after half of it, and may take a quarter.
    let timeout = Duration::from_secs(12);
    let service = || {
        fs::write(env::var_os(PID).unwrap(), process::id().to_string()).unwrap();
        let exporters = Exporters::builder()
            .with_retry(RetryPolicy::disabled())
            .with_timeout(timeout)
            .build()
            .unwrap();
        let exporter = exporters.span_exporter().unwrap();
        for _ in 0..2 {
            block_on(exporter.export(vec![span("a span")])).unwrap();
        }
    };
    if is_child() {
        return in_a_process(name, &[], service);
    }
    let (release, busy) = mpsc::channel::<()>();
    let busy = Mutex::new(busy);
    let server = Scripted::http2(move |request| {
        if request.index == 1 {
            // Reads nothing meanwhile.
            busy.lock().unwrap().recv().unwrap();
        }
        vec![grpc_accept(request.stream)]
    });
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pid");
    let endpoint = server.endpoint();
    let vars = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        (PID, file.to_str().unwrap()),
    ];
    thread::scope(|scope| {
        scope.spawn(|| in_a_process(name, &vars, service));
        // The second request has been read, so that only a PING can be unread. It has 17 bytes.
        assert!(comes_true(|| server.requests() == 2));
        let has_pinged =
            || tcp().iter().any(|tcp| tcp.local == server.addr.port() && tcp.unread >= 17);
        assert!(comes_true(has_pinged));
        let pid = fs::read_to_string(&file).unwrap().parse().unwrap();
        freeze(pid);
        release.send(()).unwrap();
        let port = server.addr.port();
        let has_arrived = comes_true(|| connections_to(port).iter().any(|tcp| tcp.unread > 0));
        // Sleeps until the time for the PING has passed in the stopped process.
        thread::sleep(timeout / 3);
        signal("CONT", pid);
        assert!(has_arrived);
    });
    assert_eq!((server.connections(), server.requests()), (1, 2));
}

/// A collector in a separate process, which is killed at the end.
struct Apart {
    process: Child,
    port: u16,
}

impl Apart {
    /// Runs the test of this name, which calls [`serve`](Self::serve).
    fn start(name: &str) -> Self {
        let mut process = Command::new(env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(CHILD, name)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let port = lines.map_while(Result::ok).find_map(|line| line.parse().ok()).unwrap();
        Self { process, port }
    }

    /// Writes its port to standard error, and ends with standard input.
    fn serve() {
        let collector = Collector::builder().start().unwrap();
        eprintln!("{}", collector.addr().port());
        io::copy(&mut io::stdin(), &mut io::sink()).unwrap();
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        // Also a stopped one.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The kernel acknowledges what is sent, so only a PING detects it over HTTP/2, and nothing over HTTP/1.1.
#[test]
fn a_collector_that_is_stopped_for_a_while_costs_nothing() {
    let name = "silence::a_collector_that_is_stopped_for_a_while_costs_nothing";
    if is_child() {
        return in_a_process(name, &[], Apart::serve);
    }
    let collector = Apart::start(name);
    let exporters = [Protocol::Grpc, Protocol::HttpProtobuf].map(|protocol| {
        Exporters::builder()
            .with_env(|_| None)
            .with_endpoint(format!("http://127.0.0.1:{}", collector.port))
            .with_protocol(protocol)
            // A quarter of the timeout remains after the PING.
            .with_timeout(Duration::from_secs(16))
            .with_retry(RetryPolicy::disabled())
            .build()
            .unwrap()
    });
    let has_ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let loads =
            exporters.each_ref().map(|exporters| scope.spawn(|| load(exporters, &has_ended)));
        let ending = Ending(&has_ended);
        exporters.iter().for_each(goes_on);
        let known: Vec<_> = connections_to(collector.port).iter().map(|tcp| tcp.local).collect();
        assert_eq!(known.len(), 2);
        freeze(collector.process.id());
        let has_dialled = comes_true(|| {
            connections_to(collector.port).iter().any(|tcp| !known.contains(&tcp.local))
        });
        signal("CONT", collector.process.id());
        exporters.iter().for_each(goes_on);
        drop(ending);
        for load in loads {
            let lost = load.join().unwrap();
            assert!(lost.is_empty(), "{lost:?}");
        }
        assert!(has_dialled, "only a new connection may be in order");
    });
}
