//! The soak test: certificates rotate repeatedly under continuous export, and nothing is lost.
//!
//! A collector requires mutual TLS, and all three signals are exported to it without a pause. Meanwhile the client's
//! certificate and key are replaced in each of the ways in which files change; during each replacement the collector
//! delays the response to one export. `OTLP_MTLS_SOAK=500 cargo test --test api soak -- --nocapture` rotates 500 times.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::Temporality;
use otlp_mtls::testing::{Collector, Fixture, Identity, Pki, Reply};
use otlp_mtls::{Exporters, Pem, Protocol, RetryPolicy, Signal};
use tempfile::TempDir;

use super::support::{SOON, TRANSPORTS};
use super::upstream::example::{Export, item, logs, losses, metrics, traces};

/// The number of exports that must arrive with a new identity while one with an older identity is in flight.
const EXPORTS: usize = 20;

#[test]
fn rotations_under_continuous_export_lose_nothing() {
    let rotations = std::env::var("OTLP_MTLS_SOAK").map_or(5, |count| count.parse().unwrap());
    for protocol in TRANSPORTS {
        let Verdict { story, problems } = soak(protocol, rotations).unwrap();
        println!("{protocol}: {story}");
        assert!(problems.is_empty(), "{protocol}: {problems:#?}");
    }
}

/// The summary of a soak test, and the problems found.
struct Verdict {
    story: String,
    problems: Vec<String>,
}

/// The instructions and observations of the collector.
#[derive(Default)]
struct Script {
    /// The signal whose next request is held.
    hold: Option<Signal>,
    /// The number of requests with each identity that were answered at once.
    served: BTreeMap<String, usize>,
}

fn soak(protocol: Protocol, rotations: usize) -> Result<Verdict, Box<dyn Error>> {
    let pki = Pki::new();
    let collector = Collector::builder()
        .with_tls(pki.server(Fixture::Good))
        .with_client_ca(pki.ca_pem())
        .start()?;
    let script = Arc::new(Mutex::new(Script::default()));
    let reply = Arc::clone(&script);
    let script = || script.lock().unwrap_or_else(PoisonError::into_inner);
    collector.set_reply(move |request| {
        let mut script = reply.lock().unwrap_or_else(PoisonError::into_inner);
        if script.hold.take_if(|signal| *signal == request.signal).is_some() {
            return Reply::Hold;
        }
        let name = request.client_certificate.as_ref().and_then(|client| client.common_name());
        *script.served.entry(name.unwrap_or_default().to_owned()).or_default() += 1;
        Reply::Accept
    });

    let name = |number| format!("client-{number}");
    let volume = Volume::new(&pki.client_named(&name(0)))?;
    let exporters = Exporters::builder()
        .with_env(|_| None)
        .with_endpoint(collector.endpoint())
        .with_protocol(protocol)
        .with_ca_certificate(Pem::bytes(pki.ca_pem()))
        .with_client_identity(Pem::file(volume.path("tls.crt")), Pem::file(volume.path("tls.key")))
        .with_reload_interval(Duration::ZERO)
        .with_retry(RetryPolicy::disabled())
        .with_temporality(Temporality::Delta)
        .build()?;
    let credentials = || exporters.status().credentials.remove(0);

    let wait = |event: &str, happened: &dyn Fn() -> bool| {
        let in_time = collector.wait_until(SOON, |_| happened());
        in_time.then_some(()).ok_or_else(|| format!("not within {SOON:?}: {event}"))
    };
    let rotate = |number: usize| -> Result<(), Box<dyn Error>> {
        script().hold = Some(Signal::ALL[number / 3 % 3]);
        wait("an export is held", &|| script().hold.is_none())?;
        volume.replace(number, &pki.client_named(&name(number)), || {
            wait("half a pair is refused", &|| credentials().refusal.is_some())
        })?;
        let served = || script().served.get(&name(number)).is_some_and(|count| *count >= EXPORTS);
        wait("the new identity is seen", &served)?;
        let open = collector.open_connections();
        collector.release();
        wait("the old connection closes", &|| collector.open_connections() == 1)?;
        if open == 2 { Ok(()) } else { Err(format!("{open} connections during the hold"))? }
    };

    let export = Signal::ALL
        .iter()
        .map(|signal| exporter(&exporters, *signal))
        .collect::<Result<Vec<_>, _>>()?;
    let stop = AtomicBool::new(false);
    let mut problems = Vec::new();
    let results: Vec<Vec<OTelSdkResult>> = thread::scope(|scope| {
        let export_all = |export: &Export| {
            let numbers = (0..).take_while(|_| !stop.load(Ordering::Relaxed));
            numbers.map(|number| export(item(number))).collect()
        };
        let threads: Vec<_> =
            export.iter().map(|export| scope.spawn(move || export_all(export))).collect();
        let failed = (1..=rotations).find_map(|number| Some((number, rotate(number).err()?)));
        problems.extend(failed.map(|(number, error)| format!("rotation {number}: {error}")));
        stop.store(true, Ordering::Relaxed);
        script().hold = None;
        collector.release();
        threads.into_iter().map(|thread| thread.join().expect("exporting does not panic")).collect()
    });

    for (signal, results) in Signal::ALL.into_iter().zip(&results) {
        problems.extend(losses(&collector, signal, results));
    }
    let clients = collector.client_certificates();
    let names = clients.iter().filter_map(|client| client.common_name());
    if !names.eq((0..=rotations).map(name)) {
        problems.push("the collector did not see each identity, once and in order".to_owned());
    }
    let generation = credentials().generation;
    let (open, resets) = (collector.open_connections(), collector.resets());
    for (what, is, due) in [
        ("connections open", open, 1),
        ("exports interrupted", resets, 0),
        ("sessions resumed", collector.resumptions(), 0),
        ("rotations counted", generation as usize, rotations),
        ("refusals left", usize::from(credentials().refusal.is_some()), 0),
    ] {
        if is != due {
            problems.push(format!("{is} {what}, not {due}"));
        }
    }
    let exports: usize = results.iter().map(Vec::len).sum();
    let story = format!(
        "{exports} exports, {generation} rotations with an export held open in each, {} identities \
         on {} connections, of which {open} is open; {resets} exports interrupted",
        clients.len(),
        collector.connections(),
    );
    Ok(Verdict { story, problems })
}

fn exporter(exporters: &Exporters, signal: Signal) -> Result<Box<Export>, otlp_mtls::Error> {
    Ok(match signal {
        Signal::Traces => traces(exporters.span_exporter()?),
        Signal::Metrics => metrics(exporters.metric_exporter()?),
        Signal::Logs => logs(exporters.log_exporter()?),
    })
}

/// A Secret's volume as Kubernetes lays it out: `tls.crt` links to `..data/tls.crt`, and `..data` to
/// the directory of the newest version.
struct Volume(TempDir);

impl Volume {
    fn new(identity: &Identity) -> io::Result<Self> {
        let volume = Self(tempfile::tempdir()?);
        volume.swap(0, identity)?;
        symlink("..data/tls.crt", volume.path("tls.crt"))?;
        symlink("..data/tls.key", volume.path("tls.key"))?;
        Ok(volume)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Replaces certificate and key, in each of the ways in turn.
    fn replace(
        &self,
        number: usize,
        identity: &Identity,
        half_way: impl FnOnce() -> Result<(), String>,
    ) -> Result<(), Box<dyn Error>> {
        match number % 4 {
            // A new version of the volume.
            0 => self.swap(number, identity)?,
            // Each file by rename.
            1 => {
                let (certificate, key) = identity.write_to(&self.path("..data"), "new")?;
                fs::rename(certificate, self.path("..data/tls.crt"))?;
                fs::rename(key, self.path("..data/tls.key"))?;
            }
            // In place, the certificate first.
            2 => {
                fs::write(self.path("tls.crt"), identity.certificate_pem())?;
                half_way()?;
                fs::write(self.path("tls.key"), identity.key_pem())?;
            }
            // In place, the key first.
            _ => {
                fs::write(self.path("tls.key"), identity.key_pem())?;
                half_way()?;
                fs::write(self.path("tls.crt"), identity.certificate_pem())?;
            }
        }
        Ok(())
    }

    fn swap(&self, version: usize, identity: &Identity) -> io::Result<()> {
        let directory = format!("..{version}");
        fs::create_dir(self.path(&directory))?;
        identity.write_to(&self.path(&directory), "tls")?;
        symlink(directory, self.path("..data_tmp"))?;
        fs::rename(self.path("..data_tmp"), self.path("..data"))
    }
}
