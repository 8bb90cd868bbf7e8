//! Through an HTTP proxy, by CONNECT.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use otlp_mtls::check::Topic;
use otlp_mtls::{Error, Pem, Protocol, RetryPolicy, Signal};

use crate::support::{
    SOON, TRANSPORTS, export, last_failure, mtls_collector, plaintext_collector, with_vars,
};

/// Connects everybody to one server, wherever they want to go.
struct HttpProxy {
    addr: SocketAddr,
    /// Request line and headers of each connection.
    heard: Arc<Mutex<Vec<Vec<String>>>>,
}

impl HttpProxy {
    fn start(server: Option<SocketAddr>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let heard = Arc::<Mutex<Vec<Vec<String>>>>::default();
        let hearing = Arc::clone(&heard);
        // Ends with the test's process: nobody waits for it.
        thread::spawn(move || {
            for client in listener.incoming() {
                let hearing = Arc::clone(&hearing);
                // A client that goes away in the middle is one of the things that happen.
                thread::spawn(move || drop(serve(client.unwrap(), server, &hearing)));
            }
        });
        Self { addr, heard }
    }
}

fn serve(
    client: TcpStream,
    server: Option<SocketAddr>,
    heard: &Mutex<Vec<Vec<String>>>,
) -> io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    heard.lock().unwrap().push(lines);
    let Some(server) = server else {
        // Says nothing until the client goes.
        return io::copy(&mut reader, &mut io::sink()).map(drop);
    };
    let upstream = TcpStream::connect(server)?;
    (&client).write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    let (mut from, mut to) = (upstream.try_clone()?, client.try_clone()?);
    let back = thread::spawn(move || {
        let copied = io::copy(&mut from, &mut to);
        // It may be closed already.
        let _ = to.shutdown(Shutdown::Write);
        copied
    });
    io::copy(&mut reader, &mut (&upstream))?;
    upstream.shutdown(Shutdown::Write)?;
    back.join().unwrap().map(drop)
}

#[test]
fn every_signal_goes_through_it() {
    for protocol in TRANSPORTS {
        for secure in [true, false] {
            let (pki, tls) = mtls_collector();
            let plain = plaintext_collector();
            let (collector, scheme) = if secure { (&tls, "https") } else { (&plain, "http") };
            let proxy = HttpProxy::start(Some(collector.addr()));
            let client = pki.client_named("a client");
            let vars = vec![
                ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("{scheme}://collector.example:4317")),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol.to_string()),
                ("ALL_PROXY", format!("http://user:pass%20word@localhost:{}", proxy.addr.port())),
            ];
            let exporters = with_vars(vars)
                .with_ca_certificate(Pem::bytes(pki.ca_pem()))
                .with_client_identity(
                    Pem::bytes(client.certificate_pem()),
                    Pem::bytes(client.key_pem()),
                )
                .with_server_name("localhost")
                .build()
                .unwrap();
            let shown = format!("{exporters:?} {:?}", exporters.status());
            assert!(!shown.contains("pass"), "{shown}");
            let exporter = crate::support::Exporter::new(&exporters, Signal::Traces);
            futures_executor::block_on(exporter.export()).unwrap();
            futures_executor::block_on(exporter.export()).unwrap();
            assert_eq!(collector.spans().len(), 2, "{protocol} {scheme}");
            let heard = proxy.heard.lock().unwrap().clone();
            let [lines] = heard.as_slice() else { panic!("{heard:?}") };
            assert_eq!(lines[0], "CONNECT collector.example:4317 HTTP/1.1");
            // user:pass word
            let authorization = "proxy-authorization: Basic dXNlcjpwYXNzIHdvcmQ=";
            assert!(lines.iter().any(|line| line == authorization), "{lines:?}");

            let report = exporters.check_blocking();
            assert!(report.is_delivered(), "{report}");
            let topics: Vec<_> =
                report.signals[0].findings.iter().map(|finding| finding.topic).collect();
            assert!(topics.contains(&Topic::Proxy), "{report}");
            assert!(!report.to_string().contains("pass"), "{report}");
        }
    }
}

#[test]
fn one_that_says_nothing_costs_the_connect_timeout() {
    let proxy = HttpProxy::start(None);
    let exporters = with_vars(vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector.example:4317".to_owned()),
        ("HTTPS_PROXY", format!("http://localhost:{}", proxy.addr.port())),
    ])
    .with_ca_certificate(Pem::bytes(otlp_mtls::testing::Pki::new().ca_pem()))
    .with_connect_timeout(Duration::from_millis(300))
    .with_timeout(SOON)
    .with_retry(RetryPolicy::disabled())
    .with_failure_handler(|_| {})
    .build()
    .unwrap();
    export(&exporters, Signal::Traces).unwrap_err();
    assert_eq!(last_failure(&exporters, Signal::Traces).kind().name(), "proxy_timeout");
}

#[test]
fn one_that_cannot_be_used_is_an_error() {
    let vars = vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector.example:4317"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", Protocol::Grpc.to_string().leak() as &str),
        ("HTTP_PROXY", "socks5://user:secret@proxy:1080"),
    ];
    let error = with_vars(vars).build().unwrap_err();
    assert!(matches!(error, Error::Proxy { .. }), "{error:?}");
    assert!(error.to_string().starts_with("HTTP_PROXY: "), "{error}");
    assert!(!format!("{error:?}").contains("secret"), "{error:?}");
}
