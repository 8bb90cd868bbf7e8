//! The cost of watching credentials for changes, and the delay of a rotation.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use otlp_mtls::testing::{Collector, Fixture, Identity, Pki};
use otlp_mtls::{Exporters, ExportersBuilder, Pem, Protocol, Signal};
use tempfile::TempDir;
use tokio::runtime::Handle;

use crate::batch;
use crate::lanes::{Lane, Side};
use crate::ratios::{interleaved, median, print_medians, print_ratio, print_ratio_heading};
use crate::sink_process::Sink;

/// More rounds than elsewhere, because the difference is small.
const ROUNDS: usize = 61;

const ROTATIONS: usize = 31;

const TRANSPORTS: [(&str, Protocol); 2] =
    [("grpc/mtls", Protocol::Grpc), ("http/mtls", Protocol::HttpProtobuf)];

pub(crate) fn print(sink: &Sink, runtime: &Handle) {
    cost(sink, runtime);
    delay(runtime);
}

/// Exports with files that do not change.
fn cost(sink: &Sink, runtime: &Handle) {
    let mut lanes = Vec::new();
    for (case, protocol) in TRANSPORTS {
        let endpoint = sink.endpoint(true);
        let (certificate, key) = sink.client();
        let files = || {
            builder(&endpoint, protocol)
                .with_ca_certificate(Pem::file(sink.ca()))
                .with_client_identity(Pem::file(&certificate), Pem::file(&key))
        };
        let exporters = files().build().expect("exporters");
        let config = exporters.client_config(Signal::Traces).expect("a configuration of TLS");
        let no_files = builder(&endpoint, protocol).with_rustls_config(config);
        for (side, builder) in [
            (Side::NoFiles, no_files),
            (Side::Files, files()),
            (Side::FilesEachExport, files().with_reload_interval(Duration::ZERO)),
        ] {
            let exporters = builder.build().expect("exporters");
            let exporter = exporters.span_exporter().expect("an exporter");
            lanes.push(Lane::new((case, side), runtime, exporter));
        }
    }
    let costs = interleaved(&lanes, ROUNDS);
    print_medians(&lanes, &costs);
    print_ratio_heading(ROUNDS);
    for (lanes, costs) in lanes.chunks(3).zip(costs.chunks(3)) {
        for (lane, cost) in lanes.iter().zip(costs).skip(1) {
            let name = format!("{} {} / no-files", lane.case, lane.side.name());
            print_ratio(&name, cost, &costs[0]);
        }
    }
}

/// The delay from a file's change to the first acknowledged export under the new identity.
fn delay(runtime: &Handle) {
    println!("\nms from a file's change to the end of the first export under the new identity,");
    println!("and of the export after it: medians of {ROTATIONS} rotations");
    for (case, protocol) in TRANSPORTS {
        let pki = Pki::new();
        let collector = Collector::builder()
            .with_tls(pki.server(Fixture::Good))
            .with_client_ca(pki.ca_pem())
            .start()
            .expect("a collector");
        let files = Files::new(pki.ca_pem(), &pki.client_named("client-0"));
        let builder = files.builder(&collector.endpoint(), protocol);
        let exporters = builder.with_reload_interval(Duration::ZERO).build().expect("exporters");
        let exporter = exporters.span_exporter().expect("an exporter");
        let lane = Lane::new((case, Side::FilesEachExport), runtime, exporter);
        let export = || {
            let batch = batch::spans(1);
            let began = Instant::now();
            lane.export(batch);
            began.elapsed().as_secs_f64() * 1e3
        };
        export();
        let delays: Vec<_> = (1..=ROTATIONS)
            .map(|number| {
                let name = format!("client-{number}");
                files.replace(&pki.client_named(&name));
                let delays = (export(), export());
                let clients = collector.client_certificates();
                let newest = clients.last().and_then(|client| client.common_name());
                assert_eq!(newest, Some(name.as_str()), "the first export is under the new one");
                delays
            })
            .collect();
        let (first, second) = delays.into_iter().unzip::<_, _, Vec<_>, Vec<_>>();
        let (first, second) = (median(first.into_iter()), median(second.into_iter()));
        println!("{case:<34}{first:>9.2}{second:>9.2}");
    }
}

fn builder(endpoint: &str, protocol: Protocol) -> ExportersBuilder {
    Exporters::builder().with_env(|_| None).with_endpoint(endpoint).with_protocol(protocol)
}

/// CA, certificate and key files, as an operator sets them.
struct Files {
    directory: TempDir,
    ca: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

impl Files {
    fn new(ca_pem: &str, client: &Identity) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let ca = directory.path().join("ca.crt");
        fs::write(&ca, ca_pem).expect("a file");
        let (certificate, key) = client.write_to(directory.path(), "client").expect("files");
        Self { directory, ca, certificate, key }
    }

    fn builder(&self, endpoint: &str, protocol: Protocol) -> ExportersBuilder {
        builder(endpoint, protocol)
            .with_ca_certificate(Pem::file(&self.ca))
            .with_client_identity(Pem::file(&self.certificate), Pem::file(&self.key))
    }

    fn replace(&self, client: &Identity) {
        let new = client.write_to(self.directory.path(), "new").expect("files");
        fs::rename(new.0, &self.certificate).expect("a file of ours");
        fs::rename(new.1, &self.key).expect("a file of ours");
    }
}
