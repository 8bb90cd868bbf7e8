//! The service, as a separate process with the variables that its operator sets, and a collector that requires
//! mutual TLS.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use otlp_mtls::testing::{Collector, Fixture, Pki};
use tempfile::TempDir;

/// A generous limit: a test that waits this long has failed.
const SOON: Duration = Duration::from_secs(30);

/// A port without a listener.
const NOBODY: &str = "127.0.0.1:1";

#[test]
fn nothing_is_lost_over_grpc() {
    nothing_is_lost("grpc");
}

#[test]
fn nothing_is_lost_over_http() {
    nothing_is_lost("http/protobuf");
}

/// Two requests with separate traces. The second one is in flight when the service is stopped.
fn nothing_is_lost(protocol: &str) {
    const TRACES: [&str; 2] =
        ["0af7651916cd43dd8448eb211c80319c", "4bf92f3577b34da6a3ce929d0e0e4736"];
    const CALLER: &str = "00f067aa0ba902b7";
    let traceparent = TRACES.map(|trace| format!("traceparent: 00-{trace}-{CALLER}-01\r\n"));

    let (pki, collector) = collector();
    let relay = Relay::start();
    let downstream = format!("http://{}/stock?sku=7", relay.address);
    // All events about our own I/O are enabled, except hyper's, which the service itself uses, too.
    let filter = "info,h2=trace,otlp_mtls=trace,rustls=trace,tonic=trace,tower=trace";
    let variables = [
        ("DOWNSTREAM_URL", &*downstream),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
        ("RUST_LOG", filter),
    ];
    let mut service = Service::start(&pki, &collector.endpoint(), &variables);
    relay.target.set(service.address).unwrap();

    assert!(service.get("/", "").starts_with("HTTP/1.1 200 "));
    let answer = service.get("/checkout", &traceparent[0]);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    service.wait_for("counted");

    let held = relay.gate.lock().unwrap();
    let in_flight = service.send("/checkout", &traceparent[1]);
    service.wait_for("counted");
    service.terminate();
    service.wait_for("draining");
    drop(held);
    assert!(read(in_flight).ends_with("checked out, 3 in stock\n"));

    let (status, output, errors) = service.end();
    assert_eq!(status.code(), Some(0), "{errors}");
    assert_eq!(errors, "");

    // One connection, with our client certificate, for all three signals.
    assert_eq!((collector.connections(), collector.handshakes()), (1, 1));
    assert_eq!(collector.client_certificates()[0].subject(), "CN=web-service");
    assert_eq!(collector.resource_attribute("service.name").as_deref(), Some("web-service"));
    let requests = collector.requests();
    assert_eq!(requests.iter().map(|request| request.signal).collect::<BTreeSet<_>>().len(), 3);
    assert!(requests.iter().all(|request| request.grpc == (protocol == "grpc")));

    // Three spans for each request, and no others: neither of the probe nor of our own I/O.
    let spans = collector.spans();
    assert_eq!(spans.len(), 6, "{spans:#?}");
    let logs = collector.log_records();
    for trace in TRACES {
        let spans: Vec<_> = spans.iter().filter(|span| hex(&span.trace_id) == trace).collect();
        let checkout = named(&spans, "GET /checkout");
        let call = named(&spans, "GET");
        let stock = named(&spans, "GET /stock");
        assert_eq!(hex(&checkout.parent_span_id), CALLER);
        assert_eq!(call.parent_span_id, checkout.span_id);
        assert_eq!(stock.parent_span_id, call.span_id);

        for (span, route) in [(checkout, "/checkout"), (stock, "/stock")] {
            assert_eq!(span.kind(), SpanKind::Server);
            assert_eq!(text(&span.attributes, "http.route"), route);
            assert_eq!(text(&span.attributes, "url.path"), route);
            assert_eq!(text(&span.attributes, "url.scheme"), "http");
        }
        assert_eq!(call.kind(), SpanKind::Client);
        assert_eq!(text(&call.attributes, "url.full"), downstream);
        assert_eq!(text(&call.attributes, "server.address"), "127.0.0.1");
        assert_eq!(number(&call.attributes, "server.port"), i64::from(relay.address.port()));
        for span in [checkout, call, stock] {
            assert_eq!(text(&span.attributes, "http.request.method"), "GET");
            assert_eq!(number(&span.attributes, "http.response.status_code"), 200);
            assert_eq!(code(span), StatusCode::Unset);
        }

        let said = |span: &Span| -> Vec<_> {
            logs.iter().filter(|log| same(log, span)).map(body).collect()
        };
        assert_eq!(said(checkout), ["checking out", "checked out"]);
        assert_eq!(said(stock), ["counted"]);
    }
    let listening = format!("listening on {}", service.address);
    let outside: Vec<_> = logs.iter().filter(|log| log.trace_id.is_empty()).map(body).collect();
    assert_eq!(outside, [&listening, "draining"]);
    assert_eq!(logs.len(), 2 * 3 + 2, "{logs:#?}");
    // Without suppression, events about our own I/O would be log records.
    assert!(output.contains(" h2::") && output.contains(" rustls::"), "{output}");

    assert_eq!(durations(&collector, "/checkout"), [(200, 2)]);
    assert_eq!(durations(&collector, "/stock"), [(200, 2)]);
    assert_eq!(active(&collector), 0);
}

#[test]
fn a_downstream_that_fails_is_an_error_of_both_spans() {
    let (pki, collector) = collector();
    let downstream = format!("http://{NOBODY}/stock");
    let variables = [("DOWNSTREAM_URL", &*downstream)];
    let mut service = Service::start(&pki, &collector.endpoint(), &variables);
    assert!(service.get("/checkout", "").starts_with("HTTP/1.1 502 "));
    assert!(service.get("/checkout/17", "").starts_with("HTTP/1.1 404 "));
    service.terminate();
    assert!(service.end().0.success());

    let spans = collector.spans();
    let spans: Vec<_> = spans.iter().collect();
    assert_eq!(spans.len(), 3);
    let checkout = named(&spans, "GET /checkout");
    assert_eq!(code(checkout), StatusCode::Error);
    assert_eq!(number(&checkout.attributes, "http.response.status_code"), 502);
    assert_eq!(text(&checkout.attributes, "error.type"), "502");
    let child = |span: &&Span| span.parent_span_id == checkout.span_id;
    let call = spans.iter().copied().find(child).unwrap();
    assert_eq!(code(call), StatusCode::Error);
    assert_eq!(text(&call.attributes, "error.type"), "_OTHER");

    // A path without a route is not in the span's name, and not an error of the server.
    let of_path = |span: &&Span| find(&span.attributes, "url.path").is_some();
    let lost = spans.iter().copied().filter(of_path).find(|span| span.name == "GET").unwrap();
    assert_eq!(code(lost), StatusCode::Unset);
    assert_eq!(find(&lost.attributes, "http.route"), None);

    let logs = collector.log_records();
    let log = logs.iter().find(|log| body(log) == "cannot ask for the stock").unwrap();
    assert_eq!(log.severity_text, "ERROR");
    assert!(same(log, checkout));
    assert_eq!(durations(&collector, "/checkout"), [(502, 1)]);
}

#[test]
fn a_request_that_its_client_gives_up_has_ended() {
    let (pki, collector) = collector();
    let relay = Relay::start();
    let downstream = format!("http://{}/stock", relay.address);
    let variables = [("DOWNSTREAM_URL", &*downstream), ("OTEL_METRIC_EXPORT_INTERVAL", "50")];
    let mut service = Service::start(&pki, &collector.endpoint(), &variables);
    relay.target.set(service.address).unwrap();

    let _held = relay.gate.lock().unwrap();
    let given_up = service.send("/checkout", "");
    service.wait_for("counted");
    drop(given_up);
    assert!(collector.wait_until(SOON, |collector| !durations(collector, "/checkout").is_empty()));
    service.terminate();
    assert!(service.end().0.success());

    let spans = collector.spans();
    let checkout = named(&spans.iter().collect::<Vec<_>>(), "GET /checkout").clone();
    assert_eq!(code(&checkout), StatusCode::Error);
    assert_eq!(text(&checkout.attributes, "error.type"), "cancelled");
    assert_eq!(active(&collector), 0);
}

#[test]
fn a_collector_that_is_gone_harms_no_request_and_is_told_at_the_end() {
    let pki = Pki::new();
    // No span is dropped before the end.
    let variables = [("OTEL_EXPORTER_OTLP_TIMEOUT", "500"), ("OTEL_BSP_SCHEDULE_DELAY", "60000")];
    let mut service = Service::start(&pki, &format!("https://{NOBODY}"), &variables);
    let answer = service.get("/checkout", "");
    assert!(answer.ends_with("checked out, 3 in stock\n"), "{answer}");
    service.terminate();
    let (status, _, errors) = service.end();
    assert_eq!(status.code(), Some(1));
    assert!(errors.starts_with("Error: ") && errors.contains("3 spans"), "{errors}");
}

/// A collector that requires mutual TLS.
fn collector() -> (Pki, Collector) {
    let pki = Pki::new();
    let collector = Collector::builder().with_tls(pki.server(Fixture::Good));
    let collector = collector.with_client_ca(pki.ca_pem()).start().unwrap();
    (pki, collector)
}

/// The service under test. It is killed if the test does not end it.
struct Service {
    child: Child,
    address: SocketAddr,
    /// Its standard output, line by line.
    lines: Receiver<String>,
    seen: String,
    _certificates: TempDir,
}

impl Service {
    fn start(pki: &Pki, endpoint: &str, variables: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let ca = pki.write_ca_to(directory.path()).unwrap();
        let client = pki.client_named("web-service");
        let (certificate, key) = client.write_to(directory.path(), "client").unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_web-service"))
            .env_clear()
            .env("LISTEN", "127.0.0.1:0")
            .env("OTEL_SERVICE_NAME", "web-service")
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
            .env("OTEL_EXPORTER_OTLP_CERTIFICATE", ca)
            .env("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", certificate)
            .env("OTEL_EXPORTER_OTLP_CLIENT_KEY", key)
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (line, lines) = channel();
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|l| line.send(l)));

        let address = (Ipv4Addr::LOCALHOST, 0).into();
        let seen = String::new();
        let mut service = Self { child, address, lines, seen, _certificates: directory };
        let listening = service.wait_for("listening on ");
        service.address = listening.rsplit(' ').next().unwrap().parse().unwrap();
        service
    }

    /// The next line of its output that contains `text`.
    fn wait_for(&mut self, text: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(SOON).unwrap_or_else(|_| {
                panic!("waits for {text:?}, but there is only:\n{}", self.seen);
            });
            self.seen += &format!("{line}\n");
            if line.contains(text) {
                return line;
            }
        }
    }

    fn send(&self, path: &str, headers: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let head =
            format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{headers}\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        stream
    }

    fn get(&self, path: &str, headers: &str) -> String {
        read(self.send(path, headers))
    }

    fn terminate(&self) {
        let kill = format!("kill -TERM {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Its exit status, and all of its standard output and error.
    fn end(&mut self) -> (ExitStatus, String, String) {
        // Its output ends with the process.
        loop {
            match self.lines.recv_timeout(SOON) {
                Ok(line) => self.seen += &(line + "\n"),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it does not end:\n{}", self.seen),
            }
        }
        let mut errors = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        (self.child.wait().unwrap(), self.seen.clone(), errors)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(mut stream: TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// The network between the service and its downstream, which is the service itself. While `gate` is
/// locked, responses are delayed.
struct Relay {
    address: SocketAddr,
    target: Arc<OnceLock<SocketAddr>>,
    gate: Arc<Mutex<()>>,
}

impl Relay {
    fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (target, gate) = (Arc::<OnceLock<_>>::default(), Arc::<Mutex<()>>::default());
        let relay = Self { address, target: Arc::clone(&target), gate: Arc::clone(&gate) };
        thread::spawn(move || -> io::Result<()> {
            loop {
                let (client, _) = listener.accept()?;
                let server = TcpStream::connect(target.wait())?;
                let (requests, answers) = (client.try_clone()?, server.try_clone()?);
                thread::spawn(move || io::copy(&mut &requests, &mut &server));
                let gate = Arc::clone(&gate);
                thread::spawn(move || -> io::Result<()> {
                    let mut buffer = [0; 4096];
                    loop {
                        let length = (&answers).read(&mut buffer)?;
                        let _open = gate.lock();
                        if length == 0 {
                            return client.shutdown(std::net::Shutdown::Both);
                        }
                        (&client).write_all(&buffer[..length])?;
                    }
                });
            }
        });
        relay
    }
}

/// The number of requests of a route, by status; 0 means without a status.
fn durations(collector: &Collector, route: &str) -> Vec<(i64, u64)> {
    let metrics = collector.metrics();
    let newest = metrics.iter().rfind(|metric| metric.name == "http.server.request.duration");
    let Some(Data::Histogram(histogram)) = newest.and_then(|metric| metric.data.as_ref()) else {
        return Vec::new();
    };
    let of_route = |attributes: &[KeyValue]| {
        find(attributes, "http.route") == Some(&Value::StringValue(route.to_owned()))
    };
    let points = histogram.data_points.iter().filter(|point| of_route(&point.attributes));
    points
        .map(|point| {
            assert_eq!(newest.unwrap().unit, "s");
            assert_eq!(point.explicit_bounds.len(), 14);
            assert_eq!(point.explicit_bounds[0], 0.005);
            let status = find(&point.attributes, "http.response.status_code");
            (
                status.map_or(0, |_| number(&point.attributes, "http.response.status_code")),
                point.count,
            )
        })
        .collect()
}

/// The number of requests in progress.
fn active(collector: &Collector) -> i64 {
    use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value::AsInt;

    let metrics = collector.metrics();
    let newest = metrics.iter().rfind(|metric| metric.name == "http.server.active_requests");
    let Some(Data::Sum(sum)) = &newest.unwrap().data else { panic!("no sum: {newest:?}") };
    let values = sum.data_points.iter().map(|point| match point.value {
        Some(AsInt(value)) => value,
        _ => panic!("no integer: {point:?}"),
    });
    values.sum()
}

fn named<'a>(spans: &[&'a Span], name: &str) -> &'a Span {
    let named = spans.iter().copied().find(|span| span.name == name);
    named.unwrap_or_else(|| panic!("no span {name} in {spans:#?}"))
}

fn code(span: &Span) -> StatusCode {
    span.status.as_ref().map_or(StatusCode::Unset, |status| status.code())
}

/// Whether the record has this trace and span ID.
fn same(log: &LogRecord, span: &Span) -> bool {
    (&log.trace_id, &log.span_id) == (&span.trace_id, &span.span_id)
}

fn body(log: &LogRecord) -> &str {
    match log.body.as_ref().and_then(|body| body.value.as_ref()) {
        Some(Value::StringValue(text)) => text,
        _ => panic!("no text: {log:?}"),
    }
}

fn find<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a Value> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    found.value.as_ref()?.value.as_ref()
}

fn text<'a>(attributes: &'a [KeyValue], key: &str) -> &'a str {
    match find(attributes, key) {
        Some(Value::StringValue(text)) => text,
        other => panic!("{key}: {other:?}"),
    }
}

fn number(attributes: &[KeyValue], key: &str) -> i64 {
    match find(attributes, key) {
        Some(Value::IntValue(number)) => *number,
        other => panic!("{key}: {other:?}"),
    }
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}
